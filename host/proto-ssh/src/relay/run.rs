//! The one task of a session: reads both legs, follows what they say, asks, records, and writes.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use pipeline::{EndReason, OutcomeKind, RefusalKind, Session};
use tokio_util::sync::CancellationToken;

use super::core::{Core, Effect, Limits, Pair, Side, Ticket, Violation};
use super::decide::{self, Answered, Decided, Deciding, Holds};
use super::end::{End, broken, deaf, gone, vanished};
use super::half::{Half, LOOK, proves_itself_again};
use super::read::{NotRead, Turns, judge, read};
use super::record::{Ended, Receipts, record};
use crate::action::{Asked, Turned};
use crate::leg::Leg;
use crate::terms::Terms;
use crate::transport::Event;
use crate::upstream::send;

/// How the core takes what was read.
type Take<T> = fn(&mut Core, Ticket, T, Instant, &mut Vec<Effect>) -> Result<(), Violation>;

/// How long what is being recorded gets to be on record and queued when the session ends.
const LAST_RECORDS: Duration = Duration::from_secs(1);
/// How long decisions get to end when the session does.
const LAST_DECISIONS: Duration = Duration::from_secs(2);

/// Decisions and refusals on their way to the record beyond which nothing new is read. Channels alone have fewer.
const MAX_UNDER_WAY: usize = 4 << 10;

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
            receipts: Receipts::default(),
            cancels: HashMap::new(),
            cancel: CancellationToken::new(),
            minded: None,
            turns: terms.readers.turns(),
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

struct Relay<'a> {
    session: &'a Session,
    terms: &'a Terms,
    holds: &'a Holds,
    core: Core,
    client: Half,
    upstream: Half,
    effects: Vec<Effect>,
    receipts: Receipts,
    cancels: HashMap<Ticket, CancellationToken>,
    /// Of every decision of the session.
    cancel: CancellationToken,
    /// The digest of the bundle that was last asked whether it is indifferent.
    minded: Option<Arc<str>>,
    /// For reading long command lines.
    turns: Turns,
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
        self.core.meets(Pair {
            client: self.client.is_openssh(),
            upstream: self.upstream.is_openssh(),
        });
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
            let (read_client, read_upstream) = self.may_read(deciding.len());
            let patience = self.patience(read_client)?;
            let deadline = self.deadline().into_iter().chain(patience).min();
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
                    Answered::Read { ticket, line } => self.was_read(ticket, line, Core::was_read)?,
                    Answered::Judged { ticket, judged } => self.was_read(ticket, judged, Core::was_judged)?,
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

    /// Whose messages are taken in: not of whom does not take what is sent to it, nor while the other side does not.
    /// And nobody's while much is being put on record, nor a host's while plugins look at much of it.
    fn may_read(&mut self, under_way: usize) -> (bool, bool) {
        let inspecting = self.core.is_inspecting_much();
        let (client, upstream) = (&mut self.client, &mut self.upstream);
        let room = |own: &Half, other: &Half| {
            under_way < MAX_UNDER_WAY && !own.is_far_behind() && !other.is_behind()
        };
        (
            room(client, upstream) || client.waits_for_keys(),
            (room(upstream, client) && !inspecting) || upstream.waits_for_keys(),
        )
    }

    /// How long whoever does not read is waited for. A client that is not read may have gone all the same.
    fn patience(&mut self, read_client: bool) -> Result<Option<Instant>, End> {
        let now = Instant::now();
        let limits = &self.terms.limits;
        let client = self.client.patience(now, limits.max_stall);
        let client = client.map_err(|error| deaf(Side::Client, error))?;
        let upstream = self.upstream.patience(now, limits.max_stall);
        let upstream = upstream.map_err(|error| deaf(Side::Upstream, error))?;
        let look = match read_client {
            true => None,
            false => {
                let gone = self.client.hung_up(now);
                if gone.is_some_and(|since| since + limits.last_bytes <= now) {
                    return Err(End::new(EndReason::ClientClosed));
                }
                Some(now + LOOK)
            }
        };
        let there = self.client.is_there(now, limits.max_silence);
        let client_there = there.map_err(|error| vanished(Side::Client, error))?;
        let there = self.upstream.is_there(now, limits.max_silence);
        let upstream_there = there.map_err(|error| vanished(Side::Upstream, error))?;
        let all = [client, upstream, look, client_there, upstream_there];
        Ok(all.into_iter().flatten().min())
    }

    fn queue(&mut self, to: Side, payload: Bytes) -> Result<(), End> {
        let half = match to {
            Side::Client => &mut self.client,
            Side::Upstream => &mut self.upstream,
        };
        half.queue(payload).map_err(|error| deaf(to, error))
    }

    /// Does what the core wants, in its order.
    async fn carry(&mut self, deciding: &mut FuturesUnordered<Deciding<'a>>) -> Result<(), End> {
        while !self.effects.is_empty() {
            let effects = std::mem::take(&mut self.effects);
            record(self.session, &effects).await?;
            let mut effects = effects.into_iter();
            while let Some(effect) = effects.next() {
                if let Err(end) = self.effect(effect, deciding).await {
                    // What is behind it is for the record still.
                    let mut rest: Vec<Effect> = effects.collect();
                    rest.append(&mut self.effects);
                    self.effects = rest;
                    return Err(end);
                }
            }
        }
        Ok(())
    }

    async fn effect(
        &mut self,
        effect: Effect,
        deciding: &mut FuturesUnordered<Deciding<'a>>,
    ) -> Result<(), End> {
        match effect {
            Effect::Send { to, payload, .. } => self.queue(to, payload)?,
            Effect::Record { .. } => {}
            Effect::Decide {
                ticket,
                asked,
                forward,
            } => self.ask(ticket, &asked, forward, deciding)?,
            Effect::Read { ticket, unread } => {
                let cancel = self.cancel.child_token();
                self.cancels.insert(ticket, cancel.clone());
                deciding.push(read(self.turns.clone(), ticket, unread, cancel));
            }
            Effect::Judge { ticket, whole } => {
                let cancel = self.cancel.child_token();
                self.cancels.insert(ticket, cancel.clone());
                deciding.push(judge(self.turns.clone(), ticket, whole, cancel));
            }
            Effect::Refused(turned) => self.turned(*turned, deciding),
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
                let detail = &detail;
                let ended = Ended {
                    kind,
                    detail,
                    bytes,
                };
                self.receipts.end(self.session, ticket, ended).await?;
            }
        }
        Ok(())
    }

    /// Refused without a decision: it goes on record beside whatever else is under way.
    fn turned(&self, turned: Turned, deciding: &mut FuturesUnordered<Deciding<'a>>) {
        let session = self.session;
        // On record, as many as the record takes; for a log there may be too many.
        tracing::debug!(session = %session.info().id_text, reason = %turned.reason, "refused without a decision");
        let place = self.terms.place(&session.info().target);
        deciding.push(decide::put_on_record(session, turned, place));
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
                self.turned(Turned::known(asked.clone(), reason.as_str()), deciding);
                let now = Instant::now();
                self.core
                    .refused(ticket, &reason, None, now, &mut self.effects)?;
            }
        }
        Ok(())
    }

    /// A command line was read, or a line of a gated shell was judged; or it was not.
    fn was_read<T>(
        &mut self,
        ticket: Ticket,
        read: Result<T, NotRead>,
        take: Take<T>,
    ) -> Result<(), End> {
        self.cancels.remove(&ticket);
        let (core, now, out) = (&mut self.core, Instant::now(), &mut self.effects);
        match read.map_err(|why| why.to_string()) {
            Ok(read) => take(core, ticket, read, now, out)?,
            Err(why) => core.refused(ticket, &why, None, now, out)?,
        }
        Ok(())
    }

    async fn decided(&mut self, decided: Decided) -> Result<(), End> {
        let Decided {
            ticket,
            grant,
            result,
        } = decided;
        // Who was held is told of it, however soon the hold was decided.
        self.tell_of_holds();
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
                        let ended = cancelled("the client did not want it any more");
                        ended.record(self.session, sent.receipt).await?;
                        Ok(())
                    }
                    Ok(true) => {
                        self.receipts.put(ticket, sent.receipt);
                        Ok(())
                    }
                    Err(violation) => {
                        self.receipts.put(ticket, sent.receipt);
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

    /// Outcomes of what ran, the end of decisions, and last words. Last words may take long: what is known is on record
    /// before anybody waits for them.
    async fn finish(self, end: End, mut deciding: FuturesUnordered<Deciding<'a>>) {
        let Self {
            session,
            terms,
            mut core,
            mut client,
            mut upstream,
            mut receipts,
            mut effects,
            cancel,
            ..
        } = self;
        cancel.cancel();
        // What was recorded as seen by the client before the end is still sent to it.
        let natural = matches!(
            end.reason,
            EndReason::ClientClosed | EndReason::UpstreamClosed
        );
        let last = match natural {
            true => terms.limits.last_bytes,
            false => terms.limits.farewell,
        };
        let goodbye = async {
            tokio::join!(
                tokio::time::timeout(last, client.farewell(end.client.0, &end.client.1)),
                tokio::time::timeout(last, upstream.farewell(end.upstream.0, &end.upstream.1)),
            )
        };
        let decisions = async {
            while let Some(answered) = deciding.next().await {
                if let Answered::Decided(decided) = answered
                    && let Ok(permitted) = decided.result
                {
                    let receipt = send::withdraw(permitted);
                    let ended = cancelled("the session ended first");
                    ended.record(session, receipt).await.ok();
                }
            }
        };
        let records = async {
            core.abandon(&mut effects);
            last_records(session, terms, effects, &mut receipts).await;
            tokio::time::timeout(LAST_DECISIONS, decisions).await.ok();
        };
        let _ = tokio::join!(records, goodbye);
    }
}

/// What was tried in the last step, and how what ran has ended, as far as that is known. Nothing of it has an effect
/// any more.
async fn last_records(
    session: &Session,
    terms: &Terms,
    effects: Vec<Effect>,
    receipts: &mut Receipts,
) {
    let place = terms.place(&session.info().target);
    for effect in effects {
        let turned = match effect {
            Effect::Refused(turned) => *turned,
            Effect::Decide { asked, .. } => {
                Turned::known(*asked, "the session ended before it was decided on")
            }
            Effect::Outcome {
                ticket,
                kind,
                detail,
                bytes,
            } => {
                let detail = &detail;
                let ended = Ended {
                    kind,
                    detail,
                    bytes,
                };
                receipts.end(session, ticket, ended).await.ok();
                continue;
            }
            Effect::Send { .. }
            | Effect::Record { .. }
            | Effect::Read { .. }
            | Effect::Judge { .. }
            | Effect::Inspect { .. }
            | Effect::Cancel { .. } => continue,
        };
        decide::put_on_record(session, turned, place.clone()).await;
    }
    receipts.end_all(session).await;
}

/// The end of what was permitted and never sent.
fn cancelled(detail: &str) -> Ended<'_> {
    Ended {
        kind: OutcomeKind::Cancelled,
        detail,
        bytes: 0,
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
