//! What a simple command of bash is as a command line, and what is about the gate itself.

use bytes::Bytes;
use shell::Reading;

/// bash tells of loops and choices by their first line only. What stands in their bodies is asked about by itself.
pub(crate) fn command_line(text: &Bytes) -> Bytes {
    let end: &[u8] = match text {
        head if head.starts_with(b"for ") || head.starts_with(b"select ") => b"; do :; done",
        head if head.starts_with(b"case ") => b" *) :;; esac",
        _ => return text.clone(),
    };
    [text.trim_ascii_end(), end].concat().into()
}

/// Names that mean the gate, wherever they stand: nobody has a reason to write them.
const OURS: [&str; 2] = ["__weir_", "POSIXLY_CORRECT"];

/// Why this is refused whatever policy says: it would take the gate away, or reach into it. `directory` is the gate's.
pub(crate) fn about_the_gate(
    text: &[u8],
    directory: &str,
    reading: &Reading,
) -> Option<&'static str> {
    let ours = |text: &str| text.contains(directory) || OURS.iter().any(|name| text.contains(name));
    let text = String::from_utf8_lossy(text);
    let words = || reading.commands.iter().flat_map(|c| c.argv.iter());
    let files = || reading.reads.paths.iter().chain(&reading.writes.paths);
    if ours(&text) || words().any(|w| ours(&w.text)) || files().any(|f| ours(f)) {
        return Some("this is about the gate of this shell, which is not to be touched");
    }
    for command in &reading.commands {
        // Of a trap with a text, the reading is of that text: for which signal it is set is not in it.
        if command.by.iter().any(|by| by == "trap") {
            return Some("this sets a trap, which could take the gate of this shell away");
        }
        let Some((head, args)) = command.argv.split_first() else {
            continue;
        };
        let unclear = args.iter().any(|w| w.dynamic || w.glob);
        let says = |name: &str| args.iter().any(|w| w.text.eq_ignore_ascii_case(name));
        let about = match head.text.as_str() {
            "trap" => unclear || says("DEBUG") || says("SIGDEBUG"),
            "set" => {
                let drops = |text: &str| text.starts_with('+') && text.contains(['T', 'E']);
                let first = args.first();
                first.is_some_and(|w| w.dynamic || w.glob)
                    || says("functrace")
                    || says("posix")
                    || args.iter().any(|w| drops(&w.text))
            }
            "shopt" => unclear || says("extdebug") || says("functrace") || says("posix"),
            "enable" => !args.is_empty(),
            _ => false,
        };
        if about {
            return Some("this could take the gate of this shell away");
        }
    }
    None
}
