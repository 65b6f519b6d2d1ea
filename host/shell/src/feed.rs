//! Programs that run what they find on their standard input.

use crate::ast::{HereDoc, Kind, Part, Redirect};
use crate::reading::{Access, Script, Word as Arg};
use crate::reason::Opaque;
use crate::walk::{Ctx, Stdin, Walk};
use crate::{interpreters, programs, stdin};

impl Walk<'_> {
    /// An interpreter runs what it finds on its standard input.
    pub(crate) fn fed(&mut self, name: &str, shell: bool, argv: &[Arg], ctx: &Ctx) {
        match &ctx.stdin {
            Stdin::Empty => self.push(argv.to_vec(), ctx),
            Stdin::Text(text) if shell => {
                let text = text.clone();
                self.inner_script(&text, name, &ctx.under(name));
            }
            Stdin::Text(_) => {
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
