//! Holds and votes in SQLite.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};
use weir_client::VoteKind;

use super::{corrupt, db, int, json, outbox, parse, uint};
use crate::store::{
    Ballot, Cast, HoldLimits, HoldQuery, HoldRecord, HoldRow, HoldState, Kept, Millis, NoticeKind,
    Opened, Result, Settled, StoreError, Verdict, VoteRecord, cast, settle,
};

const READ: &str = "reading a hold";
const WRITE: &str = "writing a hold";

/// Ended holds that are forgotten in one step to make room.
const FORGOTTEN_AT_ONCE: u32 = 16;

const COLUMNS: &str = "id, state, opened_at, expires_at, principal, involved_json, fingerprint, \
                       document_json, announce, decided_at, decided_by, decision_reason";

fn begin(c: &mut Connection) -> Result<Transaction<'_>> {
    c.transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(db(WRITE))
}

pub(super) fn open(c: &mut Connection, hold: &HoldRecord, limits: HoldLimits) -> Result<Opened> {
    let tx = begin(c)?;
    let count = |principal: Option<&str>| -> Result<u32> {
        // An overdue hold that nobody has marked yet does not take a place.
        tx.query_row(
            "SELECT count(*) FROM holds WHERE state IN ('open', 'approved') AND expires_at > ?1 \
             AND (?2 IS NULL OR principal = ?2)",
            params![int(hold.opened_at), principal],
            |row| row.get(0),
        )
        .map_err(db(READ))
    };
    let all = count(None)?;
    if all >= limits.total {
        return Ok(Opened::TooMany(all as usize));
    }
    let own = count(Some(&hold.principal))?;
    if own >= limits.per_principal {
        return Ok(Opened::TooMany(own as usize));
    }
    let document = json(WRITE, &hold.document)?;
    let size = document.len() as u64;
    for (principal, kept) in [
        (Some(hold.principal.as_str()), limits.kept_per_principal),
        (None, limits.kept),
    ] {
        if let Some(rows) = make_room(&tx, principal, kept, size)? {
            return Ok(Opened::TooMany(rows));
        }
    }
    tx.execute(
        "INSERT INTO holds (id, state, opened_at, expires_at, principal, target, involved_json, \
         fingerprint, document_json, announce, size) \
         VALUES (?1, 'open', ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        params![
            hold.id,
            int(hold.opened_at),
            int(hold.expires_at),
            hold.principal,
            hold.document.target.name,
            json(WRITE, &hold.involved)?,
            hold.fingerprint.as_slice(),
            document,
            hold.announce,
            int(size),
        ],
    )
    .map_err(db(WRITE))?;
    if hold.announce {
        outbox::push(&tx, &hold.id, NoticeKind::Opened, hold.opened_at)?;
    }
    tx.commit().map_err(db(WRITE))?;
    Ok(Opened::Yes)
}

/// Forgets the oldest ended holds, of a principal or of all, until one more of this size fits. If
/// those that still wait leave no room, gives how many there are.
fn make_room(
    tx: &Transaction<'_>,
    principal: Option<&str>,
    kept: Kept,
    size: u64,
) -> Result<Option<usize>> {
    loop {
        let (rows, bytes): (i64, i64) = tx
            .query_row(
                "SELECT count(*), coalesce(sum(size), 0) FROM holds \
                 WHERE ?1 IS NULL OR principal = ?1",
                params![principal],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .map_err(db(READ))?;
        if uint(rows) < kept.rows && uint(bytes).saturating_add(size) <= kept.bytes {
            return Ok(None);
        }
        let forgotten = tx
            .execute(
                "DELETE FROM holds WHERE id IN (SELECT id FROM holds \
                 WHERE state NOT IN ('open', 'approved') AND (?1 IS NULL OR principal = ?1) \
                 ORDER BY id LIMIT ?2)",
                params![principal, FORGOTTEN_AT_ONCE],
            )
            .map_err(db(WRITE))?;
        if forgotten == 0 {
            return Ok(Some(usize::try_from(rows).unwrap_or(usize::MAX)));
        }
    }
}

pub(super) fn one(c: &Connection, id: &str) -> Result<Option<HoldRow>> {
    let raw = c
        .query_row(
            &format!("SELECT {COLUMNS} FROM holds WHERE id = ?1"),
            params![id],
            Raw::from_row,
        )
        .optional()
        .map_err(db(READ))?;
    raw.map(|raw| raw.complete(c)).transpose()
}

pub(super) fn list(c: &Connection, query: &HoldQuery) -> Result<Vec<HoldRow>> {
    let mut statement = c
        .prepare(&format!(
            "SELECT {COLUMNS} FROM holds WHERE (?1 IS NULL OR state = ?1) \
             AND (?2 IS NULL OR principal = ?2) AND (?3 IS NULL OR target = ?3) \
             AND (?4 IS NULL OR id < ?4) ORDER BY id DESC LIMIT ?5"
        ))
        .map_err(db(READ))?;
    let rows = statement
        .query_map(
            params![
                query.state.map(HoldState::as_str),
                query.principal,
                query.target,
                query.before,
                query.limit
            ],
            Raw::from_row,
        )
        .map_err(db(READ))?;
    let mut out = Vec::new();
    for raw in rows {
        out.push(raw.map_err(db(READ))?.complete(c)?);
    }
    Ok(out)
}

pub(super) fn vote(c: &mut Connection, ballot: &Ballot) -> Result<Option<Verdict>> {
    let tx = begin(c)?;
    let Some(mut row) = one(&tx, &ballot.hold)? else {
        return Ok(None);
    };
    let outcome = cast(&row, ballot);
    match &outcome {
        Cast::Counted { votes, state } => {
            for vote in votes {
                tx.execute(
                    "INSERT INTO votes (hold, rule, voter, kind, reason, at) \
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    params![
                        ballot.hold,
                        vote.rule,
                        vote.voter,
                        kind_text(vote.kind),
                        vote.reason,
                        int(vote.at)
                    ],
                )
                .map_err(db(WRITE))?;
            }
            row.votes.extend(votes.iter().cloned());
            let by = Some((ballot.voter.as_str(), ballot.reason.as_str()));
            move_on(&tx, &mut row, *state, ballot.at, by)?;
        }
        // It expired, and this is the first to notice.
        Cast::Closed(state) => move_on(&tx, &mut row, *state, ballot.at, None)?,
        Cast::Again | Cast::Void => {}
    }
    tx.commit().map_err(db(WRITE))?;
    Ok(Some(Verdict { cast: outcome, row }))
}

pub(super) fn settle_one(
    c: &mut Connection,
    id: &str,
    fingerprint: &[u8; 32],
    now: Millis,
) -> Result<Settled> {
    let tx = begin(c)?;
    let Some(mut row) = one(&tx, id)? else {
        return Ok(Settled::Gone);
    };
    let (state, settled) = settle(&row, fingerprint, now);
    if state != row.state {
        move_on(&tx, &mut row, state, now, None)?;
        tx.commit().map_err(db(WRITE))?;
    }
    Ok(settled)
}

pub(super) fn abandon(c: &mut Connection, id: &str, now: Millis) -> Result<bool> {
    let tx = begin(c)?;
    let Some(mut row) = one(&tx, id)? else {
        return Ok(false);
    };
    let over = matches!(
        row.state,
        HoldState::Denied | HoldState::Expired | HoldState::Abandoned
    );
    if over {
        return Ok(false);
    }
    let state = match row.state_at(now) {
        HoldState::Expired => HoldState::Expired,
        _ => HoldState::Abandoned,
    };
    move_on(&tx, &mut row, state, now, None)?;
    tx.commit().map_err(db(WRITE))?;
    Ok(state == HoldState::Abandoned)
}

/// Ends every hold that an earlier process left: nobody waits for it any more.
pub(super) fn abandon_all(c: &mut Connection, now: Millis) -> Result<usize> {
    end_pending(c, now, Millis::MAX)
}

/// Marks overdue holds, and forgets those that ended long ago.
pub(super) fn sweep(c: &mut Connection, now: Millis, keep_since: Millis) -> Result<()> {
    end_pending(c, now, now)?;
    c.execute(
        "DELETE FROM holds WHERE state NOT IN ('open', 'approved') AND expires_at < ?1",
        params![int(keep_since)],
    )
    .map_err(db(WRITE))?;
    Ok(())
}

/// Ends the pending holds that expire up to `until`.
fn end_pending(c: &mut Connection, now: Millis, until: Millis) -> Result<usize> {
    let tx = begin(c)?;
    let ids: Vec<String> = {
        let mut statement = tx
            .prepare(
                "SELECT id FROM holds WHERE state IN ('open', 'approved') AND expires_at <= ?1",
            )
            .map_err(db(READ))?;
        let ids = statement
            .query_map(params![int(until)], |row| row.get(0))
            .map_err(db(READ))?;
        ids.collect::<rusqlite::Result<_>>().map_err(db(READ))?
    };
    for id in &ids {
        let Some(mut row) = one(&tx, id)? else {
            continue;
        };
        let state = match row.state_at(now) {
            HoldState::Expired => HoldState::Expired,
            _ => HoldState::Abandoned,
        };
        move_on(&tx, &mut row, state, now, None)?;
    }
    tx.commit().map_err(db(WRITE))?;
    Ok(ids.len())
}

/// Writes a new state down, and announces it if it ends the hold for its waiter.
fn move_on(
    tx: &Transaction<'_>,
    row: &mut HoldRow,
    state: HoldState,
    at: Millis,
    by: Option<(&str, &str)>,
) -> Result<()> {
    if row.state == state {
        return Ok(());
    }
    let was = row.state;
    row.state = state;
    // Taking an approval, or dropping it afterwards, leaves on record who decided.
    if let Some((by, reason)) = by {
        row.decided_by = Some(by.to_owned());
        row.decision_reason = Some(reason.to_owned());
    }
    if state != HoldState::Used {
        row.decided_at = Some(at);
    }
    tx.execute(
        "UPDATE holds SET state = ?2, decided_at = ?3, decided_by = ?4, decision_reason = ?5 \
         WHERE id = ?1",
        params![
            row.record.id,
            state.as_str(),
            row.decided_at.map(int),
            row.decided_by,
            row.decision_reason
        ],
    )
    .map_err(db(WRITE))?;
    if was.pending() && !state.pending() {
        shrink(tx, &row.record)?;
    }
    // `Approved` was announced; that the action took it is its own business.
    if row.record.announce && state != HoldState::Used && was.pending() {
        outbox::push(tx, &row.record.id, NoticeKind::Decided(state), at)?;
    }
    Ok(())
}

/// Nobody will decide it any more: the evidence has the whole of it.
fn shrink(tx: &Transaction<'_>, record: &HoldRecord) -> Result<()> {
    let document = json(WRITE, &record.document.clone().shrunk())?;
    tx.execute(
        "UPDATE holds SET document_json = ?2, size = ?3 WHERE id = ?1",
        params![record.id, document, int(document.len() as u64)],
    )
    .map_err(db(WRITE))?;
    Ok(())
}

/// A row as it is in the file, without its votes.
struct Raw {
    id: String,
    state: String,
    opened_at: i64,
    expires_at: i64,
    principal: String,
    involved: String,
    fingerprint: Vec<u8>,
    document: String,
    announce: bool,
    decided_at: Option<i64>,
    decided_by: Option<String>,
    decision_reason: Option<String>,
}

impl Raw {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            state: row.get(1)?,
            opened_at: row.get(2)?,
            expires_at: row.get(3)?,
            principal: row.get(4)?,
            involved: row.get(5)?,
            fingerprint: row.get(6)?,
            document: row.get(7)?,
            announce: row.get(8)?,
            decided_at: row.get(9)?,
            decided_by: row.get(10)?,
            decision_reason: row.get(11)?,
        })
    }

    fn complete(self, c: &Connection) -> Result<HoldRow> {
        let state = HoldState::parse(&self.state).ok_or_else(|| corrupt("a hold", &self.state))?;
        let fingerprint = self
            .fingerprint
            .try_into()
            .map_err(|_| corrupt("a hold", "its fingerprint has another length than 32 bytes"))?;
        let votes = votes(c, &self.id)?;
        Ok(HoldRow {
            record: HoldRecord {
                id: self.id,
                opened_at: uint(self.opened_at),
                expires_at: uint(self.expires_at),
                principal: self.principal,
                involved: parse("a hold", &self.involved)?,
                fingerprint,
                document: parse("a hold", &self.document)?,
                announce: self.announce,
            },
            state,
            decided_at: self.decided_at.map(uint),
            decided_by: self.decided_by,
            decision_reason: self.decision_reason,
            votes,
        })
    }
}

fn votes(c: &Connection, hold: &str) -> Result<Vec<VoteRecord>> {
    let mut statement = c
        .prepare("SELECT rule, voter, kind, reason, at FROM votes WHERE hold = ?1 ORDER BY rowid")
        .map_err(db(READ))?;
    let rows = statement
        .query_map(params![hold], |row| {
            let kind: String = row.get(2)?;
            let at: i64 = row.get(4)?;
            Ok((row.get(0)?, row.get(1)?, kind, row.get(3)?, at))
        })
        .map_err(db(READ))?;
    let mut out = Vec::new();
    for row in rows {
        let (rule, voter, kind, reason, at) = row.map_err(db(READ))?;
        out.push(VoteRecord {
            rule,
            voter,
            kind: kind_of(&kind)?,
            reason,
            at: uint(at),
        });
    }
    Ok(out)
}

fn kind_text(kind: VoteKind) -> &'static str {
    match kind {
        VoteKind::Approve => "approve",
        VoteKind::Deny => "deny",
    }
}

fn kind_of(text: &str) -> std::result::Result<VoteKind, StoreError> {
    match text {
        "approve" => Ok(VoteKind::Approve),
        "deny" => Ok(VoteKind::Deny),
        other => Err(corrupt("a vote", other)),
    }
}
