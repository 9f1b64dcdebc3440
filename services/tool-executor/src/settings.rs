//! Everything the executor needs besides its context, read and checked before it starts.

use std::collections::BTreeMap;
use std::path::PathBuf;

use countersign_domain::keys::{KeySet, SigningKey};
use countersign_domain::policy::{Bundle, Worker};
use countersign_domain::redact::Redactor;
use countersign_runtime::config::Config;
use countersign_runtime::identity::Signing;
use countersign_runtime::service::ServiceError;
use countersign_runtime::{files, fingerprints, policy};
use countersign_schemas::ServiceId;

/// What the executor is given.
#[derive(Debug)]
pub struct Settings {
    /// This executor's name in claims.
    pub id: ServiceId,
    /// Where outcomes wait until the server has stored them.
    pub spool_dir: PathBuf,
    /// Tools running at once.
    pub max_running: usize,
    /// Base URL of each `http` worker.
    pub http: BTreeMap<String, String>,
    /// The bundle whose catalog says how tools are called, for as long as none was
    /// published; or why there is none.
    pub folder: Result<Bundle, String>,
    /// Redacts outputs and errors.
    pub redactor: Redactor,
    /// Public keys that sign permits.
    pub permit_keys: KeySet,
    /// The key that signs claim tokens.
    pub claim_key: SigningKey,
    /// The folder that all three are read from again when they change; `None` for keys that
    /// stay.
    pub keys_dir: Option<PathBuf>,
}

impl Settings {
    /// Reads what the configuration names.
    ///
    /// # Errors
    /// When a file cannot be used, or a tool's `http` service has no base URL.
    pub fn load(config: &Config) -> Result<Self, ServiceError> {
        let keys = &config.keys.dir;
        let own = &config.tool_executor;
        let settings = Self {
            id: own.id.clone(),
            spool_dir: own.spool_dir.clone(),
            max_running: own.max_running,
            http: own.http.clone(),
            redactor: fingerprints::redactor(keys)?,
            permit_keys: files::key_set("permit keys", &Signing::Permit.public(keys))?,
            claim_key: files::signing_key("claim key", &Signing::Claim.private(keys))?,
            keys_dir: Some(keys.clone()),
            folder: policy::folder(&config.policy.dir),
        };
        settings.warn_of_missing_services();
        Ok(settings)
    }

    /// A tool whose service has no base URL fails when it is called, in words; whoever
    /// starts the executor should hear of it before.
    fn warn_of_missing_services(&self) {
        let tools = self
            .folder
            .iter()
            .flat_map(|bundle| bundle.catalog().tools());
        for tool in tools {
            if let Worker::Http { service, .. } = tool.worker()
                && !self.http.contains_key(service)
            {
                tracing::warn!(tool = %tool.name(), service, "no base URL in tool_executor.http");
            }
        }
    }
}
