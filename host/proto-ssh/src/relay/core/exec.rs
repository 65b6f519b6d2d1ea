//! Commands: a line is read before anything else is known of it, and so is a script that it runs. Short ones are read
//! here. Others take so long that no session may wait for it: their channel does, as for a decision.

use std::time::Instant;

use bytes::Bytes;

use super::channel::{Parked, Wait, Waiting};
use super::requests::{Asks, turn_request, unfit};
use super::{Core, Effect, Key, Pending, Side, Ticket, Violation, turn};
use crate::action::{Line, Sent, Turned, Unread, What};
use crate::wire::{ChannelMessage, Connection, Reader, Request};

/// A command that is not decided on yet, because it is being read, or its script is.
#[derive(Debug)]
pub(super) struct Exec {
    pub want_reply: bool,
    /// The client was told that it has started: its script was read first.
    pub answered: bool,
    pub command: Bytes,
    /// What goes to the host if nothing else is made of it.
    pub payload: Bytes,
}

impl Core {
    /// A session's first program is a command.
    pub(super) fn exec_request(
        &mut self,
        key: Key,
        request: Request<'_>,
        payload: &Bytes,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let mut r = Reader::new(request.data);
        let command = r.string().and_then(|text| r.end().map(|()| text));
        let command = command.map_err(|error| Violation::Malformed(Side::Client, error))?;
        // The payload may be a large packet of which only this is kept.
        let command = Bytes::copy_from_slice(command);
        let want_reply = request.want_reply;
        if let Some(reason) = unfit(&command, "the command line", &self.limits) {
            // Of such a text nothing is read but that.
            let line = Line::read(&command);
            self.turn_exec(key, command, line, &reason, out);
            return self.refuse_start(key, want_reply, &reason, None, now, out);
        }
        let unread = Unread::command(command.clone(), self.gathers);
        let exec = Exec {
            want_reply,
            answered: false,
            command,
            payload: payload.clone(),
        };
        self.read(key, exec, unread, now, out)
    }

    /// Has it read; the client's messages on this channel wait meanwhile.
    pub(super) fn read(
        &mut self,
        key: Key,
        exec: Exec,
        unread: Unread,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        if unread.is_short() {
            return self.line_read(key, exec, unread.read(), now, out);
        }
        // A script is counted where it waits.
        let ticket = self.ticket(exec.payload.len() + exec.command.len());
        // A copy: it may be a small part of much that was read at once.
        let payload = Bytes::copy_from_slice(&exec.payload);
        let exec = Exec { payload, ..exec };
        self.pending.insert(ticket, Pending::Read { key, exec });
        if let Some(channel) = self.channels.get_mut(&key) {
            channel.wait = Wait::Decision(ticket);
        }
        out.push(Effect::Read { ticket, unread });
        Ok(())
    }

    /// It was read, as this.
    pub fn was_read(
        &mut self,
        ticket: Ticket,
        line: Line,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        // The client may have given it up.
        let (key, exec) = match self.settled(ticket) {
            Some(Pending::Read { key, exec }) => (key, exec),
            Some(Pending::Unread { key }) => return self.command_read(key, ticket, line, now, out),
            _ => return Ok(()),
        };
        if let Some(channel) = self.channels.get_mut(&key) {
            channel.wait = Wait::Nothing;
        }
        self.line_read(key, exec, line, now, out)
    }

    fn line_read(
        &mut self,
        key: Key,
        exec: Exec,
        line: Line,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let Some(channel) = self.channels.get_mut(&key) else {
            return Ok(());
        };
        let Exec {
            want_reply,
            answered,
            command,
            payload,
        } = exec;
        let forward = match &line.sent {
            Sent::Pinned(sent) if !answered => channel.exec(want_reply, sent),
            _ => payload,
        };
        // At a terminal nobody waits for an end.
        if !answered && self.gathers && line.reads_stdin() && channel.before.pty.is_none() {
            let answer = (want_reply, forward);
            return self.gather(key, answer, (command, line), now, out);
        }
        let what = (What::Exec { command, line }, Asks::Start { answered });
        self.ask_request(key, what, want_reply, &forward, out);
        Ok(())
    }

    /// A command is refused, and nobody was asked about it.
    pub(super) fn turn_exec(
        &self,
        key: Key,
        command: Bytes,
        line: Line,
        reason: &str,
        out: &mut Vec<Effect>,
    ) {
        if let Some(channel) = self.channels.get(&key) {
            let asked = channel.asked(What::Exec { command, line });
            turn(Turned::known(asked, reason), out);
        }
    }

    /// It was never read, so only its words are on record.
    pub(super) fn turn_unread(&self, key: Key, exec: &Exec, reason: &str, out: &mut Vec<Effect>) {
        self.turn_words(key, ("command", &exec.command), reason, out);
    }

    /// Refused, and nobody knows more of it than `what` it is and its words.
    pub(super) fn turn_words(
        &self,
        key: Key,
        (what, words): (&'static str, &[u8]),
        reason: &str,
        out: &mut Vec<Effect>,
    ) {
        let number = self.channels.get(&key).map(|c| c.number(Side::Client));
        turn(Turned::named(what, words, number, reason), out);
    }

    /// Records what waits behind something else on this channel, and will not be read.
    pub(super) fn tell_waiting(&self, key: Key, reason: &str, out: &mut Vec<Effect>) {
        let Some(channel) = self.channels.get(&key) else {
            return;
        };
        for waiting in &channel.waiting {
            match waiting {
                Waiting::Data(_) => {}
                Waiting::Message(payload) => {
                    if let Ok(Connection::Channel { message, .. }) = Connection::parse(payload)
                        && let ChannelMessage::Request(request) = message
                    {
                        turn_request(channel, &request, reason, out);
                    }
                }
                Waiting::Long { name, bytes, .. } => {
                    let number = Some(channel.number(Side::Client));
                    let reason = format!("{reason}; the request has {bytes} bytes");
                    turn(Turned::named("channel request", name, number, reason), out);
                }
            }
        }
    }

    /// The same of a channel whose number has not become free.
    pub(super) fn tell_parked(&self, key: Key, reason: &str, out: &mut Vec<Effect>) {
        let channel = self.channels.get(&key);
        if let Some(Parked::Open(payload)) = channel.and_then(|c| c.parked.as_ref())
            && let Ok(Connection::Open(open)) = Connection::parse(payload)
        {
            let number = Some(open.sender);
            turn(Turned::named("channel", open.kind, number, reason), out);
        }
    }

    /// It was not read, for this reason.
    pub(super) fn not_read(
        &mut self,
        key: Key,
        exec: &Exec,
        reason: &str,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        if let Some(channel) = self.channels.get_mut(&key) {
            channel.wait = Wait::Nothing;
            self.turn_unread(key, exec, reason, out);
        }
        let want_reply = exec.want_reply && !exec.answered;
        self.refuse_start(key, want_reply, reason, None, now, out)
    }
}
