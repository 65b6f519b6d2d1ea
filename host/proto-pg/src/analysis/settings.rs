//! Settings that are pinned for a session: changing them would change what texts mean, who asks, or
//! what the client is told.

use pg_raw_parse::raw::{A_Expr_Kind, SetOperation};
use pg_raw_parse::{Node, nodes};

use super::expression::constant;
use super::walk::Walk;
use crate::catalog::FIRST_USER_OID;

/// Why a setting may not get this value; none when it may. `value` is none when it is not known
/// before execution.
pub(crate) fn refuse(name: &str, value: Option<&str>) -> Option<String> {
    let name = name.to_ascii_lowercase();
    let allowed: &[&str] = match name.as_str() {
        "client_encoding" => &["utf8", "utf-8", "unicode"],
        "standard_conforming_strings" => &["on", "true", "yes", "1", "t", "y"],
        "session_replication_role" => &["origin"],
        // Which role it is is for policy to decide: see `role`.
        "role" | "session_authorization" if value.is_some() => return None,
        "role" | "session_authorization" => &[],
        "client_min_messages" => &["notice", "warning", "error"],
        _ => return None,
    };
    let lower = value.map(str::to_ascii_lowercase);
    match lower {
        Some(value) if allowed.contains(&value.as_str()) => None,
        _ => Some(format!(
            "the setting {name} is pinned by the proxy and cannot be changed"
        )),
    }
}

/// What decides under which role the session goes on.
pub(crate) fn is_role(name: &str) -> bool {
    let mut names = ["role", "session_authorization"].iter();
    names.any(|n| n.eq_ignore_ascii_case(name))
}

/// What decides how the server reads texts.
pub(crate) fn is_reading(name: &str) -> bool {
    let mut names = ["client_encoding", "standard_conforming_strings"].iter();
    names.any(|n| n.eq_ignore_ascii_case(name))
}

/// The role that a setting with this value makes of the session; none when it is back to its own.
/// The value is compared as the server does: "None" is a role (`check_role`).
pub(crate) fn role<'v>(name: &str, value: &'v str) -> Option<&'v str> {
    let back = name.eq_ignore_ascii_case("role") && value == "none";
    (is_role(name) && !back).then_some(value)
}

impl<'t> Walk<'t, '_> {
    /// The constant in `SELECT set_config(name, …) FROM pg_settings WHERE name = '…'`: so pg_dump sets
    /// what not every server has. The statement must be this and nothing else.
    pub(super) fn setting_of(&self, s: &'t nodes::SelectStmt) -> Option<&'t str> {
        let mut targets = s.target_list().iter();
        let (Some(target), None) = (targets.next(), targets.next()) else {
            return None;
        };
        let mut sources = s.from_clause().iter();
        let (Some(Node::RangeVar(source)), None) = (sources.next(), sources.next()) else {
            return None;
        };
        let (Node::FuncCall(call), Node::A_Expr(e)) = (target.val(), s.where_clause()) else {
            return None;
        };
        let is_name = |node| match node {
            Node::ColumnRef(c) => {
                let mut fields = c.fields().iter();
                fields.next().and_then(Node::as_str) == Some("name") && fields.next().is_none()
            }
            _ => false,
        };
        let equals = e.kind == A_Expr_Kind::AEXPR_OP
            && e.name().len() == 1
            && e.name().get(0).and_then(Node::as_str) == Some("=");
        let plain = s.op == SetOperation::SETOP_NONE && s.with_clause().is_none();
        // No operator of users can stand between the name and the constant.
        let foreign = self.snapshot.foreign_operators("=").iter();
        let own = foreign.fold(true, |own, o| {
            own && o.left >= FIRST_USER_OID && o.right >= FIRST_USER_OID
        });
        let first = call.args().iter().next();
        if !(plain && equals && own && first.is_some_and(is_name) && is_name(e.lexpr())) {
            return None;
        }
        let name = source.relname().unwrap_or_default();
        let meant = self
            .snapshot
            .find_relations(source.schemaname(), name, self.path);
        let settings = |index| {
            let info = self.snapshot.relation(index);
            info.is_some_and(|r| &*r.schema == "pg_catalog" && &*r.name == "pg_settings")
        };
        match meant.as_slice() {
            [index] if settings(*index) => constant(e.rexpr()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles() {
        for (setting, value, expect) in [
            ("role", "Admin", Some("Admin")),
            ("ROLE", "none", None),
            ("role", "NONE", Some("NONE")),
            ("session_authorization", "none", Some("none")),
            ("session_authorization", "default", Some("default")),
            ("search_path", "x", None),
        ] {
            assert_eq!(role(setting, value), expect, "{setting} {value}");
        }
    }

    #[test]
    fn pinned() {
        for (name, value, refused) in [
            ("client_encoding", Some("UTF8"), false),
            ("client_encoding", Some("SJIS"), true),
            ("Client_Encoding", None, true),
            ("standard_conforming_strings", Some("on"), false),
            ("standard_conforming_strings", Some("off"), true),
            // Off means an error instead of rows that are left out.
            ("row_security", Some("off"), false),
            ("role", Some("postgres"), false),
            ("role", Some("none"), false),
            ("role", None, true),
            ("Session_Authorization", None, true),
            ("session_replication_role", Some("replica"), true),
            ("client_min_messages", Some("debug5"), true),
            ("client_min_messages", Some("warning"), false),
            ("search_path", Some("x"), false),
            ("my.setting", None, false),
        ] {
            assert_eq!(refuse(name, value).is_some(), refused, "{name} {value:?}");
        }
    }
}
