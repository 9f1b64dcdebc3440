//! How full a stream is: no evidence, no action.
//!
//! An archived stream refuses messages when it is full, so new work stops early and what
//! is left is room for outcomes, revocations, freezes and resolutions.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_nats::jetstream::stream::Info;
use countersign_schemas::Stream;
use futures::future::try_join_all;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::connection::Bus;
use super::failure::{BusError, Failure};
use super::metrics;

/// From this share of a stream's size on nothing new is begun, in percent.
pub const FULL_PERCENT: u64 = 80;
/// How long a reading is good: asking for every message would cost more than the message.
const READING_FRESH: Duration = Duration::from_secs(1);
/// How long a reading still serves while a new one is fetched, so that no message waits
/// for it: what is stored within it is far less than the room that is kept free.
const READING_USABLE: Duration = Duration::from_secs(3);
/// Pause before an input comes again: an archiver that was down makes room in seconds.
const FULL_RETRY: Duration = Duration::from_secs(5);

/// The last reading of each stream.
#[derive(Debug, Default)]
pub(super) struct Readings {
    intents: Arc<Slot>,
    control: Arc<Slot>,
    orders: Arc<Slot>,
    events: Arc<Slot>,
    timers: Arc<Slot>,
}

impl Readings {
    fn of(&self, stream: Stream) -> &Arc<Slot> {
        match stream {
            Stream::Intents => &self.intents,
            Stream::Control => &self.control,
            Stream::Orders => &self.orders,
            Stream::Events => &self.events,
            Stream::Timers => &self.timers,
        }
    }
}

#[derive(Debug, Default)]
struct Slot {
    last: RwLock<Option<Reading>>,
    /// Held by the one who asks the server.
    asking: Arc<Mutex<()>>,
}

/// One answer of the server. A failure counts as long as a number does: those who waited
/// for it would otherwise ask one after the other.
#[derive(Debug, Clone)]
struct Reading {
    at: Instant,
    percent: Result<u64, Arc<str>>,
}

/// How far a reading may be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Age {
    Fresh,
    Usable,
    Old,
}

fn age(of: Duration) -> Age {
    if of < READING_FRESH {
        Age::Fresh
    } else if of < READING_USABLE {
        Age::Usable
    } else {
        Age::Old
    }
}

impl Slot {
    fn last(&self) -> Option<(Reading, Age)> {
        let last = self.last.read().unwrap_or_else(PoisonError::into_inner);
        last.clone().map(|reading| {
            let age = age(reading.at.elapsed());
            (reading, age)
        })
    }

    fn keep(&self, reading: Reading) {
        *self.last.write().unwrap_or_else(PoisonError::into_inner) = Some(reading);
    }
}

impl Bus {
    /// How much of its size `stream` holds, in percent, read about once a second.
    ///
    /// # Errors
    /// When the server does not answer or the stream does not exist.
    pub async fn fullness(&self, stream: Stream) -> Result<u64, BusError> {
        let slot = self.readings().of(stream);
        let reading = match slot.last() {
            Some((reading, Age::Fresh)) => reading,
            Some((reading, Age::Usable)) => {
                self.refresh(stream, slot);
                reading
            }
            Some((_, Age::Old)) | None => self.wait_for_reading(stream, slot).await,
        };
        reading.percent.map_err(|reason| {
            BusError::request(format!("cannot read how full stream {stream} is"), reason)
        })
    }

    /// Fetches a new reading beside the messages, unless somebody does already.
    fn refresh(&self, stream: Stream, slot: &Arc<Slot>) {
        let Ok(asking) = Arc::clone(&slot.asking).try_lock_owned() else {
            return;
        };
        let (bus, slot) = (self.clone(), Arc::clone(slot));
        tokio::spawn(async move {
            slot.keep(bus.read_fullness(stream).await);
            drop(asking);
        });
    }

    async fn wait_for_reading(&self, stream: Stream, slot: &Slot) -> Reading {
        let _asking = slot.asking.lock().await;
        if let Some((reading, Age::Fresh)) = slot.last() {
            return reading;
        }
        let reading = self.read_fullness(stream).await;
        slot.keep(reading.clone());
        reading
    }

    /// Refuses new work while one of `streams` is nearly full, or while nobody knows.
    ///
    /// # Errors
    /// A transient failure; the input comes again.
    pub async fn require_room(&self, streams: &[Stream]) -> Result<(), Failure> {
        let readings = streams.iter().map(|stream| self.fullness(*stream));
        let readings = try_join_all(readings).await?;
        let full = streams
            .iter()
            .zip(readings)
            .find(|(_, percent)| *percent >= FULL_PERCENT);
        match full {
            Some((stream, percent)) => Err(Failure::transient_in(
                nearly_full(*stream, percent),
                FULL_RETRY,
            )),
            None => Ok(()),
        }
    }

    async fn read_fullness(&self, stream: Stream) -> Reading {
        let answer = self.jetstream().get_stream(stream.name()).await;
        let percent = answer
            .map(|found| percent_of(found.cached_info()))
            .map_err(|error| Arc::from(error.to_string()));
        if let Ok(percent) = &percent
            && *percent >= FULL_PERCENT
        {
            metrics::alarm("stream_nearly_full", &nearly_full(stream, *percent));
        }
        Reading {
            at: Instant::now(),
            percent,
        }
    }
}

fn nearly_full(stream: Stream, percent: u64) -> String {
    format!(
        "stream {stream} is {percent} % full and new work stops at {FULL_PERCENT} %: \
         what is archived and done goes by itself, and `countersign doctor` says what holds \
         the rest; else raise nats.stream_mib and run setup"
    )
}

fn percent_of(info: &Info) -> u64 {
    share(info.state.bytes, info.config.max_bytes)
}

/// A stream without a size is never full.
fn share(bytes: u64, max: i64) -> u64 {
    match u64::try_from(max) {
        Ok(0) | Err(_) => 0,
        Ok(max) => bytes.saturating_mul(100) / max,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_rounded_down_and_never_wraps() {
        let table = [
            (0, 1_000, 0),
            (799, 1_000, 79),
            (800, 1_000, 80),
            (1_200, 1_000, 120),
            (5, -1, 0),
            (5, 0, 0),
        ];
        for (bytes, max, percent) in table {
            assert_eq!(share(bytes, max), percent, "{bytes} of {max}");
        }
        assert!(share(u64::MAX, i64::MAX) >= 1);
    }

    #[test]
    fn a_reading_serves_for_a_while_and_never_for_long() {
        let table = [
            (0, Age::Fresh),
            (999, Age::Fresh),
            (1_000, Age::Usable),
            (2_999, Age::Usable),
            (3_000, Age::Old),
            (86_400_000, Age::Old),
        ];
        for (milliseconds, expected) in table {
            assert_eq!(age(Duration::from_millis(milliseconds)), expected);
        }
    }
}
