//! Frames and messages of PostgreSQL's protocol 3, without sockets: bytes in, borrowed views out.
//!
//! A frame is cut by its header first; every view is then read from exactly that frame's body, so a
//! message can never reach into its neighbour. Chapter "Message Formats" of PostgreSQL's manual is
//! what the views follow; limits cite `postgres.c` and `pqformat.c`.

pub mod backend;
pub mod encode;
pub mod frontend;
pub mod startup;

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;

/// The type byte and the length word.
pub const HEADER: usize = 5;

/// `PQ_SMALL_MESSAGE_LIMIT`: messages that hold a name and a few numbers.
pub const SMALL_MESSAGE: usize = 10_000;

/// Where a frame ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub tag: u8,
    /// The whole frame: type byte, length word and body.
    pub len: usize,
}

/// The stream itself is broken: nothing after this can be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("invalid message type {0}")]
    Type(u8),
    #[error("invalid message length")]
    Length,
    #[error("a message of type {} has {len} bytes; at most {limit} are accepted", char::from(*tag))]
    TooLarge { tag: u8, len: usize, limit: usize },
}

/// One message's body is not what its type demands; the next frame is still readable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    #[error("insufficient data left in message")]
    Short,
    #[error("invalid string in message")]
    String,
    #[error("invalid message format")]
    Trailing,
    #[error("invalid {0} in message")]
    Value(&'static str),
}

/// Reads a header without judging its type. `None`: not all of it is here yet.
pub fn header(buf: &[u8]) -> Result<Option<Header>, FrameError> {
    let Some((&tag, rest)) = buf.split_first() else {
        return Ok(None);
    };
    let Some(word) = rest.first_chunk::<4>() else {
        return Ok(None);
    };
    // The length counts itself, not the type byte.
    match usize::try_from(i32::from_be_bytes(*word)) {
        Ok(len) if len >= 4 => Ok(Some(Header { tag, len: len + 1 })),
        _ => Err(FrameError::Length),
    }
}

/// Reads one message's body from front to back.
#[derive(Debug, Clone, Copy)]
pub struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub fn take(&mut self, n: usize) -> Result<&'a [u8], MessageError> {
        let (head, tail) = self.rest.split_at_checked(n).ok_or(MessageError::Short)?;
        self.rest = tail;
        Ok(head)
    }

    fn chunk<const N: usize>(&mut self) -> Result<[u8; N], MessageError> {
        let (head, tail) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(MessageError::Short)?;
        self.rest = tail;
        Ok(*head)
    }

    pub fn u8(&mut self) -> Result<u8, MessageError> {
        self.chunk::<1>().map(|[b]| b)
    }

    pub fn i16(&mut self) -> Result<i16, MessageError> {
        self.chunk().map(i16::from_be_bytes)
    }

    pub fn u16(&mut self) -> Result<u16, MessageError> {
        self.chunk().map(u16::from_be_bytes)
    }

    pub fn i32(&mut self) -> Result<i32, MessageError> {
        self.chunk().map(i32::from_be_bytes)
    }

    pub fn u32(&mut self) -> Result<u32, MessageError> {
        self.chunk().map(u32::from_be_bytes)
    }

    /// Up to the next NUL, which is consumed.
    pub fn cstr(&mut self) -> Result<&'a [u8], MessageError> {
        let end = self
            .rest
            .iter()
            .position(|b| *b == 0)
            .ok_or(MessageError::String)?;
        let text = self.take(end)?;
        self.take(1)?;
        Ok(text)
    }

    /// A value with its length in front; `-1` is NULL.
    pub fn value(&mut self) -> Result<Option<&'a [u8]>, MessageError> {
        match self.i32()? {
            -1 => Ok(None),
            n => {
                let n = usize::try_from(n).map_err(|_| MessageError::Short)?;
                self.take(n).map(Some)
            }
        }
    }

    /// `pq_getmsgend`: nothing may follow.
    pub fn end(self) -> Result<(), MessageError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(MessageError::Trailing)
        }
    }
}

/// Every reader of this module on the same bytes: nothing may panic. For fuzzing.
#[doc(hidden)]
pub fn read_everything(bytes: &[u8]) {
    let limits = frontend::FrameLimits {
        text: 1 << 20,
        data: 1 << 20,
    };
    let _ = frontend::header(bytes, limits);
    let _ = header(bytes);
    let _ = startup::length(bytes);
    let _ = startup::packet(bytes);
    for body in [bytes, bytes.get(HEADER..).unwrap_or_default()] {
        let _ = frontend::query(body);
        let _ = frontend::parse(body);
        let _ = frontend::bind(body);
        let _ = frontend::object(body);
        let _ = frontend::execute(body);
        let _ = frontend::function_call(body);
        let _ = backend::row_description(body);
        let _ = backend::data_row(body);
        let _ = backend::report(body);
        let _ = backend::ready(body);
        let _ = backend::command(body);
        let _ = backend::parameter(body);
        let _ = backend::notification(body);
        let _ = backend::copy_out(body);
        let _ = backend::key_data(body);
        let _ = backend::negotiated(body);
        let _ = backend::authentication(body);
    }
}
