//! What plugins and detectors chosen by name do to lines.

use super::super::spans::{MAX_BATCH, MAX_SPAN, MAX_WAITING, Spans, column};
use super::*;
use pipeline::mask::{MaskAction, MaskBatch, MaskEdits, MaskPlan};

pub(super) fn plan(actions: Vec<MaskAction>) -> MaskPlan {
    MaskPlan {
        actions: vec![actions],
        ..MaskPlan::pass(1)
    }
}

pub(super) fn detecting(names: &[&str]) -> MaskPlan {
    let names = names.iter().map(|n| (*n).to_owned()).collect();
    plan(vec![MaskAction::Detect(names)])
}

/// Answers as a plugin that replaces `from` by `to`.
pub(super) fn answer(batch: &MaskBatch, from: &str, to: &str) -> MaskEdits {
    let mut edits = MaskEdits::default();
    let mut start = 0;
    for (i, end) in (0..).zip(&batch.ends) {
        let value = String::from_utf8_lossy(&batch.data[start..*end as usize]).into_owned();
        start = *end as usize;
        if value.contains(from) {
            edits.indexes.push(i);
            edits.data.extend(value.replace(from, to).bytes());
            edits.ends.push(u32::try_from(edits.data.len()).unwrap());
        }
    }
    edits
}

/// Everything through a plugin, in pieces of so many bytes.
fn inspected(input: &str, piece: usize, from: &str, to: &str) -> String {
    let mut spans = Spans::new(Kind::Pipe, &plan(vec![MaskAction::Inspect]), 0);
    let (now, mut out) = (Instant::now(), BytesMut::new());
    for mut part in input.as_bytes().chunks(piece.max(1)) {
        while !part.is_empty() {
            let taken = spans.push(part, now, &mut out);
            part = &part[taken..];
            while let Some(batch) = spans.spans_out(0) {
                assert!(batch.data.len() <= MAX_BATCH);
                let edits = answer(&batch, from, to);
                spans.edits_in::<()>(Ok(edits), &mut out);
            }
        }
    }
    spans.flush(&mut out);
    while let Some(batch) = spans.spans_out(0) {
        let edits = answer(&batch, from, to);
        spans.edits_in::<()>(Ok(edits), &mut out);
    }
    assert!(spans.is_empty());
    assert_eq!(out.len(), input.len());
    String::from_utf8(out.to_vec()).unwrap()
}

#[test]
fn edits_keep_the_length() {
    for (input, from, to, expect) in [
        ("to ada now\n", "ada", "[x]", "to [x] now\n"),
        ("to ada now\n", "ada", "x", "to x** now\n"),
        ("to ada now\n", "ada", "", "to *** now\n"),
        ("to ada now\n", "ada", "[email]", "to [em now\n"),
        (
            "to \x1b[1mad\x1b[0ma now\r\n",
            "ada",
            "[x]",
            "to \x1b[1m[x\x1b[0m] now\r\n",
        ),
        (
            "\u{e9}ada\u{e9}\n",
            "ada",
            "\u{e8}\u{e8}",
            "\u{e9}\u{e8}*\u{e9}\n",
        ),
        ("a \u{e9} b\n", "\u{e9}", "\u{129}", "a \u{129} b\n"),
        ("a \u{e9} b\n", "\u{e9}", "e", "a e* b\n"),
        ("ada ada\n", "ada", "x", "x x****\n"),
        // Nothing of an edit steers the terminal.
        ("to ada now\n", "ada", "\x1b[2", "to *[2 now\n"),
        ("to ada now\n", "ada", "a\nb", "to a*b now\n"),
        ("\n\nto ada", "ada", "x", "\n\nto x**"),
        ("", "ada", "x", ""),
        ("ada\x08\x08\x08bob\n", "ada", "x", "x**\x08\x08\x08bob\n"),
        ("ada, adx\x08a\n", "ada", "x", "x**x***x\x08*\n"),
        ("\x1b]0;ada\x07ada\n", "0;ada", "0;x", "\x1b]0;x**\x07ada\n"),
    ] {
        for piece in [1, 3, 100] {
            assert_eq!(inspected(input, piece, from, to), expect, "{input:?}");
        }
    }
}

#[test]
fn lines_are_batched_and_bounded() {
    let many = "a line with ada in it\n".repeat(20_000);
    let expect = many.replace("ada", "x**");
    assert_eq!(inspected(&many, 32 << 10, "ada", "x"), expect);
    let long = format!(
        "{}ada{}\n",
        "x".repeat(MAX_SPAN - 1),
        "y".repeat(3 * MAX_SPAN)
    );
    let out = inspected(&long, 1000, "ada", "...");
    // The part that went out before is seen again, and the rest of the name is replaced.
    assert!(!out.contains("ada"));
    // Nothing more is taken than there is room for, and nothing is asked twice.
    let mut spans = Spans::new(Kind::Pipe, &plan(vec![MaskAction::Inspect]), 0);
    let (now, mut out) = (Instant::now(), BytesMut::new());
    let taken = spans.push(many.as_bytes(), now, &mut out);
    assert!((MAX_WAITING / 20..=MAX_WAITING).contains(&taken), "{taken}");
    assert_eq!(spans.push(b"more\n", now, &mut out), 0);
    assert!(spans.spans_out(0).is_some() && spans.spans_out(0).is_none());
    assert!(out.is_empty());
}

/// A plugin that fails, or answers what cannot be, hides all that it was asked about.
#[test]
fn a_failed_plugin_hides_the_span() {
    let edits = |indexes: &[u32], ends: &[u32], data: &[u8], nulls: &[u32]| MaskEdits {
        indexes: indexes.to_vec(),
        ends: ends.to_vec(),
        data: data.to_vec(),
        nulls: nulls.to_vec(),
    };
    let all = "** \n\t***\n";
    let all = all.replace(' ', "*");
    for (said, expect) in [
        (Err(()), all.as_str()),
        (Ok(edits(&[2], &[1], b"x", &[])), &all),
        (Ok(edits(&[0, 0], &[1, 2], b"xx", &[])), &all),
        (Ok(edits(&[1, 0], &[1, 2], b"xx", &[])), &all),
        (Ok(edits(&[0], &[2], b"x", &[])), &all),
        (Ok(edits(&[0, 1], &[2, 1], b"xx", &[])), &all),
        (Ok(edits(&[0], &[], b"x", &[])), &all),
        (Ok(edits(&[0], &[1], b"x", &[0])), &all),
        (Ok(edits(&[], &[], b"", &[5])), &all),
        (Ok(edits(&[], &[], b"", &[0])), "***\n\tefg\n"),
        (Ok(edits(&[1], &[4], b"\tefx", &[0])), "***\n\tefx\n"),
        (Ok(edits(&[], &[], b"", &[])), "abc\n\tefg\n"),
    ] {
        let mut spans = Spans::new(Kind::Pipe, &plan(vec![MaskAction::Inspect]), 0);
        let mut out = BytesMut::new();
        assert_eq!(spans.push(b"abc\n\tefg\n", Instant::now(), &mut out), 9);
        assert_eq!(spans.spans_out(3).unwrap().cols, [3, 3]);
        spans.edits_in(said.clone(), &mut out);
        assert_eq!(String::from_utf8_lossy(&out), *expect, "{said:?}");
        // What comes next is asked about again.
        let _ = spans.push(b"hij\n", Instant::now(), &mut out);
        assert_eq!(spans.spans_out(0).unwrap().data, b"hij");
    }
    // An answer to nothing changes nothing.
    let mut spans = Spans::new(Kind::Pipe, &plan(vec![MaskAction::Inspect]), 0);
    let mut out = BytesMut::new();
    let _ = spans.push(b"abc\n", Instant::now(), &mut out);
    spans.edits_in::<()>(Ok(MaskEdits::default()), &mut out);
    assert!(out.is_empty() && !spans.is_empty());
}

pub(super) fn native(plan: &MaskPlan, input: &str) -> String {
    let mut spans = Spans::new(Kind::Pipe, plan, 0);
    let mut out = BytesMut::new();
    assert_eq!(
        spans.push(input.as_bytes(), Instant::now(), &mut out),
        input.len()
    );
    spans.flush(&mut out);
    assert!(spans.is_empty() && out.len() == input.len());
    String::from_utf8(out.to_vec()).unwrap()
}

#[test]
fn detectors_by_name() {
    let card = "4111 1111 1111 1111";
    let stars = "*".repeat(19);
    for (names, input, expect) in [
        (
            &["pan"][..],
            format!("pay {card}, a@b.co\n"),
            format!("pay {stars}, a@b.co\n"),
        ),
        (
            &["email"],
            format!("pay {card}, a@b.co\n"),
            format!("pay {card}, ******\n"),
        ),
        (
            &["pan", "email"],
            format!("{card} a@b.co"),
            format!("{stars} ******"),
        ),
        (
            &["pan"],
            "\x1b[1m4111 1111\x1b[0m 1111 1111x\x08\r\n".to_owned(),
            format!("\x1b[1m{}\x1b[0m{}x\x08\r\n", &stars[..9], &stars[..10]),
        ),
        (
            &["iban"],
            "DE89370400440532013000\n".into(),
            format!("{}\n", "*".repeat(22)),
        ),
        // One that does not exist hides everything.
        (&["pan", "bogus"], "abc d\te\n".into(), "*****\t*\n".into()),
    ] {
        assert_eq!(native(&detecting(names), &input), expect);
    }
    // What is taken back, and what is not shown, can be read all the same.
    let back = "\x08".repeat(19);
    for (input, expect) in [
        (format!("{card}{back}x\n"), format!("{stars}{back}x\n")),
        (
            format!("{card}{back}{card}\n"),
            format!("{stars}{back}{stars}\n"),
        ),
        (
            format!("\x1b]0;{card}\x07\n"),
            format!("\x1b]0;{stars}\x07\n"),
        ),
        (
            format!("\x1b[1\x08m{card}\n"),
            format!("\x1b[1\x08m{stars}\n"),
        ),
    ] {
        assert_eq!(native(&detecting(&["pan"]), &input), expect);
    }
    let hidden = native(&MaskPlan::redact_all(1), "ab\x08\x1b]0;cd\x07e\n");
    assert_eq!(hidden, "**\x08\x1b]****\x07*\n");
    for action in [
        MaskAction::Redact("[redacted]".into()),
        MaskAction::Null,
        MaskAction::Hash("k".into()),
        MaskAction::Pseudonym("k".into()),
        MaskAction::KeepFirst(3),
        MaskAction::KeepLast(3),
    ] {
        assert!(action.hides());
        let plan = plan(vec![action, MaskAction::Inspect]);
        assert_eq!(
            native(&plan, "\x1b[1mab\u{e9}\x1b[0m\n"),
            "\x1b[1m****\x1b[0m\n"
        );
    }
    assert!(Spans::new(Kind::Pipe, &MaskPlan::pass(1), 0).passes());
    assert!(!Spans::new(Kind::Pipe, &MaskPlan::redact_all(1), 0).passes());
    // A column that was not planned for.
    let mut spans = Spans::new(Kind::Pipe, &MaskPlan::pass(1), 1);
    let mut out = BytesMut::new();
    let _ = spans.push(b"abc\n", Instant::now(), &mut out);
    assert_eq!(&out[..], b"***\n");
    assert!(!column("stdout").must_mask);
}

/// A number that is typed, and goes out digit by digit: it is never seen whole, and the end of it is replaced as
/// soon as it is one.
#[test]
fn what_went_out_is_judged_again() {
    let mut spans = Spans::new(Kind::Terminal, &detecting(&["pan"]), 0);
    let (now, mut out) = (Instant::now(), BytesMut::new());
    let _ = spans.push(b"pay 411", now, &mut out);
    assert_eq!(spans.deadline(), Some(now + Duration::from_millis(15)));
    spans.tick(now + Duration::from_millis(14), &mut out);
    assert!(out.is_empty());
    spans.tick(now + Duration::from_millis(15), &mut out);
    assert_eq!((&out[..], spans.deadline()), (&b"pay 411"[..], None));
}

/// Lines that are passed over whole come out as they do byte by byte, whatever stands before, in and behind them.
#[test]
fn whole_lines_are_no_exception() {
    // Lines of the first ones are passed over whole.
    let parts: [&[u8]; 31] = [
        b"4111 1111 1111 1111",
        b"4111",
        b"ada@lovelace.example",
        b"+49 30 1234567",
        b"DE89370400440532013000",
        b"\t",
        b" ",
        b"an ordinary line",
        b"\n",
        b"\n",
        b"\r\n",
        b"\x0b",
        b"\x0c",
        b"\x1b[1m",
        b"\x1b[01;34m",
        b"\x1b[0m\x1b[K",
        b"\x1b[m",
        b"41\x1b[38;5;208m11 1\x1b[0m111 1111 1111",
        b"ada@lo\x1b[1mvelace.ex\x1b[0mample",
        b"111",
        b"\xc2\xa0",
        "\u{e9}".as_bytes(),
        "\u{a7}".as_bytes(),
        b"\x08",
        b"\0",
        b"\x7f",
        b"\x1b]0;",
        b"\x07",
        b"\xc2\x85",
        b"\x1b[2C",
        b"\x1b[1\x08m",
    ];
    let ordinary = 23;
    let long = vec![b'x'; MAX_SPAN - 3];
    let (mut seed, mut hidden) = (1_u64, 0);
    for round in 0..2_000 {
        let parts = &parts[..if round % 3 == 0 {
            parts.len()
        } else {
            ordinary
        }];
        let mut input = Vec::new();
        for _ in 0..round % 40 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            match (seed >> 33) % 200 {
                0 => input.extend_from_slice(&long),
                n => input.extend_from_slice(parts[usize::try_from(n).unwrap() % parts.len()]),
            }
        }
        let plan = detecting(&["pan", "email", "phone", "iban"]);
        let pushed = |piece: usize| {
            let mut spans = Spans::new(Kind::Pipe, &plan, 0);
            let (now, mut out) = (Instant::now(), BytesMut::new());
            for part in input.chunks(piece) {
                assert_eq!(spans.push(part, now, &mut out), part.len());
            }
            spans.flush(&mut out);
            out
        };
        let each = pushed(1);
        hidden += usize::from(each != input);
        for piece in [7, 100, usize::MAX] {
            assert_eq!(pushed(piece), each, "{:?}", String::from_utf8_lossy(&input));
        }
    }
    assert!(hidden > 1_000);
}

/// An echo goes out at once, as often as keys were typed; what is only written slowly waits for its line.
#[test]
fn an_echo_does_not_wait_for_its_line() {
    let mut spans = Spans::new(Kind::Terminal, &detecting(&["pan"]), 0);
    let (mut now, mut out) = (Instant::now(), BytesMut::new());
    let mut shown = |spans: &mut Spans, text: &[u8], now| {
        let _ = spans.push(text, now, &mut out);
        String::from_utf8(out.split().to_vec()).unwrap()
    };
    assert_eq!(shown(&mut spans, b"$ ", now), "", "nobody has typed");
    spans.flush(&mut BytesMut::new());
    spans.typed(now);
    assert_eq!(shown(&mut spans, b"4", now), "4");
    assert_eq!(shown(&mut spans, b"1", now), "", "that is no echo");
    spans.typed(now);
    assert_eq!(
        shown(&mut spans, b"1111 ", now),
        "",
        "nor is that: it is too long"
    );
    assert_eq!(shown(&mut spans, b"1111 1111 111", now), "");
    now += Duration::from_millis(201);
    assert_eq!(shown(&mut spans, b"x", now), "", "nor that: it is too late");
    spans.flush(&mut BytesMut::new());
    // What has gone out is judged with what comes, here as everywhere.
    let mut spans = Spans::new(Kind::Terminal, &detecting(&["pan"]), 0);
    let mut seen = String::new();
    for c in b"pay 4111111111111111 now".chunks(1) {
        spans.typed(now);
        seen += &shown(&mut spans, c, now);
    }
    assert_eq!(seen, "pay 411111111111111* now");
    // A line editor draws more than was typed: that waits no longer than all else does, once for each key.
    let mut spans = Spans::new(Kind::Terminal, &detecting(&["pan"]), 0);
    let mut out = BytesMut::new();
    let later = now + Duration::from_millis(15);
    spans.typed(now);
    let _ = spans.push(b"\x1b[7D$ 4111 1", now, &mut out);
    spans.tick(later, &mut out);
    assert_eq!(&out.split()[..], b"\x1b[7D$ 4111 1");
    let _ = spans.push(b"111 1111\x1b[K", later, &mut out);
    spans.tick(later + Duration::from_millis(15), &mut out);
    assert!(out.is_empty());
    // A command's output is nobody's echo.
    let mut spans = Spans::new(Kind::Pipe, &detecting(&["pan"]), 0);
    spans.typed(now);
    assert_eq!(shown(&mut spans, b"4", now), "");
}

/// Lines take more than their bytes.
#[test]
fn empty_lines_are_bounded_too() {
    let mut spans = Spans::new(Kind::Pipe, &plan(vec![MaskAction::Inspect]), 0);
    let (now, mut out) = (Instant::now(), BytesMut::new());
    let taken = spans.push(&[b'\n'; MAX_WAITING], now, &mut out);
    assert!(taken < MAX_WAITING / 50, "{taken}");
    let batch = spans.spans_out(0).unwrap();
    assert!(batch.ends.len() <= 2 * 4096);
    spans.edits_in::<()>(Ok(MaskEdits::default()), &mut out);
    assert!(spans.push(b"\n", now, &mut out) == 1, "there is room again");
}

/// A line without an end, of which each part ends in what may become a find.
#[test]
fn of_a_long_line_little_is_remembered() {
    for plan in [detecting(&["email"]), detecting(&["email", "pan"])] {
        for unit in ["alice@example.org,", "4111 ", "a\x08alice@example.org,"] {
            let mut spans = Spans::new(Kind::Pipe, &plan, 0);
            let (now, mut out) = (Instant::now(), BytesMut::new());
            let input = unit.repeat(10 * MAX_SPAN / unit.len());
            for mut part in input.as_bytes().chunks(1_000) {
                while !part.is_empty() {
                    let taken = spans.push(part, now, &mut out);
                    part = &part[taken..];
                    assert!(
                        spans.remembered() <= 2 * MAX_SPAN + 2,
                        "{}",
                        spans.remembered()
                    );
                }
            }
            spans.flush(&mut out);
            assert_eq!(out.len(), input.len());
            assert!(!out.windows(5).any(|w| w == b"alice"), "{unit:?}");
        }
    }
}

/// A byte of which the next one says what it is, and the next one is the same.
#[test]
fn what_never_says_what_it_is_goes_on() {
    for plan in [detecting(&["email"]), plan(vec![MaskAction::Inspect])] {
        let mut spans = Spans::new(Kind::Pipe, &plan, 0);
        let (now, mut out) = (Instant::now(), BytesMut::new());
        let input = vec![0xC2; 3 * MAX_WAITING];
        let mut rest = &input[..];
        while !rest.is_empty() {
            let taken = spans.push(rest, now, &mut out);
            rest = &rest[taken..];
            let mut asked = false;
            while let Some(batch) = spans.spans_out(0) {
                asked = true;
                spans.edits_in::<()>(Ok(answer(&batch, "x", "y")), &mut out);
            }
            assert!(taken > 0 || asked, "{} are left", rest.len());
        }
        spans.flush(&mut out);
        while let Some(batch) = spans.spans_out(0) {
            spans.edits_in::<()>(Ok(answer(&batch, "x", "y")), &mut out);
        }
        assert!(spans.is_empty() && out == input[..]);
    }
}
