//! The sweep: every approved intent gets an end, whoever died. An index of the open ones is
//! rebuilt from the stream at each start and kept by the same reading.

mod ends;
mod index;
mod stops;

use std::sync::Arc;
use std::time::Duration;

use countersign_domain::chain::{End, Head, Last, is_unreadable};
use countersign_runtime::bus::{BusError, ReplayFrom, StoredMessage};
use countersign_runtime::health::HealthPart;
use countersign_schemas::events::{Outcome, ToolApproved};
use countersign_schemas::{Address, Event, IntentId, Stream, Timestamp, headers, limits};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;

use crate::counters;
use crate::office::Office;
use index::Index;
use stops::Stops;

/// What the index is made from.
const FILTERS: [&str; 6] = [
    "tool.approved.>",
    "tool.started.>",
    "tool.completed.>",
    "tool.revoked.>",
    "control.applied.>",
    "control.done.>",
];
/// Ends looked into at once: each is a read and a write.
const RUNNING_MAX: usize = 64;
/// Pause before a broken feed is opened again.
const REOPEN_AFTER: Duration = Duration::from_millis(500);
/// When an intent is looked at again after its end could not be stored.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// When an intent is looked at again whose last message this version cannot read.
const NOT_OURS_AGAIN: Duration = Duration::from_secs(60);
/// When an intent is looked at again whose end is stored and has not come.
const ENDED_AGAIN: Duration = Duration::from_secs(60);
/// How long after a permit or lease its end is certain on every machine.
const SKEW: Duration = Duration::from_secs(limits::CLOCK_SKEW_SECONDS);

/// What came of looking at one intent.
enum Looked {
    /// It has an end; look again then, should that never come.
    Ended(IntentId, Timestamp),
    /// Look again then.
    Again(IntentId, Timestamp),
    /// People were told of an unknown outcome.
    Told,
}

type Work = FuturesUnordered<BoxFuture<'static, Looked>>;

/// Runs the sweep until shutdown.
pub(crate) async fn run(office: Arc<Office>) -> Result<(), BusError> {
    let part = office.health.part("sweep");
    loop {
        let fed = tokio::select! {
            () = office.shutdown.cancelled() => return Ok(()),
            fed = session(&office, &part) => fed,
        };
        if let Err(error) = fed {
            part.failing("the open intents are being read again");
            tracing::warn!(%error, "the feed of the sweep broke; opening it again");
        }
        tokio::time::sleep(REOPEN_AFTER).await;
    }
}

async fn session(office: &Arc<Office>, part: &HealthPart) -> Result<(), BusError> {
    let replay = office
        .bus
        .replay(Stream::Events.name(), &FILTERS, ReplayFrom::Start)
        .await?;
    let mut caught_up = replay.is_empty();
    let mut messages = replay.messages();
    let mut index = Index::default();
    let mut work = Work::new();
    let mut stops = Stops::default();
    loop {
        if caught_up {
            part.ready();
            stops.begin(office);
            counters::open(index.len());
        }
        let room = work.len() < RUNNING_MAX;
        let due = index.next_due().filter(|_| caught_up && room);
        tokio::select! {
            Some(looked) = work.next(), if !work.is_empty() => take_back(&mut index, looked),
            next = messages.next(), if room => {
                let Some(next) = next else { return Ok(()) };
                let replayed = next?;
                caught_up |= replayed.pending == 0;
                stops.take_in(&replayed.message, &index);
                take_in(office, &mut index, &mut work, replayed.message);
            }
            () = wait(office, due), if due.is_some() => {
                start(office, &mut index, &mut work);
            }
        }
    }
}

async fn wait(office: &Office, due: Option<Timestamp>) {
    if let Some(due) = due {
        office.clock.sleep_until(due).await;
    }
}

fn take_back(index: &mut Index, looked: Looked) {
    match looked {
        // It leaves when its end comes in the order of the log: a freeze that lies before
        // the end must still find it open.
        Looked::Ended(intent, at) => index.again(intent, at),
        Looked::Again(intent, at) => index.again(intent, at),
        Looked::Told => {}
    }
}

fn start(office: &Arc<Office>, index: &mut Index, work: &mut Work) {
    let now = office.clock.now();
    while work.len() < RUNNING_MAX {
        let Some((intent, open)) = index.take_due(now) else {
            return;
        };
        work.push(Box::pin(ends::look(Arc::clone(office), intent, open)));
    }
}

/// Takes in one message of a chain, if it is ours: bytes that somebody else laid there end
/// nothing. A permit's own end is read only when it may be over: decoding every decision
/// would cost the path of allowed intents.
fn take_in(office: &Arc<Office>, index: &mut Index, work: &mut Work, message: StoredMessage) {
    let (seq, stored_at) = (message.seq, message.stored_at);
    let address = message.address();
    if let Some(Address::ToolRevoked { intent, .. } | Address::ToolCompleted { intent, .. }) =
        &address
    {
        office.windows.stir(*intent);
    }
    match address {
        Some(Address::ToolApproved { agent, intent }) if says::<ToolApproved>(&message) => {
            let due = stored_at.plus(office.permit_life).plus(SKEW);
            index.put(&agent, intent, seq, stored_at, due);
        }
        Some(Address::ToolStarted { agent, intent }) => {
            let last = last_of(&message);
            let lease = match Head::read(Some(last), &agent, intent) {
                Head::Claimed { started, .. } => started.lease_until,
                // A newer service's claim: it is looked at, and left alone until an update.
                _ if is_unreadable(&last) => stored_at,
                _ => return,
            };
            index.put(&agent, intent, seq, stored_at, lease.plus(SKEW));
            index.claimed(intent);
        }
        Some(Address::ToolRevoked { agent, intent } | Address::ToolCompleted { agent, intent }) => {
            let last = last_of(&message);
            let end = match Head::read(Some(last), &agent, intent) {
                Head::Ended { end, .. } => Some(end),
                _ if is_unreadable(&last) => None,
                _ => return,
            };
            index.remove(intent);
            if end.is_some_and(|end| is_unknown(&end)) {
                work.push(Box::pin(ends::tell(Arc::clone(office), message)));
            }
        }
        _ => {}
    }
}

fn says<E: Event>(message: &StoredMessage) -> bool {
    message.header(headers::CE_TYPE) == Some(headers::ce_type::<E>().as_str())
}

fn last_of(message: &StoredMessage) -> Last<'_> {
    Last {
        subject: &message.subject,
        seq: message.seq,
        ce_type: message.header(headers::CE_TYPE),
        body: &message.payload,
    }
}

/// Whether nobody knows if it happened: the sweep says so of a claim that ended in silence,
/// an executor of a call that was cut off.
fn is_unknown(end: &End) -> bool {
    match end {
        End::Completed(completed) => completed.outcome == Outcome::Unknown,
        End::Blocked(_) | End::Revoked(_) => false,
    }
}
