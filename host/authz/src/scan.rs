//! A look at Cedar text before Cedar's own parser sees it.
//!
//! That parser recurses without a limit: a few hundred bytes of parentheses, or a long chain of
//! `&&`, overflow the stack and end the process. So nesting and the length of chains are counted
//! here, by a flat scan over tokens that cannot recurse.

use crate::problem::{Problem, Problems};

/// Brackets of all kinds, inside each other.
pub const MAX_NESTING: usize = 64;
/// Operators, member accesses and keywords that make the parser or the evaluator go deeper.
pub const MAX_OPERATORS: usize = 256;
pub const MAX_POLICY_BYTES: usize = 10_000;
/// A chain of `in [ … ]` members, attributes or `::` in a schema.
const MAX_SCHEMA_CHAIN: usize = 20_000;

/// Where one policy stands in its file, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub start: usize,
    pub end: usize,
}

/// Checks a policy file and finds its policies, in order. `None` when a limit is exceeded.
pub(crate) fn policies(file: &str, text: &str, problems: &mut Problems) -> Option<Vec<Span>> {
    let mut spans = Vec::new();
    let mut ok = true;
    let mut depth = 0_usize;
    let mut operators = 0_usize;
    let mut start = None;
    for token in Tokens::new(text) {
        let begin = *start.get_or_insert(token.start);
        match token.kind {
            Kind::Open => depth += 1,
            Kind::Close => depth = depth.saturating_sub(1),
            Kind::Operator => operators += 1,
            Kind::Semicolon if depth == 0 => {
                spans.push(Span {
                    start: begin,
                    end: token.end,
                });
                start = None;
                operators = 0;
            }
            Kind::Semicolon | Kind::Other => {}
        }
        let size = token.end - begin;
        let exceeded = if depth > MAX_NESTING {
            Some(format!("nested deeper than {MAX_NESTING} brackets"))
        } else if operators > MAX_OPERATORS {
            Some(format!(
                "a policy may have at most {MAX_OPERATORS} operators"
            ))
        } else if size > MAX_POLICY_BYTES {
            Some(format!(
                "a policy may have at most {MAX_POLICY_BYTES} bytes"
            ))
        } else {
            None
        };
        if let Some(message) = exceeded {
            problems.push(
                Problem::at(file, text, token.start, message)
                    .help("split the policy; a set with contains() has no depth"),
            );
            ok = false;
            break;
        }
    }
    if let Some(begin) = start {
        // Unfinished; Cedar will say so at the right place.
        spans.push(Span {
            start: begin,
            end: text.len(),
        });
    }
    ok.then_some(spans)
}

/// Checks the schema's text. False when a limit is exceeded.
pub(crate) fn schema(file: &str, text: &str, problems: &mut Problems) -> bool {
    let mut depth = 0_usize;
    let mut chain = 0_usize;
    for token in Tokens::new(text) {
        match token.kind {
            Kind::Open => depth += 1,
            Kind::Close => depth = depth.saturating_sub(1),
            Kind::Semicolon => chain = 0,
            Kind::Operator | Kind::Other => chain += 1,
        }
        if depth > MAX_NESTING || chain > MAX_SCHEMA_CHAIN {
            problems.push(Problem::at(
                file,
                text,
                token.start,
                format!("nested deeper than {MAX_NESTING} brackets, or too long"),
            ));
            return false;
        }
    }
    true
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Open,
    Close,
    Operator,
    Semicolon,
    Other,
}

#[derive(Debug, Clone, Copy)]
struct Token {
    kind: Kind,
    start: usize,
    end: usize,
}

/// Tokens of Cedar's policy and schema languages, as coarse as the counting needs.
struct Tokens<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Tokens<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            bytes: text.as_bytes(),
            at: 0,
        }
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.at + ahead).copied()
    }

    fn skip_blank(&mut self) {
        while let Some(byte) = self.peek(0) {
            if byte.is_ascii_whitespace() {
                self.at += 1;
            } else if byte == b'/' && self.peek(1) == Some(b'/') {
                while self.peek(0).is_some_and(|b| b != b'\n') {
                    self.at += 1;
                }
            } else {
                break;
            }
        }
    }

    /// A string ends at its closing quote, or with the text.
    fn string(&mut self) -> Kind {
        self.at += 1;
        while let Some(byte) = self.peek(0) {
            self.at += if byte == b'\\' { 2 } else { 1 };
            if byte == b'"' {
                break;
            }
        }
        self.at = self.at.min(self.bytes.len());
        Kind::Other
    }

    fn word(&mut self) -> Kind {
        let from = self.at;
        while self
            .peek(0)
            .is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_' || b >= 0x80)
        {
            self.at += 1;
        }
        match self.bytes.get(from..self.at) {
            Some(
                b"if" | b"then" | b"else" | b"in" | b"is" | b"has" | b"like" | b"when" | b"unless",
            ) => Kind::Operator,
            _ => Kind::Other,
        }
    }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        self.skip_blank();
        let start = self.at;
        let byte = self.peek(0)?;
        let kind = match byte {
            b'"' => self.string(),
            b'(' | b'[' | b'{' => self.single(Kind::Open),
            b')' | b']' | b'}' => self.single(Kind::Close),
            b';' => self.single(Kind::Semicolon),
            b'&' | b'|' if self.peek(1) == Some(byte) => {
                self.at += 2;
                Kind::Operator
            }
            b'=' | b'!' | b'<' | b'>' if self.peek(1) == Some(b'=') => {
                self.at += 2;
                Kind::Operator
            }
            b':' if self.peek(1) == Some(b':') => {
                self.at += 2;
                Kind::Other
            }
            b'!' | b'<' | b'>' | b'=' | b'+' | b'-' | b'*' | b'/' | b'%' | b'.' | b'@' | b'?' => {
                self.single(Kind::Operator)
            }
            _ if byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80 => self.word(),
            _ => self.single(Kind::Other),
        };
        Some(Token {
            kind,
            start,
            end: self.at,
        })
    }
}

impl Tokens<'_> {
    fn single(&mut self, kind: Kind) -> Kind {
        self.at += 1;
        kind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(text: &str) -> Vec<&str> {
        let mut problems = Problems::default();
        policies("x.cedar", text, &mut problems)
            .expect("within the limits")
            .into_iter()
            .map(|s| &text[s.start..s.end])
            .collect()
    }

    #[test]
    fn finds_policies() {
        let text = "// ; not one\n@id(\"a;b\") permit(principal,action,resource); \n\
                    forbid(principal,action,resource) when { \"\\\";\" == \"x\" };";
        assert_eq!(
            spans(text),
            [
                "@id(\"a;b\") permit(principal,action,resource);",
                "forbid(principal,action,resource) when { \"\\\";\" == \"x\" };",
            ]
        );
        assert!(spans(" // nothing\n").is_empty());
        assert_eq!(
            spans("permit(").len(),
            1,
            "unfinished text is left to Cedar"
        );
        assert_eq!(spans("\"never closed \\").len(), 1);
    }

    #[test]
    fn limits() {
        let body = |text: String| format!("permit(principal,action,resource) when {{ {text} }};");
        for (name, text, ok) in [
            (
                "64 deep",
                body(format!("{}1{}", "(".repeat(63), ")".repeat(63))),
                true,
            ),
            (
                "65 deep",
                body(format!("{}1{}", "(".repeat(64), ")".repeat(64))),
                false,
            ),
            ("sets", body("[".repeat(400)), false),
            (
                "brackets in a string",
                body(format!("\"{}\"", "(".repeat(400))),
                true,
            ),
            ("&&", body(vec!["a"; 300].join(" && ")), false),
            ("members", body(format!("a{}", ".a".repeat(300))), false),
            ("if", body("if a then b else ".repeat(100)), false),
            ("minus", body("-".repeat(300)), false),
            (
                "annotations",
                format!("{}permit(principal,action,resource);", "@a ".repeat(300)),
                false,
            ),
            (
                "a large set",
                body(format!("[{}]", "1,".repeat(2_000))),
                true,
            ),
            (
                "a huge set",
                body(format!("[{}]", "1,".repeat(8_000))),
                false,
            ),
            (
                "many policies",
                "permit(principal,action,resource);".repeat(1_000),
                true,
            ),
        ] {
            let mut problems = Problems::default();
            let got = policies("x.cedar", &text, &mut problems).is_some();
            assert_eq!(got, ok, "{name}");
            assert_eq!(problems.is_empty(), ok, "{name}");
        }
        let mut problems = Problems::default();
        assert!(!schema("s", &"{".repeat(65), &mut problems));
        assert!(schema("s", "entity A;", &mut Problems::default()));
    }
}
