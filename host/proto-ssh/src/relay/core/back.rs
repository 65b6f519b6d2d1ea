//! Sessions that the host may connect back to the client for: its agent, its display.
//!
//! A host that opens such a channel does not say for which session (RFC 4254 section 6.3.2 names the X11 client alone,
//! and the agent is one for the whole connection). With one session that has asked, it is that one's. With several it
//! is part of the action of the one that was permitted last, and its opening is on record with the others, too.

use std::collections::HashMap;

use super::Key;

/// Of the others, the last ones.
const MAX_OTHERS: usize = 8;

/// The sessions that were permitted to ask for it, and live.
#[derive(Debug, Default)]
pub(super) struct Asked {
    by: HashMap<Key, For>,
}

#[derive(Debug, Clone, Copy)]
struct For {
    /// The number of the action.
    seq: u64,
    /// It asked for one connection only.
    single: bool,
}

/// The action that a channel of the host is part of, and others that it may have been opened for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PartOf {
    pub seq: u64,
    pub others: Vec<u64>,
}

impl PartOf {
    pub fn one(seq: u64) -> Self {
        let others = Vec::new();
        Self { seq, others }
    }
}

impl Asked {
    pub fn put(&mut self, key: Key, seq: u64, single: bool) {
        self.by.insert(key, For { seq, single });
    }

    /// The session is over.
    pub fn forget(&mut self, key: Key) {
        self.by.remove(&key);
    }

    /// The host connects. None: nobody was permitted to ask for that.
    pub fn take(&mut self) -> Option<PartOf> {
        let (key, last) = self.by.iter().max_by_key(|(_, of)| of.seq)?;
        let (key, last) = (*key, *last);
        let others = self.by.values().map(|of| of.seq);
        let mut others: Vec<u64> = others.filter(|seq| *seq != last.seq).collect();
        others.sort_unstable_by(|a, b| b.cmp(a));
        others.truncate(MAX_OTHERS);
        if last.single {
            self.by.remove(&key);
        }
        let seq = last.seq;
        Some(PartOf { seq, others })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_part_of_the_last_one_that_asked() {
        let mut asked = Asked::default();
        assert_eq!(asked.take(), None);
        // A few times, because a table has no order.
        for first in (0..100).step_by(10) {
            asked.put(Key(1), first + 2, false);
            asked.put(Key(2), first + 7, true);
            asked.put(Key(3), first + 5, false);
            let part = |seq, others: &[u64]| {
                let others = others.iter().map(|n| first + n).collect();
                let seq = first + seq;
                Some(PartOf { seq, others })
            };
            assert_eq!(asked.take(), part(7, &[5, 2]));
            // That one wanted one only.
            assert_eq!(asked.take(), part(5, &[2]));
            assert_eq!(asked.take(), part(5, &[2]));
            asked.forget(Key(3));
            assert_eq!(asked.take(), part(2, &[]));
            asked.forget(Key(1));
            assert_eq!(asked.take(), None);
        }
    }

    #[test]
    fn of_many_the_last_ones_are_told() {
        let mut asked = Asked::default();
        for n in 0..100 {
            asked.put(Key(n), n, false);
        }
        let others = (91..99).rev().collect();
        assert_eq!(asked.take(), Some(PartOf { seq: 99, others }));
    }
}
