//! Erasures that lie after a package's window, of sessions whose records the package would have. Each comes
//! with the leaf that says so and its proof, up to a checkpoint that is signed: one of the package, or that
//! of another log, which the proof brings along.

use std::collections::{BTreeMap, BTreeSet};

use recorder::TrustedKey;
use serde::{Deserialize, Serialize};
use tlog::{Checkpoint, Kind, ProofFile, TILE_WIDTH, Tile, TileMap, Verifier};
use uuid::Uuid;

use crate::archive::MAX_IN_MEMORY;
use crate::check::{Check, MAX_SMALL};
use crate::fetch::{FetchError, FetchedLog, tiles};
use crate::finding::Finding;
use crate::leaf::Leaf;
use crate::logs::{LogFacts, width};
use crate::make::{MakeError, Maker};
use crate::prove;

pub const LATER: &str = "erasures-later.json";

const BUNDLE: u64 = TILE_WIDTH as u64;
/// The most bundles after the window that are searched for erasures which no marker leads to.
const MOST_SEARCHED: u64 = 4096;

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    pub session: Uuid,
    pub log: Uuid,
    pub leaf: u64,
    pub time: String,
}

impl Said {
    pub fn why(&self) -> String {
        let Self {
            log, leaf, time, ..
        } = self;
        format!("the session was erased after the window, at {time}, by leaf {leaf} of log {log}")
    }

    fn path(&self) -> String {
        format!("erasures/{}-{}", self.log, self.leaf)
    }
}

/// What was found while a package is made.
#[derive(Default)]
pub struct Later {
    said: BTreeMap<Uuid, Said>,
    /// The first erasure of each session in the package's logs, after the window.
    searched: Option<BTreeMap<Uuid, (Uuid, u64)>>,
}

/// The session that a leaf says the erasure of begins.
fn begins(entry: &[u8]) -> Option<(Uuid, Leaf)> {
    let leaf = Leaf::parse(entry).ok()?;
    let begins = leaf.kind == "erasure" && leaf.outcome.is_none();
    Some((leaf.erased.filter(|_| begins)?, leaf))
}

/// The checkpoint of this log, if one of the keys has signed it.
fn open(note: &[u8], log: Uuid, keys: &[TrustedKey]) -> Option<Checkpoint> {
    let id = log.as_hyphenated().to_string();
    keys.iter().find_map(|key| {
        let verifier = key.verifier(&id).ok()?;
        let opened = tlog::open_checkpoint(note, verifier.name(), &[&verifier], &[]);
        Some(opened.ok()?.checkpoint)
    })
}

/// What anybody can bring about who writes to the store is no reason for there to be no package.
fn none_if_wrong<T>(found: Result<Option<T>, FetchError>) -> Result<Option<T>, MakeError> {
    match found {
        Ok(found) => Ok(found),
        Err(error @ FetchError::Store(_)) => Err(error.into()),
        Err(_) => Ok(None),
    }
}

impl Maker<'_> {
    /// Was this session erased after the window? What proves it is in the package then.
    pub async fn later(
        &mut self,
        later: &mut Later,
        session: Uuid,
        logs: &[FetchedLog],
    ) -> Result<Option<String>, MakeError> {
        if let Some(said) = later.said.get(&session) {
            return Ok(Some(said.why()));
        }
        let mut places: Vec<(Uuid, u64)> = Vec::new();
        places.extend(self.store.erasure_place(session).await?);
        if later.searched.is_none() {
            later.searched = Some(self.search(logs).await?);
        }
        let searched = later.searched.as_ref();
        places.extend(searched.and_then(|found| found.get(&session)).copied());
        for (log, leaf) in places {
            if let Some(said) = self.erasure(session, log, leaf, logs).await? {
                let why = said.why();
                later.said.insert(session, said);
                return Ok(Some(why));
            }
        }
        Ok(None)
    }

    /// The list of those that are in the package.
    pub fn write_later(&mut self, later: &Later) -> Result<(), MakeError> {
        let all: Vec<&Said> = later.said.values().collect();
        let mut bytes = serde_json::to_vec_pretty(&all)?;
        bytes.push(b'\n');
        Ok(self.zip.add(LATER, &bytes)?)
    }

    /// Whoever takes the markers away hides nothing that is in the package's own logs.
    async fn search(
        &mut self,
        logs: &[FetchedLog],
    ) -> Result<BTreeMap<Uuid, (Uuid, u64)>, MakeError> {
        let mut found = BTreeMap::new();
        let mut left = MOST_SEARCHED;
        for log in logs {
            let facts = &log.facts;
            for index in facts.end / BUNDLE..facts.size.div_ceil(BUNDLE) {
                if left == 0 {
                    let text = format!(
                        "more than {MOST_SEARCHED} bundles of leaves are after the window: not all were \
                         searched for erasures of sessions whose records are missing here"
                    );
                    self.missing.push(text);
                    return Ok(found);
                }
                left -= 1;
                let bundle = self.fetcher.bundle(facts, tile(facts, index)).await;
                let Some(bytes) = none_if_wrong(bundle.map(Some))? else {
                    continue;
                };
                for (leaf, entry) in (index * BUNDLE..).zip(tlog::entries(&bytes).flatten()) {
                    if let Some((session, _)) = begins(entry) {
                        found.entry(session).or_insert((facts.id, leaf));
                    }
                }
            }
        }
        Ok(found)
    }

    /// The leaf and its proof, if it says so.
    async fn erasure(
        &mut self,
        session: Uuid,
        log: Uuid,
        leaf: u64,
        logs: &[FetchedLog],
    ) -> Result<Option<Said>, MakeError> {
        let other;
        let of = match logs.iter().find(|known| known.facts.id == log) {
            Some(known) => known,
            None => {
                let window = self.order.selection.window;
                let fetched = none_if_wrong(self.fetcher.log(log, window).await)?;
                let keys = self.order.all_trusted()?;
                let Some(fetched) = fetched.filter(|f| open(&f.note, log, &keys).is_some()) else {
                    return Ok(None);
                };
                other = fetched;
                &other
            }
        };
        let facts = &of.facts;
        if leaf >= facts.size {
            return Ok(None);
        }
        let bundle = tile(facts, leaf / BUNDLE);
        let Some(bytes) = none_if_wrong(self.fetcher.bundle(facts, bundle).await.map(Some))? else {
            return Ok(None);
        };
        let entries: Vec<&[u8]> = tlog::entries(&bytes).flatten().collect();
        let at = usize::try_from(leaf % BUNDLE).unwrap_or(usize::MAX);
        let Some(entry) = entries.get(at).copied() else {
            return Ok(None);
        };
        let Some((_, parsed)) = begins(entry).filter(|(of, _)| *of == session) else {
            return Ok(None);
        };
        let mut map = TileMap::new();
        for tile in tiles(facts, &[bundle]).unwrap_or_default() {
            let hashes = self.fetcher.hashes(facts, tile).await;
            if let Some(hashes) = none_if_wrong(hashes.map(Some))? {
                map.insert(tile, hashes);
            }
        }
        let Ok(proof) = prove::entry(facts, bundle, &entries, leaf, &mut map) else {
            return Ok(None);
        };
        let said = Said {
            session,
            log,
            leaf,
            time: parsed.time,
        };
        let file = ProofFile {
            extra: None,
            index: leaf,
            proof,
            checkpoint: String::from_utf8_lossy(&of.note).into_owned(),
        };
        let failed = |e: tlog::ProofFileError| {
            let why = e.to_string();
            MakeError::Proof { log, leaf, why }
        };
        let text = file.encode().map_err(failed)?;
        let path = said.path();
        self.zip
            .add(&format!("{path}.tlog-proof"), text.as_bytes())?;
        self.zip.add(&format!("{path}.leaf.json"), entry)?;
        Ok(Some(said))
    }
}

fn tile(log: &LogFacts, index: u64) -> Tile {
    Tile {
        kind: Kind::Entries,
        index,
        width: width(log.size, index),
    }
}

impl Check<'_> {
    /// Sessions that were erased after the window, as proven leaves say.
    pub fn later(&mut self, logs: &[LogFacts]) -> BTreeSet<Uuid> {
        let mut proven = BTreeSet::new();
        let Some(bytes) = self.read(LATER, MAX_IN_MEMORY) else {
            return proven;
        };
        let all: Vec<Said> = match serde_json::from_slice(&bytes) {
            Ok(all) => all,
            Err(error) => {
                let (path, why) = (LATER.to_owned(), error.to_string());
                self.wrong(Finding::Item { path, why });
                return proven;
            }
        };
        for said in all {
            let path = format!("{}.tlog-proof", said.path());
            let leaf = self.read(&format!("{}.leaf.json", said.path()), MAX_SMALL);
            let (Some(leaf), Some(proof)) = (leaf, self.read(&path, MAX_SMALL)) else {
                continue;
            };
            match self.proves(&said, &leaf, &proof, logs) {
                Ok(()) => {
                    proven.insert(said.session);
                }
                Err(why) => self.wrong(Finding::Item { path, why }),
            }
        }
        proven
    }

    fn proves(
        &self,
        said: &Said,
        entry: &[u8],
        proof: &[u8],
        logs: &[LogFacts],
    ) -> Result<(), String> {
        let says = begins(entry)
            .is_some_and(|(session, leaf)| session == said.session && leaf.time == said.time);
        if !says {
            return Err(format!("its leaf does not say what {LATER} does"));
        }
        let file = ProofFile::parse(proof).map_err(|e| e.to_string())?;
        if file.index != said.leaf {
            return Err("it is of another leaf".into());
        }
        let note = file.checkpoint.as_bytes();
        let (size, root) = match logs.iter().find(|log| log.id == said.log) {
            Some(log) if self.notes.get(&said.log).is_some_and(|known| known == note) => {
                (log.size, log.root)
            }
            Some(_) => return Err("it has another checkpoint than the package".into()),
            None => {
                let opened = open(note, said.log, &self.keys());
                let opened = opened.ok_or("its checkpoint has no signature that counts")?;
                (opened.size, opened.root)
            }
        };
        tlog::check_inclusion(
            file.index,
            size,
            &tlog::leaf_hash(entry),
            &file.proof,
            &root,
        )
        .map_err(|e| e.to_string())
    }
}
