//! Tests of one leg: two of them against each other, against an adversary in between, and against OpenSSH.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod adversary;
mod asyncssh;
mod clients;
mod echo;
mod hosts;
mod openssh;
mod packets;
mod pair;
mod strangers;

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use bytes::{Bytes, BytesMut};

use super::*;

pub(super) struct TestKey {
    pair: Ed25519KeyPair,
    blob: Vec<u8>,
}

impl TestKey {
    pub(super) fn new() -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let mut blob = Vec::new();
        blob.string(b"ssh-ed25519")
            .string(pair.public_key().as_ref());
        Self { pair, blob }
    }
}

impl HostKey for TestKey {
    fn algorithms(&self) -> &'static [&'static str] {
        &["ssh-ed25519"]
    }

    fn public_blob(&self) -> &[u8] {
        &self.blob
    }

    fn sign(&self, _: &str, message: &[u8]) -> Result<Vec<u8>, HostKeyError> {
        let mut out = Vec::new();
        out.string(b"ssh-ed25519")
            .string(self.pair.sign(message).as_ref());
        Ok(out)
    }
}

pub(super) fn verify_ed25519(offered: &OfferedHostKey) {
    assert_eq!(offered.algorithm, "ssh-ed25519");
    let mut key = Reader::new(&offered.key_blob);
    assert_eq!(key.string().unwrap(), b"ssh-ed25519");
    let mut signature = Reader::new(&offered.signature);
    assert_eq!(signature.string().unwrap(), b"ssh-ed25519");
    UnparsedPublicKey::new(&ED25519, key.string().unwrap())
        .verify(&offered.exchange_hash, signature.string().unwrap())
        .expect("the host's signature");
}

pub(super) fn server_config() -> ServerConfig {
    ServerConfig::new(vec![Arc::new(TestKey::new())])
}

pub(super) fn client_config() -> ClientConfig {
    ClientConfig::new(vec!["ssh-ed25519".to_owned()])
}

/// One end of a pair with what has happened to it.
pub(super) struct End {
    pub(super) leg: Transport,
    pub(super) input: BytesMut,
    pub(super) ready: bool,
    pub(super) asked: usize,
    pub(super) got: Vec<Bytes>,
    pub(super) gone: Option<(u32, String)>,
}

impl End {
    pub(super) fn new(leg: Transport) -> Self {
        Self {
            leg,
            input: BytesMut::new(),
            ready: false,
            asked: 0,
            got: Vec::new(),
            gone: None,
        }
    }

    pub(super) fn feed(&mut self, bytes: &[u8], now: Instant) -> Result<(), TransportError> {
        self.input.extend_from_slice(bytes);
        while !self.leg.is_closed() {
            match self.leg.receive(&mut self.input, now)? {
                None => break,
                Some(Event::HostKey(offered)) => {
                    verify_ed25519(&offered);
                    assert_eq!(offered.rekey, self.asked > 0);
                    self.asked += 1;
                    self.leg.answer_host_key(true)?;
                }
                Some(Event::Ready) => {
                    assert!(!self.ready, "ready twice");
                    self.ready = true;
                }
                Some(Event::Packet(packet)) => self.got.push(packet),
                Some(Event::Disconnected { reason, text }) => self.gone = Some((reason, text)),
            }
        }
        Ok(())
    }

    pub(super) fn take_output(&mut self) -> BytesMut {
        self.leg.output().split()
    }
}

pub(super) struct Pair {
    pub(super) client: End,
    pub(super) server: End,
    pub(super) now: Instant,
    /// How many bytes move at once; 0: all of them.
    pub(super) chunk: usize,
    noise: u64,
}

impl Pair {
    /// Of two who know each other.
    pub(super) fn new(client: ClientConfig, server: ServerConfig) -> Self {
        let mut pair = Self::strange(client, server);
        pair.server.leg.authenticated();
        pair
    }

    /// The server does not know who the client is.
    pub(super) fn strange(client: ClientConfig, server: ServerConfig) -> Self {
        Self {
            client: End::new(Transport::client(Arc::new(client))),
            server: End::new(Transport::server(Arc::new(server))),
            now: Instant::now(),
            chunk: 0,
            noise: 0x9e37_79b9_7f4a_7c15,
        }
    }

    pub(super) fn ready() -> Self {
        let mut pair = Self::new(client_config(), server_config());
        pair.run().unwrap();
        assert!(pair.client.ready && pair.server.ready);
        pair
    }

    fn random(&mut self, below: usize) -> usize {
        self.noise ^= self.noise << 13;
        self.noise ^= self.noise >> 7;
        self.noise ^= self.noise << 17;
        (self.noise % below as u64) as usize
    }

    /// Moves bytes until both are silent.
    pub(super) fn run(&mut self) -> Result<(), TransportError> {
        loop {
            let (up, down) = (self.client.take_output(), self.server.take_output());
            if up.is_empty() && down.is_empty() {
                return Ok(());
            }
            let (mut up, mut down) = (&up[..], &down[..]);
            while !up.is_empty() || !down.is_empty() {
                for to_server in [true, false] {
                    let from = if to_server { up } else { down };
                    let n = match self.chunk {
                        0 => from.len(),
                        1 => from.len().min(1),
                        max => from.len().min(1 + self.random(max)),
                    };
                    let (head, rest) = from.split_at(n);
                    if to_server {
                        self.server.feed(head, self.now)?;
                        up = rest;
                    } else {
                        self.client.feed(head, self.now)?;
                        down = rest;
                    }
                }
            }
        }
    }

    pub(super) fn later(&mut self, by: Duration) {
        self.now += by;
    }
}
