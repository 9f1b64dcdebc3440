//! The loop of every service: deliver, handle many at once, ack what is done.
//!
//! The order is the reverse of what loses messages: a handler publishes its outputs and
//! waits for their acks, and only then is its input acked. Each message is handled in a
//! task of its own, so that judging and signing use every core.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::{Consumer, pull};
use async_nats::jetstream::message::Acker;
use async_nats::jetstream::{AckKind, Message};
use bytes::Bytes;
use countersign_domain::chain::Last;
use countersign_domain::redact::Redactor;
use countersign_schemas::events::DeadLetter;
use countersign_schemas::{Address, Incarnation, SeqToken, ServiceId, Stream, Timestamp, headers};
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::connection::Bus;
use super::failure::{BusError, Failure};
use super::layout::Durable;
use super::metrics;
use super::outgoing::{Meta, Outgoing};

/// How long one pull request stands.
const PULL_EXPIRES: Duration = Duration::from_secs(20);
/// A pull that hears nothing for twice this long is taken for dead and renewed.
const PULL_HEARTBEAT: Duration = Duration::from_secs(5);
/// Pause before a broken subscription is opened again.
const REOPEN_AFTER: Duration = Duration::from_millis(250);

/// A stored message, delivered.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// Its address; its identity is the one that NATS permissions enforced.
    pub address: Address,
    /// Its subject.
    pub subject: String,
    /// Its stream.
    pub stream: Stream,
    /// Its place, as used in subjects of answers.
    pub token: SeqToken,
    /// Its sequence.
    pub seq: u64,
    /// When it was stored: the time to judge it by.
    pub stored_at: Timestamp,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub payload: Bytes,
    /// How often it was delivered, this time included.
    pub deliveries: u64,
}

impl Incoming {
    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(async_nats::HeaderValue::as_str)
    }

    /// What a reader of chains goes by.
    #[must_use]
    pub fn as_last(&self) -> Last<'_> {
        Last {
            subject: &self.subject,
            seq: self.seq,
            ce_type: self.header(headers::CE_TYPE),
            body: &self.payload,
        }
    }
}

/// What a service does with one message.
pub trait Handler: Send + Sync + 'static {
    /// Hears of a message before anybody handles it, in the order of delivery. Must return
    /// at once: everything else waits for it.
    fn arrives(&self, _address: &Address, _seq: u64) {}

    /// Carries one message to its end: every output is stored when this returns `Ok`.
    fn handle(&self, message: Incoming) -> impl Future<Output = Result<(), Failure>> + Send;

    /// What the service says of itself when it must store a dead letter.
    fn meta(&self) -> Meta;

    /// Reads what is told of a message that failed: what it says of it may hold any of its
    /// values.
    fn redactor(&self) -> &Redactor;
}

/// Bounds of one loop.
#[derive(Debug, Clone, Copy)]
pub struct ConsumeLimits {
    /// Messages handled at once; also how many are asked for in one pull.
    pub in_flight_max: usize,
}

impl Default for ConsumeLimits {
    /// 1,000: enough to hide the ack latency of a loaded server (Little's law at 100,000
    /// messages/s and 10 ms), and bounded in memory by the largest body.
    fn default() -> Self {
        Self {
            in_flight_max: 1_000,
        }
    }
}

/// Characters of an error kept in a dead letter: a line that a person reads.
const ERROR_CHARS_MAX: usize = 500;

enum Done {
    Acked,
    Fatal(String),
}

/// Runs `handler` over a durable until `shutdown`, then finishes what is in flight.
///
/// # Errors
/// When the durable cannot be opened at the start, or a handler reports a fatal failure.
pub async fn consume<H: Handler>(
    bus: &Bus,
    durable: Durable,
    handler: Arc<H>,
    limits: ConsumeLimits,
    shutdown: CancellationToken,
) -> Result<(), BusError> {
    let mut messages = open(bus, durable, limits).await?;
    // Dropped on a fatal failure: what it holds is given up un-acked and comes again.
    let mut running = JoinSet::new();
    loop {
        let room = running.len() < limits.in_flight_max;
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(done) = running.join_next(), if !running.is_empty() => {
                goes_on(done)?;
                metrics::in_flight(durable.name, running.len());
            }
            delivered = messages.next(), if room => match delivered {
                Some(Ok(message)) => {
                    if let Some(life) = life_of(bus, durable.stream, &shutdown).await {
                        let (bus, handler) = (bus.clone(), Arc::clone(&handler));
                        let place = place_of(durable.stream, &message);
                        if let Ok(place) = &place {
                            handler.arrives(&place.address, place.seq);
                        }
                        running.spawn(carry(bus, durable, handler, message, place, life));
                    }
                }
                other => {
                    let error = other.map(|result| result.err().map(|e| e.to_string()));
                    tracing::warn!(durable = durable.name, ?error, "delivery stopped; reopening");
                    messages = reopen(bus, durable, limits, &shutdown).await;
                }
            },
        }
    }
    give_back(durable, &mut messages).await;
    while let Some(done) = running.join_next().await {
        goes_on(done)?;
    }
    Ok(())
}

/// Gives back what was delivered and not begun: else it would come again only when its
/// wait for an ack is over.
async fn give_back(durable: Durable, messages: &mut Deliveries) {
    while let Some(Some(Ok(message))) = messages.next().now_or_never() {
        if let Err(error) = message.ack_with(AckKind::Nak(None)).await {
            tracing::debug!(durable = durable.name, %error, "cannot give a message back");
        }
    }
}

/// An error where the service must not go on: a fatal failure, or a handler that broke.
fn goes_on(done: Result<Done, JoinError>) -> Result<(), BusError> {
    match done {
        Ok(Done::Acked) => Ok(()),
        Ok(Done::Fatal(what)) => Err(BusError::Fatal { what }),
        // What a panic says may hold a value of the message; where it broke is on stderr.
        Err(broken) => Err(BusError::Fatal {
            what: match broken.is_panic() {
                true => "a handler panicked".to_owned(),
                false => "a handler was cancelled".to_owned(),
            },
        }),
    }
}

/// Which life the stream is in; asked until the server answers, `None` at shutdown. A
/// message that is dropped here was not acked and comes again.
async fn life_of(bus: &Bus, stream: Stream, shutdown: &CancellationToken) -> Option<Incarnation> {
    loop {
        match bus.incarnation(stream).await {
            Ok(life) => return Some(life),
            Err(error) => tracing::warn!(%stream, %error, "cannot learn the stream's life yet"),
        }
        tokio::select! {
            () = shutdown.cancelled() => return None,
            () = tokio::time::sleep(REOPEN_AFTER) => {}
        }
    }
}

type Deliveries = BoxStream<'static, <pull::Stream as futures::Stream>::Item>;

async fn open(bus: &Bus, durable: Durable, limits: ConsumeLimits) -> Result<Deliveries, BusError> {
    let what = || {
        format!(
            "cannot open consumer {} of {}",
            durable.name, durable.stream
        )
    };
    let consumer: Consumer<pull::Config> = bus
        .jetstream()
        .get_consumer_from_stream(durable.name, durable.stream.name())
        .await
        .map_err(|error| BusError::request(what(), error))?;
    consumer
        .stream()
        .max_messages_per_batch(limits.in_flight_max)
        .expires(PULL_EXPIRES)
        .heartbeat(PULL_HEARTBEAT)
        .messages()
        .await
        .map(futures::StreamExt::boxed)
        .map_err(|error| BusError::request(what(), error))
}

/// Opens again until it works: a server that restarts is no reason to stop.
async fn reopen(
    bus: &Bus,
    durable: Durable,
    limits: ConsumeLimits,
    shutdown: &CancellationToken,
) -> Deliveries {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return futures::stream::pending().boxed(),
            () = tokio::time::sleep(REOPEN_AFTER) => {}
        }
        match open(bus, durable, limits).await {
            Ok(messages) => return messages,
            Err(error) => tracing::warn!(durable = durable.name, %error, "still not open"),
        }
    }
}

async fn carry<H: Handler>(
    bus: Bus,
    durable: Durable,
    handler: Arc<H>,
    message: Message,
    place: Result<Place, String>,
    life: Incarnation,
) -> Done {
    let started = Instant::now();
    let (message, acker) = message.split();
    let end = |kind, result| answer(&acker, kind, durable, result, started);
    let incoming = match place {
        Ok(place) => place.incoming(durable.stream, message, life),
        Err(what) => {
            // Only our own streams' subjects are delivered here, so this is a fault of
            // the layout. Nothing can name the message; it stays in the stream.
            metrics::alarm("unreadable_delivery", &what);
            return end(AckKind::Term, "unreadable").await;
        }
    };
    let remains = Remains::of(&incoming);
    let redacted = |what: String| handler.redactor().text(&what).text;
    match handler.handle(incoming).await {
        Ok(()) => end(AckKind::Ack, "ok").await,
        Err(Failure::Transient { what, retry_in }) => {
            let what = redacted(what);
            tracing::warn!(durable = durable.name, seq = remains.token.seq, %what, "given back");
            end(AckKind::Nak(Some(retry_in)), "transient").await
        }
        Err(Failure::Poison { what }) => {
            let what = redacted(what);
            match bury(&bus, durable, handler.as_ref(), &remains, &what).await {
                Ok(()) => end(AckKind::Term, "poison").await,
                Err(failure) => {
                    tracing::error!(durable = durable.name, %failure, "cannot store a dead letter");
                    end(AckKind::Nak(None), "transient").await
                }
            }
        }
        Err(Failure::Fatal { what }) => Done::Fatal(redacted(what)),
    }
}

async fn answer(
    acker: &Acker,
    kind: AckKind,
    durable: Durable,
    result: &'static str,
    started: Instant,
) -> Done {
    if let Err(error) = acker.ack_with(kind).await {
        // It will be delivered again, and every handler bears that.
        tracing::warn!(durable = durable.name, %error, "cannot send an ack");
    }
    metrics::input_done(durable.name, result, started.elapsed().as_secs_f64());
    Done::Acked
}

/// The coordinates of a delivery.
struct Place {
    address: Address,
    seq: u64,
    stored_at: Timestamp,
    deliveries: u64,
}

fn place_of(stream: Stream, message: &Message) -> Result<Place, String> {
    let info = message
        .info()
        .map_err(|error| format!("a delivery without its coordinates: {error}"))?;
    let address = Address::parse(&message.subject)
        .ok_or_else(|| format!("a delivery of {stream} on a foreign subject"))?;
    Ok(Place {
        address,
        seq: info.stream_sequence,
        stored_at: Timestamp::new(info.published),
        deliveries: u64::try_from(info.delivered).unwrap_or_default(),
    })
}

impl Place {
    fn incoming(self, stream: Stream, message: async_nats::Message, life: Incarnation) -> Incoming {
        Incoming {
            address: self.address,
            stream,
            token: SeqToken::new(life, self.seq),
            seq: self.seq,
            stored_at: self.stored_at,
            deliveries: self.deliveries,
            subject: message.subject.to_string(),
            headers: message.headers.unwrap_or_default(),
            payload: message.payload,
        }
    }
}

/// What a dead letter tells of a message.
struct Remains {
    token: SeqToken,
    subject: String,
    payload: Bytes,
}

impl Remains {
    fn of(message: &Incoming) -> Self {
        Self {
            token: message.token.clone(),
            subject: message.subject.clone(),
            payload: message.payload.clone(),
        }
    }
}

/// Stores what is known of a message that nobody can handle; never its payload.
async fn bury<H: Handler>(
    bus: &Bus,
    durable: Durable,
    handler: &H,
    message: &Remains,
    error: &str,
) -> Result<(), Failure> {
    let name = |error: countersign_schemas::ids::IdError| Failure::fatal(error.to_string());
    let service: ServiceId = bus.name().parse().map_err(name)?;
    let id = format!("{}-{}", durable.stream.name(), message.token.dashed());
    let address = Address::DeadLetter {
        service: service.clone(),
        id: id.parse().map_err(name)?,
    };
    let letter = DeadLetter {
        schema_version: 1,
        service,
        stream: durable.stream.name().to_owned(),
        incarnation: message.token.incarnation.clone(),
        seq: message.token.seq,
        subject: message.subject.clone(),
        payload_digest: handler.redactor().digest(&message.payload),
        payload_bytes: message.payload.len() as u64,
        error: error.chars().take(ERROR_CHARS_MAX).collect(),
    };
    metrics::alarm("dead_letter", error);
    bus.store_once(Outgoing::event(&address, &letter, &handler.meta())?)
        .await
        .map(drop)
}
