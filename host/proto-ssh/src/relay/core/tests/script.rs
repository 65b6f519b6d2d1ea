//! What happens on channels, step by step.

use super::*;

const C: Side = Side::Client;
const U: Side = Side::Upstream;

#[test]
fn a_command_passes_as_it_is() {
    let mut b = Bench::new();
    let ticket = b.running(7, 3, 1000);
    b.passes(C, data(3, b"in"));
    b.passes(U, data(7, b"out"));
    b.passes(U, errors(7, b"err"));
    b.passes(C, adjust(3, 5));
    b.passes(U, adjust(7, 2));
    b.passes(C, on(3, ChannelMessage::Eof));
    b.passes(C, request(3, b"signal", false, b"\0\0\0\x03INT"));
    b.passes(U, request(7, b"eow@openssh.com", false, b""));
    b.passes(U, on(7, ChannelMessage::Eof));
    // OpenSSH's multiplexer closes at once; the exit status comes all the same.
    b.passes(C, on(3, ChannelMessage::Close));
    b.passes(U, request(7, b"exit-status", false, &[0, 0, 0, 3]));
    b.passes(U, on(7, ChannelMessage::Close));
    assert_eq!(b.core.counts(), (0, 0, 0));
    let outcome = (ticket, OutcomeKind::Failed, "exit 3".to_owned(), 8);
    assert_eq!(b.outcomes, [outcome]);
}

#[test]
fn a_refused_command_looks_like_one_that_failed() {
    let mut b = Bench::new();
    b.session(7, 3, 1000);
    b.client(request(3, b"exec", true, b"\0\0\0\x02rm"));
    b.gets_nothing(U);
    // What the client sends meanwhile does not reach the host, whatever it is.
    b.client(data(3, b"input"));
    b.client(request(3, b"env", true, &strings(&[b"A", b"b"])));
    b.client(on(3, ChannelMessage::Eof));
    b.refuse();
    b.gets(C, on(7, ChannelMessage::Success));
    b.gets(C, errors(7, b"weir: refused: no\nweir: ask first\n"));
    b.gets(C, request(7, b"exit-status", false, &[0, 0, 0, 126]));
    b.gets(C, on(7, ChannelMessage::Eof));
    b.gets(C, on(7, ChannelMessage::Close));
    b.gets_nothing(U);
    b.upstream(data(7, b"late"));
    b.upstream(request(7, b"keepalive@openssh.com", true, b""));
    b.gets(U, on(3, ChannelMessage::Failure));
    b.gets_nothing(C);
    b.passes(C, on(3, ChannelMessage::Close));
    // The client may use its number again; the host does not know that yet.
    let again = open(b"session", 7, 500, b"");
    b.client(again);
    b.gets_nothing(U);
    b.upstream(on(7, ChannelMessage::Close));
    b.gets_nothing(C);
    b.gets(U, again);
    b.passes(U, confirmation(7, 3, 100));
    b.passes(C, adjust(3, 1));
    assert_eq!(b.core.counts(), (1, 0, 0));
    assert!(b.outcomes.is_empty() && b.asks.is_empty());
}

#[test]
fn the_host_closes_first_after_a_refusal() {
    let mut b = Bench::new();
    b.session(7, 3, 1000);
    b.client(request(3, b"shell", false, b""));
    b.refuse();
    b.sent.client.clear();
    b.upstream(on(7, ChannelMessage::Close));
    b.gets_nothing(C);
    b.passes(C, on(3, ChannelMessage::Close));
    assert_eq!(b.core.counts(), (0, 0, 0));
}

/// Capitals are another text than what masks look for; all else of a terminal is as it was asked for.
#[test]
fn no_terminal_writes_capitals_only() {
    let pty = |capitals: u8| {
        let mut data = strings(&[b"xterm"]);
        for size in [80, 24, 0, 0] {
            data.uint32(size);
        }
        let value = [0, 0, 0, capitals];
        let mode = |opcode: u8, value: [u8; 4]| [&[opcode][..], &value].concat();
        let modes = [
            mode(3, [0, 0, 0, 127]),
            mode(71, value),
            mode(53, [0, 0, 0, 1]),
            mode(52, value),
            mode(129, [0, 0, 0, 71]),
            vec![0],
            mode(71, [1; 4]),
        ];
        data.string(&modes.concat());
        data
    };
    let mut b = Bench::new();
    b.session(7, 3, 1000);
    b.client(request(3, b"pty-req", true, &pty(1)));
    b.grant();
    b.gets(U, request(3, b"pty-req", true, &pty(0)));
}

#[test]
fn replies_come_in_the_order_of_requests() {
    let mut b = Bench::new();
    b.session(7, 3, 1000);
    b.client(request(3, b"pty-req", true, &pty()));
    b.client(request(3, b"env", true, &strings(&[b"BASH_ENV", b"x"])));
    b.client(request(3, b"unknown@example.org", true, b""));
    b.client(request(3, b"shell", true, b""));
    b.grant();
    b.gets(U, request(3, b"pty-req", true, &pty()));
    b.refuse();
    b.gets_nothing(C);
    assert!(b.asks.front().unwrap().1.before.pty.is_some());
    b.grant();
    b.gets(U, request(3, b"shell", true, b""));
    b.gets_nothing(C);
    b.upstream(on(7, ChannelMessage::Success));
    for message in [
        ChannelMessage::Success,
        ChannelMessage::Failure,
        ChannelMessage::Failure,
    ] {
        b.gets(C, on(7, message));
    }
    b.passes(U, on(7, ChannelMessage::Success));
    assert_eq!(b.outcomes.len(), 1, "the terminal's: {:?}", b.outcomes);
}

#[test]
fn a_refusal_waits_for_the_replies_before_it() {
    let mut b = Bench::new();
    b.session(7, 3, 1000);
    b.client(request(3, b"pty-req", true, &pty()));
    b.grant();
    b.client(request(3, b"exec", true, b"\0\0\0\x02rm"));
    b.refuse();
    b.gets_nothing(C);
    b.upstream(on(7, ChannelMessage::Failure));
    b.gets(C, on(7, ChannelMessage::Failure));
    b.gets(C, on(7, ChannelMessage::Success));
    b.gets(C, errors(7, b"weir: refused: no\r\nweir: ask first\r\n"));

    // The same, and the host closes instead of answering.
    let mut b = Bench::new();
    b.session(7, 3, 1000);
    b.client(request(3, b"pty-req", true, &pty()));
    b.grant();
    b.client(request(3, b"exec", true, b"\0\0\0\x02rm"));
    b.refuse();
    b.upstream(on(7, ChannelMessage::Close));
    b.gets(C, on(7, ChannelMessage::Failure));
    b.gets(C, on(7, ChannelMessage::Success));
    b.gets(C, errors(7, b"weir: refused: no\r\nweir: ask first\r\n"));
    assert!(b.sent.client.iter().any(|m| m[0] == 97), "CLOSE");
}

#[test]
fn a_failed_start_can_be_tried_again() {
    let mut b = Bench::new();
    b.session(7, 3, 1000);
    let sftp = strings(&[b"sftp"]);
    b.client(request(3, b"subsystem", true, &sftp));
    b.grant();
    b.gets(U, request(3, b"subsystem", true, &sftp));
    b.passes(U, on(7, ChannelMessage::Failure));
    assert_eq!(b.outcomes[0].1, OutcomeKind::Failed);
    b.client(request(3, b"exec", true, b"\0\0\0\x02ls"));
    b.grant();
    b.client(request(3, b"exec", true, b"\0\0\0\x02rm"));
    assert!(b.asks.is_empty(), "a second program on a channel");
    b.upstream(on(7, ChannelMessage::Success));
    b.gets(C, on(7, ChannelMessage::Success));
    b.gets(C, on(7, ChannelMessage::Failure));
}

#[test]
fn notices_are_taken_from_windows() {
    let mut b = Bench::new();
    b.session(7, 3, 20);
    b.client(request(3, b"exec", true, b"\0\0\0\x02rm"));
    let (ticket, _, forward) = b.asks.pop_front().unwrap();
    b.hold(ticket);
    b.gets(C, errors(7, b"weir: waiting\n"));
    assert!(b.grant_it(ticket, forward));
    b.sent.upstream.clear();
    // The host knows of 20 bytes; the client has room for 6.
    b.upstream(data(7, b"0123456789abcdefghij"));
    b.gets(C, data(7, b"012345"));
    b.client(adjust(3, 10));
    b.gets_nothing(U);
    b.gets(C, data(7, b"6789abcdef"));
    b.client(adjust(3, 10));
    b.gets(U, adjust(3, 6));
    b.gets(C, data(7, b"ghij"));
    b.passes(C, adjust(3, 10));
    b.upstream(data(7, &[b'x'; 16]));
    let more = b.try_from(U, data(7, b"y"));
    assert_eq!(more, Err(Violation::Window(U, 7, 1)));
}

#[test]
fn the_end_does_not_overtake_what_waits_for_the_window() {
    let mut b = Bench::new();
    b.session(7, 3, 4);
    b.client(request(3, b"exec", true, b"\0\0\0\x02rm"));
    b.refuse();
    b.gets(C, on(7, ChannelMessage::Success));
    b.gets(C, errors(7, b"weir"));
    b.gets_nothing(C);
    b.client(adjust(3, 1000));
    b.gets(C, errors(7, b": refused: no\nweir: ask first\n"));
    b.gets(C, request(7, b"exit-status", false, &[0, 0, 0, 126]));
}

#[test]
fn global_requests() {
    let mut b = Bench::new();
    b.passes(C, global(b"keepalive@openssh.com", true, b""));
    b.client(global(b"hostkeys-prove-00@openssh.com", true, b"keys"));
    b.gets_nothing(U);
    b.gets_nothing(C);
    b.upstream(Connection::RequestFailure);
    b.gets(C, Connection::RequestFailure);
    b.gets(C, Connection::RequestFailure);
    // The host's keys are not the client's business.
    b.upstream(global(b"hostkeys-00@openssh.com", false, b"keys"));
    b.upstream(global(b"something@example.org", true, b""));
    b.gets_nothing(C);
    b.gets(U, Connection::RequestFailure);
    b.passes(U, global(b"keepalive@openssh.com", true, b""));
    b.passes(C, Connection::RequestFailure);
}

#[test]
fn listeners_are_decided_on_and_bound_what_the_host_may_open() {
    let mut b = Bench::new();
    let mut at = strings(&[b"localhost"]);
    at.uint32(0);
    let mut coming = strings(&[b"127.0.0.1"]);
    coming.uint32(4000).string(b"10.0.0.9").uint32(5);
    let forwarded = open(b"forwarded-tcpip", 9, 100, &coming);
    let prohibited = |b: &mut Bench| {
        b.upstream(forwarded);
        b.gets_nothing(C);
        let got = b.sent.upstream.pop_front().unwrap();
        assert_eq!(got[..9], [92, 0, 0, 0, 9, 0, 0, 0, 1]);
    };
    prohibited(&mut b);
    b.client(global(b"tcpip-forward", true, &at));
    b.client(global(b"keepalive@openssh.com", true, b""));
    let sign_of_life = b.sent.client.pop_front().unwrap();
    assert_eq!(sign_of_life[0], 2);
    b.gets_nothing(U);
    b.grant();
    b.gets(U, global(b"tcpip-forward", true, &at));
    b.gets_nothing(U);
    prohibited(&mut b);
    b.passes(
        U,
        Connection::RequestSuccess {
            data: &[0, 0, 15, 160],
        },
    );
    b.gets(C, Connection::RequestFailure);
    b.passes(U, forwarded);
    b.passes(C, confirmation(9, 1, 100));
    b.passes(U, data(1, b"hello"));
    let mut bound = strings(&[b"localhost"]);
    bound.uint32(4000);
    b.client(global(b"cancel-tcpip-forward", true, &at));
    b.gets(C, Connection::RequestFailure);
    b.passes(C, global(b"cancel-tcpip-forward", true, &bound));
    b.passes(U, Connection::RequestSuccess { data: b"" });
    let mut b2 = b;
    b2.upstream(on(1, ChannelMessage::Close));
    b2.client(on(9, ChannelMessage::Close));
    b2.sent = Pair::default();
    prohibited(&mut b2);
    // Refused: nothing goes out.
    b2.client(global(
        b"streamlocal-forward@openssh.com",
        true,
        &strings(&[b"/s"]),
    ));
    b2.refuse();
    b2.gets(C, Connection::RequestFailure);
    b2.gets_nothing(U);
}

/// Who was permitted to be reached by a session is not reached when that is over.
#[test]
fn an_agent_is_reached_as_long_as_its_session_lives() {
    let mut b = Bench::new();
    b.session(7, 3, 1000);
    b.client(request(3, b"auth-agent-req@openssh.com", true, b""));
    b.grant();
    b.sent = Pair::default();
    b.passes(U, on(7, ChannelMessage::Success));
    b.session(8, 4, 1000);
    b.passes(C, on(3, ChannelMessage::Close));
    b.passes(U, on(7, ChannelMessage::Close));
    b.upstream(open(b"auth-agent@openssh.com", 5, 100, b""));
    b.gets_nothing(C);
    assert_eq!(b.sent.upstream.pop_front().unwrap()[0], 92, "OPEN_FAILURE");
}

#[test]
fn agents_and_displays_only_where_they_were_permitted() {
    for (name, kind, setup, origin) in [
        (
            &b"auth-agent-req@openssh.com"[..],
            &b"auth-agent@openssh.com"[..],
            Vec::new(),
            Vec::new(),
        ),
        (
            b"x11-req",
            b"x11",
            {
                let mut x = vec![1];
                x.string(b"MIT").string(b"00").uint32(0);
                x
            },
            {
                let mut x = strings(&[b"127.0.0.1"]);
                x.uint32(1);
                x
            },
        ),
    ] {
        let mut b = Bench::new();
        b.session(7, 3, 1000);
        let opened = open(kind, 5, 100, &origin);
        b.upstream(opened);
        b.gets_nothing(C);
        b.client(request(3, name, true, &setup));
        b.refuse();
        b.gets(C, on(7, ChannelMessage::Failure));
        b.upstream(opened);
        b.gets_nothing(C);
        b.client(request(3, name, true, &setup));
        b.grant();
        b.upstream(opened);
        b.gets_nothing(C);
        b.passes(U, on(7, ChannelMessage::Success));
        b.passes(U, opened);
        b.sent.upstream.clear();
        b.passes(C, confirmation(5, 8, 100));
        let second = open(kind, 6, 100, &origin);
        b.upstream(second);
        // One connection was all that the client asked for.
        match kind == b"x11" {
            true => b.gets_nothing(C),
            false => b.gets(C, second),
        }
    }
}

#[test]
fn forwarded_connections_are_decided_on() {
    let mut b = Bench::new();
    let mut to = strings(&[b"db"]);
    to.uint32(5432).string(b"::1").uint32(1);
    let direct = open(b"direct-tcpip", 2, 100, &to);
    b.client(direct);
    b.gets_nothing(U);
    b.refuse();
    b.gets(
        C,
        Connection::OpenFailure {
            recipient: 2,
            reason: 1,
            description: b"no (ask first)",
        },
    );
    b.client(direct);
    let ticket = b.grant();
    b.gets(U, direct);
    b.passes(U, confirmation(2, 0, 50));
    b.passes(C, data(0, b"q"));
    b.client(request(0, b"exec", true, b"\0\0\0\x02rm"));
    b.gets(C, on(2, ChannelMessage::Failure));
    b.passes(U, on(2, ChannelMessage::Close));
    b.passes(C, on(0, ChannelMessage::Close));
    assert_eq!(
        b.outcomes,
        [(ticket, OutcomeKind::Done, "closed".into(), 1)]
    );
    b.client(direct);
    b.grant();
    b.gets(U, direct);
    let failure = |description| Connection::OpenFailure {
        recipient: 2,
        reason: 2,
        description,
    };
    b.passes(U, failure(b"Connection refused"));
    b.client(direct);
    b.grant();
    b.gets(U, direct);
    // Nobody masks this: words that are not known are not the host's to choose.
    b.upstream(failure(b"password=hunter2"));
    b.gets(C, failure(b"the host could not connect"));
    assert_eq!(b.outcomes[1].1, OutcomeKind::Failed);
    assert_eq!(b.core.counts(), (0, 0, 0));
    b.client(open(b"made-up", 2, 100, b""));
    b.gets_nothing(U);
    assert!(b.asks.is_empty());
    b.gets(
        C,
        Connection::OpenFailure {
            recipient: 2,
            reason: 3,
            description: b"channels of this type are not known here",
        },
    );
}

/// Where the host says that a connection came in has to be where it was let listen, address and port.
#[test]
fn a_connection_comes_in_where_somebody_listens() {
    let at = |address: &[u8], port: u32| {
        let mut at = strings(&[address]);
        at.uint32(port);
        at
    };
    for (asked, said, passes) in [
        (&b"127.0.0.1"[..], &b"127.0.0.1"[..], true),
        (b"127.0.0.1", b"10.0.0.1", false),
        (b"127.0.0.1", b"", false),
        (b"10.0.0.1", b"127.0.0.1", false),
        (b"localhost", b"localhost", true),
        (b"localhost", b"127.0.0.1", true),
        (b"localhost", b"::1", true),
        (b"localhost", b"10.0.0.1", false),
        (b"", b"10.0.0.1", true),
        (b"", b"", true),
        (b"*", b"10.0.0.1", true),
        (b"0.0.0.0", b"10.0.0.1", true),
        (b"::", b"fe80::1", true),
        (b"Web1", b"web1", true),
    ] {
        for port in [4000, 4001] {
            let mut b = Bench::new();
            b.client(global(b"tcpip-forward", true, &at(asked, 4000)));
            b.grant();
            b.sent = Pair::default();
            b.passes(U, Connection::RequestSuccess { data: b"" });
            let mut coming = at(said, port);
            coming.string(b"10.0.0.9").uint32(5);
            let forwarded = open(b"forwarded-tcpip", 9, 100, &coming);
            b.upstream(forwarded);
            let asked = String::from_utf8_lossy(asked);
            let came = b.sent.client.pop_front().is_some();
            assert_eq!(came, passes && port == 4000, "{asked} {said:?} {port}");
        }
    }
}

/// A listener, what comes in at it, and its end, are on record as parts of the action that it is.
#[test]
fn listeners_and_what_comes_in_are_on_record() {
    let mut at = strings(&[b"127.0.0.1"]);
    at.uint32(0);
    let mut bound = strings(&[b"127.0.0.1"]);
    bound.uint32(4000);
    let mut coming = bound.clone();
    coming.string(b"10.0.0.9").uint32(5);
    let mut b = Bench::new();
    b.client(global(b"tcpip-forward", true, &at));
    let (ticket, _, forward) = b.asks.pop_front().unwrap();
    let mut out = Vec::new();
    let grant = Grant {
        seq: 17,
        ..Grant::default()
    };
    let now = b.now;
    b.core
        .granted(ticket, forward, grant, now, &mut out)
        .unwrap();
    let mut hear = |side, message: Connection<'_>| {
        let payload = made(&message);
        b.core.receive(side, &payload, now, &mut out).unwrap();
    };
    let port = 4000_u32.to_be_bytes();
    hear(U, Connection::RequestSuccess { data: &port });
    hear(U, open(b"forwarded-tcpip", 9, 100, &coming));
    hear(C, confirmation(9, 1, 100));
    hear(C, global(b"cancel-tcpip-forward", true, &bound));
    hear(U, Connection::RequestSuccess { data: b"" });
    let recorded = out.iter().filter_map(|effect| match effect {
        Effect::Send {
            payload, record, ..
        } => Some((payload[0], *record)),
        _ => None,
    });
    let recorded: Vec<_> = recorded.collect();
    let all = [80, 81, 90, 91, 80, 81].map(|number| (number, Some(17)));
    assert_eq!(recorded, all);
    let outcome = out.iter().find_map(|effect| match effect {
        Effect::Outcome { kind, detail, .. } => Some((*kind, detail.as_str())),
        _ => None,
    });
    assert_eq!(outcome, Some((OutcomeKind::Done, "port 4000")));
}

/// A connection of the agent is part of the action that permitted it, whatever was permitted after that.
#[test]
fn connections_of_an_agent_are_recorded_as_part_of_its_action() {
    let mut b = Bench::new();
    b.session(7, 3, 1000);
    for (name, seq, data) in [
        (&b"auth-agent-req@openssh.com"[..], 17, Vec::new()),
        (b"env", 18, strings(&[b"A", b"b"])),
    ] {
        b.client(request(3, name, false, &data));
        let (ticket, _, forward) = b.asks.pop_front().unwrap();
        let grant = Grant {
            seq,
            ..Grant::default()
        };
        let mut out = Vec::new();
        let granted = b.core.granted(ticket, forward, grant, b.now, &mut out);
        assert_eq!(granted, Ok(true));
    }
    let mut out = Vec::new();
    let payload = made(&open(b"auth-agent@openssh.com", 4, 10, b""));
    b.core.receive(U, &payload, b.now, &mut out).unwrap();
    let recorded = out.iter().find_map(|effect| match effect {
        Effect::Send { to: C, record, .. } => Some(*record),
        _ => None,
    });
    assert_eq!(recorded, Some(Some(17)));
}
