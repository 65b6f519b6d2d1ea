//! Log files that are filled before they are needed: they save time, and nothing depends on them.

use pipeline::ports::Journal;

use super::support::*;
use crate::fault::{Call, Fault, FaultDisk};
use crate::wal::scan;

const FILE: u64 = 64 << 10;

/// As many actions as some log files hold, slowly enough for the next one to be filled.
async fn some_files(recorder: &crate::Recorder, spool: &std::path::Path) {
    let journal = recorder.open(start()).await.unwrap();
    for round in 0..6 {
        act(&*journal, round * 20..round * 20 + 20, 3000).await;
        let ahead = spool.join("wal/ahead");
        // It comes, or has been taken already, or cannot be made.
        for _ in 0..20 {
            if ahead.exists() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
    journal.close(end()).await.unwrap();
}

fn renamed(calls: &[Call]) -> usize {
    let is = |call: &&Call| matches!(call, Call::Rename(from, _) if from.ends_with("wal/ahead"));
    calls.iter().filter(is).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_goes_on_in_a_file_that_was_filled() {
    let dir = TempDir::new();
    let disk = FaultDisk::default();
    let recorder = dir.open_faulty(&disk, |l| l.wal_file_bytes = FILE).await;
    some_files(&recorder, &dir.spool()).await;
    recorder.shutdown(SHORT).await;
    drop(recorder);
    assert!(renamed(&disk.calls()) > 0, "{:?}", disk.calls());
    // It takes no room while nobody runs.
    assert!(!dir.spool().join("wal/ahead").exists());
    for (number, path) in scan::files(&dir.spool().join("wal")).unwrap() {
        let scan = scan::scan_file(&path, &mut |_| {}).unwrap();
        assert_eq!(scan.tail, scan::Tail::Clean, "{number}");
    }
    let (recorder, report) = dir.open().await;
    assert!(report.gaps.is_empty(), "{report:?}");
    recorder.shutdown(SHORT).await;
    assert_eq!(findings(&dir.verify().await), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_filled_files_it_goes_on_all_the_same() {
    for fault in [Fault::FillFails, Fault::ReopenFails] {
        let dir = TempDir::new();
        let disk = FaultDisk::default();
        let recorder = dir.open_faulty(&disk, |l| l.wal_file_bytes = FILE).await;
        disk.set(Some(fault));
        let journal = recorder.open(start()).await.unwrap();
        for round in 0..6 {
            act(&*journal, round * 20..round * 20 + 20, 3000).await;
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert_eq!(recorder.stats().poisoned, None, "{fault:?}");
        let calls = disk.calls();
        let tried = match fault {
            Fault::FillFails => calls.iter().any(|c| matches!(c, Call::Fill(_))),
            _ => renamed(&calls) > 0,
        };
        assert!(tried, "{fault:?}: {calls:?}");
        disk.set(None);
        journal.close(end()).await.unwrap();
        recorder.shutdown(SHORT).await;
        assert_eq!(findings(&dir.verify().await), [], "{fault:?}");
    }
}

/// A process that was killed leaves one; whatever is in it, nobody reads it.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_process_has_filled_is_not_used() {
    let dir = TempDir::new();
    let disk = FaultDisk::default();
    let recorder = dir.open_faulty(&disk, |l| l.wal_file_bytes = FILE).await;
    some_files(&recorder, &dir.spool()).await;
    recorder.shutdown(SHORT).await;
    drop(recorder);
    let log = objects(&dir.spool().join("wal")).pop().unwrap();
    let ahead = dir.spool().join("wal/ahead");
    std::fs::copy(log, &ahead).unwrap();
    let disk = FaultDisk::default();
    let recorder = dir.open_faulty(&disk, |l| l.wal_file_bytes = FILE).await;
    assert!(disk.calls().contains(&Call::Remove(ahead)));
    some_files(&recorder, &dir.spool()).await;
    recorder.shutdown(SHORT).await;
    let report = dir.verify().await;
    assert_eq!(findings(&report), []);
    assert_eq!(report.intents, report.outcomes);
}
