//! What a statement that waits for people would touch, found out over a connection of its own.
//!
//! Place in the flow: `relay` hands a [`Surveyor`] to `decide`, which asks it when a hold is about to be
//! opened. What comes back is shown and recorded; it decides nothing.
//!
//! Invariants:
//! - Nothing here waits longer than `Limits::survey_time`, and a failure is a gap in what is shown.
//! - The connection is read-only, looks names of our own up in `pg_catalog` alone, and has the client's
//!   search path for nothing but an EXPLAIN.
//! - A text is planned only if all code that planning it can run is PostgreSQL's own.
//! - Numbers and names are taken from the answers; a plan's text never is.

mod locks;
mod plan;
mod questions;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use pipeline::{Action, Impact, Resource, Survey, TouchedTable};

use crate::catalog::{Path, Snapshot, family};
use crate::relay::Link;
use crate::statements::Judged;
use crate::upstream::{Bounds, QueryError, Upstream, UpstreamError};
use questions::{Change, MOST};

/// Of one answer.
const MAX_BYTES: usize = 4 << 20;
/// How long the survey may wait for a lock. Whoever wants the same lock waits behind it.
const LOCK_TIMEOUT: &str = "100ms";

/// The statement that is decided on.
#[derive(Clone, Copy)]
pub(crate) struct About<'a> {
    judged: &'a Judged,
    sql: &'a [u8],
    /// It has parameters, whose values a plan would need.
    parameters: bool,
}

impl<'a> About<'a> {
    pub fn text(judged: &'a Judged, sql: &'a [u8]) -> Self {
        Self {
            judged,
            sql,
            parameters: false,
        }
    }

    pub fn with_parameters(judged: &'a Judged, sql: &'a [u8]) -> Self {
        Self {
            parameters: true,
            ..Self::text(judged, sql)
        }
    }
}

/// A statement, and from where it is looked at.
pub(crate) struct Surveyor<'a> {
    pub about: About<'a>,
    pub link: &'a Link,
    /// Where the session looks names up, if that is known.
    pub path: Option<Vec<Arc<str>>>,
}

/// A touched table, by its OID, with what is done to it.
struct Touched {
    /// Its own, and those of the tables whose rows are read through it.
    family: Vec<u32>,
    actions: Vec<Action>,
    shown: TouchedTable,
}

/// A write that can fire triggers.
struct Firing {
    oid: u32,
    action: Action,
    /// The touched table that is the reason for it.
    at: usize,
    /// Another table, that a foreign key passes it on to.
    on: Option<String>,
}

#[async_trait]
impl Survey for Surveyor<'_> {
    async fn survey(&self) -> Impact {
        let mut touched = self.touched();
        let mut impact = Impact {
            in_transaction: self.link.in_transaction(),
            ..Impact::default()
        };
        if !self.about.judged.analysis.facts.parsed {
            let gap = "the statement is not understood: it can touch anything";
            impact.gaps.push(gap.into());
        }
        let asked = self.ask(&mut impact, &mut touched);
        let in_time = tokio::time::timeout(self.link.limits.survey_time, asked).await;
        if in_time.is_err() {
            let limit = self.link.limits.survey_time.as_millis();
            let gap = format!("what the target did not answer within {limit} ms");
            impact.gaps.push(gap);
        }
        impact.tables = touched.into_iter().map(|t| t.shown).collect();
        impact
    }
}

impl Surveyor<'_> {
    /// Known without asking anybody.
    fn touched(&self) -> Vec<Touched> {
        let analysis = &self.about.judged.analysis;
        let snapshot = &self.about.judged.snapshot;
        let ddl = std::str::from_utf8(self.about.sql)
            .ok()
            .and_then(locks::of_text);
        let mut tables: BTreeMap<(Arc<str>, Arc<str>), Touched> = BTreeMap::new();
        for access in &analysis.accesses {
            let Resource::PgTable { schema, table, .. } = &access.resource else {
                continue;
            };
            let key = (schema.clone(), table.clone());
            let entry = tables.entry(key).or_insert_with(|| Touched {
                family: family_of(snapshot, schema, table),
                actions: Vec::new(),
                shown: TouchedTable {
                    schema: schema.clone(),
                    name: table.clone(),
                    ..TouchedTable::default()
                },
            });
            if !entry.actions.contains(&access.action) {
                entry.actions.push(access.action);
                entry.shown.actions.push(access.action.as_str());
            }
        }
        let mut touched: Vec<Touched> = tables.into_values().collect();
        for t in &mut touched {
            let locks = t.actions.iter();
            let strongest = locks
                .filter_map(|a| locks::of_access(*a, analysis.facts.locks, ddl))
                .max();
            t.shown.lock = strongest.map(locks::Lock::as_str);
        }
        // Written tables first; the rest may be cut.
        touched.sort_by_key(|t| !t.writes());
        touched
    }

    async fn ask(&self, impact: &mut Impact, touched: &mut Vec<Touched>) {
        if touched.len() > MOST {
            let more = touched.len() - MOST;
            touched.truncate(MOST);
            impact.gaps.push(format!("{more} more tables"));
        }
        let Ok(_turn) = self.link.surveys.try_acquire() else {
            let gap = "sizes, triggers, foreign keys and estimates: too many statements are being \
                       looked at";
            impact.gaps.push(gap.into());
            return;
        };
        let mut side = match self.connect().await {
            Ok(side) => side,
            Err(error) => {
                tracing::warn!(%error, "the connection for a survey could not be made");
                let gap = "sizes, triggers, foreign keys and estimates: the target does not take \
                           another connection";
                impact.gaps.push(gap.into());
                return;
            }
        };
        self.sizes(&mut side, impact, touched).await;
        let passed = self.foreign_keys(&mut side, impact, touched).await;
        self.triggers(&mut side, impact, touched, passed).await;
        self.held(&mut side, impact).await;
        match self.estimate(&mut side).await {
            Ok(rows) => impact.rows = Some(rows),
            Err(why) => impact.gaps.push(format!("how many rows: {why}")),
        }
    }

    async fn connect(&self) -> Result<Upstream, UpstreamError> {
        let time = format!("{}ms", self.bounds().milliseconds());
        let settings = [
            ("application_name", "weir: what a held statement touches"),
            ("client_encoding", "UTF8"),
            ("search_path", "pg_catalog"),
            ("default_transaction_read_only", "on"),
            ("statement_timeout", time.as_str()),
            ("lock_timeout", LOCK_TIMEOUT),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let (target, info) = (&self.link.cancellable.target, self.link.session.info());
        Upstream::connect(target, &info.scope, &settings, &self.link.limits).await
    }

    fn bounds(&self) -> Bounds {
        Bounds {
            rows: 4 * MOST * MOST,
            bytes: MAX_BYTES,
            time: self.link.limits.survey_time,
        }
    }

    async fn sizes(&self, side: &mut Upstream, impact: &mut Impact, touched: &mut [Touched]) {
        let oids: Vec<u32> = touched.iter().flat_map(|t| t.family.clone()).collect();
        let rows = match side.query(&questions::sizes(&oids), self.bounds()).await {
            Ok(rows) => rows,
            Err(error) => return impact.gaps.push(gap("sizes of tables", &error)),
        };
        let mut known = BTreeMap::new();
        for row in &rows {
            let text = |i: usize| row.get(i).and_then(Option::as_deref);
            if let Some(oid) = text(0).and_then(|t| t.parse::<u32>().ok()) {
                known.insert(oid, (questions::count(text(1)), questions::count(text(2))));
            }
        }
        for t in touched {
            // Of which one is not known, the others' sum would be too small.
            t.shown.rows = sum(&t.family, |oid| known.get(&oid)?.0);
            t.shown.bytes = sum(&t.family, |oid| known.get(&oid)?.1);
        }
    }

    async fn triggers(
        &self,
        side: &mut Upstream,
        impact: &mut Impact,
        touched: &mut [Touched],
        mut firing: Vec<Firing>,
    ) {
        for (at, t) in touched.iter().enumerate().filter(|(_, t)| t.writes()) {
            for &oid in &t.family {
                firing.extend(t.actions.iter().map(|&action| Firing {
                    oid,
                    action,
                    at,
                    on: None,
                }));
            }
        }
        if firing.is_empty() {
            return;
        }
        let mut oids: Vec<u32> = firing.iter().map(|f| f.oid).collect();
        oids.sort_unstable();
        oids.dedup();
        let rows = match side.query(&questions::triggers(&oids), self.bounds()).await {
            Ok(rows) => rows,
            Err(error) => return impact.gaps.push(gap("triggers", &error)),
        };
        if rows.len() > MOST {
            impact.gaps.push(format!("triggers beyond {MOST}"));
        }
        for row in rows.iter().take(MOST) {
            let text = |i: usize| row.get(i).and_then(Option::as_deref);
            let oid: Option<u32> = text(0).and_then(|t| t.parse().ok());
            let events: i32 = text(2).and_then(|t| t.parse().ok()).unwrap_or(i32::MAX);
            let fire = firing
                .iter()
                .filter(|f| oid == Some(f.oid) && questions::fires(events, f.action));
            for f in fire {
                let name = text(1).unwrap_or_default();
                let trigger = match &f.on {
                    None => name.to_owned(),
                    Some(table) => format!("{name}, on {table}"),
                };
                // A partition has its parent's.
                if let Some(t) = touched.get_mut(f.at)
                    && !t.shown.triggers.contains(&trigger)
                {
                    t.shown.triggers.push(trigger);
                }
            }
        }
    }

    /// Also what can fire because of them.
    async fn foreign_keys(
        &self,
        side: &mut Upstream,
        impact: &mut Impact,
        touched: &mut [Touched],
    ) -> Vec<Firing> {
        let mut passed = Vec::new();
        for (change, actions) in [
            (
                Change::Delete,
                &[Action::PostgresDelete, Action::PostgresMerge][..],
            ),
            (
                Change::Update,
                &[Action::PostgresUpdate, Action::PostgresMerge],
            ),
            (Change::Truncate, &[Action::PostgresTruncate]),
        ] {
            let about = touched
                .iter()
                .filter(|t| t.actions.iter().any(|a| actions.contains(a)));
            let oids: Vec<u32> = about.flat_map(|t| t.family.clone()).collect();
            if oids.is_empty() {
                continue;
            }
            let question = questions::cascades(&oids, change);
            let rows = match side.query(&question, self.bounds()).await {
                Ok(rows) => rows,
                Err(error) => {
                    impact.gaps.push(gap("foreign keys", &error));
                    return passed;
                }
            };
            if rows.len() > MOST {
                impact.gaps.push(format!("foreign keys beyond {MOST}"));
            }
            for row in rows.iter().take(MOST) {
                let Some(found) = questions::cascade(row, change) else {
                    continue;
                };
                let Some(at) = touched.iter().position(|t| t.family.contains(&found.root)) else {
                    continue;
                };
                passed.push(Firing {
                    oid: found.child,
                    action: found.action,
                    at,
                    on: Some(found.shown.table.clone()),
                });
                if let Some(t) = touched.get_mut(at)
                    && !t.shown.cascades.contains(&found.shown)
                {
                    t.shown.cascades.push(found.shown);
                }
            }
        }
        passed
    }

    async fn held(&self, side: &mut Upstream, impact: &mut Impact) {
        if !impact.in_transaction {
            return;
        }
        let Some(process) = &self.link.cancellable.upstream else {
            let gap =
                "locks that the transaction holds: the target does not say which process it is";
            return impact.gaps.push(gap.into());
        };
        match side
            .query(&questions::held(process.process()), self.bounds())
            .await
        {
            Ok(rows) => {
                impact.held = questions::held_locks(&rows);
                if impact.held.len() > MOST {
                    impact.held.truncate(MOST);
                    impact.gaps.push(format!("locks beyond {MOST}"));
                }
            }
            Err(error) => impact
                .gaps
                .push(gap("locks that the transaction holds", &error)),
        }
    }

    /// The planner's estimate, or why there is none.
    async fn estimate(&self, side: &mut Upstream) -> Result<u64, String> {
        let analysis = &self.about.judged.analysis;
        if analysis.plans_code() || !analysis.facts.parsed {
            return Err("planning it could run code that is not PostgreSQL's own".into());
        }
        if !analysis.computed.is_empty() {
            // Statistics are made of values, and who asks may be able to read this.
            return Err("it is chosen by labelled columns".into());
        }
        if self.about.parameters {
            return Err("it depends on parameters".into());
        }
        let temporary = |a: &pipeline::Access| match &a.resource {
            Resource::PgTable { schema, .. } => schema.starts_with("pg_temp"),
            _ => false,
        };
        if analysis.accesses.iter().any(temporary) {
            return Err("a temporary table is seen by its own session only".into());
        }
        let sql = std::str::from_utf8(self.about.sql).map_err(|_| "the text is not UTF-8")?;
        let text = plan::explained(sql)?;
        let path = self
            .path
            .as_ref()
            .ok_or("the search path of the session is not known")?;
        let quoted: Vec<String> = path
            .iter()
            .filter(|schema| !schema.starts_with("pg_temp"))
            .map(|schema| format!("\"{}\"", schema.replace('"', "\"\"")))
            .collect();
        let set = match quoted.is_empty() {
            true => "SET search_path = ''".to_owned(),
            false => format!("SET search_path = {}", quoted.join(", ")),
        };
        let failed = |error: QueryError| failure(&error);
        side.query(&set, self.bounds()).await.map_err(failed)?;
        let rows = side.one(&text, self.bounds()).await.map_err(failed)?;
        let json = rows
            .first()
            .and_then(|row| row.first())
            .and_then(Option::as_deref);
        let rows = json.and_then(plan::rows);
        rows.ok_or_else(|| "the plan could not be read".to_owned())
    }
}

impl Touched {
    fn writes(&self) -> bool {
        let reads = [Action::PostgresSelect, Action::PostgresCopyOut];
        self.actions.iter().any(|a| !reads.contains(a))
    }
}

fn family_of(snapshot: &Snapshot, schema: &str, name: &str) -> Vec<u32> {
    let found = snapshot.find_relations(Some(schema), name, Path::Known(&[]));
    let family = found.into_iter().flat_map(|index| family(snapshot, index));
    family
        .filter_map(|index| Some(snapshot.relation(index)?.oid))
        .collect()
}

/// Over all of them; nothing if one is not known.
fn sum(oids: &[u32], of: impl Fn(u32) -> Option<u64>) -> Option<u64> {
    let mut known = oids.iter().map(|&oid| of(oid));
    let total = known.try_fold(0_u64, |sum, n| Some(sum.saturating_add(n?)));
    total.filter(|_| !oids.is_empty())
}

fn gap(what: &str, error: &QueryError) -> String {
    format!("{what}: {}", failure(error))
}

/// Never the server's own words, which can hold values.
fn failure(error: &QueryError) -> String {
    tracing::debug!(%error, "a survey's question failed");
    match error {
        QueryError::Refused { sqlstate, .. } => {
            format!("the target answered with error {sqlstate}")
        }
        _ => "the target did not answer as expected".to_owned(),
    }
}
