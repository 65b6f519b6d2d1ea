//! Public keys that people register to come in by over SSH.
//!
//! The authority decides with what it has in memory; the store has the same, for the next start. What lets
//! somebody in is kept before it is in force, what does not any more is in force before it is kept.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pipeline::{Protocol, SessionInfo};
use weir_client::{SshKey, Timestamp};

use crate::error::{ApiError, ControlError};
use crate::guard::Recorded;
use crate::ports::{CheckedKey, SshKeys};
use crate::store::{KeyLimits, KeyPut, KeyRow, Store, StoreError, write_is_over};

/// Keys that are kept of all people.
const MAX_KEYS: u32 = 50_000;
/// Keys in one answer: the newest.
const MAX_LISTED: u32 = 1_000;

pub(crate) struct Keys {
    store: Arc<dyn Store>,
}

impl Keys {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Puts into force again what the store has. By what cannot be, nobody comes in.
    pub(crate) async fn restore(
        &self,
        keys: &dyn SshKeys,
        now: SystemTime,
    ) -> Result<(), ControlError> {
        let now = Timestamp::from(now).millis();
        for row in self.store.ssh_keys(None, MAX_KEYS).await? {
            if row.expires_at <= now {
                continue;
            }
            let (since, ends) = (time(row.registered_at), time(row.expires_at));
            if let Err(error) = keys.register(&row.public_key, &row.kept, since, ends) {
                tracing::warn!(
                    fingerprint = row.fingerprint,
                    subject = row.subject,
                    %error,
                    "a registered key does not count any more"
                );
            }
        }
        Ok(())
    }

    /// In force when it returns `Ok`, and only then. It may have been for a moment when it does not: `end` ends the
    /// sessions that came in by it then.
    pub(crate) async fn register(
        &self,
        recorded: &Recorded,
        keys: &dyn SshKeys,
        key: CheckedKey,
        name: String,
        end: impl Fn(&str) + Send,
    ) -> Result<SshKey, ApiError> {
        let at = Timestamp::from(recorded.at());
        let row = KeyRow {
            fingerprint: key.fingerprint,
            public_key: key.public_key,
            subject: recorded.by().actor.subject.to_string(),
            name,
            kept: key.kept,
            token: recorded.by().token_id.clone(),
            registered_at: at.millis(),
            expires_at: Timestamp::from(key.ends).millis(),
        };
        let limits = KeyLimits {
            per_subject: keys.per_person(),
            total: MAX_KEYS,
        };
        match self.put(&row, limits).await? {
            KeyPut::Yes => {}
            KeyPut::SomebodyElses => {
                return Err(ApiError::conflict("somebody else has registered this key")
                    .hint("A key is one person's. Make one of your own: ssh-keygen -t ed25519"));
            }
            KeyPut::TooMany(many) => {
                return Err(ApiError::conflict(format!(
                    "{many} keys are registered for you, and no more can be"
                ))
                .hint("Remove one that you do not use: weir ssh key remove."));
            }
            KeyPut::Full(many) => {
                return Err(ApiError::insufficient_storage(format!(
                    "{many} keys are registered, and no more can be"
                )));
            }
        }
        // As after a start: what was kept counts, as far as it can be read again.
        let (since, ends) = (time(row.registered_at), time(row.expires_at));
        if let Err(error) = keys.register(&row.public_key, &row.kept, since, ends) {
            let gone = self.store.remove_ssh_key(&row.fingerprint, &row.subject);
            if let Err(error) = gone.await {
                tracing::error!(%error, "a key that was not registered is kept");
            }
            return Err(error);
        }
        // Removed meanwhile: whoever did that has forgotten it, and ended its sessions, perhaps before it was in force.
        let error = match self.is_of(&row.fingerprint, &row.subject).await {
            Ok(true) => return Ok(shown(row)),
            Ok(false) => ApiError::conflict("the key was removed or revoked meanwhile"),
            Err(error) => error,
        };
        keys.forget(&row.fingerprint);
        end(&row.fingerprint);
        // It is not to count after a start, either.
        if let Err(error) = self
            .store
            .remove_ssh_key(&row.fingerprint, &row.subject)
            .await
        {
            tracing::error!(%error, "a key that was not registered is kept");
        }
        Err(error)
    }

    /// A store that did not answer may have kept it all the same: that is found out.
    async fn put(&self, row: &KeyRow, limits: KeyLimits) -> Result<KeyPut, ApiError> {
        let error = match self.store.put_ssh_key(row.clone(), limits).await {
            Ok(put) => return Ok(put),
            Err(error) => error,
        };
        let late = matches!(error, StoreError::Timeout);
        if late && !write_is_over(&*self.store).await {
            tracing::error!(%error, fingerprint = row.fingerprint, "nobody knows if a key is kept");
            return Err(ApiError::unavailable(
                "the key does not count now, and may be kept for after a start: the state store does not answer",
            )
            .hint("See what weir ssh key list says of it later: remove it, or register it again.")
            .goes_on());
        }
        let rows = self.store.ssh_keys(Some(&row.subject), MAX_LISTED).await;
        match rows.is_ok_and(|rows| rows.contains(row)) {
            true => Ok(KeyPut::Yes),
            false => Err(error.into()),
        }
    }

    /// It counts no more when this returns, whatever it returns, if it is one of the caller's own.
    pub(crate) async fn remove(
        &self,
        recorded: &Recorded,
        keys: &dyn SshKeys,
        fingerprint: &str,
    ) -> Result<(), ApiError> {
        keys.forget(fingerprint);
        let subject = &recorded.by().actor.subject;
        let removed = self.store.remove_ssh_key(fingerprint, subject).await;
        // Whoever was registering it may have put it into force in between.
        keys.forget(fingerprint);
        match removed {
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::error!(%error, fingerprint, "a key that was removed is still kept");
                Err(ApiError::unavailable(
                    "the key does not count until Weir ends, but it is kept: the state store cannot answer",
                )
                .hint("Remove it again.")
                .goes_on())
            }
        }
    }

    /// Fingerprints of all that are kept.
    pub(crate) async fn kept(&self) -> Result<BTreeSet<String>, StoreError> {
        let rows = self.store.ssh_keys(None, MAX_KEYS).await?;
        Ok(rows.into_iter().map(|row| row.fingerprint).collect())
    }

    /// Has this person registered it?
    pub(crate) async fn is_of(&self, fingerprint: &str, subject: &str) -> Result<bool, ApiError> {
        let rows = self.store.ssh_keys(Some(subject), MAX_LISTED).await?;
        Ok(rows.iter().any(|row| row.fingerprint == fingerprint))
    }

    /// Those that count at this time, newest first.
    pub(crate) async fn list(
        &self,
        subject: Option<&str>,
        now: SystemTime,
    ) -> Result<Vec<SshKey>, ApiError> {
        let now = Timestamp::from(now).millis();
        let rows = self.store.ssh_keys(subject, MAX_LISTED).await?.into_iter();
        Ok(rows.filter(|row| row.expires_at > now).map(shown).collect())
    }
}

fn time(millis: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(millis)
}

fn shown(row: KeyRow) -> SshKey {
    SshKey {
        fingerprint: row.fingerprint,
        public_key: row.public_key,
        name: row.name,
        subject: row.subject,
        registered_at: Timestamp::from_millis(row.registered_at),
        expires_at: Timestamp::from_millis(row.expires_at),
    }
}

/// Did whoever has this session come in by this key alone? As `proto-ssh` has it in the session's start.
pub(crate) fn came_by_key(info: &SessionInfo, fingerprint: &str) -> bool {
    let says = |name: &str, value: &str| info.attrs.get(name).is_some_and(|said| said == value);
    info.target.protocol == Protocol::Ssh && says("login", "key") && says("key", fingerprint)
}
