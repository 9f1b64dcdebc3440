//! The freeze fence: one ordered reading of `control.applied` and of every claim. When our
//! own claim has come here, every freeze before it in the log has come too, whatever
//! replica answers; only then is it known whether the claim may begin.
//!
//! Fail closed: nothing is claimed before the reading stands, and nothing runs whose claim
//! does not come in time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use countersign_domain::freeze::{
    BEGIN_WITHIN, Claim, Effect, Freezes, Placed, Stop, Target, Void, may_begin, read, stopped,
};
use countersign_runtime::bus::{
    Bus, BusError, Failure, ReplayFrom, StoredMessage, metrics as bus_metrics,
};
use countersign_runtime::health::HealthPart;
use countersign_schemas::events::ToolApproved;
use countersign_schemas::{Address, AgentId, Incarnation, RequesterId, Stream, ToolName, headers};
use futures::StreamExt as _;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};

use crate::call::End;
use crate::metrics;

/// Everything that says what is frozen.
const FREEZES: &str = "control.applied.>";
/// What the fence reads.
const FILTERS: [&str; 2] = [FREEZES, "tool.started.>"];
/// Pause before a broken reading is opened again.
const REOPEN_AFTER: Duration = Duration::from_millis(100);
/// How often it is looked whether the connection stands.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A claim that has not come this long after it was sent: the reading may have broken
/// without saying so, so nothing more is claimed until it was opened again.
const DOUBT_AFTER: Duration = Duration::from_millis(700);
/// How long reading what is frozen may take.
const READ_WITHIN: Duration = Duration::from_secs(20);
/// How long a decision waits for the fence before it is given back.
const WHOLE_WITHIN: Duration = Duration::from_secs(5);
/// Pause before a decision comes again while the fence is down.
const DOWN_RETRY: Duration = Duration::from_secs(1);

/// The fence of one executor.
#[derive(Debug)]
pub(crate) struct Fence {
    state: Mutex<State>,
    whole: watch::Sender<bool>,
    doubted: Notify,
}

#[derive(Debug, Default)]
struct State {
    freezes: Freezes,
    /// The life of the stream that was read, and the last sequence that is taken in.
    place: Option<(Incarnation, u64)>,
    waiting: HashMap<String, Waiting>,
}

/// A claim on its way to the log and back.
#[derive(Debug)]
struct Waiting {
    agent: AgentId,
    tool: ToolName,
    requester: RequesterId,
    decided: u64,
    sent: Instant,
    tell: oneshot::Sender<Seen>,
}

/// What the log says of a claim.
#[derive(Debug)]
struct Seen {
    seq: u64,
    verdict: Result<(), Stop>,
}

/// The way of one claim through the fence. Dropping it gives it up.
#[derive(Debug)]
pub(crate) struct Passage {
    fence: Arc<Fence>,
    id: String,
    sent: Instant,
    seen: oneshot::Receiver<Seen>,
}

impl Fence {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            whole: watch::Sender::new(false),
            doubted: Notify::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No step of a change can panic half-way, so a poisoned state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the reading stands.
    ///
    /// # Errors
    /// When it does not in time: the decision is given back.
    pub(crate) async fn stands(&self) -> Result<(), Failure> {
        let mut whole = self.whole.subscribe();
        let waited = timeout(WHOLE_WITHIN, whole.wait_for(|whole| *whole)).await;
        if matches!(waited, Ok(Ok(_))) {
            return Ok(());
        }
        let why = "nothing is claimed while it is not known what is frozen";
        Err(Failure::transient_in(why, DOWN_RETRY))
    }

    /// Why the decision at `decided` is void already, in a sentence.
    pub(crate) fn voids(&self, approved: &ToolApproved, decided: u64) -> Option<String> {
        let void = self.state().freezes.voids(&Target::from(approved), decided);
        void.as_ref().map(stopped)
    }

    /// Prepares for a claim that is sent right now with this message id.
    ///
    /// # Errors
    /// When the reading does not stand.
    pub(crate) fn expect(
        self: &Arc<Self>,
        id: &str,
        approved: &ToolApproved,
        decided: u64,
        sent: Instant,
    ) -> Result<Passage, Failure> {
        if !*self.whole.borrow() {
            let why = "nothing is claimed while it is not known what is frozen";
            return Err(Failure::transient_in(why, DOWN_RETRY));
        }
        let (tell, seen) = oneshot::channel();
        let waiting = Waiting {
            agent: approved.agent.clone(),
            tool: approved.tool.clone(),
            requester: approved.requester.id.clone(),
            decided,
            sent,
            tell,
        };
        self.state().waiting.insert(id.to_owned(), waiting);
        Ok(Passage {
            fence: Arc::clone(self),
            id: id.to_owned(),
            sent,
            seen,
        })
    }

    /// Nothing more is claimed until the reading was opened again.
    fn doubt(&self) {
        if self.whole.send_replace(false) {
            tracing::warn!("a claim does not come back; reading what is frozen again");
            self.doubted.notify_one();
        }
    }
}

impl Passage {
    /// Waits until the claim, stored at `claim_seq`, has come back in the order of the log.
    ///
    /// # Errors
    /// How the run ends that may not begin.
    pub(crate) async fn pass(&mut self, claim_seq: u64) -> Result<(), End> {
        let late = || End::failed("not_begun", "its claim was not seen in the log in time");
        let in_doubt = timeout_at(self.sent + DOUBT_AFTER, &mut self.seen).await;
        let seen = match in_doubt {
            Ok(seen) => seen,
            Err(_) => {
                self.fence.doubt();
                let end = self.sent + BEGIN_WITHIN;
                timeout_at(end, &mut self.seen).await.map_err(|_| late())?
            }
        };
        metrics::fence_passed(self.sent.elapsed().as_secs_f64());
        match seen {
            Ok(seen) if seen.seq == claim_seq => seen.verdict.map_err(|stop| end_of(&stop)),
            // Another message with our id: it is not our claim that was let through.
            Ok(_) | Err(_) => Err(late()),
        }
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        self.fence.state().waiting.remove(&self.id);
    }
}

/// How a run ends that may not begin.
fn end_of(stop: &Stop) -> End {
    match stop {
        Stop::Frozen(void) => End::failed("frozen", sentence(void)),
        Stop::TooLate => End::failed(
            "not_begun",
            "its claim was seen in the log too late, so nothing was done",
        ),
    }
}

fn sentence(void: &Void) -> String {
    format!("{} Nothing was done.", stopped(void))
}

impl State {
    /// Takes in the next message of the log.
    fn deliver(&mut self, message: &StoredMessage) {
        if let Some((_, at)) = &mut self.place {
            *at = message.seq.max(*at);
        }
        match message.address() {
            Some(Address::ToolStarted { .. }) => self.claimed(message),
            _ => self.applied(message),
        }
    }

    fn applied(&mut self, message: &StoredMessage) {
        let found = read(&message.as_last());
        let effect = self.freezes.apply(&Placed {
            seq: message.seq,
            stored_at: message.stored_at,
            read: &found,
        });
        match effect {
            Effect::Blind => bus_metrics::alarm("unreadable_message", &message.subject),
            Effect::NotOurs => bus_metrics::alarm("foreign_message", &message.subject),
            _ => tracing::info!(seq = message.seq, ?effect, "an order of an operator"),
        }
    }

    fn claimed(&mut self, message: &StoredMessage) {
        let ours = message
            .header(headers::MSG_ID)
            .and_then(|id| self.waiting.remove(id));
        let Some(waiting) = ours else {
            return;
        };
        let claim = Claim {
            target: Target {
                agent: &waiting.agent,
                tool: &waiting.tool,
                requester: &waiting.requester,
            },
            decided: waiting.decided,
        };
        let verdict = may_begin(&self.freezes, &claim, waiting.sent.elapsed());
        let seq = message.seq;
        // A run that gave up hears nothing, and does nothing.
        drop(waiting.tell.send(Seen { seq, verdict }));
    }
}

/// Keeps the reading until it is dropped.
pub(crate) async fn follow(fence: Arc<Fence>, bus: Bus, part: HealthPart) {
    loop {
        let ended = session(&fence, &bus, &part).await;
        fence.whole.send_replace(false);
        part.failing("what is frozen is being read again; nothing is claimed meanwhile");
        if let Err(error) = ended {
            tracing::warn!(%error, "the reading of freezes and claims broke");
        }
        tokio::time::sleep(REOPEN_AFTER).await;
    }
}

async fn session(fence: &Fence, bus: &Bus, part: &HealthPart) -> Result<(), BusError> {
    let from = match resumed(fence, bus).await? {
        Some(from) => from,
        None => begun(fence, bus).await?,
    };
    let stream = Stream::Events.name();
    let replay = bus.replay(stream, &FILTERS, ReplayFrom::Seq(from)).await?;
    let mut caught_up = replay.is_empty();
    let mut messages = replay.messages();
    let mut looks = tokio::time::interval(LOOK_EVERY);
    loop {
        if caught_up && !*fence.whole.borrow() {
            fence.whole.send_replace(true);
            part.ready();
        }
        tokio::select! {
            biased;
            () = fence.doubted.notified() => return Ok(()),
            next = messages.next() => {
                let Some(next) = next else { return Ok(()) };
                let replayed = next?;
                fence.state().deliver(&replayed.message);
                caught_up |= replayed.pending == 0;
            }
            _ = looks.tick() => if !bus.is_connected() {
                return Ok(());
            }
        }
    }
}

/// Where the reading goes on, if the stream is the one that was read before.
async fn resumed(fence: &Fence, bus: &Bus) -> Result<Option<u64>, BusError> {
    let life = bus.incarnation(Stream::Events).await?;
    let state = fence.state();
    let place = state.place.as_ref();
    Ok(place
        .filter(|(known, _)| *known == life)
        .map(|(_, at)| at + 1))
}

/// Reads what is frozen to its end; where the ordered reading begins.
///
/// The end of the log is asked for first and the last `control.applied` after it, both of
/// the leader: whatever lies up to that end is read here, whatever comes behind it is read
/// in order with the claims.
async fn begun(fence: &Fence, bus: &Bus) -> Result<u64, BusError> {
    let life = bus.incarnation(Stream::Events).await?;
    let end = bus
        .jetstream()
        .get_stream(Stream::Events.name())
        .await
        .map_err(|error| unread(error.to_string()))?
        .cached_info()
        .state
        .last_sequence;
    let last = bus.last_by_subject(Stream::Events, FREEZES).await?;
    let mut fresh = State::default();
    if let Some(last) = last {
        let read = timeout(READ_WITHIN, read_up_to(&mut fresh, bus, last.seq)).await;
        read.map_err(|_| unread("it takes too long"))??;
    }
    let mut state = fence.state();
    state.freezes = fresh.freezes;
    state.place = Some((life, end));
    Ok(end + 1)
}

fn unread(reason: impl Into<String>) -> BusError {
    BusError::Request {
        what: "cannot read what is frozen".to_owned(),
        reason: reason.into(),
    }
}

async fn read_up_to(fresh: &mut State, bus: &Bus, last: u64) -> Result<(), BusError> {
    let stream = Stream::Events.name();
    let replay = bus.replay(stream, &[FREEZES], ReplayFrom::Start).await?;
    let mut messages = replay.messages();
    while fresh.freezes.at() < last {
        let Some(next) = messages.next().await else {
            return Err(unread("the delivery stopped"));
        };
        fresh.applied(&next?.message);
    }
    Ok(())
}

#[cfg(test)]
#[path = "fence/tests.rs"]
mod tests;
