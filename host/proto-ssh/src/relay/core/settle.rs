//! What was decided comes back: goes on, is refused, or waits for people.

use std::time::Instant;

use bytes::Bytes;
use pipeline::OutcomeKind;
use pipeline::mask::MaskEdits;
use pipeline::ports::MaskFailed;

use super::channel::{Sent, State, Wait};
use super::flow::Out;
use super::requests::Asks;
use super::tap::{Stream, TapError, TapOut};
use super::{Core, Effect, Grant, Key, Pending, Side, Ticket, Violation, opens, send};
use crate::wire::numbers::open_failure;

impl Core {
    /// It is permitted, and `forward` is what the permit held. False: the client does not want it any more, and
    /// nothing was sent. Called by `upstream::send` and by nothing else.
    pub fn granted(
        &mut self,
        ticket: Ticket,
        forward: Bytes,
        grant: Grant,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<bool, Violation> {
        match self.settled(ticket) {
            // What is only being read was not asked about.
            None | Some(Pending::Read { .. } | Pending::Unread { .. } | Pending::Whole { .. }) => {
                Ok(false)
            }
            Some(Pending::Request {
                key,
                want_reply,
                asks,
                sets,
            }) => {
                if let Some(channel) = self.channels.get_mut(&key) {
                    channel.set(sets);
                }
                self.request_granted(key, (ticket, want_reply, asks), forward, grant, now, out);
                self.resume(key, now, out)?;
                Ok(true)
            }
            Some(Pending::Open { key }) => {
                let Some(channel) = self.channels.get_mut(&key) else {
                    return Ok(false);
                };
                channel.state = State::Opening;
                channel.wait = Wait::Nothing;
                channel.permitted(ticket, grant);
                send(Side::Upstream, forward, out);
                Ok(true)
            }
            Some(Pending::Global {
                want_reply,
                listener,
            }) => {
                self.global_granted((ticket, grant.seq), (listener, want_reply), &forward, out)?;
                Ok(true)
            }
            Some(Pending::Command { key }) => {
                Ok(self.command_granted(key, ticket, &forward, now, out))
            }
            Some(Pending::Piece { key, id }) => {
                if let Some(channel) = self.channels.get_mut(&key) {
                    channel.pieces.insert(id, ticket);
                }
                self.piece_answered(key, Ok(forward), now, out)?;
                Ok(true)
            }
        }
    }

    fn request_granted(
        &mut self,
        key: Key,
        (ticket, want_reply, asks): (Ticket, bool, Asks),
        forward: Bytes,
        grant: Grant,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        let Some(channel) = self.channels.get_mut(&key) else {
            return;
        };
        channel.wait = Wait::Nothing;
        let asks = asks.permitted(grant.seq);
        if let Some(gate) = grant.gate.clone() {
            channel.permitted(ticket, grant);
            self.start_gate(key, gate, (want_reply, asks, ticket, forward), now, out);
            return;
        }
        match asks {
            Asks::Start { .. } => channel.permitted(ticket, grant),
            _ => channel.seq = grant.seq,
        }
        if want_reply {
            channel.replies.client.forwarded(Sent {
                ticket: Some(ticket),
                asks,
            });
        }
        channel.in_order(Side::Client, Out::Message(forward), out);
        if !want_reply && !matches!(asks, Asks::Start { .. }) {
            self.take_effect(key, &asks);
            out.push(Effect::Outcome {
                ticket,
                kind: OutcomeKind::Done,
                detail: String::new(),
                bytes: 0,
            });
        }
    }

    /// It is refused, for this reason.
    pub fn refused(
        &mut self,
        ticket: Ticket,
        reason: &str,
        hint: Option<&str>,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        match self.settled(ticket) {
            None => Ok(()),
            Some(Pending::Request {
                key,
                want_reply,
                asks,
                ..
            }) => {
                if let Some(channel) = self.channels.get_mut(&key) {
                    channel.wait = Wait::Nothing;
                }
                if let Asks::Start { answered } = asks {
                    let want_reply = want_reply && !answered;
                    return self.refuse_start(key, want_reply, reason, hint, now, out);
                }
                self.refuse_request(key, want_reply, out)?;
                self.resume(key, now, out)
            }
            Some(Pending::Open { key }) => {
                let number = self.channels.get(&key).map(|c| c.number(Side::Client));
                self.remove(key, out);
                let text = match hint {
                    Some(hint) => format!("{reason} ({hint})"),
                    None => reason.to_owned(),
                };
                let why = open_failure::ADMINISTRATIVELY_PROHIBITED;
                opens::refuse(Side::Client, number.unwrap_or_default(), why, &text, out);
                Ok(())
            }
            Some(Pending::Global { want_reply, .. }) => self.global_refused(want_reply, out),
            Some(Pending::Command { key }) => {
                self.command_refused(key, ticket, (reason, hint), now, out)
            }
            Some(Pending::Unread { key }) => {
                self.ask_unread(key, ticket, reason, out);
                self.command_refused(key, ticket, (reason, None), now, out)
            }
            Some(Pending::Whole { key }) => self.line_unjudged(key, ticket, reason, now, out),
            Some(Pending::Read { key, exec }) => self.not_read(key, &exec, reason, now, out),
            Some(Pending::Piece { key, .. }) => {
                if let Some(channel) = self.channels.get_mut(&key) {
                    channel.tell_refusal(reason, out);
                }
                self.piece_answered(key, Err(reason.to_owned()), now, out)
            }
        }
    }

    /// A tap learns what was decided about its ask.
    fn piece_answered(
        &mut self,
        key: Key,
        answer: Result<Bytes, String>,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let Some(channel) = self.channels.get_mut(&key) else {
            return Ok(());
        };
        channel.wait = Wait::Nothing;
        let mut wants = TapOut::default();
        let answered = match &mut channel.tap {
            Some(tap) => tap.answer(answer, now, &mut wants),
            None => Ok(()),
        };
        let ask = channel.apply(wants, out);
        if let Err(TapError(reason)) = answered {
            let lines = [format!("weir: this channel ends: {reason}")];
            channel.end(&reason, &lines, out);
            self.forget_waiting(key, out);
            return Ok(());
        }
        match ask {
            Some(ask) => self.ask(key, ask, out),
            None => self.resume(key, now, out)?,
        }
        Ok(())
    }

    /// What plugins said about text of a channel.
    pub fn inspected(
        &mut self,
        key: Key,
        stream: Stream,
        edits: Result<MaskEdits, MaskFailed>,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let Some(channel) = self.channels.get_mut(&key) else {
            return Ok(());
        };
        let mut wants = TapOut::default();
        if let Some(tap) = &mut channel.tap {
            tap.inspected(stream, edits, now, &mut wants);
        }
        channel.apply(wants, out);
        channel.pump(Side::Upstream, out);
        if channel.flows.upstream.closed && !channel.is_inspecting() {
            channel.outcomes(out);
        }
        self.reap(key, now, out)
    }

    /// It waits for people: whoever waits for it is told, where that can be said.
    pub fn held(&mut self, ticket: Ticket, lines: &[String], out: &mut Vec<Effect>) {
        let key = match self.pending.get(&ticket) {
            Some(
                Pending::Request { key, .. }
                | Pending::Piece { key, .. }
                | Pending::Command { key },
            ) => *key,
            Some(
                Pending::Open { .. }
                | Pending::Global { .. }
                | Pending::Read { .. }
                | Pending::Unread { .. }
                | Pending::Whole { .. },
            )
            | None => return,
        };
        if let Some(channel) = self.channels.get_mut(&key) {
            channel.notice(lines, out);
        }
    }
}
