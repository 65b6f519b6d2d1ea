//! Writing the data types of RFC 4251 section 5.

use bytes::{BufMut, BytesMut};

/// Appends to a message. Lengths beyond 32 bits do not occur: no packet is that long.
pub trait Put {
    fn raw(&mut self, bytes: &[u8]) -> &mut Self;

    fn byte(&mut self, value: u8) -> &mut Self {
        self.raw(&[value])
    }

    fn flag(&mut self, value: bool) -> &mut Self {
        self.byte(u8::from(value))
    }

    fn uint32(&mut self, value: u32) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    fn uint64(&mut self, value: u64) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    fn string(&mut self, bytes: &[u8]) -> &mut Self {
        self.uint32(u32::try_from(bytes.len()).unwrap_or(u32::MAX))
            .raw(bytes)
    }

    fn names(&mut self, names: &[&str]) -> &mut Self {
        self.string(names.join(",").as_bytes())
    }

    /// A number that is not negative, big-endian, with or without leading zeros.
    fn mpint(&mut self, number: &[u8]) -> &mut Self {
        let zeros = number.iter().take_while(|b| **b == 0).count();
        let number = number.get(zeros..).unwrap_or_default();
        let pad = number.first().is_some_and(|b| b & 0x80 != 0);
        let len = number.len() + usize::from(pad);
        self.uint32(u32::try_from(len).unwrap_or(u32::MAX));
        if pad {
            self.byte(0);
        }
        self.raw(number)
    }
}

impl Put for BytesMut {
    fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.put_slice(bytes);
        self
    }
}

impl Put for Vec<u8> {
    fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.extend_from_slice(bytes);
        self
    }
}
