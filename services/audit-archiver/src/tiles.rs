//! The tiles of the hash tree and its signed checkpoint, in the archive's root as C2SP
//! tlog-tiles lays them out.
//!
//! They follow the commit and never come before it: a tile has one name for ever, so it may
//! only hold rows that will stay. What a crash keeps from being written, the next start
//! writes from the rows. The checkpoint comes last: all tiles that it needs are there.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::thread;

use countersign_domain::archive::{BadPlace, Files, Walked};
use countersign_domain::merkle::{CHECKPOINT_BYTES_MAX, Edge, Node, TILE_WIDTH, TileId, Tree};
use tempfile::NamedTempFile;

use crate::commit::CommitError;
use crate::leaves::LeafHashes;
use crate::root::{Root, StoreError, make_dirs, sync_dir};

/// Tiles that are kept in memory before they are written: 4 MiB.
const WAITING_MAX: usize = 512;
/// Tiles that are written at a time.
const AT_ONCE: usize = 8;
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
        writing.sync()
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
        let dir = root.path(&tile.partial_dir());
        match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                tracing::warn!(path = %dir.display(), %error, "cannot remove unfinished tiles");
            }
            _ => {}
        }
    }
}

/// The unfinished tiles of the archive when it had this tree, if they are all there and
/// hold it.
fn read_edge(root: &Root, tree: &Tree) -> Result<Option<Edge>, StoreError> {
    let read = Edge::read(tree.size(), |tile| {
        read_tile(root, tile)?.ok_or_else(|| {
            let path = root.path(&tile.path());
            StoreError::new("read", &path)(ErrorKind::NotFound.into())
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
    small(&root.path(&tile.path()), tile.bytes())
}

/// The bytes of a tile, from the full one where that has taken the place of an unfinished.
pub(crate) fn tile_or_full(root: &Root, tile: TileId) -> Option<Vec<u8>> {
    if let Ok(Some(bytes)) = read_tile(root, tile) {
        return Some(bytes);
    }
    let most = usize::try_from(TILE_WIDTH).ok()?.checked_mul(32)?;
    let mut bytes = small(&root.path(&tile.full_path()), most).ok()??;
    bytes.truncate(tile.bytes());
    Some(bytes)
}

/// The signed checkpoint, if there is one.
pub(crate) fn read_checkpoint(root: &Root) -> Result<Option<String>, StoreError> {
    read_note(&root.path(CHECKPOINT))
}

/// Tiles that are being written: each is synced before it has its name, several at a time,
/// and their directories once at the end.
struct Writing<'a> {
    root: &'a Root,
    waiting: Vec<(TileId, Vec<u8>)>,
    dirs: BTreeSet<PathBuf>,
}

impl<'a> Writing<'a> {
    fn new(root: &'a Root) -> Self {
        Self {
            root,
            waiting: Vec::new(),
            dirs: BTreeSet::new(),
        }
    }

    fn put(&mut self, tile: TileId, bytes: Vec<u8>) -> Result<(), CommitError> {
        self.waiting.push((tile, bytes));
        if self.waiting.len() >= WAITING_MAX {
            self.write()?;
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), CommitError> {
        for (tile, _) in &self.waiting {
            let path = self.root.path(&tile.path());
            if let Some(dir) = path.parent()
                && !self.dirs.contains(dir)
            {
                make_dirs(dir)?;
                self.dirs.insert(dir.to_owned());
            }
        }
        // A sync is mostly waiting, and the disk takes several for little more than one.
        let share = self.waiting.len().div_ceil(AT_ONCE).max(1);
        thread::scope(|scope| {
            let mut running = Vec::new();
            for share in self.waiting.chunks(share) {
                let root = self.root;
                let work = move || share.iter().try_for_each(|one| write_tile(root, one));
                running.push(scope.spawn(work));
            }
            running.into_iter().try_for_each(|one| {
                one.join().unwrap_or_else(|_| {
                    let path = self.root.path("tile");
                    let reason = io::Error::other("a thread ended badly");
                    Err(StoreError::new("write", &path)(reason).into())
                })
            })
        })?;
        self.waiting.clear();
        Ok(())
    }

    fn sync(mut self) -> Result<(), CommitError> {
        self.write()?;
        Ok(self.dirs.iter().try_for_each(|dir| sync_dir(dir))?)
    }
}

/// A tile that is there already holds the same: it was written by somebody who committed
/// the same rows, or somebody has changed it.
fn write_tile(root: &Root, (tile, bytes): &(TileId, Vec<u8>)) -> Result<(), CommitError> {
    let path = tile.path();
    let to = root.path(&path);
    let mut file = root.temporary()?;
    file.write_all(bytes)
        .and_then(|()| file.as_file().sync_all())
        .map_err(StoreError::new("write", file.path()))?;
    match fs::hard_link(file.path(), &to) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => match read_tile(root, *tile)? {
            Some(found) if found == *bytes => Ok(()),
            _ => Err(BadPlace::TileChanged { path }.into()),
        },
        Err(error) => Err(StoreError::new("create", &to)(error).into()),
    }
}

/// A file of at most `most` bytes, if it is there; of a longer one so much that its length
/// is wrong.
pub(crate) fn small(path: &Path, most: usize) -> Result<Option<Vec<u8>>, StoreError> {
    let most = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    match fs::File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)) {
        Ok(_) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::new("read", path)(error)),
    }
}

/// The text of a checkpoint, if it is there.
///
/// # Errors
/// When it cannot be read.
pub fn read_note(path: &Path) -> Result<Option<String>, StoreError> {
    let found = small(path, CHECKPOINT_BYTES_MAX)?;
    Ok(found.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

impl Root {
    /// Puts a text in the place of whatever has that name; a crash leaves the old one or
    /// the new one.
    pub(crate) fn replace(&self, relative: &str, text: &str) -> Result<(), StoreError> {
        replace(self.temporary()?, &self.path(relative), text)
    }
}

/// Writes a text to `file` and gives it the name `path`, whatever had it before.
pub(crate) fn replace(mut file: NamedTempFile, path: &Path, text: &str) -> Result<(), StoreError> {
    let fail = || StoreError::new("write", path);
    file.write_all(text.as_bytes()).map_err(fail())?;
    file.as_file().sync_all().map_err(fail())?;
    file.persist(path).map_err(|error| fail()(error.error))?;
    sync_dir(path.parent().unwrap_or(Path::new(".")))
}
