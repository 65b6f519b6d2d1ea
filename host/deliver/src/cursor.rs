//! How far a receiver has come: one small file, replaced as a whole.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use recorder::LogEnd;
use recorder::disk::RealDisk;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::batch::{Batch, Event, Fate, Refusals};

const VERSION: u32 = 1;
/// No cursor is longer.
const MAX_FILE: u64 = 1 << 20;
/// Of more events it is not kept when they were refused.
const MAX_REFUSED: usize = 5_000;
/// A longer event is not kept to see if the receiver takes anything.
const MAX_PROBE: usize = 64 << 10;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    v: u32,
    pub log: Uuid,
    /// The first leaf that the receiver has not taken.
    pub next: u64,
    /// The log as far as it was known to be durable: if nothing comes to tell its end, this much of it can
    /// be proved.
    known: Option<Known>,
    /// Events that were set aside, ever.
    pub aside: u64,
    /// The log that it began with, with its first leaf: what earlier ones have the receiver was never sent.
    #[serde(default)]
    pub began: Option<Uuid>,
    /// Which events after the cursor were refused alone, and when: a restart does not begin that anew.
    #[serde(default)]
    refused: Vec<Refused>,
    /// The last event that the receiver has taken.
    #[serde(default)]
    probe: Option<Value>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Refused {
    uid: String,
    times: u32,
    first_ms: u64,
    last_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    origin: String,
    size: u64,
    root: [u8; 32],
}

#[derive(Debug, thiserror::Error)]
pub enum CursorError {
    #[error("{path} cannot be read: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "{path} is damaged, so nobody knows what the receiver has: restore it, or remove it to go on \
         with what is recorded from then on"
    )]
    Damaged { path: PathBuf },
    #[error(
        "{path} was there when Weir started, and is gone, so nobody knows what the receiver has: restore it, \
         or start Weir again to go on with what is recorded from then on"
    )]
    Gone { path: PathBuf },
    #[error("{path} cannot be written: {source}")]
    Write { path: PathBuf, source: io::Error },
}

impl Cursor {
    /// At the beginning of a log.
    pub fn begin(log: Uuid) -> Self {
        Self {
            v: VERSION,
            log,
            next: 0,
            known: None,
            aside: 0,
            began: Some(log),
            refused: Vec::new(),
            probe: None,
        }
    }

    /// Keeps what was refused of this batch, and what was taken last.
    pub fn remember(&mut self, batch: Option<&Batch>, probe: Option<&Event>) {
        let refused = batch.into_iter().flat_map(Batch::refused);
        let refused = refused.take(MAX_REFUSED).map(|(_, event, r)| Refused {
            uid: self.short(&event.uid).to_owned(),
            times: r.times,
            first_ms: r.first_ms,
            last_ms: r.last_ms,
        });
        self.refused = refused.collect();
        let probe = probe.filter(|event| event.json.len() <= MAX_PROBE);
        self.probe = probe.map(|event| event.value.clone());
    }

    pub fn probe(&self) -> Option<Event> {
        self.probe.clone().map(Event::new)
    }

    /// Marks what was refused before.
    pub fn recall(&self, batch: &mut Batch) {
        let known: BTreeMap<&str, &Refused> = self.refused.iter().map(|r| (&*r.uid, r)).collect();
        for event in &mut batch.events {
            if let Some(refused) = known.get(self.short(&event.uid)) {
                event.fate = Fate::Refused(Refusals {
                    times: refused.times,
                    first_ms: refused.first_ms,
                    last_ms: refused.last_ms,
                    may_pass: false,
                });
            }
        }
    }

    /// Without the log, where it is the cursor's: so many of them fit.
    fn short<'a>(&self, uid: &'a str) -> &'a str {
        let rest = uid.strip_prefix(&*self.log.to_string());
        rest.unwrap_or(uid)
    }

    pub fn end(&self) -> Option<LogEnd> {
        self.known.as_ref().map(|known| LogEnd {
            log: self.log,
            origin: known.origin.clone(),
            size: known.size,
            root: known.root,
        })
    }

    pub fn move_to(&mut self, end: &LogEnd, next: u64) {
        self.log = end.log;
        self.next = next;
        self.refused.clear();
        self.known = Some(Known {
            origin: end.origin.clone(),
            size: end.size,
            root: end.root,
        });
    }

    pub fn path(dir: &Path, name: &str) -> PathBuf {
        dir.join(format!("{name}.cursor"))
    }

    /// None: there is none yet.
    pub fn load(path: &Path) -> Result<Option<Self>, CursorError> {
        let read = || {
            let mut bytes = Vec::new();
            let file = std::fs::File::open(path)?;
            file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
            Ok::<_, io::Error>(bytes)
        };
        let bytes = match read() {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                let path = path.to_owned();
                return Err(CursorError::Read { path, source });
            }
        };
        match recorder::read_doc(&bytes).filter(|cursor: &Self| cursor.v == VERSION) {
            Some(cursor) => Ok(Some(cursor)),
            None => Err(CursorError::Damaged {
                path: path.to_owned(),
            }),
        }
    }

    /// Durably.
    pub fn save(&self, path: &Path) -> Result<(), CursorError> {
        let written = recorder::replace_doc(&RealDisk, path, self);
        written.map_err(|source| CursorError::Write {
            path: path.to_owned(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_much_as_is_kept_fits_into_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = Cursor::path(dir.path(), "siem");
        let log = Uuid::from_u128(u128::MAX);
        let mut cursor = Cursor::begin(log);
        let event = |n: u64| {
            let uid = format!("{log}/{}/approval-{n}", u64::MAX - n);
            let mut event = Event::new(serde_json::json!({ "metadata": { "uid": uid } }));
            event.fate = Fate::Refused(Refusals {
                times: u32::MAX,
                first_ms: u64::MAX,
                last_ms: u64::MAX,
                may_pass: false,
            });
            event
        };
        let mut batch = Batch {
            events: (0..MAX_REFUSED as u64 + 1).map(event).collect(),
            end: LogEnd {
                log,
                origin: String::new(),
                size: u64::MAX,
                root: [0; 32],
            },
            next: 1,
        };
        let long = Event::new(serde_json::json!({ "message": "x".repeat(MAX_PROBE - 20) }));
        cursor.remember(Some(&batch), Some(&long));
        cursor.save(&path).unwrap();
        let loaded = Cursor::load(&path).unwrap().unwrap();
        assert_eq!(loaded, cursor);
        assert_eq!(loaded.probe().unwrap().json, long.json);
        for event in &mut batch.events {
            event.fate = Fate::Todo;
        }
        loaded.recall(&mut batch);
        assert_eq!(batch.refused().count(), MAX_REFUSED);
        // What is longer is not kept; where the cursor moves, nothing is.
        let long = Event::new(serde_json::json!({ "message": "x".repeat(MAX_PROBE) }));
        cursor.remember(None, Some(&long));
        assert_eq!((cursor.probe().is_none(), cursor.refused.len()), (true, 0));
    }

    #[test]
    fn a_cursor_is_what_was_saved_or_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = Cursor::path(dir.path(), "siem");
        assert_eq!(Cursor::load(&path).unwrap(), None);
        let mut cursor = Cursor::begin(Uuid::from_u128(1));
        let end = LogEnd {
            log: Uuid::from_u128(2),
            origin: "weir/x".into(),
            size: 7,
            root: [3; 32],
        };
        cursor.move_to(&end, 5);
        cursor.save(&path).unwrap();
        let loaded = Cursor::load(&path).unwrap().unwrap();
        assert_eq!((loaded.end(), loaded.next), (Some(end), 5));
        let whole = std::fs::read(&path).unwrap();
        let changed = String::from_utf8(whole.clone()).unwrap();
        let changed = changed.replace("\"next\":5", "\"next\":6").into_bytes();
        for damaged in [&whole[..whole.len() - 1], &[], &changed] {
            std::fs::write(&path, damaged).unwrap();
            let error = Cursor::load(&path).unwrap_err();
            assert!(matches!(error, CursorError::Damaged { .. }), "{error}");
        }
    }
}
