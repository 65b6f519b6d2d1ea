//! Rules for policies beyond what Cedar's validator knows.
//!
//! Each of them stands for a way in which a policy can look right and do nothing, or do too much.

use std::collections::BTreeSet;

use cedar_policy_core::pst::{
    ActionConstraint, BinaryOp, Clause, Effect, EntityOrSlot, EntityUID, Expr, Literal,
    PrincipalConstraint, ResourceConstraint, Template, UnaryOp, Var,
};

use crate::model::Model;
use crate::reads::static_path;
use crate::vocab::path_len;

const PREFIXES: &[&str] = &["grant.", "jit.", "relief.", "guard."];
/// Annotations that say something to Weir. Anything else is a typo, or believes that annotations
/// change decisions; they never do.
const ANNOTATIONS: &[&str] = &["id", "reason", "description"];
const MAX_TEXT: usize = 500;

/// One finding: what is wrong, and what to do.
pub(crate) type Finding = (String, &'static str);

/// Looks at one policy.
pub(crate) fn policy(policy: &Template, model: &Model) -> Vec<Finding> {
    let mut lint = Lint {
        policy,
        model,
        found: Vec::new(),
    };
    lint.annotations();
    lint.scope();
    lint.literals();
    for clause in policy.clauses() {
        lint.clause(clause);
    }
    lint.found.sort();
    lint.found.dedup();
    lint.found
}

struct Lint<'a> {
    policy: &'a Template,
    model: &'a Model,
    found: Vec<Finding>,
}

impl<'a> Lint<'a> {
    fn fail(&mut self, message: impl Into<String>, help: &'static str) {
        self.found.push((message.into(), help));
    }

    fn id(&self) -> &'a str {
        self.policy
            .annotations
            .get("id")
            .map_or("", |id| id.as_str())
    }

    fn annotations(&mut self) {
        let id = self.id();
        let prefix = PREFIXES.iter().find(|p| id.starts_with(**p));
        let clean = id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
        let Some(prefix) = prefix.filter(|p| clean && id.len() > p.len() && id.len() <= 128) else {
            self.fail(
                format!("every policy needs an @id like \"grant.…\"; this one has {id:?}"),
                "grant. and jit. give access, relief. lifts an obligation, guard. forbids",
            );
            return;
        };
        if (*prefix == "guard.") != (self.policy.effect == Effect::Forbid) {
            self.fail(
                format!("{id}: guard.* is for forbid, and the other prefixes are for permit"),
                "rename the policy or change its effect",
            );
        }
        for (name, value) in &self.policy.annotations {
            if !ANNOTATIONS.contains(&name.as_str()) {
                self.fail(
                    format!("the annotation @{name} means nothing to Weir"),
                    "use @id, @reason and @description; approvals are facts in the context",
                );
            }
            if value.len() > MAX_TEXT || value.contains(char::is_control) {
                self.fail(
                    format!("@{name} must be one line of at most {MAX_TEXT} bytes"),
                    "it is shown to people",
                );
            }
        }
        let reason = self.policy.annotations.get("reason");
        if self.policy.effect == Effect::Forbid && reason.is_none_or(|r| r.trim().is_empty()) {
            self.fail(
                format!("{id} needs a @reason"),
                "it is what the refused person reads",
            );
        }
    }

    fn scope(&mut self) {
        if !self.policy.is_static() {
            self.fail("templates are not supported", "write the policy out");
        }
        if self.policy.effect == Effect::Forbid {
            return;
        }
        let unbound = matches!(self.policy.principal, PrincipalConstraint::Any)
            && matches!(self.policy.resource, ResourceConstraint::Any)
            && self.policy.clauses().iter().all(is_trivial);
        if unbound || matches!(self.policy.action, ActionConstraint::Any) {
            self.fail(
                "this permit is not scoped",
                "name actions, and a principal, a resource or a condition",
            );
        }
        let actions = self.model.matched_actions(&self.policy.action);
        let in_group = |group: &str| -> BTreeSet<&str> {
            let member = |a: &&&str| self.model.is_in_group(a, group);
            actions.iter().filter(member).copied().collect()
        };
        let (relief, control) = (in_group("relief"), in_group("control"));
        let is_relief = self.id().starts_with("relief.");
        if is_relief && relief.len() != actions.len() {
            self.fail(
                "relief.* may only name actions of the group \"relief\"",
                "call it grant.*, or name only data:reveal and data:compute",
            );
        }
        if !is_relief && !relief.is_empty() {
            self.fail(
                format!("only relief.* may permit {}", list(&relief)),
                "put it into a policy of its own",
            );
        }
        if !control.is_empty() && control.len() != actions.len() {
            self.fail(
                "one permit for targets and for Weir's own control plane",
                "split it into two",
            );
        }
    }

    /// Ids of resources are paths; a bare table name would never match.
    fn literals(&mut self) {
        let mut bad = BTreeSet::new();
        let mut look = |uid: &EntityUID| {
            let ty = uid.ty.to_string();
            if path_len(&ty).is_some_and(|len| uid.eid.split('/').count() != len) {
                bad.insert(format!("{ty}::{:?} can never be a resource's id", uid.eid));
            }
        };
        match &self.policy.resource {
            ResourceConstraint::Eq(EntityOrSlot::Entity(uid))
            | ResourceConstraint::In(EntityOrSlot::Entity(uid))
            | ResourceConstraint::IsIn(_, EntityOrSlot::Entity(uid)) => look(uid),
            _ => {}
        }
        for uid in literals_of(self.policy) {
            look(&uid);
        }
        for message in bad {
            self.fail(
                message,
                "write target/database, …/schema, …/table, …/column",
            );
        }
    }

    fn clause(&mut self, clause: &Clause) {
        let (expr, when) = match clause {
            Clause::When(e) => (e, true),
            Clause::Unless(e) => (e, false),
        };
        // An approval must only ever help: that is what makes "would it be permitted if all rules
        // were satisfied" a meaningful question.
        let permits_when_true = when == (self.policy.effect == Effect::Permit);
        self.approvals(expr, permits_when_true);
        self.walk(expr);
    }

    /// `helps`: the truth of `expr` makes a permit more likely.
    fn approvals(&mut self, expr: &Expr, helps: bool) {
        match expr {
            Expr::UnaryOp {
                op: UnaryOp::Not,
                expr,
            } => self.approvals(expr, !helps),
            Expr::BinaryOp {
                op: BinaryOp::And | BinaryOp::Or,
                left,
                right,
            } => {
                self.approvals(left, helps);
                self.approvals(right, helps);
            }
            Expr::IfThenElse {
                cond,
                then_expr,
                else_expr,
            } => {
                self.no_approvals(cond);
                self.approvals(then_expr, helps);
                self.approvals(else_expr, helps);
            }
            Expr::BinaryOp {
                op: BinaryOp::Contains | BinaryOp::ContainsAny | BinaryOp::ContainsAll,
                left,
                right,
            } if is_approvals(left) => {
                self.no_approvals(right);
                if !helps {
                    self.fail(
                        "an approval would make this stricter",
                        "use approvals in the unless of a forbid or the when of a permit",
                    );
                }
            }
            other => self.no_approvals(other),
        }
    }

    fn no_approvals(&mut self, expr: &Expr) {
        let used = expr.reduce(&|e| is_approvals(e).then_some(true), &|a, b| a || b, false);
        if used {
            self.fail(
                "context.base.approvals may only be asked with contains, containsAny or containsAll",
                "combine them with &&, || and !",
            );
        }
    }

    /// Everything that can stand anywhere in a condition.
    fn walk(&mut self, expr: &Expr) {
        let mut nodes = Vec::new();
        collect(expr, &mut nodes);
        for node in nodes {
            match node {
                Expr::BinaryOp { op, .. } if self.policy.effect == Effect::Forbid => {
                    self.arithmetic(arithmetic(*op));
                }
                Expr::UnaryOp {
                    op: UnaryOp::Neg,
                    expr,
                } if self.policy.effect == Effect::Forbid
                    && !matches!(**expr, Expr::Literal(_)) =>
                {
                    self.arithmetic(Some("-"));
                }
                Expr::HasAttr { expr, attrs } => {
                    let attrs: Vec<&str> = attrs.iter().map(|a| a.as_str()).collect();
                    self.declared(expr, &attrs);
                }
                _ => {}
            }
        }
        if whole_context(expr) {
            self.fail(
                "the context is used as a whole",
                "name the attributes, so that Weir knows what a decision depends on",
            );
        }
    }

    /// Overflow is an error at run time, and Cedar skips a policy that errors.
    fn arithmetic(&mut self, op: Option<&str>) {
        if let Some(op) = op {
            self.fail(
                format!("{op} in a forbid can overflow"),
                "compare with constants instead",
            );
        }
    }

    /// `has` on an attribute that nothing declares is always false, and Cedar says nothing.
    fn declared(&mut self, expr: &Expr, attrs: &[&str]) {
        let Some((var, path)) = static_path(expr) else {
            self.fail(
                "has may only be asked of principal, resource, context and their attributes",
                "name the path",
            );
            return;
        };
        let mut shapes = self.model.shapes_of(var, self.policy);
        for name in path {
            shapes = self.model.step(&shapes, name);
        }
        for name in attrs {
            shapes = self.model.step(&shapes, name);
            if shapes.is_empty() {
                self.fail(
                    format!("{name:?} is not an attribute of what this policy applies to"),
                    "check the spelling against the schema",
                );
                return;
            }
        }
    }
}

fn list(names: &BTreeSet<&str>) -> String {
    names.iter().copied().collect::<Vec<_>>().join(", ")
}

fn is_trivial(clause: &Clause) -> bool {
    use cedar_policy_core::pst::Literal::Bool;
    match clause {
        Clause::When(e) => matches!(**e, Expr::Literal(Bool(true))),
        Clause::Unless(e) => matches!(**e, Expr::Literal(Bool(false))),
    }
}

fn is_approvals(expr: &Expr) -> bool {
    matches!(static_path(expr), Some((Var::Context, path)) if path == ["base", "approvals"])
}

fn arithmetic(op: BinaryOp) -> Option<&'static str> {
    match op {
        BinaryOp::Add => Some("+"),
        BinaryOp::Sub => Some("-"),
        BinaryOp::Mul => Some("*"),
        BinaryOp::Offset => Some("offset"),
        BinaryOp::DurationSince => Some("durationSince"),
        _ => None,
    }
}

/// Is `context`, `context.base` or `context.sql` used other than by naming an attribute?
fn whole_context(expr: &Expr) -> bool {
    expr.reduce(
        &|e| match e {
            Expr::HasAttr { expr, .. } => static_path(expr).map(|_| false),
            _ => {
                let (var, path) = static_path(e)?;
                let whole =
                    path.is_empty() || path == ["base"] || path == ["sql"] || path == ["ssh"];
                Some(var == Var::Context && whole)
            }
        },
        &|a, b| a || b,
        false,
    )
}

/// All nodes of an expression. Depth is bounded: the text was scanned before it was parsed.
fn collect<'e>(expr: &'e Expr, out: &mut Vec<&'e Expr>) {
    out.push(expr);
    match expr {
        Expr::UnaryOp { expr, .. }
        | Expr::GetAttr { expr, .. }
        | Expr::HasAttr { expr, .. }
        | Expr::Like { expr, .. } => collect(expr, out),
        Expr::BinaryOp { left, right, .. } => {
            collect(left, out);
            collect(right, out);
        }
        Expr::Is { expr, in_expr, .. } => {
            collect(expr, out);
            if let Some(e) = in_expr {
                collect(e, out);
            }
        }
        Expr::IfThenElse {
            cond,
            then_expr,
            else_expr,
        } => {
            for e in [cond, then_expr, else_expr] {
                collect(e, out);
            }
        }
        Expr::Set(items) => items.iter().for_each(|e| collect(e, out)),
        Expr::Record(map) => map.values().for_each(|e| collect(e, out)),
        _ => {}
    }
}

/// Entity literals in the conditions.
pub(crate) fn literals_of(policy: &Template) -> Vec<EntityUID> {
    let mut nodes = Vec::new();
    for clause in policy.clauses() {
        match clause {
            Clause::When(e) | Clause::Unless(e) => collect(e, &mut nodes),
        }
    }
    nodes
        .into_iter()
        .filter_map(|e| match e {
            Expr::Literal(Literal::EntityUID(uid)) => Some(uid.clone()),
            _ => None,
        })
        .collect()
}

/// Does a condition look into an action entity that it names? `action in [Action::"…"]` does not:
/// only the groups of the action that is asked for are looked at.
pub(crate) fn looks_up_actions(policy: &Template) -> bool {
    fn looks_up(expr: &Expr) -> Option<bool> {
        match expr {
            Expr::Literal(Literal::EntityUID(uid)) => Some(uid.ty.to_string() == "Action"),
            Expr::BinaryOp {
                op: BinaryOp::In,
                left,
                right,
            } if matches!(**left, Expr::Var(Var::Action)) && is_literal(right) => Some(false),
            _ => None,
        }
    }
    fn is_literal(expr: &Expr) -> bool {
        match expr {
            Expr::Literal(_) => true,
            Expr::Set(items) => items.iter().all(|e| matches!(**e, Expr::Literal(_))),
            _ => false,
        }
    }
    policy.clauses().iter().any(|clause| match clause {
        Clause::When(e) | Clause::Unless(e) => e.reduce(&looks_up, &|a, b| a || b, false),
    })
}
