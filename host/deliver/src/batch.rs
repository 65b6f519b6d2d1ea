//! Events that are sent together, and what has become of each.

use std::time::Duration;

use recorder::LogEnd;
use serde_json::Value;

use crate::status::now_ms;

/// So often an event is refused alone before it is set aside.
pub const REFUSALS: u32 = 3;
/// If so many events in a row would be set aside, the receiver is what is wrong. So it is, if more than half of a
/// batch would be; but one event alone is no sign of that.
const MAX_IN_A_ROW: u32 = 10;

/// One OCSF event.
#[derive(Debug, Clone)]
pub struct Event {
    /// `metadata.uid`: the same whenever it is sent.
    pub uid: String,
    /// Milliseconds since 1970.
    pub time_ms: u64,
    pub value: Value,
    /// As it is sent.
    pub json: String,
    pub fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Todo,
    Taken,
    /// Alone.
    Refused(Refusals),
    /// It cannot be sent to this receiver at all.
    Unfit,
}

/// By the clock, so that a restart does not begin it anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusals {
    pub times: u32,
    /// Milliseconds since 1970.
    pub first_ms: u64,
    pub last_ms: u64,
    /// The last one looks like a fault that passes. It is not kept: before anything hangs on it, the event is
    /// sent once more.
    pub may_pass: bool,
}

/// So many times longer it is waited for what looks like a fault that passes.
const MAY_PASS: u32 = 6;

impl Refusals {
    /// Are they many enough, over a time that is long enough for somebody to repair the receiver?
    pub fn suffice(&self, span: Duration) -> bool {
        let span = match self.may_pass {
            true => span.saturating_mul(MAY_PASS),
            false => span,
        };
        let lasted = Duration::from_millis(self.last_ms.saturating_sub(self.first_ms));
        self.times >= REFUSALS && lasted >= span
    }
}

impl Fate {
    /// Once more.
    pub fn refused(self, may_pass: bool) -> Self {
        let last_ms = now_ms();
        let (times, first_ms) = match self {
            Self::Refused(before) => (before.times.saturating_add(1), before.first_ms),
            Self::Todo | Self::Taken | Self::Unfit => (1, last_ms),
        };
        Self::Refused(Refusals {
            times,
            first_ms,
            last_ms,
            may_pass,
        })
    }
}

impl Event {
    pub fn new(value: Value) -> Self {
        let uid = value.pointer("/metadata/uid").and_then(Value::as_str);
        Self {
            uid: uid.unwrap_or_default().to_owned(),
            time_ms: value.get("time").and_then(Value::as_u64).unwrap_or(0),
            json: value.to_string(),
            value,
            fate: Fate::Todo,
        }
    }
}

/// Events of one log, in order.
#[derive(Debug, Clone)]
pub struct Batch {
    pub events: Vec<Event>,
    /// Where the cursor is once they are taken.
    pub end: LogEnd,
    pub next: u64,
}

impl Batch {
    /// What has not been sent.
    pub fn todo(&self) -> Vec<usize> {
        let todo = self.events.iter().enumerate();
        let todo = todo.filter(|(_, e)| e.fate == Fate::Todo);
        todo.map(|(index, _)| index).collect()
    }

    pub fn get(&self, indices: &[usize]) -> Vec<&Event> {
        indices.iter().filter_map(|i| self.events.get(*i)).collect()
    }

    pub fn mark(&mut self, indices: &[usize], fate: impl Fn(Fate) -> Fate) {
        for index in indices {
            if let Some(event) = self.events.get_mut(*index) {
                event.fate = fate(event.fate);
            }
        }
    }

    pub fn refused(&self) -> impl Iterator<Item = (usize, &Event, Refusals)> {
        self.events
            .iter()
            .enumerate()
            .filter_map(|(i, e)| match e.fate {
                Fate::Refused(refusals) => Some((i, e, refusals)),
                Fate::Todo | Fate::Taken | Fate::Unfit => None,
            })
    }

    /// What is not sent, because it cannot be.
    pub fn mark_unfit(&mut self, is_unfit: impl Fn(&Event) -> bool) {
        for event in &mut self.events {
            if event.fate == Fate::Todo && is_unfit(event) {
                event.fate = Fate::Unfit;
            }
        }
    }

    /// May what was refused be set aside, when so many events before it were? Gives how many are at the end.
    /// None: they are too many.
    pub fn to_set_aside(&self, mut in_a_row: u32) -> Option<u32> {
        let refused = self.refused().count();
        if refused > 1 && refused > self.events.len() / 2 {
            return None;
        }
        for event in &self.events {
            in_a_row = match event.fate {
                Fate::Refused(_) => in_a_row.saturating_add(1),
                Fate::Todo | Fate::Taken => 0,
                // That says nothing of the receiver.
                Fate::Unfit => in_a_row,
            };
            if in_a_row >= MAX_IN_A_ROW {
                return None;
            }
        }
        Some(in_a_row)
    }
}
