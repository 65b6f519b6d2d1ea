//! Sessions from their start to their transcript.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pipeline::ports::{Journal, JournalError};
use pipeline::{ControlEvent, Direction};

use super::support::*;
use crate::{Days, Finding, OpenError, Recorder, VerifyOptions, verify_store, verify_wal};

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    out.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
    out.extend_from_slice(body);
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_reads_as_it_happened() {
    let dir = TempDir::new();
    let (recorder, report) = dir.open().await;
    assert_eq!(report, Default::default());
    let start = start();
    let id = start.info.id.0;
    let journal = recorder.open(start).await.unwrap();
    let mut asked = intent(0, "select *\nfrom users\x1b[31m");
    asked.approval = Some(pipeline_approval());
    journal.intent(asked).await.unwrap();
    let mut rows = message(b'T', b"\0\x01ssn\0\0\0\0\0\0\0\0\0\0\x19\0\0\0\0\0\0\0\0");
    rows.extend(message(b'D', b"\0\x01\0\0\0\x03***"));
    rows.extend(message(b'C', b"SELECT 1\0"));
    let (a, b) = rows.split_at(30);
    for piece in [a, b] {
        let bytes = bytes::Bytes::copy_from_slice(piece);
        journal.bytes(0, Direction::ToClient, bytes).await.unwrap();
    }
    journal.outcome(outcome(0)).await.unwrap();
    journal
        .refused(refusal(1, "delete from users"))
        .await
        .unwrap();
    journal
        .intent(intent(2, "select pg_sleep(9)"))
        .await
        .unwrap();
    journal.close(end()).await.unwrap();
    assert_eq!(
        journal.intent(intent(3, "x")).await,
        Err(JournalError::Closed)
    );
    assert!(recorder.flush(SHORT).await);

    let store = dir.store();
    let listed = store.sessions(Days::default()).await.unwrap();
    assert_eq!((listed.len(), listed[0].session), (1, id));
    let mut out = Vec::new();
    let summary = crate::replay(&store, id, &crate::ReplayOptions::default(), &mut out)
        .await
        .unwrap();
    assert!(summary.complete);
    let text = String::from_utf8(out).unwrap();
    for expect in [
        "who          Agent agent-7 [bots], owner alice",
        "on behalf of User alice [eng]",
        "target       shop (postgres, prod)",
        "database     shop",
        "client says  application_name = psql\\u{1b}[2J",
        "bundle       default version 3",
        "    select *\n    from users\\u{1b}[31m\n",
        "$1           null",
        "$2           'x'",
        "$3           0xff00",
        // Not the text "A", which the same bytes are.
        "$4           65 (int4)",
        "$5           0x00000041 (binary, odd\\u{1b}[2J)",
        "$6           0x00000041 (binary, of a type that is not known)",
        "access       postgres:select PgTable shop.public.users [pii]",
        "approval     hold hold-9",
        "approved by  bob, carol",
        "masked       public.users.ssn",
        "#0 [ssn]\n  #0   ***\n  #0 → SELECT 1",
        "#0 done (SELECT 1): 1 rows, 9 bytes, 120 µs",
        "decision     refused (hold-denied)",
        "reason       denied by bob: no",
        "risk         100 [plugin-failed]",
        "#2 unknown: nobody saw its end",
        "end: client-closed",
    ] {
        assert!(text.contains(expect), "{expect:?} is not in\n{text}");
    }
    // What was refused is shown with its values as well.
    assert_eq!(text.matches("$4           65 (int4)").count(), 3);
    assert!(!text.contains('\x1b'));
    let report = recorder.shutdown(SHORT).await;
    assert_eq!((report.pending_segments, report.sealed), (0, true));
    let verified = verify_store(&store, &VerifyOptions::default())
        .await
        .unwrap();
    assert_eq!(verified.findings, []);
    assert_eq!((verified.sessions, verified.complete), (1, 1));
    assert_eq!((verified.intents, verified.outcomes), (2, 2));
    assert_eq!((verified.unknown, verified.refusals), (1, 1));
    assert_eq!(verified.bytes, rows.len() as u64);
}

fn pipeline_approval() -> pipeline::Approval {
    pipeline::Approval {
        hold: "hold-9".into(),
        rules: vec!["two-people".into()],
        approvers: vec!["bob".into(), "carol".into()],
        shown: vec!["public.orders: postgres:update".into()],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_sessions_over_many_log_files_and_restarts() {
    let dir = TempDir::new();
    let mut ids = Vec::new();
    for round in 0..3 {
        let (recorder, report) = dir.open().await;
        assert!(report.interrupted.is_empty(), "{report:?}");
        assert!(report.gaps.is_empty(), "{report:?}");
        let mut tasks = Vec::new();
        for n in 0..8 {
            let recorder = recorder.clone();
            tasks.push(tokio::spawn(async move {
                session(&recorder, 20, 500 + n * 700).await
            }));
        }
        for task in tasks {
            ids.push(task.await.unwrap());
        }
        let event = ControlEvent {
            at: SystemTime::now(),
            principal: None,
            action: "recorder:round".into(),
            resource: round.to_string(),
            result: Err("just a test".into()),
            detail: String::new(),
        };
        recorder.event(event).await.unwrap();
        let done = recorder.shutdown(SHORT).await;
        assert_eq!((done.pending_segments, done.sealed), (0, true));
        let closed = recorder.open(start()).await.err();
        assert_eq!(closed, Some(JournalError::Closed));
    }
    let store = dir.store();
    let report = verify_store(&store, &VerifyOptions::default())
        .await
        .unwrap();
    assert_eq!(report.findings, []);
    assert_eq!((report.sessions, report.complete), (24, 24));
    assert_eq!(report.control_streams, 3);
    assert_eq!(
        (report.intents, report.outcomes, report.unknown),
        (480, 480, 0)
    );
    assert!(
        report.segments > 24,
        "no session was cut into several segments"
    );
    let wal = verify_wal(&dir.spool()).await.unwrap();
    assert!(wal.findings.is_empty(), "{wal:?}");
    assert!(wal.files <= 3, "old log files were not removed: {wal:?}");
    assert_eq!(wal.waiting_segments, 0);
    let mut listed: Vec<_> = store
        .sessions(Days::default())
        .await
        .unwrap()
        .into_iter()
        .map(|s| s.session)
        .collect();
    ids.sort();
    listed.sort();
    assert_eq!(listed, ids);
}

#[tokio::test(flavor = "multi_thread")]
async fn zstd_reads_a_segment() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    let body = noise(1, 700_000);
    let start = start();
    let journal = recorder.open(start).await.unwrap();
    journal.intent(intent(0, "select big")).await.unwrap();
    journal
        .bytes(0, Direction::ToClient, body.clone())
        .await
        .unwrap();
    journal.outcome(outcome(0)).await.unwrap();
    journal.close(end()).await.unwrap();
    recorder.shutdown(SHORT).await;
    let mut found = Vec::new();
    for path in objects(&dir.stored().join("rec")) {
        let bytes = dir.decrypted(&path).await;
        // As `zstd -dc` does: frame after frame, skippable ones skipped.
        let raw = zstd::stream::decode_all(&bytes[..]).unwrap();
        let segment = crate::segment::Segment::parse(&bytes).unwrap();
        assert!(segment.footer.frames.iter().all(|f| f.raw <= 256 << 10));
        let mut rest = &raw[..];
        for record in segment.records() {
            assert_eq!(crate::record::take(&mut rest).unwrap(), Some(record));
            if record.kind == crate::record::Kind::ToClient as u8 {
                found.extend_from_slice(record.action().unwrap().1);
            }
        }
        assert!(rest.is_empty());
        // Each frame is readable by itself, and begins where its entry says.
        for frame in &segment.footer.frames {
            let packed = &bytes[frame.offset as usize..(frame.offset + frame.len) as usize];
            let raw = zstd::bulk::decompress(packed, frame.raw as usize).unwrap();
            let mut at = &raw[frame.lead as usize..];
            if !at.is_empty() && at.len() >= crate::record::HEADER {
                let whole = crate::record::take(&mut at);
                if let Ok(Some(record)) = whole {
                    assert_eq!((record.index, record.ts_ns), (frame.record, frame.t_ns));
                }
            }
        }
    }
    assert_eq!(found, body);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_larger_than_a_frame_survive() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    let text = hex::encode(noise(3, 400_000));
    let start = start();
    let id = start.info.id.0;
    let journal = recorder.open(start).await.unwrap();
    for seq in 0..3 {
        journal.intent(intent(seq, &text)).await.unwrap();
        journal.outcome(outcome(seq)).await.unwrap();
    }
    journal.close(end()).await.unwrap();
    recorder.shutdown(SHORT).await;
    let mut out = Vec::new();
    crate::replay(&dir.store(), id, &crate::ReplayOptions::default(), &mut out)
        .await
        .unwrap();
    let shown = String::from_utf8(out).unwrap();
    assert_eq!(shown.matches(&text).count(), 3);
    let report = verify_store(&dir.store(), &VerifyOptions::default())
        .await
        .unwrap();
    assert_eq!(report.findings, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_on_one_spool_are_refused() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    let second = Recorder::open(dir.options()).await.err();
    assert!(matches!(second, Some(OpenError::Locked(_))), "{second:?}");
    recorder.shutdown(SHORT).await;
    dir.open().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_id_in_use_is_refused() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    let first = start();
    let journal = recorder.open(first.clone()).await.unwrap();
    let second = recorder.open(first).await.map(|_| ());
    assert_eq!(second, Err(JournalError::Closed));
    act(&*journal, 0..2, 10).await;
    journal.close(end()).await.unwrap();
    recorder.shutdown(SHORT).await;
    let report = verify_store(&dir.store(), &VerifyOptions::default())
        .await
        .unwrap();
    assert_eq!(report.findings, []);
    assert_eq!((report.complete, report.intents), (1, 2));
    let misspelt = crate::StoreConfig::Directory(dir.stored().join("nowhere"));
    assert!(crate::Store::open(&misspelt).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_dropped_gets_its_end() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    let journal = recorder.open(start()).await.unwrap();
    journal.intent(intent(0, "select 1")).await.unwrap();
    for _ in 0..50 {
        let bytes = noise(1, 1000);
        journal.bytes(0, Direction::ToClient, bytes).await.unwrap();
    }
    drop(journal);
    recorder.shutdown(SHORT).await;
    let report = verify_store(&dir.store(), &VerifyOptions::default())
        .await
        .unwrap();
    assert_eq!(report.findings, []);
    assert_eq!(
        (report.complete, report.unknown, report.bytes),
        (1, 1, 50_000)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_session_is_sealed_by_age_and_does_not_keep_old_log_files() {
    let dir = TempDir::new();
    let mut options = dir.options();
    options.limits.segment_age = Duration::from_millis(100);
    let (recorder, _) = Recorder::open(options).await.unwrap();
    let idle = recorder.open(start()).await.unwrap();
    idle.intent(intent(0, "begin")).await.unwrap();
    for _ in 0..6 {
        session(&recorder, 10, 20_000).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let mut files = u64::MAX;
    for _ in 0..50 {
        files = verify_wal(&dir.spool()).await.map_or(files, |w| w.files);
        if files == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(files, 1, "old log files were not removed");
    let report = verify_store(&dir.store(), &VerifyOptions::default())
        .await
        .unwrap();
    let unfinished = |f: &Finding| matches!(f, Finding::Unfinished { .. });
    assert!(report.findings.iter().all(unfinished), "{report:?}");
    assert!(report.is_ok());

    // What is known of the idle session has been carried forward: after a crash it still gets its
    // outcome and end.
    let copy = TempDir::new();
    crash_copy(&dir.spool(), &copy.spool());
    let mut options = copy.options();
    options.store = crate::StoreConfig::Directory(dir.stored());
    let (again, recovered) = Recorder::open(options).await.unwrap();
    assert_eq!(recovered.interrupted.len(), 1);
    assert_eq!(recovered.unknown_outcomes, 1);
    again.shutdown(SHORT).await;
    drop(idle);
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_for_unsealed_segments_is_bounded() {
    let dir = TempDir::new();
    let mut options = dir.options();
    options.limits.segment_bytes = 1 << 20;
    options.limits.unsealed_bytes = 1 << 20;
    let (recorder, _) = Recorder::open(options).await.unwrap();
    let recorder = Arc::new(recorder);
    let mut open = Vec::new();
    for _ in 0..12 {
        let journal = recorder.open(start()).await.unwrap();
        act(&*journal, 0..1, 300_000).await;
        open.push(journal);
    }
    assert!(recorder.stats().sealed_segments > 0);
    for journal in open {
        journal.close(end()).await.unwrap();
    }
    recorder.shutdown(SHORT).await;
    let report = verify_store(&dir.store(), &VerifyOptions::default())
        .await
        .unwrap();
    assert_eq!(report.findings, []);
    assert_eq!(report.complete, 12);
}

/// Recordings are rows and statements: private also where the umask or the directory is not.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_can_read_the_spool() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new();
    std::fs::create_dir_all(dir.spool().join("wal")).unwrap();
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(dir.spool().join("wal"), open).unwrap();
    let (recorder, _) = dir.open().await;
    let journal = recorder.open(start()).await.unwrap();
    journal.intent(intent(0, "select 1")).await.unwrap();
    let mut looked_at = 0;
    let mut todo = vec![dir.spool(), dir.stored()];
    while let Some(path) = todo.pop() {
        let meta = std::fs::metadata(&path).unwrap();
        assert_eq!(meta.permissions().mode() & 0o077, 0, "{}", path.display());
        looked_at += 1;
        // What is in the store is behind its directory.
        if meta.is_dir() && path != dir.stored() {
            todo.extend(std::fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        }
    }
    assert!(looked_at > 5, "{looked_at}");
    recorder.shutdown(SHORT).await;
}
