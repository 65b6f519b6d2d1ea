//! KEXINIT, and what two of them agree on: RFC 4253 section 7.1.

use bytes::Bytes;

use super::Role;
use super::cipher::Suite;
use super::config::{Algorithms, CipherAlgorithm, KexAlgorithm, MacAlgorithm, Named};
use crate::wire::{Put, Reader, WireError, numbers as n};

const STRICT_CLIENT: &str = "kex-strict-c-v00@openssh.com";
const STRICT_SERVER: &str = "kex-strict-s-v00@openssh.com";
/// The client understands EXT_INFO (RFC 8308).
const EXT_INFO_CLIENT: &str = "ext-info-c";
const NO_COMPRESSION: &str = "none";
/// How much of a peer's list an error repeats.
const MAX_NAMES_TOLD: usize = 400;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NegotiationError {
    #[error("no {what} in common: we know {ours}; the peer offers {theirs}")]
    NothingInCommon {
        what: &'static str,
        ours: String,
        theirs: String,
    },
    #[error("KEXINIT is not laid out as RFC 4253 wants it: {0}")]
    Layout(#[from] WireError),
}

/// A peer's KEXINIT. Lists stay as they are; most are looked through once.
#[derive(Debug)]
pub(super) struct KexInit<'a> {
    kex: Vec<&'a str>,
    host_keys: Vec<&'a str>,
    /// From the client, then from the server.
    ciphers: [Vec<&'a str>; 2],
    macs: [Vec<&'a str>; 2],
    compression: [Vec<&'a str>; 2],
    guess_follows: bool,
}

impl<'a> KexInit<'a> {
    pub(super) fn parse(payload: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(payload);
        let number = r.u8()?;
        if number != n::KEXINIT {
            return Err(WireError::Unknown(number));
        }
        let _cookie: [u8; 16] = r.array()?;
        let mut list = || -> Result<Vec<&'a str>, WireError> { Ok(r.names()?.collect()) };
        let (kex, host_keys) = (list()?, list()?);
        let ciphers = [list()?, list()?];
        let macs = [list()?, list()?];
        let compression = [list()?, list()?];
        let _languages = [list()?, list()?];
        let guess_follows = r.bool()?;
        let _reserved = r.u32()?;
        r.end()?;
        Ok(Self {
            kex,
            host_keys,
            ciphers,
            macs,
            compression,
            guess_follows,
        })
    }

    /// Whether the peer counts sequence numbers anew at NEWKEYS. Only its first KEXINIT says so.
    pub(super) fn is_strict(&self, peer: Role) -> bool {
        let marker = match peer {
            Role::Client => STRICT_CLIENT,
            Role::Server => STRICT_SERVER,
        };
        self.kex.contains(&marker)
    }

    /// For each direction, whether the peer has a cipher of AES-GCM that we offer too.
    pub(super) fn gcm(&self, algorithms: &Algorithms) -> [bool; 2] {
        self.ciphers.each_ref().map(|theirs| {
            let gcm = algorithms.ciphers.iter().filter(|c| c.is_gcm());
            gcm.map(|c| c.name()).any(|name| theirs.contains(&name))
        })
    }

    pub(super) fn wants_ext_info(&self) -> bool {
        self.kex.contains(&EXT_INFO_CLIENT)
    }
}

/// What our KEXINIT says.
#[derive(Debug, Clone)]
pub(super) struct Offer {
    kex: Vec<&'static str>,
    host_keys: Vec<String>,
    /// From the client, then from the server.
    ciphers: [Vec<&'static str>; 2],
    macs: Vec<&'static str>,
}

/// What both sides go by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) kex: KexAlgorithm,
    pub(super) host_key: String,
    pub(super) from_client: Suite,
    pub(super) from_server: Suite,
    /// The peer has sent a message for algorithms that it guessed, and guessed wrong: it does not count.
    pub(super) skip_guess: bool,
}

impl Offer {
    /// `gcm` says for which direction the client has AES-GCM, where a server knows that before it says anything
    /// itself (`KexInit::gcm`).
    ///
    /// Clients choose, and many put chacha20-poly1305 or counter mode first, which cost us twice as much as GCM.
    /// So a server offers nothing else to a client that has GCM.
    pub(super) fn new(algorithms: &Algorithms, host_keys: Vec<String>, gcm: [bool; 2]) -> Self {
        let ciphers = gcm.map(|gcm| {
            let all = algorithms.ciphers.iter();
            all.filter(|c| !gcm || c.is_gcm())
                .map(|c| c.name())
                .collect()
        });
        Self {
            kex: algorithms.kex.iter().map(|k| k.name()).collect(),
            host_keys,
            ciphers,
            macs: algorithms.macs.iter().map(|m| m.name()).collect(),
        }
    }

    pub(super) fn payload(&self, role: Role, cookie: &[u8; 16]) -> Bytes {
        let mut kex = self.kex.clone();
        match role {
            Role::Client => kex.extend([EXT_INFO_CLIENT, STRICT_CLIENT]),
            Role::Server => kex.push(STRICT_SERVER),
        }
        let host_keys: Vec<&str> = self.host_keys.iter().map(String::as_str).collect();
        let [from_client, from_server] = &self.ciphers;
        let mut out = Vec::with_capacity(1024);
        out.byte(n::KEXINIT)
            .raw(cookie)
            .names(&kex)
            .names(&host_keys)
            .names(from_client)
            .names(from_server)
            .names(&self.macs)
            .names(&self.macs)
            .names(&[NO_COMPRESSION])
            .names(&[NO_COMPRESSION])
            .names(&[])
            .names(&[])
            .flag(false)
            .uint32(0);
        Bytes::from(out)
    }

    /// In each list, the first of the client's that the server has too.
    pub(super) fn agree(
        &self,
        role: Role,
        theirs: &KexInit<'_>,
    ) -> Result<Chosen, NegotiationError> {
        let ours_keys: Vec<&str> = self.host_keys.iter().map(String::as_str).collect();
        let kex = common(role, "key exchange algorithm", &self.kex, &theirs.kex)?;
        let host_key = common(role, "host key algorithm", &ours_keys, &theirs.host_keys)?;
        let [from_client, from_server] = [0, 1].map(|i| self.suite(role, theirs, i));
        let skip_guess = theirs.guess_follows
            && (self.kex.first() != theirs.kex.first()
                || ours_keys.first() != theirs.host_keys.first());
        Ok(Chosen {
            kex: known(kex, "key exchange algorithm")?,
            host_key: host_key.to_owned(),
            from_client: from_client?,
            from_server: from_server?,
            skip_guess,
        })
    }

    fn suite(
        &self,
        role: Role,
        theirs: &KexInit<'_>,
        direction: usize,
    ) -> Result<Suite, NegotiationError> {
        fn of<T>(lists: &[Vec<T>; 2], direction: usize) -> &[T] {
            lists.get(direction).map(Vec::as_slice).unwrap_or_default()
        }
        let ours = of(&self.ciphers, direction);
        let cipher = common(role, "cipher", ours, of(&theirs.ciphers, direction))?;
        let cipher: CipherAlgorithm = known(cipher, "cipher")?;
        let mac = if cipher.needs_mac() {
            let mac = common(role, "MAC", &self.macs, of(&theirs.macs, direction))?;
            Some(known::<MacAlgorithm>(mac, "MAC")?)
        } else {
            None
        };
        let plain = of(&theirs.compression, direction);
        common(role, "compression", &[NO_COMPRESSION], plain)?;
        Ok(Suite { cipher, mac })
    }
}

fn common<'a>(
    role: Role,
    what: &'static str,
    ours: &[&'a str],
    theirs: &[&'a str],
) -> Result<&'a str, NegotiationError> {
    let (client, server) = match role {
        Role::Client => (ours, theirs),
        Role::Server => (theirs, ours),
    };
    client
        .iter()
        .copied()
        .find(|name| server.contains(name))
        .ok_or_else(|| NegotiationError::NothingInCommon {
            what,
            ours: ours.join(","),
            theirs: told(theirs),
        })
}

/// Only names that we have offered get here.
fn known<T: Named>(name: &str, what: &'static str) -> Result<T, NegotiationError> {
    T::by_name(name).ok_or_else(|| NegotiationError::NothingInCommon {
        what,
        ours: String::new(),
        theirs: told(&[name]),
    })
}

fn told(names: &[&str]) -> String {
    let mut text = names.join(",");
    // Names are ASCII: every byte is a boundary.
    if text.len() > MAX_NAMES_TOLD {
        text.truncate(MAX_NAMES_TOLD);
        text.push('…');
    }
    text
}

#[cfg(test)]
impl<'a> KexInit<'a> {
    pub(super) fn set_ciphers(&mut self, from_client: Vec<&'a str>, from_server: Vec<&'a str>) {
        self.ciphers = [from_client, from_server];
    }
}
