//! What an earlier process left of its log: is it what was signed?

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tlog::Tile;

use crate::dirs::Dirs;
use crate::disk::Disk;
use crate::log::publish::{PublishError, bundle, last_entries};
use crate::log::sequence::{LogError, Snapshot};
use crate::log::spool::{self, BUNDLE, Cursor, Edge};
use crate::options::OpenError;

/// The end of a log that an earlier process left, if that is what was signed.
pub fn left_behind(dir: PathBuf, edge: Edge) -> io::Result<Result<Snapshot, String>> {
    let Some(partial) = signed_tiles(&edge) else {
        return Ok(Err("its last checkpoint is not one".into()));
    };
    let log = Snapshot {
        epoch: edge.epoch,
        dir,
        size: edge.size,
        note: edge.note,
        vkey: edge.vkey,
        partial,
        is_over: true,
    };
    match check_left(&log) {
        Ok(()) => Ok(Ok(log)),
        Err(PublishError::Damaged(why)) => Ok(Err(why)),
        Err(PublishError::Read(error)) => Err(error),
        Err(PublishError::Store(_) | PublishError::Slow(_) | PublishError::Registry(_)) => {
            Ok(Ok(log))
        }
    }
}

/// The open tiles of an edge, if they are what its checkpoint says, and that is signed.
fn signed_tiles(edge: &Edge) -> Option<Vec<(Tile, Vec<u8>)>> {
    let verifier = tlog::Ed25519Verifier::parse(&edge.vkey).ok()?;
    let note = edge.note.as_bytes();
    let opened = tlog::open_checkpoint(note, &edge.origin, &[&verifier], &[]).ok()?;
    let signed = opened.checkpoint;
    let partial = edge.partial()?;
    let tile = |wanted: Tile| {
        let found = partial.iter().find(|(tile, _)| *tile == wanted);
        found.map(|(_, bytes)| bytes.clone())
    };
    tlog::Tree::restore_to(edge.size, &signed.root, tile).ok()?;
    (signed.size == edge.size).then_some(partial)
}

fn check_left(log: &Snapshot) -> Result<(), PublishError> {
    let mut cursor = Cursor::open(&log.dir)?;
    let mut tiles = Vec::new();
    while cursor.bundle < log.size / BUNDLE {
        let len = bundle(&cursor, log, &mut tiles)?;
        cursor.advance(len);
        tiles.clear();
    }
    last_entries(&cursor, log).map(drop)
}

/// The logs of earlier processes that may not be stored to their ends.
pub struct OldLogs {
    pub logs: Vec<Arc<Snapshot>>,
    /// The one that was written last; none if that is damaged, since nobody knows then what it has.
    pub newest: Option<Edge>,
}

/// Looks for them. What is damaged is put aside, and told of.
pub fn old_logs(disk: &dyn Disk, dirs: &Dirs) -> Result<(OldLogs, Vec<String>), OpenError> {
    let found = spool::find(disk, &dirs.log).map_err(LogError::from)?;
    let newest = found.newest().cloned();
    let mut old = OldLogs {
        logs: Vec::new(),
        newest: newest.filter(|_| found.damaged.is_empty()),
    };
    let mut damaged: Vec<(PathBuf, String)> = Vec::new();
    for dir in found.damaged {
        damaged.push((dir, "its last checkpoint cannot be read".into()));
    }
    for (dir, edge) in found.edges {
        let epoch = edge.epoch;
        let left = left_behind(dir.clone(), edge);
        match left.map_err(OpenError::io("reading the log", &dir))? {
            Ok(log) => old.logs.push(Arc::new(log)),
            Err(why) => {
                old.newest = old.newest.filter(|edge| edge.epoch != epoch);
                damaged.push((dir, why));
            }
        }
    }
    let mut gaps = Vec::new();
    for (dir, why) in damaged {
        let name = dir
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        spool::put_aside(disk, &dir, &dirs.quarantine)
            .map_err(OpenError::io("putting aside the log", &dir))?;
        gaps.push(format!("the waiting end of log {name} is damaged: {why}"));
    }
    Ok((old, gaps))
}
