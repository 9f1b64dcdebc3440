//! What the server itself keeps outsiders from, before any of our services sees a message.

use countersign_tests::Deployment;
use serde_json::json;

#[tokio::test]
async fn an_agent_cannot_write_a_decision_or_speak_for_another() {
    let deployment = Deployment::without_services(&[]).await;
    let billing = deployment.agent("billing").await;
    let intent = billing.intent("crm.read_contact", json!({"contact_id": "C-1"}));
    let id = intent["intent_id"].as_str().unwrap();
    for subject in [
        format!("tool.approved.billing.{id}"),
        format!("out.tool.approved.billing.{id}"),
        "tool.requested.crm".to_owned(),
        "approval.vote.dora".to_owned(),
        "control.freeze.billing".to_owned(),
        "work.crm.read_contact".to_owned(),
    ] {
        let sent = billing.client().publish(subject, intent.to_string().into());
        sent.await.unwrap();
    }
    // The server handles the messages of one connection in order.
    billing.publish(&intent).await;
    let observer = deployment.observer().await;
    let mut stored = Vec::new();
    for stream in ["CS_INTENTS", "CS_CONTROL", "CS_ORDERS", "CS_EVENTS"] {
        stored.extend(observer.read(stream, ">").await);
    }
    let subjects: Vec<&str> = stored.iter().map(|event| event.subject.as_str()).collect();
    assert_eq!(subjects, ["tool.requested.billing"]);
    assert!(
        deployment.journal().refusals().is_empty(),
        "a worker was reached"
    );
}
