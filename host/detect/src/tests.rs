//! What is found, and beside it what looks alike and is not.

use super::{Detector, Detectors, Findings, Form, redact};

mod fast;
mod lead;

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

fn check(cases: &[(&str, &str)]) {
    for (value, expect) in cases {
        assert_eq!(masked(value), *expect, "{value}");
    }
}

#[test]
fn emails() {
    check(&[
        ("a@b.co", "[email]"),
        // Units of systemd, and what only looks like one.
        ("user@1000.service loaded", "user@1000.service loaded"),
        (
            "logo@2x.png pkg@1.0.0.tar.gz pkg@1.0.0.tar.bz2",
            "logo@2x.png pkg@1.0.0.tar.gz pkg@1.0.0.tar.bz2",
        ),
        (
            "openvpn@server.service x@y.timer foo@bar.mount",
            "openvpn@server.service x@y.timer foo@bar.mount",
        ),
        ("postgresql@15-main.service", "postgresql@15-main.service"),
        (
            "a@b.services a@b.target a@mail.service.co",
            "[email] [email] [email]",
        ),
        ("a@b.co.service", "[email].service"),
        ("write to jane.doe+x@mail.example.com.", "write to [email]."),
        ("<jane@example.org>", "<[email]>"),
        ("a@b.co,c@d.org", "[email],[email]"),
        ("mailto:o'hara@example.ie", "mailto:[email]"),
        ("jürgen@exämple.de", "[email]"),
        ("x@xn--exmple-cua.xn--p1ai", "[email]"),
        ("...a@b.co", "...[email]"),
        ("email=a@b.co&x={c@d.org}", "email=[email]&x={[email]}"),
        ("a@b.co@c.de", "[email]@c.de"),
        ("ada@example.org.2024", "[email].2024"),
        ("ada@example.org-2024", "[email]-2024"),
        ("ada@example.org..x", "[email]..x"),
        ("a@foo.grün.de", "[email]"),
        ("a@пример.рф", "[email]"),
        ("连络先ada@example.orgです。", "[email]です。"),
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
        ("a@b.c0m", "a@b.c0m"),
        ("lodash@4.17.21", "lodash@4.17.21"),
    ]);
    // However long the text is that touches it, and no character is cut in two.
    for word in ["é", "連", "🦀"] {
        for count in [1, 20, 40, 100] {
            let text = word.repeat(count);
            let out = masked(&format!("{text}ada@example.org{text}"));
            let stays = out.strip_prefix(&text).unwrap_or(&out);
            assert_eq!(stays, format!("[email]{text}"));
        }
        let out = masked(&format!("a@{}example.org", format!("{word}.").repeat(63)));
        assert!(out.starts_with("[email]") || out.starts_with("a@"), "{out}");
    }
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
        ("card-4111111111111111", "card-[card]"),
        ("card-4111 1111 1111 1111-x", "card-[card]-x"),
        ("paid.4111111111111111.Thanks", "paid.[card].Thanks"),
        ("card_4111111111111111_x", "card_[card]_x"),
        ("“4111 1111 1111 1111”", "“[card]”"),
        ("card:\u{a0}4111111111111111", "card:\u{a0}[card]"),
        ("卡号4111111111111111。", "卡号[card]。"),
        ("2200000000000004", "[card]"),
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
        (
            "abcdefab-4111-1111-1111-1111aaaaaaaa",
            "abcdefab-4111-1111-1111-1111aaaaaaaa",
        ),
        ("abc-4111-1111-1111-1111", "abc-4111-1111-1111-1111"),
        ("4111111111111111-5", "4111111111111111-5"),
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
    check(&[
        // Names before them, quotation marks, text without spaces.
        ("ssn_123-45-6789_x", "ssn_[ssn]_x"),
        ("SSN-123-45-6789-x", "SSN-[ssn]-x"),
        ("社会保障号123-45-6789。", "社会保障号[ssn]。"),
        ("„DE89370400440532013000“", "„[iban]“"),
        ("iban_DE89370400440532013000", "iban_[iban]"),
    ]);
}

#[test]
fn phones() {
    check(&[
        ("+4930123456789", "[phone]"),
        ("+49 30 1234-5678", "[phone]"),
        ("+1 (212) 555-0123", "[phone]"),
        ("call +44.20.7946.0958.", "call [phone]."),
        // A zone behind a time, and what is none.
        (
            "12:34:56.123456789 +1000 20241128.log",
            "12:34:56.123456789 +1000 20241128.log",
        ),
        (
            "2024-11-28 12:34:56 +1000 20241128.log",
            "2024-11-28 12:34:56 +1000 20241128.log",
        ),
        ("12:34:56 +1030 12345678", "12:34:56 +1030 12345678"),
        ("12:34:56 +4930 12345678", "12:34:56 [phone]"),
        ("12:34:56 +1001 12345678", "12:34:56 [phone]"),
        ("12:34:56 +10001 2345678", "12:34:56 [phone]"),
        ("12:34:56 +49 30 1234567", "12:34:56 [phone]"),
        ("12:34:56  +1000 12345678", "12:34:56  [phone]"),
        ("12:34 +1000 12345678", "12:34 [phone]"),
        ("ext 6 +1000 12345678", "ext 6 [phone]"),
        ("+49 30 1234567 2024-11-26", "[phone] 2024-11-26"),
        ("+4930123456 4111 1111 1111 1111", "[phone] [card]"),
        ("tel_+49 30 1234567", "tel_[phone]"),
        ("+4111 1111 1111 1111", "+[card]"),
        ("tel-212-555-0123", "tel-[phone]"),
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
        (
            "token_eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln",
            "token_[jwt]",
        ),
        ("prod_AKIAIOSFODNN7EXAMPLE_x", "prod_[key]_x"),
        ("AKIAIOSFODNN7EXAMPLE", "[key]"),
        (&github, "[key]"),
        (&format!("token={github}\n"), "token=[key]\n"),
        (&stripe, "[key]"),
        (
            "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "aws_secret_access_key = [key]",
        ),
        (
            r#"{"SecretAccessKey": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}"#,
            r#"{"SecretAccessKey": "[key]"}"#,
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
            "|  SecretAccessKey |  wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY  |",
            "|  SecretAccessKey |  [key]  |",
        ),
        (
            r#"{\"SecretAccessKey\":\"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\"}"#,
            r#"{\"SecretAccessKey\":\"[key]\"}"#,
        ),
        (
            r#"{\"name\":\"AWS_SECRET_ACCESS_KEY\",\"value\":\"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\"}"#,
            r#"{\"name\":\"AWS_SECRET_ACCESS_KEY\",\"value\":\"[key]\"}"#,
        ),
        (
            r#"os.environ["AWS_SECRET_ACCESS_KEY"] = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY""#,
            r#"os.environ["AWS_SECRET_ACCESS_KEY"] = "[key]""#,
        ),
        (
            "secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY'",
            "secretAccessKey: '[key]'",
        ),
        (
            r#"{"name":"AWS_SECRET_ACCESS_KEY","value":"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}"#,
            r#"{"name":"AWS_SECRET_ACCESS_KEY","value":"[key]"}"#,
        ),
        (
            r#""AWS_SECRET_ACCESS_KEY", "Value": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY""#,
            r#""AWS_SECRET_ACCESS_KEY", "Value": "[key]""#,
        ),
        // Another word, the word alone, too far away, and a digest of another length.
        (
            "AWS_SECRET_ACCESS_KEY, sha wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "AWS_SECRET_ACCESS_KEY, sha wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        ),
        (
            "AWS_SECRET_ACCESS_KEYvalue=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "AWS_SECRET_ACCESS_KEYvalue=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        ),
        (
            "SecretAccessKey                          wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "SecretAccessKey                          wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        ),
        (
            "| SecretAccessKey | b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9 |",
            "| SecretAccessKey | b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9 |",
        ),
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

/// A key that runs into a token, a token whose end is the beginning of an account.
#[test]
fn one_that_begins_inside_of_another() {
    let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl";
    check(&[
        (&format!("xoxb-{jwt}, x"), "[key], x"),
        (
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.DE89 3704 0044 0532 0130 00, x",
            "[jwt], x",
        ),
    ]);
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
    out.clear();
    let text = br#"[-4111111111111111, "-4111111111111111"]"#;
    assert!(redact(Detectors::ALL, text, Form::Json, |part| out
        .extend_from_slice(part)));
    assert_eq!(out, br#"[null, "-[card]"]"#);
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
