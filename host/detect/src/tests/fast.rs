//! What saves work changes no finding.

use super::super::{Detector, Detectors, Findings, Found, byte, is_word};
use super::super::{account, email, key, phone};

/// A detector, whether it is asked, and how.
type Asked<'a> = (Detector, bool, &'a dyn Fn() -> Option<Found>);

/// Every detector asked at every place, without anything that saves work.
fn slowly(on: Detectors, text: &[u8]) -> Vec<Found> {
    let mut out: Vec<Found> = Vec::new();
    let mut floor = 0;
    for at in 0..text.len() {
        let Some(hit) = asked(on, text, at, floor) else {
            continue;
        };
        assert!(hit.start < hit.end && hit.end <= text.len());
        match out.last_mut() {
            // Noticed inside of the one before.
            Some(last) if at < last.end => last.end = last.end.max(hit.end),
            _ => {
                assert!(hit.start >= floor, "{hit:?} and {floor}");
                out.push(hit);
            }
        }
        floor = at.max(out.last().map_or(0, |last| last.end));
    }
    out
}

fn asked(on: Detectors, text: &[u8], at: usize, floor: usize) -> Option<Found> {
    let cloud = key::cloud as fn(&[u8], usize) -> Option<Found>;
    let c = text[at];
    let starts = at == 0 || !is_word(text[at - 1]);
    let letter = starts && c.is_ascii_alphabetic();
    let account = letter && byte(text, at + 1).is_ascii_alphabetic();
    let digit = starts && c.is_ascii_digit();
    let (plus, bracket) = (starts && c == b'+', starts && c == b'(');
    let asked: [Asked; 9] = [
        (Detector::Email, c == b'@', &|| {
            email::around(text, at, floor.min(at))
        }),
        (Detector::PrivateKey, c == b'-', &|| {
            key::pem(text, at).map(|(found, _)| found)
        }),
        (Detector::Jwt, letter, &|| key::jwt(text, at).found),
        (Detector::CloudKey, letter, &|| cloud(text, at)),
        (Detector::Iban, account, &|| account::iban(text, at)),
        (Detector::Pan, digit, &|| account::pan(text, at)),
        (Detector::UsSsn, digit, &|| account::ssn(text, at)),
        (Detector::Phone, digit || bracket, &|| {
            phone::american(text, at)
        }),
        (Detector::Phone, plus, &|| phone::international(text, at)),
    ];
    let mut hits = asked
        .iter()
        .filter(|(one, begins, _)| on.has(*one) && *begins);
    hits.find_map(|(.., find)| find())
}

fn same(on: Detectors, text: &[u8]) -> usize {
    let fast: Vec<Found> = Findings::new(on, text).collect();
    let shown = || String::from_utf8_lossy(text).into_owned();
    assert_eq!(fast, slowly(on, text), "{on:?} in {:?}", shown());
    fast.len()
}

/// Small, fast, and the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n
    }
}

/// Whole findings, and what they are made of.
const PIECES: &[&str] = &[
    "a@b.co",
    "@",
    ".",
    "..",
    "-",
    "_",
    " ",
    "  ",
    "\n",
    "\u{0}",
    "\"",
    "\\",
    "{",
    "}",
    ":",
    ",",
    "=",
    "/",
    "+",
    "(",
    ")",
    "é",
    "x",
    "A",
    "J",
    "DE89",
    "DE89370400440532013000",
    "3704 0044 0532 0130 00",
    "NO9386011117947",
    "no93 8601 1117 947",
    "NO93 8601",
    "MT84 MALT 0110 0001 2345 MTLC AST0 01S",
    "4111",
    "4111 1111 1111 1111",
    "4111-1111-1111-1111",
    "378282246310005",
    "1",
    "0",
    "9",
    "12",
    "123-45-6789",
    "123 45 6789",
    "912-70-1234",
    "+49 30 1234567",
    "+1 (212) 555-0123",
    "(212) 555-0123",
    "212-555-0123",
    "1-212-555-0123",
    "eyJ",
    "eyJhbGciOiJIUzI1NiJ9",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl",
    "eyJhbGciOiJIUzI1NiJ9.e",
    "AKIA",
    "AKIAIOSFODNN7EXAMPLE",
    "AIza",
    "ghp_",
    "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1",
    "glpat-",
    "IQoJb3JpZ2luX2Vj",
    "sk-ant-",
    "npm_",
    "xoxb-",
    "sk_live_",
    "aws_secret_access_key",
    " = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "-----BEGIN ",
    "-----BEGIN RSA PRIVATE KEY-----",
    "PRIVATE KEY",
    "-----END ",
    "-----",
    "an ordinary sentence, with words.",
    "https://example.org/a?b=c",
];

#[test]
fn fast_is_slow_on_what_findings_are_made_of() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut found = 0;
    for round in 0..60_000 {
        let count = 1 + dice.below(8);
        let mut text: Vec<u8> = Vec::new();
        for _ in 0..count {
            text.extend_from_slice(PIECES[dice.below(PIECES.len())].as_bytes());
        }
        // One byte of some of them is another one.
        if round % 3 == 0 {
            let place = dice.below(text.len());
            text[place] = dice.below(256) as u8;
        }
        let on = match round % 4 {
            0 => Detectors::from_bits(dice.below(256) as u16).unwrap(),
            _ => Detectors::ALL,
        };
        found += same(on, &text);
    }
    assert!(found > 10_000, "only {found}");
}

#[test]
fn fast_is_slow_on_any_bytes() {
    let mut dice = Dice(77);
    for alphabet in [
        &b"0123456789-@. +eyJKIADE(\xffx_"[..],
        b"0123456789 -",
        b"-BEGIN PRVATKY",
        b"ab@.-",
        b"eyJ.-_",
    ] {
        for length in 0..400 {
            for _ in 0..10 {
                let text: Vec<u8> = (0..length)
                    .map(|_| alphabet[dice.below(alphabet.len())])
                    .collect();
                same(Detectors::ALL, &text);
            }
        }
    }
    let all: Vec<u8> = (0..=255).cycle().take(5000).collect();
    same(Detectors::ALL, &all);
}

/// In texts that are long enough to be looked through for shapes, at any place of a window.
#[test]
fn fast_is_slow_on_long_lines() {
    let mut dice = Dice(4242);
    let mut found = 0;
    for round in 0..30_000 {
        let mut text: Vec<u8> = Vec::new();
        let before = dice.below(300);
        // As log lines are: most detectors are let go of by their shapes alone.
        let fill = [
            "2026-11-27 12:04:59.123 a-b_c/J A1 ",
            "x",
            "12 3-4.5 ",
            "eyA-J_-- ",
        ];
        text.extend(fill[round % 4].bytes().cycle().take(before));
        text.extend_from_slice(PIECES[dice.below(PIECES.len())].as_bytes());
        text.extend_from_slice(PIECES[dice.below(PIECES.len())].as_bytes());
        let after = 80_usize.saturating_sub(before) + dice.below(40);
        text.extend(
            fill[dice.below(4)]
                .bytes()
                .cycle()
                .skip(dice.below(9))
                .take(after),
        );
        let on = match round % 3 {
            0 => Detectors::from_bits(dice.below(256) as u16).unwrap(),
            _ => Detectors::ALL,
        };
        found += same(on, &text);
    }
    assert!(found > 3_000, "only {found}");
}

/// Around the runs that are counted at once.
#[test]
fn nothing_is_lost_in_long_values() {
    for what in [
        "a@b.co",
        "4111111111111111",
        "AKIAIOSFODNN7EXAMPLE",
        "212-555-0123",
        "NO9386011117947",
        "NO93 8601 1117 947",
        "mt84malt011000012345mtlcast001s",
        "MT84 MALT 0110 0001 2345 MTLC AST0 01S",
    ] {
        for before in (0..300).chain([1 << 16]) {
            let text = format!(
                "{} {what} {}",
                "x".repeat(before),
                "y".repeat(300 - before.min(300))
            );
            assert_eq!(
                same(Detectors::ALL, text.as_bytes()),
                1,
                "{what} behind {before}"
            );
        }
        // As many digits as wrap a byte's counter, and more.
        let text = format!("{} {what}", "1".repeat(1024));
        assert_eq!(same(Detectors::ALL, text.as_bytes()), 1, "{what}");
    }
}

/// Quadratic work on hostile text would not end here.
#[test]
fn long_hostile_texts() {
    for unit in [
        "@",
        "a@",
        "+1",
        "eyJ",
        "eyJ-",
        "eyJ.",
        "-eyJaaaaaaaa",
        "eyJaaaaaaaaaa.e",
        "DE89",
        "DE89 ",
        "ghp_",
        "1 ",
        "1-",
        "a.b@c.",
        "a@b.org ",
        "-----BEGIN ",
        "-----BEGIN RSA PRIVATE KEY",
        "----- ",
        "\u{e9}",
        "(2",
        "aws_secret_access_key=",
        "-----BEGIN RSA PRIVATE KEY-----",
        "eyJaaaaaaaaaa.eyJaaaaaaaaaa.",
        "ghp_a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1-",
        "+49 30 1234567 ",
    ] {
        let long = unit.repeat((1 << 20) / unit.len());
        // Whole, without its spaces, and so that the end of it makes a finding of all that begins before.
        for text in [
            long.clone(),
            long.replace(' ', "-"),
            format!("{long}.eyJ.x"),
            format!("{long}-----END x-----"),
        ] {
            Findings::new(Detectors::ALL, text.as_bytes()).count();
        }
    }
}
