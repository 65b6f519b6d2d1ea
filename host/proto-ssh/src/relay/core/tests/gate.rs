//! Gated shells: the channel beside the client's, and everything that can go wrong with it.

mod ends;
mod lines;

use std::collections::HashMap;

use super::super::gate::FIRST;
use super::*;
use crate::action::What;
use crate::gate::{Gate, Said};

const C: Side = Side::Client;
const U: Side = Side::Upstream;
/// The helper's number on the host.
const H: u32 = 77;
const ID: &str = "01234567-89ab-cdef-0123-456789abcdef";

struct Gated {
    b: Bench,
    gate: Gate,
    secret: String,
    /// By the names that they have here, what a yes has to be.
    seals: HashMap<String, String>,
}

impl Gated {
    /// A shell is permitted; the host was asked for the second channel.
    fn asked() -> Self {
        Self::asked_at(&pty())
    }

    fn asked_at(terminal: &[u8]) -> Self {
        let mut b = Bench::new();
        b.session(1, 11, 10_000);
        b.client(request(11, b"pty-req", false, terminal));
        b.grant();
        b.gets(U, request(11, b"pty-req", false, terminal));
        b.client(request(11, b"shell", true, b""));
        let (ticket, ..) = b.asks.pop_front().unwrap();
        let gate = Gate::new().unwrap();
        let greeting = gate.greeting();
        let secret = greeting.split_whitespace().next().unwrap().to_owned();
        let shell = made(&request(11, b"exec", true, b"\0\0\0\x04bash"));
        let mut out = Vec::new();
        let grant = Grant {
            gate: Some(gate.clone()),
            ..Grant::default()
        };
        assert!(
            b.core
                .granted(ticket, shell, grant, b.now, &mut out)
                .unwrap()
        );
        b.take(out);
        Self {
            b,
            gate,
            secret,
            seals: HashMap::new(),
        }
    }

    /// The helper is started.
    fn helped() -> Self {
        Self::asked().help()
    }

    fn help(self) -> Self {
        let mut g = self;
        let opened = g.b.sent.upstream.pop_front().unwrap();
        assert!(matches!(
            Connection::parse(&opened),
            Ok(Connection::Open(Open {
                kind: b"session",
                sender: FIRST,
                ..
            }))
        ));
        g.b.upstream(confirmation(FIRST, H, 100_000));
        let exec = g.b.sent.upstream.pop_front().unwrap();
        let secret = g.secret.as_bytes();
        assert!(!exec.windows(secret.len()).any(|w| w == secret));
        let greeting = g.gate.greeting();
        g.b.gets(U, data(H, greeting.as_bytes()));
        g.b.upstream(on(FIRST, ChannelMessage::Success));
        g.b.gets_nothing(U);
        g
    }

    /// bash asks about its commands.
    fn live() -> Self {
        Self::helped().live_now()
    }

    fn live_now(self) -> Self {
        let mut g = self;
        g.says("made");
        g.b.gets(U, request(11, b"exec", true, b"\0\0\0\x04bash"));
        g.b.passes(U, on(1, ChannelMessage::Success));
        g.asks(ID, 1, ": weir-live");
        let told = format!("live 7\n{}", g.yes(ID));
        g.b.gets(U, data(H, told.as_bytes()));
        g.line(1, "a line");
        g.b.gets_nothing(U);
        g
    }

    /// At a prompt, this is typed, and may be done.
    fn line(&mut self, number: u64, text: &str) {
        self.prompt(number);
        let id = format!("line{number}");
        self.typed(&id, &format!("    {number}  {id} {text}"));
        self.answered(&id, "yes");
    }

    fn prompt(&mut self, number: u64) {
        let id = format!("prompt{number}");
        self.asks(&id, 1, &format!(": weir-prompt\\n{number}"));
        self.answered(&id, "yes");
    }

    fn typed(&mut self, id: &str, said: &str) {
        self.asks_by("s1", id, 1, &format!(": weir-line\\n{said}"));
    }

    fn says(&mut self, what: &str) {
        let line = format!("{} {what}\n", self.secret);
        self.b.upstream(data(FIRST, line.as_bytes()));
    }

    fn asks(&mut self, id: &str, depth: u32, text: &str) {
        self.asks_by("main", id, depth, text);
    }

    fn asks_by(&mut self, to: &str, id: &str, depth: u32, text: &str) {
        let asked = format!("ask {to} {id} 7 {depth} 0 /srv\t{text}");
        let mut said = Vec::new();
        let line = format!("{} {asked}\n", self.secret);
        self.gate.asks().push(line.as_bytes(), &mut said).unwrap();
        if let Some(Said::Ask(ask)) = said.pop() {
            // A name that is taken is not asked about twice.
            let seal = self.seals.entry(id.to_owned());
            seal.or_insert_with(|| ask.answer(true));
        }
        self.says(&asked);
    }

    fn yes(&self, id: &str) -> &str {
        self.seals.get(id).unwrap()
    }

    #[track_caller]
    fn answered(&mut self, id: &str, verdict: &str) {
        let answer = match verdict {
            "yes" => self.yes(id).to_owned(),
            no if id.starts_with("line") => format!("s1 {id} {no}\n"),
            no => format!("main {id} {no}\n"),
        };
        self.b.gets(U, data(H, answer.as_bytes()));
    }

    /// The client is told that it is over, with this in the reason.
    #[track_caller]
    fn over(&mut self, why: &str) {
        let told: Vec<u8> = self.b.sent.client.drain(..).flatten().collect();
        let told = String::from_utf8_lossy(&told).into_owned();
        assert!(told.contains("weir: refused: "), "{told}");
        assert!(told.contains(why) && told.contains("exit-status"), "{told}");
    }
}

#[test]
fn the_client_sees_its_own_channel_alone() {
    let mut g = Gated::helped();
    // What is typed waits until bash asks.
    g.b.client(data(11, b"rm x\n"));
    g.b.client(request(11, b"signal", false, b"\0\0\0\x03INT"));
    g.says("made");
    g.b.gets(U, request(11, b"exec", true, b"\0\0\0\x04bash"));
    g.b.passes(U, on(1, ChannelMessage::Success));
    g.b.passes(U, data(1, b"motd"));
    g.b.gets_nothing(U);
    g.asks(ID, 1, ": weir-live");
    let told = format!("live 7\n{}", g.yes(ID));
    g.b.gets(U, data(H, told.as_bytes()));
    g.b.gets(U, data(11, b"rm x\n"));
    g.b.gets(U, request(11, b"signal", false, b"\0\0\0\x03INT"));
    // Of the others, bash itself takes no notice.
    for name in [
        &b"\0\0\0\x04TERM"[..],
        b"\0\0\0\x04QUIT",
        b"\0\0\0\x04TSTP",
        b"\0",
    ] {
        g.b.client(request(11, b"signal", false, name));
        g.b.gets_nothing(U);
    }
    g.b.passes(C, request(11, b"signal", false, b"\0\0\0\x03HUP"));
    g.line(1, "ls; rm x");
    g.asks("a", 1, "ls");
    let (_, asked, forward) = g.b.asks.front().unwrap();
    assert_eq!(asked.channel, Some(1));
    assert!(matches!(&asked.what, What::Exec { command, .. } if &**command == b"ls"));
    let yes = g.seals.get("a").unwrap();
    assert_eq!(&**forward, yes.as_bytes(), "the permit holds the verdict");
    g.b.gets_nothing(U);
    g.b.grant();
    g.answered("a", "yes");
    g.asks("b", 1, "rm x");
    g.b.refuse();
    g.answered("b", "no");
    let told = g.b.sent.client.pop_front().unwrap();
    assert!(String::from_utf8_lossy(&told).contains("weir: refused: no"));
    while let Some(more) = g.b.sent.client.pop_front() {
        assert!(matches!(
            Connection::parse(&more),
            Ok(Connection::Channel { recipient: 1, .. })
        ));
    }
    // The shell ends; its helper's channel with it.
    g.b.passes(U, on(1, ChannelMessage::Close));
    g.b.gets(U, on(H, ChannelMessage::Close));
    g.b.passes(C, on(11, ChannelMessage::Close));
    g.b.upstream(on(FIRST, ChannelMessage::Close));
    g.b.gets_nothing(C);
    assert_eq!(g.b.core.counts(), (0, 0, 0));
}

#[test]
fn what_is_asked_before_its_time_twice_or_about_the_gate_is_refused() {
    let mut g = Gated::helped();
    g.asks("early", 1, "rm x");
    g.answered("early", "no");
    let mut g = Gated::live();
    g.asks("a", 1, "ls");
    g.asks("a", 1, "rm x");
    g.answered("a", "no");
    g.asks("again", 1, ": weir-live");
    assert_eq!(g.b.asks.len(), 2, "that is a command like any other now");
    g.asks("c", 1, "trap - DEBUG");
    g.answered("c", "no");
    assert_eq!(g.b.asks.len(), 2);
    assert_eq!(g.b.turned.len(), 2, "and they are on record");
    // Who does not know the secret asks nothing.
    g.b.upstream(data(FIRST, b"x ask main z 7 1 0 /\tls\n"));
    assert_eq!(g.b.asks.len(), 2);
}

/// Of what bash has read nothing is done before it was judged as a whole.
#[test]
fn a_line_is_judged_before_its_commands() {
    let mut g = Gated::live();
    g.asks("a", 1, "ls");
    g.b.grant();
    g.answered("a", "yes");
    // At the next prompt that line is over.
    g.prompt(2);
    g.asks("b", 1, "ls");
    g.answered("b", "no");
    g.typed("line-a", "    2  line-a { ls; } > x");
    g.answered("line-a", "no");
    assert!(g.b.asks.is_empty(), "nobody is asked for that");
    assert_eq!(g.b.turned.len(), 2, "and it is on record");
    let told: Vec<u8> = g.b.sent.client.drain(..).flatten().collect();
    let told = String::from_utf8_lossy(&told).into_owned();
    assert!(told.contains("redirect each of them by itself"), "{told}");
    g.asks("c", 1, "ls");
    g.answered("c", "no");
    g.line(3, "ls");
    g.asks("d", 1, "ls");
    assert_eq!(g.b.asks.len(), 1);
    // From other processes of it, such as what an allowed line has left behind, commands are decided on at any time.
    g.prompt(4);
    g.asks_by("s2", "e", 1, "ls");
    assert_eq!(g.b.asks.len(), 2);
}

#[test]
fn a_function_is_asked_about_once_when_it_is_called() {
    let mut g = Gated::live();
    g.asks("a", 1, "f x");
    g.b.grant();
    g.answered("a", "yes");
    g.asks("b", 2, "f x");
    g.answered("b", "yes");
    g.asks("c", 2, "f x");
    assert_eq!(g.b.asks.len(), 1, "it calls itself");
    g.b.refuse();
    g.answered("c", "no");
    g.asks("d", 3, "f x");
    assert_eq!(g.b.asks.len(), 1, "that was refused");
    g.asks("e", u32::MAX, "g");
    g.b.asks.pop_front();
    g.b.grant();
    g.answered("e", "yes");
    g.asks("f", 0, "g");
    assert_eq!(g.b.asks.len(), 1, "nothing is deeper than the deepest");
}

#[test]
fn an_interrupt_gives_up_what_waits() {
    let mut g = Gated::live();
    g.asks("a", 1, "rm x");
    g.b.sent = Pair::default();
    g.b.passes(C, data(11, b"\x03"));
    let (ticket, _, forward) = g.b.asks.pop_front().unwrap();
    assert_eq!(g.b.cancelled, [ticket]);
    assert!(!g.b.grant_it(ticket, forward), "nobody waits for it");
    g.answered("a", "no");
    g.b.gets_nothing(U);
}

/// What interrupts is for the terminal to say.
#[test]
fn only_what_interrupts_at_the_terminal_does_so() {
    let terminal = |modes: &[u8]| {
        let mut all = pty();
        all.truncate(all.len() - 5);
        all.string(modes);
        all
    };
    let mode = |mode: u8, value: u32| [&[mode][..], &value.to_be_bytes()].concat();
    for (at, typed, interrupts) in [
        (pty(), b'\x03', true),
        (pty(), b'x', false),
        (terminal(&mode(50, 0)), b'\x03', false),
        (terminal(&mode(50, 1)), b'\x03', true),
        (terminal(&mode(1, 24)), b'\x18', true),
        (terminal(&mode(1, 24)), b'\x03', false),
        (terminal(&mode(1, 255)), b'\xff', false),
        (terminal(&[&[0][..], &mode(50, 0)].concat()), b'\x03', true),
        (terminal(&mode(50, 0)[..3]), b'\x03', true),
    ] {
        let mut g = Gated::asked_at(&at).help().live_now();
        g.asks("a", 1, "rm x");
        g.b.passes(C, data(11, &[typed]));
        let given_up = !g.b.cancelled.is_empty();
        assert_eq!(given_up, interrupts, "{at:?} {typed}");
    }
}

/// As for command lines: no session waits for the reading of one.
#[test]
fn long_commands_are_read_beside_the_session() {
    let slow = format!("echo {}", "a".repeat(4 << 10));
    let mut g = Gated::live();
    g.asks("a", 1, &slow);
    assert_eq!((g.b.reads.len(), g.b.asks.len()), (1, 0));
    g.b.gets_nothing(U);
    // What is short is asked about meanwhile; the same name twice is not.
    g.asks("b", 1, "ls");
    g.b.grant();
    g.answered("b", "yes");
    g.asks("a", 1, "ls");
    g.answered("a", "no");
    g.b.read();
    g.b.core.check();
    let (_, asked, _) = g.b.asks.front().unwrap();
    assert!(matches!(&asked.what, What::Exec { command, .. } if **command == *slow.as_bytes()));
    g.b.grant();
    g.answered("a", "yes");
    // About the gate itself policy is not asked, however long it takes to find out.
    g.asks("c", 1, &format!("trap - DEBUG {}", "x ".repeat(2 << 10)));
    g.b.read();
    g.answered("c", "no");
    assert_eq!((g.b.asks.len(), g.b.turned.len()), (0, 2));
}

#[test]
fn what_ends_the_reading_of_a_command_runs_nothing() {
    let slow = format!("rm {}", "a".repeat(4 << 10));
    for end in ["busy", "interrupt", "too late", "close"] {
        let mut g = Gated::live();
        g.asks("a", 1, &slow);
        let (ticket, unread) = g.b.reads.pop_front().unwrap();
        g.b.sent = Pair::default();
        let cancelled = match end {
            "busy" => Vec::new(),
            "close" => {
                g.b.passes(U, on(1, ChannelMessage::Close));
                g.b.gets(U, on(H, ChannelMessage::Close));
                vec![ticket]
            }
            _ => {
                g.b.passes(C, data(11, b"\x03"));
                vec![ticket]
            }
        };
        assert_eq!(g.b.cancelled, cancelled, "{end}");
        if matches!(end, "busy" | "interrupt") {
            g.b.refuse_it(ticket);
        } else {
            g.b.reads.push_back((ticket, unread));
            g.b.read();
        }
        if end != "close" {
            g.answered("a", "no");
        }
        g.b.gets_nothing(U);
        g.b.core.check();
        assert_eq!(
            (g.b.asks.len(), g.b.turned.len()),
            (0, 1),
            "{end}: on record"
        );
    }
}
