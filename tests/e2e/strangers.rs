//! What a stranger or a broken client can send: each gets a clear answer and a row.

use countersign_tests::{Agent, Deployment, Event};
use serde_json::json;

async fn refused(deployment: &Deployment, agent: &Agent, body: Vec<u8>, code: &str) -> Event {
    let ack = agent.publish_bytes(body).await;
    let refused = agent.refusal(&ack).await;
    assert_eq!(refused.text("/code"), code, "{}", refused.body);
    assert!(refused.text("/message").len() > 10, "{}", refused.body);
    deployment.archived_once(&refused).await;
    refused
}

async fn still_served(agent: &Agent) {
    let id = agent
        .publish(&agent.intent("crm.read_contact", json!({"contact_id": "C-1"})))
        .await;
    assert_eq!(agent.end(&id).await.text("/outcome"), "succeeded");
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_and_the_agent_stays_served() {
    let deployment = Deployment::start().await;
    let agent = deployment.agent("billing").await;
    let mut wrong_fingerprint = vec![0xC3, 0x01];
    wrong_fingerprint.extend([7; 64]);
    let intent = agent.intent("crm.read_contact", json!({"contact_id": "C-1"}));
    let twice = intent
        .to_string()
        .replacen("{", "{\"tool\":\"ledger.book\",", 1);
    let deep = format!("{}1{}", "{\"a\":".repeat(70), "}".repeat(70));
    for body in [
        b"{\"intent_id\": ".to_vec(),
        b"".to_vec(),
        b"hello".to_vec(),
        vec![0xFF; 40],
        wrong_fingerprint,
        twice.into_bytes(),
        deep.into_bytes(),
        json!({"intent_id": intent["intent_id"]})
            .to_string()
            .into_bytes(),
    ] {
        let refusal = refused(&deployment, &agent, body, "unreadable").await;
        assert!(
            refusal
                .body
                .get("intent_id")
                .is_none_or(|id| *id == intent["intent_id"])
        );
    }
    assert!(
        agent
            .last(intent["intent_id"].as_str().unwrap())
            .await
            .is_none()
    );
    still_served(&agent).await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_answered_or_refused_before_it_is_sent() {
    let deployment = Deployment::start().await;
    let agent = deployment.agent("billing").await;
    for kilobytes in [300, 1_000] {
        let note = "n".repeat(kilobytes * 1024);
        let intent = agent.intent(
            "crm.read_contact",
            json!({"contact_id": "C-1", "note": note}),
        );
        let body = intent.to_string().into_bytes();
        refused(&deployment, &agent, body, "too_large").await;
    }
    // Above what a stream stores, below what the server takes: JetStream says so at once.
    let note = "n".repeat(1_500 * 1024);
    let intent = agent.intent(
        "crm.read_contact",
        json!({"contact_id": "C-1", "note": note}),
    );
    let ack = agent.publish_bytes(intent.to_string()).await;
    let said = ack.error().unwrap_or_default();
    assert!(said.contains("size"), "{ack:?}");
    // Above what the server takes: the client knows the limit from its connection.
    let limit = agent.client().server_info().max_payload;
    assert!(limit < 3 * 1024 * 1024, "{limit}");
    let body = "n".repeat(3 * 1024 * 1024);
    let sent = agent
        .client()
        .publish("tool.requested.billing", body.into())
        .await;
    assert!(sent.is_err(), "a client must refuse to send 3 MiB");
    still_served(&agent).await;
}

#[tokio::test]
async fn unknown_tools_and_wrong_inputs_are_blocked_with_what_is_needed() {
    let deployment = Deployment::start().await;
    let agent = deployment.agent("billing").await;
    for (tool, input, code) in [
        ("crm.drop_everything", json!({}), "unknown_tool"),
        (
            "crm.read_contact",
            json!({"contact_id": 7}),
            "invalid_input",
        ),
        (
            "crm.read_contact",
            json!({"contact_id": "C-1", "as": "root"}),
            "invalid_input",
        ),
    ] {
        let id = agent.publish(&agent.intent(tool, input)).await;
        let end = agent.end(&id).await;
        assert!(end.is("tool.blocked"), "{tool}: {end:?}");
        assert_eq!(end.text("/code"), code, "{}", end.body);
        assert!(!end.text("/tried").is_empty() && !end.text("/reasons/0/message").is_empty());
        assert!(!deployment.journal().counts().contains_key(&id));
        deployment.archived_once(&end).await;
    }
}

#[tokio::test]
async fn an_agent_that_no_bundle_names_may_do_nothing() {
    let deployment = Deployment::start().await;
    let stranger = deployment.agent("stranger").await;
    let id = stranger
        .publish(&stranger.intent("crm.read_contact", json!({"contact_id": "C-1"})))
        .await;
    let end = stranger.end(&id).await;
    assert!(end.is("tool.blocked"), "{end:?}");
    assert_eq!(end.text("/code"), "policy_denied");
    assert!(!deployment.journal().counts().contains_key(&id));
    deployment.archived_once(&end).await;
}
