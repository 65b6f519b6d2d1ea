//! What people do through the API: bundles, plugins, sessions.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pipeline::{
    Access, Action, Actor, Caller, EndReason, PrincipalKind, Resource, Session, SessionInfo,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::ControlError;
use crate::testing::{Rig, Setup, session_info};

async fn activate(rig: &Rig, who: &str, version: u64) -> StatusCode {
    let call = format!("POST /v1/bundles/{version}/activate");
    rig.call(who, &call, json!({"reason": "reviewed"}))
        .await
        .status
}

#[tokio::test]
async fn four_eyes() {
    let rig = Rig::new().await;
    let agent = Actor {
        owner: Some("alice".into()),
        ..Actor::new(PrincipalKind::Agent, "robot", &[])
    };
    rig.add("robot", agent.clone(), vec![]);
    rig.add(
        "robot-for-alice",
        agent,
        vec![Actor::new(PrincipalKind::User, "alice", &[])],
    );
    let by_alice = rig.stage("alice", "two").await;
    let by_robot = rig.stage("robot", "three").await;
    for (who, version, status) in [
        // Not the author, nor what acts for the author, nor whom the author acts for.
        ("alice", by_alice, 403),
        ("robot", by_alice, 403),
        ("robot-for-alice", by_alice, 403),
        ("robot", by_robot, 403),
        ("alice", by_robot, 403),
        ("bob", by_alice, 200),
        ("bob", by_alice, 409),
        ("bob", 99, 404),
    ] {
        let got = activate(&rig, who, version).await;
        assert_eq!(got.as_u16(), status, "{who} activates {version}");
    }
    assert_eq!(rig.bundles.active_version(), by_alice);
    let refusals = rig.events().into_iter().filter(|e| e.result.is_err());
    assert_eq!(
        refusals.count(),
        7,
        "five by the author's rule, one conflict, one that is not there"
    );
}

#[tokio::test]
async fn activation_and_rollback_are_on_record_before_they_happen() {
    let rig = Rig::new().await;
    let none = rig
        .call("bob", "POST /v1/bundles/rollback", json!({}))
        .await;
    assert_eq!(
        none.status,
        StatusCode::CONFLICT,
        "there is nothing to go back to"
    );
    let two = rig.stage("alice", "two").await;
    assert_eq!(activate(&rig, "bob", two).await, StatusCode::OK);
    let three = rig.stage("bob", "three").await;
    assert_eq!(activate(&rig, "carol", three).await, StatusCode::OK);
    // Version 2 is alice's: she may not bring it back herself.
    let own = rig
        .call("alice", "POST /v1/bundles/rollback", json!({}))
        .await;
    assert_eq!(own.status, StatusCode::FORBIDDEN);
    let back = rig
        .call("bob", "POST /v1/bundles/rollback", json!({"reason": "bad"}))
        .await;
    assert_eq!(back.status, StatusCode::OK, "{back:?}");
    assert_eq!(back.body["version"], two);
    assert_eq!(back.body["previous"], three);
    assert_eq!(rig.bundles.active_version(), two);

    let list = rig.call("bob", "GET /v1/bundles", Value::Null).await;
    let states: Vec<(u64, &str)> = list.body["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| (i["version"].as_u64().unwrap(), i["state"].as_str().unwrap()))
        .collect();
    assert_eq!(states, [(3, "retired"), (2, "active"), (1, "retired")]);

    let acts: Vec<String> = rig
        .events()
        .into_iter()
        .filter(|e| e.result.is_ok())
        .map(|e| format!("{} {}", e.principal.unwrap().actor.subject, e.action))
        .collect();
    assert_eq!(
        acts,
        [
            "alice bundle:upload",
            "bob bundle:activate",
            "bob bundle:upload",
            "carol bundle:activate",
            "bob bundle:activate",
        ]
    );
}

#[tokio::test]
async fn diff_and_files() {
    let rig = Rig::new().await;
    let two = rig.stage("alice", "two").await;
    let diff = rig
        .call("bob", &format!("GET /v1/bundles/{two}/diff"), Value::Null)
        .await;
    assert_eq!(diff.body["against"], 1);
    assert_eq!(diff.body["changes"][0]["after"], "two");
    let files = rig
        .call("bob", &format!("GET /v1/bundles/{two}/files"), Value::Null)
        .await;
    assert_eq!(files.body["files"]["policies/a.cedar"], "two");
    let page = rig
        .call("bob", "GET /v1/bundles?limit=1", Value::Null)
        .await;
    assert_eq!(page.body["items"][0]["version"], 2);
    assert_eq!(page.body["next"], "2");
    let page = rig
        .call("bob", "GET /v1/bundles?limit=1&after=2", Value::Null)
        .await;
    assert_eq!(page.body["items"][0]["version"], 1);
}

#[tokio::test]
async fn what_was_active_stays_active_on_any_error() {
    let rig = Rig::new().await;
    let refused = rig.stage("alice", "REFUSED by the engine").await;
    assert_eq!(
        activate(&rig, "bob", refused).await,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    assert_eq!(rig.bundles.active_version(), 1);

    // The engine takes it, but the store cannot write it down: the engine goes back.
    let fine = rig.stage("alice", "fine").await;
    rig.sql(
        "CREATE TRIGGER full BEFORE INSERT ON activations BEGIN SELECT RAISE(ABORT, 'full'); END",
    );
    assert_eq!(
        activate(&rig, "bob", fine).await,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(
        rig.bundles.active_version(),
        1,
        "the engine differs from the store"
    );
    let active = rig.control.store().active_bundle().await.unwrap().unwrap();
    assert_eq!(active.version, 1);
    let events = rig.events();
    assert!(
        events.last().unwrap().result.is_err(),
        "the failure is on record"
    );
    rig.sql("DROP TRIGGER full");
    assert_eq!(activate(&rig, "bob", fine).await, StatusCode::OK);
}

#[tokio::test]
async fn the_active_bundle_and_plugins_survive_a_restart() {
    let rig = Rig::new().await;
    let two = rig.stage("alice", "two").await;
    activate(&rig, "bob", two).await;
    let component = STANDARD.encode("a component");
    let upload = json!({"component": component, "config": {"level": "high"}});
    let answer = rig.call("alice", "POST /v1/plugins/risk", upload).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let rig = rig.restart().await.unwrap();
    assert_eq!(rig.bundles.active_version(), two);
    assert_eq!(rig.plugins.component("risk").unwrap(), "a component");
    let shown = rig.call("bob", "GET /v1/plugins/risk", Value::Null).await;
    assert_eq!(shown.body["uploaded_by"], "alice");
    assert_eq!(shown.body["config"]["level"], "high");

    let change = rig.call("alice", "DELETE /v1/plugins/risk", Value::Null);
    assert_eq!(change.await.status, StatusCode::ACCEPTED);
    let rig = rig.restart().await.unwrap();
    let shown = rig.call("bob", "GET /v1/plugins/risk", Value::Null).await;
    assert_eq!(shown.body["pending"]["kind"], "remove", "it still waits");
}

/// An upgrade of Weir may refuse what an earlier one took. Nothing else may decide in its place,
/// but somebody must be able to bring another one.
#[tokio::test]
async fn a_bundle_that_no_longer_validates_refuses_sessions_until_another_is_active() {
    let rig = Rig::new().await;
    let two = rig.stage("alice", "two").await;
    activate(&rig, "bob", two).await;
    rig.sql("UPDATE bundles SET files_json = '{\"a\": \"REFUSED\"}' WHERE state = 'active'");
    let rig = rig.restart().await.unwrap();
    let reason = rig.bundles.sealed.lock().clone().expect("it is sealed");
    assert!(reason.contains("version 2"), "{reason}");
    let recorded = rig
        .events()
        .into_iter()
        .any(|e| e.result == Err(reason.clone()));
    assert!(recorded, "it is on record");
    // One that the engine refuses as well leaves it sealed, and so does a store that fails.
    let refused = rig.stage("alice", "REFUSED").await;
    assert_eq!(activate(&rig, "bob", refused).await, 422);
    assert!(rig.bundles.sealed.lock().is_some());
    let fine = rig.stage("alice", "fine").await;
    rig.sql(
        "CREATE TRIGGER full BEFORE INSERT ON activations BEGIN SELECT RAISE(ABORT, 'full'); END",
    );
    assert_eq!(activate(&rig, "bob", fine).await, 503);
    assert!(rig.bundles.sealed.lock().is_some(), "nothing was put back");
    rig.sql("DROP TRIGGER full");
    assert_eq!(activate(&rig, "bob", fine).await, StatusCode::OK);
    assert!(rig.bundles.sealed.lock().is_none());
    assert_eq!(rig.bundles.active_version(), fine);
}

/// The store answers too late, but does what it was asked: the engine follows it.
#[tokio::test]
async fn a_late_answer_is_waited_out() {
    let rig = Rig::with(Setup {
        patience: Some(Duration::from_millis(200)),
        ..Setup::default()
    })
    .await;
    let version = rig.stage("alice", "two").await;
    let upload = json!({"component": STANDARD.encode("late")});
    let lock = rusqlite::Connection::open(rig.database()).unwrap();
    for (call, who, body) in [
        (
            format!("POST /v1/bundles/{version}/activate"),
            "bob",
            json!({}),
        ),
        ("POST /v1/plugins/risk".to_owned(), "alice", upload),
    ] {
        lock.execute_batch("BEGIN IMMEDIATE").unwrap();
        let unlock = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            lock.execute_batch("ROLLBACK").unwrap();
        };
        let (answer, ()) = tokio::join!(rig.call(who, &call, body), unlock);
        assert_eq!(answer.status, StatusCode::OK, "{call}: {answer:?}");
    }
    assert_eq!(rig.bundles.active_version(), version);
    let active = rig.control.store().active_bundle().await.unwrap().unwrap();
    assert_eq!(active.version, version);
    assert_eq!(rig.plugins.component("risk").unwrap(), "late");
}

/// Only people bring a bundle into force: no service account, and nobody's agent.
#[tokio::test]
async fn only_people_activate() {
    let rig = Rig::new().await;
    let version = rig.stage("alice", "two").await;
    let bob = Actor::new(PrincipalKind::User, "bob", &["approvers"]);
    for (name, kind, behalf) in [
        ("ci", PrincipalKind::Workload, vec![]),
        ("robot", PrincipalKind::Agent, vec![]),
        ("robot-for-bob", PrincipalKind::Agent, vec![bob.clone()]),
        ("user-for-bob", PrincipalKind::User, vec![bob]),
    ] {
        rig.add(name, Actor::new(kind, name, &["approvers"]), behalf);
        assert_eq!(activate(&rig, name, version).await, 403, "{name}");
    }
    assert_eq!(rig.bundles.active_version(), 1);
}

/// Policies as files: a changed configuration counts as long as nobody activated anything else.
#[tokio::test]
async fn the_configurations_bundle_is_followed_until_people_decide() {
    let rig = Rig::new().await;
    assert_eq!(rig.all_events().len(), 1, "version 1 is on record");
    let rig = rig.restart().await.unwrap();
    assert_eq!(rig.bundles.active_version(), 1, "nothing changed");
    assert_eq!(rig.all_events().len(), 1);
    rig.sql("UPDATE bundles SET summary_json = replace(summary_json, '\"digest\":\"', '\"digest\":\"0')");
    let rig = rig.restart().await.unwrap();
    assert_eq!(
        rig.bundles.active_version(),
        2,
        "the configuration brought another one"
    );
    assert_eq!(rig.all_events().len(), 2, "and that is on record");
    let three = rig.stage("alice", "three").await;
    activate(&rig, "bob", three).await;
    let rig = rig.restart().await.unwrap();
    assert_eq!(rig.bundles.active_version(), three, "people decided");
    // What comes with the configuration is recorded before it counts, too.
    rig.sql("UPDATE bundles SET author = NULL");
    rig.memory.journal.break_quietly();
    let error = rig.restart().await.err().unwrap();
    assert!(matches!(error, ControlError::Record(_)), "{error}");
}

pub(super) async fn open(rig: &Rig, info: Arc<SessionInfo>) -> Session {
    let connect = Access {
        action: Action::PostgresConnect,
        resource: Resource::PgDatabase {
            database: info.scope.clone(),
        },
        target: Some(info.target.clone()),
    };
    let caller = Caller {
        cancel: &CancellationToken::new(),
        on_hold: &|_| {},
        survey: None,
    };
    Session::open(rig.ports(), info, vec![connect], caller)
        .await
        .unwrap()
}

#[tokio::test]
async fn sessions_are_seen_and_killed() {
    let rig = Rig::new().await;
    let agent = Actor::new(PrincipalKind::Agent, "robot", &[]);
    let owner = Actor::new(PrincipalKind::User, "alice", &[]);
    rig.add("robot-for-alice", agent, vec![owner]);
    let info = session_info(rig.principal("robot-for-alice"));
    let id = info.id.to_string();
    let session = open(&rig, info).await;
    let other = open(&rig, session_info(rig.principal("erin"))).await;

    // Alice sees her agent's session and nobody else's.
    rig.policy(|q| {
        q.accesses.iter().all(|a| match &a.resource {
            Resource::Session { owner, .. } => *q.principal.actor.subject == **owner,
            _ => true,
        })
    });
    let list = rig.call("alice", "GET /v1/sessions", Value::Null).await;
    let items = list.body["items"].as_array().unwrap().clone();
    assert_eq!(items.len(), 1, "{list:?}");
    assert_eq!(
        (&items[0]["id"], &items[0]["live"]),
        (&json!(id), &json!(true))
    );
    assert_eq!(items[0]["application"], "psql");
    assert_eq!(items[0]["owner"], "alice");
    let kill = format!("POST /v1/sessions/{id}/kill");
    let body = json!({"reason": "runs wild"});
    assert_eq!(
        rig.call("bob", &kill, body.clone()).await.status,
        StatusCode::FORBIDDEN
    );
    let none = rig.call("alice", &kill, json!({"reason": ""})).await;
    assert_eq!(none.status, StatusCode::BAD_REQUEST);
    assert_eq!(
        rig.call("alice", &kill, body.clone()).await.status,
        StatusCode::OK
    );
    let reason = session.ended().await;
    let expected = EndReason::Killed {
        by: "alice".into(),
        reason: "runs wild".into(),
    };
    assert_eq!(reason, expected);
    session.close(reason).await.unwrap();
    rig.policy(|_| true);
    let past = written(&rig, &id).await;
    let late = rig.call("alice", &kill, body).await;
    assert_eq!(late.status, StatusCode::CONFLICT, "{late:?}");
    assert_eq!(past["live"], false);
    assert_eq!(past["end"], "ended by alice: runs wild");
    let list = rig
        .call("bob", "GET /v1/sessions?live=true", Value::Null)
        .await;
    assert_eq!(list.body["items"].as_array().unwrap().len(), 1);
    drop(other);
}

/// The session's summary, once its end is written down.
pub(super) async fn written(rig: &Rig, id: &str) -> Value {
    for _ in 0..200 {
        let answer = rig
            .call("bob", &format!("GET /v1/sessions/{id}"), Value::Null)
            .await;
        if !answer.body["ended_at"].is_null() {
            return answer.body;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the end of session {id} was never written");
}

#[tokio::test]
async fn sessions_of_a_killed_process_have_ended() {
    let rig = Rig::new().await;
    let info = session_info(rig.principal("alice"));
    let id = info.id.to_string();
    let _session = open(&rig, info).await;
    for _ in 0..200 {
        if rig.control.store().session(&id).await.unwrap().is_some() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let rig = rig.killed().await.unwrap();
    let answer = rig
        .call("bob", &format!("GET /v1/sessions/{id}"), Value::Null)
        .await;
    assert_eq!(answer.body["live"], false);
    assert_eq!(answer.body["end"], "Weir was restarted");
}

#[tokio::test]
async fn one_process_per_database() {
    let rig = Rig::new().await;
    let again = crate::store::Sqlite::open(&rig.database());
    assert!(matches!(again.err(), Some(ControlError::InUse(_))));
    use std::os::unix::fs::PermissionsExt;
    for entry in std::fs::read_dir(rig.dir.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.path());
    }
}

/// The whole way of a held statement, through `decide`.
#[tokio::test]
async fn decide_waits_at_the_desk() {
    use crate::testing::{STATEMENT, facts};
    use pipeline::memory::MemoryPolicy;
    let rig = Arc::new(Rig::new().await);
    rig.memory.authorizer.activate(MemoryPolicy {
        rules: vec![pipeline::ApprovalRule {
            name: "test-rule".into(),
            approvers: vec!["approvers".into()],
            required: 2,
            ttl: std::time::Duration::from_secs(60),
            description: "two people".into(),
        }],
        ..MemoryPolicy::hold(&[Action::PostgresUpdate])
    });
    let session = open(&rig, session_info(rig.principal("alice"))).await;
    let access = Access {
        action: Action::PostgresUpdate,
        resource: Resource::PgDatabase {
            database: "shop".into(),
        },
        target: Some(session.info().target.clone()),
    };
    let request = pipeline::Request {
        policy: session.pin(),
        facts: facts(),
        accesses: vec![access],
        labelled: vec![],
        computed: vec![],
        unmaskable: None,
        canonical: STATEMENT.as_bytes().to_vec(),
        parameters: vec![],
        payload: "the bytes",
    };
    let tasks = tokio_util::task::TaskTracker::new();
    let votes = parking_lot::Mutex::new(Vec::new());
    let cancel = CancellationToken::new();
    let on_hold = |info: &pipeline::HoldInfo| {
        let (rig, id) = (rig.clone(), info.id.clone());
        votes.lock().push(tasks.spawn(async move {
            for who in ["alice", "bob", "carol"] {
                rig.approve(who, &id).await;
            }
        }));
    };
    let caller = Caller {
        cancel: &cancel,
        on_hold: &on_hold,
        survey: None,
    };
    let permitted = pipeline::decide(&session, request, caller).await.unwrap();
    assert_eq!(*permitted.get(), "the bytes");
    let intents = rig.memory.journal.intents();
    let approval = intents.last().unwrap().approval.clone().unwrap();
    assert_eq!(approval.approvers, ["bob", "carol"]);
}
