//! Asking the checker whether something that an earlier bundle judged still runs. A yes is
//! the only answer that lets it run; silence is a no.

use std::time::Duration;

use bytes::Bytes;
use countersign_domain::policy::Tool;
use countersign_domain::policy::protocol::{RecheckReply, RecheckRequest};
use countersign_runtime::bus::Bus;
use countersign_schemas::events::{RevokedCode, ToolApproved};
use countersign_schemas::headers;

use crate::examine::Refusal;
use crate::metrics;

/// Where the checkers answer.
const SUBJECT: &str = "cs.policy.recheck";
/// How long the answer may take: a judgement with its look-ups, well below the 30 s after
/// which the decision would be delivered again.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Asks about one decision.
///
/// # Errors
/// The refusal under which it is revoked.
pub(crate) async fn ask(bus: &Bus, approved: &ToolApproved, tool: &Tool) -> Result<(), Refusal> {
    let answer = request(bus, approved).await;
    let ended = judged(answer, approved, tool);
    metrics::rechecked(ended.is_ok());
    ended
}

/// The answer, or why there is none.
async fn request(bus: &Bus, approved: &ToolApproved) -> Result<RecheckReply, &'static str> {
    let question = RecheckRequest {
        agent: approved.agent.clone(),
        intent_id: approved.intent_id,
    };
    let body = serde_json::to_vec(&question).map_err(|_| "the question cannot be written")?;
    let asked = bus.client().request(SUBJECT, Bytes::from(body));
    let reply = match tokio::time::timeout(ANSWER_TIMEOUT, asked).await {
        Ok(Ok(reply)) => reply,
        Ok(Err(_)) | Err(_) => return Err("the policy checker does not answer"),
    };
    let refused = reply.headers.as_ref();
    if refused.is_some_and(|all| all.get(headers::SERVICE_ERROR).is_some()) {
        return Err("the policy checker cannot judge it again");
    }
    serde_json::from_slice(&reply.payload).map_err(|_| "the policy checker's answer is unreadable")
}

fn judged(
    answer: Result<RecheckReply, &'static str>,
    approved: &ToolApproved,
    tool: &Tool,
) -> Result<(), Refusal> {
    let denied = |why: &str| {
        let message = format!("the policy changed after the decision, and {why}");
        Refusal::ordinary(RevokedCode::RecheckDenied, &message)
    };
    let answer = answer.map_err(denied)?;
    if answer.intent_id != approved.intent_id {
        return Err(denied("the answer is about another intent"));
    }
    // The checker may have met a bundle that has not reached us yet.
    if answer.tool_digest != Some(tool.digest()) {
        let message = "the tool's definition changed after the decision";
        return Err(Refusal::ordinary(RevokedCode::ToolChanged, message));
    }
    if !answer.runs {
        let first = answer.reasons.first().map(|reason| reason.message.as_str());
        return Err(denied(
            first.unwrap_or("the rules in force do not allow it"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;
    use countersign_schemas::Digest;
    use countersign_schemas::events::{Reason, Verdict};
    use serde_json::json;

    #[test]
    fn only_a_yes_about_this_intent_and_tool_lets_it_run() {
        let bundle = fixture::bundle();
        let now = "2026-11-22T10:00:00Z".parse().unwrap();
        let raw = fixture::requested("crm.read", json!({"id": "C-1"}), now);
        let approved = fixture::approved(&raw, &bundle, fixture::reference(1), now);
        let tool = fixture::tool(&bundle, "crm.read");
        let yes = RecheckReply {
            intent_id: raw.intent_id,
            runs: true,
            verdict: Verdict::Allow,
            reasons: vec![Reason {
                code: "x".to_owned(),
                message: "finance must see it".to_owned(),
                policy_id: None,
            }],
            needs: Vec::new(),
            policy_digest: Digest::of_bytes(b"new"),
            tool_digest: Some(tool.digest()),
        };
        assert_eq!(judged(Ok(yes.clone()), &approved, tool), Ok(()));
        let no = RecheckReply {
            runs: false,
            ..yes.clone()
        };
        let other = fixture::requested("crm.read", json!({"id": "C-1"}), now).intent_id;
        let foreign = RecheckReply {
            intent_id: other,
            ..yes.clone()
        };
        let changed = RecheckReply {
            tool_digest: Some(Digest::of_bytes(b"tool")),
            ..yes.clone()
        };
        let unknown = RecheckReply {
            tool_digest: None,
            ..yes
        };
        for (answer, code, said) in [
            (Ok(no), RevokedCode::RecheckDenied, "finance must see it"),
            (Ok(foreign), RevokedCode::RecheckDenied, "another intent"),
            (Ok(changed), RevokedCode::ToolChanged, "definition"),
            (Ok(unknown), RevokedCode::ToolChanged, "definition"),
            (
                Err("nobody answers"),
                RevokedCode::RecheckDenied,
                "nobody answers",
            ),
        ] {
            let refusal = judged(answer, &approved, tool).unwrap_err();
            assert_eq!(refusal.code, code, "{said}");
            assert!(refusal.message.contains(said), "{}", refusal.message);
        }
    }
}
