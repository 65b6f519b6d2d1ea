//! The planner's estimate for one statement, and nothing else of its plan.

use pg_raw_parse::Node;
use serde_json::Value;

/// Larger texts are not sent twice.
const MAX_TEXT: usize = 64 << 10;

/// The statement under EXPLAIN, if it is exactly one that can be planned; else why not.
pub(super) fn explained(sql: &str) -> Result<String, &'static str> {
    if sql.len() > MAX_TEXT {
        return Err("the text is too long to be planned twice");
    }
    if !is_plannable(sql, is_query) {
        return Err("rows are estimated for single queries and changes of rows only");
    }
    let text = format!("EXPLAIN (FORMAT JSON) {sql}");
    // What is put together must be what was meant.
    let whole = is_plannable(&text, |node| match node {
        Node::ExplainStmt(e) => {
            let format = e.options().iter().all(|o| o.defname() == Some("format"));
            format && e.options().len() == 1 && is_query(e.query())
        }
        _ => false,
    });
    match whole {
        true => Ok(text),
        false => Err("the text cannot be put under EXPLAIN"),
    }
}

fn is_plannable(sql: &str, is: impl Fn(Node<'_>) -> bool) -> bool {
    let Ok(tree) = pg_raw_parse::parse(sql) else {
        return false;
    };
    let mut statements = tree.stmts();
    match (statements.next(), statements.next()) {
        (Some(one), None) => is(one),
        _ => false,
    }
}

fn is_query(node: Node<'_>) -> bool {
    match node {
        Node::SelectStmt(s) => s.into_clause().is_none(),
        Node::InsertStmt(_) | Node::UpdateStmt(_) | Node::DeleteStmt(_) | Node::MergeStmt(_) => {
            true
        }
        _ => false,
    }
}

/// The rows that the statement changes, wherever in it that is written; for one that only reads, those
/// that it gives or puts together into fewer. Numbers are all that is taken out of the plan: conditions
/// and names in it can hold anything.
pub(super) fn rows(json: &str) -> Option<u64> {
    let plan: Value = serde_json::from_str(json).ok()?;
    let top = plan.get(0)?.get("Plan")?;
    let mut flow = Flow {
        read: number(top)?,
        changed: None,
    };
    flow.look(top)?;
    Some(flow.changed.unwrap_or(flow.read))
}

struct Flow {
    /// The most at any one place where they count.
    read: u64,
    /// At all places together; none when nothing is changed.
    changed: Option<u64>,
}

impl Flow {
    fn look(&mut self, node: &Value) -> Option<()> {
        let kind = node.get("Node Type")?.as_str()?;
        let changes = kind == "ModifyTable";
        // One row of what comes out can hold all that goes in.
        let folds = matches!(kind, "Aggregate" | "Group" | "Unique" | "SetOp");
        if changes {
            self.changed.get_or_insert(0);
        }
        let below = node.get("Plans").and_then(Value::as_array);
        for child in below.into_iter().flatten() {
            let rows = number(child)?;
            let relation = child.get("Parent Relationship").and_then(Value::as_str);
            // A value that is a query: ARRAY(SELECT …) holds all of its rows. Or a CTE.
            let aside = matches!(relation, Some("InitPlan" | "SubPlan"));
            if changes && !aside {
                // It gives no rows of its own; those that it changes come from below.
                let changed = self.changed.get_or_insert(0);
                *changed = changed.saturating_add(rows);
            }
            if folds || aside {
                self.read = self.read.max(rows);
            }
            self.look(child)?;
        }
        Some(())
    }
}

fn number(node: &Value) -> Option<u64> {
    let rows = node.get("Plan Rows")?.as_f64()?;
    // The planner's own bound is 1e100.
    (rows >= 0.0).then_some(rows as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_planned() {
        for (sql, fits) in [
            ("SELECT 1", true),
            ("(SELECT 1) UNION SELECT 2 -- x", true),
            (
                "WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x;",
                true,
            ),
            ("UPDATE t SET a = 1", true),
            (
                "MERGE INTO t USING u ON true WHEN MATCHED THEN DELETE",
                true,
            ),
            ("", false),
            ("SELECT 1; SELECT 2", false),
            ("SELECT 1 INTO x", false),
            ("CREATE TABLE x AS SELECT 1", false),
            ("EXPLAIN ANALYZE DELETE FROM t", false),
            ("EXECUTE x", false),
            ("DECLARE c CURSOR FOR SELECT 1", false),
            ("COPY t TO STDOUT", false),
            ("ANALYZE t", false),
            ("DO ''", false),
            ("COMMIT", false),
        ] {
            assert_eq!(explained(sql).is_ok(), fits, "{sql}");
        }
        assert!(explained(&format!("SELECT '{}'", "x".repeat(MAX_TEXT))).is_err());
    }

    #[test]
    fn numbers_of_plans() {
        let update = r#"[{"Plan": {"Node Type": "ModifyTable", "Plan Rows": 0, "Plans": [
            {"Node Type": "Seq Scan", "Parent Relationship": "Outer", "Plan Rows": 120, "Filter": "x"},
            {"Node Type": "Result", "Parent Relationship": "InitPlan", "Plan Rows": 7}]}}]"#;
        // WITH x AS (DELETE … RETURNING 1) SELECT count(*) FROM x
        let hidden = r#"[{"Plan": {"Node Type": "Aggregate", "Plan Rows": 1, "Plans": [
            {"Node Type": "ModifyTable", "Parent Relationship": "InitPlan", "Plan Rows": 0, "Plans": [
              {"Node Type": "Seq Scan", "Parent Relationship": "Outer", "Plan Rows": 900}]},
            {"Node Type": "CTE Scan", "Parent Relationship": "Outer", "Plan Rows": 3}]}}]"#;
        let broken =
            r#"[{"Plan": {"Node Type": "Limit", "Plan Rows": 1, "Plans": [{"Plan Rows": "x"}]}}]"#;
        for (json, expect) in [
            (
                r#"[{"Plan": {"Node Type": "Seq Scan", "Plan Rows": 42}}]"#,
                Some(42),
            ),
            (update, Some(120)),
            (hidden, Some(900)),
            (broken, None),
            (
                r#"[{"Plan": {"Node Type": "Seq Scan", "Plan Rows": 1e100}}]"#,
                Some(u64::MAX),
            ),
            (
                r#"[{"Plan": {"Node Type": "Seq Scan", "Plan Rows": -1}}]"#,
                None,
            ),
            (
                r#"[{"Plan": {"Node Type": "Seq Scan", "Plan Rows": "111-22-3333"}}]"#,
                None,
            ),
            ("[]", None),
            ("{", None),
        ] {
            assert_eq!(rows(json), expect, "{json}");
        }
    }
}
