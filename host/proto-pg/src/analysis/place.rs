//! Where in a text a syntax error is. The parser's binding tells the message only, so the place is
//! found with the parser: it goes from left to right, so a text that is cut behind the error has the
//! same error, and one that is cut before it does not.

/// Longer messages are not looked for: their text can be all that is left of the statement.
const NEAR: &str = " at or near \"";
const AT_END: &str = " at end of input";

/// The character that `message` is about, counted from one; none when the message does not say.
pub(super) fn of_error(text: &str, message: &str) -> Option<u32> {
    let at = match message.find(NEAR) {
        Some(from) => {
            let near = message.get(from + NEAR.len()..)?.strip_suffix('"')?;
            offset(text, near, message)?
        }
        None if message.ends_with(AT_END) => text.len(),
        None => return None,
    };
    let before = text.get(..at)?.chars().count();
    u32::try_from(before + 1).ok()
}

fn offset(text: &str, near: &str, message: &str) -> Option<usize> {
    if near.is_empty() {
        return None;
    }
    // A part of a longer word would be found as if it were the word.
    let whole = |at: &usize| {
        let joins = |a: Option<char>, b: Option<char>| match (a, b) {
            (Some(a), Some(b)) => continues(a) && continues(b),
            _ => false,
        };
        let (before, after) = (text.get(..*at), text.get(at + near.len()..));
        let before = before.and_then(|t| t.chars().next_back());
        let after = after.and_then(|t| t.chars().next());
        !joins(before, near.chars().next()) && !joins(near.chars().next_back(), after)
    };
    let places: Vec<usize> = text
        .match_indices(near)
        .map(|(at, _)| at)
        .filter(whole)
        .collect();
    let fails = |at: usize| {
        let cut = text.get(..at + near.len()).unwrap_or(text);
        matches!(
            pg_raw_parse::parse(cut),
            Err(pg_raw_parse::Error::Parse(e)) if e.to_string() == message
        )
    };
    let first = places.partition_point(|&at| !fails(at));
    places.get(first).copied()
}

fn continues(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '$') || !c.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The place is that of `^`, which is taken out first.
    #[test]
    fn places() {
        for marked in [
            "^SELEC 1",
            "SELECT 1 +^",
            "SELECT 1 FROM ^WHERE x",
            "SELECT a, b, c FROM t , ^, d",
            "SELECT ',' || ',', 1 /* , */, ^, 2, 3",
            "SELECT 'ä', ^'abc",
            "SELECT 1; SELECT 2; ^SELEC 3; SELEC 4",
            "INSERT INTO t VALUES (1^(",
            "SELECT ^/* open",
            "SELECT $a$ x $a$, ^$b$ y",
            "SELECT \"x\" \"y\" ^\"z\"",
            "SELECT ^\"\"",
            "SELECT * FROM t WHERE a = 1 AND ^AND b = 2 AND c = 3",
            "-- ^ not this\nSELEC",
        ] {
            let (before, after) = match marked.rsplit_once('^') {
                Some(split) if !marked.starts_with("--") => split,
                _ => ("-- ^ not this\n", "SELEC"),
            };
            let text = format!("{before}{after}");
            let error = pg_raw_parse::parse(&text).map(|_| ()).unwrap_err();
            let pg_raw_parse::Error::Parse(error) = error else {
                panic!("{text}");
            };
            let message = error.to_string();
            let want = before.chars().count() + 1;
            assert_eq!(
                of_error(&text, &message),
                u32::try_from(want).ok(),
                "{text}: {message}"
            );
        }
    }

    #[test]
    fn messages_without_a_place() {
        for message in ["memory exhausted", "", " at or near \"", " at or near \"x"] {
            assert_eq!(of_error("SELECT x", message), None);
        }
    }
}
