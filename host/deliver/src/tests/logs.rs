//! Logs that end, go, and have holes.

use std::collections::BTreeSet;
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

/// Delivers something, and then nothing for three processes; gives their logs.
async fn three_processes(stage: &Stage, receiver: &Receiver, second: usize) -> Vec<uuid::Uuid> {
    let mut logs = Vec::new();
    for n in 0..3 {
        let recorder = stage.recorder().await;
        let running = stage.run(&recorder, vec![receiver.options("siem")]);
        acts(
            &recorder,
            names(&format!("act:{n}"), if n == 1 { second } else { 300 }),
        )
        .await;
        if n == 0 {
            running.until("siem", |s| s.delivered > 10).await;
            receiver.now(no);
        }
        logs.push(recorder.control_stream());
        running.until("siem", |s| s.lag_leaves > Some(200)).await;
        running.stop().await;
        assert!(recorder.shutdown(SHUTDOWN).await.log_stored);
    }
    receiver.now(yes);
    logs
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
    three_processes(&stage, &receiver, 300).await;
    let recorder = stage.recorder().await;
    assert!(recorder.flush(SHUTDOWN).await);
    let logs = std::fs::read_dir(stage.spool().join("log")).unwrap();
    assert!(
        logs.count() < 4,
        "the spool keeps none of them for a receiver"
    );
    let mut one = receiver.options("siem");
    one.batch_events = 100;
    let mut count = 0;
    receiver.now(move |_| {
        count += 1;
        match count {
            2 => Answer::Late,
            _ => Answer::Status(200),
        }
    });
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
    // In the order of the record, but for what was sent again because its answer came too late.
    let mut seen = BTreeSet::new();
    let mut order = receiver.told("act");
    assert!(order.len() > 900);
    order.retain(|name| seen.insert(name.clone()));
    assert_eq!(order, all_names());
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
    for what in [
        "lost",
        "changed",
        "too large",
        "longer than any",
        "cannot be read",
        "spool damaged",
        "whole log lost",
    ] {
        let stage = Stage::new();
        let receiver = Receiver::start(yes).await;
        let second = three_processes(&stage, &receiver, 300).await[1];
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
                "too large" if !is_first => {
                    let file = std::fs::File::options().write(true).open(path).unwrap();
                    file.set_len(2 << 30).unwrap();
                }
                // It begins with what was signed, and is not read up to its end.
                "longer than any" if !is_first => {
                    let file = std::fs::File::options().write(true).open(path).unwrap();
                    file.set_len(17 << 20).unwrap();
                }
                "cannot be read" if !is_first => {
                    std::fs::remove_file(path).unwrap();
                    std::os::unix::fs::symlink(path, path).unwrap();
                }
                "whole log lost" => std::fs::remove_file(path).unwrap(),
                _ => {}
            }
        }
        if what == "spool damaged" {
            std::fs::create_dir_all(spooled.join("000000.leaves")).unwrap();
        }
        let running = stage.run(&recorder, vec![receiver.options("siem")]);
        running.until("siem", |s| s.lag_leaves == Some(0)).await;
        let missing = receiver.missing();
        let holes = match what {
            // Without its first leaf, nobody knows what came before it.
            "whole log lost" => 2,
            // The store has it.
            "spool damaged" => 0,
            _ => 1,
        };
        assert_eq!(missing.len(), holes, "{what}: {missing:?}");
        assert!(missing.iter().all(|m| m["class_uid"] == 6008), "{what}");
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

/// Takes a bundle from the store, of whatever width.
fn lose(stage: &Stage, log: uuid::Uuid, index: usize) {
    let name = format!("entries/{index:03}");
    let partial = format!("{name}.p");
    let all = bundles(stage, log).into_iter();
    let all =
        all.filter(|path| path.ends_with(&name) || path.parent().unwrap().ends_with(&partial));
    for path in all {
        std::fs::remove_file(path).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_be_read_is_waited_for_once() {
    let stage = Stage::new();
    let receiver = Receiver::start(yes).await;
    let second = three_processes(&stage, &receiver, 1_500).await[1];
    let recorder = stage.recorder().await;
    assert!(recorder.flush(SHUTDOWN).await);
    std::fs::remove_dir_all(stage.spool().join(format!("log/{second}"))).ok();
    for index in [1, 2, 3, 5] {
        lose(&stage, second, index);
    }
    let running = stage.run(&recorder, vec![receiver.options("siem")]);
    running.until("siem", |s| s.lag_leaves == Some(0)).await;
    let missing = receiver.missing();
    let ranges: Vec<(u64, u64)> = missing
        .iter()
        .map(|m| {
            let number = |name: &str| m["unmapped"][name].as_u64().unwrap();
            (number("from"), number("until"))
        })
        .collect();
    let [(256, 1_024), (1_280, end)] = ranges[..] else {
        panic!("{ranges:?}");
    };
    assert!((1_500..=1_536).contains(&end), "{ranges:?}");
    // The second time there was no wait.
    let all = receiver.taken.lock().clone();
    let at = |uid: &str| all.iter().find(|m| m.body.contains(uid)).unwrap().at;
    let wait = at(&format!("{second}/1280-")) - at(&format!("{second}/1279\""));
    assert!(wait < super::stage::PACE.give_up, "{wait:?}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_that_nothing_leads_to_any_more_are_delivered() {
    let stage = Stage::new();
    let receiver = Receiver::start(yes).await;
    let logs = three_processes(&stage, &receiver, 300).await;
    let recorder = stage.recorder().await;
    assert!(recorder.flush(SHUTDOWN).await);
    std::fs::remove_dir_all(stage.spool().join(format!("log/{}", logs[2]))).ok();
    lose(&stage, logs[2], 0);
    let running = stage.run(&recorder, vec![receiver.options("siem")]);
    running.until("siem", |s| s.lag_leaves == Some(0)).await;
    let told = told(&receiver);
    for name in all_names() {
        let is_lost = name.starts_with("act:2") && *name < *"act:2:256";
        assert!(is_lost || told.contains(&name), "{name}");
    }
    // One about what else may be before that log, one about its first bundle.
    let missing = receiver.missing();
    let of: Vec<String> = missing
        .iter()
        .map(|m| m["metadata"]["log_name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(of, [logs[1].to_string(), logs[2].to_string()]);
    running.stop().await;
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy(&path, &to),
            false => drop(std::fs::copy(&path, &to).unwrap()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn leaves_that_should_be_there_are_missing_and_not_none() {
    let stage = Stage::new();
    let recorder = stage.recorder().await;
    acts(&recorder, names("act", 10)).await;
    assert!(recorder.flush(SHUTDOWN).await);
    let log = recorder.control_stream();
    let stored = stage.store().join(format!("log/{log}"));
    let old = stage.dir.path().join("old");
    copy(&stored, &old);
    let config = recorder::StoreConfig::Directory(stage.store());
    let store = recorder::Store::open(&config).unwrap();
    let mut leaves = recorder::Leaves::new(store, &stage.spool());
    let before = leaves.end(log).unwrap().unwrap();
    acts(&recorder, names("more", 10)).await;
    assert!(recorder.flush(SHUTDOWN).await);
    let end = leaves.end(log).unwrap().unwrap();
    assert!(end.size > before.size);
    // The store is put back to what it was, and the spool has lost its leaves.
    std::fs::remove_dir_all(&stored).unwrap();
    copy(&old, &stored);
    std::fs::remove_file(stage.spool().join(format!("log/{log}/000000.leaves"))).unwrap();
    let had = leaves.read(&end, 0).await.unwrap();
    assert_eq!(had.len() as u64, before.size);
    let error = leaves.read(&end, before.size).await.unwrap_err();
    assert!(
        matches!(error, recorder::LeavesError::Missing { .. }),
        "{error}"
    );
}
