//! The tiles of the hash tree and its signed checkpoint, in the archive's root as C2SP
//! tlog-tiles lays them out.
//!
//! They follow the commit and never come before it: a tile has one name for ever, so it may
//! only hold rows that will stay. What a crash keeps from being written, the next start
//! writes from the rows. The checkpoint comes last: all tiles that it needs are there.

use std::io::ErrorKind;
use std::path::Path;

use countersign_domain::archive::{BadPlace, Files, Walked};
use countersign_domain::merkle::{CHECKPOINT_BYTES_MAX, Edge, Node, TILE_WIDTH, TileId, Tree};
use countersign_runtime::archive::read_at_most;

use crate::commit::CommitError;
use crate::leaves::LeafHashes;
use crate::root::{Created, Root, StoreError};

/// Tiles that are kept in memory before they are written: 4 MiB.
const WAITING_MAX: usize = 512;
/// Where the checkpoint lies, relative to the archive's root.
pub(crate) const CHECKPOINT: &str = "checkpoint";

/// The tiles of an archive, complete up to a number of rows.
#[derive(Debug)]
pub(crate) struct Tiles {
    edge: Edge,
}

impl Tiles {
    /// Reads the unfinished tiles, and writes whatever is missing up to the archive's end.
    pub(crate) fn open(root: &Root, walked: &Walked) -> Result<Self, CommitError> {
        let mut edge = Edge::default();
        for entry in walked.entries.iter().rev() {
            if let Some(found) = read_edge(root, &entry.tree)? {
                edge = found;
                break;
            }
        }
        let mut tiles = Self { edge };
        let behind = tiles.edge.size();
        tiles.catch_up(root, &walked.files, &walked.state.tree, walked.state.n)?;
        let size = tiles.edge.size();
        let mut earlier = walked.entries.iter().rev().map(|entry| entry.tree.size());
        let before = earlier.find(|before| *before < size).unwrap_or(0);
        collect(root, before.min(behind), size);
        Ok(tiles)
    }

    fn catch_up(
        &mut self,
        root: &Root,
        files: &Files,
        tree: &Tree,
        n: u64,
    ) -> Result<(), CommitError> {
        if self.edge.size() == tree.size() {
            return Ok(());
        }
        tracing::info!(
            from = self.edge.size(),
            to = tree.size(),
            "writing the tiles of rows that have none yet"
        );
        let mut leaves = LeafHashes::new(root, files.iter(), self.edge.size());
        let mut writing = Writing::new(root);
        let before = self.edge.size();
        while let Some(leaf) = leaves.next()? {
            self.push(leaf, &mut writing)?;
        }
        if self.edge.tree().as_ref() != Some(tree) {
            return Err(BadPlace::Tree { n }.into());
        }
        self.finish(before, writing)
    }

    /// Writes the tiles of new rows, all of them committed.
    pub(crate) fn append(&mut self, root: &Root, leaves: &[Node]) -> Result<(), CommitError> {
        let mut writing = Writing::new(root);
        let before = self.edge.size();
        for leaf in leaves {
            self.push(*leaf, &mut writing)?;
        }
        self.finish(before, writing)
    }

    fn push(&mut self, leaf: Node, writing: &mut Writing<'_>) -> Result<(), CommitError> {
        let mut full = Vec::new();
        self.edge.push(leaf, |tile, bytes| full.push((tile, bytes)));
        full.into_iter()
            .try_for_each(|(tile, bytes)| writing.put(tile, bytes))
    }

    fn finish(&self, before: u64, mut writing: Writing<'_>) -> Result<(), CommitError> {
        for (tile, bytes) in self.edge.tiles() {
            if TileId::of(before, tile.level(), tile.index()) != Some(tile) {
                writing.put(tile, bytes)?;
            }
        }
        writing.write()
    }
}

/// Removes what unfinished tiles were before they became full. Nothing depends on it.
pub(crate) fn collect(root: &Root, before: u64, after: u64) {
    for level in 0_u8.. {
        let Some(first) = TileId::of(after, level, 0) else {
            return;
        };
        let shift = 8_u32.saturating_mul(u32::from(first.level()).saturating_add(1));
        let index = before.checked_shr(shift).unwrap_or(0);
        let Some(tile) = TileId::of(after, level, index).filter(|tile| tile.is_full()) else {
            continue;
        };
        if let Err(error) = root.remove_dir(&tile.partial_dir()) {
            tracing::warn!(%error, "cannot remove unfinished tiles");
        }
    }
}

/// The unfinished tiles of the archive when it had this tree, if they are all there and
/// hold it.
fn read_edge(root: &Root, tree: &Tree) -> Result<Option<Edge>, StoreError> {
    let read = Edge::read(tree.size(), |tile| {
        read_tile(root, tile)?.ok_or_else(|| {
            let path = root.full_name(&tile.path());
            StoreError::new("read", path)(ErrorKind::NotFound.into())
        })
    });
    match read {
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error),
        Ok(edge) => Ok(edge.filter(|edge| edge.tree().as_ref() == Some(tree))),
    }
}

/// The bytes of a tile, if it is there.
pub(crate) fn read_tile(root: &Root, tile: TileId) -> Result<Option<Vec<u8>>, StoreError> {
    root.read(&tile.path(), tile.bytes())
}

/// The bytes of a tile, from the full one where that has taken the place of an unfinished.
pub(crate) fn tile_or_full(root: &Root, tile: TileId) -> Option<Vec<u8>> {
    if let Ok(Some(bytes)) = read_tile(root, tile) {
        return Some(bytes);
    }
    let most = usize::try_from(TILE_WIDTH).ok()?.checked_mul(32)?;
    let mut bytes = root.read(&tile.full_path(), most).ok()??;
    bytes.truncate(tile.bytes());
    Some(bytes)
}

/// The signed checkpoint, if there is one.
pub(crate) fn read_checkpoint(root: &Root) -> Result<Option<String>, StoreError> {
    Ok(root.read(CHECKPOINT, CHECKPOINT_BYTES_MAX)?.map(text))
}

/// Tiles that are being written, many at a time.
struct Writing<'a> {
    root: &'a Root,
    waiting: Vec<(TileId, Vec<u8>)>,
}

impl<'a> Writing<'a> {
    fn new(root: &'a Root) -> Self {
        Self {
            root,
            waiting: Vec::new(),
        }
    }

    fn put(&mut self, tile: TileId, bytes: Vec<u8>) -> Result<(), CommitError> {
        self.waiting.push((tile, bytes));
        if self.waiting.len() >= WAITING_MAX {
            self.write()?;
        }
        Ok(())
    }

    /// A tile that is there already holds the same: it was written by somebody who committed
    /// the same rows, or somebody has changed it.
    fn write(&mut self) -> Result<(), CommitError> {
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        let files: Vec<_> = waiting.map(|(tile, bytes)| (tile.path(), bytes)).collect();
        let created = self.root.create_all(&files)?;
        for ((path, bytes), created) in files.into_iter().zip(created) {
            if created == Created::Before
                && self.root.read(&path, bytes.len())?.as_ref() != Some(&bytes)
            {
                return Err(BadPlace::TileChanged { path }.into());
            }
        }
        Ok(())
    }
}

/// The text of a checkpoint, if it is there.
///
/// # Errors
/// When it cannot be read.
pub fn read_note(path: &Path) -> Result<Option<String>, StoreError> {
    Ok(read_at_most(path, CHECKPOINT_BYTES_MAX)?.map(text))
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}
