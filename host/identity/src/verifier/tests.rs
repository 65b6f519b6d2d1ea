//! The table of what is accepted and what is refused, and what becomes of it.

use pipeline::PrincipalKind;
use serde_json::{Value, json};

use super::*;
use crate::testing::{self, AUDIENCE, ISSUER, Key, NOW, at, b64, claims, clock, verifier};
use crate::{ClaimPath, IssuerConfig, JwksSource, TokenType};

type Change = fn(&mut Value, &mut Value);

/// Header and claims of a good token, and what one row changes about them. The word is the code of
/// the refusal, empty for none.
fn table() -> Vec<(&'static str, Change, &'static str)> {
    vec![
        ("unchanged", |_, _| {}, ""),
        // Claims that must be there.
        ("no iss", |_, c| remove(c, "iss"), "claim"),
        ("no aud", |_, c| remove(c, "aud"), "claim"),
        ("no exp", |_, c| remove(c, "exp"), "claim"),
        ("no sub", |_, c| remove(c, "sub"), "claim"),
        ("no iat", |_, c| remove(c, "iat"), "claim"),
        ("no jti", |_, c| remove(c, "jti"), ""),
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
        ("typ JWT", |h, _| h["typ"] = json!("JWT"), ""),
        ("typ lower case", |h, _| h["typ"] = json!("jwt"), ""),
        (
            "typ full",
            |h, _| h["typ"] = json!("application/at+jwt"),
            "",
        ),
        ("no typ", |h, _| remove(h, "typ"), ""),
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

fn remove(value: &mut Value, name: &str) {
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

fn code(result: &Result<Arc<Principal>, AuthError>) -> &'static str {
    result.as_ref().err().map_or("", AuthError::code)
}

#[tokio::test]
async fn accepted_and_refused() {
    let key = Key::es256("k1");
    let verifier = verifier(&[&key], |_| {});
    for (name, change, expected) in table() {
        let (mut header, mut claims) = (key.header(), claims());
        change(&mut header, &mut claims);
        let token = key.sign_text(&header.to_string(), &claims.to_string());
        let result = verifier.verify(&token).await;
        assert_eq!(code(&result), expected, "{name}: {result:?}");
        if let Err(e) = result {
            assert!(
                !e.chain().contains(&token) && !e.client_message().is_empty(),
                "{name}"
            );
        }
    }
}

#[tokio::test]
async fn every_algorithm() {
    let keys = [
        Key::es256("es256"),
        Key::es384("es384"),
        Key::ed25519("ed"),
        Key::rsa("rs256", "RS256"),
        Key::rsa("ps256", "PS256"),
    ];
    let all: Vec<&Key> = keys.iter().collect();
    let verifier = verifier(&all, |_| {});
    for key in &keys {
        let token = key.sign(&claims());
        verifier.verify(&token).await.unwrap();
        // The same claims, signed by a key of the same type that is not published.
        let stranger = match key.alg {
            "ES256" => Key::es256("es256"),
            "ES384" => Key::es384("es384"),
            "EdDSA" => Key::ed25519("ed"),
            // There is one RSA key here; say the other padding of it.
            "RS256" => Key::rsa("ps256", "RS256"),
            _ => Key::rsa("rs256", "PS256"),
        };
        let result = verifier.verify(&stranger.sign(&claims())).await;
        assert!(
            matches!(code(&result), "signature" | "unknown-key"),
            "{}: {result:?}",
            key.alg
        );
    }
    let restricted = testing::verifier(&all, |o| {
        o.issuers[0].algorithms = vec![crate::Algorithm::Es256];
    });
    for key in &keys {
        let expected = if key.alg == "ES256" { "" } else { "algorithm" };
        assert_eq!(
            code(&restricted.verify(&key.sign(&claims())).await),
            expected,
            "{}",
            key.alg
        );
    }
}

#[tokio::test]
async fn tampered_and_misshapen() {
    let key = Key::es256("k1");
    let verifier = verifier(&[&key], |_| {});
    let good = key.sign(&claims());
    let parts: Vec<&str> = good.split('.').collect();
    let (header, payload, signature) = (parts[0], parts[1], parts[2]);
    let mut other = claims();
    other["sub"] = json!("root");
    let forged = b64(other.to_string());
    let text = claims().to_string();
    let duplicate = |extra: &str| {
        key.sign_text(
            &key.header().to_string(),
            &format!("{},{extra}}}", &text[..text.len() - 1]),
        )
    };
    // The last digit of a signature carries four bits; its loose bits must be zero.
    let mut loose = good.clone();
    let last = loose.pop().unwrap();
    let table = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let position = table.iter().position(|c| *c == last as u8).unwrap();
    loose.push(table[position | 1] as char);

    for (name, token, expected) in [
        ("empty", String::new(), "malformed"),
        ("no dots", "abc".to_owned(), "malformed"),
        ("one dot", format!("{header}.{payload}"), "malformed"),
        ("three dots", format!("{good}.x"), "malformed"),
        (
            "five parts",
            format!("{header}.a.b.c.{signature}"),
            "malformed",
        ),
        ("no signature", format!("{header}.{payload}."), "malformed"),
        ("no payload", format!("{header}..{signature}"), "malformed"),
        ("no header", format!(".{payload}.{signature}"), "malformed"),
        (
            "other claims",
            format!("{header}.{forged}.{signature}"),
            "signature",
        ),
        (
            "cut signature",
            good[..good.len() - 4].to_owned(),
            "signature",
        ),
        ("padding", format!("{good}="), "signature"),
        ("loose bits", loose, "signature"),
        ("blank in front", format!(" {good}"), "malformed"),
        ("newline behind", format!("{good}\n"), "signature"),
        ("bearer", format!("Bearer {good}"), "malformed"),
        ("duplicate sub", duplicate(r#""sub":"root""#), "malformed"),
        (
            "duplicate exp",
            duplicate(r#""exp":9999999999"#),
            "malformed",
        ),
        (
            "escaped duplicate",
            duplicate(r#""s\u0075b":"root""#),
            "malformed",
        ),
        (
            "duplicate deep inside",
            duplicate(r#""x":{"a":1,"a":2}"#),
            "malformed",
        ),
        (
            "duplicate alg",
            key.sign_text(r#"{"alg":"ES256","alg":"ES256","kid":"k1"}"#, &text),
            "malformed",
        ),
        (
            "claims are a list",
            key.sign_text(&key.header().to_string(), "[]"),
            "malformed",
        ),
        (
            "claims twice",
            key.sign_text(&key.header().to_string(), &format!("{text}{text}")),
            "malformed",
        ),
        (
            "header is text",
            key.sign_text("\"ES256\"", &text),
            "malformed",
        ),
        (
            "deep",
            duplicate(&format!("\"x\":{}1{}", "[".repeat(99), "]".repeat(99))),
            "malformed",
        ),
        (
            "very deep",
            duplicate(&format!("\"x\":{}", "[".repeat(20_000))),
            "malformed",
        ),
        (
            "too large",
            duplicate(&format!("\"x\":\"{}\"", "x".repeat(64 * 1024))),
            "too-large",
        ),
        ("huge", "a.".repeat(1_000_000), "too-large"),
    ] {
        let result = verifier.verify(&token).await;
        assert_eq!(code(&result), expected, "{name}: {result:?}");
    }
}

#[tokio::test]
async fn a_public_key_is_not_a_secret() {
    let rsa = Key::rsa("k1", "RS256");
    let public = rsa.rsa_public();
    let oct = json!({"kty": "oct", "kid": "shared", "alg": "HS256", "k": b64("secret")});
    let verifier = verifier(&[&rsa], |o| {
        let set = json!({"keys": [oct, rsa.jwk()]});
        o.issuers[0].jwks = JwksSource::Static(set.to_string());
    });
    for (kid, secret) in [("k1", public.n.as_slice()), ("shared", b"secret")] {
        let header = json!({"alg": "HS256", "typ": "at+jwt", "kid": kid}).to_string();
        let message = format!("{}.{}", b64(header), b64(claims().to_string()));
        let mac = aws_lc_rs::hmac::sign(
            &aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret),
            message.as_bytes(),
        );
        let result = verifier
            .verify(&format!("{message}.{}", b64(mac.as_ref())))
            .await;
        assert_eq!(code(&result), "algorithm", "{kid}");
    }
    // Claiming RS256 with the published secret's id finds no key.
    let mut header = rsa.header();
    header["kid"] = json!("shared");
    let token = rsa.sign_text(&header.to_string(), &claims().to_string());
    assert_eq!(code(&verifier.verify(&token).await), "unknown-key");
    verifier.verify(&rsa.sign(&claims())).await.unwrap();
}

#[tokio::test]
async fn principals() {
    let key = Key::es256("k1");
    let v = verifier(&[&key], |o| {
        let i = &mut o.issuers[0];
        i.subject_prefix = "corp:".to_owned();
        i.group_prefix = "corp/".to_owned();
        i.attr_claims = vec!["email".to_owned(), "level".to_owned()];
        o.actors = vec![ActorConfig {
            subject: "corp:copilot".to_owned(),
            groups: vec!["agents".to_owned()],
            owner: Some("corp:olga".to_owned()),
            autonomous: true,
            kind: None,
        }];
    });
    let mut claims = claims();
    claims["email"] = json!("alice@example.com");
    claims["level"] = json!(3);
    claims["secret"] = json!("not for policies");
    claims["amr"] = json!(["pwd", "mfa"]);
    claims["groups"] = json!(["eng", "dba", "eng"]);

    let direct = v.verify(&key.sign(&claims)).await.unwrap();
    assert_eq!(&*direct.actor.subject, "corp:alice");
    assert_eq!(direct.actor.kind, PrincipalKind::User);
    assert!(direct.actor.mfa && !direct.actor.autonomous && direct.on_behalf_of.is_empty());
    assert_eq!(direct.actor.groups, ["corp/dba".into(), "corp/eng".into()]);
    assert_eq!(direct.actor.attrs.len(), 2);
    assert_eq!(direct.actor.attrs["level"], "3");
    assert_eq!(
        (&*direct.issuer, direct.expires_at),
        (ISSUER, at(NOW + 300))
    );
    assert_eq!(direct.token_id.as_deref(), Some("t-1"));

    // Alice let the planner act, the planner let the copilot act.
    claims["act"] = json!({
        "sub": "copilot", "groups": ["admins"], "act": {"sub": "planner", "act": {"sub": "first"}}
    });
    let p = v.verify(&key.sign(&claims)).await.unwrap();
    let chain: Vec<&str> = p.chain().map(|a| &*a.subject).collect();
    assert_eq!(
        chain,
        ["corp:alice", "corp:first", "corp:planner", "corp:copilot"]
    );
    assert_eq!(p.actor.kind, PrincipalKind::Agent);
    assert_eq!(
        p.actor.groups,
        ["agents".into()],
        "groups in act are not believed"
    );
    assert_eq!(p.actor.owner.as_deref(), Some("corp:olga"));
    assert!(p.actor.autonomous && !p.actor.mfa && p.actor.attrs.is_empty());
    assert!(p.on_behalf_of[0].mfa);
    assert!(p.on_behalf_of[2].groups.is_empty());
}

#[tokio::test]
async fn groups_kinds_and_subjects_where_they_are_configured() {
    let key = Key::es256("k1");
    let v = verifier(&[&key], |o| {
        let i = &mut o.issuers[0];
        i.groups_claim = ClaimPath::nested(&["realm_access", "roles"]).unwrap();
        i.kind_claim = Some(ClaimPath::name("kind"));
        i.kind_values = [("machine".to_owned(), PrincipalKind::Workload)].into();
        i.act_groups = true;
        i.subject_claim = ClaimPath::name("email");
        i.mfa_acr = vec!["phr".to_owned()];
        i.max_age = None;
    });
    let mut claims = claims();
    claims["realm_access"] = json!({"roles": ["ops"]});
    claims["email"] = json!("alice@example.com");
    claims["email_verified"] = json!(true);
    claims["kind"] = json!("machine");
    claims["acr"] = json!("phr");
    claims["act"] = json!({"sub": "agent", "groups": ["helpers"]});
    remove(&mut claims, "iat");
    let p = v.verify(&key.sign(&claims)).await.unwrap();
    assert_eq!(p.on_behalf_of[0].groups, ["ops".into()]);
    assert_eq!(&*p.on_behalf_of[0].subject, "alice@example.com");
    assert_eq!(p.on_behalf_of[0].kind, PrincipalKind::Workload);
    assert!(p.on_behalf_of[0].mfa);
    assert_eq!(
        (p.actor.groups.clone(), p.actor.kind),
        (vec!["helpers".into()], PrincipalKind::Agent)
    );

    type Row = (&'static str, fn(&mut Value));
    let rows: [Row; 6] = [
        ("unknown kind", |c| c["kind"] = json!("root")),
        ("kind list", |c| c["kind"] = json!(["machine"])),
        ("email not verified", |c| c["email_verified"] = json!(false)),
        ("email verified by a string", |c| {
            c["email_verified"] = json!("true")
        }),
        ("no email", |c| remove(c, "email")),
        ("no sub beside the email", |c| remove(c, "sub")),
    ];
    for (name, change) in rows {
        let mut claims = claims.clone();
        change(&mut claims);
        assert_eq!(code(&v.verify(&key.sign(&claims)).await), "claim", "{name}");
    }
}

#[tokio::test]
async fn token_types_can_be_narrowed() {
    let key = Key::es256("k1");
    let v = verifier(&[&key], |o| {
        o.issuers[0].types = vec![TokenType::AccessToken]
    });
    for (typ, expected) in [
        (json!("at+jwt"), ""),
        (json!("JWT"), "type"),
        (Value::Null, "type"),
    ] {
        let mut header = key.header();
        if typ.is_null() {
            remove(&mut header, "typ")
        } else {
            header["typ"] = typ.clone()
        }
        let token = key.sign_text(&header.to_string(), &claims().to_string());
        assert_eq!(code(&v.verify(&token).await), expected, "{typ}");
    }
}

/// Two issuers: each speaks for its own people, with its own keys and rules.
#[tokio::test]
async fn issuers_do_not_mix() {
    const CI: &str = "https://ci.example";
    let (ours, theirs) = (Key::es256("k1"), Key::es256("k1"));
    let v = verifier(&[&ours], |o| {
        let mut ci = testing::config(JwksSource::Static(testing::jwks(&[&theirs])));
        ci.issuer = CI.to_owned();
        ci.audiences = vec!["ci".to_owned()];
        ci.subject_prefix = "ci:".to_owned();
        ci.kind = PrincipalKind::Workload;
        o.issuers.push(ci);
    });
    let token = |key: &Key, iss: &str, aud: &str, sub: &str| {
        let mut claims = claims();
        (claims["iss"], claims["aud"], claims["sub"]) = (json!(iss), json!(aud), json!(sub));
        key.sign(&claims)
    };
    let job = v.verify(&token(&theirs, CI, "ci", "job")).await.unwrap();
    assert_eq!(
        (&*job.actor.subject, job.actor.kind),
        ("ci:job", PrincipalKind::Workload)
    );
    for (name, token, expected) in [
        (
            "key of the other issuer",
            token(&theirs, ISSUER, AUDIENCE, "alice"),
            "signature",
        ),
        (
            "audience of the other issuer",
            token(&theirs, CI, AUDIENCE, "job"),
            "audience",
        ),
        (
            "subject of the other issuer",
            token(&ours, ISSUER, AUDIENCE, "ci:job"),
            "subject",
        ),
    ] {
        assert_eq!(code(&v.verify(&token).await), expected, "{name}");
    }
    let mut claims = claims();
    claims["act"] = json!({"sub": "ci:job"});
    assert_eq!(
        code(&v.verify(&ours.sign(&claims)).await),
        "subject",
        "as an actor"
    );
}

#[tokio::test]
async fn remembered_tokens_still_expire_and_can_be_revoked() {
    let key = Key::es256("k1");
    let clock = clock();
    let options = VerifierOptions {
        issuers: vec![testing::config(JwksSource::Static(testing::jwks(&[&key])))],
        ..VerifierOptions::default()
    };
    let v = Verifier::build_with_clock(options, clock.clone()).unwrap();
    let mut claims = claims();
    claims["exp"] = json!(NOW + 30);
    let token = key.sign(&claims);
    let first = v.verify(&token).await.unwrap();
    let again = v.verify(&token).await.unwrap();
    assert!(Arc::ptr_eq(&first, &again), "not remembered");
    *clock.0.lock() = at(NOW + 30);
    assert_eq!(code(&v.verify(&token).await), "expired");
    *clock.0.lock() = at(NOW);
    v.revocations()
        .deny_token(ISSUER, "t-1", at(NOW + 30), at(NOW))
        .unwrap();
    assert_eq!(code(&v.verify(&token).await), "revoked");
    // A forged token is not remembered.
    assert!(v.verify(&format!("{token}AAAA")).await.is_err());
    assert_eq!(v.0.cache.len(), 1);
}

#[tokio::test]
async fn the_memory_is_bounded() {
    let key = Key::es256("k1");
    let v = verifier(&[&key], |_| {});
    let p = v.verify(&key.sign(&claims())).await.unwrap();
    for n in 0..10_000u32 {
        let digest = cache::digest_of(&n.to_string());
        v.0.cache
            .put(digest, Entry::new(p.clone(), 0, [0; 32], at(NOW)));
        assert!(v.0.cache.len() <= 4096);
    }
}

#[test]
fn bad_configurations_are_refused() {
    let key = Key::es256("k1");
    let good = || testing::config(JwksSource::Static(testing::jwks(&[&key])));
    type Change = fn(&mut IssuerConfig);
    let rows: Vec<(&str, Change)> = vec![
        ("no audience", |c| c.audiences.clear()),
        ("empty audience", |c| c.audiences = vec![String::new()]),
        ("no algorithm", |c| c.algorithms.clear()),
        ("no type", |c| c.types.clear()),
        ("leeway", |c| c.leeway = Duration::from_secs(61)),
        ("max age zero", |c| c.max_age = Some(Duration::ZERO)),
        ("dev's name", |c| c.issuer = crate::DEV_ISSUER.to_owned()),
        ("plain http", |c| {
            c.issuer = "http://issuer.example".to_owned();
            c.jwks = JwksSource::Discovery;
        }),
        ("plain http keys", |c| {
            c.jwks = JwksSource::Uri("http://issuer.example/k".to_owned())
        }),
        ("no URL", |c| {
            c.jwks = JwksSource::Uri("keys.json".to_owned())
        }),
        ("no file", |c| {
            c.jwks = JwksSource::File("/does/not/exist".into())
        }),
        ("no keys", |c| {
            c.jwks = JwksSource::Static("{\"keys\":[]}".to_owned())
        }),
        ("only a secret", |c| {
            let set = "{\"keys\":[{\"kty\":\"oct\",\"k\":\"c2VjcmV0\"}]}";
            c.jwks = JwksSource::Static(set.to_owned());
        }),
        ("CA file", |c| {
            c.jwks = JwksSource::Discovery;
            c.ca_file = Some("/does/not/exist".into());
        }),
    ];
    let build = |issuers, actors| {
        Verifier::build(VerifierOptions {
            issuers,
            actors,
            dev: None,
        })
        .map(drop)
    };
    build(vec![good()], Vec::new()).unwrap();
    for (name, change) in rows {
        let mut config = good();
        change(&mut config);
        assert!(build(vec![config], Vec::new()).is_err(), "{name}");
    }
    let mut second = good();
    second.issuer = "https://second.example".to_owned();
    for (name, issuers) in [
        ("none", vec![]),
        ("twice", vec![good(), good()]),
        ("same prefix", vec![good(), second.clone()]),
    ] {
        assert!(build(issuers, Vec::new()).is_err(), "{name}");
    }
    second.subject_prefix = "second:".to_owned();
    build(vec![good(), second], Vec::new()).unwrap();
    let actor = |subject: &str| ActorConfig {
        subject: subject.to_owned(),
        ..Default::default()
    };
    for actors in [
        vec![actor("")],
        vec![actor("a\n")],
        vec![actor("a"), actor("a")],
    ] {
        assert!(build(vec![good()], actors).is_err());
    }
}
