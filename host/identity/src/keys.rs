//! An issuer's key set (RFC 7517), read with suspicion: only keys that can verify an asymmetric
//! signature are kept.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde_json::Value;

use crate::algorithm::{Algorithm, KeyFamily};
use crate::error::shorten;
use crate::json::{self, JsonError, Object};

/// More keys than this are not the keys of one issuer.
const MAX_KEYS: usize = 100;
/// Several keys may share an id, or have none; no more than these are tried for one token.
const MAX_CANDIDATES: usize = 4;
const MAX_DEPTH: usize = 6;
/// RSA moduli from 2,048 to 8,192 bits.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    #[error("the key set is {0}")]
    Json(#[from] JsonError),
    #[error("the key set has no list named keys")]
    NoList,
    #[error("the key set has more than {MAX_KEYS} keys")]
    TooMany,
    #[error("the key set has no key that can verify an asymmetric signature")]
    NoUsableKey,
}

/// The usable keys of one issuer.
pub(crate) struct KeySet {
    keys: Vec<Key>,
    /// Of the document: a different one may have withdrawn keys.
    pub(crate) digest: [u8; 32],
}

struct Key {
    kid: Option<String>,
    alg: Option<Algorithm>,
    family: KeyFamily,
    key: DecodingKey,
}

/// Whether a signature verifies with the keys of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    Good,
    Bad,
    /// No key of this id and algorithm.
    NoKey,
}

impl KeySet {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, KeySetError> {
        let document = json::object(bytes, MAX_DEPTH)?;
        let list = document
            .get("keys")
            .and_then(Value::as_array)
            .ok_or(KeySetError::NoList)?;
        if list.len() > MAX_KEYS {
            return Err(KeySetError::TooMany);
        }
        let mut keys = Vec::new();
        for jwk in list {
            match key(jwk) {
                Ok(key) => keys.push(key),
                Err(reason) => {
                    let kid = jwk.get("kid").and_then(Value::as_str).map(shorten);
                    tracing::debug!(?kid, reason, "key of a key set not used");
                }
            }
        }
        if keys.is_empty() {
            return Err(KeySetError::NoUsableKey);
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
        Ok(Self { keys, digest: hash })
    }

    pub(crate) fn has(&self, kid: Option<&str>, alg: Algorithm) -> bool {
        self.candidates(kid, alg).next().is_some()
    }

    /// Verifies `signature` (still base64url) over `message`.
    pub(crate) fn check(
        &self,
        kid: Option<&str>,
        alg: Algorithm,
        message: &[u8],
        signature: &str,
    ) -> Check {
        let mut result = Check::NoKey;
        for key in self.candidates(kid, alg).take(MAX_CANDIDATES) {
            result = Check::Bad;
            // An error means that key and signature cannot belong together: not good.
            if let Ok(true) =
                jsonwebtoken::crypto::verify(signature, message, &key.key, alg.library())
            {
                return Check::Good;
            }
        }
        result
    }

    fn candidates(&self, kid: Option<&str>, alg: Algorithm) -> impl Iterator<Item = &Key> {
        // Without an id in the token, any key of the right type may have signed it.
        self.keys.iter().filter(move |k| {
            k.family == alg.family()
                && k.alg.is_none_or(|a| a == alg)
                && (kid.is_none() || k.kid.as_deref() == kid)
        })
    }
}

/// One key, or why it is of no use to us.
fn key(jwk: &Value) -> Result<Key, &'static str> {
    let jwk = jwk.as_object().ok_or("not an object")?;
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    if jwk.contains_key("d") || jwk.contains_key("k") {
        return Err("it is secret, and published");
    }
    if text("use").is_some_and(|u| u != "sig") {
        return Err("not for signatures");
    }
    if let Some(ops) = jwk.get("key_ops")
        && !ops
            .as_array()
            .is_some_and(|ops| ops.iter().any(|op| op == "verify"))
    {
        return Err("not for verifying");
    }
    let kid = match jwk.get("kid") {
        None => None,
        Some(Value::String(kid)) => Some(kid.clone()),
        Some(_) => return Err("kid is not a string"),
    };
    let alg = match jwk.get("alg") {
        None => None,
        Some(Value::String(alg)) => Some(
            alg.parse::<Algorithm>()
                .map_err(|_| "algorithm not allowed")?,
        ),
        Some(_) => return Err("alg is not a string"),
    };
    let (family, key) = match (text("kty"), text("crv")) {
        (Some("EC"), Some("P-256")) => (KeyFamily::P256, point(jwk, 32)?),
        (Some("EC"), Some("P-384")) => (KeyFamily::P384, point(jwk, 48)?),
        (Some("OKP"), Some("Ed25519")) => (
            KeyFamily::Ed25519,
            DecodingKey::from_ed_der(&bytes(jwk, "x", 32..=32)?),
        ),
        (Some("RSA"), _) => {
            let (n, e) = (bytes(jwk, "n", RSA_BYTES)?, bytes(jwk, "e", 1..=8)?);
            (KeyFamily::Rsa, DecodingKey::from_rsa_raw_components(&n, &e))
        }
        _ => return Err("type or curve not supported"),
    };
    if alg.is_some_and(|a| a.family() != family) {
        return Err("alg and kty do not fit");
    }
    Ok(Key {
        kid,
        alg,
        family,
        key,
    })
}

/// A point of a curve, uncompressed (SEC 1, 2.3.3).
fn point(jwk: &Object, size: usize) -> Result<DecodingKey, &'static str> {
    let mut point = vec![4];
    point.extend(bytes(jwk, "x", size..=size)?);
    point.extend(bytes(jwk, "y", size..=size)?);
    Ok(DecodingKey::from_ec_der(&point))
}

fn bytes(
    jwk: &Object,
    name: &str,
    length: std::ops::RangeInclusive<usize>,
) -> Result<Vec<u8>, &'static str> {
    let text = jwk
        .get(name)
        .and_then(Value::as_str)
        .ok_or("a number is missing")?;
    let bytes = URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| "a number is not base64url")?;
    if length.contains(&bytes.len()) {
        Ok(bytes)
    } else {
        Err("a number has the wrong size")
    }
}

#[cfg(test)]
mod tests;
