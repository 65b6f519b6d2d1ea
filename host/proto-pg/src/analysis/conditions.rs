//! Does a WHERE clause choose rows, or does it hold for all of them?

use pg_raw_parse::raw::{A_Expr_Kind, BoolExprType};
use pg_raw_parse::{Node, nodes};

/// Parts of a condition that are looked at; one with more counts as choosing nothing.
const MAX_PARTS: usize = 10_000;

/// True when the condition depends on columns: `WHERE true`, `1 = 1`, `id = id` and `x OR true` do not.
pub(super) fn restricts(node: Node<'_>, target: Option<&nodes::RangeVar>) -> bool {
    let mut budget = MAX_PARTS;
    let alias = target.and_then(|t| t.alias()).and_then(|a| a.aliasname());
    let name = alias
        .or(target.and_then(|t| t.relname()))
        .unwrap_or_default();
    chooses(node, name, &mut budget, 0)
}

fn chooses(node: Node<'_>, target: &str, budget: &mut usize, depth: usize) -> bool {
    const MAX_DEPTH: usize = 64;
    if *budget == 0 || depth > MAX_DEPTH {
        return false;
    }
    *budget -= 1;
    match node {
        Node::None => false,
        Node::BoolExpr(e) => {
            let mut parts = e.args().iter();
            match e.boolop {
                BoolExprType::OR_EXPR => parts.all(|p| chooses(p, target, budget, depth + 1)),
                _ => parts.any(|p| chooses(p, target, budget, depth + 1)),
            }
        }
        Node::CurrentOfExpr(_) => true,
        Node::A_Expr(e) if is_same(e) => false,
        node => has_column(node, target, false, budget),
    }
}

/// `id = id`.
fn is_same(e: &nodes::A_Expr) -> bool {
    let column = |node| match node {
        Node::ColumnRef(c) => c.fields().iter().next_back().and_then(Node::as_str),
        _ => None,
    };
    let (left, right) = (column(e.lexpr()), column(e.rexpr()));
    e.kind == A_Expr_Kind::AEXPR_OP && left.is_some() && left == right && {
        let count = |node| match node {
            Node::ColumnRef(c) => c.fields().len(),
            _ => 0,
        };
        count(e.lexpr()) == count(e.rexpr()) && qualifier(e.lexpr()) == qualifier(e.rexpr())
    }
}

fn qualifier(node: Node<'_>) -> Option<&str> {
    match node {
        Node::ColumnRef(c) => {
            let at = c.fields().len().checked_sub(2)?;
            c.fields().get(at).and_then(Node::as_str)
        }
        _ => None,
    }
}

/// Does an expression mention a column? A sub-select has columns of its own, which say nothing: `inside`,
/// only what is said to be the target's counts.
fn has_column(node: Node<'_>, target: &str, inside: bool, budget: &mut usize) -> bool {
    let mut stack = vec![node];
    while let Some(node) = stack.pop() {
        if *budget == 0 {
            return false;
        }
        *budget -= 1;
        match node {
            Node::ColumnRef(_) if !inside || qualifier(node) == Some(target) => return true,
            Node::CurrentOfExpr(_) => return true,
            Node::NodeList(list) => stack.extend(list),
            Node::A_Expr(e) => stack.extend([e.lexpr(), e.rexpr()]),
            Node::BoolExpr(e) => stack.extend(e.args()),
            Node::TypeCast(e) => stack.push(e.arg()),
            Node::CollateClause(e) => stack.push(e.arg()),
            Node::NullTest(e) => stack.push(e.arg()),
            Node::BooleanTest(e) => stack.push(e.arg()),
            Node::FuncCall(e) => stack.extend(e.args()),
            Node::NamedArgExpr(e) => stack.push(e.arg()),
            Node::CoalesceExpr(e) => stack.extend(e.args()),
            Node::MinMaxExpr(e) => stack.extend(e.args()),
            Node::RowExpr(e) => stack.extend(e.args()),
            Node::A_ArrayExpr(e) => stack.extend(e.elements()),
            Node::A_Indirection(e) => stack.push(e.arg()),
            Node::CaseExpr(e) => {
                stack.push(e.arg());
                stack.push(e.defresult());
                stack.extend(e.args());
            }
            Node::CaseWhen(e) => stack.extend([e.expr(), e.result()]),
            Node::SubLink(e) => {
                stack.push(e.testexpr());
                // Its own WHERE can be about the row outside.
                if let Node::SelectStmt(s) = e.subselect()
                    && has_column(s.where_clause(), target, true, budget)
                {
                    return true;
                }
            }
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_chooses_rows() {
        for (condition, expect) in [
            ("id = 1", true),
            ("true", false),
            ("1 = 1", false),
            ("NOT false", false),
            ("id = 1 OR true", false),
            ("id = 1 OR 1 = 1", false),
            ("id = 1 AND true", true),
            ("true AND 2 > 1", false),
            ("id = id", false),
            ("a.id = a.id", false),
            ("a.id = b.id", true),
            ("id IS NOT NULL", true),
            ("now() > '2020-01-01'", false),
            ("$1 = $2", false),
            ("$1 = id", true),
            ("id IN (SELECT id FROM b)", true),
            ("EXISTS (SELECT 1 FROM b)", false),
            ("EXISTS (SELECT 1 FROM b WHERE b.id = t.id)", true),
            ("EXISTS (SELECT 1 FROM b WHERE b.id = b.id)", false),
            ("EXISTS (SELECT 1 FROM b WHERE b.id = 5)", false),
            (
                "NOT EXISTS (SELECT 1 FROM b WHERE b.t = t.id AND b.x)",
                true,
            ),
            ("1 IN (SELECT id FROM b)", false),
            ("coalesce(1, 2) = 1", false),
            ("lower(name) = 'x'", true),
            ("CASE WHEN id = 1 THEN true ELSE false END", true),
            ("'a' || 'b' = 'ab'", false),
            ("(id, name) = (1, 'x')", true),
            ("CURRENT OF c", true),
        ] {
            let sql = format!("DELETE FROM t WHERE {condition}");
            let tree = pg_raw_parse::parse(&sql).unwrap();
            let Some(Node::DeleteStmt(s)) = tree.stmts().next() else {
                panic!("{sql}");
            };
            assert_eq!(
                restricts(s.where_clause(), s.relation()),
                expect,
                "{condition}"
            );
        }
    }
}
