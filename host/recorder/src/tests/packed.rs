//! Recorded bytes are compressed once, and what is compressed is what the chains vouch for.

use pipeline::Direction;
use pipeline::ports::Journal;
use uuid::Uuid;

use super::support::*;
use crate::chain::{self, Hash};
use crate::record::{self, Kind, NewRecord};
use crate::segment::{Builder, FooterDoc, Place, Segment, SegmentError, read_footer};

const STREAM: Uuid = Uuid::from_u128(0x1900_0000_0000_7000_8000_0000_0000_0001);

fn rows(n: u64, len: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while out.len() < len {
        out.extend_from_slice(format!("D{n}\tname {}\t17.50", out.len() % 97).as_bytes());
    }
    out
}

/// A record as the log has it.
fn encoded(index: u64, kind: Kind, body: &[u8], level: Option<i32>) -> Vec<u8> {
    let packed = level.map(|level| zstd::bulk::compress(body, level).unwrap());
    let mut out = Vec::new();
    NewRecord {
        kind,
        ts_ns: 1000 + index,
        stream: STREAM.as_u128(),
        seq: kind.has_seq().then_some(7),
        packed: packed.as_ref().map(|_| body.len() as u32),
        body: packed.unwrap_or_else(|| body.to_vec()).into(),
    }
    .encode(index, &mut out);
    out
}

fn builder() -> Builder {
    Builder::new(Place {
        stream: STREAM,
        control: false,
        started_ns: 1000,
        segment: 0,
        first_record: 0,
        chain_in: [0; 32],
    })
    .unwrap()
}

/// A segment of these records, whose chain is over `leaves`.
fn segment(records: &[Vec<u8>], leaves: &[Hash]) -> Vec<u8> {
    let mut builder = builder();
    for (n, (record, leaf)) in records.iter().zip(leaves).enumerate() {
        builder.push(record, 1000 + n as u64, leaf).unwrap();
    }
    builder.finish(true).unwrap()
}

/// Small and large ones, of which those in the middle are packed.
fn mixed() -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let bodies = vec![
        b"{}".to_vec(),
        rows(1, 20_000),
        rows(2, 131_072),
        rows(3, 400_000),
        rows(4, 90),
        b"{}".to_vec(),
    ];
    let records = vec![
        encoded(0, Kind::SessionStart, &bodies[0], None),
        encoded(1, Kind::ToClient, &bodies[1], Some(1)),
        encoded(2, Kind::ToUpstream, &bodies[2], Some(1)),
        encoded(3, Kind::ToClient, &bodies[3], None),
        encoded(4, Kind::ToClient, &bodies[4], Some(1)),
        encoded(5, Kind::SessionEnd, &bodies[5], None),
    ];
    (records, bodies)
}

fn leaves(records: &[Vec<u8>]) -> Vec<Hash> {
    records.iter().map(|r| chain::leaf(r)).collect()
}

/// The segment with its footer replaced.
fn with_footer(bytes: &[u8], change: impl FnOnce(&mut FooterDoc)) -> Vec<u8> {
    let (mut footer, at) = read_footer(bytes).unwrap();
    change(&mut footer);
    let json = serde_json::to_vec(&footer).unwrap();
    let mut out = bytes[..at + 4].to_vec();
    out.extend_from_slice(&(json.len() as u32 + 16).to_le_bytes());
    out.extend_from_slice(&json);
    out.extend_from_slice(&(json.len() as u32).to_le_bytes());
    out.extend_from_slice(&crc32c::crc32c(&json).to_le_bytes());
    out.extend_from_slice(b"WEIRREC1");
    out
}

#[test]
fn a_segment_has_plain_records_and_the_very_frames_of_the_packed_ones() {
    let (records, bodies) = mixed();
    let bytes = segment(&records, &leaves(&records));
    let segment = Segment::parse(&bytes).unwrap();
    let packed: Vec<_> = segment.footer.frames.iter().filter(|f| f.packed).collect();
    assert_eq!(packed.len(), 3);
    for (frame, n) in packed.iter().zip([1, 2, 4]) {
        let this = &bytes[frame.offset as usize..(frame.offset + frame.len) as usize];
        assert!(records[n].ends_with(this));
        assert_eq!(frame.raw as usize, bodies[n].len());
    }
    let raw = zstd::stream::decode_all(&bytes[..]).unwrap();
    let mut rest = &raw[..];
    for (n, body) in bodies.iter().enumerate() {
        let record = record::take(&mut rest).unwrap().unwrap();
        assert!(record.known().is_some());
        assert_eq!((record.index, record.ts_ns), (n as u64, 1000 + n as u64));
        assert_eq!(record.action().map_or(record.payload, |(_, b)| b), body);
    }
    assert!(rest.is_empty());
    assert_eq!(segment.records().count(), bodies.len());
}

/// Whoever can write the object, its index included, still cannot change what the chain is over.
#[test]
fn nothing_about_a_packed_record_can_be_changed() {
    let (records, bodies) = mixed();
    let good = leaves(&records);
    let refused = |bytes: &[u8], what: &str| {
        let error = Segment::parse(bytes).err();
        assert!(error.is_some(), "{what}");
        error
    };
    // The same bytes, compressed in another way; other bytes; two swapped; packed or not.
    let mut again = records.clone();
    again[1] = encoded(1, Kind::ToClient, &bodies[1], Some(9));
    assert_ne!(again[1], records[1]);
    let error = refused(&segment(&again, &good), "other compression");
    assert_eq!(error, Some(SegmentError::Chain));
    again[1] = encoded(1, Kind::ToClient, &rows(9, 20_000), Some(1));
    refused(&segment(&again, &good), "other rows");
    again[1] = encoded(1, Kind::ToUpstream, &bodies[1], Some(1));
    refused(&segment(&again, &good), "the other way");
    again[1] = encoded(1, Kind::ToClient, &bodies[1], None);
    refused(&segment(&again, &good), "not packed");
    again[1] = records[1].clone();
    again[3] = encoded(3, Kind::ToClient, &bodies[3][..9000], Some(1));
    refused(&segment(&again, &good), "packed");
    // The index says otherwise.
    let bytes = segment(&records, &good);
    assert!(Segment::parse(&with_footer(&bytes, |_| {})).is_ok());
    let frames = Segment::parse(&bytes).unwrap().footer.frames.len();
    for n in 0..frames {
        let flipped = with_footer(&bytes, |f| f.frames[n].packed ^= true);
        refused(&flipped, &format!("frame {n} of {frames}"));
    }
    // A bit of a frame.
    let (_, end) = read_footer(&bytes).unwrap();
    for at in (300..end).step_by(41) {
        let mut bad = bytes.clone();
        bad[at] ^= 4;
        refused(&bad, &format!("byte {at}"));
    }
}

/// The chain would fit: nobody may be shown a frame instead of what is in it.
#[test]
fn a_record_as_the_log_has_it_does_not_belong_into_a_segment() {
    let (records, _) = mixed();
    let mut hidden = records.clone();
    // Built as if it were of another kind, so that it is not taken apart.
    hidden[1][4] = Kind::Gap as u8;
    let bytes = segment(&hidden, &leaves(&records));
    let (footer, _) = read_footer(&bytes).unwrap();
    let first = footer.frames[0];
    let (from, to) = (first.offset as usize, (first.offset + first.len) as usize);
    let mut raw = zstd::bulk::decompress(&bytes[from..to], 1 << 20).unwrap();
    let at = records[0].len() + 4;
    assert_eq!(raw[at], Kind::Gap as u8);
    raw[at] = records[1][4];
    let frame = zstd::bulk::compress(&raw, 1).unwrap();
    let longer = frame.len() as i64 - first.len as i64;
    let put = [&bytes[..from], &frame, &bytes[to..]].concat();
    let put = with_footer(&put, |f| {
        f.frames[0].len = frame.len() as u64;
        for later in &mut f.frames[1..] {
            later.offset = (later.offset as i64 + longer) as u64;
        }
    });
    let error = Segment::parse(&put).err();
    assert_eq!(error, Some(SegmentError::Malformed("packed record")));
}

/// What was stored before records were packed stays readable.
#[test]
fn segments_of_the_version_before_are_read() {
    let older = |bytes: &[u8]| {
        let at = bytes.windows(11).position(|w| w == b"weir.rec.v2").unwrap();
        let mut older = bytes.to_vec();
        older[at + 10] = b'1';
        older
    };
    let plain = [
        encoded(0, Kind::SessionStart, b"{}", None),
        encoded(1, Kind::ToClient, &rows(1, 300_000), None),
        encoded(2, Kind::SessionEnd, b"{}", None),
    ];
    let bytes = segment(&plain, &leaves(&plain));
    assert_eq!(Segment::parse(&older(&bytes)).unwrap().records().count(), 3);
    let (records, _) = mixed();
    let bytes = segment(&records, &leaves(&records));
    let error = Segment::parse(&older(&bytes)).err();
    assert_eq!(error, Some(SegmentError::Malformed("footer")));
}

/// Through the whole recorder, on both ways and across a crash.
#[tokio::test(flavor = "multi_thread")]
async fn packed_bytes_come_back_from_the_log_after_a_crash() {
    let dir = TempDir::new();
    let mut options = dir.options();
    // Nothing leaves the log meanwhile.
    options.limits.segment_bytes = options.limits.unsealed_bytes;
    let (recorder, _) = crate::Recorder::open(options).await.unwrap();
    let start = start();
    let id = start.info.id.0;
    let journal = recorder.open(start).await.unwrap();
    journal.intent(intent(0, "copy")).await.unwrap();
    let mut sent = Vec::new();
    for (n, way) in [
        (1, Direction::ToClient),
        (2, Direction::ToUpstream),
        (3, Direction::ToClient),
    ] {
        let bytes = [rows(n, 15_000 * n as usize), noise(n, 20_000).to_vec()].concat();
        journal.bytes(0, way, bytes.clone().into()).await.unwrap();
        sent.push((way, bytes));
    }
    journal.intent(intent(1, "select 1")).await.unwrap();
    let copy = TempDir::new();
    crash_copy(&dir.spool(), &copy.spool());
    let (again, report) = copy.open().await;
    assert_eq!((report.gaps.len(), report.interrupted.len()), (0, 1));
    again.shutdown(SHORT).await;
    let report = copy.verify().await;
    assert_eq!((findings(&report), report.complete), (vec![], 1));
    let mut found = Vec::new();
    for key in copy.store().segments(false, id).await.unwrap() {
        let segment = copy.store().segment(&key).await.unwrap();
        for r in segment.records() {
            if let (Some(kind), Some((_, body))) = (r.known().filter(|k| k.is_bytes()), r.action())
            {
                let way = match kind {
                    Kind::ToClient => Direction::ToClient,
                    _ => Direction::ToUpstream,
                };
                found.push((way, body.to_vec()));
            }
        }
    }
    assert!(found == sent);
    journal.close(end()).await.unwrap();
    recorder.shutdown(SHORT).await;
}
