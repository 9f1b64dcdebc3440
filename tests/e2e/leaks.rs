//! Nothing leaks: secrets and personal data in no log, event for outsiders, or archive.

use countersign_tests::Deployment;
use serde_json::json;

/// A card number that every detector knows (a test number of the card networks).
const CARD: &str = "4111 1111 1111 1111";
const EMAIL: &str = "wilma.petersen@private.example";

/// A key in the form of a provider's, made here so that no scanner finds one in this file.
fn provider_key() -> String {
    format!("AK{}{}", "IA", "Q3EGR7LXV2ZNW5TD")
}

#[tokio::test]
async fn what_is_sensitive_in_an_input_is_nowhere_but_in_the_raw_message() {
    let deployment = Deployment::start().await;
    let agent = deployment.agent("billing").await;
    let key = provider_key();
    let memo = format!("charge {CARD}, tell {EMAIL}, key {key}");
    let runs = json!({"account": "77", "amount": 1, "memo": memo});
    let asks = json!({"account": "78", "amount": 100_000, "memo": memo});
    let blocked = json!({"id": "C-1", "email": EMAIL});
    let unknown = json!({"memo": memo});
    let mut ids = Vec::new();
    for (tool, input) in [
        ("ledger.book", runs),
        ("crm.update_contact", blocked),
        ("crm.nothing", unknown),
    ] {
        let id = agent.publish(&agent.intent(tool, input)).await;
        agent.end(&id).await;
        ids.push(id);
    }
    let asked = agent.publish(&agent.intent("ledger.book", asks)).await;
    deployment.approver("dora").await.asked(&asked).await;
    ids.push(asked);
    // Broken JSON around a secret: the refusal must not quote it.
    let ack = agent
        .publish_bytes(format!("{{\"memo\": \"{memo}\", oops"))
        .await;
    let refusal = agent.refusal(&ack).await;
    deployment.archived_once(&refusal).await;
    for id in &ids {
        let sql = format!("select event from events where intent_id = '{id}'");
        deployment.rows_once_there(&sql, 3).await;
    }
    let mut places = vec![
        (
            "the archive",
            format!("{:?}", deployment.rows("select * from events").await),
        ),
        (
            "actions",
            format!("{:?}", deployment.rows("select * from actions").await),
        ),
    ];
    for event in deployment.observer().await.events().await {
        places.push(("an event", event.body.to_string()));
    }
    for service in deployment.services() {
        let log = std::fs::read_to_string(service.log()).unwrap();
        places.push(("a log", log));
    }
    let permits: Vec<String> = deployment
        .observer()
        .await
        .read("CS_EVENTS", "tool.approved.>")
        .await
        .iter()
        .map(|event| event.text("/permit").to_owned())
        .collect();
    assert!(permits.iter().all(|permit| permit.len() > 100));
    for (place, text) in &places {
        for secret in [CARD, EMAIL, &key, "4111111111111111"] {
            assert!(!text.contains(secret), "{secret} in {place}: {text}");
        }
        if *place != "an event" {
            for permit in &permits {
                assert!(!text.contains(permit.as_str()), "a permit in {place}");
            }
        }
    }
}
