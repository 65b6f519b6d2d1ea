//! Plugins.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use pipeline::{Action, Resource};
use weir_client::{Page, PluginChangeKind, PluginConfirm, PluginInfo, PluginUpload, Timestamp};

use super::extract::Body;
use super::gate::Ask;
use super::table::Found;
use crate::approvals::Desk;
use crate::control::Shared;
use crate::error::ApiError;
use crate::guard::{Permit, Subject, name_of};
use crate::plugins::{Plugins, Upload};

/// Every plugin, and plugins in general.
pub(super) fn all(ask: Ask) -> Found {
    Box::pin(async move {
        let all = ask.shared.plugins.list(now(&ask.shared)).await?;
        let mut subjects = vec![Subject::system()];
        subjects.extend(all.iter().map(|p| subject(&p.summary.name)));
        Ok(subjects)
    })
}

/// The plugin that the path names, whether there is one or not.
pub(super) fn named(ask: Ask) -> Found {
    let subject = subject(ask.param("name"));
    Box::pin(async move { Ok(vec![subject]) })
}

fn subject(name: &str) -> Subject {
    Resource::Plugin { name: name.into() }.into()
}

fn now(shared: &Shared) -> u64 {
    Timestamp::from(shared.clock.now()).millis()
}

/// All plugins: uploaded ones and those that came with the configuration.
#[utoipa::path(
    get, path = "/v1/plugins", tag = "plugins",
    responses((status = 200, body = Page<PluginInfo>))
)]
pub(super) async fn list(
    State(shared): State<Shared>,
    permit: Permit,
) -> Result<Json<Page<PluginInfo>>, ApiError> {
    let mut items = shared.plugins.list(now(&shared)).await?;
    items.retain(|p| permit.may(&subject(&p.summary.name)));
    Ok(Json(Page { items, next: None }))
}

/// One plugin.
#[utoipa::path(
    get, path = "/v1/plugins/{name}", tag = "plugins",
    params(("name" = String, Path)),
    responses((status = 200, body = PluginInfo), (status = 404, body = weir_client::ErrorBody))
)]
pub(super) async fn one(
    State(shared): State<Shared>,
    permit: Permit,
    Path(name): Path<String>,
) -> Result<Json<PluginInfo>, ApiError> {
    match shared.plugins.one(&name, now(&shared)).await {
        Ok(info) => Ok(Json(info)),
        Err(error) => Err(permit.refuse(name_of(&subject(&name)), error).await),
    }
}

/// Uploads a component. A new one is used from the next session on; what would take the place of
/// another one, or of one that is missed, waits for somebody else to confirm it.
#[utoipa::path(
    post, path = "/v1/plugins/{name}", tag = "plugins",
    params(("name" = String, Path)), request_body = PluginUpload,
    responses(
        (status = 200, body = PluginInfo, description = "It is in force."),
        (status = 202, body = PluginInfo, description = "It waits for somebody else."),
        (status = 409, body = weir_client::ErrorBody),
        (status = 413, body = weir_client::ErrorBody),
        (status = 422, body = weir_client::ErrorBody, description = "The host does not admit it."),
    )
)]
pub(super) async fn upload(
    State(shared): State<Shared>,
    permit: Permit,
    Path(name): Path<String>,
    Body(upload): Body<PluginUpload>,
) -> Result<(StatusCode, Json<PluginInfo>), ApiError> {
    let component = STANDARD
        .decode(&upload.component)
        .map_err(|_| ApiError::invalid("component is not base64"))?;
    shared.plugins.check(&name, &component, &upload.config)?;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &component);
    let digest = hex::encode(digest.as_ref());
    let resource = name_of(&subject(&name));
    let waits = match shared.plugins.waits(&name).await {
        Ok(waits) => waits,
        Err(error) => return Err(permit.refuse(resource, error).await),
    };
    let (status, detail) = if waits {
        let detail = format!("sha256 {digest}, to be confirmed by somebody else");
        (StatusCode::ACCEPTED, detail)
    } else {
        (StatusCode::OK, format!("sha256 {digest}"))
    };
    let upload = Upload {
        name,
        component: Bytes::from(component),
        config: upload.config,
    };
    let info = permit
        .perform(resource, detail, move |recorded| async move {
            if waits {
                shared.plugins.stage(&recorded, upload).await
            } else {
                shared.plugins.add(&recorded, upload).await
            }
        })
        .await?;
    Ok((status, Json(info)))
}

/// Asks for the removal of an uploaded plugin. It stays until somebody else confirms that.
#[utoipa::path(
    delete, path = "/v1/plugins/{name}", tag = "plugins",
    params(("name" = String, Path)),
    responses(
        (status = 202, body = PluginInfo, description = "It waits for somebody else."),
        (status = 404, body = weir_client::ErrorBody),
        (status = 409, body = weir_client::ErrorBody),
    )
)]
pub(super) async fn remove(
    State(shared): State<Shared>,
    permit: Permit,
    Path(name): Path<String>,
) -> Result<(StatusCode, Json<PluginInfo>), ApiError> {
    let resource = name_of(&subject(&name));
    let detail = "to be confirmed by somebody else".to_owned();
    let info = permit
        .perform(resource, detail, move |recorded| async move {
            shared.plugins.remove(&recorded, name).await
        })
        .await?;
    Ok((StatusCode::ACCEPTED, Json(info)))
}

/// Confirms a change of a plugin. Who asked for it may not. A removal needs `plugin:remove`, too.
#[utoipa::path(
    post, path = "/v1/plugins/{name}/confirm", tag = "plugins",
    params(("name" = String, Path)), request_body = PluginConfirm,
    responses(
        (status = 200, body = PluginInfo),
        (status = 404, body = weir_client::ErrorBody),
        (status = 409, body = weir_client::ErrorBody),
        (status = 422, body = weir_client::ErrorBody, description = "The host does not admit it."),
    )
)]
pub(super) async fn confirm(
    State(shared): State<Shared>,
    permit: Permit,
    Path(name): Path<String>,
    Body(body): Body<PluginConfirm>,
) -> Result<Json<PluginInfo>, ApiError> {
    Desk::check_reason(&body.reason, false)?;
    let about = subject(&name);
    let resource = name_of(&about);
    let pending = shared
        .plugins
        .pending(&name, &body.change, now(&shared))
        .await;
    let change = match pending {
        Ok(change) => change,
        Err(error) => return Err(permit.refuse(resource, error).await),
    };
    let removal = change.kind == PluginChangeKind::Remove;
    if removal && !permit.may_do(Action::PluginRemove, &about) {
        let error = ApiError::forbidden("plugin:remove is not permitted");
        return Err(permit.refuse(resource, error).await);
    }
    if let Err(error) = Plugins::may_confirm(&change, &permit.principal) {
        return Err(permit.refuse(resource, error).await);
    }
    let what = match change.kind {
        PluginChangeKind::Put => format!("sha256 {}", change.summary.digest),
        PluginChangeKind::Remove => "removal".to_owned(),
    };
    let detail = format!(
        "change {} by {}, {what}: {}",
        change.id, change.author, body.reason
    );
    let info = permit
        .perform(resource, detail, move |recorded| async move {
            shared.plugins.confirm(&recorded, change).await
        })
        .await?;
    Ok(Json(info))
}
