//! The checker against a real nats-server: one verdict for each intent id, for ever.

mod common;
#[path = "it/external.rs"]
mod external;
#[path = "it/facts.rs"]
mod facts;
#[path = "it/issuer.rs"]
mod issuer;
#[path = "it/labels.rs"]
mod labels;
#[path = "it/mandates.rs"]
mod mandates;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use async_nats::HeaderMap;
use countersign_policy_checker::{NAME, Settings, run};
use countersign_runtime::bus::layout::{self, CHECKER_INTENTS, LayoutOptions};
use countersign_runtime::bus::{Bucket, Bus, StoredMessage};
use countersign_runtime::clock::SystemClock;
use countersign_runtime::config::{Deployment, Mandates};
use countersign_runtime::health::HealthHandle;
use countersign_runtime::nats_server::NatsServer;
use countersign_runtime::service::{ServiceContext, ServiceError};
use countersign_schemas::events::{PolicyChecked, RefusedCode, ToolRefused, Verdict};
use countersign_schemas::limits::BODY_BYTES_MAX;
use countersign_schemas::{Address, IntentId, Stream, Timestamp, codec};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long anything may take on a busy machine: one test has thousands of intents judged.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server with the streams, a folder of keys, and the sample company's policy.
struct Fixture {
    server: NatsServer,
    bus: Bus,
    dir: tempfile::TempDir,
    deployment: Deployment,
    mandates: Mandates,
}

struct Running {
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), ServiceError>>,
    health: HealthHandle,
}

impl Running {
    async fn stop(self) -> Result<()> {
        self.shutdown.cancel();
        Ok(self.task.await??)
    }
}

fn sample_policy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../countersign/policy")
}

impl Fixture {
    async fn start() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let (server, bus) = common::start(dir.path()).await?;
        Ok(Self {
            server,
            bus,
            dir,
            deployment: Deployment::default(),
            mandates: Mandates::default(),
        })
    }

    async fn check_with(&self, policy_dir: PathBuf) -> Result<Running> {
        let shutdown = CancellationToken::new();
        let bus = common::connect(&self.server, NAME).await?;
        let context = ServiceContext::new(
            self.deployment.clone(),
            bus,
            Arc::new(SystemClock),
            shutdown.clone(),
        );
        let health = context.health.clone();
        let settings = Settings {
            policy_dir,
            keys_dir: self.dir.path().to_owned(),
            mandates: self.mandates.clone(),
            label_life: Duration::from_secs(3_600),
            max_in_flight: 100,
        };
        Ok(Running {
            shutdown,
            task: tokio::spawn(run(context, settings)),
            health,
        })
    }

    async fn check(&self) -> Result<Running> {
        self.check_with(sample_policy()).await
    }

    /// Publishes as an agent does and gives the sequence.
    async fn send(
        &self,
        agent: &str,
        body: impl Into<Vec<u8>>,
        ce_type: Option<&str>,
    ) -> Result<u64> {
        let mut headers = HeaderMap::new();
        if let Some(ce_type) = ce_type {
            headers.insert("ce-type", ce_type);
        }
        let subject = format!("tool.requested.{agent}");
        let sent = self
            .bus
            .jetstream()
            .publish_with_headers(subject, headers, body.into().into());
        Ok(sent.await?.await?.sequence)
    }

    /// Waits until everything published is judged and acked.
    async fn settle(&self) -> Result<()> {
        let last = async || -> Result<bool> {
            let jetstream = self.bus.jetstream();
            let mut stream = jetstream.get_stream(Stream::Intents.name()).await?;
            let published = stream.info().await?.state.last_sequence;
            let mut consumer: async_nats::jetstream::consumer::PullConsumer = stream
                .get_consumer(CHECKER_INTENTS.name)
                .await
                .map_err(|error| anyhow::anyhow!("{error}"))?;
            let info = consumer.info().await?;
            Ok(info.ack_floor.stream_sequence == published && info.num_ack_pending == 0)
        };
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !last().await? {
            ensure!(
                tokio::time::Instant::now() < deadline,
                "the checker did not finish"
            );
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn last(&self, filter: &str) -> Result<Option<StoredMessage>> {
        Ok(self.bus.last_by_subject(Stream::Events, filter).await?)
    }

    async fn verdict(&self, intent: IntentId) -> Result<PolicyChecked> {
        let found = self.last(&Address::checked_filter(intent)).await?;
        Ok(codec::decode(
            &found.context("there is no verdict")?.payload,
        )?)
    }

    async fn refusal(&self, agent: &str, seq: u64) -> Result<Option<ToolRefused>> {
        let found = self.last(&format!("tool.refused.{agent}.*.{seq}")).await?;
        found
            .map(|found| Ok(codec::decode(&found.payload)?))
            .transpose()
    }

    async fn refused(&self, agent: &str, seq: u64) -> Result<RefusedCode> {
        let refusal = self
            .refusal(agent, seq)
            .await?
            .context("there is no refusal")?;
        ensure!(refusal.request.seq == seq && refusal.agent.as_str() == agent);
        Ok(refusal.code)
    }

    async fn events(&self) -> Result<u64> {
        let mut stream = self
            .bus
            .jetstream()
            .get_stream(Stream::Events.name())
            .await?;
        Ok(stream.info().await?.state.messages)
    }
}

fn now() -> Timestamp {
    countersign_runtime::clock::Clock::now(&SystemClock)
}

fn intent(id: IntentId) -> Value {
    json!({"intent_id": id, "tool": "docs.search", "input": {"query": "returns"},
           "requester": {"id": "kim@northwind.example"}, "purpose": "to answer a letter"})
}

fn pretty(body: &Value) -> String {
    serde_json::to_string_pretty(body).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_intent_has_one_verdict_whoever_repeats_it() -> Result<()> {
    let fixture = Fixture::start().await?;
    let running = fixture.check().await?;
    let id = IntentId::new_at(now());
    let first = fixture
        .send("support", intent(id).to_string(), None)
        .await?;
    fixture.settle().await?;
    let verdict = fixture.verdict(id).await?;
    ensure!(
        verdict.verdict == Verdict::Allow && verdict.request.seq == first,
        "{verdict:?}"
    );
    ensure!(running.health.is_ready());

    let copy = fixture
        .send(
            "support",
            pretty(&intent(id)),
            Some("dev.countersign.tool.requested.v1"),
        )
        .await?;
    let mut other = intent(id);
    other["purpose"] = json!("something else");
    let changed = fixture.send("support", other.to_string(), None).await?;
    let stolen = fixture
        .send("billing", intent(id).to_string(), None)
        .await?;
    fixture.settle().await?;
    ensure!(
        fixture.refusal("support", copy).await?.is_none(),
        "a copy was refused"
    );
    ensure!(fixture.refused("support", changed).await? == RefusedCode::IntentConflict);
    ensure!(fixture.refused("billing", stolen).await? == RefusedCode::IntentConflict);
    ensure!(fixture.verdict(id).await? == verdict, "the verdict changed");
    running.stop().await?;

    // Everything is delivered again to a new instance: nothing is said twice.
    let events = fixture.events().await?;
    let stream = fixture
        .bus
        .jetstream()
        .get_stream(Stream::Intents.name())
        .await?;
    stream.delete_consumer(CHECKER_INTENTS.name).await?;
    layout::ensure(&fixture.bus, LayoutOptions::default()).await?;
    let running = fixture.check().await?;
    fixture.settle().await?;
    ensure!(
        fixture.events().await? == events,
        "a redelivery said something new"
    );
    running.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_judged_is_refused_in_words() -> Result<()> {
    let fixture = Fixture::start().await?;
    let running = fixture.check().await?;
    let id = || IntentId::new_at(now());
    let day = Duration::from_secs(24 * 60 * 60);
    let mut large = intent(id());
    large["purpose"] = json!("x".repeat(BODY_BYTES_MAX));
    let wrong = Some("dev.countersign.tool.withdrawn.v1");
    let table = [
        (large.to_string().into_bytes(), None, RefusedCode::TooLarge),
        (vec![b'x'; 900 * 1024], None, RefusedCode::TooLarge),
        (
            b"{\"intent_id\": nonsense".to_vec(),
            None,
            RefusedCode::Unreadable,
        ),
        (
            b"\xc3\x01\0\0\0\0\0\0\0\0\0".to_vec(),
            None,
            RefusedCode::Unreadable,
        ),
        (Vec::new(), None, RefusedCode::Unreadable),
        (
            intent(id()).to_string().into_bytes(),
            wrong,
            RefusedCode::Unreadable,
        ),
        (
            intent(IntentId::new_at(now().plus(Duration::from_secs(600))))
                .to_string()
                .into_bytes(),
            None,
            RefusedCode::IntentOutOfTime,
        ),
        (
            intent(IntentId::new_at(now().minus(day * 2)))
                .to_string()
                .into_bytes(),
            None,
            RefusedCode::IntentOutOfTime,
        ),
    ];
    for (body, ce_type, expected) in table {
        let seq = fixture.send("support", body, ce_type).await?;
        fixture.settle().await?;
        let code = fixture.refused("support", seq).await?;
        ensure!(code == expected, "{code} instead of {expected}");
    }
    ensure!(
        fixture.last("policy.checked.>").await?.is_none(),
        "something was judged"
    );
    running.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_known_before_its_age_is() -> Result<()> {
    let mut fixture = Fixture::start().await?;
    fixture.deployment.horizon_s = 10;
    let running = fixture.check().await?;
    fixture
        .send("support", intent(IntentId::new_at(now())).to_string(), None)
        .await?;
    fixture.settle().await?;
    // Accepted now that the checker is there, with ten seconds to spare; beyond the horizon
    // soon.
    let id = IntentId::new_at(now().minus(Duration::from_secs(5)));
    fixture
        .send("support", intent(id).to_string(), None)
        .await?;
    fixture.settle().await?;
    let verdict = fixture.verdict(id).await?;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while now().since(id.made_at()) < Duration::from_millis(15_200) {
        ensure!(tokio::time::Instant::now() < deadline);
        // sleep: between two looks at a condition with a deadline.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let copy = fixture.send("support", pretty(&intent(id)), None).await?;
    let mut other = intent(id);
    other["purpose"] = json!("something else");
    let changed = fixture.send("support", other.to_string(), None).await?;
    fixture.settle().await?;
    ensure!(
        fixture.refusal("support", copy).await?.is_none(),
        "a copy was refused for its age"
    );
    ensure!(fixture.refused("support", changed).await? == RefusedCode::IntentConflict);
    ensure!(fixture.verdict(id).await? == verdict);
    running.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_sound_bundle_every_intent_is_denied_in_words() -> Result<()> {
    let fixture = Fixture::start().await?;
    let empty = fixture.dir.path().join("policy");
    std::fs::create_dir(&empty)?;
    for dir in [empty, fixture.dir.path().join("missing")] {
        let running = fixture.check_with(dir).await?;
        let id = IntentId::new_at(now());
        fixture
            .send("support", intent(id).to_string(), None)
            .await?;
        fixture.settle().await?;
        let verdict = fixture.verdict(id).await?;
        let reason = verdict.reasons.first().context("no reason")?;
        ensure!(
            verdict.verdict == Verdict::Deny && reason.code == "policy_error",
            "{verdict:?}"
        );
        ensure!(
            !reason
                .message
                .contains(fixture.dir.path().to_str().unwrap_or("?")),
            "a path was told"
        );
        ensure!(!running.health.is_ready());
        running.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_not_ours_hold_no_intent_id() -> Result<()> {
    let fixture = Fixture::start().await?;
    let id = IntentId::new_at(now());
    let subject = format!("policy.checked.support.{id}");
    let planted = fixture
        .bus
        .jetstream()
        .publish(subject, "{\"seq\":1}".into())
        .await?
        .await?;
    let running = fixture.check().await?;
    fixture
        .send("support", intent(id).to_string(), None)
        .await?;
    fixture.settle().await?;
    let head = fixture
        .last(&Address::checked_filter(id))
        .await?
        .context("nothing")?;
    ensure!(head.seq > planted.sequence && fixture.verdict(id).await?.verdict == Verdict::Allow);
    running.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn intents_wait_while_a_stream_is_nearly_full() -> Result<()> {
    let fixture = Fixture::start().await?;
    let small = LayoutOptions {
        stream_bytes_max: 20_000,
        ..LayoutOptions::default()
    };
    layout::ensure(&fixture.bus, small).await?;
    let filler = format!("tool.blocked.support.{}", IntentId::new_at(now()));
    let stored = fixture
        .bus
        .jetstream()
        .publish(filler, vec![0; 17_000].into());
    stored.await?.await?;
    let running = fixture.check().await?;
    let id = IntentId::new_at(now());
    fixture
        .send("support", intent(id).to_string(), None)
        .await?;
    let stream = fixture.bus.jetstream();
    let stream = stream.get_stream(Stream::Intents.name()).await?;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while stream
        .consumer_info(CHECKER_INTENTS.name)
        .await?
        .num_redelivered
        == 0
    {
        let waits = tokio::time::Instant::now() < deadline;
        ensure!(waits, "it was not given back");
        tokio::task::yield_now().await;
    }
    ensure!(fixture.verdict(id).await.is_err(), "it was judged");
    layout::ensure(&fixture.bus, LayoutOptions::default()).await?;
    fixture.settle().await?;
    ensure!(fixture.verdict(id).await?.verdict == Verdict::Allow);
    running.stop().await
}
