//! One leg of SSH on arbitrary bytes, before there are keys and after: none may panic. What was sent arrives as it was
//! sent and in its order, whatever key exchanges run meanwhile; once a byte was changed on its way, nothing more
//! arrives.

#![no_main]

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use proto_ssh::transport::{
    ClientConfig, Event, HostKey, HostKeyError, ServerConfig, Transport, TransportError,
};
use proto_ssh::wire::Put;

/// Steps of a script: more of them find nothing new.
const MAX_STEPS: usize = 300;

fuzz_target!(|data: &[u8]| {
    let Some((mode, rest)) = data.split_first() else {
        return;
    };
    match mode % 8 {
        0 => raw(server(), rest),
        1 => raw(client(), rest),
        2 => framed(server(), rest),
        3 => framed(client(), rest),
        _ => Script::new().run(rest),
    }
});

/// Verified by nobody here.
struct Key;

impl HostKey for Key {
    fn algorithms(&self) -> &'static [&'static str] {
        &["ssh-ed25519"]
    }

    fn public_blob(&self) -> &[u8] {
        b"\0\0\0\x0bssh-ed25519\0\0\0\0"
    }

    fn sign(&self, _: &str, _: &[u8]) -> Result<Vec<u8>, HostKeyError> {
        Ok(self.public_blob().to_vec())
    }
}

fn server() -> Transport {
    let mut config = ServerConfig::new(vec![Arc::new(Key)]);
    config.limits.rekey_bytes = 20_000;
    Transport::server(Arc::new(config))
}

fn client() -> Transport {
    Transport::client(Arc::new(ClientConfig::new(vec!["ssh-ed25519".to_owned()])))
}

fn drain(leg: &mut Transport, input: &mut BytesMut) {
    let now = Instant::now();
    while let Ok(Some(event)) = leg.receive(input, now) {
        if matches!(event, Event::HostKey(_)) {
            let _ = leg.answer_host_key(true);
        }
    }
    leg.output().clear();
}

/// The bytes as they are, in pieces.
fn raw(mut leg: Transport, data: &[u8]) {
    let mut input = BytesMut::new();
    for piece in data.chunks(97) {
        input.extend_from_slice(piece);
        drain(&mut leg, &mut input);
    }
}

/// The bytes as messages in packets that are right, behind a first line that is.
fn framed(mut leg: Transport, data: &[u8]) {
    let mut input = BytesMut::from(&b"SSH-2.0-Fuzz\r\n"[..]);
    let mut rest = data;
    while let Some((len, tail)) = rest.split_first_chunk::<2>() {
        let len = usize::from(u16::from_be_bytes(*len)).min(tail.len());
        let (payload, tail) = tail.split_at(len);
        rest = tail;
        let padding = 12 - (payload.len() + 1) % 8;
        input.uint32((1 + payload.len() + padding) as u32);
        input
            .byte(padding as u8)
            .raw(payload)
            .raw(&vec![0; padding]);
        drain(&mut leg, &mut input);
    }
}

struct End {
    leg: Transport,
    input: BytesMut,
    /// What the other end has sent, and has not arrived.
    expected: VecDeque<Vec<u8>>,
    /// A byte on the way here was changed.
    tampered: bool,
}

impl End {
    fn new(leg: Transport) -> Self {
        Self {
            leg,
            input: BytesMut::new(),
            expected: VecDeque::new(),
            tampered: false,
        }
    }
}

/// Two legs, and what the bytes say that happens to them.
struct Script {
    ends: [End; 2],
    now: Instant,
    sent: u32,
}

impl Script {
    fn new() -> Self {
        let mut script = Self {
            ends: [End::new(client()), End::new(server())],
            now: Instant::now(),
            sent: 0,
        };
        for _ in 0..6 {
            script.carry(0, usize::MAX);
            script.carry(1, usize::MAX);
        }
        // Of a stranger a server bears little, and what is sent here stands for sessions.
        script.ends[1].leg.authenticated();
        script
    }

    /// Moves bytes from one end to the other, which takes what has come.
    fn carry(&mut self, from: usize, most: usize) {
        let output = self.ends[from].leg.output();
        let some = output.split_to(most.min(output.len()));
        let end = &mut self.ends[1 - from];
        end.input.extend_from_slice(&some);
        loop {
            match end.leg.receive(&mut end.input, self.now) {
                Ok(Some(Event::Packet(packet))) => {
                    assert_eq!(Some(packet.to_vec()), end.expected.pop_front());
                }
                Ok(Some(Event::HostKey(_))) => {
                    let _ = end.leg.answer_host_key(true);
                }
                Ok(Some(Event::Ready | Event::Disconnected { .. })) => {}
                Ok(None) => return,
                Err(TransportError::Closed) => return,
                Err(error) => {
                    // The only fault of an honest peer is to make keys and do nothing else.
                    let honest = matches!(error, TransportError::TooManyExchanges(_));
                    assert!(end.tampered || honest, "{error}");
                    return;
                }
            }
        }
    }

    fn send(&mut self, from: usize, len: usize) {
        let mut message = vec![94];
        message.uint32(self.sent).raw(&vec![7; len]);
        self.sent += 1;
        if self.ends[from].leg.send(&message).is_ok() {
            self.ends[1 - from].expected.push_back(message);
        }
    }

    fn run(&mut self, data: &[u8]) {
        for step in data.chunks_exact(2).take(MAX_STEPS) {
            let (what, n) = (step[0], usize::from(step[1]));
            let from = usize::from(what & 1);
            match (what >> 1) % 8 {
                0 | 1 => self.send(from, n * n),
                2 => self.carry(from, n),
                3 | 4 => self.carry(from, usize::MAX),
                5 => {
                    let _ = self.ends[from].leg.rekey();
                }
                6 => {
                    self.now += Duration::from_secs(n as u64);
                    for end in &mut self.ends {
                        let _ = end.leg.tick(self.now);
                    }
                }
                _ => {
                    // Only sometimes, or nothing ever arrives.
                    let output = self.ends[from].leg.output();
                    let at = n.min(output.len().saturating_sub(1));
                    if n > 200 && !output.is_empty() {
                        output[at] ^= 1 << (n % 8);
                        self.ends[1 - from].tampered = true;
                    }
                }
            }
        }
        // An honest way ends with everything there.
        let tampered = self.ends.iter().any(|end| end.tampered);
        for _ in 0..8 {
            self.carry(0, usize::MAX);
            self.carry(1, usize::MAX);
        }
        let open = self.ends.iter().all(|end| !end.leg.is_closed());
        if open && !tampered {
            assert!(self.ends.iter().all(|end| end.expected.is_empty()));
        }
    }
}
