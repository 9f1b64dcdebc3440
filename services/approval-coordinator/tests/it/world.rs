//! A deployment on a real server, and a small company.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use countersign_approval_coordinator::{Equipment, Settings, run, run_with};
use countersign_domain::approvals::{Approval, Ballot, Delegation, Gathering, People, ViewReply};
use countersign_domain::decision::{Decision, Desk};
use countersign_domain::permit::PermitSigner;
use countersign_domain::policy::{Bundle, pack};
use countersign_runtime::bus::layout::{self, APPROVALS, LayoutOptions};
use countersign_runtime::bus::{
    Bucket, Bus, ConnectOptions, ConsumeLimits, Meta, Outgoing, ReplayFrom, StoredMessage,
};
use countersign_runtime::clock::{Clock as _, ManualClock, SystemClock};
use countersign_runtime::config::Deployment as DeploymentConfig;
use countersign_runtime::files;
use countersign_runtime::health::HealthHandle;
use countersign_runtime::identity::{Deployment, InitOptions, Principal, init};
use countersign_runtime::nats_server::{
    NatsServer, Progress, ServerConfig, StartOptions, find_or_provision,
};
use countersign_runtime::policy::Policy;
use countersign_runtime::policy::shelf::{Kept, Published, Shelf};
use countersign_runtime::service::{ClockTrust, ServiceContext};
use countersign_schemas::codec::{self, Encoding};
use countersign_schemas::events::{
    ApprovalState, ApprovalVote, ApprovalVoted, PolicyChecked, Verdict, VoteChoice,
};
use countersign_schemas::{
    Address, ApprovalId, Digest, Event, IntentId, PersonId, SeqToken, Stream, TeamId, Timestamp,
    headers,
};
use futures::StreamExt as _;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long anything may take on a busy machine. Longer than 30 s: that late a message comes
/// again which went to a coordinator that was just stopped.
const PATIENCE: Duration = Duration::from_secs(90);

/// How long a permit may be claimed.
const PERMIT_LIFE: Duration = Duration::from_secs(300);

/// What a stream may hold: the server reserves it, and a test machine may be short of disk.
const STREAM_BYTES: i64 = 64 * 1024 * 1024;

/// A tool that asks support, always.
pub(crate) const MAIL_TOOL: &str = r#"
[tools."mail.send"]
operation = "send"
description = "Sends a mail"
summary = "send a mail"
worker = { kind = "nats" }
[tools."mail.send".input]
type = "object"
additionalProperties = false
[tools."mail.send".input.properties]
to = { type = "string" }
[tools."mail.send".fields]
"/to" = { class = "personal:email" }
"#;
const MAIL_POLICY: &str = r#"
@id("mail")
@because("mailers may send mail")
permit (principal in Role::"mailer", action == Action::"mail.send", resource);

@id("mail-asks")
@because("support looks at each mail")
@ask("support")
@window("1h")
forbid (principal, action == Action::"mail.send", resource);
"#;

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

pub(crate) struct Running {
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), countersign_runtime::service::ServiceError>>,
}

impl Running {
    pub(crate) async fn stop(self) -> Result<()> {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.task).await???;
        Ok(())
    }
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

    /// Starts a coordinator; it handles what comes from then on and what waits. Its clock
    /// is the world's, which is taken for right.
    pub(crate) async fn coordinator(&self) -> Result<Running> {
        self.coordinator_with(ClockTrust::assumed()).await
    }

    /// Starts a coordinator that compares its clock with the server's.
    pub(crate) async fn careful_coordinator(&self) -> Result<Running> {
        self.coordinator_with(ClockTrust::unproven()).await
    }

    async fn coordinator_with(&self, clock_trust: ClockTrust) -> Result<Running> {
        let bus = self.as_coordinator().await?;
        let shutdown = CancellationToken::new();
        let clock = Arc::new(self.clock.clone());
        let equipment = self.equipment()?;
        let mut context =
            ServiceContext::new(DeploymentConfig::default(), bus, clock, shutdown.clone());
        context.clock_trust = clock_trust;
        Ok(Running {
            shutdown,
            task: tokio::spawn(run_with(context, equipment)),
        })
    }

    /// Starts a coordinator that follows the bundle in force; who is in which team stays as
    /// in every other test.
    pub(crate) async fn coordinator_that_follows(&self) -> Result<Running> {
        let bus = self.as_coordinator().await?;
        let shutdown = CancellationToken::new();
        let clock = Arc::new(self.clock.clone());
        let mut context =
            ServiceContext::new(DeploymentConfig::default(), bus, clock, shutdown.clone());
        context.clock_trust = ClockTrust::assumed();
        let policy = Policy::start(&context, Err("there is no folder".to_owned())).await;
        let equipment = Equipment {
            policy: Some(policy),
            ..self.equipment()?
        };
        Ok(Running {
            shutdown,
            task: tokio::spawn(run_with(context, equipment)),
        })
    }

    /// What signs the coordinator's permits.
    pub(crate) fn desk(&self) -> Result<Desk> {
        let pem = self.deployment.dir().join("keys").join("permit.pem");
        let key = files::signing_key("permit key", &pem)?;
        Ok(Desk::new(PermitSigner::new(key), "acme", PERMIT_LIFE))
    }

    fn equipment(&self) -> Result<Equipment> {
        let permit_life = PERMIT_LIFE;
        let company: Arc<dyn People + Send + Sync> = Arc::new(company()?);
        Ok(Equipment {
            desk: self.desk()?,
            people: Arc::new(move || Arc::clone(&company)),
            policy: None,
            redact: Arc::new(str::to_owned),
            permit_life,
            bundle_wait: self.bundle_wait,
            link_base: None,
            limits: ConsumeLimits::default(),
        })
    }

    /// Starts a coordinator as the binary does, with this text as its only policy.
    pub(crate) async fn coordinator_of(
        &self,
        policy: Option<&str>,
    ) -> Result<(Running, HealthHandle)> {
        let dir = self.deployment.dir();
        let policy_dir = dir.join("policy-of-the-test");
        if let Some(text) = policy {
            self.write_policy("policies", "all.cedar", text)?;
        }
        let bus = self.as_coordinator().await?;
        let shutdown = CancellationToken::new();
        let clock = Arc::new(SystemClock);
        let context =
            ServiceContext::new(DeploymentConfig::default(), bus, clock, shutdown.clone());
        let health = context.health.clone();
        let settings = Settings {
            policy_dir,
            keys_dir: dir.join("keys"),
            permit_life: Duration::from_secs(300),
            bundle_wait: self.bundle_wait,
            link_base: None,
            max_in_flight: 100,
        };
        let task = tokio::spawn(run(context, settings));
        let running = Running { shutdown, task };
        Ok((running, health))
    }

    /// Puts a file in its place at once: a coordinator that is starting reads the folder.
    fn write_policy(&self, folder: &str, file: &str, text: &str) -> Result<()> {
        let dir = self.deployment.dir();
        let folder = dir.join("policy-of-the-test").join(folder);
        std::fs::create_dir_all(&folder)?;
        let written = dir.join("policy-file-of-the-test");
        std::fs::write(&written, text)?;
        Ok(std::fs::rename(written, folder.join(file))?)
    }

    /// Starts a coordinator as the binary does, by a bundle in which one of support decides
    /// on mails, and may open windows of an hour.
    pub(crate) async fn coordinator_of_support(&self) -> Result<Running> {
        self.coordinator_by(&["lee", "sam"], "support").await
    }

    /// The same where these are in support.
    pub(crate) async fn coordinator_with_support(&self, support: &[&str]) -> Result<Running> {
        self.coordinator_by(support, "support").await
    }

    /// The same, where it takes these teams.
    pub(crate) async fn coordinator_asking(&self, teams: &str) -> Result<Running> {
        self.coordinator_by(&["lee", "sam"], teams).await
    }

    async fn coordinator_by(&self, support: &[&str], asked: &str) -> Result<Running> {
        let policy = mail_policy(asked);
        let teams = |who: &str| match support.contains(&who) {
            true => vec!["support"],
            false => Vec::new(),
        };
        let entities = json!({
            "teams": {"support": {}},
            "people": {
                "lee": {"name": "Lee", "teams": teams("lee")},
                "sam": {"name": "Sam", "teams": teams("sam")},
                "eve": {"name": "Eve", "teams": teams("eve")},
                "olga": {"name": "Olga"},
            },
            "roles": {"mailer": {}},
            "agents": {"billing": {"owners": ["olga"], "roles": ["mailer"], "team": "support"}},
        });
        self.write_policy("", "entities.json", &entities.to_string())?;
        self.write_policy("catalog", "tools.toml", MAIL_TOOL)?;
        self.write_policy("policies", "all.cedar", &policy)?;
        self.tool_digest().context("a bundle without faults")?;
        let (running, health) = self.coordinator_of(Some(&policy)).await?;
        eventually("the coordinator is ready", || async {
            // Before it has begun no part of it is there, and all of none are ready.
            let begun = health.report().contains_key("policy");
            Ok((begun && health.is_ready()).then_some(()))
        })
        .await?;
        Ok(running)
    }

    /// The digest of the tool that [`World::coordinator_of_support`] knows.
    pub(crate) fn tool_digest(&self) -> Result<Digest> {
        let dir = self.deployment.dir().join("policy-of-the-test");
        let bundle = Bundle::from_files(&files::policy_bundle(&dir)?)?;
        let tool = bundle.catalog().tool(&"mail.send".parse()?);
        Ok(tool.context("the tool of the test")?.digest())
    }

    /// Whether a message lies on `subject` of the events.
    pub(crate) async fn stored(&self, subject: &str) -> Result<bool> {
        let found = self
            .checker
            .last_by_subject(Stream::Events, subject)
            .await?;
        Ok(found.is_some())
    }

    /// Publishes the bundle of the test company, whose tools are others than those of the
    /// verdicts here.
    pub(crate) async fn publish_another_bundle(&self) -> Result<Bundle> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/harness/bundle");
        self.publish(files::policy_bundle(&dir)?).await
    }

    /// Publishes the bundle of [`World::coordinator_asking`] with one file replaced.
    pub(crate) async fn publish_with(&self, path: &str, text: &str) -> Result<Bundle> {
        let dir = self.deployment.dir().join("policy-of-the-test");
        let mut found = files::policy_bundle(&dir)?;
        found.insert(path.to_owned(), text.as_bytes().to_vec());
        self.publish(found).await
    }

    async fn publish(&self, found: BTreeMap<String, Vec<u8>>) -> Result<Bundle> {
        let bundle = Bundle::from_files(&found)?;
        let packed = pack(&found)?;
        let (digest, operator, at) = (bundle.digest(), "kim".parse()?, SystemClock.now());
        let kept = Kept {
            digest,
            parts: 1,
            bytes: packed.len(),
            operator,
            at,
            leaving: false,
        };
        let shelf = Shelf::new(&self.checker);
        shelf.keep(&kept, &packed).await?;
        let (revision, previous) = match shelf.current().await? {
            Some((revision, before)) => (revision, Some(before.digest)),
            None => (0, None),
        };
        let published = Published {
            digest,
            parts: 1,
            bytes: packed.len(),
            previous,
            operator: kept.operator,
            at,
        };
        shelf.publish(&published, revision).await?;
        Ok(bundle)
    }

    pub(crate) async fn bridge(&self, name: &str) -> Result<Bus> {
        connect(&self.server, &self.deployment, "bridge", name).await
    }

    /// How many verdicts were delivered and are neither done nor put aside.
    pub(crate) async fn verdicts_waiting(&self) -> Result<usize> {
        let bus = self.as_coordinator().await?;
        let durable = layout::COORDINATOR_EVENTS;
        let stream = bus.jetstream().get_stream(durable.stream.name()).await?;
        Ok(stream.consumer_info(durable.name).await?.num_ack_pending)
    }

    /// Waits until every verdict is done, whether it came once or again.
    pub(crate) async fn until_verdicts_are_done(&self) -> Result<()> {
        let bus = self.as_coordinator().await?;
        let durable = layout::COORDINATOR_EVENTS;
        let stream = bus.jetstream().get_stream(durable.stream.name()).await?;
        let look = || async {
            let info = stream.consumer_info(durable.name).await?;
            let left = info.num_pending + u64::try_from(info.num_ack_pending)?;
            Ok((left == 0).then_some(()))
        };
        eventually("every verdict is done", look).await
    }

    /// Waits until a withdrawal was given back and delivered again.
    pub(crate) async fn until_withdrawals_came_back(&self) -> Result<()> {
        let bus = self.as_coordinator().await?;
        let durable = layout::COORDINATOR_INTENTS;
        let stream = bus.jetstream().get_stream(durable.stream.name()).await?;
        let look = || async {
            let info = stream.consumer_info(durable.name).await?;
            Ok((info.num_redelivered > 0).then_some(()))
        };
        eventually("a withdrawal that comes again", look).await
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

    /// Waits until the timer of an approval has fired.
    pub(crate) async fn until_fired(&self, id: &ApprovalId) -> Result<()> {
        self.until_timer_fired("approval", id).await
    }

    /// Waits until the first item of a bundle of `billing` has its place.
    pub(crate) async fn until_gathered(&self, name: &str) -> Result<()> {
        let id = ApprovalId::for_bundle(&"billing".parse()?, &name.parse()?);
        let bucket = Bucket::new(&self.as_coordinator().await?, APPROVALS);
        let key = id.as_str().replace("b-", "g-");
        let look = || async { Ok(bucket.get(&key).await?) };
        eventually("a bundle", look).await.map(drop)
    }

    /// Waits until everything that follows from a whole bundle of `billing` is stored; its
    /// revision.
    pub(crate) async fn until_settled(&self, name: &str) -> Result<u64> {
        let id = ApprovalId::for_bundle(&"billing".parse()?, &name.parse()?);
        let bucket = Bucket::new(&self.as_coordinator().await?, APPROVALS);
        let key = id.as_str().replace("b-", "g-");
        eventually("a settled bundle", || async {
            let Some(entry) = bucket.get(&key).await? else {
                return Ok(None);
            };
            let bundle: Gathering = serde_json::from_slice(&entry.value)?;
            Ok(bundle.is_settled().then_some(entry.revision))
        })
        .await
    }

    /// Waits until a timer of this kind has fired.
    pub(crate) async fn until_timer_fired(&self, kind: &str, id: &ApprovalId) -> Result<()> {
        let bus = self.as_coordinator().await?;
        let subject = format!("timer.fired.{kind}.{id}");
        let look = || bus.last_by_subject(Stream::Timers, &subject);
        eventually(&subject, || async { Ok(look().await?) })
            .await
            .map(drop)
    }

    /// How long the bucket keeps an approval, in seconds, waited for.
    pub(crate) async fn life_in_bucket(&self, id: &ApprovalId) -> Result<String> {
        let bus = self.as_coordinator().await?;
        let key = format!("$KV.{APPROVALS}.{id}");
        let stream = format!("KV_{APPROVALS}");
        let look = || async {
            let last = ReplayFrom::LastPerSubject;
            let replay = bus.replay(&stream, &[key.as_str()], last).await?;
            let found = replay.messages().next().await.context("an entry")??;
            Ok(found.message.header(headers::TTL).map(str::to_owned))
        };
        eventually("the end of an entry's life", look).await
    }

    /// The decisions that a coordinator takes for an ended approval.
    pub(crate) fn decisions_after(&self, approval: &Approval) -> Result<Vec<Decision>> {
        Ok(self
            .equipment()?
            .desk
            .after_approval(approval, self.now())?)
    }

    /// Ends `approval` as a coordinator would, without storing anything.
    pub(crate) fn end_by_hand(&self, approval: &mut Approval, end: ApprovalState) -> Result<()> {
        let choice = match end {
            ApprovalState::Approved => VoteChoice::Approve,
            ApprovalState::Denied => VoteChoice::Deny,
            ApprovalState::Expired => {
                approval.expire(approval.expires_at());
                return Ok(());
            }
            _ => {
                approval.cancel("billing withdrew it", self.now());
                return Ok(());
            }
        };
        let vote = ApprovalVote {
            schema_version: 1,
            approval_id: approval.id().clone(),
            digest: approval.digest(),
            vote: choice,
            items: None,
            window: None,
            reason: None,
        };
        let (approver, via) = ("lee".parse()?, "self".parse()?);
        let message = SeqToken::new("abc".parse()?, 1);
        let ballot = Ballot {
            approver: &approver,
            via: &via,
            message: &message,
            stored_at: approval.created_at(),
            vote: &vote,
            reason: None,
        };
        approval.vote(&ballot, &company()?);
        Ok(())
    }

    pub(crate) async fn ask_view(&self, bus: &Bus, who: &str, ask: Value) -> Result<ViewReply> {
        let subject = format!("cs.approval.view.{who}");
        let look = || async {
            let body = serde_json::to_vec(&ask)?;
            let reply = bus.client().request(subject.clone(), body.into()).await;
            // The index follows the bucket; an approval opened just now may not be listed.
            let reply = reply
                .ok()
                .and_then(|r| serde_json::from_slice(&r.payload).ok());
            Ok(reply.filter(|reply| !is_empty(reply)))
        };
        eventually(&subject, look).await
    }

    pub(crate) async fn digest(&self, bus: &Bus, who: &str, id: &ApprovalId) -> Result<Digest> {
        let ask = json!({"op": "show", "approval_id": id.as_str()});
        match self.ask_view(bus, who, ask).await? {
            ViewReply::Shown { approval } => Ok(approval.digest),
            ViewReply::Listed { .. }
            | ViewReply::Outcome { .. }
            | ViewReply::Frozen { .. }
            | ViewReply::Windows { .. } => {
                bail!("something else was asked for")
            }
        }
    }

    pub(crate) async fn cast(&self, bus: &Bus, who: &str, vote: &ApprovalVote) -> Result<u64> {
        let approver = who.parse()?;
        let out = Outgoing::event(&Address::Vote { approver }, vote, &self.meta(who)?)?;
        Ok(bus.publisher().publish(out).await?)
    }

    /// Votes and waits for the answer.
    pub(crate) async fn vote(
        &self,
        bus: &Bus,
        who: &str,
        vote: &ApprovalVote,
    ) -> Result<ApprovalVoted> {
        let seq = self.cast(bus, who, vote).await?;
        let id = &vote.approval_id;
        self.event(&format!("approval.voted.{id}.*.{seq}")).await
    }
}

/// The policy by which these teams decide on mails.
pub(crate) fn mail_policy(teams: &str) -> String {
    MAIL_POLICY.replace("@ask(\"support\")", &format!("@ask(\"{teams}\")"))
}

fn is_empty(reply: &ViewReply) -> bool {
    matches!(reply, ViewReply::Listed { approvals, .. } if approvals.is_empty())
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
