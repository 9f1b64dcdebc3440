//! What is known about an archive outside of it.

use countersign_schemas::Digest;

use super::verify::{BadPlace, ChainState};
use crate::merkle::{Checkpoint, Node};

/// A statement about the chain that lies outside the archive: the state file, a stored
/// `archive.committed` event, a witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// Where it comes from, for the report.
    pub source: String,
    /// What it says.
    pub known: Known,
}

/// What is known about an archive outside of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// An entry.
    Entry {
        /// Its number.
        n: u64,
        /// Digest of its bytes.
        digest: Digest,
    },
    /// Its first rows, as a checkpoint signs for them.
    Rows {
        /// How many.
        size: u64,
        /// The root of the tree over them.
        root: Node,
    },
}

impl Anchor {
    /// A statement about an entry.
    #[must_use]
    pub fn entry(source: String, n: u64, digest: Digest) -> Self {
        let known = Known::Entry { n, digest };
        Self { source, known }
    }

    /// A statement about the first rows.
    #[must_use]
    pub fn rows(source: String, checkpoint: &Checkpoint) -> Self {
        let known = Known::Rows {
            size: checkpoint.size,
            root: checkpoint.root,
        };
        Self { source, known }
    }

    /// Whether it is about the end of the archive that stands at `state`.
    #[must_use]
    pub fn is_about_end(&self, state: &ChainState) -> bool {
        match self.known {
            Known::Entry { n, .. } => n == state.n,
            Known::Rows { size, .. } => size == state.tree.size(),
        }
    }

    /// Compares with the archive as it stands after an entry, before which it held `before`
    /// rows.
    pub(super) fn compare(&self, before: u64, state: &ChainState) -> Result<(), BadPlace> {
        let witness = || self.source.clone();
        match self.known {
            Known::Entry { n, digest } if n == state.n && state.digest != Some(digest) => {
                Err(BadPlace::Rewritten {
                    n,
                    witness: witness(),
                })
            }
            Known::Rows { size, root } if before < size && size <= state.tree.size() => {
                // Checkpoints are made at the end of an entry only.
                if size == state.tree.size() && root == state.tree.root() {
                    return Ok(());
                }
                let witness = witness();
                Err(BadPlace::OtherRows {
                    n: state.n,
                    size,
                    witness,
                })
            }
            _ => Ok(()),
        }
    }

    /// Compares with the archive as it ends.
    pub(super) fn compare_end(&self, end: &ChainState) -> Result<(), BadPlace> {
        let witness = || self.source.clone();
        match self.known {
            Known::Entry { n, .. } if n > end.n => Err(BadPlace::TailCut {
                end: end.n,
                n,
                witness: witness(),
            }),
            Known::Rows { size, .. } if size > end.tree.size() => Err(BadPlace::RowsCut {
                end: end.n,
                rows: end.tree.size(),
                size,
                witness: witness(),
            }),
            _ => Ok(()),
        }
    }
}
