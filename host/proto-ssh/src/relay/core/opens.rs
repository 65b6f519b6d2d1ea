//! The opening of channels, by either side.

use std::time::Instant;

use bytes::Bytes;
use pipeline::OutcomeKind;

use super::back::PartOf;
use super::channel::{Channel, Kind, Parked, State, Wait};
use super::globals::Listening;
use super::{Core, Effect, Key, Pending, Side, Violation, gate, made, send, turn, words};
use crate::action::{Asked, Turned, What, printable};
use crate::wire::numbers::open_failure;
use crate::wire::{Connection, Open, Reader, WireError};

impl Core {
    pub(super) fn open(
        &mut self,
        from: Side,
        open: Open<'_>,
        payload: &Bytes,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        if from == Side::Client && open.sender >= gate::FIRST {
            return Err(Violation::Reserved(from, open.sender, gate::FIRST));
        }
        let long = open.kind.len() + open.data.len() > self.limits.names;
        if let Some(key) = self.by.of(from).get(&open.sender) {
            let channel = self.channels.get_mut(key);
            match channel {
                // The client has closed it; the upstream has not yet, and would not know whom it means.
                Some(left) if from == Side::Client && left.is_left() && left.parked.is_none() => {
                    if !long {
                        self.waiting += payload.len();
                        left.parked = Some(Parked::Open(Bytes::copy_from_slice(payload)));
                        return Ok(());
                    }
                }
                _ => return Err(Violation::InUse(from, open.sender)),
            }
        }
        if long {
            let text = format!("it names what has more than {} bytes", self.limits.names);
            let number = Some(open.sender).filter(|_| from == Side::Client);
            turn(
                Turned::named("channel", open.kind, number, text.as_str()),
                out,
            );
            let reason = open_failure::ADMINISTRATIVELY_PROHIBITED;
            refuse(from, open.sender, reason, &text, out);
            return Ok(());
        }
        if self.channels.len() >= self.limits.channels {
            let text = format!("more than {} channels at a time", self.limits.channels);
            let number = Some(open.sender).filter(|_| from == Side::Client);
            turn(
                Turned::named("channel", open.kind, number, text.as_str()),
                out,
            );
            refuse(
                from,
                open.sender,
                open_failure::RESOURCE_SHORTAGE,
                &text,
                out,
            );
            return Ok(());
        }
        match from {
            Side::Client => self.client_open(open, payload, out),
            Side::Upstream => self.upstream_open(open, payload, out),
        }
    }

    fn client_open(
        &mut self,
        open: Open<'_>,
        payload: &Bytes,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let malformed = |error| Violation::Malformed(Side::Client, error);
        let what = match open.kind {
            b"session" if self.globals.no_more_sessions => {
                let text = "the client has said that it opens no more sessions";
                let number = Some(open.sender);
                turn(Turned::named("channel", open.kind, number, text), out);
                let reason = open_failure::ADMINISTRATIVELY_PROHIBITED;
                refuse(Side::Client, open.sender, reason, text, out);
                return Ok(());
            }
            b"session" => {
                let (_, payload) = self.insert(Side::Client, &open, payload, Kind::Session);
                // A session does nothing by itself.
                out.push(Effect::Send {
                    to: Side::Upstream,
                    payload,
                    record: Some(0),
                });
                return Ok(());
            }
            kind => read(kind, open.data).map_err(malformed)?,
        };
        let Some(what) = what else {
            let text = "channels of this type are not known here";
            let reason = open_failure::UNKNOWN_CHANNEL_TYPE;
            turn(
                Turned::named("channel", open.kind, Some(open.sender), text),
                out,
            );
            refuse(Side::Client, open.sender, reason, text, out);
            return Ok(());
        };
        let (key, payload) = self.insert(Side::Client, &open, payload, Kind::Stream);
        let asked = Asked::alone(what, Some(open.sender));
        let ticket = self.decide(Pending::Open { key }, asked, payload, out);
        if let Some(channel) = self.channels.get_mut(&key) {
            channel.state = State::Deciding;
            channel.wait = Wait::Decision(ticket);
        }
        Ok(())
    }

    /// The upstream opens only what the client was permitted to ask for.
    fn upstream_open(
        &mut self,
        open: Open<'_>,
        payload: &Bytes,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let malformed = |error| Violation::Malformed(Side::Upstream, error);
        let mut r = Reader::new(open.data);
        let part_of = |l: Option<&Listening>| l.map(|l| PartOf::one(l.seq));
        // As part of which action it is recorded.
        let asked_for = match open.kind {
            b"forwarded-tcpip" => {
                let address = r.string().map_err(malformed)?;
                let port = r.u32().map_err(malformed)?;
                r.string().map_err(malformed)?;
                r.u32().map_err(malformed)?;
                let mut all = self.globals.listeners.iter();
                part_of(all.find(|l| l.leads_to(address, port)))
            }
            b"forwarded-streamlocal@openssh.com" => {
                let path = r.string().map_err(malformed)?;
                r.string().map_err(malformed)?;
                let mut all = self.globals.listeners.iter();
                part_of(all.find(|l| l.is_socket(path)))
            }
            b"auth-agent@openssh.com" => self.agent.take(),
            b"x11" => {
                r.string().map_err(malformed)?;
                r.u32().map_err(malformed)?;
                self.x11.take()
            }
            _ => {
                let text = "channels of this type are not known here";
                let reason = open_failure::UNKNOWN_CHANNEL_TYPE;
                turn(
                    Turned::named("channel of the host", open.kind, None, text),
                    out,
                );
                refuse(Side::Upstream, open.sender, reason, text, out);
                return Ok(());
            }
        };
        // Behind that, something could pass without a look.
        r.end().map_err(malformed)?;
        let Some(PartOf { seq, others }) = asked_for else {
            let kind = printable(&String::from_utf8_lossy(open.kind));
            tracing::debug!(%kind, "the host opens a channel that nobody was permitted to ask for");
            let text = "nobody was permitted to ask for it";
            turn(
                Turned::named("channel of the host", open.kind, None, text),
                out,
            );
            let reason = open_failure::ADMINISTRATIVELY_PROHIBITED;
            refuse(Side::Upstream, open.sender, reason, text, out);
            return Ok(());
        };
        let (key, payload) = self.insert(Side::Upstream, &open, payload, Kind::Stream);
        if let Some(channel) = self.channels.get_mut(&key) {
            channel.seq = seq;
        }
        for seq in others {
            let payload = payload.clone();
            out.push(Effect::Record {
                to: Side::Client,
                payload,
                seq,
            });
        }
        out.push(Effect::Send {
            to: Side::Client,
            payload,
            record: Some(seq),
        });
        Ok(())
    }

    /// The channel, and its OPEN as the other side is to see it: of its window no more than may have to wait here.
    fn insert(&mut self, from: Side, open: &Open<'_>, payload: &Bytes, kind: Kind) -> (Key, Bytes) {
        let key = self.key();
        let mut channel = Channel::new(key, kind, from, &self.limits);
        *channel.numbers.of_mut(from) = Some(open.sender);
        let back = channel.flows.of_mut(from.other());
        let window = back.open(open.window, open.max_packet);
        self.by.of_mut(from).insert(open.sender, key);
        self.channels.insert(key, channel);
        // With a session comes nothing (RFC 4254 section 6.1); of everything else all was read.
        let data = match kind {
            Kind::Session => b"",
            Kind::Stream => open.data,
        };
        let payload = match window == open.window && data.len() == open.data.len() {
            true => payload.clone(),
            false => made(&Connection::Open(Open {
                window,
                data,
                ..*open
            })),
        };
        (key, payload)
    }

    pub(super) fn confirmed(
        &mut self,
        from: Side,
        recipient: u32,
        payload: &Bytes,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let key = self.opening(from, recipient)?;
        let Ok(Connection::OpenConfirmation { sender, .. }) = Connection::parse(payload) else {
            return Ok(());
        };
        if from == Side::Client && sender >= gate::FIRST {
            return Err(Violation::Reserved(from, sender, gate::FIRST));
        }
        if let Some(taken) = self.by.of(from).get(&sender).copied() {
            let left = self.channels.get_mut(&taken);
            return match left {
                Some(left) if from == Side::Client && left.is_left() && left.parked.is_none() => {
                    self.waiting += payload.len();
                    let payload = Bytes::copy_from_slice(payload);
                    left.parked = Some(Parked::Confirmation(key, payload));
                    if let Some(channel) = self.channels.get_mut(&key) {
                        channel.state = State::Open;
                        channel.wait = Wait::Number;
                    }
                    Ok(())
                }
                _ => Err(Violation::InUse(from, sender)),
            };
        }
        self.establish(from, key, payload, now, out)
    }

    /// The number that a confirmation of the client waited for is free.
    pub(super) fn unpark(
        &mut self,
        key: Key,
        payload: &Bytes,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        if let Some(channel) = self.channels.get_mut(&key) {
            channel.wait = Wait::Nothing;
        }
        self.establish(Side::Client, key, payload, now, out)
    }

    fn establish(
        &mut self,
        from: Side,
        key: Key,
        payload: &Bytes,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let Ok(Connection::OpenConfirmation {
            recipient,
            sender,
            window,
            max_packet,
            data,
        }) = Connection::parse(payload)
        else {
            return Ok(());
        };
        let Some(channel) = self.channels.get_mut(&key) else {
            return Ok(());
        };
        channel.state = State::Open;
        *channel.numbers.of_mut(from) = Some(sender);
        self.by.of_mut(from).insert(sender, key);
        let told = channel.flows.of_mut(from.other()).open(window, max_packet);
        // No type of channel that is known here has more to say: it would pass without a look.
        let payload = match told == window && data.is_empty() {
            true => payload.clone(),
            false => made(&Connection::OpenConfirmation {
                recipient,
                sender,
                window: told,
                max_packet,
                data: b"",
            }),
        };
        let record = Some(channel.seq);
        out.push(Effect::Send {
            to: from.other(),
            payload,
            record,
        });
        self.resume(key, now, out)
    }

    pub(super) fn failed(
        &mut self,
        from: Side,
        recipient: u32,
        (reason, description): (u32, &[u8]),
        payload: &Bytes,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let key = self.opening(from, recipient)?;
        if let Some(ticket) = self.channels.get_mut(&key).and_then(|c| c.under.take()) {
            out.push(Effect::Outcome {
                ticket,
                kind: OutcomeKind::Failed,
                detail: format!("the host refused it, reason {reason}"),
                bytes: 0,
            });
        }
        let seq = self.channels.get(&key).map(|channel| channel.seq);
        self.remove(key, out);
        let payload = match from {
            Side::Client => payload.clone(),
            Side::Upstream => made(&Connection::OpenFailure {
                recipient,
                reason,
                description: words::why(reason, description),
            }),
        };
        out.push(Effect::Send {
            to: from.other(),
            payload,
            record: seq,
        });
        Ok(())
    }

    /// The channel that `from` answers the opening of.
    fn opening(&self, from: Side, recipient: u32) -> Result<Key, Violation> {
        let wrong = Violation::NotOpening(from, recipient);
        let key = self.by.of(from.other()).get(&recipient);
        let key = *key.ok_or_else(|| wrong.clone())?;
        match self.channels.get(&key) {
            Some(channel)
                if channel.state == State::Opening && channel.opened_by == from.other() =>
            {
                Ok(key)
            }
            _ => Err(wrong),
        }
    }
}

/// OPEN_FAILURE of our own.
pub(super) fn refuse(to: Side, number: u32, reason: u32, text: &str, out: &mut Vec<Effect>) {
    let failure = Connection::OpenFailure {
        recipient: number,
        reason,
        description: text.as_bytes(),
    };
    send(to, made(&failure), out);
}

/// What a channel of this type would do; `None`: nothing that we know.
fn read(kind: &[u8], data: &[u8]) -> Result<Option<What>, WireError> {
    let mut r = Reader::new(data);
    let what = match kind {
        b"direct-tcpip" => {
            let host = Bytes::copy_from_slice(r.string()?);
            let port = r.u32()?;
            r.string()?;
            r.u32()?;
            What::DirectTcp { host, port }
        }
        b"direct-streamlocal@openssh.com" => {
            let path = Bytes::copy_from_slice(r.string()?);
            r.string()?;
            r.u32()?;
            What::DirectSocket { path }
        }
        b"tun@openssh.com" => What::Tunnel {
            mode: r.u32()?,
            unit: r.u32()?,
        },
        _ => return Ok(None),
    };
    r.end()?;
    Ok(Some(what))
}
