//! The core against scripted peers, hostile peers, and random ones.

mod back;
mod gate;
mod given_up;
mod globals;
mod hostile;
mod random;
mod reads;
mod script;
mod taps;
mod turned;
mod waits;
mod windows;

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use super::*;
use crate::wire::{ChannelMessage, Open, Put, Request};

/// A core with two peers who write down what they get.
pub(super) struct Bench {
    pub core: Core,
    pub now: Instant,
    pub sent: Pair<VecDeque<Bytes>>,
    pub asks: VecDeque<(Ticket, Asked, Bytes)>,
    pub reads: VecDeque<(Ticket, Unread)>,
    pub wholes: VecDeque<(Ticket, Whole)>,
    pub cancelled: Vec<Ticket>,
    pub turned: Vec<Turned>,
    pub outcomes: Vec<(Ticket, OutcomeKind, String, u64)>,
}

impl Bench {
    pub fn new() -> Self {
        Self::with(Limits::default())
    }

    pub fn with(limits: Limits) -> Self {
        Self {
            core: Core::new(limits),
            now: Instant::now(),
            sent: Pair::default(),
            asks: VecDeque::new(),
            reads: VecDeque::new(),
            wholes: VecDeque::new(),
            cancelled: Vec::new(),
            turned: Vec::new(),
            outcomes: Vec::new(),
        }
    }

    pub fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send { to, payload, .. } => self.sent.of_mut(to).push_back(payload),
                Effect::Decide {
                    ticket,
                    asked,
                    forward,
                } => self.asks.push_back((ticket, *asked, forward)),
                Effect::Read { ticket, unread } => self.reads.push_back((ticket, unread)),
                Effect::Judge { ticket, whole } => self.wholes.push_back((ticket, whole)),
                Effect::Refused(turned) => self.turned.push(*turned),
                Effect::Inspect { .. } => panic!("nothing here asks plugins"),
                Effect::Record { .. } => {}
                Effect::Cancel { ticket } => self.cancelled.push(ticket),
                Effect::Outcome {
                    ticket,
                    kind,
                    detail,
                    bytes,
                } => self.outcomes.push((ticket, kind, detail, bytes)),
            }
        }
    }

    pub fn raw(&mut self, from: Side, payload: &[u8]) -> Result<(), Violation> {
        let mut out = Vec::new();
        let payload = Bytes::copy_from_slice(payload);
        let result = self.core.receive(from, &payload, self.now, &mut out);
        self.take(out);
        result
    }

    pub fn try_from(&mut self, from: Side, message: Connection<'_>) -> Result<(), Violation> {
        self.raw(from, &made(&message))
    }

    pub fn client(&mut self, message: Connection<'_>) {
        self.try_from(Side::Client, message).unwrap();
    }

    pub fn upstream(&mut self, message: Connection<'_>) {
        self.try_from(Side::Upstream, message).unwrap();
    }

    /// The next message that this side got is this one.
    #[track_caller]
    pub fn gets(&mut self, side: Side, message: Connection<'_>) {
        let got = self.sent.of_mut(side).pop_front();
        let got = got.unwrap_or_else(|| panic!("{side} gets nothing instead of {message:?}"));
        assert_eq!(Connection::parse(&got), Ok(message));
    }

    #[track_caller]
    pub fn gets_nothing(&mut self, side: Side) {
        let got = self.sent.of_mut(side).pop_front();
        if let Some(got) = got {
            panic!("{side} gets {:?}", Connection::parse(&got));
        }
    }

    pub fn grant(&mut self) -> Ticket {
        let (ticket, _, forward) = self.asks.pop_front().expect("something to decide");
        assert!(self.grant_it(ticket, forward));
        ticket
    }

    pub fn grant_it(&mut self, ticket: Ticket, forward: Bytes) -> bool {
        let mut out = Vec::new();
        let grant = Grant::default();
        let sent = self
            .core
            .granted(ticket, forward, grant, self.now, &mut out)
            .unwrap();
        self.take(out);
        sent
    }

    pub fn refuse(&mut self) {
        let (ticket, ..) = self.asks.pop_front().expect("something to decide");
        self.refuse_it(ticket);
    }

    pub fn refuse_it(&mut self, ticket: Ticket) {
        let mut out = Vec::new();
        self.core
            .refused(ticket, "no", Some("ask first"), self.now, &mut out)
            .unwrap();
        self.take(out);
    }

    /// The next text that is to be read, is.
    pub fn read(&mut self) {
        let (ticket, unread) = self.reads.pop_front().expect("something to read");
        let mut out = Vec::new();
        let read = self
            .core
            .was_read(ticket, unread.read(), self.now, &mut out);
        read.unwrap();
        self.take(out);
    }

    /// The next line of a gated shell that is to be judged, is.
    pub fn judge(&mut self) {
        let (ticket, whole) = self.wholes.pop_front().expect("something to judge");
        self.judge_it(ticket, whole);
    }

    pub fn judge_it(&mut self, ticket: Ticket, whole: Whole) {
        let mut out = Vec::new();
        let judged = whole.judge();
        let done = self.core.was_judged(ticket, judged, self.now, &mut out);
        done.unwrap();
        self.take(out);
    }

    pub fn hold(&mut self, ticket: Ticket) {
        let mut out = Vec::new();
        self.core
            .held(ticket, &["weir: waiting".to_owned()], &mut out);
        self.take(out);
    }

    /// A session: `c` on the client's side, `u` on the upstream's, both with these windows.
    pub fn session(&mut self, c: u32, u: u32, window: u32) {
        let open = open(b"session", c, window, b"");
        self.client(open);
        self.gets(Side::Upstream, open);
        let confirmation = confirmation(c, u, window);
        self.upstream(confirmation);
        self.gets(Side::Client, confirmation);
    }

    /// A session in which a command runs.
    pub fn running(&mut self, c: u32, u: u32, window: u32) -> Ticket {
        self.session(c, u, window);
        let exec = request(u, b"exec", true, b"\0\0\0\x02ls");
        self.client(exec);
        let ticket = self.grant();
        self.gets(Side::Upstream, request(u, b"exec", true, &pinned("ls")));
        let success = on(c, ChannelMessage::Success);
        self.upstream(success);
        self.gets(Side::Client, success);
        ticket
    }

    /// Both sides get and send `message` as it is.
    #[track_caller]
    pub fn passes(&mut self, from: Side, message: Connection<'_>) {
        self.try_from(from, message).unwrap();
        self.gets(from.other(), message);
    }
}

pub(super) fn open<'a>(kind: &'a [u8], sender: u32, window: u32, data: &'a [u8]) -> Connection<'a> {
    Connection::Open(Open {
        kind,
        sender,
        window,
        max_packet: 32 << 10,
        data,
    })
}

pub(super) fn confirmation(recipient: u32, sender: u32, window: u32) -> Connection<'static> {
    Connection::OpenConfirmation {
        recipient,
        sender,
        window,
        max_packet: 32 << 10,
        data: b"",
    }
}

pub(super) fn on(recipient: u32, message: ChannelMessage<'_>) -> Connection<'_> {
    Connection::Channel { recipient, message }
}

pub(super) fn request<'a>(
    recipient: u32,
    name: &'a [u8],
    want_reply: bool,
    data: &'a [u8],
) -> Connection<'a> {
    on(
        recipient,
        ChannelMessage::Request(Request {
            name,
            want_reply,
            data,
        }),
    )
}

pub(super) fn data(recipient: u32, data: &[u8]) -> Connection<'_> {
    on(recipient, ChannelMessage::Data(data))
}

pub(super) fn errors(recipient: u32, data: &[u8]) -> Connection<'_> {
    on(recipient, ChannelMessage::ExtendedData { code: 1, data })
}

pub(super) fn adjust(recipient: u32, bytes: u32) -> Connection<'static> {
    on(recipient, ChannelMessage::WindowAdjust { bytes })
}

pub(super) fn global<'a>(name: &'a [u8], want_reply: bool, data: &'a [u8]) -> Connection<'a> {
    Connection::GlobalRequest {
        name,
        want_reply,
        data,
    }
}

pub(super) fn strings(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for part in parts {
        out.string(part);
    }
    out
}

/// What the host is asked to run for this command.
pub(super) fn pinned(command: &str) -> Vec<u8> {
    strings(&[shell::for_any_host(command).as_bytes()])
}

pub(super) fn pty() -> Vec<u8> {
    let mut out = Vec::new();
    out.string(b"xterm")
        .uint32(80)
        .uint32(24)
        .uint32(0)
        .uint32(0);
    out.string(b"\0");
    out
}
