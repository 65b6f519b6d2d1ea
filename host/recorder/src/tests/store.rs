//! A store that is away, slow, refuses, loses its answers, or holds something else.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    Result,
};
use parking_lot::Mutex;
use pipeline::Direction;
use pipeline::ports::{Journal, JournalError};

use super::support::*;
use crate::objects::Objects;
use crate::{Recorder, Store, VerifyOptions, verify_store};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Well,
    Away,
    /// Never answers.
    Hangs,
    /// Stores, and then the answer is lost.
    LosesAnswers,
    /// Knows no conditional writes.
    Plain,
    /// Stores half of it and says that all is well.
    Halves,
    /// Removes nothing and says that it did.
    KeepsRemoved,
    /// Removes nothing and says so.
    RefusesToRemove,
    /// Asked to remove something, it never answers.
    HangsOnRemoval,
    /// Asked for a segment, it never answers.
    HangsOnSegments,
}

#[derive(Debug)]
pub struct Moody {
    inner: InMemory,
    mood: Mutex<Mood>,
    /// The most that was read of one object.
    most: Arc<AtomicU64>,
}

impl Moody {
    /// The most that was read of one object since this was asked before.
    pub fn most_read(&self) -> u64 {
        self.most.swap(0, Ordering::Relaxed)
    }

    pub fn set(&self, mood: Mood) {
        *self.mood.lock() = mood;
    }
}

impl fmt::Display for Moody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("moody")
    }
}

fn broken() -> Error {
    Error::Generic {
        store: "moody",
        source: "injected".into(),
    }
}

#[async_trait]
impl ObjectStore for Moody {
    async fn put_opts(&self, at: &Path, bytes: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let mood = *self.mood.lock();
        match mood {
            Mood::Well
            | Mood::KeepsRemoved
            | Mood::RefusesToRemove
            | Mood::HangsOnRemoval
            | Mood::HangsOnSegments => self.inner.put_opts(at, bytes, opts).await,
            Mood::Away => Err(broken()),
            Mood::Hangs => std::future::pending().await,
            Mood::LosesAnswers => {
                self.inner.put_opts(at, bytes, opts).await?;
                Err(broken())
            }
            Mood::Plain if opts.mode == PutMode::Create => Err(Error::NotImplemented {
                operation: "conditional put".into(),
                implementer: "moody".into(),
            }),
            Mood::Plain => self.inner.put_opts(at, bytes, opts).await,
            Mood::Halves => {
                let all: Vec<u8> = bytes.iter().flatten().copied().collect();
                let half = all[..all.len() / 2].to_vec();
                self.inner.put_opts(at, half.into(), opts).await
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(broken())
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        if *self.mood.lock() == Mood::Away {
            return Err(broken());
        }
        if *self.mood.lock() == Mood::HangsOnSegments && at.as_ref().ends_with(".rec") {
            return std::future::pending().await;
        }
        let got = self.inner.get_opts(at, options).await?;
        let (meta, range, attributes) =
            (got.meta.clone(), got.range.clone(), got.attributes.clone());
        let (most, mut read) = (self.most.clone(), 0);
        let stream = got.into_stream().inspect_ok(move |chunk| {
            read += chunk.len() as u64;
            most.fetch_max(read, Ordering::Relaxed);
        });
        Ok(GetResult {
            payload: GetResultPayload::Stream(stream.boxed()),
            meta,
            range,
            attributes,
            extensions: Default::default(),
        })
    }

    fn delete_stream(
        &self,
        at: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        match *self.mood.lock() {
            Mood::KeepsRemoved => at,
            Mood::HangsOnRemoval => Box::pin(futures::stream::pending()),
            Mood::Away | Mood::RefusesToRemove => Box::pin(at.map(|_| Err(broken()))),
            _ => self.inner.delete_stream(at),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

pub fn moody(mood: Mood) -> Arc<Moody> {
    Arc::new(Moody {
        inner: InMemory::new(),
        mood: Mutex::new(mood),
        most: Arc::default(),
    })
}

pub async fn open(dir: &TempDir, store: &Arc<Moody>, spool_bytes: u64) -> Recorder {
    let mut options = dir.options();
    options.limits.spool_bytes = spool_bytes;
    options.limits.upload_timeout = Duration::from_millis(300);
    let objects = Objects::new(store.clone(), "some/prefix");
    let (recorder, _) = Recorder::open_with(options, objects, Arc::new(crate::disk::RealDisk))
        .await
        .unwrap();
    recorder
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_do_not_notice_a_store_that_is_ill() {
    for mood in [Mood::Away, Mood::Hangs, Mood::LosesAnswers, Mood::Plain] {
        let dir = TempDir::new();
        let store = moody(mood);
        let recorder = open(&dir, &store, 64 << 20).await;
        let began = Instant::now();
        for _ in 0..5 {
            session(&recorder, 5, 2000).await;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "{mood:?}");
        tokio::time::sleep(Duration::from_millis(400)).await;
        if matches!(mood, Mood::Away | Mood::Hangs) {
            assert_eq!(recorder.stats().stored_segments, 0);
            assert!(recorder.stats().pending_segments >= 5);
        }
        *store.mood.lock() = Mood::Well;
        let done = recorder.shutdown(SHORT).await;
        assert_eq!((done.pending_segments, done.sealed), (0, true), "{mood:?}");
        let reader = Store::new(Objects::new(store, "some/prefix")).with_keys(dir.wrap(), None);
        let report = verify_store(&reader, &VerifyOptions::default())
            .await
            .unwrap();
        assert_eq!(report.findings, [], "{mood:?}");
        assert_eq!(report.complete, 5);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_segments_survive_a_restart() {
    let dir = TempDir::new();
    let store = moody(Mood::Away);
    let recorder = open(&dir, &store, 64 << 20).await;
    let id = session(&recorder, 5, 20_000).await;
    let left = recorder.shutdown(Duration::from_millis(200)).await;
    assert!(left.pending_segments > 0 && left.sealed);
    drop(recorder);
    *store.mood.lock() = Mood::Well;
    let recorder = open(&dir, &store, 64 << 20).await;
    assert_eq!(recorder.shutdown(SHORT).await.pending_segments, 0);
    let reader = Store::new(Objects::new(store, "some/prefix")).with_keys(dir.wrap(), None);
    let report = verify_store(&reader, &VerifyOptions::default())
        .await
        .unwrap();
    assert_eq!(report.findings, []);
    let found = crate::replay(
        &reader,
        id,
        &crate::ReplayOptions::default(),
        &mut Vec::new(),
    )
    .await
    .unwrap();
    assert!(found.complete);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_spool_refuses_and_recovers() {
    let dir = TempDir::new();
    let store = moody(Mood::Away);
    let recorder = open(&dir, &store, 1 << 20).await;
    let journal = recorder.open(start()).await.unwrap();
    let mut full = None;
    for seq in 0..200 {
        if let Err(e) = journal.intent(intent(seq, "select 1")).await {
            full = Some(e);
            break;
        }
        // A result that is on its way may use the headroom, but not without end.
        match journal
            .bytes(seq, Direction::ToClient, noise(seq, 30_000))
            .await
        {
            Ok(()) => {}
            Err(e) => {
                full = Some(e);
                break;
            }
        }
        journal.outcome(outcome(seq)).await.unwrap();
    }
    assert!(
        matches!(full, Some(JournalError::SpoolFull { .. })),
        "{full:?}"
    );
    // A log file can go meanwhile, of which everything is in segments: that makes room for a little more.
    let mut refused = None;
    for seq in 0..200 {
        match recorder.open(start()).await {
            Ok(more) => {
                more.bytes(seq, Direction::ToClient, noise(seq, 30_000))
                    .await
                    .ok();
                more.close(end()).await.unwrap();
            }
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    assert!(
        matches!(refused, Some(JournalError::SpoolFull { .. })),
        "{refused:?}"
    );
    assert!(journal.held(held(200, "select 1")).await.is_err());
    // What has begun can still be ended.
    journal.close(end()).await.unwrap();
    assert!(recorder.stats().wal_bytes + recorder.stats().pending_bytes < 2 << 20);

    *store.mood.lock() = Mood::Well;
    assert!(recorder.flush(SHORT).await);
    let mut again = None;
    for _ in 0..100 {
        match recorder.open(start()).await {
            Ok(journal) => {
                again = Some(journal);
                break;
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    let again = again.expect("there is room again");
    again.intent(intent(0, "select 1")).await.unwrap();
    again.close(end()).await.unwrap();
    recorder.shutdown(SHORT).await;
    let reader = Store::new(Objects::new(store, "some/prefix")).with_keys(dir.wrap(), None);
    let report = verify_store(&reader, &VerifyOptions::default())
        .await
        .unwrap();
    assert_eq!(report.findings, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_bytes_into_a_full_spool_end_the_session() {
    let dir = TempDir::new();
    let store = moody(Mood::Away);
    let recorder = open(&dir, &store, 1 << 20).await;
    let journal = recorder.open(start()).await.unwrap();
    journal
        .intent(intent(0, "copy big to stdout"))
        .await
        .unwrap();
    let result = journal
        .bytes(0, Direction::ToClient, noise(9, 8 << 20))
        .await;
    assert!(
        matches!(result, Err(JournalError::SpoolFull { .. })),
        "{result:?}"
    );
    assert!(journal.failed().is_cancelled());
    assert!(!recorder.failed().is_cancelled());
    assert_eq!(
        journal.intent(intent(1, "select 1")).await,
        Err(JournalError::Closed)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_cuts_objects_is_not_believed() {
    let dir = TempDir::new();
    let store = moody(Mood::Halves);
    let recorder = open(&dir, &store, 64 << 20).await;
    session(&recorder, 3, 1000).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let stats = recorder.stats();
    assert_eq!(stats.stored_segments, 0);
    assert!(stats.pending_segments > 0 && stats.store_failures > 0);
    // The keys hold something else now. That is replaced, and told of.
    *store.mood.lock() = Mood::Well;
    eventually("a segment", || recorder.stats().stored_segments > 0).await;
    let done = recorder.shutdown(SHORT).await;
    assert_eq!((done.pending_segments, done.sealed), (0, true));
    let reader = Store::new(Objects::new(store, "some/prefix")).with_keys(dir.wrap(), None);
    let report = verify_store(&reader, &VerifyOptions::default())
        .await
        .unwrap();
    assert_eq!(report.severity(), crate::Severity::Gap, "{report:?}");
    assert!(report.complete == 1 && report.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_waiting_segment_is_put_aside() {
    let dir = TempDir::new();
    let store = moody(Mood::Away);
    let recorder = open(&dir, &store, 64 << 20).await;
    session(&recorder, 3, 1000).await;
    recorder.shutdown(Duration::from_millis(100)).await;
    drop(recorder);
    let waiting: Vec<_> = objects(&dir.spool().join("segments"))
        .into_iter()
        .filter(|p| p.to_string_lossy().contains("/rec_"))
        .collect();
    let mut bytes = std::fs::read(&waiting[0]).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&waiting[0], bytes).unwrap();
    *store.mood.lock() = Mood::Well;
    let recorder = open(&dir, &store, 64 << 20).await;
    recorder.flush(SHORT).await;
    assert_eq!(recorder.stats().quarantined_segments, 1);
    recorder.shutdown(SHORT).await;
    assert_eq!(objects(&dir.spool().join("quarantine")).len(), 1);
    let reader = Store::new(Objects::new(store, "some/prefix")).with_keys(dir.wrap(), None);
    let report = verify_store(&reader, &VerifyOptions::default())
        .await
        .unwrap();
    assert!(
        !report.is_ok(),
        "its anchor says that it is missing: {report:?}"
    );
}
