//! What each of many bytes is, as bits of a word: whole blocks are compared at once, without branches.

/// As many as a word has bits.
pub const BLOCK: usize = 64;

/// Bytes that are looked at together.
pub type Block = [u8; BLOCK];

/// Which of them are so, one bit each, the first one lowest.
pub fn those(block: &Block, is: impl Fn(u8) -> bool) -> u64 {
    /// Of eight bytes, the bit of each.
    const PICK: u64 = 0x8040_2010_0804_0201;
    /// Gathers them in the highest byte.
    const GATHER: u64 = 0x0101_0101_0101_0101;
    // All bits of a byte, or none.
    let flags = block.map(|c| u8::from(is(c)).wrapping_neg());
    let mut out = [0; BLOCK / 8];
    for (out, word) in out.iter_mut().zip(flags.as_chunks::<8>().0) {
        let picked = u64::from_le_bytes(*word) & PICK;
        let [.., gathered] = picked.wrapping_mul(GATHER).to_le_bytes();
        *out = gathered;
    }
    u64::from_le_bytes(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_at_every_place() {
        for start in 0..=255_u8 {
            let mut block = [0; BLOCK];
            for (slot, i) in block.iter_mut().zip(0..) {
                *slot = start.wrapping_add(i);
            }
            for is in [
                |c: u8| c.is_ascii_digit(),
                |c: u8| c.is_ascii_alphabetic(),
                |c: u8| c == b'-' || c >= 0x80,
                |_| true,
                |_| false,
            ] {
                let simply = block.iter().zip(0_u32..);
                let simply = simply.fold(0_u64, |all, (c, i)| all | u64::from(is(*c)) << i);
                assert_eq!(those(&block, is), simply);
            }
        }
    }
}
