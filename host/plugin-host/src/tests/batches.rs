//! Masking plans and batches of well-behaved maskers.

use pipeline::mask::{MaskAction, MaskColumn, MaskPlan};
use pipeline::ports::Hooks;

use super::{Host, batch, session, text_column};

#[tokio::test]
async fn plans_are_joined() {
    let host = Host::evil("last-only").await.with("all", "evil", &[]).await;
    let columns = [text_column("a"), text_column("b")];
    let plan = host.plugins.mask_plan(&session(), &columns).await;
    assert_eq!(
        plan.actions,
        [
            vec![MaskAction::Null, MaskAction::Inspect],
            vec![MaskAction::Inspect]
        ]
    );
    assert_eq!(plan.plugins.len(), 2);
    let names: Vec<_> = plan.plugins.iter().map(|p| &*p.name).collect();
    assert_eq!(names, ["evil", "all"]);
}

#[tokio::test]
async fn what_must_be_masked_is() {
    let columns = [
        MaskColumn {
            must_mask: true,
            ..text_column("secret")
        },
        text_column("open"),
    ];
    for mode in ["pass", "", "steal"] {
        let host = Host::evil(mode).await;
        let plan = host.plugins.mask_plan(&session(), &columns).await;
        assert!(plan.actions[0].iter().any(MaskAction::hides), "{mode:?}");
        assert!(!plan.actions[1].iter().any(MaskAction::hides), "{mode:?}");
        assert!(!plan.inspects(0), "{mode:?}");
    }
}

/// What it saw of a hidden column it could write into one that everybody sees.
#[tokio::test]
async fn values_that_must_be_masked_are_not_shown_to_maskers() {
    let host = Host::evil("steal").await;
    let session = session();
    let columns = [
        MaskColumn {
            must_mask: true,
            ..text_column("secret")
        },
        text_column("open"),
    ];
    let plan = host.plugins.mask_plan(&session, &columns).await;
    let sneaked = batch(&[("secret", 0), ("open", 1)]);
    let refused = host.plugins.mask_batch(&session, &plan, sneaked).await;
    assert!(refused.is_err(), "nobody planned to inspect column 0");
    let edits = host
        .plugins
        .mask_batch(&session, &plan, batch(&[("open", 1)]))
        .await
        .unwrap();
    assert_eq!(edits.data, b"open");
}

/// What the host does itself comes before what plugins see, whoever asked first.
#[tokio::test]
async fn native_actions_come_first() {
    let host = Host::evil("")
        .await
        .with("keep", "evil", &[("mode", "keep-all")])
        .await;
    let plan = host
        .plugins
        .mask_plan(&session(), &[text_column("a")])
        .await;
    assert_eq!(
        plan.actions,
        [vec![MaskAction::KeepFirst(255), MaskAction::Inspect]]
    );
}

#[tokio::test]
async fn batches_reach_the_plugins_that_planned_them() {
    let host = Host::evil("last-only").await;
    let session = session();
    let columns = [text_column("a"), text_column("b")];
    let plan = host.plugins.mask_plan(&session, &columns).await;
    // Replaced and removed in the middle of a result: the plan still knows its plugin.
    host.add("evil", "evil", &[("mode", "batch-trap")])
        .await
        .unwrap();
    assert_eq!(host.plugins.remove("evil"), Ok(true));
    let values = batch(&[("", 1), ("four", 1)]);
    let edits = host
        .plugins
        .mask_batch(&session, &plan, values)
        .await
        .unwrap();
    assert_eq!(edits.indexes, [0, 1]);
    assert_eq!(edits.data, b"1:01:4");
    assert_eq!(edits.ends, [3, 6]);
    assert!(host.events.take().is_empty());
}

#[tokio::test]
async fn values_nobody_planned_for_are_refused() {
    let host = Host::evil("last-only").await;
    let session = session();
    let plan = host
        .plugins
        .mask_plan(&session, &[text_column("a"), text_column("b")])
        .await;
    for values in [batch(&[("x", 0)]), batch(&[("y", 1), ("x", 2)])] {
        assert!(
            host.plugins
                .mask_batch(&session, &plan, values)
                .await
                .is_err()
        );
    }
    let foreign = MaskPlan {
        token: Some(std::sync::Arc::new("not ours")),
        ..plan.clone()
    };
    let values = batch(&[("x", 1)]);
    assert!(
        host.plugins
            .mask_batch(&session, &foreign, values)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn maskers_are_chained() {
    let host = Host::evil("null-first")
        .await
        .with("second", "evil", &[])
        .await;
    let session = session();
    let plan = host.plugins.mask_plan(&session, &[text_column("a")]).await;
    let values = batch(&[("one", 0), ("three", 0)]);
    let edits = host
        .plugins
        .mask_batch(&session, &plan, values)
        .await
        .unwrap();
    assert_eq!(
        edits.nulls,
        [0],
        "the second masker cannot bring a value back"
    );
    assert_eq!(
        (edits.indexes.as_slice(), edits.data.as_slice()),
        ([1].as_slice(), b"0:5".as_slice())
    );
}

#[tokio::test]
async fn plans_are_remembered_until_the_set_changes() {
    let host = Host::evil("").await;
    let session = session();
    let columns = [text_column("a")];
    let first = host.plugins.mask_plan(&session, &columns).await;
    let again = host.plugins.mask_plan(&session, &columns).await;
    let same = |a: &MaskPlan, b: &MaskPlan| {
        let (a, b) = (a.token.as_ref().unwrap(), b.token.as_ref().unwrap());
        std::sync::Arc::ptr_eq(a, b)
    };
    assert!(same(&first, &again));
    let other_session = host.plugins.mask_plan(&super::session(), &columns).await;
    assert!(!same(&first, &other_session));
    host.add("evil", "evil", &[("mode", "pass")]).await.unwrap();
    let changed = host.plugins.mask_plan(&session, &columns).await;
    assert_eq!(changed.actions, [vec![]]);
}

#[tokio::test]
async fn large_batches() {
    let host = Host::evil("").await;
    let session = session();
    let plan = host.plugins.mask_plan(&session, &[text_column("a")]).await;
    let big = "x".repeat(4 << 20);
    let edits = host
        .plugins
        .mask_batch(&session, &plan, batch(&[(&big, 0)]))
        .await
        .unwrap();
    assert_eq!(edits.data, format!("0:{}", 4 << 20).into_bytes());
    let too_big = "x".repeat(9 << 20);
    let values = batch(&[(&too_big, 0)]);
    assert!(
        host.plugins
            .mask_batch(&session, &plan, values)
            .await
            .is_err()
    );
}
