//! From text to tree: words, their quotes, and what is expanded in them.

use crate::ast::*;
use crate::cursor::Cursor;
use crate::expand;
use crate::parse::{Parsed, Parser, Text, is_meta, program};

/// Where a run of parts ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// At a blank or a sign.
    Word,
    /// At `}`, outside of double quotes.
    Brace,
    /// At `}`, within double quotes.
    QuotedBrace,
    /// At `"`.
    Quote,
    /// Where the text ends: the body of a here-document.
    Text,
}

impl End {
    fn is_quoted(self) -> bool {
        matches!(self, Self::QuotedBrace | Self::Quote | Self::Text)
    }
}

#[derive(Default)]
struct Parts {
    list: Vec<Part>,
}

impl Parts {
    fn char(&mut self, c: char, quoted: bool) {
        match self.list.last_mut() {
            Some(Part::Lit { text, quoted: q }) if *q == quoted => text.push(c),
            _ => self.list.push(Part::Lit {
                text: c.into(),
                quoted,
            }),
        }
    }

    fn text(&mut self, more: &str, quoted: bool) {
        match self.list.last_mut() {
            Some(Part::Lit { text, quoted: q }) if *q == quoted => text.push_str(more),
            _ => self.list.push(Part::Lit {
                text: more.to_owned(),
                quoted,
            }),
        }
    }
}

/// Opening brackets in one word.
const MAX_BRACKETS: usize = 64;

/// bash expands braces on the text, before variables: `{a,$}{x}` has `${x}` in it, and `{$a,b}c` has `$ac`.
fn meets_braces(parts: &[Part]) -> bool {
    let lone =
        |part: &Part| matches!(part, Part::Lit { text, quoted: false } if text.contains('$'));
    let grows = |pair: &[Part]| {
        let [
            Part::Param {
                raw, quoted: false, ..
            },
            Part::Lit {
                text,
                quoted: false,
            },
        ] = pair
        else {
            return false;
        };
        !raw.starts_with("${") && text.starts_with(['{', ',', '}'])
    };
    parts.iter().any(lone) || parts.windows(2).any(grows)
}

/// `~+`, `~-` and `~2` are `PWD`, `OLDPWD` and what `pushd` was given, to which anybody gives a value: commands and options,
/// too. They stand at the beginning, or behind one of `behind`.
fn stands_for_variables(parts: &[Part], behind: &[char]) -> bool {
    let named = |(part, first): (&Part, bool)| {
        let Part::Lit {
            text,
            quoted: false,
        } = part
        else {
            return false;
        };
        text.match_indices('~').any(|(at, _)| {
            let (before, after) = text.split_at(at);
            let next = after.chars().nth(1);
            match before.chars().next_back() {
                None if !first => false,
                Some(c) if !behind.contains(&c) => false,
                _ => next.is_some_and(|c| matches!(c, '+' | '-' | '0'..='9')),
            }
        })
    };
    parts
        .iter()
        .enumerate()
        .any(|(at, part)| named((part, at == 0)))
}

/// The same of what becomes of braces, which is before tildes. Of what is no plain list, nobody knows.
fn braces_make(parts: &[Part]) -> bool {
    let (parts, raw) = (parts.to_vec(), String::new());
    match expand::expand(&Word { parts, raw }) {
        Ok(words) => words
            .iter()
            .any(|(_, parts)| stands_for_variables(parts, &['=', ':'])),
        Err(_) => true,
    }
}

const TILDE: &str = "`~+`, `~-` or `~2`, which are what variables say";

impl Parser<'_> {
    pub(crate) fn word(&mut self) -> Parsed<Word> {
        self.spend()?;
        let start = self.cur.at();
        let parts = if self.cur.sees("<(") || self.cur.sees(">(") {
            vec![self.process()?]
        } else {
            self.parts(End::Word)?
        };
        let raw = self.cur.since(start).replace("\\\n", "");
        if self.cur.at() == start {
            return self.syntax("a word is missing");
        }
        // Braces, and a tilde behind a sign: bash expands them, others need not.
        let bare = |c: char| {
            parts
                .iter()
                .any(|p| matches!(p, Part::Lit { text, quoted: false } if text.contains(c)))
        };
        self.differs |= bare('{') || (bare('~') && raw.contains("=~"));
        // Each of them, other parsers look to the end for what closes it.
        if raw.bytes().filter(|b| *b == b'[').count() > MAX_BRACKETS {
            return self.unread("a word with so many brackets");
        }
        if stands_for_variables(&parts, &['=', ':'])
            || bare('~') && bare('{') && braces_make(&parts)
        {
            return self.unread(TILDE);
        }
        if bare('{') && meets_braces(&parts) {
            return self.unread("a `$` that braces may put before something else");
        }
        if self.cur.peek().is_some_and(|c| !is_meta(c)) {
            return self.syntax("a word that goes on behind a substitution");
        }
        Ok(Word { parts, raw })
    }

    /// What a shell expands in the body of a here-document whose delimiter is not quoted.
    pub(crate) fn expansions(&mut self, body: &str) -> Parsed<Vec<Part>> {
        let (limits, depth, budget) = (self.limits, self.depth, self.budget);
        let mut inner = Parser {
            cur: Cursor::new(body),
            limits,
            depth,
            budget,
            outline: Outline::default(),
            masks: Vec::new(),
            base: 0,
            texts: Vec::new(),
            bash: false,
            differs: false,
            zsh: false,
            pending: Vec::new(),
            outer: 0,
            here: Vec::new(),
            cut_out: true,
        };
        let parts = inner.descend(|p| p.parts(End::Text))?;
        let (texts, bash, differs, left) = (inner.texts, inner.bash, inner.differs, inner.budget);
        self.zsh |= inner.zsh;
        self.texts.extend(texts);
        self.bash |= bash;
        self.differs |= differs;
        self.budget = left;
        Ok(parts)
    }

    fn parts(&mut self, end: End) -> Parsed<Vec<Part>> {
        let mut parts = Parts::default();
        let quoted = end.is_quoted();
        while let Some(c) = self.cur.peek() {
            // A piece by itself: work for everybody who reads the word.
            let closes = c == '"' && end == End::Quote;
            if matches!(c, '$' | '`' | '"' | '\'' | '[' | ']') && !closes {
                self.spend()?;
            }
            match (c, end) {
                (c, End::Word) if is_meta(c) => break,
                ('}', End::Brace | End::QuotedBrace) | ('"', End::Quote) => break,
                ('\'' | '"' | '\\', End::QuotedBrace) => {
                    return self.unread("a quote within `${…}` within double quotes");
                }
                ('$', _) => self.dollar(&mut parts, end)?,
                ('`', _) => self.backquoted(&mut parts, end)?,
                ('\\', End::Word | End::Brace) => {
                    self.cur.bump();
                    match self.cur.bump() {
                        Some('\n') => {
                            self.line_within()?;
                        }
                        Some(c) => parts.char(c, true),
                        None => return self.syntax("a `\\` with nothing behind it"),
                    }
                }
                ('\\', _) => {
                    self.cur.bump();
                    match self.cur.peek() {
                        Some('\n') => {
                            self.line_within()?;
                            self.cur.bump();
                        }
                        Some(c @ ('$' | '`' | '\\')) => {
                            self.cur.bump();
                            parts.char(c, true);
                        }
                        Some('"') if end == End::Quote => {
                            self.cur.bump();
                            parts.char('"', true);
                        }
                        _ => parts.char('\\', true),
                    }
                }
                ('\'', End::Word | End::Brace) => {
                    self.cur.bump();
                    let text = self.cur.eat_while(|c| c != '\'');
                    if text.contains('\n') {
                        self.line_within()?;
                    }
                    if !self.cur.eat("'") {
                        return self.syntax("a `'` that is not closed");
                    }
                    parts.text(text, true);
                }
                ('"', End::Word | End::Brace) => {
                    self.cur.bump();
                    let inner = self.descend(|p| p.parts(End::Quote))?;
                    // An empty pair of quotes makes a word, too; `"$@"` need not.
                    if inner.is_empty() {
                        parts.text("", true);
                    }
                    parts.list.extend(inner);
                    if !self.cur.eat("\"") {
                        return self.syntax("a `\"` that is not closed");
                    }
                }
                // bash runs `<(…)` there, too.
                ('<' | '>' | '(' | ')', End::Brace) => {
                    return self.unread("a sign of the shell within `${…}` that is not quoted");
                }
                (c, _) => {
                    if c == '\n' && end != End::Text {
                        self.line_within()?;
                    }
                    if matches!(c, '{' | '}') && end == End::Word {
                        self.masks
                            .push((self.cur.at().saturating_sub(self.base), b'_'));
                    }
                    self.cur.bump();
                    parts.char(c, quoted);
                }
            }
        }
        Ok(parts.list)
    }

    /// A line ends within a word. Where the body of a here-document begins then, shells do not agree.
    pub(crate) fn line_within(&self) -> Parsed<()> {
        if self.pending.is_empty() && self.outer == 0 {
            Ok(())
        } else {
            self.unread("a line that ends within a word before a here-document")
        }
    }

    fn dollar(&mut self, parts: &mut Parts, end: End) -> Parsed<()> {
        let quoted = end.is_quoted();
        let start = self.cur.at();
        self.cur.bump();
        match self.cur.peek() {
            Some('(') if self.cur.second() == Some('(') => {
                self.cur.eat("((");
                self.arithmetic()?;
                parts.list.push(Part::Arith {
                    raw: self.cur.since(start).to_owned(),
                    quoted,
                });
                Ok(())
            }
            // A parenthesis behind it makes arithmetic of it.
            Some('(') if self.cur.sees("(\\\n") => {
                self.unread("a substitution that begins with a continued line")
            }
            Some('(') => {
                self.cur.bump();
                let sub = self.substitution()?;
                parts.list.push(Part::Subst {
                    sub,
                    raw: self.cur.since(start).to_owned(),
                    quoted,
                });
                Ok(())
            }
            Some('{') => self.braced(parts, start, end),
            Some('[') => self.unread("`$[…]`"),
            Some('\'') if !quoted => {
                self.cur.bump();
                self.differs = true;
                let mut text = String::new();
                self.ansi(&mut text)?;
                parts.text(&text, true);
                Ok(())
            }
            Some('"') if !quoted => self.unread("a translated string"),
            Some(c) if c.is_ascii_alphabetic() || c == '_' => {
                self.cur
                    .eat_while(|c| c.is_ascii_alphanumeric() || c == '_');
                // What follows the continued line may belong to the name.
                if self.cur.sees("\\\n") {
                    return self.unread("a name of a variable before a continued line");
                }
                self.param(parts, start, quoted);
                Ok(())
            }
            Some(c) if c.is_ascii_digit() || "@*#?-$!".contains(c) => {
                self.cur.bump();
                self.param(parts, start, quoted);
                Ok(())
            }
            // What follows the continued line belongs to it.
            Some('\\') if self.cur.second() == Some('\n') => {
                self.unread("a `$` at the end of a continued line")
            }
            next => {
                // `$~x` and its like are expansions to zsh.
                self.zsh |= next.is_some_and(|c| "~^=+".contains(c));
                parts.char('$', quoted);
                Ok(())
            }
        }
    }

    fn param(&mut self, parts: &mut Parts, start: usize, quoted: bool) {
        // To zsh that is a subscript, which it computes.
        self.zsh |= self.cur.peek() == Some('[');
        parts.list.push(Part::Param {
            raw: self.cur.since(start).to_owned(),
            quoted,
            inner: Vec::new(),
        });
    }
}

impl Parser<'_> {
    /// Numbers, names and operators up to `))`. A subscript, a command or a quote in it is not followed.
    fn arithmetic(&mut self) -> Parsed<()> {
        let mut open = 0usize;
        let mut before = '(';
        loop {
            let next = self.cur.peek();
            if next.is_some_and(|c| !c.is_ascii_alphanumeric() && c != '_') {
                self.spend()?;
            }
            let behind = std::mem::replace(&mut before, next.unwrap_or('('));
            match self.cur.bump() {
                Some('(') => open += 1,
                Some(')') if open > 0 => open -= 1,
                Some(')') if self.cur.eat(")") => return Ok(()),
                // What it says goes on no name or number (`x$y`).
                Some('$')
                    if !(behind.is_ascii_alphanumeric() || matches!(behind, '_' | '$'))
                        && self
                            .cur
                            .peek()
                            .is_some_and(|c| c.is_ascii_alphabetic() || c == '_') => {}
                Some(c) if c.is_ascii_alphanumeric() || "_ \t+-*/%<>=!&|^~?:,".contains(c) => {}
                _ => return self.unread("an arithmetic expansion that is not plain"),
            }
        }
    }

    /// From behind the opening parenthesis to behind the closing one.
    fn substitution(&mut self) -> Parsed<Box<Sub>> {
        let start = self.cur.at();
        let outline = std::mem::take(&mut self.outline);
        let masks = std::mem::take(&mut self.masks);
        let pending = std::mem::take(&mut self.pending);
        let base = std::mem::replace(&mut self.base, start);
        self.outer += pending.len();
        let list = self.descend(|p| p.list())?;
        if !self.pending.is_empty() {
            return self.syntax("a here-document without an end");
        }
        let text = self.cur.since(start).to_owned();
        if !self.cur.eat(")") {
            return self.syntax("a substitution that is not closed");
        }
        self.outer -= pending.len();
        self.pending = pending;
        self.base = base;
        self.texts.push(Text {
            text,
            outline: std::mem::replace(&mut self.outline, outline),
            masks: std::mem::replace(&mut self.masks, masks),
        });
        Ok(Box::new(Sub { list }))
    }

    fn process(&mut self) -> Parsed<Part> {
        let start = self.cur.at();
        let write = self.cur.sees(">");
        self.cur.bump();
        self.cur.bump();
        self.bash = true;
        let sub = self.substitution()?;
        Ok(Part::Process {
            sub,
            raw: self.cur.since(start).to_owned(),
            write,
        })
    }

    fn backquoted(&mut self, parts: &mut Parts, end: End) -> Parsed<()> {
        let start = self.cur.at();
        self.cur.bump();
        let mut text = String::new();
        loop {
            match self.cur.bump() {
                Some('`') => break,
                Some('\\') => match self.cur.bump() {
                    Some(c @ ('`' | '\\' | '$')) => text.push(c),
                    // It is taken away before a comment is, which goes on then.
                    Some('\n') => {
                        return self.unread("a continued line between backquotes");
                    }
                    // dash takes the backslash away, and bash does not.
                    Some('"') if end.is_quoted() => {
                        return self.unread("an escaped quote between backquotes");
                    }
                    Some(c) => {
                        text.push('\\');
                        text.push(c);
                    }
                    None => break,
                },
                // Where bash looks for braces, this ends the quotes.
                Some('"') if end.is_quoted() => {
                    return self.unread("a double quote between backquotes between double quotes");
                }
                Some(c) => text.push(c),
                None => return self.syntax("a backquote that is not closed"),
            }
        }
        if text.contains('\n') {
            self.line_within()?;
        }
        let inner = program(&text, self.limits, self.depth, self.budget, true)?;
        self.texts.extend(inner.texts);
        self.bash |= inner.bash;
        self.differs |= inner.differs;
        self.zsh |= inner.zsh;
        self.budget = inner.left;
        parts.list.push(Part::Subst {
            sub: Box::new(Sub { list: inner.list }),
            raw: self.cur.since(start).to_owned(),
            quoted: end.is_quoted(),
        });
        Ok(())
    }

    /// `${…}`, in the forms that do nothing but read a variable.
    fn braced(&mut self, parts: &mut Parts, start: usize, end: End) -> Parsed<()> {
        const OPS: [&str; 16] = [
            ":-", ":+", ":?", "-", "+", "?", "%%", "%", "##", "#", "//", "/", "^^", "^", ",,", ",",
        ];
        self.cur.eat("{");
        let length = self.cur.peek() == Some('#') && self.cur.second() != Some('}');
        if length {
            self.cur.bump();
        }
        let name = match self.cur.peek() {
            Some(c) if c.is_ascii_digit() => self.cur.eat_while(|c| c.is_ascii_digit()),
            Some(c) if c.is_ascii_alphabetic() || c == '_' => self
                .cur
                .eat_while(|c| c.is_ascii_alphanumeric() || c == '_'),
            Some(c) if "@*#?-$!".contains(c) && self.cur.second() == Some('}') => {
                self.cur.bump();
                "special"
            }
            _ => "",
        };
        if name.is_empty() {
            return self.unread("such an expansion of a variable");
        }
        let mut inner = Vec::new();
        if self.cur.peek() != Some('}') {
            if length {
                return self.unread("such an expansion of a variable");
            }
            match OPS.into_iter().find(|op| self.cur.eat(op)) {
                Some(op) => {
                    self.bash |= op.starts_with(['/', '^', ',']);
                    let end = if end.is_quoted() {
                        End::QuotedBrace
                    } else {
                        End::Brace
                    };
                    inner = self.descend(|p| p.parts(end))?;
                    if stands_for_variables(&inner, &['=', ':', '/']) {
                        return self.unread(TILDE);
                    }
                }
                None if self.cur.eat(":") => {
                    self.bash = true;
                    self.cur
                        .eat_while(|c| c.is_ascii_digit() || matches!(c, ' ' | ':' | '-'));
                }
                None => return self.unread("such an expansion of a variable"),
            }
        }
        if !self.cur.eat("}") {
            return self.unread("such an expansion of a variable");
        }
        parts.list.push(Part::Param {
            raw: self.cur.since(start).to_owned(),
            quoted: end.is_quoted(),
            inner,
        });
        Ok(())
    }
}
