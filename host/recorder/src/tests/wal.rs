//! Every cut and every flipped byte of a small log.

use super::support::TempDir;
use crate::chain::{self, WAL_GENESIS};
use crate::disk::RealDisk;
use crate::record::{Kind, NewRecord};
use crate::wal::format::{BLOCK_HEADER, FILE_HEADER};
use crate::wal::scan::{self, Tail};
use crate::wal::writer::Writer;

/// A log of blocks of 1, 2, 5 and 300 records, the last of which is compressed; its bytes, where its blocks end, and its records.
fn small_log() -> (Vec<u8>, Vec<usize>, Vec<Vec<Vec<u8>>>) {
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
            NewRecord {
                kind: Kind::Intent,
                ts_ns: index,
                stream: 5,
                seq: Some(index),
                body: format!("{{\"text\":\"select {index}\"}}").into(),
            }
            .encode(index, &mut raw);
            records.push(raw[from..].to_vec());
            chain = chain::link(&chain, &chain::leaf(&raw[from..]));
            index += 1;
        }
        let len = writer.append(&raw, count as u32, chain).unwrap();
        ends.push(ends.last().unwrap() + len as usize);
        blocks.push(records);
    }
    let bytes = std::fs::read(scan::file_path(&wal, 1)).unwrap();
    (bytes, ends, blocks)
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
    }
    .encode(0, &mut raw);
    // Stored, not compressed, so that the inner block is there byte by byte.
    let mut packer = crate::wal::format::Packer::default();
    let outer = packer.encode_block(&raw, 1, 0, &[0; 32]).unwrap();
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
