//! Asking the checker whether something that an earlier bundle judged still runs. A yes is
//! the only answer that lets it run; silence is a no.

use countersign_domain::policy::Tool;
use countersign_domain::policy::protocol::{RecheckReply, RecheckRequest};
use countersign_runtime::bus::Bus;
use countersign_runtime::recheck::{self, Unanswered};
use countersign_schemas::events::{RevokedCode, ToolApproved};

use crate::examine::Refusal;
use crate::metrics;

/// Asks about one decision.
///
/// # Errors
/// The refusal under which it is revoked.
pub(crate) async fn ask(bus: &Bus, approved: &ToolApproved, tool: &Tool) -> Result<(), Refusal> {
    let question = RecheckRequest {
        agent: approved.agent.clone(),
        intent_id: approved.intent_id,
        approval: None,
    };
    let answer = recheck::ask(bus, &question).await;
    let ended = judged(answer, tool);
    metrics::rechecked(ended.is_ok());
    ended
}

fn judged(answer: Result<RecheckReply, Unanswered>, tool: &Tool) -> Result<(), Refusal> {
    let denied = |why: &str| {
        let message = format!("the policy changed after the decision, and {why}");
        Refusal::ordinary(RevokedCode::RecheckDenied, &message)
    };
    let answer = answer.map_err(|why| denied(&why.to_string()))?;
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
        assert_eq!(judged(Ok(yes.clone()), tool), Ok(()));
        let no = RecheckReply {
            runs: false,
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
            (Ok(changed), RevokedCode::ToolChanged, "definition"),
            (Ok(unknown), RevokedCode::ToolChanged, "definition"),
            (
                Err(Unanswered::Foreign),
                RevokedCode::RecheckDenied,
                "another intent",
            ),
            (
                Err(Unanswered::Silent),
                RevokedCode::RecheckDenied,
                "does not answer",
            ),
        ] {
            let refusal = judged(answer, tool).unwrap_err();
            assert_eq!(refusal.code, code, "{said}");
            assert!(refusal.message.contains(said), "{}", refusal.message);
        }
    }
}
