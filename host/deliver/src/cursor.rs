//! How far a receiver has come: one small file, replaced as a whole.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use recorder::LogEnd;
use recorder::disk::RealDisk;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

const VERSION: u32 = 1;
/// No cursor is longer.
const MAX_FILE: u64 = 64 << 10;

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
        }
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
            file.take(MAX_FILE).read_to_end(&mut bytes)?;
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
