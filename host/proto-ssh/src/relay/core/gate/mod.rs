//! Gated shells: the channel that Weir opens beside the shell's, what bash asks by it, and the verdicts.
//!
//! The host knows that channel by a number of ours; the client never hears of it. The shell is started once the helper
//! on it has made what both need, and the client's input goes on once bash has asked for the first time. When either
//! channel ends, so does the other.

mod helper;

use std::collections::HashMap;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use pipeline::OutcomeKind;

use super::channel::{Sent, Wait};
use super::flow::Out;
use super::requests::Asks as Starts;
use super::{Core, Effect, Key, Pending, Side, Ticket, Violation, made, send, turn};
use crate::action::{Asked, Line, Turned, Unread, What, printable};
use crate::gate::{Ask, Gate, LIVE, Said, about_the_gate};
use crate::wire::numbers::EXTENDED_DATA_STDERR;
use crate::wire::{ChannelMessage, Connection, Open, Put, Request};
pub(super) use helper::Gates;
use helper::{Command, Helper, MAX_PACKET, Start, State, WINDOW};

/// Our numbers begin here. Clients begin at zero.
pub(super) const FIRST: u32 = 0xf000_0000;

impl Core {
    /// A shell is permitted, and to be gated: first what it needs for that.
    pub(super) fn start_gate(
        &mut self,
        key: Key,
        gate: Gate,
        (want_reply, asks, ticket, forward): (bool, Starts, Ticket, Bytes),
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        let Some(channel) = self.channels.get_mut(&key) else {
            return;
        };
        channel.wait = Wait::Gate;
        let number = self.gates.number();
        self.gates.by.insert(key, number);
        let helper = Helper {
            shell: key,
            state: State::Beginning,
            asks: gate.asks(),
            gate,
            theirs: None,
            start: Some(Start {
                want_reply,
                asks,
                ticket,
                forward,
            }),
            until: now + self.limits.gate_patience,
            commands: HashMap::new(),
            refusals: 0,
            calls: HashMap::new(),
            window: WINDOW,
            room: 0,
            max_packet: 0,
            queue: BytesMut::new(),
        };
        self.gates.helpers.insert(number, helper);
        let open = Connection::Open(Open {
            kind: b"session",
            sender: number,
            window: WINDOW,
            max_packet: MAX_PACKET,
            data: &[],
        });
        send(Side::Upstream, made(&open), out);
    }

    /// Is this message of the host about a channel of ours?
    pub(super) fn gate_receive(
        &mut self,
        message: &Connection<'_>,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<bool, Violation> {
        let number = match *message {
            Connection::OpenConfirmation { recipient, .. }
            | Connection::OpenFailure { recipient, .. }
            | Connection::Channel { recipient, .. } => recipient,
            _ => return Ok(false),
        };
        if number < FIRST {
            return Ok(false);
        }
        let missing = Violation::NoChannel(Side::Upstream, number);
        let helper = self.gates.helpers.get_mut(&number);
        let helper = helper.ok_or_else(|| missing.clone())?;
        let opening = helper.theirs.is_none();
        match *message {
            Connection::OpenConfirmation {
                sender,
                window,
                max_packet,
                ..
            } if opening => {
                helper.theirs = Some(sender);
                helper.room = window as usize;
                helper.max_packet = max_packet as usize;
                self.gate_opened(number, now, out)
            }
            Connection::OpenFailure {
                reason,
                description,
                ..
            } if opening => {
                let said = printable(&String::from_utf8_lossy(description));
                let why = format!(
                    "it is to be gated by a second channel, which the host does not open: {said} (reason {reason})"
                );
                self.ungate(number, &why, now, out)?;
                self.gates.helpers.remove(&number);
                Ok(())
            }
            Connection::Channel { message, .. } if !opening => {
                self.gate_message(number, message, now, out)
            }
            _ => Err(missing),
        }?;
        Ok(true)
    }

    fn gate_opened(
        &mut self,
        number: u32,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let Some(helper) = self.gates.helpers.get_mut(&number) else {
            return Ok(());
        };
        if helper.state == State::Over {
            helper.say(ChannelMessage::Close, out);
            return Ok(());
        }
        let mut data = Vec::new();
        data.string(&helper.gate.helper());
        let exec = Request {
            name: b"exec",
            want_reply: true,
            data: &data,
        };
        helper.say(ChannelMessage::Request(exec), out);
        let greeting = helper.gate.greeting();
        match helper.tell(greeting.as_bytes(), out) {
            true => Ok(()),
            false => self.ungate(number, "its gate takes nothing", now, out),
        }
    }

    fn gate_message(
        &mut self,
        number: u32,
        message: ChannelMessage<'_>,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let Some(helper) = self.gates.helpers.get_mut(&number) else {
            return Ok(());
        };
        match message {
            ChannelMessage::WindowAdjust { bytes } => {
                helper.room = helper.room.saturating_add(bytes as usize);
                helper.pump(out);
                Ok(())
            }
            ChannelMessage::Data(data) | ChannelMessage::ExtendedData { data, .. } => {
                if !helper.arrived(data.len(), out) {
                    return Err(Violation::Window(Side::Upstream, number, data.len()));
                }
                if let ChannelMessage::ExtendedData { code, .. } = message {
                    if code != EXTENDED_DATA_STDERR {
                        return Err(Violation::Extended(Side::Upstream, number, code));
                    }
                    helper.asks.keep_odd(data);
                    return Ok(());
                }
                self.gate_said(number, data, now, out)
            }
            ChannelMessage::Request(request) => {
                if request.want_reply {
                    helper.say(ChannelMessage::Failure, out);
                }
                // Of one that was killed, something may hold the channel open.
                match request.name {
                    b"exit-status" | b"exit-signal" => self.gate_ended(number, now, out),
                    _ => Ok(()),
                }
            }
            ChannelMessage::Success => Ok(()),
            ChannelMessage::Failure => {
                self.ungate(number, "the host does not start its gate", now, out)
            }
            ChannelMessage::Eof => self.gate_ended(number, now, out),
            ChannelMessage::Close => {
                self.gate_ended(number, now, out)?;
                // Ours has been sent by now.
                self.gates.helpers.remove(&number);
                Ok(())
            }
        }
    }

    fn gate_ended(
        &mut self,
        number: u32,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let helper = self.gates.helpers.get(&number);
        let odd = helper.map(|h| printable(h.asks.odd())).unwrap_or_default();
        let live = helper.is_some_and(|h| h.state == State::Live);
        let reason = match (live, odd.is_empty()) {
            (true, _) => "the gate of this shell has ended".to_owned(),
            (false, true) => "the host has no /bin/bash that could gate it".to_owned(),
            (false, false) => format!("its gate could not be started there: {odd}"),
        };
        self.ungate(number, &reason, now, out)
    }

    fn gate_said(
        &mut self,
        number: u32,
        data: &[u8],
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let Some(helper) = self.gates.helpers.get_mut(&number) else {
            return Ok(());
        };
        let mut said = Vec::new();
        let read = helper.asks.push(data, &mut said);
        for said in said {
            match said {
                Said::Made => self.gate_made(number, out),
                Said::No(why) => {
                    let why = format!("it cannot be gated there: {}", printable(&why));
                    self.ungate(number, &why, now, out)?;
                }
                Said::Ask(ask) => self.gate_ask(number, ask, now, out)?,
            }
        }
        match read {
            Ok(()) => Ok(()),
            Err(error) => self.ungate(number, &error.to_string(), now, out),
        }
    }

    /// The shell can be started.
    fn gate_made(&mut self, number: u32, out: &mut Vec<Effect>) {
        let Some(helper) = self.gates.helpers.get_mut(&number) else {
            return;
        };
        let Some(start) = helper.start.take() else {
            return;
        };
        helper.state = State::Started;
        let Some(channel) = self.channels.get_mut(&helper.shell) else {
            return;
        };
        if start.want_reply {
            channel.replies.client.forwarded(Sent {
                ticket: Some(start.ticket),
                asks: start.asks,
            });
        }
        channel.in_order(Side::Client, Out::Message(start.forward), out);
    }

    fn gate_ask(
        &mut self,
        number: u32,
        ask: Ask,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let Some(helper) = self.gates.helpers.get_mut(&number) else {
            return Ok(());
        };
        let key = helper.shell;
        let Some(channel) = self.channels.get_mut(&key) else {
            return Ok(());
        };
        if helper.state == State::Started && &*ask.text == LIVE.as_bytes() {
            helper.state = State::Live;
            channel.wait = Wait::Nothing;
            let text = format!("live {}\n{}", ask.pid, ask.answer(true));
            if !helper.tell(text.as_bytes(), out) {
                return self.ungate(number, "its gate takes nothing", now, out);
            }
            return self.resume(key, now, out);
        }
        let twice = helper.commands.values().any(|c| c.ask.id == ask.id);
        let many = helper.commands.len() >= self.limits.gate_asks;
        if helper.state != State::Live || channel.refused.is_some() || twice || many {
            return self.gate_answer(number, &ask, false, now, out);
        }
        if helper.enters(&ask) {
            return self.gate_answer(number, &ask, true, now, out);
        }
        let unread = Unread::gated(ask.text.clone(), ask.place.clone());
        if unread.is_short() {
            return self.gate_decide(number, ask, unread.read(), now, out);
        }
        // It is beside the task of the session that it is read.
        let ticket = self.ticket(ask.text.len());
        self.pending.insert(ticket, Pending::Unread { key });
        if let Some(helper) = self.gates.helpers.get_mut(&number) {
            let interrupted = false;
            helper.commands.insert(ticket, Command { ask, interrupted });
        }
        out.push(Effect::Read { ticket, unread });
        Ok(())
    }

    /// A command was read, as this.
    pub(super) fn command_read(
        &mut self,
        key: Key,
        ticket: Ticket,
        line: Line,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let number = self.gates.by.get(&key).copied().unwrap_or_default();
        let Some(helper) = self.gates.helpers.get_mut(&number) else {
            return Ok(());
        };
        let Some(command) = helper.commands.remove(&ticket) else {
            return Ok(());
        };
        if command.interrupted {
            let channel = self.channels.get(&key).map(|c| c.number(Side::Client));
            let text = &command.ask.text;
            turn(
                Turned::named("command", text, channel, "it was interrupted"),
                out,
            );
            return self.gate_answer(number, &command.ask, false, now, out);
        }
        self.gate_decide(number, command.ask, line, now, out)
    }

    /// A command is not read any more: it is on record all the same.
    pub(super) fn command_unread(
        &self,
        key: Key,
        ticket: Ticket,
        reason: &str,
        out: &mut Vec<Effect>,
    ) {
        let helper = self.gates.by.get(&key);
        let helper = helper.and_then(|number| self.gates.helpers.get(number));
        if let Some(command) = helper.and_then(|h| h.commands.get(&ticket)) {
            let number = self.channels.get(&key).map(|c| c.number(Side::Client));
            let text = &command.ask.text;
            turn(Turned::named("command", text, number, reason), out);
        }
    }

    fn gate_decide(
        &mut self,
        number: u32,
        ask: Ask,
        line: Line,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let Some(helper) = self.gates.helpers.get_mut(&number) else {
            return Ok(());
        };
        let key = helper.shell;
        let Some(channel) = self.channels.get_mut(&key) else {
            return Ok(());
        };
        let directory = helper.gate.directory();
        let refused = about_the_gate(&ask.text, &ask.place, directory, &line.command);
        let asked = Asked {
            what: What::Exec {
                command: ask.text.clone(),
                line,
            },
            channel: Some(channel.number(Side::Client)),
            before: channel.before.clone(),
        };
        if let Some(reason) = refused {
            channel.notice(&[format!("weir: refused: {reason}")], out);
            turn(Turned::known(asked, reason), out);
            return self.gate_answer(number, &ask, false, now, out);
        }
        let forward = ask.answer(true).into();
        let ticket = self.decide(Pending::Command { key }, asked, forward, out);
        if let Some(helper) = self.gates.helpers.get_mut(&number) {
            let interrupted = false;
            helper.commands.insert(ticket, Command { ask, interrupted });
        }
        Ok(())
    }

    /// An answer that needs no decision: a refusal, or that the function just called may be entered.
    fn gate_answer(
        &mut self,
        number: u32,
        ask: &Ask,
        yes: bool,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let Some(helper) = self.gates.helpers.get_mut(&number) else {
            return Ok(());
        };
        if !helper.tell(ask.answer(yes).as_bytes(), out) {
            return self.ungate(number, "its gate takes nothing", now, out);
        }
        match yes {
            true => Ok(()),
            false => self.gate_refuses(number, now, out),
        }
    }

    /// What asks by itself, such as a prompt that runs something, may ask for ever.
    fn gate_refuses(
        &mut self,
        number: u32,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let Some(helper) = self.gates.helpers.get_mut(&number) else {
            return Ok(());
        };
        helper.refusals += 1;
        let max = self.limits.gate_refusals;
        if helper.refusals <= max {
            return Ok(());
        }
        let reason = format!("more than {max} of its commands were refused with nothing typed");
        self.ungate(number, &reason, now, out)
    }

    /// A command may run: `verdict` is what the permit held. False: nobody waits for it any more.
    pub(super) fn command_granted(
        &mut self,
        key: Key,
        ticket: Ticket,
        verdict: &[u8],
        out: &mut Vec<Effect>,
    ) -> bool {
        let Some(helper) = self.gates.of(key) else {
            return false;
        };
        let Some(command) = helper.commands.remove(&ticket) else {
            return false;
        };
        if command.interrupted {
            // Who hears nothing runs nothing.
            let _ = helper.tell(command.ask.answer(false).as_bytes(), out);
            return false;
        }
        if !helper.tell(verdict, out) {
            return false;
        }
        helper.called(&command.ask);
        out.push(Effect::Outcome {
            ticket,
            kind: OutcomeKind::Unknown,
            detail: "bash was told to run it".into(),
            bytes: 0,
        });
        true
    }

    pub(super) fn command_refused(
        &mut self,
        key: Key,
        ticket: Ticket,
        (reason, hint): (&str, Option<&str>),
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let number = self.gates.by.get(&key).copied().unwrap_or_default();
        let Some(helper) = self.gates.helpers.get_mut(&number) else {
            return Ok(());
        };
        let Some(command) = helper.commands.remove(&ticket) else {
            return Ok(());
        };
        // Who hears nothing runs nothing.
        let _ = helper.tell(command.ask.answer(false).as_bytes(), out);
        if let Some(channel) = self.channels.get_mut(&key)
            && !command.interrupted
        {
            let mut lines = vec![format!("weir: refused: {reason}")];
            lines.extend(hint.map(|hint| format!("weir: {hint}")));
            channel.notice(&lines, out);
        }
        self.gate_refuses(number, now, out)
    }

    /// The client has typed something. What interrupts programs does so with commands that wait, too.
    pub(super) fn gate_typed(&mut self, key: Key, interrupts: bool, out: &mut Vec<Effect>) {
        let Some(helper) = self.gates.of(key) else {
            return;
        };
        helper.refusals = 0;
        if !interrupts {
            return;
        }
        for (ticket, command) in &mut helper.commands {
            command.interrupted = true;
            out.push(Effect::Cancel { ticket: *ticket });
        }
    }

    /// The shell's own channel ends.
    pub(super) fn end_gate(&mut self, key: Key, out: &mut Vec<Effect>) {
        let Some(number) = self.gates.by.remove(&key) else {
            return;
        };
        let Some(helper) = self.gates.helpers.get_mut(&number) else {
            return;
        };
        let commands = std::mem::take(&mut helper.commands);
        if helper.state != State::Over {
            helper.state = State::Over;
            helper.queue.clear();
            helper.say(ChannelMessage::Close, out);
        }
        for (ticket, command) in commands {
            if let Some(Pending::Unread { .. }) = self.settled(ticket) {
                let number = self.channels.get(&key).map(|c| c.number(Side::Client));
                let reason = "its shell ended before it was read";
                let text = &command.ask.text;
                turn(Turned::named("command", text, number, reason), out);
            }
            out.push(Effect::Cancel { ticket });
        }
    }

    /// Without its gate a shell does not go on.
    fn ungate(
        &mut self,
        number: u32,
        reason: &str,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let Some(helper) = self.gates.helpers.get_mut(&number) else {
            return Ok(());
        };
        if helper.state == State::Over {
            return Ok(());
        }
        let (key, start) = (helper.shell, helper.start.take());
        self.end_gate(key, out);
        self.ungate_start(key, start, reason, now, out)
    }

    fn ungate_start(
        &mut self,
        key: Key,
        start: Option<Start>,
        reason: &str,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        if let Some(channel) = self.channels.get_mut(&key) {
            channel.wait = Wait::Nothing;
        }
        let want_reply = start.is_some_and(|start| start.want_reply);
        self.refuse_start(key, want_reply, reason, None, now, out)
    }

    /// Time has passed for shells that have not begun.
    pub(super) fn tick_gates(
        &mut self,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let late =
            |h: &Helper| matches!(h.state, State::Beginning | State::Started) && h.until <= now;
        let helpers = self.gates.helpers.iter();
        let late: Vec<u32> = helpers.filter(|(_, h)| late(h)).map(|(n, _)| *n).collect();
        let seconds = self.limits.gate_patience.as_secs();
        for number in late {
            let reason = format!(
                "its gate was not there within {seconds} s: do the login's own files start another shell, or wait for somebody?"
            );
            self.ungate(number, &reason, now, out)?;
        }
        Ok(())
    }
}
