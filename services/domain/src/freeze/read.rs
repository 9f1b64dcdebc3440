//! Reading `control.applied` from the log.

use countersign_schemas::events::{ControlApplied, Event as _};
use countersign_schemas::{Address, SeqToken, codec, headers};

use crate::chain::Last;

/// A freeze or unfreeze that stands in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The order that it answers.
    pub order: SeqToken,
    /// Which repetition of a freeze in force this is; none where it is the first.
    pub again: Option<u64>,
    /// What it says.
    pub event: ControlApplied,
}

/// What lies on a subject of `control.applied`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// A freeze or unfreeze.
    Applied(Box<Applied>),
    /// One of ours that this version cannot read: it counts as a freeze of everything.
    Unreadable,
    /// None of ours.
    NotOurs,
}

/// Reads a message on `control.applied.>`.
#[must_use]
pub fn read(message: &Last<'_>) -> Read {
    let (order, again) = match Address::parse(message.subject) {
        Some(Address::ControlApplied { seq }) => (seq, None),
        Some(Address::ControlReapplied { seq, n }) => (seq, Some(n)),
        _ => return Read::NotOurs,
    };
    let said = message.ce_type.unwrap_or_default();
    if !said.starts_with(&format!("dev.countersign.{}.v", ControlApplied::NAME)) {
        return Read::NotOurs;
    }
    if said != headers::ce_type::<ControlApplied>() {
        return Read::Unreadable;
    }
    match codec::decode(message.body) {
        Ok(event) => Read::Applied(Box::new(Applied {
            order,
            again,
            event,
        })),
        Err(_) => Read::Unreadable,
    }
}
