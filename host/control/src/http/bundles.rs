//! Policy bundles.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use pipeline::Resource;
use serde::Deserialize;
use utoipa::IntoParams;
use weir_client::{
    Activation, BundleDiff, BundleFiles, BundleInfo, BundleSummary, BundleUpload, Page, Paging,
    Reason,
};

use super::extract::{Body, Params, page_size};
use super::gate::Ask;
use super::table::Found;
use crate::approvals::Desk;
use crate::bundles::{Bundles, subject};
use crate::control::Shared;
use crate::convert;
use crate::error::ApiError;
use crate::guard::{Permit, Subject, name_of};
use crate::store::BundleRow;

/// Bundles in general.
pub(super) fn any(_: Ask) -> Found {
    Box::pin(async { Ok(vec![Subject::system()]) })
}

/// The version that the path names.
pub(super) fn named(ask: Ask) -> Found {
    Box::pin(async move {
        let version = version(ask.param("version"))?;
        Ok(vec![subject(&ask.shared.bundles.one(version).await?)])
    })
}

/// The version that was active before the present one.
pub(super) fn before(ask: Ask) -> Found {
    Box::pin(async move { Ok(vec![subject(&ask.shared.bundles.previous().await?)]) })
}

/// A version that nobody wrote.
pub(super) fn unknown(_: Ask) -> Found {
    let resource = Resource::Bundle {
        digest: "".into(),
        author: None,
    };
    Box::pin(async move { Ok(vec![resource.into()]) })
}

fn version(text: &str) -> Result<u64, ApiError> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|_| digits)
        .ok_or_else(|| ApiError::not_found("a bundle version is a number"))
}

/// Validates a bundle and stages it. Somebody else than its author activates it.
#[utoipa::path(
    post, path = "/v1/bundles", tag = "bundles",
    request_body = BundleUpload,
    responses(
        (status = 201, body = BundleInfo),
        (status = 413, body = weir_client::ErrorBody),
        (status = 422, body = weir_client::ErrorBody, description = "It does not validate."),
    )
)]
pub(super) async fn upload(
    State(shared): State<Shared>,
    permit: Permit,
    Body(upload): Body<BundleUpload>,
) -> Result<(StatusCode, Json<BundleInfo>), ApiError> {
    shared.bundles.check(&upload.files, &upload.note)?;
    let summary = shared.bundles.validate(upload.files.clone()).await?;
    let resource = format!("Bundle::{:?}", summary.digest);
    let row = permit
        .perform(resource, upload.note.clone(), move |recorded| async move {
            let BundleUpload { files, note } = upload;
            shared.bundles.stage(&recorded, files, summary, note).await
        })
        .await?;
    Ok((StatusCode::CREATED, Json(convert::bundle(row))))
}

/// Validates a bundle and keeps nothing.
#[utoipa::path(
    post, path = "/v1/bundles/validate", tag = "bundles",
    request_body = BundleUpload,
    responses(
        (status = 200, body = BundleSummary),
        (status = 413, body = weir_client::ErrorBody),
        (status = 422, body = weir_client::ErrorBody, description = "It does not validate."),
    )
)]
pub(super) async fn validate(
    State(shared): State<Shared>,
    _: Permit,
    Body(upload): Body<BundleUpload>,
) -> Result<Json<BundleSummary>, ApiError> {
    shared.bundles.check(&upload.files, &upload.note)?;
    Ok(Json(shared.bundles.validate(upload.files).await?))
}

/// All versions, newest first.
#[utoipa::path(
    get, path = "/v1/bundles", tag = "bundles", params(Paging),
    responses((status = 200, body = Page<BundleInfo>))
)]
pub(super) async fn list(
    State(shared): State<Shared>,
    _: Permit,
    Params(paging): Params<Paging>,
) -> Result<Json<Page<BundleInfo>>, ApiError> {
    let limit = page_size(paging.limit)?;
    let before = paging
        .after
        .as_deref()
        .map(|text| version(text).map_err(|_| ApiError::invalid("after is not a cursor")));
    let rows = shared.store.bundles(before.transpose()?, limit).await?;
    let next = (rows.len() == limit as usize)
        .then(|| rows.last().map(|r| r.version.to_string()))
        .flatten();
    let items = rows.into_iter().map(convert::bundle).collect();
    Ok(Json(Page { items, next }))
}

/// One version.
#[utoipa::path(
    get, path = "/v1/bundles/{version}", tag = "bundles",
    params(("version" = u64, Path)),
    responses((status = 200, body = BundleInfo), (status = 404, body = weir_client::ErrorBody))
)]
pub(super) async fn one(
    State(shared): State<Shared>,
    _: Permit,
    Path(text): Path<String>,
) -> Result<Json<BundleInfo>, ApiError> {
    let row = shared.bundles.one(version(&text)?).await?;
    Ok(Json(convert::bundle(row)))
}

/// The files of one version.
#[utoipa::path(
    get, path = "/v1/bundles/{version}/files", tag = "bundles",
    params(("version" = u64, Path)),
    responses((status = 200, body = BundleFiles), (status = 404, body = weir_client::ErrorBody))
)]
pub(super) async fn files(
    State(shared): State<Shared>,
    _: Permit,
    Path(text): Path<String>,
) -> Result<Json<BundleFiles>, ApiError> {
    let row = shared.bundles.one(version(&text)?).await?;
    Ok(Json(BundleFiles {
        version: row.version,
        digest: row.summary.digest,
        files: shared.bundles.files(row.version).await?,
    }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Against {
    /// The version to compare with; the active one by default.
    against: Option<u64>,
}

/// What one version changes.
#[utoipa::path(
    get, path = "/v1/bundles/{version}/diff", tag = "bundles",
    params(("version" = u64, Path), Against),
    responses((status = 200, body = BundleDiff), (status = 404, body = weir_client::ErrorBody))
)]
pub(super) async fn diff(
    State(shared): State<Shared>,
    permit: Permit,
    Path(text): Path<String>,
    Params(query): Params<Against>,
) -> Result<Json<BundleDiff>, ApiError> {
    let version = version(&text)?;
    let other = match query.against {
        Some(against) => shared.bundles.one(against).await?,
        None => match shared.store.active_bundle().await? {
            Some(row) => row,
            None => return Err(ApiError::not_found("no bundle is active")),
        },
    };
    if !permit.may(&subject(&other)) {
        let error = ApiError::forbidden("the version to compare with may not be read");
        return Err(permit.refuse(name_of(&subject(&other)), error).await);
    }
    let changes = shared.bundles.diff(other.version, version).await?;
    Ok(Json(BundleDiff {
        against: other.version,
        version,
        changes,
    }))
}

/// Makes a version active. Its author may not.
#[utoipa::path(
    post, path = "/v1/bundles/{version}/activate", tag = "bundles",
    params(("version" = u64, Path)), request_body = Reason,
    responses(
        (status = 200, body = Activation),
        (status = 404, body = weir_client::ErrorBody),
        (status = 409, body = weir_client::ErrorBody),
        (status = 422, body = weir_client::ErrorBody, description = "It does not validate."),
    )
)]
pub(super) async fn activate(
    State(shared): State<Shared>,
    permit: Permit,
    Path(text): Path<String>,
    Body(body): Body<Reason>,
) -> Result<Json<Activation>, ApiError> {
    let row = shared.bundles.one(version(&text)?).await?;
    switch(shared, permit, row, body.reason).await
}

/// Makes the version active that was active before the present one.
#[utoipa::path(
    post, path = "/v1/bundles/rollback", tag = "bundles",
    request_body = Reason,
    responses(
        (status = 200, body = Activation),
        (status = 409, body = weir_client::ErrorBody),
        (status = 422, body = weir_client::ErrorBody, description = "It does not validate."),
    )
)]
pub(super) async fn rollback(
    State(shared): State<Shared>,
    permit: Permit,
    Body(body): Body<Reason>,
) -> Result<Json<Activation>, ApiError> {
    let row = shared.bundles.previous().await?;
    switch(shared, permit, row, body.reason).await
}

async fn switch(
    shared: Shared,
    permit: Permit,
    row: BundleRow,
    reason: String,
) -> Result<Json<Activation>, ApiError> {
    Desk::check_reason(&reason, false)?;
    let subject = subject(&row);
    // Another version may have become the one to roll back to since the gate asked.
    if !permit.subjects.contains(&subject) {
        return Err(ApiError::conflict("the versions changed meanwhile").retry_after(1));
    }
    let resource = name_of(&subject);
    if let Err(error) = Bundles::may_activate(&row, &permit.principal) {
        return Err(permit.refuse(resource, error).await);
    }
    let detail = format!("version {}: {reason}", row.version);
    let activation = permit
        .perform(resource, detail, move |recorded| async move {
            shared.bundles.activate(&recorded, row).await
        })
        .await?;
    Ok(Json(activation))
}
