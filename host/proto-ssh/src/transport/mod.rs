//! One leg of a connection: identification, key exchange, packets, rekeying (RFC 4253). Pure: bytes and `now` in,
//! events and bytes out. Both roles share it.
//!
//! - `ident` reads the first line of the peer; `kexinit` and `kex` come to algorithms and keys.
//! - `packet` cuts and fills packets; `cipher` seals and opens them where they lie.
//! - `exchange` is the way of one key exchange; this file is everything around it.
//!
//! How it is driven: bytes that came go into `receive` until it returns `None`; what stands in `output` is to be
//! written; `deadline` says when `tick` wants to be called. While a key exchange runs, `send` queues; whoever sends
//! looks at `backlog` and stops reading elsewhere. A client is asked about the host's key at the first exchange
//! *and at every later one* (`Event::HostKey`); until `answer_host_key`, nothing more is read.
//!
//! Invariants:
//! - Nothing is believed before it is authentic, but the length of a packet, and that is held against its limit.
//! - Before the first keys, a peer that knows strict key exchange may send nothing but what belongs to it. One that
//!   does not may, but only where AES-GCM shows afterwards that nothing is missing (CVE-2023-48795).
//! - Between our KEXINIT and our NEWKEYS, nothing goes out that RFC 4253 section 7.1 does not allow.
//! - A client is a stranger until `authenticated`: it may send, ask for and leave unread much less.
//! - An error ends the leg; the peer has been told in `output`.

mod cipher;
mod config;
mod error;
mod exchange;
mod ident;
mod kex;
mod kexinit;
mod packet;
mod queue;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

pub use cipher::CipherError;
pub use config::{
    Algorithms, CipherAlgorithm, ClientConfig, EXCHANGE_TIMEOUT, HostKey, HostKeyError,
    KEXINIT_PATIENCE, KexAlgorithm, Limits, MAX_BACKLOG, MAX_PACKETS, MAX_STRANGE_BACKLOG,
    MacAlgorithm, Named, REKEY_AFTER, REKEY_BYTES, REKEY_PACKETS, ServerConfig, Software,
};
pub use error::TransportError;
pub use ident::IdentError;
pub use kex::KexError;
pub use kexinit::NegotiationError;
pub use packet::{MAX_CLEAR_PACKET, MAX_PACKET, MAX_PAYLOAD, MAX_STRANGE_PACKET, PacketError};

use crate::wire::{Put, Reader, WireError, numbers as n};
use exchange::Exchange;
use queue::Queue;

/// Messages that belong to no key exchange before there are keys, from a peer that knows no strict one.
const MAX_PREFIXED: u32 = 16;
/// Key exchanges that a peer may begin with nothing in between, each within `EXCHANGE_RESPITE` of the last: every
/// one costs us more than it costs the peer.
const MAX_EXCHANGES_IN_A_ROW: u32 = 16;
/// Those that a client may begin before it has proved who it is, the first one among them.
const MAX_STRANGE_EXCHANGES: u32 = 2;
const EXCHANGE_RESPITE: Duration = Duration::from_secs(60);
/// What is kept of a text that a peer gives as its reason to go, and of ours.
const MAX_REASON: usize = 1024;
/// Names that are kept of a server's `server-sig-algs`.
const MAX_SIGNATURE_ALGORITHMS: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Client,
    Server,
}

impl Role {
    fn peer(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// What a host has proved itself with. Nobody has verified the signature yet.
#[derive(Debug, Clone)]
pub struct OfferedHostKey {
    /// The one that was agreed on; key and signature are of its kind.
    pub algorithm: String,
    pub key_blob: Bytes,
    pub signature: Bytes,
    /// What is signed.
    pub exchange_hash: Vec<u8>,
    /// The key is the one that was accepted at the start, byte for byte: only the signature is to be verified.
    pub rekey: bool,
}

/// What a leg has for its caller.
pub enum Event {
    /// Client: verify the signature, look whether the key is one that we trust, then `answer_host_key`.
    HostKey(OfferedHostKey),
    /// There are keys both ways. Later key exchanges are not told.
    Ready,
    /// A message that is not the transport's own, from its number on. Never empty.
    Packet(Bytes),
    /// The peer has gone, and said why.
    Disconnected { reason: u32, text: String },
}

/// Messages hold passwords, tokens and what people type: a log gets number and length.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostKey(offered) => f.debug_tuple("HostKey").field(&offered.algorithm).finish(),
            Self::Ready => f.write_str("Ready"),
            Self::Packet(payload) => f
                .debug_struct("Packet")
                .field("number", &payload.first())
                .field("length", &payload.len())
                .finish(),
            Self::Disconnected { reason, text } => f
                .debug_struct("Disconnected")
                .field("reason", reason)
                .field("length", &text.len())
                .finish(),
        }
    }
}

#[derive(Clone)]
enum Side {
    Server(Arc<ServerConfig>),
    Client(Arc<ClientConfig>),
}

impl Side {
    fn role(&self) -> Role {
        match self {
            Self::Server(_) => Role::Server,
            Self::Client(_) => Role::Client,
        }
    }

    fn limits(&self) -> &Limits {
        match self {
            Self::Server(config) => &config.limits,
            Self::Client(config) => &config.limits,
        }
    }

    fn algorithms(&self) -> &Algorithms {
        match self {
            Self::Server(config) => &config.algorithms,
            Self::Client(config) => &config.algorithms,
        }
    }

    fn host_keys(&self) -> Vec<String> {
        match self {
            Self::Client(config) => config.host_key_algorithms.clone(),
            Self::Server(config) => {
                let names = config.host_keys.iter().flat_map(|key| key.algorithms());
                names.map(|name| (*name).to_owned()).collect()
            }
        }
    }
}

enum Phase {
    /// The peer has not said who it is.
    Ident(ident::Reader),
    Packets,
    Closed,
}

/// One leg.
pub struct Transport {
    side: Side,
    phase: Phase,
    our_ident: String,
    their_ident: Option<String>,
    out: BytesMut,
    queue: Queue,
    tx: packet::Sender,
    rx: packet::Receiver,
    exchange: Exchange,
    /// When that began which the deadline hangs on; nothing, where it has begun and nobody has told the time yet.
    since: Option<Instant>,
    /// The last `now` that anyone has told.
    clock: Option<Instant>,
    /// There have been keys both ways.
    ready: bool,
    session_id: Option<Vec<u8>>,
    /// What the first exchange has settled for good.
    strict: bool,
    wants_ext_info: bool,
    host_key: Option<Bytes>,
    /// For each direction, whether the client has AES-GCM: a server's KEXINIT goes by it.
    peer_gcm: [bool; 2],
    prefixed: u32,
    exchanges_in_a_row: u32,
    /// Nobody knows who the peer is; a host is known by its key.
    stranger: bool,
    strange_exchanges: u32,
    server_sig_algs: Option<Vec<String>>,
}

impl Transport {
    /// A leg that a client has opened. Our first line stands in `output`.
    pub fn server(config: Arc<ServerConfig>) -> Self {
        let ident = config.software.ident();
        let mut leg = Self::new(Side::Server(config), ident);
        leg.stranger = true;
        leg.rx.max = MAX_STRANGE_PACKET;
        leg
    }

    /// The client has proved who it is, and is no stranger any more.
    pub fn authenticated(&mut self) {
        self.stranger = false;
        self.rx.max = MAX_PACKET;
    }

    /// A leg that we have opened to a host.
    pub fn client(config: Arc<ClientConfig>) -> Self {
        let ident = config.software.ident();
        Self::new(Side::Client(config), ident)
    }

    fn new(side: Side, our_ident: String) -> Self {
        let mut out = BytesMut::with_capacity(4096);
        out.raw(our_ident.as_bytes()).raw(b"\r\n");
        let from_server = side.role() == Role::Client;
        Self {
            side,
            phase: Phase::Ident(ident::Reader::new(from_server)),
            our_ident,
            their_ident: None,
            out,
            queue: Queue::default(),
            tx: packet::Sender::new(),
            rx: packet::Receiver::new(),
            exchange: Exchange::Idle,
            since: None,
            clock: None,
            ready: false,
            session_id: None,
            strict: false,
            wants_ext_info: false,
            host_key: None,
            peer_gcm: [false; 2],
            prefixed: 0,
            exchanges_in_a_row: 0,
            stranger: false,
            strange_exchanges: 0,
            server_sig_algs: None,
        }
    }

    /// What is to be written to the peer. The caller takes from its front; with `split`, an idle leg holds no memory
    /// for it.
    pub fn output(&mut self) -> &mut BytesMut {
        &mut self.out
    }

    /// Bytes that wait for the peer: for its reading, or for a key exchange to end.
    pub fn backlog(&self) -> usize {
        self.out.len().saturating_add(self.queue.bytes)
    }

    /// The hash of the first exchange, which authentication is bound to.
    pub fn session_id(&self) -> Option<&[u8]> {
        self.session_id.as_deref()
    }

    /// The peer's first line: printable ASCII, at most 253 bytes.
    pub fn peer_ident(&self) -> Option<&str> {
        self.their_ident.as_deref()
    }

    /// What a server has said that it takes signatures of (RFC 8308), if it has said so yet.
    pub fn server_sig_algs(&self) -> Option<&[String]> {
        self.server_sig_algs.as_deref()
    }

    /// The next event in `input`, or `None` once more bytes are needed. Takes from its front.
    pub fn receive(
        &mut self,
        input: &mut BytesMut,
        now: Instant,
    ) -> Result<Option<Event>, TransportError> {
        self.clock = Some(now);
        let step = self.step(input, now);
        self.since.get_or_insert(now);
        self.closing(step)
    }

    fn step(
        &mut self,
        input: &mut BytesMut,
        now: Instant,
    ) -> Result<Option<Event>, TransportError> {
        loop {
            match &mut self.phase {
                Phase::Closed => return Err(TransportError::Closed),
                Phase::Ident(reader) => {
                    let Some(line) = reader.read(input)? else {
                        return Ok(None);
                    };
                    self.their_ident = Some(line);
                    self.phase = Phase::Packets;
                    self.since = Some(now);
                    if self.side.role() == Role::Client {
                        self.begin()?;
                    }
                }
                Phase::Packets => {
                    if matches!(self.exchange, Exchange::Judging(_)) {
                        return Ok(None);
                    }
                    let Some(packet) = self.rx.receive(input)? else {
                        return Ok(None);
                    };
                    if let Some(event) = self.take(packet)? {
                        return Ok(Some(event));
                    }
                }
            }
        }
    }

    fn take(&mut self, packet: packet::Opened) -> Result<Option<Event>, TransportError> {
        if self.rx.used.packets > MAX_PACKETS {
            return Err(TransportError::KeysWornOut(MAX_PACKETS));
        }
        let number = packet.number;
        if number == n::DISCONNECT {
            self.phase = Phase::Closed;
            return disconnected(&packet.payload).map(Some);
        }
        self.admit(number)?;
        let event = match number {
            n::IGNORE | n::UNIMPLEMENTED | n::DEBUG => None,
            n::EXT_INFO => {
                self.ext_info(&packet.payload)?;
                None
            }
            n::KEXINIT => {
                self.on_kexinit(packet.payload)?;
                None
            }
            n::NEWKEYS => self.on_newkeys(&packet.payload)?,
            exchange::KEX_FIRST..=exchange::KEX_LAST => {
                self.on_kex_message(number, packet.payload)?
            }
            // What authentication and the connection protocol know, they look at themselves.
            n::SERVICE_REQUEST | n::SERVICE_ACCEPT | 50..=127 => {
                self.exchanges_in_a_row = 0;
                Some(Event::Packet(packet.payload))
            }
            n::PING if !self.stranger => {
                self.pong(&packet.payload)?;
                None
            }
            _ => {
                let mut message = Vec::with_capacity(5);
                message.byte(n::UNIMPLEMENTED).uint32(packet.seq);
                self.own(&message)?;
                None
            }
        };
        self.rekey_when_due()?;
        Ok(event)
    }

    /// Whether a message may come now at all.
    fn admit(&mut self, number: u8) -> Result<(), TransportError> {
        let of_exchange = matches!(number, n::KEXINIT | n::NEWKEYS)
            || (exchange::KEX_FIRST..=exchange::KEX_LAST).contains(&number);
        if of_exchange {
            // `exchange` knows which of them it waits for.
            return Ok(());
        }
        let harmless = matches!(number, n::IGNORE | n::UNIMPLEMENTED | n::DEBUG);
        let out_of_order = |when| Err(TransportError::OutOfOrder { number, when });
        if self.ready {
            if self.exchange.peer_has_begun() && !harmless {
                return out_of_order("between its KEXINIT and its NEWKEYS");
            }
            return Ok(());
        }
        if !harmless || self.strict {
            return out_of_order("before there were keys");
        }
        self.prefixed = self.prefixed.saturating_add(1);
        if self.prefixed > MAX_PREFIXED {
            return out_of_order("before there were keys, again and again");
        }
        Ok(())
    }

    /// Queues one message for the peer, from its number on.
    pub fn send(&mut self, payload: &[u8]) -> Result<(), TransportError> {
        self.send_parts(&[payload])
    }

    /// One message in parts, so that nobody has to put them together first.
    pub fn send_parts(&mut self, parts: &[&[u8]]) -> Result<(), TransportError> {
        let sent = self.sent(parts);
        self.closing(sent)
    }

    fn sent(&mut self, parts: &[&[u8]]) -> Result<(), TransportError> {
        if matches!(self.phase, Phase::Closed) {
            return Err(TransportError::Closed);
        }
        let len = parts.iter().map(|p| p.len()).sum::<usize>();
        if len == 0 || len > MAX_PAYLOAD {
            let max = MAX_PAYLOAD;
            return Err(PacketError::Payload { length: len, max }.into());
        }
        self.bear(len)?;
        if !self.exchange.lets_send(self.ready) {
            let mut message = BytesMut::with_capacity(len);
            for part in parts {
                message.raw(part);
            }
            self.queue.push(message.freeze());
            return Ok(());
        }
        self.tx.send(parts, &mut self.out)?;
        self.exchanges_in_a_row = 0;
        self.rekey_when_due()
    }

    /// A message of the transport's own, which waits for no key exchange.
    fn own(&mut self, payload: &[u8]) -> Result<(), TransportError> {
        self.bear(payload.len())?;
        Ok(self.tx.send(&[payload], &mut self.out)?)
    }

    fn bear(&self, more: usize) -> Result<(), TransportError> {
        let (waiting, max) = (self.backlog().saturating_add(more), self.most());
        if waiting > max {
            return Err(TransportError::Backlog { waiting, max });
        }
        Ok(())
    }

    fn most(&self) -> usize {
        let most = self.side.limits().backlog;
        match self.stranger {
            true => most.min(MAX_STRANGE_BACKLOG),
            false => most,
        }
    }

    /// A peer that reads so little of what it is sent is not to be listened to until it does.
    pub fn is_behind(&self) -> bool {
        self.out.len() > self.most() / 2
    }

    /// Nobody knows who the peer is yet.
    pub fn is_stranger(&self) -> bool {
        self.stranger
    }

    /// Makes new keys, unless that is going on already or there are none yet.
    pub fn rekey(&mut self) -> Result<(), TransportError> {
        if self.ready && matches!(self.exchange, Exchange::Idle) && !self.is_closed() {
            let begun = self.begin();
            return self.closing(begun);
        }
        Ok(())
    }

    fn rekey_when_due(&mut self) -> Result<(), TransportError> {
        if !self.ready || !matches!(self.exchange, Exchange::Idle) {
            return Ok(());
        }
        let limits = self.side.limits();
        let due = [self.tx.used, self.rx.used]
            .iter()
            .any(|used| used.bytes >= limits.rekey_bytes || used.packets >= limits.rekey_packets);
        if due { self.begin() } else { Ok(()) }
    }

    /// When `tick` wants to be called. To be asked again after every other call.
    pub fn deadline(&self) -> Option<Instant> {
        let limits = self.side.limits();
        let wait = match (&self.phase, &self.exchange) {
            (Phase::Closed | Phase::Ident(_), _) => return None,
            (Phase::Packets, Exchange::Idle) if self.ready => limits.rekey_after,
            (Phase::Packets, Exchange::Idle) => limits.kexinit_patience,
            (Phase::Packets, _) => limits.exchange_timeout,
        };
        match self.since {
            Some(since) => since.checked_add(wait),
            // At once: `tick` starts the clock.
            None => self.clock,
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Instant) -> Result<(), TransportError> {
        self.clock = Some(now);
        self.since.get_or_insert(now);
        if self.deadline().is_none_or(|at| now < at) {
            return Ok(());
        }
        let step = match self.exchange {
            // Keys have grown old, or the client waits for us to speak first.
            Exchange::Idle => self.begin(),
            _ => Err(TransportError::ExchangeTimeout(
                self.side.limits().exchange_timeout,
            )),
        };
        self.closing(step)
    }

    /// Says goodbye. Nothing can be sent or received afterwards; `output` still has to be written.
    pub fn disconnect(&mut self, reason: u32, text: &str) {
        if self.is_closed() {
            return;
        }
        let end = text.floor_char_boundary(MAX_REASON);
        let text = text.get(..end).unwrap_or_default();
        let mut message = Vec::with_capacity(text.len().saturating_add(13));
        message
            .byte(n::DISCONNECT)
            .uint32(reason)
            .string(text.as_bytes())
            .string(b"");
        // It goes out beyond every limit, because it is the last; if it cannot, the peer is not told.
        let _ = self.tx.send(&[&message], &mut self.out);
        self.phase = Phase::Closed;
        self.queue = Queue::default();
    }

    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// An error ends the leg, and the peer is told. Whoever speaks no SSH would not understand.
    fn closing<T>(&mut self, step: Result<T, TransportError>) -> Result<T, TransportError> {
        match &step {
            Ok(_) => {}
            Err(TransportError::Ident(_)) => self.phase = Phase::Closed,
            Err(error) => self.disconnect(error.reason(), &error.told()),
        }
        step
    }

    /// RFC 8308 section 2.3. Unknown extensions are passed over. What a client says of itself is for nobody here.
    fn ext_info(&mut self, payload: &[u8]) -> Result<(), TransportError> {
        if self.side.role() == Role::Server {
            return Ok(());
        }
        let mut parse = || -> Result<(), WireError> {
            let mut r = Reader::new(payload);
            let (_, count) = (r.u8()?, r.u32()?);
            for _ in 0..count {
                let (name, mut value) = (r.string()?, r);
                r.string()?;
                if name == b"server-sig-algs" {
                    let names = value.names()?.take(MAX_SIGNATURE_ALGORITHMS);
                    self.server_sig_algs = Some(names.map(str::to_owned).collect());
                }
            }
            r.end()
        };
        parse().map_err(layout(n::EXT_INFO))
    }
}

fn layout(number: u8) -> impl Fn(WireError) -> TransportError {
    move |source| TransportError::Layout { number, source }
}

fn disconnected(payload: &[u8]) -> Result<Event, TransportError> {
    let parse = || -> Result<(u32, String), WireError> {
        let mut r = Reader::new(payload);
        let (_, reason, text) = (r.u8()?, r.u32()?, r.string()?);
        let text = text.get(..MAX_REASON).unwrap_or(text);
        // It is shown to people, and written to logs.
        let text = String::from_utf8_lossy(text);
        let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
        Ok((reason, clean.collect()))
    };
    let (reason, text) = parse().map_err(layout(n::DISCONNECT))?;
    Ok(Event::Disconnected { reason, text })
}
