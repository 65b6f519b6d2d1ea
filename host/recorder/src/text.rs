//! Text from a recording on somebody's terminal: nothing in it may steer the terminal or the eye.

use std::fmt::Write;

/// Escapes control characters, and characters that hide or reorder others.
pub fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() || is_invisible(c) => {
                write!(out, "\\u{{{:x}}}", u32::from(c)).ok();
            }
            c => out.push(c),
        }
    }
    out
}

fn is_invisible(c: char) -> bool {
    matches!(
        u32::from(c),
        0xad | 0x61c | 0x115f | 0x1160 | 0x180e | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0x3164
            | 0xfeff | 0xffa0 | 0xfff9..=0xfffb | 0xe0000..=0xe007f
    )
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn only_what_steers_is_escaped() {
        for (text, expect) in [
            ("größe ✓ 'x'", "größe ✓ 'x'"),
            ("a\nb\t\r", "a\\nb\\t\\r"),
            ("\x1b[2J\x7f\u{9b}", "\\u{1b}[2J\\u{7f}\\u{9b}"),
            ("\u{202e}\u{200b}\u{e0041}", "\\u{202e}\\u{200b}\\u{e0041}"),
            ("a\u{3164}\u{115f}", "a\\u{3164}\\u{115f}"),
        ] {
            assert_eq!(clean(text), expect);
        }
    }
}
