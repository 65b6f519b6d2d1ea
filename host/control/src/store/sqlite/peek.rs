//! A look at the state without changing it: for checks, beside a Weir that may be running.

use std::path::Path;

use bytes::Bytes;
use rusqlite::{Connection, OpenFlags};

use super::{bundles, db, plugins};
use crate::ports::Files;
use crate::store::{BundleRow, PluginRow, Result};

/// What the next start will find.
pub struct Stored {
    /// The active version, with its files.
    pub bundle: Option<(BundleRow, Files)>,
    /// Uploaded plugins, with their components.
    pub plugins: Vec<(PluginRow, Bytes)>,
}

/// None when there is no state. Blocks, and writes nothing.
pub fn peek(path: &Path) -> Result<Option<Stored>> {
    let what = "looking at the state";
    if std::fs::metadata(path).map_or(true, |m| m.len() == 0) {
        return Ok(None);
    }
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    // Without a log, nothing is on its way into the file: it need not be locked, and no index of the
    // log need be made beside it.
    let settled = std::fs::metadata(log).map_or(true, |m| m.len() == 0);
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => {
                uri.push(char::from(*byte));
            }
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri.push_str(if settled { "?immutable=1" } else { "?mode=ro" });
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut c = Connection::open_with_flags(uri, flags).map_err(db(what))?;
    let steps: i64 = c
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(db(what))?;
    // Whatever an older schema holds, the next start brings to ours first.
    if steps != super::migrations::known() {
        return Ok(None);
    }
    let bundle = match bundles::active(&mut c)? {
        None => None,
        Some(row) => {
            let files = bundles::files(&c, row.version)?;
            Some((row, files.unwrap_or_default()))
        }
    };
    let mut uploaded = Vec::new();
    for row in plugins::list(&c)? {
        let component = plugins::component(&c, &row.summary.name)?;
        uploaded.push((row, component.unwrap_or_default()));
    }
    Ok(Some(Stored {
        bundle,
        plugins: uploaded,
    }))
}
