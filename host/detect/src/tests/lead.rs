//! What a text ends with, at every place where a finding can be cut.

use crate::{Detector, Detectors, Findings, lead};

/// With how much of a find there has to be one. The last of these is found in each text.
const WHOLE: &[(&str, usize)] = &[
    ("4111111111111111", 4),
    ("4111 1111 1111 1111", 4),
    ("5500-0000-0000-0004", 4),
    ("378282246310005", 4),
    ("3782 822463 10005", 4),
    ("30569309025904", 4),
    ("6011111111111117", 4),
    ("4222222222222", 4),
    ("6304000000000000000", 4),
    ("DE89370400440532013000", 4),
    ("DE89 3704 0044 0532 0130 00", 4),
    ("NO9386011117947", 4),
    ("GB82 WEST 1234 5698 7654 32", 4),
    ("123-45-6789", 5),
    ("123 45 6789", 5),
    ("+49 30 1234567", 7),
    ("+1 (212) 555-0123", 8),
    ("+442071838750", 5),
    ("(212) 555-0123", 5),
    ("212-555-0123", 5),
    ("1-212-555-0123", 7),
    ("212.555.0123", 5),
    ("ada@lovelace.example.org", 5),
    ("o'hara.x+y@example.ie", 12),
    ("a@b.co", 4),
];

#[test]
fn what_is_found_has_a_lead_at_every_place() {
    for before in [
        "",
        "pay ",
        "x=",
        "\u{e9}",
        "4111 1111 1111 1111, ",
        "card_",
        "\"",
        "12 ",
    ] {
        for (value, from) in WHOLE {
            // Words of other scripts may stand beside an address, and belong to it then.
            if before == "\u{e9}" && value.contains('@') {
                continue;
            }
            let whole = format!("{before}{value}");
            let found = Findings::new(Detectors::ALL, whole.as_bytes());
            let found: Vec<_> = found.filter(|f| f.end == whole.len()).collect();
            let Some(found) = found.first() else {
                // As `12 123 45 6789`, which is a list.
                assert_eq!(before, "12 ", "{whole}");
                continue;
            };
            // What stands before an address may be a part of it.
            for end in before.len() + from..=whole.len() {
                let begun = lead(Detectors::ALL, &whole.as_bytes()[..end]);
                assert!(
                    begun.is_some_and(|at| at <= found.start),
                    "{:?}: {begun:?}",
                    &whole[..end]
                );
                let alone = lead(Detectors::of(found.what), &whole.as_bytes()[..end]);
                assert_eq!(alone, Some(found.start), "{:?}", &whole[..end]);
            }
        }
    }
}

#[test]
fn what_cannot_become_a_find_has_none() {
    for text in [
        "",
        "411",
        "pay 411",
        "it took 1234",
        "at 1700000000",
        "4111 1111 1111 1111 now",
        "4111:",
        "x4111",
        "41111111111111111111",
        "4111 111 ",
        "4111 1111111",
        "8111 1111",
        "127.0.0.1:",
        "DE8",
        "XX89",
        "DE8937040044053201300000",
        "12-34",
        "123-456",
        "123-4 ",
        "+0123",
        "+12 ,",
        "112-555",
        "(112) 5",
        "ada",
        "@ada",
        "ada@b c",
        "[root@web1 ~]$ ",
        "git clone ssh://x/",
    ] {
        assert_eq!(lead(Detectors::ALL, text.as_bytes()), None, "{text:?}");
    }
    let some = Detectors::of(Detector::Email).with(Detector::Iban);
    assert_eq!(lead(some, b"pay 4111 1111"), None);
    assert_eq!(lead(Detectors::NONE, b"pay 4111 1111"), None);
}
