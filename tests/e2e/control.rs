//! The control plane at work on live sessions: kill, bundles, plugins.

use std::time::Duration;

use serde_json::{Value, json};
use weir_tests::bundle::Bundle;
use weir_tests::http::base64;
use weir_tests::paths;
use weir_tests::proc::eventually;
use weir_tests::wire::fields;

use crate::shop::{ALICE, BOB, CAROL, MALLORY, OLGA, OTTO, Shop, assert_refused, shop};

const SOON: Duration = Duration::from_secs(15);

#[test]
fn a_live_session_is_killed() {
    let shop = shop("kill");
    let olga = shop.token(OLGA);
    let mut alice = shop.connect(ALICE);
    alice.query("SELECT 1").unwrap();
    let live = shop.weir.live_sessions(&olga).unwrap();
    let id = live[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(
        (live.len(), &live[0]["principal"]),
        (1, &json!(ALICE.0)),
        "{live:?}"
    );

    let path = format!("/sessions/{id}/kill");
    let body = json!({"reason": "left the building"});
    let stranger = shop
        .weir
        .api(&shop.token(MALLORY), "POST", &path, Some(body.clone()))
        .unwrap();
    assert!(matches!(stranger.status, 403 | 404), "{stranger:?}");
    assert_eq!(
        alice.query("SELECT 2").unwrap().text(0, 0).as_deref(),
        Some("2")
    );

    shop.weir
        .api(&olga, "POST", &path, Some(body))
        .unwrap()
        .ok()
        .unwrap();
    let last = alice.frame().unwrap();
    assert_eq!(last.tag, b'E');
    assert_eq!(
        fields(&last.body).sqlstate(),
        "57P01",
        "{:?}",
        fields(&last.body)
    );
    assert!(alice.frame().is_err(), "the connection is still open");
    no_session_is_live(&shop, &olga);
}

#[test]
fn a_killed_statement_ends_on_the_server_too() {
    let shop = shop("kill-running");
    let olga = shop.token(OLGA);
    let psql = shop
        .psql(CAROL)
        .spawn("SELECT count(*) FROM generate_series(1, 2000000000) AS mark_running_88")
        .unwrap();
    let running = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%mark_running_88%' AND pid <> pg_backend_pid()";
    eventually("the statement to run", SOON, || {
        Ok((shop.direct(running) == "1").then_some(()))
    })
    .unwrap();
    let id = shop.weir.live_sessions(&olga).unwrap()[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let body = json!({"reason": "too long"});
    shop.weir
        .api(&olga, "POST", &format!("/sessions/{id}/kill"), Some(body))
        .unwrap()
        .ok()
        .unwrap();
    let out = psql.wait(SOON).unwrap();
    assert!(out.stderr.contains("57P01"), "{}", out.all());
    eventually("the server to stop", SOON, || {
        Ok((shop.direct(running) == "0").then_some(()))
    })
    .unwrap();
}

fn no_session_is_live(shop: &Shop, token: &str) {
    eventually("the session to be over", SOON, || {
        Ok(shop.weir.live_sessions(token)?.is_empty().then_some(()))
    })
    .unwrap();
}

/// Uploads a bundle; gives its version.
fn upload(shop: &Shop, token: &str, bundle: &Bundle) -> u64 {
    let body = bundle.upload("from a test");
    let info = shop
        .weir
        .api(token, "POST", "/bundles", Some(body))
        .unwrap()
        .ok()
        .unwrap();
    assert_eq!(info["state"], "staged", "{info}");
    info["version"].as_u64().unwrap()
}

fn activate(shop: &Shop, token: &str, version: u64) -> u16 {
    let path = format!("/bundles/{version}/activate");
    shop.weir
        .api(token, "POST", &path, Some(json!({"reason": "reviewed"})))
        .unwrap()
        .status
}

#[test]
fn a_bundle_is_activated_by_another_and_changes_a_running_session() {
    let shop = shop("bundle");
    let (olga, otto) = (shop.token(OLGA), shop.token(OTTO));
    let mut alice = shop.connect(ALICE);
    let read = "SELECT count(*) FROM orders";
    assert_eq!(
        alice.query(read).unwrap().text(0, 0).as_deref(),
        Some("300")
    );

    let mut stricter = shop.bundle.clone();
    stricter.add(
        "stricter.cedar",
        "@id(\"guard.e2e.no-orders\")\n@reason(\"orders are closed for today\")\n\
         forbid (principal, action in Action::\"read\", resource is Pg::Table)\n\
         when { resource.name == \"orders\" };\n",
    );
    let version = upload(&shop, &olga, &stricter);
    assert_eq!(
        alice.query(read).unwrap().text(0, 0).as_deref(),
        Some("300"),
        "only staged"
    );
    let diff = shop
        .weir
        .api(&otto, "GET", &format!("/bundles/{version}/diff"), None)
        .unwrap()
        .ok();
    assert!(
        diff.unwrap()["changes"]
            .to_string()
            .contains("guard.e2e.no-orders")
    );

    assert_eq!(
        activate(&shop, &olga, version),
        403,
        "its author may not activate it"
    );
    assert_eq!(
        activate(&shop, &shop.token(ALICE), version),
        403,
        "nor may just anybody"
    );
    assert_eq!(
        alice.query(read).unwrap().text(0, 0).as_deref(),
        Some("300")
    );

    assert_eq!(activate(&shop, &otto, version), 200);
    let refused = alice.query(read).unwrap();
    assert_refused(read, &refused);
    assert!(
        refused
            .error()
            .unwrap()
            .message()
            .contains("closed for today"),
        "{refused:?}"
    );

    let body = Some(json!({"reason": "too strict"}));
    shop.weir
        .api(&otto, "POST", "/bundles/rollback", body)
        .unwrap()
        .ok()
        .unwrap();
    assert_eq!(
        alice.query(read).unwrap().text(0, 0).as_deref(),
        Some("300"),
        "rolled back"
    );
}

#[test]
fn a_bundle_that_forbids_the_connection_ends_it() {
    let shop = shop("bundle-connect");
    let mut alice = shop.connect(ALICE);
    alice.query("SELECT 1").unwrap();
    let mut closed = shop.bundle.clone();
    closed.add(
        "closed.cedar",
        "@id(\"guard.e2e.closed\")\n@reason(\"closed\")\n\
         forbid (principal, action == Action::\"postgres:connect\", resource);\n",
    );
    let version = upload(&shop, &shop.token(OLGA), &closed);
    assert_eq!(activate(&shop, &shop.token(OTTO), version), 200);
    let last = alice.frame().unwrap();
    assert_eq!(last.tag, b'E', "{last:?}");
    assert!(alice.frame().is_err());
    assert!(shop.weir.connect("alice", &shop.token(ALICE)).is_err());
}

#[test]
fn a_bad_bundle_is_refused_with_its_line_and_changes_nothing() {
    let shop = shop("bad-bundle");
    let olga = shop.token(OLGA);
    let active = |shop: &Shop| {
        let page = shop
            .weir
            .api(&olga, "GET", "/bundles", None)
            .unwrap()
            .ok()
            .unwrap();
        let items = page["items"].as_array().unwrap().clone();
        items.into_iter().find(|b| b["state"] == "active").unwrap()["summary"]["digest"].clone()
    };
    let before = active(&shop);
    for (what, file, text, expect) in [
        (
            "a syntax error",
            "bad.cedar",
            "@id(\"grant.x\")\npermit (principal, action, resource",
            "bad.cedar",
        ),
        (
            "a typo",
            "bad.cedar",
            "@id(\"grant.x\")\npermit (principal in Group::\"a\", action == Action::\"postgres:selekt\", resource);",
            "selekt",
        ),
        (
            "a wildcard grant",
            "bad.cedar",
            "@id(\"grant.x\")\npermit (principal, action, resource);",
            "scoped",
        ),
        (
            "deep nesting",
            "bad.cedar",
            &format!(
                "@id(\"grant.x\")\npermit (principal in Group::\"a\", action == Action::\"postgres:select\", resource) when {{ {}true{} }};",
                "(".repeat(100_000),
                ")".repeat(100_000)
            ),
            "bad.cedar",
        ),
        (
            "a manifest that is none",
            "bundle.toml",
            "\n[[[",
            "bundle.toml",
        ),
    ] {
        let mut bundle = shop.bundle.clone();
        bundle.add(file, text);
        let answer = shop
            .weir
            .api(&olga, "POST", "/bundles", Some(bundle.upload(what)))
            .unwrap();
        assert!(
            matches!(answer.status, 400 | 413 | 422),
            "{what}: {answer:?}"
        );
        assert!(answer.text.contains(expect), "{what}: {}", answer.text);
        assert_eq!(active(&shop), before, "{what}");
    }
    assert_eq!(shop.connect(ALICE).query("SELECT 1").unwrap().rows.len(), 1);
}

fn plugin_body(name: &str, config: Value) -> Value {
    let component = std::fs::read(paths::plugin(name)).unwrap();
    json!({"component": base64(&component), "config": config})
}

#[test]
fn an_uploaded_plugin_changes_what_the_next_session_sees() {
    let shop = shop("plugin-upload");
    let olga = shop.token(OLGA);
    let read = "SELECT name FROM customers WHERE id = 3";
    let mut before = shop.connect(ALICE);
    assert_eq!(
        before.query(read).unwrap().text(0, 0).as_deref(),
        Some("Customer 3")
    );

    let body = plugin_body("evil", json!({"mode": "describe"}));
    let stranger = shop
        .weir
        .api(
            &shop.token(BOB),
            "POST",
            "/plugins/evil",
            Some(body.clone()),
        )
        .unwrap();
    assert_eq!(stranger.status, 403, "{stranger:?}");
    shop.weir
        .api(&olga, "POST", "/plugins/evil", Some(body))
        .unwrap()
        .ok()
        .unwrap();
    let listed = shop
        .weir
        .api(&olga, "GET", "/plugins", None)
        .unwrap()
        .ok()
        .unwrap();
    assert!(listed.to_string().contains("evil"), "{listed}");

    let seen = shop.connect(ALICE).query(read).unwrap().text(0, 0);
    // What that mode makes of every value: its column's number and its length.
    assert_eq!(seen.as_deref(), Some("0:10"), "the masker is not asked");
    let asked = shop
        .weir
        .api(&olga, "DELETE", "/plugins/evil", None)
        .unwrap()
        .ok()
        .unwrap();
    let seen = shop.connect(ALICE).query(read).unwrap().text(0, 0);
    assert_eq!(seen.as_deref(), Some("0:10"), "one person removed it");
    let body = json!({"change": asked["pending"]["id"], "reason": "reviewed"});
    let path = "/plugins/evil/confirm";
    let own = shop.weir.api(&olga, "POST", path, Some(body.clone()));
    assert_eq!(own.unwrap().status, 403, "who asked for it confirmed it");
    shop.weir
        .api(&shop.token(OTTO), "POST", path, Some(body))
        .unwrap()
        .ok()
        .unwrap();
    let seen = shop.connect(ALICE).query(read).unwrap().text(0, 0);
    assert_eq!(seen.as_deref(), Some("Customer 3"));
}

#[test]
fn a_bad_plugin_is_refused_and_changes_nothing() {
    let shop = shop("plugin-bad");
    let olga = shop.token(OLGA);
    let list = |shop: &Shop| shop.weir.api(&olga, "GET", "/plugins", None).unwrap().body;
    let before = list(&shop);
    for (what, body) in [
        (
            "no component",
            json!({"component": base64(b"MZ not wasm"), "config": {}}),
        ),
        (
            "a core module",
            json!({"component": base64(b"\0asm\x01\0\0\0"), "config": {}}),
        ),
        ("not base64", json!({"component": "***", "config": {}})),
        (
            "refuses its configuration",
            plugin_body("evil", json!({"mode": "bad-config"})),
        ),
        (
            "traps while described",
            plugin_body("evil", json!({"mode": "describe-trap"})),
        ),
        (
            "loops while described",
            plugin_body("evil", json!({"mode": "describe-loop"})),
        ),
    ] {
        let answer = shop
            .weir
            .api(&olga, "POST", "/plugins/bad", Some(body))
            .unwrap();
        assert!((400..500).contains(&answer.status), "{what}: {answer:?}");
        assert_eq!(list(&shop), before, "{what}");
    }
    assert_eq!(shop.connect(ALICE).query("SELECT 1").unwrap().rows.len(), 1);
}

#[test]
fn every_route_wants_a_token_and_a_right() {
    let shop = shop("api");
    let mallory = shop.token(MALLORY);
    for (method, path) in [
        ("GET", "/bundles"),
        ("POST", "/bundles"),
        ("POST", "/bundles/1/activate"),
        ("POST", "/bundles/rollback"),
        ("GET", "/plugins"),
        ("POST", "/plugins/evil"),
        ("DELETE", "/plugins/mask-pii"),
        ("POST", "/plugins/mask-pii/confirm"),
        (
            "POST",
            "/sessions/0190a0a0-0000-7000-8000-000000000000/kill",
        ),
    ] {
        let without = weir_tests::http::call(
            shop.weir.api_port,
            method,
            &format!("/v1{path}"),
            None,
            None,
        );
        assert_eq!(without.unwrap().status, 401, "{method} {path}");
        let forged = shop.weir.api("e30.e30.", method, path, None).unwrap();
        assert_eq!(forged.status, 401, "{method} {path}: {forged:?}");
        let stranger = shop
            .weir
            .api(&mallory, method, path, Some(json!({})))
            .unwrap();
        assert_eq!(stranger.status, 403, "{method} {path}: {stranger:?}");
        let body = &stranger.body;
        assert_eq!(body["code"], "forbidden", "{method} {path}: {stranger:?}");
        assert!(body["message"].as_str().is_some_and(|m| m.contains(':')));
    }
    // Who may gets further: to the list, or to what is wrong with the call.
    let olga = shop.token(OLGA);
    for (method, path, status) in [
        ("GET", "/bundles", 200),
        ("GET", "/plugins", 200),
        ("POST", "/bundles", 400),
        ("POST", "/plugins/evil", 400),
    ] {
        let answer = shop.weir.api(&olga, method, path, Some(json!({})));
        let answer = answer.unwrap();
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
    }
}
