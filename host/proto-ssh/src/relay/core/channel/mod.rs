//! One channel: what was said on it by whom, and what is to be said next.
//!
//! - `pass` is data on its way through; `ends` what is told to the client, answered and refused in the place of the host;
//!   `told` what is said of the data at its end.

mod ends;
mod pass;
mod told;

use std::collections::{HashMap, VecDeque};

use bytes::{Bytes, BytesMut};
use pipeline::OutcomeKind;

use super::bulk::Bulk;
use super::flow::Flow;
use super::gather::Gather;
use super::replies::Replies;
use super::requests::{Answer, Asks};
use super::tap::{Stream, Tap};
use super::{Effect, Key, Limits, Pair, Side, Ticket};
use crate::action::{Asked, Before, What};
use crate::wire::{ChannelMessage, Connection, Put, Request, numbers};
use told::{Masked, Weighed};

/// Where the data of these messages begins: behind the number of the channel, its type, and its length.
const DATA_AT: usize = 9;
const EXTENDED_AT: usize = 13;

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
    /// The shell that it is for to ask about its commands.
    Gate,
    /// The client has confirmed it under a number that the upstream has not given up yet.
    Number,
}

/// A message of the client that waits.
#[derive(Debug)]
pub(super) enum Waiting {
    Data(BytesMut),
    Message(Bytes),
    /// A request with more bytes than any that is granted: only that it was made.
    Long {
        name: Bytes,
        want_reply: bool,
        bytes: usize,
    },
}

impl Waiting {
    pub fn len(&self) -> usize {
        match self {
            Self::Data(data) => data.len(),
            Self::Message(payload) => payload.len(),
            Self::Long { .. } => 0,
        }
    }

    /// A variable that is to be set, and no answer is wanted.
    pub fn is_env(&self) -> bool {
        match self {
            Self::Message(payload) => match Connection::parse(payload) {
                Ok(Connection::Channel { message, .. }) => is_env(&message),
                _ => false,
            },
            Self::Long {
                name, want_reply, ..
            } => **name == *b"env" && !want_reply,
            Self::Data(_) => false,
        }
    }
}

/// Clients send all of their variables at once, before anything else.
pub(super) fn is_env(message: &ChannelMessage<'_>) -> bool {
    matches!(message, ChannelMessage::Request(request) if request.name == b"env" && !request.want_reply)
}

/// What waits for the number of a channel that the client has closed and the upstream has not.
#[derive(Debug)]
pub(super) enum Parked {
    Open(Bytes),
    Confirmation(super::Key, Bytes),
}

impl Parked {
    pub fn len(&self) -> usize {
        let (Self::Open(payload) | Self::Confirmation(_, payload)) = self;
        payload.len()
    }
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
    /// The host has refused to start something: what the client sent for that may still come, and what the host says
    /// about it.
    pub failed: bool,
    /// We end it: nothing of the client goes on but its CLOSE.
    pub refused: Option<String>,
    /// The number of its action in the session, and whether its data is recorded.
    pub seq: u64,
    pub output: bool,
    pub errors: bool,
    pub input: bool,
    bulk: Bulk,
    masked: Masked,
    weighed: Option<Box<Weighed>>,
    /// What the upstream said about the end.
    pub exit: Option<(OutcomeKind, String)>,
    pub tap: Option<Box<dyn Tap>>,
    /// What a tap has been permitted and has not ended.
    pub pieces: HashMap<u64, Ticket>,
    told: u32,
}

impl Channel {
    /// Can a message like this one not wait, too? Variables have room of their own: what comes behind them is to be read.
    pub fn is_full(&self, message: &ChannelMessage<'_>, limits: &Limits) -> bool {
        let count = self.waiting.len();
        if count < limits.requests {
            return false;
        }
        let variables = self.waiting.iter().filter(|w| w.is_env()).count();
        match is_env(message) {
            true => variables >= limits.env,
            false => count - variables >= limits.requests,
        }
    }

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
            masked: Masked::default(),
            weighed: None,
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

    /// Is there something that the host may send data of? What we have ended passes nothing on.
    pub fn speaks(&self) -> bool {
        self.kind == Kind::Stream || self.under.is_some() || self.refused.is_some()
    }

    /// Bytes of the client that wait here.
    #[cfg(any(test, fuzzing))]
    pub fn waits(&self) -> usize {
        let waiting = self.waiting.iter().map(Waiting::len).sum::<usize>();
        let parked = self.parked.as_ref().map_or(0, Parked::len);
        waiting + parked + self.gather.as_ref().map_or(0, |gather| gather.holds())
    }

    /// The number by which `to` knows it.
    pub fn number(&self, to: Side) -> u32 {
        self.numbers.of(to).unwrap_or_default()
    }

    /// The client asks for this, after what was set.
    pub fn asked(&self, what: What) -> Asked {
        Asked {
            before: self.before.clone(),
            ..self.asked_alone(what)
        }
    }

    /// The same without what was set: what starts nothing is not worth a large record.
    pub fn asked_alone(&self, what: What) -> Asked {
        Asked::alone(what, Some(self.number(Side::Client)))
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
                self.output && self.is_for_the_record(Stream::Output, data)
            }
            (Some(&numbers::CHANNEL_EXTENDED_DATA), _) => {
                let data = payload.get(EXTENDED_AT..).unwrap_or_default();
                self.errors && self.is_for_the_record(Stream::Errors, data)
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

    /// Text is, whole; of what is no text so much as is to be.
    fn is_for_the_record(&mut self, stream: Stream, data: &[u8]) -> bool {
        // What masks it tells what is no text; where nothing does, somebody has to look.
        let read = self.tap.as_ref().is_some_and(|tap| tap.reads(stream));
        if !read && self.before.pty.is_none() {
            self.bulk.look(stream, data);
        }
        self.bulk.records(stream, data)
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
}
