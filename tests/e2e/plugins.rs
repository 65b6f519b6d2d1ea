//! Plugins that misbehave: the host lives, and the result is the stricter one.

use std::time::{Duration, Instant};

use weir_tests::dataset::leaks;
use weir_tests::weir::Plugin;

use crate::shop::{ALICE, OLGA, Shop, shop_with};

fn with_evil(name: &str, mode: &str) -> Shop {
    let evil = Plugin::built("evil", &format!("mode = \"{mode}\""));
    shop_with(name, |_| {}, |setup| setup.plugins.push(evil))
}

/// How long a statement may take whose plugin never answers.
const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn a_classifier_that_fails_is_the_highest_risk() {
    for mode in ["trap", "loop", "alloc", "recurse", "huge-string"] {
        let mut shop = with_evil(&format!("classify-{mode}"), mode);
        let mark = format!("mark-classify-{mode}-93ab");
        let started = Instant::now();
        // Risk 100 makes the default bundle's guard.risky hold what a person asks for.
        let sql = format!("SELECT id FROM customers /* {mark} */");
        let psql = shop.psql(ALICE).spawn(&sql).unwrap();
        let hold = shop.weir.open_hold(&shop.token(OLGA)).unwrap();
        assert!(
            started.elapsed() < PATIENCE,
            "{mode} took {:?}",
            started.elapsed()
        );
        assert_eq!(hold["risk_score"], 100, "{mode}: {hold}");
        assert!(!shop.reached(&mark), "{mode}: forwarded");
        drop(psql);
        assert!(
            shop.weir.is_alive(),
            "{mode} took the host down:\n{}",
            shop.weir.log()
        );
    }
}

#[test]
fn a_masker_that_fails_redacts() {
    for mode in [
        "plan-trap",
        "plan-loop",
        "plan-alloc",
        "batch-trap",
        "batch-loop",
        "too-few",
        "index-out-of-range",
    ] {
        let mut shop = with_evil(&format!("mask-{mode}"), mode);
        let mut alice = shop.connect(ALICE);
        let started = Instant::now();
        let reply = alice
            .query("SELECT id, name, ssn FROM customers ORDER BY id")
            .unwrap();
        assert!(
            started.elapsed() < PATIENCE,
            "{mode} took {:?}",
            started.elapsed()
        );
        assert!(leaks(&reply.bytes()).is_none(), "{mode}: {reply:?}");
        // Everything is there but what it says: the number cannot be redacted, so it is absent.
        assert_eq!(reply.tags, ["SELECT 20"], "{mode}: {reply:?}");
        assert_eq!(reply.rows.len(), 20, "{mode}: {reply:?}");
        for row in 0..20 {
            let shown = [0, 1, 2].map(|column| reply.text(row, column));
            let redacted = Some("[redacted]".to_owned());
            assert_eq!(
                shown,
                [None, redacted.clone(), redacted],
                "{mode}: row {row}"
            );
        }
        assert_eq!(alice.query("SELECT 1").unwrap().error(), None, "{mode}");
        assert!(
            shop.weir.is_alive(),
            "{mode} took the host down:\n{}",
            shop.weir.log()
        );
    }
}

#[test]
fn a_router_that_fails_leaves_the_rules_own_route() {
    for mode in ["route-trap", "route-loop", "nobody", "forever"] {
        let shop = with_evil(&format!("route-{mode}"), mode);
        let psql = shop
            .psql(ALICE)
            .spawn("UPDATE accounts SET balance = 0 WHERE id = 1")
            .unwrap();
        let hold = shop.weir.open_hold(&shop.token(OLGA)).unwrap();
        let id = hold["id"].as_str().unwrap();
        let path = format!("/approvals/{id}");
        let detail = shop
            .weir
            .api(&shop.token(OLGA), "GET", &path, None)
            .unwrap()
            .ok()
            .unwrap();
        let route = &detail["routes"][0];
        assert!(route["required"].as_u64() >= Some(1), "{mode}: {detail}");
        assert_eq!(route["approvers"][0], "approvers", "{mode}: {detail}");
        drop(psql);
    }
}
