//! A deployment of its own for each test: made as `countersign init` makes one, with a
//! real nats-server, real credentials and the real services.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_nats::jetstream::consumer::Info;
use countersign_runtime::bus::layout::Durable;
use countersign_runtime::bus::{Bus, ConnectOptions, layout};
use countersign_runtime::identity::{self, InitOptions, Principal};
use countersign_runtime::nats_server::{
    NatsServer, Progress, ServerConfig, StartOptions, find_or_provision,
};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::client::{Agent, Approver, Operator, PATIENCE};
use crate::cluster::{Cluster, SERVERS};
use crate::events::{Event, Observer};
use crate::journal::Journal;
use crate::process::{SERVICES, Service};
use crate::wait::eventually;
use crate::worker::{HttpWorker, NatsWorker};

/// The deployment's name.
pub const NAME: &str = "acme";
/// The agents of the test bundle; `stranger` has a key and stands in no bundle.
pub const AGENTS: [&str; 4] = ["billing", "crm", "support", "stranger"];
/// The approvers: two of finance, one of support, and the owner of the agents.
pub const APPROVERS: [&str; 4] = ["dora", "finn", "lee", "sam"];
/// The operator.
pub const OPERATOR: &str = "olga";
/// The tools of the worker that speaks NATS.
pub const NATS_TOOLS: [&str; 3] = ["crm.read_contact", "crm.update_contact", "ledger.book"];

/// How long a deployment may take until it answers.
const START: Duration = Duration::from_secs(120);

const BUNDLE: [(&str, &str); 3] = [
    ("entities.json", include_str!("bundle/entities.json")),
    (
        "policies/company.cedar",
        include_str!("bundle/policies/company.cedar"),
    ),
    (
        "catalog/company.toml",
        include_str!("bundle/catalog/company.toml"),
    ),
];

/// What the streams are kept by.
#[derive(Debug)]
enum Servers {
    One(Box<NatsServer>),
    Three(Cluster),
}

impl Servers {
    fn url(&self) -> String {
        match self {
            Self::One(server) => server.url(),
            Self::Three(cluster) => cluster.urls(),
        }
    }
}

/// A running deployment. Dropping it ends its processes and removes its files.
#[derive(Debug)]
pub struct Deployment {
    services: Vec<Service>,
    servers: Servers,
    files: identity::Deployment,
    settings: Vec<(String, String)>,
    journal: Journal,
    nats_worker: Option<NatsWorker>,
    _http_worker: HttpWorker,
    dir: TempDir,
}

impl Deployment {
    /// A deployment with every service and worker, ready to judge.
    ///
    /// # Panics
    /// When any part does not start.
    pub async fn start() -> Self {
        Self::with_settings(&[]).await
    }

    /// As [`Self::start`], with `COUNTERSIGN_*` settings of its own.
    ///
    /// # Panics
    /// When any part does not start.
    pub async fn with_settings(settings: &[(&str, &str)]) -> Self {
        let mut deployment = Self::without_services(settings).await;
        for name in SERVICES {
            deployment.launch(name);
        }
        deployment.ready().await;
        deployment
    }

    /// The server with its streams and the workers, and none of our services.
    ///
    /// # Panics
    /// When any part does not start.
    pub async fn without_services(settings: &[(&str, &str)]) -> Self {
        Self::prepared(settings, |_| {}).await
    }

    /// As [`Self::without_services`], with its files changed before the server starts.
    ///
    /// # Panics
    /// When any part does not start.
    pub async fn prepared(
        settings: &[(&str, &str)],
        prepare: impl FnOnce(&identity::Deployment),
    ) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let files = init(&dir.path().join("acme"));
        prepare(&files);
        let server = start_server(&files).await;
        Self::on(Servers::One(Box::new(server)), settings, dir, files).await
    }

    /// As [`Self::without_services`], on three servers that keep three copies of each
    /// stream.
    ///
    /// # Panics
    /// When any part does not start.
    pub async fn clustered(settings: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let files = init(&dir.path().join("acme"));
        let cluster = Cluster::start(&files).await;
        Self::on(Servers::Three(cluster), settings, dir, files).await
    }

    async fn on(
        servers: Servers,
        settings: &[(&str, &str)],
        dir: TempDir,
        files: identity::Deployment,
    ) -> Self {
        let url = servers.url();
        let replicas = match servers {
            Servers::One(_) => 1,
            Servers::Three(_) => SERVERS,
        };
        set_up(&files, &url, replicas).await;
        let journal = Journal::open(&dir.path().join("journal.jsonl")).expect("a journal");
        let nats_worker = NatsWorker::start(&files, &url, journal.clone()).await;
        let http_worker = HttpWorker::start(&files, journal.clone()).await;
        let mut all = vec![
            ("COUNTERSIGN_NATS__URL".to_owned(), url),
            (
                "COUNTERSIGN_TOOL_EXECUTOR__HTTP".to_owned(),
                format!("{{mail=\"{}\"}}", http_worker.url()),
            ),
            (
                "COUNTERSIGN_AUDIT_ARCHIVER__BATCH_MS".to_owned(),
                "100".to_owned(),
            ),
            ("COUNTERSIGN_TELEMETRY__LOG".to_owned(), "json".to_owned()),
        ];
        all.extend(
            settings
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned())),
        );
        Self {
            services: Vec::new(),
            servers,
            files,
            settings: all,
            journal,
            nats_worker: Some(nats_worker),
            _http_worker: http_worker,
            dir,
        }
    }

    /// Starts one more service.
    pub fn launch(&mut self, name: &str) {
        let config = self.files.config();
        let service = Service::start(name, &config, self.dir.path(), &self.settings);
        self.services.push(service);
    }

    /// Sets a `COUNTERSIGN_*` setting for the services that are launched from now on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.push((name.to_owned(), value.to_owned()));
    }

    /// Ends the worker that speaks NATS, so that another may stand in for it.
    ///
    /// # Panics
    /// When it is still there after a while.
    pub async fn dismiss_nats_worker(&mut self) {
        self.nats_worker = None;
        let executor = self.core("tool-executor").await;
        let subject = format!("work.{}", NATS_TOOLS[0]);
        eventually(PATIENCE, "the worker is gone", async || {
            let asked = executor.client().request(subject.clone(), "{}".into());
            asked.await.err().map(drop)
        })
        .await;
        executor.close().await;
    }

    /// Waits until a read goes all the way and succeeds.
    ///
    /// # Panics
    /// When a service has ended, or nothing answers in time.
    pub async fn ready(&mut self) {
        let agent = self.agent("crm").await;
        let give_up = Instant::now() + START;
        // A start may be too busy to begin the first one in time, and one that was given to
        // an executor that stood still may end before it is given to it again.
        while !succeeded(&self.probed(&agent).await) {
            assert!(Instant::now() < give_up, "no read succeeds");
        }
    }

    /// How a read ends that is wanted now.
    async fn probed(&mut self, agent: &Agent) -> Event {
        let probe = agent.intent(
            "crm.read_contact",
            serde_json::json!({"contact_id": "probe"}),
        );
        let id = agent.publish(&probe).await;
        let services = &mut self.services;
        eventually(START, "the deployment answers", async || {
            for service in services.iter_mut() {
                assert!(service.is_running(), "{} ended by itself", service.name());
            }
            agent.last(&id).await.filter(Event::is_end)
        })
        .await
    }

    /// The service called `name`.
    ///
    /// # Panics
    /// When it was not launched.
    pub fn service(&mut self, name: &str) -> &mut Service {
        self.services
            .iter_mut()
            .find(|service| service.name() == name)
            .expect("the service was launched")
    }

    /// Every service that was launched.
    #[must_use]
    pub fn services(&self) -> &[Service] {
        &self.services
    }

    /// The server.
    ///
    /// # Panics
    /// When there are three.
    pub fn server(&mut self) -> &mut NatsServer {
        match &mut self.servers {
            Servers::One(server) => server,
            Servers::Three(_) => panic!("there are three servers"),
        }
    }

    /// The three servers.
    ///
    /// # Panics
    /// When there is one.
    pub fn cluster(&mut self) -> &mut Cluster {
        match &mut self.servers {
            Servers::One(_) => panic!("there is one server"),
            Servers::Three(cluster) => cluster,
        }
    }

    /// The URL of the server, or of all of them.
    #[must_use]
    pub fn url(&self) -> String {
        self.servers.url()
    }

    /// Which of the three servers leads `stream` now, once one does.
    ///
    /// # Panics
    /// When none does in time.
    pub async fn leader(&self, stream: &str) -> usize {
        let setup = self.core("setup").await;
        let name = eventually(PATIENCE, "a stream has a leader", async || {
            let found = setup.jetstream().get_stream(stream).await.ok()?;
            found.cached_info().cluster.as_ref()?.leader.clone()
        })
        .await;
        setup.close().await;
        let number = name
            .rsplit('-')
            .next()
            .and_then(|n| n.parse::<usize>().ok());
        number.expect("a server has a number") - 1
    }

    /// The files that `init` made.
    #[must_use]
    pub fn files(&self) -> &identity::Deployment {
        &self.files
    }

    /// The archive's root.
    #[must_use]
    pub fn archive(&self) -> PathBuf {
        self.files.dir().join("archive")
    }

    /// The deployment's own directory, with logs, journal and everything `init` made.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What the workers did.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Connects as an agent.
    ///
    /// # Panics
    /// When the server refuses it.
    pub async fn agent(&self, name: &str) -> Agent {
        Agent::connect(&self.url(), name, &seed(&self.files, "agent", name)).await
    }

    /// Connects as an approver.
    ///
    /// # Panics
    /// When the server refuses it.
    pub async fn approver(&self, name: &str) -> Approver {
        Approver::connect(&self.url(), name, &seed(&self.files, "approver", name)).await
    }

    /// Connects as the operator.
    ///
    /// # Panics
    /// When the server refuses it.
    pub async fn operator(&self) -> Operator {
        let seed = seed(&self.files, "operator", OPERATOR);
        Operator::connect(&self.url(), OPERATOR, &seed).await
    }

    /// Reads the streams as the archiver may.
    ///
    /// # Panics
    /// When the server refuses it.
    pub async fn observer(&self) -> Observer {
        Observer::new(core(&self.files, &self.url(), "audit-archiver").await)
    }

    /// Where a durable consumer stands.
    ///
    /// # Panics
    /// When it cannot be read.
    pub async fn consumer(&self, durable: Durable) -> Info {
        let setup = self.core("setup").await;
        let stream = setup.jetstream().get_stream(durable.stream.name()).await;
        let stream = stream.expect("setup may read streams");
        let info = stream.consumer_info(durable.name).await;
        let info = info.expect("setup may read consumers");
        setup.close().await;
        info
    }

    /// Waits until a durable consumer has acknowledged everything up to `seq`.
    ///
    /// # Panics
    /// When it has not in time.
    pub async fn handled(&self, durable: Durable, seq: u64) {
        self.handled_within(PATIENCE, durable, seq).await;
    }

    /// As [`Self::handled`], with another deadline.
    ///
    /// # Panics
    /// When it has not in time.
    pub async fn handled_within(&self, deadline: Duration, durable: Durable, seq: u64) {
        eventually(deadline, "a message is handled", async || {
            let floor = self.consumer(durable).await.ack_floor.stream_sequence;
            (floor >= seq).then_some(())
        })
        .await;
    }

    /// Connects to the account of our services with the credential of one of them.
    ///
    /// # Panics
    /// When the server refuses it.
    pub async fn core(&self, service: &str) -> Bus {
        core(&self.files, &self.url(), service).await
    }
}

/// Whether a tool ran and succeeded; what is written in Avro tells no outcome here.
fn succeeded(end: &Event) -> bool {
    end.is("tool.completed") && (end.body.is_null() || end.text("/outcome") == "succeeded")
}

/// The seed in `creds/<role>-<name>.creds`.
pub(crate) fn seed(files: &identity::Deployment, role: &str, name: &str) -> String {
    let path = files
        .dir()
        .join("creds")
        .join(format!("{role}-{name}.creds"));
    std::fs::read_to_string(&path).expect("init wrote the credential")
}

async fn core(files: &identity::Deployment, url: &str, service: &str) -> Bus {
    let what = format!("the server accepts our own {service}");
    eventually(PATIENCE, &what, async || {
        let connected = Bus::connect(ConnectOptions {
            url: url.to_owned(),
            name: service.to_owned(),
            credential: seed(files, "service", service),
            tls_ca: None,
        });
        let connected = connected.await;
        connected.inspect_err(|error| eprintln!("{error}")).ok()
    })
    .await
}

/// As `init` makes it, but for the sync of each write: no machine loses power here, and on a
/// slow disk every test would be one of its syncs. The examples in `deploy/` are run as they
/// are.
fn init(dir: &Path) -> identity::Deployment {
    let files = init_as(dir, InitOptions::local(NAME, "127.0.0.1:4222"));
    let conf = std::fs::read_to_string(files.server_conf()).expect("init wrote it");
    let relaxed = conf.replace("sync_interval: always", "sync_interval: 1m");
    assert_ne!(conf, relaxed, "init has every write synced");
    std::fs::write(files.server_conf(), relaxed).expect("the configuration is written");
    files
}

/// The files of a deployment with the test company in it.
///
/// # Panics
/// When they cannot be made.
#[must_use]
pub fn init_as(dir: &Path, mut options: InitOptions) -> identity::Deployment {
    options.identities = identities();
    options.policy = BUNDLE
        .iter()
        .map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()))
        .collect();
    identity::init(dir, &options)
        .expect("init makes a deployment")
        .deployment
}

fn identities() -> Vec<Principal> {
    let agents = AGENTS.map(|name| Principal::Agent(name.parse().expect("a name")));
    let approvers = APPROVERS.map(|name| Principal::Approver(name.parse().expect("a name")));
    let worker = Principal::Worker {
        name: "workshop".parse().expect("a name"),
        tools: NATS_TOOLS.map(|tool| tool.parse().expect("a tool")).into(),
        guardrails: std::collections::BTreeSet::new(),
    };
    agents
        .into_iter()
        .chain(approvers)
        .chain([
            Principal::Operator(OPERATOR.parse().expect("a name")),
            worker,
        ])
        .collect()
}

async fn start_server(files: &identity::Deployment) -> NatsServer {
    let binary = find_or_provision(Progress::Quiet).expect("a nats-server");
    let config = ServerConfig::File(files.server_conf());
    let store = files.dir().join("nats").join("jetstream");
    NatsServer::start(StartOptions::new(binary, config, store))
        .await
        .expect("the server starts with the configuration that init wrote")
}

async fn set_up(files: &identity::Deployment, url: &str, replicas: usize) {
    let bus = core(files, url, "setup").await;
    let options = layout::LayoutOptions {
        replicas,
        ..layout::LayoutOptions::default()
    };
    // A cluster that has just met elects its leaders first.
    eventually(START, "the streams are made", async || {
        layout::ensure(&bus, options).await.ok()
    })
    .await;
    bus.close().await;
}
