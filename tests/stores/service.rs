//! The archiver itself on a bucket: files put together, streams purged, orphans removed.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use bytes::Bytes;
use countersign_audit_archiver::{
    BatchLimits, Hooks, JanitorLimits, Root, Settings, TidyLimits, run,
};
use countersign_domain::archive::{Scrub, ScrubError, Scrubbed, verify_chain};
use countersign_runtime::archive::{Created, Store};
use countersign_runtime::bus::layout::{self, DURABLES, LayoutOptions};
use countersign_runtime::bus::{Bus, ConnectOptions};
use countersign_runtime::clock::{Clock as _, ManualClock, SystemClock};
use countersign_runtime::config::Deployment;
use countersign_runtime::health::{Health, HealthHandle};
use countersign_runtime::nats_server::{
    NatsServer, Progress, ServerConfig, StartOptions, find_or_provision, plain_config,
};
use countersign_runtime::service::{ClockTrust, ServiceContext, ServiceError};
use countersign_schemas::{JsonObject, Stream};
use countersign_tests::{PATIENCE, eventually};
use futures::StreamExt as _;
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::server::{Bucket, Fault};
use crate::world::{World, key};

/// Passes everything on: nothing of these tests is secret.
struct Plain;

impl Scrub for Plain {
    fn text(&self, text: &str) -> Result<Scrubbed<String>, ScrubError> {
        Ok(Scrubbed {
            value: text.to_owned(),
            kinds: Vec::new(),
        })
    }

    fn json(&self, object: &JsonObject) -> Result<Scrubbed<JsonObject>, ScrubError> {
        Ok(Scrubbed {
            value: object.clone(),
            kinds: Vec::new(),
        })
    }
}

/// A server with our streams.
struct Nats {
    server: NatsServer,
    seed: String,
    _dir: TempDir,
}

impl Nats {
    async fn start() -> Self {
        let binary = find_or_provision(Progress::Quiet).expect("a nats-server");
        let dir = tempfile::tempdir().expect("a directory");
        let user = nkeys::KeyPair::new_user();
        let store = dir.path().join("store");
        let allowed = format!("{{ nkey: {} }}", user.public_key());
        let config = plain_config(&store) + &format!("authorization {{ users = [ {allowed} ] }}\n");
        let options = StartOptions::new(binary, ServerConfig::Text(config), store);
        let nats = Self {
            server: NatsServer::start(options).await.expect("it starts"),
            seed: user.seed().expect("a seed"),
            _dir: dir,
        };
        let bus = nats.bus().await;
        layout::ensure(&bus, LayoutOptions::default())
            .await
            .expect("streams");
        nats
    }

    async fn bus(&self) -> Bus {
        let options = ConnectOptions {
            url: self.server.url(),
            name: "audit-archiver".to_owned(),
            credential: self.seed.clone(),
            tls_ca: None,
        };
        Bus::connect(options).await.expect("a connection")
    }

    async fn publish(&self, count: usize) {
        let bus = self.bus().await;
        for _ in 0..count {
            let stored = bus
                .jetstream()
                .publish("tool.requested.billing", Bytes::from_static(b"{}"));
            stored.await.expect("sent").await.expect("stored");
        }
    }

    /// Does the work of every service: nothing waits for one any more.
    async fn handle_all(&self) {
        let bus = self.bus().await;
        for durable in DURABLES {
            let stream = bus.jetstream().get_stream(durable.stream.name());
            let stream = stream.await.expect("a stream");
            let consumer: PullConsumer =
                stream.get_consumer(durable.name).await.expect("a consumer");
            let waiting = usize::try_from(consumer.cached_info().num_pending).expect("few");
            let mut messages = consumer.messages().await.expect("messages").take(waiting);
            while let Some(message) = messages.next().await {
                message.expect("one").double_ack().await.expect("acked");
            }
        }
    }

    async fn first(&self, stream: Stream) -> u64 {
        let bus = self.bus().await;
        let found = bus.jetstream().get_stream(stream.name()).await;
        found.expect("a stream").cached_info().state.first_sequence
    }

    async fn run(&self, settings: Settings, clock: &ManualClock) -> Running {
        let shutdown = CancellationToken::new();
        let bus = self.bus().await;
        let clock = Arc::new(clock.clone());
        let mut context = ServiceContext::new(Deployment::default(), bus, clock, shutdown.clone());
        context.clock_trust = ClockTrust::assumed();
        let health = context.health.clone();
        let task = tokio::spawn(run(context, settings));
        Running {
            task,
            shutdown,
            health,
        }
    }
}

struct Running {
    task: JoinHandle<Result<(), ServiceError>>,
    shutdown: CancellationToken,
    health: HealthHandle,
}

impl Running {
    async fn stop(self) {
        self.shutdown.cancel();
        let ended = tokio::time::timeout(PATIENCE, self.task).await;
        ended.expect("in time").expect("it ends").expect("well");
    }
}

fn settings(world: &World) -> Settings {
    Settings {
        writer: world.options("", Hooks::default()),
        limits: BatchLimits {
            rows: 10,
            bytes: 1024 * 1024,
            wait: Duration::from_millis(20),
        },
        janitor: JanitorLimits {
            every: Duration::from_millis(100),
            worth: 1,
        },
        tidy: TidyLimits {
            compact_after: None,
            grace: Duration::from_secs(3_600),
        },
        witnesses: Vec::new(),
        scrub: Arc::new(Plain),
        keys: None,
    }
}

/// How many files the archive consists of, and how many lie there.
fn files(world: &World) -> (usize, usize) {
    let root = Root::open(&world.place).expect("an archive");
    let bytes = root.entries().expect("readable").expect("whole");
    let walked = verify_chain(bytes.iter().map(Vec::as_slice), &key().public(), &[]);
    let there = root.list("archive/v1").expect("a list").len();
    (walked.expect("sound").files.len(), there)
}

async fn requests(world: &World) -> u64 {
    if world.place_is_empty() {
        return 0;
    }
    let sql = "SELECT count(*) AS n, count(DISTINCT seq) AS seqs FROM events \
               WHERE stream = 'CS_INTENTS'";
    let rows = world.ask(sql).await;
    assert_eq!(rows[0]["n"], rows[0]["seqs"], "a row is there twice");
    rows[0]["n"].as_u64().expect("a number")
}

async fn archived(world: &World, count: u64) {
    eventually(PATIENCE, "the rows are there", async || {
        (requests(world).await == count).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_put_together_orphans_removed_and_streams_purged() {
    let Some(bucket) = Bucket::new() else { return };
    let world = World::at(bucket.place("acme"));
    let nats = Nats::start().await;
    let later = SystemClock.now().plus(Duration::from_secs(2 * 86_400));
    let clock = ManualClock::new(later);
    let mut settings = settings(&world);
    settings.tidy = TidyLimits {
        compact_after: Some(Duration::from_secs(1)),
        grace: Duration::from_secs(3),
    };
    let orphan = "archive/v1/date=2026-11-22/hour=10/orphan.parquet".to_owned();
    let created = bucket.store("acme").create_all(&[(orphan, b"x".to_vec())]);
    assert_eq!(created.expect("made"), [Created::Now]);
    nats.publish(60).await;
    nats.handle_all().await;
    let running = nats.run(settings, &clock).await;
    archived(&world, 60).await;
    eventually(
        PATIENCE,
        "one file holds every row, and no other is there",
        async || {
            clock.advance(Duration::from_secs(1));
            assert_eq!(requests(&world).await, 60, "for any reader");
            (files(&world) == (1, 1)).then_some(())
        },
    )
    .await;
    eventually(
        PATIENCE,
        "the stream is purged but for the last",
        async || (nats.first(Stream::Intents).await == 60).then_some(()),
    )
    .await;
    running.stop().await;
    assert!(world.verified().tail_proved);
    assert_eq!(requests(&world).await, 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_purged_while_a_file_is_missing_from_the_bucket() {
    let Some(bucket) = Bucket::new() else { return };
    let world = World::at(bucket.place("acme"));
    let nats = Nats::start().await;
    let clock = ManualClock::new(SystemClock.now());
    nats.publish(10).await;
    nats.handle_all().await;
    let running = nats.run(settings(&world), &clock).await;
    archived(&world, 10).await;
    running.stop().await;
    let store = bucket.store("acme");
    let path = store.list("archive/v1").expect("a list").remove(0).path;
    let bytes = store
        .read(&path, 1024 * 1024)
        .expect("read")
        .expect("bytes");
    store.remove(&path).expect("removed");
    clock.advance(Duration::from_secs(2 * 86_400));
    let running = nats.run(settings(&world), &clock).await;
    eventually(PATIENCE, "the janitor says that it cannot", async || {
        let report = running.health.report();
        let failing = matches!(report.get("janitor"), Some(Health::Failing { .. }));
        failing.then_some(())
    })
    .await;
    assert_eq!(
        nats.first(Stream::Intents).await,
        1,
        "what is lost is still here"
    );
    running.stop().await;
    let back = store.create_all(&[(path, bytes)]).expect("made");
    assert_eq!(back, [Created::Now]);
    let running = nats.run(settings(&world), &clock).await;
    eventually(PATIENCE, "it is purged when the file is back", async || {
        (nats.first(Stream::Intents).await > 1).then_some(())
    })
    .await;
    running.stop().await;
    world.verified();
}

/// The store goes away for a while, and comes back.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_for_a_while_loses_and_doubles_nothing() {
    let Some(bucket) = Bucket::new() else { return };
    let (away, refused) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let (is_away, was_refused) = (Arc::clone(&away), Arc::clone(&refused));
    let endpoint = bucket.proxy(move |request| {
        if !is_away.load(SeqCst) {
            return Fault::Nothing;
        }
        was_refused.fetch_or(request.method == "PUT", SeqCst);
        Fault::Refused(403)
    });
    let world = World::at(bucket.through(&endpoint, "acme"));
    let direct = World::at(bucket.place("acme"));
    let nats = Nats::start().await;
    let clock = ManualClock::new(SystemClock.now());
    nats.publish(10).await;
    let running = nats.run(settings(&world), &clock).await;
    archived(&direct, 10).await;
    away.store(true, SeqCst);
    nats.publish(25).await;
    eventually(PATIENCE, "a commit fails", async || {
        refused.load(SeqCst).then_some(())
    })
    .await;
    assert_eq!(requests(&direct).await, 10);
    away.store(false, SeqCst);
    archived(&direct, 35).await;
    running.stop().await;
    assert!(world.verified().tail_proved);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_does_not_exist_ends_the_start_in_words() {
    let Some(bucket) = Bucket::new() else { return };
    let missing = bucket.url("x").replace("audit-", "no-such-");
    let settings_of = json!({"endpoint": bucket.endpoint()});
    let mut settings_of: countersign_runtime::config::Archive =
        serde_json::from_value(settings_of).expect("settings");
    settings_of.credentials_file = Some(bucket.credentials());
    let place = countersign_runtime::archive::BucketPlace::new(&missing, &settings_of);
    let place = countersign_runtime::archive::Place::Bucket(place.expect("a place"));
    let error = Store::new(&place).expect("a store").prepare();
    let error = error.expect_err("there is none").to_string();
    assert!(error.contains("NoSuchBucket"), "{error}");
}
