//! How often somebody may call.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

const WINDOW: Duration = Duration::from_secs(60);
/// Keys that are counted at once; others are refused until the next window.
const MAX_KEYS: usize = 10_000;

/// Counts calls by key in windows of a minute.
pub(crate) struct Rate<K> {
    limit: u32,
    window: Mutex<Window<K>>,
}

struct Window<K> {
    since: Instant,
    counts: HashMap<K, u32>,
    /// Calls over the limit in the last windows that nobody has asked for yet.
    over: u64,
}

impl<K: Eq + Hash> Rate<K> {
    pub(crate) fn new(limit: u32) -> Self {
        Self {
            limit,
            window: Mutex::new(Window {
                since: Instant::now(),
                counts: HashMap::new(),
                over: 0,
            }),
        }
    }

    pub(crate) fn limit(&self) -> u32 {
        self.limit
    }

    /// Counts one call; false when it is one too many.
    pub(crate) fn admit(&self, key: K) -> bool {
        self.admit_at(key, Instant::now())
    }

    fn admit_at(&self, key: K, now: Instant) -> bool {
        let mut window = self.window.lock();
        if now.saturating_duration_since(window.since) >= WINDOW {
            window.since = now;
            window.counts.clear();
        }
        let room = window.counts.len() < MAX_KEYS;
        let admitted = match window.counts.get_mut(&key) {
            Some(count) => {
                *count = count.saturating_add(1);
                *count <= self.limit
            }
            None if room => {
                window.counts.insert(key, 1);
                self.limit > 0
            }
            None => false,
        };
        if !admitted {
            window.over = window.over.saturating_add(1);
        }
        admitted
    }

    /// How many were one too many since this was last asked.
    pub(crate) fn take_over(&self) -> u64 {
        std::mem::take(&mut self.window.lock().over)
    }
}

/// Who has an IPv6 address has 2^64 of them.
pub(crate) fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        v4 @ IpAddr::V4(_) => v4,
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_key_and_window() {
        let start = Instant::now();
        let rate = Rate::new(2);
        for (key, after, admitted) in [
            ("a", 0, true),
            ("a", 1, true),
            ("a", 2, false),
            ("b", 2, true),
            ("a", 59, false),
            ("a", 61, true),
        ] {
            let now = start + Duration::from_secs(after);
            assert_eq!(rate.admit_at(key, now), admitted, "{key} after {after} s");
        }
        assert_eq!(rate.take_over(), 2);
        assert_eq!(rate.take_over(), 0);
    }

    #[test]
    fn memory_is_bounded() {
        let rate = Rate::new(10);
        for key in 0..MAX_KEYS {
            assert!(rate.admit(key));
        }
        assert!(!rate.admit(MAX_KEYS));
        assert!(rate.admit(0), "known keys still have their quota");
    }

    #[test]
    fn one_network_counts_as_one() {
        for (source, counted_as) in [
            ("192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:2:ffff::", "2001:db8:1:2::"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
        ] {
            let source: IpAddr = source.parse().unwrap();
            assert_eq!(network(source).to_string(), counted_as);
        }
    }
}
