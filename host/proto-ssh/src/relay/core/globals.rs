//! Global requests: listeners on the host, keepalives, and what is nobody's business.

use std::collections::VecDeque;

use bytes::Bytes;
use pipeline::OutcomeKind;

use super::replies::Replies;
use super::{Core, Effect, Pair, Pending, Side, Ticket, Violation, made, send, turn};
use crate::action::{Asked, Turned, What};
use crate::wire::{Connection, Reader, WireError, numbers};

/// Where the host listens for the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Listener {
    Tcp { host: Bytes, port: u32 },
    Socket { path: Bytes },
}

/// A listener that was permitted, as the action of this number: what it leads to is recorded as part of that.
#[derive(Debug, Clone)]
pub(super) struct Listening {
    at: Listener,
    pub seq: u64,
}

impl Listening {
    /// Is it this one that the host says a connection came in at? RFC 4254 section 7.2: the address and the port
    /// that were connected to. Of a listener on all addresses that may be any of them, of `localhost` either kind
    /// of loopback; else it is what was asked for.
    pub fn leads_to(&self, address: &[u8], port: u32) -> bool {
        let Listener::Tcp { host, port: of } = &self.at else {
            return false;
        };
        let any: [&[u8]; 4] = [b"", b"*", b"0.0.0.0", b"::"];
        let loopback: [&[u8]; 3] = [b"localhost", b"127.0.0.1", b"::1"];
        let host = host.as_ref();
        let same = host.eq_ignore_ascii_case(address)
            || any.contains(&host)
            || host.eq_ignore_ascii_case(b"localhost") && loopback.contains(&address);
        *of == port && same
    }

    pub fn is_socket(&self, at: &[u8]) -> bool {
        matches!(&self.at, Listener::Socket { path } if path == at)
    }
}

#[derive(Debug)]
pub(super) enum Does {
    Nothing,
    Listen(Listening, Ticket),
    Cancel(Listening),
}

impl Does {
    /// The action that it is a part of.
    fn seq(&self) -> Option<u64> {
        match self {
            Self::Nothing => None,
            Self::Listen(listening, _) | Self::Cancel(listening) => Some(listening.seq),
        }
    }
}

/// A global request as it was read.
#[derive(Clone, Copy)]
pub(super) struct Global<'a> {
    pub name: &'a [u8],
    pub want_reply: bool,
    pub data: &'a [u8],
    /// The bytes that it came in.
    pub payload: &'a Bytes,
}

/// An answer of our own to global requests.
#[derive(Debug, Clone, Copy)]
enum Answer {
    Success,
    /// So many in a row.
    Refusals(u32),
}

/// A global request of the client that waits.
#[derive(Debug)]
enum Waiting {
    Request(Bytes),
    /// So many in a row that want nothing but an answer, which is ours.
    Keepalives(u32),
}

impl Waiting {
    fn len(&self) -> usize {
        match self {
            Self::Request(payload) => payload.len(),
            Self::Keepalives(_) => 0,
        }
    }
}

#[derive(Debug)]
pub(super) struct Globals {
    /// By who asked.
    replies: Pair<Replies<Does, Answer>>,
    /// The client's next ones wait for this decision: their replies have to come behind its own.
    wait: Option<Ticket>,
    waiting: VecDeque<Waiting>,
    /// How many keepalives are among them.
    keepalives: u32,
    pub(super) listeners: Vec<Listening>,
    /// The client has said that it opens no more sessions.
    pub(super) no_more_sessions: bool,
    max: usize,
}

impl Globals {
    pub fn new(max: usize) -> Self {
        Self {
            replies: Pair {
                client: Replies::new(max),
                upstream: Replies::new(max),
            },
            wait: None,
            waiting: VecDeque::new(),
            keepalives: 0,
            listeners: Vec::new(),
            no_more_sessions: false,
            max,
        }
    }

    /// Listeners that there are, or are about to be.
    fn listening(&self) -> usize {
        let asked = self.replies.client.outstanding();
        let asked = asked.filter(|does| matches!(does, Does::Listen(..)));
        self.listeners.len() + asked.count()
    }

    /// Bytes of requests that wait.
    #[cfg(any(test, fuzzing))]
    pub fn waits(&self) -> usize {
        self.waiting.iter().map(Waiting::len).sum()
    }
}

const KEEPALIVE: &[u8] = b"keepalive@openssh.com";
/// Kept here: the host is still to open sessions that are ours, for gates.
const NO_MORE_SESSIONS: &[u8] = b"no-more-sessions@openssh.com";
/// Keepalives that wait for one decision: at one each second, those of 18 hours. Then the decision is not waited for
/// any longer, and they are answered.
const MAX_KEEPALIVES: u32 = 64 << 10;
/// Those that come until then. All of their answers fit into what may wait for a client.
const MOST_KEEPALIVES: u32 = 2 * MAX_KEEPALIVES;
/// SSH_MSG_IGNORE (RFC 4253 section 11.2) with nothing in it: a sign of life.
const IGNORE: &[u8] = &[numbers::IGNORE, 0, 0, 0, 0];
/// A port in a reply.
const PORT: usize = 4;

/// What a global request asks for.
enum Read {
    Pass,
    NoMoreSessions,
    /// Asks for nothing but an answer, of which ours is as good.
    Answer,
    Listen(Listener, What),
    Cancel(Listener),
    Unknown,
}

impl Core {
    pub(super) fn global_request(
        &mut self,
        from: Side,
        request: Global<'_>,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        if from == Side::Client
            && self.globals.wait.is_some()
            && self.keepalive_waits(request, out)?
        {
            return Ok(());
        }
        let payload;
        let mut request = request;
        if request.name.len() + request.data.len() > self.limits.names {
            // Whatever it is, it is refused, in its turn.
            (request.name, request.data) = (b"too-long", b"");
            payload = request.made();
            request.payload = &payload;
        }
        let globals = &mut self.globals;
        let waiting = globals.waiting.iter();
        let waiting = waiting.filter(|w| matches!(w, Waiting::Request(_))).count();
        let crowded =
            globals.replies.of(from).is_full() || from == Side::Client && waiting >= globals.max;
        if crowded {
            return Err(Violation::GlobalRequests(from, globals.max));
        }
        match from {
            Side::Client if globals.wait.is_some() => {
                self.waiting += request.payload.len();
                let payload = Bytes::copy_from_slice(request.payload);
                globals.waiting.push_back(Waiting::Request(payload));
                Ok(())
            }
            Side::Client => self.client_global(request, out),
            Side::Upstream => {
                self.upstream_global(request, out);
                Ok(())
            }
        }
    }

    /// A keepalive while the client's global requests wait for a decision, which may take hours. Its reply has to
    /// stand behind theirs; that somebody is here, the client is told at once. False: it is none.
    fn keepalive_waits(
        &mut self,
        request: Global<'_>,
        out: &mut Vec<Effect>,
    ) -> Result<bool, Violation> {
        let passes = request.name == KEEPALIVE && request.data.is_empty();
        if !passes && !matches!(request.read(), Ok(Read::Answer)) {
            return Ok(false);
        }
        if !request.want_reply {
            if passes {
                send(Side::Upstream, request.payload.clone(), out);
            }
            return Ok(true);
        }
        let globals = &mut self.globals;
        if globals.keepalives >= MOST_KEEPALIVES {
            let most = MOST_KEEPALIVES as usize;
            return Err(Violation::GlobalRequests(Side::Client, most));
        }
        globals.keepalives += 1;
        if globals.keepalives == MAX_KEEPALIVES
            && let Some(ticket) = globals.wait
        {
            out.push(Effect::Cancel { ticket });
        }
        match globals.waiting.back_mut() {
            Some(Waiting::Keepalives(n)) => *n += 1,
            _ => globals.waiting.push_back(Waiting::Keepalives(1)),
        }
        send(Side::Client, Bytes::from_static(IGNORE), out);
        Ok(true)
    }

    fn client_global(
        &mut self,
        request: Global<'_>,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let read = request.read();
        let Global {
            name,
            want_reply,
            payload,
            ..
        } = request;
        match read.map_err(|e| Violation::Malformed(Side::Client, e))? {
            Read::Pass => self.global_forward(payload, want_reply, Does::Nothing, out),
            Read::NoMoreSessions => {
                self.globals.no_more_sessions = true;
                self.global_answer(want_reply, Answer::Success, out);
            }
            Read::Answer => self.global_refuse(want_reply, out),
            Read::Cancel(at) if self.globals.listeners.iter().any(|l| l.at == at) => {
                let found = self.globals.listeners.iter().find(|l| l.at == at).cloned();
                if !want_reply {
                    self.globals.listeners.retain(|l| l.at != at);
                }
                let does = found.map_or(Does::Nothing, Does::Cancel);
                self.global_forward(payload, want_reply, does, out);
            }
            Read::Listen(listener, what) => {
                let asked = Asked::alone(what, None);
                // Without a reply nobody would know which port it is.
                let nameless = matches!(listener, Listener::Tcp { port: 0, .. }) && !want_reply;
                if nameless || self.globals.listening() >= self.limits.listeners {
                    let reason = match nameless {
                        true => "nobody would be told which port it is",
                        false => "too many listeners",
                    };
                    turn(Turned::known(asked, reason), out);
                    self.global_refuse(want_reply, out);
                    return Ok(());
                }
                let pending = Pending::Global {
                    want_reply,
                    listener,
                };
                let ticket = self.decide(pending, asked, payload.clone(), out);
                self.globals.wait = Some(ticket);
            }
            Read::Cancel(_) | Read::Unknown => {
                let reason = "a global request that has no place here";
                turn(Turned::named("global request", name, None, reason), out);
                self.global_refuse(want_reply, out);
            }
        }
        Ok(())
    }

    fn global_forward(
        &mut self,
        payload: &Bytes,
        want_reply: bool,
        does: Does,
        out: &mut Vec<Effect>,
    ) {
        let record = does.seq();
        if want_reply {
            self.globals.replies.client.forwarded(does);
        }
        out.push(Effect::Send {
            to: Side::Upstream,
            payload: payload.clone(),
            record,
        });
    }

    fn global_refuse(&mut self, want_reply: bool, out: &mut Vec<Effect>) {
        self.global_answer(want_reply, Answer::Refusals(1), out);
    }

    fn global_answer(&mut self, want_reply: bool, answer: Answer, out: &mut Vec<Effect>) {
        if want_reply {
            self.globals.replies.client.local(answer);
            self.global_due(Side::Client, out);
        }
    }

    /// A listener was permitted.
    pub(super) fn global_granted(
        &mut self,
        (ticket, seq): (Ticket, u64),
        (listener, want_reply): (Listener, bool),
        forward: &Bytes,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        self.globals.wait = None;
        let listening = Listening { at: listener, seq };
        if !want_reply {
            self.globals.listeners.push(listening.clone());
            out.push(Effect::Outcome {
                ticket,
                kind: OutcomeKind::Done,
                detail: String::new(),
                bytes: 0,
            });
        }
        self.global_forward(forward, want_reply, Does::Listen(listening, ticket), out);
        self.global_resume(out)
    }

    pub(super) fn global_refused(
        &mut self,
        want_reply: bool,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        self.globals.wait = None;
        self.global_refuse(want_reply, out);
        self.global_resume(out)
    }

    fn global_resume(&mut self, out: &mut Vec<Effect>) -> Result<(), Violation> {
        while self.globals.wait.is_none() {
            let Some(waiting) = self.globals.waiting.pop_front() else {
                break;
            };
            self.waiting = self.waiting.saturating_sub(waiting.len());
            match waiting {
                Waiting::Request(payload) => {
                    if let Some(request) = Global::parse(&payload) {
                        self.client_global(request, out)?;
                    }
                }
                Waiting::Keepalives(n) => {
                    self.globals.keepalives = self.globals.keepalives.saturating_sub(n);
                    self.globals.replies.client.local(Answer::Refusals(n));
                    self.global_due(Side::Client, out);
                }
            }
        }
        Ok(())
    }

    /// Records what waits behind a decision, and will not be read.
    pub(super) fn tell_globals(&self, reason: &str, out: &mut Vec<Effect>) {
        for waiting in &self.globals.waiting {
            let Waiting::Request(payload) = waiting else {
                continue;
            };
            let Some(request) = Global::parse(payload) else {
                continue;
            };
            let turned = match request.read() {
                Ok(Read::Pass | Read::Answer | Read::NoMoreSessions | Read::Cancel(_)) => continue,
                Ok(Read::Listen(_, what)) => Turned::known(Asked::alone(what, None), reason),
                Ok(Read::Unknown) | Err(_) => {
                    Turned::named("global request", request.name, None, reason)
                }
            };
            turn(turned, out);
        }
    }

    fn upstream_global(&mut self, request: Global<'_>, out: &mut Vec<Effect>) {
        let replies = &mut self.globals.replies.upstream;
        // The host's keys (hostkeys-00@openssh.com) are not ours to be learnt.
        if request.name == KEEPALIVE && request.data.is_empty() {
            if request.want_reply {
                replies.forwarded(Does::Nothing);
            }
            send(Side::Client, request.payload.clone(), out);
        } else if request.want_reply {
            replies.local(Answer::Refusals(1));
            self.global_due(Side::Upstream, out);
        }
    }

    pub(super) fn global_reply(
        &mut self,
        from: Side,
        payload: &Bytes,
        success: Option<&[u8]>,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let asker = from.other();
        let does = self.globals.replies.of_mut(asker).answered();
        let does = does.ok_or(Violation::NoGlobalRequest(from))?;
        let record = does.seq();
        // In what means nothing, something could pass without a decision.
        let mut passed: &[u8] = b"";
        match (does, success) {
            (Does::Listen(listening, ticket), success) => {
                let mut detail = String::new();
                let kind = match success {
                    Some(_) => OutcomeKind::Done,
                    None => OutcomeKind::Failed,
                };
                if let Some(data) = success {
                    if matches!(listening.at, Listener::Tcp { port: 0, .. }) {
                        passed = data.get(..PORT).unwrap_or_default();
                    }
                    let at =
                        bound(listening.at, data).map_err(|e| Violation::Malformed(from, e))?;
                    if let Listener::Tcp { port, .. } = &at {
                        detail = format!("port {port}");
                    }
                    let seq = listening.seq;
                    self.globals.listeners.push(Listening { at, seq });
                }
                out.push(Effect::Outcome {
                    ticket,
                    kind,
                    detail,
                    bytes: 0,
                });
            }
            (Does::Cancel(listening), Some(_)) => {
                self.globals.listeners.retain(|l| l.at != listening.at);
            }
            (Does::Cancel(_) | Does::Nothing, _) => {}
        }
        let payload = match success {
            Some(data) if data != passed => made(&Connection::RequestSuccess { data: passed }),
            _ => payload.clone(),
        };
        out.push(Effect::Send {
            to: asker,
            payload,
            record,
        });
        self.global_due(asker, out);
        Ok(())
    }

    fn global_due(&mut self, asker: Side, out: &mut Vec<Effect>) {
        while let Some(answer) = self.globals.replies.of_mut(asker).due() {
            match answer {
                Answer::Success => {
                    send(asker, made(&Connection::RequestSuccess { data: b"" }), out);
                }
                Answer::Refusals(n) => {
                    for _ in 0..n {
                        send(asker, made(&Connection::RequestFailure), out);
                    }
                }
            }
        }
    }
}

/// Port 0 lets the host choose, and its reply names what it chose (RFC 4254 section 7.1).
fn bound(listener: Listener, data: &[u8]) -> Result<Listener, WireError> {
    match listener {
        Listener::Tcp { host, port: 0 } => Ok(Listener::Tcp {
            host,
            port: Reader::new(data).u32()?,
        }),
        listener => Ok(listener),
    }
}

impl<'a> Global<'a> {
    /// One that waited: it was read when it came.
    fn parse(payload: &'a Bytes) -> Option<Self> {
        match Connection::parse(payload) {
            Ok(Connection::GlobalRequest {
                name,
                want_reply,
                data,
            }) => Some(Self {
                name,
                want_reply,
                data,
                payload,
            }),
            _ => None,
        }
    }

    fn made(&self) -> Bytes {
        made(&Connection::GlobalRequest {
            name: self.name,
            want_reply: self.want_reply,
            data: self.data,
        })
    }

    /// What it asks for.
    fn read(&self) -> Result<Read, WireError> {
        read(self.name, self.data)
    }
}

fn read(name: &[u8], data: &[u8]) -> Result<Read, WireError> {
    let mut r = Reader::new(data);
    let tcp = |r: &mut Reader<'_>| -> Result<(Bytes, u32), WireError> {
        Ok((Bytes::copy_from_slice(r.string()?), r.u32()?))
    };
    let read = match name {
        // With anything in it, it would be a way past decisions and record.
        KEEPALIVE if data.is_empty() => return Ok(Read::Pass),
        NO_MORE_SESSIONS if data.is_empty() => return Ok(Read::NoMoreSessions),
        KEEPALIVE | NO_MORE_SESSIONS => return Ok(Read::Unknown),
        // Of other clients: `keepalive@lag.net`, `keepalive@libssh2.org`, `keep-alive@bitvise.com`.
        name if name.starts_with(b"keepalive@") || name.starts_with(b"keep-alive@") => {
            return Ok(Read::Answer);
        }
        b"tcpip-forward" => {
            let (host, port) = tcp(&mut r)?;
            let what = What::ListenTcp {
                host: host.clone(),
                port,
            };
            Read::Listen(Listener::Tcp { host, port }, what)
        }
        b"cancel-tcpip-forward" => {
            let (host, port) = tcp(&mut r)?;
            Read::Cancel(Listener::Tcp { host, port })
        }
        b"streamlocal-forward@openssh.com" => {
            let path = Bytes::copy_from_slice(r.string()?);
            let what = What::ListenSocket { path: path.clone() };
            Read::Listen(Listener::Socket { path }, what)
        }
        b"cancel-streamlocal-forward@openssh.com" => {
            let path = Bytes::copy_from_slice(r.string()?);
            Read::Cancel(Listener::Socket { path })
        }
        _ => return Ok(Read::Unknown),
    };
    r.end()?;
    Ok(read)
}
