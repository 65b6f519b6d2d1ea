//! What is refused without a decision is told to whoever keeps the record.

use std::sync::Arc;

use pipeline::{Facts, Protocol, Target};

use super::*;
use crate::terms::Place;
use Side::{Client as C, Upstream as U};

pub(super) fn told(b: &Bench) -> Vec<(String, String, usize)> {
    let place = Place {
        login: "root".into(),
        ports: Arc::new([22]),
        target: Arc::new(Target {
            name: "web1".into(),
            protocol: Protocol::Ssh,
            env: "test".into(),
            tags: Default::default(),
        }),
    };
    let tell = |turned: &Turned| {
        let unasked = turned.unasked(&place);
        let Facts::Ssh(facts) = &unasked.facts else {
            panic!("no facts of SSH");
        };
        assert_eq!(&*facts.login, "root");
        (
            facts.text.to_string(),
            unasked.reason,
            unasked.accesses.len(),
        )
    };
    b.turned.iter().map(tell).collect()
}

#[track_caller]
fn one(b: &Bench, text: &str, reason: &str) {
    let told = told(b);
    let [(t, r, _)] = told.as_slice() else {
        panic!("{told:?}");
    };
    assert_eq!((t.as_str(), r.contains(reason)), (text, true), "{r}");
    assert!(b.asks.is_empty());
}

#[test]
fn nothing_is_refused_in_silence() {
    for (name, body, text, reason) in [
        (
            &b"exec"[..],
            strings(&[b"ls\0rm"]),
            "ls\\u{0}rm",
            "a NUL byte",
        ),
        (
            b"exec",
            strings(&[b"rm\rls"]),
            "rm\\u{d}ls",
            "bare carriage",
        ),
        (
            b"env",
            strings(&[b"A=B", b"x"]),
            "A=B=x",
            "its name is none",
        ),
        (b"magic@x", vec![], "channel request magic@x", "no place"),
        (
            b"a\x1b[2K",
            vec![],
            "channel request a\\u{1b}[2K",
            "no place",
        ),
    ] {
        let mut b = Bench::new();
        b.session(7, 3, 1000);
        b.client(request(3, name, true, &body));
        one(&b, text, reason);
    }
    let mut b = Bench::new();
    b.client(open(b"odd@x", 4, 10, b""));
    one(&b, "channel odd@x", "not known");
    let mut b = Bench::new();
    b.client(global(b"odd-global", true, b""));
    one(&b, "global request odd-global", "no place");
    let mut at = strings(&[b"127.0.0.1"]);
    at.uint32(8080);
    let mut b = Bench::new();
    b.client(global(b"cancel-tcpip-forward", true, &at));
    one(&b, "global request cancel-tcpip-forward", "no place");
    let mut coming = strings(&[b"127.0.0.1"]);
    coming.uint32(8080).string(b"127.0.0.1").uint32(1);
    let mut b = Bench::new();
    b.upstream(open(b"forwarded-tcpip", 4, 10, &coming));
    one(
        &b,
        "channel of the host forwarded-tcpip",
        "nobody was permitted",
    );
    let mut b = Bench::new();
    b.upstream(open(b"auth-agent@openssh.com", 4, 10, b""));
    let text = "channel of the host auth-agent@openssh.com";
    one(&b, text, "nobody was permitted");
}

#[test]
fn what_is_known_of_it_is_kept() {
    let mut b = Bench::new();
    b.session(7, 3, 1000);
    b.client(request(3, b"exec", true, &strings(&[b"rm -rf /srv\0"])));
    let told = told(&b);
    assert!(
        told.iter().all(|(_, _, accesses)| *accesses > 0),
        "{told:?}"
    );
    // However long it is, the record has room for it.
    let long = vec![b'a'; (128 << 10) + 1];
    let mut b = Bench::new();
    b.session(7, 3, 1000);
    b.client(request(3, b"exec", true, &strings(&[&long])));
    let told = self::told(&b);
    assert!(told.iter().all(|(text, ..)| text.len() < 5_000));
    assert_eq!(told.len(), 1);
}

/// Of tiny requests there may be many, and each of them is not to bring along all that was set before.
#[test]
fn what_starts_nothing_is_told_of_without_what_was_set() {
    let mut b = Bench::new();
    b.session(7, 3, 1000);
    let value = vec![0xff; 60 << 10];
    b.client(request(3, b"env", false, &strings(&[b"LC_A", &value])));
    b.grant();
    b.client(request(3, b"env", false, &strings(&[b"", b""])));
    b.client(request(3, b"pty-req", false, &{
        let mut pty = strings(&[b"x\0"]);
        pty.extend([0; 16]);
        pty.extend(strings(&[b""]));
        pty
    }));
    b.client(request(3, b"exec", true, &strings(&[b"ls\0"])));
    let set = b.turned.iter().map(|turned| match &turned.tried {
        crate::action::Tried::Known(asked) => asked.before.env.len(),
        other => panic!("{other:?}"),
    });
    assert_eq!(set.collect::<Vec<_>>(), [0, 0, 1]);
}

#[test]
fn scripts_that_are_given_up_are_told_of() {
    for end in [Some(C), Some(U), None] {
        let mut b = Bench::new();
        b.session(7, 3, 1000);
        b.client(request(3, b"exec", true, &strings(&[b"bash -s"])));
        b.client(data(3, b"rm"));
        match end {
            Some(C) => b.client(on(3, ChannelMessage::Close)),
            Some(U) => b.upstream(on(7, ChannelMessage::Close)),
            None => {
                let mut out = Vec::new();
                b.core.abandon(&mut out);
                b.take(out);
            }
        }
        one(
            &b,
            "bash -s",
            "before the script on its standard input was whole",
        );
    }
}

#[test]
fn scripts_that_are_too_long_are_told_of() {
    let mut b = Bench::with(Limits {
        script: 3,
        ..Limits::default()
    });
    b.session(7, 3, 1000);
    b.client(request(3, b"exec", true, &strings(&[b"bash"])));
    b.client(data(3, b"rm -rf /"));
    one(&b, "bash", "more than 3 bytes");
}

/// PuTTY asks this all the time, and wants to be refused.
#[test]
fn what_means_nothing_is_not_told_of() {
    let mut b = Bench::new();
    b.session(7, 3, 1000);
    let ask = request(3, b"winadj@putty.projects.tartarus.org", true, b"");
    b.client(ask);
    b.gets(C, on(7, ChannelMessage::Failure));
    b.gets_nothing(U);
    assert!(b.turned.is_empty());
}
