//! What somebody puts into the store in a session's name hides nothing of it, and is not taken for it.

use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::support::*;
use crate::chain::{self, Hash};
use crate::crypt::container::{self, Named};
use crate::crypt::key::object_name;
use crate::keys::SegmentKey;
use crate::segment::{Builder, Place, Segment};
use crate::{Finding, ReplayError, ReplayOptions, ReplaySummary};

const FORGED: &str = "never recorded";

async fn replay(dir: &TempDir, id: Uuid) -> (Result<ReplaySummary, ReplayError>, String) {
    let mut out = Vec::new();
    let replayed = crate::replay(&dir.store(), id, &ReplayOptions::default(), &mut out).await;
    (replayed, String::from_utf8_lossy(&out).into_owned())
}

/// One session whose recording is whole.
async fn recorded(dir: &TempDir, actions: u64) -> (Uuid, Vec<PathBuf>) {
    let (recorder, _) = dir.open().await;
    let id = session(&recorder, actions, 8000).await;
    recorder.shutdown(SHORT).await;
    let rec = dir.stored().join("rec");
    (id, objects(&rec))
}

fn key_of(dir: &TempDir, path: &Path) -> SegmentKey {
    let name = path.strip_prefix(dir.stored()).unwrap();
    SegmentKey::parse(&name.to_string_lossy()).unwrap()
}

/// Puts it beside what has the same number.
fn put(dir: &TempDir, like: &SegmentKey, bytes: &[u8]) -> PathBuf {
    let key = SegmentKey {
        sha256: chain::sha256(bytes),
        ..*like
    };
    let path = dir.stored().join(key.to_string());
    std::fs::write(&path, bytes).unwrap();
    path
}

/// The same segment with another byte in each record, as one who knows the format makes it, not encrypted.
async fn forged(dir: &TempDir, path: &Path) -> Vec<u8> {
    forged_after(dir, path, None).await
}

async fn forged_after(dir: &TempDir, path: &Path, chain: Option<Hash>) -> Vec<u8> {
    let bytes = dir.decrypted(path).await;
    let segment = Segment::parse(&bytes).unwrap();
    let place = Place {
        stream: segment.stream,
        control: false,
        started_ns: segment.header.started_ns,
        segment: segment.header.segment,
        first_record: segment.footer.first_record,
        chain_in: chain.unwrap_or(segment.chain_in),
    };
    let mut builder = Builder::new(place).unwrap();
    for record in segment.records() {
        let mut other = record.encoded.to_vec();
        *other.last_mut().unwrap() ^= 1;
        let leaf: Hash = chain::leaf(&other);
        builder.push(&other, record.ts_ns, &leaf).unwrap();
    }
    builder.finish(segment.footer.last).unwrap()
}

/// Encrypted with the session's own key, as only Weir can.
async fn sealed(dir: &TempDir, key: &SegmentKey, plain: &[u8]) -> Vec<u8> {
    let segment = Segment::parse(plain).unwrap();
    let store = dir.store();
    let with = store.keys().get(store.objects(), key.stream).await.unwrap();
    let named = Named {
        retention_days: None,
        control: false,
        segment: key.segment,
        started_ns: segment.header.started_ns,
        t1_ns: segment.footer.t1_ns,
    };
    container::seal(&with, named, plain).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_of_two_versions_is_taken() {
    let dir = TempDir::new();
    let (id, stored) = recorded(&dir, 2).await;
    let key = key_of(&dir, &stored[0]);
    let other = forged(&dir, &stored[0]).await;
    let other = put(&dir, &key, &sealed(&dir, &key, &other).await);
    let (replayed, out) = replay(&dir, id).await;
    let two = matches!(replayed, Err(ReplayError::TwoVersions { segment: 0, .. }));
    assert!(two && out.is_empty(), "{replayed:?}");
    let report = dir.verify().await;
    let two = |f: &Finding| matches!(f, Finding::TwoVersions { .. });
    assert!(report.findings.iter().any(two), "{report:?}");
    std::fs::remove_file(other).unwrap();
    assert!(replay(&dir, id).await.0.unwrap().complete);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_planted_hides_nothing() {
    let dir = TempDir::new();
    let (id, stored) = recorded(&dir, 12).await;
    assert!(stored.len() > 1, "{stored:?}");
    let (whole, text) = replay(&dir, id).await;
    let whole = whole.unwrap();
    assert!(whole.complete && whole.notes.is_empty(), "{whole:?}");
    let last = key_of(&dir, stored.last().unwrap());
    let mut planted = Vec::new();
    for path in &stored {
        let key = key_of(&dir, path);
        let good = std::fs::read(path).unwrap();
        // Nothing, something cut off, another's, another number's, and what is not encrypted and fits.
        planted.push(put(&dir, &key, b""));
        planted.push(put(&dir, &key, &good[..good.len() - 1]));
        planted.push(put(&dir, &key, FORGED.as_bytes()));
        let next = SegmentKey {
            segment: (key.segment + 1) % (last.segment + 1),
            ..key
        };
        planted.push(put(&dir, &next, &good));
        planted.push(put(&dir, &key, &forged(&dir, path).await));
    }
    // Behind its end, right there and far away.
    for segment in [last.segment + 1, last.segment + 100] {
        let behind = SegmentKey { segment, ..last };
        planted.push(put(&dir, &behind, &std::fs::read(&stored[0]).unwrap()));
    }
    // An object whose name says something else than its bytes.
    let wrong = SegmentKey {
        sha256: [0; 32],
        ..last
    };
    let path = dir.stored().join(wrong.to_string());
    std::fs::write(&path, std::fs::read(stored.last().unwrap()).unwrap()).unwrap();
    planted.push(path);
    let (replayed, again) = replay(&dir, id).await;
    let replayed = replayed.unwrap();
    assert_eq!(again, text);
    assert_eq!(replayed.records, whole.records);
    let told = replayed.notes.len();
    let more = match replayed.notes.last().unwrap().split_once(" more objects") {
        Some((more, _)) => more.parse::<usize>().unwrap() - 1,
        None => 0,
    };
    assert_eq!(told + more, planted.len(), "{:?}", replayed.notes);
    // Decisions are read the same way.
    let store = dir.store();
    let mut requests = store.requests(id).await.unwrap();
    let mut read = 0;
    while let Some(some) = requests.next().await.unwrap() {
        read += some.len();
    }
    assert_eq!(read, 12);
    assert_eq!(requests.notes(), replayed.notes);
    assert!(!requests.is_unvouched());
}

/// What was passed over can be why it ends with an error.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_passed_over_is_told_with_an_error_too() {
    let dir = TempDir::new();
    let (id, stored) = recorded(&dir, 12).await;
    assert!(stored.len() > 2, "{stored:?}");
    put(&dir, &key_of(&dir, &stored[0]), b"");
    std::fs::remove_file(&stored[1]).unwrap();
    let (mut notes, mut out) = (Vec::new(), Vec::new());
    let options = ReplayOptions::default();
    let replayed = crate::replay_noting(&dir.store(), id, &options, &mut out, &mut notes).await;
    let missing = matches!(replayed, Err(ReplayError::Missing { segment: 1, .. }));
    assert!(missing && !out.is_empty(), "{replayed:?}");
    assert_eq!(notes.len(), 1, "{notes:?}");
    let store = dir.store();
    let mut requests = store.requests(id).await.unwrap();
    while let Ok(Some(_)) = requests.next().await {}
    assert_eq!(requests.notes(), notes);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_encrypted_is_not_taken_for_what_was() {
    let dir = TempDir::new();
    let (id, stored) = recorded(&dir, 12).await;
    let mut chained = Vec::new();
    for path in &stored {
        chained.push((key_of(&dir, path), forged(&dir, path).await));
    }
    let genesis = chain::stream_genesis(id.as_u128());
    let alone = forged_after(&dir, &stored[0], Some(genesis)).await;
    // The first of them alone: with the others, it would be seen that they do not fit together.
    let strange = |replayed: &Result<ReplaySummary, ReplayError>, number: u32| matches!(replayed, Err(ReplayError::NotEncrypted { segment, .. }) if *segment == number);
    let first = std::fs::read(&stored[0]).unwrap();
    std::fs::remove_file(&stored[0]).unwrap();
    let planted = put(&dir, &chained[0].0, &chained[0].1);
    let (replayed, out) = replay(&dir, id).await;
    assert!(strange(&replayed, 0) && out.is_empty(), "{replayed:?}");
    std::fs::remove_file(planted).unwrap();
    std::fs::write(&stored[0], first).unwrap();
    // Another one, after what is right.
    std::fs::remove_file(&stored[1]).unwrap();
    let planted = put(&dir, &chained[1].0, &chained[1].1);
    let (replayed, out) = replay(&dir, id).await;
    assert!(strange(&replayed, 1) && !out.is_empty(), "{replayed:?}");
    std::fs::remove_file(planted).unwrap();
    // With the key gone, nothing here can tell; so it is said that nobody vouches for it.
    for path in &stored {
        std::fs::remove_file(path).ok();
    }
    put(&dir, &chained[0].0, &alone);
    std::fs::remove_file(dir.stored().join(object_name(id))).unwrap();
    let (replayed, _) = replay(&dir, id).await;
    let notes = replayed.unwrap().notes;
    assert!(
        notes.len() == 1 && notes[0].contains("not encrypted"),
        "{notes:?}"
    );
    // Whoever judges what is in it is told the same.
    let store = dir.store();
    let mut requests = store.requests(id).await.unwrap();
    assert!(!requests.next().await.unwrap().unwrap().is_empty());
    assert!(requests.is_unvouched());
    assert_eq!(requests.notes(), notes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_key_in_the_spool_is_not_preferred_to_the_stores() {
    let dir = TempDir::new();
    let (id, _) = recorded(&dir, 2).await;
    let spool = crate::crypt::files::path(&dir.spool().join("segments"), id);
    std::fs::create_dir_all(spool.parent().unwrap()).unwrap();
    for damaged in [&b""[..], b"{", b"null"] {
        std::fs::write(&spool, damaged).unwrap();
        assert!(replay(&dir, id).await.0.unwrap().complete);
    }
    // With nothing in the store, it is what there is.
    std::fs::remove_file(dir.stored().join(object_name(id))).unwrap();
    let error = replay(&dir, id).await.0.unwrap_err().to_string();
    assert!(error.contains("key"), "{error}");
}
