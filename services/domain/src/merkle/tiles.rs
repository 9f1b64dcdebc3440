//! The tree cut into tiles, as C2SP tlog-tiles stores it: each holds up to 256 hashes of
//! one level in eight, so that any proof needs few small files that never change.

use super::{Node, Tree, node_hash};

/// Hashes of a full tile.
const WIDTH: usize = 256;
/// As many, counted as leaves are.
pub const TILE_WIDTH: u64 = WIDTH as u64;
/// Levels of the tree that one level of tiles covers.
const HEIGHT: u32 = 8;
/// Levels of tiles of the largest tree.
const LEVELS_MAX: u8 = 7;
/// Most leaves of a tree: more than any archive will hold, and few enough that no place
/// in the tree overflows in the library's arithmetic.
pub(super) const LEAVES_MAX: u64 = 1 << 56;

/// Which tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TileId {
    level: u8,
    index: u64,
    width: u16,
}

impl TileId {
    /// The tile at this place in a tree of `size` leaves; `None` if there is none.
    #[must_use]
    pub fn of(size: u64, level: u8, index: u64) -> Option<Self> {
        let hashes = hashes_at(size, level);
        let before = index.checked_mul(TILE_WIDTH)?;
        let left = hashes.checked_sub(before).filter(|left| *left > 0)?;
        let width = u16::try_from(left.min(TILE_WIDTH)).ok()?;
        Some(Self {
            level,
            index,
            width,
        })
    }

    /// Level of tiles, 0 for the leaves.
    #[must_use]
    pub fn level(self) -> u8 {
        self.level
    }

    /// Number of the tile in its level.
    #[must_use]
    pub fn index(self) -> u64 {
        self.index
    }

    /// How many hashes it holds, 1 to 256.
    #[must_use]
    pub fn width(self) -> u16 {
        self.width
    }

    /// Whether it holds all that it ever will.
    #[must_use]
    pub fn is_full(self) -> bool {
        usize::from(self.width) == WIDTH
    }

    /// Its size in bytes.
    #[must_use]
    pub fn bytes(self) -> usize {
        usize::from(self.width).saturating_mul(32)
    }

    /// Its place relative to the log's root: `tile/<level>/<index>`, the index three digits
    /// at a time, and `.p/<width>` while it is not full.
    #[must_use]
    pub fn path(self) -> String {
        let full = self.full_path();
        if self.is_full() {
            full
        } else {
            format!("{full}.p/{}", self.width)
        }
    }

    /// The place of the same tile once it is full.
    #[must_use]
    pub fn full_path(self) -> String {
        let (mut rest, mut name) = (self.index / 1_000, format!("{:03}", self.index % 1_000));
        while rest > 0 {
            name = format!("x{:03}/{name}", rest % 1_000);
            rest /= 1_000;
        }
        format!("tile/{}/{name}", self.level)
    }

    /// The directory of what it was before it was full.
    #[must_use]
    pub fn partial_dir(self) -> String {
        format!("{}.p", self.full_path())
    }
}

/// How many hashes a tree of `size` leaves has at this level of tiles.
fn hashes_at(size: u64, level: u8) -> u64 {
    size.checked_shr(HEIGHT.saturating_mul(u32::from(level)))
        .unwrap_or(0)
}

/// The unfinished tiles of a tree, one in each level: all that is needed to append.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edge {
    size: u64,
    /// The hashes of each level's unfinished tile, the leaves first.
    levels: Vec<Vec<Node>>,
}

impl Edge {
    /// The edge of a tree of `size` leaves, from its tiles; `None` if one of them has
    /// another size.
    ///
    /// # Errors
    /// Whatever `read` fails with.
    pub fn read<E>(
        size: u64,
        mut read: impl FnMut(TileId) -> Result<Vec<u8>, E>,
    ) -> Result<Option<Self>, E> {
        let mut levels = Vec::new();
        for tile in Self::tiles_of(size) {
            let mut hashes = Vec::new();
            if let Some(tile) = tile {
                let bytes = read(tile)?;
                let (nodes, rest) = bytes.as_chunks::<32>();
                if !rest.is_empty() || nodes.len() != usize::from(tile.width) {
                    return Ok(None);
                }
                hashes.extend_from_slice(nodes);
            }
            levels.push(hashes);
        }
        Ok(Some(Self { size, levels }))
    }

    /// The unfinished tile of each level of a tree of `size` leaves, where there is one.
    fn tiles_of(size: u64) -> impl Iterator<Item = Option<TileId>> {
        (0..=LEVELS_MAX)
            .take_while(move |level| hashes_at(size, *level) > 0)
            .map(move |level| TileId::of(size, level, hashes_at(size, level) / TILE_WIDTH))
    }

    /// How many leaves the tree has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf by its hash. Every tile that it makes full goes to `full`.
    pub fn push(&mut self, leaf: Node, mut full: impl FnMut(TileId, Vec<u8>)) {
        self.size = self.size.saturating_add(1);
        let mut node = leaf;
        for level in 0..=LEVELS_MAX {
            let at = usize::from(level);
            if self.levels.len() <= at {
                self.levels.push(Vec::with_capacity(WIDTH));
            }
            let Some(hashes) = self.levels.get_mut(at) else {
                return;
            };
            hashes.push(node);
            if hashes.len() < WIDTH {
                return;
            }
            let index = (hashes_at(self.size, level) / TILE_WIDTH).saturating_sub(1);
            if let Some(tile) = TileId::of(self.size, level, index) {
                full(tile, hashes.concat());
            }
            let Some(root) = perfect_root(hashes) else {
                return;
            };
            hashes.clear();
            node = root;
        }
    }

    /// The unfinished tiles and their contents.
    pub fn tiles(&self) -> impl Iterator<Item = (TileId, Vec<u8>)> {
        Self::tiles_of(self.size)
            .zip(&self.levels)
            .filter_map(|(tile, hashes)| Some((tile?, hashes.concat())))
    }

    /// The tree that has this edge; `None` if these are not the hashes of any.
    #[must_use]
    pub fn tree(&self) -> Option<Tree> {
        let mut nodes = Vec::new();
        for hashes in self.levels.iter().rev() {
            let mut rest = hashes.as_slice();
            while !rest.is_empty() {
                let size = 1_usize.checked_shl(rest.len().ilog2())?;
                let (perfect, after) = rest.split_at_checked(size)?;
                nodes.push(perfect_root(perfect)?);
                rest = after;
            }
        }
        Tree::from_parts(self.size, nodes).ok()
    }
}

/// The root over hashes whose number is a power of two.
fn perfect_root(hashes: &[Node]) -> Option<Node> {
    let mut level = hashes.to_vec();
    while level.len() > 1 {
        let (pairs, rest) = level.as_chunks::<2>();
        if !rest.is_empty() {
            return None;
        }
        level = pairs
            .iter()
            .map(|[left, right]| node_hash(left, right))
            .collect();
    }
    level.first().copied()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::leaf_hash;
    use super::*;

    fn grown(leaves: u64) -> (Edge, Tree, BTreeMap<String, Vec<u8>>) {
        let (mut edge, mut tree, mut files) = (Edge::default(), Tree::default(), BTreeMap::new());
        for leaf in 0..leaves {
            let hash = leaf_hash(&leaf.to_be_bytes());
            tree.push(hash);
            edge.push(hash, |tile, bytes| {
                assert!(tile.is_full() && files.insert(tile.path(), bytes).is_none());
            });
        }
        files.extend(edge.tiles().map(|(tile, bytes)| (tile.path(), bytes)));
        (edge, tree, files)
    }

    #[test]
    fn tiles_lie_where_the_specification_puts_them() {
        let tile = |size, level, index| TileId::of(size, level, index).map(TileId::path);
        assert_eq!(tile(5, 0, 0).unwrap(), "tile/0/000.p/5");
        assert_eq!(tile(70_000, 0, 272).unwrap(), "tile/0/272");
        assert_eq!(tile(70_000, 0, 273).unwrap(), "tile/0/273.p/112");
        assert_eq!(tile(70_000, 1, 1).unwrap(), "tile/1/001.p/17");
        assert_eq!(tile(70_000, 2, 0).unwrap(), "tile/2/000.p/1");
        let far = 1_234_067 * 256 + 256;
        assert_eq!(tile(far, 0, 1_234_067).unwrap(), "tile/0/x001/x234/067");
        for none in [
            tile(0, 0, 0),
            tile(256, 0, 1),
            tile(255, 1, 0),
            tile(9, 9, 0),
        ] {
            assert_eq!(none, None);
        }
    }

    #[test]
    fn the_tiles_of_a_large_tree_are_all_there() {
        let (edge, tree, files) = grown(70_000);
        let counted = |level: &str| {
            let level = format!("tile/{level}/");
            files.keys().filter(|path| path.starts_with(&level)).count()
        };
        assert_eq!([counted("0"), counted("1"), counted("2")], [274, 2, 1]);
        assert_eq!(edge.tree(), Some(tree));
        assert_eq!(files["tile/2/000.p/1"].len(), 32);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

        #[test]
        fn an_edge_reads_back_from_its_tiles_and_gives_the_tree(leaves in 0_u64..1_500) {
            let (edge, tree, files) = grown(leaves);
            prop_assert_eq!(edge.tree(), Some(tree));
            let again = Edge::read(leaves, |tile| {
                files.get(&tile.path()).cloned().ok_or(tile)
            });
            // A level that ends with a full tile has no unfinished one.
            prop_assert_eq!(again.unwrap().unwrap(), edge);
        }
    }
}
