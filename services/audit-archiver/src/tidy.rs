//! Keeps the archive's directory in order: puts files together and removes what no entry
//! names any more.
//!
//! It follows the manifest by itself, so that it never takes a file of another archiver
//! for one that nobody knows.

use std::collections::HashMap;
use std::time::Duration;

use countersign_domain::archive::{
    ChainState, Compaction, CompactionLimits, Files, ManifestPublicKeys,
};
use countersign_schemas::Timestamp;
use tokio::time::Instant;

use crate::commit::CommitError;
use crate::merge::{MergeError, Merged, merge};
use crate::root::{Root, StoreError};

/// Rows of one compacted file. A day of most deployments; what is larger stays in hours.
const ROWS_MAX: u64 = 20_000_000;
/// Bytes of one compacted file.
const BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// When the archive is put in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TidyLimits {
    /// How long an hour must be over, and without a new file, before its files are put
    /// together; `None`: never.
    pub compact_after: Option<Duration>,
    /// How long a file stays after no entry names it: longer than any query that began
    /// before, and than any commit that has not happened yet.
    pub grace: Duration,
}

impl TidyLimits {
    /// The shorter of both times.
    pub(crate) fn shortest(&self) -> Duration {
        self.compact_after.unwrap_or(self.grace).min(self.grace)
    }
}

/// The archive as its tidier sees it.
#[derive(Debug)]
pub(crate) struct Tidier {
    root: Root,
    pinned: ManifestPublicKeys,
    chain: ChainState,
    files: Files,
    compaction: Option<Compaction>,
    grace: Duration,
    /// Files that no entry names, and since when they have been seen so.
    unnamed: HashMap<String, Instant>,
}

impl Tidier {
    /// Stands where `chain` does.
    pub(crate) fn new(
        root: Root,
        pinned: ManifestPublicKeys,
        (chain, files): (ChainState, Files),
        limits: TidyLimits,
    ) -> Self {
        let compaction = limits.compact_after.map(|quiet| {
            Compaction::new(CompactionLimits {
                quiet,
                rows: ROWS_MAX,
                bytes: BYTES_MAX,
            })
        });
        Self {
            root,
            pinned,
            chain,
            files,
            compaction,
            grace: limits.grace,
            unnamed: HashMap::new(),
        }
    }

    /// Puts together what is due, if anything is. The result is not committed yet.
    pub(crate) fn merge(&mut self, now: Timestamp) -> Result<Option<Merged>, TidyError> {
        self.catch_up()?;
        let due = self
            .compaction
            .as_mut()
            .and_then(|compaction| compaction.due(&self.files, now));
        Ok(match due {
            Some(inputs) => Some(merge(&self.root, inputs)?),
            None => None,
        })
    }

    /// Removes files that no entry has named for the grace time. Returns how many.
    pub(crate) fn collect(&mut self, now: Instant) -> Result<usize, TidyError> {
        let found = self.root.data_files()?;
        // After the listing: what was committed in between is known.
        self.catch_up()?;
        // In a copy that was made while files were put together, what no entry names may be
        // all that is left of some rows.
        if let Some(missing) = self.root.missing(&self.files)? {
            return Err(TidyError::Incomplete(missing));
        }
        self.unnamed.retain(|path, _| found.contains(path));
        let mut removed = 0;
        for path in found {
            if self.files.get(&path).is_some() {
                self.unnamed.remove(&path);
                continue;
            }
            let since = *self.unnamed.entry(path.clone()).or_insert(now);
            if now.saturating_duration_since(since) >= self.grace {
                self.root.remove(&path)?;
                self.unnamed.remove(&path);
                removed += 1;
            }
        }
        Ok(removed)
    }

    fn catch_up(&mut self) -> Result<(), TidyError> {
        while let Some(bytes) = self.root.entry(self.chain.n.saturating_add(1))? {
            self.chain
                .advance(&bytes, &self.pinned, &mut self.files)
                .map_err(CommitError::from)?;
        }
        Ok(())
    }
}

/// The archive could not be put in order; it stays as it is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TidyError {
    #[error(transparent)]
    Merge(#[from] MergeError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Chain(#[from] CommitError),
    #[error(
        "file {0} of the archive is missing or has another size, so nothing is removed; run \
         `countersign audit verify`"
    )]
    Incomplete(String),
}
