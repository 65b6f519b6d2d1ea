//! What a vault shows, and does not show, of objects that are to be kept for longer; and that nothing is stored
//! again and again that nobody can take away.

use std::time::Duration;

use bytes::Bytes;

use super::bucket::{Answer, Bucket};
use super::retention::session_kept_for;
use super::support::{TempDir, eventually};
use crate::objects::{Before, Objects, StoreError};
use crate::{OpenError, Proof, Recorder};

const KEY: &str = "rec/2026/11/27/x";

fn body() -> Bytes {
    Bytes::from_static(b"a segment")
}

/// For 90 days, where everything is for three.
fn vault(bucket: &Bucket, dir: &TempDir) -> Objects {
    let options = bucket.options(dir, 3);
    let objects = Objects::open_both(&options.store, options.vault.as_ref()).unwrap();
    objects.keeping(Some(90)).unwrap()
}

#[tokio::test]
async fn a_vault_that_may_not_say_is_asked_and_nothing_is_stored_again() {
    for (answer, versions) in [
        (Answer::Status(401), 1),
        (Answer::Status(403), 1),
        (Answer::Status(404), 1),
        (Answer::Status(500), 1),
        // Nobody can tell it from an object that somebody was first with.
        (Answer::WithoutLock, 2),
    ] {
        let (dir, bucket) = (TempDir::new(), Bucket::start().await);
        let objects = vault(&bucket, &dir);
        // It was granted on the probes alone.
        bucket.answer(move |asked| {
            match asked.method == "HEAD" && !asked.key.starts_with("probes/") {
                true => answer,
                false => Answer::Honest,
            }
        });
        for _ in 0..5 {
            // A clone, as whoever stores the next segment has one.
            let again = objects.clone().put_for_good(KEY, body()).await.unwrap_err();
            let said = again.to_string();
            assert!(said.contains(KEY), "{said}");
            if answer != Answer::Status(500) {
                assert!(matches!(again, StoreError::NotSeenKept { .. }), "{said}");
                assert!(
                    said.contains("s3:GetObjectRetention on all that it stores (v/*)"),
                    "{said}"
                );
            }
        }
        assert_eq!(bucket.versions(KEY), versions);
        assert!(bucket.requests("HEAD", KEY) >= 5);
        // Once it may say, nothing more has to be done.
        bucket.answer(|_| Answer::Honest);
        let stored = objects.put_for_good(KEY, body()).await.unwrap();
        assert_eq!((stored, bucket.versions(KEY)), (Before::Nothing, versions));
    }
}

#[tokio::test]
async fn what_never_came_there_is_stored_again_and_what_did_is_not() {
    let (dir, bucket) = (TempDir::new(), Bucket::start().await);
    let objects = vault(&bucket, &dir);
    bucket.plant(KEY, &body());
    bucket.answer(|asked| match asked.method == "PUT" && asked.key == KEY {
        true => Answer::Swallow,
        false => Answer::Honest,
    });
    for _ in 0..3 {
        let lost = objects.put_for_good(KEY, body()).await;
        assert!(matches!(lost, Err(StoreError::NotSeenKept { .. })));
    }
    assert_eq!(bucket.versions(KEY), 1);
    bucket.answer(|_| Answer::Honest);
    objects.put_for_good(KEY, body()).await.unwrap();
    assert_eq!(bucket.versions(KEY), 2);
}

#[tokio::test]
async fn what_replaces_other_content_is_looked_at_as_well() {
    let (dir, bucket) = (TempDir::new(), Bucket::start().await);
    let objects = vault(&bucket, &dir);
    bucket.plant(KEY, b"other");
    bucket.answer(
        |asked| match asked.method == "HEAD" && asked.key.starts_with("rec/") {
            true => Answer::WithoutLock,
            false => Answer::Honest,
        },
    );
    let first = objects.put_for_good(KEY, body()).await;
    assert!(
        matches!(first, Err(StoreError::NotSeenKept { .. })),
        "{first:?}"
    );
    bucket.answer(|_| Answer::Honest);
    // What was there is still told.
    let stored = objects.put_for_good(KEY, body()).await.unwrap();
    assert_eq!(stored, Before::Other);
    let stored = objects.put_for_good(KEY, body()).await.unwrap();
    assert_eq!(stored, Before::Nothing);
}

/// Its store locks for days and not for years. What is to be kept for years fills the queue first.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_kept_holds_up_nothing_else() {
    const STUCK: u64 = 40;
    let (dir, bucket) = (TempDir::new(), Bucket::start().await);
    bucket.answer(|asked| match asked.until.as_str() >= "2040" {
        true => Answer::Status(403),
        false => Answer::Honest,
    });
    let mut options = bucket.options(&dir, 3);
    options.limits.upload_backoff = Duration::from_secs(30);
    let (recorder, _) = Recorder::open(options).await.unwrap();
    let mut stuck = Vec::new();
    for _ in 0..STUCK {
        stuck.push(session_kept_for(&recorder, Some(7300), 1).await);
    }
    recorder.flush(Duration::from_secs(3)).await;
    let stats = recorder.stats();
    assert!(stats.store_failures >= STUCK, "{stats:?}");
    let other = session_kept_for(&recorder, None, 1).await;
    recorder.flush(Duration::from_secs(1)).await;
    assert!(bucket.has(&other.to_string()), "{:?}", recorder.stats());
    assert!(!stuck.iter().any(|id| bucket.has(&id.to_string())));
    // What the store has said once is not asked for each of them.
    let probes = bucket.requests("PUT", "probes/");
    assert!(probes < 12, "{probes}");
    // Whoever activates a bundle is told what is so now.
    assert!(
        recorder
            .prove_retention([7300].into(), Proof::Now)
            .await
            .is_err()
    );
    bucket.answer(|_| Answer::Honest);
    recorder
        .prove_retention([7300].into(), Proof::Now)
        .await
        .unwrap();
    eventually("all of it is stored", || {
        stuck.iter().all(|id| bucket.has(&id.to_string()))
    })
    .await;
    recorder.shutdown(Duration::from_secs(5)).await;
}

/// Each probe is there for years, whether or not the store says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_tell_is_not_asked_for_each_segment() {
    let (dir, bucket) = (TempDir::new(), Bucket::start().await);
    let mut options = bucket.options(&dir, 3);
    options.limits.upload_backoff = Duration::from_millis(50);
    let (recorder, _) = Recorder::open(options).await.unwrap();
    bucket.answer(
        |asked| match asked.method == "HEAD" && asked.key.starts_with("probes/") {
            true => Answer::Status(500),
            false => Answer::Honest,
        },
    );
    let before = bucket.requests("PUT", "probes/");
    for _ in 0..20 {
        session_kept_for(&recorder, Some(7300), 1).await;
    }
    recorder.flush(Duration::from_secs(3)).await;
    let stats = recorder.stats();
    assert!(stats.store_failures >= 20, "{stats:?}");
    let probes = bucket.requests("PUT", "probes/") - before;
    assert!((1..8).contains(&probes), "{probes}");
    bucket.answer(|_| Answer::Honest);
    eventually("all of it is stored", || {
        recorder.stats().pending_segments == 0
    })
    .await;
    recorder.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_can_know_now_is_no_proof() {
    let (dir, bucket) = (TempDir::new(), Bucket::start().await);
    let (recorder, _) = Recorder::open(bucket.options(&dir, 3)).await.unwrap();
    bucket.answer(|_| Answer::Status(500));
    let unknown = recorder.prove_retention([90].into(), Proof::Now).await;
    assert!(
        matches!(unknown, Err(StoreError::Unproved(_))),
        "{unknown:?}"
    );
    // What was in force before goes on, and waits.
    let later = recorder.prove_retention([90].into(), Proof::OrLater).await;
    later.unwrap();
    bucket.answer(|asked| match asked.method == "PUT" {
        true => Answer::Status(403),
        false => Answer::Honest,
    });
    for proof in [Proof::Now, Proof::OrLater] {
        let refused = recorder.prove_retention([90].into(), proof).await;
        assert!(
            matches!(refused, Err(StoreError::NotLocked(_))),
            "{refused:?}"
        );
    }
    recorder.shutdown(Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_is_refused_leaves_nothing() {
    let (dir, bucket) = (TempDir::new(), Bucket::start().await);
    bucket.answer(|asked| match asked.until.as_str() >= "2040" {
        true => Answer::Status(403),
        false => Answer::Honest,
    });
    let options = || {
        let mut options = bucket.options(&dir, 3);
        options.kept_longer = [7300].into();
        options
    };
    for _ in 0..3 {
        let refused = Recorder::open(options()).await.err();
        assert!(
            matches!(refused, Some(OpenError::Store(StoreError::NotLocked(_)))),
            "{refused:?}"
        );
    }
    assert!(!dir.spool().exists());
    bucket.answer(|_| Answer::Honest);
    let (recorder, _) = Recorder::open(options()).await.unwrap();
    recorder.shutdown(Duration::from_secs(5)).await;
}
