//! Following a file of keys while a service runs, so that a rotation needs no restart.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use crate::files::FileError;
use crate::health::HealthPart;
use crate::service::ServiceContext;

/// How often a file is looked at: a rotation is complete everywhere within a second or two.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is done with the file once it has changed.
type Take = Box<dyn Fn(&Path) -> Result<(), FileError> + Send + Sync>;

/// A file of keys that is followed. Clones share one state.
#[derive(Clone)]
pub struct KeyFile(Arc<Inner>);

struct Inner {
    path: PathBuf,
    taken: Mutex<Option<Stamp>>,
    take: Take,
    part: HealthPart,
}

/// By what a file that was replaced is told from the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    changed: Option<SystemTime>,
}

impl std::fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("KeyFile").field(&self.0.path).finish()
    }
}

impl KeyFile {
    /// Calls `take` with `path` now and whenever the file has changed, until shutdown.
    ///
    /// A file that cannot be used leaves the last keys in force, and `/readyz` says so under
    /// the name `part`.
    pub fn follow(
        context: &ServiceContext,
        part: &'static str,
        path: PathBuf,
        take: impl Fn(&Path) -> Result<(), FileError> + Send + Sync + 'static,
    ) -> Self {
        let file = Self(Arc::new(Inner {
            path,
            taken: Mutex::new(None),
            take: Box::new(take),
            part: context.health.part(part),
        }));
        file.look();
        tokio::spawn(file.clone().watch(context.shutdown.clone()));
        file
    }

    /// Takes the file in if it has changed. Reads a small file and does not wait for
    /// anybody: for whoever meets a key that nobody knows yet.
    pub fn look(&self) {
        let inner = &self.0;
        // One at a time, so that an older reading never replaces a newer one. The stamp is
        // whole after every statement, so a panic elsewhere cannot tear it.
        let mut taken = inner.taken.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken before the file is read: what is changed meanwhile is read again.
        let stamp = Stamp::of(&inner.path);
        if stamp.is_some() && *taken == stamp {
            return;
        }
        match (inner.take)(&inner.path) {
            Ok(()) => {
                *taken = stamp;
                inner.part.ready();
            }
            Err(error) => inner
                .part
                .failing(format!("{error}; the last keys stay in force")),
        }
    }

    async fn watch(self, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let file = self.clone();
            // A panic would have been told by now; the file is looked at again either way.
            drop(tokio::task::spawn_blocking(move || file.look()).await);
        }
    }
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let held = std::fs::metadata(path).ok()?;
        Some(Self {
            inode: held.ino(),
            bytes: held.len(),
            changed: held.modified().ok(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files;
    use crate::health::{Health, HealthHandle};
    use countersign_domain::keys::{KeySet, SigningKey};
    use countersign_domain::permit::PermitVerifier;

    fn jwks(seed: u8) -> String {
        KeySet::new([SigningKey::from_seed(&[seed; 32]).public()]).to_jwks()
    }

    fn file(path: &Path, verifier: &PermitVerifier, health: &HealthHandle) -> KeyFile {
        let verifier = verifier.clone();
        KeyFile(Arc::new(Inner {
            path: path.to_owned(),
            taken: Mutex::new(None),
            take: Box::new(move |path| {
                verifier.trust(files::key_set("permit keys", path)?);
                Ok(())
            }),
            part: health.part("permit-keys"),
        }))
    }

    fn token(seed: u8) -> String {
        use base64::Engine as _;
        let kid = SigningKey::from_seed(&[seed; 32]).id().to_owned();
        let head = format!(r#"{{"alg":"EdDSA","typ":"permit+jwt","kid":"{kid}"}}"#);
        let head = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(head);
        format!("{head}.e30.e30")
    }

    #[test]
    fn a_replaced_file_is_taken_in_and_a_broken_one_leaves_the_last_keys() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("permit.jwks.json");
        let verifier = PermitVerifier::new(KeySet::default());
        let health = HealthHandle::new();
        let followed = file(&path, &verifier, &health);
        let failing = || {
            let report = health.report();
            matches!(report.get("permit-keys"), Some(Health::Failing { .. }))
        };
        followed.look();
        assert!(failing(), "there is no file");

        std::fs::write(&path, jwks(1)).unwrap();
        followed.look();
        assert!(verifier.knows(&token(1)) && health.is_ready());

        let next = dir.path().join("next");
        std::fs::write(&next, jwks(2)).unwrap();
        std::fs::rename(&next, &path).unwrap();
        followed.look();
        assert!(verifier.knows(&token(2)) && !verifier.knows(&token(1)));

        std::fs::write(&path, "{").unwrap();
        followed.look();
        assert!(failing() && verifier.knows(&token(2)));
        std::fs::remove_file(&path).unwrap();
        followed.look();
        assert!(failing() && verifier.knows(&token(2)));
        std::fs::write(&path, jwks(3)).unwrap();
        followed.look();
        assert!(verifier.knows(&token(3)) && health.is_ready());
    }
}
