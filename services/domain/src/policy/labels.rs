//! What an agent has seen: labels that a tool's catalog entry gives to its output.
//!
//! A label is kept under the agent and its mandate, never under a session. What is seen
//! without a mandate follows the agent under every mandate, and what is seen under one
//! follows it where it shows none: leaving a mandate out sheds nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use countersign_schemas::{AgentId, Digest, Timestamp, Token};
use serde::{Deserialize, Serialize};

use super::known::{Known, Learnt, Wish};
use crate::mandate::Mandate;

/// Labels of one tool: what an output holds is said in a few words.
pub(crate) const TOOL_LABELS_MAX: usize = 16;
/// Labels of one bundle: each judgement that reads labels reads all of an agent's.
pub(crate) const BUNDLE_LABELS_MAX: usize = 64;
/// Labels of one entry: those of several bundles, one after the other.
const ENTRY_LABELS_MAX: usize = 512;

/// The last second that RFC 3339 can write, in microseconds.
const NO_END: i64 = 253_402_300_799_000_000;

/// For whom labels are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    agent: AgentId,
    mandate: Option<(Digest, Timestamp)>,
}

impl Holder {
    pub(crate) fn new(agent: &AgentId, mandate: Option<&Mandate>) -> Self {
        Self {
            agent: agent.clone(),
            mandate: mandate.map(|mandate| (mandate.key(), mandate.over_at())),
        }
    }

    /// The entries that say together what it has seen.
    #[must_use]
    pub fn reads(&self) -> Vec<String> {
        match &self.mandate {
            Some((key, _)) => vec![self.under(key), self.bare()],
            None => vec![self.any()],
        }
    }

    /// The entries to be marked, each with the end of what is seen at `at` at the latest;
    /// `life` is that of a label without a mandate, from then on.
    #[must_use]
    pub fn writes(&self, at: Timestamp, life: Duration) -> Vec<(String, Timestamp)> {
        let end = at.plus(life);
        match &self.mandate {
            // Without its mandate the agent still knows what it has seen.
            Some((key, over)) => vec![(self.under(key), *over), (self.any(), end.max(*over))],
            None => vec![(self.bare(), end), (self.any(), end)],
        }
    }

    fn any(&self) -> String {
        format!("any.{}", self.agent)
    }

    fn bare(&self) -> String {
        format!("bare.{}", self.agent)
    }

    fn under(&self, key: &Digest) -> String {
        // A colon has no place in a subject.
        format!("under.{}.{}", self.agent, key.to_string().replace(':', "-"))
    }
}

/// What must be stored before a verdict that lets a labelling tool run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marking {
    /// For whom.
    pub holder: Holder,
    /// What it will have seen.
    pub labels: BTreeSet<Token>,
}

/// An entry of the bucket of labels: each label with its end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    labels: BTreeMap<Token, Timestamp>,
}

/// An entry cannot take more labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an agent cannot carry more than {ENTRY_LABELS_MAX} labels")]
pub struct TooManyLabels;

impl Seen {
    /// These labels, without end.
    #[must_use]
    pub fn of(labels: impl IntoIterator<Item = Token>) -> Self {
        let end = Timestamp::from_micros(NO_END).unwrap_or(Timestamp::EPOCH);
        Self {
            labels: labels.into_iter().map(|label| (label, end)).collect(),
        }
    }

    /// When the last of the labels ends.
    #[must_use]
    pub fn end(&self) -> Option<Timestamp> {
        self.labels.values().max().copied()
    }

    /// The labels that hold at `at`.
    pub fn at(&self, at: Timestamp) -> impl Iterator<Item = &Token> {
        let holds = move |(_, end): &(&Token, &Timestamp)| **end > at;
        self.labels.iter().filter(holds).map(|(label, _)| label)
    }

    /// The entry with `labels` marked until `end`; `None` where it says so already. One
    /// that holds for nearly as long is left as it is, so that an agent that reads all
    /// day writes now and then: a label holds at least as long as it should.
    ///
    /// An ended label stays for `kept`: as long as anything that was stored before its end
    /// may still be judged, for the first time or again.
    ///
    /// # Errors
    /// When there would be too many.
    pub fn mark(
        &self,
        labels: &BTreeSet<Token>,
        end: Timestamp,
        at: Timestamp,
        kept: Duration,
    ) -> Result<Option<Self>, TooManyLabels> {
        let held = |label: &Token| self.labels.get(label).is_some_and(|until| *until >= end);
        if labels.iter().all(held) {
            return Ok(None);
        }
        // A sixteenth more than is due, so that the next markings find enough.
        let until = end.plus(end.since(at) / 16);
        let needed = self.labels.iter();
        let needed = needed.filter(|(_, until)| until.plus(kept) > at);
        let mut marked: BTreeMap<Token, Timestamp> = needed
            .map(|(label, until)| (label.clone(), *until))
            .collect();
        for label in labels {
            let entry = marked.entry(label.clone()).or_insert(until);
            *entry = until.max(*entry);
        }
        match marked.len() <= ENTRY_LABELS_MAX {
            true => Ok(Some(Self { labels: marked })),
            false => Err(TooManyLabels),
        }
    }
}

/// What a look-up would tell of an agent that has seen this, without end.
pub(crate) fn rehearsed(names: &[String]) -> Learnt {
    let labels: Result<Vec<Token>, _> = names.iter().map(|name| name.parse()).collect();
    let labels = labels.map_err(|_| "a label has another form".to_owned())?;
    serde_json::to_value([Seen::of(labels)]).map_err(|error| error.to_string())
}

/// What a judgement knows of labels.
pub(crate) enum Knowledge {
    /// These hold.
    Labels(BTreeSet<Token>),
    /// It must be looked up first.
    Wanted(Wish),
    /// It cannot be read; why, in words.
    Failed(String),
}

/// What `holder` has seen by `at`, as far as that was looked up.
pub(crate) fn knowledge(holder: &Holder, known: &Known, at: Timestamp) -> Knowledge {
    let wish = Wish::Labels(holder.clone());
    let entries = match known.get(&wish) {
        None => return Knowledge::Wanted(wish),
        Some(Err(why)) => return Knowledge::Failed(why.clone()),
        Some(Ok(entries)) => Vec::<Seen>::deserialize(entries),
    };
    match entries {
        Ok(entries) => Knowledge::Labels(
            entries
                .iter()
                .flat_map(|entry| entry.at(at))
                .cloned()
                .collect(),
        ),
        Err(_) => Knowledge::Failed("an entry has another form".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token(text: &str) -> Token {
        text.parse().unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000).unwrap()
    }

    fn set(labels: &[&str]) -> BTreeSet<Token> {
        labels.iter().map(|label| token(label)).collect()
    }

    const KEPT: Duration = Duration::from_secs(3_600);

    fn names(seen: &Seen, seconds: i64) -> Vec<String> {
        seen.at(at(seconds)).map(ToString::to_string).collect()
    }

    #[test]
    fn a_label_holds_until_its_end_and_a_marking_only_prolongs() {
        let one = Seen::default()
            .mark(&set(&["pii"]), at(1_600), at(0), KEPT)
            .unwrap()
            .unwrap();
        assert_eq!(names(&one, 0), ["pii"]);
        assert_eq!(names(&one, 1_599), ["pii"]);
        assert!(names(&one, 1_700).is_empty());
        // Nothing is written while what is there holds long enough.
        assert_eq!(one.mark(&set(&["pii"]), at(1_700), at(100), KEPT), Ok(None));
        let later = one
            .mark(&set(&["pii"]), at(1_701), at(101), KEPT)
            .unwrap()
            .unwrap();
        assert_eq!(names(&later, 1_701), ["pii"]);
        assert_eq!(later.mark(&set(&["pii"]), at(200), at(0), KEPT), Ok(None));
        let two = later
            .mark(&set(&["money"]), at(500), at(400), KEPT)
            .unwrap()
            .unwrap();
        assert_eq!(names(&two, 450), ["money", "pii"]);
        assert_eq!(names(&two, 1_000), ["pii"]);
    }

    #[test]
    fn ended_labels_leave_and_too_many_are_refused() {
        let many: BTreeSet<Token> = (0..ENTRY_LABELS_MAX)
            .map(|n| token(&format!("l{n}")))
            .collect();
        let full = Seen::default()
            .mark(&many, at(100), at(0), KEPT)
            .unwrap()
            .unwrap();
        assert_eq!(
            full.mark(&set(&["x"]), at(200), at(100), KEPT),
            Err(TooManyLabels)
        );
        let after = full
            .mark(&set(&["x"]), at(10_000), at(5_000), KEPT)
            .unwrap()
            .unwrap();
        assert_eq!(names(&after, 5_000), ["x"]);
        assert_eq!(after.labels.len(), 1);
    }

    #[test]
    fn what_is_seen_without_a_mandate_follows_the_agent_and_the_other_way_round() {
        let agent: AgentId = "support".parse().unwrap();
        let holder = |mandate: Option<&str>| Holder {
            agent: agent.clone(),
            mandate: mandate.map(|id| (Digest::of_bytes(id.as_bytes()), at(600))),
        };
        let day = Duration::from_secs(86_400);
        let finds = |writer: Option<&str>, reader: Option<&str>| {
            let written = holder(writer).writes(at(0), day);
            let read = holder(reader).reads();
            written.iter().any(|(key, _)| read.contains(key))
        };
        assert!(finds(None, None));
        assert!(finds(None, Some("a")));
        assert!(finds(Some("a"), None));
        assert!(finds(Some("a"), Some("a")));
        assert!(!finds(Some("a"), Some("b")));
        // Under a mandate as long as that, without one for the configured time.
        let ends = |mandate| {
            let all = holder(mandate).writes(at(0), day);
            all.iter().map(|(_, end)| end.seconds()).collect::<Vec<_>>()
        };
        assert_eq!(ends(Some("a")), [600, 86_400]);
        assert_eq!(ends(None), [86_400, 86_400]);
        let keys = holder(Some("a")).writes(at(0), day);
        let plain = |key: &str| {
            key.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        assert!(keys.iter().all(|(key, _)| plain(key)), "{keys:?}");
        let other = Holder {
            agent: "billing".parse().unwrap(),
            mandate: None,
        };
        assert!(
            !other
                .reads()
                .iter()
                .any(|key| keys.iter().any(|(own, _)| own == key))
        );
    }

    proptest! {
        #[test]
        fn a_label_never_ends_before_its_last_marking_says(
            steps in proptest::collection::vec((0_i64..1_000, 1_i64..5_000), 1..20)
        ) {
            let (mut seen, mut now, mut due) = (Seen::default(), 0, 0);
            for (pause, life) in steps {
                now += pause;
                due = due.max(now + life);
                if let Some(next) = seen.mark(&set(&["pii"]), at(now + life), at(now), KEPT).unwrap() {
                    seen = next;
                }
            }
            prop_assert_eq!(names(&seen, due - 1), ["pii"]);
        }

        #[test]
        fn whatever_is_marked_later_what_held_is_found_again_for_as_long_as_it_is_kept(
            held in 1_i64..5_000,
            later in proptest::collection::vec((1_i64..1_000, 1_i64..5_000), 0..20)
        ) {
            let marked = Seen::default().mark(&set(&["pii"]), at(held), at(0), KEPT).unwrap();
            let (mut seen, mut now) = (marked.unwrap(), 0);
            for (pause, life) in later {
                now += pause;
                if now >= held + 3_600 {
                    break;
                }
                let next = seen.mark(&set(&["other"]), at(now + life), at(now), KEPT).unwrap();
                seen = next.unwrap_or(seen);
                prop_assert!(names(&seen, held - 1).contains(&"pii".to_owned()));
            }
        }
    }
}
