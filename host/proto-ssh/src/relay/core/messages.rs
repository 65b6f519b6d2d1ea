//! Messages of an open channel: whether they may come at all, whether they have to wait, and what they do.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use pipeline::OutcomeKind;

use super::channel::{Channel, Parked, State, Wait, Waiting, is_env};
use super::flow::Out;
use super::requests::{Answer, Asks, turn_variable};
use super::tap::{TapAsk, TapError};
use super::{Core, Effect, Key, Pending, Side, Ticket, Violation};
use crate::action::What;
use crate::wire::{ChannelMessage, Connection, Reader, Request, numbers};

/// Of the name of a request that is too long to wait, this much.
const KEPT: usize = 64;
/// What a terminal sends for Ctrl-C.
const INTERRUPT: u8 = 3;

impl Core {
    #[allow(clippy::too_many_arguments)] // One message and everything that it is read in.
    pub(super) fn message(
        &mut self,
        from: Side,
        key: Key,
        number: u32,
        payload: &Bytes,
        message: ChannelMessage<'_>,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let missing = Violation::NoChannel(from, number);
        let channel = self.channels.get_mut(&key).ok_or_else(|| missing.clone())?;
        if channel.state != State::Open {
            return Err(missing);
        }
        if !admit(channel, from, number, &message)? {
            return Ok(());
        }
        if from == Side::Client && channel.wait != Wait::Nothing {
            return self.waits(key, number, payload, message, now, out);
        }
        self.process(from, key, payload, message, now, out)
    }

    /// The client's messages on a channel that waits: they wait, too, unless they are about the other
    /// direction, or end the wait.
    fn waits(
        &mut self,
        key: Key,
        number: u32,
        payload: &Bytes,
        message: ChannelMessage<'_>,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let Some(channel) = self.channels.get_mut(&key) else {
            return Ok(());
        };
        let terminal = channel.before.pty.is_some();
        match (message, channel.wait) {
            // The channel is not there yet for the other side.
            (_, Wait::Number) => {}
            (
                ChannelMessage::WindowAdjust { .. }
                | ChannelMessage::Success
                | ChannelMessage::Failure,
                _,
            ) => {
                return self.process(Side::Client, key, payload, message, now, out);
            }
            (ChannelMessage::Close, wait) => {
                self.give_up(key, wait, out);
                return self.process(Side::Client, key, payload, message, now, out);
            }
            (ChannelMessage::Request(request), Wait::Script) if interrupts(&request) => {
                return self.ungather(key, "it was interrupted", now, out);
            }
            (ChannelMessage::Request(request), Wait::Decision(ticket)) if interrupts(&request) => {
                out.push(Effect::Cancel { ticket });
            }
            (ChannelMessage::Data(data), Wait::Decision(ticket))
                if terminal && data.contains(&INTERRUPT) =>
            {
                out.push(Effect::Cancel { ticket });
            }
            _ => {}
        }
        self.queue(key, number, payload, message, out)?;
        match message {
            ChannelMessage::Data(data) => self.gathered(key, data.len(), now, out),
            ChannelMessage::Eof => self.gathered_all(key, now, out),
            _ => Ok(()),
        }
    }

    fn queue(
        &mut self,
        key: Key,
        number: u32,
        payload: &Bytes,
        message: ChannelMessage<'_>,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let Some(channel) = self.channels.get_mut(&key) else {
            return Ok(());
        };
        if let ChannelMessage::Data(data) = message {
            self.waiting += data.len();
            match channel.waiting.back_mut() {
                // Many small ones must not cost more than their bytes.
                Some(Waiting::Data(last)) => last.extend_from_slice(data),
                _ => channel.waiting.push_back(Waiting::Data(data.into())),
            }
            return Ok(());
        }
        if is_resize(&message) {
            let freed = forget_resizes(&mut channel.waiting);
            self.waiting = self.waiting.saturating_sub(freed);
        }
        if channel.is_full(&message, &self.limits) {
            let max = self.limits.requests;
            return match message {
                ChannelMessage::Request(variable) if is_env(&message) => {
                    turn_variable(channel, &variable, out);
                    Ok(())
                }
                _ => Err(Violation::Requests(Side::Client, number, max)),
            };
        }
        let most = self.limits.command + self.limits.names;
        let waiting = match message {
            ChannelMessage::Request(request) if request.data.len() > most => Waiting::Long {
                name: Bytes::copy_from_slice(request.name.get(..KEPT).unwrap_or(request.name)),
                want_reply: request.want_reply,
                bytes: request.data.len(),
            },
            // A copy: it may be a small part of much that was read at once.
            _ => Waiting::Message(Bytes::copy_from_slice(payload)),
        };
        self.waiting += waiting.len();
        channel.waiting.push_back(waiting);
        Ok(())
    }

    /// The client does not want what is being decided on any more.
    fn give_up(&mut self, key: Key, wait: Wait, out: &mut Vec<Effect>) {
        if let Wait::Decision(ticket) = wait {
            if let Some(Pending::Read { exec, .. }) = self.settled(ticket) {
                let reason = "the channel was closed before it was read";
                self.turn_unread(key, &exec, reason, out);
            }
            out.push(Effect::Cancel { ticket });
        }
        let reason = "the channel was closed before the script on its standard input was whole";
        self.tell_gather(key, reason, out);
        if let Some(channel) = self.channels.get_mut(&key) {
            channel.wait = Wait::Nothing;
        }
        self.forget_waiting(key, out);
    }

    /// What waits on this channel is not wanted any more; commands among it are on record.
    pub(super) fn forget_waiting(&mut self, key: Key, out: &mut Vec<Effect>) {
        self.tell_waiting(key, "the channel was given up before it was read", out);
        let Some(channel) = self.channels.get_mut(&key) else {
            return;
        };
        for waiting in channel.waiting.drain(..) {
            self.waiting = self.waiting.saturating_sub(waiting.len());
        }
    }

    /// Goes on with what waited, up to the next thing that has to be decided on.
    pub(super) fn resume(
        &mut self,
        key: Key,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        loop {
            let Some(channel) = self.channels.get_mut(&key) else {
                return Ok(());
            };
            if channel.wait != Wait::Nothing {
                return Ok(());
            }
            let Some(waiting) = channel.waiting.pop_front() else {
                return Ok(());
            };
            self.waiting = self.waiting.saturating_sub(waiting.len());
            match waiting {
                Waiting::Data(data) => {
                    if self.early(Side::Client, key, data.len(), "DATA", out)? {
                        continue;
                    }
                    self.data(Side::Client, key, None, data.freeze(), None, now, out);
                }
                Waiting::Message(payload) => {
                    // It was read when it came.
                    if let Ok(Connection::Channel { message, .. }) = Connection::parse(&payload) {
                        self.process(Side::Client, key, &payload, message, now, out)?;
                    }
                }
                Waiting::Long {
                    name,
                    want_reply,
                    bytes,
                } => self.too_long(key, &name, want_reply, bytes, now, out)?,
            }
        }
    }

    /// A message whose turn it is.
    fn process(
        &mut self,
        from: Side,
        key: Key,
        payload: &Bytes,
        message: ChannelMessage<'_>,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        if let (Side::Client, ChannelMessage::Data(data)) = (from, message) {
            self.gate_typed(key, data, out);
        }
        let Some(channel) = self.channels.get_mut(&key) else {
            return Ok(());
        };
        match message {
            ChannelMessage::WindowAdjust { bytes } => {
                let sender = from.other();
                let give = channel.flows.of_mut(sender).granted(bytes);
                let number = channel.number(sender);
                let give = give.ok_or(Violation::WindowTooLarge(from, number))?;
                channel.grant(sender, give, out);
                channel.pump(sender, out);
            }
            ChannelMessage::Data(data) => {
                if self.early(from, key, data.len(), "DATA", out)? {
                    return Ok(());
                }
                let data = payload.slice_ref(data);
                self.data(from, key, None, data, Some(payload), now, out);
            }
            ChannelMessage::ExtendedData { code, data } => {
                if self.early(from, key, data.len(), "EXTENDED_DATA", out)? {
                    return Ok(());
                }
                let data = payload.slice_ref(data);
                self.data(from, key, Some(code), data, Some(payload), now, out);
            }
            ChannelMessage::Eof => {
                // A host may say of a channel that it gives up that nothing comes on it.
                if from == Side::Client && self.early(from, key, 0, "EOF", out)? {
                    return Ok(());
                }
                let Some(channel) = self.channels.get_mut(&key) else {
                    return Ok(());
                };
                if channel.refused.is_none() {
                    let flushed = channel.flush(from, now, out);
                    channel.flows.of_mut(from).eof_sent = true;
                    channel.in_order(from, Out::Message(payload.clone()), out);
                    broken(channel, flushed, out);
                }
            }
            ChannelMessage::Close => self.close(from, key, payload, now, out)?,
            ChannelMessage::Request(request) => match from {
                Side::Client => self.client_request(key, request, payload, now, out)?,
                Side::Upstream => self.upstream_request(key, request, payload, now, out)?,
            },
            ChannelMessage::Success | ChannelMessage::Failure => {
                let sent = channel.answered(from, payload, out)?;
                let success = message == ChannelMessage::Success;
                self.reply(key, &sent.asks, sent.ticket, success, out);
                if let Some(channel) = self.channels.get_mut(&key) {
                    channel.answer_due(from.other(), out);
                }
            }
        }
        Ok(())
    }

    /// Data of a client for which nothing runs would go to the host without a decision. What was meant for a program
    /// that did not start is dropped (true), and so is what a host says that has started nothing; otherwise nobody had
    /// a reason to send it. It would be neither masked nor recorded.
    fn early(
        &mut self,
        from: Side,
        key: Key,
        bytes: usize,
        what: &'static str,
        out: &mut Vec<Effect>,
    ) -> Result<bool, Violation> {
        let Some(channel) = self.channels.get_mut(&key) else {
            return Ok(false);
        };
        let due = match from {
            Side::Client => channel.listens(),
            Side::Upstream => channel.speaks(),
        };
        if due {
            return Ok(false);
        }
        if !channel.failed {
            let number = channel.number(from.other());
            return Err(Violation::Early(from, number, what));
        }
        let give = channel.flows.of_mut(from).dropped(bytes as u64);
        channel.grant(from, give, out);
        Ok(true)
    }

    /// The upstream has answered a request that was forwarded.
    fn reply(
        &mut self,
        key: Key,
        asks: &Asks,
        ticket: Option<Ticket>,
        success: bool,
        out: &mut Vec<Effect>,
    ) {
        let Some(ticket) = ticket else { return };
        if let Asks::Start { answered } = *asks {
            if !success && let Some(channel) = self.channels.get_mut(&key) {
                let reason = "the host refused it";
                channel.exit = Some((OutcomeKind::Failed, reason.into()));
                channel.outcomes(out);
                channel.started = false;
                channel.failed = true;
                if answered {
                    let lines = [format!("weir: {reason}")];
                    channel.end(reason, &lines, out);
                }
            }
            return;
        }
        if success {
            self.take_effect(key, asks);
        }
        let (kind, detail) = match success {
            true => (OutcomeKind::Done, String::new()),
            false => (OutcomeKind::Failed, "the host refused it".to_owned()),
        };
        out.push(Effect::Outcome {
            ticket,
            kind,
            detail,
            bytes: 0,
        });
    }

    #[allow(clippy::too_many_arguments)] // One message and everything that it is read in.
    pub(super) fn data(
        &mut self,
        from: Side,
        key: Key,
        code: Option<u32>,
        data: Bytes,
        payload: Option<&Bytes>,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        let Some(channel) = self.channels.get_mut(&key) else {
            return;
        };
        if channel.refused.is_some() {
            return;
        }
        match channel.data(from, code, data, payload, now, out) {
            Ok(None) => {}
            Ok(Some(ask)) => self.ask(key, ask, out),
            Err(error) => broken(channel, Err(error), out),
        }
    }

    /// A tap wants a decision.
    pub(super) fn ask(&mut self, key: Key, ask: TapAsk, out: &mut Vec<Effect>) {
        let Some(channel) = self.channels.get(&key) else {
            return;
        };
        let forward = ask.asked.raw.clone();
        let asked = channel.asked(What::File(Box::new(ask.asked)));
        let pending = Pending::Piece { key, id: ask.id };
        let ticket = self.decide(pending, asked, forward, out);
        if let Some(channel) = self.channels.get_mut(&key) {
            channel.wait = Wait::Decision(ticket);
        }
    }

    fn close(
        &mut self,
        from: Side,
        key: Key,
        payload: &Bytes,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        self.end_gate(key, out);
        let Some(channel) = self.channels.get_mut(&key) else {
            return Ok(());
        };
        match from {
            Side::Client => {
                if channel.refused.is_some() {
                    channel.flows.client.queue.clear();
                }
                // Who closes does not want to know what is wrong with it.
                let _ = channel.flush(from, now, out);
                channel.in_order(from, Out::Close(payload.clone()), out);
                channel.pump(Side::Upstream, out);
            }
            Side::Upstream => {
                let sent = channel.replies.client.give_up(|sent| {
                    let told = matches!(sent.asks, Asks::Start { answered: true });
                    (!told).then_some(Answer::Failure)
                });
                for ticket in sent.into_iter().filter_map(|s| match s.asks {
                    Asks::Start { .. } => None,
                    _ => s.ticket,
                }) {
                    out.push(Effect::Outcome {
                        ticket,
                        kind: OutcomeKind::Unknown,
                        detail: "the channel was closed before it was answered".into(),
                        bytes: 0,
                    });
                }
                channel.answer_due(Side::Client, out);
                let flushed = channel.flush(from, now, out);
                broken(channel, flushed, out);
                let wait = channel.wait;
                let ending = &channel.flows.upstream;
                let told = ending.close_sent || matches!(ending.queue.back(), Some(Out::Close(_)));
                if !told {
                    channel.in_order(from, Out::Close(payload.clone()), out);
                }
                channel.pump(Side::Client, out);
                if !channel.is_inspecting() {
                    channel.outcomes(out);
                }
                if matches!(wait, Wait::Decision(_) | Wait::Script | Wait::Gate) {
                    self.give_up(key, wait, out);
                    if let Some(channel) = self.channels.get_mut(&key) {
                        channel.refuse("the host closed the channel");
                    }
                }
            }
        }
        self.reap(key, now, out)
    }

    /// Forgets a channel that both sides have closed, and goes on with what waited for its number.
    pub(super) fn reap(
        &mut self,
        key: Key,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        if !self.channels.get(&key).is_some_and(Channel::is_over) {
            return Ok(());
        }
        match self.remove(key, out) {
            None => Ok(()),
            Some(Parked::Open(payload)) => match Connection::parse(&payload) {
                Ok(Connection::Open(open)) => self.open(Side::Client, open, &payload, out),
                _ => Ok(()),
            },
            Some(Parked::Confirmation(waiting, payload)) => {
                self.unpark(waiting, &payload, now, out)
            }
        }
    }

    pub(super) fn remove(&mut self, key: Key, out: &mut Vec<Effect>) -> Option<Parked> {
        self.forget_waiting(key, out);
        self.take_gather(key);
        let channel = self.channels.remove(&key)?;
        let parked = channel.parked.as_ref().map_or(0, Parked::len);
        self.waiting = self.waiting.saturating_sub(parked);
        for side in [Side::Client, Side::Upstream] {
            if let Some(number) = channel.numbers.of(side)
                && self.by.of(side).get(number) == Some(&key)
            {
                self.by.of_mut(side).remove(number);
            }
        }
        self.x11.forget(key);
        self.agent.forget(key);
        channel.parked
    }
}

/// A tap cannot go on: neither does the channel.
fn broken(channel: &mut Channel, result: Result<(), TapError>, out: &mut Vec<Effect>) {
    if let Err(TapError(reason)) = result {
        let lines = [format!("weir: this channel ends: {reason}")];
        channel.end(&reason, &lines, out);
    }
}

/// May this message come now? False: it means nothing any more.
fn admit(
    channel: &mut Channel,
    from: Side,
    number: u32,
    message: &ChannelMessage<'_>,
) -> Result<bool, Violation> {
    let what = match message {
        ChannelMessage::WindowAdjust { .. } => "WINDOW_ADJUST",
        ChannelMessage::Data(_) => "DATA",
        ChannelMessage::ExtendedData { .. } => "EXTENDED_DATA",
        ChannelMessage::Eof => "EOF",
        ChannelMessage::Close => "CLOSE",
        ChannelMessage::Request(_) => "a request",
        ChannelMessage::Success | ChannelMessage::Failure => "a reply",
    };
    let flow = channel.flows.of_mut(from);
    if flow.closed {
        return match message {
            // Crossed the other side's on their way; nobody waits for them.
            ChannelMessage::WindowAdjust { .. }
            | ChannelMessage::Success
            | ChannelMessage::Failure => Ok(false),
            _ => Err(Violation::AfterClose(from, number, what)),
        };
    }
    let data = match *message {
        ChannelMessage::Data(data) => data,
        ChannelMessage::ExtendedData { code, data } => {
            // Only standard error is known (RFC 4254 section 5.2), and only from the host.
            if from == Side::Client || code != numbers::EXTENDED_DATA_STDERR {
                return Err(Violation::Extended(from, number, code));
            }
            data
        }
        ChannelMessage::Eof => {
            if std::mem::replace(&mut flow.eof, true) {
                return Err(Violation::AfterEof(from, number, what));
            }
            return Ok(true);
        }
        ChannelMessage::Close => {
            flow.closed = true;
            return Ok(true);
        }
        _ => return Ok(true),
    };
    if flow.eof {
        return Err(Violation::AfterEof(from, number, what));
    }
    if data.len() > flow.max_packet as usize {
        let max = flow.max_packet;
        return Err(Violation::Packet(from, number, data.len(), max));
    }
    if !flow.arrived(data.len()) {
        return Err(Violation::Window(from, number, data.len()));
    }
    Ok(true)
}

/// A signal that ends programs: what is not running yet is given up.
fn interrupts(request: &Request<'_>) -> bool {
    let name = Reader::new(request.data).string();
    request.name == b"signal"
        && matches!(
            name,
            Ok(b"INT" | b"TERM" | b"KILL" | b"HUP" | b"QUIT" | b"ABRT")
        )
}

/// A terminal's new size, which nobody wants an answer about.
fn is_resize(message: &ChannelMessage<'_>) -> bool {
    let ChannelMessage::Request(request) = message else {
        return false;
    };
    request.name == b"window-change" && !request.want_reply
}

/// Only the last size counts, and whoever drags a window sends many. What stood around them is joined. Returns how
/// many bytes wait no more.
fn forget_resizes(waiting: &mut VecDeque<Waiting>) -> usize {
    let mut freed = 0;
    for entry in std::mem::take(waiting) {
        match (entry, waiting.back_mut()) {
            (Waiting::Data(more), Some(Waiting::Data(last))) => last.extend_from_slice(&more),
            (Waiting::Message(payload), _) => match Connection::parse(&payload) {
                Ok(Connection::Channel { message, .. }) if is_resize(&message) => {
                    freed += payload.len();
                }
                _ => waiting.push_back(Waiting::Message(payload)),
            },
            (data, _) => waiting.push_back(data),
        }
    }
    freed
}
