//! Bundle versions in SQLite.

use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};
use weir_client::BundleState;

use super::{corrupt, db, int, json, parse, uint};
use crate::ports::Files;
use crate::store::{BundleRow, Millis, NewBundle, Result};

const READ: &str = "reading a bundle";
const WRITE: &str = "writing a bundle";

const COLUMNS: &str = "version, state, summary_json, author, involved_json, note, created_at, \
                       activated_at, activated_by, retired_at";

pub(super) fn stage(
    c: &mut Connection,
    bundle: &NewBundle,
    max_staged: u32,
) -> Result<Option<BundleRow>> {
    let tx = c
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(db(WRITE))?;
    let staged: u32 = tx
        .query_row(
            "SELECT count(*) FROM bundles WHERE state = 'staged'",
            [],
            |row| row.get(0),
        )
        .map_err(db(READ))?;
    if staged >= max_staged {
        return Ok(None);
    }
    tx.execute(
        "INSERT INTO bundles (state, summary_json, files_json, author, involved_json, note, \
         created_at) VALUES ('staged', ?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            json(WRITE, &bundle.summary)?,
            json(WRITE, &bundle.files)?,
            bundle.author,
            json(WRITE, &bundle.involved)?,
            bundle.note,
            int(bundle.at)
        ],
    )
    .map_err(db(WRITE))?;
    let version = uint(tx.last_insert_rowid());
    let row = one(&tx, version)?;
    tx.commit().map_err(db(WRITE))?;
    Ok(row)
}

pub(super) fn one(c: &Connection, version: u64) -> Result<Option<BundleRow>> {
    find(c, "version = ?1", Some(version))
}

pub(super) fn active(c: &mut Connection) -> Result<Option<BundleRow>> {
    find(c, "?1 IS NULL AND state = 'active'", None)
}

pub(super) fn previous(c: &mut Connection) -> Result<Option<BundleRow>> {
    let latest = "?1 IS NULL AND state = 'retired' AND version = \
                  (SELECT previous FROM activations ORDER BY id DESC LIMIT 1)";
    find(c, latest, None)
}

fn find(c: &Connection, condition: &str, version: Option<u64>) -> Result<Option<BundleRow>> {
    let raw = c
        .query_row(
            &format!("SELECT {COLUMNS} FROM bundles WHERE {condition}"),
            params![version.map(int)],
            Raw::from_row,
        )
        .optional()
        .map_err(db(READ))?;
    raw.map(Raw::complete).transpose()
}

pub(super) fn files(c: &Connection, version: u64) -> Result<Option<Files>> {
    let text: Option<String> = c
        .query_row(
            "SELECT files_json FROM bundles WHERE version = ?1",
            params![int(version)],
            |row| row.get(0),
        )
        .optional()
        .map_err(db(READ))?;
    text.map(|text| parse("a bundle", &text)).transpose()
}

pub(super) fn list(c: &Connection, before: Option<u64>, limit: u32) -> Result<Vec<BundleRow>> {
    let mut statement = c
        .prepare(&format!(
            "SELECT {COLUMNS} FROM bundles WHERE ?1 IS NULL OR version < ?1 \
             ORDER BY version DESC LIMIT ?2"
        ))
        .map_err(db(READ))?;
    let rows = statement
        .query_map(params![before.map(int), limit], Raw::from_row)
        .map_err(db(READ))?;
    let mut out = Vec::new();
    for raw in rows {
        out.push(raw.map_err(db(READ))?.complete()?);
    }
    Ok(out)
}

pub(super) fn activate(
    c: &mut Connection,
    version: u64,
    expected: Option<u64>,
    by: &str,
    at: Millis,
) -> Result<bool> {
    let tx = c
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(db(WRITE))?;
    let active: Option<i64> = tx
        .query_row(
            "SELECT version FROM bundles WHERE state = 'active'",
            [],
            |row| row.get(0),
        )
        .optional()
        .map_err(db(READ))?;
    if active.map(uint) != expected {
        return Ok(false);
    }
    if let Some(active) = active {
        tx.execute(
            "UPDATE bundles SET state = 'retired', retired_at = ?2 WHERE version = ?1",
            params![active, int(at)],
        )
        .map_err(db(WRITE))?;
    }
    let changed = tx
        .execute(
            "UPDATE bundles SET state = 'active', activated_at = ?2, activated_by = ?3, \
             retired_at = NULL WHERE version = ?1",
            params![int(version), int(at), by],
        )
        .map_err(db(WRITE))?;
    if changed != 1 {
        return Ok(false);
    }
    tx.execute(
        "INSERT INTO activations (version, previous, by, at) VALUES (?1, ?2, ?3, ?4)",
        params![int(version), active, by, int(at)],
    )
    .map_err(db(WRITE))?;
    tx.commit().map_err(db(WRITE))?;
    Ok(true)
}

/// Forgets staged versions that nobody activated. Versions that were active are kept.
pub(super) fn sweep(c: &Connection, keep_since: Millis) -> Result<()> {
    c.execute(
        "DELETE FROM bundles WHERE state = 'staged' AND created_at < ?1",
        params![int(keep_since)],
    )
    .map_err(db(WRITE))?;
    Ok(())
}

struct Raw {
    version: i64,
    state: String,
    summary: String,
    author: Option<String>,
    involved: String,
    note: String,
    created_at: i64,
    activated_at: Option<i64>,
    activated_by: Option<String>,
    retired_at: Option<i64>,
}

impl Raw {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            version: row.get(0)?,
            state: row.get(1)?,
            summary: row.get(2)?,
            author: row.get(3)?,
            involved: row.get(4)?,
            note: row.get(5)?,
            created_at: row.get(6)?,
            activated_at: row.get(7)?,
            activated_by: row.get(8)?,
            retired_at: row.get(9)?,
        })
    }

    fn complete(self) -> Result<BundleRow> {
        let state = match self.state.as_str() {
            "staged" => BundleState::Staged,
            "active" => BundleState::Active,
            "retired" => BundleState::Retired,
            other => return Err(corrupt("a bundle", other)),
        };
        Ok(BundleRow {
            version: uint(self.version),
            state,
            summary: parse("a bundle", &self.summary)?,
            author: self.author,
            involved: parse("a bundle", &self.involved)?,
            note: self.note,
            created_at: uint(self.created_at),
            activated_at: self.activated_at.map(uint),
            activated_by: self.activated_by,
            retired_at: self.retired_at.map(uint),
        })
    }
}
