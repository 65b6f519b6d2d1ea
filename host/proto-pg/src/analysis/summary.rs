//! From what a walk found to facts, accesses and labelled columns of one statement.

use std::collections::BTreeSet;
use std::sync::Arc;

use pipeline::{Access, Action, Column, LabelSet, Named, Relation, Resource, SqlKind};

use super::Ctx;
use super::ddl::MOVES;
use super::defined::Defined;
pub(super) use super::draft::Draft;
use super::found::{Found, Place, Top};
use super::frees;
use super::inner::{merge, planned};
use super::lineage::Masked;
use super::resolve::{ALL, ANY, CODE, Source};
use super::shape::{Body, CopyKind, StatementShape};
use crate::catalog::{FIRST_USER_OID, LabelIndex, Prepared, Snapshot, family};

pub(crate) const COPIES: &str = "this would store labelled columns, or what is computed from them, \
                                 where no label protects them";

pub(crate) const NO_MASK: &str = "the output of this COPY cannot be masked";

/// What a statement changes in the session's state.
#[derive(Debug, Clone)]
pub(crate) enum Effect {
    /// The search path, or something that could be it.
    Path,
    /// How the server reads texts, or something that could be it.
    Reading,
    /// A transaction ends, and settings may go back to what they were.
    Ends,
    /// The last is the text that PREPARE stands in: the server reads it again whenever names may have
    /// changed their meaning.
    Prepares(Box<str>, Arc<Summary>, Arc<str>),
    /// True: it outlives its transaction.
    Declares(Box<str>, Arc<Summary>, bool),
    /// A prepared text was understood otherwise than before. The server may go on with any of its
    /// meanings: it does not look for relations that have come to stand earlier on the path.
    Means(Box<str>, Prepared),
}

/// One statement, resolved.
#[derive(Debug, Clone)]
pub(crate) struct Summary {
    pub kind: SqlKind,
    pub runs: Vec<Arc<Named>>,
    pub unbounded: bool,
    pub has_limit: bool,
    pub limit: Option<i64>,
    pub touches_catalog: bool,
    pub writes: bool,
    pub locks: bool,
    pub only_reads: bool,
    pub parsed: bool,
    pub reads: BTreeSet<Relation>,
    pub writes_to: BTreeSet<Relation>,
    pub functions: BTreeSet<Arc<str>>,
    pub accesses: Vec<Access>,
    pub labelled: BTreeSet<Column>,
    /// Those of them whose values decide what a client sees.
    pub computed: BTreeSet<Column>,
    pub unmaskable: Option<&'static str>,
    pub shape: StatementShape,
    pub unknown_names: bool,
    pub names_relations: bool,
    pub changes_catalog: bool,
    pub refuse: Option<String>,
    pub effects: Vec<Effect>,
    /// Code that is not PostgreSQL's own runs.
    pub foreign: bool,
    /// Planning can run some of it: all of it but triggers.
    pub plans_code: bool,
    /// So can parsing it: constants of some types are read by it.
    pub parses_code: bool,
    /// A name could come to mean a labelled relation when another one is dropped or renamed.
    pub shadowed: bool,
    /// Nothing labelled is in it anywhere: its errors and notices cannot speak of any.
    pub quiet: bool,
    /// What it sends to those who listen can be anything, labelled values as well.
    pub tells: bool,
    /// Noted where columns are labelled.
    pub defined: Defined,
}

pub(crate) fn finish(draft: Draft, ctx: &Ctx<'_>) -> Summary {
    let index = ctx.snapshot.labelled(ctx.labels, &ctx.target.name);
    let origins = (!index.all.is_empty()).then(|| origins(&draft));
    let found = &draft.found;
    let mut summary = Summary {
        kind: draft.kind,
        runs: draft.runs,
        unbounded: found.unbounded,
        has_limit: draft.has_limit,
        limit: draft.limit,
        touches_catalog: false,
        writes: found.writes && !draft.planned_only,
        locks: found.locks,
        only_reads: false,
        parsed: found.not_understood.is_none(),
        reads: BTreeSet::new(),
        writes_to: BTreeSet::new(),
        functions: BTreeSet::new(),
        accesses: Vec::new(),
        labelled: BTreeSet::new(),
        computed: BTreeSet::new(),
        unmaskable: draft.unmaskable,
        shape: StatementShape {
            kind: draft.kind,
            copy: draft.copy.clone(),
            transaction: draft.transaction,
            body: Arc::new(Body::Nothing),
            late: draft.late,
            origins,
        },
        unknown_names: found.unknown_names,
        // The end of a transaction must always be possible, also when nothing can be looked up.
        names_relations: draft.kind != SqlKind::Transaction && found.names_something(),
        changes_catalog: found.changes_catalog,
        refuse: found.refuse.clone(),
        effects: draft.effects,
        foreign: found.opaque,
        plans_code: found.opaque || found.hidden_code,
        parses_code: found.parses_code,
        shadowed: false,
        quiet: false,
        tells: meets_rules(found, ctx.snapshot),
        defined: Defined::default(),
    };
    if found.sets_path {
        summary.effects.push(Effect::Path);
    }
    if found.sets_reading {
        summary.effects.push(Effect::Reading);
    }
    let builder = Builder { ctx, index: &index };
    let opaque = builder.tables(found, draft.planned_only, &mut summary);
    builder.calls(found, &mut summary);
    builder.rest(found, &mut summary);
    // Also those that are not in reach by name: on the other side of a foreign key.
    let deciding = index.among(ctx.snapshot, &found.computed);
    summary.labelled.extend(deciding);
    if !index.all.is_empty() {
        summary.labelled.extend(told(found, &index, ctx.snapshot));
    }
    let hidden = builder.hidden_code(found, &mut summary) || found.hidden_code;
    summary.foreign |= opaque || hidden;
    summary.plans_code |= opaque;
    if !index.all.is_empty() {
        summary.defined = Defined::of(found, ctx.snapshot, |i| builder.behind(i));
    }
    let elsewhere = builder.elsewhere(found);
    summary.shadowed = elsewhere.is_some();
    if let Some(columns) = elsewhere
        && builder.stores(found, &columns)
    {
        // What is stored cannot be taken back when the name turns out to mean something else.
        summary.labelled.extend(columns);
        summary.unmaskable = summary.unmaskable.or(Some(COPIES));
    }
    for column in frees::labelled(&found.freed, &index, ctx.snapshot) {
        summary.unmaskable = summary.unmaskable.or(Some(MOVES));
        summary.labelled.insert(column);
    }
    if builder.sets_settings(found) {
        let text = "settings are changed by SET or set_config, not through pg_settings";
        summary.refuse.get_or_insert_with(|| text.to_owned());
        summary.effects.push(Effect::Reading);
    }
    if summary.foreign {
        // Whatever its volatility, it can call set_config.
        summary.effects.push(Effect::Path);
    }
    if opaque || found.opaque || draft.everything {
        summary.labelled.extend(index.all.iter().cloned());
    }
    summary.only_reads = !summary.foreign && found.only_reads(draft.kind, draft.transaction);
    for inner in &draft.inner {
        merge(&mut summary, inner, draft.planned_only);
    }
    if summary.accesses.is_empty() {
        summary
            .accesses
            .push(builder.access(Action::PostgresSession, builder.database()));
    }
    builder.new_columns(found, &mut summary);
    let mut labelled: Vec<Column> = summary.labelled.iter().cloned().collect();
    if hidden {
        summary.labelled.extend(index.all.iter().cloned());
        if found.brought() {
            labelled = summary.labelled.iter().cloned().collect();
        }
    }
    if !labelled.is_empty() {
        let mut masked = Masked::new(ctx.snapshot, &labelled);
        if summary.unmaskable.is_none() {
            let stores = masked.stored(&found.sinks).then_some(match draft.copy {
                Some(CopyKind::Out { .. }) => NO_MASK,
                _ => COPIES,
            });
            summary.unmaskable = found.copies.or(stores);
        }
        let computed = computed(found, &labelled, &masked);
        summary.computed.extend(computed);
    }
    summary.tells |= summary.foreign || hidden || summary.unmaskable.is_some();
    // What runs by its name can mean something else by then.
    let by_name = draft.everything || draft.shows_inner;
    let understood = !hidden && !by_name && draft.copy.is_none();
    summary.quiet = understood && is_quiet(found, &draft.inner, &summary, ctx);
    summary.shape.body = match draft.plan {
        Some(columns) => Arc::new(Body::Plan(columns)),
        None => body(draft.found, &draft.inner, draft.shows_inner),
    };
    summary
}

/// The labelled columns whose values decide what a client sees.
fn computed(found: &Found, labelled: &[Column], masked: &Masked<'_>) -> Vec<Column> {
    let anything = |s: &Source| [ANY, CODE, ALL].contains(s);
    if found.anywhere || found.computed.iter().any(anything) {
        return labelled.to_vec();
    }
    let among = masked.among(&found.computed).into_iter();
    among.cloned().collect()
}

/// The labelled columns of which what the server counts tells something, be they in reach or not.
fn told(found: &Found, index: &LabelIndex, snapshot: &Snapshot) -> Vec<Column> {
    let shown = match &found.top {
        Top::Rows(output) => Some(output.sources()),
        Top::Nothing | Top::Unknown => None,
    };
    let kept = found.sinks.iter().map(|s| &*s.sources);
    let shown = shown.into_iter().flatten().chain(kept).flatten();
    let keys = snapshot.keys();
    let mut places: Vec<Source> = Vec::new();
    for source in shown.chain(&found.computed) {
        if *source == ALL {
            return index.all.clone();
        }
        if keys.contains(source) && !places.contains(source) {
            places.push(*source);
        }
    }
    index.among(snapshot, &places)
}

/// A rule does what it wants with what is written.
fn meets_rules(found: &Found, snapshot: &Snapshot) -> bool {
    found.tables.iter().any(|(action, place)| match place {
        Place::Known(index) if *action != Action::PostgresSelect => {
            snapshot.relation(*index).is_none_or(|r| r.ruled)
        }
        _ => false,
    })
}

/// Is nothing labelled in it, nor in what it runs?
fn is_quiet(found: &Found, inner: &[Arc<Summary>], summary: &Summary, ctx: &Ctx<'_>) -> bool {
    if !inner.is_empty() {
        let own = found.tables.is_empty() && found.calls.is_empty() && found.computed.is_empty();
        return own && inner.iter().all(|s| s.quiet);
    }
    let Some(sources) = super::tells::all_of_it(found, summary, ctx.snapshot) else {
        return false;
    };
    let labelled: Vec<Column> = summary.labelled.iter().cloned().collect();
    !Masked::new(ctx.snapshot, &labelled).hits(&sources)
}

/// The relations whose columns the server can name as origins of the result.
fn origins(draft: &Draft) -> Arc<[u32]> {
    let inner = draft
        .inner
        .iter()
        .filter_map(|s| s.shape.origins.as_deref());
    let mut all: Vec<u32> = draft.found.relations.clone();
    all.extend(inner.flatten());
    all.into()
}

fn body(found: Found, inner: &[Arc<Summary>], shows_inner: bool) -> Arc<Body> {
    if shows_inner {
        let bodies = inner.iter().map(|s| s.shape.body.clone());
        let strange = matches!(found.top, Top::Unknown).then(|| Arc::new(Body::Unknown));
        return Arc::new(Body::OneOf(bodies.chain(strange).collect()));
    }
    match found.top {
        Top::Nothing => Arc::new(Body::Nothing),
        Top::Unknown => Arc::new(Body::Unknown),
        Top::Rows(mut output) => {
            if found.anywhere {
                output.distrust();
            }
            Arc::new(Body::Rows(Box::new(output)))
        }
    }
}

struct Builder<'a> {
    ctx: &'a Ctx<'a>,
    index: &'a LabelIndex,
}

impl Builder<'_> {
    fn access(&self, action: Action, resource: Resource) -> Access {
        Access {
            action,
            resource,
            target: Some(self.ctx.target.clone()),
        }
    }

    fn database(&self) -> Resource {
        Resource::PgDatabase {
            database: self.ctx.database.clone(),
        }
    }

    /// True when something in reach can show every labelled column.
    fn tables(&self, found: &Found, planned_only: bool, summary: &mut Summary) -> bool {
        let mut opaque = false;
        let mut done: BTreeSet<(Action, usize)> = BTreeSet::new();
        for (action, place) in &found.tables {
            let action = if planned_only {
                planned(*action)
            } else {
                *action
            };
            match place {
                Place::Unknown { schema, name } => {
                    summary.touches_catalog |= is_catalog(schema);
                    opaque |= &**schema == "pg_toast";
                    let resource = Resource::PgTable {
                        database: self.ctx.database.clone(),
                        schema: schema.clone(),
                        table: name.clone(),
                        known: false,
                        labels: LabelSet::new(),
                    };
                    summary.accesses.push(self.access(action, resource));
                    note(summary, action, schema, name, LabelSet::new());
                }
                Place::Known(index) => {
                    for reached in self.behind(*index) {
                        let action = if reached == *index || !reads_only(self.ctx.snapshot, *index)
                        {
                            action
                        } else {
                            Action::PostgresSelect
                        };
                        if done.insert((action, reached)) {
                            self.table(action, reached, summary);
                        }
                        let info = self.ctx.snapshot.relation(reached);
                        opaque |= info.is_none_or(|r| r.opaque || r.is_leaky());
                    }
                }
            }
        }
        opaque
    }

    /// Does code run that the statement does not name? Notes the labels of the rows that it touches on
    /// the way.
    fn hidden_code(&self, found: &Found, summary: &mut Summary) -> bool {
        let snapshot = self.ctx.snapshot;
        let mut code = false;
        let checked = found.checked.iter().flat_map(|&i| family(snapshot, i));
        for relation in checked {
            let columns = self.index.of(relation).iter();
            summary.labelled.extend(columns.cloned());
        }
        for (action, place) in &found.tables {
            let Place::Known(index) = place else {
                continue;
            };
            let effects = snapshot.write(*index, *action);
            code |= effects.code;
            summary.plans_code |= effects.stored;
            for reached in effects.reached.iter().flat_map(|&i| family(snapshot, i)) {
                let columns = self.index.of(reached).iter();
                summary.labelled.extend(columns.cloned());
            }
            let read = self
                .behind(*index)
                .into_iter()
                .flat_map(|i| family(snapshot, i));
            for hidden in read.filter_map(|i| Some(&snapshot.relation(i)?.hidden)) {
                code |= hidden.policies;
                // The planner computes what is constant in the expressions of indexes, too.
                summary.plans_code |= hidden.policies || hidden.stores;
            }
        }
        code
    }

    /// A column that the snapshot does not have counts as what rules would make of it.
    fn new_columns(&self, found: &Found, summary: &mut Summary) {
        let snapshot = self.ctx.snapshot;
        for (relation, name) in &found.new_columns {
            let all = found.relations.iter();
            for &oid in relation.iter().chain(all.filter(|_| relation.is_none())) {
                let info = snapshot.index_of(oid).and_then(|i| snapshot.relation(i));
                let Some(info) = info.filter(|r| !is_catalog(&r.schema)) else {
                    continue;
                };
                let target = &self.ctx.target.name;
                let labels = self
                    .ctx
                    .labels
                    .labels(target, &info.schema, &info.name, name);
                if !labels.is_empty() {
                    summary.labelled.insert(Column {
                        schema: info.schema.clone(),
                        table: info.name.clone(),
                        column: (&**name).into(),
                        labels,
                    });
                }
            }
        }
    }

    fn table(&self, action: Action, index: usize, summary: &mut Summary) {
        let Some(info) = self.ctx.snapshot.relation(index) else {
            return;
        };
        summary.touches_catalog |= is_catalog(&info.schema);
        let mut labels = LabelSet::new();
        for relation in family(self.ctx.snapshot, index) {
            labels.extend(self.index.union(relation));
            summary
                .labelled
                .extend(self.index.of(relation).iter().cloned());
        }
        note(summary, action, &info.schema, &info.name, labels.clone());
        let resource = Resource::PgTable {
            database: self.ctx.database.clone(),
            schema: info.schema.clone(),
            table: info.name.clone(),
            known: true,
            labels,
        };
        summary.accesses.push(self.access(action, resource));
    }

    /// A relation, and what users' views and rules bring with it. PostgreSQL's own views are taken
    /// as what they are: `pg_roles` hides what `pg_authid` holds.
    fn behind(&self, index: usize) -> BTreeSet<usize> {
        let mut seen = BTreeSet::new();
        let mut queue = vec![index];
        while let Some(next) = queue.pop() {
            if !seen.insert(next) {
                continue;
            }
            if let Some(info) = self.ctx.snapshot.relation(next)
                && info.oid >= FIRST_USER_OID
            {
                queue.extend(&info.reads);
            }
        }
        seen
    }

    /// An UPDATE of `pg_settings` is a SET that nobody could follow.
    fn sets_settings(&self, found: &Found) -> bool {
        let written = found
            .tables
            .iter()
            .filter_map(|(action, place)| match place {
                Place::Known(index) if *action != Action::PostgresSelect => Some(*index),
                _ => None,
            });
        let mut behind = written.flat_map(|index| self.behind(index));
        behind.any(|index| {
            let info = self.ctx.snapshot.relation(index);
            info.is_some_and(|r| &*r.name == "pg_settings" && is_catalog(&r.schema))
        })
    }

    /// The labelled columns that the statement could reach if the names that it gives without their
    /// schema meant other relations; none when it could reach none.
    fn elsewhere(&self, found: &Found) -> Option<BTreeSet<Column>> {
        let snapshot = self.ctx.snapshot;
        let mut columns = BTreeSet::new();
        for reached in found.elsewhere.iter().flat_map(|&i| self.behind(i)) {
            if snapshot
                .relation(reached)
                .is_none_or(|r| r.opaque || r.is_leaky())
            {
                columns.extend(self.index.all.iter().cloned());
            }
            for relation in family(snapshot, reached) {
                columns.extend(self.index.of(relation).iter().cloned());
            }
        }
        (!columns.is_empty()).then_some(columns)
    }

    /// Would the statement store such a column?
    fn stores(&self, found: &Found, columns: &BTreeSet<Column>) -> bool {
        let columns: Vec<Column> = columns.iter().cloned().collect();
        let mut masked = Masked::new(self.ctx.snapshot, &columns);
        masked.stored(&found.sinks_elsewhere)
    }

    fn calls(&self, found: &Found, summary: &mut Summary) {
        for ((schema, name), call) in &found.calls {
            summary.functions.insert(format!("{schema}.{name}").into());
            if call.plain {
                continue;
            }
            let resource = Resource::PgFunction {
                database: self.ctx.database.clone(),
                schema: schema.clone(),
                function: name.clone(),
                known: call.known,
                volatile: call.volatile,
                security_definer: call.security_definer,
                dangerous: call.dangerous,
            };
            summary
                .accesses
                .push(self.access(Action::PostgresCall, resource));
        }
    }

    fn rest(&self, found: &Found, summary: &mut Summary) {
        for (action, schema) in &found.schemas {
            summary.touches_catalog |= is_catalog(schema);
            let resource = Resource::PgSchema {
                database: self.ctx.database.clone(),
                schema: schema.clone(),
            };
            summary.accesses.push(self.access(*action, resource));
        }
        for role in &found.roles {
            let role = Resource::PgRole { role: role.clone() };
            summary
                .accesses
                .push(self.access(Action::PostgresAssumeRole, role));
        }
        for action in &found.database {
            summary.accesses.push(self.access(*action, self.database()));
        }
    }
}

/// An ordinary table with rules: what the rules read is read, not written.
fn reads_only(snapshot: &Snapshot, index: usize) -> bool {
    snapshot.relation(index).is_none_or(|r| !r.is_view())
}

fn is_catalog(schema: &str) -> bool {
    crate::catalog::is_system_schema(schema)
}

fn note(
    summary: &mut Summary,
    action: Action,
    schema: &Arc<str>,
    name: &Arc<str>,
    labels: LabelSet,
) {
    let relation = Relation {
        schema: schema.clone(),
        name: name.clone(),
        labels,
    };
    match action {
        Action::PostgresSelect | Action::PostgresCopyOut => summary.reads.insert(relation),
        _ => summary.writes_to.insert(relation),
    };
}
