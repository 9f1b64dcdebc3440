//! The epochs of the fingerprint key, as services read them.
//!
//! `fingerprint.key` holds the newest epoch, by which everybody marks; each older one lies in
//! a file of its own, `fingerprint-<epoch>.key`, which only the archiver reads, and only to
//! answer a look-up. So whoever only marks cannot test a guess against an older epoch.

use std::path::{Path, PathBuf};

use countersign_domain::redact::{FingerprintKey, Redactor};

use crate::files::{self, FileError};
use crate::key_file::KeyFile;
use crate::service::ServiceContext;

const WHAT: &str = "fingerprint key";
const BEFORE: &str = "fingerprint-";
const AFTER: &str = ".key";
/// Epochs that are kept: twenty years of a rotation each month, so that a look-up stays
/// short; more than that, and older ones are to be destroyed.
pub const EPOCHS_MAX: usize = 240;

/// The file of the newest epoch in `keys`.
#[must_use]
pub fn newest_file(keys: &Path) -> PathBuf {
    keys.join("fingerprint.key")
}

/// The file of an older epoch in `keys`. The caller has checked that `epoch` is a name.
pub(crate) fn older_file(keys: &Path, epoch: &str) -> PathBuf {
    keys.join(format!("{BEFORE}{epoch}{AFTER}"))
}

/// An engine that marks by the newest epoch in `keys`.
///
/// # Errors
/// When the key cannot be used.
pub fn redactor(keys: &Path) -> Result<Redactor, FileError> {
    Ok(Redactor::new(newest(keys)?))
}

/// Has `redactor` mark by the newest epoch in `keys` until shutdown, whichever that is by
/// then: a rotation needs no restart.
pub fn follow(context: &ServiceContext, keys: &Path, redactor: &Redactor) {
    let redactor = redactor.clone();
    KeyFile::follow(context, "fingerprint-key", newest_file(keys), move |path| {
        redactor.rotate(read(path)?);
        Ok(())
    });
}

/// The newest epoch in `keys`.
///
/// # Errors
/// When the key cannot be used.
pub fn newest(keys: &Path) -> Result<FingerprintKey, FileError> {
    read(&newest_file(keys))
}

/// Every epoch in `keys` that was not destroyed, the newest first. Read anew for each
/// look-up, so that what is destroyed is gone at once and no copy of it stays in memory.
///
/// # Errors
/// When one of them cannot be used: a look-up that leaves out an epoch would be no answer.
pub fn all(keys: &Path) -> Result<Vec<FingerprintKey>, FileError> {
    let newest = newest(keys)?;
    let mut older = Vec::new();
    for epoch in older_epochs(keys)? {
        // Both names stand for one file in the middle of a rotation.
        if epoch != newest.id() {
            let path = older_file(keys, &epoch);
            let key = read(&path)?;
            if key.id() != epoch {
                let reason = "it holds another epoch than its name says";
                return Err(FileError::malformed(WHAT, &path, reason));
            }
            older.push(key);
        }
    }
    older.sort_by_key(|key| std::cmp::Reverse((key.id().len(), key.id().to_owned())));
    older.insert(0, newest);
    Ok(older)
}

/// The names of the older epochs that have a file in `keys`.
pub(crate) fn older_epochs(keys: &Path) -> Result<Vec<String>, FileError> {
    let failed = || FileError::unreadable("folder of keys", keys);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(keys).map_err(failed())? {
        let name = entry.map_err(failed())?.file_name();
        let epoch = name
            .to_str()
            .and_then(|name| name.strip_prefix(BEFORE)?.strip_suffix(AFTER))
            .filter(|epoch| FingerprintKey::is_id(epoch));
        found.extend(epoch.map(str::to_owned));
        if found.len() > EPOCHS_MAX {
            let reason = format!("it holds more than {EPOCHS_MAX} epochs of the fingerprint key");
            return Err(FileError::malformed("folder of keys", keys, reason));
        }
    }
    Ok(found)
}

fn read(path: &Path) -> Result<FingerprintKey, FileError> {
    let line = files::secret(WHAT, path)?;
    FingerprintKey::parse(&line).map_err(|error| FileError::malformed(WHAT, path, error))
}
