//! Data that is no text: what stands in it in one piece is found, and text behind it is text again.

use super::super::patterns::words;
use super::super::spans::Spans;
use super::*;
use pipeline::mask::{MaskAction, MaskPlan};

const SECRET: &str = "hunter22hunter22";
const BLOCK: usize = super::super::noise::BLOCK;
/// Small enough for every byte to be read by itself, and large enough for none.
const PIECES: [usize; 5] = [100, 255, 1000, 32 << 10, usize::MAX];

/// Noise in which nothing is taken back, and no sequence begins that a secret behind it could belong to.
fn calm(seed: u64, length: usize) -> Vec<u8> {
    let mut noise = noise(seed, length);
    for c in &mut noise {
        if matches!(*c, 0x08 | 0x1B | 0xC2) {
            *c += 1;
        }
    }
    noise
}

fn starred(text: &str) -> Vec<u8> {
    vec![b'*'; text.len()]
}

#[test]
fn noise_passes_as_it_is() {
    let patterns = patterns(&[SECRET, LITERAL]);
    for seed in 0..5 {
        let input = noise(seed, 20_000);
        for piece in PIECES {
            assert!(
                mask(&patterns, Kind::Pipe, &input, piece) == input,
                "{seed}"
            );
        }
    }
}

/// Wherever it begins in a block, and whatever it is cut by.
#[test]
fn what_stands_in_one_piece_is_found() {
    let patterns = patterns(&[SECRET]);
    let all = words(SECRET.as_bytes(), 0).unwrap();
    let all = all.iter().map(|w| String::from_utf8(w.to_vec()).unwrap());
    let whole = all.map(|word| (word.clone(), starred(&word)));
    let token = |all: &str, prefix: usize| {
        let mut expect = starred(all);
        expect[..prefix].copy_from_slice(&all.as_bytes()[..prefix]);
        (all.to_owned(), expect)
    };
    let tokens = [token(GITHUB, 4), token(AWS, 4), token(JWT, 3)];
    for (number, (secret, expect)) in whole.chain(tokens).enumerate() {
        for step in 0..10 {
            let before = 3 * BLOCK + step * 53;
            let around = calm(number as u64 + 1, before + 3 * BLOCK);
            // Not what could go on with it.
            let (left, right) = ([&around[..before], b"\""].concat(), &around[before..]);
            let right = [&b"\""[..], right].concat();
            let input = [&left, secret.as_bytes(), &right].concat();
            let expect = [&left[..], &expect, &right].concat();
            for piece in PIECES.into_iter().chain([left.len() + 3]) {
                let out = mask(&patterns, Kind::Pipe, &input, piece);
                assert!(out == expect, "{secret} at {before}, in pieces of {piece}");
            }
        }
    }
}

/// Nobody turns masks off by sending something else first: a disguise that is seen through in text is seen through
/// in text behind what is none, from the first byte on.
#[test]
fn text_behind_it_is_masked_as_ever() {
    let patterns = patterns(&[SECRET]);
    let (a, b) = SECRET.split_at(5);
    for disguised in [
        SECRET.to_owned(),
        format!("{a}\n{b}"),
        format!("{a}\r\n{b}"),
        format!("{a}\x1b[31m{b}"),
        format!("{a}x\x08{b}"),
        format!("{a}\0{b}"),
        format!("{a}\u{9b}1m{b}"),
        format!("{a}\x1b]0;title\x07{b}"),
    ] {
        // A whole number of blocks, a little less and a little more.
        for before in [4 * BLOCK, 4 * BLOCK - 7, 4 * BLOCK + 9] {
            for text in [
                "",
                " it is ",
                "\nordinary text, a line of it, and then it says ",
            ] {
                let mut first = noise(5, before);
                first.extend(b"\xff\x01");
                first.extend(text.as_bytes());
                let input = [&first, disguised.as_bytes(), b" and more\n"].concat();
                for piece in [100, 1000, usize::MAX, first.len(), first.len() + 3] {
                    let out = mask(&patterns, Kind::Pipe, &input, piece);
                    assert!(out.starts_with(&first));
                    let rest = &out[first.len()..];
                    let seen = rest.iter().filter(|c| **c == b'*').count();
                    assert!(
                        !seen_whole(rest, SECRET) && seen >= SECRET.len(),
                        "{disguised:?} behind {before} bytes and {text:?}, in pieces of {piece}: {:?}",
                        String::from_utf8_lossy(rest)
                    );
                }
            }
        }
    }
}

/// In turn, and for as long as it goes on.
#[test]
fn text_between_is_masked_each_time() {
    let patterns = patterns(&[SECRET]);
    let text = format!("{}hunter22\x1b[1mhunter22\n", "a line of text\n".repeat(40));
    let mut input = Vec::new();
    for turn in 0..30 {
        input.extend(noise(turn, 700 + 111 * usize::try_from(turn).unwrap()));
        input.extend(text.as_bytes());
    }
    for piece in PIECES {
        let out = mask(&patterns, Kind::Pipe, &input, piece);
        assert!(!seen_whole(&out, SECRET));
        let turns = out.windows(8).filter(|w| *w == b"********").count();
        assert_eq!(turns, 2 * 30, "in pieces of {piece}");
    }
}

/// On a terminal everything is text.
#[test]
fn terminals_have_no_noise() {
    let patterns = patterns(&[SECRET]);
    let (a, b) = SECRET.split_at(5);
    let noise = noise(9, 4 * BLOCK);
    let first: Vec<u8> = noise
        .iter()
        .map(|c| if *c == 0x1B { 1 } else { *c })
        .collect();
    let input = [&first, a.as_bytes(), b"\x01", b.as_bytes(), &first].concat();
    let out = mask(&patterns, Kind::Terminal, &input, usize::MAX);
    assert!(
        !stripped(&out)
            .windows(SECRET.len())
            .any(|w| w == SECRET.as_bytes())
    );
    assert_eq!(
        out.iter().filter(|c| **c == b'*').count(),
        SECRET.len() + first.iter().filter(|c| **c == b'*').count() * 2
    );
}

/// Whatever it is strewn with, a byte costs a few steps.
#[test]
fn work_is_linear_in_noise() {
    let patterns = patterns(&[SECRET]);
    for unit in ["", "eyJ", "hunt", "-----BEGIN ", "\x1b]", "ghp_\x08"] {
        for every in [1, 20, 200, 300] {
            let noise = noise(1, 1 << 14);
            let parts = noise.chunks(every);
            let input: Vec<u8> = parts
                .flat_map(|part| [part, unit.as_bytes()].concat())
                .collect();
            let mut masker = Masker::new(patterns.clone(), Kind::Pipe);
            let mut out = BytesMut::new();
            let _ = masker.push(&input, Instant::now(), &mut out);
            let steps = masker.steps() / input.len() as u64;
            assert!(
                steps <= 24,
                "{steps} steps for each byte, {unit:?} every {every}"
            );
        }
    }
}

fn detecting(input: &[u8], piece: usize) -> Vec<u8> {
    let all = detect::Detector::ALL
        .iter()
        .map(|one| one.name().to_owned());
    let plan = MaskPlan {
        actions: vec![vec![MaskAction::Detect(all.collect())]],
        ..MaskPlan::pass(1)
    };
    let mut spans = Spans::new(Kind::Pipe, &plan, 0);
    let (now, mut out) = (Instant::now(), BytesMut::new());
    for part in input.chunks(piece) {
        assert_eq!(spans.push(part, now, &mut out), part.len());
    }
    spans.flush(&mut out);
    assert!(spans.is_empty() && out.len() == input.len());
    out.to_vec()
}

#[test]
fn detectors_see_what_is_shown_in_noise_and_behind_it() {
    let card = "4111 1111 1111 1111";
    for (found, step) in [
        card,
        "ada@example.com",
        "al@corp.de",
        "DE89370400440532013000",
        GITHUB,
    ]
    .into_iter()
    .zip((0..).step_by(17))
    {
        for before in (4 * BLOCK..6 * BLOCK).step_by(73) {
            let around = calm(before as u64, before + 3 * BLOCK);
            let (left, right) = around.split_at(before);
            let text = b"text goes on here, and on. ".repeat(30);
            for (behind, name) in [(right, "noise"), (&text, "text")] {
                let first = [left, b"\""].concat();
                let input = [&first, found.as_bytes(), b"\"", behind].concat();
                for piece in PIECES.into_iter().chain([1 + step + before]) {
                    let out = detecting(&input, piece);
                    let seen = &out[first.len()..][..found.len()];
                    assert!(
                        seen.iter().all(|c| *c == b'*'),
                        "{found} at {before} before {name}, in pieces of {piece}"
                    );
                }
            }
        }
    }
}

/// An archive arrives as it is.
#[test]
fn detectors_find_nothing_in_noise() {
    for (seed, piece) in (20..).zip([700, 8 << 10, 32_757, 64 << 10]) {
        let input = noise(seed, 6 << 20);
        let out = detecting(&input, piece);
        let pairs = out.iter().zip(&input).enumerate();
        let changed: Vec<usize> = pairs.filter(|(_, (a, b))| a != b).map(|(i, _)| i).collect();
        assert!(
            changed.is_empty(),
            "{seed}, in pieces of {piece}: {changed:?}"
        );
    }
}

/// Neither whole lines of text nor what is left of one are less than that for some bytes that are none.
#[test]
fn what_is_strewn_with_little_is_a_line_of_text() {
    let address = "ad\x1b[1ma@example\x1b[0m.org";
    for first in ["\0", "\x01\x02", "\u{fffd}\u{fffd}", "\0\0\0\0\u{e9}"] {
        let input = format!("{first} an ordinary line of text says {address}, and goes on\n");
        let out = detecting(input.as_bytes(), 11);
        let seen = out.iter().filter(|c| **c == b'*').count();
        assert_eq!(seen, "ada@example.org".len(), "{input:?}");
    }
}

/// Where numbers of four bytes stand between names, a few of them would be addresses.
#[test]
fn addresses_are_not_strewn_with_what_is_no_text() {
    let code = b"\xe3\0\0\0r@\0\0\0rs\x01\0\0o\0\0\0\x11RateLimiter.reset\x0f\x01\0\0s.\0\0\0a@U\x01S.n\x01U\n".repeat(9);
    for piece in [5, 77, code.len()] {
        assert!(detecting(&code, piece) == code);
    }
    // Names behind their length, as Python compiles them: that of 64 letters is written as `@`.
    let name = "CollationTests.test_create_collation_not_ascii.<locals>.inner_one";
    for kind in [&b"z"[..], b"\xda", b"Z"] {
        let head = b"s\x02\0\0\0  r\x12\0\0\0r\x13\0\0\0\0\0r\x0e\0\0\0";
        let code = [head, kind, b"@", name.as_bytes(), b"\0\0r\x01\0\0\0"]
            .concat()
            .repeat(3);
        for piece in [5, 77, code.len()] {
            assert!(detecting(&code, piece) == code);
        }
    }
    let named = b"\0\0\0\x07ada@example.org\0\0\0";
    let starred = |text: &[u8]| text.iter().filter(|c| **c == b'*').count();
    assert_eq!(starred(&detecting(named, 3)), 15);
    // What is not seen ends a word.
    for text in [
        &b"HOME=/root\0MAIL=ada@example.org\0LANG=C\0"[..],
        b"/usr/sbin/sendmail\0-f\0ada@example.org\0x\0",
        b"8=FIX.4.4\x0135=D\x01ada@example.org\x0156=YOU\n",
        b"\x0a\x04John\x12\x0fada@example.org\x18\n",
    ] {
        for piece in [1, 6, text.len()] {
            let out = detecting(text, piece);
            assert!(
                !out.windows(15).any(|w| w == b"ada@example.org"),
                "{piece} {out:?}"
            );
            assert_eq!(starred(&out), 15, "{piece}");
        }
    }
    for zeros in [1, 3] {
        let wide = |c: u8| [&[c][..], &[0; 3][..zeros]].concat();
        let text: Vec<u8> = "to ada@example.org, now".bytes().flat_map(wide).collect();
        assert_eq!(starred(&detecting(&text, 11)), 15, "{zeros}");
    }
}

/// Texts in other encodings than UTF-8 have addresses, too: of ASCII in any of them, with their own letters where the
/// text has few of those.
#[test]
fn addresses_in_other_encodings_are_found() {
    let koi8 = b"\xf0\xce\xda\xd7\xce\xc9: ada@example.org, \xd3\xce\xda\xd7\xc4: a\x1b[1mda@example\x1b[0m.org\n";
    let latin = b"El correo de Jos\xe9 es jos\xe9@example.org, si quieres escribirle\n";
    for (text, stars) in [(&koi8[..], 30), (latin, 16)] {
        for piece in [7, text.len()] {
            let out = detecting(text, piece);
            let seen = out.iter().filter(|c| **c == b'*').count();
            assert_eq!(seen, stars, "{}", String::from_utf8_lossy(&out));
        }
    }
}

/// It is rare, so secrets with one are looked for by what stands around it; and it is text, whatever stands behind.
#[test]
fn a_tab_stands_before_a_colour_or_the_end_of_a_line() {
    let patterns = patterns(&["user\tpassw0rd!"]);
    for between in ["", "\x1b[01;31m\x1b[K", "\n", "\r\n"] {
        for before in [0, 1, 63, 300, 1000] {
            let before = "an ordinary line ".repeat(60)[..before].to_owned();
            let input = format!("{before}user\t{between}passw0rd!{}", " and more".repeat(60));
            for piece in PIECES {
                let out = mask(&patterns, Kind::Pipe, input.as_bytes(), piece);
                let out = String::from_utf8(out).unwrap();
                assert!(
                    !out.contains("passw0rd"),
                    "{between:?} {}: {out}",
                    before.len()
                );
            }
        }
    }
}
