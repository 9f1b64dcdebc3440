//! Exports of an archive that the real services wrote, read by programs that know nothing of
//! us: PyPI aat-verify, and the schema of OCSF that PyPI ocsf-json-schema carries. Where they
//! cannot be installed a word says that it is skipped.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use countersign_tests::process::{ARCHIVER, CHECKER, program};
use countersign_tests::{Deployment, PATIENCE, eventually};
use p256::pkcs8::{EncodePrivateKey as _, LineEnding};
use serde_json::{Value, json};

/// The service that answers SQL.
const QUERY: &str = "audit-query";
const PACKAGES: [&str; 2] = ["aat-verify==0.1.0", "ocsf-json-schema==1.2.0"];
const SCHEMA: &str = include_str!("exports/ocsf_schema.py");
/// Breaks lines, fields, formulas and the reading direction.
const HOSTILE: &str = "=1+1\r\nsay \"hi\", '\u{202e}live\u{2066}";
/// A mail address that must be in no export.
const PLANTED: &str = "wilma.petersen@private.example";
const FORMATS: [&str; 5] = ["json", "csv", "parquet", "ocsf", "aat"];

struct Exports {
    deployment: Deployment,
    dir: tempfile::TempDir,
}

impl Exports {
    /// An archive of a few intents, and its services.
    async fn written() -> Self {
        let mut deployment = Deployment::without_services(&[]).await;
        for name in [CHECKER, ARCHIVER, QUERY] {
            deployment.launch(name);
        }
        let agent = deployment.agent("billing").await;
        for n in 0..5 {
            let input = json!({"account": "77", "amount": n, "memo": format!("tell {PLANTED}")});
            let mut intent = agent.intent("ledger.book", input);
            intent["purpose"] = json!(HOSTILE);
            agent.publish(&intent).await;
        }
        agent
            .publish_bytes(format!("{{\"broken\": \"{PLANTED}\""))
            .await;
        let sql = "SELECT event FROM events WHERE agent_id = 'billing'";
        deployment.rows_once_there(sql, 12).await;
        let dir = tempfile::tempdir().expect("a directory");
        let exports = Self { deployment, dir };
        let secret = p256::SecretKey::from_slice(&[9; 32]).expect("a scalar");
        let pem = secret.to_pkcs8_pem(LineEnding::LF).expect("a key");
        std::fs::write(exports.key(), pem.as_bytes()).expect("it can be written");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(exports.key(), mode).expect("it is ours");
        exports
    }

    fn key(&self) -> PathBuf {
        self.dir.path().join("trail.pem")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs the command; what it wrote is in the file `name`.
    fn run(&self, name: &str, args: &[&str]) -> Output {
        Command::new(program("countersign"))
            .args(["--json", "audit", "export", "--out"])
            .arg(self.path(name))
            .args(args)
            .arg("--dir")
            .arg(self.deployment.files().dir())
            .env("COUNTERSIGN_NATS__URL", self.deployment.url())
            .output()
            .expect("the program can be started")
    }

    /// An export from the files.
    fn export(&self, name: &str, format: &str, args: &[&str]) -> Vec<u8> {
        let (archive, key) = (self.deployment.archive(), self.key());
        let mut all = vec!["--format", format, "--archive", text(&archive)];
        if format == "aat" {
            all.extend(["--sign-with", text(&key)]);
        }
        all.extend(args);
        let found = self.run(name, &all);
        assert_eq!(found.status.code(), Some(0), "{found:?}");
        let bytes = std::fs::read(self.path(name)).expect("it was written");
        let told: Value = serde_json::from_slice(&found.stdout).expect("the answer is JSON");
        assert_eq!(told["bytes"], bytes.len());
        bytes
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ours")
}

fn lines(bytes: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(bytes).expect("UTF-8");
    text.split_terminator('\n')
        .map(|line| serde_json::from_str(line).expect("a line is JSON"))
        .collect()
}

/// The programs of Python, installed once, whichever test comes first.
fn python() -> Result<PathBuf, String> {
    static PYTHON: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    PYTHON.get_or_init(install).clone()
}

fn install() -> Result<PathBuf, String> {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("venv-exports");
    let (complete, wanted) = (home.join("complete"), PACKAGES.join(" "));
    let done = |command: &mut Command| match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        other => Err(format!("{command:?}: {other:?}")),
    };
    if std::fs::read_to_string(&complete).unwrap_or_default() != wanted {
        let venv = ["-m", "venv", "--clear"];
        done(Command::new("python3").args(venv).arg(&home))?;
        let pip = ["-m", "pip", "install", "--quiet", "--prefer-binary"];
        let mut install = Command::new(home.join("bin/python"));
        done(install.args(pip).args(PACKAGES))?;
        std::fs::write(&complete, wanted).map_err(|error| error.to_string())?;
    }
    Ok(home.join("bin"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_the_same_from_the_service_and_from_the_files_and_is_recorded() {
    let exports = Exports::written().await;
    let wide = ["--agent", "billing", "--format", "json"];
    // The service may come up after the rows.
    eventually(PATIENCE, "the service answers", async || {
        let asked = exports.run("asked.jsonl", &[&wide[..], &["--as", "lee"]].concat());
        let code = asked.status.code();
        assert!(matches!(code, Some(0 | 69)), "{asked:?}");
        (code == Some(0)).then_some(())
    })
    .await;
    let asked = std::fs::read(exports.path("asked.jsonl")).expect("it was written");
    assert_eq!(asked, exports.export("read.jsonl", "json", &wide[..2]));
    let rows = lines(&asked);
    assert!(rows.iter().all(|row| row["agent_id"] == "billing"));
    let said = rows.iter().filter(|row| row["purpose"] == HOSTILE).count();
    assert!(said >= 5, "what was said came back as it was: {said}");
    let recorded = "SELECT purpose FROM events WHERE event = 'audit.accessed' \
                    AND actor_id = 'lee' AND purpose LIKE '%agent_id = ''billing''%'";
    eventually(PATIENCE, "the export is recorded", async || {
        let rows = exports.deployment.rows(recorded).await;
        (!rows.is_empty()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_are_the_same_each_time_and_hold_no_more_than_the_archive() {
    let exports = Exports::written().await;
    for format in FORMATS {
        // Nothing new comes for this agent.
        let by = ["--agent", "billing", "--until", "2100-01-01"];
        let first = exports.export("first", format, &by);
        assert_eq!(first, exports.export("again", format, &by), "{format}");
        let holds = |needle: &str| {
            first
                .windows(needle.len())
                .any(|part| part == needle.as_bytes())
        };
        assert!(!holds(PLANTED), "{format}");
        let none = exports.export("none", format, &["--agent", "nobody"]);
        assert!(none.len() < first.len(), "{format}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_call_writes_no_file_and_has_its_exit() {
    let exports = Exports::written().await;
    let archive = exports.deployment.archive();
    let archive = ["--archive", text(&archive)];
    let nowhere = exports.path("nowhere");
    let key = exports.key();
    for (args, exit, words) in [
        (vec!["--format", "aat"], 2, "--sign-with"),
        (vec!["--sign-with", text(&key)], 2, "--format aat"),
        (vec!["--format", "xml"], 2, "json, csv, parquet, ocsf, aat"),
        (vec!["--outcome", "gone"], 2, "succeeded"),
        (
            vec!["--sql", "SELECT 1 AS n", "--format", "ocsf"],
            2,
            "n is no column",
        ),
        (vec!["--sql", "SELECT nothing FROM events"], 2, "nothing"),
        (vec!["--sql", "DROP TABLE events"], 20, "only reading"),
        (vec!["--archive", text(&nowhere)], 69, "no archive"),
    ] {
        let all = match args.contains(&"--archive") {
            true => args.clone(),
            false => [&archive[..], &args[..]].concat(),
        };
        let found = exports.run("wrong", &all);
        let said = String::from_utf8_lossy(&found.stderr);
        assert_eq!(found.status.code(), Some(exit), "{args:?}: {said}");
        assert!(said.contains(words), "{args:?}: {said}");
        assert_eq!(
            exports.path("wrong").try_exists().ok(),
            Some(false),
            "{args:?}"
        );
    }
    // Neither the key nor a temporary file of those that failed.
    let left = std::fs::read_dir(exports.dir.path()).expect("a directory");
    assert_eq!(left.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trail_is_verified_by_the_verifier_of_the_draft_and_tampering_is_not() {
    let exports = Exports::written().await;
    let keys = exports.path("keys.json");
    let trail = exports.export("trail.jsonl", "aat", &["--keys-out", text(&keys)]);
    let rows = lines(&trail).len();
    assert!(rows > 12, "{rows}");
    let bin = match python() {
        Ok(bin) => bin,
        Err(why) => return eprintln!("SKIPPED what {PACKAGES:?} say: {why}"),
    };
    let verify = |name: &str, bytes: &[u8]| {
        std::fs::write(exports.path(name), bytes).expect("it can be written");
        let found = Command::new(bin.join("aat-verify"))
            .arg(exports.path(name))
            .args(["--json", "--keys", text(&keys)])
            .output()
            .expect("the program can be started");
        let said: Value = serde_json::from_slice(&found.stdout).expect("it answers in JSON");
        assert_eq!(
            found.status.code(),
            Some(i32::from(said["verified"] != true))
        );
        said
    };
    let whole = verify("whole", &trail);
    assert_eq!(whole["verified"], true, "{whole}");
    let checks = whole["checks"].as_array().expect("checks");
    assert!(
        checks
            .iter()
            .any(|check| check["name"].as_str().is_some_and(|n| n.contains("Merkle")))
    );
    let text = String::from_utf8(trail).expect("UTF-8");
    let all: Vec<&str> = text.lines().collect();
    let edited = text.replacen("\"agent_id\":\"billing\"", "\"agent_id\":\"biling\"", 1);
    assert_ne!(edited, text);
    let dropped = [&all[..3], &all[4..]].concat().join("\n");
    let cut = all[..all.len() - 1].join("\n");
    let swapped = [&all[..2], &[all[3], all[2]], &all[4..]]
        .concat()
        .join("\n");
    for (name, bytes) in [
        ("edited", edited),
        ("dropped", dropped),
        ("cut", cut),
        ("swapped", swapped),
    ] {
        let said = verify(name, bytes.as_bytes());
        assert_eq!(said["verified"], false, "{name}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_fit_the_published_schema_of_ocsf() {
    let exports = Exports::written().await;
    let events = lines(&exports.export("events.jsonl", "ocsf", &[]));
    assert!(events.len() >= 12);
    let bin = match python() {
        Ok(bin) => bin,
        Err(why) => return eprintln!("SKIPPED what {PACKAGES:?} say: {why}"),
    };
    let made = Command::new(bin.join("python"))
        .args(["-c", SCHEMA])
        .output()
        .expect("the program can be started");
    assert!(made.status.success(), "{made:?}");
    let schema: Value = serde_json::from_slice(&made.stdout).expect("a schema");
    let schema = jsonschema::validator_for(&schema).expect("a schema that can be used");
    for event in &events {
        let wrong: Vec<String> = schema.iter_errors(event).map(|e| e.to_string()).collect();
        assert!(wrong.is_empty(), "{wrong:?}: {event}");
    }
    // The schema is strict enough to see what is missing or made up.
    let mut without = events[0].clone();
    without["api"]
        .as_object_mut()
        .expect("an object")
        .remove("operation");
    assert!(!schema.is_valid(&without));
    let mut more = events[0].clone();
    more["invented"] = json!(1);
    assert!(!schema.is_valid(&more));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_needs_no_sql_and_says_when_there_is_more() {
    let exports = Exports::written().await;
    let archive = exports.deployment.archive();
    let search = |args: &[&str]| {
        let found = Command::new(program("countersign"))
            .args(["--json", "audit", "search"])
            .args(args)
            .arg("--dir")
            .arg(exports.deployment.files().dir())
            .env("COUNTERSIGN_NATS__URL", exports.deployment.url())
            .output()
            .expect("the program can be started");
        assert_eq!(found.status.code(), Some(0), "{found:?}");
        let said: Value = serde_json::from_slice(&found.stdout).expect("the answer is JSON");
        let events: Vec<String> = said["rows"]
            .as_array()
            .expect("rows")
            .iter()
            .map(|row| row["event"].as_str().expect("a name").to_owned())
            .collect();
        (events, said["more"] == true)
    };
    let files = ["--archive", text(&archive)];
    let by = |args: &[&str]| search(&[&files[..], args].concat());
    assert_eq!(by(&["SAY", "--agent", "billing"]).0.len(), 10);
    assert_eq!(by(&["say", "refused"]), (Vec::new(), false));
    let (few, more) = by(&["--agent", "billing", "--limit", "3"]);
    assert_eq!((few.len(), more), (3, true));
    assert!(!by(&["--text", "\"hi\", '", "--limit", "10"]).1);
    let asked = search(&["--as", "lee", "--agent", "billing", "unreadable"]);
    assert_eq!(asked.0, ["tool.refused", "tool.requested"]);
}
