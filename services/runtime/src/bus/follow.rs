//! Following a stream for as long as a service runs: read to its end, then live, and from
//! the beginning again whenever a reading breaks.
//!
//! A stream that was made anew, as by a restore, counts its messages from one again. The
//! client would go on behind the place that it had reached, and leave out all before it;
//! so it is looked now and again whether the stream is still the one that was read.

use std::sync::atomic::Ordering;
use std::time::Duration;

use countersign_schemas::Incarnation;
use futures::StreamExt as _;
use futures::stream::{BoxStream, unfold};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::connection::Bus;
use super::failure::BusError;
use super::reading::StoredMessage;
use super::replay::{Replay, ReplayFrom, Replayed};
use crate::health::HealthPart;

/// Pause before a reading is opened again; it doubles while none gets to the end.
const REOPEN_AFTER: Duration = Duration::from_millis(500);
/// The longest such pause: meanwhile nobody knows what has changed.
const REOPEN_AFTER_MAX: Duration = Duration::from_secs(8);

/// How often it is looked whether the stream is still the same.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What is followed.
#[derive(Debug, Clone)]
pub struct Source {
    /// What it holds, in the plural, as health and logs name it.
    pub what: &'static str,
    /// The stream's server name.
    pub stream: String,
    /// The subjects that are wanted.
    pub filters: Vec<String>,
    /// Where every reading begins.
    pub from: ReplayFrom,
}

impl Source {
    /// The last value of every key of a bucket.
    #[must_use]
    pub fn bucket(what: &'static str, bucket: &str) -> Self {
        Self {
            what,
            stream: format!("KV_{bucket}"),
            filters: vec![format!("$KV.{bucket}.>")],
            from: ReplayFrom::LastPerSubject,
        }
    }
}

/// What a follower hears, in this order: messages, once that it has caught up, messages,
/// and, where the reading breaks, that it does; then all of it again.
#[derive(Debug, Clone)]
pub enum Followed {
    /// The next message; none is left out.
    Message(StoredMessage),
    /// All that lay there when the reading began has been told. The part of the service is
    /// ready once its follower has made use of that, and it says so itself.
    CaughtUp,
    /// The reading broke, or the stream is another one; its part of the service is failing, and is told from the beginning
    /// again. What was gathered before may be out of date.
    Broken,
}

impl Bus {
    /// Follows `source`; the answer never ends, and giving up its next item loses nothing.
    #[must_use]
    pub fn follow(&self, source: Source, part: &HealthPart) -> BoxStream<'static, Followed> {
        let follower = Follower {
            bus: self.clone(),
            source,
            part: part.clone(),
            reading: None,
            broken: 0,
        };
        unfold(follower, |mut follower| async move {
            let next = follower.next().await;
            Some((next, follower))
        })
        .boxed()
    }
}

struct Follower {
    bus: Bus,
    source: Source,
    part: HealthPart,
    reading: Option<Reading>,
    /// How many readings broke since one got to the end.
    broken: u32,
}

struct Reading {
    messages: BoxStream<'static, Result<Replayed, BusError>>,
    /// How many messages lie ahead of it.
    ahead: u64,
    caught_up: bool,
    /// Which life of the stream is read, and over which connection that was learnt.
    life: Incarnation,
    connects: u64,
    looks: Interval,
}

impl Reading {
    fn new(replay: Replay, life: Incarnation, connects: u64) -> Self {
        let mut looks = interval_at(Instant::now() + LOOK_EVERY, LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            ahead: replay.pending_at_start(),
            messages: replay.messages(),
            caught_up: false,
            life,
            connects,
            looks,
        }
    }
}

impl Follower {
    async fn next(&mut self) -> Followed {
        let read = match self.reading.take() {
            Some(reading) => Ok(reading),
            None => self.open().await,
        };
        let next = match read {
            Ok(reading) => self.read(reading).await,
            Err(error) => Err(error),
        };
        next.unwrap_or_else(|error| {
            let what = self.source.what;
            self.broken = self.broken.saturating_add(1);
            self.part.failing(format!("{what} are being read again"));
            tracing::warn!(%error, what, "a reading broke; opening it again");
            Followed::Broken
        })
    }

    async fn open(&mut self) -> Result<Reading, BusError> {
        tokio::time::sleep(pause(self.broken)).await;
        let Source {
            stream,
            filters,
            from,
            ..
        } = &self.source;
        // Before the reading: a stream that is made anew during it is another one.
        let connects = self.connects();
        let life = self.bus.ask_incarnation(stream).await?;
        let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
        let replay = self.bus.replay(stream, &filters, *from).await?;
        Ok(Reading::new(replay, life, connects))
    }

    fn connects(&self) -> u64 {
        let statistics = self.bus.client().statistics();
        statistics.connects.load(Ordering::Relaxed)
    }

    /// The next item of a reading, which is kept if it has one.
    async fn read(&mut self, mut reading: Reading) -> Result<Followed, BusError> {
        let next = if reading.ahead == 0 && !reading.caught_up {
            reading.caught_up = true;
            self.broken = 0;
            Followed::CaughtUp
        } else {
            let replayed = self.message(&mut reading).await?;
            reading.ahead = replayed.pending;
            Followed::Message(replayed.message)
        };
        self.reading = Some(reading);
        Ok(next)
    }

    async fn message(&mut self, reading: &mut Reading) -> Result<Replayed, BusError> {
        loop {
            tokio::select! {
                next = reading.messages.next() => {
                    let replayed = next.ok_or_else(|| self.fault("the delivery stopped"))??;
                    let connects = self.connects();
                    if reading.connects != connects {
                        // Behind a new connection it is not believed without a look.
                        let life = self.bus.ask_incarnation(&self.source.stream).await?;
                        self.same(&life, reading)?;
                        reading.connects = connects;
                    }
                    return Ok(replayed);
                }
                _ = reading.looks.tick() => {
                    // Without an answer nothing is known, and no message comes either.
                    if let Ok(life) = self.bus.ask_incarnation(&self.source.stream).await {
                        self.same(&life, reading)?;
                    }
                }
            }
        }
    }

    fn same(&self, life: &Incarnation, reading: &Reading) -> Result<(), BusError> {
        match *life == reading.life {
            true => Ok(()),
            false => Err(self.fault("the stream was made anew")),
        }
    }

    fn fault(&self, reason: &str) -> BusError {
        BusError::request(
            format!("cannot read {} to the end", self.source.what),
            reason,
        )
    }
}

/// How long to wait with the next reading after so many that broke.
fn pause(broken: u32) -> Duration {
    let Some(before) = broken.checked_sub(1) else {
        return Duration::ZERO;
    };
    let factor = 2_u32.saturating_pow(before);
    REOPEN_AFTER.saturating_mul(factor).min(REOPEN_AFTER_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reading_begins_at_once_and_later_ones_ever_later() {
        let table = [
            (0, 0),
            (1, 500),
            (2, 1_000),
            (3, 2_000),
            (5, 8_000),
            (u32::MAX, 8_000),
        ];
        for (broken, millis) in table {
            assert_eq!(pause(broken), Duration::from_millis(millis), "{broken}");
        }
    }
}
