//! What people must grant: the `@ask` language, its limits, and how several asks become
//! one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use countersign_schemas::events::TeamQuorum;
use countersign_schemas::limits::WINDOW_SECONDS_MAX;
use countersign_schemas::{TeamId, Timestamp, Token};

use super::directory::Directory;
use super::escalation::{self, Chains};

/// How long people have where a rule does not say: one working hour.
pub(crate) const EXPIRES_DEFAULT: Duration = Duration::from_secs(60 * 60);
/// The longest that people may have: raw messages are kept seven days, and an ask must end
/// before its input is purged.
pub(crate) const EXPIRES_MAX: Duration = Duration::from_secs(6 * 24 * 60 * 60);
/// Teams in one ask: a person reads them in one line.
const TEAMS_MAX: usize = 8;
/// Distinct approvers of one team; more is a typing error.
const QUORUM_MAX: u32 = 20;

/// A rule about people is written wrongly.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// Not the `team:quorum & team` language.
    #[error("`{0}` does not read as teams such as `finance:2 & security`")]
    Teams(String),
    /// Not a span of time.
    #[error("`{0}` is not a time such as `90s`, `30m`, `4h` or `2d`")]
    Span(String),
    /// A span out of its bounds.
    #[error("`{0}` is not between 1s and {1} seconds")]
    Bounds(String, u64),
    /// Not the `2h: team; 4h: team` language.
    #[error(
        "`{0}` does not read as times and other teams such as `2h: heads; 4h: board`, at most four, \
         each later than the one before"
    )]
    Chain(String),
    /// Not the name of a calendar.
    #[error("`{0}` is not the name of a calendar")]
    Calendar(String),
    /// Not one of the words that an annotation takes.
    #[error("`{0}` is not one of {1}")]
    Word(String, &'static str),
}

/// One rule that people may lift, or several merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskRule {
    /// All of these teams, each with its quorum.
    pub teams: BTreeMap<TeamId, u32>,
    /// How long people have.
    pub expires: Duration,
    /// Whether a vote through a chat bridge counts.
    pub chat: bool,
    /// The longest window that may lift it; none where it must be asked each time.
    pub window: Option<Duration>,
    /// Whether the requester may vote.
    pub self_allowed: bool,
    /// After what times the teams are reminded, in order.
    pub remind: Vec<Duration>,
    /// Who may stand in for a team that does not answer.
    pub escalate: Chains,
    /// The calendar whose open hours alone count for all of these times; of several merged
    /// asks all of them.
    pub hours: BTreeSet<Token>,
}

impl AskRule {
    /// An ask of these teams with the defaults: an hour, chat allowed, no window, not
    /// oneself.
    #[must_use]
    pub fn of_teams(teams: BTreeMap<TeamId, u32>) -> Self {
        Self {
            teams,
            expires: EXPIRES_DEFAULT,
            chat: true,
            window: None,
            self_allowed: false,
            remind: Vec::new(),
            escalate: Chains::default(),
            hours: BTreeSet::new(),
        }
    }

    /// The same ask made at `at`, with times of the clock in place of open hours. They are
    /// bounded, so that an ask never outlives the input that it is about.
    #[must_use]
    pub(crate) fn by_the_clock(mut self, at: Timestamp, directory: &Directory) -> Self {
        for name in &self.hours {
            // One that does not exist is a fault of the bundle; without it time runs always.
            let Some(hours) = directory.calendar(name) else {
                continue;
            };
            let on_the_clock =
                |span: Duration| hours.until_open_for(at.datetime(), span, EXPIRES_MAX);
            self.remind = self.remind.into_iter().map(on_the_clock).collect();
            self.escalate = self.escalate.with_times(on_the_clock);
            self.expires = on_the_clock(self.expires);
        }
        self
    }

    /// Both asks at once: every team, the higher quorum, the shorter time, the stricter
    /// channel, the earlier reminder. Whoever stands in for a team does so by every ask of
    /// that team, see [`Chains::and`].
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        let escalate = self.escalate.and(other.escalate, &self.teams, &other.teams);
        self.hours.extend(other.hours);
        for (team, quorum) in other.teams {
            let mine = self.teams.entry(team).or_insert(quorum);
            *mine = (*mine).max(quorum);
        }
        Self {
            teams: self.teams,
            expires: self.expires.min(other.expires),
            chat: self.chat && other.chat,
            window: self.window.zip(other.window).map(|(a, b)| a.min(b)),
            self_allowed: self.self_allowed && other.self_allowed,
            remind: escalation::earlier(self.remind, other.remind),
            escalate,
            hours: self.hours,
        }
    }

    /// All of them at once; `None` for none.
    pub fn merge(rules: impl IntoIterator<Item = Self>) -> Option<Self> {
        rules.into_iter().reduce(Self::and)
    }

    /// The teams as the event writes them.
    #[must_use]
    pub fn quorums(&self, more: u32) -> Vec<TeamQuorum> {
        let teams = self.teams.iter();
        teams
            .map(|(team, quorum)| TeamQuorum {
                team: team.clone(),
                quorum: quorum.saturating_add(more),
            })
            .collect()
    }

    /// The teams as a person reads them.
    #[must_use]
    pub fn words(&self) -> String {
        let one = |(team, quorum): (&TeamId, &u32)| match quorum {
            1 => format!("one of {team}"),
            many => format!("{many} of {team}"),
        };
        let all: Vec<String> = self.teams.iter().map(one).collect();
        all.join(" and ")
    }
}

/// Reads `finance:2 & security`.
///
/// # Errors
/// When the text is not teams with quorums, or names a team twice.
pub(crate) fn parse_teams(text: &str) -> Result<BTreeMap<TeamId, u32>, AskError> {
    let refuse = || AskError::Teams(cut(text));
    let mut teams = BTreeMap::new();
    for part in text.split('&') {
        let (team, quorum) = match part.trim().split_once(':') {
            Some((team, quorum)) => (
                team.trim(),
                quorum.trim().parse::<u32>().map_err(|_| refuse())?,
            ),
            None => (part.trim(), 1),
        };
        let team: TeamId = team.parse().map_err(|_| refuse())?;
        let fits = (1..=QUORUM_MAX).contains(&quorum);
        if !fits || teams.insert(team, quorum).is_some() || teams.len() > TEAMS_MAX {
            return Err(refuse());
        }
    }
    Ok(teams)
}

/// Reads `30m`, at most `max`.
///
/// # Errors
/// When the text is not a span, is zero, or is longer than `max`.
pub(crate) fn parse_span(text: &str, max: Duration) -> Result<Duration, AskError> {
    let refuse = || AskError::Span(cut(text));
    let unit_at = text
        .find(|c: char| !c.is_ascii_digit())
        .ok_or_else(refuse)?;
    let (count, unit) = text.split_at_checked(unit_at).ok_or_else(refuse)?;
    let unit: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return Err(refuse()),
    };
    let count: u64 = count.parse().map_err(|_| refuse())?;
    let seconds = count.checked_mul(unit).ok_or_else(refuse)?;
    if (1..=max.as_secs()).contains(&seconds) {
        Ok(Duration::from_secs(seconds))
    } else {
        Err(AskError::Bounds(cut(text), max.as_secs()))
    }
}

/// The longest window that a rule may grant.
#[must_use]
pub(crate) fn window_max() -> Duration {
    Duration::from_secs(WINDOW_SECONDS_MAX)
}

/// Reads one of two words as a flag.
///
/// # Errors
/// When the text is neither.
pub(crate) fn parse_flag(
    text: &str,
    yes: &str,
    no: &str,
    both: &'static str,
) -> Result<bool, AskError> {
    match text {
        word if word == yes => Ok(true),
        word if word == no => Ok(false),
        _ => Err(AskError::Word(cut(text), both)),
    }
}

/// Reads the name of a calendar.
///
/// # Errors
/// When the text is no name.
pub(crate) fn parse_calendar(text: &str) -> Result<Token, AskError> {
    text.trim()
        .parse()
        .map_err(|_| AskError::Calendar(cut(text)))
}

/// Teams of `rule` that are unknown or too small ever to grant it.
pub(crate) fn impossible_teams<'p>(
    rule: &AskRule,
    members: impl Fn(&TeamId) -> Option<&'p BTreeSet<countersign_schemas::PersonId>>,
) -> Vec<String> {
    let check = |(team, quorum): (&TeamId, &u32)| match members(team) {
        None => Some(format!("team `{team}` is not in entities.json")),
        Some(people) if people.len() < *quorum as usize => Some(format!(
            "team `{team}` has {} member(s) and can never give {quorum} votes",
            people.len()
        )),
        Some(_) => None,
    };
    let next = rule.escalate.next_teams();
    let asked = rule.teams.iter().filter_map(check);
    asked
        .chain(next.into_iter().filter_map(|team| check((team, &1))))
        .collect()
}

pub(super) fn cut(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(teams: &str) -> AskRule {
        AskRule::of_teams(parse_teams(teams).unwrap())
    }

    #[test]
    fn teams_read_with_and_without_quorum() {
        let read = parse_teams(" finance:2 & security ").unwrap();
        let words: Vec<(String, u32)> = read.iter().map(|(t, q)| (t.to_string(), *q)).collect();
        assert_eq!(words, [("finance".into(), 2), ("security".into(), 1)]);
        for bad in [
            "", "&", "a &", "a:0", "a:x", "a:21", "a & a", "a b", "a | b", "a:1:2",
        ] {
            assert!(parse_teams(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn spans_are_bounded() {
        assert_eq!(parse_span("30m", EXPIRES_MAX).unwrap().as_secs(), 1800);
        assert_eq!(parse_span("2d", EXPIRES_MAX).unwrap().as_secs(), 172_800);
        for bad in [
            "",
            "30",
            "m",
            "0s",
            "-1s",
            "1.5h",
            "7d",
            "1w",
            "99999999999999999999d",
            "25ü",
        ] {
            assert!(parse_span(bad, EXPIRES_MAX).is_err(), "{bad}");
        }
        assert!(parse_span("25h", window_max()).is_err());
    }

    #[test]
    fn merging_is_never_weaker_than_a_part() {
        let mut first = rule("finance:2");
        first.expires = Duration::from_secs(60);
        first.window = Some(Duration::from_secs(600));
        first.self_allowed = true;
        let mut second = rule("finance & security:3");
        second.chat = false;
        second.self_allowed = true;
        let both = AskRule::merge([first.clone(), second.clone()]).unwrap();
        assert_eq!(both, second.clone().and(first.clone()));
        assert_eq!(both.words(), "2 of finance and 3 of security");
        assert_eq!(both.expires.as_secs(), 60);
        assert_eq!(
            (both.chat, both.window, both.self_allowed),
            (false, None, true)
        );
        second.self_allowed = false;
        assert!(!first.and(second).self_allowed);
        assert_eq!(AskRule::merge([]), None);
    }

    #[test]
    fn flags_take_two_words_only() {
        assert_eq!(parse_flag("no", "yes", "no", "yes, no"), Ok(false));
        assert!(parse_flag("No", "yes", "no", "yes, no").is_err());
    }
}
