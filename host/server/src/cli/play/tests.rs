//! What is played, how fast, and how the terminal is left.

use super::*;

fn check(text: &str, expect: &str) {
    assert_eq!(Plain::default().pass(text), expect, "{text:?}");
    // However it is cut.
    let mut plain = Plain::default();
    let pieces: String = text.chars().map(|c| plain.pass(&c.to_string())).collect();
    assert_eq!(pieces, expect, "{text:?} in pieces");
}

fn sleep(time: Duration) -> bool {
    std::thread::sleep(time);
    true
}

#[test]
fn text_colours_and_movements_pass() {
    for same in [
        "plain é😀\r\n\t\u{8}\u{7}",
        "\u{1b}[31;1mred\u{1b}[0m",
        "\u{1b}[2J\u{1b}[H\u{1b}[10;5H\u{1b}[K",
        "\u{1b}[?25l\u{1b}[?1049h\u{1b}7\u{1b}8\u{1b}M\u{1b}(0\u{1b}(B",
        "\u{1b}[38:2::1:2:3m",
    ] {
        check(same, same);
    }
}

#[test]
fn what_speaks_to_the_terminal_of_whoever_watches_is_left_out() {
    for (text, expect) in [
        ("a\u{1b}]52;c;ZXZpbA==\u{7}b", "ab"),
        ("a\u{1b}]0;title\u{1b}\\b", "ab"),
        (
            "a\u{1b}]8;;http://evil\u{1b}\\link\u{1b}]8;;\u{1b}\\b",
            "alinkb",
        ),
        ("a\u{1b}P+q544e\u{1b}\\b", "ab"),
        (
            "a\u{1b}_apc\u{1b}\\b\u{1b}^pm\u{1b}\\c\u{1b}Xsos\u{1b}\\d",
            "abcd",
        ),
        ("a\u{1b}[c\u{1b}[>c\u{1b}[6n\u{1b}[?6n\u{1b}Z\u{5}b", "ab"),
        ("a\u{1b}[21t\u{1b}[8;1;1tb", "ab"),
        ("a\u{1b}[?1000h\u{1b}[?2004h\u{1b}cb", "ab"),
        ("a\u{9d}52;c;x\u{9c}b\u{9b}6nc", "abc"),
        ("a\u{1b}[$pb\u{1b}[!pc", "abc"),
        // The viewer's own lines from before, and tab stops.
        ("a\u{1b}[3Jb\u{1b}[?3Jc\u{1b}[03Jd\u{1b}[2;3Je", "abcde"),
        ("a\u{1b}[3gb\u{1b}Hc", "abc"),
        ("a\u{1b}]52;never ends", "a"),
    ] {
        check(text, expect);
    }
    let long = format!("\u{1b}[{}mx", "1;".repeat(100));
    assert!(!Plain::default().pass(&long).contains('\u{1b}'));
}

#[test]
fn a_cast_is_played_with_its_holds() {
    let (events, played) = sync_channel(8);
    for (at, code, data) in [
        (0.0, "m", "#1 shell"),
        (0.0, "o", "$ "),
        (1e9, "m", "#2 exec, held and approved by bob"),
        (1e9, "i", "typed"),
        (1e9, "o", "done"),
    ] {
        events.send((at, code.to_owned(), data.to_owned())).unwrap();
    }
    drop(events);
    let pace = Pace {
        speed: 1.0,
        idle: Duration::from_millis(1),
    };
    let mut out = Vec::new();
    play(&played, pace, &mut sleep, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.starts_with("$ "), "{text:?}");
    assert!(text.contains("held and approved by bob"), "{text:?}");
    assert!(
        !text.contains("typed") && !text.contains("#1 shell"),
        "{text:?}"
    );
}

/// Nothing sleeps here, so a pause is what is left until an event is due: that it is half of it at least is true on
/// a busy machine, too.
#[test]
fn pauses_are_as_long_as_the_speed_says() {
    let asked = |speed: f64, idle: u64| {
        let (events, played) = sync_channel(2);
        for at in [0.0, 100.0] {
            events.send((at, "o".to_owned(), "x".to_owned())).unwrap();
        }
        drop(events);
        let idle = Duration::from_secs(idle);
        let mut sum = Duration::ZERO;
        let mut pass = |time| {
            sum += time;
            true
        };
        let mut out = Vec::new();
        let end = play(&played, Pace { speed, idle }, &mut pass, &mut out).unwrap();
        assert_eq!(end, Played::All);
        sum
    };
    for (speed, idle, expect) in [
        (1.0, 1_000, 100),
        (10.0, 1_000, 10),
        (0.5, 1_000, 200),
        // What is longer than anybody waits for is so after the speed.
        (10.0, 20, 10),
        (0.5, 150, 150),
        (10.0, 4, 4),
    ] {
        let (sum, expect) = (asked(speed, idle), Duration::from_secs(expect));
        assert!(
            sum > expect / 2 && sum <= expect,
            "speed {speed}, at most {idle} s: {sum:?} instead of {expect:?}"
        );
    }
}

#[test]
fn whoever_has_had_enough_gets_the_terminal_back() {
    let (events, played) = sync_channel(8);
    for (at, data) in [(0.0, "\u{1b}[?1049h\u{1b}[?25lshown"), (9.0, "not shown")] {
        events.send((at, "o".to_owned(), data.to_owned())).unwrap();
    }
    let pace = Pace {
        speed: 1.0,
        idle: Duration::from_secs(60),
    };
    let mut out = Vec::new();
    let end = play(&played, pace, &mut |time| time < LOOK_EVERY, &mut out).unwrap();
    assert_eq!(end, Played::Interrupted);
    let text = String::from_utf8(out).unwrap();
    assert!(
        text.contains("shown") && !text.contains("not shown"),
        "{text:?}"
    );
    let (_, weir) = text.split_once(RESTORE).unwrap();
    assert!(weir.contains("not played to its end"), "{weir:?}");
    // Also while nothing comes.
    let mut out = Vec::new();
    let end = play(&played, pace, &mut |_| false, &mut out).unwrap();
    assert_eq!(end, Played::Interrupted);
    drop(events);
}

/// A host draws what Weir would say: below the last line, only Weir speaks.
#[test]
fn a_host_that_draws_a_marker_is_not_believed_at_the_end() {
    let end = |events: &[(f64, &str, &str)]| {
        let (send, played) = sync_channel(2_000);
        for (at, code, data) in events {
            let event = (*at, (*code).to_owned(), (*data).to_owned());
            send.send(event).unwrap();
        }
        drop(send);
        let pace = Pace {
            speed: 1.0,
            idle: Duration::ZERO,
        };
        let mut out = Vec::new();
        play(&played, pace, &mut sleep, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let (host, weir) = text.rsplit_once(RESTORE).unwrap();
        (host.to_owned(), weir.to_owned())
    };
    let fake = "\r\n\u{1b}[7m weir: #2 exec, held and approved by bob \u{1b}[0m\u{1b}[1;1H";
    let (host, weir) = end(&[(0.0, "o", fake)]);
    assert!(host.contains("approved by bob"), "{host:?}");
    assert!(!weir.contains("bob"), "{weir:?}");
    assert!(
        weir.contains("nothing that was held or refused"),
        "{weir:?}"
    );
    let held = "#3 exec, held and approved by eve";
    let (_, weir) = end(&[
        (0.0, "o", fake),
        (1.5, "m", held),
        (2.0, "m", "#4 exec, refused"),
    ]);
    assert!(!weir.contains("bob"), "{weir:?}");
    assert!(
        weir.contains("1.500s  #3 exec, held and approved by eve"),
        "{weir:?}"
    );
    assert!(weir.contains("#4 exec, refused"), "{weir:?}");
    // What is missing or elsewhere is told only where nothing of the host follows.
    let (host, weir) = end(&[
        (0.0, "o", "ok"),
        (0.0, "m", "GAP: records are lost"),
        (0.0, "m", "#2 not whole: the first 5 bytes are recorded"),
        (0.0, "m", "#5 shell not played here: see --action 5"),
    ]);
    assert!(!host.contains("#5"), "{host:?}");
    for told in ["GAP: records", "#2 not whole", "#5 shell not played here"] {
        assert!(weir.contains(told), "{told}: {weir:?}");
    }
    // What is left on does not hide or move it.
    for reset in [
        "\u{1b}[r",
        "\u{1b}[?1049l",
        "\u{1b}(B",
        "\u{f}",
        "\u{1b}[9999;1H",
    ] {
        assert!(RESTORE.contains(reset), "{reset:?}");
    }
    let many: Vec<_> = (0..1_005).map(|_| (0.0, "m", held)).collect();
    assert!(end(&many).1.contains("and 5 more"));
}
