//! Proofs that an entry is in a tree and that a tree goes on from an older one: made out of tiles, and
//! checked (RFC 6962, 2.1.1 and 2.1.2; RFC 9162, 2.1.3 and 2.1.4).
//!
//! Making one has two steps, so that tiles can be fetched however the caller likes: `…_tiles` says
//! which are needed, `…_proof` takes them. A tile may be wider than asked for: a log takes partial ones
//! away once they are full.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use thiserror::Error;

use crate::MAX_SIZE;
use crate::hash::{EMPTY_ROOT, Hash, fold, join, node_hash};
use crate::tile::{Kind, LEVEL_BITS, TILE_WIDTH, Tile, hashes_at};

/// The most hashes of an inclusion proof, one for each level of the largest tree, and the most that are
/// sent to a witness. That a tree goes on from another can take one more.
pub const MAX_PROOF: usize = 63;

/// Tiles that were fetched, under the names that they were asked for.
pub type TileMap = BTreeMap<Tile, Vec<u8>>;

#[derive(Debug, Error, Eq, PartialEq)]
pub enum ProofError {
    #[error("a tree of {0} leaves; at most {MAX_SIZE} are supported")]
    Size(u64),
    #[error("leaf {index} of a tree of {size}")]
    NoSuchLeaf { index: u64, size: u64 },
    #[error("a tree of {new} leaves is not newer than one of {old}")]
    Older { old: u64, new: u64 },
    #[error("{0} is missing")]
    Missing(Tile),
    #[error("{tile} has {found} bytes")]
    Length { tile: Tile, found: usize },
    #[error("the proof has {found} hashes, which is not what these sizes need")]
    Hashes { found: usize },
    #[error("it does not lead to the root")]
    Root,
    #[error("it does not lead to the root of the older tree")]
    OldRoot,
}

/// Which tiles the proof that a leaf is in a tree is made of.
pub fn inclusion_tiles(size: u64, index: u64) -> Result<Vec<Tile>, ProofError> {
    Ok(tiles(size, inclusion_path(size, index)?))
}

/// The proof that a leaf is in the tree with this root.
pub fn inclusion_proof(
    size: u64,
    index: u64,
    leaf: &Hash,
    root: &Hash,
    tiles: &TileMap,
) -> Result<Vec<Hash>, ProofError> {
    let proof = hashes(size, inclusion_path(size, index)?, tiles)?;
    check_inclusion(index, size, leaf, &proof, root)?;
    Ok(proof)
}

/// Which tiles the proof that a tree goes on from an older one is made of.
pub fn consistency_tiles(old: u64, size: u64) -> Result<Vec<Tile>, ProofError> {
    Ok(tiles(size, consistency_path(old, size)?))
}

/// The proof that the tree with this root goes on from the older one.
pub fn consistency_proof(
    old: u64,
    old_root: &Hash,
    size: u64,
    root: &Hash,
    tiles: &TileMap,
) -> Result<Vec<Hash>, ProofError> {
    let proof = hashes(size, consistency_path(old, size)?, tiles)?;
    check_consistency(old, old_root, size, root, &proof)?;
    Ok(proof)
}

/// Which tiles the root of a tree is made of.
pub fn root_tiles(size: u64) -> Result<Vec<Tile>, ProofError> {
    Ok(tiles(size, whole(size)?))
}

/// The root that these tiles lead to. Whether it is the right one, only a checkpoint can tell.
pub fn root_from_tiles(size: u64, tiles: &TileMap) -> Result<Hash, ProofError> {
    let hashes = hashes(size, whole(size)?, tiles)?;
    Ok(hashes.first().copied().unwrap_or(EMPTY_ROOT))
}

/// Is this leaf at this index of the tree with this root? RFC 9162, 2.1.3.2
pub fn check_inclusion(
    index: u64,
    size: u64,
    leaf: &Hash,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), ProofError> {
    let within = index < size;
    let Some(last) = size.checked_sub(1).filter(|_| within) else {
        return Err(ProofError::NoSuchLeaf { index, size });
    };
    let found = proof.len();
    let mut place = Place { node: index, last };
    let mut hash = *leaf;
    for sibling in proof {
        hash = match place.climb().ok_or(ProofError::Hashes { found })? {
            Side::Left => node_hash(sibling, &hash),
            Side::Right => node_hash(&hash, sibling),
        };
    }
    if place.last != 0 {
        return Err(ProofError::Hashes { found });
    }
    match hash == *root {
        true => Ok(()),
        false => Err(ProofError::Root),
    }
}

/// Does the tree with the new root begin with the one that has the old root? RFC 9162, 2.1.4.2
pub fn check_consistency(
    old: u64,
    old_root: &Hash,
    new: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    let found = proof.len();
    if old > new {
        return Err(ProofError::Older { old, new });
    }
    if old == 0 || old == new {
        // Everything goes on from nothing, and from itself. Here the roots say all.
        if old == 0 && *old_root != EMPTY_ROOT {
            return Err(ProofError::OldRoot);
        }
        if new == old && new_root != old_root {
            return Err(ProofError::Root);
        }
        return match proof {
            [] => Ok(()),
            _ => Err(ProofError::Hashes { found }),
        };
    }
    let mut place = Place {
        node: old - 1,
        last: new - 1,
    };
    place.skip(place.node.trailing_ones());
    // The old tree's root itself is the start if the old tree is perfect.
    let (start, rest) = match old.is_power_of_two() {
        true => (old_root, proof),
        false => proof.split_first().ok_or(ProofError::Hashes { found })?,
    };
    let (mut old_hash, mut new_hash) = (*start, *start);
    for sibling in rest {
        match place.climb().ok_or(ProofError::Hashes { found })? {
            Side::Left => {
                old_hash = node_hash(sibling, &old_hash);
                new_hash = node_hash(sibling, &new_hash);
            }
            Side::Right => new_hash = node_hash(&new_hash, sibling),
        }
    }
    if place.last != 0 {
        return Err(ProofError::Hashes { found });
    }
    if old_hash != *old_root {
        return Err(ProofError::OldRoot);
    }
    match new_hash == *new_root {
        true => Ok(()),
        false => Err(ProofError::Root),
    }
}

/// On which side of a node its sibling is.
enum Side {
    Left,
    Right,
}

/// A node on the way up: its number on its level, and that of the level's last node.
struct Place {
    node: u64,
    last: u64,
}

impl Place {
    /// One step up, past the levels where the node has no sibling; `None` at the root.
    fn climb(&mut self) -> Option<Side> {
        if self.last == 0 {
            return None;
        }
        let side = match self.node % 2 == 1 || self.node == self.last {
            true => {
                // At the right edge nodes without a sibling are their own parents.
                if self.node != 0 {
                    self.skip(self.node.trailing_zeros());
                }
                Side::Left
            }
            false => Side::Right,
        };
        self.skip(1);
        Some(side)
    }

    /// `levels` is below 64: it was counted in a number that is not made of ones alone, or of none.
    fn skip(&mut self, levels: u32) {
        self.node = self.node.checked_shr(levels).unwrap_or(0);
        self.last = self.last.checked_shr(levels).unwrap_or(0);
    }
}

// ---- which leaves the hashes of a proof stand for

/// PATH(index, D[size]), from the leaf's sibling up.
fn inclusion_path(size: u64, index: u64) -> Result<Vec<Range<u64>>, ProofError> {
    let mut at = whole_range(size)?;
    if index >= size {
        return Err(ProofError::NoSuchLeaf { index, size });
    }
    let mut path = Vec::new();
    while at.end - at.start > 1 {
        let (left, right) = halves(&at);
        let (inside, beside) = match index < left.end {
            true => (left, right),
            false => (right, left),
        };
        path.push(beside);
        at = inside;
    }
    path.reverse();
    Ok(path)
}

/// PROOF(old, D[size]), in its order.
fn consistency_path(old: u64, size: u64) -> Result<Vec<Range<u64>>, ProofError> {
    let mut at = whole_range(size)?;
    if old > size {
        return Err(ProofError::Older { old, new: size });
    }
    let mut path = Vec::new();
    if old == 0 {
        return Ok(path);
    }
    while at.end != old {
        let (left, right) = halves(&at);
        let (inside, beside) = match old <= left.end {
            true => (left, right),
            false => (right, left),
        };
        path.push(beside);
        at = inside;
    }
    // The old tree as a whole is known to whoever checks.
    if at.start != 0 {
        path.push(at);
    }
    path.reverse();
    Ok(path)
}

fn whole(size: u64) -> Result<Vec<Range<u64>>, ProofError> {
    let all = whole_range(size)?;
    Ok(vec![all]
        .into_iter()
        .filter(|all| !all.is_empty())
        .collect())
}

fn whole_range(size: u64) -> Result<Range<u64>, ProofError> {
    match size <= MAX_SIZE {
        true => Ok(0..size),
        false => Err(ProofError::Size(size)),
    }
}

/// Splits at the largest power of two that is smaller than the range.
fn halves(range: &Range<u64>) -> (Range<u64>, Range<u64>) {
    let leaves = range.end - range.start;
    let middle = range.start + leaves.div_ceil(2).next_power_of_two();
    (range.start..middle, middle..range.end)
}

// ---- where those hashes come from

/// The perfect tree over the leaves `index << height .. (index + 1) << height`.
struct Node {
    height: u32,
    index: u64,
}

/// The perfect trees that a range of a tree is made of, the largest first.
fn nodes(range: Range<u64>) -> impl Iterator<Item = Node> {
    let mut start = range.start;
    std::iter::from_fn(move || {
        let height = range.end.saturating_sub(start).checked_ilog2()?;
        let index = start >> height;
        start += 1 << height;
        Some(Node { height, index })
    })
}

impl Node {
    /// The tile whose hashes it is made of, and which of them.
    fn place(&self, size: u64) -> (Tile, Range<usize>) {
        let width = u64::from(TILE_WIDTH);
        // At most 63 / 8, and below 8: `height` is that of a tree of at most 2^63 leaves.
        let level = (self.height / LEVEL_BITS) as u8;
        let below = self.height % LEVEL_BITS;
        let first = self.index << below;
        let index = first / width;
        let open = hashes_at(size, level)
            .saturating_sub(index * width)
            .min(width);
        let tile = Tile {
            kind: Kind::Level(level),
            index,
            width: open as u16,
        };
        let offset = (first % width) as usize;
        (tile, offset..offset + (1 << below))
    }

    fn hash(&self, size: u64, tiles: &TileMap) -> Result<Hash, ProofError> {
        let (tile, hashes) = self.place(size);
        let bytes = tiles.get(&tile).ok_or(ProofError::Missing(tile))?;
        let (whole, rest) = bytes.as_chunks();
        let found = bytes.len();
        let enough = usize::from(tile.width)..=usize::from(TILE_WIDTH);
        if !enough.contains(&whole.len()) || !rest.is_empty() {
            return Err(ProofError::Length { tile, found });
        }
        let hashes = whole
            .get(hashes)
            .ok_or(ProofError::Length { tile, found })?;
        Ok(fold(hashes))
    }
}

fn tiles(size: u64, path: Vec<Range<u64>>) -> Vec<Tile> {
    let nodes = path.into_iter().flat_map(nodes);
    let tiles: BTreeSet<Tile> = nodes.map(|node| node.place(size).0).collect();
    tiles.into_iter().collect()
}

fn hashes(size: u64, path: Vec<Range<u64>>, tiles: &TileMap) -> Result<Vec<Hash>, ProofError> {
    let mut out = Vec::with_capacity(path.len());
    for range in path {
        let peaks = nodes(range).map(|node| node.hash(size, tiles));
        let peaks: Vec<Hash> = peaks.collect::<Result<_, _>>()?;
        out.extend(join(peaks.into_iter()));
    }
    Ok(out)
}

#[cfg(test)]
mod tests;
