//! Which keys of a set are kept.

use serde_json::json;

use super::*;
use crate::testing::{Key, b64, jwks};

fn usable(jwk: &Value) -> bool {
    KeySet::parse(json!({"keys": [jwk]}).to_string().as_bytes()).is_ok()
}

#[test]
fn keys_are_kept_or_dropped() {
    let (ec, p384, ed, rsa) = (
        Key::es256("k"),
        Key::es384("k"),
        Key::ed25519("k"),
        Key::rsa("k", "RS256"),
    );
    for key in [&ec, &p384, &ed, &rsa] {
        assert!(usable(&key.jwk()), "{}", key.alg);
    }
    type Change = fn(&mut Value);
    let rows: Vec<(&str, &Key, Change, bool)> = vec![
        ("no alg", &ec, |k| remove(k, "alg"), true),
        ("no kid", &ec, |k| remove(k, "kid"), true),
        ("no use", &ec, |k| remove(k, "use"), true),
        ("for encryption", &ec, |k| k["use"] = json!("enc"), false),
        (
            "ops verify",
            &ec,
            |k| k["key_ops"] = json!(["verify"]),
            true,
        ),
        ("ops sign", &ec, |k| k["key_ops"] = json!(["sign"]), false),
        ("ops text", &ec, |k| k["key_ops"] = json!("verify"), false),
        ("private", &ec, |k| k["d"] = json!("AAAA"), false),
        ("kid number", &ec, |k| k["kid"] = json!(1), false),
        ("alg HS256", &ec, |k| k["alg"] = json!("HS256"), false),
        (
            "alg of another type",
            &ec,
            |k| k["alg"] = json!("RS256"),
            false,
        ),
        (
            "alg of another curve",
            &ec,
            |k| k["alg"] = json!("ES384"),
            false,
        ),
        ("other curve", &ec, |k| k["crv"] = json!("P-384"), false),
        (
            "unknown curve",
            &ec,
            |k| k["crv"] = json!("secp256k1"),
            false,
        ),
        ("unknown type", &ec, |k| k["kty"] = json!("AKP"), false),
        ("no y", &ec, |k| remove(k, "y"), false),
        ("short x", &ec, |k| k["x"] = json!(b64([1; 31])), false),
        (
            "padded x",
            &ec,
            |k| k["x"] = json!(format!("{}=", b64([1; 32]))),
            false,
        ),
        (
            "oct",
            &ec,
            |k| *k = json!({"kty": "oct", "k": "c2VjcmV0", "kid": "k"}),
            false,
        ),
        ("weak RSA", &rsa, |k| k["n"] = json!(b64([255; 128])), false),
        (
            "giant RSA",
            &rsa,
            |k| k["n"] = json!(b64([255; 1025])),
            false,
        ),
        (
            "giant exponent",
            &rsa,
            |k| k["e"] = json!(b64([255; 9])),
            false,
        ),
        ("X25519", &ed, |k| k["crv"] = json!("X25519"), false),
        ("not an object", &ed, |k| *k = json!("key"), false),
    ];
    for (name, key, change, expected) in rows {
        let mut jwk = key.jwk();
        change(&mut jwk);
        assert_eq!(usable(&jwk), expected, "{name}");
    }
}

fn remove(jwk: &mut Value, name: &str) {
    jwk.as_object_mut().unwrap().remove(name).unwrap();
}

#[test]
fn sets_that_are_none() {
    let many = json!({"keys": vec![Key::es256("k").jwk(); MAX_KEYS + 1]}).to_string();
    for text in [
        "",
        "[]",
        "{}",
        "{\"keys\":{}}",
        "{\"keys\":[],\"keys\":[]}",
        many.as_str(),
    ] {
        assert!(KeySet::parse(text.as_bytes()).is_err(), "{text:.40}");
    }
}

#[test]
fn one_bad_key_does_not_spoil_the_set() {
    let good = Key::es256("good");
    let set = json!({"keys": [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "shared"},
        {"kty": "future", "kid": "new"},
        good.jwk(),
    ]});
    let set = KeySet::parse(set.to_string().as_bytes()).unwrap();
    assert_eq!(set.keys.len(), 1);
    assert!(set.has(Some("good"), Algorithm::Es256) && set.has(None, Algorithm::Es256));
    assert!(!set.has(Some("good"), Algorithm::Es384) && !set.has(Some("shared"), Algorithm::Es256));
}

#[test]
fn keys_that_share_an_id_are_all_tried() {
    let (a, b) = (Key::es256("same"), Key::es256("same"));
    let set = KeySet::parse(jwks(&[&a, &b]).as_bytes()).unwrap();
    let token = b.sign(&json!({"x": 1}));
    let (message, signature) = token.rsplit_once('.').unwrap();
    let check =
        |kid, message: &str| set.check(kid, Algorithm::Es256, message.as_bytes(), signature);
    assert_eq!(check(Some("same"), message), Check::Good);
    assert_eq!(check(None, message), Check::Good);
    assert_eq!(check(Some("same"), "other"), Check::Bad);
    assert_eq!(check(Some("no"), message), Check::NoKey);
}
