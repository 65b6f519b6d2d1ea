//! What an action that waits for people would touch: for those who decide, and for the record. It never
//! decides anything itself.

use std::sync::Arc;

use async_trait::async_trait;

/// As far as it could be found out in time. Numbers and names only: no value of any row is in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Impact {
    /// Rows that the statement reads or changes, as the upstream's planner estimates.
    pub rows: Option<u64>,
    pub tables: Vec<TouchedTable>,
    /// A transaction is open: whatever is locked stays locked while this waits.
    pub in_transaction: bool,
    /// Locks that the open transaction holds.
    pub held: Vec<HeldLock>,
    /// What is not known, and why. An empty list elsewhere means "none" only without a gap here.
    pub gaps: Vec<String>,
}

/// A table, and what comes with touching it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TouchedTable {
    pub schema: Arc<str>,
    pub name: Arc<str>,
    /// Such as `postgres:update`.
    pub actions: Vec<&'static str>,
    /// The strongest lock that is taken on it, until the transaction ends.
    pub lock: Option<&'static str>,
    /// Rows in it, by the upstream's statistics.
    pub rows: Option<u64>,
    /// With its indexes.
    pub bytes: Option<u64>,
    /// Triggers that can fire, with the functions that they run.
    pub triggers: Vec<String>,
    /// What foreign keys change elsewhere, transitively.
    pub cascades: Vec<Cascade>,
}

/// A foreign key that passes a change on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cascade {
    /// The table that is changed, `schema.name`.
    pub table: String,
    pub constraint: String,
    /// Such as `ON DELETE SET NULL`.
    pub rule: &'static str,
    /// How many foreign keys it is away.
    pub depth: u32,
    /// Rows in that table.
    pub rows: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldLock {
    /// `schema.name`.
    pub relation: String,
    pub mode: String,
}

impl Impact {
    /// One line for each thing, for people and for the record.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(rows) = self.rows {
            lines.push(format!("about {rows} rows, as the planner estimates"));
        }
        for table in &self.tables {
            lines.push(table.line());
            for trigger in &table.triggers {
                lines.push(format!("  trigger {trigger}"));
            }
            for cascade in &table.cascades {
                let rows = about(cascade.rows);
                let Cascade {
                    table,
                    constraint,
                    rule,
                    depth,
                    ..
                } = cascade;
                lines.push(format!(
                    "  foreign key {constraint} of {table}{rows}: {rule}, {depth} away"
                ));
            }
        }
        if self.in_transaction {
            lines.push("a transaction is open, and keeps its locks while this waits".into());
        }
        for lock in &self.held {
            lines.push(format!("  {} on {}", lock.mode, lock.relation));
        }
        lines.extend(self.gaps.iter().map(|gap| format!("not known: {gap}")));
        lines
    }
}

impl TouchedTable {
    fn line(&self) -> String {
        let mut line = format!("{}.{}: {}", self.schema, self.name, self.actions.join(", "));
        line.push_str(&about(self.rows));
        if let Some(bytes) = self.bytes {
            line.push_str(&format!(", {bytes} bytes"));
        }
        if let Some(lock) = self.lock {
            line.push_str(&format!(", lock {lock}"));
        }
        line
    }
}

fn about(rows: Option<u64>) -> String {
    rows.map_or_else(String::new, |rows| format!(", about {rows} rows in it"))
}

/// Finds out what the action that is decided on would touch.
#[async_trait]
pub trait Survey: Send + Sync {
    /// Asked once, when a hold is about to be opened. It bounds itself in time and gives what it has.
    async fn survey(&self) -> Impact;
}
