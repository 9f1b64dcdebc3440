//! The archive in its store: `archive/v1/…` holds the files, `manifest/…` the entries.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Seek as _};
use std::ops::Deref;
use std::path::Path;

use countersign_domain::archive::{BadPlace, Files};
pub use countersign_runtime::archive::{Created, StoreError};
use countersign_runtime::archive::{DATA, Place, Store};
use countersign_schemas::Digest;
use sha2::{Digest as _, Sha256};

/// Manifest entries that are read before they are looked at: a bucket gives many for little
/// more than one.
const ENTRIES_AT_ONCE: u64 = 256;

/// One archive in its store.
#[derive(Debug, Clone)]
pub struct Root(Store);

impl Deref for Root {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.0
    }
}

impl Root {
    /// The archive of a directory, whether or not it is there. Nothing is made.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self(Store::of_dir(dir))
    }

    /// An archive that is there, to read.
    ///
    /// # Errors
    /// When there is none: an empty answer about the wrong place would be a wrong one.
    pub fn open(place: &Place) -> Result<Self, StoreError> {
        let store = Store::new(place)?;
        store.find_manifest()?;
        Ok(Self(store))
    }

    /// An archive to write.
    ///
    /// # Errors
    /// When the store cannot be written, or does not refuse to create a file twice.
    pub fn prepare(place: &Place) -> Result<Self, StoreError> {
        let store = Store::new(place)?;
        store.prepare()?;
        Ok(Self(store))
    }

    /// The bytes of every manifest entry, in order.
    ///
    /// # Errors
    /// When one cannot be read, or one is missing although a later one exists.
    pub fn entries(&self) -> Result<Result<Vec<Vec<u8>>, BadPlace>, StoreError> {
        let later = self.last_entry()?;
        let mut all = Vec::new();
        let mut n = 1;
        while n <= later {
            let last = n.saturating_add(ENTRIES_AT_ONCE - 1).min(later);
            for (n, found) in (n..=last).zip(self.0.entries(n..=last)?) {
                match found {
                    Some(bytes) => all.push(bytes),
                    None => return Ok(Err(BadPlace::Missing { n, later })),
                }
            }
            n = last.saturating_add(1);
        }
        Ok(Ok(all))
    }

    /// A file to read, with its digest and its size. It stands at its beginning.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open_file(&self, path: &str) -> Result<(File, Digest, u64), StoreError> {
        let fail = || StoreError::new("read", self.full_name(path));
        let mut file = self.fetch(path)?;
        let mut hash = Sha256::new();
        let bytes = io::copy(&mut file, &mut hash).map_err(fail())?;
        file.rewind().map_err(fail())?;
        let text = format!("sha256:{:x}", hash.finalize());
        let digest = text
            .parse()
            .map_err(|_| fail()(io::Error::other("no digest")))?;
        Ok((file, digest, bytes))
    }

    /// Every data file, named by an entry or not, relative to the archive's root.
    ///
    /// # Errors
    /// When the store cannot be listed.
    pub(crate) fn data_files(&self) -> Result<BTreeSet<String>, StoreError> {
        let found = self.list(DATA)?.into_iter().map(|file| file.path);
        Ok(found.filter(|path| path.ends_with(".parquet")).collect())
    }

    /// The first of these files that is not there in its size; its contents are not read.
    ///
    /// # Errors
    /// When the store cannot be listed.
    pub(crate) fn missing(&self, files: &Files) -> Result<Option<String>, StoreError> {
        self.0.first_missing(files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{Place, items};
    use countersign_domain::archive::Entry;
    use countersign_schemas::{Stream, Timestamp};
    use std::fs;

    #[test]
    fn an_entry_missing_in_the_middle_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::prepare(&dir.path().into()).unwrap();
        assert_eq!(root.entries().unwrap(), Ok(Vec::new()));
        for n in [1, 300] {
            fs::write(root.full_name(&Entry::path(n)), b"{}").unwrap();
        }
        assert_eq!(
            root.entries().unwrap(),
            Err(BadPlace::Missing { n: 2, later: 300 })
        );
        (2..300).for_each(|n| fs::write(root.full_name(&Entry::path(n)), b"{}").unwrap());
        assert_eq!(root.entries().unwrap().unwrap().len(), 300);
    }

    #[test]
    fn a_file_that_is_gone_or_has_another_size_is_missing() {
        let place = Place::new();
        let mut writer = place.writer();
        let batch = items(Stream::Events, 1..=3);
        writer.commit(batch, Timestamp::EPOCH).unwrap();
        let root = Root::open(&place.archive().into()).unwrap();
        assert_eq!(root.missing(writer.files()).unwrap(), None);
        let [path] = root
            .data_files()
            .unwrap()
            .into_iter()
            .collect::<Vec<_>>()
            .try_into()
            .unwrap();
        let full = root.full_name(&path);
        fs::write(&full, b"cut").unwrap();
        assert_eq!(root.missing(writer.files()).unwrap(), Some(path.clone()));
        fs::remove_file(&full).unwrap();
        assert_eq!(root.missing(writer.files()).unwrap(), Some(path));
    }
}
