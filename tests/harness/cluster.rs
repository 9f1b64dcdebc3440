//! A small cluster: three real servers with one set of accounts.

use std::net::TcpListener;
use std::ops::Range;
use std::path::Path;

use countersign_runtime::identity::{Cluster as Routes, Deployment, ServerConf};
use countersign_runtime::nats_server::{
    NatsBinary, NatsServer, NatsServerError, Progress, ServerConfig, StartOptions,
    find_or_provision,
};
use futures::future::join_all;
use rand::Rng as _;

/// Servers of a cluster: the least with a majority after one is lost.
pub const SERVERS: usize = 3;

/// Times that it is tried to start them.
const ATTEMPTS: usize = 4;
/// Below those that the system gives to whoever asks for any.
const PORTS: Range<u16> = 20_000..32_000;
/// Ports that are tried: nearly all of them are free.
const PORT_TRIES: usize = 1_000;

/// Three running servers. Dropping them ends them.
#[derive(Debug)]
pub struct Cluster {
    servers: Vec<NatsServer>,
}

impl Cluster {
    /// Starts the servers with the accounts of `files`, each with a configuration and a
    /// store of its own beside them.
    ///
    /// # Panics
    /// When one does not start.
    pub async fn start(files: &Deployment) -> Self {
        let binary = find_or_provision(Progress::Quiet).expect("a nats-server");
        // Somebody else may take a port between its choice and its use.
        for attempt in 1..ATTEMPTS {
            if let Ok(servers) = try_start(files, &binary, attempt).await {
                return Self { servers };
            }
        }
        let last = try_start(files, &binary, ATTEMPTS).await;
        let servers = last.expect("the servers of the cluster start");
        Self { servers }
    }

    /// The servers.
    pub fn servers(&mut self) -> &mut [NatsServer] {
        &mut self.servers
    }

    /// The URL of one server.
    ///
    /// # Panics
    /// When there is no such server.
    #[must_use]
    pub fn url(&self, index: usize) -> String {
        self.servers[index].url()
    }

    /// The URLs of all servers, separated by commas.
    #[must_use]
    pub fn urls(&self) -> String {
        let urls: Vec<String> = self.servers.iter().map(NatsServer::url).collect();
        urls.join(",")
    }
}

async fn try_start(
    files: &Deployment,
    binary: &NatsBinary,
    attempt: usize,
) -> Result<Vec<NatsServer>, NatsServerError> {
    let routes: Vec<String> = free_ports()
        .into_iter()
        .map(|port| format!("127.0.0.1:{port}"))
        .collect();
    let nats = files.dir().join("nats");
    let starts = (0..SERVERS).map(|index| {
        let store = nats.join(format!("store-{attempt}-{index}"));
        std::fs::create_dir_all(&store).expect("a store directory");
        let config = nats.join(format!("server-{index}.conf"));
        let text = conf(index, &routes, &store).render();
        std::fs::write(&config, text).expect("the configuration is written");
        NatsServer::start(StartOptions::new(
            binary.clone(),
            ServerConfig::File(config),
            store,
        ))
    });
    join_all(starts).await.into_iter().collect()
}

fn conf(index: usize, routes: &[String], store: &Path) -> ServerConf {
    ServerConf {
        name: format!("acme-{}", index + 1),
        listen: "127.0.0.1:4222".to_owned(),
        store_dir: store.to_owned(),
        tls: None,
        cluster: Some(Routes {
            name: "acme".to_owned(),
            listen: routes[index].clone(),
            routes: routes.to_vec(),
            tls: None,
        }),
        encryption_key_env: None,
    }
}

/// Ports that were free a moment ago; all are held while they are picked. They lie where the
/// system gives none away by itself, so hardly anybody takes one before it is used.
///
/// # Panics
/// When there are none.
#[must_use]
pub fn free_ports() -> [u16; SERVERS] {
    let mut free = std::iter::repeat_with(|| rand::rng().random_range(PORTS))
        .take(PORT_TRIES)
        .filter_map(|port| TcpListener::bind(("127.0.0.1", port)).ok());
    let held = [(); SERVERS].map(|()| free.next().expect("a free port"));
    held.map(|listener| listener.local_addr().expect("an address").port())
}
