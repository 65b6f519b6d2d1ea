//! Host keys, in SQLite.

use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};
use weir_client::SshHostKeyState as State;

use super::{corrupt, db, int, uint};
use crate::store::{HostKeyRow, HostKeySight, HostKeyVerdict, Millis, Result};

const READ: &str = "reading host keys";
const WRITE: &str = "writing host keys";
const STATES: [(State, &str); 3] = [
    (State::Waiting, "waiting"),
    (State::Approved, "approved"),
    (State::Rejected, "rejected"),
];
const COLUMNS: &str = "target, fingerprint, public_key, state, first_seen, last_seen, seen, \
                       decided_by, decided_at, reason";

fn text(state: State) -> &'static str {
    let found = STATES.iter().find(|(s, _)| *s == state);
    found.map_or("", |(_, text)| text)
}

/// What is known of it now, and when the record has last said that it is shown. At most `max` of one target wait: those that
/// were shown longest ago make room.
pub(super) fn seen(
    c: &mut Connection,
    sight: &HostKeySight,
    max: u32,
) -> Result<(HostKeyRow, Option<Millis>)> {
    let tx = c
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(db(WRITE))?;
    let before: Option<i64> = tx
        .query_row(
            "SELECT recorded_at FROM ssh_host_keys WHERE target = ?1 AND fingerprint = ?2",
            params![sight.target, sight.fingerprint],
            |row| row.get(0),
        )
        .optional()
        .map_err(db(READ))?
        .flatten();
    tx.execute(
        "INSERT INTO ssh_host_keys (target, fingerprint, public_key, state, first_seen, last_seen, seen) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?5, 1) \
         ON CONFLICT (target, fingerprint) DO UPDATE SET last_seen = ?5, seen = seen + 1",
        params![
            sight.target,
            sight.fingerprint,
            sight.public_key,
            text(State::Waiting),
            int(sight.at)
        ],
    )
    .map_err(db(WRITE))?;
    trim(&tx, &sight.target, State::Waiting, max)?;
    let row = one(&tx, &sight.target, &sight.fingerprint)?;
    tx.commit().map_err(db(WRITE))?;
    // It is the one that was shown last.
    let row = row.ok_or_else(|| corrupt("a host key", "it is not there"))?;
    Ok((row, before.map(uint)))
}

/// The record has said that this key is shown.
pub(super) fn recorded(c: &Connection, target: &str, fingerprint: &str, at: Millis) -> Result<()> {
    c.execute(
        "UPDATE ssh_host_keys SET recorded_at = ?3 WHERE target = ?1 AND fingerprint = ?2",
        params![target, fingerprint, int(at)],
    )
    .map(drop)
    .map_err(db(WRITE))
}

/// Of those that wait, the last shown ones stay; of the others, the last decided ones. What goes is returned.
fn trim(c: &Connection, target: &str, state: State, max: u32) -> Result<Vec<String>> {
    let sql = "DELETE FROM ssh_host_keys WHERE target = ?1 AND state = ?2 AND fingerprint NOT IN \
         (SELECT fingerprint FROM ssh_host_keys WHERE target = ?1 AND state = ?2 \
          ORDER BY coalesce(decided_at, last_seen) DESC, fingerprint LIMIT ?3) RETURNING fingerprint";
    let mut delete = c.prepare(sql).map_err(db(WRITE))?;
    let gone = delete
        .query_map(params![target, text(state), max], |row| row.get(0))
        .map_err(db(WRITE))?;
    gone.collect::<rusqlite::Result<_>>().map_err(db(WRITE))
}

/// None: this target has not shown such a key. A target has one approved key: another takes its place, and what it
/// replaces is the wrong one from then on. With it are rejected keys that were forgotten to make room.
pub(super) fn decide(
    c: &mut Connection,
    verdict: &HostKeyVerdict,
    max: u32,
) -> Result<Option<(HostKeyRow, Vec<String>)>> {
    let tx = c
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(db(WRITE))?;
    let state = match verdict.approved {
        true => State::Approved,
        false => State::Rejected,
    };
    if verdict.approved {
        tx.execute(
            "UPDATE ssh_host_keys SET state = ?3, decided_by = ?4, decided_at = ?5, \
             reason = 'replaced by ' || ?2 WHERE target = ?1 AND fingerprint <> ?2 AND state = ?6 \
             AND EXISTS (SELECT 1 FROM ssh_host_keys WHERE target = ?1 AND fingerprint = ?2)",
            params![
                verdict.target,
                verdict.fingerprint,
                text(State::Rejected),
                verdict.by,
                int(verdict.at),
                text(State::Approved)
            ],
        )
        .map_err(db(WRITE))?;
    }
    let found = tx
        .execute(
            "UPDATE ssh_host_keys SET state = ?3, decided_by = ?4, decided_at = ?5, reason = ?6 \
             WHERE target = ?1 AND fingerprint = ?2",
            params![
                verdict.target,
                verdict.fingerprint,
                text(state),
                verdict.by,
                int(verdict.at),
                verdict.reason
            ],
        )
        .map_err(db(WRITE))?;
    if found == 0 {
        return Ok(None);
    }
    // What the record has said of its keys is not true any more: it says it again if they are shown.
    tx.execute(
        "UPDATE ssh_host_keys SET recorded_at = NULL WHERE target = ?1",
        params![verdict.target],
    )
    .map_err(db(WRITE))?;
    let row = one(&tx, &verdict.target, &verdict.fingerprint)?;
    let forgotten = trim(&tx, &verdict.target, State::Rejected, max)?;
    tx.commit().map_err(db(WRITE))?;
    Ok(row.map(|row| (row, forgotten)))
}

fn one(c: &Connection, target: &str, fingerprint: &str) -> Result<Option<HostKeyRow>> {
    let sql = format!("SELECT {COLUMNS} FROM ssh_host_keys WHERE target = ?1 AND fingerprint = ?2");
    let row = c
        .query_row(&sql, params![target, fingerprint], read)
        .optional()
        .map_err(db(READ))?;
    row.map(known).transpose()
}

/// By target; those that wait last.
pub(super) fn all(c: &Connection) -> Result<Vec<HostKeyRow>> {
    let sql = format!("SELECT {COLUMNS} FROM ssh_host_keys ORDER BY target, state, fingerprint");
    let mut statement = c.prepare(&sql).map_err(db(READ))?;
    let rows = statement.query_map([], read).map_err(db(READ))?;
    let mut out = Vec::new();
    for row in rows {
        out.push(known(row.map_err(db(READ))?)?);
    }
    Ok(out)
}

fn read(row: &Row<'_>) -> rusqlite::Result<(String, HostKeyRow)> {
    let state: String = row.get(3)?;
    let made = HostKeyRow {
        target: row.get(0)?,
        fingerprint: row.get(1)?,
        public_key: row.get(2)?,
        state: State::Waiting,
        first_seen: uint(row.get(4)?),
        last_seen: uint(row.get(5)?),
        seen: uint(row.get(6)?),
        decided_by: row.get(7)?,
        decided_at: row.get::<_, Option<i64>>(8)?.map(uint),
        reason: row.get(9)?,
    };
    Ok((state, made))
}

fn known((text, row): (String, HostKeyRow)) -> Result<HostKeyRow> {
    let state = STATES.iter().find(|(_, t)| *t == text);
    let (state, _) = state.ok_or_else(|| corrupt("a host key", &text))?;
    Ok(HostKeyRow {
        state: *state,
        ..row
    })
}
