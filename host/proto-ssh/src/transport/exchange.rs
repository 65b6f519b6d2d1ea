//! The way of one key exchange, in either role: KEXINIT, the values, NEWKEYS (RFC 4253 sections 7 and 8).

use aws_lc_rs::rand;
use bytes::Bytes;

use super::cipher::{Open, Seal, Suite};
use super::config::{CipherAlgorithm, Named};
use super::kex::{self, Derivation, Ephemeral, Secret, Transcript};
use super::kexinit::{Chosen, KexInit, Offer};
use super::{
    EXCHANGE_RESPITE, Event, MAX_CLEAR_PACKET, MAX_EXCHANGES_IN_A_ROW, MAX_STRANGE_EXCHANGES,
    OfferedHostKey, Role, Side, Transport, TransportError, layout,
};
use crate::wire::{Put, Reader, WireError, numbers as n};

/// Numbers that belong to the method of a key exchange (RFC 4250 section 4.1.2).
pub(super) const KEX_FIRST: u8 = 30;
pub(super) const KEX_LAST: u8 = 49;

const CERTIFICATE: &str = "-cert-v01@openssh.com";

/// How far an exchange is.
pub(super) enum Exchange {
    /// None runs.
    Idle,
    /// Our KEXINIT is out.
    Offered { offer: Offer, ours: Bytes },
    /// Server: the client's value is awaited.
    Init(Agreed),
    /// Client: the server's answer is awaited.
    Reply {
        agreed: Agreed,
        ephemeral: Box<Ephemeral>,
        init: Vec<u8>,
    },
    /// Client: the caller looks at the host's key.
    Judging(Box<Made>),
    /// Our NEWKEYS is out, theirs is awaited.
    NewKeys { open: Open, suite: Suite },
}

/// Both KEXINITs, and what they come to.
pub(super) struct Agreed {
    chosen: Chosen,
    ours: Bytes,
    theirs: Bytes,
}

/// New keys that are not in use yet.
pub(super) struct Made {
    seal: Seal,
    open: Open,
    /// Of what comes in.
    suite: Suite,
    session_id: Vec<u8>,
    host_key: Bytes,
}

/// What both sides have sent after their KEXINITs.
struct Values<'a> {
    host_key: Bytes,
    init: &'a [u8],
    reply: &'a [u8],
    secret: Secret,
}

impl Exchange {
    /// The peer's KEXINIT is in, and its NEWKEYS is not.
    pub(super) fn peer_has_begun(&self) -> bool {
        !matches!(self, Self::Idle | Self::Offered { .. })
    }

    /// Our NEWKEYS has gone out, if our KEXINIT has.
    pub(super) fn lets_send(&self, ready: bool) -> bool {
        match self {
            Self::Idle => ready,
            Self::NewKeys { .. } => true,
            _ => false,
        }
    }
}

impl Transport {
    /// Our KEXINIT goes out.
    pub(super) fn begin(&mut self) -> Result<(), TransportError> {
        let mut cookie = [0; 16];
        rand::fill(&mut cookie).map_err(|_| TransportError::Random)?;
        let role = self.side.role();
        let offer = Offer::new(self.side.algorithms(), self.side.host_keys(), self.peer_gcm);
        let ours = offer.payload(role, &cookie);
        self.own(&ours)?;
        self.exchange = Exchange::Offered { offer, ours };
        self.since = None;
        Ok(())
    }

    pub(super) fn on_kexinit(&mut self, payload: Bytes) -> Result<(), TransportError> {
        if self.exchange.peer_has_begun() {
            return Err(out_of_order(n::KEXINIT, "while a key exchange runs"));
        }
        if payload.len() > MAX_CLEAR_PACKET {
            // No more than it could have been at first.
            let (length, max) = (payload.len(), MAX_CLEAR_PACKET);
            return Err(TransportError::KexInitTooLong { length, max });
        }
        let role = self.side.role();
        let theirs = KexInit::parse(&payload).map_err(layout(n::KEXINIT))?;
        if !self.ready {
            self.strict = theirs.is_strict(role.peer());
            self.wants_ext_info = theirs.wants_ext_info();
            if self.strict && self.prefixed > 0 {
                return Err(out_of_order(n::KEXINIT, "after something else"));
            }
        }
        if role == Role::Server {
            self.peer_gcm = theirs.gcm(self.side.algorithms());
        }
        if matches!(self.exchange, Exchange::Idle) {
            self.count_exchange()?;
            self.begin()?;
        }
        let Exchange::Offered { offer, ours } = self.take_exchange() else {
            return Err(out_of_order(n::KEXINIT, "while a key exchange runs"));
        };
        let chosen = offer.agree(role, &theirs)?;
        let kex = chosen.kex;
        let agreed = Agreed {
            chosen,
            ours,
            theirs: payload.clone(),
        };
        self.exchange = match role {
            Role::Server => Exchange::Init(agreed),
            Role::Client => {
                let (ephemeral, init) = Ephemeral::generate(kex)?;
                let mut message = Vec::with_capacity(init.len().saturating_add(5));
                message.byte(n::KEX_ECDH_INIT).string(&init);
                self.own(&message)?;
                Exchange::Reply {
                    agreed,
                    ephemeral: Box::new(ephemeral),
                    init,
                }
            }
        };
        Ok(())
    }

    /// Exchanges that the peer begins are bounded: each costs us key generation and a signature.
    fn count_exchange(&mut self) -> Result<(), TransportError> {
        if self.stranger {
            self.strange_exchanges = self.strange_exchanges.saturating_add(1);
            if self.strange_exchanges > MAX_STRANGE_EXCHANGES {
                return Err(TransportError::TooManyExchanges(MAX_STRANGE_EXCHANGES));
            }
        }
        let fresh = self
            .since
            .zip(self.clock)
            .is_some_and(|(since, now)| now.saturating_duration_since(since) < EXCHANGE_RESPITE);
        if !fresh {
            self.exchanges_in_a_row = 0;
        }
        self.exchanges_in_a_row = self.exchanges_in_a_row.saturating_add(1);
        if self.exchanges_in_a_row > MAX_EXCHANGES_IN_A_ROW {
            return Err(TransportError::TooManyExchanges(MAX_EXCHANGES_IN_A_ROW));
        }
        Ok(())
    }

    pub(super) fn on_kex_message(
        &mut self,
        number: u8,
        payload: Bytes,
    ) -> Result<Option<Event>, TransportError> {
        match (self.take_exchange(), number) {
            // One message for what the peer had guessed wrong is passed over, whatever it is.
            (Exchange::Init(mut agreed), _) if agreed.chosen.skip_guess => {
                agreed.chosen.skip_guess = false;
                self.exchange = Exchange::Init(agreed);
                Ok(None)
            }
            (
                Exchange::Reply {
                    mut agreed,
                    ephemeral,
                    init,
                },
                _,
            ) if agreed.chosen.skip_guess => {
                agreed.chosen.skip_guess = false;
                self.exchange = Exchange::Reply {
                    agreed,
                    ephemeral,
                    init,
                };
                Ok(None)
            }
            (Exchange::Init(agreed), n::KEX_ECDH_INIT) => {
                self.respond(&agreed, &payload)?;
                Ok(None)
            }
            (
                Exchange::Reply {
                    agreed,
                    ephemeral,
                    init,
                },
                n::KEX_ECDH_REPLY,
            ) => self.judge(&agreed, *ephemeral, &init, &payload).map(Some),
            _ => Err(out_of_order(number, "that no key exchange waits for")),
        }
    }

    /// Server: our value, our key, our signature; then new keys.
    fn respond(&mut self, agreed: &Agreed, payload: &Bytes) -> Result<(), TransportError> {
        let number = n::KEX_ECDH_INIT;
        let parse = || -> Result<&[u8], WireError> {
            let mut r = Reader::new(payload);
            let (_, init) = (r.u8()?, r.string()?);
            r.end()?;
            Ok(init)
        };
        let init = parse().map_err(layout(number))?;
        let wanted = agreed.chosen.host_key.as_str();
        let key = match &self.side {
            Side::Server(config) => config
                .host_keys
                .iter()
                .find(|key| key.algorithms().contains(&wanted))
                .cloned(),
            Side::Client(_) => None,
        };
        let key = key.ok_or_else(|| out_of_order(number, "to a client"))?;
        let (reply, secret) = kex::respond(agreed.chosen.kex, init)?;
        let values = Values {
            host_key: Bytes::copy_from_slice(key.public_blob()),
            init,
            reply: &reply,
            secret,
        };
        let (made, hash) = self.make(agreed, values)?;
        let signature = key.sign(wanted, &hash)?;
        let mut message = Vec::with_capacity(2048);
        message
            .byte(n::KEX_ECDH_REPLY)
            .string(key.public_blob())
            .string(&reply)
            .string(&signature);
        self.own(&message)?;
        self.put_in_force(made)
    }

    /// Client: what the host proves itself with goes to the caller.
    fn judge(
        &mut self,
        agreed: &Agreed,
        ephemeral: Ephemeral,
        init: &[u8],
        payload: &Bytes,
    ) -> Result<Event, TransportError> {
        let parse = || -> Result<[&[u8]; 3], WireError> {
            let mut r = Reader::new(payload);
            let _ = r.u8()?;
            let parts = [r.string()?, r.string()?, r.string()?];
            r.end()?;
            Ok(parts)
        };
        let [key, reply, signature] = parse().map_err(layout(n::KEX_ECDH_REPLY))?;
        let algorithm = agreed.chosen.host_key.clone();
        let (key_form, signature_form) = forms(&algorithm);
        expect_form(key, key_form)?;
        expect_form(signature, &signature_form)?;
        if self.host_key.as_ref().is_some_and(|known| known != key) {
            return Err(TransportError::HostKeyChanged);
        }
        let secret = ephemeral.finish(reply)?;
        let key_blob = Bytes::copy_from_slice(key);
        let values = Values {
            host_key: key_blob.clone(),
            init,
            reply,
            secret,
        };
        let (made, exchange_hash) = self.make(agreed, values)?;
        self.exchange = Exchange::Judging(Box::new(made));
        Ok(Event::HostKey(OfferedHostKey {
            algorithm,
            key_blob,
            signature: Bytes::copy_from_slice(signature),
            exchange_hash,
            rekey: self.host_key.is_some(),
        }))
    }

    /// The keys of this exchange, and its hash. Nothing is in force yet.
    fn make(&self, agreed: &Agreed, values: Values<'_>) -> Result<(Made, Vec<u8>), TransportError> {
        let their_ident = self.their_ident.as_deref().unwrap_or_default();
        let role = self.side.role();
        let (client, server) = match role {
            Role::Client => (
                (self.our_ident.as_str(), &agreed.ours),
                (their_ident, &agreed.theirs),
            ),
            Role::Server => (
                (their_ident, &agreed.theirs),
                (self.our_ident.as_str(), &agreed.ours),
            ),
        };
        let algorithm = agreed.chosen.kex;
        let hash = Transcript {
            client_ident: client.0,
            server_ident: server.0,
            client_kexinit: client.1,
            server_kexinit: server.1,
            host_key: &values.host_key,
            init: values.init,
            reply: values.reply,
        }
        .hash(algorithm, &values.secret)
        .as_ref()
        .to_vec();
        let session_id = self.session_id.clone().unwrap_or_else(|| hash.clone());
        let derivation = Derivation {
            algorithm,
            secret: &values.secret,
            exchange_hash: &hash,
            session_id: &session_id,
        };
        let from_client = (agreed.chosen.from_client, kex::FROM_CLIENT);
        let from_server = (agreed.chosen.from_server, kex::FROM_SERVER);
        let (out, into) = match role {
            Role::Client => (from_client, from_server),
            Role::Server => (from_server, from_client),
        };
        let made = Made {
            seal: derivation.seal(out.0, out.1)?,
            open: derivation.open(into.0, into.1)?,
            suite: into.0,
            session_id,
            host_key: values.host_key,
        };
        Ok((made, hash))
    }

    /// Client: whether the host's key, which `Event::HostKey` has told, is the right one. What was not asked is not
    /// answered: then this does nothing.
    pub fn answer_host_key(&mut self, accepted: bool) -> Result<(), TransportError> {
        match self.take_exchange() {
            Exchange::Judging(made) if !self.is_closed() => {
                let step = if accepted {
                    self.host_key = Some(made.host_key.clone());
                    self.put_in_force(*made)
                } else {
                    Err(TransportError::HostKeyRefused)
                };
                self.closing(step)
            }
            other => {
                self.exchange = other;
                Ok(())
            }
        }
    }

    /// Our NEWKEYS goes out, then what has waited for it.
    fn put_in_force(&mut self, made: Made) -> Result<(), TransportError> {
        self.own(&[n::NEWKEYS])?;
        self.tx.take_keys(made.seal, self.strict);
        self.session_id.get_or_insert(made.session_id);
        self.exchange = Exchange::NewKeys {
            open: made.open,
            suite: made.suite,
        };
        self.send_ext_info()?;
        while let Some(message) = self.queue.pop() {
            self.tx.send(&[&message], &mut self.out)?;
        }
        Ok(())
    }

    /// The first message under the first keys (RFC 8308 section 2.4).
    fn send_ext_info(&mut self) -> Result<(), TransportError> {
        let Side::Server(config) = &self.side else {
            return Ok(());
        };
        if self.ready || !self.wants_ext_info {
            return Ok(());
        }
        let mut message = Vec::with_capacity(256);
        message
            .byte(n::EXT_INFO)
            .uint32(2)
            .string(b"server-sig-algs")
            .string(config.signature_algorithms.join(",").as_bytes())
            // Without it OpenSSH's client does not hide when its user types which key: its pings look like keys.
            .string(b"ping@openssh.com")
            .string(b"0");
        self.own(&message)
    }

    /// Section 1.9 of OpenSSH's PROTOCOL. The answer is none of the messages that may pass during a key exchange, so
    /// it waits for its end like all others, and counts among what a peer may leave unread.
    pub(super) fn pong(&mut self, payload: &[u8]) -> Result<(), TransportError> {
        let parse = || -> Result<&[u8], WireError> {
            let mut r = Reader::new(payload);
            let (_, data) = (r.u8()?, r.string()?);
            r.end()?;
            Ok(data)
        };
        let data = parse().map_err(layout(n::PING))?;
        let mut message = Vec::with_capacity(data.len().saturating_add(5));
        message.byte(n::PONG).string(data);
        self.sent(&[&message])
    }

    pub(super) fn on_newkeys(&mut self, payload: &[u8]) -> Result<Option<Event>, TransportError> {
        let Exchange::NewKeys { open, suite } = self.take_exchange() else {
            return Err(out_of_order(n::NEWKEYS, "that no key exchange waits for"));
        };
        if let Some(extra) = payload.len().checked_sub(1).filter(|extra| *extra > 0) {
            return Err(layout(n::NEWKEYS)(WireError::Trailing(extra)));
        }
        if self.prefixed > 0 && !self.ready && !suite.cipher.is_gcm() {
            return Err(TransportError::Prefixed(self.prefixed, name(suite.cipher)));
        }
        self.rx.take_keys(open, self.strict);
        self.since = self.clock;
        let first = !self.ready;
        self.ready = true;
        Ok(first.then_some(Event::Ready))
    }

    /// Leaves none behind: whoever does not put one back has ended it.
    fn take_exchange(&mut self) -> Exchange {
        std::mem::replace(&mut self.exchange, Exchange::Idle)
    }
}

fn name(cipher: CipherAlgorithm) -> &'static str {
    cipher.name()
}

fn out_of_order(number: u8, when: &'static str) -> TransportError {
    TransportError::OutOfOrder { number, when }
}

/// What a key and a signature of an algorithm call themselves. Keys of RSA have one name for all their signatures
/// (RFC 8332), and what a certificate certifies signs under its own name.
fn forms(algorithm: &str) -> (&str, String) {
    let (base, certificate) = match algorithm.strip_suffix(CERTIFICATE) {
        Some(base) => (base, true),
        None => (algorithm, false),
    };
    let key = match (base, certificate) {
        ("rsa-sha2-256" | "rsa-sha2-512", false) => "ssh-rsa",
        ("rsa-sha2-256" | "rsa-sha2-512", true) => "ssh-rsa-cert-v01@openssh.com",
        _ => algorithm,
    };
    (key, base.to_owned())
}

fn expect_form(blob: &[u8], wanted: &str) -> Result<(), TransportError> {
    let got = Reader::new(blob)
        .string()
        .map_err(layout(n::KEX_ECDH_REPLY))?;
    if got == wanted.as_bytes() {
        return Ok(());
    }
    let got = got.get(..64).unwrap_or(got);
    Err(TransportError::HostKeyAlgorithm {
        wanted: wanted.to_owned(),
        got: String::from_utf8_lossy(got).escape_default().to_string(),
    })
}
