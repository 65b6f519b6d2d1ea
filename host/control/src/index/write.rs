//! Records into rows. One call is one transaction, and telling the same again changes nothing.

use std::collections::HashMap;

use aws_lc_rs::digest;
use rusqlite::{CachedStatement, Connection, OptionalExtension, Transaction, params};

use super::entry::{
    IndexAct, IndexAction, IndexEntry, IndexOutcome, IndexPlace, IndexShape, IndexStart, IndexText,
    IndexWho, Indexed, LONGEST_TEXT, name,
};
use crate::store::{Result, StoreError, int};

mod held;

pub(super) const WRITE: &str = "writing the index";
/// What is remembered to be in the file, of each sort; beyond it, all of it is forgotten.
const REMEMBERED: usize = 20_000;

/// What an entry is; the numbers are in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryKind {
    Started = 0,
    Action = 1,
    Ended = 2,
    Instance = 3,
    Act = 4,
    Gap = 5,
    Unreadable = 6,
    Held = 7,
}

/// Statements that have not ended; beyond it, they stay without their text.
const MOST_UNTOLD: usize = 20_000;

const NOT_ENDED: &str = "it has not ended, or nobody saw its end";

type Digest = [u8; 16];

/// What was seen to be in the file already.
#[derive(Default)]
pub(super) struct Remembered {
    actors: HashMap<Digest, i64>,
    shapes: HashMap<Digest, i64>,
    texts: HashMap<Digest, i64>,
    streams: HashMap<[u8; 16], Stream>,
    /// Statements that have not ended, by stream and action. They are written when it is known whether the
    /// server has carried them out: then their names are names. Until then they are in no file.
    untold: HashMap<(i64, u64), Untold>,
}

/// What is written when the action has ended.
#[derive(Clone)]
struct Untold {
    text: Option<IndexText>,
    /// Of an action that was carried out.
    shape: Option<IndexShape>,
}

#[derive(Clone, Copy)]
struct Stream {
    id: i64,
    actor: Option<i64>,
    forgotten: bool,
}

pub(super) fn db(source: rusqlite::Error) -> StoreError {
    StoreError::Database {
        what: WRITE,
        source,
    }
}

/// Where the records come from.
pub(super) enum From<'a> {
    /// The write-ahead log, up to this place.
    Log(IndexPlace),
    /// The stored segment with this key.
    Stored(&'a str),
}

/// Takes all of it, or nothing.
pub(super) fn take(
    connection: &mut Connection,
    remembered: &mut Remembered,
    entries: &[IndexEntry],
    from: &From<'_>,
) -> Result<()> {
    // A transaction that fails could leave something remembered that is not in the file.
    let mut kept = std::mem::take(remembered);
    kept.forget_if_many();
    let tx = connection.transaction().map_err(db)?;
    let mut writer = Writer {
        tx: &tx,
        kept: &mut kept,
        is_behind: backfilling(&tx)?,
        told: Vec::new(),
    };
    let written = entries.iter().try_for_each(|entry| writer.entry(entry));
    let told = writer.told;
    let done = written.and_then(|()| finish(tx, entries, from));
    match done {
        Ok(()) => *remembered = kept,
        // These are in no file: they are needed when this is tried again.
        Err(_) => {
            remembered.untold = kept.untold;
            remembered.untold.extend(told);
        }
    }
    done
}

fn finish(tx: Transaction<'_>, entries: &[IndexEntry], from: &From<'_>) -> Result<()> {
    let times = || entries.iter().map(|e| e.at);
    if let (Some(first), Some(last)) = (times().min(), times().max()) {
        tx.execute(
            "UPDATE meta SET first_at = min(coalesce(first_at, ?1), ?1), \
             last_at = max(coalesce(last_at, ?2), ?2)",
            params![int(first), int(last)],
        )
        .map_err(db)?;
    }
    match from {
        From::Log(place) => tx.execute(
            "UPDATE meta SET file = ?1, chain = ?2",
            params![int(place.file), place.chain],
        ),
        From::Stored(key) => tx.execute("UPDATE meta SET backfill = ?1", params![key]),
    }
    .map_err(db)?;
    tx.commit().map_err(db)
}

pub(super) fn backfilling(c: &Connection) -> Result<bool> {
    c.query_row("SELECT backfilled = 0 FROM meta", [], |row| row.get(0))
        .map_err(db)
}

impl Remembered {
    /// Forgets what is in the file.
    pub(super) fn forget(&mut self) {
        let untold = std::mem::take(&mut self.untold);
        *self = Self {
            untold,
            ..Self::default()
        };
    }

    fn forget_if_many(&mut self) {
        for map in [&mut self.actors, &mut self.shapes, &mut self.texts] {
            if map.len() > REMEMBERED {
                map.clear();
            }
        }
        if self.streams.len() > REMEMBERED {
            self.streams.clear();
        }
        if self.untold.len() > MOST_UNTOLD {
            self.untold.clear();
        }
    }
}

fn digest_of(bytes: &[u8]) -> Digest {
    let whole = digest::digest(&digest::SHA256, bytes);
    let mut out = [0; 16];
    for (to, from) in out.iter_mut().zip(whole.as_ref()) {
        *to = *from;
    }
    out
}

struct Writer<'a> {
    tx: &'a Transaction<'a>,
    kept: &'a mut Remembered,
    /// Older records are still being read: an outcome can come before its action.
    is_behind: bool,
    /// What was taken out of `untold`.
    told: Vec<((i64, u64), Untold)>,
}

/// What most kinds of entry leave empty.
#[derive(Default)]
struct Columns<'a> {
    actor: Option<i64>,
    shape: Option<i64>,
    text: Option<i64>,
    untold: Option<&'a str>,
    decision: Option<&'a str>,
    risk: Option<u8>,
    hold: Option<&'a str>,
    approval: Option<String>,
    outcome: Option<&'a str>,
    detail: Option<&'a str>,
}

impl Writer<'_> {
    fn statement(&self, sql: &str) -> Result<CachedStatement<'_>> {
        self.tx.prepare_cached(sql).map_err(db)
    }

    fn entry(&mut self, entry: &IndexEntry) -> Result<()> {
        let stream = self.stream(entry.stream)?;
        if stream.forgotten {
            return Ok(());
        }
        let plain = |actor| Columns {
            actor,
            ..Columns::default()
        };
        match &entry.what {
            Indexed::Started(start) => self.started(entry, stream, start),
            Indexed::Action(action) => self.action(entry, stream, action),
            Indexed::Held(held) => self.held(entry, stream, held),
            Indexed::Outcome(outcome) => self.outcome(entry, stream, outcome),
            Indexed::Ended(why) => {
                self.statement("UPDATE streams SET ended = 1 WHERE id = ?1")?
                    .execute([stream.id])
                    .map_err(db)?;
                let columns = Columns {
                    outcome: Some(name(why)),
                    ..plain(stream.actor)
                };
                self.insert(entry, stream, EntryKind::Ended, &columns)
                    .map(drop)
            }
            Indexed::Instance(software) => {
                let columns = Columns {
                    detail: Some(name(software)),
                    ..plain(None)
                };
                self.insert(entry, stream, EntryKind::Instance, &columns)
                    .map(drop)
            }
            Indexed::Act(act) => self.act(entry, stream, act),
            Indexed::Gap(what) => {
                let columns = Columns {
                    detail: Some(name(what)),
                    ..plain(stream.actor)
                };
                self.insert(entry, stream, EntryKind::Gap, &columns)
                    .map(drop)
            }
            Indexed::Unreadable => self
                .insert(entry, stream, EntryKind::Unreadable, &plain(stream.actor))
                .map(drop),
        }
    }

    fn started(&mut self, entry: &IndexEntry, stream: Stream, start: &IndexStart) -> Result<()> {
        let actor = self.actor(&start.who)?;
        self.statement(
            "UPDATE streams SET actor = ?2, target = ?3, database = ?4, source = ?5 WHERE id = ?1",
        )?
        .execute(params![
            stream.id,
            actor,
            name(&start.target),
            name(&start.database),
            name(&start.source)
        ])
        .map_err(db)?;
        if stream.actor.is_none() {
            // Its later records came first.
            self.statement("UPDATE entries SET actor = ?2 WHERE stream = ?1 AND actor IS NULL")?
                .execute([stream.id, actor])
                .map_err(db)?;
        }
        let known = self.kept.streams.get_mut(&entry.stream);
        known.into_iter().for_each(|s| s.actor = Some(actor));
        let columns = Columns {
            actor: Some(actor),
            ..Columns::default()
        };
        self.insert(entry, stream, EntryKind::Started, &columns)
            .map(drop)
    }

    fn action(&mut self, entry: &IndexEntry, stream: Stream, action: &IndexAction) -> Result<()> {
        let shape = self.shape(&action.shape)?;
        let refused = action.decision != "permit";
        let (text, untold) = match &action.text {
            Ok(text) if text.carried.len() > LONGEST_TEXT => (None, Some("it is too long")),
            Ok(text) if refused => (Some(self.text(&text.known)?), None),
            Ok(_) => (None, Some(NOT_ENDED)),
            Err(why) => (None, Some(*why)),
        };
        let approved = !action.rules.is_empty() || !action.approvers.is_empty();
        let approval = approved.then(|| json(&(&action.rules, &action.approvers)));
        let columns = Columns {
            actor: stream.actor,
            shape: Some(shape),
            text,
            untold,
            decision: Some(name(&action.decision)),
            risk: Some(action.risk),
            hold: action.hold.as_deref().map(name),
            approval: approval.transpose()?,
            // Nothing more comes of it.
            outcome: refused.then_some("refused"),
            ..Columns::default()
        };
        let Some(id) = self.insert(entry, stream, EntryKind::Action, &columns)? else {
            return Ok(());
        };
        let values = action.hold.iter().chain(&action.rules);
        for value in values.chain(&action.approvers) {
            self.statement("INSERT OR IGNORE INTO approvals (value, entry) VALUES (?1, ?2)")?
                .execute(params![name(value), id])
                .map_err(db)?;
        }
        self.answered(stream, action.hold.as_deref())?;
        let Some(seq) = entry.action else {
            return Ok(());
        };
        if !refused {
            let text = action
                .text
                .as_ref()
                .ok()
                .filter(|_| untold == Some(NOT_ENDED));
            let untold = Untold {
                text: text.cloned(),
                shape: action.carried.clone(),
            };
            if untold.text.is_some() || untold.shape.is_some() {
                self.kept.untold.insert((stream.id, seq), untold);
            }
        }
        match self.is_behind {
            true => self.late(stream, seq),
            false => Ok(()),
        }
    }

    /// The outcome of this action may have come before it.
    fn late(&mut self, stream: Stream, seq: u64) -> Result<()> {
        let found = self
            .statement(
                "DELETE FROM late WHERE stream = ?1 AND seq = ?2 \
                 RETURNING outcome, detail, rows, elapsed_us",
            )?
            .query_row(params![stream.id, int(seq)], |row| {
                let (rows, elapsed): (i64, i64) = (row.get(2)?, row.get(3)?);
                Ok(IndexOutcome {
                    outcome: row.get(0)?,
                    detail: row.get(1)?,
                    rows: rows.cast_unsigned(),
                    elapsed_us: elapsed.cast_unsigned(),
                })
            })
            .optional()
            .map_err(db)?;
        match found {
            Some(outcome) => self.set_outcome(stream, seq, &outcome).map(drop),
            None => Ok(()),
        }
    }

    fn outcome(
        &mut self,
        entry: &IndexEntry,
        stream: Stream,
        outcome: &IndexOutcome,
    ) -> Result<()> {
        let Some(seq) = entry.action else {
            return Ok(());
        };
        if self.set_outcome(stream, seq, outcome)? || !self.is_behind {
            return Ok(());
        }
        self.statement("INSERT OR REPLACE INTO late VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
            .execute(params![
                stream.id,
                int(seq),
                name(&outcome.outcome),
                name(&outcome.detail),
                int(outcome.rows),
                int(outcome.elapsed_us)
            ])
            .map(drop)
            .map_err(db)
    }

    /// False: there is no such action without an outcome.
    fn set_outcome(&mut self, stream: Stream, seq: u64, outcome: &IndexOutcome) -> Result<bool> {
        let id: Option<i64> = self
            .statement(
                "UPDATE entries SET outcome = ?3, detail = ?4, rows = ?5, elapsed_us = ?6 \
                 WHERE stream = ?1 AND seq = ?2 AND kind = 1 AND outcome IS NULL RETURNING id",
            )?
            .query_row(
                params![
                    stream.id,
                    int(seq),
                    name(&outcome.outcome),
                    name(&outcome.detail),
                    int(outcome.rows),
                    int(outcome.elapsed_us)
                ],
                |row| row.get(0),
            )
            .optional()
            .map_err(db)?;
        let Some(id) = id else {
            return Ok(false);
        };
        if let Some(untold) = self.kept.untold.remove(&(stream.id, seq)) {
            let is_done = outcome.outcome == "done";
            if let Some(text) = &untold.text {
                // Of what failed, the server may not have looked at every name.
                let text = self.text(if is_done { &text.carried } else { &text.known })?;
                self.statement("UPDATE entries SET text = ?2, untold = NULL WHERE id = ?1")?
                    .execute([id, text])
                    .map_err(db)?;
            }
            if let Some(shape) = untold.shape.as_ref().filter(|_| is_done) {
                let shape = self.shape(shape)?;
                self.statement("UPDATE entries SET shape = ?2 WHERE id = ?1")?
                    .execute([id, shape])
                    .map_err(db)?;
            }
            self.told.push(((stream.id, seq), untold));
        }
        Ok(true)
    }

    fn act(&mut self, entry: &IndexEntry, stream: Stream, act: &IndexAct) -> Result<()> {
        let actor = act.who.as_ref().map(|who| self.actor(who)).transpose()?;
        let shape = IndexShape {
            actions: vec![act.action.clone()],
            resources: vec![act.resource.clone()],
            ..IndexShape::default()
        };
        let columns = Columns {
            actor,
            shape: Some(self.shape(&shape)?),
            decision: Some(if act.refused { "refused" } else { "permit" }),
            ..Columns::default()
        };
        self.insert(entry, stream, EntryKind::Act, &columns)
            .map(drop)
    }

    /// None: it is there already.
    fn insert(
        &mut self,
        entry: &IndexEntry,
        stream: Stream,
        kind: EntryKind,
        c: &Columns<'_>,
    ) -> Result<Option<i64>> {
        let done = self
            .statement(
                "INSERT OR IGNORE INTO entries (stream, n, at, kind, seq, actor, shape, text, \
                 untold, decision, risk, hold, approval, outcome, detail) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
            )?
            .execute(params![
                stream.id,
                int(entry.n),
                int(entry.at),
                kind as u8,
                entry.action.map(int),
                c.actor,
                c.shape,
                c.text,
                c.untold,
                c.decision,
                c.risk,
                c.hold,
                c.approval,
                c.outcome,
                c.detail
            ])
            .map_err(db)?;
        Ok((done > 0).then(|| self.tx.last_insert_rowid()))
    }

    fn stream(&mut self, uuid: [u8; 16]) -> Result<Stream> {
        if let Some(stream) = self.kept.streams.get(&uuid) {
            return Ok(*stream);
        }
        self.statement("INSERT OR IGNORE INTO streams (uuid) VALUES (?1)")?
            .execute([uuid])
            .map_err(db)?;
        let stream = self
            .statement("SELECT id, actor, forgotten FROM streams WHERE uuid = ?1")?
            .query_row([uuid], |row| {
                Ok(Stream {
                    id: row.get(0)?,
                    actor: row.get(1)?,
                    forgotten: row.get(2)?,
                })
            })
            .map_err(db)?;
        self.kept.streams.insert(uuid, stream);
        Ok(stream)
    }

    fn actor(&mut self, who: &IndexWho) -> Result<i64> {
        let body = json(who)?;
        let digest = digest_of(body.as_bytes());
        if let Some(id) = self.kept.actors.get(&digest) {
            return Ok(*id);
        }
        let (id, new) = self.named("actors", "body", &digest, &body)?;
        if new {
            let names = [&who.subject].into_iter().chain(&who.owner);
            for person in names.chain(&who.on_behalf_of) {
                self.statement("INSERT OR IGNORE INTO people (name, actor) VALUES (?1, ?2)")?
                    .execute(params![person, id])
                    .map_err(db)?;
            }
        }
        self.kept.actors.insert(digest, id);
        Ok(id)
    }

    fn shape(&mut self, shape: &IndexShape) -> Result<i64> {
        let shape = shape.clone().cut();
        let body = json(&shape)?;
        let digest = digest_of(body.as_bytes());
        if let Some(id) = self.kept.shapes.get(&digest) {
            return Ok(*id);
        }
        let (id, new) = self.named("shapes", "body", &digest, &body)?;
        if new {
            for (term, value) in shape.terms() {
                self.statement("INSERT OR IGNORE INTO terms VALUES (?1, ?2, ?3)")?
                    .execute(params![term as u8, value, id])
                    .map_err(db)?;
            }
        }
        self.kept.shapes.insert(digest, id);
        Ok(id)
    }

    fn text(&mut self, text: &str) -> Result<i64> {
        let digest = digest_of(text.as_bytes());
        if let Some(id) = self.kept.texts.get(&digest) {
            return Ok(*id);
        }
        let (id, new) = self.named("texts", "text", &digest, text)?;
        if new {
            self.statement("INSERT INTO words (rowid, text) VALUES (?1, ?2)")?
                .execute(params![id, text])
                .map_err(db)?;
        }
        self.kept.texts.insert(digest, id);
        Ok(id)
    }

    /// The row of a table of things that are there once, and whether it is new.
    fn named(&self, table: &str, column: &str, digest: &Digest, text: &str) -> Result<(i64, bool)> {
        let known = self
            .statement(&format!("SELECT id FROM {table} WHERE digest = ?1"))?
            .query_row([digest], |row| row.get(0))
            .optional()
            .map_err(db)?;
        if let Some(id) = known {
            return Ok((id, false));
        }
        self.statement(&format!(
            "INSERT INTO {table} (digest, {column}) VALUES (?1, ?2)"
        ))?
        .execute(params![digest, text])
        .map_err(db)?;
        Ok((self.tx.last_insert_rowid(), true))
    }
}

fn json<T: serde::Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|e| StoreError::Corrupt {
        what: WRITE,
        why: e.to_string(),
    })
}

/// Removes a text that no entry has any more.
pub(super) fn drop_text(c: &Connection, id: i64) -> Result<bool> {
    let used: bool = c
        .query_row(
            "SELECT EXISTS (SELECT 1 FROM entries WHERE text = ?1)",
            [id],
            |row| row.get(0),
        )
        .map_err(db)?;
    if used {
        return Ok(false);
    }
    c.execute(
        "INSERT INTO words (words, rowid, text) SELECT 'delete', id, text FROM texts WHERE id = ?1",
        [id],
    )
    .map_err(db)?;
    c.execute("DELETE FROM texts WHERE id = ?1", [id])
        .map_err(db)?;
    Ok(true)
}
