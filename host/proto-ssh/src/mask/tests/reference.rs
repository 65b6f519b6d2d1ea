//! The masker against a reference that reads everything at once and tries every pattern at every place.

use super::super::patterns::words;
use super::super::token::STICKY;
use super::*;

/// Small, fast, and the same in every run.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % n
    }
}

/// A part of a stream, and what it is.
#[derive(Clone, Copy)]
enum Part {
    Shown(&'static str),
    /// A sequence that shows nothing and moves nothing.
    Hidden(&'static str),
    Line(&'static str),
    Back,
}

use Part::{Back, Hidden, Line, Shown};

const PARTS: &[Part] = &[
    Shown("secret-one-1"),
    Shown("secret-"),
    Shown("one"),
    Shown("-1"),
    Shown("s"),
    Shown("one-1secret"),
    Shown("aaaaaaaa"),
    Shown("a"),
    Shown("ghp_"),
    Shown("gh"),
    Shown("p_"),
    Shown("0123456789abcdefghij"),
    Shown("ABCDEFGHIJ012345"),
    Shown("0123456789abcdefghijABCDEFGHIJ012345"),
    Shown("AKIA"),
    Shown("AK"),
    Shown("IOSFODNN7"),
    Shown("EXAMPLE"),
    Shown("eyJ"),
    Shown("eyJhbGciOiJIUzI1NiJ9"),
    Shown("."),
    Shown(".eyJzdWIi"),
    Shown("xoxb-"),
    Shown("glpat-"),
    Shown("AIza"),
    Shown("x"),
    Shown("X"),
    Shown(" "),
    Shown("\t"),
    Shown("-"),
    Shown("user\t"),
    Shown("passw0rd!"),
    Shown("\u{e9}"),
    Shown("\u{a7}"),
    Shown("an ordinary sentence with words in it, "),
    Hidden("\x1b[31m"),
    Hidden("\x1b[0m"),
    Hidden("\x1b(B"),
    Hidden("\0"),
    Hidden("\x1b]0;t\x07"),
    Hidden("\u{9b}1m"),
    Line("\n"),
    Line("\r\n"),
    Line("\n\n"),
    Back,
];

const SECRETS: &[&str] = &[
    "secret-one-1",
    "one-1secret",
    "aaaaaaaa",
    "\u{e9}\u{a7} x-xX",
    "user\tpassw0rd!",
];

/// A shown byte: what, where, whether a line ends before it, and whether that or a sequence or what was taken back does.
type Cell = (u8, usize, bool, bool);

/// Every byte by hand: no automaton, no state but what is written down.
fn reference(parts: &[Part], words: &[Vec<u8>]) -> Vec<u8> {
    let mut input = Vec::new();
    let (mut stripped, mut edited): (Vec<Cell>, Vec<Cell>) = (Vec::new(), Vec::new());
    // Edited readings are compared whenever something is taken back, and at the end.
    let mut readings: Vec<(Vec<Cell>, bool)> = Vec::new();
    // Where the cursor stands behind each byte of its line.
    let (mut gap, mut apart, mut line) = (false, false, Vec::<usize>::new());
    for part in parts {
        match part {
            Shown(text) => {
                for c in text.bytes() {
                    let cell = (c, input.len(), gap, gap || apart);
                    stripped.push(cell);
                    edited.push(cell);
                    (gap, apart) = (false, false);
                    input.push(c);
                    let column = line.last().copied().unwrap_or(0);
                    line.push(match c {
                        b'\t' => (column / 8 + 1) * 8,
                        0x80..=0xBF => column,
                        _ => column + 1,
                    });
                }
            }
            Hidden(text) => {
                apart = true;
                input.extend_from_slice(text.as_bytes());
            }
            Line(text) => {
                input.extend_from_slice(text.as_bytes());
                (gap, line) = (true, Vec::new());
            }
            Back => {
                readings.push((edited.clone(), false));
                apart = true;
                input.push(8);
                let to = line.last().map_or(0, |column| column - 1);
                while let Some(here) = line.pop_if(|here| *here > to) {
                    if line.last().copied().unwrap_or(0) < to {
                        line.push(to);
                        assert!(here > to);
                        break;
                    }
                    edited.pop();
                }
            }
        }
    }
    readings.push((edited, true));
    readings.push((stripped, true));
    let mut out = input.clone();
    for (cells, last) in readings {
        for at in found(&cells, words, last) {
            let (c, place, ..) = cells[at];
            // What moves the cursor goes on to do so.
            out[place] = if c == b'\t' { c } else { b'*' };
        }
    }
    // What is whole in the bytes as they are, is whole; sequences of this test hold no secret.
    out
}

/// Indexes of cells that are replaced. What is not behind the last cell of a reading is not known there, so what has
/// to stand alone is only found where something follows, or everything is over.
fn found(cells: &[Cell], words: &[Vec<u8>], last: bool) -> Vec<usize> {
    let mut out = Vec::new();
    // One that begins inside of one of the same form says nothing new, and ends with it.
    let mut ends = vec![0; detect::TOKENS.len()];
    for start in 0..cells.len() {
        let rest = &cells[start..];
        let begins = |word: &[u8]| {
            word.len() <= rest.len() && word.iter().zip(rest).all(|(a, (b, ..))| a == b)
        };
        for word in words {
            if begins(word) {
                out.extend(start..start + word.len());
            }
            let sticky = 8.min(word.len() / 2);
            if last
                && rest.len() >= sticky
                && rest.len() < word.len()
                && begins(&word[..rest.len()])
            {
                out.extend(start..cells.len());
            }
        }
        for (token, end) in detect::TOKENS.iter().zip(&mut ends) {
            let from = start + token.prefix.len();
            if begins(token.prefix)
                && from > *end
                && (!token.is_exact() || alone(cells, start, from))
            {
                let (hidden, read) = run(token, cells, from, last);
                out.extend(from..from + hidden);
                *end = if token.is_exact() { 0 } else { from + read };
            }
        }
        if begins(b"eyJ") {
            let n = jwt(&cells[start + 3..], last);
            out.extend(start + 3..start + 3 + n);
        }
    }
    out
}

/// Is it no end of a word, as far as one knows? No part of this test ends with an escape of its own.
fn alone(cells: &[Cell], start: usize, from: usize) -> bool {
    let apart = cells[start..from].iter().any(|cell| cell.3);
    let before = start.checked_sub(1).map(|before| cells[before].0);
    apart || !before.is_some_and(|c| c.is_ascii_alphanumeric())
}

/// How much is replaced, and how much belongs to it anyway.
fn run(token: &detect::Token, cells: &[Cell], from: usize, last: bool) -> (usize, usize) {
    let mut count = 0;
    let key = |count: usize| {
        let body = &cells[from..from + count];
        !token.is_exact() || !body.iter().all(|cell| detect::is_nucleotide(cell.0))
    };
    for (c, _, gap, apart) in &cells[from..] {
        let enough = count >= token.least;
        if enough && token.is_exact() {
            let alone = *apart || !c.is_ascii_alphanumeric();
            return (if alone && key(count) { count } else { 0 }, count);
        }
        if !(token.alphabet)(*c) || (enough && *gap) {
            return (if enough { count } else { 0 }, count);
        }
        count += 1;
    }
    let enough = count >= token.least && !token.is_exact();
    let hidden = enough || (last && count >= usize::from(STICKY) && key(count));
    (if hidden { count } else { 0 }, count)
}

fn jwt(cells: &[Cell], last: bool) -> usize {
    let letter = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
    let letters = |from: usize| {
        cells[from.min(cells.len())..]
            .iter()
            .take_while(|c| letter(c.0))
            .count()
    };
    let is = |at: usize, c: u8| cells.get(at).is_some_and(|cell| cell.0 == c);
    let unfinished = |at: usize| {
        let all = at >= cells.len() && last && cells.len() >= usize::from(STICKY);
        if all { cells.len() } else { 0 }
    };
    let header = letters(0);
    if header < 7 || !is(header, b'.') || !is(header + 1, b'e') {
        // A header alone is none.
        return 0;
    }
    let payload = header + 1 + letters(header + 1);
    if payload < header + 3 || !is(payload, b'.') {
        return unfinished(payload);
    }
    let signature = cells[payload + 1..].iter();
    payload + 1 + signature.take_while(|c| letter(c.0) && !c.2).count()
}

#[test]
fn it_is_the_reference_however_it_is_cut() {
    let patterns = patterns(SECRETS);
    let mut all = Vec::new();
    for (i, secret) in SECRETS.iter().enumerate() {
        all.extend(
            words(secret.as_bytes(), i)
                .unwrap()
                .into_iter()
                .map(|w| w.to_vec()),
        );
    }
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut replaced = 0;
    for round in 0..2_500 {
        let count = 1 + dice.below(if round % 10 == 0 { 60 } else { 14 });
        let any = if round % 3 == 0 {
            PARTS.len()
        } else {
            PARTS.len() - 1
        };
        let parts: Vec<Part> = (0..count).map(|_| PARTS[dice.below(any)]).collect();
        let expect = reference(&parts, &all);
        let input: Vec<u8> = parts
            .iter()
            .flat_map(|part| match part {
                Shown(text) | Hidden(text) | Line(text) => text.as_bytes(),
                Back => b"\x08",
            })
            .copied()
            .collect();
        replaced += usize::from(expect != input);
        for piece in [1, 2 + dice.below(9), 257 + dice.below(100), usize::MAX] {
            for kind in [Kind::Terminal, Kind::Pipe] {
                let out = mask(&patterns, kind, &input, piece);
                // What is taken back may bring to life what was let go of before.
                let taken_back = piece < usize::MAX && input.contains(&8);
                let mut both = out.iter().zip(&expect).zip(&input);
                let less = both.all(|((out, expect), input)| out == expect || out == input);
                assert!(
                    out == expect || (taken_back && less),
                    "round {round} in pieces of {piece}:\n{:?}\n{:?}\n{:?}",
                    String::from_utf8_lossy(&input),
                    String::from_utf8_lossy(&out),
                    String::from_utf8_lossy(&expect)
                );
            }
        }
    }
    assert!(replaced > 700, "only {replaced}");
}

/// Whatever the bytes are: the length stays, nothing but shown bytes changes, and cutting it elsewhere changes
/// nothing.
#[test]
fn any_bytes() {
    let patterns = patterns(SECRETS);
    let mut dice = Dice(77);
    for alphabet in [
        &b"\x1b[]0;31mD\x07\x08\r\n \\ghp_AKIAeyJ.secrt-on1\xc2\x9b\xff"[..],
        b"\x1b[DP]\\ax",
        b"secret-one-1\x08",
        b"-BEGIN PRIVATEKY\n\x08",
    ] {
        for length in (0..600).step_by(7) {
            let input: Vec<u8> = (0..length)
                .map(|_| alphabet[dice.below(alphabet.len())])
                .collect();
            let whole = mask(&patterns, Kind::Terminal, &input, usize::MAX);
            for piece in [1, 3, 64, 300] {
                assert!(
                    mask(&patterns, Kind::Terminal, &input, piece) == whole,
                    "{input:?}"
                );
            }
            let changed = input.iter().zip(&whole).filter(|(a, b)| a != b);
            assert!(changed.into_iter().all(|(a, b)| *b == b'*' && *a >= 0x20));
        }
    }
    let all: Vec<u8> = (0..=255).cycle().take(5000).collect();
    assert_eq!(mask(&patterns, Kind::Terminal, &all, 17), all);
}
