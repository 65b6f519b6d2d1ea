//! Registered keys through the API: whose they become, on record, and what takes them away.

use std::time::Duration;

use axum::http::StatusCode;
use pipeline::{Action, Actor, PrincipalKind, Protocol};
use serde_json::{Value, json};

use super::ssh::{is_over, session};
use crate::http::endpoints;
use crate::testing::{Answer, KEY, Rig, SERIAL, SIGNED, Setup};

const REGISTER: &str = "POST /v1/ssh/keys";
const REMOVE: &str = "POST /v1/ssh/keys/remove";

pub(super) fn body(who: &str, key: &str) -> Value {
    json!({
        "public_key": format!("ssh-ed25519 {key}"), "name": format!("{key} of {who}"), "hours": 1,
        "challenge": format!("SHA256:{key} of {who}"), "signature": SIGNED,
    })
}

async fn register(rig: &Rig, who: &str, key: &str) -> Answer {
    rig.call(who, REGISTER, body(who, key)).await
}

async fn remove(rig: &Rig, who: &str, fingerprint: &str) -> Answer {
    rig.call(who, REMOVE, json!({ "fingerprint": fingerprint }))
        .await
}

async fn listed(rig: &Rig, who: &str, path: &str) -> Vec<String> {
    let answer = rig
        .call(who, &format!("GET /v1/ssh/keys{path}"), Value::Null)
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let items = answer.body["items"].as_array().unwrap();
    let print = |i: &Value| i["fingerprint"].as_str().unwrap().to_owned();
    items.iter().map(print).collect()
}

fn in_force(rig: &Rig) -> Vec<String> {
    let keys = rig.ssh.keys.lock();
    keys.iter()
        .map(|(key, who)| format!("{key} {who}"))
        .collect()
}

#[tokio::test]
async fn a_key_is_on_record_and_kept_before_it_counts_and_is_its_persons_alone() {
    let rig = Rig::new().await;
    let asked = json!({"public_key": "ssh-ed25519 a"});
    let call = "POST /v1/ssh/keys/challenge";
    let challenge = rig.call("alice", call, asked).await;
    assert_eq!(challenge.body["text"], "SHA256:a of alice");
    let answer = register(&rig, "alice", "a").await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.body["fingerprint"], "SHA256:a");
    let event = rig.events().pop().unwrap();
    assert_eq!(
        (&*event.action, &*event.resource),
        ("key:register", "Key::\"SHA256:a\"")
    );
    let until = answer.body["expires_at"].as_str().unwrap();
    assert!(
        event.detail.contains(until) && event.detail.contains("a of alice"),
        "{event:?}"
    );
    assert_eq!(in_force(&rig), ["SHA256:a alice"]);

    // With somebody else's proof, and with one's own of a key that is somebody else's already.
    let answer = rig.call("bob", REGISTER, body("alice", "a")).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    let answer = register(&rig, "bob", "a").await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert_eq!(in_force(&rig), ["SHA256:a alice"]);
    let refused = rig.events().pop().unwrap();
    assert!(
        refused.result.is_err() && refused.resource.contains("SHA256:a"),
        "{refused:?}"
    );

    // Each has their own, and no more than they may; to renew is no further one.
    assert_eq!(register(&rig, "alice", "b").await.status, StatusCode::OK);
    assert_eq!(register(&rig, "alice", "b").await.status, StatusCode::OK);
    let third = register(&rig, "alice", "c").await;
    assert_eq!(third.status, StatusCode::CONFLICT, "{third:?}");
    assert_eq!(register(&rig, "bob", "d").await.status, StatusCode::OK);
    assert_eq!(listed(&rig, "bob", "").await, ["SHA256:d"]);
    let mut alices = listed(&rig, "alice", "").await;
    alices.sort();
    assert_eq!(alices, ["SHA256:a", "SHA256:b"]);
    assert_eq!(listed(&rig, "dave", "/all?subject=bob").await, ["SHA256:d"]);
    assert_eq!(listed(&rig, "dave", "/all").await.len(), 3);

    // After a start they count as before, but for what has ended meanwhile.
    let killed = rig.killed().await.unwrap();
    assert_eq!(in_force(&killed), in_force(&rig));
    killed.clock.advance(std::time::Duration::from_secs(3601));
    let later = killed.restart().await.unwrap();
    assert!(in_force(&later).is_empty());
    assert!(listed(&later, "dave", "/all").await.is_empty());
}

#[tokio::test]
async fn what_is_not_a_persons_own_key_is_not_registered() {
    let rig = Rig::new().await;
    let robot = Actor::new(PrincipalKind::Agent, "robot", &["dev"]);
    rig.add("robot", robot, vec![]);
    let alice = rig.principal("alice").actor.clone();
    let helper = Actor::new(PrincipalKind::User, "helper", &["dev"]);
    rig.add("helper", helper, vec![alice]);
    let ci = Actor::new(PrincipalKind::Workload, "ci", &["dev"]);
    rig.add("ci", ci, vec![]);
    for who in ["robot", "helper", "ci"] {
        let answer = register(&rig, who, "a").await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{who}: {answer:?}");
        assert!(rig.events().pop().unwrap().result.is_err());
    }
    let with = |name: &str, value: Value| {
        let mut body = body("alice", "a");
        body[name] = value;
        body
    };
    for (body, status) in [
        (with("signature", json!("forged")), 422),
        (with("challenge", json!("SHA256:b of alice")), 422),
        (with("public_key", json!("ssh-dss AAAA")), 422),
        (with("public_key", json!("x".repeat(9_000))), 413),
        (with("name", json!("")), 422),
        (with("name", json!(" ")), 422),
        (with("name", json!("a\nb")), 422),
        (with("name", json!("x".repeat(65))), 422),
        (with("subject", json!("bob")), 400),
    ] {
        let answer = rig.call("alice", REGISTER, body).await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
    // What cannot be recorded, kept, or put into force, is not registered.
    *rig.ssh.keys_fail.lock() = true;
    let answer = register(&rig, "alice", "a").await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(listed(&rig, "alice", "").await.is_empty());
    *rig.ssh.keys_fail.lock() = false;
    rig.policy(|q| q.accesses[0].action != Action::KeyRegister);
    assert_eq!(
        register(&rig, "alice", "a").await.status,
        StatusCode::FORBIDDEN
    );
    rig.policy(|_| true);
    rig.memory.journal.break_quietly();
    let answer = register(&rig, "alice", "a").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(in_force(&rig).is_empty());
    let rig = Rig::new().await;
    rig.sql("DROP TABLE ssh_keys");
    let answer = register(&rig, "alice", "a").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(in_force(&rig).is_empty());
}

#[tokio::test]
async fn what_is_removed_or_revoked_ends_what_came_in_by_it() {
    let rig = Rig::new().await;
    let by_key = [("login", "key"), ("key", "SHA256:a")];
    let by_certificate = [("login", "certificate"), ("key", "SHA256:a")];
    let other = [("login", "key"), ("key", "SHA256:b")];
    let (ssh, postgres) = (Protocol::Ssh, Protocol::Postgres);
    for key in ["a", "b"] {
        assert_eq!(register(&rig, "alice", key).await.status, StatusCode::OK);
    }
    let sessions = [
        session(&rig, "alice", ssh, &by_key).await,
        session(&rig, "alice", ssh, &by_certificate).await,
        session(&rig, "alice", ssh, &other).await,
        session(&rig, "alice", postgres, &by_key).await,
    ];
    // Nobody else's, and not by a part of its name.
    for (who, print) in [
        ("bob", "SHA256:a"),
        ("alice", "SHA256:"),
        ("alice", "SHA256:c"),
    ] {
        let answer = remove(&rig, who, print).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{who} {print}");
    }
    assert_eq!(in_force(&rig).len(), 2);
    let answer = remove(&rig, "alice", "SHA256:a").await;
    assert_eq!(answer.body["sessions_ended"], 1, "{answer:?}");
    assert_eq!(
        sessions.each_ref().map(is_over),
        [true, false, false, false]
    );
    assert_eq!(in_force(&rig), ["SHA256:b alice"]);
    assert_eq!(
        remove(&rig, "alice", "SHA256:a").await.status,
        StatusCode::NOT_FOUND
    );
    let event = rig.events().into_iter().rev().nth(1).unwrap();
    assert!(
        event.detail.contains("removed") && event.result.is_ok(),
        "{event:?}"
    );
    // Its person may have it again.
    assert_eq!(register(&rig, "alice", "a").await.status, StatusCode::OK);

    // By whoever revokes, it is gone from what is kept.
    let revoke = json!({"kind": "key", "value": "SHA256:b", "reason": "stolen"});
    let answer = rig.call("dave", "POST /v1/ssh/revocations", revoke).await;
    assert_eq!(answer.body["sessions_ended"], 1, "{answer:?}");
    assert_eq!(listed(&rig, "alice", "").await, ["SHA256:a"]);
    let revoke = json!({"kind": "subject", "value": "alice", "reason": "left"});
    rig.call("dave", "POST /v1/ssh/revocations", revoke).await;
    assert!(listed(&rig, "dave", "/all").await.is_empty());

    // It does not count, whatever the disk says.
    let rig = Rig::new().await;
    assert_eq!(register(&rig, "alice", "a").await.status, StatusCode::OK);
    rig.sql(
        "CREATE TRIGGER stuck BEFORE DELETE ON ssh_keys BEGIN SELECT RAISE(ABORT, 'stuck'); END",
    );
    let answer = remove(&rig, "alice", "SHA256:a").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    assert!(answer.error().message.contains("until Weir ends"));
    assert!(in_force(&rig).is_empty());
}

/// Whoever revokes a certificate of a stolen laptop names the certificate, and nothing else.
#[tokio::test]
async fn with_a_certificate_goes_the_key_that_was_registered_with_it() {
    let rig = Rig::new().await;
    for (who, key) in [("alice", "key"), ("alice", "other"), ("bob", "bobs")] {
        assert_eq!(register(&rig, who, key).await.status, StatusCode::OK);
    }
    let body = json!({ "public_key": KEY });
    let issued = rig.call("alice", "POST /v1/ssh/certificates", body).await;
    assert_eq!(issued.status, StatusCode::OK, "{issued:?}");
    let by = |print: &'static str| [("login", "key"), ("key", print)];
    let by_its_own = session(&rig, "alice", Protocol::Ssh, &by("SHA256:key")).await;
    let by_other = session(&rig, "alice", Protocol::Ssh, &by("SHA256:other")).await;
    let body = json!({"kind": "serial", "value": SERIAL, "reason": "laptop stolen"});
    let answer = rig.call("dave", "POST /v1/ssh/revocations", body).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.body["keys_removed"], json!(["SHA256:key"]));
    assert_eq!(answer.body["sessions_ended"], 1);
    assert!(is_over(&by_its_own) && !is_over(&by_other));
    assert_eq!(in_force(&rig), ["SHA256:bobs bob", "SHA256:other alice"]);
    assert_eq!(listed(&rig, "alice", "").await, ["SHA256:other"]);
    let event = rig.events().pop().unwrap();
    assert_eq!(event.action, "key:remove");
    assert!(event.resource.contains("SHA256:key") && event.detail.contains("laptop stolen"));
    assert_eq!(event.principal.unwrap().actor.subject, "dave".into());

    // What goes with it is known before anybody has it, or nobody gets it.
    rig.sql("DROP TABLE ssh_certificates");
    let body = json!({ "public_key": KEY });
    let answer = rig.call("alice", "POST /v1/ssh/certificates", body).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!answer.body.to_string().contains("cert-v01"), "{answer:?}");
}

/// What is not for policy to say: to see, and to take back, what is one's own.
#[tokio::test]
async fn what_is_ones_own_is_seen_and_taken_back_whatever_policy_says() {
    let own: Vec<_> = endpoints().into_iter().filter(|e| e.own).collect();
    let calls: Vec<String> = own
        .iter()
        .map(|e| format!("{} {}", e.method, e.path))
        .collect();
    let (list, remove) = ("GET /v1/ssh/keys", "POST /v1/ssh/keys/remove");
    let tokens = ["GET /v1/ssh/tokens", "POST /v1/ssh/tokens/remove"];
    assert_eq!(calls, [tokens[0], tokens[1], list, remove]);
    let rig = Rig::new().await;
    for key in ["a", "b"] {
        let answer = register(&rig, "alice", key).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    }
    let alice = rig.principal("alice").actor.clone();
    let bot = Actor::new(PrincipalKind::Agent, "bot", &[]);
    rig.add("bot", bot.clone(), vec![alice.clone()]);
    rig.add("for-bot", alice, vec![bot]);
    rig.policy(|_| false);
    let key = json!({"fingerprint": "SHA256:a"});
    for call in [list, remove] {
        let before = rig.events().len();
        let answer = rig.call("", call, key.clone()).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{call}");
        assert_eq!(rig.events().len(), before + 1, "{call}: it is on record");
    }
    // Nobody else's: not by another, and not by what acts in somebody's name, or has them act in its own.
    for (who, status) in [
        ("bob", StatusCode::NOT_FOUND),
        ("bot", StatusCode::FORBIDDEN),
        ("for-bot", StatusCode::FORBIDDEN),
    ] {
        let answer = rig.call(who, remove, key.clone()).await;
        assert_eq!(answer.status, status, "{who}: {answer:?}");
        assert!(rig.events().pop().unwrap().result.is_err());
    }
    let listed = rig.call("bob", list, Value::Null).await;
    assert_eq!(listed.body["items"], json!([]));
    let listed = rig.call("alice", list, Value::Null).await;
    assert_eq!(listed.body["items"].as_array().unwrap().len(), 2);
    let answer = rig.call("alice", remove, key).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let again = register(&rig, "alice", "a").await;
    assert_eq!(again.status, StatusCode::FORBIDDEN);
}

/// A key that is removed at the moment when it comes into force lets in whoever is quick, and does not keep them in.
#[tokio::test]
async fn who_came_in_by_a_key_that_was_removed_meanwhile_is_out_again() {
    let rig = Rig::new().await;
    let by = [("login", "key"), ("key", "SHA256:a")];
    let quick = session(&rig, "alice", Protocol::Ssh, &by).await;
    let other = session(&rig, "alice", Protocol::Ssh, &[("login", "key")]).await;
    let database = rig.database();
    *rig.ssh.meanwhile.lock() = Some(Box::new(move || {
        let store = rusqlite::Connection::open(database).unwrap();
        store.execute("DELETE FROM ssh_keys", []).unwrap();
    }));
    let answer = register(&rig, "alice", "a").await;
    assert_eq!(answer.status, StatusCode::CONFLICT, "{answer:?}");
    assert!(in_force(&rig).is_empty());
    assert_eq!([is_over(&quick), is_over(&other)], [true, false]);

    // When nobody can say if it was removed, it is as if it had been: also after a start.
    let quick = session(&rig, "alice", Protocol::Ssh, &by).await;
    let database = rig.database();
    *rig.ssh.meanwhile.lock() = Some(Box::new(move || {
        let store = rusqlite::Connection::open(database).unwrap();
        store
            .execute_batch("ALTER TABLE ssh_keys RENAME COLUMN kept TO gone")
            .unwrap();
    }));
    let answer = register(&rig, "alice", "a").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(in_force(&rig).is_empty() && is_over(&quick));
    rig.sql("ALTER TABLE ssh_keys RENAME COLUMN gone TO kept");
    assert!(listed(&rig, "alice", "").await.is_empty());
}

/// The store may have done what it gave no answer to.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_answer_was_late_is_registered_or_it_is_not() {
    let setup = Setup {
        patience: Some(Duration::from_millis(200)),
        ..Setup::default()
    };
    let rig = Rig::with(setup).await;
    let database = rig.database();
    let (held, holds) = std::sync::mpsc::channel();
    let blocker = std::thread::spawn(move || {
        let store = rusqlite::Connection::open(database).unwrap();
        store.execute_batch("BEGIN IMMEDIATE").unwrap();
        held.send(()).unwrap();
        std::thread::sleep(Duration::from_millis(500));
        store.execute_batch("ROLLBACK").unwrap();
    });
    holds.recv().unwrap();
    let answer = register(&rig, "alice", "a").await;
    blocker.join().unwrap();
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(in_force(&rig), ["SHA256:a alice"]);
    assert_eq!(listed(&rig, "alice", "").await, ["SHA256:a"]);
}

/// Of what went with a certificate, the store says nothing any more when it is asked again.
#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_whose_answer_was_late_leaves_nothing_in_force_that_went_with_it() {
    let setup = Setup {
        patience: Some(Duration::from_millis(200)),
        ..Setup::default()
    };
    let rig = Rig::with(setup).await;
    rig.add_token("alice-jwt", "alice", "t1");
    rig.add_token("alice-short", "alice", "short:01");
    let asked = json!({ "public_key": KEY });
    let call = "POST /v1/ssh/certificates";
    assert_eq!(rig.call("alice-jwt", call, asked).await.status, 200);
    for key in ["key", "same-token"] {
        let done = rig.call("alice-jwt", REGISTER, body("alice", key)).await;
        assert_eq!(done.status, StatusCode::OK, "{done:?}");
    }
    assert_eq!(register(&rig, "bob", "bobs").await.status, 200);
    let token = rig.call("alice-jwt", "POST /v1/ssh/tokens", json!({}));
    assert_eq!(token.await.body["id"], "01");
    let ssh = Protocol::Ssh;
    let by = |print: &'static str| [("login", "key"), ("key", print)];
    let sessions = [
        session(&rig, "alice", ssh, &by("SHA256:same-token")).await,
        session(&rig, "alice-short", ssh, &[("login", "short-token")]).await,
        session(&rig, "bob", ssh, &by("SHA256:bobs")).await,
    ];
    let block = |millis: u64| {
        let database = rig.database();
        let (held, holds) = std::sync::mpsc::channel();
        let blocker = std::thread::spawn(move || {
            let store = rusqlite::Connection::open(database).unwrap();
            store.execute_batch("BEGIN IMMEDIATE").unwrap();
            held.send(()).unwrap();
            std::thread::sleep(Duration::from_millis(millis));
            store.execute_batch("ROLLBACK").unwrap();
        });
        holds.recv().unwrap();
        blocker
    };
    let asked = json!({"kind": "serial", "value": SERIAL, "reason": "laptop stolen"});
    let blocker = block(500);
    let answer = rig.call("dave", "POST /v1/ssh/revocations", asked).await;
    blocker.join().unwrap();
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(
        answer.body["keys_removed"],
        json!(["SHA256:key", "SHA256:same-token"])
    );
    assert_eq!(answer.body["tokens_revoked"], json!(["01"]));
    assert_eq!(answer.body["sessions_ended"], 2);
    assert_eq!(sessions.each_ref().map(is_over), [true, true, false]);
    assert_eq!(in_force(&rig), ["SHA256:bobs bob"]);

    // So late that nobody knows: then, whenever the store answers again.
    let by_bobs = &sessions[2];
    let asked = json!({"kind": "subject", "value": "bob", "reason": "left us"});
    let blocker = block(2_500);
    let answer = rig.call("dave", "POST /v1/ssh/revocations", asked).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    blocker.join().unwrap();
    let store = rig.control.store();
    while !store.ssh_keys(None, 9).await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(rig.control.agree().await.0.keys, ["SHA256:bobs"]);
    assert!(in_force(&rig).is_empty() && is_over(by_bobs));
}

/// Whoever has stolen a token does not take away what its person registers after they have said so.
#[tokio::test]
async fn a_token_from_before_a_revocation_reaches_not_even_ones_own() {
    let rig = Rig::new().await;
    let revoke = json!({"kind": "subject", "value": "alice", "reason": "stolen"});
    let answer = rig.call("dave", "POST /v1/ssh/revocations", revoke).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    // As she does with another token, which counts.
    assert_eq!(register(&rig, "alice", "new").await.status, StatusCode::OK);
    let key = json!({"fingerprint": "SHA256:new"});
    for (call, body) in [
        ("POST /v1/ssh/keys/remove", key),
        ("GET /v1/ssh/keys", Value::Null),
        ("POST /v1/ssh/tokens/remove", json!({"id": "01"})),
        ("GET /v1/ssh/tokens", Value::Null),
    ] {
        let answer = rig.call("alice", call, body).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{call}: {answer:?}");
        assert!(answer.error().message.contains("get a new one"));
        let event = rig.events().pop().unwrap();
        assert!(event.result.is_err(), "{call}: it is on record");
    }
    assert_eq!(in_force(&rig), ["SHA256:new alice"]);
    assert_eq!(listed(&rig, "dave", "/all").await, ["SHA256:new"]);
}
