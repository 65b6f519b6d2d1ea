//! Two legs against each other.

use super::*;

fn echo(pair: &mut Pair) {
    let large = vec![0x5a; 32 << 10];
    for payload in [&b"\x5e"[..], b"\x5e\0\0\0\0\0\0\0\x05hello", &large] {
        let mut message = vec![n::CHANNEL_DATA];
        message.extend_from_slice(payload);
        pair.client.leg.send(&message).unwrap();
        pair.server
            .leg
            .send_parts(&[&message[..1], payload])
            .unwrap();
        pair.run().unwrap();
        assert_eq!(pair.server.got.pop().unwrap(), message);
        assert_eq!(pair.client.got.pop().unwrap(), message);
        assert!(pair.server.got.is_empty() && pair.client.got.is_empty());
    }
}

fn suites() -> Vec<(CipherAlgorithm, MacAlgorithm)> {
    let mut out = Vec::new();
    for cipher in CipherAlgorithm::ALL {
        let macs = if cipher.needs_mac() {
            MacAlgorithm::ALL
        } else {
            &MacAlgorithm::ALL[..1]
        };
        out.extend(macs.iter().map(|mac| (*cipher, *mac)));
    }
    out
}

fn limited(kex: KexAlgorithm, cipher: CipherAlgorithm, mac: MacAlgorithm) -> Algorithms {
    Algorithms {
        kex: vec![kex],
        ciphers: vec![cipher],
        macs: vec![mac],
    }
}

#[test]
fn every_combination_of_algorithms_in_every_cut() {
    for kex in KexAlgorithm::ALL {
        for (cipher, mac) in suites() {
            for chunk in [0, 1, 700] {
                let mut client = client_config();
                client.algorithms = limited(*kex, cipher, mac);
                let mut server = server_config();
                server.algorithms.macs = MacAlgorithm::ALL.to_vec();
                let mut pair = Pair::new(client, server);
                pair.chunk = chunk;
                pair.run().unwrap();
                assert!(
                    pair.client.ready && pair.server.ready,
                    "{kex:?} {cipher:?} {mac:?}"
                );
                assert_eq!(pair.client.leg.session_id(), pair.server.leg.session_id());
                assert_eq!(pair.client.leg.peer_ident(), Some("SSH-2.0-OpenSSH_Weir"));
                let algorithms = pair.client.leg.server_sig_algs().unwrap();
                assert!(algorithms.iter().any(|a| a == "rsa-sha2-512"));
                if chunk != 1 {
                    echo(&mut pair);
                    pair.client.leg.rekey().unwrap();
                    echo(&mut pair);
                    assert_eq!(pair.client.asked, 2);
                }
            }
        }
    }
}

#[test]
fn directions_may_differ() {
    for (up, _) in suites() {
        for (down, _) in suites() {
            let ours = super::super::kexinit::Offer::new(
                &Algorithms::default(),
                vec!["ssh-ed25519".to_owned()],
                [false; 2],
            );
            let payload = ours.payload(Role::Client, &[0; 16]);
            let theirs = kexinit::KexInit::parse(&payload).unwrap();
            let mut narrowed = theirs;
            narrowed.set_ciphers(vec![up.name()], vec![down.name()]);
            let chosen = ours.agree(Role::Server, &narrowed).unwrap();
            assert_eq!(chosen.from_client.cipher, up);
            assert_eq!(chosen.from_server.cipher, down);
        }
    }
}

/// What OpenSSH 9.2 offers, in its order.
const OPENSSH: [CipherAlgorithm; 5] = [
    CipherAlgorithm::ChaCha20Poly1305,
    CipherAlgorithm::Aes128Ctr,
    CipherAlgorithm::Aes256Ctr,
    CipherAlgorithm::Aes128Gcm,
    CipherAlgorithm::Aes256Gcm,
];

#[test]
fn a_server_has_gcm_chosen_where_the_client_has_it() {
    let pairs = [
        (OPENSSH.to_vec(), CipherAlgorithm::Aes128Gcm),
        (vec![OPENSSH[0], OPENSSH[4]], CipherAlgorithm::Aes256Gcm),
        (
            vec![OPENSSH[0], OPENSSH[1]],
            CipherAlgorithm::ChaCha20Poly1305,
        ),
        (vec![OPENSSH[1], OPENSSH[0]], CipherAlgorithm::Aes128Ctr),
    ];
    for (ciphers, wanted) in pairs {
        let algorithms = Algorithms {
            ciphers,
            ..Algorithms::default()
        };
        let keys = vec!["ssh-ed25519".to_owned()];
        let client = kexinit::Offer::new(&algorithms, keys.clone(), [false; 2]);
        let payload = client.payload(Role::Client, &[0; 16]);
        let theirs = kexinit::KexInit::parse(&payload).unwrap();
        let server = kexinit::Offer::new(
            &Algorithms::default(),
            keys,
            theirs.gcm(&Algorithms::default()),
        );
        let chosen = server.agree(Role::Server, &theirs).unwrap();
        assert_eq!(chosen.from_client.cipher, wanted);
        assert_eq!(chosen.from_server.cipher, wanted);
    }
}

#[test]
fn a_server_that_waits_for_nothing_speaks_first() {
    let mut pair = Pair::new(client_config(), server_config());
    pair.client.take_output();
    let said = pair.server.take_output();
    assert_eq!(&said[..], b"SSH-2.0-OpenSSH_Weir\r\n");
    pair.server.feed(b"SSH-2.0-Slow\r\n", pair.now).unwrap();
    assert!(pair.server.take_output().is_empty());
    assert_eq!(
        pair.server.leg.deadline(),
        Some(pair.now + KEXINIT_PATIENCE)
    );
    pair.later(KEXINIT_PATIENCE);
    pair.server.leg.tick(pair.now).unwrap();
    assert!(!pair.server.take_output().is_empty());
}

#[test]
fn both_may_begin_at_once_and_nothing_is_lost_or_out_of_order() {
    let mut pair = Pair::ready();
    pair.chunk = 500;
    let mut sent = 0u32;
    for round in 0..200 {
        for _ in 0..5 {
            let message = [&[n::CHANNEL_DATA][..], &sent.to_be_bytes(), &[7; 300]].concat();
            pair.client.leg.send(&message).unwrap();
            pair.server.leg.send(&message).unwrap();
            sent += 1;
            if round % 3 != 1 {
                pair.client.leg.rekey().unwrap();
            }
            if round % 3 != 2 {
                pair.server.leg.rekey().unwrap();
            }
        }
        pair.run().unwrap();
    }
    assert!(pair.client.asked > 200);
    for end in [&pair.client, &pair.server] {
        assert_eq!(end.got.len(), sent as usize);
        for (i, message) in end.got.iter().enumerate() {
            assert_eq!(message[1..5], (i as u32).to_be_bytes());
        }
        assert_eq!(end.leg.queue.bytes, 0);
    }
}

#[test]
fn keys_are_renewed_by_bytes_packets_and_time() {
    for limits in [
        Limits {
            rekey_bytes: 4096,
            ..Limits::default()
        },
        Limits {
            rekey_packets: 10,
            ..Limits::default()
        },
    ] {
        let mut client = client_config();
        client.limits = limits;
        let mut pair = Pair::new(client, server_config());
        pair.run().unwrap();
        for _ in 0..100 {
            pair.client.leg.send(&[n::CHANNEL_DATA; 500]).unwrap();
            pair.run().unwrap();
        }
        assert!(pair.client.asked >= 8, "{}", pair.client.asked);
        // What comes in counts as well.
        let before = pair.client.asked;
        for _ in 0..100 {
            pair.server.leg.send(&[n::CHANNEL_DATA; 500]).unwrap();
            pair.run().unwrap();
        }
        assert!(pair.client.asked >= before + 8);
        assert_eq!((pair.server.got.len(), pair.client.got.len()), (100, 100));
    }
    let mut pair = Pair::ready();
    assert_eq!(pair.client.leg.deadline(), Some(pair.now + REKEY_AFTER));
    pair.later(REKEY_AFTER);
    pair.client.leg.tick(pair.now).unwrap();
    pair.server.leg.tick(pair.now).unwrap();
    pair.run().unwrap();
    assert_eq!(pair.client.asked, 2);
    echo(&mut pair);
}

#[test]
fn what_is_sent_during_a_key_exchange_waits_and_counts() {
    let mut pair = Pair::ready();
    pair.client.leg.rekey().unwrap();
    let kexinit = pair.client.take_output();
    pair.client.leg.send(&[n::CHANNEL_DATA; 1000]).unwrap();
    assert!(pair.client.leg.output().is_empty());
    assert_eq!(pair.client.leg.backlog(), 1000 + queue::EACH);
    // What the server has sent before it heard of it still arrives.
    pair.server.leg.send(&[n::CHANNEL_DATA, 1]).unwrap();
    let early = pair.server.take_output();
    pair.client.feed(&early, pair.now).unwrap();
    assert_eq!(pair.client.got.len(), 1);
    pair.server.feed(&kexinit, pair.now).unwrap();
    pair.run().unwrap();
    assert_eq!(pair.server.got[0].len(), 1000);
    assert_eq!(pair.client.leg.backlog(), 0);
}

#[test]
fn the_backlog_has_an_end() {
    backlog(1000, 5, 10);
    // What each message costs beside its bytes counts, too.
    backlog(1, 100, 160);
}

fn backlog(size: usize, least: usize, most: usize) {
    let mut client = client_config();
    client.limits.backlog = 10_000;
    let mut pair = Pair::new(client, server_config());
    pair.run().unwrap();
    pair.client.leg.rekey().unwrap();
    let mut sent = 0;
    let error = loop {
        match pair.client.leg.send(&vec![n::CHANNEL_DATA; size]) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
    };
    assert!(
        matches!(error, TransportError::Backlog { max: 10_000, .. }),
        "{error}"
    );
    assert!((least..=most).contains(&sent), "{sent} of {size}");
    // Something is missing now: nothing goes on.
    assert!(matches!(
        pair.client.leg.send(b"\x5e"),
        Err(TransportError::Closed)
    ));
}

#[test]
fn a_key_exchange_that_does_not_end_ends_the_leg() {
    let mut pair = Pair::ready();
    pair.client.leg.rekey().unwrap();
    pair.client.leg.tick(pair.now).unwrap();
    let at = pair.client.leg.deadline().unwrap();
    assert_eq!(at, pair.now + EXCHANGE_TIMEOUT);
    pair.client.leg.tick(at - Duration::from_millis(1)).unwrap();
    let error = pair.client.leg.tick(at).unwrap_err();
    assert!(matches!(error, TransportError::ExchangeTimeout(_)));
    assert!(pair.client.leg.is_closed());
}

#[test]
fn the_time_of_a_key_exchange_begins_with_it() {
    let mut pair = Pair::ready();
    // Nobody has told the leg of these ten minutes when it begins.
    pair.later(Duration::from_secs(600));
    pair.client.leg.rekey().unwrap();
    assert!(pair.client.leg.deadline().is_some_and(|at| at <= pair.now));
    pair.client.leg.tick(pair.now).unwrap();
    assert_eq!(
        pair.client.leg.deadline(),
        Some(pair.now + EXCHANGE_TIMEOUT)
    );
    pair.run().unwrap();
    assert_eq!(pair.client.leg.deadline(), Some(pair.now + REKEY_AFTER));
}

#[test]
fn a_leg_can_go_from_thread_to_thread() {
    fn can<T: Send>(_: &T) {}
    can(&Transport::client(Arc::new(client_config())));
}

#[test]
fn goodbyes_are_told() {
    let mut pair = Pair::ready();
    pair.client.leg.disconnect(11, "bye\r\nbye");
    assert!(matches!(
        pair.client.leg.send(b"\x5e"),
        Err(TransportError::Closed)
    ));
    pair.run().unwrap();
    assert_eq!(pair.server.gone, Some((11, "bye  bye".to_owned())));
    assert!(matches!(
        pair.server.leg.receive(&mut BytesMut::new(), pair.now),
        Err(TransportError::Closed)
    ));
}

#[test]
fn a_host_key_that_is_refused_ends_it() {
    let mut pair = Pair::new(client_config(), server_config());
    let now = pair.now;
    let event = loop {
        let up = pair.client.take_output();
        pair.server.feed(&up, now).unwrap();
        let down = pair.server.take_output();
        pair.client.input.extend_from_slice(&down);
        if let Some(event) = pair
            .client
            .leg
            .receive(&mut pair.client.input, now)
            .unwrap()
        {
            break event;
        }
    };
    assert!(matches!(event, Event::HostKey(_)));
    // Nothing is read and nothing has been sent under keys of a host that nobody knows yet.
    let before = pair.client.input.len();
    assert!(before > 0);
    assert!(
        pair.client
            .leg
            .receive(&mut pair.client.input, now)
            .unwrap()
            .is_none()
    );
    assert_eq!(pair.client.input.len(), before);
    pair.client.leg.send(b"\x5e secret").unwrap();
    assert!(pair.client.leg.output().is_empty());
    let error = pair.client.leg.answer_host_key(false).unwrap_err();
    assert!(matches!(error, TransportError::HostKeyRefused));
    assert!(pair.client.leg.answer_host_key(true).is_ok());
    assert!(pair.client.leg.is_closed() && pair.client.leg.session_id().is_none());
    pair.run().unwrap();
    assert_eq!(pair.server.gone.as_ref().map(|g| g.0), Some(9));
}

#[test]
fn unknown_messages_are_answered_with_their_sequence_number() {
    let mut pair = Pair::ready();
    // EXT_INFO was the server's number 0 after NEWKEYS; the client's first is 0.
    pair.client.leg.send(&[n::PONG, 0, 0, 0, 0]).unwrap();
    pair.client.leg.send(&[n::CHANNEL_DATA]).unwrap();
    pair.client.leg.send(&[19]).unwrap();
    let up = pair.client.take_output();
    pair.server.feed(&up, pair.now).unwrap();
    assert_eq!(pair.server.got.len(), 1);
    let down = pair.server.take_output();
    let mut input = BytesMut::from(&down[..]);
    let seqs: Vec<Bytes> = std::iter::from_fn(|| pair.client.leg.rx.receive(&mut input).unwrap())
        .map(|p| p.payload)
        .collect();
    assert_eq!(seqs, [&[3, 0, 0, 0, 0][..], &[3, 0, 0, 0, 2]]);
}

#[test]
fn pings_are_answered() {
    let ping = |text: &[u8]| {
        let mut message = vec![n::PING];
        message.string(text);
        message
    };
    let mut pair = Pair::ready();
    pair.client.leg.send(&ping(b"")).unwrap();
    pair.client.leg.send(&ping(b"PING!")).unwrap();
    let up = pair.client.take_output();
    pair.server.feed(&up, pair.now).unwrap();
    assert!(pair.server.got.is_empty());
    let down = pair.server.take_output();
    let mut input = BytesMut::from(&down[..]);
    let pongs: Vec<Bytes> = std::iter::from_fn(|| pair.client.leg.rx.receive(&mut input).unwrap())
        .map(|p| p.payload)
        .collect();
    assert_eq!(pongs, [&b"\xc1\0\0\0\0"[..], b"\xc1\0\0\0\x05PING!"]);

    // While a key exchange runs, the answer waits for its end.
    let mut pair = Pair::ready();
    pair.server.leg.rekey().unwrap();
    pair.client.leg.send(&ping(b"x")).unwrap();
    let up = pair.client.take_output();
    pair.server.feed(&up, pair.now).unwrap();
    assert_eq!(pair.server.leg.queue.messages, [&b"\xc1\0\0\0\x01x"[..]]);
    pair.run().unwrap();
    assert!(pair.server.leg.queue.messages.is_empty());
    assert_eq!(pair.client.asked, 2);
}

#[test]
fn pings_are_bounded_and_well_formed() {
    for message in [
        &[n::PING][..],
        &[n::PING, 0, 0, 0, 1],
        &[n::PING, 0, 0, 0, 0, 9],
    ] {
        let mut pair = Pair::ready();
        pair.client.leg.send(message).unwrap();
        let up = pair.client.take_output();
        let ended = pair.server.feed(&up, pair.now);
        let layout = matches!(
            ended,
            Err(TransportError::Layout {
                number: n::PING,
                ..
            })
        );
        assert!(layout, "{message:?} {ended:?}");
    }
    // Whoever reads no answers is not answered for ever, however new the keys are.
    for rekeying in [false, true] {
        let mut pair = Pair::ready();
        if rekeying {
            pair.server.leg.rekey().unwrap();
        }
        let mut ping = vec![n::PING];
        ping.string(&[7; 30_000]);
        let ended = (0..10_000).find_map(|_| {
            pair.client.leg.send(&ping).unwrap();
            let up = pair.client.take_output();
            pair.server.feed(&up, pair.now).err()
        });
        assert!(
            matches!(ended, Some(TransportError::Backlog { .. })),
            "{ended:?}"
        );
        let max = pair.server.leg.side.limits().backlog;
        assert!(pair.server.leg.backlog() <= max + 256);
    }
}
