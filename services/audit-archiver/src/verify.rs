//! `audit verify`: the whole archive against its manifest, its keys and what is known
//! about it elsewhere.

use std::fs::File;

use countersign_domain::archive::{
    Anchor, BadPlace, Entry, EntryKind, FileEntry, ManifestPublicKeys, Walked, verify_chain,
};
use countersign_domain::merkle::Tree;
use countersign_runtime::archive::Place;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use serde::Serialize;

pub(crate) use self::published::Published;
use self::published::{TileCheck, TileLeaves};
use crate::leaves::LeafHashes;
use crate::root::{Root, StoreError};

/// What is wrong with an archive, or why that cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It is not as it was written.
    #[error("{0}")]
    Bad(#[from] BadPlace),
    /// Nothing outside the archive is known about its end.
    #[error(
        "the tail is not provable: no state file, stored commit or witness was given, so \
         entries cut off the end would not be noticed; name one, or pass --allow-unanchored"
    )]
    TailNotProvable,
    /// No public key is pinned, so that anybody could have signed it.
    #[error(
        "no manifest key is pinned, so signatures cannot be checked; name the file \
         `keys/manifest.pub` of the deployment"
    )]
    NoKey,
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Manifest entries.
    pub entries: u64,
    /// Files.
    pub files: u64,
    /// Rows.
    pub rows: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Statements from outside the archive that agreed with it.
    pub anchors: usize,
    /// Whether the end of the archive is proved by at least one of them.
    pub tail_proved: bool,
    /// Those that prove it.
    pub proved_by: Vec<String>,
}

/// Recomputes everything that can be recomputed.
///
/// # Errors
/// The first bad place, or why the archive cannot be verified.
pub fn verify(
    place: impl Into<Place>,
    keys: &ManifestPublicKeys,
    anchors: &[Anchor],
    allow_unanchored: bool,
) -> Result<Report, VerifyError> {
    if keys.is_empty() {
        return Err(VerifyError::NoKey);
    }
    let root = Root::open(&place.into())?;
    let (walked, published) = walk(&root, keys, anchors)?;
    for entry in &walked.entries {
        for file in &entry.files {
            // A file that was replaced may be gone.
            if walked.files.get(&file.path).is_some() {
                verify_file(&root, entry, file)?;
            }
        }
    }
    let rows = published.rows(&walked, anchors)?;
    verify_rows(&root, &walked, rows)?;
    if anchors.is_empty() && !allow_unanchored {
        return Err(VerifyError::TailNotProvable);
    }
    Ok(report(&walked, anchors))
}

/// What a manifest says, and whether its files are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    /// Manifest entries.
    pub entries: u64,
    /// Rows.
    pub rows: u64,
    /// Files.
    pub files: usize,
    /// The first file that is not there in its size.
    pub missing: Option<String>,
}

/// Checks the chain of the manifest and the sizes of its files. Quick, for no row is read:
/// it finds what a power cut or a bad disk takes, not what somebody edits.
///
/// # Errors
/// The first bad place, or why the archive cannot be looked at.
pub fn outline(
    place: impl Into<Place>,
    keys: &ManifestPublicKeys,
    anchors: &[Anchor],
) -> Result<Outline, VerifyError> {
    let root = Root::open(&place.into())?;
    let (walked, _) = walk(&root, keys, anchors)?;
    Ok(Outline {
        entries: walked.state.n,
        rows: walked.state.tree.size(),
        files: walked.files.len(),
        missing: root.missing(&walked.files)?,
    })
}

/// Walks the chain of the manifest, and compares it with what is known of it.
fn walk(
    root: &Root,
    keys: &ManifestPublicKeys,
    anchors: &[Anchor],
) -> Result<(Walked, Published), VerifyError> {
    // In this order: an archiver at work writes the entry first.
    let published = Published::read(root, keys)?;
    let bytes = root.entries()??;
    let all = [anchors, published.anchor().as_slice()].concat();
    let walked = verify_chain(bytes.iter().map(Vec::as_slice), keys, &all)?;
    Ok((walked, published))
}

fn report(walked: &Walked, anchors: &[Anchor]) -> Report {
    let about_end = |anchor: &&Anchor| anchor.is_about_end(&walked.state);
    let proved_by = anchors.iter().filter(about_end);
    let proved_by: Vec<_> = proved_by.map(|anchor| anchor.source.clone()).collect();
    Report {
        entries: walked.state.n,
        files: u64::try_from(walked.files.len()).unwrap_or(u64::MAX),
        rows: walked.state.tree.size(),
        bytes: walked.files.iter().map(|file| file.bytes).sum(),
        anchors: anchors.len(),
        tail_proved: !proved_by.is_empty(),
        proved_by,
    }
}

/// Grows the tree over all rows again and compares it with what each entry says, and its
/// tiles with those that were published.
fn verify_rows(root: &Root, walked: &Walked, published: u64) -> Result<(), VerifyError> {
    let mut leaves = LeafHashes::new(root, walked.files.iter(), 0);
    let mut tiles = TileCheck::new(root, published);
    let mut tree = Tree::default();
    let mut hashes = Vec::new();
    for entry in &walked.entries {
        if entry.kind != EntryKind::Add {
            continue;
        }
        while tree.size() < entry.tree.size() {
            match leaves.next()? {
                Some(leaf) => {
                    tree.push(leaf);
                    hashes.push(leaf);
                }
                None => return Err(BadPlace::Tree { n: entry.n }.into()),
            }
        }
        if tree != entry.tree {
            return Err(BadPlace::Tree { n: entry.n }.into());
        }
        // Only now are they known to be those that were signed for.
        for leaf in hashes.drain(..) {
            tiles.push(leaf)?;
        }
    }
    match leaves.next()? {
        None => tiles.finish(),
        Some(_) => Err(BadPlace::Row {
            leaf: tree.size(),
            what: "no entry counts it".to_owned(),
        }
        .into()),
    }
}

fn verify_file(root: &Root, entry: &Entry, file: &FileEntry) -> Result<(), VerifyError> {
    let (n, path) = (entry.n, file.path.clone());
    let (opened, found, bytes) = match root.open_file(&file.path) {
        Err(error) if error.is_missing() => return Err(BadPlace::FileMissing { n, path }.into()),
        digest => digest?,
    };
    if found != file.sha256 {
        let row = first_changed_row(root, file, entry.tree.size());
        return Err(BadPlace::FileChanged {
            n,
            path,
            row,
            found,
        }
        .into());
    }
    let rows = count_rows(opened);
    if rows != Some(file.rows) || bytes != file.bytes {
        let what = format!(
            "holds {} rows in {bytes} bytes, the entry says {} rows in {} bytes",
            rows.map_or_else(|| "unreadable".to_owned(), |rows| rows.to_string()),
            file.rows,
            file.bytes
        );
        return Err(BadPlace::FileRows { n, path, what }.into());
    }
    Ok(())
}

/// The first row of a changed file that is not what its tile says, if the file can still be
/// read. Only a hint: the tiles are compared with what was signed when every file is whole.
fn first_changed_row(root: &Root, file: &FileEntry, size: u64) -> Option<u64> {
    let [rows] = file.leaves.as_slice() else {
        return None;
    };
    let mut found = LeafHashes::new(root, std::iter::once(file), rows.first);
    let mut leaves = TileLeaves::new(root, size);
    (rows.first..=rows.last).find_map(|row| match (found.next(), leaves.get(row)) {
        (Ok(Some(is)), Some(should)) if is == should => None,
        (Ok(_), Some(_)) => Some(Some(row)),
        // Another row stands there; before the first, nothing could be read at all.
        (Err(_), Some(_)) if row > rows.first => Some(Some(row)),
        _ => Some(None),
    })?
}

fn count_rows(file: File) -> Option<u64> {
    let reader = SerializedFileReader::new(file).ok()?;
    u64::try_from(reader.metadata().file_metadata().num_rows()).ok()
}

mod published;
#[cfg(test)]
mod tests;
