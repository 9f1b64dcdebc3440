//! Somebody who may write every file of an archive and computes whatever needs no key.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray};
use arrow::compute::{concat_batches, filter_record_batch};
use countersign_audit_archiver::canonical_rows;
use countersign_domain::archive::{Entry, ManifestKey, SignedEntry};
use countersign_domain::merkle::{Edge, Node, Tree, leaf_hash};
use countersign_schemas::Digest;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// Copies a directory with everything in it.
pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for item in fs::read_dir(from).expect("a directory") {
        let path = item.expect("an item").path();
        let there = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &there);
        } else {
            fs::copy(&path, &there).expect("a file can be copied");
        }
    }
}

/// A copy of an archive, and its entries as they shall be.
pub(super) struct Forger {
    root: PathBuf,
    entries: Vec<SignedEntry>,
}

impl Forger {
    pub(super) fn open(root: PathBuf) -> Self {
        let mut forger = Self {
            root,
            entries: Vec::new(),
        };
        forger.entries = (1..)
            .map_while(|n| fs::read(forger.root.join(Entry::path(n))).ok())
            .map(|bytes| SignedEntry::parse(&bytes).expect("an entry"))
            .collect();
        assert!(
            forger.entries.len() >= 2,
            "there is something to tamper with"
        );
        forger
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The number of the last entry.
    pub(super) fn last(&self) -> u64 {
        u64::try_from(self.entries.len()).expect("few entries")
    }

    /// Entry and path of a file with several rows, counted over those.
    pub(super) fn file(&self, nth: usize) -> (u64, String) {
        let files = self.entries.iter().flat_map(|signed| {
            let files = signed.entry.files.iter();
            files.map(|file| (signed.entry.n, file))
        });
        let (n, file) = files
            .filter(|(_, file)| file.rows >= 3)
            .nth(nth)
            .expect("such a file");
        (n, file.path.clone())
    }

    /// The number of the first row of that file.
    pub(super) fn first_row(&self, nth: usize) -> u64 {
        let (_, path) = self.file(nth);
        let mut files = self.entries.iter().flat_map(|signed| &signed.entry.files);
        let file = files.find(|file| file.path == path).expect("a file");
        file.leaves[0].first
    }

    fn rows(&self, path: &str) -> RecordBatch {
        let file = File::open(self.root.join(path)).expect("a file");
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).expect("a Parquet file");
        let schema = Arc::clone(builder.schema());
        let batches: Result<Vec<_>, _> = builder.build().expect("a reader").collect();
        concat_batches(&schema, &batches.expect("rows")).expect("one batch")
    }

    fn put_rows(&self, path: &str, rows: &RecordBatch) {
        let file = File::create(self.root.join(path)).expect("a file");
        let mut writer = ArrowWriter::try_new(file, rows.schema(), None).expect("a writer");
        writer.write(rows).expect("rows are written");
        writer.close().expect("a whole file");
    }

    /// Writes another agent into the second row.
    pub(super) fn edit_row(&self, path: &str) {
        let rows = self.rows(path);
        let at = rows.schema().index_of("agent_id").expect("a column");
        let agents = rows.column(at).as_any().downcast_ref::<StringArray>();
        let agents = agents.expect("texts").iter().enumerate();
        let forged: StringArray = agents
            .map(|(row, agent)| if row == 1 { Some("nobody") } else { agent })
            .collect();
        let mut columns = rows.columns().to_vec();
        columns[at] = Arc::new(forged) as ArrayRef;
        let forged = RecordBatch::try_new(rows.schema(), columns).expect("rows");
        self.put_rows(path, &forged);
    }

    /// Takes the second row out.
    pub(super) fn drop_row(&self, path: &str) {
        let rows = self.rows(path);
        let keep: BooleanArray = (0..rows.num_rows()).map(|row| Some(row != 1)).collect();
        self.put_rows(path, &filter_record_batch(&rows, &keep).expect("rows"));
    }

    pub(super) fn remove(&self, path: &str) {
        fs::remove_file(self.root.join(path)).expect("it was there");
    }

    pub(super) fn flip(&self, path: &str, at: usize) {
        let path = self.root.join(path);
        let mut bytes = fs::read(&path).expect("a file");
        bytes[at] ^= 1;
        fs::write(path, bytes).expect("it can be written");
    }

    pub(super) fn swap(&self, one: &str, two: &str) {
        let (one, two) = (self.root.join(one), self.root.join(two));
        let bytes = (
            fs::read(&one).expect("a file"),
            fs::read(&two).expect("a file"),
        );
        fs::write(one, bytes.1).expect("it can be written");
        fs::write(two, bytes.0).expect("it can be written");
    }

    /// Takes a file out of its entry.
    pub(super) fn forget_file(&mut self, path: &str) {
        for signed in &mut self.entries {
            signed.entry.files.retain(|file| file.path != path);
        }
    }

    /// Removes the last entry, its files and nothing else.
    pub(super) fn cut(&mut self) {
        let last = self.entries.pop().expect("an entry").entry;
        self.remove(&Entry::path(last.n));
        for file in last.files {
            self.remove(&file.path);
        }
    }

    /// Puts an old entry in the place of number `n`.
    pub(super) fn replay(&self, old: u64, n: u64) {
        let (old, new) = (Entry::path(old), Entry::path(n));
        fs::copy(self.root.join(old), self.root.join(new)).expect("it can be copied");
    }

    /// Puts the entries of another copy in the place of all.
    pub(super) fn put_back_entries(&self, honest: &Path) {
        copy(&honest.join("manifest"), &self.root.join("manifest"));
    }

    /// Makes everything right again that nobody signs, and leaves the signatures.
    pub(super) fn settle(&mut self) {
        self.settle_by(|entry, signature| SignedEntry { entry, signature });
    }

    /// The same, and signs it all.
    pub(super) fn settle_with(&mut self, key: &ManifestKey) {
        let tree = self.settle_by(|entry, _| key.sign(entry).expect("an entry can be signed"));
        let note = key.checkpoint("acme", &tree);
        let note = note.expect("a checkpoint can be signed");
        fs::write(self.root.join("checkpoint"), note).expect("it can be written");
    }

    /// Hashes, sizes and names of files, the chain, the tree and its tiles.
    fn settle_by(&mut self, sign: impl Fn(Entry, String) -> SignedEntry) -> Tree {
        let (mut prev, mut tree, mut edge) = (None, Tree::default(), Edge::default());
        let mut tiles = BTreeMap::new();
        for signed in &mut self.entries {
            let mut entry = signed.entry.clone();
            for file in &mut entry.files {
                let old = self.root.join(&file.path);
                let bytes = fs::read(&old).expect("a file");
                for leaf in leaves(&old) {
                    tree.push(leaf);
                    edge.push(leaf, |tile, bytes| drop(tiles.insert(tile.path(), bytes)));
                }
                file.sha256 = Digest::of_bytes(&bytes);
                file.bytes = u64::try_from(bytes.len()).expect("a size");
                file.path = file.expected_path();
                fs::rename(old, self.root.join(&file.path)).expect("it can be renamed");
            }
            tiles.extend(edge.tiles().map(|(tile, bytes)| (tile.path(), bytes)));
            (entry.prev, entry.tree) = (prev, tree.clone());
            *signed = sign(entry, signed.signature.clone());
            let bytes = signed.bytes().expect("an entry");
            prev = Some(Digest::of_bytes(&bytes));
            fs::write(self.root.join(Entry::path(signed.entry.n)), bytes).expect("a place");
        }
        fs::remove_dir_all(self.root.join("tile")).expect("there are tiles");
        for (path, bytes) in tiles {
            let path = self.root.join(path);
            fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
            fs::write(path, bytes).expect("a tile");
        }
        tree
    }
}

fn leaves(path: &Path) -> Vec<Node> {
    let rows = canonical_rows(path, 0, usize::MAX).expect("a file of an archive");
    let digest = |(_, row): &(u64, Vec<u8>)| leaf_hash(Digest::of_bytes(row).as_bytes());
    rows.iter().map(digest).collect()
}
