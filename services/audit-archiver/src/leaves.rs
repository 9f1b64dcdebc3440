//! Every row of an archive in its order, over files whose rows may lie between each other's.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::iter::Peekable;
use std::vec;

use countersign_domain::archive::{BadPlace, FileEntry};
use countersign_domain::merkle::Node;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use crate::decode::Rows;
use crate::root::Root;

/// Rows that are decoded at once, for each file that is open. Few files are open at a time:
/// those whose rows lie between each other's.
const BATCH_ROWS: usize = 1_024;

/// Numbers and hashes of all rows, in order. Ends at the first row that is not the next.
pub(crate) struct LeafHashes<'a> {
    root: &'a Root,
    waiting: Peekable<vec::IntoIter<&'a FileEntry>>,
    open: BinaryHeap<Reverse<Open<'a>>>,
    next: u64,
}

impl<'a> LeafHashes<'a> {
    /// From row `next` on, over these files, which make up an archive.
    pub(crate) fn new(
        root: &'a Root,
        files: impl Iterator<Item = &'a FileEntry>,
        next: u64,
    ) -> Self {
        let ends = |file: &FileEntry| file.leaves.last().is_some_and(|leaves| leaves.last < next);
        let mut files: Vec<_> = files.filter(|file| !ends(file)).collect();
        files.sort_by_key(|file| first(file));
        Self {
            root,
            waiting: files.into_iter().peekable(),
            open: BinaryHeap::new(),
            next,
        }
    }

    /// The hash of the next row; `None` after the last.
    pub(crate) fn next(&mut self) -> Result<Option<Node>, BadPlace> {
        while let Some(file) = self.waiting.next_if(|file| first(file) <= self.next) {
            self.open
                .extend(Open::at(self.root, file, self.next)?.map(Reverse));
        }
        let Some(Reverse(mut file)) = self.open.pop() else {
            return match self.waiting.peek() {
                None => Ok(None),
                Some(_) => Err(self.misplaced("no file holds it")),
            };
        };
        if file.leaf != self.next {
            let what = format!("file {} holds row {} there", file.entry.path, file.leaf);
            return Err(self.misplaced(&what));
        }
        let hash = file.hash;
        if file.advance()? {
            self.open.push(Reverse(file));
        }
        self.next = self.next.saturating_add(1);
        Ok(Some(hash))
    }

    fn misplaced(&self, what: &str) -> BadPlace {
        BadPlace::Row {
            leaf: self.next,
            what: what.to_owned(),
        }
    }
}

fn first(file: &FileEntry) -> u64 {
    file.leaves.first().map_or(0, |leaves| leaves.first)
}

/// A file, standing at one of its rows.
struct Open<'a> {
    entry: &'a FileEntry,
    reader: ParquetRecordBatchReader,
    /// Decoded and not yet used, the next one last.
    decoded: Vec<(u64, Node)>,
    leaf: u64,
    hash: Node,
}

impl<'a> Open<'a> {
    /// At its first row from `next` on; `None` if there is none.
    fn at(root: &Root, entry: &'a FileEntry, next: u64) -> Result<Option<Self>, BadPlace> {
        let reader = root
            .fetch(&entry.path)
            .ok()
            .and_then(|file| ParquetRecordBatchReaderBuilder::try_new(file).ok())
            .and_then(|builder| builder.with_batch_size(BATCH_ROWS).build().ok())
            .ok_or_else(|| unreadable(entry))?;
        let mut open = Self {
            entry,
            reader,
            decoded: Vec::new(),
            leaf: 0,
            hash: Node::default(),
        };
        let before = first(entry) < next;
        while open.advance()? {
            if !before || open.leaf >= next {
                return Ok(Some(open));
            }
        }
        Ok(None)
    }

    /// Moves to the next row. Returns whether there was one.
    fn advance(&mut self) -> Result<bool, BadPlace> {
        while self.decoded.is_empty() {
            let Some(batch) = self.reader.next() else {
                return Ok(false);
            };
            let batch = batch.map_err(|_| unreadable(self.entry))?;
            let rows = Rows::of(&batch).ok_or_else(|| unreadable(self.entry))?;
            let leaves = (0..rows.len()).rev().map(|row| rows.leaf(row));
            self.decoded = leaves
                .collect::<Option<_>>()
                .ok_or_else(|| unreadable(self.entry))?;
        }
        if let Some((leaf, hash)) = self.decoded.pop() {
            (self.leaf, self.hash) = (leaf, hash);
        }
        Ok(true)
    }
}

fn unreadable(entry: &FileEntry) -> BadPlace {
    BadPlace::Row {
        leaf: first(entry),
        what: format!("file {} holds no rows of this archive", entry.path),
    }
}

impl PartialEq for Open<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.leaf == other.leaf
    }
}

impl Eq for Open<'_> {}

impl PartialOrd for Open<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Open<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.leaf.cmp(&other.leaf)
    }
}
