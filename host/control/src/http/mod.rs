//! The HTTP API.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Info, OpenApi, OpenApiBuilder};
use utoipa_axum::router::OpenApiRouter;

use crate::control::Shared;
use crate::error::{ApiError, ControlError};

mod approvals;
mod audit;
mod bundles;
mod deliveries;
mod extract;
mod gate;
mod packages;
mod pieces;
mod plugins;
mod public;
mod sessions;
mod ssh;
mod ssh_hosts;
mod ssh_keys;
mod ssh_revocations;
mod ssh_tokens;
mod table;
mod targets;
mod watch;

use gate::KnownCaller;
pub use table::{Endpoint, endpoints};

/// Everything behind its gate.
pub(crate) fn router(shared: Shared) -> Router {
    let mut router = described();
    for route in table::table() {
        router = router.routes(route.gated(&shared));
    }
    let (router, _) = router.split_for_parts();
    router
        .fallback(|| async { ApiError::not_found("there is no such path") })
        .method_not_allowed_fallback(|| async {
            ApiError::method_not_allowed("this path does not know that method")
        })
        .layer(middleware::from_fn_with_state(shared.clone(), outermost))
        .with_state(shared)
}

/// The description of the API, generated from the code.
pub fn openapi() -> OpenApi {
    let mut router = described();
    for route in table::table() {
        router = router.routes(route.described());
    }
    router.into_openapi()
}

/// The same, as it is sent.
pub(crate) fn description() -> Result<Bytes, ControlError> {
    let text = serde_json::to_vec(&openapi()).map_err(ControlError::Description)?;
    Ok(text.into())
}

fn described() -> OpenApiRouter<Shared> {
    let mut info = Info::new("Weir", env!("CARGO_PKG_VERSION"));
    info.description = Some(
        "The control plane of Weir. Every call but the public ones needs a bearer token, and every \
         operation names the Cedar action that must be permitted (`x-cedar-action`)."
            .into(),
    );
    let mut api = OpenApiBuilder::new().info(info).build();
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("An access token of a configured issuer."))
        .build();
    api.components
        .get_or_insert_default()
        .add_security_scheme(BEARER, SecurityScheme::Http(bearer));
    OpenApiRouter::with_openapi(api)
}

/// The name of the only security scheme.
pub(crate) const BEARER: &str = "bearer";

/// Bounds the calls in flight, and says to browsers what they may do with the answers: nothing. Who
/// is not known gets one answer for each connection: pipelines of strangers are not worked off.
async fn outermost(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let place = Arc::clone(&shared.in_flight).try_acquire_owned();
    let mut response = match place {
        Ok(_place) => next.run(request).await,
        Err(_) => ApiError::unavailable("too many calls at once")
            .retry_after(1)
            .into_response(),
    };
    if response.extensions().get::<KnownCaller>().is_none() {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests;
