//! Logs that end, go, and have holes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::stage::{Answer, Message, Receiver, Stage, acts, names};

const SHUTDOWN: Duration = Duration::from_secs(20);

fn yes(_: &Message) -> Answer {
    Answer::Status(200)
}

fn no(_: &Message) -> Answer {
    Answer::Status(503)
}

/// Delivers something, and then nothing for three processes; gives the log of the second one.
async fn three_processes(stage: &Stage, receiver: &Receiver) -> uuid::Uuid {
    let mut second = None;
    for n in 0..3 {
        let recorder = stage.recorder().await;
        let running = stage.run(&recorder, vec![receiver.options("siem")]);
        acts(&recorder, names(&format!("act:{n}"), 300)).await;
        if n == 0 {
            running.until("siem", |s| s.delivered > 10).await;
            receiver.now(no);
        }
        if n == 1 {
            second = Some(recorder.control_stream());
        }
        running.until("siem", |s| s.lag_leaves > Some(200)).await;
        running.stop().await;
        assert!(recorder.shutdown(SHUTDOWN).await.log_stored);
    }
    receiver.now(yes);
    second.unwrap()
}

fn all_names() -> Vec<String> {
    (0..3)
        .flat_map(|n| names(&format!("act:{n}"), 300))
        .collect()
}

/// As a set, in order.
fn told(receiver: &Receiver) -> Vec<String> {
    let mut told = receiver.told("act");
    told.sort();
    told.dedup();
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_of_earlier_processes_come_first_wherever_they_are() {
    let stage = Stage::new();
    let receiver = Receiver::start(yes).await;
    three_processes(&stage, &receiver).await;
    let recorder = stage.recorder().await;
    assert!(recorder.flush(SHUTDOWN).await);
    let logs = std::fs::read_dir(stage.spool().join("log")).unwrap();
    assert!(
        logs.count() < 4,
        "the spool keeps none of them for a receiver"
    );
    let mut one = receiver.options("siem");
    one.batch_events = 100;
    let running = stage.run(&recorder, vec![one]);
    acts(&recorder, names("new", 3)).await;
    // Before anything is delivered it is known how much there is to do.
    let known = running.until("siem", |s| s.lag_leaves.is_some()).await;
    assert!(
        known.lag_leaves > Some(600) || known.delivered > 0,
        "{known:?}"
    );
    running.until("siem", |s| s.lag_leaves == Some(0)).await;
    while receiver.told("new").len() < 3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(told(&receiver), all_names());
    assert!(receiver.missing().is_empty());
    // In the order of the record, but for what was sent twice.
    let mut order = receiver.told("act");
    order.dedup();
    assert!(order.is_sorted());
    running.stop().await;
}

/// Everything of one log's bundle of entries.
fn bundles(stage: &Stage, log: uuid::Uuid) -> Vec<PathBuf> {
    fn walk(dir: &Path, out: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => walk(&path, out),
                false => out.push(path),
            }
        }
    }
    let dir = stage.store().join(format!("log/{log}/tile/entries"));
    let mut out = Vec::new();
    walk(&dir, &mut out);
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_or_changed_is_told_and_the_rest_goes_on() {
    for what in ["lost", "changed", "whole log lost"] {
        let stage = Stage::new();
        let receiver = Receiver::start(yes).await;
        let second = three_processes(&stage, &receiver).await;
        let recorder = stage.recorder().await;
        assert!(recorder.flush(SHUTDOWN).await);
        let spooled = stage.spool().join(format!("log/{second}"));
        if spooled.exists() {
            std::fs::remove_dir_all(&spooled).unwrap();
        }
        let all = bundles(&stage, second);
        for path in &all {
            let is_first = path.ends_with("entries/000");
            let bytes = std::fs::read(path).unwrap();
            match what {
                "lost" if !is_first => std::fs::remove_file(path).unwrap(),
                "changed" if !is_first => {
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    let at = text.find("act:1:").unwrap();
                    let mut bytes = bytes;
                    bytes[at..at + 6].copy_from_slice(b"act:X:");
                    std::fs::write(path, bytes).unwrap();
                }
                "whole log lost" => std::fs::remove_file(path).unwrap(),
                _ => {}
            }
        }
        let running = stage.run(&recorder, vec![receiver.options("siem")]);
        running.until("siem", |s| s.lag_leaves == Some(0)).await;
        let missing = receiver.missing();
        // Without its first leaf, nobody knows what came before it. It has two bundles.
        let holes = if what == "whole log lost" { 3 } else { 1 };
        assert_eq!(missing.len(), holes, "{what}: {missing:?}");
        assert_eq!(missing[0]["class_uid"], 6008, "{what}");
        assert!(receiver.told("act:X").is_empty(), "{what}");
        let told = told(&receiver);
        let first_and_last = all_names().into_iter().filter(|n| !n.starts_with("act:1"));
        for name in first_and_last {
            assert!(told.contains(&name), "{what}: {name}");
        }
        running.stop().await;
        // It is told once: the cursor is behind it.
        let before = receiver.taken_events().len();
        let running = stage.run(&recorder, vec![receiver.options("siem")]);
        running.until("siem", |s| s.lag_leaves == Some(0)).await;
        assert_eq!(receiver.taken_events().len(), before, "{what}");
        running.stop().await;
    }
}
