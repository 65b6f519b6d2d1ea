//! A recorder whose sessions say what a test tells them to.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use pipeline::SessionId;
use tokio::sync::mpsc;

use crate::{ApiError, WatchSessions, WatchedLines, WatchedSession};

/// Gives what was prepared, in turn; a watch that nobody has prepared is over at once.
#[derive(Default)]
pub(crate) struct FakeWatch {
    prepared: Mutex<VecDeque<mpsc::Receiver<WatchedLines>>>,
    /// Watches that were begun, and those of them that are not dropped yet.
    pub(crate) begun: AtomicUsize,
    pub(crate) open: Arc<AtomicUsize>,
    /// Pieces that were taken.
    pub(crate) taken: Arc<AtomicUsize>,
    pub(crate) refuses: Mutex<Option<ApiError>>,
}

impl FakeWatch {
    /// What the next watch will show.
    pub(crate) fn prepare(&self) -> mpsc::Sender<WatchedLines> {
        let (send, receive) = mpsc::channel(1_000);
        self.prepared.lock().push_back(receive);
        send
    }

    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::SeqCst)
    }
}

/// One record, as a line.
pub(crate) fn one(text: &str) -> WatchedLines {
    WatchedLines {
        lines: format!("{{\"kind\":\"intent\",\"lines\":[{text:?}]}}\n").into(),
        records: 1,
    }
}

impl WatchSessions for FakeWatch {
    fn watch(&self, _: SessionId, _: bool) -> Result<Box<dyn WatchedSession>, ApiError> {
        if let Some(error) = self.refuses.lock().clone() {
            return Err(error);
        }
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.open.fetch_add(1, Ordering::SeqCst);
        let receive = self.prepared.lock().pop_front();
        Ok(Box::new(FakeWatched {
            receive: receive.unwrap_or_else(|| mpsc::channel(1).1),
            open: self.open.clone(),
            taken: self.taken.clone(),
        }))
    }
}

struct FakeWatched {
    receive: mpsc::Receiver<WatchedLines>,
    open: Arc<AtomicUsize>,
    taken: Arc<AtomicUsize>,
}

impl Drop for FakeWatched {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl WatchedSession for FakeWatched {
    async fn next(&mut self) -> Option<WatchedLines> {
        let lines = self.receive.recv().await?;
        self.taken.fetch_add(1, Ordering::SeqCst);
        Some(lines)
    }
}
