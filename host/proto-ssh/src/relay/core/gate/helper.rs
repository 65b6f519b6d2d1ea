//! The channel of one gated shell's helper, and where all of them are found.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::super::requests::Asks as Starts;
use super::super::{Effect, Key, Side, Ticket, send};
use super::FIRST;
use crate::gate::{Arrays, Ask, Asks, Gate, Lines};
use crate::wire::ChannelMessage;

/// What the host may say on a channel of ours before we have read it, and in one packet.
pub(super) const WINDOW: u32 = 256 << 10;
pub(super) const MAX_PACKET: u32 = 32 << 10;
/// Bytes of answers that the host has given no window for.
const MAX_QUEUE: usize = 64 << 10;
/// Processes of a shell of which it is known which command they were told to run last.
const MAX_CALLS: usize = 256;

/// How long after it was told to call a function, bash may enter it without a decision.
const ENTERS: Duration = Duration::from_secs(5);

type Digest = [u8; 32];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// The host has not confirmed the channel, or its helper has not said that everything is there.
    Beginning,
    /// The shell has been started, and has not asked yet.
    Started,
    Live,
    /// We have closed it, or will as soon as it is there.
    Over,
}

/// The request for the shell, until it is sent.
pub(super) struct Start {
    pub want_reply: bool,
    pub asks: Starts,
    pub ticket: Ticket,
    pub forward: Bytes,
}

/// A command that is being read or decided on, or a line that is being judged.
pub(super) struct Command {
    pub ask: Ask,
    pub interrupted: bool,
}

pub(super) struct Helper {
    pub shell: Key,
    pub state: State,
    pub gate: Gate,
    /// The number that the host gave it.
    pub theirs: Option<u32>,
    pub start: Option<Start>,
    pub until: Instant,
    pub asks: Asks,
    pub commands: HashMap<Ticket, Command>,
    pub lines: Lines,
    pub arrays: Arrays,
    /// Refusals since the client has typed something.
    pub refusals: usize,
    /// By process: how deep it stood, the SHA-256 of what it was told to run last, and until when it may enter that.
    pub calls: HashMap<u32, (u32, Digest, Instant)>,
    /// What the host may still send, and what it has room for.
    pub window: u32,
    pub room: usize,
    pub max_packet: usize,
    pub queue: BytesMut,
}

#[derive(Default)]
pub(in crate::relay::core) struct Gates {
    pub(super) helpers: HashMap<u32, Helper>,
    pub(super) by: HashMap<Key, u32>,
    next: u32,
}

impl Gates {
    pub fn deadline(&self) -> Option<Instant> {
        let begins = |h: &&Helper| matches!(h.state, State::Beginning | State::Started);
        self.helpers.values().filter(begins).map(|h| h.until).min()
    }

    /// Is this a gated shell?
    pub fn has(&self, shell: Key) -> bool {
        self.by.contains_key(&shell)
    }

    /// The number of this shell's helper, and the helper.
    pub(super) fn of(&mut self, shell: Key) -> Option<(u32, &mut Helper)> {
        let number = *self.by.get(&shell)?;
        Some((number, self.helpers.get_mut(&number)?))
    }

    /// A command of this shell that waits.
    pub(super) fn command(&self, shell: Key, ticket: Ticket) -> Option<&Command> {
        let helper = self.helpers.get(self.by.get(&shell)?)?;
        helper.commands.get(&ticket)
    }

    /// A command of this shell that waits no more, and who is told of it.
    pub(super) fn take_command(
        &mut self,
        shell: Key,
        ticket: Ticket,
    ) -> Option<(u32, &mut Helper, Command)> {
        let (number, helper) = self.of(shell)?;
        let command = helper.commands.remove(&ticket)?;
        Some((number, helper, command))
    }

    pub fn number(&mut self) -> u32 {
        loop {
            let number = FIRST | self.next;
            self.next = self.next.wrapping_add(1) & !FIRST;
            if !self.helpers.contains_key(&number) {
                return number;
            }
        }
    }
}

impl Helper {
    /// It is being read or decided on under this name.
    pub fn waits(&mut self, ticket: Ticket, ask: Ask) {
        let interrupted = false;
        self.commands.insert(ticket, Command { ask, interrupted });
    }

    /// Nobody waits for these any more: they are interrupted.
    pub fn gives_up(&mut self, which: impl Fn(&Command) -> bool, out: &mut Vec<Effect>) {
        for (ticket, command) in &mut self.commands {
            if which(command) {
                command.interrupted = true;
                out.push(Effect::Cancel { ticket: *ticket });
            }
        }
    }

    /// On a channel that we have closed, nothing is said.
    pub fn say(&self, message: ChannelMessage<'_>, out: &mut Vec<Effect>) {
        if self.state != State::Over {
            self.send(message, out);
        }
    }

    /// What it knew is not kept; what the host still says is not listened to.
    pub fn close(&mut self, out: &mut Vec<Effect>) {
        if self.state == State::Over {
            return;
        }
        self.state = State::Over;
        self.queue = BytesMut::new();
        self.calls = HashMap::new();
        self.asks.clear();
        self.send(ChannelMessage::Close, out);
    }

    /// The host has confirmed it only now that it is over.
    pub fn close_late(&self, out: &mut Vec<Effect>) {
        self.send(ChannelMessage::Close, out);
    }

    fn send(&self, message: ChannelMessage<'_>, out: &mut Vec<Effect>) {
        if let Some(theirs) = self.theirs {
            let mut payload = Vec::new();
            message.write(theirs, &mut payload);
            send(Side::Upstream, payload.into(), out);
        }
    }

    /// False: the host does not read what it is told.
    #[must_use]
    pub fn tell(&mut self, text: &[u8], out: &mut Vec<Effect>) -> bool {
        if self.state == State::Over {
            return true;
        }
        if self.queue.len() + text.len() > MAX_QUEUE {
            return false;
        }
        self.queue.extend_from_slice(text);
        self.pump(out);
        true
    }

    pub fn pump(&mut self, out: &mut Vec<Effect>) {
        loop {
            let n = self.queue.len().min(self.room).min(self.max_packet);
            if n == 0 {
                return;
            }
            let piece = self.queue.split_to(n);
            self.room -= n;
            self.say(ChannelMessage::Data(&piece), out);
        }
    }

    /// Data of the host has come. False: it had no window for it.
    #[must_use]
    pub fn arrived(&mut self, n: usize, out: &mut Vec<Effect>) -> bool {
        let left = u32::try_from(n)
            .ok()
            .and_then(|n| self.window.checked_sub(n));
        let Some(left) = left.filter(|_| n <= MAX_PACKET as usize) else {
            return false;
        };
        self.window = left;
        if left < WINDOW / 2 && self.state != State::Over {
            let bytes = WINDOW - left;
            self.window = WINDOW;
            self.say(ChannelMessage::WindowAdjust { bytes }, out);
        }
        true
    }

    /// bash asks once more when it enters the function that it was just told to call.
    pub fn enters(&mut self, ask: &Ask, now: Instant) -> bool {
        let called = self.calls.remove(&ask.pid);
        // How deep is what the host says: any number.
        called.is_some_and(|(depth, text, until)| {
            now < until && depth.checked_add(1) == Some(ask.depth) && digest(ask) == text
        })
    }

    pub fn called(&mut self, ask: &Ask, now: Instant) {
        if self.calls.len() >= MAX_CALLS {
            self.calls.clear();
        }
        let until = now + ENTERS;
        self.calls.insert(ask.pid, (ask.depth, digest(ask), until));
    }
}

/// What it is, in which directory, and what is open there.
fn digest(ask: &Ask) -> Digest {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    context.update(
        ask.place
            .directory
            .as_deref()
            .unwrap_or_default()
            .as_bytes(),
    );
    context.update(b"\0");
    context.update(&ask.text);
    for file in &ask.place.open {
        context.update(b"\0");
        context.update(file.as_bytes());
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}
