//! Uploaded plugins in SQLite.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{db, int, json, parse, uint};
use crate::store::{PluginRow, Result};

const READ: &str = "reading a plugin";
const WRITE: &str = "writing a plugin";

const COLUMNS: &str = "summary_json, size, config_json, uploaded_by, uploaded_at, confirmed_by";

pub(super) fn add(c: &Connection, plugin: &PluginRow, component: &[u8]) -> Result<bool> {
    let added = c
        .execute(
            "INSERT INTO plugins (name, summary_json, size, config_json, uploaded_by, \
             uploaded_at, component) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING",
            params![
                plugin.summary.name,
                json(WRITE, &plugin.summary)?,
                int(plugin.size),
                json(WRITE, &plugin.config)?,
                plugin.uploaded_by,
                int(plugin.uploaded_at),
                component
            ],
        )
        .map_err(db(WRITE))?;
    Ok(added > 0)
}

pub(super) fn one(c: &Connection, name: &str) -> Result<Option<PluginRow>> {
    c.query_row(
        &format!("SELECT {COLUMNS} FROM plugins WHERE name = ?1"),
        params![name],
        raw,
    )
    .optional()
    .map_err(db(READ))?
    .map(complete)
    .transpose()
}

pub(super) fn component(c: &Connection, name: &str) -> Result<Option<Bytes>> {
    c.query_row(
        "SELECT component FROM plugins WHERE name = ?1",
        params![name],
        |row| row.get::<_, Vec<u8>>(0),
    )
    .optional()
    .map(|bytes| bytes.map(Bytes::from))
    .map_err(db(READ))
}

pub(super) fn list(c: &Connection) -> Result<Vec<PluginRow>> {
    let mut statement = c
        .prepare(&format!("SELECT {COLUMNS} FROM plugins ORDER BY name"))
        .map_err(db(READ))?;
    let rows = statement.query_map([], raw).map_err(db(READ))?;
    let mut out = Vec::new();
    for row in rows {
        out.push(complete(row.map_err(db(READ))?)?);
    }
    Ok(out)
}

type Raw = (String, i64, String, String, i64, Option<String>);

fn raw(row: &Row<'_>) -> rusqlite::Result<Raw> {
    Ok((
        row.get(0)?,
        row.get(1)?,
        row.get(2)?,
        row.get(3)?,
        row.get(4)?,
        row.get(5)?,
    ))
}

fn complete(
    (summary, size, config, uploaded_by, uploaded_at, confirmed_by): Raw,
) -> Result<PluginRow> {
    Ok(PluginRow {
        summary: parse("a plugin", &summary)?,
        size: uint(size),
        config: parse("a plugin", &config)?,
        uploaded_by,
        uploaded_at: uint(uploaded_at),
        confirmed_by,
    })
}
