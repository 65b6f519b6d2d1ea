//! What is used up: descriptors, blocks, memory, places in the queue. Nothing of it ends the recorder,
//! and nothing is lost.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use pipeline::ports::{Journal, JournalError};
use pipeline::{BinaryValue, Direction, Durability, Intent, Parameter};
use tokio::sync::{mpsc, oneshot};

use super::support::*;
use crate::chain::WAL_GENESIS;
use crate::commit::{Ask, Committer, Refused, ToSealer};
use crate::disk::RealDisk;
use crate::doc::GapDoc;
use crate::fault::{Fault, FaultDisk};
use crate::record::{HEADER, Kind, MAX_RECORD, NewRecord};
use crate::state::State;
use crate::wal::writer::Writer;

const MOMENT: Duration = Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread")]
async fn without_descriptors_new_files_wait() {
    let dir = TempDir::new();
    let disk = FaultDisk::default();
    let recorder = dir.open_faulty(&disk, |l| l.wal_file_bytes = 4096).await;
    let closing = recorder.open(start()).await.unwrap();
    act(&*closing, 0..3, 100).await;
    let going_on = recorder.open(start()).await.unwrap();
    disk.set(Some(Fault::NoDescriptors));
    // A segment is to be written, and the log is to be rotated.
    let closed = tokio::spawn(async move { closing.close(end()).await });
    let acted = tokio::spawn(async move {
        act(&*going_on, 0..40, 500).await;
        going_on.close(end()).await
    });
    tokio::time::sleep(MOMENT).await;
    assert!(!closed.is_finished() && !acted.is_finished());
    assert_eq!(recorder.stats().poisoned, None);
    disk.set(None);
    assert_eq!(closed.await.unwrap(), Ok(()));
    assert_eq!(acted.await.unwrap(), Ok(()));
    recorder.shutdown(SHORT).await;
    let report = dir.verify().await;
    assert_eq!(report.findings, []);
    assert_eq!((report.complete, report.intents), (2, 43));
}

#[tokio::test(flavor = "multi_thread")]
async fn they_do_not_wait_for_ever() {
    let dir = TempDir::new();
    let disk = FaultDisk::default();
    let recorder = dir.open_faulty(&disk, |l| l.descriptor_wait = MOMENT).await;
    let journal = recorder.open(start()).await.unwrap();
    act(&*journal, 0..3, 100).await;
    disk.set(Some(Fault::NoDescriptors));
    let closed = journal.close(end()).await;
    assert!(
        matches!(closed, Err(JournalError::Poisoned(_))),
        "{closed:?}"
    );
    drop(journal);
    recorder.shutdown(SHORT).await;
    drop(recorder);
    dir.open().await.0.shutdown(SHORT).await;
    let report = dir.verify().await;
    assert_eq!((findings(&report), report.complete), (vec![], 1));
}

fn record(kind: Kind, stream: u128, len: usize) -> NewRecord {
    let seq = (kind == Kind::Intent).then_some(0);
    let body = vec![0; len - HEADER - seq.map_or(0, |_| 8)];
    NewRecord {
        kind,
        ts_ns: 1,
        stream,
        seq,
        body: body.into(),
        packed: None,
    }
}

/// Runs a committer on what is queued, and gives the sizes of its blocks.
fn commit(dir: &TempDir, asks: Vec<Ask>, side: Vec<NewRecord>) -> (Vec<usize>, Arc<State>) {
    std::fs::create_dir_all(dir.spool()).unwrap();
    let state = Arc::new(State::new(limits()));
    state.side.lock().records = side;
    let disk = Arc::new(RealDisk);
    let writer = Writer::create(disk, dir.spool(), u64::MAX, 1, 0, WAL_GENESIS).unwrap();
    let (to_sealer, blocks) = std::sync::mpsc::sync_channel(64);
    let (tx, rx) = mpsc::channel(64);
    for ask in asks {
        tx.try_send(ask).unwrap();
    }
    drop(tx);
    let committer = Committer::new(state.clone(), writer, HashMap::new(), rx, 64);
    Committer::run(&committer, &to_sealer);
    drop(to_sealer);
    let sizes = blocks.iter().flatten().map(|message| match message {
        ToSealer::Batch(batch) => batch.raw.len(),
        ToSealer::Flush(..) => 0,
    });
    (sizes.collect(), state)
}

type Answer = oneshot::Receiver<Result<(), Refused>>;

fn ask(records: Vec<NewRecord>) -> (Ask, Answer) {
    let (done, answer) = oneshot::channel();
    let ask = Ask {
        records,
        done: Some(done),
        ..Ask::default()
    };
    (ask, answer)
}

#[test]
fn the_longest_record_does_not_care_what_is_queued_before_it() {
    let dir = TempDir::new();
    let (first, a) = ask(vec![
        record(Kind::SessionStart, 1, 100),
        record(Kind::SessionStart, 2, 100),
        record(Kind::SessionStart, 3, 100),
    ]);
    let (close, b) = ask(vec![record(Kind::SessionEnd, 1, 100)]);
    let (longest, c) = ask(vec![record(Kind::Intent, 2, MAX_RECORD)]);
    let (longer, d) = ask(vec![record(Kind::Intent, 2, MAX_RECORD + 1)]);
    let (after, e) = ask(vec![record(Kind::Intent, 2, 100)]);
    let side = vec![record(Kind::Intent, 3, 100)];
    let (sizes, state) = commit(&dir, vec![first, close, longest, longer, after], side);
    let answer = |mut a: Answer| a.try_recv().unwrap();
    for good in [a, b, c, e] {
        assert_eq!(answer(good), Ok(()));
    }
    assert_eq!(answer(d), Err(Refused::TooLarge(MAX_RECORD + 1)));
    assert_eq!(state.poisoned(), None);
    assert_eq!(sizes, [400, MAX_RECORD, 100, 100]);
}

#[test]
fn blocks_stay_small_whatever_is_queued() {
    let dir = TempDir::new();
    let mut asks = vec![ask(vec![record(Kind::SessionStart, 1, 100)]).0];
    for _ in 0..20 {
        asks.push(ask(vec![record(Kind::Intent, 1, 700 << 10)]).0);
    }
    let side = (0..20).map(|_| record(Kind::Intent, 1, 300 << 10));
    let (sizes, state) = commit(&dir, asks, side.collect());
    assert_eq!(state.poisoned(), None);
    let total = 100 + 20 * (700 << 10) + 20 * (300 << 10);
    assert_eq!(sizes.iter().sum::<usize>(), total);
    assert!(sizes.iter().all(|s| *s <= 1 << 20), "{sizes:?}");
}

/// A control character is six bytes in JSON.
#[tokio::test(flavor = "multi_thread")]
async fn what_grows_when_it_is_recorded_is_refused_alone() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    let journal = recorder.open(start()).await.unwrap();
    let grows = |len| "\u{1}".repeat(len);
    let refused = journal.intent(intent(0, &grows(MAX_RECORD / 6))).await;
    assert!(
        matches!(refused, Err(JournalError::TooLarge { .. })),
        "{refused:?}"
    );
    let mut hard = intent(1, &grows(3 << 20));
    hard.parameters = vec![Parameter::Text(grows(1 << 20).into_bytes()); 3];
    journal.intent(hard).await.unwrap();
    journal.outcome(outcome(1)).await.unwrap();
    journal.close(end()).await.unwrap();
    assert_eq!(recorder.stats().poisoned, None);
    recorder.shutdown(SHORT).await;
    let report = dir.verify().await;
    assert_eq!((report.findings, report.intents), (vec![], 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_very_long_parameter_is_recorded_by_its_hash() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    let start = start();
    let id = start.info.id.0;
    let journal = recorder.open(start).await.unwrap();
    // A character of two bytes lies across the end of what is repeated.
    let text = format!("begins {}", "ä".repeat(1 << 20));
    let binary = [[0xff].repeat(2 << 20), vec![7]].concat();
    let mut long = intent(0, "insert");
    long.parameters = vec![
        Parameter::Text(text.clone().into_bytes()),
        Parameter::Text(binary.clone()),
        Parameter::Text(vec![b'x'; 1 << 20]),
        Parameter::Binary(BinaryValue {
            bytes: binary.clone(),
            of: Some("point".into()),
            text: None,
        }),
    ];
    journal.intent(long).await.unwrap();
    journal.close(end()).await.unwrap();
    recorder.shutdown(SHORT).await;
    let mut out = Vec::new();
    crate::replay(&dir.store(), id, &crate::ReplayOptions::default(), &mut out)
        .await
        .unwrap();
    let shown = String::from_utf8(out).unwrap();
    for (start, value) in [
        (format!("'begins {}'", "ä".repeat(508)), text.as_bytes()),
        (format!("0x{}", "ff".repeat(1024)), &binary),
        (format!("0x{} (binary, point)", "ff".repeat(1024)), &binary),
    ] {
        let hash = hex::encode(crate::chain::sha256(value));
        let expect = format!("{start}… ({} bytes, SHA-256 {hash})\n", value.len());
        assert!(shown.contains(&expect), "{expect:.80}");
    }
    assert!(shown.contains(&"x".repeat(1 << 20)));
}

/// Blocks that wait for the sealer are memory too.
#[tokio::test(flavor = "multi_thread")]
async fn a_sealer_that_is_behind_holds_the_sessions_back() {
    let dir = TempDir::new();
    let disk = FaultDisk::default();
    let recorder = dir
        .open_faulty(&disk, |l| {
            l.queued_bytes = 1 << 20;
            l.wal_file_bytes = 16 << 20;
        })
        .await;
    let journal = recorder.open(start()).await.unwrap();
    journal.intent(intent(0, "select 1")).await.unwrap();
    disk.set(Some(Fault::NoDescriptors));
    let mut taken = 0usize;
    while taken < 16 << 20 {
        let bytes = journal.bytes(0, Direction::ToClient, noise(1, 64 << 10));
        match tokio::time::timeout(MOMENT, bytes).await {
            Ok(done) => done.unwrap(),
            Err(_) => break,
        }
        taken += 64 << 10;
    }
    assert!(taken <= 2 << 20, "{taken} bytes wait in memory");
    disk.set(None);
    let bytes = journal.bytes(0, Direction::ToClient, noise(1, 64 << 10));
    bytes.await.unwrap();
    journal.close(end()).await.unwrap();
    recorder.shutdown(SHORT).await;
    assert_eq!(dir.verify().await.findings, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_that_is_dropped_while_it_waits_still_ends_the_session() {
    let dir = TempDir::new();
    let disk = FaultDisk::default();
    let recorder = dir.open_faulty(&disk, |l| l.queued_records = 2).await;
    let journal = recorder.open(start()).await.unwrap();
    journal.intent(intent(0, "select 1")).await.unwrap();
    let tx = &recorder.inner.tx;
    let places = tx.reserve_many(2).await.unwrap();
    let closed = tokio::time::timeout(MOMENT, journal.close(end())).await;
    assert!(closed.is_err(), "the queue is full: {closed:?}");
    drop(places);
    drop(journal);
    recorder.shutdown(SHORT).await;
    let report = dir.verify().await;
    assert_eq!(report.findings, []);
    assert_eq!((report.complete, report.unknown), (1, 1));
}

/// What the recorder itself writes does not wait for anybody's next statement.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_at_the_side_needs_no_other_traffic() {
    let dir = TempDir::new();
    let set = |l: &mut crate::Limits| (l.segment_bytes, l.wal_file_bytes) = (1 << 20, 16 << 20);
    let recorder = dir.open_faulty(&FaultDisk::default(), set).await;
    let journal = recorder.open(start()).await.unwrap();
    let gap = GapDoc {
        what: "nothing".into(),
        file: None,
    };
    let control = recorder.control_stream().as_u128();
    let mut expected = recorder.stats().records;
    for seq in 0..500 {
        let record = NewRecord {
            kind: Kind::Gap,
            ts_ns: 1,
            stream: control,
            seq: None,
            body: crate::convert::json(&gap).unwrap(),
            packed: None,
        };
        let state = recorder.inner.state.clone();
        let posted = tokio::task::spawn_blocking(move || state.post(record));
        journal.intent(intent(seq, "select 1")).await.unwrap();
        posted.await.unwrap();
        expected += 2;
        let written = || recorder.stats().records == expected;
        eventually("it is written", written).await;
    }
}

/// Sessions that go on while the recorder stops are told so, each of them; and what they were told is
/// written is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_hangs_and_nothing_is_lost_when_it_stops() {
    for round in 0..12 {
        let dir = TempDir::new();
        let (recorder, _) = dir.open().await;
        let mut tasks = Vec::new();
        for n in 0..8 {
            let journal = recorder.open(start()).await.unwrap();
            tasks.push(tokio::spawn(async move {
                let mut acked = 0;
                loop {
                    let within = Duration::from_millis(50);
                    let durability = match n % 2 {
                        0 => Durability::Fsync,
                        _ => Durability::Os { within },
                    };
                    let intent = Intent {
                        durability,
                        ..intent(acked, "select 1")
                    };
                    match journal.intent(intent).await {
                        Ok(()) => acked += 1,
                        Err(error) => {
                            assert!(matches!(error, JournalError::Closed), "{error:?}");
                            break;
                        }
                    }
                }
                (acked, journal.close(end()).await.is_ok())
            }));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        // They never end by themselves: what is stored meanwhile is not what matters.
        recorder.shutdown(Duration::from_millis(50)).await;
        let mut acked = 0;
        for task in tasks {
            let done = tokio::time::timeout(Duration::from_secs(10), task).await;
            let (intents, closed) = done
                .unwrap_or_else(|_| panic!("one hangs, round {round}"))
                .unwrap();
            assert!(!closed);
            acked += intents;
        }
        drop(recorder);
        // The next start finds all that was answered.
        let (recorder, report) = dir.open().await;
        assert_eq!(report.interrupted.len(), 8, "round {round}");
        recorder.shutdown(SHORT).await;
        let report = dir.verify().await;
        assert_eq!(findings(&report), vec![], "round {round}");
        assert!(report.intents >= acked, "{} < {acked}", report.intents);
    }
}

/// A session that is dropped just before the stop still gets its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_dropped_before_the_stop_has_its_end() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    let journal = recorder.open(start()).await.unwrap();
    let done = crate::commit::Ask {
        stop: true,
        ..Default::default()
    };
    {
        // Nothing is taken in until both are there.
        let _committer = recorder.inner.committer.lock();
        recorder.inner.tx.try_send(done).unwrap();
        drop(journal);
        recorder.inner.state.bell.ring_now();
    }
    recorder.shutdown(SHORT).await;
    drop(recorder);
    let (_recorder, report) = dir.open().await;
    assert!(report.interrupted.is_empty());
}

/// A thread that dies takes the recorder with it, and everybody is told.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_a_thread_that_died() {
    let dir = TempDir::new();
    let disk = FaultDisk::default();
    let recorder = dir.open_faulty(&disk, |_| {}).await;
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let journal = recorder.open(start()).await.unwrap();
        tasks.push(tokio::spawn(async move {
            for seq in 0.. {
                if let Err(error) = journal.intent(intent(seq, "select 1")).await {
                    return (error, journal.close(end()).await.is_ok());
                }
            }
            unreachable!()
        }));
    }
    tokio::time::sleep(Duration::from_millis(10)).await;
    disk.set(Some(Fault::SyncPanics));
    for task in tasks {
        let done = tokio::time::timeout(Duration::from_secs(10), task).await;
        let (error, closed) = done.expect("one hangs").unwrap();
        let told = matches!(error, JournalError::Poisoned(_) | JournalError::Closed);
        assert!(told && !closed, "{error:?}");
    }
    recorder.failed().cancelled().await;
    assert!(recorder.stats().poisoned.is_some());
    assert!(!recorder.shutdown(Duration::from_secs(1)).await.sealed);
}
