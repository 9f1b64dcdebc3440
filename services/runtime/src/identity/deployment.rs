//! A deployment's directory: where each file lies, and the credentials in it.

use std::path::{Path, PathBuf};

use super::files::{self, FileError};
use super::principal::Principal;
use super::registry::{Registry, RegistryError};
use super::server_conf::render_accounts;

/// Largest credential that is read, in bytes: a seed has 58, and a credentials file of a
/// server in operator mode holds a user JWT of a few thousand at most.
const CREDS_BYTES_MAX: u64 = 16 * 1_024;

/// The directory that `countersign init` made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    dir: PathBuf,
}

impl Deployment {
    /// The deployment in `dir`.
    #[must_use]
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Its directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The settings of all services.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.dir.join("countersign.toml")
    }

    /// The server's configuration.
    #[must_use]
    pub fn server_conf(&self) -> PathBuf {
        self.dir.join("nats").join("server.conf")
    }

    /// The accounts and users that the server's configuration includes.
    #[must_use]
    pub fn accounts_conf(&self) -> PathBuf {
        self.dir.join("nats").join("accounts.conf")
    }

    /// The credential of an identity.
    #[must_use]
    pub fn creds(&self, principal: &Principal) -> PathBuf {
        self.dir.join("creds").join(principal.creds_file())
    }

    /// The identities.
    ///
    /// # Errors
    /// If the registry cannot be read.
    pub fn registry(&self) -> Result<Registry, RegistryError> {
        Registry::load(&self.dir)
    }

    /// An identity's credential: a seed or a NATS credentials file; `None` where the file is not here, because
    /// it was handed to its owner.
    ///
    /// # Errors
    /// If the file is there and cannot be read.
    pub fn seed(&self, principal: &Principal) -> Result<Option<String>, FileError> {
        match files::read_bounded(&self.creds(principal), CREDS_BYTES_MAX) {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).trim().to_owned())),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces the registry and the accounts that are rendered from it.
    pub(super) fn store(&self, registry: &Registry) -> Result<(), RegistryError> {
        registry.save(&self.dir)?;
        let accounts = render_accounts(registry);
        files::replace(&self.accounts_conf(), accounts.as_bytes(), files::PRIVATE)?;
        Ok(())
    }
}
