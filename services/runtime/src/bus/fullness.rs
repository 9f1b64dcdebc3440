//! How full a stream is: no evidence, no action.
//!
//! An archived stream refuses messages when it is full, so new work stops early and what
//! is left is room for outcomes, revocations, freezes and resolutions.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::stream::Info;
use countersign_schemas::Stream;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::connection::Bus;
use super::failure::{BusError, Failure};
use super::metrics;

/// From this share of a stream's size on nothing new is begun, in percent.
pub const FULL_PERCENT: u64 = 80;
/// How long a reading counts: what is stored within it is far less than the room that is
/// kept free, and asking for every message would cost more than the message.
const READING_FRESH: Duration = Duration::from_secs(1);
/// Pause before an input comes again: an archiver that was down makes room in seconds.
const FULL_RETRY: Duration = Duration::from_secs(5);

/// The last reading of each stream.
#[derive(Debug, Default)]
pub(super) struct Readings {
    intents: Mutex<Option<Reading>>,
    control: Mutex<Option<Reading>>,
    events: Mutex<Option<Reading>>,
    timers: Mutex<Option<Reading>>,
}

impl Readings {
    fn of(&self, stream: Stream) -> &Mutex<Option<Reading>> {
        match stream {
            Stream::Intents => &self.intents,
            Stream::Control => &self.control,
            Stream::Events => &self.events,
            Stream::Timers => &self.timers,
        }
    }
}

/// One answer of the server. A failure counts as long as a number does: those who waited
/// for it would otherwise ask one after the other.
#[derive(Debug)]
struct Reading {
    at: Instant,
    percent: Result<u64, Arc<str>>,
}

impl Bus {
    /// How much of its size `stream` holds, in percent, read at most once a second.
    ///
    /// # Errors
    /// When the server does not answer or the stream does not exist.
    pub async fn fullness(&self, stream: Stream) -> Result<u64, BusError> {
        let mut last = self.readings().of(stream).lock().await;
        let fresh = last
            .take()
            .filter(|reading| reading.at.elapsed() < READING_FRESH);
        let reading = match fresh {
            Some(reading) => reading,
            None => self.read_fullness(stream).await,
        };
        let percent = reading.percent.clone();
        *last = Some(reading);
        percent.map_err(|reason| {
            BusError::request(format!("cannot read how full stream {stream} is"), reason)
        })
    }

    /// Refuses new work while one of `streams` is nearly full, or while nobody knows.
    ///
    /// # Errors
    /// A transient failure; the input comes again.
    pub async fn require_room(&self, streams: &[Stream]) -> Result<(), Failure> {
        for stream in streams {
            let percent = self.fullness(*stream).await?;
            if percent >= FULL_PERCENT {
                return Err(Failure::transient_in(
                    nearly_full(*stream, percent),
                    FULL_RETRY,
                ));
            }
        }
        Ok(())
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
         see that the archiver runs, or raise the stream's size"
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
}
