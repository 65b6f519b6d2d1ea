//! Single packets under known keys, in the hands of somebody on the wire.

use super::cipher::{Material, Open, Seal, Suite};
use super::packet::{Receiver, Sender};
use super::*;

fn suites() -> Vec<Suite> {
    let mut out = Vec::new();
    for cipher in CipherAlgorithm::ALL.iter().copied() {
        if !cipher.needs_mac() {
            out.push(Suite { cipher, mac: None });
            continue;
        }
        out.extend(MacAlgorithm::ALL.iter().map(|mac| Suite {
            cipher,
            mac: Some(*mac),
        }));
    }
    out
}

fn with_keys(suite: Suite) -> (Sender, Receiver) {
    let lengths = suite.lengths();
    let bytes: Vec<u8> = (0..128).collect();
    let material = Material {
        iv: &bytes[..lengths.iv],
        key: &bytes[..lengths.key],
        mac: &bytes[..lengths.mac],
    };
    let (mut sender, mut receiver) = (Sender::new(), Receiver::new());
    sender.take_keys(Seal::new(suite, &material).unwrap(), true);
    receiver.take_keys(Open::new(suite, &material).unwrap(), true);
    (sender, receiver)
}

fn sealed(suite: Suite, payloads: &[&[u8]]) -> Vec<BytesMut> {
    let (mut sender, _) = with_keys(suite);
    let seal = |payload: &&[u8]| {
        let mut out = BytesMut::new();
        sender.send(&[payload], &mut out).unwrap();
        out
    };
    payloads.iter().map(seal).collect()
}

#[test]
fn every_flipped_bit_is_noticed() {
    for suite in suites() {
        let packet = sealed(suite, &[b"\x5e\0\0\0\0hello"]).remove(0);
        for i in 0..packet.len() {
            for bit in 0..8 {
                let (_, mut receiver) = with_keys(suite);
                let mut bytes = packet.clone();
                bytes[i] ^= 1 << bit;
                // A length that has grown waits for bytes that an attacker can send.
                bytes.resize(MAX_PACKET + 200, 0x41);
                let got = receiver.receive(&mut bytes);
                assert!(got.is_err(), "{suite:?}: byte {i}, bit {bit}");
            }
        }
    }
}

#[test]
fn a_packet_that_is_not_whole_is_waited_for() {
    for suite in suites() {
        let packet = sealed(suite, &[b"\x5e\0\0\0\0hello"]).remove(0);
        let (_, mut receiver) = with_keys(suite);
        let mut input = BytesMut::new();
        for (i, b) in packet.iter().enumerate() {
            assert!(
                receiver.receive(&mut input).unwrap().is_none(),
                "{suite:?}: {i}"
            );
            input.extend_from_slice(&[*b]);
        }
        let got = receiver.receive(&mut input).unwrap().unwrap();
        assert_eq!(got.payload, &b"\x5e\0\0\0\0hello"[..]);
        assert!(input.is_empty());
    }
}

#[test]
fn packets_cannot_be_left_out_repeated_or_swapped() {
    for suite in suites() {
        let packets = sealed(suite, &[b"\x5eone", b"\x5etwo", b"\x5ethree"]);
        for order in [&[1usize][..], &[0, 0], &[0, 2], &[1, 0]] {
            let (_, mut receiver) = with_keys(suite);
            let mut last = Ok(None);
            for i in order {
                let mut bytes = packets[*i].clone();
                bytes.resize(MAX_PACKET + 200, 0);
                last = receiver.receive(&mut bytes);
                if last.is_err() {
                    break;
                }
            }
            assert!(last.is_err(), "{suite:?}: {order:?}");
        }
    }
}

#[test]
fn lengths_that_lie_are_refused_before_anything_is_read() {
    let clear =
        |length: u32| Receiver::new().receive(&mut BytesMut::from(&length.to_be_bytes()[..]));
    for length in [
        MAX_CLEAR_PACKET as u32 + 1,
        0x7fff_fffc,
        u32::MAX,
        u32::from_be_bytes(*b"HTTP"),
    ] {
        assert!(
            matches!(clear(length), Err(PacketError::TooLong { .. })),
            "{length}"
        );
    }
    for length in [0, 1, 4, 5, 6, 11, 13, 19] {
        assert!(
            matches!(clear(length), Err(PacketError::Length { .. })),
            "{length}"
        );
    }
    assert!(clear(12).unwrap().is_none());
    for suite in suites() {
        // Only a length that stands in the clear can be chosen from outside.
        let in_clear = suite.cipher.is_gcm()
            || matches!(
                suite.mac,
                Some(MacAlgorithm::Sha256Etm | MacAlgorithm::Sha512Etm)
            );
        if !in_clear {
            continue;
        }
        let with = |length: u32| {
            let (_, mut receiver) = with_keys(suite);
            receiver
                .receive(&mut BytesMut::from(&length.to_be_bytes()[..]))
                .map(|p| p.is_some())
        };
        assert!(matches!(
            with(MAX_PACKET as u32 + 16),
            Err(PacketError::TooLong { .. })
        ));
        for length in [0, 8, 15, 17] {
            assert!(
                matches!(with(length), Err(PacketError::Length { .. })),
                "{suite:?} {length}"
            );
        }
        assert_eq!(with(16), Ok(false));
    }
}

#[test]
fn padding_that_lies_is_refused_even_if_it_is_authentic() {
    for padding in [0u8, 1, 2, 3, 11, 12, 13, 255] {
        let mut clear = BytesMut::from(&[0, 0, 0, 12, padding][..]);
        clear.extend_from_slice(&[n::IGNORE; 11]);
        let got = Receiver::new().receive(&mut clear);
        assert!(matches!(got, Err(PacketError::Padding { .. })), "{padding}");
    }
    let (suite, bytes) = (suites()[0], [9; 64]);
    let material = Material {
        iv: &bytes[..12],
        key: &bytes[..32],
        mac: &[],
    };
    for (padding, fits) in [
        (3, false),
        (4, true),
        (14, true),
        (15, false),
        (16, false),
        (255, false),
    ] {
        let mut packet = BytesMut::from(&[0, 0, 0, 16, padding][..]);
        packet.extend_from_slice(&[n::IGNORE; 15]);
        Seal::new(suite, &material)
            .unwrap()
            .seal(0, &mut packet, 0)
            .unwrap();
        let mut receiver = Receiver::new();
        receiver.take_keys(Open::new(suite, &material).unwrap(), true);
        assert_eq!(receiver.receive(&mut packet).is_ok(), fits, "{padding}");
    }
}

#[test]
fn a_message_that_is_too_long_is_not_sent() {
    for suite in suites() {
        let (mut sender, mut receiver) = with_keys(suite);
        let mut out = BytesMut::new();
        let most = vec![n::CHANNEL_DATA; 256 << 10];
        sender
            .send(&[&most[..1000], &most[1000..]], &mut out)
            .unwrap();
        assert_eq!(receiver.receive(&mut out).unwrap().unwrap().payload, most);
        let most = vec![n::CHANNEL_DATA; MAX_PAYLOAD];
        sender.send(&[&most], &mut out).unwrap();
        assert_eq!(receiver.receive(&mut out).unwrap().unwrap().payload, most);
        let beyond = vec![n::CHANNEL_DATA; MAX_PAYLOAD + 1];
        assert!(matches!(
            sender.send(&[&beyond], &mut out),
            Err(PacketError::Payload { .. })
        ));
        assert!(out.is_empty());
    }
    for message in [vec![], vec![n::CHANNEL_DATA; MAX_PAYLOAD + 1]] {
        assert!(Pair::ready().client.leg.send(&message).is_err());
        let mut waiting = Transport::client(Arc::new(client_config()));
        assert!(waiting.send(&message).is_err());
    }
}
