//! Reading private keys. Whatever the file is, it becomes a section as OpenSSH writes it, and that is read by one
//! function, which checks that the halves of the key belong together.

use aws_lc_rs::encoding::AsBigEndian;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::{
    BEGIN_OPENSSH, BLOCK, END_OPENSSH, MAGIC, MAX_PRIVATE_BYTES, PrivateKey, Signer, same, signing,
};
use crate::public::{Curve, KeyError, KeyType, Material, PublicKey, bounded};
use crate::wire::{FormatError, Put, Reader, trim};

const BEGIN_PKCS8: &str = "-----BEGIN PRIVATE KEY-----";
const END_PKCS8: &str = "-----END PRIVATE KEY-----";

pub(super) fn file(text: &[u8]) -> Result<PrivateKey, KeyError> {
    bounded(text.len(), MAX_PRIVATE_BYTES)?;
    let text = std::str::from_utf8(text).map_err(|_| KeyError::PrivateFormat)?;
    let text = text.trim();
    if let Some(body) = text.strip_prefix(BEGIN_OPENSSH) {
        return openssh(&armoured(body, END_OPENSSH)?);
    }
    if let Some(body) = text.strip_prefix(BEGIN_PKCS8) {
        return pkcs8(&armoured(body, END_PKCS8)?);
    }
    // PKCS#8 with a passphrase, and what OpenSSL wrote before there was PKCS#8.
    let encrypted = text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----")
        || text.contains("Proc-Type: 4,ENCRYPTED");
    Err(match encrypted {
        true => KeyError::Encrypted,
        false => KeyError::PrivateFormat,
    })
}

fn armoured(body: &str, end: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let body = body.strip_suffix(end).ok_or(KeyError::PrivateFormat)?;
    let mut encoded = Zeroizing::new(String::with_capacity(body.len()));
    encoded.extend(body.chars().filter(|c| !c.is_ascii_whitespace()));
    let bytes = STANDARD.decode(encoded.as_bytes());
    Ok(Zeroizing::new(bytes.map_err(|_| FormatError::Base64)?))
}

/// OpenSSH's PROTOCOL.key.
fn openssh(file: &[u8]) -> Result<PrivateKey, KeyError> {
    let body = file.strip_prefix(MAGIC).ok_or(KeyError::PrivateFormat)?;
    let mut reader = Reader::new(body);
    let (cipher, kdf, options) = (reader.string()?, reader.string()?, reader.string()?);
    if cipher != b"none" || kdf != b"none" || !options.is_empty() {
        return Err(KeyError::Encrypted);
    }
    if reader.uint32()? != 1 {
        return Err(KeyError::PrivateFormat);
    }
    let public = reader.string()?;
    let private = reader.string()?;
    reader.end()?;

    let mut reader = Reader::new(private);
    if private.len() % BLOCK != 0 || reader.uint32()? != reader.uint32()? {
        return Err(KeyError::PrivateMismatch);
    }
    let start = reader.rest();
    let (signer, key) = read_section(&mut reader)?;
    let len = start.len() - reader.rest().len();
    let _comment = reader.string()?;
    let pad = reader.rest();
    if pad.len() >= BLOCK || !pad.iter().copied().eq((1..).take(pad.len())) {
        return Err(KeyError::PrivateMismatch);
    }
    if key.blob() != public {
        return Err(KeyError::PrivateMismatch);
    }
    let section = Zeroizing::new(start.get(..len).unwrap_or_default().to_vec());
    Ok(PrivateKey {
        signer,
        public: key,
        section,
    })
}

impl PrivateKey {
    pub(crate) fn from_section(section: Zeroizing<Vec<u8>>) -> Result<Self, KeyError> {
        let mut reader = Reader::new(&section);
        let (signer, public) = read_section(&mut reader)?;
        reader.end()?;
        Ok(Self {
            signer,
            public,
            section,
        })
    }
}

fn read_section(reader: &mut Reader<'_>) -> Result<(Signer, PublicKey), KeyError> {
    let kind = KeyType::of_key(reader.string()?)?;
    let rejected = |_| KeyError::PrivateMismatch;
    match kind {
        KeyType::Ed25519 => {
            let material = Material::read(kind, reader)?;
            let both: Zeroizing<[u8; 64]> = Zeroizing::new(reader.exactly()?);
            let Material::Ed25519(point) = &material else {
                return Err(KeyError::PrivateMismatch);
            };
            let (seed, again) = both.split_at(32);
            if again != point {
                return Err(KeyError::PrivateMismatch);
            }
            let pair = Ed25519KeyPair::from_seed_and_public_key(seed, point).map_err(rejected)?;
            Ok((Signer::Ed25519(pair), PublicKey::new(material)))
        }
        KeyType::Ecdsa(curve) => {
            let material = Material::read(kind, reader)?;
            let Material::Ecdsa(_, point) = &material else {
                return Err(KeyError::PrivateMismatch);
            };
            let number = reader.mpint()?;
            let missing = curve.bytes().checked_sub(number.len());
            let missing = missing.ok_or(KeyError::PrivateMismatch)?;
            let mut full = Zeroizing::new(Vec::with_capacity(curve.bytes()));
            full.resize(missing, 0);
            full.extend_from_slice(number);
            let pair = EcdsaKeyPair::from_private_key_and_public_key(signing(curve), &full, point)
                .map_err(rejected)?;
            Ok((Signer::Ecdsa(curve, pair), PublicKey::new(material)))
        }
        KeyType::Rsa => read_rsa(reader),
        KeyType::SkEd25519 | KeyType::SkEcdsa => Err(KeyError::PrivateHardware),
    }
}

/// The file has n, e, d, 1/q mod p, p and q; the library wants d modulo p - 1 and q - 1 besides.
fn read_rsa(reader: &mut Reader<'_>) -> Result<(Signer, PublicKey), KeyError> {
    let (n, e, d) = (reader.mpint()?, reader.mpint()?, reader.mpint()?);
    let (inverse, p, q) = (reader.mpint()?, reader.mpint()?, reader.mpint()?);
    let public = Material::rsa(n, e)?;
    // p * q = n is checked by the library. These bounds keep the work of `remainder` small.
    if d.len() > n.len() || p.len() >= n.len() || q.len() >= n.len() {
        return Err(KeyError::PrivateMismatch);
    }
    let (dp, dq) = (remainder(d, &less_one(p)), remainder(d, &less_one(q)));
    let numbers = [n, e, d, p, q, &dp, &dq, inverse];
    let mut body = Zeroizing::new(Vec::with_capacity(8 * n.len() + 128));
    der_integer(&mut body, &[]);
    for number in numbers {
        der_integer(&mut body, number);
    }
    let mut der = Zeroizing::new(Vec::with_capacity(body.len() + 16));
    der_header(&mut der, 0x30, body.len());
    der.extend_from_slice(&body);
    let pair = rsa::KeyPair::from_der(&der).map_err(|_| KeyError::PrivateMismatch)?;

    let mut expected = Vec::new();
    let mut body = Vec::new();
    der_integer(&mut body, n);
    der_integer(&mut body, e);
    der_header(&mut expected, 0x30, body.len());
    expected.extend_from_slice(&body);
    same(&pair, &expected)?;
    Ok((Signer::Rsa(pair), PublicKey::new(public)))
}

/// One less than an odd number.
fn less_one(number: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut number = Zeroizing::new(number.to_vec());
    if let Some(last) = number.last_mut() {
        *last &= 0xfe;
    }
    number
}

/// `number` modulo `modulus`, both big-endian. Takes the same steps for all numbers of these lengths.
fn remainder(number: &[u8], modulus: &[u8]) -> Zeroizing<Vec<u8>> {
    // One byte more than the modulus: what is left doubles before it shrinks.
    let mut left = Zeroizing::new(vec![0_u8; modulus.len() + 1]);
    let mut less = Zeroizing::new(vec![0_u8; modulus.len() + 1]);
    for byte in number {
        for bit in (0..8).rev() {
            let mut carry = (byte >> bit) & 1;
            for l in left.iter_mut().rev() {
                let out = *l >> 7;
                *l = (*l << 1) | carry;
                carry = out;
            }
            let mut borrow = 0;
            let modulus = modulus.iter().rev().chain([&0]);
            for ((less, left), m) in less.iter_mut().rev().zip(left.iter().rev()).zip(modulus) {
                let (difference, under) = left.overflowing_sub(*m);
                let (difference, under_too) = difference.overflowing_sub(borrow);
                *less = difference;
                borrow = u8::from(under) | u8::from(under_too);
            }
            // With a borrow, the modulus did not fit in, and what was left stays.
            let stays = 0_u8.wrapping_sub(borrow);
            for (left, less) in left.iter_mut().zip(less.iter()) {
                *left = (*left & stays) | (*less & !stays);
            }
        }
    }
    left
}

fn der_header(out: &mut Vec<u8>, tag: u8, len: usize) {
    out.push(tag);
    match u8::try_from(len) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            let len = len.to_be_bytes();
            let len = trim(&len);
            out.push(0x80 | u8::try_from(len.len()).unwrap_or(0));
            out.extend_from_slice(len);
        }
    }
}

fn der_integer(out: &mut Vec<u8>, number: &[u8]) {
    let number = trim(number);
    let pad = number.first().is_none_or(|b| b & 0x80 != 0);
    der_header(out, 0x02, number.len() + usize::from(pad));
    if pad {
        out.push(0);
    }
    out.extend_from_slice(number);
}

/// The private part of an Ed25519 key, from its seed.
pub(crate) fn section_ed25519(seed: &[u8; 32]) -> Result<Vec<u8>, KeyError> {
    let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| KeyError::Crypto)?;
    let point = pair.public_key().as_ref();
    let mut both = Zeroizing::new(Vec::with_capacity(64));
    both.extend_from_slice(seed);
    both.extend_from_slice(point);
    let mut section = Vec::with_capacity(160);
    section.string(KeyType::Ed25519.name().as_bytes());
    section.string(point).string(&both);
    Ok(section)
}

/// RFC 5208 and 5958. What is in it is found by trying: each kind refuses the others.
fn pkcs8(der: &[u8]) -> Result<PrivateKey, KeyError> {
    if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
        let seed = pair.seed().map_err(|_| KeyError::Crypto)?;
        let seed = seed.as_be_bytes().map_err(|_| KeyError::Crypto)?;
        let seed =
            Zeroizing::new(<[u8; 32]>::try_from(seed.as_ref()).map_err(|_| KeyError::Crypto)?);
        return PrivateKey::from_section(Zeroizing::new(section_ed25519(&seed)?));
    }
    for curve in Curve::ALL {
        if let Ok(pair) = EcdsaKeyPair::from_pkcs8(signing(curve), der) {
            let number = pair.private_key().as_be_bytes();
            let number = number.map_err(|_| KeyError::Crypto)?;
            let mut section = Zeroizing::new(Vec::with_capacity(512));
            section.string(KeyType::Ecdsa(curve).name().as_bytes());
            section.string(curve.name().as_bytes());
            section
                .string(pair.public_key().as_ref())
                .mpint(number.as_ref());
            return PrivateKey::from_section(section);
        }
    }
    pkcs8_rsa(der)
}

fn pkcs8_rsa(der: &[u8]) -> Result<PrivateKey, KeyError> {
    const RSA: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
    let mut outer = Der(der).inside(0x30)?;
    outer.number()?;
    let mut algorithm = outer.inside(0x30)?;
    if algorithm.take(0x06)? != RSA {
        return Err(KeyError::PrivateFormat);
    }
    let mut key = outer.inside(0x04)?.inside(0x30)?;
    key.number()?;
    let (n, e, d) = (key.number()?, key.number()?, key.number()?);
    let (p, q, _dp, _dq) = (key.number()?, key.number()?, key.number()?, key.number()?);
    let inverse = key.number()?;
    let mut section = Zeroizing::new(Vec::with_capacity(der.len() + 128));
    section.string(KeyType::Rsa.name().as_bytes());
    section
        .mpint(n)
        .mpint(e)
        .mpint(d)
        .mpint(inverse)
        .mpint(p)
        .mpint(q);
    PrivateKey::from_section(section)
}

/// The little of DER (X.690) that a private key of RSA is made of.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn take(&mut self, wanted: u8) -> Result<&'a [u8], KeyError> {
        let [tag, short, rest @ ..] = self.0 else {
            return Err(KeyError::PrivateFormat);
        };
        // Two bytes of length are 64 KiB, more than a file may have.
        let bytes = match *short {
            short @ 0..=0x7f => return self.cut(*tag == wanted, rest, usize::from(short)),
            0x81 => 1,
            0x82 => 2,
            _ => return Err(KeyError::PrivateFormat),
        };
        let (len, rest) = rest
            .split_at_checked(bytes)
            .ok_or(KeyError::PrivateFormat)?;
        let len = len.iter().fold(0, |n, b| (n << 8) | usize::from(*b));
        self.cut(*tag == wanted, rest, len)
    }

    fn cut(&mut self, fits: bool, rest: &'a [u8], len: usize) -> Result<&'a [u8], KeyError> {
        match rest.split_at_checked(len) {
            Some((body, rest)) if fits => {
                self.0 = rest;
                Ok(body)
            }
            _ => Err(KeyError::PrivateFormat),
        }
    }

    fn inside(&mut self, wanted: u8) -> Result<Der<'a>, KeyError> {
        Ok(Der(self.take(wanted)?))
    }

    fn number(&mut self) -> Result<&'a [u8], KeyError> {
        let number = self.take(0x02)?;
        match number.first() {
            Some(first) if first & 0x80 == 0 => Ok(trim(number)),
            _ => Err(KeyError::PrivateFormat),
        }
    }
}
