//! A client and a host that say anything, in any order, while decisions come at any time and in any order.
//!
//! What has to hold whatever they do: the core's own account of bytes and windows; the host gets of what needs a
//! decision only what was permitted, each once; and after CLOSE a side hears nothing more on that channel.

use std::collections::HashSet;

use super::gate::FIRST;
use super::*;
use crate::action::What;
use crate::fuzzing::Script;
use crate::wire::numbers::{self as n, open_failure};
use crate::wire::{ChannelMessage, Open, Put, Request};

/// Steps of a script: more of them find nothing new.
const MAX_STEPS: usize = 400;

/// Small, so that they are met.
fn limits() -> Limits {
    Limits {
        channels: 5,
        requests: 6,
        globals: 4,
        window: 600,
        output: 600,
        waiting: 4 << 10,
        command: 1 << 10,
        names: 200,
        env: 3,
        env_bytes: 100,
        listeners: 2,
        bulk: 300,
        script: 400,
        gate_asks: 3,
        gate_refusals: 4,
        ..Limits::default()
    }
}

struct World {
    core: Core,
    limits: Limits,
    now: Instant,
    asks: Vec<(Ticket, Asked, Bytes)>,
    reads: Vec<(Ticket, Unread)>,
    wholes: Vec<(Ticket, Whole)>,
    /// What was permitted and has not reached the host.
    permitted: Vec<Bytes>,
    /// Channels of a side on which it has heard CLOSE, by the numbers that it gave them.
    closed: HashSet<(Side, u32)>,
    /// What the host calls channels of Weir's own. It may call others so, too, and is then its own victim.
    ours: HashSet<u32>,
    grants: u64,
}

/// Runs this script.
pub fn relay(data: &[u8]) {
    let limits = limits();
    let mut world = World {
        core: Core::new(limits.clone()),
        limits,
        now: Instant::now(),
        asks: Vec::new(),
        reads: Vec::new(),
        wholes: Vec::new(),
        permitted: Vec::new(),
        closed: HashSet::new(),
        ours: HashSet::new(),
        grants: 0,
    };
    let mut script = Script(data);
    let openssh = script.byte();
    world.core.meets(Pair {
        client: openssh & 1 == 0,
        upstream: openssh & 2 == 0,
    });
    world.core.set_gathers(openssh & 4 == 0);
    for _ in 0..MAX_STEPS {
        if script.is_over() {
            break;
        }
        let mut out = Vec::new();
        let result = world.step(&mut script, &mut out);
        world.take(out);
        if result.is_err() {
            break;
        }
        world.check();
    }
    let mut out = Vec::new();
    world.core.abandon(&mut out);
    let sends = out.iter().any(|e| matches!(e, Effect::Send { .. }));
    assert!(!sends, "it is over");
}

impl World {
    fn step(&mut self, script: &mut Script<'_>, out: &mut Vec<Effect>) -> Result<(), Violation> {
        let step = script.byte();
        let side = match step & 1 {
            0 => Side::Client,
            _ => Side::Upstream,
        };
        match (step >> 1) % 8 {
            0..=2 => {
                let mut payload = Vec::new();
                message(side, script, &mut payload);
                self.receive(side, payload, out)
            }
            3 => self.receive(side, script.bytes().to_vec(), out),
            4 if side == Side::Upstream => {
                let mut said = b"s ".to_vec();
                said.extend(script.pick(SAID).as_bytes());
                said.extend(script.bytes());
                said.push(b'\n');
                let mut payload = Vec::new();
                ChannelMessage::Data(&said).write(FIRST, &mut payload);
                self.receive(side, payload, out)
            }
            5 if !self.reads.is_empty() => {
                let at = usize::from(script.byte()) % self.reads.len();
                let (ticket, unread) = self.reads.swap_remove(at);
                self.core.was_read(ticket, unread.read(), self.now, out)
            }
            5 if !self.wholes.is_empty() => {
                let at = usize::from(script.byte()) % self.wholes.len();
                let (ticket, whole) = self.wholes.swap_remove(at);
                self.core.was_judged(ticket, whole.judge(), self.now, out)
            }
            6 => {
                self.now += Duration::from_millis(u64::from(script.byte()).pow(2));
                self.core.tick(self.now, out)
            }
            _ => self.decide(script, out),
        }
    }

    fn receive(
        &mut self,
        from: Side,
        payload: Vec<u8>,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        if let Ok(Connection::Open(Open { sender, .. }))
        | Ok(Connection::OpenConfirmation { sender, .. }) = Connection::parse(&payload)
        {
            self.closed.remove(&(from, sender));
        }
        if let Ok(Connection::OpenConfirmation {
            recipient, sender, ..
        }) = Connection::parse(&payload)
            && recipient >= FIRST
        {
            self.ours.insert(sender);
        }
        self.core.receive(from, &payload.into(), self.now, out)
    }

    fn decide(&mut self, script: &mut Script<'_>, out: &mut Vec<Effect>) -> Result<(), Violation> {
        if self.asks.is_empty() {
            return Ok(());
        }
        let at = usize::from(script.byte()) % self.asks.len();
        let how = script.byte();
        let (ticket, asked, forward) = self.asks.swap_remove(at);
        match how % 4 {
            0 => self.core.refused(ticket, "no", Some("ask"), self.now, out),
            1 => {
                let lines = ["weir: waiting".to_owned()];
                self.core.held(ticket, &lines, out);
                self.asks.push((ticket, asked, forward));
                Ok(())
            }
            _ => {
                self.grants += 1;
                let gated = matches!(asked.what, What::Shell { .. }) && how & 4 == 0;
                let grant = Grant {
                    seq: self.grants,
                    output: how & 8 == 0,
                    errors: how & 32 == 0,
                    input: how & 16 == 0,
                    tap: None,
                    gate: gated.then(Gate::fixed),
                    weighed: how & 32 == 0,
                };
                self.permitted.push(forward.clone());
                let granted = self.core.granted(ticket, forward, grant, self.now, out);
                granted.map(|_| ())
            }
        }
    }

    fn take(&mut self, out: Vec<Effect>) {
        for effect in out {
            match effect {
                Effect::Send { to, payload, .. } => self.sent(to, &payload),
                Effect::Decide {
                    ticket,
                    asked,
                    forward,
                } => self.asks.push((ticket, *asked, forward)),
                Effect::Read { ticket, unread } => self.reads.push((ticket, unread)),
                Effect::Judge { ticket, whole } => self.wholes.push((ticket, whole)),
                Effect::Inspect { .. } => unreachable!("nothing here asks plugins"),
                Effect::Refused(_)
                | Effect::Record { .. }
                | Effect::Cancel { .. }
                | Effect::Outcome { .. } => {}
            }
        }
    }

    /// Nothing goes out that was not permitted, or comes too late.
    fn sent(&mut self, to: Side, payload: &Bytes) {
        if payload.first() == Some(&n::IGNORE) {
            // A sign of life, which means nothing on any channel.
            return;
        }
        let message = Connection::parse(payload);
        let message = message.unwrap_or_else(|e| unreachable!("{to} gets {payload:?}: {e}"));
        if let Connection::Channel { recipient, message } = message {
            let double = to == Side::Upstream && self.ours.contains(&recipient);
            let fresh = double || !self.closed.contains(&(to, recipient));
            assert!(fresh, "{to} gets {message:?} on {recipient} after CLOSE");
            if message == ChannelMessage::Close {
                self.closed.insert((to, recipient));
            }
        }
        if to == Side::Upstream && needs_permit(&message) {
            let at = self.permitted.iter().position(|p| p == payload);
            let at = at.unwrap_or_else(|| unreachable!("the host gets {message:?}"));
            self.permitted.swap_remove(at);
        }
    }

    fn check(&self) {
        self.core.check();
        let (channels, pending, waiting) = self.core.counts();
        assert!(channels <= self.limits.channels, "{channels} channels");
        assert!(waiting <= self.limits.waiting, "{waiting} bytes wait");
        // Nothing waits for a decision that nobody was asked for.
        assert!(pending <= self.asks.len() + self.reads.len() + self.wholes.len());
    }
}

/// What changes something on the host. Not what Weir itself asks it for, beside a gated shell.
fn needs_permit(message: &Connection<'_>) -> bool {
    match message {
        Connection::GlobalRequest { name, .. } => {
            matches!(*name, b"tcpip-forward" | b"streamlocal-forward@openssh.com")
        }
        Connection::Open(open) => open.kind != b"session",
        Connection::Channel {
            message: ChannelMessage::Request(request),
            ..
        } => match request.name {
            b"exec" => !request.data.windows(9).any(|w| w == b"weir-gate"),
            name => STARTS.contains(&name),
        },
        _ => false,
    }
}

const STARTS: &[&[u8]] = &[
    b"shell",
    b"subsystem",
    b"pty-req",
    b"x11-req",
    b"auth-agent-req@openssh.com",
    b"env",
];
const KINDS: &[&[u8]] = &[
    b"session",
    b"session",
    b"direct-tcpip",
    b"forwarded-tcpip",
    b"x11",
    b"auth-agent@openssh.com",
    b"direct-streamlocal@openssh.com",
    b"tun@openssh.com",
];
const REQUESTS: &[&[u8]] = &[
    b"exec",
    b"shell",
    b"pty-req",
    b"env",
    b"subsystem",
    b"window-change",
    b"signal",
    b"exit-status",
    b"exit-signal",
    b"x11-req",
    b"auth-agent-req@openssh.com",
    b"break",
    b"eow@openssh.com",
    b"keepalive@openssh.com",
];
const GLOBALS: &[&[u8]] = &[
    b"tcpip-forward",
    b"cancel-tcpip-forward",
    b"streamlocal-forward@openssh.com",
    b"no-more-sessions@openssh.com",
    b"keepalive@openssh.com",
    b"hostkeys-00@openssh.com",
];
const COMMANDS: &[&[u8]] = &[b"ls", b"bash -s", b"cat > /tmp/x", b"scp -t /d", b"sh", b""];
const SAID: &[&str] = &[
    "made",
    "no ",
    "ask main a 7 1 0 /srv\t: weir-live",
    "ask main a 7 1 0 /srv\t",
    "ask main b 7 1 0 /srv\tls ",
    "ask main c 7 4294967295 0 /srv\tls",
    "ask main d 7 0 0 /srv\tls",
    "ask main e 7 1 1 /srv\t",
    "",
];

/// A message that is laid out as it should be, mostly about channels that there may be.
fn message(from: Side, script: &mut Script<'_>, out: &mut Vec<u8>) {
    let (what, number) = (script.byte(), script.byte());
    let recipient = match number {
        255 if from == Side::Upstream => FIRST,
        n => u32::from(n % 4),
    };
    let on = |message| Connection::Channel { recipient, message };
    let want_reply = what & 128 == 0;
    let mut data = Vec::new();
    let message = match what % 16 {
        0 => {
            let kind = script.pick(KINDS);
            fields(kind, script, &mut data);
            Connection::Open(Open {
                kind,
                sender: recipient,
                window: script.number(),
                max_packet: script.number(),
                data: &data,
            })
        }
        1 => Connection::OpenConfirmation {
            recipient,
            sender: u32::from(script.byte() % 4),
            window: script.number(),
            max_packet: script.number(),
            data: b"",
        },
        2 => Connection::OpenFailure {
            recipient,
            reason: open_failure::CONNECT_FAILED,
            description: script.bytes(),
        },
        3 => on(ChannelMessage::WindowAdjust {
            bytes: script.number(),
        }),
        4 | 5 => on(ChannelMessage::Data(script.bytes())),
        6 => on(ChannelMessage::ExtendedData {
            code: 1 + u32::from(script.byte() == 9),
            data: script.bytes(),
        }),
        7 => on(ChannelMessage::Eof),
        8 => on(ChannelMessage::Close),
        9..=11 => {
            let name = script.pick(REQUESTS);
            fields(name, script, &mut data);
            on(ChannelMessage::Request(Request {
                name,
                want_reply,
                data: &data,
            }))
        }
        12 => on(ChannelMessage::Success),
        13 => on(ChannelMessage::Failure),
        14 => {
            let name = script.pick(GLOBALS);
            fields(name, script, &mut data);
            Connection::GlobalRequest {
                name,
                want_reply,
                data: &data,
            }
        }
        _ if want_reply => Connection::RequestSuccess {
            data: script.bytes(),
        },
        _ => Connection::RequestFailure,
    };
    message.write(out);
}

/// What stands in an opening or a request of this kind.
fn fields(name: &[u8], script: &mut Script<'_>, out: &mut Vec<u8>) {
    match name {
        b"exec" => match script.pick(COMMANDS) {
            b"" => out.string(script.bytes()),
            command => out.string(command),
        },
        b"direct-tcpip" | b"forwarded-tcpip" => out
            .string(b"db")
            .uint32(script.number())
            .string(b"::1")
            .uint32(1),
        b"x11" => out.string(b"::1").uint32(1),
        b"pty-req" => {
            out.string(b"xterm").uint32(script.number()).uint32(24);
            out.uint32(0).uint32(0).string(script.bytes())
        }
        b"env" => out.string(b"LANG").string(script.bytes()),
        b"subsystem" => out.string(script.pick(&[b"sftp", b"echo"])),
        b"window-change" => out.uint32(script.number()).uint32(24).uint32(0).uint32(0),
        b"signal" => out.string(b"INT"),
        b"exit-status" => out.uint32(0),
        b"exit-signal" => out.string(b"KILL").flag(false).string(b"").string(b""),
        b"x11-req" => {
            out.flag(script.byte() & 1 == 0)
                .string(b"MIT-MAGIC-COOKIE-1");
            out.string(b"00112233445566778899aabbccddeeff").uint32(0)
        }
        b"tcpip-forward" | b"cancel-tcpip-forward" => {
            out.string(b"localhost").uint32(script.number())
        }
        b"direct-streamlocal@openssh.com" => out.string(b"/run/x").string(b"").uint32(0),
        b"streamlocal-forward@openssh.com" => out.string(b"/run/y"),
        b"tun@openssh.com" => out.uint32(script.number()).uint32(script.number()),
        _ => out,
    };
}
