//! From text to tree: the grammar of POSIX shells and the part of bash's that people write, strictly. What is
//! outside of it is refused, never guessed.
//!
//! One pass from left to right, each byte looked at a bounded number of times, so that the time is linear in the
//! length; nesting is counted, so that the stack is bounded. Other parsers see only what this one has accepted.

use crate::Limits;
use crate::ast::*;
use crate::cursor::Cursor;
use crate::reason::Opaque;
use crate::redirect::Pending;

pub(crate) type Parsed<T> = Result<T, Opaque>;

/// A text that was read as commands, and what was found in it: for the other parsers.
#[derive(Debug)]
pub(crate) struct Text {
    pub(crate) text: String,
    pub(crate) outline: Outline,
    /// What tree-sitter's grammar does not know, and a byte to put there for it: braces in
    /// words, a lone dash, and `time`.
    pub(crate) masks: Vec<(usize, u8)>,
}

#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) list: List,
    /// This text, and the texts in its words.
    pub(crate) texts: Vec<Text>,
    /// What `Kind::Here` counts.
    pub(crate) here: Vec<HereDoc>,
    /// What is left of the budget.
    pub(crate) left: usize,
    /// Something in it is for bash alone.
    pub(crate) bash: bool,
    /// Something in it means something else to other shells, as it is written.
    pub(crate) differs: bool,
    /// To zsh, a `$` in it means more.
    pub(crate) zsh: bool,
}

pub(crate) struct Parser<'a> {
    pub(crate) cur: Cursor<'a>,
    pub(crate) limits: &'a Limits,
    pub(crate) depth: usize,
    /// How many words and commands are left.
    pub(crate) budget: usize,
    pub(crate) outline: Outline,
    pub(crate) masks: Vec<(usize, u8)>,
    /// Where the text that `outline` and `masks` are about begins.
    pub(crate) base: usize,
    pub(crate) texts: Vec<Text>,
    pub(crate) bash: bool,
    pub(crate) differs: bool,
    pub(crate) zsh: bool,
    /// Here-documents whose bodies begin behind this line.
    pub(crate) pending: Vec<Pending>,
    /// How many such wait around the substitution that is being read.
    pub(crate) outer: usize,
    /// Their bodies, as far as they are read.
    pub(crate) here: Vec<HereDoc>,
    /// The text was cut out of another one: a here-document in it has no lines of its own.
    pub(crate) cut_out: bool,
}

/// Variables that are set for one command.
const MAX_ASSIGNS: usize = 1024;
/// Words that end a list.
const CLOSERS: [&str; 8] = ["then", "do", "done", "fi", "elif", "else", "esac", "}"];
const OPENERS: [&str; 12] = [
    "if", "while", "until", "for", "case", "function", "select", "coproc", "time", "[[", "{", "!",
];

/// `depth` levels are used up already, and `budget` words and commands are left.
pub(crate) fn program(
    text: &str,
    limits: &Limits,
    depth: usize,
    budget: usize,
    cut_out: bool,
) -> Parsed<Program> {
    let mut parser = Parser {
        cur: Cursor::new(text),
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
        cut_out,
    };
    let list = parser.descend(|p| p.list())?;
    if !parser.cur.is_at_end() {
        return parser.syntax("a word or sign that does not belong here");
    }
    if !parser.pending.is_empty() {
        return parser.syntax("a here-document without an end");
    }
    let mut texts = vec![Text {
        text: text.to_owned(),
        outline: parser.outline,
        masks: parser.masks,
    }];
    texts.append(&mut parser.texts);
    Ok(Program {
        list,
        texts,
        here: parser.here,
        bash: parser.bash,
        differs: parser.differs || parser.bash,
        zsh: parser.zsh,
        left: parser.budget,
    })
}

pub(crate) fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

/// What ends a word that is not quoted.
pub(crate) fn is_meta(c: char) -> bool {
    matches!(
        c,
        ' ' | '\t' | '\n' | ';' | '&' | '|' | '<' | '>' | '(' | ')'
    )
}

pub(crate) fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

impl Parser<'_> {
    pub(crate) fn syntax<T>(&self, what: &'static str) -> Parsed<T> {
        Err(Opaque::Syntax {
            at: self.cur.at(),
            what,
        })
    }

    pub(crate) fn unread<T>(&self, what: &'static str) -> Parsed<T> {
        Err(Opaque::Unread {
            at: self.cur.at(),
            what,
        })
    }

    pub(crate) fn descend<T>(&mut self, inner: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= self.limits.depth {
            return Err(Opaque::TooDeep(self.limits.depth));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    pub(crate) fn spend(&mut self) -> Parsed<()> {
        match self.budget.checked_sub(1) {
            Some(left) => {
                self.budget = left;
                Ok(())
            }
            None => Err(Opaque::TooMany(self.limits.words)),
        }
    }

    /// Blanks, line continuations and a comment.
    pub(crate) fn blanks(&mut self) {
        loop {
            self.cur.eat_while(is_blank);
            if !self.cur.eat("\\\n") {
                break;
            }
        }
        if self.cur.peek() == Some('#') {
            self.cur.eat_while(|c| c != '\n');
        }
    }

    /// Goes over empty lines; the bodies of here-documents are read where their line ends.
    pub(crate) fn newlines(&mut self) -> Parsed<()> {
        self.blanks();
        while self.cur.peek() == Some('\n') {
            if self.outer > 0 {
                return self.unread("a here-document that goes on within a substitution");
            }
            self.cur.bump();
            self.bodies()?;
            self.blanks();
        }
        Ok(())
    }

    /// Which of the words that mean something at a command's place comes next.
    pub(crate) fn keyword(&self) -> Option<&'static str> {
        CLOSERS.into_iter().chain(OPENERS).find(|word| {
            self.cur.rest().strip_prefix(word).is_some_and(|rest| {
                rest.chars()
                    .next()
                    .is_none_or(|c| is_meta(c) && !(matches!(*word, "!" | "{" | "[[") && c == '('))
            })
        })
    }

    pub(crate) fn expect(&mut self, word: &'static str) -> Parsed<()> {
        self.newlines()?;
        if self.keyword() == Some(word) && self.cur.eat(word) {
            Ok(())
        } else {
            self.syntax("the compound command is not finished")
        }
    }

    fn at_list_end(&self) -> bool {
        self.cur.is_at_end()
            || self.cur.peek() == Some(')')
            || self.cur.sees(";;")
            || self.cur.sees(";&")
            || self.keyword().is_some_and(|w| CLOSERS.contains(&w))
    }

    pub(crate) fn list(&mut self) -> Parsed<List> {
        let mut list = List::default();
        loop {
            self.newlines()?;
            if self.at_list_end() {
                return Ok(list);
            }
            let mut item = self.item()?;
            self.blanks();
            if self.cur.peek() == Some('&') {
                self.cur.bump();
                item.background = true;
            } else if self.cur.peek() != Some('\n') && !self.at_list_end() && !self.cur.eat(";") {
                return self.syntax("a sign that does not belong here");
            }
            self.blanks();
            item.ends_line = self.cur.peek() == Some('\n');
            list.items.push(item);
        }
    }

    /// A list that has to have something in it.
    pub(crate) fn filled(&mut self) -> Parsed<List> {
        let list = self.descend(|p| p.list())?;
        if list.items.is_empty() {
            return self.syntax("a command is missing");
        }
        Ok(list)
    }

    fn item(&mut self) -> Parsed<Item> {
        let first = self.pipeline()?;
        let mut rest = Vec::new();
        loop {
            self.blanks();
            let join = if self.cur.eat("&&") {
                Join::And
            } else if self.cur.eat("||") {
                Join::Or
            } else {
                return Ok(Item {
                    first,
                    rest,
                    background: false,
                    ends_line: false,
                });
            };
            self.newlines()?;
            rest.push((join, self.pipeline()?));
        }
    }

    fn pipeline(&mut self) -> Parsed<Pipeline> {
        let mut pipeline = Pipeline {
            negated: false,
            timed: false,
            stages: Vec::new(),
        };
        self.blanks();
        if self.keyword() == Some("time") {
            let at = self.cur.at().saturating_sub(self.base);
            self.masks.extend((at..at + 4).map(|at| (at, b' ')));
            self.cur.eat("time");
            self.bash = true;
            pipeline.timed = true;
            self.blanks();
            if self.cur.sees("-") {
                return self.unread("an option of the word `time`");
            }
        }
        if self.keyword() == Some("!") {
            self.cur.eat("!");
            pipeline.negated = true;
            self.blanks();
            if matches!(self.keyword(), Some("!" | "time")) {
                return self.unread("a `!` before another");
            }
        }
        loop {
            self.blanks();
            let mut stage = self.stage()?;
            self.blanks();
            if self.cur.sees("||") || !self.cur.eat("|") {
                pipeline.stages.push(stage);
                return Ok(pipeline);
            }
            stage.errors_too = self.cur.eat("&");
            self.differs |= stage.errors_too;
            pipeline.stages.push(stage);
            self.newlines()?;
        }
    }

    pub(crate) fn stage(&mut self) -> Parsed<Stage> {
        self.spend()?;
        if self.cur.sees("((") || self.cur.sees("(\\\n") {
            return self.unread("an arithmetic command, or a parenthesis before a continued line");
        }
        let node = if self.cur.eat("(") {
            let list = self.filled()?;
            if !self.cur.eat(")") {
                return self.syntax("the subshell is not closed");
            }
            Node::Subshell(list)
        } else {
            match self.keyword() {
                None => return self.simple(),
                Some("{") => {
                    self.cur.eat("{");
                    let list = self.filled()?;
                    self.expect("}")?;
                    Node::Group(list)
                }
                Some("if") => self.conditional()?,
                Some(word @ ("while" | "until")) => {
                    self.cur.eat(word);
                    let test = self.filled()?;
                    Node::Loop {
                        until: word == "until",
                        test,
                        body: self.body()?,
                    }
                }
                Some("for") => self.for_in()?,
                Some("case") => self.case()?,
                Some("function") => {
                    self.cur.eat("function");
                    self.differs = true;
                    self.blanks();
                    let name = self.cur.eat_while(|c| !is_meta(c)).to_owned();
                    self.blanks();
                    if self.cur.eat("(") {
                        self.blanks();
                        if !self.cur.eat(")") {
                            return self.syntax("a function's parentheses are not closed");
                        }
                    }
                    self.function(name)?
                }
                Some("[[") => {
                    self.cur.eat("[[");
                    self.bash = true;
                    self.descend(|p| p.test())?
                }
                Some("select" | "coproc") => return self.unread("`select` or `coproc`"),
                Some(_) => return self.syntax("a word that does not belong here"),
            }
        };
        let mut redirects = Vec::new();
        loop {
            self.blanks();
            match self.redirect()? {
                Some(redirect) => redirects.push(redirect),
                None => break,
            }
        }
        // Nothing but a sign or the end can stand behind a compound command.
        if self.cur.peek().is_some_and(|c| !is_meta(c)) || self.cur.peek() == Some('(') {
            return self.syntax("a word after a compound command");
        }
        Ok(Stage {
            node,
            redirects,
            errors_too: false,
        })
    }

    fn simple(&mut self) -> Parsed<Stage> {
        let mut simple = Simple::default();
        let mut raw = Vec::new();
        let mut redirects = Vec::new();
        loop {
            self.blanks();
            if let Some(redirect) = self.redirect()? {
                redirects.push(redirect);
                continue;
            }
            let process = self.cur.sees("<(") || self.cur.sees(">(");
            match self.cur.peek() {
                Some('(') => {
                    let [word] = simple.words.as_slice() else {
                        return self.syntax("a parenthesis that does not belong here");
                    };
                    if !redirects.is_empty() || !simple.assigns.is_empty() {
                        return self.syntax("a parenthesis that does not belong here");
                    }
                    let name = word.raw.clone();
                    self.cur.eat("(");
                    self.blanks();
                    if !self.cur.eat(")") {
                        return self.syntax("a function's parentheses are not closed");
                    }
                    return Ok(Stage {
                        node: self.function(name)?,
                        redirects: Vec::new(),
                        errors_too: false,
                    });
                }
                Some(c) if !is_meta(c) || process => {}
                _ => break,
            }
            let word = self.word()?;
            if word.raw == "-" {
                let at = self.cur.at().saturating_sub(self.base + 1);
                self.masks.push((at, b'_'));
            }
            if self.cur.sees("<(") || self.cur.sees(">(") {
                return self.unread("a process substitution within a word");
            }
            let number = word.raw.chars().all(|c| c.is_ascii_digit());
            if self.cur.peek().is_some_and(|c| matches!(c, '<' | '>'))
                && (number || word.raw.starts_with('{'))
            {
                return self.unread("a redirection whose number is not plain");
            }
            if simple.words.is_empty() {
                if (CLOSERS.contains(&word.raw.as_str()) || OPENERS.contains(&word.raw.as_str()))
                    && simple.assigns.is_empty()
                {
                    return self.unread("a word that a shell would take for one of its own");
                }
                if let Some(assign) = self.assignment(&word)? {
                    if simple.assigns.len() >= MAX_ASSIGNS {
                        return Err(Opaque::TooMany(MAX_ASSIGNS));
                    }
                    raw.push(word.raw);
                    simple.assigns.push(assign);
                    continue;
                }
            }
            raw.push(if process {
                "<(".to_owned()
            } else {
                word.raw.clone()
            });
            simple.words.push(word);
        }
        if simple.words.is_empty() && simple.assigns.is_empty() && redirects.is_empty() {
            return self.syntax("a command is missing");
        }
        if !raw.is_empty() && raw.first().map(String::as_str) != Some("[") {
            self.outline.commands.push(raw);
        }
        Ok(Stage {
            node: Node::Simple(simple),
            redirects,
            errors_too: false,
        })
    }

    /// `NAME=value`, where the name is not quoted.
    fn assignment(&self, word: &Word) -> Parsed<Option<Assign>> {
        let Some((name, value)) = split_assignment(word) else {
            let subscript = word
                .raw
                .split_once('[')
                .is_some_and(|(name, rest)| is_name(name) && rest.contains('='));
            return if subscript {
                self.unread("an element of an array")
            } else {
                Ok(None)
            };
        };
        if self.cur.peek() == Some('(') {
            return self.unread("an array");
        }
        let append = name.ends_with('+');
        Ok(Some(Assign {
            name: name.trim_end_matches('+').to_owned(),
            append,
            value,
        }))
    }
}

/// The name with a `+` behind it, if there is one, and the value.
pub(crate) fn split_assignment(word: &Word) -> Option<(String, Word)> {
    let Some(Part::Lit {
        text,
        quoted: false,
    }) = word.parts.first()
    else {
        return None;
    };
    let (name, value) = text.split_once('=')?;
    if !is_name(name.strip_suffix('+').unwrap_or(name)) {
        return None;
    }
    let mut parts = Vec::new();
    if !value.is_empty() {
        parts.push(Part::Lit {
            text: value.to_owned(),
            quoted: false,
        });
    }
    parts.extend(word.parts.iter().skip(1).cloned());
    let raw = word
        .raw
        .split_once('=')
        .map(|(_, v)| v.to_owned())
        .unwrap_or_default();
    Some((name.to_owned(), Word { parts, raw }))
}
