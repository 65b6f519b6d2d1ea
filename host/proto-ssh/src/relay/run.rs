//! The one task of a session: reads both legs, follows what they say, asks, records, and writes.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use pipeline::ports::JournalError;
use pipeline::{EndReason, OutcomeKind, Receipt, RefusalKind, Session};
use tokio_util::sync::CancellationToken;

use super::core::{Core, Effect, Limits, Side, Ticket, Violation};
use super::decide::{self, Answered, Decided, Deciding, Holds};
use super::half::{Half, proves_itself_again};
use super::record::record;
use crate::action::{Asked, Turned, printable};
use crate::leg::Leg;
use crate::terms::Terms;
use crate::transport::{Event, TransportError};
use crate::upstream::send;
use crate::wire::numbers::disconnect;

/// How long what has passed already may take to be written when one side has gone.
const LAST_BYTES: Duration = Duration::from_secs(10);
/// How long what is being recorded gets to be on record and queued when the session ends.
const LAST_RECORDS: Duration = Duration::from_secs(1);
/// How long decisions get to end when the session does.
const LAST_DECISIONS: Duration = Duration::from_secs(2);

/// Moves both directions until one side leaves or the session has to end; closes the session.
pub(crate) async fn run(session: Session, client: Leg, upstream: Leg, terms: Terms) -> EndReason {
    let reason = {
        let holds = Holds::default();
        let relay = Relay {
            session: &session,
            terms: &terms,
            holds: &holds,
            core: Core::new(Limits::default()),
            client: Half::new(client),
            upstream: Half::new(upstream),
            effects: Vec::new(),
            receipts: HashMap::new(),
            cancels: HashMap::new(),
            cancel: CancellationToken::new(),
            minded: None,
        };
        // Boxed, as it is most of what a session needs.
        Box::pin(relay.run()).await
    };
    let target = &session.info().target.name;
    let id = &session.info().id_text;
    match &reason {
        EndReason::ClientClosed | EndReason::UpstreamClosed | EndReason::Shutdown => {
            tracing::info!(session = %id, %target, ?reason, "session ended");
        }
        _ => tracing::warn!(session = %id, %target, ?reason, "session ended"),
    }
    if let Err(error) = session.close(reason.clone()).await {
        tracing::error!(%error, "the end of a session could not be recorded");
    }
    reason
}

/// Why it is over, and what each side is told.
struct End {
    reason: EndReason,
    client: (u32, String),
    upstream: (u32, String),
}

impl End {
    fn new(reason: EndReason) -> Self {
        let code = match &reason {
            EndReason::ProtocolViolation(_) => disconnect::PROTOCOL_ERROR,
            EndReason::UpstreamClosed => disconnect::CONNECTION_LOST,
            _ => disconnect::BY_APPLICATION,
        };
        Self {
            client: (code, words(&reason)),
            upstream: (disconnect::BY_APPLICATION, String::new()),
            reason,
        }
    }
}

impl From<Violation> for End {
    fn from(violation: Violation) -> Self {
        let text = violation.to_string();
        let (told, other) = (
            (disconnect::PROTOCOL_ERROR, text.clone()),
            (
                disconnect::BY_APPLICATION,
                "the other side broke the protocol".to_owned(),
            ),
        );
        let (client, upstream) = match violation.side() {
            Side::Client => (told, other),
            Side::Upstream => (other, told),
        };
        Self {
            reason: EndReason::ProtocolViolation(text),
            client,
            upstream,
        }
    }
}

impl From<JournalError> for End {
    fn from(error: JournalError) -> Self {
        tracing::error!(%error, "ending a session: it cannot be recorded");
        Self::new(EndReason::RecorderFailed)
    }
}

/// What a client may read of the end.
fn words(reason: &EndReason) -> String {
    match reason {
        EndReason::ClientClosed => String::new(),
        EndReason::UpstreamClosed => "the target closed the connection".into(),
        EndReason::Killed { reason, .. } => {
            format!("an operator ended this session: {}", printable(reason))
        }
        EndReason::TokenExpired => "the token or certificate has expired".into(),
        EndReason::PolicyChanged => "policy no longer permits this connection".into(),
        EndReason::RecorderFailed => "this session cannot be recorded at the moment".into(),
        EndReason::ProtocolViolation(what) => what.clone(),
        EndReason::Shutdown => "Weir shuts down".into(),
        // The reason is for the record; it was not written for clients.
        EndReason::Error(_) => "an internal error of Weir".into(),
    }
}

struct Relay<'a> {
    session: &'a Session,
    terms: &'a Terms,
    holds: &'a Holds,
    core: Core,
    client: Half,
    upstream: Half,
    effects: Vec<Effect>,
    receipts: HashMap<Ticket, Receipt>,
    cancels: HashMap<Ticket, CancellationToken>,
    /// Of every decision of the session.
    cancel: CancellationToken,
    /// The digest of the bundle that was last asked whether it is indifferent.
    minded: Option<Arc<str>>,
}

impl<'a> Relay<'a> {
    async fn run(mut self) -> EndReason {
        let mut deciding = FuturesUnordered::new();
        let end = match self.turns(&mut deciding).await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        let reason = end.reason.clone();
        self.finish(end, deciding).await;
        reason
    }

    async fn turns(
        &mut self,
        deciding: &mut FuturesUnordered<Deciding<'a>>,
    ) -> Result<std::convert::Infallible, End> {
        let session = self.session;
        let ended = session.ended();
        tokio::pin!(ended);
        let late = late(self.terms);
        tokio::pin!(late);
        for payload in &self.terms.early {
            self.core
                .receive(Side::Client, payload, Instant::now(), &mut self.effects)?;
        }
        loop {
            let heard = self.listen();
            // Whoever leaves has said something before: that still counts. A recorder that is behind keeps
            // nobody from ending the session.
            {
                let carry = self.carry(deciding);
                tokio::pin!(carry);
                tokio::select! {
                    biased;
                    reason = &mut ended => {
                        // What is on record as seen is sent, and no outcome is lost, unless the recorder is stuck.
                        if tokio::time::timeout(LAST_RECORDS, carry).await.is_err() {
                            tracing::warn!("the record of a session may name more than was sent");
                        }
                        return Err(End::new(reason));
                    }
                    carried = &mut carry => carried?,
                }
            }
            heard?;
            self.client.fill().map_err(|e| broken(Side::Client, &e))?;
            self.upstream
                .fill()
                .map_err(|e| broken(Side::Upstream, &e))?;
            self.anybody_left()?;
            if self.terms.shutdown.is_cancelled() && self.core.is_idle() {
                return Err(End::new(EndReason::Shutdown));
            }
            let read_client = !self.upstream.is_behind() || self.client.waits_for_keys();
            let read_upstream = !self.client.is_behind() || self.upstream.waits_for_keys();
            let deadline = self.deadline();
            let Self {
                client, upstream, ..
            } = self;
            let moved = poll_fn(|cx| {
                let client = client.step(read_client, cx);
                let upstream = upstream.step(read_upstream, cx);
                match (client, upstream) {
                    (Err(_), _) => Poll::Ready(Err(EndReason::ClientClosed)),
                    (_, Err(_)) => Poll::Ready(Err(EndReason::UpstreamClosed)),
                    (Ok(false), Ok(false)) => Poll::Pending,
                    _ => Poll::Ready(Ok(())),
                }
            });
            tokio::select! {
                biased;
                reason = &mut ended => return Err(End::new(reason)),
                () = &mut late => return Err(End::new(EndReason::Shutdown)),
                Some(answered) = deciding.next(), if !deciding.is_empty() => match answered {
                    Answered::Decided(decided) => self.decided(*decided).await?,
                    Answered::Recorded => {}
                    Answered::Inspected { key, stream, edits } => {
                        let now = Instant::now();
                        self.core.inspected(key, stream, edits, now, &mut self.effects)?;
                    }
                },
                () = self.holds.changed.notified() => self.tell_of_holds(),
                moved = moved => moved.map_err(End::new)?,
                () = at(deadline) => self.tick()?,
                () = self.terms.shutdown.cancelled(), if !self.terms.shutdown.is_cancelled() => {}
            }
        }
    }

    /// Takes in everything that both sides have said. The first reason to end counts.
    fn listen(&mut self) -> Result<(), End> {
        let now = Instant::now();
        self.mind_policy();
        let client = self.hear(Side::Client, now);
        let upstream = self.hear(Side::Upstream, now);
        client.and(upstream)
    }

    /// Where policy is indifferent to what runs, scripts need not be read before they are run.
    fn mind_policy(&mut self) {
        let policy = self.session.pin();
        let digest = &policy.bundle().digest;
        if self.minded.as_ref() != Some(digest) {
            let info = self.session.info();
            let indifferent = policy.is_indifferent(&info.principal, &info.target);
            self.core.set_gathers(!indifferent);
            self.minded = Some(digest.clone());
        }
    }

    fn hear(&mut self, side: Side, now: Instant) -> Result<(), End> {
        let half = match side {
            Side::Client => &mut self.client,
            Side::Upstream => &mut self.upstream,
        };
        loop {
            let event = half.event(now).map_err(|error| broken(side, &error))?;
            match event {
                None => return Ok(()),
                Some(Event::Packet(payload)) => {
                    self.core.receive(side, &payload, now, &mut self.effects)?;
                }
                Some(Event::HostKey(offered)) => {
                    let same = side == Side::Upstream && proves_itself_again(&offered);
                    half.transport
                        .answer_host_key(same)
                        .map_err(|error| broken(side, &error))?;
                }
                Some(Event::Ready) => {}
                Some(Event::Disconnected { reason, text }) => {
                    return Err(gone(side, reason, &text));
                }
            }
        }
    }

    /// A side that has closed its socket has left, once all that it said was heard.
    fn anybody_left(&self) -> Result<(), End> {
        if self.client.ended {
            return Err(End::new(EndReason::ClientClosed));
        }
        if self.upstream.ended {
            return Err(End::new(EndReason::UpstreamClosed));
        }
        Ok(())
    }

    /// Does what the core wants, in its order.
    async fn carry(&mut self, deciding: &mut FuturesUnordered<Deciding<'a>>) -> Result<(), End> {
        while !self.effects.is_empty() {
            let effects = std::mem::take(&mut self.effects);
            record(self.session, &effects).await?;
            for effect in effects {
                match effect {
                    Effect::Send {
                        to: Side::Client,
                        payload,
                        ..
                    } => self.client.queue(payload),
                    Effect::Send {
                        to: Side::Upstream,
                        payload,
                        ..
                    } => self.upstream.queue(payload),
                    Effect::Decide {
                        ticket,
                        asked,
                        forward,
                    } => self.ask(ticket, &asked, forward, deciding)?,
                    Effect::Refused(turned) => self.turned(&turned, deciding),
                    Effect::Inspect { key, inspect } => {
                        deciding.push(decide::inspect(self.session, key, inspect));
                    }
                    Effect::Cancel { ticket } => {
                        if let Some(cancel) = self.cancels.get(&ticket) {
                            cancel.cancel();
                        }
                    }
                    Effect::Outcome {
                        ticket,
                        kind,
                        detail,
                        bytes,
                    } => {
                        if let Some(receipt) = self.receipts.remove(&ticket) {
                            self.session
                                .outcome(receipt, kind, &detail, 0, bytes)
                                .await?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Refused without a decision: it goes on record beside whatever else is under way.
    fn turned(&self, turned: &Turned, deciding: &mut FuturesUnordered<Deciding<'a>>) {
        let session = self.session;
        let target = &session.info().target;
        let unasked = turned.unasked(&self.terms.login, target);
        tracing::info!(session = %session.info().id_text, reason = %turned.reason, "refused without a decision");
        deciding.push(decide::put_on_record(session, unasked));
    }

    fn ask(
        &mut self,
        ticket: Ticket,
        asked: &Asked,
        forward: Bytes,
        deciding: &mut FuturesUnordered<Deciding<'a>>,
    ) -> Result<(), End> {
        let cancel = self.cancel.child_token();
        let begun = decide::begin(
            self.session,
            self.terms,
            self.holds,
            ticket,
            (asked, forward),
            cancel.clone(),
        );
        match begun {
            Ok(decision) => {
                self.cancels.insert(ticket, cancel);
                deciding.push(decision);
            }
            Err(reason) => {
                self.turned(&Turned::known(asked.clone(), reason.as_str()), deciding);
                let now = Instant::now();
                self.core
                    .refused(ticket, &reason, None, now, &mut self.effects)?;
            }
        }
        Ok(())
    }

    async fn decided(&mut self, decided: Decided) -> Result<(), End> {
        let Decided {
            ticket,
            grant,
            result,
        } = decided;
        self.cancels.remove(&ticket);
        let now = Instant::now();
        let out = &mut self.effects;
        match result {
            // Nothing of a session that ends is answered one by one; its last words say why.
            Err(refusal) if refusal.kind == RefusalKind::SessionEnded => {
                Err(End::new(self.session.ended().await))
            }
            Err(refusal) => {
                let hint = refusal.hint.as_deref();
                self.core.refused(ticket, &refusal.reason, hint, now, out)?;
                Ok(())
            }
            Ok(permitted) => {
                let sent = send::send(&mut self.core, ticket, permitted, grant, now, out);
                match sent.sent {
                    Ok(false) => {
                        let detail = "the client did not want it any more";
                        let kind = OutcomeKind::Cancelled;
                        self.session
                            .outcome(sent.receipt, kind, detail, 0, 0)
                            .await?;
                        Ok(())
                    }
                    Ok(true) => {
                        self.receipts.insert(ticket, sent.receipt);
                        Ok(())
                    }
                    Err(violation) => {
                        self.receipts.insert(ticket, sent.receipt);
                        Err(violation.into())
                    }
                }
            }
        }
    }

    fn tell_of_holds(&mut self) {
        for (ticket, info) in self.holds.take() {
            let lines = decide::notice(&info);
            self.core.held(ticket, &lines, &mut self.effects);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        [
            self.core.deadline(),
            self.client.transport.deadline(),
            self.upstream.transport.deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn tick(&mut self) -> Result<(), End> {
        let now = Instant::now();
        self.core.tick(now, &mut self.effects)?;
        let client = self.client.transport.tick(now);
        client.map_err(|error| broken(Side::Client, &error))?;
        let upstream = self.upstream.transport.tick(now);
        upstream.map_err(|error| broken(Side::Upstream, &error))
    }

    /// Last words, the end of decisions, and outcomes of what nobody saw the end of.
    async fn finish(mut self, end: End, mut deciding: FuturesUnordered<Deciding<'a>>) {
        self.cancel.cancel();
        // What was recorded as seen by the client before the end is still sent to it.
        let natural = matches!(
            end.reason,
            EndReason::ClientClosed | EndReason::UpstreamClosed
        );
        let last = match natural {
            true => LAST_BYTES,
            false => self.terms.limits.farewell,
        };
        let goodbye = async {
            tokio::join!(
                tokio::time::timeout(last, self.client.farewell(end.client.0, &end.client.1)),
                tokio::time::timeout(
                    last,
                    self.upstream.farewell(end.upstream.0, &end.upstream.1)
                ),
            )
        };
        let session = self.session;
        let decisions = async {
            while let Some(answered) = deciding.next().await {
                if let Answered::Decided(decided) = answered
                    && let Ok(permitted) = decided.result
                {
                    let receipt = send::withdraw(permitted);
                    let kind = OutcomeKind::Cancelled;
                    let detail = "the session ended first";
                    session.outcome(receipt, kind, detail, 0, 0).await.ok();
                }
            }
        };
        let _ = tokio::join!(goodbye, tokio::time::timeout(LAST_DECISIONS, decisions));
        let mut known = Vec::new();
        self.core.abandon(&mut known);
        for effect in known {
            if let Effect::Outcome {
                ticket,
                kind,
                detail,
                bytes,
            } = effect
                && let Some(receipt) = self.receipts.remove(&ticket)
            {
                session.outcome(receipt, kind, &detail, 0, bytes).await.ok();
            }
        }
        for (_, receipt) in self.receipts.drain() {
            let kind = OutcomeKind::Unknown;
            let detail = "the connection ended first";
            if let Err(error) = session.outcome(receipt, kind, detail, 0, 0).await {
                tracing::error!(%error, "an outcome could not be recorded");
                break;
            }
        }
    }
}

/// The drain is over, but for the time that last words and records need.
async fn late(terms: &Terms) {
    terms.shutdown.cancelled().await;
    let last = (terms.limits.farewell + LAST_DECISIONS).min(terms.drain / 2);
    tokio::time::sleep(terms.drain.saturating_sub(last)).await;
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// A leg cannot go on. Its peer has been told by the transport.
fn broken(side: Side, error: &TransportError) -> End {
    let reason = EndReason::ProtocolViolation(format!("{side}: {error}"));
    End {
        client: (
            disconnect::CONNECTION_LOST,
            "the target broke the protocol".into(),
        ),
        upstream: (disconnect::BY_APPLICATION, String::new()),
        reason,
    }
}

/// A side has said goodbye: the other one hears it, too.
fn gone(side: Side, code: u32, text: &str) -> End {
    let text = printable(text);
    match side {
        Side::Client => End {
            reason: EndReason::ClientClosed,
            client: (disconnect::BY_APPLICATION, String::new()),
            upstream: (code, text),
        },
        Side::Upstream => End {
            reason: EndReason::UpstreamClosed,
            client: (code, text),
            upstream: (disconnect::BY_APPLICATION, String::new()),
        },
    }
}
