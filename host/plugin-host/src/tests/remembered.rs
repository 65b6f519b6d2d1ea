//! Which answers of classifiers are used again, and what makes them worthless.

use std::sync::Arc;
use std::time::Duration;

use pipeline::ports::Hooks;
use pipeline::{Demand, Facts, SqlFacts};

use super::{Host, facts, select, session};

fn remembered(host: &Host) -> usize {
    host.plugins.set.load().risks.len()
}

#[tokio::test]
async fn the_same_question_is_asked_once() {
    let host = Host::evil("").await;
    let who = session();
    let first = host.plugins.classify(&who, &facts()).await;
    let again = host.plugins.classify(&who, &facts()).await;
    assert!(Arc::ptr_eq(&first, &again));
    // Anything about it is another question.
    for other in [
        SqlFacts {
            has_limit: true,
            ..select()
        },
        SqlFacts {
            writes: true,
            ..select()
        },
        SqlFacts {
            text: "SELECT id FROM orders WHERE id = 8".into(),
            ..select()
        },
        SqlFacts {
            functions: vec!["public.f".into()],
            ..select()
        },
    ] {
        let facts = Facts::Sql(Arc::new(other));
        let risk = host.plugins.classify(&who, &facts).await;
        assert!(!Arc::ptr_eq(&first, &risk), "{facts:?}");
    }
    let others = host.plugins.classify(&session(), &facts()).await;
    assert!(!Arc::ptr_eq(&first, &others), "another session");
}

/// Versions, configurations, further plugins, and plugins that go.
#[tokio::test]
async fn a_changed_plugin_is_asked_at_once() {
    let host = Host::evil("").await;
    let who = session();
    let ask = async || host.plugins.classify(&who, &facts()).await;
    assert_eq!((ask().await.score, remembered(&host)), (10, 1));
    host.add("evil", "evil", &[("mode", "refuse")])
        .await
        .unwrap();
    assert_eq!(ask().await.demands, [Demand::Refuse("no".into())]);
    host.add("evil", "evil", &[("mode", "")]).await.unwrap();
    assert_eq!(ask().await.demands, []);
    host.add("more", "evil", &[("mode", "escalate")])
        .await
        .unwrap();
    assert_eq!(ask().await.demands, [Demand::Escalate("dba".into())]);
    host.plugins.expect("gone");
    assert_eq!(ask().await.score, 100, "a required plugin is missing");
    assert_eq!(remembered(&host), 0);
    host.plugins.remove("gone").unwrap();
    host.plugins.remove("more").unwrap();
    host.plugins.remove("evil").unwrap();
    assert_eq!(ask().await.score, 0);
}

#[tokio::test]
async fn what_may_change_or_failed_is_not_remembered() {
    // It asks its store.
    let host = Host::evil("count").await;
    let who = session();
    for expect in [1, 2, 3] {
        let risk = host.plugins.classify(&who, &facts()).await;
        assert_eq!((risk.score, remembered(&host)), (expect, 0));
    }
    *host.clock.0.lock() += Duration::from_secs(61);
    let risk = host.plugins.classify(&who, &facts()).await;
    assert_eq!(risk.score, 1, "its counters expired");
    // It failed, which may pass.
    for mode in ["trap", "error"] {
        let host = Host::evil(mode).await;
        let risk = host.plugins.classify(&who, &facts()).await;
        assert_eq!((risk.score, remembered(&host)), (100, 0), "{mode}");
    }
    // What it runs by name stands in the facts, too; it is asked every time.
    let host = Host::evil("").await;
    let named = SqlFacts {
        runs: vec![pipeline::Named {
            name: "p".into(),
            text: "DELETE FROM orders".into(),
            parameters: Arc::new([]),
        }],
        ..select()
    };
    host.plugins
        .classify(&who, &Facts::Sql(Arc::new(named)))
        .await;
    assert_eq!(remembered(&host), 0);
}
