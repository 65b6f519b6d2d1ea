//! From a verified token to a session with a logged-in upstream.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Instant, SystemTime};

use bytes::BytesMut;
use parking_lot::Mutex;
use pipeline::{
    Access, Action, Caller, EndReason, HoldInfo, Refusal, Resource, Session, SessionId, SessionInfo,
};
use tokio::io::AsyncWriteExt;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::catalog::{Catalog, Held};
use super::client::{ClientReader, FromClient};
use super::judge::Judge;
use super::notify::Voice;
use super::server::ToClient;
use super::{ClientWriter, Link, MAX_INJECTED, Reads, hold};
use crate::cancel::{Cancellable, Registered};
use crate::catalog::{SessionState, Snapshot};
use crate::config::{Limits, PgListener, PgTarget};
use crate::refusal::Refused;
use crate::service::Shared;
use crate::startup::{Authenticated, Wanted};
use crate::statements::Flow;
use crate::upstream::{Backend, Bounds, Cancel, QueryError, Upstream};
use crate::wire::backend::TxStatus;
use crate::wire::encode;

/// Before version 17 the server keeps no more of a startup packet's database than this
/// (`NAMEDATALEN` - 1), and says nothing: policy would speak of another one.
const MAX_DATABASE: usize = 63;

/// Everything that runs, and the guards it runs under.
pub(crate) struct Opened {
    pub link: Arc<Link>,
    pub client: FromClient,
    pub server: ToClient,
    pub writer: ClientWriter,
    pub registered: Registered,
}

/// A client between login and its first statement.
struct Visitor {
    reader: ClientReader,
    writer: ClientWriter,
    limits: Limits,
}

impl Visitor {
    async fn turn_away(mut self, refused: &Refused) {
        let mut out = BytesMut::new();
        refused.encode("FATAL", &mut out);
        let said = async {
            let _ = self.writer.io.write_all(&out).await;
            let _ = self.writer.io.shutdown().await;
        };
        tokio::time::timeout(self.limits.farewell, said).await.ok();
    }
}

/// `None`: the client was told why not.
pub(crate) async fn open(
    shared: &Shared,
    listener: &PgListener,
    authenticated: Authenticated,
    shutdown: &CancellationToken,
) -> Option<Opened> {
    let limits = shared.options.limits.clone();
    let Authenticated {
        io,
        wanted,
        source,
        principal,
    } = authenticated;
    let (read, write) = tokio::io::split(io);
    let mut visitor = Visitor {
        reader: ClientReader::new(read, limits.max_ahead),
        writer: ClientWriter::new(write),
        limits: limits.clone(),
    };
    // The token is good. Only now may the client see notices, of a hold for one.
    let mut out = BytesMut::new();
    encode::authentication_ok(&mut out);
    if visitor.writer.write(&out, false).await.is_err() {
        return None;
    }
    let (target, database) = match destination(shared, listener, &wanted) {
        Ok(found) => found,
        Err(refused) => {
            visitor.turn_away(&refused).await;
            return None;
        }
    };
    let info = Arc::new(SessionInfo {
        id: SessionId::new(),
        id_text: "".into(),
        principal,
        target: target.info.clone(),
        scope: database.clone(),
        source,
        started: SystemTime::now(),
        attrs: wanted.attrs.clone(),
    });
    let info = Arc::new(SessionInfo {
        id_text: info.id.to_string().into(),
        ..(*info).clone()
    });
    let session = match ask(shared, &mut visitor, info.clone()).await {
        Ok(session) => session,
        Err(refusal) => {
            tracing::info!(%source, target = %target.info.name, reason = %refusal.reason, "connection refused");
            let mut refused = Refused::by_policy(&refusal, &info.id_text);
            if refused.sqlstate == "42501" {
                // How PostgreSQL names a login that is not permitted.
                refused.sqlstate = "28000".to_owned();
            }
            visitor.turn_away(&refused).await;
            return None;
        }
    };
    let dialled = tokio::select! {
        biased;
        reason = session.ended() => Err((reason, None)),
        dialled = prepare(shared, &target, &database, &wanted, &limits) => dialled,
    };
    match dialled {
        Ok(prepared) => {
            finish(
                shared, visitor, session, target, &wanted, prepared, shutdown,
            )
            .await
        }
        Err((reason, refused)) => {
            let refused = refused.or_else(|| crate::refusal::farewell(&reason));
            if let Err(error) = session.close(reason).await {
                tracing::error!(%error, "the end of a session could not be recorded");
            }
            if let Some(refused) = refused {
                visitor.turn_away(&refused).await;
            }
            None
        }
    }
}

/// Which target and database: the listener's, or `database=<target>/<database>`.
fn destination(
    shared: &Shared,
    listener: &PgListener,
    wanted: &Wanted,
) -> Result<(Arc<PgTarget>, Arc<str>), Refused> {
    let Some((target, database)) = wanted.route(listener.target.as_deref()) else {
        return Err(Refused::new("3D000", "no target is named")
            .hint("Connect to a database named target/database."));
    };
    let found = shared.targets.get(target).ok_or_else(|| {
        Refused::new("3D000", format!("there is no target \"{target}\""))
            .hint("Connect to a database named target/database.")
    })?;
    if database.is_some_and(|d| d.len() > MAX_DATABASE) {
        let text = format!("the name of a database has at most {MAX_DATABASE} bytes");
        return Err(Refused::new("42622", text));
    }
    let database: Arc<str> = match (database, &found.default_database) {
        (Some(name), _) => name.into(),
        (None, Some(name)) => name.clone(),
        (None, None) => {
            return Err(Refused::new("3D000", "no database is named")
                .hint("Connect to a database named target/database."));
        }
    };
    if !found.databases.is_empty() && !found.databases.contains(&database) {
        return Err(Refused::new(
            "3D000",
            format!("target \"{target}\" has no database \"{database}\" for clients of Weir"),
        ));
    }
    Ok((found.clone(), database))
}

/// Decides whether the principal may connect; the client sees a hold.
async fn ask(
    shared: &Shared,
    visitor: &mut Visitor,
    info: Arc<SessionInfo>,
) -> Result<Session, Refusal> {
    let connect = vec![Access {
        action: Action::PostgresConnect,
        resource: Resource::PgDatabase {
            database: info.scope.clone(),
        },
        target: Some(info.target.clone()),
    }];
    let cancel = CancellationToken::new();
    let notify = Notify::new();
    let held: Mutex<Option<HoldInfo>> = Mutex::new(None);
    let on_hold = |info: &HoldInfo| {
        *held.lock() = Some(info.clone());
        notify.notify_one();
    };
    let caller = Caller {
        cancel: &cancel,
        on_hold: &on_hold,
        survey: None,
    };
    let decision = Session::open(shared.options.ports.clone(), info, connect, caller);
    tokio::pin!(decision);
    let Visitor {
        reader,
        writer,
        limits,
    } = visitor;
    let mut next = tokio::time::interval(limits.hold_heartbeat);
    next.reset();
    let mut gone = false;
    loop {
        let tell = tokio::select! {
            biased;
            session = &mut decision => return session,
            () = notify.notified() => true,
            _ = next.tick() => held.lock().is_some(),
            () = reader.watch(), if !gone => {
                gone = true;
                cancel.cancel();
                false
            }
        };
        let info = held.lock().clone();
        if let (true, Some(info)) = (tell, info) {
            let mut out = BytesMut::new();
            hold::notice(&info, &mut out);
            if writer.write(&out, false).await.is_err() {
                cancel.cancel();
            }
        }
    }
}

/// A logged-in upstream and what names mean there.
struct Prepared {
    upstream: Upstream,
    catalog: Catalog,
    held: Held,
    state: SessionState,
    cancel: Option<Cancel>,
}

async fn prepare(
    shared: &Shared,
    target: &Arc<PgTarget>,
    database: &Arc<str>,
    wanted: &Wanted,
    limits: &Limits,
) -> Result<Prepared, (EndReason, Option<Refused>)> {
    let failed = |text: String, refused: Refused| (EndReason::Error(text), Some(refused));
    let mut upstream = Upstream::connect(target, database, &wanted.settings, limits)
        .await
        .map_err(|error| {
            tracing::warn!(target = %target.info.name, %error, "the target cannot be used");
            failed(error.to_string(), Refused::from(&error))
        })?;
    let unreadable = |error: String| {
        tracing::error!(target = %target.info.name, %error, "the catalogue cannot be read");
        let refused = Refused::new("58000", "the target's catalogue cannot be read");
        failed(error, refused)
    };
    // The client's own timeout is for its own statements.
    let impatient = wanted
        .settings
        .iter()
        .any(|(n, _)| n == "statement_timeout");
    if impatient {
        let sql = format!("SET statement_timeout = {}", bounds(limits).milliseconds());
        let set = upstream.query(&sql, bounds(limits)).await;
        set.map_err(|e| unreadable(e.to_string()))?;
    }
    let catalog = shared.catalogs.of(
        target.info.name.clone(),
        database.clone(),
        limits.catalog_ttl,
    );
    let held = match catalog.get() {
        Some(held) => held,
        None => {
            let held = load(&mut upstream, &catalog, limits)
                .await
                .map_err(&unreadable)?;
            catalog.put(&held);
            held
        }
    };
    let rows = upstream
        .query(SessionState::QUERY, bounds(limits))
        .await
        .map_err(|e| unreadable(e.to_string()))?;
    let cancel = match &upstream.cancel {
        Some(key) => Some(Cancel::Key(key.clone())),
        None if target.cancel_by_pid => {
            let backend = Backend::of(&mut upstream, database, bounds(limits)).await;
            Some(Cancel::Backend(
                backend.map_err(|e| unreadable(e.to_string()))?,
            ))
        }
        None => None,
    };
    if impatient {
        let again = upstream.query("RESET statement_timeout", bounds(limits));
        again.await.map_err(|e| unreadable(e.to_string()))?;
    }
    let row = rows.first().map(Vec::as_slice).unwrap_or_default();
    let state = SessionState::new(row).map_err(|e| unreadable(e.to_string()))?;
    Ok(Prepared {
        upstream,
        catalog,
        held,
        state,
        cancel,
    })
}

async fn load(upstream: &mut Upstream, catalog: &Catalog, limits: &Limits) -> Result<Held, String> {
    let generation = catalog.generation();
    let begun = Instant::now();
    let mut results = Vec::with_capacity(Snapshot::QUERIES.len());
    for sql in Snapshot::QUERIES {
        let rows = upstream.query(sql, bounds(limits)).await;
        results.push(rows.map_err(|e: QueryError| e.to_string())?);
    }
    let snapshot = Snapshot::build(&results).map_err(|e| e.to_string())?;
    Ok(Held {
        snapshot: Arc::new(snapshot),
        generation,
        begun,
        private: false,
    })
}

pub(super) fn bounds(limits: &Limits) -> Bounds {
    Bounds {
        rows: limits.max_catalog_rows,
        bytes: limits.max_catalog_bytes,
        time: limits.catalog_timeout,
    }
}

/// The server's parameters, our cancel key, ReadyForQuery: the session begins.
async fn finish(
    shared: &Shared,
    visitor: Visitor,
    session: Session,
    target: Arc<PgTarget>,
    wanted: &Wanted,
    prepared: Prepared,
    shutdown: &CancellationToken,
) -> Option<Opened> {
    let Visitor {
        reader,
        mut writer,
        limits,
    } = visitor;
    let Prepared {
        upstream,
        catalog,
        held,
        state,
        cancel,
    } = prepared;
    let process = cancel.as_ref().map(Cancel::process);
    let flow = Arc::new(Mutex::new(Flow::new()));
    let cancellable = Arc::new(Cancellable::new(target, cancel, flow.clone()));
    let registered = match shared
        .keys
        .register(cancellable.clone(), wanted.long_keys())
    {
        Ok(registered) => registered,
        Err(error) => {
            tracing::error!(%error, "a session without a cancel key is not begun");
            let reason = EndReason::Error(error.to_string());
            session.close(reason).await.ok();
            return None;
        }
    };
    let mut out = BytesMut::new();
    let mut utf8 = false;
    for (name, value) in &upstream.parameters {
        utf8 |= &name[..] == b"server_encoding" && &value[..] == b"UTF8";
        encode::parameter(&mut out, name, value);
    }
    encode::key_data(&mut out, registered.pid, &registered.secret);
    encode::ready(&mut out, TxStatus::Idle);
    if writer.write(&out, false).await.is_err() {
        session.close(EndReason::ClientClosed).await.ok();
        return None;
    }
    tracing::info!(session = %session.info().id_text, target = %session.info().target.name,
        database = %session.info().scope, source = %session.info().source, "session opened");

    let (inject, injected) = mpsc::channel(MAX_INJECTED);
    let (read, buf, sender) = upstream.split();
    let voice = Voice::of(catalog.voices(), process);
    let link = Arc::new(Link {
        session: Arc::new(session),
        flow,
        progress: Notify::new(),
        limits,
        mask_keys: shared.options.mask_keys.clone(),
        catalog,
        analysts: shared.analysts.clone(),
        surveys: shared.surveys.clone(),
        cancellable,
        voice,
        utf8,
        indifferent: Mutex::default(),
        reads: Reads::default(),
        strayed: AtomicBool::new(false),
        inject,
        local: Notify::new(),
        shutdown: shutdown.clone(),
        ending: CancellationToken::new(),
    });
    let judge = Judge::new(held, state, link.catalog.moves().clone());
    Some(Opened {
        client: FromClient::new(link.clone(), reader, sender, judge),
        server: ToClient::new(link.clone(), read, buf, injected),
        link,
        writer,
        registered,
    })
}
