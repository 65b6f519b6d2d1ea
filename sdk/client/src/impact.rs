//! The part of an approval that says what the statement would touch.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a statement would touch, as far as it was found out before people were asked. Estimates and
/// names only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Impact {
    /// Rows that it reads or changes, as the planner estimates. Not shown to who asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Those that are written come first.
    pub tables: Vec<TouchedTable>,
    /// A transaction is open: whatever is locked stays locked while this waits.
    pub in_transaction: bool,
    /// Locks that the open transaction holds.
    pub held: Vec<HeldLock>,
    /// What is not known, and why. An empty list elsewhere means "none" only without a gap here.
    pub gaps: Vec<String>,
}

impl Impact {
    /// One line for each thing, for people.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(rows) = self.rows {
            lines.push(format!("about {rows} rows, as the planner estimates"));
        }
        for table in &self.tables {
            lines.push(table.line());
            lines.extend(table.triggers.iter().map(|t| format!("  trigger {t}")));
            for c in &table.cascades {
                let rows = rows_in(c.rows);
                lines.push(format!(
                    "  foreign key {} of {}{rows}: {}, {} away",
                    c.constraint, c.table, c.rule, c.depth
                ));
            }
        }
        if self.in_transaction {
            lines.push("a transaction is open, and keeps its locks while this waits".into());
        }
        let held = self.held.iter();
        lines.extend(held.map(|lock| format!("  {} on {}", lock.mode, lock.relation)));
        lines.extend(self.gaps.iter().map(|gap| format!("not known: {gap}")));
        lines
    }
}

impl TouchedTable {
    fn line(&self) -> String {
        let mut line = format!(
            "{}: {}{}",
            self.table,
            self.actions.join(", "),
            rows_in(self.rows)
        );
        if let Some(bytes) = self.bytes {
            line.push_str(&format!(", {bytes} bytes"));
        }
        if let Some(lock) = &self.lock {
            line.push_str(&format!(", lock {lock}"));
        }
        line
    }
}

fn rows_in(rows: Option<u64>) -> String {
    rows.map_or_else(String::new, |rows| format!(", about {rows} rows in it"))
}

/// A table, and what comes with touching it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TouchedTable {
    /// `schema.name`
    pub table: String,
    /// Such as `postgres:update`.
    pub actions: Vec<String>,
    /// The strongest lock that is taken on it, such as `ROW EXCLUSIVE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<String>,
    /// Rows in it, by the server's statistics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// With its indexes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Triggers that can fire, with the functions that they run.
    pub triggers: Vec<String>,
    /// What foreign keys change elsewhere, transitively.
    pub cascades: Vec<Cascade>,
}

/// A foreign key that passes a change on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Cascade {
    /// The table that is changed, `schema.name`.
    pub table: String,
    pub constraint: String,
    /// Such as `ON DELETE SET NULL`.
    pub rule: String,
    /// How many foreign keys it is away.
    pub depth: u32,
    /// Rows in that table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HeldLock {
    /// `schema.name`
    pub relation: String,
    pub mode: String,
}
