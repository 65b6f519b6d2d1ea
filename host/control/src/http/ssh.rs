//! Certificates for SSH.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use pipeline::Protocol;
use weir_client::{SshAuthorityInfo, SshCertificate, SshCertificateRequest, SshHosts};

use super::extract::Body;
use super::gate::Ask;
use super::table::Found;
use crate::control::Shared;
use crate::error::ApiError;
use crate::guard::{Permit, Recorded, Subject};
use crate::ports::SshAuthority;

/// How much of a public key is looked at: one of RSA with 8192 bits has a third.
pub(super) const MAX_KEY: usize = 8 * 1024;

pub(super) fn any(_: Ask) -> Found {
    Box::pin(async { Ok(vec![Subject::system()]) })
}

pub(super) fn authority(shared: &Shared) -> Result<&Arc<dyn SshAuthority>, ApiError> {
    shared.ssh.as_ref().ok_or_else(|| {
        ApiError::not_found("this Weir issues no SSH certificates")
            .hint("Its configuration has no [ssh.authority].")
    })
}

/// A certificate for the caller's own key. It stands for the token, and ends with it at the latest.
#[utoipa::path(
    post, path = "/v1/ssh/certificates", tag = "ssh", request_body = SshCertificateRequest,
    responses(
        (status = 200, body = SshCertificate),
        (status = 404, body = weir_client::ErrorBody, description = "This Weir issues none."),
        (status = 422, body = weir_client::ErrorBody, description = "Not for this key, or not for this token."),
    )
)]
pub(super) async fn issue(
    State(shared): State<Shared>,
    permit: Permit,
    Body(body): Body<SshCertificateRequest>,
) -> Result<Json<SshCertificate>, ApiError> {
    let authority = authority(&shared)?;
    if body.public_key.len() > MAX_KEY {
        return Err(ApiError::too_large("the public key is too long"));
    }
    let now = shared.clock.now();
    let issued = authority.issue(&permit.principal, &body.public_key, permit.source, now);
    let issued = match issued {
        Ok(issued) => issued,
        Err(error) => return Err(permit.refuse("Certificate".into(), error).await),
    };
    let answer = &issued.answer;
    let resource = format!("Certificate::{:?}", answer.serial);
    let until = answer.valid_before;
    let mut detail = format!("for the key {} until {until}", issued.fingerprint);
    if let Some(source) = &answer.source {
        detail.push_str(&format!(", from {source}"));
    }
    // It is signed by now; nobody has it before it is on record.
    let hand_over = |recorded: Recorded| async move {
        if shared.ssh_keys.is_some() {
            shared.logins.keep(recorded.by(), &issued).await?;
        }
        Ok(issued.answer)
    };
    permit.perform(resource, detail, hand_over).await.map(Json)
}

/// The keys that Weir is known by.
#[utoipa::path(
    get, path = "/v1/ssh/authority", tag = "ssh",
    responses(
        (status = 200, body = SshAuthorityInfo),
        (status = 404, body = weir_client::ErrorBody, description = "This Weir has none."),
    )
)]
pub(super) async fn keys(
    State(shared): State<Shared>,
    _: Permit,
) -> Result<Json<SshAuthorityInfo>, ApiError> {
    Ok(Json(authority(&shared)?.info()))
}

/// The hosts that the caller may connect to, and the keys that Weir is known by.
#[utoipa::path(
    get, path = "/v1/ssh/hosts", tag = "ssh",
    responses(
        (status = 200, body = SshHosts),
        (status = 404, body = weir_client::ErrorBody, description = "This Weir issues no SSH certificates."),
    )
)]
pub(super) async fn hosts(
    State(shared): State<Shared>,
    permit: Permit,
) -> Result<Json<SshHosts>, ApiError> {
    let authority = authority(&shared)?.info();
    let hosts = shared.targets.values();
    let hosts = hosts.filter(|t| t.protocol == Protocol::Ssh && permit.may_connect(t));
    Ok(Json(SshHosts {
        hosts: hosts.map(|target| target.name.to_string()).collect(),
        authority,
    }))
}
