//! The key of one stream, what is derived from it, and the document that it is kept in.

use aws_lc_rs::{hkdf, hmac};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::chain::Hash;
use crate::crypt::wrap::{KeyWrap, WrapError, Wrapped};

pub const KEY_FORMAT: &str = "weir.key.v1";
/// A stored key is never longer, whatever wraps it.
pub const MAX_KEY_DOC: usize = 16 << 10;

const SEGMENT: &[u8] = b"weir.rec.v3 segment";
const CHAIN: &[u8] = b"weir.rec.v3 chain";

/// 256 bits that are forgotten when they go.
pub type Secret = zeroize::Zeroizing<[u8; 32]>;

/// A stream's key as it is kept: wrapped, in the start of the stream, in the spool, and as an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyDoc {
    pub format: String,
    pub stream: String,
    pub control: bool,
    /// The wrapping key.
    pub kek: String,
    /// In base64.
    pub wrapped: String,
}

/// Why a stream's key is not to be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamKeyError {
    #[error("its key is not what was stored: {0}")]
    Altered(&'static str),
    #[error(transparent)]
    Wrap(#[from] WrapError),
    #[error("the machine gives no random numbers")]
    Random,
}

/// A stream's key, ready for use.
pub struct StreamKey {
    pub stream: Uuid,
    pub doc: KeyDoc,
    secret: Secret,
    chain: hmac::Key,
}

impl std::fmt::Debug for StreamKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("StreamKey");
        shown.field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl StreamKey {
    /// A new key, wrapped.
    pub async fn make(
        wrap: &dyn KeyWrap,
        stream: Uuid,
        control: bool,
    ) -> Result<Self, StreamKeyError> {
        let mut secret = Secret::default();
        aws_lc_rs::rand::fill(&mut *secret).map_err(|_| StreamKeyError::Random)?;
        let Wrapped { kek, bytes } = wrap.wrap(&context(stream, control), &secret).await?;
        let doc = KeyDoc {
            format: KEY_FORMAT.to_owned(),
            stream: stream.to_string(),
            control,
            kek,
            wrapped: STANDARD.encode(bytes),
        };
        Self::new(stream, doc, secret)
    }

    /// The key in a document that is said to be this stream's.
    pub async fn unwrap(
        wrap: &dyn KeyWrap,
        stream: Uuid,
        doc: KeyDoc,
    ) -> Result<Self, StreamKeyError> {
        if doc.format != KEY_FORMAT {
            return Err(StreamKeyError::Altered("its format is not known"));
        }
        if doc.stream != stream.to_string() {
            return Err(StreamKeyError::Altered("it is the key of another stream"));
        }
        let bytes = STANDARD.decode(&doc.wrapped);
        let bytes = bytes.map_err(|_| StreamKeyError::Altered("it is not in base64"))?;
        let context = context(stream, doc.control);
        let secret = wrap.unwrap(&doc.kek, &context, &bytes).await?;
        Self::new(stream, doc, secret)
    }

    fn new(stream: Uuid, doc: KeyDoc, secret: Secret) -> Result<Self, StreamKeyError> {
        let chain = derive(&secret, &[], &[CHAIN, stream.as_bytes()])?;
        Ok(Self {
            stream,
            doc,
            chain: hmac::Key::new(hmac::HMAC_SHA256, &*chain),
            secret,
        })
    }

    /// The key of one segment. The salt is random, so a segment that is sealed once more after a crash
    /// has another one.
    pub fn segment(&self, segment: u32, salt: &[u8]) -> Result<Secret, StreamKeyError> {
        let number = segment.to_be_bytes();
        derive(
            &self.secret,
            salt,
            &[SEGMENT, self.stream.as_bytes(), &number],
        )
    }

    /// What a segment's chain begins with, where the one before ended with `chain`. Ends are written
    /// down in other streams. Without the key, nobody can go on from there, and so nobody can try out
    /// what a segment may hold.
    pub fn chain_in(&self, chain: &Hash) -> Hash {
        let mut out = [0; 32];
        out.copy_from_slice(hmac::sign(&self.chain, chain).as_ref());
        out
    }
}

/// What a wrapped key is bound to: no key passes for that of another stream.
fn context(stream: Uuid, control: bool) -> Vec<u8> {
    let kind: &[u8] = if control { b"control" } else { b"session" };
    [KEY_FORMAT.as_bytes(), b"\0", kind, b"\0", stream.as_bytes()].concat()
}

fn derive(secret: &Secret, salt: &[u8], info: &[&[u8]]) -> Result<Secret, StreamKeyError> {
    let mut out = Secret::default();
    let key = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(&**secret);
    key.expand(info, hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut *out))
        .map_err(|_| StreamKeyError::Random)?;
    Ok(out)
}

/// Where a stream's key is stored.
pub fn object_name(stream: Uuid) -> String {
    format!("keys/{}.key", stream.as_hyphenated())
}

/// Where it is stored that there was one.
pub fn erased_name(stream: Uuid) -> String {
    format!("keys/{}.erased", stream.as_hyphenated())
}

/// An object among the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    Key(Uuid),
    Erased(Uuid),
}

/// One spelling for each.
pub fn parse_name(key: &str) -> Option<Named> {
    let (stream, end) = key.strip_prefix("keys/")?.split_once('.')?;
    let id: Uuid = stream.parse().ok()?;
    let named = match end {
        "key" => Named::Key(id),
        "erased" => Named::Erased(id),
        _ => return None,
    };
    (id.as_hyphenated().to_string() == stream).then_some(named)
}

pub fn too_long() -> StreamKeyError {
    StreamKeyError::Altered("it is too long")
}

pub fn parse(bytes: &[u8]) -> Result<KeyDoc, StreamKeyError> {
    if bytes.len() > MAX_KEY_DOC {
        return Err(too_long());
    }
    serde_json::from_slice(bytes).map_err(|_| StreamKeyError::Altered("it cannot be read"))
}
