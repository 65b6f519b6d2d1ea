//! Certificates of OpenSSH (its PROTOCOL.certkeys): what is in them, and what they are good for.
//!
//! Reading says only how a certificate is laid out. Nothing of it counts before [`Certificate::check`] has
//! found that one of our authorities signed it, for this use, this name, this time and this address.

mod options;
mod spec;

use std::fmt;
use std::net::IpAddr;
use std::ops::Deref;
use std::time::{SystemTime, UNIX_EPOCH};

pub use options::Options;
pub use spec::{CertificateSpec, SpecError};

use crate::address::Network;
use crate::public::{
    KeyError, KeyType, Material, PublicKey, bounded, read_line, shown, write_line,
};
use crate::wire::{FormatError, Reader};

pub const MAX_CERTIFICATE_BYTES: usize = 32 * 1024;
/// OpenSSH reads as many (SSHKEY_CERT_MAX_PRINCIPALS).
pub const MAX_PRINCIPALS: usize = 256;
/// The `valid_before` of a certificate without an end.
pub const FOREVER: u64 = u64::MAX;
const MIN_NONCE: usize = 16;

/// Why a certificate cannot be read, or is not good for what it is shown for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    #[error("the certificate cannot be read: {0}")]
    Format(#[from] FormatError),
    #[error("{0:?} is not a kind of certificate that is known here")]
    Type(String),
    #[error("the line says that the certificate is a {line:?}, it is a {blob:?}")]
    TypeMismatch { line: String, blob: &'static str },
    #[error("the certificate's key: {0}")]
    Key(#[source] KeyError),
    #[error("the certificate's authority is itself a certificate; only a plain key can sign one")]
    Chained,
    #[error("the certificate's authority: {0}")]
    Authority(#[source] KeyError),
    #[error("the nonce of the certificate has less than {MIN_NONCE} bytes")]
    Nonce,
    #[error("the certificate is of the kind {0}; 1 is for users, 2 for hosts")]
    Kind(u32),
    #[error("the certificate names more than {MAX_PRINCIPALS} principals, or one that is empty")]
    Principals,
    #[error("the certificate's time ends before it begins")]
    Window,
    #[error("the options of the certificate are not in order, or one is there twice: {0:?}")]
    OptionOrder(String),
    #[error("the certificate's option {0:?} cannot be read")]
    Option(&'static str),
    #[error("the certificate has something in the field that is kept for later")]
    Reserved,

    #[error("the certificate is signed by nobody who counts here ({0})")]
    UnknownAuthority(String),
    #[error("the signature of the certificate: {0}")]
    Signature(#[source] KeyError),
    #[error("the certificate is for a {is}, not for a {wanted}", is = is.name(), wanted = wanted.name())]
    WrongKind {
        is: CertificateKind,
        wanted: CertificateKind,
    },
    #[error("the certificate is not valid yet; check the clocks")]
    NotYetValid,
    #[error("the certificate has expired; get a new one")]
    Expired,
    #[error("the certificate names nobody; nobody can use it")]
    NoPrincipals,
    #[error("the certificate is not for {0:?}")]
    Principal(String),
    #[error("the certificate demands {0:?}, which is not known here")]
    UnknownOption(String),
    #[error("the certificate is bound to other addresses than the one it comes from")]
    Source,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CertificateKind {
    User,
    Host,
}

impl CertificateKind {
    fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Host => "host",
        }
    }

    fn number(self) -> u32 {
        match self {
            Self::User => 1,
            Self::Host => 2,
        }
    }
}

/// For what a certificate is shown.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Whose signatures count.
    pub cas: &'a [PublicKey],
    pub kind: CertificateKind,
    pub now: SystemTime,
    /// The account, or the name of the host. A host's certificate may have `*` and `?` in its names.
    pub principal: &'a str,
    /// From where it is shown. Without it, a certificate that is bound to addresses is good for nothing.
    pub source: Option<IpAddr>,
}

/// What a certificate says.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CertificateFields {
    pub serial: u64,
    pub kind: CertificateKind,
    pub key_id: String,
    pub principals: Vec<String>,
    /// Seconds since 1970.
    pub valid_after: u64,
    /// Seconds since 1970, the first at which it does not count; or [`FOREVER`].
    pub valid_before: u64,
    /// Whoever does not know one of these refuses the certificate.
    pub critical: Options,
    pub extensions: Options,
    /// The one command that may be run, from `critical`. `check` lets it pass: the caller has to obey.
    pub force_command: Option<String>,
    /// From where it may be used, from `critical`. `check` obeys it.
    pub source_address: Option<Vec<Network>>,
}

/// A certificate that can be read. Its fields can be looked at and not changed.
#[derive(Clone)]
pub struct Certificate {
    blob: Vec<u8>,
    /// How much of the blob is signed.
    signed: usize,
    key: PublicKey,
    ca: PublicKey,
    signature: Vec<u8>,
    fields: CertificateFields,
}

impl Deref for Certificate {
    type Target = CertificateFields;

    fn deref(&self) -> &CertificateFields {
        &self.fields
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Certificate");
        shown.field("key", &self.key).field("ca", &self.ca);
        shown.field("fields", &self.fields).finish()
    }
}

impl Certificate {
    pub fn from_blob(blob: &[u8]) -> Result<Self, CertificateError> {
        bounded(blob.len(), MAX_CERTIFICATE_BYTES)?;
        let mut reader = Reader::new(blob);
        let name = reader.string()?;
        let kind = KeyType::of_certificate(name);
        let kind = kind.ok_or_else(|| CertificateError::Type(shown(name)))?;
        if reader.string()?.len() < MIN_NONCE {
            return Err(CertificateError::Nonce);
        }
        let key = Material::read(kind, &mut reader).map_err(key_error)?;
        let fields = read_fields(&mut reader)?;
        let ca = authority(reader.string()?)?;
        let signed = blob.len() - reader.rest().len();
        let signature = reader.string()?.to_vec();
        reader.end()?;
        Ok(Self {
            blob: blob.to_vec(),
            signed,
            key: PublicKey::new(key),
            ca,
            signature,
            fields,
        })
    }

    /// A line as in a file `*-cert.pub`.
    pub fn from_openssh(line: &str) -> Result<Self, CertificateError> {
        let (name, blob) = read_line(line, MAX_CERTIFICATE_BYTES).map_err(key_error)?;
        let certificate = Self::from_blob(&blob)?;
        match name == certificate.algorithm() {
            true => Ok(certificate),
            false => Err(CertificateError::TypeMismatch {
                line: shown(name.as_bytes()),
                blob: certificate.algorithm(),
            }),
        }
    }

    /// The line of a file `*-cert.pub`, without its end.
    pub fn to_openssh(&self, comment: &str) -> String {
        write_line(self.algorithm(), &self.blob, comment)
    }

    pub fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// The key that is certified.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Who says that it signed this.
    pub fn ca(&self) -> &PublicKey {
        &self.ca
    }

    /// Its type, as it is in the blob.
    pub fn algorithm(&self) -> &'static str {
        self.key.material().kind().certificate_name()
    }

    /// How its holder names it when authenticating (RFC 8332 for RSA), the best first.
    /// [`signature_algorithm`](crate::signature_algorithm) says with what is signed then.
    pub fn algorithms(&self) -> &'static [&'static str] {
        self.key.material().kind().certified()
    }

    /// Is it good for this? That whoever shows it has the key in it is for the caller to find out, and so is
    /// that nothing else is done than `force_command`.
    pub fn check(&self, wanted: &Wanted<'_>) -> Result<(), CertificateError> {
        // First who, since the work of checking a signature is for known authorities only.
        if !wanted.cas.contains(&self.ca) {
            return Err(CertificateError::UnknownAuthority(self.ca.fingerprint()));
        }
        self.check_signature()?;
        if self.kind != wanted.kind {
            return Err(CertificateError::WrongKind {
                is: self.kind,
                wanted: wanted.kind,
            });
        }
        self.check_time(wanted.now)?;
        self.check_principal(wanted.principal)?;
        self.check_options(wanted.source)
    }

    fn check_signature(&self) -> Result<(), CertificateError> {
        // The signature names its algorithm; `verify` takes it only if the authority's key may sign with it.
        let mut reader = Reader::new(&self.signature);
        let unreadable = |e| CertificateError::Signature(KeyError::SignatureFormat(e));
        let name = reader.string().map_err(unreadable)?;
        let message = self.blob.get(..self.signed).unwrap_or_default();
        let algorithm = String::from_utf8_lossy(name);
        let verified = self.ca.verify(&algorithm, message, &self.signature);
        verified.map_err(CertificateError::Signature)
    }

    fn check_time(&self, now: SystemTime) -> Result<(), CertificateError> {
        // A clock before 1970 is a broken one.
        let now = now.duration_since(UNIX_EPOCH);
        let now = now.map_err(|_| CertificateError::NotYetValid)?.as_secs();
        if now < self.valid_after {
            return Err(CertificateError::NotYetValid);
        }
        if self.valid_before != FOREVER && now >= self.valid_before {
            return Err(CertificateError::Expired);
        }
        Ok(())
    }

    fn check_principal(&self, wanted: &str) -> Result<(), CertificateError> {
        // OpenSSH takes a certificate without names for everybody, in some places. Nobody meant that.
        if self.principals.is_empty() {
            return Err(CertificateError::NoPrincipals);
        }
        let named = match self.kind {
            CertificateKind::User => self.principals.iter().any(|p| p == wanted),
            CertificateKind::Host => {
                let wanted = wanted.to_ascii_lowercase();
                let mut names = self.principals.iter();
                names.any(|p| fits(p.to_ascii_lowercase().as_bytes(), wanted.as_bytes()))
            }
        };
        match named {
            true => Ok(()),
            false => Err(CertificateError::Principal(shown(wanted.as_bytes()))),
        }
    }

    fn check_options(&self, source: Option<IpAddr>) -> Result<(), CertificateError> {
        for name in self.critical.names() {
            let known = matches!(name, options::FORCE_COMMAND | options::SOURCE_ADDRESS);
            if !known || self.kind == CertificateKind::Host {
                return Err(CertificateError::UnknownOption(shown(name.as_bytes())));
            }
        }
        let Some(networks) = &self.source_address else {
            return Ok(());
        };
        match source.is_some_and(|address| networks.iter().any(|n| n.contains(address))) {
            true => Ok(()),
            false => Err(CertificateError::Source),
        }
    }
}

fn key_error(error: KeyError) -> CertificateError {
    match error {
        KeyError::Format(e) => CertificateError::Format(e),
        other => CertificateError::Key(other),
    }
}

fn authority(blob: &[u8]) -> Result<PublicKey, CertificateError> {
    PublicKey::from_blob(blob).map_err(|e| match e {
        KeyError::IsCertificate => CertificateError::Chained,
        other => CertificateError::Authority(other),
    })
}

/// From the serial number to what is reserved.
fn read_fields(reader: &mut Reader<'_>) -> Result<CertificateFields, CertificateError> {
    let serial = reader.uint64()?;
    let kind = match reader.uint32()? {
        1 => CertificateKind::User,
        2 => CertificateKind::Host,
        other => return Err(CertificateError::Kind(other)),
    };
    let key_id = reader.text()?.to_owned();
    let mut principals = Vec::new();
    let mut names = Reader::new(reader.string()?);
    while !names.is_empty() {
        let name = names.text()?;
        if name.is_empty() || principals.len() >= MAX_PRINCIPALS {
            return Err(CertificateError::Principals);
        }
        principals.push(name.to_owned());
    }
    let (valid_after, valid_before) = (reader.uint64()?, reader.uint64()?);
    if valid_after >= valid_before {
        return Err(CertificateError::Window);
    }
    let critical = Options::read(reader.string()?)?;
    let extensions = Options::read(reader.string()?)?;
    if !reader.string()?.is_empty() {
        return Err(CertificateError::Reserved);
    }
    Ok(CertificateFields {
        serial,
        kind,
        key_id,
        principals,
        valid_after,
        valid_before,
        force_command: critical.force_command()?,
        source_address: critical.source_address()?,
        critical,
        extensions,
    })
}

/// `*` stands for any number of bytes, `?` for one, as OpenSSH has it for the names of hosts.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (pattern, name);
    // Where the last star was: one more byte is given to it whenever the rest does not fit.
    let mut star: Option<(&[u8], &[u8])> = None;
    loop {
        match (p, n) {
            ([b'*', after @ ..], _) => {
                star = Some((after, n));
                p = after;
            }
            ([], []) => return true,
            ([a, after @ ..], [b, rest @ ..]) if a == b || *a == b'?' => (p, n) = (after, rest),
            _ => match star {
                Some((after, [_, rest @ ..])) => {
                    star = Some((after, rest));
                    (p, n) = (after, rest);
                }
                _ => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests;
