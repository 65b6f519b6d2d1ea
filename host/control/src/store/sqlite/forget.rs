//! What goes when a session is erased.

use std::collections::BTreeSet;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, TransactionBehavior, params};

use super::file::BUSY;
use super::{db, int, json, parse};
use crate::store::{HoldDocument, Result, StoreError, hold::ERASED};

const WHAT: &str = "forgetting a session";
/// How long whoever reads the file is waited for. Others wait for this meanwhile, and it is tried again.
const PATIENCE: Duration = Duration::from_millis(500);
/// Sessions that are remembered to be in no free page of the file.
const MOST: usize = 2_048;

/// Sessions that left the file before it was last written anew. What SQLite keeps beside it may have them.
#[derive(Default)]
pub(super) struct Rewritten(BTreeSet<String>);

/// With `secure_delete`, what was in the rows is overwritten. Then the file is written anew, since pages may
/// be free in it from a time without that, and what SQLite keeps beside the file goes. While somebody reads
/// the file, that stays; then it is not written anew either, nor is it ever twice for one session.
pub(super) fn session(c: &mut Connection, id: &str, rewritten: &mut Rewritten) -> Result<()> {
    rows(c, id)?;
    c.busy_timeout(PATIENCE).map_err(db(WHAT))?;
    let done = file(c, id, rewritten);
    c.busy_timeout(BUSY).map_err(db(WHAT))?;
    done
}

fn file(c: &Connection, id: &str, rewritten: &mut Rewritten) -> Result<()> {
    settle(c)?;
    if !rewritten.0.contains(id) {
        c.execute_batch("VACUUM").map_err(busy)?;
        if rewritten.0.len() >= MOST {
            rewritten.0.clear();
        }
        rewritten.0.insert(id.to_owned());
        settle(c)?;
    }
    rewritten.0.remove(id);
    Ok(())
}

fn settle(c: &Connection) -> Result<()> {
    let is_busy: bool = c
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
        .map_err(busy)?;
    match is_busy {
        true => Err(StoreError::InUse),
        false => Ok(()),
    }
}

fn rows(c: &mut Connection, id: &str) -> Result<()> {
    let tx = c
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(db(WHAT))?;
    // Holds are bounded, and this is rare.
    let found: Vec<(String, String)> = {
        let mut statement = tx
            .prepare("SELECT id, document_json FROM holds WHERE document_json ->> 'session' = ?1")
            .map_err(db(WHAT))?;
        let rows = statement
            .query_map(params![id], |row| Ok((row.get(0)?, row.get(1)?)))
            .map_err(db(WHAT))?;
        rows.collect::<rusqlite::Result<_>>().map_err(db(WHAT))?
    };
    for (hold, document) in found {
        let document: HoldDocument = parse(WHAT, &document)?;
        let document = json(WHAT, &document.forgotten())?;
        tx.execute(
            "UPDATE holds SET document_json = ?2, size = ?3, fingerprint = zeroblob(32), \
             decision_reason = iif(decision_reason IS NULL, NULL, ?4) WHERE id = ?1",
            params![hold, document, int(document.len() as u64), ERASED],
        )
        .map_err(db(WHAT))?;
        // Who decided writes why, and that is about what the statement says.
        tx.execute(
            "UPDATE votes SET reason = ?2 WHERE hold = ?1",
            params![hold, ERASED],
        )
        .map_err(db(WHAT))?;
        tx.execute(
            "UPDATE outbox SET last_error = NULL WHERE hold = ?1",
            params![hold],
        )
        .map_err(db(WHAT))?;
    }
    tx.execute(
        "UPDATE sessions SET application = '', database = '', end = iif(end IS NULL, NULL, ?2) \
         WHERE id = ?1",
        params![id, ERASED],
    )
    .map_err(db(WHAT))?;
    tx.commit().map_err(db(WHAT))
}

/// Somebody else has the file open, and is in the middle of reading it.
fn busy(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::InUse,
        _ => db(WHAT)(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An attempt before this one has done it, and somebody read the file just then.
    #[test]
    fn the_file_is_written_anew_once_for_a_session() {
        let dir = tempfile::tempdir().unwrap();
        let c = Connection::open(dir.path().join("state.db")).unwrap();
        c.execute_batch(
            "PRAGMA journal_mode = WAL; CREATE TABLE old (text TEXT);
             INSERT INTO old SELECT hex(zeroblob(100000)); DROP TABLE old;",
        )
        .unwrap();
        let free = || -> i64 {
            let count = c.query_row("PRAGMA freelist_count", [], |row| row.get(0));
            count.unwrap()
        };
        let mut rewritten = Rewritten(BTreeSet::from(["one".to_owned()]));
        file(&c, "one", &mut rewritten).unwrap();
        assert!(free() > 0);
        // It is done, and whoever wants it once more has it.
        file(&c, "one", &mut rewritten).unwrap();
        assert_eq!(free(), 0);
        assert!(rewritten.0.is_empty());
    }
}
