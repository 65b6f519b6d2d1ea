//! Who is connected: the registry of live sessions, with their kill switches, and a summary of each
//! in the store. The summary is a convenience; the evidence is the recorder's.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use pipeline::ports::{Clock, KillSwitch, Registration, Registry};
use pipeline::{EndReason, Resource, SessionId, SessionInfo, Target};
use tokio::sync::mpsc;
use weir_client::Timestamp;

use crate::convert;
use crate::guard::{Recorded, Subject};
use crate::store::{SessionQuery, SessionRow, SessionWrite, Store, StoreError};

/// Summaries that wait to be written. When the store is behind by more, summaries are lost, and the
/// log says so: sessions never wait for it.
const QUEUE: usize = 4_096;
/// Summaries written in one transaction.
const BATCH: usize = 256;
/// How much of the client's own words is kept.
const MAX_APPLICATION: usize = 200;

#[derive(Clone)]
pub(crate) struct Sessions {
    inner: Arc<Inner>,
}

struct Inner {
    live: Mutex<HashMap<SessionId, Live>>,
    writes: mpsc::Sender<SessionWrite>,
    lost: AtomicU64,
    clock: Arc<dyn Clock>,
    store: Arc<dyn Store>,
}

struct Live {
    row: SessionRow,
    info: Arc<SessionInfo>,
    kill: KillSwitch,
    /// Set when an operator ends it.
    end: Option<String>,
}

/// What the writing task takes; see [`write_summaries`].
pub(crate) type Writes = mpsc::Receiver<SessionWrite>;

impl Sessions {
    pub(crate) fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> (Self, Writes) {
        let (writes, queue) = mpsc::channel(QUEUE);
        let inner = Arc::new(Inner {
            live: Mutex::default(),
            writes,
            lost: AtomicU64::new(0),
            clock,
            store,
        });
        (Self { inner }, queue)
    }

    /// Is it connected now?
    pub(crate) fn is_live(&self, id: &str) -> bool {
        id.parse()
            .is_ok_and(|id: SessionId| self.inner.live.lock().contains_key(&id))
    }

    /// The session, if it is connected now.
    pub(crate) fn live(&self, id: SessionId) -> Option<SessionRow> {
        self.inner.live.lock().get(&id).map(|l| l.row.clone())
    }

    pub(crate) async fn one(&self, id: SessionId) -> Result<Option<SessionRow>, StoreError> {
        match self.live(id) {
            Some(row) => Ok(Some(row)),
            None => self.inner.store.session(&id.to_string()).await,
        }
    }

    /// Newest first; live ones from memory, the others from the store.
    pub(crate) async fn list(&self, query: SessionQuery) -> Result<Vec<SessionRow>, StoreError> {
        let mut rows: Vec<SessionRow> = if query.live == Some(false) {
            Vec::new()
        } else {
            let live = self.inner.live.lock();
            live.values().map(|l| l.row.clone()).collect()
        };
        rows.retain(|row| query.before.as_ref().is_none_or(|b| row.id < *b));
        if query.live != Some(true) {
            let stored = self.inner.store.sessions(query.clone()).await?;
            rows.extend(stored);
        }
        rows.sort_by(|a, b| b.id.cmp(&a.id));
        rows.dedup_by(|a, b| a.id == b.id);
        rows.truncate(query.limit as usize);
        Ok(rows)
    }

    /// What `of` says of those that are connected now.
    pub(crate) fn all_live(&self, of: impl Fn(&SessionInfo) -> Option<&str>) -> BTreeSet<String> {
        let live = self.inner.live.lock();
        let said = live.values().filter_map(|session| of(&session.info));
        said.map(str::to_owned).collect()
    }

    /// Ends a session. `None` when it is not live.
    pub(crate) fn kill(
        &self,
        recorded: &Recorded,
        id: SessionId,
        reason: String,
    ) -> Option<SessionRow> {
        let by = recorded.by().actor.subject.to_string();
        let mut live = self.inner.live.lock();
        let session = live.get_mut(&id)?;
        session
            .end
            .get_or_insert_with(|| format!("ended by {by}: {reason}"));
        session.kill.kill(EndReason::Killed { by, reason });
        Some(session.row.clone())
    }

    /// Ends all that `are` says; how many.
    pub(crate) fn kill_all(
        &self,
        recorded: &Recorded,
        reason: &str,
        are: impl Fn(&SessionInfo) -> bool,
    ) -> u64 {
        self.end_all(&recorded.by().actor.subject, reason, are)
    }

    /// The same because of what was recorded before.
    pub(crate) fn end_all(
        &self,
        by: &str,
        reason: &str,
        are: impl Fn(&SessionInfo) -> bool,
    ) -> u64 {
        let mut live = self.inner.live.lock();
        let mut ended = 0;
        for session in live.values_mut().filter(|s| are(&s.info)) {
            session
                .end
                .get_or_insert_with(|| format!("ended by {by}: {reason}"));
            session.kill.kill(EndReason::Killed {
                by: by.to_owned(),
                reason: reason.to_owned(),
            });
            ended += 1;
        }
        ended
    }
}

/// What policy is asked about: the session, in its target, as long as that is configured.
pub(crate) fn subject(targets: &BTreeMap<String, Arc<Target>>, row: &SessionRow) -> Subject {
    Subject {
        resource: Resource::Session {
            id: row.id.parse().unwrap_or(SessionId(uuid::Uuid::nil())),
            owner: row.owner.as_str().into(),
        },
        target: targets.get(&row.target).cloned(),
    }
}

impl Inner {
    fn write(&self, write: SessionWrite) {
        if self.writes.try_send(write).is_err() {
            let lost = self.lost.fetch_add(1, Ordering::Relaxed) + 1;
            // Once per power of two: a store that is behind must not flood the log as well.
            if lost.is_power_of_two() {
                tracing::warn!(lost, "summaries of sessions were lost: the store is behind");
            }
        }
    }
}

impl Registry for Sessions {
    fn register(&self, info: Arc<SessionInfo>, kill: KillSwitch) -> Box<dyn Registration> {
        let row = row(&info);
        let live = Live {
            row: row.clone(),
            info: info.clone(),
            kill,
            end: None,
        };
        self.inner.live.lock().insert(info.id, live);
        self.inner.write(SessionWrite::Started(Box::new(row)));
        Box::new(Guard {
            inner: self.inner.clone(),
            id: info.id,
        })
    }
}

struct Guard {
    inner: Arc<Inner>,
    id: SessionId,
}

impl Registration for Guard {}

impl Drop for Guard {
    fn drop(&mut self) {
        let live = self.inner.live.lock().remove(&self.id);
        let end = live.and_then(|l| l.end);
        self.inner.write(SessionWrite::Ended {
            id: self.id.to_string(),
            at: Timestamp::from(self.inner.clock.now()).millis(),
            end: end.unwrap_or_else(|| "closed".into()),
        });
    }
}

fn row(info: &SessionInfo) -> SessionRow {
    let application = info.attrs.get("application_name");
    let application = application.map_or("", String::as_str);
    SessionRow {
        id: info.id.to_string(),
        kind: info.principal.actor.kind.as_str().to_owned(),
        principal: info.principal.actor.subject.to_string(),
        owner: convert::owner(&info.principal),
        target: info.target.name.to_string(),
        protocol: info.target.protocol.as_str().to_owned(),
        database: info.scope.to_string(),
        source: info.source.to_string(),
        application: convert::prefix(application, MAX_APPLICATION).to_owned(),
        started_at: Timestamp::from(info.started).millis(),
        ended_at: None,
        end: None,
    }
}

/// Writes summaries until the registry is gone or `stop` is cancelled, and then what is left.
pub(crate) async fn write_summaries(
    store: Arc<dyn Store>,
    mut queue: Writes,
    stop: tokio_util::sync::CancellationToken,
) {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        let got = tokio::select! {
            biased;
            got = queue.recv_many(&mut batch, BATCH) => got,
            () = stop.cancelled() => return,
        };
        if got == 0 {
            return;
        }
        let writes = std::mem::take(&mut batch);
        let count = writes.len();
        if let Err(error) = store.write_sessions(writes).await {
            tracing::warn!(%error, count, "summaries of sessions were lost");
        }
    }
}
