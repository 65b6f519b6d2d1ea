//! Short tokens for SSH: random numbers that stand for a token, each kept as its hash, and found by it.
//!
//! The store alone knows them: when it does not answer, nobody comes in by one. That everything of a person was
//! revoked is the authority's to know, which is asked about whoever is found here.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use weir_client::{SshToken, Timestamp};

use crate::control::Shared;
use crate::error::ApiError;
use crate::guard::Recorded;
use crate::ports::MadeToken;
use crate::store::{KeyLimits, Store, StoreError, TokenPut, TokenRow};

/// Tokens of one person that count at the same time.
pub(crate) const PER_PERSON: u32 = 50;
/// Tokens of all.
const MAX_TOKENS: u32 = 50_000;

/// Keeps it; it counts when this returns `Ok`, and only then.
pub(crate) async fn keep(
    store: &Arc<dyn Store>,
    recorded: &Recorded,
    made: MadeToken,
) -> Result<SshToken, ApiError> {
    let row = TokenRow {
        hash: made.hash,
        subject: recorded.by().actor.subject.to_string(),
        kept: made.kept,
        source: made.answer.source.clone(),
        issued_at: Timestamp::from(recorded.at()).millis(),
        expires_at: made.answer.expires_at.millis(),
    };
    let limits = KeyLimits {
        per_subject: PER_PERSON,
        total: MAX_TOKENS,
    };
    match store.put_ssh_token(row, limits).await? {
        TokenPut::Yes => Ok(made.answer),
        TokenPut::TooMany(many) => Err(ApiError::conflict(format!(
            "{many} short tokens of yours count at the moment, and no more can"
        ))
        .hint("Use one until it ends, or ask for shorter ones: weir ssh token --minutes 10.")),
        TokenPut::Full(many) => Err(ApiError::insufficient_storage(format!(
            "{many} short tokens count at the moment, and no more can"
        ))),
    }
}

/// A token that is kept. Whether it counts is for whoever asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptToken {
    /// Who comes in by it, as the authority describes it.
    pub kept: String,
    /// The only network from where it counts; none: from anywhere.
    pub source: Option<String>,
    pub since: SystemTime,
    pub ends: SystemTime,
}

/// Where short tokens are found.
#[derive(Clone)]
pub struct TokenDesk {
    pub(crate) shared: Shared,
}

impl TokenDesk {
    pub async fn find(&self, hash: [u8; 32]) -> Result<Option<KeptToken>, StoreError> {
        let row = self.shared.store.ssh_token(hash).await?;
        Ok(row.map(|row| KeptToken {
            kept: row.kept,
            source: row.source,
            since: time(row.issued_at),
            ends: time(row.expires_at),
        }))
    }
}

fn time(millis: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(millis)
}
