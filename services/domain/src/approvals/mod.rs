//! Approvals: what people are shown, who may vote, and when enough have.
//!
//! An [`Approval`] is a value: it is opened from a verdict, changed by votes, time and
//! withdrawal, and kept by the coordinator under compare-and-set. One transition leads out
//! of `pending`, and a final state never changes.

mod ahead;
mod approval;
mod bundle;
mod delegation;
mod format;
mod harmless;
mod item;
mod open;
mod protocol;
mod quorum;
mod rejudge;
mod satisfied;
mod schedule;
mod standing;
mod strike;
mod told;
mod view;
mod visible;
mod vote;
mod window_vote;

pub(crate) use ahead::{AskedWindow, WindowAsk};
pub use approval::{Approval, RecordedVote, Resolution};
pub use bundle::{Added, BundleCourse, GATHERED_BYTES_MAX, Gathering, LeftOut, name_was_used};
pub use delegation::Delegation;
pub use harmless::harmless;
pub use item::Item;
pub use open::{ASK_LIFE_MAX, OpenError};
pub use protocol::{
    IntentOutcome, Listed, NoVote, Shown, StruckItem, ViewReply, ViewRequest, Wanted,
};
pub use rejudge::Stop;
pub use satisfied::{Unsatisfied, granted, satisfies};
pub use schedule::Notice;
pub use strike::Struck;
pub use view::{ApprovalView, InBundle, ViewItem};
pub use visible::visible;
pub use vote::{Answer, Ballot, VoteCode, spoken};

use std::collections::BTreeSet;

use countersign_schemas::{PersonId, TeamId};

use crate::policy::Directory;

/// Who is in which team, at the time of asking.
pub trait People {
    /// The members of a team; none for a team that does not exist.
    fn members(&self, team: &TeamId) -> &BTreeSet<PersonId>;

    /// The name by which a person is known to others.
    fn name(&self, person: &PersonId) -> Option<&str>;

    /// In whose place `delegate` may ever vote.
    fn delegations_to(&self, delegate: &PersonId) -> Vec<&Delegation>;

    /// Who may ever vote in the place of `person`.
    fn delegations_of(&self, person: &PersonId) -> Vec<&Delegation>;
}

impl People for Directory {
    fn members(&self, team: &TeamId) -> &BTreeSet<PersonId> {
        Self::members(self, team)
    }

    fn name(&self, person: &PersonId) -> Option<&str> {
        self.person(person).filter(|name| !name.is_empty())
    }

    fn delegations_to(&self, delegate: &PersonId) -> Vec<&Delegation> {
        Self::delegations_to(self, delegate).collect()
    }

    fn delegations_of(&self, person: &PersonId) -> Vec<&Delegation> {
        Self::delegations_of(self, person).collect()
    }
}

#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
pub(crate) use bundle::fixtures as bundles;
#[cfg(test)]
mod silence;
#[cfg(test)]
mod stand_ins;
#[cfg(test)]
mod tests;
