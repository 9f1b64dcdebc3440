//! Verdicts that ask people, as the checker stores them.

use anyhow::Result;
use async_nats::HeaderMap;
use bytes::Bytes;
use countersign_benches::load::Request;
use countersign_runtime::clock::{Clock as _, SystemClock};
use countersign_schemas::{ApprovalId, Digest, IntentId};
use serde_json::json;

/// Agents that ask: one may have 1,000 approvals waiting.
const AGENTS: usize = 50;

/// `count` verdicts with fresh ids, each known by the approval that it leads to. They were
/// judged by the bundle `judged_by`: of another than the one in force a checker is asked
/// again before a yes counts.
pub(crate) fn make(count: usize, judged_by: Digest) -> Result<Vec<Request>> {
    let now = SystemClock.now();
    (0..count)
        .map(|n| {
            let (agent, intent) = (format!("agent-{}", n % AGENTS), IntentId::new_at(now));
            Ok(Request {
                id: ApprovalId::for_intent(intent).to_string(),
                subject: format!("policy.checked.{agent}.{intent}"),
                headers: headers(intent),
                body: body(&agent, intent, judged_by)?,
            })
        })
        .collect()
}

fn headers(intent: IntentId) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Msg-Id", format!("checked-{intent}"));
    headers.insert("ce-specversion", "1.0");
    headers.insert("ce-id", intent.to_string());
    headers.insert("ce-source", "/countersign/policy-checker");
    headers.insert("ce-type", "dev.countersign.policy.checked.v1");
    headers
}

/// An ask with a further team and reminders, all of them later than the bench lasts.
fn body(agent: &str, intent: IntentId, judged_by: Digest) -> Result<Bytes> {
    let digest = Digest::of_bytes(b"bench");
    let verdict = json!({
        "schema_version": 1, "intent_id": intent,
        "request": { "stream": "CS_INTENTS", "incarnation": "abc", "seq": 1 },
        "agent": agent, "requester": { "id": "ana", "verified": false },
        "tool": "mail.send", "operation": "send", "verdict": "ask",
        "purpose": "Answer the customer of ticket 7 about the late delivery",
        "reasons": [{ "code": "approval_required", "message": "Mail outside is looked at.",
            "policy_id": "mail-outside" }],
        "needs": [{ "code": "approval", "message": "One of finance." }],
        "ask": { "approvers": [{ "team": "finance", "quorum": 1 }], "expires_in_s": 86_400,
            "chat_may_approve": false, "remind_after_s": [7_200, 14_400],
            "escalation": [{ "after_s": 10_800, "team": "platform",
                "instead_of": ["finance"] }] },
        "guardrails": [{ "name": "email_domains", "result": "ask",
            "message": "fabrikam.example is not known" }],
        "input_redacted": { "to": "[email:k1:9f2c41d07a3b]", "subject": "Your order" },
        "input_shown": { "to": "*@fabrikam.example", "subject": "Your order" },
        "summary": "Mail to *@fabrikam.example", "input_digest": digest,
        "salt": "AAAAAAAAAAAAAAAAAAAAAA", "input_match": "m", "policy_digest": judged_by,
        "tool_digest": digest, "helper": "finance", "requested_at": SystemClock.now(),
    });
    Ok(Bytes::from(serde_json::to_vec(&verdict)?))
}
