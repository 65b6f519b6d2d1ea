//! SSH certificates through the API: who may, and that each is on record before anybody has it.

use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::SystemTime;

use axum::http::StatusCode;
use pipeline::memory::MemoryPolicy;
use pipeline::{
    Access, Action, Actor, Caller, PrincipalKind, Protocol, Resource, Session, SessionId,
    SessionInfo, Target,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use weir_client::SshCredentialKind;

use crate::testing::{KEY, LASTS, Rig, SERIAL, SOURCE};

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

/// Whoever may have a certificate, agents too, is told of the hosts that it leads to, and of nothing else.
#[tokio::test]
async fn hosts_are_those_that_one_may_connect_to() {
    let rig = Rig::new().await;
    let robot = Actor::new(PrincipalKind::Agent, "robot", &["agents"]);
    rig.add("robot", robot, vec![]);
    let hosts = async || rig.call("robot", "GET /v1/ssh/hosts", Value::Null).await;
    rig.policy(|question| {
        let action = question.accesses[0].action;
        [Action::CertificateIssue, Action::SshConnect].contains(&action)
    });
    let answer = hosts().await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.body["hosts"], json!(["web1"]), "a database is none");
    assert_eq!(
        answer.body["authority"]["host_names"],
        json!(["gw.example"])
    );
    // Not even the name of what is not for them.
    rig.policy(|question| question.accesses[0].action != Action::SshConnect);
    let answer = hosts().await;
    assert_eq!(answer.body["hosts"], json!([]), "{answer:?}");
    // What people have to agree to is open to who asks them.
    let hold = MemoryPolicy::hold(&[Action::SshConnect]);
    rig.memory.authorizer.activate(hold);
    assert_eq!(hosts().await.body["hosts"], json!(["web1"]));
    rig.policy(|question| question.accesses[0].action != Action::CertificateIssue);
    assert_eq!(hosts().await.status, StatusCode::FORBIDDEN);
}

const REVOKE: &str = "POST /v1/ssh/revocations";

/// A session as `proto-ssh` opens it.
pub(super) async fn session(
    rig: &Rig,
    token: &str,
    protocol: Protocol,
    attrs: &[(&str, &str)],
) -> Session {
    // Of the host `web1`, if nothing else is said.
    let target = attrs.iter().find(|(name, _)| *name == "target");
    let target = target.map_or("web1", |(_, target)| target);
    let attrs = attrs
        .iter()
        .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
    let id = SessionId::new();
    let info = SessionInfo {
        id,
        id_text: id.to_string().into(),
        principal: rig.principal(token),
        target: Arc::new(Target {
            name: target.into(),
            protocol,
            env: "prod".into(),
            tags: Default::default(),
        }),
        scope: "root".into(),
        source: SOURCE,
        started: SystemTime::now(),
        attrs: attrs.collect(),
    };
    let cancel = CancellationToken::new();
    let caller = Caller {
        cancel: &cancel,
        on_hold: &|_| {},
        survey: None,
    };
    let connect = Access {
        action: Action::SshConnect,
        resource: Resource::Target,
        target: Some(info.target.clone()),
    };
    Session::open(rig.ports(), Arc::new(info), vec![connect], caller)
        .await
        .unwrap()
}

pub(super) fn is_over(session: &Session) -> bool {
    let ended = std::pin::pin!(session.ended());
    ended
        .poll(&mut Context::from_waker(Waker::noop()))
        .is_ready()
}

#[tokio::test]
async fn what_is_revoked_ends_the_sessions_that_came_in_by_it_and_no_others() {
    let rig = Rig::new().await;
    let robot = Actor::new(PrincipalKind::Agent, "robot", &["agents"]);
    let alice = rig.principal("alice").actor.clone();
    rig.add("robot", robot, vec![alice]);
    let ssh = Protocol::Ssh;
    for (kind, value, ends) in [
        ("serial", SERIAL, [true, false, false, false]),
        ("key_id", "weir alice of x", [true, false, false, false]),
        ("key", "SHA256:abc", [true, true, false, false]),
        ("subject", "alice", [true, true, true, false]),
        ("subject", "robot", [false, false, true, false]),
        ("serial", "SHA256:abc", [false; 4]),
        ("key", "alice", [false; 4]),
    ] {
        let certificate = [
            ("certificate", SERIAL),
            ("certificate_id", "weir alice of x"),
            ("key", "SHA256:abc"),
        ];
        let sessions = [
            session(&rig, "alice", ssh, &certificate).await,
            session(&rig, "alice", ssh, &[("key", "SHA256:abc")]).await,
            session(&rig, "robot", ssh, &[("client", SERIAL)]).await,
            // What a client of a database says of itself is no certificate.
            session(&rig, "alice", Protocol::Postgres, &certificate).await,
        ];
        let body = json!({"kind": kind, "value": value, "reason": "stolen"});
        let answer = rig.call("dave", REVOKE, body).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        let ended = sessions.each_ref().map(is_over);
        assert_eq!(ended, ends, "{kind} {value}");
        let many = ends.iter().filter(|e| **e).count();
        assert_eq!(answer.body["sessions_ended"], many);
        let event = rig.events().pop().unwrap();
        assert_eq!(event.action, "credential:revoke");
        assert!(event.resource.contains(value) && event.detail.contains("stolen"));
        assert_eq!(event.principal.unwrap().actor.subject, "dave".into());
    }
}

#[tokio::test]
async fn what_is_revoked_is_revoked_after_a_start_as_long_as_it_matters() {
    let rig = Rig::new().await;
    for (kind, value) in [("serial", SERIAL), ("key", "SHA256:abc")] {
        let body = json!({"kind": kind, "value": value, "reason": "stolen"});
        assert_eq!(rig.call("dave", REVOKE, body).await.status, StatusCode::OK);
    }
    let all = vec![
        (SshCredentialKind::Key, "SHA256:abc".to_owned()),
        (SshCredentialKind::Serial, SERIAL.to_owned()),
    ];
    let killed = rig.killed().await.unwrap();
    assert_eq!(*killed.ssh.revoked.lock(), all);
    let list = killed
        .call("dave", "GET /v1/ssh/revocations", Value::Null)
        .await;
    assert_eq!(list.body["items"].as_array().unwrap().len(), 2);
    rig.clock.advance(LASTS);
    let later = rig.restart().await.unwrap();
    assert_eq!(*later.ssh.revoked.lock(), all[..1]);
    // What cannot be read is no reason to let somebody in.
    later.sql("UPDATE ssh_revocations SET kind = 'everything'");
    assert!(later.restart().await.is_err());
}

/// It is in force, whatever the disk says, and whoever asked is told that it has to be done again.
#[tokio::test]
async fn what_cannot_be_kept_is_revoked_all_the_same() {
    let rig = Rig::new().await;
    let session = session(&rig, "alice", Protocol::Ssh, &[("certificate", SERIAL)]).await;
    rig.sql("DROP TABLE ssh_revocations");
    let body = json!({"kind": "serial", "value": SERIAL, "reason": "stolen"});
    let answer = rig.call("dave", REVOKE, body).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.error().message.contains("until Weir ends"));
    assert_eq!(rig.ssh.revoked.lock().len(), 1);
    assert!(is_over(&session));
    let event = rig.events().pop().unwrap();
    assert!(event.detail.contains("not kept"), "{event:?}");

    for body in [
        json!({"kind": "serial", "value": " ", "reason": "r"}),
        json!({"kind": "serial", "value": SERIAL, "reason": " "}),
        json!({"kind": "serial", "value": "x".repeat(9_000), "reason": "r"}),
        json!({"kind": "serial", "value": SERIAL, "reason": "r", "until": "never"}),
        json!({"value": SERIAL, "reason": "r"}),
    ] {
        let answer = rig.call("dave", REVOKE, body).await;
        assert!(answer.status.is_client_error(), "{answer:?}");
    }
    assert_eq!(rig.ssh.revoked.lock().len(), 1);
}
