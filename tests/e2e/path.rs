//! The four ways of an intent: allowed, asked and approved, asked and denied, blocked.

use countersign_schemas::codec::{Encoding, encode};
use countersign_schemas::events::ToolRequested;
use countersign_tests::{Deployment, eventually};
use serde_json::json;

#[tokio::test]
async fn a_read_is_allowed_runs_once_and_shows_only_exposed_fields() {
    let deployment = Deployment::start().await;
    let agent = deployment.agent("billing").await;
    let id = agent
        .publish(&agent.intent("crm.read_contact", json!({"contact_id": "C-1042"})))
        .await;
    let end = agent.end(&id).await;
    assert!(end.is("tool.completed"), "{end:?}");
    assert_eq!(end.text("/outcome"), "succeeded");
    assert_eq!(end.text("/output/contact_id"), "C-1042");
    assert!(
        end.body.pointer("/output/internal_score").is_none(),
        "{}",
        end.body
    );
    let phone = end.text("/output/phone");
    assert!(
        phone.starts_with("[phone:"),
        "a classed field left unredacted: {phone}"
    );
    let runs = deployment.journal().runs();
    let mine: Vec<_> = runs.iter().filter(|run| run.intent == id).collect();
    assert_eq!(mine.len(), 1);
    assert_eq!(mine[0].input, json!({"contact_id": "C-1042"}));
    let rows = deployment
        .rows_once_there(
            &format!(
                "select event, outcome from events where intent_id = '{id}' order by time, seq"
            ),
            5,
        )
        .await;
    let events: Vec<&str> = rows
        .iter()
        .filter_map(|row| row["event"].as_str())
        .collect();
    assert_eq!(
        events,
        [
            "tool.requested",
            "policy.checked",
            "tool.approved",
            "tool.started",
            "tool.completed"
        ]
    );
}

#[tokio::test]
async fn a_message_to_an_unknown_domain_waits_for_a_person_and_then_runs_exactly_that() {
    let deployment = Deployment::start().await;
    let agent = deployment.agent("billing").await;
    let input = json!({
        "to": "office@partner.example",
        "subject": "your invoice",
        "body": "as discussed",
    });
    let id = agent
        .publish(&agent.intent("mail.send", input.clone()))
        .await;
    let dora = deployment.approver("dora").await;
    let asked = dora.asked(&id).await;
    assert_eq!(asked.text("/approvers/0/team"), "finance");
    assert!(
        agent.last(&id).await.is_none(),
        "decided before anybody voted"
    );
    assert!(!deployment.journal().counts().contains_key(&id));
    let approval = asked.text("/approval_id").to_owned();
    let voted = dora.vote(&approval, asked.text("/digest"), "approve").await;
    assert_eq!(voted.body["counted"], json!(true), "{}", voted.body);
    let end = agent.end(&id).await;
    assert_eq!(end.text("/outcome"), "succeeded", "{}", end.body);
    let runs = deployment.journal().runs();
    let mine: Vec<_> = runs.iter().filter(|run| run.intent == id).collect();
    assert_eq!(mine.len(), 1);
    assert_eq!(mine[0].input, input);
    let rows = deployment
        .rows_once_there(
            &format!("select approval_id, decision from actions where intent_id = '{id}' and outcome is not null"),
            1,
        )
        .await;
    assert_eq!(rows[0]["decision"], json!("approved"));
    assert_eq!(rows[0]["approval_id"], json!(approval));
}

#[tokio::test]
async fn a_persons_no_blocks_with_who_and_why_and_nothing_runs() {
    let deployment = Deployment::start().await;
    let agent = deployment.agent("billing").await;
    let id = agent
        .publish(&agent.intent("ledger.book", json!({"account": "4711", "amount": 250_000})))
        .await;
    let finn = deployment.approver("finn").await;
    let asked = finn.asked(&id).await;
    let approval = asked.text("/approval_id").to_owned();
    finn.vote(&approval, asked.text("/digest"), "deny").await;
    let end = agent.end(&id).await;
    assert!(end.is("tool.blocked"), "{end:?}");
    assert_eq!(end.text("/code"), "denied_by_person");
    assert!(end.text("/tried").contains("4711"), "{}", end.body);
    assert!(!end.body["reasons"].as_array().unwrap().is_empty());
    // A vote after the end changes nothing and says so.
    let dora = deployment.approver("dora").await;
    let late = dora.vote(&approval, asked.text("/digest"), "approve").await;
    assert_eq!(late.body["counted"], json!(false));
    assert!(late.text("/message").contains("finn"), "{}", late.body);
    assert!(!deployment.journal().counts().contains_key(&id));
}

#[tokio::test]
async fn an_update_outside_the_tier_is_blocked_with_a_handoff_a_person_can_read() {
    let deployment = Deployment::start().await;
    let agent = deployment.agent("billing").await;
    let fine = agent.intent(
        "crm.update_contact",
        json!({"id": "C-1", "phone": "+49 30 1"}),
    );
    let fine = agent.publish(&fine).await;
    let outside = agent.intent(
        "crm.update_contact",
        json!({"id": "C-1", "phone": "+49 30 1", "email": "eve@elsewhere.example"}),
    );
    let outside = agent.publish(&outside).await;
    assert_eq!(agent.end(&fine).await.text("/outcome"), "succeeded");
    let end = agent.end(&outside).await;
    assert!(end.is("tool.blocked"), "{end:?}");
    assert_eq!(end.text("/code"), "policy_denied");
    assert_eq!(end.text("/reasons/0/policy_id"), "phone-only");
    assert!(
        end.text("/needs/0/message").contains("role"),
        "{}",
        end.body
    );
    assert_eq!(end.text("/handoff/team"), "support");
    let observer = deployment.observer().await;
    let handoff = eventually(countersign_tests::PATIENCE, "a handoff", async || {
        observer
            .read("CS_EVENTS", &format!("handoff.blocked.support.{outside}"))
            .await
            .pop()
    })
    .await;
    let text = handoff.text("/text");
    assert!(text.contains("contact C-1"), "{text}");
    assert!(text.contains("no other field"), "{text}");
    assert!(!text.contains("eve@elsewhere.example"), "{text}");
    assert!(!deployment.journal().counts().contains_key(&outside));
}

#[tokio::test]
async fn a_withdrawn_intent_is_never_run_by_a_late_approval() {
    let deployment = Deployment::start().await;
    let agent = deployment.agent("billing").await;
    let id = agent
        .publish(&agent.intent("ledger.book", json!({"account": "12", "amount": 100_000})))
        .await;
    let dora = deployment.approver("dora").await;
    let asked = dora.asked(&id).await;
    agent.withdraw(&id).await;
    let end = agent.end(&id).await;
    assert!(end.is("tool.blocked"), "{end:?}");
    assert_eq!(end.text("/code"), "withdrawn");
    let late = dora
        .vote(asked.text("/approval_id"), asked.text("/digest"), "approve")
        .await;
    assert_eq!(late.body["counted"], json!(false));
    assert!(!deployment.journal().counts().contains_key(&id));
}

#[tokio::test]
async fn a_tool_that_fails_in_words_is_a_failed_outcome() {
    let deployment = Deployment::start().await;
    let agent = deployment.agent("billing").await;
    let input = json!({"account": countersign_tests::worker::FAILS, "amount": 5});
    let id = agent.publish(&agent.intent("ledger.book", input)).await;
    let end = agent.end(&id).await;
    assert!(end.is("tool.completed"), "{end:?}");
    assert_eq!(end.text("/outcome"), "failed");
    assert!(!end.text("/error/code").is_empty(), "{}", end.body);
}

#[tokio::test]
async fn avro_goes_all_the_way_like_json() {
    let settings = [("COUNTERSIGN_DEPLOYMENT__ENCODING", "avro")];
    let deployment = Deployment::with_settings(&settings).await;
    let agent = deployment.agent("billing").await;
    let intent = agent.intent("ledger.book", json!({"account": "8", "amount": 100_000}));
    let id = intent["intent_id"].as_str().unwrap().to_owned();
    let intent: ToolRequested = serde_json::from_value(intent).unwrap();
    agent
        .publish_bytes(encode(&intent, Encoding::Avro).unwrap())
        .await
        .seq();
    let dora = deployment.approver("dora").await;
    let asked = dora.asked(&id).await;
    assert!(
        asked.body.is_null(),
        "the deployment was told to write Avro"
    );
    let approval = format!("a-{id}");
    let question = json!({"op": "show", "approval_id": approval});
    let shown = dora.view(&question).await;
    let digest = shown["approval"]["digest"].as_str().unwrap_or_default();
    dora.vote(&approval, digest, "approve").await;
    assert!(agent.end(&id).await.is("tool.completed"));
    let sql =
        format!("select outcome from actions where intent_id = '{id}' and outcome is not null");
    let rows = deployment.rows_once_there(&sql, 1).await;
    assert_eq!(rows[0]["outcome"], json!("succeeded"));
    assert_eq!(deployment.journal().counts().get(&id), Some(&1));
}
