//! The messages that are sent: real intents, and the same bytes for the relay.

use anyhow::Result;
use async_nats::HeaderMap;
use bytes::Bytes;
use countersign_benches::load::Request;
use countersign_runtime::clock::{Clock as _, SystemClock};
use countersign_schemas::IntentId;
use serde_json::json;

/// The agent of the sample policy that sends.
pub(crate) const AGENT: &str = "support";

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The checker and the coordinator.
    Intent,
    /// The bare relay.
    Relay,
}

/// `count` requests with fresh ids.
pub(crate) fn make(kind: Kind, count: usize) -> Result<Vec<Request>> {
    let now = SystemClock.now();
    let subject = match kind {
        Kind::Intent => format!("tool.requested.{AGENT}"),
        Kind::Relay => format!("bench.in.{AGENT}"),
    };
    (0..count)
        .map(|_| {
            let id = IntentId::new_at(now).to_string();
            Ok(Request {
                subject: subject.clone(),
                headers: headers(&id),
                body: body(&id)?,
                id,
            })
        })
        .collect()
}

fn headers(id: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Msg-Id", id);
    headers.insert("ce-specversion", "1.0");
    headers.insert("ce-id", id);
    headers.insert("ce-source", "/countersign/bench");
    headers.insert("ce-type", "dev.countersign.tool.requested.v1");
    headers
}

fn body(id: &str) -> Result<Bytes> {
    let intent = json!({
        "intent_id": id,
        "tool": "crm.read_contact",
        "input": { "contact_id": "C-1042" },
        "requester": { "id": "ana" },
        "purpose": "Look up the contact for ticket 7 before answering the customer",
        "session_id": "bench",
    });
    Ok(Bytes::from(serde_json::to_vec(&intent)?))
}
