//! How long a GiB takes one leg on one thread, in messages of 32 KiB: sealed, and opened, without sockets.
//! And what a key exchange costs both sides together.
//!
//! `cargo run --release -p proto-ssh --example transport_rate`

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a measurement ends where something is wrong"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use bytes::BytesMut;
use proto_ssh::transport::{
    Algorithms, CipherAlgorithm, ClientConfig, Event, HostKey, HostKeyError, KexAlgorithm, Named,
    ServerConfig, Transport,
};
use proto_ssh::wire::{Put, numbers};

const MESSAGE: usize = 32 << 10;
const TOTAL: usize = 1 << 30;
/// As much as a leg reads at once.
const CHUNK: usize = 256 << 10;

struct Key {
    pair: Ed25519KeyPair,
    blob: Vec<u8>,
}

impl HostKey for Key {
    fn algorithms(&self) -> &'static [&'static str] {
        &["ssh-ed25519"]
    }

    fn public_blob(&self) -> &[u8] {
        &self.blob
    }

    fn sign(&self, algorithm: &str, message: &[u8]) -> Result<Vec<u8>, HostKeyError> {
        let mut out = Vec::new();
        out.string(algorithm.as_bytes())
            .string(self.pair.sign(message).as_ref());
        Ok(out)
    }
}

/// Both ends up to their keys.
fn connected(algorithms: &Algorithms) -> (Transport, Transport) {
    let pair = Ed25519KeyPair::generate().unwrap();
    let mut blob = Vec::new();
    blob.string(b"ssh-ed25519")
        .string(pair.public_key().as_ref());
    let mut server = ServerConfig::new(vec![Arc::new(Key { pair, blob })]);
    let mut client = ClientConfig::new(vec!["ssh-ed25519".to_owned()]);
    client.algorithms = algorithms.clone();
    server.limits.rekey_bytes = u64::MAX;
    client.limits.rekey_bytes = u64::MAX;
    let mut server = Transport::server(Arc::new(server));
    let mut client = Transport::client(Arc::new(client));
    let (mut up, mut down) = (BytesMut::new(), BytesMut::new());
    let mut ready = 0;
    while ready < 2 {
        up.unsplit(client.output().split());
        while let Some(event) = server.receive(&mut up, Instant::now()).unwrap() {
            ready += usize::from(matches!(event, Event::Ready));
        }
        down.unsplit(server.output().split());
        while let Some(event) = client.receive(&mut down, Instant::now()).unwrap() {
            match event {
                Event::HostKey(_) => client.answer_host_key(true).unwrap(),
                Event::Ready => ready += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    (client, server)
}

fn transfer(cipher: CipherAlgorithm) -> (Duration, Duration) {
    let (mut client, mut server) = connected(&Algorithms {
        ciphers: vec![cipher],
        ..Algorithms::default()
    });
    let data = vec![0x5a; MESSAGE];
    let mut header = Vec::new();
    header
        .byte(numbers::CHANNEL_DATA)
        .uint32(0)
        .uint32(MESSAGE as u32);
    let mut input = BytesMut::with_capacity(2 * CHUNK);
    let (mut sealing, mut opening) = (Duration::ZERO, Duration::ZERO);
    let mut moved = 0;
    while moved < TOTAL {
        let started = Instant::now();
        while server.output().len() < CHUNK {
            server.send_parts(&[&header, &data]).unwrap();
        }
        sealing += started.elapsed();
        // What a socket does: bytes go into a buffer that is used again once nothing of it is held.
        input.reserve(server.output().len());
        input.extend_from_slice(server.output());
        server.output().clear();
        let started = Instant::now();
        while let Some(event) = client.receive(&mut input, started).unwrap() {
            let Event::Packet(packet) = event else {
                panic!("{event:?}");
            };
            moved += packet.len();
        }
        opening += started.elapsed();
    }
    (sealing, opening)
}

fn main() {
    for cipher in CipherAlgorithm::ALL {
        let (sealing, opening) = transfer(*cipher);
        println!(
            "{:32} sealing {:.3} s/GiB, opening {:.3} s/GiB",
            cipher.name(),
            sealing.as_secs_f64(),
            opening.as_secs_f64()
        );
    }
    for kex in KexAlgorithm::ALL {
        const ROUNDS: u32 = 200;
        let algorithms = Algorithms {
            kex: vec![*kex],
            ..Algorithms::default()
        };
        let started = Instant::now();
        for _ in 0..ROUNDS {
            connected(&algorithms);
        }
        println!(
            "{:32} {:?} for both sides",
            kex.name(),
            started.elapsed() / ROUNDS
        );
    }
}
