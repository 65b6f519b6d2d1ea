//! What counts no more of what people come in by over SSH.

use axum::Json;
use axum::extract::State;
use weir_client::{Page, SshCredentialKind, SshRevocation, SshRevocationRequest, SshRevoked};

use super::extract::Body;
use super::ssh::authority;
use crate::approvals::Desk;
use crate::control::Shared;
use crate::error::ApiError;
use crate::guard::Permit;
use crate::ssh::{Revoke, came_by};
use crate::ssh_keys::Gone;

/// How much of what is to be revoked is looked at: a line with a key of RSA is the longest.
const MAX_VALUE: usize = 8 * 1024;

/// Revokes certificates or a key. No new connection comes in by them from then on, and sessions that did are
/// ended. There is no way back but a new certificate, or another key. With a certificate go the registered keys of
/// the person whom it was issued for: its own key, and those that were registered with the same token. Whoever has
/// that token may still get others: what ends that is to revoke all of a subject.
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
            Err(error) => (Err(error), Gone(Vec::new())),
        };
        if let Some(keys) = &shared.ssh_keys {
            gone.0.iter().for_each(|key| keys.forget(key));
        }
        // In this order: a session that begins now finds out by itself. And also if it could not be kept.
        let ended = shared.sessions.kill_all(&recorded, &why, |info| {
            came_by(info, kind, &value) || gone.came_by(info)
        });
        tracing::info!(kind = ?kind, value, ended, keys = gone.0.len(), "SSH credential revoked");
        for key in &gone.0 {
            let told = teller.tell("key:remove", format!("Key::{key:?}"), why.clone());
            if let Err(error) = told.await {
                tracing::error!(%error, key, "that a registered key was removed cannot be recorded");
            }
        }
        Ok(SshRevoked {
            revocation: kept?,
            sessions_ended: ended,
            keys_removed: gone.0,
        })
    };
    permit.perform(resource, reason, act).await.map(Json)
}

fn name(kind: SshCredentialKind, value: &str) -> String {
    match kind {
        SshCredentialKind::Serial => format!("Certificate::{value:?}"),
        SshCredentialKind::KeyId => format!("KeyId::{value:?}"),
        SshCredentialKind::Key => format!("Key::{value:?}"),
        SshCredentialKind::Subject => format!("Credentials of {value:?}"),
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
