//! A segment at rest: the bytes of `segment`, encrypted in chunks.
//!
//! `"WEIRSEG3" | header length u32 | header JSON | chunks`. Each chunk is up to 64 KiB under AES-256-GCM
//! with its tag. Its nonce holds its number and whether it is the last, and all before the chunks is
//! authenticated with each. So nothing can be cut off, put elsewhere or changed, and what is read of a
//! segment is what was written, up to there.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};

use crate::crypt::key::{StreamKey, StreamKeyError};
use crate::keys::{Day, SegmentKey};

pub const FORMAT: &str = "weir.rec.v3";

const MAGIC: &[u8; 8] = b"WEIRSEG3";
/// Of what is encrypted at once.
pub const CHUNK: usize = 64 << 10;
const TAG: usize = 16;
const SALT: usize = 32;
/// A longer header is none of ours.
const MAX_HEADER: usize = 4096;

/// What everybody may see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderDoc {
    pub format: String,
    pub stream: String,
    pub control: bool,
    pub segment: u32,
    pub started_ns: u64,
    /// The time of the latest record.
    pub t1_ns: u64,
    /// For how many days at least it is to be kept: whoever stores it has no key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_days: Option<u32>,
    /// Random: each segment is encrypted with a key of its own.
    pub salt: String,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContainerError {
    #[error("it is cut off")]
    Short,
    #[error("its header is not as it should be")]
    Header,
    #[error("chunk {0} is not what was encrypted, or not with this key")]
    Chunk(u64),
    #[error("it is too long")]
    Long,
    #[error(transparent)]
    Key(#[from] StreamKeyError),
}

/// What a segment is called, before it is sealed.
#[derive(Debug, Clone, Copy)]
pub struct Named {
    pub control: bool,
    pub segment: u32,
    pub started_ns: u64,
    pub t1_ns: u64,
    pub retention_days: Option<u32>,
}

pub fn is_sealed(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Encrypts a segment.
pub fn seal(key: &StreamKey, named: Named, plain: &[u8]) -> Result<Vec<u8>, ContainerError> {
    let mut salt = [0; SALT];
    aws_lc_rs::rand::fill(&mut salt).map_err(|_| StreamKeyError::Random)?;
    let header = HeaderDoc {
        format: FORMAT.to_owned(),
        stream: key.stream.to_string(),
        control: named.control,
        segment: named.segment,
        started_ns: named.started_ns,
        t1_ns: named.t1_ns,
        retention_days: named.retention_days,
        salt: hex::encode(salt),
    };
    let json = serde_json::to_vec(&header).map_err(|_| ContainerError::Header)?;
    let len = u32::try_from(json.len()).map_err(|_| ContainerError::Header)?;
    let with = cipher(key, named.segment, &salt)?;
    let chunks = plain.len() / CHUNK + 1;
    let mut out = Vec::with_capacity(12 + json.len() + plain.len() + chunks * TAG);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&json);
    let head = out.clone();
    let mut rest = plain;
    let mut number = 0;
    loop {
        let (chunk, more) = rest.split_at(rest.len().min(CHUNK));
        let last = more.is_empty();
        let at = out.len();
        out.extend_from_slice(chunk);
        let nonce = nonce(number, last)?;
        let chunk = out.get_mut(at..).unwrap_or_default();
        let tag = with
            .seal_in_place_separate_tag(nonce, Aad::from(&head), chunk)
            .map_err(|_| ContainerError::Long)?;
        out.extend_from_slice(tag.as_ref());
        if last {
            return Ok(out);
        }
        rest = more;
        number += 1;
    }
}

/// The header, and where the chunks begin. Nobody has vouched for it yet: that is done with the chunks.
pub fn read_header(bytes: &[u8]) -> Result<(HeaderDoc, usize), ContainerError> {
    let rest = bytes.strip_prefix(MAGIC).ok_or(ContainerError::Header)?;
    let (len, rest) = rest.split_first_chunk::<4>().ok_or(ContainerError::Short)?;
    let len = u32::from_le_bytes(*len) as usize;
    if len > MAX_HEADER {
        return Err(ContainerError::Header);
    }
    let json = rest.get(..len).ok_or(ContainerError::Short)?;
    let header: HeaderDoc = serde_json::from_slice(json).map_err(|_| ContainerError::Header)?;
    match header.format == FORMAT {
        true => Ok((header, MAGIC.len() + 4 + len)),
        false => Err(ContainerError::Header),
    }
}

/// Is it what its name says?
pub fn fits(header: &HeaderDoc, key: &SegmentKey) -> bool {
    header.stream == key.stream.to_string()
        && header.segment == key.segment
        && header.control == key.control
        && Day::of_stream(key.stream, header.started_ns) == key.day
}

/// Decrypts a segment: all of it, or an error.
pub fn open(key: &StreamKey, bytes: &[u8]) -> Result<Vec<u8>, ContainerError> {
    let (header, at) = read_header(bytes)?;
    let (head, mut rest) = bytes.split_at_checked(at).ok_or(ContainerError::Short)?;
    let mut salt = [0; SALT];
    hex::decode_to_slice(&header.salt, &mut salt).map_err(|_| ContainerError::Header)?;
    let with = cipher(key, header.segment, &salt)?;
    let mut out = Vec::with_capacity(rest.len());
    let mut number = 0;
    loop {
        let (chunk, more) = rest.split_at(rest.len().min(CHUNK + TAG));
        let last = more.is_empty();
        let at = out.len();
        out.extend_from_slice(chunk);
        let wrong = ContainerError::Chunk(number);
        let nonce = nonce(number, last)?;
        let chunk = out.get_mut(at..).unwrap_or_default();
        let opened = with.open_in_place(nonce, Aad::from(head), chunk);
        let len = opened.map_err(|_| wrong)?.len();
        out.truncate(at + len);
        if last {
            return Ok(out);
        }
        rest = more;
        number += 1;
    }
}

fn cipher(key: &StreamKey, segment: u32, salt: &[u8]) -> Result<LessSafeKey, ContainerError> {
    let secret = key.segment(segment, salt)?;
    let unbound = UnboundKey::new(&AES_256_GCM, &*secret).map_err(|_| StreamKeyError::Random)?;
    Ok(LessSafeKey::new(unbound))
}

/// The key is used for one segment only, so a number is enough.
fn nonce(number: u64, last: bool) -> Result<Nonce, ContainerError> {
    let number = u32::try_from(number).map_err(|_| ContainerError::Long)?;
    let mut nonce = [0; NONCE_LEN];
    let [.., a, b, c, d, end] = &mut nonce;
    [*a, *b, *c, *d] = number.to_be_bytes();
    *end = u8::from(last);
    Ok(Nonce::assume_unique_for_key(nonce))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypt::key::Secret;
    use crate::crypt::wrap::LocalKeys;
    use uuid::Uuid;

    const NAMED: Named = Named {
        control: false,
        segment: 3,
        started_ns: 7,
        t1_ns: 9,
        retention_days: Some(2555),
    };

    async fn key(stream: Uuid) -> StreamKey {
        let wrap = LocalKeys::new([Secret::new([1; 32])]).unwrap();
        StreamKey::make(&wrap, stream, false).await.unwrap()
    }

    fn plain(len: usize) -> Vec<u8> {
        (0..len).map(|n| (n * 31 % 251) as u8).collect()
    }

    #[tokio::test]
    async fn what_is_sealed_is_opened() {
        let key = key(Uuid::now_v7()).await;
        for len in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 5] {
            let sealed = seal(&key, NAMED, &plain(len)).unwrap();
            assert!(is_sealed(&sealed));
            assert_eq!(open(&key, &sealed).unwrap(), plain(len), "{len}");
        }
    }

    #[tokio::test]
    async fn every_flip_and_every_cut_is_found() {
        let key = key(Uuid::now_v7()).await;
        let sealed = seal(&key, NAMED, b"select ssn from people").unwrap();
        for at in 0..sealed.len() {
            for bit in 0..8 {
                let mut other = sealed.clone();
                other[at] ^= 1 << bit;
                assert!(open(&key, &other).is_err(), "byte {at}, bit {bit}");
            }
            assert!(open(&key, &sealed[..at]).is_err(), "cut at {at}");
        }
        for more in [&b"\0"[..], &sealed[..], &[0; TAG]] {
            assert!(open(&key, &[&sealed, more].concat()).is_err());
        }
    }

    #[tokio::test]
    async fn chunks_stay_where_they_are() {
        let key = key(Uuid::now_v7()).await;
        let sealed = seal(&key, NAMED, &plain(3 * CHUNK)).unwrap();
        let (_, at) = read_header(&sealed).unwrap();
        let (head, body) = sealed.split_at(at);
        let chunks: Vec<&[u8]> = body.chunks(CHUNK + TAG).collect();
        let [a, b, c] = chunks.as_slice() else {
            panic!("{} chunks", chunks.len())
        };
        assert!(open(&key, &[head, a, b, c].concat()).is_ok());
        let wrong: [&[&[u8]]; 7] = [
            &[head],
            &[head, a],
            &[head, a, b],
            &[head, b, a, c],
            &[head, a, c],
            &[head, c],
            &[head, a, b, c, c],
        ];
        for parts in wrong {
            assert!(open(&key, &parts.concat()).is_err());
        }
        // Of another segment with the same key.
        let other = seal(&key, NAMED, &plain(3 * CHUNK)).unwrap();
        let (other_head, other_body) = other.split_at(at);
        assert!(open(&key, &[head, other_body].concat()).is_err());
        assert!(open(&key, &[other_head, body].concat()).is_err());
    }

    #[tokio::test]
    async fn no_other_stream_or_key_opens_it() {
        let stream = Uuid::now_v7();
        let one = key(stream).await;
        let sealed = seal(&one, NAMED, b"select 1").unwrap();
        assert!(open(&key(stream).await, &sealed).is_err());
        // The same secret, said to be another stream's.
        let wrap = LocalKeys::new([Secret::new([1; 32])]).unwrap();
        let again = StreamKey::unwrap(&wrap, stream, one.doc.clone()).await;
        assert!(open(&again.unwrap(), &sealed).is_ok());
        let mut doc = one.doc.clone();
        let other = Uuid::now_v7();
        assert!(StreamKey::unwrap(&wrap, other, doc.clone()).await.is_err());
        doc.stream = other.to_string();
        assert!(StreamKey::unwrap(&wrap, other, doc.clone()).await.is_err());
        doc.stream = stream.to_string();
        doc.control = true;
        assert!(StreamKey::unwrap(&wrap, stream, doc).await.is_err());
    }

    #[tokio::test]
    async fn a_longer_header_is_none() {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&u32::MAX.to_le_bytes());
        bytes.extend_from_slice(&[b' '; 100]);
        assert_eq!(read_header(&bytes).unwrap_err(), ContainerError::Header);
    }

    #[tokio::test]
    async fn the_end_of_a_segment_does_not_tell_the_next_beginning() {
        let stream = Uuid::now_v7();
        let (one, two) = (key(stream).await, key(stream).await);
        assert_eq!(one.chain_in(&[5; 32]), one.chain_in(&[5; 32]));
        assert_ne!(one.chain_in(&[5; 32]), two.chain_in(&[5; 32]));
        assert_ne!(one.chain_in(&[5; 32]), one.chain_in(&[6; 32]));
    }
}
