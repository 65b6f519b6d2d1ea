//! Passes over what is no text, many bytes at a time.
//!
//! Every block is judged by itself, whatever came before it: text behind such data is text again. In a block that is
//! no text only what stands in one piece is found. Escape sequences, backspaces and the ends of lines have no
//! meaning there, so nothing is looked for around them.

use bytes::{BufMut, BytesMut};
use detect::{Detector, Detectors, Findings, Found};

use super::STAR;
use super::guard;
use super::patterns::Patterns;
use super::plain::{self, Jump};

/// What is judged by itself.
pub(super) const BLOCK: usize = 256;
/// In such a block at least one byte of so many is a control character that text has no use for. Texts in other
/// encodings than UTF-8 have none. NUL does not count: text of two bytes for each character has it, and is read.
const CONTROL_IN: usize = 32;
/// And one of so many breaks UTF-8. Text that somebody strews control characters into does not.
pub(super) const BROKEN_IN: usize = 8;
/// No detector finds anything shorter (`a@b.co`).
const LEAST_SHOWN: usize = 6;
/// What is judged as one line has at least so many, or is text.
const LEAST_LINE: usize = 32;
/// Of random bytes, one in every few tens of MiB begins an address; one of so many characters, in several GiB.
const LEAST_ADDRESS: usize = 10;

/// From `at` on, behind which nothing has begun: where reading byte by byte goes on. None: it is to be read as text.
pub(super) fn jump(
    patterns: &Patterns,
    input: &[u8],
    at: usize,
    found: &mut Vec<usize>,
) -> Option<Jump> {
    let hit = patterns.look(input, at, found).min(input.len());
    let end = at + extent(input.get(at..hit).unwrap_or_default());
    if end == at {
        return None;
    }
    // What begins before the end may go on behind it, and not in one piece.
    let from = end.saturating_sub(patterns.longest_head + 1).max(at);
    Some(Jump {
        from,
        until: end,
        looked: end - at,
    })
}

/// Passes on what `input` begins with, as far as it is no text, with what is found in shown pieces of it replaced; how
/// many bytes that were. The last piece is left where what follows may go on with it.
pub(super) fn pass(on: Detectors, input: &[u8], out: &mut BytesMut) -> usize {
    let blocks = input.get(..extent(input)).unwrap_or_default();
    let end = blocks.iter().rposition(|c| !is_shown(*c));
    let some = blocks.get(..end.map_or(0, |end| end + 1));
    let some = some.unwrap_or_default();
    let start = out.len();
    out.put_slice(some);
    hide(on, out.get_mut(start..).unwrap_or_default());
    some.len()
}

/// Replaces what is found in shown pieces.
pub(super) fn hide(on: Detectors, text: &mut [u8]) {
    let mut at = 0;
    while let Some(piece) = next_shown(text, at) {
        at = piece.end;
        let start = piece.start;
        let shown = text.get(piece).unwrap_or_default();
        let is_likely = |find: &Found| {
            let found = shown.get(find.start..find.end);
            find.what != Detector::Email || found.is_some_and(is_address)
        };
        let finds: Vec<Found> = Findings::new(on, shown).filter(is_likely).collect();
        for find in finds {
            let found = text.get_mut(start + find.start..start + find.end);
            for c in found.into_iter().flatten() {
                // A tab is as wide as it is.
                if *c != b'\t' {
                    *c = STAR;
                }
            }
        }
    }
}

/// Is it more than chance makes one? What its last label is written in is letters of one case.
pub(super) fn is_address(found: &[u8]) -> bool {
    let last = found.rsplit(|c| *c == b'.').next().unwrap_or_default();
    let both = last.iter().any(u8::is_ascii_lowercase) && last.iter().any(u8::is_ascii_uppercase);
    found.len() >= LEAST_ADDRESS && !both
}

/// Is a line as little text as such a block?
pub(super) fn is_line(line: &[u8]) -> bool {
    let controls = line.iter().filter(|c| guard::is_odd(**c) && **c != 0);
    let pairs = line.iter().zip(line.iter().skip(1));
    line.len() >= LEAST_LINE
        && controls.count() * CONTROL_IN >= line.len()
        && pairs
            .map(|(a, b)| usize::from(breaks(*a, *b)))
            .sum::<usize>()
            * BROKEN_IN
            >= line.len()
}

/// How far blocks go that are no text.
fn extent(input: &[u8]) -> usize {
    let (blocks, _) = input.as_chunks::<BLOCK>();
    BLOCK * blocks.iter().take_while(|block| is_noise(block)).count()
}

fn is_noise(block: &[u8; BLOCK]) -> bool {
    // Counted without branches, so that the processor takes many bytes at a time.
    let mut controls = 0;
    for part in block.as_chunks::<{ BLOCK / 2 }>().0 {
        let flags = part.iter().map(|c| u8::from(guard::is_odd(*c) & (*c != 0)));
        controls += usize::from(flags.fold(0_u8, u8::wrapping_add));
    }
    if controls * CONTROL_IN < BLOCK {
        return false;
    }
    let pairs = block.iter().zip(block.iter().skip(1));
    // One less than a block has bytes, so that it fits.
    let broken = pairs.fold(0_u8, |all, (a, b)| all.wrapping_add(breaks(*a, *b)));
    usize::from(broken) * BROKEN_IN >= BLOCK
}

/// Can `b` not follow on `a` in UTF-8, or is `a` in none? Not all of what is wrong, and nothing that is right.
fn breaks(a: u8, b: u8) -> u8 {
    let continues = b & 0xC0 == 0x80;
    let never = (a & 0xFE == 0xC0) | (a >= 0xF5);
    let leads = a >= 0xC0;
    u8::from(never | (leads & !continues) | ((a < 0x80) & continues))
}

fn is_shown(c: u8) -> bool {
    (b' '..0x7F).contains(&c) | (c == b'\t')
}

/// The next run of shown bytes from `at` on that is long enough to hold anything.
fn next_shown(text: &[u8], mut at: usize) -> Option<std::ops::Range<usize>> {
    const _: () = assert!(LEAST_SHOWN == 6);
    while at < text.len() {
        let (low, high) = (shown_at(text, at), shown_at(text, at + plain::BLOCK));
        let two = u128::from(low) | u128::from(high) << plain::BLOCK;
        let pairs = two & two >> 1;
        let six = pairs & pairs >> 2 & pairs >> 4;
        // The low half: behind it, the next turn looks.
        let starts = six & u128::from(u64::MAX);
        if starts != 0 {
            let start = at + starts.trailing_zeros() as usize;
            let rest = text.get(start..).unwrap_or_default();
            let end = rest.iter().position(|c| !is_shown(*c));
            return Some(start..end.map_or(text.len(), |end| start + end));
        }
        at += plain::BLOCK;
    }
    None
}

/// Which bytes of a block are shown; what is behind the end is not.
fn shown_at(text: &[u8], at: usize) -> u64 {
    let rest = text.get(at..).unwrap_or_default();
    match rest.first_chunk::<{ plain::BLOCK }>() {
        Some(block) => plain::gather(block.map(|c| u8::from(is_shown(c)))),
        None => rest
            .iter()
            .zip(0_u32..)
            .fold(0, |all, (c, i)| all | u64::from(is_shown(*c)) << i),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_no_text_is_passed_over() {
        let noise = crate::mask::tests::noise(7, 64 * BLOCK);
        assert_eq!(extent(&noise), noise.len());
        assert_eq!(extent(&noise[..BLOCK - 1]), 0);
        let cyrillic: Vec<u8> = (0xC0..=0xFF).cycle().take(4 * BLOCK).collect();
        let wide: Vec<u8> = "wide characters "
            .bytes()
            .cycle()
            .take(2 * BLOCK)
            .flat_map(|c| [c, 0])
            .collect();
        let strewn: Vec<u8> = b"s\x01e\x01c\x01r\x01".repeat(BLOCK);
        let chinese = "\u{6f22}\u{5b57}\x01".repeat(BLOCK);
        let zeros = vec![0; 4 * BLOCK];
        let ones = vec![1; 4 * BLOCK];
        for text in [
            &cyrillic[..],
            &wide,
            &strewn,
            chinese.as_bytes(),
            &zeros,
            &ones,
            &b"plain text\n".repeat(BLOCK),
        ] {
            assert_eq!(extent(text), 0, "{:?}", &text[..16]);
        }
        // It ends with the last block that is none.
        let both = [&noise[..], &b"plain text\n".repeat(BLOCK)].concat();
        assert_eq!(extent(&both), noise.len());
    }

    #[test]
    fn runs_are_those_of_a_simple_search() {
        let mut dice = crate::mask::tests::noise(3, 200_000).into_iter();
        let mut any = 0;
        for length in (0..400).chain([5_000]) {
            let text: Vec<u8> = (0..length)
                .map(|_| match dice.next().unwrap() {
                    c @ 0..=200 => b' ' + c % 90,
                    _ => 0x80,
                })
                .collect();
            let mut expect = Vec::new();
            let mut start = 0;
            for end in 0..=text.len() {
                if text.get(end).is_none_or(|c| !is_shown(*c)) {
                    expect.extend((end - start >= LEAST_SHOWN).then_some(start..end));
                    start = end + 1;
                }
            }
            let mut at = 0;
            let runs: Vec<_> = std::iter::from_fn(|| {
                let run = next_shown(&text, at)?;
                at = run.end;
                Some(run)
            })
            .collect();
            any += runs.len();
            assert_eq!(runs, expect);
        }
        assert!(any > 1_000, "{any}");
    }
}
