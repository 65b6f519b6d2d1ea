//! Targets.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use pipeline::{Resource, Target};
use weir_client::{Page, TargetInfo};

use super::gate::Ask;
use super::table::Found;
use crate::control::Shared;
use crate::convert;
use crate::error::ApiError;
use crate::guard::{Permit, Subject};

/// Every target, and targets in general.
pub(super) fn all(ask: Ask) -> Found {
    Box::pin(async move {
        let mut subjects = vec![Subject::system()];
        subjects.extend(ask.shared.targets.values().map(subject));
        Ok(subjects)
    })
}

/// The target that the path names.
pub(super) fn named(ask: Ask) -> Found {
    Box::pin(async move { Ok(vec![subject(find(&ask.shared, ask.param("name"))?)]) })
}

/// A target that is not named.
pub(super) fn unknown(_: Ask) -> Found {
    Box::pin(async { Ok(vec![Subject::system()]) })
}

fn find<'a>(shared: &'a Shared, name: &str) -> Result<&'a Arc<Target>, ApiError> {
    let target = shared.targets.get(name);
    target.ok_or_else(|| ApiError::not_found("there is no target of this name"))
}

fn subject(target: &Arc<Target>) -> Subject {
    Subject {
        resource: Resource::Target,
        target: Some(target.clone()),
    }
}

/// The targets that the caller may see. Addresses and credentials are not part of them.
#[utoipa::path(
    get, path = "/v1/targets", tag = "targets",
    responses((status = 200, body = Page<TargetInfo>))
)]
pub(super) async fn list(
    State(shared): State<Shared>,
    permit: Permit,
) -> Result<Json<Page<TargetInfo>>, ApiError> {
    let visible = shared.targets.values().filter(|t| permit.may(&subject(t)));
    let items = visible.map(|t| convert::target(t)).collect();
    Ok(Json(Page { items, next: None }))
}

/// One target.
#[utoipa::path(
    get, path = "/v1/targets/{name}", tag = "targets",
    params(("name" = String, Path)),
    responses((status = 200, body = TargetInfo), (status = 404, body = weir_client::ErrorBody))
)]
pub(super) async fn one(
    State(shared): State<Shared>,
    _: Permit,
    Path(name): Path<String>,
) -> Result<Json<TargetInfo>, ApiError> {
    Ok(Json(convert::target(find(&shared, &name)?)))
}
