//! Views: what their columns are made of, from their definitions, once per snapshot.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use super::sets::{ANY, Source};
use super::{NONE, Resolver};
use crate::analysis::walk::only_statement;
use crate::catalog::{Path, Snapshot};

#[derive(Debug, Clone)]
pub(crate) struct ViewColumn {
    pub sources: Arc<[Source]>,
    /// The column of the relation behind it that it is a copy of.
    pub copy_of: Option<Source>,
    /// Computing it cannot fail.
    pub plain: bool,
    /// How many stored values a text can be made of.
    pub weight: u32,
    /// What decides something only where the column is used.
    pub when_used: Arc<[Source]>,
}

#[derive(Debug, Clone)]
pub(crate) struct ViewColumns {
    pub columns: Vec<ViewColumn>,
    /// Columns that decide which rows it has.
    pub decides: Arc<[Source]>,
    /// What of the views and sub-selects behind it is not computed, unless rows are locked.
    pub put_off: Arc<[Source]>,
    /// Something in it is computed whether it is used or not.
    pub fixed: bool,
    /// One of its conditions can fail, or does something besides.
    pub fallible: bool,
}

/// A view's definition, as the server writes it.
#[derive(Debug)]
pub(crate) struct ViewDef {
    pub text: Box<str>,
    columns: OnceLock<Option<ViewColumns>>,
}

impl ViewDef {
    pub fn new(text: &str) -> Self {
        Self {
            text: text.into(),
            columns: OnceLock::new(),
        }
    }

    /// None: it could not be resolved, or nobody has tried.
    pub fn columns(&self) -> Option<&ViewColumns> {
        self.columns.get().and_then(Option::as_ref)
    }
}

impl Snapshot {
    /// Resolves a view and all views behind it, the innermost first, so that none is resolved inside of
    /// another.
    pub(crate) fn resolve_view(&self, index: usize) {
        let is_open = |i: usize| {
            self.relation(i).is_some_and(|r| match &r.view {
                Some(view) => view.columns.get().is_none(),
                // Its policies can look at views.
                None => !r.looked_at.is_empty(),
            })
        };
        if !is_open(index) {
            return;
        }
        let mut seen = HashSet::from([index]);
        let mut stack = vec![(index, false)];
        while let Some((next, ready)) = stack.pop() {
            let Some(info) = self.relation(next) else {
                continue;
            };
            if let (true, Some(view)) = (ready, info.view.as_ref()) {
                view.columns.get_or_init(|| self.view_columns(next));
                continue;
            }
            if info.view.is_some() {
                stack.push((next, true));
            }
            for read in self.leads_to(next) {
                if is_open(read) && seen.insert(read) {
                    stack.push((read, false));
                }
            }
        }
    }

    fn view_columns(&self, index: usize) -> Option<ViewColumns> {
        let info = self.relation(index)?;
        let view = info.view.as_ref()?;
        let tree = pg_raw_parse::parse(&view.text).ok()?;
        let statement = only_statement(&tree)?;
        let mut resolver = Resolver::new(self, Path::Unknown, Some(&info.reads), false);
        let cols = resolver.lazy_query(statement, NONE, NONE);
        if cols.rest.is_some() || cols.head.len() != info.columns.len() {
            return None;
        }
        let known = |set| resolver.sets.get(set);
        let used: Vec<_> = cols.head.iter().map(|c| known(c.val.when_used)).collect();
        let put_off = known(resolver.put_off);
        let (fixed, fallible) = (resolver.fixed, resolver.fallible);
        let resolved = resolver.finish(&cols);
        if resolved.partial || !resolved.unknown.is_empty() {
            return None;
        }
        let parts = resolved.output.head.into_iter().zip(&cols.head).zip(used);
        let columns = parts.map(|((c, col), when_used)| ViewColumn {
            copy_of: c.origin.filter(|_| c.sure && !c.sources.contains(&ANY)),
            sources: c.sources,
            plain: col.val.plain,
            weight: col.val.weight,
            when_used,
        });
        Some(ViewColumns {
            columns: columns.collect(),
            decides: resolved.computed.into(),
            put_off,
            fixed,
            fallible,
        })
    }
}
