//! What a policy reads of the context, from its syntax tree.

use std::collections::VecDeque;
use std::ops::BitOr;

use cedar_policy_core::pst::{self, Clause, Expr, Var};

/// A set of the context's parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Reads(u16);

impl Reads {
    pub const NOTHING: Self = Self(0);
    pub const NOW: Self = Self(1);
    pub const CLOCK: Self = Self(1 << 1);
    pub const SOURCE: Self = Self(1 << 2);
    pub const SESSION: Self = Self(1 << 3);
    pub const ISSUER: Self = Self(1 << 4);
    pub const CHAIN: Self = Self(1 << 5);
    pub const RISK: Self = Self(1 << 6);
    pub const APPROVALS: Self = Self(1 << 7);
    /// The statement's facts, but for its tables and functions.
    pub const SQL: Self = Self(1 << 8);
    /// The statement's tables and functions.
    pub const OBJECTS: Self = Self(1 << 9);
    /// The facts about an action on an SSH connection, but for what is in `LINES`.
    pub const SSH: Self = Self(1 << 10);
    /// What is in such an action: programs, paths, variables.
    pub const LINES: Self = Self(1 << 11);
    /// How it is known who they are.
    pub const LOGIN: Self = Self(1 << 12);
    pub const ALL: Self = Self(u16::MAX);

    pub fn has(self, part: Self) -> bool {
        self.0 & part.0 != 0
    }

    /// Reads of a whole policy.
    pub fn of(policy: &pst::Template) -> Self {
        policy
            .clauses()
            .iter()
            .map(|clause| match clause {
                Clause::When(e) | Clause::Unless(e) => of_expr(e),
            })
            .fold(Self::NOTHING, Self::bitor)
    }
}

impl BitOr for Reads {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

fn of_expr(expr: &Expr) -> Reads {
    expr.reduce(
        &|e| match e {
            Expr::HasAttr { expr, attrs } => {
                let (var, mut path) = static_path(expr)?;
                path.extend(attrs.iter().map(|a| a.as_str()));
                (var == Var::Context).then(|| of_path(&path, true))
            }
            _ => {
                let (var, path) = static_path(e)?;
                Some(if var == Var::Context {
                    of_path(&path, false)
                } else {
                    Reads::NOTHING
                })
            }
        },
        &Reads::bitor,
        Reads::NOTHING,
    )
}

/// `presence`: only whether it is there is asked.
fn of_path(path: &[&str], presence: bool) -> Reads {
    match path {
        ["base"] if presence => Reads::NOTHING,
        ["sql"] if presence => Reads::SQL,
        ["ssh"] if presence => Reads::SSH,
        ["base", part, ..] => match *part {
            "now" => Reads::NOW,
            "clock" => Reads::CLOCK,
            "sourceIp" => Reads::SOURCE,
            "session" => Reads::SESSION,
            "issuer" => Reads::ISSUER,
            "onBehalfOf" | "chain" => Reads::CHAIN,
            "risk" => Reads::RISK,
            "approvals" => Reads::APPROVALS,
            "login" | "amr" | "acr" => Reads::LOGIN,
            _ => Reads::ALL,
        },
        ["sql", "tables" | "functions", ..] => Reads::SQL | Reads::OBJECTS,
        ["sql", _, ..] => Reads::SQL,
        [
            "ssh",
            "kind" | "parsed" | "code" | "pty" | "hasStdin" | "stdinOpen" | "onlyReads" | "dynamic",
            ..,
        ] => Reads::SSH,
        ["ssh", _, ..] => Reads::SSH | Reads::LINES,
        ["requesters", ..] => Reads::NOTHING,
        _ => Reads::ALL,
    }
}

/// `context.a.b` as the variable and the names that follow it.
pub(crate) fn static_path(expr: &Expr) -> Option<(Var, Vec<&str>)> {
    let mut names = VecDeque::new();
    let mut at = expr;
    loop {
        match at {
            Expr::GetAttr { expr, attr } => {
                names.push_front(attr.as_str());
                at = expr;
            }
            Expr::Var(var) => return Some((var.clone(), names.into())),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(condition: &str) -> Reads {
        let text = format!("permit(principal, action, resource) when {{ {condition} }};");
        let policy: cedar_policy::Policy = text.parse().expect("a policy");
        Reads::of(policy.to_pst().expect("a syntax tree").body())
    }

    #[test]
    fn what_conditions_read() {
        for (condition, expect) in [
            ("true", Reads::NOTHING),
            ("principal.mfa && resource.known", Reads::NOTHING),
            ("context.base.now > datetime(\"2026-01-01\")", Reads::NOW),
            (
                "if context.base.clock.minute > 5 then true else false",
                Reads::CLOCK,
            ),
            ("!(context.base.risk.score > 5)", Reads::RISK),
            ("[context.base.session].contains(\"x\")", Reads::SESSION),
            ("{a: context.base.issuer}.a == \"x\"", Reads::ISSUER),
            (
                "context.base.sourceIp.isInRange(ip(\"10.0.0.0/8\"))",
                Reads::SOURCE,
            ),
            ("context.base has onBehalfOf", Reads::CHAIN),
            ("context has base.onBehalfOf", Reads::CHAIN),
            ("context has sql && context.sql.parsed", Reads::SQL),
            ("context.sql.tables.isEmpty()", Reads::SQL | Reads::OBJECTS),
            ("context.base.approvals.isEmpty()", Reads::APPROVALS),
            ("context.base has login", Reads::LOGIN),
            ("context.base.amr.contains(\"hwk\")", Reads::LOGIN),
            ("context.base == context.base", Reads::ALL),
            ("context has ssh && context.ssh.parsed", Reads::SSH),
            (
                "context.ssh.programs.contains(\"rm\")",
                Reads::SSH | Reads::LINES,
            ),
            ("context.ssh == context.ssh", Reads::ALL),
            ("context == context", Reads::ALL),
            ("context.sql == context.sql", Reads::ALL),
            ("context.base.unheardof", Reads::ALL),
        ] {
            assert_eq!(reads(condition), expect, "{condition}");
        }
    }
}
