//! Global requests that wait, and how many there may be.

use super::*;
use Side::{Client as C, Upstream as U};

/// What the host has not answered yet is a listener, too.
#[test]
fn listeners_are_counted_before_they_are_answered() {
    let mut b = Bench::with(Limits {
        listeners: 3,
        ..Limits::default()
    });
    for port in 1..=4u32 {
        let mut at = strings(&[b"localhost"]);
        at.extend(port.to_be_bytes());
        b.client(global(b"tcpip-forward", true, &at));
        if port <= 3 {
            b.grant();
        }
    }
    assert!(b.asks.is_empty());
    assert_eq!(b.turned.len(), 1);
    assert_eq!(b.sent.upstream.len(), 3);
    // One that the host refuses leaves room for another.
    b.upstream(Connection::RequestFailure);
    b.client(global(b"tcpip-forward", true, b"\0\0\0\0\0\0\0\x50"));
    assert_eq!(b.asks.len(), 1);
}

/// A client that hears nothing for three keepalives gives up, and people may take hours. The answers come in their
/// turn all the same.
#[test]
fn keepalives_do_not_wait_for_a_listener() {
    let ignore = [2, 0, 0, 0, 0];
    let keepalive = |reply| global(b"keepalive@openssh.com", reply, b"");
    let other = global(b"keepalive@lag.net", true, b"");
    let listen = global(b"tcpip-forward", true, b"\0\0\0\0\0\0\0\x50");
    let mut b = Bench::new();
    b.client(listen);
    b.client(keepalive(false));
    b.gets(U, keepalive(false));
    for _ in 0..200 {
        b.client(keepalive(true));
        assert_eq!(b.sent.client.pop_front().unwrap(), &ignore[..]);
    }
    b.client(global(b"unknown", true, b""));
    b.client(other);
    assert_eq!(b.sent.client.pop_front().unwrap(), &ignore[..]);
    b.gets_nothing(C);
    b.gets_nothing(U);
    // Neither do those of the host count against the client.
    for _ in 0..64 {
        b.passes(U, keepalive(true));
    }
    assert!(b.try_from(U, keepalive(true)).is_err());
    b.core.check();
    b.grant();
    b.gets(U, listen);
    b.gets_nothing(C);
    // Nor against it afterwards.
    b.client(keepalive(true));
    b.gets(U, keepalive(true));
    let success = Connection::RequestSuccess { data: b"" };
    b.upstream(success);
    b.gets(C, success);
    for _ in 0..202 {
        b.gets(C, Connection::RequestFailure);
    }
    b.gets_nothing(C);
    b.upstream(Connection::RequestFailure);
    b.gets(C, Connection::RequestFailure);
}

/// A client that asks every second for as long as the longest hold takes does not lose its session for that. Without end
/// nothing waits: the listener is given up then, and all that is behind it goes on.
#[test]
fn keepalives_end_no_session() {
    let keepalive = global(b"keepalive@openssh.com", true, b"");
    let mut b = Bench::new();
    b.client(global(b"tcpip-forward", true, b"\0\0\0\0\0\0\0\x50"));
    let (ticket, ..) = b.asks[0];
    for n in 0..65_536 {
        assert!(b.cancelled.is_empty(), "{n}");
        b.client(keepalive);
    }
    assert_eq!(b.cancelled, [ticket]);
    // Those that come until it has ended.
    for _ in 0..100 {
        b.client(keepalive);
    }
    b.sent.client.clear();
    b.refuse();
    assert_eq!(b.sent.client.len(), 1 + 65_636);
    assert_eq!(b.cancelled.len(), 1);
    b.core.check();
    b.passes(C, keepalive);
}

/// One that never ends all the same ends the session, which has a bound of its own.
#[test]
fn keepalives_have_a_bound() {
    let keepalive = global(b"keepalive@openssh.com", true, b"");
    let mut b = Bench::new();
    b.client(global(b"tcpip-forward", true, b"\0\0\0\0\0\0\0\x50"));
    for _ in 0..131_072 {
        b.client(keepalive);
    }
    assert!(b.try_from(C, keepalive).is_err());
    assert_eq!(b.cancelled.len(), 1);
}

/// Libraries ask whether we live; that is no refusal that anybody should read of.
#[test]
fn keepalives_of_all_makes_are_answered() {
    let mut b = Bench::new();
    for name in [
        "keepalive@lag.net",
        "keepalive@libssh2.org",
        "keep-alive@bitvise.com",
    ] {
        b.client(global(name.as_bytes(), true, b""));
        b.gets(C, Connection::RequestFailure);
    }
    b.gets_nothing(U);
    assert!(b.turned.is_empty());
}
