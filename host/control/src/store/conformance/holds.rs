//! Holds, votes and the races between them.

use std::sync::Arc;

use tokio_util::task::TaskTracker;
use weir_client::{Parameter, VoteKind};

use super::{LIMITS, NOW, PLENTY, PRINT, ballot, hold, opened, session, state};
use crate::store::{
    Ballot, Cast, Change, HoldLimits, HoldQuery, HoldRecord, HoldRow, HoldState, Kept, Opened,
    SessionRow, SessionWrite, Settled, Store, VoteRecord,
};

pub(super) async fn holds_open_within_limits(store: &dyn Store) {
    let limits = HoldLimits {
        total: 3,
        per_principal: 2,
        ..LIMITS
    };
    for (principal, expected) in [
        ("a", Opened::Yes),
        ("a", Opened::Yes),
        ("a", Opened::TooMany(2)),
        ("b", Opened::Yes),
        ("c", Opened::TooMany(3)),
    ] {
        let record = hold(principal, &[("one", 1)]);
        assert_eq!(store.open_hold(record, limits).await.unwrap(), expected);
    }
    // Overdue ones do not take a place.
    let later = HoldRecord {
        opened_at: NOW + 60_000,
        expires_at: NOW + 70_000,
        ..hold("a", &[("one", 1)])
    };
    assert_eq!(store.open_hold(later, limits).await.unwrap(), Opened::Yes);
}

/// Opening and cancelling fills nothing up, and costs only whoever does it.
pub(super) async fn what_is_kept_of_holds_is_bounded(store: &dyn Store) {
    let kept = |rows, bytes| Kept { rows, bytes };
    let limits = HoldLimits {
        kept: kept(6, 1 << 30),
        kept_per_principal: kept(3, 1 << 30),
        ..LIMITS
    };
    let open = async |principal: &str, limits| {
        let record = hold(principal, &[("one", 1)]);
        let id = record.id.clone();
        (id, store.open_hold(record, limits).await.unwrap())
    };
    let count = async || {
        let query = HoldQuery {
            limit: 100,
            ..HoldQuery::default()
        };
        store.holds(query).await.unwrap().len()
    };
    let (first, _) = open("a", limits).await;
    store.abandon_hold(&first, NOW).await.unwrap();
    let (quiet, _) = open("b", limits).await;
    store.abandon_hold(&quiet, NOW).await.unwrap();
    for _ in 0..40 {
        let (id, opened) = open("a", limits).await;
        assert_eq!(opened, Opened::Yes);
        store.abandon_hold(&id, NOW).await.unwrap();
    }
    assert!(count().await <= 4);
    assert!(store.hold(&first).await.unwrap().is_none());
    assert!(store.hold(&quiet).await.unwrap().is_some(), "b's is kept");
    // What still waits makes no room.
    for expected in [Opened::Yes, Opened::Yes, Opened::Yes, Opened::TooMany(3)] {
        assert_eq!(open("c", limits).await.1, expected);
    }
    for n in 0..30 {
        let (id, opened) = open(&format!("p{n}"), limits).await;
        assert_eq!(opened, Opened::Yes);
        store.abandon_hold(&id, NOW).await.unwrap();
    }
    assert!(count().await <= 6);
    // Bytes count, too.
    let size = serde_json::to_vec(&hold("d", &[("one", 1)]).document).unwrap();
    let small = HoldLimits {
        kept: PLENTY,
        kept_per_principal: kept(100, size.len() as u64 + 10),
        ..LIMITS
    };
    assert_eq!(open("d", small).await.1, Opened::Yes);
    assert_eq!(open("d", small).await.1, Opened::TooMany(1));
}

pub(super) async fn ended_holds_shrink(store: &dyn Store) {
    let large = || {
        let mut record = hold("a", &[("one", 1)]);
        record.document.statement.text = "\u{1F600}".repeat(100_000);
        record.document.parameters = vec![Parameter::Text("x".repeat(100_000))];
        record.document.routes[0].body_markdown = "y".repeat(100_000);
        record
    };
    type End = fn(&mut Ballot);
    for (name, end) in [
        ("used", (|b| b.kind = VoteKind::Approve) as End),
        ("denied", |b| b.kind = VoteKind::Deny),
    ] {
        let id = opened(store, large()).await;
        let whole = store.hold(&id).await.unwrap().unwrap().record.document;
        assert_eq!(whole, large().document, "{name}: people see the whole");
        let mut vote = ballot(&id, "x", VoteKind::Deny, &["one"]);
        end(&mut vote);
        store.vote(vote).await.unwrap();
        store.settle_hold(&id, PRINT, NOW + 2).await.unwrap();
        small(store, &id, name).await;
    }
    let id = opened(store, large()).await;
    store.abandon_hold(&id, NOW + 1).await.unwrap();
    small(store, &id, "abandoned").await;
    let id = opened(store, large()).await;
    store.sweep(NOW + 100_000, NOW).await.unwrap();
    small(store, &id, "expired").await;
}

async fn small(store: &dyn Store, id: &str, name: &str) {
    let row = store.hold(id).await.unwrap().unwrap();
    assert_eq!(row.state.as_str(), name);
    let document = row.record.document;
    assert!(document.statement.truncated, "{name}");
    let size = serde_json::to_vec(&document).unwrap().len();
    assert!(size < 10_000, "{name}: {size}");
}

pub(super) async fn holds_are_listed(store: &dyn Store) {
    let mut ids = Vec::new();
    for principal in ["a", "b", "a"] {
        let record = hold(principal, &[("one", 1)]);
        let text = record.document.statement.text.clone();
        let id = opened(store, record).await;
        let row = store.hold(&id).await.unwrap().unwrap();
        assert_eq!(row.record.document.statement.text, text);
        ids.push(id);
    }
    assert!(store.hold("' OR '1'='1").await.unwrap().is_none());
    let list = async |query: HoldQuery| -> Vec<String> {
        let rows = store.holds(query).await.unwrap();
        rows.into_iter().map(|row| row.record.id).collect()
    };
    let all = HoldQuery {
        limit: 10,
        ..HoldQuery::default()
    };
    let newest_first: Vec<String> = ids.iter().rev().cloned().collect();
    assert_eq!(list(all.clone()).await, newest_first);
    let of_b = HoldQuery {
        principal: Some("b".into()),
        ..all.clone()
    };
    assert_eq!(list(of_b).await, [ids[1].clone()]);
    let nowhere = HoldQuery {
        target: Some("x' OR '1'='1".into()),
        ..all.clone()
    };
    assert!(list(nowhere).await.is_empty());
    let page = HoldQuery {
        before: Some(ids[2].clone()),
        limit: 1,
        ..all
    };
    assert_eq!(list(page).await, [ids[1].clone()]);
}

pub(super) async fn votes_add_up(store: &dyn Store) {
    use VoteKind::{Approve, Deny};
    let mut changes = store.changes();
    let id = opened(store, hold("a", &[("one", 2), ("two", 1)])).await;
    assert_eq!(changes.recv().await.unwrap(), Change::Hold(id.clone()));
    let vote = async |voter: &str, kind, rules: &[&str]| {
        let verdict = store.vote(ballot(&id, voter, kind, rules)).await.unwrap();
        verdict.unwrap().cast
    };
    assert_eq!(vote("a", Approve, &["one"]).await, Cast::Void, "involved");
    assert_eq!(vote("x", Approve, &["other"]).await, Cast::Void, "no rule");
    for (voter, rules, expected) in [
        ("x", &["one"][..], HoldState::Open),
        ("x", &["one", "two"], HoldState::Open),
        ("y", &["one"], HoldState::Approved),
    ] {
        let cast = vote(voter, Approve, rules).await;
        let Cast::Counted { votes, state } = cast else {
            panic!("{voter}: {cast:?}");
        };
        assert_eq!((state, votes.len()), (expected, 1), "{voter}");
    }
    let late = vote("z", Deny, &["one"]).await;
    assert_eq!(late, Cast::Closed(HoldState::Approved));
    let unknown = ballot("nothing", "x", Approve, &["one"]);
    assert!(store.vote(unknown).await.unwrap().is_none());

    let id = opened(store, hold("a", &[("one", 2)])).await;
    let vote = async |voter: &str, kind| {
        let verdict = store
            .vote(ballot(&id, voter, kind, &["one"]))
            .await
            .unwrap();
        verdict.unwrap().cast
    };
    vote("x", Approve).await;
    assert_eq!(vote("x", Approve).await, Cast::Again);
    let changed = vote("x", Deny).await;
    assert!(matches!(
        changed,
        Cast::Counted {
            state: HoldState::Denied,
            ..
        }
    ));
    assert_eq!(vote("y", Approve).await, Cast::Closed(HoldState::Denied));
    let row = store.hold(&id).await.unwrap().unwrap();
    assert_eq!(row.decided_by.as_deref(), Some("x"));
    assert_eq!(row.votes.len(), 2);
    let settled = store.settle_hold(&id, PRINT, NOW + 2).await.unwrap();
    assert!(matches!(settled, Settled::Denied { by, .. } if by == "x"));
}

pub(super) async fn an_approval_is_taken_once(store: Arc<dyn Store>) {
    let tasks = TaskTracker::new();
    let id = opened(&*store, hold("a", &[("one", 1)])).await;
    let settled = store.settle_hold(&id, PRINT, NOW + 2).await.unwrap();
    assert_eq!(settled, Settled::Pending);
    let vote = ballot(&id, "x", VoteKind::Approve, &["one"]);
    store.vote(vote).await.unwrap();
    let takers: Vec<_> = (0..8)
        .map(|_| {
            let (store, id) = (store.clone(), id.clone());
            tasks.spawn(async move { store.settle_hold(&id, PRINT, NOW + 3).await.unwrap() })
        })
        .collect();
    let mut taken = 0;
    for taker in takers {
        match taker.await.unwrap() {
            Settled::Approved { approvers } => {
                assert_eq!(approvers, ["x"]);
                taken += 1;
            }
            other => assert_eq!(other, Settled::Gone),
        }
    }
    assert_eq!(taken, 1);
    assert_eq!(state(&*store, &id).await, HoldState::Used);
    // The client went away before it could use what it took.
    assert!(store.abandon_hold(&id, NOW + 4).await.unwrap());
    assert_eq!(state(&*store, &id).await, HoldState::Abandoned);

    let id = opened(&*store, hold("a", &[("one", 1)])).await;
    store
        .vote(ballot(&id, "x", VoteKind::Approve, &["one"]))
        .await
        .unwrap();
    let wrong = store.settle_hold(&id, [8; 32], NOW + 3).await.unwrap();
    assert_eq!(wrong, Settled::Mismatch);
    let void = store.settle_hold(&id, PRINT, NOW + 3).await.unwrap();
    assert_eq!(void, Settled::Gone);
}

pub(super) async fn a_vote_against_an_end(store: Arc<dyn Store>) {
    for _ in 0..20 {
        let id = opened(&*store, hold("a", &[("one", 1)])).await;
        let vote = ballot(&id, "x", VoteKind::Approve, &["one"]);
        let (verdict, ended) = tokio::join!(store.vote(vote), store.abandon_hold(&id, NOW + 1));
        assert!(ended.unwrap(), "nothing ended it before");
        let cast = verdict.unwrap().unwrap().cast;
        assert!(matches!(
            cast,
            Cast::Counted { .. } | Cast::Closed(HoldState::Abandoned)
        ));
        assert_eq!(state(&*store, &id).await, HoldState::Abandoned);
        assert!(!store.abandon_hold(&id, NOW + 2).await.unwrap());
    }
}

pub(super) async fn holds_expire(store: &dyn Store) {
    let id = opened(store, hold("a", &[("one", 1)])).await;
    let late = Ballot {
        at: NOW + 60_000,
        ..ballot(&id, "x", VoteKind::Approve, &["one"])
    };
    let cast = store.vote(late).await.unwrap().unwrap().cast;
    assert_eq!(cast, Cast::Closed(HoldState::Expired));
    assert_eq!(state(store, &id).await, HoldState::Expired);

    let id = opened(store, hold("a", &[("one", 1)])).await;
    store
        .vote(ballot(&id, "x", VoteKind::Approve, &["one"]))
        .await
        .unwrap();
    let settled = store.settle_hold(&id, PRINT, NOW + 60_000).await.unwrap();
    assert_eq!(settled, Settled::Expired, "an approval ends with its hold");

    let id = opened(store, hold("a", &[("one", 1)])).await;
    store.sweep(NOW + 59_999, 0).await.unwrap();
    assert_eq!(state(store, &id).await, HoldState::Open);
    store.sweep(NOW + 60_000, 0).await.unwrap();
    assert_eq!(state(store, &id).await, HoldState::Expired);
}

pub(super) async fn a_new_process_ends_what_was_open(store: &dyn Store) {
    let open = opened(store, hold("a", &[("one", 1)])).await;
    let approved = opened(store, hold("a", &[("one", 1)])).await;
    let denied = opened(store, hold("a", &[("one", 1)])).await;
    store
        .vote(ballot(&approved, "x", VoteKind::Approve, &["one"]))
        .await
        .unwrap();
    store
        .vote(ballot(&denied, "x", VoteKind::Deny, &["one"]))
        .await
        .unwrap();
    store
        .write_sessions(vec![SessionWrite::Started(Box::new(session("s")))])
        .await
        .unwrap();
    let begun = store.begin(NOW + 10).await.unwrap();
    assert_eq!((begun.holds_abandoned, begun.sessions_ended), (2, 1));
    for (id, expected) in [
        (&open, HoldState::Abandoned),
        (&approved, HoldState::Abandoned),
        (&denied, HoldState::Denied),
    ] {
        assert_eq!(state(store, id).await, expected);
    }
    let session = store.session("s").await.unwrap().unwrap();
    assert_eq!(session.ended_at, Some(NOW + 10));
    let again = store.begin(NOW + 11).await.unwrap();
    assert_eq!((again.holds_abandoned, again.sessions_ended), (0, 0));
}

/// Of an erased session nothing is left but who asked for what kind of thing, and who decided.
pub(super) async fn an_erased_session_is_forgotten(store: &dyn Store) {
    let of = |session: &str| {
        let mut record = hold("a", &[("one", 1)]);
        record.document.session = session.into();
        record.document.statement.text = format!("zebra of {session}");
        record.document.statement.reads = vec![format!("zebra.{session}")];
        record.document.parameters = vec![Parameter::Text(format!("zebra {session}"))];
        record.document.routes[0].body_markdown = format!("zebra {session}");
        record.document.database = format!("zebra-{session}");
        record
    };
    let erased = opened(store, of("one")).await;
    let other = opened(store, of("two")).await;
    let vote = Ballot {
        reason: "no zebras".into(),
        ..ballot(&erased, "x", VoteKind::Deny, &["one"])
    };
    store.vote(vote).await.unwrap();
    let decided = store.hold(&erased).await.unwrap().unwrap();
    assert_eq!(decided.decision_reason.as_deref(), Some("no zebras"));
    let row = super::session("one");
    let writes = vec![
        SessionWrite::Started(Box::new(SessionRow {
            application: "zebra".into(),
            ..row.clone()
        })),
        SessionWrite::Ended {
            id: row.id.clone(),
            at: NOW + 2,
            end: "zebra".into(),
        },
    ];
    store.write_sessions(writes).await.unwrap();
    for _ in 0..2 {
        store.forget_session("one").await.unwrap();
        let found = store.hold(&erased).await.unwrap().unwrap();
        let text = format!("{found:?}");
        assert!(!text.contains("zebra"), "{text}");
        assert_ne!(
            found.record.fingerprint, PRINT,
            "a statement can be guessed by it"
        );
        let kept = |row: &HoldRow| {
            let record = row.record.clone();
            let votes = row.votes.iter().map(|vote| VoteRecord {
                reason: String::new(),
                ..vote.clone()
            });
            let (document, rules) = (record.document, votes.collect::<Vec<_>>());
            (
                (row.state, row.decided_by.clone(), row.decided_at, rules),
                (
                    record.principal,
                    document.target,
                    document.seq,
                    document.chain,
                ),
            )
        };
        assert_eq!(kept(&found), kept(&decided));
        let session = store.session("one").await.unwrap().unwrap();
        assert_eq!(session.application, "");
        assert_eq!(session.end.as_deref(), Some("(erased)"));
        assert_eq!(session.ended_at, Some(NOW + 2));
        assert_eq!(
            (session.principal, session.target),
            (row.principal.clone(), row.target.clone())
        );
    }
    let whole = store.hold(&other).await.unwrap().unwrap();
    assert_eq!(whole.record.document, of("two").document);
    store.forget_session("none such").await.unwrap();
}
