//! The data types of RFC 4251 section 5, read and written. Keys are read without `proto-ssh`, so this is the
//! part of its `wire` that they need.

/// Bytes that are not laid out as their kind wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    #[error("it is cut off")]
    Short,
    #[error("it has {0} bytes too many")]
    Trailing(usize),
    #[error("a number in it is negative, or has leading zeros")]
    Number,
    #[error("a text in it is not printable UTF-8")]
    Text,
    #[error("it has {len} bytes, more than {max}")]
    Long { len: usize, max: usize },
    #[error("it is not base64")]
    Base64,
}

pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let (head, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(FormatError::Short)?;
        self.rest = rest;
        Ok(*head)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, FormatError> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    pub(crate) fn uint32(&mut self) -> Result<u32, FormatError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(crate) fn uint64(&mut self) -> Result<u64, FormatError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    pub(crate) fn string(&mut self) -> Result<&'a [u8], FormatError> {
        let n = self.uint32()? as usize;
        let (head, rest) = self.rest.split_at_checked(n).ok_or(FormatError::Short)?;
        self.rest = rest;
        Ok(head)
    }

    /// A string of exactly this length.
    pub(crate) fn exactly<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let mut inner = Reader::new(self.string()?);
        let array = inner.array()?;
        inner.end()?;
        Ok(array)
    }

    /// Text that a log line can show: no control characters.
    pub(crate) fn text(&mut self) -> Result<&'a str, FormatError> {
        let text = std::str::from_utf8(self.string()?).map_err(|_| FormatError::Text)?;
        match text.chars().any(char::is_control) {
            true => Err(FormatError::Text),
            false => Ok(text),
        }
    }

    /// A number that is not negative, without leading zeros; zero is empty.
    pub(crate) fn mpint(&mut self) -> Result<&'a [u8], FormatError> {
        match self.string()? {
            [] => Ok(&[]),
            [0, rest @ ..] if rest.first().is_some_and(|b| b & 0x80 != 0) => Ok(rest),
            whole @ [first, ..] if *first != 0 && first & 0x80 == 0 => Ok(whole),
            _ => Err(FormatError::Number),
        }
    }

    pub(crate) fn end(self) -> Result<(), FormatError> {
        match self.rest.len() {
            0 => Ok(()),
            n => Err(FormatError::Trailing(n)),
        }
    }
}

/// Lengths beyond 32 bits do not occur: everything that is read is bounded, and what is written comes from it.
pub(crate) trait Put {
    fn raw(&mut self, bytes: &[u8]) -> &mut Self;

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

    /// A number that is not negative, big-endian, with or without leading zeros.
    fn mpint(&mut self, number: &[u8]) -> &mut Self {
        let number = trim(number);
        let pad: &[u8] = match number.first() {
            Some(first) if first & 0x80 != 0 => &[0],
            _ => &[],
        };
        let len = number.len() + pad.len();
        self.uint32(u32::try_from(len).unwrap_or(u32::MAX))
            .raw(pad)
            .raw(number)
    }
}

impl Put for Vec<u8> {
    fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.extend_from_slice(bytes);
        self
    }
}

/// A number without its leading zeros.
pub(crate) fn trim(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|b| **b == 0).count();
    number.get(zeros..).unwrap_or_default()
}
