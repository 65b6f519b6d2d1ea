//! What anybody may ask.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::IntoResponse;
use uuid::Uuid;
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

/// How an approval is decided, at the address that notices name. It says the same of every number: what is asked for, and
/// whether anything is, is for who may read it.
#[utoipa::path(
    get, path = "/approvals/{id}", tag = "approvals",
    params(("id" = String, Path)),
    responses(
        (status = 200, description = "Words for a person.", body = String, content_type = "text/plain"),
        (status = 404, body = weir_client::ErrorBody)
    )
)]
pub(super) async fn approval(Path(id): Path<String>) -> Result<String, ApiError> {
    let unknown = || ApiError::not_found(format!("{id:?} is no number of an approval"));
    let id: Uuid = id.parse().map_err(|_| unknown())?;
    Ok(format!(
        "Approval {id}\n\n\
         Who may decide it, once `weir login` has been run, sees what is asked for with\n\n    \
         weir approvals show {id}\n\n\
         and decides with one of\n\n    \
         weir approvals approve {id}\n    \
         weir approvals deny {id} --reason 'why not'\n\n\
         The same over HTTP: GET /v1/approvals/{id}, POST to its /approve or /deny; /openapi.json says how.\n"
    ))
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
