//! More forms that providers give their secrets: services beyond the clouds and the forges.

use super::rules::{Rule, rule};

/// Every rule here; they are read like those of `rules`.
pub(super) const SERVICES: &[Rule] = &[
    // Clouds and what runs on them.
    rule(
        "adafruit",
        &["aio_"],
        r"(?-u:\b)aio_[A-Za-z0-9]{28}(?-u:\b)",
    ),
    rule("adobe", &["p8e-"], r"(?-u:\b)p8e-[A-Za-z0-9]{32}(?-u:\b)"),
    rule(
        "aiven",
        &["avns_"],
        r"(?-u:\b)AVNS_[A-Za-z0-9_-]{19}(?-u:\b)",
    ),
    rule(
        "alibaba_sts",
        &["sts."],
        r"(?-u:\b)STS\.[A-Za-z0-9]{20,30}(?-u:\b)",
    ),
    rule(
        "amazon_oauth",
        &["amzn1.oa2-cs.", "amzn.mws."],
        r"(?-u:\b)(?:amzn1\.oa2-cs\.v1\.[a-f0-9]{64}|amzn\.mws\.[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})",
    ),
    rule(
        "astra",
        &["astracs:"],
        r"(?-u:\b)AstraCS:[A-Za-z0-9]{20,26}:[a-f0-9]{64}",
    ),
    rule(
        "azure_signed",
        &[
            "apim", "acdb", "+aba", "+amc", "+ast", "aiot", "+asb", "+aeh", "+arm", "+acr", "azfu",
            "azse", "azca",
        ],
        r"[A-Za-z0-9+/_-]{33,80}(?:APIM|ACDb|AIoT|AzFu|AzSe|AzCa|\+(?:ABa|AMC|ASt|ASb|AEh|ARm|ACR))[A-Za-z0-9+/_-]{5,6}={0,2}",
    ),
    rule(
        "azure_devops",
        &["azdo"],
        r"(?-u:\b)[A-Za-z0-9]{52,76}AZDO[A-Za-z0-9]{4,28}(?-u:\b)",
    ),
    rule(
        "baidu",
        &["bce-v3/"],
        r"(?-u:\b)bce-v3/ALTAK-[A-Za-z0-9]{21}/[a-f0-9]{40}",
    ),
    rule(
        "cloudflare_ca",
        &["v1.0-"],
        r"(?-u:\b)v1\.0-[a-f0-9]{24}-[a-f0-9]{146}",
    ),
    rule(
        "cockroach",
        &["ccdb1_"],
        r"(?-u:\b)CCDB1_[A-Za-z0-9]{22}_[A-Za-z0-9]{40}(?-u:\b)",
    ),
    rule("confluent", &["cflt"], r"(?-u:\b)cflt[A-Za-z0-9+/]{60}"),
    rule(
        "deno",
        &["ddp_", "ddo_"],
        r"(?-u:\b)dd[po]_[A-Za-z0-9]{36}(?-u:\b)",
    ),
    rule(
        "elastic_cloud",
        &["essu_"],
        r"(?-u:\b)essu_[A-Za-z0-9+/_-]{40,}={0,2}",
    ),
    rule(
        "google_refresh",
        &["1//0"],
        r"(?-u:\b)1//0[A-Za-z0-9_-]{35,100}",
    ),
    rule(
        "harness",
        &["pat.", "sat."],
        r"(?-u:\b)[ps]at\.[A-Za-z0-9_-]{22}\.[a-f0-9]{24}\.[A-Za-z0-9]{20}(?-u:\b)",
    ),
    rule("neon", &["napi_"], r"(?-u:\b)napi_[a-z0-9]{60,70}(?-u:\b)"),
    rule(
        "netlify",
        &["nfp_", "nfc_", "nfo_", "nfu_", "nfb_"],
        r"(?-u:\b)nf[pcoub]_[A-Za-z0-9_-]{36}",
    ),
    rule("render", &["rnd_"], r"(?-u:\b)rnd_[A-Za-z0-9]{32}(?-u:\b)"),
    rule("scalingo", &["tk-us-"], r"(?-u:\b)tk-us-[A-Za-z0-9_-]{48}"),
    rule("scaleway", &["scw"], r"(?-u:\b)SCW[A-Z0-9]{17}(?-u:\b)"),
    rule("tencent", &["akid"], r"(?-u:\b)AKID[A-Za-z0-9]{32}(?-u:\b)"),
    rule("upcloud", &["ucat_"], r"(?-u:\b)ucat_[A-Z0-9]{26}(?-u:\b)"),
    rule(
        "volcengine",
        &["aklt"],
        r"(?-u:\b)AKLT[A-Za-z0-9]{40,50}={0,2}",
    ),
    rule(
        "yandex",
        &["aqvn", "t1."],
        r"(?-u:\b)(?:AQVN[A-Za-z0-9_-]{35,38}|t1\.[A-Z0-9a-z_-]{10,}={0,2}\.[A-Z0-9a-z_-]{86}={0,2})",
    ),
    // Code, builds and packages.
    rule(
        "bitbucket",
        &["atbb"],
        r"(?-u:\b)ATBB[A-Za-z0-9]{24}[A-F0-9]{8}(?-u:\b)",
    ),
    rule(
        "buildkite",
        &["bkua_", "bkct_", "bkpt_", "bkpi_"],
        r"(?-u:\b)bk(?:ua|ct|pt|pi)_[A-Za-z0-9]{40,64}(?-u:\b)",
    ),
    rule(
        "chromatic",
        &["chpt_"],
        r"(?-u:\b)chpt_[a-z0-9]{12,16}(?-u:\b)",
    ),
    rule(
        "clojars",
        &["clojars_"],
        r"(?-u:\b)CLOJARS_[a-z0-9]{60}(?-u:\b)",
    ),
    rule(
        "cloudsmith",
        &["csa_"],
        r"(?-u:\b)csa_[A-Za-z0-9]{36}(?-u:\b)",
    ),
    rule(
        "gitlab_more",
        &["glrtr-", "glwt-", "gitlab_session="],
        r"(?-u:\b)(?:gl(?:rtr|wt)-[A-Za-z0-9_.-]{20,}|_gitlab_session=[A-Za-z0-9]{32})",
    ),
    rule("nuget", &["oy2"], r"(?-u:\b)oy2[a-z0-9]{43}(?-u:\b)"),
    rule(
        "snyk",
        &["snyk_"],
        r"(?-u:\b)snyk_(?:uat|sat)\.[a-f0-9]{8}\.[A-Za-z0-9._-]{20,}",
    ),
    rule(
        "stackhawk",
        &["hawk."],
        r"(?-u:\b)hawk\.[A-Za-z0-9_-]{20}\.[A-Za-z0-9_-]{20}(?-u:\b)",
    ),
    rule(
        "wakatime",
        &["waka_"],
        r"(?-u:\b)waka_(?:(?:sec|ref|tok|web)_)?[A-Za-z0-9-]{36,80}(?-u:\b)",
    ),
    // Models.
    rule(
        "devin",
        &["cog_", "apk_"],
        r"(?-u:\b)(?:cog_[a-z0-9]{52}(?-u:\b)|apk_(?:user_)?[A-Za-z0-9]{60,}={0,2})",
    ),
    rule("elevenlabs", &["sk_"], r"(?-u:\b)sk_[a-f0-9]{48}(?-u:\b)"),
    rule(
        "fireworks",
        &["fw_"],
        r"(?-u:\b)fw_[A-Za-z0-9]{22,24}(?-u:\b)",
    ),
    rule("jina", &["jina_"], r"(?-u:\b)jina_[A-Za-z0-9_-]{60}"),
    rule(
        "langfuse",
        &["sk-lf-"],
        r"(?-u:\b)sk-lf-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    ),
    rule("llama", &["llx-"], r"(?-u:\b)llx-[A-Za-z0-9]{48}(?-u:\b)"),
    rule(
        "pinecone",
        &["pcsk_"],
        r"(?-u:\b)pcsk_[A-Za-z0-9]{5,6}_[A-Za-z0-9]{60,66}(?-u:\b)",
    ),
    rule(
        "tavily",
        &["tvly-"],
        r"(?-u:\b)tvly-(?:(?:dev|prod)-)?[A-Za-z0-9]{32}(?-u:\b)",
    ),
    rule("voyage", &["pa-"], r"(?-u:\b)pa-[A-Za-z0-9_-]{43}(?-u:\b)"),
    // People and messages.
    rule(
        "chat_hook",
        &[
            "hooks.zapier.com",
            "open.feishu.cn",
            "open.larksuite.com",
            "discord.com/api/webhooks",
            "discordapp.com/api/webhooks",
            "qyapi.weixin.qq.com",
        ],
        r"(?:hooks\.zapier\.com/(hooks/catch/[0-9]+/[A-Za-z0-9]{5,})|open\.(?:feishu\.cn|larksuite\.com)/open-apis/bot/v2/hook/[A-Za-z0-9-]{20,}|discord(?:app)?\.com/api/webhooks/[0-9]{17,20}/[A-Za-z0-9_-]{60,}|qyapi\.weixin\.qq\.com/cgi-bin/webhook/send\?key=[A-Za-z0-9-]{20,})",
    ),
    rule(
        "apify",
        &["apify_api_"],
        r"(?-u:\b)apify_api_[A-Za-z0-9]{36}",
    ),
    rule(
        "asana",
        &["asana"],
        r#"(?i:asana[a-z0-9_.-]{0,30}["']?\s{0,3}[:=]{1,2}\s{0,3}["']?)([012]/(?:[0-9]{16}[:/])?(?:[0-9]{10,}:)?[a-f0-9]{32})"#,
    ),
    rule(
        "hubspot",
        &["pat-na", "pat-eu"],
        r"(?-u:\b)pat-(?:na|eu)[0-9]-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    ),
    rule("klaviyo", &["pk_"], r"(?-u:\b)pk_[a-f0-9]{34}(?-u:\b)"),
    rule(
        "linear_oauth",
        &["lin_oauth_"],
        r"(?-u:\b)lin_oauth_[A-Za-z0-9]{40,64}",
    ),
    rule(
        "onesignal",
        &["os_v2_"],
        r"(?-u:\b)os_v2_(?:app|org)_[a-z2-7]{50,}",
    ),
    rule(
        "resend",
        &["re_"],
        r"(?-u:\b)re_[A-Za-z0-9]{6,8}_[A-Za-z0-9]{22,24}(?-u:\b)",
    ),
    rule(
        "salesforce",
        &["00d"],
        r"(?-u:\b)00D[A-Za-z0-9]{12,15}![A-Za-z0-9._]{80,}",
    ),
    rule("typeform", &["tfp_"], r"(?-u:\b)tfp_[A-Za-z0-9_.=-]{40,64}"),
    rule(
        "twitter_bearer",
        &["aaaaaaaaaaaa"],
        r"(?-u:\b)A{20,24}[A-Za-z0-9%]{60,120}",
    ),
    rule("canva", &["cnvca"], r"(?-u:\b)cnvca[A-Za-z0-9_-]{51}"),
    // Money.
    rule(
        "duffel",
        &["duffel_"],
        r"(?-u:\b)duffel_(?:test|live)_[A-Za-z0-9_=-]{43}",
    ),
    rule(
        "mercado_pago",
        &["app_usr-"],
        r"(?-u:\b)APP_USR-[0-9]{10,}-[0-9]{6}-[a-f0-9]{32}(?:__[A-Z_]{5})?-[0-9]+",
    ),
    rule(
        "paddle",
        &["pdl_"],
        r"(?-u:\b)pdl_(?:live|sdbx)_apikey_[a-z0-9]{26}_[A-Za-z0-9]{22}_[A-Za-z0-9]{3}",
    ),
    rule(
        "plaid",
        &["access-"],
        r"(?-u:\b)access-(?:sandbox|development|production)-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    ),
    rule(
        "paypal_braintree",
        &["access_token$"],
        r"access_token\$(?:production|sandbox)\$[0-9a-z]{16}\$[0-9a-f]{32}",
    ),
    rule(
        "razorpay",
        &["rzp_"],
        r"(?-u:\b)rzp_(?:live|test)_[A-Za-z0-9]{14}(?-u:\b)",
    ),
    rule(
        "woocommerce",
        &["ck_", "cs_"],
        r"(?-u:\b)c[ks]_[a-f0-9]{40}(?-u:\b)",
    ),
    // Tools and data.
    rule(
        "axiom",
        &["xaat-", "xapt-"],
        r"(?-u:\b)xa[ap]t-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    ),
    rule(
        "cal",
        &["cal_"],
        r"(?-u:\b)cal_(?:live_)?[a-f0-9]{32}(?-u:\b)",
    ),
    rule("cfx", &["cfxk_"], r"(?-u:\b)cfxk_[A-Za-z0-9_]{20,}"),
    rule(
        "contentful",
        &["cfpat-"],
        r"(?-u:\b)CFPAT-[A-Za-z0-9_-]{43}",
    ),
    rule(
        "defined",
        &["dnkey-"],
        r"(?-u:\b)dnkey-[A-Za-z0-9=_-]{26}-[A-Za-z0-9=_-]{52}",
    ),
    rule("dingtalk", &["sec"], r"(?-u:\b)SEC[a-f0-9]{64}(?-u:\b)"),
    rule(
        "endor",
        &["endr+"],
        r"(?-u:\b)endr\+[A-Za-z0-9-]{16}(?-u:\b)",
    ),
    rule("frameio", &["fio-u-"], r"(?-u:\b)fio-u-[A-Za-z0-9_=-]{64}"),
    rule(
        "honeycomb",
        &["hcaik_", "hcalk_", "hcxik_", "hcxlk_", "hcbik_", "hcblk_"],
        r"(?-u:\b)hc[abx](?:ik|lk)_[A-Za-z0-9]{26,64}(?-u:\b)",
    ),
    rule(
        "inngest",
        &["signkey-"],
        r"(?-u:\b)signkey-(?:prod|test|branch)-[a-f0-9]{64}",
    ),
    rule(
        "launchdarkly",
        &["sdk-", "api-", "mob-"],
        r"(?-u:\b)(?:sdk|api|mob)-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?-u:\b)",
    ),
    rule(
        "lob",
        &["live_", "test_"],
        r"(?-u:\b)(?:live|test)_[a-f0-9]{35}(?-u:\b)",
    ),
    rule(
        "logfire",
        &["pylf_v"],
        r"(?-u:\b)pylf_v[0-9]_(?:[a-z]{2,8}_)?[A-Za-z0-9]{40,}",
    ),
    rule(
        "mapbox",
        &["pk.ey", "sk.ey", "tk.ey"],
        r"(?-u:\b)[pst]k\.ey[A-Za-z0-9_-]{40,}\.[A-Za-z0-9_-]{20,}",
    ),
    rule(
        "maxmind",
        &["_mmk"],
        r"(?-u:\b)[A-Za-z0-9]{6}_[A-Za-z0-9]{29}_mmk(?-u:\b)",
    ),
    rule("nightfall", &["nf-"], r"(?-u:\b)NF-[A-Za-z0-9]{32}(?-u:\b)"),
    rule(
        "okta",
        &["ssws "],
        r"(?-u:\b)SSWS\s{1,3}(00[A-Za-z0-9_-]{40})",
    ),
    rule(
        "persona",
        &["persona_"],
        r"(?-u:\b)persona_(?:production|sandbox)_[A-Za-z0-9-]{20,}",
    ),
    rule(
        "rapidapi",
        &["msh"],
        r"(?-u:\b)[a-z0-9]{10}msh[a-z0-9]{15}p1[a-z0-9]{6}jsn[a-z0-9]{12}(?-u:\b)",
    ),
    rule("segment", &["sgp_"], r"(?-u:\b)sgp_[A-Za-z0-9]{64}(?-u:\b)"),
    rule(
        "settlemint",
        &["sm_"],
        r"(?-u:\b)sm_(?:aat|pat|sat)_[A-Za-z0-9]{16}(?-u:\b)",
    ),
    rule(
        "shopify_more",
        &["shpua_", "shptka_", "shpit_"],
        r"(?-u:\b)shp(?:ua|tka|it)_[a-fA-F0-9]{32}",
    ),
    rule(
        "statsig",
        &["secret-", "console-"],
        r"(?-u:\b)(?:secret|console)-[A-Za-z0-9]{43}(?-u:\b)",
    ),
    rule(
        "thunderstore",
        &["tss_"],
        r"(?-u:\b)tss_[A-Za-z0-9]{36}(?-u:\b)",
    ),
    rule(
        "zuplo",
        &["zpka_"],
        r"(?-u:\b)zpka_[a-z0-9]{32}_[a-f0-9]{8}(?-u:\b)",
    ),
];
