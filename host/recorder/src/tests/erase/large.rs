//! Objects that are far too long for what they are said to be, and a store that does not answer: a Weir that
//! serves sessions neither reads the one nor waits for the other.

use super::*;
use crate::log::names;

const LARGE: usize = 4 << 20;

async fn plant(rig: &Rig, key: &str) {
    let large = Bytes::from(vec![b'x'; LARGE]);
    rig.objects().put_latest(key, large).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_long_is_not_read() {
    let rig = Rig::new();
    let recorder = rig.open().await;
    let [one, two] = [
        secret_session(&recorder).await,
        secret_session(&recorder).await,
    ];
    let erased = erase(&recorder, two).await.unwrap();
    recorder.shutdown(SHORT).await;
    // Only in the store: the spool has no copy of it any more.
    let recorder = rig.open().await;
    let others = Uuid::now_v7();
    let marker = ErasedDoc {
        format: "weir.erased.v1".into(),
        session: one.to_string(),
        time: erased.time.clone(),
        who: None,
        log: Some(others),
        leaf: Some(0),
        remains: Vec::new(),
    };
    let objects = rig.objects();

    // Another log, for a session that no log of this spool knows.
    plant(&rig, &names::object(others, names::CHECKPOINT)).await;
    rig.store.most_read();
    let unknown = erase(&recorder, Uuid::now_v7()).await.unwrap_err();
    assert!(matches!(unknown, EraseError::Unknown(_)), "{unknown}");
    let log_object = rig.stranger().log_object(others, names::CHECKPOINT).await;
    assert!(matches!(
        log_object,
        Err(crate::StoreError::TooLarge { .. })
    ));
    assert!(rig.store.most_read() < LARGE as u64, "another's checkpoint");
    // The same where a marker names that log.
    objects.remove(&object_name(one)).await.unwrap();
    let json = serde_json::to_vec(&marker).unwrap();
    objects
        .put_latest(&erased_name(one), json.into())
        .await
        .unwrap();
    let lost = rig.replay(one).await.unwrap_err();
    assert!(lost.is_claimed(), "{lost}");
    assert!(rig.store.most_read() < LARGE as u64, "a checkpoint");
    // Its tiles, below a checkpoint that is as it should be.
    let note = objects
        .find(&names::object(erased.log, names::CHECKPOINT))
        .await
        .unwrap()
        .unwrap();
    let named = String::from_utf8(note.to_vec()).unwrap();
    let size: u64 = named.lines().nth(1).unwrap().parse().unwrap();
    let tile = tlog::Tile {
        kind: tlog::Kind::Level(0),
        index: 0,
        width: size.try_into().unwrap(),
    };
    let in_own = ErasedDoc {
        log: Some(erased.log),
        leaf: Some(erased.leaf),
        ..marker
    };
    let json = serde_json::to_vec(&in_own).unwrap();
    objects
        .put_latest(&erased_name(one), json.into())
        .await
        .unwrap();
    let tile = names::object(erased.log, &tile.path());
    let as_it_was = objects.find(&tile).await.unwrap().unwrap();
    plant(&rig, &tile).await;
    rig.store.most_read();
    let lost = rig.replay(one).await.unwrap_err();
    assert!(lost.is_claimed(), "{lost}");
    assert!(rig.store.most_read() < LARGE as u64, "a tile");
    objects.put_latest(&tile, as_it_was).await.unwrap();
    // The marker and the key.
    plant(&rig, &erased_name(one)).await;
    rig.store.most_read();
    let lost = rig.replay(one).await.unwrap_err();
    assert!(lost.is_claimed(), "{lost}");
    assert_eq!(rig.reader().erasure_place(one).await.unwrap(), None);
    assert!(rig.store.most_read() < LARGE as u64, "a marker");
    plant(&rig, &object_name(one)).await;
    rig.store.most_read();
    let damaged = rig.replay(one).await.unwrap_err();
    assert!(damaged.to_string().contains("too long"), "{damaged}");
    // Whatever is in its place is destroyed.
    erase(&recorder, one).await.unwrap();
    assert!(rig.store.most_read() < LARGE as u64, "a key");
    assert_eq!(objects.find(&object_name(one)).await.unwrap(), None);
    recorder.shutdown(SHORT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_that_do_not_come_are_not_waited_for() {
    let rig = Rig::new();
    let recorder = rig.open().await;
    let one = secret_session(&recorder).await;
    assert!(recorder.flush(SHORT).await);
    rig.store.set(Mood::HangsOnSegments);
    let asked = tokio::time::timeout(10 * SHORT, erase(&recorder, one)).await;
    let error = asked.expect("it waits for ever").unwrap_err();
    assert!(matches!(error, EraseError::Slow(..)), "{error}");
    assert!(!rig.has_job());
    rig.store.set(Mood::Well);
    erase(&recorder, one).await.unwrap();
    recorder.shutdown(SHORT).await;
}
