//! What is on the disk when: before the call returns, or within the time that a bundle names.

use std::time::{Duration, Instant};

use pipeline::ports::{Journal, JournalError};
use pipeline::{Direction, Durability, Intent};

use super::support::*;
use crate::fault::{Call, Fault, FaultDisk};

const WITHIN: Duration = Duration::from_millis(400);

fn read(seq: u64) -> Intent {
    Intent {
        durability: Durability::Os { within: WITHIN },
        ..intent(seq, "select 1")
    }
}

/// Is this action's intent in a log file now?
fn is_in_a_file(dir: &TempDir, text: &str) -> bool {
    let files = objects(&dir.spool().join("wal"));
    files.iter().any(|file| {
        let bytes = std::fs::read(file).unwrap();
        bytes.windows(text.len()).any(|w| w == text.as_bytes())
    })
}

/// Syncs of log files, since the disk was set.
fn log_syncs(dir: &TempDir, disk: &FaultDisk) -> u128 {
    let wal = dir.spool().join("wal");
    let of_log = |call: &Call| matches!(call, Call::Sync(path) if path.starts_with(&wal));
    disk.calls().iter().filter(|call| of_log(call)).count() as u128
}

/// Lets what the start of a session left be synced.
async fn quiet(disk: &FaultDisk) {
    loop {
        disk.set(None);
        tokio::time::sleep(Duration::from_millis(150)).await;
        if disk.calls().is_empty() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_is_in_the_file_at_once_and_on_the_disk_in_time() {
    let dir = TempDir::new();
    let disk = FaultDisk::default();
    let recorder = dir
        .open_faulty(&disk, |l| l.wal_file_bytes = 16 << 20)
        .await;
    let journal = recorder.open(start()).await.unwrap();
    quiet(&disk).await;
    let begun = Instant::now();
    journal
        .intent(Intent {
            facts: sql("select it_is_in_the_file"),
            ..read(0)
        })
        .await
        .unwrap();
    let (syncs, took) = (log_syncs(&dir, &disk), begun.elapsed());
    assert!(is_in_a_file(&dir, "it_is_in_the_file"));
    assert!(syncs == 0 || took >= WITHIN, "{syncs} syncs after {took:?}");
    eventually("it is synced", || log_syncs(&dir, &disk) > 0).await;
    // Many of them need few syncs.
    quiet(&disk).await;
    for seq in 1..200 {
        journal.intent(read(seq)).await.unwrap();
        journal.outcome(outcome(seq)).await.unwrap();
    }
    let syncs = log_syncs(&dir, &disk);
    assert!(syncs <= 50, "{syncs}");
    journal.close(end()).await.unwrap();
    recorder.shutdown(SHORT).await;
    let report = dir.verify().await;
    assert_eq!((findings(&report), report.intents), (vec![], 200));
}

/// What must be on the disk takes along what was only written.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_behind_reads_makes_all_of_them_durable() {
    let dir = TempDir::new();
    let disk = FaultDisk::default();
    let recorder = dir.open_faulty(&disk, |_| {}).await;
    let journal = recorder.open(start()).await.unwrap();
    quiet(&disk).await;
    journal.intent(read(0)).await.unwrap();
    journal.intent(intent(1, "delete from t")).await.unwrap();
    let calls = disk.calls();
    let synced = calls.iter().rposition(|c| matches!(c, Call::Sync(_)));
    let written = calls.iter().rposition(|c| matches!(c, Call::Write(_)));
    assert!(synced > written && written.is_some(), "{calls:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_fails_later_ends_every_session() {
    let dir = TempDir::new();
    let disk = FaultDisk::default();
    let recorder = dir.open_faulty(&disk, |_| {}).await;
    let journal = recorder.open(start()).await.unwrap();
    quiet(&disk).await;
    disk.set(Some(Fault::SyncFailsAfter(0)));
    journal.intent(read(0)).await.unwrap();
    journal.failed().cancelled().await;
    let again = journal.intent(read(1)).await;
    assert!(matches!(again, Err(JournalError::Poisoned(_))), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_cannot_be_written_is_refused() {
    let dir = TempDir::new();
    let disk = FaultDisk::default();
    let recorder = dir.open_faulty(&disk, |_| {}).await;
    let journal = recorder.open(start()).await.unwrap();
    quiet(&disk).await;
    disk.set(Some(Fault::NoSpaceAfter(0)));
    let refused = journal.intent(read(0)).await;
    assert!(
        matches!(refused, Err(JournalError::Poisoned(_))),
        "{refused:?}"
    );
    assert!(journal.failed().is_cancelled());
}

/// What nobody waits for is in the file soon, whether or not anything follows.
#[tokio::test(flavor = "multi_thread")]
async fn outcomes_and_bytes_are_written_soon() {
    let dir = TempDir::new();
    let disk = FaultDisk::default();
    let recorder = dir.open_faulty(&disk, |_| {}).await;
    let journal = recorder.open(start()).await.unwrap();
    journal.intent(read(0)).await.unwrap();
    quiet(&disk).await;
    let bytes = bytes::Bytes::from_static(b"these_are_rows");
    journal.bytes(0, Direction::ToClient, bytes).await.unwrap();
    journal.outcome(outcome(0)).await.unwrap();
    eventually("it is written and synced", || {
        is_in_a_file(&dir, "these_are_rows") && disk.sync_calls() > 0
    })
    .await;
}

/// Rows of many sessions and reads of others at the same time: order within each session, and all of
/// it there in the end, over many log files.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn both_kinds_of_intents_beside_rows() {
    let dir = TempDir::new();
    let disk = FaultDisk::default();
    let recorder = dir.open_faulty(&disk, |_| {}).await;
    let mut tasks = Vec::new();
    for n in 0..8u64 {
        let journal = recorder.open(start()).await.unwrap();
        tasks.push(tokio::spawn(async move {
            for seq in 0..60 {
                let next = match (n + seq) % 3 {
                    0 => intent(seq, "delete from t"),
                    _ => read(seq),
                };
                journal.intent(next).await.unwrap();
                let rows = noise(seq, if n < 2 { 70_000 } else { 200 });
                journal.bytes(seq, Direction::ToClient, rows).await.unwrap();
                journal.outcome(outcome(seq)).await.unwrap();
            }
            journal.close(end()).await.unwrap();
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let report = recorder.shutdown(SHORT).await;
    assert!(report.sealed, "{report:?}");
    let report = dir.verify().await;
    assert_eq!((findings(&report), report.complete), (vec![], 8));
    assert_eq!((report.intents, report.unknown), (480, 0));
}

/// While the disk is behind with what an earlier read was promised, the next ones wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_falls_behind_holds_reads_up() {
    const SLOW: Duration = Duration::from_secs(2);
    let within = Duration::from_millis(50);
    let dir = TempDir::new();
    let disk = FaultDisk::default();
    let recorder = dir
        .open_faulty(&disk, |l| l.wal_file_bytes = 16 << 20)
        .await;
    let journal = recorder.open(start()).await.unwrap();
    quiet(&disk).await;
    disk.set(Some(Fault::SyncTakes(SLOW)));
    let begun = Instant::now();
    let mut answered = Vec::new();
    for seq in 0.. {
        let durability = Durability::Os { within };
        let read = Intent {
            durability,
            ..read(seq)
        };
        journal.intent(read).await.unwrap();
        answered.push(begun.elapsed());
        if begun.elapsed() > SLOW {
            break;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    // Each was answered with the promise of the first one kept, or after the disk had all of them.
    let first = answered[0];
    let early = answered.iter().filter(|at| **at < SLOW);
    let last = *early.max().unwrap();
    let slack = Duration::from_millis(200);
    assert!(
        last <= first + within + slack,
        "{last:?}, the first at {first:?}"
    );
    disk.set(None);
    journal.close(end()).await.unwrap();
    recorder.shutdown(SHORT).await;
    let report = dir.verify().await;
    assert_eq!(
        (findings(&report), report.intents),
        (vec![], answered.len() as u64)
    );
}

/// Outcomes and bytes do not inherit the time that a bundle allows to reads.
#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_waits_for_does_not_wait_for_as_long_as_a_read() {
    let dir = TempDir::new();
    let disk = FaultDisk::default();
    let recorder = dir.open_faulty(&disk, |_| {}).await;
    let journal = recorder.open(start()).await.unwrap();
    quiet(&disk).await;
    let far = Durability::Os {
        within: Duration::from_secs(60),
    };
    journal.outcome(outcome(0)).await.unwrap();
    journal
        .intent(Intent {
            durability: far,
            ..read(1)
        })
        .await
        .unwrap();
    eventually("the outcome is synced", || log_syncs(&dir, &disk) > 0).await;
}

/// Bytes are written when there is time, unless somebody asks for it.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_are_on_the_disk_when_that_is_asked_for() {
    let dir = TempDir::new();
    let disk = FaultDisk::default();
    let recorder = dir
        .open_faulty(&disk, |l| l.wal_file_bytes = 16 << 20)
        .await;
    let journal = recorder.open(start()).await.unwrap();
    journal.intent(intent(0, "copy")).await.unwrap();
    for n in 0..20 {
        quiet(&disk).await;
        let text = format!("these are the bytes of round {n}.");
        let bytes = bytes::Bytes::from(text.clone());
        let way = Direction::ToUpstream;
        journal.bytes(0, way, bytes).await.unwrap();
        journal.settle().await.unwrap();
        assert!(is_in_a_file(&dir, &text) && log_syncs(&dir, &disk) > 0);
    }
    disk.set(Some(Fault::SyncFailsAfter(0)));
    let bytes = bytes::Bytes::from_static(b"lost");
    journal.bytes(0, Direction::ToUpstream, bytes).await.ok();
    let failed = journal.settle().await;
    assert!(
        matches!(failed, Err(JournalError::Poisoned(_))),
        "{failed:?}"
    );
}
