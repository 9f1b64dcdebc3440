//! Secrets that their providers give a recognisable form, from the providers' own
//! documentation and from the RFCs. The first capture group, where there is one, is the
//! secret; otherwise the whole match.

use super::token;

/// One form of secret.
#[derive(Debug)]
pub(super) struct Rule {
    /// What tests call it.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "only tests and readers name a rule")
    )]
    pub(super) name: &'static str,
    /// One of these stands in every text that holds such a secret; compared without case.
    pub(super) keywords: &'static [&'static str],
    /// The form.
    pub(super) pattern: &'static str,
    /// Bits per character that a find must have; 0 where the form says enough.
    pub(super) bits_min: f64,
    /// What a find must pass where the pattern alone would find too much. Whoever passes is a
    /// secret whatever stands around it.
    pub(super) checksum: Option<fn(&[u8]) -> bool>,
}

pub(super) const fn rule(
    name: &'static str,
    keywords: &'static [&'static str],
    pattern: &'static str,
) -> Rule {
    Rule {
        name,
        keywords,
        pattern,
        bits_min: 0.0,
        checksum: None,
    }
}

const fn weak(
    name: &'static str,
    keywords: &'static [&'static str],
    pattern: &'static str,
    bits_min: f64,
) -> Rule {
    Rule {
        name,
        keywords,
        pattern,
        bits_min,
        checksum: None,
    }
}

const fn checked(
    name: &'static str,
    keywords: &'static [&'static str],
    pattern: &'static str,
    checksum: fn(&[u8]) -> bool,
) -> Rule {
    Rule {
        name,
        keywords,
        pattern,
        bits_min: 0.0,
        checksum: Some(checksum),
    }
}

/// Every rule. Word boundaries are those of ASCII, so that a match never ends inside a
/// character.
pub(super) const RULES: &[Rule] = &[
    // Keys and tokens by standard.
    rule(
        "pem",
        &["-----begin"],
        r"(?s)-----BEGIN[ A-Z0-9]{0,40}(?:PRIVATE KEY|NKEY SEED|USER SEED|NATS USER JWT)(?: BLOCK)?-----.*?(?:-----END[ A-Z0-9]{0,60}-----|------END[ A-Z0-9]{0,60}------|\z)",
    ),
    rule(
        "jwt",
        &["eyj", "ewog"],
        r"(?-u:\b)ey[JI][A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]{2,}){1,4}",
    ),
    rule(
        "putty",
        &["putty-user-key-file"],
        r"(?s)PuTTY-User-Key-File-[23]:.*",
    ),
    rule(
        "age",
        &["age-secret-key-1"],
        r"(?i)AGE-SECRET-KEY-1[A-Z0-9]{58}",
    ),
    rule(
        "url_user",
        &["://"],
        r"(?i)\b[a-z][a-z0-9+.-]{1,20}://([^\s/?#:@]{0,128}:[^\s/@]{1,256})@",
    ),
    rule(
        "authorization",
        &["authorization", "x-api-key", "x-auth-token"],
        r#"(?i)\b(?:authorization|x-api-key|x-auth-token)["']?\s{0,3}[:=]\s{0,3}["']?(?:(?:bearer|basic|token|digest|apikey|bot|negotiate|splunk)\s{1,3})?([A-Za-z0-9._~+/=:-]{8,})"#,
    ),
    weak(
        "bearer",
        &["bearer "],
        r"(?i)\bbearer\s{1,3}([A-Za-z0-9._~+/-]{12,}=*)",
        2.8,
    ),
    weak(
        "basic",
        &["basic "],
        r"(?i)\bbasic\s{1,3}([A-Za-z0-9+/]{12,}={0,2})",
        2.8,
    ),
    rule(
        "curl_user",
        &["curl"],
        r#"(?i)\bcurl\b[^\n]{0,400}?\s(?:-u|--user|--proxy-user)[ =]{0,2}["']?([^\s"':]{0,128}["']?:["']?[^\s"']{3,256})"#,
    ),
    // Clouds.
    rule(
        "aws_key_id",
        &["akia", "asia", "abia", "acca", "a3t"],
        r"(?-u:\b)(?:AKIA|ASIA|ABIA|ACCA|A3T[A-Z0-9])[A-Z0-9]{16}(?-u:\b)",
    ),
    rule(
        "aws_bedrock",
        &["absk", "bedrock-api-key-"],
        r"(?:(?-u:\b)ABSK[A-Za-z0-9+/]{109,269}={0,2}|bedrock-api-key-[A-Za-z0-9+/=_-]{20,})",
    ),
    weak(
        "aws_secret",
        &["aws"],
        r#"(?i)aws.{0,40}?["'=:\s]([A-Za-z0-9/+]{40})(?:[^A-Za-z0-9/+=]|$)"#,
        3.5,
    ),
    rule("google_api", &["aiza"], r"(?-u:\b)AIza[A-Za-z0-9_-]{35}"),
    rule(
        "google_oauth",
        &["ya29.", "gocspx-"],
        r"(?-u:\b)(?:ya29\.[A-Za-z0-9_-]{20,}|GOCSPX-[A-Za-z0-9_-]{28})",
    ),
    rule(
        "azure_client",
        &["q~"],
        r"[A-Za-z0-9_~.]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34}",
    ),
    rule(
        "azure_storage",
        &["accountkey=", "sharedaccesskey="],
        r"(?i)(?:AccountKey|SharedAccessKey)=([A-Za-z0-9+/]{40,88}={0,2})",
    ),
    weak(
        "azure_sas",
        &["sig="],
        r"(?i)[?&]sig=([A-Za-z0-9%+/=]{40,})",
        3.5,
    ),
    rule(
        "digitalocean",
        &["dop_v1_", "doo_v1_", "dor_v1_"],
        r"(?-u:\b)do[por]_v1_[a-f0-9]{64}",
    ),
    rule(
        "alibaba",
        &["ltai"],
        r"(?-u:\b)LTAI[A-Za-z0-9]{17,21}(?-u:\b)",
    ),
    rule("heroku", &["hrku-aa"], r"(?-u:\b)HRKU-AA[A-Za-z0-9_-]{58}"),
    rule(
        "flyio",
        &["fo1_", "fm1r_", "fm1a_", "fm2_"],
        r"(?-u:\b)(?:fo1_[A-Za-z0-9_-]{43}|fm[12][ra]?_[A-Za-z0-9+/]{60,}={0,3})",
    ),
    // Code and packages.
    rule(
        "github",
        &["ghp_", "gho_", "ghu_", "ghs_", "ghr_"],
        r"(?-u:\b)gh[pousr]_[A-Za-z0-9]{36,255}",
    ),
    // Also in the middle of a word, as behind the `n` of a line break that was escaped twice.
    // A token with a wrong checksum is taken by its form alone, by the rules beside this one.
    checked(
        "github_npm_checksum",
        &["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "npm_"],
        r"(?:gh[pousr]|npm)_[A-Za-z0-9]{36}",
        token::crc32_base62,
    ),
    rule(
        "github_fine",
        &["github_pat_"],
        r"(?-u:\b)github_pat_[A-Za-z0-9_]{22,255}",
    ),
    rule(
        "gitlab",
        &[
            "glpat-",
            "glptt-",
            "gldt-",
            "glrt-",
            "glcbt-",
            "glft-",
            "glimt-",
            "glagent-",
            "gloas-",
            "glsoat-",
            "glffct-",
            "gr1348941",
        ],
        r"(?-u:\b)(?:gl(?:pat|ptt|dt|rt|cbt|ft|imt|agent|oas|soat|ffct)-[A-Za-z0-9_.-]{20,}|GR1348941[A-Za-z0-9_-]{20})",
    ),
    rule("npm", &["npm_"], r"(?-u:\b)npm_[A-Za-z0-9]{36}"),
    rule("pypi", &["pypi-"], r"(?-u:\b)pypi-[A-Za-z0-9_-]{50,}"),
    rule("crates_io", &["cio"], r"(?-u:\b)cio[A-Za-z0-9]{32}(?-u:\b)"),
    rule("rubygems", &["rubygems_"], r"(?-u:\b)rubygems_[a-f0-9]{48}"),
    rule(
        "docker",
        &["dckr_pat_", "dckr_oat_", "swmtkn-1-", "swmkey-1-"],
        r"(?-u:\b)(?:dckr_[po]at_[A-Za-z0-9_-]{27,}|SWMTKN-1-[a-z0-9-]{40,}|SWMKEY-1-[A-Za-z0-9+/]{43})",
    ),
    rule(
        "artifactory",
        &["akcp", "cmvmd"],
        r"(?-u:\b)(?:AKCp[A-Za-z0-9]{69}|cmVmd[A-Za-z0-9]{59})(?-u:\b)",
    ),
    rule(
        "terraform",
        &["atlasv1."],
        r"(?-u:\b)[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{60,70}",
    ),
    rule("pulumi", &["pul-"], r"(?-u:\b)pul-[a-f0-9]{40}(?-u:\b)"),
    rule(
        "vault",
        &["hvs.", "hvb.", "hvr."],
        r"(?-u:\b)hv[sbr]\.[A-Za-z0-9_-]{24,}",
    ),
    rule(
        "atlassian",
        &["atatt3", "atctt3"],
        r"(?-u:\b)AT[AC]TT3[A-Za-z0-9_=-]{60,}",
    ),
    rule(
        "sonar",
        &["squ_", "sqp_", "sqa_"],
        r"(?-u:\b)sq[upa]_[a-f0-9]{40}",
    ),
    rule(
        "sourcegraph",
        &["sgp_", "sourcegraph"],
        r"(?-u:\b)sgp_(?:[a-fA-F0-9]{16}_|local_)?[a-fA-F0-9]{40}",
    ),
    rule(
        "circleci",
        &["ccipat_", "ccipta_", "cciprj_"],
        r"(?-u:\b)(?i:cci(?:pat|pta|prj))_[A-Za-z0-9]{20,24}_[a-f0-9]{40}",
    ),
    // People talking.
    rule(
        "slack",
        &[
            "xoxb-", "xoxa-", "xoxp-", "xoxr-", "xoxs-", "xoxo-", "xoxe", "xoxc-", "xoxd-", "xapp-",
        ],
        r"(?i)(?-u:\b)(?:xox[abceoprsd]-[A-Za-z0-9%+/=-]{10,}|xoxe\.xox[bp]-[0-9]-[A-Z0-9]{20,}|xapp-[0-9]-[A-Z0-9]{5,}-[0-9]+-[a-z0-9]{20,})",
    ),
    rule(
        "slack_hook",
        &["hooks.slack.com"],
        r"hooks\.slack\.com/((?:services|workflows|triggers)/[A-Za-z0-9+/]{20,})",
    ),
    rule(
        "teams_hook",
        &["webhook.office.com"],
        r"webhook\.office\.com/(webhookb2/[A-Za-z0-9@/-]{60,})",
    ),
    rule(
        "discord",
        &["discord", "bot "],
        r"(?-u:\b)[MNO][A-Za-z0-9_-]{23,25}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,38}",
    ),
    rule(
        "telegram",
        &[":aa"],
        r"(?-u:\b)[0-9]{8,10}:AA[A-Za-z0-9_-]{33}",
    ),
    rule("twilio", &["sk"], r"(?-u:\b)SK[0-9a-f]{32}(?-u:\b)"),
    rule(
        "sendgrid",
        &["sg."],
        r"(?-u:\b)SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16,64}",
    ),
    rule("mailgun", &["key-"], r"(?-u:\b)key-[0-9a-f]{32}(?-u:\b)"),
    rule(
        "mailchimp",
        &["-us"],
        r"(?-u:\b)[0-9a-f]{32}-us[0-9]{1,2}(?-u:\b)",
    ),
    rule(
        "brevo",
        &["xkeysib-", "xsmtpsib-"],
        r"(?-u:\b)x(?:key|smtp)sib-[a-f0-9]{64}-[A-Za-z0-9]{16}",
    ),
    rule("mailersend", &["mlsn."], r"(?-u:\b)mlsn\.[a-f0-9]{64}"),
    // Money.
    rule(
        "stripe",
        &[
            "sk_live_", "rk_live_", "sk_test_", "rk_test_", "sk_prod_", "rk_prod_", "sk_org_",
        ],
        r"(?-u:\b)[sr]k_(?:live|test|prod|org)_[A-Za-z0-9_]{10,247}",
    ),
    rule(
        "stripe_hook",
        &["whsec_"],
        r"(?-u:\b)whsec_[A-Za-z0-9+/=]{24,}",
    ),
    rule(
        "square",
        &["sq0atp-", "sq0csp-", "eaaa"],
        r"(?-u:\b)(?:sq0(?:atp|csp)-[A-Za-z0-9_-]{22,43}|EAAA[A-Za-z0-9_-]{56,60})",
    ),
    rule(
        "shopify",
        &["shpat_", "shpca_", "shppa_", "shpss_"],
        r"(?-u:\b)shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}",
    ),
    rule(
        "easypost",
        &["ezak", "eztk"],
        r"(?-u:\b)EZ[AT]K[A-Za-z0-9]{54}(?-u:\b)",
    ),
    rule(
        "flutterwave",
        &["flwseck"],
        r"(?-u:\b)FLWSECK(?:_TEST)?-[A-Za-z0-9]{12,}(?:-X)?",
    ),
    rule(
        "facebook",
        &["eaam", "eaac", "eaab"],
        r"(?-u:\b)EAA[MCB][A-Za-z0-9]{90,}",
    ),
    // Models.
    rule(
        "openai",
        &["sk-"],
        r"(?-u:\b)sk-(?:(?:proj|svcacct|admin|None|or-v1|lf|ant-[a-z0-9]{3,12})-[A-Za-z0-9_-]{20,}|[A-Za-z0-9]{32,})",
    ),
    rule(
        "hugging_face",
        &["hf_", "api_org_"],
        r"(?-u:\b)(?:hf|api_org)_[A-Za-z0-9]{34}(?-u:\b)",
    ),
    rule("perplexity", &["pplx-"], r"(?-u:\b)pplx-[A-Za-z0-9]{48}"),
    rule(
        "groq_xai",
        &["gsk_", "xai-", "csk-", "nvapi-"],
        r"(?-u:\b)(?:gsk_[A-Za-z0-9]{50,}|xai-[A-Za-z0-9]{70,}|csk-[a-z0-9]{48}|nvapi-[A-Za-z0-9_-]{60,})",
    ),
    rule("replicate", &["r8_"], r"(?-u:\b)r8_[A-Za-z0-9]{37,40}"),
    rule(
        "langsmith",
        &["lsv2_"],
        r"(?-u:\b)lsv2_(?:pt|sk)_[a-f0-9]{32}_[a-f0-9]{10}",
    ),
    // Tools and data.
    rule(
        "databricks",
        &["dapi"],
        r"(?-u:\b)dapi[a-f0-9]{32}(?:-[0-9])?",
    ),
    rule(
        "grafana",
        &["glc_", "glsa_", "eyjrijoi"],
        r"(?-u:\b)(?:glc_[A-Za-z0-9+/]{32,}={0,3}|glsa_[A-Za-z0-9]{32}_[A-Fa-f0-9]{8}|eyJrIjoi[A-Za-z0-9]{70,}={0,3})",
    ),
    rule(
        "new_relic",
        &["nrak-", "nrii-", "nrjs-"],
        r"(?-u:\b)(?:NRAK-[A-Za-z0-9]{27}|NRII-[A-Za-z0-9_-]{32}|NRJS-[a-f0-9]{19})",
    ),
    rule(
        "sentry",
        &["sntrys_", "sntryu_"],
        r"(?-u:\b)(?:sntrys_[A-Za-z0-9+/=_-]{60,}|sntryu_[a-f0-9]{64})",
    ),
    rule(
        "dynatrace",
        &["dt0c01."],
        r"(?-u:\b)dt0c01\.[A-Z0-9]{24}\.[A-Z0-9]{64}",
    ),
    rule("linear", &["lin_api_"], r"(?-u:\b)lin_api_[A-Za-z0-9]{40}"),
    rule(
        "notion",
        &["ntn_", "secret_"],
        r"(?-u:\b)(?:ntn_[0-9]{11}[A-Za-z0-9]{35}|secret_[A-Za-z0-9]{43})(?-u:\b)",
    ),
    rule(
        "airtable",
        &["pat"],
        r"(?-u:\b)pat[A-Za-z0-9]{14}\.[a-f0-9]{64}",
    ),
    rule(
        "figma",
        &["figd_", "figu_"],
        r"(?-u:\b)fig[du]_[A-Za-z0-9_-]{40,}",
    ),
    rule(
        "postman",
        &["pmak-"],
        r"(?-u:\b)PMAK-[a-f0-9]{24}-[a-f0-9]{34}",
    ),
    rule(
        "doppler",
        &["dp.pt.", "dp.st.", "dp.sa."],
        r"(?-u:\b)dp\.(?:pt|st|sa|ct|scim|audit)\.(?:[a-z0-9_-]{2,35}\.)?[A-Za-z0-9]{40,44}",
    ),
    rule(
        "supabase",
        &["sbp_", "sb_secret_"],
        r"(?-u:\b)(?:sbp_[a-f0-9]{40}|sb_secret_[A-Za-z0-9_-]{20,})",
    ),
    rule(
        "planetscale",
        &["pscale_"],
        r"(?-u:\b)pscale_(?:pw|tkn|oauth)_[A-Za-z0-9_.=-]{32,64}",
    ),
    rule(
        "tailscale",
        &["tskey-"],
        r"(?-u:\b)tskey-[a-z]+-[A-Za-z0-9]{8,}-?[A-Za-z0-9]*",
    ),
    rule(
        "onepassword",
        &["ops_eyj", "a3-"],
        r"(?-u:\b)(?:ops_eyJ[A-Za-z0-9+/=_-]{100,}|A3-[A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})(?:-[A-Z0-9]{5}){3})",
    ),
    rule(
        "infracost",
        &["ico-"],
        r"(?-u:\b)ico-[A-Za-z0-9]{32}(?-u:\b)",
    ),
    rule("prefect", &["pnu_"], r"(?-u:\b)pnu_[A-Za-z0-9]{36}"),
    rule("readme", &["rdme_"], r"(?-u:\b)rdme_[a-z0-9]{70}"),
    rule(
        "openshift",
        &["sha256~"],
        r"(?-u:\b)sha256~[A-Za-z0-9_-]{43}",
    ),
    rule(
        "shippo",
        &["shippo_live_", "shippo_test_"],
        r"(?-u:\b)shippo_(?:live|test)_[a-f0-9]{40}",
    ),
    rule("octopus", &["api-"], r"(?-u:\b)API-[A-Z0-9]{26}(?-u:\b)"),
    rule("posthog", &["phx_"], r"(?-u:\b)phx_[A-Za-z0-9_-]{40,}"),
    rule(
        "dropbox",
        &["sl."],
        r"(?-u:\b)sl\.(?:u\.)?[A-Za-z0-9_-]{130,}",
    ),
    rule(
        "bundler",
        &["bundle_"],
        r#"\bBUNDLE_[A-Z0-9_]{2,64}__[A-Z]{2,12}\s{0,2}[:=]\s{0,2}["']?([A-Za-z0-9._-]{2,64}:[A-Za-z0-9._-]{4,128})"#,
    ),
    rule(
        "vercel",
        &["vcp_", "vca_", "vci_", "vcr_", "vck_"],
        r"(?-u:\b)vc[pairk]_[A-Za-z0-9]{56}(?-u:\b)",
    ),
    rule(
        "together_wandb",
        &["tgp_v", "wandb_v1_"],
        r"(?-u:\b)(?:tgp_v[12]_[A-Za-z0-9_-]{43}|wandb_v1_[A-Za-z0-9_-]{60,90})",
    ),
    rule(
        "fly_header",
        &["flyv1 "],
        r"(?-u:\b)FlyV1 ([A-Za-z0-9+/=_,.-]{40,})",
    ),
    rule(
        "facebook_app",
        &["|", "%7c"],
        r"(?-u:\b)[0-9]{15,16}(?:\||%7[Cc])[A-Za-z0-9_-]{27,40}(?-u:\b)",
    ),
    rule(
        "forty_two",
        &["s-s4t2"],
        r"(?-u:\b)s-s4t2(?:ud|af)-[a-f0-9]{64}(?-u:\b)",
    ),
    weak(
        "sumo_logic",
        &["sumo"],
        r#"(?i:sumo[a-z0-9_.-]{0,40}["']?\s{0,3}[:=]{1,2}\s{0,3}["']?)(su[A-Za-z0-9]{12})(?-u:\b)"#,
        3.0,
    ),
    rule(
        "clickhouse",
        &["4b1d"],
        r"(?-u:\b)4b1d[A-Za-z0-9]{38}(?-u:\b)",
    ),
];
