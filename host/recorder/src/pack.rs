//! Compression with memory of the thread that is used again.
//!
//! Recorded bytes are compressed once, where they come from: on the thread of their session. What the
//! log, the segment and the store hold of them is this one zstd frame. What looks as if it could not be compressed
//! is put into a frame as it is.

use std::cell::RefCell;

use bytes::Bytes;

/// As `zstd -1`.
const LEVEL: i32 = 1;
/// Output that is kept for the next frame; no frame of a segment needs more.
const KEEP: usize = 512 << 10;

/// Shorter ones are compressed without a look.
const LOOKED_AT_FROM: usize = 16 << 10;
/// A look is at so many pieces, evenly apart, of so many bytes.
const PIECES: usize = 4;
const PIECE: usize = 1 << 10;
/// What a block of a frame holds at most (RFC 8878 section 3.1.1.2.4).
const BLOCK: usize = 128 << 10;
/// The frame's magic number; one segment, with its length in four bytes, and no checksum.
const BEGINS: [u8; 5] = [0x28, 0xB5, 0x2F, 0xFD, 0xA0];

thread_local! {
    static PACKER: RefCell<Packer> = RefCell::default();
}

#[derive(Default)]
struct Packer {
    zstd: Option<zstd::bulk::Compressor<'static>>,
    out: Vec<u8>,
}

/// One zstd frame of `raw`, in memory of its own.
pub fn bytes(raw: &[u8]) -> Option<Bytes> {
    if !shrinks(raw)
        && let Some(stored) = stored(raw)
    {
        return Some(stored.into());
    }
    frame(raw, Bytes::copy_from_slice)
}

/// Does it look as if compression saved anything? Not where every byte is as frequent as any other: what repeats
/// itself in such bytes is not seen, and takes the room that it takes.
fn shrinks(raw: &[u8]) -> bool {
    if raw.len() < LOOKED_AT_FROM {
        return true;
    }
    let mut counts = [0_u64; 256];
    for piece in raw.chunks(raw.len() / PIECES) {
        for c in piece.iter().take(PIECE) {
            if let Some(count) = counts.get_mut(usize::from(*c)) {
                *count += 1;
            }
        }
    }
    let all: u64 = counts.iter().sum();
    let squares: u64 = counts.iter().map(|count| count * count).sum();
    // Of random bytes it is `all² / 256 + all`, give or take a hundredth.
    let random = all * all / 256 + all;
    squares > random + random / 10
}

/// A frame that holds the bytes as they are. None: it is too long for one.
fn stored(raw: &[u8]) -> Option<Vec<u8>> {
    let len = u32::try_from(raw.len()).ok()?;
    let blocks = raw.len().div_ceil(BLOCK).max(1);
    let mut out = Vec::with_capacity(BEGINS.len() + 4 + 3 * blocks + raw.len());
    out.extend_from_slice(&BEGINS);
    out.extend_from_slice(&len.to_le_bytes());
    let mut rest = raw;
    loop {
        let (block, more) = rest.split_at(rest.len().min(BLOCK));
        // Its length, its kind (0: as it is), and whether it is the last.
        let head = u32::try_from(block.len()).ok()? << 3 | u32::from(more.is_empty());
        let [a, b, c, _] = head.to_le_bytes();
        out.extend_from_slice(&[a, b, c]);
        out.extend_from_slice(block);
        if more.is_empty() {
            return Some(out);
        }
        rest = more;
    }
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
            for packed in [
                frame(raw, <[u8]>::to_vec).unwrap(),
                bytes(raw).unwrap().to_vec(),
                stored(raw).unwrap(),
            ] {
                assert!(packed.len() <= raw.len() + 32, "{}", packed.len());
                assert_eq!(zstd::bulk::decompress(&packed, raw.len()).unwrap(), raw);
                // As a player reads it: piece by piece.
                assert_eq!(zstd::decode_all(&packed[..]).unwrap(), raw);
            }
        }
        for length in [BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK] {
            let raw = &noise[..length];
            let packed = stored(raw).unwrap();
            assert_eq!(zstd::bulk::decompress(&packed, length).unwrap(), raw);
        }
    }

    #[test]
    fn what_gets_smaller_is_compressed() {
        let noise = crate::tests::support::noise(2, 128 << 10);
        let letters: Vec<u8> = noise.iter().map(|c| b'a' + c % 26).collect();
        let base64: Vec<u8> = noise.iter().map(|c| b'0' + c % 64).collect();
        let seven: Vec<u8> = noise.iter().map(|c| c & 0x7F).collect();
        let text = b"2026-11-28 00:41:07 INFO request 12 took 7 ms\n".repeat(3000);
        let mixed = [&noise[..32 << 10], &text[..]].concat();
        for raw in [&letters[..], &base64, &seven, &text, &mixed] {
            assert!(shrinks(raw));
            assert!(bytes(raw).unwrap().len() < raw.len() * 9 / 10);
        }
        for length in [LOOKED_AT_FROM, LOOKED_AT_FROM + 1, 65_537, 128 << 10] {
            assert!(!shrinks(&noise[..length]), "{length}");
        }
        assert!(shrinks(&noise[..LOOKED_AT_FROM - 1]));
    }
}
