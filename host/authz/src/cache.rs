//! Decisions that were made before.
//!
//! A key holds everything that a decision can depend on, byte for byte, so that an equal key means
//! an equal decision: there is no hash to collide. Decisions that read the clock are never kept.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use crate::decide::Judged;

const SHARDS: usize = 16;
/// Per shard and generation; there are two generations.
const MAX_ENTRIES: usize = 1_024;
/// Longer keys (statements that touch very many tables) are not worth their memory.
const MAX_KEY_BYTES: usize = 4_096;

/// The hash only spreads; its seed is random, and keys are compared in full.
type Map = HashMap<Box<[u8]>, Arc<Judged>, RandomState>;

/// The young generation is filled; when it is full it becomes the old one, and the old one goes.
#[derive(Debug, Default)]
struct Shard {
    young: Map,
    old: Map,
}

/// Bounded, for one bundle.
#[derive(Debug)]
pub(crate) struct Cache {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
}

impl Cache {
    pub fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::default(),
        }
    }

    fn shard(&self, key: &[u8]) -> Option<&Mutex<Shard>> {
        let hash = self.hasher.hash_one(key);
        self.shards.get((hash >> 57) as usize % SHARDS)
    }

    pub fn get(&self, key: &[u8]) -> Option<Arc<Judged>> {
        let mut shard = self.shard(key)?.lock();
        if let Some(found) = shard.young.get(key) {
            return Some(found.clone());
        }
        let (key, found) = shard.old.remove_entry(key)?;
        shard.insert(key, found.clone());
        Some(found)
    }

    pub fn put(&self, key: &[u8], value: Arc<Judged>) {
        if key.len() > MAX_KEY_BYTES {
            return;
        }
        if let Some(shard) = self.shard(key) {
            shard.lock().insert(key.into(), value);
        }
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|s| {
                let shard = s.lock();
                shard.young.len() + shard.old.len()
            })
            .sum()
    }
}

impl Shard {
    fn insert(&mut self, key: Box<[u8]>, value: Arc<Judged>) {
        if self.young.len() >= MAX_ENTRIES {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }
}

/// Writes a key: every part with its length or its kind, so that no two lists of parts are alike.
#[derive(Debug, Clone)]
pub(crate) struct Key(Vec<u8>);

/// What most keys need.
const USUAL_KEY_BYTES: usize = 512;

impl Key {
    pub fn new() -> Self {
        Self(Vec::with_capacity(USUAL_KEY_BYTES))
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn text(&mut self, text: &str) {
        self.raw(text.as_bytes());
    }

    pub fn number(&mut self, number: usize) {
        self.0.extend_from_slice(&(number as u64).to_le_bytes());
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        self.number(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    pub fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub fn flag(&mut self, flag: bool) {
        self.0.push(u8::from(flag));
    }

    pub fn texts<'a>(&mut self, texts: impl ExactSizeIterator<Item = &'a str>) {
        self.number(texts.len());
        for text in texts {
            self.text(text);
        }
    }

    /// Goes back to the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}
