//! A time window from the command line to the tool, and to its end.

use std::process::{Command, Output};

use countersign_tests::process::program;
use countersign_tests::{Agent, Deployment, PATIENCE, eventually};
use serde_json::{Value, json};

use crate::policy::publish;

/// Runs the command line as Dora, and gives exit code and answer.
fn window(deployment: &Deployment, args: &[&str]) -> (i32, Value) {
    window_as(deployment, "dora", args)
}

fn window_as(deployment: &Deployment, who: &str, args: &[&str]) -> (i32, Value) {
    command_as(deployment, who, &[&["window"], args].concat())
}

fn command_as(deployment: &Deployment, who: &str, args: &[&str]) -> (i32, Value) {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(program("countersign"))
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

    let other = open.map(|word| if word == "2" { "3" } else { word });
    let (code, conflict) = window(&deployment, &other);
    assert_eq!(code, 20, "other limits are another window: {conflict}");

    for _ in 0..2 {
        let lifted = large_booking(&agent).await;
        assert_eq!(agent.end(&lifted).await.text("/outcome"), "succeeded");
        assert_eq!(deployment.journal().counts().get(&lifted), Some(&1));
    }
    assert_eq!(uses(&deployment, 2).await["uses_left"], json!(0));
    let more = large_booking(&agent).await;
    dora.asked(&more).await;

    let (code, closed) = window(&deployment, &["close", &id, "--reason", "done"]);
    let state = &closed["results"][0]["state"];
    assert_eq!((code, state), (0, &json!("closed")), "{closed}");
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
        (code, &unknown["results"][0]["code"]),
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
        "--yes",
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

/// Bookings of any size take two of finance, beside the one that large ones take.
const TWO_OF_FINANCE: &str = r#"
@id("two-book")
@because("two of finance look at bookings")
@need("two approvals of finance")
@ask("finance:2")
@window("1h")
forbid (principal, action == Action::"ledger.book", resource);
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_takes_two_people_waits_for_the_second() {
    let deployment = Deployment::start().await;
    let agent = deployment.agent("billing").await;
    publish(&deployment, "policies/more.cedar", TWO_OF_FINANCE).await;
    let ahead = [
        "open",
        "--agent",
        "billing",
        "--tool",
        "ledger.book",
        "--for",
        "10m",
        "--reason",
        "the books of tonight",
        "--yes",
    ];
    let (code, waits) = window(&deployment, &ahead);
    assert_eq!((code, &waits["state"]), (21, &json!("waiting")), "{waits}");
    let id = waits["approval_id"].as_str().expect("an approval");
    let (code, list) = command_as(&deployment, "finn", &["approvals", "list", "--mine"]);
    assert_eq!(code, 0, "{list}");
    let listed = &list["approvals"][0]["asked"];
    assert_eq!(
        (&listed["approval_id"], &listed["kind"]),
        (&json!(id), &json!("window")),
        "{list}"
    );
    let (code, voted) = command_as(&deployment, "finn", &["approvals", "approve", id, "--yes"]);
    assert_eq!(code, 0, "{voted}");
    assert_eq!(voted["results"][0]["state"], "approved", "{voted}");
    let lifted = large_booking(&agent).await;
    assert_eq!(agent.end(&lifted).await.text("/outcome"), "succeeded");
    let shown = uses(&deployment, 1).await;
    assert_eq!(shown["opened_by"], json!(["dora", "finn"]), "{shown}");
    assert_eq!(shown["window_id"], json!(id), "{shown}");
    let (code, closed) = window(&deployment, &["close", id]);
    assert_eq!(code, 0, "{closed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_stops_what_a_window_would_let_through_and_takes_none_of_its_uses() {
    let deployment = Deployment::start().await;
    let agent = deployment.agent("billing").await;
    let operator = deployment.operator().await;
    let ahead = [
        "open",
        "--agent",
        "billing",
        "--tool",
        "ledger.book",
        "--for",
        "10m",
        "--reason",
        "tonight",
        "--yes",
    ];
    let (code, opened) = window(&deployment, &ahead);
    assert_eq!(code, 0, "{opened}");
    let (code, again) = window(&deployment, &ahead);
    assert_eq!(
        (code, &again["window_id"]),
        (0, &opened["window_id"]),
        "the same again opens no second one"
    );
    let scope = json!({"agent": "billing"});
    let frozen = operator.order("freeze", &scope).await;
    operator.answer("control.done", frozen).await;
    let stopped = large_booking(&agent).await;
    let end = agent.end(&stopped).await;
    assert!(end.is("tool.blocked"), "{end:?}");
    assert_eq!(end.text("/code"), "frozen");
    let other = ahead.map(|word| if word == "10m" { "11m" } else { word });
    let (code, refused) = window(&deployment, &other);
    assert_eq!(
        (code, &refused["code"]),
        (20, &json!("frozen")),
        "{refused}"
    );
    assert_eq!(uses(&deployment, 0).await["open"], json!(true));
    let released = operator.order("unfreeze", &scope).await;
    operator.answer("control.done", released).await;
    let goes_on = large_booking(&agent).await;
    assert_eq!(agent.end(&goes_on).await.text("/outcome"), "succeeded");
    uses(&deployment, 1).await;
    let counts = deployment.journal().counts();
    assert_eq!(
        (counts.get(&stopped), counts.get(&goes_on)),
        (None, Some(&1))
    );
}
