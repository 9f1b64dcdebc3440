//! Misspelt, misplaced and senseless settings never start anything.

use std::fs;

use countersign_domain::mandate::Algorithm;

use super::*;

fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(FILE_NAME);
    fs::write(&file, text).unwrap();
    (dir, file)
}

fn load(text: &str, variables: &[(&str, &str)], flags: &[&str]) -> Result<Config, ConfigError> {
    let (_dir, file) = written(text);
    let variables = variables.iter().map(|(k, v)| (k.into(), v.into()));
    let flags: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
    Config::load_with(&file, variables, &flags)
}

fn refused(text: &str) -> String {
    load(text, &[], &[]).unwrap_err().to_string()
}

#[test]
fn the_checked_in_example_is_generated() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/countersign.example.toml");
    if std::env::var_os("COUNTERSIGN_TEST_BLESS").is_some() {
        fs::write(&path, Config::example()).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap();
    assert_eq!(
        kept,
        Config::example(),
        "run this test with COUNTERSIGN_TEST_BLESS=1 to write it anew"
    );
}

#[test]
fn the_example_loads_and_is_the_default() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(FILE_NAME);
    fs::write(&file, Config::example()).unwrap();
    let mut expected = Config::default();
    expected.resolve(dir.path());
    assert_eq!(Config::load_with(&file, [], &[]).unwrap(), expected);
}

#[test]
fn every_commented_setting_of_the_example_loads_too() {
    let text: String = Config::example()
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.starts_with('[') || rest.contains(" = ") => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let config = load(&text, &[], &[]).unwrap();
    assert!(config.nats.embedded.is_some() && config.nats.tls_ca.is_some());
    assert!(config.telemetry.otlp_endpoint.is_some());
    assert_eq!(config.tool_executor.http.len(), 1);
    assert_eq!(config.mandates.issuers.len(), 1);
}

#[test]
fn a_misspelt_key_is_named_with_the_nearest_known_one() {
    let table = [
        ("[nats]\nurll = \"x\"", "nats.urll", "nats.url"),
        ("[nets]\nurl = \"x\"", "nets", "nats"),
        (
            "[tool_executor]\nmax_runing = 3",
            "tool_executor.max_runing",
            "tool_executor.max_running",
        ),
        (
            "[nats.embedded]\nconfg = \"x\"",
            "nats.embedded.confg",
            "nats.embedded.config",
        ),
    ];
    for (text, key, nearest) in table {
        let message = refused(text);
        assert!(message.contains(FILE_NAME), "{message}");
        assert!(
            message.contains(&format!("unknown key `{key}`")),
            "{message}"
        );
        assert!(message.contains(&format!("`{nearest}`?")), "{message}");
    }
    assert!(!refused("[nats]\nzzz = 1").contains("did you mean"));
}

#[test]
fn later_sources_win() {
    let text = "[nats]\nurl = \"nats://file:1\"\nreplicas = 3";
    let variables = [("COUNTERSIGN_NATS__URL", "nats://variable:1")];
    let config = load(text, &[], &[]).unwrap();
    assert_eq!(config.nats.url, "nats://file:1");
    let config = load(text, &variables, &[]).unwrap();
    assert_eq!(config.nats.url, "nats://variable:1");
    assert_eq!(config.nats.replicas, 3);
    let config = load(text, &variables, &["nats.url=nats://flag:1"]).unwrap();
    assert_eq!(config.nats.url, "nats://flag:1");
}

#[test]
fn variables_are_as_strict_as_the_file() {
    let fails = |name: &str, value: &str| load("", &[(name, value)], &[]).unwrap_err().to_string();
    let message = fails("COUNTERSIGN_NATS__URLL", "x");
    assert!(message.contains("COUNTERSIGN_NATS__URLL"), "{message}");
    assert!(message.contains("did you mean `nats.url`"), "{message}");
    assert!(fails("COUNTERSIGN_NATS_URL", "x").contains("COUNTERSIGN_NATS__URL"));
    assert!(fails("COUNTERSIGN_NATS__REPLICAS", "many").contains("nats.replicas"));
    let others = [
        ("COUNTERSIGN_NATS_SERVER", "/usr/bin/nats-server"),
        ("COUNTERSIGN_TEST_X", "1"),
        ("PATH", "/bin"),
    ];
    assert!(load("", &others, &[]).is_ok());
    for name in NOT_SETTINGS {
        assert!(load("", &[(name, "x")], &[]).is_ok(), "{name}");
    }
    assert!(load("", &[], &["url=x"]).is_err());
}

#[test]
fn senseless_values_are_all_named_at_once() {
    let message = refused(
        "[deployment]\nhorizon_s = 1\n[nats]\nurl = \"http://x\"\nreplicas = 2\n\
         [telemetry]\nlevel = \"a=b=c\"\n[audit_query]\nrows_max = 0\n\
         [audit_archiver]\ndir = \"a\"\nstate_file = \"a/b\"\n\
         witnesses = [\"w\", \"a/w\"]\n\
         [archive]\nurl = \"bucket\"\nendpoint = \"http://store.internal\"",
    );
    for key in [
        "deployment.horizon_s",
        "nats.url",
        "nats.replicas",
        "telemetry.level",
        "audit_query.rows_max",
        "audit_archiver.state_file",
        "audit_archiver.witnesses",
        "archive.url",
        "archive.endpoint",
    ] {
        assert!(message.contains(&format!("`{key}`")), "{key}: {message}");
    }
}

#[test]
fn the_example_of_an_archive_in_a_bucket_is_one() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/archive/bucket.toml");
    let config = Config::load_with(&file, [], &[]).unwrap();
    let place = crate::archive::Place::of(&config).unwrap();
    assert_eq!(place.to_string(), "s3://audit/acme");
    let credentials = config.archive.credentials_file.unwrap();
    assert!(credentials.starts_with(file.parent().unwrap()));
    let none = crate::archive::Place::of(&Config::default()).unwrap();
    assert_eq!(none.dir(), Some(Path::new("archive")));
}

#[test]
fn wrong_types_name_file_and_key_and_broken_toml_its_line() {
    let message = refused("[nats]\nreplicas = \"two\"");
    assert!(message.contains("`nats.replicas`"), "{message}");
    let message = refused("[deployment]\nname = \"a b\"");
    assert!(message.contains("token"), "{message}");
    let message = refused("[nats]\nurl = ");
    assert!(message.contains("line 2"), "{message}");
}

#[test]
fn passwords_are_refused_so_that_printing_shows_none() {
    for text in [
        "[nats]\nurl = \"nats://me:s3cret@host:4222\"",
        "[tool_executor.http]\ncrm = \"http://me:s3cret@host\"",
        "[telemetry]\notlp_endpoint = \"http://s3cret@host\"",
        "[archive]\nendpoint = \"https://me:s3cret@host\"",
        "[archive]\nurl = \"s3://me:s3cret@bucket/prefix\"",
    ] {
        let message = refused(text);
        assert!(
            message.contains("must not hold a user or password"),
            "{message}"
        );
        assert!(!message.contains("s3cret"), "{message}");
    }
}

#[test]
fn printing_shows_what_is_in_force_and_loads_again() {
    let config = load("[nats]\nreplicas = 3", &[], &[]).unwrap();
    let printed = config.to_string();
    assert!(printed.contains("replicas = 3"));
    assert_eq!(load(&printed, &[], &[]).unwrap(), config);
}

#[test]
fn paths_are_relative_to_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(FILE_NAME);
    fs::write(&file, "[keys]\ndir = \"/abs\"").unwrap();
    let config = Config::load_with(&file, [], &[]).unwrap();
    assert_eq!(config.keys.dir, Path::new("/abs"));
    assert_eq!(
        config.service_creds("policy-checker"),
        dir.path().join("creds/service-policy-checker.creds")
    );
}

#[test]
fn a_missing_file_is_told_with_its_name() {
    let message = Config::load(Path::new("/nowhere/countersign.toml"))
        .unwrap_err()
        .to_string();
    assert!(message.contains("/nowhere/countersign.toml"), "{message}");
}

#[test]
fn an_issuer_of_mandates_is_named_whole() {
    let with = |keys: &str| {
        let text = format!(
            "[mandates.issuers.company]\nissuer = \"https://id.example\"\naudience = \"cs\"\n{keys}"
        );
        load(&text, &[], &[])
    };
    let file = with("jwks_file = \"keys/a.jwks\"\nalgorithms = [\"EdDSA\"]").unwrap();
    let issuer = &file.mandates.issuers["company"];
    assert!(issuer.jwks_file.as_ref().unwrap().is_absolute());
    assert_eq!(issuer.algorithms, [Algorithm::EdDsa]);
    let url = with("jwks_url = \"https://id.example/jwks.json\"").unwrap();
    assert_eq!(url.mandates.issuers["company"].algorithms, Algorithm::ALL);
    for local in ["127.0.0.1:9", "localhost", "[::1]:9"] {
        assert!(
            with(&format!("jwks_url = \"http://{local}/k\"")).is_ok(),
            "{local}"
        );
    }
    let table = [
        ("", "one of `jwks_file` and `jwks_url`"),
        (
            "jwks_file = \"a\"\njwks_url = \"https://a.example\"",
            "one of `jwks_file` and",
        ),
        ("jwks_url = \"http://id.example/k\"", "https"),
        ("jwks_url = \"http://127.0.0.1.evil.example/k\"", "https"),
        ("jwks_url = \"http://localhost@evil.example/k\"", "https"),
        ("jwks_url = \"ftp://id.example\"", "must begin with"),
        (
            "jwks_file = \"a\"\nalgorithms = []",
            "at least one algorithm",
        ),
        ("jwks_file = \"a\"\nalgorithms = [\"HS256\"]", "HS256"),
        ("jwks_file = \"a\"\nalgorithms = [\"none\"]", "none"),
        ("jwks_fil = \"a\"", "jwks_fil"),
        (
            "jwks_file = \"a\"\n[mandates.issuers.b]\njwks_file = \"b\"\naudience = \"c\"\nissuer = \"https://id.example\"",
            "named twice",
        ),
        (
            "jwks_file = \"a\"\n[mandates.issuers.b]\njwks_file = \"b\"\nissuer = \"x\"",
            "audience",
        ),
        (
            "jwks_file = \"a\"\n[mandates.issuers.b]\njwks_file = \"b\"\nissuer = \"x\"\naudience = \"\"",
            "audience",
        ),
        ("jwks_file = \"a\"\n[mandates]\nrefresh_s = 5", "refresh_s"),
    ];
    for (text, words) in table {
        let message = with(text).unwrap_err().to_string();
        assert!(message.contains(words), "{text}: {message}");
    }
}

#[test]
fn every_number_has_bounds_that_are_told_where_they_are_passed() {
    let table: [(&str, &str, u64, u64); 15] = [
        ("deployment", "horizon_s", 60, 604_800),
        ("deployment", "raw_retention_s", 3_600, 31_536_000),
        ("nats", "stream_mib", 16, 1_048_576),
        ("policy_checker", "max_in_flight", 1, 20_000),
        ("approval_coordinator", "max_in_flight", 1, 20_000),
        ("approval_coordinator", "permit_life_s", 10, 3_600),
        ("approval_coordinator", "bundle_wait_s", 1, 3_600),
        ("tool_executor", "max_running", 1, 10_000),
        ("audit_archiver", "batch_rows", 1, 1_000_000),
        ("audit_archiver", "batch_bytes", 65_536, 1_073_741_824),
        ("audit_archiver", "batch_ms", 10, 60_000),
        ("audit_archiver", "file_grace_s", 60, 604_800),
        ("audit_query", "memory_mb", 16, 65_536),
        ("audit_query", "timeout_s", 1, 3_600),
        ("audit_query", "rows_max", 1, 10_000_000),
    ];
    for (section, key, least, most) in table {
        let with = |value: u64| format!("[{section}]\n{key} = {value}");
        for good in [least, most] {
            assert!(
                load(&with(good), &[], &[]).is_ok(),
                "{section}.{key} = {good}"
            );
        }
        for bad in [least - 1, most + 1] {
            let message = refused(&with(bad));
            let words = format!("`{section}.{key}` must be {least} to {most}, not {bad}");
            assert!(message.contains(&words), "{message}");
        }
        let message = refused(&format!("[{section}]\n{key} = -1"));
        assert!(message.contains(&format!("`{section}.{key}`")), "{message}");
    }
}

#[test]
fn addresses_say_how_and_where_and_nothing_else() {
    let table = [
        ("[nats]\nurl = \"host:4222\"", "`nats.url` is not a URL"),
        ("[nats]\nurl = \"\"", "`nats.url` is not a URL"),
        ("[nats]\nurl = \"nats://\"", "`nats.url` names no host"),
        ("[nats]\nurl = \"nats:///a\"", "`nats.url` names no host"),
        ("[nats]\nurl = \"nats://?a\"", "`nats.url` names no host"),
        (
            "[nats]\nurl = \"nats://a:1, http://b:1\"",
            "`nats.url` must begin with nats:// or tls:// or ws:// or wss://",
        ),
        ("[nats]\nurl = \"nats://a:1,\"", "`nats.url` is not a URL"),
        (
            "[approval_coordinator]\nlink_base = \"ftp://a\"",
            "`approval_coordinator.link_base` must begin with http:// or https://",
        ),
        (
            "[tool_executor.http]\n\"a.b\" = \"http://a\"",
            "`tool_executor.http` each name must be of",
        ),
        (
            "[tool_executor.http]\ncrm = \"nats://a\"",
            "`tool_executor.http` must begin with",
        ),
        (
            "[telemetry]\notlp_endpoint = \"otel:4318\"",
            "`telemetry.otlp_endpoint` is not a URL",
        ),
        (
            "[nats]\nreplicas = 3\n[nats.embedded]",
            "`nats.replicas` must be 1 with an embedded server",
        ),
        ("[nats]\nreplicas = 4", "`nats.replicas` must be 1, 3 or 5"),
    ];
    for (text, words) in table {
        let message = refused(text);
        assert!(message.contains(words), "{text}: {message}");
    }
    for good in [
        "[nats]\nurl = \"nats://a:1, tls://b:2\"",
        "[nats]\nurl = \"nats://[::1]:4222\"",
        "[approval_coordinator]\nlink_base = \"https://a.example/b?c\"",
        "[tool_executor.http]\ncrm-2 = \"http://a/b@c\"",
    ] {
        assert!(load(good, &[], &[]).is_ok(), "{good}");
    }
}

#[test]
fn flags_need_a_section_and_a_value_may_hold_anything() {
    for flag in ["nats.url", "url=nats://a:1", "", "=", "nats_url=x"] {
        let message = load("", &[], &[flag]).unwrap_err().to_string();
        assert!(message.contains("section.key=value"), "{flag}: {message}");
    }
    let config = load(
        "",
        &[],
        &[" approval_coordinator.link_base = https://a/?b=c "],
    )
    .unwrap();
    let link = config.approval_coordinator.link_base;
    assert_eq!(link.as_deref(), Some("https://a/?b=c"));
    let message = load("", &[], &["nats.replicas=many"])
        .unwrap_err()
        .to_string();
    assert!(message.contains("flag `--set`"), "{message}");
    let message = load("", &[], &["nats.urll=x"]).unwrap_err().to_string();
    assert!(message.contains("did you mean `nats.url`"), "{message}");
}
