//! The one janitor: purges each stream from its beginning, up to the first message that
//! one of the four gates holds (see [`Gates`]), and says what holds it.
//!
//! It purges nothing that it cannot account for: where the stream is not the one that was
//! archived, a gate cannot be read, or the clock is not trusted, everything stays.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::Info as ConsumerInfo;
use async_nats::jetstream::stream::{Info, Stream as Handle};
use countersign_domain::archive::{Entry, Gates, Keep, OpenWork};
use countersign_domain::keys::HmacKey;
use countersign_runtime::bus::layout::{CHECKER_INTENTS, DURABLES, Durable};
use countersign_runtime::bus::metrics::alarm;
use countersign_runtime::bus::{
    Append, BusError, Followed, Meta, Outgoing, ReplayFrom, Source, StoredMessage,
};
use countersign_runtime::health::HealthPart;
use countersign_runtime::service::ServiceContext;
use countersign_schemas::events::ArchivePurged;
use countersign_schemas::ids::IdError;
use countersign_schemas::{Address, Digest, Incarnation, ServiceId, Stream, Timestamp, codec};
use futures::StreamExt as _;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::commit::Head;
use crate::metrics;
use crate::reader::observe;
use crate::root::{Root, StoreError};

/// How often the gates are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// What is purged at once at least, unless the last purge is long ago: each purge is an
/// event, which has to be archived and purged in its turn.
const WORTH_MESSAGES: u64 = 1_000;
/// After this long less is worth a purge, too.
const WORTH_AFTER: Duration = Duration::from_secs(600);
/// Added to the horizon, so that a chain outlives the last request that may repeat it.
const AFTER_HORIZON: Duration = Duration::from_secs(3_600);

/// When the janitor may purge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JanitorLimits {
    /// How often it looks.
    pub every: Duration,
    /// Messages that are worth a purge.
    pub worth: u64,
}

impl Default for JanitorLimits {
    fn default() -> Self {
        Self {
            every: LOOK_EVERY,
            worth: WORTH_MESSAGES,
        }
    }
}

/// Follows what is open and purges what may go, until shutdown. `heads` shows how far each
/// stream is archived.
pub(crate) async fn run(
    context: ServiceContext,
    limits: JanitorLimits,
    key: Arc<HmacKey>,
    root: Root,
    heads: watch::Receiver<Head>,
) {
    let part = context.health.part("janitor");
    let source = Source {
        what: "the open intents",
        stream: Stream::Events.name().to_owned(),
        filters: OpenWork::SUBJECTS.map(str::to_owned).to_vec(),
        from: ReplayFrom::Start,
    };
    let mut feed = context.bus.follow(source, &part);
    let mut looks = interval(limits.every);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut janitor = Janitor {
        context: context.clone(),
        limits,
        root,
        heads,
        key,
        open: None,
        purged_at: None,
    };
    let mut fresh = OpenWork::default();
    loop {
        tokio::select! {
            () = context.shutdown.cancelled() => return,
            Some(next) = feed.next() => match next {
                Followed::Message(message) => take(janitor.open.as_mut().unwrap_or(&mut fresh), &message),
                Followed::CaughtUp => {
                    janitor.open = Some(std::mem::take(&mut fresh));
                    looks.reset_immediately();
                }
                Followed::Broken => (janitor.open, fresh) = (None, OpenWork::default()),
            },
            _ = looks.tick() => janitor.look(&part).await,
        }
    }
}

fn take(open: &mut OpenWork, message: &StoredMessage) {
    open.take(&message.as_last(), message.stored_at);
}

struct Janitor {
    context: ServiceContext,
    limits: JanitorLimits,
    /// By which the manifest knows a message again.
    key: Arc<HmacKey>,
    root: Root,
    heads: watch::Receiver<Head>,
    /// What goes on; `None` while that is not known.
    open: Option<OpenWork>,
    purged_at: Option<Instant>,
}

impl Janitor {
    async fn look(&mut self, part: &HealthPart) {
        let Some(open) = self.open.clone() else {
            return;
        };
        if !self.context.clock_trust.is_trusted() {
            part.failing("nothing is purged while the clock is wrong".to_owned());
            return;
        }
        let mut purged = false;
        let since = match self.since().await {
            Ok(since) => since,
            Err(error) => {
                part.failing(error.to_string());
                return;
            }
        };
        for stream in Stream::ARCHIVED {
            match self.tend(stream, &open, since).await {
                Ok(did) => purged |= did,
                Err(error) => {
                    tracing::warn!(%stream, %error, "cannot tell what may be purged");
                    part.failing(format!("{stream}: {error}"));
                    return;
                }
            }
        }
        if purged {
            self.purged_at = Some(Instant::now());
        }
        part.ready();
    }

    /// From when on a message is too young to go: as long before the oldest request that
    /// nobody has judged as before now, for the checker, back after an outage, judges a
    /// repetition by what is left of the first.
    async fn since(&self) -> Result<Timestamp, BusError> {
        let horizon = Duration::from_secs(self.context.deployment.horizon_s);
        let handle = self.handle(CHECKER_INTENTS.stream).await?;
        let last = handle.cached_info().state.last_sequence;
        let judged = self.handled(&handle, CHECKER_INTENTS, last).await?;
        let from = ReplayFrom::Seq(judged.saturating_add(1));
        let oldest = self.first_from(CHECKER_INTENTS.stream, from).await?;
        let now = self.context.clock.now();
        let oldest = oldest.map_or(now, |message| message.stored_at.min(now));
        Ok(oldest.minus(horizon.saturating_add(AFTER_HORIZON)))
    }

    /// Looks at one stream, and purges it if that is worth it. Returns whether it did.
    async fn tend(
        &self,
        stream: Stream,
        open: &OpenWork,
        since: Timestamp,
    ) -> Result<bool, BusError> {
        let handle = self.handle(stream).await?;
        let info = handle.cached_info();
        let first = info.state.first_sequence;
        self.announce(stream, info).await?;
        let keep = self.keep(stream, &handle, open, since).await?;
        metrics::kept(stream, &keep, info.state.last_sequence);
        let goes = keep.from.saturating_sub(first);
        let waited = self.purged_at.is_none_or(|at| at.elapsed() >= WORTH_AFTER);
        if goes == 0 || (goes < self.limits.worth && !waited) {
            return Ok(false);
        }
        self.require_archive().await?;
        // It goes by name, and a stream that was made anew meanwhile is another one.
        let now = self.handle(stream).await?;
        if now.cached_info().created != info.created {
            return Err(BusError::Request {
                what: format!("cannot purge {stream}"),
                reason: "it was made anew meanwhile".to_owned(),
            });
        }
        let purge = handle.purge().sequence(keep.from).await;
        purge.map_err(|error| BusError::Request {
            what: format!("cannot purge {stream}"),
            reason: error.to_string(),
        })?;
        tracing::info!(%stream, below = keep.from, messages = goes, held_by = %keep.gate, "purged");
        self.announce(stream, self.handle(stream).await?.cached_info())
            .await?;
        Ok(true)
    }

    async fn handle(&self, stream: Stream) -> Result<Handle, BusError> {
        let found = self.context.bus.jetstream().get_stream(stream.name()).await;
        found.map_err(|error| BusError::Request {
            what: format!("cannot read the state of stream {stream}"),
            reason: error.to_string(),
        })
    }

    /// The first message that must stay.
    async fn keep(
        &self,
        stream: Stream,
        handle: &Handle,
        open: &OpenWork,
        since: Timestamp,
    ) -> Result<Keep, BusError> {
        // Before the consumers: what comes later is not counted as handled.
        let last = handle.cached_info().state.last_sequence;
        let retention = Duration::from_secs(self.context.deployment.raw_retention_s);
        let ceiling = self.context.clock.now().minus(retention);
        let mut handled = Vec::new();
        for durable in DURABLES.iter().filter(|durable| durable.stream == stream) {
            let seq = self.handled(handle, *durable, last).await?;
            handled.push((durable.name.to_owned(), seq));
        }
        let young = self.first_from(stream, ReplayFrom::Time(since)).await?;
        let gates = Gates {
            archived: self.archived(stream, last).await?,
            handled,
            young: young.map_or(last.saturating_add(1), |message| message.seq),
            open: open.first(stream, ceiling, since),
        };
        Ok(gates.keep())
    }

    /// Up to which sequence the service behind a durable consumer has handled everything.
    async fn handled(&self, handle: &Handle, durable: Durable, last: u64) -> Result<u64, BusError> {
        let info = handle.consumer_info(durable.name).await;
        let info = info.map_err(|error| BusError::Request {
            what: format!(
                "cannot read consumer {} of {}",
                durable.name, durable.stream
            ),
            reason: error.to_string(),
        })?;
        Ok(handled_up_to(&info, last))
    }

    /// The first message from there on, if there is one.
    async fn first_from(
        &self,
        stream: Stream,
        from: ReplayFrom,
    ) -> Result<Option<StoredMessage>, BusError> {
        let replay = self.context.bus.replay(stream.name(), &[], from).await?;
        if replay.is_empty() {
            return Ok(None);
        }
        let first = replay.messages().next().await;
        first
            .unwrap_or_else(|| {
                Err(BusError::Request {
                    what: format!("cannot read {stream}"),
                    reason: "the delivery stopped".to_owned(),
                })
            })
            .map(|replayed| Some(replayed.message))
    }

    /// Whether the archive is still there: a purge takes the only other copy.
    ///
    /// # Errors
    /// When its last entry or one of its files is missing or has another size.
    async fn require_archive(&self) -> Result<(), BusError> {
        let (root, head) = (self.root.clone(), self.heads.borrow().clone());
        let whole = tokio::task::spawn_blocking(move || {
            let entry = root.entry(head.chain.n)?;
            let found = entry.map(|bytes| Digest::of_bytes(&bytes));
            Ok::<_, StoreError>(match found == head.chain.digest {
                true => root.missing(&head.files)?,
                false => Some(Entry::path(head.chain.n)),
            })
        });
        let reason = match whole.await {
            Ok(Ok(None)) => return Ok(()),
            Ok(Ok(Some(path))) => format!("{path} is missing or damaged"),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        alarm("archive_damaged", &reason);
        Err(BusError::Request {
            what: "cannot rely on the archive, so nothing is purged".to_owned(),
            reason,
        })
    }

    /// How far `stream` is archived; 0 unless it is the very stream that was archived.
    async fn archived(&self, stream: Stream, last: u64) -> Result<u64, BusError> {
        let head = self.heads.borrow().clone();
        let Some(position) = head.chain.position(stream.name()) else {
            return Ok(0);
        };
        let seen = observe(&self.context.bus, stream, Some(position), &self.key).await?;
        let same = seen.surprise.is_none() && position.seq <= last;
        Ok(if same { position.seq } else { 0 })
    }

    /// Stores that everything below the stream's first message is gone, unless that has
    /// been said: a purge is an event, also when its janitor died right after it.
    async fn announce(&self, stream: Stream, info: &Info) -> Result<(), BusError> {
        let bus = &self.context.bus;
        let life = Incarnation::of_created(info.created);
        let first = info.state.first_sequence;
        let subject = format!("archive.purged.{stream}.*");
        let before = bus.last_by_subject(Stream::Events, &subject).await?;
        let said = before
            .and_then(|message| codec::decode::<ArchivePurged>(&message.payload).ok())
            .filter(|said| said.incarnation == life)
            .map_or(1, |said| said.up_to_seq);
        if first <= said {
            return Ok(());
        }
        let event = ArchivePurged {
            schema_version: 1,
            stream: stream.name().to_owned(),
            incarnation: life,
            up_to_seq: first,
            messages: first.saturating_sub(said),
        };
        let stored = self.store(stream, &event).await;
        stored.map_err(|reason| BusError::Request {
            what: format!("cannot store that {stream} was purged"),
            reason,
        })
    }

    async fn store(&self, stream: Stream, event: &ArchivePurged) -> Result<(), String> {
        let id = |error: IdError| error.to_string();
        let address = Address::ArchivePurged {
            stream: stream.name().parse().map_err(id)?,
            id: format!("{}-{}", event.incarnation, event.up_to_seq)
                .parse()
                .map_err(id)?,
        };
        let source: ServiceId = self.context.bus.name().parse().map_err(id)?;
        let meta = Meta {
            source,
            encoding: self.context.deployment.encoding,
            claimed_at: self.context.clock.now(),
            traceparent: None,
        };
        let message = Outgoing::event(&address, event, &meta).map_err(|e| e.to_string())?;
        match self.context.bus.store_once(message).await {
            Ok(Append::Stored(_) | Append::Lost(_)) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Up to which sequence a consumer's service has handled everything. A consumer of some
/// subjects stands still at the last message that it takes: with nothing waiting, all that
/// lay in the stream before it was asked is handled.
fn handled_up_to(info: &ConsumerInfo, last: u64) -> u64 {
    match (info.num_pending, info.num_ack_pending) {
        (0, 0) => last.max(info.ack_floor.stream_sequence),
        (_, 0) => info.delivered.stream_sequence,
        _ => info.ack_floor.stream_sequence,
    }
}
