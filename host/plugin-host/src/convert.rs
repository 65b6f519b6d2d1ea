//! The pipeline's vocabulary in the words of the contract.

use pipeline::mask::{Encoding, MaskColumn};
use pipeline::{
    ApprovalRule, Demand, Facts, Protocol, Relation, Risk, SessionInfo, SqlFacts, SqlKind,
};

use crate::bindings::mask::exports::weir::plugin::mask as wit_mask;
use crate::bindings::route::exports::weir::plugin::route as wit_route;
use crate::bindings::types;

mod ssh;

/// Keys of `attrs` without a prefix are Weir's own; `claim.` comes from the token, `tag.` from the
/// target's configuration, `client.` from the client, who can say anything.
pub(crate) fn session(info: &SessionInfo) -> types::Session {
    let principal = &info.principal;
    let actor = &principal.actor;
    let mut about = vec![
        ("issuer".to_owned(), principal.issuer.to_string()),
        ("mfa".to_owned(), actor.mfa.to_string()),
        ("autonomous".to_owned(), actor.autonomous.to_string()),
    ];
    if let Some(owner) = &actor.owner {
        about.push(("owner".into(), owner.to_string()));
    }
    about.extend(prefixed("claim.", &actor.attrs));
    let mut attrs = vec![
        (
            scope(info.target.protocol).to_owned(),
            info.scope.to_string(),
        ),
        ("env".to_owned(), info.target.env.to_string()),
        ("source".to_owned(), info.source.to_string()),
    ];
    attrs.extend(prefixed("tag.", &info.target.tags));
    attrs.extend(prefixed("client.", &info.attrs));
    types::Session {
        id: info.id_text.to_string(),
        protocol: protocol(info.target.protocol),
        principal: types::Principal {
            kind: actor.kind.as_str().into(),
            subject: actor.subject.to_string(),
            groups: actor.groups.iter().map(|g| g.to_string()).collect(),
            chain: principal
                .on_behalf_of
                .iter()
                .map(|a| a.subject.to_string())
                .collect(),
            attrs: about,
        },
        target: info.target.name.to_string(),
        attrs,
    }
}

pub(crate) fn protocol(protocol: Protocol) -> types::Protocol {
    match protocol {
        Protocol::Postgres => types::Protocol::Postgres,
        Protocol::Ssh => types::Protocol::Ssh,
    }
}

/// What the part of a target is called that a session is in.
fn scope(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Postgres => "database",
        Protocol::Ssh => "login",
    }
}

fn prefixed<'a>(
    prefix: &'a str,
    map: &'a std::collections::BTreeMap<String, String>,
) -> impl Iterator<Item = (String, String)> + 'a {
    map.iter()
        .map(move |(k, v)| (format!("{prefix}{k}"), v.clone()))
}

pub(crate) fn operation(facts: &Facts) -> types::Operation {
    match facts {
        Facts::Connect {
            protocol,
            scope: name,
        } => types::Operation::Other(types::OtherOp {
            kind: "connect".into(),
            attrs: vec![(scope(*protocol).into(), name.to_string())],
            payload: Vec::new(),
        }),
        Facts::Sql(sql) => types::Operation::Sql(sql_op(sql)),
        Facts::Ssh(ssh) => types::Operation::Ssh(ssh::op(ssh)),
    }
}

fn sql_op(sql: &SqlFacts) -> types::SqlOp {
    let flags = [
        (types::SqlFacts::HAS_WHERE, sql.has_where),
        (types::SqlFacts::HAS_LIMIT, sql.has_limit),
        (types::SqlFacts::MULTI_STATEMENT, sql.multi_statement),
        (types::SqlFacts::TOUCHES_CATALOG, sql.touches_catalog),
        (types::SqlFacts::WRITES, sql.writes),
        (types::SqlFacts::LOCKS, sql.locks),
        (types::SqlFacts::UNPARSED, !sql.parsed),
        (types::SqlFacts::READ_ONLY_TRANSACTION, sql.read_only_txn),
    ];
    let facts = flags
        .into_iter()
        .filter(|(_, set)| *set)
        .fold(types::SqlFacts::empty(), |all, (flag, _)| all | flag);
    types::SqlOp {
        text: text(sql),
        kind: sql_kind(sql.kind),
        facts,
        limit: sql.limit,
        reads: sql.reads.iter().map(relation).collect(),
        writes: sql.writes_to.iter().map(relation).collect(),
        functions: sql.functions.iter().map(|f| f.to_string()).collect(),
        attrs: Vec::new(),
    }
}

/// The text, and behind it what it runs by name: a classifier must not be passed by with EXECUTE.
fn text(sql: &SqlFacts) -> String {
    let mut text = sql.text.to_string();
    for named in &sql.runs {
        text.push_str("\n;\n");
        text.push_str(&named.text);
    }
    text
}

fn relation(relation: &Relation) -> types::Relation {
    types::Relation {
        schema: relation.schema.to_string(),
        name: relation.name.to_string(),
        labels: relation.labels.iter().map(|l| l.to_string()).collect(),
    }
}

fn sql_kind(kind: SqlKind) -> types::SqlKind {
    match kind {
        SqlKind::Empty => types::SqlKind::Empty,
        SqlKind::Transaction => types::SqlKind::Transaction,
        SqlKind::Session => types::SqlKind::Session,
        SqlKind::Select => types::SqlKind::Select,
        SqlKind::Copy => types::SqlKind::Copy,
        SqlKind::Call => types::SqlKind::Call,
        SqlKind::Insert => types::SqlKind::Insert,
        SqlKind::Update => types::SqlKind::Update,
        SqlKind::Merge => types::SqlKind::Merge,
        SqlKind::Delete => types::SqlKind::Delete,
        SqlKind::Ddl => types::SqlKind::Ddl,
        SqlKind::Dcl => types::SqlKind::Dcl,
        SqlKind::Utility => types::SqlKind::Utility,
        SqlKind::Unknown => types::SqlKind::Unknown,
    }
}

/// The joint risk, for routers. Of several demands the strictest is told.
pub(crate) fn risk(risk: &Risk) -> types::Risk {
    let strictness = |d: &&Demand| match d {
        Demand::None => 0,
        Demand::Escalate(_) => 1,
        Demand::Refuse(_) => 2,
    };
    types::Risk {
        score: risk.score,
        labels: risk.labels.iter().cloned().collect(),
        findings: risk
            .findings
            .iter()
            .map(|f| types::Finding {
                code: f.code.clone(),
                message: f.message.clone(),
            })
            .collect(),
        demand: match risk.demands.iter().max_by_key(strictness) {
            None | Some(Demand::None) => types::Demand::None,
            Some(Demand::Escalate(rule)) => types::Demand::Escalate(rule.clone()),
            Some(Demand::Refuse(reason)) => types::Demand::Refuse(reason.clone()),
        },
    }
}

pub(crate) fn rule(rule: &ApprovalRule) -> wit_route::Rule {
    wit_route::Rule {
        name: rule.name.to_string(),
        approvers: rule.approvers.iter().map(|g| g.to_string()).collect(),
        required: rule.required,
        ttl_seconds: u32::try_from(rule.ttl.as_secs()).unwrap_or(u32::MAX),
        description: rule.description.clone(),
        attrs: Vec::new(),
    }
}

pub(crate) fn columns(columns: &[MaskColumn]) -> Vec<wit_mask::Column> {
    columns
        .iter()
        .map(|c| wit_mask::Column {
            name: c.name.clone(),
            type_name: c.type_name.clone(),
            type_oid: c.type_oid,
            origin: c.origin.clone(),
            labels: c.labels.clone(),
            encoding: match c.encoding {
                Encoding::Text => wit_mask::Encoding::Text,
                Encoding::Binary => wit_mask::Encoding::Binary,
                Encoding::Json => wit_mask::Encoding::Json,
            },
            must_mask: c.must_mask,
            attrs: Vec::new(),
        })
        .collect()
}
