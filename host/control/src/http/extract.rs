//! Bodies, queries and parts of paths, with the API's own errors.

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::error::ApiError;

/// Items on a page unless asked otherwise, and at most.
const PAGE: u32 = 50;
const MAX_PAGE: u32 = 200;

/// A JSON body.
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        match Json::<T>::from_request(request, state).await {
            Ok(Json(body)) => Ok(Self(body)),
            Err(rejection) => Err(of_json(&rejection)),
        }
    }
}

fn of_json(rejection: &JsonRejection) -> ApiError {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return ApiError::too_large("the body is larger than this call permits");
    }
    match rejection {
        JsonRejection::MissingJsonContentType(_) => {
            ApiError::unsupported_media_type("the body must be application/json")
        }
        // These name the place and what was expected there, never the value.
        JsonRejection::JsonDataError(e) => ApiError::invalid(e.body_text()),
        JsonRejection::JsonSyntaxError(e) => ApiError::invalid(e.body_text()),
        _ => ApiError::invalid("the body could not be read"),
    }
}

/// Parameters of the query.
pub(super) struct Params<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(params)) => Ok(Self(params)),
            Err(QueryRejection::FailedToDeserializeQueryString(e)) => {
                Err(ApiError::invalid(e.body_text()))
            }
            Err(_) => Err(ApiError::invalid("the query could not be read")),
        }
    }
}

/// How many items a page gets.
pub(super) fn page_size(limit: Option<u32>) -> Result<u32, ApiError> {
    match limit.unwrap_or(PAGE) {
        n @ 1..=MAX_PAGE => Ok(n),
        _ => Err(ApiError::invalid(format!("limit must be 1 to {MAX_PAGE}"))),
    }
}

/// The id after which a page begins, in the one way of writing it.
pub(super) fn cursor(after: Option<&str>) -> Result<Option<String>, ApiError> {
    after
        .map(|text| canonical_id(text).ok_or_else(|| ApiError::invalid("after is not a cursor")))
        .transpose()
}

/// Ids of holds and sessions are UUIDs; there is one way of writing each.
pub(super) fn canonical_id(text: &str) -> Option<String> {
    let id = uuid::Uuid::try_parse(text).ok()?;
    (id.hyphenated().to_string() == text).then(|| text.to_owned())
}
