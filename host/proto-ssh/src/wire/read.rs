//! Reading the data types of RFC 4251 section 5.

/// A message is not laid out as its number says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    #[error("a message is cut off")]
    Short,
    #[error("a message has {0} bytes too many")]
    Trailing(usize),
    #[error("a message has the number {0}, which nothing here knows")]
    Unknown(u8),
    #[error("a list of names holds something else than printable ASCII")]
    Names,
    #[error("a number is not written as RFC 4251 wants it")]
    Mpint,
}

/// Reads one message from its first byte on.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub fn bytes(&mut self, n: usize) -> Result<&'a [u8], WireError> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or(WireError::Short)?;
        self.rest = rest;
        Ok(head)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(WireError::Short)?;
        self.rest = rest;
        Ok(*head)
    }

    pub fn u8(&mut self) -> Result<u8, WireError> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    /// Everything but 0 is true.
    pub fn bool(&mut self) -> Result<bool, WireError> {
        Ok(self.u8()? != 0)
    }

    pub fn u32(&mut self) -> Result<u32, WireError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub fn u64(&mut self) -> Result<u64, WireError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    pub fn string(&mut self) -> Result<&'a [u8], WireError> {
        let n = self.u32()? as usize;
        self.bytes(n)
    }

    /// Names separated by commas; empty names are left out.
    pub fn names(&mut self) -> Result<impl Iterator<Item = &'a str> + Clone + use<'a>, WireError> {
        let list = self.string()?;
        if !list.iter().all(|b| (0x21..0x7f).contains(b)) {
            return Err(WireError::Names);
        }
        let list = std::str::from_utf8(list).map_err(|_| WireError::Names)?;
        Ok(list.split(',').filter(|name| !name.is_empty()))
    }

    /// A number that is not negative, without leading zeros.
    pub fn mpint(&mut self) -> Result<&'a [u8], WireError> {
        match self.string()? {
            [] => Ok(&[]),
            [0, rest @ ..] if rest.first().is_some_and(|b| b & 0x80 != 0) => Ok(rest),
            whole @ [first, ..] if *first != 0 && first & 0x80 == 0 => Ok(whole),
            _ => Err(WireError::Mpint),
        }
    }

    /// Nothing may follow.
    pub fn end(self) -> Result<(), WireError> {
        match self.rest.len() {
            0 => Ok(()),
            n => Err(WireError::Trailing(n)),
        }
    }
}
