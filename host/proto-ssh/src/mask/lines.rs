//! Whole lines of ordinary text, for detectors: no byte of them has to be read by itself.
//!
//! Invariant: what comes out is what reading byte by byte gives. A line with a byte that is more than shown (a
//! sequence, a backspace, 0xC2, whose meaning the next byte decides) is not ordinary.

use bytes::{BufMut, BytesMut};
use detect::{Detectors, Findings, possible};

use super::STAR;
use super::plain::{BLOCK, is_line_end, marks};
use super::spans::MAX_SPAN;

/// So much of them is looked at as one, for what most text has nothing of.
const AT_ONCE: usize = 4 << 10;

/// Passes on the lines that `input` begins with, with what is found in them replaced; how many bytes that were.
pub(super) fn pass(on: Detectors, input: &[u8], out: &mut BytesMut) -> usize {
    let whole = input.get(..extent(input)).unwrap_or_default();
    let mut rest = whole;
    while !rest.is_empty() {
        let most = rest.get(..AT_ONCE).unwrap_or(rest);
        // Each line is shorter than that.
        let end = most.iter().rposition(|c| is_line_end(*c));
        let (some, behind) = rest.split_at(end.map_or(rest.len(), |end| end + 1));
        judge_all(on, some, out);
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
            let ends = input.get(place).is_some_and(|c| is_line_end(*c));
            if !ends || place - line >= MAX_SPAN {
                return line;
            }
            line = place + 1;
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
fn judge_all(on: Detectors, lines: &[u8], out: &mut BytesMut) {
    let on = possible(on, lines);
    if on.is_empty() {
        return out.put_slice(lines);
    }
    for line in lines.split_inclusive(|c| is_line_end(*c)) {
        judge(on, line, out);
    }
}

/// One line with its end.
fn judge(on: Detectors, line: &[u8], out: &mut BytesMut) {
    let start = out.len();
    out.put_slice(line);
    let text = line.get(..line.len().saturating_sub(1)).unwrap_or_default();
    for find in Findings::new(on, text) {
        let found = out.get_mut(start + find.start..start + find.end);
        for c in found.into_iter().flatten() {
            // A tab is as wide as it is.
            if *c != b'\t' {
                *c = STAR;
            }
        }
    }
}
