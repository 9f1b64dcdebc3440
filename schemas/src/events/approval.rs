//! Approvals, votes and windows.

use serde::{Deserialize, Serialize};

use super::parts::{
    ApprovalKind, ApprovalState, Ask, Change, CheckedRequester, Escalation, GuardrailResult,
    Operation, Reason, TeamQuorum, VoteChoice,
};
use crate::digest::Digest;
use crate::ids::{
    AgentId, ApprovalId, IntentId, PersonId, RequesterId, ServiceId, ToolName, WindowId,
};
use crate::json::JsonObject;
use crate::time::Timestamp;

fn version_one() -> u16 {
    1
}

/// One thing to be approved, without anything that only approvers may see.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ApprovalItem {
    /// Which intent.
    pub intent_id: IntentId,
    /// Which tool.
    pub tool: ToolName,
    /// What the tool does.
    pub operation: Operation,
    /// One sentence on what would happen, redacted.
    pub summary: String,
    /// The redacted input.
    pub input_redacted: JsonObject,
    /// Digest of the exact input.
    pub input_digest: Digest,
    /// The amount at stake, as decimal text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<String>,
}

/// People must decide.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ApprovalRequested {
    /// Schema version.
    pub schema_version: u16,
    /// Which approval.
    pub approval_id: ApprovalId,
    /// What it is about.
    pub kind: ApprovalKind,
    /// The things to be approved.
    pub items: Vec<ApprovalItem>,
    /// Who wants to act.
    pub agent: AgentId,
    /// On whose behalf.
    pub requester: CheckedRequester,
    /// Why.
    pub purpose: String,
    /// Why people are asked.
    pub reasons: Vec<Reason>,
    /// What would change, redacted.
    #[serde(default)]
    pub changes: Vec<Change>,
    /// All of these teams, each with its quorum.
    pub approvers: Vec<TeamQuorum>,
    /// Whether a vote through a chat bridge counts.
    pub chat_may_approve: bool,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When nobody may grant it any more.
    pub expires_at: Timestamp,
    /// Teams that are asked too if nobody decides before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub escalation: Vec<Escalation>,
    /// When those asked are reminded if nobody decides before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reminders: Vec<Timestamp>,
    /// The calendars whose open hours alone were counted for its times.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub business_hours: Vec<String>,
    /// Covers everything an approver is shown, and a salt that only the view returns.
    pub digest: Digest,
    /// The agent's session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// What each guardrail found.
    #[serde(default)]
    pub guardrails: Vec<GuardrailResult>,
    /// Whether this event shows everything that the digest covers: nothing redacted, nothing
    /// left out. Where not, a channel that has only this event gives a link and takes no
    /// vote, and a vote that came through one is not counted.
    #[serde(default)]
    pub view_complete: bool,
    /// Of kind `window`: what it would open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<WindowAsked>,
}

/// The window that people are asked to open ahead of time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowAsked {
    /// For which tools.
    pub tools: Vec<ToolName>,
    /// How far it would go.
    pub limits: WindowLimits,
    /// Of tools that update: the fields that might change.
    #[serde(default)]
    pub fields: Vec<String>,
    /// Only on behalf of this person; anybody where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester: Option<CheckedRequester>,
}

/// Limits of a window, as asked for or as granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowLimits {
    /// How long it lasts, counted from the approval.
    pub seconds: u64,
    /// How often it may be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_uses: Option<u32>,
    /// The total amount, as decimal text, with its currency where amounts have one:
    /// `1500.00 EUR`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_total: Option<String>,
    /// Only exactly the same tool and input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_input_only: Option<bool>,
}

/// A person's vote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalVote {
    /// Schema version; 1 where the sender does not say.
    #[serde(default = "version_one")]
    pub schema_version: u16,
    /// Which approval.
    pub approval_id: ApprovalId,
    /// The digest of what was shown.
    pub digest: Digest,
    /// Yes or no.
    pub vote: VoteChoice,
    /// Only these items of a bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<Vec<IntentId>>,
    /// Open a window as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<WindowLimits>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A vote was counted or refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalVoted {
    /// Schema version.
    pub schema_version: u16,
    /// Which approval.
    pub approval_id: ApprovalId,
    /// Who voted.
    pub approver: PersonId,
    /// The person in whose place the vote counts where the voter's own membership does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<PersonId>,
    /// Through what: `self`, or the name of a bridge.
    pub via: ServiceId,
    /// What they voted.
    pub vote: VoteChoice,
    /// Whether it counted.
    pub counted: bool,
    /// Stable code: `counted`, or why not.
    pub code: String,
    /// A sentence; for a late vote it says who decided and when.
    pub message: String,
    /// The approver's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The state after this vote.
    pub state: ApprovalState,
    /// Store time of the vote.
    pub voted_at: Timestamp,
}

/// One counted vote, in a final record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountedVote {
    /// Who voted.
    pub approver: PersonId,
    /// The person in whose place the vote counts where the voter's own membership does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<PersonId>,
    /// Through what.
    pub via: ServiceId,
    /// What they voted.
    pub vote: VoteChoice,
    /// When it was stored.
    pub at: Timestamp,
    /// Their own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The final state of an approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalResolved {
    /// Schema version.
    pub schema_version: u16,
    /// Which approval.
    pub approval_id: ApprovalId,
    /// What it was about.
    pub kind: ApprovalKind,
    /// Who wanted to act.
    pub agent: AgentId,
    /// The intents it covered.
    pub intents: Vec<IntentId>,
    /// The final state.
    pub state: ApprovalState,
    /// The votes that counted.
    pub votes: Vec<CountedVote>,
    /// From when its times were counted; absent in records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_from: Option<Timestamp>,
    /// A sentence on why it ended so.
    pub message: String,
    /// When.
    pub resolved_at: Timestamp,
}

/// A request to open a time window ahead of time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowRequested {
    /// Schema version; 1 where the sender does not say.
    #[serde(default = "version_one")]
    pub schema_version: u16,
    /// For which agent.
    pub agent: AgentId,
    /// For which tools.
    pub tools: Vec<ToolName>,
    /// How far it goes.
    pub limits: WindowLimits,
    /// Why.
    pub reason: String,
    /// Of tools that update: the fields that may change; none for no update at all.
    #[serde(default)]
    pub fields: Vec<String>,
    /// Only on behalf of this person; anybody where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester: Option<RequesterId>,
}

/// A request to close a window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowClosing {
    /// Schema version; 1 where the sender does not say.
    #[serde(default = "version_one")]
    pub schema_version: u16,
    /// Which window.
    pub window_id: WindowId,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A window is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowOpened {
    /// Schema version.
    pub schema_version: u16,
    /// Which window.
    pub window_id: WindowId,
    /// For which agent.
    pub agent: AgentId,
    /// For which tools.
    pub tools: Vec<ToolName>,
    /// How far it goes.
    pub limits: WindowLimits,
    /// The ask that its votes satisfied.
    pub ask: Ask,
    /// Who opened it.
    pub approvers: Vec<PersonId>,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Of tools that update: the fields that may change.
    #[serde(default)]
    pub fields: Vec<String>,
    /// Only on behalf of this person; anybody where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester: Option<CheckedRequester>,
    /// The votes that opened it: each use is measured by them.
    #[serde(default)]
    pub votes: Vec<CountedVote>,
    /// The approval that it was opened with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_id: Option<ApprovalId>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A window is closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowClosed {
    /// Schema version.
    pub schema_version: u16,
    /// Which window.
    pub window_id: WindowId,
    /// For which agent.
    pub agent: AgentId,
    /// Stable code: `expired` or `revoked`. One that is used up stays open until then, for a
    /// use may come back.
    pub code: String,
    /// How often it was used.
    pub uses: u32,
    /// When.
    pub closed_at: Timestamp,
    /// The total amount of its uses, where it has a limit on that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<String>,
    /// Who closed it; absent where its time was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<PersonId>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
