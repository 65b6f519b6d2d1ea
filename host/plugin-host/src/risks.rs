//! What classifiers said of a statement before.
//!
//! An instance is fresh for every call, and what it is told is all it knows: the session, which never
//! changes, the statement's facts, and its configuration. So it says the same again, unless it asked
//! its store or the clock. Answers of a call that did, and of one that failed, are not kept. A set of
//! plugins has its own answers: another version, configuration or plugin begins without any.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use parking_lot::Mutex;
use pipeline::{Facts, Risk, SessionId, SqlFacts};

use crate::limits::{RISK_TEXT, RISKS};

struct Known {
    session: SessionId,
    facts: Arc<SqlFacts>,
    risk: Arc<Risk>,
}

impl Known {
    fn is_of(&self, session: SessionId, facts: &Arc<SqlFacts>) -> bool {
        let same = Arc::ptr_eq(&self.facts, facts) || self.facts == *facts;
        self.session == session && same
    }
}

/// By a hash that only spreads: whether it is the same question is compared in full. Of two questions
/// with one hash the later one stays.
type Generation = HashMap<u64, Known>;

/// The young generation is filled; when it is full it becomes the old one, and the old one goes.
#[derive(Default)]
struct Both {
    young: Generation,
    old: Generation,
}

#[derive(Default)]
pub(crate) struct Risks {
    both: Mutex<Both>,
    hasher: RandomState,
}

impl Risks {
    fn key(&self, session: SessionId, facts: &SqlFacts) -> u64 {
        self.hasher.hash_one((session, &facts.text))
    }

    pub(crate) fn get(&self, session: SessionId, facts: &Facts) -> Option<Arc<Risk>> {
        let facts = kept(facts)?;
        let key = self.key(session, facts);
        let mut both = self.both.lock();
        if let Some(known) = both.young.get(&key) {
            return known.is_of(session, facts).then(|| known.risk.clone());
        }
        let known = both.old.remove(&key)?;
        if !known.is_of(session, facts) {
            return None;
        }
        let risk = known.risk.clone();
        both.insert(key, known);
        Some(risk)
    }

    pub(crate) fn put(&self, session: SessionId, facts: &Facts, risk: &Arc<Risk>) {
        let Some(facts) = kept(facts) else { return };
        let known = Known {
            session,
            facts: facts.clone(),
            risk: risk.clone(),
        };
        let key = self.key(session, facts);
        self.both.lock().insert(key, known);
    }
}

#[cfg(test)]
impl Risks {
    pub(crate) fn len(&self) -> usize {
        let both = self.both.lock();
        both.young.len() + both.old.len()
    }
}

impl Both {
    fn insert(&mut self, key: u64, known: Known) {
        if self.young.len() >= RISKS {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, known);
    }
}

/// Long texts, and what runs other texts, are not worth their memory.
fn kept(facts: &Facts) -> Option<&Arc<SqlFacts>> {
    match facts {
        Facts::Sql(sql) if sql.text.len() <= RISK_TEXT && sql.runs.is_empty() => Some(sql),
        _ => None,
    }
}
