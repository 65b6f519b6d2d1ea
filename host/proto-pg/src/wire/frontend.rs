//! What clients send after startup.

use super::{Cursor, FrameError, HEADER, Header, MessageError, SMALL_MESSAGE};

/// Every message type that a client may send to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    Query,
    Parse,
    Bind,
    Describe,
    Execute,
    Close,
    Flush,
    Sync,
    FunctionCall,
    CopyData,
    CopyDone,
    CopyFail,
    Terminate,
}

impl Tag {
    pub fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            b'Q' => Self::Query,
            b'P' => Self::Parse,
            b'B' => Self::Bind,
            b'D' => Self::Describe,
            b'E' => Self::Execute,
            b'C' => Self::Close,
            b'H' => Self::Flush,
            b'S' => Self::Sync,
            b'F' => Self::FunctionCall,
            b'd' => Self::CopyData,
            b'c' => Self::CopyDone,
            b'f' => Self::CopyFail,
            b'X' => Self::Terminate,
            _ => return None,
        })
    }
}

/// The largest frame of each kind.
#[derive(Debug, Clone, Copy)]
pub struct FrameLimits {
    /// Query, Parse.
    pub text: usize,
    /// Bind, FunctionCall, CopyData.
    pub data: usize,
}

/// Cuts the next frame's header and judges type and size before a byte of the body is waited for.
pub fn header(buf: &[u8], limits: FrameLimits) -> Result<Option<(Tag, Header)>, FrameError> {
    // The type is known to be wrong before its length arrives.
    let Some(&byte) = buf.first() else {
        return Ok(None);
    };
    let tag = Tag::from_byte(byte).ok_or(FrameError::Type(byte))?;
    let Some(header) = super::header(buf)? else {
        return Ok(None);
    };
    let limit = match tag {
        Tag::Query | Tag::Parse => limits.text,
        Tag::Bind | Tag::FunctionCall | Tag::CopyData => limits.data,
        _ => SMALL_MESSAGE,
    };
    if header.len > limit + HEADER {
        return Err(FrameError::TooLarge {
            tag: byte,
            len: header.len,
            limit,
        });
    }
    Ok(Some((tag, header)))
}

/// Query: exactly one string.
pub fn query(body: &[u8]) -> Result<&[u8], MessageError> {
    let mut c = Cursor::new(body);
    let sql = c.cstr()?;
    c.end()?;
    Ok(sql)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parse<'a> {
    pub name: &'a [u8],
    pub sql: &'a [u8],
    /// Parameter type OIDs, four bytes each.
    pub types: &'a [u8],
}

pub fn parse(body: &[u8]) -> Result<Parse<'_>, MessageError> {
    let mut c = Cursor::new(body);
    let name = c.cstr()?;
    let sql = c.cstr()?;
    let count = c.u16()?;
    let types = c.take(usize::from(count) * 4)?;
    c.end()?;
    Ok(Parse { name, sql, types })
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind<'a> {
    pub portal: &'a [u8],
    pub statement: &'a [u8],
    /// Everything after the two names, as it travels.
    pub rest: &'a [u8],
    pub params: Vec<Option<&'a [u8]>>,
    /// Of the parameters: none for all text, one for all, or one each.
    pub formats: Vec<i16>,
    /// None: all text. One: for all columns. Else one per column.
    pub result_formats: Vec<i16>,
}

pub fn bind(body: &[u8]) -> Result<Bind<'_>, MessageError> {
    let mut c = Cursor::new(body);
    let portal = c.cstr()?;
    let statement = c.cstr()?;
    let rest = c.rest();
    let formats = self::formats(&mut c)?;
    let count = usize::from(c.u16()?);
    if formats.len() > 1 && formats.len() != count {
        return Err(MessageError::Value("number of parameter formats"));
    }
    // Four bytes at least for each: a lie about the count cannot make us allocate.
    if count * 4 > c.rest().len() {
        return Err(MessageError::Short);
    }
    let mut params = Vec::with_capacity(count);
    for _ in 0..count {
        params.push(c.value()?);
    }
    let result_formats = self::formats(&mut c)?;
    c.end()?;
    Ok(Bind {
        portal,
        statement,
        rest,
        params,
        formats,
        result_formats,
    })
}

fn formats(c: &mut Cursor<'_>) -> Result<Vec<i16>, MessageError> {
    let count = usize::from(c.u16()?);
    let mut bytes = Cursor::new(c.take(count * 2)?);
    let mut out = Vec::with_capacity(count);
    for _ in 0..count {
        match bytes.i16()? {
            f @ (0 | 1) => out.push(f),
            _ => return Err(MessageError::Value("format code")),
        }
    }
    Ok(out)
}

/// What Describe and Close are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Object<'a> {
    Statement(&'a [u8]),
    Portal(&'a [u8]),
}

impl<'a> Object<'a> {
    /// The same kind of thing under another name.
    pub fn named<'n>(&self, name: &'n [u8]) -> Object<'n> {
        match self {
            Self::Statement(_) => Object::Statement(name),
            Self::Portal(_) => Object::Portal(name),
        }
    }

    pub fn name(&self) -> &'a [u8] {
        match self {
            Self::Statement(name) | Self::Portal(name) => name,
        }
    }
}

pub fn object(body: &[u8]) -> Result<Object<'_>, MessageError> {
    let mut c = Cursor::new(body);
    let kind = c.u8()?;
    let name = c.cstr()?;
    c.end()?;
    match kind {
        b'S' => Ok(Object::Statement(name)),
        b'P' => Ok(Object::Portal(name)),
        _ => Err(MessageError::Value("DESCRIBE or CLOSE message subtype")),
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionCall<'a> {
    pub function: u32,
    pub arguments: Vec<Option<&'a [u8]>>,
    /// As those of a Bind.
    pub formats: Vec<i16>,
}

/// The format of one of several values, as Bind and FunctionCall name them.
pub fn format_of(formats: &[i16], position: usize) -> i16 {
    match formats {
        [] => 0,
        [one] => *one,
        many => many.get(position).copied().unwrap_or(0),
    }
}

pub fn function_call(body: &[u8]) -> Result<FunctionCall<'_>, MessageError> {
    let mut c = Cursor::new(body);
    let function = c.u32()?;
    let formats = self::formats(&mut c)?;
    let count = usize::from(c.u16()?);
    if formats.len() > 1 && formats.len() != count {
        return Err(MessageError::Value("number of argument formats"));
    }
    if count * 4 > c.rest().len() {
        return Err(MessageError::Short);
    }
    let mut arguments = Vec::with_capacity(count);
    for _ in 0..count {
        arguments.push(c.value()?);
    }
    match c.i16()? {
        0 | 1 => {}
        _ => return Err(MessageError::Value("format code")),
    }
    c.end()?;
    Ok(FunctionCall {
        function,
        arguments,
        formats,
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Execute<'a> {
    pub portal: &'a [u8],
    /// 0: all rows.
    pub max_rows: i32,
}

pub fn execute(body: &[u8]) -> Result<Execute<'_>, MessageError> {
    let mut c = Cursor::new(body);
    let portal = c.cstr()?;
    let max_rows = c.i32()?;
    c.end()?;
    Ok(Execute { portal, max_rows })
}
