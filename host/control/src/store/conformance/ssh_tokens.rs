//! Short tokens of SSH.

use weir_client::SshCredentialKind as Kind;

use super::NOW;
use crate::store::{CertificateRow, KeyLimits, RevocationRow, Store, TokenPut, TokenRow};

const LIMITS: KeyLimits = KeyLimits {
    per_subject: 2,
    total: 3,
};

fn row(first: u8, subject: &str, expires_at: u64) -> TokenRow {
    TokenRow {
        hash: [first; 32],
        id: format!("{first:02x}"),
        token: None,
        subject: subject.into(),
        kept: "'); DROP TABLE ssh_tokens; --".into(),
        source: Some("192.0.2.7/32".into()),
        issued_at: NOW,
        expires_at,
    }
}

pub(super) async fn short_tokens_are_found_by_their_hash_and_bounded(store: &dyn Store) {
    let put = |row: TokenRow| store.put_ssh_token(row, LIMITS);
    let first = row(1, "alice", NOW + 10);
    assert_eq!(put(first.clone()).await.unwrap(), TokenPut::Yes);
    assert_eq!(store.ssh_token([1; 32]).await.unwrap(), Some(first));
    for other in [[0; 32], [2; 32]] {
        assert_eq!(store.ssh_token(other).await.unwrap(), None);
    }
    // None takes another's place.
    assert!(put(row(1, "mallory", NOW + 99)).await.is_err());
    let found = store.ssh_token([1; 32]).await.unwrap().unwrap();
    assert_eq!(found.subject, "alice");

    let anywhere = TokenRow {
        source: None,
        ..row(2, "alice", NOW + 5)
    };
    assert_eq!(put(anywhere.clone()).await.unwrap(), TokenPut::Yes);
    assert_eq!(store.ssh_token([2; 32]).await.unwrap(), Some(anywhere));
    let third = put(row(3, "alice", NOW + 5)).await.unwrap();
    assert_eq!(third, TokenPut::TooMany(2));
    assert_eq!(put(row(4, "bob", NOW + 50)).await.unwrap(), TokenPut::Yes);
    let one_more = put(row(5, "carol", NOW + 5)).await.unwrap();
    assert_eq!(one_more, TokenPut::Full(3));

    // What has ended takes no place, and is forgotten.
    let later = TokenRow {
        issued_at: NOW + 5,
        ..row(6, "alice", NOW + 50)
    };
    assert_eq!(put(later).await.unwrap(), TokenPut::Yes);
    assert_eq!(store.ssh_token([2; 32]).await.unwrap(), None);
    store.sweep(NOW + 10, NOW).await.unwrap();
    assert_eq!(store.ssh_token([1; 32]).await.unwrap(), None);
    assert!(store.ssh_token([4; 32]).await.unwrap().is_some());
}

async fn ids(store: &dyn Store, subject: Option<&str>) -> Vec<String> {
    let rows = store.ssh_tokens(subject, 10).await.unwrap();
    rows.into_iter().map(|row| row.id).collect()
}

/// By their names, which are no secret; and what a certificate of the same token takes along.
pub(super) async fn single_short_tokens_are_found_and_go(store: &dyn Store) {
    let limits = KeyLimits {
        per_subject: 9,
        total: 9,
    };
    let token = |first: u8, subject: &str, jti: &str| TokenRow {
        token: (!jti.is_empty()).then(|| jti.to_owned()),
        issued_at: NOW + u64::from(first),
        ..row(first, subject, NOW + 100)
    };
    for row in [
        token(1, "alice", "t1"),
        token(2, "alice", "t1"),
        token(3, "alice", "t2"),
        token(4, "alice", ""),
        token(5, "bob", "t1"),
    ] {
        let put = store.put_ssh_token(row, limits).await.unwrap();
        assert_eq!(put, TokenPut::Yes);
    }
    assert_eq!(ids(store, None).await, ["05", "04", "03", "02", "01"]);
    assert_eq!(ids(store, Some("bob")).await, ["05"]);
    assert!(ids(store, Some("' OR '1'='1")).await.is_empty());
    let found = store.ssh_token_called("03").await.unwrap().unwrap();
    assert_eq!((found.hash, found.token.as_deref()), ([3; 32], Some("t2")));
    for none in ["", "3", "0", "%"] {
        assert_eq!(store.ssh_token_called(none).await.unwrap(), None);
        assert!(!store.remove_ssh_token(none).await.unwrap());
    }
    assert!(store.remove_ssh_token("02").await.unwrap());
    assert!(!store.remove_ssh_token("02").await.unwrap());
    assert_eq!(store.ssh_token([2; 32]).await.unwrap(), None);

    let certificate = CertificateRow {
        serial: "s1".into(),
        key_id: "id of s1".into(),
        subject: "alice".into(),
        fingerprint: "SHA256:a".into(),
        token: Some("t1".into()),
        ends_at: NOW + 50,
    };
    let bare = CertificateRow {
        serial: "s2".into(),
        token: None,
        ..certificate.clone()
    };
    for row in [certificate, bare] {
        store.keep_ssh_certificate(row, limits).await.unwrap();
    }
    let revoke = async |kind, value: &str| {
        let row = RevocationRow {
            id: format!("{kind:?} {value}"),
            kind,
            value: value.into(),
            reason: "stolen".into(),
            by: "carol".into(),
            at: NOW,
            ends_at: None,
        };
        store
            .add_ssh_revocation(row, 9)
            .await
            .unwrap()
            .unwrap()
            .tokens
    };
    assert!(revoke(Kind::Serial, "s2").await.is_empty(), "of no token");
    assert!(revoke(Kind::Key, "SHA256:a").await.is_empty());
    assert_eq!(revoke(Kind::Serial, "s1").await, ["01"]);
    assert_eq!(ids(store, None).await, ["05", "04", "03"]);
    let mut all = revoke(Kind::Subject, "alice").await;
    all.sort();
    assert_eq!(all, ["03", "04"]);
    assert_eq!(ids(store, None).await, ["05"]);
}
