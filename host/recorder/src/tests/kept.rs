//! What a vault shows, and does not show, of objects that are to be kept for longer; and that nothing is stored
//! again and again that nobody can take away.

use bytes::Bytes;

use super::bucket::{Answer, Bucket};
use super::support::TempDir;
use crate::objects::{Before, Objects, StoreError};

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
