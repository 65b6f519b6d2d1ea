//! What anybody may ask.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use weir_client::Health;

use crate::control::Shared;
use crate::error::ApiError;

/// The process runs.
#[utoipa::path(
    get, path = "/healthz", tag = "health",
    responses((status = 200, body = Health))
)]
pub(super) async fn healthz() -> Json<Health> {
    Json(Health {
        status: "ok".into(),
    })
}

/// Calls can be served: the state store reads and writes.
#[utoipa::path(
    get, path = "/readyz", tag = "health",
    responses((status = 200, body = Health), (status = 503, body = weir_client::ErrorBody))
)]
pub(super) async fn readyz(State(shared): State<Shared>) -> Result<Json<Health>, ApiError> {
    shared.store.ping().await?;
    Ok(Json(Health {
        status: "ok".into(),
    }))
}

/// This description.
#[utoipa::path(
    get, path = "/openapi.json", tag = "health",
    responses((status = 200, description = "The OpenAPI description of this API."))
)]
pub(super) async fn openapi_json(State(shared): State<Shared>) -> impl IntoResponse {
    let json = [(header::CONTENT_TYPE, "application/json")];
    (json, shared.description.clone())
}
