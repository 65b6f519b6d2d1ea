//! What servers send.

use super::{Cursor, MessageError};
use crate::analysis::Field;

/// RowDescription. A name that is not UTF-8 is replaced: names are compared with nothing here.
pub fn row_description(body: &[u8]) -> Result<Vec<Field>, MessageError> {
    let mut c = Cursor::new(body);
    let count = usize::from(c.u16()?);
    // At least 19 bytes each.
    if count * 19 > c.rest().len() {
        return Err(MessageError::Short);
    }
    let mut fields = Vec::with_capacity(count);
    for _ in 0..count {
        fields.push(Field {
            name: String::from_utf8_lossy(c.cstr()?).into_owned(),
            table_oid: c.u32()?,
            attnum: c.i16()?,
            type_oid: c.u32()?,
            type_len: c.i16()?,
            type_mod: c.i32()?,
            format: c.i16()?,
        });
    }
    c.end()?;
    Ok(fields)
}

/// ParameterDescription: OIDs of types, four bytes each.
pub fn parameter_types(body: &[u8]) -> Result<&[u8], MessageError> {
    let mut c = Cursor::new(body);
    let count = usize::from(c.u16()?);
    let types = c.take(count * 4)?;
    c.end()?;
    Ok(types)
}

/// DataRow, for our own queries: every value as it is.
pub fn data_row(body: &[u8]) -> Result<Vec<Option<&[u8]>>, MessageError> {
    let mut c = Cursor::new(body);
    let count = usize::from(c.u16()?);
    if count * 4 > c.rest().len() {
        return Err(MessageError::Short);
    }
    let mut row = Vec::with_capacity(count);
    for _ in 0..count {
        row.push(c.value()?);
    }
    c.end()?;
    Ok(row)
}

/// ErrorResponse or NoticeResponse: pairs of a code and a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report<'a> {
    pub fields: Vec<(u8, &'a [u8])>,
}

impl<'a> Report<'a> {
    pub fn get(&self, code: u8) -> Option<&'a [u8]> {
        self.fields
            .iter()
            .find(|(c, _)| *c == code)
            .map(|(_, v)| *v)
    }

    /// The severity that is never translated (PostgreSQL 9.6 and later), else the other.
    pub fn severity(&self) -> &'a [u8] {
        self.get(b'V')
            .or_else(|| self.get(b'S'))
            .unwrap_or(b"ERROR")
    }

    /// Will the server close the connection after this?
    pub fn is_fatal(&self) -> bool {
        matches!(self.severity(), b"FATAL" | b"PANIC")
    }

    pub fn sqlstate(&self) -> String {
        match self.get(b'C') {
            Some(code) => String::from_utf8_lossy(code).into_owned(),
            None => "XX000".to_owned(),
        }
    }
}

pub fn report(body: &[u8]) -> Result<Report<'_>, MessageError> {
    let mut c = Cursor::new(body);
    let mut fields = Vec::new();
    loop {
        match c.u8()? {
            0 => break,
            code => fields.push((code, c.cstr()?)),
        }
    }
    c.end()?;
    Ok(Report { fields })
}

/// Where the server stands between statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TxStatus {
    Idle,
    InTransaction,
    Failed,
}

impl TxStatus {
    pub fn as_byte(self) -> u8 {
        match self {
            Self::Idle => b'I',
            Self::InTransaction => b'T',
            Self::Failed => b'E',
        }
    }
}

pub fn ready(body: &[u8]) -> Result<TxStatus, MessageError> {
    let mut c = Cursor::new(body);
    let status = c.u8()?;
    c.end()?;
    match status {
        b'I' => Ok(TxStatus::Idle),
        b'T' => Ok(TxStatus::InTransaction),
        b'E' => Ok(TxStatus::Failed),
        _ => Err(MessageError::Value("transaction status")),
    }
}

/// CopyOutResponse: is it binary, and how many columns are there?
pub fn copy_out(body: &[u8]) -> Result<(bool, usize), MessageError> {
    let mut c = Cursor::new(body);
    let binary = match c.u8()? {
        0 => false,
        1 => true,
        _ => return Err(MessageError::Value("COPY format")),
    };
    let columns = usize::from(c.u16()?);
    for _ in 0..columns {
        c.u16()?;
    }
    c.end()?;
    Ok((binary, columns))
}

/// CommandComplete's tag.
pub fn command(body: &[u8]) -> Result<&[u8], MessageError> {
    let mut c = Cursor::new(body);
    let tag = c.cstr()?;
    c.end()?;
    Ok(tag)
}

/// ParameterStatus.
pub fn parameter(body: &[u8]) -> Result<(&[u8], &[u8]), MessageError> {
    let mut c = Cursor::new(body);
    let pair = (c.cstr()?, c.cstr()?);
    c.end()?;
    Ok(pair)
}

/// NotificationResponse: who notified, the channel, the payload.
pub fn notification(body: &[u8]) -> Result<(u32, &[u8], &[u8]), MessageError> {
    let mut c = Cursor::new(body);
    let told = (c.u32()?, c.cstr()?, c.cstr()?);
    c.end()?;
    Ok(told)
}

/// NegotiateProtocolVersion: the version to go on with, of those that there are (3.0 to 3.2), and the
/// options that the server does not know.
pub fn negotiated(body: &[u8]) -> Result<(u32, Vec<&[u8]>), MessageError> {
    let mut c = Cursor::new(body);
    let version = c.u32()?;
    let mut unknown = Vec::new();
    for _ in 0..c.u32()? {
        unknown.push(c.cstr()?);
    }
    c.end()?;
    match version {
        super::startup::PROTOCOL_3_0..=super::startup::PROTOCOL_3_2 => Ok((version, unknown)),
        _ => Err(MessageError::Value("protocol version")),
    }
}

/// BackendKeyData: the process and its secret, 4 bytes in protocol 3.0, up to 256 in 3.2.
pub fn key_data(body: &[u8]) -> Result<(u32, &[u8]), MessageError> {
    let mut c = Cursor::new(body);
    let pid = c.u32()?;
    match c.rest() {
        secret if (4..=256).contains(&secret.len()) => Ok((pid, secret)),
        _ => Err(MessageError::Value("cancel key")),
    }
}

/// Authentication requests that we know how to answer, or to refuse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authentication<'a> {
    Ok,
    Cleartext,
    Md5([u8; 4]),
    Sasl(Vec<&'a [u8]>),
    SaslContinue(&'a [u8]),
    SaslFinal(&'a [u8]),
    /// Kerberos, GSSAPI, SSPI and whatever comes.
    Other(i32),
}

pub fn authentication(body: &[u8]) -> Result<Authentication<'_>, MessageError> {
    let mut c = Cursor::new(body);
    let auth = match c.i32()? {
        0 => Authentication::Ok,
        3 => Authentication::Cleartext,
        5 => {
            let salt = c.u32()?.to_be_bytes();
            Authentication::Md5(salt)
        }
        10 => {
            let mut mechanisms = Vec::new();
            loop {
                match c.cstr()? {
                    [] => break,
                    name => mechanisms.push(name),
                }
            }
            Authentication::Sasl(mechanisms)
        }
        11 => return Ok(Authentication::SaslContinue(c.rest())),
        12 => return Ok(Authentication::SaslFinal(c.rest())),
        other => return Ok(Authentication::Other(other)),
    };
    c.end()?;
    Ok(auth)
}
