//! Recordings at rest: encrypted, each stream with its own key, and what is found when keys are missing,
//! wrong or away.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pipeline::ports::{Journal, JournalError};
use uuid::Uuid;

use super::support::*;
use crate::crypt::key::object_name;
use crate::{
    Encryption, Finding, KeyWrap, LocalKeys, OpenError, Recorder, ReplayOptions, Secret, Severity,
    Store, StoreConfig, VerifyOptions, VerifyReport, WrapError, Wrapped, verify_store,
};

/// What must never be seen.
const SECRET: &str = "select 4711 from users";

/// A key manager that can be away, or silent.
struct Manager {
    keys: LocalKeys,
    away: AtomicBool,
    silent: AtomicBool,
}

impl Manager {
    fn new(key: u8) -> Arc<Self> {
        Arc::new(Self {
            keys: local(&[key]),
            away: AtomicBool::new(false),
            silent: AtomicBool::new(false),
        })
    }

    async fn answer(&self) -> Result<(), WrapError> {
        if self.silent.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        match self.away.load(Ordering::Relaxed) {
            true => Err(WrapError::Unavailable("connection refused".into())),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl KeyWrap for Manager {
    async fn wrap(&self, context: &[u8], key: &Secret) -> Result<Wrapped, WrapError> {
        self.answer().await?;
        self.keys.wrap(context, key).await
    }

    async fn unwrap(&self, kek: &str, context: &[u8], wrapped: &[u8]) -> Result<Secret, WrapError> {
        self.answer().await?;
        self.keys.unwrap(kek, context, wrapped).await
    }
}

fn local(keys: &[u8]) -> LocalKeys {
    LocalKeys::new(keys.iter().map(|key| Secret::new([*key; 32]))).unwrap()
}

async fn open_with(dir: &TempDir, wrap: Arc<dyn KeyWrap>) -> Result<Recorder, OpenError> {
    let mut options = dir.options();
    options.encryption = Encryption { wrap: Some(wrap) };
    options.limits.key_wait = Duration::from_millis(200);
    Ok(Recorder::open(options).await?.0)
}

fn reader(dir: &TempDir, wrap: Option<Arc<dyn KeyWrap>>) -> Store {
    let store = Store::open(&StoreConfig::Directory(dir.stored())).unwrap();
    store.with_keys(wrap, None)
}

async fn verify(dir: &TempDir, wrap: Option<Arc<dyn KeyWrap>>) -> VerifyReport {
    let options = VerifyOptions::default();
    verify_store(&reader(dir, wrap), &options).await.unwrap()
}

async fn secret_session(recorder: &Recorder) -> Uuid {
    let start = start();
    let id = start.info.id.0;
    let journal = recorder.open(start).await.unwrap();
    journal.intent(intent(0, SECRET)).await.unwrap();
    let bytes = bytes::Bytes::from_static(SECRET.as_bytes());
    let way = pipeline::Direction::ToClient;
    journal.bytes(0, way, bytes).await.unwrap();
    journal.outcome(outcome(0)).await.unwrap();
    journal.close(end()).await.unwrap();
    id
}

/// Also as zstd would have it: short texts are literals in a frame.
fn holds_secret(path: &PathBuf) -> bool {
    let bytes = std::fs::read(path).unwrap();
    let unpacked = zstd::stream::decode_all(&bytes[..]).unwrap_or_default();
    let has = |bytes: &[u8]| bytes.windows(SECRET.len()).any(|w| w == SECRET.as_bytes());
    has(&bytes) || has(&unpacked)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_at_rest_tells_nothing_without_the_key() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    let id = secret_session(&recorder).await;
    assert!(recorder.flush(SHORT).await);
    let stored = objects(&dir.stored());
    assert!(!stored.iter().any(holds_secret));
    // It is there for whoever has the key.
    let mut out = Vec::new();
    crate::replay(&dir.store(), id, &ReplayOptions::default(), &mut out)
        .await
        .unwrap();
    assert!(String::from_utf8(out).unwrap().contains(SECRET));
    // Also where it waits for the store.
    block_store(&dir);
    secret_session(&recorder).await;
    assert!(!recorder.flush(Duration::from_millis(500)).await);
    let waiting = objects(&dir.spool().join("segments"));
    assert!(waiting.len() > 1, "{waiting:?}");
    assert!(!waiting.iter().any(holds_secret));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_key_everything_else_is_verified() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    let id = session(&recorder, 12, 8000).await;
    session(&recorder, 2, 10).await;
    recorder.shutdown(SHORT).await;
    dir.open().await.0.shutdown(SHORT).await;
    let whole = verify(&dir, dir.wrap()).await;
    assert_eq!(whole.findings, []);
    let report = verify(&dir, None).await;
    let segments = report.segments;
    let streams = 4;
    assert_eq!(report.findings, [Finding::NotRead { streams, segments }]);
    assert_eq!(
        (report.segments, report.leaves),
        (whole.segments, whole.leaves)
    );
    let (store, options, mut out) = (reader(&dir, None), ReplayOptions::default(), Vec::new());
    let replayed = crate::replay(&store, id, &options, &mut out);
    let why = replayed.await.unwrap_err().to_string();
    assert!(why.contains("--key-file"), "{why}");
    // Whatever is altered, missing or added is found all the same.
    for path in objects(&dir.stored().join("rec")) {
        let good = std::fs::read(&path).unwrap();
        let mut bad = good.clone();
        bad[good.len() / 2] ^= 1;
        std::fs::write(&path, bad).unwrap();
        let found = verify(&dir, None).await;
        assert_eq!(found.severity(), Severity::Failure, "{found:?}");
        std::fs::remove_file(&path).unwrap();
        let found = verify(&dir, None).await;
        let missing = |f: &Finding| {
            matches!(
                f,
                Finding::MissingAnchored { .. } | Finding::MissingSegment { .. }
            )
        };
        assert!(found.findings.iter().any(missing), "{found:?}");
        std::fs::write(&path, good).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_gone_or_altered_is_found() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    let [one, two] = [
        session(&recorder, 1, 10).await,
        session(&recorder, 1, 10).await,
    ];
    recorder.shutdown(SHORT).await;
    let path = |id| dir.stored().join(object_name(id));
    let good = std::fs::read(path(one)).unwrap();
    let other = std::fs::read(path(two)).unwrap();
    std::fs::remove_file(path(one)).unwrap();
    for wrap in [dir.wrap(), None] {
        let found = verify(&dir, wrap).await;
        assert!(
            found.findings.contains(&Finding::KeyMissing(one)),
            "{found:?}"
        );
        assert!(!found.is_ok());
    }
    let renamed = String::from_utf8(other.clone()).unwrap();
    let renamed = renamed
        .replace(&two.to_string(), &one.to_string())
        .into_bytes();
    let mut wrong = vec![vec![], b"{}".to_vec(), other, renamed];
    for at in 0..good.len() {
        let mut flipped = good.clone();
        flipped[at] ^= 1;
        wrong.push(flipped);
    }
    for bytes in wrong {
        std::fs::write(path(one), &bytes).unwrap();
        let found = verify(&dir, dir.wrap()).await;
        let text = String::from_utf8_lossy(&bytes);
        let key = |f: &Finding| matches!(f, Finding::KeyWrong { stream, .. } if *stream == one);
        assert!(found.findings.iter().any(key), "{text}: {found:?}");
        assert!(!found.is_ok());
    }
    std::fs::write(path(one), good).unwrap();
    assert_eq!(verify(&dir, dir.wrap()).await.findings, []);
    std::fs::write(dir.stored().join("keys/x"), "").unwrap();
    let stranger = Finding::Stranger("keys/x".into());
    assert_eq!(verify(&dir, dir.wrap()).await.findings, [stranger]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_key_manager_no_session_begins_and_running_ones_go_on() {
    let dir = TempDir::new();
    let manager = Manager::new(1);
    let recorder = open_with(&dir, manager.clone()).await.unwrap();
    let running = recorder.open(start()).await.unwrap();
    act(&*running, 0..1, 100).await;
    manager.away.store(true, Ordering::Relaxed);
    let refused = recorder.open(start()).await.map(|_| ()).unwrap_err();
    let JournalError::Keys(why) = refused else {
        panic!("{refused:?}")
    };
    assert!(why.contains("the key manager"), "{why}");
    // It is sealed all the same, and stored.
    act(&*running, 1..3, 100).await;
    assert!(recorder.flush(SHORT).await);
    manager.away.store(false, Ordering::Relaxed);
    session(&recorder, 1, 10).await;
    manager.silent.store(true, Ordering::Relaxed);
    let refused = recorder.open(start()).await.map(|_| ()).unwrap_err();
    assert!(
        refused.to_string().contains("no answer within"),
        "{refused}"
    );
    running.close(end()).await.unwrap();
    recorder.shutdown(SHORT).await;
    manager.silent.store(false, Ordering::Relaxed);
    let report = verify(&dir, Some(manager)).await;
    assert_eq!(report.findings, []);
    assert_eq!((report.sessions, report.complete), (2, 2));
}

/// After a crash, a stream goes on under its key: from the log, and from the file when that is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_loses_no_key() {
    for sealed in [false, true] {
        let dir = TempDir::new();
        let copy = TempDir::new();
        let manager = Manager::new(1);
        let recorder = open_with(&dir, manager.clone()).await.unwrap();
        let open = recorder.open(start()).await.unwrap();
        act(&*open, 0..2, 100).await;
        if sealed {
            assert!(recorder.flush(SHORT).await);
            act(&*open, 2..3, 100).await;
            // So that the log holds nothing of its start any more.
            session(&recorder, 40, 8000).await;
            assert!(recorder.flush(SHORT).await);
        }
        kill(&recorder).await;
        crash_copy(&dir.spool(), &copy.spool());
        copy_all(&dir.stored(), &copy.stored());
        // Without what unwraps it, nothing goes on, and nothing is lost.
        for wrong in [Manager::new(2), Manager::new(1)] {
            wrong.away.store(true, Ordering::Relaxed);
            assert!(open_with(&copy, wrong).await.is_err());
        }
        let wrong = open_with(&copy, Manager::new(2)).await.err();
        let Some(OpenError::StreamKey { source, .. }) = wrong else {
            panic!("{wrong:?}")
        };
        assert!(source.to_string().contains("not among those"), "{source}");
        let again = open_with(&copy, manager.clone()).await.unwrap();
        again.shutdown(SHORT).await;
        let report = verify(&copy, Some(manager.clone())).await;
        assert_eq!(findings(&report), [], "{sealed}");
        assert_eq!(report.sessions, report.complete);
        let left = objects(&copy.spool().join("segments"));
        assert!(left.is_empty(), "{left:?}");
        let streams = report.sessions + report.control_streams;
        assert_eq!(objects(&copy.stored().join("keys")).len() as u64, streams);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrapping_key_can_be_replaced() {
    let dir = TempDir::new();
    let old: Arc<dyn KeyWrap> = Arc::new(local(&[1]));
    let both: Arc<dyn KeyWrap> = Arc::new(local(&[2, 1]));
    let new: Arc<dyn KeyWrap> = Arc::new(local(&[2]));
    for wrap in [&old, &both] {
        let recorder = open_with(&dir, wrap.clone()).await.unwrap();
        session(&recorder, 1, 10).await;
        recorder.shutdown(SHORT).await;
    }
    assert_eq!(verify(&dir, Some(both)).await.findings, []);
    for (wrap, wrong) in [(old, 2), (new, 2)] {
        let report = verify(&dir, Some(wrap)).await;
        let keys = report.findings.iter();
        let keys = keys.filter(|f| matches!(f, Finding::KeyWrong { .. }));
        assert_eq!(keys.count(), wrong, "{report:?}");
    }
}

/// Of a segment that has recorded bytes only, everything but the key may be known.
#[tokio::test(flavor = "multi_thread")]
async fn chains_do_not_tell_what_a_segment_may_hold() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    let journal = recorder.open(start()).await.unwrap();
    journal.intent(intent(0, "select ssn")).await.unwrap();
    assert!(recorder.flush(SHORT).await);
    let bytes = bytes::Bytes::from_static(b"secret");
    let way = pipeline::Direction::ToClient;
    journal.bytes(0, way, bytes).await.unwrap();
    journal.settle().await.unwrap();
    assert!(recorder.flush(SHORT).await);
    journal.outcome(outcome(0)).await.unwrap();
    journal.close(end()).await.unwrap();
    recorder.shutdown(SHORT).await;
    let mut parts = Vec::new();
    for path in objects(&dir.stored().join("rec")) {
        let bytes = dir.decrypted(&path).await;
        parts.push(crate::segment::Segment::parse(&bytes).unwrap());
    }
    let [before, secret, _] = parts.as_slice() else {
        panic!("{} segments", parts.len())
    };
    let record = secret.records().next().unwrap();
    assert_eq!(secret.records().count(), 1);
    let guess = crate::chain::link(&before.chain_out, &crate::chain::leaf(record.encoded));
    assert_ne!(guess, secret.chain_out);
    assert_eq!(dir.verify().await.findings, []);
}

/// A key made in the place of one that is gone would look as if all were well.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_wrapping_key_is_not_replaced_in_silence() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    secret_session(&recorder).await;
    recorder.shutdown(SHORT).await;
    let path = dir.options().log.key_dir.join("segments.key");
    let good = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let refused = Recorder::open(dir.options()).await.err().unwrap();
    assert!(refused.to_string().contains("segments.key"), "{refused}");
    assert!(!path.exists());
    std::fs::write(&path, good).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    dir.open().await.0.shutdown(SHORT).await;
}

/// A session's id is no secret, and the store may be written by others.
#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_a_keys_place_is_replaced() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    let place = |stream: Uuid| dir.stored().join(object_name(stream));
    let start = start();
    let session = start.info.id.0;
    std::fs::create_dir_all(place(session).parent().unwrap()).unwrap();
    std::fs::write(place(session), "garbage").unwrap();
    let journal = recorder.open(start).await.unwrap();
    journal.intent(intent(0, SECRET)).await.unwrap();
    journal.outcome(outcome(0)).await.unwrap();
    journal.close(end()).await.unwrap();
    assert!(recorder.flush(SHORT).await);
    assert_ne!(std::fs::read(place(session)).unwrap(), b"garbage");
    recorder.shutdown(SHORT).await;
    // And told of.
    let found = dir.verify().await.findings;
    let told =
        |f: &Finding| matches!(f, Finding::Gap { what, .. } if what.contains(&session.to_string()));
    assert!(found.len() == 1 && found.iter().all(told), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_does_not_hold_the_wrapped_key() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    let session = secret_session(&recorder).await;
    recorder.shutdown(SHORT).await;
    let options = ReplayOptions {
        format: "jsonl".parse().unwrap(),
        ..ReplayOptions::default()
    };
    let mut out = Vec::new();
    crate::replay(&dir.store(), session, &options, &mut out)
        .await
        .unwrap();
    let text = String::from_utf8(out).unwrap();
    let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert!(
        first["start"].is_object() && first["start"].get("key").is_none(),
        "{first}"
    );
    assert!(!text.contains("wrapped"), "{text}");
}

/// Unwraps when it is told to.
struct Waiting {
    keys: LocalKeys,
    asked: tokio::sync::Notify,
    go: tokio::sync::Notify,
}

#[async_trait]
impl KeyWrap for Waiting {
    async fn wrap(&self, context: &[u8], key: &Secret) -> Result<Wrapped, WrapError> {
        self.keys.wrap(context, key).await
    }

    async fn unwrap(&self, kek: &str, context: &[u8], wrapped: &[u8]) -> Result<Secret, WrapError> {
        self.asked.notify_one();
        self.go.notified().await;
        self.keys.unwrap(kek, context, wrapped).await
    }
}

/// A key that is destroyed while a key manager unwraps it is not remembered.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_goes_while_it_is_unwrapped_is_forgotten() {
    let dir = TempDir::new();
    let recorder = open_with(&dir, Manager::new(1)).await.unwrap();
    let id = secret_session(&recorder).await;
    recorder.shutdown(SHORT).await;
    let wrap = Arc::new(Waiting {
        keys: local(&[1]),
        asked: tokio::sync::Notify::new(),
        go: tokio::sync::Notify::new(),
    });
    let store = reader(&dir, Some(wrap.clone()));
    let reading = {
        let store = store.clone();
        tokio::spawn(async move { store.keys().get(store.objects(), id).await })
    };
    wrap.asked.notified().await;
    store.objects().destroy(&object_name(id)).await.unwrap();
    store.forget(id);
    wrap.go.notify_one();
    // Who had it already has it; nobody else does.
    reading.await.unwrap().unwrap();
    let gone = store.keys().get(store.objects(), id).await;
    assert_eq!(gone.unwrap_err(), crate::KeyLoss::Missing);
}
