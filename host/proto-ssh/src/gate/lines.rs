//! Whole lines of a gated shell. bash expands and opens things around its simple commands without telling its trap: so it
//! asks before it does anything of what it has read (`PS0` of `rc.sh`), and a line that has such places is refused.
//!
//! What is judged has to be what bash has read. It comes from the history, where every line has a number; which is the
//! first one of a command is told at the prompt before it.

use bytes::Bytes;
use shell::Limits;

use super::{Ask, reading};

/// What is asked at a prompt, and of a line, begins with these.
const PROMPT: &[u8] = b": weir-prompt\n";
const LINE: &[u8] = b": weir-line\n";
/// The pipe of the shell's main process. All others have a pipe of their own.
const MAIN: &str = "main";
/// The longest text that is judged, which is done at once.
const MAX: usize = 16 << 10;

const UNTOLD: &str = "what was typed is not told as it has to be";
const UNKEPT: &str = "this is not in the history as it was typed, so that it cannot be judged as a whole: enter it again";
const LONG: &str = "this has more than 16 KiB: put it into a file, and run that";
const CONTINUES: &str = "a line ends in a backslash, and bash does not keep empty lines behind it: write both as one line";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The next line that is typed has this number.
    Prompt(u64),
    Line,
    /// A simple command. `main`: the shell itself would run it.
    Command {
        main: bool,
    },
}

/// What is asked? Of these texts only the startup file makes what has a line behind it.
pub(crate) fn kind(ask: &Ask) -> Kind {
    let main = ask.to == MAIN;
    let number = ask.text.strip_prefix(PROMPT).filter(|_| main);
    let number = number.and_then(|n| str::from_utf8(n).ok()?.parse().ok());
    match number {
        Some(number) => Kind::Prompt(number),
        None if !main && ask.text.starts_with(LINE) => Kind::Line,
        None => Kind::Command { main },
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Typed {
    first: u64,
    last: u64,
    text: Bytes,
    continues: bool,
}

/// The lines of one shell.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// What the next one begins with.
    next: Option<u64>,
    /// The last one that was asked about.
    last: u64,
    allowed: Option<Typed>,
    /// What the shell itself is to run stands in a line that was allowed.
    open: bool,
}

impl Lines {
    pub fn prompt(&mut self, next: u64) {
        self.next = Some(next);
        self.open = false;
    }

    pub fn is_open(&self) -> bool {
        self.open
    }

    /// May bash do what it has read?
    pub fn judge(&mut self, ask: &Ask) -> Result<(), String> {
        self.open = false;
        let before = self.allowed.take();
        let typed = typed(ask).ok_or(UNTOLD)?;
        let new = self.next == Some(typed.first) && typed.first > self.last;
        self.last = self.last.max(typed.last);
        // What is pasted may hold several commands in one entry, which was judged with all of them.
        if before.as_ref() != Some(&typed) {
            if !new {
                return Err(UNKEPT.to_owned());
            }
            check(&typed)?;
        }
        self.allowed = Some(typed);
        self.open = true;
        Ok(())
    }
}

fn check(typed: &Typed) -> Result<(), String> {
    if typed.text.len() > MAX {
        return Err(LONG.to_owned());
    }
    if typed.continues {
        return Err(CONTINUES.to_owned());
    }
    if let Some(reason) = reading::names_the_gate(&typed.text) {
        return Err(reason.to_owned());
    }
    shell::gaps(&typed.text, &Limits::default()).map_err(|gap| gap.to_string())
}

/// What to show of a line: without numbers and marks.
pub(crate) fn shown(ask: &Ask) -> Bytes {
    typed(ask).map_or_else(|| ask.text.clone(), |typed| typed.text)
}

/// `    7  MARK text`, and the next one. Nobody who types knows the mark, which is the ask's own.
fn typed(ask: &Ask) -> Option<Typed> {
    let text = ask.text.strip_prefix(LINE)?;
    let mark = format!(" {} ", ask.id);
    let mut pieces = split(text, mark.as_bytes()).into_iter();
    let first = number(pieces.next()?)?;
    let mut pieces = pieces.peekable();
    let (mut last, mut entries) = (first, Vec::new());
    while let Some(piece) = pieces.next() {
        let entry = match pieces.peek() {
            None => piece,
            Some(_) => {
                let end = piece.iter().rposition(|b| *b == b'\n')?;
                let (entry, header) = piece.split_at(end);
                last = last.checked_add(1)?;
                if number(header.get(1..)?)? != last {
                    return None;
                }
                entry
            }
        };
        entries.push(entry);
    }
    let (_, before) = entries.split_last()?;
    let backslashes = |entry: &&[u8]| entry.iter().rev().take_while(|b| **b == b'\\').count();
    let continues = before.iter().any(|entry| backslashes(entry) % 2 == 1);
    Some(Typed {
        first,
        last,
        continues,
        text: entries.join(&b'\n').into(),
    })
}

/// What stands before an entry: its number, and a star if it was edited.
fn number(header: &[u8]) -> Option<u64> {
    let header = str::from_utf8(header).ok()?;
    header
        .trim_end_matches([' ', '*'])
        .trim_start()
        .parse()
        .ok()
}

fn split<'a>(text: &'a [u8], mark: &[u8]) -> Vec<&'a [u8]> {
    let (mut pieces, mut rest) = (Vec::new(), text);
    while let Some(at) = rest.windows(mark.len()).position(|w| w == mark) {
        let (piece, behind) = rest.split_at(at);
        pieces.push(piece);
        rest = behind.get(mark.len()..).unwrap_or_default();
    }
    pieces.push(rest);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::Place;

    const ID: &str = "01234567-89ab-cdef-0123-456789abcdef";

    fn ask(to: &str, text: &str) -> Ask {
        Ask {
            to: to.into(),
            id: ID.into(),
            pid: 7,
            depth: 1,
            text: text.replace('@', ID).into(),
            place: Place::default(),
            seal: 0,
        }
    }

    fn line(text: &str) -> Ask {
        ask("s1", &format!(": weir-line\n{text}"))
    }

    #[test]
    fn prompts_and_lines_are_known_by_who_asks_and_how() {
        for (to, text, expect) in [
            ("main", ": weir-prompt\n7", Kind::Prompt(7)),
            ("s1", ": weir-prompt\n7", Kind::Command { main: false }),
            ("main", ": weir-prompt", Kind::Command { main: true }),
            ("main", ": weir-prompt\n", Kind::Command { main: true }),
            ("main", ": weir-prompt\n-7", Kind::Command { main: true }),
            ("s1", ": weir-line\n    7  @ ls", Kind::Line),
            (
                "main",
                ": weir-line\n    7  @ ls",
                Kind::Command { main: true },
            ),
            ("s1", ": weir-line", Kind::Command { main: false }),
            ("main", "ls", Kind::Command { main: true }),
        ] {
            assert_eq!(kind(&ask(to, text)), expect, "{to} {text}");
        }
    }

    #[test]
    fn a_line_is_what_was_written_down_since_the_prompt() {
        for (next, said, text, allowed) in [
            (7, "    7  @ ls", Some("ls"), true),
            (7, "    7* @ ls -l  ", Some("ls -l  "), true),
            (99999, "99999  @ ls", Some("ls"), true),
            (
                7,
                "    7  @ for i in x\n    8  @ do ls\n    9  @ done",
                Some("for i in x\ndo ls\ndone"),
                true,
            ),
            // Pasted, that is one entry.
            (7, "    7  @ ls\n    8  x ls", Some("ls\n    8  x ls"), true),
            // Less than all, another one, and what is no list.
            (6, "    7  @ ls", Some("ls"), false),
            (8, "    7  @ ls", Some("ls"), false),
            (7, "    7  @ if ls\n    9  @ then ls; fi", None, false),
            (7, "    7  @ if ls\n    x  @ then ls; fi", None, false),
            (7, "    7  ?? ls", None, false),
            (7, "@ ls", None, false),
            (7, "", None, false),
            (1, "", None, false),
            // What bash reads may be another text.
            (
                7,
                "    7  @ if : \\\n    8  @ then ls; fi",
                Some("if : \\\nthen ls; fi"),
                false,
            ),
            (
                7,
                "    7  @ if : \\\\\n    8  @ then ls; fi",
                Some("if : \\\\\nthen ls; fi"),
                true,
            ),
            (7, "    7  @ ls \\\n-l", Some("ls \\\n-l"), true),
            // By what is in it.
            (7, "    7  @ { ls; } > x", Some("{ ls; } > x"), false),
            (7, "    7  @ echo x 1<> y", Some("echo x 1<> y"), false),
            (7, "    7  @ cat <<E", Some("cat <<E"), false),
            (7, "    7  @ echo )", Some("echo )"), false),
            (
                7,
                "    7  @ for x in __weir_n; do ls; done",
                Some("for x in __weir_n; do ls; done"),
                false,
            ),
        ] {
            let ask = line(said);
            let told = typed(&ask).map(|typed| typed.text);
            assert_eq!(told.as_deref(), text.map(str::as_bytes), "{said}");
            let mut lines = Lines::default();
            lines.prompt(next);
            assert_eq!(lines.judge(&ask).is_ok(), allowed, "{next} {said}");
            assert_eq!(lines.is_open(), allowed, "{next} {said}");
        }
        let long = line(&format!("    7  @ echo {}", "x".repeat(MAX)));
        let mut lines = Lines::default();
        lines.prompt(7);
        assert_eq!(lines.judge(&long), Err(LONG.to_owned()));
    }

    #[test]
    fn one_entry_may_hold_several_commands_and_no_other_comes_again() {
        let mut lines = Lines::default();
        lines.prompt(1);
        let (pasted, other) = (line("    1  @ ls\npwd"), line("    1  @ pwd"));
        lines.judge(&pasted).unwrap();
        assert!(lines.is_open());
        // Behind the first of them bash says what comes after all of them.
        lines.prompt(2);
        assert!(!lines.is_open());
        lines.judge(&pasted).unwrap();
        assert!(lines.is_open());
        assert!(lines.judge(&other).is_err());
        assert!(lines.judge(&pasted).is_err(), "what was refused is over");
        // However often a prompt is told, a number is judged once.
        lines.prompt(1);
        assert!(lines.judge(&pasted).is_err());
        lines.prompt(2);
        lines.judge(&line("    2  @ ls")).unwrap();
    }

    /// The session waits for it.
    #[test]
    fn the_longest_line_takes_no_time() {
        for piece in [
            "{ x; } ", "$(", "((", "x;", "\"$x\" ", "a\n", "[[ x ", "<<E ", "`",
        ] {
            let text = piece.repeat(MAX / piece.len() - 8);
            let begin = std::time::Instant::now();
            let mut lines = Lines::default();
            lines.prompt(7);
            let _ = lines.judge(&line(&format!("    7  @ {text}")));
            let took = begin.elapsed();
            assert!(
                took < std::time::Duration::from_secs(2),
                "{piece}: {took:?}"
            );
        }
    }
}
