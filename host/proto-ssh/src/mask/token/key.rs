//! A private key, from its first line to its last, in whatever stands around its lines.
//!
//! What stands before its first line tells its lines from those of other sources. Digits in it count for nothing, so
//! that sources that differ in these only are one: how many of their keys have begun and how many have ended is counted.
//! Only a last line of a private key ends one, and only where it is of a source that has begun one. Behind another one
//! (its key had begun before, or its digits count something) what goes on on lines that begin alike is hidden.

use detect::is_base64;

use super::super::source::Around;
use super::{
    BODY, Gap, LEADING, LEAST_LINE, LINE, MAX_BLOCK, MAX_TITLE, NAMED, Next, OVER, SAME, SURE_LINE,
    Thread,
};
use super::{is_title, titled};

pub(super) const DASHES: u8 = 5;
/// So many characters at the beginning of a line of a key may be those of a list or a quotation, or spaces.
const MAX_LEADING: u8 = 64;
/// The longest name of a header in a key.
const MAX_NAME: u8 = 40;
/// Between two lines of a key may stand so many that are none, where a line begins as its first one did.
const MAX_OTHER: u8 = 64;
/// And so many behind the first one; but so many only, where no line of it begins as that one did.
const MAX_WAITED: u8 = 16;
const MAX_BARE: u8 = 4;
/// A first line that is cut off behind so much of its title may be that of a key, where the next one begins as it does.
const LEAST_TITLE: u8 = 2;

/// More kinds of places.
const DASHED: u8 = 3;
const END: u8 = 4;
const ENDING: u8 = 5;
const NUMBER: u8 = 6;
/// Behind the first line's dashes.
const TITLED: u8 = 8;
/// In the line of another source.
const OTHER: u8 = 9;
/// In another first line.
const BEGUN: u8 = 10;
/// In a character that frames are made of (Box Drawing and Block Elements).
const FRAME: u8 = 11;

impl Thread {
    /// Between `-----BEGIN ` and the dashes at the end of that line; `phase` counts what was seen of
    /// `PRIVATE KEY`.
    pub(super) fn title(mut self, c: u8, gap: Gap, around: Around<'_>) -> Next {
        let lead = around.lead();
        // Cut off, if the line ends there.
        let cut = is_title(self.phase) && c != b'-'
            || self.phase >= LEAST_TITLE && lead.next(0, c).is_some();
        if gap != Gap::None && cut {
            (self.phase, self.kind, self.run, self.count) = (BODY, TITLED, 0, 0);
            self.bare = lead.is_empty();
            return self.block(c, gap, around);
        }
        self.count += 1;
        self.run = if c == b'-' { self.run + 1 } else { 0 };
        self.phase = titled(self.phase, c);
        match self.run {
            DASHES if is_title(self.phase) => {
                (self.phase, self.kind, self.run, self.count) = (BODY, TITLED, 0, 0);
                (self.bare, self.first) = (lead.is_empty(), true);
                Next::Goes(self)
            }
            DASHES => OVER,
            _ if self.count > MAX_TITLE => OVER,
            _ => Next::Goes(self),
        }
    }

    /// Behind the first line of a private key: everything is replaced, until its last line or until it cannot
    /// be one any more, as behind a first line that only was found by a search. Where something stands before that one,
    /// lines of other sources may stand between, so what may be either is held until it is too long for a word. Nothing
    /// is replaced before a line of the key has come, which begins as the first one did, or is far too long for a word
    /// and among the next few (in a table, something else stands before it).
    pub(super) fn block(mut self, c: u8, gap: Gap, around: Around<'_>) -> Next {
        let lead = around.lead();
        if self.count == MAX_BLOCK {
            if self.full >= self.keys {
                return OVER;
            }
            (self.full, self.count) = (self.full + 1, 0);
        }
        // What stands in lines of others is bounded by their number.
        self.count += u16::from(self.kind != OTHER);
        let mut before = 0;
        self.first &= gap == Gap::None;
        if gap != Gap::None {
            // Behind a full line, only what stands there tells whether it goes on.
            let wraps = gap == Gap::Wrap && lead.next(0, c).is_none();
            if !wraps && self.is_last_line(around) {
                return OVER;
            }
            // What may be a line of it goes on.
            let goes_on = wraps && self.kind == LINE;
            self.column &= wraps;
            if !goes_on {
                let held = std::mem::take(&mut self.held);
                before = if self.waits() { 0 } else { held };
            }
            if !wraps && !lead.is_empty() {
                (self.kind, self.run, self.same) = (SAME, 0, false);
            } else if !goes_on && !matches!(self.kind, OTHER | END | ENDING | BEGUN) {
                (self.kind, self.run) = (LEADING, 0);
            }
        }
        let others = if self.led { MAX_OTHER } else { MAX_WAITED };
        match self.line(c, around) {
            // The text of a header.
            Next::Hides(mut new, _) if new.kind == NAMED && new.waits() => {
                new.held = new.run.into();
                Next::Goes(new)
            }
            Next::Hides(mut new, count) if !lead.is_empty() && new.kind != SAME => {
                let line = !matches!(new.kind, LEADING | NUMBER) && new.run >= new.least();
                let end = matches!(new.kind, END | ENDING) && (new.same || !new.waits());
                if !line && !end {
                    new.held = new.held.saturating_add(1);
                    return match before {
                        0 => Next::Goes(new),
                        // A short line of the key.
                        _ => Next::Hides(new, before.saturating_add(1)),
                    };
                }
                let held = std::mem::take(&mut new.held);
                let all = before.saturating_add(held);
                Next::Hides(new, all.saturating_add(count))
            }
            Next::Hides(new, count) => Next::Hides(new, before.saturating_add(count)),
            Next::Ends(count) => Next::Ends(before.saturating_add(count)),
            Next::Over(_) if self.others < others && !lead.is_empty() => {
                // Behind the first line of something else, lines that begin otherwise are of that.
                let foreign = self.waits() && !self.same && self.kind == DASHED && c == b'B';
                let floor = if foreign { MAX_BARE } else { 0 };
                let (kind, others, held) = (OTHER, self.others.max(floor) + 1, 0);
                let new = Self {
                    kind,
                    others,
                    held,
                    ..self
                };
                match before {
                    0 => Next::Goes(new),
                    _ => Next::Hides(new, before.saturating_add(1)),
                }
            }
            Next::Over(_) => Next::Over(before),
            other @ Next::Goes(_) => other,
        }
    }

    /// A line has ended that was cut off, perhaps: was that the last one of the last key?
    fn is_last_line(&mut self, around: Around<'_>) -> bool {
        match self.kind {
            END | ENDING if is_title(self.title) => !self.has_more(),
            END | ENDING => around.lead().is_empty(),
            // Of what, nobody knows.
            BEGUN => {
                self.keys = self.keys.saturating_add(1);
                false
            }
            _ => false,
        }
    }

    /// A key has ended. Does another one go on? One may whose first line was not seen, so what ends is of a source that
    /// has begun a key, or nobody knows whose it was.
    fn has_more(&mut self) -> bool {
        let own = match self.same {
            true => self.open & self.ends != 0,
            false => self.bare,
        };
        if !own {
            self.doubt = true;
            return true;
        }
        // With more keys than sources, one of these has several.
        if u32::from(self.keys) < self.open.count_ones() {
            self.open &= !self.ends;
        }
        let more = self.keys > 0;
        // Of so many, nobody knows how many there are.
        self.keys -= u8::from(more && self.keys < u8::MAX);
        (self.full, self.count) = (0, 0);
        more
    }

    /// The same within a line.
    fn line(mut self, c: u8, around: Around<'_>) -> Next {
        let lead = around.lead();
        if self.kind == OTHER {
            return Next::Goes(self);
        }
        if self.kind == SAME {
            if let Some(run) = lead.next(self.run, c) {
                self.run = run;
                return match self.led && !self.doubt {
                    true => Next::Hides(self, 1),
                    false => Next::Goes(self),
                };
            }
            self.same = lead.is_whole(self.run);
            (self.kind, self.run) = (LEADING, 0);
            if self.waits() && !self.same && (self.doubt || self.others > MAX_BARE) {
                return OVER;
            }
        }
        let behind = !lead.is_empty();
        let (kind, run) = match (self.kind, c) {
            (ENDING, b'-') if self.run + 1 >= DASHES => match is_title(self.title) {
                true if self.has_more() => (OTHER, LEAST_LINE),
                true => return Next::Ends(1),
                // Of something else.
                false => (NAMED, 0),
            },
            (END, b'-') => (ENDING, 1),
            (ENDING, b'-') => (ENDING, self.run + 1),
            (END, _) if u16::from(self.run) >= MAX_TITLE => return OVER,
            (END | ENDING, _) => {
                self.title = titled(self.title, c);
                (END, self.run.saturating_add(1))
            }
            (DASHED, b'-') => (DASHED, self.run.saturating_add(1)),
            // In another column, that of another one.
            (DASHED, b'E') if self.run >= DASHES && self.column => (NAMED, 0),
            (DASHED, b'E') if self.run >= DASHES && (self.same || !self.led) => {
                (self.title, self.ends) = (0, around.source());
                (END, 1)
            }
            // Another one, by a source that differs in digits only.
            (DASHED, b'B') if self.run >= DASHES && self.same => {
                self.title = 0;
                (BEGUN, 0)
            }
            (BEGUN, b'-') if self.run + 1 >= DASHES => (NAMED, 0),
            (BEGUN, b'-') => (BEGUN, self.run + 1),
            (BEGUN, 0x20..) => {
                self.title = titled(self.title, c);
                let whole = is_title(self.title);
                if whole {
                    self.keys = self.keys.saturating_add(1);
                    self.open |= around.source();
                }
                (if whole { NAMED } else { BEGUN }, 0)
            }
            // Of a list, and of a date.
            (DASHED, b' ' | b'\t') if self.run == 1 => (LEADING, 1),
            (DASHED, b'0'..=b'9') if self.run == 1 && !behind => (NUMBER, 1),
            (DASHED, _) if self.run < DASHES && is_base64(c) => (LINE, 1),
            // A header's text, and one that is written into a line of JSON.
            (NAMED, b'\\') => (LEADING, 0),
            // A key may follow headers on the same line.
            (NAMED, _) if self.waits() && is_base64(c) => match self.run + 1 < SURE_LINE {
                true => (NAMED, self.run + 1),
                false => (LINE, SURE_LINE),
            },
            (NAMED, 0x20..) => (NAMED, 0),
            (LINE, b':')
                if self.run <= MAX_NAME && !self.led && !self.doubt && self.others == 0 =>
            {
                (NAMED, 0)
            }
            // Behind it in a table, there may be another column.
            (LINE, b' ' | b'\t' | b'|') if self.run >= LEAST_LINE => {
                self.column |= c == b'|';
                (LEADING, 0)
            }
            (LEADING | TITLED | LINE | NUMBER, b'-') => (DASHED, 1),
            // The line's number, if what stands behind it says so.
            (LEADING | TITLED, b'0'..=b'9') => (NUMBER, 1),
            (NUMBER, b'0'..=b'9') => (NUMBER, self.run.saturating_add(1)),
            (NUMBER, b' ' | b'\t' | b':' | b'|') => (LEADING, self.run),
            (LEADING | TITLED, _) if is_base64(c) => (LINE, 1),
            (NUMBER | LINE, _) if is_base64(c) => (LINE, self.run.saturating_add(1)),
            // The ends of lines as `cat -A` writes them, and as JSON does.
            (TITLED | LINE, b'$' | b'^') => (LEADING, 0),
            (LEADING | TITLED | LINE | NUMBER, b'\\' | b'"' | b'\'' | b',') => (LEADING, 0),
            // And as syslog does: `#012`.
            (LINE | NUMBER, b'#') => (LEADING, 0),
            // However many fill up a column.
            (LEADING | TITLED, b' ') => (LEADING, self.run),
            (LEADING | TITLED, 0xE2) if behind => (FRAME, 0),
            (FRAME, 0x94..=0x96) if self.run == 0 => (FRAME, 1),
            (FRAME, 0x80..=0xBF) if self.run == 1 => (LEADING, 0),
            (LEADING | TITLED, b'\t' | b'<' | b'>' | b'|' | b'#' | b'+' | b'*' | b':')
                if self.run < MAX_LEADING =>
            {
                (LEADING, self.run + 1)
            }
            _ => return OVER,
        };
        (self.kind, self.run) = (kind, run);
        if kind == LINE && run >= self.least() {
            match self.same {
                true => (self.led, self.others, self.doubt) = (true, 0, false),
                // On the first line, it may be any word.
                false => self.bare |= !self.first || run >= SURE_LINE,
            }
        }
        if kind == LINE && run >= SURE_LINE {
            self.count = 0;
            self.others = if self.led { self.others } else { 0 };
        }
        Next::Hides(self, 1)
    }
}
