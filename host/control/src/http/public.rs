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
    // It was told to end, or nothing can be recorded any more.
    if shared.tasks.is_closed() {
        return Err(ApiError::unavailable("this Weir is ending"));
    }
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

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use crate::testing::Rig;

    #[tokio::test]
    async fn who_ends_is_not_ready() {
        let rig = Rig::new().await;
        let ready = rig.call("", "GET /readyz", Value::Null).await;
        assert_eq!(ready.status, 200);
        rig.control.shutdown().await;
        let ending = rig.call("", "GET /readyz", Value::Null).await;
        assert_eq!(ending.status, 503);
        let lives = rig.call("", "GET /healthz", Value::Null).await;
        assert_eq!(lives.status, 200);
    }
}
