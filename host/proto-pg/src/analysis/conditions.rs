//! Does a WHERE clause choose rows, or does it hold for all of them?

use pg_raw_parse::raw::{A_Expr_Kind, BoolExprType};
use pg_raw_parse::{Node, nodes};

/// Parts of a condition that are looked at; one with more counts as choosing nothing.
const MAX_PARTS: usize = 10_000;

/// True when the condition depends on columns: `WHERE true`, `1 = 1`, `id = id` and `x OR true` do not.
pub(super) fn restricts(node: Node<'_>) -> bool {
    let mut budget = MAX_PARTS;
    chooses(node, &mut budget, 0)
}

fn chooses(node: Node<'_>, budget: &mut usize, depth: usize) -> bool {
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
                BoolExprType::OR_EXPR => parts.all(|p| chooses(p, budget, depth + 1)),
                _ => parts.any(|p| chooses(p, budget, depth + 1)),
            }
        }
        Node::CurrentOfExpr(_) => true,
        Node::A_Expr(e) if is_same(e) => false,
        node => has_column(node, budget),
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
        Node::ColumnRef(c) if c.fields().len() > 1 => c.fields().get(0).and_then(Node::as_str),
        _ => None,
    }
}

/// Does an expression mention a column? Sub-selects have columns of their own, which say nothing.
fn has_column(node: Node<'_>, budget: &mut usize) -> bool {
    let mut stack = vec![node];
    while let Some(node) = stack.pop() {
        if *budget == 0 {
            return false;
        }
        *budget -= 1;
        match node {
            Node::ColumnRef(_) | Node::CurrentOfExpr(_) => return true,
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
                if correlated(e.subselect(), budget) {
                    return true;
                }
            }
            _ => {}
        }
    }
    false
}

/// A sub-select whose own WHERE has conditions can be about the row outside.
fn correlated(node: Node<'_>, budget: &mut usize) -> bool {
    match node {
        Node::SelectStmt(s) => has_column(s.where_clause(), budget),
        _ => false,
    }
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
            assert_eq!(restricts(s.where_clause()), expect, "{condition}");
        }
    }
}
