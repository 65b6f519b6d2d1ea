//! Time, memory, work, and what is no text.

use super::*;

fn after(millis: u64, now: Instant) -> Instant {
    now + Duration::from_millis(millis)
}

#[test]
fn what_may_become_a_find_waits_for_a_little() {
    let patterns = patterns(&["hunter22hunter22"]);
    for (kind, soft) in [(Kind::Terminal, 15), (Kind::Pipe, 50)] {
        let mut masker = Masker::new(patterns.clone(), kind);
        let (now, mut out) = (Instant::now(), BytesMut::new());
        let _ = masker.push(b"say hunt", now, &mut out);
        assert_eq!(&out[..], b"say ");
        assert_eq!(masker.deadline(), Some(after(soft, now)));
        masker.tick(after(soft - 1, now), &mut out);
        assert_eq!(&out[..], b"say ");
        masker.tick(after(soft, now), &mut out);
        assert_eq!((&out[..], masker.deadline()), (&b"say hunt"[..], None));
        // What went out is still part of it.
        let _ = masker.push(b"er22hunter22", after(soft, now), &mut out);
        assert_eq!(&out[..], b"say hunt************");
    }
}

#[test]
fn what_is_hardly_anything_else_waits_for_longer() {
    let patterns = patterns(&["hunter22hunter22"]);
    for (input, clear) in [
        ("hunter22", 0),
        ("ghp_0123", 4),
        ("AKIAIOSF", 4),
        ("eyJhbGc", 3),
    ] {
        let mut masker = Masker::new(patterns.clone(), Kind::Terminal);
        let (now, mut out) = (Instant::now(), BytesMut::new());
        let _ = masker.push(input.as_bytes(), now, &mut out);
        assert_eq!(&out[..], &input.as_bytes()[..clear]);
        masker.tick(after(1_999, now), &mut out);
        assert_eq!(&out[..], &input.as_bytes()[..clear]);
        assert_eq!(masker.deadline(), Some(after(2_000, now)));
        // A byte that it does not go on with lets go of it.
        let mut other = BytesMut::new();
        let mut again = Masker::new(patterns.clone(), Kind::Terminal);
        let _ = again.push(format!("{input} ").as_bytes(), now, &mut other);
        assert_eq!(&other[..], format!("{input} ").as_bytes());
        // Nothing comes: it is replaced.
        masker.tick(after(2_000, now), &mut out);
        let stars = "*".repeat(input.len() - clear);
        assert_eq!(&out[clear..], stars.as_bytes());
        assert_eq!(masker.deadline(), None);
    }
}

/// At the end of a stream, or before an exit code is passed on.
#[test]
fn flushed() {
    let patterns = patterns(&["hunter22hunter22"]);
    for (input, expect) in [
        ("hunter", "hunter"),
        ("hunter22hunter2", "***************"),
        ("ghp_012", "ghp_012"),
        ("ghp_0123", "ghp_****"),
        ("AKIAIOSFODNN7EXAMPLE", "AKIA****************"),
        ("a \u{a7}", "a \u{a7}"),
        ("\x1b[3", "\x1b[3"),
        ("\x1b]0;tit", "\x1b]0;tit"),
    ] {
        let mut masker = Masker::new(patterns.clone(), Kind::Terminal);
        let (now, mut out) = (Instant::now(), BytesMut::new());
        let _ = masker.push(input.as_bytes(), now, &mut out);
        masker.flush(&mut out);
        assert_eq!(String::from_utf8_lossy(&out), expect);
        assert_eq!(masker.deadline(), None);
        masker.flush(&mut out);
        assert_eq!(out.len(), input.len());
    }
    // A process that is left behind may go on.
    let mut masker = Masker::new(patterns.clone(), Kind::Terminal);
    let (now, mut out) = (Instant::now(), BytesMut::new());
    let _ = masker.push(b"hunter", now, &mut out);
    masker.flush(&mut out);
    let _ = masker.push(b"22hunter22.", now, &mut out);
    assert_eq!(&out[..], b"hunter**********.");
}

/// The other stream of the channel goes on: it is not overtaken, but by what is hardly anything but a secret.
#[test]
fn what_could_have_gone_goes_first() {
    let patterns = patterns(&["hunter22hunter22"]);
    for (input, expect) in [("say hunt", "say hunt"), ("say hunter22", "say ")] {
        let mut masker = Masker::new(patterns.clone(), Kind::Pipe);
        let mut out = BytesMut::new();
        let _ = masker.push(input.as_bytes(), Instant::now(), &mut out);
        masker.hurry(&mut out);
        assert_eq!(&out[..], expect.as_bytes());
    }
}

#[test]
fn an_echo_is_not_late() {
    let patterns = patterns(&["hunter22hunter22"]);
    let mut masker = Masker::new(patterns, Kind::Terminal);
    let (now, mut out) = (Instant::now(), BytesMut::new());
    masker.typed(now);
    for c in [b"h", b"u"] {
        let _ = masker.push(c, now, &mut out);
    }
    assert_eq!((&out[..], masker.deadline()), (&b"hu"[..], None));
    let _ = masker.push(b"n", now, &mut out);
    assert_eq!(&out[..], b"hu");
    let _ = masker.push(b"ter22hunter22", now, &mut out);
    assert_eq!(&out[..], b"hu**************");
    // Not of what the host says by itself.
    out.clear();
    let _ = masker.push(b" h", after(201, now), &mut out);
    assert_eq!(&out[..], b" ");
}

/// However it is written: what is held back is bounded, and so is what is remembered.
#[test]
fn memory_is_bounded() {
    let patterns = patterns(&["hunter22hunter22"]);
    for (begin, unit) in [
        ("hunter22", "\x1b[31m"),
        ("ghp_01234", "\x1b]0;title\x07"),
        ("ghp_01234\x1b]0;", "an endless title "),
        ("hunt", "\0"),
        ("eyJ", "a\r\n"),
        ("", "ghp_01234\x08\x08"),
        ("", "x\x08"),
        ("", "xoxb-glpat-AIza-"),
    ] {
        let mut masker = Masker::new(patterns.clone(), Kind::Terminal);
        let (now, mut out) = (Instant::now(), BytesMut::new());
        let input = format!("{begin}{}", unit.repeat((1 << 18) / unit.len()));
        for part in input.as_bytes().chunks(10_000) {
            let _ = masker.push(part, now, &mut out);
            assert!(masker.remembered() <= MAX_REMEMBERED, "{begin:?} {unit:?}");
        }
        masker.flush(&mut out);
        assert_eq!(out.len(), input.len());
    }
}

/// Steps are counted, not time: whatever is written, a byte costs a few.
#[test]
fn work_is_linear() {
    let long = "ab".repeat(1000);
    let patterns = patterns(&["aaaaaaaa", "aaaaaaaab", "abababababab", &long]);
    for unit in [
        "a",
        "ab",
        "ba",
        "aab",
        "ghp_",
        "ghp_a",
        "AKIA",
        "AKIAA",
        "eyJ",
        "eyJaaaaaaa.e",
        "-----BEGIN ",
        "-----BEGIN PRIVATE KEY-----\n",
        "-----BEGIN RSA PRIVATE KEY",
        "-",
        "b3BlbnNzaC1rZXktdjE",
        "a: -----BEGIN PRIVATE KEY-----\n",
        "a: -----BEGIN PRIVATE KEY-----\n   \u{2502} #012",
        "LS0tLS1CRUdJTi",
        "a: LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0t\na: MII",
        "aws_secret_access_key=",
        "xoxb-xoxp-xoxa-glpat-sk-ant-AIza",
        "AIza-",
        "a\x08",
        "aaaa\x08\x08\x08",
        "ab\x1b[2D",
        "ghp_0123\x08",
        "\x1b",
        "\x1b[",
        "\x1b]",
        "\u{9b}",
        "g\nh\np\n_\n",
        "ghp\n_",
        "\r\n",
        "g\r\n",
        "h\x1b[m",
        "\u{a7}",
    ] {
        let input = unit.repeat((1 << 15) / unit.len());
        // What is not passed over after all is at the end.
        for (behind, piece) in [("", 1000), ("", usize::MAX), ("\0", usize::MAX)] {
            let input = format!("{input}{behind}");
            let mut masker = Masker::new(patterns.clone(), Kind::Terminal);
            let (now, mut out) = (Instant::now(), BytesMut::new());
            for part in input.as_bytes().chunks(piece) {
                let _ = masker.push(part, now, &mut out);
            }
            let steps = masker.steps() / input.len() as u64;
            assert!(steps <= 24, "{steps} steps for each byte of {unit:?}");
        }
    }
    for unit in ["ghp_", "eyJaaaaaaa.", "-----BEGIN ", "\r\n"] {
        let input = unit.repeat((1 << 20) / unit.len());
        let mut masker = Masker::new(patterns.clone(), Kind::Terminal);
        let mut out = BytesMut::new();
        let _ = masker.push(input.as_bytes(), Instant::now(), &mut out);
        assert!(masker.steps() <= 24 << 20, "{} steps", masker.steps());
    }
}

/// A log that is full of digits, and secrets that are, too, also in hexadecimal digits: hardly a line of it is read byte
/// by byte.
#[test]
fn digits_are_no_secrets() {
    let secrets: Vec<String> = (0..20)
        .map(|i| format!("{i:02}-correct-horse-battery-{i}"))
        .collect();
    let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
    let (mut log, mut n) = (String::new(), 7_u64);
    while log.len() < 1 << 19 {
        n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let r = n >> 20;
        let (hour, second, milli) = (r % 24, r % 59, r % 1000);
        let (request, took, status) = (r & 0xFF_FFFF, r % 400, 200 + r % 16);
        log += &format!(
            "{hour:02}:{second:02}.{milli:03} INFO api[{took}] req={request:06x} GET /v1/orders {took} ms, status {status}\n"
        );
    }
    let mut masker = Masker::new(patterns(&secrets), Kind::Pipe);
    let (now, mut out) = (Instant::now(), BytesMut::new());
    for part in log.as_bytes().chunks(32 << 10) {
        let _ = masker.push(part, now, &mut out);
    }
    masker.flush(&mut out);
    assert!(out == log.as_bytes());
    let per_cent = masker.line.steps * 100 / log.len() as u64;
    assert!(per_cent <= 10, "{per_cent} steps for 100 bytes");
}

#[test]
fn binary_data_is_told() {
    let patterns = patterns(&[LITERAL]);
    let look = |kind: Kind, input: &[u8], piece: usize| {
        let mut masker = Masker::new(patterns.clone(), kind);
        let (now, mut out) = (Instant::now(), BytesMut::new());
        let verdicts = input
            .chunks(piece)
            .map(|part| masker.push(part, now, &mut out));
        let last = verdicts.last().unwrap_or(Verdict::Text);
        masker.flush(&mut out);
        (last, out)
    };
    let text = "plain text, and more of it\n".repeat(2000);
    let umlauts = "gr\u{fc}\u{df}e, \u{6f22}\u{5b57} \u{1f980}\n".repeat(2000);
    let colours = "\x1b[31mred\x1b[0m\ttab\x08\x07\x0c\r\n".repeat(2000);
    let mut late = text.clone().into_bytes();
    late.extend(b"\0");
    let odd = |one_in: usize, c: &[u8]| {
        let mut all = Vec::new();
        while all.len() < 20_000 {
            all.extend(vec![b'a'; one_in - 1]);
            all.extend(c);
        }
        all
    };
    for (input, verdict) in [
        (text.as_bytes(), Verdict::Text),
        (umlauts.as_bytes(), Verdict::Text),
        (colours.as_bytes(), Verdict::Text),
        (b"a\0", Verdict::Binary),
        (&late, Verdict::Binary),
        (&odd(25, b"\x01"), Verdict::Text),
        (&odd(10, b"\x01"), Verdict::Binary),
        (&odd(25, b"\xff"), Verdict::Text),
        (&odd(10, b"\xff"), Verdict::Binary),
        (&odd(10, b"\x7f"), Verdict::Binary),
        (&odd(10, b"\xe6\xbc"), Verdict::Binary),
        (b"", Verdict::Text),
    ] {
        for piece in [1, 3, 1000, 8192, usize::MAX] {
            assert_eq!(
                look(Kind::Pipe, input, piece).0,
                verdict,
                "in pieces of {piece}"
            );
            // A terminal shows everything as text.
            assert_eq!(look(Kind::Terminal, input, piece).0, Verdict::Text);
        }
    }
    // It stays so, and what was hidden stays hidden; secrets still are.
    let input = format!("{LITERAL}\0{LITERAL}{text}");
    let (verdict, out) = look(Kind::Pipe, input.as_bytes(), 7);
    assert_eq!(verdict, Verdict::Binary);
    assert!(!has(&out, LITERAL) && out.len() == input.len());
}

/// No byte is lost, and none is changed without a reason, for bytes that are no text.
#[test]
fn bytes_that_are_no_text() {
    let patterns = patterns(&[LITERAL]);
    for input in [
        &b"\xff\xfe\x80\xc2\xc2\xc3(\xe2\x82 ok"[..],
        b"\xc2",
        b"\xc2\xc2\x9b1mghp_\xc2\xa0",
        b"\x1b\xc2\x9b\x9b\x1b\x1b[\xff1m",
        b"\x9b31m\x84\x85",
    ] {
        for piece in [1, 2, 100] {
            for kind in [Kind::Terminal, Kind::Pipe] {
                assert_eq!(mask(&patterns, kind, input, piece), input);
            }
        }
    }
    let around = [b"\xff\xc2", LITERAL.as_bytes(), b"\xc2\xff"].concat();
    let out = mask(&patterns, Kind::Terminal, &around, 1);
    assert_eq!(
        out,
        [
            b"\xff\xc2",
            "*".repeat(LITERAL.len()).as_bytes(),
            b"\xc2\xff"
        ]
        .concat()
    );
}
