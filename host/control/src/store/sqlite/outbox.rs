//! Announcements that wait for their delivery. They are written in the transaction that they tell
//! about, so that none is lost and none tells of something that did not happen.

use rusqlite::{Connection, Transaction, params};
use uuid::Uuid;

use super::{corrupt, db, holds, int, uint};
use crate::store::{HoldState, Millis, Notice, NoticeKind, Result};

const READ: &str = "reading the outbox";
const WRITE: &str = "writing the outbox";

pub(super) fn push(tx: &Transaction<'_>, hold: &str, kind: NoticeKind, at: Millis) -> Result<()> {
    let kind = match kind {
        NoticeKind::Opened => "opened",
        NoticeKind::Decided(state) => state.as_str(),
    };
    tx.execute(
        "INSERT INTO outbox (id, hold, kind, at, next_at) VALUES (?1, ?2, ?3, ?4, ?4)",
        params![
            format!("msg_{}", Uuid::now_v7().simple()),
            hold,
            kind,
            int(at)
        ],
    )
    .map_err(db(WRITE))?;
    Ok(())
}

pub(super) fn due(c: &Connection, now: Millis, limit: u32) -> Result<Vec<Notice>> {
    let mut statement = c
        .prepare(
            "SELECT id, hold, kind, at, attempts FROM outbox \
             WHERE next_at IS NOT NULL AND next_at <= ?1 ORDER BY id LIMIT ?2",
        )
        .map_err(db(READ))?;
    let rows = statement
        .query_map(params![int(now), limit], |row| {
            let at: i64 = row.get(3)?;
            let (id, hold): (String, String) = (row.get(0)?, row.get(1)?);
            let kind: String = row.get(2)?;
            Ok((id, hold, kind, at, row.get(4)?))
        })
        .map_err(db(READ))?;
    let mut out = Vec::new();
    for row in rows {
        let (id, hold, kind, at, attempts) = row.map_err(db(READ))?;
        let kind = match kind.as_str() {
            "opened" => NoticeKind::Opened,
            other => NoticeKind::Decided(
                HoldState::parse(other).ok_or_else(|| corrupt("an announcement", other))?,
            ),
        };
        let Some(hold) = holds::one(c, &hold)? else {
            continue;
        };
        out.push(Notice {
            id,
            kind,
            at: uint(at),
            attempts,
            hold,
        });
    }
    Ok(out)
}

pub(super) fn delivered(c: &Connection, id: &str) -> Result<()> {
    c.execute(
        "UPDATE outbox SET attempts = attempts + 1, next_at = NULL, last_error = NULL WHERE id = ?1",
        params![id],
    )
    .map_err(db(WRITE))?;
    Ok(())
}

pub(super) fn failed(
    c: &Connection,
    id: &str,
    retry_at: Option<Millis>,
    error: &str,
) -> Result<()> {
    c.execute(
        "UPDATE outbox SET attempts = attempts + 1, next_at = ?2, last_error = ?3 WHERE id = ?1",
        params![id, retry_at.map(int), error],
    )
    .map_err(db(WRITE))?;
    Ok(())
}

pub(super) fn sweep(c: &Connection, keep_since: Millis) -> Result<()> {
    c.execute(
        "DELETE FROM outbox WHERE next_at IS NULL AND at < ?1",
        params![int(keep_since)],
    )
    .map_err(db(WRITE))?;
    Ok(())
}
