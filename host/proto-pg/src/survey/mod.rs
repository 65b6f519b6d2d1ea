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
        self.triggers(&mut side, impact, touched).await;
        self.foreign_keys(&mut side, impact, touched).await;
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
        Upstream::connect(target, &info.database, &settings, &self.link.limits).await
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
        for row in &rows {
            let text = |i: usize| row.get(i).and_then(Option::as_deref);
            let oid: Option<u32> = text(0).and_then(|t| t.parse().ok());
            let of = touched
                .iter_mut()
                .filter(|t| oid.is_some_and(|o| t.family.contains(&o)));
            for t in of {
                add(&mut t.shown.rows, questions::count(text(1)));
                add(&mut t.shown.bytes, questions::count(text(2)));
            }
        }
    }

    async fn triggers(&self, side: &mut Upstream, impact: &mut Impact, touched: &mut [Touched]) {
        let oids: Vec<u32> = written(touched);
        if oids.is_empty() {
            return;
        }
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
            for t in touched.iter_mut() {
                let fires = t.actions.iter().any(|a| questions::fires(events, *a));
                let name = text(1).unwrap_or_default();
                // A partition has its parent's.
                let known = t.shown.triggers.iter().any(|known| known == name);
                if fires && !known && oid.is_some_and(|o| t.family.contains(&o)) {
                    t.shown.triggers.push(name.to_owned());
                }
            }
        }
    }

    async fn foreign_keys(
        &self,
        side: &mut Upstream,
        impact: &mut Impact,
        touched: &mut [Touched],
    ) {
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
                Err(error) => return impact.gaps.push(gap("foreign keys", &error)),
            };
            if rows.len() > MOST {
                impact.gaps.push(format!("foreign keys beyond {MOST}"));
            }
            for row in rows.iter().take(MOST) {
                let Some((root, cascade)) = questions::cascade(row, change) else {
                    continue;
                };
                let at = touched.iter_mut().find(|t| t.family.contains(&root));
                if let Some(t) = at.filter(|t| !t.shown.cascades.contains(&cascade)) {
                    t.shown.cascades.push(cascade);
                }
            }
        }
    }

    async fn held(&self, side: &mut Upstream, impact: &mut Impact) {
        let Some(process) = self
            .link
            .cancellable
            .upstream
            .as_ref()
            .filter(|_| impact.in_transaction)
        else {
            return;
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

fn written(touched: &[Touched]) -> Vec<u32> {
    let written = touched.iter().filter(|t| t.writes());
    written.flat_map(|t| t.family.clone()).collect()
}

fn add(to: &mut Option<u64>, more: Option<u64>) {
    if let Some(more) = more {
        *to = Some(to.unwrap_or_default().saturating_add(more));
    }
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
