//! An agent audit trail. What binds a record to the number of all of them is only known at
//! the end, so the records wait in an unnamed temporary file until then.

use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Seek as _, Write};

use countersign_domain::archive::Row;
use countersign_domain::export::{Inclusion, Record, Trail, TrailKey};
use countersign_domain::merkle::Node;
use countersign_schemas::Timestamp;
use countersign_schemas::digest::canonical_json;

use super::ExportError;

pub(super) struct Writer<W> {
    trail: Trail,
    waiting: BufWriter<File>,
    /// One for each record; the trail bounds how many there are.
    leaves: Vec<Node>,
    out: W,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(key: TrailKey, about: &str, out: W) -> Result<Self, ExportError> {
        Ok(Self {
            trail: Trail::new(key, about),
            waiting: BufWriter::new(tempfile::tempfile()?),
            leaves: Vec::new(),
            out,
        })
    }

    pub(super) fn row(&mut self, row: &Row) -> Result<(), ExportError> {
        if self.leaves.is_empty() {
            self.open(row.time)?;
        }
        let record = self.trail.record(row)?;
        self.put(&record)
    }

    pub(super) fn finish(mut self) -> Result<W, ExportError> {
        if self.leaves.is_empty() {
            self.open(Timestamp::EPOCH)?;
        }
        let end = self.trail.end()?;
        self.put(&end)?;
        let mut waiting = self
            .waiting
            .into_inner()
            .map_err(|error| error.into_error())?;
        waiting.rewind()?;
        let mut waiting = BufReader::new(waiting);
        let epoch = self.trail.session();
        let tree = Inclusion::of(self.leaves);
        let mut line = Vec::new();
        for place in 0..tree.size() {
            line.clear();
            waiting.read_until(b'\n', &mut line)?;
            // A record is one object: what is added stands before its end.
            line.truncate(line.len().saturating_sub(b"}\n".len()));
            line.extend_from_slice(b",\"batch\":");
            line.extend(canonical_json(&tree.batch(&epoch, place))?);
            line.extend_from_slice(b"}\n");
            self.out.write_all(&line)?;
        }
        Ok(self.out)
    }

    fn open(&mut self, first: Timestamp) -> Result<(), ExportError> {
        let record = self.trail.open(first)?;
        self.put(&record)
    }

    fn put(&mut self, record: &Record) -> Result<(), ExportError> {
        self.waiting.write_all(&record.line)?;
        self.waiting.write_all(b"\n")?;
        self.leaves.push(record.leaf);
        Ok(())
    }
}
