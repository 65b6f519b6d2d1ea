//! Programs that run what they find on their standard input.

use crate::ast::{HereDoc, Kind, List, Node, Part, Redirect, Simple};
use crate::reading::{Access, Script, Word as Arg};
use crate::reason::Opaque;
use crate::walk::{Ctx, Stdin, Walk};
use crate::{expand, interpreters, programs, stdin};

impl Walk<'_> {
    /// An interpreter runs what it finds on its standard input.
    pub(crate) fn fed(&mut self, name: &str, shell: bool, argv: &[Arg], ctx: &Ctx) {
        match &ctx.stdin {
            Stdin::Empty => self.push(argv.to_vec(), ctx),
            Stdin::Text(text) if shell && !ctx.shared => {
                let text = text.clone();
                self.inner_script(&text, name, &ctx.under(name));
            }
            Stdin::Text(_) if !shell => {
                self.out.code = true;
                self.hazard(
                    "interpreter",
                    name,
                    "it runs code that stands in the command",
                );
                self.push(argv.to_vec(), ctx);
            }
            Stdin::Session
                if !self.script && self.quiet_before() && self.out.reads_stdin.is_none() =>
            {
                self.out.reads_stdin = Some(Script {
                    program: name.to_owned(),
                    shell,
                });
                self.out.code |= !shell;
                self.push(argv.to_vec(), ctx);
            }
            _ => {
                self.opaque(Opaque::Fed {
                    program: name.to_owned(),
                });
                self.push(argv.to_vec(), ctx);
            }
        }
    }

    /// A program reads the session's input, which may be the script itself.
    pub(crate) fn taken(&mut self, program: &str) {
        self.out.takes_stdin = true;
        if self.script {
            self.opaque(Opaque::TakesScript(program.to_owned()));
        }
    }

    /// What runs gets a terminal, and what only tells something there may be a pager, from which one gets into a
    /// shell.
    pub(crate) fn terminal(&mut self) {
        self.out.only_reads = false;
    }

    pub(crate) fn redirect(
        &mut self,
        redirect: &Redirect,
        outer: &Ctx,
        ctx: &mut Ctx,
        here: &[HereDoc],
    ) {
        self.borrow(redirect);
        ctx.shared |= words(redirect, here).any(runs);
        let input =
            |op: &str| redirect.fd == Some(0) || (redirect.fd.is_none() && op.starts_with('<'));
        match &redirect.kind {
            Kind::File(op, word) => {
                self.disputed(&word.parts, (outer, ctx), here);
                self.opened(word, op);
                let file = expand::single(word);
                // It may be what the session sends, by another name.
                let again = !file.is_literal() || stdin::may_be_stdin(&file.text);
                self.out.takes_stdin |= op.starts_with('<') && again;
                if input(op) {
                    if file.text == "/dev/null" {
                        ctx.stdin = Stdin::Empty;
                    } else if !(self.script && again) {
                        // In a script, it may be the script again by another name.
                        ctx.stdin = Stdin::Other;
                    }
                }
            }
            Kind::Both { append, target } => {
                self.disputed(&target.parts, (outer, ctx), here);
                self.opened(target, if *append { ">>" } else { ">" });
            }
            Kind::Dup(op, to) => {
                // The script under another number, from which it can be taken unseen.
                if to == "0" || input(op) && to != "-" || *op == "<&" && to != "-" {
                    self.taken("<&");
                }
                if input(op) && to != "0" {
                    ctx.stdin = Stdin::Other;
                }
            }
            Kind::Here(slot) => {
                if let Some(doc) = here.get(*slot) {
                    self.disputed(&doc.parts, (outer, ctx), here);
                    if input("<") {
                        ctx.shared = false;
                        ctx.stdin = if doc.literal {
                            Stdin::Text(doc.body.clone())
                        } else {
                            Stdin::Other
                        };
                    }
                }
            }
            Kind::HereString(word) => {
                self.disputed(&word.parts, (outer, ctx), here);
                if input("<") {
                    let value = expand::single(word);
                    ctx.shared = false;
                    ctx.stdin = if value.dynamic || value.text.starts_with('~') {
                        Stdin::Other
                    } else {
                        Stdin::Text(value.text + "\n")
                    };
                }
            }
        }
    }

    /// A descriptor that is duplicated is one that this text has opened, or one from around it.
    pub(crate) fn borrow(&mut self, redirect: &Redirect) {
        let number = match &redirect.kind {
            Kind::Dup(_, to) => to.trim_end_matches('-').parse().ok(),
            _ => None,
        };
        if let Some(number) = number.filter(|n| *n > 2 && !self.numbers.contains(n)) {
            self.out.borrows.insert(number);
        }
        match &redirect.kind {
            // `3>&-` closes it.
            Kind::Dup(_, to) if to == "-" => redirect.fd.map(|fd| self.numbers.remove(&fd)),
            _ => redirect.fd.map(|fd| self.numbers.insert(fd)),
        };
    }

    /// A script on a shell's standard input: the commands in it must leave it alone.
    fn inner_script(&mut self, text: &str, name: &str, ctx: &Ctx) {
        let mut ctx = ctx.clone();
        ctx.stdin = Stdin::Session;
        let before = std::mem::replace(&mut self.script, true);
        self.other(text, name, &ctx);
        self.script = before;
    }

    /// What runs in an assignment, or in a redirection behind another one: in some shells it finds on its standard
    /// input what is there outside, in others what the command is to have.
    pub(crate) fn disputed(
        &mut self,
        parts: &[Part],
        (outer, ctx): (&Ctx, &Ctx),
        here: &[HereDoc],
    ) {
        if outer.stdin == ctx.stdin || !runs(parts) {
            return self.parts(parts, ctx, here);
        }
        if outer.stdin == Stdin::Session || ctx.stdin == Stdin::Session {
            self.taken("$(");
        }
        let mut either = ctx.clone();
        either.stdin = Stdin::Other;
        self.parts(parts, &either, here);
    }

    /// Nothing before has taken a part of the session's input away.
    fn quiet_before(&self) -> bool {
        self.out.commands.iter().all(|command| {
            command.argv.first().is_some_and(|w| {
                w.is_literal() && stdin::ignores_stdin(programs::name(&w.text), &command.argv)
            })
        })
    }

    /// A file that the text itself writes and then runs is like a pipe into an interpreter.
    pub(crate) fn runs_what_it_writes(&mut self) {
        let redirects = self.out.redirects.iter();
        let mut written: Vec<&str> = redirects
            .filter(|r| r.access != Access::Read)
            .map(|r| bare(&r.path.text))
            .collect();
        let mut fed = Vec::new();
        for command in &self.out.commands {
            let Some((head, args)) = command.argv.split_first() else {
                continue;
            };
            let name = programs::name(&head.text);
            let runs = interpreters::runs_files(name) || programs::is_shell(name);
            let files = std::iter::once(head).chain(args.iter().filter(|_| runs));
            if let Some(file) = files
                .map(|w| bare(&w.text))
                .find(|file| written.contains(file))
            {
                fed.push(file.to_owned());
            }
            if WRITERS.contains(&name) {
                written.extend(args.iter().map(|w| bare(&w.text)));
            }
        }
        for program in fed {
            self.opaque(Opaque::Fed { program });
        }
    }
}

/// Nothing beside this one command has the input.
pub(crate) fn is_one_command(list: &List) -> bool {
    let [item] = list.items.as_slice() else {
        return false;
    };
    let [stage] = item.first.stages.as_slice() else {
        return false;
    };
    item.rest.is_empty() && matches!(stage.node, Node::Simple(_))
}

/// What runs in the words of a command has the input that is there around it; and in those that are assigned, to some
/// shells, the command's own.
pub(crate) fn shares(simple: &Simple, outer: &mut Ctx, ctx: &mut Ctx) {
    let assigns = simple.assigns.iter().any(|a| runs(&a.value.parts));
    outer.shared |= assigns || simple.words.iter().any(|w| runs(&w.parts));
    ctx.shared |= assigns || outer.shared && outer.stdin == ctx.stdin;
}

/// What is expanded for a redirection.
fn words<'a>(redirect: &'a Redirect, here: &'a [HereDoc]) -> impl Iterator<Item = &'a [Part]> {
    let parts: Option<&[Part]> = match &redirect.kind {
        Kind::File(_, word) | Kind::HereString(word) | Kind::Both { target: word, .. } => {
            Some(&word.parts)
        }
        Kind::Here(slot) => here.get(*slot).map(|doc| doc.parts.as_slice()),
        Kind::Dup(..) => None,
    };
    parts.into_iter()
}

fn runs(parts: &[Part]) -> bool {
    parts.iter().any(|part| match part {
        Part::Lit { .. } | Part::Arith { .. } => false,
        Part::Param { inner, .. } => runs(inner),
        Part::Subst { .. } | Part::Process { .. } => true,
    })
}

/// Programs whose words name files that they write.
const WRITERS: &[&str] = &[
    "cp", "curl", "dd", "install", "ln", "mv", "rsync", "scp", "tee", "wget", "base64", "openssl",
    "xxd", "patch",
];

fn bare(path: &str) -> &str {
    let path = path.strip_prefix("of=").unwrap_or(path);
    path.strip_prefix("./").unwrap_or(path)
}
