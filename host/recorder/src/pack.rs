//! Compression with memory of the thread that is used again.
//!
//! Recorded bytes are compressed once, where they come from: on the thread of their session. What the
//! log, the segment and the store hold of them is this one zstd frame.

use std::cell::RefCell;

/// As `zstd -1`.
const LEVEL: i32 = 1;
/// Output that is kept for the next frame; no frame of a segment needs more.
const KEEP: usize = 512 << 10;

thread_local! {
    static PACKER: RefCell<Packer> = RefCell::default();
}

#[derive(Default)]
struct Packer {
    zstd: Option<zstd::bulk::Compressor<'static>>,
    out: Vec<u8>,
}

/// Calls `f` with one zstd frame of `raw`, which is at most a few bytes longer than that. None where
/// there is no memory for it.
pub fn frame<T>(raw: &[u8], f: impl FnOnce(&[u8]) -> T) -> Option<T> {
    PACKER.with_borrow_mut(|packer| {
        if packer.zstd.is_none() {
            packer.zstd = zstd::bulk::Compressor::new(LEVEL).ok();
        }
        packer.out.clear();
        packer
            .out
            .reserve(zstd::zstd_safe::compress_bound(raw.len()));
        let zstd = packer.zstd.as_mut()?;
        zstd.compress_to_buffer(raw, &mut packer.out).ok()?;
        let made = f(&packer.out);
        if packer.out.capacity() > KEEP {
            packer.out = Vec::new();
        }
        Some(made)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_hold_what_they_were_made_of_and_hardly_more() {
        let noise = crate::tests::support::noise(1, 300_000);
        let zeros = vec![0; 700_000];
        for raw in [&noise[..], &zeros, b"", b"x", &noise[..4096]] {
            let packed = frame(raw, <[u8]>::to_vec).unwrap();
            assert!(packed.len() <= raw.len() + 32, "{}", packed.len());
            assert_eq!(zstd::bulk::decompress(&packed, raw.len()).unwrap(), raw);
        }
    }
}
