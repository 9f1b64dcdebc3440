//! The sentences of a decision.

use countersign_schemas::events::{BlockedCode, CheckedRequester, NextAction};
use countersign_schemas::{AgentId, ToolName};

/// What was tried, one sentence that a person understands.
#[must_use]
pub fn tried(
    agent: &AgentId,
    tool: &ToolName,
    requester: &CheckedRequester,
    summary: &str,
) -> String {
    let who = format!("{agent} tried to use {tool} for {}", requester.id);
    match summary.trim() {
        "" => format!("{who}."),
        summary => format!("{who}: {}", sentence(summary)),
    }
}

/// `text` with a full stop, unless it ends with one or another end mark.
pub(crate) fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.ends_with(['.', '!', '?', '…']) {
        text.to_owned()
    } else {
        format!("{text}.")
    }
}

/// What the agent may do after a block.
#[must_use]
pub fn next_action(code: BlockedCode) -> NextAction {
    match code {
        BlockedCode::PolicyDenied
        | BlockedCode::GuardrailViolated
        | BlockedCode::MandateInvalid
        | BlockedCode::PolicyError
        | BlockedCode::UnknownTool => NextAction::Request,
        BlockedCode::ApprovalExpired
        | BlockedCode::Frozen
        | BlockedCode::InvalidInput
        | BlockedCode::BudgetExceeded
        | BlockedCode::BundleIncomplete
        | BlockedCode::TooManyPending
        | BlockedCode::ToolChanged
        | BlockedCode::Unavailable => NextAction::Retry,
        BlockedCode::DeniedByPerson
        | BlockedCode::Withdrawn
        | BlockedCode::IdentityMismatch
        | BlockedCode::DryRun => NextAction::None,
    }
}
