//! What zsh makes of a text that bash and the others read in another way. It is asked where the shell that reads a text
//! is zsh, or the one of an account, which nobody can tell from here.

use crate::ast::*;
use crate::parse::Program;

/// Shells of these names are not zsh, or behave like a POSIX shell where they are.
const NOT_ZSH: &[&str] = &[
    "ash", "bash", "dash", "ksh", "ksh93", "mksh", "rbash", "rsh", "sh", "watch",
];

/// Arrays and tables that zsh ties to PATH and its like, or to what names mean.
const TIED: &[&str] = &[
    "aliases",
    "builtins",
    "cdpath",
    "commands",
    "fignore",
    "fpath",
    "functions",
    "galiases",
    "histchars",
    "mailpath",
    "manpath",
    "module_path",
    "nameddirs",
    "options",
    "parameters",
    "path",
    "prompt",
    "psvar",
    "saliases",
    "userdirs",
    "zsh_eval_context",
];

/// Builtins that set variables by name.
const SETS: &[&str] = &[
    "declare", "export", "getopts", "local", "printf", "read", "readonly", "set", "typeset",
    "unset",
];

/// Builtins of ksh, mksh and zsh, and of csh and fish, that do more than to tell something: to bash they are programs.
const BUILTINS: &[&str] = &[
    "abbr",
    "alarm",
    "and",
    "autoload",
    "begin",
    "bindkey",
    "compound",
    "disable",
    "emulate",
    "end",
    "enum",
    "float",
    "functions",
    "getln",
    "global",
    "hist",
    "integer",
    "nameref",
    "namespace",
    "not",
    "onintr",
    "or",
    "print",
    "private",
    "pushln",
    "r",
    "redirect",
    "sched",
    "setenv",
    "setopt",
    "switch",
    "unfunction",
    "unhash",
    "unsetenv",
    "unsetopt",
    "vared",
    "zcompile",
    "zformat",
    "zle",
    "zmodload",
    "zparseopts",
    "zpty",
    "zregexparse",
    "zsocket",
    "zstyle",
    "zsystem",
    "ztcp",
];

/// A text for `shell` may be read by zsh.
pub(crate) fn may_be(shell: &str) -> bool {
    !NOT_ZSH.contains(&shell)
}

/// Some shell has a builtin of this name, or makes an assignment of it.
pub(crate) fn is_builtin(name: &str) -> bool {
    BUILTINS.contains(&name) || name.contains('=') && !name.starts_with('=')
}

pub(crate) fn differs(program: &Program) -> bool {
    program.zsh || list(&program.list) || program.here.iter().any(|doc| doc.parts.iter().any(part))
}

fn list(of: &List) -> bool {
    of.items.iter().any(|item| {
        let rest = item.rest.iter().map(|(_, pipeline)| pipeline);
        let mut pipelines = std::iter::once(&item.first).chain(rest);
        pipelines.any(|pipeline| pipeline.stages.iter().any(stage))
    })
}

fn stage(of: &Stage) -> bool {
    of.redirects.iter().any(redirect)
        || match &of.node {
            Node::Simple(of) => simple(of),
            Node::Group(of) | Node::Subshell(of) => list(of),
            Node::If { arms, otherwise } => {
                arms.iter().any(|(test, body)| list(test) || list(body))
                    || otherwise.as_ref().is_some_and(list)
            }
            Node::Loop { test, body, .. } => list(test) || list(body),
            Node::For { name, words, body } => {
                TIED.contains(&name.as_str()) || words.iter().flatten().any(word) || list(body)
            }
            Node::Case { word: of, arms } => {
                word(of)
                    || arms
                        .iter()
                        .any(|arm| arm.patterns.iter().any(word) || list(&arm.body))
            }
            Node::Function { body, .. } => stage(body),
            Node::Test(pieces) => pieces
                .iter()
                .any(|piece| matches!(piece, TestPiece::Word(of) if parts(of))),
        }
}

fn simple(of: &Simple) -> bool {
    let assigned = of.assigns.iter().any(|assign| {
        let value = &assign.value;
        // A path is put in, behind every colon, too.
        let expands = value.raw.starts_with('=') || value.raw.contains(":=");
        TIED.contains(&assign.name.as_str()) || expands || parts(value)
    });
    let head = of.words.first();
    // `~x` may be what a variable `x` says.
    let elsewhere = head.is_some_and(|w| w.raw.starts_with('~') && !w.raw.starts_with("~/"));
    let sets = head.is_some_and(|w| {
        let literal = |p: &Part| matches!(p, Part::Lit { .. });
        !w.parts.iter().all(literal) || SETS.contains(&text(w).as_str())
    });
    let tied = |w: &Word| {
        let text = text(w);
        let name = text.split(['=', '+', '[', '?']).next().unwrap_or_default();
        TIED.contains(&name)
    };
    // Without a command, a pager shows what is read.
    let pages = of.words.is_empty() && of.assigns.is_empty();
    pages
        || assigned
        || elsewhere
        || sets && of.words.iter().skip(1).any(tied)
        || of.words.iter().any(word)
}

/// As far as it is literal.
fn text(of: &Word) -> String {
    let literal = |p: &Part| match p {
        Part::Lit { text, .. } => Some(text.clone()),
        _ => None,
    };
    of.parts.iter().filter_map(literal).collect()
}

fn word(of: &Word) -> bool {
    // `=ls` is a path, and `==` an error. A sole brace ends what another has begun.
    let path = of.raw.starts_with('=') && !matches!(of.raw.as_str(), "=" | "==");
    path || of.raw == "}" || parts(of)
}

fn parts(of: &Word) -> bool {
    of.parts.iter().any(part)
}

/// What `$` means more was found when it was read, but not in what stands within.
fn part(of: &Part) -> bool {
    match of {
        Part::Lit { .. } | Part::Arith { .. } => false,
        Part::Param { inner, .. } => inner.iter().any(part),
        Part::Subst { sub, .. } | Part::Process { sub, .. } => list(&sub.list),
    }
}

fn redirect(of: &Redirect) -> bool {
    match &of.kind {
        // `<1-5>` is a pattern, and `>!` overwrites.
        Kind::File(op, target) => {
            let range = |c: char| c.is_ascii_digit() || c == '-';
            let pattern = target.raw.contains('-') && target.raw.chars().all(range);
            *op == "<" && pattern || target.raw.starts_with('!') || word(target)
        }
        Kind::Both { target, .. } => target.raw.starts_with('!') || word(target),
        Kind::HereString(of) => word(of),
        Kind::Dup(..) | Kind::Here(_) => false,
    }
}
