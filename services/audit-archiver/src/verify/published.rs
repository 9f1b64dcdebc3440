//! The checkpoint and the tiles against the rows that they are about.

use countersign_domain::archive::{Anchor, BadPlace, Known, ManifestPublicKeys, Walked};
use countersign_domain::merkle::{Checkpoint, CheckpointError, Edge, Node, TILE_WIDTH, TileId};

use super::VerifyError;
use crate::root::{Root, StoreError};
use crate::tiles::{read_checkpoint, tile_or_full};

/// The file `checkpoint`, as far as it can be used.
pub(crate) struct Published(Option<Result<Checkpoint, CheckpointError>>);

impl Published {
    /// Reads it. That it may be unusable is told after the chain, which comes first.
    pub(crate) fn read(root: &Root, keys: &ManifestPublicKeys) -> Result<Self, StoreError> {
        let note = read_checkpoint(root)?;
        Ok(Self(note.map(|note| keys.open_checkpoint(&note))))
    }

    /// What it says about the archive. It lies inside, so it proves no tail; but an archive
    /// that has less than it signs for was cut.
    pub(crate) fn anchor(&self) -> Option<Anchor> {
        let checkpoint = self.0.as_ref()?.as_ref().ok()?;
        Some(Anchor::rows("the file `checkpoint`".to_owned(), checkpoint))
    }

    /// How many rows it signs for; 0 if there is none, as in an archive whose first commit
    /// was interrupted.
    ///
    /// # Errors
    /// When nobody signed it, or it is older than what an anchor knows: the archiver
    /// publishes first and tells others afterwards.
    pub(super) fn rows(&self, walked: &Walked, anchors: &[Anchor]) -> Result<u64, BadPlace> {
        let bad = |what: String| BadPlace::Checkpoint { what };
        let size = match &self.0 {
            None => 0,
            Some(Ok(checkpoint)) => checkpoint.size,
            Some(Err(error)) => return Err(bad(error.to_string())),
        };
        for anchor in anchors {
            let known = rows_known(anchor, walked);
            if known > size {
                return Err(bad(format!(
                    "it signs for {size} rows, but {} knows {known}: it was removed or an \
                     older one was put back",
                    anchor.source
                )));
            }
        }
        Ok(size)
    }
}

/// The rows up to what an anchor is about.
fn rows_known(anchor: &Anchor, walked: &Walked) -> u64 {
    match anchor.known {
        Known::Rows { size, .. } => size,
        Known::Entry { n, .. } => {
            let entry = walked.entries.iter().find(|entry| entry.n == n);
            entry.map_or(0, |entry| entry.tree.size())
        }
    }
}

/// Compares the tiles with the rows, which are brought one after another.
pub(super) struct TileCheck<'a> {
    root: &'a Root,
    edge: Edge,
    /// How many rows the checkpoint signs for: their tiles must be there. Others may be
    /// missing if a commit was interrupted.
    published: u64,
}

impl<'a> TileCheck<'a> {
    pub(super) fn new(root: &'a Root, published: u64) -> Self {
        Self {
            root,
            edge: Edge::default(),
            published,
        }
    }

    /// Takes the hash of the next row.
    pub(super) fn push(&mut self, leaf: Node) -> Result<(), VerifyError> {
        let mut full = Vec::new();
        self.edge.push(leaf, |tile, bytes| full.push((tile, bytes)));
        for (tile, bytes) in full {
            // Full before the checkpoint's last row, or with it.
            self.compare(tile, &bytes)?;
        }
        if self.edge.size() == self.published {
            for (tile, bytes) in self.edge.tiles() {
                self.compare(tile, &bytes)?;
            }
        }
        Ok(())
    }

    /// After the last row: whatever the unfinished tiles were before must be their
    /// beginning. What is wider was written since the entries were read.
    pub(super) fn finish(&self) -> Result<(), VerifyError> {
        for (tile, bytes) in self.edge.tiles() {
            for file in self.root.list(&tile.partial_dir())? {
                let path = file.path;
                let name = path.rsplit_once('/').map(|(_, name)| name);
                let width = name.and_then(|name| name.parse::<u16>().ok());
                let known = width.filter(|width| *width < tile.width());
                let Some(known) = known.and_then(|width| bytes.get(..usize::from(width) * 32))
                else {
                    continue;
                };
                let found = self.root.read(&path, known.len())?;
                if found.is_some_and(|found| found != known) {
                    return Err(BadPlace::TileChanged { path }.into());
                }
            }
        }
        Ok(())
    }

    fn compare(&self, tile: TileId, bytes: &[u8]) -> Result<(), VerifyError> {
        let path = tile.path();
        match tile_or_full(self.root, tile) {
            Some(found) if found == bytes => Ok(()),
            Some(_) => Err(BadPlace::TileChanged { path }.into()),
            None if self.edge.size() <= self.published => {
                Err(BadPlace::TileMissing { path }.into())
            }
            None => Ok(()),
        }
    }
}

/// The hashes of rows as the tiles of the lowest level hold them.
pub(super) struct TileLeaves<'a> {
    root: &'a Root,
    size: u64,
    read: Option<(TileId, Vec<u8>)>,
}

impl<'a> TileLeaves<'a> {
    /// Of an archive of `size` rows.
    pub(super) fn new(root: &'a Root, size: u64) -> Self {
        Self {
            root,
            size,
            read: None,
        }
    }

    /// The hash of a row, if there is a tile that holds it.
    pub(super) fn get(&mut self, row: u64) -> Option<Node> {
        let tile = TileId::of(self.size, 0, row / TILE_WIDTH)?;
        if self.read.as_ref().is_none_or(|(read, _)| *read != tile) {
            self.read = Some((tile, tile_or_full(self.root, tile)?));
        }
        let (_, bytes) = self.read.as_ref()?;
        let at = usize::try_from(row % TILE_WIDTH).ok()?;
        bytes.as_chunks::<32>().0.get(at).copied()
    }
}
