//! Logins over SSH, in SQLite.

use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};
use weir_client::SshCredentialKind as Kind;

use super::{corrupt, db, int, uint};
use crate::store::{
    CertificateRow, KeyLimits, KeyPut, KeyRow, Millis, Result, RevocationRow, WentAlong,
};

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

/// Those that are somebody's who was given the certificate: the key in it, and what the same token registered.
const GO_WITH: &str = "DELETE FROM ssh_keys WHERE fingerprint IN \
     (SELECT k.fingerprint FROM ssh_keys k JOIN ssh_certificates c ON c.subject = k.subject \
      AND (c.fingerprint = k.fingerprint OR c.token = k.token) WHERE ";

/// None: `max` are kept already. Registered keys that it names, or that go with it, are removed, and returned.
pub(super) fn revoke(
    c: &mut Connection,
    row: &RevocationRow,
    max: u32,
) -> Result<Option<WentAlong>> {
    let tx = c
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(db(WRITE))?;
    // What has ended takes no place, and what is revoked once more takes that of the time before.
    tx.execute(
        "DELETE FROM ssh_revocations WHERE ends_at <= ?3 OR (kind = ?1 AND value = ?2 AND revoked_at <= ?3)",
        params![kind_text(row.kind), row.value, int(row.at)],
    )
    .map_err(db(WRITE))?;
    let kept: u32 = tx
        .query_row("SELECT count(*) FROM ssh_revocations", [], |r| r.get(0))
        .map_err(db(READ))?;
    if kept >= max {
        return Ok(None);
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
    let which = match row.kind {
        Kind::Key => "DELETE FROM ssh_keys WHERE fingerprint = ?1".to_owned(),
        Kind::Subject => "DELETE FROM ssh_keys WHERE subject = ?1".to_owned(),
        Kind::Serial => format!("{GO_WITH} c.serial = ?1)"),
        Kind::KeyId => format!("{GO_WITH} c.key_id = ?1)"),
    };
    let keys = {
        let mut delete = tx
            .prepare(&format!("{which} RETURNING fingerprint"))
            .map_err(db(WRITE))?;
        let rows = delete
            .query_map(params![row.value], |row| row.get(0))
            .map_err(db(WRITE))?;
        rows.collect::<rusqlite::Result<Vec<String>>>()
            .map_err(db(WRITE))?
    };
    let tokens = super::ssh_tokens::go_with(&tx, row.kind, &row.value)?;
    tx.commit().map_err(db(WRITE))?;
    Ok(Some(WentAlong { keys, tokens }))
}

pub(super) fn keep_certificate(
    c: &mut Connection,
    row: &CertificateRow,
    limits: KeyLimits,
) -> Result<()> {
    let tx = c
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(db(WRITE))?;
    // Serial numbers are random: another certificate has this one only by the worst of luck.
    tx.execute(
        "INSERT OR REPLACE INTO ssh_certificates (serial, key_id, subject, fingerprint, token, ends_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            row.serial,
            row.key_id,
            row.subject,
            row.fingerprint,
            row.token,
            int(row.ends_at)
        ],
    )
    .map_err(db(WRITE))?;
    tx.execute(
        "DELETE FROM ssh_certificates WHERE serial IN (SELECT serial FROM ssh_certificates \
         WHERE subject = ?1 ORDER BY ends_at DESC, serial LIMIT -1 OFFSET ?2)",
        params![row.subject, limits.per_subject],
    )
    .map_err(db(WRITE))?;
    let all: u32 = tx
        .query_row("SELECT count(*) FROM ssh_certificates", [], |r| r.get(0))
        .map_err(db(READ))?;
    if all > limits.total {
        // Nobody uses up what is everybody's.
        tx.execute(
            "DELETE FROM ssh_certificates WHERE serial IN (SELECT serial FROM ssh_certificates WHERE subject = \
             (SELECT subject FROM ssh_certificates GROUP BY subject ORDER BY count(*) DESC, subject LIMIT 1) \
             ORDER BY ends_at, serial LIMIT ?1)",
            params![all - limits.total],
        )
        .map_err(db(WRITE))?;
    }
    tx.commit().map_err(db(WRITE))
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

pub(super) fn put_key(c: &mut Connection, row: &KeyRow, limits: KeyLimits) -> Result<KeyPut> {
    let tx = c
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(db(WRITE))?;
    // What has ended takes nobody's place.
    sweep_keys(&tx, row.registered_at)?;
    let owner: Option<String> = tx
        .query_row(
            "SELECT subject FROM ssh_keys WHERE fingerprint = ?1",
            params![row.fingerprint],
            |r| r.get(0),
        )
        .optional()
        .map_err(db(READ))?;
    if owner.as_ref().is_some_and(|owner| *owner != row.subject) {
        return Ok(KeyPut::SomebodyElses);
    }
    if owner.is_none() {
        let (mine, all): (u32, u32) = tx
            .query_row(
                "SELECT count(*) FILTER (WHERE subject = ?1), count(*) FROM ssh_keys",
                params![row.subject],
                |r| Ok((r.get(0)?, r.get(1)?)),
            )
            .map_err(db(READ))?;
        if mine >= limits.per_subject {
            return Ok(KeyPut::TooMany(mine));
        }
        if all >= limits.total {
            return Ok(KeyPut::Full(all));
        }
    }
    tx.execute(
        "INSERT OR REPLACE INTO ssh_keys (fingerprint, public_key, subject, name, kept, \
         registered_at, expires_at, token) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            row.fingerprint,
            row.public_key,
            row.subject,
            row.name,
            row.kept,
            int(row.registered_at),
            int(row.expires_at),
            row.token
        ],
    )
    .map_err(db(WRITE))?;
    tx.commit().map_err(db(WRITE))?;
    Ok(KeyPut::Yes)
}

/// False: this person has no such key.
pub(super) fn remove_key(c: &Connection, fingerprint: &str, subject: &str) -> Result<bool> {
    let gone = c.execute(
        "DELETE FROM ssh_keys WHERE fingerprint = ?1 AND subject = ?2",
        params![fingerprint, subject],
    );
    gone.map(|n| n > 0).map_err(db(WRITE))
}

pub(super) fn keys(c: &Connection, subject: Option<&str>, limit: u32) -> Result<Vec<KeyRow>> {
    let mut statement = c
        .prepare(
            "SELECT fingerprint, public_key, subject, name, kept, registered_at, expires_at, token \
             FROM ssh_keys WHERE ?1 IS NULL OR subject = ?1 \
             ORDER BY registered_at DESC, fingerprint LIMIT ?2",
        )
        .map_err(db(READ))?;
    let read = |row: &Row<'_>| {
        Ok(KeyRow {
            fingerprint: row.get(0)?,
            public_key: row.get(1)?,
            subject: row.get(2)?,
            name: row.get(3)?,
            kept: row.get(4)?,
            registered_at: uint(row.get(5)?),
            expires_at: uint(row.get(6)?),
            token: row.get(7)?,
        })
    };
    let rows = statement
        .query_map(params![subject, limit], read)
        .map_err(db(READ))?;
    rows.collect::<rusqlite::Result<_>>().map_err(db(READ))
}

/// Forgets what has ended by itself.
pub(super) fn sweep(c: &Connection, now: Millis) -> Result<()> {
    for ended in [
        "DELETE FROM ssh_revocations WHERE ends_at <= ?1",
        "DELETE FROM ssh_certificates WHERE ends_at <= ?1",
    ] {
        c.execute(ended, params![int(now)]).map_err(db(WRITE))?;
    }
    sweep_keys(c, now)
}

fn sweep_keys(c: &Connection, now: Millis) -> Result<()> {
    let gone = c.execute(
        "DELETE FROM ssh_keys WHERE expires_at <= ?1",
        params![int(now)],
    );
    gone.map(drop).map_err(db(WRITE))
}
