//! Binary packets: RFC 4253 section 6. Sequence numbers, lengths, padding; no meaning.

use bytes::{BufMut, Bytes, BytesMut};

use super::cipher::{CipherError, LENGTH, Open, Seal};

/// What stands behind the length of a packet: 256 KiB of payload, as OpenSSH bears, and room for the rest.
pub const MAX_PACKET: usize = (256 << 10) + 1024;
/// Before there are keys, no more than RFC 4253 section 6.1 wants: nobody has said who he is.
pub const MAX_CLEAR_PACKET: usize = 35_000;
/// Under keys, from a client that has not proved who it is: twice what RFC 4253 section 6.1 wants, for the longest
/// tokens and certificates.
pub const MAX_STRANGE_PACKET: usize = 70 << 10;
/// A message, from its number on: there is room for the padding of every cipher beside it.
pub const MAX_PAYLOAD: usize = MAX_PACKET - 32;
/// The length of the padding, one byte of payload, four of padding.
const MIN_PACKET: usize = 6;
const MIN_PADDING: usize = 4;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    #[error("a packet says that it has {length} bytes; at most {max} are taken")]
    TooLong { length: u32, max: usize },
    #[error("a packet says that it has {length} bytes, which its cipher cannot have made")]
    Length { length: u32 },
    #[error("a packet of {length} bytes says that {padding} of them are padding")]
    Padding { length: usize, padding: u8 },
    #[error("a message to be sent has {length} bytes; between 1 and {max} fit into a packet")]
    Payload { length: usize, max: usize },
    #[error(transparent)]
    Cipher(#[from] CipherError),
}

/// How much went under the keys in use.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Used {
    pub(super) packets: u64,
    pub(super) bytes: u64,
}

impl Used {
    fn count(&mut self, bytes: usize) {
        self.packets = self.packets.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }
}

/// The way out.
pub(super) struct Sender {
    cipher: Seal,
    seq: u32,
    pub(super) used: Used,
}

impl Sender {
    pub(super) fn new() -> Self {
        Self {
            cipher: Seal::Null,
            seq: 0,
            used: Used::default(),
        }
    }

    /// Appends one message, in parts, as a packet.
    pub(super) fn send(&mut self, parts: &[&[u8]], out: &mut BytesMut) -> Result<(), PacketError> {
        let payload = parts.iter().map(|p| p.len()).sum::<usize>();
        if payload == 0 || payload > MAX_PAYLOAD {
            return Err(PacketError::Payload {
                length: payload,
                max: MAX_PAYLOAD,
            });
        }
        let padding = self.cipher.blocks().padding(payload);
        let length = payload + padding + 1;
        let start = out.len();
        out.reserve(LENGTH + length + self.cipher.tag_len());
        out.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
        out.put_u8(u8::try_from(padding).unwrap_or(u8::MAX));
        for part in parts {
            out.put_slice(part);
        }
        // Zeros do: encryption makes them look like anything else, and before it there is nothing to hide.
        out.put_bytes(0, padding);
        self.cipher.seal(self.seq, out, start)?;
        self.seq = self.seq.wrapping_add(1);
        self.used.count(out.len().saturating_sub(start));
        Ok(())
    }

    /// After NEWKEYS. Under strict key exchange the numbers begin anew.
    pub(super) fn take_keys(&mut self, cipher: Seal, strict: bool) {
        self.cipher = cipher;
        self.used = Used::default();
        if strict {
            self.seq = 0;
        }
    }
}

/// One packet that came in.
#[derive(Debug)]
pub(super) struct Opened {
    /// Never empty.
    pub(super) payload: Bytes,
    pub(super) number: u8,
    pub(super) seq: u32,
}

/// The way in.
pub(super) struct Receiver {
    cipher: Open,
    seq: u32,
    /// Of the packet that `input` begins with, once it is known and has been held against the limits.
    length: Option<usize>,
    /// What a packet under keys may have.
    pub(super) max: usize,
    pub(super) used: Used,
}

impl Receiver {
    pub(super) fn new() -> Self {
        Self {
            cipher: Open::Null,
            seq: 0,
            length: None,
            max: MAX_PACKET,
            used: Used::default(),
        }
    }

    /// Cuts one whole packet off `input` and opens it where it lies.
    pub(super) fn receive(&mut self, input: &mut BytesMut) -> Result<Option<Opened>, PacketError> {
        let length = match self.length {
            Some(length) => length,
            None => {
                let Some(length) = self.cipher.length(self.seq, input)? else {
                    return Ok(None);
                };
                let length = self.checked(length)?;
                self.length = Some(length);
                length
            }
        };
        let whole = LENGTH + length + self.cipher.tag_len();
        if input.len() < whole {
            return Ok(None);
        }
        self.length = None;
        let mut packet = input.split_to(whole);
        self.cipher.open(self.seq, &mut packet)?;
        let padding = packet.get(LENGTH).copied().unwrap_or_default();
        let payload = length
            .checked_sub(1)
            .and_then(|n| n.checked_sub(usize::from(padding)))
            .filter(|n| *n > 0 && usize::from(padding) >= MIN_PADDING)
            .ok_or(PacketError::Padding { length, padding })?;
        let from = LENGTH + 1;
        let number = packet.get(from).copied().unwrap_or_default();
        let payload = packet.freeze().slice(from..from + payload);
        let seq = self.seq;
        self.seq = seq.wrapping_add(1);
        self.used.count(whole);
        Ok(Some(Opened {
            payload,
            number,
            seq,
        }))
    }

    fn checked(&self, length: u32) -> Result<usize, PacketError> {
        let max = match self.cipher {
            Open::Null => MAX_CLEAR_PACKET,
            _ => self.max,
        };
        let bytes = length as usize;
        if bytes > max {
            return Err(PacketError::TooLong { length, max });
        }
        if bytes < MIN_PACKET || !self.cipher.blocks().fits(bytes) {
            return Err(PacketError::Length { length });
        }
        Ok(bytes)
    }

    pub(super) fn take_keys(&mut self, cipher: Open, strict: bool) {
        self.cipher = cipher;
        self.used = Used::default();
        if strict {
            self.seq = 0;
        }
    }
}
