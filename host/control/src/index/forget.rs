//! A session leaves the index in pieces, so that whoever writes never waits for long.
//!
//! From the first piece on nothing of it is taken or found. FTS5 removes the words from its pages
//! (`secure-delete`), but not from its directory of these, the table `words_idx`: there, each page has as much
//! of the word that it once began with as tells it from the page before. So those that no word begins with
//! any more are replaced, which takes no time that grows with what others have said.

use rusqlite::{Connection, OptionalExtension, params};

use super::retain::{GOING, remove, settle};
use super::write::{Remembered, db};
use super::{Index, PAUSE, remove_put_aside};
use crate::store::{Result, StoreError};

/// Entries in one piece.
pub(super) const ENTRIES: i64 = 500;
/// Lines of the directory in one piece.
const LINES: usize = 64;
/// FTS5 puts this before each word; others would be of an index of beginnings, which is not kept.
const WORD: u8 = b'0';

/// A session on its way out.
pub struct Leaving {
    index: Index,
    session: [u8; 16],
    /// Of the file that it leaves: one that was made anew meanwhile had the rest of it put aside.
    generation: u64,
    pub(super) left: Left,
    had_any: bool,
}

pub(super) enum Left {
    Entries,
    /// The directory's lines behind this one.
    Directory(i64, Vec<u8>),
    Nothing,
}

impl Index {
    /// Erases a session: neither its entries nor anything that was only theirs is in the file any more,
    /// and nothing of it is taken again. True when there was any. What SQLite keeps beside the file can have
    /// it until [`Index::settle`]. Blocks.
    pub fn forget(&self, session: [u8; 16]) -> Result<bool> {
        let mut leaving = self.leaving(session)?;
        while leaving.step()? {
            std::thread::sleep(PAUSE);
        }
        self.write(|w| w.check(leaving.generation))?;
        Ok(leaving.had_any)
    }

    /// The same in steps, for whoever has other things to do between them. Blocks.
    pub fn leaving(&self, session: [u8; 16]) -> Result<Leaving> {
        // Nobody can erase a part of what cannot be read.
        let generation = self.write(|w| {
            remove_put_aside(&self.inner.path).map_err(super::unwritten)?;
            Ok(w.generation)
        })?;
        Ok(Leaving {
            index: self.clone(),
            session,
            generation,
            left: Left::Entries,
            had_any: false,
        })
    }

    /// What was removed is not beside the file either. An error while somebody reads it. Blocks.
    pub fn settle(&self) -> Result<()> {
        self.write(|w| settle(&w.connection))
    }
}

impl Leaving {
    /// One piece. True when there is more to do. Blocks.
    pub fn step(&mut self) -> Result<bool> {
        self.left = match &self.left {
            Left::Entries => {
                let session = self.session;
                let piece = |w: &mut super::Writing| {
                    w.check(self.generation)?;
                    entries(&mut w.connection, &mut w.remembered, session)
                };
                let gone = self.index.write(piece)?;
                self.had_any |= gone > 0;
                match gone < ENTRIES {
                    true => Left::Directory(-1, Vec::new()),
                    false => Left::Entries,
                }
            }
            Left::Directory(segment, word) => {
                let piece = |w: &mut super::Writing| {
                    w.check(self.generation)?;
                    lines(&mut w.connection, *segment, word)
                };
                match self.index.write(piece)? {
                    Some((segment, word)) => Left::Directory(segment, word),
                    None => Left::Nothing,
                }
            }
            Left::Nothing => Left::Nothing,
        };
        Ok(!matches!(self.left, Left::Nothing))
    }

    /// As [`Index::settle`], of the file that it has left. Blocks.
    pub fn settle(&self) -> Result<()> {
        self.index.write(|w| {
            w.check(self.generation)?;
            settle(&w.connection)
        })
    }
}

/// Removes some of the session's entries; how many.
fn entries(c: &mut Connection, remembered: &mut Remembered, stream: [u8; 16]) -> Result<i64> {
    remembered.forget();
    let tx = c.transaction().map_err(db)?;
    tx.execute_batch(GOING).map_err(db)?;
    for statement in [
        "INSERT INTO streams (uuid, forgotten) VALUES (?1, 1) \
         ON CONFLICT (uuid) DO UPDATE SET forgotten = 1",
        "UPDATE streams SET target = NULL, database = NULL, source = NULL, ended = 1 WHERE uuid = ?1",
        "DELETE FROM late WHERE stream = (SELECT id FROM streams WHERE uuid = ?1)",
    ] {
        tx.execute(statement, [stream]).map_err(db)?;
    }
    let gone = tx
        .execute(
            "INSERT INTO going SELECT id, stream, actor, shape, text FROM entries \
             WHERE stream = (SELECT id FROM streams WHERE uuid = ?1) LIMIT ?2",
            params![stream, ENTRIES],
        )
        .map_err(db)?;
    let gone = i64::try_from(gone).unwrap_or(ENTRIES);
    if gone < ENTRIES {
        // Whose it was goes with the last of it. No entry has this number.
        for statement in [
            "INSERT INTO going (id, stream, actor) SELECT -1, id, actor FROM streams WHERE uuid = ?1",
            "UPDATE streams SET actor = NULL WHERE uuid = ?1",
        ] {
            tx.execute(statement, [stream]).map_err(db)?;
        }
    }
    remove(&tx)?;
    tx.commit().map_err(db)?;
    Ok(gone)
}

/// Looks at lines of the directory behind this one, and replaces what begins no word any more. The last one
/// that was looked at, unless that was the last of all.
fn lines(c: &mut Connection, segment: i64, word: &[u8]) -> Result<Option<(i64, Vec<u8>)>> {
    let tx = c.transaction().map_err(db)?;
    tx.execute_batch(
        "CREATE VIRTUAL TABLE IF NOT EXISTS temp.vocabulary USING fts5vocab('main', 'words', 'instance')",
    )
    .map_err(db)?;
    // One more, since a line has to stay before the one that follows it.
    let found: Vec<(i64, Vec<u8>)> = {
        let mut statement = tx
            .prepare_cached(
                "SELECT segid, CAST(term AS BLOB) FROM words_idx WHERE (segid, term) > (?1, ?2) \
                 ORDER BY segid, term LIMIT ?3",
            )
            .map_err(db)?;
        let most = i64::try_from(LINES + 1).unwrap_or(i64::MAX);
        let rows = statement
            .query_map(params![segment, word, most], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .map_err(db)?;
        rows.collect::<rusqlite::Result<_>>().map_err(db)?
    };
    for (at, (segment, line)) in found.iter().enumerate().take(LINES) {
        let next = found.get(at + 1).filter(|(of, _)| of == segment);
        mend(&tx, *segment, line, next.map(|(_, line)| line.as_slice()))?;
    }
    tx.commit().map_err(db)?;
    let is_last = found.len() <= LINES;
    Ok(found.into_iter().nth(LINES - 1).filter(|_| !is_last))
}

/// A line says: what is here or greater, and less than the next line, is on this page or behind it. All
/// words of the page are words of the index, so the least of these from here on says the same. Where that
/// belongs to the next line, no word is left on the page.
fn mend(c: &Connection, segment: i64, line: &[u8], next: Option<&[u8]>) -> Result<()> {
    let Some((&WORD, word)) = line.split_first() else {
        // The first page of all has no word there.
        return match line.is_empty() {
            true => Ok(()),
            false => Err(StoreError::Corrupt {
                what: "the directory of words",
                why: "it has a line of a kind that is not known".into(),
            }),
        };
    };
    let least: Option<Vec<u8>> = c
        .prepare_cached(
            "SELECT CAST(term AS BLOB) FROM temp.vocabulary WHERE term >= CAST(?1 AS TEXT) LIMIT 1",
        )
        .and_then(|mut s| s.query_row([word], |row| row.get(0)).optional())
        .map_err(db)?;
    if least.as_ref().is_some_and(|least| least.starts_with(word)) {
        return Ok(());
    }
    let least = least.map(|least| [&[WORD], least.as_slice()].concat());
    match least.filter(|least| next.is_none_or(|next| least.as_slice() < next)) {
        Some(least) => c.execute(
            "UPDATE words_idx SET term = ?3 WHERE segid = ?1 AND term = ?2",
            params![segment, line, least],
        ),
        None => c.execute(
            "DELETE FROM words_idx WHERE segid = ?1 AND term = ?2",
            params![segment, line],
        ),
    }
    .map(drop)
    .map_err(db)
}
