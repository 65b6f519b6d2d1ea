//! The outside of a token: its three parts (RFC 7515, 7.1) and its header.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::algorithm::Algorithm;
use crate::config::TokenType;
use crate::error::{AuthError, shorten};
use crate::json::{self, Object};

/// A longer token is refused before anything in it is looked at.
pub const MAX_TOKEN_BYTES: usize = 64 * 1024;
const MAX_HEADER_DEPTH: usize = 3;
/// Deep enough for a delegation chain of the allowed length with groups in it.
const MAX_CLAIMS_DEPTH: usize = 16;
const MAX_KID_BYTES: usize = 256;

/// A token that has been cut up and not been believed.
pub(crate) struct Unverified<'t> {
    pub(crate) header: Header,
    pub(crate) claims: Object,
    /// What the signature is over: exactly the bytes that `header` and `claims` were read from.
    pub(crate) message: &'t str,
    pub(crate) signature: &'t str,
}

pub(crate) struct Header {
    pub(crate) alg: Algorithm,
    pub(crate) kid: Option<String>,
    pub(crate) typ: TokenType,
}

/// Before anything else is done with a token, its digest included.
pub(crate) fn check_size(token: &str) -> Result<(), AuthError> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(AuthError::TooLarge {
            bytes: token.len(),
            max: MAX_TOKEN_BYTES,
        });
    }
    Ok(())
}

pub(crate) fn cut(token: &str) -> Result<Unverified<'_>, AuthError> {
    let (message, signature) = token
        .rsplit_once('.')
        .ok_or(AuthError::Malformed("it does not have three parts"))?;
    let (header, payload) = message
        .split_once('.')
        .ok_or(AuthError::Malformed("it does not have three parts"))?;
    if payload.contains('.') {
        return Err(AuthError::Malformed("it does not have three parts"));
    }
    if signature.is_empty() {
        return Err(AuthError::Malformed("it is not signed"));
    }
    let header = json::object(&decode(header)?, MAX_HEADER_DEPTH)?;
    let header = read_header(&header)?;
    let claims = json::object(&decode(payload)?, MAX_CLAIMS_DEPTH)?;
    Ok(Unverified {
        header,
        claims,
        message,
        signature,
    })
}

/// What a token says of whose it is, to whoever holds it: not verified, and so nothing to let anybody in by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    pub issuer: String,
    /// What a Weir may call them, if it puts nothing before it.
    pub subjects: Vec<String>,
}

/// Claims that tell people of one issuer apart.
const SUBJECTS: [&str; 5] = ["sub", "email", "preferred_username", "upn", "oid"];

impl Claimed {
    /// None: it is not a token that a Weir could read.
    pub fn of(token: &str) -> Option<Self> {
        check_size(token).ok()?;
        let claims = cut(token).ok()?.claims;
        let text = |name: &str| Some(claims.get(name)?.as_str()?.to_owned());
        Some(Self {
            issuer: text("iss")?,
            subjects: SUBJECTS.into_iter().filter_map(text).collect(),
        })
    }
}

fn decode(part: &str) -> Result<Vec<u8>, AuthError> {
    // This engine takes exactly one spelling of every byte string: no padding, no loose bits.
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| AuthError::Malformed("a part is not base64url"))
}

/// Keys that a header brings along (`jwk`, `jku`, `x5u`, `x5c`) are never looked at.
fn read_header(header: &Object) -> Result<Header, AuthError> {
    let Some(Value::String(alg)) = header.get("alg") else {
        return Err(AuthError::Malformed("the header has no alg"));
    };
    let alg = alg
        .parse()
        .map_err(|_| AuthError::Algorithm(shorten(alg)))?;
    // Whoever understands no extension must refuse what declares one critical (RFC 7515, 4.1.11).
    // `b64` changes what is signed (RFC 7797); `enc` and `zip` are of encrypted tokens.
    for name in ["crit", "b64", "enc", "zip"] {
        if header.contains_key(name) {
            return Err(AuthError::Header(name));
        }
    }
    let cty = header.get("cty").and_then(Value::as_str);
    if cty.is_some_and(|c| c.eq_ignore_ascii_case("jwt")) {
        return Err(AuthError::Malformed("it holds another token"));
    }
    let kid = match header.get("kid") {
        None => None,
        Some(Value::String(kid)) if kid.len() <= MAX_KID_BYTES => Some(kid.clone()),
        Some(_) => return Err(AuthError::Malformed("kid is not a short string")),
    };
    let typ = match header.get("typ") {
        None => TokenType::Absent,
        Some(Value::String(typ)) => token_type(typ)?,
        Some(_) => return Err(AuthError::Malformed("typ is not a string")),
    };
    Ok(Header { alg, kid, typ })
}

/// A media type, usually without its `application/` (RFC 7515, 4.1.9).
fn token_type(typ: &str) -> Result<TokenType, AuthError> {
    let lower = typ.to_ascii_lowercase();
    match lower.strip_prefix("application/").unwrap_or(&lower) {
        "at+jwt" => Ok(TokenType::AccessToken),
        "jwt" => Ok(TokenType::Jwt),
        // logout+jwt, dpop+jwt, secevent+jwt, and everything yet to come.
        _ => Err(AuthError::Type(shorten(typ))),
    }
}
