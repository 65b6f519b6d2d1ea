//! Short tokens for SSH.

use axum::Json;
use axum::extract::State;
use weir_client::{SshToken, SshTokenRequest};

use super::extract::Body;
use super::ssh::authority;
use crate::control::Shared;
use crate::error::ApiError;
use crate::guard::{Permit, Recorded};
use crate::ssh_tokens;

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
    let resource = format!("Token::{:?}", made.answer.id);
    let mut detail = format!("short, until {}", made.answer.expires_at);
    if let Some(source) = &made.answer.source {
        detail.push_str(&format!(", from {source}"));
    }
    // It is made by now; it counts, and somebody has it, only once it is on record.
    let store = shared.store.clone();
    let hand_over =
        |recorded: Recorded| async move { ssh_tokens::keep(&store, &recorded, made).await };
    permit.perform(resource, detail, hand_over).await.map(Json)
}
