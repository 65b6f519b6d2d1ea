//! A disk that fails: nothing is acknowledged that is not durable, and a start afterwards finds
//! everything that was.

use pipeline::Direction;
use pipeline::ports::{Journal, JournalError};

use super::support::*;
use crate::fault::{Fault, FaultDisk};
use crate::{Finding, OpenError, Recorder, Severity, VerifyOptions, verify_store, verify_wal};

#[tokio::test(flavor = "multi_thread")]
async fn a_write_or_sync_error_poisons_for_good() {
    for (fault, calls) in [
        (Fault::SyncFailsAfter(0), Some(1)),
        (Fault::SyncFailsAfter(3), Some(4)),
        (Fault::NoSpaceAfter(0), Some(0)),
        (Fault::NoSpaceAfter(1500), None),
        (Fault::ShortWriteAfter(0), Some(0)),
        (Fault::ShortWriteAfter(2), Some(2)),
    ] {
        let dir = TempDir::new();
        let disk = FaultDisk::default();
        let recorder = dir.open_faulty(&disk, |_| {}).await;
        let first = start();
        let id = first.info.id.0;
        let journal = recorder.open(first).await.unwrap();
        let other = recorder.open(start()).await.unwrap();
        disk.set(Some(fault));
        let mut acked = Vec::new();
        let mut error = None;
        for seq in 0..50 {
            match journal.intent(intent(seq, "select 1")).await {
                Ok(()) => acked.push(seq),
                Err(e) => {
                    error = Some(e);
                    break;
                }
            }
        }
        assert!(
            matches!(error, Some(JournalError::Poisoned(_))),
            "{fault:?}: {error:?}"
        );
        assert!(journal.failed().is_cancelled() && other.failed().is_cancelled());
        assert!(recorder.failed().is_cancelled());
        let tried = disk.sync_calls();
        if let Some(calls) = calls {
            assert_eq!(tried, calls, "{fault:?}");
        }
        // The disk is well again: the recorder is not, and never touches the file again.
        disk.set(None);
        let poisoned = |r: Result<(), JournalError>| matches!(r, Err(JournalError::Poisoned(_)));
        assert!(poisoned(journal.intent(intent(60, "x")).await));
        assert!(poisoned(journal.refused(refusal(61, "x")).await));
        assert!(poisoned(journal.outcome(outcome(0)).await));
        assert!(poisoned(
            journal.bytes(0, Direction::ToClient, noise(1, 10)).await
        ));
        assert!(poisoned(journal.close(end()).await));
        assert!(poisoned(recorder.open(start()).await.map(|_| ())));
        assert!(recorder.stats().poisoned.is_some());
        assert_eq!(disk.sync_calls(), 0, "{fault:?}");
        drop((journal, other));
        recorder.shutdown(SHORT).await;
        drop(recorder);

        let (recorder, report) = dir.open().await;
        assert!(report.gaps.is_empty(), "{fault:?}: {report:?}");
        assert_eq!(report.interrupted.len(), 2, "{fault:?}");
        recorder.shutdown(SHORT).await;
        let verified = verify_store(&dir.store(), &VerifyOptions::default())
            .await
            .unwrap();
        assert_eq!(findings(&verified), [], "{fault:?}");
        // A block that was begun is told of; how much of it there was, the disk decides.
        let cut = verified.findings.iter().any(
            |f| matches!(f, Finding::Truncated { file, bytes, .. } if file == "000000000001.wal" && *bytes > 0),
        );
        let torn = matches!(fault, Fault::NoSpaceAfter(1..) | Fault::ShortWriteAfter(_));
        assert!(cut || !torn, "{fault:?}: {:?}", verified.findings);
        let mut out = Vec::new();
        crate::replay(&dir.store(), id, &crate::ReplayOptions::default(), &mut out)
            .await
            .unwrap();
        let text = String::from_utf8(out).unwrap();
        for seq in &acked {
            assert!(
                text.contains(&format!("#{seq} unknown\n"))
                    || text.contains(&format!("#{seq} unknown: ")),
                "{fault:?}: {seq} is lost"
            );
        }
        assert!(text.contains("end: interrupted"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_cannot_be_written_poisons_and_is_sealed_after_a_restart() {
    let dir = TempDir::new();
    let disk = FaultDisk::default();
    let recorder = dir.open_faulty(&disk, |_| {}).await;
    let journal = recorder.open(start()).await.unwrap();
    act(&*journal, 0..3, 100).await;
    disk.set(Some(Fault::RenameFails));
    let closed = journal.close(end()).await;
    assert!(
        matches!(closed, Err(JournalError::Poisoned(_))),
        "{closed:?}"
    );
    disk.set(None);
    drop(journal);
    recorder.shutdown(SHORT).await;
    drop(recorder);
    let (recorder, report) = dir.open().await;
    assert!(
        report.interrupted.is_empty(),
        "its end was durable: {report:?}"
    );
    recorder.shutdown(SHORT).await;
    let verified = verify_store(&dir.store(), &VerifyOptions::default())
        .await
        .unwrap();
    assert_eq!(verified.findings, []);
    assert_eq!(
        (verified.complete, verified.intents, verified.unknown),
        (1, 3, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_in_the_middle_is_put_aside_and_noted() {
    let dir = TempDir::new();
    let copy = TempDir::new();
    {
        let (recorder, _) = dir.open().await;
        let journal = recorder.open(start()).await.unwrap();
        act(&*journal, 0..10, 300).await;
        crash_copy(&dir.spool(), &copy.spool());
        journal.close(end()).await.unwrap();
        recorder.shutdown(SHORT).await;
    }
    let wal = objects(&copy.spool().join("wal"));
    let mut bytes = std::fs::read(&wal[0]).unwrap();
    let middle = crate::wal::scan::scan_bytes(&bytes, &mut |_| {}).len as usize / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(&wal[0], &bytes).unwrap();
    let checked = verify_wal(&copy.spool()).await.unwrap();
    assert!(!checked.is_ok(), "{checked:?}");

    let (recorder, report) = copy.open().await;
    assert_eq!((report.damaged.len(), report.gaps.len()), (1, 1));
    assert_eq!(report.interrupted.len(), 1);
    recorder.shutdown(SHORT).await;
    drop(recorder);
    // The evidence that is left is intact, and says that something is missing.
    let verified = verify_store(&copy.store(), &VerifyOptions::default())
        .await
        .unwrap();
    assert!(verified.is_ok(), "{:?}", verified.findings);
    assert_eq!(verified.severity(), Severity::Gap);
    assert!(verified.intents > 0 && verified.intents < 10);
    assert_eq!(verified.intents, verified.outcomes);
    let aside = objects(&copy.spool().join("quarantine"));
    assert_eq!(std::fs::read(&aside[0]).unwrap(), bytes);
    let (_, again) = copy.open().await;
    assert!(
        again.damaged.is_empty() && again.gaps.is_empty(),
        "{again:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_a_newer_weir_is_left_alone() {
    let dir = TempDir::new();
    dir.open().await.0.shutdown(SHORT).await;
    let wal = objects(&dir.spool().join("wal"));
    let mut bytes = std::fs::read(&wal[0]).unwrap();
    bytes[8] = 9;
    let crc = crc32c::crc32c(&bytes[..60]).to_le_bytes();
    bytes[60..64].copy_from_slice(&crc);
    std::fs::write(&wal[0], &bytes).unwrap();
    let opened = Recorder::open(dir.options()).await.err();
    assert!(matches!(opened, Some(OpenError::Wal(_))), "{opened:?}");
    assert_eq!(std::fs::read(&wal[0]).unwrap(), bytes);
}

/// A kill while a log file is begun leaves a file without a whole header.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_file_without_a_header_leaves_no_gap() {
    for len in [0, 30, 63] {
        let dir = TempDir::new();
        let (recorder, _) = dir.open().await;
        session(&recorder, 2, 100).await;
        recorder.shutdown(SHORT).await;
        drop(recorder);
        let wal = objects(&dir.spool().join("wal"));
        let (number, path) = crate::wal::scan::files(&dir.spool().join("wal"))
            .unwrap()
            .pop()
            .unwrap();
        let begun = std::fs::read(&path).unwrap()[..len].to_vec();
        let next = crate::wal::scan::file_path(&dir.spool().join("wal"), number + 1);
        std::fs::write(&next, begun).unwrap();
        for _ in 0..2 {
            let (recorder, report) = dir.open().await;
            assert_eq!(report.gaps, Vec::<String>::new(), "{len}: {wal:?}");
            // Killed, not shut down: its log stays as it is.
            let copy = TempDir::new();
            crash_copy(&dir.spool(), &copy.spool());
            let (_, again) = copy.open().await;
            assert_eq!(again.gaps, Vec::<String>::new(), "{len}");
            recorder.shutdown(SHORT).await;
        }
        let report = verify_store(&dir.store(), &VerifyOptions::default())
            .await
            .unwrap();
        assert_eq!(findings(&report), []);
        assert_eq!(report.findings.is_empty(), len == 0);
    }
}
