//! Cuts SQL text into tokens as PostgreSQL would, comments included. It never fails: what is not
//! closed reaches to the end.

/// Longer texts are looked at in part, and the rest counts as a finding.
const MAX_TEXT: usize = 256 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A keyword or an unquoted name.
    Word,
    /// A name in double quotes, without them.
    Quoted,
    /// The inside of a string constant, quotes and escapes as written.
    String,
    Number,
    Symbol,
    Comment,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token<'a> {
    pub kind: Kind,
    pub text: &'a str,
}

impl Token<'_> {
    pub fn is(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(word)
    }

    pub fn is_symbol(&self, symbol: &str) -> bool {
        self.kind == Kind::Symbol && self.text == symbol
    }
}

/// The part of a text that is looked at, and whether that is all of it.
pub fn head(text: &str) -> (&str, bool) {
    if text.len() <= MAX_TEXT {
        return (text, true);
    }
    let mut end = MAX_TEXT;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    (text.get(..end).unwrap_or(text), false)
}

pub fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut lexer = Lexer { text, at: 0 };
    let mut out = Vec::new();
    while let Some(token) = lexer.next() {
        out.push(token);
    }
    out
}

/// Tokens without comments, as the server sees them.
pub fn code<'a>(tokens: &[Token<'a>]) -> Vec<Token<'a>> {
    let seen = tokens.iter().filter(|t| t.kind != Kind::Comment);
    seen.copied().collect()
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn peek(&self, ahead: usize) -> u8 {
        let byte = self.text.as_bytes().get(self.at + ahead);
        byte.copied().unwrap_or(0)
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn take_while(&mut self, good: impl Fn(u8) -> bool) {
        while self.at < self.text.len() && good(self.peek(0)) {
            self.at += 1;
        }
    }

    fn token(&self, kind: Kind, from: usize, to: usize) -> Token<'a> {
        Token {
            kind,
            text: self.text.get(from..to).unwrap_or_default(),
        }
    }

    fn next(&mut self) -> Option<Token<'a>> {
        self.take_while(|c| c.is_ascii_whitespace() || c == 0x0b);
        if self.at >= self.text.len() {
            return None;
        }
        let start = self.at;
        Some(match (self.peek(0), self.peek(1)) {
            (b'-', b'-') => {
                self.take_while(|c| c != b'\n' && c != b'\r');
                self.token(Kind::Comment, start + 2, self.at)
            }
            (b'/', b'*') => self.block_comment(),
            (b'\'', _) => self.string(false),
            (b'e' | b'E', b'\'') => {
                self.at += 1;
                self.string(true)
            }
            (b'b' | b'B' | b'x' | b'X' | b'n' | b'N', b'\'') => {
                self.at += 1;
                self.string(false)
            }
            (b'"', _) => self.quoted(),
            (b'$', _) => self.dollar(),
            (c, _) if is_word_start(c) => {
                self.take_while(is_word);
                self.token(Kind::Word, start, self.at)
            }
            (c, next) if c.is_ascii_digit() || (c == b'.' && next.is_ascii_digit()) => {
                self.take_while(|c| c.is_ascii_alphanumeric() || c == b'.' || c == b'_');
                self.token(Kind::Number, start, self.at)
            }
            _ => self.symbol(),
        })
    }

    /// Block comments nest.
    fn block_comment(&mut self) -> Token<'a> {
        let start = self.at + 2;
        let mut depth = 0_u32;
        while self.at < self.text.len() {
            match (self.peek(0), self.peek(1)) {
                (b'/', b'*') => {
                    depth += 1;
                    self.at += 2;
                }
                (b'*', b'/') => {
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        return self.token(Kind::Comment, start, self.at - 2);
                    }
                }
                _ => self.at += 1,
            }
        }
        self.token(Kind::Comment, start, self.text.len())
    }

    fn string(&mut self, backslash: bool) -> Token<'a> {
        self.at += 1;
        let start = self.at;
        while self.at < self.text.len() {
            match (self.peek(0), self.peek(1)) {
                (b'\\', _) if backslash => self.at += 2,
                (b'\'', b'\'') => self.at += 2,
                (b'\'', _) => {
                    self.at += 1;
                    return self.token(Kind::String, start, self.at - 1);
                }
                _ => self.at += 1,
            }
        }
        self.at = self.text.len();
        self.token(Kind::String, start, self.at)
    }

    fn quoted(&mut self) -> Token<'a> {
        self.at += 1;
        let start = self.at;
        while self.at < self.text.len() {
            match (self.peek(0), self.peek(1)) {
                (b'"', b'"') => self.at += 2,
                (b'"', _) => {
                    self.at += 1;
                    return self.token(Kind::Quoted, start, self.at - 1);
                }
                _ => self.at += 1,
            }
        }
        self.token(Kind::Quoted, start, self.text.len())
    }

    /// A parameter (`$1`) or a string in dollar quotes.
    fn dollar(&mut self) -> Token<'a> {
        let start = self.at;
        self.at += 1;
        if self.peek(0).is_ascii_digit() {
            self.take_while(|c| c.is_ascii_digit());
            return self.token(Kind::Symbol, start, self.at);
        }
        self.take_while(|c| is_word(c) && c != b'$');
        if self.peek(0) != b'$' {
            self.at = start + 1;
            return self.token(Kind::Symbol, start, self.at);
        }
        self.at += 1;
        let tag = self.text.get(start..self.at).unwrap_or_default();
        let inside = self.at;
        match self.rest().find(tag) {
            Some(len) => {
                self.at += len + tag.len();
                self.token(Kind::String, inside, inside + len)
            }
            None => {
                self.at = self.text.len();
                self.token(Kind::String, inside, self.at)
            }
        }
    }

    /// Operators that matter here are taken whole, everything else by character.
    fn symbol(&mut self) -> Token<'a> {
        let start = self.at;
        let rest = self.rest();
        let two = ["||", "<>", "!=", "<=", ">=", "::"];
        self.at += match two.iter().find(|s| rest.starts_with(**s)) {
            Some(symbol) => symbol.len(),
            None => rest.chars().next().map_or(1, char::len_utf8),
        };
        self.token(Kind::Symbol, start, self.at)
    }
}

fn is_word_start(c: u8) -> bool {
    c.is_ascii_alphabetic() || c == b'_' || c >= 0x80
}

fn is_word(c: u8) -> bool {
    is_word_start(c) || c.is_ascii_digit() || c == b'$'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &str) -> String {
        let one = |t: &Token<'_>| match t.kind {
            Kind::Word => t.text.to_owned(),
            Kind::Quoted => format!("Q({})", t.text),
            Kind::String => format!("S({})", t.text),
            Kind::Number => format!("N({})", t.text),
            Kind::Symbol => t.text.to_owned(),
            Kind::Comment => format!("C({})", t.text),
        };
        tokens(text).iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn cuts_as_postgres_does() {
        for (text, expect) in [
            ("", ""),
            ("select 1", "select N(1)"),
            ("a='it''s'", "a = S(it''s)"),
            (r"E'\'' 'x\'", r"S(\') S(x\)"),
            ("$$a'b$$ $t$x$$y$t$ $1", "S(a'b) S(x$$y) $1"),
            (r#""a""b" U"#, r#"Q(a""b) U"#),
            ("a--x\nb", "a C(x) b"),
            ("a/* x /* y */ z */b", "a C( x /* y */ z ) b"),
            ("1.5e3<>.5", "N(1.5e3) <> N(.5)"),
            ("a||b::text", "a || b :: text"),
            ("'open", "S(open)"),
            ("/* open", "C( open)"),
            ("$tag$open", "S(open)"),
            ("größe=1", "größe = N(1)"),
            ("\u{2028}x", "\u{2028}x"),
            ("E'\\", "S(\\)"),
        ] {
            assert_eq!(show(text), expect, "{text}");
        }
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let long = "ä".repeat(MAX_TEXT);
        let (head, whole) = head(&long);
        assert!(!whole && head.len() <= MAX_TEXT && head.len() > MAX_TEXT - 4);
    }
}
