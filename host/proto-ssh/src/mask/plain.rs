//! Passes over text in which nothing begins, many bytes at a time.
//!
//! Invariant: what it passes over would have been let go of byte by byte, too. What a pattern is found by stands either
//! in one piece, which the searchers find, or around a place where something stands between its bytes: every such place
//! is looked at. Reading goes back from there to where the pattern can begin. A byte that belongs to the one before it
//! (0xC2) is looked at as if it stood between.

use super::patterns::Patterns;
use super::view::HISTORY;

/// Less is read byte by byte.
pub(super) const LEAST: usize = 256;
/// As many as a word has bits.
pub(super) const BLOCK: usize = 64;
/// So much is looked at as one, in parts of this size, for what lines have nothing of but their ends.
pub(super) const WINDOW: usize = 1024;
const PART: usize = 256;
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
    // Where what stands in one piece begins.
    let (mut next, mut run) = (at, at);
    while next < hit {
        let block = input.get(next..hit.min(next + BLOCK)).unwrap_or_default();
        let (start, mut marks) = (next, marks(block));
        next += block.len();
        while marks != 0 {
            let place = start + marks.trailing_zeros() as usize;
            // Marked only in blocks of ASCII: it is text as any other.
            if byte(input, place) == b'\t' {
                marks &= marks - 1;
                continue;
            }
            let behind = match passed(input, place) {
                Ok(behind) => behind,
                Err(other) => return stop(place, other + 1),
            };
            let after = byte(input, behind);
            let before = input.get(run..place).unwrap_or_default();
            let joins = |before: &[u8]| patterns.joins(before, after, next_to(input, behind));
            // On a terminal a full line may end with a space that is not seen.
            let full = before.strip_suffix(b" ").filter(|_| columns > 0);
            if joins(before) || full.is_some_and(|before| before.is_empty() || joins(before)) {
                return stop(place, behind + 1);
            }
            run = behind;
            next = next.max(behind);
            marks = match u32::try_from(behind - start) {
                Ok(seen) if seen < u64::BITS => marks & (u64::MAX << seen),
                _ => 0,
            };
        }
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
            0xC2 => break,
            _ if is_special(c) => return Err(at),
            _ => break,
        }
    }
    Ok(at)
}

/// Behind a sequence that changes the colour, or clears the rest of the line.
pub(super) fn colour(input: &[u8], at: usize) -> Option<usize> {
    let rest = input.get(at..)?.strip_prefix(b"\x1b[")?;
    let numbers = rest.iter().take(COLOUR);
    let numbers = numbers
        .take_while(|c| matches!(c, b'0'..=b'9' | b';'))
        .count();
    matches!(rest.get(numbers), Some(b'm' | b'K')).then_some(at + numbers + 3)
}

/// What stands beside the byte at `at`, if nothing can stand between: a space may not be seen.
fn next_to(input: &[u8], at: usize) -> Option<u8> {
    let next = input.get(at + 1).copied();
    next.filter(|c| !is_special(*c) && !matches!(c, b' ' | b'\t') && !is_special(byte(input, at)))
}

pub(super) fn byte(input: &[u8], at: usize) -> u8 {
    input.get(at).copied().unwrap_or(0)
}

pub(super) fn is_line_end(c: u8) -> bool {
    matches!(c, 0x0A..=0x0D)
}

/// Back to where the line of `place` begins, for a cursor that goes back on it, and from there at least over so much as
/// a pattern needs to begin with: what goes on on that line may do so where the cursor has gone back to.
fn rewind(input: &[u8], floor: usize, place: usize, head: usize) -> usize {
    let (mut seen, mut at, mut line) = (0, place, None);
    while at > floor {
        let c = byte(input, at - 1);
        if is_line_end(c) {
            // Twice as many as it needs, for spaces at the ends of lines, however narrow these are.
            if seen - *line.get_or_insert(seen) > 2 * head {
                break;
            }
        }
        if seen > HISTORY + 2 * head {
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

/// Has it nothing that [`marks`] marks but `\n` and `\r` (and tabs, which are text as any other)?
pub(super) fn is_simple(window: &[u8; WINDOW]) -> bool {
    let ordinary = |c: u8| (c & !4 == b'\t') | (c == b'\n');
    // Without branches in a part, as in `marks`; a part is enough to say no.
    let is_simple = |part: &[u8; PART]| match part.is_ascii() {
        true => part.iter().fold(0, |all, c| {
            all | u8::from((c.wrapping_add(1).cast_signed() <= 0x20) & !ordinary(*c))
        }),
        false => part
            .iter()
            .fold(0, |all, c| all | u8::from(is_special(*c) & !ordinary(*c))),
    };
    window.as_chunks().0.iter().all(|part| is_simple(part) == 0)
}

/// Which bytes of a block do not simply stand beside those before them: one bit each, the first one lowest.
pub(super) fn marks(block: &[u8]) -> u64 {
    let Ok(block) = <&[u8; BLOCK]>::try_from(block) else {
        let marks = block.iter().zip(0_u32..);
        return marks.fold(0, |all, (c, i)| all | u64::from(is_special(*c)) << i);
    };
    // Of plain ASCII one comparison tells: what is below a space, or the last of all, which wraps around.
    gather(match block.is_ascii() {
        true => block.map(|c| u8::from(c.wrapping_add(1).cast_signed() <= 0x20)),
        false => block.map(|c| u8::from(is_special(c))),
    })
}

/// Of flags that are one or zero, one bit each, the first one lowest.
pub(super) fn gather(flags: [u8; BLOCK]) -> u64 {
    /// Gathers the lowest bits of eight bytes.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let words = flags.as_chunks::<8>().0.iter();
    let bits = words.map(|word| u64::from_le_bytes(*word).wrapping_mul(GATHER) >> 56);
    bits.zip(0_u32..)
        .fold(0, |all, (bits, i)| all | bits << (8 * i))
}

fn is_special(c: u8) -> bool {
    ((c < 0x20) & (c != b'\t')) | (c == 0x7F) | (c == 0xC2)
}
