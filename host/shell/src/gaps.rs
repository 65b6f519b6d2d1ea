//! Places of a text that bash expands or opens before it tells its `DEBUG` trap of any command: around compound
//! commands, and in the words of loops and choices. Who asks about simple commands alone does not see them.
//!
//! Tried with bash 5.2: of a simple command all words, redirections and here-documents are told before anything of
//! it is done, of `[[ … ]]` all of it, of `case` its word; of `for` the words only when they have been expanded.

use crate::ast::*;
use crate::parse::Program;
use crate::reading::Word as Arg;
use crate::{Limits, Opaque, expand, opinion, parse};

/// Why such a text is not for a shell whose commands are asked about one by one; and what to do instead.
#[derive(thiserror::Error, Debug, Clone, PartialEq, Eq)]
pub enum Gap {
    #[error("{0}")]
    Unread(Opaque),
    #[error(
        "`{0}` is opened around several commands before any of them can be asked about: redirect each of them by itself"
    )]
    Redirect(String),
    #[error(
        "`{0}` is expanded before anything can be asked about: set a variable first, and use that here"
    )]
    Word(String),
    #[error(
        "`{0}`: bash does not tell which descriptor that is: open it for reading, or for writing"
    )]
    Descriptor(String),
    /// In the encodings of China, Japan and Taiwan these signs are the second halves of characters, which is what bash
    /// takes them for if somebody has set such a locale; and behind half a character of four bytes, of which a digit is
    /// the second one, it misses quotes.
    #[error(
        "`{0}` means something else to a shell with another encoding: write a blank or a quote between the two"
    )]
    Encoding(String),
    #[error("what `eval` is to run has to be written out: run it as it is")]
    Eval,
    #[error("a gated shell asks by `:`, which cannot be a function: give it another name")]
    Colon,
}

/// Has a text that bash reads nothing but what it tells of, command by command, before it does it?
pub fn gaps(text: &[u8], limits: &Limits) -> Result<(), Gap> {
    let text = crate::text(text, limits).map_err(Gap::Unread)?;
    let mut found = Search {
        limits,
        budget: limits.words,
        texts: MAX_TEXTS,
    };
    found.text(text, 0)
}

/// Opening brackets in a text.
const MAX_BRACKETS: usize = 1_000;
/// Texts in one line that `eval` runs: other parsers are asked about each of them.
const MAX_TEXTS: usize = 16;

struct Search<'a> {
    limits: &'a Limits,
    budget: usize,
    /// How many are left, of those that `eval` runs.
    texts: usize,
}

type Found = Result<(), Gap>;

impl Search<'_> {
    fn text(&mut self, text: &str, depth: usize) -> Found {
        let mut before = ' ';
        for c in text.chars() {
            if !before.is_ascii() && (c.is_ascii_digit() || "\\`|{}[]^~@".contains(c)) {
                return Err(Gap::Encoding([before, c].into_iter().collect()));
            }
            before = c;
        }
        // Of each, other parsers look for the end.
        if text.bytes().filter(|b| *b == b'[').count() > MAX_BRACKETS {
            return Err(Gap::Unread(Opaque::TooMany(MAX_BRACKETS)));
        }
        let program = parse::program(text, self.limits, depth, self.budget, false);
        let program = program.map_err(Gap::Unread)?;
        self.budget = program.left;
        if let Some(reason) = opinion::disagreement(&program.texts) {
            return Err(Gap::Unread(reason));
        }
        let mut walk = Walk {
            search: self,
            program: &program,
            depth,
        };
        walk.list(&program.list)
    }
}

struct Walk<'a, 'b> {
    search: &'a mut Search<'b>,
    program: &'a Program,
    depth: usize,
}

impl Walk<'_, '_> {
    fn list(&mut self, list: &List) -> Found {
        for item in &list.items {
            self.pipeline(&item.first)?;
            for (_, pipeline) in &item.rest {
                self.pipeline(pipeline)?;
            }
        }
        Ok(())
    }

    fn pipeline(&mut self, pipeline: &Pipeline) -> Found {
        pipeline.stages.iter().try_for_each(|s| self.stage(s))
    }

    fn stage(&mut self, stage: &Stage) -> Found {
        if let Node::Simple(simple) = &stage.node {
            return self.simple(simple, &stage.redirects);
        }
        for redirect in &stage.redirects {
            self.around(redirect)?;
        }
        match &stage.node {
            // Above.
            Node::Simple(_) => Ok(()),
            Node::Group(list) | Node::Subshell(list) => self.list(list),
            Node::If { arms, otherwise } => {
                for (test, body) in arms {
                    self.list(test)?;
                    self.list(body)?;
                }
                otherwise.iter().try_for_each(|list| self.list(list))
            }
            Node::Loop { test, body, .. } => {
                self.list(test)?;
                self.list(body)
            }
            Node::For { words, body, .. } => {
                words.iter().flatten().try_for_each(plain)?;
                self.list(body)
            }
            Node::Case { word, arms } => {
                self.parts(&word.parts)?;
                for arm in arms {
                    arm.patterns.iter().try_for_each(plain)?;
                    self.list(&arm.body)?;
                }
                Ok(())
            }
            Node::Function { name, .. } if name == ":" => Err(Gap::Colon),
            Node::Function { body, .. } => self.stage(body),
            Node::Test(pieces) => pieces.iter().try_for_each(|piece| match piece {
                TestPiece::Word(word) => self.parts(&word.parts),
                TestPiece::Mark(_) => Ok(()),
            }),
        }
    }

    /// bash tells of these before it does anything for them; what runs within their words is told of by itself.
    fn simple(&mut self, simple: &Simple, redirects: &[Redirect]) -> Found {
        for redirect in redirects {
            match &redirect.kind {
                // It writes the sign without the number.
                Kind::File("<>", target) if redirect.fd.is_some() => {
                    return Err(Gap::Descriptor(format!("<> {}", shown(&target.raw))));
                }
                Kind::File(_, target) | Kind::Both { target, .. } => self.parts(&target.parts)?,
                Kind::HereString(word) => self.parts(&word.parts)?,
                Kind::Here(slot) => self.here(*slot)?,
                Kind::Dup(..) => {}
            }
        }
        for assign in &simple.assigns {
            self.parts(&assign.value.parts)?;
        }
        for word in &simple.words {
            self.parts(&word.parts)?;
        }
        self.eval(&simple.words)
    }

    /// Of what `eval` runs, bash tells by simple commands, too.
    fn eval(&mut self, words: &[Word]) -> Found {
        let words = expand::words(words).map_err(Gap::Unread)?;
        let mut words = words.into_iter().map(certain).peekable();
        // Which command it is has to be certain, which is seen where it is asked about.
        let is = |word: &Option<String>, names: &[&str]| {
            word.as_deref().is_some_and(|word| names.contains(&word))
        };
        let passes = |word: &Option<String>| {
            let option = |w: &str| w.starts_with("-p") && w.bytes().skip(1).all(|b| b == b'p');
            is(word, &["builtin", "command", "--"]) || word.as_deref().is_some_and(option)
        };
        while words.next_if(passes).is_some() {}
        if words.next_if(|w| is(w, &["eval"])).is_none() {
            return Ok(());
        }
        words.next_if(|w| is(w, &["--"]));
        let texts: Option<Vec<String>> = words.collect();
        let text = texts.ok_or(Gap::Eval)?.join(" ");
        if text.trim().is_empty() {
            return Ok(());
        }
        let text = crate::text(text.as_bytes(), self.search.limits).map_err(Gap::Unread)?;
        self.search.texts = self.search.texts.checked_sub(1).ok_or(Gap::Eval)?;
        self.search.text(text, self.depth + 1)
    }

    /// Opened around commands, or around none.
    fn around(&mut self, redirect: &Redirect) -> Found {
        let low = redirect.fd.is_none_or(|fd| fd <= 2);
        let fine = match &redirect.kind {
            Kind::File(_, target) | Kind::Both { target, .. } => {
                low && literal(target).as_deref() == Some("/dev/null")
            }
            Kind::Dup(_, to) => low && matches!(to.as_str(), "0" | "1" | "2" | "-"),
            Kind::HereString(word) => low && plain(word).is_ok(),
            Kind::Here(slot) => low && self.document(*slot).is_some_and(|d| is_plain(&d.parts)),
        };
        if fine {
            return Ok(());
        }
        Err(Gap::Redirect(match &redirect.kind {
            Kind::File(sign, target) => format!("{sign} {}", shown(&target.raw)),
            Kind::Both { target, .. } => format!("&> {}", shown(&target.raw)),
            Kind::Dup(sign, to) => format!("{sign}{to}"),
            Kind::HereString(word) => format!("<<< {}", shown(&word.raw)),
            Kind::Here(_) => "<<".to_owned(),
        }))
    }

    fn document(&self, slot: usize) -> Option<&HereDoc> {
        self.program.here.get(slot)
    }

    fn here(&mut self, slot: usize) -> Found {
        let program = self.program;
        match program.here.get(slot) {
            Some(document) => self.parts(&document.parts),
            None => Ok(()),
        }
    }

    /// What is run within a word of a command that is told of.
    fn parts(&mut self, parts: &[Part]) -> Found {
        parts.iter().try_for_each(|part| match part {
            Part::Lit { .. } | Part::Arith { .. } => Ok(()),
            Part::Param { inner, .. } => self.parts(inner),
            Part::Subst { sub, .. } | Part::Process { sub, .. } => self.list(&sub.list),
        })
    }
}

/// Nothing but text, patterns and the values of variables.
fn plain(word: &Word) -> Found {
    match is_plain(&word.parts) {
        true => Ok(()),
        false => Err(Gap::Word(shown(&word.raw))),
    }
}

fn is_plain(parts: &[Part]) -> bool {
    parts.iter().all(|part| match part {
        Part::Lit { .. } => true,
        // `${x:?…}` writes, `${x:=…}` sets, and both expand.
        Part::Param { raw, .. } => {
            let name = raw.trim_start_matches(['$', '{']).trim_end_matches('}');
            let name = name
                .strip_prefix('#')
                .filter(|n| !n.is_empty())
                .unwrap_or(name);
            parse::is_name(name)
                || !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit())
                || matches!(name, "@" | "*" | "#" | "?" | "-" | "$" | "!")
        }
        Part::Subst { .. } | Part::Arith { .. } | Part::Process { .. } => false,
    })
}

/// Of a word in which nothing is expanded.
fn literal(word: &Word) -> Option<String> {
    certain(expand::single(word))
}

fn certain(word: Arg) -> Option<String> {
    word.is_code().then_some(word.text)
}

fn shown(raw: &str) -> String {
    const MAX: usize = 80;
    match raw.char_indices().nth(MAX) {
        Some((at, _)) => format!("{}…", raw.get(..at).unwrap_or_default()),
        None => raw.to_owned(),
    }
}
