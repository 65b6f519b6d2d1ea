//! Packages of evidence through the API: who may, and that it is on record before a byte is sent.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use pipeline::{Action, Actor, PrincipalKind};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::ApiError;
use crate::testing::{DIGEST, PACKAGE, Rig, SOURCE};

const CALL: &str = "POST /v1/packages";

fn body() -> Value {
    json!({"from": "2026-10-01T00:00:00Z", "to": "2026-11-01T00:00:00Z", "targets": ["orders"], "sample": 3})
}

/// What is on record of packages: the name, what it is about, and how it went.
fn acts(rig: &Rig) -> Vec<(String, String, Result<String, String>)> {
    let events = rig.events().into_iter();
    let events = events.filter(|e| e.action.starts_with("evidence:"));
    events
        .map(|e| (e.action, e.resource, e.result.map(|()| e.detail)))
        .collect()
}

/// The answer, of which nothing is read yet.
async fn begin(rig: &Rig, token: &str) -> Response {
    let request = Request::post("/v1/packages")
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .extension(ConnectInfo(SocketAddr::new(SOURCE, 4711)))
        .body(Body::from(body().to_string()))
        .unwrap();
    rig.control.router().oneshot(request).await.unwrap()
}

#[tokio::test]
async fn it_is_on_record_with_its_hash_before_it_is_sent() {
    let rig = Rig::new().await;
    let answer = begin(&rig, "dave").await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["content-type"], "application/zip");
    assert_eq!(
        answer.headers()["content-length"],
        PACKAGE.len().to_string()
    );
    assert_eq!(answer.headers()["weir-package"], DIGEST);
    assert_eq!(answer.headers()["cache-control"], "no-store");
    // Before a byte was read.
    let acts = acts(&rig);
    assert_eq!(acts.len(), 2, "{acts:?}");
    let window = "2026-10-01T00:00:00.000Z/2026-11-01T00:00:00.000Z";
    assert_eq!(acts[0].0, "evidence:export");
    assert_eq!(acts[0].1, format!("Package::\"{window}\""));
    assert_eq!(acts[1].0, "evidence:exported");
    assert_eq!(acts[1].1, format!("Package::\"{DIGEST}\""));
    for (_, _, detail) in &acts {
        let detail = detail.as_ref().unwrap();
        let asked = r#""targets":["orders"],"sample":3"#;
        assert!(detail.contains(asked), "{detail}");
        assert!(detail.contains("2026-11-01T00:00:00.000Z"), "{detail}");
    }
    let bytes = axum::body::to_bytes(answer.into_body(), 1_000).await;
    assert_eq!(bytes.unwrap(), PACKAGE.as_bytes());
    let order = rig.packages.orders.lock().pop().unwrap();
    assert_eq!(order.sample, Some(3));
    assert_eq!(order.targets, ["orders".to_owned()].into());
    assert!(!order.names);
}

#[tokio::test]
async fn who_may_not_gets_nothing_and_has_nothing_made() {
    let rig = Rig::new().await;
    let robot = Actor::new(PrincipalKind::Agent, "robot", &["security"]);
    let dave = Actor::new(PrincipalKind::User, "dave", &["security"]);
    rig.add("robot-for-dave", robot.clone(), vec![dave]);
    rig.add("robot", robot, vec![]);
    let ci = Actor::new(PrincipalKind::Workload, "ci", &["security"]);
    rig.add("ci", ci, vec![]);
    // Whatever the bundle says.
    for token in ["robot", "robot-for-dave", "ci"] {
        let answer = rig.call(token, CALL, body()).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{token}");
        assert!(acts(&rig).pop().unwrap().2.is_err(), "{token}");
    }
    rig.policy(|question| question.accesses[0].action != Action::EvidenceExport);
    let answer = rig.call("dave", CALL, body()).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(answer.error().message.contains("evidence:export"));
    assert_eq!(acts(&rig).len(), 4);
    assert!(rig.packages.orders.lock().is_empty(), "it was made");
}

/// Neither that it was asked for nor that it was made can be left out.
#[tokio::test]
async fn what_cannot_be_recorded_is_not_sent() {
    let rig = Rig::new().await;
    rig.memory.journal.break_quietly();
    let answer = rig.call("dave", CALL, body()).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(rig.packages.orders.lock().is_empty(), "it was made");

    let rig = Rig::new().await;
    let journal = rig.memory.journal.clone();
    *rig.packages.then.lock() = Some(Box::new(move || journal.break_quietly()));
    let answer = rig.call("dave", CALL, body()).await;
    assert_eq!(rig.packages.made.load(Ordering::SeqCst), 1);
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.error().message.contains("cannot be recorded"));
    assert!(!answer.body.to_string().contains(PACKAGE));
    assert!(answer.headers.get("weir-package").is_none());
}

#[tokio::test]
async fn orders_that_are_none_are_refused() {
    let rig = Rig::new().await;
    let long = "t".repeat(201);
    let many: Vec<String> = (0..101).map(|n| format!("t{n}")).collect();
    for (what, change) in [
        ("no beginning", json!({"from": null})),
        (
            "a window that is over before it begins",
            json!({"to": "2026-10-01T00:00:00Z"}),
        ),
        (
            "one that is still to come",
            json!({"from": "2199-01-01T00:00:00Z", "to": null}),
        ),
        ("a target without a name", json!({"targets": [""]})),
        ("a long one", json!({"targets": [long]})),
        ("many", json!({"targets": many})),
        ("a sample below nothing", json!({"sample": -1})),
        ("something else", json!({"recorded": false})),
    ] {
        let mut order = body();
        for (name, value) in change.as_object().unwrap() {
            order[name] = value.clone();
        }
        let answer = rig.call("dave", CALL, order).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{what}: {answer:?}");
    }
    assert!(rig.packages.orders.lock().is_empty());
    // A window ends now at the latest, and the record says where.
    let mut order = body();
    order["to"] = json!("2199-01-01T00:00:00Z");
    assert_eq!(rig.call("dave", CALL, order).await.status, StatusCode::OK);
    assert!(!acts(&rig).iter().any(|act| act.1.contains("2199")));
    *rig.packages.refuses.lock() = Some(ApiError::conflict("there is nothing of this window"));
    let answer = rig.call("dave", CALL, body()).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    let last = acts(&rig).pop().unwrap();
    assert_eq!(last.0, "evidence:export");
    assert!(last.2.unwrap_err().contains("nothing of this window"));
}

#[tokio::test]
async fn nobody_has_many_at_once() {
    let rig = Rig::new().await;
    // More than is sent before somebody reads.
    rig.packages.times.store(100_000, Ordering::SeqCst);
    let first = begin(&rig, "dave").await;
    assert_eq!(first.status(), StatusCode::OK);
    let again = begin(&rig, "dave").await;
    assert_eq!(
        again.status(),
        StatusCode::TOO_MANY_REQUESTS,
        "one for each"
    );
    assert!(
        acts(&rig).pop().unwrap().2.is_err(),
        "the refusal is on record"
    );
    let second = begin(&rig, "carol").await;
    assert_eq!(second.status(), StatusCode::OK, "others may");
    let third = begin(&rig, "bob").await;
    assert_eq!(third.status(), StatusCode::TOO_MANY_REQUESTS, "two for all");
    // Whoever goes away frees the place.
    drop((first, second));
    for _ in 0..400 {
        if begin(&rig, "dave").await.status() == StatusCode::OK {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("the place was not free again");
}

/// An end of Weir ends it, too, and what was sent is not taken for all.
#[tokio::test]
async fn a_shutdown_ends_it() {
    let rig = Rig::new().await;
    rig.packages.times.store(100_000, Ordering::SeqCst);
    let answer = begin(&rig, "dave").await;
    let ended = tokio::time::timeout(Duration::from_secs(10), rig.control.shutdown()).await;
    assert!(ended.is_ok(), "it waits for a reader");
    let bytes = axum::body::to_bytes(answer.into_body(), usize::MAX).await;
    assert!(bytes.unwrap().len() < PACKAGE.len() * 100_000);
}

/// Nor does Weir wait for one that is being made.
#[tokio::test]
async fn a_shutdown_does_not_wait_for_one_that_is_made() {
    let rig = Rig::new().await;
    rig.packages.hangs.store(true, Ordering::SeqCst);
    let stop = async {
        while rig.packages.orders.lock().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        rig.control.shutdown().await;
    };
    let both = async { tokio::join!(rig.call("dave", CALL, body()), stop).0 };
    let answer = tokio::time::timeout(Duration::from_secs(10), both).await;
    let answer = answer.expect("it waits for the package");
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    let last = acts(&rig).pop().unwrap();
    assert!(last.2.unwrap_err().contains("stopping"), "it is on record");
}
