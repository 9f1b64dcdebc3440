//! What the tests of the writer and of the verifier share.

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::AsArray as _;
use arrow::datatypes::Int64Type;
use countersign_domain::archive::{Entry, ManifestKey, Row, SignedEntry, verify_chain};
use countersign_schemas::{Digest, Stream, Timestamp};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::commit::{Item, Writer, WriterOptions};
use crate::hooks::Hooks;
use crate::root::Root;

/// An archive in a directory of its own.
pub(crate) struct Place {
    pub(crate) dir: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn archive(&self) -> PathBuf {
        self.dir.path().join("archive")
    }

    pub(crate) fn state_file(&self) -> PathBuf {
        self.dir.path().join("data/state.json")
    }

    pub(crate) fn options(&self, hooks: Hooks) -> WriterOptions {
        WriterOptions {
            place: self.archive().into(),
            state_file: self.state_file(),
            origin: "northwind".to_owned(),
            key: key(),
            pinned: key().public(),
            hooks,
        }
    }

    pub(crate) fn writer(&self) -> Writer {
        Writer::open(self.options(Hooks::default())).unwrap()
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        let root = Root::new(&self.archive());
        let bytes = root.entries().unwrap().unwrap();
        bytes
            .iter()
            .map(|bytes| SignedEntry::parse(bytes).unwrap().entry)
            .collect()
    }

    /// `(stream, incarnation, seq)` of every row of the archive, by leaf.
    pub(crate) fn rows(&self) -> Vec<(String, String, i64)> {
        let root = Root::new(&self.archive());
        let bytes = root.entries().unwrap().unwrap();
        let bytes = bytes.iter().map(Vec::as_slice);
        let walked = verify_chain(bytes, &key().public(), &[]).unwrap();
        let mut all = Vec::new();
        for file in walked.files.iter() {
            all.extend(read(&self.archive().join(&file.path)));
        }
        all.sort_by_key(|(leaf, _)| *leaf);
        let leaves: Vec<i64> = all.iter().map(|(leaf, _)| *leaf).collect();
        assert!(
            leaves
                .iter()
                .copied()
                .eq(0..i64::try_from(leaves.len()).unwrap())
        );
        all.into_iter().map(|(_, row)| row).collect()
    }
}

fn read(path: &Path) -> Vec<(i64, (String, String, i64))> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap())
        .unwrap()
        .build()
        .unwrap();
    let mut rows = Vec::new();
    for batch in reader.map(Result::unwrap) {
        let text = |name: &str| batch.column_by_name(name).unwrap().as_string::<i32>();
        let int = |name: &str| {
            batch
                .column_by_name(name)
                .unwrap()
                .as_primitive::<Int64Type>()
        };
        let (streams, lives) = (text("stream"), text("incarnation"));
        let (seqs, leaves) = (int("seq"), int("leaf_index"));
        for at in 0..seqs.len() {
            let row = (
                streams.value(at).to_owned(),
                lives.value(at).to_owned(),
                seqs.value(at),
            );
            rows.push((leaves.value(at), row));
        }
    }
    rows
}

pub(crate) fn key() -> ManifestKey {
    ManifestKey::from_bytes(&[7; 32])
}

/// A message stored `second` seconds after ten o'clock.
pub(crate) fn item(stream: Stream, life: &str, seq: u64, second: i64) -> Item {
    let start: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
    let time = Timestamp::from_micros(start.micros() + second * 1_000_000).unwrap();
    let row = Row {
        stream: stream.name().to_owned(),
        incarnation: life.to_owned(),
        seq: i64::try_from(seq).unwrap(),
        time,
        event: "tool.requested".to_owned(),
        ..Row::default()
    };
    Item {
        stream,
        incarnation: life.parse().unwrap(),
        first_seq: seq,
        last_seq: seq,
        message: Digest::of_bytes(&seq.to_be_bytes()),
        own: false,
        rows: vec![row],
    }
}

pub(crate) fn items(stream: Stream, seqs: std::ops::RangeInclusive<u64>) -> Vec<Item> {
    seqs.map(|seq| item(stream, "abc", seq, i64::try_from(seq).unwrap()))
        .collect()
}
