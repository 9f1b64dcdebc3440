//! `countersign freeze|unfreeze|status` as an operator types it, on a running deployment.

use std::process::Output;

use countersign_tests::deployment::OPERATOR;
use countersign_tests::process::{COORDINATOR, program};
use countersign_tests::{Agent, Deployment, Event};
use serde_json::{Value, json};
use tokio::process::Command;

/// Runs `countersign` with these words.
async fn command(deployment: &Deployment, words: &[&str]) -> Output {
    let mut command = Command::new(program("countersign"));
    command
        .arg("--json")
        .args(words)
        .arg("--dir")
        .arg(deployment.files().dir())
        .env("COUNTERSIGN_NATS__URL", deployment.url());
    command.output().await.expect("the program runs")
}

/// The exit code, and the answer.
async fn run(deployment: &Deployment, words: &[&str]) -> (i32, Value) {
    let output = command(deployment, words).await;
    let told = String::from_utf8_lossy(&output.stderr);
    let answer = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let code = output.status.code().expect("an exit code");
    assert_ne!(code, 1, "{words:?}: {told}");
    (code, answer)
}

async fn order(deployment: &Deployment, words: &str) -> Value {
    let words: Vec<&str> = words.split(' ').chain(["--reason", "a test"]).collect();
    let (code, answer) = run(deployment, &words).await;
    assert_eq!(code, 0, "{words:?}: {answer}");
    assert_eq!(answer["state"], "done", "{answer}");
    answer
}

async fn booking(agent: &Agent) -> Event {
    let input = json!({"account": "9", "amount": 10});
    let id = agent.publish(&agent.intent("ledger.book", input)).await;
    agent.end(&id).await
}

async fn frozen(deployment: &Deployment) -> Vec<String> {
    // How the services are, which its exit tells, is no matter here.
    let (_, answer) = run(deployment, &["status", "--as", OPERATOR]).await;
    let all = answer["freezes"].as_array().expect("a list");
    all.iter()
        .map(|one| one["covers"].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_freezes_looks_and_releases() {
    let mut deployment = Deployment::start().await;
    let (billing, crm) = (
        deployment.agent("billing").await,
        deployment.agent("crm").await,
    );
    assert!(booking(&billing).await.is("tool.completed"));

    let answer = order(&deployment, "freeze agent billing").await;
    assert_eq!(answer["covers"], "agent billing");
    assert_eq!(answer["running"], json!([]));
    assert!(answer["took_ms"].as_u64().expect("a time") < 60_000);
    let stopped = booking(&billing).await;
    assert!(stopped.is("tool.blocked"), "{stopped:?}");
    assert_eq!(stopped.text("/code"), "frozen");
    let read = crm.intent("crm.read_contact", json!({"contact_id": "C-1"}));
    let read = crm.end(&crm.publish(&read).await).await;
    assert!(read.is("tool.completed"), "another agent goes on: {read:?}");

    // The same again succeeds, and an overlapping one is another.
    order(&deployment, "freeze agent billing").await;
    let misspelt = order(&deployment, "freeze tool ledger.bok").await;
    let known = misspelt["in_force"].as_array().expect("a list");
    assert!(known.iter().any(|one| one["known"] == false), "{misspelt}");
    order(&deployment, "freeze all").await;
    assert_eq!(
        frozen(&deployment).await,
        ["agent billing", "tool ledger.bok", "everything"]
    );
    order(&deployment, "unfreeze all").await;
    order(&deployment, "unfreeze tool ledger.bok").await;
    assert!(booking(&billing).await.is("tool.blocked"), "still frozen");
    order(&deployment, "unfreeze agent billing").await;
    order(&deployment, "unfreeze agent billing").await;
    assert!(frozen(&deployment).await.is_empty());
    assert!(booking(&billing).await.is("tool.completed"));

    // Each end has its exit code.
    for (words, expected) in [
        (vec!["freeze", "agent", "billing", "--reason", " "], 2),
        (vec!["freeze", "all", "billing", "--reason", "x"], 2),
        (vec!["freeze", "team", "x", "--reason", "x"], 2),
        (
            vec!["freeze", "agent", "billing", "--reason", "x", "--as", "lee"],
            64,
        ),
    ] {
        let (code, answer) = run(&deployment, &words).await;
        assert_eq!(code, expected, "{words:?}: {answer}");
    }
    deployment.service(COORDINATOR).kill();
    let words = ["freeze", "all", "--reason", "x", "--wait", "1"];
    let (code, answer) = run(&deployment, &words).await;
    assert_eq!((code, &answer["state"]), (21, &json!("stored")));
    deployment.service(COORDINATOR).restart();
    order(&deployment, "freeze all").await;
    assert!(booking(&billing).await.is("tool.blocked"));
    deployment.server().kill().expect("a server can be killed");
    let (code, _) = run(&deployment, &words).await;
    assert_eq!(code, 69);
}
