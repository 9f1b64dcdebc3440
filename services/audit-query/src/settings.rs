//! What the query service needs besides its connection.

use std::fs;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use countersign_domain::archive::{ManifestPublicKeys, Scrub};
use countersign_domain::redact::{FingerprintKey, Redactor};
use countersign_runtime::archive::Place;
use countersign_runtime::config::Config;
use countersign_runtime::service::ServiceError;

use crate::archive::QueryLimits;

/// Everything that is configured.
#[derive(Clone)]
pub struct Settings {
    /// Where the archive lies.
    pub place: Place,
    /// Keys that may have signed the manifest; without any, signatures are not checked.
    pub pinned: ManifestPublicKeys,
    /// How much one query may use.
    pub limits: QueryLimits,
    /// Redacts the statements that are recorded.
    pub scrub: Arc<dyn Scrub + Send + Sync>,
}

impl Settings {
    /// Reads what the configuration names.
    ///
    /// # Errors
    /// When the pinned key is there and cannot be used.
    pub fn from_config(config: &Config) -> Result<Self, ServiceError> {
        let query = &config.audit_query;
        let memory = usize::try_from(query.memory_mb.saturating_mul(1024 * 1024));
        Ok(Self {
            place: Place::of(config).map_err(ServiceError::configured)?,
            pinned: pinned(config)?,
            limits: QueryLimits {
                memory_bytes: memory.unwrap_or(usize::MAX),
                timeout: Duration::from_secs(query.timeout_s),
                rows: query.rows_max,
            },
            scrub: Arc::new(Redactor::new(passing_key()?)),
        })
    }
}

fn pinned(config: &Config) -> Result<ManifestPublicKeys, ServiceError> {
    let path = config.keys.dir.join("manifest.pub");
    let named = |error: &dyn std::fmt::Display| {
        ServiceError::configured(format!("cannot use `{}`: {error}", path.display()))
    };
    match fs::read_to_string(&path) {
        Ok(text) => ManifestPublicKeys::from_pem(&text).map_err(|error| named(&error)),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), "no pinned manifest key: signatures are not checked");
            Ok(ManifestPublicKeys::default())
        }
        Err(error) => Err(named(&error)),
    }
}

/// This service must not have the deployment's fingerprint key: with it, whoever may query
/// could find a short value by trying. A key that nobody else has hides just as well.
fn passing_key() -> Result<FingerprintKey, ServiceError> {
    FingerprintKey::new("query", rand::random()).map_err(ServiceError::configured)
}
