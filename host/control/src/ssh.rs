//! Logins over SSH: what was revoked.
//!
//! The authority decides with what it has in memory; the store has the same, for the next start. What makes
//! things stricter is in force before it is kept, and stays in force when it cannot be.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pipeline::{Principal, Protocol, SessionInfo};
use uuid::Uuid;
use weir_client::{SshCredentialKind, SshRevocation, Timestamp};

use crate::control::Inner;
use crate::convert;
use crate::error::{ApiError, ControlError};
use crate::guard::Recorded;
use crate::ports::{IssuedCertificate, SshAuthority};
use crate::ssh_keys::came_by_key;
use crate::ssh_tokens::came_by_token;
use crate::store::{
    CertificateRow, KeyLimits, RevocationRow, Store, StoreError, WentAlong, write_is_over,
};

/// Revocations that are kept. All but those of keys are forgotten after half a day.
const MAX_REVOCATIONS: u32 = 20_000;
/// Certificates of which is known what goes with them; and of one principal, so that nobody uses up everybody's.
const CERTIFICATES: KeyLimits = KeyLimits {
    per_subject: 1_000,
    total: 50_000,
};

pub(crate) struct Logins {
    store: Arc<dyn Store>,
}

/// What is to be revoked, checked.
pub(crate) struct Revoke {
    pub(crate) kind: SshCredentialKind,
    pub(crate) value: String,
    pub(crate) reason: String,
}

impl Logins {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Puts into force again what the store has. Without a revocation Weir does not start: somebody could come
    /// in by what people believe to be revoked.
    pub(crate) async fn restore(
        &self,
        authority: &dyn SshAuthority,
        now: SystemTime,
    ) -> Result<(), ControlError> {
        let now = Timestamp::from(now).millis();
        for row in self.store.ssh_revocations().await? {
            if row.ends_at.is_some_and(|ends| ends <= now) {
                continue;
            }
            let at = SystemTime::UNIX_EPOCH + Duration::from_millis(row.at);
            let done = authority.revoke(row.kind, &row.value, at);
            done.map_err(|error| ControlError::Revocation {
                id: row.id,
                why: error.message,
            })?;
        }
        Ok(())
    }

    /// What a certificate is for, so that what goes with it is found if it is revoked: whoever revokes it has to name
    /// nothing else.
    pub(crate) async fn keep(
        &self,
        who: &Principal,
        issued: &IssuedCertificate,
    ) -> Result<(), ApiError> {
        let row = CertificateRow {
            serial: issued.answer.serial.clone(),
            key_id: issued.answer.key_id.clone(),
            subject: who.actor.subject.to_string(),
            fingerprint: issued.fingerprint.clone(),
            token: who.token_id.clone(),
            ends_at: issued.answer.valid_before.millis(),
        };
        Ok(self.store.keep_ssh_certificate(row, CERTIFICATES).await?)
    }

    /// In force when it returns, whatever it returns; kept if that is `Ok`. With it are the registered keys and short
    /// tokens that are not kept any more; that they do not count is for the caller to say. None: the answer came too late
    /// to have them, and what does not count any more is what is not kept (`agree`).
    pub(crate) async fn revoke(
        &self,
        recorded: &Recorded,
        authority: &dyn SshAuthority,
        what: Revoke,
    ) -> Result<(SshRevocation, Option<WentAlong>), ApiError> {
        let lasts = authority.revoke(what.kind, &what.value, recorded.at())?;
        let row = RevocationRow {
            id: Uuid::now_v7().to_string(),
            kind: what.kind,
            value: what.value,
            reason: what.reason,
            by: recorded.by().actor.subject.to_string(),
            at: Timestamp::from(recorded.at()).millis(),
            ends_at: lasts
                .and_then(|lasts| recorded.at().checked_add(lasts))
                .map(|ends| Timestamp::from(ends).millis()),
        };
        let answer = revocation(row.clone());
        let added = self.store.add_ssh_revocation(row.clone(), MAX_REVOCATIONS);
        match added.await {
            Ok(Some(gone)) => Ok((answer, Some(gone))),
            Ok(None) => Err(not_kept("as many are kept as can be")),
            Err(error) => {
                let late = matches!(error, StoreError::Timeout);
                if late && self.was_kept_late(&row).await {
                    return Ok((answer, None));
                }
                tracing::error!(%error, "a revocation cannot be kept");
                Err(not_kept("the state store cannot answer"))
            }
        }
    }

    /// The store may have done what it gave no answer to.
    async fn was_kept_late(&self, row: &RevocationRow) -> bool {
        let rows = match write_is_over(&*self.store).await {
            true => self.store.ssh_revocations().await,
            false => return false,
        };
        rows.is_ok_and(|rows| rows.contains(row))
    }

    pub(crate) async fn revocations(&self) -> Result<Vec<SshRevocation>, ApiError> {
        let rows = self.store.ssh_revocations().await?;
        Ok(rows.into_iter().map(revocation).collect())
    }
}

/// Registered keys and short tokens that are not kept any more do not count any more, and end the sessions that came in
/// by them: what the store has done is done here, too, however late it was. What came into force is kept by then.
pub(crate) async fn agree(
    shared: &Inner,
    by: &str,
    why: &str,
) -> Result<(WentAlong, u64), StoreError> {
    let mut gone = WentAlong::default();
    // In this order: what is known or connected now was kept before, or is no more.
    if let Some(keys) = &shared.ssh_keys {
        let known = keys.known();
        let kept = match known.is_empty() {
            true => BTreeSet::new(),
            false => shared.keys.kept().await?,
        };
        gone.keys = known.into_iter().filter(|k| !kept.contains(k)).collect();
        gone.keys.iter().for_each(|key| keys.forget(key));
    }
    for token in shared.sessions.all_live(came_by_token) {
        if shared.store.ssh_token_called(&token).await?.is_none() {
            gone.tokens.push(token);
        }
    }
    let ended = match gone == WentAlong::default() {
        true => 0,
        false => shared
            .sessions
            .end_all(by, why, |info| came_along(info, &gone)),
    };
    Ok((gone, ended))
}

/// Did whoever has this session come in by what went along with a revocation?
pub(crate) fn came_along(info: &SessionInfo, gone: &WentAlong) -> bool {
    let by_token = came_by_token(info);
    gone.keys.iter().any(|key| came_by_key(info, key))
        || by_token.is_some_and(|id| gone.tokens.iter().any(|token| token == id))
}

fn not_kept(why: &str) -> ApiError {
    ApiError::unavailable(format!(
        "it is revoked until Weir ends, but not kept for afterwards, and registered keys and short tokens that go with \
         a certificate are not found: {why}"
    ))
    .hint("Revoke it again, or put it into [ssh.authority] revoked if it is a serial number.")
    .goes_on()
}

fn revocation(row: RevocationRow) -> SshRevocation {
    SshRevocation {
        id: row.id,
        kind: row.kind,
        value: row.value,
        reason: row.reason,
        by: row.by,
        at: Timestamp::from_millis(row.at),
        forgotten_at: row.ends_at.map(Timestamp::from_millis),
    }
}

/// Did whoever has this session come in by what is named? As `proto-ssh` has it in the session's start.
pub(crate) fn came_by(info: &SessionInfo, kind: SshCredentialKind, value: &str) -> bool {
    if info.target.protocol != Protocol::Ssh {
        return false;
    }
    let says = |name: &str| info.attrs.get(name).is_some_and(|said| said == value);
    match kind {
        SshCredentialKind::Serial => says("certificate"),
        SshCredentialKind::KeyId => says("certificate_id"),
        SshCredentialKind::Key => says("key"),
        SshCredentialKind::Subject => convert::involved(&info.principal)
            .iter()
            .any(|subject| subject == value),
    }
}
