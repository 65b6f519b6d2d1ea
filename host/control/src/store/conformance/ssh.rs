//! Registered keys of SSH, and keys of hosts.

use weir_client::{SshCredentialKind, SshHostKeyState as State};

use super::NOW;
use crate::store::{
    CertificateRow, HostKeyRow, HostKeySight, HostKeyVerdict, KeyLimits, KeyPut, KeyRow,
    RevocationRow, Store, WentAlong,
};

const LIMITS: KeyLimits = KeyLimits {
    per_subject: 2,
    total: 3,
};

fn row(fingerprint: &str, subject: &str, expires_at: u64) -> KeyRow {
    KeyRow {
        fingerprint: fingerprint.into(),
        public_key: "ssh-ed25519 AAAA".into(),
        subject: subject.into(),
        name: "'); DROP TABLE ssh_keys; --".into(),
        token: None,
        kept: format!("{{\"{subject}\"}}"),
        registered_at: NOW,
        expires_at,
    }
}

async fn prints(store: &dyn Store, subject: Option<&str>) -> Vec<String> {
    let rows = store.ssh_keys(subject, 10).await.unwrap();
    rows.into_iter().map(|r| r.fingerprint).collect()
}

pub(super) async fn registered_keys_are_one_persons(store: &dyn Store) {
    let put = |row: KeyRow| store.put_ssh_key(row, LIMITS);
    let first = row("a", "alice", NOW + 10);
    assert_eq!(put(first.clone()).await.unwrap(), KeyPut::Yes);
    assert_eq!(store.ssh_keys(None, 10).await.unwrap(), [first]);
    // Nobody else's, and their own again.
    let theirs = put(row("a", "mallory", NOW + 99)).await;
    assert_eq!(theirs.unwrap(), KeyPut::SomebodyElses);
    let renewed = row("a", "alice", NOW + 20);
    assert_eq!(put(renewed.clone()).await.unwrap(), KeyPut::Yes);
    assert_eq!(store.ssh_keys(Some("alice"), 10).await.unwrap(), [renewed]);
    assert!(prints(store, Some("mallory")).await.is_empty());

    assert_eq!(put(row("b", "alice", NOW + 1)).await.unwrap(), KeyPut::Yes);
    let third = put(row("c", "alice", NOW + 5)).await.unwrap();
    assert_eq!(third, KeyPut::TooMany(2));
    // To renew is no further one.
    assert_eq!(put(row("b", "alice", NOW + 2)).await.unwrap(), KeyPut::Yes);
    assert_eq!(put(row("c", "bob", NOW + 5)).await.unwrap(), KeyPut::Yes);
    assert_eq!(
        put(row("d", "carol", NOW + 5)).await.unwrap(),
        KeyPut::Full(3)
    );
    assert_eq!(store.ssh_keys(None, 2).await.unwrap().len(), 2);

    // Only one's own are removed, and once.
    assert!(!store.remove_ssh_key("c", "alice").await.unwrap());
    assert!(store.remove_ssh_key("c", "bob").await.unwrap());
    assert!(!store.remove_ssh_key("c", "bob").await.unwrap());
    // What has ended takes no place, and is anybody's again.
    let later = KeyRow {
        registered_at: NOW + 2,
        ..row("b", "bob", NOW + 50)
    };
    assert_eq!(put(later).await.unwrap(), KeyPut::Yes);
    assert_eq!(prints(store, None).await, ["b", "a"]);
    store.sweep(NOW + 20, NOW).await.unwrap();
    assert_eq!(prints(store, None).await, ["b"]);
}

pub(super) async fn what_is_revoked_is_registered_no_more(store: &dyn Store) {
    for (print, subject) in [("a", "alice"), ("b", "alice"), ("c", "bob")] {
        let row = row(print, subject, NOW + 10);
        assert_eq!(store.put_ssh_key(row, LIMITS).await.unwrap(), KeyPut::Yes);
    }
    let revoke = |id: &str, kind, value: &str| {
        let row = RevocationRow {
            id: id.into(),
            kind,
            value: value.into(),
            reason: "stolen".into(),
            by: "carol".into(),
            at: NOW,
            ends_at: None,
        };
        store.add_ssh_revocation(row, 3)
    };
    let gone = |prints: &[&str]| {
        let keys = prints.iter().map(|p| (*p).to_owned()).collect();
        let tokens = Vec::new();
        Some(WentAlong { keys, tokens })
    };
    let done = revoke("1", SshCredentialKind::KeyId, "a").await.unwrap();
    assert_eq!(done, gone(&[]));
    let done = revoke("2", SshCredentialKind::Key, "c").await.unwrap();
    assert_eq!(done, gone(&["c"]));
    assert_eq!(prints(store, None).await, ["a", "b"]);
    let done = revoke("3", SshCredentialKind::Subject, "alice").await;
    let mut done = done.unwrap().unwrap();
    done.keys.sort();
    assert_eq!(Some(done), gone(&["a", "b"]));
    assert!(prints(store, None).await.is_empty());
    // What is not kept removes nothing.
    let row = row("d", "dora", NOW + 10);
    store.put_ssh_key(row, LIMITS).await.unwrap();
    let done = revoke("4", SshCredentialKind::Key, "d").await.unwrap();
    assert_eq!(done, None);
    assert_eq!(prints(store, None).await, ["d"]);
}

/// The key in it and what the same token registered, if they are the same person's; nothing else.
pub(super) async fn what_goes_with_a_certificate_is_found(store: &dyn Store) {
    let token = |jti: &str| (!jti.is_empty()).then(|| jti.to_owned());
    let limits = KeyLimits {
        per_subject: 9,
        total: 9,
    };
    for (print, subject, jti) in [
        ("its-own", "alice", "before"),
        ("same-token", "alice", "t1"),
        ("other-token", "alice", "t2"),
        ("no-token", "alice", ""),
        ("bobs", "bob", "t1"),
    ] {
        let row = KeyRow {
            token: token(jti),
            ..row(print, subject, NOW + 10)
        };
        assert_eq!(store.put_ssh_key(row, limits).await.unwrap(), KeyPut::Yes);
    }
    let keep = |serial: &str, print: &str, jti: &str, ends_at| {
        let row = CertificateRow {
            serial: serial.into(),
            key_id: format!("weir alice {serial}"),
            subject: "alice".into(),
            fingerprint: print.into(),
            token: token(jti),
            ends_at,
        };
        let limits = KeyLimits {
            per_subject: 4,
            total: 4,
        };
        store.keep_ssh_certificate(row, limits)
    };
    let revoke = async |id: &str, kind, value: &str| {
        let row = RevocationRow {
            id: id.into(),
            kind,
            value: value.into(),
            reason: "stolen".into(),
            by: "carol".into(),
            at: NOW,
            ends_at: None,
        };
        let gone = store.add_ssh_revocation(row, 9).await.unwrap();
        let mut gone = gone.unwrap().keys;
        gone.sort();
        gone
    };
    use SshCredentialKind::{KeyId, Serial};
    keep("s1", "its-own", "t1", NOW + 5).await.unwrap();
    keep("s2", "elsewhere", "", NOW + 6).await.unwrap();
    keep("s3", "bobs", "t2", NOW + 7).await.unwrap();
    assert!(revoke("1", Serial, "weir alice s1").await.is_empty());
    assert!(revoke("2", Serial, "s2").await.is_empty(), "of no token");
    assert_eq!(revoke("3", Serial, "s1").await, ["its-own", "same-token"]);
    assert!(revoke("4", Serial, "s1").await.is_empty());
    // Not what is somebody else's.
    assert_eq!(revoke("5", KeyId, "weir alice s3").await, ["other-token"]);
    let mut left = prints(store, None).await;
    left.sort();
    assert_eq!(left, ["bobs", "no-token"]);
    // What ends first makes room, and what has ended is forgotten.
    keep("s4", "no-token", "", NOW + 1).await.unwrap();
    keep("s5", "x", "", NOW + 8).await.unwrap();
    assert!(revoke("6", Serial, "s4").await.is_empty());
    keep("s6", "no-token", "", NOW + 9).await.unwrap();
    store.sweep(NOW + 9, NOW).await.unwrap();
    assert!(revoke("7", Serial, "s6").await.is_empty());
    assert_eq!(prints(store, None).await, ["bobs", "no-token"]);
}

/// One person's certificates take the place of their own, and of all those of whoever has most give way.
pub(super) async fn nobody_uses_up_what_is_known_of_certificates(store: &dyn Store) {
    let limits = KeyLimits {
        per_subject: 3,
        total: 5,
    };
    let keep = async |serial: &str, subject: &str, ends_at| {
        let row = CertificateRow {
            serial: serial.into(),
            key_id: format!("weir {serial}"),
            subject: subject.into(),
            fingerprint: format!("of {serial}"),
            token: None,
            ends_at,
        };
        store.keep_ssh_certificate(row, limits).await.unwrap();
    };
    // What is known of it takes its key along.
    let known = async |serial: &str, subject: &str| {
        let key = row(&format!("of {serial}"), subject, NOW + 100);
        let limits = KeyLimits {
            per_subject: 99,
            total: 99,
        };
        store.put_ssh_key(key, limits).await.unwrap();
        let row = RevocationRow {
            id: format!("known {serial}"),
            kind: SshCredentialKind::Serial,
            value: serial.into(),
            reason: "stolen".into(),
            by: "carol".into(),
            at: NOW,
            ends_at: None,
        };
        let gone = store.add_ssh_revocation(row, 99).await.unwrap().unwrap();
        !gone.keys.is_empty()
    };
    keep("b1", "bob", NOW + 1).await;
    for n in 0..20 {
        keep(&format!("m{n:02}"), "mallory", NOW + 10 + n).await;
    }
    keep("c1", "carol", NOW + 2).await;
    keep("c2", "carol", NOW + 3).await;
    for (serial, subject, expect) in [
        ("b1", "bob", true),
        ("c1", "carol", true),
        ("c2", "carol", true),
        ("m16", "mallory", false),
        // One too many of all: of whoever has most, what ends first.
        ("m17", "mallory", false),
        ("m18", "mallory", true),
        ("m19", "mallory", true),
    ] {
        assert_eq!(known(serial, subject).await, expect, "{serial}");
    }
}

async fn saw(store: &dyn Store, target: &str, print: &str, at: u64) -> (HostKeyRow, Option<u64>) {
    let sight = HostKeySight {
        target: target.into(),
        fingerprint: print.into(),
        public_key: format!("ssh-ed25519 {print}"),
        at,
    };
    store.saw_ssh_host_key(sight, 2).await.unwrap()
}

async fn decide(
    store: &dyn Store,
    target: &str,
    print: &str,
    approved: bool,
) -> Option<HostKeyRow> {
    let verdict = HostKeyVerdict {
        target: target.into(),
        fingerprint: print.into(),
        approved,
        by: "olga".into(),
        at: NOW + 100,
        reason: "compared".into(),
    };
    let decided = store.decide_ssh_host_key(verdict, 2).await.unwrap();
    decided.map(|(row, _)| row)
}

async fn states(store: &dyn Store, target: &str) -> Vec<(String, State)> {
    let rows = store.ssh_host_keys().await.unwrap().into_iter();
    let rows = rows.filter(|row| row.target == target);
    let mut rows: Vec<_> = rows.map(|row| (row.fingerprint, row.state)).collect();
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    rows
}

pub(super) async fn a_host_is_known_by_one_key(store: &dyn Store) {
    let (row, before) = saw(store, "web1", "a", NOW).await;
    assert_eq!((row.state, row.seen, before), (State::Waiting, 1, None));
    let (row, before) = saw(store, "web1", "a", NOW + 5).await;
    assert_eq!((row.seen, before), (2, None), "nobody has recorded it");
    let recorded = |print: &'static str| store.recorded_ssh_host_key("web1", print, NOW + 4);
    recorded("a").await.unwrap();
    recorded("nothing").await.unwrap();
    let before = saw(store, "web2", "a", NOW + 5).await.1;
    assert_eq!(before, None, "it is another host's");
    let (row, before) = saw(store, "web1", "a", NOW + 5).await;
    assert_eq!((row.seen, before), (3, Some(NOW + 4)));
    let other = HostKeyVerdict {
        target: "web2".into(),
        fingerprint: "a".into(),
        approved: false,
        by: "olga".into(),
        at: NOW,
        reason: "not ours".into(),
    };
    store.decide_ssh_host_key(other, 2).await.unwrap();
    assert_eq!(saw(store, "web1", "a", NOW + 5).await.1, Some(NOW + 4));
    assert_eq!((row.first_seen, row.last_seen), (NOW, NOW + 5));
    assert_eq!(row.decided_by, None);
    // Only what that host has shown.
    assert_eq!(decide(store, "web1", "b", true).await, None);
    assert_eq!(decide(store, "web3", "a", true).await, None);
    let row = decide(store, "web1", "a", true).await.unwrap();
    assert_eq!(row.state, State::Approved);
    assert_eq!(row.decided_by.as_deref(), Some("olga"));
    assert_eq!(row.reason.as_deref(), Some("compared"));
    // To be seen is no verdict; but after one, the record has to be told anew.
    let (row, before) = saw(store, "web1", "a", NOW + 6).await;
    assert_eq!(before, None);
    assert_eq!(row.state, State::Approved);

    // What waits is bounded; what is approved is not thrown out by it, nor that of another host.
    saw(store, "web2", "x", NOW).await;
    for (n, print) in ["b", "c", "d"].into_iter().enumerate() {
        saw(store, "web1", print, NOW + 10 + n as u64).await;
    }
    let (a, c, d) = (
        ("a".into(), State::Approved),
        "c".to_owned(),
        "d".to_owned(),
    );
    let waiting = [
        a.clone(),
        (c.clone(), State::Waiting),
        (d.clone(), State::Waiting),
    ];
    assert_eq!(states(store, "web1").await, waiting);
    let web2 = [("a".into(), State::Rejected), ("x".into(), State::Waiting)];
    assert_eq!(states(store, "web2").await, web2);

    // Another takes its place, and the old one does not come back by being seen.
    decide(store, "web1", "d", true).await.unwrap();
    let row = saw(store, "web1", "a", NOW + 20).await.0;
    assert_eq!(row.state, State::Rejected);
    assert!(row.reason.unwrap().contains("replaced by d"));
    let all = [
        ("a".into(), State::Rejected),
        (c, State::Waiting),
        (d, State::Approved),
    ];
    assert_eq!(states(store, "web1").await, all);
    // What names nothing replaces nothing.
    assert_eq!(decide(store, "web1", "z", true).await, None);
    assert_eq!(states(store, "web1").await, all);
    decide(store, "web1", "d", false).await.unwrap();
    let known = states(store, "web1").await;
    assert!(known.iter().all(|(_, state)| *state != State::Approved));
    // Rejected ones are bounded, too.
    let verdict = HostKeyVerdict {
        target: "web1".into(),
        fingerprint: "c".into(),
        approved: false,
        by: "olga".into(),
        at: NOW + 200,
        reason: "compared".into(),
    };
    let (_, forgotten) = store
        .decide_ssh_host_key(verdict, 2)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(forgotten.len(), 1, "and that is said");
    let left = states(store, "web1").await;
    assert_eq!(left.len(), 2);
    assert!(left.iter().all(|(print, _)| *print != forgotten[0]));
    assert_eq!(states(store, "web2").await.len(), 2);
}
