//! Channel requests: which are decided on, which pass, and which are answered here.

use std::borrow::Cow;
use std::time::Instant;

use bytes::Bytes;

use super::channel::{Channel, Kind, Sent, Wait};
use super::flow::Out;
use super::words::exit;
use super::{Core, Effect, Key, Pending, Side, Violation, turn};
use crate::action::{Before, Turned, What};
use crate::wire::{ChannelMessage, Reader, Request, WireError};

/// Modes of terminals.
const XCASE: u8 = 52;
const OLCUC: u8 = 71;
const TOO_MANY: &str = "too many variables, or too large";

/// What a forwarded request does when it succeeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asks {
    /// Nothing that matters here.
    Nothing,
    /// env, pty-req.
    Setting,
    /// exec, shell, subsystem.
    Start {
        /// The client was told that it has started.
        answered: bool,
    },
    /// `seq`: the number of the action, once it is permitted.
    Agent {
        seq: u64,
    },
    X11 {
        single: bool,
        seq: u64,
    },
}

impl Asks {
    /// What is asked for is permitted, as the action of this number.
    pub fn permitted(self, seq: u64) -> Self {
        match self {
            Self::Agent { .. } => Self::Agent { seq },
            Self::X11 { single, .. } => Self::X11 { single, seq },
            other @ (Self::Nothing | Self::Setting | Self::Start { .. }) => other,
        }
    }
}

/// What a request sets for what is started on its channel later.
#[derive(Debug)]
pub(super) enum Sets {
    Env(Bytes, Bytes),
    Pty(Bytes),
}

/// An answer of our own.
#[derive(Debug)]
pub(super) enum Answer {
    Success,
    Failure,
    /// As if the program had been started and had failed, which is what clients show to people.
    Refusal {
        want_reply: bool,
        reason: String,
        lines: Vec<String>,
    },
}

const START: Asks = Asks::Start { answered: false };

/// Requests of the client that only say what it does anyway.
const PASS: [&[u8]; 5] = [b"window-change", b"signal", b"break", EOW, KEEPALIVE];
/// That nobody reads any more what a program writes.
const EOW: &[u8] = b"eow@openssh.com";
const KEEPALIVE: &[u8] = b"keepalive@openssh.com";
/// What asks for nothing but an answer: PuTTY measures its window by that, and a refusal is what it expects.
const MEANINGLESS: [&[u8]; 2] = [
    b"winadj@putty.projects.tartarus.org",
    b"simple@putty.projects.tartarus.org",
];
/// Those of the upstream.
const PASS_BACK: [&[u8]; 3] = [b"xon-xoff", EOW, KEEPALIVE];

/// Words about the end of a program, with all that stands around them.
const MAX_EXIT: usize = 4 << 10;

/// How much can be in one of these.
fn longest(name: &[u8]) -> usize {
    match name {
        EOW | KEEPALIVE => 0,
        b"xon-xoff" => 1,
        // A few numbers, or a name.
        _ => 1 << 10,
    }
}

impl Core {
    pub(super) fn client_request(
        &mut self,
        key: Key,
        request: Request<'_>,
        payload: &Bytes,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let Some(channel) = self.channels.get_mut(&key) else {
            return Ok(());
        };
        if channel.refused.is_some() {
            // It is told of the end; nothing is answered behind that.
            turn_request(channel, &request, "its channel was refused before", out);
            return Ok(());
        }
        channel.has_room_for_request(Side::Client, self.limits.requests)?;
        if request.name == b"signal" && self.gates.has(key) && !ends_all(&request) {
            let (name, number) = (request.name, channel.number(Side::Client));
            let reason = "a gated shell gets no other signal than INT, HUP and KILL";
            turn(
                Turned::named("channel request", name, Some(number), reason),
                out,
            );
            return self.refuse_request(key, request.want_reply, out);
        }
        if PASS.contains(&request.name) {
            let queued = channel.flows.client.queue.len();
            if queued >= self.limits.requests {
                let (number, max) = (channel.number(Side::Upstream), self.limits.requests);
                return Err(Violation::Requests(Side::Client, number, max));
            }
            if request.name == EOW && !self.openssh.upstream {
                return self.refuse_request(key, request.want_reply, out);
            }
            if request.data.len() > longest(request.name) {
                let (name, number) = (request.name, channel.number(Side::Client));
                let reason = "a channel request with more in it than it can have";
                turn(
                    Turned::named("channel request", name, Some(number), reason),
                    out,
                );
                return self.refuse_request(key, request.want_reply, out);
            }
            if request.want_reply {
                channel.replies.client.forwarded(Sent {
                    ticket: None,
                    asks: Asks::Nothing,
                });
            }
            if request.name == b"window-change"
                && let Ok(columns) = Reader::new(request.data).u32()
            {
                // Whatever is started later is shown on this.
                channel.before.resized = Some(columns);
                if let Some(tap) = &mut channel.tap {
                    tap.resize(columns);
                }
            }
            channel.in_order(Side::Client, Out::Message(payload.clone()), out);
            return Ok(());
        }
        // A channel starts one program (RFC 4254 section 6.5), and what comes after is not for it.
        let read = match channel.kind {
            Kind::Session if !channel.started && request.name == b"exec" => {
                return self.exec_request(key, request, payload, now, out);
            }
            Kind::Session if !channel.started => {
                read(&request).map_err(|error| Violation::Malformed(Side::Client, error))?
            }
            Kind::Session | Kind::Stream => None,
        };
        let Some((what, asks)) = read else {
            if !MEANINGLESS.contains(&request.name) {
                let reason = "a channel request that has no place here";
                match self::read(&request) {
                    Ok(Some((what, _))) => {
                        turn(Turned::known(channel.asked_alone(what), reason), out);
                    }
                    _ => turn_request(channel, &request, reason, out),
                }
            }
            return self.refuse_request(key, request.want_reply, out);
        };
        if let Some(reason) = unfit_what(&what, &self.limits) {
            let asked = match asks {
                Asks::Start { .. } => channel.asked(what),
                _ => channel.asked_alone(what),
            };
            turn(Turned::known(asked, reason.clone()), out);
            return match asks {
                Asks::Start { .. } => {
                    self.refuse_start(key, request.want_reply, &reason, None, now, out)
                }
                _ => self.refuse_request(key, request.want_reply, out),
            };
        }
        if !has_room(&channel.before, &what, &self.limits) {
            turn(Turned::known(channel.asked_alone(what), TOO_MANY), out);
            return self.refuse_request(key, request.want_reply, out);
        }
        let forward = match what {
            What::Pty { .. } => in_both_cases(payload, &request),
            _ => payload.clone(),
        };
        self.ask_request(key, (what, asks), request.want_reply, &forward, out);
        Ok(())
    }

    /// The client's messages on this channel wait for what is decided.
    pub(super) fn ask_request(
        &mut self,
        key: Key,
        (what, asks): (What, Asks),
        want_reply: bool,
        forward: &Bytes,
        out: &mut Vec<Effect>,
    ) {
        let Some(channel) = self.channels.get_mut(&key) else {
            return;
        };
        let asked = channel.asked(what);
        channel.started |= matches!(asks, Asks::Start { .. });
        let sets = match &asked.what {
            What::Env { name, value } => Some(Sets::Env(name.clone(), value.clone())),
            What::Pty { whole, .. } => Some(Sets::Pty(whole.clone())),
            _ => None,
        };
        let pending = Pending::Request {
            key,
            want_reply,
            asks,
            sets,
        };
        let ticket = self.decide(pending, asked, forward.clone(), out);
        if let Some(channel) = self.channels.get_mut(&key) {
            channel.wait = Wait::Decision(ticket);
        }
    }

    /// The turn has come of a request that was longer than what is kept of one.
    pub(super) fn too_long(
        &mut self,
        key: Key,
        name: &[u8],
        want_reply: bool,
        bytes: usize,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let Some(channel) = self.channels.get_mut(&key) else {
            return Ok(());
        };
        if channel.refused.is_some() {
            return Ok(());
        }
        channel.has_room_for_request(Side::Client, self.limits.requests)?;
        let max = self.limits.command;
        let reason = format!("the request has {bytes} bytes, at most {max} of it are read");
        let number = Some(channel.number(Side::Client));
        turn(
            Turned::named("channel request", name, number, reason.as_str()),
            out,
        );
        let starts = matches!(name, b"exec" | b"shell" | b"subsystem");
        if !starts || channel.started || channel.kind != Kind::Session {
            return self.refuse_request(key, want_reply, out);
        }
        self.refuse_start(key, want_reply, &reason, None, now, out)
    }

    /// FAILURE, when its turn has come.
    pub(super) fn refuse_request(
        &mut self,
        key: Key,
        want_reply: bool,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        if want_reply && let Some(channel) = self.channels.get_mut(&key) {
            channel.replies.client.local(Answer::Failure);
            channel.answer_due(Side::Client, out);
        }
        Ok(())
    }

    /// What was to be started is not: the client sees it end.
    pub(super) fn refuse_start(
        &mut self,
        key: Key,
        want_reply: bool,
        reason: &str,
        hint: Option<&str>,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let Some(channel) = self.channels.get_mut(&key) else {
            return Ok(());
        };
        channel.refuse(reason);
        let mut lines = vec![format!("weir: refused: {reason}")];
        lines.extend(hint.map(|hint| format!("weir: {hint}")));
        channel.replies.client.local(Answer::Refusal {
            want_reply,
            reason: reason.to_owned(),
            lines,
        });
        channel.answer_due(Side::Client, out);
        self.forget_waiting(key, out);
        self.reap(key, now, out)
    }

    /// A request that was permitted has its effect.
    pub(super) fn take_effect(&mut self, key: Key, asks: &Asks) {
        match *asks {
            Asks::Agent { seq } => self.agent.put(key, seq, false),
            Asks::X11 { single, seq } => self.x11.put(key, seq, single),
            Asks::Nothing | Asks::Setting | Asks::Start { .. } => {}
        }
    }

    pub(super) fn upstream_request(
        &mut self,
        key: Key,
        request: Request<'_>,
        payload: &Bytes,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let Some(channel) = self.channels.get_mut(&key) else {
            return Ok(());
        };
        channel.has_room_for_request(Side::Upstream, self.limits.requests)?;
        let ends = matches!(request.name, b"exit-status" | b"exit-signal");
        // Nothing ends where nothing was started, nor twice, and a signal comes with words: what waits for plugins
        // would have more and more of these behind it.
        let ended = ends
            && channel.kind == Kind::Session
            && channel.under.is_some()
            && channel.exit.is_none()
            && request.data.len() <= MAX_EXIT;
        let back = PASS_BACK.contains(&request.name) && request.data.len() <= longest(request.name);
        let known = ended || back && (request.name != EOW || self.openssh.client);
        if !known || channel.refused.is_some() || channel.flows.upstream.close_sent {
            if request.want_reply {
                channel.replies.upstream.local(Answer::Failure);
                channel.answer_due(Side::Upstream, out);
            }
            return Ok(());
        }
        if request.want_reply {
            channel.replies.upstream.forwarded(Sent {
                ticket: None,
                asks: Asks::Nothing,
            });
        }
        if !ends {
            // Nothing that these are about stands in the data, which may wait for the client's window.
            channel.send(Side::Client, payload.clone(), out);
            return Ok(());
        }
        let exit = exit(&request).map_err(|error| Violation::Malformed(Side::Upstream, error))?;
        channel.exit = Some((exit.kind, exit.detail));
        let payload = match exit.told {
            Cow::Borrowed(_) => payload.clone(),
            Cow::Owned(data) => {
                let told = Request {
                    data: &data,
                    ..request
                };
                channel.made(Side::Client, ChannelMessage::Request(told))
            }
        };
        let flushed = channel.flush(Side::Upstream, now, out);
        channel.in_order(Side::Upstream, Out::Message(payload), out);
        if let Err(error) = flushed {
            channel.end(&error.0, &[], out);
        }
        Ok(())
    }
}

/// bash gets it as well as what it has started, such as who asks about a line, and does not go on with that line. The
/// host gives signals to all of them, and of some bash takes no notice.
fn ends_all(request: &Request<'_>) -> bool {
    matches!(
        Reader::new(request.data).string(),
        Ok(b"INT" | b"HUP" | b"KILL")
    )
}

/// Records a variable for which there is no room.
pub(super) fn turn_variable(channel: &Channel, request: &Request<'_>, out: &mut Vec<Effect>) {
    if let Ok(Some((what, _))) = read(request) {
        turn(Turned::known(channel.asked_alone(what), TOO_MANY), out);
    }
}

/// Records a request that is not read any more: not what would only have set something for a program, or asks for
/// nothing.
pub(super) fn turn_request(
    channel: &Channel,
    request: &Request<'_>,
    reason: &str,
    out: &mut Vec<Effect>,
) {
    let name = request.name;
    let number = Some(channel.number(Side::Client));
    let turned = match read(request) {
        _ if PASS.contains(&name) || MEANINGLESS.contains(&name) => return,
        Ok(Some((_, Asks::Setting))) => return,
        Ok(Some((what, Asks::Start { .. }))) => Turned::known(channel.asked(what), reason),
        Ok(Some((what, _))) => Turned::known(channel.asked_alone(what), reason),
        Ok(None) | Err(_) if name == b"exec" => {
            // What is no text is on record as it came.
            let command = Reader::new(request.data).string().unwrap_or(request.data);
            Turned::named("command", command, number, reason)
        }
        Ok(None) | Err(_) => Turned::named("channel request", name, number, reason),
    };
    turn(turned, out);
}

/// What a request of the client asks for; `None`: nothing that we know.
fn read(request: &Request<'_>) -> Result<Option<(What, Asks)>, WireError> {
    let mut r = Reader::new(request.data);
    let own = |r: &mut Reader<'_>| -> Result<Bytes, WireError> {
        let text = r.string()?;
        // The payload may be a large packet of which only a name is kept.
        Ok(Bytes::copy_from_slice(text))
    };
    let (what, asks) = match request.name {
        b"shell" => (What::Shell { gated: false }, START),
        b"subsystem" => {
            let name = own(&mut r)?;
            (What::Subsystem { name }, START)
        }
        b"env" => {
            let (name, value) = (own(&mut r)?, own(&mut r)?);
            (What::Env { name, value }, Asks::Setting)
        }
        b"pty-req" => {
            let whole = Bytes::copy_from_slice(request.data);
            let term = own(&mut r)?;
            for _ in 0..4 {
                r.u32()?;
            }
            r.string()?;
            (What::Pty { term, whole }, Asks::Setting)
        }
        b"auth-agent-req@openssh.com" => (What::Agent, Asks::Agent { seq: 0 }),
        b"x11-req" => {
            let single = r.bool()?;
            r.string()?;
            r.string()?;
            r.u32()?;
            (What::X11, Asks::X11 { single, seq: 0 })
        }
        _ => return Ok(None),
    };
    r.end()?;
    Ok(Some((what, asks)))
}

/// Of variables a channel bears so many and no more.
fn has_room(before: &Before, what: &What, limits: &super::Limits) -> bool {
    let What::Env { name, value } = what else {
        return true;
    };
    let bytes: usize = before.env.iter().map(|(n, v)| n.len() + v.len()).sum();
    before.env.len() < limits.env && bytes + name.len() + value.len() <= limits.env_bytes
}

/// The request for a terminal without the modes in which a host writes all letters as capitals: secrets would no longer be
/// what masks look for.
fn in_both_cases(payload: &Bytes, request: &Request<'_>) -> Bytes {
    let mut forward = payload.to_vec();
    let mut r = Reader::new(request.data);
    let term = r.string().map_or(0, <[u8]>::len);
    // Four numbers, and the lengths of the two strings.
    let from = payload.len() - request.data.len() + term + 24;
    let (modes, _) = forward
        .get_mut(from..)
        .unwrap_or_default()
        .as_chunks_mut::<5>();
    // RFC 4254 section 8: what ends them, or is of another kind, is no mode.
    let modes = modes
        .iter_mut()
        .take_while(|[mode, ..]| (1..160).contains(mode));
    for [mode, value @ ..] in modes {
        if [OLCUC, XCASE].contains(mode) {
            *value = [0; 4];
        }
    }
    forward.into()
}

/// What is refused before policy is asked: it could not be shown to people as what it is.
fn unfit_what(what: &What, limits: &super::Limits) -> Option<String> {
    if let What::Pty { whole, .. } = what
        && whole.len() > limits.names
    {
        return Some(format!(
            "the request for a terminal has more than {} bytes",
            limits.names
        ));
    }
    let (text, name) = match what {
        What::Subsystem { name } => (name, "the name of the subsystem"),
        What::Pty { term, .. } => (term, "the name of the terminal"),
        What::Env { name, value } => {
            let names = !name.is_empty() && !name.contains(&b'=') && !name.contains(&0);
            if !names || value.contains(&0) {
                return Some("a variable of the environment holds NUL, or its name is none".into());
            }
            return None;
        }
        _ => return None,
    };
    unfit(text, name, limits)
}

pub(super) fn unfit(text: &[u8], name: &str, limits: &super::Limits) -> Option<String> {
    if text.len() > limits.command {
        return Some(format!(
            "{name} has {} bytes, at most {} are read",
            text.len(),
            limits.command
        ));
    }
    if text.contains(&0) {
        return Some(format!("{name} holds a NUL byte"));
    }
    // A carriage return that ends no line hides text from whoever reads it on a terminal.
    let bare = |at: usize, b: &u8| *b == b'\r' && text.get(at + 1) != Some(&b'\n');
    if text.iter().enumerate().any(|(at, b)| bare(at, b)) {
        return Some(format!("{name} holds a bare carriage return"));
    }
    None
}
