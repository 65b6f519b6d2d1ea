//! Reads the leaves of this instance's logs in their order, for whoever passes them on: from the spool as
//! long as they are there, and then from the store. Nothing waits for it, and nothing is kept for it.
//!
//! What the store hands out is held against a checkpoint that is known from the spool, or from the log that
//! came after it; so a changed store can hide leaves, but not make any.

use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use tlog::{Kind, Tile, TileMap};
use uuid::Uuid;

use crate::chain::Hash;
use crate::log::leaf::Leaf;
use crate::log::names;
use crate::log::spool::{self, BUNDLE, Cursor, Edge};
use crate::objects::StoreError;
use crate::store::Store;

const HASH: usize = 32;

/// A log up to a durable checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEnd {
    pub log: Uuid,
    pub origin: String,
    pub size: u64,
    pub root: Hash,
}

#[derive(Debug, thiserror::Error)]
pub enum LeavesError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the spool of log {log} cannot be read: {source}")]
    Spool { log: Uuid, source: io::Error },
    #[error("log {log}: {path} is neither in the spool nor in the store")]
    Missing { log: Uuid, path: String },
    #[error("log {log}: {path} is not what was signed; weir verify says more")]
    Wrong { log: Uuid, path: String },
    #[error("the reading of log {0} ended unexpectedly")]
    Ended(Uuid),
}

impl LeavesError {
    /// Would it be the same if it were read again? Of an error of the store that depends on whether it
    /// answers otherwise: [`Leaves::store_answers`].
    pub fn is_lasting(&self) -> bool {
        matches!(
            self,
            Self::Missing { .. } | Self::Wrong { .. } | Self::Spool { .. }
        )
    }
}

/// Reads leaves. Each reader has its own place in the spool's files.
#[derive(Clone)]
pub struct Leaves {
    store: Store,
    logs: PathBuf,
    at: Option<(Uuid, Cursor)>,
}

impl Leaves {
    pub fn new(store: Store, spool: &Path) -> Self {
        Self {
            store,
            logs: spool.join("log"),
            at: None,
        }
    }

    /// How far a log is durable, if it is in the spool. Reads one small file, and blocks for that.
    pub fn end(&self, log: Uuid) -> io::Result<Option<LogEnd>> {
        let edge = spool::read_edge(&spool::dir_of(&self.logs, log))?;
        Ok(edge.and_then(|edge| end_of(edge, log)))
    }

    /// The same for whoever must not block.
    pub async fn durable(&self, log: Uuid) -> Result<Option<LogEnd>, LeavesError> {
        let edge = self.edge(log).await?;
        Ok(edge.and_then(|edge| end_of(edge, log)))
    }

    /// Logs that the spool has, without an order.
    pub async fn spooled_logs(&self) -> Result<Vec<Uuid>, LeavesError> {
        let logs = self.logs.clone();
        let list = move || match std::fs::read_dir(logs) {
            Ok(entries) => entries
                .map(|entry| Ok(entry?.file_name().to_string_lossy().parse().ok()))
                .filter_map(io::Result::transpose)
                .collect(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(e) => Err(e),
        };
        let listed = tokio::task::spawn_blocking(list).await;
        let log = Uuid::nil();
        let listed: io::Result<Vec<Uuid>> = listed.map_err(|_| LeavesError::Ended(log))?;
        listed.map_err(|source| LeavesError::Spool { log, source })
    }

    /// Logs that the store has, of whichever instance.
    pub async fn stored_logs(&self) -> Result<Vec<Uuid>, LeavesError> {
        Ok(self.store.logs().await?)
    }

    /// Does the store hand out the checkpoint of this log? Then an error about another object is about that
    /// object.
    pub async fn store_answers(&self, log: Uuid) -> bool {
        let found = self.store.log_object(log, names::CHECKPOINT).await;
        matches!(found, Ok(Some(_)))
    }

    /// Leaves from this one on, up to the end of their bundle; none beyond the end of the log, and at least
    /// one before it.
    pub async fn read(&mut self, of: &LogEnd, from: u64) -> Result<Vec<Vec<u8>>, LeavesError> {
        if from >= of.size {
            return Ok(Vec::new());
        }
        let index = from / BUNDLE;
        let width = BUNDLE.min(of.size - index * BUNDLE);
        let bundle = match self.spooled(of.log, index, width).await? {
            Ok(bundle) => bundle,
            // What is damaged here may still be in the store.
            Err(source) => match (self.stored(of, from).await, source.kind()) {
                (
                    Err(LeavesError::Missing { log, path }),
                    io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof,
                ) => return Err(LeavesError::Missing { log, path }),
                (Err(LeavesError::Missing { log, .. }), _) => {
                    return Err(LeavesError::Spool { log, source });
                }
                (stored, _) => stored?,
            },
        };
        let skip = usize::try_from(from % BUNDLE).unwrap_or(usize::MAX);
        let entries = tlog::entries(&bundle).flatten().skip(skip);
        let leaves: Vec<Vec<u8>> = entries.map(<[u8]>::to_vec).collect();
        match leaves.is_empty() {
            // Whoever goes on where it was would ask for the same again at once.
            true => Err(missing(of.log, &tile(index, width))),
            false => Ok(leaves),
        }
    }

    /// The log before this one, as its first leaf says.
    pub async fn before(&mut self, of: &LogEnd) -> Result<Option<LogEnd>, LeavesError> {
        let leaves = self.read(of, 0).await?;
        let wrong = || wrong(of.log, &tile(0, BUNDLE.min(of.size)));
        let first = leaves.first().ok_or_else(wrong)?;
        let leaf: Leaf<'_> = serde_json::from_slice(first).map_err(|_| wrong())?;
        let Some(prev) = leaf.prev else {
            return Ok(None);
        };
        let id = prev.origin.rsplit_once('/').map(|(_, id)| id);
        Ok(Some(LogEnd {
            log: id.and_then(|id| id.parse().ok()).ok_or_else(wrong)?,
            root: hash(&prev.root).ok_or_else(wrong)?,
            size: prev.size,
            origin: prev.origin,
        }))
    }

    /// How far a log is stored that no other log vouches for: as its checkpoint says, if the key of this log,
    /// which is in the spool, has signed that one, too.
    pub async fn signed_end(
        &self,
        log: Uuid,
        like: &LogEnd,
    ) -> Result<Option<LogEnd>, LeavesError> {
        let edge = self.edge(like.log).await?;
        let signer = edge.and_then(|edge| tlog::Ed25519Verifier::parse(&edge.vkey).ok());
        let name = like.origin.rsplit_once('/').map(|(name, _)| name);
        let (Some(signer), Some(name)) = (signer, name) else {
            return Ok(None);
        };
        let origin = format!("{name}/{}", log.as_hyphenated());
        match tlog::Ed25519Verifier::new(&origin, *signer.public_key()) {
            Ok(verifier) => self.checkpoint(log, &origin, &verifier).await,
            Err(_) => Ok(None),
        }
    }

    /// So many entries of a bundle, or why the spool does not give them.
    async fn spooled(
        &mut self,
        log: Uuid,
        index: u64,
        width: u64,
    ) -> Result<io::Result<Vec<u8>>, LeavesError> {
        let dir = spool::dir_of(&self.logs, log);
        let known = self.at.take().filter(|(of, _)| *of == log);
        let read = move || {
            let start = Cursor::at_file_of(&dir, index);
            let mut cursor = match known {
                Some((_, known)) if (start.bundle..=index).contains(&known.bundle) => known,
                _ => start,
            };
            while cursor.bundle < index {
                let passed = cursor.read(BUNDLE)?;
                cursor.advance(passed.len());
            }
            Ok::<_, io::Error>((cursor.read(width)?, cursor))
        };
        let read = tokio::task::spawn_blocking(read).await;
        let read = read.map_err(|_| LeavesError::Ended(log))?;
        Ok(read.map(|(bundle, cursor)| {
            self.at = Some((log, cursor));
            bundle
        }))
    }

    /// The bundle of the store that has this leaf, as it was signed.
    async fn stored(&self, of: &LogEnd, from: u64) -> Result<Vec<u8>, LeavesError> {
        let index = from / BUNDLE;
        // It only helps: without it, `of` is what counts.
        let newer = self.published(of).await.unwrap_or_default();
        let of = match &newer {
            Some(newer) if newer.size > from => newer,
            _ => of,
        };
        let width = BUNDLE.min(of.size - index * BUNDLE);
        let bundle = tile(index, width);
        let bytes = self.object(of.log, bundle).await?;
        let wrong = || wrong(of.log, &bundle);
        let entries = tlog::entries(&bytes).take(usize::from(bundle.width));
        let entries: Vec<&[u8]> = entries.collect::<Result<_, _>>().map_err(|_| wrong())?;
        let first = entries.first().ok_or_else(wrong)?;
        let own = Tile {
            kind: Kind::Level(0),
            ..bundle
        };
        let hashes = entries.iter().flat_map(|entry| tlog::leaf_hash(entry));
        let mut tiles = TileMap::from([(own, hashes.collect())]);
        let needed = tlog::inclusion_tiles(of.size, index * BUNDLE).map_err(|_| wrong())?;
        for tile in needed.into_iter().filter(|tile| *tile != own) {
            let bytes = self.object(of.log, tile).await?;
            let length = usize::from(tile.width) * HASH;
            let hashes = bytes.get(..length).ok_or_else(wrong)?;
            tiles.insert(tile, hashes.to_vec());
        }
        let leaf = tlog::leaf_hash(first);
        tlog::inclusion_proof(of.size, index * BUNDLE, &leaf, &of.root, &tiles)
            .map_err(|_| wrong())?;
        let mut out = Vec::with_capacity(bytes.len());
        for entry in entries {
            tlog::push_entry(&mut out, entry).map_err(|_| wrong())?;
        }
        Ok(out)
    }

    /// The newest checkpoint in the store of a log that is still in the spool, which knows its key: partial
    /// tiles are there for that one, and not for what has been added since.
    async fn published(&self, of: &LogEnd) -> Result<Option<LogEnd>, LeavesError> {
        let edge = self.edge(of.log).await?;
        match edge.and_then(|edge| tlog::Ed25519Verifier::parse(&edge.vkey).ok()) {
            Some(verifier) => self.checkpoint(of.log, &of.origin, &verifier).await,
            None => Ok(None),
        }
    }

    /// The checkpoint in the store, if it has this signature.
    async fn checkpoint(
        &self,
        log: Uuid,
        origin: &str,
        verifier: &tlog::Ed25519Verifier,
    ) -> Result<Option<LogEnd>, LeavesError> {
        let note = match self.store.log_object(log, names::CHECKPOINT).await {
            // It is none of ours.
            Err(StoreError::TooLarge { .. }) => None,
            found => found?,
        };
        let opened = note.and_then(|n| tlog::open_checkpoint(&n, origin, &[verifier], &[]).ok());
        Ok(opened.map(|opened| LogEnd {
            log,
            origin: origin.to_owned(),
            size: opened.checkpoint.size,
            root: opened.checkpoint.root,
        }))
    }

    async fn edge(&self, log: Uuid) -> Result<Option<Edge>, LeavesError> {
        let dir = spool::dir_of(&self.logs, log);
        let edge = tokio::task::spawn_blocking(move || spool::read_edge(&dir)).await;
        let edge = edge.map_err(|_| LeavesError::Ended(log))?;
        edge.map_err(|source| LeavesError::Spool { log, source })
    }

    /// The object of just this width, or the full one.
    async fn object(&self, log: Uuid, tile: Tile) -> Result<Bytes, LeavesError> {
        for tile in [tile, tile.full()] {
            match self.store.log_object(log, &tile.path()).await {
                Ok(Some(bytes)) => return Ok(bytes),
                Ok(None) => {}
                Err(StoreError::TooLarge { .. }) => return Err(wrong(log, &tile)),
                Err(error) => return Err(error.into()),
            }
        }
        Err(missing(log, &tile))
    }
}

fn wrong(log: Uuid, tile: &Tile) -> LeavesError {
    let path = tile.path();
    LeavesError::Wrong { log, path }
}

fn missing(log: Uuid, tile: &Tile) -> LeavesError {
    let path = tile.path();
    LeavesError::Missing { log, path }
}

/// None: it is the edge of another log, or none.
fn end_of(edge: Edge, log: Uuid) -> Option<LogEnd> {
    let root = hash(&edge.root).filter(|_| edge.epoch == log)?;
    Some(LogEnd {
        log,
        root,
        size: edge.size,
        origin: edge.origin,
    })
}

fn tile(index: u64, width: u64) -> Tile {
    Tile {
        kind: Kind::Entries,
        index,
        width: u16::try_from(width).unwrap_or(u16::MAX),
    }
}

fn hash(text: &str) -> Option<Hash> {
    STANDARD.decode(text).ok()?.try_into().ok()
}
