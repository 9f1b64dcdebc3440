//! By what right somebody votes: as a member of a team asked, as one who stands in for a
//! team that did not answer, or in the place of somebody who is away.

use std::collections::BTreeSet;

use countersign_schemas::events::{Escalation, TeamQuorum};
use countersign_schemas::{PersonId, TeamId, Timestamp};

use super::approval::{Approval, RecordedVote};
use super::{People, quorum};

/// The teams whose places a person may fill.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// By their own membership.
    pub(super) own: BTreeSet<TeamId>,
    /// In somebody's place, beyond those.
    pub(super) lent: Option<Lent>,
    /// With neither: the person in whose place they could have voted, for whom a vote is
    /// there already.
    pub(super) taken: Option<PersonId>,
}

/// What somebody may fill in another's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lent {
    pub(super) person: PersonId,
    pub(super) teams: BTreeSet<TeamId>,
}

impl Standing {
    pub(super) fn is_none(&self) -> bool {
        self.own.is_empty() && self.lent.is_none() && self.taken.is_none()
    }
}

/// Whom an ask asks.
pub(super) struct Asked<'a> {
    pub(super) approvers: &'a [TeamQuorum],
    pub(super) escalation: &'a [Escalation],
}

impl Asked<'_> {
    /// The teams whose places `person` may fill at `at` as a member of any team, or only of
    /// those in `within`.
    pub(super) fn reach(
        &self,
        person: &PersonId,
        people: &(impl People + ?Sized),
        at: Timestamp,
        within: Option<&BTreeSet<TeamId>>,
    ) -> BTreeSet<TeamId> {
        let is_in = |team: &TeamId| {
            within.is_none_or(|teams| teams.contains(team)) && people.members(team).contains(person)
        };
        let asked = self.approvers.iter().map(|entry| &entry.team);
        let open = self
            .escalation
            .iter()
            .filter(|step| step.at <= at && is_in(&step.team));
        let stood_in = open.flat_map(|step| &step.instead_of);
        let asked = asked.filter(|team| is_in(team));
        asked.chain(stood_in).cloned().collect()
    }
}

impl Approval {
    fn asked(&self) -> Asked<'_> {
        Asked {
            approvers: &self.ask.approvers,
            escalation: self.escalation(),
        }
    }

    /// Whether `team` is asked at `at`: from the start, or because nobody decided until then.
    pub(super) fn asks_team(&self, team: &TeamId, at: Timestamp) -> bool {
        let mut open = self.escalation().iter().filter(|step| step.at <= at);
        let mut asked = self.ask.approvers.iter();
        asked.any(|entry| entry.team == *team) || open.any(|step| step.team == *team)
    }

    /// By what right `person` votes at `at`. Nobody lends a right whose own vote may not
    /// count, and nobody lends it twice or has voted already.
    pub(super) fn standing(
        &self,
        person: &PersonId,
        people: &(impl People + ?Sized),
        at: Timestamp,
    ) -> Standing {
        let own = self.asked().reach(person, people, at, None);
        let lendable = people
            .delegations_to(person)
            .into_iter()
            .filter(|one| one.holds(at) && !self.leaves_out(&one.person))
            .filter_map(|one| {
                let reach = self
                    .asked()
                    .reach(&one.person, people, at, Some(&one.teams));
                let teams: BTreeSet<TeamId> = reach.difference(&own).cloned().collect();
                let person = one.person.clone();
                (!teams.is_empty()).then_some(Lent { person, teams })
            });
        let (taken, free): (Vec<Lent>, Vec<Lent>) =
            lendable.partition(|one| self.has_voted_or_is_stood_in_for(&one.person));
        // Of several people the first whose place is still empty.
        let best = free.iter().find(|one| self.fills_more(&own, &one.teams));
        let lent = best.or(free.first()).cloned();
        let taken = taken.into_iter().next().map(|one| one.person);
        Standing {
            taken: taken.filter(|_| own.is_empty() && lent.is_none()),
            own,
            lent,
        }
    }

    /// Whether the vote of `person` may not count for who they are.
    pub(super) fn leaves_out(&self, person: &PersonId) -> bool {
        !self.ask.self_allowed && self.excludes(person)
    }

    fn has_voted_or_is_stood_in_for(&self, person: &PersonId) -> bool {
        self.votes.iter().any(|vote| {
            let behalf = vote.vote.on_behalf_of.as_ref();
            vote.vote.approver == *person || behalf == Some(person)
        })
    }

    fn fills_more(&self, own: &BTreeSet<TeamId>, lent: &BTreeSet<TeamId>) -> bool {
        let filled = |voter: BTreeSet<TeamId>| {
            let mut voters = self.filled_by();
            voters.push(voter);
            quorum::filled(&self.ask.approvers, &voters.iter().collect::<Vec<_>>())
        };
        filled(own.union(lent).cloned().collect()) > filled(own.clone())
    }

    /// For each vote that counted the teams of which it may fill one place. Who votes
    /// themselves after all needs nobody in their place.
    pub(super) fn filled_by(&self) -> Vec<BTreeSet<TeamId>> {
        let came_back = |person: &PersonId| {
            let own = |vote: &&RecordedVote| vote.vote.approver == *person;
            self.votes.iter().any(|vote| own(&vote))
        };
        let teams = |vote: &RecordedVote| match &vote.vote.on_behalf_of {
            Some(person) if !came_back(person) => vote.teams.union(&vote.lent).cloned().collect(),
            Some(_) | None => vote.teams.clone(),
        };
        self.votes.iter().map(teams).collect()
    }

    /// Whether enough have approved.
    pub(super) fn is_granted(&self) -> bool {
        let voters = self.filled_by();
        quorum::is_met(&self.ask.approvers, &voters.iter().collect::<Vec<_>>())
    }

    /// The vote that is there already for whoever votes now: their own, or one that was
    /// cast in their place and that only that place carries, or one for the person in whose
    /// place they would vote.
    pub(super) fn vote_before(
        &self,
        person: &PersonId,
        standing: &Standing,
    ) -> Option<&RecordedVote> {
        self.votes.iter().find(|vote| {
            let (by, behalf) = (&vote.vote.approver, vote.vote.on_behalf_of.as_ref());
            let taken = standing.taken.as_ref();
            by == person
                || (behalf == Some(person) && vote.teams.is_empty())
                || taken.is_some_and(|taken| by == taken || behalf == Some(taken))
        })
    }

    /// From when on `person` is asked, who is not yet.
    pub(super) fn asked_later(
        &self,
        person: &PersonId,
        people: &(impl People + ?Sized),
        now: Timestamp,
    ) -> Option<Timestamp> {
        let steps = self.escalation().iter().filter(|step| step.at > now);
        let mine = steps.filter(|step| people.members(&step.team).contains(person));
        mine.map(|step| step.at).min()
    }
}

/// A voter as others read it: `kim`, or `kim for lee`.
pub(super) fn voter(vote: &RecordedVote) -> String {
    let who = &vote.vote.approver;
    match (&vote.vote.on_behalf_of, vote.teams.is_empty()) {
        (Some(person), true) => format!("{who} for {person}"),
        (Some(person), false) => format!("{who} (or for {person})"),
        (None, _) => who.to_string(),
    }
}
