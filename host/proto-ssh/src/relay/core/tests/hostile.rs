//! Peers that break the protocol, and requests that hide something.

use super::*;
use crate::action::What;

const C: Side = Side::Client;
const U: Side = Side::Upstream;

/// Every violation is named, and by whom.
#[test]
fn violations_end_the_connection() {
    let eof = ChannelMessage::Eof;
    let close = ChannelMessage::Close;
    let big = vec![0; (32 << 10) + 1];
    let long = vec![0; 101];
    let table = [
        (C, vec![data(4, b"x")], Violation::NoChannel(C, 4)),
        (U, vec![data(3, b"x")], Violation::NoChannel(U, 3)),
        (
            C,
            vec![on(3, eof), data(3, b"x")],
            Violation::AfterEof(C, 3, "DATA"),
        ),
        (
            C,
            vec![on(3, eof), on(3, eof)],
            Violation::AfterEof(C, 3, "EOF"),
        ),
        (
            U,
            vec![on(7, eof), errors(7, b"x")],
            Violation::AfterEof(U, 7, "EXTENDED_DATA"),
        ),
        (
            C,
            vec![on(3, close), on(3, close)],
            Violation::AfterClose(C, 3, "CLOSE"),
        ),
        (
            C,
            vec![on(3, close), data(3, b"")],
            Violation::AfterClose(C, 3, "DATA"),
        ),
        (
            C,
            vec![on(3, close), request(3, b"shell", true, b"")],
            Violation::AfterClose(C, 3, "a request"),
        ),
        (C, vec![data(3, &long)], Violation::Window(C, 3, 101)),
        (U, vec![data(7, &long)], Violation::Window(U, 7, 101)),
        (
            U,
            vec![data(7, &big)],
            Violation::Packet(U, 7, big.len(), 32 << 10),
        ),
        (C, vec![errors(3, b"x")], Violation::Extended(C, 3, 1)),
        (
            U,
            vec![on(7, ChannelMessage::ExtendedData { code: 2, data: b"" })],
            Violation::Extended(U, 7, 2),
        ),
        (
            C,
            vec![adjust(3, u32::MAX)],
            Violation::WindowTooLarge(C, 3),
        ),
        (
            U,
            vec![on(7, ChannelMessage::Success)],
            Violation::NoRequest(U, 7),
        ),
        (
            C,
            vec![on(3, ChannelMessage::Failure)],
            Violation::NoRequest(C, 3),
        ),
        (
            U,
            vec![Connection::RequestFailure],
            Violation::NoGlobalRequest(U),
        ),
        (C, vec![open(b"session", 7, 1, b"")], Violation::InUse(C, 7)),
        (U, vec![confirmation(7, 4, 1)], Violation::NotOpening(U, 7)),
        (C, vec![confirmation(3, 4, 1)], Violation::NotOpening(C, 3)),
        (
            U,
            vec![Connection::OpenFailure {
                recipient: 9,
                reason: 1,
                description: b"",
            }],
            Violation::NotOpening(U, 9),
        ),
        (
            C,
            vec![open(b"session", 8, 1, b""), confirmation(8, 1, 1)],
            Violation::NotOpening(C, 8),
        ),
        (U, vec![on(8, eof)], Violation::NoChannel(U, 8)),
        (
            U,
            vec![request(7, b"exit-status", false, b"")],
            Violation::Malformed(U, WireError::Short),
        ),
        (
            C,
            vec![global(b"tcpip-forward", true, b"")],
            Violation::Malformed(C, WireError::Short),
        ),
    ];
    for (from, messages, violation) in table {
        let mut b = Bench::new();
        b.running(7, 3, 100);
        let (last, first) = messages.split_last().unwrap();
        for message in first {
            b.try_from(from, *message).unwrap();
        }
        assert_eq!(b.try_from(from, *last), Err(violation.clone()), "{last:?}");
        assert_eq!(violation.side(), from);
    }
    // What a channel has started by now is not read any more.
    for (data, error) in [
        (&b"\0\0\0\x09ls"[..], WireError::Short),
        (b"\0\0\0\x01ls", WireError::Trailing(1)),
    ] {
        let mut b = Bench::new();
        b.session(7, 3, 100);
        let told = b.try_from(C, request(3, b"exec", true, data));
        assert_eq!(told, Err(Violation::Malformed(C, error)));
    }
}

/// Nothing reaches the host on a session in which nothing was started.
#[test]
fn data_before_a_program_is_a_violation() {
    for (first, early, what) in [
        (None, data(3, b"x"), "DATA"),
        (None, on(3, ChannelMessage::Eof), "EOF"),
        (Some(()), data(3, b"x"), "DATA"),
    ] {
        let mut b = Bench::new();
        b.session(7, 3, 100);
        if first.is_some() {
            // It waits for the decision on a variable, and is read when that is there.
            b.client(request(3, b"env", false, &strings(&[b"LANG", b"C"])));
            b.client(early);
            let (ticket, _, forward) = b.asks.pop_front().unwrap();
            let mut out = Vec::new();
            let granted = b
                .core
                .granted(ticket, forward, Grant::default(), b.now, &mut out);
            assert_eq!(granted, Err(Violation::Early(C, 3, what)));
            continue;
        }
        assert_eq!(b.try_from(C, early), Err(Violation::Early(C, 3, what)));
        b.gets_nothing(U);
    }
    // What was on its way to a program that the host did not start is dropped.
    let mut b = Bench::new();
    b.session(7, 3, 100);
    b.client(request(3, b"shell", true, b""));
    b.grant();
    b.upstream(on(7, ChannelMessage::Failure));
    b.sent = Pair::default();
    b.client(data(3, b"late"));
    b.gets_nothing(U);
    b.core.check();
    assert_eq!(b.sent.client.len(), 1, "its window is given back");
}

/// What comes with the opening of a channel, and means nothing there, would pass without a look.
#[test]
fn openings_carry_only_what_they_mean() {
    let mut b = Bench::new();
    b.client(open(b"session", 7, 100, b"secret"));
    b.gets(U, open(b"session", 7, 100, b""));
    b.upstream(Connection::OpenConfirmation {
        recipient: 7,
        sender: 3,
        window: 100,
        max_packet: 32 << 10,
        data: b"secret",
    });
    b.gets(C, confirmation(7, 3, 100));
    // Of the host, where it may open something.
    b.client(request(3, b"auth-agent-req@openssh.com", false, b""));
    b.grant();
    b.sent = Pair::default();
    let told = b.try_from(U, open(b"auth-agent@openssh.com", 4, 100, b"secret"));
    assert_eq!(told, Err(Violation::Malformed(U, WireError::Trailing(6))));
    b.gets_nothing(C);
}

/// A program ends once, in a few words.
#[test]
fn a_host_tells_of_one_end() {
    let signal = |words: &[u8]| {
        let mut data = strings(&[b"TERM"]);
        data.push(0);
        data.extend(strings(&[words, b""]));
        data
    };
    for (data, passes) in [
        (signal(b"bye"), true),
        (signal(&[b'x'; 4096]), false),
        (signal(&vec![b'x'; 200 << 10]), false),
    ] {
        let mut b = Bench::new();
        b.running(7, 3, 1000);
        let first = request(7, b"exit-signal", false, &data);
        b.upstream(first);
        if passes {
            // Of its words nothing is read, so they do not pass.
            b.gets(C, request(7, b"exit-signal", false, &signal(b"")));
        }
        b.upstream(request(7, b"exit-status", false, &[0; 4]));
        if !passes {
            b.gets(C, request(7, b"exit-status", false, &[0; 4]));
        }
        for _ in 0..1000 {
            b.upstream(request(7, b"exit-status", false, &[0; 4]));
            b.upstream(first);
        }
        b.gets_nothing(C);
    }
}

/// What a host says where nothing runs would reach the client past the masks and the record.
#[test]
fn a_host_does_not_speak_before_it_is_asked() {
    for (early, what) in [
        (data(7, b"secret"), "DATA"),
        (errors(7, b"secret"), "EXTENDED_DATA"),
        (data(7, b""), "DATA"),
    ] {
        // On a channel that is only open, or on which only a terminal was asked for.
        for setting in [false, true] {
            let mut b = Bench::new();
            b.session(7, 3, 100);
            if setting {
                b.client(request(3, b"pty-req", true, &pty()));
                b.grant();
                b.upstream(on(7, ChannelMessage::Success));
            }
            b.sent = Pair::default();
            assert_eq!(b.try_from(U, early), Err(Violation::Early(U, 7, what)));
            b.gets_nothing(C);
        }
        // While the command is still being decided on.
        let mut b = Bench::new();
        b.session(7, 3, 100);
        b.client(request(3, b"exec", true, &strings(&[b"ls"])));
        assert_eq!(b.try_from(U, early), Err(Violation::Early(U, 7, what)));
        b.gets_nothing(C);
    }
    // Nor does anything end there, in words of the host.
    let mut b = Bench::new();
    b.session(7, 3, 100);
    let mut signal = strings(&[b"KILL"]);
    signal.flag(false).string(b"secret").string(b"");
    b.upstream(request(7, b"exit-signal", false, &signal));
    b.gets_nothing(C);
    // Hosts that give a channel up say EOF before CLOSE; there is nothing in it.
    b.passes(U, on(7, ChannelMessage::Eof));
    b.passes(U, on(7, ChannelMessage::Close));
}

/// Nobody masks what a signal comes with.
#[test]
fn of_a_signal_the_client_is_told_the_name() {
    let signal = |message: &[u8]| {
        let mut data = strings(&[b"TERM"]);
        data.flag(false).string(message).string(b"");
        data
    };
    let mut b = Bench::new();
    b.running(7, 3, 100);
    b.upstream(request(
        7,
        b"exit-signal",
        false,
        &signal(b"password=hunter2"),
    ));
    b.gets(C, request(7, b"exit-signal", false, &signal(b"")));
    b.gets_nothing(C);
}

/// Some hosts tell in words why they start nothing. Nobody sees that, and nobody else has to suffer for it.
#[test]
fn what_a_host_says_that_has_started_nothing_is_dropped() {
    for (words, bytes) in [
        (data(7, b"secret"), 6),
        (errors(7, b"secret"), 6),
        (data(7, b""), 0),
    ] {
        let mut b = Bench::new();
        b.running(1, 11, 100);
        b.session(7, 3, 100);
        b.client(request(3, b"exec", true, &strings(&[b"ls"])));
        b.grant();
        b.sent = Pair::default();
        b.passes(U, on(7, ChannelMessage::Failure));
        for _ in 0..100 {
            b.upstream(words);
            if bytes > 0 {
                // As if it had been read.
                b.gets(U, adjust(3, bytes));
            }
            b.gets_nothing(C);
        }
        b.core.check();
        b.passes(U, data(1, b"other"));
        // It may be tried again, and what is said then is shown.
        b.client(request(3, b"exec", true, &strings(&[b"id"])));
        b.grant();
        b.gets(U, request(3, b"exec", true, &pinned("id")));
        b.passes(U, on(7, ChannelMessage::Success));
        b.passes(U, data(7, b"uid=0"));
        b.passes(U, on(7, ChannelMessage::Eof));
        b.passes(U, on(7, ChannelMessage::Close));
        b.passes(C, on(3, ChannelMessage::Close));
        assert_eq!(b.core.counts(), (1, 0, 0));
    }
}

/// What asks for nothing carries nothing, past decisions and record.
#[test]
fn what_passes_without_a_decision_is_empty() {
    for (from, name) in [
        (C, &b"keepalive@openssh.com"[..]),
        (U, b"keepalive@openssh.com"),
    ] {
        let mut b = Bench::new();
        b.passes(from, global(name, true, b""));
        b.passes(from.other(), Connection::RequestFailure);
        b.passes(from, global(name, false, b""));
        for want_reply in [true, false] {
            b.try_from(from, global(name, want_reply, b"secret"))
                .unwrap();
            b.gets_nothing(from.other());
            if want_reply {
                b.gets(from, Connection::RequestFailure);
            }
            b.gets_nothing(from);
        }
    }
}

/// Neither do answers, nor what passes on a channel; a port that was asked for is told.
#[test]
fn answers_carry_what_was_asked_for() {
    let mut b = Bench::new();
    let success = |data| Connection::RequestSuccess { data };
    b.passes(C, global(b"keepalive@openssh.com", true, b""));
    b.upstream(success(b"secret"));
    b.gets(C, success(b""));
    for (port, said, told) in [
        (0, &[0, 0, 17, 112][..], &[0, 0, 17, 112][..]),
        (4000, b"secret", b""),
    ] {
        let mut at = strings(&[b"localhost"]);
        at.uint32(port);
        b.client(global(b"tcpip-forward", true, &at));
        b.grant();
        b.gets(U, global(b"tcpip-forward", true, &at));
        b.upstream(success(said));
        b.gets(C, success(told));
    }
    b.session(7, 3, 100);
    for name in [&b"eow@openssh.com"[..], b"keepalive@openssh.com"] {
        for (from, number) in [(C, 3), (U, 7)] {
            b.passes(from, request(number, name, false, b""));
            b.try_from(from, request(number, name, false, b"secret"))
                .unwrap();
            b.gets_nothing(from.other());
        }
    }
}

/// OpenSSH says so of its own requests: others are known to end the connection.
#[test]
fn what_is_for_openssh_goes_to_openssh_only() {
    let mut b = Bench::new();
    b.core.meets(Pair {
        client: false,
        upstream: false,
    });
    b.passes(C, global(b"keepalive@openssh.com", true, b""));
    b.passes(U, Connection::RequestFailure);
    b.session(7, 3, 100);
    for (from, number) in [(C, 3), (U, 7)] {
        b.try_from(from, request(number, b"eow@openssh.com", false, b""))
            .unwrap();
        b.gets_nothing(from.other());
    }
    assert!(b.turned.is_empty());
}

#[test]
fn a_number_of_the_host_is_not_used_twice() {
    let mut b = Bench::new();
    b.session(7, 3, 100);
    b.client(open(b"session", 8, 100, b""));
    assert_eq!(
        b.try_from(U, confirmation(8, 3, 1)),
        Err(Violation::InUse(U, 3))
    );
}

/// Nothing is said of a channel while its opening is being decided on.
#[test]
fn an_opening_that_waits_is_no_channel() {
    let mut b = Bench::new();
    let mut to = strings(&[b"db"]);
    to.uint32(5432).string(b"::1").uint32(1);
    b.client(open(b"direct-tcpip", 2, 100, &to));
    assert_eq!(
        b.try_from(U, confirmation(2, 1, 1)),
        Err(Violation::NotOpening(U, 2))
    );
    assert_eq!(
        b.try_from(U, data(2, b"x")),
        Err(Violation::NoChannel(U, 2))
    );
    assert_eq!(
        b.try_from(C, open(b"session", 2, 1, b"")),
        Err(Violation::InUse(C, 2))
    );
}

#[test]
fn commands_that_hide_something_are_refused_without_asking() {
    let long = vec![b'a'; (128 << 10) + 1];
    for (command, why) in [
        (&b"ls\0rm"[..], "the command line holds a NUL byte"),
        (
            b"rm -rf /\rls       ",
            "the command line holds a bare carriage return",
        ),
        (b"ls\r", "the command line holds a bare carriage return"),
        (
            &long,
            "the command line has 131073 bytes, at most 131072 are read",
        ),
    ] {
        let mut b = Bench::new();
        b.session(7, 3, 1000);
        b.client(request(3, b"exec", true, &strings(&[command])));
        assert!(b.asks.is_empty());
        b.gets_nothing(U);
        b.gets(C, on(7, ChannelMessage::Success));
        b.gets(C, errors(7, format!("weir: refused: {why}\n").as_bytes()));
    }
    let mut b = Bench::new();
    b.session(7, 3, 1000);
    b.client(request(3, b"exec", true, &strings(&[b"cat <<E\r\nx\r\nE"])));
    assert_eq!(b.asks.len(), 1, "line ends of Windows");
}

#[test]
fn variables_that_are_none_are_refused_without_asking() {
    let mut b = Bench::new();
    b.session(7, 3, 1000);
    for (name, value) in [
        (&b""[..], &b"x"[..]),
        (b"A=B", b"x"),
        (b"A\0", b"x"),
        (b"A", b"x\0LD_PRELOAD=y"),
    ] {
        b.client(request(3, b"env", true, &strings(&[name, value])));
        b.gets(C, on(7, ChannelMessage::Failure));
    }
    assert!(b.asks.is_empty());
    b.gets_nothing(U);
    // What is not UTF-8 is only unusual.
    b.client(request(3, b"env", true, &strings(&[b"LC_ALL", b"\xff"])));
    b.grant();
    b.gets(U, request(3, b"env", true, &strings(&[b"LC_ALL", b"\xff"])));
}

#[test]
fn floods_meet_a_limit() {
    let mut b = Bench::with(Limits {
        channels: 4,
        ..Limits::default()
    });
    for c in 0..4 {
        b.session(c, c, 10);
    }
    for side in [C, U] {
        b.try_from(side, open(b"session", 99, 1, b"")).unwrap();
        b.gets(
            side,
            Connection::OpenFailure {
                recipient: 99,
                reason: 4,
                description: b"more than 4 channels at a time",
            },
        );
        b.gets_nothing(side.other());
    }
    // Requests whose replies never come.
    let result = (0..1000).find_map(|_| {
        b.try_from(U, request(0, b"keepalive@openssh.com", true, b""))
            .err()
    });
    assert_eq!(result, Some(Violation::Requests(U, 0, 128)));
    let result = (0..1000).find_map(|_| {
        b.try_from(C, request(0, b"keepalive@openssh.com", true, b""))
            .err()
    });
    assert_eq!(result, Some(Violation::Requests(C, 0, 128)));
    let result = (0..1000).find_map(|_| {
        b.try_from(U, global(b"keepalive@openssh.com", true, b""))
            .err()
    });
    assert_eq!(result, Some(Violation::GlobalRequests(U, 64)));
    // Variables without end.
    b.client(request(
        1,
        b"env",
        false,
        &strings(&[b"A", &[b'x'; 60 << 10]]),
    ));
    b.grant();
    b.client(request(
        1,
        b"env",
        true,
        &strings(&[b"B", &[b'x'; 6 << 10]]),
    ));
    assert!(b.asks.is_empty());
    b.sent.upstream.clear();
    assert_eq!(b.sent.client.pop_back().unwrap()[0], 100);
}

/// What is cut off or made up is a violation or a message, never a panic.
#[test]
fn any_bytes_are_an_answer() {
    let mut seed = 7_u64;
    for round in 0..20_000 {
        let mut b = Bench::new();
        b.session(7, 3, 100);
        for _ in 0..4 {
            let mut bytes = Vec::new();
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            for i in 0..(seed >> 40) % 40 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                bytes.push(match (i, (seed >> 33) % 3) {
                    (0, _) => 80 + (seed >> 50) as u8 % 21,
                    (_, 0) => (seed >> 50) as u8,
                    (4, _) => {
                        if round % 2 == 0 {
                            3
                        } else {
                            7
                        }
                    }
                    _ => 0,
                });
            }
            let side = if round % 2 == 0 { C } else { U };
            if b.raw(side, &bytes).is_err() {
                break;
            }
        }
    }
}

/// What is typed into a terminal is edited there: nothing of it is taken for a script that was read. And a terminal
/// is asked for before something runs on it, or not at all.
#[test]
fn below_a_terminal_no_script_is_read() {
    for terminals in [0, 1, 2] {
        let mut b = Bench::new();
        b.core.set_gathers(true);
        b.session(7, 3, 1000);
        for _ in 0..terminals {
            b.client(request(3, b"pty-req", false, &pty()));
            b.grant();
        }
        b.client(request(3, b"exec", true, &strings(&[b"bash -s"])));
        b.client(request(3, b"pty-req", true, &pty()));
        b.client(data(3, b"echo x\n"));
        b.client(on(3, ChannelMessage::Eof));
        let (_, asked, _) = b.asks.pop_front().expect("something to decide");
        let What::Exec { line, .. } = &asked.what else {
            panic!("{asked:?}");
        };
        assert_eq!(line.script.is_some(), terminals == 0);
        assert_eq!(asked.before.pty.is_some(), terminals > 0);
        assert!(b.asks.is_empty(), "no terminal for what runs already");
    }
}
