//! The registry: the log of all logs of a spool. A log of records is new with every start; the registry
//! goes on, under a name that stays, so that a witness can know it. Each of its leaves is a checkpoint of
//! a log of records that the store has, with the key that signed it.
//!
//! `registry/edge` in the spool is all of it that is not in the store for good: the last signed
//! checkpoint, the open tiles, and full ones that the store may lack. It is durable before anything of a
//! new checkpoint is stored, so a tree that somebody has seen is never left.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tlog::{Checkpoint, Kind, Note, Tile, Tree};
use uuid::Uuid;

use crate::convert::ns;
use crate::disk::{Disk, durable_dir};
use crate::keys::timestamp;
use crate::log::key::LogKey;
use crate::log::names;
use crate::log::sequence::{LogError, Snapshot};
use crate::log::spool::{BUNDLE, replace, unsealed};
use crate::log::witness::{self, Published, Witness, WitnessFailure, WitnessOptions};
use crate::objects::{Before, Objects, StoreError};
use crate::state::State;

const EDGE_VERSION: u32 = 1;
/// No edge is longer.
const MAX_EDGE: u64 = 4 << 20;
/// A checkpoint is put where it stays so often.
const ARCHIVE_EVERY: Duration = Duration::from_secs(24 * 3600);
/// Leaves that are added at a time: no more than one bundle becomes full.
const AT_ONCE: usize = 64;

/// A leaf of the registry, with its names in the order of RFC 8785.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryLeaf {
    /// None in leaf 0, which begins it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogPart>,
    pub time: String,
    #[serde(rename = "type")]
    pub kind: String,
}

/// A checkpoint of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPart {
    pub origin: String,
    /// In base64.
    pub root: String,
    pub size: u64,
    pub vkey: String,
}

pub const START: &str = "registry.start";
pub const CHECKPOINT: &str = "log.checkpoint";

#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the spool: {0}")]
    Spool(#[from] io::Error),
    #[error("{0}")]
    Log(#[from] LogError),
    #[error("no answer within {0:?}")]
    Slow(Duration),
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Edge {
    v: u32,
    id: Uuid,
    size: u64,
    /// In base64.
    root: String,
    /// The time of the last leaf.
    ts_ns: u64,
    note: String,
    vkey: String,
    /// The open tiles of hashes and the open bundle, by their paths, in base64.
    open: BTreeMap<String, String>,
    /// Full ones that the store may lack.
    full: BTreeMap<String, String>,
    /// Sizes of the logs' last checkpoints in it, of those that may come again.
    logs: BTreeMap<Uuid, u64>,
    /// How far each witness is.
    witnesses: BTreeMap<String, u64>,
}

/// What the registry is told.
pub struct RegistryOptions {
    pub disk: Arc<dyn Disk>,
    pub spool: PathBuf,
    pub quarantine: PathBuf,
    pub objects: Objects,
    pub key: Arc<dyn LogKey>,
    /// What the names of logs begin with.
    pub name: String,
    pub witnesses: Vec<WitnessOptions>,
    pub state: Arc<State>,
    /// This instance's control stream, in which it is written down that something is missing.
    pub control: u128,
}

pub struct Registry {
    options: RegistryOptions,
    edge: Edge,
    signer: Box<dyn tlog::Signer>,
    tree: Tree,
    /// The open bundle.
    entries: Vec<u8>,
    /// The store has the checkpoint of the edge.
    is_stored: bool,
    /// Partial tiles that are in the store until the full one is.
    partial: BTreeSet<Tile>,
    witnesses: Vec<Witness>,
    /// Those of which it was told that they have seen something else; once, since what is told is registered,
    /// too.
    told: BTreeSet<String>,
    http: Option<reqwest::Client>,
    /// When a checkpoint was put where it stays.
    archived: Option<Instant>,
}

impl Registry {
    /// Goes on from the spool's registry, or begins one. What is damaged is put aside; then the second
    /// says so.
    pub fn open(options: RegistryOptions) -> Result<(Self, Option<String>), LogError> {
        let dir = options.spool.join("registry");
        durable_dir(&*options.disk, &dir)?;
        let path = dir.join("edge");
        let found = match std::fs::metadata(&path) {
            Ok(meta) if meta.len() > MAX_EDGE => Some(Vec::new()),
            Ok(_) => {
                // The last process may not have lived to do so, and from here on it is relied on.
                options.disk.sync_file(&path)?;
                options.disk.sync_dir(&dir)?;
                Some(std::fs::read(&path)?)
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(e.into()),
        };
        let Some(bytes) = found else {
            return Ok((Self::begin(options)?, None));
        };
        let edge = unsealed(&bytes).filter(|edge: &Edge| edge.v == EDGE_VERSION);
        match edge.map(|edge| restore(edge, &options)) {
            Some(Ok(Some((edge, tree, entries)))) => {
                Ok((Self::with(options, edge, tree, entries)?, None))
            }
            Some(Err(error)) => Err(error),
            None | Some(Ok(None)) => {
                let name = format!("registry-{}", Uuid::now_v7());
                options.disk.rename(&path, &options.quarantine.join(name))?;
                options.disk.sync_dir(&options.quarantine)?;
                options.disk.sync_dir(&dir)?;
                let what = "the registry of logs in the spool is damaged, or of another name or key; it \
                            was put aside, and another begun";
                Ok((Self::begin(options)?, Some(what.to_owned())))
            }
        }
    }

    fn begin(options: RegistryOptions) -> Result<Self, LogError> {
        let edge = Edge {
            v: EDGE_VERSION,
            id: Uuid::now_v7(),
            ts_ns: ns(SystemTime::now()),
            ..Edge::default()
        };
        let mut this = Self::with(options, edge, Tree::new(), Vec::new())?;
        this.push(START, None)?;
        this.commit()?;
        Ok(this)
    }

    fn with(
        options: RegistryOptions,
        edge: Edge,
        tree: Tree,
        entries: Vec<u8>,
    ) -> Result<Self, LogError> {
        let origin = origin(&options.name, edge.id);
        let signer = options.key.signer(&origin)?;
        let witnesses = options.witnesses.iter().map(|witness| {
            let old = edge.witnesses.get(witness.key.name());
            Witness::new(witness.clone(), old.copied().unwrap_or(0))
        });
        Ok(Self {
            witnesses: witnesses.collect(),
            signer,
            edge,
            tree,
            entries,
            is_stored: false,
            partial: BTreeSet::new(),
            told: BTreeSet::new(),
            http: None,
            archived: None,
            options,
        })
    }

    /// Adds the newest checkpoints of these logs, and stores them. The store has the logs up to there.
    pub async fn register(&mut self, logs: &[Arc<Snapshot>]) -> Result<(), RegistryError> {
        self.settle().await?;
        for logs in logs.chunks(AT_ONCE) {
            for log in logs {
                self.add(log)?;
            }
            self.settle().await?;
        }
        for log in logs.iter().filter(|log| log.is_over) {
            self.edge.logs.remove(&log.epoch);
        }
        Ok(())
    }

    /// What was added is made durable, and what is durable is stored.
    async fn settle(&mut self) -> Result<(), RegistryError> {
        if self.tree.size() > self.edge.size {
            self.commit()?;
        }
        match self.is_stored {
            true => Ok(()),
            false => self.publish().await,
        }
    }

    fn add(&mut self, log: &Snapshot) -> Result<(), LogError> {
        let known = self.edge.logs.get(&log.epoch).copied().unwrap_or(0);
        let sign = |what: String| LogError::Sign(what);
        let note = Note::parse(log.note.as_bytes(), tlog::Limits::default());
        let note = note.map_err(|e| sign(e.to_string()))?;
        let signed = Checkpoint::parse(note.text()).map_err(|e| sign(e.to_string()))?;
        if signed.size > known {
            let part = LogPart {
                origin: signed.origin,
                root: STANDARD.encode(signed.root),
                size: signed.size,
                vkey: log.vkey.clone(),
            };
            self.push(CHECKPOINT, Some(part))?;
        }
        self.edge.logs.insert(log.epoch, signed.size.max(known));
        Ok(())
    }

    fn push(&mut self, kind: &str, log: Option<LogPart>) -> Result<(), LogError> {
        self.edge.ts_ns = self.edge.ts_ns.max(ns(SystemTime::now()));
        let leaf = RegistryLeaf {
            log,
            time: timestamp(self.edge.ts_ns),
            kind: kind.to_owned(),
        };
        let json = serde_json::to_vec(&leaf).map_err(LogError::Leaf)?;
        tlog::push_entry(&mut self.entries, &json).map_err(io::Error::other)?;
        let full = &mut self.edge.full;
        self.tree
            .append(tlog::leaf_hash(&json), &mut |tile, bytes| {
                full.insert(tile.path(), STANDARD.encode(bytes));
            });
        let size = self.tree.size();
        if size.is_multiple_of(BUNDLE) {
            let bundle = Tile {
                kind: Kind::Entries,
                index: size / BUNDLE - 1,
                width: 256,
            };
            let entries = std::mem::take(&mut self.entries);
            self.edge
                .full
                .insert(bundle.path(), STANDARD.encode(entries));
        }
        Ok(())
    }

    /// Signs a checkpoint of all leaves and makes it durable.
    fn commit(&mut self) -> Result<(), LogError> {
        let checkpoint = Checkpoint {
            origin: origin(&self.options.name, self.edge.id),
            size: self.tree.size(),
            root: self.tree.root(),
            extensions: Vec::new(),
        };
        let note = tlog::sign_checkpoint(&checkpoint, &*self.signer);
        let open = self.open_tiles();
        let edge = Edge {
            note: note.map_err(|e| LogError::Sign(e.to_string()))?,
            vkey: self.options.key.vkey(&checkpoint.origin)?,
            size: checkpoint.size,
            root: STANDARD.encode(checkpoint.root),
            open: open
                .map(|(tile, bytes)| (tile.path(), STANDARD.encode(bytes)))
                .collect(),
            ..self.edge.clone()
        };
        self.write(&edge)?;
        // Only now: what is not durable is not stored either.
        self.edge = edge;
        self.is_stored = false;
        Ok(())
    }

    fn write(&self, edge: &Edge) -> io::Result<()> {
        let path = self.options.spool.join("registry").join("edge");
        replace(&*self.options.disk, &path, edge)
    }

    fn open_tiles(&self) -> impl Iterator<Item = (Tile, Vec<u8>)> {
        let size = self.tree.size();
        let bundle = Tile {
            kind: Kind::Entries,
            index: size / BUNDLE,
            width: u16::try_from(size % BUNDLE).unwrap_or(0),
        };
        let bundle = (bundle.width > 0).then(|| (bundle, self.entries.clone()));
        bundle.into_iter().chain(self.tree.partial())
    }

    /// Stores everything that the last checkpoint needs, and then that.
    async fn publish(&mut self) -> Result<(), RegistryError> {
        let prefix = names::below(names::REGISTRY, self.edge.id);
        let key = |path: &str| format!("{prefix}/{path}");
        if self.is_behind(&key(names::CHECKPOINT)).await? {
            return self.begin_anew();
        }
        let vkey = format!("{}\n", self.edge.vkey);
        self.put(&key(names::VKEY), vkey.into()).await?;
        for (path, tile) in &self.edge.full {
            let bytes = STANDARD.decode(tile).map_err(io::Error::other)?;
            self.put(&key(path), bytes.into()).await?;
        }
        let open: Vec<_> = self.open_tiles().collect();
        for (tile, bytes) in open {
            if !self.partial.contains(&tile) {
                self.put(&key(&tile.path()), bytes.into()).await?;
                self.partial.insert(tile);
            }
        }
        self.store_checkpoint().await?;
        self.drop_partial(&prefix).await;
        self.edge.full.clear();
        self.is_stored = true;
        // What is lost of this with a crash is stored again, and asked again.
        self.write(&self.edge)?;
        Ok(())
    }

    /// Replaces the newest checkpoint. Once a day one is put where it stays: those between follow from the
    /// tiles.
    async fn store_checkpoint(&mut self) -> Result<(), RegistryError> {
        let prefix = names::below(names::REGISTRY, self.edge.id);
        let note = Bytes::from(self.edge.note.clone());
        let objects = self.options.objects.clone();
        let newest = format!("{prefix}/{}", names::CHECKPOINT);
        self.limited(objects.put_latest(&newest, note.clone()))
            .await?;
        let now = Instant::now();
        if self.archived.is_none_or(|at| now >= at + ARCHIVE_EVERY) {
            let path = names::archived_path(self.edge.size);
            // The same one may be there, without the witnesses' signatures.
            let key = format!("{prefix}/{path}");
            let archived = objects.put_latest(&key, note);
            self.limited(archived).await?;
            // With theirs it is put there once more.
            let whole = self.witnesses.iter().all(|w| w.old >= self.edge.size);
            self.archived = whole.then_some(now);
        }
        Ok(())
    }

    /// Has the store a later checkpoint with our signature, or another one of this size? Then this spool is
    /// a copy of an earlier time.
    async fn is_behind(&self, key: &str) -> Result<bool, RegistryError> {
        let timeout = self.options.state.limits.upload_timeout;
        let there = tokio::time::timeout(timeout, self.options.objects.find(key));
        let Some(note) = there.await.map_err(|_| RegistryError::Slow(timeout))?? else {
            return Ok(false);
        };
        let origin = origin(&self.options.name, self.edge.id);
        let verifier = tlog::Ed25519Verifier::parse(&self.edge.vkey).ok();
        let opened = verifier.and_then(|v| tlog::open_checkpoint(&note, &origin, &[&v], &[]).ok());
        Ok(opened.is_some_and(|opened| {
            let there = opened.checkpoint;
            let other = STANDARD.encode(there.root) != self.edge.root;
            there.size > self.edge.size || there.size == self.edge.size && other
        }))
    }

    /// What others have seen of the old one cannot be gone on from.
    fn begin_anew(&mut self) -> Result<(), RegistryError> {
        let old = self.edge.id;
        let id = Uuid::now_v7();
        let edge = Edge {
            v: EDGE_VERSION,
            id,
            ts_ns: ns(SystemTime::now()),
            ..Edge::default()
        };
        let signer = self.options.key.signer(&origin(&self.options.name, id));
        let signer = signer.map_err(LogError::from)?;
        let edge = std::mem::replace(&mut self.edge, edge);
        let signer = std::mem::replace(&mut self.signer, signer);
        let tree = std::mem::replace(&mut self.tree, Tree::new());
        let entries = std::mem::take(&mut self.entries);
        let begun = self.push(START, None).and_then(|()| self.commit());
        if let Err(error) = begun {
            (self.edge, self.signer, self.tree, self.entries) = (edge, signer, tree, entries);
            return Err(error.into());
        }
        self.partial.clear();
        self.archived = None;
        for witness in &mut self.witnesses {
            witness.old = 0;
        }
        self.gap(format!(
            "the store has a later or another checkpoint of the registry {old}: this spool is an old copy; \
             another registry was begun"
        ));
        // Whoever asked tries again, with the new one.
        Err(RegistryError::Store(StoreError::Conflict(
            names::REGISTRY.to_owned(),
        )))
    }

    /// Has a witness not signed what is stored?
    pub fn wants_witnesses(&self) -> bool {
        self.is_stored && self.witnesses.iter().any(|w| w.old < self.edge.size)
    }

    /// Asks those that have not signed the last checkpoint, which is stored, and stores it with what they
    /// sign. One that does not answer is asked again later: what it signs then covers this, too. May be
    /// dropped at any time.
    pub async fn ask_witnesses(&mut self) -> Result<(), RegistryError> {
        let sign = |what: String| LogError::Sign(what);
        let note = Note::parse(self.edge.note.as_bytes(), tlog::Limits::default());
        let mut note = note.map_err(|e| sign(e.to_string()))?;
        let checkpoint = Checkpoint::parse(note.text()).map_err(|e| sign(e.to_string()))?;
        let http = match &self.http {
            Some(http) => http.clone(),
            None => {
                let http = witness::client().map_err(io::Error::other)?;
                self.http.insert(http).clone()
            }
        };
        let prefix = names::below(names::REGISTRY, self.edge.id);
        let mut alone = Note::new(note.text()).map_err(|e| sign(e.to_string()))?;
        let of_log = note.signatures().first().cloned();
        of_log
            .into_iter()
            .for_each(|signature| alone.add(signature));
        let published = Published {
            objects: &self.options.objects,
            prefix: &prefix,
            note: &alone,
            checkpoint: &checkpoint,
        };
        let size = checkpoint.size;
        let waits = self
            .witnesses
            .iter()
            .enumerate()
            .filter(|(_, w)| w.old < size);
        let (http, published) = (&http, &published);
        let asked = waits.map(|(n, witness)| async move {
            let answer = witness.ask(http, published).await;
            (n, witness.name().to_owned(), answer)
        });
        let answers = futures::future::join_all(asked).await;
        let mut new = Vec::new();
        for (n, name, answer) in answers {
            match answer {
                Ok(signatures) => {
                    new.extend(signatures);
                    // Only now: while others were waited for, all of this could have been dropped.
                    if let Some(witness) = self.witnesses.get_mut(n) {
                        witness.old = size;
                    }
                }
                Err(error) => self.not_witnessed(name, &error),
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        let key = |s: &tlog::Signature| (s.name().to_owned(), s.key_id());
        let again = |s: &&tlog::Signature| !new.iter().any(|n| key(n) == key(s));
        let kept: Vec<_> = note.signatures().iter().filter(again).cloned().collect();
        note = Note::new(note.text()).map_err(|e| sign(e.to_string()))?;
        kept.into_iter().chain(new).for_each(|s| note.add(s));
        self.edge.note = note.encode();
        for witness in &self.witnesses {
            let known = &mut self.edge.witnesses;
            known.insert(witness.name().to_owned(), witness.old);
        }
        self.write(&self.edge)?;
        self.store_checkpoint().await
    }

    fn not_witnessed(&mut self, witness: String, error: &WitnessFailure) {
        let why = error.to_string();
        tracing::warn!(%witness, %why, "a witness did not sign the registry's checkpoint");
        if matches!(error, WitnessFailure::Fork(_)) && self.told.insert(witness.clone()) {
            self.gap(format!("witness {witness} refuses the registry: {why}"));
        }
    }

    /// What belongs under a key is fixed by what was signed: whatever else is there is replaced, and told
    /// of.
    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), RegistryError> {
        let stored = self.options.objects.put_for_good(key, bytes);
        if self.limited(stored).await? == Before::Other {
            self.gap(format!(
                "{key} had other content in the store, and was replaced"
            ));
        }
        Ok(())
    }

    /// Partial tiles may go when the full one is there.
    async fn drop_partial(&mut self, prefix: &str) {
        let full = |tile: &Tile| self.edge.full.contains_key(&tile.full().path());
        let gone: Vec<Tile> = self.partial.iter().copied().filter(full).collect();
        for tile in gone {
            self.partial.remove(&tile);
            let key = format!("{prefix}/{}", tile.path());
            // One that stays is in nobody's way.
            if let Err(error) = self.limited(self.options.objects.remove(&key)).await {
                tracing::debug!(%key, %error, "a partial tile stays in the store");
            }
        }
    }

    fn gap(&self, what: String) {
        let RegistryOptions { state, control, .. } = &self.options;
        state.post_gap(*control, what, None);
    }

    async fn limited<T>(
        &self,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, RegistryError> {
        let limit = self.options.state.limits.upload_timeout;
        match tokio::time::timeout(limit, call).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(RegistryError::Slow(limit)),
        }
    }
}

fn origin(name: &str, id: Uuid) -> String {
    format!("{name}/{}", id.as_hyphenated())
}

/// The tree and the open bundle of an edge, if they are what was signed, with the key that is used now.
/// None: it cannot be gone on from.
fn restore(
    edge: Edge,
    options: &RegistryOptions,
) -> Result<Option<(Edge, Tree, Vec<u8>)>, LogError> {
    let origin = origin(&options.name, edge.id);
    let vkey = options.key.vkey(&origin)?;
    Ok(restored(&edge, &origin, &vkey).map(|(tree, entries)| (edge, tree, entries)))
}

fn restored(edge: &Edge, origin: &str, vkey: &str) -> Option<(Tree, Vec<u8>)> {
    let verifier = tlog::Ed25519Verifier::parse(vkey).ok()?;
    let note = edge.note.as_bytes();
    let signed = tlog::open_checkpoint(note, origin, &[&verifier], &[]).ok()?;
    let signed = signed.checkpoint;
    let bytes = |tile: Tile| STANDARD.decode(edge.open.get(&tile.path())?).ok();
    let tree = Tree::restore_to(edge.size, &signed.root, bytes).ok()?;
    let width = u16::try_from(edge.size % BUNDLE).ok()?;
    let entries = match width {
        0 => Vec::new(),
        width => bytes(Tile {
            kind: Kind::Entries,
            index: edge.size / BUNDLE,
            width,
        })?,
    };
    let hashes: Vec<u8> = tlog::bundle_of(width, &entries)
        .ok()?
        .into_iter()
        .flat_map(tlog::leaf_hash)
        .collect();
    let level_0 = |(tile, bytes): (Tile, Vec<u8>)| (tile.kind == Kind::Level(0)).then_some(bytes);
    let open = tree.partial().find_map(level_0).unwrap_or_default();
    (signed.size == edge.size && open == hashes).then_some((tree, entries))
}
