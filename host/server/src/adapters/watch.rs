//! The recorder as the place where sessions are watched.

use std::sync::Arc;

use async_trait::async_trait;
use control::{ApiError, WatchSessions, WatchedLines, WatchedSession};
use pipeline::SessionId;
use recorder::{Recorder, Watch, WatchError};

/// When a place may be free again.
const RETRY_AFTER: u32 = 30;

pub(crate) struct Watching(pub(crate) Arc<Recorder>);

impl WatchSessions for Watching {
    fn watch(&self, session: SessionId, text: bool) -> Result<Box<dyn WatchedSession>, ApiError> {
        match self.0.watch(session.0, text) {
            Ok(watch) => Ok(Box::new(Watched(watch))),
            Err(error @ WatchError::NotLive) => Err(ApiError::not_found(error.to_string())),
            Err(error @ (WatchError::TooManyOfOne | WatchError::TooMany)) => {
                Err(ApiError::too_many(error.to_string()).retry_after(RETRY_AFTER))
            }
        }
    }
}

struct Watched(Watch);

#[async_trait]
impl WatchedSession for Watched {
    async fn next(&mut self) -> Option<WatchedLines> {
        let next = self.0.next().await?;
        Some(WatchedLines {
            lines: next.lines.into(),
            records: next.records,
        })
    }
}
