//! The connection protocol between two authenticated legs, without sockets and without a clock.
//!
//! A message of one side goes in, effects come out. What is not decided on, masked or told is forwarded as the
//! bytes it came in: channel numbers and windows are the peers' own. What needs a decision leaves by
//! [`Effect::Decide`] and is not kept here: its bytes come back by [`Core::granted`] only, out of a `Permitted`.
//!
//! - `channel` is one channel, `flow` one direction of it, `replies` the order of answers.
//! - `bulk` counts output that is not text; it is not recorded without end. `sum` is by what the rest can be known.
//! - `back` is who may be connected to by the host.
//! - `opens`, `messages`, `requests`, `globals` say what each message means; `exec` has command lines read, and
//!   `gather` the scripts that they run; `settle` is told of decisions.
//! - `words` is what a host may say beside data.
//! - `tap` is what masks and file transfers implement.
//!
//! Invariants:
//! - A channel that waits delays no other.
//! - After CLOSE nothing more is sent to that side of that channel; a number is used again only when both sides
//!   have closed it.
//! - Whatever a peer can make grow has a limit in [`Limits`]; beyond it the request is refused, or the connection
//!   ends with a [`Violation`].

mod back;
mod bulk;
mod channel;
#[cfg(any(test, fuzzing))]
mod check;
mod exec;
mod flow;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod gate;
mod gather;
mod globals;
mod messages;
mod opens;
mod replies;
mod requests;
mod settle;
mod sum;
pub(crate) mod tap;
#[cfg(test)]
mod tests;
mod words;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pipeline::OutcomeKind;

use crate::action::{Asked, Turned, Unread};
use crate::gate::{Gate, Whole};
use crate::wire::{Connection, WireError};
use channel::Channel;
use globals::{Global, Globals};
use tap::{Inspect, Tap};

/// A leg of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    Client,
    Upstream,
}

impl Side {
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Upstream,
            Self::Upstream => Self::Client,
        }
    }
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Client => "the client",
            Self::Upstream => "the host",
        })
    }
}

/// Something for each side.
#[derive(Debug, Default)]
pub(crate) struct Pair<T> {
    pub client: T,
    pub upstream: T,
}

impl<T> Pair<T> {
    pub fn of(&self, side: Side) -> &T {
        match side {
            Side::Client => &self.client,
            Side::Upstream => &self.upstream,
        }
    }

    pub fn of_mut(&mut self, side: Side) -> &mut T {
        match side {
            Side::Client => &mut self.client,
            Side::Upstream => &mut self.upstream,
        }
    }
}

/// Names a decision that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Ticket(pub u64);

/// Names a channel for as long as the connection lives; numbers are used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key(u64);

/// What is to be done, in this order.
pub(crate) enum Effect {
    Send {
        to: Side,
        payload: Bytes,
        /// It is to be recorded as part of this action, before it is sent.
        record: Option<u64>,
    },
    /// What is sent next is to be recorded as part of this action, too.
    Record { to: Side, payload: Bytes, seq: u64 },
    Decide {
        ticket: Ticket,
        asked: Box<Asked>,
        /// What the upstream gets if it is permitted.
        forward: Bytes,
    },
    /// This is to be read, which can take long; what it is read as comes back by [`Core::was_read`].
    Read { ticket: Ticket, unread: Unread },
    /// So is this line of a gated shell, as a whole; what came of it comes back by [`Core::was_judged`].
    Judge { ticket: Ticket, whole: Whole },
    /// Something was refused here, and policy was not asked: that goes on record.
    Refused(Box<Turned>),
    /// Plugins are to look at text of a channel; what they say comes back by [`Core::inspected`].
    Inspect { key: Key, inspect: Inspect },
    /// The client gave up what `ticket` stands for.
    Cancel { ticket: Ticket },
    /// What was permitted under `ticket` is over.
    Outcome {
        ticket: Ticket,
        kind: OutcomeKind,
        detail: String,
        bytes: u64,
    },
}

/// How a permitted action goes on.
#[derive(Default)]
pub(crate) struct Grant {
    /// The action's number in the session, for the record.
    pub seq: u64,
    /// What the client sees is recorded.
    pub output: bool,
    /// So is standard error, whatever becomes of the output.
    pub errors: bool,
    /// What the client types is recorded.
    pub input: bool,
    pub tap: Option<Box<dyn Tap>>,
    /// Nobody reads what goes over it: how much it is, and its hash, are told at the end.
    pub weighed: bool,
    /// It is a shell that bash on the host gates.
    pub gate: Option<Gate>,
}

/// A peer broke the protocol: the connection ends, with this as the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    #[error("{0} sent a message that cannot be read: {1}")]
    Malformed(Side, WireError),
    #[error("{0} named channel {1}, which is not open")]
    NoChannel(Side, u32),
    #[error("{0} opened channel {1}, whose number is in use")]
    InUse(Side, u32),
    #[error("{0} answered the opening of channel {1}, which waits for no answer from it")]
    NotOpening(Side, u32),
    #[error("{0} sent {2} on channel {1} after EOF")]
    AfterEof(Side, u32, &'static str),
    #[error("{0} sent {2} on channel {1}, on which nothing was started")]
    Early(Side, u32, &'static str),
    #[error("{0} sent {2} on channel {1} after CLOSE")]
    AfterClose(Side, u32, &'static str),
    #[error("{0} sent {2} bytes on channel {1}, which is more than its window")]
    Window(Side, u32, usize),
    #[error("{0} made a window on channel {1} larger than 4 GiB")]
    WindowTooLarge(Side, u32),
    #[error("{0} sent {2} bytes in one packet on channel {1}, whose largest packet is {3}")]
    Packet(Side, u32, usize, u32),
    #[error("{0} sent extended data of the type {2} on channel {1}")]
    Extended(Side, u32, u32),
    #[error("{0} answered a request on channel {1} that was not made")]
    NoRequest(Side, u32),
    #[error("{0} answered a global request that was not made")]
    NoGlobalRequest(Side),
    #[error("{0} has more than {1} global requests under way")]
    GlobalRequests(Side, usize),
    #[error("{0} has more than {2} requests under way on channel {1}")]
    Requests(Side, u32, usize),
    #[error("more than {1} bytes of {0} wait for decisions")]
    Waiting(Side, usize),
    #[error("{0} gave a channel the number {1}: those from {2} on are Weir's own")]
    Reserved(Side, u32, u32),
}

impl Violation {
    /// Who is at fault.
    pub fn side(&self) -> Side {
        match self {
            Self::Malformed(side, _)
            | Self::NoChannel(side, _)
            | Self::InUse(side, _)
            | Self::NotOpening(side, _)
            | Self::AfterEof(side, ..)
            | Self::Early(side, ..)
            | Self::AfterClose(side, ..)
            | Self::Window(side, ..)
            | Self::WindowTooLarge(side, _)
            | Self::Packet(side, ..)
            | Self::Extended(side, ..)
            | Self::NoRequest(side, _)
            | Self::NoGlobalRequest(side)
            | Self::GlobalRequests(side, _)
            | Self::Requests(side, ..)
            | Self::Waiting(side, _)
            | Self::Reserved(side, ..) => *side,
        }
    }
}

/// Every bound of the connection layer.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Channels at a time, of both sides together.
    pub channels: usize,
    /// Requests of one channel and direction that wait for a decision or a reply.
    pub requests: usize,
    /// Global requests of one side that wait for a decision or a reply.
    pub globals: usize,
    /// A client is told of no more window than this for one channel: so much of it may have to wait here.
    pub window: u32,
    /// A host is told of no more window than this for one channel: so much may have to wait for plugins.
    pub output: u32,
    /// Bytes of a host that wait for plugins, over all channels; then nothing more of it is read.
    pub inspected: usize,
    /// Bytes of a client that wait for decisions, over all channels: data, requests, and what is decided on.
    pub waiting: usize,
    /// The longest command line.
    pub command: usize,
    /// What names and modes a request for anything else may have, together.
    pub names: usize,
    /// Variables that a client may set for one channel, and bytes of them.
    pub env: usize,
    pub env_bytes: usize,
    /// Listeners that a client may have on the host.
    pub listeners: usize,
    /// Bytes of each stream of an action that are recorded though they are not text.
    pub bulk: u64,
    /// The longest script that comes on standard input, and how long it may take to come.
    pub script: usize,
    pub script_patience: Duration,
    /// How long a gated shell may take to begin.
    pub gate_patience: Duration,
    /// Commands of one gated shell that wait for a decision.
    pub gate_asks: usize,
    /// Commands of one gated shell that are refused with nothing typed in between.
    pub gate_refusals: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            channels: 256,
            requests: 128,
            globals: 64,
            window: 4 << 20,
            output: 16 << 20,
            inspected: 64 << 20,
            waiting: 32 << 20,
            command: 128 << 10,
            names: 8 << 10,
            env: 128,
            env_bytes: 64 << 10,
            listeners: 64,
            bulk: 64 << 20,
            script: 1 << 20,
            script_patience: Duration::from_secs(120),
            gate_patience: Duration::from_secs(30),
            gate_asks: 64,
            gate_refusals: 256,
        }
    }
}

/// What a decision is outstanding for.
#[derive(Debug)]
enum Pending {
    Request {
        key: Key,
        want_reply: bool,
        asks: requests::Asks,
        /// What it sets for the channel.
        sets: Option<requests::Sets>,
    },
    Open {
        key: Key,
    },
    Global {
        want_reply: bool,
        listener: globals::Listener,
    },
    /// Part of a channel's data.
    Piece {
        key: Key,
        id: u64,
    },
    /// A command of a gated shell.
    Command {
        key: Key,
    },
    /// One of those that is being read, and a line that is being judged, before anything is decided.
    Unread {
        key: Key,
    },
    Whole {
        key: Key,
    },
    /// No decision yet: the command is being read.
    Read {
        key: Key,
        exec: exec::Exec,
    },
}

/// See the module.
pub(crate) struct Core {
    limits: Limits,
    channels: HashMap<Key, Channel>,
    /// Channels by the number that each side gave them.
    by: Pair<HashMap<u32, Key>>,
    openssh: Pair<bool>,
    globals: Globals,
    gates: gate::Gates,
    pending: HashMap<Ticket, Pending>,
    /// How many bytes are with each of them.
    decided_on: HashMap<Ticket, usize>,
    /// Sessions that may get connections of the client's agent.
    agent: back::Asked,
    /// Sessions that may get X11 connections.
    x11: back::Asked,
    next_key: u64,
    next_ticket: u64,
    /// Bytes of the client that wait for decisions.
    waiting: usize,
    gathers: bool,
}

impl Core {
    pub fn new(limits: Limits) -> Self {
        Self {
            globals: Globals::new(limits.globals),
            openssh: Pair {
                client: true,
                upstream: true,
            },
            limits,
            channels: HashMap::new(),
            gates: gate::Gates::default(),
            by: Pair::default(),
            pending: HashMap::new(),
            decided_on: HashMap::new(),
            agent: back::Asked::default(),
            x11: back::Asked::default(),
            next_key: 0,
            next_ticket: 0,
            waiting: 0,
            gathers: true,
        }
    }

    /// Who is OpenSSH, or says so: others may end the connection at what OpenSSH tells its own kind only.
    pub fn meets(&mut self, openssh: Pair<bool>) {
        self.openssh = openssh;
    }

    /// Takes one message with a number from 80 on.
    pub fn receive(
        &mut self,
        from: Side,
        payload: &Bytes,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let message =
            Connection::parse(payload).map_err(|error| Violation::Malformed(from, error))?;
        if from == Side::Upstream && self.gate_receive(&message, now, out)? {
            return Ok(());
        }
        self.received(from, message, payload, now, out)?;
        if self.waiting > self.limits.waiting {
            return Err(Violation::Waiting(Side::Client, self.limits.waiting));
        }
        Ok(())
    }

    fn received(
        &mut self,
        from: Side,
        message: Connection<'_>,
        payload: &Bytes,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        match message {
            Connection::GlobalRequest {
                name,
                want_reply,
                data,
            } => {
                let request = Global {
                    name,
                    want_reply,
                    data,
                    payload,
                };
                self.global_request(from, request, out)
            }
            Connection::RequestSuccess { data } => {
                self.global_reply(from, payload, Some(data), out)
            }
            Connection::RequestFailure => self.global_reply(from, payload, None, out),
            Connection::Open(open) => self.open(from, open, payload, out),
            Connection::OpenConfirmation { recipient, .. } => {
                self.confirmed(from, recipient, payload, now, out)
            }
            Connection::OpenFailure {
                recipient,
                reason,
                description,
            } => self.failed(from, recipient, (reason, description), payload, out),
            Connection::Channel { recipient, message } => {
                let key = self.by.of(from.other()).get(&recipient);
                let key = *key.ok_or(Violation::NoChannel(from, recipient))?;
                self.message(from, key, recipient, payload, message, now, out)
            }
        }
    }

    /// When [`Core::tick`] is to be called.
    pub fn deadline(&self) -> Option<Instant> {
        let taps = self.channels.values().filter_map(Channel::deadline);
        taps.chain(self.gates.deadline()).min()
    }

    pub fn tick(&mut self, now: Instant, out: &mut Vec<Effect>) -> Result<(), Violation> {
        for channel in self.channels.values_mut() {
            channel.tick(now, out);
        }
        self.tick_gathers(now, out)?;
        self.tick_gates(now, out)
    }

    /// The connection ends: what is known of the end of what ran, and what will not be decided on.
    pub fn abandon(&mut self, out: &mut Vec<Effect>) {
        let gathering = self.channels.iter().filter(|(_, c)| c.gather.is_some());
        let gathering: Vec<Key> = gathering.map(|(key, _)| *key).collect();
        for key in gathering {
            let reason = "the session ended before the script on its standard input was whole";
            self.tell_gather(key, reason, out);
        }
        let reason = "the session ended before it was read";
        for (ticket, pending) in &self.pending {
            match pending {
                Pending::Read { key, exec } => self.turn_unread(*key, exec, reason, out),
                Pending::Unread { key } | Pending::Whole { key } => {
                    self.ask_unread(*key, *ticket, reason, out);
                }
                _ => {}
            }
        }
        for key in self.channels.keys() {
            self.tell_waiting(*key, reason, out);
            self.tell_parked(*key, reason, out);
        }
        self.tell_globals(reason, out);
        self.tell_unstarted("the session ended before it was started");
        for channel in self.channels.values_mut() {
            let known = channel.exit.is_some() || channel.refused.is_some();
            if known || channel.kind == channel::Kind::Stream {
                channel.outcomes(out);
            }
        }
    }

    /// So much of the host waits for plugins that nothing more of it should be read before they have answered.
    pub fn is_inspecting_much(&self) -> bool {
        let inspecting = self.channels.values().filter(|c| c.is_inspecting());
        let waiting = inspecting.map(|c| c.flows.upstream.waits());
        waiting.fold(0, u64::saturating_add) >= self.limits.inspected as u64
    }

    /// Nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.channels.is_empty() && self.pending.is_empty()
    }

    fn key(&mut self) -> Key {
        self.next_key += 1;
        Key(self.next_key)
    }

    /// Asks for a decision.
    fn decide(
        &mut self,
        pending: Pending,
        asked: Asked,
        forward: Bytes,
        out: &mut Vec<Effect>,
    ) -> Ticket {
        let ticket = self.ticket(forward.len());
        self.pending.insert(ticket, pending);
        // A copy: it may be a small part of much that was read at once.
        let forward = Bytes::copy_from_slice(&forward);
        out.push(Effect::Decide {
            ticket,
            asked: Box::new(asked),
            forward,
        });
        ticket
    }

    /// A name for what so many bytes of the client wait for.
    fn ticket(&mut self, bytes: usize) -> Ticket {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.decided_on.insert(ticket, bytes);
        self.waiting += bytes;
        ticket
    }

    /// Nobody waits for this decision any more.
    fn settled(&mut self, ticket: Ticket) -> Option<Pending> {
        let bytes = self.decided_on.remove(&ticket).unwrap_or_default();
        self.waiting = self.waiting.saturating_sub(bytes);
        self.pending.remove(&ticket)
    }
}

/// Sends a message of our own or of the other side that belongs to no channel.
fn send(to: Side, payload: Bytes, out: &mut Vec<Effect>) {
    out.push(Effect::Send {
        to,
        payload,
        record: None,
    });
}

/// Puts on record that something was refused without a decision.
fn turn(turned: Turned, out: &mut Vec<Effect>) {
    out.push(Effect::Refused(Box::new(turned)));
}

/// A message as bytes.
fn made(message: &Connection<'_>) -> Bytes {
    let mut bytes = Vec::new();
    message.write(&mut bytes);
    bytes.into()
}
