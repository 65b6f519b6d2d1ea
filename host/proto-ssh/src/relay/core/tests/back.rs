//! Channels that the host opens back to the client: as part of which action they are on record.

use super::*;

const C: Side = Side::Client;
const U: Side = Side::Upstream;

/// The name of the request, of the channel that comes of it, and what is in either.
type Way = (&'static [u8], &'static [u8], Vec<u8>, Vec<u8>);

fn ways() -> [Way; 2] {
    let mut display = vec![0];
    display.string(b"MIT").string(b"00").uint32(0);
    let mut origin = strings(&[b"127.0.0.1"]);
    origin.uint32(1);
    [
        (
            b"auth-agent-req@openssh.com",
            b"auth-agent@openssh.com",
            vec![],
            vec![],
        ),
        (b"x11-req", b"x11", display, origin),
    ]
}

/// It is permitted as the action of this number.
fn permit(b: &mut Bench, seq: u64) {
    let (ticket, _, forward) = b.asks.pop_front().unwrap();
    let mut out = Vec::new();
    let grant = Grant {
        seq,
        ..Grant::default()
    };
    let granted = b.core.granted(ticket, forward, grant, b.now, &mut out);
    assert_eq!(granted, Ok(true));
    b.take(out);
}

/// The host opens one: with which actions its opening is recorded, and as part of which its data is.
fn opened(b: &mut Bench, kind: &[u8], number: u32, origin: &[u8]) -> (Vec<u64>, u64) {
    let mut out = Vec::new();
    let payload = made(&open(kind, number, 100, origin));
    b.core.receive(U, &payload, b.now, &mut out).unwrap();
    let seqs = out.iter().filter_map(|effect| match effect {
        Effect::Send {
            to: C,
            payload: sent,
            record: Some(seq),
        }
        | Effect::Record {
            to: C,
            payload: sent,
            seq,
        } => {
            assert_eq!(*sent, payload, "all of it, as it was sent");
            Some(*seq)
        }
        _ => None,
    });
    let mut seqs: Vec<u64> = seqs.collect();
    let last = out.iter().find_map(|effect| match effect {
        Effect::Send { to: C, record, .. } => *record,
        _ => None,
    });
    seqs.sort_unstable();
    b.take(out);
    b.client(confirmation(number, 500 + number, 100));
    let mut out = Vec::new();
    let close = made(&on(500 + number, ChannelMessage::Close));
    b.core.receive(U, &close, b.now, &mut out).unwrap();
    let closed = out.iter().find_map(|effect| match effect {
        Effect::Send { to: C, record, .. } => *record,
        _ => None,
    });
    assert_eq!(closed, last, "what passes on it, too");
    (seqs, last.unwrap())
}

/// Two sessions of one connection have asked, and the host does not say for which of them it connects.
#[test]
fn who_was_connected_to_is_on_record_with_all_that_asked() {
    for want_reply in [false, true] {
        for (name, kind, setup, origin) in ways() {
            let mut b = Bench::new();
            for (c, u, seq) in [(1, 11, 20), (2, 12, 10), (3, 13, 30)] {
                b.sent = Pair::default();
                b.session(c, u, 1000);
                b.client(request(u, name, want_reply, &setup));
                permit(&mut b, seq);
                if want_reply {
                    b.upstream(on(c, ChannelMessage::Success));
                }
            }
            // One that has asked for nothing.
            b.sent = Pair::default();
            b.session(4, 14, 1000);
            assert_eq!(
                opened(&mut b, kind, 90, &origin),
                (vec![10, 20, 30], 30),
                "{name:?}"
            );
            // The last one is over: it was for another.
            b.client(on(13, ChannelMessage::Close));
            b.upstream(on(3, ChannelMessage::Close));
            assert_eq!(opened(&mut b, kind, 91, &origin), (vec![10, 20], 20));
            b.client(on(11, ChannelMessage::Close));
            b.upstream(on(1, ChannelMessage::Close));
            assert_eq!(opened(&mut b, kind, 92, &origin), (vec![10], 10));
        }
    }
}
