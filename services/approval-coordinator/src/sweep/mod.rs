//! The sweep: every approved intent gets an end, whoever died. An index of the open ones is
//! rebuilt from the stream at each start and kept by the same reading.

mod ends;
mod index;
mod stops;

use std::sync::Arc;
use std::time::Duration;

use countersign_domain::chain::{End, Head, is_unreadable};
use countersign_domain::handoff;
use countersign_runtime::bus::{BusError, Followed, ReplayFrom, Source, StoredMessage};
use countersign_schemas::events::{Outcome, ToolApproved};
use countersign_schemas::{Address, IntentId, Stream, Timestamp, limits};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;

use crate::counters;
use crate::office::{Office, is_type};
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
    /// People were told of an end, where they must be.
    Told,
}

type Work = FuturesUnordered<BoxFuture<'static, Looked>>;

/// Runs the sweep until shutdown.
pub(crate) async fn run(office: Arc<Office>) -> Result<(), BusError> {
    let shutdown = office.shutdown.clone();
    shutdown.run_until_cancelled(keep(&office)).await;
    Ok(())
}

/// What is known of the log.
#[derive(Default)]
struct Known {
    index: Index,
    work: Work,
    stops: Stops,
    caught_up: bool,
}

async fn keep(office: &Arc<Office>) {
    let part = office.health.part("sweep");
    let source = Source {
        what: "the open intents",
        stream: Stream::Events.name().to_owned(),
        filters: FILTERS.map(str::to_owned).to_vec(),
        from: ReplayFrom::Start,
    };
    let mut feed = office.bus.follow(source, &part);
    let mut known = Known::default();
    loop {
        if known.caught_up {
            part.ready();
            known.stops.begin(office);
            counters::open(known.index.len());
        }
        let room = known.work.len() < RUNNING_MAX;
        let due = known.index.next_due().filter(|_| known.caught_up && room);
        tokio::select! {
            Some(looked) = known.work.next(), if !known.work.is_empty() => {
                take_back(&mut known.index, looked);
            }
            Some(next) = feed.next(), if room => match next {
                Followed::Message(message) => {
                    known.stops.take_in(&message, &known.index);
                    take_in(office, &mut known.index, &mut known.work, message);
                }
                Followed::CaughtUp => known.caught_up = true,
                Followed::Broken => known = Known::default(),
            },
            () = wait(office, due), if due.is_some() => {
                start(office, &mut known.index, &mut known.work);
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
        Some(Address::ToolApproved { agent, intent }) if is_type::<ToolApproved>(&message) => {
            let due = stored_at.plus(office.permit_life).plus(SKEW);
            index.put(&agent, intent, seq, stored_at, due);
        }
        Some(Address::ToolStarted { agent, intent }) => {
            let last = message.as_last();
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
            let last = message.as_last();
            let end = match Head::read(Some(last), &agent, intent) {
                Head::Ended { end, .. } => Some(end),
                _ if is_unreadable(&last) => None,
                _ => return,
            };
            index.remove(intent);
            if end.is_some_and(|end| is_for_people(&end)) {
                work.push(Box::pin(ends::tell(Arc::clone(office), message)));
            }
        }
        _ => {}
    }
}

/// Whether people may have to hear of it: nobody knows if it happened (the sweep says so of
/// a claim that ended in silence, an executor of a call that was cut off), or it may be
/// something that they approved.
fn is_for_people(end: &End) -> bool {
    match end {
        End::Completed(completed) => completed.outcome == Outcome::Unknown,
        End::Revoked(revoked) => handoff::is_told(revoked.code),
        End::Blocked(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A coordinator whose reading is behind may end a claim before it comes to a freeze that
    /// lies before that end, and the freeze still names the claim as running.
    #[test]
    fn what_the_sweep_ended_is_open_until_its_end_comes_in_the_order_of_the_log() {
        let mut index = Index::default();
        let intent = IntentId::new_at(Timestamp::EPOCH);
        let agent = "billing".parse().unwrap();
        let now = Timestamp::EPOCH;
        index.put(&agent, intent, 7, now, now);
        index.claimed(intent);
        index.take_due(now).unwrap();
        take_back(&mut index, Looked::Ended(intent, now.plus(ENDED_AGAIN)));
        let open = index.open_of(None);
        assert!(matches!(open.as_slice(), [(id, one)] if *id == intent && one.claimed));
        assert_eq!(index.next_due(), Some(now.plus(ENDED_AGAIN)));
        index.remove(intent);
        assert!(index.open_of(None).is_empty());
    }
}
