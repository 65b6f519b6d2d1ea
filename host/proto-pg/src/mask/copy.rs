//! Values in COPY's text format, and in CSV.

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};

/// None is NULL.
pub(super) fn decode(raw: &[u8]) -> Option<Cow<'_, [u8]>> {
    if raw == b"\\N" {
        return None;
    }
    if !raw.contains(&b'\\') {
        return Some(Cow::Borrowed(raw));
    }
    let mut value = Vec::with_capacity(raw.len());
    let mut bytes = raw.iter().copied();
    while let Some(c) = bytes.next() {
        if c != b'\\' {
            value.push(c);
            continue;
        }
        // COPY TO writes no octal or hexadecimal escapes.
        match bytes.next() {
            Some(b'b') => value.push(8),
            Some(b'f') => value.push(12),
            Some(b'n') => value.push(b'\n'),
            Some(b'r') => value.push(b'\r'),
            Some(b't') => value.push(b'\t'),
            Some(b'v') => value.push(11),
            Some(other) => value.push(other),
            None => value.push(b'\\'),
        }
    }
    Some(Cow::Owned(value))
}

pub(super) fn encode(value: &[u8], delimiter: u8, out: &mut BytesMut) {
    for &c in value {
        let escaped = match c {
            c if c == delimiter && c != b'\t' => c,
            8 => b'b',
            12 => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            11 => b'v',
            b'\\' => b'\\',
            plain => {
                out.put_u8(plain);
                continue;
            }
        };
        out.put_slice(&[b'\\', escaped]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let all: Vec<u8> = (1..=255).collect();
        let mut raw = BytesMut::new();
        for delimiter in [b'\t', b'|'] {
            raw.clear();
            encode(&all, delimiter, &mut raw);
            assert!(!raw.contains(&b'\t') && !raw.contains(&b'\n'));
            assert_eq!(decode(&raw).unwrap().into_owned(), all);
        }
        assert_eq!(decode(b"\\N"), None);
        assert_eq!(decode(b"\\\\N").unwrap().into_owned(), b"\\N");
        assert_eq!(decode(b"").unwrap().into_owned(), b"");
    }
}
