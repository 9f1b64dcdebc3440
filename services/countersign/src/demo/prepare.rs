//! The deployment that the demo plays in, made by the code of `init`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use countersign_domain::policy::Bundle;
use countersign_runtime::identity::{self, Deployment, InitOptions, Principal, Role};
use countersign_schemas::ToolName;

use crate::commands::init::{WORKER, identities};
use crate::sample;

/// The deployment's name.
pub(crate) const NAME: &str = "northwind";

/// Where the demo's files lie.
pub(crate) struct Place {
    /// The deployment.
    pub(crate) deployment: Deployment,
    /// How many files `init` made.
    pub(crate) files: usize,
}

impl Place {
    /// The directory.
    pub(crate) fn dir(&self) -> &Path {
        self.deployment.dir()
    }

    /// The nkey seed of one identity.
    ///
    /// # Errors
    /// When its credential is not there.
    pub(crate) fn seed(&self, role: Role, name: &str) -> anyhow::Result<String> {
        let registry = self.deployment.registry()?;
        let principal: &Principal = &registry.find(role, name)?.principal;
        self.deployment
            .seed(principal)?
            .with_context(|| format!("the credential of {role} {name} is not here"))
    }
}

impl Place {
    /// The tools of the worker on NATS, by its registration.
    ///
    /// # Errors
    /// When there is no such worker.
    pub(crate) fn nats_tools(&self) -> anyhow::Result<Vec<ToolName>> {
        let registry = self.deployment.registry()?;
        let worker = registry.find(Role::Worker, WORKER)?;
        Ok(worker.principal.tools().into_iter().collect())
    }

    /// The credential of that worker.
    ///
    /// # Errors
    /// When it is not there.
    pub(crate) fn worker_seed(&self) -> anyhow::Result<String> {
        self.seed(Role::Worker, WORKER)
    }
}

/// Makes the deployment, in `dir` or in a temporary directory.
///
/// # Errors
/// When the directory is not empty or a file cannot be written.
pub(crate) async fn place(dir: Option<&Path>) -> anyhow::Result<Place> {
    let root = match dir {
        Some(dir) => dir.to_owned(),
        None => temporary()?,
    };
    let mut options = InitOptions::local(NAME, &free_address().await?.to_string());
    let bundle = Bundle::from_files(&sample::files())?;
    options.identities = identities(&bundle, &["ops".parse()?])?;
    options.policy = sample::files().into_iter().collect();
    let made = identity::init(&root, &options)?;
    Ok(Place {
        files: made.files.len(),
        deployment: made.deployment,
    })
}

/// A new directory among the temporary files. It stays when the demo ends: the reader is
/// told where the archive lies, and how to remove it.
fn temporary() -> anyhow::Result<PathBuf> {
    let made = tempfile::Builder::new()
        .prefix("countersign-demo-")
        .tempdir()
        .context("cannot make a temporary directory")?;
    Ok(made.keep())
}

/// A loopback address that nobody listens on now. The settings name it, so that every
/// command finds the server; should somebody take it first, the server says so.
async fn free_address() -> anyhow::Result<SocketAddr> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = tokio::net::TcpListener::bind(any).await;
    let listener = listener.context("cannot find a free port on 127.0.0.1")?;
    Ok(listener.local_addr()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_runtime::config::Config;

    #[tokio::test]
    async fn the_files_are_those_of_init() {
        let made = place(None).await.unwrap();
        let config = Config::load_with(&made.deployment.config(), [], &[]).unwrap();
        assert_eq!(config.deployment.name.as_str(), NAME);
        assert!(made.seed(Role::Agent, "support").unwrap().starts_with("SU"));
        assert!(made.seed(Role::Agent, "nobody").is_err());
        let tools = made.nats_tools().unwrap();
        assert!(tools.iter().any(|tool| tool.as_str() == "mail.send"));
        std::fs::remove_dir_all(made.dir()).unwrap();
    }

    #[tokio::test]
    async fn a_directory_with_something_in_it_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("mine");
        place(Some(&target)).await.unwrap();
        let error = place(Some(&target)).await.err().unwrap().to_string();
        assert!(error.contains("not empty"), "{error}");
    }
}
