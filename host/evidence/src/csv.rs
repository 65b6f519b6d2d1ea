//! Rows of CSV that a spreadsheet cannot mistake for anything else.

/// Longer cells are cut; spreadsheets take 32,767 characters.
const LONGEST: usize = 32_000;

/// One row, with its line end as RFC 4180 has it. Every cell is quoted. What a spreadsheet would take for
/// a formula has an apostrophe before it, and control characters are written as escapes, so that a row is
/// a line.
pub fn row<I, S>(cells: I) -> Vec<u8>
where
    I: IntoIterator<Item = S>,
    S: AsRef<str>,
{
    let mut out = String::new();
    for cell in cells {
        if !out.is_empty() {
            out.push(',');
        }
        out.push('"');
        push(&mut out, cell.as_ref());
        out.push('"');
    }
    out.push_str("\r\n");
    out.into_bytes()
}

fn push(out: &mut String, cell: &str) {
    let begins = cell.trim_start_matches(is_ignored).chars().next();
    // Full-width forms, too: some spreadsheets take them for the same.
    if begins.is_some_and(|c| "=+-@|%＝＋－＠".contains(c)) {
        out.push('\'');
    }
    for (count, c) in cell.chars().enumerate() {
        match c {
            _ if count >= LONGEST => {
                out.push('…');
                break;
            }
            '"' => out.push_str("\"\""),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() || is_hidden(c) => {
                out.push_str(&format!("\\u{{{:x}}}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
}

/// What a spreadsheet may leave away before it looks.
fn is_ignored(c: char) -> bool {
    c.is_whitespace() || c.is_control() || is_hidden(c) || "\"'".contains(c)
}

/// Line separators, and what turns the direction of text or cannot be seen.
fn is_hidden(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Several names in one cell.
pub fn list<S: AsRef<str>>(items: &[S]) -> String {
    let items: Vec<&str> = items.iter().map(AsRef::as_ref).collect();
    items.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(cell: &str, expect: &str) {
        let row = row([cell, "x"]);
        let text = String::from_utf8(row).unwrap();
        assert_eq!(text, format!("\"{expect}\",\"x\"\r\n"), "{cell:?}");
    }

    #[test]
    fn cells_are_text_and_nothing_else() {
        for (cell, expect) in [
            ("", ""),
            ("plain, with a comma", "plain, with a comma"),
            ("a \"name\"", "a \"\"name\"\""),
            ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\\t=1"),
            ("\r\n=1", "'\\r\\n=1"),
            (" =1", "' =1"),
            ("\"=1", "'\"\"=1"),
            ("\u{feff}=1", "'\\u{feff}=1"),
            ("＝1", "'＝1"),
            ("a\nb\r\nc", "a\\nb\\r\\nc"),
            ("\u{2028}\u{202e}x\0", "\\u{2028}\\u{202e}x\\u{0}"),
            ("a=1", "a=1"),
        ] {
            check(cell, expect);
        }
        let long = "x".repeat(40_000);
        assert!(row([long]).len() < 32_100);
    }
}
