//! Puts files together: the same rows in their order, in one file.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;

use arrow::array::{ArrayRef, AsArray as _, Int64Array, RecordBatch, new_null_array};
use arrow::datatypes::Int64Type;
use arrow::error::ArrowError;
use countersign_domain::archive::{FileEntry, Leaves, Span};
use countersign_schemas::{Digest, Timestamp};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use crate::decode::Rows;
use crate::encode::{About, EncodeError, FileWriter, schema};
use crate::root::{Root, StoreError};

/// Rows that are decoded at once, for each file that is open. Few are open at a time: those
/// whose rows lie between each other's.
const BATCH_ROWS: usize = 8 * 1024;

/// Files could not be put together. They stay as they are.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// A file is not as it was committed: what is damaged is not written anew, where it
    /// would look whole.
    #[error(
        "file {0} is not as it was committed, or a newer version wrote it; run `countersign \
         audit verify`"
    )]
    Damaged(String),
    /// What was written does not hold the rows that were read.
    #[error("the new file does not hold the rows of the old ones")]
    Differs,
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The new file could not be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// A new file that holds the rows of others, under its temporary name.
#[derive(Debug)]
pub struct Merged {
    pub(crate) file: NamedTempFile,
    pub(crate) entry: FileEntry,
    pub(crate) inputs: Vec<FileEntry>,
}

impl Merged {
    /// How many files it was made from.
    pub(crate) fn inputs(&self) -> usize {
        self.inputs.len()
    }
}

/// Puts `inputs` together. Each is checked against its digest before it is read, and the
/// result is read back and compared row by row.
///
/// # Errors
/// When one is damaged or the directory cannot be used; nothing is changed then.
pub(crate) fn merge(root: &Root, inputs: Vec<FileEntry>) -> Result<Merged, MergeError> {
    let mut entry = outline(&inputs);
    let file = root.temporary()?;
    let about = About {
        spans: entry.spans.clone(),
        leaves: entry.leaves.clone(),
    };
    let rows = usize::try_from(entry.rows).unwrap_or(usize::MAX);
    let mut out = FileWriter::new(file.as_file(), rows, &about)?;
    let mut read = Sha256::new();
    let mut waiting = inputs.iter().peekable();
    let mut open: BinaryHeap<Reverse<Open<'_>>> = BinaryHeap::new();
    loop {
        // Only files whose rows lie between each other's are open at once.
        let at = open.peek().map_or(u64::MAX, |Reverse(next)| next.leaf);
        if let Some(input) = waiting.next_if(|input| first_leaf(input) <= at) {
            open.extend(Open::new(root, input)?.map(Reverse));
            continue;
        }
        let Some(Reverse(mut next)) = open.pop() else {
            break;
        };
        let other = open.peek().map_or(u64::MAX, |Reverse(other)| other.leaf);
        let closed = waiting.peek().map_or(u64::MAX, |input| first_leaf(input));
        let run = next.run(other.min(closed));
        hash_rows(&run, &mut read).ok_or_else(|| damaged(next.entry))?;
        out.write(&run)?;
        if next.refill()? {
            open.push(Reverse(next));
        }
    }
    (entry.sha256, entry.bytes) = out.finish()?;
    entry.path = entry.expected_path();
    if read_back(&file)? == <[u8; 32]>::from(read.finalize()) {
        Ok(Merged {
            file,
            entry,
            inputs,
        })
    } else {
        Err(MergeError::Differs)
    }
}

fn first_leaf(file: &FileEntry) -> u64 {
    file.leaves.first().map_or(0, |leaves| leaves.first)
}

/// The entry of the new file, without what only its bytes can tell.
fn outline(inputs: &[FileEntry]) -> FileEntry {
    let times = || inputs.iter().map(|file| (file.min_time, file.max_time));
    FileEntry {
        path: String::new(),
        sha256: Digest::of_bytes(b""),
        bytes: 0,
        rows: inputs
            .iter()
            .fold(0, |sum, file| sum.saturating_add(file.rows)),
        spans: spans(inputs),
        leaves: leaves(inputs),
        min_time: times()
            .map(|(min, _)| min)
            .min()
            .unwrap_or(Timestamp::EPOCH),
        max_time: times()
            .map(|(_, max)| max)
            .max()
            .unwrap_or(Timestamp::EPOCH),
    }
}

fn leaves(inputs: &[FileEntry]) -> Vec<Leaves> {
    let mut all: Vec<Leaves> = inputs.iter().flat_map(|file| file.leaves.clone()).collect();
    all.sort_unstable();
    all.dedup_by(|next, last| {
        let follows = last.last.checked_add(1) == Some(next.first);
        if follows {
            last.last = next.last;
        }
        follows
    });
    all
}

fn spans(inputs: &[FileEntry]) -> Vec<Span> {
    let mut all: Vec<Span> = inputs.iter().flat_map(|file| file.spans.clone()).collect();
    all.sort_unstable();
    all.dedup_by(|next, last| {
        let follows = (&last.stream, &last.incarnation) == (&next.stream, &next.incarnation)
            && last.last_seq.checked_add(1) == Some(next.first_seq);
        if follows {
            last.last_seq = next.last_seq;
        }
        follows
    });
    all
}

fn damaged(entry: &FileEntry) -> MergeError {
    MergeError::Damaged(entry.path.clone())
}

/// Number and hash of every row, in order. `None` if they are no rows of an archive.
fn hash_rows(batch: &RecordBatch, into: &mut Sha256) -> Option<()> {
    let rows = Rows::of(batch)?;
    for row in 0..rows.len() {
        let (leaf, hash) = rows.leaf(row)?;
        into.update(leaf.to_be_bytes());
        into.update(hash);
    }
    Some(())
}

fn read_back(file: &NamedTempFile) -> Result<[u8; 32], MergeError> {
    let written = file
        .reopen()
        .map_err(StoreError::new("open", file.path()))?;
    let reader = reader(written).map_err(EncodeError::from)?;
    let mut hash = Sha256::new();
    for batch in reader {
        let batch = batch.map_err(EncodeError::from)?;
        hash_rows(&batch, &mut hash).ok_or(MergeError::Differs)?;
    }
    Ok(hash.finalize().into())
}

fn reader(file: File) -> Result<ParquetRecordBatchReader, ParquetError> {
    ParquetRecordBatchReaderBuilder::try_new(file)?
        .with_batch_size(BATCH_ROWS)
        .build()
}

/// A file, standing at one of its rows.
struct Open<'a> {
    entry: &'a FileEntry,
    reader: ParquetRecordBatchReader,
    /// Rows that are decoded and not yet written; never empty.
    batch: RecordBatch,
    numbers: Int64Array,
    leaf: u64,
}

impl<'a> Open<'a> {
    /// At the first row; `None` if there is none.
    fn new(root: &Root, entry: &'a FileEntry) -> Result<Option<Self>, MergeError> {
        let (file, found, _) = root.open_file(&entry.path)?;
        if found != entry.sha256 {
            return Err(damaged(entry));
        }
        let mut open = Self {
            entry,
            reader: reader(file).map_err(|_| damaged(entry))?,
            batch: RecordBatch::new_empty(schema()),
            numbers: Int64Array::from(Vec::<i64>::new()),
            leaf: 0,
        };
        Ok(open.refill()?.then_some(open))
    }

    /// Takes out the rows that come before row `until` of the archive, one at least.
    fn run(&mut self, until: u64) -> RecordBatch {
        let until = i64::try_from(until).unwrap_or(i64::MAX);
        let all = self.batch.num_rows();
        let before = self.numbers.values().partition_point(|leaf| *leaf < until);
        let count = before.max(1).min(all);
        let rest = all.saturating_sub(count);
        let run = self.batch.slice(0, count);
        self.batch = self.batch.slice(count, rest);
        self.numbers = self.numbers.slice(count, rest);
        run
    }

    /// Decodes more when nothing is left. Returns whether there is a row.
    fn refill(&mut self) -> Result<bool, MergeError> {
        while self.batch.num_rows() == 0 {
            let Some(batch) = self.reader.next() else {
                return Ok(false);
            };
            let batch = batch.map_err(|_| damaged(self.entry))?;
            // Before columns are brought in line: what a newer version wrote is not dropped.
            if Rows::of(&batch).is_none() {
                return Err(damaged(self.entry));
            }
            self.batch = aligned(&batch).map_err(|_| damaged(self.entry))?;
            let numbers = self
                .batch
                .column_by_name("leaf_index")
                .and_then(|column| column.as_primitive_opt::<Int64Type>())
                .ok_or_else(|| damaged(self.entry))?;
            self.numbers = numbers.clone();
        }
        let first = self.numbers.values().first().copied().unwrap_or_default();
        self.leaf = u64::try_from(first).map_err(|_| damaged(self.entry))?;
        Ok(true)
    }
}

/// The batch with the columns of today: one that came later is NULL.
fn aligned(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = schema();
    let columns: Vec<ArrayRef> = schema
        .fields()
        .iter()
        .map(|field| {
            let missing = || new_null_array(field.data_type(), batch.num_rows());
            batch
                .column_by_name(field.name())
                .cloned()
                .unwrap_or_else(missing)
        })
        .collect();
    RecordBatch::try_new(schema, columns)
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

#[cfg(test)]
mod tests;
