//! Inclusion of each record of one epoch in the RFC 6962 tree over all of them, in the form
//! of the agent audit trail draft.

use serde_json::{Value, json};

use crate::merkle::{Node, node_hash};

/// The tree over a whole epoch. Every level is held: a proof is needed for every leaf, and
/// the number of leaves is bounded by whoever builds it.
#[derive(Debug, Clone)]
pub struct Inclusion {
    /// The leaves first, the root last.
    levels: Vec<Vec<Node>>,
}

impl Inclusion {
    /// The tree over these leaves.
    #[must_use]
    pub fn of(leaves: Vec<Node>) -> Self {
        let mut levels = vec![leaves];
        while let Some(below) = levels.last().filter(|level| level.len() > 1) {
            let above = below.chunks(2).filter_map(|pair| match pair {
                [left, right] => Some(node_hash(left, right)),
                // An odd node moves up as it is: that is the tree of RFC 6962.
                [alone] => Some(*alone),
                _ => None,
            });
            let above = above.collect();
            levels.push(above);
        }
        Self { levels }
    }

    /// How many leaves there are.
    #[must_use]
    pub fn size(&self) -> usize {
        self.levels.first().map_or(0, Vec::len)
    }

    /// The root; `None` where there is no leaf.
    #[must_use]
    pub fn root(&self) -> Option<Node> {
        self.levels.last()?.first().copied()
    }

    /// The `batch` of the record at this place, counted from 0.
    #[must_use]
    pub fn batch(&self, epoch: &str, place: usize) -> Option<Value> {
        Some(json!({
            "epoch_id": epoch,
            "tree_size": self.size(),
            "leaf_index": (place < self.size()).then_some(place)?,
            "merkle_root": hex(&self.root()?),
            "inclusion_proof": self.proof(place),
        }))
    }

    /// What leads from a leaf to the root, the lowest first.
    fn proof(&self, place: usize) -> Vec<Value> {
        let mut at = place;
        let mut steps = Vec::new();
        for level in &self.levels {
            let (beside, side) = match at % 2 {
                0 => (at.saturating_add(1), "right"),
                _ => (at.saturating_sub(1), "left"),
            };
            if let Some(node) = level.get(beside) {
                steps.push(json!({"hash": hex(node), "side": side}));
            }
            at /= 2;
        }
        steps
    }
}

fn hex(node: &Node) -> String {
    data_encoding::HEXLOWER.encode(node)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::{Tree, leaf_hash};

    fn leaf(n: usize) -> Node {
        leaf_hash(&n.to_be_bytes())
    }

    /// The root that a proof leads to, as the draft's verifier computes it.
    fn climb(mut hash: Node, batch: &Value) -> String {
        for step in batch["inclusion_proof"].as_array().unwrap() {
            let beside = step["hash"].as_str().unwrap();
            let beside: Node = data_encoding::HEXLOWER
                .decode(beside.as_bytes())
                .unwrap()
                .try_into()
                .unwrap();
            hash = match step["side"].as_str().unwrap() {
                "left" => node_hash(&beside, &hash),
                _ => node_hash(&hash, &beside),
            };
        }
        hex(&hash)
    }

    #[test]
    fn every_leaf_leads_to_the_root_of_the_tree() {
        for size in 1..40 {
            let mut tree = Tree::default();
            let leaves: Vec<Node> = (0..size).map(leaf).collect();
            for leaf in &leaves {
                tree.push(*leaf);
            }
            let all = Inclusion::of(leaves);
            assert_eq!(all.root(), Some(tree.root()), "{size}");
            for place in 0..size {
                let batch = all.batch("e", place).unwrap();
                assert_eq!(batch["tree_size"], size);
                assert_eq!(batch["merkle_root"], climb(leaf(place), &batch));
            }
            assert_eq!(all.batch("e", size), None);
        }
        assert_eq!(Inclusion::of(Vec::new()).root(), None);
    }
}
