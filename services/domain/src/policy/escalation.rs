//! What happens while people do not answer: reminders, and the teams that are asked next.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use countersign_schemas::TeamId;
use countersign_schemas::events::EscalationStep;

use super::ask::{AskError, EXPIRES_MAX, parse_span};

/// Teams that one chain names: whom a fourth does not answer, nobody answers.
const STEPS_MAX: usize = 4;
/// Reminders of one ask: whom ten did not reach, an eleventh does not.
const REMINDERS_MAX: u32 = 10;

/// For each team asked, the teams that may fill its places, and from when on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chains(BTreeMap<TeamId, BTreeMap<TeamId, Duration>>);

impl Chains {
    /// Reads `2h: heads; 4h: board`, which stands in for each of `teams`.
    ///
    /// # Errors
    /// When the text is not spans with teams, the times do not rise, or a team is named
    /// twice or is asked from the start.
    pub(crate) fn parse(text: &str, teams: &BTreeMap<TeamId, u32>) -> Result<Self, AskError> {
        let steps = parse_steps(text)?;
        if teams.keys().any(|team| steps.contains_key(team)) {
            return Err(AskError::Chain(super::ask::cut(text)));
        }
        let each = teams.keys().map(|team| (team.clone(), steps.clone()));
        Ok(Self(each.collect()))
    }

    /// The chains of two asks made one; `mine` and `theirs` are the teams that each asks. A
    /// team that both ask is stood in for only by whom both name, at the later time: nobody
    /// fills a place for whom one of them did not ask.
    pub(crate) fn and(
        mut self,
        mut other: Self,
        mine: &BTreeMap<TeamId, u32>,
        theirs: &BTreeMap<TeamId, u32>,
    ) -> Self {
        let mut both = BTreeMap::new();
        for team in mine.keys().chain(theirs.keys()) {
            let (a, b) = (self.0.remove(team), other.0.remove(team));
            let steps = match (mine.contains_key(team), theirs.contains_key(team)) {
                (true, true) => common(&a.unwrap_or_default(), &b.unwrap_or_default()),
                (true, false) | (false, true) | (false, false) => a.or(b).unwrap_or_default(),
            };
            if !steps.is_empty() {
                both.insert(team.clone(), steps);
            }
        }
        Self(both)
    }

    /// The chains that these steps say.
    pub(crate) fn of_steps(steps: &[EscalationStep]) -> Self {
        let mut chains: BTreeMap<TeamId, BTreeMap<TeamId, Duration>> = BTreeMap::new();
        for step in steps {
            let after = Duration::from_secs(step.after_s);
            for team in &step.instead_of {
                let chain = chains.entry(team.clone()).or_default();
                chain.insert(step.team.clone(), after);
            }
        }
        Self(chains)
    }

    /// Every time, changed by `change`.
    pub(crate) fn with_times(mut self, change: impl Fn(Duration) -> Duration) -> Self {
        for after in self.0.values_mut().flat_map(BTreeMap::values_mut) {
            *after = change(*after);
        }
        self
    }

    /// The longest time of all.
    pub(crate) fn longest(&self) -> Option<Duration> {
        self.0.values().flat_map(BTreeMap::values).max().copied()
    }

    /// The teams that are asked later.
    pub(crate) fn next_teams(&self) -> BTreeSet<&TeamId> {
        self.0.values().flat_map(BTreeMap::keys).collect()
    }

    /// The steps that come before `end`, in order.
    pub(crate) fn steps(&self, end: Duration) -> Vec<EscalationStep> {
        let mut steps: BTreeMap<(Duration, &TeamId), Vec<TeamId>> = BTreeMap::new();
        for (team, next) in &self.0 {
            for (other, after) in next.iter().filter(|(_, after)| **after < end) {
                steps.entry((*after, other)).or_default().push(team.clone());
            }
        }
        let step =
            |((after, team), instead_of): ((Duration, &TeamId), Vec<TeamId>)| EscalationStep {
                after_s: after.as_secs(),
                team: team.clone(),
                instead_of,
            };
        steps.into_iter().map(step).collect()
    }
}

/// Reads `2h: heads; 4h: board`: each team with its time.
///
/// # Errors
/// When the text is not spans with teams, the times do not rise, a team is named twice, or
/// there are too many.
pub(crate) fn parse_steps(text: &str) -> Result<BTreeMap<TeamId, Duration>, AskError> {
    let refuse = || AskError::Chain(super::ask::cut(text));
    let mut steps: BTreeMap<TeamId, Duration> = BTreeMap::new();
    let mut last = Duration::ZERO;
    for part in text.split(';') {
        let (span, team) = part.split_once(':').ok_or_else(refuse)?;
        let after = parse_span(span.trim(), EXPIRES_MAX)?;
        let team: TeamId = team.trim().parse().map_err(|_| refuse())?;
        if after <= last || steps.insert(team, after).is_some() || steps.len() > STEPS_MAX {
            return Err(refuse());
        }
        last = after;
    }
    Ok(steps)
}

/// Whom both name, at the later of both times.
fn common(
    one: &BTreeMap<TeamId, Duration>,
    other: &BTreeMap<TeamId, Duration>,
) -> BTreeMap<TeamId, Duration> {
    let both = one.iter().filter_map(|(team, after)| {
        let later = other.get(team)?.max(after);
        Some((team.clone(), *later))
    });
    both.collect()
}

/// When the teams are reminded: every `interval` until `end`, and at least one, so that
/// lint can say that it never comes.
pub(crate) fn reminders(interval: Duration, end: Duration) -> Vec<Duration> {
    (1..=REMINDERS_MAX)
        .map(|n| interval.saturating_mul(n))
        .enumerate()
        .take_while(|(index, after)| *index == 0 || *after < end)
        .map(|(_, after)| after)
        .collect()
}

/// Of two plans the one that reminds earlier.
pub(crate) fn earlier(one: Vec<Duration>, other: Vec<Duration>) -> Vec<Duration> {
    match (one.first(), other.first()) {
        (Some(a), Some(b)) if b < a => other,
        (Some(a), Some(b)) if a == b && other.len() > one.len() => other,
        (None, _) => other,
        (Some(_), _) => one,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn teams(names: &[&str]) -> BTreeMap<TeamId, u32> {
        names
            .iter()
            .map(|name| (name.parse().unwrap(), 1))
            .collect()
    }

    fn chain(text: &str, asked: &[&str]) -> Chains {
        Chains::parse(text, &teams(asked)).unwrap()
    }

    /// `after team<asked+asked` of each step.
    fn words(chains: &Chains, end: u64) -> Vec<String> {
        let steps = chains.steps(Duration::from_secs(end));
        let word = |step: EscalationStep| {
            let for_whom: Vec<&str> = step.instead_of.iter().map(TeamId::as_str).collect();
            format!("{} {}<{}", step.after_s, step.team, for_whom.join("+"))
        };
        steps.into_iter().map(word).collect()
    }

    #[test]
    fn a_chain_reads_as_times_and_teams() {
        let read = chain("2h: heads; 4h:board", &["finance", "security"]);
        let all = [
            "7200 heads<finance+security",
            "14400 board<finance+security",
        ];
        assert_eq!(words(&read, 86_400), all);
        assert_eq!(
            words(&read, 14_400),
            all[..1],
            "a step at the end never comes"
        );
        assert_eq!(read.longest(), Some(Duration::from_secs(14_400)));
        for bad in [
            "",
            "2h",
            "heads",
            "2h heads",
            "4h: heads; 2h: board",
            "2h: heads; 2h: board",
            "2h: heads; 4h: heads",
            "2h: finance",
            "0s: heads",
            "7d: heads",
            "2h: heads;",
            "1h:a; 2h:b; 3h:c; 4h:d; 5h:e",
            "2h: a b",
        ] {
            assert!(Chains::parse(bad, &teams(&["finance"])).is_err(), "{bad}");
        }
    }

    #[test]
    fn two_chains_together_let_nobody_in_whom_one_did_not_name() {
        let (finance, security) = (teams(&["finance"]), teams(&["security"]));
        let with = chain("2h: heads", &["finance"]);
        let none = Chains::default();
        // Each team keeps its own chain, and one without stays without.
        let apart = with.clone().and(none.clone(), &finance, &security);
        assert_eq!(words(&apart, 86_400), ["7200 heads<finance"]);
        // Asked by both, but only one of them escalates: nobody stands in.
        let shared = with.clone().and(none, &finance, &finance);
        assert_eq!(words(&shared, 86_400), Vec::<String>::new());
        // Both do: those whom both name, at the later time.
        let other = chain("1h: board; 3h: heads", &["finance"]);
        let both = with.clone().and(other.clone(), &finance, &finance);
        assert_eq!(words(&both, 86_400), ["10800 heads<finance"]);
        assert_eq!(both, other.and(with, &finance, &finance));
    }

    #[test]
    fn reminders_are_bounded_and_the_earlier_plan_wins() {
        let s = Duration::from_secs;
        assert_eq!(reminders(s(600), s(1800)), [s(600), s(1200)]);
        assert_eq!(reminders(s(3600), s(1800)), [s(3600)], "for lint to refuse");
        assert_eq!(reminders(s(1), s(1_000_000)).len(), 10);
        let (often, late) = (vec![s(60), s(120)], vec![s(90)]);
        assert_eq!(earlier(often.clone(), late.clone()), often);
        assert_eq!(earlier(late.clone(), often.clone()), often);
        assert_eq!(earlier(Vec::new(), late.clone()), late);
        assert_eq!(earlier(late.clone(), Vec::new()), late);
    }
}
