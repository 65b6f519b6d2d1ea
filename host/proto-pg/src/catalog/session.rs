//! What names mean inside one session: search path, temporary schema, prepared statements, cursors.

use std::collections::HashMap;
use std::sync::Arc;

use pipeline::{Named, Parameter};

use super::{CatalogError, Path};
use crate::analysis::{Analysis, Effect, Over, Summary};

/// Names of prepared statements or cursors that are remembered.
const MAX_REMEMBERED: usize = 10_000;
/// Different statements under one name.
const MAX_PER_NAME: usize = 64;
/// What all of them may take. A client that makes more gets its EXECUTE and FETCH by name refused.
const MAX_BYTES: usize = 8 << 20;
/// What a statement takes besides its text, and how much a text grows by being understood.
const PER_MEANING: usize = 1 << 10;
const GROWTH: usize = 4;

/// The state of one upstream session that decides what a text means.
#[derive(Debug, Clone, Default)]
pub struct SessionState {
    /// Code that is not PostgreSQL's own ran in this transaction: it can have opened cursors of any
    /// name.
    foreign: bool,
    /// It ran at some time: it can have prepared statements of any name.
    foreign_before: bool,
    schemas: Vec<Arc<str>>,
    unknown: bool,
    /// The path was set since a transaction began: its end can set it back.
    unsettled: bool,
    prepared: Remembered,
    cursors: Remembered,
    /// Counts how often the labels were others.
    labelling: u64,
    /// Counts texts that give names a meaning.
    names: u64,
    /// In the transaction in which the server was asked last, each statement sees what is committed by
    /// then.
    sees_now: bool,
}

impl SessionState {
    /// One row; feed it to `new` and `refreshed`.
    pub const QUERY: &'static str = "SELECT pg_catalog.current_schemas(true), \
         current_user, session_user, pg_catalog.current_setting('transaction_isolation')";

    pub fn new(row: &[Option<String>]) -> Result<Self, CatalogError> {
        let mut state = Self::default();
        state.refreshed(row)?;
        Ok(state)
    }

    /// The connection is idle and the server was asked again.
    pub fn refreshed(&mut self, row: &[Option<String>]) -> Result<(), CatalogError> {
        let [Some(schemas), _, _, isolation] = row else {
            return Err(CatalogError::Shape {
                query: 0,
                expected: 4,
                got: row.len(),
            });
        };
        self.schemas = array(schemas).ok_or_else(|| CatalogError::Value {
            query: 0,
            what: "the search path",
            value: schemas.chars().take(64).collect(),
        })?;
        self.unknown = false;
        // To PostgreSQL, READ UNCOMMITTED is the same.
        let isolation = isolation.as_deref();
        self.sees_now = matches!(isolation, Some("read committed" | "read uncommitted"));
        Ok(())
    }

    /// The server is being asked: what it said before was about another moment.
    pub(crate) fn asking(&mut self) {
        self.sees_now = false;
    }

    /// Did statements of the transaction in which the server was asked last see what was committed by
    /// then, and not what was when it began?
    pub(crate) fn sees_now(&self) -> bool {
        self.sees_now
    }

    /// A text was forwarded: its effects count from now on, before its success is known, in union
    /// with what was.
    pub fn forwarded(&mut self, analysis: &Analysis) {
        if analysis.is_foreign() {
            self.ran_code();
        }
        let effects = || analysis.summaries.iter().flat_map(|s| &s.effects);
        let mut all = effects();
        if all.any(|e| matches!(e, Effect::Prepares(..) | Effect::Declares(..))) {
            self.names += 1;
        }
        for effect in effects() {
            match effect {
                Effect::Path => self.lose_path(),
                Effect::Reading => {}
                Effect::Ends => self.unknown |= self.unsettled,
                Effect::Prepares(name, ..) => {
                    if let Some(meaning) = Prepared::by(effect, &analysis.facts.text) {
                        let meaning = self.stamped(meaning);
                        self.prepared.add(name, meaning);
                    }
                }
                Effect::Declares(name, ..) => {
                    if let Some(meaning) = Prepared::by(effect, &analysis.facts.text) {
                        let meaning = self.stamped(meaning);
                        self.cursors.add(name, meaning);
                    }
                }
                Effect::Means(name, meaning) => {
                    let meaning = self.stamped(meaning.clone());
                    self.prepared.add(name, meaning);
                }
            }
        }
    }

    /// As it is remembered now.
    pub(crate) fn stamped(&self, meaning: Prepared) -> Prepared {
        Prepared {
            labelling: self.labelling,
            at: self.names,
            ..meaning
        }
    }

    /// How far it has counted texts that give names a meaning.
    pub(crate) fn names(&self) -> u64 {
        self.names
    }

    /// The server says that it has dropped names: of what they meant up to `names`, nothing is left.
    pub(crate) fn dropped(&mut self, over: &Over, names: u64) {
        match over {
            Over::Nothing => {}
            Over::Statement(name) => self.prepared.drop(name, names),
            Over::Statements => self.prepared.drop_all(names),
            Over::Portal(name) => self.cursors.drop(name, names),
            Over::Portals => self.cursors.drop_all(names),
            Over::Everything => {
                self.prepared.drop_all(names);
                self.cursors.drop_all(names);
            }
        }
    }

    /// A text that calls code is planned. It can have done what it does when it runs.
    pub(crate) fn planned(&mut self, analysis: &Analysis) {
        if analysis.is_foreign() {
            self.ran_code();
        }
        let effects = analysis.summaries.iter().flat_map(|s| &s.effects);
        if effects.into_iter().any(|e| matches!(e, Effect::Path)) {
            self.lose_path();
        }
    }

    /// Whatever its volatility, it can call set_config.
    fn ran_code(&mut self) {
        self.foreign = true;
        self.lose_path();
    }

    fn lose_path(&mut self) {
        self.unknown = true;
        self.unsettled = true;
    }

    /// A Parse message was forwarded: SQL's EXECUTE can run it by its name.
    pub fn parsed(&mut self, name: &str, analysis: &Analysis) {
        self.names += 1;
        for summary in &analysis.summaries {
            let text = &analysis.facts.text;
            let meaning = Prepared::new(name, summary, text, &[], true);
            let meaning = self.stamped(meaning);
            self.prepared.add(name, meaning);
        }
    }

    /// A Bind message was forwarded: SQL's FETCH can read the portal by its name.
    pub fn bound(&mut self, portal: &str, analysis: &Analysis, parameters: &[Parameter]) {
        self.names += 1;
        for summary in &analysis.summaries {
            let text = &analysis.facts.text;
            let meaning = Prepared::new(portal, summary, text, parameters, true);
            let meaning = self.stamped(meaning);
            self.cursors.add(portal, meaning);
        }
    }

    /// No transaction is open and nothing is under way: cursors that code has opened are gone, portals, and
    /// cursors that were not declared WITH HOLD.
    pub fn idle(&mut self) {
        self.foreign_before |= self.foreign;
        self.foreign = false;
        self.cursors.end();
    }

    /// The catalogue may have changed and cannot be read now.
    pub fn doubt(&mut self) {
        self.unknown = true;
    }

    /// Unqualified names mean the union of all schemas until `refreshed`.
    pub fn search_path_unknown(&self) -> bool {
        self.unknown
    }

    /// Labels are others from now on: what was understood before went by the old ones.
    pub fn relabelled(&mut self) {
        self.labelling += 1;
        self.names += 1;
    }

    /// Was it understood by other labels than there are now?
    pub(crate) fn is_relabelled(&self, meaning: &Prepared) -> bool {
        meaning.labelling != self.labelling
    }

    pub(crate) fn path(&self) -> Path<'_> {
        if self.unknown {
            Path::Unknown
        } else {
            Path::Known(&self.schemas)
        }
    }

    pub(crate) fn prepared(&self, name: &str) -> Known {
        let mut known = self.prepared.get(name);
        if known.meanings.is_empty() && known.rest == Rest::Nothing {
            known.meanings = self.prepared.gone(name);
        }
        let strange = self.foreign || self.foreign_before;
        if strange && known.rest == Rest::Nothing {
            known.rest = Rest::Foreign;
        }
        known
    }

    pub(crate) fn cursor(&self, name: &str) -> Known {
        let mut known = self.cursors.get(name);
        // Code can open cursors, and some of them outlive their transaction.
        let strange = self.foreign || known.meanings.is_empty();
        if strange && known.rest == Rest::Nothing {
            known.rest = Rest::Foreign;
        }
        known
    }
}

/// One meaning of a name.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    pub summary: Arc<Summary>,
    /// What people and classifiers are shown of it.
    pub named: Arc<Named>,
    /// The text is the statement itself, by a Parse message; else it holds a PREPARE or a DECLARE.
    pub whole: bool,
    /// How far the session had counted labels when it was remembered.
    labelling: u64,
    /// A cursor that outlives its transaction.
    holds: bool,
    /// When it was sent last.
    at: u64,
}

impl Prepared {
    /// What PREPARE or DECLARE makes; the latter stands in `text`.
    pub fn by(effect: &Effect, text: &Arc<str>) -> Option<Self> {
        match effect {
            Effect::Prepares(name, summary, own) => Some(Self::new(name, summary, own, &[], false)),
            Effect::Declares(name, summary, holds) => Some(Self {
                holds: *holds,
                ..Self::new(name, summary, text, &[], false)
            }),
            Effect::Path | Effect::Reading | Effect::Ends | Effect::Means(..) => None,
        }
    }

    fn new(
        name: &str,
        summary: &Arc<Summary>,
        text: &Arc<str>,
        parameters: &[Parameter],
        whole: bool,
    ) -> Self {
        Self {
            summary: summary.clone(),
            named: Arc::new(Named {
                name: name.into(),
                text: text.clone(),
                parameters: parameters.into(),
            }),
            whole,
            labelling: 0,
            holds: false,
            at: 0,
        }
    }

    /// The same text, understood otherwise.
    pub fn meaning(&self, summary: Arc<Summary>) -> Self {
        Self {
            summary,
            ..self.clone()
        }
    }

    fn is(&self, other: &Self) -> bool {
        self.labelling == other.labelling
            && self.whole == other.whole
            && self.holds == other.holds
            && self.named == other.named
            && (Arc::ptr_eq(&self.summary, &other.summary)
                || self.summary.means_the_same(&other.summary))
    }

    fn cost(&self) -> usize {
        let bound = self.named.parameters.iter();
        let bound: usize = bound.map(|p| p.weight() + size_of::<Parameter>()).sum();
        PER_MEANING + bound + self.named.name.len() + GROWTH * self.named.text.len()
    }
}

/// What a name can stand for.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub meanings: Vec<Prepared>,
    pub rest: Rest,
}

/// What else it can stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// The server would not know it either.
    Nothing,
    /// Something that code of its own has made.
    Foreign,
    /// Something that was sent and is not remembered.
    Forgotten,
}

/// Everything that was ever meant by a name in this session.
#[derive(Debug, Clone, Default)]
struct Remembered {
    by_name: HashMap<Box<str>, Meanings>,
    bytes: usize,
    /// Names are missing, and when that was so for the last time.
    full: Option<u64>,
}

#[derive(Debug, Clone, Default)]
struct Meanings {
    known: Vec<Prepared>,
    /// What was dropped last, while nothing else has the name: whoever runs it all the same is told by the
    /// server that there is no such thing.
    gone: Vec<Prepared>,
    /// There were more than are kept.
    lost: bool,
    /// When the last one was sent.
    last: u64,
    /// One of them is a cursor that outlives its transaction.
    holds: bool,
}

impl Meanings {
    fn cost(&self) -> usize {
        let all = self.known.iter().chain(&self.gone);
        all.map(Prepared::cost).sum()
    }
}

impl Remembered {
    fn add(&mut self, name: &str, meaning: Prepared) {
        let at = meaning.at;
        if name.is_empty() {
            // SQL has no way to name it.
            return;
        }
        let cost = meaning.cost();
        self.forget_gone(name, cost);
        let fits = self.bytes.saturating_add(cost) <= MAX_BYTES;
        if let Some(meanings) = self.by_name.get_mut(name) {
            meanings.last = at;
            meanings.holds |= meaning.holds;
            if meanings.lost {
                return;
            }
            if let Some(same) = meanings.known.iter_mut().find(|k| k.is(&meaning)) {
                same.at = at;
                return;
            }
            if meanings.known.len() >= MAX_PER_NAME || !fits {
                self.bytes = self.bytes.saturating_sub(meanings.cost());
                meanings.known = Vec::new();
                meanings.lost = true;
                return;
            }
            meanings.known.push(meaning);
        } else if self.by_name.len() < MAX_REMEMBERED && fits {
            let meanings = Meanings {
                last: at,
                holds: meaning.holds,
                known: vec![meaning],
                gone: Vec::new(),
                lost: false,
            };
            self.by_name.insert(name.into(), meanings);
        } else {
            self.full = Some(at);
            return;
        }
        self.bytes += cost;
    }

    /// What the name meant up to `at` is gone.
    fn drop(&mut self, name: &str, at: u64) {
        let Some(meanings) = self.by_name.get_mut(name) else {
            return;
        };
        let before = meanings.cost();
        if meanings.last <= at && !meanings.lost && !meanings.known.is_empty() {
            meanings.gone = std::mem::take(&mut meanings.known);
        }
        meanings.known.retain(|meaning| meaning.at > at);
        let mut after = meanings.cost();
        if meanings.last <= at && meanings.lost {
            self.by_name.remove(name);
            after = 0;
        }
        self.bytes = self.bytes.saturating_sub(before.saturating_sub(after));
    }

    /// What is gone under a name goes for good when it means something again; all of it, when room is
    /// needed.
    fn forget_gone(&mut self, name: &str, cost: usize) {
        if let Some(meanings) = self.by_name.get_mut(name) {
            let gone = std::mem::take(&mut meanings.gone);
            let freed: usize = gone.iter().map(Prepared::cost).sum();
            self.bytes = self.bytes.saturating_sub(freed);
        }
        let many = self.by_name.len() >= MAX_REMEMBERED;
        if many || self.bytes.saturating_add(cost) > MAX_BYTES {
            self.by_name.retain(|of, meanings| {
                meanings.gone.clear();
                !meanings.known.is_empty() || meanings.lost || **of == *name
            });
            self.bytes = self.by_name.values().map(Meanings::cost).sum();
        }
    }

    /// What was dropped last under a name.
    fn gone(&self, name: &str) -> Vec<Prepared> {
        let found = self.by_name.get(name);
        found.map(|m| m.gone.clone()).unwrap_or_default()
    }

    fn drop_all(&mut self, at: u64) {
        let names: Vec<Box<str>> = self.by_name.keys().cloned().collect();
        for name in names {
            self.drop(&name, at);
        }
        if self.full.is_some_and(|last| last <= at) {
            self.full = None;
        }
    }

    /// A transaction has ended.
    fn end(&mut self) {
        if self.by_name.is_empty() {
            return;
        }
        self.by_name.retain(|_, meanings| {
            meanings.known.retain(|meaning| meaning.holds);
            meanings.gone.clear();
            meanings.holds
        });
        self.bytes = self.by_name.values().map(Meanings::cost).sum();
    }

    fn get(&self, name: &str) -> Known {
        let found = self.by_name.get(name);
        let lost = found.map_or(self.full.is_some(), |m| m.lost);
        Known {
            meanings: found.map(|m| m.known.clone()).unwrap_or_default(),
            rest: if lost { Rest::Forgotten } else { Rest::Nothing },
        }
    }
}

/// A one-dimensional array of names in PostgreSQL's text form.
fn array(text: &str) -> Option<Vec<Arc<str>>> {
    let inner = text.strip_prefix('{')?.strip_suffix('}')?;
    let mut out: Vec<Arc<str>> = Vec::new();
    let mut word = String::new();
    let (mut quoted, mut any) = (false, false);
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                quoted = !quoted;
                any = true;
            }
            '\\' => word.push(chars.next()?),
            ',' if !quoted => {
                out.push(word.as_str().into());
                word.clear();
                any = false;
            }
            c => {
                word.push(c);
                any = true;
            }
        }
    }
    if quoted {
        return None;
    }
    if any || !out.is_empty() {
        out.push(word.as_str().into());
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays() {
        for (text, expect) in [
            ("{}", Some(vec![])),
            ("{pg_catalog,public}", Some(vec!["pg_catalog", "public"])),
            (r#"{"a,b","c\"d",e}"#, Some(vec!["a,b", "c\"d", "e"])),
            (r#"{"a}"#, None),
            ("public", None),
        ] {
            let got = array(text);
            let got = got
                .as_ref()
                .map(|v| v.iter().map(|s| &**s).collect::<Vec<_>>());
            assert_eq!(got, expect, "{text}");
        }
    }

    #[test]
    fn rows_of_the_wrong_shape() {
        assert!(SessionState::new(&[]).is_err());
        assert!(SessionState::new(&[None, None, None, None]).is_err());
        assert!(SessionState::new(&[Some("x".into()), None, None, None]).is_err());
        assert!(SessionState::new(&[Some("{a}".into()), None, None]).is_err());
    }

    /// Only what is known to see the present counts as seeing it.
    #[test]
    fn isolation() {
        for (level, sees_now) in [
            (Some("read committed"), true),
            (Some("read uncommitted"), true),
            (Some("repeatable read"), false),
            (Some("serializable"), false),
            (Some("something new"), false),
            (None, false),
        ] {
            let row = [Some("{a}".into()), None, None, level.map(str::to_owned)];
            let state = SessionState::new(&row).unwrap();
            assert_eq!(state.sees_now(), sees_now, "{level:?}");
        }
    }
}
