//! Makes recorded PostgreSQL messages readable. Small, bounded and total: it reads what may be
//! anything, and what it does not understand it says so.

use crate::text::clean;

/// A message longer than this is not collected.
const MAX_FRAME: usize = 64 << 20;
/// Columns of one row that are printed.
const MAX_COLUMNS: usize = 1664;

/// Which peer wrote the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    Server,
    Client,
}

struct Column {
    name: String,
    oid: u32,
    binary: bool,
}

/// Decodes one direction of a session.
pub struct Frames {
    writer: Writer,
    /// A longer message is told of and left out.
    longest: usize,
    buf: Vec<u8>,
    /// So many bytes are what is left of such a message.
    skip: usize,
    columns: Vec<Column>,
    /// The action whose result has them: another's may have as many, of other types.
    described: Option<u64>,
    /// The bytes made no sense; the rest of them is only counted.
    lost: Option<u64>,
}

impl Frames {
    /// Shows no message with more bytes, and never holds more.
    pub fn up_to(longest: usize, writer: Writer) -> Self {
        Self {
            writer,
            longest: longest.min(MAX_FRAME),
            buf: Vec::new(),
            skip: 0,
            columns: Vec::new(),
            described: None,
            lost: None,
        }
    }

    /// Takes recorded bytes of an action; gives the lines of every message that is complete.
    pub fn feed(&mut self, seq: u64, bytes: &[u8], line: &mut dyn FnMut(String)) {
        if let Some(lost) = &mut self.lost {
            *lost += bytes.len() as u64;
            return;
        }
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        self.buf
            .extend_from_slice(bytes.get(skipped..).unwrap_or_default());
        let mut buf = std::mem::take(&mut self.buf);
        let mut rest = buf.as_slice();
        while let Some((tag, len)) = head(rest) {
            if !(4..=MAX_FRAME).contains(&len) || !tag.is_ascii_alphanumeric() {
                line(format!("({} bytes that are no messages)", rest.len()));
                self.lost = Some(rest.len() as u64);
                return;
            }
            if len > self.longest {
                let tag = char::from(tag);
                line(format!(
                    "(message {tag:?}, {len} bytes: too long to be shown here)"
                ));
                let (here, after) = rest.split_at(rest.len().min(1 + len));
                self.skip = 1 + len - here.len();
                rest = after;
                continue;
            }
            let Some((frame, after)) = rest.split_at_checked(1 + len) else {
                break;
            };
            self.frame(seq, tag, frame.get(5..).unwrap_or_default(), line);
            rest = after;
        }
        let done = buf.len() - rest.len();
        buf.drain(..done);
        self.buf = buf;
    }

    /// Says what was left over.
    pub fn finish(&mut self, line: &mut dyn FnMut(String)) {
        if let Some(lost) = self.lost {
            line(format!("({lost} bytes could not be read as messages)"));
        }
        if !self.buf.is_empty() {
            line(format!(
                "({} bytes of an unfinished message)",
                self.buf.len()
            ));
        }
    }

    fn frame(&mut self, seq: u64, tag: u8, body: &[u8], line: &mut dyn FnMut(String)) {
        let shown = match (self.writer, tag) {
            (Writer::Server, b'T') => self.row_description(seq, body),
            (Writer::Server, b'D') => self.data_row(seq, body),
            (Writer::Server, b'C') => cstr(&mut &*body).map(|tag| format!("→ {tag}")),
            (Writer::Server, b'E') => notice("ERROR", body),
            (Writer::Server, b'N') => notice("NOTICE", body),
            (Writer::Server, b'A') => notification(body),
            (Writer::Server, b'S') => parameter_status(body),
            // Answers without content: parse and bind complete, ready for query, and the like.
            (Writer::Server, b'1' | b'2' | b'3' | b'n' | b's' | b't' | b'I' | b'Z' | b'c') => {
                return;
            }
            (Writer::Server, b'G' | b'H' | b'W') => Some("(copy begins)".into()),
            (_, b'd') => Some(format!("copy: {}", copied(body))),
            (Writer::Client, b'c') => return,
            (Writer::Client, b'f') => cstr(&mut &*body).map(|why| format!("copy failed: {why}")),
            _ => None,
        };
        line(
            shown.unwrap_or_else(|| {
                format!("(message {:?}, {} bytes)", char::from(tag), body.len())
            }),
        );
    }

    fn row_description(&mut self, seq: u64, mut body: &[u8]) -> Option<String> {
        let count = usize::from(u16_be(&mut body)?);
        let mut columns = Vec::with_capacity(count.min(MAX_COLUMNS));
        for _ in 0..count {
            let name = cstr(&mut body)?;
            let _table = u32_be(&mut body)?;
            let _attribute = u16_be(&mut body)?;
            let oid = u32_be(&mut body)?;
            let _size = u16_be(&mut body)?;
            let _modifier = u32_be(&mut body)?;
            let binary = u16_be(&mut body)? != 0;
            columns.push(Column { name, oid, binary });
        }
        let names: Vec<&str> = columns.iter().map(|c| c.name.as_str()).collect();
        let shown = format!("[{}]", names.join(" | "));
        self.columns = columns;
        self.described = Some(seq);
        Some(shown)
    }

    fn data_row(&self, seq: u64, mut body: &[u8]) -> Option<String> {
        let count = usize::from(u16_be(&mut body)?);
        // Without a description of its own, the client knew it from earlier.
        let known = self.described == Some(seq) && self.columns.len() == count;
        let mut values = Vec::with_capacity(count.min(MAX_COLUMNS));
        for position in 0..count {
            let len = u32_be(&mut body)?;
            if len == u32::MAX {
                values.push("(null)".to_owned());
                continue;
            }
            let (value, rest) = body.split_at_checked(len as usize)?;
            body = rest;
            let column = self.columns.get(position).filter(|_| known);
            values.push(show(value, column));
        }
        Some(format!("  {}", values.join(" | ")))
    }
}

fn head(bytes: &[u8]) -> Option<(u8, usize)> {
    let (tag, rest) = bytes.split_first()?;
    let len = rest.first_chunk::<4>()?;
    Some((*tag, u32::from_be_bytes(*len) as usize))
}

fn u16_be(bytes: &mut &[u8]) -> Option<u16> {
    let (value, rest) = bytes.split_first_chunk::<2>()?;
    *bytes = rest;
    Some(u16::from_be_bytes(*value))
}

fn u32_be(bytes: &mut &[u8]) -> Option<u32> {
    let (value, rest) = bytes.split_first_chunk::<4>()?;
    *bytes = rest;
    Some(u32::from_be_bytes(*value))
}

fn cstr(bytes: &mut &[u8]) -> Option<String> {
    let end = bytes.iter().position(|b| *b == 0)?;
    let (text, rest) = bytes.split_at_checked(end)?;
    *bytes = rest.get(1..)?;
    Some(clean(&String::from_utf8_lossy(text)))
}

fn show(value: &[u8], column: Option<&Column>) -> String {
    let text = || match std::str::from_utf8(value) {
        Ok(text) => clean(text),
        Err(_) => format!("0x{}", hex::encode(value)),
    };
    let Some(column) = column.filter(|c| c.binary) else {
        return text();
    };
    // Object ids of pg_type.dat: the types whose binary format is one number, and texts.
    let number = match (column.oid, value) {
        (16, [b]) => Some((*b != 0).to_string()),
        (21, _) => value
            .try_into()
            .ok()
            .map(|v| i16::from_be_bytes(v).to_string()),
        (23, _) => value
            .try_into()
            .ok()
            .map(|v| i32::from_be_bytes(v).to_string()),
        (20, _) => value
            .try_into()
            .ok()
            .map(|v| i64::from_be_bytes(v).to_string()),
        (26, _) => value
            .try_into()
            .ok()
            .map(|v| u32::from_be_bytes(v).to_string()),
        (700, _) => value
            .try_into()
            .ok()
            .map(|v| f32::from_be_bytes(v).to_string()),
        (701, _) => value
            .try_into()
            .ok()
            .map(|v| f64::from_be_bytes(v).to_string()),
        (18 | 19 | 25 | 114 | 1042 | 1043, _) => Some(text()),
        _ => None,
    };
    number.unwrap_or_else(|| format!("0x{}", hex::encode(value)))
}

fn copied(body: &[u8]) -> String {
    match std::str::from_utf8(body) {
        Ok(text) => clean(text.strip_suffix('\n').unwrap_or(text)),
        Err(_) => format!("0x{}", hex::encode(body)),
    }
}

/// Fields of ErrorResponse and NoticeResponse: severity, code, message, detail, hint.
fn notice(what: &str, mut body: &[u8]) -> Option<String> {
    let mut code = String::new();
    let mut parts = Vec::new();
    while let Some((field, rest)) = body.split_first() {
        if *field == 0 {
            break;
        }
        body = rest;
        let value = cstr(&mut body)?;
        match field {
            b'C' => code = format!(" {value}"),
            b'M' => parts.insert(0, value),
            b'D' => parts.push(format!("detail: {value}")),
            b'H' => parts.push(format!("hint: {value}")),
            _ => {}
        }
    }
    Some(format!("{what}{code}: {}", parts.join("; ")))
}

fn notification(mut body: &[u8]) -> Option<String> {
    let _pid = u32_be(&mut body)?;
    let channel = cstr(&mut body)?;
    Some(format!("notification on {channel}: {}", cstr(&mut body)?))
}

fn parameter_status(mut body: &[u8]) -> Option<String> {
    let name = cstr(&mut body)?;
    Some(format!("setting {name} = {}", cstr(&mut body)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
        let mut out = vec![tag];
        out.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
        out.extend_from_slice(body);
        out
    }

    fn description(columns: &[(&str, u32, u16)]) -> Vec<u8> {
        let mut body = (columns.len() as u16).to_be_bytes().to_vec();
        for (name, oid, format) in columns {
            body.extend_from_slice(name.as_bytes());
            body.extend_from_slice(&[0; 7]);
            body.extend_from_slice(&oid.to_be_bytes());
            body.extend_from_slice(&[0; 6]);
            body.extend_from_slice(&format.to_be_bytes());
        }
        frame(b'T', &body)
    }

    fn row(values: &[Option<&[u8]>]) -> Vec<u8> {
        let mut body = (values.len() as u16).to_be_bytes().to_vec();
        for value in values {
            match value {
                None => body.extend_from_slice(&[0xff; 4]),
                Some(v) => {
                    body.extend_from_slice(&(v.len() as u32).to_be_bytes());
                    body.extend_from_slice(v);
                }
            }
        }
        frame(b'D', &body)
    }

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let mut out = Vec::new();
        let mut frames = Frames::up_to(MAX_FRAME, Writer::Server);
        for piece in pieces {
            frames.feed(7, piece, &mut |l| out.push(l));
        }
        frames.finish(&mut |l| out.push(l));
        out
    }

    #[test]
    fn a_result_reads_the_same_however_it_is_cut() {
        let mut stream = description(&[("id", 23, 1), ("name", 25, 0), ("x", 17, 1)]);
        stream.extend(row(&[Some(&7i32.to_be_bytes()), Some(b"Ann"), None]));
        stream.extend(frame(b'C', b"SELECT 1\0"));
        stream.extend(frame(b'E', b"SERROR\0C42501\0Mno\0Hask\0\0"));
        stream.extend(frame(b'Z', b"I"));
        let expect = [
            "[id | name | x]",
            "  7 | Ann | (null)",
            "→ SELECT 1",
            "ERROR 42501: no; hint: ask",
        ];
        assert_eq!(lines(&[&stream]), expect);
        for cut in 0..stream.len() {
            assert_eq!(lines(&[&stream[..cut], &stream[cut..]]), expect, "{cut}");
        }
    }

    /// Of as many columns, and of other types: what it says would be wrong.
    #[test]
    fn a_description_is_of_one_action() {
        let mut out = Vec::new();
        let mut frames = Frames::up_to(MAX_FRAME, Writer::Server);
        let number = row(&[Some(&65i32.to_be_bytes())]);
        for (seq, bytes) in [
            (1, description(&[("n", 23, 1)])),
            (1, number.clone()),
            // What comes between is not about the result.
            (2, frame(b'A', b"\0\0\0\x01ch\0hello\0")),
            (1, number.clone()),
            (2, number),
        ] {
            frames.feed(seq, &bytes, &mut |l| out.push(l));
        }
        assert_eq!(
            out,
            [
                "[n]",
                "  65",
                "notification on ch: hello",
                "  65",
                "  \\u{0}\\u{0}\\u{0}A"
            ]
        );
    }

    #[test]
    fn hostile_bytes_stay_bytes() {
        // Escape sequences, direction overrides, wrong counts, cut values, no messages at all.
        assert_eq!(
            lines(&[&row(&[Some("\x1b]0;x\x07\u{202e}".as_bytes())])]),
            ["  \\u{1b}]0;x\\u{7}\\u{202e}"]
        );
        assert_eq!(lines(&[&frame(b'D', &[0, 9])]), ["(message 'D', 2 bytes)"]);
        assert_eq!(
            lines(&[&frame(b'D', &[0, 1, 0, 0, 0, 9, 1])]),
            ["(message 'D', 7 bytes)"]
        );
        assert_eq!(lines(&[&frame(b'T', &[1])]), ["(message 'T', 1 bytes)"]);
        assert_eq!(
            lines(&[b"\x00\x00\x00\x00\x00", b"more"]),
            [
                "(5 bytes that are no messages)",
                "(9 bytes could not be read as messages)"
            ]
        );
        assert_eq!(
            lines(&[b"D\xff\xff\xff\xff"])[0],
            "(5 bytes that are no messages)"
        );
        assert_eq!(
            lines(&[b"D\x00\x00\x00\x09ab"]),
            ["(7 bytes of an unfinished message)"]
        );
    }
}
