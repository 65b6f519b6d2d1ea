//! What goes when a session is erased.

use rusqlite::{Connection, TransactionBehavior, params};

use super::{db, int, json, parse};
use crate::store::{HoldDocument, Result, StoreError};

const WHAT: &str = "forgetting a session";

/// With `secure_delete`, what was in the rows is overwritten; then what SQLite keeps beside the file goes.
pub(super) fn session(c: &mut Connection, id: &str) -> Result<()> {
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
            "UPDATE holds SET document_json = ?2, size = ?3, fingerprint = zeroblob(32) WHERE id = ?1",
            params![hold, document, int(document.len() as u64)],
        )
        .map_err(db(WHAT))?;
    }
    tx.execute(
        "UPDATE sessions SET application = '', database = '' WHERE id = ?1",
        params![id],
    )
    .map_err(db(WHAT))?;
    tx.commit().map_err(db(WHAT))?;
    let is_busy: bool = c
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
        .map_err(db(WHAT))?;
    match is_busy {
        true => Err(StoreError::Busy(1)),
        false => Ok(()),
    }
}
