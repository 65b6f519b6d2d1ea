//! The signature algorithms that exist for us: asymmetric ones only.

use std::fmt;
use std::str::FromStr;

/// A JWS algorithm (RFC 7518, RFC 8037). There is deliberately no HMAC and no `none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    Es256,
    Es384,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    /// With Ed25519 keys.
    EdDsa,
}

/// The kind of key that an algorithm works with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyFamily {
    P256,
    P384,
    Rsa,
    Ed25519,
}

#[derive(Debug, thiserror::Error)]
pub enum NotAllowed {
    #[error(
        "{0} is not a signature that only the issuer can make; use ES256 or another asymmetric algorithm"
    )]
    Symmetric(String),
    #[error("{0:?} is not a known signature algorithm; known are {known}", known = Algorithm::names())]
    Unknown(String),
}

impl Algorithm {
    pub const ALL: [Self; 9] = [
        Self::Es256,
        Self::Es384,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::EdDsa,
    ];

    /// The value of the header's `alg`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::EdDsa => "EdDSA",
        }
    }

    pub(crate) fn family(self) -> KeyFamily {
        match self {
            Self::Es256 => KeyFamily::P256,
            Self::Es384 => KeyFamily::P384,
            Self::EdDsa => KeyFamily::Ed25519,
            _ => KeyFamily::Rsa,
        }
    }

    pub(crate) fn library(self) -> jsonwebtoken::Algorithm {
        use jsonwebtoken::Algorithm as J;
        match self {
            Self::Es256 => J::ES256,
            Self::Es384 => J::ES384,
            Self::Rs256 => J::RS256,
            Self::Rs384 => J::RS384,
            Self::Rs512 => J::RS512,
            Self::Ps256 => J::PS256,
            Self::Ps384 => J::PS384,
            Self::Ps512 => J::PS512,
            Self::EdDsa => J::EdDSA,
        }
    }

    fn names() -> String {
        Self::ALL.map(Self::as_str).join(", ")
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = NotAllowed;

    fn from_str(text: &str) -> Result<Self, NotAllowed> {
        match Self::ALL.into_iter().find(|a| a.as_str() == text) {
            Some(a) => Ok(a),
            None if text.starts_with("HS") || text.eq_ignore_ascii_case("none") => {
                Err(NotAllowed::Symmetric(text.to_owned()))
            }
            None => Err(NotAllowed::Unknown(text.to_owned())),
        }
    }
}
