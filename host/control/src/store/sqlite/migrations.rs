//! The schema, step by step. A step that was released is never changed.

use rusqlite::{Connection, TransactionBehavior};

use super::db;
use crate::store::{Result, StoreError};

const STEPS: &[&str] = &[
    include_str!("001.sql"),
    include_str!("002.sql"),
    include_str!("003.sql"),
    include_str!("004.sql"),
    include_str!("005.sql"),
    include_str!("006.sql"),
    include_str!("007.sql"),
    include_str!("008.sql"),
    include_str!("009.sql"),
    include_str!("010.sql"),
];

/// The newest schema.
pub(super) fn known() -> i64 {
    i64::try_from(STEPS.len()).unwrap_or(i64::MAX)
}

/// Brings the database to the newest schema, each step in its own transaction.
pub(super) fn run(connection: &mut Connection) -> Result<()> {
    let what = "bringing the database to the newest schema";
    let known = known();
    loop {
        let tx = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(db(what))?;
        let found: i64 = tx
            .query_row("PRAGMA user_version", [], |row| row.get(0))
            .map_err(db(what))?;
        if found < 0 || found > known {
            return Err(StoreError::Newer { found, known });
        }
        let Some(step) = usize::try_from(found).ok().and_then(|at| STEPS.get(at)) else {
            return Ok(());
        };
        tx.execute_batch(step).map_err(db(what))?;
        tx.pragma_update(None, "user_version", found + 1)
            .map_err(db(what))?;
        tx.commit().map_err(db(what))?;
    }
}
