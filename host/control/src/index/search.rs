//! Queries: newest first, by whatever is given, a page at a time, within a time.

use std::time::{Duration, Instant};

use rusqlite::types::Value;
use rusqlite::{Connection, ErrorCode, Row, params_from_iter};
use weir_client::{AuditApproval, AuditEntry, AuditPlugin, AuditPrincipal, Timestamp};

use super::entry::{IndexShape, IndexWho, Term};
use super::write::backfilling;
use crate::store::{Millis, Result, StoreError, int, uint};

const READ: &str = "searching the index";
/// How long one search may take.
const WITHIN: Duration = Duration::from_secs(10);
/// Steps of SQLite's machine between two looks at the clock.
const STEPS: i32 = 20_000;

/// What is searched for. All that is given must be so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) since: Option<Millis>,
    pub(crate) until: Option<Millis>,
    pub(crate) user: Option<String>,
    pub(crate) target: Option<String>,
    pub(crate) database: Option<String>,
    pub(crate) session: Option<[u8; 16]>,
    /// As in [`KINDS`].
    pub(crate) kind: Option<u8>,
    pub(crate) action: Option<String>,
    pub(crate) resource: Option<String>,
    pub(crate) decision: Option<String>,
    pub(crate) outcome: Option<String>,
    pub(crate) risk: Option<u8>,
    pub(crate) label: Option<String>,
    pub(crate) policy: Option<String>,
    pub(crate) plugin: Option<String>,
    pub(crate) approval: Option<String>,
    /// At least one; see [`words`].
    pub(crate) words: Vec<String>,
    pub(crate) limit: u32,
    /// Only entries before this one.
    pub(crate) before: Option<Cursor>,
}

/// The place of an entry in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    at: i64,
    id: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) items: Vec<AuditEntry>,
    pub(crate) next: Option<String>,
    pub(crate) first: Option<Millis>,
    pub(crate) last: Option<Millis>,
    pub(crate) is_behind: bool,
}

/// Names of `EntryKind`, in its order.
pub(crate) const KINDS: [&str; 8] = [
    "session-start",
    "action",
    "session-end",
    "start",
    "act",
    "gap",
    "unreadable",
    "hold",
];

pub(crate) fn parse_cursor(text: &str) -> Option<Cursor> {
    let (at, id) = text.split_once('-')?;
    let number = |hex: &str| i64::from_str_radix(hex, 16).ok();
    let cursor = Cursor {
        at: number(at)?,
        id: number(id)?,
    };
    (cursor.text() == text).then_some(cursor)
}

impl Cursor {
    fn text(self) -> String {
        format!("{:x}-{:x}", self.at, self.id)
    }
}

/// The words of a search as the index knows them: what a tokenizer makes nothing of is left out.
pub(crate) fn words(text: &str) -> Vec<String> {
    text.split_whitespace()
        .filter(|word| word.chars().any(char::is_alphanumeric))
        .map(str::to_owned)
        .collect()
}

/// In FTS5's language: every word a phrase of its own, so that nothing in it steers.
fn phrase(word: &str) -> String {
    let (word, star) = match word.strip_suffix('*') {
        Some(beginning) => (beginning, "*"),
        None => (word, ""),
    };
    // SQLite reads no further than a NUL.
    let word = word.replace(char::is_control, " ").replace('"', "\"\"");
    format!("\"{word}\"{star}")
}

fn db(source: rusqlite::Error) -> StoreError {
    match source.sqlite_error_code() {
        Some(ErrorCode::OperationInterrupted) => StoreError::Timeout,
        _ => StoreError::Database { what: READ, source },
    }
}

pub(super) fn run(mut connection: Connection, query: &Query) -> Result<Found> {
    let until = Instant::now() + WITHIN;
    connection
        .progress_handler(STEPS, Some(move || Instant::now() > until))
        .map_err(db)?;
    // One state of the file for both queries.
    let tx = connection.transaction().map_err(db)?;
    let (first, last): (Option<i64>, Option<i64>) = tx
        .query_row("SELECT first_at, last_at FROM meta", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .map_err(db)?;
    let is_behind = backfilling(&tx)?;
    let (sql, values) = statement(query);
    let mut statement = tx.prepare(&sql).map_err(db)?;
    let rows = statement
        .query_map(params_from_iter(values), |row| {
            Ok((cursor_of(row)?, entry(row)?))
        })
        .map_err(db)?;
    let mut items = Vec::new();
    let mut end = None;
    for row in rows {
        let (cursor, item) = row.map_err(db)?;
        end = Some(cursor);
        items.push(item);
    }
    let is_full = items.len() == query.limit as usize;
    Ok(Found {
        items,
        next: end.filter(|_| is_full).map(Cursor::text),
        first: first.map(uint),
        last: last.map(uint),
        is_behind,
    })
}

/// Nobody has seen the end of a hold that its session has left open.
const OUTCOME: &str =
    "CASE WHEN e.kind = 7 AND e.outcome IS NULL AND s.ended = 1 THEN 'no-end' ELSE e.outcome END";
const COLUMNS: &str = "e.at, e.id, e.kind, s.uuid, e.n, e.seq, a.body, s.target, s.database, \
                       s.source, h.body, t.text, e.untold, e.decision, e.risk, e.hold, e.approval, \
                       e.detail, e.rows, e.elapsed_us";

/// Conditions and their values.
#[derive(Default)]
struct Where {
    conditions: Vec<String>,
    values: Vec<Value>,
}

impl Where {
    /// A condition with `?` where the value goes.
    fn and(&mut self, condition: &str, value: impl Into<Value>) {
        self.values.push(value.into());
        let place = format!("?{}", self.values.len());
        self.conditions.push(condition.replace('?', &place));
    }

    fn text(&mut self, condition: &str, value: Option<&String>) {
        if let Some(value) = value {
            self.and(condition, value.clone());
        }
    }

    fn term(&mut self, term: Term, value: Option<&String>) {
        let kind = term as u8;
        let condition =
            format!("e.shape IN (SELECT shape FROM terms WHERE kind = {kind} AND value = ?)");
        self.text(&condition, value);
    }
}

fn statement(query: &Query) -> (String, Vec<Value>) {
    let mut w = Where::default();
    if let Some(since) = query.since {
        w.and("e.at >= ?", int(since));
    }
    if let Some(until) = query.until {
        w.and("e.at < ?", int(until));
    }
    if let Some(before) = query.before {
        // The first is what the index by time is entered with.
        w.and("e.at <= ?", before.at);
        let at = before.at;
        w.and(&format!("(e.at < {at} OR e.id < ?)"), before.id);
    }
    w.text(
        "e.actor IN (SELECT actor FROM people WHERE name = ?)",
        query.user.as_ref(),
    );
    for (column, value) in [("target", &query.target), ("database", &query.database)] {
        let condition = format!("e.stream IN (SELECT id FROM streams WHERE {column} = ?)");
        w.text(&condition, value.as_ref());
    }
    if let Some(session) = query.session {
        let id = Value::Blob(session.to_vec());
        w.and("e.stream = (SELECT id FROM streams WHERE uuid = ?)", id);
    }
    if let Some(kind) = query.kind {
        w.and("e.kind = ?", i64::from(kind));
    }
    w.term(Term::Action, query.action.as_ref());
    w.term(Term::Resource, query.resource.as_ref());
    w.term(Term::Label, query.label.as_ref());
    w.term(Term::Policy, query.policy.as_ref());
    w.term(Term::Plugin, query.plugin.as_ref());
    match query.decision.as_deref() {
        Some("refused") => w
            .conditions
            .push("e.decision NOT IN ('permit', 'held')".into()),
        _ => w.text("e.decision = ?", query.decision.as_ref()),
    }
    w.text(&format!("{OUTCOME} = ?"), query.outcome.as_ref());
    if let Some(risk) = query.risk {
        w.and("e.risk >= ?", i64::from(risk));
    }
    w.text(
        "e.id IN (SELECT entry FROM approvals WHERE value = ?)",
        query.approval.as_ref(),
    );
    if !query.words.is_empty() {
        let phrases: Vec<String> = query.words.iter().map(|w| phrase(w)).collect();
        w.and(
            "e.text IN (SELECT rowid FROM words WHERE words MATCH ?)",
            phrases.join(" AND "),
        );
    }
    let conditions = match w.conditions.is_empty() {
        true => "1".to_owned(),
        false => w.conditions.join(" AND "),
    };
    let sql = format!(
        "SELECT {COLUMNS}, {OUTCOME} FROM entries e \
         JOIN streams s ON s.id = e.stream AND s.forgotten = 0 \
         LEFT JOIN actors a ON a.id = e.actor LEFT JOIN shapes h ON h.id = e.shape \
         LEFT JOIN texts t ON t.id = e.text \
         WHERE {conditions} ORDER BY e.at DESC, e.id DESC LIMIT {}",
        query.limit
    );
    (sql, w.values)
}

fn cursor_of(row: &Row<'_>) -> rusqlite::Result<Cursor> {
    Ok(Cursor {
        at: row.get(0)?,
        id: row.get(1)?,
    })
}

fn entry(row: &Row<'_>) -> rusqlite::Result<AuditEntry> {
    let number = |at: usize| -> rusqlite::Result<Option<u64>> {
        let value: Option<i64> = row.get(at)?;
        Ok(value.map(uint))
    };
    let uuid: [u8; 16] = row.get(3)?;
    let kind: u8 = row.get(2)?;
    let shape: IndexShape = parsed(row, 10)?.unwrap_or_default();
    let hold: Option<String> = row.get(15)?;
    let approval: Option<(Vec<String>, Vec<String>)> = parsed(row, 16)?;
    let approved = (hold.is_some() || approval.is_some()).then(|| {
        let (rules, approvers) = approval.unwrap_or_default();
        AuditApproval {
            hold,
            rules,
            approvers,
        }
    });
    let plugins = shape.plugins.into_iter();
    Ok(AuditEntry {
        at: number(0)?.map(Timestamp::from_millis),
        kind: KINDS
            .get(usize::from(kind))
            .copied()
            .unwrap_or("unknown")
            .to_owned(),
        stream: uuid::Uuid::from_bytes(uuid).to_string(),
        record: number(4)?.unwrap_or_default(),
        number: number(5)?,
        principal: parsed(row, 6)?.map(principal),
        target: row.get(7)?,
        database: row.get(8)?,
        source: row.get(9)?,
        actions: shape.actions,
        resources: shape.resources,
        statement_kind: shape.kind,
        statement: row.get(11)?,
        no_statement: row.get(12)?,
        decision: row.get(13)?,
        policies: shape.policies,
        risk: row.get(14)?,
        labels: shape.labels,
        findings: shape.findings,
        plugins: plugins
            .map(|(name, version, digest)| AuditPlugin {
                name,
                version,
                digest,
            })
            .collect(),
        masked: shape.masked,
        bundle: shape
            .bundle
            .map(|(name, version)| format!("{name} {version}")),
        approval: approved,
        outcome: row.get(20)?,
        detail: row.get(17)?,
        rows: number(18)?,
        elapsed_us: number(19)?,
    })
}

fn principal(who: IndexWho) -> AuditPrincipal {
    AuditPrincipal {
        kind: who.kind,
        subject: who.subject,
        issuer: who.issuer,
        groups: who.groups,
        owner: who.owner,
        on_behalf_of: who.on_behalf_of,
    }
}

fn parsed<T: serde::de::DeserializeOwned>(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<T>> {
    let text: Option<String> = row.get(at)?;
    let wrong = |e| {
        let kind = rusqlite::types::Type::Text;
        rusqlite::Error::FromSqlConversionFailure(at, kind, Box::new(e))
    };
    text.map(|text| serde_json::from_str(&text).map_err(wrong))
        .transpose()
}
