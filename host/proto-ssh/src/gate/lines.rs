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
/// The longest text that is judged.
const MAX: usize = 16 << 10;
/// So much is judged within milliseconds, whatever it is made of; of the longest, some takes a hundred times that.
const SHORT: usize = 2 << 10;

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
    /// What is being judged, by a number of its own. Until that is done nothing is allowed.
    waits: Option<u64>,
    /// The number that was given last.
    numbered: u64,
}

/// What bash has read, to be judged as a whole.
#[derive(Debug)]
pub(crate) struct Whole {
    number: u64,
    text: Vec<u8>,
    /// It is what was told while it was typed.
    kept: bool,
}

/// What came of that.
#[derive(Debug)]
pub(crate) struct Judged {
    number: u64,
    found: Result<(), String>,
}

impl Whole {
    /// Nobody has to wait for it.
    pub fn is_short(&self) -> bool {
        self.text.len() <= SHORT
    }

    pub fn judge(self) -> Judged {
        let gaps = shell::gaps(&self.text, &Limits::default());
        let found = match gaps {
            Ok(()) if !self.kept => Err(UNKEPT.to_owned()),
            gaps => gaps.map_err(|gap| gap.to_string()),
        };
        Judged {
            number: self.number,
            found,
        }
    }
}

impl Lines {
    pub fn prompt(&mut self, next: u64) {
        // Where numbers went down, one would not know which lines have been judged: none is allowed then.
        let goes_on = self.last.is_none_or(|last| next > last);
        self.next = if goes_on { next } else { 0 };
        self.open = false;
        self.waits = None;
        self.forget();
    }

    fn forget(&mut self) {
        self.read = BTreeMap::new();
        self.held = 0;
        self.changed = false;
    }

    /// Takes the line that was read last. No: it is not told as it has to be.
    pub fn more<'a>(&mut self, ask: &'a Ask) -> bool {
        // Whose line is being judged types no other.
        self.waits = None;
        if ask.cut {
            // What is not told whole has no seal for a yes.
            self.changed = true;
            return false;
        }
        let one = |typed: Typed<'a>| match typed.entries.as_slice() {
            [entry] => Some((typed.first, entry.text, entry.edited)),
            _ => None,
        };
        let typed = typed(ask, MORE);
        let Some((number, text, edited)) = typed.and_then(one) else {
            self.changed = true;
            return false;
        };
        if number < self.first() {
            // It has another number than bash gave it: lines before it were taken out of the history.
            self.changed = true;
            return true;
        }
        if let Some(before) = self.read.get(&number) {
            self.changed |= before != text;
            return true;
        }
        let room = self.held + text.len() <= MAX && self.read.len() < MAX;
        if edited || !room {
            // What is not kept could be changed: so nothing of that command is judged to be in order.
            self.changed = true;
            return true;
        }
        self.held += text.len();
        self.read.insert(number, text.to_vec());
        true
    }

    /// The number of the first line that is new.
    fn first(&self) -> u64 {
        let behind = self.last.map_or(0, |last| last.saturating_add(1));
        self.next.max(behind)
    }

    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Takes what bash has read. Nothing is allowed until that was judged; no line belongs to two commands.
    pub fn takes(&mut self, ask: &Ask) -> Result<Whole, String> {
        let changed = self.changed || self.waits.is_some();
        let taken = self.taken(ask);
        self.forget();
        (self.open, self.changed, self.waits) = (false, true, None);
        let (text, kept) = taken?;
        self.numbered += 1;
        self.waits = Some(self.numbered);
        Ok(Whole {
            number: self.numbered,
            text,
            kept: kept && !changed,
        })
    }

    /// May bash do what it has read? Only if nothing else has come since.
    pub fn judged(&mut self, judged: Judged) -> Result<(), String> {
        if self.waits != Some(judged.number) {
            return Err(UNKEPT.to_owned());
        }
        self.waits = None;
        judged.found?;
        (self.open, self.changed) = (true, false);
        Ok(())
    }

    /// The text, and whether it is what was told when it was read.
    fn taken(&mut self, ask: &Ask) -> Result<(Vec<u8>, bool), String> {
        if ask.cut {
            return Err(LONG.to_owned());
        }
        let typed = typed(ask, LINE).ok_or(UNTOLD)?;
        let from = self.first();
        let before = from.checked_sub(typed.first).ok_or(UNKEPT)?;
        let before = usize::try_from(before).map_err(|_| UNKEPT)?;
        let entries = typed.entries.get(before..).unwrap_or_default();
        let end = typed.first.saturating_add(typed.entries.len() as u64);
        self.last = self.last.max(Some(end.saturating_sub(1)));
        // Lines that were told when they were read are not in the list: it is not all of it.
        let lacks = self.read.range(end..).next().is_some();
        if self.next == 0 || entries.is_empty() || lacks {
            return Err(UNKEPT.to_owned());
        }
        let texts: Vec<&[u8]> = entries.iter().map(|entry| entry.text).collect();
        let text = whole(&texts)?;
        let last = entries.len() - 1;
        let is_as_read = |(at, entry): (usize, &Entry<'_>)| match self.read.get(&(from + at as u64))
        {
            Some(text) => text == entry.text && !entry.edited,
            // Of the last one, nothing has come since.
            None => at == last && !entry.edited,
        };
        Ok((text, entries.iter().enumerate().all(is_as_read)))
    }
}

/// The text of these, unless a look at it is enough to refuse it.
fn whole(entries: &[&[u8]]) -> Result<Vec<u8>, String> {
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
    Ok(text)
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
mod tests;
