//! What has begun and is not finished: one file of the spool for each erasure.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::check::Checked;
use super::{Erase, EraseError};
use crate::convert;
use crate::disk::{Disk, write_whole};
use crate::doc::{ErasureDoc, PrincipalDoc};
use crate::log::sequence::{LeafRef, MOST_ERASURES};

const FORMAT: &str = "weir.erasing.v1";
const SUFFIX: &str = ".json";
/// A longer file is none of ours.
const MAX_FILE: u64 = 1 << 20;

/// One erasure, as far as it has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    format: String,
    pub session: Uuid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<PrincipalDoc>,
    pub reason: String,
    /// Where it stands in the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaf: Option<LeafRef>,
    /// What is not erased with it, as far as it is known by now.
    #[serde(default)]
    pub remains: Vec<String>,
    /// What else is to be told when it is done.
    #[serde(default)]
    pub notes: Vec<String>,
}

impl Job {
    pub fn new(ask: &Erase, checked: Checked) -> Self {
        Self {
            format: FORMAT.to_owned(),
            session: ask.session,
            who: ask.who.as_deref().map(convert::principal),
            reason: ask.reason.clone(),
            leaf: None,
            remains: checked.remains,
            notes: checked.notes,
        }
    }

    /// Nothing that is known to remain is forgotten. False when it was known.
    pub fn keep(&mut self, what: String) -> bool {
        let is_new = !self.remains.contains(&what);
        if is_new {
            self.remains.push(what);
        }
        is_new
    }

    /// For the control stream.
    pub fn doc(&self, outcome: Option<String>) -> Result<ErasureDoc, EraseError> {
        Ok(ErasureDoc {
            salt: convert::salt()?,
            session: self.session.to_string(),
            who: self.who.clone(),
            reason: self.reason.clone(),
            outcome,
        })
    }

    /// Durable when it returns.
    pub fn write(&self, disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        let json = serde_json::to_vec(self).map_err(io::Error::other)?;
        write_whole(disk, &path(dir, self.session), &json)?;
        disk.sync_dir(dir)
    }

    /// It is finished.
    pub fn remove(&self, disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        disk.remove(&path(dir, self.session))?;
        disk.sync_dir(dir)
    }
}

fn path(dir: &Path, session: Uuid) -> PathBuf {
    dir.join(format!("{}{SUFFIX}", session.as_hyphenated()))
}

pub fn read(dir: &Path, session: Uuid) -> io::Result<Option<Job>> {
    let path = path(dir, session);
    let metadata = match std::fs::metadata(&path) {
        Ok(metadata) => metadata,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let wrong = |why: String| io::Error::other(format!("{}: {why}", path.display()));
    if metadata.len() > MAX_FILE {
        return Err(wrong("it is too long to be an erasure".into()));
    }
    let job: Job =
        serde_json::from_slice(&std::fs::read(&path)?).map_err(|e| wrong(e.to_string()))?;
    match job.format == FORMAT && job.session == session {
        true => Ok(Some(job)),
        false => Err(wrong("it is another session's, or of a newer Weir".into())),
    }
}

/// Sessions whose erasure has begun.
pub fn found(dir: &Path) -> io::Result<Vec<Uuid>> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        let id = name.strip_suffix(SUFFIX).and_then(|id| id.parse().ok());
        if let Some(id) = id
            && out.len() < MOST_ERASURES
        {
            out.push(id);
        }
    }
    out.sort();
    Ok(out)
}
