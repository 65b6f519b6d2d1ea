//! What waits for people is on record from then on, whatever becomes of the process.

use bytes::Bytes;
use pipeline::Direction;
use pipeline::ports::Journal;
use uuid::Uuid;

use super::log::{check, leaves, trusted};
use super::support::*;
use crate::{Finding, Severity, VerifyOptions};
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
    journal
        .intent(intent(0, "delete from orders"))
        .await
        .unwrap();
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

/// What cannot be written is not held.
#[tokio::test(flavor = "multi_thread")]
async fn a_recorder_that_has_ended_holds_nothing() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    let journal = recorder.open(start()).await.unwrap();
    recorder.shutdown(SHORT).await;
    assert!(journal.held(held(0, "select 1")).await.is_err());
}
