//! What registries say: which logs there are, how far each was, and who has witnessed that.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use tlog::{Checkpoint, Hash, Policy};
use uuid::Uuid;

use crate::keys::timestamp;
use crate::log::check::{LogFinding, Logs};
use crate::log::reader::Reader;
use crate::log::registry::{self, RegistryLeaf};

/// A checkpoint of a log that a registry vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// What it is called in findings.
    pub name: String,
    pub origin: String,
    pub vkey: String,
    pub size: u64,
    pub root: Hash,
    /// The leaf, and whose it is.
    pub registry: Uuid,
    pub leaf: u64,
}

/// A registry, as it was found.
#[derive(Debug, Default)]
pub struct CheckedRegistry {
    pub origin: String,
    /// The key that signed it, in the form of C2SP signed-note.
    pub key: String,
    pub size: u64,
    /// Its checkpoints with a good signature: size, and the note.
    pub notes: Vec<(u64, Bytes)>,
    /// The times of its leaves.
    pub times: Vec<String>,
}

/// Who else has signed a registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistryReport {
    /// Its key, for whoever runs a witness.
    pub key: String,
    pub size: u64,
    /// The newest checkpoint that the policy accepts; none without a policy.
    pub witnessed: Option<Witnessed>,
}

/// A checkpoint that witnesses have seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witnessed {
    pub size: u64,
    /// As the policy calls them.
    pub by: Vec<String>,
    /// When the last of them did.
    pub time: String,
}

/// How many of which witnesses must have signed a registry (C2SP tlog-policy). Its `log` lines do not matter:
/// whose registries are believed, the trusted keys say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessPolicy(pub(crate) Policy);

impl WitnessPolicy {
    pub fn parse(bytes: &[u8]) -> Result<Self, tlog::PolicyError> {
        Policy::parse(bytes).map(Self)
    }
}

impl Reader<'_> {
    /// The log must still hold what it held when the registry got these. Gives the size of the largest.
    pub(super) fn registered(
        &mut self,
        registered: &[Registered],
        newest: Option<&Checkpoint>,
        vkey: Option<&str>,
    ) -> u64 {
        let (log, is) = (self.log, newest.map_or(0, |newest| newest.size));
        for known in registered {
            let origin = newest.map(|newest| newest.origin.as_str());
            if origin.is_some_and(|is| is != known.origin)
                || vkey.is_some_and(|is| is != known.vkey)
            {
                let why = "the log has another name or key".to_owned();
                let what = known.name.clone();
                self.wrong(LogFinding::Checkpoint { log, what, why });
            } else if known.size > is {
                let was = known.size;
                self.wrong(LogFinding::RolledBack { log, was, is });
            } else {
                self.signed
                    .push((known.name.clone(), known.size, known.root));
            }
        }
        registered.iter().map(|known| known.size).max().unwrap_or(0)
    }

    /// A leaf of a registry.
    pub(super) fn registration(&mut self, number: u64, entry: &[u8]) {
        let leaf = match serde_json::from_slice::<RegistryLeaf>(entry) {
            Ok(leaf) => leaf,
            Err(error) => return self.bad_leaf(number, error.to_string()),
        };
        if (leaf.kind == registry::START) != (number == 0) {
            self.bad_leaf(number, "a registry begins with its start, once".into());
        }
        let times = self.out.registries.get_mut(&self.log).map(|r| &mut r.times);
        let is_late = times.is_some_and(|times| {
            let late = times.last().is_some_and(|last| leaf.time < *last);
            times.push(leaf.time);
            late
        });
        if is_late {
            self.bad_leaf(number, "its time is before the last one's".into());
        }
        let Some(part) = leaf.log else { return };
        let epoch = part
            .origin
            .rsplit_once('/')
            .and_then(|(_, id)| id.parse().ok());
        let root = STANDARD.decode(&part.root).ok();
        let root = root.and_then(|root| Hash::try_from(root).ok());
        let (Some(epoch), Some(root)) = (epoch, root) else {
            return self.bad_leaf(number, "it names no checkpoint of a log".into());
        };
        let known = self.out.registered.entry(epoch).or_default();
        known.push(Registered {
            name: format!("leaf {number} of registry {}", self.log),
            origin: part.origin,
            vkey: part.vkey,
            size: part.size,
            root,
            registry: self.log,
            leaf: number,
        });
    }
}

impl Logs {
    /// Holds the registries against a policy: what no witness has seen counts for nothing.
    pub(super) fn hold_against(&mut self, policy: Option<&Policy>) {
        for (id, checked) in &self.registries {
            let witnessed = policy.and_then(|policy| witnessed(checked, policy));
            if let Some(policy) = policy {
                let seen = witnessed.as_ref().map_or(0, |w| w.size);
                for known in self.registered.values_mut() {
                    known.retain(|k| k.registry != *id || k.leaf < seen);
                }
                if witnessed.is_none() {
                    let why = match policy.witnesses().is_empty() {
                        true => "the policy names no witness",
                        false => "no checkpoint has the signatures that the policy asks for",
                    };
                    self.wrong.push(LogFinding::NotWitnessed {
                        registry: *id,
                        why: why.into(),
                    });
                }
            }
            self.registry_reports.push(RegistryReport {
                key: checked.key.clone(),
                size: checked.size,
                witnessed,
            });
        }
        self.registered.retain(|_, known| !known.is_empty());
    }

    /// Logs that registries do not know, or not as far as they should: leaves of before `late`. What a known
    /// log names as the one before it is known by that, whole.
    pub fn unregistered(&self, late: &str) -> Vec<(Uuid, Option<String>)> {
        let mut known: BTreeSet<Uuid> = self.registered.keys().copied().collect();
        let mut named = BTreeSet::new();
        let mut next: Vec<Uuid> = known.iter().copied().collect();
        while let Some(log) = next.pop() {
            let prev = self.logs.get(&log).and_then(|l| l.prev.as_ref());
            let id = prev.and_then(|p| p.origin.rsplit_once('/')?.1.parse().ok());
            if let Some(id) = id
                && named.insert(id)
            {
                known.insert(id);
                next.push(id);
            }
        }
        let mut out = Vec::new();
        for log in &self.stored {
            let since = self.logs.get(log).and_then(|l| l.unregistered.clone());
            let since = since.filter(|time| **time < *late && !named.contains(log));
            if !known.contains(log) || since.is_some() {
                out.push((*log, since));
            }
        }
        out
    }

    /// With a policy: has somebody seen something lately? The newest leaf says what now is.
    pub fn not_seen_since(&self) -> Option<(Uuid, &str, &str)> {
        let newest = self.logs.values().map(|log| log.last.as_str()).max()?;
        let seen = self.registries.keys().zip(&self.registry_reports);
        let seen = seen.filter_map(|(id, r)| Some((*id, r.witnessed.as_ref()?.time.as_str())));
        let (id, time) = seen.max_by_key(|(_, time)| *time)?;
        Some((id, time, newest))
    }
}

/// The newest checkpoint that the policy accepts.
fn witnessed(registry: &CheckedRegistry, policy: &Policy) -> Option<Witnessed> {
    if policy.witnesses().is_empty() {
        return None;
    }
    let key = tlog::Ed25519Verifier::parse(&registry.key).ok()?;
    let accepted = registry.notes.iter().filter_map(|(size, note)| {
        let accepted = policy.open_of(note, &registry.origin, &[&key]).ok()?;
        let of = |n: &usize| policy.witnesses().get(*n);
        let by: Vec<_> = accepted.witnesses.iter().filter_map(of).collect();
        let signatures = accepted.note.signatures().iter();
        let theirs =
            signatures.filter(|s| by.iter().any(|w| tlog::Verifier::name(&w.key) == s.name()));
        let time = theirs
            .filter_map(|s| tlog::cosignature_time(s.bytes()))
            .max()?;
        Some(Witnessed {
            size: *size,
            by: by
                .iter()
                .map(|w| String::from_utf8_lossy(&w.name).into_owned())
                .collect(),
            time: timestamp(time.saturating_mul(1_000_000_000)),
        })
    });
    accepted.max_by(|a, b| (a.size, &a.time).cmp(&(b.size, &b.time)))
}
