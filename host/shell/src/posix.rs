//! What of the shell's own commands and variables other shells lack, or take in another way than bash. A text in
//! which it stands is for bash alone: elsewhere it would do something else than what was read.

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
    "SRANDOM",
    "UID",
];

/// In this expansion, there is a variable that has its value from bash.
pub(crate) fn names_bashs(raw: &str) -> bool {
    raw.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .any(|name| name.starts_with("BASH") || VARIABLES.contains(&name))
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
            let option = texts().next().is_some_and(|t| t.starts_with('-'));
            args.iter().any(escape) || option && texts().next() != Some("-n")
        }
        "printf" => {
            const OWN: [&str; 6] = ["\\x", "\\u", "\\U", "\\e", "\\E", "%("];
            let own = |format: &str| OWN.iter().any(|part| format.contains(part)) || quotes(format);
            texts().next().is_some_and(|f| f.starts_with('-') || own(f))
        }
        // Without a name, it goes into `REPLY`.
        "read" => options().any(|t| t != "-r") || args.len() == options().count(),
        "export" | "type" => options().any(|t| t != "-p"),
        "exec" | "wait" => options().next().is_some(),
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
