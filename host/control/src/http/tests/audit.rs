//! Searching the record through the API: who may, what is said of a bad search, and that each is on
//! record before it is done.

use std::time::SystemTime;

use axum::http::StatusCode;
use pipeline::Action;
use serde_json::Value;
use weir_client::Timestamp;

use crate::index::{IndexAct, IndexEntry, IndexPlace, IndexWho, Indexed};
use crate::testing::Rig;

/// With so many acts of olga's in the index.
async fn rig(acts: u64) -> Rig {
    let rig = Rig::new().await;
    // Not so old that it is tidied up.
    let now = Timestamp::from(SystemTime::now()).millis();
    let entries: Vec<IndexEntry> = (0..acts)
        .map(|n| IndexEntry {
            stream: [1; 16],
            n,
            at: now + n,
            action: None,
            what: Indexed::Act(Box::new(IndexAct {
                who: Some(IndexWho {
                    subject: "olga".into(),
                    ..IndexWho::default()
                }),
                action: "bundle:read".into(),
                resource: "System".into(),
                refused: n % 2 == 1,
            })),
        })
        .collect();
    let place = IndexPlace {
        file: 1,
        chain: [0; 32],
    };
    rig.control.index().take(&entries, place).unwrap();
    rig
}

const CALL: &str = "GET /v1/audit/actions";

#[tokio::test]
async fn a_search_is_on_record_with_what_was_searched_for() {
    let rig = rig(6).await;
    let call = format!("{CALL}?user=olga&decision=refused&limit=2");
    let answer = rig.call("dave", &call, Value::Null).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.body["items"].as_array().unwrap().len(), 2);
    assert_eq!(answer.body["items"][0]["record"], 5);
    assert_eq!(answer.body["items"][0]["principal"]["subject"], "olga");
    assert_eq!(answer.body["rebuilding"], true);
    let next = answer.body["next"].as_str().unwrap();
    let answer = rig
        .call("dave", &format!("{call}&after={next}"), Value::Null)
        .await;
    assert_eq!(answer.body["items"].as_array().unwrap().len(), 1);
    assert_eq!(answer.body.get("next"), None);
    let events = rig.events();
    assert_eq!(events.len(), 2);
    for event in events {
        assert_eq!(event.action, "audit:read");
        assert_eq!(event.result, Ok(()));
        assert_eq!(&*event.principal.unwrap().actor.subject, "dave");
        assert!(
            event
                .detail
                .contains(r#""user":"olga","decision":"refused""#),
            "{}",
            event.detail
        );
    }
}

#[tokio::test]
async fn who_may_not_search_is_refused_and_that_is_on_record() {
    let rig = rig(1).await;
    // Whoever may do everything else.
    rig.policy(|question| question.accesses[0].action != Action::AuditRead);
    let answer = rig.call("dave", CALL, Value::Null).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    let events = rig.events();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].action, "audit:read");
    assert!(events[0].result.is_err());
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_searched() {
    let rig = rig(1).await;
    rig.memory.journal.break_now();
    let answer = rig.call("dave", CALL, Value::Null).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.body.get("items"), None);
}

#[tokio::test]
async fn a_bad_search_is_told_what_is_wrong() {
    let rig = rig(1).await;
    let long = "x".repeat(401);
    let words = "a%20".repeat(17);
    for (query, part) in [
        ("since=yesterday", "since"),
        ("until=2026-13-01T00:00:00Z", "until"),
        (
            "since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z",
            "since must not be after until",
        ),
        ("risk=101", "risk must be 0 to 100"),
        ("risk=-1", "risk"),
        ("risk=much", "risk"),
        (
            "kind=everything",
            "kind must be one of session-start, action",
        ),
        ("session=x", "session is not the id of a session"),
        ("session=0190A0A0-0000-7000-8000-000000000000", "session"),
        ("after=x", "after is not a cursor"),
        ("limit=0", "limit must be 1 to 200"),
        ("limit=201", "limit must be 1 to 200"),
        ("text=%2B%20-", "text must have 1 to 16 words"),
        (&format!("text={words}"), "text must have 1 to 16 words"),
        ("user=", "user must have 1 to 400 bytes"),
        (
            &format!("resource={long}"),
            "resource must have 1 to 400 bytes",
        ),
        ("who=olga", "unknown field `who`"),
        ("user=a&user=b", "duplicate field"),
    ] {
        let answer = rig
            .call("dave", &format!("{CALL}?{query}"), Value::Null)
            .await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
        let message = answer.error().message;
        assert!(message.contains(part), "{query}: {message}");
    }
}
