//! What was asked for and given up before anything was decided: it is on record, and so is how it ended.

use super::turned::told;
use super::*;

const C: Side = Side::Client;
const U: Side = Side::Upstream;

/// Everything that waits behind something else on its channel, and how it is told of.
fn waiting() -> Vec<(Bytes, Option<&'static str>)> {
    let long = vec![b'x'; 200 << 10];
    let mut x11 = vec![0];
    x11.string(b"MIT").string(b"00").uint32(0);
    let rows: [(&[u8], Vec<u8>, _); 12] = [
        (b"exec", strings(&[b"reboot"]), Some("command reboot")),
        (
            b"exec",
            strings(&[&long]),
            Some("channel request exec 204804"),
        ),
        (b"shell", vec![], Some("")),
        (b"subsystem", strings(&[b"sftp"]), Some("sftp")),
        (b"subsystem", strings(&[b"netconf"]), Some("netconf")),
        (
            b"subsystem",
            strings(&[&long]),
            Some("channel request subsystem 204804"),
        ),
        (b"auth-agent-req@openssh.com", vec![], Some("agent")),
        (b"x11-req", x11, Some("x11")),
        (b"magic@x", b"?".to_vec(), Some("channel request magic@x")),
        // What sets something for a program that never is, and what asks for nothing.
        (b"env", strings(&[b"A", b"b"]), None),
        (b"window-change", vec![0; 16], None),
        (b"winadj@putty.projects.tartarus.org", vec![], None),
    ];
    let made = rows.into_iter().map(|(name, data, told)| {
        let message = made(&request(3, name, true, &data));
        (message, told)
    });
    made.collect()
}

/// The end of the session: what is known goes on record.
fn abandon(b: &mut Bench) {
    let mut out = Vec::new();
    b.core.abandon(&mut out);
    b.take(out);
}

#[test]
fn what_waited_is_on_record() {
    for (message, expect) in waiting() {
        for end in ["closed", "by the host", "refused", "session"] {
            let mut b = Bench::new();
            b.session(7, 3, 1000);
            match end {
                "refused" => b.client(request(3, b"exec", true, &strings(&[b"ls"]))),
                _ => b.client(request(3, b"env", true, &strings(&[b"LANG", b"C"]))),
            }
            b.raw(C, &message).unwrap();
            assert_eq!((b.turned.len(), b.asks.len()), (0, 1));
            match end {
                "closed" => b.client(on(3, ChannelMessage::Close)),
                "by the host" => b.upstream(on(7, ChannelMessage::Close)),
                "refused" => b.refuse(),
                _ => abandon(&mut b),
            }
            b.core.check();
            let told = told(&b);
            let Some(expect) = expect else {
                assert!(told.is_empty(), "{end}: {told:?}");
                continue;
            };
            let [(text, reason, _)] = told.as_slice() else {
                panic!("{end}, {expect}: {told:?}");
            };
            let why = match end {
                "session" => "the session ended before it was read",
                _ => "the channel was given up before it was read",
            };
            assert!(reason.contains(why), "{end}: {reason}");
            // Of what is too long, its name and how long it was.
            match expect.rsplit_once(' ').filter(|(_, n)| n.starts_with('2')) {
                Some((name, bytes)) => {
                    assert_eq!(text, name);
                    assert!(reason.contains(&format!("{bytes} bytes")), "{reason}");
                }
                None => assert_eq!(text, expect),
            }
        }
    }
}

/// Once its channel is refused, nothing is started there, however often it is asked for.
#[test]
fn what_comes_behind_a_refusal_is_on_record() {
    for (message, expect) in waiting() {
        let mut b = Bench::new();
        b.session(7, 3, 1000);
        b.client(request(3, b"exec", true, &strings(&[b"ls"])));
        b.refuse();
        assert!(b.turned.is_empty());
        b.sent = Pair::default();
        b.raw(C, &message).unwrap();
        b.gets_nothing(U);
        b.gets_nothing(C);
        let told = told(&b);
        assert_eq!(told.len(), usize::from(expect.is_some()), "{told:?}");
        let reasons = told
            .iter()
            .all(|(_, why, _)| why.contains("was refused before"));
        assert!(reasons, "{told:?}");
    }
}

/// A channel that is opened under a number that is not free yet, and listeners behind a decision.
#[test]
fn what_waited_beside_channels_is_on_record() {
    let mut to = strings(&[b"db"]);
    to.uint32(5432).string(b"::1").uint32(1);
    let port = |port| {
        let mut at = strings(&[b"127.0.0.1"]);
        at.uint32(port);
        at
    };
    // The client has closed it, and the host has not.
    let left = || {
        let mut b = Bench::new();
        b.session(7, 3, 1000);
        b.client(request(3, b"exec", true, &strings(&[b"ls"])));
        b.refuse();
        b.client(on(3, ChannelMessage::Close));
        b
    };
    let mut b = left();
    b.client(open(b"direct-tcpip", 7, 100, &to));
    b.client(global(b"tcpip-forward", true, &port(8080)));
    b.client(global(b"tcpip-forward", true, &port(8081)));
    b.client(global(b"cancel-tcpip-forward", true, &port(8080)));
    b.client(global(b"odd@x", true, b""));
    b.client(global(b"keepalive@openssh.com", true, b""));
    assert_eq!((b.turned.len(), b.asks.len()), (0, 1));
    abandon(&mut b);
    let told = told(&b);
    let told: Vec<_> = told.iter().map(|(text, ..)| text.as_str()).collect();
    let expect = [
        "channel direct-tcpip",
        "listen on 127.0.0.1:8081",
        "global request odd@x",
    ];
    assert_eq!(told, expect);
    // Where the number becomes free, it is opened, and nothing is told of but what is decided.
    let mut b = left();
    b.client(open(b"direct-tcpip", 7, 100, &to));
    b.upstream(on(7, ChannelMessage::Close));
    assert_eq!((b.turned.len(), b.asks.len()), (0, 1));
}
