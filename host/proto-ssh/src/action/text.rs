//! Text of strangers, for people.

/// Escapes what could make a text look like another: control characters, marks that change the direction of
/// writing, characters that cannot be seen.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|c| show(c, &mut out));
    out
}

/// Bytes that should be text. What is not UTF-8 is written as `\xNN`, and a backslash of the text is doubled where it
/// would read as one of ours: no two texts are written alike.
pub(crate) fn readable(bytes: &[u8]) -> String {
    let mut out = String::new();
    let mut slash = false;
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if slash && (matches!(c, '\\' | 'x' | 'u') || is_escaped(c)) {
                out.push('\\');
            }
            show(c, &mut out);
            slash = c == '\\';
        }
        for b in chunk.invalid() {
            if std::mem::take(&mut slash) {
                out.push('\\');
            }
            out.push_str(&format!("\\x{b:02x}"));
        }
    }
    out
}

fn show(c: char, out: &mut String) {
    match is_escaped(c) {
        true => out.extend(c.escape_unicode()),
        false => out.push(c),
    }
}

fn is_escaped(c: char) -> bool {
    !matches!(c, '\n' | '\t') && (c.is_control() || is_hidden(c))
}

fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_looks_like_something_else() {
        for (bytes, expect) in [
            (&b"ls -l\n"[..], "ls -l\n"),
            (b"a\x1b[2Kb", "a\\u{1b}[2Kb"),
            (b"\xff\xfeA", "\\xff\\xfeA"),
            ("a\u{202e}b\u{200b}".as_bytes(), "a\\u{202e}b\\u{200b}"),
            ("größe".as_bytes(), "größe"),
            (b"\\xff", "\\\\xff"),
            (b"\\\xff", "\\\\\\xff"),
            (b"\\\\xff", "\\\\\\\\xff"),
            (b"\\u{1b}", "\\\\u{1b}"),
            (b"\\\x1b", "\\\\\\u{1b}"),
            (b"printf '%s\\n' \\$x", "printf '%s\\n' \\$x"),
        ] {
            assert_eq!(readable(bytes), expect);
        }
    }
}
