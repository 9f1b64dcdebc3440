//! The hash tree over the rows of the archive, as RFC 6962 §2.1 defines it, its tiles,
//! proofs and signed checkpoints in the forms of C2SP. The libraries for those are used
//! nowhere else.

mod checkpoint;
mod proof;
mod tiles;

pub use checkpoint::{CHECKPOINT_BYTES_MAX, Checkpoint, CheckpointError, verifier_key};
pub use proof::{LogProof, ProofError, check, prove};
pub use tiles::{Edge, TILE_WIDTH, TileId};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A hash of the tree.
pub type Node = [u8; 32];

/// Hash of a leaf with these contents: SHA-256 over a zero byte and them.
#[must_use]
pub fn leaf_hash(data: &[u8]) -> Node {
    let mut hash = Sha256::new();
    hash.update([0]);
    hash.update(data);
    hash.finalize().into()
}

/// Hash of the node over two others: SHA-256 over a one byte and both.
#[must_use]
pub fn node_hash(left: &Node, right: &Node) -> Node {
    let mut hash = Sha256::new();
    hash.update([1]);
    hash.update(left);
    hash.update(right);
    hash.finalize().into()
}

/// A tree as far as it must be known to append to it: its size, and the roots of the
/// perfect subtrees that it consists of, the largest first. At most 64 hashes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Tree {
    size: u64,
    edge: Vec<Node>,
}

/// A tree as the manifest holds it.
#[derive(Clone, Serialize, Deserialize)]
struct Written {
    /// The hashes of the edge one after another, base64url.
    edge: String,
    size: u64,
}

/// What was written is no tree: its size and its hashes do not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the tree's size and its hashes do not fit")]
pub struct TreeError;

impl Tree {
    /// A tree of this size with this edge.
    ///
    /// # Errors
    /// When a tree of that size has another number of hashes at its edge.
    pub fn from_parts(size: u64, edge: Vec<Node>) -> Result<Self, TreeError> {
        if usize::try_from(size.count_ones()) == Ok(edge.len()) {
            Ok(Self { size, edge })
        } else {
            Err(TreeError)
        }
    }

    /// How many leaves it has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The roots of its perfect subtrees, the largest first.
    #[must_use]
    pub fn edge(&self) -> &[Node] {
        &self.edge
    }

    /// Appends a leaf by its hash.
    pub fn push(&mut self, leaf: Node) {
        let mut node = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.edge.pop() {
                node = node_hash(&left, &node);
            }
        }
        self.edge.push(node);
        self.size = self.size.saturating_add(1);
    }

    /// The hash that stands for the whole tree.
    #[must_use]
    pub fn root(&self) -> Node {
        let mut hashes = self.edge.iter().rev();
        match hashes.next() {
            None => Sha256::digest([]).into(),
            Some(last) => hashes.fold(*last, |right, left| node_hash(left, &right)),
        }
    }
}

impl TryFrom<Written> for Tree {
    type Error = TreeError;

    fn try_from(written: Written) -> Result<Self, TreeError> {
        let bytes = URL_SAFE_NO_PAD
            .decode(&written.edge)
            .map_err(|_| TreeError)?;
        let (nodes, rest) = bytes.as_chunks::<32>();
        if !rest.is_empty() {
            return Err(TreeError);
        }
        Self::from_parts(written.size, nodes.to_vec())
    }
}

impl From<Tree> for Written {
    fn from(tree: Tree) -> Self {
        Self {
            edge: URL_SAFE_NO_PAD.encode(tree.edge.concat()),
            size: tree.size,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition of RFC 6962 §2.1, word by word.
    fn defined(leaves: &[Vec<u8>]) -> Node {
        match leaves {
            [] => Sha256::digest([]).into(),
            [one] => leaf_hash(one),
            more => {
                let half = more.len().next_power_of_two() / 2;
                let (left, right) = more.split_at(half);
                node_hash(&defined(left), &defined(right))
            }
        }
    }

    fn grown(leaves: &[Vec<u8>]) -> Tree {
        let mut tree = Tree::default();
        for leaf in leaves {
            tree.push(leaf_hash(leaf));
        }
        tree
    }

    #[test]
    fn the_published_vectors_of_certificate_transparency_hold() {
        // certificate-transparency/cpp/merkletree/merkle_tree_test.cc, as in RFC 6962
        // implementations everywhere: eight leaves and the root after each.
        let leaves = [
            "",
            "00",
            "10",
            "2021",
            "3031",
            "40414243",
            "5051525354555657",
            "606162636465666768696a6b6c6d6e6f",
        ];
        let roots = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let mut tree = Tree::default();
        for (leaf, root) in leaves.into_iter().zip(roots) {
            let data = data_encoding::HEXLOWER.decode(leaf.as_bytes()).unwrap();
            tree.push(leaf_hash(&data));
            assert_eq!(data_encoding::HEXLOWER.encode(&tree.root()), root);
        }
    }

    #[test]
    fn what_is_no_tree_is_refused() {
        let mut tree = grown(&[vec![1], vec![2], vec![3]]);
        let text = serde_json::to_string(&tree).unwrap();
        assert_eq!(serde_json::from_str::<Tree>(&text).unwrap(), tree);
        for (from, to) in [
            ("\"size\":3", "\"size\":4"),
            ("\"edge\":\"", "\"edge\":\"A"),
        ] {
            assert!(serde_json::from_str::<Tree>(&text.replace(from, to)).is_err());
        }
        tree.edge.pop();
        assert_eq!(Tree::from_parts(3, tree.edge), Err(TreeError));
    }

    proptest! {
        #[test]
        fn growing_gives_the_defined_root(
            leaves in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..4), 0..70)
        ) {
            let tree = grown(&leaves);
            prop_assert_eq!(tree.root(), defined(&leaves));
            let text = serde_json::to_string(&tree).unwrap();
            prop_assert_eq!(serde_json::from_str::<Tree>(&text).unwrap(), tree);
        }
    }
}
