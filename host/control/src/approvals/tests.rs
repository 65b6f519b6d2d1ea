//! Who may vote, how votes add up, and the races.

use std::time::Duration;

use axum::http::StatusCode;
use pipeline::ports::ApproverError;
use pipeline::{Actor, Fingerprint, HoldOutcome, PrincipalKind, Route};
use weir_client::ApprovalState;

use crate::store::{HoldState, Settled};
use crate::testing::{Rig, Setup, hold_request, route, voted_rule};
use crate::{Limits, testing};

const WAIT: Duration = Duration::from_secs(20);

async fn outcome(hold: &mut Box<dyn pipeline::ports::Hold>) -> HoldOutcome {
    tokio::time::timeout(WAIT, hold.decided()).await.unwrap()
}

/// One vote and the status that it must get.
type Votes<'a> = &'a [(&'a str, &'a str, u16)];

struct Case<'a> {
    name: &'a str,
    requester: &'a str,
    routes: Vec<Route>,
    votes: Votes<'a>,
    /// The state in the end.
    ends: HoldState,
}

/// Every trick to approve what one may not approve.
#[tokio::test]
async fn who_may_vote_and_what_counts() {
    let rig = Rig::new().await;
    let agent = |owner: &str| Actor {
        owner: Some(owner.into()),
        ..Actor::new(PrincipalKind::Agent, "robot", &["approvers"])
    };
    let user = |name: &str| Actor::new(PrincipalKind::User, name, &["approvers"]);
    rig.add("robot-of-bob", agent("bob"), vec![]);
    rig.add("robot-for-bob", agent("erin"), vec![user("bob")]);
    rig.add("robot", agent("erin"), vec![]);
    rig.add(
        "ci",
        Actor::new(PrincipalKind::Workload, "ci", &["approvers"]),
        vec![],
    );
    // Somebody's token through which something else acts: not a person's own vote.
    rig.add("frank-for-gina", user("frank"), vec![user("gina")]);
    let security = Route {
        approvers: vec!["security".into()],
        ..route("second", 1)
    };
    let both = || vec![route("first", 1), security.clone()];
    let cases = [
        Case {
            name: "one person is enough where one is needed",
            requester: "alice",
            routes: vec![route("first", 1)],
            votes: &[("bob", "approve", 200), ("carol", "approve", 409)],
            ends: HoldState::Approved,
        },
        Case {
            name: "nobody approves their own request",
            requester: "bob",
            routes: vec![route("first", 1)],
            votes: &[("bob", "approve", 403), ("bob", "deny", 403)],
            ends: HoldState::Open,
        },
        Case {
            name: "an agent's owner is not asked",
            requester: "robot-of-bob",
            routes: vec![route("first", 1)],
            votes: &[("bob", "approve", 403)],
            ends: HoldState::Open,
        },
        Case {
            name: "nor is whom the agent acts for, nor that one's owner of another link",
            requester: "robot-for-bob",
            routes: vec![route("first", 1)],
            votes: &[("bob", "approve", 403), ("erin", "approve", 403)],
            ends: HoldState::Open,
        },
        Case {
            name: "only people vote",
            requester: "alice",
            routes: vec![route("first", 1)],
            votes: &[
                ("robot", "approve", 403),
                ("robot-for-bob", "approve", 403),
                ("ci", "approve", 403),
                ("frank-for-gina", "approve", 403),
                ("ci", "deny", 403),
            ],
            ends: HoldState::Open,
        },
        Case {
            name: "the same person does not count twice",
            requester: "alice",
            routes: vec![route("first", 2)],
            votes: &[
                ("bob", "approve", 200),
                ("bob", "approve", 409),
                ("carol", "approve", 200),
            ],
            ends: HoldState::Approved,
        },
        Case {
            name: "one person in two groups is one person",
            requester: "alice",
            routes: vec![Route {
                approvers: vec!["approvers".into(), "security".into()],
                ..route("first", 2)
            }],
            votes: &[("dave", "approve", 200), ("dave", "approve", 409)],
            ends: HoldState::Open,
        },
        Case {
            name: "another group is the wrong group",
            requester: "alice",
            routes: vec![route("first", 1)],
            votes: &[("erin", "approve", 403), ("erin", "deny", 403)],
            ends: HoldState::Open,
        },
        Case {
            name: "every rule needs its people",
            requester: "alice",
            routes: both(),
            votes: &[
                ("bob", "approve", 200),
                ("carol", "approve", 200),
                ("dave", "approve", 200),
            ],
            ends: HoldState::Approved,
        },
        Case {
            name: "a person in both groups satisfies both rules",
            requester: "alice",
            routes: both(),
            votes: &[("dave", "approve", 200)],
            ends: HoldState::Approved,
        },
        Case {
            name: "a denial is final",
            requester: "alice",
            routes: vec![route("first", 2)],
            votes: &[
                ("bob", "approve", 200),
                ("carol", "deny", 200),
                ("dave", "approve", 409),
            ],
            ends: HoldState::Denied,
        },
        Case {
            name: "one may change from yes to no before it is decided, not back",
            requester: "alice",
            routes: vec![route("first", 2)],
            votes: &[
                ("bob", "approve", 200),
                ("bob", "deny", 200),
                ("bob", "approve", 409),
            ],
            ends: HoldState::Denied,
        },
        Case {
            name: "after the approval a denial comes too late",
            requester: "alice",
            routes: vec![route("first", 1)],
            votes: &[("bob", "approve", 200), ("carol", "deny", 409)],
            ends: HoldState::Approved,
        },
        Case {
            name: "a rule that needs nobody still needs somebody",
            requester: "alice",
            routes: vec![route("first", 0)],
            votes: &[("bob", "approve", 200)],
            ends: HoldState::Approved,
        },
    ];
    for case in cases {
        let hold = rig.hold(case.requester, case.routes).await;
        let id = hold.info().id.clone();
        assert_eq!(hold.info().url, format!("https://weir.test/approvals/{id}"));
        for (who, what, status) in case.votes {
            let answer = match *what {
                "approve" => rig.approve(who, &id).await,
                _ => rig.deny(who, &id).await,
            };
            let expected = StatusCode::from_u16(*status).unwrap();
            assert_eq!(
                answer.status, expected,
                "{}: {who} {what}: {answer:?}",
                case.name
            );
        }
        let row = rig.control.store().hold(&id).await.unwrap().unwrap();
        assert_eq!(row.state, case.ends, "{}", case.name);
        hold.abandon().await;
    }
}

#[tokio::test]
async fn cedar_is_asked_rule_by_rule() {
    let rig = Rig::new().await;
    rig.policy(|q| voted_rule(q).is_none_or(|rule| rule == "second"));
    let mut hold = rig
        .hold("alice", vec![route("first", 1), route("second", 1)])
        .await;
    let id = hold.info().id.clone();
    let answer = rig.approve("bob", &id).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.body["counted_for"], serde_json::json!(["second"]));
    assert_eq!(answer.body["state"], "open");
    rig.policy(|q| voted_rule(q).is_none());
    assert_eq!(
        rig.approve("carol", &id).await.status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(rig.deny("carol", &id).await.status, StatusCode::FORBIDDEN);
    rig.policy(|_| true);
    assert_eq!(rig.approve("carol", &id).await.status, StatusCode::OK);
    let HoldOutcome::Approved { approvers, .. } = outcome(&mut hold).await else {
        panic!("not approved");
    };
    assert_eq!(approvers, ["bob", "carol"]);
}

#[tokio::test]
async fn an_approval_is_taken_once() {
    let rig = Rig::new().await;
    let mut hold = rig.hold("alice", vec![route("first", 1)]).await;
    let id = hold.info().id.clone();
    // Cancelled while it waits, as `select!` does: nothing is lost.
    let cancelled = tokio::time::timeout(Duration::from_millis(50), hold.decided()).await;
    assert!(cancelled.is_err());
    rig.approve("bob", &id).await;
    let expected = HoldOutcome::Approved {
        approvers: vec!["bob".into()],
        fingerprint: hold_request(rig.principal("alice"), vec![]).fingerprint,
    };
    assert_eq!(outcome(&mut hold).await, expected);
    assert_eq!(
        outcome(&mut hold).await,
        expected,
        "the same waiter, the same answer"
    );
    let store = rig.control.store();
    let print = hold_request(rig.principal("alice"), vec![]).fingerprint.0;
    let now = testing::millis_now();
    let again = store.settle_hold(&id, print, now).await.unwrap();
    assert_eq!(again, Settled::Gone, "an approval was taken twice");
    drop(hold);
    rig.control.shutdown().await;
    let row = store.hold(&id).await.unwrap().unwrap();
    assert_eq!(row.state, HoldState::Used, "a taken approval was abandoned");
}

#[tokio::test]
async fn an_approval_is_for_one_fingerprint() {
    let rig = Rig::new().await;
    let hold = rig.hold("alice", vec![route("first", 1)]).await;
    let id = hold.info().id.clone();
    rig.approve("bob", &id).await;
    let other = Fingerprint::of([b"something else".as_slice()]).0;
    let store = rig.control.store();
    let now = testing::millis_now();
    let settled = store.settle_hold(&id, other, now).await.unwrap();
    assert_eq!(settled, Settled::Mismatch);
    // And then it is void for the right one, too.
    let print = hold_request(rig.principal("alice"), vec![]).fingerprint.0;
    let settled = store.settle_hold(&id, print, now).await.unwrap();
    assert_eq!(settled, Settled::Gone);
}

#[tokio::test]
async fn it_expires_with_the_shortest_route() {
    let rig = Rig::new().await;
    let short = Route {
        timeout: Duration::from_millis(300),
        ..route("second", 1)
    };
    let mut hold = rig.hold("alice", vec![route("first", 1), short]).await;
    let id = hold.info().id.clone();
    assert_eq!(outcome(&mut hold).await, HoldOutcome::Expired);
    assert_eq!(rig.approve("dave", &id).await.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn a_late_vote_does_not_count_though_nobody_noticed_the_end() {
    let rig = Rig::new().await;
    let mut hold = rig.hold("alice", vec![route("first", 2)]).await;
    let id = hold.info().id.clone();
    assert_eq!(rig.approve("bob", &id).await.status, StatusCode::OK);
    rig.clock.advance(Duration::from_secs(601));
    let answer = rig.approve("carol", &id).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert_eq!(answer.error().message, "it has expired");
    assert_eq!(outcome(&mut hold).await, HoldOutcome::Expired);
}

/// Approved in time, but taken too late.
#[tokio::test]
async fn an_approval_expires_too() {
    let rig = Rig::new().await;
    let mut hold = rig.hold("alice", vec![route("first", 1)]).await;
    rig.approve("bob", &hold.info().id).await;
    rig.clock.advance(Duration::from_secs(601));
    assert_eq!(outcome(&mut hold).await, HoldOutcome::Expired);
}

#[tokio::test]
async fn a_denial_reaches_the_client_with_its_reason() {
    let rig = Rig::new().await;
    let mut hold = rig.hold("alice", vec![route("first", 1)]).await;
    let id = hold.info().id.clone();
    let call = format!("POST /v1/approvals/{id}/deny");
    let empty = rig
        .call("bob", &call, serde_json::json!({"reason": "  "}))
        .await;
    assert_eq!(empty.status, StatusCode::BAD_REQUEST);
    rig.deny("bob", &id).await;
    let expected = HoldOutcome::Denied {
        by: "bob".into(),
        reason: "not today".into(),
    };
    assert_eq!(outcome(&mut hold).await, expected);
}

#[tokio::test]
async fn after_it_was_abandoned_no_vote_counts() {
    let rig = Rig::new().await;
    let hold = rig.hold("alice", vec![route("first", 1)]).await;
    let id = hold.info().id.clone();
    hold.abandon().await;
    let answer = rig.approve("bob", &id).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert_eq!(answer.error().code, "conflict");

    // The approval came first, but the client went away before it took it.
    let hold = rig.hold("alice", vec![route("first", 1)]).await;
    let id = hold.info().id.clone();
    assert_eq!(rig.approve("bob", &id).await.status, StatusCode::OK);
    hold.abandon().await;
    let row = rig.control.store().hold(&id).await.unwrap().unwrap();
    assert_eq!(row.state, HoldState::Abandoned);
}

#[tokio::test]
async fn a_dropped_hold_is_abandoned() {
    let rig = Rig::new().await;
    let mut hold = rig.hold("alice", vec![route("first", 1)]).await;
    let id = hold.info().id.clone();
    // Also when its question to the store is in flight.
    let waited = tokio::time::timeout(Duration::from_nanos(1), hold.decided()).await;
    assert!(waited.is_err());
    drop(hold);
    rig.control.shutdown().await;
    let row = rig.control.store().hold(&id).await.unwrap().unwrap();
    assert_eq!(row.state, HoldState::Abandoned);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn votes_at_the_same_moment() {
    let rig = std::sync::Arc::new(Rig::new().await);
    for round in 0..10 {
        let mut hold = rig.hold("alice", vec![route("first", 2)]).await;
        let id = hold.info().id.clone();
        let tasks = tokio_util::task::TaskTracker::new();
        let votes: Vec<_> = [
            ("bob", 0),
            ("bob", 1),
            ("carol", 2),
            ("carol", 3),
            ("dave", 4),
        ]
        .into_iter()
        .map(|(who, n)| {
            let (rig, id) = (rig.clone(), id.clone());
            tasks.spawn(async move {
                let deny = round % 2 == 1 && n == 4;
                let answer = if deny {
                    rig.deny(who, &id).await
                } else {
                    rig.approve(who, &id).await
                };
                (who, answer.status)
            })
        })
        .collect();
        let mut counted = Vec::new();
        for vote in votes {
            let (who, status) = vote.await.unwrap();
            if status == StatusCode::OK {
                counted.push(who);
            } else {
                assert_eq!(status, StatusCode::CONFLICT);
            }
        }
        counted.sort_unstable();
        match outcome(&mut hold).await {
            HoldOutcome::Approved { approvers, .. } => {
                assert_eq!(approvers.len(), 2, "two distinct people, exactly");
                assert_eq!(
                    counted, approvers,
                    "only votes that counted were answered with 200"
                );
            }
            HoldOutcome::Denied { by, .. } => assert_eq!(by, "dave"),
            other => panic!("round {round}: {other:?}"),
        }
    }
}

/// An approval and the client's going away at once: exactly one of them wins, on both sides.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn approval_against_abandonment() {
    let rig = Rig::new().await;
    for _ in 0..20 {
        let hold = rig.hold("alice", vec![route("first", 1)]).await;
        let id = hold.info().id.clone();
        let (answer, ()) = tokio::join!(rig.approve("bob", &id), hold.abandon());
        let row = rig.control.store().hold(&id).await.unwrap().unwrap();
        assert_eq!(
            row.state,
            HoldState::Abandoned,
            "nobody may take it any more"
        );
        assert!(matches!(
            answer.status,
            StatusCode::OK | StatusCode::CONFLICT
        ));
    }
}

#[tokio::test]
async fn open_holds_are_bounded() {
    let rig = Rig::with(Setup {
        limits: Limits {
            holds: 3,
            holds_per_principal: 2,
            ..Limits::default()
        },
        ..Setup::default()
    })
    .await;
    let routes = || vec![route("first", 1)];
    let first = rig.hold("alice", routes()).await;
    let _second = rig.hold("alice", routes()).await;
    let third = rig.try_hold("alice", routes()).await.err();
    assert_eq!(third, Some(ApproverError::TooMany(2)));
    let _other = rig.hold("erin", routes()).await;
    let fourth = rig.try_hold("dave", routes()).await.err();
    assert_eq!(fourth, Some(ApproverError::TooMany(3)));
    first.abandon().await;
    assert!(
        rig.try_hold("dave", routes()).await.is_ok(),
        "a place is free again"
    );
}

/// Opening and cancelling in a loop ends soon, for whoever does it.
#[tokio::test]
async fn opens_are_bounded_in_a_minute() {
    let rig = Rig::with(Setup {
        limits: Limits {
            holds_per_minute: 3,
            ..Limits::default()
        },
        ..Setup::default()
    })
    .await;
    let routes = || vec![route("first", 1)];
    for _ in 0..3 {
        rig.hold("alice", routes()).await.abandon().await;
    }
    let fourth = rig.try_hold("alice", routes()).await.err();
    assert_eq!(fourth, Some(ApproverError::TooMany(3)));
    rig.hold("erin", routes()).await.abandon().await;
}

#[tokio::test]
async fn what_cannot_be_judged_cannot_be_held() {
    let rig = Rig::new().await;
    let none = rig.try_hold("alice", vec![]).await.err();
    assert!(
        matches!(none, Some(ApproverError::Store(_))),
        "without a rule: {none:?}"
    );
    let mut large = hold_request(rig.principal("alice"), vec![route("first", 1)]);
    large.parameters = vec![pipeline::Parameter::Text(vec![b'x'; super::MAX_DOCUMENT])];
    let refused = rig.control.approver().open(large).await.err();
    assert!(
        matches!(refused, Some(ApproverError::Store(_))),
        "too large: {refused:?}"
    );
}

#[tokio::test]
async fn shown_in_full() {
    let rig = Rig::new().await;
    let hold = rig.hold("alice", vec![route("first", 2)]).await;
    let id = hold.info().id.clone();
    rig.approve("bob", &id).await;
    let answer = rig
        .call("carol", &format!("GET /v1/approvals/{id}"), ().into())
        .await;
    let shown: weir_client::ApprovalDetail = serde_json::from_value(answer.body).unwrap();
    assert_eq!(shown.statement.text, testing::STATEMENT);
    assert_eq!(
        shown.parameters,
        [
            weir_client::Parameter::Text("true".into()),
            weir_client::Parameter::Null,
            weir_client::Parameter::Binary("/wA=".into()),
            weir_client::Parameter::Encoded(weir_client::EncodedValue {
                hex: "00000041".into(),
                of: Some("int4".into()),
                text: Some("65".into()),
            }),
        ]
    );
    assert_eq!(shown.chain.len(), 1);
    assert_eq!(shown.chain[0].subject, "alice");
    assert_eq!((shown.routes[0].required, shown.routes[0].approved), (2, 1));
    assert_eq!(shown.votes.len(), 1);
    assert_eq!(shown.state, ApprovalState::Open);
    assert_eq!(shown.risk.score, 40);
    assert_eq!(shown.fingerprint.len(), 64);
}

#[tokio::test]
async fn a_restart_abandons_what_was_open() {
    let rig = Rig::new().await;
    let open = rig.hold("alice", vec![route("first", 1)]).await;
    let approved = rig.hold("alice", vec![route("first", 1)]).await;
    let denied = rig.hold("alice", vec![route("first", 1)]).await;
    let ids = [&open, &approved, &denied].map(|hold| hold.info().id.clone());
    rig.approve("bob", &ids[1]).await;
    rig.deny("bob", &ids[2]).await;
    let rig = rig.killed().await.unwrap();
    for (id, state) in ids.iter().zip([
        HoldState::Abandoned,
        HoldState::Abandoned,
        HoldState::Denied,
    ]) {
        let row = rig.control.store().hold(id).await.unwrap().unwrap();
        assert_eq!(row.state, state);
        let answer = rig.approve("carol", id).await;
        assert_eq!(answer.status, StatusCode::CONFLICT);
    }
}

/// The planner's estimate is made of values: who asks gets it from nobody before somebody agreed.
#[tokio::test]
async fn what_it_touches_is_shown_to_those_who_decide() {
    let rig = Rig::new().await;
    let hold = rig.hold("alice", vec![route("first", 1)]).await;
    let call = format!("GET /v1/approvals/{}", hold.info().id);
    let impact = async |who: &str| {
        let answer = rig.call(who, &call, serde_json::Value::Null).await;
        assert_eq!(answer.status, StatusCode::OK, "{who}: {answer:?}");
        answer.body["impact"].clone()
    };
    let shown = impact("bob").await;
    assert_eq!(shown["rows"], 4_200, "{shown}");
    assert_eq!(shown["tables"][0]["lock"], "ROW EXCLUSIVE", "{shown}");
    assert_eq!(shown["in_transaction"], true, "{shown}");
    let own = impact("alice").await;
    assert!(own["rows"].is_null(), "{own}");
    assert!(
        own["gaps"].to_string().contains("not shown to who asks"),
        "{own}"
    );
}
