//! What a simple command of bash is as a command line, and what is refused because of the gate itself.

use bytes::Bytes;
use shell::{Command, Opaque, Reading, Word};

use super::builtins::{self, Why};
use super::{Place, paths};

/// bash tells of loops and choices by their first line only. What stands in their bodies is asked about by itself.
pub(crate) fn command_line(text: &Bytes) -> Bytes {
    let end: &[u8] = match text {
        head if head.starts_with(b"for ") || head.starts_with(b"select ") => b"; do :; done",
        head if head.starts_with(b"case ") => b" *) :;; esac",
        _ => return text.clone(),
    };
    [text.trim_ascii_end(), end].concat().into()
}

/// What begins with these is no simple command: it starts nothing but substitutions, which are asked about by
/// themselves. Where a simple command begins so, bash writes it with quotes.
const COMPOUND: [&[u8]; 5] = [b"((", b"[[ ", b"for ", b"select ", b"case "];

/// Names that mean the gate, wherever they stand, and tables of what other names mean: nobody has a reason to write
/// them.
const OURS: [&str; 8] = [
    "__weir_",
    // What the startup file asks, and nobody else.
    "weir-line",
    "weir-more",
    "weir-prompt",
    "POSIXLY_CORRECT",
    // In older versions, what the gate says of a backslash is not what it is.
    "BASH_COMPAT",
    "BASH_CMDS",
    "BASH_ALIASES",
];

const TOUCHES: &str = "this is about the gate of this shell, which is not to be touched";
const REACHES: &str =
    "this could reach the gate of this shell: name the files that it is about, or work elsewhere";
const TRAPS: &str = "this sets a trap, which could take the gate of this shell away";
const REMOVES: &str = "this could take the gate of this shell away";
const REPLACES: &str =
    "this would put another program in the place of this shell: run it as a command of its own";
const NAMES: &str =
    "in a gated shell it has to be certain which variables are set: write their names out";
const UNCERTAIN: &str =
    "in a gated shell it has to be certain which command it is: write its name out";
const LISTS: &str = "this lists functions, and those of the gate of this shell are not to be seen: name what is to be listed";
const KEYS: &str = "in a gated shell keys mean what they did when it began: some of them act before anything is asked";
const CHARACTERS: &str = "in a gated shell it has to be certain which characters these are: bash writes or reads some of them in another way";
const BORROWS: &str = "in a gated shell it has to be certain where this goes: name the file, or open it in this command";

/// Why this is refused whatever policy says and whoever approves it: it would take the gate away, or reach into it, or
/// nobody can tell whether it would. `directory` is the gate's.
pub(crate) fn about_the_gate(
    text: &[u8],
    place: &Place,
    directory: &str,
    reading: &Reading,
) -> Option<&'static str> {
    if let Some(why) = touches(text, place, directory, reading) {
        return Some(why);
    }
    if is_two_ways(text) {
        return Some(CHARACTERS);
    }
    if is_compound(text) {
        // More than a head, or another one than bash writes today.
        let other = |why: &Opaque| matches!(why, Opaque::Syntax { .. });
        return reading.opaque.iter().any(other).then_some(UNCERTAIN);
    }
    // Of a trap with a text, the reading is of that text: for which signal it is set is not in it.
    let mut by = reading.commands.iter().flat_map(|c| &c.by);
    if by.any(|by| by == "trap") {
        return Some(TRAPS);
    }
    // Where there is no such program, bash 5.1 goes on without the trap.
    let mut by = reading.commands.iter().flat_map(|c| &c.by);
    if by.any(|by| by == "exec") {
        return Some(REPLACES);
    }
    if reading.opaque.iter().any(|why| hides(why, reading)) {
        return Some(UNCERTAIN);
    }
    // What is open is named with the ask, but for what all commands have, and pipes.
    if !reading.borrows.is_empty() && place.open.is_empty() {
        return Some(BORROWS);
    }
    let mut commands = reading.commands.iter();
    let why = commands.find_map(builtins::about_the_gate)?;
    Some(match why {
        Why::Traps => TRAPS,
        Why::Removes => REMOVES,
        Why::Names => NAMES,
        Why::Lists => LISTS,
        Why::Keys => KEYS,
    })
}

pub(super) fn is_compound(text: &[u8]) -> bool {
    COMPOUND.iter().any(|head| text.starts_with(head))
}

/// bash doubles two control characters when it says what it runs; and in languages of East Asia (GBK, Shift JIS, Big5)
/// the second byte of a character may be one that ends words or quotes, or a digit behind which bash misses those.
fn is_two_ways(text: &[u8]) -> bool {
    let doubled = text.iter().any(|b| matches!(b, 0x01 | 0x7f));
    let mut pairs = text.iter().zip(text.get(1..).unwrap_or_default());
    doubled || pairs.any(|(one, two)| !one.is_ascii() && br"\`{|}~[]^@0123456789".contains(two))
}

/// Words that may be paths: what is looked for in `PATH` is none.
fn named(command: &Command) -> &[Word] {
    match command.argv.split_first() {
        Some((head, args)) if !head.text.contains('/') => args,
        _ => &command.argv,
    }
}

/// A whole line that has these names in it, wherever they stand.
pub(super) fn names_the_gate(text: &[u8]) -> Option<&'static str> {
    is_ours(&String::from_utf8_lossy(text)).then_some(TOUCHES)
}

fn is_ours(text: &str) -> bool {
    paths::names_a_gate(text) || OURS.iter().any(|name| text.contains(name))
}

/// It names the gate, or could find it.
fn touches(text: &[u8], place: &Place, directory: &str, reading: &Reading) -> Option<&'static str> {
    let ours = |text: &str| text.contains(directory) || is_ours(text);
    let said = String::from_utf8_lossy(text);
    let words = || {
        let argv = reading.commands.iter().flat_map(named);
        let set = reading.commands.iter().flat_map(|c| &c.env);
        let opened = reading.redirects.iter().map(|r| &r.path);
        argv.chain(set.map(|(_, value)| value)).chain(opened)
    };
    let files = || reading.reads.paths.iter().chain(&reading.writes.paths);
    let mut heads = reading.commands.iter().filter_map(|c| c.argv.first());
    if ours(&said)
        || heads.any(|w| ours(&w.text))
        || words().any(|w| ours(&w.text))
        || files().any(|f| ours(f))
    {
        return Some(TOUCHES);
    }
    // Out of there one may go.
    let inside = place.directory.as_deref().is_some_and(paths::is_inside);
    let open = |file: &String| paths::reaches(file, false, place);
    if place.open.iter().any(open) || inside && !text.starts_with(b"cd ") {
        return Some(TOUCHES);
    }
    // Words of a loop are in no command.
    let looped = text.starts_with(b"for ") || text.starts_with(b"select ");
    let bare = said.replace(['"', '\'', '\\'], "");
    let reaches = looped && paths::reaches(&bare, true, place)
        || words().any(|w| paths::reaches(&w.text, w.glob, place))
        || files().any(|f| paths::reaches(f, true, place));
    reaches.then_some(REACHES)
}

/// Which command it is may be another than the reading says.
fn hides(why: &Opaque, reading: &Reading) -> bool {
    match why {
        Opaque::TooLong(_)
        | Opaque::TooDeep(_)
        | Opaque::TooMany(_)
        | Opaque::NotUtf8
        | Opaque::Nul
        | Opaque::CarriageReturn
        | Opaque::Empty
        | Opaque::Syntax { .. }
        | Opaque::Disagreement { .. }
        | Opaque::DynamicCommand(_)
        | Opaque::GlobCommand(_) => true,
        // The reader has given up, or it has not.
        Opaque::Unread { .. } => reading.commands.is_empty(),
        Opaque::Option { program, .. } | Opaque::DynamicOption { program } => {
            matches!(program.as_str(), "builtin" | "command" | "exec")
        }
        Opaque::Unknown { .. }
        | Opaque::Fed { .. }
        | Opaque::DynamicFile(_)
        | Opaque::Shadowed(_)
        | Opaque::Redefines(_)
        | Opaque::Environment(_)
        | Opaque::Runs(_)
        | Opaque::OtherShell(_)
        | Opaque::TakesScript(_) => false,
    }
}
