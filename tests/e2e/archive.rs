//! The archive with real credentials: rows appear, SQL answers a person, every tampering is
//! found by the command.

use std::process::{Command, Output};

use countersign_tests::process::{ARCHIVER, CHECKER, program};
use countersign_tests::{Deployment, PATIENCE, eventually};
use serde_json::{Value, json};

/// The service that answers SQL; not part of an intent's own path.
const QUERY: &str = "audit-query";
/// A card number and a mail address that must be nowhere in the archive.
const PLANTED: [&str; 2] = ["4111 1111 1111 1111", "pat.smith@example.com"];

struct Audit<'a> {
    deployment: &'a Deployment,
}

impl Audit<'_> {
    fn run(&self, args: &[&str]) -> Output {
        Command::new(program("countersign"))
            .args(["--json", "audit"])
            .args(args)
            .arg("--dir")
            .arg(self.deployment.files().dir())
            .env("COUNTERSIGN_NATS__URL", self.deployment.url())
            .output()
            .expect("the program can be started")
    }

    fn ask(&self, sql: &str, more: &[&str]) -> Option<Value> {
        let mut args = vec!["query", sql, "--as", "lee"];
        args.extend(more);
        let found = self.run(&args);
        (found.status.code() == Some(0))
            .then(|| serde_json::from_slice(&found.stdout).expect("the answer is JSON"))
    }
}

async fn deployment() -> Deployment {
    let mut deployment = Deployment::without_services(&[]).await;
    for name in [ARCHIVER, QUERY] {
        deployment.launch(name);
    }
    deployment
}

/// Stores intents of two agents and a body that nobody can read; returns one id.
async fn stored(deployment: &Deployment) -> String {
    let (billing, crm) = (
        deployment.agent("billing").await,
        deployment.agent("crm").await,
    );
    let input = json!({"to": PLANTED[1], "note": PLANTED[0]});
    let mut intent = billing.intent("mail.send", input);
    intent["purpose"] = json!(format!("pay with {} for {}", PLANTED[0], PLANTED[1]));
    let id = billing.publish(&intent).await;
    crm.publish(&crm.intent("crm.read_contact", json!({"contact_id": "1"})))
        .await;
    crm.publish_bytes(format!("{{\"broken\": \"{}\"", PLANTED[1]))
        .await
        .seq();
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_events_are_answered_by_sql_and_look_ups_are_archived_too() {
    let deployment = deployment().await;
    let id = stored(&deployment).await;
    let audit = Audit {
        deployment: &deployment,
    };
    let sql = "SELECT event, agent_id, intent_id, level FROM events \
               WHERE stream = 'CS_INTENTS' ORDER BY seq";
    let rows = eventually(PATIENCE, "three rows are answered", async || {
        audit
            .ask(sql, &[])
            .filter(|rows| rows.as_array().is_some_and(|rows| rows.len() == 3))
    })
    .await;
    let first = json!({"event": "tool.requested", "agent_id": "billing", "intent_id": id, "level": "request"});
    assert_eq!(rows[0], first);
    assert_eq!(rows[2]["level"], "metadata");
    let looked = "SELECT DISTINCT actor_id FROM events WHERE event = 'audit.accessed'";
    eventually(PATIENCE, "the look-up is archived", async || {
        audit
            .ask(looked, &[])
            .filter(|rows| *rows == json!([{"actor_id": "lee"}]))
    })
    .await;
    let told = audit.run(&["show", &id, "--as", "lee"]);
    assert_eq!(told.status.code(), Some(0), "{told:?}");
    let refused = audit.run(&["query", "DROP TABLE events", "--as", "lee"]);
    assert_eq!(refused.status.code(), Some(20), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_alone_answer_hold_no_planted_value_and_tampering_is_found() {
    let mut deployment = deployment().await;
    stored(&deployment).await;
    let archive = deployment.archive();
    let dir = archive.display().to_string();
    let count = "SELECT count(*) AS n FROM events WHERE stream = 'CS_INTENTS'";
    eventually(PATIENCE, "the files hold three rows", async || {
        let audit = Audit {
            deployment: &deployment,
        };
        audit
            .ask(count, &["--archive", &dir])
            .filter(|rows| *rows == json!([{"n": 3}]))
    })
    .await;
    deployment.service(ARCHIVER).end().await;
    let files = files(&archive);
    for (path, bytes) in &files {
        for planted in PLANTED {
            let found = bytes
                .windows(planted.len())
                .any(|part| part == planted.as_bytes());
            assert!(!found, "{planted} stands in {path}");
        }
    }
    let audit = Audit {
        deployment: &deployment,
    };
    let whole = audit.run(&["verify"]);
    assert_eq!(whole.status.code(), Some(0), "{whole:?}");
    let (path, bytes) = files
        .iter()
        .find(|(path, _)| path.ends_with(".parquet"))
        .expect("there is a file");
    let mut edited = bytes.clone();
    edited[bytes.len() / 2] ^= 1;
    std::fs::write(path, &edited).expect("the file can be written");
    let bad = audit.run(&["verify"]);
    assert_eq!(bad.status.code(), Some(1), "{bad:?}");
    let said: Value = serde_json::from_slice(&bad.stdout).expect("the answer is JSON");
    assert!(
        said["bad_place"]
            .as_str()
            .is_some_and(|place| place.contains(".parquet")),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archiver_killed_again_and_again_writes_each_event_once() {
    let mut deployment = deployment().await;
    deployment.launch(CHECKER);
    let agent = deployment.agent("crm").await;
    let rounds = 6_usize;
    for _ in 0..rounds {
        for _ in 0..10 {
            let intent = agent.intent("crm.read_contact", json!({"contact_id": "1"}));
            agent.publish(&intent).await;
        }
        deployment.service(ARCHIVER).restart();
    }
    let dir = deployment.archive().display().to_string();
    let sql = "SELECT count(*) AS n, count(DISTINCT intent_id) AS intents FROM events \
               WHERE event = 'tool.requested'";
    let wanted = json!([{"n": rounds * 10, "intents": rounds * 10}]);
    let audit = Audit {
        deployment: &deployment,
    };
    eventually(PATIENCE, "every intent is archived once", async || {
        let rows = audit.ask(sql, &["--archive", &dir])?;
        let n = rows[0]["n"].as_u64()?;
        assert!(
            n <= u64::try_from(rounds * 10).ok()?,
            "a row is there twice"
        );
        (rows == wanted).then_some(())
    })
    .await;
    let holes = "SELECT stream FROM events GROUP BY stream, incarnation \
                 HAVING count(*) <> max(seq) OR min(seq) <> 1 OR count(DISTINCT seq) <> count(*)";
    assert_eq!(audit.ask(holes, &["--archive", &dir]), Some(json!([])));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_story_of_an_approved_intent_is_one_row_of_actions() {
    let deployment = Deployment::start().await;
    let agent = deployment.agent("billing").await;
    let input = json!({"account": "78", "amount": 100_000, "memo": "rent"});
    let id = agent.publish(&agent.intent("ledger.book", input)).await;
    let dora = deployment.approver("dora").await;
    let asked = dora.asked(&id).await;
    dora.vote(asked.text("/approval_id"), asked.text("/digest"), "approve")
        .await;
    let end = agent.end(&id).await;
    assert!(end.is("tool.completed"), "{}", end.body);
    deployment.archived_once(&end).await;
    let sql = format!(
        "SELECT requester_id, requester_proof, agent_id, tool_name, operation, verdict, decision, \
         decided_by_kind, decided_by, state, outcome FROM actions WHERE intent_id = '{id}'"
    );
    // The request is of another stream than its end, and may come into the archive after it.
    let asked =
        format!("SELECT event FROM events WHERE event = 'tool.requested' AND intent_id = '{id}'");
    deployment.rows_once_there(&asked, 1).await;
    let rows = deployment.rows(&sql).await;
    assert_eq!(
        rows,
        [
            json!({"requester_id": "mia", "requester_proof": "claimed", "agent_id": "billing",
            "tool_name": "ledger.book", "operation": "create", "verdict": "ask",
            "decision": "approved", "decided_by_kind": "person", "decided_by": "dora",
            "state": "succeeded", "outcome": "succeeded"})
        ]
    );
    let unclean = "SELECT event, reason_codes FROM events WHERE level = 'metadata'";
    assert_eq!(deployment.rows(unclean).await, [] as [Value; 0]);
}

/// Path and bytes of every file beneath `dir`.
fn files(dir: &std::path::Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for item in std::fs::read_dir(dir).expect("a directory") {
        let path = item.expect("an item").path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            let bytes = std::fs::read(&path).expect("a file");
            all.push((path.display().to_string(), bytes));
        }
    }
    all
}
