//! Names that PostgreSQL makes up for expressions.

use pg_raw_parse::raw::JsonExprOp;
use pg_raw_parse::raw::{
    A_Expr_Kind, CoercionForm, MinMaxOp, SQLValueFunctionOp, SubLinkType, XmlExprOp,
};
use pg_raw_parse::{Node, nodes};

/// Parts of an expression that can be looked through for its name.
const MAX_STEPS: usize = 32;
const UNNAMED: &str = "?column?";

/// The name of an output column that nobody has named; none when it cannot be told.
pub(super) fn made_up(node: Node<'_>) -> Option<&str> {
    match figure(node, 0) {
        (Worth::Nothing, _) => Some(UNNAMED),
        (Worth::Weak | Worth::Strong, name) => name,
    }
}

/// How much the name of a part counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Worth {
    Nothing,
    /// Of a cast or a CASE: what is outside of it has its own.
    Weak,
    Strong,
}

fn figure(node: Node<'_>, depth: usize) -> (Worth, Option<&str>) {
    if depth > MAX_STEPS {
        return (Worth::Strong, None);
    }
    match node {
        Node::TypeCast(cast) => match figure(cast.arg(), depth + 1) {
            strong @ (Worth::Strong, _) => strong,
            _ => (Worth::Weak, cast.type_name().and_then(last_name)),
        },
        Node::CaseExpr(case) => match figure(case.defresult(), depth + 1) {
            strong @ (Worth::Strong, _) => strong,
            _ => (Worth::Weak, Some("case")),
        },
        Node::CollateClause(collate) => figure(collate.arg(), depth + 1),
        Node::A_Indirection(i) => {
            let fields = i.indirection().iter();
            match fields.filter_map(Node::as_str).next_back() {
                Some(field) => (Worth::Strong, Some(field)),
                None => figure(i.arg(), depth + 1),
            }
        }
        Node::SubLink(link) if link.sub_link_type == SubLinkType::EXPR_SUBLINK => {
            let name = match first_target(link.subselect()) {
                None => None,
                Some(First::Named(name)) => Some(name),
                Some(First::Expression(node)) => match figure(node, depth + 1) {
                    (Worth::Nothing, _) => Some(UNNAMED),
                    (_, name) => name,
                },
            };
            (Worth::Strong, name)
        }
        node => match own_name(node) {
            Some(name) => (Worth::Strong, name),
            None => (Worth::Nothing, None),
        },
    }
}

/// The name of what has one whatever its parts are; none inside when it cannot be told.
fn own_name(node: Node<'_>) -> Option<Option<&str>> {
    let name = match node {
        Node::ColumnRef(c) => return Some(c.fields().iter().filter_map(Node::as_str).next_back()),
        Node::FuncCall(f) => {
            let name = f.funcname().iter().next_back().and_then(Node::as_str);
            // EXTRACT is a function of another name on older servers.
            let old = f.funcformat == CoercionForm::COERCE_SQL_SYNTAX && name == Some("extract");
            return Some(name.filter(|_| !old));
        }
        Node::A_Expr(e) if e.kind == A_Expr_Kind::AEXPR_NULLIF => "nullif",
        Node::GroupingFunc(_) => "grouping",
        Node::MergeSupportFunc(_) => "merge_action",
        Node::SubLink(link) => match link.sub_link_type {
            SubLinkType::EXISTS_SUBLINK => "exists",
            SubLinkType::ARRAY_SUBLINK => "array",
            _ => return None,
        },
        Node::A_ArrayExpr(_) => "array",
        Node::RowExpr(_) => "row",
        Node::CoalesceExpr(_) => "coalesce",
        Node::MinMaxExpr(e) if e.op == MinMaxOp::IS_GREATEST => "greatest",
        Node::MinMaxExpr(_) => "least",
        Node::SQLValueFunction(f) => return Some(value_function(f.op)),
        Node::XmlExpr(e) => match e.op {
            XmlExprOp::IS_XMLCONCAT => "xmlconcat",
            XmlExprOp::IS_XMLELEMENT => "xmlelement",
            XmlExprOp::IS_XMLFOREST => "xmlforest",
            XmlExprOp::IS_XMLPARSE => "xmlparse",
            XmlExprOp::IS_XMLPI => "xmlpi",
            XmlExprOp::IS_XMLROOT => "xmlroot",
            _ => return None,
        },
        Node::XmlSerialize(_) => "xmlserialize",
        Node::JsonParseExpr(_) => "json",
        Node::JsonScalarExpr(_) => "json_scalar",
        Node::JsonSerializeExpr(_) => "json_serialize",
        Node::JsonObjectConstructor(_) => "json_object",
        Node::JsonArrayConstructor(_) | Node::JsonArrayQueryConstructor(_) => "json_array",
        Node::JsonObjectAgg(_) => "json_objectagg",
        Node::JsonArrayAgg(_) => "json_arrayagg",
        Node::JsonFuncExpr(e) => match e.op {
            JsonExprOp::JSON_EXISTS_OP => "json_exists",
            JsonExprOp::JSON_QUERY_OP => "json_query",
            JsonExprOp::JSON_VALUE_OP => "json_value",
            _ => return Some(None),
        },
        _ => return None,
    };
    Some(Some(name))
}

fn last_name(name: &nodes::TypeName) -> Option<&str> {
    name.names().iter().next_back().and_then(|s| s.sval())
}

enum First<'a> {
    Named(&'a str),
    Expression(Node<'a>),
}

/// The first output column of a query; none when a star or a write gives it.
fn first_target(query: Node<'_>) -> Option<First<'_>> {
    let Node::SelectStmt(mut s) = query else {
        return None;
    };
    for _ in 0..MAX_STEPS {
        let Some(left) = s.larg() else {
            if !s.values_lists().is_empty() {
                return Some(First::Named("column1"));
            }
            let target = s.target_list().iter().next()?;
            if let Some(name) = target.name() {
                return Some(First::Named(name));
            }
            return match target.val() {
                Node::ColumnRef(c) if c.fields().iter().any(|f| matches!(f, Node::A_Star(_))) => {
                    None
                }
                Node::A_Indirection(i)
                    if i.indirection().iter().any(|f| matches!(f, Node::A_Star(_))) =>
                {
                    None
                }
                value => Some(First::Expression(value)),
            };
        };
        s = left;
    }
    None
}

fn value_function(op: SQLValueFunctionOp::Type) -> Option<&'static str> {
    Some(match op {
        SQLValueFunctionOp::SVFOP_CURRENT_DATE => "current_date",
        SQLValueFunctionOp::SVFOP_CURRENT_TIME | SQLValueFunctionOp::SVFOP_CURRENT_TIME_N => {
            "current_time"
        }
        SQLValueFunctionOp::SVFOP_CURRENT_TIMESTAMP
        | SQLValueFunctionOp::SVFOP_CURRENT_TIMESTAMP_N => "current_timestamp",
        SQLValueFunctionOp::SVFOP_LOCALTIME | SQLValueFunctionOp::SVFOP_LOCALTIME_N => "localtime",
        SQLValueFunctionOp::SVFOP_LOCALTIMESTAMP | SQLValueFunctionOp::SVFOP_LOCALTIMESTAMP_N => {
            "localtimestamp"
        }
        SQLValueFunctionOp::SVFOP_CURRENT_ROLE => "current_role",
        SQLValueFunctionOp::SVFOP_CURRENT_USER => "current_user",
        SQLValueFunctionOp::SVFOP_USER => "user",
        SQLValueFunctionOp::SVFOP_SESSION_USER => "session_user",
        SQLValueFunctionOp::SVFOP_CURRENT_CATALOG => "current_catalog",
        SQLValueFunctionOp::SVFOP_CURRENT_SCHEMA => "current_schema",
        _ => return None,
    })
}

/// The columns of VALUES; none behind those that anybody names.
pub(super) fn of_values(index: usize) -> Option<&'static str> {
    const NAMES: &[&str] = &[
        "column1", "column2", "column3", "column4", "column5", "column6", "column7", "column8",
        "column9", "column10", "column11", "column12", "column13", "column14", "column15",
        "column16", "column17", "column18", "column19", "column20",
    ];
    NAMES.get(index).copied()
}
