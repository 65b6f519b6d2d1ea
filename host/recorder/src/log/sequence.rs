//! The sequencer: on the sealer's thread it makes leaves of durable records, and signs checkpoints.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tlog::{Checkpoint, Tile, Tree};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::chain::Hash;
use crate::commit::Item;
use crate::convert::ns;
use crate::disk::Disk;
use crate::doc::SessionPart;
use crate::keys::timestamp;
use crate::log::key::{KeyError, Keys};
use crate::log::leaf::{Leaf, Owner, PrevPart, session_part};
use crate::log::spool::{EDGE_VERSION, Edge, Writer};
use crate::record::{Kind, NO_STREAM};
use crate::state::State;

/// A checkpoint is signed at most so long after the first leaf that it covers.
const CHECKPOINT_WITHIN: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("the transparency log cannot be written to the spool: {0}")]
    Spool(#[from] std::io::Error),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("a checkpoint cannot be signed: {0}")]
    Sign(String),
    #[error("a leaf cannot be written: {0}")]
    Leaf(serde_json::Error),
}

/// What the publisher has to store.
pub struct Snapshot {
    pub epoch: Uuid,
    pub dir: std::path::PathBuf,
    pub size: u64,
    pub note: String,
    pub vkey: String,
    /// Open tiles of hashes.
    pub partial: Vec<(Tile, Vec<u8>)>,
    /// Nothing more comes to it.
    pub is_over: bool,
}

/// Between the sequencer and the publisher.
#[derive(Default)]
pub struct Shared {
    inner: Mutex<Progress>,
    /// Told when there is something to store, or to store at once.
    pub work: Notify,
    /// Told when something was stored.
    pub done: Notify,
    /// Told when there is something for the registry.
    pub register: Notify,
}

#[derive(Default)]
struct Progress {
    latest: Option<Arc<Snapshot>>,
    published: u64,
    /// The newest one that is stored, and the size of the newest one in the registry.
    stored: Option<Arc<Snapshot>>,
    registered: u64,
    register_now: bool,
    asking: bool,
    /// Logs of earlier epochs that the store does not have yet.
    old: usize,
    hurry: bool,
    /// Where sessions' erasures are in this log, until they are done.
    erasures: HashMap<Uuid, LeafRef>,
}

/// The leaf of an erasure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeafRef {
    pub log: Uuid,
    pub leaf: u64,
    pub time: String,
    /// The pseudonym of who asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
}

/// Erasures that are looked after at the same time.
pub const MOST_ERASURES: usize = 1024;

impl Shared {
    pub fn latest(&self) -> Option<Arc<Snapshot>> {
        let inner = self.inner.lock();
        inner.latest.clone().filter(|s| s.size > inner.published)
    }

    pub fn in_hurry(&self) -> bool {
        self.inner.lock().hurry
    }

    /// Whoever calls it waits for the store.
    pub fn hurry(&self) {
        let mut inner = self.inner.lock();
        inner.hurry = true;
        inner.register_now = true;
        drop(inner);
        self.work.notify_one();
        self.register.notify_one();
    }

    /// A stored checkpoint that the registry does not have, and whether somebody waits for it.
    pub fn unregistered(&self) -> Option<(Arc<Snapshot>, bool)> {
        let inner = self.inner.lock();
        let stored = inner.stored.clone()?;
        (stored.size > inner.registered).then_some((stored, inner.register_now))
    }

    pub fn registered(&self, size: u64) {
        let mut inner = self.inner.lock();
        inner.registered = size;
        inner.register_now &= inner.latest.as_ref().is_some_and(|s| s.size > size);
        drop(inner);
        self.done.notify_waiters();
    }

    /// Witnesses are asked, or soon will be.
    pub fn set_asking(&self, asking: bool) {
        self.inner.lock().asking = asking;
        self.done.notify_waiters();
    }

    pub fn is_asking(&self) -> bool {
        self.inner.lock().asking
    }

    /// Leaves of the newest checkpoint, and of the newest that the store has.
    pub fn sizes(&self) -> (u64, u64) {
        let inner = self.inner.lock();
        (inner.latest.as_ref().map_or(0, |s| s.size), inner.published)
    }

    pub fn is_stored(&self) -> bool {
        self.has(self.sizes().0)
    }

    /// Are all logs of earlier epochs stored, and so many leaves of this one, and is that registered?
    pub fn has(&self, size: u64) -> bool {
        let inner = self.inner.lock();
        inner.old == 0 && inner.published >= size && inner.registered >= size
    }

    pub fn published(&self, log: &Arc<Snapshot>) {
        let mut inner = self.inner.lock();
        inner.published = log.size;
        inner.stored = Some(log.clone());
        inner.hurry &= inner.latest.as_ref().is_some_and(|s| s.size > log.size);
        drop(inner);
        self.register.notify_one();
        self.done.notify_waiters();
    }

    fn erasure(&self, session: Uuid, leaf: LeafRef) {
        let erasures = &mut self.inner.lock().erasures;
        if erasures.len() < MOST_ERASURES {
            // The first is what counts.
            erasures.entry(session).or_insert(leaf);
        }
    }

    pub fn erasure_of(&self, session: Uuid) -> Option<LeafRef> {
        self.inner.lock().erasures.get(&session).cloned()
    }

    pub fn forget_erasure(&self, session: Uuid) {
        self.inner.lock().erasures.remove(&session);
    }

    pub fn set_old(&self, left: usize) {
        self.inner.lock().old = left;
        self.done.notify_waiters();
    }

    fn checkpoint(&self, snapshot: Snapshot) {
        self.inner.lock().latest = Some(Arc::new(snapshot));
        self.work.notify_one();
    }
}

pub struct Sequencer {
    state: Arc<State>,
    keys: Keys,
    signer: Box<dyn tlog::Signer>,
    origin: String,
    vkey: String,
    epoch: Uuid,
    prev: Option<Uuid>,
    writer: Writer,
    tree: Tree,
    last_ns: u64,
    owners: HashMap<u128, Owner>,
    /// The number of the write-ahead log's next record.
    pub next_record: u64,
    /// The write-ahead log's chain before that record.
    pub wal_chain: Hash,
    /// While old log files are read again: records before this one have a leaf in an earlier log.
    pub skip_before: u64,
    /// The write-ahead log's chain there.
    pub prev_chain: String,
    /// The write-ahead log file of the first record that no durable checkpoint covers.
    pin: Option<u64>,
    /// When there was a leaf that no checkpoint covers.
    since: Option<Instant>,
    shared: Arc<Shared>,
}

/// What a log begins with.
pub struct Begin<'a> {
    pub epoch: Uuid,
    /// This instance's control stream.
    pub control: Uuid,
    pub software: &'a str,
    pub prev: Option<&'a Edge>,
}

impl Sequencer {
    pub fn begin(
        state: Arc<State>,
        disk: Arc<dyn Disk>,
        logs: &Path,
        keys: Keys,
        begin: &Begin<'_>,
    ) -> Result<Self, LogError> {
        let origin = format!("{}/{}", keys.name, begin.epoch.as_hyphenated());
        let now = ns(SystemTime::now());
        let mut this = Self {
            signer: keys.log.signer(&origin)?,
            vkey: keys.log.vkey(&origin)?,
            state,
            keys,
            origin,
            epoch: begin.epoch,
            prev: begin.prev.map(|edge| edge.epoch),
            writer: Writer::create(disk, logs, begin.epoch)?,
            tree: Tree::new(),
            // A clock that was wrong once is not believed for ever.
            last_ns: now,
            wal_chain: [0; 32],
            owners: HashMap::new(),
            next_record: 0,
            skip_before: begin.prev.map_or(0, |edge| edge.next_record),
            prev_chain: begin.prev.map_or(String::new(), |e| e.wal_chain.clone()),
            pin: None,
            since: None,
            shared: Arc::default(),
        };
        let mut leaf = Leaf::new("log.start", this.last_ns);
        leaf.sid = Some(begin.control);
        leaf.software = Some(begin.software.into());
        leaf.prev = begin.prev.map(|edge| PrevPart {
            origin: edge.origin.clone(),
            root: edge.root.clone(),
            size: edge.size,
            time: timestamp(edge.ts_ns),
        });
        let json = serde_json::to_vec(&leaf).map_err(LogError::Leaf)?;
        this.push(&json)?;
        Ok(this)
    }

    pub fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// What a mark says of a stream whose start may be gone.
    pub fn learn(&mut self, stream: u128, control: bool, session: Option<&SessionPart>) {
        let owner = match (control, session) {
            (true, _) => Owner::Control,
            (false, Some(session)) => Owner::Session(session.clone()),
            (false, None) => return,
        };
        self.owners.entry(stream).or_insert(owner);
    }

    /// For a mark.
    pub fn session(&self, stream: u128) -> Option<SessionPart> {
        match self.owners.get(&stream)? {
            Owner::Session(part) => Some(part.clone()),
            Owner::Control | Owner::Unknown => None,
        }
    }

    /// The write-ahead log's next record, which is in this file.
    pub fn record(&mut self, file: u64, item: &Item, encoded: &[u8]) -> Result<(), LogError> {
        let number = self.next_record;
        self.next_record += 1;
        if item.index == 0 && item.stream != NO_STREAM {
            let owner = match item.kind {
                Kind::ControlStart => Owner::Control,
                _ => match session_part(encoded, &self.keys.subjects) {
                    Some(part) => Owner::Session(part),
                    None => Owner::Unknown,
                },
            };
            self.owners.insert(item.stream, owner);
        }
        if number < self.skip_before {
            return Ok(());
        }
        if let Some(json) = self.leaf(item, encoded)? {
            if item.kind == Kind::Erasure {
                self.erasure(&json);
            }
            self.push(&json)?;
            self.pin.get_or_insert(file);
        }
        Ok(())
    }

    /// The next leaf is this one, of an erasure.
    fn erasure(&self, json: &[u8]) {
        let Ok(leaf) = serde_json::from_slice::<Leaf<'_>>(json) else {
            return;
        };
        if let Some(session) = leaf.erased.filter(|_| leaf.begins_erasure()) {
            let at = LeafRef {
                log: self.epoch,
                leaf: self.tree.size(),
                time: leaf.time.clone().into_owned(),
                who: leaf.who.as_ref().map(|who| who.id.clone()),
            };
            self.shared.erasure(session, at);
        }
    }

    /// From here on come new records, of which this is the number of the first.
    pub fn begin_new(&mut self, next_record: u64, chain: &Hash) {
        self.next_record = next_record;
        self.wal_chain = *chain;
        self.skip_before = 0;
    }

    /// Forgets all other streams.
    pub fn keep(&mut self, stream: impl Fn(u128) -> bool) {
        self.owners.retain(|id, _| stream(*id));
    }

    /// A stream that needs no leaf any more.
    pub fn forget(&mut self, stream: u128) {
        self.owners.remove(&stream);
    }

    fn leaf(&mut self, item: &Item, encoded: &[u8]) -> Result<Option<Vec<u8>>, LogError> {
        let ts_ns = self.last_ns.max(item.ts_ns);
        let owner = match self.owners.get(&item.stream) {
            Some(owner) => owner,
            None => &Owner::Unknown,
        };
        let Some(full) = Leaf::of(item, encoded, ts_ns, owner, &self.keys.subjects) else {
            return Ok(None);
        };
        self.last_ns = ts_ns;
        let json = match full {
            Ok(leaf) => to_json(&leaf)?,
            Err(error) => {
                tracing::error!(%error, kind = ?item.kind, "a record's leaf says little: it cannot be read");
                Vec::new()
            }
        };
        if !json.is_empty() && json.len() <= tlog::MAX_ENTRY {
            return Ok(Some(json));
        }
        let bare = Leaf::bare(item, encoded, ts_ns, owner);
        bare.map(|leaf| to_json(&leaf)).transpose()
    }

    fn push(&mut self, json: &[u8]) -> Result<(), LogError> {
        self.writer.push(self.tree.size(), json)?;
        let mut wrong = Ok(());
        let writer = &mut self.writer;
        self.tree.append(tlog::leaf_hash(json), &mut |tile, bytes| {
            // Level 0 can be had from the leaves.
            if tile.kind != tlog::Kind::Level(0) && wrong.is_ok() {
                wrong = writer.tile(tile, bytes);
            }
        });
        wrong?;
        self.since.get_or_insert_with(Instant::now);
        Ok(())
    }

    /// The oldest file of the write-ahead log that is still needed.
    pub fn pin(&self) -> Option<u64> {
        self.pin
    }

    pub fn checkpoint_if_due(&mut self) -> Result<(), LogError> {
        match self.since {
            Some(since) if since.elapsed() >= CHECKPOINT_WITHIN => self.checkpoint(),
            _ => Ok(()),
        }
    }

    /// Signs a checkpoint of all leaves, and makes it durable with them.
    pub fn checkpoint(&mut self) -> Result<(), LogError> {
        if self.since.is_none() {
            return Ok(());
        }
        let checkpoint = Checkpoint {
            origin: self.origin.clone(),
            size: self.tree.size(),
            root: self.tree.root(),
            extensions: Vec::new(),
        };
        let note = tlog::sign_checkpoint(&checkpoint, &*self.signer)
            .map_err(|e| LogError::Sign(e.to_string()))?;
        let edge = Edge {
            v: EDGE_VERSION,
            origin: self.origin.clone(),
            epoch: self.epoch,
            prev: self.prev,
            size: checkpoint.size,
            root: STANDARD.encode(checkpoint.root),
            next_record: self.next_record,
            wal_chain: hex::encode(self.wal_chain),
            ts_ns: self.last_ns,
            note: note.clone(),
            vkey: self.vkey.clone(),
            tiles: Edge::encode_tiles(&self.tree),
        };
        self.writer.commit(&edge)?;
        let written = self.writer.take_written();
        self.state.log_bytes.fetch_add(written, Ordering::Relaxed);
        self.pin = None;
        self.since = None;
        self.shared.checkpoint(Snapshot {
            epoch: self.epoch,
            dir: self.writer.dir.clone(),
            size: checkpoint.size,
            note,
            vkey: self.vkey.clone(),
            partial: self.tree.partial().collect(),
            is_over: false,
        });
        Ok(())
    }
}

fn to_json(leaf: &Leaf<'_>) -> Result<Vec<u8>, LogError> {
    // A length that few are longer than.
    let mut json = Vec::with_capacity(1024);
    serde_json::to_writer(&mut json, leaf).map_err(LogError::Leaf)?;
    Ok(json)
}
