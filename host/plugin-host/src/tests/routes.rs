//! Routing: a plugin asks for more, never for less.

use std::sync::Arc;
use std::time::Duration;

use pipeline::ports::Hooks;
use pipeline::{ApprovalRule, Risk, Route};

use super::{Host, facts, session};

fn rule() -> ApprovalRule {
    ApprovalRule {
        name: "two-dbas".into(),
        approvers: vec!["dba".into(), "lead".into()],
        required: 2,
        ttl: Duration::from_secs(600),
        description: "Writes to production".into(),
    }
}

async fn route(host: &Host) -> Route {
    host.plugins
        .route(&session(), &facts(), &rule(), &Risk::default())
        .await
}

#[tokio::test]
async fn without_an_answer_the_rule_stands() {
    for host in [Host::new(), Host::evil("route-none").await] {
        let route = route(&host).await;
        assert_eq!(route.approvers, rule().approvers);
        assert_eq!((route.required, route.timeout), (2, rule().ttl));
        assert!(route.title.contains("agent:7"), "{}", route.title);
        assert!(host.events.take().is_empty());
    }
}

#[tokio::test]
async fn failures_leave_the_rule() {
    for (mode, kind) in [
        ("route-trap", "trap"),
        ("route-loop", "deadline"),
        ("route-alloc", "memory"),
        ("route-recurse", "stack"),
        ("route-error", "said"),
        ("stages", "answer"),
        ("no-stages", "answer"),
        ("huge-title", "answer"),
        ("many-channels", "answer"),
    ] {
        let host = Host::evil(mode).await;
        let route = route(&host).await;
        assert_ne!(route.title, "from evil", "{mode}");
        assert_eq!(
            (route.approvers, route.required),
            (rule().approvers, 2),
            "{mode}"
        );
        assert_eq!(host.events.kinds(), [kind], "{mode}");
    }
}

#[tokio::test]
async fn the_first_router_that_answers() {
    let host = Host::evil("route-none")
        .await
        .with("second", "evil", &[])
        .await;
    assert_eq!(route(&host).await.title, "from evil");
}

#[tokio::test]
async fn the_floor_holds() {
    for mode in ["nobody", "forever"] {
        let host = Host::evil(mode).await;
        let route = Route::at_least(&rule(), route(&host).await);
        assert_eq!(route.title, "from evil", "{mode}");
        assert_eq!(route.approvers, rule().approvers, "{mode}");
        assert_eq!(route.required, 2, "{mode}");
        assert!(route.timeout <= rule().ttl, "{mode}");
        assert_eq!(route.rule, Arc::from("two-dbas"));
    }
}
