//! What the host says on the channel of a helper.

use std::time::Instant;

use super::super::channel::Sent;
use super::super::flow::Out;
use super::super::{Core, Effect, Side, Violation};
use super::FIRST;
use super::helper::State;
use crate::action::printable;
use crate::gate::Said;
use crate::wire::numbers::EXTENDED_DATA_STDERR;
use crate::wire::{ChannelMessage, Connection, Put, Request};

impl Core {
    /// Is this message of the host about a channel of ours?
    pub(in crate::relay::core) fn gate_receive(
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
            helper.close_late(out);
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
        let over = helper.state == State::Over;
        match message {
            // It is closed: the host had not read that yet.
            ChannelMessage::Data(data) | ChannelMessage::ExtendedData { data, .. } if over => {
                match helper.arrived(data.len(), out) {
                    true => Ok(()),
                    false => Err(Violation::Window(Side::Upstream, number, data.len())),
                }
            }
            ChannelMessage::WindowAdjust { .. }
            | ChannelMessage::Request(_)
            | ChannelMessage::Success
            | ChannelMessage::Failure
            | ChannelMessage::Eof
                if over =>
            {
                Ok(())
            }
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
}
