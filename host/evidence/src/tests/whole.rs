//! What is in a package, and that it verifies with nothing but a key.

use recorder::Severity;

use super::support::*;
use crate::archive::digest;
use crate::derive::{APPROVALS, EVENTS, GAPS, POPULATION, SAMPLE};
use crate::finding::Finding;
use crate::manifest::{MANIFEST, NOTE};
use crate::{MakeError, Receiving, Window, check_package, make, make_unnamed};

fn text(files: &Files, path: &str) -> String {
    String::from_utf8(files[path].clone()).unwrap()
}

fn rows(files: &Files, path: &str) -> Vec<String> {
    text(files, path)
        .lines()
        .skip(1)
        .map(str::to_owned)
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_package_says_what_was_recorded() {
    let setup = Setup::new();
    let recorder = setup.start().await;
    let shop = session(&recorder, "shop", "alice@example.com", 4).await;
    operator(&recorder).await;
    session(&recorder, "hr", "carol@example.com", 2).await;
    stop(recorder).await;
    let (path, report) = setup.package(&setup.order(always()), "all.zip").await;
    assert_eq!(report.severity(), Severity::Note, "{:?}", report.findings);
    assert_eq!(report.findings, []);
    let counts = &report.counts;
    assert_eq!(
        (
            counts.sessions,
            counts.permitted,
            counts.refused,
            counts.results
        ),
        (2, 6, 2, 6)
    );
    assert_eq!(
        (counts.approvals, counts.masked, counts.operators),
        (2, 6, 1)
    );
    let files = unpack(&path);
    let population = rows(&files, POPULATION);
    assert_eq!(population.len() as u64, counts.leaves);
    assert_eq!(rows(&files, APPROVALS).len(), 2);
    assert_eq!(rows(&files, SAMPLE).len(), 5);
    assert_eq!(rows(&files, "operators.csv").len(), 1);
    assert!(text(&files, "masking.csv").contains("\"shop\",\"public.users.ssn\",\"4\""));
    assert!(text(&files, "grants.csv").contains("\"postgres:select\",\"permit\",\"grant-read\""));
    assert!(text(&files, "policies.csv").contains("\"default\",\"3\""));
    let gaps: serde_json::Value = serde_json::from_slice(&files[GAPS]).unwrap();
    assert_eq!(gaps["verdict"], "none");
    for line in text(&files, EVENTS).lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        let (class, activity) = (&event["class_uid"], &event["activity_id"]);
        let expect = class.as_u64().unwrap() * 100 + activity.as_u64().unwrap();
        assert_eq!(event["type_uid"], expect);
    }
    let policy = files
        .keys()
        .find(|path| path.starts_with("policies/") && path.ends_with(".txt"));
    assert!(policy.is_some());
    // Names and texts are in records of the sample, and nowhere else.
    for (name, bytes) in &files {
        let text = String::from_utf8_lossy(bytes);
        let may = name.starts_with("records/") || name == "people.csv";
        assert!(may || !text.contains("example.com"), "{name}");
        assert!(may || !text.contains("secret"), "{name}");
    }
    assert!(text(&files, "people.csv").contains("example.com"));
    // Nothing is written over.
    let again = make(&setup.store(), &setup.order(always()), &path).await;
    assert!(matches!(again, Err(MakeError::Output { .. })));
    // One target: its leaves, and those that are of none.
    let mut order = setup.order(always());
    order.selection.targets.insert("shop".into());
    let (path, report) = setup.package(&order, "shop.zip").await;
    assert_eq!(report.counts.sessions, 1);
    assert_eq!(report.counts.operators, 1);
    let files = unpack(&path);
    assert!(text(&files, POPULATION).contains(&shop.to_string()));
    assert!(!text(&files, POPULATION).contains("\"hr\""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_texts_and_names_without_a_sample_and_all_names_if_asked() {
    let setup = Setup::new();
    let recorder = setup.start().await;
    for who in ["alice", "bert", "carol"] {
        session(&recorder, "shop", &format!("{who}@example.com"), 1).await;
    }
    stop(recorder).await;
    let mut order = setup.order(always());
    order.selection.sample = 0;
    let (path, report) = setup.package(&order, "none.zip").await;
    assert_eq!(report.proven, 0);
    for bytes in unpack(&path).values() {
        let text = String::from_utf8_lossy(bytes);
        assert!(!text.contains("example.com") && !text.contains("secret"));
    }
    order.selection.names = true;
    let (path, report) = setup.package(&order, "names.zip").await;
    assert_eq!(report.proven, 3);
    let people = text(&unpack(&path), "people.csv");
    for who in ["alice", "bert", "carol", "agent-7"] {
        assert!(people.contains(who), "{people}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_is_found_within_logs_and_across_them() {
    let setup = Setup::new();
    let recorder = setup.start().await;
    // Several bundles of leaves.
    session(&recorder, "shop", "alice", 300).await;
    let before = now_ns();
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let inner = session(&recorder, "shop", "alice", 200).await;
    let after = now_ns();
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    session(&recorder, "shop", "alice", 300).await;
    stop(recorder).await;
    let recorder = setup.start().await;
    session(&recorder, "shop", "alice", 3).await;
    stop(recorder).await;
    let (path, report) = setup
        .package(&setup.order(Window::new(before, after)), "in.zip")
        .await;
    assert_eq!(report.findings, []);
    let counts = &report.counts;
    assert_eq!(
        (counts.sessions, counts.permitted, counts.results),
        (1, 200, 200)
    );
    assert!(text(&unpack(&path), POPULATION).contains(&inner.to_string()));
    assert_eq!(report.manifest.logs.len(), 1);
    // From the middle of the first log into the second.
    let (_, report) = setup
        .package(&setup.order(Window::new(after, always().to_ns)), "two.zip")
        .await;
    assert_eq!(report.manifest.logs.len(), 2);
    assert_eq!((report.counts.sessions, report.counts.permitted), (2, 303));
    // A window in which nothing happened, between two sessions.
    let empty = Window::new(after, after + 1_000_000);
    let (_, report) = setup.package(&setup.order(empty), "empty.zip").await;
    assert_eq!(report.counts.sessions, 0);
    assert_eq!(report.severity(), Severity::Note);
    // Before there was a log.
    let order = setup.order(Window::new(0, 1_000_000));
    let never = make(&setup.store(), &order, &setup.out("never.zip")).await;
    assert!(matches!(never, Err(MakeError::NoLog(_))));
    assert!(!setup.out("never.zip").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_still_open_is_said() {
    let setup = Setup::new();
    let recorder = setup.start().await;
    let (id, journal) = open(&recorder, "shop", "alice").await;
    session(&recorder, "shop", "bert", 1).await;
    flush(&recorder).await;
    let (path, report) = setup.package(&setup.order(always()), "open.zip").await;
    assert!(
        matches!(&report.findings[..], [Finding::Open { .. }]),
        "{:?}",
        report.findings
    );
    assert_eq!(report.severity(), Severity::Gap);
    assert!(text(&unpack(&path), GAPS).contains(&id.to_string()));
    drop(journal);
    stop(recorder).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_are_gone_are_a_gap_and_said_so() {
    let setup = Setup::new();
    let recorder = setup.start().await;
    session(&recorder, "shop", "alice", 3).await;
    stop(recorder).await;
    std::fs::remove_dir_all(setup.dir.path().join("store/rec")).unwrap();
    let (_, report) = setup.package(&setup.order(always()), "gone.zip").await;
    assert_eq!(report.severity(), Severity::Gap);
    let gone = |f: &&Finding| matches!(f, Finding::NoRecord { erased: false, .. });
    // The sample, and the start of its session.
    assert_eq!(report.findings.iter().filter(gone).count(), 5);
    assert_eq!(report.proven, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_key_of_recordings_all_but_the_records_is_there() {
    let setup = Setup::new();
    let recorder = setup.start().await;
    session(&recorder, "shop", "alice@example.com", 3).await;
    stop(recorder).await;
    let store = setup.store().with_keys(None, None);
    let out = setup.out("sealed.zip");
    let report = make(&store, &setup.order(always()), &out).await.unwrap();
    assert_eq!((report.severity(), report.proven), (Severity::Gap, 0));
    assert_eq!(report.counts.permitted, 3);
    for bytes in unpack(&out).values() {
        assert!(!String::from_utf8_lossy(bytes).contains("example.com"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_that_was_not_kept_is_said_and_another_is_none() {
    let setup = Setup::new();
    let recorder = setup.start().await;
    session(&recorder, "shop", "alice", 1).await;
    stop(recorder).await;
    let dir = setup.dir.path().join("store/bundles");
    let kept = std::fs::read_dir(&dir)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    std::fs::write(&kept, b"another").unwrap();
    let (_, report) = setup.package(&setup.order(always()), "other.zip").await;
    let said: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    assert!(
        said.iter()
            .any(|s| s.contains("is not what its digest says")),
        "{said:?}"
    );
    assert_eq!(report.severity(), Severity::Gap);
    std::fs::remove_file(&kept).unwrap();
    let (_, report) = setup.package(&setup.order(always()), "none.zip").await;
    assert!(matches!(
        &report.findings[..],
        [Finding::NoBundle { version: 3, .. }]
    ));
    assert_eq!(report.severity(), Severity::Gap);
}

/// What a package says of its own making is signed; and a package has a bound.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_package_says_if_it_is_on_record_and_is_not_too_large() {
    let setup = Setup::new();
    let recorder = setup.start().await;
    session(&recorder, "shop", "alice", 1).await;
    stop(recorder).await;
    let mut order = setup.order(always());
    let (path, report) = setup.package(&order, "offline.zip").await;
    assert!(!report.manifest.recorded);
    let page = text(&unpack(&path), "controls.html");
    assert!(page.contains("is not itself an entry of the log"), "{page}");
    let manifest = unpack(&path)[MANIFEST].clone();
    assert_eq!(report.digest, hex::encode(digest(&manifest).sha256));
    order.recorded = true;
    let (path, report) = setup.package(&order, "recorded.zip").await;
    assert!(report.manifest.recorded);
    assert_eq!(report.findings, []);
    let page = text(&unpack(&path), "controls.html");
    assert!(page.contains("evidence:exported") && !page.contains("is not itself"));
    // On its way to somebody: it gets its name only if it is the one that is on record.
    let bytes = std::fs::read(&path).unwrap();
    let receive = |name: &str, bytes: &[u8], digest: &str| {
        let mut receiving = Receiving::new(&setup.out(name))?;
        bytes
            .chunks(1000)
            .try_for_each(|piece| receiving.write(piece))?;
        receiving.finish(digest, &setup.trusted())
    };
    let offline = std::fs::read(setup.out("offline.zip")).unwrap();
    let unrecorded = check_package(&setup.out("offline.zip"), &[])
        .unwrap()
        .digest;
    for (what, bytes, digest) in [
        ("another", &bytes, &*unrecorded),
        ("not on record", &offline, &*unrecorded),
        ("cut", &bytes[..bytes.len() - 1].to_vec(), &*report.digest),
        ("empty", &Vec::new(), &*report.digest),
    ] {
        assert!(receive("came.zip", bytes, digest).is_err(), "{what}");
        assert!(!setup.out("came.zip").exists(), "{what}");
    }
    receive("came.zip", &bytes, &report.digest).unwrap();
    assert_eq!(std::fs::read(setup.out("came.zip")).unwrap(), bytes);
    assert!(
        receive("came.zip", &bytes, &report.digest).is_err(),
        "it was there"
    );
    // Nobody can say it without the key.
    let mut files = unpack(&path);
    files.remove(NOTE);
    let bare = setup.out("bare.zip");
    pack(&files, &bare);
    let report = check_package(&bare, &[]).unwrap();
    let said: Vec<String> = report.failures().map(ToString::to_string).collect();
    assert!(said.len() == 1 && said[0].contains("is signed"), "{said:?}");
    // A file without a name leaves nothing behind.
    let before = std::fs::read_dir(setup.dir.path()).unwrap().count();
    let unnamed = make_unnamed(&setup.store(), &order, setup.dir.path()).await;
    assert!(unnamed.unwrap().0.metadata().unwrap().len() > 1_000);
    assert_eq!(std::fs::read_dir(setup.dir.path()).unwrap().count(), before);
    order.key = None;
    let error = make(&setup.store(), &order, &setup.out("no-key.zip")).await;
    assert!(matches!(error, Err(MakeError::Wrong(_))), "{error:?}");
    let mut order = setup.order(always());
    let size: u64 = files.values().map(|bytes| bytes.len() as u64).sum();
    for (most, fits) in [
        (0, false),
        (1_000, false),
        (size - 1_000, false),
        (size * 2, true),
    ] {
        order.most = most;
        let name = format!("{most}.zip");
        let made = make(&setup.store(), &order, &setup.out(&name)).await;
        assert_eq!(made.is_ok(), fits, "{most}: {made:?}");
        if let Err(error) = made {
            assert!(error.is_too_large(), "{most}: {error}");
        }
        assert_eq!(setup.out(&name).exists(), fits, "{most}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_decide_what_is_believed() {
    let setup = Setup::new();
    let recorder = setup.start().await;
    session(&recorder, "shop", "alice", 1).await;
    stop(recorder).await;
    let (path, report) = setup.package(&setup.order(always()), "all.zip").await;
    assert_eq!(report.signer, Some(setup.trusted()[0].vkey()));
    // Without a key, it is said who signed.
    let report = check_package(&path, &[]).unwrap();
    assert_eq!(report.findings, []);
    assert_eq!(report.signer, Some(setup.trusted()[0].vkey()));
    // One that is named twice is one.
    let twice = [setup.trusted(), setup.trusted()].concat();
    assert_eq!(check_package(&path, &twice).unwrap().findings, []);
    let mut order = setup.order(always());
    order.trusted = twice;
    let (_, report) = setup.package(&order, "twice.zip").await;
    assert_eq!(report.findings, []);
    let other = Setup {
        key: std::sync::Arc::new(recorder::SeedKey::new([8; 32])),
        ..Setup::new()
    };
    let report = check_package(&path, &other.trusted()).unwrap();
    assert_eq!(report.severity(), Severity::Failure);
    // Unsigned, it is worth less, and nothing to whoever named a key.
    let mut order = setup.order(always());
    order.key = None;
    let (path, report) = setup.package(&order, "unsigned.zip").await;
    assert_eq!(report.findings, [Finding::Unsigned { wanted: false }]);
    let report = check_package(&path, &setup.trusted()).unwrap();
    assert_eq!(report.severity(), Severity::Failure);
}

/// One is approved, one is denied, and of one nobody has seen the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_held_counts_once() {
    let setup = Setup::new();
    let recorder = setup.start().await;
    let (_, journal) = open(&recorder, "shop", "alice").await;
    for (seq, hold, fingerprint) in [(1, "hold-0", 7), (2, "hold-1", 8), (3, "hold-2", 7)] {
        let held = held(seq, hold, fingerprint);
        journal.held(held).await.unwrap();
    }
    let approved = pipeline::Intent {
        risk: asked(),
        ..intent(1)
    };
    journal.intent(approved).await.unwrap();
    journal.outcome(outcome(1)).await.unwrap();
    let denied = pipeline::RefusalRecord {
        risk: asked(),
        ..refusal(2)
    };
    journal.refused(denied).await.unwrap();
    let end = pipeline::SessionEnd {
        at: std::time::SystemTime::now(),
        reason: pipeline::EndReason::ClientClosed,
    };
    journal.close(end).await.unwrap();
    stop(recorder).await;
    let (path, report) = setup.package(&setup.order(always()), "held.zip").await;
    assert_eq!(report.findings, []);
    let counts = &report.counts;
    assert_eq!((counts.held, counts.permitted, counts.refused), (3, 1, 1));
    let files = unpack(&path);
    let plugins = rows(&files, "plugins.csv");
    let plugin = format!("\"risk-sql\",\"1\",\"{}\",\"2\",", "d".repeat(64));
    assert!(
        matches!(&*plugins, [row] if row.starts_with(&plugin)),
        "{plugins:?}"
    );
    // With the session's start.
    let policies = rows(&files, "policies.csv");
    assert!(
        matches!(&*policies, [row] if row.contains(",\"3\",\"20")),
        "{policies:?}"
    );
    let page = text(&files, "controls.html");
    assert!(page.contains("held for people</td><td>3</td>"), "{page}");
    let held = rows(&files, POPULATION);
    let held = held.iter().filter(|row| row.contains("\"hold\""));
    assert_eq!(held.count(), 3);

    // Where a hold alone says it, it is named all the same.
    let recorder = setup.start().await;
    let before = now_ns();
    let (_, journal) = open(&recorder, "shop", "alice").await;
    let alone = super::support::held(0, "hold-3", 7);
    journal.held(alone).await.unwrap();
    drop(journal);
    stop(recorder).await;
    let window = Window::new(before, always().to_ns);
    let (path, report) = setup.package(&setup.order(window), "alone.zip").await;
    assert_eq!((report.counts.held, report.counts.permitted), (1, 0));
    let plugins = rows(&unpack(&path), "plugins.csv");
    let plugin = format!("\"risk-sql\",\"1\",\"{}\",\"0\",\"20", "d".repeat(64));
    assert!(
        matches!(&*plugins, [row] if row.starts_with(&plugin)),
        "{plugins:?}"
    );
}
