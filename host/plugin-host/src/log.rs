//! A plugin's log lines: cut, and only so many a second.

use std::time::Instant;

use parking_lot::Mutex;

/// Lets `limit` through per second, and counts the rest.
pub(crate) struct Gate {
    limit: u32,
    inner: Mutex<Window>,
}

struct Window {
    since: Option<Instant>,
    passed: u32,
    dropped: u64,
}

impl Gate {
    pub(crate) fn new(limit: u32) -> Self {
        let window = Window {
            since: None,
            passed: 0,
            dropped: 0,
        };
        Self {
            limit,
            inner: Mutex::new(window),
        }
    }

    /// `Some(n)` when the line may pass, after `n` that did not.
    pub(crate) fn pass(&self, now: Instant) -> Option<u64> {
        let mut w = self.inner.lock();
        if w.since
            .is_none_or(|since| now.duration_since(since).as_secs() >= 1)
        {
            w.since = Some(now);
            w.passed = 0;
        }
        if w.passed >= self.limit {
            w.dropped += 1;
            return None;
        }
        w.passed += 1;
        Some(std::mem::take(&mut w.dropped))
    }
}

/// At most `max` bytes of `text`, cut between characters, without control characters that could
/// forge a line of the log.
pub(crate) fn cut(text: &str, max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(max));
    for c in text.chars() {
        if out.len() + c.len_utf8() > max {
            out.push('…');
            break;
        }
        out.push(if c.is_control() { ' ' } else { c });
    }
    out
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn gate_counts_what_it_drops() {
        let gate = Gate::new(2);
        let t = Instant::now();
        assert_eq!(
            [gate.pass(t), gate.pass(t), gate.pass(t)],
            [Some(0), Some(0), None]
        );
        assert_eq!(gate.pass(t + Duration::from_millis(999)), None);
        assert_eq!(gate.pass(t + Duration::from_secs(1)), Some(2));
        assert_eq!(gate.pass(t + Duration::from_secs(1)), Some(0));
    }

    #[test]
    fn cuts_between_characters() {
        for (text, expect) in [
            ("", ""),
            ("abcd", "abcd"),
            ("abcde", "abcd…"),
            ("äää", "ää…"),
            ("a\nb\x1b", "a b "),
        ] {
            assert_eq!(cut(text, 4), expect);
        }
    }
}
