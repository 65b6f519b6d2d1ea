//! The packets before a session: they have no type byte.

use super::{Cursor, MessageError};

/// `MAX_STARTUP_PACKET_LENGTH` of PostgreSQL.
pub const MAX_STARTUP: usize = 10_000;

pub const PROTOCOL_3_0: u32 = 3 << 16;
pub const PROTOCOL_3_2: u32 = (3 << 16) | 2;
const SSL_REQUEST: u32 = (1234 << 16) | 5679;
const GSSENC_REQUEST: u32 = (1234 << 16) | 5680;
const CANCEL_REQUEST: u32 = (1234 << 16) | 5678;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet<'a> {
    Ssl,
    GssEnc,
    Cancel {
        pid: u32,
        secret: &'a [u8],
    },
    /// Version and parameters in the order they came.
    Startup {
        version: u32,
        parameters: Vec<(&'a [u8], &'a [u8])>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    #[error("invalid length of startup packet")]
    Length,
    #[error("invalid startup packet layout: {0}")]
    Layout(#[from] MessageError),
    #[error(
        "unsupported frontend protocol {}.{}: server supports 3.0 to 3.2",
        version >> 16,
        version & 0xffff
    )]
    Version { version: u32 },
}

/// The length of the packet that begins here, its length word included; `None` while fewer than
/// four bytes are here.
pub fn length(buf: &[u8]) -> Result<Option<usize>, PacketError> {
    let Some(word) = buf.first_chunk::<4>() else {
        return Ok(None);
    };
    match usize::try_from(i32::from_be_bytes(*word)) {
        Ok(len) if (8..=MAX_STARTUP).contains(&len) => Ok(Some(len)),
        _ => Err(PacketError::Length),
    }
}

/// `packet` is the whole packet with its length word.
pub fn packet(packet: &[u8]) -> Result<Packet<'_>, PacketError> {
    let mut c = Cursor::new(packet);
    c.u32()?;
    match c.u32()? {
        SSL_REQUEST => {
            c.end()?;
            Ok(Packet::Ssl)
        }
        GSSENC_REQUEST => {
            c.end()?;
            Ok(Packet::GssEnc)
        }
        CANCEL_REQUEST => {
            let pid = c.u32()?;
            match c.rest() {
                secret if (4..=256).contains(&secret.len()) => Ok(Packet::Cancel { pid, secret }),
                _ => Err(MessageError::Value("cancel key").into()),
            }
        }
        version if version >> 16 == 3 => {
            let mut parameters = Vec::new();
            loop {
                match c.cstr()? {
                    [] => break,
                    name => parameters.push((name, c.cstr()?)),
                }
            }
            c.end()?;
            Ok(Packet::Startup {
                version,
                parameters,
            })
        }
        version => Err(PacketError::Version { version }),
    }
}

/// A CancelRequest for an upstream.
pub fn cancel(out: &mut bytes::BytesMut, pid: u32, secret: &[u8]) {
    use bytes::BufMut;
    super::encode::length_prefixed(out, |b| {
        b.put_u32(CANCEL_REQUEST);
        b.put_u32(pid);
        b.put_slice(secret);
    });
}

pub fn ssl_request(out: &mut bytes::BytesMut) {
    use bytes::BufMut;
    super::encode::length_prefixed(out, |b| b.put_u32(SSL_REQUEST));
}

/// The startup packet for an upstream.
pub fn startup<'a>(
    out: &mut bytes::BytesMut,
    version: u32,
    parameters: impl IntoIterator<Item = (&'a str, &'a str)>,
) {
    use bytes::BufMut;
    super::encode::length_prefixed(out, |b| {
        b.put_u32(version);
        for (name, value) in parameters {
            super::encode::cstr(b, name.as_bytes());
            super::encode::cstr(b, value.as_bytes());
        }
        b.put_u8(0);
    });
}
