//! What one SQL text does: facts, accesses, labelled columns in reach, and the shape of each result.
//!
//! PostgreSQL's own grammar makes the raw tree; an iterative, bounded walk with an allow-list of node
//! types reads it. Whatever is not understood makes `facts.parsed` false, and a guard refuses it.
//!
//! Place in the flow: the wire half calls [`analyse`] before it decides, and asks the
//! [`StatementShape`] of each statement which fields of its result need masking.
//!
//! Architecture invariant: nothing here talks to a server; the same text, snapshot, state and labels
//! give the same analysis.

mod by_name;
mod changes;
mod command;
mod conditions;
mod copy;
mod ddl;
mod defined;
mod draft;
mod expression;
mod found;
mod frees;
pub(crate) mod functions;
mod inner;
mod lex;
mod lineage;
mod names;
mod place;
pub(crate) mod resolve;
mod searchable;
mod settings;
mod shape;
mod statement;
mod stored;
mod summary;
mod symbols;
mod telling;
mod tells;
#[cfg(test)]
mod tests;
mod union;
pub(crate) mod walk;
mod weight;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use pipeline::{
    Access, Action, Column, LabelCatalog, Named, Relation, Resource, SqlFacts, SqlKind, Target,
};

use crate::catalog::{Prepared, SessionState, Snapshot};

pub(crate) use command::{Command, Over};
pub(crate) use defined::Defined;
pub use searchable::{Words, searchable};
pub(crate) use settings::refuse as pinned;
pub use shape::{CopyKind, CopyStyle, Field, StatementShape, Taint, TxEffect};
pub(crate) use summary::{Effect, Summary};

/// Bounds of the work that one text may cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of SQL text. A tree of sums takes about a hundred times its text: half a gigabyte for
    /// 4 MiB, and less than two for 16.
    pub max_text: usize,
    /// Nodes of the raw tree that are looked at.
    pub max_nodes: usize,
    /// Statements in one text.
    pub max_statements: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_text: 4 << 20,
            max_nodes: 1_000_000,
            max_statements: 1_000,
        }
    }
}

/// Everything an analysis depends on.
#[derive(Clone, Copy)]
pub struct Ctx<'a> {
    pub snapshot: &'a Snapshot,
    pub state: &'a SessionState,
    pub labels: &'a LabelCatalog,
    pub target: &'a Arc<Target>,
    pub database: &'a Arc<str>,
    pub read_only_txn: bool,
    /// Policy is indifferent to what the text means, and nothing is under way that could change how the
    /// server reads it: its settings are what it last reported.
    pub settled: bool,
    pub limits: &'a Limits,
}

/// What one text does.
#[derive(Debug, Clone)]
pub struct Analysis {
    /// Merged over all statements of the text.
    pub facts: Arc<SqlFacts>,
    /// Never empty.
    pub accesses: Vec<Access>,
    /// Labelled columns that can flow into any result or error text.
    pub labelled: Vec<Column>,
    /// Those of them whose values decide what a client sees: which rows there are, in which order, and
    /// whether there is an error. See `pipeline::Request::computed`.
    pub computed: Vec<Column>,
    /// See `pipeline::Request::unmaskable`.
    pub unmaskable: Option<&'static str>,
    /// One per statement: the i-th result of a simple query.
    pub statements: Vec<StatementShape>,
    /// A name is not in the snapshot: refresh it once and analyse again.
    pub unknown_names: bool,
    /// The text, or a statement inside of it, names what is looked up in the catalogue: what that is has
    /// to be known as it is now.
    pub names_relations: bool,
    /// DDL: the snapshot is stale once this ran.
    pub changes_catalog: bool,
    /// Refused whatever policy says; the client may read the text.
    pub refuse: Option<String>,
    /// The SQLSTATE that goes with `refuse`: PostgreSQL's own where it would refuse the text, too.
    pub sqlstate: &'static str,
    /// The character of the text that `refuse` is about, counted from one, where PostgreSQL's own parser
    /// says.
    pub position: Option<u32>,
    /// When the catalogue changes while it runs, it can read labelled columns that are not listed.
    pub shadowed: bool,
    /// It passes although it was not understood: the server may answer with whatever it likes.
    pub anything: bool,
    /// Nothing labelled is in it anywhere, whatever it can mean.
    quiet: bool,
    pub(crate) summaries: Vec<Arc<Summary>>,
    /// One per statement, as far as they are known.
    pub(crate) commands: Vec<Command>,
}

/// Refusals that are ours, not PostgreSQL's: insufficient_privilege.
const POLICY: &str = "42501";
/// Of limits: program_limit_exceeded.
const LIMIT: &str = "54000";

impl Analysis {
    /// Policy is proven to be indifferent to what the text means: what would be refused only because
    /// it cannot be followed passes, and the server has the word. A limit stays a limit.
    pub(crate) fn lift(&mut self) {
        if self.refuse.is_some() && self.sqlstate == LIMIT {
            return;
        }
        self.refuse = None;
        self.unmaskable = None;
        self.anything = self.statements.is_empty() && self.facts.kind == SqlKind::Unknown;
    }
}

/// A text that this session's settings make the server read otherwise than it is read here.
pub(crate) fn unread(sql: &[u8], ctx: &Ctx<'_>) -> Analysis {
    if sql.len() > ctx.limits.max_text {
        return analyse(sql, ctx);
    }
    opaque(sql, ctx, None)
}

/// Total: what cannot be resolved gives `facts.parsed = false` or `known = false`.
pub fn analyse(sql: &[u8], ctx: &Ctx<'_>) -> Analysis {
    let text = match lex::check(sql, ctx.limits.max_text, ctx.settled) {
        Ok(text) => text,
        Err(error) => {
            let unfit = Unfit::new(error.sqlstate(), error.to_string());
            return opaque(sql, ctx, Some(unfit));
        }
    };
    // The tree's accessors panic on a node type that the C headers do not announce. None is known;
    // if there is one, the statement counts as not understood.
    let result = catch_unwind(AssertUnwindSafe(|| analyse_text(text, ctx)));
    match result {
        Ok(Ok(analysis)) => analysis,
        Ok(Err(refusal)) => opaque(sql, ctx, Some(refusal)),
        Err(_) => {
            tracing::error!("the analysis of a statement panicked; it counts as not understood");
            opaque(sql, ctx, None)
        }
    }
}

/// Why a text is refused, in words that the client may read.
struct Unfit {
    sqlstate: &'static str,
    text: String,
    position: Option<u32>,
}

impl Unfit {
    fn new(sqlstate: &'static str, text: String) -> Self {
        Self {
            sqlstate,
            text,
            position: None,
        }
    }
}

fn analyse_text(text: &str, ctx: &Ctx<'_>) -> Result<Analysis, Unfit> {
    let tree = pg_raw_parse::parse(text).map_err(|e| match e {
        pg_raw_parse::Error::Parse(e) => {
            let message = e.to_string();
            Unfit {
                position: place::of_error(text, &message),
                ..Unfit::new("42601", message)
            }
        }
        _ => Unfit::new(POLICY, "the statement could not be parsed".to_owned()),
    })?;
    let mut cx = statement::Cx {
        ctx,
        path: ctx.state.path(),
        budget: ctx.limits.max_nodes,
        text: text.into(),
        again: false,
        made: Vec::new(),
    };
    let mut summaries = Vec::new();
    let mut commands = Vec::new();
    for stmt in tree.stmts() {
        if summaries.len() >= ctx.limits.max_statements {
            let limit = ctx.limits.max_statements;
            let text = format!("the text has more than {limit} statements");
            return Err(Unfit::new(LIMIT, text));
        }
        commands.push(command::command(stmt));
        let summary = statement::summarize(stmt, &mut cx, 0);
        let mut effects = summary.effects.iter();
        let sets_path = effects.any(|e| matches!(e, Effect::Path | Effect::Ends));
        let moves = sets_path || summary.changes_catalog;
        let made = summary.effects.iter();
        let made = made.filter_map(|effect| Prepared::by(effect, &cx.text));
        cx.made
            .extend(made.map(|meaning| ctx.state.stamped(meaning)));
        summaries.push(Arc::new(summary));
        if moves {
            // The statements behind it run under another path, or find other relations on it.
            cx.path = crate::catalog::Path::Unknown;
        }
    }
    Ok(Analysis {
        commands,
        ..merge(text, summaries, ctx)
    })
}

fn merge(text: &str, summaries: Vec<Arc<Summary>>, ctx: &Ctx<'_>) -> Analysis {
    let one = match summaries.as_slice() {
        [one] => Some(one),
        _ => None,
    };
    let any = |f: fn(&Summary) -> bool| summaries.iter().any(|s| f(s));
    let functions: BTreeSet<Arc<str>> = summaries
        .iter()
        .flat_map(|s| s.functions.iter().cloned())
        .collect();
    let mut runs: Vec<Named> = Vec::new();
    for named in summaries.iter().flat_map(|s| &s.runs) {
        if !runs.contains(named) {
            runs.push((**named).clone());
        }
    }
    let facts = SqlFacts {
        text: text.into(),
        runs,
        kind: summaries
            .iter()
            .map(|s| s.kind)
            .max()
            .unwrap_or(SqlKind::Empty),
        has_where: !any(|s| s.unbounded),
        has_limit: one.is_some_and(|s| s.has_limit),
        limit: one.and_then(|s| s.limit),
        multi_statement: summaries.len() > 1,
        touches_catalog: any(|s| s.touches_catalog),
        writes: any(|s| s.writes),
        locks: any(|s| s.locks),
        only_reads: !summaries.is_empty() && !any(|s| !s.only_reads),
        parsed: !any(|s| !s.parsed),
        read_only_txn: ctx.read_only_txn,
        reads: relations(&summaries, |s| &s.reads),
        writes_to: relations(&summaries, |s| &s.writes_to),
        functions: functions.into_iter().collect(),
    };
    let mut accesses: Vec<Access> = Vec::new();
    let mut labelled: BTreeSet<Column> = BTreeSet::new();
    let mut computed: BTreeSet<Column> = BTreeSet::new();
    for summary in &summaries {
        for access in &summary.accesses {
            if !accesses.contains(access) {
                accesses.push(access.clone());
            }
        }
        labelled.extend(summary.labelled.iter().cloned());
        computed.extend(summary.computed.iter().cloned());
    }
    if accesses.is_empty() {
        accesses.push(on_database(Action::PostgresSession, ctx));
    }
    let labels = ctx.labels.reaches(&ctx.target.name);
    let not_mixed = mixed_copy(&summaries).filter(|_| labels);
    Analysis {
        facts: Arc::new(facts),
        accesses,
        labelled: labelled.into_iter().collect(),
        computed: computed.into_iter().collect(),
        unmaskable: summaries.iter().find_map(|s| s.unmaskable),
        statements: summaries.iter().map(|s| s.shape.clone()).collect(),
        unknown_names: any(|s| s.unknown_names),
        names_relations: any(|s| s.names_relations),
        shadowed: any(|s| s.shadowed),
        quiet: !summaries.is_empty() && summaries.iter().all(|s| s.quiet),
        anything: false,
        changes_catalog: any(|s| s.changes_catalog),
        refuse: summaries
            .iter()
            .find_map(|s| s.refuse.clone())
            .or(not_mixed),
        sqlstate: POLICY,
        position: None,
        summaries,
        commands: Vec::new(),
    }
}

/// Names that an earlier statement of the text makes are not in the snapshot; nothing to do about it
/// here. But two transfers of raw data in one text would need results that cannot be told apart; who
/// has nothing to mask need not.
fn mixed_copy(summaries: &[Arc<Summary>]) -> Option<String> {
    let transfers = summaries.iter().filter(|s| s.shape.copy.is_some()).count();
    (transfers > 1).then(|| "send each COPY as a statement of its own".to_owned())
}

fn relations(
    summaries: &[Arc<Summary>],
    of: impl Fn(&Summary) -> &BTreeSet<Relation>,
) -> Vec<Relation> {
    let all: BTreeSet<Relation> = summaries
        .iter()
        .flat_map(|s| of(s).iter().cloned())
        .collect();
    all.into_iter().collect()
}

fn on_database(action: Action, ctx: &Ctx<'_>) -> Access {
    Access {
        action,
        resource: Resource::PgDatabase {
            database: ctx.database.clone(),
        },
        target: Some(ctx.target.clone()),
    }
}

/// Bytes that are no UTF-8 are shown as what they are: two texts must not look alike on the record.
fn legible(sql: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(sql.len());
    for chunk in sql.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

fn opaque(sql: &[u8], ctx: &Ctx<'_>, unfit: Option<Unfit>) -> Analysis {
    let (sqlstate, refuse, position) = match unfit {
        Some(unfit) => (unfit.sqlstate, Some(unfit.text), unfit.position),
        None => (POLICY, None, None),
    };
    let shown = sql.get(..ctx.limits.max_text).unwrap_or(sql);
    let text: Arc<str> = legible(shown).into();
    let index = ctx.snapshot.labelled(ctx.labels, &ctx.target.name);
    Analysis {
        facts: Arc::new(SqlFacts {
            read_only_txn: ctx.read_only_txn,
            ..SqlFacts::opaque(text)
        }),
        accesses: vec![on_database(Action::PostgresUtility, ctx)],
        labelled: index.all.clone(),
        computed: index.all.clone(),
        unmaskable: Some("a statement that is not understood cannot be masked"),
        statements: Vec::new(),
        unknown_names: false,
        names_relations: true,
        changes_catalog: true,
        shadowed: ctx.labels.reaches(&ctx.target.name),
        quiet: false,
        anything: false,
        refuse,
        sqlstate,
        position,
        summaries: Vec::new(),
        commands: Vec::new(),
    }
}
