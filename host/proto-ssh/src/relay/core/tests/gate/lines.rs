//! Lines that take long to judge: nobody but their shell waits for them, and it does nothing meanwhile.

use super::*;

/// Longer than what is judged at once.
fn long(end: &str) -> String {
    format!("echo {}{end}", "a".repeat(4 << 10))
}

/// At its second prompt this is typed, and is being judged.
fn judging(end: &str) -> Gated {
    let mut g = Gated::live();
    g.prompt(2);
    g.typed("line2", &format!("    2  line2 {}", long(end)));
    assert_eq!(g.b.wholes.len(), 1);
    g.b.gets_nothing(U);
    g
}

#[test]
fn neighbours_and_other_processes_of_the_shell_go_on() {
    let mut g = judging("");
    g.b.session(2, 12, 1000);
    g.b.client(request(12, b"exec", true, &strings(&[b"ls"])));
    g.b.grant();
    g.b.gets(U, request(12, b"exec", true, &pinned("ls")));
    g.b.passes(U, on(2, ChannelMessage::Success));
    g.b.passes(C, data(12, b"x"));
    g.b.passes(C, data(11, b"typed ahead"));
    // What an allowed line has left behind is decided on at any time.
    g.asks_by("s2", "b", 1, "ls");
    g.b.grant();
    g.answered("b", "yes");
    g.b.core.check();
    g.b.judge();
    g.answered("line2", "yes");
    g.asks("c", 1, "echo");
    g.b.grant();
    g.answered("c", "yes");
    g.b.core.check();
}

#[test]
fn until_it_is_judged_nothing_of_it_is_allowed() {
    let mut g = judging("; { ls; } > x");
    g.asks("a", 1, "ls");
    g.answered("a", "no");
    assert!(g.b.asks.is_empty());
    g.b.judge();
    g.answered("line2", "no");
    g.asks("b", 1, "ls");
    g.answered("b", "no");
    assert_eq!((g.b.asks.len(), g.b.turned.len()), (0, 3), "on record");
    let told: Vec<u8> = g.b.sent.client.drain(..).flatten().collect();
    let told = String::from_utf8_lossy(&told).into_owned();
    assert!(told.contains("redirect each of them by itself"), "{told}");
    g.line(3, "ls");
}

#[test]
fn what_is_asked_meanwhile_makes_it_nothing() {
    for meanwhile in ["prompt", "line", "more"] {
        let mut g = judging("");
        match meanwhile {
            "prompt" => {
                g.prompt(3);
                assert_eq!(g.b.cancelled, [g.b.wholes[0].0]);
            }
            "line" => {
                g.typed("line3", "    3  line3 ls");
                g.answered("line3", "no");
            }
            _ => {
                g.asks_by("s1", "line3", 1, ": weir-more\\n    3  line3 ls");
                g.answered("line3", "yes");
            }
        }
        g.b.judge();
        g.answered("line2", "no");
        g.asks("a", 1, "ls");
        g.answered("a", "no");
        assert!(g.b.asks.is_empty(), "{meanwhile}");
        g.line(4, "ls");
        g.b.core.check();
    }
    // The answer of one before comes when the next one waits.
    let mut g = judging("");
    g.prompt(3);
    let next = format!("    3  line3 {}", long("; { ls; } > x"));
    g.typed("line3", &next);
    let (second, first) = (g.b.wholes.pop_back().unwrap(), g.b.wholes.pop_back());
    let (ticket, whole) = first.unwrap();
    g.b.judge_it(ticket, whole);
    g.answered("line2", "no");
    g.asks("a", 1, "ls");
    g.answered("a", "no");
    g.b.judge_it(second.0, second.1);
    g.answered("line3", "no");
    assert!(g.b.asks.is_empty());
}

#[test]
fn what_ends_the_judging_of_a_line() {
    for end in ["busy", "interrupt", "too late", "close", "session"] {
        let mut g = judging("");
        let (ticket, whole) = g.b.wholes.pop_front().unwrap();
        g.b.sent = Pair::default();
        let cancelled = match end {
            "busy" => Vec::new(),
            "session" => {
                let mut out = Vec::new();
                g.b.core.abandon(&mut out);
                let turned = out.iter().filter(|e| matches!(e, Effect::Refused(_)));
                assert_eq!(turned.count(), 1, "on record");
                continue;
            }
            "close" => {
                g.b.passes(U, on(1, ChannelMessage::Close));
                g.b.gets(U, on(H, ChannelMessage::Close));
                vec![ticket]
            }
            _ => {
                g.b.passes(C, data(11, b"\x03"));
                vec![ticket]
            }
        };
        assert_eq!(g.b.cancelled, cancelled, "{end}");
        match end {
            "busy" | "interrupt" => g.b.refuse_it(ticket),
            _ => g.b.judge_it(ticket, whole),
        }
        if end != "close" {
            g.answered("line2", "no");
            g.asks("a", 1, "ls");
            g.answered("a", "no");
        }
        g.b.gets_nothing(U);
        g.b.core.check();
        let turned = if end == "close" { 1 } else { 2 };
        assert_eq!(
            (g.b.asks.len(), g.b.turned.len()),
            (0, turned),
            "{end}: on record"
        );
    }
}

/// Those of one shell that wait are bounded like its commands.
#[test]
fn lines_that_are_judged_are_bounded() {
    let mut g = Gated::live();
    let most = Limits::default().gate_asks;
    for n in 2..200 {
        let id = format!("line{n}");
        g.prompt(n);
        g.typed(&id, &format!("    {n}  {id} {}", long("")));
        g.b.sent = Pair::default();
        g.b.core.check();
    }
    assert_eq!(g.b.wholes.len(), most);
    // Nothing is open because of one that was not judged.
    g.asks("a", 1, "ls");
    g.answered("a", "no");
}

/// Of what is longer than any command the beginning is told, and nothing else of it is ever asked about.
#[test]
fn what_is_longer_than_it_may_be_is_refused_and_the_shell_goes_on() {
    let mut g = Gated::live();
    let tells = |g: &mut Gated, to: &str, id: &str, text: &str| {
        let whole = format!("/srv\t{text}{}", "x".repeat(128 << 10));
        let whole = &whole[..(128 << 10) + 1];
        let pieces: Vec<&str> = (0..whole.len())
            .step_by(900)
            .map(|at| &whole[at..whole.len().min(at + 900)])
            .collect();
        for (n, piece) in pieces.iter().enumerate() {
            let more = u8::from(n + 1 < pieces.len());
            g.says(&format!("ask {to} {id} 7 1 {more} {piece}"));
        }
    };
    g.b.sent = Pair::default();
    tells(&mut g, "main", "a", "echo ");
    let said = |g: &mut Gated, side: Side| {
        let told: Vec<u8> = g.b.sent.of_mut(side).drain(..).flatten().collect();
        String::from_utf8_lossy(&told).into_owned()
    };
    assert!(said(&mut g, C).contains("more than 128 KiB"));
    assert!(said(&mut g, U).contains("main a no\n"));
    g.prompt(2);
    g.b.sent = Pair::default();
    tells(&mut g, "s1", "line2", ": weir-line\\n    2  line2 echo ");
    assert!(said(&mut g, C).contains("more than 16 KiB"));
    assert!(said(&mut g, U).contains("s1 line2 no\n"));
    g.asks("b", 1, "echo");
    g.answered("b", "no");
    assert_eq!((g.b.asks.len(), g.b.turned.len()), (0, 3), "on record");
    g.line(3, "ls");
    g.asks("c", 1, "ls");
    g.b.grant();
    g.answered("c", "yes");
}
