//! Short tokens for SSH: random numbers that stand for a token, each kept as its hash, and found by it.
//!
//! The store alone knows them: when it does not answer, nobody comes in by one. That everything of a person was
//! revoked is the authority's to know, which is asked about whoever is found here. A single one that is to count no
//! more is gone from the store; where that fails, it is remembered here that it does not.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use pipeline::{Protocol, SessionInfo};
use weir_client::{SshToken, SshTokenInfo, Timestamp};

use crate::control::Shared;
use crate::error::ApiError;
use crate::guard::Recorded;
use crate::ports::MadeToken;
use crate::store::{KeyLimits, Store, StoreError, TokenPut, TokenRow};

/// Tokens of one principal that count at the same time.
pub(crate) const PER_PERSON: u32 = 50;
/// Tokens of all.
pub(crate) const MAX_TOKENS: u32 = 50_000;
/// Tokens in one answer: the newest.
const MAX_LISTED: u32 = 1_000;
/// Tokens that count no more though the store has them.
const MAX_ENDED: usize = 10_000;
/// What the `token_id` of whoever came in by one begins with.
const PREFIX: &str = "short:";

pub(crate) struct Tokens {
    store: Arc<dyn Store>,
    /// Names of those that count no more, as long as the store may have them.
    ended: Mutex<BTreeSet<String>>,
}

impl Tokens {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            ended: Mutex::default(),
        }
    }

    /// Keeps it; it counts when this returns `Ok`, and only then.
    pub(crate) async fn keep(
        &self,
        recorded: &Recorded,
        made: MadeToken,
    ) -> Result<SshToken, ApiError> {
        let row = TokenRow {
            hash: made.hash,
            id: made.answer.id.clone(),
            subject: recorded.by().actor.subject.to_string(),
            token: recorded.by().token_id.clone(),
            kept: made.kept,
            source: made.answer.source.clone(),
            issued_at: Timestamp::from(recorded.at()).millis(),
            expires_at: made.answer.expires_at.millis(),
        };
        let limits = KeyLimits {
            per_subject: PER_PERSON,
            total: MAX_TOKENS,
        };
        match self.store.put_ssh_token(row, limits).await? {
            TokenPut::Yes => Ok(made.answer),
            TokenPut::TooMany(many) => Err(ApiError::conflict(format!(
                "{many} short tokens of yours count at the moment, and no more can"
            ))
            .hint(
                "End one that you do not use: weir ssh token list, then weir ssh token revoke ID. \
                 Shorter ones end by themselves: weir ssh token --minutes 10.",
            )),
            TokenPut::Full(many) => Err(ApiError::insufficient_storage(format!(
                "{many} short tokens count at the moment, and no more can"
            ))),
        }
    }

    /// Those that count at this time, newest first.
    pub(crate) async fn list(
        &self,
        subject: Option<&str>,
        now: SystemTime,
    ) -> Result<Vec<SshTokenInfo>, ApiError> {
        let now = Timestamp::from(now).millis();
        let mut rows = self.store.ssh_tokens(subject, MAX_LISTED).await?;
        rows.retain(|row| row.expires_at > now && !self.is_ended(&row.id));
        Ok(rows.into_iter().map(shown).collect())
    }

    /// Whose it is, if it counts at this time.
    pub(crate) async fn owner(
        &self,
        id: &str,
        now: SystemTime,
    ) -> Result<Option<String>, ApiError> {
        let row = self.called(id, now).await?;
        Ok(row.map(|row| row.subject))
    }

    async fn called(&self, id: &str, now: SystemTime) -> Result<Option<TokenRow>, StoreError> {
        let now = Timestamp::from(now).millis();
        let row = self.store.ssh_token_called(id).await?;
        Ok(row.filter(|row| row.expires_at > now && !self.is_ended(id)))
    }

    /// It counts no more when this returns, but where the error says so. Sessions are for the caller to end.
    pub(crate) async fn remove(&self, _: &Recorded, id: &str) -> Result<(), ApiError> {
        let remembered = {
            let mut ended = self.ended.lock();
            let room = ended.len() < MAX_ENDED;
            if room {
                ended.insert(id.to_owned());
            }
            room
        };
        match (self.store.remove_ssh_token(id).await, remembered) {
            (Ok(_), _) => {
                self.ended.lock().remove(id);
                Ok(())
            }
            (Err(error), true) => {
                tracing::error!(%error, id, "a short token that was revoked is still kept");
                Err(ApiError::unavailable(
                    "the token does not count until Weir ends, but it is kept: the state store cannot answer",
                )
                .hint("Revoke it again.")
                .goes_on())
            }
            (Err(error), false) => {
                tracing::error!(%error, id, "a short token that is to be revoked may still count");
                Err(ApiError::unavailable(
                    "the token may still count: the state store cannot answer",
                )
                .hint("Revoke it again, or all of its principal: weir ssh revoke --subject."))
            }
        }
    }

    fn is_ended(&self, id: &str) -> bool {
        self.ended.lock().contains(id)
    }
}

fn shown(row: TokenRow) -> SshTokenInfo {
    SshTokenInfo {
        id: row.id,
        subject: row.subject,
        source: row.source,
        issued_at: Timestamp::from_millis(row.issued_at),
        expires_at: Timestamp::from_millis(row.expires_at),
    }
}

/// The name of the short token by which whoever has this session came in.
pub(crate) fn came_by_token(info: &SessionInfo) -> Option<&str> {
    let over_ssh = info.target.protocol == Protocol::Ssh;
    let id = info.principal.token_id.as_deref().filter(|_| over_ssh)?;
    id.strip_prefix(PREFIX)
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
        let row = row.filter(|row| !self.shared.tokens.is_ended(&row.id));
        Ok(row.map(|row| KeptToken {
            kept: row.kept,
            source: row.source,
            since: time(row.issued_at),
            ends: time(row.expires_at),
        }))
    }

    /// Is the one with this name there still?
    pub async fn counts(&self, id: &str) -> Result<bool, StoreError> {
        let now = self.shared.clock.now();
        Ok(self.shared.tokens.called(id, now).await?.is_some())
    }
}

fn time(millis: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(millis)
}
