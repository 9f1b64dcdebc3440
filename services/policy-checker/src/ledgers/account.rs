//! One ledger as this checker uses it: whoever waits for it is served together.
//!
//! With every intent in its own write, a ledger would take as many intents as the server
//! answers writes one after the other. So all that wait become one write, and while it is
//! under way the next ones gather.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use countersign_domain::ledger::{
    Answer, Charged, Ending, Ledger, LedgerError, LedgerKey, Pages, Terms,
};
use countersign_runtime::bus::metrics::alarm;
use countersign_runtime::bus::{Bucket, Failure};
use countersign_runtime::clock::Clock;
use countersign_schemas::{IntentId, Timestamp};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::view::{Shelf, View};
use super::watch::Watch;

/// How long after its window a ledger takes late intents: as long as a checker may be away.
pub(super) const CLOSES_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// How much longer its values are kept, so that none is gone while somebody may write it.
const KEPT_LONGER: Duration = Duration::from_secs(60 * 60);
/// Waiting acts that become one write: pages of a thousand take what does not fit into
/// the head, so one write is a few requests to the server however many wait.
const BATCH_MAX: usize = 2_000;
/// How long one write is tried. Below the 30 s after which the intents come again.
const GIVE_UP_AFTER: Duration = Duration::from_secs(10);
/// Longest pause after a write that another checker won, so that they do not run in step.
const PAUSE_MAX_MS: u64 = 4;

/// Something to be done to a ledger.
#[derive(Debug, Clone, Copy)]
pub(super) enum Act {
    /// An intent takes its part.
    Charge(IntentId, Terms),
    /// The entry of an intent with this mark ends.
    End(IntentId, u64, Ending),
}

/// What came of it.
#[derive(Debug, Clone, Copy)]
enum Done {
    Charged(Charged),
    Ended,
}

struct Job {
    act: Act,
    answer: oneshot::Sender<Done>,
}

/// One ledger, its waiting acts and what is known of it.
pub(super) struct Account {
    pub(super) key: LedgerKey,
    ends_at: Timestamp,
    bucket: Bucket,
    clock: Arc<dyn Clock>,
    waiting: Mutex<VecDeque<Job>>,
    view: tokio::sync::Mutex<View>,
    pub(super) watch: Mutex<Watch>,
    /// The last look before a refusal: when it began and when it ended.
    pub(super) looked: tokio::sync::Mutex<Option<(Instant, Instant)>>,
    used: Mutex<Instant>,
}

impl Account {
    pub(super) fn new(
        key: LedgerKey,
        ends_at: Timestamp,
        bucket: Bucket,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            key,
            ends_at,
            bucket,
            clock,
            waiting: Mutex::default(),
            view: tokio::sync::Mutex::default(),
            watch: Mutex::default(),
            looked: tokio::sync::Mutex::default(),
            used: Mutex::new(Instant::now()),
        }
    }

    /// Takes a part for an intent; `None` when the ledger cannot be reached.
    pub(super) async fn charge(&self, intent: IntentId, terms: Terms) -> Option<Answer> {
        if self.clock.now() > self.ends_at.plus(CLOSES_AFTER) {
            return Some(Answer::Closed);
        }
        match self.submit(Act::Charge(intent, terms)).await? {
            Done::Charged(charged) => Some(charged.into()),
            Done::Ended => None,
        }
    }

    /// What the leader's ledger would answer now; nothing is taken.
    pub(super) async fn peek(&self, intent: IntentId, terms: Terms) -> Result<Answer, Failure> {
        let mut view = self.view.lock().await;
        view.read(self.shelf()).await?;
        let charged = view.ledger.clone().charge(intent, terms, &view.pages);
        charged
            .map(Answer::from)
            .map_err(|error| Failure::transient(error.to_string()))
    }

    /// Ends an entry; `false` when the ledger cannot be reached.
    pub(super) async fn end(&self, intent: IntentId, mark: u64, ending: Ending) -> bool {
        self.submit(Act::End(intent, mark, ending)).await.is_some()
    }

    /// Every open entry, as the leader holds it: intent and mark.
    pub(super) async fn open(&self) -> Result<Vec<(IntentId, u64)>, Failure> {
        let mut view = self.view.lock().await;
        view.read(self.shelf()).await?;
        let entries = view.ledger.entries(&view.pages);
        Ok(entries
            .map(|(intent, entry)| (intent, entry.mark))
            .collect())
    }

    /// Removes the pages that nobody needs any more. What is lost here goes by itself.
    pub(super) async fn clear_rubbish(&self) {
        let rubbish = self.view.lock().await.take_rubbish();
        for key in rubbish {
            if let Err(error) = self.shelf().remove(&key).await {
                tracing::debug!(ledger = %self.key, %error, "a page stays until its time is over");
            }
        }
    }

    /// Whether nobody needs it any more: its window is over, or nothing of it is watched,
    /// and nobody has used it for `idle`.
    pub(super) fn is_idle(&self, idle: Duration) -> bool {
        let over = self.clock.now() > self.ends_at;
        let rests = lock(&self.used).elapsed() > idle;
        rests && (over || lock(&self.watch).is_empty())
    }

    /// When it was used last.
    pub(super) fn used(&self) -> Instant {
        *lock(&self.used)
    }

    /// Joins those who wait. Whoever gets hold of the view carries out all that wait.
    async fn submit(&self, act: Act) -> Option<Done> {
        *lock(&self.used) = Instant::now();
        let (answer, mut done) = oneshot::channel();
        lock(&self.waiting).push_back(Job { act, answer });
        loop {
            tokio::select! {
                biased;
                done = &mut done => return done.ok(),
                mut view = self.view.lock() => {
                    view.make_way().await;
                    let jobs = self.next_batch();
                    if !jobs.is_empty() {
                        self.carry_out(&mut view, jobs).await;
                    }
                }
            }
        }
    }

    fn next_batch(&self) -> Vec<Job> {
        let mut waiting = lock(&self.waiting);
        let count = waiting.len().min(BATCH_MAX);
        waiting.drain(..count).collect()
    }

    /// Tries until it is stored or it is too late; then nobody gets an answer.
    async fn carry_out(&self, view: &mut View, jobs: Vec<Job>) {
        let acts: Vec<Act> = jobs.iter().map(|job| job.act).collect();
        let give_up = Instant::now() + GIVE_UP_AFTER;
        loop {
            match self.attempt(view, &acts).await {
                Ok(Some(all)) => {
                    for (job, done) in jobs.into_iter().zip(all) {
                        // Whoever no longer waits has what it wanted: an entry stays.
                        job.answer.send(done).ok();
                    }
                    return;
                }
                Ok(None) => {}
                Err(failure) => {
                    tracing::warn!(ledger = %self.key, %failure, "a ledger is tried again");
                    view.doubt();
                }
            }
            if Instant::now() >= give_up {
                alarm("ledger_out_of_reach", self.key.as_str());
                return;
            }
            let pause = rand::random_range(0..=PAUSE_MAX_MS);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }

    /// Does all of it once; `None` when another checker was faster.
    async fn attempt(&self, view: &mut View, acts: &[Act]) -> Result<Option<Vec<Done>>, Failure> {
        let known_before = view.is_current();
        if !known_before {
            view.read(self.shelf()).await?;
        }
        let mut next = view.ledger.clone();
        let done = apply(&mut next, &view.pages, acts)
            .map_err(|error| Failure::transient(error.to_string()))?;
        if next != view.ledger {
            let stored = view.write(next, self.shelf()).await?;
            return Ok(stored.then_some(done));
        }
        // Nothing to write. A refusal must rest on what the leader holds now.
        let certain = !known_before || !done.iter().any(refuses) || view.read(self.shelf()).await?;
        Ok(certain.then_some(done))
    }

    fn shelf(&self) -> Shelf<'_> {
        let until_its_end = self.ends_at.since(self.clock.now());
        Shelf {
            bucket: &self.bucket,
            key: self.key.as_str(),
            life: until_its_end + CLOSES_AFTER + KEPT_LONGER,
        }
    }
}

fn apply(ledger: &mut Ledger, pages: &Pages, acts: &[Act]) -> Result<Vec<Done>, LedgerError> {
    let mut one = |act: &Act| match *act {
        Act::Charge(intent, terms) => ledger.charge(intent, terms, pages).map(Done::Charged),
        Act::End(intent, mark, ending) => {
            ledger.end(intent, mark, ending, pages).map(|_| Done::Ended)
        }
    };
    acts.iter().map(&mut one).collect()
}

fn refuses(done: &Done) -> bool {
    match done {
        Done::Charged(Charged::Exceeded { .. } | Charged::Crowded) => true,
        Done::Charged(Charged::Fresh { .. } | Charged::Found { .. }) | Done::Ended => false,
    }
}

/// What a lock guards is whole between any two statements.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
