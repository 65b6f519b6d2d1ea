//! Finds a window's leaves in the logs of a store, and fetches what proves them.

use std::collections::{BTreeMap, BTreeSet};

use recorder::{Store, StoreError, TrustedKey};
use tlog::{Checkpoint, Ed25519Verifier, Kind, Note, TILE_WIDTH, Tile, TileMap, Verifier};
use uuid::Uuid;

use crate::leaf::{Leaf, LeafError};
use crate::left::{self, Left, LeftOut};
use crate::logs::{self, Clock, LogFacts, width};
use crate::prove;
use crate::select::Window;

const BUNDLE: u64 = TILE_WIDTH as u64;
const HASH: usize = 32;
/// How often a log is read again, since it went on while it was read.
const ATTEMPTS: usize = 5;
/// The most leaves of a log that are looked at.
pub const MAX_LEAVES: u64 = 1 << 32;

#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("log {log}: the checkpoint: {why}")]
    Checkpoint { log: Uuid, why: String },
    #[error("log {log}: the signed checkpoint: {why}")]
    Signed { log: Uuid, why: String },
    #[error("log {log}: {path} is {size} bytes long, more than any object of a log")]
    TooLong { log: Uuid, path: String, size: u64 },
    #[error("log {log}: {path} cannot be read: {why}")]
    Unreadable {
        log: Uuid,
        path: String,
        why: String,
    },
    #[error("log {log}: {path} is missing, or not as it should be; weir verify says more")]
    Object { log: Uuid, path: String },
    #[error("log {log}: leaf {leaf}: {why}")]
    Leaf {
        log: Uuid,
        leaf: u64,
        why: LeafError,
    },
    #[error("log {log}: leaf {leaf} is earlier than the leaf before it; weir verify says more")]
    Order { log: Uuid, leaf: u64 },
}

impl FetchError {
    /// The log that it is about; none: the store itself fails.
    pub fn log(&self) -> Option<Uuid> {
        match self {
            Self::Store(_) => None,
            Self::Checkpoint { log, .. }
            | Self::Signed { log, .. }
            | Self::TooLong { log, .. }
            | Self::Unreadable { log, .. }
            | Self::Object { log, .. }
            | Self::Leaf { log, .. }
            | Self::Order { log, .. } => Some(*log),
        }
    }

    /// A key that counts has signed what is wrong.
    pub fn is_of_signed(&self) -> bool {
        match self {
            Self::Store(_) | Self::Checkpoint { .. } => false,
            // The checkpoint is looked at first.
            Self::TooLong { path, .. } | Self::Unreadable { path, .. } => path.starts_with("tile/"),
            Self::Signed { .. } | Self::Object { .. } | Self::Leaf { .. } | Self::Order { .. } => {
                true
            }
        }
    }
}

/// One log of a store at one checkpoint.
pub struct FetchedLog {
    pub facts: LogFacts,
    /// The key that has signed it, under its origin.
    pub vkey: String,
    /// The signed checkpoint.
    pub note: Vec<u8>,
    first_ns: u64,
    last_ns: u64,
    /// As far as its last bundle tells.
    stopped: bool,
}

/// Reads logs of a store.
pub struct Fetcher<'a> {
    store: &'a Store,
    /// Keys whose logs count. None: the one beside each log.
    trusted: Vec<TrustedKey>,
    /// Partial tiles, as they were with the checkpoint: a log that goes on takes them away.
    edges: BTreeMap<(Uuid, Tile), Vec<u8>>,
}

impl<'a> Fetcher<'a> {
    pub fn new(store: &'a Store, trusted: Vec<TrustedKey>) -> Self {
        Self {
            store,
            trusted,
            edges: BTreeMap::new(),
        }
    }

    /// The logs that a package about this window must have. Those of which that cannot be known, or that
    /// do not count, are left out, and are told with those that already were.
    pub async fn logs(
        &mut self,
        window: Window,
        left: &mut Left,
    ) -> Result<Vec<FetchedLog>, FetchError> {
        let mut all = Vec::new();
        for id in self.store.logs().await? {
            if left.contains_key(&id) {
                continue;
            }
            let out = match self.log(id, window).await {
                Ok(Some(log)) => {
                    all.push(log);
                    continue;
                }
                Ok(None) => LeftOut::new(id, false, "it has no checkpoint"),
                Err(error) if error.log().is_none() => return Err(error),
                Err(error) => LeftOut::of(id, &error),
            };
            left.insert(id, out);
        }
        let prev = |log: &FetchedLog| log.facts.prev.as_ref().map(|p| p.origin.clone());
        let named: BTreeSet<String> = all.iter().filter_map(prev).collect();
        // What has leaves in the window, or may still have had some after its checkpoint.
        let within = |log: &FetchedLog| {
            let may_go_on = !log.stopped && !named.contains(&log.facts.origin);
            log.first_ns < window.to_ns && (log.last_ns >= window.from_ns || may_go_on)
        };
        let wanted: BTreeSet<String> = all
            .iter()
            .filter(|log| within(log))
            .map(|log| log.facts.origin.clone())
            .collect();
        // And what shows that those that it is about to their end have ended: the logs that go on after
        // them.
        let to_end: BTreeSet<String> = all
            .iter()
            .filter(|log| within(log) && log.facts.end == log.facts.size)
            .map(|log| log.facts.origin.clone())
            .collect();
        all.retain(|log| {
            wanted.contains(&log.facts.origin)
                || prev(log).is_some_and(|origin| to_end.contains(&origin))
        });
        left::befores(&mut all, window, left);
        Ok(all)
    }

    /// One log at its newest checkpoint; none if it has none.
    pub async fn log(
        &mut self,
        id: Uuid,
        window: Window,
    ) -> Result<Option<FetchedLog>, FetchError> {
        let mut attempt = 1;
        loop {
            match self.log_once(id, window).await {
                // Partial tiles go when they are full: the next checkpoint needs others.
                Err(FetchError::Object { .. }) if attempt < ATTEMPTS => attempt += 1,
                other => return other,
            }
        }
    }

    async fn log_once(
        &mut self,
        id: Uuid,
        window: Window,
    ) -> Result<Option<FetchedLog>, FetchError> {
        let Some(note) = self.stored(id, "checkpoint").await? else {
            return Ok(None);
        };
        let wrong = |why: String| FetchError::Checkpoint { log: id, why };
        let parsed =
            Note::parse(&note, tlog::Limits::default()).map_err(|e| wrong(e.to_string()))?;
        let Checkpoint {
            origin, size, root, ..
        } = Checkpoint::parse(parsed.text()).map_err(|e| wrong(e.to_string()))?;
        if logs::id_of(&origin).is_none_or(|(_, named)| named != id) {
            return Err(wrong(format!("it is of {origin:?}")));
        }
        let vkey = self.signed_by(id, &origin, &note).await?;
        if size == 0 || size > MAX_LEAVES {
            let why = format!("it is of {size} leaves");
            return Err(FetchError::Signed { log: id, why });
        }
        let mut facts = LogFacts {
            id,
            origin,
            size,
            root,
            first: 0,
            end: 0,
            prev: None,
            stopped: false,
            last_time: None,
        };
        self.keep_edges(&facts).await?;
        // Which logs a window is about hangs on the times of these: they must be those that were signed.
        self.prove(&facts, 0).await?;
        self.prove(&facts, size - 1).await?;
        let zero = self.leaf(&facts, 0).await?;
        let last = self.leaf(&facts, size - 1).await?;
        let time = |leaf: u64, of: &Leaf| {
            let wrong = |why| FetchError::Leaf { log: id, leaf, why };
            of.time_ns().map_err(wrong)
        };
        let (first_ns, last_ns) = (time(0, &zero)?, time(size - 1, &last)?);
        facts.see(0, &zero);
        let stopped = self.has_stopped(&facts).await?;
        facts.first = self.before(&facts, window.from_ns).await?;
        facts.end = self.before(&facts, window.to_ns).await?;
        Ok(Some(FetchedLog {
            facts,
            vkey,
            note,
            first_ns,
            last_ns,
            stopped,
        }))
    }

    /// The key that counts and that has signed this checkpoint.
    async fn signed_by(&self, id: Uuid, origin: &str, note: &[u8]) -> Result<String, FetchError> {
        let unsigned = |why: &str| FetchError::Checkpoint {
            log: id,
            why: why.to_owned(),
        };
        let keys: Vec<Ed25519Verifier> = match self.trusted.as_slice() {
            [] => {
                let beside = self.stored(id, "vkey").await?.unwrap_or_default();
                let text = String::from_utf8_lossy(&beside);
                let key = Ed25519Verifier::parse(text.trim_ascii());
                vec![key.map_err(|_| unsigned("there is no key beside it"))?]
            }
            trusted => {
                let id = id.as_hyphenated().to_string();
                let keys = trusted.iter().filter_map(|key| key.verifier(&id).ok());
                keys.filter(|key| key.name() == origin).collect()
            }
        };
        let opens = |key: &&Ed25519Verifier| {
            let keys: [&dyn Verifier; 1] = [*key];
            tlog::open_checkpoint(note, origin, &keys, &[]).is_ok()
        };
        let by = keys.iter().find(opens);
        by.map(Ed25519Verifier::vkey).ok_or_else(|| {
            unsigned(
                "no key that counts has signed it; if the log is yours, name its key in \
                 recording.trusted_log_keys, or with --log-key",
            )
        })
    }

    /// The bundle with this leaf is what was signed.
    async fn prove(&mut self, log: &LogFacts, index: u64) -> Result<(), FetchError> {
        let bundle = tile(log, index / BUNDLE);
        let wrong = |e: tlog::ProofError| FetchError::Signed {
            log: log.id,
            why: format!("{} is not what was signed: {e}", bundle.path()),
        };
        let bytes = self.bundle(log, bundle).await?;
        let entries: Vec<&[u8]> = tlog::entries(&bytes).flatten().collect();
        let mut map = TileMap::new();
        for tile in tiles(log, &[bundle]).map_err(wrong)? {
            map.insert(tile, self.hashes(log, tile).await?);
        }
        prove::bundle(log, bundle, &entries, &mut map).map_err(wrong)
    }

    async fn keep_edges(&mut self, log: &LogFacts) -> Result<(), FetchError> {
        let wrong = |e: tlog::ProofError| FetchError::Signed {
            log: log.id,
            why: e.to_string(),
        };
        let tiles = tlog::root_tiles(log.size).map_err(wrong)?;
        for tile in tiles.into_iter().filter(|tile| !tile.is_full()) {
            let bytes = self.hashes(log, tile).await?;
            self.edges.insert((log.id, tile), bytes);
        }
        let last = tile(log, (log.size - 1) / BUNDLE);
        let bytes = self.bundle(log, last).await?;
        self.edges.insert((log.id, last), bytes);
        Ok(())
    }

    async fn has_stopped(&mut self, log: &LogFacts) -> Result<bool, FetchError> {
        let bundle = self.bundle(log, tile(log, (log.size - 1) / BUNDLE)).await?;
        let mut leaves = tlog::entries(&bundle).flatten().map(Leaf::parse);
        let stop = |leaf: Leaf| leaf.kind == "recorder.stop" && leaf.sid == Some(log.id);
        Ok(leaves.any(|leaf| leaf.is_ok_and(stop)))
    }

    /// How many leaves are before this time. They are in the order of their times.
    async fn before(&mut self, log: &LogFacts, time_ns: u64) -> Result<u64, FetchError> {
        let (mut low, mut high) = (0, log.size.div_ceil(BUNDLE));
        // The first bundle whose first leaf is not before it.
        while low < high {
            let middle = low + (high - low) / 2;
            let leaf = self.leaf(log, middle * BUNDLE).await?;
            let wrong = |why| FetchError::Leaf {
                log: log.id,
                leaf: middle * BUNDLE,
                why,
            };
            match leaf.time_ns().map_err(wrong)? < time_ns {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        let Some(index) = low.checked_sub(1) else {
            return Ok(0);
        };
        let bundle = self.bundle(log, tile(log, index)).await?;
        let mut clock = Clock::default();
        let mut count = index * BUNDLE;
        for entry in tlog::entries(&bundle).flatten() {
            let wrong = |why| FetchError::Leaf {
                log: log.id,
                leaf: count,
                why,
            };
            let leaf = Leaf::parse(entry).map_err(wrong)?;
            let time = clock.tick(&leaf).map_err(wrong)?;
            let order = FetchError::Order {
                log: log.id,
                leaf: count,
            };
            if time.ok_or(order)? >= time_ns {
                break;
            }
            count += 1;
        }
        Ok(count)
    }

    async fn leaf(&mut self, log: &LogFacts, index: u64) -> Result<Leaf, FetchError> {
        let tile = tile(log, index / BUNDLE);
        let bundle = self.bundle(log, tile).await?;
        let place = usize::try_from(index % BUNDLE).unwrap_or(usize::MAX);
        let entry = tlog::entries(&bundle).flatten().nth(place);
        let entry = entry.ok_or_else(|| object(log, tile.path()))?;
        Leaf::parse(entry).map_err(|why| FetchError::Leaf {
            log: log.id,
            leaf: index,
            why,
        })
    }

    /// A bundle with exactly the entries that the checkpoint covers.
    pub async fn bundle(&mut self, log: &LogFacts, tile: Tile) -> Result<Vec<u8>, FetchError> {
        let wrong = || object(log, tile.path());
        let bytes = self.object(log, tile).await?.ok_or_else(wrong)?;
        let mut out = Vec::with_capacity(bytes.len());
        let mut count = 0;
        for entry in tlog::entries(&bytes).take(usize::from(tile.width)) {
            let entry = entry.map_err(|_| wrong())?;
            tlog::push_entry(&mut out, entry).map_err(|_| wrong())?;
            count += 1;
        }
        match count == tile.width {
            true => Ok(out),
            false => Err(wrong()),
        }
    }

    /// A tile of hashes, with exactly those that the checkpoint covers.
    pub async fn hashes(&mut self, log: &LogFacts, tile: Tile) -> Result<Vec<u8>, FetchError> {
        let wrong = || object(log, tile.path());
        let bytes = self.object(log, tile).await?.ok_or_else(wrong)?;
        let length = usize::from(tile.width) * HASH;
        Ok(bytes.get(..length).ok_or_else(wrong)?.to_vec())
    }

    /// The object of just this width, or the full one.
    async fn object(&self, log: &LogFacts, tile: Tile) -> Result<Option<Vec<u8>>, FetchError> {
        if let Some(bytes) = self.edges.get(&(log.id, tile)) {
            return Ok(Some(bytes.clone()));
        }
        for tile in [tile, tile.full()] {
            if let Some(bytes) = self.stored(log.id, &tile.path()).await? {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }

    /// An object of a log. What is too long for one is none of Weir's, and no failure of the store.
    async fn stored(&self, id: Uuid, path: &str) -> Result<Option<Vec<u8>>, FetchError> {
        match self.store.log_object(id, path).await {
            Ok(found) => Ok(found.map(|bytes| bytes.to_vec())),
            Err(StoreError::TooLarge { size, .. }) => Err(FetchError::TooLong {
                log: id,
                path: path.to_owned(),
                size,
            }),
            // Of one object that the store does not give nobody knows more than of one that is not there.
            Err(error) if !error.is_away() => Err(FetchError::Unreadable {
                log: id,
                path: path.to_owned(),
                why: error.to_string(),
            }),
            Err(error) => Err(error.into()),
        }
    }
}

fn object(log: &LogFacts, path: String) -> FetchError {
    FetchError::Object { log: log.id, path }
}

fn tile(log: &LogFacts, index: u64) -> Tile {
    Tile {
        kind: Kind::Entries,
        index,
        width: width(log.size, index),
    }
}

/// The tiles of hashes that show where these bundles are in the tree. That of a bundle's own hashes
/// follows from its entries.
pub fn tiles(log: &LogFacts, bundles: &[Tile]) -> Result<BTreeSet<Tile>, tlog::ProofError> {
    let mut out = BTreeSet::new();
    for bundle in bundles {
        let wanted = tlog::inclusion_tiles(log.size, bundle.index * BUNDLE)?;
        let own = prove::own_tile(*bundle);
        out.extend(wanted.into_iter().filter(|tile| *tile != own));
    }
    Ok(out)
}
