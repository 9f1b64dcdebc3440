//! A server with the accounts that `init` writes, real streams, and one identity of every
//! kind.

use std::collections::BTreeSet;
use std::time::Duration;

use countersign_runtime::bus::{Bus, ConnectOptions, layout};
use countersign_runtime::identity::{
    self, Deployment, InitOptions, Principal, Role, ServerAccess, Service,
};
use countersign_runtime::nats_server::{
    NatsServer, Progress, ServerConfig, StartOptions, find_or_provision,
};
use countersign_tests::eventually;
use countersign_tests::operator::Operator;
use countersign_tests::raw::{Delivered, Raw};
use tempfile::TempDir;

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// The server and its files.
pub(crate) struct Stage {
    pub(crate) server: NatsServer,
    pub(crate) files: Deployment,
    _dir: TempDir,
}

/// One identity of every kind besides our services.
pub(crate) fn outsiders() -> Vec<Principal> {
    let tools = ["crm.read".parse().unwrap()].into();
    let guardrails = ["names".parse().unwrap()].into();
    let make = |role, name, people: &[&str]| {
        let people = people.iter().map(|name| name.parse().unwrap()).collect();
        Principal::new(role, name, BTreeSet::new(), people).unwrap()
    };
    vec![
        make(Role::Agent, "billing", &[]),
        make(Role::Agent, "crm", &[]),
        make(Role::Approver, "lee", &[]),
        make(Role::Operator, "kim", &[]),
        make(Role::Bridge, "inbox", &["lee"]),
        make(Role::Bridge, "slack", &["lee"]),
        Principal::worker("crm", tools, guardrails).unwrap(),
        // Bystanders: they let tests see what reaches others.
        make(Role::Agent, "idle", &[]),
        make(Role::Approver, "idle", &[]),
        make(Role::Operator, "idle", &[]),
    ]
}

impl Stage {
    /// Starts the server and makes the streams with the credential of `setup`.
    pub(crate) async fn start() -> Self {
        Self::with(outsiders()).await
    }

    /// The same with these identities besides our services.
    pub(crate) async fn with(identities: Vec<Principal>) -> Self {
        Self::prepared(identities, |_| {}).await
    }

    /// The same accounts and permissions, as JWTs.
    pub(crate) async fn in_operator_mode() -> (Self, Operator) {
        let mut operator = None;
        let stage = Self::prepared(outsiders(), |files| {
            operator = Some(Operator::install(files));
        });
        (stage.await, operator.unwrap())
    }

    async fn prepared(identities: Vec<Principal>, prepare: impl FnOnce(&Deployment)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut options = InitOptions::local("acme", "127.0.0.1:4222");
        options.identities = identities;
        let files = identity::init(&dir.path().join("acme"), &options)
            .unwrap()
            .deployment;
        // What is tested here does not depend on a sync for each of thousands of writes.
        let conf = std::fs::read_to_string(files.server_conf()).unwrap();
        let conf = conf.replace("sync_interval: always", "sync_interval: 1m");
        std::fs::write(files.server_conf(), conf).unwrap();
        prepare(&files);
        let binary = find_or_provision(Progress::Quiet).unwrap();
        let config = ServerConfig::File(files.server_conf());
        let store = files.dir().join("nats").join("jetstream");
        let server = NatsServer::start(StartOptions::new(binary, config, store))
            .await
            .unwrap();
        let stage = Self {
            server,
            files,
            _dir: dir,
        };
        let setup = stage.bus(Service::Setup).await;
        layout::ensure(&setup, layout::LayoutOptions::default())
            .await
            .unwrap();
        stage
    }

    /// Everybody but the bystanders and the second agent, who is like the first.
    pub(crate) fn principals(&self) -> Vec<Principal> {
        let registry = self.files.registry().unwrap();
        registry
            .entries()
            .iter()
            .map(|entry| entry.principal.clone())
            .filter(|principal| principal.name() != "idle")
            .filter(|principal| (principal.role(), principal.name()) != (Role::Agent, "crm"))
            .collect()
    }

    /// How `identity` reaches the server.
    pub(crate) fn access(&self) -> ServerAccess {
        ServerAccess {
            url: self.server.url(),
            tls_ca: None,
        }
    }

    /// A connection as one of our services.
    pub(crate) async fn bus(&self, service: Service) -> Bus {
        let principal = Principal::Service(service);
        Bus::connect(ConnectOptions {
            url: self.server.url(),
            name: service.name().to_owned(),
            credential: self.files.seed(&principal).unwrap().unwrap(),
            tls_ca: None,
        })
        .await
        .unwrap()
    }

    /// A raw connection.
    pub(crate) async fn raw(&self, principal: &Principal) -> Raw {
        let seed = self.files.seed(principal).unwrap().unwrap();
        self.raw_with(principal.name(), &seed).await.unwrap()
    }

    /// A raw connection by role and name.
    pub(crate) async fn raw_named(&self, role: Role, name: &str) -> Raw {
        let registry = self.files.registry().unwrap();
        let principal = registry.find(role, name).unwrap().principal.clone();
        self.raw(&principal).await
    }

    /// A raw connection with any credential.
    pub(crate) async fn raw_with(&self, name: &str, seed: &str) -> Result<Raw, String> {
        let address = format!("127.0.0.1:{}", self.server.port());
        Raw::connect(&address, name, seed).await
    }

    /// The next message that is delivered.
    pub(crate) async fn next(&self, raw: &mut Raw) -> Delivered {
        eventually(PATIENCE, "a message", async || {
            raw.take_delivered().await.unwrap().into_iter().next()
        })
        .await
    }
}
