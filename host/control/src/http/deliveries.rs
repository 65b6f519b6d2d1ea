//! Deliveries of the record to other systems.

use axum::Json;
use axum::extract::State;
use weir_client::{DeliveryInfo, Page};

use super::gate::Ask;
use super::table::Found;
use crate::control::Shared;
use crate::error::ApiError;
use crate::guard::Subject;

pub(super) fn any(_: Ask) -> Found {
    Box::pin(async { Ok(vec![Subject::system()]) })
}

/// How far each receiver of the record is. Where they are is not part of it.
#[utoipa::path(
    get, path = "/v1/deliveries", tag = "deliveries",
    responses((status = 200, body = Page<DeliveryInfo>))
)]
pub(super) async fn list(
    State(shared): State<Shared>,
) -> Result<Json<Page<DeliveryInfo>>, ApiError> {
    let items = shared.deliveries.list().await?;
    Ok(Json(Page { items, next: None }))
}
