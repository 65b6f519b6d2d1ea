//! The file itself: private, locked against a second process, opened with safe settings.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::db;
use crate::error::ControlError;
use crate::store::Result;

/// Only the owner reads and writes.
const MODE: u32 = 0o600;
/// How long SQLite waits for a lock of its own, for instance while somebody makes a backup.
pub(super) const BUSY: Duration = Duration::from_secs(5);

/// Held as long as the store is open; the kernel lets go of it when the process dies.
pub(crate) struct Lock {
    _file: File,
}

/// Makes the file if it is not there, and locks it for this process. The lock is a file of its own,
/// because SQLite's own locks come and go.
pub(super) fn prepare(path: &Path) -> std::result::Result<Lock, ControlError> {
    let locked = lock(path)?;
    make_private(path).map_err(|source| ControlError::File {
        path: path.to_owned(),
        source,
    })?;
    Ok(locked)
}

/// SQLite gives its journal files the mode of the database.
pub(crate) fn make_private(path: &Path) -> std::io::Result<()> {
    private(path).map(drop)
}

/// The lock alone.
pub(crate) fn lock(path: &Path) -> std::result::Result<Lock, ControlError> {
    let failed = |source| ControlError::File {
        path: path.to_owned(),
        source,
    };
    let lock = private(&lock_path(path)).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(ControlError::InUse(path.to_owned())),
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    Ok(Lock { _file: lock })
}

fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

fn private(path: &Path) -> std::io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(MODE)
        .open(path)?;
    let mut permissions = file.metadata()?.permissions();
    if permissions.mode() & 0o777 != MODE {
        tracing::warn!(path = %path.display(), "others could read this file; it is private now");
        permissions.set_mode(MODE);
        file.set_permissions(permissions)?;
    }
    Ok(file)
}

pub(crate) fn connect(path: &Path, reads_only: bool) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection =
        Connection::open_with_flags(path, flags).map_err(db("opening the database"))?;
    connection
        .busy_timeout(BUSY)
        .map_err(db("opening the database"))?;
    // FULL: an approval or an activation that was answered survives a loss of power.
    for (pragma, value) in [
        ("journal_mode", "WAL"),
        ("synchronous", "FULL"),
        ("foreign_keys", "ON"),
        ("trusted_schema", "OFF"),
        // What is forgotten is not left in free pages.
        ("secure_delete", "ON"),
        ("query_only", if reads_only { "ON" } else { "OFF" }),
    ] {
        connection
            .pragma_update(None, pragma, value)
            .map_err(db("setting up the database"))?;
    }
    Ok(connection)
}
