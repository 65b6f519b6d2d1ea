//! Bundles and plugins beside the recordings: what is kept gets into the store, whatever happens.

use std::time::Duration;

use super::store::{Mood, moody, open};
use super::support::*;
use crate::fault::{Fault, FaultDisk};
use crate::objects::Objects;
use crate::{KeepError, MAX_SNAPSHOT, Severity, Snapshot, SnapshotError, Store};

const BUNDLE: Snapshot = Snapshot::Bundle;

fn spooled(dir: &TempDir) -> usize {
    let files = std::fs::read_dir(dir.spool().join("snapshots")).unwrap();
    files.count()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_is_stored_once_and_checked_when_it_is_read() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    let digest = recorder.keep(BUNDLE, b"a bundle").unwrap();
    assert_eq!(digest, Snapshot::digest(b"a bundle"));
    assert_eq!(recorder.keep(BUNDLE, b"a bundle").unwrap(), digest);
    let plugin = recorder.keep(Snapshot::Plugin, b"a bundle").unwrap();
    let large = vec![0; MAX_SNAPSHOT + 1];
    let refused = recorder.keep(BUNDLE, &large);
    assert!(matches!(refused, Err(KeepError::TooLarge(_))));
    assert!(recorder.flush(SHORT).await);
    assert_eq!(spooled(&dir), 0);
    let store = dir.store();
    for (kind, digest) in [(BUNDLE, &digest), (Snapshot::Plugin, &plugin)] {
        let read = store.snapshot(kind, digest).await.unwrap();
        assert_eq!(read.as_deref(), Some(&b"a bundle"[..]));
    }
    let other = store.snapshot(Snapshot::PluginSet, &digest).await;
    assert!(matches!(other, Ok(None)));
    for wrong in ["", "../../etc/passwd", &digest.to_uppercase()] {
        let read = store.snapshot(BUNDLE, wrong).await;
        assert!(matches!(read, Err(SnapshotError::Digest(_))), "{wrong}");
    }
    let file = dir.stored().join(BUNDLE.key(&digest).unwrap());
    std::fs::write(&file, b"another one").unwrap();
    let read = store.snapshot(BUNDLE, &digest).await;
    assert!(matches!(read, Err(SnapshotError::Altered(_))), "{read:?}");
    recorder.shutdown(SHORT).await;
    let report = dir.verify().await;
    assert_eq!(
        report.severity(),
        Severity::Failure,
        "{:?}",
        report.findings
    );
    std::fs::write(&file, b"a bundle").unwrap();
    let report = dir.verify().await;
    assert_eq!((report.severity(), report.snapshots), (Severity::Note, 2));
    std::fs::write(dir.stored().join("plugins/x.wasm"), b"a bundle").unwrap();
    let report = dir.verify().await;
    assert_eq!(
        (report.severity(), report.snapshots),
        (Severity::Failure, 2)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_gets_it_later() {
    let dir = TempDir::new();
    let store = moody(Mood::Away);
    let recorder = open(&dir, &store, 64 << 20).await;
    let digest = recorder.keep(BUNDLE, b"a bundle").unwrap();
    assert!(!recorder.flush(Duration::from_millis(300)).await);
    assert!(recorder.stats().pending_bytes >= 8, "it takes room");
    recorder.shutdown(Duration::from_millis(100)).await;
    drop(recorder);
    assert_eq!(spooled(&dir), 1);
    let waits = |digest: &str| crate::waiting_snapshot(&dir.spool(), BUNDLE, digest);
    assert_eq!(waits(&digest).as_deref(), Some(&b"a bundle"[..]));
    assert!(waits("../lock").is_none());
    // Half a file of a process that was killed is none.
    let half = dir.spool().join("snapshots/bundles_0.bundle.tmp");
    std::fs::write(&half, b"x").unwrap();

    store.set(Mood::Well);
    let recorder = open(&dir, &store, 64 << 20).await;
    assert!(recorder.flush(SHORT).await);
    assert_eq!(spooled(&dir), 0);
    let reader = Store::new(Objects::new(store, "some/prefix"));
    assert!(reader.snapshot(BUNDLE, &digest).await.unwrap().is_some());
    recorder.shutdown(SHORT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_altered_in_the_spool_is_never_stored() {
    let dir = TempDir::new();
    let store = moody(Mood::Away);
    let recorder = open(&dir, &store, 64 << 20).await;
    let digest = recorder.keep(BUNDLE, b"a bundle").unwrap();
    let file = dir
        .spool()
        .join(format!("snapshots/bundles_{digest}.bundle"));
    std::fs::write(&file, b"a bungle").unwrap();
    store.set(Mood::Well);
    assert!(recorder.flush(SHORT).await, "nothing waits for it for ever");
    let reader = Store::new(Objects::new(store.clone(), "some/prefix"));
    assert!(reader.snapshot(BUNDLE, &digest).await.unwrap().is_none());
    let aside = dir
        .spool()
        .join(format!("quarantine/bundles_{digest}.bundle"));
    assert!(aside.exists());
    recorder.shutdown(SHORT).await;
    drop(recorder);
    let options = crate::VerifyOptions::default();
    let with_keys = reader.clone().with_keys(dir.wrap(), Some(dir.spool()));
    let report = crate::verify_store(&with_keys, &options).await.unwrap();
    assert_eq!(report.severity(), Severity::Gap, "{:?}", report.findings);

    // Altered while no process ran: the next one keeps it anew.
    std::fs::write(&file, b"a bungle").unwrap();
    let recorder = open(&dir, &store, 64 << 20).await;
    recorder.keep(BUNDLE, b"a bundle").unwrap();
    assert!(recorder.flush(SHORT).await);
    assert!(reader.snapshot(BUNDLE, &digest).await.unwrap().is_some());
    recorder.shutdown(SHORT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_made_durable_is_not_kept() {
    for fault in [
        Fault::CreateFails,
        Fault::NoSpaceAfter(3),
        Fault::RenameFails,
        Fault::SyncDirFails,
    ] {
        let dir = TempDir::new();
        let disk = FaultDisk::default();
        let recorder = dir.open_faulty(&disk, |_| {}).await;
        disk.set(Some(fault));
        assert!(recorder.keep(BUNDLE, b"a bundle").is_err(), "{fault:?}");
        disk.set(None);
        recorder.keep(BUNDLE, b"a bundle").unwrap();
        recorder.shutdown(SHORT).await;
        let digest = Snapshot::digest(b"a bundle");
        let stored = dir.store().snapshot(BUNDLE, &digest).await.unwrap();
        assert!(stored.is_some(), "{fault:?}");
    }
}
