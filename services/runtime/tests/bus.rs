//! The bus against a real nats-server: what the compare-and-set promises rest on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use countersign_domain::redact::{FingerprintKey, Redactor};
use countersign_runtime::bus::layout::{self, CHECKER_INTENTS, LayoutOptions};
use countersign_runtime::bus::{
    Append, Bucket, Bus, Cas, ConnectOptions, ConsumeLimits, Failure, Followed, Handler, Incoming,
    Meta, Outgoing, PublishError, ReplayFrom, Source, consume,
};
use countersign_runtime::health::{Health, HealthHandle};
use countersign_runtime::nats_server::{
    NatsServer, Progress, ServerConfig, StartOptions, find_or_provision, plain_config,
};
use countersign_schemas::codec::Encoding;
use countersign_schemas::events::ToolWithdrawn;
use countersign_schemas::{Address, Digest, IntentId, ServiceId, Stream, Timestamp};
use futures::StreamExt as _;
use tokio_util::sync::CancellationToken;

static SOURCE: LazyLock<ServiceId> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "a constant that is a valid token")]
    "bus-test".parse().expect("a valid token")
});
const PATIENCE: Duration = Duration::from_secs(90);

struct Fixture {
    server: NatsServer,
    seed: String,
    _dir: tempfile::TempDir,
}

impl Fixture {
    async fn start() -> Result<Self> {
        let binary = find_or_provision(Progress::Quiet)?;
        let dir = tempfile::tempdir()?;
        let all = nkeys::KeyPair::new_user();
        let narrow = nkeys::KeyPair::new_user();
        let store = dir.path().join("store");
        let config = plain_config(&store)
            + &format!(
                "authorization {{ users = [ {{ nkey: {} }}, {{ nkey: {}, permissions: \
             {{ publish: [\"tool.withdrawn.narrow\"], subscribe: [\"_INBOX_narrow.>\"] }} }} ] }}\n",
                all.public_key(),
                narrow.public_key()
            );
        std::fs::write(dir.path().join("narrow"), narrow.seed()?)?;
        let options = StartOptions::new(binary, ServerConfig::Text(config), store);
        Ok(Self {
            server: NatsServer::start(options).await?,
            seed: all.seed()?,
            _dir: dir,
        })
    }

    async fn connect(&self, name: &str) -> Result<Bus> {
        self.connect_with(name, self.seed.clone()).await
    }

    async fn connect_with(&self, name: &str, credential: String) -> Result<Bus> {
        let options = ConnectOptions {
            url: self.server.url(),
            name: name.to_owned(),
            credential,
            tls_ca: None,
        };
        Ok(Bus::connect(options).await?)
    }

    async fn ready(&self, name: &str) -> Result<Bus> {
        let bus = self.connect(name).await?;
        layout::ensure(&bus, LayoutOptions::default()).await?;
        Ok(bus)
    }
}

fn meta() -> Meta {
    Meta {
        source: SOURCE.clone(),
        encoding: Encoding::Json,
        claimed_at: Timestamp::EPOCH,
        traceparent: None,
    }
}

fn body(intent: IntentId) -> ToolWithdrawn {
    ToolWithdrawn {
        schema_version: 1,
        intent_id: intent,
        reason: None,
    }
}

fn decision(kind: &str, intent: IntentId) -> Result<Outgoing> {
    let agent = "billing".parse()?;
    let address = match kind {
        "approved" => Address::ToolApproved { agent, intent },
        _ => Address::ToolBlocked { agent, intent },
    };
    Ok(Outgoing::event(&address, &body(intent), &meta())?)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_decision_wins_whoever_races() -> Result<()> {
    let fixture = Fixture::start().await?;
    let (one, two) = (fixture.ready("one").await?, fixture.connect("two").await?);
    let agent = "billing".parse()?;
    for _ in 0..50 {
        let intent = IntentId::new_at(Timestamp::EPOCH);
        let filter = Address::chain_filter(&agent, intent);
        let (left, right) = tokio::join!(
            one.append(decision("approved", intent)?, &filter, 0),
            two.append(decision("blocked", intent)?, &filter, 0),
        );
        let won = match (left?, right?) {
            (Append::Stored(seq), Append::Lost(head))
            | (Append::Lost(head), Append::Stored(seq)) => {
                ensure!(head.seq == seq, "the loser must see the winner");
                seq
            }
            other => anyhow::bail!("exactly one must win: {other:?}"),
        };
        let again = one
            .append(decision("approved", intent)?, &filter, 0)
            .await?;
        ensure!(matches!(again, Append::Lost(head) if head.seq == won));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_layout_is_idempotent_and_buckets_compare_and_set() -> Result<()> {
    let fixture = Fixture::start().await?;
    let bus = fixture.ready("setup").await?;
    layout::ensure(&bus, LayoutOptions::default()).await?;
    let life = bus.incarnation(Stream::Events).await?;
    ensure!(bus.incarnation(Stream::Events).await? == life);

    let bucket = Bucket::new(&bus, layout::APPROVALS);
    ensure!(bucket.entries().await?.is_empty());
    ensure!(bucket.get("a-1").await?.is_none());
    let Cas::Stored(revision) = bucket.create("a-1", Bytes::from_static(b"x")).await? else {
        anyhow::bail!("a fresh key must be created");
    };
    ensure!(bucket.create("a-1", Bytes::from_static(b"y")).await? == Cas::Conflict);
    let updated = bucket
        .update("a-1", Bytes::from_static(b"z"), revision)
        .await?;
    ensure!(matches!(updated, Cas::Stored(_)));
    ensure!(
        bucket
            .update("a-1", Bytes::from_static(b"w"), revision)
            .await?
            == Cas::Conflict
    );
    bucket.create("a-2", Bytes::from_static(b"v")).await?;
    let mut keys: Vec<String> = bucket.entries().await?.into_iter().map(|e| e.key).collect();
    keys.sort();
    ensure!(keys == ["a-1", "a-2"], "{keys:?}");
    ensure!(bucket.get("a-1").await?.context("a-1")?.value == "z");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_leaves_its_bucket_when_its_life_is_over() -> Result<()> {
    let fixture = Fixture::start().await?;
    let bus = fixture.ready("setup").await?;
    let bucket = Bucket::new(&bus, layout::APPROVALS);
    let Cas::Stored(revision) = bucket.create("a-1", Bytes::from_static(b"x")).await? else {
        anyhow::bail!("a fresh key must be created");
    };
    bucket.create("a-2", Bytes::from_static(b"stays")).await?;
    // Long enough that it is still there when it is looked at, on a machine that stalls too.
    let life = Duration::from_secs(8);
    let last = bucket
        .update_for("a-1", Bytes::from_static(b"y"), revision, life)
        .await?;
    ensure!(matches!(last, Cas::Stored(_)), "{last:?}");
    ensure!(bucket.get("a-1").await?.context("still there")?.value == "y");
    eventually("the entry is gone", async || {
        Ok(bucket.get("a-1").await?.is_none())
    })
    .await?;
    let left: Vec<String> = bucket.entries().await?.into_iter().map(|e| e.key).collect();
    ensure!(left == ["a-2"], "{left:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_publish_is_answered_at_once() -> Result<()> {
    let fixture = Fixture::start().await?;
    let bus = fixture.ready("setup").await?;
    let seed = std::fs::read_to_string(fixture._dir.path().join("narrow"))?;
    let narrow = fixture.connect_with("narrow", seed).await?;
    let intent = IntentId::new_at(Timestamp::EPOCH);
    // What waits for an ack that never comes ends otherwise.
    let refused = narrow
        .publisher()
        .publish(decision("approved", intent)?)
        .await;
    ensure!(
        matches!(refused, Err(PublishError::Refused { .. })),
        "{refused:?}"
    );
    let own = Address::ToolWithdrawn {
        agent: "narrow".parse()?,
    };
    let stored = narrow
        .publisher()
        .publish(Outgoing::event(&own, &body(intent), &meta())?)
        .await?;
    let read = bus
        .by_seq(Stream::Intents, stored)
        .await?
        .context("stored")?;
    ensure!(read.address() == Some(own));
    ensure!(read.header("ce-type") == Some("dev.countersign.tool.withdrawn.v1"));
    Ok(())
}

/// Gives every message back once, calls every tenth poison, and counts the rest.
struct Picky {
    handled: AtomicU64,
    poisoned: AtomicU64,
    redactor: Redactor,
}

impl Picky {
    fn new() -> Result<Self> {
        Ok(Self {
            handled: AtomicU64::new(0),
            poisoned: AtomicU64::new(0),
            redactor: Redactor::new(FingerprintKey::new("k1", [7; 32])?),
        })
    }
}

impl Handler for Picky {
    async fn handle(&self, message: Incoming) -> Result<(), Failure> {
        if message.deliveries == 1 {
            return Err(Failure::transient_in(
                "first time",
                Duration::from_millis(1),
            ));
        }
        if message.seq.is_multiple_of(10) {
            self.poisoned.fetch_add(1, Ordering::SeqCst);
            return Err(Failure::poison("every tenth, such as of kim@x.example"));
        }
        self.handled.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn meta(&self) -> Meta {
        meta()
    }

    fn redactor(&self) -> &Redactor {
        &self.redactor
    }
}

async fn eventually(what: &str, mut check: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    while tokio::time::Instant::now() < deadline {
        tick.tick().await;
        if check().await? {
            return Ok(());
        }
    }
    anyhow::bail!("not within {PATIENCE:?}: {what}")
}

async fn send_requests(bus: &Bus, count: u64) -> Result<()> {
    let address = Address::ToolRequested {
        agent: "billing".parse()?,
    };
    for _ in 0..count {
        let message = Outgoing::raw(address.subject().as_str(), Bytes::from_static(b"{}"));
        bus.publisher().publish(message).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loop_retries_buries_and_survives_a_server_restart() -> Result<()> {
    let mut fixture = Fixture::start().await?;
    let bus = fixture.ready("policy-checker").await?;
    send_requests(&bus, 40).await?;
    let (handler, shutdown) = (Arc::new(Picky::new()?), CancellationToken::new());
    let (looped, stop, picky) = (bus.clone(), shutdown.clone(), Arc::clone(&handler));
    let running = tokio::spawn(async move {
        consume(
            &looped,
            CHECKER_INTENTS,
            picky,
            ConsumeLimits::default(),
            stop,
        )
        .await
    });
    eventually("36 handled, 4 buried", async || {
        Ok(handler.handled.load(Ordering::SeqCst) == 36
            && handler.poisoned.load(Ordering::SeqCst) == 4)
    })
    .await?;
    let letters = bus
        .replay("CS_EVENTS", &["deadletter.>"], ReplayFrom::Start)
        .await?;
    let mut letters = letters.messages();
    for _ in 0..4 {
        let letter = tokio::time::timeout(PATIENCE, letters.next())
            .await?
            .context("letter")??;
        let text = String::from_utf8_lossy(&letter.message.payload).into_owned();
        ensure!(
            text.contains("every tenth, such as of [email:k1:"),
            "{text}"
        );
        // A plain digest could be tried against every payload that might be.
        let plain = Digest::of_bytes(b"{}").to_string();
        ensure!(text.contains("\"payload_bytes\":2"), "{text}");
        ensure!(!text.contains(&plain), "{text}");
    }
    drop(letters);

    fixture.server.kill()?;
    fixture.server.restart().await?;
    eventually("the connection is back", async || Ok(bus.is_connected())).await?;
    send_requests(&bus, 5).await?;
    eventually("the loop goes on after a restart", async || {
        Ok(handler.handled.load(Ordering::SeqCst) >= 40)
    })
    .await?;
    shutdown.cancel();
    tokio::time::timeout(PATIENCE, running).await???;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn new_work_is_refused_while_a_stream_is_nearly_full() -> Result<()> {
    let fixture = Fixture::start().await?;
    let bus = fixture.connect("one").await?;
    ensure!(
        matches!(
            bus.require_room(&Stream::ARCHIVED).await,
            Err(Failure::Transient { .. })
        ),
        "no work while nobody knows how full a stream is"
    );
    let small = LayoutOptions {
        stream_bytes_max: 20_000,
        ..LayoutOptions::default()
    };
    layout::ensure(&bus, small).await?;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while bus.require_room(&Stream::ARCHIVED).await.is_err() {
        ensure!(tokio::time::Instant::now() < deadline, "there is room");
        // sleep: between two looks at a condition with a deadline.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let agent = "billing".parse()?;
    while bus.require_room(&[Stream::Events]).await.is_ok() {
        ensure!(tokio::time::Instant::now() < deadline, "it fills up");
        let intent = IntentId::new_at(Timestamp::EPOCH);
        let filter = Address::chain_filter(&agent, intent);
        // Past the server's own limit it refuses, as it should.
        drop(bus.append(decision("blocked", intent)?, &filter, 0).await);
    }
    let percent = bus.fullness(Stream::Events).await?;
    ensure!((80..=100).contains(&percent), "{percent} %");
    ensure!(bus.fullness(Stream::Intents).await? == 0);
    Ok(())
}

/// What a follower of a bucket is told, in words. Each item is waited for in many short
/// waits: giving one up loses nothing.
async fn told(feed: &mut (impl futures::Stream<Item = Followed> + Unpin)) -> Result<String> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        ensure!(tokio::time::Instant::now() < deadline, "nothing is told");
        let Ok(next) = tokio::time::timeout(Duration::from_millis(5), feed.next()).await else {
            continue;
        };
        return Ok(match next.context("it never ends")? {
            Followed::Message(message) => {
                let key = message.subject.rsplit('.').next().unwrap_or_default();
                format!("{key}={}", String::from_utf8_lossy(&message.payload))
            }
            Followed::CaughtUp => "caught up".to_owned(),
            Followed::Broken => "broken".to_owned(),
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_followed_to_its_end_then_live_and_again_after_a_break() -> Result<()> {
    let fixture = Fixture::start().await?;
    let bus = fixture.connect("one").await?;
    let health = HealthHandle::new();
    let part = health.part("rows");
    let source = Source::bucket("the rows", layout::APPROVALS);
    let mut feed = bus.follow(source, &part);
    ensure!(
        told(&mut feed).await? == "broken",
        "there is no such bucket"
    );
    let reason = "the rows are being read again".to_owned();
    let failing = Some(Health::Failing { reason });
    ensure!(health.report().remove("rows") == failing);

    layout::ensure(&bus, LayoutOptions::default()).await?;
    ensure!(told(&mut feed).await? == "caught up", "it is empty");
    let bucket = Bucket::new(&bus, layout::APPROVALS);
    for (key, value) in [("a", "1"), ("b", "1"), ("a", "2")] {
        bucket.put(key, Bytes::from(value)).await?;
        ensure!(told(&mut feed).await? == format!("{key}={value}"), "live");
    }

    // The same bucket under a second follower: the last values, and the end of them.
    let mut second = bus.follow(Source::bucket("the rows", layout::APPROVALS), &part);
    for expected in ["b=1", "a=2", "caught up"] {
        ensure!(told(&mut second).await? == expected, "{expected}");
    }
    bucket.put("c", Bytes::from("1")).await?;
    ensure!(
        told(&mut second).await? == "c=1",
        "once caught up it says so no more"
    );
    ensure!(told(&mut feed).await? == "c=1");

    // Gone and made anew, as after a restore: what was read is told to be out of date.
    part.ready();
    let stream = format!("KV_{}", layout::APPROVALS);
    bus.jetstream().delete_stream(&stream).await?;
    layout::ensure(&bus, LayoutOptions::default()).await?;
    bucket.put("d", Bytes::from("1")).await?;
    ensure!(told(&mut feed).await? == "broken", "it is another bucket");
    ensure!(health.report().remove("rows") == failing, "its part fails");
    for expected in ["d=1", "caught up"] {
        ensure!(told(&mut feed).await? == expected, "{expected}");
    }
    Ok(())
}
