//! Commands of the shell itself, as far as they are more than programs: those that run text, set variables or change
//! what names mean.

use crate::ast::{Part, Word as Written};
use crate::environment;
use crate::expand;
use crate::parse::{is_name, split_assignment};
use crate::reading::Word;
use crate::reason::Opaque;
use crate::sure::reads_into;
use crate::walk::{Ctx, Walk};
use crate::zsh;

/// With this option a pattern may be no word at all, and what stands behind it moves.
pub(crate) const NULLGLOB: &str = "nullglob";
const DECLARATIONS: [&str; 5] = ["export", "declare", "typeset", "local", "readonly"];

/// False: `name` is not one of these.
pub(crate) fn run(walk: &mut Walk<'_>, name: &str, argv: &[Word], ctx: &Ctx) -> bool {
    let args = argv.get(1..).unwrap_or_default();
    if name == "shopt" && args.iter().any(|w| w.text == "failglob") {
        walk.variables.may_skip();
    }
    match name {
        "eval" => text(walk, name, args, ctx),
        "source" | "." => unknown(walk, name, argv, ctx),
        "trap" => trap(walk, argv, args, ctx),
        "alias" if !args.is_empty() => redefines(walk, name, argv, ctx),
        "enable" | "bind" | "complete" | "compopt" | "compgen" | "fc" | "coproc" | "disown" => {
            redefines(walk, name, argv, ctx);
        }
        "hash"
            if args
                .iter()
                .any(|w| w.dynamic || w.text.starts_with('-') && w.text.contains('p')) =>
        {
            redefines(walk, name, argv, ctx);
        }
        // zsh keeps where a program is, and others do so with aliases.
        "hash" if args.iter().any(|w| w.text.contains('=')) => {
            walk.needs_bash(ctx);
            walk.leaf(name, argv.to_vec(), ctx);
        }
        // To csh and fish, it sets variables of the environment.
        "set" if !args.is_empty() && ctx.shell.as_deref().is_some_and(zsh::may_be) => {
            redefines(walk, name, argv, ctx);
        }
        "set" if !set_is_plain(args) => redefines(walk, name, argv, ctx),
        "shopt" if !shopt_is_plain(args) => redefines(walk, name, argv, ctx),
        // Where that could not be seen before, words have been read without it.
        "shopt" if !walk.nullglob && args.iter().any(|w| w.text == NULLGLOB) => {
            redefines(walk, name, argv, ctx);
        }
        // `jobs -x` runs the command that stands behind it, with jobs put in.
        "jobs" if args.iter().any(|w| !w.is_literal() || w.text.contains('x')) => {
            walk.opaque(Opaque::Runs("jobs -x".to_owned()));
            walk.push(argv.to_vec(), ctx);
        }
        "let" => unknown(walk, name, argv, ctx),
        name if DECLARATIONS.contains(&name) => declare(walk, name, argv, ctx),
        "unset" | "read" | "mapfile" | "readarray" | "getopts" | "wait" => {
            names(walk, name, argv, ctx)
        }
        "printf" if printf_sets(args) => unknown(walk, name, argv, ctx),
        "printf"
            if args
                .first()
                .is_some_and(|w| w.may_be_option() || w.text.starts_with("-v")) =>
        {
            match args.first() {
                Some(option) if option.text == "-v" => names(walk, name, argv, ctx),
                _ => unknown(walk, name, argv, ctx),
            }
        }
        "exit" | "return" | "shift" | "break" | "continue" | "printf" => {
            counts(walk, name, args, ctx);
            walk.leaf(name, argv.to_vec(), ctx);
        }
        "test" | "[" => {
            computes(walk, args, ctx);
            if !test_is_plain(args) {
                walk.opaque(Opaque::Unread {
                    at: 0,
                    what: "a test that may compute",
                });
            }
            if args.iter().any(|word| inserts(walk, word)) {
                walk.opaque(Opaque::Unread {
                    at: 0,
                    what: "a test with a word that may become several, and so any other test: put it in quotes;",
                });
            }
            walk.leaf(name, argv.to_vec(), ctx);
        }
        _ => return false,
    }
    true
}

/// It is known to the shell alone, and what it does hangs on its words: by a path, or behind a program, it is
/// something else, or what `/usr/bin/NAME` makes of it.
pub(crate) fn is_own(name: &str) -> bool {
    const OWN: &[&str] = &[
        ".",
        "alias",
        "bind",
        "compgen",
        "complete",
        "compopt",
        "coproc",
        "declare",
        "disown",
        "enable",
        "eval",
        "export",
        "fc",
        "getopts",
        "hash",
        "jobs",
        "let",
        "local",
        "mapfile",
        "read",
        "readarray",
        "readonly",
        "set",
        "shopt",
        "source",
        "trap",
        "typeset",
        "umask",
        "unalias",
        "unset",
        "wait",
    ];
    OWN.contains(&name)
}

/// `%n` sets the variable that a word names. Some shells read escapes in the format first.
fn printf_sets(args: &[Word]) -> bool {
    let mut args = args;
    loop {
        match args {
            [dashes, rest @ ..] if dashes.text == "--" => args = rest,
            [option, _, rest @ ..] if option.text == "-v" => args = rest,
            _ => break,
        }
    }
    let Some(format) = args.first() else {
        return false;
    };
    let text = format.text.as_str();
    let escaped = text.contains('\\') && (text.contains("45") || text.contains("25"));
    let mut rest = text;
    while let Some((_, directive)) = rest.split_once('%') {
        let plain = |c: char| c.is_ascii_digit() || "-+ #.'*hljztL".contains(c);
        let letter = directive.trim_start_matches(plain);
        if letter.starts_with('n') {
            return true;
        }
        rest = letter.strip_prefix('%').unwrap_or(letter);
    }
    !format.is_literal() || escaped && text.contains('n')
}

fn redefines(walk: &mut Walk<'_>, name: &str, argv: &[Word], ctx: &Ctx) {
    walk.opaque(Opaque::Redefines(name.to_owned()));
    walk.push(argv.to_vec(), ctx);
}

fn unknown(walk: &mut Walk<'_>, name: &str, argv: &[Word], ctx: &Ctx) {
    walk.opaque(Opaque::Unknown {
        program: name.to_owned(),
    });
    walk.push(argv.to_vec(), ctx);
}

/// `eval`: its words are put together with blanks, and read once more.
fn text(walk: &mut Walk<'_>, name: &str, args: &[Word], ctx: &Ctx) {
    let args = match args.split_first() {
        Some((dashes, rest)) if dashes.text == "--" => rest,
        _ => args,
    };
    if !args.iter().all(Word::is_code) {
        walk.opaque(Opaque::Unknown {
            program: name.to_owned(),
        });
        return;
    }
    let joined: Vec<&str> = args.iter().map(|w| w.text.as_str()).collect();
    let mut inside = ctx.clone();
    inside.by.push(name.to_owned());
    // It may end before its end.
    walk.maybe(|walk| walk.inner(&joined.join(" "), &inside));
}

fn trap(walk: &mut Walk<'_>, argv: &[Word], args: &[Word], ctx: &Ctx) {
    let args = match args.split_first() {
        Some((dashes, rest)) if dashes.text == "--" => rest,
        _ => args,
    };
    if args.iter().any(|w| !w.is_literal()) {
        return unknown(walk, "trap", argv, ctx);
    }
    match args.first().map(|w| w.text.as_str()) {
        None | Some("-" | "" | "-l" | "-p") => walk.push(argv.to_vec(), ctx),
        // `trap 2 …` takes the text of no signal away.
        Some(number) if number.chars().all(|c| c.is_ascii_digit()) => walk.push(argv.to_vec(), ctx),
        Some(option) if option.starts_with('-') => unknown(walk, "trap", argv, ctx),
        Some(code) if args.len() > 1 => {
            let mut inside = ctx.clone();
            inside.by.push("trap".to_owned());
            inside.in_function = false;
            // Who knows when it runs, and whether.
            walk.afresh(|walk| walk.inner(code, &inside));
        }
        Some(_) => walk.push(argv.to_vec(), ctx),
    }
}

/// Options that change how the shell reports, not how it reads.
fn set_is_plain(args: &[Word]) -> bool {
    let mut args = args.iter();
    while let Some(word) = args.next() {
        if word.may_be_option() {
            return false;
        }
        let Some(letters) = word.text.strip_prefix(['-', '+']) else {
            return true;
        };
        match letters {
            // A single `+` ends no options.
            "-" | "" => return word.text.starts_with('-'),
            // Of two `o`, each takes a word.
            _ if word.dynamic
                || letters.matches('o').count() > 1
                || !letters.chars().all(|c| "eufxCo".contains(c)) =>
            {
                return false;
            }
            _ => {}
        }
        if letters.contains('o') {
            let plain = [
                "errexit",
                "nounset",
                "pipefail",
                "xtrace",
                "noglob",
                "noclobber",
            ];
            if !args
                .next()
                .is_some_and(|w| w.is_literal() && plain.contains(&w.text.as_str()))
            {
                return false;
            }
        }
    }
    true
}

fn shopt_is_plain(args: &[Word]) -> bool {
    const PLAIN: [&str; 9] = [
        "-s",
        "-u",
        "-q",
        "-p",
        "nullglob",
        "failglob",
        "globstar",
        "dotglob",
        "inherit_errexit",
    ];
    args.iter()
        .all(|w| w.is_literal() && PLAIN.contains(&w.text.as_str()))
}

/// Where this is a declaration, what looks like an assignment is one to bash: neither the command's name nor that of a
/// variable has a quote in it, and nothing stands before it. What braces make is none, nor what bash splits.
pub(crate) fn assigns(words: &[Written]) -> bool {
    let [head, words @ ..] = words else {
        return true;
    };
    let braced =
        |part: &Part| matches!(part, Part::Lit { text, quoted: false } if text.contains('{'));
    let plain = |word: &Written| {
        !expand::single(word).splits
            || split_assignment(word).is_some() && !word.parts.iter().any(braced)
    };
    DECLARATIONS.contains(&head.raw.as_str()) && words.iter().all(plain)
}

fn declare(walk: &mut Walk<'_>, name: &str, argv: &[Word], ctx: &Ctx) {
    let option = |w: &Word| w.text.starts_with(['-', '+']);
    let options = argv.iter().skip(1).any(option);
    let locks = name == "readonly"
        || argv
            .iter()
            .skip(1)
            .any(|w| option(w) && w.text.contains('r'));
    let exports = name == "export"
        || argv
            .iter()
            .skip(1)
            .any(|w| w.text.starts_with('-') && w.text.contains('x'));
    // Outside a function `local` is an error, and with an option some only show what there is.
    let sets = !options && !locks && (name != "local" || ctx.in_function);
    if locks {
        // To set it once more is an error, and the rest of the line is skipped then.
        walk.variables.may_skip();
    }
    for word in argv.iter().skip(1) {
        let named = word.text.split_once('=');
        let literal_name = !word.leads && word.is_one();
        match named {
            Some((variable, value)) if literal_name && is_name(variable.trim_end_matches('+')) => {
                let value = Word {
                    text: value.to_owned(),
                    leads: word.dynamic,
                    number: word.gives_number,
                    ..word.clone()
                };
                if !matches!(name, "export" | "readonly") {
                    element(walk, variable.trim_end_matches('+'), word);
                }
                walk.set(variable.trim_end_matches('+'), &value);
                match variable.strip_suffix('+') {
                    Some(variable) => walk.variables.appends(variable),
                    None if sets => walk.variables.is_there(variable),
                    None => {}
                }
                if locks {
                    walk.variables.never(variable.trim_end_matches('+'));
                }
                if word.splits {
                    // Older shells make several words of it, which name other variables.
                    walk.needs_bash(ctx);
                }
            }
            // Nothing but attributes that change no meaning: `-i` computes, `-n` refers.
            None if !word.dynamic
                && word
                    .text
                    .strip_prefix(['-', '+'])
                    .is_some_and(|l| l.chars().all(|c| "xrgp".contains(c))) => {}
            None if !word.dynamic && is_name(&word.text) => {
                // Whatever it holds by now.
                if exports && environment::decides(&word.text, &Word::anything()) {
                    walk.opaque(Opaque::Environment(word.text.clone()));
                }
                if locks {
                    walk.variables.never(&word.text);
                }
            }
            _ => walk.opaque(Opaque::Redefines(format!("{name} {}", word.text))),
        }
    }
    walk.leaf(name, argv.to_vec(), ctx);
}

/// What `declare` gives to a variable that is an array is read once more where it is in parentheses, and what stands there
/// is run: `declare 'DIRSTACK=($(…))'`.
fn element(walk: &mut Walk<'_>, variable: &str, word: &Word) {
    let unknown = word.begins_unknown();
    let list = word
        .text
        .split_once('=')
        .is_some_and(|(_, v)| v.starts_with('('));
    if list || unknown && is_own_array(variable) {
        walk.opaque(Opaque::Redefines(format!("declare {variable}=(…)")));
    }
    walk.variables.declared |= unknown;
}

/// Does bash itself make an array of a variable of this name?
pub fn is_own_array(variable: &str) -> bool {
    const OWN: [&str; 6] = [
        "COPROC",
        "DIRSTACK",
        "FUNCNAME",
        "GROUPS",
        "MAPFILE",
        "PIPESTATUS",
    ];
    OWN.contains(&variable) || variable.starts_with("BASH") || variable.starts_with("COMP")
}

/// Commands that set variables by name, or take them away. A subscript in such a name is computed.
fn names(walk: &mut Walk<'_>, name: &str, argv: &[Word], ctx: &Ctx) {
    if name == "read" && !ctx.redirected {
        for variable in reads_into(argv.get(1..).unwrap_or_default()) {
            walk.variables.is_there(variable);
        }
    }
    let array = |w: &Word| w.text.starts_with('-') && w.text.contains('a');
    walk.variables.arrays |= match name {
        "mapfile" | "readarray" => true,
        "read" => argv.iter().any(array),
        _ => false,
    };
    // Options may have values, so they are looked for behind other words, too.
    let mut words = argv.iter().skip(1);
    while let Some(word) = words.next() {
        let option = word.text.starts_with('-') && word.text.len() > 1;
        if word.may_be_option() && !counted(walk, word) {
            walk.opaque(Opaque::DynamicOption {
                program: name.to_owned(),
            });
        } else if option {
            let has = |letters: &[char]| word.text.contains(letters);
            let hidden = match name {
                "mapfile" | "readarray" => has(&['C', 'c']),
                // The name of an array, or where `wait` puts a number, written in one with the option.
                "read" => word.text.len() > 2 && has(&['a']) || !reads_as_bash(&word.text),
                "wait" => has(&['p']),
                "printf" => word.text.len() > 2 && has(&['v']),
                _ => false,
            };
            if hidden {
                walk.opaque(Opaque::Unknown {
                    program: name.to_owned(),
                });
            }
            if name == "unset" && has(&['f', 'n']) {
                walk.opaque(Opaque::Redefines(name.to_owned()));
            }
        } else {
            match name {
                "wait" => {}
                "getopts" if word.text.starts_with(':') => {}
                // What it prints; and behind `-v`, into which variable.
                "printf" if word.text != "-v" => break,
                _ => variable(walk, name, word),
            }
        }
        if name == "printf"
            && word.text == "-v"
            && let Some(into) = words.next()
        {
            variable(walk, name, into);
        }
    }
    walk.leaf(name, argv.to_vec(), ctx);
}

/// Only options that bash has, up to one whose value may be written in one with it: `-C` of ksh93 runs what it reads.
fn reads_as_bash(option: &str) -> bool {
    let mut letters = option.trim_start_matches('-').chars();
    letters
        .find(|c| !matches!(c, 'r' | 's'))
        .is_none_or(|c| "aeidnNptu".contains(c))
}

fn variable(walk: &mut Walk<'_>, name: &str, word: &Word) {
    // To ksh and zsh, a prompt may stand behind the name.
    if let Some((variable, _)) = word.text.split_once('?')
        && is_name(variable)
    {
        walk.set(variable, &Word::anything());
    }
    if word.dynamic || word.glob || word.text.contains('[') {
        walk.opaque(Opaque::Unread {
            at: 0,
            what: "the name of a variable that may be computed",
        });
    } else if is_name(&word.text) && name != "unset" {
        walk.set(&word.text, &Word::anything());
    } else if name == "unset" && is_name(&word.text) && word.text != "PATH" {
        walk.variables.never(&word.text);
    } else if name == "unset" && word.text == "PATH" {
        walk.opaque(Opaque::Environment(word.text.clone()));
    }
}

/// bash computes the subscript of a name after `-v`, and so runs commands in it.
fn test_is_plain(args: &[Word]) -> bool {
    args.windows(2).all(|pair| {
        let [operator, operand] = pair else {
            return true;
        };
        let risky = is_risky(operand);
        let computes = matches!(operator.text.as_str(), "-v" | "-R") && !operator.dynamic;
        let unknown = operator.may_be_option() && !is_operator(&operand.text);
        !(risky && (computes || unknown))
    })
}

/// May one of the words that it becomes be `-v`, with another one behind it? `[ -n $x ]` runs commands where x holds
/// `y -o -v a[$(…)]`.
fn inserts(walk: &mut Walk<'_>, word: &Word) -> bool {
    if word.splits {
        return !counted(walk, word);
    }
    // Names of files. Without brackets they have the characters of the pattern.
    let other = |c: char| !matches!(c, '*' | '?' | '-' | 'v' | 'R');
    word.glob && (word.dynamic || word.text.contains('[') || !word.text.contains(other))
}

/// Does it stand for a number, or for a variable that holds nothing else anywhere in the text?
fn counted(walk: &mut Walk<'_>, word: &Word) -> bool {
    if word.number {
        return true;
    }
    let name = word.text.strip_prefix('$').unwrap_or_default();
    let braced = name.strip_prefix('{').and_then(|n| n.strip_suffix('}'));
    let name = braced.unwrap_or(name);
    let is_variable = word.single && is_name(name);
    if is_variable {
        // Where it may hold something else, the text is opaque.
        walk.variables.computes(name);
    }
    is_variable
}

/// What may be computed there and then is a name with a subscript.
fn is_risky(operand: &Word) -> bool {
    operand.dynamic
        || (operand.glob || operand.text.contains('['))
            && !matches!(operand.text.as_str(), "[" | "]")
}

/// Between numbers, ksh computes as well. bash does not, so what is known only later is for bash.
fn computes(walk: &mut Walk<'_>, args: &[Word], ctx: &Ctx) {
    const NUMBERS: [&str; 6] = ["-eq", "-ne", "-lt", "-le", "-gt", "-ge"];
    let compared = |at: usize| {
        let is = |at: Option<usize>| {
            at.and_then(|at| args.get(at))
                .is_some_and(|w| NUMBERS.contains(&w.text.as_str()))
        };
        is(at.checked_sub(1)) || is(at.checked_add(1))
    };
    for (_, operand) in args.iter().enumerate().filter(|(at, _)| compared(*at)) {
        // A name, too, is computed by mksh.
        if operand.is_literal() && !is_risky(operand) && !is_integer(&operand.text) {
            walk.needs_bash(ctx);
        }
        if !is_risky(operand) || !operand.splits && operand.number {
            continue;
        }
        if operand.dynamic && !operand.glob && !operand.text.contains("[") {
            walk.needs_bash(ctx);
        } else {
            walk.opaque(Opaque::Unread {
                at: 0,
                what: "a test that may compute",
            });
        }
    }
}

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit())
}

/// Where bash takes a number, ksh and zsh compute.
fn counts(walk: &mut Walk<'_>, name: &str, args: &[Word], ctx: &Ctx) {
    let text = |w: &Word| {
        let mut directives = w.text.split('%').skip(1);
        w.is_literal()
            && directives.all(|d| {
                let letter =
                    d.trim_start_matches(|c: char| c.is_ascii_digit() || "-+ #.".contains(c));
                letter.is_empty() || letter.starts_with(['b', 'c', 'q', 's'])
            })
    };
    let numbers = match args.split_first() {
        Some((format, _)) if name == "printf" && text(format) => return,
        Some((_, values)) if name == "printf" => values,
        _ => args,
    };
    let number = |w: &Word| w.number || w.is_literal() && is_integer(&w.text);
    if !numbers.iter().all(number) {
        walk.needs_bash(ctx);
    }
}

fn is_operator(text: &str) -> bool {
    matches!(
        text,
        "=" | "=="
            | "!="
            | "<"
            | ">"
            | "]"
            | "-a"
            | "-o"
            | ")"
            | "-eq"
            | "-ne"
            | "-lt"
            | "-le"
            | "-gt"
            | "-ge"
            | "-nt"
            | "-ot"
            | "-ef"
    )
}
