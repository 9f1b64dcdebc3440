//! An outcome that nobody knew: from the executor that vanished to what a person found.

use std::time::Duration;

use countersign_tests::deployment::OPERATOR;
use countersign_tests::process::{EXECUTOR, program};
use countersign_tests::worker::NEVER_ANSWERS;
use countersign_tests::{Agent, Deployment, Event, PATIENCE, eventually};
use serde_json::{Value, json};
use tokio::process::Command;

/// How long a claim may be silent until the sweep ends it, on a busy machine.
const LEASE: Duration = Duration::from_secs(90);

struct Ended {
    code: i32,
    json: Value,
    told: String,
}

async fn reconcile(
    deployment: &Deployment,
    who: &str,
    id: &str,
    outcome: &str,
    reason: &str,
) -> Ended {
    let mut command = Command::new(program("countersign"));
    command
        .args(["--json", "reconcile", id, "--outcome", outcome])
        .args(["--reason", reason, "--as", who, "--dir"])
        .arg(deployment.files().dir())
        .env("COUNTERSIGN_NATS__URL", deployment.url())
        .kill_on_drop(true);
    let ended = tokio::time::timeout(PATIENCE, command.output()).await;
    let ended = ended.expect("it ends").expect("the program runs");
    Ended {
        code: ended.status.code().expect("not killed"),
        json: serde_json::from_slice(&ended.stdout).unwrap_or_default(),
        told: String::from_utf8_lossy(&ended.stderr).into_owned(),
    }
}

async fn stored(deployment: &Deployment, filter: &str) -> Vec<Event> {
    let observer = deployment.observer().await;
    observer.read("CS_EVENTS", filter).await
}

async fn one(deployment: &Deployment, filter: &str) -> Event {
    eventually(PATIENCE, filter, async || {
        stored(deployment, filter).await.pop()
    })
    .await
}

/// An intent whose call the worker has and never answers.
async fn unanswered(deployment: &Deployment, agent: &Agent) -> String {
    let input = json!({"account": NEVER_ANSWERS, "amount": 1});
    let id = agent.publish(&agent.intent("ledger.book", input)).await;
    eventually(PATIENCE, "the worker has the call", async || {
        deployment.journal().counts().get(&id).copied()
    })
    .await;
    id
}

#[tokio::test]
async fn what_became_of_a_vanished_call_is_found_out_by_an_operator_once() {
    let mut deployment = Deployment::start().await;
    let agent = deployment.agent("billing").await;
    let id = unanswered(&deployment, &agent).await;
    // Stopped, it does not find out by itself that there is no answer.
    deployment.service(EXECUTOR).pause();
    let early = reconcile(&deployment, OPERATOR, &id, "failed", "Too early.").await;
    assert_eq!(
        early.code, 20,
        "it still runs: {} {}",
        early.json, early.told
    );

    deployment.service(EXECUTOR).kill();
    let end = agent.end_within(LEASE, &id).await;
    assert_eq!(end.text("/outcome"), "unknown", "{end:?}");
    let asked = one(&deployment, &format!("handoff.outcome.support.{id}")).await;
    assert!(asked.body.to_string().contains("ledger.book"), "{asked:?}");

    // Whoever is no operator finds nothing: without the credential, and with one that only
    // bears an operator's name.
    let stranger = reconcile(&deployment, "dora", &id, "succeeded", "I saw it.").await;
    assert_eq!(stranger.code, 64, "{}", stranger.told);
    let creds = deployment.files().dir().join("creds");
    let [own, posing] =
        ["approver", "operator"].map(|role| creds.join(format!("{role}-dora.creds")));
    std::fs::copy(own, &posing).expect("a copy");
    let posed = reconcile(&deployment, "dora", &id, "succeeded", "I saw it.").await;
    assert_eq!(posed.code, 20, "{} {}", posed.json, posed.told);
    assert!(posed.told.contains("outcome.found.dora"), "{}", posed.told);
    std::fs::remove_file(posing).expect("it is there");
    let record = format!("outcome.reconciled.billing.{id}");
    assert!(stored(&deployment, &record).await.is_empty());

    let reason = "It is in the ledger.";
    let first = reconcile(&deployment, OPERATOR, &id, "succeeded", reason).await;
    assert_eq!(first.code, 0, "{} {}", first.json, first.told);
    assert_eq!(first.json["state"], "recorded");
    let found = one(&deployment, &record).await;
    assert_eq!(found.text("/outcome"), "succeeded");
    assert_eq!(
        (found.text("/operator"), found.text("/reason")),
        (OPERATOR, reason)
    );
    let told = one(&deployment, &format!("handoff.outcome.support.{id}-found")).await;
    assert!(told.body.to_string().contains(reason), "{told:?}");

    let again = reconcile(&deployment, OPERATOR, &id, "succeeded", reason).await;
    assert_eq!((again.code, &again.json["state"]), (0, &json!("known")));
    assert_eq!(again.json["found"], first.json["found"]);
    let other = reconcile(&deployment, OPERATOR, &id, "failed", "It is not.").await;
    assert_eq!(other.code, 20, "{} {}", other.json, other.told);
    let message = other.json["message"].as_str().expect("words");
    assert!(message.contains("olga found at"), "{message}");

    // The executor is back: neither the end nor the finding changes, and nothing runs again.
    deployment.service(EXECUTOR).restart();
    deployment.ready().await;
    assert_eq!(deployment.journal().counts().get(&id), Some(&1));
    assert_eq!(stored(&deployment, &record).await.len(), 1);
    let head = agent.last(&id).await.expect("its end");
    assert_eq!(
        head.text("/outcome"),
        "unknown",
        "the chain says what was known"
    );
}
