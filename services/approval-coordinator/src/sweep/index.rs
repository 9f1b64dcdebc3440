//! Which approved intents have no end yet, and when each must be looked at.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use countersign_schemas::{AgentId, IntentId, Timestamp};

/// An approved intent without an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Open {
    /// Who acts.
    pub(crate) agent: Arc<AgentId>,
    /// The sequence of its last message: the decision or the claim.
    pub(crate) seq: u64,
    /// When that message was stored.
    pub(crate) stored_at: Timestamp,
    /// Whether that message is the claim.
    pub(crate) claimed: bool,
    /// When to look; `None` while somebody looks.
    due: Option<Timestamp>,
}

/// The index. Small per intent, because with no executor running it holds every permit
/// that has not expired.
#[derive(Debug, Default)]
pub(crate) struct Index {
    open: HashMap<IntentId, Open>,
    by_due: BTreeSet<(Timestamp, IntentId)>,
    agents: HashMap<AgentId, Arc<AgentId>>,
}

impl Index {
    /// Takes in a decision or claim that must be looked at when `due`.
    pub(crate) fn put(
        &mut self,
        agent: &AgentId,
        intent: IntentId,
        seq: u64,
        stored_at: Timestamp,
        due: Timestamp,
    ) {
        self.remove(intent);
        let agent = self.shared(agent);
        self.by_due.insert((due, intent));
        let due = Some(due);
        let open = Open {
            agent,
            seq,
            stored_at,
            claimed: false,
            due,
        };
        self.open.insert(intent, open);
    }

    /// Notes that the last message taken in for `intent` is its claim.
    pub(crate) fn claimed(&mut self, intent: IntentId) {
        if let Some(open) = self.open.get_mut(&intent) {
            open.claimed = true;
        }
    }

    /// What is open now, of `agent` or of all.
    pub(crate) fn open_of(&self, agent: Option<&AgentId>) -> Vec<(IntentId, Open)> {
        let of = |open: &Open| agent.is_none_or(|agent| *agent == *open.agent);
        let found = self.open.iter().filter(|(_, open)| of(open));
        found.map(|(id, open)| (*id, open.clone())).collect()
    }

    /// Forgets an intent that has ended.
    pub(crate) fn remove(&mut self, intent: IntentId) {
        if let Some(Open { due: Some(due), .. }) = self.open.remove(&intent) {
            self.by_due.remove(&(due, intent));
        }
    }

    /// Puts an intent that was looked at back, if it is still open.
    pub(crate) fn again(&mut self, intent: IntentId, at: Timestamp) {
        if let Some(open) = self.open.get_mut(&intent)
            && open.due.is_none()
        {
            open.due = Some(at);
            self.by_due.insert((at, intent));
        }
    }

    /// Takes out one intent that is due at `now`, to be looked at.
    pub(crate) fn take_due(&mut self, now: Timestamp) -> Option<(IntentId, Open)> {
        let (due, intent) = *self.by_due.first()?;
        if due > now {
            return None;
        }
        self.by_due.remove(&(due, intent));
        let open = self.open.get_mut(&intent)?;
        open.due = None;
        Some((intent, open.clone()))
    }

    /// When the next one is due.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.by_due.first().map(|(due, _)| *due)
    }

    /// How many are open.
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// One allocation for each agent, not one for each intent.
    fn shared(&mut self, agent: &AgentId) -> Arc<AgentId> {
        if let Some(known) = self.agents.get(agent) {
            return Arc::clone(known);
        }
        let new = Arc::new(agent.clone());
        self.agents.insert(agent.clone(), Arc::clone(&new));
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::EPOCH.plus(Duration::from_secs(seconds))
    }

    fn intent(n: u8) -> IntentId {
        format!("019a0000-0000-7000-8000-0000000000{n:02x}")
            .parse()
            .unwrap()
    }

    fn put(index: &mut Index, n: u8, seq: u64, due: u64) {
        index.put(&"billing".parse().unwrap(), intent(n), seq, at(0), at(due));
    }

    #[test]
    fn a_claim_replaces_its_decision_and_an_end_removes_both() {
        let mut index = Index::default();
        put(&mut index, 1, 10, 5);
        put(&mut index, 1, 11, 9);
        assert_eq!((index.len(), index.next_due()), (1, Some(at(9))));
        assert_eq!(index.take_due(at(8)), None);
        let (found, open) = index.take_due(at(9)).unwrap();
        assert_eq!((found, open.seq), (intent(1), 11));
        assert_eq!(index.take_due(at(99)), None, "somebody is looking");
        index.again(intent(1), at(20));
        assert_eq!(index.next_due(), Some(at(20)));
        index.remove(intent(1));
        assert_eq!((index.len(), index.next_due()), (0, None));
        index.again(intent(1), at(20));
        assert_eq!(index.next_due(), None, "an end is an end");
    }

    #[test]
    fn a_freeze_finds_what_is_open_where_it_takes_effect() {
        let mut index = Index::default();
        put(&mut index, 1, 10, 5);
        put(&mut index, 2, 11, 5);
        let crm: AgentId = "crm".parse().unwrap();
        index.put(&crm, intent(3), 12, at(0), at(5));
        index.take_due(at(5)).unwrap();
        put(&mut index, 2, 13, 9);
        index.claimed(intent(2));
        let mut open = index.open_of(None);
        open.sort_by_key(|(id, _)| *id);
        let found: Vec<_> = open.iter().map(|(id, o)| (*id, o.seq, o.claimed)).collect();
        let expected = [
            (intent(1), 10, false),
            (intent(2), 13, true),
            (intent(3), 12, false),
        ];
        assert_eq!(found, expected, "also one that somebody looks at");
        assert_eq!(index.open_of(Some(&crm)).len(), 1);
        index.remove(intent(3));
        assert!(index.open_of(Some(&crm)).is_empty());
    }

    #[test]
    fn a_claim_that_comes_while_somebody_looks_keeps_its_own_deadline() {
        let mut index = Index::default();
        put(&mut index, 1, 10, 5);
        index.take_due(at(5)).unwrap();
        put(&mut index, 1, 11, 50);
        index.again(intent(1), at(6));
        assert_eq!(index.next_due(), Some(at(50)));
    }

    proptest! {
        #[test]
        fn due_ones_come_in_order_and_each_once(entries in proptest::collection::vec((0_u8..20, 0_u64..50), 0..40)) {
            let mut index = Index::default();
            for (n, due) in &entries {
                put(&mut index, *n, 1, *due);
            }
            let distinct: std::collections::HashSet<_> = entries.iter().map(|(n, _)| *n).collect();
            let mut taken = Vec::new();
            let mut last = at(0);
            while let Some(next) = index.next_due() {
                prop_assert!(next >= last);
                last = next;
                taken.push(index.take_due(next).unwrap().0);
            }
            prop_assert_eq!(taken.len(), distinct.len());
            prop_assert_eq!(index.len(), distinct.len());
        }
    }
}
