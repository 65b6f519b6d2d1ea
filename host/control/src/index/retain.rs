//! What goes because it is older or more than is kept, in steps.

use rusqlite::{Connection, params};

use super::write::{Remembered, db, drop_text};
use crate::store::{Millis, Result, StoreError, int};

/// Entries that go in one transaction.
const STEP: i64 = 2_000;
/// Pages that are given back to the file system at once.
const PAGES: u32 = 2_000;
/// Where the entries stand that go now.
pub(super) const GOING: &str = "CREATE TEMP TABLE IF NOT EXISTS going (id INTEGER PRIMARY KEY, \
     stream INTEGER, actor INTEGER, shape INTEGER, text INTEGER); DELETE FROM going;";

/// Removes the oldest entries: those before `since`, and as many as it takes for the rest to need at
/// most `bytes`. One step; true when there may be more to do.
pub(super) fn step(
    c: &mut Connection,
    remembered: &mut Remembered,
    since: Millis,
    bytes: u64,
) -> Result<bool> {
    let (before, most) = match used(c)? > bytes {
        true => (i64::MAX, STEP),
        false => (int(since), STEP),
    };
    remembered.forget();
    let tx = c.transaction().map_err(db)?;
    tx.execute_batch(GOING).map_err(db)?;
    let gone = tx
        .execute(
            "INSERT INTO going SELECT id, stream, actor, shape, text FROM entries \
             WHERE at < ?1 ORDER BY at, id LIMIT ?2",
            params![before, most],
        )
        .map_err(db)?;
    if gone > 0 {
        remove(&tx)?;
    }
    tx.commit().map_err(db)?;
    give_back(c)?;
    Ok(i64::try_from(gone).unwrap_or(STEP) >= STEP)
}

/// Bytes that are in use in the file.
fn used(c: &Connection) -> Result<u64> {
    let pragma = |name: &str| -> Result<u64> {
        let value: i64 = c
            .query_row(&format!("PRAGMA {name}"), [], |row| row.get(0))
            .map_err(db)?;
        Ok(value.cast_unsigned())
    };
    let pages = pragma("page_count")?.saturating_sub(pragma("freelist_count")?);
    Ok(pages.saturating_mul(pragma("page_size")?))
}

/// With `secure_delete` pages are overwritten; in the file's own log they are still as they were.
pub(super) fn settle(c: &Connection) -> Result<()> {
    let is_busy: bool = c
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
        .map_err(db)?;
    match is_busy {
        true => Err(StoreError::InUse),
        false => Ok(()),
    }
}

/// Gives free pages back to the file system.
fn give_back(c: &Connection) -> Result<()> {
    let mut statement = c
        .prepare(&format!("PRAGMA incremental_vacuum({PAGES})"))
        .map_err(db)?;
    // A page with each step.
    let mut rows = statement.query([]).map_err(db)?;
    while rows.next().map_err(db)?.is_some() {}
    Ok(())
}

/// Removes the entries in `going`, and what only they had.
pub(super) fn remove(c: &Connection) -> Result<()> {
    c.execute_batch(
        "DELETE FROM approvals WHERE entry IN (SELECT id FROM going);
         DELETE FROM entries WHERE id IN (SELECT id FROM going);
         DELETE FROM shapes WHERE id IN (SELECT shape FROM going)
           AND NOT EXISTS (SELECT 1 FROM entries WHERE entries.shape = shapes.id);
         DELETE FROM terms WHERE shape IN (SELECT shape FROM going)
           AND NOT EXISTS (SELECT 1 FROM shapes WHERE shapes.id = terms.shape);
         DELETE FROM streams WHERE id IN (SELECT stream FROM going) AND ended = 1 AND forgotten = 0
           AND NOT EXISTS (SELECT 1 FROM entries WHERE entries.stream = streams.id);
         DELETE FROM actors WHERE id IN (SELECT actor FROM going)
           AND NOT EXISTS (SELECT 1 FROM entries WHERE entries.actor = actors.id)
           AND NOT EXISTS (SELECT 1 FROM streams WHERE streams.actor = actors.id);
         DELETE FROM people WHERE actor IN (SELECT actor FROM going)
           AND NOT EXISTS (SELECT 1 FROM actors WHERE actors.id = people.actor);",
    )
    .map_err(db)?;
    let mut texts = c
        .prepare("SELECT DISTINCT text FROM going WHERE text IS NOT NULL")
        .map_err(db)?;
    let texts: Vec<i64> = texts
        .query_map([], |row| row.get(0))
        .and_then(Iterator::collect)
        .map_err(db)?;
    for text in texts {
        drop_text(c, text)?;
    }
    c.execute_batch("DELETE FROM going").map_err(db)
}
