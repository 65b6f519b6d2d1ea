//! Short tokens for SSH.

use axum::Json;
use axum::extract::State;
use weir_client::{
    Page, SshToken, SshTokenFilter, SshTokenInfo, SshTokenRemoval, SshTokenRequest,
    SshTokenRevocation, SshTokenRevoked,
};

use super::extract::{Body, Params};
use super::ssh::authority;
use crate::approvals::Desk;
use crate::control::Shared;
use crate::error::ApiError;
use crate::guard::{Permit, Recorded};
use crate::ssh_tokens::came_by_token;

/// A name has 16 characters.
const MAX_ID: usize = 64;

/// A token that is short enough for a password. It stands for the token of the call, from where it was called, and
/// ends with it at the latest. It is shown here and never again.
#[utoipa::path(
    post, path = "/v1/ssh/tokens", tag = "ssh", request_body = SshTokenRequest,
    responses(
        (status = 200, body = SshToken),
        (status = 404, body = weir_client::ErrorBody, description = "This Weir issues none."),
        (status = 409, body = weir_client::ErrorBody, description = "One too many of the caller's count."),
        (status = 422, body = weir_client::ErrorBody, description = "Not for so long, or not for this token."),
    )
)]
pub(super) async fn short_token(
    State(shared): State<Shared>,
    permit: Permit,
    Body(body): Body<SshTokenRequest>,
) -> Result<Json<SshToken>, ApiError> {
    let authority = authority(&shared)?;
    let now = shared.clock.now();
    let made = authority.token(&permit.principal, body.minutes, permit.source, now);
    let made = match made {
        Ok(made) => made,
        Err(error) => return Err(permit.refuse("Token".into(), error).await),
    };
    let resource = name(&made.answer.id);
    let mut detail = format!("short, until {}", made.answer.expires_at);
    if let Some(source) = &made.answer.source {
        detail.push_str(&format!(", from {source}"));
    }
    // It is made by now; it counts, and somebody has it, only once it is on record.
    let hand_over =
        move |recorded: Recorded| async move { shared.tokens.keep(&recorded, made).await };
    permit.perform(resource, detail, hand_over).await.map(Json)
}

fn name(id: &str) -> String {
    format!("Token::{id:?}")
}

/// The caller's own short tokens that count. For everybody, whatever policy says.
#[utoipa::path(
    get, path = "/v1/ssh/tokens", tag = "ssh_tokens",
    responses((status = 200, body = Page<SshTokenInfo>))
)]
pub(super) async fn own(
    State(shared): State<Shared>,
    permit: Permit,
) -> Result<Json<Page<SshTokenInfo>>, ApiError> {
    let subject = &*permit.principal.actor.subject;
    let now = shared.clock.now();
    let items = shared.tokens.list(Some(subject), now).await?;
    Ok(Json(Page { items, next: None }))
}

/// Short tokens of all, newest first, at most a thousand; for whoever may revoke them.
#[utoipa::path(
    get, path = "/v1/ssh/tokens/all", tag = "ssh_tokens", params(SshTokenFilter),
    responses((status = 200, body = Page<SshTokenInfo>))
)]
pub(super) async fn all(
    State(shared): State<Shared>,
    _: Permit,
    Params(filter): Params<SshTokenFilter>,
) -> Result<Json<Page<SshTokenInfo>>, ApiError> {
    let now = shared.clock.now();
    let items = shared.tokens.list(filter.subject.as_deref(), now).await?;
    Ok(Json(Page { items, next: None }))
}

/// A short token of the caller's own counts no more, and the sessions that came in by it are ended. For everybody
/// with a token of their own, whatever policy says.
#[utoipa::path(
    post, path = "/v1/ssh/tokens/remove", tag = "ssh_tokens", request_body = SshTokenRemoval,
    responses(
        (status = 200, body = SshTokenRevoked),
        (status = 404, body = weir_client::ErrorBody, description = "The caller has no such token."),
    )
)]
pub(super) async fn remove(
    State(shared): State<Shared>,
    permit: Permit,
    Body(body): Body<SshTokenRemoval>,
) -> Result<Json<SshTokenRevoked>, ApiError> {
    check_size(&body.id)?;
    let resource = name(&body.id);
    // Whoever acts for others has tokens for several of them, under one name.
    if !permit.principal.on_behalf_of.is_empty() {
        let text = "short tokens are taken back with a token of one's own, in nobody's name";
        return Err(permit.refuse(resource, ApiError::forbidden(text)).await);
    }
    let owner = shared.tokens.owner(&body.id, shared.clock.now()).await?;
    if owner.as_deref() != Some(&*permit.principal.actor.subject) {
        let error = ApiError::not_found("you have no such short token");
        return Err(permit.refuse(resource, error).await);
    }
    let why = format!("the short token {} was taken back", body.id);
    end(shared, permit, body.id, why, "by whose it is".into()).await
}

/// A short token of anybody's counts no more, and the sessions that came in by it are ended.
#[utoipa::path(
    post, path = "/v1/ssh/tokens/revoke", tag = "ssh_tokens", request_body = SshTokenRevocation,
    responses(
        (status = 200, body = SshTokenRevoked),
        (status = 404, body = weir_client::ErrorBody, description = "There is no such token."),
    )
)]
pub(super) async fn revoke(
    State(shared): State<Shared>,
    permit: Permit,
    Body(body): Body<SshTokenRevocation>,
) -> Result<Json<SshTokenRevoked>, ApiError> {
    check_size(&body.id)?;
    Desk::check_reason(&body.reason, true)?;
    let owner = shared.tokens.owner(&body.id, shared.clock.now()).await?;
    let Some(owner) = owner else {
        let error = ApiError::not_found("no short token of this name counts");
        return Err(permit.refuse(name(&body.id), error).await);
    };
    let why = format!("the short token {} was revoked: {}", body.id, body.reason);
    let detail = format!("of {owner}: {}", body.reason);
    end(shared, permit, body.id, why, detail).await
}

async fn end(
    shared: Shared,
    permit: Permit,
    id: String,
    why: String,
    detail: String,
) -> Result<Json<SshTokenRevoked>, ApiError> {
    let resource = name(&id);
    let act = move |recorded: Recorded| async move {
        let removed = shared.tokens.remove(&recorded, &id).await;
        // In this order: a session that begins now finds out by itself. And also if it is still kept.
        let are = |info: &_| came_by_token(info) == Some(&*id);
        let ended = shared.sessions.kill_all(&recorded, &why, are);
        removed?;
        Ok(SshTokenRevoked {
            id,
            sessions_ended: ended,
        })
    };
    permit.perform(resource, detail, act).await.map(Json)
}

fn check_size(id: &str) -> Result<(), ApiError> {
    match id.len() > MAX_ID {
        true => Err(ApiError::too_large("the name of a short token is shorter")),
        false => Ok(()),
    }
}
