//! Whoever can write to the store, and not to the log: what they put there or take away stops no erasure,
//! and what is not erased is told.

use bytes::Bytes;
use pipeline::{Actor, PrincipalKind};

use super::*;
use crate::keys::SegmentKey;

/// Objects that look like segments of the session.
async fn plant(rig: &Rig, session: Uuid, numbers: impl IntoIterator<Item = u32>) -> Vec<String> {
    let mut planted = Vec::new();
    for segment in numbers {
        let bytes = Bytes::from(format!("nothing that was recorded, {segment}"));
        let key = SegmentKey {
            control: false,
            day: crate::keys::Day::of_v7(session).unwrap(),
            stream: session,
            segment,
            sha256: crate::chain::sha256(&bytes),
        };
        rig.objects()
            .put_latest(&key.to_string(), bytes)
            .await
            .unwrap();
        planted.push(key.to_string());
    }
    planted
}

#[tokio::test(flavor = "multi_thread")]
async fn planted_segments_stop_nothing_and_are_told() {
    let rig = Rig::new();
    let recorder = rig.open().await;
    let [one, two] = [
        secret_session(&recorder).await,
        secret_session(&recorder).await,
    ];
    assert!(recorder.flush(SHORT).await);
    // In the place of the first, behind the last, and far behind it.
    let mut planted = plant(&rig, one, [0, 1, 2, 7]).await;
    let beside = planted[0].replace(".rec", ".txt");
    rig.objects().put_latest(&beside, "x".into()).await.unwrap();
    let erased = erase(&recorder, one).await.unwrap();
    assert_eq!(erased.remains.len(), planted.len() + 1, "{erased:?}");
    let last = erased.remains.last().unwrap();
    assert!(last.starts_with("1 objects below "), "{last}");
    planted.sort();
    for (told, planted) in erased.remains.iter().zip(&planted) {
        assert!(told.starts_with(planted.as_str()), "{told}");
    }
    // Whoever asks again hears the same.
    match erase(&recorder, one).await {
        Err(EraseError::Already(told)) => assert_eq!(told.remains, erased.remains),
        other => panic!("{other:?}"),
    }
    // Also if somebody takes that away from where it stands for people: then its beginning is in the leaf.
    let bare = serde_json::json!({
        "format": "weir.erased.v1", "session": one, "time": erased.time, "who": erased.who,
        "log": erased.log, "leaf": erased.leaf,
    });
    let bare = serde_json::to_vec(&bare).unwrap();
    let marker = erased_name(one);
    rig.objects()
        .put_latest(&marker, bare.into())
        .await
        .unwrap();
    assert!(recorder.flush(SHORT).await);
    match erase(&recorder, one).await {
        Err(EraseError::Already(told)) => {
            let [what] = &told.remains[..] else {
                panic!("{told:?}")
            };
            assert!(what.starts_with(planted[0].as_str()), "{what}");
        }
        other => panic!("{other:?}"),
    }
    // A session that nobody has recorded is none, whatever lies there.
    let nobodys = Uuid::now_v7();
    plant(&rig, nobodys, 0..3).await;
    let error = erase(&recorder, nobodys).await.unwrap_err();
    assert!(matches!(error, EraseError::Unknown(id) if id == nobodys));
    // Many are counted.
    plant(&rig, two, 0..40).await;
    let erased = erase(&recorder, two).await.unwrap();
    assert!(erased.remains.len() < 12, "{erased:?}");
    assert!(
        erased.remains.last().unwrap().starts_with("32 more"),
        "{erased:?}"
    );
    recorder.shutdown(SHORT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_away_stops_nothing() {
    let rig = Rig::new();
    let recorder = rig.open().await;
    let [one, two] = [
        secret_session(&recorder).await,
        secret_session(&recorder).await,
    ];
    assert!(recorder.flush(SHORT).await);
    // The key alone, and the key with all segments.
    let store = rig.reader();
    for session in [one, two] {
        rig.objects().remove(&object_name(session)).await.unwrap();
    }
    for key in store.segments(false, two).await.unwrap() {
        rig.objects().remove(&key.to_string()).await.unwrap();
    }
    for (session, notes) in [(one, 1), (two, 2)] {
        let erased = erase(&recorder, session).await.unwrap();
        assert_eq!(erased.notes.len(), notes, "{erased:?}");
        assert!(erased.notes[0].contains("gone already"), "{erased:?}");
        assert_eq!(erased.remains, Vec::<String>::new());
    }
    assert_eq!(rig.memory.forgot.load(Ordering::Relaxed), 2);
    recorder.shutdown(SHORT).await;
    for path in objects(&rig.spool()) {
        assert!(!has(&path, SECRET), "{path:?}");
    }
    let error = rig.replay(one).await.unwrap_err();
    assert!(matches!(error, ReplayError::Erased { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_put_back_is_destroyed_again() {
    let rig = Rig::new();
    let recorder = rig.open().await;
    let one = secret_session(&recorder).await;
    assert!(recorder.flush(SHORT).await);
    let key = rig
        .objects()
        .find(&object_name(one))
        .await
        .unwrap()
        .unwrap();
    erase(&recorder, one).await.unwrap();
    rig.objects()
        .put_latest(&object_name(one), key)
        .await
        .unwrap();
    assert!(rig.replay(one).await.unwrap().contains(SECRET));
    erase(&recorder, one).await.unwrap();
    let error = rig.replay(one).await.unwrap_err();
    assert!(matches!(error, ReplayError::Erased { .. }), "{error}");
    recorder.shutdown(SHORT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_an_earlier_process_is_found_in_its_log() {
    let rig = Rig::new();
    let recorder = rig.open().await;
    let one = secret_session(&recorder).await;
    recorder.shutdown(SHORT).await;
    for _ in 0..2 {
        let recorder = rig.open().await;
        secret_session(&recorder).await;
        recorder.shutdown(SHORT).await;
    }
    // One that a crash has ended: its end is in the log after the one of its start.
    let recorder = rig.open().await;
    let start = start();
    let two = start.info.id.0;
    let running = recorder.open(start).await.unwrap();
    running.intent(intent(0, SECRET)).await.unwrap();
    rig.crash(recorder).await;
    let recorder = rig.open().await;
    assert!(recorder.flush(SHORT).await);
    for session in [one, two] {
        let erased = erase(&recorder, session).await.unwrap();
        assert_eq!(erased.remains, Vec::<String>::new());
        assert_eq!(erased.notes, Vec::<String>::new());
    }
    recorder.shutdown(SHORT).await;
}

/// A clock decides nothing: a log file that was put aside with a time of long ago may have the session.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_put_aside_counts_whatever_its_time_is() {
    let rig = Rig::new();
    let recorder = rig.open().await;
    let one = secret_session(&recorder).await;
    assert!(recorder.flush(SHORT).await);
    let aside = rig.spool().join("quarantine/000000000001.wal");
    std::fs::write(&aside, b"what a disk has left of it").unwrap();
    let file = std::fs::File::options().write(true).open(&aside).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH)
        .unwrap();
    let error = erase(&recorder, one).await.unwrap_err();
    assert!(matches!(error, EraseError::PutAside { .. }), "{error}");
    assert!(!rig.has_job());
    std::fs::remove_file(&aside).unwrap();
    erase(&recorder, one).await.unwrap();
    recorder.shutdown(SHORT).await;
}

/// A session of this principal.
async fn session_of(recorder: &Recorder, actor: Actor, on_behalf_of: Vec<Actor>) -> Uuid {
    let mut start = start();
    let info = Arc::make_mut(&mut start.info);
    let principal = Arc::make_mut(&mut info.principal);
    (principal.actor, principal.on_behalf_of) = (actor, on_behalf_of);
    let id = start.info.id.0;
    let journal = recorder.open(start).await.unwrap();
    journal.close(end()).await.unwrap();
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_erases_their_own_whoever_remembers_it() {
    let rig = Rig::new();
    let recorder = rig.open().await;
    let alice = Actor::new(PrincipalKind::User, "alice", &[]);
    let agent = Actor::new(PrincipalKind::Agent, "robot", &[]);
    let mut owned = agent.clone();
    owned.owner = Some("alice".into());
    let sessions = [
        session_of(&recorder, alice.clone(), Vec::new()).await,
        session_of(&recorder, agent.clone(), vec![alice]).await,
        session_of(&recorder, owned, Vec::new()).await,
    ];
    assert!(recorder.flush(SHORT).await);
    for (n, session) in sessions.into_iter().enumerate() {
        let error = recorder.erase(ask(session, "alice")).await.unwrap_err();
        assert!(matches!(error, EraseError::Own(_)), "{n}: {error}");
        // Also where only the leaf is left to tell.
        let key = rig
            .objects()
            .find(&object_name(session))
            .await
            .unwrap()
            .unwrap();
        rig.objects().remove(&object_name(session)).await.unwrap();
        let error = recorder.erase(ask(session, "alice")).await.unwrap_err();
        match n {
            2 => assert!(matches!(error, EraseError::OwnerUnknown(_)), "{error}"),
            _ => assert!(matches!(error, EraseError::Own(_)), "{n}: {error}"),
        }
        rig.objects()
            .put_latest(&object_name(session), key)
            .await
            .unwrap();
        assert!(!rig.has_job());
        recorder.erase(ask(session, "olga")).await.unwrap();
    }
    // Nobody knows, but for the one who asks.
    let session = session_of(&recorder, agent, Vec::new()).await;
    assert!(recorder.flush(SHORT).await);
    rig.objects().remove(&object_name(session)).await.unwrap();
    let error = erase(&recorder, session).await.unwrap_err();
    assert!(error.to_string().contains("cannot be known"), "{error}");
    let known = Erase {
        is_somebody_elses: true,
        ..ask(session, "olga")
    };
    recorder.erase(known).await.unwrap();
    recorder.shutdown(SHORT).await;
}

/// A store that takes its time with one key holds up neither recordings nor their keys, and no more than a
/// few wait for it at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_erasure_holds_up_nothing_else() {
    let rig = Rig::new();
    let recorder = rig.open().await;
    let mut sessions = Vec::new();
    for _ in 0..6 {
        sessions.push(secret_session(&recorder).await);
    }
    assert!(recorder.flush(SHORT).await);
    rig.store.set(Mood::HangsOnRemoval);
    let mut asked: Vec<_> = sessions
        .iter()
        .map(|session| {
            let (recorder, session) = (recorder.clone(), *session);
            tokio::spawn(async move { erase(&recorder, session).await })
        })
        .collect();
    let refused = |done: Result<Erasure, EraseError>| matches!(done, Err(EraseError::Crowded));
    let mut crowded = 0;
    tokio::time::sleep(Duration::from_secs(2)).await;
    for task in asked.extract_if(.., |task| task.is_finished()) {
        crowded += u32::from(refused(task.await.unwrap()));
    }
    assert_eq!((crowded, asked.len()), (2, 4));
    // Meanwhile another session is recorded and stored, with its key.
    let other = secret_session(&recorder).await;
    eventually("the other session is stored", || {
        recorder.stats().pending_segments == 0
    })
    .await;
    assert!(rig.replay(other).await.unwrap().contains(SECRET));
    rig.store.set(Mood::Well);
    for task in asked {
        task.abort();
    }
    eventually("they are all finished", || !rig.has_job()).await;
    recorder.shutdown(SHORT).await;
}

/// A key that says that it is of an operator's stream, and cannot be unwrapped as one.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_only_says_that_it_is_an_operators_stops_nothing() {
    let rig = Rig::new();
    let recorder = rig.open().await;
    let session = secret_session(&recorder).await;
    assert!(recorder.flush(SHORT).await);
    let name = object_name(session);
    let key = rig.objects().get(&name).await.unwrap();
    let mut doc: serde_json::Value = serde_json::from_slice(&key).unwrap();
    doc["control"] = true.into();
    let forged = serde_json::to_vec(&doc).unwrap();
    rig.objects()
        .put_latest(&name, forged.into())
        .await
        .unwrap();
    erase(&recorder, session).await.unwrap();
}
