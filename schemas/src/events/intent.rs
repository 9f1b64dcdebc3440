//! What agents say.

use serde::{Deserialize, Serialize};

use super::parts::{BundleRef, Requester};
use crate::ids::{IntentId, ToolName};
use crate::json::JsonObject;
use crate::time::Timestamp;

fn version_one() -> u16 {
    1
}

/// One agent's request to call one tool once, with exact input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolRequested {
    /// Schema version; 1 where the sender does not say.
    #[serde(default = "version_one")]
    pub schema_version: u16,
    /// Chosen by the agent, UUIDv7.
    pub intent_id: IntentId,
    /// Which tool.
    pub tool: ToolName,
    /// The exact arguments.
    pub input: JsonObject,
    /// On whose behalf.
    pub requester: Requester,
    /// Why, for the people who decide.
    pub purpose: String,
    /// The agent's session, for display only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// Its place in a bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<BundleRef>,
    /// What the agent claims to know; never trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<JsonObject>,
    /// After this it must not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Judge only; never run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<bool>,
}

/// An intent no longer wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolWithdrawn {
    /// Schema version; 1 where the sender does not say.
    #[serde(default = "version_one")]
    pub schema_version: u16,
    /// Which intent.
    pub intent_id: IntentId,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
