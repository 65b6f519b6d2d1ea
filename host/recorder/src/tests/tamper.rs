//! Whoever changes, removes, swaps or adds something in the store is found.

use std::path::{Path, PathBuf};

use super::support::*;
use crate::chain;
use crate::{Finding, SegmentKey, VerifyOptions, VerifyReport, verify_store};

/// Three sessions, one of several segments; gives their segments' paths, session by session.
async fn recorded(dir: &TempDir) -> Vec<PathBuf> {
    let (recorder, _) = dir.open().await;
    session(&recorder, 12, 8000).await;
    session(&recorder, 2, 10).await;
    session(&recorder, 2, 10).await;
    recorder.shutdown(SHORT).await;
    objects(&dir.stored().join("rec"))
}

async fn verify(dir: &TempDir) -> VerifyReport {
    verify_store(&dir.store(), &VerifyOptions::default())
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_flipped_byte_of_a_segment_is_found() {
    let dir = TempDir::new();
    recorded(&dir).await;
    let mut paths = objects(&dir.stored().join("rec"));
    paths.extend(objects(&dir.stored().join("ctl")));
    assert!(verify(&dir).await.is_ok());
    for path in paths {
        let good = std::fs::read(&path).unwrap();
        // Every byte by its hash; a few also through the whole of `verify`.
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            assert_ne!(chain::sha256(&bad), chain::sha256(&good));
        }
        for at in [0, good.len() / 2, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            std::fs::write(&path, &bad).unwrap();
            let report = verify(&dir).await;
            let altered = |f: &Finding| matches!(f, Finding::Altered { .. });
            assert!(report.findings.iter().any(altered), "{at}: {report:?}");
        }
        std::fs::write(&path, &good).unwrap();
    }
    assert!(verify(&dir).await.is_ok());
}

/// With the key made to fit, the segment's own structure still tells most changes.
#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_is_changed_together_with_its_key_is_found() {
    let dir = TempDir::new();
    let paths = recorded(&dir).await;
    let path = &paths[1];
    let good = std::fs::read(path).unwrap();
    std::fs::remove_file(path).unwrap();
    for at in 0..good.len() {
        if at % 97 != 0 {
            continue;
        }
        let mut bad = good.clone();
        bad[at] ^= 1;
        let placed = place(&dir, path, &bad);
        let report = verify(&dir).await;
        assert!(!report.is_ok(), "byte {at}");
        std::fs::remove_file(placed).unwrap();
    }
    std::fs::write(path, &good).unwrap();
    assert!(verify(&dir).await.is_ok());
}

/// Puts `bytes` under the key that fits them, beside `like`.
fn place(dir: &TempDir, like: &Path, bytes: &[u8]) -> PathBuf {
    let key = like.strip_prefix(dir.stored()).unwrap();
    let mut key = SegmentKey::parse(&key.to_string_lossy()).unwrap();
    key.sha256 = chain::sha256(bytes);
    let path = dir.stored().join(key.to_string());
    std::fs::write(&path, bytes).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_found() {
    let dir = TempDir::new();
    let paths = recorded(&dir).await;
    let missing = |f: &Finding| {
        matches!(
            f,
            Finding::MissingSegment { .. }
                | Finding::MissingAnchored { .. }
                | Finding::MissingControl { .. }
        )
    };
    // Each segment: the first, one in the middle, the last, and the only one of a session.
    for path in &paths {
        let good = std::fs::read(path).unwrap();
        std::fs::remove_file(path).unwrap();
        let report = verify(&dir).await;
        assert!(report.findings.iter().any(missing), "{path:?}: {report:?}");
        assert!(!report.is_ok());
        std::fs::write(path, good).unwrap();
    }
    // A control stream between two others.
    dir.open().await.0.shutdown(SHORT).await;
    dir.open().await.0.shutdown(SHORT).await;
    assert!(verify(&dir).await.is_ok());
    let control = objects(&dir.stored().join("ctl"));
    assert_eq!(control.len(), 3);
    for path in &control[..2] {
        let good = std::fs::read(path).unwrap();
        std::fs::remove_file(path).unwrap();
        let report = verify(&dir).await;
        assert!(report.findings.iter().any(missing), "{path:?}: {report:?}");
        std::fs::write(path, good).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_belong_is_found() {
    let dir = TempDir::new();
    let paths = recorded(&dir).await;
    let good = std::fs::read(&paths[0]).unwrap();
    let last = paths.last().unwrap();
    // A segment of one session under another's name.
    let placed = place(&dir, last, &good);
    let report = verify(&dir).await;
    let altered = |f: &Finding| matches!(f, Finding::Altered { .. });
    assert!(report.findings.iter().any(altered), "{report:?}");
    std::fs::remove_file(placed).unwrap();
    // Something else altogether.
    let stranger = dir.stored().join("rec/readme.txt");
    std::fs::write(&stranger, b"hello").unwrap();
    let report = verify(&dir).await;
    assert_eq!(
        report.findings,
        [Finding::Stranger("rec/readme.txt".into())]
    );
    std::fs::remove_file(stranger).unwrap();
    assert!(verify(&dir).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn replay_stops_where_the_recording_is_altered_or_missing() {
    let dir = TempDir::new();
    let paths = recorded(&dir).await;
    let key = |p: &Path| {
        let key = p.strip_prefix(dir.stored()).unwrap();
        SegmentKey::parse(&key.to_string_lossy()).unwrap()
    };
    let session = key(&paths[1]).stream;
    assert!(
        key(&paths[0]).stream == session,
        "the first session has several segments"
    );
    let store = dir.store();
    let good = std::fs::read(&paths[1]).unwrap();
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 1;
    std::fs::write(&paths[1], bad).unwrap();
    assert!(
        crate::replay(
            &store,
            session,
            &crate::ReplayOptions::default(),
            &mut Vec::new()
        )
        .await
        .is_err()
    );
    std::fs::remove_file(&paths[1]).unwrap();
    let missing = crate::replay(
        &store,
        session,
        &crate::ReplayOptions::default(),
        &mut Vec::new(),
    )
    .await;
    assert!(
        matches!(missing, Err(crate::ReplayError::Missing { segment: 1, .. })),
        "{missing:?}"
    );
    std::fs::write(&paths[1], good).unwrap();
    assert!(
        crate::replay(
            &store,
            session,
            &crate::ReplayOptions::default(),
            &mut Vec::new()
        )
        .await
        .is_ok()
    );
    let nobody = crate::replay(
        &store,
        uuid::Uuid::now_v7(),
        &crate::ReplayOptions::default(),
        &mut Vec::new(),
    )
    .await;
    assert!(matches!(nobody, Err(crate::ReplayError::NotFound(_))));
}
