//! `sed`: whether its options and scripts can write files or run commands.

use crate::interpreters::unknown;
use crate::reading::Word;
use crate::walk::Walk;

pub(crate) fn look(walk: &mut Walk<'_>, name: &str, argv: &[Word]) {
    let mut args = argv.iter().skip(1);
    let mut scripts = Vec::new();
    let mut operand = None;
    while let Some(word) = args.next() {
        let text = word.text.as_str();
        match text {
            _ if word.splits || word.glob && word.may_be_option() => return unknown(walk, name),
            "-e" | "--expression" => match args.next() {
                Some(script) => scripts.push(script),
                None => return,
            },
            "-ne" | "-Ee" | "-re" => match args.next() {
                Some(script) => scripts.push(script),
                None => return,
            },
            "-n" | "-E" | "-r" | "-u" | "-z" | "-s" | "-nE" | "-nr" | "--quiet" | "--silent"
            | "--regexp-extended" | "--posix" | "--debug" | "--sandbox" => {}
            _ if text.starts_with("-i")
                || text.starts_with("--in-place")
                || is_cluster_with(text, 'i') =>
            {
                walk.out.only_reads = false;
                if is_cluster_with(text, 'f') && !text.starts_with("--") {
                    walk.code(name, text.to_owned());
                }
            }
            _ if text.starts_with('-') && text != "-" || word.may_be_option() => {
                return walk.code(name, text.to_owned());
            }
            _ if operand.is_none() => operand = Some(word),
            _ => {}
        }
    }
    if scripts.is_empty() {
        scripts.extend(operand);
    }
    for script in scripts {
        if script.dynamic || !is_plain(&script.text) {
            walk.code(name, "its script may run or write something");
        }
    }
}

fn is_cluster_with(text: &str, letter: char) -> bool {
    text.strip_prefix('-')
        .is_some_and(|t| !t.starts_with('-') && t.contains(letter))
}

/// A sed script of which it is certain that it neither runs nor writes anything.
fn is_plain(script: &str) -> bool {
    script.len() <= 16 << 10 && !script.contains(['\n', '{', '}']) && commands(script).is_some()
}

/// Each command of the script, one after the other; nothing where one is not plain.
fn commands(script: &str) -> Option<()> {
    let mut rest = script;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ';']);
        if rest.is_empty() {
            return Some(());
        }
        rest = address(rest)?;
        if let Some(after) = rest.strip_prefix(',') {
            rest = address(after.trim_start_matches('+'))?;
        }
        rest = rest.trim_start_matches([' ', '!']);
        let command = rest.chars().next()?;
        rest = rest.get(command.len_utf8()..)?;
        match command {
            'p' | 'd' | 'q' | '=' | 'D' | 'P' | 'g' | 'G' | 'h' | 'H' | 'x' | 'N' | 'n' => {}
            's' | 'y' => {
                let mark = rest.chars().next().filter(|c| "/|#,:@!%+".contains(*c))?;
                rest = until(rest.get(mark.len_utf8()..)?, mark)?;
                rest = until(rest, mark)?;
                rest = rest.trim_start_matches(|c: char| c.is_ascii_digit() || "gpiIM".contains(c));
            }
            _ => return None,
        }
        rest = rest.trim_start_matches([' ', '\t']);
        if !rest.is_empty() && !rest.starts_with(';') {
            return None;
        }
    }
}

fn address(text: &str) -> Option<&str> {
    if let Some(rest) = text.strip_prefix('/') {
        return until(rest, '/');
    }
    if let Some(rest) = text.strip_prefix('$') {
        return Some(rest);
    }
    Some(text.trim_start_matches(|c: char| c.is_ascii_digit()))
}

/// What follows the mark.
fn until(text: &str, mark: char) -> Option<&str> {
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => {
                chars.next()?;
            }
            c if c == mark => return text.get(at + c.len_utf8()..),
            '[' => {
                let inside = text.get(at + 1..)?.split(']').next()?;
                if !is_simple_bracket(inside, mark) {
                    return None;
                }
                // Its end too.
                chars.nth(inside.chars().count());
            }
            _ => {}
        }
    }
    None
}

/// Every sed finds the end of these brackets at the same place. `[]…]`, `[^]…]`, `[[:x:]]` and brackets with a
/// mark or a backslash are such that they need not.
fn is_simple_bracket(inside: &str, mark: char) -> bool {
    let members = inside.strip_prefix('^').unwrap_or(inside);
    !members.is_empty() && !members.contains([mark, '[', '\\'])
}
