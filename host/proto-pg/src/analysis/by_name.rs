//! What runs something by its name: EXECUTE and FETCH.
//!
//! A prepared text is read again by the server when names may have changed their meaning; an open
//! cursor goes on with what was meant when it was opened. Labels, though, are those of now for both.

use std::sync::Arc;

use pg_raw_parse::{Node, nodes};
use pipeline::SqlKind;

use super::found::Top;
use super::statement::{Cx, cx_session, summarize};
use super::summary::{Draft, Effect, Summary, finish};
use crate::catalog::{Prepared, Rest};

pub(super) fn execute(s: &nodes::ExecuteStmt, cx: &mut Cx<'_>, depth: usize) -> Draft {
    let name = s.name().unwrap_or_default();
    let mut walk = cx.walk();
    for param in s.params() {
        walk.expressions(param);
    }
    let mut remembered = cx.ctx.state.prepared(name);
    remembered.meanings.extend(cx.made(name));
    let mut lost = false;
    let mut known = Vec::new();
    let mut meant_now = Vec::new();
    for prepared in &remembered.meanings {
        let now = again(name, prepared, cx, depth);
        match relabelled(prepared, &now, cx) {
            Relabelled::Replaces => {}
            // Of the same relations the server goes by what they are now.
            Relabelled::No => known.push(match now.as_slice() {
                [one] if prepared.summary.asks_the_same(one) => prepared.meaning(one.clone()),
                _ => prepared.clone(),
            }),
            Relabelled::Lost => {
                lost = true;
                known.push(prepared.clone());
            }
        }
        meant_now.extend(now.into_iter().map(|summary| prepared.meaning(summary)));
    }
    let mut effects = Vec::new();
    for now in meant_now {
        let mut all = known.iter();
        if !all.any(|k: &Prepared| k.summary.means_the_same(&now.summary)) {
            effects.push(Effect::Means(name.into(), now.clone()));
            known.push(now);
        }
    }
    if known.is_empty() || remembered.rest == Rest::Forgotten {
        // It could be any statement, and it runs.
        walk.odd("EXECUTE of an unknown statement");
    }
    let mut draft = cx.done(walk, SqlKind::Session);
    draft.effects = effects;
    runs(&mut draft, known);
    if remembered.rest == Rest::Foreign {
        shows_anything(&mut draft);
    }
    if lost {
        computes_anything(&mut draft);
    }
    draft
}

/// What became of a meaning that was understood by other labels than there are now.
enum Relabelled {
    /// It was understood by these.
    No,
    /// What it means now is what it meant, with the labels of now.
    Replaces,
    /// Names have changed, too: what the labels of now say of what was meant then cannot be told.
    Lost,
}

fn relabelled(then: &Prepared, now: &[Arc<Summary>], cx: &Cx<'_>) -> Relabelled {
    if !cx.ctx.state.is_relabelled(then) {
        return Relabelled::No;
    }
    let mut all = now.iter();
    let same = all.all(|s| s.parsed && !s.unknown_names && s.names_the_same(&then.summary));
    match same && !now.is_empty() {
        true => Relabelled::Replaces,
        false => Relabelled::Lost,
    }
}

/// It shows what it shows, and which rows that are can hang on any labelled column.
fn computes_anything(draft: &mut Draft) {
    shows_anything(draft);
    draft.found.anywhere = true;
}

/// Code of its own can have put something else under the name. What that does, the code could have
/// done as well; what it shows must not be seen.
fn shows_anything(draft: &mut Draft) {
    draft.everything = true;
    draft.found.top = Top::Unknown;
}

/// What a prepared text means now: the server may read it again when names have changed their
/// meaning. It cannot always be told; then it is not understood.
fn again(name: &str, prepared: &Prepared, cx: &mut Cx<'_>, depth: usize) -> Vec<Arc<Summary>> {
    let text = &prepared.named.text;
    let unknown = |cx: &mut Cx<'_>| {
        let mut walk = cx.walk();
        walk.odd("EXECUTE of a statement that cannot be read again");
        let draft = cx.done(walk, SqlKind::Unknown);
        vec![Arc::new(finish(draft, cx.ctx))]
    };
    // An EXECUTE that runs an EXECUTE is nobody's habit, and could run itself.
    let cost = text.len() / 8;
    if cx.again || cx.budget < cost {
        return unknown(cx);
    }
    cx.budget -= cost;
    let Ok(tree) = pg_raw_parse::parse(text) else {
        return unknown(cx);
    };
    cx.again = true;
    let mut found = Vec::new();
    for stmt in tree.stmts() {
        match stmt {
            node if prepared.whole => found.push(summarize(node, cx, depth + 1)),
            Node::PrepareStmt(s) if s.name() == Some(name) => {
                found.push(summarize(s.query(), cx, depth + 1));
            }
            Node::DeclareCursorStmt(s) if s.portalname() == Some(name) => {
                found.push(summarize(s.query(), cx, depth + 1));
            }
            _ => {}
        }
    }
    cx.again = false;
    found.into_iter().map(Arc::new).collect()
}

/// A cursor goes on with what its names meant when it was opened; but labels are those of now.
pub(super) fn fetch(s: &nodes::FetchStmt, cx: &mut Cx<'_>, depth: usize) -> Draft {
    let mut draft = cx_session(cx);
    let name = s.portalname().unwrap_or_default();
    let mut remembered = cx.ctx.state.cursor(name);
    remembered.meanings.extend(cx.made(name));
    if remembered.rest == Rest::Forgotten {
        let mut walk = cx.walk();
        walk.odd("FETCH from a cursor that is not remembered");
        return cx.done(walk, SqlKind::Unknown);
    }
    let mut lost = false;
    let mut known = Vec::new();
    for meaning in remembered.meanings {
        if !cx.ctx.state.is_relabelled(&meaning) {
            known.push(meaning);
            continue;
        }
        let now = again(name, &meaning, cx, depth);
        if matches!(relabelled(&meaning, &now, cx), Relabelled::Lost) {
            lost = true;
            known.push(meaning.clone());
        }
        known.extend(now.into_iter().map(|summary| meaning.meaning(summary)));
    }
    if !known.is_empty() {
        runs(&mut draft, known);
    }
    if remembered.rest == Rest::Foreign {
        shows_anything(&mut draft);
    }
    if lost {
        computes_anything(&mut draft);
    }
    draft
}

/// The statement is one of these.
fn runs(draft: &mut Draft, known: Vec<Prepared>) {
    let kinds = known.iter().map(|k| k.summary.kind);
    draft.kind = kinds.max().unwrap_or(SqlKind::Unknown);
    for Prepared { summary, named, .. } in known {
        draft.effects.extend(summary.effects.iter().cloned());
        draft.found.changes_catalog |= summary.changes_catalog;
        draft.has_limit = summary.has_limit;
        draft.limit = summary.limit;
        draft.inner.push(summary);
        if !draft.runs.contains(&named) {
            draft.runs.push(named);
        }
    }
    draft.shows_inner = true;
}
