//! `audit prove`: for a row of the archive everything that shows, without the archive and
//! without us, that it was there when the checkpoint was signed.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use countersign_domain::archive::{
    BadPlace, FileEntry, Files, ManifestPublicKeys, check_row_proof, verify_chain,
};
use countersign_domain::merkle::{Checkpoint, CheckpointError, LogProof, ProofError, prove};
use countersign_runtime::archive::Place;
use countersign_schemas::Digest;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::decode::Rows;
use crate::root::{Root, StoreError};
use crate::tiles::{read_checkpoint, tile_or_full};

/// A row cannot be proved.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// The archive is not as it was written.
    #[error("{0}; run `countersign audit verify`")]
    Bad(#[from] BadPlace),
    /// There is no checkpoint yet.
    #[error("the archive has no checkpoint yet: the archiver signs one with each commit")]
    NoCheckpoint,
    /// The checkpoint cannot be used.
    #[error("the archive's checkpoint cannot be used: {0}; run `countersign audit verify`")]
    Checkpoint(#[from] CheckpointError),
    /// No such row is signed for.
    #[error("row {row} cannot be proved: {error}; run `countersign audit verify`")]
    Row {
        /// Its number in the archive.
        row: u64,
        /// Why.
        error: ProofError,
    },
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Proofs of some rows, all under one checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proofs {
    /// What they are proved under.
    pub checkpoint: Checkpoint,
    /// The same as it was signed.
    pub note: String,
    /// One for each row.
    pub rows: Vec<RowProof>,
}

/// A row and its proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowProof {
    /// Its number in the archive.
    pub row: u64,
    /// Its canonical form.
    pub canonical: Vec<u8>,
    /// What the log holds of it: the digest of the canonical form.
    pub leaf: Digest,
    /// The proof in the form of C2SP tlog-proof, with the canonical form as extra data.
    pub proof: String,
}

/// Proves these rows of the archive at `place` under its checkpoint.
///
/// # Errors
/// When the archive, or one of the rows, is not as it was signed.
pub fn prove_rows(
    place: impl Into<Place>,
    keys: &ManifestPublicKeys,
    rows: &[u64],
) -> Result<Proofs, ProveError> {
    let root = Root::open(&place.into())?;
    let entries = root.entries()??;
    let files = verify_chain(entries.iter().map(Vec::as_slice), keys, &[])?.files;
    let note = read_checkpoint(&root)?.ok_or(ProveError::NoCheckpoint)?;
    let checkpoint = keys.open_checkpoint(&note)?;
    let mut opened = Opened {
        root: &root,
        files: &files,
        found: HashMap::new(),
    };
    let one = |row: &u64| prove_row(&mut opened, keys, &checkpoint, &note, *row);
    let rows = rows.iter().map(one).collect::<Result<_, _>>()?;
    Ok(Proofs {
        checkpoint,
        note,
        rows,
    })
}

fn prove_row(
    opened: &mut Opened<'_>,
    keys: &ManifestPublicKeys,
    checkpoint: &Checkpoint,
    note: &str,
    row: u64,
) -> Result<RowProof, ProveError> {
    let fail = |error| ProveError::Row { row, error };
    let canonical = opened.canonical(row).ok_or(fail(ProofError::NoSuchLeaf))?;
    let hashes = prove(checkpoint.size, row, |tile| tile_or_full(opened.root, tile));
    let hashes = hashes.map_err(fail)?;
    let leaf = Digest::of_bytes(&canonical);
    let proof = LogProof {
        extra: canonical.clone(),
        index: row,
        hashes,
        checkpoint: note.to_owned(),
    };
    let proof = proof.to_string();
    // Nothing is handed out that would not hold elsewhere.
    check_row_proof(&proof, keys).map_err(|_| fail(ProofError::Invalid))?;
    Ok(RowProof {
        row,
        canonical,
        leaf,
        proof,
    })
}

/// The files of an archive, each opened once: the rows of an intent lie in few.
struct Opened<'a> {
    root: &'a Root,
    files: &'a Files,
    found: HashMap<String, File>,
}

impl Opened<'_> {
    /// The canonical form of a row, from the file that holds it.
    fn canonical(&mut self, row: u64) -> Option<Vec<u8>> {
        let holds = |file: &FileEntry| Some((file.path.clone(), place(file, row)?));
        let (path, at) = self.files.iter().find_map(holds)?;
        let opened = match self.found.get(&path) {
            Some(opened) => opened.try_clone().ok()?,
            None => {
                let opened = self.root.fetch(&path).ok()?;
                let kept = opened.try_clone().ok()?;
                self.found.insert(path, kept);
                opened
            }
        };
        let (found, canonical) = rows_of(opened, at, 1)?.into_iter().next()?;
        (found == row).then_some(canonical)
    }
}

/// At which place a file holds a row.
fn place(file: &FileEntry, row: u64) -> Option<usize> {
    let mut before = 0_u64;
    for leaves in &file.leaves {
        if (leaves.first..=leaves.last).contains(&row) {
            let at = before.checked_add(row.checked_sub(leaves.first)?)?;
            return usize::try_from(at).ok();
        }
        before = before.checked_add(leaves.count())?;
    }
    None
}

/// Number and canonical form of `count` rows of a Parquet file of an archive, from place
/// `at` on; `None` if it is none.
#[must_use]
pub fn canonical_rows(path: &Path, at: usize, count: usize) -> Option<Vec<(u64, Vec<u8>)>> {
    rows_of(File::open(path).ok()?, at, count)
}

fn rows_of(file: File, at: usize, count: usize) -> Option<Vec<(u64, Vec<u8>)>> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).ok()?;
    let reader = builder.with_offset(at).with_limit(count).build().ok()?;
    let mut found = Vec::new();
    for batch in reader {
        let batch = batch.ok()?;
        let rows = Rows::of(&batch)?;
        for row in 0..rows.len() {
            found.push(rows.canonical(row)?);
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use countersign_schemas::{Stream, Timestamp};

    use super::*;
    use crate::tests::{Place, items, key};

    fn archive() -> Place {
        let place = Place::new();
        let mut writer = place.writer();
        for seqs in [1..=200, 201..=290] {
            let batch = items(Stream::Events, seqs);
            writer.commit(batch, Timestamp::EPOCH).unwrap();
        }
        place
    }

    #[test]
    fn rows_are_proved_and_the_proofs_hold_without_the_archive() {
        let place = archive();
        let wanted = [0, 199, 200, 255, 256, 289];
        let proofs = prove_rows(place.archive(), &key().public(), &wanted).unwrap();
        drop(place);
        assert_eq!(proofs.checkpoint.size, 290);
        for (proof, row) in proofs.rows.iter().zip(wanted) {
            let proved = check_row_proof(&proof.proof, &key().public()).unwrap();
            assert_eq!((proved.leaf, proof.row), (row, row));
            assert_eq!(proved.columns["seq"], row + 1);
        }
    }

    #[test]
    fn a_row_beyond_the_checkpoint_or_of_a_changed_tile_is_not_proved() {
        let place = archive();
        let refused = |row| prove_rows(place.archive(), &key().public(), &[row]).unwrap_err();
        let none = refused(290);
        let named = matches!(
            none,
            ProveError::Row {
                row: 290,
                error: ProofError::NoSuchLeaf
            }
        );
        assert!(named, "{none}");
        let tile = place.archive().join("tile/0/000");
        let mut bytes = fs::read(&tile).unwrap();
        bytes[64] ^= 1;
        fs::write(&tile, bytes).unwrap();
        let changed = refused(5);
        let named = matches!(
            changed,
            ProveError::Row {
                row: 5,
                error: ProofError::Invalid
            }
        );
        assert!(named, "{changed}");
        fs::remove_file(place.archive().join("checkpoint")).unwrap();
        assert!(matches!(refused(5), ProveError::NoCheckpoint));
    }
}
