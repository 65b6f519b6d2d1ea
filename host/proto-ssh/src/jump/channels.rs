//! The connection protocol (RFC 4254) for a client that has no session: everything is refused, but channels to
//! port 22 of a target, which become streams for connections inside this one. Pure: messages in and out.

use std::collections::BTreeMap;
use std::sync::Arc;

use pipeline::Action;
use tokio::sync::Notify;

use super::stream::{ChannelEnd, ChannelStream, pair};
use crate::action::readable;
use crate::config::is_name;
use crate::wire::numbers::{self as n, open_failure};
use crate::wire::{ChannelMessage, Connection, Open, Reader, Request, WireError};

const NOTHING_ELSE: &str = "this is a jump host for SSH to its targets, and forwards nothing else";

/// Requests of this make want nothing but an answer.
const PUTTY: &[u8] = b"@putty.projects.tartarus.org";

/// What a client may send in one packet on such a channel: as in OpenSSH.
const MAX_PACKET: u32 = 32 << 10;
/// RFC 4254 section 5.2.
const MAX_WINDOW: u64 = u32::MAX as u64;

/// A client broke the protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Violation {
    #[error(transparent)]
    Layout(#[from] WireError),
    #[error("there is no channel {0}")]
    NoChannel(u32),
    #[error("more data than the window of channel {0} permits")]
    Window(u32),
    #[error("the window of channel {0} grew beyond 2^32-1")]
    Overflow(u32),
    #[error("data on channel {0} after its end")]
    AfterEof(u32),
    #[error("message {0} has no place here")]
    Unexpected(u8),
}

/// A connection that wants to run inside this one.
pub(super) struct Jump {
    pub host: String,
    pub port: u16,
    pub stream: ChannelStream,
}

/// Something that was asked for and refused, for the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    pub action: Action,
    /// What it was, cut off and readable.
    pub what: String,
    pub reason: &'static str,
}

/// Of what somebody asks for, the record keeps this much.
const MAX_SAID: usize = 256;

impl Refused {
    pub(super) fn new(action: Action, what: &str, name: &[u8], reason: &'static str) -> Self {
        let name = name.get(..MAX_SAID).unwrap_or(name);
        Self {
            action,
            what: format!("{what} {}", readable(name)),
            reason,
        }
    }
}

/// What a client is told that wants anything else.
pub(super) struct Refusing {
    pub reason: u32,
    pub text: String,
}

/// The rules that do not change.
pub(super) struct Rules {
    pub refusing: Refusing,
    /// Ports that lead to a target; none where there is no jumping.
    pub ports: Vec<u16>,
    pub max_channels: usize,
    pub window: u32,
}

struct Channel {
    /// Its number on the client's side.
    peer: u32,
    end: ChannelEnd,
    /// What the client may still send.
    window: u32,
    eof: bool,
    /// What it takes from us.
    peer_window: u32,
    peer_max: u32,
    closed: bool,
}

/// All channels of a client.
pub(super) struct Channels {
    rules: Rules,
    open: BTreeMap<u32, Channel>,
    progress: Arc<Notify>,
    /// A channel was asked for where none could be, and refused: the client reads that, and goes.
    pub turned_away: bool,
    /// A session was among them.
    pub no_session: bool,
    /// What else the last message asked for, and was refused.
    pub refused: Option<Refused>,
}

type Out = Vec<Vec<u8>>;

fn put(out: &mut Out, message: &Connection<'_>) {
    let mut bytes = Vec::new();
    message.write(&mut bytes);
    out.push(bytes);
}

impl Channels {
    pub fn new(rules: Rules, progress: Arc<Notify>) -> Self {
        Self {
            rules,
            open: BTreeMap::new(),
            progress,
            turned_away: false,
            no_session: false,
            refused: None,
        }
    }

    /// So many there are at most, and no client has more window than it was given.
    #[cfg(fuzzing)]
    pub fn check(&self) {
        assert!(self.open.len() <= self.rules.max_channels);
        let mut windows = self.open.values().map(|channel| channel.window);
        assert!(windows.all(|window| window <= self.rules.window));
    }

    /// Nothing goes on: there is no channel, or what ran over each of them has ended. Whether the client closes
    /// its side then is up to the client.
    pub fn is_idle(&self) -> bool {
        self.open.values().all(|channel| channel.closed)
    }

    pub fn receive(&mut self, payload: &[u8], out: &mut Out) -> Result<Option<Jump>, Violation> {
        match payload.first() {
            // RFC 4252 section 5.1: requests after a success are not answered.
            Some(50..n::GLOBAL_REQUEST) => return Ok(None),
            Some(number) if *number < n::GLOBAL_REQUEST => {
                return Err(Violation::Unexpected(*number));
            }
            _ => {}
        }
        match Connection::parse(payload)? {
            Connection::GlobalRequest {
                name, want_reply, ..
            } => {
                if !asks_for_nothing(name) {
                    let action = Action::SshForwardRemote;
                    let refused = Refused::new(action, "global request", name, NOTHING_ELSE);
                    self.refused = Some(refused);
                }
                if want_reply {
                    put(out, &Connection::RequestFailure);
                }
                Ok(None)
            }
            Connection::Open(open) => Ok(self.asked(&open, out)),
            Connection::Channel { recipient, message } => {
                self.message(recipient, message, out)?;
                Ok(None)
            }
            // We ask for nothing, so there is nothing to answer.
            _ => Err(Violation::Unexpected(
                payload.first().copied().unwrap_or_default(),
            )),
        }
    }

    fn asked(&mut self, open: &Open<'_>, out: &mut Out) -> Option<Jump> {
        let refuse = |reason, text: &str, out: &mut Out| {
            let message = Connection::OpenFailure {
                recipient: open.sender,
                reason,
                description: text.as_bytes(),
            };
            put(out, &message);
        };
        if open.kind != b"direct-tcpip" || self.rules.ports.is_empty() {
            self.turned_away = true;
            let first = open.kind == b"session" && !std::mem::replace(&mut self.no_session, true);
            // The first session that is refused is on record with what was to be the target.
            if !first {
                let action = match open.kind {
                    b"session" => Action::SshConnect,
                    _ => Action::SshForwardLocal,
                };
                let reason = "there is no session for it";
                self.refused = Some(Refused::new(action, "channel", open.kind, reason));
            }
            let Refusing { reason, text } = &self.rules.refusing;
            refuse(*reason, text, out);
            return None;
        }
        let Some((host, port)) = endpoint(open.data).filter(|(_, p)| self.rules.ports.contains(p))
        else {
            let text = NOTHING_ELSE;
            let (host, port) = to(open.data);
            let action = Action::SshForwardLocal;
            let mut refused = Refused::new(action, "connect to", host, text);
            refused.what.push_str(&format!(":{port}"));
            self.refused = Some(refused);
            refuse(open_failure::ADMINISTRATIVELY_PROHIBITED, text, out);
            return None;
        };
        let number = (0..).find(|number| !self.open.contains_key(number));
        let Some(number) = number.filter(|_| self.open.len() < self.rules.max_channels) else {
            let text = "too many connections through this one";
            let action = Action::SshConnect;
            self.refused = Some(Refused::new(action, "jump to", host.as_bytes(), text));
            refuse(open_failure::RESOURCE_SHORTAGE, text, out);
            return None;
        };
        let (end, stream) = pair(self.progress.clone());
        self.open.insert(
            number,
            Channel {
                peer: open.sender,
                end,
                window: self.rules.window,
                eof: false,
                peer_window: open.window,
                peer_max: open.max_packet,
                closed: false,
            },
        );
        put(
            out,
            &Connection::OpenConfirmation {
                recipient: open.sender,
                sender: number,
                window: self.rules.window,
                max_packet: MAX_PACKET,
                data: b"",
            },
        );
        Some(Jump { host, port, stream })
    }

    fn message(
        &mut self,
        recipient: u32,
        message: ChannelMessage<'_>,
        out: &mut Out,
    ) -> Result<(), Violation> {
        let channel = self.open.get_mut(&recipient);
        let channel = channel.ok_or(Violation::NoChannel(recipient))?;
        match message {
            ChannelMessage::Data(data) => {
                if channel.eof {
                    return Err(Violation::AfterEof(recipient));
                }
                let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
                let fits = channel
                    .window
                    .checked_sub(len)
                    .filter(|_| len <= MAX_PACKET);
                channel.window = fits.ok_or(Violation::Window(recipient))?;
                channel.end.push(data);
            }
            ChannelMessage::WindowAdjust { bytes } => {
                let sum = u64::from(channel.peer_window) + u64::from(bytes);
                if sum > MAX_WINDOW {
                    return Err(Violation::Overflow(recipient));
                }
                channel.peer_window = channel.peer_window.saturating_add(bytes);
            }
            ChannelMessage::Eof => {
                channel.eof = true;
                channel.end.end();
            }
            ChannelMessage::Close => {
                if !channel.closed {
                    put(out, &closing(channel.peer));
                }
                self.open.remove(&recipient);
            }
            ChannelMessage::Request(Request {
                name, want_reply, ..
            }) => {
                if !asks_for_nothing(name) {
                    let action = Action::SshForwardLocal;
                    let reason = "a channel request that has no place here";
                    self.refused = Some(Refused::new(action, "channel request", name, reason));
                }
                if want_reply && !channel.closed {
                    let message = Connection::Channel {
                        recipient: channel.peer,
                        message: ChannelMessage::Failure,
                    };
                    put(out, &message);
                }
            }
            ChannelMessage::ExtendedData { .. } => {
                return Err(Violation::Unexpected(n::CHANNEL_EXTENDED_DATA));
            }
            ChannelMessage::Success => return Err(Violation::Unexpected(n::CHANNEL_SUCCESS)),
            ChannelMessage::Failure => return Err(Violation::Unexpected(n::CHANNEL_FAILURE)),
        }
        Ok(())
    }

    /// What the streams have taken and given, as messages; of data about `budget` bytes at most.
    pub fn pump(&mut self, mut budget: usize, out: &mut Out) {
        for channel in self.open.values_mut().filter(|c| !c.closed) {
            let bytes = channel.end.credit(self.rules.window);
            if bytes > 0 && !channel.eof {
                channel.window = channel.window.saturating_add(bytes);
                let message = Connection::Channel {
                    recipient: channel.peer,
                    message: ChannelMessage::WindowAdjust { bytes },
                };
                put(out, &message);
            }
            loop {
                let most = channel.peer_window.min(channel.peer_max).min(MAX_PACKET);
                let most = budget.min(most as usize);
                let Some(data) = channel.end.pull(most) else {
                    break;
                };
                budget -= data.len();
                channel.peer_window -= u32::try_from(data.len()).unwrap_or(channel.peer_window);
                let message = Connection::Channel {
                    recipient: channel.peer,
                    message: ChannelMessage::Data(&data),
                };
                put(out, &message);
            }
            if channel.end.is_over() {
                let message = Connection::Channel {
                    recipient: channel.peer,
                    message: ChannelMessage::Eof,
                };
                put(out, &message);
                put(out, &closing(channel.peer));
                channel.closed = true;
            }
        }
    }
}

/// Signs of life, what PuTTY measures windows by, and that no session will be asked for.
fn asks_for_nothing(name: &[u8]) -> bool {
    let life = name.starts_with(b"keepalive@") || name.starts_with(b"keep-alive@");
    life || name == b"no-more-sessions@openssh.com" || name.ends_with(PUTTY)
}

/// Where a connection was to go, as far as that can be read.
fn to(data: &[u8]) -> (&[u8], u32) {
    let mut r = Reader::new(data);
    let host = r.string().unwrap_or_default();
    (host, r.u32().unwrap_or_default())
}

fn closing(peer: u32) -> Connection<'static> {
    Connection::Channel {
        recipient: peer,
        message: ChannelMessage::Close,
    }
}

/// Host and port of a `direct-tcpip` (RFC 4254 section 7.2). None: it is not laid out so, or the host is no name.
fn endpoint(data: &[u8]) -> Option<(String, u16)> {
    let mut r = Reader::new(data);
    let host = std::str::from_utf8(r.string().ok()?).ok()?;
    let port = u16::try_from(r.u32().ok()?).ok()?;
    let _origin = r.string().ok()?;
    let _port = r.u32().ok()?;
    r.end().ok()?;
    is_name(host).then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests;
