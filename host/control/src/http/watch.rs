//! Watching a live session as it is recorded. That somebody watches is itself on record before anything
//! is shown, and so is the end of it.
//!
//! What is shown comes from the recorder, once it is durable; no session ever waits for a watcher. Policy
//! is asked anew before each piece, so that a bundle that forbids it ends it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use pipeline::SessionId;
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until, timeout};
use weir_client::{Timestamp, WatchFilter};

use super::extract::{Params, canonical_id};
use super::gate::Ask;
use super::pieces::Pieces;
use super::table::Found;
use crate::control::Shared;
use crate::error::ApiError;
use crate::guard::{Permit, Subject, name_of};
use crate::places::Place;
use crate::ports::WatchedSession;
use crate::sessions::subject;
use crate::store::SessionRow;

/// What the end of a watch is called on record.
const ENDED: &str = "session:watch-end";
/// Sessions that one principal watches at once. The recorder bounds them by session and in all.
const WATCHES_OF_ONE: usize = 8;
/// And of one session. It has places for four, and nobody takes them all.
const SAME_OF_ONE: usize = 2;
/// Who wants to go on after this begins anew, and is on record anew.
const LONGEST: Duration = Duration::from_secs(12 * 3600);
/// How long a sign of life is. Blanks fill it: what a watcher does not read must not fit for long into what
/// systems hold for one, or a quiet session would never find out. With one in five seconds, usual receive
/// buffers are full within about three minutes.
const ALIVE_BYTES: usize = 8 << 10;
/// Pieces that wait to be sent, besides what the recorder holds for a watcher.
const PIECES: usize = 1;
const JSON_LINES: HeaderValue = HeaderValue::from_static("application/jsonl");

/// The session that the path names. Only live ones are looked for, and only in memory: whoever may not
/// watch must not be able to make the store or the recorder work.
pub(super) fn named(ask: Ask) -> Found {
    Box::pin(async move {
        let row = live(&ask.shared, ask.param("id"))?;
        Ok(vec![subject(&ask.shared.targets, &row)])
    })
}

fn live(shared: &Shared, id: &str) -> Result<SessionRow, ApiError> {
    let id: Option<SessionId> = canonical_id(id).and_then(|id| id.parse().ok());
    let row = id.and_then(|id| shared.sessions.live(id));
    row.ok_or_else(|| {
        ApiError::not_found("there is no such live session")
            .hint("Of a session that has ended, `weir replay` shows what is on record.")
    })
}

/// Shows a live session as it is recorded, from now on: one JSON object on each line, as of
/// `weir replay --format jsonl`, masked as the client saw it. Between records come
/// `{"kind":"alive"}` with blanks behind it, and notes: `left_out` counts records that are left out because the caller did not
/// keep up, and the last line says in `over` why there are no more.
#[utoipa::path(
    get, path = "/v1/sessions/{id}/watch", tag = "sessions",
    params(("id" = String, Path), WatchFilter),
    responses(
        (status = 200, body = String, content_type = "application/jsonl",
            description = "Lines, until the session, the token or the permission ends."),
        (status = 404, body = weir_client::ErrorBody),
    )
)]
pub(super) async fn watch(
    State(shared): State<Shared>,
    permit: Permit,
    Path(id): Path<String>,
    Params(filter): Params<WatchFilter>,
) -> Result<Response, ApiError> {
    let row = live(&shared, &id)?;
    let subject = subject(&shared.targets, &row);
    let resource = name_of(&subject);
    let expires = permit.principal.expires_at;
    let detail = format!(
        "watches the session of {} on {}/{}, from now until {} at the latest",
        row.principal,
        row.target,
        row.database,
        Timestamp::from(expires.min(shared.clock.now() + LONGEST)),
    );
    let watcher = match open(&permit, &row, subject, filter.text.unwrap_or(false)) {
        Ok(watcher) => watcher,
        Err(error) => return Err(permit.refuse(resource, error).await),
    };
    // Nothing has been taken from the recorder yet: if the act cannot be recorded, nothing is shown.
    let pieces = permit
        .perform(resource, detail, move |_recorded| async move {
            let (send, pieces) = mpsc::channel(PIECES);
            shared.tasks.spawn(watcher.run(send));
            Ok(pieces)
        })
        .await?;
    let body = Body::new(Pieces(pieces));
    Ok(([(header::CONTENT_TYPE, JSON_LINES)], body).into_response())
}

/// Takes the places that watching needs.
fn open(
    permit: &Permit,
    row: &SessionRow,
    subject: Subject,
    text: bool,
) -> Result<Watcher, ApiError> {
    let shared = &permit.shared;
    let who = &permit.principal.actor.subject;
    let id = row.id.parse().unwrap_or(SessionId(uuid::Uuid::nil()));
    let all = shared.watchers.enter(who.clone(), WATCHES_OF_ONE);
    let all = all.ok_or_else(|| {
        ApiError::too_many(format!(
            "you watch {WATCHES_OF_ONE} times already, which is the most"
        ))
    })?;
    let same = shared.watchers_of.enter((who.clone(), id), SAME_OF_ONE);
    let same = same.ok_or_else(|| {
        ApiError::too_many(format!(
            "you watch this session {SAME_OF_ONE} times already, which is the most: others may want to, too"
        ))
    })?;
    let session = shared.watch.watch(id, text)?;
    let left = permit.principal.expires_at;
    let left = left.duration_since(shared.clock.now()).unwrap_or_default();
    let now = Instant::now();
    let every = shared.limits.watch_alive;
    let mut alive = interval_at(now + every, every);
    alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
    Ok(Watcher {
        bundle: shared.authorizer.watch(),
        permit: permit.clone(),
        subject,
        session,
        text,
        alive,
        until: now + left.min(LONGEST),
        records: 0,
        places: (all, same),
    })
}

/// Why nothing more is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    Ended,
    Token,
    Longest,
    Policy,
    Stopping,
    /// These two are told to nobody but the record.
    Gone,
    Stalled,
}

impl Over {
    /// For programs, and for people.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Ended => ("session", "the session is recorded no more"),
            Self::Token => ("token", "the token has expired"),
            Self::Longest => ("longest", "nobody watches longer than this at once"),
            Self::Policy => ("policy", "policy no longer permits it"),
            Self::Stopping => ("stopping", "Weir is stopping"),
            Self::Gone => ("gone", "whoever watched has gone"),
            Self::Stalled => ("stalled", "what was sent was not read"),
        }
    }
}

type Places = (Place<Arc<str>>, Place<(Arc<str>, SessionId)>);

fn alive() -> Bytes {
    let mut line = b"{\"kind\":\"alive\"}".to_vec();
    line.resize(ALIVE_BYTES - 1, b' ');
    line.push(b'\n');
    line.into()
}

/// One watch, after it has been recorded.
struct Watcher {
    permit: Permit,
    subject: Subject,
    session: Box<dyn WatchedSession>,
    text: bool,
    bundle: watch::Receiver<pipeline::BundleRef>,
    alive: Interval,
    until: Instant,
    /// Shown so far.
    records: u64,
    /// Among those of its principal: of all, and of this session.
    places: Places,
}

impl Watcher {
    /// Shows the session, and records the end of it. Ends by itself when `send` has no receiver any
    /// more, and at a shutdown.
    async fn run(mut self, send: mpsc::Sender<Bytes>) {
        let over = match self.show(&send).await {
            Ok(never) => match never {},
            Err(over) => over,
        };
        if !matches!(over, Over::Gone | Over::Stalled) {
            self.say_over(over, &send).await;
        }
        drop(send);
        let resource = name_of(&self.subject);
        let detail = format!(
            "watched no more, after {} records: {}",
            self.records,
            over.words().1
        );
        let Self {
            permit,
            session,
            places,
            ..
        } = self;
        // The places first: the record may have to wait for its disk.
        drop((session, places));
        // What was seen is on record by itself; that the end of it is not has been logged by then.
        permit.tell(ENDED, resource, detail).await.ok();
    }

    async fn show(&mut self, send: &mpsc::Sender<Bytes>) -> Result<Infallible, Over> {
        let stop = self.permit.shared.watch_stop.clone();
        let stalled = self.permit.shared.limits.watch_stalled;
        let alive = alive();
        loop {
            // The room first: nothing that was looked at waits for the watcher, who may be one no more
            // by then.
            let room = tokio::select! {
                biased;
                () = stop.cancelled() => return Err(Over::Stopping),
                () = sleep_until(self.until) => return Err(self.run_out()),
                Ok(()) = self.bundle.changed() => None,
                room = timeout(stalled, send.reserve()) => match room {
                    Ok(Ok(room)) => Some(room),
                    Ok(Err(_)) => return Err(Over::Gone),
                    Err(_) => return Err(Over::Stalled),
                },
            };
            self.check()?;
            let Some(room) = room else {
                continue;
            };
            let piece = tokio::select! {
                biased;
                () = send.closed() => return Err(Over::Gone),
                () = stop.cancelled() => return Err(Over::Stopping),
                () = sleep_until(self.until) => return Err(self.run_out()),
                Ok(()) = self.bundle.changed() => None,
                next = self.session.next() => match next {
                    Some(lines) => Some((lines.lines, lines.records)),
                    None => return Err(Over::Ended),
                },
                _ = self.alive.tick() => Some((alive.clone(), 0)),
            };
            self.check()?;
            let Some((piece, records)) = piece else {
                continue;
            };
            room.send(piece);
            self.records += records;
        }
    }

    /// May it go on?
    fn check(&self) -> Result<(), Over> {
        if self.has_expired() {
            return Err(Over::Token);
        }
        match self.permit.may(&self.subject) {
            true => Ok(()),
            false => Err(Over::Policy),
        }
    }

    fn has_expired(&self) -> bool {
        self.permit.principal.expires_at <= self.permit.shared.clock.now()
    }

    fn run_out(&self) -> Over {
        match self.has_expired() {
            true => Over::Token,
            false => Over::Longest,
        }
    }

    async fn say_over(&mut self, over: Over, send: &mpsc::Sender<Bytes>) {
        let (code, words) = over.words();
        let text = format!("(no longer watched: {words})");
        let mut line = json!({ "kind": "note", "lines": [text], "over": code });
        if let (true, Some(line)) = (self.text, line.as_object_mut()) {
            line.insert("text".into(), format!("{text}\n").into());
        }
        // Whoever does not take it sees the answer end without it.
        let stalled = self.permit.shared.limits.watch_stalled;
        timeout(stalled, send.send(format!("{line}\n").into()))
            .await
            .ok();
    }
}
