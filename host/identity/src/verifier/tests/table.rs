//! What is accepted and what is refused: one row per claim, header and trick.

use serde_json::{Value, json};

use crate::testing::{AUDIENCE, ISSUER, NOW};

pub(super) type Change = fn(&mut Value, &mut Value);

/// Header and claims of a good token, and what one row changes about them. The word is the code of
/// the refusal, empty for none.
pub(super) fn table() -> Vec<(&'static str, Change, &'static str)> {
    vec![
        ("unchanged", |_, _| {}, ""),
        // Claims that must be there.
        ("no iss", |_, c| remove(c, "iss"), "claim"),
        ("no aud", |_, c| remove(c, "aud"), "claim"),
        ("no exp", |_, c| remove(c, "exp"), "claim"),
        ("no sub", |_, c| remove(c, "sub"), "claim"),
        ("no iat", |_, c| remove(c, "iat"), "claim"),
        ("no jti", |_, c| remove(c, "jti"), ""),
        (
            "amr of many",
            |_, c| c["amr"] = json!(vec!["otp"; 33]),
            "claim",
        ),
        (
            "amr too long",
            |_, c| c["amr"] = json!(["x".repeat(256)]),
            "claim",
        ),
        (
            "amr hidden",
            |_, c| c["amr"] = json!(["h\u{200b}wk"]),
            "claim",
        ),
        (
            "acr too long",
            |_, c| c["acr"] = json!("x".repeat(256)),
            "claim",
        ),
        ("acr hidden", |_, c| c["acr"] = json!("gold\n"), "claim"),
        ("amr and acr", |_, c| c["amr"] = json!(["hwk", 7]), ""),
        ("no groups", |_, c| remove(c, "groups"), ""),
        // Issuer.
        (
            "other iss",
            |_, c| c["iss"] = json!("https://evil.example"),
            "issuer",
        ),
        (
            "iss with slash",
            |_, c| c["iss"] = json!(format!("{ISSUER}/")),
            "issuer",
        ),
        (
            "iss in capitals",
            |_, c| c["iss"] = json!(ISSUER.to_uppercase()),
            "issuer",
        ),
        ("iss null", |_, c| c["iss"] = Value::Null, "claim"),
        ("iss list", |_, c| c["iss"] = json!([ISSUER]), "claim"),
        // Audience.
        ("aud list", |_, c| c["aud"] = json!(["other", AUDIENCE]), ""),
        ("aud other", |_, c| c["aud"] = json!("other"), "audience"),
        (
            "aud other list",
            |_, c| c["aud"] = json!(["other", "more"]),
            "audience",
        ),
        ("aud empty list", |_, c| c["aud"] = json!([]), "audience"),
        ("aud part", |_, c| c["aud"] = json!("wei"), "audience"),
        (
            "aud longer",
            |_, c| c["aud"] = json!("weir-prod"),
            "audience",
        ),
        (
            "aud mixed list",
            |_, c| c["aud"] = json!([AUDIENCE, 7]),
            "claim",
        ),
        (
            "aud object",
            |_, c| c["aud"] = json!({"weir": true}),
            "claim",
        ),
        ("aud null", |_, c| c["aud"] = Value::Null, "claim"),
        // Times.
        ("exp now", |_, c| c["exp"] = json!(NOW), "expired"),
        (
            "exp a second ago",
            |_, c| c["exp"] = json!(NOW - 1),
            "expired",
        ),
        ("exp 30 s ago", |_, c| c["exp"] = json!(NOW - 30), "expired"),
        ("exp in a second", |_, c| c["exp"] = json!(NOW + 1), ""),
        (
            "exp fraction",
            |_, c| c["exp"] = json!(NOW as f64 + 1.5),
            "",
        ),
        ("exp zero", |_, c| c["exp"] = json!(0), "expired"),
        (
            "exp string",
            |_, c| c["exp"] = json!((NOW + 300).to_string()),
            "claim",
        ),
        ("exp 1e300", |_, c| c["exp"] = json!(1e300), "claim"),
        ("exp negative", |_, c| c["exp"] = json!(-1), "claim"),
        ("exp u64 max", |_, c| c["exp"] = json!(u64::MAX), "claim"),
        ("exp null", |_, c| c["exp"] = Value::Null, "claim"),
        ("exp true", |_, c| c["exp"] = json!(true), "claim"),
        ("exp list", |_, c| c["exp"] = json!([NOW + 300]), "claim"),
        ("nbf past", |_, c| c["nbf"] = json!(NOW - 1), ""),
        ("nbf within leeway", |_, c| c["nbf"] = json!(NOW + 5), ""),
        (
            "nbf future",
            |_, c| c["nbf"] = json!(NOW + 6),
            "not-yet-valid",
        ),
        ("nbf string", |_, c| c["nbf"] = json!("0"), "claim"),
        ("iat within leeway", |_, c| c["iat"] = json!(NOW + 5), ""),
        (
            "iat future",
            |_, c| c["iat"] = json!(NOW + 6),
            "not-yet-valid",
        ),
        ("iat string", |_, c| c["iat"] = json!("0"), "claim"),
        (
            "iat a day ago",
            |_, c| c["iat"] = json!(NOW - 86_400),
            "expired",
        ),
        (
            "iat nearly a day ago",
            |_, c| c["iat"] = json!(NOW - 86_399),
            "",
        ),
        // Subject and id.
        ("sub number", |_, c| c["sub"] = json!(7), "claim"),
        ("sub null", |_, c| c["sub"] = Value::Null, "claim"),
        ("sub list", |_, c| c["sub"] = json!(["alice"]), "claim"),
        ("sub empty", |_, c| c["sub"] = json!(""), "claim"),
        (
            "sub newline",
            |_, c| c["sub"] = json!("alice\nroot"),
            "claim",
        ),
        ("sub nul", |_, c| c["sub"] = json!("alice\0"), "claim"),
        (
            "sub bidi",
            |_, c| c["sub"] = json!("alice\u{202e}"),
            "claim",
        ),
        (
            "sub zero width",
            |_, c| c["sub"] = json!("al\u{200b}ice"),
            "claim",
        ),
        (
            "sub long",
            |_, c| c["sub"] = json!("a".repeat(256)),
            "claim",
        ),
        ("sub umlaut", |_, c| c["sub"] = json!("jürgen"), ""),
        ("jti number", |_, c| c["jti"] = json!(1), "claim"),
        (
            "jti long",
            |_, c| c["jti"] = json!("x".repeat(257)),
            "claim",
        ),
        // Groups.
        ("one group", |_, c| c["groups"] = json!("eng"), ""),
        ("groups null", |_, c| c["groups"] = Value::Null, "claim"),
        (
            "groups object",
            |_, c| c["groups"] = json!({"eng": true}),
            "claim",
        ),
        (
            "groups mixed",
            |_, c| c["groups"] = json!(["eng", 1]),
            "claim",
        ),
        (
            "groups nested",
            |_, c| c["groups"] = json!([["eng"]]),
            "claim",
        ),
        (
            "group empty",
            |_, c| c["groups"] = json!(["eng", ""]),
            "claim",
        ),
        (
            "group newline",
            |_, c| c["groups"] = json!(["eng\n"]),
            "claim",
        ),
        (
            "too many groups",
            |_, c| c["groups"] = json!(vec!["g"; 501]),
            "claim",
        ),
        (
            "groups elsewhere",
            |_, c| c["_claim_names"] = json!({"groups": "src1"}),
            "claim",
        ),
        (
            "others elsewhere",
            |_, c| c["_claim_names"] = json!({"address": "src1"}),
            "",
        ),
        ("hasgroups", |_, c| c["hasgroups"] = json!(true), "claim"),
        // Not an access token.
        ("nonce", |_, c| c["nonce"] = json!("n"), "type"),
        ("at_hash", |_, c| c["at_hash"] = json!("h"), "type"),
        ("c_hash", |_, c| c["c_hash"] = json!("h"), "type"),
        ("events", |_, c| c["events"] = json!({}), "type"),
        ("htm", |_, c| c["htm"] = json!("POST"), "type"),
        ("token_use id", |_, c| c["token_use"] = json!("id"), "type"),
        (
            "token_use access",
            |_, c| c["token_use"] = json!("access"),
            "",
        ),
        ("claim typ ID", |_, c| c["typ"] = json!("ID"), "type"),
        (
            "claim typ Refresh",
            |_, c| c["typ"] = json!("Refresh"),
            "type",
        ),
        ("claim typ Bearer", |_, c| c["typ"] = json!("Bearer"), ""),
        // Bound to a key that nobody has shown.
        ("cnf jkt", |_, c| c["cnf"] = json!({"jkt": "x"}), "bound"),
        (
            "cnf x5t",
            |_, c| c["cnf"] = json!({"x5t#S256": "x"}),
            "bound",
        ),
        ("cnf null", |_, c| c["cnf"] = Value::Null, "bound"),
        // Delegation.
        ("act", |_, c| c["act"] = json!({"sub": "agent"}), ""),
        (
            "act same issuer",
            |_, c| c["act"] = json!({"sub": "agent", "iss": ISSUER}),
            "",
        ),
        (
            "act foreign",
            |_, c| c["act"] = json!({"sub": "a", "iss": "https://x"}),
            "delegation",
        ),
        ("act string", |_, c| c["act"] = json!("agent"), "delegation"),
        ("act null", |_, c| c["act"] = Value::Null, "delegation"),
        (
            "act without sub",
            |_, c| c["act"] = json!({"client_id": "agent"}),
            "delegation",
        ),
        (
            "act sub number",
            |_, c| c["act"] = json!({"sub": 7}),
            "claim",
        ),
        (
            "act sub empty",
            |_, c| c["act"] = json!({"sub": ""}),
            "claim",
        ),
        (
            "act cnf",
            |_, c| c["act"] = json!({"sub": "agent", "cnf": {}}),
            "bound",
        ),
        ("four actors", |_, c| c["act"] = acts(4), ""),
        ("five actors", |_, c| c["act"] = acts(5), "delegation"),
        ("fourteen actors", |_, c| c["act"] = acts(14), "delegation"),
        ("forty actors", |_, c| c["act"] = acts(40), "malformed"),
        // Header.
        ("typ JWT", |h, c| jwt(h, c, "scope"), ""),
        (
            "typ lower case",
            |h, c| {
                jwt(h, c, "scope");
                h["typ"] = json!("jwt");
            },
            "",
        ),
        // The signs by which an access token is told from an ID token.
        (
            "typ JWT without a sign",
            |h, _| h["typ"] = json!("JWT"),
            "type",
        ),
        ("typ JWT scp", |h, c| jwt(h, c, "scp"), ""),
        ("typ JWT client_id", |h, c| jwt(h, c, "client_id"), ""),
        ("typ JWT cid", |h, c| jwt(h, c, "cid"), ""),
        ("typ JWT appid", |h, c| jwt(h, c, "appid"), ""),
        ("typ JWT azp", |h, c| jwt(h, c, "azp"), ""),
        (
            "typ JWT for its own client",
            |h, c| {
                jwt(h, c, "azp");
                c["azp"] = json!(AUDIENCE);
            },
            "type",
        ),
        (
            "typ JWT for its own client, among others",
            |h, c| {
                jwt(h, c, "azp");
                (c["azp"], c["aud"]) = (json!(AUDIENCE), json!(["more", AUDIENCE]));
            },
            "type",
        ),
        (
            "typ JWT with a nonce",
            |h, c| {
                jwt(h, c, "scope");
                c["nonce"] = json!("n");
            },
            "type",
        ),
        (
            "typ full",
            |h, _| h["typ"] = json!("application/at+jwt"),
            "",
        ),
        (
            "no typ",
            |h, c| {
                jwt(h, c, "scope");
                remove(h, "typ");
            },
            "",
        ),
        ("no typ, no sign", |h, _| remove(h, "typ"), "type"),
        ("typ logout", |h, _| h["typ"] = json!("logout+jwt"), "type"),
        ("typ dpop", |h, _| h["typ"] = json!("dpop+jwt"), "type"),
        (
            "typ secevent",
            |h, _| h["typ"] = json!("secevent+jwt"),
            "type",
        ),
        ("typ empty", |h, _| h["typ"] = json!(""), "type"),
        ("typ number", |h, _| h["typ"] = json!(1), "malformed"),
        ("crit unknown", |h, _| h["crit"] = json!(["foo"]), "header"),
        ("crit b64", |h, _| h["crit"] = json!(["b64"]), "header"),
        ("crit empty", |h, _| h["crit"] = json!([]), "header"),
        ("b64 false", |h, _| h["b64"] = json!(false), "header"),
        ("zip", |h, _| h["zip"] = json!("DEF"), "header"),
        ("enc", |h, _| h["enc"] = json!("A256GCM"), "header"),
        ("nested token", |h, _| h["cty"] = json!("JWT"), "malformed"),
        ("alg none", |h, _| h["alg"] = json!("none"), "algorithm"),
        ("alg None", |h, _| h["alg"] = json!("None"), "algorithm"),
        ("alg HS256", |h, _| h["alg"] = json!("HS256"), "algorithm"),
        ("alg es256", |h, _| h["alg"] = json!("es256"), "algorithm"),
        (
            "alg RS256 with this key",
            |h, _| h["alg"] = json!("RS256"),
            "unknown-key",
        ),
        (
            "alg ES384 with this key",
            |h, _| h["alg"] = json!("ES384"),
            "unknown-key",
        ),
        ("alg null", |h, _| h["alg"] = Value::Null, "malformed"),
        ("no alg", |h, _| remove(h, "alg"), "malformed"),
        ("no kid", |h, _| remove(h, "kid"), ""),
        ("other kid", |h, _| h["kid"] = json!("k2"), "unknown-key"),
        (
            "kid path",
            |h, _| h["kid"] = json!("../../dev/null"),
            "unknown-key",
        ),
        ("kid number", |h, _| h["kid"] = json!(1), "malformed"),
        (
            "kid long",
            |h, _| h["kid"] = json!("k".repeat(257)),
            "malformed",
        ),
        (
            "jku is not followed",
            |h, _| h["jku"] = json!("http://127.0.0.1:1/"),
            "",
        ),
    ]
}

/// A token of the type that says nothing, with a claim that does.
fn jwt(header: &mut Value, claims: &mut Value, sign: &str) {
    header["typ"] = json!("JWT");
    claims[sign] = json!("app");
}

pub(super) fn remove(value: &mut Value, name: &str) {
    value.as_object_mut().unwrap().remove(name).unwrap();
}

fn acts(n: usize) -> Value {
    (0..n).rev().fold(Value::Null, |inner, i| {
        let mut act = json!({"sub": format!("agent-{i}")});
        if !inner.is_null() {
            act["act"] = inner;
        }
        act
    })
}
