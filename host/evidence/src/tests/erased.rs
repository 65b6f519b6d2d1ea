//! Sessions that were erased: within a window, after it, and by a log that came later.

use recorder::{Erase, Recorder, Severity};
use uuid::Uuid;

use super::support::*;
use crate::finding::Finding;
use crate::later::LATER;
use crate::{Window, check_package};

async fn erase(recorder: &Recorder, session: Uuid) {
    let ask = Erase {
        session,
        who: None,
        reason: "somebody asked for it".into(),
        is_somebody_elses: true,
    };
    recorder.erase(ask).await.unwrap();
}

fn notes(report: &crate::PackageReport, text: &str) -> usize {
    let erased = |f: &&Finding| {
        matches!(f, Finding::NoRecord { erased: true, .. }) && f.to_string().contains(text)
    };
    report.findings.iter().filter(erased).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_after_the_window_is_proven() {
    let setup = Setup::new();
    let recorder = setup.start().await;
    let [one, two] = [
        session(&recorder, "shop", "alice", 2).await,
        session(&recorder, "shop", "bert", 2).await,
    ];
    flush(&recorder).await;
    let after = now_ns();
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    erase(&recorder, one).await;
    stop(recorder).await;
    // The other one by the next process: its log is none of the package.
    let recorder = setup.start().await;
    erase(&recorder, two).await;
    stop(recorder).await;
    let window = Window::new(0, after);
    let (path, report) = setup.package(&setup.order(window), "window.zip").await;
    assert_eq!(report.severity(), Severity::Note, "{:?}", report.findings);
    assert_eq!((report.manifest.logs.len(), report.counts.erasures), (1, 0));
    assert!(notes(&report, "erased after the window, at ") >= 3);
    let mut files = unpack(&path);
    let said: Vec<serde_json::Value> = serde_json::from_slice(&files[LATER]).unwrap();
    assert_eq!(said.len(), 2);
    // All of it in one window: in the table, and counted by sessions.
    let (_, whole) = setup.package(&setup.order(always()), "whole.zip").await;
    assert_eq!(whole.severity(), Severity::Note, "{:?}", whole.findings);
    assert_eq!(whole.counts.erasures, 2);
    // Without any key, those that signed the logs count.
    let report = check_package(&path, &[]).unwrap();
    assert_eq!(report.severity(), Severity::Note, "{:?}", report.findings);
    tampered(&setup, &mut files, &said);
}

/// Whoever makes the package says that something was erased, and what proves it is of another leaf, log or
/// session; or the proof is left out.
fn tampered(setup: &Setup, files: &mut Files, said: &[serde_json::Value]) {
    let manifest = manifest_of(files);
    let good = files.clone();
    assert_eq!(judge(setup, files), Vec::<String>::new());
    let name = |said: &serde_json::Value, end: &str| {
        let log = said["log"].as_str().unwrap();
        format!("erasures/{log}-{}.{end}", said["leaf"])
    };
    let (leaf, proof) = (name(&said[0], "leaf.json"), name(&said[0], "tlog-proof"));
    let others = files[&name(&said[1], "leaf.json")].clone();
    let text = String::from_utf8(files[&leaf].clone()).unwrap();
    let sessions: Vec<&str> = said
        .iter()
        .map(|s| s["session"].as_str().unwrap())
        .collect();
    let forged = text.replace(sessions[0], sessions[1]).into_bytes();
    let list = |change: fn(&mut serde_json::Value)| {
        let mut said = said.to_vec();
        change(&mut said[0]);
        serde_json::to_vec(&said).unwrap()
    };
    let cut = files[&proof][..files[&proof].len() - 60].to_vec();
    let changes: Vec<(&str, Option<Vec<u8>>)> = vec![
        (&leaf, Some(others)),
        (&leaf, Some(forged)),
        (&leaf, None),
        (&proof, Some(files[&name(&said[1], "tlog-proof")].clone())),
        (&proof, Some(cut)),
        (&proof, None),
        (LATER, Some(list(|s| s["leaf"] = 0.into()))),
        (
            LATER,
            Some(list(|s| s["session"] = Uuid::nil().to_string().into())),
        ),
        (LATER, Some(b"{}".to_vec())),
        (LATER, None),
    ];
    for (n, (path, bytes)) in changes.into_iter().enumerate() {
        *files = good.clone();
        match bytes {
            Some(bytes) => files.insert(path.to_owned(), bytes),
            None => files.remove(path),
        };
        sign_again(files, manifest.clone(), &setup.key);
        let wrong = judge(setup, files);
        assert!(!wrong.is_empty(), "change {n} of {path} is not found");
    }
    // A list that leaves one out: its proof is a stranger, and its records are missing.
    *files = good.clone();
    files.insert(LATER.into(), serde_json::to_vec(&said[..1]).unwrap());
    sign_again(files, manifest, &setup.key);
    assert!(!judge(setup, files).is_empty());
}

/// Markers lead to leaves, and prove nothing: one that leads elsewhere neither hides an erasure nor makes
/// one, and stops no package.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_marker_that_lies_changes_nothing() {
    let setup = Setup::new();
    let recorder = setup.start().await;
    let [one, two] = [
        session(&recorder, "shop", "alice", 2).await,
        session(&recorder, "shop", "bert", 2).await,
    ];
    flush(&recorder).await;
    let after = now_ns();
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    erase(&recorder, one).await;
    stop(recorder).await;
    let keys = setup.dir.path().join("store/keys");
    let marker = |session: Uuid| keys.join(format!("{session}.erased"));
    let good = std::fs::read_to_string(marker(one)).unwrap();
    // The other one has lost its key; its marker leads to the first one's leaf.
    std::fs::remove_file(keys.join(format!("{two}.key"))).unwrap();
    std::fs::write(
        marker(two),
        good.replace(&one.to_string(), &two.to_string()),
    )
    .unwrap();
    let mut lying: serde_json::Value = serde_json::from_str(&good).unwrap();
    lying["log"] = Uuid::now_v7().to_string().into();
    let lies = [lying.to_string(), "{}".into(), String::new()];
    for (n, lie) in lies.iter().enumerate() {
        std::fs::write(marker(one), lie).unwrap();
        let order = setup.order(Window::new(0, after));
        let (_, report) = setup.package(&order, &format!("{n}.zip")).await;
        assert_eq!(report.severity(), Severity::Gap, "{:?}", report.findings);
        let of = |session: Uuid, wanted: bool| {
            let is = |f: &&Finding| {
                matches!(f, Finding::NoRecord { stream, erased, .. }
                    if *stream == session && *erased == wanted)
            };
            report.findings.iter().filter(is).count()
        };
        assert!(
            of(one, true) > 0 && of(two, false) > 0,
            "{:?}",
            report.findings
        );
        assert_eq!((of(one, false), of(two, true)), (0, 0));
    }
}
