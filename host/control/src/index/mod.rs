//! The index of the record: what `weir audit` searches. A file of its own beside the state, so that a
//! large index slows nothing else down.
//!
//! It is derived: everything in it is in the record, too, and a file that is lost, damaged or of another
//! Weir's making is put aside and made anew from there. What is told to it holds no value of anybody's
//! data; it trusts whoever tells it (the server's adapter) for that. What leaves it, by age, size or
//! erasure, leaves its file: SQLite overwrites what it deletes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::{Connection, ErrorCode, OptionalExtension};
use tokio::sync::Semaphore;

use crate::error::ControlError;
use crate::store::{Lock, Millis, Result, StoreError, connect, lock, make_private};

mod entry;
mod forget;
mod retain;
mod search;
mod write;

pub use entry::{
    IndexAct, IndexAction, IndexEntry, IndexOutcome, IndexPlace, IndexShape, IndexStart, IndexText,
    IndexWho, Indexed,
};
pub use forget::Leaving;
pub(crate) use search::{Found, KINDS, Query, parse_cursor, words};
use write::{From, Remembered, WRITE, db};

/// What the file must say it is: its schema is not migrated, but made anew.
const VERSION: i64 = 1;
/// Searches at once.
const SEARCHES: usize = 4;
/// Between two steps, for whoever else writes.
pub(crate) const PAUSE: Duration = Duration::from_millis(50);
/// Statements that stay prepared.
const STATEMENTS: usize = 64;
/// Steps at one time; the next time goes on.
const MOST_STEPS: u32 = 500;

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexLimits {
    pub age: Duration,
    pub bytes: u64,
}

impl Default for IndexLimits {
    fn default() -> Self {
        Self {
            age: Duration::from_secs(400 * 24 * 3600),
            bytes: 20 << 30,
        }
    }
}

/// The index. Cheap to clone.
#[derive(Clone)]
pub struct Index {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    limits: IndexLimits,
    writer: Mutex<Writing>,
    searches: Arc<Semaphore>,
    _lock: Lock,
}

struct Writing {
    connection: Connection,
    remembered: Remembered,
    /// How often the file was made anew.
    generation: u64,
}

impl Writing {
    fn check(&self, generation: u64) -> Result<()> {
        match self.generation == generation {
            true => Ok(()),
            false => Err(StoreError::Closed),
        }
    }
}

/// Which older records are still to be read from where they are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backfill {
    Done,
    Behind {
        /// Those of the segments behind this key.
        after: Option<String>,
        /// Of the file, which can be made anew meanwhile.
        generation: u64,
    },
}

impl Index {
    /// Opens or makes the file, for this process alone. What cannot be used is put aside. Blocks.
    pub fn open(path: &Path, limits: IndexLimits) -> std::result::Result<Self, ControlError> {
        let locked = lock(path)?;
        let connection = match open(path) {
            Ok(connection) => connection,
            Err(error) if is_useless(&error) => {
                tracing::error!(%error, path = %path.display(), "the index is made anew");
                put_aside(path).map_err(|source| ControlError::File {
                    path: path.to_owned(),
                    source,
                })?;
                open(path)?
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Self {
            inner: Arc::new(Inner {
                path: path.to_owned(),
                limits,
                writer: Mutex::new(Writing {
                    connection,
                    remembered: Remembered::default(),
                    generation: 0,
                }),
                searches: Arc::new(Semaphore::new(SEARCHES)),
                _lock: locked,
            }),
        })
    }

    /// Runs on the writing connection. A file that turns out to be damaged is replaced by an empty one,
    /// and the call fails.
    fn write<T>(&self, run: impl FnOnce(&mut Writing) -> Result<T>) -> Result<T> {
        let mut writing = self.inner.writer.lock();
        let result = run(&mut writing);
        if let Err(error) = &result
            && is_useless(error)
        {
            let path = &self.inner.path;
            tracing::error!(%error, path = %path.display(), "the index is damaged, and made anew");
            writing.remembered = Remembered::default();
            // Closed before it is moved.
            writing.connection = Connection::open_in_memory().map_err(db)?;
            put_aside(path).map_err(unwritten)?;
            writing.connection = open(path)?;
            writing.generation += 1;
        }
        result
    }

    /// How far the write-ahead log was read. Blocks.
    pub fn place(&self) -> Result<Option<IndexPlace>> {
        self.write(|w| {
            w.connection
                .query_row(
                    "SELECT file, chain FROM meta WHERE file IS NOT NULL AND chain IS NOT NULL",
                    [],
                    |row| {
                        let file: i64 = row.get(0)?;
                        Ok(IndexPlace {
                            file: file.cast_unsigned(),
                            chain: row.get(1)?,
                        })
                    },
                )
                .optional()
                .map_err(db)
        })
    }

    /// Takes records of the write-ahead log, and the place behind them: durable when it returns. Blocks.
    pub fn take(&self, entries: &[IndexEntry], place: IndexPlace) -> Result<()> {
        let from = From::Log(place);
        self.write(|w| write::take(&mut w.connection, &mut w.remembered, entries, &from))
    }

    /// The same for the records of a stored segment. Blocks.
    pub fn take_stored(&self, entries: &[IndexEntry], key: &str, generation: u64) -> Result<()> {
        let from = From::Stored(key);
        self.write(|w| {
            w.check(generation)?;
            write::take(&mut w.connection, &mut w.remembered, entries, &from)
        })
    }

    /// Blocks.
    pub fn backfill(&self) -> Result<Backfill> {
        self.write(|w| {
            let (done, key): (bool, Option<String>) = w
                .connection
                .query_row("SELECT backfilled, backfill FROM meta", [], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })
                .map_err(db)?;
            Ok(match done {
                true => Backfill::Done,
                false => Backfill::Behind {
                    after: key,
                    generation: w.generation,
                },
            })
        })
    }

    /// All older records were read. Blocks.
    pub fn backfilled(&self, generation: u64) -> Result<()> {
        self.write(|w| {
            w.check(generation)?;
            w.connection
                .execute_batch(
                    "BEGIN IMMEDIATE; UPDATE meta SET backfilled = 1; DELETE FROM late; COMMIT",
                )
                .map_err(db)
        })
    }

    /// Everything is read again from where it is stored. Blocks.
    pub fn rebuild(&self) -> Result<()> {
        self.write(|w| {
            w.generation += 1;
            w.connection
                .execute("UPDATE meta SET backfilled = 0, backfill = NULL", [])
                .map(drop)
                .map_err(db)
        })
    }

    /// Removes what is too old or too much, in steps. Blocks.
    pub fn tidy_up(&self, now: Millis) -> Result<()> {
        let IndexLimits { age, bytes } = self.inner.limits;
        let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        let since = now.saturating_sub(age);
        for _ in 0..MOST_STEPS {
            let more =
                self.write(|w| retain::step(&mut w.connection, &mut w.remembered, since, bytes))?;
            if !more {
                break;
            }
            std::thread::sleep(PAUSE);
        }
        self.write(|w| retain::settle(&w.connection))
    }

    /// Searches, within a time.
    pub(crate) async fn search(&self, query: Query) -> Result<Found> {
        let Ok(place) = self.inner.searches.clone().try_acquire_owned() else {
            return Err(StoreError::Busy(SEARCHES));
        };
        let path = self.inner.path.clone();
        let search = move || {
            let _place = place;
            search::run(connect(&path, true)?, &query)
        };
        tokio::task::spawn_blocking(search)
            .await
            .unwrap_or(Err(StoreError::Closed))
    }
}

/// Is this file of no use, now and later?
fn is_useless(error: &StoreError) -> bool {
    match error {
        StoreError::Newer { .. } => true,
        StoreError::Database { source, .. } => matches!(
            source.sqlite_error_code(),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        ),
        _ => false,
    }
}

fn unwritten(error: std::io::Error) -> StoreError {
    StoreError::Corrupt {
        what: WRITE,
        why: error.to_string(),
    }
}

fn open(path: &Path) -> Result<Connection> {
    make_private(path).map_err(unwritten)?;
    if std::fs::metadata(path).is_ok_and(|m| m.len() == 0) {
        make(path)?;
    }
    let connection = connect(path, false)?;
    for (pragma, value) in [("secure_delete", "ON"), ("temp_store", "MEMORY")] {
        connection.pragma_update(None, pragma, value).map_err(db)?;
    }
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    let found: i64 = connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(db)?;
    if found != VERSION {
        let known = VERSION;
        return Err(StoreError::Newer { found, known });
    }
    Ok(connection)
}

fn make(path: &Path) -> Result<()> {
    let mut connection = Connection::open(path).map_err(db)?;
    // Only an empty file can be told.
    connection
        .pragma_update(None, "auto_vacuum", "INCREMENTAL")
        .map_err(db)?;
    let tx = connection.transaction().map_err(db)?;
    tx.execute_batch(include_str!("schema.sql")).map_err(db)?;
    tx.pragma_update(None, "user_version", VERSION)
        .map_err(db)?;
    tx.commit().map_err(db)
}

/// The file and what SQLite keeps beside it, and where they are put aside.
fn parts(path: &Path) -> [(PathBuf, PathBuf); 3] {
    ["-wal", "-shm", ""].map(|end| {
        let with = |end: &str| {
            let mut name = path.as_os_str().to_owned();
            name.push(end);
            PathBuf::from(name)
        };
        (with(end), with(&format!(".damaged{end}")))
    })
}

/// Moves the file out of the way. Of earlier ones only the last is kept.
fn put_aside(path: &Path) -> std::io::Result<()> {
    remove_put_aside(path)?;
    parts(path)
        .iter()
        .try_for_each(|(from, to)| unless_missing(std::fs::rename(from, to)))
}

fn remove_put_aside(path: &Path) -> std::io::Result<()> {
    parts(path)
        .iter()
        .try_for_each(|(_, aside)| unless_missing(std::fs::remove_file(aside)))
}

fn unless_missing(result: std::io::Result<()>) -> std::io::Result<()> {
    match result {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests;
