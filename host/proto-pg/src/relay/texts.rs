//! Texts that were analysed before, for all sessions of one database.
//!
//! An analysis depends on the text, the catalogue snapshot, the bundle's labels, the search path,
//! whether the transaction is read only, whether the server reads texts as we do, whether something under way could change that, and whether anything
//! hangs on what they mean, and on nothing else, unless the text runs something by its name; such texts
//! are not kept. All of it is compared, so an equal question has an equal answer.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::analysis::Analysis;
use crate::catalog::{Path, Snapshot};

/// Texts of one generation; there are two.
const MAX_TEXTS: usize = 512;
/// Longer texts are not worth their memory.
const MAX_TEXT: usize = 4 << 10;
/// So are analyses of more bytes, or of more statements: a short text can name many columns.
const MAX_WEIGHT: usize = 64 << 10;
const MAX_STATEMENTS: usize = 8;
/// Bytes of one generation.
const MAX_BYTES: usize = 8 << 20;

/// What an analysis depends on besides its text.
#[derive(Clone, Copy)]
pub(super) struct Under<'a> {
    pub snapshot: &'a Arc<Snapshot>,
    /// The bundle's digest.
    pub bundle: &'a Arc<str>,
    pub path: Path<'a>,
    pub read_only_txn: bool,
    /// Nothing hangs on what a text means, for this principal.
    pub indifferent: bool,
    /// The server reads texts as we do.
    pub readable: bool,
    /// Nothing is under way that could change how it reads this one.
    pub settled: bool,
}

impl Under<'_> {
    fn flags(&self) -> [bool; 4] {
        [
            self.read_only_txn,
            self.indifferent,
            self.readable,
            self.settled,
        ]
    }
}

struct Known {
    text: Box<[u8]>,
    /// Keeps the place, not the snapshot: no later one can be at the same address.
    snapshot: Weak<Snapshot>,
    bundle: Arc<str>,
    path: Option<Box<[Arc<str>]>>,
    flags: [bool; 4],
    analysis: Arc<Analysis>,
    weight: usize,
}

impl Known {
    fn is_of(&self, text: &[u8], under: Under<'_>) -> bool {
        let path = match (&self.path, under.path) {
            (Some(known), Path::Known(now)) => **known == *now,
            (None, Path::Unknown) => true,
            _ => false,
        };
        path && self.flags == under.flags()
            && self.snapshot.as_ptr() == Arc::as_ptr(under.snapshot)
            && self.bundle == *under.bundle
            && *self.text == *text
    }
}

/// By a hash that only spreads.
#[derive(Default)]
struct Generation {
    texts: HashMap<u64, Known>,
    bytes: usize,
}

/// The young generation is filled; when it is full it becomes the old one, and the old one goes.
#[derive(Default)]
struct Both {
    young: Generation,
    old: Generation,
}

#[derive(Default)]
pub(super) struct Texts {
    both: Mutex<Both>,
    hasher: RandomState,
}

impl Texts {
    pub fn get(&self, text: &[u8], under: Under<'_>) -> Option<Arc<Analysis>> {
        if text.len() > MAX_TEXT {
            return None;
        }
        let key = self.hasher.hash_one(text);
        let mut both = self.both.lock();
        if let Some(known) = both.young.texts.get(&key) {
            return known.is_of(text, under).then(|| known.analysis.clone());
        }
        let known = both.old.texts.remove(&key)?;
        both.old.bytes -= known.weight;
        if !known.is_of(text, under) {
            return None;
        }
        let analysis = known.analysis.clone();
        both.insert(key, known);
        Some(analysis)
    }

    pub fn put(&self, text: &[u8], under: Under<'_>, analysis: &Arc<Analysis>) {
        if text.len() > MAX_TEXT || analysis.statements.len() > MAX_STATEMENTS {
            return;
        }
        let weight = text.len() + analysis.weight();
        if weight > MAX_WEIGHT {
            return;
        }
        let known = Known {
            text: text.into(),
            snapshot: Arc::downgrade(under.snapshot),
            bundle: under.bundle.clone(),
            path: match under.path {
                Path::Known(schemas) => Some(schemas.into()),
                Path::Unknown => None,
            },
            flags: under.flags(),
            analysis: analysis.clone(),
            weight,
        };
        let key = self.hasher.hash_one(text);
        self.both.lock().insert(key, known);
    }
}

impl Both {
    fn insert(&mut self, key: u64, known: Known) {
        if self.young.texts.len() >= MAX_TEXTS || self.young.bytes + known.weight > MAX_BYTES {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.bytes += known.weight;
        if let Some(before) = self.young.texts.insert(key, known) {
            self.young.bytes -= before.weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use pipeline::{LabelCatalog, Protocol, Target};

    use super::*;
    use crate::analysis::{Ctx, Limits, analyse};
    use crate::catalog::SessionState;

    fn analysis() -> Arc<Analysis> {
        analysis_of(b"SELECT 1")
    }

    fn analysis_of(sql: &[u8]) -> Arc<Analysis> {
        let target = Arc::new(Target {
            name: "t".into(),
            protocol: Protocol::Postgres,
            env: "prod".into(),
            tags: BTreeMap::new(),
        });
        Arc::new(analyse(
            sql,
            &Ctx {
                snapshot: &Snapshot::default(),
                state: &SessionState::default(),
                labels: &LabelCatalog::default(),
                target: &target,
                database: &"d".into(),
                read_only_txn: false,
                settled: true,
                limits: &Limits::default(),
            },
        ))
    }

    /// Nothing out of the ordinary.
    fn plain<'a>(snapshot: &'a Arc<Snapshot>, bundle: &'a Arc<str>) -> Under<'a> {
        Under {
            snapshot,
            bundle,
            path: Path::Unknown,
            read_only_txn: false,
            indifferent: false,
            readable: true,
            settled: true,
        }
    }

    /// Each thing that an analysis depends on, changed alone.
    #[test]
    fn whatever_changes_is_seen_at_once() {
        let snapshot = Arc::new(Snapshot::default());
        let bundle: Arc<str> = "a".into();
        let path: [Arc<str>; 2] = ["pg_catalog".into(), "public".into()];
        let under = Under {
            snapshot: &snapshot,
            bundle: &bundle,
            path: Path::Known(&path),
            read_only_txn: false,
            indifferent: false,
            readable: true,
            settled: true,
        };
        let text = b"SELECT 1";
        let texts = Texts::default();
        assert!(texts.get(text, under).is_none());
        texts.put(text, under, &analysis());
        assert!(texts.get(text, under).is_some());
        assert!(texts.get(b"SELECT 2", under).is_none());
        let (newer, other) = (Arc::new(Snapshot::default()), Arc::from("b"));
        let reversed: [Arc<str>; 2] = ["public".into(), "pg_catalog".into()];
        for changed in [
            Under {
                snapshot: &newer,
                ..under
            },
            Under {
                bundle: &other,
                ..under
            },
            Under {
                path: Path::Known(&reversed),
                ..under
            },
            Under {
                path: Path::Known(&path[..1]),
                ..under
            },
            Under {
                path: Path::Unknown,
                ..under
            },
            Under {
                read_only_txn: true,
                ..under
            },
            Under {
                indifferent: true,
                ..under
            },
            Under {
                readable: false,
                ..under
            },
            Under {
                settled: false,
                ..under
            },
        ] {
            assert!(texts.get(text, changed).is_none());
        }
        assert!(texts.get(text, under).is_some());
    }

    /// A snapshot that is gone is not taken for a new one in its place.
    #[test]
    fn a_snapshot_that_went_is_not_found_again() {
        let texts = Texts::default();
        let bundle: Arc<str> = "a".into();
        for _ in 0..100 {
            let snapshot = Arc::new(Snapshot::default());
            let under = Under {
                snapshot: &snapshot,
                bundle: &bundle,
                path: Path::Unknown,
                read_only_txn: false,
                indifferent: false,
                readable: true,
                settled: true,
            };
            assert!(texts.get(b"SELECT 1", under).is_none());
            texts.put(b"SELECT 1", under, &analysis());
        }
    }

    #[test]
    fn memory_is_bounded_and_what_is_used_stays() {
        let texts = Texts::default();
        let (snapshot, bundle) = (Arc::new(Snapshot::default()), Arc::from("a"));
        let under = plain(&snapshot, &bundle);
        let analysis = analysis();
        texts.put(b"often", under, &analysis);
        for n in 0..5 * MAX_TEXTS {
            texts.put(n.to_string().as_bytes(), under, &analysis);
            assert!(texts.get(b"often", under).is_some());
        }
        let both = texts.both.lock();
        assert!(both.young.texts.len() <= MAX_TEXTS && both.old.texts.len() <= MAX_TEXTS);
        drop(both);
        texts.put(&[b'x'; MAX_TEXT + 1], under, &analysis);
        assert!(texts.get(&[b'x'; MAX_TEXT + 1], under).is_none());
    }

    /// Short texts whose analyses are large do not fill the memory.
    #[test]
    fn bytes_are_bounded() {
        let texts = Texts::default();
        let (snapshot, bundle) = (Arc::new(Snapshot::default()), Arc::from("a"));
        let under = plain(&snapshot, &bundle);
        let kept = |text: &[u8]| {
            texts.put(text, under, &analysis_of(text));
            texts.get(text, under).is_some()
        };
        let columns = |n| format!("SELECT {}", vec!["1"; n].join(","));
        let tables = |n| {
            let names: Vec<String> = (0..n).map(|t| format!("t{t}")).collect();
            format!("SELECT FROM {}", names.join(","))
        };
        for (text, keeps) in [
            (columns(1), true),
            (columns(100), true),
            (columns(2000), false),
            (tables(1), true),
            (tables(600), false),
            ("SELECT 1;".repeat(MAX_STATEMENTS), true),
            ("SELECT 1;".repeat(MAX_STATEMENTS + 1), false),
        ] {
            assert!(text.len() <= MAX_TEXT);
            assert_eq!(kept(text.as_bytes()), keeps, "{text}");
        }
        for n in 0..2 * MAX_TEXTS {
            let text = format!("{} -- {n}", columns(300));
            assert!(kept(text.as_bytes()));
        }
        let both = texts.both.lock();
        for generation in [&both.young, &both.old] {
            let bytes: usize = generation.texts.values().map(|k| k.weight).sum();
            assert_eq!(bytes, generation.bytes);
            assert!(bytes <= MAX_BYTES, "{bytes}");
        }
        assert!(both.young.texts.len() < MAX_TEXTS, "bytes never counted");
    }
}
