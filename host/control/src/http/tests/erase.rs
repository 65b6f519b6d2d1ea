//! Erasing sessions through the API: who may, and that it is on record before it is done.

use axum::http::StatusCode;
use pipeline::{Action, Actor, PrincipalKind};
use serde_json::{Value, json};
use uuid::Uuid;

use super::acts::{open, written};
use crate::testing::{Rig, STRANGE, STUCK, session_info};

const CALL: &str = "POST /v1/erasures";

fn body(id: impl std::fmt::Display) -> Value {
    json!({"session": id.to_string(), "reason": "request 4711 of the data protection officer"})
}

#[tokio::test]
async fn an_erasure_is_on_record_with_who_and_why() {
    let rig = Rig::new().await;
    let id = Uuid::now_v7();
    let answer = rig.call("dave", CALL, body(id)).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.body["session"], id.to_string());
    assert_eq!(answer.body["leaf"], 7);
    let events = rig.events();
    let event = events.last().unwrap();
    assert_eq!((&*event.action, &event.result), ("record:erase", &Ok(())));
    assert_eq!(event.resource, format!("Session::\"{id}\""));
    assert!(event.detail.contains("request 4711"), "{}", event.detail);
    // Another time tells of the first, and the refusal is on record.
    let again = rig.call("bob", CALL, body(id)).await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    assert!(again.error().message.contains("dave"), "{again:?}");
    assert!(rig.events().last().unwrap().result.is_err());
}

#[tokio::test]
async fn who_may_not_erase_erases_nothing() {
    let rig = Rig::new().await;
    let alice = Actor::new(PrincipalKind::User, "alice", &[]);
    let agent = Actor::new(PrincipalKind::Agent, "robot", &[]);
    rig.add("robot-for-alice", agent, vec![alice]);
    let ci = Actor::new(PrincipalKind::Workload, "ci", &[]);
    rig.add("ci", ci, vec![]);
    let id = Uuid::now_v7();
    // Whatever the bundle says.
    for token in ["robot-for-alice", "ci"] {
        let answer = rig.call(token, CALL, body(id)).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{token}");
        assert!(rig.events().last().unwrap().result.is_err(), "{token}");
    }
    for body in [
        json!({"session": id.to_string(), "reason": ""}),
        json!({"session": id.to_string()}),
        json!({"reason": "because"}),
        body("no-session"),
        body(id.simple()),
        body(id.to_string().to_uppercase()),
    ] {
        let answer = rig.call("dave", CALL, body.clone()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}: {answer:?}");
    }
    rig.policy(|question| question.accesses[0].action != Action::RecordErase);
    let answer = rig.call("dave", CALL, body(id)).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    rig.policy(|_| true);
    let answer = rig.call("dave", CALL, body(id)).await;
    assert_eq!(answer.status, StatusCode::OK, "it was not erased before");
}

#[tokio::test]
async fn nobody_erases_what_is_their_own() {
    let rig = Rig::new().await;
    let agent = Actor::new(PrincipalKind::Agent, "robot", &[]);
    let alice = Actor::new(PrincipalKind::User, "alice", &[]);
    rig.add("robot-for-alice", agent, vec![alice]);
    for token in ["alice", "robot-for-alice"] {
        let info = session_info(rig.principal(token));
        let id = info.id.to_string();
        let session = open(&rig, info).await;
        // Both while it is live and when it is only remembered.
        let answer = rig.call("alice", CALL, body(&id)).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{token}: {answer:?}");
        session
            .close(pipeline::EndReason::ClientClosed)
            .await
            .unwrap();
        written(&rig, &id).await;
        let answer = rig.call("alice", CALL, body(&id)).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{token}: {answer:?}");
        let said = answer.error().message;
        assert!(said.contains("somebody else must ask"), "{said}");
        assert!(rig.events().last().unwrap().result.is_err(), "{token}");
        let answer = rig.call("dave", CALL, body(&id)).await;
        assert_eq!(answer.status, StatusCode::OK, "{token}: {answer:?}");
    }
}

/// Who had it is known here for as long as the session is remembered; after that the record has to tell.
#[tokio::test]
async fn the_record_is_asked_whose_it_is_when_nobody_remembers() {
    let rig = Rig::new().await;
    let ask = |id: String| json!({"session": id, "reason": STRANGE});
    let answer = rig
        .call("dave", CALL, ask(Uuid::now_v7().to_string()))
        .await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "{answer:?}");
    assert!(rig.events().last().unwrap().result.is_err());
    let info = session_info(rig.principal("alice"));
    let id = info.id.to_string();
    let session = open(&rig, info).await;
    let closed = session.close(pipeline::EndReason::ClientClosed).await;
    closed.unwrap();
    written(&rig, &id).await;
    let answer = rig.call("dave", CALL, ask(id)).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
}

#[tokio::test]
async fn an_erasure_that_goes_on_was_not_refused() {
    let rig = Rig::new().await;
    let id = Uuid::now_v7();
    let answer = rig
        .call(
            "dave",
            CALL,
            json!({"session": id.to_string(), "reason": STUCK}),
        )
        .await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    let events = rig.events();
    let of_it = events.iter().filter(|e| e.action == "record:erase");
    let of_it: Vec<_> = of_it.collect();
    assert_eq!(of_it.len(), 2, "{events:?}");
    assert!(of_it.iter().all(|e| e.result == Ok(())), "{events:?}");
    assert!(of_it[1].detail.contains("goes on"), "{:?}", of_it[1]);
}
