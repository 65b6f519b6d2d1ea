//! A vault that locks what it stores, and one that only says so.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use weir_tests::faulty::Fault;

use super::super::support::*;
use super::load::Ledger;
use super::{BUCKET, LONG, Place, VAULT};
use crate::objects::StoreError;
use crate::{
    Finding, OpenError, Recorder, Retention, RetentionMode, Store, StoreConfig, VaultConfig,
    VerifyOptions, verify_store,
};

pub const RETENTION: Retention = Retention {
    mode: RetentionMode::Governance,
    days: 3,
};

/// What a store says of an object.
#[derive(Debug)]
pub struct Asked {
    pub bucket: String,
    pub key: String,
    pub mode: String,
    pub days: u32,
    pub gone: String,
}

impl Place {
    fn vault(&self, bucket: &str, endpoint: String) -> VaultConfig {
        VaultConfig {
            store: self.bucket(bucket, endpoint),
            retention: Some(RETENTION),
        }
    }

    /// Asked by a client that has nothing of Weir: every object, its mode, and in how many days it may go; and
    /// whether a version of the vault's can be deleted.
    pub fn asked(&self) -> Vec<Asked> {
        let asked = self.server.boto(&format!(
        "import datetime\n\
         from botocore.exceptions import ClientError\n\
         now = datetime.datetime.now(datetime.timezone.utc)\n\
         for bucket in ('{BUCKET}', '{VAULT}'):\n\
         \x20 pages = s3.get_paginator('list_objects_v2').paginate(Bucket=bucket, Prefix='{prefix}')\n\
         \x20 for o in [o for p in pages for o in p.get('Contents', [])]:\n\
         \x20   key = o['Key']\n\
         \x20   head = s3.head_object(Bucket=bucket, Key=key)\n\
         \x20   kept = head.get('ObjectLockRetainUntilDate')\n\
         \x20   days = (kept - now).total_seconds() / 86400 if kept else 0\n\
         \x20   gone = 'unlocked'\n\
         \x20   if bucket == '{VAULT}':\n\
         \x20     try:\n\
         \x20       s3.delete_object(Bucket=bucket, Key=key, VersionId=head['VersionId'])\n\
         \x20       gone = 'deleted'\n\
         \x20     except ClientError: gone = 'refused'\n\
         \x20   print(bucket, key[{cut}:], head.get('ObjectLockMode'), int(days), gone)\n",
        prefix = self.prefix,
        cut = self.prefix.len() + 1,
    ));
        let asked = asked.unwrap();
        let lines = asked.lines().map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let [bucket, key, mode, days, gone] = words[..] else {
                panic!("{line}")
            };
            Asked {
                bucket: bucket.into(),
                key: key.into(),
                mode: mode.into(),
                days: days.parse().unwrap(),
                gone: gone.into(),
            }
        });
        lines.collect()
    }

    pub async fn open_locked(&self) -> Recorder {
        let mut options = self.options(64 << 20);
        options.vault = Some(self.vault(VAULT, self.proxy.endpoint()));
        Recorder::open(options).await.unwrap().0
    }

    /// Both places, without the proxy.
    pub fn both(&self) -> Store {
        let open = |bucket: &str| self.bucket(bucket, self.straight());
        Store::open_both(&open(BUCKET), Some(&open(VAULT)))
            .unwrap()
            .with_keys(self.dir.wrap(), None)
    }
}

/// Every object of the vault is locked, for as long as it should be; what changes is not.
pub async fn what_is_final_is_locked(place: Place) {
    let recorder = place.open_locked().await;
    let ledger = Ledger::default();
    for _ in 0..3 {
        ledger.session(&recorder, 100, 200).await;
    }
    let done = recorder.shutdown(LONG).await;
    assert!(done.pending_segments == 0 && done.log_stored, "{done:?}");
    ledger.check(&place.both(), "locked").await;
    let asked = place.asked();
    let (mut segments, mut tiles, mut checkpoints, mut live) = (0, 0, 0, 0);
    for line in &asked {
        let Asked {
            bucket,
            key,
            mode,
            days,
            gone,
        } = line;
        let (mode, gone) = (&**mode, &**gone);
        if bucket == BUCKET {
            let of_log =
                key.ends_with("/checkpoint") || key.contains(".p/") || key.ends_with("/vkey");
            // A key has to be able to go.
            let changes = of_log || key.starts_with("keys/");
            assert!(changes && mode == "None" && gone == "unlocked", "{line:?}");
            live += 1;
            continue;
        }
        assert_eq!((mode, gone), ("GOVERNANCE", "refused"), "{line:?}");
        assert!(
            (RETENTION.days..=RETENTION.days + 1).contains(days),
            "{line:?}"
        );
        segments += u32::from(key.starts_with("rec/") || key.starts_with("ctl/"));
        tiles += u32::from(key.contains("/tile/"));
        checkpoints += u32::from(key.contains("/checkpoints/"));
    }
    let all = [segments, tiles, checkpoints, live];
    assert!(all.iter().all(|n| *n >= 2), "{all:?}:\n{asked:#?}");
    println!(
        "{}: locked are {segments} segments, {tiles} full tiles, {checkpoints} checkpoints",
        place.server.make.name()
    );
}

/// A bucket that takes the headers of a lock and does nothing, or refuses them; and one that is away.
pub async fn a_vault_without_a_lock_is_not_used(place: Place) {
    let what = place.server.make.name();
    let mut options = place.options(64 << 20);
    options.vault = Some(place.vault(BUCKET, place.proxy.endpoint()));
    let opened = Recorder::open(options.clone()).await.err();
    let refused = matches!(opened, Some(OpenError::Store(StoreError::NotLocked(_))));
    // moto locks in any bucket.
    if what != "moto" {
        assert!(refused, "{what}: {opened:?}");
    }
    if refused {
        // It is away at the start, and turns out to be no vault: nothing final is stored there, ever.
        place.proxy.set(Fault::Unavailable, 1);
        let (recorder, _) = Recorder::open(options).await.unwrap();
        session(&recorder, 3, 1000).await;
        place.proxy.set(Fault::None, 1);
        let until = Instant::now() + LONG;
        while recorder.stats().store_failures == 0 {
            assert!(Instant::now() < until, "{what}: nothing is tried");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
        let stats = recorder.stats();
        assert_eq!(stats.stored_segments, 0, "{what}: {stats:?}");
        assert!(stats.pending_segments > 0, "{what}: {stats:?}");
        recorder.shutdown(Duration::from_millis(100)).await;
    }
    // A directory cannot lock at all.
    let mut options = place.dir.options();
    options.vault = Some(VaultConfig {
        store: StoreConfig::Directory(place.dir.stored()),
        retention: Some(RETENTION),
    });
    let opened = Recorder::open(options).await.err();
    assert!(
        matches!(opened, Some(OpenError::Store(StoreError::Config(_)))),
        "{opened:?}"
    );
}

pub async fn faults_before_a_locked_vault(place: Place) {
    let recorder = place.open_locked().await;
    let ledger = Ledger::default();
    for (fault, one_in) in [
        (Fault::LosesAnswers, 2),
        (Fault::Swallows, 2),
        (Fault::Unavailable, 2),
        (Fault::AltersReads, 3),
    ] {
        place.proxy.set(fault, one_in);
        ledger
            .reads_lie
            .store(fault == Fault::AltersReads, Ordering::Relaxed);
        let before = place.proxy.hits();
        for _ in 0..3 {
            ledger.session(&recorder, 6, 4000).await;
        }
        eventually("faults", || place.proxy.hits() > before + 3).await;
    }
    // A start that cannot know yet whether the vault locks.
    place.proxy.set(Fault::Refuses, 1);
    recorder.shutdown(Duration::from_millis(100)).await;
    drop(recorder);
    let recorder = place.open_locked().await;
    ledger.session(&recorder, 6, 4000).await;
    place.proxy.set(Fault::None, 1);
    let done = recorder.shutdown(LONG).await;
    assert!(done.pending_segments == 0 && done.log_stored, "{done:?}");
    ledger
        .check(&place.both(), "a locked vault with faults")
        .await;
}

/// A version cannot be deleted, but it can be hidden: by a delete marker, or by a newer version.
pub async fn what_shadows_an_object_is_found(place: Place) {
    let recorder = place.open_locked().await;
    let ledger = Ledger::default();
    ledger.session(&recorder, 6, 4000).await;
    ledger.session(&recorder, 6, 4000).await;
    recorder.shutdown(LONG).await;
    let store = place.both();
    ledger.check(&store, "before").await;
    let (first, second) = {
        let acked = ledger.acked.lock();
        (acked[0].session, acked[1].session)
    };
    let key = async |session| {
        let keys = store.segments(false, session).await.unwrap();
        format!("{}/{}", place.prefix, keys[0])
    };
    let (hidden, shadowed) = (key(first).await, key(second).await);
    place
        .server
        .boto(&format!(
            "s3.delete_object(Bucket='{VAULT}', Key='{hidden}')\n\
         s3.delete_object(Bucket='{VAULT}', Key='{shadowed}')\n\
         s3.put_object(Bucket='{VAULT}', Key='{shadowed}', Body=b'nothing of it')"
        ))
        .unwrap();
    let report = verify_store(&store, &VerifyOptions::default())
        .await
        .unwrap();
    assert!(!report.is_ok());
    let about = |session: uuid::Uuid| {
        let text = session.to_string();
        report
            .findings
            .iter()
            .any(|f: &Finding| f.to_string().contains(&text))
    };
    assert!(about(first) && about(second), "{:?}", report.findings);
}
