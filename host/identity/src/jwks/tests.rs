//! Rotation, outages and hostile answers, against a small HTTP server.

use std::time::Duration;

use serde_json::json;

use crate::fetch::MAX_DOCUMENT_BYTES;
use crate::testing::{AUDIENCE, Key, Reply, TempDir, Web, claims, clock, jwks};
use crate::{AuthError, IssuerConfig, JwksSource, JwksTiming, Verifier, VerifierOptions};

const WELL_KNOWN: &str = "/.well-known/openid-configuration";

/// Everything at once and nothing for long, unless a test says otherwise.
fn timing() -> JwksTiming {
    JwksTiming {
        ttl: Duration::from_secs(600),
        stale_for: Duration::from_secs(600),
        min_interval: Duration::ZERO,
        timeout: Duration::from_secs(10),
    }
}

fn verifier(web: &Web, timing: JwksTiming, change: impl FnOnce(&mut IssuerConfig)) -> Verifier {
    let mut config = IssuerConfig::new(&web.url, AUDIENCE);
    config.timing = timing;
    change(&mut config);
    let options = VerifierOptions {
        issuers: vec![config],
        ..VerifierOptions::default()
    };
    Verifier::build_with_clock(options, clock()).unwrap()
}

/// A good token of the web's issuer; `n` makes it another one.
fn token(web: &Web, key: &Key, n: u32) -> String {
    let mut claims = claims();
    claims["iss"] = json!(web.url);
    claims["jti"] = json!(n.to_string());
    key.sign(&claims)
}

fn code<T>(result: &Result<T, AuthError>) -> &'static str {
    result.as_ref().err().map_or("", AuthError::code)
}

#[tokio::test]
async fn discovery_once_then_from_memory() {
    let (web, key) = (Web::start().await, Key::es256("k1"));
    web.publish(&[&key]);
    let v = verifier(&web, timing(), |_| {});
    for n in 0..5 {
        v.verify(&token(&web, &key, n)).await.unwrap();
    }
    assert_eq!((web.asked(WELL_KNOWN), web.asked("/jwks")), (1, 1));
}

#[tokio::test]
async fn an_explicit_uri_needs_no_discovery() {
    let (web, key) = (Web::start().await, Key::es256("k1"));
    web.set("/keys", Reply::Ok(jwks(&[&key])));
    let v = verifier(&web, timing(), |c| {
        c.jwks = JwksSource::Uri(format!("{}/keys", web.url))
    });
    v.verify(&token(&web, &key, 0)).await.unwrap();
    assert_eq!((web.asked(WELL_KNOWN), web.asked("/keys")), (0, 1));
}

#[tokio::test]
async fn rotation() {
    let (web, old, new) = (Web::start().await, Key::es256("old"), Key::es256("new"));
    web.publish(&[&old]);
    let v = verifier(&web, timing(), |_| {});
    let remembered = token(&web, &old, 0);
    v.verify(&remembered).await.unwrap();
    // Both keys: the unknown id makes us look, the old one stays good.
    web.publish(&[&new, &old]);
    v.verify(&token(&web, &new, 1)).await.unwrap();
    assert_eq!(web.asked("/jwks"), 2);
    v.verify(&remembered).await.unwrap();
    // Only the new one: once we have looked, what the old one signed is refused, also when it was
    // remembered as verified.
    web.publish(&[&new]);
    let unknown = Key::es256("unknown");
    assert_eq!(
        code(&v.verify(&token(&web, &unknown, 2)).await),
        "unknown-key"
    );
    assert_eq!(web.asked("/jwks"), 3);
    assert_eq!(code(&v.verify(&token(&web, &old, 3)).await), "unknown-key");
    assert_eq!(code(&v.verify(&remembered).await), "unknown-key");
    v.verify(&token(&web, &new, 4)).await.unwrap();
}

#[tokio::test]
async fn unknown_ids_do_not_become_a_flood() {
    let (web, key) = (Web::start().await, Key::es256("k1"));
    web.publish(&[&key]);
    let slow = JwksTiming {
        min_interval: Duration::from_secs(3600),
        ..timing()
    };
    let v = verifier(&web, slow, |_| {});
    v.verify(&token(&web, &key, 0)).await.unwrap();
    for n in 0..50 {
        let stranger = Key::es256(&format!("stranger-{n}"));
        assert_eq!(
            code(&v.verify(&token(&web, &stranger, n)).await),
            "unknown-key"
        );
    }
    assert_eq!(
        web.asked("/jwks"),
        1,
        "the issuer was asked again too early"
    );
    v.verify(&token(&web, &key, 1)).await.unwrap();
}

#[tokio::test]
async fn expired_or_misdirected_tokens_ask_nobody() {
    let (web, key) = (Web::start().await, Key::es256("k1"));
    web.publish(&[&key]);
    let v = verifier(&web, timing(), |_| {});
    for (name, value) in [
        ("exp", json!(1)),
        ("aud", json!("other")),
        ("iss", json!("https://x")),
    ] {
        let mut claims = claims();
        claims["iss"] = json!(web.url);
        claims[name] = value;
        assert!(v.verify(&key.sign(&claims)).await.is_err());
    }
    assert_eq!(web.asked(WELL_KNOWN), 0);
}

#[tokio::test]
async fn many_at_once_ask_once() {
    let (web, key) = (Web::start().await, Key::es256("k1"));
    web.publish(&[&key]);
    web.set(
        "/jwks",
        Reply::Slow(Duration::from_millis(100), jwks(&[&key])),
    );
    let v = verifier(&web, timing(), |_| {});
    let tokens: Vec<String> = (0..40).map(|n| token(&web, &key, n)).collect();
    let all = futures::future::join_all(tokens.iter().map(|t| v.verify(t))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!((web.asked(WELL_KNOWN), web.asked("/jwks")), (1, 1));
}

#[tokio::test]
async fn who_gives_up_waiting_does_not_stop_the_others() {
    let (web, key) = (Web::start().await, Key::es256("k1"));
    web.publish(&[&key]);
    web.set("/jwks", Reply::Slow(Duration::from_secs(1), jwks(&[&key])));
    let v = verifier(&web, timing(), |_| {});
    let (first, second) = (token(&web, &key, 1), token(&web, &key, 2));
    let impatient = tokio::time::timeout(Duration::from_millis(50), v.verify(&first));
    let (gone, stayed) = tokio::join!(impatient, v.verify(&second));
    assert!(gone.is_err());
    stayed.unwrap();
    assert_eq!(web.asked("/jwks"), 1);
}

#[tokio::test]
async fn an_attempt_that_everybody_gave_up_is_made_again() {
    let (web, key) = (Web::start().await, Key::es256("k1"));
    web.publish(&[&key]);
    web.set("/jwks", Reply::Stall);
    let quick = JwksTiming {
        timeout: Duration::from_secs(2),
        min_interval: Duration::from_secs(3600),
        ..timing()
    };
    let v = verifier(&web, quick, |_| {});
    let text = token(&web, &key, 0);
    assert!(
        tokio::time::timeout(Duration::from_millis(50), v.verify(&text))
            .await
            .is_err()
    );
    web.publish(&[&key]);
    tokio::time::sleep(quick.timeout * 3 + Duration::from_millis(100)).await;
    v.verify(&text).await.unwrap();
}

#[tokio::test]
async fn an_outage_is_bridged_for_a_while() {
    let (web, key) = (Web::start().await, Key::es256("k1"));
    web.publish(&[&key]);
    for (stale_for, survives) in [(Duration::from_secs(600), true), (Duration::ZERO, false)] {
        web.publish(&[&key]);
        let short = JwksTiming {
            ttl: Duration::from_millis(50),
            stale_for,
            ..timing()
        };
        let v = verifier(&web, short, |_| {});
        v.verify(&token(&web, &key, 0)).await.unwrap();
        web.set("/jwks", Reply::Status(503));
        tokio::time::sleep(Duration::from_millis(60)).await;
        let result = v.verify(&token(&web, &key, 1)).await;
        assert_eq!(
            code(&result),
            if survives { "" } else { "keys-unavailable" }
        );
        // The issuer is back.
        web.publish(&[&key]);
        v.verify(&token(&web, &key, 2)).await.unwrap();
    }
}

/// Old keys serve at once and are renewed behind: nobody waits for an issuer that does not answer.
#[tokio::test]
async fn nobody_waits_while_old_keys_serve() {
    let (web, key) = (Web::start().await, Key::es256("k1"));
    web.publish(&[&key]);
    let short = JwksTiming {
        ttl: Duration::from_millis(50),
        ..timing()
    };
    let v = verifier(&web, short, |_| {});
    v.verify(&token(&web, &key, 0)).await.unwrap();
    web.set("/jwks", Reply::Stall);
    tokio::time::sleep(Duration::from_millis(60)).await;
    let logins = async {
        let began = std::time::Instant::now();
        for n in 1..20 {
            v.verify(&token(&web, &key, n)).await.unwrap();
        }
        assert!(began.elapsed() < timing().timeout, "somebody waited");
        while web.asked("/jwks") < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        never = v.keep_fresh() => match never {},
        () = logins => {}
        () = tokio::time::sleep(Duration::from_secs(30)) => panic!("the keys were not renewed"),
    }
}

fn discover(web: &Web, document: serde_json::Value) {
    web.set(WELL_KNOWN, Reply::Ok(document.to_string()));
}

fn at(web: &Web, path: &str) -> String {
    format!("{}{path}", web.url)
}

#[tokio::test]
async fn hostile_answers() {
    let key = Key::es256("k1");
    let other = Web::start().await;
    other.publish(&[&key]);
    // What the network does, and a part of what the log says about it.
    type Row = (&'static str, fn(&Web, &Web), &'static str);
    let rows: Vec<Row> = vec![
        (
            "no discovery",
            |w, _| w.set(WELL_KNOWN, Reply::Status(404)),
            "404",
        ),
        (
            "discovery of another issuer",
            |w, o| discover(w, json!({"issuer": o.url, "jwks_uri": at(o, "/jwks")})),
            "of another issuer",
        ),
        (
            "issuer with a slash",
            |w, _| discover(w, json!({"issuer": at(w, "/"), "jwks_uri": at(w, "/jwks")})),
            "of another issuer",
        ),
        (
            "no issuer",
            |w, _| discover(w, json!({"jwks_uri": at(w, "/jwks")})),
            "of another issuer",
        ),
        (
            "no jwks_uri",
            |w, _| discover(w, json!({"issuer": w.url})),
            "names no jwks_uri",
        ),
        (
            "jwks_uri of a file",
            |w, _| {
                discover(
                    w,
                    json!({"issuer": w.url, "jwks_uri": "file:///etc/passwd"}),
                )
            },
            "https is needed",
        ),
        (
            "jwks_uri inside the network",
            |w, _| {
                discover(
                    w,
                    json!({"issuer": w.url, "jwks_uri": "http://169.254.169.254/"}),
                )
            },
            "https is needed",
        ),
        (
            "duplicate names in discovery",
            |w, _| {
                let text = format!("{{\"issuer\":\"{0}\",\"issuer\":\"{0}\"}}", w.url);
                w.set(WELL_KNOWN, Reply::Ok(text));
            },
            "duplicate name",
        ),
        (
            "redirected discovery",
            |w, o| w.set(WELL_KNOWN, Reply::Redirect(at(o, WELL_KNOWN))),
            "answered 302",
        ),
        (
            "redirected keys",
            |w, o| w.set("/jwks", Reply::Redirect(at(o, "/jwks"))),
            "answered 302",
        ),
        (
            "not JSON",
            |w, _| w.set("/jwks", Reply::Ok("<html>".to_owned())),
            "not JSON",
        ),
        (
            "no usable key",
            |w, _| w.set("/jwks", Reply::Ok("{\"keys\":[]}".to_owned())),
            "has no key",
        ),
        (
            "stalls",
            |w, _| w.set("/jwks", Reply::Stall),
            "timed out|took longer|did not answer",
        ),
        (
            "slow",
            |w, _| w.set("/jwks", Reply::Slow(Duration::from_secs(60), String::new())),
            "timed out|took longer|did not answer",
        ),
        (
            "too large",
            |w, _| {
                let padding = " ".repeat(MAX_DOCUMENT_BYTES);
                w.set("/jwks", Reply::Ok(format!("{{\"keys\":[]}}{padding}")));
            },
            "answered with more than",
        ),
        (
            "endless",
            |w, _| w.set("/jwks", Reply::Endless),
            "answered with more than",
        ),
        (
            "endless discovery",
            |w, _| w.set(WELL_KNOWN, Reply::Endless),
            "answered with more than",
        ),
    ];
    for (name, change, said) in rows {
        let web = Web::start().await;
        web.publish(&[&key]);
        change(&web, &other);
        // Only those who wait for nothing should have to.
        let timeout = Duration::from_millis(if said.contains('|') { 300 } else { 10_000 });
        let v = verifier(
            &web,
            JwksTiming {
                timeout,
                ..timing()
            },
            |_| {},
        );
        let began = std::time::Instant::now();
        let result = v.verify(&token(&web, &key, 0)).await;
        assert_eq!(code(&result), "keys-unavailable", "{name}");
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "{name} held us up"
        );
        let chain = result.unwrap_err().chain();
        assert!(
            said.split('|').any(|s| chain.contains(s)),
            "{name}: {chain}"
        );
        assert_eq!(v.warm_up().await.len(), 1, "{name}");
    }
    assert_eq!(other.asked("/jwks"), 0, "a redirect was followed");
}

#[tokio::test]
async fn keep_fresh_asks_before_anybody_waits() {
    let (web, key) = (Web::start().await, Key::es256("k1"));
    web.publish(&[&key]);
    let short = JwksTiming {
        ttl: Duration::from_secs(2),
        ..timing()
    };
    let v = verifier(&web, short, |_| {});
    assert!(v.warm_up().await.is_empty());
    assert!(
        v.warm_up().await.is_empty(),
        "fresh keys are not fetched again"
    );
    assert_eq!(web.asked("/jwks"), 1);
    let noticed = async {
        while web.asked("/jwks") < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        never = v.keep_fresh() => match never {},
        () = noticed => {}
        () = tokio::time::sleep(Duration::from_secs(20)) => panic!("nobody asked again"),
    }
}

#[tokio::test]
async fn a_file_is_read_again() {
    let (dir, old, new) = (TempDir::new(), Key::es256("old"), Key::es256("new"));
    let (web, path) = (Web::start().await, dir.0.join("jwks.json"));
    std::fs::write(&path, jwks(&[&old])).unwrap();
    let v = verifier(&web, timing(), |c| c.jwks = JwksSource::File(path.clone()));
    v.verify(&token(&web, &old, 0)).await.unwrap();
    std::fs::write(&path, jwks(&[&new])).unwrap();
    v.verify(&token(&web, &new, 1)).await.unwrap();
    // A broken file leaves the keys that are there.
    std::fs::write(&path, "{").unwrap();
    assert!(
        v.verify(&token(&web, &Key::es256("unknown"), 2))
            .await
            .is_err()
    );
    v.verify(&token(&web, &new, 3)).await.unwrap();
}
