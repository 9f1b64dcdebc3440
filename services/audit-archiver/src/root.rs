//! The archive's directory, and writing to it so that what is there survives power-off.
//!
//! `archive/v1/…` holds the files, `manifest/…` the entries, `tmp/` what is being written.
//! Nothing is ever changed in place: a file is written under `tmp`, synced, then linked to
//! its final name, which fails if the name is taken.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use countersign_domain::archive::{BadPlace, Entry, Files};
use countersign_schemas::Digest;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

/// Temporary files of a writer that died are removed after this: far longer than any
/// writer needs for one file.
const TMP_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest manifest entry that is read: an entry names at most one file per stream and
/// hour of a batch, far below this.
const ENTRY_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The archive cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {act} `{}`: {reason}", path.display())]
pub struct StoreError {
    act: &'static str,
    path: PathBuf,
    reason: io::Error,
}

impl StoreError {
    pub(crate) fn new(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |reason| Self { act, path, reason }
    }

    /// Whether the thing is not there at all.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.reason.kind() == ErrorKind::NotFound
    }
}

/// What came of creating a file that must not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// It is there now, synced.
    Now,
    /// Somebody else had made one of that name.
    Before,
}

/// The directory of one archive.
#[derive(Debug, Clone)]
pub struct Root {
    dir: PathBuf,
}

impl Root {
    /// The place of an archive, whether or not it is there. Nothing is made.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    /// An archive that is there, to read.
    ///
    /// # Errors
    /// When there is none: an empty answer about the wrong directory would be a wrong one.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let root = Self::new(dir);
        let manifest = root.path("manifest");
        match fs::metadata(&manifest) {
            Ok(about) if about.is_dir() => Ok(root),
            Ok(_) => {
                let reason = ErrorKind::NotADirectory.into();
                Err(StoreError::new("read the archive's manifest", &manifest)(
                    reason,
                ))
            }
            Err(error) => Err(StoreError::new("read the archive's manifest", &manifest)(
                error,
            )),
        }
    }

    /// An archive to write: makes its directories, removes what a dead writer left behind
    /// and proves that the store refuses to create a file twice.
    ///
    /// # Errors
    /// When the directory cannot be written, or a second creation succeeds.
    pub fn prepare(dir: &Path) -> Result<Self, StoreError> {
        let root = Self::new(dir);
        for path in [root.tmp(), root.path("manifest"), root.path("archive/v1")] {
            make_dirs(&path)?;
        }
        root.sweep_tmp()?;
        root.prove_exclusive()?;
        Ok(root)
    }

    /// The place of something with this relative path.
    #[must_use]
    pub fn path(&self, relative: &str) -> PathBuf {
        self.dir.join(relative)
    }

    fn tmp(&self) -> PathBuf {
        self.path("tmp")
    }

    /// A temporary file outside the table's directory.
    pub(crate) fn temporary(&self) -> Result<NamedTempFile, StoreError> {
        let tmp = self.tmp();
        NamedTempFile::new_in(&tmp).map_err(StoreError::new("make a temporary file in", &tmp))
    }

    /// Gives a synced temporary file its final name, unless that name is taken, and makes
    /// the name survive power-off.
    pub(crate) fn link(&self, from: &Path, relative: &str) -> Result<Created, StoreError> {
        let to = self.path(relative);
        let parent = to.parent().unwrap_or(&self.dir).to_owned();
        make_dirs(&parent)?;
        let created = match fs::hard_link(from, &to) {
            Ok(()) => Created::Now,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Created::Before,
            Err(error) => return Err(StoreError::new("create", &to)(error)),
        };
        sync_dir(&parent)?;
        Ok(created)
    }

    /// The bytes of a manifest entry, if it exists.
    ///
    /// # Errors
    /// When it exists and cannot be read.
    pub fn entry(&self, n: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.path(&Entry::path(n));
        match read_bounded(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::new("read", &path)(error)),
        }
    }

    /// The number of the last manifest entry; 0 for an empty archive.
    ///
    /// # Errors
    /// When the directory cannot be listed.
    pub fn last_entry(&self) -> Result<u64, StoreError> {
        let dir = self.path("manifest");
        let list = match fs::read_dir(&dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
            list => list.map_err(StoreError::new("list", &dir))?,
        };
        let mut last = 0;
        for item in list {
            let item = item.map_err(StoreError::new("list", &dir))?;
            let name = item.file_name();
            let number = name
                .to_str()
                .and_then(|name| name.strip_suffix(".json"))
                .and_then(|digits| digits.parse::<u64>().ok());
            last = last.max(number.unwrap_or(0));
        }
        Ok(last)
    }

    /// The bytes of every manifest entry, in order.
    ///
    /// # Errors
    /// When one cannot be read, or one is missing although a later one exists.
    pub fn entries(&self) -> Result<Result<Vec<Vec<u8>>, BadPlace>, StoreError> {
        let later = self.last_entry()?;
        let mut all = Vec::new();
        for n in 1..=later {
            match self.entry(n)? {
                Some(bytes) => all.push(bytes),
                None => return Ok(Err(BadPlace::Missing { n, later })),
            }
        }
        Ok(Ok(all))
    }

    /// Digest and size of a file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn digest(&self, relative: &str) -> Result<(Digest, u64), StoreError> {
        let path = self.path(relative);
        let mut file = File::open(&path).map_err(StoreError::new("open", &path))?;
        let mut hash = Sha256::new();
        let bytes = io::copy(&mut file, &mut hash).map_err(StoreError::new("read", &path))?;
        let text = format!("sha256:{:x}", hash.finalize());
        let digest = text
            .parse()
            .map_err(|_| StoreError::new("hash", &path)(io::Error::other("no digest")))?;
        Ok((digest, bytes))
    }

    /// Every data file, named by an entry or not, relative to the archive's root.
    ///
    /// # Errors
    /// When a directory cannot be listed.
    pub(crate) fn data_files(&self) -> Result<BTreeSet<String>, StoreError> {
        let mut found = BTreeSet::new();
        let mut dirs = vec!["archive/v1".to_owned()];
        while let Some(dir) = dirs.pop() {
            let path = self.path(&dir);
            let list = fs::read_dir(&path).map_err(StoreError::new("list", &path))?;
            for item in list {
                let item = item.map_err(StoreError::new("list", &path))?;
                let Some(name) = item
                    .file_name()
                    .to_str()
                    .map(|name| format!("{dir}/{name}"))
                else {
                    continue;
                };
                let kind = item.file_type().map_err(StoreError::new("list", &path))?;
                if kind.is_dir() {
                    dirs.push(name);
                } else if name.ends_with(".parquet") {
                    found.insert(name);
                }
            }
        }
        Ok(found)
    }

    /// The first of these files that is not there in its size; its contents are not read.
    ///
    /// # Errors
    /// When a file cannot be looked at.
    pub(crate) fn missing(&self, files: &Files) -> Result<Option<String>, StoreError> {
        for file in files.iter() {
            let path = self.path(&file.path);
            match fs::metadata(&path) {
                Ok(about) if about.len() == file.bytes => {}
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(StoreError::new("look at", &path)(error));
                }
                _ => return Ok(Some(file.path.clone())),
            }
        }
        Ok(None)
    }

    /// Removes a data file. One that is gone already is no error.
    ///
    /// # Errors
    /// When it is there and cannot be removed.
    pub(crate) fn remove(&self, relative: &str) -> Result<(), StoreError> {
        let path = self.path(relative);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(StoreError::new("remove", &path)(error))
            }
            _ => Ok(()),
        }
    }

    fn sweep_tmp(&self) -> Result<(), StoreError> {
        let tmp = self.tmp();
        let list = fs::read_dir(&tmp).map_err(StoreError::new("list", &tmp))?;
        for item in list.flatten() {
            let old = item
                .metadata()
                .and_then(|about| about.modified())
                .is_ok_and(|at| at.elapsed().unwrap_or_default() > TMP_LIFE);
            if old && let Err(error) = fs::remove_file(item.path()) {
                tracing::warn!(path = %item.path().display(), %error, "cannot remove an old temporary file");
            }
        }
        Ok(())
    }

    /// Some network file systems replace an existing name without a word; on those two
    /// archivers would both believe that they had committed.
    fn prove_exclusive(&self) -> Result<(), StoreError> {
        let first = self.temporary()?;
        let twice = self.tmp().join("exclusive-check");
        // Left over from a writer that died right here.
        fs::remove_file(&twice).ok();
        let linked = fs::hard_link(first.path(), &twice)
            .map_err(StoreError::new("create", &twice))
            .map(|()| fs::hard_link(first.path(), &twice).is_ok());
        fs::remove_file(&twice).ok();
        if linked? {
            let reason = io::Error::other(
                "this file system creates the same file twice; put the archive on another one",
            );
            return Err(StoreError::new("use", &self.dir)(reason));
        }
        Ok(())
    }
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path)?
        .take(ENTRY_BYTES_MAX + 1)
        .read_to_end(&mut bytes)?;
    if u64::try_from(read).unwrap_or(u64::MAX) > ENTRY_BYTES_MAX {
        return Err(io::Error::other("larger than any manifest entry"));
    }
    Ok(bytes)
}

/// Makes a directory and its parents, each synced into its own parent.
pub(crate) fn make_dirs(path: &Path) -> Result<(), StoreError> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        make_dirs(parent)?;
    }
    match fs::create_dir(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(StoreError::new("make", path)(error));
        }
        _ => {}
    }
    sync_dir(parent.unwrap_or(Path::new(".")))
}

/// Makes the names in a directory survive power-off.
pub(crate) fn sync_dir(path: &Path) -> Result<(), StoreError> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .map_err(StoreError::new("sync", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn a_name_is_given_once_and_keeps_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::prepare(dir.path()).unwrap();
        for (text, expected) in [("one", Created::Now), ("two", Created::Before)] {
            let mut file = root.temporary().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            assert_eq!(
                root.link(file.path(), "archive/v1/a/b/x").unwrap(),
                expected
            );
        }
        assert_eq!(fs::read(root.path("archive/v1/a/b/x")).unwrap(), b"one");
        let (digest, bytes) = root.digest("archive/v1/a/b/x").unwrap();
        assert_eq!((digest, bytes), (Digest::of_bytes(b"one"), 3));
        assert_eq!(fs::read_dir(root.tmp()).unwrap().count(), 0);
    }

    #[test]
    fn an_entry_missing_in_the_middle_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::prepare(dir.path()).unwrap();
        assert_eq!(root.entries().unwrap(), Ok(Vec::new()));
        for n in [1, 3] {
            fs::write(root.path(&Entry::path(n)), b"{}").unwrap();
        }
        assert_eq!(root.last_entry().unwrap(), 3);
        assert_eq!(
            root.entries().unwrap(),
            Err(BadPlace::Missing { n: 2, later: 3 })
        );
    }

    #[test]
    fn an_unwritable_place_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, b"").unwrap();
        let error = Root::prepare(&file).unwrap_err().to_string();
        assert!(error.contains("file"), "{error}");
    }
}
