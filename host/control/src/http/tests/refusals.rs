//! Every route refuses who may not pass, and what is malformed.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use pipeline::{Action, Actor, PrincipalKind};
use serde_json::{Value, json};

use crate::testing::{Rig, Setup, route};
use crate::{Limits, endpoints, openapi};

/// The only paths that need no token. This list may shrink.
const PUBLIC: &[&str] = &[
    "GET /approvals/{id}",
    "GET /healthz",
    "GET /openapi.json",
    "GET /readyz",
];

/// A rig in which every resource of the table exists, and the call for each line of it.
async fn populated() -> (Rig, Vec<(String, Action)>) {
    let rig = Rig::with(Setup {
        limits: Limits {
            // There are more routes than strangers may knock at in a minute.
            failures_per_minute: 100,
            ..Limits::default()
        },
        ..Setup::default()
    })
    .await;
    let version = rig.stage("alice", "second").await;
    let call = format!("POST /v1/bundles/{version}/activate");
    let answer = rig.call("bob", &call, json!({})).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    rig.plugins.preload("risk");
    let hold = rig.hold("alice", vec![route("first", 1)]).await;
    let hold_id = hold.info().id.clone();
    // It stays open for the test.
    std::mem::forget(hold);
    let ports = rig.ports();
    let info = crate::testing::session_info(rig.principal("alice"));
    let session_id = info.id.to_string();
    let caller = pipeline::Caller {
        cancel: &tokio_util::sync::CancellationToken::new(),
        on_hold: &|_| {},
        survey: None,
    };
    let connect = pipeline::Access {
        action: Action::PostgresConnect,
        resource: pipeline::Resource::Target,
        target: Some(info.target.clone()),
    };
    let session = pipeline::Session::open(ports, info, vec![connect], caller).await;
    std::mem::forget(session.unwrap());
    let calls = endpoints()
        .into_iter()
        .filter(|e| !e.own)
        .filter_map(|e| {
            let path = if e.path.contains("/approvals/") {
                e.path.replace("{id}", &hold_id)
            } else {
                e.path.replace("{id}", &session_id)
            };
            let path = match e.path.contains("/targets/") {
                true => path.replace("{name}", "orders"),
                false => path.replace("{name}", "risk"),
            };
            let path = path.replace("{version}", "1");
            assert!(!path.contains('{'), "the test does not know all of {path}");
            Some((format!("{} {path}", e.method), e.action?))
        })
        .collect();
    (rig, calls)
}

#[test]
fn the_table_is_the_description() {
    let table: BTreeSet<_> = endpoints()
        .into_iter()
        .map(|e| {
            let action = e.action.map(Action::as_str);
            (
                format!("{} {}", e.method, e.path),
                action.map(str::to_owned),
            )
        })
        .collect();
    let public: Vec<_> = table.iter().filter(|(_, a)| a.is_none()).collect();
    let public: Vec<&str> = public.iter().map(|(call, _)| call.as_str()).collect();
    assert_eq!(public, PUBLIC);

    let api = serde_json::to_value(openapi()).unwrap();
    let (mut described, mut ids) = (BTreeSet::new(), BTreeSet::new());
    for (path, item) in api["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(
                ids.insert(operation["operationId"].to_string()),
                "{method} {path}"
            );
            let says = |name: &str| operation[name].as_str().map(str::to_owned);
            let action = says("x-cedar-action").or_else(|| says("x-own"));
            let security = operation["security"].as_array().unwrap();
            assert_eq!(security.is_empty(), action.is_none(), "{method} {path}");
            described.insert((format!("{} {path}", method.to_uppercase()), action));
        }
    }
    assert_eq!(table, described);
}

/// Actions of the control plane that no route asks for would be promises that nobody keeps.
#[test]
fn every_action_of_the_control_plane_has_its_route() {
    let used: BTreeSet<_> = endpoints().into_iter().filter_map(|e| e.action).collect();
    let theirs = [
        "bundle:",
        "plugin:",
        "target:",
        "approval:",
        "session:",
        "audit:",
        "delivery:",
        "record:",
        "evidence:",
        "certificate:",
        "credential:",
        "key:",
        "host_key:",
    ];
    for action in Action::ALL {
        let ours = theirs
            .iter()
            .any(|prefix| action.as_str().starts_with(prefix));
        assert_eq!(ours, used.contains(action), "{}", action.as_str());
    }
}

#[test]
fn the_description_is_the_reviewed_one() {
    let mut text = serde_json::to_string_pretty(&openapi()).unwrap();
    text.push('\n');
    expect_test::expect_file!["openapi.json"].assert_eq(&text);
}

#[tokio::test]
async fn nothing_without_a_valid_token() {
    let (rig, calls) = populated().await;
    rig.add("old", Actor::new(PrincipalKind::User, "old", &[]), vec![]);
    let before = rig.events().len();
    let mut refused = 0;
    for (call, action) in &calls {
        let answer = rig.call("", call, Value::Null).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{call}");
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
        assert_eq!(answer.error().code, "unauthorized");
        let events = rig.events();
        let event = events.last().unwrap();
        assert!(
            event.result.is_err() && event.principal.is_none(),
            "{call}: {event:?}"
        );
        assert_eq!(event.action, action.as_str());
        assert!(event.detail.contains(call.as_str()), "{event:?}");
        refused += 1;
    }
    assert_eq!(rig.events().len(), before + refused);
    // Whether there is anything of that number is told to nobody.
    let number = "01a2231c-6c5f-4d5e-8f00-000000000000";
    for call in PUBLIC {
        let call = call.replace("{id}", number);
        let answer = rig.call("", &call, Value::Null).await;
        assert_eq!(answer.status, StatusCode::OK, "{call}");
    }
    let odd = rig.call("", "GET /approvals/%3Cb%3E", Value::Null).await;
    assert_eq!(odd.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn nothing_without_permission() {
    let (rig, calls) = populated().await;
    rig.policy(|_| false);
    for (call, action) in &calls {
        let before = rig.events().len();
        let answer = rig.call("bob", call, json!({"reason": "because"})).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{call}: {answer:?}");
        assert!(
            answer.error().message.contains(action.as_str()),
            "{answer:?}"
        );
        let events = rig.events();
        assert_eq!(
            events.len(),
            before + 1,
            "{call}: a refusal is recorded once"
        );
        let event = events.last().unwrap();
        assert!(event.result.is_err());
        assert_eq!(event.action, action.as_str());
        assert_eq!(&*event.principal.as_ref().unwrap().actor.subject, "bob");
    }
    assert_eq!(rig.bundles.active_version(), 2);
    assert!(rig.plugins.component("risk").is_some());
}

/// Whoever may not do it does not learn what is there: the answers are the same, and on record.
#[tokio::test]
async fn what_is_there_is_told_to_whom_it_concerns() {
    let (rig, calls) = populated().await;
    let absent = |call: &str| {
        call.replace("/bundles/1", "/bundles/99")
            .replace("/targets/orders", "/targets/none")
            .split('/')
            .map(|part| match uuid::Uuid::try_parse(part) {
                Ok(_) => "0190a0a0-0000-7000-8000-000000000000",
                Err(_) => part,
            })
            .collect::<Vec<_>>()
            .join("/")
    };
    let mut pairs = 0;
    for (call, action) in &calls {
        let other = absent(call);
        if other == *call {
            continue;
        }
        pairs += 1;
        // Permitted on some thing, but on none that the calls name, and not in general.
        rig.policy(|q| {
            q.accesses
                .iter()
                .all(|a| matches!(a.resource, pipeline::Resource::Plugin { .. }))
        });
        let body = json!({"reason": "because"});
        let there = rig.call("erin", call, body.clone()).await;
        let before = rig.events().len();
        let not_there = rig.call("erin", &other, body.clone()).await;
        assert_eq!(there.status, StatusCode::FORBIDDEN, "{call}: {there:?}");
        assert_eq!(there.body, not_there.body, "{call} and {other}");
        assert_eq!(there.status, not_there.status, "{call} and {other}");
        assert!(!there.body.to_string().contains("denied by the test"));
        // Whoever may do it in general is told.
        rig.policy(|_| true);
        let told = rig.call("bob", &other, body).await;
        assert_eq!(told.status, StatusCode::NOT_FOUND, "{other}: {told:?}");
        let events = rig.events();
        assert_eq!(events.len(), before + 2, "{other}: both are on record");
        assert!(events[before..].iter().all(|e| e.action == action.as_str()));
    }
    assert!(pairs >= 10, "{pairs}");
}

/// Only the action that the table names opens a route.
#[tokio::test]
async fn one_permission_opens_no_other_route() {
    let (rig, calls) = populated().await;
    for (call, action) in &calls {
        let action = *action;
        rig.policy(move |q| q.accesses.iter().all(|a| a.action != action));
        let answer = rig.call("carol", call, json!({"reason": "because"})).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{call}: {answer:?}");
    }
}

/// Nothing is done, and nothing is refused quietly, when it cannot be recorded.
#[tokio::test]
async fn nothing_unrecorded() {
    let (rig, calls) = populated().await;
    rig.memory.journal.break_quietly();
    let text = json!({"files": {"a": "x"}, "component": "AAAA", "reason": "r"});
    for (call, _) in &calls {
        // A text to be signed is nothing yet.
        if call.starts_with("GET") || call.contains("validate") || call.ends_with("/challenge") {
            continue;
        }
        let body = match call.as_str() {
            "POST /v1/bundles" => json!({"files": text["files"]}),
            "POST /v1/erasures" => {
                json!({"session": "0190a0a0-0000-7000-8000-000000000000", "reason": "r"})
            }
            "POST /v1/packages" => json!({"from": "2026-10-01T00:00:00Z"}),
            "POST /v1/ssh/certificates" => json!({"public_key": crate::testing::KEY}),
            "POST /v1/ssh/tokens" => json!({}),
            "POST /v1/ssh/tokens/revoke" => json!({"id": "01", "reason": "r"}),
            "POST /v1/ssh/revocations" => {
                json!({"kind": "serial", "value": crate::testing::SERIAL, "reason": "r"})
            }
            "POST /v1/ssh/keys" => super::ssh_keys::body("bob", "a"),
            "POST /v1/ssh/keys/remove" => json!({"fingerprint": "SHA256:a"}),
            c if c.contains("/host-keys/") => json!({"fingerprint": "SHA256:a", "reason": "r"}),
            c if c.ends_with("/confirm") => json!({"change": "x"}),
            c if c.starts_with("POST /v1/plugins") => json!({"component": text["component"]}),
            _ => json!({"reason": "r"}),
        };
        let voter = if call.contains("bundles/1/activate") {
            "carol"
        } else {
            "bob"
        };
        // The preloaded plugin comes with the configuration; an upload needs another name.
        let call = call.replace("/plugins/risk", "/plugins/other");
        let answer = rig.call(voter, &call, body).await;
        assert_eq!(
            answer.status,
            StatusCode::SERVICE_UNAVAILABLE,
            "{call}: {answer:?}"
        );
    }
    for token in ["", "nobody"] {
        let answer = rig.call(token, "GET /v1/targets", Value::Null).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    }
    let store = rig.control.store();
    assert_eq!(
        store.bundles(None, 100).await.unwrap().len(),
        2,
        "something was staged"
    );
    assert_eq!(rig.bundles.active_version(), 2, "something was activated");
    assert!(store.plugins().await.unwrap().is_empty());
    assert!(rig.plugins.component("other").is_none());
    let live = rig
        .call("bob", "GET /v1/sessions?live=true", Value::Null)
        .await;
    assert_eq!(live.body["items"].as_array().unwrap().len(), 1);
    let open = rig
        .call("bob", "GET /v1/approvals?state=open", Value::Null)
        .await;
    assert_eq!(
        open.body["items"].as_array().unwrap().len(),
        1,
        "a vote was counted"
    );
}

#[tokio::test]
async fn odd_tokens() {
    let rig = Rig::new().await;
    for (header, status) in [
        ("Bearer bob", 200),
        ("bearer bob", 200),
        ("Bearer  bob ", 200),
        ("Basic Ym9iOng=", 401),
        ("Bearer", 401),
        ("Bearer ", 401),
        ("bob", 401),
        ("Bearer nobody", 401),
        ("Bearer bob, Bearer bob", 401),
    ] {
        let answer = raw(&rig, &[header]).await;
        assert_eq!(answer.as_u16(), status, "{header:?}");
    }
    assert_eq!(
        raw(&rig, &["Bearer bob", "Bearer bob"]).await,
        StatusCode::UNAUTHORIZED
    );
    let long = format!("Bearer {}", "x".repeat(20_000));
    assert_eq!(raw(&rig, &[&long]).await, StatusCode::UNAUTHORIZED);
    rig.clock.advance(std::time::Duration::from_secs(40_000));
    assert_eq!(
        raw(&rig, &["Bearer bob"]).await,
        StatusCode::UNAUTHORIZED,
        "it has expired"
    );
}

async fn raw(rig: &Rig, authorization: &[&str]) -> StatusCode {
    use axum::extract::ConnectInfo;
    use tower::ServiceExt;
    let peer = std::net::SocketAddr::new(crate::testing::SOURCE, 1);
    let mut request = axum::http::Request::get("/v1/targets").extension(ConnectInfo(peer));
    for value in authorization {
        request = request.header("authorization", *value);
    }
    let request = request.body(axum::body::Body::empty()).unwrap();
    rig.control
        .router()
        .oneshot(request)
        .await
        .unwrap()
        .status()
}

#[tokio::test]
async fn malformed_calls() {
    let rig = Rig::with(Setup {
        limits: Limits {
            bundle_bytes: 1_000,
            plugin_bytes: 100,
            ..Limits::default()
        },
        ..Setup::default()
    })
    .await;
    let hold = rig.hold("alice", vec![route("first", 1)]).await;
    let approve = format!("POST /v1/approvals/{}/approve", hold.info().id);
    let id = hold.info().id.to_uppercase();
    let big = "x".repeat(70_000);
    let cases: Vec<(&str, Value, u16)> = vec![
        // Names that would be something else in SQL, in a path or in a log.
        ("GET /v1/approvals/1'%20OR%20'1'='1", Value::Null, 404),
        ("GET /v1/approvals/..%2F..%2Fetc", Value::Null, 404),
        ("GET /v1/approvals/%00", Value::Null, 404),
        ("GET /v1/approvals/%ff", Value::Null, 400),
        (
            "GET /v1/sessions/x;DROP%20TABLE%20sessions",
            Value::Null,
            404,
        ),
        ("GET /v1/bundles/1%20OR%201=1", Value::Null, 404),
        ("GET /v1/bundles/-1", Value::Null, 404),
        ("GET /v1/bundles/+1", Value::Null, 404),
        ("GET /v1/bundles/99999999999999999999", Value::Null, 404),
        ("GET /v1/bundles/1/diff?against=x", Value::Null, 400),
        ("GET /v1/bundles/1/diff?against=99", Value::Null, 404),
        ("GET /v1/plugins/a'--", Value::Null, 404),
        ("GET /v1/targets/orders'--", Value::Null, 404),
        ("GET /v1/approvals?state='%20OR%201=1", Value::Null, 400),
        ("GET /v1/approvals?after='", Value::Null, 400),
        ("GET /v1/approvals?limit=0", Value::Null, 400),
        ("GET /v1/approvals?limit=201", Value::Null, 400),
        ("GET /v1/approvals?limit=-1", Value::Null, 400),
        ("GET /v1/approvals?unknown=1", Value::Null, 400),
        ("GET /v1/sessions?live=perhaps", Value::Null, 400),
        // Bodies.
        (&approve, json!({"reason": big}), 413),
        (&approve, json!({"reason": "x".repeat(3_000)}), 400),
        (&approve, json!({"reason": "r", "voter": "carol"}), 400),
        (&approve, json!("looks right"), 400),
        (&approve, Value::Null, 400),
        ("POST /v1/bundles", json!({"files": {}}), 400),
        ("POST /v1/bundles", json!({"files": {"../x": "y"}}), 400),
        (
            "POST /v1/bundles",
            json!({"files": {"/etc/passwd": "y"}}),
            400,
        ),
        ("POST /v1/bundles", json!({"files": {"a//b": "y"}}), 400),
        (
            "POST /v1/bundles",
            json!({"files": {"a": "x".repeat(1_001)}}),
            413,
        ),
        (
            "POST /v1/bundles",
            json!({"files": {"a": "x"}, "author": "eve"}),
            400,
        ),
        (
            "POST /v1/bundles/validate",
            json!({"files": {"a": "BROKEN"}}),
            422,
        ),
        (
            "POST /v1/plugins/Bad%20Name",
            json!({"component": "AAAA"}),
            400,
        ),
        (
            "POST /v1/plugins/p",
            json!({"component": "not base64!"}),
            400,
        ),
        ("POST /v1/plugins/p", json!({"component": ""}), 400),
        (
            "POST /v1/plugins/p",
            json!({"component": "A".repeat(400)}),
            413,
        ),
        ("POST /v1/plugins/p", json!({"component": "QlJPS0VO"}), 422),
        // Paths and methods.
        ("GET /v1/nothing", Value::Null, 404),
        ("GET /v1/approvals/", Value::Null, 404),
        ("PUT /v1/bundles", json!({}), 405),
        ("DELETE /v1/bundles/1", Value::Null, 405),
    ];
    for (call, body, status) in cases {
        let answer = rig.call("bob", call, body).await;
        assert_eq!(answer.status.as_u16(), status, "{call}: {answer:?}");
        let error = answer.error();
        assert!(!error.message.is_empty() && !error.code.is_empty());
        assert!(!error.message.to_lowercase().contains("sql"), "{error:?}");
        assert_eq!(
            answer.headers["x-content-type-options"], "nosniff",
            "{call}"
        );
        assert!(!answer.headers.contains_key("access-control-allow-origin"));
    }
    // One way of writing an id only.
    let upper = rig
        .call("bob", &format!("GET /v1/approvals/{id}"), Value::Null)
        .await;
    assert_eq!(upper.status, StatusCode::NOT_FOUND);
    let text = rig.call_raw("bob", &approve, b"{not json".to_vec()).await;
    assert_eq!(text.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_problem_names_its_place() {
    let rig = Rig::new().await;
    let body = json!({"files": {"p/x.cedar": "BROKEN"}});
    let answer = rig.call("bob", "POST /v1/bundles", body).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    let problem = &answer.error().problems[0];
    assert_eq!(
        (&*problem.file, problem.line, problem.column),
        ("p/x.cedar", 1, 3)
    );
    assert_eq!(rig.control.store().bundles(None, 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn too_many_calls() {
    let rig = Rig::with(Setup {
        limits: Limits {
            calls_per_minute: 3,
            failures_per_minute: 2,
            ..Limits::default()
        },
        ..Setup::default()
    })
    .await;
    let call = "GET /v1/targets";
    for status in [200, 200, 200, 429] {
        let answer = rig.call("bob", call, Value::Null).await;
        assert_eq!(answer.status.as_u16(), status);
    }
    assert_eq!(
        rig.call("carol", call, Value::Null).await.status,
        StatusCode::OK
    );
    for status in [401, 401, 429, 429] {
        let answer = rig.call("guess", call, Value::Null).await;
        assert_eq!(answer.status.as_u16(), status);
    }
    for _ in 0..5 {
        rig.call("bob", call, Value::Null).await;
    }
    let of_bob = rig.events().into_iter().filter(|e| e.principal.is_some());
    assert_eq!(of_bob.count(), 1, "one record for many");
    let strangers = rig.events().into_iter().filter(|e| e.principal.is_none());
    assert_eq!(
        strangers.count(),
        2,
        "a flood of calls must not become a flood of records"
    );
    assert_eq!(
        rig.call("dave", call, Value::Null).await.status,
        StatusCode::OK,
        "somebody else's failures lock nobody out"
    );
}

/// Lists show only what policy permits to see.
#[tokio::test]
async fn lists_are_filtered() {
    let rig = Rig::new().await;
    let _one = rig.hold("alice", vec![route("first", 1)]).await;
    let _two = rig.hold("alice", vec![route("second", 1)]).await;
    rig.policy(|q| {
        q.accesses.iter().all(|a| {
            !matches!(&a.resource,
                pipeline::Resource::ApprovalRule { rule, .. } if &**rule == "first")
        })
    });
    let answer = rig.call("bob", "GET /v1/approvals", Value::Null).await;
    assert_eq!(answer.status, StatusCode::OK);
    let rules: Vec<&Value> = answer.body["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item["rules"][0])
        .collect();
    assert_eq!(rules, ["second"]);
}
