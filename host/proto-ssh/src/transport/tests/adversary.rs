//! What somebody on the wire, or a peer that wishes us ill, can try. Each trick is a row, and stays one.

use super::kexinit::{KexInit, Offer};
use super::packet::Sender;
use super::*;

/// A pair up to where the client waits for the server's KEXINIT, with what it has sent.
fn begun(client: ClientConfig) -> (Pair, BytesMut) {
    let mut pair = Pair::new(client, server_config());
    let hello = pair.server.take_output();
    pair.client.feed(&hello, pair.now).unwrap();
    let up = pair.client.take_output();
    (pair, up)
}

fn clear(payload: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    Sender::new().send(&[payload], &mut out).unwrap();
    out
}

fn ignore() -> BytesMut {
    clear(&[n::IGNORE, 0, 0, 0, 0])
}

/// Cuts what is in the clear into packets, behind the first line if there is one.
fn cut(bytes: &[u8]) -> Vec<BytesMut> {
    let mut rest = bytes;
    let mut out = Vec::new();
    if rest.starts_with(b"SSH-") {
        let at = rest.iter().position(|b| *b == b'\n').unwrap() + 1;
        out.push(BytesMut::from(&rest[..at]));
        rest = &rest[at..];
    }
    while rest.len() >= 4 {
        let n = 4 + u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
        out.push(BytesMut::from(&rest[..n.min(rest.len())]));
        rest = &rest[n.min(rest.len())..];
    }
    out
}

fn strip_marker(bytes: &BytesMut, marker: &[u8]) -> BytesMut {
    let mut out = bytes.clone();
    let at = out.windows(marker.len()).position(|w| w == marker).unwrap();
    out[at] = b'X';
    out
}

/// CVE-2023-48795: a message is put in before there are keys, and one is taken away afterwards.
#[test]
fn nothing_can_be_put_in_front_under_strict_key_exchange() {
    for (place, noise) in [
        (0, ignore()),
        (1, ignore()),
        (2, ignore()),
        (1, clear(&[n::DEBUG, 0, 0, 0, 0, 0, 0, 0, 0, 0])),
        (1, clear(&[n::UNIMPLEMENTED, 0, 0, 0, 0])),
        (1, clear(&[n::EXT_INFO, 0, 0, 0, 0])),
        (1, clear(&[n::SERVICE_ACCEPT, 0, 0, 0, 0])),
        (1, clear(&[n::USERAUTH_SUCCESS])),
        (1, clear(&[n::CHANNEL_DATA])),
        (1, clear(&[n::PING, 0, 0, 0, 0])),
    ] {
        // Toward the client: KEXINIT, the reply, NEWKEYS.
        let (mut pair, up) = begun(client_config());
        let step = |bytes: &[u8], down: &mut Pair| {
            down.server.feed(bytes, down.now).unwrap();
            down.server.take_output()
        };
        let kexinit = step(&up, &mut pair);
        let mut ended = Ok(());
        if place == 0 {
            ended = pair.client.feed(&noise, pair.now);
        }
        ended = ended.and_then(|()| pair.client.feed(&kexinit, pair.now));
        if ended.is_ok() {
            let up = pair.client.take_output();
            let rest = step(&up, &mut pair);
            let packets = cut(&rest);
            if place == 1 {
                ended = pair.client.feed(&noise, pair.now);
            }
            ended = ended.and_then(|()| pair.client.feed(&packets[0], pair.now));
            if place == 2 {
                ended = ended.and_then(|()| pair.client.feed(&noise, pair.now));
            }
        }
        let error = ended.unwrap_err();
        assert!(
            matches!(error, TransportError::OutOfOrder { .. }),
            "{place}: {error}"
        );
        assert!(pair.client.leg.is_closed() && !pair.client.ready);
    }
}

#[test]
fn nothing_can_be_put_in_front_of_a_client_either() {
    for place in [0, 1, 2] {
        let (mut pair, up) = begun(client_config());
        let mut packets = cut(&up);
        packets.insert(place.min(1) + 1, ignore());
        if place == 2 {
            packets.swap(1, 2);
        }
        let mut ended = Ok(());
        for packet in &packets {
            ended = ended.and_then(|()| pair.server.feed(packet, pair.now));
        }
        // The marker is in KEXINIT: what came before it counts then.
        assert!(
            matches!(ended, Err(TransportError::OutOfOrder { .. })),
            "{place}: {ended:?}"
        );
    }
}

/// A peer that knows no strict key exchange may say more, but only GCM shows whether anything is missing later.
#[test]
fn without_strict_key_exchange_noise_before_the_keys_costs_the_ciphers_that_hide_it() {
    for (cipher, mac, stands) in [
        (CipherAlgorithm::Aes256Gcm, MacAlgorithm::Sha256Etm, true),
        (
            CipherAlgorithm::ChaCha20Poly1305,
            MacAlgorithm::Sha256Etm,
            false,
        ),
        (CipherAlgorithm::Aes256Ctr, MacAlgorithm::Sha256Etm, false),
    ] {
        for noisy in [false, true] {
            let mut client = client_config();
            client.algorithms.ciphers = vec![cipher];
            client.algorithms.macs = vec![mac];
            let (mut pair, up) = begun(client);
            let mut packets = cut(&strip_marker(&up, b"kex-strict-c"));
            if noisy {
                packets.push(ignore());
            }
            for packet in &packets {
                pair.server.feed(packet, pair.now).unwrap();
            }
            let kexinit = pair.server.take_output();
            // Without a verified signature the client goes on: it stands for one that is old.
            pair.client.feed(&kexinit, pair.now).unwrap();
            let up = pair.client.take_output();
            pair.server.feed(&up, pair.now).unwrap();
            let ended = pair.server.feed(&clear(&[n::NEWKEYS]), pair.now);
            match ended {
                Ok(()) => assert!(!noisy || stands, "{cipher:?}"),
                Err(TransportError::Prefixed(1, _)) => assert!(noisy && !stands, "{cipher:?}"),
                Err(other) => panic!("{other}"),
            }
        }
    }
}

#[test]
fn noise_before_the_keys_has_an_end() {
    let (mut pair, up) = begun(client_config());
    pair.server
        .feed(&strip_marker(&up, b"kex-strict-c"), pair.now)
        .unwrap();
    let mut count = 0;
    let error = loop {
        match pair.server.feed(&ignore(), pair.now) {
            Ok(()) => count += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(count, MAX_PREFIXED);
    assert!(matches!(
        error,
        TransportError::OutOfOrder {
            number: n::IGNORE,
            ..
        }
    ));
}

/// Whoever changes a KEXINIT on its way has the client see another hash than the one that was signed.
#[test]
fn a_kexinit_that_was_changed_on_its_way_shows_in_the_signature() {
    for (marker, up_not_down) in [
        (&b"kex-strict-c"[..], true),
        (b"kex-strict-s", false),
        (b"mlkem", true),
    ] {
        let (mut pair, mut up) = begun(client_config());
        if up_not_down {
            up = strip_marker(&up, marker);
        }
        pair.server.feed(&up, pair.now).unwrap();
        let mut down = pair.server.take_output();
        if !up_not_down {
            down = strip_marker(&down, marker);
        }
        pair.client.feed(&down, pair.now).unwrap();
        let up = pair.client.take_output();
        let Ok(()) = pair.server.feed(&up, pair.now) else {
            // The two have not even agreed on the same algorithm.
            assert_eq!(marker, b"mlkem");
            continue;
        };
        let mut down = pair.server.take_output();
        let Some(Event::HostKey(offered)) = pair.client.leg.receive(&mut down, pair.now).unwrap()
        else {
            panic!("the client is not asked");
        };
        let verified = std::panic::catch_unwind(|| verify_ed25519(&offered));
        assert!(verified.is_err(), "{}", String::from_utf8_lossy(marker));
    }
}

#[test]
fn messages_of_a_key_exchange_come_in_their_order_or_not_at_all() {
    let init = [&[n::KEX_ECDH_INIT, 0, 0, 0, 32][..], &[9; 32]].concat();
    // Before the client's KEXINIT, and after it instead of its value.
    for after_kexinit in [false, true] {
        for message in [&[n::NEWKEYS][..], &init, &[n::KEX_ECDH_REPLY], &[49]] {
            if after_kexinit && message == &init[..] {
                continue;
            }
            let (mut pair, up) = begun(client_config());
            let packets = cut(&up);
            pair.server.feed(&packets[0], pair.now).unwrap();
            if after_kexinit {
                pair.server.feed(&packets[1], pair.now).unwrap();
            }
            let ended = pair.server.feed(&clear(message), pair.now);
            assert!(
                matches!(ended, Err(TransportError::OutOfOrder { .. })),
                "{message:?} {ended:?}"
            );
        }
    }
    let (mut pair, up) = begun(client_config());
    pair.server.feed(&up, pair.now).unwrap();
    let ended = pair.server.feed(&cut(&up)[1], pair.now);
    assert!(matches!(
        ended,
        Err(TransportError::OutOfOrder {
            number: n::KEXINIT,
            ..
        })
    ));
    // Once there are keys, and nobody has asked for new ones.
    for message in [&[n::NEWKEYS][..], &init, &[n::KEX_ECDH_REPLY]] {
        let mut pair = Pair::ready();
        pair.client.leg.own(message).unwrap();
        assert!(
            matches!(pair.run(), Err(TransportError::OutOfOrder { .. })),
            "{message:?}"
        );
        assert!(pair.server.leg.is_closed());
    }
}

#[test]
fn between_its_kexinit_and_its_newkeys_a_peer_says_nothing_else() {
    for (message, fits) in [
        (&[n::IGNORE, 0, 0, 0, 0][..], true),
        (&[n::CHANNEL_DATA, 0][..], false),
        (&[n::SERVICE_REQUEST, 0], false),
        (&[n::EXT_INFO, 0, 0, 0, 0], false),
        (&[n::USERAUTH_REQUEST], false),
        (&[n::PING, 0, 0, 0, 0], false),
    ] {
        let mut pair = Pair::ready();
        pair.client.leg.rekey().unwrap();
        pair.client.leg.own(message).unwrap();
        match pair.run() {
            Ok(()) => assert!(fits && pair.client.asked == 2),
            Err(TransportError::OutOfOrder { .. }) => assert!(!fits, "{message:?}"),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn newkeys_holds_nothing() {
    let mut pair = Pair::ready();
    pair.client.leg.rekey().unwrap();
    for _ in 0..2 {
        let up = pair.client.take_output();
        pair.server.feed(&up, pair.now).unwrap();
        let down = pair.server.take_output();
        pair.client.input.extend_from_slice(&down);
        let event = pair.client.leg.receive(&mut pair.client.input, pair.now);
        assert!(matches!(event.unwrap(), None | Some(Event::HostKey(_))));
    }
    // In place of the client's own.
    pair.client.leg.own(&[n::NEWKEYS, 0]).unwrap();
    assert!(matches!(
        pair.run(),
        Err(TransportError::Layout {
            number: n::NEWKEYS,
            ..
        })
    ));
}

/// Values that make a secret of no bits, or that are no points at all.
#[test]
fn values_that_are_no_keys_are_refused() {
    let hybrid = |kem: u8, point: &[u8]| [&[kem; 1184], point].concat();
    let (valid, _) = kex::Ephemeral::generate(KexAlgorithm::NistP256)
        .map(|(_, m)| (m, ()))
        .unwrap();
    let compressed = [&[2][..], &valid[1..33]].concat();
    let mut off_curve = valid.clone();
    off_curve[64] ^= 1;
    let mut hybrid_form = valid.clone();
    hybrid_form[0] = 6 + (valid[64] & 1);
    let (fresh, good) = (KexAlgorithm::MlKem768X25519, KexAlgorithm::Curve25519);
    let good_hybrid = kex::Ephemeral::generate(fresh).unwrap().1;
    let mut zero_point = good_hybrid.clone();
    zero_point[1184..].fill(0);
    let rows: Vec<(KexAlgorithm, Vec<u8>)> = vec![
        (good, vec![0; 32]),
        (good, [&[1][..], &[0; 31]].concat()),
        // A point of order 8.
        (
            good,
            hex::decode("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800")
                .unwrap(),
        ),
        // The prime itself, which is 0 again.
        (
            good,
            hex::decode("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")
                .unwrap(),
        ),
        // A key in the form that certificates of X.509 have, which the library reads as well.
        (
            good,
            [
                &hex::decode("302a300506032b656e032100").unwrap()[..],
                &[9; 32],
            ]
            .concat(),
        ),
        (good, vec![]),
        (good, vec![9; 31]),
        (good, vec![9; 33]),
        (KexAlgorithm::NistP256, vec![0; 65]),
        (KexAlgorithm::NistP256, vec![0]),
        (KexAlgorithm::NistP256, compressed),
        (KexAlgorithm::NistP256, off_curve),
        (KexAlgorithm::NistP256, hybrid_form),
        (KexAlgorithm::NistP256, valid[..64].to_vec()),
        (KexAlgorithm::NistP384, valid),
        // Coefficients that are not below the modulus (FIPS 203 section 7.2).
        (fresh, hybrid(0xff, &[9; 32])),
        (fresh, zero_point),
        (fresh, good_hybrid[..1215].to_vec()),
        (fresh, [&good_hybrid[..], &[0]].concat()),
        (fresh, vec![9; 32]),
    ];
    for (algorithm, value) in rows {
        let mut client = client_config();
        client.algorithms.kex = vec![algorithm];
        let (mut pair, up) = begun(client);
        pair.server.feed(&up, pair.now).unwrap();
        let mut message = vec![n::KEX_ECDH_INIT];
        message.string(&value);
        let ended = pair.server.feed(&clear(&message), pair.now);
        assert!(
            matches!(ended, Err(TransportError::Kex(_))),
            "{algorithm:?} {value:02x?}: {ended:?}"
        );
        assert!(pair.server.leg.session_id().is_none());
    }
    // And in the server's answer.
    for (algorithm, reply) in [
        (good, vec![0; 32]),
        (good, vec![9; 31]),
        (fresh, vec![0; 1120]),
        (fresh, vec![9; 1119]),
        (KexAlgorithm::NistP384, vec![4; 97]),
    ] {
        let (ephemeral, _) = kex::Ephemeral::generate(algorithm).unwrap();
        assert!(ephemeral.finish(&reply).is_err(), "{algorithm:?}");
    }
}

#[test]
fn kexinits_that_are_not_laid_out_right_are_refused() {
    let offer = Offer::new(
        &Algorithms::default(),
        vec!["ssh-ed25519".to_owned()],
        [false; 2],
    );
    let payload = offer.payload(Role::Client, &[7; 16]);
    assert!(KexInit::parse(&payload).is_ok());
    for end in 0..payload.len() {
        assert!(KexInit::parse(&payload[..end]).is_err(), "{end}");
    }
    assert!(KexInit::parse(&[&payload[..], &[0]].concat()).is_err());
    let mut strange = payload.to_vec();
    strange[21] = 0;
    assert!(KexInit::parse(&strange).is_err());
    // Under keys, packets may be longer; what says which algorithms there are may not.
    let mut long = payload[..17].to_vec();
    long.string(&vec![b'x'; MAX_CLEAR_PACKET]);
    let mut pair = Pair::ready();
    pair.client.leg.own(&long).unwrap();
    let ended = pair.run();
    assert!(matches!(ended, Err(TransportError::KexInitTooLong { .. })));
}

#[test]
fn what_is_not_in_common_is_named() {
    let offer = |algorithms: &Algorithms, key: &str| {
        Offer::new(algorithms, vec![key.to_owned()], [false; 2])
    };
    let ours = offer(&Algorithms::default(), "ssh-ed25519");
    let old = Algorithms {
        ciphers: vec![],
        ..Algorithms::default()
    };
    for (theirs, wanted) in [
        (
            offer(&old, "ssh-ed25519"),
            "no cipher in common: we know aes256-gcm",
        ),
        (
            offer(&Algorithms::default(), "ssh-dss"),
            "no host key algorithm in common: we know ssh-ed25519; the peer offers ssh-dss",
        ),
    ] {
        let payload = theirs.payload(Role::Server, &[0; 16]);
        let error = ours
            .agree(Role::Client, &KexInit::parse(&payload).unwrap())
            .unwrap_err();
        assert!(error.to_string().starts_with(wanted), "{error}");
    }
    // Both sides learn of it, not only the one that looks.
    let mut client = client_config();
    client.host_key_algorithms = vec!["rsa-sha2-512".to_owned()];
    let mut pair = Pair::new(client, server_config());
    let error = pair.run().unwrap_err();
    assert!(matches!(error, TransportError::Negotiation(_)));
    let (up, down) = (pair.client.take_output(), pair.server.take_output());
    assert!(!up.is_empty() || !down.is_empty());
}

#[test]
fn a_guess_counts_only_where_it_was_right() {
    for (guess, right) in [
        (KexAlgorithm::NistP256, false),
        (KexAlgorithm::MlKem768X25519, true),
    ] {
        let mut client = client_config();
        client.algorithms.kex.sort_by_key(|k| *k != guess);
        let (mut pair, _) = begun(client);
        // The client's KEXINIT says that a message for its guess follows, and one does.
        let Exchange::Offered { offer, ours } = &mut pair.client.leg.exchange else {
            panic!("no KEXINIT is out");
        };
        let at = ours.len() - 5;
        let mut patched = ours.to_vec();
        assert_eq!(patched[at], 0);
        patched[at] = 1;
        *ours = Bytes::from(patched);
        assert!(KexInit::parse(ours).is_ok());
        let (ours, _) = (ours.clone(), offer.clone());
        pair.client.leg.tx = Sender::new();
        pair.client.leg.out.clear();
        pair.client.leg.out.raw(b"SSH-2.0-OpenSSH_Weir\r\n");
        pair.client.leg.own(&ours).unwrap();
        if !right {
            pair.client
                .leg
                .own(&[n::KEX_ECDH_INIT, 0, 0, 0, 1, 0])
                .unwrap();
        }
        pair.run().unwrap();
        assert!(pair.client.ready && pair.server.ready);
    }
}

#[test]
fn a_peer_that_only_makes_new_keys_is_sent_away() {
    let mut pair = Pair::ready();
    let mut count = 0;
    let error = loop {
        pair.client.leg.rekey().unwrap();
        match pair.run() {
            Ok(()) => count += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(count, MAX_EXCHANGES_IN_A_ROW - 1);
    assert!(
        matches!(error, TransportError::TooManyExchanges(_)),
        "{error}"
    );
    // One that works in between, or takes its time, is not.
    let mut pair = Pair::ready();
    for i in 0..50 {
        pair.client.leg.rekey().unwrap();
        if i % 10 == 0 {
            pair.client.leg.send(&[n::CHANNEL_DATA]).unwrap();
        }
        pair.run().unwrap();
    }
    let mut pair = Pair::ready();
    for _ in 0..50 {
        pair.later(EXCHANGE_RESPITE);
        pair.client.leg.rekey().unwrap();
        pair.run().unwrap();
    }
}

#[test]
fn what_ends_a_leg_is_told_without_what_is_ours_alone() {
    let mut pair = Pair::ready();
    let mut up = BytesMut::new();
    pair.client
        .leg
        .tx
        .send(&[&[n::CHANNEL_DATA]], &mut up)
        .unwrap();
    up[20] ^= 1;
    let error = pair.server.feed(&up, pair.now).unwrap_err();
    assert_eq!(error.reason(), n::disconnect::MAC_ERROR);
    pair.run().unwrap();
    assert_eq!(
        pair.client.gone,
        Some((5, "a packet is not authentic".to_owned()))
    );
    let ours = TransportError::HostKey(HostKeyError {
        algorithm: "ssh-ed25519".to_owned(),
        reason: "/etc/weir/key: gone".to_owned(),
    });
    assert_eq!(ours.told(), "internal error");
    // Whoever does not speak SSH is not spoken to.
    let mut pair = Pair::new(client_config(), server_config());
    pair.server.take_output();
    assert!(
        pair.server
            .feed(b"GET / HTTP/1.1\r\n\r\n", pair.now)
            .is_err()
    );
    assert!(pair.server.take_output().is_empty());
}

#[test]
fn keys_do_not_last_forever_for_a_peer_that_makes_no_new_ones() {
    let mut pair = Pair::ready();
    pair.server.leg.rx.used.packets = MAX_PACKETS;
    pair.client.leg.own(&[n::CHANNEL_DATA]).unwrap();
    assert!(matches!(pair.run(), Err(TransportError::KeysWornOut(_))));
}
