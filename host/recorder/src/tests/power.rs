//! The power fails: what was said to be durable must be, names of files included. The order of the
//! disk's operations tells.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pipeline::ports::{Journal, JournalError};

use super::support::*;
use crate::fault::{Call, Fault, FaultDisk};
use crate::objects::Objects;
use crate::{OpenError, Recorder};

/// Goes through what was done and looks for what would be lost at each point that relies on it.
fn check_order(spool: &Path, calls: &[Call]) -> BTreeSet<&'static str> {
    let wal = spool.join("wal");
    let segments = spool.join("segments");
    let in_dir = |path: &Path, dir: &Path| path.parent() == Some(dir);
    let mut unsynced: BTreeSet<PathBuf> = BTreeSet::new();
    let mut unnamed: BTreeSet<PathBuf> = BTreeSet::new();
    let mut gone: BTreeSet<PathBuf> = BTreeSet::new();
    let mut written: BTreeSet<PathBuf> = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for call in calls {
        match call {
            // Until it has a number, nothing relies on it.
            Call::Create(path) if path.ends_with("wal/ahead") => {}
            Call::Create(path) => {
                written.remove(path);
                unnamed.insert(path.clone());
            }
            Call::Write(path) => {
                // The header comes first; what follows is an acknowledged block.
                let again = !written.insert(path.clone()) && unnamed.contains(path);
                let again = again && in_dir(path, &wal);
                assert!(
                    !again,
                    "{path:?}: a second write before its name is durable"
                );
                unsynced.insert(path.clone());
            }
            Call::Sync(path) => {
                unsynced.remove(path);
                if in_dir(path, &wal) && !unnamed.contains(path) {
                    seen.insert("a block is durable");
                    let names: Vec<_> = unnamed.iter().filter(|p| in_dir(p, &wal)).collect();
                    assert!(names.is_empty(), "{names:?} has no durable name yet");
                }
            }
            Call::Rename(from, to) => {
                assert!(
                    !unsynced.contains(from),
                    "{from:?} is renamed, but not synced"
                );
                unnamed.remove(from);
                if to.file_name().is_some_and(|name| name == "edge") {
                    let dir = to.parent().unwrap();
                    let missing = unnamed.iter().chain(&unsynced).find(|p| in_dir(p, dir));
                    assert_eq!(missing, None, "a checkpoint of what is not durable");
                    seen.insert("a checkpoint is durable");
                }
                if in_dir(to, &wal) {
                    unnamed.insert(to.clone());
                    seen.insert("a filled log file has its number");
                }
                if in_dir(to, &segments) {
                    unnamed.insert(to.clone());
                    seen.insert("a segment has its name");
                }
            }
            Call::Remove(path) if in_dir(path, &wal) => {
                let names: Vec<_> = unnamed.iter().filter(|p| in_dir(p, &segments)).collect();
                assert!(
                    names.is_empty(),
                    "{path:?} goes before {names:?} is durable"
                );
                assert!(gone.is_empty(), "{gone:?} may come back without {path:?}");
                gone.insert(path.clone());
                seen.insert("a log file goes");
            }
            Call::SyncDir(dir) => {
                unnamed.retain(|p| !in_dir(p, dir));
                gone.retain(|p| !in_dir(p, dir));
            }
            Call::Remove(path) => {
                unnamed.remove(path);
            }
            Call::Reopen(path) => {
                written.remove(path);
            }
            Call::Truncate(_) | Call::SyncFile(_) | Call::Fill(_) => {}
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_durable_before_anything_relies_on_them() {
    let dir = TempDir::new();
    let disk = FaultDisk::default();
    for _ in 0..2 {
        let recorder = dir.open_faulty(&disk, |l| l.wal_file_bytes = 8192).await;
        for n in 0..6 {
            session(&recorder, 10, 500 + n * 700).await;
        }
        recorder.shutdown(SHORT).await;
    }
    let seen = check_order(&dir.spool(), &disk.calls());
    assert_eq!(seen.len(), 5, "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_is_not_stored_before_its_name_is_durable() {
    let dir = TempDir::new();
    let disk = FaultDisk::default();
    let recorder = dir.open_faulty(&disk, |_| {}).await;
    let journal = recorder.open(start()).await.unwrap();
    act(&*journal, 0..2, 100).await;
    disk.set(Some(Fault::SyncDirFails));
    let closed = journal.close(end()).await;
    assert!(
        matches!(closed, Err(JournalError::Poisoned(_))),
        "{closed:?}"
    );
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!dir.stored().join("rec").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn new_directories_are_made_durable() {
    let dir = TempDir::new();
    let disk = FaultDisk::default();
    let options = crate::RecorderOptions {
        spool_dir: dir.spool().join("deep/down"),
        ..dir.options()
    };
    let objects = Objects::open(&options.store).unwrap();
    let spool = options.spool_dir.clone();
    Recorder::open_with(options, objects, std::sync::Arc::new(disk.clone()))
        .await
        .unwrap();
    let synced: Vec<Call> = disk.calls();
    for made in [
        &spool,
        &spool.join("wal"),
        &spool.join("segments"),
        &dir.spool(),
    ] {
        let above = Call::SyncDir(made.parent().unwrap().to_path_buf());
        assert!(synced.contains(&above), "{above:?}");
    }
}

/// Everything that a start or a rotation relies on, made to fail.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_does_not_do_as_told_is_noticed() {
    // While it runs: rotation, and letting old log files go.
    for fault in [Fault::CreateFails, Fault::SyncDirFails, Fault::RemoveFails] {
        let dir = TempDir::new();
        let disk = FaultDisk::default();
        let recorder = dir
            .open_faulty(&disk, |l| {
                l.wal_file_bytes = 4096;
                if fault == Fault::RemoveFails {
                    l.segment_age = Duration::from_millis(50);
                }
            })
            .await;
        session(&recorder, 2, 100).await;
        let journal = recorder.open(start()).await.unwrap();
        disk.set(Some(fault));
        let mut failed = false;
        for seq in 0..200 {
            failed |= journal.intent(intent(seq, "select 1")).await.is_err();
        }
        failed |= journal.close(end()).await.is_err();
        eventually("it fails", || recorder.stats().poisoned.is_some()).await;
        assert!(failed || fault == Fault::RemoveFails, "{fault:?}");
        disk.set(None);
        drop(journal);
        recorder.shutdown(SHORT).await;
        drop(recorder);
        let (recorder, report) = dir.open().await;
        assert!(report.gaps.is_empty(), "{fault:?}: {report:?}");
        recorder.shutdown(SHORT).await;
        assert_eq!(findings(&dir.verify().await), [], "{fault:?}");
    }
    // At a start, behind a log with a torn end.
    for (fault, torn) in [
        (Fault::TruncateFails, true),
        (Fault::SyncFileFails, false),
        (Fault::SyncFileFails, true),
        (Fault::SyncDirFails, false),
        (Fault::CreateFails, false),
    ] {
        let dir = TempDir::new();
        let (recorder, _) = dir.open().await;
        session(&recorder, 2, 100).await;
        recorder.shutdown(SHORT).await;
        drop(recorder);
        let path = objects(&dir.spool().join("wal")).pop().unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        if torn {
            bytes.extend_from_slice(b"BLK1 and no more");
            std::fs::write(&path, bytes).unwrap();
        }
        let disk = FaultDisk::default();
        disk.set(Some(fault));
        let objects = Objects::open(&dir.options().store).unwrap();
        let shared = std::sync::Arc::new(disk.clone());
        let opened = Recorder::open_with(dir.options(), objects, shared).await;
        let error = opened.err();
        let expected = matches!(
            error,
            Some(OpenError::Io { .. } | OpenError::Wal(_) | OpenError::Log(_))
        );
        assert!(expected, "{fault:?}: {error:?}");
        disk.set(None);
        dir.open().await.0.shutdown(SHORT).await;
        assert_eq!(findings(&dir.verify().await), [], "{fault:?}");
    }
}

/// What is read again may be in memory only: it is synced before the chain goes on from it.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_syncs_the_log_that_it_accepts() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    session(&recorder, 2, 100).await;
    recorder.shutdown(SHORT).await;
    drop(recorder);
    let last = objects(&dir.spool().join("wal")).pop().unwrap();
    let disk = FaultDisk::default();
    dir.open_faulty(&disk, |_| {}).await.shutdown(SHORT).await;
    let calls = disk.calls();
    let at = |call: Call| calls.iter().position(|c| *c == call);
    let synced = at(Call::SyncFile(last)).expect("the last log file is synced");
    let wal = dir.spool().join("wal");
    let of_log = |c: &Call| matches!(c, Call::Create(path) if path.starts_with(&wal));
    let created = calls.iter().position(of_log);
    assert!(Some(synced) < created, "{calls:?}");
}
