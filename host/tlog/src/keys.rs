//! Keys that sign notes: Ed25519 for logs (type 01 of signed-note), and Ed25519 with a time for
//! witnesses (type 04, tlog-cosignature).

use std::fmt;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use thiserror::Error;

use crate::MAX_SIZE;
use crate::checkpoint::Checkpoint;
use crate::hash::sha256;
use crate::note::{SignError, Signer, Verifier};
use crate::text::{decode64, encode64, is_key_name};

const PRIVATE_KEY: &str = "PRIVATE+KEY+";

/// What a key signs; part of its id.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
enum Type {
    Ed25519 = 1,
    Cosignature = 4,
}

#[derive(Debug, Error, Eq, PartialEq)]
pub enum KeyError {
    #[error("{0:?} is no name for a key: it is empty, or has spaces or a plus")]
    Name(String),
    #[error("not of the form {0}")]
    Form(&'static str),
    #[error("a key of type {found:#04x}; {expected:#04x} is expected here")]
    Type { expected: u8, found: u8 },
    #[error("the key has {0} bytes, not 32")]
    Length(usize),
    #[error("the key's id is {0}, not what is written")]
    Id(String),
    #[error("the key is not usable")]
    Unusable,
}

const VKEY: &str = "<name>+<id in hexadecimal>+<base64 of the type and the public key>";
const PRIVATE_FORM: &str =
    "PRIVATE+KEY+<name>+<id in hexadecimal>+<base64 of the type and the seed>";

/// A public key with its name and what it is for.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Public {
    name: String,
    id: u32,
    kind: Type,
    key: [u8; 32],
}

impl Public {
    fn new(name: &str, kind: Type, key: [u8; 32]) -> Result<Self, KeyError> {
        if !is_key_name(name) {
            return Err(KeyError::Name(name.to_owned()));
        }
        let hash = sha256(&[name.as_bytes(), b"\n", &[kind as u8], &key]);
        let [a, b, c, d, ..] = hash;
        Ok(Self {
            name: name.to_owned(),
            id: u32::from_be_bytes([a, b, c, d]),
            kind,
            key,
        })
    }

    fn parse(vkey: &str, kind: Type) -> Result<Self, KeyError> {
        let (name, id, key) = fields(vkey, kind, VKEY)?;
        let public = Self::new(name, kind, key)?;
        public.check_id(id)?;
        Ok(public)
    }

    fn check_id(&self, written: &str) -> Result<(), KeyError> {
        let id = format!("{:08x}", self.id);
        match id == written {
            true => Ok(()),
            false => Err(KeyError::Id(id)),
        }
    }

    fn vkey(&self) -> String {
        let mut key = vec![self.kind as u8];
        key.extend_from_slice(&self.key);
        format!("{}+{:08x}+{}", self.name, self.id, encode64(&key))
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, self.key);
        key.verify(message, signature).is_ok()
    }
}

/// `<name>+<id>+<base64 of the type and 32 bytes>`; the last can hold more pluses.
fn fields<'a>(
    text: &'a str,
    kind: Type,
    form: &'static str,
) -> Result<(&'a str, &'a str, [u8; 32]), KeyError> {
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(KeyError::Form(form));
    };
    let key = decode64(key).ok_or(KeyError::Form(form))?;
    let (found, key) = key.split_first().ok_or(KeyError::Form(form))?;
    let (expected, found) = (kind as u8, *found);
    if found != expected {
        return Err(KeyError::Type { expected, found });
    }
    let key = key.try_into().map_err(|_| KeyError::Length(key.len()))?;
    Ok((name, id, key))
}

/// A pair of keys; the seed is all there is to it.
struct Pair {
    seed: [u8; 32],
    pair: Ed25519KeyPair,
    public: Public,
}

impl Pair {
    fn new(name: &str, kind: Type, seed: &[u8; 32]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| KeyError::Unusable)?;
        let key = pair.public_key().as_ref();
        let key = key.try_into().map_err(|_| KeyError::Length(key.len()))?;
        Ok(Self {
            seed: *seed,
            pair,
            public: Public::new(name, kind, key)?,
        })
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let signed = self.pair.try_sign(message);
        let signature = signed.map_err(|_| SignError::Key {
            key: self.public.name.clone(),
            why: "the library refused".to_owned(),
        })?;
        Ok(signature.as_ref().to_vec())
    }
}

/// A log's public key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ed25519Verifier(Public);

impl Ed25519Verifier {
    pub fn new(name: &str, public: [u8; 32]) -> Result<Self, KeyError> {
        Public::new(name, Type::Ed25519, public).map(Self)
    }

    /// From `name+id+base64`, in its one spelling.
    pub fn parse(vkey: &str) -> Result<Self, KeyError> {
        Public::parse(vkey, Type::Ed25519).map(Self)
    }

    pub fn vkey(&self) -> String {
        self.0.vkey()
    }

    pub fn public_key(&self) -> &[u8; 32] {
        &self.0.key
    }
}

impl Verifier for Ed25519Verifier {
    fn name(&self) -> &str {
        &self.0.name
    }

    fn key_id(&self) -> u32 {
        self.0.id
    }

    fn verify(&self, text: &[u8], signature: &[u8]) -> bool {
        self.0.verify(text, signature)
    }
}

/// A log's private key, in memory.
pub struct Ed25519Signer(Pair);

impl Ed25519Signer {
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, KeyError> {
        Pair::new(name, Type::Ed25519, seed).map(Self)
    }

    pub fn generate(name: &str) -> Result<Self, KeyError> {
        let mut seed = [0; 32];
        let filled = SystemRandom::new().fill(&mut seed);
        filled.map_err(|_| KeyError::Unusable)?;
        Self::from_seed(name, &seed)
    }

    /// From `PRIVATE+KEY+name+id+base64`, as Go's `note.GenerateKey` writes it.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let rest = text.strip_prefix(PRIVATE_KEY);
        let rest = rest.ok_or(KeyError::Form(PRIVATE_FORM))?;
        let (name, id, seed) = fields(rest, Type::Ed25519, PRIVATE_FORM)?;
        let signer = Self::from_seed(name, &seed)?;
        signer.0.public.check_id(id)?;
        Ok(signer)
    }

    /// The private key as text: whoever has it can sign.
    pub fn private_key(&self) -> String {
        let mut key = vec![Type::Ed25519 as u8];
        key.extend_from_slice(&self.0.seed);
        let Public { name, id, .. } = &self.0.public;
        format!("{PRIVATE_KEY}{name}+{id:08x}+{}", encode64(&key))
    }

    pub fn seed(&self) -> &[u8; 32] {
        &self.0.seed
    }

    pub fn verifier(&self) -> Ed25519Verifier {
        Ed25519Verifier(self.0.public.clone())
    }

    pub fn vkey(&self) -> String {
        self.0.public.vkey()
    }
}

impl Signer for Ed25519Signer {
    fn name(&self) -> &str {
        &self.0.public.name
    }

    fn key_id(&self) -> u32 {
        self.0.public.id
    }

    fn sign(&self, text: &[u8]) -> Result<Vec<u8>, SignError> {
        self.0.sign(text)
    }
}

impl fmt::Debug for Ed25519Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ed25519Signer({})", self.vkey())
    }
}

// ---- cosignatures

const COSIGNATURE: &str = "cosignature/v1";
const TIME: usize = 8;

/// What a witness signs: the time in seconds, and the text of the checkpoint.
fn cosigned(time: u64, text: &[u8]) -> Vec<u8> {
    let mut message = format!("{COSIGNATURE}\ntime {time}\n").into_bytes();
    message.extend_from_slice(text);
    message
}

/// A cosignature says that a checkpoint was seen, so it can be of nothing else.
fn is_checkpoint(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| Checkpoint::parse(text).is_ok())
}

fn split(signature: &[u8]) -> Option<(u64, &[u8])> {
    let (time, signature) = signature.split_first_chunk::<TIME>()?;
    let time = u64::from_be_bytes(*time);
    // 2^63 - 1 is the specification's last second.
    (time <= MAX_SIZE).then_some((time, signature))
}

/// When a witness says that it signed, in seconds since 1970. Whether it is right to say so is for
/// [`Note::open`](crate::Note::open) to find out.
pub fn cosignature_time(signature: &[u8]) -> Option<u64> {
    split(signature).map(|(time, _)| time)
}

/// A witness's public key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CosignatureVerifier(Public);

impl CosignatureVerifier {
    pub fn new(name: &str, public: [u8; 32]) -> Result<Self, KeyError> {
        Public::new(name, Type::Cosignature, public).map(Self)
    }

    pub fn parse(vkey: &str) -> Result<Self, KeyError> {
        Public::parse(vkey, Type::Cosignature).map(Self)
    }

    pub fn vkey(&self) -> String {
        self.0.vkey()
    }

    pub fn public_key(&self) -> &[u8; 32] {
        &self.0.key
    }
}

impl Verifier for CosignatureVerifier {
    fn name(&self) -> &str {
        &self.0.name
    }

    fn key_id(&self) -> u32 {
        self.0.id
    }

    fn verify(&self, text: &[u8], signature: &[u8]) -> bool {
        let Some((time, signature)) = split(signature) else {
            return false;
        };
        is_checkpoint(text) && self.0.verify(&cosigned(time, text), signature)
    }
}

/// A witness's private key, and the time at which it signs: the clock is its holder's.
pub struct CosignatureSigner {
    pair: Pair,
    time: u64,
}

impl CosignatureSigner {
    pub fn from_seed(name: &str, seed: &[u8; 32], time: u64) -> Result<Self, KeyError> {
        let pair = Pair::new(name, Type::Cosignature, seed)?;
        Ok(Self { pair, time })
    }

    /// The same key at another time.
    pub fn set_time(&mut self, time: u64) {
        self.time = time;
    }

    pub fn verifier(&self) -> CosignatureVerifier {
        CosignatureVerifier(self.pair.public.clone())
    }

    pub fn vkey(&self) -> String {
        self.pair.public.vkey()
    }
}

impl Signer for CosignatureSigner {
    fn name(&self) -> &str {
        &self.pair.public.name
    }

    fn key_id(&self) -> u32 {
        self.pair.public.id
    }

    fn sign(&self, text: &[u8]) -> Result<Vec<u8>, SignError> {
        let key = self.pair.public.name.clone();
        if !is_checkpoint(text) {
            return Err(SignError::NoCheckpoint(key));
        }
        if self.time > MAX_SIZE {
            let why = format!("{} is no time", self.time);
            return Err(SignError::Key { key, why });
        }
        let mut signature = self.time.to_be_bytes().to_vec();
        signature.extend(self.pair.sign(&cosigned(self.time, text))?);
        Ok(signature)
    }
}

impl fmt::Debug for CosignatureSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CosignatureSigner({} at {})", self.vkey(), self.time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    const TEXT: &str = "example.com/log\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";

    #[test]
    fn keys_round_trip_and_have_one_spelling() {
        let signer = Ed25519Signer::from_seed("example.com/log", &[5; 32]).unwrap();
        let text = signer.private_key();
        let again = Ed25519Signer::parse(&text).unwrap();
        assert_eq!(again.seed(), signer.seed());
        assert_eq!(again.private_key(), text);
        let vkey = signer.vkey();
        assert_eq!(Ed25519Verifier::parse(&vkey), Ok(signer.verifier()));
        assert_eq!(signer.verifier().vkey(), vkey);
        let new = Ed25519Verifier::new("example.com/log", *signer.verifier().public_key());
        assert_eq!(new, Ok(signer.verifier()));

        let mut random = Random::new(7);
        for _ in 0..20_000 {
            let other = random.mutated(vkey.as_bytes());
            let Ok(other) = String::from_utf8(other) else {
                continue;
            };
            if let Ok(key) = Ed25519Verifier::parse(&other) {
                assert_eq!(key.vkey(), other);
                assert_eq!(other, vkey, "an id of four bytes does not fit by chance");
            }
            let private = random.mutated(text.as_bytes());
            if let Ok(private) = String::from_utf8(private)
                && let Ok(key) = Ed25519Signer::parse(&private)
            {
                assert_eq!(key.private_key(), private);
            }
        }
    }

    #[test]
    fn what_is_no_key() {
        let good = Ed25519Signer::from_seed("log", &[5; 32]).unwrap();
        let vkey = good.vkey();
        let (id, key) = vkey.strip_prefix("log+").unwrap().split_once('+').unwrap();
        let form = KeyError::Form(VKEY);
        for (bad, error) in [
            (String::new(), form),
            (format!("log+{id}"), KeyError::Form(VKEY)),
            (format!("log+{id}+"), KeyError::Form(VKEY)),
            (format!("log+{id}+{key}="), KeyError::Form(VKEY)),
            (format!("log+{id}+{key}\n"), KeyError::Form(VKEY)),
            (format!("+{id}+{key}"), KeyError::Name(String::new())),
            (format!("a b+{id}+{key}"), KeyError::Name("a b".into())),
            (format!("log+0{id}+{key}"), KeyError::Id(id.into())),
            (format!("log+00000000+{key}"), KeyError::Id(id.into())),
            (
                format!("log+{}+{key}", id.to_uppercase()),
                KeyError::Id(id.into()),
            ),
            (format!("log+{id}+AQAA"), KeyError::Length(2)),
            (
                format!("log+{id}+{}", encode64(&[2; 33])),
                KeyError::Type {
                    expected: 1,
                    found: 2,
                },
            ),
        ] {
            assert_eq!(Ed25519Verifier::parse(&bad), Err(error), "{bad}");
        }
        assert!(Ed25519Signer::from_seed("a+b", &[0; 32]).is_err());
        assert!(Ed25519Signer::generate("").is_err());
        assert!(Ed25519Signer::parse(&vkey).is_err());
    }

    #[test]
    fn a_private_key_is_not_shown() {
        let signer = Ed25519Signer::from_seed("log", &[0x5a; 32]).unwrap();
        let shown = format!("{signer:?}");
        let seed = encode64(&[0x5a; 32]);
        let private = signer.private_key();
        let private = private.rsplit('+').next().unwrap();
        assert!(shown.contains(&signer.vkey()));
        for hidden in [&seed[..20], private, "5a5a", "90, 90"] {
            assert!(!shown.contains(hidden), "{shown}");
        }
        let cosigner = CosignatureSigner::from_seed("w", &[0x5a; 32], 3).unwrap();
        assert!(!format!("{cosigner:?}").contains(&seed[..20]));
    }

    #[test]
    fn generated_keys_differ() {
        let one = Ed25519Signer::generate("log").unwrap();
        let two = Ed25519Signer::generate("log").unwrap();
        assert_ne!(one.vkey(), two.vkey());
        let signature = one.sign(b"text\n").unwrap();
        assert!(one.verifier().verify(b"text\n", &signature));
        assert!(!two.verifier().verify(b"text\n", &signature));
    }

    #[test]
    fn a_cosignature_is_of_a_time_and_a_checkpoint() {
        let mut cosigner = CosignatureSigner::from_seed("w", &[9; 32], 1_679_315_147).unwrap();
        let verifier = cosigner.verifier();
        assert_eq!(
            CosignatureVerifier::parse(&cosigner.vkey()),
            Ok(verifier.clone())
        );
        assert_eq!(verifier.vkey(), cosigner.vkey());
        assert_eq!(
            CosignatureVerifier::new("w", *verifier.public_key()),
            Ok(verifier.clone())
        );
        assert!(Ed25519Verifier::parse(&cosigner.vkey()).is_err());
        let signature = cosigner.sign(TEXT.as_bytes()).unwrap();
        assert_eq!(signature.len(), 72);
        assert_eq!(cosignature_time(&signature), Some(1_679_315_147));
        assert!(verifier.verify(TEXT.as_bytes(), &signature));
        // What was signed, by the key alone.
        let plain = Ed25519Verifier::new("w", *verifier.public_key()).unwrap();
        let message = format!("cosignature/v1\ntime 1679315147\n{TEXT}");
        assert!(plain.verify(message.as_bytes(), &signature[8..]));
        assert!(!plain.verify(TEXT.as_bytes(), &signature[8..]));
        assert_ne!(plain.key_id(), verifier.key_id());

        for bit in 0..signature.len() * 8 {
            let mut other = signature.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!verifier.verify(TEXT.as_bytes(), &other), "bit {bit}");
        }
        for length in 0..signature.len() {
            assert!(!verifier.verify(TEXT.as_bytes(), &signature[..length]));
        }
        assert!(matches!(
            cosigner.sign(b"no checkpoint\n"),
            Err(SignError::NoCheckpoint(_))
        ));
        cosigner.set_time(MAX_SIZE + 1);
        assert!(cosigner.sign(TEXT.as_bytes()).is_err());
        cosigner.set_time(MAX_SIZE);
        let late = cosigner.sign(TEXT.as_bytes()).unwrap();
        assert!(verifier.verify(TEXT.as_bytes(), &late));
        assert_eq!(cosignature_time(&[0xff; 72]), None);
        assert_eq!(cosignature_time(&[0; 7]), None);
    }
}
