//! Short tokens for SSH, in SQLite.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::{db, int, uint};
use crate::store::{KeyLimits, Millis, Result, TokenPut, TokenRow};

const READ: &str = "reading short tokens";
const WRITE: &str = "writing short tokens";

pub(super) fn put(c: &mut Connection, row: &TokenRow, limits: KeyLimits) -> Result<TokenPut> {
    let tx = c
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(db(WRITE))?;
    // What has ended takes nobody's place.
    sweep(&tx, row.issued_at)?;
    let (mine, all): (u32, u32) = tx
        .query_row(
            "SELECT count(*) FILTER (WHERE subject = ?1), count(*) FROM ssh_tokens",
            params![row.subject],
            |r| Ok((r.get(0)?, r.get(1)?)),
        )
        .map_err(db(READ))?;
    if mine >= limits.per_subject {
        return Ok(TokenPut::TooMany(mine));
    }
    if all >= limits.total {
        return Ok(TokenPut::Full(all));
    }
    // Not in place of another: there is none with this hash.
    tx.execute(
        "INSERT INTO ssh_tokens (hash, subject, kept, source, issued_at, expires_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            row.hash,
            row.subject,
            row.kept,
            row.source,
            int(row.issued_at),
            int(row.expires_at)
        ],
    )
    .map_err(db(WRITE))?;
    tx.commit().map_err(db(WRITE))?;
    Ok(TokenPut::Yes)
}

pub(super) fn find(c: &Connection, hash: &[u8; 32]) -> Result<Option<TokenRow>> {
    c.query_row(
        "SELECT subject, kept, source, issued_at, expires_at FROM ssh_tokens WHERE hash = ?1",
        params![hash],
        |row| {
            Ok(TokenRow {
                hash: *hash,
                subject: row.get(0)?,
                kept: row.get(1)?,
                source: row.get(2)?,
                issued_at: uint(row.get(3)?),
                expires_at: uint(row.get(4)?),
            })
        },
    )
    .optional()
    .map_err(db(READ))
}

/// Those of a person whom a revocation names.
pub(super) fn remove_of(c: &Connection, subject: &str) -> Result<()> {
    let gone = c.execute(
        "DELETE FROM ssh_tokens WHERE subject = ?1",
        params![subject],
    );
    gone.map(drop).map_err(db(WRITE))
}

/// Forgets what has ended.
pub(super) fn sweep(c: &Connection, now: Millis) -> Result<()> {
    let gone = c.execute(
        "DELETE FROM ssh_tokens WHERE expires_at <= ?1",
        params![int(now)],
    );
    gone.map(drop).map_err(db(WRITE))
}
