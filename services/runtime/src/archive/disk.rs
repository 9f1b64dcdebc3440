//! A directory as a store, written to so that what is there survives power-off.
//!
//! Nothing is ever changed in place: a file is written under `tmp`, synced, then linked to
//! its final name, which fails if the name is taken.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use tempfile::NamedTempFile;

use super::error::told;
use super::{Created, Listed, Seen, StoreError};

/// Temporary files of a writer that died are removed after this: far longer than any
/// writer needs for one file.
const TMP_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// Files that are written at a time: a sync is mostly waiting, and the disk takes several
/// for little more than one.
const AT_ONCE: usize = 8;

#[derive(Debug, Clone)]
pub(super) struct Disk {
    dir: PathBuf,
}

impl Disk {
    pub(super) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.dir.join(path)
    }

    fn tmp(&self) -> PathBuf {
        self.path("tmp")
    }

    pub(super) fn find_manifest(&self) -> Result<(), StoreError> {
        let manifest = self.path("manifest");
        let fail = StoreError::new("read the archive's manifest", &manifest);
        match fs::metadata(&manifest) {
            Ok(about) if about.is_dir() => Ok(()),
            Ok(_) => Err(fail(ErrorKind::NotADirectory.into())),
            Err(error) => Err(fail(error)),
        }
    }

    pub(super) fn prepare(&self) -> Result<(), StoreError> {
        for path in [self.tmp(), self.path("manifest"), self.path("archive/v1")] {
            make_dirs(&path)?;
        }
        self.sweep_tmp()?;
        self.prove_exclusive()
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

    pub(super) fn see(&self, path: &str, most: usize) -> Result<Seen, StoreError> {
        let bytes = read_at_most(&self.path(path), most)?;
        Ok(Seen {
            bytes,
            version: None,
        })
    }

    pub(super) fn fetch(&self, path: &str) -> Result<File, StoreError> {
        let path = self.path(path);
        File::open(&path).map_err(StoreError::new("open", &path))
    }

    pub(super) fn temporary(&self) -> Result<NamedTempFile, StoreError> {
        let tmp = self.tmp();
        NamedTempFile::new_in(&tmp).map_err(StoreError::new("make a temporary file in", &tmp))
    }

    pub(super) fn link(&self, file: &NamedTempFile, path: &str) -> Result<Created, StoreError> {
        let synced = file.as_file().sync_all();
        synced.map_err(StoreError::new("sync", file.path()))?;
        let to = self.path(path);
        let parent = to.parent().unwrap_or(&self.dir).to_owned();
        make_dirs(&parent)?;
        let created = link(file, &to)?;
        sync_dir(&parent)?;
        Ok(created)
    }

    /// Each file is synced before it has its name, several at a time, and their directories
    /// once at the end.
    pub(super) fn create_all(
        &self,
        files: &[(String, Vec<u8>)],
    ) -> Result<Vec<Created>, StoreError> {
        let mut dirs = BTreeSet::new();
        for (path, _) in files {
            if let Some(dir) = self.path(path).parent()
                && dirs.insert(dir.to_owned())
            {
                make_dirs(dir)?;
            }
        }
        let share = files.len().div_ceil(AT_ONCE).max(1);
        let created = thread::scope(|scope| {
            let mut running = Vec::new();
            for share in files.chunks(share) {
                let work = move || share.iter().map(|one| self.create(one)).collect();
                running.push(scope.spawn(work));
            }
            let mut created = Vec::new();
            for one in running {
                let done: Result<Vec<_>, _> = one.join().unwrap_or_else(|_| {
                    let reason = io::Error::other("a thread ended badly");
                    Err(StoreError::new("write", &self.dir)(reason))
                });
                created.extend(done?);
            }
            Ok::<_, StoreError>(created)
        })?;
        dirs.iter().try_for_each(|dir| sync_dir(dir))?;
        Ok(created)
    }

    fn create(&self, (path, bytes): &(String, Vec<u8>)) -> Result<Created, StoreError> {
        let mut file = self.temporary()?;
        file.write_all(bytes)
            .and_then(|()| file.as_file().sync_all())
            .map_err(StoreError::new("write", file.path()))?;
        link(&file, &self.path(path))
    }

    pub(super) fn replace(&self, path: &str, bytes: &[u8]) -> Result<(), StoreError> {
        replace_file(self.temporary()?, &self.path(path), bytes)
    }

    pub(super) fn list(&self, dir: &str) -> Result<Vec<Listed>, StoreError> {
        let mut found = Vec::new();
        let mut dirs = vec![dir.to_owned()];
        while let Some(dir) = dirs.pop() {
            let path = self.path(&dir);
            let fail = || StoreError::new("list", &path);
            let list = match fs::read_dir(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                list => list.map_err(fail())?,
            };
            for item in list {
                let item = item.map_err(fail())?;
                let name = item.file_name();
                let Some(path) = name.to_str().map(|name| format!("{dir}/{name}")) else {
                    continue;
                };
                match item.metadata() {
                    Ok(about) if about.is_dir() => dirs.push(path),
                    Ok(about) => found.push(Listed {
                        path,
                        bytes: about.len(),
                    }),
                    // Removed since it was listed.
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Err(error) => return Err(fail()(error)),
                }
            }
        }
        Ok(found)
    }

    pub(super) fn remove(&self, path: &str) -> Result<(), StoreError> {
        let path = self.path(path);
        unless_gone(fs::remove_file(&path)).map_err(StoreError::new("remove", &path))
    }

    pub(super) fn remove_dir(&self, dir: &str) -> Result<(), StoreError> {
        let path = self.path(dir);
        unless_gone(fs::remove_dir_all(&path)).map_err(StoreError::new("remove", &path))
    }

    pub(super) fn objects(&self) -> Result<Arc<dyn ObjectStore>, StoreError> {
        let store = LocalFileSystem::new_with_prefix(&self.dir);
        let store = store.map_err(|error| StoreError::new("read", &self.dir)(told(&error)))?;
        Ok(Arc::new(store))
    }
}

fn unless_gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn link(from: &NamedTempFile, to: &Path) -> Result<Created, StoreError> {
    match fs::hard_link(from.path(), to) {
        Ok(()) => Ok(Created::Now),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(Created::Before),
        Err(error) => Err(StoreError::new("create", to)(error)),
    }
}

/// A file of at most `most` bytes, if it is there; of a longer one so much that its length
/// is wrong.
///
/// # Errors
/// When it is there and cannot be read.
pub fn read_at_most(path: &Path, most: usize) -> Result<Option<Vec<u8>>, StoreError> {
    let most = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    match File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)) {
        Ok(_) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::new("read", path)(error)),
    }
}

/// Writes bytes to `file` and gives it the name `path`, whatever had it before; a crash
/// leaves the old one or the new one.
///
/// # Errors
/// When it cannot be written.
pub fn replace_file(mut file: NamedTempFile, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let fail = || StoreError::new("write", path);
    file.write_all(bytes).map_err(fail())?;
    file.as_file().sync_all().map_err(fail())?;
    file.persist(path).map_err(|error| fail()(error.error))?;
    sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// Makes a directory and its parents, each synced into its own parent.
///
/// # Errors
/// When one cannot be made.
pub fn make_dirs(path: &Path) -> Result<(), StoreError> {
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
///
/// # Errors
/// When the disk does not say that they do.
pub fn sync_dir(path: &Path) -> Result<(), StoreError> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .map_err(StoreError::new("sync", path))
}
