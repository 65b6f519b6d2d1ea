//! One way of reading a stream: the bytes that are read, in order, and what has begun among them.
//!
//! Work is linear: a byte is marked once, whatever is found around it, and going back costs what going on did.

use super::patterns::{MAX_WORD, Patterns};
use super::token::{Gap, Next, Thread};
use super::trie::ROOT;

/// How much of a line is remembered for a cursor that goes back; no pattern is longer.
pub(super) const HISTORY: usize = MAX_WORD;
/// On a line that is being edited, what has broken off is held for so many bytes more.
const RETURNS: usize = 8;
/// Forms that can be unfinished at the same place. The oldest gives way, and what is held for it is replaced.
const MAX_THREADS: usize = 8;

#[derive(Debug, Clone, Copy, Default)]
struct Threads {
    all: [Thread; MAX_THREADS],
    count: u8,
}

impl Threads {
    fn iter(&self) -> impl Iterator<Item = &Thread> {
        self.all.iter().take(usize::from(self.count))
    }

    /// Gives what has to be replaced for want of room.
    fn add(&mut self, thread: Thread) -> u16 {
        let mut lost = 0;
        if usize::from(self.count) == MAX_THREADS {
            lost = self.all.first().map_or(0, |oldest| oldest.held);
            self.all.rotate_left(1);
            self.count -= 1;
        }
        if let Some(slot) = self.all.get_mut(usize::from(self.count)) {
            *slot = thread;
            self.count += 1;
        }
        lost
    }
}

/// What has begun, behind some byte.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    node: u32,
    threads: Threads,
}

/// How many of the last cells may become part of a find.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Live {
    any: u16,
    sticky: u16,
}

impl Place {
    fn is_idle(&self) -> bool {
        self.node == ROOT && self.threads.count == 0
    }

    fn live(&self, patterns: &Patterns) -> Live {
        let held = |sticky: bool| {
            let threads = self.threads.iter().filter(|t| !sticky || t.is_sticky());
            threads.map(|thread| thread.held).max().unwrap_or(0)
        };
        let said = patterns.trie.says(self.node);
        Live {
            any: held(false).max(said.live),
            sticky: held(true).max(said.stuck),
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Cell {
    /// Where the byte is in the stream.
    at: u64,
    /// May it be replaced? A byte of a control sequence may not.
    free: bool,
    /// So many cells that end here are replaced.
    hidden: u16,
    /// How it looks behind this cell.
    place: Place,
}

#[derive(Debug, Default)]
pub(super) struct View {
    cells: Vec<Cell>,
    /// Cells of the line that the cursor is on.
    line: usize,
    place: Place,
    /// How it looked before the first cell that is remembered.
    before: Place,
    /// Keep the line, because the cursor can go back.
    goes_back: bool,
    /// The cursor has gone back since nothing was going on: what has just broken off may go on once more.
    edited: bool,
    pub steps: u64,
}

impl View {
    pub fn new(goes_back: bool) -> Self {
        Self {
            goes_back,
            ..Self::default()
        }
    }

    /// Has nothing begun?
    pub fn is_idle(&self) -> bool {
        self.place.is_idle()
    }

    /// Can nothing that has begun come back, either?
    pub fn is_over(&self) -> bool {
        let recent = self.cells.iter().rev().take(RETURNS.min(self.line));
        self.is_idle() && recent.map(|cell| &cell.place).all(Place::is_idle)
    }

    pub fn set_edited(&mut self, edited: bool) {
        self.edited = edited;
    }

    /// Starts anew: what is read from here on does not continue what was read.
    pub fn clear(&mut self) {
        self.cells.clear();
        (self.line, self.place, self.before) = (0, Place::default(), Place::default());
    }

    /// What another one sees, as far as it is unfinished.
    pub fn follow(&mut self, patterns: &Patterns, other: &Self) {
        self.clear();
        self.place = other.place;
        let live = usize::from(other.place.live(patterns).any);
        let from = other.cells.len().saturating_sub(live);
        let cells = other.cells.get(from..).unwrap_or_default();
        self.cells.extend_from_slice(cells);
    }

    /// The line ends; its cells can only be continued.
    pub fn end_line(&mut self) {
        self.line = 0;
        if self.is_idle() {
            self.clear();
        }
    }

    /// The cursor goes back on its line.
    pub fn back(&mut self, places: u16) {
        let gone = usize::from(places).min(self.line).min(self.cells.len());
        self.line -= gone;
        self.cells.truncate(self.cells.len() - gone);
        self.place = self.cells.last().map_or(self.before, |cell| cell.place);
        self.steps += 1;
    }

    /// Reads a byte. `hide` is told of every byte that has to be replaced.
    pub fn read(
        &mut self,
        patterns: &Patterns,
        (c, at, free): (u8, u64, bool),
        gap: Gap,
        hide: &mut impl FnMut(u64),
    ) {
        let mut threads = Threads::default();
        let (mut before, mut with) = (0, 0);
        for thread in self.place.threads.iter() {
            self.steps += 1;
            match thread.next(c, gap) {
                Next::Goes(thread) => _ = threads.add(thread),
                Next::Hides(thread, count) => {
                    with = with.max(count);
                    threads.add(thread);
                }
                Next::Ends(count) => with = with.max(count),
                Next::Over(count) => before = before.max(count),
            }
        }
        let (node, steps) = patterns.trie.step(self.place.node, c);
        self.steps += u64::from(steps);
        let said = patterns.trie.says(node);
        with = with.max(said.whole);
        for form in said.opens {
            if !threads.iter().any(|thread| thread.covers(*form)) {
                with = with.max(threads.add(Thread::new(*form)));
            }
        }
        if before > 0 {
            self.hide(before, hide);
        }
        self.place = Place { node, threads };
        self.cells.push(Cell {
            at,
            free,
            hidden: 0,
            place: self.place,
        });
        self.line += 1;
        if with > 0 {
            self.hide(with, hide);
        }
        self.forget();
    }

    /// What is not let go of is replaced.
    pub fn hide_sticky(&mut self, patterns: &Patterns, hide: &mut impl FnMut(u64)) {
        let sticky = self.live(patterns).sticky;
        self.hide(sticky, hide);
    }

    /// Replaces the last `count` cells, each of them once.
    fn hide(&mut self, count: u16, hide: &mut impl FnMut(u64)) {
        let count = usize::from(count).min(self.cells.len());
        let from = self.cells.len() - count;
        let mut end = self.cells.len();
        while end > from {
            self.steps += 1;
            let Some(cell) = self.cells.get(end - 1) else {
                break;
            };
            if cell.hidden > 0 {
                end = end.saturating_sub(usize::from(cell.hidden));
                continue;
            }
            if cell.free {
                hide(cell.at);
            }
            end -= 1;
        }
        let all = self.cells.len() - end.min(from);
        if count > 0
            && let Some(last) = self.cells.last_mut()
        {
            last.hidden = last.hidden.max(u16::try_from(all).unwrap_or(u16::MAX));
        }
    }

    fn live(&self, patterns: &Patterns) -> Live {
        let mut live = self.place.live(patterns);
        if !self.edited {
            return live;
        }
        let recent = self.cells.iter().rev().take(RETURNS.min(self.line));
        for (cell, behind) in recent.zip(0_u16..) {
            let then = cell.place.live(patterns);
            let so_far = |count: u16| if count > 0 { count + behind } else { 0 };
            live.any = live.any.max(so_far(then.any));
            live.sticky = live.sticky.max(so_far(then.sticky));
        }
        live
    }

    /// Where what may become part of a find begins: any of it, and what is not let go of.
    pub fn held(&self, patterns: &Patterns) -> (Option<u64>, Option<u64>) {
        let live = self.live(patterns);
        let at = |count: u16| {
            let first = self.cells.len().saturating_sub(usize::from(count));
            self.cells.get(first).map(|cell| cell.at)
        };
        (at(live.any), at(live.sticky))
    }

    fn forget(&mut self) {
        let keep = if self.goes_back || !self.is_idle() {
            HISTORY
        } else {
            0
        };
        if keep == 0 {
            self.cells.clear();
            self.before = self.place;
        } else if self.cells.len() >= 2 * HISTORY {
            let gone = self.cells.len() - keep;
            if let Some(last) = gone.checked_sub(1).and_then(|i| self.cells.get(i)) {
                self.before = last.place;
            }
            self.cells.drain(..gone);
        }
    }
}
