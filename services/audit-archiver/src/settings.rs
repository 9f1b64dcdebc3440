//! What the archiver needs besides its connection.

use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use countersign_domain::archive::{ManifestKey, ManifestPublicKeys};
use countersign_runtime::archive::Place;
use countersign_runtime::config::Config;
use countersign_runtime::service::ServiceError;
use countersign_runtime::{files, fingerprints};

use crate::batch::BatchLimits;
use crate::commit::WriterOptions;
use crate::hooks::Hooks;
use crate::janitor::JanitorLimits;
use crate::lookup::Keys;
use crate::reader::SharedScrub;
use crate::tidy::TidyLimits;

/// Everything that is configured.
#[derive(Clone)]
pub struct Settings {
    /// Where and how to write.
    pub writer: WriterOptions,
    /// When to commit.
    pub limits: BatchLimits,
    /// When streams are purged.
    pub janitor: JanitorLimits,
    /// When the archive is put in order.
    pub tidy: TidyLimits,
    /// Directories elsewhere that keep each checkpoint too.
    pub witnesses: Vec<PathBuf>,
    /// Redacts every row.
    pub scrub: SharedScrub,
    /// The keys by which look-ups are answered; `None` answers none.
    pub keys: Option<Keys>,
}

impl Settings {
    /// Reads the keys that the configuration names.
    ///
    /// # Errors
    /// When a key is missing or unreadable; the message names its file, never its content.
    pub fn from_config(config: &Config) -> Result<Self, ServiceError> {
        let keys = &config.keys.dir;
        let own = &config.audit_archiver;
        let key = secret(
            "manifest key",
            &keys.join("manifest.pem"),
            ManifestKey::from_pem,
        )?;
        let redactor = fingerprints::redactor(keys)?;
        let path = keys.join("manifest.pub");
        let text = fs::read_to_string(&path).map_err(|error| unusable(&path, error))?;
        let pinned = ManifestPublicKeys::from_pem(&text).map_err(|error| unusable(&path, error))?;
        Ok(Self {
            writer: WriterOptions {
                place: Place::of(config).map_err(ServiceError::configured)?,
                state_file: own.state_file.clone(),
                origin: config.deployment.name.to_string(),
                key,
                pinned,
                hooks: Hooks::default(),
            },
            limits: BatchLimits {
                rows: own.batch_rows,
                bytes: own.batch_bytes,
                wait: Duration::from_millis(own.batch_ms),
            },
            janitor: JanitorLimits::default(),
            tidy: TidyLimits {
                compact_after: (own.compact_after_s > 0)
                    .then(|| Duration::from_secs(own.compact_after_s)),
                grace: Duration::from_secs(own.file_grace_s),
            },
            witnesses: own.witnesses.clone(),
            scrub: Arc::new(redactor.clone()),
            keys: Some(Keys {
                dir: keys.clone(),
                redactor,
            }),
        })
    }
}

fn secret<T, E: Display>(
    what: &'static str,
    path: &Path,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, ServiceError> {
    let text = files::secret(what, path).map_err(ServiceError::configured)?;
    parse(&text).map_err(|error| unusable(path, error))
}

fn unusable(path: &Path, error: impl Display) -> ServiceError {
    ServiceError::configured(format!("cannot use `{}`: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_missing_or_broken_key_is_named_and_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.keys.dir = dir.path().to_owned();
        let missing = Settings::from_config(&config).err().unwrap().to_string();
        assert!(missing.contains("manifest.pem"), "{missing}");
        let path = dir.path().join("manifest.pem");
        fs::write(&path, "SECRET").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let broken = Settings::from_config(&config).err().unwrap();
        assert_eq!(broken.exit_code(), 64);
        assert!(!broken.to_string().contains("SECRET"), "{broken}");
    }
}
