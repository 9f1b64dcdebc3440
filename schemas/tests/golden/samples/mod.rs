//! One believable, full value of every event: one refund of one agent, told through all
//! its stages.

mod asking;
mod deciding;
mod running;

use std::fmt::Debug;
use std::str::FromStr;

use countersign_schemas::codec::{Encoding, decode, encode};
use countersign_schemas::events::*;
use countersign_schemas::{Digest, Event, JsonObject, Timestamp};
use serde_json::json;

/// Fails unless bytes decode to the sample.
pub(crate) type Check = Box<dyn Fn(&[u8])>;

/// A value of an event, encoded, with the check that bytes decode to it again.
pub(crate) struct Sample {
    pub(crate) event: &'static str,
    pub(crate) json: Vec<u8>,
    pub(crate) avro: Vec<u8>,
    pub(crate) check: Check,
}

fn sample<E: Event + Debug + PartialEq + 'static>(event: E) -> Sample {
    Sample {
        event: E::NAME,
        json: encode(&event, Encoding::Json).unwrap(),
        avro: encode(&event, Encoding::Avro).unwrap(),
        check: Box::new(move |bytes| assert_eq!(decode::<E>(bytes).unwrap(), event)),
    }
}

/// Every event once.
pub(crate) fn all() -> Vec<Sample> {
    let mut samples = asking::intents();
    samples.extend(asking::verdicts());
    samples.extend(asking::approvals());
    samples.extend(asking::windows());
    samples.extend(deciding::decisions());
    samples.extend(deciding::handoffs());
    samples.extend(deciding::outcomes());
    samples.extend(running::control());
    samples.extend(running::operations());
    samples
}

fn of<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

fn at(clock: &str) -> Timestamp {
    of(&format!("2026-11-22T{clock}Z"))
}

fn object(value: serde_json::Value) -> JsonObject {
    JsonObject::from_value(value).unwrap()
}

fn digest(of: &str) -> Digest {
    Digest::of_bytes(of.as_bytes())
}

const INTENT: &str = "019aab6e-5c00-7a10-8000-00000000c0de";
const APPROVAL: &str = "a-019aab6e-5c00-7a10-8000-00000000c0de";
const AGENT: &str = "billing";
const TOOL: &str = "billing.refund";
const INCARNATION: &str = "313jn9k2h8a4e";

fn request() -> RequestRef {
    RequestRef {
        stream: "CS_INTENTS".to_owned(),
        incarnation: of(INCARNATION),
        seq: 1042,
    }
}

fn requester() -> CheckedRequester {
    CheckedRequester {
        id: of("maria@example.com"),
        verified: true,
    }
}

fn bundle() -> BundleRef {
    BundleRef {
        id: of("refunds-2026-11-22"),
        size: 3,
        index: 0,
    }
}

fn reasons() -> Vec<Reason> {
    vec![Reason {
        code: "policy_denied".to_owned(),
        message: "Refunds above 100 EUR need the finance team.".to_owned(),
        policy_id: Some("refund-limit".to_owned()),
    }]
}

fn needs() -> Vec<Need> {
    vec![Need {
        code: "approval".to_owned(),
        message: "Two people of finance must approve.".to_owned(),
    }]
}

fn changes() -> Vec<Change> {
    vec![Change {
        resource: "invoice/I-2231".to_owned(),
        field: "status".to_owned(),
        before: Some("paid".to_owned()),
        after: Some("refunded".to_owned()),
    }]
}

fn approvers() -> Vec<TeamQuorum> {
    vec![TeamQuorum {
        team: of("finance"),
        quorum: 2,
    }]
}

fn ask() -> Ask {
    Ask {
        approvers: approvers(),
        expires_in_s: 1800,
        chat_may_approve: false,
        self_allowed: false,
        excluded: vec![of("maria")],
        window_max_s: Some(3600),
        remind_after_s: vec![600, 1200],
        escalation: vec![EscalationStep {
            after_s: 900,
            team: of("heads"),
            instead_of: vec![of("finance")],
        }],
        business_hours: vec!["office".to_owned()],
    }
}

fn limits() -> WindowLimits {
    WindowLimits {
        seconds: 1800,
        max_uses: Some(20),
        max_total: Some("1500.00 EUR".to_owned()),
        same_input_only: Some(false),
    }
}

fn redacted() -> JsonObject {
    object(json!({
        "amount": "120.50", "currency": "EUR", "customer": "[email:k1:9f2c41d07a3b]",
        "invoice": "I-2231",
    }))
}

fn handoff() -> HandoffRef {
    HandoffRef {
        team: of("finance"),
        approval_id: Some(of(APPROVAL)),
        link: Some("https://countersign.example.com/a/1".to_owned()),
    }
}

const TRIED: &str = "billing wanted to refund 120.50 EUR on invoice I-2231.";

fn input() -> serde_json::Value {
    json!({
        "amount": "120.50", "currency": "EUR", "customer": "jo@example.com",
        "invoice": "I-2231", "lines": [{"price": 60.25, "quantity": 2}],
    })
}
