//! The one decision on an intent, and its revocation.

use serde::{Deserialize, Serialize};

use super::parts::{
    Basis, BlockedCode, CheckedRequester, HandoffKind, HandoffRef, Need, NextAction, Operation,
    Reason, RequestRef, RevokedCode,
};
use crate::digest::Digest;
use crate::ids::{AgentId, ApprovalId, IntentId, PersonId, TeamId, ToolName};
use crate::time::Timestamp;

/// The decision to run, with its permit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolApproved {
    /// Schema version.
    pub schema_version: u16,
    /// Which intent.
    pub intent_id: IntentId,
    /// Who acts.
    pub agent: AgentId,
    /// On whose behalf.
    pub requester: CheckedRequester,
    /// Which tool.
    pub tool: ToolName,
    /// What the tool does.
    pub operation: Operation,
    /// Digest of the exact input.
    pub input_digest: Digest,
    /// The message that holds the raw input.
    pub request: RequestRef,
    /// What gave the permit.
    pub basis: Basis,
    /// Until when it may be claimed.
    pub approved_until: Timestamp,
    /// The permit, a signed JWT; never archived.
    pub permit: String,
    /// The policy bundle that judged.
    pub policy_digest: Digest,
    /// The tool definition that judged.
    pub tool_digest: Digest,
}

/// The decision not to run, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolBlocked {
    /// Schema version.
    pub schema_version: u16,
    /// Which intent.
    pub intent_id: IntentId,
    /// The message that asked.
    pub request: RequestRef,
    /// Who wanted to act.
    pub agent: AgentId,
    /// On whose behalf.
    pub requester: CheckedRequester,
    /// Which tool.
    pub tool: ToolName,
    /// Why, as a stable code.
    pub code: BlockedCode,
    /// What was tried, one sentence that a person understands.
    pub tried: String,
    /// Why not.
    pub reasons: Vec<Reason>,
    /// What would make it possible.
    pub needs: Vec<Need>,
    /// Who can help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handoff: Option<HandoffRef>,
    /// What the agent may do now.
    pub next_action: NextAction,
}

/// An approved, unclaimed intent that will not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolRevoked {
    /// Schema version.
    pub schema_version: u16,
    /// Which intent.
    pub intent_id: IntentId,
    /// The message that asked.
    pub request: RequestRef,
    /// Who wanted to act.
    pub agent: AgentId,
    /// On whose behalf.
    pub requester: CheckedRequester,
    /// Which tool.
    pub tool: ToolName,
    /// Why, as a stable code.
    pub code: RevokedCode,
    /// What was tried, one sentence that a person understands.
    pub tried: String,
    /// Why not.
    pub reasons: Vec<Reason>,
    /// What would make it possible.
    pub needs: Vec<Need>,
    /// Who can help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handoff: Option<HandoffRef>,
    /// What the agent may do now.
    pub next_action: NextAction,
}

/// A message to people. Redacted: it leaves the system through chat and mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handoff {
    /// Schema version.
    pub schema_version: u16,
    /// What it is about.
    pub kind: HandoffKind,
    /// To whom.
    pub team: TeamId,
    /// The intents it is about.
    pub intents: Vec<IntentId>,
    /// The approval it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_id: Option<ApprovalId>,
    /// Who wanted to act.
    pub agent: AgentId,
    /// On whose behalf.
    pub requester: CheckedRequester,
    /// Which tool.
    pub tool: ToolName,
    /// Stable code: a block, revocation or approval state.
    pub code: String,
    /// One line, short enough for a notification.
    pub title: String,
    /// The whole message in plain sentences.
    pub text: String,
    /// What was tried.
    pub tried: String,
    /// Why it stopped, or why people are asked.
    pub reasons: Vec<Reason>,
    /// What would make it possible.
    pub needs: Vec<Need>,
    /// Who can help, by name.
    pub people: Vec<PersonId>,
    /// Until when an answer helps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Where a person reads more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Whether this message and the `approval.requested` that it is about show everything
    /// that an approver is shown: nothing redacted, nothing cut. Where not, whoever passes
    /// it on gives the link or the command and no way to vote.
    #[serde(default)]
    pub view_complete: bool,
}
