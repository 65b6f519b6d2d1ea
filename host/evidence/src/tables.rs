//! Tables that count what leaves say: grants, masking, policies, plugins.

use std::collections::BTreeMap;

use crate::csv::{list, row};
use crate::leaf::Leaf;

/// The most rows of a counted table: more would not be read by people, and has to fit into memory.
pub const MAX_GROUPS: usize = 200_000;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file} would have more than {MAX_GROUPS} rows; choose a shorter window or fewer targets")]
pub struct TooManyGroups {
    pub file: &'static str,
}

/// How often, first and last; not at all, where a hold alone says it.
#[derive(Default)]
struct Seen {
    count: u64,
    first: String,
    last: String,
}

/// A table whose rows are told apart by these cells.
struct Table {
    file: &'static str,
    head: &'static [&'static str],
    rows: BTreeMap<Vec<String>, Seen>,
}

impl Table {
    fn new(file: &'static str, head: &'static [&'static str]) -> Self {
        Self {
            file,
            head,
            rows: BTreeMap::new(),
        }
    }

    fn add(&mut self, cells: Vec<String>, time: &str) -> Result<(), TooManyGroups> {
        self.seen(cells, time)?.count += 1;
        Ok(())
    }

    /// That it was there, without counting it.
    fn seen(&mut self, cells: Vec<String>, time: &str) -> Result<&mut Seen, TooManyGroups> {
        if self.rows.len() >= MAX_GROUPS && !self.rows.contains_key(&cells) {
            return Err(TooManyGroups { file: self.file });
        }
        let seen = self.rows.entry(cells).or_default();
        // Logs of several instances go side by side: the order of leaves is not that of times.
        if seen.first.is_empty() || *time < *seen.first {
            seen.first = time.to_owned();
        }
        if *time > *seen.last {
            seen.last = time.to_owned();
        }
        Ok(seen)
    }

    fn write(&self) -> Vec<u8> {
        let mut out = row(self.head.iter().chain(&["count", "first", "last"]));
        for (cells, seen) in &self.rows {
            let count = seen.count.to_string();
            let tail = [count, seen.first.clone(), seen.last.clone()];
            out.extend(row(cells.iter().chain(&tail)));
        }
        out
    }
}

/// All of them.
pub struct Tables {
    grants: Table,
    masking: Table,
    policies: Table,
    plugins: Table,
}

pub const GRANTS: &str = "grants.csv";
pub const MASKING: &str = "masking.csv";
pub const POLICIES: &str = "policies.csv";
pub const PLUGINS: &str = "plugins.csv";

impl Tables {
    pub fn new() -> Self {
        let grants = &[
            "target",
            "who_kind",
            "who",
            "on_behalf_of",
            "action",
            "decision",
            "policies",
            "approved",
        ];
        Self {
            grants: Table::new(GRANTS, grants),
            masking: Table::new(MASKING, &["target", "column"]),
            policies: Table::new(POLICIES, &["bundle", "version", "digest"]),
            plugins: Table::new(PLUGINS, &["plugin", "version", "digest"]),
        }
    }

    pub fn leaf(&mut self, leaf: &Leaf) -> Result<(), TooManyGroups> {
        // What was held counts with what became of it.
        let once = u64::from(!leaf.is_hold());
        if let Some(bundle) = &leaf.bundle {
            let cells = [
                bundle.name.clone(),
                bundle.version.to_string(),
                bundle.digest.clone(),
            ];
            self.policies.seen(cells.into(), &leaf.time)?.count += once;
        }
        for plugin in &leaf.plugins {
            let cells = [&plugin.name, &plugin.version, &plugin.digest];
            let cells = cells.map(String::clone).into();
            self.plugins.seen(cells, &leaf.time)?.count += once;
        }
        if !leaf.is_request() {
            return Ok(());
        }
        let target = leaf.target.clone().unwrap_or_default();
        for column in &leaf.masked {
            let cells = vec![target.clone(), column.clone()];
            self.masking.add(cells, &leaf.time)?;
        }
        let (kind, id, act) = match &leaf.who {
            Some(who) => (who.kind.clone(), who.id.clone(), list(&who.act)),
            None => Default::default(),
        };
        for action in &leaf.actions {
            let cells = vec![
                target.clone(),
                kind.clone(),
                id.clone(),
                act.clone(),
                action.clone(),
                leaf.decision.clone().unwrap_or_default(),
                list(&leaf.policies),
                if leaf.approval.is_some() { "yes" } else { "" }.to_owned(),
            ];
            self.grants.add(cells, &leaf.time)?;
        }
        Ok(())
    }

    pub fn write(&self) -> impl Iterator<Item = (&'static str, Vec<u8>)> {
        [&self.grants, &self.masking, &self.policies, &self.plugins]
            .into_iter()
            .map(|table| (table.file, table.write()))
    }

    pub fn masked(&self) -> u64 {
        self.masking.rows.values().map(|seen| seen.count).sum()
    }
}
