//! What becomes of an open entry, by what is stored about its intent.

use countersign_schemas::events::{PolicyChecked, Verdict};

use super::LedgerKey;
use crate::chain::{End, Head};

/// What becomes of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryFate {
    /// It stays open: its intent may still run.
    Open,
    /// It is used up.
    Kept,
    /// It is given back.
    GivenBack,
}

/// Whether a stored verdict relies on the entry of `ledger` with this `mark`.
#[must_use]
pub fn relies_on(checked: &PolicyChecked, ledger: &str, mark: u64) -> bool {
    let may_run = match checked.verdict {
        Verdict::Allow | Verdict::Ask => true,
        Verdict::Deny => false,
    };
    let mut charges = checked.charges.iter();
    may_run && charges.any(|charge| charge.ledger == ledger && charge.mark == mark)
}

/// The fate of the entry of `ledger` with this `mark`, by the stored verdict on its intent
/// and the head of its chain.
///
/// Without a verdict it stays: whoever charged it may be about to store one, and a message
/// that was not acknowledged is delivered again.
#[must_use]
pub fn fate(
    ledger: &LedgerKey,
    mark: u64,
    checked: Option<&PolicyChecked>,
    head: &Head,
) -> EntryFate {
    let Some(checked) = checked else {
        return EntryFate::Open;
    };
    if !relies_on(checked, ledger.as_str(), mark) {
        return EntryFate::GivenBack;
    }
    fate_of_relied(head)
}

/// The fate of an entry that the stored verdict on its intent relies on, which never
/// changes, by the head of its chain.
#[must_use]
pub fn fate_of_relied(head: &Head) -> EntryFate {
    match head {
        Head::None | Head::Decided { .. } | Head::Claimed { .. } | Head::NotOurs { .. } => {
            EntryFate::Open
        }
        Head::Ended { end, .. } => match end {
            End::Blocked(_) | End::Revoked(_) => EntryFate::GivenBack,
            // Whatever the outcome: its code may be the worker's own word.
            End::Completed(_) => EntryFate::Kept,
        },
    }
}
