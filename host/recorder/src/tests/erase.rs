//! Erasing a session: what is gone afterwards, what stays, and what a crash or a store that lies leaves.

mod forged;
mod large;
mod planted;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use pipeline::ports::Journal;
use pipeline::{Actor, Direction, PrincipalKind};
use uuid::Uuid;

use super::store::{Mood, Moody, moody};
use super::support::*;
use crate::crypt::key::{erased_name, object_name};
use crate::crypt::read::ErasedDoc;
use crate::disk::RealDisk;
use crate::objects::Objects;
use crate::wal::scan;
use crate::{
    Erase, EraseError, Erasure, Finding, Followed, Follower, Following, Forget, Forgetting, Place,
    Recorder, RecorderOptions, ReplayError, ReplayOptions, Severity, Store, VerifyOptions,
    VerifyReport, verify_store,
};

const SECRET: &str = "select 'the quick brown zebra' from patients";
const PREFIX: &str = "some/prefix";

/// Knows sessions, and may not be able to forget them.
#[derive(Default)]
struct Memory {
    stuck: AtomicBool,
    forgot: AtomicU32,
}

#[async_trait]
impl Forget for Memory {
    async fn forget(&self, _: Uuid) -> Result<(), String> {
        if self.stuck.load(Ordering::Relaxed) {
            return Err("the index is busy".into());
        }
        self.forgot.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Never takes anything, so no log file can go.
struct Stuck;

impl Follower for Stuck {
    fn place(&self) -> Option<Place> {
        None
    }

    fn take(&self, _: &[Followed], _: Place) -> Result<(), String> {
        Err("stuck".into())
    }
}

struct Rig {
    dir: TempDir,
    store: Arc<Moody>,
    memory: Arc<Memory>,
    starts: AtomicU32,
}

impl Rig {
    fn new() -> Self {
        Self {
            dir: TempDir::new(),
            store: moody(Mood::Well),
            memory: Arc::default(),
            starts: AtomicU32::new(0),
        }
    }

    /// Another Weir with the same store, and with some of its keys.
    fn beside(&self, keys: &[&str]) -> Self {
        let other = Self {
            store: self.store.clone(),
            ..Self::new()
        };
        let (from, to) = (self.spool().join("keys"), other.spool().join("keys"));
        std::fs::create_dir_all(&to).unwrap();
        for key in keys {
            std::fs::copy(from.join(key), to.join(key)).unwrap();
        }
        other
    }

    fn spool(&self) -> PathBuf {
        let starts = self.starts.load(Ordering::Relaxed);
        self.dir.spool().join(format!("{starts}"))
    }

    fn options(&self) -> RecorderOptions {
        let mut options = RecorderOptions {
            limits: limits(),
            ..RecorderOptions::new(
                self.spool(),
                crate::StoreConfig::Directory("/nowhere".into()),
            )
        };
        options.limits.upload_timeout = Duration::from_millis(500);
        options.forgetting = Some(Forgetting(self.memory.clone()));
        options
    }

    async fn open_with(&self, set: impl FnOnce(&mut RecorderOptions)) -> Recorder {
        let mut options = self.options();
        set(&mut options);
        let opened = Recorder::open_with(options, self.objects(), Arc::new(RealDisk)).await;
        opened.unwrap().0
    }

    async fn open(&self) -> Recorder {
        self.open_with(|_| {}).await
    }

    fn objects(&self) -> Objects {
        Objects::new(self.store.clone(), PREFIX)
    }

    /// What is in the files now is what the next process finds.
    async fn crash(&self, recorder: Recorder) {
        kill(&recorder).await;
        let from = self.spool();
        self.starts.fetch_add(1, Ordering::Relaxed);
        crash_copy(&from, &self.spool());
    }

    fn reader(&self) -> Store {
        let options = self.options();
        let wrap = options.encryption.own(&options.log).unwrap();
        let own = crate::own_key(&options.log).unwrap();
        self.stranger().with_keys(wrap, None).trusting(own)
    }

    /// Knows no key of any log.
    fn stranger(&self) -> Store {
        Store::new(self.objects())
    }

    async fn verify(&self) -> VerifyReport {
        let options = VerifyOptions::default();
        verify_store(&self.reader(), &options).await.unwrap()
    }

    async fn replay(&self, session: Uuid) -> Result<String, ReplayError> {
        let (options, mut out) = (ReplayOptions::default(), Vec::new());
        crate::replay(&self.reader(), session, &options, &mut out).await?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    fn has_job(&self) -> bool {
        !objects(&self.spool().join("erasures")).is_empty()
    }

    /// The session is gone, the other one and everything else is whole.
    async fn is_erased(&self, session: Uuid, other: Uuid, what: &str) {
        for (_, path) in scan::files(&self.spool().join("wal")).unwrap() {
            scan::scan_file(&path, &mut |block| {
                let of_it = |r: &crate::record::Record<'_>| r.stream == session.as_u128();
                assert!(!block.records().any(|r| of_it(&r)), "{what}: {path:?}");
            })
            .unwrap();
        }
        for path in objects(&self.spool()) {
            let name = path.to_string_lossy().into_owned();
            assert!(!name.contains(&session.to_string()), "{what}: {name}");
            assert!(!has(&path, SECRET), "{what}: {name}");
        }
        let key = self.objects().find(&object_name(session)).await.unwrap();
        assert_eq!(key, None, "{what}");
        let error = self.replay(session).await.unwrap_err();
        assert!(
            matches!(error, ReplayError::Erased { .. }),
            "{what}: {error}"
        );
        assert!(self.replay(other).await.unwrap().contains(SECRET), "{what}");
    }
}

fn has(path: &Path, text: &str) -> bool {
    let bytes = std::fs::read(path).unwrap_or_default();
    let unpacked = zstd::stream::decode_all(&bytes[..]).unwrap_or_default();
    let has = |bytes: &[u8]| bytes.windows(text.len()).any(|w| w == text.as_bytes());
    has(&bytes) || has(&unpacked)
}

async fn secret_session(recorder: &Recorder) -> Uuid {
    let start = start();
    let id = start.info.id.0;
    let journal = recorder.open(start).await.unwrap();
    journal.intent(intent(0, SECRET)).await.unwrap();
    let bytes = Bytes::from_static(SECRET.as_bytes());
    journal.bytes(0, Direction::ToClient, bytes).await.unwrap();
    journal.outcome(outcome(0)).await.unwrap();
    journal.close(end()).await.unwrap();
    id
}

fn ask(session: Uuid, who: &str) -> Erase {
    let mut principal = (*start().info.principal).clone();
    principal.actor = Actor::new(PrincipalKind::User, who, &[]);
    principal.on_behalf_of = Vec::new();
    Erase {
        session,
        who: Some(Arc::new(principal)),
        reason: format!("{who} has a letter of the data subject"),
        is_somebody_elses: false,
    }
}

async fn erase(recorder: &Recorder, session: Uuid) -> Result<Erasure, EraseError> {
    recorder.erase(ask(session, "olga")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_gone_and_everything_else_is_verified() {
    let rig = Rig::new();
    let recorder = rig.open().await;
    // One that runs on has records in the same log file.
    let running = recorder.open(start()).await.unwrap();
    running.intent(intent(0, "select 1")).await.unwrap();
    let [one, two] = [
        secret_session(&recorder).await,
        secret_session(&recorder).await,
    ];
    assert!(recorder.flush(SHORT).await);
    assert!(rig.replay(one).await.unwrap().contains(SECRET));
    let erased = erase(&recorder, one).await.unwrap();
    assert_eq!(erased.session, one);
    assert_eq!(erased.remains, Vec::<String>::new());
    assert_eq!(rig.memory.forgot.load(Ordering::Relaxed), 1);
    // The second session has not gone from memory of the disk, so it is only looked for in the store.
    assert!(!rig.has_job());
    let replayed = rig.replay(one).await.unwrap_err().to_string();
    let leaf = format!("leaf {} of log {}", erased.leaf, erased.log);
    assert!(
        replayed.contains(&leaf) && replayed.contains(&erased.time),
        "{replayed}"
    );
    running.outcome(outcome(0)).await.unwrap();
    running.close(end()).await.unwrap();
    recorder.shutdown(SHORT).await;
    let report = rig.verify().await;
    let told = Finding::Erased {
        session: one,
        time: erased.time.clone(),
        who: erased.who.clone(),
        log: erased.log,
        leaf: erased.leaf,
    };
    assert_eq!(report.findings, [told]);
    assert_eq!(report.severity(), Severity::Note);
    rig.is_erased(one, two, "at the end").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_time_tells_of_the_first() {
    let rig = Rig::new();
    let recorder = rig.open().await;
    let one = secret_session(&recorder).await;
    let first = erase(&recorder, one).await.unwrap();
    for _ in 0..2 {
        match recorder.erase(ask(one, "oscar")).await {
            Err(EraseError::Already(told)) => assert_eq!(*told, first),
            other => panic!("{other:?}"),
        }
    }
    let asked = [recorder.erase(ask(one, "a")), recorder.erase(ask(one, "b"))];
    for done in futures::future::join_all(asked).await {
        assert!(matches!(
            done,
            Err(EraseError::Already(_) | EraseError::Busy(_))
        ));
    }
    recorder.shutdown(SHORT).await;
    let report = rig.verify().await;
    let told = |f: &&Finding| matches!(f, Finding::Erased { .. });
    assert_eq!(report.findings.iter().filter(told).count(), 1);
    assert_eq!(report.findings.len(), 1, "{:?}", report.findings);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_erased_is_refused_and_left_alone() {
    let rig = Rig::new();
    let recorder = rig.open().await;
    let unknown = Uuid::now_v7();
    let error = erase(&recorder, unknown).await.unwrap_err();
    assert!(matches!(error, EraseError::Unknown(id) if id == unknown));
    let control = recorder.control_stream();
    let error = erase(&recorder, control).await.unwrap_err();
    assert!(matches!(error, EraseError::Unknown(_)), "{error}");
    let start = start();
    let id = start.info.id.0;
    let running = recorder.open(start).await.unwrap();
    running.intent(intent(0, SECRET)).await.unwrap();
    assert!(recorder.flush(SHORT).await);
    let error = erase(&recorder, id).await.unwrap_err();
    assert!(matches!(error, EraseError::Running(_)), "{error}");
    // Another Weir with the same store does not know that it runs, and sees no end.
    let other = rig.beside(&["segments.key", "log.key"]);
    let second = other.open().await;
    let error = erase(&second, id).await.unwrap_err();
    assert!(matches!(error, EraseError::NoEnd(_)), "{error}");
    running.outcome(outcome(0)).await.unwrap();
    running.close(end()).await.unwrap();
    assert!(recorder.flush(SHORT).await);
    assert!(!rig.has_job() && !other.has_job());
    // A log file that was put aside may hold it.
    let aside = rig.spool().join("quarantine/000000000001.wal");
    std::fs::write(&aside, b"what a disk has left of it").unwrap();
    let error = erase(&recorder, id).await.unwrap_err();
    assert!(
        matches!(&error, EraseError::PutAside { path, .. } if *path == aside),
        "{error}"
    );
    std::fs::remove_file(&aside).unwrap();
    assert!(rig.replay(id).await.unwrap().contains(SECRET));
    // What has ended can be erased by any Weir that has the keys, and by none that cannot check the log.
    let stranger = rig.beside(&["segments.key"]);
    let third = stranger.open().await;
    let error = erase(&third, id).await.unwrap_err();
    assert!(matches!(error, EraseError::Unsigned(..)), "{error}");
    assert!(!stranger.has_job());
    third.shutdown(SHORT).await;
    let erased = erase(&second, id).await.unwrap();
    let [elsewhere] = &erased.remains[..] else {
        panic!("{erased:?}")
    };
    // What the other one has of it is not in reach, and its log is named.
    assert!(elsewhere.contains(recorder.log_origin()), "{elsewhere}");
    assert!(
        other
            .replay(id)
            .await
            .is_err_and(|e| matches!(e, ReplayError::Erased { .. }))
    );
    assert!(
        rig.replay(id)
            .await
            .is_err_and(|e| matches!(e, ReplayError::Erased { .. }))
    );
    // It forgets what it has itself.
    assert_eq!(rig.memory.forgot.load(Ordering::Relaxed), 0);
    let erased = erase(&recorder, id).await.unwrap();
    assert_eq!(rig.memory.forgot.load(Ordering::Relaxed), 1);
    assert_eq!(erased.remains, Vec::<String>::new());
    assert!(erased.notes[0].contains("gone already"), "{erased:?}");
    let again = erase(&recorder, id).await.unwrap_err();
    assert!(matches!(again, EraseError::Already(_)), "{again}");
    recorder.shutdown(SHORT).await;
    second.shutdown(SHORT).await;
    let report = rig.verify().await;
    assert_eq!(report.severity(), Severity::Note, "{:?}", report.findings);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_remove_the_key_is_not_believed() {
    for mood in [Mood::KeepsRemoved, Mood::RefusesToRemove] {
        let rig = Rig::new();
        let recorder = rig.open().await;
        let [one, two] = [
            secret_session(&recorder).await,
            secret_session(&recorder).await,
        ];
        assert!(recorder.flush(SHORT).await);
        rig.store.set(mood);
        let error = erase(&recorder, one).await.unwrap_err();
        assert!(
            matches!(error, EraseError::GoesOn { .. }),
            "{mood:?}: {error}"
        );
        assert!(rig.has_job());
        // A log file that is put aside meanwhile may have it in plain.
        let aside = rig.spool().join("quarantine/000000000001.wal");
        std::fs::write(&aside, b"what a disk has left of it").unwrap();
        rig.store.set(Mood::Well);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(rig.has_job(), "{mood:?}");
        std::fs::remove_file(&aside).unwrap();
        eventually("the erasure is finished", || !rig.has_job()).await;
        recorder.shutdown(SHORT).await;
        rig.is_erased(one, two, &format!("{mood:?}")).await;
        let report = rig.verify().await;
        assert_eq!(report.severity(), Severity::Note, "{:?}", report.findings);
    }
}

/// Where the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Written,
    Logged,
    Marked,
    Swallowed,
    Destroyed,
    LogsGone,
    Ended,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_any_two_steps_is_made_good() {
    for at in [
        At::Written,
        At::Logged,
        At::Marked,
        At::Swallowed,
        At::Destroyed,
        At::LogsGone,
        At::Ended,
    ] {
        crash_at(at).await;
    }
}

async fn crash_at(at: At) {
    let rig = Rig::new();
    let follower = (at == At::Destroyed).then(|| Following(Arc::new(Stuck)));
    let recorder = rig.open_with(|options| options.follower = follower).await;
    let [one, two] = [
        secret_session(&recorder).await,
        secret_session(&recorder).await,
    ];
    assert!(recorder.flush(SHORT).await);
    match at {
        At::Written => {
            let job = crate::erase::Job::new(&ask(one, "olga"), Default::default());
            job.write(&RealDisk, &rig.spool().join("erasures")).unwrap();
        }
        At::Logged => rig.store.set(Mood::Well),
        At::Marked => rig.store.set(Mood::RefusesToRemove),
        At::Swallowed => rig.store.set(Mood::KeepsRemoved),
        At::LogsGone => rig.memory.stuck.store(true, Ordering::Relaxed),
        At::Destroyed | At::Ended => {}
    }
    let mut kept = None;
    match at {
        At::Written => {}
        At::Logged => {
            // The store goes away when it has been looked at.
            let (asking, store) = (recorder.clone(), rig.store.clone());
            let task = tokio::spawn(async move { erase(&asking, one).await });
            eventually("it has begun", || rig.has_job()).await;
            store.set(Mood::Away);
            tokio::time::sleep(Duration::from_millis(300)).await;
            task.abort();
        }
        At::Destroyed => {
            let waits = tokio::time::timeout(Duration::from_secs(3), erase(&recorder, one)).await;
            assert!(waits.is_err(), "{waits:?}");
            let key = rig.objects().find(&object_name(one)).await.unwrap();
            assert_eq!(key, None);
        }
        At::Marked | At::Swallowed | At::LogsGone => {
            let error = erase(&recorder, one).await.unwrap_err();
            assert!(
                matches!(error, EraseError::GoesOn { .. }),
                "{at:?}: {error}"
            );
        }
        At::Ended => {
            let job = crate::erase::Job::new(&ask(one, "olga"), Default::default());
            erase(&recorder, one).await.unwrap();
            kept = Some(job);
        }
    }
    rig.crash(recorder).await;
    rig.store.set(Mood::Well);
    rig.memory.stuck.store(false, Ordering::Relaxed);
    if let Some(job) = kept {
        job.write(&RealDisk, &rig.spool().join("erasures")).unwrap();
    }
    let recorder = rig.open().await;
    eventually("the erasure is finished", || !rig.has_job()).await;
    recorder.shutdown(SHORT).await;
    rig.is_erased(one, two, &format!("{at:?}")).await;
    let report = rig.verify().await;
    let mut left = report.findings.clone();
    left.retain(|f| !matches!(f, Finding::Erased { session, .. } if *session == one));
    left.retain(|f| !matches!(f, Finding::Truncated { .. }));
    assert_eq!(left, [], "{at:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_erasure_holds_up_neither_the_start_nor_others() {
    let rig = Rig::new();
    let recorder = rig.open().await;
    let [one, two] = [
        secret_session(&recorder).await,
        secret_session(&recorder).await,
    ];
    assert!(recorder.flush(SHORT).await);
    // Damaged: it stays, and is told of.
    let jobs = rig.spool().join("erasures");
    std::fs::write(jobs.join(format!("{one}.json")), b"{").unwrap();
    recorder.shutdown(SHORT).await;
    let began = std::time::Instant::now();
    let recorder = rig.open().await;
    assert!(began.elapsed() < Duration::from_secs(5));
    erase(&recorder, two).await.unwrap();
    assert!(matches!(
        erase(&recorder, one).await,
        Err(EraseError::Spool(_))
    ));
    recorder.shutdown(SHORT).await;
    rig.is_erased(two, one, "two").await;
}
