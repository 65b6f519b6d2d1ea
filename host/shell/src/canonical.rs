//! A text once more, in the plainest form that means the same: quotes only where they are needed, braces expanded, one
//! way to write each thing, a line for each line. What was approved can then be what runs, whatever shell a host has.

use crate::ast::*;
use crate::expand;
use crate::parse::Program;

/// Words that a shell takes for its own where a command is expected.
const RESERVED: &[&str] = &[
    "!",
    "{",
    "}",
    "[[",
    "]]",
    "if",
    "then",
    "elif",
    "else",
    "fi",
    "for",
    "while",
    "until",
    "do",
    "done",
    "case",
    "esac",
    "in",
    "function",
    "select",
    "time",
    "coproc",
    "repeat",
    "foreach",
    "end",
    "nocorrect",
    "noglob",
    "always",
];

/// What needs no quotes in any place but a command's.
fn is_safe(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-./:@%+,=".contains(c)
}

/// One word that any POSIX shell, fish and csh take for this text.
///
/// Backslashes and exclamation marks stand outside of the quotes, because fish and csh read them within.
pub fn quote(text: &str) -> String {
    // To zsh, `=ls` is the path of `ls`.
    if !text.is_empty() && !text.starts_with('=') && text.chars().all(is_safe) {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut open = false;
    for c in text.chars() {
        let outside = matches!(c, '\'' | '\\' | '!');
        if open == outside {
            out.push('\'');
            open = !outside;
        }
        if outside {
            out.push('\\');
        }
        out.push(c);
    }
    if open || out.is_empty() {
        out.push_str(if open { "'" } else { "''" });
    }
    out
}

struct Out<'a> {
    text: String,
    here: &'a [HereDoc],
    /// Here-documents whose bodies are to follow: delimiter, body.
    pending: Vec<(String, String)>,
    bash: bool,
    /// A command stands behind a body, so on another line than the one before it.
    broken: bool,
}

/// The form, and whether it needs bash. Nothing where there is none.
pub(crate) fn render(program: &Program) -> Option<(String, bool)> {
    let mut out = Out {
        text: String::new(),
        here: &program.here,
        pending: Vec::new(),
        bash: program.bash,
        broken: false,
    };
    out.lines(&program.list)?;
    let text = out.text.trim_end_matches(' ').to_owned();
    Some((text, out.bash))
}

impl Out<'_> {
    /// The outermost list, line by line: where the words of a command cannot be made, bash leaves out what is left of its
    /// line, and goes on with the next one.
    fn lines(&mut self, list: &List) -> Option<()> {
        for line in list.items.split_inclusive(|item| item.ends_line) {
            if self.text.ends_with(' ') {
                self.text.pop();
            }
            if !self.text.is_empty() && !self.text.ends_with('\n') {
                self.text.push('\n');
            }
            let start = self.text.len();
            self.broken = false;
            self.items(line)?;
            // Here-documents would make several of it.
            if self.broken {
                self.text.insert_str(start, "{ ");
                self.end("}");
            }
        }
        Some(())
    }

    fn list(&mut self, list: &List) -> Option<()> {
        let broken = self.broken;
        self.items(&list.items)?;
        // What a compound command is made of is one to bash, however many lines it has.
        self.broken = broken;
        Some(())
    }

    fn items(&mut self, items: &[Item]) -> Option<()> {
        // Those of a pipeline around it begin behind its own line.
        let outer = self.pending.len();
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                self.broken |= self.text.ends_with('\n');
                if !self.text.ends_with(['\n', ' ']) {
                    self.text.push_str("; ");
                }
            }
            self.pipeline(&item.first)?;
            for (join, pipeline) in &item.rest {
                self.text
                    .push_str(if *join == Join::And { " && " } else { " || " });
                self.pipeline(pipeline)?;
            }
            if item.background {
                self.text.push_str(" & ");
            }
            if self.pending.len() > outer {
                self.bodies();
            }
        }
        Some(())
    }

    fn bodies(&mut self) {
        self.text.push('\n');
        for (delimiter, body) in std::mem::take(&mut self.pending) {
            self.text.push_str(&body);
            self.text.push_str(&delimiter);
            self.text.push('\n');
        }
    }

    /// The word that ends a list, and what stands before it.
    fn end(&mut self, word: &str) {
        if !self.text.ends_with(['\n', ' ']) {
            self.text.push_str("; ");
        }
        self.text.push_str(word);
    }

    fn pipeline(&mut self, pipeline: &Pipeline) -> Option<()> {
        if pipeline.timed {
            self.text.push_str("time ");
        }
        if pipeline.negated {
            self.text.push_str("! ");
        }
        for (i, stage) in pipeline.stages.iter().enumerate() {
            if i > 0 {
                self.text.push_str(" | ");
            }
            self.stage(stage)?;
            if stage.errors_too {
                self.text.push_str(" 2>&1");
            }
        }
        Some(())
    }

    fn stage(&mut self, stage: &Stage) -> Option<()> {
        match &stage.node {
            Node::Simple(simple) => self.simple(simple)?,
            Node::Group(list) => {
                self.text.push_str("{ ");
                self.list(list)?;
                self.end("}");
            }
            Node::Subshell(list) => {
                self.text.push_str("( ");
                self.list(list)?;
                self.text.push(')');
            }
            Node::If { arms, otherwise } => {
                for (i, (test, body)) in arms.iter().enumerate() {
                    if i == 0 {
                        self.text.push_str("if ");
                    } else {
                        self.end("elif ");
                    }
                    self.list(test)?;
                    self.end("then ");
                    self.list(body)?;
                }
                if let Some(list) = otherwise {
                    self.end("else ");
                    self.list(list)?;
                }
                self.end("fi");
            }
            Node::Loop { until, test, body } => {
                self.text.push_str(if *until { "until " } else { "while " });
                self.list(test)?;
                self.body(body)?;
            }
            Node::For { name, words, body } => {
                self.text.push_str("for ");
                self.text.push_str(name);
                if let Some(words) = words {
                    self.text.push_str(" in");
                    for word in words {
                        self.words(word, false)?;
                    }
                }
                self.body(body)?;
            }
            Node::Case { word, arms } => self.case(word, arms)?,
            Node::Function { name, body } => {
                self.text.push_str(name);
                self.text.push_str("() ");
                self.stage(body)?;
            }
            Node::Test(pieces) => {
                self.text.push_str("[[");
                for piece in pieces {
                    self.text.push(' ');
                    match piece {
                        TestPiece::Mark(mark) => self.text.push_str(mark),
                        TestPiece::Word(word) => self.text.push_str(&word.raw),
                    }
                }
                self.text.push_str(" ]]");
            }
        }
        for redirect in &stage.redirects {
            self.redirect(redirect)?;
        }
        Some(())
    }

    fn body(&mut self, body: &List) -> Option<()> {
        self.end("do ");
        self.list(body)?;
        self.end("done");
        Some(())
    }

    fn case(&mut self, word: &Word, arms: &[Arm]) -> Option<()> {
        self.text.push_str("case ");
        let patterns = arms.iter().flat_map(|arm| &arm.patterns);
        if std::iter::once(word)
            .chain(patterns)
            .any(|w| expands_tilde_within(&w.parts))
        {
            return None;
        }
        self.parts(&word.parts, false, false)?;
        self.text.push_str(" in ");
        for arm in arms {
            self.text.push('(');
            for (i, pattern) in arm.patterns.iter().enumerate() {
                if i > 0 {
                    self.text.push('|');
                }
                let glob = expand::single(pattern).glob;
                self.parts(&pattern.parts, glob, false)?;
            }
            self.text.push_str(") ");
            self.list(&arm.body)?;
            self.text.push(' ');
            self.text.push_str(arm.end);
            self.text.push(' ');
        }
        self.text.push_str("esac");
        Some(())
    }

    fn simple(&mut self, simple: &Simple) -> Option<()> {
        let mut first = true;
        for assign in &simple.assigns {
            if !std::mem::take(&mut first) {
                self.text.push(' ');
            }
            self.text.push_str(&assign.name);
            if assign.append {
                self.bash = true;
                self.text.push('+');
            }
            self.text.push('=');
            // An empty value needs no quotes.
            if !assign.value.parts.is_empty() {
                self.parts(&assign.value.parts, false, true)?;
            }
        }
        let mut command = true;
        for word in &simple.words {
            let spaced = !std::mem::take(&mut first);
            self.spaced(word, std::mem::take(&mut command), spaced)?;
        }
        Some(())
    }

    fn words(&mut self, word: &Word, command: bool) -> Option<()> {
        self.spaced(word, command, true)
    }

    /// The words that this one becomes, with a blank before each, perhaps but for the first.
    fn spaced(&mut self, word: &Word, mut command: bool, mut space: bool) -> Option<()> {
        for (arg, parts) in expand::expand(word).ok()? {
            if std::mem::replace(&mut space, true) {
                self.text.push(' ');
            }
            // Where a command is expected, a word may be taken for something else.
            let own = std::mem::take(&mut command)
                && (RESERVED.contains(&arg.text.as_str())
                    || (!arg.dynamic && arg.text.contains('=')));
            if own {
                self.text.push('\'');
                self.text.push_str(&arg.text.replace('\'', "'\\''"));
                self.text.push('\'');
                continue;
            }
            if expands_tilde_within(&parts) {
                return None;
            }
            self.parts(&parts, arg.glob, false)?;
        }
        Some(())
    }

    fn parts(&mut self, parts: &[Part], glob: bool, assigned: bool) -> Option<()> {
        let start = self.text.len();
        let literal = parts.iter().all(|p| matches!(p, Part::Lit { .. }));
        // A pattern may begin in a variable's value, and end there. Within its brackets, quotes take a dash its meaning, and
        // other signs.
        let glob = glob || !assigned && parts.iter().any(is_pattern);
        // Nor is a tilde one of a home directory whose name has quotes in it.
        let tilde = |p: &Part| matches!(p, Part::Lit { text, quoted: false } if text.contains('~'));
        let keeps = glob || parts.iter().any(tilde);
        // Behind `$x`, a letter would belong to the name.
        let mut name = false;
        for (i, part) in parts.iter().enumerate() {
            let after_name = std::mem::take(&mut name);
            match part {
                // It would belong to the name, which is not as it was written.
                Part::Lit {
                    text,
                    quoted: false,
                } if after_name
                    && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') =>
                {
                    return None;
                }
                Part::Lit {
                    text,
                    quoted: false,
                } => self.bare(text, glob, i == 0, assigned),
                Part::Lit { text, .. }
                    if (after_name || keeps) && text.chars().all(is_safe) && !text.is_empty() =>
                {
                    self.text.push('\'');
                    self.text.push_str(text);
                    self.text.push('\'');
                }
                Part::Lit { text, .. } => {
                    // Beside something that may turn out empty, empty quotes still make a word.
                    if !text.is_empty() || parts.len() == 1 || !literal || keeps {
                        self.text.push_str(&quote(text));
                    }
                }
                Part::Param { raw, quoted, .. } | Part::Arith { raw, quoted } => {
                    name = !quoted && !raw.ends_with(['}', ')']);
                    self.in_quotes(raw, *quoted);
                }
                Part::Subst { sub, quoted, .. } => {
                    let text = self.nested(sub)?;
                    self.in_quotes(&format!("$({text})"), *quoted);
                }
                Part::Process { sub, write, .. } => {
                    let text = self.nested(sub)?;
                    self.text.push_str(if *write { ">(" } else { "<(" });
                    self.text.push_str(&text);
                    self.text.push(')');
                }
            }
        }
        if self.text.len() == start {
            self.text.push_str("''");
        }
        Some(())
    }

    fn in_quotes(&mut self, text: &str, quoted: bool) {
        let mark = if quoted { "\"" } else { "" };
        self.text.push_str(mark);
        self.text.push_str(text);
        self.text.push_str(mark);
    }

    fn nested(&mut self, sub: &Sub) -> Option<String> {
        let mut inner = Out {
            text: String::new(),
            here: self.here,
            pending: Vec::new(),
            bash: self.bash,
            broken: false,
        };
        inner.list(&sub.list)?;
        self.bash |= inner.bash;
        let text = inner.text;
        // `$((` would begin something else.
        let space = if text.starts_with('(') { " " } else { "" };
        Some(format!("{space}{text}"))
    }

    /// Text that is not quoted: patterns and a tilde mean something in it.
    fn bare(&mut self, text: &str, glob: bool, first: bool, assigned: bool) {
        let mut quoted = String::new();
        let mut before = if first { None } else { Some('x') };
        for c in text.chars() {
            let tilde = c == '~' && (before.is_none() || (assigned && before == Some(':')));
            if is_safe(c) || tilde || (glob && "*?[]^!".contains(c)) {
                self.flush(&mut quoted);
                self.text.push(c);
            } else {
                quoted.push(c);
            }
            before = Some(c);
        }
        self.flush(&mut quoted);
    }

    fn flush(&mut self, quoted: &mut String) {
        if !quoted.is_empty() {
            self.text.push_str(&quote(quoted));
            quoted.clear();
        }
    }

    fn redirect(&mut self, redirect: &Redirect) -> Option<()> {
        self.text.push(' ');
        if let Some(fd) = redirect.fd {
            self.text.push_str(&fd.to_string());
        }
        match &redirect.kind {
            Kind::File(op, word) => {
                self.text.push_str(op);
                self.target(word)?;
            }
            Kind::Dup(op, to) => {
                self.text.push_str(op);
                self.text.push_str(to);
            }
            Kind::Both { append, target } => {
                self.text.push_str(if *append { ">>" } else { ">" });
                self.target(target)?;
                self.text.push_str(" 2>&1");
            }
            Kind::Here(slot) => {
                let doc = self.here.get(*slot)?;
                self.document(&doc.body.clone(), doc.literal);
            }
            Kind::HereString(word) => {
                let value = expand::single(word);
                if value.dynamic || value.text.starts_with('~') {
                    self.bash = true;
                    self.text.push_str("<<<");
                    self.parts(&word.parts, false, false)?;
                } else {
                    self.document(&format!("{}\n", value.text), true);
                }
            }
        }
        Some(())
    }

    fn target(&mut self, word: &Word) -> Option<()> {
        let expanded = expand::expand(word).ok()?;
        match expanded.as_slice() {
            // A pattern in the name is a pattern to some shells only.
            [(word, _)] if word.glob => None,
            [(_, parts)] => self.parts(parts, false, false),
            _ => None,
        }
    }

    fn document(&mut self, body: &str, literal: bool) {
        let mut delimiter = "EOF".to_owned();
        while body.lines().any(|line| line == delimiter) {
            delimiter.push('F');
        }
        self.text.push_str("<<");
        self.text.push_str(&if literal {
            format!("'{delimiter}'")
        } else {
            delimiter.clone()
        });
        self.pending.push((delimiter, body.to_owned()));
    }
}

/// What comes out of it is a pattern where it looks like one.
fn is_pattern(part: &Part) -> bool {
    matches!(part, Part::Param { quoted, .. } | Part::Subst { quoted, .. } if !quoted)
}

/// `a=~/b` as an argument: bash puts the home directory in, others do not.
fn expands_tilde_within(parts: &[Part]) -> bool {
    parts.iter().any(|p| matches!(p, Part::Lit { text, quoted: false } if text.contains("=~") || text.contains(":~")))
}
