//! Why a token is nobody's, in two voices: for the log, and for whoever sent it.

use std::sync::Arc;

use pipeline::Fault;

use crate::jwks::JwksError;

/// Display is for the log. It may name claims, issuers and key ids, shortened and quoted, never the
/// token. For the client there is [`AuthError::client_message`].
#[derive(Debug, Clone, thiserror::Error)]
pub enum AuthError {
    #[error("token of {bytes} bytes, more than {max}")]
    TooLarge { bytes: usize, max: usize },
    #[error("not a signed JWT: {0}")]
    Malformed(&'static str),
    #[error("header or payload is {0}")]
    Json(#[from] crate::json::JsonError),
    #[error("signature algorithm {0:?} is not accepted from this issuer")]
    Algorithm(String),
    #[error("header {0:?} asks for what we do not do")]
    Header(&'static str),
    #[error("token type {0:?} is not accepted from this issuer")]
    Type(String),
    #[error("not an access token: {0}")]
    NotAccessToken(&'static str),
    #[error("issuer {0:?} is not configured")]
    UnknownIssuer(String),
    #[error("claim {0} is missing")]
    Missing(&'static str),
    #[error("claim {claim} {problem}")]
    Claim {
        claim: String,
        problem: &'static str,
    },
    #[error("meant for another audience")]
    Audience,
    #[error("expired")]
    Expired,
    #[error("not valid yet (nbf)")]
    NotYetValid,
    #[error("issued in the future (iat)")]
    IssuedInFuture,
    #[error("issued longer ago than max_age")]
    TooOld,
    #[error("bound to a key of the client (cnf), which cannot be checked here")]
    Bound,
    #[error("no key {kid:?} for {alg} at issuer {issuer}")]
    UnknownKey {
        issuer: String,
        kid: String,
        alg: &'static str,
    },
    #[error("signature does not verify")]
    Signature,
    #[error("no keys of issuer {issuer} to verify with")]
    KeysUnavailable {
        issuer: String,
        source: Arc<JwksError>,
    },
    #[error("delegation (act): {0}")]
    Delegation(&'static str),
    #[error("the client certificate: {0}")]
    Certificate(&'static str),
    #[error("the client certificate has expired")]
    CertificateExpired,
    #[error("no rule of its authority fits the client certificate ({0})")]
    NoRule(String),
    #[error("no such certificate authority")]
    NoAuthority,
    #[error("subject {0:?} belongs to the namespace of another issuer")]
    ForeignSubject(String),
}

impl AuthError {
    /// The words that may go to the client: they help an honest one and tell nothing about our
    /// configuration.
    pub fn client_message(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "the access token is too large",
            Self::Expired | Self::TooOld => "the access token has expired; get a new one",
            Self::NotYetValid | Self::IssuedInFuture => {
                "the access token is not valid yet; check the clocks"
            }
            Self::Audience => "the access token is meant for another service",
            Self::Type(_) | Self::NotAccessToken(_) => "not an access token of the accepted kind",
            Self::Bound => "access tokens bound to a client key cannot be used here",
            Self::KeysUnavailable { .. } => {
                "the identity provider cannot be reached; try again later"
            }
            Self::CertificateExpired => "the client certificate has expired",
            Self::NoRule(_) | Self::NoAuthority => {
                "nobody is known here by this client certificate"
            }
            Self::Certificate(_) => "the client certificate is not valid",
            _ => "the access token is not valid",
        }
    }

    pub fn fault(&self) -> Fault {
        match self {
            Self::KeysUnavailable { .. } => Fault::Upstream,
            _ => Fault::Client,
        }
    }

    /// A word for metrics and records; never changes its meaning.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too-large",
            Self::Malformed(_) | Self::Json(_) => "malformed",
            Self::Algorithm(_) => "algorithm",
            Self::Header(_) => "header",
            Self::Type(_) | Self::NotAccessToken(_) => "type",
            Self::UnknownIssuer(_) => "issuer",
            Self::Missing(_) | Self::Claim { .. } => "claim",
            Self::Audience => "audience",
            Self::Expired | Self::TooOld => "expired",
            Self::NotYetValid | Self::IssuedInFuture => "not-yet-valid",
            Self::Bound => "bound",
            Self::UnknownKey { .. } => "unknown-key",
            Self::Signature => "signature",
            Self::KeysUnavailable { .. } => "keys-unavailable",
            Self::Delegation(_) => "delegation",
            Self::ForeignSubject(_) => "subject",
            Self::Certificate(_) | Self::NoRule(_) | Self::NoAuthority => "certificate",
            Self::CertificateExpired => "certificate-expired",
        }
    }

    /// Display with its causes, for a log line.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(e) = cause {
            text.push_str(": ");
            text.push_str(&e.to_string());
            cause = e.source();
        }
        text
    }

    pub(crate) fn claim(claim: &str, problem: &'static str) -> Self {
        Self::Claim {
            claim: shorten(claim),
            problem,
        }
    }
}

/// What a stranger wrote, short enough for a log line.
pub(crate) fn shorten(text: &str) -> String {
    const MAX: usize = 80;
    match text.char_indices().nth(MAX) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}
