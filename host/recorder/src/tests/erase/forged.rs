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

/// Who can write to the store makes a log of their own, whole and signed, that says what they like.
async fn forged(rig: &Rig, session: Uuid, origin: &str) -> ErasedDoc {
    let log = Uuid::now_v7();
    let time = "2026-11-27T00:00:00.000000Z".to_owned();
    let leaf = serde_json::json!({
        "v": 1, "time": time, "type": "erasure", "erased": session,
    });
    let entry = serde_json::to_vec(&leaf).unwrap();
    let mut bundle = Vec::new();
    tlog::push_entry(&mut bundle, &entry).unwrap();
    let mut tree = tlog::Tree::new();
    tree.append(tlog::leaf_hash(&entry), &mut |_, _| {});
    let origin = format!("{origin}/{log}");
    let signer = tlog::Ed25519Signer::from_seed(&origin, &[7; 32]).unwrap();
    let checkpoint = tlog::Checkpoint {
        origin,
        size: 1,
        root: tree.root(),
        extensions: Vec::new(),
    };
    let note = tlog::sign_checkpoint(&checkpoint, &signer).unwrap();
    let entries = tlog::Tile {
        kind: tlog::Kind::Entries,
        index: 0,
        width: 1,
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
    let doc = ErasedDoc {
        format: "weir.erased.v1".into(),
        session: session.to_string(),
        time,
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
