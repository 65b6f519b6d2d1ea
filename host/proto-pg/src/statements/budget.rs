//! What a session may keep under its names, in bytes: a limit on their number says nothing about the
//! texts and values behind them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a name costs besides its text.
const NAME: usize = 1 << 10;

pub(crate) struct Budget {
    used: Arc<AtomicUsize>,
    limit: usize,
}

/// Bytes in use; given back when what holds them is dropped, wherever that is.
pub(crate) struct Charge {
    used: Arc<AtomicUsize>,
    bytes: usize,
}

impl Budget {
    pub fn new(limit: usize) -> Self {
        Self {
            used: Arc::default(),
            limit,
        }
    }

    /// `None`: there is no room.
    pub fn charge(&self, bytes: usize) -> Option<Charge> {
        let bytes = bytes.saturating_add(NAME);
        let add = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        self.used
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, add)
            .ok()?;
        Some(Charge {
            used: self.used.clone(),
            bytes,
        })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_given_back() {
        let budget = Budget::new(3 * NAME);
        let one = budget.charge(NAME).unwrap();
        assert!(budget.charge(NAME).is_none());
        assert!(budget.charge(usize::MAX).is_none());
        let two = budget.charge(0).unwrap();
        drop(one);
        assert!(budget.charge(NAME).is_some());
        drop(two);
        assert_eq!(budget.used.load(Ordering::SeqCst), 0);
    }
}
