//! The whole path with the real programs: agents, archiver, query service, command line.

use std::process::{Command, Output};

use countersign_tests::process::{ARCHIVER, program};
use countersign_tests::{Deployment, PATIENCE, eventually};
use serde_json::{Value, json};

use crate::server::Bucket;

/// The service that answers SQL.
const QUERY: &str = "audit-query";

struct Audit {
    deployment: Deployment,
    settings: Vec<(String, String)>,
}

impl Audit {
    async fn in_bucket(bucket: &Bucket, prefix: &str) -> Self {
        let credentials = bucket.credentials().display().to_string();
        let settings: Vec<(String, String)> = [
            ("URL", bucket.url(prefix)),
            ("ENDPOINT", bucket.endpoint()),
            ("CREDENTIALS_FILE", credentials),
        ]
        .map(|(key, value)| (format!("COUNTERSIGN_ARCHIVE__{key}"), value))
        .into();
        let named: Vec<_> = settings
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        let mut deployment = Deployment::without_services(&named).await;
        for name in [ARCHIVER, QUERY] {
            deployment.launch(name);
        }
        Self {
            deployment,
            settings,
        }
    }

    fn run(&self, args: &[&str]) -> Output {
        Command::new(program("countersign"))
            .args(["--json", "audit"])
            .args(args)
            .arg("--dir")
            .arg(self.deployment.files().dir())
            .env("COUNTERSIGN_NATS__URL", self.deployment.url())
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .output()
            .expect("the program can be started")
    }

    fn told(&self, args: &[&str]) -> Value {
        let found = self.run(args);
        assert_eq!(found.status.code(), Some(0), "{found:?}");
        serde_json::from_slice(&found.stdout).expect("the answer is JSON")
    }

    /// Publishes intents and waits until a person is answered with so many rows of them.
    async fn archived(&self, more: u64, all: u64) -> String {
        let agent = self.deployment.agent("crm").await;
        let mut id = String::new();
        for _ in 0..more {
            let intent = agent.intent("crm.read_contact", json!({"contact_id": "1"}));
            id = agent.publish(&intent).await;
        }
        let sql = "SELECT count(*) AS n FROM events WHERE event = 'tool.requested'";
        eventually(PATIENCE, "the service answers with the rows", async || {
            let found = self.run(&["query", sql, "--as", "lee"]);
            let told: Value = serde_json::from_slice(&found.stdout).ok()?;
            (told == json!([{"n": all}])).then_some(())
        })
        .await;
        id
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_agents_do_is_archived_in_a_bucket_answered_verified_and_proved() {
    let Some(bucket) = Bucket::new() else { return };
    let mut audit = Audit::in_bucket(&bucket, "acme/archive").await;
    audit.archived(5, 5).await;
    audit.deployment.service(ARCHIVER).kill();
    audit.deployment.service(ARCHIVER).restart();
    let id = audit.archived(4, 9).await;
    // Rows can be asked for before the state file knows their commit.
    audit.deployment.service(ARCHIVER).end().await;
    let url = bucket.url("acme/archive");
    let count = "SELECT count(*) AS n, count(DISTINCT seq) AS seqs FROM events \
                 WHERE event = 'tool.requested'";
    let rows = audit.told(&["query", count, "--archive", &url]);
    assert_eq!(rows, json!([{"n": 9, "seqs": 9}]));
    let story = audit.told(&["show", &id, "--archive", &url]);
    assert_eq!(story[0]["event"], "tool.requested");
    let exported = audit.run(&["export", "--intent", &id, "--archive", &url]);
    assert_eq!(exported.status.code(), Some(0), "{exported:?}");
    let lines = String::from_utf8_lossy(&exported.stdout).into_owned();
    assert!(lines.contains(&id) && lines.lines().count() == 1, "{lines}");
    let report = audit.told(&["verify"]);
    assert_eq!(report["report"]["tail_proved"], true, "{report}");
    let named = audit.told(&["verify", "--archive", &url]);
    assert_eq!(named, report, "the state file is about the same place");
    let out = audit.deployment.dir().join("proofs");
    let proofs = audit.told(&["prove", &id, "--out", out.to_str().expect("a path")]);
    let row = proofs["rows"][0]["leaf_index"].to_string();
    let proof = out.join(format!("{row}.tlog-proof"));
    let checked = audit.told(&["verify", "--proof", proof.to_str().expect("a path")]);
    assert_eq!(checked["row"]["intent_id"], id.as_str());
    let local = audit.deployment.archive();
    let there = local.join("manifest").try_exists();
    assert!(!there.expect("it can be told"), "nothing is on this disk");
}

#[tokio::test(flavor = "multi_thread")]
async fn tampering_in_a_bucket_is_named_and_an_empty_prefix_is_no_archive() {
    let Some(bucket) = Bucket::new() else { return };
    let mut audit = Audit::in_bucket(&bucket, "acme").await;
    audit.archived(3, 3).await;
    audit.deployment.service(ARCHIVER).end().await;
    audit.told(&["verify"]);
    let store = bucket.store("acme");
    let files = store.list("archive/v1").expect("a list");
    let path = &files[0].path;
    let seen = store.see(path, 1024 * 1024).expect("it is read");
    let honest = seen.bytes.clone().expect("a file");
    let mut edited = honest.clone();
    let middle = edited.len() / 2;
    edited[middle] ^= 1;
    assert!(store.swap(path, &edited, seen).expect("it is written"));
    let found = audit.run(&["verify"]);
    assert_eq!(found.status.code(), Some(1), "{found:?}");
    let said: Value = serde_json::from_slice(&found.stdout).expect("the answer is JSON");
    assert_eq!(said["place"]["path"], path.as_str(), "{said}");
    store.remove(path).expect("it goes");
    let refused = audit.run(&["query", "SELECT 1", "--archive", &bucket.url("acme")]);
    assert_eq!(refused.status.code(), Some(69), "{refused:?}");
    let text = String::from_utf8_lossy(&refused.stderr);
    assert!(text.contains(path.as_str()), "{text}");
    let none = audit.run(&["query", "SELECT 1", "--archive", &bucket.url("other")]);
    assert_eq!(none.status.code(), Some(69), "{none:?}");
    let text = String::from_utf8_lossy(&none.stderr);
    assert!(text.contains("is no archive"), "{text}");
}
