//! Voting in the place of somebody who is away.

use std::collections::BTreeSet;

use countersign_schemas::{PersonId, TeamId, Timestamp};

/// A span in which one person may vote in another's place. It reaches no further: whoever
/// votes for somebody cannot pass that on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegation {
    /// Who is away.
    pub person: PersonId,
    /// Who votes.
    pub delegate: PersonId,
    /// From when on.
    pub from: Timestamp,
    /// From when on no longer.
    pub until: Timestamp,
    /// For which of the person's teams.
    pub teams: BTreeSet<TeamId>,
}

impl Delegation {
    /// Whether it holds for a vote that was stored at `at`.
    #[must_use]
    pub fn holds(&self, at: Timestamp) -> bool {
        self.from <= at && at < self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_from_its_start_and_not_at_its_end() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let delegation = Delegation {
            person: "lee".parse().unwrap(),
            delegate: "kim".parse().unwrap(),
            from: at("2026-12-20T00:00:00Z"),
            until: at("2026-12-21T00:00:00Z"),
            teams: BTreeSet::new(),
        };
        for (time, holds) in [
            ("2026-12-19T23:59:59.999999Z", false),
            ("2026-12-20T00:00:00Z", true),
            ("2026-12-20T23:59:59.999999Z", true),
            ("2026-12-21T00:00:00Z", false),
        ] {
            assert_eq!(delegation.holds(at(time)), holds, "{time}");
        }
    }
}
