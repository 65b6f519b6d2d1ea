//! From the tree to the commands: who runs what, with which rights, fed by what.

use std::collections::BTreeSet;

use crate::ast::*;
use crate::parse::{Program, is_name, program};
use crate::reading::{Command, Hazard, Reading, Transfer, Word as Arg};
use crate::reason::Opaque;
use crate::sure::Variables;
use crate::{
    Limits, builtins, expand, feed, hazards, interpreters, named, opinion, peel, posix, programs,
    reads, stdin, transfer, zsh,
};

/// What a command finds on its standard input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stdin {
    /// What the client sends.
    Session,
    /// This text.
    Text(String),
    /// Something else: a pipe, a file.
    Other,
    /// Nothing.
    Empty,
}

/// How the command came to be run.
#[derive(Debug, Clone)]
pub(crate) struct Ctx {
    pub(crate) by: Vec<String>,
    pub(crate) as_user: Option<String>,
    pub(crate) stdin: Stdin,
    pub(crate) env: Vec<(String, Arg)>,
    pub(crate) depth: usize,
    /// Others have the same input, and may have taken its beginning.
    pub(crate) shared: bool,
    /// The shell that reads the text, where it need not be bash.
    pub(crate) shell: Option<String>,
    /// Functions are known: no wrapper stands between them and the command.
    pub(crate) in_shell: bool,
    /// The text is the body of a function.
    pub(crate) in_function: bool,
    /// Something it stands in is redirected, so it may have nothing to read.
    pub(crate) redirected: bool,
}

impl Ctx {
    pub(crate) fn under(&self, program: &str) -> Self {
        let mut ctx = self.clone();
        ctx.by.push(program.to_owned());
        ctx.in_shell = false;
        ctx
    }
}

pub(crate) struct Walk<'a> {
    pub(crate) limits: &'a Limits,
    pub(crate) out: Reading,
    pub(crate) functions: BTreeSet<String>,
    pub(crate) variables: Variables,
    budget: usize,
    transfers: Vec<Transfer>,
    /// Words that programs take which run others: the program, and its words.
    pub(crate) wrapped: Vec<(String, Vec<Arg>)>,
    /// Descriptors that the text has opened so far.
    pub(crate) numbers: BTreeSet<u32>,
    /// One of those starts what it runs in another directory.
    pub(crate) moved: bool,
    /// The shell certainly stands elsewhere than where it began; and so did it for each command and each file it opens.
    pub(crate) away: bool,
    pub(crate) commands_away: Vec<bool>,
    pub(crate) redirects_away: Vec<bool>,
    /// Somewhere it may go back.
    pub(crate) returns: bool,
    /// The text itself is what the shell reads from its standard input.
    pub(crate) script: bool,
    pub(crate) bash: bool,
    /// Somewhere patterns for which there is no file are left out.
    pub(crate) nullglob: bool,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(limits: &'a Limits, script: bool) -> Self {
        Self {
            limits,
            out: Reading {
                only_reads: true,
                ..Reading::default()
            },
            functions: BTreeSet::new(),
            variables: Variables::default(),
            budget: limits.words,
            transfers: Vec::new(),
            wrapped: Vec::new(),
            numbers: BTreeSet::new(),
            moved: false,
            away: false,
            commands_away: Vec::new(),
            redirects_away: Vec::new(),
            returns: false,
            script,
            bash: false,
            nullglob: false,
        }
    }

    pub(crate) fn ctx(&self) -> Ctx {
        Ctx {
            by: Vec::new(),
            as_user: None,
            stdin: Stdin::Session,
            shared: false,
            env: Vec::new(),
            depth: 0,
            shell: None,
            in_shell: true,
            in_function: false,
            redirected: false,
        }
    }

    pub(crate) fn opaque(&mut self, reason: Opaque) {
        self.out.only_reads = false;
        let reason = reason.shortened();
        if !self.out.opaque.contains(&reason) && self.out.opaque.len() < 64 {
            self.out.opaque.push(reason);
        }
    }

    pub(crate) fn hazard(&mut self, code: &'static str, program: &str, why: impl Into<String>) {
        let hazard = Hazard {
            code,
            program: program.to_owned(),
            why: why.into(),
        };
        if !self.out.hazards.contains(&hazard) && self.out.hazards.len() < 256 {
            self.out.hazards.push(hazard);
        }
    }

    /// Reads a text that some shell is given, and everything in it.
    pub(crate) fn text(&mut self, text: &str, ctx: &Ctx) -> Option<Program> {
        self.nullglob |= text.contains(builtins::NULLGLOB);
        let program = match program(text, self.limits, ctx.depth, self.budget, false) {
            Ok(program) => program,
            Err(reason) => {
                self.opaque(reason);
                return None;
            }
        };
        self.budget = program.left;
        match &ctx.shell {
            Some(shell) if program.differs || zsh::may_be(shell) && zsh::differs(&program) => {
                self.opaque(Opaque::OtherShell(shell.clone()));
            }
            None if ctx.depth == 0 => {
                self.bash |= program.bash;
                self.out.shell_dependent = program.differs;
            }
            None => {
                self.bash |= program.differs;
                self.out.shell_dependent |= program.differs;
            }
            Some(_) => {}
        }
        self.define(&program.list);
        let mut ctx = ctx.clone();
        ctx.shared |= !feed::is_one_command(&program.list);
        self.list(&program.list, &ctx, &program.here);
        // Others are asked only where nothing else is in the way already.
        if !self.out.is_opaque()
            && let Some(reason) = opinion::disagreement(&program.texts)
        {
            self.opaque(reason);
        }
        Some(program)
    }

    /// A text within the text, for `eval` and its like: the same shell reads it.
    pub(crate) fn inner(&mut self, text: &str, ctx: &Ctx) {
        let mut ctx = ctx.clone();
        ctx.depth += 1;
        ctx.in_shell = true;
        self.text(text, &ctx);
    }

    /// A text that another shell reads; for one that need not be bash, `name` says who runs it.
    pub(crate) fn other(&mut self, text: &str, name: &str, ctx: &Ctx) {
        let mut ctx = ctx.clone();
        // What it needs is its own affair.
        let before = (self.bash, self.out.shell_dependent);
        ctx.shell = (name != "bash").then(|| name.to_owned());
        ctx.in_function = false;
        self.afresh(|me| me.inner(text, &ctx));
        (self.bash, self.out.shell_dependent) = before;
    }

    /// What arithmetic uses has to be numbers, wherever it is set: bash runs commands in subscripts that it finds in
    /// a variable's value.
    pub(crate) fn finish(mut self) -> Reading {
        for name in self.variables.unknown() {
            self.opaque(Opaque::Unknown {
                program: format!("$(({name}))"),
            });
        }
        if self.variables.arrays && self.variables.declared {
            self.opaque(Opaque::Redefines("declare ARRAY=…".to_owned()));
        }
        self.out.tells_environment |= self.variables.deceived();
        self.runs_what_it_writes();
        self.name_files();
        // A transfer is what the whole text is, or it is none.
        if self.out.commands.len() == 1
            && self.transfers.len() == 1
            && self.out.redirects.is_empty()
        {
            self.out.transfer = self.transfers.pop();
        }
        self.out.needs_bash = self.bash;
        if self.out.is_opaque() || self.out.code || self.out.reads_stdin.is_some() {
            self.out.only_reads = false;
        }
        self.out
    }

    // ---- the tree ----

    fn list(&mut self, list: &List, ctx: &Ctx, here: &[HereDoc]) {
        for item in &list.items {
            let mut ctx = ctx.clone();
            if item.background {
                // Some shells give it nothing to read, some the session's input.
                ctx.stdin = Stdin::Other;
                self.out.takes_stdin = true;
                self.maybe(|me| me.item(item, &ctx, here));
            } else {
                self.item(item, &ctx, here);
            }
        }
    }

    fn item(&mut self, item: &Item, ctx: &Ctx, here: &[HereDoc]) {
        self.chain(&item.first, &item.rest, |me, pipeline| {
            let [stage] = pipeline.stages.as_slice() else {
                for (i, stage) in pipeline.stages.iter().enumerate() {
                    let mut ctx = ctx.clone();
                    if i > 0 {
                        ctx.stdin = Stdin::Other;
                    }
                    me.maybe(|me| me.stage(stage, &ctx, here));
                }
                return;
            };
            me.stage(stage, ctx, here);
        });
    }

    fn stage(&mut self, stage: &Stage, ctx: &Ctx, here: &[HereDoc]) {
        let (outer, mut ctx) = (ctx, ctx.clone());
        for redirect in &stage.redirects {
            self.redirect(redirect, outer, &mut ctx, here);
        }
        match stage.redirects.is_empty() {
            true => self.node(stage, (outer, ctx), here),
            // Where one of them fails, nothing of it is run.
            false => {
                ctx.redirected = true;
                self.maybe(|me| me.node(stage, (outer, ctx), here));
            }
        }
    }

    fn node(&mut self, stage: &Stage, (outer, mut ctx): (&Ctx, Ctx), here: &[HereDoc]) {
        ctx.shared |= !matches!(stage.node, Node::Simple(_));
        match &stage.node {
            Node::Simple(simple) => self.simple(simple, stage, (outer, ctx), here),
            Node::Group(list) => self.list(list, &ctx, here),
            Node::Subshell(list) => self.maybe(|me| me.list(list, &ctx, here)),
            Node::Function { body, .. } => {
                // Where it is called it may read a pipe, or the session's input.
                ctx.stdin = Stdin::Other;
                self.out.takes_stdin = true;
                ctx.in_function = true;
                self.afresh(|me| me.stage(body, &ctx, here));
            }
            Node::Loop { until, test, body } => self.maybe(|me| {
                me.list(test, &ctx, here);
                if !*until {
                    me.has_read(test);
                }
                me.list(body, &ctx, here);
            }),
            Node::If { arms, otherwise } => {
                for (test, body) in arms {
                    self.maybe(|me| {
                        me.list(test, &ctx, here);
                        me.list(body, &ctx, here);
                    });
                }
                if let Some(list) = otherwise {
                    self.maybe(|me| me.list(list, &ctx, here));
                }
            }
            Node::For { name, words, body } => {
                for word in words.iter().flatten() {
                    self.parts(&word.parts, &ctx, here);
                }
                match words.as_deref().map(expand::words) {
                    Some(Ok(values)) => {
                        for value in values {
                            self.set(name, &value);
                            self.out.values.push(value);
                        }
                    }
                    Some(Err(reason)) => self.opaque(reason),
                    None => self.set(name, &Arg::anything()),
                }
                self.maybe(|me| {
                    me.variables.is_there(name);
                    me.list(body, &ctx, here);
                });
            }
            Node::Case { word, arms } => {
                self.parts(&word.parts, &ctx, here);
                for arm in arms {
                    for pattern in &arm.patterns {
                        self.parts(&pattern.parts, &ctx, here);
                    }
                    self.maybe(|me| me.list(&arm.body, &ctx, here));
                }
            }
            Node::Test(pieces) => {
                for piece in pieces {
                    if let TestPiece::Word(word) = piece {
                        self.parts(&word.parts, &ctx, here);
                    }
                }
            }
        }
    }

    /// What is run within a word.
    pub(crate) fn parts(&mut self, parts: &[Part], ctx: &Ctx, here: &[HereDoc]) {
        for part in parts {
            self.fails(part);
            self.bash |= ctx.shell.is_none() && posix::is_bashs(part);
            match part {
                Part::Lit { .. } => {}
                Part::Param { raw, inner, .. } => {
                    self.out.tells_environment |=
                        named::is_of_environment(raw, &mut self.variables);
                    self.parts(inner, ctx, here);
                }
                Part::Subst { sub, .. } => self.maybe(|me| me.list(&sub.list, ctx, here)),
                Part::Process { sub, .. } => {
                    let mut ctx = ctx.clone();
                    ctx.stdin = Stdin::Other;
                    // What runs in it has the session's input.
                    self.out.takes_stdin = true;
                    self.maybe(|me| me.list(&sub.list, &ctx, here));
                }
                Part::Arith { raw, .. } => {
                    let names = raw.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                    for name in names.filter(|n| !n.is_empty()) {
                        if is_name(name) {
                            // A variable that nothing here has set may come from the client.
                            self.variables.computes(name);
                        } else if !name.chars().all(|c| c.is_ascii_digit()) {
                            self.opaque(Opaque::Unread {
                                at: 0,
                                what: "such a number",
                            });
                        }
                    }
                }
            }
        }
    }

    /// `outer` is what its words are made in, before it is redirected.
    fn simple(
        &mut self,
        simple: &Simple,
        stage: &Stage,
        (outer, mut ctx): (&Ctx, Ctx),
        here: &[HereDoc],
    ) {
        let mut outer = outer.clone();
        feed::shares(simple, &mut outer, &mut ctx);
        for assign in &simple.assigns {
            self.disputed(&assign.value.parts, (&outer, &ctx), here);
        }
        for word in &simple.words {
            self.parts(&word.parts, &outer, here);
        }
        for assign in &simple.assigns {
            let value = expand::single(&assign.value);
            self.set(&assign.name, &value);
            if assign.append {
                self.variables.appends(&assign.name);
            }
            self.out.values.push(value.clone());
            ctx.env.push((assign.name.clone(), value));
        }
        let mut argv = match expand::words(&simple.words) {
            Ok(argv) => argv,
            Err(reason) => return self.opaque(reason),
        };
        if self.nullglob {
            argv.iter_mut().for_each(|w| w.splits |= w.glob);
        }
        if builtins::assigns(&simple.words) {
            let values = argv.iter_mut().filter(|w| w.text.contains('='));
            values.for_each(|w| w.assigned = true);
        }
        if argv
            .first()
            .is_some_and(|w| w.text == "exec" && w.is_literal())
            && argv.len() == 1
        {
            let feeds = stage.redirects.iter().any(|r| {
                r.fd == Some(0)
                    || (r.fd.is_none()
                        && !matches!(&r.kind, Kind::File(op, _) | Kind::Dup(op, _) if op.starts_with('>'))
                        && !matches!(r.kind, Kind::Both { .. }))
            });
            if feeds {
                self.opaque(Opaque::Fed {
                    program: "exec".into(),
                });
            }
            return;
        }
        let assigned = simple.assigns.iter().filter(|a| !a.append);
        if argv.is_empty() {
            assigned.for_each(|a| self.variables.is_there(&a.name));
        } else if simple.assigns.is_empty() {
            self.command(argv, &ctx);
        } else {
            let special = |w: &Arg| w.is_literal() && posix::is_special(&w.text);
            self.bash |= ctx.shell.is_none() && argv.first().is_some_and(special);
            // For this command, and for none behind it.
            self.maybe(|me| {
                assigned.for_each(|a| me.variables.is_there(&a.name));
                me.command(argv, &ctx);
            });
        }
    }

    // ---- commands ----

    pub(crate) fn command(&mut self, argv: Vec<Arg>, ctx: &Ctx) {
        let Some(head) = argv.first() else { return };
        if self.out.commands.len() >= self.limits.commands {
            return self.opaque(Opaque::TooMany(self.limits.commands));
        }
        if ctx.depth >= self.limits.depth || ctx.by.len() >= self.limits.depth {
            return self.opaque(Opaque::TooDeep(self.limits.depth));
        }
        if head.dynamic || head.home && !head.text.starts_with("~/") {
            self.opaque(Opaque::DynamicCommand(head.text.clone()));
            return self.push(argv, ctx);
        }
        if head.glob && head.text != "[" {
            self.opaque(Opaque::GlobCommand(head.text.clone()));
            return self.push(argv, ctx);
        }
        let name = programs::name(&head.text).to_owned();
        let plain = !head.text.contains('/');
        if plain && ctx.in_shell && self.functions.contains(&name) {
            // What its body runs is listed; that it is defined by now is not certain.
            self.out.only_reads = false;
            return self.push(argv, ctx);
        }
        if plain && ctx.in_shell && posix::needs_bash(&name, argv.get(1..).unwrap_or_default()) {
            // Of another shell, it says by itself what it has not.
            self.bash |= ctx.shell.is_none();
        }
        if plain && ctx.in_shell && builtins::run(self, &name, &argv, ctx) {
            return;
        }
        if plain && ctx.in_shell && zsh::is_builtin(&name) {
            self.needs_bash(ctx);
        }
        if !(plain && ctx.in_shell) && builtins::is_own(&name) {
            // Some systems have a script of this name that is this builtin.
            self.opaque(Opaque::Runs(head.text.clone()));
            return self.push(argv, ctx);
        }
        if !programs::is_standard(&head.text)
            && (programs::is_shell(&name) || peel::is_wrapper(&name))
        {
            // It bears the name of a program that runs others, and may be anything.
            self.opaque(Opaque::Runs(head.text.clone()));
            return self.push(argv, ctx);
        }
        if peel::run(self, &name, &argv, ctx) {
            return;
        }
        self.leaf(&name, argv, ctx);
    }

    /// A command that is not followed further.
    pub(crate) fn leaf(&mut self, name: &str, argv: Vec<Arg>, ctx: &Ctx) {
        if interpreters::run(self, name, &argv, ctx) {
            return;
        }
        hazards::look(self, name, &argv);
        if matches!(name, "cd" | "chdir") {
            self.goes(&argv, name == "cd" && ctx.in_shell && ctx.by.is_empty());
        }
        if let Some(transfer) = transfer::read(name, &argv) {
            self.transfers.push(transfer);
        }
        if self.out.only_reads && !reads::only(name, &argv) {
            self.out.only_reads = false;
        }
        if ctx.stdin == Stdin::Session && !stdin::ignores_stdin(name, &argv) {
            self.taken(name);
        }
        self.push(argv, ctx);
    }

    /// Only in bash it means what was read.
    pub(crate) fn needs_bash(&mut self, ctx: &Ctx) {
        match &ctx.shell {
            Some(shell) => self.opaque(Opaque::OtherShell(shell.clone())),
            None => {
                self.bash = true;
                self.out.shell_dependent = true;
            }
        }
    }

    pub(crate) fn is_function(&self, name: &str) -> bool {
        self.functions.contains(name)
    }

    /// Code for something that is not a shell stands in the command.
    pub(crate) fn code(&mut self, program: &str, why: impl Into<String>) {
        self.out.code = true;
        self.out.only_reads = false;
        self.hazard("runs-by-option", program, why);
    }

    pub(crate) fn push(&mut self, argv: Vec<Arg>, ctx: &Ctx) {
        let dynamic = argv.iter().any(|w| w.dynamic);
        let leaves = || {
            let head = argv.first().filter(|w| w.is_literal());
            head.is_some_and(|w| stdin::ignores_stdin(programs::name(&w.text), &argv))
        };
        self.out.takes_stdin |= ctx.stdin == Stdin::Session && !leaves();
        self.commands_away.push(self.away);
        self.out.commands.push(Command {
            argv,
            by: ctx.by.clone(),
            as_user: ctx.as_user.clone(),
            env: ctx.env.clone(),
            dynamic,
        });
    }
}
