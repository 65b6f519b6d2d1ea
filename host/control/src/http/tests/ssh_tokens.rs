//! Short tokens through the API: on record, kept as a hash, and bounded.

use axum::http::StatusCode;
use pipeline::{Action, Actor, PrincipalKind, Protocol};
use serde_json::{Value, json};

use super::ssh::{is_over, session};
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
    let said = answer.body.to_string();
    assert!(
        said.contains("50") && said.contains("weir ssh token revoke"),
        "{said}"
    );
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

async fn listed(rig: &Rig, who: &str, path: &str) -> Vec<String> {
    let call = format!("GET /v1/ssh/tokens{path}");
    let answer = rig.call(who, &call, Value::Null).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert!(!answer.body.to_string().contains("weir_st_"), "{answer:?}");
    let items = answer.body["items"].as_array().unwrap();
    let id = |item: &Value| item["id"].as_str().unwrap().to_owned();
    let mut ids: Vec<String> = items.iter().map(id).collect();
    ids.sort();
    ids
}

/// One by one: by whose it is, whatever policy says, and by whoever may revoke; and with what came in by it.
#[tokio::test]
async fn a_single_token_is_taken_back_or_revoked() {
    let rig = Rig::new().await;
    let desk = rig.control.short_tokens();
    for who in ["alice", "alice", "alice", "bob"] {
        assert_eq!(ask(&rig, who, json!({})).await.status, StatusCode::OK);
    }
    let alice = rig.principal("alice").actor.clone();
    let bot = Actor::new(PrincipalKind::Agent, "bot", &[]);
    rig.add("for-bot", alice, vec![bot]);
    let ssh = Protocol::Ssh;
    let mut sessions = Vec::new();
    for (name, of, id) in [
        ("by-1", "alice", "short:01"),
        ("by-2", "alice", "short:02"),
        ("by-4", "bob", "short:04"),
        ("other", "alice", "01"),
    ] {
        rig.add_token(name, of, id);
        sessions.push(session(&rig, name, ssh, &[]).await);
    }
    sessions.push(session(&rig, "by-1", Protocol::Postgres, &[]).await);
    let over = |sessions: &[_]| sessions.iter().map(is_over).collect::<Vec<bool>>();
    assert_eq!(listed(&rig, "alice", "").await, ["01", "02", "03"]);
    assert_eq!(listed(&rig, "erin", "").await, [""; 0]);
    assert_eq!(listed(&rig, "dave", "/all").await.len(), 4);
    assert_eq!(listed(&rig, "dave", "/all?subject=bob").await, ["04"]);

    // Not somebody else's, nor in somebody's name, nor what names nothing.
    let remove = "POST /v1/ssh/tokens/remove";
    for (who, id, status) in [
        ("bob", "01", 404),
        ("for-bot", "01", 403),
        ("alice", "04", 404),
        ("alice", "0", 404),
        ("alice", "", 404),
        ("alice", &"x".repeat(65), 413),
    ] {
        let answer = rig.call(who, remove, json!({"id": id})).await;
        assert_eq!(answer.status, status, "{who} {id}: {answer:?}");
    }
    assert_eq!(over(&sessions), [false; 5]);
    rig.policy(|q| q.accesses[0].action == Action::SshConnect);
    let answer = rig.call("alice", remove, json!({"id": "01"})).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.body["sessions_ended"], 1);
    assert_eq!(over(&sessions), [true, false, false, false, false]);
    assert_eq!(desk.find(hash(1)).await.unwrap(), None);
    assert!(!desk.counts("01").await.unwrap() && desk.counts("02").await.unwrap());
    assert_eq!(listed(&rig, "alice", "").await, ["02", "03"]);
    let event = rig.events().pop().unwrap();
    assert_eq!(event.resource, "Token::\"01\"");

    // Of others: for whoever may, with a reason.
    let revoke = "POST /v1/ssh/tokens/revoke";
    let body = json!({"id": "04", "reason": "left in a log"});
    let answer = rig.call("dave", revoke, body.clone()).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    let may = [Action::SshConnect, Action::CredentialRevoke];
    rig.policy(move |q| may.contains(&q.accesses[0].action));
    for (body, status) in [
        (json!({"id": "04", "reason": ""}), 400),
        (json!({"id": "01", "reason": "gone"}), 404),
    ] {
        let answer = rig.call("dave", revoke, body).await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
    let answer = rig.call("dave", revoke, body).await;
    assert_eq!(answer.body["sessions_ended"], 1, "{answer:?}");
    assert_eq!(over(&sessions), [true, false, true, false, false]);
    let event = rig.events().pop().unwrap();
    assert!(event.detail.contains("bob") && event.detail.contains("left in a log"));
    // There is room again.
    assert_eq!(listed(&rig, "dave", "/all").await, ["02", "03"]);

    // It does not count, whatever the disk says.
    rig.sql(
        "CREATE TRIGGER stuck BEFORE DELETE ON ssh_tokens BEGIN SELECT RAISE(ABORT, 'stuck'); END",
    );
    let answer = rig.call("alice", remove, json!({"id": "02"})).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    assert!(answer.error().message.contains("until Weir ends"));
    assert_eq!(desk.find(hash(2)).await.unwrap(), None);
    assert!(!desk.counts("02").await.unwrap());
    assert_eq!(over(&sessions), [true, true, true, false, false]);
    rig.sql("DROP TRIGGER stuck");
    assert!(
        rig.killed()
            .await
            .unwrap()
            .control
            .short_tokens()
            .counts("02")
            .await
            .unwrap()
    );
    // And when it cannot be looked up, either.
    rig.sql("DROP TABLE ssh_tokens");
    assert!(desk.counts("03").await.is_err());
}
