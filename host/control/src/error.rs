//! Errors as the API answers them, and those that end the start.

use std::path::PathBuf;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use weir_client::{BundleProblem, ErrorBody};

use crate::store::StoreError;

/// A call that failed, in words that the caller may read. Never holds a token or an inner error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    pub status: StatusCode,
    /// Stable, for programs.
    pub code: &'static str,
    pub message: String,
    pub hint: Option<String>,
    pub problems: Vec<BundleProblem>,
    /// Seconds, for `Retry-After`.
    pub retry_after: Option<u32>,
    /// What was asked for has begun all the same, and goes on.
    pub goes_on: bool,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $status:ident,)*) => {
        $($(#[$doc])* pub fn $name(message: impl Into<String>) -> Self {
            Self::new(StatusCode::$status, stringify!($name), message)
        })*
    };
}

impl ApiError {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            hint: None,
            problems: Vec::new(),
            retry_after: None,
            goes_on: false,
        }
    }

    kinds! {
        invalid = BAD_REQUEST,
        /// No valid token.
        unauthorized = UNAUTHORIZED,
        /// Policy, or a rule of the control plane itself, says no.
        forbidden = FORBIDDEN,
        not_found = NOT_FOUND,
        method_not_allowed = METHOD_NOT_ALLOWED,
        /// It no longer fits the state of things.
        conflict = CONFLICT,
        too_large = PAYLOAD_TOO_LARGE,
        unsupported_media_type = UNSUPPORTED_MEDIA_TYPE,
        /// Well-formed, but refused: a bundle that does not validate, a component that is not admitted.
        rejected = UNPROCESSABLE_ENTITY,
        too_many = TOO_MANY_REQUESTS,
        /// Somebody must look at Weir.
        internal = INTERNAL_SERVER_ERROR,
        unavailable = SERVICE_UNAVAILABLE,
        timeout = GATEWAY_TIMEOUT,
        /// Weir's disk has no room for it.
        insufficient_storage = INSUFFICIENT_STORAGE,
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub fn problems(mut self, problems: Vec<BundleProblem>) -> Self {
        self.problems = problems;
        self
    }

    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    pub fn goes_on(mut self) -> Self {
        self.goes_on = true;
        self
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = ErrorBody {
            code: self.code.to_owned(),
            message: self.message,
            hint: self.hint,
            problems: self.problems,
        };
        let mut response = (self.status, Json(body)).into_response();
        if let Some(seconds) = self.retry_after {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "the state store failed");
        Self::unavailable("the state store cannot answer at the moment")
            .hint("Try again; if it persists, ask the operators of Weir to look at its log.")
            .retry_after(5)
    }
}

/// Why the control plane cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error("another process uses the state database {0}: only one may")]
    InUse(PathBuf),
    #[error("the state database {path} cannot be opened")]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the state store failed")]
    Store(#[from] StoreError),
    #[error("the recorder cannot record what is done at the start")]
    Record(#[from] pipeline::ports::JournalError),
    #[error("the revocation {id} in the state store cannot be put into force: {why}")]
    Revocation { id: String, why: String },
    #[error("base_url must be an http:// or https:// URL without user, query and fragment")]
    BaseUrl,
    #[error("the description of the API cannot be written")]
    Description(#[source] serde_json::Error),
    #[error("the webhook cannot be used: {0}")]
    Webhook(String),
    #[error("the bundle of the configuration cannot become version {version}: {first}")]
    Bundle { version: u64, first: String },
}
