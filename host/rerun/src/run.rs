//! Walks the requests of a window, several sessions at a time.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use pipeline::SessionInfo;
use pipeline::ports::Hooks;
use recorder::doc::BasisDoc;
use recorder::text::clean;
use recorder::{Day, Days, ReplayError, Request, RequestDoc, Requests, Store};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::inputs::{self, Inputs};
use crate::library::Library;
use crate::recorded::{Recorded, action};

/// How the record names a refusal that policy was not asked about.
const UNASKED: &str = "unasked";

/// Examples of each reason, and of differences, that a report has; all are counted.
pub const MAX_EXAMPLES: usize = 1_000;

/// Which requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Window {
    /// Nanoseconds since 1970; what is at this time is in it.
    pub from_ns: Option<u64>,
    /// What is at this time is not.
    pub to_ns: Option<u64>,
    pub session: Option<Uuid>,
}

impl Window {
    pub fn contains(&self, at_ns: u64) -> bool {
        self.from_ns.is_none_or(|from| at_ns >= from) && self.to_ns.is_none_or(|to| at_ns < to)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum RerunError {
    #[error("the sessions of the store cannot be listed: {0}")]
    List(recorder::objects::StoreError),
    #[error("the Wasm engine: {0}")]
    Engine(#[from] plugin_host::RuntimeError),
    #[error("a part of the work failed: {0}")]
    Task(#[from] tokio::task::JoinError),
    #[error("session {session} cannot be read: {source}{}", noted(.notes))]
    Read {
        session: Uuid,
        source: ReplayError,
        /// What was passed over before.
        notes: Vec<String>,
    },
}

fn noted(notes: &[String]) -> String {
    let tell = |note: &String| format!("; {}", clean(note));
    notes.iter().map(tell).collect()
}

/// What is to be known of sessions, beside their requests: what in the store was passed over, for one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    pub texts: Vec<String>,
    /// So many more are not among them.
    pub more: u64,
}

impl Notes {
    pub fn push(&mut self, text: String) {
        match self.texts.len() < MAX_EXAMPLES {
            true => self.texts.push(text),
            false => self.more += 1,
        }
    }

    pub fn add(&mut self, other: Self) {
        self.more += other.more;
        other.texts.into_iter().for_each(|text| self.push(text));
    }
}

/// Where a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub at_ns: u64,
    pub session: Uuid,
    pub seq: u64,
}

/// How often something was found, and where first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    pub times: u64,
    pub first: Place,
}

/// Reasons, how often each was met, and where first.
pub type Reasons = BTreeMap<String, Count>;

pub fn count(reasons: &mut Reasons, reason: String, times: u64, first: Place) {
    // More reasons than anybody reads are one.
    let reason = match reasons.len() < MAX_EXAMPLES || reasons.contains_key(&reason) {
        true => reason,
        false => "further reasons".to_owned(),
    };
    let count = reasons.entry(reason).or_insert(Count { times: 0, first });
    count.times += times;
    count.first = count.first.min(first);
}

/// One request with everything that it takes to judge it.
pub struct Tried<'a> {
    pub place: Place,
    pub session: &'a SessionInfo,
    pub bundle: &'a str,
    pub inputs: Inputs,
    pub recorded: Recorded,
}

/// What is made of the requests of one session, and of all of them.
pub trait Tally: Default + Send + 'static {
    /// It cannot be judged, for this reason.
    fn cannot(&mut self, reason: String, place: Place);
    /// Its record contradicts itself.
    fn contradiction(&mut self, why: String, place: Place);
    fn session(&mut self);
    /// A session was erased: nobody knows its requests any more.
    fn erased(&mut self);
    fn note(&mut self, text: String);
    fn add(&mut self, other: Self);
}

/// Judges requests.
pub trait Judge: Send + Sync + 'static {
    type Tally: Tally;

    fn judge(&self, tally: &mut Self::Tally, tried: Tried<'_>) -> impl Future<Output = ()> + Send;
}

/// Judges each request of the window. A session that cannot be read is an error: nothing could be said
/// of what is in it.
pub async fn run<J: Judge>(
    judge: Arc<J>,
    store: &Store,
    window: Window,
) -> Result<J::Tally, RerunError> {
    let days = Days {
        // Only ids of version 7 tell their day, and a session may be far older than its requests.
        since: None,
        until: window.to_ns.map(Day::of_ns),
    };
    let listed = store.sessions(days).await.map_err(RerunError::List)?;
    let mut sessions = listed
        .into_iter()
        .map(|entry| entry.session)
        .filter(|id| window.session.is_none_or(|only| only == *id));
    let at_once = std::thread::available_parallelism().map_or(2, usize::from) * 2;
    let mut total = J::Tally::default();
    let mut running = JoinSet::new();
    loop {
        while running.len() < at_once
            && let Some(session) = sessions.next()
        {
            running.spawn(of_session(judge.clone(), store.clone(), session, window));
        }
        let Some(done) = running.join_next().await else {
            return Ok(total);
        };
        total.add(done??);
    }
}

/// What nobody can read is told of: by whom it was erased stands in the log, and a key may be elsewhere.
async fn of_session<J: Judge>(
    judge: Arc<J>,
    store: Store,
    session: Uuid,
    window: Window,
) -> Result<J::Tally, RerunError> {
    let mut notes = Vec::new();
    let walked = walk(judge, &store, session, window, &mut notes).await;
    let (mut tally, source) = match walked {
        Ok(tally) => (tally, None),
        Err(source) if source.is_unreadable() => (J::Tally::default(), Some(source)),
        Err(source) => {
            return Err(RerunError::Read {
                session,
                source,
                notes,
            });
        }
    };
    for note in notes {
        tally.note(format!("session {session}: {note}"));
    }
    let Some(source) = source else {
        return Ok(tally);
    };
    if let ReplayError::Erased { .. } = source {
        tally.erased();
    } else {
        let reason = match source.is_claimed() {
            true => {
                "the store claims that the session was erased, which is not proven (weir verify)"
            }
            false => "the session's recording is encrypted, and its key is not here (--key-file)",
        };
        let (at_ns, seq) = (0, 0);
        tally.cannot(
            reason.into(),
            Place {
                at_ns,
                session,
                seq,
            },
        );
    }
    Ok(tally)
}

async fn walk<J: Judge>(
    judge: Arc<J>,
    store: &Store,
    session: Uuid,
    window: Window,
    notes: &mut Vec<String>,
) -> Result<J::Tally, ReplayError> {
    let mut requests = store.requests(session).await?;
    let walked = each(judge, &mut requests, session, window).await;
    notes.extend(requests.notes());
    walked
}

async fn each<J: Judge>(
    judge: Arc<J>,
    requests: &mut Requests<'_>,
    session: Uuid,
    window: Window,
) -> Result<J::Tally, ReplayError> {
    let mut tally = J::Tally::default();
    let mut info: Option<Result<SessionInfo, String>> = None;
    let mut any = false;
    while let Some(batch) = requests.next().await? {
        if info.is_none() {
            info = requests
                .start()
                .map(|(at, start)| inputs::session(session, *at, start));
        }
        for request in batch {
            if !window.contains(request.at_ns) {
                continue;
            }
            any = true;
            let place = Place {
                at_ns: request.at_ns,
                session,
                seq: request.seq,
            };
            match tried(&request, info.as_ref(), requests.is_unvouched(), place) {
                Ok(tried) => judge.judge(&mut tally, tried).await,
                Err(Unable::Cannot(reason)) => tally.cannot(reason, place),
                Err(Unable::Undecided) => {}
                Err(Unable::Contradiction(why)) => tally.contradiction(why, place),
            }
        }
    }
    if any {
        tally.session();
    }
    Ok(tally)
}

enum Unable {
    /// It was refused before policy was asked: there is no decision.
    Undecided,
    Cannot(String),
    Contradiction(String),
}

fn tried<'a>(
    request: &'a Request,
    info: Option<&'a Result<SessionInfo, String>>,
    is_unvouched: bool,
    place: Place,
) -> Result<Tried<'a>, Unable> {
    let cannot = |why: &str| Unable::Cannot(why.to_owned());
    // Whoever writes to the store can have made all of it, as it suits them.
    if is_unvouched {
        return Err(cannot(
            "the session's recording is not encrypted, and nothing here says that it was recorded so (weir verify)",
        ));
    }
    let Some(doc) = action(&request.doc) else {
        return Err(cannot("the record cannot be read by this Weir"));
    };
    if let RequestDoc::Refused(refused) = &request.doc
        && refused.kind == UNASKED
    {
        return Err(Unable::Undecided);
    }
    let old = "the record is of a Weir that did not keep what a decision is made by";
    let basis: &BasisDoc = doc.basis.as_ref().ok_or_else(|| cannot(old))?;
    let info = info.ok_or_else(|| cannot("the record of the session's start is missing"))?;
    let info = info.as_ref().map_err(|why| cannot(why))?;
    let inputs = Inputs::of(doc, basis, info).map_err(Unable::Cannot)?;
    let recorded = Recorded::of(request, basis).map_err(Unable::Contradiction)?;
    Ok(Tried {
        place,
        session: info,
        bundle: &doc.bundle.digest,
        inputs,
        recorded,
    })
}

/// Has the plugins of a set classify it.
pub async fn classify(
    library: &Library,
    set: &str,
    tried: &Tried<'_>,
) -> Result<Arc<pipeline::Risk>, String> {
    let plugins = library.set(set).await.map_err(|why| why.to_string())?;
    Ok(plugins.classify(tried.session, &tried.inputs.facts).await)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::recorded::tests::request;

    #[test]
    fn what_cannot_be_judged_is_told_of() {
        let place = Place {
            at_ns: 7,
            session: Uuid::nil(),
            seq: 1,
        };
        let info = Err("this Weir knows no kind of principal".to_owned());
        for (more, info, part) in [
            (json!({}), None, "did not keep"),
            (json!({ "basis": {} }), None, "start is missing"),
            (json!({ "basis": {} }), Some(&info), "knows no kind"),
        ] {
            let request = request(false, more);
            match tried(&request, info, false, place) {
                Err(Unable::Cannot(why)) => assert!(why.contains(part), "{why}"),
                _ => panic!("{part}"),
            }
        }
        let unasked = request(true, json!({ "basis": {}, "kind": "unasked" }));
        assert!(matches!(
            tried(&unasked, None, false, place),
            Err(Unable::Undecided)
        ));
        let mut unreadable = request(false, json!({ "basis": {} }));
        unreadable.doc = recorder::RequestDoc::Unreadable("no JSON".into());
        assert!(matches!(
            tried(&unreadable, None, false, place),
            Err(Unable::Cannot(_))
        ));
        // Whatever is in it, before anything of it is looked at.
        let request = request(false, json!({ "basis": {} }));
        match tried(&request, Some(&info), true, place) {
            Err(Unable::Cannot(why)) => assert!(why.contains("not encrypted"), "{why}"),
            _ => panic!("what nobody vouches for is judged"),
        }
    }

    #[test]
    fn reasons_are_bounded_and_all_counted() {
        let mut reasons = Reasons::new();
        for n in 0..2 * MAX_EXAMPLES {
            let place = Place {
                at_ns: n as u64,
                session: Uuid::nil(),
                seq: 0,
            };
            count(&mut reasons, format!("{n}"), 2, place);
        }
        assert_eq!(reasons.len(), MAX_EXAMPLES + 1);
        let all: u64 = reasons.values().map(|c| c.times).sum();
        assert_eq!(all, 4 * MAX_EXAMPLES as u64);
    }
}
