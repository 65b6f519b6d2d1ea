//! All stored records again, for whoever follows the log (`follow`) and has lost what it had.

use async_trait::async_trait;

use crate::follow::Followed;
use crate::objects::StoreError;
use crate::store::{Days, ReadError, Store};

#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Whoever takes the records cannot.
    #[error("{0}")]
    Take(String),
}

/// Takes the records of stored segments, one segment after the other.
#[async_trait]
pub trait TakeHistory: Send {
    async fn take(&mut self, key: &str, records: Vec<Followed>) -> Result<(), String>;
}

/// Hands over the records of every stored segment, stream by stream; `to` gets the segment's key with
/// them. Begins behind the segment with the key `after`. A segment that cannot be read (its content was
/// erased, or is damaged) is told of and left out. Returns how many were left out.
pub async fn history(
    store: &Store,
    days: Days,
    after: Option<&str>,
    to: &mut dyn TakeHistory,
) -> Result<u64, HistoryError> {
    let mut unread = 0;
    for control in [true, false] {
        let (mut keys, _) = store.list(control, days).await?;
        keys.sort_by_key(|(key, _)| key.to_string());
        for (key, _) in keys {
            let name = key.to_string();
            if after.is_some_and(|after| *name <= *after) {
                continue;
            }
            let records = match store.segment(&key).await {
                Ok(segment) => segment.records().filter_map(|r| Followed::of(&r)).collect(),
                Err(ReadError::Store(error)) => return Err(error.into()),
                Err(error @ ReadError::KeyStore { .. }) => {
                    return Err(HistoryError::Take(error.to_string()));
                }
                Err(error) => {
                    tracing::warn!(%error, "a stored segment cannot be indexed");
                    unread += 1;
                    Vec::new()
                }
            };
            to.take(&name, records).await.map_err(HistoryError::Take)?;
        }
    }
    Ok(unread)
}
