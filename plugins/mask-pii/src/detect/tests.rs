//! What is found, and beside it what looks alike and is not.

use super::{Detectors, scan};

/// The value with every find replaced by its name.
fn masked(value: &str) -> String {
    let mut found = Vec::new();
    scan(value.as_bytes(), Detectors::ALL, &mut found);
    let mut out = String::new();
    let mut at = 0;
    for find in found {
        assert!(
            find.start >= at && find.end > find.start,
            "{value}: {find:?}"
        );
        out.push_str(&value[at..find.start]);
        out.push_str(&format!("[{}]", find.what));
        at = find.end;
    }
    out + &value[at..]
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
        // Alike.
        ("000-45-6789", "000-45-6789"),
        ("666-45-6789", "666-45-6789"),
        ("923-45-6789", "923-45-6789"),
        ("123-00-6789", "123-00-6789"),
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
fn several_in_one_value() {
    check(&[(
        "Jane <jane@example.com>, 4111 1111 1111 1111, +49 30 123456, DE89370400440532013000",
        "Jane <[email]>, [card], [phone], [iban]",
    )]);
}

#[test]
fn only_what_is_switched_on() {
    let value = b"a@b.co 4111111111111111";
    let mut found = Vec::new();
    scan(value, Detectors::EMAIL, &mut found);
    assert_eq!(found.len(), 1);
    scan(value, Detectors::NONE, &mut found);
    assert_eq!(found.len(), 1);
}

/// Every cut of everything above, and bytes that are no UTF-8: nothing panics, nothing is slow.
#[test]
fn any_bytes() {
    let nasty = [
        "@",
        "+",
        "(",
        "-----BEGIN ",
        "eyJ",
        "DE89",
        "4111-",
        "1-",
        "é",
        "\u{0}",
        "\"",
    ];
    let mut found = Vec::new();
    for a in nasty {
        for b in nasty {
            let text = [a, b, a, b, "a@b.co", b, a].concat();
            for from in 0..text.len() {
                scan(&text.as_bytes()[from..], Detectors::ALL, &mut found);
            }
        }
    }
    scan(&[0xff; 1000], Detectors::ALL, &mut found);
    for unit in [
        "@",
        "a@",
        "+1",
        "eyJ",
        "DE89",
        "-----BEGIN RSA PRIVATE KEY",
        "1-",
        "a.b@c.",
    ] {
        let long = unit.repeat((1 << 18) / unit.len());
        scan(long.as_bytes(), Detectors::ALL, &mut found);
    }
}
