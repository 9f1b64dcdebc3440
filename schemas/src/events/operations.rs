//! Control, vault, policy life, identity, audit and archive.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::ids::{AgentId, Incarnation, IntentId, PersonId, RequesterId, ServiceId, ToolName};
use crate::time::Timestamp;

fn version_one() -> u16 {
    1
}

/// What a freeze covers; an absent part covers everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FreezeScope {
    /// Only this agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// Only this tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<ToolName>,
    /// Only this requester.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester: Option<RequesterId>,
}

macro_rules! control_message {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        pub struct $name {
            /// Schema version; 1 where the sender does not say.
            #[serde(default = "version_one")]
            pub schema_version: u16,
            /// What it covers.
            pub scope: FreezeScope,
            /// Why.
            pub reason: String,
        }
    };
}

control_message!(
    /// The kill switch.
    ControlFreeze
);
control_message!(
    /// Its release.
    ControlUnfreeze
);

/// A freeze or unfreeze takes effect at this point of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlApplied {
    /// Schema version.
    pub schema_version: u16,
    /// Whether it freezes or releases.
    pub frozen: bool,
    /// What it covers.
    pub scope: FreezeScope,
    /// Who.
    pub operator: PersonId,
    /// Why.
    pub reason: String,
    /// When.
    pub applied_at: Timestamp,
}

/// The sweep of a freeze is complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlDone {
    /// Schema version.
    pub schema_version: u16,
    /// Approved intents that were revoked.
    pub revoked: u64,
    /// Intents claimed after the freeze took effect: they have an end, and nothing ran.
    #[serde(default)]
    pub stopped: u64,
    /// Intents already claimed when the freeze took effect, the first of them.
    pub running: Vec<IntentId>,
    /// How many more were already claimed than are named.
    #[serde(default)]
    pub running_more: u64,
    /// From the order to the end of the sweep, in milliseconds.
    pub duration_ms: u64,
}

/// A message in `CS_CONTROL` or `CS_ORDERS` that gets no other answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlRefused {
    /// Schema version.
    pub schema_version: u16,
    /// Who sent it.
    pub person: PersonId,
    /// Stable code.
    pub code: String,
    /// A sentence: what was wrong and what to do.
    pub message: String,
}

/// A value became a surrogate; never the value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultTokenized {
    /// Schema version.
    pub schema_version: u16,
    /// The class of the value.
    pub class: String,
    /// The surrogate.
    pub surrogate: String,
    /// Who asked.
    pub by: ServiceId,
}

/// A surrogate was resolved for a claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultRevealed {
    /// Schema version.
    pub schema_version: u16,
    /// For which intent.
    pub intent_id: IntentId,
    /// For which agent.
    pub agent: AgentId,
    /// The pointers that were resolved.
    pub pointers: Vec<String>,
    /// The claim it was resolved for.
    pub claim_seq: u64,
}

/// The key of a data subject was destroyed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultErased {
    /// Schema version.
    pub schema_version: u16,
    /// Fingerprint of the subject.
    pub subject: String,
    /// Who asked.
    pub operator: PersonId,
    /// How many values it made unreadable.
    pub values: u64,
}

/// A policy bundle was published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyPublished {
    /// Schema version.
    pub schema_version: u16,
    /// The bundle.
    pub policy_digest: Digest,
    /// The bundle it replaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Digest>,
    /// Who published it; absent where a service loaded it from its folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<PersonId>,
}

/// An identity was added, removed or rotated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityChanged {
    /// Schema version.
    pub schema_version: u16,
    /// `added`, `removed` or `rotated`.
    pub change: String,
    /// The role, such as `agent`.
    pub role: String,
    /// The name.
    pub name: String,
    /// The public key that counts from now on; absent after removal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// Who did it.
    pub operator: PersonId,
}

/// Somebody looked into the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditAccessed {
    /// Schema version.
    pub schema_version: u16,
    /// Who.
    pub person: PersonId,
    /// What they asked, redacted.
    pub query: String,
    /// How many rows they got.
    pub rows: u64,
    /// `ok`, or why it was refused.
    pub result: String,
}

/// How far a stream is archived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamPosition {
    /// Server name of the stream.
    pub stream: String,
    /// Which life of the stream.
    pub incarnation: Incarnation,
    /// Its last archived sequence.
    pub seq: u64,
}

/// A manifest entry was committed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveCommitted {
    /// Schema version.
    pub schema_version: u16,
    /// The number of the entry.
    pub n: u64,
    /// SHA-256 of the entry's bytes.
    pub entry_digest: Digest,
    /// Rows in the whole archive after it.
    pub tree_size: u64,
    /// How far each stream is archived.
    pub positions: Vec<StreamPosition>,
    /// The key that signed the entry.
    pub signer: String,
    /// The signed checkpoint for those rows, in the form of C2SP tlog-checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
}

/// Messages were purged from a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchivePurged {
    /// Schema version.
    pub schema_version: u16,
    /// Server name of the stream.
    pub stream: String,
    /// Which life of the stream.
    pub incarnation: Incarnation,
    /// Everything below this sequence is gone.
    pub up_to_seq: u64,
    /// How many messages went.
    pub messages: u64,
}

/// A message nobody could read; never its payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Schema version.
    pub schema_version: u16,
    /// Which service gave up.
    pub service: ServiceId,
    /// Server name of the stream.
    pub stream: String,
    /// Which life of the stream.
    pub incarnation: Incarnation,
    /// The sequence of the message.
    pub seq: u64,
    /// Its subject.
    pub subject: String,
    /// Keyed digest of its payload: equal payloads of one key's life have equal digests, and
    /// nobody without the key can test a guess.
    pub payload_digest: Digest,
    /// Size of its payload in bytes.
    pub payload_bytes: u64,
    /// What failed, in words.
    pub error: String,
}
