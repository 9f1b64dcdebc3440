//! The order in which one checker judges an agent's intents, as far as labels need it.
//!
//! A label is stored before the verdict that lets its tool run, so whoever has seen
//! something is known by then, whichever checker judges next. Beyond that, an intent that
//! reads labels waits here for those before it that may still set some: sending both at
//! once gains nothing either.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_schemas::AgentId;
use tokio::sync::Notify;

/// Intents by agent and sequence that may still set labels.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    open: Mutex<BTreeMap<AgentId, BTreeSet<u64>>>,
    left: Notify,
}

/// A place in a lane; whoever waits behind it goes on when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    lanes: Arc<Lanes>,
    agent: AgentId,
    seq: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.lanes.open();
        if let Some(lane) = open.get_mut(&self.agent) {
            lane.remove(&self.seq);
            if lane.is_empty() {
                open.remove(&self.agent);
            }
        }
        drop(open);
        self.lanes.left.notify_waiters();
    }
}

impl Lanes {
    /// Notes an intent in the order of the stream.
    pub(crate) fn enter(&self, agent: &AgentId, seq: u64) {
        let mut open = self.open();
        match open.get_mut(agent) {
            Some(lane) => drop(lane.insert(seq)),
            None => drop(open.insert(agent.clone(), BTreeSet::from([seq]))),
        }
    }

    /// The place of an intent that has entered; it is free again once this is dropped.
    pub(crate) fn place(self: &Arc<Self>, agent: &AgentId, seq: u64) -> Place {
        Place {
            lanes: Arc::clone(self),
            agent: agent.clone(),
            seq,
        }
    }

    /// Waits until no intent of `agent` before `seq` may set a label any more.
    pub(crate) async fn first(&self, agent: &AgentId, seq: u64) {
        loop {
            let left = self.left.notified();
            tokio::pin!(left);
            // From here on no leaving is missed.
            left.as_mut().enable();
            let before = self.open().get(agent).is_some_and(|lane| {
                let mut before = lane.range(..seq);
                before.next().is_some()
            });
            if !before {
                return;
            }
            left.await;
        }
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<AgentId, BTreeSet<u64>>> {
        // Each change is one call: what stands there is whole even where a thread died.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[tokio::test]
    async fn an_intent_waits_for_those_before_it_and_for_no_others() {
        let lanes = Arc::<Lanes>::default();
        let (agent, other): (AgentId, AgentId) = ("a".parse().unwrap(), "b".parse().unwrap());
        for seq in [3, 5, 9] {
            lanes.enter(&agent, seq);
        }
        let [third, fifth] = [3, 5].map(|seq| lanes.place(&agent, seq));
        assert!(lanes.first(&agent, 3).now_or_never().is_some());
        assert!(lanes.first(&other, 7).now_or_never().is_some());
        assert!(lanes.first(&agent, 7).now_or_never().is_none());
        let waits = tokio::spawn({
            let (lanes, agent) = (Arc::clone(&lanes), agent.clone());
            async move { lanes.first(&agent, 7).await }
        });
        tokio::task::yield_now().await;
        drop(fifth);
        tokio::task::yield_now().await;
        assert!(!waits.is_finished());
        drop(third);
        waits.await.unwrap();
        drop(lanes.place(&agent, 9));
        assert!(lanes.open().is_empty());
    }
}
