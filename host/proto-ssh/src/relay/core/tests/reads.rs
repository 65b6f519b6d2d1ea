//! Command lines that take long to read: only their channels wait.

use super::*;
use crate::action::What;

const C: Side = Side::Client;
const U: Side = Side::Upstream;

/// Longer than what is read at once.
fn long(word: &str) -> String {
    format!("echo {}", word.repeat((8 << 10) / word.len()))
}

fn exec(number: u32, command: &str) -> Bytes {
    let command = strings(&[command.as_bytes()]);
    made(&request(number, b"exec", true, &command))
}

#[test]
fn only_the_channel_waits_whose_command_is_read() {
    let mut b = Bench::new();
    b.running(1, 11, 1000);
    b.session(2, 12, 100_000);
    let slow = long("a");
    b.raw(C, &exec(12, &slow)).unwrap();
    b.client(data(12, b"one"));
    b.client(request(12, b"window-change", false, &[0; 16]));
    b.client(request(12, b"exec", true, &strings(&[b"rm"])));
    b.core.check();
    assert_eq!((b.reads.len(), b.asks.len()), (1, 0));
    b.gets_nothing(U);
    b.gets_nothing(C);
    // The others go on, and begin.
    b.passes(C, data(11, b"x"));
    b.passes(U, data(1, b"y"));
    b.session(3, 13, 1000);
    b.client(request(13, b"exec", true, &strings(&[b"ls"])));
    b.grant();
    b.gets(U, request(13, b"exec", true, &pinned("ls")));
    b.read();
    b.core.check();
    b.gets_nothing(U);
    b.grant();
    b.gets(U, request(12, b"exec", true, &pinned(&slow)));
    b.gets(U, data(12, b"one"));
    b.gets(U, request(12, b"window-change", false, &[0; 16]));
    b.gets_nothing(U);
    b.passes(U, on(2, ChannelMessage::Success));
    // A second program on a channel.
    b.gets(C, on(2, ChannelMessage::Failure));
    assert_eq!(b.core.counts().2, 0);
}

#[test]
fn what_ends_the_reading_of_a_command() {
    let signal = strings(&[b"TERM"]);
    for (what, by) in [
        (request(3, b"signal", false, &signal), C),
        (on(3, ChannelMessage::Close), C),
        (on(7, ChannelMessage::Close), U),
    ] {
        let mut b = Bench::new();
        b.session(7, 3, 1000);
        b.raw(C, &exec(3, &long("a"))).unwrap();
        b.try_from(by, what).unwrap();
        let (ticket, unread) = b.reads.pop_front().unwrap();
        assert_eq!(b.cancelled, [ticket], "{what:?}");
        if by == U || what == on(3, ChannelMessage::Close) {
            // It was read at the same moment.
            let mut out = Vec::new();
            b.core
                .was_read(ticket, unread.read(), b.now, &mut out)
                .unwrap();
            assert!(out.is_empty(), "nobody wants it any more");
            assert_eq!(b.turned.len(), 1, "on record");
            let (other, number) = if by == U { (C, 3) } else { (U, 7) };
            b.gets(by.other(), what);
            b.passes(other, on(number, ChannelMessage::Close));
            assert_eq!(b.core.counts(), (0, 0, 0));
            continue;
        }
        b.refuse_it(ticket);
        b.gets_nothing(U);
        b.gets(C, on(7, ChannelMessage::Success));
        b.gets(C, errors(7, b"weir: refused: no\n"));
        assert_eq!(b.turned.len(), 1, "on record");
        assert!(b.asks.is_empty());
    }
}

/// Everything that waits for a reading is counted like what waits for a decision.
/// Behind something that is decided on, a command waits without being read.
#[test]
fn commands_that_waited_are_on_record() {
    let value = strings(&[b"A", b"b"]);
    let variable = request(3, b"env", true, &value);
    for end in ["closed", "by the host", "session"] {
        let mut b = Bench::new();
        b.session(7, 3, 1000);
        b.client(variable);
        assert_eq!(b.asks.len(), 1);
        b.client(request(3, b"exec", true, &strings(&[b"reboot"])));
        assert!(b.turned.is_empty() && b.reads.is_empty());
        match end {
            "closed" => b.client(on(3, ChannelMessage::Close)),
            "by the host" => b.try_from(U, on(7, ChannelMessage::Close)).unwrap(),
            _ => {
                let mut out = Vec::new();
                b.core.abandon(&mut out);
                let turned = out.iter().filter(|e| matches!(e, Effect::Refused(_)));
                assert_eq!(turned.count(), 1, "{end}");
                continue;
            }
        }
        assert_eq!(b.turned.len(), 1, "{end}");
        b.core.check();
    }
}

#[test]
fn commands_that_are_read_are_bounded_together() {
    let mut b = Bench::with(Limits {
        waiting: 100_000,
        ..Limits::default()
    });
    let slow = long("a");
    let mut ended = Ok(());
    for n in 0..100 {
        b.session(n, 100 + n, 1000);
        ended = b.raw(C, &exec(100 + n, &slow));
        b.core.check();
        if ended.is_err() {
            break;
        }
    }
    assert_eq!(ended, Err(Violation::Waiting(C, 100_000)));
    assert!(b.reads.len() < 10, "{}", b.reads.len());
}

/// A script is there before its command is known to be one that runs it.
#[test]
fn a_script_that_came_first_is_read_to_its_end() {
    let script = b"rm x\n";
    // While the command is read; while what stands before it is decided on.
    for behind in ["reading", "variable"] {
        let mut b = Bench::new();
        b.session(7, 3, 0);
        let variable = strings(&[b"LANG", b"C"]);
        let command = match behind {
            "variable" => {
                b.client(request(3, b"env", false, &variable));
                "sh".to_owned()
            }
            _ => format!("sh -s {}", "a".repeat(8 << 10)),
        };
        b.core.check();
        b.raw(C, &exec(3, &command)).unwrap();
        let room = b.core.limits.window.min(100);
        b.upstream(adjust(7, room));
        b.gets(C, adjust(7, room));
        b.client(data(3, script));
        b.client(on(3, ChannelMessage::Eof));
        match behind {
            "variable" => drop(b.grant()),
            _ => b.read(),
        }
        b.core.check();
        let (_, asked, _) = b.asks.front().expect("the whole of it is decided on");
        let What::Exec { line, .. } = &asked.what else {
            panic!("{asked:?}");
        };
        assert_eq!(line.script.as_ref().unwrap().bytes, script.as_slice());
        b.grant();
        assert!(b.sent.upstream.iter().any(|m| m.ends_with(script)));
    }
}

/// So may a script be longer than what is read at once.
#[test]
fn a_long_script_is_read_elsewhere() {
    let mut b = Bench::new();
    b.session(7, 3, 2 << 20);
    b.client(request(3, b"exec", true, &strings(&[b"sh"])));
    b.gets(C, on(7, ChannelMessage::Success));
    let script = "ls\n".repeat(3 << 10);
    b.client(data(3, script.as_bytes()));
    b.client(on(3, ChannelMessage::Eof));
    assert!(b.asks.is_empty());
    b.core.check();
    b.read();
    b.grant();
    b.gets(U, request(3, b"exec", true, &pinned("sh")));
    b.gets(U, data(3, script.as_bytes()));
    b.gets(U, on(3, ChannelMessage::Eof));
    b.upstream(on(7, ChannelMessage::Success));
    b.gets_nothing(C);
    assert_eq!(b.core.counts().2, 0);
}
