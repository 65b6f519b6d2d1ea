//! The log of all logs: it goes on over starts, vouches for every log, and is witnessed.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::log::{check, failures, trusted};
use super::support::*;
use super::witness::{Manner, TestWitness};
use crate::disk::RealDisk;
use crate::fault::{Fault, FaultDisk};
use crate::log::check::LogFinding;
use crate::log::key::Keys;
use crate::log::names;
use crate::log::registry::{Registry, RegistryLeaf, RegistryOptions};
use crate::log::sequence::Snapshot;
use crate::log::spool::{replace, unsealed};
use crate::objects::Objects;
use crate::state::State;
use crate::{Finding, Recorder, VerifyOptions, VerifyReport, WitnessPolicy, verify_store};

/// The leaves of the one registry, as the store has them.
fn registrations(dir: &TempDir) -> (Uuid, Vec<RegistryLeaf>) {
    let root = dir.stored().join(names::REGISTRY);
    let registries: Vec<_> = std::fs::read_dir(&root).unwrap().flatten().collect();
    assert_eq!(registries.len(), 1);
    let id = registries[0].file_name().to_string_lossy().parse().unwrap();
    let mut newest = Vec::new();
    for path in objects(&root) {
        if path.to_string_lossy().contains("/entries/") {
            let bytes = std::fs::read(path).unwrap();
            if bytes.len() > newest.len() {
                newest = bytes;
            }
        }
    }
    let leaf = |entry: Result<&[u8], _>| serde_json::from_slice(entry.unwrap()).unwrap();
    (id, tlog::entries(&newest).map(leaf).collect())
}

async fn start_and_stop(dir: &TempDir) -> Uuid {
    let (recorder, report) = dir.open().await;
    assert!(report.gaps.is_empty(), "{report:?}");
    session(&recorder, 2, 10).await;
    let log = recorder.control_stream();
    assert!(recorder.shutdown(SHORT).await.log_stored);
    log
}

#[tokio::test(flavor = "multi_thread")]
async fn every_log_is_in_one_registry() {
    let dir = TempDir::new();
    let mut logs = Vec::new();
    for _ in 0..3 {
        logs.push(start_and_stop(&dir).await);
    }
    let (_, leaves) = registrations(&dir);
    assert_eq!(
        (leaves[0].kind.as_str(), &leaves[0].log),
        ("registry.start", &None)
    );
    for log in &logs {
        let of = |l: &&RegistryLeaf| {
            let origin = l.log.as_ref().map_or("", |log| log.origin.as_str());
            origin.ends_with(&log.to_string())
        };
        assert!(leaves.iter().any(|l| of(&l)), "{log}: {leaves:?}");
    }
    assert!(leaves.iter().skip(1).all(|l| l.kind == "log.checkpoint"));
    assert_eq!(check(&dir, trusted(&dir)).await, []);
}

/// What nothing else knows of: the last log, with the control stream and the sessions of its time.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_is_taken_out_is_found() {
    let dir = TempDir::new();
    start_and_stop(&dir).await;
    let before = TempDir::new();
    copy_all(&dir.stored(), &before.stored());
    start_and_stop(&dir).await;
    // Everything as it was, but the registry.
    let registry = dir.stored().join(names::REGISTRY);
    let at = before.stored().join(names::REGISTRY);
    std::fs::remove_dir_all(&at).unwrap();
    copy_all(&registry, &at);
    let found = check(&before, trusted(&dir)).await;
    let gone = |f: &Finding| matches!(f, Finding::Log(LogFinding::RolledBack { is: 0, .. }));
    assert!(found.iter().any(gone), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_altered_byte_of_a_registry_is_found() {
    let dir = TempDir::new();
    start_and_stop(&dir).await;
    start_and_stop(&dir).await;
    let keys = trusted(&dir);
    let mut tried = 0;
    for path in objects(&dir.stored().join(names::REGISTRY)) {
        let good = std::fs::read(&path).unwrap();
        for at in (0..good.len()).step_by(37) {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            let found = check(&dir, keys.clone()).await;
            assert!(failures(&found) > 0, "{}: byte {at}", path.display());
            tried += 1;
        }
        std::fs::write(&path, good).unwrap();
    }
    assert!(tried > 50, "{tried}");
    assert_eq!(check(&dir, keys).await, []);
}

/// An old log without a registration is a failure; a young one may be on its way.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_no_registry_is_found() {
    let dir = TempDir::new();
    start_and_stop(&dir).await;
    std::fs::remove_dir_all(dir.stored().join(names::REGISTRY)).unwrap();
    let found = check(&dir, trusted(&dir)).await;
    assert!(matches!(found[..], [Finding::Waiting(_)]), "{found:?}");
    let (store, keys) = (dir.store(), trusted(&dir));
    let logs = crate::log::check::check(store.objects(), &keys, &[], &[], None);
    let logs = logs.await.unwrap();
    assert_eq!(logs.unregistered("2000-01-01").len(), 1);
    let [(_, Some(_))] = logs.unregistered("2100-01-01")[..] else {
        panic!("its leaves are late by then")
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_registry_is_put_aside_and_told_of() {
    let dir = TempDir::new();
    start_and_stop(&dir).await;
    let edge = dir.spool().join("registry").join("edge");
    let good = std::fs::read(&edge).unwrap();
    for at in (0..good.len()).step_by(good.len() / 7) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(&edge, bad).unwrap();
        let (recorder, report) = dir.open().await;
        let told = report.gaps.iter().filter(|gap| gap.contains("registry"));
        assert_eq!(told.count(), 1, "{report:?}");
        assert!(recorder.shutdown(SHORT).await.log_stored);
        std::fs::write(&edge, &good).unwrap();
    }
    let found = check(&dir, trusted(&dir)).await;
    assert_eq!(failures(&found), 0, "{found:?}");
}

/// A spool that is an old copy must not sign another tree of a size that somebody has seen.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_copy_of_the_spool_begins_another_registry() {
    let dir = TempDir::new();
    start_and_stop(&dir).await;
    let edge = dir.spool().join("registry").join("edge");
    let old = std::fs::read(&edge).unwrap();
    start_and_stop(&dir).await;
    std::fs::write(&edge, old).unwrap();
    let (recorder, _) = dir.open().await;
    session(&recorder, 2, 10).await;
    assert!(recorder.flush(SHORT).await);
    assert!(recorder.shutdown(SHORT).await.log_stored);
    let registries = std::fs::read_dir(dir.stored().join(names::REGISTRY)).unwrap();
    assert_eq!(registries.count(), 2);
    let found = check(&dir, trusted(&dir)).await;
    assert!(matches!(found[..], [Finding::Gap { .. }]), "{found:?}");
}

/// What is not durable is not stored: otherwise the next process would sign another tree.
#[tokio::test(flavor = "multi_thread")]
async fn a_registration_is_durable_before_it_is_stored() {
    let dir = TempDir::new();
    let disk = FaultDisk::default();
    let keys = Keys::open(&dir.options().log).unwrap();
    let mut registry = alone(&dir, &disk, &keys, &[]);
    let log = |size| Arc::new(a_checkpoint(&keys, size));
    registry.register(&[log(1)]).await.unwrap();
    assert_eq!(registrations(&dir).1.len(), 2);
    disk.set(Some(Fault::NoDescriptors));
    registry.register(&[log(2)]).await.unwrap_err();
    registry.register(&[log(3)]).await.unwrap_err();
    assert_eq!(registrations(&dir).1.len(), 2);
    disk.set(None);
    registry.register(&[log(3)]).await.unwrap();
    let sizes: Vec<u64> = registrations(&dir)
        .1
        .iter()
        .filter_map(|l| Some(l.log.as_ref()?.size))
        .collect();
    assert_eq!(sizes, [1, 2, 3]);
}

/// A registry without a recorder.
fn alone(dir: &TempDir, disk: &FaultDisk, keys: &Keys, witnesses: &[&TestWitness]) -> Registry {
    let options = RegistryOptions {
        disk: Arc::new(disk.clone()),
        state: Arc::new(State::new(limits())),
        spool: dir.spool(),
        quarantine: dir.spool(),
        objects: Objects::open(&dir.options().store).unwrap(),
        key: keys.log.clone(),
        name: keys.name.clone(),
        witnesses: witnesses.iter().map(|w| w.options()).collect(),
        control: 5,
    };
    let (registry, lost) = Registry::open(options).unwrap();
    assert_eq!(lost, None);
    registry
}

/// Somebody in a hurry comes while one witness has signed and another says nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_signature_that_came_when_asking_was_given_up_is_asked_for_again() {
    let dir = TempDir::new();
    let keys = Keys::open(&dir.options().log).unwrap();
    let key = &trusted(&dir)[0];
    let (good, silent) = (
        TestWitness::start("a.example", 1, key).await,
        TestWitness::start("b.example", 2, key).await,
    );
    *silent.manner.lock() = Manner::Silent;
    let disk = FaultDisk::default();
    let mut registry = alone(&dir, &disk, &keys, &[&good, &silent]);
    let log = Arc::new(a_checkpoint(&keys, 1));
    registry.register(&[log]).await.unwrap();
    let has_signed = async {
        while good.signed.lock().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    tokio::select! {
        done = registry.ask_witnesses() => panic!("the other one is not waited for: {done:?}"),
        () = has_signed => {}
    }
    assert_eq!(good.signed.lock().len(), 1);
    assert!(registry.wants_witnesses());
    registry.ask_witnesses().await.unwrap();
    let path = |path: &std::path::PathBuf| path.ends_with(names::CHECKPOINT);
    let checkpoint = objects(&dir.stored().join(names::REGISTRY));
    let checkpoint = checkpoint.into_iter().find(path).unwrap();
    let note = std::fs::read_to_string(checkpoint).unwrap();
    assert!(note.contains("\u{2014} a.example "), "{note}");
}

fn a_checkpoint(keys: &Keys, size: u64) -> Snapshot {
    let epoch = Uuid::from_u128(7);
    let origin = format!("{}/{epoch}", keys.name);
    let checkpoint = tlog::Checkpoint {
        origin: origin.clone(),
        size,
        root: [1; 32],
        extensions: Vec::new(),
    };
    Snapshot {
        epoch,
        dir: "nowhere".into(),
        size,
        note: tlog::sign_checkpoint(&checkpoint, &*keys.log.signer(&origin).unwrap()).unwrap(),
        vkey: keys.log.vkey(&origin).unwrap(),
        partial: Vec::new(),
        is_over: false,
    }
}

/// More than one bundle of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_registry_grows_past_a_tile() {
    let dir = TempDir::new();
    let mut options = dir.options();
    options.limits.register_every = Duration::ZERO;
    let (recorder, _) = Recorder::open(options).await.unwrap();
    for _ in 0..300 {
        session(&recorder, 1, 10).await;
        assert!(recorder.flush(SHORT).await);
    }
    recorder.shutdown(SHORT).await;
    start_and_stop(&dir).await;
    let root = dir.stored().join(names::REGISTRY);
    let full = |path: &&std::path::PathBuf| path.ends_with("tile/entries/000");
    assert_eq!(objects(&root).iter().filter(full).count(), 1);
    let partial = |path: &&std::path::PathBuf| path.to_string_lossy().contains("/entries/000.p/");
    assert_eq!(objects(&root).iter().filter(partial).count(), 0);
    assert_eq!(check(&dir, trusted(&dir)).await, []);
}

async fn run(dir: &TempDir, witnesses: &[&TestWitness]) {
    let mut options = dir.options();
    options.log.witnesses = witnesses.iter().map(|w| w.options()).collect();
    let (recorder, _) = Recorder::open(options).await.unwrap();
    session(&recorder, 2, 10).await;
    assert!(recorder.flush(Duration::from_secs(60)).await);
    assert!(recorder.shutdown(Duration::from_secs(60)).await.log_stored);
}

async fn verified(dir: &TempDir, policy: &str) -> VerifyReport {
    let options = VerifyOptions {
        log_keys: trusted(dir),
        policy: Some(WitnessPolicy::parse(policy.as_bytes()).unwrap()),
        ..VerifyOptions::default()
    };
    verify_store(&dir.store(), &options).await.unwrap()
}

fn policy(witnesses: &[&TestWitness], quorum: usize) -> String {
    let mut text = String::new();
    let mut names = String::new();
    for (n, witness) in witnesses.iter().enumerate() {
        text.push_str(&format!("witness w{n} {}\n", witness.vkey));
        names.push_str(&format!(" w{n}"));
    }
    format!("{text}group all {quorum}{names}\nquorum all\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn witnesses_sign_what_goes_on() {
    let dir = TempDir::new();
    start_and_stop(&dir).await;
    let key = &trusted(&dir)[0];
    let (a, b) = (
        TestWitness::start("a.example", 1, key).await,
        TestWitness::start("b.example", 2, key).await,
    );
    // They come later than the registry, and one of them is not told of what was between.
    run(&dir, &[&a, &b]).await;
    run(&dir, &[&a]).await;
    // What it remembered is lost.
    let edge = dir.spool().join("registry").join("edge");
    let mut kept: serde_json::Value = unsealed(&std::fs::read(&edge).unwrap()).unwrap();
    assert_eq!(kept["witnesses"].as_object().unwrap().len(), 2);
    kept["witnesses"] = serde_json::json!({});
    replace(&RealDisk, &edge, &kept).unwrap();
    run(&dir, &[&a, &b]).await;
    for witness in [&a, &b] {
        let signed = witness.signed.lock().clone();
        assert!(signed.len() >= 2 && signed.is_sorted(), "{signed:?}");
    }
    let report = verified(&dir, &policy(&[&a, &b], 2)).await;
    assert_eq!(report.findings, []);
    let [registry] = &report.registries[..] else {
        panic!("{report:?}")
    };
    let seen = registry.witnessed.clone().unwrap();
    assert_eq!(
        (seen.size, seen.by.as_slice()),
        (registry.size, &["w0".to_owned(), "w1".to_owned()][..])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_without_the_witnesses_that_a_policy_asks_for_is_not_verified() {
    let dir = TempDir::new();
    start_and_stop(&dir).await;
    let key = &trusted(&dir)[0];
    let (a, never) = (
        TestWitness::start("a.example", 1, key).await,
        TestWitness::start("never.example", 3, key).await,
    );
    run(&dir, &[&a]).await;
    let report = verified(&dir, &policy(&[&a, &never], 2)).await;
    let why = |f: &Finding| matches!(f, Finding::Log(LogFinding::NotWitnessed { .. }));
    assert!(report.findings.iter().any(why), "{report:?}");
    assert!(!report.is_ok());
    assert_eq!(verified(&dir, &policy(&[&a, &never], 1)).await.findings, []);
}

/// Whatever a witness does, recording goes on; what it does not sign, it signs with the next.
#[tokio::test(flavor = "multi_thread")]
async fn a_witness_that_misbehaves_is_in_nobodys_way() {
    let dir = TempDir::new();
    start_and_stop(&dir).await;
    let witness = TestWitness::start("a.example", 1, &trusted(&dir)[0]).await;
    for manner in [
        Manner::Endless,
        Manner::Nonsense,
        Manner::WrongSignature,
        Manner::Silent,
    ] {
        *witness.manner.lock() = manner;
        run(&dir, &[&witness]).await;
        let report = verified(&dir, &policy(&[&witness], 1)).await;
        assert!(!report.is_ok(), "{manner:?}: {report:?}");
    }
    *witness.manner.lock() = Manner::Good;
    run(&dir, &[&witness]).await;
    assert_eq!(verified(&dir, &policy(&[&witness], 1)).await.findings, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_that_has_seen_another_tree_is_told_of() {
    let dir = TempDir::new();
    start_and_stop(&dir).await;
    let witness = TestWitness::start("a.example", 1, &trusted(&dir)[0]).await;
    *witness.manner.lock() = Manner::Fork;
    let told = |f: &Finding| matches!(f, Finding::Gap { what, .. } if what.contains("a.example"));
    // On a busy machine an answer can come too late; what came while the process ended is recorded by the
    // next one.
    for _ in 0..5 {
        run(&dir, &[&witness]).await;
        if check(&dir, trusted(&dir)).await.iter().any(told) {
            return;
        }
    }
    panic!("{:?}", check(&dir, trusted(&dir)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_that_is_found_after_the_end_is_recorded_by_the_next_start() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    let ended = recorder.control_stream().as_u128();
    recorder.shutdown(SHORT).await;
    let list = dir.spool().join("late-gaps");
    assert!(!list.exists());
    let (recorder, _) = dir.open().await;
    let state = recorder.inner.state.clone();
    state.post_gap(ended, "found late".into(), Some("x.wal".into()));
    assert!(recorder.flush(SHORT).await);
    recorder.shutdown(SHORT).await;
    assert!(list.exists());
    let (recorder, recovery) = dir.open().await;
    assert_eq!(recovery.gaps, ["found late"]);
    recorder.shutdown(SHORT).await;
    assert!(!list.exists());
    let found = check(&dir, trusted(&dir)).await;
    let said = |f: &Finding| matches!(f, Finding::Gap { what, .. } if what == "found late");
    assert_eq!(found.iter().filter(|f| said(f)).count(), 1, "{found:?}");
    std::fs::write(&list, b"not what was written").unwrap();
    dir.open().await.0.shutdown(SHORT).await;
    let found = check(&dir, trusted(&dir)).await;
    let damaged =
        |f: &Finding| matches!(f, Finding::Gap { what, .. } if what.contains("is damaged"));
    assert_eq!(found.iter().filter(|f| damaged(f)).count(), 1, "{found:?}");
}

/// One registration vouches for nothing that came after it.
#[tokio::test(flavor = "multi_thread")]
async fn leaves_that_no_registration_covers_are_found() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    let stored = async |least| {
        while recorder.stats().log_stored < least {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SHORT, stored(1)).await.unwrap();
    tokio::time::timeout(SHORT, async {
        while !dir.stored().join(names::REGISTRY).exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
    let first = recorder.stats().log_size;
    session(&recorder, 4, 10).await;
    tokio::time::timeout(SHORT, stored(first + 8))
        .await
        .unwrap();
    let store = dir.store();
    let keys = trusted(&dir);
    let logs = crate::log::check::check(store.objects(), &keys, &[], &[], None).await;
    let logs = logs.unwrap();
    assert_eq!(logs.unregistered("2000-01-01"), []);
    let [(log, Some(_))] = logs.unregistered("2100-01-01")[..] else {
        panic!("the session's leaves are in no registry yet")
    };
    assert_eq!(log, recorder.control_stream());
    recorder.shutdown(SHORT).await;
    // Its last leaf is registered, too.
    let logs = crate::log::check::check(store.objects(), &keys, &[], &[], None).await;
    assert_eq!(logs.unwrap().unregistered("2100-01-01"), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_not_met_by_the_absence_of_a_registry() {
    let dir = TempDir::new();
    start_and_stop(&dir).await;
    let witness = TestWitness::start("a.example", 1, &trusted(&dir)[0]).await;
    std::fs::remove_dir_all(dir.stored().join(names::REGISTRY)).unwrap();
    let report = verified(&dir, &policy(&[&witness], 1)).await;
    assert!(
        report
            .findings
            .contains(&Finding::Log(LogFinding::NoRegistry)),
        "{report:?}"
    );
    // Nor by a policy that asks for nobody.
    start_and_stop(&dir).await;
    assert!(!verified(&dir, "quorum none\n").await.is_ok());
}

/// Two that go on from the same copy of a spool.
#[tokio::test(flavor = "multi_thread")]
async fn another_tree_of_the_same_size_is_not_replaced() {
    let dir = TempDir::new();
    start_and_stop(&dir).await;
    let copy = TempDir::new();
    copy_all(&dir.spool(), &copy.spool());
    start_and_stop(&dir).await;
    let registries = |dir: &TempDir| {
        std::fs::read_dir(dir.stored().join(names::REGISTRY))
            .unwrap()
            .count()
    };
    assert_eq!(registries(&dir), 1);
    let mut options = copy.options();
    options.store = dir.options().store;
    let (recorder, _) = Recorder::open(options).await.unwrap();
    session(&recorder, 2, 10).await;
    assert!(recorder.flush(SHORT).await);
    recorder.shutdown(SHORT).await;
    assert_eq!(registries(&dir), 2);
}

/// Where only the registry cannot be stored, the log of records still is.
#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_cannot_be_stored_is_in_no_logs_way() {
    let dir = TempDir::new();
    start_and_stop(&dir).await;
    let registry = dir.stored().join(names::REGISTRY);
    let aside = dir.spool().join("aside");
    std::fs::rename(&registry, &aside).unwrap();
    std::fs::write(&registry, "").unwrap();
    let (recorder, _) = dir.open().await;
    session(&recorder, 2, 10).await;
    tokio::time::timeout(SHORT, async {
        while recorder.stats().log_stored < 8 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
    assert!(!recorder.flush(Duration::from_millis(300)).await);
    std::fs::remove_file(&registry).unwrap();
    std::fs::rename(&aside, &registry).unwrap();
    assert!(recorder.flush(SHORT).await);
    recorder.shutdown(SHORT).await;
    assert_eq!(check(&dir, trusted(&dir)).await, []);
}
