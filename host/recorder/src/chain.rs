//! The hash chain over records: `chain_i = SHA-256(02 ‖ chain_{i-1} ‖ SHA-256(00 ‖ record))`.
//!
//! The leaf hash of a record is computed once and used twice: in the chain of the write-ahead log
//! and in the chain of the record's own stream.

use aws_lc_rs::digest;

pub type Hash = [u8; 32];

/// What the first write-ahead log file of a spool continues.
pub const WAL_GENESIS: Hash = [0; 32];

const LEAF: u8 = 0;
const LINK: u8 = 2;
const STREAM: u8 = 3;

/// The hash of one encoded record.
pub fn leaf(record: &[u8]) -> Hash {
    hash(&[&[LEAF], record])
}

/// The same, of a record in two pieces.
pub fn leaf_of(head: &[u8], rest: &[u8]) -> Hash {
    hash(&[&[LEAF], head, rest])
}

/// The chain after a record with this leaf hash.
pub fn link(chain: &Hash, leaf: &Hash) -> Hash {
    // Made twice for every record: one call for a whole costs less than a context that gets parts.
    let mut whole = [LINK; 65];
    for (to, from) in whole.iter_mut().skip(1).zip(chain.iter().chain(leaf)) {
        *to = *from;
    }
    sha256(&whole)
}

/// Where the chain of a stream begins: bound to its id, so that no stream passes for another.
pub fn stream_genesis(stream: u128) -> Hash {
    hash(&[&[STREAM], &stream.to_be_bytes()])
}

pub fn sha256(bytes: &[u8]) -> Hash {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

fn hash(parts: &[&[u8]]) -> Hash {
    let mut ctx = digest::Context::new(&digest::SHA256);
    for part in parts {
        ctx.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(ctx.finish().as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_do_not_collide() {
        let zero = [0; 32];
        assert_ne!(leaf(b""), sha256(b""));
        assert_ne!(link(&zero, &zero), leaf(&[0; 64]));
        assert_ne!(stream_genesis(1), stream_genesis(2));
        assert_ne!(
            link(&leaf(b"a"), &leaf(b"b")),
            link(&leaf(b"b"), &leaf(b"a"))
        );
    }
}
