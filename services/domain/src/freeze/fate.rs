//! What a freeze finds of each intent that was open where it took effect, and the counts.

use countersign_schemas::IntentId;
use countersign_schemas::events::{ControlDone, RevokedCode, ToolApproved};

use crate::chain::{End, Head};

/// Intents that were running already and are named in `control.done`; the rest is counted.
const RUNNING_MAX: usize = 100;

/// What became of an intent that was approved, not claimed and open where the freeze took
/// effect.
#[derive(Debug, Clone, PartialEq)]
pub enum IntentFate {
    /// It must be revoked, expecting this sequence.
    Revoke(Box<ToolApproved>, u64),
    /// It was revoked for a freeze.
    Revoked,
    /// It was claimed after the freeze, and the executor calls nobody for it.
    Stopped,
    /// It ended in another way.
    Over,
    /// What lies on its chain is none of ours.
    NotOurs,
}

/// What became of an intent, by the last message of its chain.
#[must_use]
pub fn fate(head: Head) -> IntentFate {
    match head {
        Head::Decided { seq, approved } => IntentFate::Revoke(approved, seq),
        Head::Claimed { .. } => IntentFate::Stopped,
        Head::Ended { end, .. } => match end {
            End::Revoked(revoked) if revoked.code == RevokedCode::Frozen => IntentFate::Revoked,
            // Its claim lies behind the freeze, so the worker was never called, also where
            // an executor died and the outcome reads unknown.
            End::Completed(_) => IntentFate::Stopped,
            End::Blocked(_) | End::Revoked(_) => IntentFate::Over,
        },
        Head::None => IntentFate::Over,
        Head::NotOurs { .. } => IntentFate::NotOurs,
    }
}

/// The counts of one freeze. However often and by whomever it is carried out, the same log
/// gives the same counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    revoked: u64,
    stopped: u64,
    running: Vec<IntentId>,
}

impl Tally {
    /// One was revoked.
    pub fn revoked(&mut self) {
        self.revoked += 1;
    }

    /// One was claimed after the freeze.
    pub fn stopped(&mut self) {
        self.stopped += 1;
    }

    /// One was claimed before the freeze.
    pub fn running(&mut self, intent: IntentId) {
        self.running.push(intent);
    }

    /// The event that tells it.
    #[must_use]
    pub fn done(mut self, duration_ms: u64) -> ControlDone {
        self.running.sort_unstable();
        let more = self.running.len().saturating_sub(RUNNING_MAX);
        self.running.truncate(RUNNING_MAX);
        ControlDone {
            schema_version: 1,
            revoked: self.revoked,
            stopped: self.stopped,
            running: self.running,
            running_more: u64::try_from(more).unwrap_or(u64::MAX),
            duration_ms,
        }
    }
}
