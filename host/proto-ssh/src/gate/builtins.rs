//! What bash itself could do to its gate: commands of the shell that would take it away, or change what the names mean
//! that it is asked about.

use shell::{Command, Word, is_own_array};

/// Of these, the gate has its own while it asks: who makes them constant keeps it from that.
const NEEDED: [&str; 2] = ["IFS", "GLOBIGNORE"];
/// With other attributes these mean something else, or the same for ever, although they are constant: BASH_COMMAND as an
/// array is what it was, PATH as one is the current directory, SRANDOM as one never changes, and with PROMPT_COMMAND as one
/// there are no prompts.
const PLAIN: [&str; 18] = [
    "BASH_COMMAND",
    "BASHPID",
    "BASH_COMPAT",
    "FUNCNAME",
    "PATH",
    "PROMPT_COMMAND",
    "PS0",
    "PS2",
    "PS4",
    "HISTSIZE",
    "HISTCONTROL",
    "HISTIGNORE",
    "HISTFILE",
    "HOSTFILE",
    "INPUTRC",
    "FUNCNEST",
    "GLOBIGNORE",
    "SRANDOM",
];
/// Options of the shell on which the gate, or the reading of what it asks, stands.
const OPTIONS: [&str; 14] = [
    "extdebug",
    "functrace",
    "errtrace",
    "posix",
    "interactive_comments",
    "history",
    "cmdhist",
    "lithist",
    "promptvars",
    "expand_aliases",
    "keyword",
    "histexpand",
    "braceexpand",
    "monitor",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    Traps,
    Removes,
    /// Which variable it sets, or whether it does, turns out only when it runs.
    Names,
    /// It writes out the text of functions, in which the key of the verdicts is.
    Lists,
    /// Some keys expand what is typed before it is asked about.
    Keys,
}

pub(super) fn about_the_gate(command: &Command) -> Option<Why> {
    let (head, args) = command.argv.split_first()?;
    let says = |name: &str| args.iter().any(|w| w.text.eq_ignore_ascii_case(name));
    let uncertain = args.iter().any(is_unclear);
    let removes = match head.text.as_str() {
        "trap" => return (!only_shows(args)).then_some(Why::Traps),
        "set" if args.is_empty() => return Some(Why::Lists),
        "type" if uncertain => return Some(Why::Lists),
        "set" => {
            let drops = |text: &str| {
                text.starts_with('+') && text.contains(['T', 'E', 'B', 'm'])
                    || text.starts_with('-') && text.contains(['k', 'H'])
            };
            // Which variables programs get, then, is in no command.
            let exports = |text: &str| text.starts_with('-') && text.contains('a');
            if args
                .iter()
                .any(|w| w.text == "allexport" || exports(&w.text))
            {
                return Some(Why::Names);
            }
            let mut options = args.iter().take_while(|w| w.text != "--");
            options.any(|w| is_unclear(w) || drops(&w.text)) || OPTIONS.into_iter().any(says)
        }
        // With `compat42` and the like, bash reads as it once did.
        "shopt" => {
            let older = |w: &Word| w.text.starts_with("compat");
            uncertain || args.iter().any(older) || OPTIONS.into_iter().any(says)
        }
        "enable" => !args.is_empty(),
        // What is typed is not what runs, then, or is not kept as it was typed.
        "alias" | "fc" | "complete" | "compgen" | "compopt" => true,
        "history" => args.iter().any(|w| is_unclear(w) || !is_number(&w.text)),
        // Without descriptors, processes or memory there is nobody who could ask.
        "ulimit" => limits(args),
        "mapfile" | "readarray" if args.iter().any(calls) => true,
        "bind" => return (!only_tells(args)).then_some(Why::Keys),
        // Another program by the name of one.
        "hash" => {
            let option = |w: &Word| w.text.starts_with('-') && w.text.contains('p');
            args.iter().any(|w| is_unclear(w) || option(w))
        }
        // Nobody goes on with what it stops.
        "coproc" | "suspend" => true,
        // What it runs was not found.
        "exec" => !args.is_empty(),
        // Of these it was not found what they run.
        "builtin" | "command" => uncertain,
        "declare" | "typeset" | "local" | "export" | "readonly" => {
            return declares(head, args);
        }
        "read" | "mapfile" | "readarray" | "getopts" | "let" | "wait" => {
            return sets(head, args).then_some(Why::Names);
        }
        "printf" => return prints_into(args).then_some(Why::Names),
        _ => is_unclear(head),
    };
    removes.then_some(Why::Removes)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// It sets how much of something there may be, or could: who asks needs files, processes and memory.
fn limits(args: &[Word]) -> bool {
    // `-v5888` sets it.
    let letters = |w: &Word| {
        let letters = w.text.strip_prefix('-').filter(|text| !text.is_empty());
        letters.is_some_and(|text| text.bytes().all(|b| b.is_ascii_alphabetic()))
    };
    let only_shows = args.iter().all(letters);
    let size = |w: &Word| is_number(&w.text) || w.text == "unlimited";
    let cores = matches!(args, [what, much] if what.text == "-c" && size(much));
    args.iter().any(is_unclear) || !only_shows && !cores
}

/// `-C` has a command.
fn calls(word: &Word) -> bool {
    word.text.starts_with('-') && word.text.contains('C')
}

fn is_unclear(word: &Word) -> bool {
    word.dynamic || word.glob
}

/// `trap` by itself, or with what asks for a list.
fn only_shows(args: &[Word]) -> bool {
    let Some(first) = args.first() else {
        return true;
    };
    let asks = matches!(first.text.as_str(), "-p" | "-l" | "-lp" | "-pl");
    asks && !args.iter().any(is_unclear)
}

/// Without a name these list what there is: functions by `f`, and `declare` also where it is not told what.
fn lists(head: &Word, args: &[Word]) -> bool {
    if args.iter().any(|w| !w.text.starts_with(['-', '+'])) {
        return false;
    }
    let variables = |w: &Word| {
        matches!(
            w.text.as_str(),
            "-x" | "-r" | "-i" | "-a" | "-A" | "-px" | "-F"
        )
    };
    match head.text.as_str() {
        "declare" | "typeset" => !(args.len() == 1 && args.iter().all(variables)),
        _ => args.iter().any(|w| w.text.contains('f')),
    }
}

/// `bind` with what lists keys, or sets one of readline's variables.
fn only_tells(args: &[Word]) -> bool {
    let mut words = args.iter();
    while let Some(word) = words.next() {
        let fine = match word.text.as_str() {
            "-l" | "-p" | "-P" | "-s" | "-S" | "-v" | "-V" | "-X" => true,
            "-q" => words.next().is_some_and(|w| !is_unclear(w)),
            // How much is kept of the history decides which number a line has; who completes what is typed expands it.
            text => {
                let text = text.to_ascii_lowercase();
                let kept = ["history", "disable-completion"];
                text.starts_with("set ") && !kept.iter().any(|name| text.contains(name))
            }
        };
        if !fine || is_unclear(word) {
            return false;
        }
    }
    true
}

fn declares(head: &Word, args: &[Word]) -> Option<Why> {
    if lists(head, args) {
        return Some(Why::Lists);
    }
    let name = |w: &Word| {
        let (name, _) = w.text.split_once('=').unwrap_or((&w.text, ""));
        name.trim_end_matches('+').to_owned()
    };
    let options = || args.iter().filter(|w| w.text.starts_with(['-', '+']));
    if args.iter().any(|w| has_subscript(&name(w))) {
        return Some(Why::Names);
    }
    let constant = head.text == "readonly" || options().any(|w| w.text.contains('r'));
    if constant && args.iter().any(|w| NEEDED.contains(&name(w).as_str())) {
        return Some(Why::Removes);
    }
    // Whatever is assigned to it later is computed, and nobody is asked about that.
    if options().any(|w| w.text.starts_with('-') && w.text.contains('i')) {
        return Some(Why::Names);
    }
    let made = options().any(|w| w.text.contains(['a', 'A', 'i', 'l', 'u', 'c', 'n']));
    if made && args.iter().any(|w| PLAIN.contains(&name(w).as_str())) {
        return Some(Why::Removes);
    }
    // Of one whose value is known only later, the name may be certain all the same.
    let certain = |w: &Word| w.text.contains('=') && is_name(&name(w)) && w.is_one();
    // An array's value in parentheses is read once more, and what stands there is run, before anybody is asked.
    let list = |w: &Word| {
        w.text
            .split_once('=')
            .is_some_and(|(_, v)| v.starts_with('('))
    };
    let computed = |w: &Word| match head.text.as_str() {
        "export" | "readonly" => false,
        _ if list(w) => true,
        // `arrays` knows of which others this is so.
        "local" => w.begins_unknown() && is_own_array(&name(w)),
        _ => w.begins_unknown(),
    };
    let uncertain = args
        .iter()
        .any(|w| is_unclear(w) && !certain(w) || computed(w));
    // By another name, one sets what it stands for; and it may be what one of that name is outside of the function.
    let refers = head.text != "export" && options().any(|w| w.text.contains(['n', 'I']));
    (uncertain || refers).then_some(Why::Names)
}

/// A name with one means an element: it makes an array of what was none, and what stands in it is computed.
fn has_subscript(text: &str) -> bool {
    text.contains('[')
}

pub(super) fn is_name(text: &str) -> bool {
    !text.starts_with(|c: char| c.is_ascii_digit())
        && !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Options of these that have a word of their own, which names no variable.
fn with_word(head: &str) -> &'static str {
    match head {
        "read" => "dinNptu",
        "mapfile" | "readarray" => "cCdnOsu",
        _ => "",
    }
}

/// The words that name what `read` and its like set, of which some are behind `-a` in one with it.
pub(super) fn names_set<'a>(head: &str, args: &'a [Word]) -> Vec<&'a str> {
    let (mut names, mut words) = (Vec::new(), args.iter());
    let own = with_word(head);
    while let Some(word) = words.next() {
        let text = word.text.as_str();
        if !text.starts_with('-') {
            names.push(text);
        } else if takes_next(text, own) {
            words.next();
        } else if let Some(at) = text.find(|c| c == 'a' || own.contains(c))
            && head == "read"
        {
            let name = text.get(at..).and_then(|t| t.strip_prefix('a'));
            names.extend(name.filter(|name| !name.is_empty()));
        }
    }
    names
}

/// Words that are names of variables have to be certain.
fn sets(head: &Word, args: &[Word]) -> bool {
    let (head, mut words) = (head.text.as_str(), args.iter());
    let subscript = match head {
        "let" | "wait" | "getopts" => args.iter().any(|w| has_subscript(&w.text)),
        _ => names_set(head, args).into_iter().any(has_subscript),
    };
    if subscript {
        return true;
    }
    let mut options = true;
    let mut at = 0;
    while let Some(word) = words.next() {
        at += 1;
        if options && word.text.starts_with('-') && word.text.len() > 1 {
            options = word.text != "--";
            // `-p "$x"`, but not `-p$x`, which may be `-pa name`.
            if takes_next(&word.text, with_word(head)) && !is_unclear(word) {
                // What is nothing, or several words, moves what stands behind it.
                if words.next().is_none_or(|w| w.splits || w.glob) {
                    return true;
                }
                continue;
            }
            if is_unclear(word) {
                return true;
            }
            continue;
        }
        options = false;
        let fine = match head {
            "getopts" => at == 1 && !word.splits,
            "wait" => matches!(word.text.as_str(), "$!" | "${!}"),
            _ => false,
        };
        if is_unclear(word) && !fine {
            return true;
        }
    }
    false
}

/// The word behind these options belongs to them, and is no name: whichever letter with a word comes first takes what is
/// left of its own. That of `-a` is a name.
fn takes_next(options: &str, with_word: &str) -> bool {
    let takes = |c: char| c == 'a' || with_word.contains(c);
    let first = options.char_indices().find(|(_, c)| takes(*c));
    first.is_some_and(|(at, c)| c != 'a' && at + c.len_utf8() == options.len())
}

/// `-v` sets a variable, be it the last of several, and so does `%n`.
fn prints_into(args: &[Word]) -> bool {
    let Some((first, rest)) = args.split_first() else {
        return false;
    };
    let unnamed = |w: &Word| is_unclear(w) || has_subscript(&w.text);
    match first.text.as_str() {
        "-v" => match rest.split_first() {
            Some((name, behind)) => unnamed(name) || prints_into(behind),
            None => true,
        },
        text if text.starts_with("-v") => unnamed(first) || prints_into(rest),
        "--" => rest
            .split_first()
            .is_some_and(|(format, rest)| counts(&format.text) && rest.iter().any(unnamed)),
        text if counts(text) => rest.iter().any(unnamed),
        text => text.starts_with('-') && is_unclear(first) || is_unclear(first) && first.leads,
    }
}

fn counts(format: &str) -> bool {
    let mut directives = format.split('%').skip(1);
    directives.any(|d| {
        let letter = d.trim_start_matches(|c: char| c.is_ascii_digit() || "-+ #0.*".contains(c));
        letter.starts_with('n')
    })
}
