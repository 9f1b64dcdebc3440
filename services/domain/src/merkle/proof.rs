//! Proofs that a row is in the tree: made from tiles, checked without them.
//!
//! The arithmetic is the library's, which panics when it is misused: sizes and places are
//! checked here before it sees them.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tlog_tiles::{Error, Hash, HashReader, Tile, check_record, prove_record};

use super::tiles::LEAVES_MAX;
use super::{Node, TileId};

/// First line of a proof in its file form.
const FORM: &str = "c2sp.org/tlog-proof@v1";
/// Most hashes of a proof: one for each level of the largest tree.
const HASHES_MAX: usize = 64;
/// Height of a tile, as the library counts.
const TILE_HEIGHT: u8 = 8;

/// A proof cannot be made or does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// A tile that it needs is missing or has another size.
    #[error("a tile is missing or has another size than its name says")]
    Tiles,
    /// There is no such leaf in a tree of that size.
    #[error("the tree holds no such row")]
    NoSuchLeaf,
    /// The hashes do not lead from the leaf to the root.
    #[error("the proof does not lead from the row to the checkpoint's hash")]
    Invalid,
    /// A text is not a proof in the form of C2SP tlog-proof.
    #[error("not a proof in the form c2sp.org/tlog-proof@v1")]
    Malformed,
}

/// Reads hashes of a tree of `size` leaves from its tiles.
struct FromTiles<F> {
    size: u64,
    tile: F,
}

impl<F: Fn(TileId) -> Option<Vec<u8>>> FromTiles<F> {
    fn hash(&self, place: u64) -> Option<Hash> {
        let least = Tile::from_index(TILE_HEIGHT, place);
        let id = TileId::of(self.size, least.level(), least.level_index())?;
        let bytes = (self.tile)(id).filter(|bytes| bytes.len() == id.bytes())?;
        let width = u32::from(id.width());
        let tile = Tile::new(TILE_HEIGHT, id.level(), id.index(), width, false);
        tile.hash_at_index(&bytes, place).ok()
    }
}

impl<F: Fn(TileId) -> Option<Vec<u8>>> HashReader for FromTiles<F> {
    fn read_hashes(&self, places: &[u64]) -> Result<Vec<Hash>, Error> {
        places
            .iter()
            .map(|place| self.hash(*place).ok_or(Error::InvalidTile))
            .collect()
    }
}

/// The hashes that lead from leaf `index` to the root of the tree of `size` leaves, whose
/// tiles `tile` reads. What the tiles say is not checked: [`check`] does that.
///
/// # Errors
/// When there is no such leaf or a tile cannot be used.
pub fn prove(
    size: u64,
    index: u64,
    tile: impl Fn(TileId) -> Option<Vec<u8>>,
) -> Result<Vec<Node>, ProofError> {
    if index >= size || size > LEAVES_MAX {
        return Err(ProofError::NoSuchLeaf);
    }
    let proof =
        prove_record(size, index, &FromTiles { size, tile }).map_err(|_| ProofError::Tiles)?;
    Ok(proof.into_iter().map(|hash| hash.0).collect())
}

/// Whether `hashes` lead from the leaf with hash `leaf` at `index` to `root`, the root of
/// the tree of `size` leaves.
///
/// # Errors
/// When they do not.
pub fn check(
    hashes: &[Node],
    size: u64,
    index: u64,
    root: Node,
    leaf: Node,
) -> Result<(), ProofError> {
    if index >= size || size > LEAVES_MAX {
        return Err(ProofError::NoSuchLeaf);
    }
    let proof = hashes.iter().copied().map(Hash).collect();
    check_record(&proof, size, Hash(root), index, Hash(leaf)).map_err(|_| ProofError::Invalid)
}

/// A proof that stands alone: what it proves, where in the log that is, the hashes up to
/// the root, and the signed checkpoint that holds the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogProof {
    /// What the application adds; here the canonical bytes of the row.
    pub extra: Vec<u8>,
    /// Number of the leaf.
    pub index: u64,
    /// From the leaf's sibling to the root's child.
    pub hashes: Vec<Node>,
    /// The signed checkpoint, as it is.
    pub checkpoint: String,
}

impl fmt::Display for LogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FORM}\nextra {}", STANDARD.encode(&self.extra))?;
        writeln!(f, "index {}", self.index)?;
        for hash in &self.hashes {
            writeln!(f, "{}", STANDARD.encode(hash))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for LogProof {
    type Err = ProofError;

    fn from_str(text: &str) -> Result<Self, ProofError> {
        read(text).ok_or(ProofError::Malformed)
    }
}

fn read(text: &str) -> Option<LogProof> {
    let (head, checkpoint) = text.split_once("\n\n")?;
    let mut lines = head.split('\n');
    (lines.next()? == FORM).then_some(())?;
    let mut line = lines.next()?;
    let mut extra = Vec::new();
    if let Some(encoded) = line.strip_prefix("extra ") {
        extra = STANDARD.decode(encoded).ok()?;
        line = lines.next()?;
    }
    let digits = line.strip_prefix("index ")?;
    let index: u64 = digits.parse().ok()?;
    let hashes: Vec<Node> = lines
        .map(|line| STANDARD.decode(line).ok()?.try_into().ok())
        .collect::<Option<_>>()?;
    let fits = index.to_string() == digits && hashes.len() <= HASHES_MAX;
    fits.then(|| LogProof {
        extra,
        index,
        hashes,
        checkpoint: checkpoint.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::{Edge, Tree, leaf_hash};
    use super::*;

    fn leaf(index: u64) -> Node {
        leaf_hash(&index.to_be_bytes())
    }

    fn grown(leaves: u64) -> (Node, BTreeMap<TileId, Vec<u8>>) {
        let (mut edge, mut tree, mut tiles) = (Edge::default(), Tree::default(), BTreeMap::new());
        for index in 0..leaves {
            tree.push(leaf(index));
            edge.push(leaf(index), |tile, bytes| {
                tiles.insert(tile, bytes);
            });
        }
        tiles.extend(edge.tiles());
        (tree.root(), tiles)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

        #[test]
        fn every_leaf_has_a_proof_and_no_other_leaf_fits_it(
            size in 1_u64..1_500,
            at in any::<prop::sample::Index>(),
        ) {
            let (root, tiles) = grown(size);
            let index = u64::try_from(at.index(usize::try_from(size).unwrap())).unwrap();
            let hashes = prove(size, index, |tile| tiles.get(&tile).cloned()).unwrap();
            check(&hashes, size, index, root, leaf(index)).unwrap();
            for bad in [
                check(&hashes, size, index, root, leaf(size)),
                check(&hashes, size, index, leaf(0).map(|byte| !byte), leaf(index)),
                check(&[hashes.as_slice(), &[root]].concat(), size, index, root, leaf(index)),
            ] {
                prop_assert_eq!(bad, Err(ProofError::Invalid));
            }
        }
    }

    #[test]
    fn what_the_library_would_panic_at_is_refused_before() {
        let nothing = |_: TileId| None;
        for (size, index) in [(0, 0), (5, 5), (u64::MAX, 1), (LEAVES_MAX + 1, 0)] {
            assert_eq!(prove(size, index, nothing), Err(ProofError::NoSuchLeaf));
            let checked = check(&[], size, index, [0; 32], [0; 32]);
            assert_eq!(checked, Err(ProofError::NoSuchLeaf));
        }
        assert_eq!(prove(5, 2, nothing), Err(ProofError::Tiles));
        assert_eq!(prove(5, 2, |_| Some(vec![0; 31])), Err(ProofError::Tiles));
        let deep = vec![[0; 32]; 70];
        assert!(check(&deep, LEAVES_MAX, 3, [0; 32], [0; 32]).is_err());
    }

    #[test]
    fn the_file_form_reads_back_and_nothing_else_is_one() {
        let proof = LogProof {
            extra: b"{\"a\":1}".to_vec(),
            index: 7,
            hashes: vec![[1; 32], [2; 32]],
            checkpoint: "origin\n9\nroot\n\n\u{2014} origin sig\n".to_owned(),
        };
        let text = proof.to_string();
        assert_eq!(text.parse::<LogProof>(), Ok(proof.clone()));
        let bare = text.replace("extra eyJhIjoxfQ==\n", "");
        assert_eq!(
            bare.parse::<LogProof>().map(|proof| proof.extra),
            Ok(Vec::new())
        );
        for (from, to) in [
            ("@v1", "@v2"),
            ("index 7", "index 07"),
            ("index 7", "index +7"),
            ("index 7\n", ""),
            ("eyJh", "!!!!"),
            ("AQEBAQEB", "AQEB"),
        ] {
            let other = text.replacen(from, to, 1);
            assert_eq!(
                other.parse::<LogProof>(),
                Err(ProofError::Malformed),
                "{to}"
            );
        }
        let many = LogProof {
            hashes: vec![[1; 32]; HASHES_MAX + 1],
            ..proof
        };
        assert!(many.to_string().parse::<LogProof>().is_err());
    }
}
