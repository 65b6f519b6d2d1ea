//! Beside a Weir that runs: checking raises no false alarm, and trouble with one file is no damage.

use std::time::Duration;

use super::support::*;
use crate::record::Kind;
use crate::{Finding, Recorder, Severity, VerifyOptions, verify_store, verify_wal};
use pipeline::ports::Journal;

fn with_spool(dir: &TempDir) -> VerifyOptions {
    VerifyOptions {
        spool: Some(dir.spool()),
        ..VerifyOptions::default()
    }
}

/// Puts back into the spool what the store has, as if it had not come so far.
fn take_back(dir: &TempDir, root: &str) -> Vec<std::path::PathBuf> {
    let mut moved = Vec::new();
    for path in objects(&dir.stored().join(root)) {
        let key = path.strip_prefix(dir.stored()).unwrap();
        let name = format!("{}.marked", key.to_string_lossy().replace('/', "_"));
        let to = dir.spool().join("segments").join(name);
        std::fs::rename(&path, &to).unwrap();
        moved.push(to);
    }
    moved
}

/// Several uploads at once overtake each other: what vouches for a segment may be stored before it.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_in_the_spool_is_not_missing() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    session(&recorder, 12, 8000).await;
    recorder.shutdown(SHORT).await;
    drop(recorder);
    dir.open().await.0.shutdown(SHORT).await;
    for root in ["rec", "ctl"] {
        let all = take_back(&dir, root);
        assert!(all.len() > 1);
        // All but one are stored; then none is.
        for wait in 1..=all.len() {
            for path in &all[wait..] {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                let key = name.trim_end_matches(".marked").replace('_', "/");
                std::fs::copy(path, dir.stored().join(key)).unwrap();
            }
            let report = verify_store(&dir.store(), &with_spool(&dir)).await;
            let report = report.unwrap();
            assert!(report.is_ok(), "{root} {wait}: {:?}", report.findings);
            let alone = dir.verify().await;
            assert_eq!(alone.severity(), Severity::Failure, "{root} {wait}");
        }
        for path in &all {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let key = name.trim_end_matches(".marked").replace('_', "/");
            std::fs::rename(path, dir.stored().join(key)).unwrap();
        }
    }
    assert_eq!(dir.verify().await.findings, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_recorder_is_verified_without_false_alarms() {
    let dir = TempDir::new();
    let mut options = dir.options();
    options.limits.wal_file_bytes = 4096;
    options.limits.segment_age = Duration::from_millis(20);
    let (recorder, _) = Recorder::open(options).await.unwrap();
    session(&recorder, 2, 100).await;
    let busy = recorder.clone();
    let work = tokio::spawn(async move {
        for n in 0..60 {
            session(&busy, 4, 200 + n * 50).await;
        }
    });
    while !work.is_finished() {
        let log = verify_wal(&dir.spool()).await.unwrap();
        assert!(log.is_ok(), "{log:?}");
        let report = verify_store(&dir.store(), &with_spool(&dir)).await;
        let report = report.unwrap();
        assert_eq!(report.severity(), Severity::Note, "{:?}", report.findings);
    }
    work.await.unwrap();
    recorder.shutdown(SHORT).await;
    assert_eq!(dir.verify().await.findings, []);
}

/// What cannot be read now is not damaged.
#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_cannot_be_read_is_tried_again() {
    let dir = TempDir::new();
    // Not yet a directory, so that nothing can be stored.
    let (recorder, _) = dir.open().await;
    block_store(&dir);
    session(&recorder, 2, 100).await;
    let waiting = || {
        let mut all = objects(&dir.spool().join("segments"));
        all.retain(|p| p.to_string_lossy().ends_with(".marked"));
        all.pop()
    };
    eventually("a marked segment", || waiting().is_some()).await;
    let path = waiting().unwrap();
    // Reading this says that it is a directory. At no moment is nothing there.
    let other = dir.spool().join("other");
    std::fs::create_dir(&other).unwrap();
    exchange(&path, &other);
    std::fs::remove_file(dir.stored()).unwrap();
    std::fs::create_dir(dir.stored()).unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(recorder.stats().quarantined_segments, 0);
    exchange(&path, &other);
    assert!(recorder.flush(SHORT).await);
    recorder.shutdown(SHORT).await;
    assert_eq!(dir.verify().await.findings, []);
}

fn exchange(one: &std::path::Path, other: &std::path::Path) {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap();
}

fn gaps_in_the_log(dir: &TempDir) -> usize {
    let mut found = 0;
    for (_, path) in crate::wal::scan::files(&dir.spool().join("wal")).unwrap() {
        crate::wal::scan::scan_file(&path, &mut |block| {
            let gaps = block.records().filter(|r| r.known() == Some(Kind::Gap));
            found += gaps.count();
        })
        .unwrap();
    }
    found
}

/// Damage that a start finds is put aside and told of once.
#[tokio::test(flavor = "multi_thread")]
async fn damage_found_at_a_start_is_told_of_once() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    session(&recorder, 2, 100).await;
    recorder.shutdown(SHORT).await;
    drop(recorder);
    let stored = objects(&dir.stored().join("rec")).remove(0);
    let key = stored.strip_prefix(dir.stored()).unwrap();
    // The log knows nothing of it.
    let name = key
        .to_string_lossy()
        .replace('/', "_")
        .replace("000000-", "000009-");
    std::fs::write(dir.spool().join("segments").join(name), b"garbage").unwrap();
    let (recorder, report) = dir.open().await;
    assert_eq!(report.gaps.len(), 1, "{report:?}");
    assert!(recorder.flush(SHORT).await);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(recorder.stats().quarantined_segments, 1);
    recorder.shutdown(SHORT).await;
    let report = dir.verify().await;
    let gap = |f: &&Finding| matches!(f, Finding::Gap { .. });
    assert_eq!(report.findings.iter().filter(gap).count(), 1);
    assert_eq!(report.severity(), Severity::Gap);
}

/// Nobody says anything; the gap is on record all the same.
#[tokio::test(flavor = "multi_thread")]
async fn damage_found_later_is_told_of_at_once() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    block_store(&dir);
    let _open = recorder.open(start()).await.unwrap();
    session(&recorder, 2, 100).await;
    let waiting = || objects(&dir.spool().join("segments")).pop();
    eventually("a waiting segment", || waiting().is_some()).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    std::fs::write(waiting().unwrap(), b"damage").unwrap();
    eventually("it is put aside", || {
        recorder.stats().quarantined_segments == 1
    })
    .await;
    eventually("it is on record", || gaps_in_the_log(&dir) == 1).await;
}
