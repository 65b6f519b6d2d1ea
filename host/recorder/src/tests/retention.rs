//! How long a session's segments are to be kept: said at its start, on record, in every segment, after every
//! crash; and nothing is stored where nobody keeps it for so long. What stores do is in `stores`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pipeline::SessionStart;
use pipeline::ports::Journal;
use uuid::Uuid;

use super::log::log_objects;
use super::support::*;
use crate::crypt::container;
use crate::crypt::key::object_name;
use crate::doc::MarkDoc;
use crate::log::names::Part;
use crate::objects::{Objects, StoreError};
use crate::pending::parse_name;
use crate::record::Kind;
use crate::wal::scan;
use crate::{Proof, Recorder, ReplayOptions};

pub fn kept_for(retention_days: Option<u32>) -> SessionStart {
    SessionStart {
        retention_days,
        ..start()
    }
}

/// A session that is over.
pub async fn session_kept_for(recorder: &Recorder, days: Option<u32>, actions: u64) -> Uuid {
    let start = kept_for(days);
    let id = start.info.id.0;
    let journal = recorder.open(start).await.unwrap();
    act(&*journal, 0..actions, 4000).await;
    journal.close(end()).await.unwrap();
    id
}

/// What the plain headers of a session's waiting segments say, in their order.
fn waiting(spool: &Path, session: Uuid) -> Vec<Option<u32>> {
    let mut found: Vec<(u32, PathBuf)> = objects(&spool.join("segments"))
        .into_iter()
        .filter_map(|path| {
            let (key, _) = parse_name(path.file_name()?.to_str()?)?;
            (key.stream == session).then_some((key.segment, path))
        })
        .collect();
    found.sort();
    let days = found.into_iter().map(|(_, path)| {
        let header = container::read_header(&std::fs::read(path).unwrap());
        header.unwrap().0.retention_days
    });
    days.collect()
}

/// The marks of a session's segments in a write-ahead log.
fn marks(spool: &Path, session: Uuid) -> Vec<MarkDoc> {
    let mut out = Vec::new();
    for (_, path) in scan::files(&spool.join("wal")).unwrap() {
        scan::scan_file(&path, &mut |block| {
            for record in block.records() {
                if matches!(record.known(), Some(Kind::Sealed | Kind::Carry)) {
                    let mark: MarkDoc = serde_json::from_slice(record.payload).unwrap();
                    out.extend((mark.stream == session.to_string()).then_some(mark));
                }
            }
        })
        .unwrap();
    }
    out
}

/// As a process begins after one that left this spool.
async fn open_copy(from: &TempDir, change: impl FnOnce(&Path)) -> (TempDir, Recorder) {
    let copy = TempDir::new();
    crash_copy(&from.spool(), &copy.spool());
    change(&copy.spool());
    let (recorder, _) = copy.open().await;
    (copy, recorder)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nothing_locks_for_so_long_stays_in_the_spool() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    let kept = session_kept_for(&recorder, Some(10), 20).await;
    let other = session_kept_for(&recorder, None, 20).await;
    assert!(!recorder.flush(Duration::from_millis(1500)).await);
    let stats = recorder.stats();
    assert!(stats.store_failures > 0 && stats.poisoned.is_none());
    let segments = waiting(&dir.spool(), kept);
    assert!(segments.len() > 1, "{segments:?}");
    assert!(segments.iter().all(|days| *days == Some(10)));
    // What nobody wants kept for longer is not held up.
    assert_eq!(waiting(&dir.spool(), other), []);
    let stored = dir.store().sessions(crate::Days::default()).await.unwrap();
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].session, other);
    // Neither does the next process store them.
    recorder.shutdown(Duration::from_millis(200)).await;
    drop(recorder);
    let (recorder, report) = dir.open().await;
    assert!(report.pending_segments >= segments.len() as u64);
    assert!(!recorder.flush(Duration::from_millis(1000)).await);
    assert_eq!(waiting(&dir.spool(), kept), segments);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_place_without_a_lock_keeps_anything_longer() {
    let dir = TempDir::new();
    let store = crate::StoreConfig::Directory(dir.stored());
    let live = Objects::open(&store).unwrap();
    let inner = Arc::new(object_store::memory::InMemory::new());
    for objects in [live.clone(), live.with_vault(inner, "")] {
        assert!(objects.keeping(None).is_ok());
        for days in [0, 1, 10] {
            let kept = objects.keeping(Some(days)).err();
            assert!(
                matches!(kept, Some(StoreError::NoLock(d)) if d == days),
                "{kept:?}"
            );
        }
    }
    let (recorder, _) = dir.open().await;
    assert!(
        recorder
            .prove_retention([].into(), Proof::Now)
            .await
            .is_ok()
    );
    let proved = recorder
        .prove_retention([1, 10].into(), Proof::OrLater)
        .await
        .err();
    assert!(matches!(proved, Some(StoreError::NoLock(1))), "{proved:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn how_long_is_on_record_and_on_the_log() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    let kept = session_kept_for(&recorder, Some(2555), 1).await;
    let other = session_kept_for(&recorder, None, 1).await;
    recorder.shutdown(Duration::from_millis(1500)).await;
    let mut said = Vec::new();
    for (path, _, part) in log_objects(&dir) {
        if !matches!(part, Part::Tile(tile) if tile.kind == tlog::Kind::Entries) {
            continue;
        }
        for entry in tlog::entries(&std::fs::read(path).unwrap()) {
            let entry = std::str::from_utf8(entry.unwrap()).unwrap();
            let leaf: serde_json::Value = serde_json::from_str(entry).unwrap();
            // Its names are in the order of RFC 8785.
            assert_eq!(entry, leaf.to_string());
            let days = leaf.get("retention_days").map(|days| days.as_u64());
            if leaf["type"] == "session.start" {
                said.push((leaf["sid"].as_str().unwrap().to_owned(), days));
            } else {
                assert_eq!(days, None, "{entry}");
            }
        }
    }
    said.sort();
    said.dedup();
    let expected = [(kept, Some(Some(2555))), (other, None)];
    assert_eq!(said, expected.map(|(id, days)| (id.to_string(), days)));
    // The marks say it, too, for whoever has nothing but them.
    let marked = marks(&dir.spool(), kept);
    assert!(!marked.is_empty());
    for mark in marked {
        assert_eq!(mark.session.unwrap().retention_days, Some(2555));
    }
    // And the record, for people. A segment that waits is read where the store would have it.
    for path in objects(&dir.spool().join("segments")) {
        let name = path.file_name().unwrap().to_str().unwrap();
        if let Some((key, _)) = parse_name(name) {
            let to = dir.stored().join(key.to_string());
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::copy(path, to).unwrap();
        }
    }
    let told = async |session| {
        let (mut out, options) = (Vec::new(), ReplayOptions::default());
        let replayed = crate::replay(&dir.store(), session, &options, &mut out).await;
        assert!(replayed.unwrap().complete);
        String::from_utf8(out).unwrap()
    };
    assert!(told(kept).await.contains("to be kept   at least 2555 days"));
    assert!(!told(other).await.contains("to be kept"));
}

/// Of a session that is open, with sealed segments and without, known to the log and not.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_at_the_start_outlives_every_crash() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    let start = kept_for(Some(10));
    let id = start.info.id.0;
    let journal = recorder.open(start).await.unwrap();
    act(&*journal, 0..3, 1000).await;
    journal.settle().await.unwrap();
    let all_ten = |spool: &Path| {
        let segments = waiting(spool, id);
        assert!(!segments.is_empty());
        assert!(segments.iter().all(|d| *d == Some(10)), "{segments:?}");
        segments.len()
    };

    // Nothing is sealed: all of it is by the next process.
    let (begun, next) = open_copy(&dir, |spool| assert_eq!(waiting(spool, id), [])).await;
    next.shutdown(Duration::from_millis(300)).await;
    assert_eq!(all_ten(&begun.spool()), 1);

    // A segment was sealed, and its mark is not in the log: it is the newer of two states of the spool.
    let before = TempDir::new();
    crash_copy(&dir.spool(), &before.spool());
    recorder.flush(Duration::from_millis(300)).await;
    assert_eq!(all_ten(&dir.spool()), 1);
    let (unmarked, next) = open_copy(&before, |spool| {
        for path in objects(&dir.spool().join("segments")) {
            let name = path.file_name().unwrap().to_str().unwrap();
            if name.contains(&id.to_string()) {
                let name = name.trim_end_matches(".marked");
                std::fs::copy(&path, spool.join("segments").join(name)).unwrap();
            }
        }
        assert_eq!(marks(spool, id), []);
    })
    .await;
    next.shutdown(Duration::from_millis(300)).await;
    assert_eq!(all_ten(&unmarked.spool()), 2);
    let adopted = marks(&unmarked.spool(), id);
    assert!(!adopted.is_empty());
    for mark in adopted {
        assert_eq!(mark.session.unwrap().retention_days, Some(10), "{id}");
        assert_eq!(mark.retention_days, None, "said once");
    }

    // Its start is in no file of the log any more: the mark says it.
    let mut seq = 3;
    let first = dir.spool().join("wal/000000000001.wal");
    while first.exists() {
        act(&*journal, seq..seq + 4, 8000).await;
        seq += 4;
        recorder.flush(Duration::from_millis(100)).await;
        assert!(seq < 400, "the first file of the log never goes");
    }
    let before = all_ten(&dir.spool());
    let (marked, next) = open_copy(&dir, |_| {}).await;
    next.shutdown(Duration::from_millis(300)).await;
    assert!(all_ten(&marked.spool()) > before);
}

/// Whoever erases a session destroys its key, and the longest lock on its segments must not keep that.
#[tokio::test(flavor = "multi_thread")]
async fn the_key_is_stored_as_ever() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    let kept = session_kept_for(&recorder, Some(10), 1).await;
    recorder.flush(Duration::from_millis(500)).await;
    // The segments cannot be stored here; the key, which goes first, is.
    assert!(dir.stored().join(object_name(kept)).exists());
}

/// Its start is in a file of the log that is damaged, and so is the mark of its first segment, which waits: that
/// says it, for all that comes after.
#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_segment_says_it_where_the_start_is_lost() {
    let dir = TempDir::new();
    let mut options = dir.options();
    options.limits.segment_bytes = 1 << 20;
    let (recorder, _) = Recorder::open(options).await.unwrap();
    let start = kept_for(Some(10));
    let id = start.info.id.0;
    let journal = recorder.open(start).await.unwrap();
    act(&*journal, 0..4, 9000).await;
    recorder.flush(Duration::from_millis(300)).await;
    recorder.inner.committer.lock().rotate();
    act(&*journal, 4..7, 1000).await;
    journal.settle().await.unwrap();
    assert!(dir.spool().join("wal/000000000002.wal").exists());
    let lose_start = |spool: &Path| {
        let first = spool.join("wal/000000000001.wal");
        let mut bytes = std::fs::read(&first).unwrap();
        bytes.iter_mut().skip(100).for_each(|byte| *byte = 7);
        std::fs::write(first, bytes).unwrap();
        for path in objects(&spool.join("segments")) {
            let name = path.to_str().unwrap();
            if name.contains(&id.to_string()) {
                std::fs::rename(&path, name.trim_end_matches(".marked")).unwrap();
            }
        }
        assert_eq!(
            (marks(spool, id), waiting(spool, id)),
            (vec![], vec![Some(10)])
        );
    };
    let before = TempDir::new();
    crash_copy(&dir.spool(), &before.spool());
    let (lost, next) = open_copy(&before, lose_start).await;
    next.shutdown(Duration::from_millis(300)).await;
    assert_eq!(waiting(&lost.spool(), id), [Some(10), Some(10)]);
    let marked = marks(&lost.spool(), id);
    assert!(marked.len() > 1, "{marked:?}");
    for mark in marked {
        assert_eq!((mark.session.is_none(), mark.kept_for()), (true, Some(10)));
    }
    // Where its key is damaged, too, the segment is put aside, and that stops no start.
    let (damaged, next) = open_copy(&before, |spool| {
        lose_start(spool);
        let key = crate::crypt::files::path(&spool.join("segments"), id);
        let mut doc: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&key).unwrap()).unwrap();
        let wrapped = doc["wrapped"].as_str().unwrap();
        let other = if wrapped.starts_with('A') { "B" } else { "A" };
        doc["wrapped"] = format!("{other}{}", &wrapped[1..]).into();
        std::fs::write(key, serde_json::to_vec(&doc).unwrap()).unwrap();
    })
    .await;
    next.shutdown(Duration::from_millis(300)).await;
    let aside = objects(&damaged.spool().join("quarantine"));
    let is_its = |path: &std::path::PathBuf| path.to_string_lossy().contains(&id.to_string());
    assert!(aside.iter().any(is_its), "{aside:?}");
}
