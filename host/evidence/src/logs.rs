//! The logs of a package: which leaves of each are in the window, and how one knows that there are no
//! others.

use std::collections::BTreeSet;
use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use tlog::{Hash, Kind, TILE_WIDTH, Tile};
use uuid::Uuid;

use crate::leaf::{Leaf, LeafError, Prev};
use crate::select::Window;

const BUNDLE: u64 = TILE_WIDTH as u64;

/// One log, as its leaves and its checkpoint tell.
#[derive(Debug, Clone, PartialEq)]
pub struct LogFacts {
    pub id: Uuid,
    pub origin: String,
    pub size: u64,
    pub root: Hash,
    /// The leaves in the window: from `first`, to before `end`.
    pub first: u64,
    pub end: u64,
    pub prev: Option<Prev>,
    /// A leaf says that the instance has ended it.
    pub stopped: bool,
    /// The time of its last leaf, where that is known.
    pub last_time: Option<String>,
}

/// A log in `gaps.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Span {
    pub log: Uuid,
    pub origin: String,
    pub size: u64,
    pub first: u64,
    pub end: u64,
    pub begins: String,
    pub ends: String,
    /// Whether there can be leaves of the window that are not in the package: the log went on when its
    /// checkpoint was taken.
    pub open: bool,
}

impl LogFacts {
    /// What a leaf that a package has says of its log.
    pub fn see(&mut self, index: u64, leaf: &Leaf) {
        if index == 0 {
            self.prev.clone_from(&leaf.prev);
        }
        // What was sealed at the end comes after it.
        self.stopped |= leaf.kind == "recorder.stop" && leaf.sid == Some(self.id);
        if index + 1 == self.size {
            self.last_time = Some(leaf.time.clone());
        }
    }

    /// Does a package have this leaf?
    pub fn has(&self, index: u64) -> bool {
        index == 0 || self.needs().contains(&index)
    }

    /// Leaves that a package must have besides the first of the log: those of the window, and the one
    /// before and after these.
    pub fn needs(&self) -> Range<u64> {
        self.first.saturating_sub(1)..(self.end + 1).min(self.size)
    }

    /// The bundles that hold all of these, in order.
    pub fn bundles(&self) -> Vec<Tile> {
        let Range { start, end } = self.needs();
        let (from, to) = (start / BUNDLE, end.div_ceil(BUNDLE));
        let first = (from > 0 && self.size > 0).then_some(0);
        first
            .into_iter()
            .chain(from..to)
            .map(|index| Tile {
                kind: Kind::Entries,
                index,
                width: width(self.size, index),
            })
            .collect()
    }

    /// Does the log named by `prev` go on with this one, and nothing come between?
    fn follows(&self, before: &LogFacts) -> bool {
        let same = |prev: &Prev| {
            prev.origin == before.origin
                && prev.size == before.size
                && prev.root == STANDARD.encode(before.root)
        };
        self.prev.as_ref().is_some_and(same)
    }

    pub fn span(&self, all: &[LogFacts]) -> Span {
        let begins = match (&self.prev, self.first) {
            (_, 1..) => "the leaf before is before the window".to_owned(),
            (None, _) => "with the log, the first of its instance".to_owned(),
            (Some(prev), _) => format!("with the log, which goes on after {}", prev.origin),
        };
        let next = all.iter().find(|other| other.follows(self));
        let (ends, open) = match next {
            _ if self.end < self.size => ("the leaf after is after the window".to_owned(), false),
            Some(next) => (
                format!("with the log, after which {} goes on", next.origin),
                false,
            ),
            None if self.stopped => (
                "with the log, which its instance has ended; whether another log followed, only the \
                 registry in the store tells"
                    .to_owned(),
                false,
            ),
            None => {
                let last = self.last_time.as_deref().unwrap_or("its beginning");
                let text =
                    format!("at the checkpoint: nothing shows what the log had after {last}");
                (text, true)
            }
        };
        Span {
            log: self.id,
            origin: self.origin.clone(),
            size: self.size,
            first: self.first,
            end: self.end,
            begins,
            ends,
            open,
        }
    }

    /// What is wrong with how it begins, if the log before it should be in the package and is not.
    /// Nothing is wrong with it if that one is known to be left out.
    pub fn wrong_beginning(
        &self,
        all: &[LogFacts],
        left_out: &BTreeSet<Uuid>,
        window: Window,
    ) -> Option<String> {
        let prev = self.prev.as_ref()?;
        if self.prev_id().is_some_and(|id| left_out.contains(&id)) {
            return None;
        }
        if all.iter().any(|other| self.follows(other)) {
            return None;
        }
        if all.iter().any(|other| other.origin == prev.origin) {
            return Some(format!(
                "it names {} with {} leaves as the log before it, and that is another here",
                prev.origin, prev.size
            ));
        }
        match recorder::parse_timestamp(&prev.time) {
            Some(time) if time < window.from_ns => None,
            _ => Some(format!(
                "the log before it, {}, has leaves of the window and is missing",
                prev.origin
            )),
        }
    }
}

/// How many entries the bundle with this index has in a log of this size.
pub fn width(size: u64, index: u64) -> u16 {
    let rest = size.saturating_sub(index.saturating_mul(BUNDLE));
    u16::try_from(rest.min(BUNDLE)).unwrap_or(TILE_WIDTH)
}

/// The log of an origin: `<name>/<id>`.
pub fn id_of(origin: &str) -> Option<(&str, Uuid)> {
    let (name, id) = origin.rsplit_once('/')?;
    let parsed: Uuid = id.parse().ok()?;
    (parsed.as_hyphenated().to_string() == id).then_some((name, parsed))
}

/// Leaves of one log in order: their times must not go back.
#[derive(Default)]
pub struct Clock {
    last_ns: u64,
}

impl Clock {
    /// The leaf's time; none where it is before the leaf before.
    pub fn tick(&mut self, leaf: &Leaf) -> Result<Option<u64>, LeafError> {
        let time = leaf.time_ns()?;
        if time < self.last_ns {
            return Ok(None);
        }
        self.last_ns = time;
        Ok(Some(time))
    }
}
