//! The server and the connections of one measurement: one nats-server, one identity that
//! may do everything, so that relay and services meet the same server in the same way.

use anyhow::Result;
use async_nats::jetstream::stream::{Config, Republish};
use countersign_runtime::bus::layout::{self, LayoutOptions};
use countersign_runtime::bus::{Bus, ConnectOptions};
use countersign_runtime::nats_server::{
    NatsServer, Progress, ServerConfig, StartOptions, find_or_provision, plain_config,
};
use countersign_schemas::Stream;

/// When an ack means that the message is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sync {
    /// After every message, as `init` configures one server.
    Always,
    /// Every two minutes, the server's default, as on three replicas.
    Default,
}

impl Sync {
    /// How figures name it.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Always => "sync_always",
            Self::Default => "sync_default",
        }
    }
}

/// A server with every stream of the product, and those of the bare relay.
pub(crate) struct Stage {
    server: NatsServer,
    seed: String,
    _dir: tempfile::TempDir,
}

impl Stage {
    /// Starts it.
    pub(crate) async fn start(sync: Sync) -> Result<Self> {
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
    pub(crate) async fn connect(&self, name: &str) -> Result<Bus> {
        let options = ConnectOptions {
            url: self.server.url(),
            name: name.to_owned(),
            credential: self.seed.clone(),
            tls_ca: None,
        };
        Ok(Bus::connect(options).await?)
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
