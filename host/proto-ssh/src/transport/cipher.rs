//! Encryption and authentication of single packets, in place: one value for each direction.
//!
//! What comes in is authenticated before it is believed. The one exception is the length, which has to be known
//! first; `packet` holds it against its limits before anything else.

use aws_lc_rs::aead::chacha20_poly1305_openssh as chacha;
use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::{constant_time, hmac};
use bytes::{BufMut, BytesMut};

use super::config::{CipherAlgorithm, MacAlgorithm};

/// Bytes of the length of a packet.
pub(super) const LENGTH: usize = 4;
/// Bytes of a tag of an AEAD.
const TAG: usize = 16;
/// Bytes of a block of AES.
const AES_BLOCK: usize = 16;
/// Where a cipher has no blocks, or a smaller one (RFC 4253 section 6).
const SMALLEST_BLOCK: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CipherError {
    #[error("a packet is not authentic")]
    NotAuthentic,
    #[error("a packet is too short for its cipher")]
    Short,
    #[error("a key does not fit its algorithm")]
    Key,
    #[error("the cipher failed")]
    Failed,
}

/// What encrypts one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Suite {
    pub(super) cipher: CipherAlgorithm,
    /// Of the ciphers that need one.
    pub(super) mac: Option<MacAlgorithm>,
}

/// Lengths of what is derived for a suite.
pub(super) struct Lengths {
    pub(super) iv: usize,
    pub(super) key: usize,
    pub(super) mac: usize,
}

impl Suite {
    pub(super) fn lengths(self) -> Lengths {
        let (iv, key) = match self.cipher {
            CipherAlgorithm::Aes256Gcm => (12, 32),
            CipherAlgorithm::Aes128Gcm => (12, 16),
            CipherAlgorithm::ChaCha20Poly1305 => (0, chacha::KEY_LEN),
            CipherAlgorithm::Aes256Ctr => (AES_BLOCK, 32),
            CipherAlgorithm::Aes128Ctr => (AES_BLOCK, 16),
        };
        let mac = match self.mac {
            Some(MacAlgorithm::Sha256 | MacAlgorithm::Sha256Etm) => 32,
            Some(MacAlgorithm::Sha512Etm) => 64,
            None => 0,
        };
        Lengths { iv, key, mac }
    }
}

/// Keys of one direction, as derived.
pub(super) struct Material<'a> {
    pub(super) iv: &'a [u8],
    pub(super) key: &'a [u8],
    pub(super) mac: &'a [u8],
}

pub(super) struct Gcm {
    key: LessSafeKey,
    fixed: [u8; 4],
    invocation: u64,
}

impl Gcm {
    fn new(cipher: CipherAlgorithm, material: &Material<'_>) -> Result<Self, CipherError> {
        let algorithm = match cipher {
            CipherAlgorithm::Aes128Gcm => &AES_128_GCM,
            _ => &AES_256_GCM,
        };
        let key = UnboundKey::new(algorithm, material.key).map_err(|_| CipherError::Key)?;
        let (fixed, rest) = material.iv.split_first_chunk().ok_or(CipherError::Key)?;
        let invocation = rest.try_into().map_err(|_| CipherError::Key)?;
        Ok(Self {
            key: LessSafeKey::new(key),
            fixed: *fixed,
            invocation: u64::from_be_bytes(invocation),
        })
    }

    /// RFC 5647 section 7.1. Keys are changed long before the counter comes round.
    fn nonce(&mut self) -> Nonce {
        let mut bytes = [0; 12];
        let (fixed, counter) = bytes.split_at_mut(4);
        fixed.copy_from_slice(&self.fixed);
        counter.copy_from_slice(&self.invocation.to_be_bytes());
        self.invocation = self.invocation.wrapping_add(1);
        Nonce::assume_unique_for_key(bytes)
    }
}

/// AES in counter mode with a MAC beside it.
pub(super) struct Ctr {
    key: EncryptingKey,
    counter: u128,
    mac: hmac::Key,
    /// Whether the MAC is over what is encrypted, or over the plaintext.
    etm: bool,
    /// Of the plain MAC: the first block of the packet in hand is decrypted already.
    opened: bool,
}

impl Ctr {
    fn new(
        cipher: CipherAlgorithm,
        mac: MacAlgorithm,
        material: &Material<'_>,
    ) -> Result<Self, CipherError> {
        let algorithm = match cipher {
            CipherAlgorithm::Aes128Ctr => &AES_128,
            _ => &AES_256,
        };
        let key = UnboundCipherKey::new(algorithm, material.key).map_err(|_| CipherError::Key)?;
        let iv = material.iv.try_into().map_err(|_| CipherError::Key)?;
        let (digest, etm) = match mac {
            MacAlgorithm::Sha256Etm => (hmac::HMAC_SHA256, true),
            MacAlgorithm::Sha512Etm => (hmac::HMAC_SHA512, true),
            MacAlgorithm::Sha256 => (hmac::HMAC_SHA256, false),
        };
        Ok(Self {
            key: EncryptingKey::ctr(key).map_err(|_| CipherError::Key)?,
            counter: u128::from_be_bytes(iv),
            mac: hmac::Key::new(digest, material.mac),
            etm,
            opened: false,
        })
    }

    /// Encrypts or decrypts whole blocks. The counter goes on over packets (RFC 4344 section 4).
    fn apply(&mut self, blocks: &mut [u8]) -> Result<(), CipherError> {
        let iv = FixedLength::from(self.counter.to_be_bytes());
        let count = blocks.len().div_ceil(AES_BLOCK);
        self.key
            .less_safe_encrypt(blocks, EncryptionContext::Iv128(iv))
            .map_err(|_| CipherError::Failed)?;
        self.counter = self.counter.wrapping_add(count as u128);
        Ok(())
    }

    fn tag(&self, seq: u32, packet: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.mac);
        context.update(&seq.to_be_bytes());
        context.update(packet);
        context.sign()
    }

    fn tag_len(&self) -> usize {
        self.mac.algorithm().digest_algorithm().output_len()
    }
}

/// The way out.
pub(super) enum Seal {
    /// Until the first keys are there.
    Null,
    Gcm(Gcm),
    ChaCha(Box<chacha::SealingKey>),
    Ctr(Box<Ctr>),
}

/// The way in.
pub(super) enum Open {
    Null,
    Gcm(Gcm),
    ChaCha(Box<chacha::OpeningKey>),
    Ctr(Box<Ctr>),
}

fn chacha_key(material: &Material<'_>) -> Result<[u8; chacha::KEY_LEN], CipherError> {
    material.key.try_into().map_err(|_| CipherError::Key)
}

impl Seal {
    pub(super) fn new(suite: Suite, material: &Material<'_>) -> Result<Self, CipherError> {
        Ok(match (suite.cipher, suite.mac) {
            (CipherAlgorithm::Aes256Gcm | CipherAlgorithm::Aes128Gcm, _) => {
                Self::Gcm(Gcm::new(suite.cipher, material)?)
            }
            (CipherAlgorithm::ChaCha20Poly1305, _) => {
                let key = zeroize::Zeroizing::new(chacha_key(material)?);
                Self::ChaCha(Box::new(chacha::SealingKey::new(&key)))
            }
            (cipher, Some(mac)) => Self::Ctr(Box::new(Ctr::new(cipher, mac, material)?)),
            (_, None) => return Err(CipherError::Key),
        })
    }

    /// Of what the length of a packet is a multiple, and how much of the packet counts for that.
    pub(super) fn blocks(&self) -> Blocks {
        match self {
            Self::Null => Blocks::whole(SMALLEST_BLOCK),
            Self::Gcm(_) => Blocks::without_length(AES_BLOCK),
            Self::ChaCha(_) => Blocks::without_length(SMALLEST_BLOCK),
            Self::Ctr(ctr) if ctr.etm => Blocks::without_length(AES_BLOCK),
            Self::Ctr(_) => Blocks::whole(AES_BLOCK),
        }
    }

    pub(super) fn tag_len(&self) -> usize {
        match self {
            Self::Null => 0,
            Self::Gcm(_) | Self::ChaCha(_) => TAG,
            Self::Ctr(ctr) => ctr.tag_len(),
        }
    }

    /// Encrypts the packet that begins at `start` where it lies, and appends its tag.
    pub(super) fn seal(
        &mut self,
        seq: u32,
        out: &mut BytesMut,
        start: usize,
    ) -> Result<(), CipherError> {
        let packet = out.get_mut(start..).ok_or(CipherError::Short)?;
        match self {
            Self::Null => {}
            Self::Gcm(gcm) => {
                let (length, body) = packet
                    .split_first_chunk_mut::<LENGTH>()
                    .ok_or(CipherError::Short)?;
                let nonce = gcm.nonce();
                let tag = gcm
                    .key
                    .seal_in_place_separate_tag(nonce, Aad::from(*length), body)
                    .map_err(|_| CipherError::Failed)?;
                out.put_slice(tag.as_ref());
            }
            Self::ChaCha(key) => {
                if packet.len() <= LENGTH {
                    return Err(CipherError::Short);
                }
                let mut tag = [0; chacha::TAG_LEN];
                key.seal_in_place(seq, packet, &mut tag);
                out.put_slice(&tag);
            }
            Self::Ctr(ctr) => {
                let tag = if ctr.etm {
                    ctr.apply(packet.get_mut(LENGTH..).ok_or(CipherError::Short)?)?;
                    ctr.tag(seq, packet)
                } else {
                    let tag = ctr.tag(seq, packet);
                    ctr.apply(packet)?;
                    tag
                };
                out.put_slice(tag.as_ref());
            }
        }
        Ok(())
    }
}

impl Open {
    pub(super) fn new(suite: Suite, material: &Material<'_>) -> Result<Self, CipherError> {
        Ok(match (suite.cipher, suite.mac) {
            (CipherAlgorithm::Aes256Gcm | CipherAlgorithm::Aes128Gcm, _) => {
                Self::Gcm(Gcm::new(suite.cipher, material)?)
            }
            (CipherAlgorithm::ChaCha20Poly1305, _) => {
                let key = zeroize::Zeroizing::new(chacha_key(material)?);
                Self::ChaCha(Box::new(chacha::OpeningKey::new(&key)))
            }
            (cipher, Some(mac)) => Self::Ctr(Box::new(Ctr::new(cipher, mac, material)?)),
            (_, None) => return Err(CipherError::Key),
        })
    }

    pub(super) fn blocks(&self) -> Blocks {
        match self {
            Self::Null => Blocks::whole(SMALLEST_BLOCK),
            Self::Gcm(_) => Blocks::without_length(AES_BLOCK),
            Self::ChaCha(_) => Blocks::without_length(SMALLEST_BLOCK),
            Self::Ctr(ctr) if ctr.etm => Blocks::without_length(AES_BLOCK),
            Self::Ctr(_) => Blocks::whole(AES_BLOCK),
        }
    }

    pub(super) fn tag_len(&self) -> usize {
        match self {
            Self::Null => 0,
            Self::Gcm(_) | Self::ChaCha(_) => TAG,
            Self::Ctr(ctr) => ctr.tag_len(),
        }
    }

    /// The length of the packet that `input` begins with, as soon as it can be known. Nothing vouches for it yet.
    /// To be called once for a packet: a plain MAC has the first block decrypted in place.
    pub(super) fn length(
        &mut self,
        seq: u32,
        input: &mut [u8],
    ) -> Result<Option<u32>, CipherError> {
        let clear = match self {
            Self::Ctr(ctr) if !ctr.etm => {
                let Some(block) = input.get_mut(..AES_BLOCK) else {
                    return Ok(None);
                };
                ctr.apply(block)?;
                ctr.opened = true;
                block.first_chunk::<LENGTH>().copied()
            }
            Self::ChaCha(key) => input
                .first_chunk::<LENGTH>()
                .map(|length| key.decrypt_packet_length(seq, *length)),
            _ => input.first_chunk::<LENGTH>().copied(),
        };
        Ok(clear.map(u32::from_be_bytes))
    }

    /// Authenticates and decrypts one packet with its tag where it lies. Its padding's length stands at 4 then.
    pub(super) fn open(&mut self, seq: u32, packet: &mut [u8]) -> Result<(), CipherError> {
        let tag_at = packet
            .len()
            .checked_sub(self.tag_len())
            .filter(|at| *at > LENGTH)
            .ok_or(CipherError::Short)?;
        match self {
            Self::Null => {}
            Self::Gcm(gcm) => {
                let (length, sealed) = packet
                    .split_first_chunk_mut::<LENGTH>()
                    .ok_or(CipherError::Short)?;
                let nonce = gcm.nonce();
                gcm.key
                    .open_in_place(nonce, Aad::from(*length), sealed)
                    .map_err(|_| CipherError::NotAuthentic)?;
            }
            Self::ChaCha(key) => {
                let (sealed, tag) = packet
                    .split_at_mut_checked(tag_at)
                    .ok_or(CipherError::Short)?;
                let tag: &[u8; TAG] = (&*tag).try_into().map_err(|_| CipherError::Short)?;
                key.open_in_place(seq, sealed, tag)
                    .map_err(|_| CipherError::NotAuthentic)?;
            }
            Self::Ctr(ctr) => {
                let (body, tag) = packet
                    .split_at_mut_checked(tag_at)
                    .ok_or(CipherError::Short)?;
                if !ctr.etm {
                    // `length` has decrypted the first block.
                    if !std::mem::take(&mut ctr.opened) {
                        return Err(CipherError::Failed);
                    }
                    ctr.apply(body.get_mut(AES_BLOCK..).ok_or(CipherError::Short)?)?;
                }
                constant_time::verify_slices_are_equal(ctr.tag(seq, body).as_ref(), tag)
                    .map_err(|_| CipherError::NotAuthentic)?;
                if ctr.etm {
                    ctr.apply(body.get_mut(LENGTH..).ok_or(CipherError::Short)?)?;
                }
            }
        }
        Ok(())
    }
}

/// How long packets are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Blocks {
    size: usize,
    /// Bytes before the padding's length that count.
    counted: usize,
}

impl Blocks {
    fn whole(size: usize) -> Self {
        Self {
            size,
            counted: LENGTH,
        }
    }

    fn without_length(size: usize) -> Self {
        Self { size, counted: 0 }
    }

    pub(super) fn fits(self, length: usize) -> bool {
        self.counted
            .saturating_add(length)
            .is_multiple_of(self.size)
    }

    /// The padding of a payload: at least four bytes (RFC 4253 section 6), at most a block and three.
    pub(super) fn padding(self, payload: usize) -> usize {
        let used = self.counted.saturating_add(1).saturating_add(payload) % self.size;
        let short = self.size.saturating_sub(used);
        if short < 4 {
            short.saturating_add(self.size)
        } else {
            short
        }
    }
}
