//! Reads one stream in order from the manifest's position on, and makes its rows.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use countersign_domain::archive::{
    self, Headers, Observed, Position, Resume, Row, Scrub, Stored, resume,
};
use countersign_domain::keys::HmacKey;
use countersign_runtime::bus::metrics::alarm;
use countersign_runtime::bus::{Bus, BusError, ReplayFrom, StoredMessage};
use countersign_runtime::health::HealthNumber;
use countersign_schemas::{Incarnation, Stream, headers};
use futures::StreamExt as _;
use tokio::sync::{Semaphore, mpsc};

use crate::batch::Held;
use crate::commit::Item;
use crate::metrics;

/// A redactor that several readers share.
pub type SharedScrub = Arc<dyn Scrub + Send + Sync>;

/// Compares a stream with the archive's position in it.
pub(crate) async fn observe(
    bus: &Bus,
    stream: Stream,
    position: Option<&Position>,
    key: &HmacKey,
) -> Result<Resume, BusError> {
    let info = bus
        .jetstream()
        .get_stream(stream.name())
        .await
        .map_err(|error| BusError::Request {
            what: format!("cannot read the state of stream {stream}"),
            reason: error.to_string(),
        })?;
    let info = info.cached_info();
    let created = Incarnation::of_created(info.created);
    let at_position = match position {
        Some(at) => bus.by_seq(stream, at.seq).await?,
        None => None,
    };
    let observed = Observed {
        first_seq: stream.first_seq(),
        last_seq: info.state.last_sequence,
        at_position: at_position.map(|message| stored(stream, &created, &message).digest(key)),
        created,
    };
    Ok(resume(position, &observed))
}

/// How often this connection was made: a change means that a stream may have been restored
/// behind our back.
pub(crate) fn connects(bus: &Bus) -> u64 {
    bus.client().statistics().connects.load(Ordering::Relaxed)
}

/// Why a reader ended.
#[derive(Debug)]
pub(crate) enum ReaderEnd {
    /// The stream must be compared with the archive again before reading on.
    Again(String),
    /// Nobody takes what it reads.
    Unheard,
}

/// The reader of one stream.
pub(crate) struct Reader {
    pub(crate) bus: Bus,
    pub(crate) stream: Stream,
    pub(crate) at: Resume,
    /// [`connects`] when the stream was compared with the archive.
    pub(crate) connects: u64,
    pub(crate) scrub: SharedScrub,
    /// The key of [`Stored::digest`].
    pub(crate) key: Arc<HmacKey>,
    /// Memory of everything read and not yet committed, in units of [`SHARE_BYTES`].
    pub(crate) budget: Arc<Semaphore>,
    pub(crate) budget_shares: usize,
    pub(crate) out: mpsc::Sender<Held>,
    /// How many messages are stored and not yet read, for operators.
    pub(crate) behind: HealthNumber,
}

/// Bytes of one share of the memory budget.
pub(crate) const SHARE_BYTES: usize = 1024;

impl Reader {
    pub(crate) async fn run(mut self) -> ReaderEnd {
        let from = ReplayFrom::Seq(self.at.next);
        let replay = self.bus.replay(self.stream.name(), &[], from).await;
        let mut messages = match replay {
            Ok(replay) => {
                self.behind.set(replay.pending_at_start());
                replay.messages()
            }
            Err(error) => return ReaderEnd::Again(error.to_string()),
        };
        while let Some(next) = messages.next().await {
            let replayed = match next {
                Ok(replayed) => replayed,
                Err(error) => return ReaderEnd::Again(error.to_string()),
            };
            if connects(&self.bus) != self.connects {
                return ReaderEnd::Again("the connection was made anew".to_owned());
            }
            metrics::behind(self.stream, replayed.pending);
            self.behind.set(replayed.pending);
            if let Some(item) = self.item(&replayed.message)
                && self.hand_over(item).await.is_none()
            {
                return ReaderEnd::Unheard;
            }
        }
        ReaderEnd::Again(format!("the reading of {} ended", self.stream))
    }

    /// The rows of a message; `None` if it was seen before.
    fn item(&mut self, message: &StoredMessage) -> Option<Item> {
        let first = self.at.next;
        if message.seq < first {
            return None;
        }
        let mut rows = Vec::new();
        if message.seq > first {
            let last = message.seq.saturating_sub(1);
            alarm(
                "archive_gap",
                &format!("{} holds no messages {first} to {last}", self.stream),
            );
            let life = &self.at.incarnation;
            rows.push(archive::gap(
                self.stream,
                life,
                first,
                last,
                message.stored_at,
            ));
        }
        let stored = stored(self.stream, &self.at.incarnation, message);
        rows.push(row(&stored, self.scrub.as_ref()));
        self.at.next = message.seq.saturating_add(1);
        Some(Item {
            stream: self.stream,
            incarnation: self.at.incarnation.clone(),
            first_seq: first,
            last_seq: message.seq,
            message: stored.digest(&self.key),
            own: message.subject.starts_with("archive."),
            rows,
        })
    }

    /// Waits for room, then hands the item to the writer.
    async fn hand_over(&self, item: Item) -> Option<()> {
        let bytes: usize = item.rows.iter().map(Row::weight).sum();
        // One item may never ask for more than there is, or it would wait for ever.
        let shares = bytes.div_ceil(SHARE_BYTES).clamp(1, self.budget_shares);
        let shares = u32::try_from(shares).unwrap_or(u32::MAX);
        let share = Arc::clone(&self.budget)
            .acquire_many_owned(shares)
            .await
            .ok()?;
        let held = Held {
            item,
            bytes,
            _share: share,
        };
        self.out.send(held).await.ok()
    }
}

/// A message that brings a reader down must not stop the archive: it keeps its metadata.
fn row(stored: &Stored<'_>, scrub: &dyn Scrub) -> Row {
    catch_unwind(AssertUnwindSafe(|| archive::row(stored, scrub))).unwrap_or_else(|_| {
        alarm(
            "archive_quarantine",
            &format!(
                "message {} of {} has only metadata",
                stored.seq, stored.stream
            ),
        );
        archive::bare_row(stored, "quarantined")
    })
}

fn stored<'a>(
    stream: Stream,
    incarnation: &'a Incarnation,
    message: &'a StoredMessage,
) -> Stored<'a> {
    Stored {
        stream,
        incarnation,
        seq: message.seq,
        stored_at: message.stored_at,
        subject: &message.subject,
        headers: Headers {
            ce_type: message.header(headers::CE_TYPE),
            ce_source: message.header(headers::CE_SOURCE),
            ce_time: message.header(headers::CE_TIME),
            traceparent: message.header(headers::TRACEPARENT),
        },
        payload: &message.payload,
    }
}

#[cfg(test)]
mod tests {
    use countersign_domain::archive::{Level, ScrubError, Scrubbed};
    use countersign_schemas::{JsonObject, Timestamp};

    use super::*;

    struct Broken;

    impl Scrub for Broken {
        fn text(&self, _: &str) -> Result<Scrubbed<String>, ScrubError> {
            panic!("a bug in the redactor")
        }

        fn json(&self, _: &JsonObject) -> Result<Scrubbed<JsonObject>, ScrubError> {
            panic!("a bug in the redactor")
        }
    }

    #[test]
    fn a_message_that_breaks_the_conversion_is_quarantined_as_metadata() {
        let life = "abc".parse().unwrap();
        let body = br#"{"intent_id":"01920000-0000-7000-8000-000000000001","reason":"x"}"#;
        let stored = Stored {
            stream: Stream::Intents,
            incarnation: &life,
            seq: 3,
            stored_at: Timestamp::EPOCH,
            subject: "tool.withdrawn.billing",
            headers: Headers::default(),
            payload: body,
        };
        let row = row(&stored, &Broken);
        assert_eq!((row.seq, row.level), (3, Level::Metadata));
        assert_eq!(row.reason_codes, ["quarantined"]);
        assert_eq!(row.agent_id.as_deref(), Some("billing"));
    }
}
