//! A channel that waits for a decision.

use super::*;

const C: Side = Side::Client;
const U: Side = Side::Upstream;

#[test]
fn only_its_own_channel_waits() {
    let mut b = Bench::new();
    b.running(1, 11, 1000);
    b.session(2, 12, 1000);
    b.client(request(12, b"exec", true, b"\0\0\0\x02rm"));
    b.client(data(12, b"one"));
    b.client(request(12, b"window-change", true, &[0; 16]));
    b.client(data(12, b"two"));
    b.client(data(12, b"three"));
    b.client(on(12, ChannelMessage::Eof));
    b.gets_nothing(U);
    b.core.check();
    let rm = pinned("rm");
    let kept = [
        request(12, b"exec", true, &rm),
        request(12, b"window-change", true, &[0; 16]),
        on(12, ChannelMessage::Eof),
    ];
    let kept: usize = kept.iter().map(|m| made(m).len()).sum();
    assert_eq!(b.core.counts(), (2, 1, 11 + kept));
    // The other channel, keepalives, and the other direction go on.
    b.passes(C, data(11, b"x"));
    b.passes(U, data(1, b"y"));
    b.passes(C, global(b"keepalive@openssh.com", true, b""));
    b.passes(U, Connection::RequestFailure);
    b.passes(U, request(2, b"keepalive@openssh.com", true, b""));
    b.passes(C, on(12, ChannelMessage::Failure));
    b.passes(C, adjust(12, 5));
    b.grant();
    b.gets(U, request(12, b"exec", true, &pinned("rm")));
    b.gets(U, data(12, b"one"));
    b.gets(U, request(12, b"window-change", true, &[0; 16]));
    b.gets(U, data(12, b"twothree"));
    b.gets(U, on(12, ChannelMessage::Eof));
    b.passes(U, on(2, ChannelMessage::Success));
    b.passes(U, on(2, ChannelMessage::Failure));
    assert_eq!(b.core.counts(), (2, 0, 0));
}

#[test]
fn what_ends_a_wait() {
    let signal = strings(&[b"TERM"]);
    for (what, with_pty) in [
        (request(3, b"signal", false, &signal), false),
        (data(3, b"ls\x03"), true),
        (on(3, ChannelMessage::Close), false),
    ] {
        let mut b = Bench::new();
        b.session(7, 3, 1000);
        if with_pty {
            b.client(request(3, b"pty-req", false, &pty()));
            b.grant();
        }
        b.client(request(3, b"exec", true, b"\0\0\0\x02rm"));
        b.sent = Pair::default();
        let (ticket, _, forward) = b.asks.pop_front().unwrap();
        b.client(what);
        assert_eq!(b.cancelled, [ticket], "{what:?}");
        if what == on(3, ChannelMessage::Close) {
            b.gets(U, what);
            // People agreed at the same moment: it is not sent any more.
            assert!(!b.grant_it(ticket, forward));
            b.gets_nothing(U);
            b.passes(U, on(7, ChannelMessage::Close));
            assert_eq!(b.core.counts(), (0, 0, 0));
        } else {
            b.refuse_it(ticket);
            b.gets_nothing(U);
            b.gets(C, on(7, ChannelMessage::Success));
        }
    }
}

#[test]
fn what_does_not_end_a_wait() {
    let winch = strings(&[b"WINCH"]);
    for what in [
        on(3, ChannelMessage::Eof),
        data(3, b"\x03 without a terminal"),
        request(3, b"signal", false, &winch),
        request(3, b"break", false, &[0; 4]),
    ] {
        let mut b = Bench::new();
        b.session(7, 3, 1000);
        b.client(request(3, b"exec", true, b"\0\0\0\x02rm"));
        b.client(what);
        assert!(b.cancelled.is_empty(), "{what:?}");
        b.grant();
        b.gets(U, request(3, b"exec", true, &pinned("rm")));
        b.gets(U, what);
    }
}

#[test]
fn the_host_closes_a_channel_that_waits() {
    let mut b = Bench::new();
    b.session(7, 3, 1000);
    b.client(request(3, b"exec", true, b"\0\0\0\x02rm"));
    b.client(data(3, b"input"));
    let (ticket, _, forward) = b.asks.pop_front().unwrap();
    b.passes(U, on(7, ChannelMessage::Close));
    assert_eq!(b.cancelled, [ticket]);
    assert!(!b.grant_it(ticket, forward));
    b.client(data(3, b"more"));
    b.gets_nothing(U);
    b.passes(C, on(3, ChannelMessage::Close));
    assert_eq!(b.core.counts(), (0, 0, 0));
}

#[test]
fn requests_that_wait_are_bounded() {
    let mut b = Bench::new();
    b.session(7, 3, 1000);
    b.client(request(3, b"exec", true, b"\0\0\0\x02rm"));
    let mut result = Ok(());
    let mut n = 0;
    while result.is_ok() && n < 1000 {
        result = b.try_from(C, request(3, b"break", false, &[0; 4]));
        n += 1;
    }
    assert_eq!((n, result), (129, Err(Violation::Requests(C, 3, 128))));
    let mut b = Bench::new();
    b.client(global(b"tcpip-forward", true, b"\0\0\0\0\0\0\0\x50"));
    let mut n = 0;
    while b
        .try_from(
            C,
            global(b"cancel-tcpip-forward", true, b"\0\0\0\0\0\0\0\x50"),
        )
        .is_ok()
        && n < 1000
    {
        n += 1;
    }
    assert_eq!(n, 64);
}

/// Whoever drags a window while a command waits is not a flood.
#[test]
fn of_many_sizes_of_a_terminal_the_last_one_waits() {
    let mut b = Bench::new();
    b.session(7, 3, 1000);
    b.client(request(3, b"exec", true, b"\0\0\0\x02rm"));
    for n in 0..1000_u32 {
        let mut size = n.to_be_bytes().to_vec();
        size.extend([0; 12]);
        b.client(request(3, b"window-change", false, &size));
        b.client(data(3, b"k"));
    }
    b.grant();
    b.gets(U, request(3, b"exec", true, &pinned("rm")));
    let waited: Vec<_> = b.sent.upstream.drain(..).collect();
    let sizes: Vec<_> = waited.iter().filter(|m| m[0] == 98).collect();
    assert!(
        sizes.len() == 1 && sizes[0].ends_with(&[&999_u32.to_be_bytes()[..], &[0; 12]].concat())
    );
}

/// A terminal that is resized before something runs on it has its new width from the start.
#[test]
fn a_program_is_shown_on_the_terminal_as_it_is() {
    let mut b = Bench::new();
    b.session(7, 3, 1000);
    let wide = [&132_u32.to_be_bytes()[..], &[0; 12]].concat();
    b.client(request(3, b"pty-req", false, &pty()));
    b.client(request(3, b"window-change", false, &wide));
    b.client(request(3, b"shell", false, b""));
    b.grant();
    let (_, asked, _) = b.asks.pop_front().unwrap();
    assert_eq!(asked.before.columns(), Some(132));
    // Without a terminal there is no width.
    let mut b = Bench::new();
    b.session(7, 3, 1000);
    b.client(request(3, b"window-change", false, &wide));
    b.client(request(3, b"shell", false, b""));
    let (_, asked, _) = b.asks.pop_front().unwrap();
    assert_eq!(asked.before.columns(), None);
}

#[test]
fn all_that_waits_together_is_bounded() {
    let mut b = Bench::with(Limits {
        waiting: 1000,
        ..Limits::default()
    });
    let mut sent = 0;
    let mut last = Ok(());
    let exec = made(&request(0, b"exec", true, &pinned("rm"))).len();
    'all: for c in 0..4 {
        b.session(c, c, 1000);
        b.client(request(c, b"exec", true, b"\0\0\0\x02rm"));
        sent += exec;
        for _ in 0..4 {
            last = b.try_from(C, data(c, &[0; 100]));
            if last.is_err() {
                break 'all;
            }
            sent += 100;
        }
    }
    assert!((900..=1000).contains(&sent), "{sent}");
    assert_eq!(last, Err(Violation::Waiting(C, 1000)));
}

/// Requests that wait cost what they are long, wherever they wait.
#[test]
fn requests_that_wait_are_counted() {
    let long = vec![b'x'; 100 << 10];
    let names = vec![b'x'; 7 << 10];
    let max = 2 << 20;
    let limits = || Limits {
        waiting: max,
        globals: 1 << 10,
        ..Limits::default()
    };
    let env = strings(&[b"A", &long]);
    let port = |host: &[u8]| {
        let mut data = strings(&[host]);
        data.uint32(80);
        data
    };
    let (port, first) = (port(&names), port(b"h"));
    let mut to = strings(&[&names]);
    to.uint32(80).string(b"").uint32(0);
    // Behind a decision on their channel, behind one on a listener, and being decided on themselves.
    type Flood<'a> = Box<dyn Fn(u32) -> Bytes + 'a>;
    let mut floods: Vec<(Bench, Flood<'_>)> = Vec::new();
    let mut b = Bench::with(limits());
    b.session(7, 3, 1000);
    b.client(request(3, b"exec", true, b"\0\0\0\x02rm"));
    floods.push((b, Box::new(|_| made(&request(3, b"env", false, &env)))));
    let mut b = Bench::with(limits());
    b.client(global(b"tcpip-forward", true, &first));
    floods.push((
        b,
        Box::new(|_| made(&global(b"tcpip-forward", true, &port))),
    ));
    let b = Bench::with(Limits {
        channels: 1 << 10,
        ..limits()
    });
    floods.push((b, Box::new(|n| made(&open(b"direct-tcpip", n, 1, &to)))));
    for (mut b, message) in floods {
        let mut bytes = 0;
        let mut n = 0;
        let last = loop {
            let message = message(n);
            if let Err(violation) = b.raw(C, &message) {
                break violation;
            }
            b.core.check();
            bytes += message.len();
            n += 1;
            assert!(bytes <= max, "{bytes} wait");
        };
        assert_eq!(last, Violation::Waiting(C, max));
        assert!(bytes > max / 2, "{bytes}");
    }
}

/// Of what is too long for any request only the asking waits, and it is answered in its turn.
#[test]
fn what_is_too_long_does_not_wait() {
    let huge = vec![b'x'; 200 << 10];
    let mut b = Bench::new();
    b.session(7, 3, 1000);
    b.client(request(3, b"env", true, &strings(&[b"A", b"b"])));
    let before = b.core.counts().2;
    b.client(request(3, b"env", true, &strings(&[b"A", &huge])));
    b.client(request(3, b"exec", true, &strings(&[&huge])));
    b.client(request(3, b"exec", true, &strings(&[b"ls"])));
    assert!(b.core.counts().2 < before + 100);
    b.grant();
    b.gets(U, request(3, b"env", true, &strings(&[b"A", b"b"])));
    b.gets_nothing(U);
    b.passes(U, on(7, ChannelMessage::Success));
    b.gets(C, on(7, ChannelMessage::Failure));
    b.gets(C, on(7, ChannelMessage::Success));
    let why = "weir: refused: the request has 204804 bytes, at most 131072 of it are read\n";
    b.gets(C, errors(7, why.as_bytes()));
    assert!(b.asks.is_empty());
    b.core.check();

    let mut b = Bench::new();
    b.client(global(b"tcpip-forward", true, &[0, 0, 0, 0, 0, 0, 0, 80]));
    let before = b.core.counts().2;
    b.client(global(b"tcpip-forward", true, &huge));
    assert!(b.core.counts().2 < before + 100);
    b.refuse();
    b.gets(C, Connection::RequestFailure);
    b.gets(C, Connection::RequestFailure);
    assert!(b.asks.is_empty());

    let mut b = Bench::new();
    let mut to = strings(&[&huge]);
    to.uint32(80).string(b"").uint32(0);
    b.client(open(b"direct-tcpip", 1, 1, &to));
    assert!(b.asks.is_empty());
    assert_eq!(b.sent.client.pop_front().unwrap()[0], 92);

    // Modes of a terminal, and what passes without a decision.
    let mut b = Bench::new();
    b.session(7, 3, 1000);
    let mut modes = pty();
    modes.truncate(modes.len() - 5);
    modes.string(&huge);
    b.client(request(3, b"pty-req", true, &modes));
    b.gets(C, on(7, ChannelMessage::Failure));
    b.client(request(3, b"signal", true, &strings(&[&huge])));
    b.gets(C, on(7, ChannelMessage::Failure));
    assert!(b.asks.is_empty());
    b.gets_nothing(U);
}

/// Clients send all of their environment at once. What is too much of it is refused; what comes behind it is read.
#[test]
fn variables_that_wait_end_nothing() {
    let mut b = Bench::new();
    b.session(7, 3, 1000);
    let name = |n: usize| format!("X_{n}");
    for n in 0..300 {
        let data = strings(&[name(n).as_bytes(), b"v"]);
        assert_eq!(b.try_from(C, request(3, b"env", false, &data)), Ok(()));
    }
    assert_eq!(
        b.try_from(C, request(3, b"exec", true, &strings(&[b"env"]))),
        Ok(())
    );
    let mut result = Ok(());
    let mut n = 0;
    while result.is_ok() && n < 1000 {
        result = b.try_from(C, request(3, b"env", true, &strings(&[b"A", b"v"])));
        n += 1;
    }
    assert_eq!((n, result), (128, Err(Violation::Requests(C, 3, 128))));
    let first = b.asks.len();
    assert_eq!(first, 1);
    let mut asked = 0;
    while !b.asks.is_empty() {
        b.grant();
        asked += 1;
    }
    assert_eq!(asked, 128 + 1, "128 variables, and what is to be run");
}

/// What passes without a decision waits for nobody, except behind data that the host has no room for.
#[test]
fn requests_behind_data_are_bounded() {
    let mut b = Bench::new();
    b.client(open(b"session", 7, 1000, b""));
    b.upstream(confirmation(7, 3, 0));
    b.client(request(3, b"exec", true, &strings(&[b"bash -s"])));
    b.client(data(3, b"ls"));
    b.client(on(3, ChannelMessage::Eof));
    b.grant();
    let mut result = Ok(());
    let mut n = 0;
    while result.is_ok() && n < 1000 {
        result = b.try_from(C, request(3, b"window-change", false, &[0; 16]));
        n += 1;
    }
    assert_eq!(result, Err(Violation::Requests(C, 3, 128)));
}

mod scripts {
    use super::*;
    use crate::action::What;

    const SIZE: usize = 1 << 20;

    fn begun(b: &mut Bench) {
        b.client(open(b"session", 7, 1000, b""));
        b.upstream(confirmation(7, 3, 0));
        b.sent = Pair::default();
        b.client(request(3, b"exec", true, &strings(&[b"bash -s"])));
        assert!(b.asks.is_empty(), "not before its script is there");
        b.gets_nothing(U);
        b.gets(C, on(7, ChannelMessage::Success));
        // The host has given no window yet; without one the script could not come.
        b.gets(C, adjust(7, SIZE as u32 + 1));
    }

    #[test]
    fn a_script_is_decided_on_with_its_command() {
        let mut b = Bench::new();
        begun(&mut b);
        b.client(data(3, b"rm -rf"));
        b.client(request(3, b"window-change", false, &[0; 16]));
        b.client(data(3, b" /srv"));
        b.gets_nothing(U);
        b.client(on(3, ChannelMessage::Eof));
        let (ticket, asked, forward) = b.asks.pop_front().unwrap();
        match &asked.what {
            What::Exec { line, .. } => {
                assert_eq!(line.script.as_ref().unwrap().bytes, &b"rm -rf /srv"[..]);
            }
            other => panic!("{other:?}"),
        }
        assert!(b.grant_it(ticket, forward));
        b.gets(U, request(3, b"exec", true, &pinned("bash -s")));
        b.gets_nothing(U);
        // The client has had its answer.
        b.upstream(on(7, ChannelMessage::Success));
        b.gets_nothing(C);
        b.upstream(adjust(7, 8));
        b.gets(U, data(3, b"rm -rf"));
        b.gets(U, request(3, b"window-change", false, &[0; 16]));
        b.gets(U, data(3, b" /"));
        b.upstream(adjust(7, 2 << 20));
        b.gets(U, data(3, b"srv"));
        b.gets(U, on(3, ChannelMessage::Eof));
        // What was lent is kept back: the client knows of no more than the host gave.
        let given = b.sent.client.pop_front().unwrap();
        let lent = SIZE as u32 + 1;
        assert_eq!(given[5..], ((2 << 20) + 8 - lent).to_be_bytes());
        b.core.check();
    }

    #[test]
    fn what_ends_the_reading_of_a_script() {
        let signal = strings(&[b"INT"]);
        let long = vec![b'x'; 32 << 10];
        for (n, why) in [
            (0, "it was interrupted"),
            (
                1,
                "what comes on its standard input is run, and has more than 1048576 bytes",
            ),
            (
                2,
                "what comes on its standard input is run, and did not end within 120 s",
            ),
            (3, ""),
        ] {
            let mut b = Bench::new();
            begun(&mut b);
            match n {
                0 => b.client(request(3, b"signal", false, &signal)),
                1 => {
                    for _ in 0..32 {
                        b.client(data(3, &long));
                    }
                    b.gets_nothing(C);
                    b.client(data(3, b"x"));
                }
                2 => {
                    let mut out = Vec::new();
                    b.now += std::time::Duration::from_secs(4);
                    assert!(b.core.deadline().unwrap() < b.now);
                    b.core.tick(b.now, &mut out).unwrap();
                    b.take(std::mem::take(&mut out));
                    assert!(b.sent.client.pop_front().is_some(), "somebody is told");
                    b.now += std::time::Duration::from_secs(120);
                    b.core.tick(b.now, &mut out).unwrap();
                    b.take(out);
                }
                _ => {
                    b.passes(C, on(3, ChannelMessage::Close));
                    b.passes(U, on(7, ChannelMessage::Close));
                }
            }
            if !why.is_empty() {
                b.gets(C, errors(7, format!("weir: refused: {why}\n").as_bytes()));
                b.gets(C, request(7, b"exit-status", false, &[0, 0, 0, 126]));
                b.client(on(3, ChannelMessage::Close));
                b.upstream(on(7, ChannelMessage::Close));
            }
            assert!(b.asks.is_empty());
            assert_eq!(b.core.counts(), (0, 0, 0));
        }
    }

    #[test]
    fn a_refused_script_never_arrives() {
        let mut b = Bench::new();
        begun(&mut b);
        b.client(data(3, b"rm"));
        b.client(on(3, ChannelMessage::Eof));
        b.refuse();
        b.gets(C, errors(7, b"weir: refused: no\nweir: ask first\n"));
        b.upstream(adjust(7, 1000));
        b.gets_nothing(U);
        // The host does not start it: the client, which was told that it has, sees it end.
        let mut b = Bench::new();
        begun(&mut b);
        b.client(on(3, ChannelMessage::Eof));
        b.grant();
        b.upstream(on(7, ChannelMessage::Failure));
        b.gets(C, errors(7, b"weir: the host refused it\n"));
        b.gets(C, request(7, b"exit-status", false, &[0, 0, 0, 126]));
    }

    /// What is sent is what was read, and what has no such form says so.
    #[test]
    fn a_command_is_sent_as_it_was_read() {
        for (command, sent) in [
            ("r''m {a,b}", Some(shell::for_any_host("rm a b"))),
            ("scp -t /srv/x", Some("scp -t /srv/x".to_owned())),
            (
                "git-upload-pack '/srv/a.git'",
                Some("git-upload-pack '/srv/a.git'".to_owned()),
            ),
            ("$X", None),
        ] {
            let mut b = Bench::new();
            b.session(7, 3, 1000);
            b.client(request(3, b"exec", true, &strings(&[command.as_bytes()])));
            let (_, asked, _) = b.asks.front().unwrap();
            let What::Exec { line, .. } = &asked.what else {
                panic!("{asked:?}");
            };
            assert_eq!(line.sent == crate::action::Sent::Unpinned, sent.is_none());
            b.grant();
            let sent = sent.unwrap_or_else(|| command.to_owned());
            b.gets(U, request(3, b"exec", true, &strings(&[sent.as_bytes()])));
        }
    }

    #[test]
    fn terminals_and_indifferent_policies_are_not_read_ahead() {
        let mut b = Bench::new();
        b.session(7, 3, 0);
        b.client(request(3, b"pty-req", false, &pty()));
        b.grant();
        b.client(request(3, b"exec", true, &strings(&[b"bash"])));
        b.grant();
        let mut b = Bench::new();
        b.core.set_gathers(false);
        b.session(7, 3, 0);
        b.client(request(3, b"exec", true, &strings(&[b"bash"])));
        b.grant();
        b.gets(U, request(3, b"exec", true, &strings(&[b"bash"])));
    }
}
