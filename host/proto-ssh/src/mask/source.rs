//! Of several sources whose lines begin alike but for digits (replicas): by its digits, which one a line is of.
//!
//! A clock counts for nothing, and neither do the digits of a beginning that has no name in it: they count lines. Of what
//! else counts (`grep -n`, the day at midnight) nobody knows that it does, so such a line is of a source of its own.

use super::lead::{DASHES, Lead, MOST};

/// So many sources are told apart whose lines begin alike.
pub(super) const SOURCES: usize = 16;

/// A line, as far as the beginning of a private key may stand in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    lead: Lead,
    /// The same with its digits.
    text: [u8; MOST],
    len: u8,
    over: bool,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            lead: Lead::UNKNOWN,
            text: [0; MOST],
            len: 0,
            over: false,
        }
    }
}

impl Line {
    pub fn begin(&mut self) {
        self.lead.begin();
        (self.len, self.over) = (0, false);
    }

    /// Nobody knows any more how this line looks.
    pub fn lose(&mut self) {
        self.lead.lose();
        self.over = true;
    }

    pub fn push(&mut self, c: u8) {
        self.lead.push(c);
        match self.text.get_mut(usize::from(self.len)) {
            Some(slot) if !self.over => (*slot, self.len) = (c, self.len + 1),
            _ => self.over = true,
        }
    }

    /// What stands before this, which the line ends with, or before its dashes: how it looks, and its source.
    pub fn before(&self, what: &[u8]) -> (Lead, Option<u64>) {
        let (lead, text) = (self.lead.before(what), self.known());
        let before = self.before_dashes().or_else(|| text.strip_suffix(what));
        let before = before.filter(|_| !self.over);
        (lead, source(&lead, before))
    }

    fn known(&self) -> &[u8] {
        self.text.get(..usize::from(self.len)).unwrap_or_default()
    }

    fn before_dashes(&self) -> Option<&[u8]> {
        let text = self.known();
        let at = text.windows(DASHES.len()).position(|w| w == DASHES)?;
        text.get(..at)
    }
}

/// Which source is it whose lines begin so, and this one with this text?
fn source(lead: &Lead, before: Option<&[u8]>) -> Option<u64> {
    if lead.is_nameless() {
        return Some(0);
    }
    before.map(digits)
}

/// A beginning of lines, and the sources of the keys that begin behind it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Group {
    pub lead: Lead,
    sources: [u64; SOURCES],
    known: u8,
}

impl Group {
    pub const UNKNOWN: Self = Self {
        lead: Lead::UNKNOWN,
        sources: [0; SOURCES],
        known: 0,
    };

    pub fn new(lead: Lead) -> Self {
        Self {
            lead,
            ..Self::UNKNOWN
        }
    }

    /// Where no key of it goes on.
    pub fn forget(&mut self) {
        self.known = 0;
    }

    /// Its bit; none, if nobody knows which it is, or there are too many.
    pub fn add(&mut self, source: Option<u64>) -> u16 {
        let Some(source) = source else {
            return 0;
        };
        let bit = self.find(source);
        match self.sources.get_mut(usize::from(self.known)) {
            Some(slot) if bit == 0 => {
                (*slot, self.known) = (source, self.known + 1);
                1 << (self.known - 1)
            }
            _ => bit,
        }
    }

    fn find(&self, source: u64) -> u16 {
        let mut all = self.sources.iter().take(usize::from(self.known));
        all.position(|s| *s == source).map_or(0, |at| 1 << at)
    }
}

/// What a private key is told with each byte: how its lines begin, and how this one does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Around<'a> {
    pub group: &'a Group,
    pub line: &'a Line,
}

impl Around<'_> {
    pub fn lead(&self) -> &Lead {
        &self.group.lead
    }

    /// The source of this line, which has come as far as dashes.
    pub fn source(&self) -> u16 {
        let before = self.line.before_dashes().filter(|_| !self.line.over);
        let source = source(self.lead(), before);
        source.map_or(0, |source| self.group.find(source))
    }
}

/// All of its digits that do not belong to a clock, each number for itself (FNV).
fn digits(text: &[u8]) -> u64 {
    let mut hash = 0xCBF2_9CE4_8422_2325_u64;
    let mut take = |c: u8| hash = (hash ^ u64::from(c)).wrapping_mul(0x0000_0100_0000_01B3);
    let (mut at, mut number) = (0, false);
    while let Some(&c) = text.get(at) {
        if let Some(length) = clock(text, at) {
            at += length;
            continue;
        }
        if c.is_ascii_digit() {
            take(c);
        } else if number {
            take(b' ');
        }
        number = c.is_ascii_digit();
        at += 1;
    }
    hash
}

/// How long the clock is that stands here: hours and minutes, and perhaps seconds, and parts of one.
fn clock(text: &[u8], at: usize) -> Option<usize> {
    let before = |back: usize| at.checked_sub(back).and_then(|i| text.get(i)).copied();
    match before(1) {
        None | Some(b' ' | b'\t' | b'(' | b'[') => {}
        Some(b'T') if before(2).is_some_and(|c| c.is_ascii_digit()) => {}
        Some(_) => return None,
    }
    let here = text.get(at..)?;
    let two = |from: usize| match here.get(from..from + 2) {
        Some([a, b]) => a.is_ascii_digit() && b.is_ascii_digit(),
        _ => false,
    };
    let is = |i: usize, c: u8| here.get(i) == Some(&c);
    if !(two(0) && is(2, b':') && two(3)) {
        return None;
    }
    let mut length = 5;
    if is(length, b':') && two(length + 1) {
        length += 3;
        if is(length, b'.') || is(length, b',') {
            let rest = here.get(length + 1..).unwrap_or_default();
            length += 1 + rest.iter().take_while(|c| c.is_ascii_digit()).count();
        }
    }
    let more = here.get(length).is_some_and(|c| c.is_ascii_digit());
    (!more).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source_of(before: &str) -> Option<u64> {
        let mut line = Line::default();
        let begin = "-----BEGIN ";
        format!("{before}{begin}")
            .bytes()
            .for_each(|c| line.push(c));
        line.before(begin.as_bytes()).1
    }

    #[test]
    fn clocks_and_columns_are_of_no_source() {
        for (one, other, same) in [
            ("web-1  | ", "web-2  | ", false),
            ("web-1  | ", "web-11 | ", false),
            ("web-1 1 | ", "web-11 | ", false),
            ("web-1  | ", "web-1  | ", true),
            ("a.key:", "a.key:", true),
            ("h a[7] 00:59:59 ", "h a[7] 01:00:00 ", true),
            ("h a[7] 00:59:59 ", "h a[8] 00:59:59 ", false),
            ("h 11-28T00:59:59.1Z ", "h 11-28T01:00:00.25Z ", true),
            ("h 11-28T00:59:59.1Z ", "h 11-29T00:00:00.25Z ", false),
            ("h [00:59] ", "h [01:00] ", true),
            ("10.0.0.12:80 h ", "10.0.0.12:81 h ", false),
            ("node12:10: ", "node12:11: ", false),
            ("12:345 h ", "12:346 h ", false),
            ("h 00:59:591 ", "h 00:59:592 ", false),
            ("a.key:9:", "a.key:10:", false),
            ("    9\t", "   10\t", true),
            ("   9   \u{2502} ", "  10   \u{2502} ", true),
        ] {
            assert!(source_of(one).is_some());
            assert_eq!(
                source_of(one) == source_of(other),
                same,
                "{one:?} {other:?}"
            );
        }
        assert_eq!(source_of(&format!("h1{}", " ".repeat(90))), None);
    }

    #[test]
    fn of_too_many_sources_nobody_knows() {
        let mut group = Group::new(Lead::UNKNOWN);
        assert_eq!(group.add(None), 0);
        for source in 0..SOURCES as u64 {
            assert_eq!(group.add(Some(source)), 1 << source);
        }
        assert_eq!(group.add(Some(99)), 0);
        assert_eq!((group.add(Some(3)), group.find(3)), (8, 8));
    }
}
