//! What registries say: which logs there are, how far each was, and who has witnessed that.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use tlog::{Checkpoint, Hash, Policy};
use uuid::Uuid;

use crate::log::check::{LogFinding, Logs};
use crate::log::reader::Reader;
use crate::log::registry::{self, RegistryLeaf};

/// A checkpoint of a log that a registry vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// What it is called in findings.
    pub name: String,
    pub size: u64,
    pub root: Hash,
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
    /// The size of the newest checkpoint that the policy accepts, and the names of the witnesses that
    /// signed it; none without a policy.
    pub witnessed: Option<(u64, Vec<String>)>,
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
    /// The log must still hold what it held when the registry got these.
    pub(super) fn registered(&mut self, registered: &[Registered], newest: Option<&Checkpoint>) {
        let (log, is) = (self.log, newest.map_or(0, |newest| newest.size));
        for Registered { name, size, root } in registered {
            match *size > is {
                true => {
                    let was = *size;
                    self.wrong(LogFinding::RolledBack { log, was, is });
                }
                false => self.signed.push((name.clone(), *size, *root)),
            }
        }
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
            size: part.size,
            root,
        });
    }
}

impl Logs {
    /// Holds the registries against a policy of witnesses. `late` is the time before which leaves must
    /// have been witnessed.
    pub fn witnessed(&mut self, policy: Option<&Policy>, late: &str) -> Vec<RegistryReport> {
        let mut reports = Vec::new();
        for (id, checked) in &self.registries {
            let mut report = RegistryReport {
                key: checked.key.clone(),
                size: checked.size,
                witnessed: None,
            };
            if let Some(policy) = policy {
                report.witnessed = witnessed(checked, policy);
                let size = report.witnessed.as_ref().map_or(0, |(size, _)| *size);
                let next = usize::try_from(size)
                    .ok()
                    .and_then(|at| checked.times.get(at));
                let why = match (&report.witnessed, next) {
                    (None, _) => {
                        Some("no checkpoint has the signatures that the policy asks for".into())
                    }
                    (_, Some(time)) if **time < *late => {
                        Some(format!("its leaves since {time} have no witness"))
                    }
                    _ => None,
                };
                if let Some(why) = why {
                    self.wrong
                        .push(LogFinding::NotWitnessed { registry: *id, why });
                }
            }
            reports.push(report);
        }
        reports
    }

    /// Stored logs that no registry knows.
    pub fn unregistered(&self) -> BTreeSet<Uuid> {
        let known = |log: &&Uuid| !self.registered.contains_key(log);
        self.stored.iter().filter(known).copied().collect()
    }
}

/// The newest checkpoint that the policy accepts.
fn witnessed(registry: &CheckedRegistry, policy: &Policy) -> Option<(u64, Vec<String>)> {
    let key = tlog::Ed25519Verifier::parse(&registry.key).ok()?;
    let accepted = registry.notes.iter().filter_map(|(size, note)| {
        let accepted = policy.open_of(note, &registry.origin, &[&key]).ok()?;
        let name = |n: usize| {
            policy
                .witnesses()
                .get(n)
                .map(|w| String::from_utf8_lossy(&w.name).into_owned())
        };
        let names = accepted.witnesses.into_iter().filter_map(name).collect();
        Some((*size, names))
    });
    accepted.max_by_key(|(size, _)| *size)
}
