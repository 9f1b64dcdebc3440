//! A time window from the command line to the tool, and to its end.

use std::process::{Command, Output};

use countersign_tests::process::program;
use countersign_tests::{Agent, Deployment, PATIENCE, eventually};
use serde_json::{Value, json};

/// Runs the command line as Dora, and gives exit code and answer.
fn window(deployment: &Deployment, args: &[&str]) -> (i32, Value) {
    window_as(deployment, "dora", args)
}

fn window_as(deployment: &Deployment, who: &str, args: &[&str]) -> (i32, Value) {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(program("countersign"))
        .arg("window")
        .args(args)
        .args(["--as", who, "--json", "--dir"])
        .arg(deployment.files().dir())
        .args(["--set", &format!("nats.url={}", deployment.url())])
        .output()
        .expect("the command line runs");
    let answer = serde_json::from_slice(&stdout)
        .unwrap_or_else(|_| json!({"stderr": String::from_utf8_lossy(&stderr)}));
    (status.code().expect("it ends by itself"), answer)
}

async fn large_booking(agent: &Agent) -> String {
    let input = json!({"account": "9", "amount": 500_000});
    agent.publish(&agent.intent("ledger.book", input)).await
}

async fn uses(deployment: &Deployment, expected: u64) -> Value {
    eventually(PATIENCE, "the list tells the uses", async || {
        let (code, answer) = window(deployment, &["list"]);
        assert_eq!(code, 0, "{answer}");
        let found = answer["windows"][0].clone();
        (found["uses"] == json!(expected)).then_some(found)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_lifts_asks_as_often_as_it_says_until_it_is_closed() {
    let deployment = Deployment::start().await;
    let agent = deployment.agent("billing").await;
    let dora = deployment.approver("dora").await;
    let first = large_booking(&agent).await;
    let asked = dora.asked(&first).await;
    let approval = asked.text("/approval_id");
    let open = [
        "open",
        "--with",
        approval,
        "--for",
        "30m",
        "--max-uses",
        "2",
        "--yes",
    ];
    let too_long = ["open", "--with", approval, "--for", "2h", "--yes"];
    let (code, answer) = window(&deployment, &too_long);
    assert_eq!(code, 20, "policy says an hour: {answer}");
    assert_eq!(
        answer["results"][0]["code"], "window_not_permitted",
        "{answer}"
    );
    let (code, answer) = window(&deployment, &open);
    assert_eq!(code, 0, "{answer}");
    assert_eq!(agent.end(&first).await.text("/outcome"), "succeeded");
    let listed = uses(&deployment, 0).await;
    let id = listed["window_id"].as_str().expect("an id").to_owned();
    assert_eq!(listed["opened_by"], json!(["dora"]));
    let (code, again) = window(&deployment, &open);
    assert_eq!(
        (code, &again["window_id"]),
        (0, &json!(id)),
        "the same again: {again}"
    );

    for _ in 0..2 {
        let lifted = large_booking(&agent).await;
        assert_eq!(agent.end(&lifted).await.text("/outcome"), "succeeded");
        assert_eq!(deployment.journal().counts().get(&lifted), Some(&1));
    }
    assert_eq!(uses(&deployment, 2).await["uses_left"], json!(0));
    let more = large_booking(&agent).await;
    dora.asked(&more).await;

    let (code, closed) = window(&deployment, &["close", &id, "--reason", "done"]);
    assert_eq!((code, &closed["state"]), (0, &json!("closed")), "{closed}");
    let (code, again) = window(&deployment, &["close", &id]);
    assert_eq!(
        (code, again),
        (0, closed),
        "closing it again changes nothing"
    );
    let (_, none) = window(&deployment, &["list"]);
    assert_eq!(none["windows"], json!([]), "{none}");
    let (code, unknown) = window(&deployment, &["close", "w-abc-1"]);
    assert_eq!(
        (code, &unknown["code"]),
        (20, &json!("unknown")),
        "{unknown}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_ahead_of_time_takes_a_member_of_the_team_that_decides() {
    let deployment = Deployment::start().await;
    let agent = deployment.agent("billing").await;
    let ahead = [
        "open",
        "--agent",
        "billing",
        "--tool",
        "ledger.book",
        "--for",
        "10m",
        "--max-uses",
        "1",
        "--reason",
        "the books of tonight",
    ];
    let (code, refused) = window_as(&deployment, "lee", &ahead);
    assert_eq!(code, 20, "support does not decide on bookings: {refused}");
    assert_eq!(refused["code"], "window_not_permitted", "{refused}");
    let (code, opened) = window(&deployment, &ahead);
    assert_eq!((code, &opened["state"]), (0, &json!("open")), "{opened}");
    let lifted = large_booking(&agent).await;
    assert_eq!(agent.end(&lifted).await.text("/outcome"), "succeeded");
    let more = large_booking(&agent).await;
    deployment.approver("dora").await.asked(&more).await;
}
