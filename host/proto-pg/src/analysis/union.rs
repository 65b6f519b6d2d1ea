//! What a prepared text can mean when it was understood more than once.
//!
//! The server looks at a prepared text again when what it refers to changes, but not when a relation
//! comes to stand earlier on the path. Which of its meanings it goes on with cannot be told from here:
//! all of them must be permitted, and what any of them shows must be masked.

use std::collections::BTreeSet;
use std::sync::Arc;

use pipeline::{Relation, SqlFacts};

use super::shape::{Body, StatementShape};
use super::{Analysis, POLICY, Summary};

/// Meanings of one prepared text. A client that makes more must prepare it again.
const MAX_MEANINGS: usize = 64;

impl Analysis {
    /// Is everything that this can mean among what `older` can mean?
    pub(crate) fn is_covered_by(&self, older: &Self) -> bool {
        self.is_among(older, Summary::means_the_same)
    }

    fn is_among(&self, older: &Self, same: impl Fn(&Summary, &Summary) -> bool) -> bool {
        let known = &older.summaries;
        // A text that is not understood has no summaries, and can mean anything.
        if self.summaries.is_empty() && !known.is_empty() {
            return false;
        }
        self.summaries
            .iter()
            .all(|s| known.iter().any(|k| same(k, s)))
    }

    /// Are relations of the same names behind both?
    pub(crate) fn names_the_same(&self, other: &Self) -> bool {
        let of = |facts: &SqlFacts| names(facts.reads.iter().chain(&facts.writes_to));
        of(&self.facts) == of(&other.facts)
    }

    /// Does the text itself, or what it calls, run code that is not PostgreSQL's own? Then planning
    /// it can run that code, too.
    pub(crate) fn runs_code(&self) -> bool {
        let calls = |a: &pipeline::Access| a.action == pipeline::Action::PostgresCall;
        self.is_foreign() || self.accesses.iter().any(calls)
    }

    /// Code that is not PostgreSQL's own runs, or nobody can tell what does.
    pub fn is_foreign(&self) -> bool {
        !self.facts.parsed || self.summaries.iter().any(|s| s.foreign)
    }

    /// Nothing labelled is in it anywhere: what it says when it fails is about something else.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// What it sends to those who listen can hold labelled values.
    pub(crate) fn tells_others(&self) -> bool {
        self.is_foreign() || self.summaries.iter().any(|s| s.tells)
    }

    /// Can planning it alone run such code? Triggers do not fire then.
    pub(crate) fn plans_code(&self) -> bool {
        let calls = |a: &pipeline::Access| a.action == pipeline::Action::PostgresCall;
        self.summaries.iter().any(|s| s.plans_code) || self.accesses.iter().any(calls)
    }

    /// Can parsing it alone run such code? The server reads constants of some types then.
    pub(crate) fn parses_code(&self) -> bool {
        self.summaries.iter().any(|s| s.parses_code)
    }

    /// This, or whatever it meant before.
    pub(crate) fn or_as(self, older: &Self) -> Self {
        let quiet = self.quiet && older.quiet;
        Self {
            quiet,
            ..self.or_what(older)
        }
    }

    fn or_what(self, older: &Self) -> Self {
        // Of the same relations the server goes by what they are now.
        let one = self.summaries.len() == older.summaries.len();
        if one && self.is_among(older, Summary::asks_the_same) {
            return self;
        }
        if !self.is_covered_by(older) {
            return self.or(older);
        }
        let mut all = older.clone();
        all.unknown_names |= self.unknown_names;
        all.shadowed |= self.shadowed;
        Arc::make_mut(&mut all.facts).read_only_txn = self.facts.read_only_txn;
        all
    }

    fn or(mut self, older: &Self) -> Self {
        self.facts = Arc::new(facts(&self.facts, &older.facts));
        for access in &older.accesses {
            if !self.accesses.contains(access) {
                self.accesses.push(access.clone());
            }
        }
        for column in &older.labelled {
            if !self.labelled.contains(column) {
                self.labelled.push(column.clone());
            }
        }
        self.labelled.sort();
        for column in &older.computed {
            if !self.computed.contains(column) {
                self.computed.push(column.clone());
            }
        }
        self.computed.sort();
        self.unmaskable = self.unmaskable.or(older.unmaskable);
        if self.statements.len() == older.statements.len() {
            let shapes = self.statements.iter().zip(&older.statements);
            self.statements = shapes.map(|(a, b)| shape(a, b)).collect();
        } else {
            self.statements.clear();
        }
        self.names_relations |= older.names_relations;
        self.unknown_names |= older.unknown_names;
        self.changes_catalog |= older.changes_catalog;
        self.shadowed |= older.shadowed;
        self.summaries.extend(older.summaries.iter().cloned());
        if self.refuse.is_none() {
            self.sqlstate = older.sqlstate;
            self.position = older.position;
            self.refuse.clone_from(&older.refuse);
        }
        if self.summaries.len() > MAX_MEANINGS && self.refuse.is_none() {
            self.sqlstate = POLICY;
            self.position = None;
            self.refuse = Some("this statement has had too many meanings: prepare it again".into());
        }
        self
    }
}

/// Without labels, which are for the bundle to say.
fn names<'r>(relations: impl Iterator<Item = &'r Relation>) -> BTreeSet<(Arc<str>, Arc<str>)> {
    let named = relations.map(|r| (r.schema.clone(), r.name.clone()));
    named.collect()
}

fn facts(now: &SqlFacts, before: &SqlFacts) -> SqlFacts {
    fn both<T: Clone + PartialEq>(a: &[T], b: &[T]) -> Vec<T> {
        let more = b.iter().filter(|item| !a.contains(item));
        a.iter().chain(more).cloned().collect()
    }
    SqlFacts {
        text: now.text.clone(),
        runs: both(&now.runs, &before.runs),
        kind: now.kind.max(before.kind),
        has_where: now.has_where && before.has_where,
        has_limit: now.has_limit && before.has_limit,
        limit: now.limit.filter(|_| now.limit == before.limit),
        multi_statement: now.multi_statement || before.multi_statement,
        touches_catalog: now.touches_catalog || before.touches_catalog,
        writes: now.writes || before.writes,
        locks: now.locks || before.locks,
        only_reads: now.only_reads && before.only_reads,
        parsed: now.parsed && before.parsed,
        read_only_txn: now.read_only_txn,
        reads: both(&now.reads, &before.reads),
        writes_to: both(&now.writes_to, &before.writes_to),
        functions: both(&now.functions, &before.functions),
    }
}

fn shape(now: &StatementShape, before: &StatementShape) -> StatementShape {
    let origins = match (&now.origins, &before.origins) {
        (Some(a), Some(b)) => Some(a.iter().chain(b.iter()).copied().collect()),
        // Nothing was labelled under one of them: what came from where was not noted.
        (a, b) => a.clone().or(b.clone()),
    };
    StatementShape {
        body: Arc::new(Body::OneOf(vec![now.body.clone(), before.body.clone()])),
        late: now.late || before.late,
        origins,
        ..now.clone()
    }
}

impl Summary {
    /// Are relations of the same names behind both?
    pub fn names_the_same(&self, other: &Self) -> bool {
        let of = |s: &Self| names(s.reads.iter().chain(&s.writes_to));
        of(self) == of(other)
    }

    /// Does the server do the same with both, as far as policy and masks are concerned?
    pub fn means_the_same(&self, other: &Self) -> bool {
        self.asks_the_same(other) && self.shape.body == other.shape.body
    }

    /// The same to policy, with the same relations. By views that were replaced meanwhile, the result can
    /// hold other columns all the same.
    pub fn asks_the_same(&self, other: &Self) -> bool {
        self.accesses == other.accesses
            && self.labelled == other.labelled
            && self.computed == other.computed
            && self.functions == other.functions
            && self.shape.origins == other.shape.origins
            && self.unmaskable == other.unmaskable
            && self.foreign == other.foreign
            && self.parses_code == other.parses_code
            && self.changes_catalog == other.changes_catalog
            && self.parsed == other.parsed
            && self.refuse == other.refuse
            && self.tells == other.tells
    }
}
