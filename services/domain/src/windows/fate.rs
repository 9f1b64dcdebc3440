//! What becomes of a use, by how far the chain of its intent is.

use countersign_schemas::Timestamp;
use countersign_schemas::events::Basis;

use super::window::Window;
use crate::chain::{End, Head};

/// What must happen to a use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UseFate {
    /// Nothing yet.
    Wait,
    /// It stays: the intent was claimed, whatever came of it.
    Keep,
    /// It is free again.
    GiveBack,
    /// The window ended before the permit was claimed: the permit is revoked first.
    Revoke,
    /// The window ended before the intent was decided: it is blocked first, so that no
    /// decision by this window can follow.
    Block,
}

impl Window {
    /// What becomes of the use of an intent whose chain ends at `head`. `basis` is that of
    /// its approval, where it has one.
    #[must_use]
    pub fn fate(&self, head: &Head, basis: Option<&Basis>, now: Timestamp) -> UseFate {
        // What approved it cannot always be read any more; then the use counts.
        let ours = basis.is_none_or(|basis| basis.window_id.as_ref() == Some(&self.id));
        match head {
            Head::NotOurs { .. } => UseFate::Wait,
            Head::None if self.is_open(now) => UseFate::Wait,
            Head::None => UseFate::Block,
            Head::Ended {
                end: End::Blocked(_) | End::Revoked(_),
                ..
            } => UseFate::GiveBack,
            Head::Decided { .. } | Head::Claimed { .. } | Head::Ended { .. } if !ours => {
                UseFate::GiveBack
            }
            Head::Decided { .. } if self.is_open(now) => UseFate::Wait,
            Head::Decided { .. } => UseFate::Revoke,
            Head::Claimed { .. } | Head::Ended { .. } => UseFate::Keep,
        }
    }
}
