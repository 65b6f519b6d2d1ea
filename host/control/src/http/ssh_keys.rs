//! Public keys that people register to come in by over SSH.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use weir_client::{
    Page, SshKey, SshKeyChallenge, SshKeyChallengeRequest, SshKeyFilter, SshKeyRemoval,
    SshKeyRemoved, SshKeyRequest,
};

use super::extract::{Body, Params};
use super::ssh::MAX_KEY;
use crate::control::Shared;
use crate::error::ApiError;
use crate::guard::{Permit, Recorded, only_people};
use crate::ports::SshKeys;
use crate::ssh_keys::came_by_key;

/// What a person calls a key.
const MAX_NAME: usize = 64;
/// A fingerprint has 50 characters.
const MAX_FINGERPRINT: usize = 128;

fn keys(shared: &Shared) -> Result<&Arc<dyn SshKeys>, ApiError> {
    shared.ssh_keys.as_ref().ok_or_else(|| {
        ApiError::not_found("nobody registers keys at this Weir").hint(
            "Its configuration has no [ssh.registered_keys]. Come in by a certificate: weir login",
        )
    })
}

fn check_size(public_key: &str) -> Result<(), ApiError> {
    match public_key.len() > MAX_KEY {
        true => Err(ApiError::too_large("the public key is too long")),
        false => Ok(()),
    }
}

/// What is to be signed with a key to register it, within minutes.
#[utoipa::path(
    post, path = "/v1/ssh/keys/challenge", tag = "ssh_keys", request_body = SshKeyChallengeRequest,
    responses(
        (status = 200, body = SshKeyChallenge),
        (status = 404, body = weir_client::ErrorBody, description = "Nobody registers keys at this Weir."),
        (status = 422, body = weir_client::ErrorBody, description = "Not this key."),
    )
)]
pub(super) async fn challenge(
    State(shared): State<Shared>,
    permit: Permit,
    Body(body): Body<SshKeyChallengeRequest>,
) -> Result<Json<SshKeyChallenge>, ApiError> {
    let keys = keys(&shared)?;
    check_size(&body.public_key)?;
    let now = shared.clock.now();
    let challenge = only_people(&permit.principal, "register keys")
        .and_then(|()| keys.challenge(&permit.principal, &body.public_key, now));
    match challenge {
        Ok(challenge) => Ok(Json(challenge)),
        Err(error) => Err(permit.refuse("Key".into(), error).await),
    }
}

/// Registers a key of the caller's own. Whoever comes in by it is who the token says, with its groups, until it
/// ends; it is renewed by registering it again.
#[utoipa::path(
    post, path = "/v1/ssh/keys", tag = "ssh_keys", request_body = SshKeyRequest,
    responses(
        (status = 200, body = SshKey),
        (status = 404, body = weir_client::ErrorBody, description = "Nobody registers keys at this Weir."),
        (status = 409, body = weir_client::ErrorBody, description = "It is somebody else's, or one too many."),
        (status = 422, body = weir_client::ErrorBody, description = "Not this key, or not proved to be the caller's."),
    )
)]
pub(super) async fn register(
    State(shared): State<Shared>,
    permit: Permit,
    Body(body): Body<SshKeyRequest>,
) -> Result<Json<SshKey>, ApiError> {
    let keys = keys(&shared)?.clone();
    check_size(&body.public_key)?;
    let now = shared.clock.now();
    let checked = only_people(&permit.principal, "register keys")
        .and_then(|()| check_name(&body.name))
        .and_then(|()| keys.check(&permit.principal, &body, now));
    let key = match checked {
        Ok(key) => key,
        Err(error) => return Err(permit.refuse("Key".into(), error).await),
    };
    let resource = format!("Key::{:?}", key.fingerprint);
    let until = weir_client::Timestamp::from(key.ends);
    let detail = format!("{:?} until {until}", body.name);
    let act = move |recorded: Recorded| async move {
        let name = body.name;
        let end = |fingerprint: &str| {
            let why = format!("the key {fingerprint} was removed");
            let are = |info: &_| came_by_key(info, fingerprint);
            shared.sessions.kill_all(&recorded, &why, are);
        };
        shared
            .keys
            .register(&recorded, &*keys, key, name, end)
            .await
    };
    permit.perform(resource, detail, act).await.map(Json)
}

fn check_name(name: &str) -> Result<(), ApiError> {
    let fits = (1..=MAX_NAME).contains(&name.len()) && !name.chars().any(char::is_control);
    match fits && !name.trim().is_empty() {
        true => Ok(()),
        false => Err(ApiError::rejected(format!(
            "a key's name is a line of at most {MAX_NAME} bytes"
        ))),
    }
}

/// The caller's own keys. For everybody, whatever policy says: who may register none any more may still have some.
#[utoipa::path(
    get, path = "/v1/ssh/keys", tag = "ssh_keys",
    responses((status = 200, body = Page<SshKey>))
)]
pub(super) async fn own(
    State(shared): State<Shared>,
    permit: Permit,
) -> Result<Json<Page<SshKey>>, ApiError> {
    let subject = &*permit.principal.actor.subject;
    let now = shared.clock.now();
    let items = shared.keys.list(Some(subject), now).await?;
    Ok(Json(Page { items, next: None }))
}

/// Keys of all people, newest first, at most a thousand; for whoever may revoke them.
#[utoipa::path(
    get, path = "/v1/ssh/keys/all", tag = "ssh_keys", params(SshKeyFilter),
    responses((status = 200, body = Page<SshKey>))
)]
pub(super) async fn all(
    State(shared): State<Shared>,
    _: Permit,
    Params(filter): Params<SshKeyFilter>,
) -> Result<Json<Page<SshKey>>, ApiError> {
    let now = shared.clock.now();
    let items = shared.keys.list(filter.subject.as_deref(), now).await?;
    Ok(Json(Page { items, next: None }))
}

/// A key of the caller's own counts no more, and the sessions that came in by it are ended. For everybody, whatever
/// policy says. It can be registered again: what was stolen is for a revocation.
#[utoipa::path(
    post, path = "/v1/ssh/keys/remove", tag = "ssh_keys", request_body = SshKeyRemoval,
    responses(
        (status = 200, body = SshKeyRemoved),
        (status = 404, body = weir_client::ErrorBody, description = "The caller has registered no such key."),
    )
)]
pub(super) async fn remove(
    State(shared): State<Shared>,
    permit: Permit,
    Body(body): Body<SshKeyRemoval>,
) -> Result<Json<SshKeyRemoved>, ApiError> {
    let keys = keys(&shared)?.clone();
    if body.fingerprint.len() > MAX_FINGERPRINT {
        return Err(ApiError::too_large("a fingerprint is shorter"));
    }
    let fingerprint = body.fingerprint;
    let resource = format!("Key::{fingerprint:?}");
    if let Err(error) = only_people(&permit.principal, "remove keys") {
        return Err(permit.refuse(resource, error).await);
    }
    let subject = &permit.principal.actor.subject;
    if !shared.keys.is_of(&fingerprint, subject).await? {
        let error = ApiError::not_found("you have registered no such key");
        return Err(permit.refuse(resource, error).await);
    }
    let act = move |recorded| async move {
        let removed = shared.keys.remove(&recorded, &*keys, &fingerprint).await;
        // In this order: a session that begins now finds out by itself. And also if it is still kept.
        let why = format!("the key {fingerprint} was removed");
        let are = |info: &_| came_by_key(info, &fingerprint);
        let ended = shared.sessions.kill_all(&recorded, &why, are);
        removed?;
        Ok(SshKeyRemoved {
            fingerprint,
            sessions_ended: ended,
        })
    };
    let detail = "removed by its person".to_owned();
    permit.perform(resource, detail, act).await.map(Json)
}
