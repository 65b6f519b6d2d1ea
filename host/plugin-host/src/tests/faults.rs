//! Every way in which a plugin can fail ends in the strict outcome, and the host lives on.

use std::time::{Duration, Instant};

use pipeline::mask::MaskAction;
use pipeline::ports::Hooks;
use pipeline::{Demand, Risk};

use super::{Host, batch, facts, session, text_column};
use crate::Hook;

const FAULTS: &[(&str, &[&str])] = &[
    ("trap", &["trap"]),
    ("loop", &["deadline"]),
    ("log-loop", &["deadline"]),
    ("alloc", &["memory"]),
    ("recurse", &["stack"]),
    // The shadow stack lies at the start of memory: running over it is a read out of bounds.
    ("recurse-arrays", &["trap", "stack"]),
];

fn assert_failed(risk: &Risk, mode: &str) {
    assert_eq!(risk.score, 100, "{mode}");
    assert!(risk.labels.contains("plugin-failed"), "{mode}");
    assert_eq!(risk.plugins.len(), 1, "{mode}: the record names the plugin");
    assert_eq!(risk.plugins[0].digest.len(), 64);
}

/// A decent plugin works right after.
async fn assert_alive() {
    let host = Host::evil("").await;
    let risk = host.plugins.classify(&session(), &facts()).await;
    assert_eq!((risk.score, risk.labels.len()), (10, 0));
    assert!(host.events.take().is_empty());
}

#[tokio::test]
async fn classify() {
    for (mode, kinds) in FAULTS {
        let host = Host::evil(mode).await;
        let started = Instant::now();
        let risk = host.plugins.classify(&session(), &facts()).await;
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "{mode} took too long"
        );
        assert_failed(&risk, mode);
        let failures = host.events.take();
        assert_eq!(failures.len(), 1, "{mode}");
        assert!(
            kinds.contains(&failures[0].fault.kind()),
            "{mode}: {:?}",
            failures[0].fault
        );
        assert_eq!(failures[0].hook, Hook::Classify);
        assert_eq!(&*failures[0].plugin.name, "evil");
        assert_alive().await;
    }
}

#[tokio::test]
async fn classify_answers() {
    for (mode, kind) in [
        ("error", "said"),
        ("score-255", "answer"),
        ("huge-string", "answer"),
        ("huge-label", "answer"),
        ("many-labels", "answer"),
        ("many-findings", "answer"),
    ] {
        let host = Host::evil(mode).await;
        let risk = host.plugins.classify(&session(), &facts()).await;
        assert_failed(&risk, mode);
        assert!(
            risk.findings.iter().all(|f| f.message.len() < 4096),
            "{mode}"
        );
        assert_eq!(host.events.kinds(), [kind], "{mode}");
    }
}

#[tokio::test]
async fn classifiers_are_joined_and_none_can_grant() {
    let host = Host::new()
        .with("one", "evil", &[("mode", "refuse")])
        .await
        .with("two", "evil", &[("mode", "grant")])
        .await
        .with("three", "evil", &[("mode", "escalate")])
        .await;
    let risk = host.plugins.classify(&session(), &facts()).await;
    assert_eq!(risk.score, 10, "a score of 0 does not lower another's");
    assert_eq!(
        risk.demands,
        [Demand::Refuse("no".into()), Demand::Escalate("dba".into())],
        "a demand of none does not lift another's"
    );
    assert_eq!(risk.plugins.len(), 3);
    assert!(host.events.take().is_empty());

    host.add("two", "evil", &[("mode", "trap")]).await.unwrap();
    let risk = host.plugins.classify(&session(), &facts()).await;
    assert_eq!(
        (risk.score, risk.demands.len()),
        (100, 2),
        "one fails, the others still count"
    );
}

#[tokio::test]
async fn plans() {
    let columns = [text_column("a"), text_column("b")];
    let mut modes: Vec<(String, &str)> = FAULTS
        .iter()
        .map(|(mode, kinds)| (format!("plan-{mode}"), kinds[0]))
        .collect();
    for (mode, kind) in [
        ("plan-error", "said"),
        ("too-few", "answer"),
        ("too-many", "answer"),
        ("huge-redact", "answer"),
        ("many-detectors", "answer"),
        ("huge-state", "answer"),
    ] {
        modes.push((mode.into(), kind));
    }
    for (mode, kind) in modes {
        // A decent masker beside it does not save the columns.
        let host = Host::evil(&mode).await.with("decent", "evil", &[]).await;
        let plan = host.plugins.mask_plan(&session(), &columns).await;
        assert_eq!(plan.actions.len(), 2, "{mode}");
        let redacts = |a: &Vec<MaskAction>| matches!(a.as_slice(), [MaskAction::Redact(_)]);
        assert!(
            plan.actions.iter().all(redacts),
            "{mode}: {:?}",
            plan.actions
        );
        assert!(plan.token.is_none(), "{mode}");
        let kinds = host.events.kinds();
        assert_eq!(kinds, [kind], "{mode}");
    }
    assert_alive().await;
}

#[tokio::test]
async fn batches() {
    let columns = [text_column("a")];
    let mut modes: Vec<(String, &str)> = FAULTS
        .iter()
        .map(|(mode, kinds)| (format!("batch-{mode}"), kinds[0]))
        .collect();
    modes.push(("batch-error".into(), "said"));
    modes.push(("huge-edits".into(), "host"));
    for mode in [
        "index-out-of-range",
        "null-out-of-range",
        "descending",
        "twice",
        "null-twice",
        "both",
        "end-past-data",
        "ends-descend",
        "too-few-ends",
        "too-many-ends",
        "data-left-over",
        "end-max",
    ] {
        modes.push((mode.into(), "answer"));
    }
    for (mode, kind) in modes {
        let host = Host::evil(&mode).await;
        let session = session();
        let plan = host.plugins.mask_plan(&session, &columns).await;
        assert!(plan.inspects(0), "{mode}");
        let values = batch(&[("one", 0), ("two", 0)]);
        let edits = host.plugins.mask_batch(&session, &plan, values).await;
        assert_eq!(edits.unwrap_err().plugin, "evil", "{mode}");
        assert_eq!(host.events.kinds(), [kind], "{mode}");
    }
    assert_alive().await;
}

#[tokio::test]
async fn required_plugins_are_missed() {
    let host = Host::requiring(&["evil"]);
    let columns = [text_column("a")];
    let session = session();
    assert_eq!(host.plugins.missing().len(), 1);
    let risk = host.plugins.classify(&session, &facts()).await;
    assert_eq!(risk.score, 100);
    assert!(risk.labels.contains("plugin-failed"));
    assert!(host.plugins.mask_plan(&session, &columns).await.actions[0][0].hides());
    assert_eq!(host.events.kinds(), ["missing", "missing"]);

    host.add("evil", "evil", &[("mode", "pass")]).await.unwrap();
    assert!(host.plugins.missing().is_empty());
    assert_eq!(host.plugins.classify(&session, &facts()).await.score, 10);
    assert!(host.plugins.mask_plan(&session, &columns).await.actions[0].is_empty());

    assert_eq!(host.plugins.remove("evil"), Ok(true));
    assert_eq!(host.plugins.remove("evil"), Ok(false));
    assert_eq!(host.plugins.classify(&session, &facts()).await.score, 100);
}

/// One that was in force and cannot be loaded any more.
#[tokio::test]
async fn what_is_expected_is_missed_until_it_is_removed() {
    let host = Host::new();
    let session = session();
    host.plugins.expect("evil");
    assert_eq!(host.plugins.missing().len(), 1);
    assert_eq!(host.plugins.classify(&session, &facts()).await.score, 100);
    host.add("evil", "evil", &[("mode", "pass")]).await.unwrap();
    assert!(host.plugins.missing().is_empty());
    assert_eq!(host.plugins.remove("evil"), Ok(true));
    host.plugins.expect("evil");
    assert_eq!(host.plugins.remove("evil"), Ok(true), "it was expected");
    assert!(host.plugins.missing().is_empty());
    assert_eq!(host.plugins.remove("evil"), Ok(false));
}

#[tokio::test]
async fn without_plugins() {
    let host = Host::new();
    assert_eq!(
        host.plugins.classify(&session(), &facts()).await,
        Risk::default().into()
    );
    let plan = host
        .plugins
        .mask_plan(&session(), &[text_column("a")])
        .await;
    assert_eq!(plan.actions, [vec![]]);
    let edits = host
        .plugins
        .mask_batch(&session(), &plan, batch(&[("a", 0)]))
        .await;
    assert!(
        edits.is_err(),
        "values that nobody asked for are not waved through"
    );
}
