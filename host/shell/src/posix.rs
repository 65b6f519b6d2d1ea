//! What of the shell's own commands and variables other shells lack, or take in another way than bash. A text in
//! which it stands is for bash alone: elsewhere it would do something else than what was read.

use crate::ast::Part;
use crate::reading::Word;

/// Commands that bash has by itself.
const COMMANDS: &[&str] = &[
    "builtin",
    "caller",
    "declare",
    "dirs",
    "help",
    "history",
    "logout",
    "mapfile",
    "popd",
    "pushd",
    "readarray",
    "readonly",
    "shift",
    "shopt",
    "source",
    "suspend",
    "typeset",
];

/// Variables to which bash gives their values.
const VARIABLES: &[&str] = &[
    "COPROC",
    "DIRSTACK",
    "EPOCHREALTIME",
    "EPOCHSECONDS",
    "EUID",
    "FUNCNAME",
    "GROUPS",
    "HOSTNAME",
    "HOSTTYPE",
    "MACHTYPE",
    "MAPFILE",
    "OSTYPE",
    "PIPESTATUS",
    "RANDOM",
    "REPLY",
    "SECONDS",
    "SHELLOPTS",
    "SHLVL",
    "SRANDOM",
    "UID",
    "_",
];

/// In this piece of a word, there is a variable that has its value from bash, or a pattern with `[^…]`, which dash takes
/// for the `^` itself.
pub(crate) fn is_bashs(part: &Part) -> bool {
    match part {
        Part::Lit { text, quoted } => !quoted && (text.starts_with('^') || text.contains("[^")),
        Part::Param { raw, .. } | Part::Arith { raw, .. } => {
            let mut names = raw.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            raw.contains("[^")
                || names.any(|name| name.starts_with("BASH") || VARIABLES.contains(&name))
        }
        Part::Subst { .. } | Part::Process { .. } => false,
    }
}

/// What is assigned before such a command is there behind it as well, but not in bash (POSIX, 2.14, Special Built-Ins).
pub(crate) fn is_special(name: &str) -> bool {
    const SPECIAL: [&str; 15] = [
        ":", ".", "break", "continue", "eval", "exec", "exit", "export", "readonly", "return",
        "set", "shift", "times", "trap", "unset",
    ];
    SPECIAL.contains(&name)
}

/// Only bash does with `args` what it does. `name` is a command of the shell.
pub(crate) fn needs_bash(name: &str, args: &[Word]) -> bool {
    let texts = || args.iter().map(|w| w.text.as_str());
    let options = || texts().filter(|t| t.len() > 1 && t.starts_with('-'));
    match name {
        "set" => texts().any(|t| t == "pipefail"),
        "[" | "test" => texts().any(|t| !is_posix_in_test(t)),
        "echo" => {
            // What is known only later is printed, whatever it is.
            let escape = |w: &Word| !w.dynamic && w.text.contains('\\');
            let more = texts().take(2).collect::<Vec<_>>();
            let option = match more.as_slice() {
                ["-n", next] => next.starts_with('-'),
                [first, ..] => first.starts_with('-') && *first != "-n",
                [] => false,
            };
            args.iter().any(escape) || option
        }
        "printf" => {
            const OWN: [&str; 8] = ["\\?", "\\x", "\\u", "\\U", "\\e", "\\E", "\\\"", "%("];
            let own = |format: &str| OWN.iter().any(|part| format.contains(part)) || quotes(format);
            texts().next().is_some_and(|f| f.starts_with('-') || own(f))
        }
        // Without a name, it goes into `REPLY`.
        "read" => options().any(|t| t != "-r") || args.len() == options().count(),
        "export" => options().any(|t| t != "-p"),
        "exec" | "type" | "wait" => options().next().is_some(),
        // Others take the first one.
        "cd" => args.len() > options().count() + 1,
        "exit" | "return" => {
            texts().any(|t| !t.starts_with(|c: char| c.is_ascii_digit() || c == '$'))
        }
        "trap" => texts().skip(1).any(|t| {
            let plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit();
            t.starts_with("SIG") || matches!(t, "ERR" | "DEBUG" | "RETURN") || !t.chars().all(plain)
        }),
        "kill" => options().any(|t| t.to_ascii_uppercase().starts_with("-SIG")),
        _ => COMMANDS.contains(&name),
    }
}

/// `%q` and `%Q`, with what may stand between.
fn quotes(format: &str) -> bool {
    let mut rest = format;
    while let Some((_, directive)) = rest.split_once('%') {
        let letter =
            directive.trim_start_matches(|c: char| c.is_ascii_digit() || "-+ #.*".contains(c));
        if letter.starts_with(['q', 'Q']) {
            return true;
        }
        rest = letter.strip_prefix('%').unwrap_or(letter);
    }
    false
}

/// No operator, or one that every shell has.
fn is_posix_in_test(text: &str) -> bool {
    const SHELLS: [&str; 25] = [
        "-b", "-c", "-d", "-e", "-f", "-g", "-h", "-L", "-n", "-p", "-r", "-S", "-s", "-t", "-u",
        "-w", "-x", "-z", "-eq", "-ne", "-gt", "-ge", "-lt", "-le", "-",
    ];
    let letters = text.strip_prefix('-').unwrap_or_default();
    let is_option =
        matches!(letters.len(), 1 | 2) && letters.chars().all(|c| c.is_ascii_alphabetic());
    let sign = matches!(text, "==" | "=~" | "<" | ">" | "(" | ")");
    !sign && (!is_option || SHELLS.contains(&text))
}
