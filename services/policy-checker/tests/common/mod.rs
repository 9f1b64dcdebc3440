//! What every test of the checker begins with: a server with our streams, and the keys.

use std::path::Path;

use anyhow::Result;
use countersign_runtime::bus::layout::{self, LayoutOptions};
use countersign_runtime::bus::{Bus, ConnectOptions};
use countersign_runtime::nats_server::{
    NatsServer, Progress, ServerConfig, StartOptions, find_or_provision, plain_config,
};

/// Starts a server that stores in `dir` and lays it out; the checker's keys are in `dir`.
pub(crate) async fn start(dir: &Path) -> Result<(NatsServer, Bus)> {
    let binary = find_or_provision(Progress::Quiet)?;
    let store = dir.join("store");
    let config = ServerConfig::Text(plain_config(&store));
    let server = NatsServer::start(StartOptions::new(binary, config, store)).await?;
    let bus = connect(&server, "test").await?;
    layout::ensure(&bus, LayoutOptions::default()).await?;
    for name in ["fingerprint.key", "match.key"] {
        write_key(&dir.join(name))?;
    }
    Ok((server, bus))
}

/// A new connection, called `name`.
pub(crate) async fn connect(server: &NatsServer, name: &str) -> Result<Bus> {
    let options = ConnectOptions {
        url: server.url(),
        name: name.to_owned(),
        credential: nkeys::KeyPair::new_user().seed()?,
        tls_ca: None,
    };
    Ok(Bus::connect(options).await?)
}

fn write_key(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, format!("k1:{}", "A".repeat(43)))?;
    let mode = std::fs::Permissions::from_mode(0o600);
    Ok(std::fs::set_permissions(path, mode)?)
}
