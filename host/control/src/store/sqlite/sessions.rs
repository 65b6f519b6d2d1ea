//! Summaries of sessions in SQLite.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{db, int, uint};
use crate::store::{Millis, Result, SessionQuery, SessionRow, SessionWrite};

const READ: &str = "reading a session";
const WRITE: &str = "writing a session";

const COLUMNS: &str = "id, kind, principal, owner, target, database, source, application, \
                       started_at, ended_at, end, protocol";

/// All in one transaction: one sync for many sessions.
pub(super) fn write(c: &mut Connection, writes: &[SessionWrite]) -> Result<()> {
    let tx = c.transaction().map_err(db(WRITE))?;
    for write in writes {
        match write {
            SessionWrite::Started(row) => tx.execute(
                "INSERT OR IGNORE INTO sessions (id, kind, principal, owner, target, database, \
                 source, application, started_at, protocol) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                params![
                    row.id,
                    row.kind,
                    row.principal,
                    row.owner,
                    row.target,
                    row.database,
                    row.source,
                    row.application,
                    int(row.started_at),
                    row.protocol
                ],
            ),
            SessionWrite::Ended { id, at, end } => tx.execute(
                "UPDATE sessions SET ended_at = ?2, end = ?3 WHERE id = ?1 AND ended_at IS NULL",
                params![id, int(*at), end],
            ),
        }
        .map_err(db(WRITE))?;
    }
    tx.commit().map_err(db(WRITE))
}

pub(super) fn one(c: &Connection, id: &str) -> Result<Option<SessionRow>> {
    c.query_row(
        &format!("SELECT {COLUMNS} FROM sessions WHERE id = ?1"),
        params![id],
        from_row,
    )
    .optional()
    .map_err(db(READ))
}

pub(super) fn list(c: &Connection, query: &SessionQuery) -> Result<Vec<SessionRow>> {
    let mut statement = c
        .prepare(&format!(
            "SELECT {COLUMNS} FROM sessions WHERE (?1 IS NULL OR id < ?1) \
             AND (?2 IS NULL OR (ended_at IS NULL) = ?2) ORDER BY id DESC LIMIT ?3"
        ))
        .map_err(db(READ))?;
    let rows = statement
        .query_map(params![query.before, query.live, query.limit], from_row)
        .map_err(db(READ))?;
    rows.collect::<rusqlite::Result<_>>().map_err(db(READ))
}

/// Sessions of an earlier process ended with it.
pub(super) fn end_all(c: &Connection, now: Millis) -> Result<usize> {
    c.execute(
        "UPDATE sessions SET ended_at = ?1, end = 'Weir was restarted' WHERE ended_at IS NULL",
        params![int(now)],
    )
    .map_err(db(WRITE))
}

pub(super) fn sweep(c: &Connection, keep_since: Millis) -> Result<()> {
    c.execute(
        "DELETE FROM sessions WHERE ended_at < ?1",
        params![int(keep_since)],
    )
    .map_err(db(WRITE))?;
    Ok(())
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<SessionRow> {
    let started_at: i64 = row.get(8)?;
    let ended_at: Option<i64> = row.get(9)?;
    Ok(SessionRow {
        id: row.get(0)?,
        kind: row.get(1)?,
        principal: row.get(2)?,
        owner: row.get(3)?,
        target: row.get(4)?,
        database: row.get(5)?,
        source: row.get(6)?,
        application: row.get(7)?,
        started_at: uint(started_at),
        ended_at: ended_at.map(uint),
        end: row.get(10)?,
        protocol: row.get(11)?,
    })
}
