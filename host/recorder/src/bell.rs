//! Wakes the committer's thread, and only when something cannot wait: waking a thread costs more than
//! writing a record.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread::{self, Thread};
use std::time::Instant;

const AWAKE: u8 = 0;
/// It wakes by itself, soon.
const NAPPING: u8 = 1;
/// Nothing was left to do.
const ASLEEP: u8 = 2;

/// Why [`Bell::wait`] returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    Urgent,
    /// Something is there that can still wait a little.
    Lazy,
    Time,
}

#[derive(Debug, Default)]
pub struct Bell {
    state: AtomicU8,
    urgent: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Bell {
    /// For what somebody waits for. Rung after it is where the committer finds it.
    pub fn ring_now(&self) {
        self.urgent.store(true, Ordering::SeqCst);
        if self.state.load(Ordering::SeqCst) != AWAKE {
            self.unpark();
        }
    }

    /// For what can wait until the next nap ends.
    pub fn ring(&self) {
        if self.state.load(Ordering::SeqCst) == ASLEEP {
            self.unpark();
        }
    }

    fn unpark(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Sleeps until the bell is rung; with a time, until then at most. `waiting` says whether
    /// something is there that rang before this began.
    pub fn wait(&self, until: Option<Instant>, waiting: impl Fn() -> bool) -> Woken {
        self.thread.get_or_init(thread::current);
        // A ring after this store unparks; what came before it is seen below.
        let state = if until.is_some() { NAPPING } else { ASLEEP };
        self.state.store(state, Ordering::SeqCst);
        let woken = loop {
            if self.urgent.swap(false, Ordering::SeqCst) {
                break Woken::Urgent;
            }
            match until {
                None if waiting() => break Woken::Lazy,
                None => thread::park(),
                Some(until) => match until.checked_duration_since(Instant::now()) {
                    Some(left) if !left.is_zero() => thread::park_timeout(left),
                    _ => break Woken::Time,
                },
            }
        };
        self.state.store(AWAKE, Ordering::SeqCst);
        woken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;
    use std::time::Duration;

    #[test]
    fn no_ring_is_lost() {
        let bell = Arc::new(Bell::default());
        let sent = Arc::new(AtomicU64::new(0));
        let ringer = {
            let (bell, sent) = (bell.clone(), sent.clone());
            thread::spawn(move || {
                for n in 1..=50_000u64 {
                    sent.store(n, Ordering::SeqCst);
                    if n % 3 == 0 {
                        bell.ring();
                    } else {
                        bell.ring_now();
                    }
                }
            })
        };
        let mut seen = 0;
        while seen < 50_000 {
            let before = seen;
            bell.wait(None, || sent.load(Ordering::SeqCst) > before);
            seen = sent.load(Ordering::SeqCst);
        }
        ringer.join().unwrap();
    }

    #[test]
    fn a_nap_ends_by_itself_and_a_lazy_ring_does_not_end_it() {
        let bell = Bell::default();
        let until = Instant::now() + Duration::from_millis(30);
        bell.ring();
        assert_eq!(bell.wait(Some(until), || true), Woken::Time);
        assert!(Instant::now() >= until);
        bell.ring_now();
        let far = Instant::now() + Duration::from_secs(60);
        assert_eq!(bell.wait(Some(far), || false), Woken::Urgent);
    }
}
