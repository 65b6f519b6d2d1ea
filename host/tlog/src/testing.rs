//! What the tests of this crate share: a tree computed as the RFC defines it, logs in memory, and
//! numbers that look random and are the same in every run.

use crate::hash::{EMPTY_ROOT, Hash, leaf_hash, node_hash};
use crate::proof::TileMap;
use crate::tree::Tree;

/// MTH of RFC 6962, 2.1, by its definition.
pub fn naive_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => EMPTY_ROOT,
        [one] => *one,
        more => {
            let mut k = 1;
            while k * 2 < more.len() {
                k *= 2;
            }
            node_hash(&naive_root(&more[..k]), &naive_root(&more[k..]))
        }
    }
}

/// The entry at an index, in every log of the tests.
pub fn entry(index: u64) -> Vec<u8> {
    format!("entry {index}").into_bytes()
}

pub fn leaf(index: u64) -> Hash {
    leaf_hash(&entry(index))
}

/// A tree of this size, and its tiles of hashes.
pub fn grow(size: u64) -> (Tree, TileMap) {
    let mut tree = Tree::new();
    let mut tiles = TileMap::new();
    for index in 0..size {
        tree.append(leaf(index), &mut |tile, bytes| {
            tiles.insert(tile, bytes.to_vec());
        });
    }
    tiles.extend(tree.partial());
    (tree, tiles)
}

/// splitmix64
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit).unwrap()).unwrap()
    }

    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next().to_le_bytes()[0]).collect()
    }

    /// `bytes` with a few changes, insertions and deletions.
    pub fn mutated(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = bytes.to_vec();
        for _ in 0..=self.below(3) {
            if out.is_empty() {
                break;
            }
            let at = self.below(out.len());
            match self.below(4) {
                0 => out[at] = self.next().to_le_bytes()[0],
                1 => out[at] ^= 1 << self.below(8),
                2 => drop(out.remove(at)),
                _ => out.insert(at, b"\n +0=A\xe2\x80"[self.below(8)]),
            }
        }
        out
    }
}
