//! Walks the chain of manifest entries and names the first place that is not as it was
//! written. Pure: the caller brings the bytes.

use countersign_schemas::{Digest, Incarnation, Stream};

use super::anchor::Anchor;
use super::files::Files;
use super::manifest::{
    Entry, EntryError, EntryKind, FileEntry, ManifestPublicKeys, Position, SignedEntry, Span,
};
use crate::merkle::Tree;

/// The first place that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPlace {
    /// The entry itself is damaged, or nobody whom we trust signed it.
    #[error("manifest entry {n}: {error}")]
    Entry {
        /// Which entry.
        n: u64,
        /// What is wrong with it.
        error: EntryError,
    },
    /// An entry is gone although later ones exist.
    #[error("manifest entry {n} is missing, but entry {later} exists")]
    Missing {
        /// Which entry.
        n: u64,
        /// The last one that exists.
        later: u64,
    },
    /// An entry carries another number than its place: dropped, swapped or replayed.
    #[error("manifest entry {n} calls itself {found}: an entry was dropped, swapped or replayed")]
    Number {
        /// The place.
        n: u64,
        /// What it says.
        found: u64,
    },
    /// An entry does not follow the one before it.
    #[error(
        "manifest entry {n} does not follow entry {before}: one of them was changed or replaced"
    )]
    Link {
        /// Which entry.
        n: u64,
        /// The one before it.
        before: u64,
    },
    /// What an entry says about its files does not add up.
    #[error("manifest entry {n}: {what}")]
    Ledger {
        /// Which entry.
        n: u64,
        /// What does not add up.
        what: String,
    },
    /// The chain ends before a point that is known to have existed.
    #[error(
        "the manifest ends at entry {end}, but {witness} knows entry {n}: the tail was cut off"
    )]
    TailCut {
        /// Last entry found.
        end: u64,
        /// The entry that must exist.
        n: u64,
        /// Who knows it.
        witness: String,
    },
    /// An entry differs from what is known about it outside the archive.
    #[error("manifest entry {n} is not the one that {witness} knows: the archive was rewritten")]
    Rewritten {
        /// Which entry.
        n: u64,
        /// Who knows another.
        witness: String,
    },
    /// The archive holds fewer rows than somebody has signed for.
    #[error(
        "the manifest ends at entry {end} after {rows} rows, but {witness} knows {size}: the tail \
         was cut off"
    )]
    RowsCut {
        /// Last entry found.
        end: u64,
        /// Rows after it.
        rows: u64,
        /// The rows that must exist.
        size: u64,
        /// Who knows them.
        witness: String,
    },
    /// The first rows are not those that were signed for.
    #[error(
        "the first {size} rows, which manifest entry {n} completes, are not those that {witness} \
         knows: the archive was rewritten"
    )]
    OtherRows {
        /// Which entry.
        n: u64,
        /// How many rows it is about.
        size: u64,
        /// Who knows others.
        witness: String,
    },
    /// The published checkpoint is not one of this archive.
    #[error("the file `checkpoint`: {what}")]
    Checkpoint {
        /// What is wrong.
        what: String,
    },
    /// A tile of the tree is gone.
    #[error("tile {path} is missing")]
    TileMissing {
        /// Which tile.
        path: String,
    },
    /// A tile of the tree does not hold the hashes of the rows.
    #[error("tile {path} was changed: it does not hold the hashes of its rows")]
    TileChanged {
        /// Which tile.
        path: String,
    },
    /// A file is gone.
    #[error("file {path} of manifest entry {n} is missing")]
    FileMissing {
        /// Which entry.
        n: u64,
        /// Which file.
        path: String,
    },
    /// A file has other bytes than were committed.
    #[error(
        "file {path} of manifest entry {n} was changed{}: its digest is {found}",
        row.map_or_else(String::new, |row| format!(", first in row {row} of the archive"))
    )]
    FileChanged {
        /// Which entry.
        n: u64,
        /// Which file.
        path: String,
        /// The first row that is not what its tile says, where that can be told.
        row: Option<u64>,
        /// The digest it has now.
        found: Digest,
    },
    /// The rows are not those over which an entry's tree was made.
    #[error(
        "the rows up to manifest entry {n} do not give the hash that it names: one of them was \
         changed, or the entry was"
    )]
    Tree {
        /// Which entry.
        n: u64,
    },
    /// A row stands where another belongs.
    #[error("row {leaf} of the archive is not where it belongs: {what}")]
    Row {
        /// Its number in the whole archive.
        leaf: u64,
        /// What is wrong.
        what: String,
    },
    /// A file holds other rows than were committed.
    #[error("file {path} of manifest entry {n}: {what}")]
    FileRows {
        /// Which entry.
        n: u64,
        /// Which file.
        path: String,
        /// What differs.
        what: String,
    },
}

/// How far a chain has been walked. Cheap to keep, so that a reader goes on from here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChainState {
    /// The last entry; 0 before the first.
    pub n: u64,
    /// Digest of its bytes.
    pub digest: Option<Digest>,
    /// The tree over all rows so far.
    pub tree: Tree,
    /// How far each stream is archived.
    pub positions: Vec<Position>,
}

impl ChainState {
    /// Checks that `bytes` are the entry after this point and moves on to it, and `files`
    /// with it. Signatures are checked when `keys` holds any; that the rows give the tree
    /// is checked where the rows are read.
    ///
    /// # Errors
    /// The first thing that is not right; state and files stay where they were.
    pub fn advance(
        &mut self,
        bytes: &[u8],
        keys: &ManifestPublicKeys,
        files: &mut Files,
    ) -> Result<Entry, BadPlace> {
        let n = self.n.saturating_add(1);
        let bad = |error| BadPlace::Entry { n, error };
        let signed = SignedEntry::parse(bytes).map_err(bad)?;
        if signed.entry.n != n {
            return Err(BadPlace::Number {
                n,
                found: signed.entry.n,
            });
        }
        if !keys.is_empty() {
            keys.check(&signed).map_err(bad)?;
        }
        if signed.entry.prev != self.digest {
            return Err(BadPlace::Link { n, before: self.n });
        }
        let entry = signed.entry;
        let what = |what| BadPlace::Ledger { n, what };
        match entry.kind {
            EntryKind::Add => self.adds_up(&entry),
            EntryKind::Replace => self.stands_still(&entry),
        }
        .map_err(what)?;
        files.apply(&entry).map_err(what)?;
        *self = Self {
            n,
            digest: Some(Digest::of_bytes(bytes)),
            tree: entry.tree.clone(),
            positions: entry.positions.clone(),
        };
        Ok(entry)
    }

    /// The position of a stream.
    #[must_use]
    pub fn position(&self, stream: &str) -> Option<&Position> {
        self.positions.iter().find(|at| at.stream == stream)
    }

    /// Adds up the files of an entry and compares with what it claims.
    fn adds_up(&self, entry: &Entry) -> Result<(), String> {
        let mut reached: Vec<Reached> = self.positions.iter().map(Reached::from).collect();
        let mut leaves = self.tree.size();
        for file in &entry.files {
            leaves = file_follows(file, leaves, &mut reached)?;
        }
        if leaves != entry.tree.size() {
            return Err(format!(
                "counts {} rows, its files hold {leaves}",
                entry.tree.size()
            ));
        }
        let claimed: Vec<Reached> = entry.positions.iter().map(Reached::from).collect();
        if claimed.len() != reached.len() || !reached.iter().all(|at| claimed.contains(at)) {
            return Err("its positions are not the ends of its files".to_owned());
        }
        Ok(())
    }

    /// An entry that brings no new rows leaves rows and positions as they are.
    fn stands_still(&self, entry: &Entry) -> Result<(), String> {
        if entry.tree == self.tree && entry.positions == self.positions {
            Ok(())
        } else {
            Err("brings no new rows and yet changes their tree or positions".to_owned())
        }
    }
}

/// How far a stream has come, without the digest of its last message.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Reached {
    stream: String,
    incarnation: Incarnation,
    seq: u64,
}

impl From<&Position> for Reached {
    fn from(at: &Position) -> Self {
        Self {
            stream: at.stream.clone(),
            incarnation: at.incarnation.clone(),
            seq: at.seq,
        }
    }
}

/// Checks that a file goes on exactly where its stream stood; returns the next leaf.
fn file_follows(file: &FileEntry, leaves: u64, reached: &mut Vec<Reached>) -> Result<u64, String> {
    let path = &file.path;
    if *path != file.expected_path() {
        return Err(format!("file {path} is not named after its contents"));
    }
    let ([span], [rows]) = (file.spans.as_slice(), file.leaves.as_slice()) else {
        return Err(format!("new file {path} is not of one piece"));
    };
    let end = leaves.saturating_add(file.rows);
    let rows_fit = file.rows > 0
        && rows.first == leaves
        && rows.last.checked_add(1) == Some(end)
        && span.first_seq <= span.last_seq;
    if !rows_fit {
        return Err(format!(
            "the rows of file {path} do not follow the rows before it"
        ));
    }
    let next = Reached {
        stream: span.stream.clone(),
        incarnation: span.incarnation.clone(),
        seq: span.last_seq,
    };
    match reached.iter_mut().find(|at| at.stream == span.stream) {
        Some(at) if at.incarnation == span.incarnation => {
            if at.seq.checked_add(1) != Some(span.first_seq) {
                return Err(format!(
                    "file {path} does not begin after sequence {}",
                    at.seq
                ));
            }
            *at = next;
        }
        Some(at) => {
            begins_a_life(file, span)?;
            *at = next;
        }
        None => {
            begins_a_life(file, span)?;
            reached.push(next);
        }
    }
    Ok(end)
}

fn begins_a_life(file: &FileEntry, span: &Span) -> Result<(), String> {
    let first = Stream::from_name(&span.stream).map_or(1, Stream::first_seq);
    if span.first_seq == first {
        Ok(())
    } else {
        Err(format!(
            "file {} does not begin at sequence {first}",
            file.path
        ))
    }
}

/// A chain that has been walked to its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Walked {
    /// Where it ends.
    pub state: ChainState,
    /// Every entry.
    pub entries: Vec<Entry>,
    /// The files that make up the archive.
    pub files: Files,
}

/// Walks `entries` (the bytes of entry 1, 2, …) and compares them with every anchor.
///
/// # Errors
/// The first bad place.
pub fn verify_chain<'a>(
    entries: impl IntoIterator<Item = &'a [u8]>,
    keys: &ManifestPublicKeys,
    anchors: &[Anchor],
) -> Result<Walked, BadPlace> {
    let mut walked = Walked::default();
    for bytes in entries {
        let Walked { state, files, .. } = &mut walked;
        let before = state.tree.size();
        let entry = state.advance(bytes, keys, files)?;
        walked.entries.push(entry);
        for anchor in anchors {
            anchor.compare(before, &walked.state)?;
        }
    }
    for anchor in anchors {
        anchor.compare_end(&walked.state)?;
    }
    Ok(walked)
}

#[cfg(test)]
mod tests;
