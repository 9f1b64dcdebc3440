//! A freeze as people are shown it, by `cs.approval.view`.

use countersign_schemas::events::FreezeScope;
use countersign_schemas::{PersonId, Timestamp};
use serde::{Deserialize, Serialize};

use super::freezes::Freeze;
use super::scope::words;

/// A freeze in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreezeView {
    /// What it covers; an absent part covers everything.
    pub scope: FreezeScope,
    /// The same in words.
    pub covers: String,
    /// Since when.
    pub since: Timestamp,
    /// Who gave the last order on this scope.
    pub operator: PersonId,
    /// Why.
    pub reason: String,
    /// That order, `<incarnation>.<sequence>` of `CS_ORDERS`.
    pub order: String,
    /// Whether the bundle in force knows what it names: `false` may be a misspelling. A
    /// requester is known to nobody beforehand and counts as known.
    pub known: bool,
}

impl FreezeView {
    /// The view of `freeze`.
    #[must_use]
    pub fn of(freeze: &Freeze, known: bool) -> Self {
        Self {
            scope: freeze.scope.clone(),
            covers: words(&freeze.scope),
            since: freeze.since,
            operator: freeze.operator.clone(),
            reason: freeze.reason.clone(),
            order: freeze.order.to_string(),
            known,
        }
    }
}
