//! Watching a session through the API: who may, that it is on record before anything is shown, and that
//! it ends when it must.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode};
use pipeline::{Action, Actor, PrincipalKind, Resource};
use serde_json::Value;
use tower::ServiceExt;

use crate::testing::{Rig, SOURCE, Setup, one, session_info};
use crate::{ApiError, Limits};

const SOON: Duration = Duration::from_secs(10);

/// Signs of life come fast enough for a test.
async fn rig() -> Rig {
    Rig::with(Setup {
        limits: Limits {
            watch_alive: Duration::from_millis(50),
            ..Limits::default()
        },
        ..Setup::default()
    })
    .await
}

/// A live session of `who`.
pub(super) async fn live(rig: &Rig, who: &str) -> (pipeline::Session, String) {
    let info = session_info(rig.principal(who));
    let id = info.id.to_string();
    let caller = pipeline::Caller {
        cancel: &tokio_util::sync::CancellationToken::new(),
        on_hold: &|_| {},
        survey: None,
    };
    let connect = pipeline::Access {
        action: Action::PostgresConnect,
        resource: Resource::Target,
        target: Some(info.target.clone()),
    };
    let session = pipeline::Session::open(rig.ports(), info, vec![connect], caller).await;
    (session.unwrap(), id)
}

struct Shown {
    status: StatusCode,
    body: Body,
}

impl Shown {
    /// The next piece; none at the end.
    async fn piece(&mut self) -> Option<String> {
        let next = std::future::poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx));
        let next = tokio::time::timeout(SOON, next).await.expect("in time")?;
        let bytes = next.unwrap().into_data().unwrap();
        Some(String::from_utf8(bytes.to_vec()).unwrap())
    }

    /// The next piece that is more than a sign of life.
    async fn next(&mut self) -> Option<String> {
        loop {
            let piece = self.piece().await?;
            if !is_alive(&piece) {
                return Some(piece);
            }
        }
    }

    /// Until the end, of which the last line says why.
    async fn over(&mut self) -> String {
        let mut last = String::new();
        while let Some(piece) = self.next().await {
            last = piece;
        }
        let line: Value = serde_json::from_str(last.trim_end()).unwrap();
        line["over"].as_str().unwrap_or_default().to_owned()
    }
}

fn is_alive(piece: &str) -> bool {
    piece.ends_with(" \n") && piece.trim_end() == "{\"kind\":\"alive\"}"
}

async fn watch(rig: &Rig, token: &str, id: &str) -> Shown {
    let request = Request::get(format!("/v1/sessions/{id}/watch"))
        .header("authorization", format!("Bearer {token}"))
        .extension(ConnectInfo(SocketAddr::new(SOURCE, 4711)))
        .body(Body::empty())
        .unwrap();
    let response = rig.control.router().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    if parts.status == StatusCode::OK {
        assert_eq!(parts.headers["content-type"], "application/jsonl");
        assert_eq!(parts.headers["cache-control"], "no-store");
    }
    let status = parts.status;
    Shown { status, body }
}

pub(super) async fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    for _ in 0..400 {
        if so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("never: {what}");
}

/// What is on record of watching: resource and detail, or the refusal.
pub(super) fn acts(rig: &Rig) -> Vec<(String, Result<String, String>)> {
    let events = rig.events().into_iter();
    let events = events.filter(|e| e.action.starts_with("session:watch"));
    // What begins and what ends is not called the same.
    let named = |e: &pipeline::ControlEvent| {
        let ended = e.detail.contains("watched no more");
        assert_eq!(e.action == "session:watch-end", ended, "{e:?}");
    };
    let events = events.inspect(named);
    events
        .map(|e| (e.resource, e.result.map(|()| e.detail)))
        .collect()
}

#[tokio::test]
async fn it_is_on_record_before_anything_is_shown_and_when_it_ends() {
    let rig = rig().await;
    let (_session, id) = live(&rig, "alice").await;
    let source = rig.watch.prepare();
    source.send(one("select 1")).await.unwrap();
    let mut shown = watch(&rig, "dave", &id).await;
    assert_eq!(shown.status, StatusCode::OK);
    let begun = acts(&rig);
    assert_eq!(begun.len(), 1, "{begun:?}");
    assert_eq!(begun[0].0, format!("Session::\"{id}\""));
    let detail = begun[0].1.clone().unwrap();
    assert!(
        detail.contains("watches the session of alice on orders/shop"),
        "{detail}"
    );
    assert_eq!(
        shown.next().await.unwrap(),
        String::from_utf8(one("select 1").lines.to_vec()).unwrap()
    );
    source.send(one("select 2")).await.unwrap();
    assert!(shown.next().await.unwrap().contains("select 2"));
    drop(source);
    assert_eq!(shown.over().await, "session");
    eventually("the end to be on record", || acts(&rig).len() == 2).await;
    let ended = acts(&rig)[1].1.clone().unwrap();
    assert!(
        ended.contains("after 2 records: the session is recorded no more"),
        "{ended}"
    );
    assert_eq!(rig.watch.open(), 0);
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_shown() {
    let rig = rig().await;
    let (_session, id) = live(&rig, "alice").await;
    let source = rig.watch.prepare();
    source.send(one("a secret")).await.unwrap();
    rig.memory.journal.break_quietly();
    let mut shown = watch(&rig, "dave", &id).await;
    assert_eq!(shown.status, StatusCode::SERVICE_UNAVAILABLE);
    let body = shown.piece().await.unwrap();
    assert!(
        !body.contains("a secret") && body.contains("cannot be recorded"),
        "{body}"
    );
    assert_eq!(rig.watch.taken(), 0, "it was read before it was on record");
    assert_eq!(rig.watch.open(), 0, "the place is free again");
}

#[tokio::test]
async fn who_may_not_does_not_reach_the_recorder() {
    let rig = rig().await;
    let (_session, id) = live(&rig, "alice").await;
    rig.add(
        "bot",
        Actor::new(PrincipalKind::Agent, "bot", &["approvers"]),
        vec![],
    );
    rig.add(
        "ci",
        Actor::new(PrincipalKind::Workload, "ci", &["approvers"]),
        vec![],
    );
    // As in the default bundle: people of one group only.
    rig.policy(|q| {
        let who = &q.principal.actor;
        let is_watch = q.accesses.iter().all(|a| a.action == Action::SessionWatch);
        is_watch && who.kind == PrincipalKind::User && who.groups.iter().any(|g| &**g == "security")
    });
    let absent = uuid::Uuid::now_v7().to_string();
    for token in ["alice", "bob", "erin", "bot", "ci"] {
        let mut bodies = Vec::new();
        for id in [&id, &absent] {
            let mut shown = watch(&rig, token, id).await;
            assert_eq!(shown.status, StatusCode::FORBIDDEN, "{token}");
            bodies.push(shown.piece().await.unwrap());
        }
        assert_eq!(
            bodies[0], bodies[1],
            "{token} learns which sessions there are"
        );
    }
    assert_eq!(rig.watch.begun.load(Ordering::SeqCst), 0);
    assert_eq!(acts(&rig).len(), 10, "refusals are on record");
    assert!(acts(&rig).iter().all(|(_, result)| result.is_err()));
    // Whoever may is told that it is not there.
    assert_eq!(
        watch(&rig, "dave", &absent).await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        watch(&rig, "dave", "x'--").await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(watch(&rig, "dave", &id).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_session_that_is_over_is_not_watched() {
    let rig = rig().await;
    let (session, id) = live(&rig, "alice").await;
    drop(session);
    assert_eq!(watch(&rig, "dave", &id).await.status, StatusCode::NOT_FOUND);
    assert_eq!(rig.watch.begun.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn it_ends_with_permission_token_and_weir() {
    for why in ["policy", "token", "stopping"] {
        let rig = rig().await;
        let (_session, id) = live(&rig, "alice").await;
        let source = rig.watch.prepare();
        source.send(one("select 1")).await.unwrap();
        let mut shown = watch(&rig, "dave", &id).await;
        assert!(shown.next().await.unwrap().contains("select 1"));
        match why {
            "policy" => rig.policy(|q| q.accesses.iter().all(|a| a.action != Action::SessionWatch)),
            "token" => rig.clock.advance(Duration::from_secs(40_000)),
            _ => {
                let (control, mut shown) = (rig.control.clone(), shown);
                let (over, ()) = tokio::join!(shown.over(), control.shutdown());
                assert_eq!(over, why);
                continue;
            }
        }
        // It was there before anybody had looked again.
        source.send(one("no longer for dave")).await.unwrap();
        let last = shown.next().await.unwrap();
        assert!(!last.contains("for dave"), "{last}");
        assert!(last.contains(&format!("\"over\":{why:?}")), "{last}");
        assert_eq!(shown.next().await, None);
        eventually("the place to be free", || rig.watch.open() == 0).await;
    }
}

/// A policy about a target holds for whoever watches what is done there.
#[tokio::test]
async fn policy_is_asked_about_the_sessions_target() {
    let rig = rig().await;
    let (session, id) = live(&rig, "alice").await;
    let target = session.info().target.name.clone();
    rig.watch.prepare();
    rig.policy(move |q| {
        let there = |a: &pipeline::Access| a.target.as_ref().is_some_and(|t| t.name == target);
        q.accesses
            .iter()
            .all(|a| a.action != Action::SessionWatch || !there(a))
    });
    let shown = watch(&rig, "dave", &id).await;
    assert_ne!(shown.status, StatusCode::OK);
    assert_eq!(rig.watch.open(), 0);
}

/// What waits when permission ends is one piece, and it was looked at before.
#[tokio::test]
async fn nothing_is_fetched_for_a_watcher_who_has_no_room() {
    let rig = rig().await;
    let (_session, id) = live(&rig, "alice").await;
    let source = rig.watch.prepare();
    let mut shown = watch(&rig, "dave", &id).await;
    source.send(one("select 1")).await.unwrap();
    // The room is taken, by a record or a sign of life, and nothing is read.
    tokio::time::sleep(Duration::from_millis(300)).await;
    source.send(one("select 2")).await.unwrap();
    rig.policy(|q| q.accesses.iter().all(|a| a.action != Action::SessionWatch));
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut all = String::new();
    while let Some(piece) = shown.next().await {
        all += &piece;
    }
    assert!(!all.contains("select 2"), "{all}");
    assert!(all.contains("\"over\":\"policy\""), "{all}");
}

/// Its place is free again at once, although the session has nothing to say.
#[tokio::test]
async fn who_goes_away_frees_the_place() {
    let rig = rig().await;
    let (_session, id) = live(&rig, "alice").await;
    let _quiet = rig.watch.prepare();
    let mut shown = watch(&rig, "dave", &id).await;
    assert!(is_alive(&shown.piece().await.unwrap()));
    assert_eq!(rig.watch.open(), 1);
    drop(shown);
    eventually("the place to be free", || rig.watch.open() == 0).await;
    eventually("the end to be on record", || acts(&rig).len() == 2).await;
    let ended = acts(&rig)[1].1.clone().unwrap();
    assert!(
        ended.contains("after 0 records: whoever watched has gone"),
        "{ended}"
    );
}

/// A watcher that takes nothing keeps a piece or two waiting here, not all that there is.
#[tokio::test]
async fn who_does_not_read_holds_little() {
    let rig = rig().await;
    let (_session, id) = live(&rig, "alice").await;
    let source = rig.watch.prepare();
    for n in 0..100 {
        source.send(one(&format!("select {n}"))).await.unwrap();
    }
    let shown = watch(&rig, "dave", &id).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(
        (1..=2).contains(&rig.watch.taken()),
        "{}",
        rig.watch.taken()
    );
    drop(shown);
    eventually("the place to be free", || rig.watch.open() == 0).await;
}

#[tokio::test]
async fn nobody_takes_all_places() {
    let rig = rig().await;
    let mut sessions = Vec::new();
    for _ in 0..5 {
        sessions.push(live(&rig, "alice").await);
    }
    let (mut sources, mut held) = (Vec::new(), Vec::new());
    // Two of each session, and eight in all.
    for (_, id) in &sessions[..4] {
        for _ in 0..2 {
            sources.push(rig.watch.prepare());
            held.push(watch(&rig, "dave", id).await);
        }
    }
    assert!(held.iter().all(|shown| shown.status == StatusCode::OK));
    let id = sessions[4].1.clone();
    // Whoever has the most, and how many more they get.
    for (who, free, why) in [
        ("dave", 0, "you watch 8 times"),
        ("carol", 2, "you watch this session 2 times"),
        ("bob", 2, "you watch this session 2 times"),
    ] {
        for _ in 0..free {
            sources.push(rig.watch.prepare());
            held.push(watch(&rig, who, &id).await);
            assert_eq!(held.last().unwrap().status, StatusCode::OK, "{who}");
        }
        let more = watch(&rig, who, &id).await;
        assert_eq!(more.status, StatusCode::TOO_MANY_REQUESTS, "{who}");
        let last = acts(&rig).pop().unwrap().1.unwrap_err();
        assert!(last.contains(why), "the refusal is on record: {last}");
    }
    held.clear();
    eventually("the places to be free", || rig.watch.open() == 0).await;
    sources.push(rig.watch.prepare());
    assert_eq!(watch(&rig, "dave", &id).await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_the_recorder_refuses_is_on_record() {
    let rig = rig().await;
    let (_session, id) = live(&rig, "alice").await;
    let full = ApiError::too_many("4 people watch this session already");
    *rig.watch.refuses.lock() = Some(full);
    let shown = watch(&rig, "dave", &id).await;
    assert_eq!(shown.status, StatusCode::TOO_MANY_REQUESTS);
    let acts = acts(&rig);
    assert_eq!(acts.len(), 1);
    assert!(acts[0].1.clone().unwrap_err().contains("4 people"));
}
