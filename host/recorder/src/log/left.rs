//! What an earlier process left of its log: is it what was signed?

use std::io;
use std::path::PathBuf;

use tlog::Tile;

use crate::log::publish::{PublishError, bundle, last_entries};
use crate::log::sequence::Snapshot;
use crate::log::spool::{BUNDLE, Cursor, Edge};

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
