//! From text to tree: what stands in `$'…'`.

use crate::parse::{Parsed, Parser};

impl Parser<'_> {
    /// From behind `$'` to behind the closing quote.
    pub(crate) fn ansi(&mut self, text: &mut String) -> Parsed<()> {
        loop {
            match self.cur.bump() {
                Some('\'') => return Ok(()),
                Some('\\') => self.escape(text)?,
                Some(c) => {
                    if c == '\n' {
                        self.line_within()?;
                    }
                    text.push(c);
                }
                None => return self.syntax("a `'` that is not closed"),
            }
        }
    }

    fn escape(&mut self, text: &mut String) -> Parsed<()> {
        let Some(c) = self.cur.bump() else {
            return self.syntax("a `'` that is not closed");
        };
        let plain = match c {
            'a' => '\u{7}',
            'b' => '\u{8}',
            'e' | 'E' => '\u{1b}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            '\\' | '\'' | '"' | '?' => c,
            '0'..='7' => return self.coded(text, c.to_digit(8).unwrap_or(0), 8, 2, 0x7f),
            'x' => return self.coded(text, 0, 16, 2, 0x7f),
            'u' => return self.coded(text, 0, 16, 4, 0xffff),
            'U' => return self.coded(text, 0, 16, 8, 0x10_ffff),
            'c' | '\n' => return self.unread("such an escape in `$'…'`"),
            c => {
                text.push('\\');
                c
            }
        };
        text.push(plain);
        Ok(())
    }

    /// A character by its number. Beyond ASCII, bytes need not make up UTF-8, and a zero cuts the word off.
    fn coded(
        &mut self,
        text: &mut String,
        first: u32,
        base: u32,
        most: usize,
        top: u32,
    ) -> Parsed<()> {
        let mut value = first;
        let mut digits = 0;
        while digits < most {
            let Some(digit) = self.cur.peek().and_then(|c| c.to_digit(base)) else {
                break;
            };
            value = value.saturating_mul(base).saturating_add(digit);
            self.cur.bump();
            digits += 1;
        }
        let missing = digits == 0 && base == 16;
        match char::from_u32(value) {
            Some(c) if value > 0 && value <= top && !missing => {
                text.push(c);
                Ok(())
            }
            _ => self.unread("such an escape in `$'…'`"),
        }
    }
}
