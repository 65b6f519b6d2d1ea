//! What a simple command of bash is as a command line, and what is refused because of the gate itself.

use bytes::Bytes;
use shell::{Command, Opaque, Reading, Word};

use super::Place;

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

/// Names that mean the gate, wherever they stand: nobody has a reason to write them.
const OURS: [&str; 2] = ["__weir_", "POSIXLY_CORRECT"];

const TOUCHES: &str = "this is about the gate of this shell, which is not to be touched";
const TRAPS: &str = "this sets a trap, which could take the gate of this shell away";
const REMOVES: &str = "this could take the gate of this shell away";
const UNCERTAIN: &str =
    "in a gated shell it has to be certain which command it is: write its name out";

/// Why this is refused whatever policy says and whoever approves it: it would take the gate away, or reach into it, or
/// nobody can tell whether it would. `directory` is the gate's.
pub(crate) fn about_the_gate(
    text: &[u8],
    place: &Place,
    directory: &str,
    reading: &Reading,
) -> Option<&'static str> {
    let ours = |text: &str| text.contains(directory) || OURS.iter().any(|name| text.contains(name));
    let said = String::from_utf8_lossy(text);
    let words = || reading.commands.iter().flat_map(|c| c.argv.iter());
    let files = || reading.reads.paths.iter().chain(&reading.writes.paths);
    if ours(&said) || words().any(|w| ours(&w.text)) || files().any(|f| ours(f)) {
        return Some(TOUCHES);
    }
    // Out of there one may go.
    let inside = place.directory.as_deref().is_some_and(ours);
    if inside && !text.starts_with(b"cd ") {
        return Some(TOUCHES);
    }
    if COMPOUND.iter().any(|head| text.starts_with(head)) {
        return None;
    }
    // Of a trap with a text, the reading is of that text: for which signal it is set is not in it.
    if reading
        .commands
        .iter()
        .any(|c| c.by.iter().any(|by| by == "trap"))
    {
        return Some(TRAPS);
    }
    if reading.opaque.iter().any(|why| hides(why, reading)) {
        return Some(UNCERTAIN);
    }
    reading.commands.iter().find_map(removes)
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
            matches!(program.as_str(), "builtin" | "command")
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

fn removes(command: &Command) -> Option<&'static str> {
    let (head, args) = command.argv.split_first()?;
    let unclear = |word: &Word| word.dynamic || word.glob;
    let says = |name: &str| args.iter().any(|w| w.text.eq_ignore_ascii_case(name));
    let about = match head.text.as_str() {
        "trap" if args.iter().any(unclear) => return Some(TRAPS),
        "trap" => says("DEBUG") || says("SIGDEBUG"),
        "set" => {
            let drops = |text: &str| text.starts_with('+') && text.contains(['T', 'E']);
            let mut options = args.iter().take_while(|w| w.text != "--");
            options.any(|w| unclear(w) || drops(&w.text)) || says("functrace") || says("posix")
        }
        "shopt" => {
            args.iter().any(unclear) || says("extdebug") || says("functrace") || says("posix")
        }
        "enable" => !args.is_empty(),
        // Of these it was not found what they run.
        "builtin" | "command" => args.iter().any(unclear),
        _ => unclear(head),
    };
    about.then_some(REMOVES)
}
