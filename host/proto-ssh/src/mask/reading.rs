//! A part of a line on its way out, and what is read in it.

use std::ops::Range;

use bytes::BytesMut;
use detect::{Detector, Detectors, Findings, Found, lead};

use super::Kind;
use super::STAR;
use super::guard::is_odd;
use super::noise::{BROKEN_IN, is_address};
use super::spans::MAX_SPAN;
use super::view::column_behind;

/// Text on its way out.
#[derive(Debug, Default)]
pub(super) struct Span {
    pub raw: BytesMut,
    /// As the terminal shows it.
    pub shown: Reading,
    /// With what was taken back, where something was.
    pub all: Option<Reading>,
}

impl Span {
    pub fn readings(&self) -> impl Iterator<Item = &Reading> {
        [Some(&self.shown), self.all.as_ref()].into_iter().flatten()
    }

    pub fn read(&mut self, c: u8, place: u32) {
        self.shown.read(c, Some(place));
        if let Some(all) = &mut self.all {
            all.read(c, Some(place));
        }
    }

    pub fn back(&mut self, places: u16) {
        // A word that is taken back ends there, for who reads it.
        let all = self.all.get_or_insert_with(|| self.shown.clone());
        all.read(b' ', None);
        self.shown.back(places);
    }

    /// How much it has been asked about, or would be.
    pub fn len(&self) -> usize {
        let own = |reading: &Reading| reading.text.len() - reading.before;
        self.readings().map(own).max().unwrap_or(0)
    }

    /// Does nothing stand before it on its line?
    pub fn begins_line(&self) -> bool {
        self.readings().all(|reading| reading.before == 0)
    }

    pub fn hide(&mut self) {
        for reading in [Some(&self.shown), self.all.as_ref()].into_iter().flatten() {
            reading.show(&[], &mut self.raw);
        }
    }

    pub fn detect(&mut self, on: Detectors, kind: Kind) {
        for reading in [Some(&mut self.shown), self.all.as_mut()]
            .into_iter()
            .flatten()
        {
            reading.detect(on, kind, &mut self.raw);
        }
    }

    /// Where what it ends with begins that may become a find yet, however it is read.
    pub fn lead(&self, on: Detectors) -> Option<usize> {
        self.readings().filter_map(|r| r.lead(on)).min()
    }

    /// What the next part of the same line is judged with.
    pub fn context(&self) -> Self {
        Self {
            raw: BytesMut::new(),
            shown: self.shown.context(),
            all: self.all.as_ref().map(Reading::context),
        }
    }

    /// Takes what is before this place out, with what stands behind it for who judges it. What is left is judged with it
    /// once [`Span::goes_on`] has been told how that came out.
    pub fn split(&mut self, place: usize) -> Self {
        let at = u32::try_from(place).unwrap_or(u32::MAX);
        Self {
            raw: self.raw.split_to(place),
            shown: self.shown.split(at),
            all: self.all.as_mut().map(|all| all.split(at)),
        }
    }

    /// Behind what was split off, which has been judged.
    pub fn goes_on(&mut self, before: &mut Self) {
        self.shown.goes_on(&mut before.shown);
        if let (Some(all), Some(before)) = (&mut self.all, &mut before.all) {
            all.goes_on(before);
        }
    }
}

/// One way of reading it.
#[derive(Debug, Clone, Default)]
pub(super) struct Reading {
    /// What is read of the line: of before, then of this span.
    pub text: Vec<u8>,
    /// The same with what was found replaced, for plugins; only where something was.
    told: Vec<u8>,
    pub before: usize,
    /// Where the bytes of this span are in its raw ones; none: it stands for a place that the cursor went back from.
    places: Vec<Option<u32>>,
    /// Where the cursor stands before the text, and, once it has gone back, behind each of its bytes. So many bytes of a
    /// character are to come.
    start: u32,
    columns: Vec<u32>,
    goes_back: bool,
    more: u8,
}

impl Reading {
    fn read(&mut self, c: u8, place: Option<u32>) {
        if self.goes_back {
            let column = column_behind(self.column(), &mut self.more, c);
            self.columns.push(column);
        }
        if !self.told.is_empty() {
            self.told.push(c);
        }
        self.text.push(c);
        self.places.push(place);
    }

    /// Where the cursor stands, once it has gone back.
    fn column(&self) -> u32 {
        self.columns.last().copied().unwrap_or(self.start)
    }

    /// The cursor goes back: over characters, not bytes, into a tab, of which a part stays, and into what has gone out,
    /// which is still there to be read.
    fn back(&mut self, places: u16) {
        if !self.goes_back {
            self.goes_back = true;
            let (mut column, more) = (self.start, &mut self.more);
            let columns = self.text.iter().map(|c| {
                column = column_behind(column, more, *c);
                column
            });
            self.columns = columns.collect();
        }
        let to = self.column().saturating_sub(places.into());
        while self.column() > to
            && let Some(last) = self.text.len().checked_sub(1)
        {
            let before = match last.checked_sub(1) {
                None => self.start,
                Some(before) => self.columns.get(before).copied().unwrap_or(self.start),
            };
            if before < to {
                if let Some(column) = self.columns.last_mut() {
                    *column = to;
                }
                break;
            }
            self.shorten(last);
        }
        self.more = 0;
    }

    /// Only so much of the text is left.
    fn shorten(&mut self, length: usize) {
        self.text.truncate(length);
        self.told.truncate(length);
        self.columns.truncate(length);
        self.before = self.before.min(length);
        self.places.truncate(length - self.before);
    }

    /// What plugins are told of it.
    pub fn told(&self) -> &[u8] {
        match self.told.is_empty() {
            true => &self.text,
            false => &self.told,
        }
    }

    /// Puts what an edit made of what plugins are told in its place. A byte that it left alone stays as another reading
    /// may have it.
    pub fn show(&self, edit: &[u8], raw: &mut BytesMut) {
        self.put(self.told(), edit, raw);
    }

    fn put(&self, old: &[u8], edit: &[u8], raw: &mut BytesMut) {
        for (i, place) in (self.before..).zip(&self.places) {
            let c = edit.get(i);
            // A tab is as wide as it is.
            if c.is_some() && c == old.get(i) || self.text.get(i) == Some(&b'\t') {
                continue;
            }
            // A plugin's answer steers no terminal.
            let c = c.filter(|c| **c >= 0x20 && **c != 0x7F);
            if let Some(slot) = place.and_then(|place| raw.get_mut(place as usize)) {
                *slot = c.copied().unwrap_or(STAR);
            }
        }
    }

    /// What goes on behind a find that has gone out is still a part of it: of what was before, the text stays as it was.
    fn detect(&mut self, on: Detectors, kind: Kind, raw: &mut BytesMut) {
        let mut found = None;
        let mut all = finds(on, &self.text);
        if kind == Kind::Pipe {
            all = all
                .into_iter()
                .flat_map(|find| self.apart(on, find, raw))
                .collect();
        }
        for find in all {
            let edit = found.get_or_insert_with(|| self.told().to_vec());
            if let Some(part) = edit.get_mut(find.start..find.end) {
                part.fill(STAR);
            }
        }
        if let Some(edit) = found {
            self.put(&self.text, &edit, raw);
            // Plugins behind it are not shown what was found.
            self.told = edit;
        }
    }

    /// What is found in the parts of an address between which something stands that text has no use for: such a byte is
    /// not seen, and ends a word (lists that are separated by NUL, names behind their length).
    fn apart(&self, on: Detectors, find: Found, raw: &[u8]) -> Vec<Found> {
        if find.what != Detector::Email || !self.is_strewn(&find, raw) {
            return vec![find];
        }
        let place = |at: usize| {
            let own = at
                .checked_sub(self.before)
                .and_then(|at| self.places.get(at));
            own.copied().flatten().map(|place| place as usize)
        };
        let ends = |at: usize| {
            let before = at.checked_sub(1).and_then(place);
            let between = before.zip(place(at)).and_then(|(a, b)| raw.get(a..b));
            between.is_some_and(|bytes| bytes.iter().any(|c| is_odd(*c)))
        };
        let (mut out, mut start) = (Vec::new(), find.start);
        for at in find.start + 1..=find.end {
            if at < find.end && !ends(at) {
                continue;
            }
            let finds = finds_within(on, &self.text, start..at);
            out.extend(finds.filter(|find| is_likely(find, &self.text)));
            start = at;
        }
        out
    }

    /// Does something stand between its characters that text has no use for? Of two or four bytes for each, the others
    /// are NUL.
    fn is_strewn(&self, find: &Found, raw: &[u8]) -> bool {
        let own = find.start.saturating_sub(self.before)..find.end.saturating_sub(self.before);
        let places = self.places.get(own).unwrap_or_default();
        let mut known = places.iter().flatten();
        let (first, last) = (known.next(), known.next_back());
        let (Some(first), Some(last)) = (first, last) else {
            return false;
        };
        let within = raw.get(*first as usize..*last as usize);
        let odd: Vec<&u8> = within
            .unwrap_or_default()
            .iter()
            .filter(|c| is_odd(**c))
            .collect();
        let wide = |by: usize| odd.len() == by * (places.len() - 1) && odd.iter().all(|c| **c == 0);
        !odd.is_empty() && !wide(1) && !wide(3)
    }

    /// Where in the raw bytes it begins; it is not held any more for what has gone out of it.
    fn lead(&self, on: Detectors) -> Option<usize> {
        let at = lead(on, &self.text)?;
        let mut own = self.places.iter().skip(at.saturating_sub(self.before));
        let first = own.find_map(|place| *place)?;
        Some(if at < self.before { 0 } else { first as usize })
    }

    /// What the next part of the same line is judged with.
    fn context(&self) -> Self {
        let mut new = self.clone();
        new.places.clear();
        new.cut();
        new
    }

    /// All of it has gone out; what is too long ago is forgotten.
    fn cut(&mut self) {
        self.before = self.text.len();
        self.forget();
    }

    /// Of what has gone out, what is too long ago.
    fn forget(&mut self) {
        let from = self.before.saturating_sub(MAX_SPAN);
        match self.goes_back {
            true => {
                let last = from.checked_sub(1).and_then(|i| self.columns.get(i));
                self.start = last.copied().unwrap_or(self.start);
                self.columns.drain(..from);
            }
            false => {
                for c in self.text.iter().take(from) {
                    self.start = column_behind(self.start, &mut self.more, *c);
                }
            }
        }
        self.text.drain(..from);
        self.told.drain(..from.min(self.told.len()));
        self.before -= from;
    }

    fn split(&mut self, at: u32) -> Self {
        let own = |place: &Option<u32>| place.is_some_and(|place| place >= at);
        let count = self.places.iter().position(own);
        let count = count.unwrap_or(self.places.len());
        let head = Self {
            places: self.places.drain(..count).collect(),
            ..self.clone()
        };
        for place in self.places.iter_mut().flatten() {
            *place -= at.min(*place);
        }
        self.before += count;
        head
    }

    /// `head` was split off, and judged. Here, only what is before is as it was told.
    fn goes_on(&mut self, head: &mut Self) {
        head.shorten(self.before);
        if !head.told.is_empty() || !self.told.is_empty() {
            let own = self.text.get(self.before..).unwrap_or_default();
            self.told = [head.told(), own].concat();
        }
        self.forget();
    }
}

/// Is it more than chance makes an address? Programs write a name behind its length, which may be `@`.
fn is_likely(find: &Found, text: &[u8]) -> bool {
    let found = text.get(find.start..find.end).unwrap_or_default();
    let named = found
        .iter()
        .position(|c| *c == b'@')
        .is_some_and(|at| at >= 2);
    find.what != Detector::Email || named && is_address(found)
}

/// Is one of so many bytes of it where UTF-8 breaks?
fn is_broken(found: &[u8]) -> bool {
    let breaks = found.utf8_chunks().filter(|c| !c.invalid().is_empty());
    // It may end in the middle of a character.
    std::str::from_utf8(found).is_err_and(|e| e.error_len().is_some())
        && breaks.count() * BROKEN_IN >= found.len()
}

/// What is found in a text of which nobody says how it is written: of an address that is not UTF-8 in many places, what is
/// ASCII, because bytes that are no text at all look like one far less often then.
fn finds(on: Detectors, text: &[u8]) -> Vec<Found> {
    let mut all = Vec::new();
    for find in Findings::new(on, text) {
        let found = text.get(find.start..find.end).unwrap_or_default();
        if find.what != Detector::Email || !is_broken(found) {
            all.push(find);
            continue;
        }
        let mut start = find.start;
        for part in found.split(|c| !c.is_ascii()) {
            let end = start + part.len();
            all.extend(finds_within(on, text, start..end));
            start = end + 1;
        }
    }
    all
}

/// What is found in a part of a text as if there were nothing around it.
fn finds_within(on: Detectors, text: &[u8], part: Range<usize>) -> impl Iterator<Item = Found> {
    let start = part.start;
    let finds = Findings::new(on, text.get(part).unwrap_or_default());
    finds.map(move |find| Found {
        start: start + find.start,
        end: start + find.end,
        ..find
    })
}

/// An edit at the length of what it replaces: what both begin and end with stays where it is, and what is
/// between is cut off, or filled with stars. Every byte of it is the edit's own, or a star.
pub(super) fn fit(text: &[u8], edit: &[u8]) -> Vec<u8> {
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
