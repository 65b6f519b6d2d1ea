//! What a peer that has not proved who it is may cost.

use super::*;

#[test]
fn a_stranger_is_given_little() {
    let stranger = || {
        let mut pair = Pair::strange(client_config(), server_config());
        pair.run().unwrap();
        pair
    };
    // It reads nothing, and has an answer coming to every message.
    let mut pair = stranger();
    let mut most = 0;
    let ended = (0..100_000).find_map(|_| {
        pair.client.leg.send(&[n::PING, 0, 0, 0, 0]).unwrap();
        let up = pair.client.take_output();
        let fed = pair.server.feed(&up, pair.now);
        most = most.max(pair.server.leg.backlog());
        fed.err()
    });
    assert!(
        matches!(ended, Some(TransportError::Backlog { .. })),
        "{ended:?}"
    );
    // With the last words.
    assert!(most <= MAX_STRANGE_BACKLOG + 256, "{most}");

    // One packet of it is bounded, too; whoever has logged in may send more.
    for (len, known, passes) in [
        (68 << 10, false, true),
        (72 << 10, false, false),
        (200 << 10, true, true),
    ] {
        let mut pair = stranger();
        if known {
            pair.server.leg.authenticated();
        }
        pair.client
            .leg
            .send(&vec![n::USERAUTH_REQUEST; len])
            .unwrap();
        let up = pair.client.take_output();
        let fed = pair.server.feed(&up, pair.now);
        assert_eq!(fed.is_ok(), passes, "{len}: {fed:?}");
    }

    // What it says about itself is not kept.
    let mut pair = stranger();
    let mut info = Vec::new();
    info.byte(n::EXT_INFO).uint32(1).string(b"server-sig-algs");
    info.string("a,".repeat(10_000).as_bytes());
    pair.client.leg.send(&info).unwrap();
    pair.run().unwrap();
    assert_eq!(pair.server.leg.server_sig_algs(), None);
}

#[test]
fn a_stranger_makes_keys_twice_at_most() {
    let mut pair = Pair::strange(client_config(), server_config());
    pair.run().unwrap();
    let again = |pair: &mut Pair| {
        // Something in between resets what is counted in a row.
        pair.client.leg.send(&[n::USERAUTH_REQUEST]).unwrap();
        pair.client.leg.rekey().unwrap();
        pair.run()
    };
    again(&mut pair).unwrap();
    let ended = again(&mut pair);
    assert!(
        matches!(ended, Err(TransportError::TooManyExchanges(2))),
        "{ended:?}"
    );

    let mut pair = Pair::new(client_config(), server_config());
    pair.run().unwrap();
    for _ in 0..5 {
        again(&mut pair).unwrap();
    }
}

#[test]
fn what_is_said_is_not_in_logs() {
    for event in [
        Event::Packet(Bytes::from_static(b"2hunter2")),
        Event::Disconnected {
            reason: 11,
            text: "hunter2".into(),
        },
    ] {
        let debug = format!("{event:?}");
        assert!(!debug.contains("hunter"), "{debug}");
        assert!(debug.contains("length: "), "{debug}");
    }
}
