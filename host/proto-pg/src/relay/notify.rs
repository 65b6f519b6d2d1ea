//! Notifications. What they carry can have been written by code that sees more than this client:
//! triggers, functions, sessions that do not come through here. Nothing says which columns it comes from.
//!
//! Known is it of sessions of ours in which no code but PostgreSQL's own has run, no rule of a table, and
//! nothing that could send labelled values, be it for somebody who may see them. They are known by the
//! server's processes that they have.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use parking_lot::Mutex;
use pipeline::{Access, Question, Risk};

use super::{End, Link, violation};
use crate::analysis::Analysis;
use crate::wire::{backend, encode};

/// How long the end of a session is remembered: what it said last may still be on its way. The server
/// gives a process's number away again, but not so soon.
const AFTER: Duration = Duration::from_secs(2);

/// The sessions of one database of which is known what they say, by the server's process.
#[derive(Default)]
pub(crate) struct Voices {
    known: Mutex<HashMap<u32, Option<Instant>>>,
}

impl Voices {
    fn is_known(&self, process: u32) -> bool {
        let known = self.known.lock();
        let ended = known.get(&process).copied();
        ended.is_some_and(|ended| ended.is_none_or(|at| at.elapsed() < AFTER))
    }
}

/// One session's place there. It is lost when nobody knows any more what the session says.
pub(crate) struct Voice {
    voices: Arc<Voices>,
    process: Option<u32>,
}

impl Voice {
    /// `process`: the server's, if it has told.
    pub(super) fn of(voices: &Arc<Voices>, process: Option<u32>) -> Self {
        if let Some(process) = process {
            let mut known = voices.known.lock();
            known.retain(|_, ended| ended.is_none_or(|at| at.elapsed() < AFTER));
            known.insert(process, None);
        }
        Self {
            voices: voices.clone(),
            process,
        }
    }

    /// This is about to be sent.
    pub(super) fn says(&self, analysis: &Analysis) {
        if let Some(process) = self.process
            && analysis.tells_others()
        {
            self.voices.known.lock().remove(&process);
        }
    }
}

impl Drop for Voice {
    fn drop(&mut self) {
        if let Some(process) = self.process
            && let Some(ended) = self.voices.known.lock().get_mut(&process)
        {
            *ended = Some(Instant::now());
        }
    }
}

impl Link {
    /// The notification as this client may see it: that it came, from which process and by which
    /// channel; its payload only if it is known what it is made of, or to whom every labelled column of
    /// the database is revealed.
    pub(super) fn notification(&self, body: &[u8]) -> Result<BytesMut, End> {
        let (process, channel, payload) = backend::notification(body).map_err(violation)?;
        let voices = self.catalog.voices();
        let shown = payload.is_empty() || voices.is_known(process) || self.reveals_everything();
        let payload = if shown { payload } else { &[] };
        let mut out = BytesMut::new();
        encode::notification(&mut out, process, channel, payload);
        Ok(out)
    }

    /// Is there nothing in this database that is hidden from this client? Without a catalogue it
    /// cannot be told.
    fn reveals_everything(&self) -> bool {
        let session = &self.session;
        let policy = session.pin();
        if self.indifferent(&*policy) {
            return true;
        }
        let Some(held) = self.catalog.newest() else {
            return false;
        };
        let info = session.info();
        let labelled = held.snapshot.labelled(policy.labels(), &info.target.name);
        labelled.all.iter().all(|column| {
            let access = Access::compute(column, &info.scope, &info.target);
            let question = Question {
                principal: &info.principal,
                source: info.source,
                session: &info.id_text,
                now: session.ports().clock.now(),
                facts: None,
                risk: &Risk::default(),
                approvals: &BTreeSet::new(),
                accesses: &[access],
            };
            policy.reveal(&question, column, &info.scope)
        })
    }
}
