//! What may become a find of detectors and has not come whole: it waits, and the cursor may go back over it.

use super::super::spans::{MAX_SPAN, Spans};
use super::spans::{answer, detecting, native, plan};
use super::*;
use pipeline::mask::{MaskAction, MaskPlan};

/// Byte after byte, and every timer fires between them. What of it had not been hidden when the last byte had come, too.
fn trickled(kind: Kind, plan: &MaskPlan, input: &str, pause: Duration) -> String {
    let mut spans = Spans::new(kind, plan, 0);
    let (mut now, mut out) = (Instant::now(), BytesMut::new());
    for part in input.as_bytes().chunks(1) {
        assert_eq!(spans.push(part, now, &mut out), 1);
        let later = now + pause;
        while let Some(at) = spans.deadline().filter(|at| *at <= later) {
            spans.tick(at, &mut out);
        }
        now = later;
    }
    spans.flush(&mut out);
    assert_eq!(out.len(), input.len());
    String::from_utf8_lossy(&out).into_owned()
}

/// However slowly it comes: what may become a find waits for two seconds once four characters of it are there, and what
/// is certain is replaced even where the rest has gone out.
#[test]
fn what_trickles_is_hidden_as_far_as_it_can_be() {
    let all = plan(vec![MaskAction::Detect(
        ["pan", "iban", "us-ssn", "phone", "email"]
            .map(String::from)
            .into(),
    )]);
    for (value, clear) in [
        ("4111111111111111", 3),
        ("4111 1111 1111 1111", 3),
        ("3782-822463-10005", 3),
        ("DE89370400440532013000", 3),
        ("DE89 3704 0044 0532 0130 00", 3),
        ("123-45-6789", 4),
        ("+49 30 1234567", 6),
        ("(212) 555-0123", 4),
        ("ada@lovelace.example", 3),
    ] {
        for (before, behind) in [
            ("pay ", " now\n"),
            ("", "\n"),
            ("\x1b[1m", "\x1b[0m\r\n"),
            ("a", ""),
        ] {
            let before = if before == "a" { "a b " } else { before };
            for kind in [Kind::Terminal, Kind::Pipe] {
                for pause in [0, 1, 16, 51, 60] {
                    let input = format!("{before}{value}{behind}");
                    let out = trickled(kind, &all, &input, Duration::from_millis(pause));
                    let stars = out.bytes().filter(|c| *c == b'*').count();
                    assert!(
                        stars >= value.len() - clear,
                        "{input:?} each {pause}: {out:?}"
                    );
                    assert!(out.starts_with(before) && out.ends_with(behind), "{out:?}");
                }
                // Slower than that: never all of it.
                for pause in [700, 1_999, 2_001, 60_000] {
                    let input = format!("{before}{value}{behind}");
                    let out = trickled(kind, &all, &input, Duration::from_millis(pause));
                    assert!(!out.contains(value), "{out:?}");
                    assert!(out.starts_with(before) && out.ends_with(behind), "{out:?}");
                }
            }
        }
    }
    // What follows on what has gone out of an address is a part of it, too.
    let out = trickled(
        Kind::Pipe,
        &all,
        "ada@lovelace.example\n",
        Duration::from_secs(3),
    );
    assert_eq!(out, "ada@lovelace.e******\n");
    let out = trickled(
        Kind::Pipe,
        &all,
        "pay 4111111111111111 now\n",
        Duration::from_millis(700),
    );
    assert_eq!(out, "pay 411111111111111* now\n");
}

/// It waits no longer than until it cannot be one, or for two seconds; what stands before it does not.
#[test]
fn what_cannot_become_a_find_does_not_wait() {
    let mut spans = Spans::new(Kind::Pipe, &detecting(&["pan"]), 0);
    let (start, mut out) = (Instant::now(), BytesMut::new());
    let after = |millis: u64| start + Duration::from_millis(millis);
    let _ = spans.push(b"\x1b[1mpay 41\x1b[0m11 11", start, &mut out);
    assert_eq!(spans.deadline(), Some(after(50)));
    spans.tick(after(50), &mut out);
    assert_eq!(&out.split()[..], b"\x1b[1mpay ");
    assert_eq!(spans.deadline(), Some(after(2_050)));
    let _ = spans.push(b"x", after(500), &mut out);
    assert_eq!((out.len(), spans.deadline()), (0, Some(after(550))));
    spans.tick(after(550), &mut out);
    assert_eq!(&out.split()[..], b"41\x1b[0m11 11x");
    assert!(spans.is_empty() && spans.deadline().is_none());
    let _ = spans.push(b" 4111 1", after(1_000), &mut out);
    spans.tick(after(1_050), &mut out);
    assert_eq!(&out.split()[..], b" ");
    spans.tick(after(3_049), &mut out);
    assert!(out.is_empty());
    spans.tick(after(3_050), &mut out);
    assert_eq!(&out.split()[..], b"4111 1");
    // Of what has gone out nothing is waited for that says nothing more of it.
    let _ = spans.push(b"\x1b[0m", after(4_000), &mut out);
    spans.tick(after(4_050), &mut out);
    assert_eq!(&out.split()[..], b"\x1b[0m");
    let _ = spans.push(b"111 1111 1111\n", after(4_100), &mut out);
    assert_eq!(
        &out.split()[..],
        b"*** **** ****\n".map(|c| if c == b' ' { b'*' } else { c })
    );
    // It does not wait at the end, either, nor where everything is hidden.
    let _ = spans.push(b"4111 1", after(5_000), &mut out);
    spans.flush(&mut out);
    assert_eq!(&out.split()[..], b"4111 1");
    let mut spans = Spans::new(Kind::Pipe, &MaskPlan::redact_all(1), 0);
    let _ = spans.push(b"4111 1", start, &mut out);
    spans.tick(after(50), &mut out);
    assert_eq!(&out[..], b"******");
}

/// Plugins are asked about what goes out, and not shown what was found of a line before.
#[test]
fn plugins_see_a_line_in_parts_that_a_find_is_not_cut_by() {
    let actions = vec![MaskAction::Detect(vec!["pan".into()]), MaskAction::Inspect];
    let mut spans = Spans::new(Kind::Pipe, &plan(actions), 0);
    let (start, mut out) = (Instant::now(), BytesMut::new());
    let after = |millis: u64| start + Duration::from_millis(millis);
    let mut asked = Vec::new();
    let mut answered = |spans: &mut Spans, out: &mut BytesMut| {
        let batch = spans.spans_out(0).unwrap();
        asked.push(String::from_utf8(batch.data.clone()).unwrap());
        spans.edits_in::<()>(Ok(answer(&batch, "ada", "x")), out);
    };
    let _ = spans.push(b"ada 4111 1111 1111 11", start, &mut out);
    spans.tick(after(50), &mut out);
    answered(&mut spans, &mut out);
    assert_eq!(&out.split()[..], b"x** ");
    let _ = spans.push(b"11, ", after(100), &mut out);
    spans.tick(after(150), &mut out);
    answered(&mut spans, &mut out);
    assert_eq!(&out.split()[..], b"*******************, ");
    let _ = spans.push(b"and\n", after(200), &mut out);
    answered(&mut spans, &mut out);
    assert_eq!(&out.split()[..], b"and\n");
    let stars = "*".repeat(19);
    let expect = [
        "ada ".to_owned(),
        format!("ada {stars}, "),
        format!("ada {stars}, and"),
    ];
    assert_eq!(asked, expect);
}

/// A line is cut where it is too long, and not in the middle of what may be found.
#[test]
fn a_find_is_not_cut_where_a_line_is_too_long() {
    for before in MAX_SPAN - 20..MAX_SPAN + 2 {
        let input = format!("{} 4111111111111111 z\n", "x".repeat(before));
        let out = native(&detecting(&["pan"]), &input);
        let stars = out.bytes().filter(|c| *c == b'*').count();
        // The first three digits say nothing yet.
        assert!(stars >= 13, "{before}: {stars}");
    }
}

/// What the cursor goes back over are characters, of a tab as many places as it has, and also those that have gone out.
#[test]
fn what_is_taken_back_is_no_part_of_a_find() {
    let digits = "4111 1111 1111 1111";
    for between in [
        "x\x08",
        "xyz\x1b[3D",
        "\u{e9}\x08",
        "\u{20ac}\u{1f680}\x08\x08",
        "\u{a7}\x08",
        "9\x08",
        "99\x08 \x08\x08",
        "a\x08b\x08c\x08",
    ] {
        for at in 1..digits.len() {
            let (a, b) = digits.split_at(at);
            let input = format!("pay {a}{between}{b} now\n");
            let out = native(&detecting(&["pan"]), &input);
            let stars = out.bytes().filter(|c| *c == b'*').count();
            assert!(stars >= digits.len(), "{input:?}: {out:?}");
            // What had gone out when the cursor went back is judged with what follows, too.
            let mut spans = Spans::new(Kind::Terminal, &detecting(&["pan"]), 0);
            let (now, mut out) = (Instant::now(), BytesMut::new());
            let cut = input.len() - " now\n".len() - b.len();
            let back = between.find(['\x08', '\x1b']).unwrap();
            for end in [cut, cut - between.len() + back] {
                let _ = spans.push(&input.as_bytes()[..end], now, &mut out);
                spans.flush(&mut out);
                let _ = spans.push(&input.as_bytes()[end..], now, &mut out);
                let text = out.split();
                let own = &text[text.len() - b.len() - 5..text.len() - 5];
                assert!(own.iter().all(|c| *c == b'*'), "{input:?}: {text:?}");
            }
        }
    }
    // From their columns the tabs have four places, three, and seven.
    for input in [
        "4111\t\x08\x08\x08\x08 1111 1111 1111\n",
        "4111 \t\x1b[3D1111 1111 1111\n",
        "\t4111 1111\t\x1b[7D 1111 1111\n",
    ] {
        let out = native(&detecting(&["pan"]), input);
        let stars = out.bytes().filter(|c| *c == b'*').count();
        assert_eq!(stars, digits.len(), "{input:?}: {out:?}");
    }
}
