//! The store that an archive lies in, a directory of this machine or a prefix of a bucket,
//! and the few things that are done there.
//!
//! Both keep one promise: a name is given once. A file of that name that was there before is
//! never written over, also when two archivers try at once, and what was created survives
//! power-off. A directory does it by links and syncs, a bucket by conditional requests; a
//! store that does not keep it is refused when it is opened for writing.
//!
//! Every call waits for disk or network: never call one where others wait for the thread.

mod bucket;
mod client;
mod credentials;
mod disk;
mod error;
mod listing;
mod objects;
pub(crate) mod place;
mod probe;
mod wait;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use object_store::ObjectStore;
use tempfile::NamedTempFile;

use self::bucket::Bucket;
use self::disk::Disk;
pub use self::disk::{make_dirs, read_at_most, replace_file, sync_dir};
pub use self::error::StoreError;
pub use self::listing::{DATA, ENTRY_BYTES_MAX, entry_number};
pub use self::place::{BucketPlace, Place, PlaceError};

/// What came of creating a file that must not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// It is there now, and stays after power-off.
    Now,
    /// Somebody else had made one of that name, with other contents or the same.
    Before,
}

/// A file as it was when it was read, so that only this one is replaced.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Its bytes; `None` if there was none.
    pub bytes: Option<Vec<u8>>,
    version: Option<object_store::UpdateVersion>,
}

/// A file that a directory or a prefix holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name, relative to the archive's root.
    pub path: String,
    /// Its size.
    pub bytes: u64,
}

/// The store of one archive. Names are relative to the archive's root, parted by `/`.
#[derive(Debug, Clone)]
pub struct Store(Backend);

#[derive(Debug, Clone)]
enum Backend {
    Disk(Disk),
    Bucket(Bucket),
}

impl Store {
    /// The store at this place, whether or not there is an archive. Nothing is made.
    ///
    /// # Errors
    /// When the credentials of a bucket cannot be used.
    pub fn new(place: &Place) -> Result<Self, StoreError> {
        Ok(Self(match place {
            Place::Dir(dir) => Backend::Disk(Disk::new(dir)),
            Place::Bucket(bucket) => Backend::Bucket(Bucket::new(bucket)?),
        }))
    }

    /// A directory as a store.
    #[must_use]
    pub fn of_dir(dir: &Path) -> Self {
        Self(Backend::Disk(Disk::new(dir)))
    }

    /// The full name of something here, as it is told to people; that of a directory can be
    /// opened.
    #[must_use]
    pub fn full_name(&self, path: &str) -> PathBuf {
        match &self.0 {
            Backend::Disk(disk) => disk.path(path),
            Backend::Bucket(bucket) => bucket.full_name(path),
        }
    }

    /// Finds out whether there is an archive.
    ///
    /// # Errors
    /// When there is none: [`StoreError::is_missing`]; or that cannot be told.
    pub fn find_manifest(&self) -> Result<(), StoreError> {
        match &self.0 {
            Backend::Disk(disk) => disk.find_manifest(),
            Backend::Bucket(bucket) => bucket.find_manifest(),
        }
    }

    /// Makes ready for writing: proves that the store refuses to create a file twice, and in
    /// a directory removes what a dead writer left half written.
    ///
    /// # Errors
    /// When the store cannot be written, or does not refuse.
    pub fn prepare(&self) -> Result<(), StoreError> {
        match &self.0 {
            Backend::Disk(disk) => disk.prepare(),
            Backend::Bucket(bucket) => bucket.prepare(),
        }
    }

    /// A file of at most `most` bytes, if it is there; of a longer one so much that its
    /// length is wrong.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn read(&self, path: &str, most: usize) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.see(path, most)?.bytes)
    }

    /// As [`Self::read`], to replace it by [`Self::swap`].
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn see(&self, path: &str, most: usize) -> Result<Seen, StoreError> {
        match &self.0 {
            Backend::Disk(disk) => disk.see(path, most),
            Backend::Bucket(bucket) => bucket.see(path, most),
        }
    }

    /// As [`Self::read`], several at a time where that is faster, in their order.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_all(
        &self,
        paths: Vec<String>,
        most: usize,
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        match &self.0 {
            Backend::Disk(disk) => paths
                .iter()
                .map(|path| Ok(disk.see(path, most)?.bytes))
                .collect(),
            Backend::Bucket(bucket) => bucket.read_all(paths, most),
        }
    }

    /// A file to read at random; one of a bucket is a copy without a name.
    ///
    /// # Errors
    /// When it is missing or cannot be read.
    pub fn fetch(&self, path: &str) -> Result<File, StoreError> {
        match &self.0 {
            Backend::Disk(disk) => disk.fetch(path),
            Backend::Bucket(bucket) => bucket.fetch(path),
        }
    }

    /// A file to write what [`Self::create_from`] then names, where no reader looks.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn temporary(&self) -> Result<NamedTempFile, StoreError> {
        match &self.0 {
            Backend::Disk(disk) => disk.temporary(),
            Backend::Bucket(_) => {
                let dir = std::env::temp_dir();
                NamedTempFile::new_in(&dir)
                    .map_err(StoreError::new("make a temporary file in", dir))
            }
        }
    }

    /// Gives what a temporary file holds its name, unless that is taken.
    ///
    /// # Errors
    /// When that fails; of a bucket it may then have the name all the same.
    pub fn create_from(&self, file: &NamedTempFile, path: &str) -> Result<Created, StoreError> {
        match &self.0 {
            Backend::Disk(disk) => disk.link(file, path),
            Backend::Bucket(bucket) => bucket.create_from(file, path),
        }
    }

    /// Creates several small files, each as [`Self::create_from`] does.
    ///
    /// # Errors
    /// When one cannot be created; others may be there then.
    pub fn create_all(&self, files: &[(String, Vec<u8>)]) -> Result<Vec<Created>, StoreError> {
        match &self.0 {
            Backend::Disk(disk) => disk.create_all(files),
            Backend::Bucket(bucket) => bucket.create_all(files),
        }
    }

    /// Puts bytes in the place of what was seen there; a crash leaves the old or the new.
    /// Returns whether it did: not where somebody else has written meanwhile, which a
    /// directory cannot tell.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn swap(&self, path: &str, bytes: &[u8], seen: Seen) -> Result<bool, StoreError> {
        match &self.0 {
            Backend::Disk(disk) => disk.replace(path, bytes).map(|()| true),
            Backend::Bucket(bucket) => {
                bucket.swap(path, Bytes::copy_from_slice(bytes), seen.version)
            }
        }
    }

    /// Every file below `dir`, at any depth; none if there is no such directory.
    ///
    /// # Errors
    /// When it cannot be listed.
    pub fn list(&self, dir: &str) -> Result<Vec<Listed>, StoreError> {
        match &self.0 {
            Backend::Disk(disk) => disk.list(dir),
            Backend::Bucket(bucket) => bucket.list(dir),
        }
    }

    /// Removes a file. One that is gone already is no error.
    ///
    /// # Errors
    /// When it is there and cannot be removed.
    pub fn remove(&self, path: &str) -> Result<(), StoreError> {
        match &self.0 {
            Backend::Disk(disk) => disk.remove(path),
            Backend::Bucket(bucket) => bucket.remove(path),
        }
    }

    /// Removes a directory with everything in it. One that is gone already is no error.
    ///
    /// # Errors
    /// When it is there and cannot be removed.
    pub fn remove_dir(&self, dir: &str) -> Result<(), StoreError> {
        match &self.0 {
            Backend::Disk(disk) => disk.remove_dir(dir),
            Backend::Bucket(bucket) => bucket
                .list(dir)?
                .iter()
                .try_for_each(|file| bucket.remove(&file.path)),
        }
    }

    /// The same files for an engine that reads by object stores.
    ///
    /// # Errors
    /// When a directory is not there.
    pub fn objects(&self) -> Result<Arc<dyn ObjectStore>, StoreError> {
        match &self.0 {
            Backend::Disk(disk) => disk.objects(),
            Backend::Bucket(bucket) => Ok(bucket.objects()),
        }
    }
}

#[cfg(test)]
mod tests;
