//! No permit, no run; no claim, no run: whoever forges one gets a clear answer.

use std::time::Duration;

use async_nats::HeaderMap;
use countersign_domain::keys::SigningKey;
use countersign_domain::permit::{Actor, PermitClaims, PermitSigner, audience};
use countersign_runtime::bus::{Append, Meta, Outgoing};
use countersign_runtime::clock::{Clock as _, SystemClock};
use countersign_schemas::codec::Encoding;
use countersign_schemas::events::{
    Basis, BasisKind, CheckedRequester, Operation, RequestRef, ToolApproved,
};
use countersign_schemas::{Address, AgentId, Digest, IntentId, Stream, ToolName, headers};
use countersign_tests::Deployment;
use countersign_tests::deployment::NAME;
use countersign_tests::process::CHECKER;
use serde_json::json;

/// An approval as only the coordinator may write it, with a permit of another key.
fn forged(agent: &AgentId, intent: IntentId, request: RequestRef) -> ToolApproved {
    let tool: ToolName = "crm.read_contact".parse().unwrap();
    let now = SystemClock.now();
    let until = now.plus(Duration::from_secs(300));
    let digest = Digest::of_bytes(b"whatever");
    let basis = Basis {
        kind: BasisKind::Policy,
        policy_ids: vec!["read-contacts".to_owned()],
        approvers: Vec::new(),
        approval_id: None,
        window_id: None,
    };
    let claims = PermitClaims {
        iss: NAME.to_owned(),
        sub: agent.clone(),
        act: Actor {
            sub: "mia".parse().unwrap(),
        },
        aud: audience(NAME, &tool),
        jti: intent,
        iat: now.seconds(),
        exp: until.seconds(),
        input_digest: digest,
        salt: "AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
        tool_digest: digest,
        policy_digest: digest,
        basis: basis.clone(),
        reveal: Vec::new(),
        expose: Vec::new(),
    };
    let signer = PermitSigner::new(SigningKey::from_seed(&[7; 32]));
    ToolApproved {
        schema_version: 1,
        intent_id: intent,
        agent: agent.clone(),
        requester: CheckedRequester {
            id: "mia".parse().unwrap(),
            verified: false,
        },
        tool,
        operation: Operation::Read,
        input_digest: digest,
        request,
        basis,
        approved_until: until,
        permit: signer.sign(&claims).unwrap(),
        policy_digest: digest,
        tool_digest: digest,
    }
}

#[tokio::test]
async fn a_forged_permit_is_revoked_and_nothing_runs() {
    let mut deployment = Deployment::start().await;
    deployment.service(CHECKER).kill();
    let billing = deployment.agent("billing").await;
    let intent = billing.intent("crm.read_contact", json!({"contact_id": "C-1"}));
    let ack = billing.publish_bytes(intent.to_string()).await;
    let id: IntentId = serde_json::from_value(intent["intent_id"].clone()).unwrap();
    let agent: AgentId = "billing".parse().unwrap();
    let core = deployment.core("approval-coordinator").await;
    let request = RequestRef {
        stream: Stream::Intents.name().to_owned(),
        incarnation: core.incarnation(Stream::Intents).await.unwrap(),
        seq: ack.seq(),
    };
    let address = Address::ToolApproved {
        agent: agent.clone(),
        intent: id,
    };
    let event = forged(&agent, id, request);
    let meta = Meta {
        source: "approval-coordinator".parse().unwrap(),
        encoding: Encoding::Json,
        claimed_at: SystemClock.now(),
        traceparent: None,
    };
    let outgoing = Outgoing::event(&address, &event, &meta).unwrap();
    let stored = core
        .append(outgoing, &Address::chain_filter(&agent, id), 0)
        .await
        .unwrap();
    assert!(
        matches!(stored, Append::Stored(_)),
        "the forgery lies in the stream"
    );
    let end = billing.end(&id.to_string()).await;
    assert!(end.is("tool.revoked"), "{end:?}");
    assert!(!end.text("/reasons/0/message").is_empty(), "{}", end.body);
    assert!(!deployment.journal().counts().contains_key(&id.to_string()));
    deployment.archived_once(&end).await;
}

#[tokio::test]
async fn a_worker_runs_nothing_for_a_permit_without_its_claim() {
    let deployment = Deployment::start().await;
    let agent = deployment.agent("billing").await;
    let input = json!({"contact_id": "C-1"});
    let id = agent
        .publish(&agent.intent("crm.read_contact", input.clone()))
        .await;
    agent.end(&id).await;
    let observer = deployment.observer().await;
    let approved = observer
        .read("CS_EVENTS", &format!("tool.approved.billing.{id}"))
        .await;
    let permit = approved[0].text("/permit");
    assert!(!permit.is_empty());
    // Even the executor's own connection gets nothing out of a worker by a permit alone.
    let core = deployment.core("tool-executor").await;
    for claim in [None, Some("eyJhbGciOiJub25lIn0.e30."), Some(permit)] {
        let mut proofs = HeaderMap::new();
        proofs.insert(headers::WORK_INTENT, id.as_str());
        proofs.insert(headers::WORK_PERMIT, permit);
        if let Some(claim) = claim {
            proofs.insert(headers::WORK_CLAIM, claim);
        }
        let reply = core
            .client()
            .request_with_headers("work.crm.read_contact", proofs, input.to_string().into())
            .await
            .unwrap();
        let said = reply.headers.unwrap();
        assert!(said.get(headers::SERVICE_ERROR).is_some(), "{said:?}");
        assert!(reply.payload.is_empty());
    }
    assert_eq!(deployment.journal().refusals().len(), 3);
    assert_eq!(deployment.journal().counts().get(&id), Some(&1));
    let rows = format!("select event from events where intent_id = '{id}'");
    assert_eq!(deployment.rows_once_there(&rows, 5).await.len(), 5);
}
