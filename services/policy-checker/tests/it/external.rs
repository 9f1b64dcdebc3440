//! Guardrails outside, with the accounts and permissions of a deployment: a micro service
//! answers with the credential of a worker, and nothing that it says widens anything.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use async_nats::service::ServiceExt as _;
use async_nats::service::error::Error as ServiceFailure;
use countersign_policy_checker::{NAME, Settings, run};
use countersign_runtime::bus::layout::{self, LayoutOptions};
use countersign_runtime::bus::{Bus, ConnectOptions};
use countersign_runtime::clock::SystemClock;
use countersign_runtime::config::{Deployment as Deployed, Mandates};
use countersign_runtime::identity::{Deployment, InitOptions, Principal, Role, init};
use countersign_runtime::nats_server::{
    NatsServer, Progress, ServerConfig, StartOptions, find_or_provision,
};
use countersign_runtime::service::ServiceContext;
use countersign_schemas::events::{PolicyChecked, Verdict};
use countersign_schemas::{Address, IntentId, Stream, codec};
use futures::StreamExt as _;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{PATIENCE, Running, now};

/// A tool whose guardrail is served, one whose guardrail nobody serves, and one whose
/// guardrail has little time.
const CATALOG: &str = r#"
[tools."letter.send"]
operation = "send"
description = "Sends a letter."
summary = "Letter to {/name}"
worker = { kind = "nats" }
input = { type = "object", properties = { name = { type = "string" }, pin = { type = "string" }, case = { type = "integer" } } }
fields = { "/name" = { class = "personal:person" }, "/pin" = { class = "secret" }, "/case" = { class = "internal" } }
guardrails = [{ kind = "external", name = "names", deadline_ms = 5000, ask = "leads" }]

[tools."letter.lost"]
operation = "send"
description = "Sends a letter."
summary = "Letter"
worker = { kind = "nats" }
input = { type = "object", properties = {} }
guardrails = [{ kind = "external", name = "absent", deadline_ms = 5000 }]

[tools."letter.late"]
operation = "send"
description = "Sends a letter."
summary = "Letter"
worker = { kind = "nats" }
input = { type = "object", properties = { case = { type = "integer" } } }
fields = { "/case" = { class = "internal" } }
guardrails = [{ kind = "external", name = "names", deadline_ms = 50 }]
"#;
const POLICY: &str = "@id(\"desk\") permit(principal in Role::\"desk\", action, resource);";
const ENTITIES: &str = r#"{
    "teams": {"leads": {}, "finance": {}},
    "people": {"lee": {"teams": ["leads"]}, "jo": {"teams": ["finance"]}, "kim": {"teams": ["finance"]}, "sam": {}},
    "roles": {"desk": {}},
    "agents": {"support": {"owners": ["sam"], "roles": ["desk"], "team": "leads"}}
}"#;

/// What the service answers to each case, the verdict, and words of its reason.
const CASES: &[(&str, Verdict, &str)] = &[
    (
        r#"{"result": "pass", "message": "The name is on no list."}"#,
        Verdict::Allow,
        "",
    ),
    (
        r#"{"result": "deny", "message": "The name is on a list.", "need": "Another name."}"#,
        Verdict::Deny,
        "says: The name is on a list.",
    ),
    (
        r#"{"result": "ask", "message": "The name is rare.", "ask": "finance:2"}"#,
        Verdict::Ask,
        "The name is rare.",
    ),
    (
        r#"{"result": "ask", "message": "m", "ask": "friends"}"#,
        Verdict::Deny,
        "a team that cannot decide",
    ),
    (
        r#"{"result": "allow", "message": "m"}"#,
        Verdict::Deny,
        "did not answer with",
    ),
    (
        r#"{"result": "deny", "result": "pass", "message": "m"}"#,
        Verdict::Deny,
        "not one strict JSON object",
    ),
    ("pass", Verdict::Deny, "not one strict JSON object"),
    ("", Verdict::Deny, "not one strict JSON object"),
    ("LARGE", Verdict::Deny, "is larger than"),
    ("FAILS", Verdict::Deny, "it reports a failure"),
];
/// A case that the service never answers.
const NEVER: usize = 1_000;

struct World {
    checker: Bus,
    agent: Bus,
    seen: Arc<Mutex<Vec<Value>>>,
    _service: async_nats::service::Service,
    _server: NatsServer,
    files: Deployment,
    _dir: tempfile::TempDir,
}

async fn connect(server: &NatsServer, files: &Deployment, role: Role, name: &str) -> Result<Bus> {
    let registry = files.registry()?;
    let principal = &registry.find(role, name)?.principal;
    let options = ConnectOptions {
        url: server.url(),
        name: name.to_owned(),
        credential: files.seed(principal)?.context("a seed")?,
        tls_ca: None,
    };
    Ok(Bus::connect(options).await?)
}

impl World {
    async fn start() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let mut options = InitOptions::local("acme", "127.0.0.1:4222");
        let guardrails = BTreeSet::from(["names".parse()?]);
        options.identities = vec![
            Principal::Agent("support".parse()?),
            Principal::worker("lists", BTreeSet::new(), guardrails)?,
        ];
        let files = init(&dir.path().join("acme"), &options)?.deployment;
        let policy = dir.path().join("policy");
        for (path, text) in [
            ("catalog/all.toml", CATALOG),
            ("policies/all.cedar", POLICY),
            ("entities.json", ENTITIES),
        ] {
            let path = policy.join(path);
            std::fs::create_dir_all(path.parent().context("a folder")?)?;
            std::fs::write(path, text)?;
        }
        let binary = find_or_provision(Progress::Quiet)?;
        let store = files.dir().join("nats").join("jetstream");
        let config = ServerConfig::File(files.server_conf());
        let server = NatsServer::start(StartOptions::new(binary, config, store)).await?;
        let join = async |role, name| connect(&server, &files, role, name).await;
        layout::ensure(
            &join(Role::Service, "setup").await?,
            LayoutOptions::default(),
        )
        .await?;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let worker = join(Role::Worker, "lists").await?;
        Ok(Self {
            checker: join(Role::Service, NAME).await?,
            agent: join(Role::Agent, "support").await?,
            _service: serve(worker.client(), Arc::clone(&seen)).await?,
            seen,
            _server: server,
            files,
            _dir: dir,
        })
    }

    fn check(&self) -> Running {
        let shutdown = CancellationToken::new();
        let context = ServiceContext::new(
            Deployed::default(),
            self.checker.clone(),
            Arc::new(SystemClock),
            shutdown.clone(),
        );
        let health = context.health.clone();
        let settings = Settings {
            policy_dir: self._dir.path().join("policy"),
            keys_dir: self.files.dir().join("keys"),
            mandates: Mandates::default(),
            label_life: Duration::from_secs(3_600),
            max_in_flight: 100,
        };
        Running {
            shutdown,
            task: tokio::spawn(run(context, settings)),
            health,
        }
    }

    async fn verdict(&self, tool: &str, input: Value) -> Result<PolicyChecked> {
        let id = IntentId::new_at(now());
        let body = json!({"intent_id": id, "tool": tool, "input": input,
                          "requester": {"id": "sam"}, "purpose": "to write"});
        let sent = self.agent.jetstream();
        let sent = sent.publish("tool.requested.support", body.to_string().into());
        sent.await?.await?;
        let filter = Address::checked_filter(id);
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let found = self
                .checker
                .last_by_subject(Stream::Events, &filter)
                .await?;
            if let Some(found) = found {
                return Ok(codec::decode(&found.payload)?);
            }
            ensure!(
                tokio::time::Instant::now() < deadline,
                "there is no verdict"
            );
            tokio::task::yield_now().await;
        }
    }
}

/// A micro service as anybody writes one.
async fn serve(
    client: &async_nats::Client,
    seen: Arc<Mutex<Vec<Value>>>,
) -> Result<async_nats::service::Service> {
    let builder = client.service_builder();
    let service = builder.start("names", "1.0.0").await;
    let service = service.map_err(|error| anyhow::anyhow!("{error}"))?;
    let group = service.group("cs.guardrail");
    let endpoint = group.endpoint("names").await;
    let mut endpoint = endpoint.map_err(|error| anyhow::anyhow!("{error}"))?;
    client.flush().await?;
    tokio::spawn(async move {
        while let Some(request) = endpoint.next().await {
            let body: Value = serde_json::from_slice(&request.message.payload).unwrap_or_default();
            let case = body.pointer("/input/case").and_then(Value::as_u64);
            let case = case.and_then(|case| usize::try_from(case).ok());
            seen.lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .push(body);
            let answer = match case.and_then(|case| CASES.get(case)) {
                None => continue,
                Some(("FAILS", ..)) => Err(ServiceFailure {
                    code: 500,
                    status: "pass".to_owned(),
                }),
                Some(("LARGE", ..)) => {
                    let words = "x".repeat(20_000);
                    Ok(format!(r#"{{"result": "pass", "message": "{words}"}}"#).into())
                }
                Some((text, ..)) => Ok((*text).into()),
            };
            if request.respond(answer).await.is_err() {
                break;
            }
        }
    });
    Ok(service)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_outside_passes_asks_or_denies_and_widens_nothing() -> Result<()> {
    let world = World::start().await?;
    let running = world.check();
    for (case, (answer, expected, words)) in CASES.iter().enumerate() {
        let input = json!({"name": "Ann Example", "pin": "918273", "case": case});
        let checked = world.verdict("letter.send", input).await?;
        ensure!(checked.verdict == *expected, "{answer}: {checked:?}");
        let told = checked.guardrails.first().context("no guardrail ran")?;
        ensure!(told.message.contains(words), "{answer}: {}", told.message);
        ensure!(checked.ask.is_some() == (*expected == Verdict::Ask));
        if let Some(ask) = &checked.ask {
            let teams: Vec<String> = ask
                .approvers
                .iter()
                .map(|one| format!("{}:{}", one.team, one.quorum))
                .collect();
            ensure!(teams == ["finance:2", "leads:1"], "{teams:?}");
        }
    }
    let seen = world.seen.lock().expect("nobody panicked").clone();
    ensure!(seen.len() == CASES.len(), "{} questions", seen.len());
    for body in seen {
        ensure!(body["input"]["name"] == "Ann Example" && body["agent"] == "support");
        ensure!(!body.to_string().contains("918273"), "a secret was told");
    }
    running.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_denies_in_words() -> Result<()> {
    let world = World::start().await?;
    let running = world.check();
    let lost = world.verdict("letter.lost", json!({})).await?;
    let late = world
        .verdict("letter.late", json!({ "case": NEVER }))
        .await?;
    for (checked, words) in [
        (lost, "nobody serves it"),
        (late, "did not answer within 50 ms"),
    ] {
        ensure!(checked.verdict == Verdict::Deny, "{checked:?}");
        let reason = checked.reasons.first().context("no reason")?;
        ensure!(
            reason.code == "guardrail_violated" && reason.message.contains(words),
            "{reason:?}"
        );
    }
    running.stop().await
}
