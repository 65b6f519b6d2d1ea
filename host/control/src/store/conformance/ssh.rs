//! Registered keys of SSH.

use weir_client::SshCredentialKind;

use super::NOW;
use crate::store::{KeyLimits, KeyPut, KeyRow, RevocationRow, Store};

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
    assert!(revoke("1", SshCredentialKind::KeyId, "a").await.unwrap());
    assert!(revoke("2", SshCredentialKind::Key, "c").await.unwrap());
    assert_eq!(prints(store, None).await, ["a", "b"]);
    assert!(
        revoke("3", SshCredentialKind::Subject, "alice")
            .await
            .unwrap()
    );
    assert!(prints(store, None).await.is_empty());
    // What is not kept removes nothing.
    let row = row("d", "dora", NOW + 10);
    store.put_ssh_key(row, LIMITS).await.unwrap();
    assert!(!revoke("4", SshCredentialKind::Key, "d").await.unwrap());
    assert_eq!(prints(store, None).await, ["d"]);
}
