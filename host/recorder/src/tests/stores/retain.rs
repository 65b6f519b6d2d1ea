//! Sessions that a bundle wants kept for longer than the vault keeps everything: what stores make of it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use uuid::Uuid;
use weir_tests::faulty::Fault;

use super::super::retention::session_kept_for;
use super::super::support::*;
use super::lock::{Asked, RETENTION};
use super::{BUCKET, LONG, Place, VAULT};
use crate::objects::StoreError;
use crate::{Proof, Recorder, VerifyOptions, verify_store};

/// Sees that the segments of each session are locked for just so many days, and nothing else for longer than
/// everything is.
fn check_days(place: &Place, sessions: &[(Uuid, u32)]) -> Vec<Asked> {
    let asked = place.asked();
    let days: BTreeMap<String, u32> = sessions
        .iter()
        .map(|(session, days)| (session.to_string(), *days))
        .collect();
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    for object in &asked {
        let text = format!("{object:?}");
        if object.bucket == BUCKET {
            // A key has to be able to go, whatever becomes of its segments.
            assert_eq!(
                (&*object.mode, &*object.gone),
                ("None", "unlocked"),
                "{text}"
            );
            continue;
        }
        if object.key.starts_with("probes/") {
            continue;
        }
        let of_session = days.iter().find(|(id, _)| object.key.contains(&***id));
        let expected = of_session.map_or(RETENTION.days, |(_, days)| *days);
        assert_eq!(
            (&*object.mode, &*object.gone),
            ("GOVERNANCE", "refused"),
            "{text}"
        );
        assert!(
            (expected..=expected + 1).contains(&object.days),
            "{expected}: {text}"
        );
        if let Some((id, _)) = of_session {
            assert!(object.key.starts_with("rec/"), "{text}");
            *seen.entry(id).or_default() += 1;
        }
    }
    for (session, _) in sessions {
        assert!(
            seen.contains_key(&*session.to_string()),
            "{session}: {asked:#?}"
        );
        let key = format!("keys/{session}.key");
        let has = |object: &Asked| object.bucket == BUCKET && object.key == key;
        assert!(asked.iter().any(has), "{key}");
    }
    asked
}

async fn verified(place: &Place, sessions: u64) {
    let options = VerifyOptions::default();
    let report = verify_store(&place.both(), &options).await.unwrap();
    assert_eq!(findings(&report), []);
    assert_eq!((report.sessions, report.complete), (sessions, sessions));
}

async fn finish(recorder: Recorder) {
    let done = recorder.shutdown(LONG).await;
    assert!(done.pending_segments == 0 && done.log_stored, "{done:?}");
}

pub async fn each_session_as_long_as_its_bundle_said(place: Place) {
    let recorder = place.open_locked().await;
    let mut sessions = Vec::new();
    for (wanted, days) in [
        (None, RETENTION.days),
        (Some(2555), 2555),
        (Some(10), 10),
        // What an earlier configuration let through is never kept for less than everything is.
        (Some(RETENTION.days - 1), RETENTION.days),
        (Some(2555), 2555),
    ] {
        // More than a segment.
        let session = session_kept_for(&recorder, wanted, 20).await;
        sessions.push((session, days));
    }
    finish(recorder).await;
    verified(&place, 5).await;
    let asked = check_days(&place, &sessions);
    let of_first =
        |o: &&Asked| o.key.starts_with("rec/") && o.key.contains(&sessions[1].0.to_string());
    assert!(asked.iter().filter(of_first).count() > 1, "{asked:#?}");
    // Of each number of days one: what was proved once is used.
    let mut probes: Vec<u32> = asked
        .iter()
        .filter(|o| o.key.starts_with("probes/"))
        .map(|o| o.days)
        .collect();
    probes.sort_unstable();
    probes.dedup();
    assert_eq!(probes.len(), 3, "{probes:?}");
}

/// Twice: the second process cannot store it either.
pub async fn a_crash_between_the_seal_and_the_store(place: Place) {
    let recorder = place.open_locked().await;
    place.proxy.set(Fault::Refuses, 1);
    // A store that is away has not said no, and not yes.
    let later = recorder.prove_retention([90].into(), Proof::OrLater).await;
    later.unwrap();
    let now = recorder.prove_retention([90].into(), Proof::Now).await;
    assert!(matches!(now, Err(StoreError::Unproved(_))), "{now:?}");
    let sessions = [
        (session_kept_for(&recorder, Some(90), 20).await, 90),
        (session_kept_for(&recorder, None, 2).await, RETENTION.days),
    ];
    recorder.flush(Duration::from_millis(500)).await;
    assert!(recorder.stats().pending_segments > 2);
    kill(&recorder).await;
    recorder.shutdown(Duration::ZERO).await;
    drop(recorder);
    let recorder = place.open_locked().await;
    assert!(recorder.stats().pending_segments > 2);
    kill(&recorder).await;
    recorder.shutdown(Duration::ZERO).await;
    drop(recorder);
    place.proxy.set(Fault::LosesAnswers, 3);
    let recorder = place.open_locked().await;
    recorder.flush(Duration::from_secs(5)).await;
    place.proxy.set(Fault::None, 1);
    finish(recorder).await;
    verified(&place, 2).await;
    check_days(&place, &sessions);
}

/// Who may write to the vault can have the very segment there first, with a lock that ends soon or none.
pub async fn what_somebody_stored_first(place: Place) {
    let recorder = place.open_locked().await;
    place.proxy.set(Fault::Refuses, 1);
    let session = session_kept_for(&recorder, Some(90), 20).await;
    recorder.flush(Duration::from_millis(500)).await;
    let mut planted = 0;
    for path in objects(&place.dir.spool().join("segments")) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let Some((key, _)) = crate::pending::parse_name(name).filter(|(k, _)| k.stream == session)
        else {
            continue;
        };
        let locked = match planted % 2 {
            0 => String::new(),
            _ => "ObjectLockMode='GOVERNANCE', ObjectLockRetainUntilDate=datetime.datetime.now(\
                  datetime.timezone.utc) + datetime.timedelta(days=5), ChecksumAlgorithm='SHA256'"
                .to_owned(),
        };
        let put = place.server.boto(&format!(
            "import datetime\n\
             s3.put_object(Bucket='{VAULT}', Key='{}/{key}', Body=open('{}', 'rb').read(), {locked})",
            place.prefix,
            path.display(),
        ));
        put.unwrap();
        planted += 1;
    }
    assert!(planted >= 2, "{planted}");
    // Also while what is stored over it gets lost.
    place.proxy.set(Fault::Swallows, 2);
    recorder.flush(Duration::from_secs(3)).await;
    place.proxy.set(Fault::None, 1);
    finish(recorder).await;
    verified(&place, 1).await;
    check_days(&place, &[(session, 90)]);
}

/// It locks for days, and not for years: what is to be kept for years waits, and all else goes on.
pub async fn a_store_that_forgets_the_longest_locks(place: Place) {
    let recorder = place.open_locked().await;
    // 20 years from now; everything else is kept for less than one.
    place.proxy.set(Fault::ForgetsLocksFrom(2040), 1);
    // Before a bundle comes into force, this is found out.
    let proved = recorder
        .prove_retention([10, 7300].into(), Proof::Now)
        .await
        .err();
    assert!(
        matches!(proved, Some(StoreError::NotLocked(_))),
        "{proved:?}"
    );
    let proved = recorder.prove_retention([10, 400].into(), Proof::Now).await;
    proved.unwrap();
    let long = session_kept_for(&recorder, Some(7300), 2).await;
    let other = session_kept_for(&recorder, None, 2).await;
    let stored = || {
        let stored = place.asked().into_iter();
        stored
            .filter(|o| o.key.starts_with("rec/"))
            .collect::<Vec<_>>()
    };
    let until = Instant::now() + LONG;
    while stored().is_empty() || recorder.stats().store_failures == 0 {
        assert!(Instant::now() < until, "{:?}", recorder.stats());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    recorder.flush(Duration::from_secs(2)).await;
    let there = stored();
    assert!(
        there.iter().all(|o| o.key.contains(&other.to_string())),
        "{there:#?}"
    );
    let stats = recorder.stats();
    assert!(
        stats.pending_segments > 0 && stats.poisoned.is_none(),
        "{stats:?}"
    );
    place.proxy.set(Fault::None, 1);
    finish(recorder).await;
    verified(&place, 2).await;
    // But for the probe that was not locked.
    check_days(&place, &[(long, 7300), (other, RETENTION.days)]);
}
