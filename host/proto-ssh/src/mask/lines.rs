//! Whole lines of ordinary text, for detectors: no byte of them has to be read by itself.
//!
//! Invariant: what comes out is what reading byte by byte gives. A line with a byte that is more than shown (a
//! sequence that does more than to change the colour, a backspace, a control character of two bytes) is not ordinary.

use bytes::{BufMut, BytesMut};
use detect::{Detectors, Findings, possible};

use super::STAR;
use super::plain::{BLOCK, WINDOW, byte, colour, is_line_end, is_simple, marks};
use super::spans::MAX_SPAN;

const ESCAPE: u8 = 0x1B;
/// So much of them is looked at as one, for what most text has nothing of.
const AT_ONCE: usize = 4 << 10;

/// Passes on the lines that `input` begins with, with what is found in them replaced; how many bytes that were.
pub(super) fn pass(on: Detectors, input: &[u8], out: &mut BytesMut) -> usize {
    let whole = input.get(..extent(input)).unwrap_or_default();
    let (mut rest, mut shown) = (whole, Vec::new());
    while !rest.is_empty() {
        let most = rest.get(..AT_ONCE).unwrap_or(rest);
        // Each line is shorter than that.
        let end = most.iter().rposition(|c| is_line_end(*c));
        let (some, behind) = rest.split_at(end.map_or(rest.len(), |end| end + 1));
        judge_all(on, some, &mut shown, out);
        rest = behind;
    }
    whole.len()
}

/// Up to where whole lines of ordinary text go.
fn extent(input: &[u8]) -> usize {
    let (mut line, mut next, mut asked) = (0, 0, 0);
    while let Some(rest) = input.get(next..).filter(|rest| !rest.is_empty()) {
        if next >= asked
            && next + WINDOW - line < MAX_SPAN
            && let Some(window) = rest.first_chunk()
        {
            asked = next + WINDOW;
            if is_simple(window) {
                let end = memchr::memrchr2(b'\n', b'\r', window);
                line = end.map_or(line, |end| next + end + 1);
                next = asked;
                continue;
            }
        }
        let block = rest.get(..BLOCK).unwrap_or(rest);
        let mut marks = marks(block);
        while marks != 0 {
            let place = next + marks.trailing_zeros() as usize;
            marks &= marks - 1;
            match byte(input, place) {
                c if is_line_end(c) && place - line < MAX_SPAN => line = place + 1,
                ESCAPE if colour(input, place).is_some() => {}
                // Marked only in blocks of ASCII: it is text as any other.
                b'\t' => {}
                // A character of two bytes.
                0xC2 if byte(input, place + 1) >= 0xA0 => {}
                _ => return line,
            }
        }
        next += block.len();
        if next - line >= MAX_SPAN {
            return line;
        }
    }
    line
}

/// Lines. What is in none of them is in no text of several, either: what can be found depends on bytes that stand
/// beside each other, and the end of a line is none of those.
///
/// `shown` is room for them without colours.
fn judge_all(on: Detectors, lines: &[u8], shown: &mut Vec<u8>, out: &mut BytesMut) {
    let coloured = memchr::memchr(ESCAPE, lines).is_some();
    let on = match coloured {
        false => possible(on, lines),
        true => possible(on, without_colours(lines, shown)),
    };
    if on.is_empty() {
        return out.put_slice(lines);
    }
    for line in lines.split_inclusive(|c| is_line_end(*c)) {
        judge(on, line, shown, out);
    }
}

/// One line with its end.
fn judge(on: Detectors, line: &[u8], shown: &mut Vec<u8>, out: &mut BytesMut) {
    let start = out.len();
    out.put_slice(line);
    let text = line.get(..line.len().saturating_sub(1)).unwrap_or_default();
    if memchr::memchr(ESCAPE, text).is_some() {
        let own = out.get_mut(start..start + text.len()).unwrap_or_default();
        return judge_coloured(on, without_colours(text, shown), own);
    }
    for find in Findings::new(on, text) {
        let found = out.get_mut(start + find.start..start + find.end);
        star(found.unwrap_or_default());
    }
}

/// The same, where what is shown is not all of it.
fn judge_coloured(on: Detectors, shown: &[u8], line: &mut [u8]) {
    // Up to where the line was passed, in bytes that are shown and in all.
    let (mut seen, mut at) = (0, 0);
    for find in Findings::new(on, shown) {
        while seen < find.end
            && let Some(run) = next_run(line, at)
        {
            let from = find.start.max(seen) - seen;
            let to = (find.end - seen).min(run.len());
            if from < to {
                star(
                    line.get_mut(run.start + from..run.start + to)
                        .unwrap_or_default(),
                );
            }
            if seen + run.len() > find.end {
                break;
            }
            (seen, at) = (seen + run.len(), run.end);
        }
    }
}

fn star(found: &mut [u8]) {
    for c in found {
        // A tab is as wide as it is.
        if *c != b'\t' {
            *c = STAR;
        }
    }
}

/// The bytes of lines that are shown.
fn without_colours<'a>(lines: &[u8], shown: &'a mut Vec<u8>) -> &'a [u8] {
    shown.clear();
    let mut at = 0;
    while let Some(run) = next_run(lines, at) {
        at = run.end;
        shown.extend_from_slice(lines.get(run).unwrap_or_default());
    }
    shown
}

/// The next bytes from here on that are shown, up to a change of colour.
fn next_run(lines: &[u8], mut at: usize) -> Option<std::ops::Range<usize>> {
    while byte(lines, at) == ESCAPE {
        at = colour(lines, at)?;
    }
    let rest = lines.get(at..).filter(|rest| !rest.is_empty())?;
    let end = memchr::memchr(ESCAPE, rest).unwrap_or(rest.len());
    Some(at..at + end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::tests::noise;

    /// Byte by byte.
    fn slowly(input: &[u8]) -> usize {
        let mut line = 0;
        for (place, c) in input.iter().enumerate() {
            let goes_on = match *c {
                c if is_line_end(c) => place - line < MAX_SPAN,
                ESCAPE => colour(input, place).is_some(),
                0xC2 => byte(input, place + 1) >= 0xA0,
                c => c == b'\t' || c >= b' ' && c != 0x7F,
            };
            if !goes_on {
                return line;
            }
            if is_line_end(*c) {
                line = place + 1;
            }
        }
        line
    }

    #[test]
    fn ordinary_lines_go_as_far_as_byte_by_byte() {
        const RARE: &[&[u8]] = &[
            b"\x1b[1m",
            b"\x1b[2A",
            b"\x08",
            b"\x7f",
            b"\xC2\xA7",
            b"\xC2\x85",
            b"\x0b",
            b"\x0c",
            b"\t",
            "é".as_bytes(),
        ];
        let (mut all, mut some) = (0, 0);
        for seed in 0..4_000_u64 {
            let mut dice = noise(seed, 4_000).into_iter().cycle();
            let mut below = |n: usize| {
                (usize::from(dice.next().unwrap()) << 8 | usize::from(dice.next().unwrap())) % n
            };
            let (length, rare) = (1 + below(20_000), [30, 300, 60_000][below(3)]);
            let longest = [10, 100, 1_000, 4_095, 4_200][below(5)];
            let mut text = Vec::new();
            while text.len() < length {
                let line = below(longest + 1);
                text.resize(text.len() + line, b'x');
                text.extend_from_slice([&b"\n"[..], b"\r\n", b"\r", b""][below(4)]);
                if below(rare) < 3 {
                    text.extend_from_slice(RARE[below(RARE.len())]);
                }
            }
            assert_eq!(extent(&text), slowly(&text), "{seed}");
            all += usize::from(extent(&text) + longest > text.len());
            some += usize::from(extent(&text) > 0);
        }
        assert!(all > 200 && some - all > 200, "{all} of {some}");
    }
}
