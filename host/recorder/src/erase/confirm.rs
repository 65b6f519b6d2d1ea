//! The object that stands where a session's key was, and the leaf that it names. Anybody who can write
//! to the store can put such an object there: without its leaf it says nothing.

use uuid::Uuid;

use crate::crypt::read::ErasedDoc;
use crate::log::leaf::Leaf;
use crate::log::names;
use crate::log::sequence::LeafRef;
use crate::log::spool::BUNDLE;
use crate::objects::{Objects, StoreError};

const FORMAT: &str = "weir.erased.v1";

pub fn marker(session: Uuid, leaf: &LeafRef) -> ErasedDoc {
    ErasedDoc {
        format: FORMAT.to_owned(),
        session: session.to_string(),
        time: leaf.time.clone(),
        who: leaf.who.clone(),
        log: Some(leaf.log),
        leaf: Some(leaf.leaf),
    }
}

/// The leaf that it names.
pub fn place(doc: &ErasedDoc) -> Option<(Uuid, u64)> {
    doc.log.zip(doc.leaf)
}

/// Does the stored log have the leaf, and does it say the same? Whether the log is what was signed is for
/// `verify` to say.
pub async fn confirmed(
    objects: &Objects,
    session: Uuid,
    doc: &ErasedDoc,
) -> Result<bool, StoreError> {
    let Some((log, index)) = place(doc) else {
        return Ok(false);
    };
    let Some(entry) = entry(objects, log, index).await? else {
        return Ok(false);
    };
    let Ok(leaf) = serde_json::from_slice::<Leaf<'_>>(&entry) else {
        return Ok(false);
    };
    let who = leaf.who.as_ref().map(|who| &who.id);
    Ok(leaf.begins_erasure()
        && leaf.erased == Some(session)
        && leaf.time == doc.time
        && who == doc.who.as_ref())
}

/// One leaf of a stored log.
async fn entry(objects: &Objects, log: Uuid, index: u64) -> Result<Option<Vec<u8>>, StoreError> {
    let path = |width| {
        let tile = tlog::Tile {
            kind: tlog::Kind::Entries,
            index: index / BUNDLE,
            width,
        };
        names::object(log, &tile.path())
    };
    let full = u16::try_from(BUNDLE).unwrap_or(u16::MAX);
    let mut found = objects.find(&path(full)).await?.map(|bytes| (full, bytes));
    if found.is_none()
        && let Some(note) = objects.find(&names::object(log, names::CHECKPOINT)).await?
    {
        // Only to know which bundle there is: the second line has the size.
        let text = String::from_utf8_lossy(&note);
        let size = text
            .lines()
            .nth(1)
            .and_then(|line| line.parse::<u64>().ok());
        let width = size.and_then(|size| u16::try_from(size % BUNDLE).ok());
        if let Some(width) = width.filter(|width| *width > 0) {
            found = objects
                .find(&path(width))
                .await?
                .map(|bytes| (width, bytes));
        }
    }
    let Some((width, bundle)) = found else {
        return Ok(None);
    };
    let Ok(entries) = tlog::bundle_of(width, &bundle) else {
        return Ok(None);
    };
    let at = usize::try_from(index % BUNDLE).unwrap_or(usize::MAX);
    Ok(entries.get(at).map(|entry| entry.to_vec()))
}
