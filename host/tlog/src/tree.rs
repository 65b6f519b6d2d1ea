//! The right edge of a growing tree: all that appending needs.

use thiserror::Error;

use crate::MAX_SIZE;
use crate::hash::{EMPTY_ROOT, Hash, fold, join};
use crate::tile::{Kind, LEVEL_BITS, TILE_WIDTH, Tile, hashes_at, open_tile};

/// Levels of tiles that a tree of `MAX_SIZE` leaves has.
const LEVELS: u8 = (u64::BITS / LEVEL_BITS) as u8;

#[derive(Debug, Error, Eq, PartialEq)]
pub enum TreeError {
    #[error("a tree of {0} leaves; at most {MAX_SIZE} are supported")]
    Size(u64),
    #[error("{0} is missing")]
    Missing(Tile),
    #[error("{tile} has {found} bytes, not {expected}")]
    Length {
        tile: Tile,
        expected: usize,
        found: usize,
    },
    #[error("the tiles are of another tree than the root")]
    Root,
}

/// A tree of leaves, of which the open tiles are kept: at most 255 hashes for each level.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    size: u64,
    /// For each level the hashes that are not in a full tile yet.
    open: Vec<Vec<Hash>>,
}

impl Tree {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf; calls `full` for each tile of hashes that became full (level 0 first), with its
    /// 8,192 bytes.
    pub fn append(&mut self, leaf: Hash, full: &mut dyn FnMut(Tile, &[u8])) {
        self.size = self.size.saturating_add(1);
        let mut hash = leaf;
        for level in 0..LEVELS {
            let at = usize::from(level);
            if self.open.len() <= at {
                self.open.push(Vec::with_capacity(usize::from(TILE_WIDTH)));
            }
            let Some(open) = self.open.get_mut(at) else {
                return;
            };
            open.push(hash);
            if open.len() < usize::from(TILE_WIDTH) {
                return;
            }
            let tile = Tile {
                kind: Kind::Level(level),
                index: hashes_at(self.size, level + 1).saturating_sub(1),
                width: TILE_WIDTH,
            };
            full(tile, open.as_flattened());
            hash = fold(open);
            open.clear();
        }
    }

    pub fn root(&self) -> Hash {
        let peaks = self.open.iter().rev().flat_map(|open| peaks(open));
        let peaks: Vec<Hash> = peaks.collect();
        join(peaks.into_iter()).unwrap_or(EMPTY_ROOT)
    }

    /// The open tiles of hashes, the lowest level first.
    pub fn partial(&self) -> impl Iterator<Item = (Tile, Vec<u8>)> {
        (0..LEVELS).zip(&self.open).filter_map(|(level, open)| {
            let tile = open_tile(Kind::Level(level), hashes_at(self.size, level))?;
            Some((tile, open.as_flattened().to_vec()))
        })
    }

    /// Goes on from what `partial` gave at that size. That no tile is missing and each has its length is
    /// all that the tiles themselves can tell: compare [`Tree::root`] with the root that was signed, or
    /// use [`Tree::restore_to`].
    pub fn restore(
        size: u64,
        mut tile: impl FnMut(Tile) -> Option<Vec<u8>>,
    ) -> Result<Tree, TreeError> {
        if size > MAX_SIZE {
            return Err(TreeError::Size(size));
        }
        let mut open = Vec::new();
        for level in 0..LEVELS {
            let count = hashes_at(size, level);
            if count == 0 {
                break;
            }
            let mut hashes = Vec::with_capacity(usize::from(TILE_WIDTH));
            if let Some(which) = open_tile(Kind::Level(level), count) {
                let bytes = tile(which).ok_or(TreeError::Missing(which))?;
                let (whole, rest) = bytes.as_chunks();
                if whole.len() != usize::from(which.width) || !rest.is_empty() {
                    return Err(TreeError::Length {
                        tile: which,
                        expected: usize::from(which.width) * size_of::<Hash>(),
                        found: bytes.len(),
                    });
                }
                hashes.extend_from_slice(whole);
            }
            open.push(hashes);
        }
        Ok(Tree { size, open })
    }

    /// The same, if it leads to this root.
    pub fn restore_to(
        size: u64,
        root: &Hash,
        tile: impl FnMut(Tile) -> Option<Vec<u8>>,
    ) -> Result<Tree, TreeError> {
        let tree = Self::restore(size, tile)?;
        match tree.root() == *root {
            true => Ok(tree),
            false => Err(TreeError::Root),
        }
    }
}

/// The perfect trees that hashes beside one another make, the largest first.
fn peaks(hashes: &[Hash]) -> impl Iterator<Item = Hash> {
    let mut rest = hashes;
    std::iter::from_fn(move || {
        let height = rest.len().checked_ilog2()?;
        let (peak, after) = rest.split_at_checked(1 << height)?;
        rest = after;
        Some(fold(peak))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{grow, leaf, naive_root};
    use crate::tile::tiles_of;

    #[test]
    fn roots_are_those_of_the_rfc() {
        let mut tree = Tree::new();
        let mut leaves = Vec::new();
        assert_eq!(tree.root(), EMPTY_ROOT);
        for i in 0..=600 {
            assert_eq!(tree.size(), i);
            assert_eq!(tree.root(), naive_root(&leaves), "{i}");
            leaves.push(leaf(i));
            tree.append(leaf(i), &mut |_, _| ());
        }
    }

    #[test]
    fn roots_around_two_levels_are_those_of_the_rfc() {
        let leaves: Vec<Hash> = (0..65_800).map(leaf).collect();
        let mut tree = Tree::new();
        let mut checked = 0;
        for (i, hash) in leaves.iter().enumerate() {
            if [65_535, 65_536, 65_537, 65_791, 65_792, 65_793].contains(&i) {
                assert_eq!(tree.root(), naive_root(&leaves[..i]), "{i}");
                checked += 1;
            }
            tree.append(*hash, &mut |_, _| ());
        }
        assert_eq!(checked, 6);
    }

    #[test]
    fn a_tree_yields_each_of_its_tiles() {
        for size in [0, 1, 2, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537] {
            let (tree, tiles) = grow(size);
            let expected: Vec<Tile> = tiles_of(size).filter(|t| t.kind != Kind::Entries).collect();
            let mut found: Vec<Tile> = tiles.keys().copied().collect();
            found.sort();
            assert_eq!(found, expected, "{size}");
            assert_eq!(
                tree.partial().count(),
                expected.iter().filter(|t| !t.is_full()).count()
            );
            for (tile, bytes) in &tiles {
                assert_eq!(bytes.len(), usize::from(tile.width) * 32);
            }
            // A hash above is the root of the full tile below.
            for (tile, bytes) in &tiles {
                let Kind::Level(level @ 1..) = tile.kind else {
                    continue;
                };
                for (i, hash) in (0u64..).zip(bytes.as_chunks::<32>().0) {
                    let below = Tile {
                        kind: Kind::Level(level - 1),
                        index: tile.index * 256 + i,
                        width: 256,
                    };
                    assert_eq!(naive_root(tiles[&below].as_chunks().0), *hash);
                }
            }
        }
    }

    #[test]
    fn full_tiles_come_lowest_level_first() {
        let mut tree = Tree::new();
        let mut order = Vec::new();
        for i in 0..65_536 {
            tree.append(leaf(i), &mut |tile, bytes| {
                assert_eq!(bytes.len(), 8_192);
                order.push(tile.path());
            });
        }
        assert_eq!(order.len(), 257);
        assert_eq!(order[255..], ["tile/0/255", "tile/1/000"]);
    }

    #[test]
    fn a_restored_tree_goes_on_as_the_old_one() {
        for size in [0, 1, 255, 256, 257, 600, 65_535, 65_536, 66_000] {
            let (mut tree, tiles) = grow(size);
            let open: Vec<_> = tree.partial().collect();
            let mut asked = Vec::new();
            let mut again = Tree::restore_to(size, &tree.root(), |tile| {
                asked.push(tile);
                tiles.get(&tile).cloned()
            })
            .unwrap();
            assert_eq!(asked, open.iter().map(|(t, _)| *t).collect::<Vec<_>>());
            assert_eq!(again.partial().collect::<Vec<_>>(), open);
            for i in size..size + 300 {
                let mut seen: [Vec<(Tile, Vec<u8>)>; 2] = Default::default();
                tree.append(leaf(i), &mut |t, b| seen[0].push((t, b.to_vec())));
                again.append(leaf(i), &mut |t, b| seen[1].push((t, b.to_vec())));
                assert_eq!(seen[0], seen[1]);
            }
            assert_eq!(again.root(), tree.root(), "{size}");
            assert_eq!(again.size(), size + 300);
        }
    }

    #[test]
    fn a_tree_is_not_restored_from_what_does_not_fit() {
        let (tree, tiles) = grow(700);
        let root = tree.root();
        for (tile, bytes) in tree.partial() {
            let with = |change: Option<Vec<u8>>| {
                Tree::restore_to(700, &root, |t| match t == tile {
                    true => change.clone(),
                    false => tiles.get(&t).cloned(),
                })
            };
            assert_eq!(with(None).unwrap_err(), TreeError::Missing(tile));
            for length in (0..bytes.len()).chain([bytes.len() + 1, bytes.len() + 32]) {
                let mut other = bytes.clone();
                other.resize(length, 0);
                let error = with(Some(other)).unwrap_err();
                assert!(matches!(error, TreeError::Length { .. }), "{length}");
            }
            for at in 0..bytes.len() {
                let mut other = bytes.clone();
                other[at] ^= 1;
                assert_eq!(with(Some(other)).unwrap_err(), TreeError::Root);
            }
            with(Some(bytes)).unwrap();
        }
        assert!(Tree::restore_to(701, &root, |t| tiles.get(&t).cloned()).is_err());
        assert_eq!(
            Tree::restore(u64::MAX, |_| None).unwrap_err(),
            TreeError::Size(u64::MAX)
        );
    }

    #[test]
    fn the_largest_tree_can_be_restored_and_appended_to() {
        let some = |tile: Tile| Some(vec![1; usize::from(tile.width) * 32]);
        let mut tree = Tree::restore(MAX_SIZE, some).unwrap();
        tree.root();
        assert_eq!(tree.partial().count(), 8);
        for i in 0..300 {
            tree.append(leaf(i), &mut |_, _| ());
        }
    }
}
