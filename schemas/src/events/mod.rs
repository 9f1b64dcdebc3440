//! Every event of the system. Each struct mirrors `avro/<event>/v1.avsc`, which is the
//! source of truth for names, types and field classes.

mod approval;
mod decision;
mod execution;
mod intent;
mod operations;
mod parts;
mod policy;

pub use approval::*;
pub use decision::*;
pub use execution::*;
pub use intent::*;
pub use operations::*;
pub use parts::*;
pub use policy::*;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A message body with a schema.
pub trait Event: Serialize + DeserializeOwned + Send + Sync {
    /// The event's name, such as `tool.requested`.
    const NAME: &'static str;
    /// The schema version that this type writes.
    const VERSION: u16 = 1;
    /// The Avro schema, from `avro/<event>/v<version>.avsc`.
    const AVSC: &'static str;
}

macro_rules! events {
    ($($name:ident = $event:literal;)*) => {
        $(impl Event for $name {
            const NAME: &'static str = $event;
            const AVSC: &'static str = include_str!(concat!("../../avro/", $event, "/v1.avsc"));
        })*

        /// Name and Avro schema of every event, in the order of the contract.
        pub const ALL: &[(&str, &str)] = &[$(($event, <$name as Event>::AVSC)),*];
    };
}

events! {
    ToolRequested = "tool.requested";
    ToolWithdrawn = "tool.withdrawn";
    ApprovalVote = "approval.vote";
    WindowRequested = "window.requested";
    WindowClosing = "window.closing";
    ControlFreeze = "control.freeze";
    ControlUnfreeze = "control.unfreeze";
    OutcomeFound = "outcome.found";
    PolicyChecked = "policy.checked";
    ToolRefused = "tool.refused";
    ApprovalRequested = "approval.requested";
    ApprovalVoted = "approval.voted";
    ApprovalResolved = "approval.resolved";
    ToolApproved = "tool.approved";
    ToolBlocked = "tool.blocked";
    ToolStarted = "tool.started";
    ToolCompleted = "tool.completed";
    ToolRevoked = "tool.revoked";
    OutcomeLate = "outcome.late";
    OutcomeReconciled = "outcome.reconciled";
    Handoff = "handoff";
    WindowOpened = "window.opened";
    WindowClosed = "window.closed";
    ControlApplied = "control.applied";
    ControlDone = "control.done";
    ControlRefused = "control.refused";
    VaultTokenized = "vault.tokenized";
    VaultRevealed = "vault.revealed";
    VaultErased = "vault.erased";
    PolicyPublished = "policy.published";
    IdentityChanged = "identity.changed";
    AuditAccessed = "audit.accessed";
    ArchiveCommitted = "archive.committed";
    ArchivePurged = "archive.purged";
    DeadLetter = "deadletter";
}
