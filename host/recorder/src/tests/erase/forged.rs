//! Markers and logs that somebody else has put into the store.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_marker_that_no_leaf_confirms_is_found_and_destroys_nothing() {
    let rig = Rig::new();
    let recorder = rig.open().await;
    let [one, two] = [
        secret_session(&recorder).await,
        secret_session(&recorder).await,
    ];
    let erased = erase(&recorder, two).await.unwrap();
    recorder.shutdown(SHORT).await;
    let good = ErasedDoc {
        format: "weir.erased.v1".into(),
        session: one.to_string(),
        time: erased.time.clone(),
        who: erased.who.clone(),
        log: Some(erased.log),
        leaf: Some(erased.leaf),
        remains: Vec::new(),
    };
    let forged = [
        // Of another session's leaf.
        serde_json::to_vec(&good).unwrap(),
        serde_json::to_vec(&ErasedDoc {
            leaf: Some(0),
            ..good.clone()
        })
        .unwrap(),
        serde_json::to_vec(&ErasedDoc {
            leaf: Some(u64::MAX),
            ..good.clone()
        })
        .unwrap(),
        serde_json::to_vec(&ErasedDoc {
            log: Some(Uuid::now_v7()),
            ..good.clone()
        })
        .unwrap(),
        serde_json::to_vec(&ErasedDoc {
            log: None,
            leaf: None,
            ..good.clone()
        })
        .unwrap(),
        b"{}".to_vec(),
        Vec::new(),
    ];
    for marker in forged {
        let text = String::from_utf8_lossy(&marker).into_owned();
        let objects = rig.objects();
        objects
            .put_latest(&erased_name(one), marker.into())
            .await
            .unwrap();
        let found = rig.verify().await;
        assert!(
            found.findings.contains(&Finding::ErasureUnknown(one)),
            "{text}: {found:?}"
        );
        assert_eq!(found.severity(), Severity::Failure);
        let recorder = rig.open().await;
        tokio::time::sleep(Duration::from_millis(400)).await;
        recorder.shutdown(SHORT).await;
        assert!(rig.replay(one).await.unwrap().contains(SECRET), "{text}");
        // Also where somebody has removed the key: that is no erasure.
        let key = objects.find(&object_name(one)).await.unwrap().unwrap();
        objects.remove(&object_name(one)).await.unwrap();
        let error = rig.replay(one).await.unwrap_err();
        assert!(
            !matches!(error, ReplayError::Erased { .. }),
            "{text}: {error}"
        );
        let found = rig.verify().await;
        assert!(
            found.findings.contains(&Finding::KeyMissing(one)),
            "{text}: {found:?}"
        );
        objects.put_latest(&object_name(one), key).await.unwrap();
    }
    // The same for one whose marker was changed.
    let other = ErasedDoc {
        session: two.to_string(),
        who: Some("somebody else".into()),
        ..good
    };
    let json = serde_json::to_vec(&other).unwrap();
    let objects = rig.objects();
    objects
        .put_latest(&erased_name(two), json.into())
        .await
        .unwrap();
    objects.remove(&erased_name(one)).await.unwrap();
    let found = rig.verify().await;
    assert!(
        found.findings.contains(&Finding::ErasureUnknown(two)),
        "{found:?}"
    );
    assert!(!matches!(
        rig.replay(two).await,
        Err(ReplayError::Erased { .. })
    ));
}

const TIME: &str = "2026-11-27T00:00:00.000000Z";

/// Who can write to the store makes a log of their own, whole and signed, that says what they like.
async fn forged_log(rig: &Rig, origin: &str, leaves: &[serde_json::Value]) -> Uuid {
    let log = Uuid::now_v7();
    let (mut bundle, mut tree) = (Vec::new(), tlog::Tree::new());
    for leaf in leaves {
        let entry = serde_json::to_vec(leaf).unwrap();
        tlog::push_entry(&mut bundle, &entry).unwrap();
        tree.append(tlog::leaf_hash(&entry), &mut |_, _| {});
    }
    let origin = format!("{origin}/{log}");
    let signer = tlog::Ed25519Signer::from_seed(&origin, &[7; 32]).unwrap();
    let checkpoint = tlog::Checkpoint {
        origin,
        size: leaves.len() as u64,
        root: tree.root(),
        extensions: Vec::new(),
    };
    let note = tlog::sign_checkpoint(&checkpoint, &signer).unwrap();
    let entries = tlog::Tile {
        kind: tlog::Kind::Entries,
        index: 0,
        width: leaves.len().try_into().unwrap(),
    };
    let mut stored = vec![
        ("checkpoint".to_owned(), note.into_bytes()),
        (
            "vkey".to_owned(),
            format!("{}\n", signer.vkey()).into_bytes(),
        ),
        (entries.path(), bundle),
    ];
    stored.extend(tree.partial().map(|(tile, bytes)| (tile.path(), bytes)));
    let objects = rig.objects();
    for (path, bytes) in stored {
        let key = crate::log::names::object(log, &path);
        objects.put_latest(&key, bytes.into()).await.unwrap();
    }
    log
}

async fn forged(rig: &Rig, session: Uuid, origin: &str) -> ErasedDoc {
    let leaf = serde_json::json!({
        "v": 1, "time": TIME, "type": "erasure", "erased": session,
    });
    let log = forged_log(rig, origin, &[leaf]).await;
    let objects = rig.objects();
    let doc = ErasedDoc {
        format: "weir.erased.v1".into(),
        session: session.to_string(),
        time: TIME.into(),
        who: None,
        log: Some(log),
        leaf: Some(0),
        remains: Vec::new(),
    };
    let json = serde_json::to_vec(&doc).unwrap();
    objects
        .put_latest(&erased_name(session), json.into())
        .await
        .unwrap();
    doc
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_log_makes_no_erasure_of_a_lost_key() {
    let rig = Rig::new();
    let recorder = rig.open().await;
    let one = secret_session(&recorder).await;
    assert!(recorder.flush(SHORT).await);
    let own = rig.options().log.name;
    recorder.shutdown(SHORT).await;
    // Only in the store: the spool has no copy of it any more.
    let recorder = rig.open().await;
    rig.objects().remove(&object_name(one)).await.unwrap();
    for origin in ["weir.forger", &own] {
        let doc = forged(&rig, one, origin).await;
        // The forgery is good, but for the key: whoever trusts that one believes it.
        let name = format!("{origin}/{}", doc.log.unwrap());
        let signer = tlog::Ed25519Signer::from_seed(origin, &[7; 32]).unwrap();
        let forger: crate::TrustedKey = signer.vkey().parse().unwrap();
        let (options, mut out) = (ReplayOptions::default(), Vec::new());
        let fooled = rig.stranger().trusting([forger]);
        let error = crate::replay(&fooled, one, &options, &mut out)
            .await
            .unwrap_err();
        assert!(
            matches!(error, ReplayError::Erased { .. }),
            "{name}: {error}"
        );
        for reader in [rig.reader(), rig.stranger()] {
            let error = crate::replay(&reader, one, &options, &mut out)
                .await
                .unwrap_err();
            assert!(error.is_claimed(), "{name}: {error}");
            assert!(error.to_string().contains("not checked"), "{error}");
        }
    }
    // It counts as lost, and the rest is forgotten all the same; then it is a leaf of ours that says so.
    let erased = erase(&recorder, one).await.unwrap();
    assert!(erased.notes[0].contains("gone already"), "{erased:?}");
    assert_eq!(rig.memory.forgot.load(Ordering::Relaxed), 1);
    let error = erase(&recorder, one).await.unwrap_err();
    assert!(matches!(&error, EraseError::Already(told) if told.log == erased.log));
    recorder.shutdown(SHORT).await;
    let error = rig.replay(one).await.unwrap_err();
    assert!(matches!(error, ReplayError::Erased { .. }), "{error}");
}

/// Leaves that make this stream look whole: a start that is somebody's, its only segment, and an end.
fn whole(session: Uuid) -> [serde_json::Value; 3] {
    let key = crate::keys::SegmentKey {
        control: false,
        day: crate::keys::Day::of_v7(session).unwrap(),
        stream: session,
        segment: 0,
        sha256: [7; 32],
    };
    let leaf = |kind: &str, n: u64| serde_json::json!({"v": 1, "time": TIME, "type": kind, "sid": session, "n": n});
    let mut start = leaf("session.start", 0);
    start["who"] = serde_json::json!({"id": "somebody", "type": "User"});
    let anchor = serde_json::json!({
        "v": 1, "time": TIME, "type": "rec.anchor",
        "rec": {"key": key.to_string(), "records": 2},
    });
    [start, anchor, leaf("session.end", 1)]
}

/// A log that makes a session look ended destroys no key of one that another Weir is recording, whoever
/// is said to have had it and however few of the leaves are forged.
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_log_ends_nobodys_session() {
    let rig = Rig::new();
    let recorder = rig.open().await;
    let start = start();
    let running = start.info.id.0;
    let journal = recorder.open(start).await.unwrap();
    journal.intent(intent(0, SECRET)).await.unwrap();
    assert!(recorder.flush(SHORT).await);
    // Of its own logs, one has the same keys and knows part of the session; the other knows nothing.
    let [alike, apart] = [
        rig.beside(&["segments.key", "log.key"]),
        rig.beside(&["segments.key"]),
    ];
    let key = rig.objects().find(&object_name(running)).await.unwrap();
    assert!(key.is_some());
    let name = rig.options().log.name;
    for origin in ["weir.forger", &name] {
        forged_log(&rig, origin, &whole(running)).await;
        // Each leaf in a log of its own, too.
        for leaf in whole(running) {
            forged_log(&rig, origin, &[leaf]).await;
        }
    }
    for (other, what) in [(alike, "alike"), (apart, "apart")] {
        let second = other.open().await;
        let known = Erase {
            is_somebody_elses: true,
            ..ask(running, "olga")
        };
        let error = second.erase(known).await.unwrap_err();
        match what {
            "alike" => assert!(matches!(error, EraseError::NoEnd(_)), "{error}"),
            _ => assert!(matches!(error, EraseError::Unsigned(..)), "{error}"),
        }
        assert!(!other.has_job(), "{what}");
        second.shutdown(SHORT).await;
    }
    assert_eq!(
        rig.objects().find(&object_name(running)).await.unwrap(),
        key
    );
    journal.outcome(outcome(0)).await.unwrap();
    journal.close(end()).await.unwrap();
    recorder.shutdown(SHORT).await;
}

/// The stream of what operators do is no session, of whichever Weir and whatever a log says.
#[tokio::test(flavor = "multi_thread")]
async fn no_control_stream_is_erased() {
    let rig = Rig::new();
    let recorder = rig.open().await;
    assert!(recorder.flush(SHORT).await);
    let control = recorder.control_stream();
    let other = rig.beside(&["segments.key", "log.key"]);
    forged_log(&rig, "weir.forger", &whole(control)).await;
    recorder.shutdown(SHORT).await;
    for rig in [other, rig] {
        let later = rig.open().await;
        let error = erase(&later, control).await.unwrap_err();
        assert!(matches!(error, EraseError::Control(_)), "{error}");
        let key = rig.objects().find(&object_name(control)).await.unwrap();
        assert!(key.is_some());
        later.shutdown(SHORT).await;
    }
}
