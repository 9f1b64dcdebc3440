//! The service: sessions, one after another. A session compares every stream with the
//! archive, reads on from there and commits; whatever goes wrong ends it, and the next one
//! begins at the manifest again.

use std::sync::Arc;
use std::time::Duration;

use countersign_domain::keys::HmacKey;
use countersign_runtime::bus::metrics::alarm;
use countersign_runtime::health::HealthPart;
use countersign_runtime::service::{ServiceContext, ServiceError};
use countersign_schemas::Stream;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep_until, timeout};

use crate::announce;
use crate::batch::{Batch, Held};
use crate::commit::{CommitError, Head, Writer};
use crate::janitor;
use crate::lookup;
use crate::merge::Merged;
use crate::metrics;
use crate::reader::{Reader, ReaderEnd, SHARE_BYTES, connects, observe};
use crate::settings::Settings;
use crate::tidy::{Tidier, TidyError};
use crate::witness;

/// How often each stream is compared with the archive while it is read.
const COMPARE_EVERY: Duration = Duration::from_secs(5);
/// How long one such comparison may take: nothing is committed meanwhile.
const COMPARE_WITHIN: Duration = Duration::from_secs(2);
/// How long the last announcement may take at shutdown.
const LAST_WORD: Duration = Duration::from_secs(5);
/// Pause before a session that failed is followed by the next.
const PAUSE: Duration = Duration::from_secs(1);
/// How often it is looked whether files can be put together or removed.
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// Batches that may be in memory: one being written, one filling, and room between.
const BATCHES_HELD: usize = 3;
/// Messages between readers and writer; memory is bounded by the budget, not by this.
const QUEUE: usize = 4_096;

/// How a session ended.
enum End {
    Shutdown,
    /// Begin again at the manifest.
    Again(String),
    /// Nothing will work.
    Fatal(ServiceError),
}

/// Runs the archiver until shutdown.
///
/// # Errors
/// When the archive is damaged or its directory cannot be used at the start.
pub async fn run(context: ServiceContext, settings: Settings) -> Result<(), ServiceError> {
    metrics::describe();
    // The janitor's: nothing is purged by a clock that is wrong.
    context.watch_clock().await;
    let health = context.health.part("archive");
    let key = Arc::new(
        settings
            .writer
            .key
            .positions()
            .map_err(ServiceError::failed)?,
    );
    let mut writer = open(&settings).await?;
    if let Some(keys) = &settings.keys {
        lookup::start(&context, keys.clone());
    }
    let (announced, heads) = watch::channel(writer.end());
    let archived = heads.clone();
    let (places, pinned) = (settings.witnesses.clone(), settings.writer.pinned.clone());
    let witnessing = tokio::spawn(witness::run(places, pinned, heads.clone()));
    let announcer = tokio::spawn(announce::run(
        context.clone(),
        writer.signer(),
        writer.root(),
        heads,
    ));
    let cleaner = janitor::run(
        context.clone(),
        settings.janitor,
        Arc::clone(&key),
        writer.root(),
        archived,
    );
    let cleaning = tokio::spawn(cleaner);
    let (merges, mut merged) = mpsc::channel(1);
    let tidier = writer.tidier(settings.tidy);
    let tidying = tokio::spawn(keep_tidy(context.clone(), settings.clone(), tidier, merges));
    let ended = loop {
        let session = Session {
            context: &context,
            settings: &settings,
            health: &health,
            announced: &announced,
            key: &key,
        };
        let (end, left) = session.run(writer, &mut merged).await;
        match end {
            End::Shutdown => break Ok(()),
            End::Fatal(error) => break Err(error),
            End::Again(reason) => {
                tracing::warn!(%reason, "archiving begins again at the manifest");
                health.failing(reason);
            }
        }
        writer = match next_writer(left, &context, &settings, &health).await {
            Ok(Some(writer)) => writer,
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        };
    };
    drop(announced);
    drop(merged);
    finish(announcer).await;
    finish(witnessing).await;
    tidying.abort();
    cleaning.abort();
    ended
}

/// Puts files together and removes what no entry names any more, beside the sessions: a
/// large merge holds up no commit.
async fn keep_tidy(
    context: ServiceContext,
    settings: Settings,
    mut tidier: Tidier,
    merges: mpsc::Sender<Merged>,
) {
    let every = TIDY_EVERY.min(settings.tidy.shortest());
    loop {
        tokio::select! {
            () = context.shutdown.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
        let (now, at) = (context.clock.now(), Instant::now());
        let turn = spawn_blocking(move || {
            let found = tidier.merge(now);
            let removed = tidier.collect(at);
            (tidier, found, removed)
        });
        let Ok((back, found, removed)) = turn.await else {
            tracing::error!("tidying the archive ended badly and stops until the next start");
            return;
        };
        tidier = back;
        match removed {
            Ok(files) => metrics::removed(files),
            Err(error) => untidy(&error),
        }
        match found {
            Ok(None) => {}
            Ok(Some(one)) => {
                if merges.send(one).await.is_err() {
                    return;
                }
            }
            Err(error) => untidy(&error),
        }
    }
}

/// Nothing is lost when the archive is not tidied, so it is told and tried again.
fn untidy(error: &TidyError) {
    alarm("archive_tidy", &error.to_string());
}

/// Lets the last word about the archive's end through, unless NATS or a disk is away: the
/// next start repeats it.
async fn finish(telling: JoinHandle<()>) {
    let stop = telling.abort_handle();
    match timeout(LAST_WORD, telling).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "telling of commits ended badly"),
        Err(_) => {
            stop.abort();
            tracing::warn!("the last commit is told at the next start");
        }
    }
}

/// The writer of the next session, after a pause: the old one where its last commit is
/// known, else the archive is opened again, however long its disk is full or away. `None`
/// at shutdown.
async fn next_writer(
    mut left: Option<Writer>,
    context: &ServiceContext,
    settings: &Settings,
    health: &HealthPart,
) -> Result<Option<Writer>, ServiceError> {
    loop {
        tokio::select! {
            () = context.shutdown.cancelled() => return Ok(None),
            () = tokio::time::sleep(PAUSE) => {}
        }
        if let Some(writer) = left.take() {
            return Ok(Some(writer));
        }
        match open(settings).await {
            Ok(writer) => return Ok(Some(writer)),
            Err(ServiceError::Configured(reason) | ServiceError::Unreachable(reason)) => {
                alarm("archive_store", &reason);
                health.failing(reason);
            }
            Err(error) => return Err(error),
        }
    }
}

async fn open(settings: &Settings) -> Result<Writer, ServiceError> {
    let options = settings.writer.clone();
    let in_bucket = options.place.dir().is_none();
    let opened = spawn_blocking(move || {
        let writer = Writer::open(options)?;
        if let Some(path) = writer.root().missing(writer.files())? {
            alarm("archive_damaged", &damage(&path));
        }
        Ok(writer)
    });
    opened
        .await
        .map_err(ServiceError::failed)?
        .map_err(|error| match error {
            CommitError::Store(error) if in_bucket && !error.is_refusal() => {
                ServiceError::Unreachable(error.to_string())
            }
            CommitError::Store(_) => ServiceError::configured(error),
            other => ServiceError::failed(other),
        })
}

/// New rows do not depend on old files, and refusing them would make it worse.
fn damage(path: &str) -> String {
    format!(
        "{path} is missing or has another size, as after a power cut: put it back from a copy. \
         Archiving goes on, and nothing is purged from the streams until then"
    )
}

struct Session<'a> {
    context: &'a ServiceContext,
    settings: &'a Settings,
    health: &'a HealthPart,
    announced: &'a watch::Sender<Head>,
    key: &'a Arc<HmacKey>,
}

impl Session<'_> {
    /// Runs one session; gives the writer back unless a commit went wrong.
    async fn run(
        &self,
        writer: Writer,
        merged: &mut mpsc::Receiver<Merged>,
    ) -> (End, Option<Writer>) {
        // What a commit that went wrong after its entry has not told.
        self.announced.send_if_modified(|told| {
            let end = writer.end();
            let news = *told != end;
            *told = end;
            news
        });
        let mut readers = JoinSet::new();
        let received = match self.start_readers(&writer, &mut readers).await {
            Ok(received) => received,
            Err(reason) => return (End::Again(reason), Some(writer)),
        };
        self.health.ready();
        let mut work = Work {
            session: self,
            writer: Some(writer),
            batch: Batch::default(),
        };
        let end = work.until_end(received, merged, &mut readers).await;
        readers.shutdown().await;
        (end, work.writer)
    }

    /// Compares every stream with the archive, then reads them all.
    async fn start_readers(
        &self,
        writer: &Writer,
        readers: &mut JoinSet<ReaderEnd>,
    ) -> Result<mpsc::Receiver<Held>, String> {
        let limits = &self.settings.limits;
        let budget_shares = limits
            .bytes
            .saturating_mul(BATCHES_HELD)
            .div_ceil(SHARE_BYTES)
            .clamp(1, Semaphore::MAX_PERMITS);
        let budget = Arc::new(Semaphore::new(budget_shares));
        let (out, received) = mpsc::channel(QUEUE);
        let bus = &self.context.bus;
        // Before the comparison: a connection made during it counts as a new one.
        let connects = connects(bus);
        for stream in Stream::ARCHIVED {
            let at = self.compare(writer, stream).await?;
            let reader = Reader {
                bus: bus.clone(),
                stream,
                at,
                connects,
                scrub: Arc::clone(&self.settings.scrub),
                key: Arc::clone(self.key),
                budget: Arc::clone(&budget),
                budget_shares,
                out: out.clone(),
                behind: self.context.health.number("behind", stream.name()),
            };
            readers.spawn(reader.run());
        }
        Ok(received)
    }

    async fn compare(
        &self,
        writer: &Writer,
        stream: Stream,
    ) -> Result<countersign_domain::archive::Resume, String> {
        let position = writer.head().position(stream.name());
        let at = observe(&self.context.bus, stream, position, self.key)
            .await
            .map_err(|error| error.to_string())?;
        if let Some(surprise) = at.surprise {
            let what = surprise.message();
            let life = &at.incarnation;
            alarm(
                "archive_stream",
                &format!("{stream}: {what}; it is archived from its first message as {life}"),
            );
        }
        Ok(at)
    }
}

/// The part of a session that commits.
struct Work<'a> {
    session: &'a Session<'a>,
    /// Absent while a commit runs, and after one that went wrong.
    writer: Option<Writer>,
    batch: Batch,
}

impl Work<'_> {
    async fn until_end(
        &mut self,
        mut received: mpsc::Receiver<Held>,
        merged: &mut mpsc::Receiver<Merged>,
        readers: &mut JoinSet<ReaderEnd>,
    ) -> End {
        let context = self.session.context;
        let limits = self.session.settings.limits;
        let mut compare_at = Instant::now() + COMPARE_EVERY;
        loop {
            let due = self.batch.due();
            let turn = tokio::select! {
                biased;
                () = context.shutdown.cancelled() => {
                    return self.flush().await.err().unwrap_or(End::Shutdown);
                }
                Some(ended) = readers.join_next() => Err(reader_end(ended)),
                () = sleep_until(compare_at) => {
                    compare_at = Instant::now() + COMPARE_EVERY;
                    timeout(COMPARE_WITHIN, self.compare_all()).await.unwrap_or(Ok(()))
                }
                () = sleep_until(due.unwrap_or(compare_at)), if due.is_some() => self.flush().await,
                Some(one) = merged.recv() => self.replace(one).await,
                Some(held) = received.recv() => {
                    self.batch.add(held, &limits, Instant::now());
                    if self.batch.is_full(&limits) { self.flush().await } else { Ok(()) }
                }
            };
            if let Err(end) = turn {
                return end;
            }
        }
    }

    /// Commits the batch, unless it holds nothing but the archiver's own events.
    async fn flush(&mut self) -> Result<(), End> {
        if self.batch.due().is_none() && !self.batch.is_full(&self.session.settings.limits) {
            return Ok(());
        }
        let (items, shares) = self.batch.take();
        let rows = items.iter().map(|item| item.rows.len()).sum::<usize>();
        let (begun, created) = (Instant::now(), self.session.context.clock.now());
        let committed = self
            .write(move |writer| writer.commit(items, created))
            .await?;
        drop(shares);
        if committed {
            metrics::committed(u64::try_from(rows).unwrap_or(u64::MAX), begun.elapsed());
        }
        Ok(())
    }

    /// Commits that a merged file takes the place of others.
    async fn replace(&mut self, merged: Merged) -> Result<(), End> {
        let (files, created) = (merged.inputs(), self.session.context.clock.now());
        if self
            .write(move |writer| writer.replace(merged, created))
            .await?
        {
            metrics::compacted(files);
        }
        Ok(())
    }

    /// Has the writer commit, on a thread that may wait for the disk, and tells its head.
    async fn write(
        &mut self,
        act: impl FnOnce(&mut Writer) -> Result<bool, CommitError> + Send + 'static,
    ) -> Result<bool, End> {
        let Some(mut writer) = self.writer.take() else {
            return Err(End::Again("the writer is gone".to_owned()));
        };
        let done = spawn_blocking(move || {
            let done = act(&mut writer);
            (writer, done)
        });
        let (writer, done) = done
            .await
            .map_err(|error| End::Again(format!("a commit ended badly: {error}")))?;
        let committed = done.map_err(commit_end)?;
        if committed {
            self.session.announced.send_replace(writer.end());
        }
        self.writer = Some(writer);
        Ok(committed)
    }

    /// Whether every stream is still the one that was compared at the start.
    async fn compare_all(&self) -> Result<(), End> {
        let Some(writer) = &self.writer else {
            return Ok(());
        };
        for stream in Stream::ARCHIVED {
            let position = writer.head().position(stream.name());
            let seen = observe(
                &self.session.context.bus,
                stream,
                position,
                self.session.key,
            )
            .await;
            match seen {
                Ok(at) if at.surprise.is_some() => {
                    return Err(End::Again(format!("{stream} is not as it was archived")));
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%stream, %error, "cannot compare with the archive"),
            }
        }
        Ok(())
    }
}

fn reader_end(ended: Result<ReaderEnd, tokio::task::JoinError>) -> End {
    End::Again(match ended {
        Ok(ReaderEnd::Again(reason)) => reason,
        Ok(ReaderEnd::Unheard) => "a reader was left alone".to_owned(),
        Err(error) => format!("a reader ended badly: {error}"),
    })
}

fn commit_end(error: CommitError) -> End {
    match error {
        CommitError::Damaged(_)
        | CommitError::Stopped(_)
        | CommitError::Entry(_)
        | CommitError::Checkpoint(_) => End::Fatal(ServiceError::failed(error)),
        CommitError::Lost(_) => End::Again(error.to_string()),
        CommitError::Order { .. } | CommitError::Store(_) | CommitError::Encode(_) => {
            alarm("archive_commit", &error.to_string());
            End::Again(error.to_string())
        }
    }
}
