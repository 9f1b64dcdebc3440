//! What the policy checker says.

use serde::{Deserialize, Serialize};

use super::parts::{
    Ask, BundleRef, Change, Charge, CheckedRequester, GuardrailResult, Need, Operation, Reason,
    RefusedCode, RequestRef, Verdict,
};
use crate::digest::Digest;
use crate::ids::{AgentId, IntentId, ToolName};
use crate::json::JsonObject;
use crate::time::Timestamp;

/// The verdict on an intent. Read only by our own services: it holds what approvers see.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyChecked {
    /// Schema version.
    pub schema_version: u16,
    /// Which intent.
    pub intent_id: IntentId,
    /// The message that was judged; the raw input stays there.
    pub request: RequestRef,
    /// Who wants to act.
    pub agent: AgentId,
    /// On whose behalf.
    pub requester: CheckedRequester,
    /// Which tool.
    pub tool: ToolName,
    /// What the tool does; absent for a tool that the catalog does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
    /// Why.
    pub purpose: String,
    /// Its place in a bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<BundleRef>,
    /// The agent's session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// After this it must not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Judge only; never run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<bool>,
    /// The finding.
    pub verdict: Verdict,
    /// Why; for a deny the first code is a [`super::BlockedCode`] word.
    pub reasons: Vec<Reason>,
    /// What would make it possible.
    pub needs: Vec<Need>,
    /// What people must grant, for verdict `ask`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask: Option<Ask>,
    /// What each guardrail found.
    pub guardrails: Vec<GuardrailResult>,
    /// The input with every classed or detected value redacted.
    pub input_redacted: JsonObject,
    /// The input as approvers may see it, field by field as the catalog says.
    pub input_shown: JsonObject,
    /// The amount at stake, as decimal text, where the catalog names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<String>,
    /// The currency of the amount, where the catalog names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// One sentence on what would happen, from the catalog's template, redacted.
    pub summary: String,
    /// What would change, redacted, where known beforehand.
    #[serde(default)]
    pub changes: Vec<Change>,
    /// Digest over `{intent_id, tool, input, salt}`.
    pub input_digest: Digest,
    /// 16 random bytes, base64url; never archived or shown.
    pub salt: String,
    /// HMAC of `{tool, input}` under a deployment key; never archived or shown.
    pub input_match: String,
    /// The policy bundle that judged.
    pub policy_digest: Digest,
    /// The tool definition that judged; absent for an unknown tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_digest: Option<Digest>,
    /// Pointers of fields that tool.completed may expose, from the catalog.
    #[serde(default)]
    pub expose: Vec<String>,
    /// The team that helps when this intent is stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helper: Option<crate::ids::TeamId>,
    /// What it takes from rates and budgets, for verdicts `allow` and `ask`.
    #[serde(default)]
    pub charges: Vec<Charge>,
    /// Store time of the request that was judged.
    pub requested_at: Timestamp,
}

/// A message that gets no decision of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolRefused {
    /// Schema version.
    pub schema_version: u16,
    /// The intent, where it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent_id: Option<IntentId>,
    /// Who sent it.
    pub agent: AgentId,
    /// The message that is refused.
    pub request: RequestRef,
    /// Why.
    pub code: RefusedCode,
    /// A sentence: what was wrong and what to do; never a value of the message.
    pub message: String,
}
