//! One channel: what was said on it by whom, and what is to be said next.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use pipeline::OutcomeKind;

use super::bulk::Bulk;
use super::flow::{Flow, Out};
use super::gather::Gather;
use super::replies::Replies;
use super::requests::{Answer, Asks, Sets};
use super::tap::{Stream, Tap, TapAsk, TapError, TapOut};
use super::{Effect, Grant, Key, Limits, Pair, Side, Ticket, Violation};
use crate::action::Before;
use crate::wire::{ChannelMessage, Put, Request, numbers};

/// The exit status of what was not permitted to run.
const REFUSED_STATUS: u32 = 126;
/// Notices that wait for room on the way to the client; beyond that, none is added.
const MAX_NOTICES: usize = 8;
/// Where the data of these messages begins: behind the number of the channel, its type, and its length.
const DATA_AT: usize = 9;
const EXTENDED_AT: usize = 13;
/// Refusals within a channel that are told on standard error.
const MAX_TOLD: u32 = 16;

/// What a channel is for, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Session,
    /// Forwarded connections: bytes and nothing else.
    Stream,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Its opening is being decided on.
    Deciding,
    /// The other side has been asked.
    Opening,
    Open,
}

/// What the client's messages on this channel wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    Nothing,
    Decision(Ticket),
    /// The end of a script that is to be decided on.
    Script,
    /// The client has confirmed it under a number that the upstream has not given up yet.
    Number,
}

/// A message of the client that waits.
#[derive(Debug)]
pub(super) enum Waiting {
    Data(BytesMut),
    Message(Bytes),
}

/// What waits for the number of a channel that the client has closed and the upstream has not.
#[derive(Debug)]
pub(super) enum Parked {
    Open(Bytes),
    Confirmation(super::Key, Bytes),
}

/// A request that the other side will answer.
#[derive(Debug)]
pub(super) struct Sent {
    /// The decision that it was forwarded under.
    pub ticket: Option<Ticket>,
    pub asks: Asks,
}

pub(super) struct Channel {
    key: Key,
    pub kind: Kind,
    pub state: State,
    pub opened_by: Side,
    pub numbers: Pair<Option<u32>>,
    /// By who sends.
    pub flows: Pair<Flow>,
    /// By who asked.
    pub replies: Pair<Replies<Sent, Answer>>,
    pub wait: Wait,
    pub waiting: VecDeque<Waiting>,
    pub parked: Option<Parked>,
    pub before: Before,
    pub gather: Option<Box<Gather>>,
    /// The decision under which something runs on it, or it was opened.
    pub under: Option<Ticket>,
    /// Something was started, or is about to be.
    pub started: bool,
    /// The host has refused to start something: what the client sent for that may still come.
    pub failed: bool,
    /// We end it: nothing of the client goes on but its CLOSE.
    pub refused: Option<String>,
    /// The number of its action in the session, and whether its data is recorded.
    pub seq: u64,
    pub output: bool,
    pub errors: bool,
    pub input: bool,
    bulk: Bulk,
    /// What the upstream said about the end.
    pub exit: Option<(OutcomeKind, String)>,
    pub tap: Option<Box<dyn Tap>>,
    /// What a tap has been permitted and has not ended.
    pub pieces: HashMap<u64, Ticket>,
    told: u32,
}

impl Channel {
    pub fn new(key: Key, kind: Kind, opened_by: Side, limits: &Limits) -> Self {
        let replies = || Replies::new(limits.requests);
        Self {
            key,
            kind,
            state: State::Opening,
            opened_by,
            numbers: Pair::default(),
            flows: Pair {
                client: Flow::new(limits.window),
                upstream: Flow::new(limits.output),
            },
            replies: Pair {
                client: replies(),
                upstream: replies(),
            },
            wait: Wait::Nothing,
            waiting: VecDeque::new(),
            parked: None,
            before: Before::default(),
            gather: None,
            under: None,
            started: false,
            failed: false,
            refused: None,
            seq: 0,
            output: false,
            errors: false,
            input: false,
            bulk: Bulk::new(limits.bulk),
            exit: None,
            tap: None,
            pieces: HashMap::new(),
            told: 0,
        }
    }

    /// Is there something that data of the client is for?
    pub fn listens(&self) -> bool {
        self.kind == Kind::Stream || self.started || self.refused.is_some()
    }

    /// The number by which `to` knows it.
    pub fn number(&self, to: Side) -> u32 {
        self.numbers.of(to).unwrap_or_default()
    }

    pub fn is_over(&self) -> bool {
        [&self.flows.client, &self.flows.upstream]
            .iter()
            .all(|flow| flow.closed && flow.close_sent)
    }

    /// The client may use its number again, and the upstream has not given it up.
    pub fn is_left(&self) -> bool {
        self.flows.client.closed && self.flows.upstream.close_sent
    }

    /// Whole messages only; after CLOSE nothing is sent any more.
    pub fn send(&mut self, to: Side, payload: Bytes, out: &mut Vec<Effect>) {
        if self.flows.of(to.other()).close_sent {
            return;
        }
        let recorded = match (payload.first(), to) {
            (Some(&numbers::CHANNEL_DATA), Side::Client) => {
                let data = payload.get(DATA_AT..).unwrap_or_default();
                self.output && self.bulk.records(Stream::Output, data)
            }
            (Some(&numbers::CHANNEL_EXTENDED_DATA), _) => {
                let data = payload.get(EXTENDED_AT..).unwrap_or_default();
                self.errors && self.bulk.records(Stream::Errors, data)
            }
            (Some(&numbers::CHANNEL_DATA), Side::Upstream) => self.input,
            // Of windows nobody wants to know.
            (Some(&numbers::CHANNEL_WINDOW_ADJUST), _) => false,
            _ => true,
        };
        let record = recorded.then_some(self.seq);
        out.push(Effect::Send {
            to,
            payload,
            record,
        });
    }

    pub fn say(&mut self, to: Side, message: ChannelMessage<'_>, out: &mut Vec<Effect>) {
        self.send(to, self.made(to, message), out);
    }

    pub fn made(&self, to: Side, message: ChannelMessage<'_>) -> Bytes {
        let mut payload = Vec::new();
        message.write(self.number(to), &mut payload);
        payload.into()
    }

    /// The request to run this.
    pub fn exec(&self, want_reply: bool, command: &[u8]) -> Bytes {
        let mut data = Vec::new();
        data.string(command);
        let request = Request {
            name: b"exec",
            want_reply,
            data: &data,
        };
        self.made(Side::Upstream, ChannelMessage::Request(request))
    }

    pub fn grant(&mut self, to: Side, bytes: u32, out: &mut Vec<Effect>) {
        if bytes > 0 {
            self.say(to, ChannelMessage::WindowAdjust { bytes }, out);
        }
    }

    /// Passes on what can go on now.
    pub fn pump(&mut self, from: Side, out: &mut Vec<Effect>) {
        let to = from.other();
        loop {
            // Who has closed reads nothing more, and gives no room.
            let deaf = self.flows.of(to).closed;
            // What plugins still look at comes before the end that the host has told already.
            let early = from == Side::Upstream && self.is_inspecting();
            let flow = self.flows.of_mut(from);
            let payload = match flow.queue.pop_front() {
                None => return,
                Some(Out::Data { code, mut bytes }) => {
                    let n = flow.fits(bytes.len());
                    if n == 0 {
                        if !bytes.is_empty() && !deaf {
                            flow.queue.push_front(Out::Data { code, bytes });
                            return;
                        }
                        continue;
                    }
                    let piece = bytes.split_to(n);
                    flow.passes(n);
                    if !bytes.is_empty() {
                        flow.queue.push_front(Out::Data { code, bytes });
                    }
                    self.made(to, data_message(code, &piece))
                }
                Some(last @ (Out::Message(_) | Out::Close(_))) if early => {
                    flow.queue.push_front(last);
                    return;
                }
                Some(Out::Message(payload)) => payload,
                Some(Out::Close(payload)) => {
                    self.send(to, payload, out);
                    let flow = self.flows.of_mut(from);
                    flow.close_sent = true;
                    flow.queue.clear();
                    return;
                }
            };
            self.send(to, payload, out);
        }
    }

    /// A message that does not overtake data.
    pub fn in_order(&mut self, from: Side, message: Out, out: &mut Vec<Effect>) {
        self.flows.of_mut(from).queue.push_back(message);
        self.pump(from, out);
    }

    /// Data that is to go on, in as many packets as it takes.
    pub fn pass(&mut self, from: Side, code: Option<u32>, data: &[u8], out: &mut Vec<Effect>) {
        let queue = &mut self.flows.of_mut(from).queue;
        // The host says nothing but its end between data: that waits for what was before it.
        let ends = match from {
            Side::Client => None,
            Side::Upstream => queue.iter().position(|o| !matches!(o, Out::Data { .. })),
        };
        let at = ends.unwrap_or(queue.len());
        match at.checked_sub(1).and_then(|before| queue.get_mut(before)) {
            Some(Out::Data { code: last, bytes }) if *last == code => {
                bytes.extend_from_slice(data);
            }
            _ => queue.insert(
                at,
                Out::Data {
                    code,
                    bytes: data.into(),
                },
            ),
        }
        self.pump(from, out);
    }

    /// Something is held back until plugins have looked at it.
    pub fn is_inspecting(&self) -> bool {
        self.tap.as_ref().is_some_and(|tap| tap.is_inspecting())
    }

    /// Data whose arrival was accounted for. `payload`: the message that it came in, if it still is whole.
    pub fn data(
        &mut self,
        from: Side,
        code: Option<u32>,
        data: Bytes,
        payload: Option<&Bytes>,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<Option<TapAsk>, TapError> {
        let Some(tap) = &mut self.tap else {
            let flow = self.flows.of_mut(from);
            match payload {
                Some(whole) if flow.queue.is_empty() && flow.fits(data.len()) == data.len() => {
                    flow.passes(data.len());
                    self.send(from.other(), whole.clone(), out);
                }
                _ => self.pass(from, code, &data, out),
            }
            return Ok(None);
        };
        let stream = match (from, code) {
            (Side::Client, _) => Stream::Input,
            (Side::Upstream, None) => Stream::Output,
            (Side::Upstream, Some(_)) => Stream::Errors,
        };
        let mut wants = TapOut::default();
        tap.push(stream, data, now, &mut wants)?;
        Ok(self.apply(wants, out))
    }

    /// What a tap holds back goes on before a message that must not overtake it.
    pub fn flush(
        &mut self,
        from: Side,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), TapError> {
        let streams: &[Stream] = match from {
            Side::Client => &[Stream::Input],
            Side::Upstream => &[Stream::Output, Stream::Errors],
        };
        for stream in streams {
            if let Some(tap) = &mut self.tap {
                let mut wants = TapOut::default();
                tap.flush(*stream, now, &mut wants)?;
                self.apply(wants, out);
            }
        }
        Ok(())
    }

    /// Does what a tap wants. The ask, if it has one.
    pub fn apply(&mut self, wants: TapOut, out: &mut Vec<Effect>) -> Option<TapAsk> {
        if let Some(stream) = wants.bulk {
            self.bulk.begins(stream);
        }
        for (stream, n) in wants.added {
            self.flows.of_mut(sender(stream)).added(n);
        }
        for (stream, bytes) in wants.pieces {
            let code = (stream == Stream::Errors).then_some(numbers::EXTENDED_DATA_STDERR);
            self.pass(sender(stream), code, &bytes, out);
        }
        for (stream, n) in wants.dropped {
            let from = sender(stream);
            let give = self.flows.of_mut(from).dropped(n);
            self.grant(from, give, out);
        }
        for done in wants.done {
            if let Some(ticket) = self.pieces.remove(&done.id) {
                out.push(Effect::Outcome {
                    ticket,
                    kind: done.result,
                    detail: done.detail,
                    bytes: done.bytes,
                });
            }
        }
        for inspect in wants.inspect {
            let key = self.key;
            out.push(Effect::Inspect { key, inspect });
        }
        wants.ask
    }

    pub fn deadline(&self) -> Option<Instant> {
        let tap = self.tap.as_ref().and_then(|tap| tap.deadline());
        let gather = self.gather.as_ref().map(|gather| gather.deadline());
        tap.into_iter().chain(gather).min()
    }

    pub fn tick(&mut self, now: Instant, out: &mut Vec<Effect>) {
        if let Some(tap) = &mut self.tap
            && tap.deadline().is_some_and(|at| at <= now)
        {
            let mut wants = TapOut::default();
            tap.tick(now, &mut wants);
            self.apply(wants, out);
        }
    }

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
        self.errors = grant.output;
        self.input = grant.input;
        self.tap = grant.tap;
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
        if let Some(note) = self.bulk.note() {
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

fn sender(stream: Stream) -> Side {
    match stream {
        Stream::Input => Side::Client,
        Stream::Output | Stream::Errors => Side::Upstream,
    }
}

fn data_message(code: Option<u32>, data: &[u8]) -> ChannelMessage<'_> {
    match code {
        None => ChannelMessage::Data(data),
        Some(code) => ChannelMessage::ExtendedData { code, data },
    }
}
