//! The object that stands where a session's key was, and the leaf that it names. Anybody who can write
//! to the store can put such an object there: without its leaf it says nothing.

use bytes::Bytes;
use tlog::{Checkpoint, Kind, Tile, TileMap};
use uuid::Uuid;

use crate::crypt::read::ErasedDoc;
use crate::log::check::TrustedKey;
use crate::log::leaf::Leaf;
use crate::log::names;
use crate::log::sequence::LeafRef;
use crate::log::spool::BUNDLE;
use crate::objects::{Objects, StoreError};

const FORMAT: &str = "weir.erased.v1";
/// Tiles go while a log grows: then there is a newer checkpoint, and it is looked at again.
const LOOKS: usize = 3;
/// No marker is longer; what remains of a key can be many versions.
pub const MAX_MARKER: u64 = 1 << 20;
const HASH: usize = size_of::<tlog::Hash>();

pub fn marker(session: Uuid, leaf: &LeafRef, remains: &[String]) -> ErasedDoc {
    ErasedDoc {
        format: FORMAT.to_owned(),
        session: session.to_string(),
        time: leaf.time.clone(),
        who: leaf.who.clone(),
        log: Some(leaf.log),
        leaf: Some(leaf.leaf),
        remains: remains.to_vec(),
    }
}

/// What is longer than any object of its kind is none of ours.
pub fn if_ours(found: Result<Option<Bytes>, StoreError>) -> Result<Option<Bytes>, StoreError> {
    match found {
        Err(StoreError::TooLarge { .. }) => Ok(None),
        found => found,
    }
}

/// The leaf that it names.
pub fn place(doc: &ErasedDoc) -> Option<(Uuid, u64)> {
    doc.log.zip(doc.leaf)
}

/// What there is to a marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmed {
    /// The leaf says the same, and is in a log that a trusted key has signed.
    Yes,
    /// The leaf says the same; no key that is known here has signed its log, so anybody may have made it.
    Unchecked,
    No,
}

/// Does the log that it names have the leaf, does that say the same, and who has signed the log?
pub async fn confirmed(
    objects: &Objects,
    trusted: &[TrustedKey],
    session: Uuid,
    doc: &ErasedDoc,
) -> Result<Confirmed, StoreError> {
    let Some((log, index)) = place(doc) else {
        return Ok(Confirmed::No);
    };
    for _ in 0..LOOKS {
        let found = if_ours(objects.find_of_log(log, names::CHECKPOINT).await)?;
        let Some((checkpoint, signed)) = found.and_then(|note| open(&note, log, trusted)) else {
            return Ok(Confirmed::No);
        };
        let Some(entry) = entry(objects, log, index, &checkpoint).await? else {
            continue;
        };
        return Ok(match (says(&entry, session, doc), signed) {
            (false, _) => Confirmed::No,
            (true, true) => Confirmed::Yes,
            (true, false) => Confirmed::Unchecked,
        });
    }
    Ok(Confirmed::No)
}

/// A checkpoint of the log, and whether a trusted key has signed it.
pub(super) fn open(note: &[u8], log: Uuid, trusted: &[TrustedKey]) -> Option<(Checkpoint, bool)> {
    let of = log.as_hyphenated().to_string();
    let opened = trusted.iter().find_map(|key| {
        let verifier = key.verifier(&of).ok()?;
        let origin = tlog::Verifier::name(&verifier);
        tlog::open_checkpoint(note, origin, &[&verifier], &[]).ok()
    });
    if let Some(opened) = opened {
        return Some((opened.checkpoint, true));
    }
    let note = tlog::Note::parse(note, tlog::Limits::default()).ok()?;
    Some((Checkpoint::parse(note.text()).ok()?, false))
}

fn says(entry: &[u8], session: Uuid, doc: &ErasedDoc) -> bool {
    let Ok(leaf) = serde_json::from_slice::<Leaf<'_>>(entry) else {
        return false;
    };
    let who = leaf.who.as_ref().map(|who| &who.id);
    leaf.begins_erasure()
        && leaf.erased == Some(session)
        && leaf.time == doc.time
        && who == doc.who.as_ref()
}

/// One leaf, if it is proven to be in the tree that the checkpoint is of.
async fn entry(
    objects: &Objects,
    log: Uuid,
    index: u64,
    of: &Checkpoint,
) -> Result<Option<Vec<u8>>, StoreError> {
    let Ok(needed) = tlog::inclusion_tiles(of.size, index) else {
        return Ok(None);
    };
    let first = index / BUNDLE * BUNDLE;
    let width = BUNDLE.min(of.size.saturating_sub(first));
    let bundle = Tile {
        kind: Kind::Entries,
        index: index / BUNDLE,
        width: u16::try_from(width).unwrap_or(u16::MAX),
    };
    let Some(bytes) = object(objects, log, bundle).await? else {
        return Ok(None);
    };
    let at = usize::try_from(index % BUNDLE).unwrap_or(usize::MAX);
    let Some(Ok(entry)) = tlog::entries(&bytes).nth(at) else {
        return Ok(None);
    };
    let mut tiles = TileMap::new();
    for tile in needed {
        let Some(bytes) = object(objects, log, tile).await? else {
            return Ok(None);
        };
        let Some(hashes) = bytes.get(..usize::from(tile.width) * HASH) else {
            return Ok(None);
        };
        tiles.insert(tile, hashes.to_vec());
    }
    let leaf = tlog::leaf_hash(entry);
    let proven = tlog::inclusion_proof(of.size, index, &leaf, &of.root, &tiles);
    Ok(proven.is_ok().then(|| entry.to_vec()))
}

/// The object of just this width, or the full one.
async fn object(objects: &Objects, log: Uuid, tile: Tile) -> Result<Option<Bytes>, StoreError> {
    for tile in [tile, tile.full()] {
        let found = if_ours(objects.find_of_log(log, &tile.path()).await)?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}
