//! What plugins say about text that passes: lines are collected, judged in batches, and changed at the same length.
//!
//! Pure: the caller asks the plugins. Comes behind the [`super::Masker`], so that no plugin is shown a secret
//! that was found. A line is judged as a whole; what has to go out before its end is judged with what went out of it
//! before, and only what is left of it can be changed.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{BufMut, BytesMut};
use detect::{Detector, Detectors, Findings};
use pipeline::mask::{Encoding, MaskAction, MaskBatch, MaskColumn, MaskEdits, MaskPlan};

use super::lexer::{Class, Lexer};
use super::{Kind, STAR};

/// The longest part of a line that is judged as one, and what is judged again with what follows it.
pub const MAX_SPAN: usize = 4 << 10;
/// With its escape sequences.
const MAX_RAW: usize = 16 << 10;
/// What plugins are asked about at once.
pub const MAX_BATCH: usize = 64 << 10;
/// What waits for them at most; then nothing more is taken.
pub const MAX_WAITING: usize = 256 << 10;
/// How long the end of a line is waited for.
const WAIT_TERMINAL: Duration = Duration::from_millis(15);
const WAIT_PIPE: Duration = Duration::from_millis(50);
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

/// Text on its way out, and which bytes of it are shown.
#[derive(Debug, Default)]
struct Span {
    raw: BytesMut,
    /// What is shown of the line: of before, then of this span.
    text: Vec<u8>,
    before: usize,
    /// Where the shown bytes of this span are in `raw`.
    places: Vec<u32>,
}

impl Span {
    /// Puts the text's end in the place of what is shown.
    fn show(&mut self, text: &[u8]) {
        let new = text.get(self.before..).unwrap_or_default();
        for (i, place) in self.places.iter().enumerate() {
            // A plugin's answer steers no terminal.
            let c = new.get(i).copied().filter(|c| *c >= 0x20 && *c != 0x7F);
            if let Some(slot) = self.raw.get_mut(*place as usize) {
                *slot = if *slot == b'\t' {
                    *slot
                } else {
                    c.unwrap_or(STAR)
                };
            }
        }
    }

    fn hide(&mut self) {
        self.show(&[]);
    }

    fn detect(&mut self, on: Detectors) {
        let mut text = std::mem::take(&mut self.text);
        let found: Vec<_> = Findings::new(on, &text).collect();
        for find in found {
            let range = find.start.max(self.before)..find.end.max(self.before);
            if let Some(part) = text.get_mut(range.clone()) {
                part.fill(STAR);
            }
            let places = range.start - self.before..range.end - self.before;
            for place in self.places.get(places).unwrap_or_default() {
                if let Some(slot) = self.raw.get_mut(*place as usize) {
                    *slot = STAR;
                }
            }
        }
        self.text = text;
    }
}

/// The lines of one stream of one channel.
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
    due: Option<Instant>,
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
            due: None,
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
        for c in input {
            if self.bytes + self.span.raw.len() >= MAX_WAITING {
                break;
            }
            self.read(*c, out);
            taken += 1;
        }
        let wait = match self.kind {
            Kind::Terminal => WAIT_TERMINAL,
            Kind::Pipe => WAIT_PIPE,
        };
        self.due = match self.span.raw.is_empty() {
            true => None,
            false => self.due.or(Some(now + wait)),
        };
        taken
    }

    /// When [`Spans::tick`] has to be called at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        self.due
    }

    pub fn tick(&mut self, now: Instant, out: &mut BytesMut) {
        if self.due.is_some_and(|at| at <= now) {
            self.flush(out);
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
        for span in &self.waiting {
            let end = batch.data.len() + span.text.len();
            if self.asked > 0 && end > MAX_BATCH {
                break;
            }
            batch.data.extend_from_slice(&span.text);
            batch.ends.push(u32::try_from(end).unwrap_or(u32::MAX));
            batch.cols.push(column);
            self.asked += 1;
        }
        Some(batch)
    }

    /// What the plugins said; an error, or what makes no sense, hides all that they were asked about.
    pub fn edits_in<E>(&mut self, edits: Result<MaskEdits, E>, out: &mut BytesMut) {
        let asked = std::mem::take(&mut self.asked);
        let edits = edits.ok().filter(|edits| sensible(edits, asked));
        let mut texts = edits.as_ref().map(Texts::of);
        for index in 0..asked {
            let Some(mut span) = self.waiting.pop_front() else {
                break;
            };
            self.bytes = self.bytes.saturating_sub(span.raw.len());
            match texts.as_mut().map(|texts| texts.take(index)) {
                Some(Answer::Same) => {}
                Some(Answer::Text(edit)) => {
                    let text = fit(&span.text, edit);
                    span.show(&text);
                }
                Some(Answer::Nothing) | None => span.hide(),
            }
            out.put_slice(&span.raw);
        }
    }

    fn read(&mut self, c: u8, out: &mut BytesMut) {
        let place = u32::try_from(self.span.raw.len()).unwrap_or(u32::MAX);
        self.span.raw.put_u8(c);
        let class = self.lexer.next(c);
        if let Some(wide) = self.wide.take()
            && !matches!(c, 0x80..=0x9F)
        {
            self.show(0xC2, wide);
        }
        match class {
            Class::Visible => self.show(c, place),
            Class::Later => self.wide = Some(place),
            Class::Back(places) => {
                let gone = usize::from(places).min(self.span.places.len());
                self.span.places.truncate(self.span.places.len() - gone);
                self.span.text.truncate(self.span.text.len() - gone);
            }
            Class::Payload | Class::Hidden | Class::Moved | Class::Gap => {}
        }
        if class == Class::Gap {
            self.close(true, out);
        } else if self.wide.is_none()
            && (self.span.places.len() >= MAX_SPAN || self.span.raw.len() >= MAX_RAW)
        {
            self.close(false, out);
        }
    }

    fn show(&mut self, c: u8, place: u32) {
        self.span.text.push(c);
        self.span.places.push(place);
    }

    /// The span is over; the line, too, or not.
    fn close(&mut self, line: bool, out: &mut BytesMut) {
        self.due = None;
        if let Some(wide) = self.wide.take() {
            self.show(0xC2, wide);
        }
        let mut span = std::mem::take(&mut self.span);
        if !self.detect.is_empty() {
            span.detect(self.detect);
        }
        if self.hide {
            span.hide();
        }
        if !line {
            let from = span.text.len().saturating_sub(MAX_SPAN);
            self.span.text = span.text.get(from..).unwrap_or_default().to_vec();
            self.span.before = self.span.text.len();
        }
        if self.inspect && !self.hide {
            self.bytes += span.raw.len();
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
    next: usize,
    nulls: usize,
}

impl<'a> Texts<'a> {
    fn of(edits: &'a MaskEdits) -> Self {
        Self {
            edits,
            next: 0,
            nulls: 0,
        }
    }

    /// Of each value, in order.
    fn take(&mut self, index: usize) -> Answer<'a> {
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

/// An edit at the length of what it replaces: what both begin and end with stays where it is, and what is
/// between is cut off, or filled with stars. Every byte of it is the edit's own, or a star.
fn fit(text: &[u8], edit: &[u8]) -> Vec<u8> {
    let alike =
        |pairs: &mut dyn Iterator<Item = (&u8, &u8)>| pairs.take_while(|(a, b)| a == b).count();
    let inside = |bytes: &[u8], at: usize| bytes.get(at).is_some_and(|c| c & 0xC0 == 0x80);
    let mut first = alike(&mut text.iter().zip(edit));
    while first > 0 && (inside(text, first) || inside(edit, first)) {
        first -= 1;
    }
    let most = text.len().min(edit.len()) - first;
    let mut last = alike(&mut text.iter().rev().zip(edit.iter().rev())).min(most);
    while last > 0 && inside(text, text.len() - last) {
        last -= 1;
    }
    let room = text.len() - first - last;
    let mut end = (edit.len() - last).min(first + room);
    while end > first && inside(edit, end) {
        end -= 1;
    }
    let mut out = edit.get(..end).unwrap_or_default().to_vec();
    out.resize(first + room, STAR);
    out.extend_from_slice(edit.get(edit.len() - last..).unwrap_or_default());
    out
}
