//! How much of something each key has at once.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;

/// The places that are taken, by key.
#[derive(Debug)]
pub(crate) struct Places<K>(Arc<Mutex<HashMap<K, usize>>>);

impl<K> Default for Places<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

/// One of them. Free again when dropped.
#[derive(Debug)]
pub(crate) struct Place<K: Eq + Hash> {
    key: K,
    taken: Arc<Mutex<HashMap<K, usize>>>,
}

impl<K: Eq + Hash + Clone> Places<K> {
    /// None when the key has `most` of them already.
    pub(crate) fn enter(&self, key: K, most: usize) -> Option<Place<K>> {
        let mut taken = self.0.lock();
        let count = taken.get(&key).copied().unwrap_or_default();
        if count >= most {
            return None;
        }
        taken.insert(key.clone(), count + 1);
        Some(Place {
            key,
            taken: self.0.clone(),
        })
    }
}

impl<K: Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = self.taken.lock();
        match taken.get_mut(&self.key) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(taken.remove(&self.key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_so_many_and_they_come_back() {
        let places = Places::default();
        let first = places.enter("a", 2).unwrap();
        let second = places.enter("a", 2).unwrap();
        assert!(places.enter("a", 2).is_none());
        assert!(places.enter("a", 0).is_none());
        assert!(places.enter("b", 1).is_some());
        drop(first);
        let third = places.enter("a", 2).unwrap();
        assert!(places.enter("a", 2).is_none());
        drop((second, third));
        assert_eq!(places.0.lock().len(), 0, "nothing is kept of who has none");
    }
}
