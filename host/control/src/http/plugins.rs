//! Plugins.

use axum::Json;
use axum::extract::{Path, State};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use pipeline::Resource;
use weir_client::{Page, PluginInfo, PluginUpload};

use super::extract::Body;
use super::gate::Ask;
use super::table::Found;
use crate::control::Shared;
use crate::error::ApiError;
use crate::guard::{Permit, Subject, name_of};

/// Every plugin, and plugins in general.
pub(super) fn all(ask: Ask) -> Found {
    Box::pin(async move {
        let all = ask.shared.plugins.list().await?;
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

/// All plugins: uploaded ones and those that came with the configuration.
#[utoipa::path(
    get, path = "/v1/plugins", tag = "plugins",
    responses((status = 200, body = Page<PluginInfo>))
)]
pub(super) async fn list(
    State(shared): State<Shared>,
    permit: Permit,
) -> Result<Json<Page<PluginInfo>>, ApiError> {
    let mut items = shared.plugins.list().await?;
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
    _: Permit,
    Path(name): Path<String>,
) -> Result<Json<PluginInfo>, ApiError> {
    Ok(Json(shared.plugins.one(&name).await?))
}

/// Uploads a component. Sessions that begin from now on use it, in place of one of the same name.
#[utoipa::path(
    post, path = "/v1/plugins/{name}", tag = "plugins",
    params(("name" = String, Path)), request_body = PluginUpload,
    responses(
        (status = 200, body = PluginInfo),
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
) -> Result<Json<PluginInfo>, ApiError> {
    let component = STANDARD
        .decode(&upload.component)
        .map_err(|_| ApiError::invalid("component is not base64"))?;
    shared.plugins.check(&name, &component, &upload.config)?;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &component);
    let detail = format!("sha256 {}", hex::encode(digest.as_ref()));
    let resource = name_of(&subject(&name));
    let info = permit
        .perform(resource, detail, move |recorded| async move {
            let component = Bytes::from(component);
            shared
                .plugins
                .put(&recorded, name, component, upload.config)
                .await
        })
        .await?;
    Ok(Json(info))
}

/// Removes an uploaded plugin.
#[utoipa::path(
    delete, path = "/v1/plugins/{name}", tag = "plugins",
    params(("name" = String, Path)),
    responses(
        (status = 200, body = PluginInfo),
        (status = 404, body = weir_client::ErrorBody),
        (status = 409, body = weir_client::ErrorBody),
    )
)]
pub(super) async fn remove(
    State(shared): State<Shared>,
    permit: Permit,
    Path(name): Path<String>,
) -> Result<Json<PluginInfo>, ApiError> {
    let resource = name_of(&subject(&name));
    let info = permit
        .perform(resource, String::new(), move |recorded| async move {
            shared.plugins.remove(&recorded, name).await
        })
        .await?;
    Ok(Json(info))
}
