//! The small store that a plugin has: in memory, with a quota.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::limits::{KV_BYTES, KV_ENTRIES, KV_KEY_BYTES, KV_VALUE_BYTES};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KvError {
    Quota,
    TooLarge,
}

#[derive(Default)]
pub(crate) struct Store {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    entries: HashMap<String, Entry>,
    bytes: usize,
}

struct Entry {
    value: Vec<u8>,
    /// In seconds since 1970.
    expires: Option<u64>,
}

impl Entry {
    fn expired(&self, now: u64) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }
}

impl Store {
    pub(crate) fn get(&self, key: &str, now: u64) -> Option<Vec<u8>> {
        let inner = self.inner.lock();
        let entry = inner.entries.get(key)?;
        (!entry.expired(now)).then(|| entry.value.clone())
    }

    pub(crate) fn set(
        &self,
        key: String,
        value: Vec<u8>,
        ttl: Option<u32>,
        now: u64,
    ) -> Result<(), KvError> {
        self.inner.lock().set(key, value, ttl, now)
    }

    pub(crate) fn delete(&self, key: &str) {
        self.inner.lock().remove(key);
    }

    /// A value that is not a counter counts as 0; a running expiry stays unless a new one is given.
    pub(crate) fn increment(
        &self,
        key: String,
        delta: i64,
        ttl: Option<u32>,
        now: u64,
    ) -> Result<i64, KvError> {
        let mut inner = self.inner.lock();
        let old = inner.entries.get(&key).filter(|e| !e.expired(now));
        let expires = old.and_then(|e| e.expires);
        let count = old
            .and_then(|e| <[u8; 8]>::try_from(e.value.as_slice()).ok())
            .map_or(0, i64::from_le_bytes)
            .saturating_add(delta);
        inner.set(key.clone(), count.to_le_bytes().to_vec(), ttl, now)?;
        if ttl.is_none()
            && let Some(entry) = inner.entries.get_mut(&key)
        {
            entry.expires = expires;
        }
        Ok(count)
    }
}

impl Inner {
    fn set(
        &mut self,
        key: String,
        value: Vec<u8>,
        ttl: Option<u32>,
        now: u64,
    ) -> Result<(), KvError> {
        if key.len() > KV_KEY_BYTES || value.len() > KV_VALUE_BYTES {
            return Err(KvError::TooLarge);
        }
        let size = key.len() + value.len();
        if !self.fits(&key, size) {
            self.drop_expired(now);
            if !self.fits(&key, size) {
                return Err(KvError::Quota);
            }
        }
        self.remove(&key);
        self.bytes += size;
        let expires = ttl.map(|ttl| now.saturating_add(u64::from(ttl)));
        self.entries.insert(key, Entry { value, expires });
        Ok(())
    }

    fn fits(&self, key: &str, size: usize) -> bool {
        let (entries, freed) = match self.entries.get(key) {
            Some(old) => (self.entries.len(), key.len() + old.value.len()),
            None => (self.entries.len() + 1, 0),
        };
        entries <= KV_ENTRIES && self.bytes - freed + size <= KV_BYTES
    }

    fn drop_expired(&mut self, now: u64) {
        self.entries.retain(|_, entry| !entry.expired(now));
        self.bytes = self
            .entries
            .iter()
            .map(|(key, entry)| key.len() + entry.value.len())
            .sum();
    }

    fn remove(&mut self, key: &str) {
        if let Some(old) = self.entries.remove(key) {
            self.bytes -= key.len() + old.value.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expires_and_counts() {
        let kv = Store::default();
        kv.set("k".into(), b"v".to_vec(), Some(10), 100).unwrap();
        assert_eq!(kv.get("k", 109), Some(b"v".to_vec()));
        assert_eq!(kv.get("k", 110), None);
        assert_eq!(kv.increment("k".into(), 5, Some(10), 110), Ok(5));
        assert_eq!(kv.increment("k".into(), i64::MAX, None, 115), Ok(i64::MAX));
        assert_eq!(kv.get("k", 120), None, "the expiry of the counter stays");
        assert_eq!(kv.increment("k".into(), -1, None, 120), Ok(-1));
        kv.set("k".into(), b"text".to_vec(), None, 0).unwrap();
        assert_eq!(kv.increment("k".into(), 1, None, 0), Ok(1));
        kv.delete("k");
        assert_eq!(kv.get("k", 0), None);
        assert_eq!(kv.inner.lock().bytes, 0);
    }

    #[test]
    fn keeps_its_quota() {
        let kv = Store::default();
        let long = "k".repeat(KV_KEY_BYTES + 1);
        assert_eq!(kv.set(long, vec![], None, 0), Err(KvError::TooLarge));
        let large = vec![0; KV_VALUE_BYTES + 1];
        assert_eq!(kv.set("k".into(), large, None, 0), Err(KvError::TooLarge));
        for i in 0..KV_ENTRIES {
            kv.set(i.to_string(), vec![1], Some(5), 0).unwrap();
        }
        assert_eq!(
            kv.set("one more".into(), vec![], None, 0),
            Err(KvError::Quota)
        );
        assert_eq!(kv.set("1".into(), vec![2; 100], Some(5), 0), Ok(()));
        assert_eq!(kv.set("one more".into(), vec![], None, 5), Ok(()));
        assert_eq!(kv.inner.lock().entries.len(), 1, "what expired makes room");
        let mut full = 0;
        while kv
            .set(format!("b{full}"), vec![0; KV_VALUE_BYTES], None, 6)
            .is_ok()
        {
            full += 1;
        }
        assert_eq!(
            full,
            KV_BYTES / KV_VALUE_BYTES - 1,
            "bytes count, keys included"
        );
        assert!(kv.inner.lock().bytes <= KV_BYTES);
    }
}
