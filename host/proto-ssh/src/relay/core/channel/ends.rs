//! What a client is told in the place of the host: notices, answers, refusals, the end; and how what ran ended.

use std::sync::Arc;

use bytes::Bytes;
use pipeline::OutcomeKind;

use super::super::flow::Out;
use super::super::requests::{Answer, Asks, Sets};
use super::super::tap::TapOut;
use super::super::{Effect, Grant, Side, Ticket, Violation};
use super::told::Weighed;
use super::{Channel, Kind, Sent, State};
use crate::wire::{ChannelMessage, Request, numbers};

/// The exit status of what was not permitted to run.
const REFUSED_STATUS: u32 = 126;
/// Notices that wait for room on the way to the client; beyond that, none is added.
const MAX_NOTICES: usize = 8;
/// Refusals within a channel that are told on standard error.
const MAX_TOLD: u32 = 16;

impl Channel {
    /// Text of our own on standard error. Terminals want a carriage return, too.
    pub fn notice(&mut self, lines: &[String], out: &mut Vec<Effect>) {
        let flow = &self.flows.upstream;
        let open = self.kind == Kind::Session && self.state == State::Open;
        if !open || flow.eof_sent || flow.close_sent || flow.queue.len() >= MAX_NOTICES {
            return;
        }
        let mut text = String::new();
        for line in lines {
            text.push_str(&crate::action::printable(line));
            text.push_str(match self.before.pty {
                Some(_) => "\r\n",
                None => "\n",
            });
        }
        self.flows.upstream.added(text.len() as u64);
        let code = Some(numbers::EXTENDED_DATA_STDERR);
        self.pass(Side::Upstream, code, text.as_bytes(), out);
    }

    /// Clients of file transfers show words of their own for a refusal: the reason stands beside them.
    pub fn tell_refusal(&mut self, reason: &str, out: &mut Vec<Effect>) {
        if self.told < MAX_TOLD {
            self.told += 1;
            self.notice(&[format!("weir: refused: {reason}")], out);
        }
    }

    /// Ends it from our side, as a program that could not be run would: the client is told why, on standard
    /// error, and the upstream gets CLOSE when the client has sent its own. Until then the number is the
    /// channel's on both sides.
    pub fn end(&mut self, reason: &str, lines: &[String], out: &mut Vec<Effect>) {
        self.refuse(reason);
        self.tap = None;
        let ending = &self.flows.upstream;
        let told = ending.close_sent || matches!(ending.queue.back(), Some(Out::Close(_)));
        if told || self.flows.client.closed {
            return;
        }
        self.notice(lines, out);
        if !self.flows.upstream.eof_sent {
            if self.kind == Kind::Session {
                let status = self.made(
                    Side::Client,
                    ChannelMessage::Request(Request {
                        name: b"exit-status",
                        want_reply: false,
                        data: &REFUSED_STATUS.to_be_bytes(),
                    }),
                );
                self.in_order(Side::Upstream, Out::Message(status), out);
            }
            let eof = self.made(Side::Client, ChannelMessage::Eof);
            self.in_order(Side::Upstream, Out::Message(eof), out);
            self.flows.upstream.eof_sent = true;
        }
        let close = self.made(Side::Client, ChannelMessage::Close);
        self.in_order(Side::Upstream, Out::Close(close), out);
        // What runs there reads no more from now on.
        if !self.flows.client.eof_sent && self.under.is_some() {
            self.flows.client.eof_sent = true;
            let eof = self.made(Side::Upstream, ChannelMessage::Eof);
            self.flows.client.queue.clear();
            self.in_order(Side::Client, Out::Message(eof), out);
        }
    }

    /// From here on nothing of the client goes on.
    pub fn refuse(&mut self, reason: &str) {
        self.refused.get_or_insert_with(|| reason.to_owned());
    }

    /// Gives the answers of our own whose turn it is.
    pub fn answer_due(&mut self, asker: Side, out: &mut Vec<Effect>) {
        while let Some(answer) = self.replies.of_mut(asker).due() {
            match answer {
                Answer::Success => self.say(asker, ChannelMessage::Success, out),
                Answer::Failure => self.say(asker, ChannelMessage::Failure, out),
                Answer::Refusal {
                    want_reply,
                    reason,
                    lines,
                } => {
                    if want_reply {
                        self.say(asker, ChannelMessage::Success, out);
                    }
                    self.end(&reason, &lines, out);
                }
            }
        }
    }

    /// Of one side, so many requests wait for their replies and no more.
    pub fn has_room_for_request(&self, asker: Side, max: usize) -> Result<(), Violation> {
        match self.replies.of(asker).is_full() {
            false => Ok(()),
            true => Err(Violation::Requests(asker, self.number(asker.other()), max)),
        }
    }

    /// `from` answers a request of the other side.
    pub fn answered(
        &mut self,
        from: Side,
        payload: &Bytes,
        out: &mut Vec<Effect>,
    ) -> Result<Sent, Violation> {
        let asker = from.other();
        let answered = self.replies.of_mut(asker).answered();
        let answered = answered.ok_or(Violation::NoRequest(from, self.number(asker)))?;
        if !matches!(answered.asks, Asks::Start { answered: true }) {
            // Whom we have told that it is closed is told nothing more.
            self.send(asker, payload.clone(), out);
        }
        Ok(answered)
    }

    /// What is permitted to be set is part of what is decided on later, whether or not the host accepts it.
    pub fn set(&mut self, sets: Option<Sets>) {
        match sets {
            Some(Sets::Env(name, value)) => {
                let mut env = self.before.env.to_vec();
                env.push((name, value));
                self.before.env = Arc::from(env);
            }
            Some(Sets::Pty(whole)) => self.before.pty = Some(whole),
            None => {}
        }
    }

    /// It is permitted, and forwarded next.
    pub fn permitted(&mut self, ticket: Ticket, grant: Grant) {
        self.under = Some(ticket);
        self.seq = grant.seq;
        self.output = grant.output;
        self.errors = grant.output || grant.errors;
        self.input = grant.input;
        self.tap = grant.tap;
        self.weighed = grant.weighed.then(|| Box::new(Weighed::new()));
    }

    /// What was permitted on it was never sent to the host.
    pub fn never_ran(&mut self, reason: &str) {
        self.exit = Some((OutcomeKind::Cancelled, reason.to_owned()));
    }

    /// The end of what ran under its decision, and of everything within.
    pub fn outcomes(&mut self, out: &mut Vec<Effect>) {
        if let Some(mut tap) = self.tap.take() {
            let mut wants = TapOut::default();
            tap.close(&mut wants);
            wants.pieces.clear();
            self.apply(wants, out);
        }
        for (_, ticket) in self.pieces.drain() {
            out.push(Effect::Outcome {
                ticket,
                kind: OutcomeKind::Unknown,
                detail: "the channel was closed".into(),
                bytes: 0,
            });
        }
        let Some(ticket) = self.under.take() else {
            return;
        };
        let bytes = self
            .flows
            .client
            .passed
            .saturating_add(self.flows.upstream.passed);
        let (kind, mut detail) = match (&self.refused, self.exit.take(), self.kind) {
            (Some(reason), _, _) => (OutcomeKind::Failed, reason.clone()),
            (None, Some(exit), _) => exit,
            (None, None, Kind::Stream) => (OutcomeKind::Done, "closed".into()),
            (None, None, Kind::Session) => (OutcomeKind::Unknown, "no exit status".into()),
        };
        let weighed = self.weighed.take().map(|weighed| weighed.note());
        let notes = [weighed, self.bulk.note(), self.masked.note()];
        for note in notes.into_iter().flatten() {
            detail = format!("{detail}; {note}");
        }
        out.push(Effect::Outcome {
            ticket,
            kind,
            detail,
            bytes,
        });
    }
}
