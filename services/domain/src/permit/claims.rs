//! What the tokens say.

use countersign_schemas::events::Basis;
use countersign_schemas::{AgentId, Digest, IntentId, RequesterId, ServiceId, Timestamp, ToolName};
use serde::{Deserialize, Serialize};

/// The audience of a permit: one tool of one deployment.
#[must_use]
pub fn audience(deployment: &str, tool: &ToolName) -> String {
    format!("{deployment}/{tool}")
}

/// On whose behalf (RFC 8693 `act`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// The requester.
    pub sub: RequesterId,
}

/// A surrogate that may be resolved for this run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reveal {
    /// Where it stands in the input, as a JSON Pointer.
    pub pointer: String,
    /// The class of value that may stand there.
    pub class: String,
    /// The data subject that the value must belong to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
}

/// The claims of a permit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PermitClaims {
    /// The deployment that decided.
    pub iss: String,
    /// The agent that acts.
    pub sub: AgentId,
    /// The person it acts for.
    pub act: Actor,
    /// `<deployment>/<tool>`.
    pub aud: String,
    /// The intent.
    pub jti: IntentId,
    /// When it was signed, in seconds.
    pub iat: i64,
    /// When it ends, in seconds.
    pub exp: i64,
    /// Digest over `{intent_id, tool, input, salt}`.
    pub input_digest: Digest,
    /// The salt of that digest.
    pub salt: String,
    /// The tool definition that was judged.
    pub tool_digest: Digest,
    /// The policy bundle that judged.
    pub policy_digest: Digest,
    /// What the decision rests on.
    pub basis: Basis,
    /// Surrogates that may be resolved.
    pub reveal: Vec<Reveal>,
    /// Output fields that may be shown to the agent.
    pub expose: Vec<String>,
}

impl PermitClaims {
    /// When the permit ends.
    #[must_use]
    pub fn until(&self) -> Timestamp {
        Timestamp::from_micros(self.exp.saturating_mul(1_000_000)).unwrap_or(Timestamp::EPOCH)
    }
}

/// The claims of a claim token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimClaims {
    /// The deployment.
    pub iss: String,
    /// `<deployment>/<tool>`.
    pub aud: String,
    /// The intent.
    pub jti: IntentId,
    /// The sequence of the one `tool.started`.
    pub claim_seq: u64,
    /// Which try of an idempotent tool this is, from 1.
    pub attempt: u32,
    /// Digest of the exact input, as in the permit.
    pub input_digest: Digest,
    /// The worker it is for.
    pub worker: ServiceId,
    /// When it ends, in seconds.
    pub exp: i64,
}
