//! How much of a client's data may wait: what its window says, whatever the host grants.

use super::*;
use Side::{Client as C, Upstream as U};

#[test]
fn what_waits_is_bounded() {
    // By the window that the client is told of, whatever the host grants.
    let mut b = Bench::with(Limits {
        window: 100,
        ..Limits::default()
    });
    b.client(open(b"session", 1, 50, b""));
    b.upstream(confirmation(1, 9, 1 << 30));
    b.gets(C, confirmation(1, 9, 100));
    b.client(request(9, b"exec", true, b"\0\0\0\x02rm"));
    b.upstream(adjust(1, 1 << 20));
    b.client(data(9, &[0; 60]));
    b.client(data(9, &[0; 40]));
    // No messages of its own make room for more while all of it waits.
    b.client(request(9, b"break", false, &[0; 4]));
    b.client(adjust(9, 1));
    b.gets(U, open(b"session", 1, 50, b""));
    b.gets(U, adjust(9, 1));
    b.gets_nothing(C);
    assert_eq!(
        b.try_from(C, data(9, b"x")),
        Err(Violation::Window(C, 9, 1))
    );
    b.core.check();
}

/// An honest client that pipes in far more than may wait here is not ended for that, and comes through in the end.
#[test]
fn a_host_with_a_large_window_does_not_make_a_client_say_too_much() {
    let mut b = Bench::with(Limits {
        window: 100,
        // With the command line as it is sent.
        waiting: 500,
        ..Limits::default()
    });
    b.client(open(b"session", 1, 50, b""));
    b.upstream(confirmation(1, 9, 1 << 30));
    b.gets(C, confirmation(1, 9, 100));
    b.client(request(9, b"exec", false, b"\0\0\0\x02rm"));
    b.sent = Pair::default();
    let (mut window, mut said, mut arrived) = (100, 0, 0);
    for round in 0..200 {
        if window > 0 {
            b.client(data(9, &[0; 10]));
            window -= 10;
            said += 10;
        }
        if round == 50 {
            assert_eq!(said, 100, "no more than the window while it is held");
            b.grant();
        }
        while let Some(payload) = b.sent.upstream.pop_front() {
            if let Ok(Connection::Channel {
                message: ChannelMessage::Data(data),
                ..
            }) = Connection::parse(&payload)
            {
                arrived += data.len();
            }
        }
        while let Some(payload) = b.sent.client.pop_front() {
            match Connection::parse(&payload).unwrap() {
                Connection::Channel {
                    message: ChannelMessage::WindowAdjust { bytes },
                    ..
                } => window += bytes,
                other => panic!("{other:?}"),
            }
        }
        b.core.check();
    }
    assert!(said > 1000, "{said}");
    assert_eq!(arrived, said);
}
