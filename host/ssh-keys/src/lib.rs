//! Keys and certificates of SSH: their formats, signatures and what they are good for.
//!
//! Place in the flow: `proto-ssh` proves with these keys who we are, to clients and to targets, and checks
//! what clients and targets prove; `identity` signs certificates. No I/O and no clock: bytes and `now` in,
//! keys and verdicts out.
//!
//! - `public` reads public keys (RFC 4253 6.6, RFC 5656, RFC 8709, OpenSSH's PROTOCOL.u2f), `verify` checks
//!   their signatures.
//! - `private` signs; `private::read` reads `openssh-key-v1` and PKCS#8.
//! - `certificate` reads certificates (OpenSSH's PROTOCOL.certkeys) and says what they are good for;
//!   `certificate::spec` signs new ones.
//! - `sshsig` checks signatures over texts, as `ssh-keygen -Y sign` makes them.
//! - `address` is for the networks that a certificate may be bound to.
//!
//! Architecture invariants:
//! - A number, a name or a list has one way to be written; whatever is written otherwise is refused, and so is
//!   what follows the end. So a key has one blob, and one fingerprint.
//! - SHA-1 cannot be expressed: no signature is made or taken with it.
//! - A certificate that has been read can be looked at and not changed: what is asked of it is what was signed.
//! - Secrets are wiped when they are dropped, and no `Debug` shows them.

mod address;
mod certificate;
mod private;
mod public;
mod sshsig;
mod verify;
mod wire;

#[cfg(test)]
mod testing;

pub use address::{Network, NetworkError};
pub use certificate::{
    Certificate, CertificateError, CertificateFields, CertificateKind, CertificateSpec, FOREVER,
    MAX_CERTIFICATE_BYTES, MAX_PRINCIPALS, Options, SpecError, Wanted,
};
pub use private::{MAX_PRIVATE_BYTES, PrivateKey};
pub use public::{KeyError, MAX_KEY_BYTES, PublicKey, signature_algorithm};
pub use sshsig::{MAX_SIGNATURE_TEXT, TextSignatureError, signer_of_text};
pub use verify::Proof;
pub use wire::FormatError;
