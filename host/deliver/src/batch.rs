//! Events that are sent together, and what has become of each.

use recorder::LogEnd;
use serde_json::Value;

/// So often an event is refused alone before it is set aside.
pub const REFUSALS: u32 = 3;

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
    /// So often it was refused alone.
    Refused(u32),
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

    pub fn refused(&self) -> impl Iterator<Item = (usize, &Event, u32)> {
        self.events
            .iter()
            .enumerate()
            .filter_map(|(i, e)| match e.fate {
                Fate::Refused(times) => Some((i, e, times)),
                Fate::Todo | Fate::Taken => None,
            })
    }
}
