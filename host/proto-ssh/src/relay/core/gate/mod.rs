//! Gated shells: the channel that Weir opens beside the shell's, what bash asks by it, and the verdicts.
//!
//! The host knows that channel by a number of ours; the client never hears of it. The shell is started once the helper
//! on it has made what both need, and the client's input goes on once bash has asked for the first time. When either
//! channel ends, so does the other.
//!
//! `channel` is what the host says on it, `commands` what bash asks and is told, `helper` what is known of one.

mod channel;
mod commands;
mod helper;

use std::collections::HashMap;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use super::channel::Wait;
use super::requests::Asks as Starts;
use super::{Core, Effect, Key, Pending, Side, Ticket, Violation, made, send};
use crate::gate::{Arrays, Gate, Lines};
use crate::wire::{Connection, Open};
pub(super) use helper::Gates;
use helper::{Helper, MAX_PACKET, Start, State, WINDOW};

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
            lines: Lines::default(),
            arrays: Arrays::default(),
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

    /// The shell's own channel ends.
    pub(super) fn end_gate(&mut self, key: Key, out: &mut Vec<Effect>) {
        let Some(number) = self.gates.by.remove(&key) else {
            return;
        };
        let Some(helper) = self.gates.helpers.get_mut(&number) else {
            return;
        };
        let commands = std::mem::take(&mut helper.commands);
        let unstarted = helper.start.take().is_some();
        helper.close(out);
        if unstarted && let Some(channel) = self.channels.get_mut(&key) {
            channel.never_ran("it was given up before it was started");
        }
        for (ticket, command) in commands {
            if let Some(Pending::Unread { .. } | Pending::Whole { .. }) = self.settled(ticket) {
                let reason = "its shell ended before it was read";
                self.turn_ask(key, &command.ask, reason, out);
            }
            out.push(Effect::Cancel { ticket });
        }
    }

    /// The session ends: shells whose gates are not there yet were never started.
    pub(super) fn tell_unstarted(&mut self, reason: &str) {
        let helpers = self.gates.helpers.values();
        for helper in helpers.filter(|helper| helper.start.is_some()) {
            if let Some(channel) = self.channels.get_mut(&helper.shell) {
                channel.never_ran(reason);
            }
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
