//! Asking the checker whether something that an earlier bundle judged still runs. A yes is
//! the only answer that lets it run; silence is a no.

use countersign_domain::policy::Tool;
use countersign_domain::policy::protocol::{RecheckReply, RecheckRequest};
use countersign_runtime::bus::Bus;
use countersign_runtime::recheck::{self, Unanswered};
use countersign_schemas::Digest;
use countersign_schemas::events::{RevokedCode, ToolApproved};

use crate::examine::Refusal;
use crate::metrics;

/// What a checker says of a decision that it does not deny.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    /// It still runs by the bundle in force.
    Runs,
    /// Nothing that counts: it judged by another bundle than ours, so one of the two is
    /// behind.
    ByAnother,
}

/// Asks about one decision that is to run by the bundle `in_force`.
///
/// # Errors
/// The refusal under which it is revoked.
pub(crate) async fn ask(
    bus: &Bus,
    approved: &ToolApproved,
    tool: &Tool,
    in_force: Digest,
) -> Result<Said, Refusal> {
    let question = RecheckRequest {
        agent: approved.agent.clone(),
        intent_id: approved.intent_id,
        approval: None,
    };
    let answer = recheck::ask(bus, &question).await;
    let said = judged(answer, tool, in_force);
    metrics::rechecked(matches!(said, Ok(Said::Runs)));
    said
}

/// Two bundles met twice: nobody can say what the one in force says of it.
pub(crate) fn disagreed() -> Refusal {
    denied("the policy checker judges by another bundle than the one in force here")
}

fn denied(why: &str) -> Refusal {
    let message = format!("the policy changed after the decision, and {why}");
    Refusal::ordinary(RevokedCode::RecheckDenied, &message)
}

fn judged(
    answer: Result<RecheckReply, Unanswered>,
    tool: &Tool,
    in_force: Digest,
) -> Result<Said, Refusal> {
    let answer = answer.map_err(|why| denied(&why.to_string()))?;
    // INVARIANT: a yes by another bundle is none, be it older than ours or newer.
    if answer.policy_digest != in_force {
        return Ok(Said::ByAnother);
    }
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
    Ok(Said::Runs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;
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
            policy_digest: bundle.digest(),
            tool_digest: Some(tool.digest()),
        };
        let judged = |answer| judged(answer, tool, bundle.digest());
        assert_eq!(judged(Ok(yes.clone())), Ok(Said::Runs));
        // A checker that is behind says yes where the rules in force say no.
        for policy_digest in [Digest::of_bytes(b"new"), Digest::of_bytes(b"old")] {
            let other = RecheckReply {
                policy_digest,
                ..yes.clone()
            };
            assert_eq!(judged(Ok(other)), Ok(Said::ByAnother));
        }
        assert_eq!(disagreed().code, RevokedCode::RecheckDenied);
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
            let refusal = judged(answer).unwrap_err();
            assert_eq!(refusal.code, code, "{said}");
            assert!(refusal.message.contains(said), "{}", refusal.message);
        }
    }
}
