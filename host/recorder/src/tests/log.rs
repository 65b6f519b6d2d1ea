//! The transparency log: what is in it, and that nothing of it can be changed, taken out or rolled back
//! unseen.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pipeline::ports::Journal;
use pipeline::{ControlEvent, Outcome, OutcomeKind};
use uuid::Uuid;

use super::support::*;
use crate::commit::Item;
use crate::disk::RealDisk;
use crate::fault::{Fault, FaultDisk};
use crate::log::check::LogFinding;
use crate::log::key::Keys;
use crate::log::names::{self, Part};
use crate::log::publish::Publisher;
use crate::log::registry::{Registry, RegistryOptions};
use crate::log::sequence::{Begin, Sequencer};
use crate::objects::Objects;
use crate::options::{Limits, RecorderOptions};
use crate::record::{HEADER, Kind};
use crate::state::State;
use crate::{Finding, Recorder, Severity, StoreConfig, TrustedKey, VerifyOptions, verify_store};

/// All objects of logs, with their keys.
pub fn log_objects(dir: &TempDir) -> Vec<(PathBuf, Uuid, Part)> {
    let all = objects(&dir.stored().join("log")).into_iter();
    all.map(|path| {
        let key = path.strip_prefix(dir.stored()).unwrap().to_str().unwrap();
        let (log, part) = names::parse(names::ROOT, key).expect(key);
        (path, log, part)
    })
    .collect()
}

pub fn trusted(dir: &TempDir) -> Vec<TrustedKey> {
    let log = &dir.options().log;
    let keys = Keys::open(log).unwrap();
    vec![keys.log.vkey(&log.name).unwrap().parse().unwrap()]
}

pub async fn check(dir: &TempDir, log_keys: Vec<TrustedKey>) -> Vec<Finding> {
    let options = VerifyOptions {
        log_keys,
        ..VerifyOptions::default()
    };
    let report = verify_store(&dir.store(), &options).await.unwrap();
    report.findings
}

pub fn failures(findings: &[Finding]) -> usize {
    let failure = |f: &&Finding| f.severity() == Severity::Failure;
    findings.iter().filter(failure).count()
}

/// All leaves of the logs, as JSON.
pub fn leaves(dir: &TempDir) -> Vec<serde_json::Value> {
    let mut out = Vec::new();
    for (path, _, part) in log_objects(dir) {
        if let Part::Tile(tile) = part
            && tile.kind == tlog::Kind::Entries
        {
            let bytes = std::fs::read(path).unwrap();
            let entries =
                tlog::entries(&bytes).map(|e| serde_json::from_slice(e.unwrap()).unwrap());
            let all: Vec<serde_json::Value> = entries.collect();
            if all.len() > out.len() || tile.index > 0 {
                out = all;
            }
        }
    }
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaf_says_who_did_what_and_nothing_that_must_be_erasable() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    let journal = recorder.open(start()).await.unwrap();
    journal
        .intent(intent(0, "select 'a secret'"))
        .await
        .unwrap();
    let outcome = Outcome {
        seq: 0,
        at: SystemTime::now(),
        kind: OutcomeKind::Done,
        detail: "SELECT 1".into(),
        rows: 1,
        bytes: 2,
        elapsed: Duration::from_millis(3),
    };
    journal.outcome(outcome).await.unwrap();
    journal.refused(refusal(1, "drop a secret")).await.unwrap();
    journal.close(end()).await.unwrap();
    recorder.shutdown(SHORT).await;
    assert_eq!(check(&dir, trusted(&dir)).await, []);

    let leaves = leaves(&dir);
    let kinds: Vec<&str> = leaves.iter().map(|l| l["type"].as_str().unwrap()).collect();
    assert_eq!(kinds[..3], ["log.start", "recorder.start", "session.start"]);
    let of_session = [
        "session.start",
        "request",
        "result",
        "request",
        "session.end",
    ];
    assert_eq!(kinds[2..7], of_session);
    assert!(kinds.contains(&"rec.anchor") && kinds.contains(&"recorder.stop"));
    let request = &leaves[3];
    let start = &leaves[2];
    for part in ["who", "target", "sid", "v"] {
        assert_eq!(request[part], start[part], "{part}");
        assert!(!request[part].is_null(), "{part}");
    }
    assert_eq!(request["who"]["kind"], "Agent");
    assert_eq!(request["who"]["act"].as_array().unwrap().len(), 1);
    assert_eq!(request["decision"], "permit");
    assert_eq!(request["actions"][0], "postgres:select");
    assert_eq!(request["resources"][0], "PgTable::shop.public.users");
    assert_eq!(request["policies"][0], "grant-read");
    assert_eq!(request["bundle"]["version"], 3);
    assert_eq!(request["approval"]["rules"][0], "risky");
    assert_eq!(request["body"]["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(leaves[4]["outcome"], "done");
    assert_eq!(leaves[5]["decision"], "hold-denied");
    assert_eq!(leaves[5]["risk"]["labels"][0], "plugin-failed");
    // Its names are in the order of RFC 8785, and nobody is called by name.
    for leaf in &leaves {
        let text = leaf.to_string();
        for plain in ["alice", "agent-7", "bob", "secret", "SELECT 1"] {
            assert!(!text.contains(plain), "{plain}: {text}");
        }
    }
    let bytes = objects(&dir.stored().join("log"));
    let entries = bytes
        .iter()
        .find(|p| p.to_string_lossy().contains("entries"));
    let bytes = std::fs::read(entries.unwrap()).unwrap();
    for entry in tlog::entries(&bytes) {
        // `serde_json::Value` sorts its names.
        let entry = std::str::from_utf8(entry.unwrap()).unwrap().to_owned();
        let sorted: serde_json::Value = serde_json::from_str(&entry).unwrap();
        assert_eq!(entry, sorted.to_string());
    }
}

/// What is not known cannot be found out by trying: equal records have different hashes.
#[tokio::test(flavor = "multi_thread")]
async fn equal_records_have_different_hashes() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    let journal = recorder.open(start()).await.unwrap();
    let at = SystemTime::now();
    let mut salts = Vec::new();
    for seq in 0..3 {
        let mut same = intent(seq, "select 1");
        same.at = at;
        journal.intent(same).await.unwrap();
    }
    journal.close(end()).await.unwrap();
    let id = journal_id(&dir).await;
    let store = dir.store();
    for key in store.segments(false, id).await.unwrap() {
        let segment = store.segment(&key).await.unwrap();
        for record in segment.records() {
            let body = record.action().map_or(record.payload, |(_, body)| body);
            let doc: serde_json::Value = serde_json::from_slice(body).unwrap();
            let salt = doc["salt"].as_str().unwrap().to_owned();
            assert_eq!(salt.len(), 32);
            assert!(!salts.contains(&salt));
            salts.push(salt);
        }
    }
    // A start, three intents with their outcomes, an end.
    assert_eq!(salts.len(), 8);
    recorder.shutdown(SHORT).await;
}

async fn journal_id(dir: &TempDir) -> Uuid {
    for _ in 0..200 {
        if let Some(entry) = dir
            .store()
            .sessions(crate::Days::default())
            .await
            .unwrap()
            .pop()
        {
            return entry.session;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("nothing is stored");
}

/// Of a small store, every byte of every object of the log.
#[tokio::test(flavor = "multi_thread")]
async fn every_altered_byte_is_found() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    session(&recorder, 1, 10).await;
    recorder.shutdown(SHORT).await;
    let keys = trusted(&dir);
    assert_eq!(check(&dir, keys.clone()).await, []);
    let mut tried = 0;
    for (path, _, _) in log_objects(&dir) {
        let keys = keys.clone();
        let good = std::fs::read(&path).unwrap();
        // Each byte of short objects and a seventh of long ones, another seventh each time.
        let step = if good.len() > 400 { 7 } else { 1 };
        for at in (tried % step..good.len()).step_by(step) {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 7);
            std::fs::write(&path, &bad).unwrap();
            let found = check(&dir, keys.clone()).await;
            assert!(failures(&found) > 0, "{} byte {at}", path.display());
            tried += 1;
        }
        std::fs::write(&path, [&good[..], b"x"].concat()).unwrap();
        let found = check(&dir, keys.clone()).await;
        assert!(failures(&found) > 0, "{} and one more", path.display());
        for cut in [0, good.len() / 2, good.len() - 1] {
            std::fs::write(&path, &good[..cut]).unwrap();
            assert!(
                failures(&check(&dir, keys.clone()).await) > 0,
                "{} {cut}",
                path.display()
            );
        }
        std::fs::write(&path, &good).unwrap();
    }
    assert!(tried > 1000, "{tried}");
    assert_eq!(check(&dir, keys).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_removed_object_is_found() {
    let dir = TempDir::new();
    for _ in 0..2 {
        let (recorder, _) = dir.open().await;
        session(&recorder, 2, 10).await;
        recorder.shutdown(SHORT).await;
    }
    let keys = trusted(&dir);
    assert_eq!(check(&dir, keys.clone()).await, []);
    let newest: Vec<u64> = {
        let all = log_objects(&dir);
        let of = |log: Uuid| {
            let sizes = all.iter().filter(move |(_, l, _)| *l == log);
            sizes.filter_map(|(_, _, part)| match part {
                Part::Archived(size) => Some(*size),
                _ => None,
            })
        };
        all.iter()
            .filter_map(|(_, log, _)| of(*log).max())
            .collect()
    };
    let mut tried = 0;
    for (path, _, part) in log_objects(&dir) {
        let harmless = match part {
            Part::Vkey => true,
            // An earlier checkpoint, with its tiles, says nothing that the newest does not.
            Part::Archived(_) => true,
            Part::Tile(tile) if !tile.is_full() => !newest
                .iter()
                .any(|size| size % 256 == u64::from(tile.width)),
            _ => false,
        };
        if harmless {
            continue;
        }
        let good = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(
            failures(&check(&dir, keys.clone()).await) > 0,
            "{}",
            path.display()
        );
        std::fs::write(&path, good).unwrap();
        tried += 1;
    }
    assert!(tried >= 6, "{tried}");
    // A log as a whole: the next one names it. The last one: its control stream has none.
    let logs: std::collections::BTreeSet<Uuid> =
        log_objects(&dir).iter().map(|(_, log, _)| *log).collect();
    for (log, last) in logs.iter().zip([false, true]) {
        let at = dir.stored().join(names::prefix(*log));
        let aside = dir.spool().join("aside");
        std::fs::rename(&at, &aside).unwrap();
        let found = check(&dir, keys.clone()).await;
        let named = |f: &Finding| matches!(f, Finding::Log(LogFinding::Prev { .. }));
        let unlogged = |f: &Finding| matches!(f, Finding::NoLogOf(stream) if stream == log);
        assert!(
            found
                .iter()
                .any(|f| if last { unlogged(f) } else { named(f) }),
            "{found:?}"
        );
        std::fs::rename(&aside, &at).unwrap();
    }
    std::fs::rename(dir.stored().join("log"), dir.spool().join("aside")).unwrap();
    assert!(check(&dir, keys).await.contains(&Finding::NoLog));
}

/// With everything in the store that vouches for it, but the log.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_taken_out_is_found() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    session(&recorder, 2, 10).await;
    recorder.shutdown(SHORT).await;
    for root in ["rec", "ctl"] {
        std::fs::remove_dir_all(dir.stored().join(root)).unwrap();
    }
    let found = check(&dir, trusted(&dir)).await;
    let missing = |f: &&Finding| matches!(f, Finding::MissingRecords { first: 0, .. });
    assert_eq!(found.iter().filter(missing).count(), 2, "{found:?}");
    let anchored = |f: &&Finding| matches!(f, Finding::MissingAnchored { .. });
    assert_eq!(found.iter().filter(anchored).count(), 2, "{found:?}");
}

/// Everything as it was some time ago: what came later is gone. Only somebody who has seen a later
/// checkpoint can tell; but then a later checkpoint must not be there.
#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_was_rolled_back_is_found_by_what_is_left() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    session(&recorder, 2, 10).await;
    assert!(recorder.flush(SHORT).await);
    let path = dir
        .stored()
        .join(names::object(recorder.control_stream(), names::CHECKPOINT));
    let before = std::fs::read(&path).unwrap();
    session(&recorder, 2, 10).await;
    recorder.shutdown(SHORT).await;
    assert_eq!(check(&dir, trusted(&dir)).await, []);
    std::fs::write(&path, before).unwrap();
    // The archive has the later one.
    let found = check(&dir, trusted(&dir)).await;
    let back = |f: &Finding| matches!(f, Finding::Log(LogFinding::RolledBack { .. }));
    assert!(failures(&found) == 1 && found.iter().any(back), "{found:?}");
    for (path, _, part) in log_objects(&dir) {
        if matches!(part, Part::Archived(_)) {
            std::fs::remove_file(path).unwrap();
        }
    }
    let found = check(&dir, trusted(&dir)).await;
    let unlogged =
        |f: &Finding| matches!(f, Finding::Unlogged { .. } | Finding::NotLoggedYet { .. });
    assert!(found.iter().any(unlogged), "{found:?}");
    let beyond = |f: &Finding| matches!(f, Finding::Log(LogFinding::Beyond { .. }));
    assert!(found.iter().any(beyond), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_is_not_believed() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    session(&recorder, 1, 10).await;
    recorder.shutdown(SHORT).await;
    let report = dir.verify().await;
    assert_eq!(report.signers.len(), 1);
    assert_eq!(report.signers[0].parse(), Ok(trusted(&dir).remove(0)));
    let other = TempDir::new();
    let found = check(&dir, trusted(&other)).await;
    let unsigned = |f: &Finding| matches!(f, Finding::Log(LogFinding::Checkpoint { .. }));
    assert!(found.iter().any(unsigned), "{found:?}");
    // Of several, one is enough.
    let both = [trusted(&other), trusted(&dir)].concat();
    assert_eq!(check(&dir, both).await, []);
    for wrong in ["", "weir", "weir+00000000+AAAA", "a+b"] {
        assert!(wrong.parse::<TrustedKey>().is_err(), "{wrong}");
    }
}

/// The clock goes back; the leaves' times do not.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_back_is_clamped() {
    let dir = TempDir::new();
    for year in [1, 0] {
        let (recorder, _) = dir.open().await;
        let event = ControlEvent {
            at: SystemTime::now() + Duration::from_secs(year * 365 * 86_400),
            principal: None,
            action: "x".into(),
            resource: "y".into(),
            result: Err("no".into()),
            detail: String::new(),
        };
        recorder.event(event).await.unwrap();
        session(&recorder, 1, 10).await;
        recorder.shutdown(SHORT).await;
        let times: Vec<String> = leaves(&dir)
            .iter()
            .map(|l| l["time"].as_str().unwrap().to_owned())
            .collect();
        assert!(times.is_sorted(), "{times:?}");
    }
    assert_eq!(check(&dir, trusted(&dir)).await, []);
}

/// What waits in the spool for the store is damaged meanwhile: that is told, and nothing that was not
/// signed is stored.
#[tokio::test(flavor = "multi_thread")]
async fn leaves_that_are_altered_in_the_spool_are_not_published() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    block_store(&dir);
    session(&recorder, 2, 10).await;
    recorder.shutdown(Duration::from_millis(500)).await;
    let log = dir.spool().join(names::prefix(recorder.control_stream()));
    drop(recorder);
    std::fs::remove_file(dir.stored()).unwrap();
    let path = log.join("000000.leaves");
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let (recorder, _) = dir.open().await;
    recorder.shutdown(SHORT).await;
    assert!(!log.exists());
    let found = check(&dir, trusted(&dir)).await;
    let gap = |f: &Finding| matches!(f, Finding::Gap { what, .. } if what.contains("log"));
    assert!(found.iter().any(gap), "{found:?}");
    assert!(objects(&dir.spool().join("quarantine")).len() > 1);
}

/// A checkpoint that cannot be made durable ends the recorder.
#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_cannot_be_written_poisons() {
    let dir = TempDir::new();
    let disk = FaultDisk::default();
    let recorder = dir.open_faulty(&disk, |_| {}).await;
    let _session = recorder.open(start()).await.unwrap();
    let failed = recorder.failed();
    disk.set(Some(Fault::RenameFails));
    tokio::time::timeout(SHORT, failed.cancelled())
        .await
        .unwrap();
    let why = recorder.stats().poisoned.unwrap();
    assert!(why.contains("transparency log"), "{why}");
    disk.set(None);
    recorder.shutdown(SHORT).await;
    drop(recorder);
    dir.open().await.0.shutdown(SHORT).await;
    assert_eq!(failures(&check(&dir, trusted(&dir)).await), 0);
}

pub fn control_item(index: u64) -> (Item, Vec<u8>) {
    let doc = format!(r#"{{"action":"x","resource":"{index}"}}"#);
    let encoded = [vec![0; HEADER], doc.into_bytes()].concat();
    let item = Item {
        kind: Kind::Control,
        ts_ns: index,
        stream: 5,
        index: index + 1,
        seq: None,
        leaf: crate::chain::leaf(&encoded),
        encoded: 0..encoded.len(),
    };
    (item, encoded)
}

/// A log of so many leaves, all of which are stored, with a checkpoint after each so many; the process ends
/// then. Gives its id and what is left.
pub async fn a_stored_log(dir: &TempDir, leaves: u64, checkpoint_after: u64) -> (Uuid, Arc<State>) {
    let options: RecorderOptions = dir.options();
    let state = Arc::new(State::new(Limits {
        publish_every: Duration::from_millis(1),
        ..options.limits
    }));
    let keys = Keys::open(&options.log).unwrap();
    let epoch = Uuid::now_v7();
    let begin = Begin {
        epoch,
        control: epoch,
        software: "x",
        prev: None,
    };
    let disk = Arc::new(RealDisk);
    let logs = dir.spool().join("log");
    let objects = Objects::open(&StoreConfig::Directory(dir.stored())).unwrap();
    let registry = RegistryOptions {
        disk: disk.clone(),
        state: state.clone(),
        spool: dir.spool(),
        quarantine: dir.spool().join("quarantine"),
        objects: objects.clone(),
        key: keys.log.clone(),
        name: keys.name.clone(),
        witnesses: Vec::new(),
        control: 5,
    };
    let (registry, lost) = Registry::open(registry).unwrap();
    assert_eq!(lost, None);
    let mut sequencer = Sequencer::begin(state.clone(), disk.clone(), &logs, keys, &begin).unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let shared = sequencer.shared();
    let publisher = Publisher {
        state: state.clone(),
        disk,
        objects,
        shared: shared.clone(),
        old: Vec::new(),
        registry: Some(registry),
        quarantine: dir.spool().join("quarantine"),
        control: 5,
        stop: stop.clone(),
    };
    let published = tokio::spawn(publisher.run());
    for n in 1..leaves {
        let (item, encoded) = control_item(n);
        sequencer.record(1, &item, &encoded).unwrap();
        if n.is_multiple_of(checkpoint_after) {
            sequencer.checkpoint().unwrap();
        }
    }
    sequencer.checkpoint().unwrap();
    let wait = async {
        while !shared.is_stored() {
            shared.hurry();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let all = tokio::time::timeout(Duration::from_secs(120), wait).await;
    all.expect("all of it is stored");
    stop.cancel();
    published.await.unwrap();
    (epoch, state)
}

/// Past a full tile of level 1: its leaves leave the spool when the store has them, and the tree is what
/// was signed.
#[tokio::test(flavor = "multi_thread")]
async fn many_leaves_are_stored_and_leave_the_spool() {
    const LEAVES: u64 = 70_000;
    let dir = TempDir::new();
    let (epoch, state) = a_stored_log(&dir, LEAVES, 9973).await;
    let logs = dir.spool().join("log");
    assert!(state.poisoned().is_none(), "{:?}", state.poisoned());
    let objects = Objects::open(&StoreConfig::Directory(dir.stored())).unwrap();
    let logs_found = crate::log::check::check(&objects, &trusted(&dir), &[], &[], None)
        .await
        .unwrap();
    assert_eq!(logs_found.wrong, []);
    assert_eq!(logs_found.leaves, LEAVES);
    let in_spool = spool_files(&logs.join(epoch.to_string()));
    assert_eq!(in_spool, ["000001.leaves", "edge", "stored"]);
    let used = state.log_bytes.load(std::sync::atomic::Ordering::Relaxed);
    let leaves = std::fs::metadata(logs.join(epoch.to_string()).join("000001.leaves")).unwrap();
    assert_eq!(used, leaves.len());
    // Partial tiles of full ones are gone.
    let entries = log_objects(&dir).into_iter().filter(|(_, _, part)| {
        matches!(part, Part::Tile(tile) if tile.kind == tlog::Kind::Entries && !tile.is_full())
    });
    assert!(entries.count() < 8);
}

fn spool_files(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// The publisher of one that runs and the one before it.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_could_not_be_stored_is_stored_by_the_next_start() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    block_store(&dir);
    session(&recorder, 2, 10).await;
    let report = recorder.shutdown(Duration::from_millis(300)).await;
    assert!(!report.log_stored);
    let first = recorder.control_stream();
    drop(recorder);
    std::fs::remove_file(dir.stored()).unwrap();
    let (recorder, _): (Recorder, _) = dir.open().await;
    assert!(recorder.shutdown(SHORT).await.log_stored);
    assert_eq!(check(&dir, trusted(&dir)).await, []);
    assert!(!dir.spool().join(names::prefix(first)).exists());
    let report = dir.verify().await;
    assert_eq!((report.logs, report.sessions), (2, 1));
}
