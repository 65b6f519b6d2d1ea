//! Passes over text in which nothing begins, many bytes at a time.
//!
//! Invariant: what it passes over would have been let go of byte by byte, too. A pattern begins either in one piece,
//! which the searchers find, or around a place where something stands between its bytes: every such place
//! is looked at.

use super::patterns::Patterns;
use super::view::HISTORY;

/// Less is read byte by byte.
pub(super) const LEAST: usize = 256;
const BLOCK: usize = 32;

/// Where reading byte by byte begins, and up to where at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Jump {
    pub from: usize,
    pub until: usize,
}

/// From `at` on, behind which nothing has begun.
pub(super) fn jump(
    patterns: &Patterns,
    input: &[u8],
    at: usize,
    columns: u16,
    found: &mut Vec<usize>,
) -> Jump {
    let hit = patterns.look(input, at, found).min(input.len());
    let stop = |place: usize, until: usize| Jump {
        from: rewind(input, at, place, patterns.longest_head),
        until: until.max(place + 1).min(input.len()),
    };
    let mut next = at;
    while let Some(place) = special(input, next, hit) {
        let c = byte(input, place);
        match c {
            b'\n' | b'\r' => {
                let behind = gap_end(input, place);
                let after = byte(input, behind);
                let joins = |back: usize| {
                    let before = place.checked_sub(back).filter(|i| *i >= at);
                    before.is_some_and(|i| patterns.joins(byte(input, i), after))
                };
                // On a terminal a full line may end with a space that is not seen.
                if joins(1) || (columns > 0 && joins(2)) {
                    return stop(place, behind + 1);
                }
                next = behind;
            }
            0xC2 if matches!(byte(input, place + 1), 0xA0..) => next = place + 1,
            _ => return stop(place, place + 1),
        }
    }
    stop(hit, hit + 1)
}

fn byte(input: &[u8], at: usize) -> u8 {
    input.get(at).copied().unwrap_or(0)
}

fn gap_end(input: &[u8], at: usize) -> usize {
    let rest = input.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|c| is_line_end(**c)).count()
}

fn is_line_end(c: u8) -> bool {
    matches!(c, 0x0A..=0x0D)
}

/// Back to where the line of `place` begins, for a cursor that goes back on it, and at least over so much as a
/// pattern needs to begin with.
fn rewind(input: &[u8], floor: usize, place: usize, head: usize) -> usize {
    let before = input.get(floor..place).unwrap_or_default();
    let line = before.iter().rev().take(HISTORY);
    let line = place - line.take_while(|c| !is_line_end(**c)).count();
    let (mut seen, mut at) = (0, place);
    for c in before.iter().rev() {
        // One more, for a space at the end of a line.
        if seen > head {
            break;
        }
        at -= 1;
        seen += usize::from(!is_line_end(*c));
    }
    at.min(line)
}

/// The next byte that does not simply stand beside the one before it.
fn special(input: &[u8], from: usize, to: usize) -> Option<usize> {
    let mut at = from;
    let mut blocks = input.get(from..to)?.chunks_exact(BLOCK);
    for block in &mut blocks {
        let any = block.iter().fold(false, |any, c| any | is_special(*c));
        if any {
            return Some(at + block.iter().position(|c| is_special(*c))?);
        }
        at += BLOCK;
    }
    let place = blocks.remainder().iter().position(|c| is_special(*c))?;
    Some(at + place)
}

fn is_special(c: u8) -> bool {
    (c < 0x20 && c != b'\t') | (c == 0x7F) | (c == 0xC2)
}
