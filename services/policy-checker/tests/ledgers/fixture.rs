//! A server, a company with rates and budgets, and as many checkers as a test wants.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use async_nats::HeaderMap;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use countersign_domain::ledger::{Ledger, Pages};
use countersign_policy_checker::{NAME, Settings, run};
use countersign_runtime::bus::layout::{CHECKER_INTENTS, LEDGERS};
use countersign_runtime::bus::{Bucket, Bus, Outgoing};
use countersign_runtime::clock::SystemClock;
use countersign_runtime::config::{Deployment, Mandates};
use countersign_runtime::nats_server::NatsServer;
use countersign_runtime::service::{ServiceContext, ServiceError};
use countersign_schemas::events::{PolicyChecked, Verdict};
use countersign_schemas::{Address, IntentId, Stream, Timestamp, codec};
use futures::StreamExt as _;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::common;

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);
/// How soon the intents of a dead checker come again: the real half minute is too long
/// for a test.
const ACK_WAIT: Duration = Duration::from_secs(2);

const ENTITIES: &str = r#"{
  "teams": {"desk": {}},
  "people": {"lee": {"teams": ["desk"]}, "mara": {"teams": ["desk"]}},
  "roles": {"payer": {}},
  "agents": {"billing": {"owners": ["lee"], "roles": ["payer"], "team": "desk"}}
}"#;
const POLICY: &str = r#"
@id("pay")
@because("payers pay")
permit (principal in Role::"payer", action in Action::"create", resource in ToolGroup::"money");
"#;

/// A tool `name` with these guardrails.
pub(crate) fn tool(name: &str, guardrails: &[&str]) -> String {
    let table = format!(
        r#"
[tools."{name}"]
operation = "create"
description = "Pays."
summary = "pay {{/amount}}"
groups = ["money"]
worker = {{ kind = "nats" }}
input = {{ type = "object", required = ["amount"], properties = {{ amount = {{ type = "number" }} }} }}
fields."/amount" = {{ class = "internal" }}
"#
    );
    let guards = guardrails
        .iter()
        .map(|guard| format!("[[tools.\"{name}\".guardrails]]\n{guard}\n"));
    std::iter::once(table).chain(guards).collect()
}

pub(crate) struct Fixture {
    pub(crate) server: NatsServer,
    pub(crate) bus: Bus,
    pub(crate) dir: tempfile::TempDir,
}

/// A checker. Dropping it stops it as a crash does: wherever it just is.
pub(crate) struct Running {
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), ServiceError>>,
}

impl Running {
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.shutdown.cancel();
        Ok((&mut self.task).await??)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fixture {
    pub(crate) async fn start(catalog: &str) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let (server, bus) = common::start(dir.path()).await?;
        hurry_redelivery(&bus).await?;
        let policy = dir.path().join("policy");
        std::fs::create_dir_all(policy.join("catalog"))?;
        std::fs::create_dir_all(policy.join("policies"))?;
        std::fs::write(policy.join("catalog/money.toml"), catalog)?;
        std::fs::write(policy.join("policies/money.cedar"), POLICY)?;
        std::fs::write(policy.join("entities.json"), ENTITIES)?;
        Ok(Self { server, bus, dir })
    }

    pub(crate) fn policy(&self) -> PathBuf {
        self.dir.path().join("policy")
    }

    pub(crate) async fn check(&self) -> Result<Running> {
        let shutdown = CancellationToken::new();
        let bus = common::connect(&self.server, NAME).await?;
        let clock = Arc::new(SystemClock);
        let context = ServiceContext::new(Deployment::default(), bus, clock, shutdown.clone());
        let settings = Settings {
            policy_dir: self.policy(),
            keys_dir: self.dir.path().to_owned(),
            label_life: Duration::from_secs(3_600),
            max_in_flight: 300,
            mandates: Mandates::default(),
        };
        let task = tokio::spawn(run(context, settings));
        Ok(Running { shutdown, task })
    }

    /// Publishes an intent as an agent does, and knows that it is stored.
    pub(crate) async fn send(&self, id: IntentId, tool: &str, amount: &str) -> Result<()> {
        let amount: Value = serde_json::from_str(amount)?;
        let body = json!({
            "intent_id": id, "tool": tool, "input": {"amount": amount},
            "requester": {"id": "kim@x.example"}, "purpose": "to pay"
        });
        let sent = self.bus.jetstream().publish_with_headers(
            "tool.requested.billing",
            HeaderMap::new(),
            body.to_string().into(),
        );
        sent.await?.await?;
        Ok(())
    }

    /// Sends intents of 1 each, many at once; every tenth is sent twice.
    pub(crate) async fn send_many(&self, ids: &[IntentId], tool: &str) -> Result<()> {
        let copies = ids.iter().enumerate().flat_map(|(n, id)| {
            let times = if n % 10 == 0 { 2 } else { 1 };
            std::iter::repeat_n(*id, times)
        });
        let sent: Vec<Result<()>> = futures::stream::iter(copies)
            .map(|id| self.send(id, tool, "1"))
            .buffer_unordered(200)
            .collect()
            .await;
        sent.into_iter().collect()
    }

    /// Sends one intent and waits for its verdict.
    pub(crate) async fn ask(&self, tool: &str, amount: &str) -> Result<PolicyChecked> {
        let id = new_id();
        self.send(id, tool, amount).await?;
        eventually("the intent is judged", async || self.verdict(id).await).await
    }

    pub(crate) async fn verdict(&self, id: IntentId) -> Result<Option<PolicyChecked>> {
        let filter = Address::checked_filter(id);
        let found = self.bus.last_by_subject(Stream::Events, &filter).await?;
        Ok(found
            .map(|found| codec::decode(&found.payload))
            .transpose()?)
    }

    /// The verdicts on all of them, as soon as there are so many.
    pub(crate) async fn verdicts(&self, ids: &[IntentId]) -> Result<Vec<PolicyChecked>> {
        eventually("every intent is judged", async || {
            let all: Vec<Result<Option<PolicyChecked>>> = futures::stream::iter(ids)
                .map(|id| self.verdict(*id))
                .buffered(64)
                .collect()
                .await;
            let all: Result<Vec<Option<PolicyChecked>>> = all.into_iter().collect();
            Ok(all?.into_iter().collect())
        })
        .await
    }

    /// The ledger that a verdict relies on, its pages, and its revision. A checker at work may
    /// write a newer ledger, and remove the pages of this one, between the reads: they are
    /// read anew then.
    pub(crate) async fn ledger(&self, key: &str) -> Result<(Ledger, Pages, u64)> {
        eventually("every page of the ledger is there", async || {
            let (ledger, revision) = self.head(key).await?;
            let Some(pages) = self.pages(key, &ledger).await? else {
                let (_, now) = self.head(key).await?;
                ensure!(now != revision, "a page of the ledger in force is missing");
                return Ok(None);
            };
            Ok(Some((ledger, pages, revision)))
        })
        .await
    }

    async fn head(&self, key: &str) -> Result<(Ledger, u64)> {
        let entry = Bucket::new(&self.bus, LEDGERS).get(key).await?;
        let entry = entry.context("there is no ledger")?;
        Ok((Ledger::read(&entry.value)?, entry.revision))
    }

    /// All pages that a ledger names; nothing if one is gone.
    async fn pages(&self, key: &str, ledger: &Ledger) -> Result<Option<Pages>> {
        let bucket = Bucket::new(&self.bus, LEDGERS);
        let mut pages = Pages::new();
        for page in ledger.pages() {
            let Some(stored) = bucket.get(&format!("{key}.{}", page.as_str())).await? else {
                return Ok(None);
            };
            let read = Arc::new(serde_json::from_slice(&stored.value)?);
            pages.insert(page.clone(), read);
        }
        Ok(Some(pages))
    }

    /// What the ledger has taken in all, as text.
    pub(crate) async fn total(&self, key: &str) -> Result<String> {
        Ok(self.head(key).await?.0.total().normalize().to_string())
    }

    /// Stores an event of the coordinator or executor on the chain of an intent: the golden
    /// one, made to speak of this intent.
    pub(crate) async fn end(&self, checked: &PolicyChecked, how: &str) -> Result<()> {
        let golden = match how {
            "blocked" => include_str!("../../../../schemas/golden/tool.blocked/v1.json"),
            "revoked" => include_str!("../../../../schemas/golden/tool.revoked/v1.json"),
            _ => include_str!("../../../../schemas/golden/tool.completed/v1.json"),
        };
        let mut body: serde_json::Map<String, Value> = serde_json::from_str(golden)?;
        body.insert("intent_id".to_owned(), json!(checked.intent_id));
        body.insert("agent".to_owned(), json!(checked.agent));
        let ce_type = format!("dev.countersign.tool.{how}.v1");
        let body = Value::Object(body).to_string();
        self.plant(checked, how, &body, &ce_type).await
    }

    /// Stores any bytes on the chain of an intent.
    pub(crate) async fn plant(
        &self,
        checked: &PolicyChecked,
        how: &str,
        body: &str,
        ce_type: &str,
    ) -> Result<()> {
        let subject = format!("tool.{how}.{}.{}", checked.agent, checked.intent_id);
        let mut message = Outgoing::raw(&subject, body.to_owned().into());
        message.set("ce-type", ce_type);
        self.bus.publisher().publish(message).await?;
        Ok(())
    }

    /// Waits until every intent is judged and acknowledged.
    pub(crate) async fn settle(&self) -> Result<()> {
        eventually("the checkers finish", async || {
            let stream = self.bus.jetstream().get_stream(Stream::Intents.name());
            let mut stream = stream.await?;
            let published = stream.info().await?.state.last_sequence;
            let info = stream.consumer_info(CHECKER_INTENTS.name).await?;
            let done = info.ack_floor.stream_sequence == published && info.num_ack_pending == 0;
            Ok(done.then_some(()))
        })
        .await
    }
}

async fn hurry_redelivery(bus: &Bus) -> Result<()> {
    let config = pull::Config {
        durable_name: Some(CHECKER_INTENTS.name.to_owned()),
        filter_subjects: CHECKER_INTENTS
            .filters
            .iter()
            .map(|&f| f.to_owned())
            .collect(),
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        max_ack_pending: 20_000,
        ..pull::Config::default()
    };
    let stream = bus.jetstream().get_stream(Stream::Intents.name()).await?;
    stream.create_consumer(config).await?;
    Ok(())
}

pub(crate) fn new_id() -> IntentId {
    let now: Timestamp = countersign_runtime::clock::Clock::now(&SystemClock);
    IntentId::new_at(now)
}

pub(crate) fn allowed(verdicts: &[PolicyChecked]) -> usize {
    let allowed = |checked: &&PolicyChecked| checked.verdict == Verdict::Allow;
    verdicts.iter().filter(allowed).count()
}

pub(crate) async fn eventually<T>(
    what: &str,
    mut look: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        ensure!(
            tokio::time::Instant::now() < deadline,
            "{what}: not in time"
        );
        tokio::task::yield_now().await;
    }
}
