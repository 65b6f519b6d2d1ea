//! Are the definitions that an analysis went by still there? Somebody can replace a view past Weir, and
//! nothing in a result tells.
//!
//! Place in the flow: `judge` asks before a text that reads views is decided on. One connection for
//! each database serves all sessions; who asks while a question is under way is answered by the next one.
//!
//! Invariants:
//! - The connection is read-only, runs [`QUESTION`] and nothing else, and is closed when nobody has asked
//!   for a while.
//! - No answer in time is no answer: who asked has to look for itself. For [`PAUSE`] after that, nobody
//!   waits for one.
//! - It ends with the service.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pipeline::EndReason;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::End;
use super::client::FromClient;
use super::judge::ends_transaction;
use super::own::Patience;
use super::refresh::{Newness, Refreshed};
use crate::analysis::Defined;
use crate::catalog::{RelationInfo, Rows, Snapshot};
use crate::config::{Limits, PgTarget};
use crate::refusal::Refused;
use crate::statements::Judged;
use crate::upstream::{Bounds, Upstream};

/// Sessions that wait for an answer, for one database.
const MAX_WAITING: usize = 1_024;
/// Those that one question is asked for.
const MAX_TOGETHER: usize = 64;
/// Of one answer.
const MAX_ROWS: usize = 100_000;
const MAX_BYTES: usize = 16 << 20;
/// The connection is closed when nobody has asked for so long.
const IDLE: Duration = Duration::from_secs(60);
/// After the server could not be reached, nobody waits for it for so long: there is no answer at once.
const PAUSE: Duration = Duration::from_secs(1);
/// What was read before the question can be too old after a longer wait for the answer.
const AT_ONCE: Duration = Duration::from_millis(50);
/// How long it waits for a lock: DDL on the catalogue itself.
const LOCK_TIMEOUT: &str = "1s";

/// Rules of relations, the names of their columns, and what stands under their own names. Temporary
/// relations are made and dropped all the time, and a session's own are made through Weir.
const QUESTION: &str = "\
    SELECT 'rule', ev_class, oid, xmin::text, '' \
    FROM pg_rewrite WHERE ev_class = ANY ($1) \
    UNION ALL \
    SELECT 'columns', attrelid, attrelid, \
      string_agg(attnum::text || '=' || replace(replace(attname::text, '~', '~~'), ',', '~,'), ',' \
        ORDER BY attnum), '' \
    FROM pg_attribute WHERE attrelid = ANY ($1) AND attnum > 0 AND NOT attisdropped \
    GROUP BY attrelid \
    UNION ALL \
    SELECT 'name', c.oid, c.oid, c.relname::text, n.nspname::text \
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace \
    WHERE c.relname = ANY ($2) AND n.nspname NOT LIKE 'pg\\_temp\\_%' \
      AND c.relkind = ANY ('{r,v,m,f,p,S}')";
/// oid[] and name[].
const TYPES: [u32; 2] = [1_028, 1_003];
const NAME: &[u8] = b"weir:definitions";

/// What the server says about some definitions.
#[derive(Debug, Default)]
pub(super) struct Answer {
    rules: HashMap<u32, BTreeSet<(u32, u32)>>,
    /// As the question writes them.
    columns: HashMap<u32, String>,
    /// By name: schema and OID. Two of one name can change places.
    names: HashMap<String, BTreeSet<(String, u32)>>,
}

impl Answer {
    fn read(rows: &Rows) -> Option<Self> {
        let mut answer = Self::default();
        for row in rows {
            let [
                Some(kind),
                Some(relation),
                Some(oid),
                Some(value),
                Some(schema),
            ] = row.as_slice()
            else {
                return None;
            };
            let (relation, oid): (u32, u32) = (relation.parse().ok()?, oid.parse().ok()?);
            match kind.as_str() {
                "rule" => {
                    let rules = answer.rules.entry(relation).or_default();
                    rules.insert((oid, value.parse().ok()?));
                }
                "columns" => {
                    answer.columns.insert(relation, value.clone());
                }
                "name" => {
                    let named = answer.names.entry(value.clone()).or_default();
                    named.insert((schema.clone(), oid));
                }
                _ => return None,
            }
        }
        Some(answer)
    }

    /// Is all of it as the snapshot has it?
    pub fn agrees(&self, defined: &Defined, snapshot: &Snapshot) -> bool {
        let none = BTreeSet::new();
        let relations = defined.relations.iter().all(|oid| {
            let known: BTreeSet<(u32, u32)> = snapshot.rules(*oid).iter().copied().collect();
            let relation = snapshot.index_of(*oid).and_then(|i| snapshot.relation(i));
            let columns = relation.map(columns).unwrap_or_default();
            let said = self.columns.get(oid).map(String::as_str);
            *self.rules.get(oid).unwrap_or(&none) == known && said.unwrap_or_default() == columns
        });
        let none = BTreeSet::new();
        relations
            && defined.names.iter().all(|name| {
                let lasting = snapshot.named(name).filter(|r| !r.is_temporary());
                let known: BTreeSet<(String, u32)> =
                    lasting.map(|r| (r.schema.to_string(), r.oid)).collect();
                *self.names.get(&**name).unwrap_or(&none) == known
            })
    }
}

/// As [`QUESTION`] writes them.
fn columns(relation: &RelationInfo) -> String {
    let columns = relation.columns.iter().map(|column| {
        let name = column.name.replace('~', "~~").replace(',', "~,");
        format!("{}={name}", column.number)
    });
    columns.collect::<Vec<_>>().join(",")
}

struct Ask {
    about: Defined,
    answer: oneshot::Sender<Arc<Answer>>,
}

/// Of one database.
#[derive(Default)]
pub(super) struct Witness {
    asks: Mutex<Option<mpsc::Sender<Ask>>>,
}

/// Where it is asked.
#[derive(Clone)]
pub(super) struct Place {
    pub target: Arc<PgTarget>,
    pub database: Arc<str>,
    pub limits: Limits,
    pub tasks: Tasks,
}

/// Connections of witnesses, of all databases. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    /// No more is asked; what is under way is given up.
    pub async fn end(&self, patience: Duration) {
        self.stop.cancel();
        self.tracker.close();
        tokio::time::timeout(patience, self.tracker.wait())
            .await
            .ok();
    }

    fn spawn(&self, serving: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tracker.spawn(async move {
            stop.run_until_cancelled(serving).await;
        });
    }
}

impl Witness {
    /// None: there was no answer within `Limits::definitions_time`.
    pub async fn ask(&self, about: Defined, place: impl FnOnce() -> Place) -> Option<Arc<Answer>> {
        let (answer, answered) = oneshot::channel();
        self.send(Ask { about, answer }, place);
        answered.await.ok()
    }

    /// What is dropped is not answered.
    fn send(&self, ask: Ask, place: impl FnOnce() -> Place) {
        let mut asks = self.asks.lock();
        let ask = match asks.as_ref() {
            None => ask,
            Some(asks) => match asks.try_send(ask) {
                Ok(()) | Err(TrySendError::Full(_)) => return,
                // Nobody had asked for a while.
                Err(TrySendError::Closed(ask)) => ask,
            },
        };
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        if sender.try_send(ask).is_ok() {
            *asks = Some(sender);
            let place = place();
            place.tasks.clone().spawn(serve(receiver, place));
        }
    }
}

async fn serve(mut asks: mpsc::Receiver<Ask>, place: Place) {
    let mut side: Option<Upstream> = None;
    let mut failed: Option<tokio::time::Instant> = None;
    while let Ok(Some(first)) = tokio::time::timeout(IDLE, asks.recv()).await {
        let mut together = vec![first];
        while together.len() < MAX_TOGETHER
            && let Ok(ask) = asks.try_recv()
        {
            together.push(ask);
        }
        if failed.is_some_and(|at| at.elapsed() < PAUSE) {
            continue;
        }
        let mut about = Defined::default();
        for ask in &together {
            about.extend(&ask.about);
        }
        let asked = asked(&mut side, &about, &place);
        let answer = tokio::time::timeout(place.limits.definitions_time, asked).await;
        match answer {
            Ok(Some(answer)) => {
                failed = None;
                let answer = Arc::new(answer);
                for ask in together {
                    // Whoever has gone meanwhile does not need it.
                    ask.answer.send(answer.clone()).ok();
                }
            }
            Ok(None) => failed = Some(tokio::time::Instant::now()),
            Err(_) => {
                failed = Some(tokio::time::Instant::now());
                // Half an answer may be under way.
                side = None;
                tracing::warn!(target = %place.target.info.name, "no answer about definitions in time");
            }
        }
    }
}

/// A connection that was closed meanwhile is made again, once.
async fn asked(side: &mut Option<Upstream>, about: &Defined, place: &Place) -> Option<Answer> {
    let bounds = Bounds {
        rows: MAX_ROWS,
        bytes: MAX_BYTES,
        time: place.limits.definitions_time,
    };
    let parameters = [numbers(about), names(about)];
    for known in [side.take(), None] {
        let fresh = known.is_none();
        let mut upstream = match known {
            Some(upstream) => upstream,
            None => connect(place, bounds).await?,
        };
        match upstream.run(NAME, &parameters, bounds).await {
            Ok(rows) => {
                *side = Some(upstream);
                return Answer::read(&rows);
            }
            Err(error) if fresh => {
                tracing::warn!(target = %place.target.info.name, %error, "definitions cannot be looked at");
                return None;
            }
            Err(_) => {}
        }
    }
    None
}

async fn connect(place: &Place, bounds: Bounds) -> Option<Upstream> {
    let time = format!("{}ms", bounds.milliseconds());
    let settings = [
        ("application_name", "weir: definitions"),
        ("client_encoding", "UTF8"),
        ("search_path", "pg_catalog"),
        ("default_transaction_isolation", "read committed"),
        ("default_transaction_read_only", "on"),
        ("statement_timeout", time.as_str()),
        ("lock_timeout", LOCK_TIMEOUT),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let connected = Upstream::connect(&place.target, &place.database, &settings, &place.limits);
    let prepared = match connected.await {
        Ok(mut side) => {
            let prepared = side.prepare(NAME, QUESTION, &TYPES, bounds).await;
            prepared.map(|()| side).map_err(|e| e.to_string())
        }
        Err(error) => Err(error.to_string()),
    };
    match prepared {
        Ok(side) => Some(side),
        Err(error) => {
            tracing::warn!(target = %place.target.info.name, %error, "definitions cannot be looked at");
            None
        }
    }
}

/// An array of OIDs, as text.
fn numbers(about: &Defined) -> String {
    let numbers: Vec<String> = about.relations.iter().map(u32::to_string).collect();
    format!("{{{}}}", numbers.join(","))
}

/// An array of names, as text: everything is quoted.
fn names(about: &Defined) -> String {
    let quoted = about.names.iter().map(|name| {
        let name = name.replace('\\', "\\\\").replace('"', "\\\"");
        format!("\"{name}\"")
    });
    format!("{{{}}}", quoted.collect::<Vec<_>>().join(","))
}

/// Does an analysis go by the definitions that are in force?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Vouched {
    Yes,
    No,
    /// The target does not say.
    Unknown,
}

impl FromClient {
    /// The verdict on a text, with a catalogue that is fresh enough for it and the definitions that
    /// are in force.
    pub(super) async fn judge_text(&mut self, sql: &[u8]) -> Result<Result<Judged, Refused>, End> {
        let judged = self.judge_in_force(sql).await?;
        if let Err(refused) = &judged
            && refused.sqlstate == "42501"
        {
            // No policy was asked, but who tried is on record all the same.
            let mut tried = self.look(sql).await?;
            tried.denied = Some(refused.message.clone());
            self.record_refusal(b"text\0", sql, &tried, sql).await?;
        }
        Ok(judged)
    }

    async fn judge_in_force(&mut self, sql: &[u8]) -> Result<Result<Judged, Refused>, End> {
        let begun = Instant::now();
        let judged = match self.judge_known(sql).await? {
            Ok(judged) => judged,
            Err(refused) => return Ok(Err(refused)),
        };
        let asked = Instant::now();
        let vouched = self.vouched(&judged).await?;
        let by_newest = Arc::ptr_eq(&judged.snapshot, self.judge.snapshot());
        // Nobody says, but it was looked at only now.
        let known = by_newest && asked.elapsed() < AT_ONCE && self.knows_since(begun);
        match vouched {
            Vouched::Yes => Ok(Ok(judged)),
            Vouched::Unknown if known => Ok(Ok(judged)),
            vouched => self.judge_replaced(sql, judged, vouched).await,
        }
    }

    /// Other sessions' changes are looked at here; a session that has changed the catalogue itself sees
    /// what this does not, and has read it again.
    pub(super) async fn vouched(&mut self, judged: &Judged) -> Result<Vouched, End> {
        if judged.indifferent || judged.denied.is_some() || self.judge.is_uncommitted() {
            return Ok(Vouched::Yes);
        }
        let Some(defined) = judged.analysis.defined() else {
            return Ok(Vouched::Yes);
        };
        let link = self.link.clone();
        let place = || Place {
            target: link.cancellable.target.clone(),
            database: link.session.info().scope.clone(),
            limits: link.limits.clone(),
            tasks: link.catalog.witnesses().clone(),
        };
        self.flush().await?;
        let answer = tokio::select! {
            biased;
            answer = link.catalog.witness().ask(defined.clone(), place) => answer,
            () = self.reader.watch() => return Err(End(EndReason::ClientClosed)),
        };
        Ok(match answer {
            None => Vouched::Unknown,
            Some(answer) if answer.agrees(&defined, &judged.snapshot) => Vouched::Yes,
            Some(_) => Vouched::No,
        })
    }

    /// A text reads what has been replaced, or might have been: the catalogue is read again for it.
    async fn judge_replaced(
        &mut self,
        sql: &[u8],
        judged: Judged,
        vouched: Vouched,
    ) -> Result<Result<Judged, Refused>, End> {
        // What an open transaction sees can be old without anything having changed for others.
        if vouched == Vouched::No && !self.judge.held().private {
            self.link.catalog.changed();
        }
        let now = Instant::now();
        match self.refresh(Newness::Since(now), Patience::Needed).await? {
            Refreshed::Yes => {
                let judged = self.look(sql).await?;
                // What is read in a transaction can be as old as the transaction.
                let sure = match vouched {
                    Vouched::Unknown => self.knows_since(now),
                    Vouched::Yes | Vouched::No => self.vouched(&judged).await? == Vouched::Yes,
                };
                if sure {
                    return Ok(Ok(judged));
                }
            }
            Refreshed::Cancelled => return Ok(Err(self.cancelled().await?)),
            // The server refuses it, and says so in its own words.
            Refreshed::Aborted if !ends_transaction(&judged.analysis) => return Ok(Ok(judged)),
            Refreshed::No | Refreshed::Aborted => {}
        }
        let text = "a view that this reads may have been replaced, and cannot be read again at this \
                    point";
        Ok(Err(
            Refused::new("42501", text).hint("Send Sync, or end the transaction, and try again.")
        ))
    }
}
