//! Every cut and every flipped byte of a small log.

use super::support::TempDir;
use crate::chain::{self, WAL_GENESIS};
use crate::disk::RealDisk;
use crate::record::{Kind, NewRecord};
use crate::wal::format::{BLOCK_HEADER, FILE_HEADER};
use crate::wal::scan::{self, Tail};
use crate::wal::writer::Writer;

/// A log of blocks of 1, 2, 5 and 300 records, of which the third has a packed one and the last is
/// compressed; its bytes, where its blocks end, and its records.
fn small_log() -> (Vec<u8>, Vec<usize>, Vec<Vec<Vec<u8>>>) {
    small_log_of(usize::MAX)
}

/// The same, of which so many blocks were synced, each before the next one was written.
fn small_log_of(durable: usize) -> (Vec<u8>, Vec<usize>, Vec<Vec<Vec<u8>>>) {
    let dir = TempDir::new();
    let wal = dir.spool();
    std::fs::create_dir_all(&wal).unwrap();
    let disk = std::sync::Arc::new(RealDisk);
    let mut writer = Writer::create(disk, wal.clone(), u64::MAX, 1, 0, WAL_GENESIS).unwrap();
    let mut ends = vec![FILE_HEADER];
    let mut blocks = Vec::new();
    let mut index = 0;
    for count in [1u64, 2, 5, 300] {
        let mut raw = Vec::new();
        let mut records = Vec::new();
        let mut chain = writer.chain;
        for _ in 0..count {
            let from = raw.len();
            let text = format!("{{\"text\":\"select {index}\"}}");
            let intent = NewRecord {
                kind: Kind::Intent,
                ts_ns: index,
                stream: 5,
                seq: Some(index),
                body: text.into(),
                packed: None,
            };
            if index == 5 {
                packed_rows(&intent).encode(index, &mut raw);
            } else {
                intent.encode(index, &mut raw);
            }
            records.push(raw[from..].to_vec());
            chain = chain::link(&chain, &chain::leaf(&raw[from..]));
            index += 1;
        }
        let len = writer.append(&raw, 0, count as u32, chain).unwrap();
        ends.push(ends.last().unwrap() + len as usize);
        if blocks.len() < durable {
            writer.synced(1, *ends.last().unwrap() as u64);
        }
        blocks.push(records);
    }
    let mut bytes = std::fs::read(scan::file_path(&wal, 1)).unwrap();
    // Without the zeros behind it.
    bytes.truncate(*ends.last().unwrap());
    (bytes, ends, blocks)
}

fn packed_rows(like: &NewRecord) -> NewRecord {
    let rows = "row after row ".repeat(20);
    NewRecord {
        kind: Kind::ToClient,
        body: crate::pack::frame(rows.as_bytes(), <[u8]>::to_vec)
            .unwrap()
            .into(),
        packed: Some(rows.len() as u32),
        ..like.clone()
    }
}

fn read(bytes: &[u8]) -> (Vec<Vec<u8>>, scan::Scan) {
    let mut out = Vec::new();
    let scan = scan::scan_bytes(bytes, &mut |block| {
        out.extend(block.records().map(|r| r.encoded.to_vec()));
    });
    (out, scan)
}

#[test]
fn every_cut_leaves_exactly_the_complete_blocks() {
    let (bytes, ends, blocks) = small_log();
    assert_eq!(bytes.len(), *ends.last().unwrap());
    for cut in 0..bytes.len() {
        let (records, scan) = read(&bytes[..cut]);
        let whole = ends.iter().filter(|e| **e <= cut).count();
        let expect: Vec<_> = blocks[..whole.saturating_sub(1)].concat();
        assert_eq!(records, expect, "cut at {cut}");
        assert!(!matches!(scan.tail, Tail::Damaged { .. }), "cut at {cut}");
        assert_eq!(
            scan.tail == Tail::Clean,
            ends.contains(&cut),
            "cut at {cut}"
        );
    }
}

/// The same in a file that was allocated before it was written: zeros stand for what is missing.
#[test]
fn every_cut_that_zeros_follow_leaves_exactly_the_complete_blocks() {
    let (bytes, ends, blocks) = small_log();
    let blank = |part: &[u8]| part.iter().all(|b| *b == 0);
    for cut in 0..=bytes.len() {
        let mut file = bytes[..cut].to_vec();
        file.resize(bytes.len() + 5000, 0);
        let (records, scan) = read(&file);
        // What ends with zeros of its own is whole before its last byte was written.
        let whole = ends
            .iter()
            .filter(|e| **e <= cut || blank(&bytes[cut..**e]));
        let whole = whole.count();
        let expect: Vec<_> = blocks[..whole.saturating_sub(1)].concat();
        assert_eq!(records, expect, "cut at {cut}");
        let end = if whole == 0 { 0 } else { ends[whole - 1] };
        let content = bytes[..cut].iter().rposition(|b| *b != 0);
        let content = content.map_or(0, |at| at + 1).max(end);
        assert_eq!(scan.len, content as u64, "cut at {cut}");
        let expect = match whole {
            0 => Tail::Torn {
                at: 0,
                bytes: content as u64,
            },
            _ if content == end => Tail::Clean,
            _ => Tail::Torn {
                at: end as u64,
                bytes: (content - end) as u64,
            },
        };
        assert_eq!(scan.tail, expect, "cut at {cut}");
    }
}

/// Zeros are the end of a file only where nothing follows them.
#[test]
fn a_hole_of_zeros_is_damage() {
    let (bytes, ends, blocks) = small_log();
    for (n, hole) in ends.windows(2).enumerate() {
        for from in [hole[0], (hole[0] + hole[1]) / 2] {
            let mut file = bytes.clone();
            file[from..hole[1]].fill(0);
            file.resize(file.len() + 5000, 0);
            let (records, scan) = read(&file);
            assert_eq!(records, blocks[..n].concat());
            let left = (blocks.len() - n - 1) as u64;
            match scan.tail {
                Tail::Damaged { blocks_after, .. } => assert_eq!(blocks_after, left),
                Tail::Clean => assert!(left == 0 && from == hole[0]),
                Tail::Torn { .. } => assert!(left == 0 && from > hole[0]),
            }
        }
    }
}

/// A power cut leaves any part of what was not durable yet: that is no damage, whatever follows it.
#[test]
fn a_hole_in_what_was_not_durable_is_a_torn_end() {
    for durable in 0..=4 {
        let (bytes, ends, blocks) = small_log_of(durable);
        for hole in 0..blocks.len() - 1 {
            let mut file = bytes.clone();
            file[ends[hole]..ends[hole + 1]].fill(0);
            file.resize(file.len() + 5000, 0);
            let (records, scan) = read(&file);
            assert_eq!(records, blocks[..hole].concat());
            match scan.tail {
                Tail::Clean => panic!("{hole} of {durable} was not found"),
                Tail::Damaged { .. } => assert!(hole < durable, "{hole} of {durable}"),
                Tail::Torn { at, bytes } => {
                    assert!(hole >= durable, "{hole} of {durable}");
                    assert_eq!(at, ends[hole] as u64);
                    // All of it goes, also what is whole.
                    assert_eq!(at + bytes, scan.len);
                }
            }
        }
        // What is before every block was durable when the file was begun.
        let mut file = bytes.clone();
        file[20] ^= 1;
        assert!(matches!(read(&file).1.tail, Tail::Damaged { .. }));
    }
}

/// A file of the version before, whose blocks do not say what was durable.
fn as_before(bytes: &[u8], ends: &[usize]) -> (Vec<u8>, Vec<usize>) {
    let mut file = bytes[..FILE_HEADER].to_vec();
    let mut before = vec![FILE_HEADER];
    for block in ends.windows(2).map(|at| &bytes[at[0]..at[1]]) {
        let (head, body) = block.split_at(BLOCK_HEADER);
        let head = [b"BLK1", &head[4..56]].concat();
        let crc = crc32c::crc32c_append(crc32c::crc32c(&head), body);
        file.extend_from_slice(&head);
        file.extend_from_slice(&crc.to_le_bytes());
        file.extend_from_slice(body);
        before.push(file.len());
    }
    (with_version(file, 2), before)
}

fn with_version(mut file: Vec<u8>, version: u32) -> Vec<u8> {
    file[8..12].copy_from_slice(&version.to_le_bytes());
    let crc = crc32c::crc32c(&file[..FILE_HEADER - 4]);
    file[FILE_HEADER - 4..FILE_HEADER].copy_from_slice(&crc.to_le_bytes());
    file
}

#[test]
fn files_are_allocated_before_they_are_written() {
    let dir = TempDir::new();
    let wal = dir.spool();
    std::fs::create_dir_all(&wal).unwrap();
    let disk = std::sync::Arc::new(RealDisk);
    let mut writer = Writer::create(disk, wal.clone(), 1 << 20, 1, 0, WAL_GENESIS).unwrap();
    writer.rotate().unwrap();
    for number in [1, 2] {
        let path = scan::file_path(&wal, number);
        let len = std::fs::metadata(&path).unwrap().len();
        // Where the file system cannot do it, a file is as long as what is in it.
        assert!([1 << 20, FILE_HEADER as u64].contains(&len), "{len}");
        let scan = scan::scan_file(&path, &mut |_| {}).unwrap();
        assert_eq!(
            (scan.tail, scan.len, scan.valid_len),
            (Tail::Clean, FILE_HEADER as u64, FILE_HEADER as u64)
        );
    }
}

#[test]
fn every_flipped_byte_is_found_and_no_wrong_record_is_returned() {
    let (mut bytes, ends, blocks) = small_log();
    for at in 0..bytes.len() {
        for mask in [0x01, 0x80] {
            bytes[at] ^= mask;
            let (records, scan) = read(&bytes);
            let block = ends.iter().filter(|e| **e <= at).count();
            let expect: Vec<_> = blocks[..block.saturating_sub(1)].concat();
            assert_eq!(records, expect, "flip at {at}");
            let last = block == ends.len() - 1;
            match scan.tail {
                Tail::Clean => panic!("flip at {at} was not found"),
                Tail::Torn { .. } => assert!(last, "flip at {at}: valid blocks follow"),
                Tail::Damaged { blocks_after, .. } => {
                    assert_eq!(blocks_after, (blocks.len() - block) as u64, "flip at {at}");
                }
            }
            bytes[at] ^= mask;
        }
    }
}

#[test]
fn blocks_cannot_be_left_out_repeated_or_swapped() {
    let (bytes, ends, blocks) = small_log();
    let part = |n: usize| &bytes[ends[n]..ends[n + 1]];
    let head = &bytes[..FILE_HEADER];
    for (order, good) in [
        (vec![0, 2, 3], 1),
        (vec![0, 0, 1, 2, 3], 1),
        (vec![0, 2, 1, 3], 1),
        (vec![1, 2, 3], 0),
    ] {
        let mut altered = head.to_vec();
        for n in &order {
            altered.extend_from_slice(part(*n));
        }
        let (records, scan) = read(&altered);
        assert_eq!(records, blocks[..good].concat(), "{order:?}");
        assert!(matches!(scan.tail, Tail::Damaged { .. }), "{order:?}");
    }
}

/// A client can write bytes that are a whole valid block; cut off around them, they must not become
/// records.
#[test]
fn a_block_inside_a_torn_block_is_not_believed() {
    let (bytes, ends, _) = small_log();
    let inner = bytes[ends[0]..ends[1]].to_vec();
    let mut raw = Vec::new();
    NewRecord {
        kind: Kind::ToClient,
        ts_ns: 0,
        stream: 6,
        seq: Some(0),
        body: inner.into(),
        packed: None,
    }
    .encode(0, &mut raw);
    // Stored, not compressed, so that the inner block is there byte by byte.
    let mut packer = crate::wal::format::Packer::default();
    let outer = packer.encode_block(&raw, 0, 1, 0, &[0; 32], 0).unwrap();
    let mut outer = outer.to_vec();
    assert!(outer.len() > BLOCK_HEADER + BLOCK_HEADER);
    outer.push(0);
    let mut file = bytes[..FILE_HEADER].to_vec();
    file.extend_from_slice(&outer[..outer.len() - 1]);
    file[FILE_HEADER + 16] ^= 1;
    let (records, scan) = read(&file);
    assert!(records.is_empty());
    assert!(!matches!(scan.tail, Tail::Clean));
}

#[test]
fn a_log_full_of_block_magic_is_read_in_bounded_time() {
    let (bytes, _, _) = small_log();
    let mut file = bytes[..FILE_HEADER].to_vec();
    for _ in 0..200_000 {
        file.extend_from_slice(b"BLK1\x00\x00\x00\x80\xff\xff\xff\x00");
    }
    let started = std::time::Instant::now();
    let (records, scan) = read(&file);
    assert!(records.is_empty());
    assert!(matches!(scan.tail, Tail::Damaged { .. }));
    assert!(started.elapsed().as_secs() < 30);
}

/// What is packed is stored as it is; what is not is compressed, unless it is little beside the rest.
#[test]
fn what_is_packed_is_not_compressed_again() {
    let packer = &mut crate::wal::format::Packer::default();
    let raw = vec![7; 100_000];
    for (packed, shorter) in [
        (0, true),
        (40_000, true),
        (60_000, false),
        (90_000, false),
        (100_000, false),
    ] {
        let block = packer
            .encode_block(&raw, packed, 1, 0, &[0; 32], 0)
            .unwrap();
        assert_eq!(block.len() < raw.len(), shorter, "{packed}");
    }
}

#[test]
fn an_older_log_is_read_and_a_newer_one_is_not() {
    let (bytes, ends, blocks) = small_log();
    let (older, older_ends) = as_before(&bytes, &ends);
    // Nothing is packed in the first blocks.
    for (version, file) in [
        (0, &older[..older_ends[2]]),
        (1, &older[..older_ends[2]]),
        (2, &older[..]),
        (3, &bytes[..]),
        (4, &bytes[..]),
        (5, &bytes[..]),
    ] {
        let (records, scan) = read(&with_version(file.to_vec(), version));
        let count = if version == 1 { 2 } else { blocks.len() };
        if (1..=4).contains(&version) {
            assert_eq!(
                (records, scan.tail),
                (blocks[..count].concat(), Tail::Clean)
            );
        } else {
            assert!(scan.header.is_none() && records.is_empty());
        }
    }
    // Of what follows a hole in it, nobody knows that it was not durable.
    for hole in 0..blocks.len() - 1 {
        let mut file = older.clone();
        file[older_ends[hole]..older_ends[hole + 1]].fill(0);
        assert!(matches!(read(&file).1.tail, Tail::Damaged { .. }), "{hole}");
    }
}
