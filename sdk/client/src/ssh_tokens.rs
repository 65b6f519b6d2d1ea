//! Short tokens for SSH.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::Timestamp;

/// How long a short token is to count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SshTokenRequest {
    /// From 1 to 720; an hour otherwise. It ends sooner where the caller's own token does, or a certificate would.
    #[serde(default)]
    pub minutes: Option<u32>,
}

/// A token for the password prompt of SSH, which stands for the token that it was got with.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SshToken {
    /// `weir_st_` and 43 characters. Weir does not have it any more.
    pub token: String,
    /// By which the record names it.
    pub id: String,
    /// The first moment at which it does not count.
    pub expires_at: Timestamp,
    /// From where it counts; none: from anywhere.
    pub source: Option<String>,
}

impl fmt::Debug for SshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SshToken")
            .field("id", &self.id)
            .field("expires_at", &self.expires_at)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

/// A short token that counts, without the token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SshTokenInfo {
    /// By which the record names it.
    pub id: String,
    /// Whose it is.
    pub subject: String,
    /// From where it counts; none: from anywhere.
    pub source: Option<String>,
    pub issued_at: Timestamp,
    /// The first moment at which it does not count.
    pub expires_at: Timestamp,
}

/// Which tokens are to be listed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SshTokenFilter {
    /// Only those of this principal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
}

/// Which token of the caller's own is to count no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SshTokenRemoval {
    pub id: String,
}

/// Which token, of whomever, is to count no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SshTokenRevocation {
    pub id: String,
    pub reason: String,
}

/// What that did at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SshTokenRevoked {
    pub id: String,
    /// Live sessions that had come in by it.
    pub sessions_ended: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_in_no_debug_text() {
        let token = SshToken {
            token: "weir_st_secret".into(),
            id: "0011".into(),
            expires_at: Timestamp::from_millis(0),
            source: None,
        };
        let text = format!("{token:?}");
        assert!(text.contains("0011") && !text.contains("secret"), "{text}");
    }
}
