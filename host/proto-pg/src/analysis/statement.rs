//! What each kind of statement does. An allow-list: a statement type that is not here is not
//! understood, and a guard refuses it.

use std::sync::Arc;

use pg_raw_parse::raw::{DefElemAction, DiscardMode, TransactionStmtKind, VariableSetKind};
use pg_raw_parse::{ConstValue, Node, nodes};
use pipeline::{Action, SqlKind};

use super::expression::constant;
use super::found::Top;
use super::shape::TxEffect;
use super::summary::{COPIES, Draft, Effect, Summary, finish};
use super::walk::{Out, Walk};
use super::{Ctx, by_name, copy, ddl, settings, tells};
use crate::catalog::{Path, Prepared};

/// Of DECLARE: WITH HOLD (parsenodes.h).
const CURSOR_OPT_HOLD: u32 = 0x0020;
/// DDL inside CREATE SCHEMA, a query inside EXPLAIN inside …: PostgreSQL nests no deeper than this.
const MAX_NESTING: usize = 4;

pub(super) struct Cx<'a> {
    pub ctx: &'a Ctx<'a>,
    pub path: Path<'a>,
    /// Nodes that may still be looked at, over all statements of the text.
    pub budget: usize,
    pub text: Arc<str>,
    /// A prepared text is being read again.
    pub again: bool,
    /// What earlier statements of the text have prepared or declared.
    pub made: Vec<Prepared>,
}

impl<'a> Cx<'a> {
    pub fn walk<'t>(&self) -> Walk<'t, 'a> {
        Walk::new(self.ctx.snapshot, self.path, self.budget)
    }

    /// What a name can stand for that the text itself has made: of statements and cursors alike, for one
    /// of the other kind is no more than one too many.
    pub fn made(&self, name: &str) -> Vec<Prepared> {
        let made = self.made.iter().filter(|m| &*m.named.name == name);
        made.cloned().collect()
    }

    /// Ends a walk.
    pub fn done(&mut self, walk: Walk<'_, '_>, kind: SqlKind) -> Draft {
        self.budget = walk.budget;
        Draft::new(kind, walk.found)
    }
}

pub(super) fn summarize(node: Node<'_>, cx: &mut Cx<'_>, depth: usize) -> Summary {
    let draft = draft(node, cx, depth);
    finish(draft, cx.ctx)
}

fn draft<'t>(node: Node<'t>, cx: &mut Cx<'_>, depth: usize) -> Draft {
    if depth > MAX_NESTING {
        let mut walk = cx.walk();
        walk.odd("a statement inside statements");
        return cx.done(walk, SqlKind::Unknown);
    }
    match node {
        Node::SelectStmt(s) => select(node, s, cx),
        Node::InsertStmt(_) => query(node, SqlKind::Insert, cx),
        Node::UpdateStmt(_) => query(node, SqlKind::Update, cx),
        Node::DeleteStmt(_) => query(node, SqlKind::Delete, cx),
        Node::MergeStmt(_) => query(node, SqlKind::Merge, cx),
        Node::CopyStmt(s) => copy::copy(s, cx),
        Node::TransactionStmt(s) => transaction(s, cx),
        Node::VariableSetStmt(s) => set(s, cx),
        Node::VariableShowStmt(_)
        | Node::ClosePortalStmt(_)
        | Node::DeallocateStmt(_)
        | Node::UnlistenStmt(_) => cx_session(cx),
        Node::ConstraintsSetStmt(_) => {
            let mut draft = cx_session(cx);
            ddl::deferred(&mut draft.found, cx.ctx.snapshot);
            draft
        }
        Node::DiscardStmt(s) => {
            let mut draft = cx_session(cx);
            if s.target == DiscardMode::DISCARD_ALL || s.target == DiscardMode::DISCARD_TEMP {
                draft.effects.extend([Effect::Path, Effect::Reading]);
            }
            draft
        }
        Node::PrepareStmt(s) => {
            let inner = Arc::new(summarize(s.query(), cx, depth + 1));
            let name: Box<str> = s.name().unwrap_or_default().into();
            let mut walk = cx.walk();
            walk.found.database.insert(Action::PostgresSession);
            // Arguments are cast to these when it is executed.
            for argument in s.argtypes() {
                walk.expressions(Node::TypeName(argument));
            }
            if walk.found.opaque {
                walk.found.copies =
                    Some("arguments of such a type run code that can read anything");
            }
            let mut draft = cx.done(walk, SqlKind::Session);
            draft.found.refuse = own_name(&name);
            let prepares = Effect::Prepares(name, inner.clone(), cx.text.clone());
            draft.effects.push(prepares);
            draft.inner.push(inner);
            draft
        }
        Node::DeclareCursorStmt(s) => {
            let inner = Arc::new(summarize(s.query(), cx, depth + 1));
            let name: Box<str> = s.portalname().unwrap_or_default().into();
            let mut draft = cx_session(cx);
            draft.found.refuse = own_name(&name);
            let holds = i64::from(s.options) & i64::from(CURSOR_OPT_HOLD) != 0;
            draft
                .effects
                .push(Effect::Declares(name, inner.clone(), holds));
            draft.inner.push(inner);
            draft
        }
        Node::ExecuteStmt(s) => by_name::execute(s, cx, depth),
        Node::FetchStmt(s) => by_name::fetch(s, cx, depth),
        Node::ExplainStmt(s) => explain(s, cx, depth),
        Node::CallStmt(s) => call(s, cx),
        Node::DoStmt(_) => {
            let mut walk = cx.walk();
            walk.odd("DO");
            walk.found.writes = true;
            walk.found.opaque = true;
            walk.found.sets_path = true;
            walk.found.database.insert(Action::PostgresUtility);
            walk.found.copies = Some(COPIES);
            cx.done(walk, SqlKind::Call)
        }
        Node::CreateTableAsStmt(s) => create_as(s, cx, depth),
        _ => ddl::draft(node, cx, depth),
    }
}

/// Names of the proxy's own statements and portals.
fn own_name(name: &str) -> Option<String> {
    let own = name.as_bytes().starts_with(crate::upstream::OWN_PREFIX);
    own.then(|| "names with this prefix belong to Weir".to_owned())
}

pub(super) fn cx_session(cx: &mut Cx<'_>) -> Draft {
    let mut walk = cx.walk();
    walk.found.database.insert(Action::PostgresSession);
    cx.done(walk, SqlKind::Session)
}

fn query<'t>(node: Node<'t>, kind: SqlKind, cx: &mut Cx<'_>) -> Draft {
    let mut walk = cx.walk();
    walk.query(node, Out::Top);
    let (target, reads) = match node {
        Node::InsertStmt(s) => (s.relation(), s.returning_clause().is_some()),
        Node::UpdateStmt(s) => (
            s.relation(),
            s.returning_clause().is_some() || !matches!(s.where_clause(), Node::None),
        ),
        Node::DeleteStmt(s) => (
            s.relation(),
            s.returning_clause().is_some() || !matches!(s.where_clause(), Node::None),
        ),
        Node::MergeStmt(s) => (s.relation(), true),
        _ => (None, false),
    };
    if let (Some(target), true) = (target, reads) {
        for place in walk.places(target) {
            walk.found.tables.insert((Action::PostgresSelect, place));
        }
    }
    let mut draft = cx.done(walk, kind);
    draft.late = false;
    draft
}

fn select<'t>(node: Node<'t>, s: &'t nodes::SelectStmt, cx: &mut Cx<'_>) -> Draft {
    if let Some(into) = into_clause(s) {
        let mut walk = cx.walk();
        walk.query(node, Out::Sink);
        ddl::creates(&mut walk, into.rel());
        return cx.done(walk, SqlKind::Ddl);
    }
    let mut draft = query(node, SqlKind::Select, cx);
    if draft.found.tables.iter().any(|(action, _)| writes(*action)) {
        // A data-modifying CTE.
        draft.kind = kind_of_writes(&draft);
    }
    if let Node::A_Const(limit) = s.limit_count() {
        draft.limit = match limit.val() {
            Some(ConstValue::Integer(n)) => Some(i64::from(n)),
            Some(ConstValue::Float(text)) => text.parse().ok(),
            _ => None,
        };
    }
    // LIMIT ALL is a NULL constant.
    draft.has_limit = match s.limit_count() {
        Node::None => false,
        Node::A_Const(c) => c.val().is_some(),
        _ => true,
    };
    draft
}

/// INTO stands in the leftmost arm of a set operation.
fn into_clause(s: &nodes::SelectStmt) -> Option<&nodes::IntoClause> {
    let mut arm = s;
    loop {
        if let Some(into) = arm.into_clause() {
            return Some(into);
        }
        arm = arm.larg()?;
    }
}

fn writes(action: Action) -> bool {
    matches!(
        action,
        Action::PostgresInsert
            | Action::PostgresUpdate
            | Action::PostgresMerge
            | Action::PostgresDelete
    )
}

fn kind_of_writes(draft: &Draft) -> SqlKind {
    let kinds = draft.found.tables.iter().map(|(action, _)| match action {
        Action::PostgresInsert => SqlKind::Insert,
        Action::PostgresUpdate => SqlKind::Update,
        Action::PostgresMerge => SqlKind::Merge,
        Action::PostgresDelete => SqlKind::Delete,
        _ => SqlKind::Select,
    });
    kinds.max().unwrap_or(SqlKind::Select)
}

fn transaction(s: &nodes::TransactionStmt, cx: &mut Cx<'_>) -> Draft {
    let mut draft = cx_session(cx);
    draft.kind = SqlKind::Transaction;
    // What it changed, somebody else may have begun.
    draft.found.changes_catalog = s.kind == TransactionStmtKind::TRANS_STMT_COMMIT_PREPARED;
    if matches!(
        s.kind,
        TransactionStmtKind::TRANS_STMT_PREPARE
            | TransactionStmtKind::TRANS_STMT_COMMIT_PREPARED
            | TransactionStmtKind::TRANS_STMT_ROLLBACK_PREPARED
    ) {
        // It outlives the session, or ends what another has begun: whatever that is.
        draft.found.database = [Action::PostgresUtility].into();
        draft.found.writes = true;
    }
    let (effect, ends) = match s.kind {
        TransactionStmtKind::TRANS_STMT_BEGIN | TransactionStmtKind::TRANS_STMT_START => {
            let read_only = read_only(s.options());
            (TxEffect::Begin { read_only }, false)
        }
        TransactionStmtKind::TRANS_STMT_COMMIT
        | TransactionStmtKind::TRANS_STMT_PREPARE
        | TransactionStmtKind::TRANS_STMT_COMMIT_PREPARED => (TxEffect::Commit, true),
        TransactionStmtKind::TRANS_STMT_ROLLBACK
        | TransactionStmtKind::TRANS_STMT_ROLLBACK_PREPARED => (TxEffect::Rollback, true),
        _ => (TxEffect::Savepoint, true),
    };
    draft.transaction = Some(effect);
    if matches!(effect, TxEffect::Commit) {
        ddl::deferred(&mut draft.found, cx.ctx.snapshot);
    }
    if ends {
        draft.effects.push(Effect::Ends);
    }
    draft
}

fn read_only(options: &pg_raw_parse::list::NodeList) -> Option<bool> {
    let mut read_only = None;
    for option in options {
        if let Node::DefElem(option) = option
            && option.defname() == Some("transaction_read_only")
            && let Node::A_Const(value) = option.arg()
        {
            read_only = match value.val() {
                Some(ConstValue::Integer(n)) => Some(n != 0),
                Some(ConstValue::Boolean(b)) => Some(b),
                _ => None,
            };
        }
    }
    read_only
}

fn set(s: &nodes::VariableSetStmt, cx: &mut Cx<'_>) -> Draft {
    let mut draft = cx_session(cx);
    let name = s.name().unwrap_or_default();
    match s.kind {
        VariableSetKind::VAR_SET_VALUE => {
            let args: Vec<Option<&str>> = s.args().iter().map(constant).collect();
            let value = match args.as_slice() {
                [one] => *one,
                _ => None,
            };
            draft.found.refuse = settings::refuse(name, value);
            let role = value.and_then(|value| settings::role(name, value));
            draft.found.roles.extend(role.map(Into::into));
        }
        VariableSetKind::VAR_SET_MULTI => {
            draft.transaction = Some(TxEffect::Set {
                read_only: read_only(s.args()),
            });
        }
        // Back to what the connection started with, which is what is pinned.
        _ => {}
    }
    let all = s.kind == VariableSetKind::VAR_RESET_ALL;
    if all || name.eq_ignore_ascii_case("search_path") || settings::is_role(name) {
        draft.effects.push(Effect::Path);
    }
    if all || settings::is_reading(name) {
        draft.effects.push(Effect::Reading);
    }
    draft
}

fn explain(s: &nodes::ExplainStmt, cx: &mut Cx<'_>, depth: usize) -> Draft {
    let inner = Arc::new(summarize(s.query(), cx, depth + 1));
    let mut runs = false;
    let walk = cx.walk();
    for option in s.options() {
        let off = match option.arg() {
            Node::String(v) => {
                let v = v.sval().unwrap_or_default().to_ascii_lowercase();
                matches!(v.as_str(), "off" | "false")
            }
            Node::Boolean(b) => !b.boolval,
            Node::Integer(i) => i.ival == 0,
            _ => false,
        };
        if option.defname() == Some("analyze") && option.defaction == DefElemAction::DEFELEM_UNSPEC
        {
            // Given twice, the last counts; if one of them says on, it is on here.
            runs |= !off;
        }
    }
    let mut draft = cx.done(walk, if runs { inner.kind } else { SqlKind::Select });
    // Plans show estimates, filters and, analysed, counts.
    draft.found.top = Top::Unknown;
    draft.planned_only = !runs;
    draft.plan = tells::plan(s.query(), &inner, cx);
    // Planning, too, makes the server read a prepared text again.
    let effects = inner.effects.iter();
    let kept = effects.filter(|e| runs || matches!(e, Effect::Means(..)));
    draft.effects = kept.cloned().collect();
    draft.found.changes_catalog = runs && inner.changes_catalog;
    draft.inner.push(inner);
    draft
}

fn call(s: &nodes::CallStmt, cx: &mut Cx<'_>) -> Draft {
    let mut walk = cx.walk();
    if let Some(call) = s.funccall() {
        walk.expressions(Node::FuncCall(call));
    }
    walk.found.writes = true;
    walk.found.sets_path = true;
    walk.found.opaque = true;
    walk.found.top = Top::Unknown;
    cx.done(walk, SqlKind::Call)
}

fn create_as(s: &nodes::CreateTableAsStmt, cx: &mut Cx<'_>, depth: usize) -> Draft {
    let inner = match s.query() {
        node @ Node::SelectStmt(_) => {
            let mut walk = cx.walk();
            walk.query(node, Out::Sink);
            ddl::creates(&mut walk, s.into().and_then(|i| i.rel()));
            return cx.done(walk, SqlKind::Ddl);
        }
        other => Arc::new(summarize(other, cx, depth + 1)),
    };
    let mut walk = cx.walk();
    ddl::creates(&mut walk, s.into().and_then(|i| i.rel()));
    let mut draft = cx.done(walk, SqlKind::Ddl);
    if !inner.labelled.is_empty() {
        draft.unmaskable = Some(COPIES);
    }
    draft.effects = inner.effects.clone();
    draft.inner.push(inner);
    draft
}
