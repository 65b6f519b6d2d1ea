//! Holds bundles against a checkpoint: entries give the hashes of their own tile, and one proof from
//! there to the root takes in every other hash of the tile.

use tlog::{Hash, Kind, ProofError, TILE_WIDTH, Tile, TileMap};

use crate::logs::LogFacts;

const BUNDLE: u64 = TILE_WIDTH as u64;

/// The tile of a bundle's hashes.
pub fn own_tile(bundle: Tile) -> Tile {
    Tile {
        kind: Kind::Level(0),
        ..bundle
    }
}

pub fn hashes<'e>(entries: impl Iterator<Item = &'e [u8]>) -> Vec<u8> {
    entries.flat_map(tlog::leaf_hash).collect()
}

/// Whether these entries are that bundle of the log. `tiles` has the other tiles, and gets the bundle's
/// own for as long as it takes.
pub fn bundle(
    log: &LogFacts,
    bundle: Tile,
    entries: &[&[u8]],
    tiles: &mut TileMap,
) -> Result<(), ProofError> {
    let own = own_tile(bundle);
    let Some(first) = entries.first() else {
        return Err(ProofError::Missing(bundle));
    };
    let known = tiles.insert(own, hashes(entries.iter().copied()));
    let leaf = tlog::leaf_hash(first);
    let index = bundle.index * BUNDLE;
    let proof = tlog::inclusion_proof(log.size, index, &leaf, &log.root, tiles);
    match known {
        Some(known) => tiles.insert(own, known),
        None => tiles.remove(&own),
    };
    proof.map(|_| ())
}

/// The proof of one entry of a bundle.
pub fn entry(
    log: &LogFacts,
    bundle: Tile,
    entries: &[&[u8]],
    index: u64,
    tiles: &mut TileMap,
) -> Result<Vec<Hash>, ProofError> {
    let (size, root) = (log.size, &log.root);
    let place = usize::try_from(index % BUNDLE).unwrap_or(usize::MAX);
    let none = ProofError::NoSuchLeaf { index, size };
    let leaf = entries
        .get(place)
        .copied()
        .map(tlog::leaf_hash)
        .ok_or(none)?;
    let own = own_tile(bundle);
    let known = tiles.insert(own, hashes(entries.iter().copied()));
    let proof = tlog::inclusion_proof(size, index, &leaf, root, tiles);
    match known {
        Some(known) => tiles.insert(own, known),
        None => tiles.remove(&own),
    };
    proof
}
