//! Each of the four gates alone keeps a message, and nothing else does.

use countersign_runtime::bus::layout::{DURABLES, Durable};
use countersign_runtime::clock::ManualClock;
use countersign_runtime::health::Health;
use countersign_schemas::events::{ArchivePurged, PolicyChecked, ToolBlocked};
use countersign_schemas::{codec, headers};
use futures::StreamExt as _;

use super::*;

/// Long after the horizon of a day, and within raw retention of a week.
const LATER: Duration = Duration::from_secs(2 * 86_400);
/// Long after raw retention.
const MUCH_LATER: Duration = Duration::from_secs(9 * 86_400);
const INTENT: &str = "01920000-0000-7000-8000-000000000001";

impl Fixture {
    fn janitor(&self) -> Settings {
        let mut settings = self.settings(Hooks::default());
        settings.janitor = JanitorLimits {
            every: Duration::from_millis(50),
            worth: 1,
        };
        settings
    }

    /// Archives all that was published, so many messages by now, and stops: the next
    /// archiver's first look at the gates finds the archive as it is.
    async fn archive_all(&self, published: usize) -> Result<()> {
        let running = self.run(Hooks::default()).await?;
        self.wait_for(published).await?;
        Ok(running.stop().await?)
    }

    /// First sequence of the stream, after the janitor has looked at it `span` later.
    async fn looked(&self, stream: Stream, span: Duration) -> Result<u64> {
        self.looked_with(self.janitor(), stream, span).await
    }

    async fn looked_with(&self, settings: Settings, stream: Stream, span: Duration) -> Result<u64> {
        let clock = ManualClock::new(SystemClock.now().plus(span));
        let running = self.run_with(settings, Arc::new(clock)).await?;
        let ready = async {
            while running.health.report().get("janitor") != Some(&Health::Ready) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, ready).await?;
        running.stop().await?;
        let bus = self.bus("test").await?;
        let found = bus.jetstream().get_stream(stream.name()).await?;
        Ok(found.cached_info().state.first_sequence)
    }

    async fn handle(&self, durables: impl IntoIterator<Item = &Durable>) -> Result<()> {
        let bus = self.bus("test").await?;
        for durable in durables {
            let stream = bus.jetstream().get_stream(durable.stream.name()).await?;
            let consumer: async_nats::jetstream::consumer::PullConsumer = stream
                .get_consumer(durable.name)
                .await
                .map_err(anyhow::Error::msg)?;
            let waiting = usize::try_from(consumer.cached_info().num_pending)?;
            let mut messages = consumer.messages().await?.take(waiting);
            while let Some(message) = messages.next().await {
                message?.double_ack().await.map_err(anyhow::Error::msg)?;
            }
        }
        Ok(())
    }
}

fn of(stream: Stream) -> impl Iterator<Item = &'static Durable> {
    DURABLES
        .iter()
        .filter(move |durable| durable.stream == stream)
}

/// Stores a body under the type that its subject names.
async fn put(bus: &Bus, subject: &str, body: &str) -> Result<u64> {
    let name: Vec<&str> = subject.split('.').take(2).collect();
    let mut head = async_nats::HeaderMap::new();
    let ce_type = format!("dev.countersign.{}.v1", name.join("."));
    head.insert(headers::CE_TYPE, ce_type.as_str());
    let body = Bytes::from(body.to_owned());
    let js = bus.jetstream();
    let stored = js.publish_with_headers(subject.to_owned(), head, body);
    Ok(stored.await?.await?.sequence)
}

/// A verdict about the request at `seq`, in the form of the golden sample.
fn checked(seq: u64) -> Result<String> {
    let sample = include_bytes!("../../../../schemas/golden/policy.checked/v1.json");
    let mut checked: PolicyChecked = codec::decode(sample)?;
    checked.intent_id = INTENT.parse()?;
    checked.agent = "billing".parse()?;
    checked.request.seq = seq;
    Ok(serde_json::to_string(&checked)?)
}

/// The end of that intent.
fn blocked() -> Result<String> {
    let sample = include_bytes!("../../../../schemas/golden/tool.blocked/v1.json");
    let mut blocked: ToolBlocked = codec::decode(sample)?;
    blocked.intent_id = INTENT.parse()?;
    blocked.agent = "billing".parse()?;
    Ok(serde_json::to_string(&blocked)?)
}

/// Ten requests; returns the sequence of the sixth.
async fn requests(fixture: &Fixture) -> Result<u64> {
    let bus = fixture.bus("test").await?;
    let mut open = 0;
    for n in 0..10 {
        let seq = put(&bus, "tool.requested.billing", "{}").await?;
        if n == 5 {
            open = seq;
        }
    }
    Ok(open)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_service_has_not_handled_stays() -> Result<()> {
    let fixture = Fixture::start().await?;
    requests(&fixture).await?;
    fixture.archive_all(10).await?;
    assert_eq!(fixture.looked(Stream::Intents, LATER).await?, 1);
    fixture.handle(of(Stream::Intents)).await?;
    assert_eq!(fixture.looked(Stream::Intents, LATER).await?, 10);
    Ok(())
}

/// After an outage the checker judges a repetition by what is left of the first.
#[tokio::test(flavor = "multi_thread")]
async fn while_a_request_waits_for_the_checker_no_chain_goes_that_it_could_repeat() -> Result<()> {
    let fixture = Fixture::start().await?;
    requests(&fixture).await?;
    let bus = fixture.bus("test").await?;
    for n in 0..3 {
        put(&bus, &format!("deadletter.test.{n}"), "{}").await?;
    }
    fixture.archive_all(13).await?;
    fixture.handle(of(Stream::Events)).await?;
    assert_eq!(fixture.looked(Stream::Events, LATER).await?, 1);
    fixture.handle(of(Stream::Intents)).await?;
    assert!(fixture.looked(Stream::Events, LATER).await? > 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_while_a_file_of_the_archive_is_missing() -> Result<()> {
    let fixture = Fixture::start().await?;
    requests(&fixture).await?;
    fixture.archive_all(10).await?;
    fixture.handle(DURABLES).await?;
    let root = Root::new(&fixture.archive());
    let keys = ManifestKey::from_bytes(&[7; 32]).public();
    let bytes = root.entries()??;
    let walked = verify_chain(bytes.iter().map(Vec::as_slice), &keys, &[])?;
    let file = walked.files.iter().next().context("no file")?;
    let (path, away) = (root.full_name(&file.path), root.full_name("away"));
    std::fs::rename(&path, &away)?;
    let clock = ManualClock::new(SystemClock.now().plus(LATER));
    let running = fixture.run_with(fixture.janitor(), Arc::new(clock)).await?;
    let failing = async {
        while !matches!(
            running.health.report().get("janitor"),
            Some(Health::Failing { .. })
        ) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, failing).await?;
    let bus = fixture.bus("test").await?;
    let found = bus.jetstream().get_stream(Stream::Intents.name()).await?;
    assert_eq!(found.cached_info().state.first_sequence, 1);
    running.stop().await?;
    std::fs::rename(&away, &path)?;
    assert_eq!(fixture.looked(Stream::Intents, LATER).await?, 10);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_repeated_stays() -> Result<()> {
    let fixture = Fixture::start().await?;
    requests(&fixture).await?;
    fixture.archive_all(10).await?;
    fixture.handle(of(Stream::Intents)).await?;
    let horizon = Duration::from_secs(Deployment::default().horizon_s);
    for young in [Duration::ZERO, horizon] {
        assert_eq!(fixture.looked(Stream::Intents, young).await?, 1);
    }
    assert_eq!(fixture.looked(Stream::Intents, LATER).await?, 10);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_archived_stays() -> Result<()> {
    let fixture = Fixture::start().await?;
    requests(&fixture).await?;
    fixture.handle(of(Stream::Intents)).await?;
    fixture.archive_all(10).await?;
    let bus = fixture.bus("test").await?;
    bus.jetstream()
        .delete_stream(Stream::Intents.name())
        .await?;
    layout::ensure(&bus, LayoutOptions::default()).await?;
    requests(&fixture).await?;
    fixture.handle(of(Stream::Intents)).await?;
    // A batch that is never full and never due: nothing more is archived.
    let mut settings = fixture.janitor();
    settings.limits = BatchLimits {
        rows: 1_000_000,
        bytes: 1024 * 1024 * 1024,
        wait: Duration::from_secs(3_600),
    };
    let first = fixture
        .looked_with(settings, Stream::Intents, LATER)
        .await?;
    assert_eq!(first, 1);
    assert_eq!(fixture.looked(Stream::Intents, LATER).await?, 10);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_open_stays_with_its_request_until_it_ends_or_raw_retention_does() -> Result<()> {
    let fixture = Fixture::start().await?;
    let request = requests(&fixture).await?;
    let bus = fixture.bus("test").await?;
    put(&bus, "deadletter.test.first", "{}").await?;
    let verdict = format!("policy.checked.billing.{INTENT}");
    let opened = put(&bus, &verdict, &checked(request)?).await?;
    put(&bus, "deadletter.test.last", "{}").await?;
    fixture.archive_all(13).await?;
    fixture.handle(DURABLES).await?;
    assert_eq!(fixture.looked(Stream::Intents, LATER).await?, request);
    assert_eq!(fixture.looked(Stream::Events, LATER).await?, opened);
    let end = format!("tool.blocked.billing.{INTENT}");
    put(&bus, &end, &blocked()?).await?;
    fixture.archive_all(14).await?;
    fixture.handle(DURABLES).await?;
    assert_eq!(fixture.looked(Stream::Intents, LATER).await?, 10);
    assert!(fixture.looked(Stream::Events, LATER).await? > opened);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_messages_are_not_kept_for_ever_for_an_intent_that_never_ends() -> Result<()> {
    let fixture = Fixture::start().await?;
    let request = requests(&fixture).await?;
    let bus = fixture.bus("test").await?;
    let verdict = format!("policy.checked.billing.{INTENT}");
    put(&bus, &verdict, &checked(request)?).await?;
    fixture.archive_all(11).await?;
    fixture.handle(DURABLES).await?;
    assert_eq!(fixture.looked(Stream::Intents, LATER).await?, request);
    assert_eq!(fixture.looked(Stream::Intents, MUCH_LATER).await?, 10);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_is_an_event_also_after_a_crash_and_the_archive_goes_on() -> Result<()> {
    let fixture = Fixture::start().await?;
    requests(&fixture).await?;
    fixture.archive_all(10).await?;
    fixture.handle(of(Stream::Intents)).await?;
    assert_eq!(fixture.looked(Stream::Intents, LATER).await?, 10);
    let bus = fixture.bus("test").await?;
    let said = async || {
        let found = bus
            .last_by_subject(Stream::Events, "archive.purged.CS_INTENTS.*")
            .await?;
        let found = found.context("the purge was not told")?;
        anyhow::Ok(codec::decode::<ArchivePurged>(&found.payload)?)
    };
    let told = said().await?;
    assert_eq!((told.up_to_seq, told.messages), (10, 9));
    // As if a janitor had died between the purge and its event.
    requests(&fixture).await?;
    fixture.archive_all(20).await?;
    let stream = bus.jetstream().get_stream(Stream::Intents.name()).await?;
    stream.purge().sequence(15).await?;
    assert_eq!(fixture.looked(Stream::Intents, Duration::ZERO).await?, 15);
    let told = said().await?;
    assert_eq!((told.up_to_seq, told.messages), (15, 5));
    let rows = fixture.rows()?;
    assert_once(&rows)?;
    ensure!(
        rows.iter().all(|(_, event)| event != "archive.gap"),
        "a purge is no gap"
    );
    verified(&fixture)
}
