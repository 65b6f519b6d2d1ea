//! Keys by which SSH hosts are known, and who says so.

use axum::Json;
use axum::extract::{Path, State};
use pipeline::Resource;
use weir_client::{Page, SshHostKey, SshHostKeyDecided, SshHostKeyVerdict, Timestamp};

use super::extract::Body;
use crate::approvals::Desk;
use crate::control::Shared;
use crate::error::ApiError;
use crate::guard::{Permit, Subject, only_people};
use crate::ssh_hosts::{is_on, resource};
use crate::store::HostKeyVerdict;

/// A fingerprint has 50 characters.
const MAX_FINGERPRINT: usize = 128;

/// Keys that hosts have shown, of the targets whose keys the caller may approve: those that wait, those that count,
/// and those that do not.
#[utoipa::path(
    get, path = "/v1/ssh/host-keys", tag = "ssh_host_keys",
    responses((status = 200, body = Page<SshHostKey>))
)]
pub(super) async fn list(
    State(shared): State<Shared>,
    permit: Permit,
) -> Result<Json<Page<SshHostKey>>, ApiError> {
    let mut items = shared.host_keys.list().await?;
    items.retain(|key| {
        // One that is not configured any more is seen by whoever may approve keys in general.
        let target = shared.targets.get(&key.target).cloned();
        permit.may(&Subject {
            resource: Resource::Target,
            target,
        })
    });
    Ok(Json(Page { items, next: None }))
}

/// Says that a key which the target has shown is the host's. It takes the place of the one before, which counts no
/// more: sessions on the host that began while it was known by that one are ended. Compare the fingerprint with what the host itself says.
#[utoipa::path(
    post, path = "/v1/targets/{name}/host-keys/approve", tag = "ssh_host_keys",
    params(("name" = String, Path)), request_body = SshHostKeyVerdict,
    responses(
        (status = 200, body = SshHostKeyDecided),
        (status = 404, body = weir_client::ErrorBody, description = "It has shown no such key."),
    )
)]
pub(super) async fn approve(
    State(shared): State<Shared>,
    permit: Permit,
    Path(name): Path<String>,
    Body(body): Body<SshHostKeyVerdict>,
) -> Result<Json<SshHostKeyDecided>, ApiError> {
    decide(shared, permit, name, body, true).await
}

/// Says that a key which the target has shown is not the host's, or not any more. If the host was known by it, the
/// sessions there are ended.
#[utoipa::path(
    post, path = "/v1/targets/{name}/host-keys/reject", tag = "ssh_host_keys",
    params(("name" = String, Path)), request_body = SshHostKeyVerdict,
    responses(
        (status = 200, body = SshHostKeyDecided),
        (status = 404, body = weir_client::ErrorBody, description = "It has shown no such key."),
    )
)]
pub(super) async fn reject(
    State(shared): State<Shared>,
    permit: Permit,
    Path(name): Path<String>,
    Body(body): Body<SshHostKeyVerdict>,
) -> Result<Json<SshHostKeyDecided>, ApiError> {
    decide(shared, permit, name, body, false).await
}

async fn decide(
    shared: Shared,
    permit: Permit,
    target: String,
    body: SshHostKeyVerdict,
    approved: bool,
) -> Result<Json<SshHostKeyDecided>, ApiError> {
    Desk::check_reason(&body.reason, true)?;
    if body.fingerprint.len() > MAX_FINGERPRINT {
        return Err(ApiError::too_large("a fingerprint is shorter"));
    }
    let of = resource(&target, &body.fingerprint);
    if let Err(error) = only_people(&permit.principal, "say which host key is the right one") {
        return Err(permit.refuse(of, error).await);
    }
    let word = if approved { "approved" } else { "rejected" };
    let detail = format!("{word}: {}", body.reason);
    let teller = permit.clone();
    let act = move |recorded: crate::guard::Recorded| async move {
        let verdict = HostKeyVerdict {
            target: target.clone(),
            fingerprint: body.fingerprint,
            approved,
            by: recorded.by().actor.subject.to_string(),
            at: Timestamp::from(recorded.at()).millis(),
            reason: body.reason,
        };
        let decided = shared.host_keys.decide(&recorded, verdict).await?;
        // Who knows what was at the other end of these.
        let why = "the key that the host was known by does not count any more";
        let sessions_ended = match decided.lost {
            true => shared
                .sessions
                .kill_all(&recorded, why, |info| is_on(info, &target)),
            false => 0,
        };
        for key in &decided.forgotten {
            let detail = "its rejection made room for others: if it is shown again, it waits";
            tracing::warn!(target_name = target, fingerprint = key, detail);
            let told = teller.tell("host_key:forget", resource(&target, key), detail.to_owned());
            if let Err(error) = told.await {
                tracing::error!(%error, "that a rejected host key was forgotten cannot be recorded");
            }
        }
        Ok(SshHostKeyDecided {
            key: decided.key?,
            sessions_ended,
            forgotten: decided.forgotten,
        })
    };
    permit.perform(of, detail, act).await.map(Json)
}
