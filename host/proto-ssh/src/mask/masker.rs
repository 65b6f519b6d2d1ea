//! The masker of one stream: holds back what may become a find, replaces what has, and lets go of the rest.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{BufMut, BytesMut};

use super::guard::{Guard, Verdict};
use super::lexer::{Class, Lexer};
use super::noise;
use super::patterns::Patterns;
use super::plain::{self, is_line_end};
use super::token::Gap;
use super::view::View;
use super::{Kind, STAR};

/// How long what may become a find is held back: nobody sees that a terminal is late by so much.
const SOFT_TERMINAL: Duration = Duration::from_millis(15);
const SOFT_PIPE: Duration = Duration::from_millis(50);
/// How long what is hardly anything else is held back, before it counts as found.
pub(super) const HARD: Duration = Duration::from_secs(2);
/// What is held back at most, escape sequences included.
pub const MAX_HELD: usize = 64 << 10;
/// What a masker keeps in all, whatever it reads.
pub const MAX_REMEMBERED: usize = MAX_HELD + 3 * super::view::MOST;
/// An echo of what is typed comes within this time, in pieces of this size, and is held from the third byte on.
pub(super) const ECHO_WITHIN: Duration = Duration::from_millis(200);
pub(super) const ECHO: usize = 4;
const ECHO_SHOWN: u64 = 2;
/// Where a block was text, the next one is judged so many bytes behind its beginning.
const NOISE_AGAIN: usize = noise::BLOCK / 4;

/// Masks one stream of one channel: standard output and standard error each have their own.
#[derive(Debug)]
pub struct Masker {
    patterns: Arc<Patterns>,
    kind: Kind,
    lexer: Lexer,
    guard: Guard,
    /// As a terminal shows it: what is taken back is gone.
    pub(super) line: View,
    /// Without sequences, but with what was taken back; only where that makes a difference.
    stripped: View,
    split: bool,
    /// The bytes as they are, sequences included; only where there are any.
    raw: View,
    raw_on: bool,
    /// A line has ended in a string that is not shown.
    raw_gap: Gap,
    /// What has not been let go of, with what was found already replaced; where it begins in the stream.
    held: BytesMut,
    base: u64,
    gap: Gap,
    columns: u16,
    column: u32,
    /// A space behind a full line, and 0xC2: the byte after them says what they are.
    space: Option<u64>,
    wide: Option<u64>,
    soft: Option<Instant>,
    hard: Option<Instant>,
    /// Where what was held began when the time was taken.
    front: u64,
    typed: Option<Instant>,
    /// Where patterns begin in the input that is being read.
    found: Vec<usize>,
    looked: u64,
}

impl Masker {
    pub fn new(patterns: Arc<Patterns>, kind: Kind) -> Self {
        Self {
            patterns,
            kind,
            lexer: Lexer::default(),
            guard: Guard::new(kind),
            line: View::new(true),
            stripped: View::new(false),
            split: false,
            raw: View::new(false),
            raw_on: false,
            raw_gap: Gap::None,
            held: BytesMut::new(),
            base: 0,
            gap: Gap::None,
            columns: 0,
            column: 0,
            space: None,
            wide: None,
            soft: None,
            hard: None,
            front: 0,
            typed: None,
            found: Vec::new(),
            looked: 0,
        }
    }

    /// How wide the terminal is: what stands behind a full line continues it.
    pub fn resize(&mut self, columns: u16) {
        self.columns = columns;
    }

    /// The client has typed: the echo of it is not to come late for a byte or two that a secret begins with.
    pub fn typed(&mut self, now: Instant) {
        self.typed = Some(now);
    }

    /// Reads what has come, and writes to `out` what may be seen.
    pub fn push(&mut self, input: &[u8], now: Instant, out: &mut BytesMut) -> Verdict {
        let verdict = self.look(input);
        self.read_all(input, verdict, now, out);
        verdict
    }

    /// Is it text, up to and with what comes next? That is to be read, too, once.
    pub(crate) fn look(&mut self, input: &[u8]) -> Verdict {
        self.guard.look(input)
    }

    /// Reads what has been looked at.
    pub(crate) fn read_all(
        &mut self,
        input: &[u8],
        verdict: Verdict,
        now: Instant,
        out: &mut BytesMut,
    ) {
        self.tick(now, out);
        self.found.clear();
        let (mut at, mut until, mut noise_from) = (0, 0, 0);
        while let Some(&c) = input.get(at) {
            if at >= until && input.len() - at >= plain::LEAST && self.is_idle() {
                let mut jump = None;
                if verdict == Verdict::Binary && self.columns == 0 && at >= noise_from {
                    jump = noise::jump(&self.patterns, input, at, &mut self.found);
                    if jump.is_none() {
                        noise_from = at + NOISE_AGAIN;
                        self.looked += noise::BLOCK as u64;
                    }
                }
                let jump = jump.unwrap_or_else(|| {
                    plain::jump(&self.patterns, input, at, self.columns, &mut self.found)
                });
                self.skip(input.get(at..jump.from).unwrap_or_default(), out);
                (at, until) = (jump.from, jump.until);
                self.looked += jump.looked as u64;
                continue;
            }
            if c == 0 && self.is_idle() {
                at += self.nothing(input.get(at..).unwrap_or_default(), out);
                continue;
            }
            self.read(c);
            at += 1;
            if self.held.len() >= MAX_HELD {
                self.make_room(out);
            }
        }
        self.settle(input.len(), now, out);
    }

    /// When [`Masker::tick`] has to be called at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        self.soft.or(self.hard)
    }

    /// Lets go of what has been held back for long enough. What follows is still compared with it.
    pub fn tick(&mut self, now: Instant, out: &mut BytesMut) {
        if self.soft.is_some_and(|at| at <= now) {
            self.hurry(out);
        }
        if self.hard.is_some_and(|at| at <= now) {
            self.replace_sticky(self.gap == Gap::Break, out);
        }
    }

    /// Another stream of the channel is about to go on: what could have gone before it does.
    pub fn hurry(&mut self, out: &mut BytesMut) {
        self.soft = None;
        let (_, sticky) = self.unfinished();
        self.release(sticky, out);
    }

    /// Nothing more comes, or something else is about to be said on the channel. What is too much like a secret to
    /// be let go of is replaced.
    pub fn flush(&mut self, out: &mut BytesMut) {
        self.line.set_edited(false);
        self.replace_sticky(true, out);
        self.line.set_edited(self.split);
    }

    fn replace_sticky(&mut self, ended: bool, out: &mut BytesMut) {
        let (held, base) = (&mut self.held, self.base);
        let mut hide = |at| star(held, base, at);
        self.line.hide_sticky(&self.patterns, ended, &mut hide);
        if self.split {
            self.stripped.hide_sticky(&self.patterns, ended, &mut hide);
        }
        if self.raw_on {
            self.raw.hide_sticky(&self.patterns, ended, &mut hide);
        }
        self.release(None, out);
    }

    /// How many steps all bytes took together.
    pub fn steps(&self) -> u64 {
        self.line.steps + self.stripped.steps + self.raw.steps + self.looked
    }

    /// How much is kept, in bytes.
    pub fn remembered(&self) -> usize {
        let views = [&self.line, &self.stripped, &self.raw];
        let views: usize = views.iter().map(|view| view.remembered()).sum();
        views + self.held.len()
    }

    fn is_idle(&self) -> bool {
        let alone = !self.split && !self.raw_on && self.space.is_none();
        alone && self.lexer.is_ground() && self.line.is_idle()
    }

    /// These pass: nothing begins in them.
    fn skip(&mut self, plain: &[u8], out: &mut BytesMut) {
        if plain.is_empty() {
            return;
        }
        self.release(None, out);
        out.put_slice(plain);
        self.base += plain.len() as u64;
        self.line
            .passed_over(plain.last().is_some_and(|c| is_line_end(*c)));
        (self.gap, self.column) = (Gap::None, 0);
    }

    /// NUL is not seen and ends nothing: where nothing has begun, any number of it passes. How many did.
    fn nothing(&mut self, input: &[u8], out: &mut BytesMut) -> usize {
        let count = input.iter().position(|c| *c != 0).unwrap_or(input.len());
        self.apart();
        self.release(None, out);
        out.put_bytes(0, count);
        self.base += count as u64;
        self.looked += count as u64;
        count
    }

    fn read(&mut self, c: u8) {
        let at = self.base + self.held.len() as u64;
        self.held.put_u8(c);
        let wide = self.wide.take();
        let class = self.lexer.next(c);
        if let Some(space) = self.space.take() {
            // What fills a line's last place is followed by a space and a return, so that the cursor goes on.
            if c == b'\r' {
                self.gap = Gap::Wrap;
            } else {
                self.show(b' ', space);
            }
        }
        if let Some(wide) = wide {
            if matches!(c, 0x80..=0x9F) {
                self.apart();
                self.raw_from_here();
            } else {
                self.show(0xC2, wide);
            }
        }
        if matches!(class, Class::Hidden | Class::Back(_) | Class::Moved) {
            self.raw_from_here();
        }
        if class == Class::Hidden {
            self.apart();
        }
        if class == Class::Payload && is_line_end(c) {
            // A key has lines there, too, and a string need not end.
            self.raw_gap = Gap::Break;
        } else if self.raw_on {
            let free = matches!(class, Class::Visible | Class::Payload | Class::Later) && c >= b' ';
            let gap = std::mem::replace(&mut self.raw_gap, Gap::None);
            let (held, base) = (&mut self.held, self.base);
            let mut hide = |at| star(held, base, at);
            self.raw.read(&self.patterns, (c, at, free), gap, &mut hide);
            self.raw_on = !(self.lexer.is_ground() && self.raw.is_idle());
        }
        match class {
            Class::Visible if c == b' ' && self.is_full() => self.space = Some(at),
            Class::Visible => self.show(c, at),
            Class::Later => self.wide = Some(at),
            Class::Gap => self.line_ends(),
            Class::Back(places) => self.back(places),
            Class::Moved if self.gap == Gap::None => self.gap = Gap::Break,
            Class::Moved | Class::Hidden | Class::Payload => {}
        }
    }

    /// Whether what comes next stands in one word with what came, nobody knows.
    fn apart(&mut self) {
        self.line.apart();
        self.stripped.apart();
    }

    fn raw_from_here(&mut self) {
        if !self.raw_on {
            self.raw.clear();
            (self.raw_on, self.raw_gap) = (true, Gap::None);
        }
    }

    fn show(&mut self, c: u8, at: u64) {
        let gap = std::mem::replace(&mut self.gap, Gap::None);
        // A tab is as wide as it is.
        let read = (c, at, c != b'\t');
        let (held, base) = (&mut self.held, self.base);
        let mut hide = |at| star(held, base, at);
        self.line.read(&self.patterns, read, gap, &mut hide);
        if self.split {
            self.stripped.read(&self.patterns, read, gap, &mut hide);
            self.join();
        }
        // A character counts once, by its first byte.
        self.column += u32::from(c & 0xC0 != 0x80);
    }

    fn line_ends(&mut self) {
        if self.gap == Gap::None {
            self.gap = if self.is_full() {
                Gap::Wrap
            } else {
                Gap::Break
            };
        }
        self.column = 0;
        self.line.end_line();
    }

    fn back(&mut self, places: u16) {
        if !self.split {
            self.stripped.follow(&self.patterns, &self.line);
            self.split = true;
            self.line.set_edited(true);
        }
        self.line.back(places);
        self.apart();
        self.column = self.column.saturating_sub(u32::from(places));
        self.join();
    }

    /// Two readings in which nothing has begun are one.
    fn join(&mut self) {
        if self.line.is_over() && self.stripped.is_idle() {
            self.split = false;
            self.line.set_edited(false);
        }
    }

    fn is_full(&self) -> bool {
        let columns = u32::from(self.columns);
        columns > 0 && self.column > 0 && self.column.is_multiple_of(columns)
    }

    /// Where what may become a find begins: any of it, and what is not let go of.
    fn unfinished(&self) -> (Option<u64>, Option<u64>) {
        let (mut any, mut sticky) = self.line.held(&self.patterns);
        let mut also = |(more, stuck): (Option<u64>, Option<u64>)| {
            any = least(any, more);
            sticky = least(sticky, stuck);
        };
        if self.split {
            also(self.stripped.held(&self.patterns));
        }
        if self.raw_on {
            also(self.raw.held(&self.patterns));
        }
        also((least(self.space, self.wide), None));
        (any, sticky)
    }

    /// After what has come: lets go of what is no part of anything, and takes the time of what is.
    fn settle(&mut self, came: usize, now: Instant, out: &mut BytesMut) {
        let (mut any, sticky) = self.unfinished();
        let end = self.base + self.held.len() as u64;
        let echo = came <= ECHO
            && self.kind == Kind::Terminal
            && self
                .typed
                .is_some_and(|at| now.duration_since(at) <= ECHO_WITHIN);
        if echo && sticky.is_none() && any.is_some_and(|at| at + ECHO_SHOWN >= end) {
            any = None;
        }
        self.release(any, out);
        if self.held.is_empty() {
            return;
        }
        if self.hard.is_none() || self.front != self.base {
            self.front = self.base;
            let soft = match self.kind {
                Kind::Terminal => SOFT_TERMINAL,
                Kind::Pipe => SOFT_PIPE,
            };
            (self.soft, self.hard) = (Some(now + soft), Some(now + HARD));
        }
    }

    /// Lets go of everything before `keep`.
    fn release(&mut self, keep: Option<u64>, out: &mut BytesMut) {
        let held = self.held.len() as u64;
        let count = keep.map_or(held, |at| at.saturating_sub(self.base).min(held));
        let bytes = self
            .held
            .split_to(usize::try_from(count).unwrap_or(self.held.len()));
        out.put_slice(&bytes);
        self.base += count;
        if self.held.is_empty() {
            (self.soft, self.hard) = (None, None);
        }
    }

    /// More is held back than may be.
    fn make_room(&mut self, out: &mut BytesMut) {
        let (any, _) = self.unfinished();
        self.release(any, out);
        if self.held.len() >= MAX_HELD / 2 {
            self.replace_sticky(false, out);
        }
    }
}

fn least(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Replaces a byte of the stream, if it has not been let go of.
fn star(held: &mut BytesMut, base: u64, at: u64) {
    let index = at.checked_sub(base).and_then(|i| usize::try_from(i).ok());
    if let Some(slot) = index.and_then(|i| held.get_mut(i)) {
        *slot = STAR;
    }
}
