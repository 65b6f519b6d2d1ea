//! Whole lines of ordinary text, for detectors: no byte of them has to be read by itself.
//!
//! Invariant: what comes out is what reading byte by byte gives. A line with a byte that is more than shown (a
//! sequence that does more than to change the colour, a backspace, a control character of two bytes) is not ordinary.

use bytes::{BufMut, BytesMut};
use detect::{Detectors, Findings, possible};

use super::STAR;
use super::plain::{BLOCK, byte, colour, is_line_end, marks};
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
    let (mut line, mut next) = (0, 0);
    while next < input.len() {
        let block = input.get(next..).unwrap_or_default();
        let block = block.get(..BLOCK).unwrap_or(block);
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
