//! The archiver against a real nats-server: exactly once whatever happens.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use arrow::array::AsArray as _;
use arrow::datatypes::Int64Type;
use bytes::Bytes;
use countersign_audit_archiver::{
    BatchLimits, Hooks, JanitorLimits, Root, Settings, State, Step, TidyLimits, WriterOptions, run,
    verify,
};
use countersign_domain::archive::{ManifestKey, Scrub, ScrubError, Scrubbed, verify_chain};
use countersign_runtime::bus::layout::{self, LayoutOptions, stream_config};
use countersign_runtime::bus::{Bus, ConnectOptions};
use countersign_runtime::clock::{Clock, ManualClock, SystemClock};
use countersign_runtime::config::Deployment;
use countersign_runtime::health::HealthHandle;
use countersign_runtime::nats_server::{
    NatsServer, Progress, ServerConfig, StartOptions, find_or_provision, plain_config,
};
use countersign_runtime::service::{ClockTrust, ServiceContext, ServiceError};
use countersign_schemas::{IntentId, JsonObject, Stream, Timestamp};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

#[path = "it/janitor.rs"]
mod janitor;

const PATIENCE: Duration = Duration::from_secs(90);
/// The archiver's own events, which ride along.
const OWN: [&str; 2] = ["archive.committed", "archive.purged"];
const PLANTED: &str = "hunter2-planted";

/// Replaces the planted secret.
struct Planted;

impl Scrub for Planted {
    fn text(&self, text: &str) -> Result<Scrubbed<String>, ScrubError> {
        Ok(Scrubbed {
            value: text.replace(PLANTED, "[secret:k1:0123456789ab]"),
            kinds: vec!["secret".to_owned(); text.matches(PLANTED).count()],
        })
    }

    fn json(&self, object: &JsonObject) -> Result<Scrubbed<JsonObject>, ScrubError> {
        let clean = self.text(&object.to_value().to_string())?;
        let value = serde_json::from_str(&clean.value).map_err(|_| ScrubError)?;
        Ok(Scrubbed {
            value: JsonObject::from_value(value).ok_or(ScrubError)?,
            kinds: clean.kinds,
        })
    }
}

struct Fixture {
    server: NatsServer,
    seed: String,
    dir: tempfile::TempDir,
}

struct Running {
    task: JoinHandle<Result<(), ServiceError>>,
    shutdown: CancellationToken,
    health: HealthHandle,
}

impl Running {
    async fn stop(self) -> Result<(), ServiceError> {
        self.shutdown.cancel();
        self.task.await.map_err(ServiceError::failed)?
    }
}

type RowId = (String, String, i64);

impl Fixture {
    async fn start() -> Result<Self> {
        let binary = find_or_provision(Progress::Quiet)?;
        let dir = tempfile::tempdir()?;
        let key = nkeys::KeyPair::new_user();
        let store = dir.path().join("store");
        let config = plain_config(&store)
            + &format!(
                "authorization {{ users = [ {{ nkey: {} }} ] }}\n",
                key.public_key()
            );
        let options = StartOptions::new(binary, ServerConfig::Text(config), store);
        let server = NatsServer::start(options).await?;
        let fixture = Self {
            server,
            seed: key.seed()?,
            dir,
        };
        layout::ensure(&fixture.bus("setup").await?, LayoutOptions::default()).await?;
        Ok(fixture)
    }

    async fn bus(&self, name: &str) -> Result<Bus> {
        let options = ConnectOptions {
            url: self.server.url(),
            name: name.to_owned(),
            credential: self.seed.clone(),
            tls_ca: None,
        };
        Ok(Bus::connect(options).await?)
    }

    fn archive(&self) -> PathBuf {
        self.dir.path().join("archive")
    }

    fn settings(&self, hooks: Hooks) -> Settings {
        let key = ManifestKey::from_bytes(&[7; 32]);
        Settings {
            writer: WriterOptions {
                place: self.archive().into(),
                state_file: self.state_file(),
                origin: "northwind".to_owned(),
                pinned: key.public(),
                key,
                hooks,
            },
            limits: BatchLimits {
                rows: 40,
                bytes: 1024 * 1024,
                wait: Duration::from_millis(20),
            },
            janitor: JanitorLimits::default(),
            tidy: TidyLimits {
                compact_after: None,
                grace: Duration::from_secs(3_600),
            },
            witnesses: vec![self.dir.path().to_owned()],
            scrub: Arc::new(Planted),
            keys: None,
        }
    }

    fn state_file(&self) -> PathBuf {
        self.dir.path().join("data/state.json")
    }

    async fn run(&self, hooks: Hooks) -> Result<Running> {
        self.run_with(self.settings(hooks), Arc::new(SystemClock))
            .await
    }

    async fn run_with(&self, settings: Settings, clock: Arc<dyn Clock>) -> Result<Running> {
        let shutdown = CancellationToken::new();
        let bus = self.bus("audit-archiver").await?;
        let mut context = ServiceContext::new(Deployment::default(), bus, clock, shutdown.clone());
        context.clock_trust = ClockTrust::assumed();
        let health = context.health.clone();
        let task = tokio::spawn(run(context, settings));
        Ok(Running {
            task,
            shutdown,
            health,
        })
    }

    /// The rows of the archive, in their order.
    fn rows(&self) -> Result<Vec<(RowId, String)>> {
        let root = Root::new(&self.archive());
        let keys = ManifestKey::from_bytes(&[7; 32]).public();
        let bytes = root.entries()??;
        let walked = verify_chain(bytes.iter().map(Vec::as_slice), &keys, &[])?;
        let mut rows = Vec::new();
        for file in walked.files.iter() {
            rows.extend(read(&root.full_name(&file.path))?);
        }
        rows.sort_by_key(|(leaf, ..)| *leaf);
        Ok(rows.into_iter().map(|(_, id, event)| (id, event)).collect())
    }

    /// How many files the archive consists of.
    fn files(&self) -> Result<usize> {
        let keys = ManifestKey::from_bytes(&[7; 32]).public();
        let bytes = Root::new(&self.archive()).entries()??;
        let walked = verify_chain(bytes.iter().map(Vec::as_slice), &keys, &[])?;
        Ok(walked.files.len())
    }

    /// Waits until the archive holds `count` rows that are not the archiver's own.
    async fn wait_for(&self, count: usize) -> Result<Vec<(RowId, String)>> {
        let waiting = async {
            loop {
                let rows = self.rows()?;
                let others = rows
                    .iter()
                    .filter(|(_, event)| !OWN.contains(&event.as_str()));
                if others.count() >= count {
                    return anyhow::Ok(rows);
                }
                // sleep: polls a condition, bounded by the deadline around it
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .context("the rows did not come in time")?
    }
}

fn read(path: &Path) -> Result<Vec<(i64, RowId, String)>> {
    let file = std::fs::File::open(path)?;
    let mut rows = Vec::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(file)?.build()? {
        let batch = batch?;
        let column = |name: &str| batch.column_by_name(name).context("a column is missing");
        let (streams, lives) = (column("stream")?, column("incarnation")?);
        let (seqs, events) = (column("seq")?, column("event")?);
        let leaves = column("leaf_index")?.as_primitive::<Int64Type>();
        for at in 0..batch.num_rows() {
            let id = (
                streams.as_string::<i32>().value(at).to_owned(),
                lives.as_string::<i32>().value(at).to_owned(),
                seqs.as_primitive::<Int64Type>().value(at),
            );
            let event = events.as_string::<i32>().value(at).to_owned();
            rows.push((leaves.value(at), id, event));
        }
    }
    Ok(rows)
}

/// Publishes `count` messages over all streams: good ones, broken ones and one that is too
/// large to be read, and returns how many were stored.
async fn publish(bus: &Bus, count: usize) -> Result<usize> {
    let js = bus.jetstream();
    for n in 0..count {
        let intent = IntentId::new_at(Timestamp::EPOCH);
        let (subject, body) = match n % 5 {
            0 => (
                "tool.requested.billing".to_owned(),
                format!(
                    r#"{{"intent_id":"{intent}","tool":"mail.send","input":{{"x":"{PLANTED}"}},"requester":{{"id":"sam"}},"purpose":"use {PLANTED}"}}"#
                ),
            ),
            1 => ("tool.withdrawn.billing".to_owned(), "{".to_owned()),
            2 => (
                "control.freeze.lee".to_owned(),
                format!(r#"{{"scope":{{}},"reason":"{PLANTED}"}}"#),
            ),
            3 => (format!("tool.started.billing.{intent}"), PLANTED.to_owned()),
            _ => (
                "tool.requested.crm".to_owned(),
                format!(r#"{{"x":"{}{PLANTED}"}}"#, "y".repeat(300 * (n % 3) * 1024)),
            ),
        };
        js.publish(subject, Bytes::from(body)).await?.await?;
    }
    Ok(count)
}

fn assert_once(rows: &[(RowId, String)]) -> Result<()> {
    let mut seen = BTreeMap::new();
    let mut last = BTreeMap::new();
    for ((stream, life, seq), _) in rows {
        *seen.entry((stream, life, seq)).or_insert(0) += 1;
        let first = Stream::from_name(stream).context("a stream of ours")?;
        let before = i64::try_from(first.first_seq())? - 1;
        let last = last.entry((stream, life)).or_insert(before);
        ensure!(*seq == *last + 1, "{stream} goes from {last} to {seq}");
        *last = *seq;
    }
    ensure!(
        seen.values().all(|count| *count == 1),
        "a row is there twice"
    );
    Ok(())
}

fn verified(fixture: &Fixture) -> Result<()> {
    let path = fixture.state_file();
    let state = State::read(&path)?.context("no state file")?;
    let keys = ManifestKey::from_bytes(&[7; 32]).public();
    let report = verify(fixture.archive(), &keys, &[state.anchor(&path)], false)?;
    ensure!(report.tail_proved, "{report:?}");
    Ok(())
}

fn every_byte(dir: &Path, look: &mut impl FnMut(&Path, &[u8])) -> Result<()> {
    for item in std::fs::read_dir(dir)? {
        let path = item?.path();
        if path.is_dir() {
            every_byte(&path, look)?;
        } else {
            look(&path, &std::fs::read(&path)?);
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message_becomes_one_row_and_no_planted_secret_reaches_a_file() -> Result<()> {
    let fixture = Fixture::start().await?;
    let bus = fixture.bus("test").await?;
    let first = publish(&bus, 60).await?;
    let running = fixture.run(Hooks::default()).await?;
    fixture.wait_for(first).await?;
    let second = publish(&bus, 33).await?;
    let rows = fixture.wait_for(first + second).await?;
    running.stop().await?;
    assert_once(&rows)?;
    verified(&fixture)?;
    every_byte(&fixture.archive(), &mut |path, bytes| {
        let found = bytes
            .windows(PLANTED.len())
            .any(|part| part == PLANTED.as_bytes());
        assert!(!found, "{}", path.display());
    })?;
    let stored = bus
        .last_by_subject(Stream::Events, "archive.committed.*")
        .await?;
    ensure!(stored.is_some(), "no commit was announced");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn dying_at_any_step_loses_and_doubles_nothing() -> Result<()> {
    let fixture = Fixture::start().await?;
    let bus = fixture.bus("test").await?;
    let mut stored = 0;
    for (round, step) in Step::ALL.iter().enumerate() {
        stored += publish(&bus, 11).await?;
        let passes = AtomicUsize::new(round % 2);
        let hooks = Hooks::new(move |at| {
            at != *step
                || passes
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                        left.checked_sub(1)
                    })
                    .is_ok()
        });
        let running = fixture.run(hooks).await?;
        if round % 2 == 1 {
            // The first commit passes; whatever comes after it meets the failure.
            let more = async {
                let mut more = 0;
                while !running.task.is_finished() {
                    more += publish(&bus, 1).await?;
                }
                anyhow::Ok(more)
            };
            stored += tokio::time::timeout(PATIENCE, more).await??;
        }
        let died = tokio::time::timeout(PATIENCE, running.task).await??;
        ensure!(died.is_err(), "it was to die after {step:?}");
    }
    let running = fixture.run(Hooks::default()).await?;
    let rows = fixture.wait_for(stored).await?;
    running.stop().await?;
    assert_once(&rows)?;
    verified(&fixture)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_archivers_write_one_archive() -> Result<()> {
    let fixture = Fixture::start().await?;
    let bus = fixture.bus("test").await?;
    let one = fixture.run(Hooks::default()).await?;
    let two = fixture.run(Hooks::default()).await?;
    let stored = publish(&bus, 120).await?;
    let rows = fixture.wait_for(stored).await?;
    one.stop().await?;
    two.stop().await?;
    assert_once(&rows)?;
    verified(&fixture)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recreated_stream_is_archived_from_its_first_message_and_a_gap_has_a_row() -> Result<()> {
    let fixture = Fixture::start().await?;
    let bus = fixture.bus("test").await?;
    let running = fixture.run(Hooks::default()).await?;
    let first = publish(&bus, 20).await?;
    fixture.wait_for(first).await?;
    running.stop().await?;
    let js = bus.jetstream();
    js.delete_stream(Stream::Orders.name()).await?;
    js.create_stream(stream_config(Stream::Orders, LayoutOptions::default()))
        .await?;
    publish(&bus, 15).await?;
    let orders = js.get_stream(Stream::Orders.name()).await?;
    let first_order = i64::try_from(Stream::Orders.first_seq())?;
    orders
        .delete_message(Stream::Orders.first_seq() + 1)
        .await?;
    let running = fixture.run(Hooks::default()).await?;
    let rows = fixture.wait_for(first + 15).await?;
    running.stop().await?;
    let lives: BTreeMap<&str, Vec<(i64, &str)>> = rows
        .iter()
        .filter(|((stream, ..), _)| stream == Stream::Orders.name())
        .fold(BTreeMap::new(), |mut lives, ((_, life, seq), event)| {
            lives
                .entry(life.as_str())
                .or_default()
                .push((*seq, event.as_str()));
            lives
        });
    ensure!(lives.len() == 2, "{lives:?}");
    let gap = [
        (first_order, "control.freeze"),
        (first_order + 1, "archive.gap"),
        (first_order + 2, "control.freeze"),
    ];
    ensure!(
        lives.values().any(|rows| rows.as_slice() == gap),
        "{lives:?}"
    );
    verified(&fixture)
}

#[tokio::test(flavor = "multi_thread")]
async fn its_own_announcement_starts_no_batch() -> Result<()> {
    let fixture = Fixture::start().await?;
    let bus = fixture.bus("test").await?;
    let running = fixture.run(Hooks::default()).await?;
    let stored = publish(&bus, 3).await?;
    fixture.wait_for(stored).await?;
    let commits = || {
        fixture
            .rows()
            .map(|_| Root::new(&fixture.archive()).last_entry())
    };
    let announced = async {
        while bus
            .last_by_subject(Stream::Events, "archive.committed.*")
            .await?
            .is_none()
        {
            tokio::task::yield_now().await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, announced).await??;
    let before = commits()??;
    // sleep: ten times the batch wait; a batch of its own would have been committed by then
    tokio::time::sleep(Duration::from_millis(200)).await;
    ensure!(
        commits()?? == before,
        "the archiver archived its own announcement alone"
    );
    running.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_server_loses_and_doubles_nothing() -> Result<()> {
    let mut fixture = Fixture::start().await?;
    let bus = fixture.bus("test").await?;
    let running = fixture.run(Hooks::default()).await?;
    let mut stored = 0;
    for _ in 0..3 {
        stored += publish(&bus, 30).await?;
        fixture.server.stop().await?;
        fixture.server.restart().await?;
        let back = async {
            while bus.incarnation(Stream::Events).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, back).await?;
    }
    stored += publish(&bus, 10).await?;
    let rows = fixture.wait_for(stored).await?;
    running.stop().await?;
    assert_once(&rows)?;
    verified(&fixture)
}

/// Hours are over by the archiver's clock while messages still come, so that files are put
/// together again and again while somebody reads.
#[tokio::test(flavor = "multi_thread")]
async fn files_are_put_together_under_readers_who_never_miss_or_double_a_row() -> Result<()> {
    let fixture = Fixture::start().await?;
    let bus = fixture.bus("test").await?;
    let (mut settings, quiet) = (fixture.settings(Hooks::default()), Duration::from_secs(1));
    settings.tidy.compact_after = Some(quiet);
    let clock = ManualClock::new(SystemClock.now().plus(Duration::from_secs(2 * 86_400)));
    let running = fixture.run_with(settings, Arc::new(clock.clone())).await?;
    let (mut stored, mut merged) = (0, false);
    for _ in 0..6 {
        stored += publish(&bus, 20).await?;
        fixture.wait_for(stored).await?;
        let fewer = async {
            while fixture.files()? > 1 {
                clock.advance(quiet);
                assert_once(&fixture.rows()?)?;
                merged = true;
                // sleep: polls a condition, bounded by the deadline around it
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(PATIENCE, fewer)
            .await
            .context("the files were not put together in time")??;
    }
    let rows = fixture.wait_for(stored).await?;
    running.stop().await?;
    ensure!(merged, "nothing was put together");
    assert_once(&rows)?;
    verified(&fixture)
}
