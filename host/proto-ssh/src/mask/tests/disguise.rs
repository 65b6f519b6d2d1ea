//! A secret is never seen whole.

use super::*;

/// What stands between two bytes of a secret, and is not seen.
const BETWEEN: &[&str] = &[
    "\x1b[31m",
    "\x1b[1;38;5;208m",
    "\x1b[0m\x1b[K",
    "\x1b[?25l",
    "\x1b[12;40H",
    "\x1b[C\x1b[D",
    "\x1b[2C",
    "\x1b]0;a title\x07",
    "\x1b]8;;https://example.org/\x1b\\",
    "\x1bPq#0\x1b\\",
    "\x1b_x\x1b\\",
    "\x1b(B",
    "\x1b(0\x1b(B",
    "\x1b7\x1b8",
    "\x0e\x0f",
    "\u{9b}31m",
    "\0",
    "\x07",
    "\x7f",
    "\r\n",
    "\n",
    " \r\n\x08",
    "x\x08",
    "x\x08 \x08",
    "xyz\x08\x08\x08",
    "xyz\x1b[3D",
    "\x1b[1mx\x08\x1b[0m",
    "-\x1b\x087",
    "-\x1b[1\x08m",
    "\x1b[1\nm",
];

fn secrets() -> Vec<(&'static str, Vec<&'static str>)> {
    vec![
        (LITERAL, vec![LITERAL]),
        (GITHUB, vec![]),
        (AWS, vec![]),
        (JWT, vec![]),
    ]
}

/// The space that fills a line is only told with the terminal's width.
fn needs_width(between: &str) -> bool {
    between.starts_with(' ')
}

#[test]
fn split_at_every_byte() {
    for (secret, known) in secrets() {
        let patterns = patterns(&known);
        let input = format!("before {secret} behind\n");
        let whole = mask(&patterns, Kind::Pipe, input.as_bytes(), usize::MAX);
        assert!(!seen_whole(&whole, secret));
        for kind in [Kind::Terminal, Kind::Pipe] {
            for at in 0..input.len() {
                let (a, b) = input.as_bytes().split_at(at);
                let mut masker = Masker::new(patterns.clone(), kind);
                let (now, mut out) = (Instant::now(), BytesMut::new());
                let _ = masker.push(a, now, &mut out);
                let _ = masker.push(b, now, &mut out);
                masker.flush(&mut out);
                assert_eq!(out, whole, "{secret} at {at}");
            }
        }
    }
}

#[test]
fn something_between_every_two_bytes() {
    let lines = "an ordinary line, like many others\r\n".repeat(8);
    for (secret, known) in secrets() {
        let patterns = patterns(&known);
        for between in BETWEEN.iter().filter(|b| !needs_width(b)) {
            let parts: Vec<String> = secret.chars().map(String::from).collect();
            let input = format!("a {} z\n", parts.join(between));
            let long = format!("{lines}{input}{lines}");
            for piece in [1, 2, 3, 7, usize::MAX] {
                hides(&patterns, &input, piece, secret);
                // In a text that is passed over quickly.
                if piece > 3 {
                    hides(&patterns, &long, piece.max(300), secret);
                }
            }
        }
    }
}

fn hides(patterns: &Arc<Patterns>, input: &str, piece: usize, secret: &str) {
    for kind in [Kind::Terminal, Kind::Pipe] {
        let out = mask(patterns, kind, input.as_bytes(), piece);
        let shown = String::from_utf8_lossy(&out);
        assert!(!seen_whole(&out, secret), "{shown:?}");
        // Nothing but shown bytes is replaced.
        for (a, b) in input.bytes().zip(&out) {
            assert!(a == *b || (*b == b'*' && a >= 0x20));
        }
    }
}

/// At every place one of the sequences, each secret, in a text that is long enough to be passed over quickly.
#[test]
fn something_at_every_place_of_a_long_text() {
    for (secret, known) in secrets() {
        let patterns = patterns(&known);
        for between in BETWEEN.iter().filter(|b| !needs_width(b)) {
            for at in 0..=secret.len() {
                let (a, b) = secret.split_at(at);
                let text = "an ordinary line, like many others\r\n".repeat(8);
                let input = format!("{text}say {a}{between}{b} and\n{text}");
                // Whole, and cut behind what stands between.
                let cut = text.len() + 4 + at + between.len();
                for piece in [usize::MAX, cut] {
                    let out = mask(&patterns, Kind::Terminal, input.as_bytes(), piece);
                    assert!(
                        !seen_whole(&out, secret),
                        "{secret} with {between:?} at {at}"
                    );
                    let changed = input.bytes().zip(&out).filter(|(a, b)| a != *b).count();
                    assert!(changed <= secret.len() + 3, "{changed} with {between:?}");
                }
            }
        }
    }
}

/// However slowly it comes.
#[test]
fn trickled() {
    for (secret, known) in secrets() {
        let patterns = patterns(&known);
        for between in ["", "\x1b[31m", "\r\n", "x\x08"] {
            let parts: Vec<String> = secret.chars().map(String::from).collect();
            let input = format!("a {} z", parts.join(between));
            for pause in [0, 1, 16, 51, 500, 2_001, 60_000] {
                let pause = Duration::from_millis(pause);
                for kind in [Kind::Terminal, Kind::Pipe] {
                    let out = trickle(&patterns, kind, input.as_bytes(), pause);
                    assert!(!seen_whole(&out, secret));
                    // Of a secret at most seven bytes, of a token its prefix and three.
                    let clear = stripped(&out).iter().filter(|c| **c != b'*').count();
                    let around = match (secret, between) {
                        (_, "x\x08") => secret.len() + 3,
                        // A signature ends with its line.
                        (JWT, "\r\n") => 4 + 12 + 17,
                        _ => 4,
                    };
                    assert!(
                        clear <= around + 7,
                        "{:?} after {pause:?}",
                        String::from_utf8_lossy(&out)
                    );
                }
            }
        }
    }
}

/// What a line editor sends at a terminal's right margin.
#[test]
fn broken_where_the_line_is_full() {
    let known = patterns(&[LITERAL]);
    let lines = "what was written before it\r\n".repeat(12);
    for (secret, shows) in [(LITERAL, 0), (GITHUB, 4), (JWT, 3)] {
        for wrap in [" \r", "\r\n", " \r\n", "\x1b[m \r"] {
            for at in 1..secret.len() {
                let (a, b) = secret.split_at(at);
                for before in ["", &lines] {
                    let full = "$".repeat(80 - at);
                    let input = format!("{before}{full}{a}{wrap}{b} z\r\n{before}");
                    for piece in [1, 5, usize::MAX] {
                        let mut masker = Masker::new(known.clone(), Kind::Terminal);
                        masker.resize(80);
                        let (now, mut out) = (Instant::now(), BytesMut::new());
                        for part in input.as_bytes().chunks(piece) {
                            let _ = masker.push(part, now, &mut out);
                        }
                        masker.flush(&mut out);
                        let stars = out.iter().filter(|c| **c == b'*').count();
                        assert_eq!(
                            stars,
                            secret.len() - shows,
                            "{}",
                            String::from_utf8_lossy(&out)
                        );
                    }
                }
            }
        }
    }
}

/// In a title, a clipboard, or swallowed by a sequence: whoever reads the bytes reads it.
#[test]
fn in_what_is_not_shown() {
    let patterns = patterns(&[LITERAL, "[12345678m"]);
    for (secret, input) in [
        (LITERAL, format!("\x1b]0;{LITERAL}\x07")),
        (LITERAL, format!("\x1b]52;c;{LITERAL}\x1b\\")),
        (LITERAL, format!("\x1bP{LITERAL}")),
        (LITERAL, format!("\x1b[{LITERAL}")),
        (LITERAL, format!("\x1b{LITERAL}")),
        (LITERAL, format!("\u{9d}{LITERAL}\u{9c}")),
        (GITHUB, format!("\x1b]0;{GITHUB}\x07")),
        (JWT, format!("\x1b_{JWT}\x1b\\")),
        (GITHUB, format!("\x1b]0;x\x1b{GITHUB}")),
        (GITHUB, format!("\x1b]0;x\x18{GITHUB}")),
        (GITHUB, format!("\x1b[1{GITHUB}")),
    ] {
        for before in [String::new(), "plain text\n".repeat(50)] {
            let input = format!("{before}{input} more");
            for piece in [1, 3, usize::MAX] {
                let out = mask(&patterns, Kind::Terminal, input.as_bytes(), piece);
                assert!(!has(&out, secret), "{:?}", String::from_utf8_lossy(&out));
            }
        }
    }
}

/// A string need not end: whoever reads the bytes reads all lines of a key behind its beginning.
#[test]
fn a_private_key_in_what_is_not_shown() {
    let body = format!("{}\n", "MIIEowIBAAKCAQEA".repeat(4)).repeat(5);
    let pem = format!("-----BEGIN RSA PRIVATE KEY-----\n{body}-----END RSA PRIVATE KEY-----\n");
    let patterns = patterns(&[]);
    for start in [
        "\x1b]0;",
        "\x1bP",
        "\x1b_",
        "\x1bX",
        "\x1b^",
        "\u{9d}",
        "\x1b]0;a title\n",
    ] {
        for end in ["", "\x07", "\x1b\\"] {
            for line in ["\n", "\r\n"] {
                let input = format!("{start}{pem}{end}$ ls -la\n").replace('\n', line);
                let outer = format!("{}{input}", "plain text\n".repeat(50));
                for input in [&input, &outer] {
                    for piece in [1, 7, usize::MAX] {
                        let out = mask(&patterns, Kind::Pipe, input.as_bytes(), piece);
                        let out = String::from_utf8(out).unwrap();
                        assert!(!out.contains("MIIE"), "{out:?}");
                        let last = format!("$ ls -la{line}");
                        assert!(out.ends_with(&last) || end.is_empty(), "{out:?}");
                    }
                }
            }
        }
    }
    // And a token goes on behind the end of a line, as it does where it is shown.
    let (a, b) = GITHUB.split_at(20);
    let out = mask(
        &patterns,
        Kind::Pipe,
        format!("\x1b]0;{a}\r\n{b}\x07").as_bytes(),
        3,
    );
    assert!(!has(&out, &b[..8]));
}

/// Taken back and written again, beyond what was passed over quickly, up to where the line begins.
#[test]
fn taken_back() {
    let patterns = patterns(&[LITERAL]);
    let (a, b) = LITERAL.split_at(9);
    for many in [1, 5, 70, 255, 256, 300, 1000, 4000] {
        for before in [String::new(), "plain text\n".repeat(50)] {
            let input = format!("{before}{a}{}{}{b}.", "x".repeat(many), "\x08".repeat(many));
            for piece in [1, 300, usize::MAX] {
                let out = mask(&patterns, Kind::Terminal, input.as_bytes(), piece);
                assert!(!seen_whole(&out, LITERAL), "{many} in pieces of {piece}");
            }
        }
    }
    // No further than to where the line begins.
    let input = format!("{a}\nx\x08\x08\x08\x08{b}");
    assert!(!seen_whole(
        &mask(&patterns, Kind::Terminal, input.as_bytes(), 1),
        LITERAL
    ));
}

/// A terminal takes back characters, of a tab as many places as it has, and of what is no character one each.
#[test]
fn characters_that_are_taken_back() {
    let known = patterns(&[LITERAL]);
    for between in [
        "\u{e9}\x08",
        "\u{20ac}\x08",
        "\u{1f680}\x08",
        "a\u{e9}b\x08\x08\x08",
        "\u{e9}\u{e9}\x1b[2D",
        "\u{a7}\x08",
        "\x1b[1m\u{e9}\x1b[0m\x08",
    ] {
        for (secret, shows) in [(LITERAL, 0), (GITHUB, 4), (AWS, 4)] {
            for at in 1..secret.len() {
                let (a, b) = secret.split_at(at);
                let input = format!("{a}{between}{b} ");
                let out = mask(&known, Kind::Terminal, input.as_bytes(), usize::MAX);
                let stars = out.iter().filter(|c| **c == b'*').count();
                assert!(
                    stars >= secret.len() - shows,
                    "{between:?} {:?}",
                    String::from_utf8_lossy(&out)
                );
            }
        }
    }
    let hidden = |input: &[u8]| {
        let out = mask(&known, Kind::Terminal, input, usize::MAX);
        let stars = out.iter().filter(|c| **c == b'*').count();
        assert!(stars >= 36, "{:?}", String::from_utf8_lossy(&out));
    };
    let (a, b) = GITHUB.split_at(4);
    for input in [
        // From the fourth column the tab has four places.
        [a.as_bytes(), b"\t\x08\x08\x08\x08", b.as_bytes(), b" "].concat(),
        [b"12 ", a.as_bytes(), b"\t\x08", b.as_bytes(), b" "].concat(),
        [
            b"x\t".as_slice(),
            a.as_bytes(),
            b"\t\x1b[4D",
            b.as_bytes(),
            b" ",
        ]
        .concat(),
        // No characters, each is shown in a place of its own.
        [a.as_bytes(), b"\x80\x08", b.as_bytes(), b" "].concat(),
        [a.as_bytes(), b"\xc3\xc3\x08\x08", b.as_bytes(), b" "].concat(),
    ] {
        hidden(&input);
    }
}

/// A secret that goes on on the next line, where much was written and taken back.
#[test]
fn taken_back_on_the_line_that_it_goes_on_on() {
    let lines = "an ordinary line, like many others\r\n".repeat(12);
    for (secret, known) in secrets() {
        let patterns = patterns(&known);
        for at in 1..secret.len().min(12) {
            for on in 1..=3 {
                let (a, b) = secret.split_at(at);
                let (b, c) = b.split_at(on);
                for many in [1, 40, 100, 300, 2000] {
                    for back in ["\x08".repeat(many), format!("\x1b[{many}D")] {
                        let taken = format!("{}{back}", "#".repeat(many));
                        let input = format!("{lines}{a}\r\n{b}{taken}{c} z\r\n{lines}");
                        // Whole, and cut where the cursor goes back.
                        let cut = lines.len() + a.len() + 2 + b.len() + many;
                        for piece in [usize::MAX, cut] {
                            let out = mask(&patterns, Kind::Terminal, input.as_bytes(), piece);
                            assert!(!seen_whole(&out, secret), "{a}|{b}{many}{c}");
                        }
                    }
                }
            }
        }
    }
}
