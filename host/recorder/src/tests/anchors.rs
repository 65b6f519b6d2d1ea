//! What vouches for what: across crashes, clocks that go back, damage, and inventions.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use pipeline::ControlEvent;
use pipeline::ports::Journal;
use uuid::Uuid;

use super::support::*;
use crate::chain;
use crate::disk::RealDisk;
use crate::doc::{ControlStartDoc, DOC_VERSION, MarkDoc, StreamRefDoc};
use crate::record::{Kind, NO_STREAM, NewRecord};
use crate::segment::Segment;
use crate::wal::scan;
use crate::wal::writer::Writer;
use crate::{
    Finding, Recorder, RecorderOptions, Severity, StoreConfig, VerifyOptions, verify_store,
};

async fn event(recorder: &Recorder, action: &str) {
    let event = ControlEvent {
        at: SystemTime::now(),
        principal: None,
        action: action.into(),
        resource: "x".into(),
        result: Ok(()),
        detail: String::new(),
    };
    recorder.event(event).await.unwrap();
}

/// A Weir that was killed, with part of its control stream stored and the rest in the log, and another
/// on its spool that ended well. Gives the killed one's control stream.
async fn killed_and_restarted(dir: &TempDir, in_log: bool) -> Uuid {
    let killed = TempDir::new();
    let mut options = killed.options();
    options.store = StoreConfig::Directory(dir.stored());
    let (recorder, _) = Recorder::open(options).await.unwrap();
    let control = recorder.control_stream();
    event(&recorder, "one").await;
    session(&recorder, 2, 100).await;
    assert!(recorder.flush(SHORT).await);
    event(&recorder, "two").await;
    session(&recorder, 2, 100).await;
    assert!(recorder.flush(SHORT).await);
    if in_log {
        event(&recorder, "three").await;
    }
    kill(&recorder).await;
    crash_copy(&killed.spool(), &dir.spool());
    dir.open().await.0.shutdown(SHORT).await;
    control
}

fn segments_of(dir: &TempDir, stream: Uuid) -> Vec<PathBuf> {
    let mut all = objects(&dir.stored().join("ctl"));
    all.retain(|p| p.to_string_lossy().contains(&stream.to_string()));
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_instance_is_vouched_for_to_its_last_record() {
    // With records in the log that no mark tells of; and with nothing there, so that only the end,
    // which the next instance writes, follows.
    for in_log in [true, false] {
        let dir = TempDir::new();
        let control = killed_and_restarted(&dir, in_log).await;
        let report = dir.verify().await;
        assert_eq!(findings(&report), []);
        assert_eq!((report.control_streams, report.chains), (2, 1));
        let segments = segments_of(&dir, control);
        assert_eq!(segments.len(), 3);
        // Each segment, each tail, and the stream as a whole.
        let parts = [
            &segments[..1],
            &segments[1..2],
            &segments[2..],
            &segments[1..],
            &segments[..],
        ];
        for part in parts {
            let good: Vec<_> = part.iter().map(|p| std::fs::read(p).unwrap()).collect();
            part.iter().for_each(|p| std::fs::remove_file(p).unwrap());
            let report = dir.verify().await;
            assert_eq!(report.severity(), Severity::Failure, "{part:?}");
            for (path, bytes) in part.iter().zip(good) {
                std::fs::write(path, bytes).unwrap();
            }
        }
        assert!(dir.verify().await.is_ok());
    }
}

fn json<T: serde::Serialize>(doc: &T) -> bytes::Bytes {
    serde_json::to_vec(doc).unwrap().into()
}

/// A log of two instances, the first of which lived, as its clock told, a year later.
fn log_with_a_clock_that_went_back(spool: &Path) -> [Uuid; 2] {
    std::fs::create_dir_all(spool.join("wal")).unwrap();
    let now = crate::convert::ns(SystemTime::now());
    let year = 365 * 86_400 * 1_000_000_000;
    let disk = std::sync::Arc::new(RealDisk);
    let mut writer = Writer::create(disk, spool.join("wal"), u64::MAX, 1, 0, [0; 32]).unwrap();
    [now + year, now].map(|started_ns| {
        let v7 = uuid::Builder::from_unix_timestamp_millis(started_ns / 1_000_000, &[7; 10]);
        let stream = v7.into_uuid();
        let start = ControlStartDoc {
            v: DOC_VERSION,
            software: "x".into(),
            after: None,
            key: None,
            truncated: Vec::new(),
        };
        let record = |kind, stream, body| NewRecord {
            kind,
            ts_ns: started_ns,
            stream,
            seq: None,
            body,
            packed: None,
        };
        let first = record(Kind::ControlStart, stream.as_u128(), json(&start));
        let last = record(Kind::SessionEnd, stream.as_u128(), "{}".into());
        let mark = MarkDoc {
            stream: stream.to_string(),
            control: true,
            started_ns,
            records: 2,
            chain: hex::encode([started_ns as u8; 32]),
            next_segment: 1,
            open: Vec::new(),
            ended: true,
            key: None,
            encrypted: false,
            retention_days: None,
            session: None,
        };
        let mark = record(Kind::Sealed, NO_STREAM, json(&mark));
        let mut raw = Vec::new();
        let mut after = writer.chain;
        for (index, record) in [(0, first), (1, last), (0, mark)] {
            let from = raw.len();
            record.encode(index, &mut raw);
            after = chain::link(&after, &chain::leaf(&raw[from..]));
        }
        writer.append(&raw, 0, 3, after).unwrap();
        stream
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_the_log_counts_not_the_clock() {
    let dir = TempDir::new();
    let [_, last] = log_with_a_clock_that_went_back(&dir.spool());
    let (recorder, report) = dir.open().await;
    assert!(report.gaps.is_empty(), "{report:?}");
    let control = recorder.control_stream();
    recorder.shutdown(SHORT).await;
    let bytes = dir.decrypted(&segments_of(&dir, control)[0]).await;
    let segment = Segment::parse(&bytes).unwrap();
    let first = segment.records().next().unwrap();
    let start: ControlStartDoc = serde_json::from_slice(first.payload).unwrap();
    let after: Option<StreamRefDoc> = start.after;
    assert_eq!(after.unwrap().stream, last.to_string());
}

/// Records behind damage cannot be used. None of the files that hold them may go.
#[tokio::test(flavor = "multi_thread")]
async fn every_file_with_records_that_are_lost_is_put_aside() {
    let dir = TempDir::new();
    let copy = TempDir::new();
    {
        let mut options = dir.options();
        options.limits.wal_file_bytes = 8192;
        options.limits.segment_bytes = 4 << 20;
        let (recorder, _) = Recorder::open(options).await.unwrap();
        let journal = recorder.open(start()).await.unwrap();
        for seq in 0..12 {
            act(&*journal, seq..seq + 1, 2500).await;
        }
        // So that the last file holds one of its records.
        journal.settle().await.unwrap();
        crash_copy(&dir.spool(), &copy.spool());
        journal.close(end()).await.unwrap();
        recorder.shutdown(SHORT).await;
    }
    let wal = scan::files(&copy.spool().join("wal")).unwrap();
    assert!(wal.len() > 3, "{wal:?}");
    let before: Vec<_> = wal.iter().map(|(_, p)| std::fs::read(p).unwrap()).collect();
    let mut bytes = before[0].clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&wal[0].1, &bytes).unwrap();

    let (recorder, report) = copy.open().await;
    assert_eq!(report.damaged.len(), wal.len(), "{report:?}");
    session(&recorder, 2, 100).await;
    recorder.shutdown(SHORT).await;
    let aside = objects(&copy.spool().join("quarantine"));
    assert_eq!(aside.len(), wal.len());
    for (path, bytes) in aside.iter().zip(&before).skip(1) {
        assert_eq!(&std::fs::read(path).unwrap(), bytes);
    }
    let verified = copy.verify().await;
    assert_eq!(verified.severity(), Severity::Gap, "{verified:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_not_verified() {
    let dir = TempDir::new();
    std::fs::create_dir_all(dir.stored()).unwrap();
    assert_eq!(dir.verify().await.findings, [Finding::Empty]);
    let (recorder, _) = dir.open().await;
    // At hand, the spool tells that it is only early.
    let early = VerifyOptions {
        spool: Some(dir.spool()),
        ..VerifyOptions::default()
    };
    // Its log may be in the store a little before it is in the registry.
    let registered = async {
        loop {
            let report = verify_store(&dir.store(), &early).await.unwrap();
            let waits = |f: &Finding| matches!(f, Finding::Waiting(_));
            if !report.findings.iter().any(waits) {
                return report;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let report = tokio::time::timeout(SHORT, registered).await.unwrap();
    assert_eq!(report.findings, [Finding::NothingStored { records: 1 }]);
    let id = session(&recorder, 2, 10).await;
    recorder.shutdown(SHORT).await;
    let only = |session| VerifyOptions {
        session: Some(session),
        ..VerifyOptions::default()
    };
    let report = verify_store(&dir.store(), &only(id)).await.unwrap();
    assert_eq!((report.findings, report.sessions), (vec![], 1));
    let unknown = Uuid::now_v7();
    let report = verify_store(&dir.store(), &only(unknown)).await.unwrap();
    assert_eq!(report.findings, [Finding::NoSession(unknown)]);
    assert!(!report.is_ok());
    let nowhere = VerifyOptions {
        spool: Some(dir.spool().join("nowhere")),
        ..VerifyOptions::default()
    };
    assert!(verify_store(&dir.store(), &nowhere).await.is_err());
}

/// Consistent in itself, and no Weir ever recorded it.
#[tokio::test(flavor = "multi_thread")]
async fn an_invented_session_is_found() {
    let dir = TempDir::new();
    let invented = TempDir::new();
    let (recorder, _) = dir.open().await;
    session(&recorder, 2, 10).await;
    invented.share_key(&dir);
    let (elsewhere, _) = invented.open().await;
    session(&elsewhere, 2, 10).await;
    elsewhere.shutdown(SHORT).await;
    let from = objects(&invented.stored().join("rec")).remove(0);
    let key = from.strip_prefix(invented.stored()).unwrap();
    dir.take_from(&invented, &from);
    let unanchored = Finding::Unanchored {
        key: key.to_string_lossy().into_owned(),
    };
    // While a Weir runs, what vouches for it might still come.
    assert!(recorder.flush(SHORT).await);
    let running = dir.verify().await.findings;
    let early = |f: &Finding| matches!(f, Finding::NotAnchoredYet { segments: 1, .. });
    assert!(running.iter().any(early), "{running:?}");
    recorder.shutdown(SHORT).await;
    let unlogged = |f: &Finding| matches!(f, Finding::Unlogged { first: 0, .. });
    let ended = dir.verify().await.findings;
    assert_eq!(ended.first(), Some(&unanchored));
    assert!(ended.len() == 2 && ended.iter().any(unlogged), "{ended:?}");
}

/// Sealed, marked, killed, again and again, without a moment of rest.
#[tokio::test(flavor = "multi_thread")]
async fn a_chain_of_killed_instances_holds() {
    let dir = TempDir::new();
    let mut spool = dir.spool();
    let mut killed = Vec::new();
    for round in 0..5 {
        let options = RecorderOptions {
            spool_dir: spool.clone(),
            ..dir.options()
        };
        let (recorder, report) = Recorder::open(options).await.unwrap();
        assert!(report.gaps.is_empty(), "{report:?}");
        event(&recorder, "round").await;
        if round % 2 == 0 {
            session(&recorder, 2, 100).await;
            recorder.flush(SHORT).await;
        }
        let open = recorder.open(start()).await.unwrap();
        let next = TempDir::new();
        kill(&recorder).await;
        crash_copy(&spool, &next.spool());
        spool = next.spool();
        // The killed ones do nothing more, and certainly do not end their sessions.
        killed.push((recorder, open, next));
    }
    let options = RecorderOptions {
        spool_dir: spool,
        ..dir.options()
    };
    let (recorder, _) = Recorder::open(options).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    recorder.shutdown(SHORT).await;
    let report = dir.verify().await;
    assert_eq!(findings(&report), []);
    assert_eq!((report.control_streams, report.chains), (6, 1));
}
