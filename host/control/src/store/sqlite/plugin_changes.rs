//! Changes of plugins that wait for a second person, in SQLite.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};
use weir_client::PluginChangeKind;

use super::{corrupt, db, int, json, parse, plugins, uint};
use crate::store::{Millis, PluginChangeRow, PluginRow, Result};

const READ: &str = "reading a change of a plugin";
const WRITE: &str = "writing a change of a plugin";

const COLUMNS: &str = "id, kind, summary_json, size, config_json, replaces, author, \
                       involved_json, created_at, expires_at";

pub(super) fn stage(
    c: &mut Connection,
    change: &PluginChangeRow,
    component: &[u8],
    max: u32,
) -> Result<bool> {
    let tx = c
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(db(WRITE))?;
    let others: u32 = tx
        .query_row(
            "SELECT count(*) FROM plugin_changes WHERE name <> ?1 AND expires_at > ?2",
            params![change.summary.name, int(change.created_at)],
            |row| row.get(0),
        )
        .map_err(db(READ))?;
    if others >= max {
        return Ok(false);
    }
    tx.execute(
        "INSERT OR REPLACE INTO plugin_changes (name, id, kind, summary_json, size, config_json, \
         replaces, author, involved_json, created_at, expires_at, component) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        params![
            change.summary.name,
            change.id,
            kind_text(change.kind),
            json(WRITE, &change.summary)?,
            int(change.size),
            json(WRITE, &change.config)?,
            change.replaces,
            change.author,
            json(WRITE, &change.involved)?,
            int(change.created_at),
            int(change.expires_at),
            component
        ],
    )
    .map_err(db(WRITE))?;
    tx.commit().map_err(db(WRITE))?;
    Ok(true)
}

pub(super) fn list(c: &Connection) -> Result<Vec<PluginChangeRow>> {
    let mut statement = c
        .prepare(&format!(
            "SELECT {COLUMNS} FROM plugin_changes ORDER BY name"
        ))
        .map_err(db(READ))?;
    let rows = statement.query_map([], Raw::from_row).map_err(db(READ))?;
    let mut out = Vec::new();
    for row in rows {
        out.push(row.map_err(db(READ))?.complete()?);
    }
    Ok(out)
}

pub(super) fn component(c: &Connection, id: &str) -> Result<Option<Bytes>> {
    c.query_row(
        "SELECT component FROM plugin_changes WHERE id = ?1",
        params![id],
        |row| row.get::<_, Vec<u8>>(0),
    )
    .optional()
    .map(|bytes| bytes.map(Bytes::from))
    .map_err(db(READ))
}

pub(super) fn apply(c: &mut Connection, id: &str, by: &str, at: Millis) -> Result<bool> {
    let tx = c
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(db(WRITE))?;
    let raw = tx
        .query_row(
            &format!("SELECT {COLUMNS} FROM plugin_changes WHERE id = ?1 AND expires_at > ?2"),
            params![id, int(at)],
            Raw::from_row,
        )
        .optional()
        .map_err(db(READ))?;
    let Some(change) = raw.map(Raw::complete).transpose()? else {
        return Ok(false);
    };
    let name = &change.summary.name;
    let present = plugins::one(&tx, name)?;
    if present.as_ref().map(PluginRow::edition).unwrap_or_default() != change.replaces {
        return Ok(false);
    }
    tx.execute("DELETE FROM plugins WHERE name = ?1", params![name])
        .map_err(db(WRITE))?;
    if change.kind == PluginChangeKind::Put {
        tx.execute(
            "INSERT INTO plugins (name, summary_json, size, config_json, uploaded_by, \
             uploaded_at, confirmed_by, component) SELECT name, summary_json, size, config_json, \
             author, ?2, ?3, component FROM plugin_changes WHERE id = ?1",
            params![id, int(at), by],
        )
        .map_err(db(WRITE))?;
    }
    tx.execute("DELETE FROM plugin_changes WHERE id = ?1", params![id])
        .map_err(db(WRITE))?;
    tx.commit().map_err(db(WRITE))?;
    Ok(true)
}

/// Forgets what nobody confirmed in time.
pub(super) fn sweep(c: &Connection, now: Millis) -> Result<()> {
    c.execute(
        "DELETE FROM plugin_changes WHERE expires_at <= ?1",
        params![int(now)],
    )
    .map_err(db(WRITE))?;
    Ok(())
}

struct Raw {
    id: String,
    kind: String,
    summary: String,
    size: i64,
    config: String,
    replaces: String,
    author: String,
    involved: String,
    created_at: i64,
    expires_at: i64,
}

impl Raw {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            kind: row.get(1)?,
            summary: row.get(2)?,
            size: row.get(3)?,
            config: row.get(4)?,
            replaces: row.get(5)?,
            author: row.get(6)?,
            involved: row.get(7)?,
            created_at: row.get(8)?,
            expires_at: row.get(9)?,
        })
    }

    fn complete(self) -> Result<PluginChangeRow> {
        let kind = match self.kind.as_str() {
            "put" => PluginChangeKind::Put,
            "remove" => PluginChangeKind::Remove,
            other => return Err(corrupt("a change of a plugin", other)),
        };
        Ok(PluginChangeRow {
            id: self.id,
            kind,
            summary: parse("a change of a plugin", &self.summary)?,
            size: uint(self.size),
            config: parse("a change of a plugin", &self.config)?,
            replaces: self.replaces,
            author: self.author,
            involved: parse("a change of a plugin", &self.involved)?,
            created_at: uint(self.created_at),
            expires_at: uint(self.expires_at),
        })
    }
}

fn kind_text(kind: PluginChangeKind) -> &'static str {
    match kind {
        PluginChangeKind::Put => "put",
        PluginChangeKind::Remove => "remove",
    }
}
