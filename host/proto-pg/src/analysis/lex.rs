//! What is checked before parsing: size, encoding, and literals that end elsewhere when
//! `standard_conforming_strings` is off.
//!
//! The proxy pins that setting on. This check is for the case that the server runs with it off all
//! the same, now or when it plans the text again: a text whose literals would end at other places is
//! refused, so that both readings have the same tokens. Values may still differ, so constants with a
//! backslash are never interpreted. Only where policy is indifferent, and the server has reported the
//! setting with nothing under way, is its word taken.

/// Why a text is not analysed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("the statement is longer than {0} bytes")]
    TooLong(usize),
    #[error("the statement is not valid UTF-8")]
    Encoding,
    #[error("the statement contains a NUL byte")]
    Nul,
    #[error(
        "a string literal with a backslash before a quote can be read in two ways; write it as \
         E'...' or double the quote"
    )]
    Ambiguous,
}

impl Unreadable {
    pub(crate) fn sqlstate(&self) -> &'static str {
        match self {
            Self::TooLong(_) => "54000",
            // As PostgreSQL says for a byte sequence that the encoding does not have.
            Self::Encoding | Self::Nul => "22021",
            Self::Ambiguous => "42501",
        }
    }
}

/// `settled`: the server is known to read texts with the setting on.
pub(crate) fn check(sql: &[u8], max: usize, settled: bool) -> Result<&str, Unreadable> {
    if sql.len() > max {
        return Err(Unreadable::TooLong(max));
    }
    if sql.contains(&0) {
        return Err(Unreadable::Nul);
    }
    let text = std::str::from_utf8(sql).map_err(|_| Unreadable::Encoding)?;
    if !settled && sql.contains(&b'\\') && ambiguous(sql) {
        return Err(Unreadable::Ambiguous);
    }
    Ok(text)
}

/// Scans as PostgreSQL does with the setting on; true when a plain literal would end elsewhere with
/// it off.
pub(super) fn ambiguous(sql: &[u8]) -> bool {
    let mut at = 0;
    let byte = |i: usize| sql.get(i).copied().unwrap_or(0);
    while at < sql.len() {
        let (here, next) = (byte(at), byte(at + 1));
        at = match (here, next) {
            (b'-', b'-') => line_end(sql, at),
            (b'/', b'*') => comment_end(sql, at),
            (b'"', _) => quoted_end(sql, at + 1, b'"', false),
            (b'e' | b'E', b'\'') => quoted_end(sql, at + 2, b'\'', true),
            (b'b' | b'B' | b'x' | b'X', b'\'') => quoted_end(sql, at + 2, b'\'', false),
            // With the setting off, U&'…' is an error.
            (b'u' | b'U', b'&') if matches!(byte(at + 2), b'\'' | b'"') => {
                quoted_end(sql, at + 3, byte(at + 2), false)
            }
            (b'\'', _) => {
                let end = quoted_end(sql, at + 1, b'\'', false);
                if end != quoted_end(sql, at + 1, b'\'', true) {
                    return true;
                }
                end
            }
            (b'$', _) => dollar_end(sql, at),
            (c, _) if identifier_start(c) => identifier_end(sql, at),
            _ => at + 1,
        };
    }
    false
}

pub(super) fn identifier_start(c: u8) -> bool {
    c.is_ascii_alphabetic() || c == b'_' || c >= 0x80
}

pub(super) fn identifier_end(sql: &[u8], from: usize) -> usize {
    let part = |c: &u8| identifier_start(*c) || c.is_ascii_digit() || *c == b'$';
    let rest = sql.get(from..).unwrap_or_default();
    from + rest.iter().take_while(|c| part(c)).count().max(1)
}

pub(super) fn line_end(sql: &[u8], from: usize) -> usize {
    let rest = sql.get(from..).unwrap_or_default();
    let end = rest.iter().position(|c| matches!(c, b'\n' | b'\r'));
    from + end.map_or(rest.len(), |e| e + 1)
}

pub(super) fn comment_end(sql: &[u8], from: usize) -> usize {
    let mut depth = 0usize;
    let mut at = from;
    while let Some(&here) = sql.get(at) {
        match (here, sql.get(at + 1)) {
            (b'/', Some(b'*')) => {
                depth += 1;
                at += 2;
            }
            (b'*', Some(b'/')) => {
                depth = depth.saturating_sub(1);
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    at
}

/// The place behind the closing quote, or behind the end of the text when there is none; a doubled
/// quote does not close.
pub(super) fn quoted_end(sql: &[u8], from: usize, quote: u8, escapes: bool) -> usize {
    let mut at = from;
    while let Some(&here) = sql.get(at) {
        if escapes && here == b'\\' {
            at += 2;
        } else if here == quote {
            if sql.get(at + 1) != Some(&quote) {
                return at + 1;
            }
            at += 2;
        } else {
            at += 1;
        }
    }
    sql.len() + 1
}

pub(super) fn dollar_end(sql: &[u8], from: usize) -> usize {
    let rest = sql.get(from + 1..).unwrap_or_default();
    let digit = rest.first().is_some_and(u8::is_ascii_digit);
    let tag = rest
        .iter()
        .take_while(|c| identifier_start(**c) || c.is_ascii_digit())
        .count();
    if digit || rest.get(tag) != Some(&b'$') {
        return from + 1;
    }
    let Some(delimiter) = sql.get(from..from + tag + 2) else {
        return sql.len();
    };
    let body = from + delimiter.len();
    let text = sql.get(body..).unwrap_or_default();
    let close = text.windows(delimiter.len()).position(|w| w == delimiter);
    close.map_or(sql.len(), |at| body + at + delimiter.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backslashes() {
        for (sql, expect) in [
            (r"SELECT 'a\b'", false),
            (r"SELECT 'a\'; DROP TABLE x; --'", true),
            (r"SELECT E'a\'; DROP TABLE x; --'", false),
            (r"SELECT 'a\\'", false),
            (r"SELECT 'a\\\'", true),
            (r"SELECT 'a\''b'", true),
            (r"SELECT '\d+' , 'x'", false),
            (r#"SELECT "a\" , 'b'"#, false),
            (r"SELECT $$a\'b$$, 'c'", false),
            (r"SELECT $t$ ' \' $t$, 'c'", false),
            (r"SELECT 1 -- it's \' here", false),
            (r"SELECT /* ' /* \' */ ' */ 1, '\x'", false),
            (r"SELECT cafe'\'", true),
            (r"SELECT n'\'", true),
            (r"SELECT U&'\0061', 'b'", false),
            (r"SELECT U&'\', 'b'", false),
            (r"SELECT x'\', 'b'", false),
            (r"SELECT a$b$'\'", true),
        ] {
            assert_eq!(ambiguous(sql.as_bytes()), expect, "{sql}");
        }
    }

    #[test]
    fn unreadable() {
        assert_eq!(check(b"SELECT 1\0", 100, true), Err(Unreadable::Nul));
        assert_eq!(
            check(b"SELECT '\xff'", 100, true),
            Err(Unreadable::Encoding)
        );
        let two_ways = br"SELECT 'a\'";
        assert_eq!(check(two_ways, 100, false), Err(Unreadable::Ambiguous));
        assert!(check(two_ways, 100, true).is_ok());
        assert_eq!(check(b"SELECT 1", 3, true), Err(Unreadable::TooLong(3)));
    }
}
