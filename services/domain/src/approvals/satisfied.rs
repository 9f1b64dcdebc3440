//! Whether an approval that people gave before still grants an ask that is made now.

use std::collections::BTreeSet;

use countersign_schemas::events::{
    ApprovalResolved, ApprovalState, Ask, CountedVote, Escalation, PolicyChecked, VoteChoice,
};
use countersign_schemas::{PersonId, RequesterId, TeamId};

use super::People;
use super::quorum;
use super::schedule::{escalation, starts};
use super::standing::Asked;
use super::vote::through_chat;

/// The shortest span between two times.
const INSTANT: std::time::Duration = std::time::Duration::from_micros(1);

/// Why a recorded approval does not grant an ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsatisfied {
    /// It did not end with yes, or not for this intent.
    #[error("no approval of this intent ended with yes")]
    NotApproved,
    /// The people who approved are not enough of those who must be asked now.
    #[error("the people who approved are not those whom the rules in force ask for")]
    NotEnough,
}

/// Whether the votes recorded in `resolved` grant the ask of a verdict made `again`. Who is
/// in which team counts as of now: whoever left a team no longer speaks for it.
///
/// # Errors
/// Why they do not.
pub fn satisfies(
    resolved: &ApprovalResolved,
    ask: &Ask,
    again: &PolicyChecked,
    people: &(impl People + ?Sized),
) -> Result<(), Unsatisfied> {
    match resolved.state {
        ApprovalState::Approved | ApprovalState::Partial => {}
        ApprovalState::Pending
        | ApprovalState::Denied
        | ApprovalState::Expired
        | ApprovalState::Cancelled
        | ApprovalState::Failed => return Err(Unsatisfied::NotApproved),
    }
    if !resolved.intents.contains(&again.intent_id) {
        return Err(Unsatisfied::NotApproved);
    }
    let steps = match resolved.asked_from {
        // A vote at the very moment of a step counts, and may be the one that ended it.
        Some(asked_at) => {
            let from = starts(ask, again.requested_at, asked_at);
            escalation(ask, from, resolved.resolved_at.plus(INSTANT))
        }
        None => Vec::new(),
    };
    enough(&resolved.votes, &steps, ask, &again.requester.id, people)
}

/// Whether `votes` grant `ask` of `requester`. Who is in which team counts as of now, and
/// nobody stands in for a team that did not answer: it was not asked this.
///
/// # Errors
/// When the people who approved are not enough.
pub fn granted(
    votes: &[CountedVote],
    ask: &Ask,
    requester: &RequesterId,
    people: &(impl People + ?Sized),
) -> Result<(), Unsatisfied> {
    enough(votes, &[], ask, requester, people)
}

fn enough(
    votes: &[CountedVote],
    escalation: &[Escalation],
    ask: &Ask,
    requester: &RequesterId,
    people: &(impl People + ?Sized),
) -> Result<(), Unsatisfied> {
    let mut seen: BTreeSet<&PersonId> = BTreeSet::new();
    let votes: Vec<&CountedVote> = votes
        .iter()
        .filter(|vote| counts(vote, ask, requester) && seen.insert(&vote.approver))
        .collect();
    let asked = Asked {
        approvers: &ask.approvers,
        escalation,
    };
    let voters: Vec<BTreeSet<TeamId>> = votes
        .iter()
        .map(|vote| reach(vote, &votes, &asked, ask, requester, people))
        .collect();
    let voters: Vec<&BTreeSet<TeamId>> = voters.iter().collect();
    match quorum::is_met(&ask.approvers, &voters) {
        true => Ok(()),
        false => Err(Unsatisfied::NotEnough),
    }
}

fn counts(vote: &CountedVote, ask: &Ask, requester: &RequesterId) -> bool {
    vote.vote == VoteChoice::Approve
        && !is_excluded(&vote.approver, ask, requester)
        && (ask.chat_may_approve || !through_chat(&vote.via))
}

fn is_excluded(person: &PersonId, ask: &Ask, requester: &RequesterId) -> bool {
    !ask.self_allowed && (ask.excluded.contains(person) || requester.as_str() == person.as_str())
}

/// The teams of which a vote fills a place: by the voter's own right, and in the place of
/// whom it names if that was lent when the vote was cast, and nobody else takes that place.
fn reach(
    vote: &CountedVote,
    votes: &[&CountedVote],
    asked: &Asked<'_>,
    ask: &Ask,
    requester: &RequesterId,
    people: &(impl People + ?Sized),
) -> BTreeSet<TeamId> {
    let mut teams = asked.reach(&vote.approver, people, vote.at, None);
    let Some(person) = &vote.on_behalf_of else {
        return teams;
    };
    let first = |other: &&&CountedVote| {
        other.approver == *person || other.on_behalf_of.as_ref() == Some(person)
    };
    let takes_it = votes
        .iter()
        .find(first)
        .is_some_and(|other| std::ptr::eq(*other, vote));
    let came_back = votes.iter().any(|other| other.approver == *person);
    if is_excluded(person, ask, requester) || came_back || !takes_it {
        return teams;
    }
    for one in people.delegations_to(&vote.approver) {
        if one.person == *person && one.holds(vote.at) {
            teams.extend(asked.reach(person, people, vote.at, Some(&one.teams)));
        }
    }
    teams
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::approvals::fixtures::{asked, at, checked, company, person};
    use countersign_schemas::ApprovalId;
    use countersign_schemas::events::ApprovalKind;

    fn vote(who: &str, via: &str, vote: VoteChoice) -> CountedVote {
        CountedVote {
            approver: person(who),
            on_behalf_of: None,
            via: via.parse().unwrap(),
            vote,
            at: at("10:01:00"),
            reason: None,
        }
    }

    fn resolved(votes: &[(&str, &str)]) -> ApprovalResolved {
        let intent = checked().intent_id;
        ApprovalResolved {
            schema_version: 1,
            approval_id: ApprovalId::for_intent(intent),
            kind: ApprovalKind::Action,
            agent: checked().agent,
            intents: vec![intent],
            state: ApprovalState::Approved,
            votes: votes
                .iter()
                .map(|(who, via)| vote(who, via, VoteChoice::Approve))
                .collect(),
            asked_from: Some(at("10:00:00")),
            message: "approved".to_owned(),
            resolved_at: at("10:02:00"),
        }
    }

    fn ends(resolved: &ApprovalResolved, change: impl FnOnce(&mut Ask)) -> bool {
        let mut ask = checked().ask.unwrap();
        change(&mut ask);
        satisfies(resolved, &ask, &checked(), &company()).is_ok()
    }

    #[test]
    fn the_same_ask_is_still_granted_and_a_stricter_one_only_by_enough_people() {
        let one = resolved(&[("lee", "self")]);
        let two = resolved(&[("lee", "self"), ("sam", "inbox")]);
        let twice = resolved(&[("lee", "self"), ("lee", "inbox")]);
        assert!(ends(&one, |_| {}));
        let more = |ask: &mut Ask| ask.approvers = asked(&[("support", 2)]);
        assert!(!ends(&one, more));
        assert!(!ends(&twice, more), "nobody counts twice");
        assert!(ends(&two, more));
        let both = |ask: &mut Ask| ask.approvers = asked(&[("support", 1), ("security", 1)]);
        assert!(!ends(&one, both));
        assert!(ends(&two, both));
        assert!(!ends(&two, |ask| ask.approvers = asked(&[("finance", 1)])));
        assert!(
            !ends(&two, |ask| ask.approvers.clear()),
            "nobody asked grants nothing"
        );
    }

    #[test]
    fn chat_and_the_requester_count_only_as_the_rules_in_force_say() {
        let chat = resolved(&[("lee", "slack")]);
        assert!(!ends(&chat, |_| {}));
        assert!(ends(&chat, |ask| ask.chat_may_approve = true));
        let own = resolved(&[("dana", "self")]);
        assert!(!ends(&own, |_| {}));
        assert!(
            !ends(&own, |ask| ask.excluded.clear()),
            "the requester's own id"
        );
        assert!(ends(&own, |ask| ask.self_allowed = true));
    }

    #[test]
    fn only_an_approval_of_this_intent_that_ended_with_yes_grants_anything() {
        for state in [
            ApprovalState::Pending,
            ApprovalState::Denied,
            ApprovalState::Expired,
            ApprovalState::Cancelled,
            ApprovalState::Failed,
        ] {
            let mut ended = resolved(&[("lee", "self")]);
            ended.state = state;
            assert!(!ends(&ended, |_| {}), "{state}");
        }
        let mut other = resolved(&[("lee", "self")]);
        other.intents.clear();
        assert!(!ends(&other, |_| {}));
        let mut against = resolved(&[("lee", "self")]);
        against.votes = vec![vote("lee", "self", VoteChoice::Deny)];
        assert!(!ends(&against, |_| {}));
    }
}
