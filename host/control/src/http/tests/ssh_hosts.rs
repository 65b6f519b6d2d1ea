//! Host keys through the API: nothing counts because it was seen, and who said what is on record.

use axum::http::StatusCode;
use pipeline::{Action, Actor, PrincipalKind, Protocol};
use serde_json::{Value, json};

use super::ssh::{is_over, session};
use crate::HostKeyStanding;
use crate::testing::{Answer, Rig};

const LIST: &str = "GET /v1/ssh/host-keys";
const TARGET: &str = "orders";

async fn say(rig: &Rig, who: &str, word: &str, print: &str) -> Answer {
    let call = format!("POST /v1/targets/{TARGET}/host-keys/{word}");
    let body = json!({"fingerprint": print, "reason": "compared at the console"});
    rig.call(who, &call, body).await
}

async fn shows(rig: &Rig, print: &str) -> HostKeyStanding {
    let desk = rig.control.host_keys();
    desk.unknown(TARGET, print, &format!("ssh-ed25519 {print}"))
        .await
}

fn known(rig: &Rig) -> Option<String> {
    rig.control.host_keys().approved(TARGET)
}

async fn listed(rig: &Rig) -> Vec<String> {
    let answer = rig.call("dave", LIST, Value::Null).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let items = answer.body["items"].as_array().unwrap().clone();
    let line = |i: &Value| {
        let changed = if i["changed"] == true { " changed" } else { "" };
        let (print, state) = (i["fingerprint"].as_str(), i["state"].as_str());
        format!(
            "{} {} {}{changed}",
            print.unwrap(),
            state.unwrap(),
            i["seen"]
        )
    };
    items.iter().map(line).collect()
}

fn seen(rig: &Rig) -> Vec<(String, String)> {
    let events = rig.all_events().into_iter();
    let events = events.filter(|e| e.principal.is_none() && e.action.starts_with("host_key:"));
    events.map(|e| (e.action, e.resource)).collect()
}

#[tokio::test]
async fn a_key_counts_once_a_person_has_said_so_and_no_other_takes_its_place_by_itself() {
    let rig = Rig::new().await;
    for _ in 0..3 {
        assert_eq!(shows(&rig, "SHA256:a").await, HostKeyStanding::Waits);
    }
    assert_eq!(known(&rig), None);
    assert_eq!(listed(&rig).await, ["SHA256:a waiting 3"]);
    let resource = "HostKey::\"orders\" \"SHA256:a\"".to_owned();
    assert_eq!(
        seen(&rig),
        [("host_key:unknown".into(), resource.clone())],
        "once"
    );
    // It is said again while it goes on.
    rig.clock.advance(std::time::Duration::from_secs(3601));
    shows(&rig, "SHA256:a").await;
    assert_eq!(seen(&rig).len(), 2);

    // Not another one, nor a part of it, and nobody but a person.
    for (print, status) in [("SHA256:b", 404), ("SHA256:", 404), ("", 404)] {
        assert_eq!(
            say(&rig, "dave", "approve", print).await.status,
            status,
            "{print}"
        );
    }
    let robot = Actor::new(PrincipalKind::Agent, "robot", &["security"]);
    rig.add("robot", robot, vec![]);
    let alice = rig.principal("alice").actor.clone();
    let helper = Actor::new(PrincipalKind::User, "helper", &["security"]);
    rig.add("helper", helper, vec![alice]);
    for who in ["robot", "helper"] {
        let answer = say(&rig, who, "approve", "SHA256:a").await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{who}: {answer:?}");
    }
    assert_eq!(known(&rig), None);
    let answer = say(&rig, "dave", "approve", "SHA256:a").await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.body["key"]["decided_by"], "dave");
    let event = rig.events().pop().unwrap();
    assert_eq!(
        (&*event.action, &event.resource),
        ("host_key:approve", &resource)
    );
    assert!(event.detail.contains("approved: compared at"), "{event:?}");
    assert_eq!(known(&rig).unwrap(), "ssh-ed25519 SHA256:a");

    // A changed one is listed as that, on record, and nothing else.
    assert_eq!(shows(&rig, "SHA256:b").await, HostKeyStanding::Waits);
    assert_eq!(known(&rig).unwrap(), "ssh-ed25519 SHA256:a");
    assert_eq!(seen(&rig).pop().unwrap().0, "host_key:changed");
    assert_eq!(
        listed(&rig).await,
        ["SHA256:a approved 4", "SHA256:b waiting 1 changed"]
    );
    say(&rig, "dave", "reject", "SHA256:b").await;
    assert_eq!(shows(&rig, "SHA256:b").await, HostKeyStanding::Rejected);
    // After a start it is as before.
    let rig = rig.killed().await.unwrap();
    assert_eq!(known(&rig).unwrap(), "ssh-ed25519 SHA256:a");
    // Somebody may change their mind: then it is the other one that does not count.
    say(&rig, "dave", "approve", "SHA256:b").await;
    assert_eq!(known(&rig).unwrap(), "ssh-ed25519 SHA256:b");
    assert_eq!(shows(&rig, "SHA256:a").await, HostKeyStanding::Rejected);
    assert_eq!(
        listed(&rig).await,
        ["SHA256:b approved 2", "SHA256:a rejected 5 changed"]
    );
    // What cannot be read is not guessed.
    rig.sql("UPDATE ssh_host_keys SET state = 'fine'");
    assert!(rig.restart().await.is_err());
}

#[tokio::test]
async fn a_key_that_is_rejected_ends_the_sessions_of_its_host_whatever_the_disk_says() {
    let rig = Rig::new().await;
    for print in ["SHA256:a", "SHA256:b"] {
        shows(&rig, print).await;
    }
    say(&rig, "dave", "approve", "SHA256:a").await;
    let there = session(&rig, "alice", Protocol::Ssh, &[("target", TARGET)]).await;
    let other = session(&rig, "alice", Protocol::Ssh, &[]).await;
    // One that was never the host's ends nothing.
    let answer = say(&rig, "dave", "reject", "SHA256:b").await;
    assert_eq!(answer.body["sessions_ended"], 0, "{answer:?}");
    rig.sql(
        "CREATE TRIGGER stuck BEFORE UPDATE ON ssh_host_keys BEGIN SELECT RAISE(ABORT, 'x'); END",
    );
    // What makes things looser has to be kept first.
    let answer = say(&rig, "dave", "approve", "SHA256:b").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    assert_eq!(known(&rig).unwrap(), "ssh-ed25519 SHA256:a");
    assert_eq!([is_over(&there), is_over(&other)], [false, false]);
    let answer = say(&rig, "dave", "reject", "SHA256:a").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    assert!(answer.error().message.contains("until Weir ends"));
    assert_eq!(known(&rig), None);
    assert_eq!([is_over(&there), is_over(&other)], [true, false]);
    // What cannot be listed does not count either, and who may not is not asked.
    rig.sql("DROP TRIGGER stuck; DROP TABLE ssh_host_keys");
    assert_eq!(shows(&rig, "SHA256:c").await, HostKeyStanding::Waits);
    assert_eq!(known(&rig), None);
    rig.policy(|q| q.accesses[0].action != Action::HostKeyApprove);
    for word in ["approve", "reject"] {
        let answer = say(&rig, "dave", word, "SHA256:a").await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{answer:?}");
    }
}

/// Somebody approved the key of whoever was in between: with the right one, those sessions end.
#[tokio::test]
async fn another_key_in_its_place_ends_the_sessions_too() {
    let rig = Rig::new().await;
    for print in ["SHA256:a", "SHA256:b"] {
        shows(&rig, print).await;
    }
    say(&rig, "dave", "approve", "SHA256:a").await;
    let there = session(&rig, "alice", Protocol::Ssh, &[("target", TARGET)]).await;
    let again = say(&rig, "dave", "approve", "SHA256:a").await;
    assert_eq!(again.body["sessions_ended"], 0, "{again:?}");
    assert!(!is_over(&there));
    let answer = say(&rig, "dave", "approve", "SHA256:b").await;
    assert_eq!(answer.body["sessions_ended"], 1, "{answer:?}");
    assert!(is_over(&there));
}

/// Whoever is between Weir and a host can show as many keys as they like.
#[tokio::test]
async fn a_flood_of_keys_is_bounded() {
    let rig = Rig::new().await;
    for n in 0..100 {
        shows(&rig, &format!("SHA256:{n}")).await;
    }
    assert_eq!(listed(&rig).await.len(), 16);
    assert_eq!(seen(&rig).len(), 30);
}

/// What was once on record as unknown, and then as another key than the right one, are two things to be told.
#[tokio::test]
async fn a_key_that_comes_to_be_the_wrong_one_is_on_record_as_that_at_once() {
    let rig = Rig::new().await;
    let said = |rig: &Rig| -> Vec<String> {
        let all = seen(rig).into_iter();
        all.map(|(action, of)| format!("{action} {}", &of[of.len() - 2..of.len() - 1]))
            .collect()
    };
    for print in ["SHA256:a", "SHA256:b"] {
        shows(&rig, print).await;
    }
    say(&rig, "dave", "approve", "SHA256:a").await;
    for _ in 0..3 {
        shows(&rig, "SHA256:b").await;
    }
    let first = [
        "host_key:unknown a",
        "host_key:unknown b",
        "host_key:changed b",
    ];
    assert_eq!(said(&rig), first, "within the hour, and once");
    // Somebody who shows it all the time does not keep it off the record.
    for _ in 0..5 {
        rig.clock.advance(std::time::Duration::from_secs(1_200));
        shows(&rig, "SHA256:b").await;
    }
    assert_eq!(said(&rig)[3..], ["host_key:changed b"]);
    // What could not be recorded counts as not told.
    let recorded_at = || -> Option<i64> {
        let store = rusqlite::Connection::open(rig.database()).unwrap();
        let sql = "SELECT recorded_at FROM ssh_host_keys WHERE fingerprint = 'SHA256:b'";
        store.query_row(sql, [], |row| row.get(0)).unwrap()
    };
    let before = recorded_at();
    assert!(before.is_some());
    rig.clock.advance(std::time::Duration::from_secs(3_601));
    rig.memory.journal.break_quietly();
    shows(&rig, "SHA256:b").await;
    assert_eq!(recorded_at(), before);
}

/// Nobody finds a key waiting that was rejected before without having been told that this can be.
#[tokio::test]
async fn a_rejection_that_makes_room_is_told() {
    let rig = Rig::new().await;
    for n in 10..27 {
        let print = format!("SHA256:{n}");
        shows(&rig, &print).await;
        rig.clock.advance(std::time::Duration::from_secs(60));
        let answer = say(&rig, "dave", "reject", &print).await;
        let forgotten = match n {
            26 => json!(["SHA256:10"]),
            _ => json!([]),
        };
        assert_eq!(answer.body["forgotten"], forgotten, "{n}: {answer:?}");
    }
    let event = rig.events().pop().unwrap();
    assert_eq!(event.action, "host_key:forget");
    assert!(event.resource.contains("SHA256:10"), "{event:?}");
    assert_eq!(shows(&rig, "SHA256:11").await, HostKeyStanding::Rejected);
    assert_eq!(shows(&rig, "SHA256:10").await, HostKeyStanding::Waits);
}
