//! Reads the manifest and hands out exactly the files that it lists, never the directory:
//! an orphan of an interrupted write must not be counted.

use countersign_domain::archive::{BadPlace, ChainState, Files, ManifestPublicKeys};
use countersign_runtime::archive::{Place, Store, StoreError};

/// Entries that are read before they are looked at: a bucket gives many for little more than
/// one.
const ENTRIES_AT_ONCE: u64 = 256;

/// The archive cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is none.
    #[error(
        "`{place}` is no archive: it holds no manifest; name the place that `archive.url` or \
         `audit_archiver.dir` names"
    )]
    NoArchive {
        /// Where one was looked for.
        place: String,
    },
    /// It is not as it was written.
    #[error("the archive is damaged: {0}; run `countersign audit verify`")]
    Damaged(#[from] BadPlace),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The look at the store came to no end.
    #[error("the archive cannot be looked at: {0}")]
    Look(String),
}

/// The manifest as far as it has been read.
#[derive(Debug, Clone)]
pub(crate) struct Manifest {
    store: Store,
    keys: ManifestPublicKeys,
    chain: ChainState,
    /// Shared with the queries that run; copied only when an entry comes meanwhile.
    files: Files,
}

impl Manifest {
    /// Reads every entry, checks the chain, and the signatures if `keys` holds any.
    pub(crate) fn open(place: &Place, keys: ManifestPublicKeys) -> Result<Self, OpenError> {
        let store = Store::new(place)?;
        store.find_manifest().map_err(|error| {
            if error.is_missing() || error.is_no_directory() {
                let place = place.to_string();
                return OpenError::NoArchive { place };
            }
            error.into()
        })?;
        let mut manifest = Self {
            store,
            keys,
            chain: ChainState::default(),
            files: Files::default(),
        };
        // The highest number: an entry that was dropped in the middle must not make a shorter
        // archive.
        let later = manifest.store.last_entry()?;
        manifest.catch_up(later)?;
        manifest.refresh()?;
        Ok(manifest)
    }

    /// Reads the entries up to a number that is there.
    fn catch_up(&mut self, later: u64) -> Result<(), OpenError> {
        while self.chain.n < later {
            let first = self.chain.n.saturating_add(1);
            let last = first.saturating_add(ENTRIES_AT_ONCE - 1).min(later);
            for (n, found) in (first..=last).zip(self.store.entries(first..=last)?) {
                let bytes = found.ok_or(BadPlace::Missing { n, later })?;
                self.chain.advance(&bytes, &self.keys, &mut self.files)?;
            }
        }
        Ok(())
    }

    /// Reads the entries that have come since. Returns whether there were any.
    pub(crate) fn refresh(&mut self) -> Result<bool, OpenError> {
        let before = self.chain.n;
        while let Some(bytes) = self.store.entry(self.chain.n.saturating_add(1))? {
            self.chain.advance(&bytes, &self.keys, &mut self.files)?;
        }
        Ok(self.chain.n != before)
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn chain(&self) -> &ChainState {
        &self.chain
    }

    pub(crate) fn files(&self) -> &Files {
        &self.files
    }
}
