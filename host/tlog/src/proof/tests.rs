//! Every proof of small trees, and every single bit of some that is wrong.

use super::*;
use crate::hash::leaf_hash;
use crate::testing::{Random, grow, leaf, naive_root};
use crate::tree::Tree;

const SMALL: u64 = 70;

/// The tiles that were asked for, and no others.
fn only(all: &TileMap, asked: Vec<Tile>) -> TileMap {
    let tiles = asked.into_iter();
    tiles.map(|tile| (tile, all[&tile].clone())).collect()
}

fn roots(largest: u64) -> Vec<Hash> {
    let mut tree = Tree::new();
    let mut roots = vec![tree.root()];
    for index in 0..largest {
        tree.append(leaf(index), &mut |_, _| ());
        roots.push(tree.root());
    }
    roots
}

/// PATH of RFC 6962, 2.1.1, by its definition.
fn naive_path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() <= 1 {
        return Vec::new();
    }
    let k = 1 << (leaves.len() - 1).ilog2();
    let (left, right) = leaves.split_at(k);
    let (mut path, beside) = match index < k {
        true => (naive_path(index, left), right),
        false => (naive_path(index - k, right), left),
    };
    path.push(naive_root(beside));
    path
}

/// SUBPROOF of RFC 6962, 2.1.2, by its definition.
fn naive_subproof(old: usize, leaves: &[Hash], known: bool) -> Vec<Hash> {
    if old == leaves.len() {
        return match known {
            true => Vec::new(),
            false => vec![naive_root(leaves)],
        };
    }
    let k = 1 << (leaves.len() - 1).ilog2();
    let (left, right) = leaves.split_at(k);
    let (mut proof, beside) = match old <= k {
        true => (naive_subproof(old, left, known), right),
        false => (naive_subproof(old - k, right, false), left),
    };
    proof.push(naive_root(beside));
    proof
}

#[test]
fn every_inclusion_in_small_trees() {
    for size in 1..=SMALL {
        let (tree, tiles) = grow(size);
        let root = tree.root();
        let leaves: Vec<Hash> = (0..size).map(leaf).collect();
        for index in 0..size {
            let needed = only(&tiles, inclusion_tiles(size, index).unwrap());
            let proof = inclusion_proof(size, index, &leaf(index), &root, &needed).unwrap();
            assert_eq!(proof, naive_path(index as usize, &leaves));
            check_inclusion(index, size, &leaf(index), &proof, &root).unwrap();
            // At no other place, and in no tree of another size.
            for other in 0..=size + 1 {
                if other != index {
                    assert!(check_inclusion(other, size, &leaf(index), &proof, &root).is_err());
                }
                if other != size {
                    let checked = check_inclusion(index, other, &leaf(index), &proof, &root);
                    // Where the way up is the same, the size alone makes no difference to it.
                    assert!(
                        checked.is_err() || same_way(index, size, other),
                        "{index} of {other}"
                    );
                }
            }
        }
    }
}

/// Does a leaf's way to the root turn the same way in both trees? The size of a tree is signed together
/// with its root, so a proof need not tell the two apart.
fn same_way(index: u64, one: u64, other: u64) -> bool {
    let way = |size: u64| {
        let mut place = Place {
            node: index,
            last: size - 1,
        };
        let mut sides = Vec::new();
        while let Some(side) = place.climb() {
            sides.push(matches!(side, Side::Left));
        }
        sides
    };
    index < other && way(one) == way(other)
}

#[test]
fn every_consistency_of_small_trees() {
    let roots = roots(SMALL);
    for size in 0..=SMALL {
        let (_, tiles) = grow(size);
        let leaves: Vec<Hash> = (0..size).map(leaf).collect();
        let root = &roots[size as usize];
        for old in 0..=size {
            let old_root = &roots[old as usize];
            let needed = only(&tiles, consistency_tiles(old, size).unwrap());
            let proof = consistency_proof(old, old_root, size, root, &needed).unwrap();
            if old > 0 {
                assert_eq!(proof, naive_subproof(old as usize, &leaves, true));
            }
            // It proves nothing about any other old tree.
            for (other, other_root) in roots.iter().enumerate() {
                let other = other as u64;
                let checked = check_consistency(other, other_root, size, root, &proof);
                assert_eq!(
                    checked.is_ok(),
                    other == old
                        || (proof.is_empty() && other == 0)
                        || (proof.is_empty() && other == size),
                    "{other} {old} {size}"
                );
                if other != old {
                    assert!(check_consistency(old, other_root, size, root, &proof).is_err());
                }
                if other != size && old != 0 {
                    assert!(check_consistency(old, old_root, size, other_root, &proof).is_err());
                }
            }
        }
    }
}

/// Each of these with one bit changed.
fn flipped(hash: &Hash) -> impl Iterator<Item = Hash> {
    let hash = *hash;
    (0..256).map(move |bit: usize| {
        let mut other = hash;
        other[bit / 8] ^= 1 << (bit % 8);
        other
    })
}

fn variants(proof: &[Hash]) -> Vec<Vec<Hash>> {
    let mut all = Vec::new();
    for at in 0..proof.len() {
        for hash in flipped(&proof[at]) {
            let mut other = proof.to_vec();
            other[at] = hash;
            all.push(other);
        }
        let mut shorter = proof.to_vec();
        shorter.remove(at);
        all.push(shorter);
        let mut doubled = proof.to_vec();
        doubled.insert(at, proof[at]);
        all.push(doubled);
        if at > 0 {
            let mut swapped = proof.to_vec();
            swapped.swap(at - 1, at);
            all.push(swapped);
        }
    }
    let mut longer = proof.to_vec();
    longer.push([0; 32]);
    all.push(longer);
    all
}

#[test]
fn no_single_bit_of_an_inclusion_can_change() {
    for (size, index) in [
        (1, 0),
        (2, 1),
        (7, 3),
        (7, 6),
        (8, 0),
        (64, 63),
        (65, 64),
        (70, 66),
    ] {
        let (tree, tiles) = grow(size);
        let root = tree.root();
        let proof = inclusion_proof(size, index, &leaf(index), &root, &tiles).unwrap();
        for other in flipped(&leaf(index)) {
            assert!(check_inclusion(index, size, &other, &proof, &root).is_err());
        }
        for other in flipped(&root) {
            assert!(check_inclusion(index, size, &leaf(index), &proof, &other).is_err());
        }
        for other in variants(&proof) {
            assert!(check_inclusion(index, size, &leaf(index), &other, &root).is_err());
        }
    }
}

#[test]
fn no_single_bit_of_a_consistency_can_change() {
    let roots = roots(SMALL);
    for (old, size) in [
        (0, 9),
        (1, 2),
        (3, 7),
        (4, 7),
        (6, 8),
        (8, 8),
        (33, 70),
        (64, 70),
        (69, 70),
    ] {
        let (_, tiles) = grow(size);
        let (old_root, root) = (&roots[old as usize], &roots[size as usize]);
        let proof = consistency_proof(old, old_root, size, root, &tiles).unwrap();
        for other in flipped(old_root) {
            assert!(check_consistency(old, &other, size, root, &proof).is_err());
        }
        for other in flipped(root) {
            // Of what goes on from nothing, nothing is proved.
            let checked = check_consistency(old, old_root, size, &other, &proof);
            assert_eq!(checked.is_ok(), old == 0);
        }
        for other in variants(&proof) {
            assert!(check_consistency(old, old_root, size, root, &other).is_err());
        }
    }
}

#[test]
fn proofs_across_tiles_and_levels() {
    let (tree, tiles) = grow(66_000);
    let root = tree.root();
    for index in [
        0, 1, 255, 256, 257, 32_767, 65_535, 65_536, 65_791, 65_792, 65_999,
    ] {
        let asked = inclusion_tiles(66_000, index).unwrap();
        assert!(asked.len() <= 5, "{asked:?}");
        inclusion_proof(66_000, index, &leaf(index), &root, &only(&tiles, asked)).unwrap();
    }
    for old in [
        1, 255, 256, 257, 4_097, 65_535, 65_536, 65_537, 65_999, 66_000,
    ] {
        let (old_tree, _) = grow(old);
        let needed = only(&tiles, consistency_tiles(old, 66_000).unwrap());
        consistency_proof(old, &old_tree.root(), 66_000, &root, &needed).unwrap();
    }
    let needed = only(&tiles, root_tiles(66_000).unwrap());
    assert_eq!(root_from_tiles(66_000, &needed), Ok(root));
    assert_eq!(root_from_tiles(0, &needed), Ok(EMPTY_ROOT));
}

/// A log that has grown keeps full tiles only; an older tree is proved out of them as well.
#[test]
fn wider_tiles_serve_older_trees() {
    let (_, later) = grow(600);
    for size in [1, 2, 200, 256, 257, 511] {
        let (tree, _) = grow(size);
        let wider = |asked: Vec<Tile>| -> TileMap {
            let wider = |tile: Tile| {
                let found = later
                    .iter()
                    .find(|(t, _)| t.kind == tile.kind && t.index == tile.index);
                (tile, found.unwrap().1.clone())
            };
            asked.into_iter().map(wider).collect()
        };
        assert_eq!(
            root_from_tiles(size, &wider(root_tiles(size).unwrap())),
            Ok(tree.root())
        );
        let index = size / 2;
        let tiles = wider(inclusion_tiles(size, index).unwrap());
        inclusion_proof(size, index, &leaf(index), &tree.root(), &tiles).unwrap();
    }
}

#[test]
fn no_proof_is_made_of_wrong_tiles() {
    let (tree, tiles) = grow(600);
    let root = tree.root();
    let needed = only(&tiles, inclusion_tiles(600, 300).unwrap());
    let make = |tiles: &TileMap| inclusion_proof(600, 300, &leaf(300), &root, tiles);
    make(&needed).unwrap();
    for (tile, bytes) in &needed {
        let mut without = needed.clone();
        without.remove(tile);
        assert_eq!(make(&without), Err(ProofError::Missing(*tile)));
        for length in [
            0,
            1,
            31,
            32,
            bytes.len() - 32,
            bytes.len() - 1,
            bytes.len() + 1,
            8_224,
            2 << 21,
        ] {
            let mut other = needed.clone();
            other.get_mut(tile).unwrap().resize(length, 0);
            let error = make(&other).unwrap_err();
            assert!(
                matches!(error, ProofError::Length { .. }),
                "{tile} {length} {error}"
            );
        }
    }
    // The leaf itself is not part of its proof; every other hash of these tiles is.
    for (tile, bytes) in &needed {
        for at in (0..bytes.len()).step_by(32) {
            let mut other = needed.clone();
            other.get_mut(tile).unwrap()[at] ^= 1;
            let own = *tile == needed.keys().next().copied().unwrap() && at == (300 - 256) * 32;
            let above = matches!(tile.kind, Kind::Level(1)) && at == 32;
            assert_eq!(make(&other).is_ok(), own || above, "{tile} {at}");
        }
    }
    let wrong = inclusion_proof(600, 300, &leaf(301), &root, &needed);
    assert_eq!(wrong, Err(ProofError::Root));
}

#[test]
fn what_cannot_be_is_an_error() {
    let none = TileMap::new();
    let zero = [0; 32];
    assert_eq!(
        inclusion_tiles(0, 0),
        Err(ProofError::NoSuchLeaf { index: 0, size: 0 })
    );
    assert!(inclusion_tiles(5, 5).is_err());
    assert!(consistency_tiles(6, 5).is_err());
    assert_eq!(consistency_tiles(0, 5), Ok(vec![]));
    assert_eq!(consistency_tiles(5, 5), Ok(vec![]));
    for size in [MAX_SIZE + 1, u64::MAX] {
        assert_eq!(inclusion_tiles(size, 0), Err(ProofError::Size(size)));
        assert_eq!(consistency_tiles(1, size), Err(ProofError::Size(size)));
        assert_eq!(root_tiles(size), Err(ProofError::Size(size)));
    }
    assert!(check_inclusion(0, 0, &zero, &[], &EMPTY_ROOT).is_err());
    assert!(check_inclusion(u64::MAX, u64::MAX, &zero, &[], &zero).is_err());
    assert!(check_consistency(2, &zero, 1, &zero, &[]).is_err());
    assert!(check_consistency(0, &zero, 1, &zero, &[]).is_err());
    assert!(check_consistency(0, &EMPTY_ROOT, 0, &zero, &[]).is_err());
    assert!(check_consistency(0, &EMPTY_ROOT, 3, &zero, &[zero]).is_err());
    check_consistency(0, &EMPTY_ROOT, 0, &EMPTY_ROOT, &[]).unwrap();
    check_inclusion(0, 1, &leaf_hash(b""), &[], &leaf_hash(b"")).unwrap();
    assert!(inclusion_proof(3, 1, &zero, &zero, &none).is_err());
}

#[test]
fn the_largest_trees_have_proofs_of_no_more_hashes_than_levels() {
    let zero = [0; 32];
    for index in [0, 1, MAX_SIZE / 2, MAX_SIZE - 2, MAX_SIZE - 1] {
        let path = inclusion_path(MAX_SIZE, index).unwrap();
        assert!(path.len() <= MAX_PROOF);
        let asked = inclusion_tiles(MAX_SIZE, index).unwrap();
        let tiles: TileMap = asked
            .into_iter()
            .map(|tile| (tile, vec![0; usize::from(tile.width) * 32]))
            .collect();
        // There is no such tree, but the way is walked to its end.
        assert_eq!(
            inclusion_proof(MAX_SIZE, index, &zero, &zero, &tiles),
            Err(ProofError::Root)
        );
    }
    for old in [1, 2, MAX_SIZE / 2, MAX_SIZE / 2 + 1, MAX_SIZE - 1] {
        let path = consistency_path(old, MAX_SIZE).unwrap();
        assert!(path.len() <= MAX_PROOF + 1, "{old}: {}", path.len());
        let asked = consistency_tiles(old, MAX_SIZE).unwrap();
        let tiles: TileMap = asked
            .into_iter()
            .map(|tile| (tile, vec![0; usize::from(tile.width) * 32]))
            .collect();
        let made = consistency_proof(old, &zero, MAX_SIZE, &zero, &tiles);
        assert!(
            matches!(made, Err(ProofError::Root | ProofError::OldRoot)),
            "{made:?}"
        );
    }
}

#[test]
fn random_proofs_prove_nothing() {
    let mut random = Random::new(4);
    let mut hash = || -> Hash { random.bytes(32).try_into().unwrap() };
    let hashes: Vec<Hash> = (0..70).map(|_| hash()).collect();
    let mut random = Random::new(5);
    for _ in 0..20_000 {
        let size = random.next() >> random.below(64);
        let other = random.next() >> random.below(64);
        let proof = &hashes[..random.below(70)];
        assert!(check_inclusion(other, size, &hashes[0], proof, &hashes[69]).is_err());
        assert!(check_consistency(other, &hashes[0], size, &hashes[69], proof).is_err());
    }
}
