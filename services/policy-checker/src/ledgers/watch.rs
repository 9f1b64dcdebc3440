//! Which open entries of a ledger are looked at next. Pure but for the time passed in.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use countersign_schemas::{AgentId, IntentId};
use tokio::time::Instant;

/// When this checker first looks whether an intent that it charged has ended: most tools
/// answer sooner.
const OWN_AFTER: Duration = Duration::from_secs(2);
/// When it looks at an entry of another checker, which does so sooner if it lives.
const FOREIGN_AFTER: Duration = Duration::from_secs(15);
/// Longest pause between two looks: people take their time.
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// How often all open entries are listed, to find those of checkers that died.
const LIST_EVERY: Duration = Duration::from_secs(15);
/// Looks in one go, so that one ledger cannot hold up the others.
const LOOKS_MAX: usize = 2_000;

#[derive(Debug, Clone)]
struct Watched {
    mark: u64,
    /// Whose intent it is, where this checker knows that its stored verdict relies on it.
    relied: Option<AgentId>,
    looks: u32,
    looked: Option<Instant>,
    next: Instant,
}

/// The open entries that are looked at.
#[derive(Debug, Default)]
pub(super) struct Watch {
    entries: HashMap<IntentId, Watched>,
    listed: Option<Instant>,
}

impl Watch {
    /// Whether nothing is open, as far as is known.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether the open entries of a ledger that was used last at `used` should be listed
    /// again.
    pub(super) fn wants_list(&self, used: Instant, now: Instant) -> bool {
        self.listed.is_none_or(|listed| {
            let asleep = self.entries.is_empty() && used < listed;
            !asleep && now.duration_since(listed) >= LIST_EVERY
        })
    }

    /// An entry that this checker made, and that a stored verdict relies on.
    pub(super) fn own(&mut self, intent: IntentId, mark: u64, agent: &AgentId, now: Instant) {
        let own = Watched {
            relied: Some(agent.clone()),
            ..Watched::new(mark, now + OWN_AFTER)
        };
        self.entries.insert(intent, own);
    }

    /// Whose intent it is, if a stored verdict is known to rely on this entry.
    pub(super) fn relied(&self, intent: IntentId, mark: u64) -> Option<AgentId> {
        let watched = self.entries.get(&intent);
        watched
            .filter(|watched| watched.mark == mark)?
            .relied
            .clone()
    }

    /// All that is open, as the leader holds it.
    pub(super) fn list(&mut self, open: &[(IntentId, u64)], now: Instant) {
        self.listed = Some(now);
        let still: HashSet<(IntentId, u64)> = open.iter().copied().collect();
        self.entries
            .retain(|intent, watched| still.contains(&(*intent, watched.mark)));
        for (intent, mark) in open {
            self.entries
                .entry(*intent)
                .or_insert_with(|| Watched::new(*mark, now + FOREIGN_AFTER));
        }
    }

    /// The entries whose time has come, or all; at most a bounded number, those first that
    /// were not looked at for the longest time.
    pub(super) fn due(&self, all: bool, now: Instant) -> Vec<(IntentId, u64)> {
        let mut due: Vec<(&IntentId, &Watched)> = self
            .entries
            .iter()
            .filter(|(_, watched)| all || watched.next <= now)
            .collect();
        due.sort_unstable_by_key(|(intent, watched)| (watched.looked, *intent));
        due.truncate(LOOKS_MAX);
        let pair = |(intent, watched): (&IntentId, &Watched)| (*intent, watched.mark);
        due.into_iter().map(pair).collect()
    }

    /// It was looked at and is still open: the next look waits twice as long.
    pub(super) fn stays(&mut self, intent: IntentId, now: Instant) {
        if let Some(watched) = self.entries.get_mut(&intent) {
            watched.looks = watched.looks.saturating_add(1);
            watched.looked = Some(now);
            let pause = Duration::from_secs(1_u64 << watched.looks.min(16));
            watched.next = now + pause.min(PAUSE_MAX);
        }
    }

    /// It has ended.
    pub(super) fn ended(&mut self, intent: IntentId, mark: u64) {
        if self
            .entries
            .get(&intent)
            .is_some_and(|watched| watched.mark == mark)
        {
            self.entries.remove(&intent);
        }
    }
}

impl Watched {
    fn new(mark: u64, next: Instant) -> Self {
        Self {
            mark,
            relied: None,
            looks: 0,
            looked: None,
            next,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent(n: u32) -> IntentId {
        format!("019a0000-0000-7000-8000-{n:012x}").parse().unwrap()
    }

    fn agent() -> AgentId {
        "billing".parse().unwrap()
    }

    #[test]
    fn what_is_known_of_an_entry_is_of_that_one_alone() {
        let now = Instant::now();
        let mut watch = Watch::default();
        watch.own(intent(1), 7, &agent(), now);
        watch.list(&[(intent(1), 7), (intent(2), 8)], now);
        assert_eq!(watch.relied(intent(1), 7), Some(agent()));
        assert_eq!(watch.relied(intent(1), 9), None, "another entry");
        assert_eq!(watch.relied(intent(2), 8), None, "another checker's");
        watch.list(&[(intent(1), 9)], now);
        assert_eq!(watch.relied(intent(1), 9), None);
    }

    #[test]
    fn own_entries_come_first_and_each_look_waits_longer() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut watch = Watch::default();
        assert!(watch.is_empty() && watch.wants_list(start, start));
        watch.own(intent(1), 7, &agent(), start);
        watch.list(&[(intent(1), 7), (intent(2), 8)], start);
        assert!(!watch.wants_list(start, at(14)) && watch.wants_list(start, at(15)));
        assert_eq!(watch.due(false, at(1)), []);
        assert_eq!(watch.due(false, at(2)), [(intent(1), 7)]);
        assert_eq!(watch.due(false, at(15)).len(), 2);
        watch.stays(intent(1), at(2));
        assert_eq!(watch.due(false, at(3)), []);
        assert_eq!(watch.due(false, at(4)), [(intent(1), 7)]);
        for _ in 0..40 {
            watch.stays(intent(1), at(4));
        }
        assert_eq!(watch.due(false, at(303)), [(intent(2), 8)]);
        assert_eq!(watch.due(false, at(304)).len(), 2);
        // Before a refusal all are looked at, those first that wait for the longest time.
        assert_eq!(watch.due(true, at(5)), [(intent(2), 8), (intent(1), 7)]);
    }

    #[test]
    fn what_is_open_no_more_is_watched_no_more() {
        let now = Instant::now();
        let mut watch = Watch::default();
        watch.own(intent(1), 7, &agent(), now);
        watch.own(intent(2), 8, &agent(), now);
        watch.ended(intent(1), 6);
        assert_eq!(watch.due(true, now).len(), 2, "another entry ended");
        watch.ended(intent(1), 7);
        assert_eq!(watch.due(true, now), [(intent(2), 8)]);
        watch.list(&[(intent(2), 9)], now);
        assert_eq!(
            watch.due(true, now),
            [(intent(2), 9)],
            "a new entry of the same intent"
        );
        watch.list(&[], now);
        assert!(watch.is_empty());
        let later = now + LIST_EVERY;
        let before = now.checked_sub(Duration::from_secs(1)).unwrap();
        assert!(!watch.wants_list(before, later), "nobody uses it");
        assert!(watch.wants_list(later, later));
    }

    #[test]
    fn one_go_is_bounded_and_the_next_goes_on_where_it_ended() {
        let now = Instant::now();
        let mut watch = Watch::default();
        let open: Vec<(IntentId, u64)> = (0..3_000).map(|n| (intent(n), u64::from(n))).collect();
        watch.list(&open, now);
        let first = watch.due(true, now);
        assert_eq!(first.len(), LOOKS_MAX);
        for (intent, _) in &first {
            watch.stays(*intent, now);
        }
        let second = watch.due(true, now);
        assert!(
            second
                .iter()
                .take(1_000)
                .all(|entry| !first.contains(entry))
        );
    }
}
