//! A row of the archive, proved by itself.

use countersign_schemas::Digest;
use serde_json::{Map, Value};

use super::manifest::ManifestPublicKeys;
use crate::merkle::{Checkpoint, CheckpointError, LogProof, ProofError, check, leaf_hash};

/// Largest proof that is read: a row of the largest message, in base64, and little more.
pub const PROOF_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A row that was proved.
#[derive(Debug, Clone, PartialEq)]
pub struct ProvedRow {
    /// The tree that it is a leaf of.
    pub checkpoint: Checkpoint,
    /// Its number in the archive.
    pub leaf: u64,
    /// Its columns.
    pub columns: Map<String, Value>,
}

/// What was given proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RowProofError {
    /// It is no proof, or it does not hold.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// Its checkpoint cannot be used.
    #[error("the checkpoint of the proof: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The row in it is no row of an archive.
    #[error("the proof holds no row of an archive")]
    NoRow,
}

/// Checks a proof in its file form, whose extra data is the canonical form of the row,
/// against the pinned keys. Nothing else is needed.
///
/// # Errors
/// Why it proves nothing.
pub fn check_row_proof(text: &str, keys: &ManifestPublicKeys) -> Result<ProvedRow, RowProofError> {
    if text.len() > PROOF_BYTES_MAX {
        return Err(ProofError::Malformed.into());
    }
    let proof: LogProof = text.parse()?;
    let checkpoint = keys.open_checkpoint(&proof.checkpoint)?;
    let leaf = leaf_hash(Digest::of_bytes(&proof.extra).as_bytes());
    check(
        &proof.hashes,
        checkpoint.size,
        proof.index,
        checkpoint.root,
        leaf,
    )?;
    let columns: Map<String, Value> =
        serde_json::from_slice(&proof.extra).map_err(|_| RowProofError::NoRow)?;
    if columns.get("leaf_index").and_then(Value::as_u64) != Some(proof.index) {
        return Err(RowProofError::NoRow);
    }
    Ok(ProvedRow {
        checkpoint,
        leaf: proof.index,
        columns,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::leaf::leaf_bytes;
    use super::super::manifest::ManifestKey;
    use super::super::row::Row;
    use super::*;
    use crate::merkle::{Edge, Tree, prove};

    fn key() -> ManifestKey {
        ManifestKey::from_bytes(&[7; 32])
    }

    /// The canonical form of row `n`, which says of itself that it is row `says`.
    fn bytes(n: i64, says: i64) -> Vec<u8> {
        let row = Row {
            leaf_index: says,
            purpose: Some(format!("row {n}")),
            ..Row::default()
        };
        leaf_bytes(|_, column| (column.get)(&row))
    }

    /// A proof of row 3 of five.
    fn proof(says: i64) -> LogProof {
        let (mut edge, mut tree) = (Edge::default(), Tree::default());
        for n in 0..5 {
            let says = if n == 3 { says } else { n };
            let leaf = leaf_hash(Digest::of_bytes(&bytes(n, says)).as_bytes());
            tree.push(leaf);
            edge.push(leaf, |_, _| {});
        }
        let tiles: BTreeMap<_, _> = edge.tiles().collect();
        LogProof {
            extra: bytes(3, says),
            index: 3,
            hashes: prove(5, 3, |tile| tiles.get(&tile).cloned()).unwrap(),
            checkpoint: key().checkpoint("northwind", &tree).unwrap(),
        }
    }

    #[test]
    fn a_row_is_proved_by_its_proof_and_the_key_alone() {
        let proved = check_row_proof(&proof(3).to_string(), &key().public()).unwrap();
        assert_eq!((proved.leaf, proved.checkpoint.size), (3, 5));
        assert_eq!(proved.columns["purpose"], "row 3");
    }

    #[test]
    fn after_a_rotation_the_key_that_signed_is_the_one_that_is_told() {
        let note = proof(3).checkpoint;
        let own = key().public().verifier_key(&note).unwrap();
        assert!(own.starts_with("northwind+"), "{own}");
        let other = ManifestKey::from_bytes(&[9; 32]).public();
        assert_eq!(other.verifier_key(&note), None);
    }

    #[test]
    fn another_word_place_checkpoint_or_key_proves_nothing() {
        let honest = proof(3);
        let refused =
            |proof: &LogProof| check_row_proof(&proof.to_string(), &key().public()).unwrap_err();
        let mut other = honest.clone();
        other.extra = bytes(4, 3);
        assert_eq!(refused(&other), RowProofError::Proof(ProofError::Invalid));
        other = honest.clone();
        other.index = 2;
        assert_eq!(refused(&other), RowProofError::Proof(ProofError::Invalid));
        other.index = 9;
        assert_eq!(
            refused(&other),
            RowProofError::Proof(ProofError::NoSuchLeaf)
        );
        other = honest.clone();
        let (tree, thief) = (Tree::default(), ManifestKey::from_bytes(&[9; 32]));
        other.checkpoint = thief.checkpoint("northwind", &tree).unwrap();
        let unsigned = RowProofError::Checkpoint(CheckpointError::Unsigned);
        assert_eq!(refused(&other), unsigned);
        assert_eq!(refused(&proof(2)), RowProofError::NoRow);
        let nothing = check_row_proof("", &key().public()).unwrap_err();
        assert_eq!(nothing, RowProofError::Proof(ProofError::Malformed));
    }
}
