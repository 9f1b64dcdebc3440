//! The epochs of the fingerprint key: a new one, and the destruction of an old one, so that
//! nobody can match what was marked in it any more.
//!
//! No step copies a key: a rotation gives the file of the newest epoch a second name before
//! another takes its place, so that destroying it later is overwriting the one copy there is.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use countersign_domain::redact::{FingerprintKey, KeyError as Malformed};

use super::deployment::Deployment;
use super::files::{self, FileError, Lock};
use super::keys::{self, KeyError};
use crate::files as readable;
use crate::fingerprints::{EPOCHS_MAX, newest, newest_file, older_epochs, older_file};

/// What a rotation left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochBegun {
    /// The epoch that marks from now on.
    pub epoch: String,
    /// Those by which only look-ups are answered.
    pub older: Vec<String>,
}

/// The epochs of the fingerprint key cannot be changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EpochError {
    /// A file cannot be written, or somebody else changes the keys.
    #[error(transparent)]
    File(#[from] FileError),
    /// A key file cannot be used.
    #[error(transparent)]
    Unusable(#[from] readable::FileError),
    /// No key can be made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The newest epoch has a name that cannot be counted on from.
    #[error("no epoch can follow `{0}`: {1}")]
    Name(String, Malformed),
    /// Another key has the name already.
    #[error(
        "there is another key of epoch `{0}` beside the one that marks: two backups were \
         mixed; keep the one that the archive was written with"
    )]
    Taken(String),
    /// Too many are kept.
    #[error(
        "{EPOCHS_MAX} older epochs are kept, and no more can be: destroy one that nobody \
         needs with `countersign identity destroy fingerprint EPOCH`"
    )]
    Full,
    /// It marks.
    #[error(
        "epoch `{0}` is the one that marks now: begin another with `countersign identity \
         rotate key fingerprint` and destroy it then"
    )]
    Marks(String),
    /// There never was one of this name.
    #[error("there is no epoch `{0}` here; there are: {1}")]
    Unknown(String, String),
}

/// Begins a new epoch of the fingerprint key in the folder `dir` of `deployment`. Running
/// services mark by it within a second.
///
/// # Errors
/// When a file cannot be used. The old epoch marks on then, and the same again completes it.
pub fn begin_epoch(deployment: &Deployment, dir: &Path) -> Result<EpochBegun, EpochError> {
    let _lock = Lock::take(deployment.dir())?;
    let old = newest(dir)?;
    let epoch = old
        .next_id()
        .map_err(|error| EpochError::Name(old.id().to_owned(), error))?;
    let mut older = older_epochs(dir)?;
    older.retain(|kept| kept != old.id());
    if older.len() >= EPOCHS_MAX {
        return Err(EpochError::Full);
    }
    if older.contains(&epoch) {
        return Err(EpochError::Taken(epoch));
    }
    let line = keys::symmetric(&epoch)?;
    keep(dir, old.id())?;
    files::replace(&newest_file(dir), line.as_bytes(), files::PRIVATE)?;
    older.push(old.id().to_owned());
    Ok(EpochBegun { epoch, older })
}

/// Gives the file of the newest epoch its own name as an older one.
fn keep(dir: &Path, epoch: &str) -> Result<(), EpochError> {
    let (from, to) = (newest_file(dir), older_file(dir, epoch));
    let failed = || FileError::on("keep the old key as", &to);
    match fs::hard_link(&from, &to) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let inode = |path: &Path| fs::metadata(path).map(|held| held.ino());
            // A rotation that was cut off left the second name of the same file.
            if inode(&from).map_err(failed())? != inode(&to).map_err(failed())? {
                return Err(EpochError::Taken(epoch.to_owned()));
            }
        }
        Err(error) => return Err(failed()(error).into()),
    }
    Ok(synced(dir).map_err(failed())?)
}

fn synced(dir: &Path) -> std::io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Whether the key of `epoch` is there to be destroyed; false where it was destroyed before.
///
/// # Errors
/// When it marks now, when there never was one, or when a file cannot be used.
pub fn can_be_destroyed(dir: &Path, epoch: &str) -> Result<bool, EpochError> {
    let marks = newest(dir)?;
    if marks.id() == epoch {
        return Err(EpochError::Marks(epoch.to_owned()));
    }
    if !FingerprintKey::is_id(epoch) {
        return Err(unknown(dir, marks.id(), epoch)?);
    }
    let path = older_file(dir, epoch);
    if path.try_exists().map_err(FileError::on("read", &path))? {
        return Ok(true);
    }
    match comes_before(epoch, marks.id()) {
        true => Ok(false),
        false => Err(unknown(dir, marks.id(), epoch)?),
    }
}

/// Overwrites the key of an older epoch and removes it; false where it was gone already.
///
/// # Errors
/// As for [`can_be_destroyed`]; and when the file cannot be overwritten: the same again
/// completes it.
pub fn destroy_epoch(deployment: &Deployment, dir: &Path, epoch: &str) -> Result<bool, EpochError> {
    let _lock = Lock::take(deployment.dir())?;
    if !can_be_destroyed(dir, epoch)? {
        return Ok(false);
    }
    let path = older_file(dir, epoch);
    overwrite(&path).map_err(FileError::on("overwrite", &path))?;
    files::remove(&path)?;
    synced(dir).map_err(FileError::on("sync", dir))?;
    Ok(true)
}

/// In place, so that no copy stays where the file lay.
fn overwrite(path: &Path) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    let length = usize::try_from(file.metadata()?.len()).unwrap_or_default();
    file.write_all(&vec![b'0'; length])?;
    file.sync_all()
}

/// Whether `epoch` is counted before `newest`: it was there once.
fn comes_before(epoch: &str, newest: &str) -> bool {
    let parts = |id: &str| {
        let word = id.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
        let number = id.strip_prefix(&word)?.parse::<u64>().ok()?;
        Some((word, number))
    };
    match (parts(epoch), parts(newest)) {
        (Some((word, number)), Some((other, last))) => word == other && (1..last).contains(&number),
        _ => false,
    }
}

fn unknown(dir: &Path, marks: &str, epoch: &str) -> Result<EpochError, EpochError> {
    let mut there = older_epochs(dir)?;
    there.push(format!("{marks}, which marks"));
    let shown: String = epoch
        .chars()
        .take(32)
        .flat_map(char::escape_debug)
        .collect();
    Ok(EpochError::Unknown(shown, there.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fingerprints::{all, redactor};
    use crate::identity::place::Place;

    impl Place {
        fn begin(&self) -> EpochBegun {
            begin_epoch(&self.deployment, &self.keys).unwrap()
        }

        fn destroy(&self, epoch: &str) -> Result<bool, EpochError> {
            destroy_epoch(&self.deployment, &self.keys, epoch)
        }

        fn epochs(&self) -> Vec<String> {
            let keys = all(&self.keys).unwrap();
            keys.iter().map(|key| key.id().to_owned()).collect()
        }
    }

    #[test]
    fn a_new_epoch_marks_and_the_old_one_is_kept_for_look_ups_alone() {
        let place = Place::new();
        let mark = || {
            redactor(&place.keys)
                .unwrap()
                .mark("email", "pat@example.com")
        };
        let first = mark();
        let begun = place.begin();
        assert_eq!(
            (begun.epoch.as_str(), begun.older),
            ("k2", vec!["k1".to_owned()])
        );
        let second = mark();
        assert!(first.contains(":k1:") && second.contains(":k2:"));
        place.begin();
        assert_eq!(place.epochs(), ["k3", "k2", "k1"]);
        let held = fs::read_to_string(newest_file(&place.keys)).unwrap();
        assert!(!held.contains("k1:") && !held.contains("k2:"), "{held}");
        for epoch in ["k1", "k2"] {
            let held = fs::metadata(older_file(&place.keys, epoch)).unwrap();
            assert_eq!((held.mode() & 0o777, held.nlink()), (0o600, 1), "{epoch}");
        }
    }

    #[test]
    fn a_destroyed_epoch_is_overwritten_gone_and_stays_gone() {
        let place = Place::new();
        place.begin();
        let path = older_file(&place.keys, "k1");
        // Another name of the same file shows what becomes of its bytes.
        let bytes = place.keys.join("seen");
        fs::hard_link(&path, &bytes).unwrap();
        let secret = fs::read_to_string(&bytes).unwrap();
        assert!(place.destroy("k1").unwrap());
        assert!(!path.try_exists().unwrap());
        let left = fs::read_to_string(&bytes).unwrap();
        assert_eq!(left, "0".repeat(secret.len()));
        assert_eq!(place.epochs(), ["k2"]);
        assert!(!place.destroy("k1").unwrap(), "asked twice");
        // Its name does not come again.
        assert_eq!(place.begin().epoch, "k3");
    }

    #[test]
    fn the_epoch_that_marks_and_one_that_never_was_are_not_destroyed() {
        let place = Place::new();
        let error = place.destroy("k1").unwrap_err().to_string();
        assert!(error.contains("rotate key fingerprint"), "{error}");
        place.begin();
        for never in ["k3", "k0", "other", "../match", "k1/../k1", ""] {
            let error = place.destroy(never).unwrap_err();
            assert!(matches!(error, EpochError::Unknown(..)), "{never}: {error}");
            assert!(error.to_string().contains("k1, k2, which marks"), "{error}");
        }
        assert_eq!(place.epochs(), ["k2", "k1"]);
    }

    #[test]
    fn a_rotation_or_destruction_that_was_cut_off_is_completed_by_the_next() {
        // Cut off after the second name: one epoch still, then the next.
        let place = Place::new();
        keep(&place.keys, "k1").unwrap();
        assert_eq!(place.epochs(), ["k1"]);
        assert!(matches!(place.destroy("k1"), Err(EpochError::Marks(_))));
        assert_eq!(place.begin().epoch, "k2");
        assert_eq!(place.epochs(), ["k2", "k1"]);
        // Cut off after the bytes were overwritten.
        overwrite(&older_file(&place.keys, "k1")).unwrap();
        assert!(
            all(&place.keys).is_err(),
            "no look-up with an epoch left out"
        );
        assert!(place.destroy("k1").unwrap());
        assert_eq!(place.epochs(), ["k2"]);
    }

    #[test]
    fn two_keys_of_one_name_are_not_mixed() {
        let place = Place::new();
        let line = keys::symmetric("k1").unwrap();
        let path = older_file(&place.keys, "k1");
        files::create(&path, line.as_bytes(), files::PRIVATE).unwrap();
        let error = begin_epoch(&place.deployment, &place.keys).unwrap_err();
        assert!(matches!(error, EpochError::Taken(_)), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), line.as_str());
        fs::rename(&path, older_file(&place.keys, "k7")).unwrap();
        let error = all(&place.keys).unwrap_err().to_string();
        assert!(error.contains("another epoch"), "{error}");
    }
}
