//! From a proved identity to a session with a target behind it: which target is meant, whether policy lets this
//! principal connect, the way there.
//!
//! What does not exist and what is not permitted are told in the same words, and only when a session is asked
//! for.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use parking_lot::Mutex;
use pipeline::{
    Access, Action, Caller, EndReason, HoldInfo, Refusal, RefusalKind, Resource, Session,
    SessionId, SessionInfo,
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::config::{SshTarget, check_login};
use crate::jump::{NO_SUCH_TARGET, NO_TARGET, NoSession, Unknown, lounge, turned_away};
use crate::leg::{Leg, LegError};
use crate::lobby::{Left, Lobby};
use crate::relay;
use crate::service::Entry;
use crate::startup::name::{Wanted, wanted};
use crate::startup::userauth::{banner, success};
use crate::startup::{Authenticated, Outer, said};
use crate::terms::Terms;
use crate::upstream::{self, Grant, Means};
use crate::wire::numbers::{disconnect, open_failure};

/// A target and a login on it, both of which there are.
struct Destination {
    target: Arc<SshTarget>,
    login: Arc<str>,
}

/// One client from its login to its end.
pub(crate) async fn visit(entry: Entry, leg: Leg, authenticated: Authenticated) {
    let Authenticated { user, who } = authenticated;
    let asked = asked(&entry, &user);
    let limits = &entry.shared.options.limits;
    let mut lobby = Lobby::new(leg, limits);
    let floor = Instant::now() + limits.hold_notice;
    let no_session = match destination(&entry, &asked) {
        None => {
            let names_one = asked.target.is_some();
            let reason = if names_one { NO_SUCH_TARGET } else { NO_TARGET };
            let mut unknown = Some(Unknown {
                said: said(&user),
                reason,
                names_one,
            });
            // Inside a jump, the target is what was asked for.
            if entry.inner.is_some()
                && let Some(unknown) = unknown.take()
            {
                turned_away(&entry, &who, &unknown.said, reason).await;
            }
            // Whoever names no target learns nothing about one.
            if asked.target.is_some()
                && let Some(left) = stay(&entry, &mut lobby, floor).await
            {
                return turn_out(&entry, lobby, &left).await;
            }
            match let_in(&mut lobby.leg, None) {
                Ok(()) => NoSession {
                    unknown,
                    ..closed(&asked)
                },
                Err(_) => return,
            }
        }
        Some(to) => match session(&entry, &mut lobby, &who, &to, floor).await {
            Ok((session, upstream)) => {
                let (leg, early) = lobby.leave();
                let terms = Terms {
                    login: to.login,
                    ports: entry.shared.ports_of(&to.target),
                    may: who.may,
                    masks: entry.shared.masks.of(&to.target),
                    binary: to.target.binary,
                    early,
                    shutdown: entry.shutdown.clone(),
                    drain: entry.listener.listen.drain,
                    limits: entry.shared.limits.clone(),
                    readers: entry.shared.readers.clone(),
                };
                relay::run(session, leg, upstream, terms).await;
                return;
            }
            Err(NotOpen::Left(left)) => return turn_out(&entry, lobby, &left).await,
            Err(NotOpen::Refused(refusal)) => match refusal.kind {
                RefusalKind::Denied => closed(&asked),
                _ => NoSession {
                    reason: open_failure::ADMINISTRATIVELY_PROHIBITED,
                    text: words(&refusal),
                    unknown: None,
                },
            },
            Err(NotOpen::Unreachable(text)) => NoSession {
                reason: open_failure::CONNECT_FAILED,
                text: text.to_owned(),
                unknown: None,
            },
        },
    };
    tracing::info!(source = %entry.source, actor = %who.principal.actor, user = %user, reason = %no_session.text, "no session");
    let (leg, early) = lobby.leave();
    lounge(leg, early, no_session, &entry, who).await;
}

/// What the user name, the listener and the jump say together.
fn asked(entry: &Entry, user: &str) -> Wanted {
    let bound = match (&entry.inner, &entry.listener.target) {
        (Some(inner), _) => Some(&inner.name),
        (None, bound) => bound.as_ref(),
    };
    match bound {
        None => wanted(user),
        Some(target) => Wanted {
            login: (!user.is_empty()).then(|| user.to_owned()),
            target: Some(target.to_string()),
        },
    }
}

fn destination(entry: &Entry, asked: &Wanted) -> Option<Destination> {
    let name = asked.target.as_ref()?.to_ascii_lowercase();
    let target = entry.shared.targets.get(&name)?.clone();
    let port = entry.inner.as_ref().and_then(|inner| inner.port);
    if port.is_some_and(|port| port != target.port) {
        return None;
    }
    let login: Arc<str> = match &asked.login {
        Some(login) => login.as_str().into(),
        None => target.default_login.clone()?,
    };
    if check_login(&login).is_err() {
        return None;
    }
    let permitted = target.logins.is_empty() || target.logins.contains(&login);
    permitted.then_some(Destination { target, login })
}

/// There is no such target, or it is not for this principal: the same words, made of the client's own.
fn closed(asked: &Wanted) -> NoSession {
    let text = match (&asked.target, &asked.login) {
        (None, _) => {
            "no target is named; use login+target as the user name, or this gateway as a jump host (ssh -J)"
                .to_owned()
        }
        (Some(target), Some(login)) => {
            format!("no target {target:?} with the login {login:?} is open to you")
        }
        (Some(target), None) => {
            format!("no target {target:?} is open to you; a login is named as in root+{target}")
        }
    };
    NoSession {
        reason: open_failure::ADMINISTRATIVELY_PROHIBITED,
        text,
        unknown: None,
    }
}

fn words(refusal: &Refusal) -> String {
    match &refusal.hint {
        Some(hint) => format!("{}. {hint}", refusal.reason),
        None => refusal.reason.clone(),
    }
}

/// Why a destination that there is has no session.
enum NotOpen {
    Left(Left),
    Refused(Refusal),
    Unreachable(&'static str),
}

/// Tells the client that it is in.
fn let_in(leg: &mut Leg, notice: Option<&str>) -> Result<(), LegError> {
    if let Some(text) = notice {
        leg.transport.send(&banner(text))?;
    }
    leg.transport.send(&success())?;
    Ok(())
}

/// The client waits until then, unless it goes, or Weir does.
async fn stay(entry: &Entry, lobby: &mut Lobby, until: Instant) -> Option<Left> {
    tokio::select! {
        biased;
        left = lobby.watch() => Some(left),
        () = entry.shutdown.cancelled() => None,
        () = tokio::time::sleep_until(until.into()) => None,
    }
}

/// Decides, dials and logs in there, while the client waits in the lobby.
async fn session(
    entry: &Entry,
    lobby: &mut Lobby,
    who: &Outer,
    to: &Destination,
    floor: Instant,
) -> Result<(Session, Leg), NotOpen> {
    let session = decide(entry, lobby, who, to, floor).await?;
    let shared = &entry.shared;
    // It is registered by now: who revokes something either finds it there, or has done so before this. Somebody
    // may have come in long ago, through a jump host or a hold.
    let auth = &shared.options.auth;
    let counts = auth.still_counts(&who.by, &who.principal, entry.source);
    if !counts.await {
        tracing::warn!(source = %entry.source, actor = %who.principal.actor, "no session: what they came in by does not count any more");
        let reason =
            EndReason::Error("what the client came in by does not count any more".to_owned());
        if let Err(error) = session.close(reason).await {
            tracing::error!(%error, "the end of a session could not be recorded");
        }
        return Err(NotOpen::Unreachable(
            "what you came in by does not count any more; log in again",
        ));
    }
    let info = session.info().clone();
    let grant = Grant {
        principal: &info.principal,
        session: info.id,
        target: &info.target.name,
        login: &to.login,
        may: who.may,
        now: SystemTime::now(),
    };
    let means = Means {
        host_keys: &*shared.options.host_keys,
        issuer: shared.options.issuer.as_deref(),
        limits: &shared.limits,
    };
    let (reason, not_open) = tokio::select! {
        biased;
        reason = session.ended() => (reason, NotOpen::Unreachable("the session was ended")),
        left = lobby.watch() => ((&left).into(), NotOpen::Left(left)),
        dialled = upstream::connect(&to.target, &grant, &means) => match dialled {
            Ok(upstream) => return Ok((session, upstream)),
            Err(error) => {
                tracing::warn!(target_name = %info.target.name, session = %info.id, %error, "no connection to the target");
                let text = error.client_text();
                (EndReason::Error(error.to_string()), NotOpen::Unreachable(text))
            }
        },
    };
    if let Err(error) = session.close(reason).await {
        tracing::error!(%error, "the end of a session could not be recorded");
    }
    Err(not_open)
}

/// May this principal connect? A hold is told before the client is let in, if it comes soon: afterwards there is
/// no way to, as long as no channel is open. A denial is not told before `floor`, when a target that there is not is
/// told, too.
async fn decide(
    entry: &Entry,
    lobby: &mut Lobby,
    who: &Outer,
    to: &Destination,
    floor: Instant,
) -> Result<Session, NotOpen> {
    let shared = &entry.shared;
    let ident = lobby.leg.transport.peer_ident();
    let info = info(entry, who, to, ident);
    let connect = vec![Access {
        action: Action::SshConnect,
        resource: Resource::SshAccount {
            login: to.login.clone(),
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
    let decision = Session::open(
        shared.options.ports.clone(),
        Arc::new(info),
        connect,
        caller,
    );
    tokio::pin!(decision);
    let (mut told, mut left) = (false, None);
    let decided = loop {
        tokio::select! {
            biased;
            decided = &mut decision => break decided,
            () = entry.shutdown.cancelled(), if !cancel.is_cancelled() => cancel.cancel(),
            () = notify.notified(), if !told => {
                told = true;
                let text = held.lock().as_ref().map(notice);
                if let_in(&mut lobby.leg, text.as_deref()).is_err() {
                    cancel.cancel();
                }
            }
            () = tokio::time::sleep_until(floor.into()), if !told => {
                told = true;
                if let_in(&mut lobby.leg, None).is_err() {
                    cancel.cancel();
                }
            }
            gone = lobby.watch(), if left.is_none() => {
                cancel.cancel();
                left = Some(gone);
            }
        }
    };
    let denied = matches!(&decided, Err(refusal) if refusal.kind == RefusalKind::Denied);
    if denied && !told && left.is_none() {
        left = stay(entry, lobby, floor).await;
    }
    let not_told = !told && let_in(&mut lobby.leg, None).is_err();
    let left = match left {
        None if not_told => Some(Left::Gone),
        left => left,
    };
    match (decided, left) {
        (Ok(session), None) => Ok(session),
        (Ok(session), Some(left)) => {
            if let Err(error) = session.close((&left).into()).await {
                tracing::error!(%error, "the end of a session could not be recorded");
            }
            Err(NotOpen::Left(left))
        }
        (Err(_), Some(left)) => Err(NotOpen::Left(left)),
        (Err(refusal), None) => Err(NotOpen::Refused(refusal)),
    }
}

fn info(entry: &Entry, who: &Outer, to: &Destination, ident: Option<&str>) -> SessionInfo {
    let id = SessionId::new();
    let mut attrs = std::collections::BTreeMap::new();
    if let Some(ident) = ident {
        attrs.insert("client".to_owned(), ident.to_owned());
    }
    attrs.extend(who.by.attrs());
    if let Some(login) = who.principal.proof.login {
        attrs.insert("login".to_owned(), login.as_str().to_owned());
    }
    SessionInfo {
        id,
        id_text: id.to_string().into(),
        principal: who.principal.clone(),
        target: to.target.info.clone(),
        scope: to.login.clone(),
        source: entry.source,
        started: SystemTime::now(),
        attrs,
    }
}

fn notice(info: &HoldInfo) -> String {
    let rules: Vec<&str> = info.rules.iter().map(|r| &**r).collect();
    format!(
        "weir: connecting waits for approval: {}\nHold {} under {}. It can be decided at {}",
        info.reason,
        info.id,
        rules.join(", "),
        info.url
    )
}

/// The last words to a client that did what it must not.
async fn turn_out(entry: &Entry, lobby: Lobby, left: &Left) {
    let (mut leg, _) = lobby.leave();
    let reason = match left {
        Left::Gone => return,
        Left::Leg(_) => disconnect::BY_APPLICATION,
        Left::Unexpected(_) | Left::TooMuch => disconnect::PROTOCOL_ERROR,
    };
    tracing::warn!(source = %entry.source, %left, "client turned out");
    leg.transport.disconnect(reason, &left.to_string());
    let farewell = entry.shared.limits.farewell;
    tokio::time::timeout(farewell, leg.flush()).await.ok();
}
