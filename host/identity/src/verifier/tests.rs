//! Runs the table of what is accepted and refused; and what becomes of the accepted.

mod people;
mod table;

use pipeline::PrincipalKind;
use serde_json::{Value, json};

use self::table::{remove, table};
use super::*;
use crate::testing::{self, AUDIENCE, ISSUER, Key, NOW, at, b64, claims, clock, verifier};
use crate::{IssuerConfig, JwksSource, TokenType};

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

/// A program that logs in as itself is no person, however its provider says so.
/// What only an operator can permit: tokens that may as well be ID tokens.
#[tokio::test]
async fn tokens_without_a_sign_are_for_those_who_ask_for_them() {
    let key = Key::es256("k1");
    let v = verifier(&[&key], |o| o.issuers[0].unmarked = true);
    let mut header = key.header();
    header["typ"] = json!("JWT");
    let token = |claims: &Value| key.sign_text(&header.to_string(), &claims.to_string());
    v.verify(&token(&claims())).await.unwrap();
    let mut id = claims();
    id["nonce"] = json!("n");
    assert_eq!(code(&v.verify(&token(&id)).await), "type");
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
        ci.group_prefix = "ci/".to_owned();
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
    claims["groups"] = json!(["ci/deployers"]);
    assert_eq!(
        code(&v.verify(&ours.sign(&claims)).await),
        "claim",
        "a group of the other issuer"
    );
    claims["groups"] = json!(["eng"]);
    claims["act"] = json!({"sub": "ci:job"});
    assert_eq!(
        code(&v.verify(&ours.sign(&claims)).await),
        "subject",
        "as an actor"
    );
}

#[tokio::test]
async fn remembered_tokens_still_expire() {
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
        ("max age for ever", |c| {
            c.max_age = Some(Duration::from_secs(i64::MAX as u64))
        }),
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
            ..VerifierOptions::default()
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
    assert!(
        build(vec![good(), second.clone()], Vec::new()).is_err(),
        "one could put its people into the other's groups"
    );
    let rows: [Change; 3] = [
        |c| c.group_prefix = "second/".to_owned(),
        |c| c.allowed_groups = Some(["eng".to_owned()].into()),
        |c| c.shared_groups = true,
    ];
    for change in rows {
        let mut second = second.clone();
        change(&mut second);
        build(vec![good(), second], Vec::new()).unwrap();
    }
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
