//! A nats-server with the streams, the part of the coordinator, and workers.

mod workers;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use countersign_domain::policy::Bundle;
use countersign_runtime::bus::{
    Append, Bus, ConnectOptions, Meta, Outgoing, StoredMessage, layout,
};
use countersign_runtime::clock::{Clock, ManualClock, SystemClock};
use countersign_runtime::config;
use countersign_runtime::nats_server::{
    NatsServer, Progress, ServerConfig, StartOptions, find_or_provision, plain_config,
};
use countersign_runtime::service::{ClockTrust, ServiceContext, ServiceError};
use countersign_schemas::codec::{self, Encoding};
use countersign_schemas::events::{
    ControlApplied, FreezeScope, Outcome, RequestRef, ToolApproved, ToolCompleted, ToolRequested,
    ToolRevoked, ToolStarted,
};
use countersign_schemas::{Address, Digest, Event, SeqToken, Stream, Timestamp, headers};
use countersign_tool_executor::{NAME, Settings, run};
use futures::StreamExt as _;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::fixture;
pub(crate) use workers::Run;
use workers::Workers;

pub(crate) const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) struct World {
    pub(crate) bundle: Bundle,
    bus: Bus,
    workers: Workers,
    server: NatsServer,
    dir: tempfile::TempDir,
}

/// A running executor; it stops when this is dropped.
pub(crate) struct Executor {
    pub(crate) shutdown: CancellationToken,
    pub(crate) task: JoinHandle<Result<(), ServiceError>>,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_with(layout::LayoutOptions::default().stream_bytes_max).await
    }

    /// The same with streams of this size.
    pub(crate) async fn start_with(stream_bytes_max: i64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("nats");
        let binary = find_or_provision(Progress::Stderr).unwrap();
        let text = ServerConfig::Text(plain_config(&store));
        let server = NatsServer::start(StartOptions::new(binary, text, store))
            .await
            .unwrap();
        let bus = connect(&server.url(), "coordinator").await;
        let options = layout::LayoutOptions {
            stream_bytes_max,
            ..layout::LayoutOptions::default()
        };
        layout::ensure(&bus, options).await.unwrap();
        let workers = Workers::start(&server.url()).await;
        Self {
            bundle: fixture::bundle(),
            bus,
            workers,
            server,
            dir,
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    fn spool(&self, id: &str) -> PathBuf {
        self.dir.path().join(format!("spool-{id}"))
    }

    fn settings(&self, id: &str) -> Settings {
        Settings {
            id: id.parse().unwrap(),
            spool_dir: self.spool(id),
            max_running: 16,
            http: self.workers.bases(),
            folder: Ok(fixture::bundle()),
            redactor: fixture::redactor(),
            permit_keys: fixture::permit_keys(),
            claim_key: fixture::claim_key(),
            keys_dir: None,
        }
    }

    fn launch(
        &self,
        id: &str,
        context: impl Future<Output = ServiceContext> + Send + 'static,
    ) -> JoinHandle<Result<(), ServiceError>> {
        let settings = self.settings(id);
        tokio::spawn(async move { run(context.await, settings).await })
    }

    pub(crate) fn executor(&self, id: &str) -> Executor {
        let shutdown = CancellationToken::new();
        let (url, stop) = (self.server.url(), shutdown.clone());
        let task = self.launch(id, async move {
            let bus = connect(&url, NAME).await;
            ServiceContext::new(deployment(), bus, Arc::new(SystemClock), stop)
        });
        Executor { shutdown, task }
    }

    /// An executor that goes by this clock and takes it for right.
    pub(crate) async fn executor_by(&self, id: &str, clock: Arc<ManualClock>) -> Executor {
        self.executor_trusting(id, clock, ClockTrust::assumed())
            .await
    }

    /// An executor that goes by this clock, once it agrees with the server's.
    pub(crate) async fn careful_executor(&self, id: &str, clock: Arc<ManualClock>) -> Executor {
        self.executor_trusting(id, clock, ClockTrust::unproven())
            .await
    }

    async fn executor_trusting(
        &self,
        id: &str,
        clock: Arc<ManualClock>,
        trust: ClockTrust,
    ) -> Executor {
        let shutdown = CancellationToken::new();
        let bus = connect(&self.server.url(), NAME).await;
        let clock: Arc<dyn Clock> = clock;
        let mut context = ServiceContext::new(deployment(), bus, clock, shutdown.clone());
        context.clock_trust = trust;
        let task = self.launch(id, std::future::ready(context));
        Executor { shutdown, task }
    }

    pub(crate) fn intent(&self, tool: &str, input: Value) -> ToolRequested {
        fixture::requested(tool, input, self.now())
    }

    /// Stores the raw request as the agent would.
    pub(crate) async fn request(&self, raw: &ToolRequested) -> RequestRef {
        let address = Address::ToolRequested {
            agent: fixture::agent(),
        };
        let message = Outgoing::event(&address, raw, &self.meta()).unwrap();
        let seq = self.bus.publisher().publish(message).await.unwrap();
        RequestRef {
            stream: Stream::Intents.name().to_owned(),
            incarnation: self.bus.incarnation(Stream::Intents).await.unwrap(),
            seq,
        }
    }

    /// Stores a decision as the coordinator would; its sequence.
    pub(crate) async fn decide(&self, decision: &ToolApproved) -> u64 {
        let (agent, intent) = (&decision.agent, decision.intent_id);
        let address = Address::ToolApproved {
            agent: agent.clone(),
            intent,
        };
        let message = Outgoing::event(&address, decision, &self.meta()).unwrap();
        let filter = Address::chain_filter(agent, intent);
        match self.bus.append(message, &filter, 0).await.unwrap() {
            Append::Stored(seq) => seq,
            Append::Lost(head) => panic!("the chain has begun: {}", head.subject),
        }
    }

    /// Request and genuine decision; the decision's sequence.
    pub(crate) async fn approve(&self, raw: &ToolRequested) -> u64 {
        let request = self.request(raw).await;
        self.decide(&fixture::approved(raw, &self.bundle, request, self.now()))
            .await
    }

    /// Adds one more link to a chain.
    pub(crate) async fn link<E: Event>(
        &self,
        raw: &ToolRequested,
        what: &str,
        event: &E,
        after: u64,
    ) -> u64 {
        let subject = format!("tool.{what}.{}.{}", fixture::AGENT, raw.intent_id);
        let address = Address::parse(&subject).unwrap();
        let message = Outgoing::event(&address, event, &self.meta()).unwrap();
        let filter = Address::chain_filter(&fixture::agent(), raw.intent_id);
        match self.bus.append(message, &filter, after).await.unwrap() {
            Append::Stored(seq) => seq,
            Append::Lost(head) => panic!("the chain moved on: {}", head.subject),
        }
    }

    /// Bytes without headers on any subject.
    pub(crate) async fn raw(&self, subject: &str, body: &[u8]) {
        let ack = self
            .bus
            .jetstream()
            .publish(subject.to_owned(), body.to_vec().into());
        ack.await.unwrap().await.unwrap();
    }

    /// Stores an order of an operator as the coordinator would; its sequence.
    pub(crate) async fn order(
        &self,
        order: u64,
        again: Option<u64>,
        frozen: bool,
        scope: FreezeScope,
    ) -> u64 {
        let seq = SeqToken::new("abc".parse().unwrap(), order);
        let address = match again {
            None => Address::ControlApplied { seq },
            Some(n) => Address::ControlReapplied { seq, n },
        };
        let event = ControlApplied {
            schema_version: 1,
            frozen,
            scope,
            operator: "olga".parse().unwrap(),
            reason: "looks wrong".to_owned(),
            applied_at: self.now(),
        };
        let message = Outgoing::event(&address, &event, &self.meta()).unwrap();
        match self.bus.store_once(message).await.unwrap() {
            Append::Stored(seq) => seq,
            Append::Lost(_) => panic!("stored before"),
        }
    }

    /// Stores an order that a newer coordinator would write.
    pub(crate) async fn newer_order(&self, order: u64) {
        let mut message = Outgoing::raw(&format!("control.applied.abc.{order}"), "{}".into());
        message.set(headers::CE_TYPE, "dev.countersign.control.applied.v2");
        self.bus.store_once(message).await.unwrap();
    }

    /// Removes everything before `seq` from the stream of events.
    pub(crate) async fn purge_before(&self, seq: u64) {
        let stream = self.bus.jetstream().get_stream(Stream::Events.name());
        let purge = stream.await.unwrap();
        purge.purge().sequence(seq).await.unwrap();
    }

    /// Answers every recheck with this, as a checker that goes by the bundle in force.
    pub(crate) async fn checker_that_says(&self, runs: bool) -> JoinHandle<()> {
        self.checkers(vec![self.bundle.digest()], runs, || ()).await
    }

    /// Answers rechecks as checkers that go by these bundles in turn, the last one for ever,
    /// each time after `before` was done.
    pub(crate) async fn checkers(
        &self,
        bundles: Vec<Digest>,
        runs: bool,
        before: impl Fn() + Send + 'static,
    ) -> JoinHandle<()> {
        let client = self.bus.client().clone();
        let mut asked = client.subscribe("cs.policy.recheck").await.unwrap();
        client.flush().await.unwrap();
        let tool = fixture::tool(&self.bundle, "crm.read").digest();
        let last = bundles.last().copied().unwrap();
        let mut bundles = bundles.into_iter();
        tokio::spawn(async move {
            while let Some(request) = asked.next().await {
                let question: Value = serde_json::from_slice(&request.payload).unwrap();
                before();
                let answer = json!({
                    "intent_id": question["intent_id"], "runs": runs, "verdict": "allow",
                    "reasons": [], "needs": [], "tool_digest": tool,
                    "policy_digest": bundles.next().unwrap_or(last),
                });
                let reply = request.reply.unwrap();
                client
                    .publish(reply, answer.to_string().into())
                    .await
                    .unwrap();
            }
        })
    }

    /// Fills the stream of events until it is nearly full.
    pub(crate) async fn fill(&self) {
        wait("the stream is nearly full", async || {
            self.raw("deadletter.filler.x", &[b'x'; 4_096]).await;
            let found = self.bus.jetstream().get_stream(Stream::Events.name());
            let info = found.await.unwrap().cached_info().clone();
            let bytes = i64::try_from(info.state.bytes).unwrap();
            (bytes * 100 >= info.config.max_bytes * 81).then_some(())
        })
        .await;
    }

    /// Makes the streams larger.
    pub(crate) async fn make_room(&self) {
        let options = layout::LayoutOptions::default();
        layout::ensure(&self.bus, options).await.unwrap();
    }

    pub(crate) fn started_by(&self, executor: &str, raw: &ToolRequested) -> ToolStarted {
        ToolStarted {
            schema_version: 1,
            intent_id: raw.intent_id,
            agent: fixture::agent(),
            tool: raw.tool.clone(),
            executor: executor.parse().unwrap(),
            lease_until: self.now().plus(Duration::from_secs(15)),
        }
    }

    pub(crate) fn outcome(&self, raw: &ToolRequested, outcome: Outcome) -> ToolCompleted {
        ToolCompleted {
            schema_version: 1,
            intent_id: raw.intent_id,
            agent: fixture::agent(),
            tool: raw.tool.clone(),
            outcome,
            output: None,
            output_summary: "told by hand".to_owned(),
            changes: Vec::new(),
            error: None,
            duration_ms: 1,
        }
    }

    pub(crate) async fn head(&self, raw: &ToolRequested) -> StoredMessage {
        let filter = Address::chain_filter(&fixture::agent(), raw.intent_id);
        let head = self
            .bus
            .last_by_subject(Stream::Events, &filter)
            .await
            .unwrap();
        head.expect("the chain has begun")
    }

    /// The last message of a chain that is over, waited for.
    pub(crate) async fn ended(&self, raw: &ToolRequested) -> StoredMessage {
        wait("the end of a chain", async || {
            let head = self.head(raw).await;
            let over = !["approved", "started"].contains(&head.subject.split('.').nth(1)?);
            over.then_some(head)
        })
        .await
    }

    async fn end<E: Event>(&self, raw: &ToolRequested) -> E {
        let head = self.ended(raw).await;
        assert_eq!(
            head.header(headers::CE_TYPE),
            Some(headers::ce_type::<E>().as_str())
        );
        codec::decode(&head.payload).unwrap()
    }

    pub(crate) async fn completed(&self, raw: &ToolRequested) -> ToolCompleted {
        self.end(raw).await
    }

    /// Approves one intent after the other until one succeeds.
    pub(crate) async fn until_one_succeeds(&self, tool: &str) {
        wait("one succeeds", async || {
            let raw = self.intent(tool, json!({"id": "C-1"}));
            self.approve(&raw).await;
            let head = self.ended(&raw).await;
            let completed = head.subject.starts_with("tool.completed.");
            let succeeded = completed && self.completed(&raw).await.outcome == Outcome::Succeeded;
            succeeded.then_some(())
        })
        .await;
    }

    pub(crate) async fn revoked(&self, raw: &ToolRequested) -> ToolRevoked {
        self.end(raw).await
    }

    pub(crate) async fn at<E: Event>(&self, seq: u64) -> E {
        let message = self.bus.by_seq(Stream::Events, seq).await.unwrap().unwrap();
        codec::decode(&message.payload).unwrap()
    }

    /// The last message over `filter`, once there is one.
    pub(crate) async fn eventually<T: DeserializeOwned>(&self, filter: &str) -> T {
        let message = wait(filter, async || {
            self.bus
                .last_by_subject(Stream::Events, filter)
                .await
                .unwrap()
        })
        .await;
        serde_json::from_slice(&message.payload).unwrap()
    }

    /// Leaves an outcome in the spool of `id`, as a crash before its ack would.
    pub(crate) fn leave_in_spool(&self, id: &str, claim_seq: u64, completed: &ToolCompleted) {
        let record = json!({
            "message_id": "kept-1",
            "claim_seq": claim_seq,
            "completed": completed,
        });
        let dir = self.spool(id);
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join(format!("{}.json", completed.intent_id));
        std::fs::write(path, record.to_string()).unwrap();
    }

    pub(crate) async fn eventually_empty(&self, id: &str) {
        let dir = self.spool(id);
        wait("the spool is empty", async || {
            records(&dir).is_empty().then_some(())
        })
        .await;
    }

    /// Every decision was delivered and acked.
    pub(crate) async fn all_inputs_done(&self) {
        wait("all inputs are acked", async || {
            let info = self.consumer().await;
            (info.num_pending == 0 && info.num_ack_pending == 0).then_some(())
        })
        .await;
    }

    /// A decision was delivered and given back.
    pub(crate) async fn until_given_back(&self) {
        wait("a decision is given back", async || {
            let info = self.consumer().await;
            let pending = info.num_pending == 0 && info.num_ack_pending == 1;
            (pending && info.ack_floor.stream_sequence == 0).then_some(())
        })
        .await;
    }

    async fn consumer(&self) -> async_nats::jetstream::consumer::Info {
        let durable = layout::EXECUTOR_EVENTS;
        let stream = self
            .bus
            .jetstream()
            .get_stream(durable.stream.name())
            .await
            .unwrap();
        stream.consumer_info(durable.name).await.unwrap()
    }

    pub(crate) fn runs(&self, raw: &ToolRequested) -> Vec<Run> {
        self.workers.runs(raw.intent_id)
    }

    pub(crate) async fn until_running(&self, raw: &ToolRequested) {
        wait("the worker has the call", async || {
            (!self.runs(raw).is_empty()).then_some(())
        })
        .await;
    }

    /// Answers the calls with the input `waits`, from now on at once.
    pub(crate) fn let_go(&self) {
        self.workers.let_go();
    }

    pub(crate) fn stop_nats_worker(&self) {
        self.workers.stop_nats();
    }

    fn meta(&self) -> Meta {
        Meta {
            source: "approval-coordinator".parse().unwrap(),
            encoding: Encoding::Json,
            claimed_at: self.now(),
            traceparent: Some(TRACE.to_owned()),
        }
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

fn deployment() -> config::Deployment {
    config::Deployment {
        name: fixture::DEPLOYMENT.parse().unwrap(),
        ..config::Deployment::default()
    }
}

async fn connect(url: &str, name: &str) -> Bus {
    let options = ConnectOptions {
        url: url.to_owned(),
        name: name.to_owned(),
        credential: nkeys::KeyPair::new_user().seed().unwrap(),
        tls_ca: None,
    };
    Bus::connect(options).await.unwrap()
}

fn records(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
        .collect()
}

async fn wait<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}
