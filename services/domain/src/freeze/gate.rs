//! Whether a claim may begin. The executor asks when its own claim has come to it in the
//! order of the log; a model of the protocol asks the same function.

use std::time::Duration;

use super::freezes::{Freezes, Void};
use super::scope::Target;

/// Past this after the claim was sent the first byte of a first attempt does not leave any
/// more: whatever held it up may have outlasted a freeze or the lease.
pub const BEGIN_WITHIN: Duration = Duration::from_secs(2);

/// A claim as the gate sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim<'a> {
    /// What it is on.
    pub target: Target<'a>,
    /// The sequence of the decision.
    pub decided: u64,
}

/// Why a claim does not begin: nothing is sent to the worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// A freeze lies between the decision and the claim.
    Frozen(Void),
    /// Too much time passed since the claim was sent.
    TooLate,
}

/// Whether a claim may begin `waited` after it was sent, where `freezes` has taken in every
/// `control.applied` before the claim in the log, and none after it.
///
/// # Errors
/// Why it may not.
pub fn may_begin(freezes: &Freezes, claim: &Claim<'_>, waited: Duration) -> Result<(), Stop> {
    if let Some(void) = freezes.voids(&claim.target, claim.decided) {
        return Err(Stop::Frozen(void));
    }
    if waited >= BEGIN_WITHIN {
        return Err(Stop::TooLate);
    }
    Ok(())
}
