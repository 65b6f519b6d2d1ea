//! Short tokens of SSH.

use super::NOW;
use crate::store::{KeyLimits, Store, TokenPut, TokenRow};

const LIMITS: KeyLimits = KeyLimits {
    per_subject: 2,
    total: 3,
};

fn row(first: u8, subject: &str, expires_at: u64) -> TokenRow {
    TokenRow {
        hash: [first; 32],
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
