//! What plugins say about text that passes: lines are collected, judged in batches, and changed at the same length.
//!
//! Pure: the caller asks the plugins. Comes behind the [`super::Masker`], so that no plugin is shown a secret
//! that was found. A line is judged as a whole; what has to go out before its end is judged with what went out of it
//! before, and only what is left of it can be changed.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{BufMut, BytesMut};
use detect::{Detector, Detectors};
use pipeline::mask::{Encoding, MaskAction, MaskBatch, MaskColumn, MaskEdits, MaskPlan};

use super::lexer::{Class, Lexer};
use super::masker::{ECHO, ECHO_WITHIN, HARD};
use super::plain::is_line_end;
use super::reading::{Span, fit};
use super::{Kind, lines, noise};

/// The longest part of a line that is judged as one, and what is judged again with what follows it.
pub const MAX_SPAN: usize = 4 << 10;
/// With its escape sequences.
const MAX_RAW: usize = 16 << 10;
/// What plugins are asked about at once.
pub const MAX_BATCH: usize = 64 << 10;
/// Spans, however short, that are asked about at a time.
const MAX_SPANS: usize = 4096;
/// What each of them takes besides its bytes.
const OVERHEAD: usize = size_of::<Span>();
/// What waits for them at most; then nothing more is taken.
pub const MAX_WAITING: usize = 256 << 10;
/// How long the end of a line is waited for.
const WAIT_TERMINAL: Duration = Duration::from_millis(15);
const WAIT_PIPE: Duration = Duration::from_millis(50);
/// Keys whose echo can be under way at the same time.
const MOST_ECHOES: u8 = 16;
/// Type `text` of PostgreSQL: plugins know types by such numbers.
const TEXT_OID: u32 = 25;

/// What plugins are asked for a stream: `name` says which it is (`stdout`, `stderr`, `terminal`).
pub fn column(name: &str) -> MaskColumn {
    MaskColumn {
        name: name.to_owned(),
        type_name: "text".to_owned(),
        type_oid: TEXT_OID,
        origin: None,
        labels: Vec::new(),
        encoding: Encoding::Text,
        must_mask: false,
    }
}

/// The lines of one stream of one channel.
///
/// Where nobody but detectors looks at it, and nothing stands before it on its line, what is simple is not read byte by
/// byte: whole lines of ordinary text, and in a pipe blocks that are no text, whatever a [`super::Masker`] was told of the
/// stream. In such a block a value is found in one piece of shown ASCII only, as the module says.
#[derive(Debug)]
pub struct Spans {
    kind: Kind,
    detect: Detectors,
    inspect: bool,
    hide: bool,
    lexer: Lexer,
    /// 0xC2, kept until the byte behind it says what it is.
    wide: Option<u32>,
    span: Span,
    /// When what has no end goes on; when also what may become a find yet does.
    soft: Option<Instant>,
    hard: Option<Instant>,
    typed: Option<Instant>,
    /// Of keys that were typed, so many have not been seen yet.
    echoes: u8,
    waiting: VecDeque<Span>,
    /// Bytes of those, and how many of them plugins are being asked about.
    bytes: usize,
    asked: usize,
}

impl Spans {
    /// As the plan says for this column. Whatever hides a value, and whatever is not known, hides all text.
    pub fn new(kind: Kind, plan: &MaskPlan, column: usize) -> Self {
        let mut new = Self {
            kind,
            detect: Detectors::NONE,
            inspect: false,
            hide: false,
            lexer: Lexer::default(),
            wide: None,
            span: Span::default(),
            soft: None,
            hard: None,
            typed: None,
            echoes: 0,
            waiting: VecDeque::new(),
            bytes: 0,
            asked: 0,
        };
        match plan.actions.get(column) {
            Some(actions) => actions.iter().for_each(|action| new.add(action)),
            None => new.hide = true,
        }
        new
    }

    fn add(&mut self, action: &MaskAction) {
        match action {
            MaskAction::Pass => {}
            MaskAction::Inspect => self.inspect = true,
            MaskAction::Detect(names) => {
                for name in names {
                    match Detector::by_name(name) {
                        Some(one) => self.detect = self.detect.with(one),
                        None => self.hide = true,
                    }
                }
            }
            _ => self.hide = true,
        }
    }

    /// Does everything pass as it is? Then nothing has to be put in.
    pub fn passes(&self) -> bool {
        !self.hide && !self.inspect && self.detect.is_empty()
    }

    /// Takes as much as there is room for, and says how much that was; the rest is to come again after
    /// [`Spans::edits_in`].
    pub fn push(&mut self, input: &[u8], now: Instant, out: &mut BytesMut) -> usize {
        let mut taken = 0;
        let mut ordinary = true;
        while let Some(c) = input.get(taken) {
            if self.bytes + self.span.raw.len() >= MAX_WAITING {
                break;
            }
            if ordinary && self.begins_line() {
                let rest = input.get(taken..).unwrap_or_default();
                taken += lines::pass(self.detect, rest, out);
                if self.kind == Kind::Pipe {
                    let rest = input.get(taken..).unwrap_or_default();
                    taken += noise::pass(self.detect, rest, out);
                }
                // What stopped it is read byte by byte to the end of its line.
                ordinary = false;
                continue;
            }
            self.read(*c, out);
            ordinary |= is_line_end(*c);
            taken += 1;
        }
        if self.is_echo(input.len(), now) {
            self.echoes -= 1;
            self.flush(out);
        }
        let wait = match self.kind {
            Kind::Terminal => WAIT_TERMINAL,
            Kind::Pipe => WAIT_PIPE,
        };
        if self.span.raw.is_empty() {
            (self.soft, self.hard) = (None, None);
        } else if taken > 0 {
            self.soft = self.soft.or(Some(now + wait));
            self.hard = self.hard.or(Some(now + HARD));
        }
        taken
    }

    /// The client has typed: an echo of it is not to come late. As many of them go out at once as keys were typed,
    /// so nothing that is written slowly does with them.
    pub fn typed(&mut self, now: Instant) {
        self.typed = Some(now);
        self.echoes = (self.echoes + 1).min(MOST_ECHOES);
    }

    /// Are keys under way that have not been seen yet?
    fn has_typed(&mut self, now: Instant) -> bool {
        let late = |at: Instant| now.duration_since(at) > ECHO_WITHIN;
        if self.typed.is_none_or(late) {
            self.echoes = 0;
        }
        self.echoes > 0
    }

    fn is_echo(&mut self, came: usize, now: Instant) -> bool {
        self.has_typed(now)
            && self.kind == Kind::Terminal
            && came <= ECHO
            && !self.span.raw.is_empty()
            && self.lexer.is_ground()
    }

    /// Does nothing of a line stand before what comes, and are there only detectors to see it?
    fn begins_line(&self) -> bool {
        let plain = !self.inspect && !self.hide && !self.detect.is_empty();
        let span = &self.span;
        plain
            && span.raw.is_empty()
            && span.shown.text.is_empty()
            && span.all.is_none()
            && self.wide.is_none()
            && self.lexer.is_ground()
    }

    /// When [`Spans::tick`] has to be called at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        self.soft.or(self.hard)
    }

    /// The end of the line is not waited for any longer; for two seconds, what detectors may find once more of it has come
    /// still waits for that.
    pub fn tick(&mut self, now: Instant, out: &mut BytesMut) {
        if self.hard.is_some_and(|at| at <= now) {
            self.flush(out);
        } else if self.soft.is_some_and(|at| at <= now) {
            self.soft = None;
            // Line editors write more than is typed.
            let lead = self.lead();
            let typed = lead.is_some() && self.kind == Kind::Terminal && self.has_typed(now);
            self.echoes -= u8::from(typed);
            match lead.filter(|_| !typed) {
                // It waits already.
                Some(0) => {}
                Some(place) => {
                    self.hard = Some(now + HARD);
                    self.cut(place, out);
                }
                None => self.flush(out),
            }
        }
    }

    /// The line does not go on for now. What plugins have to be asked about still waits for them.
    pub fn flush(&mut self, out: &mut BytesMut) {
        if !self.span.raw.is_empty() {
            self.close(false, out);
        }
    }

    /// Has everything gone out?
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.span.raw.is_empty()
    }

    /// What plugins are to be asked about next, if nothing is being asked. Every value is of the column that the
    /// plan was asked for, which is `column` here.
    pub fn spans_out(&mut self, column: u16) -> Option<MaskBatch> {
        if self.asked > 0 || self.waiting.is_empty() {
            return None;
        }
        let mut batch = MaskBatch::default();
        for span in self.waiting.iter().take(MAX_SPANS) {
            let length: usize = span.readings().map(|reading| reading.told().len()).sum();
            if self.asked > 0 && batch.data.len() + length > MAX_BATCH {
                break;
            }
            for reading in span.readings() {
                batch.data.extend_from_slice(reading.told());
                let end = u32::try_from(batch.data.len()).unwrap_or(u32::MAX);
                batch.ends.push(end);
                batch.cols.push(column);
            }
            self.asked += 1;
        }
        Some(batch)
    }

    /// What the plugins said; an error, or what makes no sense, hides all that they were asked about.
    pub fn edits_in<E>(&mut self, edits: Result<MaskEdits, E>, out: &mut BytesMut) {
        let asked = std::mem::take(&mut self.asked);
        let spans = self.waiting.iter().take(asked);
        let values = spans.map(|span| span.readings().count()).sum();
        let edits = edits.ok().filter(|edits| sensible(edits, values));
        let mut texts = edits.as_ref().map(Texts::of);
        for _ in 0..asked {
            let Some(Span {
                mut raw,
                shown,
                all,
            }) = self.waiting.pop_front()
            else {
                break;
            };
            self.bytes = self.bytes.saturating_sub(raw.len() + OVERHEAD);
            for reading in std::iter::once(&shown).chain(&all) {
                match texts.as_mut().map(Texts::take) {
                    Some(Answer::Same) => {}
                    Some(Answer::Text(edit)) => reading.show(&fit(reading.told(), edit), &mut raw),
                    Some(Answer::Nothing) | None => reading.show(&[], &mut raw),
                }
            }
            out.put_slice(&raw);
        }
    }

    fn read(&mut self, c: u8, out: &mut BytesMut) {
        let place = u32::try_from(self.span.raw.len()).unwrap_or(u32::MAX);
        self.span.raw.put_u8(c);
        let class = self.lexer.next(c);
        if let Some(wide) = self.wide.take()
            && !matches!(c, 0x80..=0x9F)
        {
            self.span.read(0xC2, wide);
        }
        match class {
            // Titles and clipboards are read as if they stood there: nothing passes unseen.
            Class::Visible | Class::Payload => self.span.read(c, place),
            Class::Later => self.wide = Some(place),
            Class::Back(places) => self.span.back(places),
            Class::Hidden | Class::Moved | Class::Gap => {}
        }
        if class == Class::Gap {
            self.close(true, out);
        } else if self.span.raw.len() >= MAX_RAW
            || self.wide.is_none() && self.span.len() >= MAX_SPAN
        {
            let at = self.span.raw.len() / 2;
            match self.lead().filter(|place| *place >= at) {
                Some(place) => self.cut(place, out),
                None => self.close(false, out),
            }
        }
    }

    /// How much of the line is read again with what comes.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        let all = self.span.readings().map(|reading| reading.text.len());
        all.max().unwrap_or(0)
    }

    /// Where what the span ends with begins that may become a find.
    fn lead(&self) -> Option<usize> {
        let judged = !self.hide && !self.detect.is_empty() && self.wide.is_none();
        judged.then(|| self.span.lead(self.detect)).flatten()
    }

    /// What is before this place goes out.
    fn cut(&mut self, place: usize, out: &mut BytesMut) {
        let mut head = self.span.split(place);
        head.detect(self.detect, self.kind);
        self.span.goes_on(&mut head);
        self.go(head, out);
    }

    /// The span is over; the line, too, or not.
    fn close(&mut self, line: bool, out: &mut BytesMut) {
        (self.soft, self.hard) = (None, None);
        if let Some(wide) = self.wide.take() {
            self.span.read(0xC2, wide);
        }
        let mut span = std::mem::take(&mut self.span);
        let only = self.kind == Kind::Pipe && !self.inspect && span.begins_line();
        if only && noise::is_line(&span.raw) {
            noise::hide(self.detect, &mut span.raw);
        } else if !self.detect.is_empty() {
            span.detect(self.detect, self.kind);
        }
        if self.hide {
            span.hide();
        }
        if !line {
            self.span = span.context();
        }
        self.go(span, out);
    }

    fn go(&mut self, span: Span, out: &mut BytesMut) {
        if self.inspect && !self.hide {
            self.bytes += span.raw.len() + OVERHEAD;
            self.waiting.push_back(span);
        } else {
            out.put_slice(&span.raw);
        }
    }
}

/// What was said of one value.
enum Answer<'a> {
    Same,
    Text(&'a [u8]),
    Nothing,
}

struct Texts<'a> {
    edits: &'a MaskEdits,
    /// Which value is the next, and which edit and which NULL.
    index: usize,
    next: usize,
    nulls: usize,
}

impl<'a> Texts<'a> {
    fn of(edits: &'a MaskEdits) -> Self {
        Self {
            edits,
            index: 0,
            next: 0,
            nulls: 0,
        }
    }

    /// Of each value, in order.
    fn take(&mut self) -> Answer<'a> {
        let index = self.index;
        self.index += 1;
        let is = |at: Option<&u32>| at.is_some_and(|at| *at as usize == index);
        if is(self.edits.nulls.get(self.nulls)) {
            self.nulls += 1;
            return Answer::Nothing;
        }
        if !is(self.edits.indexes.get(self.next)) {
            return Answer::Same;
        }
        let end = |i: usize| self.edits.ends.get(i).map_or(0, |end| *end as usize);
        let start = self.next.checked_sub(1).map_or(0, end);
        let text = self.edits.data.get(start..end(self.next));
        self.next += 1;
        text.map_or(Answer::Nothing, Answer::Text)
    }
}

/// Is every value named once, in order, and every text where it says?
fn sensible(edits: &MaskEdits, asked: usize) -> bool {
    let ascending = |all: &[u32]| all.is_sorted_by(|a, b| a < b);
    let known = |all: &[u32]| all.last().is_none_or(|last| (*last as usize) < asked);
    let apart = edits
        .nulls
        .iter()
        .all(|n| edits.indexes.binary_search(n).is_err());
    let ends = edits.ends.is_sorted() && edits.ends.len() == edits.indexes.len();
    let data = edits.ends.last().map_or(0, |end| *end as usize) <= edits.data.len();
    let ordered = ascending(&edits.indexes) && ascending(&edits.nulls);
    ordered && known(&edits.indexes) && known(&edits.nulls) && apart && ends && data
}
