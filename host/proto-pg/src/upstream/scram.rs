//! SCRAM-SHA-256 (RFC 5802, RFC 7677), the client's side, with channel binding by
//! `tls-server-end-point` (RFC 5929). Pure: messages in, messages out.

use std::num::NonZeroU32;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::{constant_time, digest, hmac, pbkdf2};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use parking_lot::Mutex;

pub const SCRAM: &[u8] = b"SCRAM-SHA-256";
pub const SCRAM_PLUS: &[u8] = b"SCRAM-SHA-256-PLUS";

/// PostgreSQL's default is 4,096; a server that asks for more than this wants to burn our time.
const MAX_ITERATIONS: u32 = 1_000_000;
/// Bytes of random in our nonce.
const NONCE: usize = 18;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    #[error("the random generator failed")]
    Random,
    #[error("the server's {0} message is malformed")]
    Malformed(&'static str),
    #[error("the server did not repeat our nonce")]
    Nonce,
    #[error("the server demands {0} iterations; at most {MAX_ITERATIONS} are done")]
    Iterations(u32),
    #[error("the server refused the proof")]
    Refused,
    #[error("the server's signature is wrong: it does not know the password")]
    Signature,
}

/// What is known about the channel under us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Binding {
    /// No TLS, or a certificate that has no defined binding.
    Unsupported,
    /// We could bind; the server did not offer it.
    NotOffered,
    /// The hash of the server's certificate.
    EndPoint(Vec<u8>),
}

impl Binding {
    fn header(&self) -> &'static str {
        match self {
            Self::Unsupported => "n,,",
            Self::NotOffered => "y,,",
            Self::EndPoint(_) => "p=tls-server-end-point,,",
        }
    }

    pub fn mechanism(&self) -> &'static [u8] {
        match self {
            Self::EndPoint(_) => SCRAM_PLUS,
            _ => SCRAM,
        }
    }
}

/// The first message is out.
pub struct First {
    binding: Binding,
    nonce: String,
}

/// The proof is out; only the server's signature is missing.
pub struct Final {
    signature: hmac::Tag,
}

impl First {
    pub fn new(binding: Binding) -> Result<Self, ScramError> {
        let mut nonce = [0; NONCE];
        SystemRandom::new()
            .fill(&mut nonce)
            .map_err(|_| ScramError::Random)?;
        Ok(Self::with_nonce(binding, BASE64.encode(nonce)))
    }

    fn with_nonce(binding: Binding, nonce: String) -> Self {
        Self { binding, nonce }
    }

    /// PostgreSQL takes the user from the startup packet and ignores the one here.
    fn bare(&self) -> String {
        format!("n=,r={}", self.nonce)
    }

    pub fn message(&self) -> String {
        format!("{}{}", self.binding.header(), self.bare())
    }

    /// Answers the server's first message.
    pub fn answer(
        self,
        server: &[u8],
        password: &str,
        known: &Salted,
    ) -> Result<(String, Final), ScramError> {
        let malformed = ScramError::Malformed("first");
        let text = std::str::from_utf8(server).map_err(|_| malformed)?;
        let mut parts = text.split(',');
        let mut part = |key: &str| {
            parts
                .next()
                .and_then(|p| p.strip_prefix(key))
                .ok_or(malformed)
        };
        let nonce = part("r=")?;
        let salt = BASE64.decode(part("s=")?).map_err(|_| malformed)?;
        let iterations: u32 = part("i=")?.parse().map_err(|_| malformed)?;
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err(ScramError::Nonce);
        }
        if iterations > MAX_ITERATIONS {
            return Err(ScramError::Iterations(iterations));
        }
        let iterations = NonZeroU32::new(iterations).ok_or(malformed)?;

        let mut channel = self.binding.header().as_bytes().to_vec();
        if let Binding::EndPoint(hash) = &self.binding {
            channel.extend_from_slice(hash);
        }
        let without_proof = format!("c={},r={nonce}", BASE64.encode(channel));
        let message = format!("{},{text},{without_proof}", self.bare());

        let salted = known.password(password, &salt, iterations);
        let client_key = sign(&salted, b"Client Key");
        let stored_key = digest::digest(&digest::SHA256, client_key.as_ref());
        let client_signature = sign(stored_key.as_ref(), message.as_bytes());
        let proof: Vec<u8> = client_key
            .as_ref()
            .iter()
            .zip(client_signature.as_ref())
            .map(|(a, b)| a ^ b)
            .collect();
        let server_key = sign(&salted, b"Server Key");
        let signature = sign(server_key.as_ref(), message.as_bytes());
        Ok((
            format!("{without_proof},p={}", BASE64.encode(proof)),
            Final { signature },
        ))
    }
}

/// The salted password of the last login: a server keeps its salt, and making it takes thousands of
/// hashes. It belongs to one password, and is no less secret.
#[derive(Default)]
pub struct Salted(Mutex<Option<(Vec<u8>, NonZeroU32, SaltedPassword)>>);

type SaltedPassword = [u8; digest::SHA256_OUTPUT_LEN];

impl Salted {
    fn password(&self, password: &str, salt: &[u8], iterations: NonZeroU32) -> SaltedPassword {
        if let Some((s, i, salted)) = &*self.0.lock()
            && (s.as_slice(), *i) == (salt, iterations)
        {
            return *salted;
        }
        let mut salted = [0; digest::SHA256_OUTPUT_LEN];
        pbkdf2::derive(
            pbkdf2::PBKDF2_HMAC_SHA256,
            iterations,
            salt,
            normalized(password).as_bytes(),
            &mut salted,
        );
        *self.0.lock() = Some((salt.to_vec(), iterations, salted));
        salted
    }
}

impl Final {
    /// Verifies the server's last message.
    pub fn verify(self, server: &[u8]) -> Result<(), ScramError> {
        let malformed = ScramError::Malformed("final");
        let text = std::str::from_utf8(server).map_err(|_| malformed)?;
        if text.starts_with("e=") {
            return Err(ScramError::Refused);
        }
        let value = text
            .strip_prefix("v=")
            .and_then(|v| v.split(',').next())
            .ok_or(malformed)?;
        let given = BASE64.decode(value).map_err(|_| malformed)?;
        constant_time::verify_slices_are_equal(&given, self.signature.as_ref())
            .map_err(|_| ScramError::Signature)
    }
}

fn sign(key: &[u8], message: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message)
}

/// SASLprep; as in libpq, a password that it forbids is used as it is.
fn normalized(password: &str) -> std::borrow::Cow<'_, str> {
    stringprep::saslprep(password).unwrap_or(std::borrow::Cow::Borrowed(password))
}

/// The hash that binds to a server certificate: by the hash of its signature, SHA-256 where that is
/// MD5 or SHA-1. `None` for signatures without a defined binding (Ed25519, RSA-PSS).
pub fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    // Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm SEQUENCE { OID, … }, … }
    let (outer, _) = der(certificate)?;
    let (_, rest) = der(outer)?;
    let (algorithm, _) = der(rest)?;
    let (oid, _) = der(algorithm)?;
    let algorithm = match oid {
        // 1.2.840.113549.1.1.{4, 5, 11}: RSA with MD5, SHA-1, SHA-256
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 4 | 5 | 11] => &digest::SHA256,
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 12] => &digest::SHA384,
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 13] => &digest::SHA512,
        // 1.2.840.10045.4.1: ECDSA with SHA-1; 1.2.840.10045.4.3.{2, 3, 4}: with SHA-2
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1] | [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2] => {
            &digest::SHA256
        }
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3] => &digest::SHA384,
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4] => &digest::SHA512,
        _ => return None,
    };
    Some(digest::digest(algorithm, certificate).as_ref().to_vec())
}

/// One DER element: its content and what follows it.
fn der(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_tag, rest) = bytes.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut len = usize::from(first);
    if first & 0x80 != 0 {
        let count = usize::from(first & 0x7f);
        if count > 4 {
            return None;
        }
        let (digits, after) = rest.split_at_checked(count)?;
        len = digits.iter().fold(0, |n, d| (n << 8) | usize::from(*d));
        rest = after;
    }
    rest.split_at_checked(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677, section 3; its user name is not empty, so the messages are signed
    /// with it.
    #[test]
    fn verifies_only_the_right_signature() {
        let password = "pencil";
        let server_first = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
            s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        // The second and later logins find the salted password.
        let known = Salted::default();
        let run = || {
            First::with_nonce(Binding::Unsupported, "rOprNGfwEbeRWgbNEkqO".into())
                .answer(server_first, password, &known)
                .unwrap()
        };
        let (text, last) = run();
        assert!(text.starts_with("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p="));
        let right = format!("v={}", BASE64.encode(last.signature.as_ref()));
        assert_eq!(run().1.verify(right.as_bytes()), Ok(()));
        let zeros = format!("v={}", BASE64.encode([0; 32]));
        for (message, expect) in [
            (zeros.as_str(), ScramError::Signature),
            ("v=", ScramError::Signature),
            ("v=AAAA", ScramError::Signature),
            ("e=invalid-proof", ScramError::Refused),
            ("", ScramError::Malformed("final")),
            ("v=?", ScramError::Malformed("final")),
        ] {
            assert_eq!(run().1.verify(message.as_bytes()), Err(expect), "{message}");
        }
    }

    /// Another salt, or another number of iterations, is another salted password.
    #[test]
    fn what_is_known_is_found_by_all_that_it_depends_on() {
        let known = Salted::default();
        let n = |n| NonZeroU32::new(n).unwrap();
        let one = known.password("pencil", b"salt", n(2));
        for (salt, iterations) in [(&b"salt"[..], 3), (b"tlas", 2), (b"", 2), (b"salt", 2)] {
            let again = known.password("pencil", salt, n(iterations));
            let fresh = Salted::default().password("pencil", salt, n(iterations));
            assert_eq!(again, fresh);
            assert_eq!(again == one, salt == b"salt" && iterations == 2);
        }
    }

    #[test]
    fn refuses_bad_server_messages() {
        for (message, expect) in [
            ("r=other,s=AAAA,i=4096", ScramError::Nonce),
            ("r=abc,s=AAAA,i=4096", ScramError::Nonce),
            ("r=abcd,s=AAAA,i=0", ScramError::Malformed("first")),
            ("r=abcd,s=AAAA,i=-1", ScramError::Malformed("first")),
            ("r=abcd,s=AAAA,i=2000000", ScramError::Iterations(2_000_000)),
            ("r=abcd,s=A,i=4096", ScramError::Malformed("first")),
            ("r=abcd,i=4096,s=AAAA", ScramError::Malformed("first")),
            ("m=ext,r=abcd,s=AAAA,i=1", ScramError::Malformed("first")),
            ("", ScramError::Malformed("first")),
        ] {
            let first = First::with_nonce(Binding::NotOffered, "abc".into());
            let result = first
                .answer(message.as_bytes(), "x", &Salted::default())
                .err();
            assert_eq!(result, Some(expect), "{message}");
        }
    }

    #[test]
    fn binds_to_certificates() {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let params = rcgen::CertificateParams::new(vec!["db.test".into()]).unwrap();
        let cert = params.self_signed(&key).unwrap();
        let hash = digest::digest(&digest::SHA256, cert.der());
        assert_eq!(end_point(cert.der()).as_deref(), Some(hash.as_ref()));
        for bad in [
            &b""[..],
            b"\x30",
            b"\x30\x85\0\0\0\0\0",
            b"\x30\x03\x30\x01\x00",
        ] {
            assert_eq!(end_point(bad), None);
        }
    }
}
