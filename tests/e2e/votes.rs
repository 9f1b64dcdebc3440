//! Whose vote counts, and for what.

use std::time::Duration;

use countersign_runtime::clock::{Clock as _, SystemClock};
use countersign_tests::process::COORDINATOR;
use countersign_tests::{Agent, Deployment, Event};
use serde_json::json;

async fn large_booking(agent: &Agent) -> String {
    let input = json!({"account": "9", "amount": 500_000});
    agent.publish(&agent.intent("ledger.book", input)).await
}

fn not_counted(voted: &Event, code: &str) {
    assert_eq!(voted.body["counted"], json!(false), "{}", voted.body);
    assert_eq!(voted.text("/code"), code, "{}", voted.body);
    assert!(voted.text("/message").len() > 10, "{}", voted.body);
    assert_eq!(voted.text("/state"), "pending");
}

#[tokio::test]
async fn only_members_of_the_team_asked_and_only_for_what_they_were_shown() {
    let deployment = Deployment::start().await;
    let agent = deployment.agent("billing").await;
    let id = large_booking(&agent).await;
    let dora = deployment.approver("dora").await;
    let asked = dora.asked(&id).await;
    let (approval, digest) = (asked.text("/approval_id"), asked.text("/digest"));
    // A member of another team.
    let lee = deployment.approver("lee").await;
    let voted = lee.vote(approval, digest, "approve").await;
    not_counted(&voted, "not_a_member");
    deployment.archived_once(&voted).await;
    // The owner of the agent, who may be the requester.
    let sam = deployment.approver("sam").await;
    let voted = sam.vote(approval, digest, "approve").await;
    assert_eq!(voted.body["counted"], json!(false), "{}", voted.body);
    // A member, for something else than what was shown.
    let other = format!("sha256:{}", "0".repeat(64));
    let voted = dora.vote(approval, &other, "approve").await;
    not_counted(&voted, "wrong_digest");
    deployment.archived_once(&voted).await;
    assert!(
        agent.last(&id).await.is_none(),
        "decided without a vote that counts"
    );
    // And the one that counts.
    let voted = dora.vote(approval, digest, "approve").await;
    assert_eq!(voted.body["counted"], json!(true), "{}", voted.body);
    assert_eq!(agent.end(&id).await.text("/outcome"), "succeeded");
    assert_eq!(deployment.journal().counts().get(&id), Some(&1));
}

#[tokio::test]
async fn inputs_are_shown_to_the_team_asked_and_to_nobody_else() {
    let deployment = Deployment::start().await;
    let agent = deployment.agent("billing").await;
    let input = json!({"to": "office@partner.example", "subject": "s", "body": "b"});
    let id = agent.publish(&agent.intent("mail.send", input)).await;
    let dora = deployment.approver("dora").await;
    let asked = dora.asked(&id).await;
    let question = json!({"op": "show", "approval_id": asked.text("/approval_id")});
    let shown = dora.view(&question).await.to_string();
    assert!(shown.contains("partner.example"), "{shown}");
    assert!(
        !shown.contains("office@"),
        "shown beyond its domain: {shown}"
    );
    let lee = deployment.approver("lee").await;
    let shown = lee.view(&question).await.to_string();
    assert!(shown.contains(asked.text("/approval_id")), "{shown}");
    assert!(!shown.contains("partner.example"), "{shown}");
}

#[tokio::test]
async fn an_approval_that_nobody_answers_expires_even_if_the_coordinator_was_away() {
    let mut deployment = Deployment::start().await;
    let agent = deployment.agent("billing").await;
    let mut intent = agent.intent("ledger.book", json!({"account": "9", "amount": 500_000}));
    // People must be asked before, on a machine that stalls too.
    let soon = SystemClock.now().plus(Duration::from_secs(15));
    intent["expires_at"] = json!(soon.to_string());
    let id = agent.publish(&intent).await;
    let dora = deployment.approver("dora").await;
    let asked = dora.asked(&id).await;
    deployment.service(COORDINATOR).restart();
    let end = agent.end(&id).await;
    assert!(end.is("tool.blocked"), "{end:?}");
    assert_eq!(end.text("/code"), "approval_expired");
    let late = dora
        .vote(asked.text("/approval_id"), asked.text("/digest"), "approve")
        .await;
    assert_eq!(late.body["counted"], json!(false));
    assert!(!deployment.journal().counts().contains_key(&id));
}
