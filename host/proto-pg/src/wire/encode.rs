//! Writes messages. Strings that travel as C strings must not hold a NUL; what comes from outside is
//! cut at the first one.

use bytes::{BufMut, BytesMut};

use super::backend::TxStatus;

/// One frame: the closure writes the body.
pub fn frame(out: &mut BytesMut, tag: u8, body: impl FnOnce(&mut BytesMut)) {
    out.put_u8(tag);
    length_prefixed(out, body);
}

/// A length word that counts itself, then the body: startup packets have no type byte.
pub fn length_prefixed(out: &mut BytesMut, body: impl FnOnce(&mut BytesMut)) {
    let at = out.len();
    out.put_u32(0);
    body(out);
    let len = u32::try_from(out.len() - at).unwrap_or(u32::MAX);
    if let Some(word) = out.get_mut(at..at + 4) {
        word.copy_from_slice(&len.to_be_bytes());
    }
}

pub fn cstr(out: &mut BytesMut, text: &[u8]) {
    let end = text.iter().position(|b| *b == 0).unwrap_or(text.len());
    out.put_slice(text.get(..end).unwrap_or_default());
    out.put_u8(0);
}

/// What an ErrorResponse or NoticeResponse of our own says.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    pub severity: &'a str,
    pub sqlstate: &'a str,
    pub message: &'a str,
    pub detail: Option<&'a str>,
    pub hint: Option<&'a str>,
    /// In the client's own text, in characters from one.
    pub position: Option<u32>,
}

fn report(out: &mut BytesMut, tag: u8, r: &Report<'_>) {
    frame(out, tag, |b| {
        let position = r.position.map(|p| p.to_string());
        let fields = [
            (b'S', Some(r.severity)),
            (b'V', Some(r.severity)),
            (b'C', Some(r.sqlstate)),
            (b'M', Some(r.message)),
            (b'D', r.detail),
            (b'H', r.hint),
            (b'P', position.as_deref()),
        ];
        for (code, text) in fields {
            if let Some(text) = text {
                b.put_u8(code);
                cstr(b, text.as_bytes());
            }
        }
        b.put_u8(0);
    });
}

pub fn error(out: &mut BytesMut, r: &Report<'_>) {
    report(out, b'E', r);
}

pub fn notice(out: &mut BytesMut, r: &Report<'_>) {
    report(out, b'N', r);
}

/// ErrorResponse or NoticeResponse with the given fields only.
pub fn report_fields(out: &mut BytesMut, tag: u8, fields: &[(u8, &[u8])]) {
    frame(out, tag, |b| {
        for (code, text) in fields {
            b.put_u8(*code);
            cstr(b, text);
        }
        b.put_u8(0);
    });
}

pub fn ready(out: &mut BytesMut, status: TxStatus) {
    frame(out, b'Z', |b| b.put_u8(status.as_byte()));
}

pub fn parameter(out: &mut BytesMut, name: &[u8], value: &[u8]) {
    frame(out, b'S', |b| {
        cstr(b, name);
        cstr(b, value);
    });
}

pub fn notification(out: &mut BytesMut, process: u32, channel: &[u8], payload: &[u8]) {
    frame(out, b'A', |b| {
        b.put_u32(process);
        cstr(b, channel);
        cstr(b, payload);
    });
}

/// RowDescription, for the record.
pub fn row_description(out: &mut BytesMut, fields: &[crate::analysis::Field]) {
    frame(out, b'T', |b| {
        b.put_u16(u16::try_from(fields.len()).unwrap_or(u16::MAX));
        for field in fields {
            cstr(b, field.name.as_bytes());
            b.put_u32(field.table_oid);
            b.put_i16(field.attnum);
            b.put_u32(field.type_oid);
            b.put_i16(field.type_len);
            b.put_i32(field.type_mod);
            b.put_i16(field.format);
        }
    });
}

pub fn key_data(out: &mut BytesMut, pid: u32, secret: &[u8]) {
    frame(out, b'K', |b| {
        b.put_u32(pid);
        b.put_slice(secret);
    });
}

pub fn authentication_ok(out: &mut BytesMut) {
    frame(out, b'R', |b| b.put_i32(0));
}

pub fn authentication_cleartext(out: &mut BytesMut) {
    frame(out, b'R', |b| b.put_i32(3));
}

/// AuthenticationSASL with one mechanism.
pub fn authentication_sasl(out: &mut BytesMut, mechanism: &[u8]) {
    frame(out, b'R', |b| {
        b.put_i32(10);
        cstr(b, mechanism);
        b.put_u8(0);
    });
}

pub fn authentication_sasl_continue(out: &mut BytesMut, challenge: &[u8]) {
    frame(out, b'R', |b| {
        b.put_i32(11);
        b.put_slice(challenge);
    });
}

/// NegotiateProtocolVersion: the newest version we speak and the options we do not know.
pub fn negotiate_version(out: &mut BytesMut, version: u32, unknown: &[Vec<u8>]) {
    frame(out, b'v', |b| {
        b.put_u32(version);
        b.put_u32(u32::try_from(unknown.len()).unwrap_or(u32::MAX));
        for option in unknown {
            cstr(b, option);
        }
    });
}

pub fn copy_fail(out: &mut BytesMut, reason: &[u8]) {
    frame(out, b'f', |b| cstr(b, reason));
}

pub fn query(out: &mut BytesMut, sql: &[u8]) {
    frame(out, b'Q', |b| cstr(b, sql));
}

/// Parse; `types` are OIDs, four bytes each.
pub fn parse(out: &mut BytesMut, name: &[u8], sql: &[u8], types: &[u8]) {
    frame(out, b'P', |b| {
        cstr(b, name);
        cstr(b, sql);
        b.put_u16(u16::try_from(types.len() / 4).unwrap_or(u16::MAX));
        b.put_slice(types);
    });
}

/// Bind; `rest` is everything after the two names, as it travels.
pub fn bind(out: &mut BytesMut, portal: &[u8], statement: &[u8], rest: &[u8]) {
    frame(out, b'B', |b| {
        cstr(b, portal);
        cstr(b, statement);
        b.put_slice(rest);
    });
}

/// Bind without parameters, all results as text.
pub const BIND_PLAIN: &[u8] = &[0, 0, 0, 0, 0, 0];

/// The rest of a Bind with these parameters, all of it text.
pub fn texts(parameters: &[String]) -> BytesMut {
    let mut rest = BytesMut::new();
    rest.put_u16(0);
    rest.put_u16(u16::try_from(parameters.len()).unwrap_or(u16::MAX));
    for parameter in parameters {
        rest.put_u32(u32::try_from(parameter.len()).unwrap_or(u32::MAX));
        rest.put_slice(parameter.as_bytes());
    }
    rest.put_u16(0);
    rest
}

/// Describe (`D`) or Close (`C`) of a statement (`S`) or portal (`P`).
pub fn object(out: &mut BytesMut, tag: u8, kind: u8, name: &[u8]) {
    frame(out, tag, |b| {
        b.put_u8(kind);
        cstr(b, name);
    });
}

pub fn execute(out: &mut BytesMut, portal: &[u8], max_rows: i32) {
    frame(out, b'E', |b| {
        cstr(b, portal);
        b.put_i32(max_rows);
    });
}

pub fn empty(out: &mut BytesMut, tag: u8) {
    frame(out, tag, |_| {});
}

/// PasswordMessage, SASLInitialResponse, SASLResponse.
pub fn password(out: &mut BytesMut, body: &[u8]) {
    frame(out, b'p', |b| b.put_slice(body));
}
