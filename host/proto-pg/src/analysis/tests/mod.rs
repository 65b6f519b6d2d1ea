//! Tests of the analysis: tables of statements, and the same statements on a real server.

mod bends;
mod bypass;
mod clients;
mod columns;
mod computed;
mod decides;
mod facts;
mod hidden;
mod hostile;
mod made_up;
mod names;
mod oracle;
mod outside;
mod places;
mod truth;
mod unused;

use std::sync::Arc;

use pipeline::{LabelCatalog, LabelRule, Protocol, Resource, Target};

use super::{Analysis, Ctx, Limits, analyse};
use crate::catalog::{SessionState, Snapshot};

/// What an analysis needs besides the text.
struct World {
    snapshot: Snapshot,
    state: SessionState,
    labels: LabelCatalog,
    target: Arc<Target>,
    database: Arc<str>,
    limits: Limits,
}

impl World {
    fn new(snapshot: Snapshot, state: SessionState) -> Self {
        let rule = |schema: &str, table: &str, column: &str| LabelRule {
            target: "*".into(),
            schema: schema.into(),
            table: table.into(),
            column: column.into(),
            labels: [Arc::from("pii")].into(),
        };
        Self {
            snapshot,
            state,
            labels: LabelCatalog::new(vec![rule("*", "*", "ssn"), rule("public", "emp", "pay")]),
            target: Arc::new(Target {
                name: "t".into(),
                protocol: Protocol::Postgres,
                env: "dev".into(),
                tags: Default::default(),
            }),
            database: "postgres".into(),
            limits: Limits::default(),
        }
    }

    fn analyse(&self, sql: &str) -> Analysis {
        self.analyse_bytes(sql.as_bytes())
    }

    fn analyse_bytes(&self, sql: &[u8]) -> Analysis {
        analyse(
            sql,
            &Ctx {
                snapshot: &self.snapshot,
                state: &self.state,
                labels: &self.labels,
                target: &self.target,
                database: &self.database,
                read_only_txn: false,
                settled: false,
                limits: &self.limits,
            },
        )
    }
}

/// `select:public.emp+pii` for each access, and flags.
fn show(analysis: &Analysis) -> String {
    let mut parts = vec![analysis.facts.kind.as_str().to_owned()];
    for access in &analysis.accesses {
        let action = access.action.as_str().trim_start_matches("postgres:");
        let on = match &access.resource {
            Resource::PgDatabase { .. } => "db".to_owned(),
            Resource::PgSchema { schema, .. } => format!("{schema}.*"),
            Resource::PgTable {
                schema,
                table,
                known,
                labels,
                ..
            } => {
                let known = if *known { "" } else { "?" };
                let labels = if labels.is_empty() { "" } else { "+" };
                format!("{schema}.{table}{known}{labels}")
            }
            Resource::PgFunction {
                schema,
                function,
                known,
                dangerous,
                ..
            } => {
                let known = if *known { "" } else { "?" };
                let dangerous = if *dangerous { "!" } else { "" };
                format!("{schema}.{function}(){known}{dangerous}")
            }
            Resource::PgRole { role } => format!("role {role}"),
            other => format!("{other:?}"),
        };
        parts.push(format!("{action}:{on}"));
    }
    let facts = &analysis.facts;
    for (flag, name) in [
        (facts.multi_statement, "multi"),
        (!facts.has_where, "no-where"),
        (facts.locks, "locks"),
        (facts.writes, "writes"),
        (!facts.parsed, "NOT-PARSED"),
        (analysis.unmaskable.is_some(), "UNMASKABLE"),
        (analysis.refuse.is_some(), "REFUSED"),
    ] {
        if flag {
            parts.push(name.to_owned());
        }
    }
    if let Some(limit) = facts.limit {
        parts.push(format!("limit={limit}"));
    }
    parts.join(" ")
}
