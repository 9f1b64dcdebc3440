//! Whether enough distinct people have approved.

use std::collections::BTreeSet;

use countersign_schemas::TeamId;
use countersign_schemas::events::TeamQuorum;

/// Whether every team has its quorum, each person counting for one team only.
///
/// `voters` holds, for each person who approved, the teams that they were in when they
/// voted. Someone in two teams fills one place, never two: this is a matching of people to
/// places, found by augmenting paths.
pub(super) fn is_met(approvers: &[TeamQuorum], voters: &[&BTreeSet<TeamId>]) -> bool {
    let places = places(approvers);
    if places.is_empty() || places.len() > voters.len() {
        return false;
    }
    let mut taken: Vec<Option<usize>> = vec![None; voters.len()];
    (0..places.len()).all(|place| {
        let mut tried = BTreeSet::new();
        fill(place, &places, voters, &mut taken, &mut tried)
    })
}

/// How many of the places can be filled, each by another of `voters`.
pub(super) fn filled(approvers: &[TeamQuorum], voters: &[&BTreeSet<TeamId>]) -> usize {
    let places = places(approvers);
    let mut taken: Vec<Option<usize>> = vec![None; voters.len()];
    let places = (0..places.len())
        .filter(|place| fill(*place, &places, voters, &mut taken, &mut BTreeSet::new()));
    places.count()
}

/// How many distinct people are needed in all.
pub(super) fn people_needed(approvers: &[TeamQuorum]) -> usize {
    approvers.iter().fold(0_usize, |sum, team| {
        sum.saturating_add(usize::try_from(team.quorum).unwrap_or(usize::MAX))
    })
}

/// One entry for each person needed. Bounded by the people who could vote at all: more
/// places than voters is refused before anything is matched.
fn places(approvers: &[TeamQuorum]) -> Vec<&TeamId> {
    const PLACES_MAX: usize = 1_000;
    approvers
        .iter()
        .flat_map(|entry| {
            let quorum = usize::try_from(entry.quorum).unwrap_or(usize::MAX);
            std::iter::repeat_n(&entry.team, quorum.min(PLACES_MAX))
        })
        .collect()
}

fn fill(
    place: usize,
    places: &[&TeamId],
    voters: &[&BTreeSet<TeamId>],
    taken: &mut [Option<usize>],
    tried: &mut BTreeSet<usize>,
) -> bool {
    let Some(team) = places.get(place) else {
        return false;
    };
    for (voter, teams) in voters.iter().enumerate() {
        if !teams.contains(*team) || !tried.insert(voter) {
            continue;
        }
        let free = match taken.get(voter).copied().flatten() {
            None => true,
            Some(other) => fill(other, places, voters, taken, tried),
        };
        if free && let Some(slot) = taken.get_mut(voter) {
            *slot = Some(place);
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn team(name: &str) -> TeamId {
        name.parse().unwrap()
    }

    fn asked(teams: &[(&str, u32)]) -> Vec<TeamQuorum> {
        let entry = |(name, quorum): &(&str, u32)| TeamQuorum {
            team: team(name),
            quorum: *quorum,
        };
        teams.iter().map(entry).collect()
    }

    fn met(teams: &[(&str, u32)], voters: &[&[&str]]) -> bool {
        let sets: Vec<BTreeSet<TeamId>> = voters
            .iter()
            .map(|names| names.iter().map(|name| team(name)).collect())
            .collect();
        let voters: Vec<&BTreeSet<TeamId>> = sets.iter().collect();
        is_met(&asked(teams), &voters)
    }

    #[test]
    fn each_person_fills_one_place() {
        let both: &[(&str, u32)] = &[("finance", 1), ("security", 1)];
        assert!(met(&[("finance", 1)], &[&["finance"]]));
        assert!(!met(&[("finance", 2)], &[&["finance"]]));
        assert!(!met(both, &[&["finance", "security"]]));
        assert!(met(both, &[&["finance", "security"], &["security"]]));
        assert!(met(both, &[&["finance", "security"], &["finance"]]));
        assert!(!met(both, &[&["finance"], &["finance"]]));
        assert!(met(&[("a", 2), ("b", 1)], &[&["a", "b"], &["a"], &["a"]]));
        let short: &[&[&str]] = &[&["a"], &["b", "c"], &["c"]];
        assert!(!met(&[("a", 2), ("b", 1)], short));
    }

    #[test]
    fn nobody_asked_is_never_enough() {
        assert!(!met(&[], &[&["finance"]]));
        assert!(!met(&[("finance", 0)], &[&["finance"]]));
        assert!(!met(&[("finance", u32::MAX)], &[&["finance"]]));
    }

    /// Tries every assignment.
    fn brute(places: &[&TeamId], voters: &[&BTreeSet<TeamId>]) -> bool {
        match places.split_first() {
            None => true,
            Some((place, rest)) => (0..voters.len()).any(|index| {
                let mut left = voters.to_vec();
                let voter = left.remove(index);
                voter.contains(*place) && brute(rest, &left)
            }),
        }
    }

    proptest! {
        #[test]
        fn matching_agrees_with_trying_everything(
            quorums in proptest::collection::vec(0_u32..3, 1..4),
            voters in proptest::collection::vec(proptest::collection::btree_set(0_usize..4, 0..4), 0..6),
        ) {
            let teams: Vec<TeamQuorum> = quorums
                .iter()
                .enumerate()
                .map(|(index, quorum)| TeamQuorum { team: team(&format!("t{index}")), quorum: *quorum })
                .collect();
            let sets: Vec<BTreeSet<TeamId>> = voters
                .iter()
                .map(|set| set.iter().map(|index| team(&format!("t{index}"))).collect())
                .collect();
            let voters: Vec<&BTreeSet<TeamId>> = sets.iter().collect();
            let wanted = places(&teams);
            let expected = !wanted.is_empty() && brute(&wanted, &voters);
            prop_assert_eq!(is_met(&teams, &voters), expected);
            let most = filled(&teams, &voters);
            prop_assert!(most <= voters.len() && most <= wanted.len());
            prop_assert_eq!(most == wanted.len() && most > 0, expected);
        }
    }
}
