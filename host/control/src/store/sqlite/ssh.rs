//! Logins over SSH, in SQLite.

use rusqlite::{Connection, Row, TransactionBehavior, params};
use weir_client::SshCredentialKind as Kind;

use super::{corrupt, db, int, uint};
use crate::store::{Millis, Result, RevocationRow};

const READ: &str = "reading what is known of SSH";
const WRITE: &str = "writing what is known of SSH";
const KINDS: [(Kind, &str); 4] = [
    (Kind::Serial, "serial"),
    (Kind::KeyId, "key_id"),
    (Kind::Key, "key"),
    (Kind::Subject, "subject"),
];

fn kind_text(kind: Kind) -> &'static str {
    let found = KINDS.iter().find(|(k, _)| *k == kind);
    found.map_or("", |(_, text)| text)
}

/// False: `max` are kept already.
pub(super) fn revoke(c: &mut Connection, row: &RevocationRow, max: u32) -> Result<bool> {
    let tx = c
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(db(WRITE))?;
    let kept: u32 = tx
        .query_row("SELECT count(*) FROM ssh_revocations", [], |r| r.get(0))
        .map_err(db(READ))?;
    if kept >= max {
        return Ok(false);
    }
    tx.execute(
        "INSERT INTO ssh_revocations (id, kind, value, reason, revoked_by, revoked_at, ends_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            row.id,
            kind_text(row.kind),
            row.value,
            row.reason,
            row.by,
            int(row.at),
            row.ends_at.map(int)
        ],
    )
    .map_err(db(WRITE))?;
    tx.commit().map_err(db(WRITE))?;
    Ok(true)
}

pub(super) fn revocations(c: &Connection) -> Result<Vec<RevocationRow>> {
    let mut statement = c
        .prepare(
            "SELECT id, kind, value, reason, revoked_by, revoked_at, ends_at FROM ssh_revocations \
             ORDER BY id DESC",
        )
        .map_err(db(READ))?;
    let read = |row: &Row<'_>| {
        let kind: String = row.get(1)?;
        let made = RevocationRow {
            id: row.get(0)?,
            kind: Kind::Serial,
            value: row.get(2)?,
            reason: row.get(3)?,
            by: row.get(4)?,
            at: uint(row.get(5)?),
            ends_at: row.get::<_, Option<i64>>(6)?.map(uint),
        };
        Ok((kind, made))
    };
    let rows = statement.query_map([], read).map_err(db(READ))?;
    let mut out = Vec::new();
    for row in rows {
        let (text, row) = row.map_err(db(READ))?;
        let kind = KINDS.iter().find(|(_, t)| *t == text);
        let (kind, _) = kind.ok_or_else(|| corrupt("a revocation", &text))?;
        out.push(RevocationRow { kind: *kind, ..row });
    }
    Ok(out)
}

/// Forgets what has ended by itself.
pub(super) fn sweep(c: &Connection, now: Millis) -> Result<()> {
    let gone = c.execute(
        "DELETE FROM ssh_revocations WHERE ends_at <= ?1",
        params![int(now)],
    );
    gone.map(drop).map_err(db(WRITE))
}
