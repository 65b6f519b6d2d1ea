//! The sum of what is not on record, by which it can be known again: BLAKE3, as `b3sum` has it. It takes a quarter of
//! what SHA-256 takes, if it has whole blocks: of bytes in other pieces, blocks are put together first.

use blake3::Hasher;

/// So many chunks of BLAKE3 that the widest instructions have enough of them at once.
const BLOCK: usize = 16 << 10;

/// Of bytes in whatever pieces. What it holds of them is less than a block.
#[derive(Default)]
pub(super) struct Sum {
    /// Whole blocks went into it. Boxed, as it is large.
    hasher: Option<Box<Hasher>>,
    rest: Vec<u8>,
}

impl Sum {
    pub fn update(&mut self, mut data: &[u8]) {
        let hasher = self.hasher.get_or_insert_with(Box::default);
        if !self.rest.is_empty() {
            let missing = BLOCK.saturating_sub(self.rest.len());
            let Some((fill, behind)) = data.split_at_checked(missing) else {
                self.rest.extend_from_slice(data);
                return;
            };
            self.rest.extend_from_slice(fill);
            hasher.update(&self.rest);
            self.rest.clear();
            data = behind;
        }
        let (blocks, rest) = data
            .split_at_checked(data.len() / BLOCK * BLOCK)
            .unwrap_or((data, &[]));
        hasher.update(blocks);
        if !rest.is_empty() {
            self.rest.reserve_exact(BLOCK);
            self.rest.extend_from_slice(rest);
        }
    }

    /// In hex, of all since the last time.
    pub fn take(&mut self) -> String {
        let Self { hasher, rest } = std::mem::take(self);
        let mut hasher = hasher.unwrap_or_default();
        hasher.update(&rest);
        hasher.finalize().to_hex().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `b3sum` of the bytes 0, 1, 2, … 250, 0, 1, …: the test vectors of BLAKE3 itself.
    #[test]
    fn it_is_that_of_b3sum() {
        let mut sum = Sum::default();
        for (bytes, want) in [
            (
                0,
                "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
            ),
            (
                1024,
                "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7",
            ),
            (
                102_400,
                "bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085",
            ),
        ] {
            let data: Vec<u8> = (0..=250).cycle().take(bytes).collect();
            for piece in [1, 7, 1024, BLOCK - 1, BLOCK, BLOCK + 1, 32_757, usize::MAX] {
                data.chunks(piece).for_each(|part| sum.update(part));
                assert_eq!(sum.take(), want, "{bytes} by {piece}");
            }
        }
    }

    #[test]
    fn pieces_make_no_difference() {
        let data = crate::mask::tests::noise(3, 5 * BLOCK + 123);
        let whole = blake3::hash(&data).to_hex().to_string();
        let sizes = [1, BLOCK, 3, BLOCK - 4, 2 * BLOCK, 100, BLOCK + 7];
        let (mut sum, mut left) = (Sum::default(), &data[..]);
        for size in sizes.into_iter().cycle() {
            let (now, later) = left.split_at(size.min(left.len()));
            sum.update(now);
            assert!(sum.rest.len() < BLOCK && sum.rest.capacity() <= BLOCK);
            left = later;
            if left.is_empty() {
                break;
            }
        }
        assert_eq!(sum.take(), whole);
        assert!(sum.hasher.is_none() && sum.rest.capacity() == 0);
    }
}
