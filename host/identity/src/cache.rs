//! Tokens that were verified a moment ago, by their digest: a client that connects a hundred times
//! a second need not be verified a hundred times.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest;
use parking_lot::Mutex;
use pipeline::Principal;

const MAX_ENTRIES: usize = 4096;
const MAX_AGE: Duration = Duration::from_secs(60);

pub(crate) type TokenDigest = [u8; 32];

pub(crate) fn digest_of(token: &str) -> TokenDigest {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
    out
}

#[derive(Default)]
pub(crate) struct Cache {
    entries: Mutex<HashMap<TokenDigest, Entry>>,
}

#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) principal: Arc<Principal>,
    /// Position of the issuer, and the digest of the key set that verified the token.
    pub(crate) issuer: usize,
    pub(crate) keys: [u8; 32],
    verified: SystemTime,
}

impl Entry {
    pub(crate) fn new(
        principal: Arc<Principal>,
        issuer: usize,
        keys: [u8; 32],
        verified: SystemTime,
    ) -> Self {
        Self {
            principal,
            issuer,
            keys,
            verified,
        }
    }

    fn is_good(&self, now: SystemTime) -> bool {
        // A clock that was set back makes the entry's age unknown.
        let age = now.duration_since(self.verified).unwrap_or(Duration::MAX);
        age < MAX_AGE && now < self.principal.expires_at
    }
}

impl Cache {
    pub(crate) fn get(&self, token: &TokenDigest, now: SystemTime) -> Option<Entry> {
        self.entries
            .lock()
            .get(token)
            .filter(|e| e.is_good(now))
            .cloned()
    }

    pub(crate) fn put(&self, token: TokenDigest, entry: Entry) {
        let mut entries = self.entries.lock();
        if entries.len() >= MAX_ENTRIES {
            let now = entry.verified;
            entries.retain(|_, e| e.is_good(now));
        }
        // Still full of good ones: forget them all rather than keep an order of use.
        if entries.len() >= MAX_ENTRIES {
            entries.clear();
        }
        entries.insert(token, entry);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.lock().len()
    }
}
