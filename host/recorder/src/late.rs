//! What was found missing when the control stream had ended already: it waits in the spool, and the next
//! start writes it down.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::disk::Disk;
use crate::doc::GapDoc;
use crate::log::spool::{replace, unsealed};

const NAME: &str = "late-gaps";
/// More are only counted.
const MOST: usize = 1000;
/// No file of ours is longer.
const MAX_FILE: u64 = 16 << 20;

/// Where they wait.
pub struct Late {
    disk: Arc<dyn Disk>,
    spool: PathBuf,
}

impl Late {
    pub fn new(disk: Arc<dyn Disk>, spool: PathBuf) -> Self {
        Self { disk, spool }
    }

    fn path(&self) -> PathBuf {
        self.spool.join(NAME)
    }

    pub fn keep(&self, mut gaps: Vec<GapDoc>) -> io::Result<()> {
        let more = gaps.len().saturating_sub(MOST);
        if more > 0 {
            gaps.truncate(MOST);
            gaps.push(gap(format!(
                "{more} more gaps were found while the recorder ended"
            )));
        }
        match gaps.is_empty() {
            true => Ok(()),
            false => replace(&*self.disk, &self.path(), &gaps),
        }
    }

    /// What the last process left. It stays until it is forgotten.
    pub fn left(&self) -> io::Result<Vec<GapDoc>> {
        let path = self.path();
        let bytes = match std::fs::metadata(&path) {
            Ok(meta) if meta.len() > MAX_FILE => Vec::new(),
            Ok(_) => std::fs::read(&path)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(e),
        };
        let damaged = "the list of gaps that were found while the last process ended is damaged";
        Ok(unsealed(&bytes).unwrap_or_else(|| vec![gap(damaged.to_owned())]))
    }

    /// They are on record.
    pub fn forget(&self) -> io::Result<()> {
        let path = self.path();
        if !path.exists() {
            return Ok(());
        }
        self.disk.remove(&path)?;
        self.disk.sync_dir(&self.spool)
    }
}

fn gap(what: String) -> GapDoc {
    GapDoc { what, file: None }
}
