//! What a freeze covers.

use countersign_schemas::events::{FreezeScope, PolicyChecked, ToolApproved};
use countersign_schemas::{AgentId, RequesterId, ToolName};

/// An intent as a freeze sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    /// Who acts.
    pub agent: &'a AgentId,
    /// With what.
    pub tool: &'a ToolName,
    /// On whose behalf, claimed or proved.
    pub requester: &'a RequesterId,
}

impl<'a> From<&'a PolicyChecked> for Target<'a> {
    fn from(checked: &'a PolicyChecked) -> Self {
        Self {
            agent: &checked.agent,
            tool: &checked.tool,
            requester: &checked.requester.id,
        }
    }
}

impl<'a> From<&'a ToolApproved> for Target<'a> {
    fn from(approved: &'a ToolApproved) -> Self {
        Self {
            agent: &approved.agent,
            tool: &approved.tool,
            requester: &approved.requester.id,
        }
    }
}

/// Whether `scope` covers `target`: every part that it names is the same.
#[must_use]
pub fn covers(scope: &FreezeScope, target: &Target<'_>) -> bool {
    let same = |agent: &AgentId| agent == target.agent;
    scope.agent.as_ref().is_none_or(same)
        && scope.tool.as_ref().is_none_or(|tool| tool == target.tool)
        && scope
            .requester
            .as_ref()
            .is_none_or(|requester| requester == target.requester)
}

/// The scope in words: `agent billing`, `agent billing with tool mail.send`, `everything`.
#[must_use]
pub fn words(scope: &FreezeScope) -> String {
    let parts = [
        scope.agent.as_ref().map(|agent| format!("agent {agent}")),
        scope.tool.as_ref().map(|tool| format!("tool {tool}")),
        scope
            .requester
            .as_ref()
            .map(|requester| format!("requester {requester}")),
    ];
    let named: Vec<String> = parts.into_iter().flatten().collect();
    match named.is_empty() {
        true => "everything".to_owned(),
        false => named.join(" with "),
    }
}
