//! From text to tree: redirections, here-documents, and `[[`.

use crate::ast::*;
use crate::parse::{Parsed, Parser, is_meta};
use crate::reason::Opaque;

/// Here-documents in one text: the time that other parsers need grows with the square of their number.
const MAX_HERE: usize = 64;

pub(crate) struct Pending {
    delimiter: String,
    quoted: bool,
    tabs: bool,
    slot: usize,
}

impl Parser<'_> {
    pub(crate) fn redirect(&mut self) -> Parsed<Option<Redirect>> {
        const OPS: [&str; 10] = ["<<<", "<<-", "<<", "<&", "<>", "<", ">>", ">&", ">|", ">"];
        let digits = self
            .cur
            .rest()
            .chars()
            .take_while(char::is_ascii_digit)
            .count();
        let after = self.cur.rest().get(digits..).unwrap_or_default();
        if self.cur.sees("&>") {
            self.cur.eat("&>");
            self.differs = true;
            let append = self.cur.eat(">");
            let target = self.target()?;
            return Ok(Some(Redirect {
                fd: None,
                kind: Kind::Both { append, target },
            }));
        }
        if !after.starts_with(['<', '>']) {
            return Ok(None);
        }
        if after.starts_with("<(") || after.starts_with(">(") {
            return if digits == 0 {
                Ok(None)
            } else {
                self.unread("a process substitution behind a number")
            };
        }
        let fd = self.cur.eat_while(|c| c.is_ascii_digit());
        let fd = match fd {
            "" => None,
            fd => match fd.parse() {
                // Beyond nine, some shells take the digits for a word.
                Ok(fd) if fd < 10 => Some(fd),
                _ => return self.unread("a redirection with such a number"),
            },
        };
        let Some(op) = OPS.into_iter().find(|op| self.cur.eat(op)) else {
            return self.syntax("a redirection that is none");
        };
        let kind = match op {
            "<<" | "<<-" => self.here(op == "<<-")?,
            "<<<" => {
                self.differs = true;
                Kind::HereString(self.target()?)
            }
            "<&" | ">&" => self.duplicate(op, fd)?,
            op => Kind::File(op, self.target()?),
        };
        Ok(Some(Redirect { fd, kind }))
    }

    fn target(&mut self) -> Parsed<Word> {
        self.blanks();
        let process = self.cur.sees("<(") || self.cur.sees(">(");
        if !process && self.cur.peek().is_none_or(is_meta) {
            return self.syntax("a redirection without a name");
        }
        let word = self.word()?;
        self.outline.files.push(if process {
            "<(".to_owned()
        } else {
            word.raw.clone()
        });
        Ok(word)
    }

    fn duplicate(&mut self, op: &'static str, fd: Option<u32>) -> Parsed<Kind> {
        self.blanks();
        let number = self
            .cur
            .rest()
            .chars()
            .take_while(char::is_ascii_digit)
            .count();
        let rest = self.cur.rest();
        let end = if rest.starts_with('-') { 1 } else { number };
        let (number, after) = rest.split_at_checked(end).unwrap_or(("", rest));
        if end > 0 && after.chars().next().is_none_or(is_meta) {
            self.cur.eat(number);
            return Ok(Kind::Dup(op, number.to_owned()));
        }
        let target = self.target()?;
        // bash reads twice what may be a number.
        let plain = |c: char| c.is_alphanumeric() || "/._-+,:@%=".contains(c);
        if op == ">&"
            && matches!(fd, None | Some(1))
            && target.raw.chars().all(plain)
            && !target
                .raw
                .starts_with(|c: char| c.is_ascii_digit() || c == '-')
        {
            self.differs = true;
            return Ok(Kind::Both {
                append: false,
                target,
            });
        }
        self.unread("a redirection to what turns out only when it runs")
    }

    fn here(&mut self, tabs: bool) -> Parsed<Kind> {
        if self.cut_out {
            return self.unread("a here-document between backquotes");
        }
        self.blanks();
        if self.cur.peek().is_none_or(is_meta) {
            return self.syntax("a here-document without a delimiter");
        }
        let start = self.cur.at();
        let word = self.word()?;
        let continued = self.cur.since(start).contains("\\\n");
        let mut delimiter = String::new();
        let mut quoted = false;
        for part in &word.parts {
            match part {
                Part::Lit { text, quoted: q } => {
                    delimiter.push_str(text);
                    quoted |= q;
                }
                _ => return self.unread("such a delimiter of a here-document"),
            }
        }
        if delimiter.is_empty()
            || delimiter.contains(['\n', '$', '`'])
            || word.raw.contains("$'")
            || continued
        {
            return self.unread("such a delimiter of a here-document");
        }
        let slot = self.here.len();
        if slot >= MAX_HERE {
            return Err(Opaque::TooMany(MAX_HERE));
        }
        self.here.push(HereDoc::default());
        self.pending.push(Pending {
            delimiter,
            quoted,
            tabs,
            slot,
        });
        Ok(Kind::Here(slot))
    }

    pub(crate) fn bodies(&mut self) -> Parsed<()> {
        for pending in std::mem::take(&mut self.pending) {
            let mut body = String::new();
            loop {
                if self.cur.is_at_end() {
                    return self.syntax("a here-document without an end");
                }
                let mut line = self.cur.eat_while(|c| c != '\n');
                let ended = self.cur.eat("\n");
                if pending.tabs {
                    line = line.trim_start_matches('\t');
                }
                if line == pending.delimiter {
                    break;
                }
                if !ended {
                    return self.syntax("a here-document without an end");
                }
                if !pending.quoted && line.ends_with('\\') {
                    return self.unread("a continued line in a here-document");
                }
                body.push_str(line);
                body.push('\n');
            }
            let plain = !body.contains(['$', '`', '\\']);
            let parts = if pending.quoted || plain {
                Vec::new()
            } else {
                self.expansions(&body)?
            };
            if let Some(slot) = self.here.get_mut(pending.slot) {
                *slot = HereDoc {
                    literal: pending.quoted || plain,
                    body,
                    parts,
                };
            }
        }
        Ok(())
    }

    pub(crate) fn test(&mut self) -> Parsed<Node> {
        const MARKS: [&str; 6] = ["&&", "||", "(", ")", "<", ">"];
        let mut pieces = Vec::new();
        loop {
            self.newlines()?;
            if self
                .cur
                .rest()
                .strip_prefix("]]")
                .is_some_and(|r| r.is_empty() || r.starts_with(is_meta))
            {
                self.cur.eat("]]");
                return Ok(Node::Test(pieces));
            }
            if let Some(mark) = MARKS.into_iter().find(|m| self.cur.eat(m)) {
                pieces.push(TestPiece::Mark(mark));
                continue;
            }
            if self.cur.peek().is_none_or(is_meta) {
                return self.syntax("`[[` is not closed");
            }
            let word = self.word()?;
            match word.raw.as_str() {
                "!" => pieces.push(TestPiece::Mark("!")),
                // Its other side has rules of its own.
                "=~" => return self.unread("a match with a regular expression"),
                // The operands are computed, and computing can run commands.
                "-eq" | "-ne" | "-lt" | "-le" | "-gt" | "-ge" | "-v" | "-R" => {
                    return self.unread("a comparison that computes");
                }
                _ => pieces.push(TestPiece::Word(word)),
            }
        }
    }
}
