//! What counts no more of what people come in by over SSH.

use axum::Json;
use axum::extract::State;
use weir_client::{
    Page, SshCredentialKind as Kind, SshRevocation, SshRevocationRequest, SshRevoked,
};

use super::extract::Body;
use super::ssh::authority;
use crate::approvals::Desk;
use crate::control::Shared;
use crate::error::ApiError;
use crate::guard::Permit;
use crate::ssh::{Revoke, agree, came_along, came_by};
use crate::store::WentAlong;

/// How much of what is to be revoked is looked at: a line with a key of RSA is the longest.
const MAX_VALUE: usize = 8 * 1024;

/// Revokes certificates or a key. No new connection comes in by them from then on, and sessions that did are
/// ended. There is no way back but a new certificate, or another key. With a certificate go the registered keys of
/// the person whom it was issued for: its own key, and those that were registered with the same token; and the short
/// tokens that stand for the same token. Whoever has that token may still get others: what ends that is to revoke all of a subject.
#[utoipa::path(
    post, path = "/v1/ssh/revocations", tag = "ssh", request_body = SshRevocationRequest,
    responses(
        (status = 200, body = SshRevoked),
        (status = 404, body = weir_client::ErrorBody, description = "This Weir issues no certificates."),
        (status = 422, body = weir_client::ErrorBody, description = "It names nothing of this kind."),
    )
)]
pub(super) async fn revoke(
    State(shared): State<Shared>,
    permit: Permit,
    Body(body): Body<SshRevocationRequest>,
) -> Result<Json<SshRevoked>, ApiError> {
    Desk::check_reason(&body.reason, true)?;
    let authority = authority(&shared)?.clone();
    if body.value.len() > MAX_VALUE {
        return Err(ApiError::too_large("what is to be revoked is too long"));
    }
    let value = match authority.canonical(body.kind, &body.value) {
        Ok(value) => value,
        Err(error) => return Err(permit.refuse("Credential".into(), error).await),
    };
    let resource = name(body.kind, &value);
    let reason = body.reason.clone();
    let what = Revoke {
        kind: body.kind,
        value,
        reason: body.reason,
    };
    let teller = permit.clone();
    let act = move |recorded| async move {
        let (kind, value) = (what.kind, what.value.clone());
        let why = format!("{} was revoked: {}", name(kind, &value), what.reason);
        let kept = shared.logins.revoke(&recorded, &*authority, what).await;
        let (kept, gone) = match kept {
            Ok((revocation, gone)) => (Ok(revocation), gone),
            Err(error) => (Err(error), Some(WentAlong::default())),
        };
        if let (Some(keys), Some(gone)) = (&shared.ssh_keys, &gone) {
            gone.keys.iter().for_each(|key| keys.forget(key));
        }
        // In this order: a session that begins now finds out by itself. And also if it could not be kept.
        let mut ended = shared.sessions.kill_all(&recorded, &why, |info| {
            let along = gone.as_ref().is_some_and(|gone| came_along(info, gone));
            came_by(info, kind, &value) || along
        });
        let gone = match gone {
            Some(gone) => gone,
            None => {
                let by = recorded.by().actor.subject.clone();
                let (gone, more) = agree(&shared, &by, &why).await?;
                ended += more;
                gone
            }
        };
        tracing::info!(kind = ?kind, value, ended, keys = gone.keys.len(), tokens = gone.tokens.len(), "SSH credential revoked");
        let keys = gone
            .keys
            .iter()
            .map(|key| ("key:remove", name(Kind::Key, key)));
        let tokens = gone
            .tokens
            .iter()
            .map(|id| ("token:revoke", format!("Token::{id:?}")));
        for (what, resource) in keys.chain(tokens) {
            let told = teller.tell(what, resource.clone(), why.clone());
            if let Err(error) = told.await {
                tracing::error!(%error, resource, "what went with a revocation cannot be recorded");
            }
        }
        Ok(SshRevoked {
            revocation: kept?,
            sessions_ended: ended,
            keys_removed: gone.keys,
            tokens_revoked: gone.tokens,
        })
    };
    permit.perform(resource, reason, act).await.map(Json)
}

fn name(kind: Kind, value: &str) -> String {
    match kind {
        Kind::Serial => format!("Certificate::{value:?}"),
        Kind::KeyId => format!("KeyId::{value:?}"),
        Kind::Key => format!("Key::{value:?}"),
        Kind::Subject => format!("Credentials of {value:?}"),
    }
}

/// What is revoked and not forgotten yet, newest first.
#[utoipa::path(
    get, path = "/v1/ssh/revocations", tag = "ssh",
    responses((status = 200, body = Page<SshRevocation>))
)]
pub(super) async fn list(
    State(shared): State<Shared>,
    _: Permit,
) -> Result<Json<Page<SshRevocation>>, ApiError> {
    let items = shared.logins.revocations().await?;
    Ok(Json(Page { items, next: None }))
}
