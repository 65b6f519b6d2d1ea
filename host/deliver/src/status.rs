//! How far receivers are, for whoever asks.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use recorder::{Leaves, LogEnd};
use uuid::Uuid;

/// What a receiver's worker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It does not know yet what there is to deliver.
    Starting,
    Delivering,
    /// After a failure it waits, and tries again.
    Waiting,
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Delivering => "delivering",
            Self::Waiting => "waiting",
        }
    }
}

/// One receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub name: String,
    pub kind: &'static str,
    /// Its ends of a connection are believed, though anybody on the wire can make them.
    pub trusts_unclean_end: bool,
    pub state: State,
    /// The log that it began with: it was never sent what earlier ones have. None: not known.
    pub first_log: Option<Uuid>,
    /// Leaves that the receiver has not taken, as its durable cursor says, of those under a signed checkpoint:
    /// what was recorded in the last second or so is not among them. None: not known yet.
    pub lag_leaves: Option<u64>,
    /// How old the first of them is, as far as it was read.
    pub lag_ms: Option<u64>,
    /// Events that it has taken since Weir started.
    pub delivered: u64,
    /// Events that it did not take, ever.
    pub set_aside: u64,
    pub last_delivery: Option<SystemTime>,
    pub last_error: Option<(String, SystemTime)>,
}

/// What a worker tells of itself.
#[derive(Debug, Default)]
pub struct Progress {
    pub waiting: bool,
    pub began: Option<Uuid>,
    /// The logs that are left, the present one first, and the next leaf in that.
    pub left: Option<(VecDeque<LogEnd>, u64)>,
    /// Leaves before that which were sent, and are not known to be taken.
    pub ahead: u64,
    /// Places in them where others may be missing, about each of which one event will be sent.
    pub holes: u64,
    /// The time of the first leaf that is not taken.
    pub oldest_ms: Option<u64>,
    pub delivered: u64,
    pub set_aside: u64,
    pub last_delivery: Option<SystemTime>,
    pub last_error: Option<(String, SystemTime)>,
}

pub struct Watched {
    pub name: String,
    pub kind: &'static str,
    pub trusts_unclean_end: bool,
    pub progress: Arc<Mutex<Progress>>,
}

/// Tells how far all receivers are.
pub struct Handle {
    pub(crate) all: Vec<Watched>,
    pub(crate) leaves: Leaves,
    pub(crate) log: Uuid,
}

impl Handle {
    /// Reads the end of the log: blocks for as long as one small file takes.
    pub fn list(&self) -> Vec<Status> {
        let newest = self.leaves.end(self.log).ok().flatten();
        self.all
            .iter()
            .map(|one| one.status(newest.as_ref()))
            .collect()
    }
}

impl Watched {
    fn status(&self, newest: Option<&LogEnd>) -> Status {
        let progress = self.progress.lock();
        let lag_leaves = progress.left.as_ref().zip(newest);
        let lag_leaves = lag_leaves.map(|((left, next), newest)| {
            let size = |end: &LogEnd| match end.log == newest.log {
                true => newest.size,
                false => end.size,
            };
            // Whatever the first one's end is taken for, it takes nothing from the others.
            let mut sizes = left.iter().map(size);
            let first = sizes.next().unwrap_or(0).saturating_sub(*next);
            let others = progress.holes.saturating_add(progress.ahead);
            sizes.fold(first.saturating_add(others), u64::saturating_add)
        });
        let now = now_ms();
        let lag_ms = match lag_leaves {
            Some(0) => Some(0),
            Some(_) => progress.oldest_ms.map(|ms| now.saturating_sub(ms)),
            None => None,
        };
        Status {
            name: self.name.clone(),
            kind: self.kind,
            trusts_unclean_end: self.trusts_unclean_end,
            state: match (&progress.left, progress.waiting) {
                (_, true) => State::Waiting,
                (None, false) => State::Starting,
                (Some(_), false) => State::Delivering,
            },
            first_log: progress.began,
            lag_leaves,
            lag_ms,
            delivered: progress.delivered,
            set_aside: progress.set_aside,
            last_delivery: progress.last_delivery,
            last_error: progress.last_error.clone(),
        }
    }
}

pub fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(now.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(log: u128, size: u64) -> LogEnd {
        LogEnd {
            log: Uuid::from_u128(log),
            origin: String::new(),
            size,
            root: [0; 32],
        }
    }

    #[test]
    fn a_lag_is_never_less_than_what_is_left() {
        for (sizes, next, holes, newest, lag) in [
            (vec![10], 4, 0, 12, 8),
            (vec![10], 12, 0, 12, 0),
            // More of the first was delivered than its end says now: nothing of the others was.
            (vec![5, 10], 15, 0, 10, 10),
            // A hole is something that has to be told.
            (vec![5, 0], 5, 1, 0, 1),
            (vec![5, 3], 5, 2, 3, 5),
        ] {
            let last = sizes.len() as u128 - 1;
            let left = sizes
                .iter()
                .enumerate()
                .map(|(n, size)| end(n as u128, *size));
            let progress = Progress {
                left: Some((left.collect(), next)),
                holes,
                ..Progress::default()
            };
            let watched = Watched {
                name: "siem".into(),
                kind: "webhook",
                trusts_unclean_end: false,
                progress: Arc::new(Mutex::new(progress)),
            };
            let status = watched.status(Some(&end(last, newest)));
            assert_eq!(status.lag_leaves, Some(lag), "{sizes:?} {next} {holes}");
        }
    }
}
