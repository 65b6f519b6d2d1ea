//! Hashes of a Merkle tree (RFC 6962, 2.1), by SHA-256.

use aws_lc_rs::digest;

pub type Hash = [u8; 32];

/// The root of the tree without leaves: SHA-256 of nothing.
pub const EMPTY_ROOT: Hash = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
    0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

/// Leaves and nodes are hashed apart, so that neither passes for the other.
const LEAF: u8 = 0;
const NODE: u8 = 1;

/// SHA-256(00 ‖ entry)
pub fn leaf_hash(entry: &[u8]) -> Hash {
    sha256(&[&[LEAF], entry])
}

/// SHA-256(01 ‖ left ‖ right)
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    // There is one for every leaf: one call for a whole costs less than a context that gets parts.
    let mut whole = [NODE; 65];
    for (to, from) in whole.iter_mut().skip(1).zip(left.iter().chain(right)) {
        *to = *from;
    }
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, &whole).as_ref());
    out
}

pub(crate) fn sha256(parts: &[&[u8]]) -> Hash {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

/// The root of a perfect tree over these hashes. Of a number of hashes that is no power of two it is
/// what RFC 6962 calls MTH over them as inner nodes.
pub(crate) fn fold(hashes: &[Hash]) -> Hash {
    match hashes {
        [] => EMPTY_ROOT,
        [one] => *one,
        more => {
            let half = more.len().div_ceil(2).next_power_of_two();
            let (left, right) = more.split_at(half.min(more.len()));
            node_hash(&fold(left), &fold(right))
        }
    }
}

/// The roots of perfect trees beside one another, the largest first, as one tree; `None` of none.
pub(crate) fn join(peaks: impl DoubleEndedIterator<Item = Hash>) -> Option<Hash> {
    peaks.rev().reduce(|right, left| node_hash(&left, &right))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::naive_root;

    #[test]
    fn the_empty_root_is_the_hash_of_nothing() {
        assert_eq!(sha256(&[]), EMPTY_ROOT);
    }

    /// Computed with sha256sum.
    #[test]
    fn known_hashes() {
        let hex = |h: Hash| h.map(|b| format!("{b:02x}")).concat();
        assert_eq!(
            hex(leaf_hash(b"")),
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
        );
        assert_ne!(node_hash(&[0; 32], &[0; 32]), leaf_hash(&[0; 64]));
        assert_ne!(node_hash(&[0; 32], &[1; 32]), node_hash(&[1; 32], &[0; 32]));
    }

    #[test]
    fn folding_is_the_tree_of_the_rfc() {
        for n in 0..=300 {
            let leaves: Vec<Hash> = (0..n).map(|i: u32| leaf_hash(&i.to_be_bytes())).collect();
            assert_eq!(fold(&leaves), naive_root(&leaves), "{n}");
        }
    }
}
