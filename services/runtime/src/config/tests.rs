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
         [audit_archiver]\ndir = \"a\"\nstate_file = \"a/b\"",
    );
    for key in [
        "deployment.horizon_s",
        "nats.url",
        "nats.replicas",
        "telemetry.level",
        "audit_query.rows_max",
        "audit_archiver.state_file",
    ] {
        assert!(message.contains(&format!("`{key}`")), "{key}: {message}");
    }
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
