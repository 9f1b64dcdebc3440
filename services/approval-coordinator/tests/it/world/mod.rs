//! A deployment on a real server, and a small company.

mod coordinators;
mod votes;
mod waits;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use countersign_domain::approvals::{Delegation, People};
use countersign_runtime::bus::layout::{self, LayoutOptions};
use countersign_runtime::bus::{Bus, ConnectOptions, Meta, Outgoing, ReplayFrom, StoredMessage};
use countersign_runtime::clock::{Clock as _, ManualClock, SystemClock};
use countersign_runtime::files;
use countersign_runtime::identity::{Deployment, InitOptions, Principal, init};
use countersign_runtime::nats_server::{
    NatsServer, Progress, ServerConfig, StartOptions, find_or_provision,
};
use countersign_schemas::codec::{self, Encoding};
use countersign_schemas::events::{PolicyChecked, Verdict};
use countersign_schemas::{Address, Digest, Event, IntentId, PersonId, Stream, TeamId, Timestamp};
use futures::StreamExt as _;
use serde_json::{Value, json};
use tokio::time::Instant;

pub(crate) use coordinators::{MAIL_TOOL, Running, mail_policy};

/// How long anything may take on a busy machine. Longer than 30 s: that late a message comes
/// again which went to a coordinator that was just stopped.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// What a stream may hold: the server reserves it, and a test machine may be short of disk.
const STREAM_BYTES: i64 = 64 * 1024 * 1024;

/// How the streams of every test are made.
pub(crate) fn layout_options() -> LayoutOptions {
    LayoutOptions {
        stream_bytes_max: STREAM_BYTES,
        ..LayoutOptions::default()
    }
}

/// Lee and Sam are in support.
#[derive(Default)]
pub(crate) struct Company {
    teams: BTreeMap<TeamId, BTreeSet<PersonId>>,
    nobody: BTreeSet<PersonId>,
    away: Vec<Delegation>,
}

impl People for Company {
    fn members(&self, team: &TeamId) -> &BTreeSet<PersonId> {
        self.teams.get(team).unwrap_or(&self.nobody)
    }

    fn name(&self, _: &PersonId) -> Option<&str> {
        None
    }

    fn delegations_to(&self, delegate: &PersonId) -> Vec<&Delegation> {
        let all = self.away.iter();
        all.filter(|one| one.delegate == *delegate).collect()
    }

    fn delegations_of(&self, person: &PersonId) -> Vec<&Delegation> {
        let all = self.away.iter();
        all.filter(|one| one.person == *person).collect()
    }
}

pub(crate) fn company() -> Result<Company> {
    let support = BTreeSet::from(["lee".parse()?, "sam".parse()?]);
    Ok(Company {
        teams: BTreeMap::from([
            ("support".parse()?, support),
            ("board".parse()?, BTreeSet::from(["lee".parse()?])),
            ("heads".parse()?, BTreeSet::from(["eve".parse()?])),
        ]),
        nobody: BTreeSet::new(),
        // Eve votes for Lee on the board, from yesterday until tomorrow.
        away: vec![Delegation {
            person: "lee".parse()?,
            delegate: "eve".parse()?,
            from: SystemClock.now().minus(Duration::from_secs(24 * 60 * 60)),
            until: SystemClock.now().plus(Duration::from_secs(24 * 60 * 60)),
            teams: BTreeSet::from(["board".parse()?]),
        }],
    })
}

pub(crate) struct World {
    pub(crate) checker: Bus,
    pub(crate) executor: Bus,
    pub(crate) agent: Bus,
    pub(crate) clock: ManualClock,
    /// How long a bundle waits for its missing items.
    pub(crate) bundle_wait: Duration,
    deployment: Deployment,
    server: NatsServer,
    _dir: tempfile::TempDir,
}

impl World {
    pub(crate) async fn start() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let root = dir.path().join("acme");
        let mut options = InitOptions::local("acme", "127.0.0.1:4222");
        options.identities = vec![Principal::Agent("billing".parse()?)];
        for name in ["lee", "sam", "eve"] {
            options.identities.push(Principal::Approver(name.parse()?));
        }
        for name in ["olga", "otto"] {
            options.identities.push(Principal::Operator(name.parse()?));
        }
        // The command line refuses this name; a registry edited by hand may have it.
        options.identities.push(Principal::Bridge {
            name: "self".parse()?,
            people: BTreeSet::from(["lee".parse()?]),
        });
        let deployment = init(&root, &options)?.deployment;
        // No machine loses power here, and a slow disk would make a test of each sync.
        let conf = std::fs::read_to_string(deployment.server_conf())?;
        let conf = conf.replace("sync_interval: always", "sync_interval: 1m");
        std::fs::write(deployment.server_conf(), conf)?;
        let store = root.canonicalize()?.join("nats").join("jetstream");
        let binary = find_or_provision(Progress::Quiet)?;
        let config = ServerConfig::File(deployment.server_conf());
        let server = NatsServer::start(StartOptions::new(binary, config, store)).await?;
        let join = async |role, name| connect(&server, &deployment, role, name).await;
        let setup = join("service", "setup").await?;
        layout::ensure(&setup, layout_options()).await?;
        Ok(Self {
            checker: join("service", "policy-checker").await?,
            executor: join("service", "tool-executor").await?,
            agent: join("agent", "billing").await?,
            clock: ManualClock::new(SystemClock.now()),
            bundle_wait: Duration::from_secs(120),
            deployment,
            server,
            _dir: dir,
        })
    }

    /// Whether a message lies on `subject` of the events.
    pub(crate) async fn stored(&self, subject: &str) -> Result<bool> {
        let found = self
            .checker
            .last_by_subject(Stream::Events, subject)
            .await?;
        Ok(found.is_some())
    }

    pub(crate) async fn bridge(&self, name: &str) -> Result<Bus> {
        connect(&self.server, &self.deployment, "bridge", name).await
    }

    pub(crate) async fn operator(&self) -> Result<Bus> {
        connect(&self.server, &self.deployment, "operator", "olga").await
    }

    pub(crate) async fn other_operator(&self) -> Result<Bus> {
        connect(&self.server, &self.deployment, "operator", "otto").await
    }

    pub(crate) async fn setup(&self) -> Result<Bus> {
        connect(&self.server, &self.deployment, "service", "setup").await
    }

    pub(crate) async fn person(&self, name: &str) -> Result<Bus> {
        connect(&self.server, &self.deployment, "approver", name).await
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn meta(&self, source: &str) -> Result<Meta> {
        Ok(Meta {
            source: source.parse()?,
            encoding: Encoding::Json,
            claimed_at: self.now(),
            traceparent: None,
        })
    }

    /// Stores a verdict as the checker does.
    pub(crate) async fn judge(&self, kind: Verdict, changes: Value) -> Result<IntentId> {
        let intent = IntentId::new_at(SystemClock.now());
        self.judge_this(intent, kind, changes).await?;
        Ok(intent)
    }

    /// Stores a verdict on `intent` as the checker does.
    pub(crate) async fn judge_this(
        &self,
        intent: IntentId,
        kind: Verdict,
        changes: Value,
    ) -> Result<()> {
        let checked = verdict(kind, intent, changes)?;
        let address = Address::PolicyChecked {
            agent: checked.agent.clone(),
            intent,
        };
        let out = Outgoing::event(&address, &checked, &self.meta("policy-checker")?)?;
        let filter = Address::checked_filter(intent);
        self.checker.append(out, &filter, 0).await?;
        Ok(())
    }

    /// The stored verdict on `intent`, and when it was stored.
    pub(crate) async fn verdict_on(&self, intent: IntentId) -> Result<(PolicyChecked, Timestamp)> {
        let filter = Address::checked_filter(intent);
        let found = self.any(&filter).await?;
        Ok((codec::decode(&found.payload)?, found.stored_at))
    }

    /// The event on `subject`, waited for.
    pub(crate) async fn event<E: Event>(&self, subject: &str) -> Result<E> {
        let found = self.any(subject).await?;
        Ok(codec::decode(&found.payload)?)
    }

    /// The last message on `subject`, waited for.
    pub(crate) async fn any(&self, subject: &str) -> Result<StoredMessage> {
        let look = || self.checker.last_by_subject(Stream::Events, subject);
        eventually(subject, || async { Ok(look().await?) }).await
    }

    pub(crate) async fn head(&self, intent: IntentId) -> Result<Option<StoredMessage>> {
        let filter = format!("tool.*.billing.{intent}");
        Ok(self
            .checker
            .last_by_subject(Stream::Events, &filter)
            .await?)
    }

    pub(crate) async fn subject_of_head(&self, intent: IntentId) -> Result<String> {
        Ok(self.head(intent).await?.context("no head")?.subject)
    }

    /// How many messages lie under `filter`.
    pub(crate) async fn count(&self, filter: &str) -> Result<usize> {
        let name = "audit-archiver";
        let archiver = connect(&self.server, &self.deployment, "service", name).await?;
        let stream = Stream::Events.name();
        let replay = archiver
            .replay(stream, &[filter], ReplayFrom::Start)
            .await?;
        let there = usize::try_from(replay.pending_at_start())?;
        let read = replay.messages().take(there).count();
        Ok(tokio::time::timeout(PATIENCE, read).await?)
    }

    /// A connection with the coordinator's own credential.
    pub(crate) async fn as_coordinator(&self) -> Result<Bus> {
        let name = countersign_approval_coordinator::NAME;
        connect(&self.server, &self.deployment, "service", name).await
    }
}

async fn connect(
    server: &NatsServer,
    deployment: &Deployment,
    role: &str,
    name: &str,
) -> Result<Bus> {
    let path = deployment
        .dir()
        .join("creds")
        .join(format!("{role}-{name}.creds"));
    let seed = files::secret("credential", &path)?;
    let options = ConnectOptions {
        url: server.url(),
        name: name.to_owned(),
        credential: seed.to_string(),
        tls_ca: None,
    };
    Bus::connect(options)
        .await
        .with_context(|| format!("as {role} {name}"))
}

pub(crate) async fn eventually<T, F, Fut>(what: &str, mut look: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<Option<T>>>,
{
    let give_up = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if Instant::now() >= give_up {
            bail!("`{what}` did not come in {} s", PATIENCE.as_secs());
        }
        // sleep: the pause between two looks; the deadline is above.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A verdict on a mail that `billing` wants to send for Dana.
pub(crate) fn verdict(kind: Verdict, intent: IntentId, changes: Value) -> Result<PolicyChecked> {
    let digest = Digest::of_bytes(b"x").to_string();
    let mut value = json!({
        "schema_version": 1, "intent_id": intent.to_string(),
        "request": {"stream": "CS_INTENTS", "incarnation": "abc", "seq": 1},
        "agent": "billing", "requester": {"id": "dana", "verified": false},
        "tool": "mail.send", "operation": "send", "purpose": "answer a customer",
        "verdict": kind.as_str(),
        "reasons": [{"code": "rule", "message": "A rule says so.", "policy_id": "rule"}],
        "needs": [], "guardrails": [],
        "input_redacted": {"to": "[email:k1:9f2c]"}, "input_shown": {"to": "…@example.org"},
        "summary": "Send a mail", "input_digest": digest, "salt": "AAAAAAAAAAAAAAAAAAAAAA",
        "input_match": "m", "policy_digest": digest, "tool_digest": digest,
        "helper": "support", "requested_at": "2026-11-22T10:00:00Z",
    });
    let all = value.as_object_mut().context("an object")?;
    if kind == Verdict::Ask {
        let ask = json!({"approvers": [{"team": "support", "quorum": 1}], "expires_in_s": 600,
            "chat_may_approve": false, "self_allowed": false, "excluded": []});
        all.insert("ask".to_owned(), ask);
    }
    if let Value::Object(changes) = changes {
        all.extend(changes);
    }
    Ok(serde_json::from_value(value)?)
}
