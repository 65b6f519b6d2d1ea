//! SSH certificates through the API: who may, and that each is on record before anybody has it.

use axum::http::StatusCode;
use pipeline::{Action, Actor, PrincipalKind};
use serde_json::{Value, json};

use crate::testing::{KEY, Rig, SERIAL, SOURCE};

const CALL: &str = "POST /v1/ssh/certificates";

fn acts(rig: &Rig) -> Vec<(String, Result<String, String>)> {
    let events = rig.events().into_iter();
    let events = events.filter(|e| e.action == "certificate:issue");
    events
        .map(|e| (e.resource, e.result.map(|()| e.detail)))
        .collect()
}

#[tokio::test]
async fn a_certificate_is_on_record_with_its_key_before_anybody_has_it() {
    let rig = Rig::new().await;
    let robot = Actor::new(PrincipalKind::Agent, "robot", &["agents"]);
    rig.add("robot", robot, vec![]);
    for token in ["alice", "robot"] {
        let answer = rig.call(token, CALL, json!({"public_key": KEY})).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        assert_eq!(answer.body["serial"], SERIAL);
        assert_eq!(answer.body["source"], SOURCE.to_string());
        assert_eq!(answer.body["key_id"], format!("weir {token}"));
        let acts = acts(&rig);
        let (resource, detail) = acts.last().unwrap();
        assert_eq!(*resource, format!("Certificate::\"{SERIAL}\""));
        let detail = detail.as_ref().unwrap();
        let until = answer.body["valid_before"].as_str().unwrap();
        assert!(
            detail.contains("SHA256:key") && detail.contains(until),
            "{detail}"
        );
    }
    // What cannot be recorded is not handed out.
    rig.memory.journal.break_quietly();
    let answer = rig.call("alice", CALL, json!({"public_key": KEY})).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!answer.body.to_string().contains("cert-v01"), "{answer:?}");
}

#[tokio::test]
async fn who_may_not_or_has_no_good_key_gets_none() {
    let rig = Rig::new().await;
    let answer = rig
        .call("alice", CALL, json!({"public_key": "ssh-dss AAAA"}))
        .await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(acts(&rig).last().unwrap().1, Err("the key is weak".into()));
    let long = json!({"public_key": "x".repeat(9_000)});
    let answer = rig.call("alice", CALL, long).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    let more = json!({"public_key": KEY, "principals": ["root"]});
    let answer = rig.call("alice", CALL, more).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);

    rig.policy(|question| question.accesses[0].action != Action::CertificateIssue);
    let answer = rig.call("alice", CALL, json!({"public_key": KEY})).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(answer.error().message.contains("certificate:issue"));
    let (_, result) = acts(&rig).pop().unwrap();
    assert!(result.is_err(), "{result:?}");
}

#[tokio::test]
async fn the_keys_are_for_whoever_may_see_targets() {
    let rig = Rig::new().await;
    let answer = rig
        .call("alice", "GET /v1/ssh/authority", Value::Null)
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.body["host_names"], json!(["gw.example"]));
    rig.policy(|question| question.accesses[0].action != Action::TargetRead);
    let answer = rig
        .call("alice", "GET /v1/ssh/authority", Value::Null)
        .await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
}
