//! Short tokens for SSH, in SQLite.

use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};
use weir_client::SshCredentialKind as Kind;

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
        "INSERT INTO ssh_tokens (hash, subject, kept, source, issued_at, expires_at, id, token) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            row.hash,
            row.subject,
            row.kept,
            row.source,
            int(row.issued_at),
            int(row.expires_at),
            row.id,
            row.token
        ],
    )
    .map_err(db(WRITE))?;
    tx.commit().map_err(db(WRITE))?;
    Ok(TokenPut::Yes)
}

/// What every reading of one begins with.
const ROW: &str =
    "SELECT hash, id, subject, token, kept, source, issued_at, expires_at FROM ssh_tokens";

fn read(row: &Row<'_>) -> rusqlite::Result<TokenRow> {
    Ok(TokenRow {
        hash: row.get(0)?,
        id: row.get(1)?,
        subject: row.get(2)?,
        token: row.get(3)?,
        kept: row.get(4)?,
        source: row.get(5)?,
        issued_at: uint(row.get(6)?),
        expires_at: uint(row.get(7)?),
    })
}

pub(super) fn find(c: &Connection, hash: &[u8; 32]) -> Result<Option<TokenRow>> {
    let found = c.query_row(&format!("{ROW} WHERE hash = ?1"), params![hash], read);
    found.optional().map_err(db(READ))
}

pub(super) fn called(c: &Connection, id: &str) -> Result<Option<TokenRow>> {
    let found = c.query_row(&format!("{ROW} WHERE id = ?1 LIMIT 1"), params![id], read);
    found.optional().map_err(db(READ))
}

pub(super) fn list(c: &Connection, subject: Option<&str>, limit: u32) -> Result<Vec<TokenRow>> {
    let which = "WHERE ?1 IS NULL OR subject = ?1 ORDER BY issued_at DESC, id LIMIT ?2";
    let mut statement = c.prepare(&format!("{ROW} {which}")).map_err(db(READ))?;
    let rows = statement.query_map(params![subject, limit], read);
    let rows = rows.map_err(db(READ))?;
    rows.collect::<rusqlite::Result<_>>().map_err(db(READ))
}

pub(super) fn remove(c: &Connection, id: &str) -> Result<bool> {
    let gone = c.execute("DELETE FROM ssh_tokens WHERE id = ?1", params![id]);
    gone.map(|n| n > 0).map_err(db(WRITE))
}

/// Those that a revocation takes along: all of its subject, or what stands for the same token of the same subject as
/// the certificate that it names. Their names.
pub(super) fn go_with(c: &Connection, kind: Kind, value: &str) -> Result<Vec<String>> {
    let of = |which: &str| {
        format!(
            "EXISTS (SELECT 1 FROM ssh_certificates c WHERE c.{which} = ?1 \
             AND c.subject = ssh_tokens.subject AND c.token = ssh_tokens.token)"
        )
    };
    let which = match kind {
        Kind::Subject => "subject = ?1".to_owned(),
        Kind::Serial => of("serial"),
        Kind::KeyId => of("key_id"),
        Kind::Key => return Ok(Vec::new()),
    };
    let mut delete = c
        .prepare(&format!(
            "DELETE FROM ssh_tokens WHERE {which} RETURNING id"
        ))
        .map_err(db(WRITE))?;
    let rows = delete.query_map(params![value], |row| row.get(0));
    let rows = rows.map_err(db(WRITE))?;
    rows.collect::<rusqlite::Result<_>>().map_err(db(WRITE))
}

/// Forgets what has ended.
pub(super) fn sweep(c: &Connection, now: Millis) -> Result<()> {
    let gone = c.execute(
        "DELETE FROM ssh_tokens WHERE expires_at <= ?1",
        params![int(now)],
    );
    gone.map(drop).map_err(db(WRITE))
}
