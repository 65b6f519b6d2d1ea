//! The suite that every store must pass. Failures panic, as tests do.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio_util::task::TaskTracker;
use uuid::Uuid;
use weir_client::{
    BundleRef, BundleState, BundleSummary, PluginChangeKind, PluginSummary, Risk,
    SshCredentialKind, Statement, TargetInfo, VoteKind,
};

use super::{
    Ballot, BundleRow, HoldDocument, HoldLimits, HoldRecord, HoldState, Kept, Millis, NewBundle,
    NoticeKind, Opened, PluginChangeRow, PluginRow, RevocationRow, RouteRecord, SessionQuery,
    SessionRow, SessionWrite, Store,
};

mod holds;
mod ssh;
mod ssh_tokens;

/// Gives the suite stores to try.
#[async_trait]
pub trait Maker: Send + Sync {
    /// An empty store, for the suite alone.
    async fn make(&self) -> Arc<dyn Store>;
}

/// Runs every check, each on a store of its own.
pub async fn run(maker: &dyn Maker) {
    holds::holds_open_within_limits(&*maker.make().await).await;
    holds::what_is_kept_of_holds_is_bounded(&*maker.make().await).await;
    holds::ended_holds_shrink(&*maker.make().await).await;
    holds::an_erased_session_is_forgotten(&*maker.make().await).await;
    holds::holds_are_listed(&*maker.make().await).await;
    holds::votes_add_up(&*maker.make().await).await;
    holds::an_approval_is_taken_once(maker.make().await).await;
    holds::a_vote_against_an_end(maker.make().await).await;
    holds::holds_expire(&*maker.make().await).await;
    holds::a_new_process_ends_what_was_open(&*maker.make().await).await;
    bundles_one_is_active(&*maker.make().await).await;
    activation_is_all_or_nothing(maker.make().await).await;
    plugins_are_kept(&*maker.make().await).await;
    sessions_are_kept(&*maker.make().await).await;
    notices_wait_for_delivery(&*maker.make().await).await;
    old_rows_are_forgotten(&*maker.make().await).await;
    revocations_are_kept(&*maker.make().await).await;
    ssh::registered_keys_are_one_persons(&*maker.make().await).await;
    ssh::what_is_revoked_is_registered_no_more(&*maker.make().await).await;
    ssh::what_goes_with_a_certificate_is_found(&*maker.make().await).await;
    let tokens = maker.make().await;
    ssh_tokens::short_tokens_are_found_by_their_hash_and_bounded(&*tokens).await;
    ssh_tokens::single_short_tokens_are_found_and_go(&*maker.make().await).await;
    ssh::nobody_uses_up_what_is_known_of_certificates(&*maker.make().await).await;
    ssh::a_host_is_known_by_one_key(&*maker.make().await).await;
}

const NOW: Millis = 1_800_000_000_000;
const PRINT: [u8; 32] = [7; 32];
const LIMITS: HoldLimits = HoldLimits {
    total: 100,
    per_principal: 100,
    kept: PLENTY,
    kept_per_principal: PLENTY,
};
const PLENTY: Kept = Kept {
    rows: 1_000,
    bytes: 1 << 30,
};

fn hold(principal: &str, rules: &[(&str, u32)]) -> HoldRecord {
    let routes = rules
        .iter()
        .map(|(rule, required)| RouteRecord {
            rule: (*rule).into(),
            approvers: vec!["approvers".into()],
            required: *required,
            channels: vec![],
            title: String::new(),
            body_markdown: String::new(),
        })
        .collect();
    HoldRecord {
        id: Uuid::now_v7().to_string(),
        opened_at: NOW,
        expires_at: NOW + 60_000,
        principal: principal.into(),
        involved: vec![principal.into()],
        fingerprint: PRINT,
        document: HoldDocument {
            session: "s".into(),
            seq: 1,
            chain: vec![],
            issuer: "i".into(),
            source: "192.0.2.1".into(),
            target: TargetInfo {
                name: "orders".into(),
                protocol: "postgres".into(),
                env: "prod".into(),
                tags: BTreeMap::new(),
            },
            database: "shop".into(),
            reason: "r".into(),
            statement: Statement {
                runs: Vec::new(),
                kind: "update".into(),
                // What would end a literal must come back as it went in.
                text: "UPDATE t SET a = 'x''); DROP TABLE holds; --' \u{1F600}".into(),
                truncated: false,
                reads: vec![],
                writes: vec![],
                functions: vec![],
                computes: vec![],
                has_where: true,
                parsed: true,
                opaque: vec![],
            },
            impact: None,
            parameters: vec![],
            risk: Risk::default(),
            bundle: BundleRef {
                name: "b".into(),
                version: 1,
                digest: "d".into(),
            },
            routes,
        },
        announce: true,
    }
}

fn ballot(hold: &str, voter: &str, kind: VoteKind, rules: &[&str]) -> Ballot {
    Ballot {
        hold: hold.into(),
        voter: voter.into(),
        kind,
        reason: "because".into(),
        rules: rules.iter().map(|r| (*r).to_owned()).collect(),
        at: NOW + 1,
    }
}

async fn opened(store: &dyn Store, record: HoldRecord) -> String {
    let id = record.id.clone();
    assert_eq!(store.open_hold(record, LIMITS).await.unwrap(), Opened::Yes);
    id
}

async fn state(store: &dyn Store, id: &str) -> HoldState {
    store.hold(id).await.unwrap().unwrap().state
}

fn bundle(author: Option<&str>) -> NewBundle {
    NewBundle {
        files: BTreeMap::from([("a.cedar".to_owned(), "text '\u{0}\"".to_owned())]),
        summary: BundleSummary {
            name: "b".into(),
            digest: "d".into(),
            policies: 1,
            approval_rules: vec!["one".into()],
            label_rules: 0,
            tests: 0,
        },
        author: author.map(str::to_owned),
        involved: author.map(str::to_owned).into_iter().collect(),
        note: "n".into(),
        at: NOW,
    }
}

/// Holds of the session `one` with zebras in them, one of which has ended.
#[cfg(test)]
pub(crate) async fn zebras(store: &dyn Store) {
    for ends in [true, false] {
        let mut record = hold("a", &[("one", 1)]);
        record.document.session = "one".into();
        record.document.statement.text = "zebra ".repeat(10_000);
        let id = opened(store, record).await;
        let vote = Ballot {
            reason: "zebra, says who decides".into(),
            ..ballot(&id, "x", VoteKind::Deny, &["one"])
        };
        if ends {
            store.vote(vote).await.unwrap();
        }
    }
    let row = session("one");
    let ended = SessionWrite::Ended {
        id: row.id.clone(),
        at: NOW + 2,
        end: "the server said zebra".into(),
    };
    let writes = vec![SessionWrite::Started(Box::new(row)), ended];
    store.write_sessions(writes).await.unwrap();
}

async fn staged(store: &dyn Store, author: &str) -> BundleRow {
    let row = store.stage_bundle(bundle(Some(author)), 10).await.unwrap();
    row.unwrap()
}

/// Stages and activates one; gives its version.
#[cfg(test)]
pub(crate) async fn an_active_bundle(store: &dyn Store) -> u64 {
    let version = staged(store, "a").await.version;
    let done = store.activate_bundle(version, None, "x", NOW).await;
    assert!(done.unwrap());
    version
}

async fn bundles_one_is_active(store: &dyn Store) {
    assert!(store.active_bundle().await.unwrap().is_none());
    assert!(store.previous_bundle().await.unwrap().is_none());
    let one = staged(store, "a").await;
    let two = staged(store, "b").await;
    assert!(two.version > one.version);
    assert_eq!(one.state, BundleState::Staged);
    let full = store.stage_bundle(bundle(None), 2).await.unwrap();
    assert!(full.is_none(), "too many are staged");
    let activate = async |version, expected| {
        let done = store.activate_bundle(version, expected, "x", NOW + 5).await;
        done.unwrap()
    };
    assert!(
        !activate(one.version, Some(two.version)).await,
        "none is active yet"
    );
    assert!(activate(one.version, None).await);
    assert!(!activate(two.version, None).await, "another is active");
    assert!(activate(two.version, Some(one.version)).await);
    let active = store.active_bundle().await.unwrap().unwrap();
    assert_eq!(
        (active.version, active.activated_by.as_deref()),
        (two.version, Some("x"))
    );
    let previous = store.previous_bundle().await.unwrap().unwrap();
    assert_eq!(
        (previous.version, previous.state),
        (one.version, BundleState::Retired)
    );
    assert!(
        activate(one.version, Some(two.version)).await,
        "rolling back"
    );
    let previous = store.previous_bundle().await.unwrap().unwrap();
    assert_eq!(previous.version, two.version);
    assert!(!activate(999, Some(one.version)).await);
    let active = store.active_bundle().await.unwrap().unwrap();
    assert_eq!(
        active.version, one.version,
        "an unknown version retired the active one"
    );
    let versions: Vec<u64> = store
        .bundles(None, 10)
        .await
        .unwrap()
        .into_iter()
        .map(|b| b.version)
        .collect();
    assert_eq!(versions, [two.version, one.version]);
    assert_eq!(store.bundles(Some(two.version), 10).await.unwrap().len(), 1);
    let files = store.bundle_files(one.version).await.unwrap().unwrap();
    assert_eq!(files, bundle(None).files);
    assert!(store.bundle(999).await.unwrap().is_none());
    assert!(store.bundle_files(999).await.unwrap().is_none());
}

async fn activation_is_all_or_nothing(store: Arc<dyn Store>) {
    let first = staged(&*store, "a").await.version;
    store.activate_bundle(first, None, "x", NOW).await.unwrap();
    let tasks = TaskTracker::new();
    let mut racers = Vec::new();
    for _ in 0..6 {
        let version = staged(&*store, "a").await.version;
        let store = store.clone();
        racers.push(tasks.spawn(async move {
            let done = store.activate_bundle(version, Some(first), "x", NOW).await;
            done.unwrap()
        }));
    }
    let mut won = 0;
    for racer in racers {
        won += usize::from(racer.await.unwrap());
    }
    assert_eq!(won, 1);
    let all = store.bundles(None, 50).await.unwrap();
    let active = all.iter().filter(|b| b.state == BundleState::Active);
    assert_eq!(active.count(), 1);
}

async fn plugins_are_kept(store: &dyn Store) {
    let plugin = |name: &str, by: &str| PluginRow {
        summary: PluginSummary {
            name: name.into(),
            version: "1".into(),
            digest: "d".into(),
            capabilities: vec!["masker".into()],
        },
        size: 3,
        config: BTreeMap::from([("k".to_owned(), "v".to_owned())]),
        uploaded_by: by.into(),
        uploaded_at: NOW,
        confirmed_by: None,
    };
    let bytes = Bytes::from_static(b"\0\xff'");
    let add = async |name: &str, by: &str, bytes: &Bytes| {
        let added = store.add_plugin(plugin(name, by), bytes.clone()).await;
        added.unwrap()
    };
    assert!(add("b", "x", &Bytes::new()).await);
    assert!(add("a", "y", &bytes).await);
    assert!(!add("a", "x", &Bytes::new()).await, "the name is taken");
    assert_eq!(store.plugin("a").await.unwrap(), Some(plugin("a", "y")));
    assert_eq!(
        store.plugin_component("a").await.unwrap(),
        Some(bytes.clone())
    );
    let all = store.plugins().await.unwrap();
    assert_eq!(all, [plugin("a", "y"), plugin("b", "x")]);

    // Changes wait, one for each plugin, and are done once and only to what they were asked for.
    let change = |id: &str, name: &str, kind, replaces: String| PluginChangeRow {
        id: id.into(),
        kind,
        summary: plugin(name, "z").summary,
        size: 1,
        config: BTreeMap::new(),
        replaces,
        author: "z".into(),
        involved: vec!["z".into(), "owner".into()],
        created_at: NOW,
        expires_at: NOW + 100,
    };
    let edition = plugin("a", "y").edition();
    let stage = async |change: PluginChangeRow, max| {
        let staged = store.stage_plugin(change, Bytes::from_static(b"new"), max);
        staged.await.unwrap()
    };
    use PluginChangeKind::{Put, Remove};
    let put = change("1", "a", Put, edition.clone());
    assert!(stage(put.clone(), 1).await);
    assert!(
        !stage(change("2", "b", Remove, String::new()), 1).await,
        "full"
    );
    assert_eq!(store.plugin_changes().await.unwrap(), [put]);
    assert!(stage(change("3", "a", Put, edition.clone()), 1).await);
    let apply = async |id: &str, at| store.apply_plugin_change(id, "w", at).await.unwrap();
    assert!(!apply("1", NOW + 1).await, "another took its place");
    assert!(!apply("3", NOW + 100).await, "overdue");
    let component = store.plugin_change_component("3").await.unwrap();
    assert_eq!(component.as_deref(), Some(&b"new"[..]));
    assert!(apply("3", NOW + 1).await);
    assert!(!apply("3", NOW + 1).await, "twice");
    let row = store.plugin("a").await.unwrap().unwrap();
    assert_eq!((row.uploaded_by.as_str(), row.uploaded_at), ("z", NOW + 1));
    assert_eq!(row.confirmed_by.as_deref(), Some("w"));
    let component = store.plugin_component("a").await.unwrap();
    assert_eq!(component.as_deref(), Some(&b"new"[..]));
    assert!(stage(change("4", "a", Remove, edition), 1).await);
    assert!(!apply("4", NOW + 1).await, "it is another one by now");
    assert!(stage(change("5", "a", Remove, row.edition()), 1).await);
    assert!(apply("5", NOW + 1).await);
    assert!(store.plugin("a").await.unwrap().is_none());
    assert!(store.plugin_component("a").await.unwrap().is_none());
    assert!(stage(change("6", "c", Put, String::new()), 1).await);
    store.sweep(NOW + 100, NOW).await.unwrap();
    assert!(store.plugin_changes().await.unwrap().is_empty());
}

fn session(id: &str) -> SessionRow {
    SessionRow {
        id: id.into(),
        kind: "User".into(),
        principal: "a".into(),
        owner: "a".into(),
        target: "orders".into(),
        protocol: "postgres".into(),
        database: "shop".into(),
        source: "192.0.2.1".into(),
        application: "psql".into(),
        started_at: NOW,
        ended_at: None,
        end: None,
    }
}

async fn sessions_are_kept(store: &dyn Store) {
    let ended = |id: &str, end: &str| SessionWrite::Ended {
        id: id.into(),
        at: NOW + 9,
        end: end.into(),
    };
    let started = |id: &str| SessionWrite::Started(Box::new(session(id)));
    let writes = vec![
        started("1"),
        started("2"),
        started("2"),
        ended("1", "first"),
    ];
    store.write_sessions(writes).await.unwrap();
    let more = vec![ended("1", "second"), ended("unknown", "x")];
    store.write_sessions(more).await.unwrap();
    let row = store.session("1").await.unwrap().unwrap();
    assert_eq!(
        (row.end.as_deref(), row.ended_at),
        (Some("first"), Some(NOW + 9))
    );
    assert!(store.session("unknown").await.unwrap().is_none());
    let list = async |live, before: Option<&str>| -> Vec<String> {
        let query = SessionQuery {
            live,
            before: before.map(str::to_owned),
            limit: 10,
        };
        let rows = store.sessions(query).await.unwrap();
        rows.into_iter().map(|row| row.id).collect()
    };
    assert_eq!(list(None, None).await, ["2", "1"]);
    assert_eq!(list(Some(true), None).await, ["2"]);
    assert_eq!(list(Some(false), None).await, ["1"]);
    assert_eq!(list(None, Some("2")).await, ["1"]);
}

async fn notices_wait_for_delivery(store: &dyn Store) {
    let quiet = HoldRecord {
        announce: false,
        ..hold("a", &[("one", 1)])
    };
    let quiet = opened(store, quiet).await;
    store.abandon_hold(&quiet, NOW).await.unwrap();
    assert!(store.due_notices(NOW + 99, 10).await.unwrap().is_empty());

    let id = opened(store, hold("a", &[("one", 1)])).await;
    let due = store.due_notices(NOW, 10).await.unwrap();
    assert_eq!(due.len(), 1);
    assert_eq!((due[0].kind, due[0].attempts), (NoticeKind::Opened, 0));
    assert_eq!(due[0].hold.record.id, id);
    let first = due[0].id.clone();
    store
        .notice_failed(&first, Some(NOW + 50), "503")
        .await
        .unwrap();
    assert!(store.due_notices(NOW + 49, 10).await.unwrap().is_empty());
    let due = store.due_notices(NOW + 50, 10).await.unwrap();
    assert_eq!((due[0].id.as_str(), due[0].attempts), (first.as_str(), 1));
    store
        .vote(ballot(&id, "x", VoteKind::Approve, &["one"]))
        .await
        .unwrap();
    // That it was taken is not announced again, nor that it was dropped afterwards.
    store.settle_hold(&id, PRINT, NOW + 2).await.unwrap();
    store.abandon_hold(&id, NOW + 3).await.unwrap();
    let due = store.due_notices(NOW + 99, 10).await.unwrap();
    assert_eq!(due.len(), 2, "oldest first");
    assert_eq!(due[0].id, first);
    assert_eq!(due[1].kind, NoticeKind::Decided(HoldState::Approved));
    store.notice_delivered(&due[1].id).await.unwrap();
    store.notice_failed(&first, None, "gone").await.unwrap();
    assert!(
        store
            .due_notices(Millis::MAX >> 1, 10)
            .await
            .unwrap()
            .is_empty()
    );
}

async fn old_rows_are_forgotten(store: &dyn Store) {
    let open = opened(store, hold("a", &[("one", 1)])).await;
    let denied = opened(store, hold("a", &[("one", 1)])).await;
    store
        .vote(ballot(&denied, "x", VoteKind::Deny, &["one"]))
        .await
        .unwrap();
    let one = staged(store, "a").await.version;
    let two = staged(store, "a").await.version;
    store.activate_bundle(one, None, "x", NOW).await.unwrap();
    let end = SessionWrite::Ended {
        id: "1".into(),
        at: NOW + 1,
        end: "e".into(),
    };
    let writes = vec![
        SessionWrite::Started(Box::new(session("1"))),
        SessionWrite::Started(Box::new(session("2"))),
        end,
    ];
    store.write_sessions(writes).await.unwrap();
    store.sweep(NOW + 2, NOW).await.unwrap();
    assert!(store.hold(&denied).await.unwrap().is_some(), "too early");
    store.sweep(NOW + 2, NOW + 100_000).await.unwrap();
    assert!(store.hold(&denied).await.unwrap().is_none());
    assert!(
        store.hold(&open).await.unwrap().is_some(),
        "somebody waits for it"
    );
    assert!(
        store.bundle(two).await.unwrap().is_none(),
        "nobody activated it"
    );
    assert!(store.bundle(one).await.unwrap().is_some(), "it is active");
    assert!(store.session("1").await.unwrap().is_none());
    assert!(store.session("2").await.unwrap().is_some(), "it is live");
}

async fn revocations_are_kept(store: &dyn Store) {
    let row = |id: &str, kind, ends_at| RevocationRow {
        id: id.into(),
        kind,
        value: "x'); DROP TABLE holds; --".into(),
        reason: "stolen".into(),
        by: "carol".into(),
        at: NOW,
        ends_at,
    };
    let rows = [
        row("4", SshCredentialKind::Subject, Some(NOW + 2)),
        row("3", SshCredentialKind::Key, None),
        row("2", SshCredentialKind::KeyId, Some(NOW + 3)),
        row("1", SshCredentialKind::Serial, Some(NOW + 1)),
    ];
    for row in rows.iter().rev() {
        let kept = store.add_ssh_revocation(row.clone(), 4).await.unwrap();
        assert_eq!(kept, Some(Default::default()));
    }
    let one_more = RevocationRow {
        value: "another".into(),
        ..row("5", SshCredentialKind::Serial, None)
    };
    let kept = store.add_ssh_revocation(one_more.clone(), 4).await.unwrap();
    assert_eq!(kept, None);
    assert_eq!(store.ssh_revocations().await.unwrap(), rows);
    // The same once more is not one more.
    let again = RevocationRow {
        at: NOW + 1,
        ..row("6", SshCredentialKind::Key, None)
    };
    let kept = store.add_ssh_revocation(again.clone(), 4).await.unwrap();
    assert_eq!(kept, Some(Default::default()));
    let rows = [again, rows[0].clone(), rows[2].clone()];
    assert_eq!(store.ssh_revocations().await.unwrap(), rows, "1 has ended");
    // What has ended makes room; what never ends stays, however old it is.
    store.sweep(NOW + 2, NOW + 100_000).await.unwrap();
    let left = store.ssh_revocations().await.unwrap();
    assert_eq!(left, [rows[0].clone(), rows[2].clone()]);
    let kept = store.add_ssh_revocation(one_more, 4).await.unwrap();
    assert!(kept.is_some());
}
