//! Logs that are in the store, or should be, and that a package leaves out; and why.
//!
//! Who writes to the store can plant a log there, damage one, or take it away. None of that is a reason for
//! there to be no package, and none of it goes unsaid: the manifest names each of them, `gaps.json` does, and
//! whoever verifies the package is told.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::fetch::{FetchError, FetchedLog};
use crate::logs::{LogFacts, id_of};
use crate::select::Window;

/// The most logs that are named; the rest is counted.
pub const MAX_LEFT_OUT: usize = 10_000;
/// The longest reason, in characters.
const MAX_WHY: usize = 500;

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    pub log: Uuid,
    /// A key that counts has signed it, or the log after it, which names it. Otherwise it may be of another
    /// Weir, be signed with a key that was not named, or have been planted.
    pub signed: bool,
    pub why: String,
}

impl LeftOut {
    pub fn new(log: Uuid, signed: bool, why: &str) -> Self {
        // Some of it can be from the store.
        let plain = |c: char| if c.is_control() { '?' } else { c };
        let named = format!("log {log}: ");
        let why = why.strip_prefix(&named).unwrap_or(why);
        let why = why.chars().take(MAX_WHY).map(plain).collect();
        Self { log, signed, why }
    }

    pub fn of(log: Uuid, error: &FetchError) -> Self {
        Self::new(log, error.is_of_signed(), &error.to_string())
    }
}

/// All that are left out, by their ids.
pub type Left = BTreeMap<Uuid, LeftOut>;

/// Those that a package names, and how many there are besides. First the ones that its own logs go on after,
/// since these must be named, then what was signed: nobody crowds them out with what was not.
pub fn named(left: &Left, logs: &[LogFacts]) -> (Vec<LeftOut>, u64) {
    let before = |of: &LeftOut| logs.iter().any(|log| log.prev_id() == Some(of.log));
    let mut all: Vec<&LeftOut> = left.values().collect();
    all.sort_by_key(|of| (!before(of), !of.signed, of.log));
    let more = all.len().saturating_sub(MAX_LEFT_OUT) as u64;
    (all.into_iter().take(MAX_LEFT_OUT).cloned().collect(), more)
}

/// The log that another one goes on after can be gone, or be one of fewer leaves than it had: the one that
/// goes on tells, and is not to suffer for it.
pub fn befores(logs: &mut Vec<FetchedLog>, window: Window, left: &mut Left) {
    let facts: Vec<LogFacts> = logs.iter().map(|log| log.facts.clone()).collect();
    let known: BTreeSet<Uuid> = left.keys().copied().collect();
    for log in &facts {
        let wrong = log.wrong_beginning(&facts, &known, window);
        let (Some(why), Some(prev)) = (wrong, log.prev_id()) else {
            continue;
        };
        let why = format!("log {}: {why}", log.id);
        left.entry(prev)
            .or_insert_with(|| LeftOut::new(prev, true, &why));
    }
    logs.retain(|log| !left.contains_key(&log.facts.id));
}

impl LogFacts {
    /// The log that it goes on after.
    pub fn prev_id(&self) -> Option<Uuid> {
        let prev = self.prev.as_ref()?;
        id_of(&prev.origin).map(|(_, id)| id)
    }
}
