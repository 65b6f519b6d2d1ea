//! How gated shells end, and who has which channel.

use super::*;

#[test]
fn a_shell_does_not_go_on_without_its_gate() {
    // The host opens one session only.
    let mut g = Gated::asked();
    g.b.upstream(Connection::OpenFailure {
        recipient: FIRST,
        reason: 2,
        description: b"open failed",
    });
    g.over("does not open: open failed");
    // It has no bash, or one that is too old.
    let mut g = Gated::helped();
    g.b.upstream(errors(FIRST, b"sh: /bin/bash: not found\n"));
    g.b.upstream(on(FIRST, ChannelMessage::Eof));
    g.over("/bin/bash: not found");
    let mut g = Gated::helped();
    g.says("no bash is older than 4.4");
    g.over("bash is older than 4.4");
    // The login's own files go their own way.
    let mut g = Gated::helped();
    g.says("made");
    g.b.gets(U, request(11, b"exec", true, b"\0\0\0\x04bash"));
    g.b.passes(U, on(1, ChannelMessage::Success));
    g.b.now += Limits::default().gate_patience;
    let mut out = Vec::new();
    assert!(g.b.core.deadline().is_some_and(|at| at <= g.b.now));
    g.b.core.tick(g.b.now, &mut out).unwrap();
    g.b.take(out);
    g.over("was not there within 30 s");
    // The helper ends, or talks nonsense, while a command waits: nothing is granted any more.
    for end in ["nonsense", "close", "exit-signal"] {
        let mut g = Gated::live();
        g.asks("a", 1, "rm x");
        g.b.sent = Pair::default();
        match end {
            "nonsense" => g.says("rm"),
            "close" => g.b.upstream(on(FIRST, ChannelMessage::Close)),
            name => g.b.upstream(request(FIRST, name.as_bytes(), false, b"")),
        }
        g.over("gate of this shell");
        let (ticket, _, forward) = g.b.asks.pop_front().unwrap();
        assert_eq!(g.b.cancelled, [ticket]);
        assert!(!g.b.grant_it(ticket, forward));
        let told: Vec<u8> = g.b.sent.upstream.drain(..).flatten().collect();
        assert!(!String::from_utf8_lossy(&told).contains("yes"));
    }
}

/// The host has not read yet that it is closed, or says so late: nothing is said on it any more.
#[test]
fn on_a_channel_that_is_closed_nothing_is_said() {
    let mut g = Gated::live();
    g.asks("a", 1, "rm x");
    // Answers for which the host has given no window.
    let none = format!("main {} no\n", "z".repeat(64)).len();
    for n in 0..100_000 / none {
        g.asks(&format!("{n:064}"), 1, "trap - DEBUG");
        g.b.client(data(11, b"x"));
    }
    g.b.upstream(on(1, ChannelMessage::Close));
    g.b.sent = Pair::default();
    let bytes = 1 << 20;
    for message in [
        on(FIRST, ChannelMessage::WindowAdjust { bytes }),
        request(FIRST, b"keepalive@openssh.com", true, b""),
        request(FIRST, b"exit-status", true, b"\0\0\0\0"),
        on(FIRST, ChannelMessage::Failure),
        on(FIRST, ChannelMessage::Success),
        errors(FIRST, b"x"),
    ] {
        g.b.upstream(message);
    }
    g.asks("b", 1, "ls");
    g.says("made");
    g.says("no bash");
    for _ in 0..6 {
        g.b.upstream(data(FIRST, &[b'x'; 20 << 10]));
    }
    g.says("nonsense");
    g.b.upstream(on(FIRST, ChannelMessage::Eof));
    g.b.gets_nothing(U);
    assert_eq!((g.b.asks.len(), g.b.sent.client.len()), (1, 0));
    // What it was given room for once is all that it may say.
    let mut broken = Ok(());
    for _ in 0..16 {
        broken = broken.and(g.b.try_from(U, data(FIRST, &[b'x'; 20 << 10])));
    }
    assert_eq!(broken, Err(Violation::Window(U, FIRST, 20 << 10)));
    // One that the host confirms after its shell was given up is closed, and that is all.
    let mut g = Gated::asked();
    g.b.sent = Pair::default();
    g.b.passes(C, on(11, ChannelMessage::Close));
    g.b.upstream(confirmation(FIRST, H, 100_000));
    g.b.gets(U, on(H, ChannelMessage::Close));
    g.b.upstream(on(FIRST, ChannelMessage::WindowAdjust { bytes }));
    g.b.upstream(request(FIRST, b"x", true, b""));
    g.b.gets_nothing(U);
    g.b.upstream(on(FIRST, ChannelMessage::Close));
    g.b.gets_nothing(U);
}

/// OpenSSH's clients say so before they ask for their shell, and the gate is one more session.
#[test]
fn that_there_are_no_more_sessions_is_kept_here() {
    let mut b = Bench::new();
    b.session(1, 11, 10_000);
    let no_more = |want_reply| global(b"no-more-sessions@openssh.com", want_reply, b"");
    b.client(no_more(false));
    b.gets_nothing(U);
    b.gets_nothing(C);
    b.client(open(b"session", 2, 1000, b""));
    b.gets_nothing(U);
    let refused = b.sent.client.pop_front().unwrap();
    assert!(matches!(
        Connection::parse(&refused),
        Ok(Connection::OpenFailure { recipient: 2, .. })
    ));
    assert_eq!(b.turned.len(), 1, "and it is on record");
    // In its turn, and with nothing in it.
    b.passes(C, global(b"keepalive@openssh.com", true, b""));
    b.client(no_more(true));
    b.gets_nothing(C);
    b.passes(U, Connection::RequestFailure);
    b.gets(C, Connection::RequestSuccess { data: b"" });
    b.client(global(b"no-more-sessions@openssh.com", true, b"secret"));
    b.gets_nothing(U);
    b.gets(C, Connection::RequestFailure);
}

/// A prompt that runs something refused would ask for ever.
#[test]
fn who_is_refused_over_and_over_with_nothing_typed_is_ended() {
    let mut g = Gated::live();
    let bytes = 1 << 20;
    g.b.client(on(11, ChannelMessage::WindowAdjust { bytes }));
    for n in 0..Limits::default().gate_refusals {
        if n == 7 {
            g.b.client(data(11, b"x"));
        }
        g.asks(&format!("n{n}"), 1, "trap - DEBUG");
    }
    let told: Vec<u8> = g.b.sent.client.drain(..).flatten().collect();
    assert!(!String::from_utf8_lossy(&told).contains("exit-status"));
    for n in 0..8 {
        g.asks(&format!("m{n}"), 1, "trap - DEBUG");
    }
    g.over("with nothing typed");
}

#[test]
fn nobody_else_uses_our_numbers() {
    let mut b = Bench::new();
    let theirs = open(b"session", FIRST, 1000, b"");
    let broken = b.try_from(C, theirs);
    assert_eq!(broken, Err(Violation::Reserved(C, FIRST, FIRST)));
    let mut b = Bench::new();
    b.session(1, 11, 10_000);
    b.client(request(11, b"auth-agent-req@openssh.com", true, b""));
    b.grant();
    b.sent = Pair::default();
    b.passes(U, on(1, ChannelMessage::Success));
    b.upstream(open(b"auth-agent@openssh.com", 5, 1000, b""));
    let broken = b.try_from(C, confirmation(5, FIRST + 7, 1000));
    assert_eq!(broken, Err(Violation::Reserved(C, FIRST + 7, FIRST)));
    for message in [
        data(FIRST, b"x"),
        confirmation(FIRST, 1, 1),
        on(FIRST + 1, ChannelMessage::Eof),
    ] {
        let broken = Bench::new().try_from(U, message);
        assert!(
            matches!(broken, Err(Violation::NoChannel(U, _))),
            "{broken:?}"
        );
    }
    // The client cannot talk to the helper.
    let mut g = Gated::live();
    let broken = g.b.try_from(C, data(H, b"main a yes\n"));
    assert_eq!(broken, Err(Violation::NoChannel(C, H)));
    // Nor does the host say more than it was given room for.
    let mut g = Gated::live();
    let much = vec![b'x'; (32 << 10) + 1];
    let broken = g.b.try_from(U, data(FIRST, &much));
    assert_eq!(broken, Err(Violation::Window(U, FIRST, much.len())));
}

/// A shell that is given up while its gate begins never ran, and that is its end on record.
#[test]
fn a_shell_that_is_given_up_before_it_was_started_is_on_record() {
    for helped in [false, true] {
        for end in ["closed", "by the host", "session"] {
            let mut g = match helped {
                true => Gated::helped(),
                false => Gated::asked(),
            };
            match end {
                "closed" => {
                    g.b.client(on(11, ChannelMessage::Close));
                    g.b.upstream(on(1, ChannelMessage::Close));
                }
                "by the host" => g.b.upstream(on(1, ChannelMessage::Close)),
                _ => {
                    let mut out = Vec::new();
                    g.b.core.abandon(&mut out);
                    g.b.take(out);
                }
            }
            let ends: Vec<_> =
                g.b.outcomes
                    .iter()
                    .map(|(_, kind, why, _)| (*kind, &**why))
                    .collect();
            let [.., (OutcomeKind::Cancelled, why)] = ends.as_slice() else {
                panic!("{helped} {end}: {ends:?}");
            };
            assert!(why.contains("before it was started"), "{why}");
        }
    }
    // One that runs has an end of its own.
    let mut g = Gated::live();
    g.b.client(on(11, ChannelMessage::Close));
    g.b.upstream(on(1, ChannelMessage::Close));
    let last = g.b.outcomes.last().map(|(_, kind, ..)| *kind);
    assert_eq!(last, Some(OutcomeKind::Unknown));
}
