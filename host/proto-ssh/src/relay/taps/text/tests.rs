//! What masks do to text and to what is none, and who is told.

use super::*;

const TOKEN: &[u8] = b"ghp_0123456789abcdefghijklmnopqrstuvwxyzABCD";

fn tap() -> Text {
    with(Binary::Mask, MaskPlan::pass(2))
}

fn with(binary: Binary, plan: MaskPlan) -> Text {
    let secret = zeroize::Zeroizing::new(b"hunter22hunter22".to_vec());
    let patterns = Arc::new(Patterns::new([secret]).unwrap());
    Text::new(&patterns, (Kind::Pipe, 0), plan, binary)
}

/// What has gone on of the output.
fn seen(out: &TapOut) -> Vec<u8> {
    let pieces = out.pieces.iter().filter(|(s, _)| *s == Stream::Output);
    pieces.flat_map(|(_, b)| b.to_vec()).collect()
}

/// What a stream holds back goes on before what the other one says later.
#[test]
fn the_order_of_the_host_stays() {
    let mut tap = tap();
    let now = Instant::now();
    let mut out = TapOut::default();
    for (stream, data) in [
        (Stream::Output, &b"say hunt"[..]),
        (Stream::Errors, b"error\n"),
    ] {
        tap.push(stream, Bytes::from_static(data), now, &mut out)
            .unwrap();
    }
    let seen: Vec<_> = out.pieces.iter().map(|(s, b)| (*s, b.as_ref())).collect();
    let expect: [(Stream, &[u8]); 3] = [
        (Stream::Output, b"say "),
        (Stream::Output, b"hunt"),
        (Stream::Errors, b"error\n"),
    ];
    assert_eq!(seen, expect);
}

/// A secret that goes on behind a full line is one: what is full is said by the width that the terminal has just
/// then, on either stream.
#[test]
fn a_terminal_has_the_width_that_it_was_told_last() {
    let secret = b"hunter22hunter22";
    let (a, b) = secret.split_at(9);
    // How wide it is at first and then, and whether a line of 40 is full.
    let widths: [(u32, &[u32], bool); 8] = [
        (40, &[], true),
        (80, &[], false),
        (80, &[40], true),
        (40, &[80], false),
        (80, &[132, 40], true),
        (80, &[40, 132], false),
        (0, &[20], true),
        // More than any terminal has.
        (40, &[u32::MAX], false),
    ];
    for (first, then, full) in widths {
        for stream in [Stream::Output, Stream::Errors] {
            let known = zeroize::Zeroizing::new(secret.to_vec());
            let patterns = Arc::new(Patterns::new([known]).unwrap());
            let plan = MaskPlan::pass(2);
            let mut tap = Text::new(&patterns, (Kind::Terminal, first), plan, Binary::default());
            let (now, mut out) = (Instant::now(), TapOut::default());
            let mut push = |tap: &mut Text, text: Vec<u8>| {
                tap.push(stream, text.into(), now, &mut out).unwrap();
            };
            push(&mut tap, b"before it\r\n".to_vec());
            for columns in then {
                tap.resize(*columns);
            }
            let line = "$".repeat(40 - a.len()).into_bytes();
            push(&mut tap, [&line, a, b" \r", b, b" z\r\n"].concat());
            tap.flush(stream, now, &mut out).unwrap();
            let seen: Vec<u8> = out.pieces.iter().flat_map(|(_, b)| b.to_vec()).collect();
            let stars = seen.iter().filter(|c| **c == b'*').count();
            let expect = if full { secret.len() } else { 0 };
            let text = String::from_utf8_lossy(&seen);
            assert_eq!(stars, expect, "{first} {then:?} {stream:?}: {text}");
        }
    }
}

/// What is no text is told once, and masked like everything else.
#[test]
fn one_nul_turns_nothing_off() {
    let mut tap = tap();
    let now = Instant::now();
    let mut out = TapOut::default();
    let token = TOKEN;
    tap.push(Stream::Output, Bytes::from_static(b"\0"), now, &mut out)
        .unwrap();
    assert_eq!(out.bulk.take(), Some(Stream::Output));
    tap.push(Stream::Output, Bytes::from_static(token), now, &mut out)
        .unwrap();
    tap.push(Stream::Output, Bytes::from(vec![0; 1000]), now, &mut out)
        .unwrap();
    tap.flush(Stream::Output, now, &mut out).unwrap();
    assert_eq!(out.bulk, None);
    let seen: Vec<u8> = out.pieces.iter().flat_map(|(_, b)| b.to_vec()).collect();
    assert_eq!(seen.len(), 1 + token.len() + 1000);
    assert!(!seen.windows(8).any(|w| w == &token[8..16]));
}

/// Text is masked whatever is done with what is none, and with the output standard error is not given up.
#[test]
fn text_is_masked_whatever_is_done_with_the_rest() {
    for binary in Binary::ALL {
        let mut tap = with(binary, MaskPlan::pass(2));
        let (now, mut out) = (Instant::now(), TapOut::default());
        let line = [b"say ", TOKEN, b" now\n"].concat();
        for part in line.chunks(5) {
            tap.push(Stream::Output, Bytes::copy_from_slice(part), now, &mut out)
                .unwrap();
        }
        tap.flush(Stream::Output, now, &mut out).unwrap();
        let expect = format!("say ghp_{} now\n", "*".repeat(TOKEN.len() - 4));
        assert_eq!(seen(&out), expect.as_bytes(), "{binary:?}");
        let nul = Bytes::from_static(b"\0");
        assert_eq!(
            tap.push(Stream::Errors, nul, now, &mut out).is_err(),
            binary == Binary::Refuse
        );
        out.pieces.clear();
        tap.push(Stream::Output, line.into(), now, &mut out)
            .unwrap();
        assert_eq!(seen(&out), expect.as_bytes(), "{binary:?}");
    }
}

/// Cut anywhere: up to the packet that tells, everything is masked; from there on no byte is touched, nothing is lost and
/// nothing overtakes.
#[test]
fn what_passes_untouched_does_so_from_the_packet_on_that_tells() {
    let all = [
        b"a ",
        TOKEN,
        b" b hunter22hunt\0er22hunter22 ",
        TOKEN,
        b"\n",
    ]
    .concat();
    let nul = all.iter().position(|c| *c == 0).unwrap();
    for at in 1..all.len() {
        let mut tap = with(Binary::Pass, MaskPlan::pass(2));
        let (now, mut out) = (Instant::now(), TapOut::default());
        for part in [&all[..at], &all[at..]] {
            tap.push(Stream::Output, Bytes::copy_from_slice(part), now, &mut out)
                .unwrap();
        }
        tap.flush(Stream::Output, now, &mut out).unwrap();
        let from = if at <= nul { at } else { 0 };
        assert_eq!(out.unmasked, Some((Stream::Output, from as u64)));
        let seen = seen(&out);
        assert_eq!(&seen[from..], &all[from..], "cut at {at}");
        let stars = all[..from].iter().zip(&seen);
        assert!(stars.into_iter().all(|(was, is)| was == is || *is == b'*'));
        // What came before it was text: of a secret that had begun there, nothing is let go of for that.
        let begun = b" b hunter22hunt".len();
        if from >= nul - 2 {
            let masked = &seen[nul - begun + 3..from];
            assert!(masked.iter().all(|c| *c == b'*'), "cut at {at}");
        }
        assert!(from < 20 || !seen[..from].windows(8).any(|w| w == &TOKEN[8..16]));
    }
}

/// It waits behind text that plugins look at, and everything after it does.
#[test]
fn what_is_untouched_does_not_overtake_what_plugins_look_at() {
    let plan = MaskPlan {
        actions: vec![vec![pipeline::mask::MaskAction::Inspect]; 2],
        ..MaskPlan::pass(2)
    };
    let mut tap = with(Binary::Pass, plan);
    let (now, mut out) = (Instant::now(), TapOut::default());
    let push = |tap: &mut Text, data: &[u8], out: &mut TapOut| {
        tap.push(Stream::Output, Bytes::copy_from_slice(data), now, out)
            .unwrap();
    };
    push(&mut tap, b"one\ntwo", &mut out);
    push(&mut tap, b"\0\x01", &mut out);
    push(&mut tap, TOKEN, &mut out);
    tap.flush(Stream::Output, now, &mut out).unwrap();
    assert!(seen(&out).is_empty() && tap.is_inspecting());
    let mut asked = 0;
    while let Some(inspect) = out.inspect.pop() {
        asked += inspect.batch.ends.len();
        let edits = Ok(MaskEdits::default());
        tap.inspected(inspect.stream, edits, now, &mut out);
    }
    assert_eq!(asked, 2, "of what is no text, plugins are shown nothing");
    assert!(!tap.is_inspecting());
    push(&mut tap, b"more", &mut out);
    let expect = [b"one\ntwo\0\x01", TOKEN, b"more"].concat();
    assert_eq!(seen(&out), expect);
}

/// Nothing of the packet that tells goes on, and nothing of what was held back.
#[test]
fn what_is_no_text_is_refused() {
    for (stream, name) in [
        (Stream::Output, "output"),
        (Stream::Errors, "standard error"),
    ] {
        let mut tap = with(Binary::Refuse, MaskPlan::pass(2));
        let (now, mut out) = (Instant::now(), TapOut::default());
        tap.push(stream, Bytes::from_static(b"say hunter22"), now, &mut out)
            .unwrap();
        let before = std::mem::take(&mut out);
        let data = [b"hunter22\0", TOKEN].concat();
        let error = tap.push(stream, data.into(), now, &mut out).unwrap_err();
        assert!(error.0.contains(&format!("the {name} of the command")));
        assert!(out.pieces.is_empty());
        let seen: Vec<u8> = before.pieces.iter().flat_map(|(_, b)| b.to_vec()).collect();
        assert_eq!(seen, b"say ");
    }
}

/// Terminals show everything as text.
#[test]
fn a_terminal_is_never_binary() {
    for binary in Binary::ALL {
        let patterns = Arc::new(Patterns::new([]).unwrap());
        let mut tap = Text::new(&patterns, (Kind::Terminal, 80), MaskPlan::pass(2), binary);
        let (now, mut out) = (Instant::now(), TapOut::default());
        let data = [b"\0\x01\x02", TOKEN, b"\r\n"].concat();
        tap.push(Stream::Output, data.into(), now, &mut out)
            .unwrap();
        tap.flush(Stream::Output, now, &mut out).unwrap();
        assert!(!seen(&out).windows(8).any(|w| w == &TOKEN[8..16]));
        assert_eq!((out.bulk, out.unmasked), (None, None));
    }
}

/// Whoever gets changed bytes of what is no text can be told how many, wherever it is cut and whoever changed them.
#[test]
fn bytes_that_were_changed_are_counted_once_it_is_no_text() {
    let detects = MaskPlan {
        actions: vec![vec![pipeline::mask::MaskAction::Detect(vec!["email".into()])]; 2],
        ..MaskPlan::pass(2)
    };
    let all = [
        b"a ",
        TOKEN,
        b"\0\x01 ",
        TOKEN,
        b" z\x02 eve@example.com \0\n",
    ]
    .concat();
    let nul = all.iter().position(|c| *c == 0).unwrap();
    for plan in [MaskPlan::pass(2), detects] {
        for at in 1..all.len() {
            let mut tap = with(Binary::Mask, plan.clone());
            let (now, mut out) = (Instant::now(), TapOut::default());
            for part in [&all[..at], &all[at..]] {
                tap.push(Stream::Output, Bytes::copy_from_slice(part), now, &mut out)
                    .unwrap();
            }
            tap.flush(Stream::Output, now, &mut out).unwrap();
            let seen = seen(&out);
            assert_eq!(seen.len(), all.len());
            // From the packet on that tells.
            let from = if at <= nul { at } else { 0 };
            let changed = all[from..].iter().zip(&seen[from..]);
            let changed = changed.filter(|(was, is)| was != is).count() as u64;
            assert!(changed >= TOKEN.len() as u64 - 4, "cut at {at}");
            let counted: u64 = out.masked.iter().map(|(_, n)| n).sum();
            assert_eq!(counted, changed, "cut at {at}");
            assert!(out.masked.iter().all(|(s, _)| *s == Stream::Output));
        }
    }
    // Of text nobody is told: there it can be seen.
    let mut tap = with(Binary::Mask, MaskPlan::pass(2));
    let (now, mut out) = (Instant::now(), TapOut::default());
    tap.push(Stream::Output, Bytes::from_static(TOKEN), now, &mut out)
        .unwrap();
    tap.flush(Stream::Output, now, &mut out).unwrap();
    assert!(out.masked.is_empty());
}
