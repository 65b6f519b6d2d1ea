//! Which leaves a package is about: a window of time, and targets. And which of them are its sample.

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::digest::{Context, SHA256};

use crate::leaf::Leaf;

/// The most items of a sample. Auditors ask for 25 to 40.
pub const MAX_SAMPLE: usize = 1000;
/// How many, if nobody says.
pub const SAMPLE: usize = 25;

/// From `from_ns`, to before `to_ns`: nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub from_ns: u64,
    pub to_ns: u64,
}

impl Window {
    /// In whole microseconds, as leaves have them.
    pub fn new(from_ns: u64, to_ns: u64) -> Self {
        let micros = |ns: u64| ns - ns % 1000;
        Self {
            from_ns: micros(from_ns),
            to_ns: micros(to_ns),
        }
    }

    pub fn holds(&self, time_ns: u64) -> bool {
        (self.from_ns..self.to_ns).contains(&time_ns)
    }
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    pub window: Window,
    /// None: all of them.
    pub targets: BTreeSet<String>,
    pub sample: usize,
    /// The records that say who the pseudonyms are, of everyone and not only of the sample.
    pub names: bool,
}

impl Selection {
    /// What is of no target (starts, stops, gaps, acts of operators) concerns every target.
    pub fn selects(&self, leaf: &Leaf) -> bool {
        let of = |target: &String| self.targets.contains(target);
        self.targets.is_empty() || leaf.target.as_ref().is_none_or(of)
    }

    /// What the sample is drawn with: everything that the package is about, and nothing that changes while
    /// logs grow. Otherwise who makes packages could make them until the draw pleases.
    pub fn seed(&self) -> [u8; 32] {
        let mut hash = Context::new(&SHA256);
        let mut add = |bytes: &[u8]| {
            hash.update(&(bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        add(b"weir.evidence.sample.v2");
        add(&self.window.from_ns.to_be_bytes());
        add(&self.window.to_ns.to_be_bytes());
        add(&(self.targets.len() as u64).to_be_bytes());
        for target in &self.targets {
            add(target.as_bytes());
        }
        finish(hash)
    }
}

/// Draws the sample while leaves go by: those whose hashes with the seed are smallest. A leaf has the salted
/// hash of its record in it, and was signed when it was written: nobody chose it.
pub struct Sampler<T> {
    seed: [u8; 32],
    most: usize,
    drawn: BTreeMap<[u8; 32], T>,
}

impl<T> Sampler<T> {
    pub fn new(seed: [u8; 32], most: usize) -> Self {
        Self {
            seed,
            most,
            drawn: BTreeMap::new(),
        }
    }

    pub fn offer(&mut self, leaf: &tlog::Hash, item: impl FnOnce() -> T) {
        let mut hash = Context::new(&SHA256);
        hash.update(&self.seed);
        hash.update(leaf);
        let rank = finish(hash);
        let is_full = self.drawn.len() >= self.most;
        let too_late = self
            .drawn
            .last_key_value()
            .is_none_or(|(last, _)| rank > *last);
        if is_full && too_late {
            return;
        }
        self.drawn.insert(rank, item());
        if is_full {
            self.drawn.pop_last();
        }
    }

    pub fn into_items(self) -> impl Iterator<Item = T> {
        self.drawn.into_values()
    }
}

fn finish(hash: Context) -> [u8; 32] {
    let mut out = [0; 32];
    for (to, from) in out.iter_mut().zip(hash.finish().as_ref()) {
        *to = *from;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_what_its_seed_says() {
        let drawn = |seed: u8, most: usize| {
            let mut sampler = Sampler::new([seed; 32], most);
            for index in 0..1000 {
                sampler.offer(&tlog::leaf_hash(&[index as u8, (index >> 8) as u8]), || {
                    index
                });
            }
            let mut items: Vec<u64> = sampler.into_items().collect();
            items.sort();
            items
        };
        assert_eq!(drawn(1, 25), drawn(1, 25));
        assert_eq!(drawn(1, 25).len(), 25);
        assert_ne!(drawn(1, 25), drawn(2, 25));
        // A smaller sample is part of a larger one.
        let large = drawn(1, 40);
        assert!(drawn(1, 25).iter().all(|item| large.contains(item)));
        assert_eq!(drawn(1, 0), [0; 0]);
        assert_eq!(drawn(1, 2000).len(), 1000);
    }
}
