//! Claim and outcome.

use serde::{Deserialize, Serialize};

use super::parts::{Change, Outcome, ToolError};
use crate::ids::{AgentId, IntentId, PersonId, ServiceId, ToolName};
use crate::json::JsonObject;
use crate::time::Timestamp;

/// The one claim on an approved intent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolStarted {
    /// Schema version.
    pub schema_version: u16,
    /// Which intent.
    pub intent_id: IntentId,
    /// Who acts.
    pub agent: AgentId,
    /// Which tool.
    pub tool: ToolName,
    /// Which executor holds the claim.
    pub executor: ServiceId,
    /// When the claim ends; never renewed.
    pub lease_until: Timestamp,
}

/// The outcome of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolCompleted {
    /// Schema version.
    pub schema_version: u16,
    /// Which intent.
    pub intent_id: IntentId,
    /// Who acted.
    pub agent: AgentId,
    /// Which tool.
    pub tool: ToolName,
    /// How it ended.
    pub outcome: Outcome,
    /// The fields that the catalog exposes, sensitive ones redacted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<JsonObject>,
    /// One sentence, redacted.
    pub output_summary: String,
    /// What changed, redacted.
    #[serde(default)]
    pub changes: Vec<Change>,
    /// Why it failed or is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ToolError>,
    /// From the claim to the end, in milliseconds.
    pub duration_ms: u64,
}

/// A result that came after its lease.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutcomeLate {
    /// Schema version.
    pub schema_version: u16,
    /// Which intent.
    pub intent_id: IntentId,
    /// Who acted.
    pub agent: AgentId,
    /// Which tool.
    pub tool: ToolName,
    /// How it ended.
    pub outcome: Outcome,
    /// The fields that the catalog exposes, sensitive ones redacted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<JsonObject>,
    /// One sentence, redacted.
    pub output_summary: String,
    /// What changed, redacted.
    #[serde(default)]
    pub changes: Vec<Change>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ToolError>,
    /// From the claim to the end, in milliseconds.
    pub duration_ms: u64,
}

/// What people found out about an unknown outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomeFound {
    /// Schema version.
    pub schema_version: u16,
    /// Which intent.
    pub intent_id: IntentId,
    /// Who acted.
    pub agent: AgentId,
    /// What they found.
    pub outcome: Outcome,
    /// How they know.
    pub reason: String,
}

/// A person's finding, as recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomeReconciled {
    /// Schema version.
    pub schema_version: u16,
    /// Which intent.
    pub intent_id: IntentId,
    /// Who acted.
    pub agent: AgentId,
    /// What was found.
    pub outcome: Outcome,
    /// Who found it.
    pub operator: PersonId,
    /// How they know.
    pub reason: String,
    /// When.
    pub reconciled_at: Timestamp,
}
