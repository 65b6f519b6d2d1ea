//! Whole lines of a gated shell. bash expands and opens things around its simple commands without telling its trap: so it
//! asks before it does anything of what it has read (`PS0` of `rc.sh`), and a line that has such places is refused.
//!
//! What is judged has to be what bash has read. It comes from the history, where every line has a number; which is the
//! first one of a command is told at the prompt before it.

use std::collections::BTreeMap;

use bytes::Bytes;
use shell::Limits;

use super::{Ask, reading};

/// What is asked at a prompt, and of a line, begins with these.
const PROMPT: &[u8] = b": weir-prompt\n";
const MORE: &[u8] = b": weir-more\n";
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
    /// A line was read, and its command goes on.
    More,
    /// A command was read.
    Line,
    /// A simple command. `main`: the shell itself would run it.
    Command { main: bool },
}

/// What is asked? Of these texts only the startup file makes what has a line behind it.
pub(crate) fn kind(ask: &Ask) -> Kind {
    let main = ask.to == MAIN;
    let number = ask.text.strip_prefix(PROMPT).filter(|_| main);
    let number = number.and_then(|n| str::from_utf8(n).ok()?.parse().ok());
    match number {
        Some(number) => Kind::Prompt(number),
        None if !main && ask.text.starts_with(MORE) => Kind::More,
        None if !main && ask.text.starts_with(LINE) => Kind::Line,
        None => Kind::Command { main },
    }
}

/// Lines of the history, one after the other.
struct Typed<'a> {
    first: u64,
    entries: Vec<Entry<'a>>,
}

#[derive(Clone, Copy)]
struct Entry<'a> {
    text: &'a [u8],
    /// It was changed after bash had read it, while what belongs to it was typed.
    edited: bool,
}

/// The lines of one shell.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// What was typed at the last prompt begins with this one.
    next: u64,
    /// The last one that was asked about. What is pasted may be several commands with one prompt before all of them.
    last: Option<u64>,
    /// What the shell itself is to run stands in a line that was allowed.
    open: bool,
    /// Lines of the command that is being typed, as they were when they were read: while the others are typed, who types
    /// can go back to them, and bash writes down what is made of them there.
    read: BTreeMap<u64, Vec<u8>>,
    /// Bytes of them.
    held: usize,
    /// One of them was told twice, and not the same; or what was judged last was refused. Until the next prompt, nothing
    /// is allowed: in between, anybody could have what was read told once more.
    changed: bool,
}

impl Lines {
    pub fn prompt(&mut self, next: u64) {
        // Where numbers went down, one would not know which lines have been judged: none is allowed then.
        let goes_on = self.last.is_none_or(|last| next > last);
        self.next = if goes_on { next } else { 0 };
        self.open = false;
        self.forget();
    }

    fn forget(&mut self) {
        self.read = BTreeMap::new();
        self.held = 0;
        self.changed = false;
    }

    /// Takes the line that was read last. No: it is not told as it has to be.
    pub fn more(&mut self, ask: &Ask) -> bool {
        let Some(typed) = typed(ask, MORE) else {
            return false;
        };
        let [entry] = typed.entries.as_slice() else {
            return false;
        };
        if let Some(text) = self.read.get(&typed.first) {
            self.changed |= text != entry.text;
            return true;
        }
        let room = self.held + entry.text.len() <= MAX && self.read.len() < MAX;
        if entry.edited || !room {
            // What is not kept could be changed: so nothing of that command is judged to be in order.
            self.changed = true;
            return true;
        }
        self.held += entry.text.len();
        self.read.insert(typed.first, entry.text.to_vec());
        true
    }

    pub fn is_open(&self) -> bool {
        self.open
    }

    /// May bash do what it has read? No line belongs to two commands.
    pub fn judge(&mut self, ask: &Ask) -> Result<(), String> {
        self.open = false;
        let judged = self.judged(ask);
        let refused = self.changed || judged.is_err();
        self.forget();
        self.changed = refused;
        self.open = !refused;
        match judged {
            Ok(()) if refused => Err(UNKEPT.to_owned()),
            judged => judged,
        }
    }

    fn judged(&mut self, ask: &Ask) -> Result<(), String> {
        let typed = typed(ask, LINE).ok_or(UNTOLD)?;
        let behind = self.last.map_or(0, |last| last.saturating_add(1));
        let from = self.next.max(behind);
        let before = from.checked_sub(typed.first).ok_or(UNKEPT)?;
        let before = usize::try_from(before).map_err(|_| UNKEPT)?;
        let entries = typed.entries.get(before..).unwrap_or_default();
        let end = typed.first.saturating_add(typed.entries.len() as u64);
        self.last = self.last.max(Some(end.saturating_sub(1)));
        if self.next == 0 || entries.is_empty() {
            return Err(UNKEPT.to_owned());
        }
        let texts: Vec<&[u8]> = entries.iter().map(|entry| entry.text).collect();
        check(&texts)?;
        let last = entries.len() - 1;
        let is_as_read = |(at, entry): (usize, &Entry<'_>)| match self.read.get(&(from + at as u64))
        {
            Some(text) => text == entry.text && !entry.edited,
            // Of the last one, nothing has come since.
            None => at == last && !entry.edited,
        };
        match entries.iter().enumerate().all(is_as_read) {
            true => Ok(()),
            false => Err(UNKEPT.to_owned()),
        }
    }
}

fn check(entries: &[&[u8]]) -> Result<(), String> {
    let text = entries.join(&b'\n');
    if text.len() > MAX {
        return Err(LONG.to_owned());
    }
    let backslashes = |entry: &[u8]| entry.iter().rev().take_while(|b| **b == b'\\').count();
    let (_, before) = entries.split_last().unwrap_or((&&[][..], &[]));
    if before.iter().any(|entry| backslashes(entry) % 2 == 1) {
        return Err(CONTINUES.to_owned());
    }
    if let Some(reason) = reading::names_the_gate(&text) {
        return Err(reason.to_owned());
    }
    shell::gaps(&text, &Limits::default()).map_err(|gap| gap.to_string())
}

/// What to show of a line: without numbers and marks.
pub(crate) fn shown(ask: &Ask) -> Bytes {
    match typed(ask, LINE) {
        Some(typed) => typed.text().into(),
        None => ask.text.clone(),
    }
}

/// `    7  MARK text`, and the next one. Nobody who types knows the mark, which is the ask's own.
fn typed<'a>(ask: &'a Ask, head: &[u8]) -> Option<Typed<'a>> {
    let text = ask.text.strip_prefix(head)?;
    let mark = format!(" {} ", ask.id);
    let mut pieces = split(text, mark.as_bytes()).into_iter();
    let (first, mut edited) = number(pieces.next()?)?;
    let mut pieces = pieces.peekable();
    let (mut last, mut entries) = (first, Vec::new());
    while let Some(piece) = pieces.next() {
        let (text, behind) = match pieces.peek() {
            None => (piece, false),
            Some(_) => {
                let end = piece.iter().rposition(|b| *b == b'\n')?;
                let (text, header) = piece.split_at(end);
                last = last.checked_add(1)?;
                let (number, behind) = number(header.get(1..)?)?;
                if number != last {
                    return None;
                }
                (text, behind)
            }
        };
        // bash 5.1 keeps the lines of a here-document with their ends.
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        if text.contains(&b'\n') {
            return None;
        }
        entries.push(Entry { text, edited });
        edited = behind;
    }
    (!entries.is_empty()).then_some(Typed { first, entries })
}

impl Typed<'_> {
    fn text(&self) -> Vec<u8> {
        let texts: Vec<&[u8]> = self.entries.iter().map(|entry| entry.text).collect();
        texts.join(&b'\n')
    }
}

/// What stands before an entry: its number, and a star if it was edited.
fn number(header: &[u8]) -> Option<(u64, bool)> {
    let header = str::from_utf8(header).ok()?.trim_end_matches(' ');
    let plain = header.trim_end_matches('*');
    let number = plain.trim_start().parse().ok()?;
    Some((number, plain.len() < header.len()))
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

    /// All but the last line of that were told when they were read.
    fn reads(lines: &mut Lines, all: &Ask) {
        let typed = typed(all, LINE).unwrap();
        let (_, before) = typed.entries.split_last().unwrap();
        for (n, entry) in (typed.first..).zip(before) {
            let text = str::from_utf8(entry.text).unwrap();
            assert!(lines.more(&ask("s1", &format!(": weir-more\n{n:5}  @ {text}"))));
        }
    }

    fn judge(lines: &mut Lines, said: &str) -> Result<(), String> {
        let ask = line(said);
        reads(lines, &ask);
        lines.judge(&ask)
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
            ("s1", ": weir-more\n    7  @ ls", Kind::More),
            ("main", ": weir-more\n7", Kind::Command { main: true }),
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
            // Edited while what belongs to it was typed: bash has read another text.
            (7, "    7* @ ls -l  ", Some("ls -l  "), false),
            (
                7,
                "    7  @ if ls\n    8* @ then ls; fi",
                Some("if ls\nthen ls; fi"),
                false,
            ),
            (
                7,
                "    6* @ ls\n    7  @ ls -l  ",
                Some("ls\nls -l  "),
                true,
            ),
            (99999, "99999  @ ls", Some("ls"), true),
            (
                7,
                "    7  @ for i in x\n    8  @ do ls\n    9  @ done",
                Some("for i in x\ndo ls\ndone"),
                true,
            ),
            // Of bash 5.1.
            (
                7,
                "    7  @ cat <<E\n    8  @ x\n\n    9  @ E\n",
                Some("cat <<E\nx\nE"),
                true,
            ),
            (
                7,
                "    7  @ cat <<E\n    8  @ x\\\n\n    9  @ E\n",
                Some("cat <<E\nx\\\nE"),
                false,
            ),
            (7, "    7  @ cat <<''\n    8  @ x\n\n", None, false),
            // An entry is one line.
            (7, "    7  @ ls\n    8  x ls", None, false),
            // Less than all, another one, and what is no list.
            (6, "    7  @ ls", Some("ls"), false),
            (0, "    7  @ ls", Some("ls"), false),
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
            (7, "    7  @ ls \\\n-l", None, false),
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
            let told = typed(&ask, LINE).map(|typed| typed.text());
            assert_eq!(told.as_deref(), text.map(str::as_bytes), "{said}");
            let mut lines = Lines::default();
            lines.prompt(next);
            if told.is_some() {
                reads(&mut lines, &ask);
            }
            assert_eq!(lines.judge(&ask).is_ok(), allowed, "{next} {said}");
            assert_eq!(lines.is_open(), allowed, "{next} {said}");
        }
        let long = line(&format!("    7  @ echo {}", "x".repeat(MAX)));
        let mut lines = Lines::default();
        lines.prompt(7);
        assert_eq!(lines.judge(&long), Err(LONG.to_owned()));
    }

    #[test]
    fn several_commands_may_stand_behind_one_prompt_and_no_line_comes_again() {
        let at = |next: u64| {
            let mut lines = Lines::default();
            lines.prompt(next);
            lines
        };
        let first = line("    1  @ ls");
        assert!(Lines::default().judge(&first).is_err(), "before any prompt");
        let mut lines = at(1);
        lines.judge(&first).unwrap();
        assert!(lines.is_open());
        // What was judged is not judged again: where this ends, another command has begun.
        judge(
            &mut lines,
            "    1  @ {\n    2  @ for x in y\n    3  @ do ls; done",
        )
        .unwrap();
        assert!(lines.judge(&line("    3  @ ls")).is_err(), "nothing new");
        assert!(!lines.is_open());
        lines.prompt(4);
        assert!(!lines.is_open());
        // What stood before the prompt was given up.
        judge(&mut lines, "    3  @ echo 'x\n    4  @ ls").unwrap();
        // Less than what is new is nothing.
        assert!(at(4).judge(&line("    5  @ ls")).is_err());
        // The first line of a command is the one behind its prompt, or behind the command before it.
        for next in [1, 4] {
            lines.prompt(next);
            assert!(
                lines
                    .judge(&line("    4  @ { :; } > f\n    5  @ ls"))
                    .is_err()
            );
            assert!(lines.judge(&line("    5  @ ls")).is_err(), "{next}");
        }
        lines.prompt(6);
        lines.judge(&line("    6  @ ls")).unwrap();
    }

    /// Whoever has something refused has nothing told again.
    #[test]
    fn behind_what_is_refused_there_is_a_prompt_first() {
        let mut lines = Lines::default();
        lines.prompt(7);
        assert!(lines.more(&ask("s1", ": weir-more\n    7  @ { :; } > f; if true")));
        assert!(lines.judge(&line("    3  @ sleep 5")).is_err());
        let asked = "    7  @ if true\n    8  @ then :; fi";
        assert!(judge(&mut lines, asked).is_err());
        assert!(lines.judge(&line("    9  @ ls")).is_err());
        lines.prompt(10);
        lines.judge(&line("   10  @ ls")).unwrap();
    }

    /// While the rest of a command is typed, who types can go back to lines that bash has read.
    #[test]
    fn what_was_changed_behind_bash_is_not_what_it_has_read() {
        let more = |said: &str| ask("s1", &format!(": weir-more\n{said}"));
        let open = |first: &str| {
            let mut lines = Lines::default();
            lines.prompt(7);
            assert!(lines.more(&more(first)));
            lines
        };
        let asked = line("    7  @ if true\n    8  @ then :; fi");
        assert_eq!(open("    7  @ if true").judge(&asked), Ok(()));
        for first in [
            "    7  @ { :; } > f; if true",
            "    7  @ if true ",
            // Told when it was changed already, and another one.
            "    7* @ if true",
            "    6  @ if true",
        ] {
            assert!(open(first).judge(&asked).is_err(), "{first}");
        }
        for (first, second) in [("{ :; } > f; if true", "if true"), ("if true", "if false")] {
            let mut lines = open(&format!("    7  @ {first}"));
            assert!(lines.more(&more(&format!("    7  @ {second}"))));
            assert!(lines.judge(&asked).is_err(), "{first}");
        }
        // Behind an empty line it is told once more.
        let mut lines = open("    7  @ if true");
        assert!(lines.more(&more("    7  @ if true")));
        assert_eq!(lines.judge(&asked), Ok(()));
        let mut lines = open("    7  @ { :; } > f; if true");
        assert!(lines.judge(&asked).is_err());
        // Nothing of it counts for the next command.
        let again = line("    9  @ if true\n   10  @ then :; fi");
        assert!(lines.judge(&again).is_err());
        let mut lines = open("    7  @ if true");
        lines.prompt(7);
        assert!(lines.judge(&asked).is_err());
        // Of the last line, too, where it was told.
        let mut lines = open("    7  @ { :; } > f");
        assert!(lines.judge(&line("    7  @ ls")).is_err());
        for said in ["", "ls", "    7  @ ls\n    8  @ ls", "    x  @ ls"] {
            assert!(!open("    7  @ ls").more(&more(said)), "{said}");
        }
    }

    /// What there was no room for may have been changed since.
    #[test]
    fn what_was_longer_once_is_refused() {
        let mut lines = Lines::default();
        lines.prompt(7);
        for said in [
            format!("    7  @ if : {}", "a".repeat(MAX - 100)),
            format!("    8  @ then {{ :; }} > f; : {}; fi", "b".repeat(300)),
        ] {
            assert!(lines.more(&ask("s1", &format!(": weir-more\n{said}"))));
        }
        let all = format!(
            "    7  @ if : {}\n    8  @ then :; fi",
            "a".repeat(MAX - 100)
        );
        assert_eq!(lines.judge(&line(&all)), Err(UNKEPT.to_owned()));
    }

    #[test]
    fn what_is_kept_of_lines_is_bounded() {
        let mut lines = Lines::default();
        lines.prompt(1);
        for n in 1..40_000 {
            let said = format!(": weir-more\n{n:5}  @ {}", "x".repeat(n % 2_000));
            assert!(lines.more(&ask("s1", &said)));
        }
        assert!(lines.held <= MAX && lines.read.len() <= MAX);
        let held: usize = lines.read.values().map(Vec::len).sum();
        assert_eq!(held, lines.held);
    }

    /// The session waits for it.
    #[test]
    fn the_longest_line_takes_no_time() {
        for piece in [
            "{ x; } ", "$(", "((", "a[", "a[ ", "a[;", "x;", "\"$x\" ", "a\n", "[[ x ", "<<E ", "`",
        ] {
            let text = piece.repeat(MAX / piece.len() - 8);
            let took = crate::testing::processor_time(|| {
                let mut lines = Lines::default();
                lines.prompt(7);
                let _ = lines.judge(&line(&format!("    7  @ {text}")));
            });
            assert!(
                took < std::time::Duration::from_secs(2),
                "{piece}: {took:?}"
            );
        }
    }
}
