//! The server and the connections of one measurement: one nats-server, one identity that
//! may do everything, so that relay and services meet the same server in the same way.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use async_nats::jetstream::stream::{Config, Republish};
use countersign_runtime::bus::layout::{self, LayoutOptions};
use countersign_runtime::bus::{Bus, ConnectOptions};
use countersign_runtime::clock::SystemClock;
use countersign_runtime::config::{Config as Settings, Deployment};
use countersign_runtime::files;
use countersign_runtime::identity::{InitOptions, init};
use countersign_runtime::nats_server::{
    NatsServer, Progress, ServerConfig, StartOptions, find_or_provision, plain_config,
};
use countersign_runtime::service::ServiceContext;
use countersign_schemas::Stream;
use tokio_util::sync::CancellationToken;

/// Name of the deployment that is measured.
const DEPLOYMENT: &str = "bench";

/// When an ack means that the message is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// After every message, as `init` configures one server.
    Always,
    /// Every two minutes, the server's default, as on three replicas.
    Default,
}

impl Sync {
    /// How figures name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Always => "sync_always",
            Self::Default => "sync_default",
        }
    }
}

/// A server with every stream of the product, and those of the bare relay.
pub struct Stage {
    server: NatsServer,
    seed: String,
    _dir: tempfile::TempDir,
}

impl Stage {
    /// Starts it.
    ///
    /// # Errors
    /// When no server can be started.
    pub async fn start(sync: Sync) -> Result<Self> {
        let binary = find_or_provision(Progress::Stderr)?;
        let dir = tempfile::tempdir()?;
        let key = nkeys::KeyPair::new_user();
        let store = dir.path().join("store");
        let jetstream = match sync {
            Sync::Always => {
                plain_config(&store).replace("store_dir:", "sync_interval: always, store_dir:")
            }
            Sync::Default => plain_config(&store),
        };
        let config = format!(
            "{jetstream}authorization {{ users = [ {{ nkey: {} }} ] }}\n",
            key.public_key()
        );
        let options = StartOptions::new(binary, ServerConfig::Text(config), store);
        let stage = Self {
            server: NatsServer::start(options).await?,
            seed: key.seed()?,
            _dir: dir,
        };
        let bus = stage.connect("setup").await?;
        layout::ensure(&bus, LayoutOptions::default()).await?;
        stage.make_relay_streams(&bus).await?;
        Ok(stage)
    }

    /// A new connection, called `name`.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn connect(&self, name: &str) -> Result<Bus> {
        let options = ConnectOptions {
            url: self.server.url(),
            name: name.to_owned(),
            credential: self.seed.clone(),
            tls_ca: None,
        };
        Ok(Bus::connect(options).await?)
    }

    /// What a service called `name` is given, with a connection of its own.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn context(
        &self,
        name: &str,
        deployment: &Deployment,
        stop: &CancellationToken,
    ) -> Result<ServiceContext> {
        let bus = self.connect(name).await?;
        let clock = Arc::new(SystemClock);
        Ok(ServiceContext::new(
            deployment.clone(),
            bus,
            clock,
            stop.clone(),
        ))
    }

    /// The same streams as the product's, under other subjects.
    async fn make_relay_streams(&self, bus: &Bus) -> Result<()> {
        let options = LayoutOptions::default();
        let intents = Config {
            name: "BENCH_INTENTS".to_owned(),
            subjects: vec!["bench.in.*".to_owned()],
            ..layout::stream_config(Stream::Intents, options)
        };
        let events = Config {
            name: "BENCH_EVENTS".to_owned(),
            subjects: vec!["bench.mid.*.*".to_owned(), "bench.out.*.*".to_owned()],
            republish: Some(Republish {
                source: ">".to_owned(),
                destination: "relayed.>".to_owned(),
                headers_only: false,
            }),
            ..layout::stream_config(Stream::Events, options)
        };
        for config in [intents, events] {
            bus.jetstream().create_or_update_stream(config).await?;
        }
        Ok(())
    }
}

/// Keys, the policy bundle in `policy` and settings as `countersign init` makes them, in
/// `dir`.
///
/// # Errors
/// When the bundle cannot be read or the folder cannot be written.
pub fn configure(dir: &Path, policy: &Path) -> Result<Settings> {
    let mut options = InitOptions::local(DEPLOYMENT, "127.0.0.1:4222");
    options.policy = files::policy_bundle(policy)?.into_iter().collect();
    let made = init(&dir.join(DEPLOYMENT), &options)?;
    Ok(Settings::load(&made.deployment.config())?)
}
