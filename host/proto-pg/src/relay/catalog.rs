//! Catalogue snapshots, shared by all sessions of one database.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::notify::Voices;
use super::texts::Texts;
use super::witness::{Tasks, Witness};
use crate::catalog::Snapshot;

/// A snapshot, and how far it can be trusted.
#[derive(Clone)]
pub(crate) struct Held {
    pub snapshot: Arc<Snapshot>,
    /// Committed changes that were known when it was begun.
    pub generation: u64,
    pub begun: Instant,
    /// Taken inside an open transaction: it may show what others do not see.
    pub private: bool,
}

#[derive(Default)]
struct Entry {
    held: Option<Held>,
    generation: u64,
    moves: Moves,
    /// When a session last took it upon itself to read it for all.
    claimed: Option<Instant>,
    texts: Arc<Texts>,
    witness: Arc<Witness>,
    voices: Arc<Voices>,
}

/// Counts what may have changed the catalogue, from the moment that it is sent: names can mean
/// something else before its end is known here. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Moves(Arc<AtomicU64>);

impl Moves {
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

type Key = (Arc<str>, Arc<str>);

/// By target and database. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Catalogs {
    entries: Arc<Mutex<HashMap<Key, Entry>>>,
    witnesses: Tasks,
}

impl Catalogs {
    /// The service ends, and with it the connections that sessions shared.
    pub async fn end(&self, patience: Duration) {
        self.witnesses.end(patience).await;
    }

    /// One database's place in here.
    pub fn of(&self, target: Arc<str>, database: Arc<str>, ttl: Duration) -> Catalog {
        let key = (target, database);
        let mut entries = self.entries.lock();
        let entry = entries.entry(key.clone()).or_default();
        let (moves, texts) = (entry.moves.clone(), entry.texts.clone());
        let (witness, voices) = (entry.witness.clone(), entry.voices.clone());
        drop(entries);
        Catalog {
            catalogs: self.clone(),
            key,
            ttl,
            moves,
            texts,
            witness,
            voices,
        }
    }
}

#[derive(Clone)]
pub(crate) struct Catalog {
    catalogs: Catalogs,
    key: Key,
    ttl: Duration,
    moves: Moves,
    texts: Arc<Texts>,
    witness: Arc<Witness>,
    voices: Arc<Voices>,
}

impl Catalog {
    fn entry<T>(&self, f: impl FnOnce(&mut Entry) -> T) -> T {
        let mut entries = self.catalogs.entries.lock();
        f(entries.entry(self.key.clone()).or_default())
    }

    /// To be asked before a snapshot is begun.
    pub fn generation(&self) -> u64 {
        self.entry(|e| e.generation)
    }

    /// Texts that were analysed before, by any session.
    pub(super) fn texts(&self) -> &Texts {
        &self.texts
    }

    /// Who says whether definitions are still what they were.
    pub(super) fn witness(&self) -> &Witness {
        &self.witness
    }

    pub(super) fn witnesses(&self) -> &Tasks {
        &self.catalogs.witnesses
    }

    /// Which sessions notify with nothing but what was decided on.
    pub(super) fn voices(&self) -> &Arc<Voices> {
        &self.voices
    }

    pub fn moves(&self) -> &Moves {
        &self.moves
    }

    /// Somebody committed DDL: every snapshot begun before is stale.
    pub fn changed(&self) {
        self.entry(|e| e.generation += 1);
        self.moves.add();
    }

    /// A result was not what the catalogue says. What is younger than this was not to blame: a text that
    /// is always understood otherwise must not make every statement read the catalogue.
    pub fn doubt(&self, young: Duration) {
        self.entry(|e| {
            if e.held.as_ref().is_some_and(|h| h.begun.elapsed() > young) {
                e.generation += 1;
            }
        });
    }

    pub fn is_fresh(&self, held: &Held) -> bool {
        !held.private && self.is_young(held)
    }

    /// As [`Catalog::is_fresh`], for whoever is in the transaction in which it was read.
    pub fn is_young(&self, held: &Held) -> bool {
        held.begun.elapsed() < self.ttl && held.generation == self.generation()
    }

    /// The shared snapshot, if it is fresh.
    pub fn get(&self) -> Option<Held> {
        let held = self.entry(|e| e.held.clone())?;
        self.is_fresh(&held).then_some(held)
    }

    /// The newest shared snapshot, fresh or not.
    pub fn newest(&self) -> Option<Held> {
        self.entry(|e| e.held.clone())
    }

    /// True for one session at a time, and not again for so long: it reads the catalogue for all.
    pub fn claim(&self, pause: Duration) -> bool {
        self.entry(|e| {
            let free = e.claimed.is_none_or(|at| at.elapsed() > pause);
            if free {
                e.claimed = Some(Instant::now());
            }
            free
        })
    }

    pub fn put(&self, held: &Held) {
        if held.private {
            return;
        }
        self.entry(|e| {
            if e.held.as_ref().is_none_or(|h| h.begun < held.begun) {
                e.held = Some(held.clone());
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog(ttl: Duration) -> Catalog {
        Catalogs::default().of("t".into(), "d".into(), ttl)
    }

    fn held(catalog: &Catalog, private: bool) -> Held {
        Held {
            snapshot: Arc::new(Snapshot::default()),
            generation: catalog.generation(),
            begun: Instant::now(),
            private,
        }
    }

    #[test]
    fn ddl_makes_every_snapshot_stale() {
        let c = catalog(Duration::from_secs(60));
        assert!(c.get().is_none());
        let h = held(&c, false);
        c.put(&h);
        assert!(c.get().is_some());
        c.changed();
        assert!(c.get().is_none());
        assert!(!c.is_fresh(&h));
    }

    #[test]
    fn doubt_spares_the_young() {
        let c = catalog(Duration::from_secs(60));
        let h = held(&c, false);
        c.put(&h);
        c.doubt(Duration::from_secs(60));
        assert!(c.is_fresh(&h));
        c.doubt(Duration::ZERO);
        assert!(!c.is_fresh(&h) && c.get().is_none());
    }

    #[test]
    fn what_a_transaction_sees_is_not_shared() {
        let c = catalog(Duration::from_secs(60));
        let h = held(&c, true);
        c.put(&h);
        assert!(c.get().is_none());
        assert!(!c.is_fresh(&h));
    }

    #[test]
    fn snapshots_age() {
        let c = catalog(Duration::ZERO);
        let h = held(&c, false);
        c.put(&h);
        assert!(c.get().is_none());
    }
}
