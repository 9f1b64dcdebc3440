//! What each event puts into which column. A field that is not named here is in no row:
//! that is how permit, salt, `input_shown`, `input_match`, mandates and raw inputs stay out.

mod approval;
mod intent;
mod operations;
mod outcome;

use countersign_schemas::events::*;
use countersign_schemas::{Address, codec};

use super::draft::Draft;
use super::named::Named;

/// An event that knows its columns.
trait Describe: Event {
    /// Writes what the event says and names whom it is about by its own words.
    fn describe(self, draft: &mut Draft) -> Named;
}

fn read<E: Describe>(payload: &[u8], draft: &mut Draft) -> Option<Named> {
    codec::decode::<E>(payload)
        .ok()
        .map(|event| event.describe(draft))
}

/// Reads the event that belongs to `address`; `None` when the body is not one.
pub(super) fn describe(address: &Address, payload: &[u8], draft: &mut Draft) -> Option<Named> {
    let read: fn(&[u8], &mut Draft) -> Option<Named> = match address {
        Address::ToolRequested { .. } => read::<ToolRequested>,
        Address::ToolWithdrawn { .. } => read::<ToolWithdrawn>,
        Address::Vote { .. } | Address::VoteVia { .. } => read::<ApprovalVote>,
        Address::WindowRequested { .. } => read::<WindowRequested>,
        Address::WindowClosing { .. } => read::<WindowClosing>,
        Address::Freeze { .. } => read::<ControlFreeze>,
        Address::Unfreeze { .. } => read::<ControlUnfreeze>,
        Address::OutcomeFound { .. } => read::<OutcomeFound>,
        Address::PolicyChecked { .. } => read::<PolicyChecked>,
        Address::ToolRefused { .. } => read::<ToolRefused>,
        Address::ApprovalRequested { .. } => read::<ApprovalRequested>,
        Address::ApprovalVoted { .. } => read::<ApprovalVoted>,
        Address::ApprovalResolved { .. } => read::<ApprovalResolved>,
        Address::ToolApproved { .. } => read::<ToolApproved>,
        Address::ToolBlocked { .. } => read::<ToolBlocked>,
        Address::ToolStarted { .. } => read::<ToolStarted>,
        Address::ToolCompleted { .. } => read::<ToolCompleted>,
        Address::ToolRevoked { .. } => read::<ToolRevoked>,
        Address::OutcomeLate { .. } => read::<OutcomeLate>,
        Address::OutcomeReconciled { .. } => read::<OutcomeReconciled>,
        Address::Handoff { .. } => read::<Handoff>,
        Address::WindowOpened { .. } => read::<WindowOpened>,
        Address::WindowClosed { .. } => read::<WindowClosed>,
        Address::ControlApplied { .. } | Address::ControlReapplied { .. } => read::<ControlApplied>,
        Address::ControlDone { .. } => read::<ControlDone>,
        Address::ControlRefused { .. } => read::<ControlRefused>,
        Address::VaultTokenized { .. } => read::<VaultTokenized>,
        Address::VaultRevealed { .. } => read::<VaultRevealed>,
        Address::VaultErased { .. } => read::<VaultErased>,
        Address::PolicyPublished { .. } => read::<PolicyPublished>,
        Address::IdentityChanged { .. } => read::<IdentityChanged>,
        Address::AuditAccessed { .. } => read::<AuditAccessed>,
        Address::ArchiveCommitted { .. } => read::<ArchiveCommitted>,
        Address::ArchivePurged { .. } => read::<ArchivePurged>,
        Address::DeadLetter { .. } => read::<DeadLetter>,
        _ => return None,
    };
    read(payload, draft)
}
