//! Checks the transparency logs of a store: signatures, trees, tiles, the order of leaves, and what
//! leaves say about records and segments.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tlog::Hash;
use uuid::Uuid;

use crate::keys::SegmentKey;
use crate::log::leaf::PrevPart;
use crate::log::names::{self, Part};
use crate::log::reader::Reader;
pub use crate::log::registry_check::{CheckedRegistry, Registered, RegistryReport};
use crate::log::spool::Waiting;
use crate::objects::{Objects, StoreError};

/// A key that is trusted: the log's key for its name without the epoch, in the form of C2SP signed-note
/// (`weir verify` prints it).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedKey {
    pub(super) name: String,
    pub(super) public: [u8; 32],
}

impl TrustedKey {
    /// The name that all logs of an instance have in common.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// As it was given.
    pub fn vkey(&self) -> String {
        let key = tlog::Ed25519Verifier::new(&self.name, self.public);
        key.map(|key| key.vkey()).unwrap_or_default()
    }

    /// The same key under the name of something that an instance signs: `<name>/<of>`.
    pub fn verifier(&self, of: &str) -> Result<tlog::Ed25519Verifier, tlog::KeyError> {
        tlog::Ed25519Verifier::new(&format!("{}/{of}", self.name), self.public)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a key of a log: give name+hash+key, as C2SP signed-note writes it")]
pub struct TrustedKeyError(String);

#[cfg(test)]
impl TrustedKey {
    pub fn public(&self) -> [u8; 32] {
        self.public
    }
}

impl std::str::FromStr for TrustedKey {
    type Err = TrustedKeyError;

    fn from_str(text: &str) -> Result<Self, TrustedKeyError> {
        let wrong = || TrustedKeyError(text.to_owned());
        let key = tlog::Ed25519Verifier::parse(text).map_err(|_| wrong())?;
        Ok(Self {
            name: tlog::Verifier::name(&key).to_owned(),
            public: *key.public_key(),
        })
    }
}

/// One log, as it was found.
#[derive(Debug, Default)]
pub struct CheckedLog {
    pub origin: String,
    pub size: u64,
    pub root: Hash,
    pub prev: Option<PrevPart>,
    /// The instance has ended it.
    pub ended: bool,
    /// What the instance found missing at its start.
    pub missing: Vec<String>,
    /// The time of its last leaf.
    pub last: String,
    /// What the clock said then.
    pub clock: String,
    /// The time of the first leaf that no registry covers.
    pub unregistered: Option<String>,
}

/// A session's key was destroyed, as a log says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    pub log: Uuid,
    pub leaf: u64,
    pub time: String,
    /// A pseudonym.
    pub who: Option<String>,
}

/// What all logs say.
#[derive(Debug, Default)]
pub struct Logs {
    pub logs: BTreeMap<Uuid, CheckedLog>,
    /// All of which there is anything, and those of them that the store has something of.
    pub seen: BTreeSet<Uuid>,
    pub stored: BTreeSet<Uuid>,
    /// Those that wait in the spool.
    pub waiting: BTreeSet<Uuid>,
    /// Records that must be there: the hash, and the log that says so. Where records were lost, a number
    /// can have been given again.
    pub records: HashMap<(u128, u64), Vec<(Hash, Uuid)>>,
    /// Segments that must be there: number of records, and the log that says so.
    pub segments: HashMap<SegmentKey, (u64, Uuid)>,
    pub registries: BTreeMap<Uuid, CheckedRegistry>,
    /// In the same order.
    pub registry_reports: Vec<RegistryReport>,
    /// What registries say of logs.
    pub registered: HashMap<Uuid, Vec<Registered>>,
    /// Sessions that were erased, each by the first leaf that says so.
    pub erased: HashMap<Uuid, Erasure>,
    /// All leaves that say so: session, log, leaf.
    pub erasures: HashMap<(Uuid, Uuid, u64), Erasure>,
    pub leaves: u64,
    pub checkpoints: u64,
    /// Keys that signed, for the names without the epoch.
    pub signers: BTreeSet<String>,
    pub wrong: Vec<LogFinding>,
}

/// What is wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogFinding {
    #[error("{0} is not an object of a log")]
    Stranger(String),
    #[error("log {log} has no checkpoint")]
    NoCheckpoint { log: Uuid },
    #[error("the checkpoint {name}: {why}")]
    Kept { name: String, why: String },
    #[error("log {log} is in no registry{}", with_leaves(.since))]
    Unregistered { log: Uuid, since: Option<String> },
    #[error("there is no registry of logs")]
    NoRegistry,
    #[error("registry {registry}: {why}")]
    NotWitnessed { registry: Uuid, why: String },
    #[error("log {log} had {was} leaves in the store, and has {is}")]
    RolledBack { log: Uuid, was: u64, is: u64 },
    #[error("log {log}: {what}: {why}")]
    Checkpoint {
        log: Uuid,
        what: String,
        why: String,
    },
    #[error("log {log}: {path} is missing")]
    Missing { log: Uuid, path: String },
    #[error("log {log}: {path} is not what was signed")]
    Tile { log: Uuid, path: String },
    /// While a log is written, tiles are stored before the checkpoint that covers them.
    #[error("log {log}: {path} is stored, and no checkpoint covers it")]
    Beyond {
        log: Uuid,
        path: String,
        /// Nothing more comes to the log.
        over: bool,
    },
    #[error("log {log}: leaf {leaf}: {why}")]
    Leaf { log: Uuid, leaf: u64, why: String },
    #[error("log {log} names {prev} as the one before it, with {size} leaves: {why}")]
    Prev {
        log: Uuid,
        prev: String,
        size: u64,
        why: &'static str,
    },
}

fn with_leaves(time: &Option<String>) -> String {
    let time = time.as_ref();
    time.map_or(String::new(), |time| {
        format!(" with its leaves since {time}")
    })
}

/// A checkpoint that somebody kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptCheckpoint {
    /// What it is called in findings, such as the name of its file.
    pub name: String,
    pub note: Vec<u8>,
}

impl KeptCheckpoint {
    /// The log that it says it is of.
    fn log(&self) -> Option<Uuid> {
        let text = std::str::from_utf8(&self.note).ok()?;
        let (_, epoch) = text.lines().next()?.rsplit_once('/')?;
        epoch.parse().ok()
    }
}

/// Reads and checks every log of a store, together with what waits in a spool and what somebody kept.
pub async fn check(
    objects: &Objects,
    trusted: &[TrustedKey],
    waiting: &[Waiting],
    kept: &[KeptCheckpoint],
    policy: Option<&tlog::Policy>,
) -> Result<Logs, StoreError> {
    let mut logs = Logs::default();
    // First, since logs only grow: what it says of one is there.
    let mut registries = find(objects, names::REGISTRY, &mut logs).await?;
    let mut found: BTreeMap<Uuid, Vec<Part>> = BTreeMap::new();
    for log in waiting {
        found.entry(log.edge.epoch).or_default();
    }
    for checkpoint in kept {
        match checkpoint.log() {
            Some(log) if registries.contains_key(&log) => {}
            // Of a registry that is gone, or of a log.
            Some(log) => {
                found.entry(log).or_default();
            }
            None => logs.wrong.push(LogFinding::Kept {
                name: checkpoint.name.clone(),
                why: "it is not a checkpoint of a Weir".into(),
            }),
        }
    }
    for (id, parts) in std::mem::take(&mut registries) {
        let mut reader = Reader::new(objects, names::REGISTRY, id, None, &mut logs);
        let kept = kept.iter().filter(|kept| kept.log() == Some(id));
        reader.log(&parts, trusted, kept.collect(), &[]).await?;
    }
    logs.hold_against(policy);
    logs.waiting = waiting.iter().map(|log| log.edge.epoch).collect();
    for (log, parts) in find(objects, names::ROOT, &mut logs).await? {
        logs.stored.insert(log);
        found.insert(log, parts);
    }
    logs.seen = found.keys().copied().collect();
    for log in logs.registered.keys() {
        found.entry(*log).or_default();
    }
    let registered = std::mem::take(&mut logs.registered);
    for (log, parts) in found {
        let waiting = waiting.iter().find(|w| w.edge.epoch == log);
        let mut reader = Reader::new(objects, names::ROOT, log, waiting, &mut logs);
        let kept = kept.iter().filter(|kept| kept.log() == Some(log));
        let registered = registered.get(&log).map_or(&[][..], Vec::as_slice);
        reader
            .log(&parts, trusted, kept.collect(), registered)
            .await?;
    }
    logs.registered = registered;
    logs.check_order();
    Ok(logs)
}

/// The objects of all logs, or of all registries.
async fn find(
    objects: &Objects,
    root: &'static str,
    logs: &mut Logs,
) -> Result<BTreeMap<Uuid, Vec<Part>>, StoreError> {
    let mut found: BTreeMap<Uuid, Vec<Part>> = BTreeMap::new();
    for object in objects.list(root).await? {
        match names::parse(root, &object.key) {
            Some((log, part)) => found.entry(log).or_default().push(part),
            None => logs.wrong.push(LogFinding::Stranger(object.key)),
        }
    }
    Ok(found)
}

impl Logs {
    fn check_order(&mut self) {
        let by_origin: HashMap<&str, &CheckedLog> =
            self.logs.values().map(|l| (l.origin.as_str(), l)).collect();
        let mut wrong = Vec::new();
        for (log, checked) in &self.logs {
            let Some(prev) = &checked.prev else { continue };
            let why = match by_origin.get(prev.origin.as_str()) {
                None => "it is missing",
                Some(before) if before.size < prev.size => "it is shorter than that",
                Some(before) if before.size > prev.size => "it is longer than that",
                Some(before) if STANDARD.encode(before.root) != prev.root => "it has another root",
                Some(_) => continue,
            };
            wrong.push(LogFinding::Prev {
                log: *log,
                prev: prev.origin.clone(),
                size: prev.size,
                why,
            });
        }
        // Nothing more comes to these.
        let named: BTreeSet<&str> = self
            .logs
            .values()
            .filter_map(|l| Some(l.prev.as_ref()?.origin.as_str()))
            .collect();
        let over: BTreeSet<Uuid> = self
            .logs
            .iter()
            .filter(|(_, l)| l.ended || named.contains(l.origin.as_str()))
            .map(|(id, _)| *id)
            .collect();
        for finding in &mut self.wrong {
            if let LogFinding::Beyond { log, over: is, .. } = finding {
                *is = over.contains(log);
            }
        }
        self.wrong.extend(wrong);
    }
}
