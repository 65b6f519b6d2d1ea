//! The uploader: a few tasks that store sealed segments, again and again until the store has them.
//! A store that is slow or away stalls nobody until the spool is full. A segment that cannot be stored is tried
//! again after a while, and holds up no other meanwhile.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::crypt::container;
use crate::crypt::files::{KeyFiles, UploadError};
use crate::keys::SegmentKey;
use crate::objects::{Before, Objects};
use crate::pending::{Next, Pending, ReadError};
use crate::state::State;

const FIRST_BACKOFF: Duration = Duration::from_millis(100);

#[derive(Clone)]
pub struct Uploader {
    pub state: Arc<State>,
    pub pending: Arc<Pending>,
    pub objects: Objects,
    pub keys: Arc<KeyFiles>,
    pub control: u128,
    pub stop: CancellationToken,
}

/// What became of a segment.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Done {
    /// There is nothing more to do for it.
    Stored,
    /// It cannot be stored now. That says nothing of others.
    NotNow,
    /// The store does not answer, or not as it should: others would fare no better.
    Away,
}

impl Uploader {
    /// Tasks end when `stop` is cancelled; a segment on its way stays in the spool until the store
    /// is known to have it.
    pub fn spawn(self, tasks: &TaskTracker) {
        for _ in 0..self.state.limits.uploads {
            let worker = self.clone();
            tasks.spawn(async move {
                let stop = worker.stop.clone();
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = worker.work() => {}
                }
            });
        }
        // Of streams that are stored to their ends, but for the last word about it.
        let left = self.keys.waiting();
        tasks.spawn(async move {
            let stop = self.stop.clone();
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.store_keys(left) => {}
            }
        });
    }

    async fn store_keys(&self, left: Vec<Uuid>) {
        let limit = self.state.limits.upload_timeout;
        let mut left = VecDeque::from(left);
        while let Some(stream) = left.pop_front() {
            match tokio::time::timeout(limit, self.store_key(stream)).await {
                Ok(Ok(())) => continue,
                Ok(Err(UploadError::Missing(_))) => {
                    // It was erased meanwhile, or somebody took it.
                    tracing::warn!(%stream, "a key that waited for the store is not in the spool any more");
                    continue;
                }
                // The others do not wait for it.
                Ok(Err(_)) | Err(_) => left.push_back(stream),
            }
            tokio::time::sleep(self.state.limits.upload_backoff).await;
        }
    }

    async fn work(&self) {
        let mut failures = 0u32;
        loop {
            let waiting = self.pending.work.notified();
            let key = match self.pending.take(Instant::now()) {
                Next::Segment(key) => key,
                Next::Nothing => {
                    waiting.await;
                    continue;
                }
                Next::At(due) => {
                    tokio::time::timeout_at(due.into(), waiting).await.ok();
                    continue;
                }
            };
            // One notification may stand for several segments.
            self.pending.work.notify_one();
            let done = self.store(key).await;
            if done != Done::Stored {
                let pause = |failures| self.backoff(failures, &key);
                self.pending.again(key, Instant::now(), pause);
            }
            if done == Done::Away {
                failures = failures.saturating_add(1);
                tokio::time::sleep(self.backoff(failures, &key)).await;
            } else {
                failures = 0;
            }
        }
    }

    /// Twice as long after each failure, up to the limit, and a little different per segment so that
    /// replicas do not come back all at once.
    fn backoff(&self, failures: u32, key: &SegmentKey) -> Duration {
        let limit = self.state.limits.upload_backoff;
        let doubled = FIRST_BACKOFF.saturating_mul(1 << failures.min(20).saturating_sub(1));
        let [jitter, ..] = key.sha256;
        let pause = doubled.min(limit);
        pause.mul_f64(0.5 + f64::from(jitter) / 512.0)
    }

    async fn store(&self, key: SegmentKey) -> Done {
        let bytes = match self.pending.take_fresh(&key) {
            Some(bytes) => bytes,
            None => match self.read(key).await {
                Ok(bytes) => bytes,
                Err(done) => return done,
            },
        };
        let name = key.to_string();
        let limit = self.state.limits.upload_timeout;
        let stored = tokio::time::timeout(limit, self.put(&key, &name, bytes)).await;
        let (error, is_away) = match stored {
            Ok(Ok(before)) => {
                self.pending.stored(&key);
                if before == Before::Other {
                    let what = format!("{key} had other content in the store, and was replaced");
                    self.gap(what, Some(key.file_name()));
                }
                let counters = &self.state.counters;
                counters.stored.fetch_add(1, Ordering::Relaxed);
                return Done::Stored;
            }
            Ok(Err(error)) => (error.to_string(), error.is_away()),
            Err(_) => (format!("no answer within {limit:?}"), true),
        };
        let counters = &self.state.counters;
        counters.store_failures.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(%key, %error, "a segment is not stored yet; it stays in the spool");
        match is_away {
            true => Done::Away,
            false => Done::NotNow,
        }
    }

    /// From its file. An error: nothing can be stored of it, at least now.
    async fn read(&self, key: SegmentKey) -> Result<Bytes, Done> {
        let pending = self.pending.clone();
        match tokio::task::spawn_blocking(move || pending.read(&key)).await {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) if error.is_final() => Err(self.damaged(&key, &error)),
            Ok(Err(error)) => {
                tracing::warn!(%key, %error, "a waiting segment cannot be read now");
                Err(Done::NotNow)
            }
            Err(error) => {
                tracing::error!(%key, %error, "reading a waiting segment was interrupted");
                Err(Done::NotNow)
            }
        }
    }

    /// The stream's key first: a segment without it would be lost with the spool. The key is never locked, so
    /// that the session can be erased, however long its segments are kept.
    async fn put(&self, key: &SegmentKey, name: &str, bytes: Bytes) -> Result<Before, UploadError> {
        if !container::is_sealed(&bytes) {
            return Ok(self.objects.put_for_good(name, bytes).await?);
        }
        self.store_key(key.stream).await?;
        let (header, _) = container::read_header(&bytes)?;
        let objects = self.objects.keeping(header.retention_days)?;
        Ok(objects.put_for_good(name, bytes).await?)
    }

    async fn store_key(&self, stream: Uuid) -> Result<(), UploadError> {
        if self.keys.store(&self.objects, stream).await? == Before::Other {
            let what =
                format!("the key of {stream} had other content in the store, and was replaced");
            self.gap(what, None);
        }
        Ok(())
    }

    fn damaged(&self, key: &SegmentKey, error: &ReadError) -> Done {
        tracing::error!(%key, %error, "a waiting segment is damaged; it is put aside");
        self.pending.quarantine(key);
        let what = format!("the waiting segment {key} is damaged: {error}");
        self.gap(what, Some(key.file_name()));
        Done::Stored
    }

    fn gap(&self, what: String, file: Option<String>) {
        self.state.post_gap(self.control, what, file);
    }
}
