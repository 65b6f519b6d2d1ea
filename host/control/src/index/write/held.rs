//! Holds: an entry of their own, until it is known what became of the action.

use rusqlite::params;

use super::{Columns, EntryKind, Stream, Writer, db, json};
use crate::index::entry::{IndexAction, IndexEntry, LONGEST_TEXT, name};
use crate::store::Result;

/// The outcome of a hold of which the end is on record: what it was, the action's own entry says.
const DECIDED: &str = "decided";

// `+stream`: by the hold's few entries, not through all entries of its session, which would be read again
// with every hold.
const IS_DECIDED: &str = "SELECT EXISTS (SELECT 1 FROM entries WHERE +stream = ?1 AND kind = 1 \
                          AND id IN (SELECT entry FROM approvals WHERE value = ?2))";
const ANSWERED: &str = "UPDATE entries SET outcome = ?3 WHERE +stream = ?1 AND kind = 7 \
                        AND id IN (SELECT entry FROM approvals WHERE value = ?2)";

impl Writer<'_> {
    pub(super) fn held(
        &mut self,
        entry: &IndexEntry,
        stream: Stream,
        held: &IndexAction,
    ) -> Result<()> {
        let shape = self.shape(&held.shape)?;
        let (text, untold) = match &held.text {
            Ok(text) if text.known.len() > LONGEST_TEXT => (None, Some("it is too long")),
            Ok(text) => (Some(self.text(&text.known)?), None),
            Err(why) => (None, Some(*why)),
        };
        let columns = Columns {
            actor: stream.actor,
            shape: Some(shape),
            text,
            untold,
            decision: Some(name(&held.decision)),
            risk: Some(held.risk),
            hold: held.hold.as_deref().map(name),
            approval: Some(json(&(&held.rules, &held.approvers))?),
            outcome: self
                .is_decided(stream, held.hold.as_deref())?
                .then_some(DECIDED),
            ..Columns::default()
        };
        let Some(id) = self.insert(entry, stream, EntryKind::Held, &columns)? else {
            return Ok(());
        };
        for value in held.hold.iter().chain(&held.rules) {
            self.statement("INSERT OR IGNORE INTO approvals (value, entry) VALUES (?1, ?2)")?
                .execute(params![name(value), id])
                .map_err(db)?;
        }
        Ok(())
    }

    /// Stored records come in any order: the action may be there already.
    fn is_decided(&self, stream: Stream, hold: Option<&str>) -> Result<bool> {
        let Some(hold) = hold.filter(|_| self.is_behind) else {
            return Ok(false);
        };
        self.statement(IS_DECIDED)?
            .query_row(params![stream.id, name(hold)], |row| row.get(0))
            .map_err(db)
    }

    /// What was held is permitted or refused.
    pub(super) fn answered(&self, stream: Stream, hold: Option<&str>) -> Result<()> {
        let Some(hold) = hold else {
            return Ok(());
        };
        self.statement(ANSWERED)?
            .execute(params![stream.id, name(hold), DECIDED])
            .map(drop)
            .map_err(db)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A session of many entries and holds is not read through for each of them.
    #[test]
    fn a_hold_is_looked_up_by_its_few_entries() {
        let c = rusqlite::Connection::open_in_memory().unwrap();
        c.execute_batch(include_str!("../schema.sql")).unwrap();
        for sql in [IS_DECIDED, ANSWERED] {
            let mut plan = c.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let values = vec![1; plan.parameter_count()];
            let steps: Vec<String> = plan
                .query_map(rusqlite::params_from_iter(values), |row| row.get("detail"))
                .unwrap()
                .map(|step| step.unwrap())
                .collect();
            let steps = steps.join("\n");
            assert!(
                steps.contains("SEARCH entries USING INTEGER PRIMARY KEY"),
                "{sql}: {steps}"
            );
            assert!(!steps.contains("SCAN entries"), "{sql}: {steps}");
        }
    }
}
