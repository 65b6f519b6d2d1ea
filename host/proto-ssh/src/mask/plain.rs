//! Passes over text in which nothing begins, many bytes at a time.
//!
//! Invariant: what it passes over would have been let go of byte by byte, too. A pattern begins either in one piece,
//! which the searchers find, or around a place where something stands between its bytes: every such place
//! is looked at. A byte that belongs to the one before it (0xC2) is looked at as if it stood between.

use super::patterns::Patterns;
use super::view::HISTORY;

/// Less is read byte by byte.
pub(super) const LEAST: usize = 256;
const BLOCK: usize = 32;
/// The longest numbers of a colour.
const COLOUR: usize = 24;

/// Where reading byte by byte begins, and up to where at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Jump {
    pub from: usize,
    pub until: usize,
    /// How far it has looked.
    pub looked: usize,
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
        looked: until.max(place + 1) - at,
    };
    let mut next = at;
    while let Some(place) = special(input, next, hit) {
        let behind = match passed(input, place) {
            Ok(behind) => behind,
            Err(other) => return stop(place, other + 1),
        };
        let after = byte(input, behind);
        let joins = |back: usize| {
            let before = place.checked_sub(back).filter(|i| *i >= next);
            before.is_some_and(|i| patterns.joins(byte(input, i), after))
        };
        // On a terminal a full line may end with a space that is not seen.
        if joins(1) || (columns > 0 && joins(2)) {
            return stop(place, behind + 1);
        }
        next = behind;
    }
    stop(hit, hit + 1)
}

/// Where the text goes on behind ends of lines and changes of colour, or behind a byte that is none of these. An
/// error: up to this place, it has to be read byte by byte.
fn passed(input: &[u8], place: usize) -> Result<usize, usize> {
    let mut at = place;
    while let Some(&c) = input.get(at) {
        match c {
            0x0A..=0x0D => at += 1,
            0x1B => at = colour(input, at).ok_or(at)?,
            // A character of two bytes, but for control characters.
            0xC2 if byte(input, at + 1) < 0xA0 => return Err(at),
            0xC2 if at == place => return Ok(at + 1),
            0xC2 | b'\t' => break,
            _ if is_special(c) => return Err(at),
            _ => break,
        }
    }
    Ok(at)
}

/// Behind a sequence that changes the colour, or clears the rest of the line.
fn colour(input: &[u8], at: usize) -> Option<usize> {
    let rest = input.get(at..)?.strip_prefix(b"\x1b[")?;
    let numbers = rest.iter().take(COLOUR);
    let numbers = numbers
        .take_while(|c| matches!(c, b'0'..=b'9' | b';'))
        .count();
    matches!(rest.get(numbers), Some(b'm' | b'K')).then_some(at + numbers + 3)
}

fn byte(input: &[u8], at: usize) -> u8 {
    input.get(at).copied().unwrap_or(0)
}

fn is_line_end(c: u8) -> bool {
    matches!(c, 0x0A..=0x0D)
}

/// Back to where the line of `place` begins, for a cursor that goes back on it, and at least over so much as a
/// pattern needs to begin with.
fn rewind(input: &[u8], floor: usize, place: usize, head: usize) -> usize {
    let (mut seen, mut at) = (0, place);
    while at > floor {
        let c = byte(input, at - 1);
        // One more than it needs, for a space at the end of a line.
        if seen > HISTORY || (seen > head && is_line_end(c)) {
            break;
        }
        if let Some(escape) = colour_before(input, floor, at) {
            at = escape;
            continue;
        }
        at -= 1;
        seen += usize::from(!is_line_end(c));
    }
    at
}

/// Where a sequence begins that ends here, as [`colour`] has passed it.
fn colour_before(input: &[u8], floor: usize, end: usize) -> Option<usize> {
    let before = input.get(floor..end)?;
    let (b'm' | b'K', before) = before.split_last()? else {
        return None;
    };
    let numbers = before.iter().rev().take(COLOUR);
    let numbers = numbers
        .take_while(|c| matches!(c, b'0'..=b'9' | b';'))
        .count();
    let before = before.get(..before.len() - numbers)?;
    Some(floor + before.strip_suffix(b"\x1b[")?.len())
}

/// The next byte that does not simply stand beside the one before it.
fn special(input: &[u8], from: usize, to: usize) -> Option<usize> {
    let (blocks, rest) = input.get(from..to)?.as_chunks::<BLOCK>();
    let mut at = from;
    for block in blocks {
        // Tabs are few, and looked at again.
        let any = block.iter().fold(false, |any, c| any | may_be_special(*c));
        if any && let Some(place) = first(block) {
            return Some(at + place);
        }
        at += BLOCK;
    }
    let place = rest.iter().position(|c| is_special(*c))?;
    Some(at + place)
}

/// Of a block, eight bytes at a time.
fn first(block: &[u8; BLOCK]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const TOPS: u64 = 0x8080_8080_8080_8080;
    let below = |x: u64, n: u64| x.wrapping_sub(ONES * n) & !x & TOPS;
    for (i, word) in block.as_chunks::<8>().0.iter().enumerate() {
        let x = u64::from_le_bytes(*word);
        let mut any = below(x, 0x20) | below(x ^ (ONES * 0x7F), 1) | below(x ^ (ONES * 0xC2), 1);
        while any != 0 {
            let place = any.trailing_zeros() as usize / 8;
            // Behind one that is found others may only seem to be, and tabs are not meant.
            if word.get(place).is_some_and(|c| is_special(*c)) {
                return Some(i * 8 + place);
            }
            any &= any - 1;
        }
    }
    None
}

fn may_be_special(c: u8) -> bool {
    (c < 0x20) | (c == 0x7F) | (c == 0xC2)
}

fn is_special(c: u8) -> bool {
    may_be_special(c) & (c != b'\t')
}
