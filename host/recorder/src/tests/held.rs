//! What waits for people is on record from then on, whatever becomes of the process.

use bytes::Bytes;
use pipeline::ports::Journal;
use pipeline::{Direction, Fingerprint, HoldRecord, Intent, RefusalRecord};
use uuid::Uuid;

use super::log::{check, leaves, trusted};
use super::support::*;
use crate::chain;
use crate::record::{Kind, NewRecord};
use crate::wal::format::{FILE_HEADER, Packer, VERSION};
use crate::wal::scan;
use crate::{Finding, Recorder, Severity, VerifyOptions};
use crate::{ReplayFormat, ReplayOptions, verify_store};

async fn replayed(dir: &TempDir, id: Uuid, format: ReplayFormat) -> String {
    let options = ReplayOptions {
        format,
        ..ReplayOptions::default()
    };
    let mut out = Vec::new();
    let summary = crate::replay(&dir.store(), id, &options, &mut out).await;
    assert!(summary.unwrap().complete);
    String::from_utf8(out).unwrap()
}

/// The process is gone while the last of three actions waits: one was approved, one was denied.
#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_the_process_did_not_outlive_is_recovered_without_an_end() {
    let (dir, copy) = (TempDir::new(), TempDir::new());
    let (recorder, _) = dir.open().await;
    let start = start();
    let id = start.info.id.0;
    let journal = recorder.open(start).await.unwrap();
    for seq in 0..2 {
        journal.held(held(seq, "delete from orders")).await.unwrap();
    }
    journal.intent(approved()).await.unwrap();
    journal.outcome(outcome(0)).await.unwrap();
    journal
        .refused(refusal(1, "delete from orders"))
        .await
        .unwrap();
    let last = pipeline::HoldRecord {
        hold: "hold-2".into(),
        ..held(2, "drop table orders")
    };
    journal.held(last).await.unwrap();
    // Durable by now: nothing was flushed, and nothing is closed.
    crash_copy(&dir.spool(), &copy.spool());
    journal.close(end()).await.unwrap();
    recorder.shutdown(SHORT).await;

    let (again, recovered) = copy.open().await;
    assert_eq!(recovered.interrupted, [id]);
    assert_eq!(recovered.unknown_outcomes, 0, "what waits has not run");
    again.shutdown(SHORT).await;
    let all = VerifyOptions::default();
    let report = verify_store(&copy.store(), &all).await.unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    assert_eq!((report.held, report.unanswered), (3, 1));
    assert_eq!((report.intents, report.refusals, report.unknown), (1, 1, 0));
    assert_eq!(check(&copy, trusted(&copy)).await, []);

    let text = replayed(&copy, id, ReplayFormat::Text).await;
    let (before, end) = text.split_once("end: interrupted").unwrap();
    for part in [
        "drop table orders",
        "decision     held",
        "hold         hold-2",
        "under rule   risky",
        "asked by     grant-read",
    ] {
        assert!(before.contains(part), "{part}: {text}");
    }
    assert_eq!(text.matches("nobody saw the end").count(), 1, "{text}");
    assert!(
        text.contains("#2 held (hold hold-2): nobody saw the end of that"),
        "{text}"
    );
    assert!(!end.contains("permit"), "{text}");
    let lines = replayed(&copy, id, ReplayFormat::JsonLines).await;
    let last = lines.lines().rfind(|l| l.contains("\"kind\":\"held\""));
    let last: serde_json::Value = serde_json::from_str(last.unwrap()).unwrap();
    assert_eq!(
        (&last["seq"], &last["held"]["hold"]),
        (&2.into(), &"hold-2".into())
    );
    assert_eq!(last["held"]["facts"]["text"], "drop table orders");

    let leaves = leaves(&copy);
    let holds = leaves.iter().filter(|l| l["type"] == "hold");
    let holds: Vec<_> = holds
        .map(|l| (&l["seq"], &l["hold"]["id"], &l["decision"]))
        .collect();
    let held = serde_json::Value::from("held");
    let is = |seq: u64, hold: &str| (serde_json::Value::from(seq), serde_json::Value::from(hold));
    let expected = [is(0, "hold-1"), is(1, "hold-1"), is(2, "hold-2")];
    let expected: Vec<_> = expected.iter().map(|(seq, id)| (seq, id, &held)).collect();
    assert_eq!(holds, expected);
    assert_eq!(
        leaves.iter().filter(|l| l["approval"].is_object()).count(),
        1
    );
}

/// A hold that stands behind its own end was put there.
#[tokio::test(flavor = "multi_thread")]
async fn a_hold_comes_before_what_became_of_it() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    let journal = recorder.open(start()).await.unwrap();
    journal.intent(intent(0, "select 1")).await.unwrap();
    journal.held(held(0, "select 1")).await.unwrap();
    journal.outcome(outcome(0)).await.unwrap();
    journal.held(held(1, "select 1")).await.unwrap();
    journal.held(held(1, "select 1")).await.unwrap();
    journal
        .bytes(0, Direction::ToClient, Bytes::from_static(b"x"))
        .await
        .unwrap();
    journal.close(end()).await.unwrap();
    recorder.shutdown(SHORT).await;
    let all = VerifyOptions::default();
    let report = verify_store(&dir.store(), &all).await.unwrap();
    let misplaced = |f: &&Finding| matches!(f, Finding::Misplaced { .. });
    assert_eq!(
        report.findings.iter().filter(misplaced).count(),
        2,
        "{report:?}"
    );
    assert_eq!(report.severity(), Severity::Failure);
}

enum Say {
    Held(HoldRecord),
    Permitted(Intent),
    Done(u64),
    Refused(RefusalRecord),
}

/// Why records stand where they do not belong, of a session that says this; and its holds without an end.
async fn misplaced(said: Vec<Say>) -> (Vec<&'static str>, u64) {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    let journal = recorder.open(start()).await.unwrap();
    for record in said {
        match record {
            Say::Held(held) => journal.held(held).await.unwrap(),
            Say::Permitted(intent) => journal.intent(intent).await.unwrap(),
            Say::Done(seq) => journal.outcome(outcome(seq)).await.unwrap(),
            Say::Refused(refusal) => journal.refused(refusal).await.unwrap(),
        }
    }
    journal.close(end()).await.unwrap();
    recorder.shutdown(SHORT).await;
    let report = dir.verify().await;
    let whys = report.findings.iter().map(|finding| match finding {
        Finding::Misplaced { why, .. } => *why,
        other => panic!("{other:?}"),
    });
    (whys.collect(), report.unanswered)
}

/// What people approved, as `held` says it.
fn approved() -> Intent {
    let mut intent = intent(0, "delete from orders");
    let held = held(0, "delete from orders");
    intent.fingerprint = held.fingerprint;
    intent.approval.as_mut().unwrap().hold = held.hold;
    intent
}

fn asked() -> Say {
    Say::Held(held(0, "delete from orders"))
}

fn denied() -> RefusalRecord {
    refusal(0, "delete from orders")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_behind_the_refusal_of_its_action_is_found() {
    let before = "the action was held, permitted or refused before";
    let refused = || Say::Refused(denied());
    assert_eq!(misplaced(vec![asked(), refused()]).await, (vec![], 0));
    // Nothing waits there: it was refused.
    for said in [
        vec![refused(), asked()],
        vec![asked(), refused(), asked()],
        vec![asked(), Say::Permitted(approved()), Say::Done(0), asked()],
    ] {
        assert_eq!(misplaced(said).await, (vec![before], 0));
    }
    // Nor is it permitted after that.
    let said = vec![asked(), refused(), Say::Permitted(approved()), Say::Done(0)];
    let again = "the action was permitted or refused before";
    assert_eq!(misplaced(said).await, (vec![again], 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_held_is_what_was_approved_or_refused() {
    let other = "it does not name the hold of its action, or is of something else than was held";
    let permitted = |change: fn(&mut Intent)| {
        let mut intent = approved();
        change(&mut intent);
        vec![asked(), Say::Permitted(intent), Say::Done(0)]
    };
    let refused = |change: fn(&mut RefusalRecord)| {
        let mut refusal = denied();
        change(&mut refusal);
        vec![asked(), Say::Refused(refusal)]
    };
    assert_eq!(misplaced(permitted(|_| {})).await, (vec![], 0));
    assert_eq!(misplaced(refused(|_| {})).await, (vec![], 0));
    for said in [
        permitted(|intent| intent.approval = None),
        permitted(|intent| intent.approval.as_mut().unwrap().hold = "hold-2".into()),
        permitted(|intent| intent.fingerprint = Fingerprint([9; 32])),
        refused(|refusal| refusal.hold = None),
        refused(|refusal| refusal.hold = Some("hold-2".into())),
        refused(|refusal| refusal.fingerprint = Fingerprint([9; 32])),
    ] {
        assert_eq!(misplaced(said).await, (vec![other], 0));
    }
}

/// A log that a newer Weir wrote is left as it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_with_a_record_of_a_kind_that_nobody_here_knows_is_not_recovered() {
    let (dir, copy) = (TempDir::new(), TempDir::new());
    let (recorder, _) = dir.open().await;
    let start = start();
    let id = start.info.id.0;
    let journal = recorder.open(start).await.unwrap();
    journal.held(held(0, "delete from orders")).await.unwrap();
    crash_copy(&dir.spool(), &copy.spool());
    journal.close(end()).await.unwrap();
    recorder.shutdown(SHORT).await;

    // The same, with one record more.
    let wal = copy.spool().join("wal");
    let (last, path) = scan::files(&wal).unwrap().pop().unwrap();
    let scanned = scan::scan_file(&path, &mut |_| {}).unwrap();
    let mut raw = Vec::new();
    let record = NewRecord {
        kind: Kind::Held,
        ts_ns: 1,
        stream: id.as_u128(),
        seq: Some(1),
        body: Bytes::from_static(b"{}"),
        packed: None,
    };
    record.encode(2, &mut raw);
    raw[4] = 99;
    let end = chain::link(&scanned.chain.unwrap(), &chain::leaf(&raw));
    let mut packer = Packer::default();
    let block = packer.encode_block(&raw, 0, 1, scanned.next_seq, &end, 0);
    let mut file = std::fs::read(&path).unwrap();
    file.truncate(usize::try_from(scanned.valid_len).unwrap());
    file.extend_from_slice(block.unwrap());
    std::fs::write(&path, &file).unwrap();

    // Nor is one with a header of a later version, whatever is in it.
    let mut later = file.clone();
    later[8..12].copy_from_slice(&(VERSION + 1).to_le_bytes());
    let crc = crc32c::crc32c(&later[..FILE_HEADER - 4]);
    later[FILE_HEADER - 4..FILE_HEADER].copy_from_slice(&crc.to_le_bytes());
    let version = format!("has version {}", VERSION + 1);
    for (bytes, what) in [(file, "a record of kind 99"), (later, &*version)] {
        std::fs::write(&path, &bytes).unwrap();
        let error = match Recorder::open(copy.options()).await {
            Ok(_) => panic!("{what}: it was recovered"),
            Err(error) => error.to_string(),
        };
        for part in [
            what,
            &path.display().to_string(),
            "which this Weir does not know",
            "start the Weir that wrote it",
        ] {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "{what}");
        assert_eq!(scan::files(&wal).unwrap().pop().unwrap().0, last);
    }
}

/// What cannot be written is not held.
#[tokio::test(flavor = "multi_thread")]
async fn a_recorder_that_has_ended_holds_nothing() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    let journal = recorder.open(start()).await.unwrap();
    recorder.shutdown(SHORT).await;
    assert!(journal.held(held(0, "select 1")).await.is_err());
}
