//! Reading a stream from some point, in order, without acks: for indexes that are rebuilt
//! at start, and for the archiver, whose own manifest says how far it is.

use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use countersign_schemas::Timestamp;
use futures::StreamExt as _;
use futures::stream::BoxStream;

use super::connection::Bus;
use super::failure::BusError;
use super::reading::StoredMessage;

/// Where to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayFrom {
    /// At the first message that is left.
    Start,
    /// At this sequence.
    Seq(u64),
    /// At the first message that was stored at this time or later.
    Time(Timestamp),
    /// With the last message of every subject.
    LastPerSubject,
}

/// One message of a replay.
#[derive(Debug, Clone)]
pub struct Replayed {
    /// The message.
    pub message: StoredMessage,
    /// How many more there were when it was sent; 0 at the end of the stream.
    pub pending: u64,
}

/// An open replay.
pub struct Replay {
    pending_at_start: u64,
    messages: BoxStream<'static, Result<Replayed, BusError>>,
}

impl Replay {
    /// Whether there was nothing to read when it was opened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pending_at_start == 0
    }

    /// How many messages there were to read when it was opened.
    #[must_use]
    pub fn pending_at_start(&self) -> u64 {
        self.pending_at_start
    }

    /// The messages: first those that are there, then those that come. In order and
    /// without a gap; an error ends it, and the caller opens a new one.
    #[must_use]
    pub fn messages(self) -> BoxStream<'static, Result<Replayed, BusError>> {
        self.messages
    }
}

impl Bus {
    /// Opens an ordered reading of `stream` (its server name) over `filters`.
    ///
    /// # Errors
    /// When the consumer cannot be made.
    pub async fn replay(
        &self,
        stream: &str,
        filters: &[&str],
        from: ReplayFrom,
    ) -> Result<Replay, BusError> {
        let what = format!("cannot read stream {stream} in order");
        let config = pull::OrderedConfig {
            // With a name in the subject the server's permissions see which consumer is
            // made; the form without one could rewrite a durable consumer of others.
            name: Some(format!("replay-{:032x}", rand::random::<u128>())),
            filter_subjects: filters.iter().map(|&filter| filter.to_owned()).collect(),
            deliver_policy: match from {
                ReplayFrom::Start => DeliverPolicy::All,
                ReplayFrom::Seq(start_sequence) => {
                    DeliverPolicy::ByStartSequence { start_sequence }
                }
                ReplayFrom::Time(at) => DeliverPolicy::ByStartTime {
                    start_time: at.datetime(),
                },
                ReplayFrom::LastPerSubject => DeliverPolicy::LastPerSubject,
            },
            ..Default::default()
        };
        let consumer = self
            .jetstream()
            .create_consumer_on_stream(config, stream)
            .await
            .map_err(|error| BusError::request(what.as_str(), error))?;
        let pending_at_start = consumer.cached_info().num_pending;
        let messages = consumer
            .messages()
            .await
            .map_err(|error| BusError::request(what.as_str(), error))?;
        let messages = messages
            .map(move |next| read(next.map_err(|error| BusError::request(what.as_str(), error))?))
            .boxed();
        Ok(Replay {
            pending_at_start,
            messages,
        })
    }
}

fn read(message: async_nats::jetstream::Message) -> Result<Replayed, BusError> {
    let info = message
        .info()
        .map_err(|error| BusError::request("cannot read a delivery's coordinates", error))?;
    Ok(Replayed {
        pending: info.pending,
        message: StoredMessage {
            seq: info.stream_sequence,
            stored_at: Timestamp::new(info.published),
            subject: message.subject.to_string(),
            headers: message.headers.clone().unwrap_or_default(),
            payload: message.payload.clone(),
        },
    })
}
