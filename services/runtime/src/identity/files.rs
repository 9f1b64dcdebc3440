//! Files that hold keys and configuration: private from their first byte, replaced as a
//! whole, changed by one process at a time.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Rights of a file that only its owner may read.
pub(super) const PRIVATE: u32 = 0o600;
/// Rights of a file that anybody may read.
pub(super) const PUBLIC: u32 = 0o644;

/// A file cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {act} `{}`: {source}", path.display())]
pub struct FileError {
    act: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl FileError {
    /// An error of doing `act` to `path`, for `map_err`.
    pub(super) fn on(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self { act, path, source }
    }

    /// Whether the file is missing.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }
}

/// Reads a file of at most `bytes_max` bytes.
pub(super) fn read_bounded(path: &Path, bytes_max: u64) -> Result<Vec<u8>, FileError> {
    let error = || FileError::on("read", path);
    let file = File::open(path).map_err(error())?;
    let mut bytes = Vec::new();
    file.take(bytes_max + 1)
        .read_to_end(&mut bytes)
        .map_err(error())?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > bytes_max {
        let reason = format!("it is larger than {bytes_max} bytes");
        return Err(error()(io::Error::other(reason)));
    }
    Ok(bytes)
}

/// Makes a directory that only its owner may enter; it must not exist.
pub(super) fn make_private_dir(path: &Path) -> Result<(), FileError> {
    DirBuilder::new()
        .mode(0o700)
        .create(path)
        .map_err(FileError::on("make directory", path))
}

/// Writes a file that must not exist yet.
pub(super) fn create(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    write_new(path, bytes, mode).map_err(FileError::on("write", path))
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Replaces a file as a whole: a reader sees the old bytes or the new ones, also after a
/// crash.
pub(super) fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let error = || FileError::on("replace", path);
    let (dir, name) = match (path.parent(), path.file_name()) {
        (Some(dir), Some(name)) => (dir, name),
        _ => return Err(error()(io::Error::other("it is not a file"))),
    };
    let temporary = dir.join(format!(".{}.new", name.to_string_lossy()));
    // Left over from a crash; the lock keeps other writers out.
    remove(&temporary)?;
    write_new(&temporary, bytes, mode)
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| File::open(dir)?.sync_all())
        .map_err(error())
}

/// Gives the file `from` the name `to`, in place of what had it.
pub(super) fn put_in_place(from: &Path, to: &Path) -> Result<(), FileError> {
    let error = FileError::on("replace", to);
    let dir = to.parent().unwrap_or(to);
    fs::rename(from, to)
        .and_then(|()| File::open(dir)?.sync_all())
        .map_err(error)
}

/// Removes a file if it is there.
pub(super) fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(FileError::on("remove", path)(source))
        }
        _ => Ok(()),
    }
}

/// Held while identities change; the kernel lets go of it even when the process is killed.
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for nobody: two operators changing identities at once is a surprise that one
    /// of them should hear about.
    pub(super) fn take(dir: &Path) -> Result<Self, FileError> {
        let path = dir.join(".identity.lock");
        let error = || FileError::on("lock", &path);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(PRIVATE)
            .open(&path)
            .map_err(error())?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).map_err(
            |errno| match errno {
                rustix::io::Errno::WOULDBLOCK => error()(io::Error::other(
                    "another process is changing identities; try again when it is done",
                )),
                errno => error()(errno.into()),
            },
        )?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn a_replaced_file_has_the_new_bytes_and_rights_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        create(&path, b"old", PUBLIC).unwrap();
        fs::write(dir.path().join(".x.new"), b"left by a crash").unwrap();
        replace(&path, b"new", PRIVATE).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(mode(&path), PRIVATE);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_exists_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        create(&path, b"old", PRIVATE).unwrap();
        assert!(create(&path, b"new", PRIVATE).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        let sub = dir.path().join("d");
        make_private_dir(&sub).unwrap();
        assert_eq!(mode(&sub), 0o700);
        assert!(make_private_dir(&sub).is_err());
    }

    #[test]
    fn a_file_larger_than_its_bound_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        fs::write(&path, b"12345").unwrap();
        assert_eq!(read_bounded(&path, 5).unwrap(), b"12345");
        assert!(read_bounded(&path, 4).is_err());
        assert!(
            read_bounded(&dir.path().join("y"), 4)
                .unwrap_err()
                .is_missing()
        );
    }

    #[test]
    fn one_change_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let held = Lock::take(dir.path()).unwrap();
        let error = Lock::take(dir.path()).err().unwrap().to_string();
        assert!(error.contains("another process"), "{error}");
        drop(held);
        assert!(Lock::take(dir.path()).is_ok());
    }
}
