//! A live index of the approvals in the bucket that are not settled, fed by the bucket
//! itself, so that it is the same in every coordinator.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_domain::approvals::{Approval, Gathering, Item};
use countersign_runtime::bus::layout::APPROVALS;
use countersign_runtime::bus::{BusError, Followed, Source, StoredMessage};
use countersign_schemas::{AgentId, ApprovalId, Digest, TeamId, Timestamp, ToolName};
use futures::StreamExt as _;

use crate::asking::TIMER_KIND;
use crate::bundles::{self, KEY_PREFIX};
use crate::counters;
use crate::kept::unreadable_value;
use crate::office::Office;

/// Timers that are set at once at the start: each waits for the disk of the server.
const TIMERS_AT_ONCE: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    agent: AgentId,
    /// When it must be looked at next.
    due: Timestamp,
    /// While it waits for people, its end and who is asked.
    waits: Option<Waits>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Waits {
    until: Timestamp,
    /// Every team that is asked, now or later.
    teams: Vec<TeamId>,
    /// What its items were judged by, each once.
    judged: BTreeSet<Judged>,
}

/// By which bundle, and by which definition of a tool, something was judged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Judged {
    pub(crate) policy: Digest,
    pub(crate) tool: ToolName,
    pub(crate) definition: Option<Digest>,
}

impl Judged {
    pub(crate) fn of(item: &Item) -> Self {
        let checked = item.checked();
        Self {
            policy: checked.policy_digest,
            tool: checked.tool.clone(),
            definition: checked.tool_digest,
        }
    }

    fn of_window((policy, tool, definition): (Digest, &ToolName, Option<Digest>)) -> Self {
        Self {
            policy,
            tool: tool.clone(),
            definition,
        }
    }
}

impl Waits {
    fn of(approval: &Approval) -> Self {
        let asked = approval.ask().approvers.iter().map(|entry| &entry.team);
        let later = approval.escalation().iter().map(|step| &step.team);
        Self {
            until: approval.expires_at(),
            teams: asked.chain(later).cloned().collect(),
            judged: approval
                .live_items()
                .map(Judged::of)
                .chain(approval.window_judged().map(Judged::of_window))
                .collect(),
        }
    }
}

#[derive(Debug, Default)]
struct Rows {
    by_id: BTreeMap<ApprovalId, Row>,
    by_agent: HashMap<AgentId, usize>,
    by_due: BTreeSet<(Timestamp, ApprovalId)>,
    /// Those that wait for people, by their ends.
    waiting: BTreeSet<(Timestamp, ApprovalId)>,
}

impl Rows {
    fn put(&mut self, id: ApprovalId, row: Row) {
        self.take(&id);
        if let Some(waits) = &row.waits {
            self.waiting.insert((waits.until, id.clone()));
            *self.by_agent.entry(row.agent.clone()).or_default() += 1;
        }
        self.by_due.insert((row.due, id.clone()));
        self.by_id.insert(id, row);
    }

    fn take(&mut self, id: &ApprovalId) {
        let Some(row) = self.by_id.remove(id) else {
            return;
        };
        self.by_due.remove(&(row.due, id.clone()));
        let Some(waits) = row.waits else {
            return;
        };
        self.waiting.remove(&(waits.until, id.clone()));
        if let Some(count) = self.by_agent.get_mut(&row.agent) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.by_agent.remove(&row.agent);
            }
        }
    }
}

/// The approvals that are pending, or ended with events still missing.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    rows: Mutex<Rows>,
}

impl Pending {
    fn lock(&self) -> MutexGuard<'_, Rows> {
        // No step of a change can panic, so a poisoned index is still whole.
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in the newest value of an approval.
    pub(crate) fn note(&self, approval: &Approval) {
        let id = approval.id().clone();
        let mut rows = self.lock();
        if approval.is_settled() {
            rows.take(&id);
        } else {
            let row = Row {
                agent: approval.agent().clone(),
                due: approval.next_due(),
                waits: approval.is_pending().then(|| Waits::of(approval)),
            };
            rows.put(id, row);
        }
        counters::pending(rows.by_id.len());
    }

    /// Takes in the newest value of a bundle.
    pub(crate) fn note_bundle(&self, bundle: &Gathering) {
        let mut rows = self.lock();
        if bundle.is_settled() {
            return rows.take(&bundle.id());
        }
        let row = Row {
            agent: bundle.agent().clone(),
            due: bundle.deadline(),
            waits: bundle.is_open().then(|| Waits {
                until: bundle.deadline(),
                teams: Vec::new(),
                judged: BTreeSet::new(),
            }),
        };
        rows.put(bundle.id(), row);
    }

    /// How many approvals of `agent` wait for people.
    pub(crate) fn of_agent(&self, agent: &AgentId) -> usize {
        self.lock().by_agent.get(agent).copied().unwrap_or_default()
    }

    /// Whether an approval waits for people, or its end is not told yet.
    pub(crate) fn holds(&self, id: &ApprovalId) -> bool {
        self.lock().by_id.contains_key(id)
    }

    /// How many windows of `agent` wait for people.
    pub(crate) fn windows_of(&self, agent: &AgentId) -> usize {
        let rows = self.lock();
        let waits = |(id, row): &(&ApprovalId, &Row)| {
            row.waits.is_some() && row.agent == *agent && id.as_str().starts_with("w-")
        };
        rows.by_id.iter().filter(waits).count()
    }

    /// The approvals that wait for people and ask teams, now or later, of which `wanted` holds,
    /// the earliest end first; with `agent` only those of that one.
    pub(crate) fn ids_asking(
        &self,
        agent: Option<&AgentId>,
        wanted: impl Fn(&[TeamId]) -> bool,
    ) -> Vec<ApprovalId> {
        self.ids_that(|row, waits| {
            agent.is_none_or(|agent| row.agent == *agent) && wanted(&waits.teams)
        })
    }

    /// Those that wait for people with an item that was judged by something of which `wanted` holds.
    pub(crate) fn ids_judged_by(&self, wanted: impl Fn(&Judged) -> bool) -> Vec<ApprovalId> {
        self.ids_that(|_, waits| waits.judged.iter().any(&wanted))
    }

    /// What everything that waits was judged by, each once.
    pub(crate) fn all_judged(&self) -> BTreeSet<Judged> {
        let rows = self.lock();
        let waits = rows.by_id.values().filter_map(|row| row.waits.as_ref());
        waits.flat_map(|waits| &waits.judged).cloned().collect()
    }

    fn ids_that(&self, wanted: impl Fn(&Row, &Waits) -> bool) -> Vec<ApprovalId> {
        let rows = self.lock();
        let asks = |id: &&ApprovalId| {
            let row = rows.by_id.get(*id);
            row.is_some_and(|row| row.waits.as_ref().is_some_and(|waits| wanted(row, waits)))
        };
        let ids = rows.waiting.iter().map(|(_, id)| id);
        ids.filter(asks).cloned().collect()
    }

    /// Those that had to be looked at before `at`.
    pub(crate) fn overdue(&self, at: Timestamp) -> Vec<ApprovalId> {
        let rows = self.lock();
        let due = rows.by_due.iter().take_while(|(due, _)| *due < at);
        due.map(|(_, id)| id.clone()).collect()
    }
}

/// Keeps the index until shutdown, and at the start sets every timer again: one may be lost.
pub(crate) async fn follow(office: Arc<Office>) -> Result<(), BusError> {
    let shutdown = office.shutdown.clone();
    shutdown.run_until_cancelled(keep(&office)).await;
    Ok(())
}

async fn keep(office: &Office) {
    let part = office.health.part("approvals");
    let source = Source::bucket("the approvals", APPROVALS);
    let mut feed = office.bus.follow(source, &part);
    while let Some(next) = feed.next().await {
        match next {
            Followed::Message(message) => take_in(office, &message),
            Followed::CaughtUp => {
                set_timers(office).await;
                part.ready();
            }
            // The bucket is asked before anything is done: a row too many does no harm.
            Followed::Broken => {}
        }
    }
}

fn take_in(office: &Office, message: &StoredMessage) {
    // Only what has ended is ever removed, and that is in no index.
    if !message.is_value() {
        return;
    }
    let key = message.subject.rsplit('.').next().unwrap_or_default();
    let read = match key.starts_with(KEY_PREFIX) {
        true => Gathering::read(&message.payload).map(|one| office.bundles.note_bundle(&one)),
        false => Approval::read(&message.payload).map(|one| office.pending.note(&one)),
    };
    if let Err(error) = read {
        unreadable_value(&format!("`{key}` in {APPROVALS}"), &error);
    }
}

async fn set_timers(office: &Office) {
    let due = |index: &Pending| index.lock().by_due.clone();
    let approvals = due(&office.pending)
        .into_iter()
        .map(|row| (TIMER_KIND, row));
    let gathered = due(&office.bundles)
        .into_iter()
        .map(|row| (bundles::TIMER_KIND, row));
    let set = async |(kind, (at, id)): (&str, (Timestamp, ApprovalId))| {
        if let Err(failure) = office.schedule(kind, &id, at).await {
            tracing::warn!(approval = %id, %failure, "its timer is not set again");
        }
    };
    let all = futures::stream::iter(approvals.chain(gathered));
    all.for_each_concurrent(TIMERS_AT_ONCE, set).await;
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use proptest::prelude::*;

    fn id(n: u8) -> ApprovalId {
        format!("a-019a0000-0000-7000-8000-0000000000{n:02x}")
            .parse()
            .unwrap()
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::EPOCH.plus(Duration::from_secs(seconds))
    }

    fn judged(tool: &str) -> Judged {
        Judged {
            policy: Digest::of_bytes(b"policy"),
            tool: tool.parse().unwrap(),
            definition: None,
        }
    }

    fn row(agent: &str, due: u64, pending: bool) -> Row {
        Row {
            agent: agent.parse().unwrap(),
            due: at(due),
            waits: pending.then(|| Waits {
                until: at(due),
                teams: vec![agent.parse().unwrap()],
                judged: BTreeSet::from([judged(agent)]),
            }),
        }
    }

    #[test]
    fn counts_follow_every_change() {
        let pending = Pending::default();
        let billing: AgentId = "billing".parse().unwrap();
        pending.lock().put(id(1), row("billing", 10, true));
        pending.lock().put(id(2), row("billing", 5, true));
        pending.lock().put(id(2), row("billing", 5, true));
        assert_eq!(pending.of_agent(&billing), 2);
        let all = || pending.ids_asking(None, |_| true);
        assert_eq!(all(), [id(2), id(1)]);
        let asked = |team: &str| pending.ids_asking(None, |teams| teams[0].as_str() == team);
        assert_eq!((asked("billing").len(), asked("support").len()), (2, 0));
        let other = "crm".parse().unwrap();
        let of = |agent| pending.ids_asking(Some(agent), |_| true).len();
        assert_eq!((of(&billing), of(&other)), (2, 0));
        let by = |tool: &str| pending.ids_judged_by(|one| *one == judged(tool));
        assert_eq!((by("billing").len(), by("support").len()), (2, 0));
        assert_eq!(pending.overdue(at(10)), [id(2)]);
        pending.lock().put(id(2), row("billing", 3, false));
        assert_eq!(pending.of_agent(&billing), 1);
        assert_eq!(all(), [id(1)]);
        assert_eq!(pending.overdue(at(20)), [id(2), id(1)]);
        pending.lock().take(&id(1));
        pending.lock().take(&id(1));
        assert_eq!(pending.of_agent(&billing), 0);
    }

    proptest! {
        #[test]
        fn the_indexes_always_agree(steps in proptest::collection::vec((0_u8..6, 0_u8..3, 0_u64..9, 0_u8..3), 0..40)) {
            let mut rows = Rows::default();
            for (key, agent, due, what) in steps {
                match what {
                    0 => rows.take(&id(key)),
                    n => rows.put(id(key), row(&format!("agent{agent}"), due, n == 1)),
                }
                let pending = rows.by_id.values().filter(|row| row.waits.is_some()).count();
                prop_assert_eq!(rows.by_agent.values().sum::<usize>(), pending);
                prop_assert_eq!(rows.by_due.len(), rows.by_id.len());
                prop_assert_eq!(rows.waiting.len(), pending);
                prop_assert!(rows.by_agent.values().all(|count| *count > 0));
            }
        }
    }
}
