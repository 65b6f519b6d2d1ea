//! What is found, and beside it what looks alike and is not.

use super::{Detector, Detectors, Findings, Form, Found, byte, is_word, redact};
use super::{account, email, key, phone};

/// The value with every find replaced by its mark.
fn masked(value: &str) -> String {
    let mut out = Vec::new();
    if !redact(Detectors::ALL, value.as_bytes(), Form::Text, |part| {
        out.extend_from_slice(part);
    }) {
        assert!(out.is_empty());
        return value.to_owned();
    }
    String::from_utf8(out).unwrap()
}

/// A detector, whether it is asked, and how.
type Asked<'a> = (Detector, bool, &'a dyn Fn() -> Option<Found>);

/// Every detector asked at every place, without anything that saves work.
fn slowly(on: Detectors, text: &[u8]) -> Vec<Found> {
    let (mut out, mut at, mut floor) = (Vec::new(), 0, 0);
    let cloud = key::cloud as fn(&[u8], usize) -> Option<Found>;
    let jwt = |text: &[u8], at: usize| match key::jwt(text, at) {
        key::Jwt::Is(found) => Some(found),
        key::Jwt::NoneBefore(_) => None,
    };
    while at < text.len() {
        let c = text[at];
        let starts = at == 0 || !is_word(text[at - 1]);
        let letter = starts && c.is_ascii_alphabetic();
        let account = letter && byte(text, at + 1).is_ascii_alphabetic();
        let digit = starts && c.is_ascii_digit();
        let (plus, bracket) = (starts && c == b'+', starts && c == b'(');
        let asked: [Asked; 9] = [
            (Detector::Email, c == b'@', &|| {
                email::around(text, at, floor)
            }),
            (Detector::PrivateKey, c == b'-', &|| key::pem(text, at)),
            (Detector::Jwt, letter, &|| jwt(text, at)),
            (Detector::CloudKey, letter, &|| cloud(text, at)),
            (Detector::Iban, account, &|| account::iban(text, at)),
            (Detector::Pan, digit, &|| account::pan(text, at)),
            (Detector::UsSsn, digit, &|| account::ssn(text, at)),
            (Detector::Phone, digit || bracket, &|| {
                phone::american(text, at)
            }),
            (Detector::Phone, plus, &|| phone::international(text, at)),
        ];
        let hit = asked
            .iter()
            .filter(|(one, begins, _)| on.has(*one) && *begins)
            .find_map(|(.., find)| find());
        match hit {
            Some(hit) => {
                assert!(hit.start >= floor && hit.start < hit.end && hit.end <= text.len());
                at = hit.end.max(at + 1);
                floor = at;
                out.push(hit);
            }
            None => at += 1,
        }
    }
    out
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

/// Around the runs that are counted at once.
#[test]
fn nothing_is_lost_in_long_values() {
    for what in [
        "a@b.co",
        "4111111111111111",
        "AKIAIOSFODNN7EXAMPLE",
        "212-555-0123",
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

fn check(cases: &[(&str, &str)]) {
    for (value, expect) in cases {
        assert_eq!(masked(value), *expect, "{value}");
    }
}

#[test]
fn emails() {
    check(&[
        ("a@b.co", "[email]"),
        ("write to jane.doe+x@mail.example.com.", "write to [email]."),
        ("<jane@example.org>", "<[email]>"),
        ("a@b.co,c@d.org", "[email],[email]"),
        ("mailto:o'hara@example.ie", "mailto:[email]"),
        ("jürgen@exämple.de", "[email]"),
        ("x@xn--exmple-cua.xn--p1ai", "[email]"),
        ("...a@b.co", "...[email]"),
        ("email=a@b.co&x={c@d.org}", "email=[email]&x={[email]}"),
        ("a@b.co@c.de", "[email]@c.de"),
        // Alike.
        ("@handle", "@handle"),
        ("a@b", "a@b"),
        ("a@localhost", "a@localhost"),
        ("a@1.2.3.4", "a@1.2.3.4"),
        ("a @ b.co", "a @ b.co"),
        ("a@b..co", "a@b..co"),
        ("a@-b.co", "a@-b.co"),
        ("a.@b.co", "a.@b.co"),
        ("3 kg @ 2.50", "3 kg @ 2.50"),
        ("@@@@", "@@@@"),
    ]);
    let long = format!("{}@example.com", "a".repeat(65));
    assert_eq!(
        masked(&long),
        long,
        "a local part has 64 characters at most"
    );
}

#[test]
fn cards() {
    check(&[
        ("4111111111111111", "[card]"),
        ("4111 1111 1111 1111", "[card]"),
        ("4111-1111-1111-1111", "[card]"),
        ("5555555555554444", "[card]"),
        ("2223003122003222", "[card]"),
        ("378282246310005", "[card]"),
        ("3782 822463 10005", "[card]"),
        ("6011111111111117", "[card]"),
        ("3530111333300000", "[card]"),
        ("30569309025904", "[card]"),
        ("4222222222222", "[card]"),
        ("card:4111111111111111.", "card:[card]."),
        ("pan=4111111111111111;cvv=1", "pan=[card];cvv=1"),
        ("{\"n\":4111111111111111}", "{\"n\":[card]}"),
        ("(4111 1111 1111 1111)", "([card])"),
        // Alike.
        ("4111111111111112", "4111111111111112"),
        ("1234567812345670", "1234567812345670"),
        ("0000000000000000", "0000000000000000"),
        ("41111111111111111111", "41111111111111111111"),
        ("x4111111111111111", "x4111111111111111"),
        ("4111111111111111x", "4111111111111111x"),
        ("0.4111111111111111", "0.4111111111111111"),
        ("4111111111111111.5", "4111111111111111.5"),
        ("4111 1111-1111 1111", "4111 1111-1111 1111"),
        ("4111  1111 1111 1111", "4111  1111 1111 1111"),
        ("41 11 11 11 11 11 11 11", "41 11 11 11 11 11 11 11"),
        ("4111 1111 1111 1111 1111", "4111 1111 1111 1111 1111"),
        (
            "12345678-4111-4111-8111-111111111111",
            "12345678-4111-4111-8111-111111111111",
        ),
        ("2024-01-02 03:04:05", "2024-01-02 03:04:05"),
        ("1700000000000000", "1700000000000000"),
    ]);
}

#[test]
fn accounts() {
    check(&[
        ("DE89370400440532013000", "[iban]"),
        ("DE89 3704 0044 0532 0130 00", "[iban]"),
        ("gb29nwbk60161331926819", "[iban]"),
        ("IBAN:FR1420041010050500013M02606.", "IBAN:[iban]."),
        ("NO9386011117947", "[iban]"),
        // Alike.
        ("DE89370400440532013001", "DE89370400440532013001"),
        ("DE8937040044053201300", "DE8937040044053201300"),
        ("DE893704004405320130000", "DE893704004405320130000"),
        ("ZZ89370400440532013000", "ZZ89370400440532013000"),
        ("xDE89370400440532013000", "xDE89370400440532013000"),
        ("DE89 37040044 0532 0130 00", "DE89 37040044 0532 0130 00"),
        ("IT89", "IT89"),
    ]);
    check(&[
        ("123-45-6789", "[ssn]"),
        ("ssn 123-45-6789, ok", "ssn [ssn], ok"),
        ("123 45 6789", "[ssn]"),
        ("ssn 123 45 6789.", "ssn [ssn]."),
        ("912-70-1234", "[ssn]"),
        ("999 88 1234", "[ssn]"),
        // Alike.
        ("000-45-6789", "000-45-6789"),
        ("666-45-6789", "666-45-6789"),
        ("923-45-6789", "923-45-6789"),
        ("123-00-6789", "123-00-6789"),
        ("912-93-1234", "912-93-1234"),
        ("912-49-1234", "912-49-1234"),
        ("912-70-0000", "912-70-0000"),
        ("123-45 6789", "123-45 6789"),
        ("1 123 45 6789", "1 123 45 6789"),
        ("123 45 6789 1", "123 45 6789 1"),
        ("123-45-0000", "123-45-0000"),
        ("123456789", "123456789"),
        ("1123-45-6789", "1123-45-6789"),
        ("123-45-67890", "123-45-67890"),
        ("1-123-45-6789", "1-123-45-6789"),
        ("123-45-6789-1", "123-45-6789-1"),
        ("123-45-678é", "123-45-678é"),
    ]);
}

#[test]
fn phones() {
    check(&[
        ("+4930123456789", "[phone]"),
        ("+49 30 1234-5678", "[phone]"),
        ("+1 (212) 555-0123", "[phone]"),
        ("call +44.20.7946.0958.", "call [phone]."),
        ("(212) 555-0123", "[phone]"),
        ("(212)555-0123", "[phone]"),
        ("212-555-0123", "[phone]"),
        ("212.555.0123", "[phone]"),
        ("1-212-555-0123", "[phone]"),
        // Alike.
        ("+1", "+1"),
        ("+1234567", "+1234567"),
        ("+0123456789", "+0123456789"),
        ("+12345678901234567", "+12345678901234567"),
        ("a+12345678", "a+12345678"),
        ("2125550123", "2125550123"),
        ("112-555-0123", "112-555-0123"),
        ("212-155-0123", "212-155-0123"),
        ("212-555-01234", "212-555-01234"),
        ("212-555.0123", "212-555.0123"),
        ("9-212-555-0123", "9-212-555-0123"),
        ("10.212.555.0123", "10.212.555.0123"),
        ("2024-10-10 10:10", "2024-10-10 10:10"),
        ("192.168.100.100", "192.168.100.100"),
    ]);
}

#[test]
fn keys() {
    let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl";
    let unsigned = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.";
    let github = format!("ghp_{}", "a1".repeat(18));
    let stripe = format!("sk_{}_{}", "live", "a1".repeat(12));
    check(&[
        (jwt, "[jwt]"),
        (&format!("Bearer {jwt}, next"), "Bearer [jwt], next"),
        (unsigned, "[jwt]"),
        ("eyJhbGciOiJIUzI1NiJ9.ewogICJzdWIiOiJhIn0.c2ln", "[jwt]"),
        ("x-eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln", "x-[jwt]"),
        ("AKIAIOSFODNN7EXAMPLE", "[key]"),
        (&github, "[key]"),
        (&format!("token={github}\n"), "token=[key]\n"),
        (&stripe, "[key]"),
        (
            "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "aws_secret_access_key = [key]",
        ),
        // Alike.
        ("eyJhbGciOiJIUzI1NiJ9", "eyJhbGciOiJIUzI1NiJ9"),
        ("eyJ.eyJ.", "eyJ.eyJ."),
        (
            "eyJhbGciOiJIUzI1NiJ9.abc.def",
            "eyJhbGciOiJIUzI1NiJ9.abc.def",
        ),
        ("AKIAIOSFODNN7EXAMPLEX", "AKIAIOSFODNN7EXAMPLEX"),
        ("AKIAshort", "AKIAshort"),
        ("ghp_short", "ghp_short"),
        (
            "aws_secret_access_key = short",
            "aws_secret_access_key = short",
        ),
    ]);
    let begin = |kind: &str| format!("-----BEGIN {kind}-----");
    let end = |kind: &str| format!("-----END {kind}-----");
    for kind in [
        "PRIVATE KEY",
        "RSA PRIVATE KEY",
        "OPENSSH PRIVATE KEY",
        "PGP PRIVATE KEY BLOCK",
        "some-other PRIVATE KEY",
    ] {
        let key = format!("a {}\nMIIE\n{} b", begin(kind), end(kind));
        assert_eq!(masked(&key), "a [private-key] b", "{kind}");
        let open = format!("a {}\nMIIE", begin(kind));
        assert_eq!(masked(&open), "a [private-key]", "{kind}");
    }
    let public = format!("{}\nMIIE\n{}", begin("PUBLIC KEY"), end("PUBLIC KEY"));
    assert_eq!(masked(&public), public);
    assert_eq!(masked("----------------"), "----------------");
}

#[test]
fn between_other_text() {
    check(&[
        ("to ada@example.org, now", "to [email], now"),
        ("@@x@example.org.", "@@[email]."),
        ("user@host.c", "user@host.c"),
        ("card 4111 1111 1111 1111.", "card [card]."),
        ("1 4111111111111111", "1 [card]"),
        ("5500-0000-0000-0004", "[card]"),
        ("(GB82WEST12345698765432)", "([iban])"),
        ("call +49 (30) 1234-5678 x", "call [phone] x"),
        ("1+1", "1+1"),
        ("key=AKIAIOSFODNN7EXAMPLE", "key=[key]"),
        ("-----BEGIN CERTIFICATE-----", "-----BEGIN CERTIFICATE-----"),
    ]);
}

#[test]
fn several_in_one_value() {
    check(&[(
        "Jane <jane@example.com>, 4111 1111 1111 1111, +49 30 123456, DE89370400440532013000",
        "Jane <[email]>, [card], [phone], [iban]",
    )]);
}

#[test]
fn only_what_is_switched_on() {
    let value = b"a@b.co 4111111111111111";
    let count = |on| Findings::new(on, value).count();
    assert_eq!(count(Detectors::of(Detector::Email)), 1);
    assert_eq!(count(Detectors::NONE), 0);
    assert_eq!(count(Detectors::ALL), 2);
}

#[test]
fn json_stays_json() {
    let mut out = Vec::new();
    let text = br#"{"q": "\"", "pan": 4111111111111111, "m": "a@b.co"}"#;
    assert!(redact(Detectors::ALL, text, Form::Json, |part| out
        .extend_from_slice(part)));
    assert_eq!(out, br#"{"q": "\"", "pan": null, "m": "[email]"}"#);
}

#[test]
fn names_round_trip() {
    for one in Detector::ALL {
        assert_eq!(Detector::by_name(one.name()), Some(*one));
        assert_eq!(Detectors::of(*one).iter().collect::<Vec<_>>(), [*one]);
    }
    for (name, one) in [
        ("private_key", Detector::PrivateKey),
        ("ssn", Detector::UsSsn),
        ("card", Detector::Pan),
        ("aws-key", Detector::CloudKey),
    ] {
        assert_eq!(Detector::by_name(name), Some(one));
    }
    assert_eq!(Detector::by_name("nonsense"), None);
    assert_eq!(Detectors::from_bits(1 << 8), None);
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
    ] {
        let long = unit.repeat((1 << 20) / unit.len());
        Findings::new(Detectors::ALL, long.as_bytes()).count();
        // Not one long word, but many short ones.
        Findings::new(Detectors::ALL, long.replace(' ', "-").as_bytes()).count();
    }
}
