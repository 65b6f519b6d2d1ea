//! Where in the spool things are.

use std::path::{Path, PathBuf};

use crate::disk::{Disk, durable_dir};
use crate::options::OpenError;

/// The spool's directories.
pub struct Dirs {
    pub wal: PathBuf,
    pub log: PathBuf,
    pub segments: PathBuf,
    pub snapshots: PathBuf,
    pub quarantine: PathBuf,
    pub erasures: PathBuf,
}

impl Dirs {
    /// Makes what is missing.
    pub fn make(disk: &dyn Disk, spool: &Path) -> Result<Self, OpenError> {
        let dirs = Self {
            wal: spool.join("wal"),
            log: spool.join("log"),
            segments: spool.join("segments"),
            snapshots: spool.join("snapshots"),
            quarantine: spool.join("quarantine"),
            erasures: spool.join("erasures"),
        };
        for dir in [
            spool,
            &dirs.wal,
            &dirs.log,
            &dirs.segments,
            &dirs.snapshots,
            &dirs.quarantine,
            &dirs.erasures,
        ] {
            durable_dir(disk, dir).map_err(OpenError::io("creating", dir))?;
        }
        Ok(dirs)
    }
}
