//! The inside of a token: the registered claims (RFC 7519, RFC 9068), judged strictly.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::config::{IssuerConfig, TokenType};
use crate::error::AuthError;
use crate::json::Object;

/// The end of the year 9999: later moments are mistakes, and would overflow what calculates on.
const MAX_NUMERIC_DATE: f64 = 253_402_300_799.0;
const MAX_AUDIENCES: usize = 100;
const MAX_JTI_BYTES: usize = 256;

/// What the registered claims say, once they are found good.
pub(crate) struct Standing {
    /// When the token, or our patience with it, ends.
    pub(crate) ends: SystemTime,
    /// The earliest moment at which it may have been issued: the issuer's clock may be ahead of ours.
    pub(crate) issued: Option<SystemTime>,
    pub(crate) jti: Option<String>,
}

pub(crate) fn issuer(claims: &Object) -> Result<&str, AuthError> {
    string(claims, "iss")?.ok_or(AuthError::Missing("iss"))
}

/// Judges everything but the signature.
pub(crate) fn judge(
    config: &IssuerConfig,
    typ: TokenType,
    claims: &Object,
    now: SystemTime,
) -> Result<Standing, AuthError> {
    purpose(claims)?;
    if !config.unmarked && typ != TokenType::AccessToken && !has_access_sign(claims) {
        return Err(AuthError::NotAccessToken(
            "neither its type nor a claim says that it is one",
        ));
    }
    audience(config, claims)?;
    if string(claims, "sub")?.is_none() {
        return Err(AuthError::Missing("sub"));
    }
    let jti = string(claims, "jti")?.map(str::to_owned);
    if jti.as_ref().is_some_and(|j| j.len() > MAX_JTI_BYTES) {
        return Err(AuthError::claim("jti", "is too long"));
    }
    let (issued, ends) = times(config, claims, now)?;
    Ok(Standing { ends, issued, jti })
}

/// Is this an access token at all, and one that its bearer may simply show?
fn purpose(claims: &Object) -> Result<(), AuthError> {
    // Only ID tokens have these (OpenID Connect Core 2, 3.1.3.6, 3.3.2.11).
    for name in ["nonce", "at_hash", "c_hash", "s_hash"] {
        if claims.contains_key(name) {
            return Err(AuthError::NotAccessToken("it is an ID token"));
        }
    }
    // Security events and logout tokens (RFC 8417, OpenID Connect Back-Channel Logout 2.4).
    if claims.contains_key("events") {
        return Err(AuthError::NotAccessToken("it reports an event"));
    }
    // Only DPoP proofs (RFC 9449, 4.2).
    if claims.contains_key("htm") || claims.contains_key("htu") {
        return Err(AuthError::NotAccessToken("it is a proof of possession"));
    }
    // Some providers say it in the payload.
    for (name, access) in [("token_use", "access"), ("typ", "bearer")] {
        match claims.get(name) {
            None => {}
            Some(Value::String(v)) if v.eq_ignore_ascii_case(access) => {}
            Some(_) => return Err(AuthError::NotAccessToken("its payload says so")),
        }
    }
    // Whoever holds a bound token must also prove the key (RFC 7800, RFC 8705, RFC 9449). Nobody
    // has proved anything to us.
    if claims.contains_key("cnf") {
        return Err(AuthError::Bound);
    }
    Ok(())
}

/// What access tokens say and ID tokens do not. Many providers write both with the same `typ`, or
/// with none, and an ID token goes to places where no access token should.
fn has_access_sign(claims: &Object) -> bool {
    // The scopes that were granted, and the client that they were granted to.
    let says = |name| claims.contains_key(name);
    if [
        "scope",
        "scp",
        "client_id",
        "cid",
        "appid",
        "gty",
        "token_use",
    ]
    .into_iter()
    .any(says)
        || says("typ")
    {
        return true;
    }
    // An ID token is meant for the client that it was issued to (OpenID Connect Core 2).
    let meant_for = |client: &str| match claims.get("aud") {
        Some(Value::String(one)) => one == client,
        Some(Value::Array(list)) => list.iter().any(|a| a == client),
        _ => false,
    };
    claims
        .get("azp")
        .and_then(Value::as_str)
        .is_some_and(|client| !meant_for(client))
}

/// Is this the token of a program that logged in as itself (RFC 6749, 4.4)? Those have no person as
/// their subject but the client, which providers say in different ways.
pub(crate) fn is_service_account(claims: &Object) -> bool {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let client = ["client_id", "azp", "cid", "appid"].map(text);
    let clients = client.into_iter().flatten();
    let is_client = |name: Option<&str>, prefix: &str, suffix: &str| {
        name.is_some_and(|name| {
            let name = name
                .strip_prefix(prefix)
                .and_then(|n| n.strip_suffix(suffix));
            name.is_some_and(|name| clients.clone().any(|client| client == name))
        })
    };
    // Auth0, Entra ID; the client's id itself; Auth0 again; Keycloak.
    text("gty").is_some_and(|gty| gty.eq_ignore_ascii_case("client-credentials"))
        || text("idtyp").is_some_and(|idtyp| idtyp.eq_ignore_ascii_case("app"))
        || is_client(text("sub"), "", "")
        || is_client(text("sub"), "", "@clients")
        || is_client(text("preferred_username"), "service-account-", "")
}

fn audience(config: &IssuerConfig, claims: &Object) -> Result<(), AuthError> {
    let ours = |v: &Value| {
        v.as_str()
            .is_some_and(|a| config.audiences.iter().any(|o| o == a))
    };
    match claims.get("aud") {
        None => Err(AuthError::Missing("aud")),
        Some(one @ Value::String(_)) if ours(one) => Ok(()),
        Some(Value::String(_)) => Err(AuthError::Audience),
        Some(Value::Array(list)) => {
            if list.len() > MAX_AUDIENCES || !list.iter().all(Value::is_string) {
                return Err(AuthError::claim("aud", "is not a short list of strings"));
            }
            if list.iter().any(ours) {
                Ok(())
            } else {
                Err(AuthError::Audience)
            }
        }
        Some(_) => Err(AuthError::claim("aud", "is neither a string nor a list")),
    }
}

/// When it was issued at the earliest, if it says so, and when it ends.
fn times(
    config: &IssuerConfig,
    claims: &Object,
    now: SystemTime,
) -> Result<(Option<SystemTime>, SystemTime), AuthError> {
    let mut ends = date(claims, "exp")?.ok_or(AuthError::Missing("exp"))?;
    if now >= ends {
        return Err(AuthError::Expired);
    }
    let soon = now.checked_add(config.leeway).unwrap_or(now);
    if date(claims, "nbf")?.is_some_and(|nbf| nbf > soon) {
        return Err(AuthError::NotYetValid);
    }
    let issued = date(claims, "iat")?;
    if issued.is_some_and(|iat| iat > soon) {
        return Err(AuthError::IssuedInFuture);
    }
    if let Some(max_age) = config.max_age {
        let issued = issued.ok_or(AuthError::Missing("iat"))?;
        let too_old = issued
            .checked_add(max_age)
            .ok_or_else(|| AuthError::claim("iat", "is too far away"))?;
        if now >= too_old {
            return Err(AuthError::TooOld);
        }
        ends = ends.min(too_old);
    }
    let earliest = issued.map(|iat| iat.checked_sub(config.leeway).unwrap_or(iat));
    Ok((earliest, ends))
}

/// A NumericDate: seconds since 1970, possibly with a fraction, which is dropped.
fn date(claims: &Object, name: &str) -> Result<Option<SystemTime>, AuthError> {
    let seconds = match claims.get(name) {
        None => return Ok(None),
        Some(Value::Number(n)) => n.as_f64().unwrap_or(f64::NAN),
        Some(_) => return Err(AuthError::claim(name, "is not a number")),
    };
    if !(0.0..=MAX_NUMERIC_DATE).contains(&seconds) {
        return Err(AuthError::claim(
            name,
            "is not a moment between 1970 and 9999",
        ));
    }
    let moment = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds as u64));
    moment
        .ok_or_else(|| AuthError::claim(name, "is too far away"))
        .map(Some)
}

/// A string claim: absent, or a string.
pub(crate) fn string<'a>(claims: &'a Object, name: &str) -> Result<Option<&'a str>, AuthError> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::String(s)) => Ok(Some(s)),
        Some(_) => Err(AuthError::claim(name, "is not a string")),
    }
}
