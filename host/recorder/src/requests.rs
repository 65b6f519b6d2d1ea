//! The requests of stored sessions, with everything that was recorded of their decisions.

use uuid::Uuid;

use crate::doc::{IntentDoc, RefusedDoc, StartDoc};
use crate::record::{Kind, Record};
use crate::replay::ReplayError;
use crate::store::Store;
use crate::walk::Walk;

/// What was recorded of one request.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The action's number in its session.
    pub seq: u64,
    pub at_ns: u64,
    pub doc: RequestDoc,
}

#[derive(Debug, Clone, PartialEq)]
pub enum RequestDoc {
    Permitted(Box<IntentDoc>),
    Refused(Box<RefusedDoc>),
    /// Its record is not what this Weir knows.
    Unreadable(String),
}

/// Reads the requests of one session, segment by segment.
pub struct Requests<'a> {
    walk: Walk<'a>,
    start: Option<(u64, StartDoc)>,
}

impl Store {
    /// The requests of one session.
    pub async fn requests(&self, session: Uuid) -> Result<Requests<'_>, ReplayError> {
        Ok(Requests {
            walk: Walk::new(self, session).await?,
            start: None,
        })
    }
}

impl Requests<'_> {
    /// When the session started, and how; known once the first part was read.
    pub fn start(&self) -> Option<&(u64, StartDoc)> {
        self.start.as_ref()
    }

    /// What in the store was passed over since the last time, and what to think of what was not.
    pub fn notes(&mut self) -> Vec<String> {
        self.walk.notes()
    }

    /// Nothing here tells whether this was recorded, or put into the store by somebody else. Known once the
    /// first part was read.
    pub fn is_unvouched(&self) -> bool {
        self.walk.is_unvouched()
    }

    /// The next ones, in order; None at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<Request>>, ReplayError> {
        let Some(segment) = self.walk.next().await? else {
            return Ok(None);
        };
        let mut out = Vec::new();
        for record in segment.records() {
            match record.known() {
                Some(Kind::SessionStart) => {
                    if let Ok(doc) = serde_json::from_slice(record.payload) {
                        self.start = Some((record.ts_ns, doc));
                    }
                }
                Some(kind @ (Kind::Intent | Kind::Refused)) => out.push(request(kind, &record)),
                _ => {}
            }
        }
        Ok(Some(out))
    }
}

fn request(kind: Kind, record: &Record<'_>) -> Request {
    let (seq, body) = record.action().unwrap_or((u64::MAX, record.payload));
    let read = match kind {
        Kind::Intent => serde_json::from_slice(body).map(|d| RequestDoc::Permitted(Box::new(d))),
        _ => serde_json::from_slice(body).map(|d| RequestDoc::Refused(Box::new(d))),
    };
    Request {
        seq,
        at_ns: record.ts_ns,
        doc: read.unwrap_or_else(|e| RequestDoc::Unreadable(e.to_string())),
    }
}
