//! Short tokens through the API: on record, kept as a hash, and bounded.

use axum::http::StatusCode;
use pipeline::Action;
use serde_json::{Value, json};

use crate::ssh_tokens::PER_PERSON;
use crate::testing::{Answer, Rig, SOURCE};

async fn ask(rig: &Rig, who: &str, body: Value) -> Answer {
    rig.call(who, "POST /v1/ssh/tokens", body).await
}

fn hash(first: u8) -> [u8; 32] {
    let mut hash = [0; 32];
    hash[0] = first;
    hash
}

#[tokio::test]
async fn a_short_token_is_on_record_and_its_hash_is_all_that_is_kept() {
    let rig = Rig::new().await;
    let desk = rig.control.short_tokens();
    let answer = ask(&rig, "alice", json!({"minutes": 10})).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.body["token"], "weir_st_1");
    let event = rig.events().pop().unwrap();
    assert_eq!(
        (&*event.action, &*event.resource),
        ("certificate:issue", "Token::\"01\"")
    );
    let until = answer.body["expires_at"].as_str().unwrap();
    assert!(
        event.detail.contains(until) && event.detail.contains(&SOURCE.to_string()),
        "{event:?}"
    );
    assert!(!format!("{:?}", rig.events()).contains("weir_st_"));

    let kept = desk.find(hash(1)).await.unwrap().unwrap();
    assert_eq!(
        (&*kept.kept, kept.source),
        ("alice", Some(SOURCE.to_string()))
    );
    // It is recorded a moment after it was made.
    let lasts = kept.ends.duration_since(kept.since).unwrap().as_secs();
    assert!((570..=600).contains(&lasts), "{lasts}");
    assert_eq!(desk.find(hash(2)).await.unwrap(), None);

    // What is wrong with it is on record, too.
    for (body, status) in [
        (json!({"minutes": 61}), 422),
        (json!({"minutes": -1}), 400),
        (json!({"subject": "bob"}), 400),
    ] {
        let answer = ask(&rig, "alice", body).await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
    rig.policy(|q| q.accesses[0].action != Action::CertificateIssue);
    let answer = ask(&rig, "alice", json!({})).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(rig.events().pop().unwrap().result.is_err());
    rig.policy(|_| true);

    // What cannot be recorded or kept is handed to nobody.
    rig.memory.journal.break_quietly();
    let answer = ask(&rig, "alice", json!({})).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!answer.body.to_string().contains("weir_st_"), "{answer:?}");
    assert_eq!(desk.find(hash(2)).await.unwrap(), None);
    let rig = Rig::new().await;
    rig.sql("DROP TABLE ssh_tokens");
    let answer = ask(&rig, "alice", json!({})).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!answer.body.to_string().contains("weir_st_"), "{answer:?}");
    // Nor is anybody found by what cannot be read.
    assert!(rig.control.short_tokens().find(hash(1)).await.is_err());
}

#[tokio::test]
async fn a_person_has_so_many_and_none_after_a_revocation() {
    let rig = Rig::new().await;
    let desk = rig.control.short_tokens();
    for _ in 0..PER_PERSON {
        assert_eq!(ask(&rig, "alice", json!({})).await.status, StatusCode::OK);
    }
    let answer = ask(&rig, "alice", json!({})).await;
    assert_eq!(answer.status, StatusCode::CONFLICT, "{answer:?}");
    let last = hash(u8::try_from(PER_PERSON).unwrap() + 2);
    assert_eq!(ask(&rig, "bob", json!({})).await.status, StatusCode::OK);
    assert!(desk.find(last).await.unwrap().is_some());

    let revoke = json!({"kind": "subject", "value": "alice", "reason": "left"});
    let answer = rig.call("dave", "POST /v1/ssh/revocations", revoke).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(desk.find(hash(1)).await.unwrap(), None);
    assert!(desk.find(last).await.unwrap().is_some());

    // They are there after a start.
    let again = rig.killed().await.unwrap();
    let desk = again.control.short_tokens();
    assert!(desk.find(last).await.unwrap().is_some());
}
