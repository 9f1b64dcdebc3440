//! One intent, one decision: repeats, conflicts and ids out of time.

use std::time::Duration;

use countersign_runtime::bus::layout::CHECKER_INTENTS;
use countersign_runtime::clock::{Clock as _, SystemClock};
use countersign_tests::Deployment;
use serde_json::json;

#[tokio::test]
async fn the_same_intent_twice_is_one_decision_and_one_run() {
    let deployment = Deployment::start().await;
    let agent = deployment.agent("billing").await;
    let intent = agent.intent("ledger.book", json!({"account": "1", "amount": 10}));
    let id = agent.publish(&intent).await;
    agent.publish(&intent).await;
    agent.end(&id).await;
    // Once more when all is done, with other white space and key order.
    let text = serde_json::to_string_pretty(&intent).unwrap();
    let last = agent.publish_bytes(text).await.seq();
    deployment.handled(CHECKER_INTENTS, last).await;
    let observer = deployment.observer().await;
    let chain = observer
        .read("CS_EVENTS", &format!("tool.*.billing.{id}"))
        .await;
    let names: Vec<String> = chain.iter().map(countersign_tests::Event::name).collect();
    assert_eq!(names, ["tool.approved", "tool.started", "tool.completed"]);
    let refusals = observer.read("CS_EVENTS", "tool.refused.>").await;
    assert!(refusals.is_empty(), "{refusals:?}");
    assert_eq!(deployment.journal().counts().get(&id), Some(&1));
}

#[tokio::test]
async fn the_same_id_with_other_content_is_refused_and_touches_nothing() {
    let deployment = Deployment::start().await;
    let agent = deployment.agent("billing").await;
    let mut intent = agent.intent("ledger.book", json!({"account": "1", "amount": 10}));
    let id = agent.publish(&intent).await;
    agent.end(&id).await;
    intent["input"]["amount"] = json!(11);
    let ack = agent.publish_bytes(intent.to_string()).await;
    let refused = agent.refusal(&ack).await;
    assert_eq!(refused.text("/code"), "intent_conflict");
    assert_eq!(refused.text("/intent_id"), id);
    assert!(!refused.text("/message").is_empty());
    let observer = deployment.observer().await;
    let chain = observer
        .read("CS_EVENTS", &format!("tool.*.billing.{id}"))
        .await;
    assert_eq!(chain.len(), 3, "{chain:?}");
    let runs = deployment.journal().runs();
    let amounts: Vec<_> = runs
        .iter()
        .filter(|run| run.intent == id)
        .map(|run| run.input["amount"].clone())
        .collect();
    assert_eq!(amounts, [json!(10)]);
    deployment.archived_once(&refused).await;
}

#[tokio::test]
async fn two_agents_cannot_share_an_intent_id() {
    let deployment = Deployment::start().await;
    let billing = deployment.agent("billing").await;
    let crm = deployment.agent("crm").await;
    let intent = billing.intent("ledger.book", json!({"account": "1", "amount": 10}));
    let id = billing.publish(&intent).await;
    billing.end(&id).await;
    let ack = crm.publish_bytes(intent.to_string()).await;
    let refused = crm.refusal(&ack).await;
    assert_eq!(refused.text("/code"), "intent_conflict");
    assert!(crm.last(&id).await.is_none());
    assert_eq!(deployment.journal().counts().get(&id), Some(&1));
    deployment.archived_once(&refused).await;
}

#[tokio::test]
async fn ids_out_of_time_are_refused_in_words() {
    let deployment = Deployment::start().await;
    let agent = deployment.agent("billing").await;
    let hour = Duration::from_secs(3_600);
    let now = SystemClock.now();
    for at in [now.plus(hour), now.minus(hour * 25)] {
        let intent = agent.intent_at(at, "ledger.book", json!({"account": "1", "amount": 1}));
        let ack = agent.publish_bytes(intent.to_string()).await;
        let refused = agent.refusal(&ack).await;
        assert_eq!(refused.text("/code"), "intent_out_of_time", "{at}");
        let id = intent["intent_id"].as_str().unwrap();
        assert!(agent.last(id).await.is_none());
        assert!(!deployment.journal().counts().contains_key(id));
        deployment.archived_once(&refused).await;
    }
    // A little ahead is fine: clocks differ.
    let near = agent.intent_at(
        SystemClock.now().plus(Duration::from_secs(60)),
        "ledger.book",
        json!({"account": "1", "amount": 1}),
    );
    let id = agent.publish(&near).await;
    assert_eq!(agent.end(&id).await.text("/outcome"), "succeeded");
}
