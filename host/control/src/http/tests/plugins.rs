//! Who brings plugins into force, and what happens when one cannot be loaded.

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pipeline::{Action, Actor, PrincipalKind};
use serde_json::{Value, json};

use crate::testing::{Answer, Rig, Setup};

fn upload(text: &str) -> Value {
    json!({"component": STANDARD.encode(text)})
}

/// Asks for a change as `who`; gives its id.
async fn ask(rig: &Rig, who: &str, call: &str, body: Value) -> String {
    let answer = rig.call(who, call, body).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    let change = &answer.body["pending"];
    assert_eq!(change["author"], who);
    change["id"].as_str().unwrap().to_owned()
}

async fn confirm(rig: &Rig, who: &str, name: &str, id: &str) -> Answer {
    let call = format!("POST /v1/plugins/{name}/confirm");
    let body = json!({"change": id, "reason": "looked at it"});
    rig.call(who, &call, body).await
}

async fn confirmed(rig: &Rig, who: &str, name: &str, id: &str) -> u16 {
    confirm(rig, who, name, id).await.status.as_u16()
}

#[tokio::test]
async fn a_new_plugin_needs_one_person_and_its_replacement_two() {
    let rig = Rig::new().await;
    let risk = "POST /v1/plugins/risk";
    let answer = rig.call("alice", risk, upload("strict")).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.body["state"], "loaded");

    let agent = Actor {
        owner: Some("alice".into()),
        ..Actor::new(PrincipalKind::Agent, "robot", &[])
    };
    let alice = Actor::new(PrincipalKind::User, "alice", &[]);
    rig.add("robot", agent.clone(), vec![]);
    rig.add("robot-for-alice", agent, vec![alice]);
    rig.add("ci", Actor::new(PrincipalKind::Workload, "ci", &[]), vec![]);
    let id = ask(&rig, "alice", risk, upload("lax")).await;
    for who in ["alice", "robot", "robot-for-alice", "ci"] {
        assert_eq!(confirmed(&rig, who, "risk", &id).await, 403, "{who}");
    }
    assert_eq!(confirmed(&rig, "bob", "other", &id).await, 404);
    assert_eq!(rig.plugins.component("risk").unwrap(), "strict");
    let done = confirm(&rig, "bob", "risk", &id).await;
    assert_eq!(done.status, StatusCode::OK, "{done:?}");
    assert_eq!(
        (&done.body["uploaded_by"], &done.body["confirmed_by"]),
        (&json!("alice"), &json!("bob"))
    );
    assert_eq!(rig.plugins.component("risk").unwrap(), "lax");
    assert_eq!(confirmed(&rig, "bob", "risk", &id).await, 404, "once");

    // What an agent asks for, those it acts for may not confirm either.
    let call = "DELETE /v1/plugins/risk";
    let id = ask(&rig, "robot", call, Value::Null).await;
    assert_eq!(confirmed(&rig, "alice", "risk", &id).await, 403);
    assert_eq!(rig.plugins.component("risk").unwrap(), "lax");
    let gone = confirm(&rig, "bob", "risk", &id).await;
    assert_eq!(gone.body["state"], "removed", "{gone:?}");
    assert!(rig.plugins.component("risk").is_none());
    let refused = rig.events().into_iter().filter(|e| e.result.is_err());
    assert_eq!(refused.count(), 7, "every refusal is on record");
    let last = rig.events().pop().unwrap();
    assert!(last.detail.contains("removal: looked at it"), "{last:?}");
}

/// What is confirmed is what was looked at, and only to what it was asked for.
#[tokio::test]
async fn a_change_is_the_one_that_was_looked_at() {
    let rig = Rig::new().await;
    let risk = "POST /v1/plugins/risk";
    rig.call("alice", risk, upload("one")).await;
    let looked_at = ask(&rig, "alice", risk, upload("two")).await;
    let swapped = ask(&rig, "alice", risk, upload("worse")).await;
    assert_eq!(confirmed(&rig, "bob", "risk", &looked_at).await, 404);
    assert_eq!(rig.plugins.component("risk").unwrap(), "one");

    rig.sql("UPDATE plugin_changes SET expires_at = 1");
    assert_eq!(
        confirmed(&rig, "bob", "risk", &swapped).await,
        404,
        "overdue"
    );
    let shown = rig.call("bob", "GET /v1/plugins/risk", Value::Null).await;
    assert_eq!(shown.body["pending"], Value::Null);

    let stale = ask(&rig, "alice", risk, upload("three")).await;
    rig.sql("UPDATE plugins SET uploaded_at = uploaded_at + 1");
    assert_eq!(confirmed(&rig, "bob", "risk", &stale).await, 409);
    assert_eq!(rig.plugins.component("risk").unwrap(), "one");
    // Whoever confirms a removal must be permitted to remove.
    let id = ask(&rig, "alice", "DELETE /v1/plugins/risk", Value::Null).await;
    rig.policy(|q| q.accesses.iter().all(|a| a.action != Action::PluginRemove));
    assert_eq!(confirmed(&rig, "bob", "risk", &id).await, 403);
    assert_eq!(rig.plugins.component("risk").unwrap(), "one");
}

#[tokio::test]
async fn changes_that_wait_are_bounded() {
    let rig = Rig::new().await;
    for n in 0..9 {
        let call = format!("POST /v1/plugins/p{n}");
        rig.call("alice", &call, upload("one")).await;
        let again = rig.call("alice", &call, upload("two")).await;
        assert_eq!(again.status.as_u16(), if n < 8 { 202 } else { 409 }, "{n}");
    }
}

/// An upload that takes the place of a required plugin lifts what fails closed: two people.
#[tokio::test]
async fn what_is_missed_is_not_brought_back_by_one_person() {
    use crate::PluginEngine;
    let rig = Rig::new().await;
    rig.plugins.expect("risk");
    let id = ask(&rig, "alice", "POST /v1/plugins/risk", upload("lax")).await;
    let shown = rig.call("bob", "GET /v1/plugins/risk", Value::Null).await;
    assert_eq!(shown.body["state"], "missing", "{shown:?}");
    assert_eq!(confirmed(&rig, "alice", "risk", &id).await, 403);
    assert_eq!(rig.plugins.missing(), ["risk"]);
    assert_eq!(confirmed(&rig, "bob", "risk", &id).await, 200);
    assert!(rig.plugins.missing().is_empty());
}

/// An upgrade may refuse what an earlier Weir took: it is missed, and people can replace it.
#[tokio::test]
async fn a_plugin_that_is_no_longer_admitted_is_missed() {
    use crate::PluginEngine;
    for (call, body, state) in [
        ("POST /v1/plugins/risk", upload("repaired"), "loaded"),
        ("DELETE /v1/plugins/risk", Value::Null, "removed"),
    ] {
        let rig = Rig::new().await;
        rig.call("alice", "POST /v1/plugins/risk", upload("fine"))
            .await;
        rig.sql("UPDATE plugins SET component = x'42524f4b454e'");
        let rig = rig.restart().await.unwrap();
        assert_eq!(rig.plugins.missing(), ["risk"]);
        let shown = rig.call("bob", "GET /v1/plugins/risk", Value::Null).await;
        assert_eq!(shown.body["state"], "missing");
        assert_eq!(shown.body["problem"], "it is not a component");
        let id = ask(&rig, "alice", call, body).await;
        assert_eq!(rig.plugins.missing(), ["risk"], "only asked for");
        let done = confirm(&rig, "bob", "risk", &id).await;
        assert_eq!(done.body["state"], state, "{done:?}");
        assert!(rig.plugins.missing().is_empty());
    }
}

#[tokio::test]
async fn an_uploaded_plugin_never_replaces_a_configured_one() {
    let mut rig = Rig::new().await;
    rig.call("alice", "POST /v1/plugins/risk", upload("uploaded"))
        .await;
    // The next configuration has one of the same name.
    rig.setup.plugins.push("risk");
    let rig = rig.restart().await.unwrap();
    assert_eq!(rig.plugins.component("risk").unwrap(), "built in");
    for (call, body) in [
        ("POST /v1/plugins/risk", upload("uploaded")),
        ("DELETE /v1/plugins/risk", Value::Null),
    ] {
        assert_eq!(rig.call("alice", call, body).await.status, 409, "{call}");
    }
    assert_eq!(rig.plugins.component("risk").unwrap(), "built in");
    let shown = rig.call("bob", "GET /v1/plugins/risk", Value::Null).await;
    assert_eq!(shown.body["uploaded_by"], Value::Null);
}

#[tokio::test]
async fn plugins_come_and_go() {
    let rig = Rig::with(Setup {
        plugins: vec!["built-in"],
        ..Setup::default()
    })
    .await;
    for (call, body, status) in [
        ("POST /v1/plugins/built-in", upload("mine"), 409),
        ("DELETE /v1/plugins/built-in", Value::Null, 409),
        ("DELETE /v1/plugins/risk", Value::Null, 404),
        ("POST /v1/plugins/risk", upload("one"), 200),
        ("POST /v1/plugins/risk", upload("BROKEN"), 422),
        ("GET /v1/plugins/risk", Value::Null, 200),
    ] {
        let answer = rig.call("alice", call, body).await;
        assert_eq!(answer.status.as_u16(), status, "{call}: {answer:?}");
    }
    assert_eq!(rig.plugins.component("built-in").unwrap(), "built in");

    // The store fails: the host keeps what the store says.
    let put = ask(&rig, "alice", "POST /v1/plugins/risk", upload("two")).await;
    rig.sql("CREATE TRIGGER full BEFORE INSERT ON plugins BEGIN SELECT RAISE(ABORT, 'full'); END");
    rig.sql("CREATE TRIGGER kept BEFORE DELETE ON plugins BEGIN SELECT RAISE(ABORT, 'full'); END");
    assert_eq!(confirmed(&rig, "bob", "risk", &put).await, 503);
    let new = rig.call("alice", "POST /v1/plugins/new", upload("new"));
    assert_eq!(new.await.status, StatusCode::SERVICE_UNAVAILABLE);
    let remove = ask(&rig, "alice", "DELETE /v1/plugins/risk", Value::Null).await;
    assert_eq!(confirmed(&rig, "bob", "risk", &remove).await, 503);
    assert_eq!(rig.plugins.component("risk").unwrap(), "one");
    assert!(rig.plugins.component("new").is_none());
    rig.sql("DROP TRIGGER full; DROP TRIGGER kept");
    assert_eq!(confirmed(&rig, "bob", "risk", &remove).await, 200);
    let list = rig.call("alice", "GET /v1/plugins", Value::Null).await;
    assert_eq!(list.body["items"].as_array().unwrap().len(), 1);
}
