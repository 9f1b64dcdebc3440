//! The entries of an archive's manifest, read from any store.

use std::collections::HashMap;
use std::io;

use countersign_domain::archive::{Entry, FileEntry, Files};

use super::{Store, StoreError};

/// Longest manifest entry that is read: an entry names at most one file per stream and
/// hour of a batch, far below this.
pub const ENTRY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The folder of the manifest.
const MANIFEST: &str = "manifest";
/// The folder of the data files.
pub const DATA: &str = "archive/v1";

/// The number of the entry of this name, if it is one.
#[must_use]
pub fn entry_number(path: &str) -> Option<u64> {
    let name = path.strip_prefix(MANIFEST)?.strip_prefix('/')?;
    name.strip_suffix(".json")?.parse().ok()
}

impl Store {
    /// The bytes of a manifest entry, if it exists.
    ///
    /// # Errors
    /// When it exists and cannot be read.
    pub fn entry(&self, n: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let path = Entry::path(n);
        let found = self.read(&path, ENTRY_BYTES_MAX)?;
        found.map(|bytes| self.bounded(&path, bytes)).transpose()
    }

    /// The bytes of these entries, in order, as far as they exist.
    ///
    /// # Errors
    /// When one exists and cannot be read.
    pub fn entries(
        &self,
        numbers: std::ops::RangeInclusive<u64>,
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let paths: Vec<String> = numbers.map(Entry::path).collect();
        let found = self.read_all(paths.clone(), ENTRY_BYTES_MAX)?;
        paths
            .iter()
            .zip(found)
            .map(|(path, found)| found.map(|bytes| self.bounded(path, bytes)).transpose())
            .collect()
    }

    /// The number of the last manifest entry; 0 for an empty archive.
    ///
    /// # Errors
    /// When the manifest cannot be listed.
    pub fn last_entry(&self) -> Result<u64, StoreError> {
        let list = self.list(MANIFEST)?;
        let numbers = list.iter().filter_map(|file| entry_number(&file.path));
        Ok(numbers.max().unwrap_or(0))
    }

    /// The first of these files that is not there in its size; its contents are not read.
    ///
    /// # Errors
    /// When the store cannot be listed.
    pub fn first_missing(&self, files: &Files) -> Result<Option<String>, StoreError> {
        let sizes: HashMap<String, u64> = self
            .list(DATA)?
            .into_iter()
            .map(|file| (file.path, file.bytes))
            .collect();
        let gone = |file: &&FileEntry| sizes.get(&file.path) != Some(&file.bytes);
        Ok(files.iter().find(gone).map(|file| file.path.clone()))
    }

    fn bounded(&self, path: &str, bytes: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        if bytes.len() > ENTRY_BYTES_MAX {
            let reason = io::Error::other("larger than any manifest entry");
            return Err(StoreError::new("read", self.full_name(path))(reason));
        }
        Ok(bytes)
    }
}
