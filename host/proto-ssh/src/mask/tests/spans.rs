//! What plugins and detectors chosen by name do to lines.

use super::super::spans::{MAX_BATCH, MAX_SPAN, MAX_WAITING, Spans, column};
use super::*;
use pipeline::mask::{MaskAction, MaskBatch, MaskEdits, MaskPlan};

fn plan(actions: Vec<MaskAction>) -> MaskPlan {
    MaskPlan {
        actions: vec![actions],
        ..MaskPlan::pass(1)
    }
}

fn detecting(names: &[&str]) -> MaskPlan {
    let names = names.iter().map(|n| (*n).to_owned()).collect();
    plan(vec![MaskAction::Detect(names)])
}

/// Answers as a plugin that replaces `from` by `to`.
fn answer(batch: &MaskBatch, from: &str, to: &str) -> MaskEdits {
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

fn native(plan: &MaskPlan, input: &str) -> String {
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
