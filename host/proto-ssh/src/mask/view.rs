//! One way of reading a stream: the bytes that are read, in order, and what has begun among them.
//!
//! Work is linear: a byte is marked once, whatever is found around it, and going back costs what going on did.

use super::patterns::{MAX_WORD, Patterns};
use super::source::{Around, Group, Line};
use super::token::{Gap, Next, Thread, is_alone, is_part};
use super::trie::{ROOT, Said};

/// How much of a line is remembered for a cursor that goes back; no pattern is longer.
pub(super) const HISTORY: usize = MAX_WORD;
/// How far apart terminals have their tabs.
const TAB: u32 = 8;
/// On a line that is being edited, what has broken off is held for so many bytes more.
const RETURNS: usize = 8;
/// Forms that can be unfinished at the same place. Of more one gives way to the next if another one hides all that it
/// would. Otherwise everything is replaced for as long as the form is at most that there was no room for.
const MAX_THREADS: usize = 8;

/// What a view keeps at most, in bytes.
pub(super) const MOST: usize =
    (2 * HISTORY + 2) * (size_of::<Cell>() + MAX_THREADS * size_of::<Thread>());

/// A byte that was read, and how it looked behind it.
#[derive(Debug, Clone, Copy)]
struct Cell {
    /// Where the byte is in the stream.
    at: u64,
    node: u32,
    /// Where on its line the cursor stands behind it.
    column: u32,
    /// Its threads end here among those of all cells.
    threads: u32,
    count: u8,
    /// May it be replaced? A byte of a control sequence may not.
    free: bool,
    /// So many cells that end here are replaced.
    hidden: u16,
}

/// How many of the last cells may become part of a find.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Live {
    any: u16,
    sticky: u16,
}

impl Live {
    /// `ended`: what they stand in is over.
    fn of(said: Said<'_>, threads: &[Thread], ended: bool) -> Self {
        let held = |sticky: bool| {
            let threads = threads.iter().filter(|t| !sticky || t.is_sticky(ended));
            threads.map(|thread| thread.held).max().unwrap_or(0)
        };
        Self {
            any: held(false).max(said.live),
            sticky: held(true).max(said.stuck),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct View {
    cells: Vec<Cell>,
    /// Of all cells, those of one behind those of the one before it; only where the cursor goes back.
    threads: Vec<Thread>,
    /// Cells of the line that the cursor is on.
    line: usize,
    /// So many bytes of a character are to come.
    more: u8,
    /// What has begun.
    node: u32,
    now: Vec<Thread>,
    /// The last bytes that were read, the latest one lowest; zero where nobody knows what the one was, and where
    /// something stood between.
    last: u128,
    /// Room for what comes next.
    next: Vec<Thread>,
    /// How the line begins that is being read, and how those did in which a private key begins. Each key that goes
    /// on has one of these, whatever other keys begin behind it.
    begun: Line,
    leads: [Group; MAX_THREADS],
    last_lead: u8,
    /// Keep the line, because the cursor can go back.
    goes_back: bool,
    /// The cursor has gone back since nothing was going on: what has just broken off may go on once more.
    edited: bool,
    /// So many bytes are replaced, whatever they are.
    blind: u16,
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
        self.node == ROOT && self.now.is_empty() && self.blind == 0
    }

    /// Can nothing that has begun come back, either?
    pub fn is_over(&self) -> bool {
        let recent = self.cells.iter().rev().take(RETURNS.min(self.line));
        self.is_idle() && recent.into_iter().all(|c| c.node == ROOT && c.count == 0)
    }

    pub fn set_edited(&mut self, edited: bool) {
        self.edited = edited;
    }

    /// Starts anew: what is read from here on does not continue what was read.
    pub fn clear(&mut self) {
        self.cells.clear();
        self.threads.clear();
        self.now.clear();
        (self.line, self.node, self.blind) = (0, ROOT, 0);
        self.last = 0;
    }

    /// Something that is not shown stands before what comes next, or stood there and was taken back.
    pub fn apart(&mut self) {
        self.last = 0;
    }

    /// A line begins in what was passed over; or nobody knows how.
    pub fn passed_over(&mut self, whole_lines: bool) {
        self.clear();
        self.begun.begin();
        if !whole_lines {
            self.begun.lose();
        }
    }

    /// What another one sees, as far as it is unfinished.
    pub fn follow(&mut self, patterns: &Patterns, other: &Self) {
        self.clear();
        (self.node, self.begun, self.blind) = (other.node, other.begun, other.blind);
        (self.leads, self.last_lead) = (other.leads, other.last_lead);
        self.last = other.last;
        self.now.extend_from_slice(&other.now);
        let live = Live::of(patterns.trie.says(other.node), &other.now, false).any;
        let from = other.cells.len().saturating_sub(usize::from(live));
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

    /// The cursor goes back on its line: over characters, not bytes, and into a tab, of which a part stays.
    pub fn back(&mut self, places: u16) {
        self.steps += 1;
        let floor = self.cells.len().saturating_sub(self.line);
        let to = self.column().saturating_sub(places.into());
        let (mut left, mut moved) = (self.cells.len(), false);
        while left > floor
            && let Some(here) = self.cells.get(left - 1).map(|cell| cell.column)
            && here > to
        {
            moved = true;
            let before = match left - 1 > floor {
                true => self.cells.get(left - 2).map_or(0, |cell| cell.column),
                false => 0,
            };
            if before < to {
                if let Some(cell) = self.cells.get_mut(left - 1) {
                    cell.column = to;
                }
                break;
            }
            left -= 1;
        }
        if !moved {
            return;
        }
        self.more = 0;
        self.begun.lose();
        self.line -= self.cells.len() - left;
        self.cells.truncate(left);
        self.now.clear();
        self.node = ROOT;
        let mut end = 0;
        if let Some(cell) = self.cells.last() {
            (self.node, end) = (cell.node, cell.threads as usize);
            let from = end.saturating_sub(usize::from(cell.count));
            let threads = self.threads.get(from..end).unwrap_or_default();
            self.now.extend_from_slice(threads);
        }
        self.threads.truncate(end);
    }

    /// Where the cursor stands.
    fn column(&self) -> u32 {
        let last = self.cells.last().filter(|_| self.line > 0);
        last.map_or(0, |cell| cell.column)
    }

    /// Reads a byte. `hide` is told of every byte that has to be replaced.
    pub fn read(
        &mut self,
        patterns: &Patterns,
        (c, at, free): (u8, u64, bool),
        gap: Gap,
        hide: &mut impl FnMut(u64),
    ) {
        if gap != Gap::None {
            self.begun.begin();
            self.last = 0;
        }
        self.begun.push(c);
        // Whether it goes on with what stands before it, nobody knows.
        let edge = match self.last {
            0 if gap == Gap::None => Gap::Wrap,
            _ => gap,
        };
        // A byte of a sequence is no letter of a word.
        self.last = self.last << u8::BITS | u128::from(if free { c } else { 0 });
        let mut with = u16::from(self.is_blind(c));
        if !self.now.is_empty() {
            let before;
            let also;
            (before, also) = self.go_on(c, (gap, edge));
            with = with.max(also);
            self.hide(before, hide);
        }
        let (node, steps) = patterns.trie.step(self.node, c);
        self.steps += u64::from(steps);
        self.node = node;
        if node != ROOT {
            let said = patterns.trie.says(node);
            with = with.max(said.whole);
            for form in said.opens {
                self.open(*form);
            }
        }
        let column = match self.goes_back {
            true => column_behind(self.column(), &mut self.more, c),
            false => 0,
        };
        self.hide_with(with, (at, column, free), hide);
        self.line += 1;
        if !self.goes_back && self.is_idle() {
            self.cells.clear();
        }
        self.forget();
    }

    /// Every form that has begun takes the byte. How much before it, and with it, is replaced.
    fn go_on(&mut self, c: u8, gaps: (Gap, Gap)) -> (u16, u16) {
        let (mut before, mut with) = (0, 0);
        self.next.clear();
        for thread in &self.now {
            self.steps += 1;
            let group = self.leads.get(usize::from(thread.lead));
            let around = Around {
                group: group.unwrap_or(&Group::UNKNOWN),
                line: &self.begun,
            };
            match thread.next(c, gaps, around) {
                Next::Goes(thread) => self.next.push(thread),
                Next::Hides(thread, count) => {
                    with = with.max(count);
                    self.next.push(thread);
                }
                Next::Ends(count) => with = with.max(count),
                Next::Over(count) => before = before.max(count),
            }
        }
        std::mem::swap(&mut self.now, &mut self.next);
        (before, with)
    }

    fn open(&mut self, form: u8) {
        if !is_alone(form, self.last) {
            return;
        }
        let mut thread = Thread::new(form);
        if let Some(prefix) = thread.begins_lines() {
            // Before the place of another key is given away.
            if self.now.len() >= MAX_THREADS {
                self.make_room();
            }
            (thread.lead, thread.open) = self.remember(prefix);
        }
        if self.now.iter().any(|other| other.covers(&thread)) {
            return;
        }
        if self.now.len() >= MAX_THREADS && !self.make_room() {
            self.blind = self.blind.max(thread.most());
            return;
        }
        self.now.push(thread);
    }

    /// Is there room now? What another one outlasts is not needed, the oldest of those first.
    fn make_room(&mut self) -> bool {
        if self.blind > 0 {
            return false;
        }
        self.steps += MAX_THREADS as u64;
        let needless = self.now.iter().enumerate().position(|(i, old)| {
            let others = self.now.iter().enumerate().filter(|(j, _)| i != *j);
            others.into_iter().any(|(_, other)| other.outlasts(old))
        });
        needless.map(|i| self.now.remove(i)).is_some()
    }

    /// Is this byte replaced for want of room?
    fn is_blind(&mut self, c: u8) -> bool {
        let blind = self.blind > 0;
        // What there was no room for may be longer than most.
        if self.blind > 1 || !is_part(c) {
            self.blind = self.blind.saturating_sub(1);
        }
        blind
    }

    /// Where how a key's line begins is kept, and which of its sources this is: with a key of the same source, or in the
    /// place that no key needs and that was given away longest ago.
    fn remember(&mut self, prefix: &[u8]) -> (u8, u16) {
        let (lead, source) = self.begun.before(prefix);
        let most = self.leads.len().to_le_bytes()[0];
        let free = |place: &u8| !self.now.iter().any(|t| t.lead == *place);
        let known = (0_u8..).zip(&self.leads).find(|(_, l)| l.lead == lead);
        let place = known.map_or_else(
            || {
                let mut places = (1..=most).map(|n| (self.last_lead + n) % most);
                // There are as many as threads, and this one is not among them; or one of those gives way to it.
                places.find(free).unwrap_or(self.last_lead)
            },
            |(same, _)| same,
        );
        let (new, unused) = (known.is_none(), free(&place));
        let Some(group) = self.leads.get_mut(usize::from(place)) else {
            return (place, 0);
        };
        if new {
            (*group, self.last_lead) = (Group::new(lead), place);
        } else if unused {
            group.forget();
        }
        (place, group.add(source))
    }

    /// Adds a cell, and replaces the last ones.
    fn hide_with(
        &mut self,
        with: u16,
        (at, column, free): (u64, u32, bool),
        hide: &mut impl FnMut(u64),
    ) {
        if self.goes_back {
            self.threads.extend_from_slice(&self.now);
        }
        self.cells.push(Cell {
            at,
            node: self.node,
            column,
            threads: u32::try_from(self.threads.len()).unwrap_or(u32::MAX),
            count: u8::try_from(self.now.len()).unwrap_or(u8::MAX),
            free,
            hidden: 0,
        });
        self.hide(with, hide);
    }

    /// What is not let go of is replaced. `ended`: a line has, or all of it.
    pub fn hide_sticky(&mut self, patterns: &Patterns, ended: bool, hide: &mut impl FnMut(u64)) {
        let sticky = self.live(patterns, ended).sticky;
        self.hide(sticky, hide);
    }

    /// Replaces the last `count` cells, each of them once.
    fn hide(&mut self, count: u16, hide: &mut impl FnMut(u64)) {
        if count == 0 {
            return;
        }
        let from = self.cells.len().saturating_sub(usize::from(count));
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
        if let Some(last) = self.cells.last_mut() {
            last.hidden = last.hidden.max(u16::try_from(all).unwrap_or(u16::MAX));
        }
    }

    fn live(&self, patterns: &Patterns, ended: bool) -> Live {
        let mut live = Live::of(patterns.trie.says(self.node), &self.now, ended);
        if !self.edited {
            return live;
        }
        let recent = self.cells.iter().rev().take(RETURNS.min(self.line));
        for (cell, behind) in recent.zip(0_u16..) {
            let end = cell.threads as usize;
            let from = end.saturating_sub(usize::from(cell.count));
            let threads = self.threads.get(from..end).unwrap_or_default();
            let then = Live::of(patterns.trie.says(cell.node), threads, ended);
            let so_far = |count: u16| if count > 0 { count + behind } else { 0 };
            live.any = live.any.max(so_far(then.any));
            live.sticky = live.sticky.max(so_far(then.sticky));
        }
        live
    }

    /// Where what may become part of a find begins: any of it, and what is not let go of.
    pub fn held(&self, patterns: &Patterns) -> (Option<u64>, Option<u64>) {
        let live = self.live(patterns, false);
        // What has been replaced already is not held any longer.
        let hidden = self.cells.last().map_or(0, |cell| cell.hidden);
        let at = |count: u16| {
            let count = if count > hidden { count } else { 0 };
            let first = self.cells.len().saturating_sub(usize::from(count));
            self.cells.get(first).map(|cell| cell.at)
        };
        (at(live.any), at(live.sticky))
    }

    /// How much is kept, in bytes.
    pub fn remembered(&self) -> usize {
        let threads = self.threads.len() + self.now.len() + self.next.len();
        self.cells.len() * size_of::<Cell>() + threads * size_of::<Thread>()
    }

    /// No more cells are kept than a pattern can have, give or take.
    fn forget(&mut self) {
        if self.cells.len() < 2 * HISTORY {
            return;
        }
        let gone = self.cells.len() - HISTORY;
        let last = gone.checked_sub(1).and_then(|i| self.cells.get(i));
        let threads = last.map_or(0, |cell| cell.threads);
        self.cells.drain(..gone);
        self.threads
            .drain(..(threads as usize).min(self.threads.len()));
        for cell in &mut self.cells {
            cell.threads = cell.threads.saturating_sub(threads);
        }
        self.line = self.line.min(self.cells.len());
    }
}

/// Where a cursor at this column stands behind this byte; `more` bytes of a character are to come.
pub(super) fn column_behind(column: u32, more: &mut u8, c: u8) -> u32 {
    if let (0x80..=0xBF, Some(left)) = (c, more.checked_sub(1)) {
        *more = left;
        return column;
    }
    *more = match c {
        0xC2..=0xDF => 1,
        0xE0..=0xEF => 2,
        0xF0..=0xF4 => 3,
        _ => 0,
    };
    match c {
        b'\t' => (column / TAB + 1).saturating_mul(TAB),
        _ => column.saturating_add(1),
    }
}
