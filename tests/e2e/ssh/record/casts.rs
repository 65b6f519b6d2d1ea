//! A terminal is played as its client saw it: by Weir, and by a player that knows nothing of Weir.

use std::path::Path;

use serde_json::Value;
use weir_tests::sshd::Way;

use super::{
    PEOPLE, Person, Rig, SECURITY, Seen, WATCHED, contains, expect, is_missing, replayed, resize,
    rig, security, session_of, shell, typed,
};

/// Printed behind `ghp_`, which makes it a secret.
const TOKEN: &str = "a8Kd02mNqLxT7vRz5WbYcE3hGjU1sPfO9iVt";
/// Typed where nothing shows it.
const HIDDEN: &str = "typed-hidden-5527";
const TITLE: &str = "\u{1b}]0;a-title\u{7}";

/// Colours, letters of many bytes, bytes that are no text, a secret, a title, another size, programs that take the
/// whole screen, input that is not shown.
fn session(way: &Way, name: &str) -> Seen {
    let book: String = (1..=200)
        .map(|n| format!("line {n} of the book\n"))
        .collect();
    let file = way.dir.join(format!("{name}.txt"));
    std::fs::write(&file, book).unwrap();
    let file = file.display();
    let steps = [
        &shell()[..],
        &[
            typed(
                "printf '\\033[1;32mgr\\303\\274n\\033[0m → 日本語 \\360\\237\\230\\200 end\\n'\r",
            ),
            expect("😀 end"),
            expect("rec> "),
            typed("printf 'bad \\377\\376 bytes\\n'; printf '\\033]0;a-%s\\007' title\r"),
            expect("rec> "),
            typed(&format!("printf 'token gh%s\\n' p_{TOKEN}\r")),
            expect("rec> "),
            resize(110, 37),
            typed("stty size\r"),
            expect("37 110"),
            expect("rec> "),
            typed(&format!("less {file}\r")),
            expect("line 30 of"),
            typed(" "),
            expect("line 60 of"),
            typed("q"),
            expect("rec> "),
            typed(&format!("vi -u NONE {file}\r")),
            expect("line 30 of"),
            typed(":q!\r"),
            expect("rec> "),
            typed("read -rs -p 'sec''ret? ' x; echo read ${#x}\r"),
            expect("secret? "),
            typed(&format!("{HIDDEN}\r")),
            expect(&format!("read {}", HIDDEN.len())),
            expect("rec> "),
            typed("exit 7\r"),
        ],
    ]
    .concat();
    let seen = Person::logs_in(way, name, &steps).ends();
    assert_eq!(seen.code, Some(7), "{} {}", seen.said, seen.text());
    // Otherwise nothing would be proven by what is the same.
    assert!(contains(&seen.bytes, "日本語".as_bytes()) && contains(&seen.bytes, b"bad \xff\xfe"));
    assert!(contains(&seen.bytes, TITLE.as_bytes()), "{}", seen.text());
    assert!(contains(&seen.bytes, b"token ghp_*****"), "{}", seen.text());
    seen
}

/// A cast: its header, and its events with times since the beginning.
struct Cast {
    header: Value,
    events: Vec<(f64, String, String)>,
}

fn cast(text: &str, version: u64) -> Cast {
    let mut lines = text.lines().map(|l| serde_json::from_str(l).unwrap());
    let header: Value = lines.next().unwrap();
    assert_eq!(header["version"], version);
    let mut now = 0.0;
    let events = lines.map(|event: Value| {
        let [at, code, data] = event.as_array().unwrap().as_slice() else {
            panic!("{event}")
        };
        let at = at.as_f64().unwrap();
        let time = if version == 3 { now + at } else { at };
        assert!(time >= now && (version == 2 || at >= 0.0), "{event}");
        now = time;
        (
            time,
            code.as_str().unwrap().into(),
            data.as_str().unwrap().into(),
        )
    });
    Cast {
        events: events.collect(),
        header,
    }
}

impl Cast {
    /// The data of all events of a kind, one behind the other.
    fn all(&self, code: &str) -> String {
        let of = self.events.iter().filter(|(_, c, _)| c == code);
        of.map(|(_, _, data)| data.as_str()).collect()
    }

    fn each(&self, code: &str) -> Vec<&str> {
        let of = self.events.iter().filter(|(_, c, _)| c == code);
        of.map(|(_, _, data)| data.as_str()).collect()
    }
}

/// Without what a player does not pass on to somebody else's terminal, which this session has: bracketed paste,
/// windows and titles.
fn passed_on(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        out.push_str(before);
        let csi = after.strip_prefix('[').and_then(|tail| {
            let end = tail.find(|c: char| ('@'..='~').contains(&c))?;
            Some((&tail[..end], &tail[end..=end], &tail[end + 1..]))
        });
        rest = match csi {
            Some((_, "t" | "c" | "n", tail)) => tail,
            Some((parameters, last, tail)) => {
                let private = parameters.starts_with(['?', '>']);
                let kept = ["?1", "?7", "?12", "?25", "?47", "?1049"].contains(&parameters);
                if !private || kept && matches!(last, "h" | "l") {
                    out.push_str(&format!("\u{1b}[{parameters}{last}"));
                }
                tail
            }
            None => match after.strip_prefix(']') {
                Some(title) => title.split_once('\u{7}').unwrap().1,
                None => {
                    out.push('\u{1b}');
                    after
                }
            },
        };
    }
    out + rest
}

fn played(way: &Way, name: &str, program: &[&str]) -> String {
    let seen = Person::sits(way, name, "raw", &[], program).ends();
    assert_eq!(seen.code, Some(0), "{} {}", seen.said, seen.text());
    seen.text()
}

fn asciinema(file: &Path, text: &str, seen: &str, way: &Way) {
    std::fs::write(file, text).unwrap();
    let path = file.display().to_string();
    // It reads keys while it prints, so that it has to be in a terminal.
    let shown = played(way, "asciinema-cat", &["asciinema", "cat", &path]);
    assert_eq!(shown, seen);
    let program = ["asciinema", "play", "-i", "0.01", "-s", "100", &path];
    let shown = played(way, "asciinema", &program);
    assert!(shown.contains(seen), "{shown:?}\n{seen:?}");
}

#[test]
fn a_terminal_is_played_as_it_was_seen() {
    if is_missing() {
        return;
    }
    let (rig, _bundle) = rig("ssh-casts");
    let weir = &rig.weir;
    let way = rig.way("terry", PEOPLE).unwrap();
    let seen = session(&way, "unrecorded");
    let id = session_of(weir, "terry");
    let shown = seen.text();
    let v2 = replayed(weir, &id, "asciicast-v2");
    let v3 = replayed(weir, &id, "asciicast-v3");
    for (text, version) in [(&v2, 2), (&v3, 3)] {
        let cast = cast(text, version);
        let size = match version {
            2 => (&cast.header["width"], &cast.header["height"]),
            _ => (&cast.header["term"]["cols"], &cast.header["term"]["rows"]),
        };
        assert_eq!((size.0.as_u64(), size.1.as_u64()), (Some(93), Some(31)));
        assert_eq!(cast.each("r"), ["110x37"]);
        assert_eq!(cast.all("o"), shown, "asciicast v{version}");
        assert_eq!(cast.all("i"), "", "what people type is not recorded");
        let ends = if version == 3 {
            ("x", "7")
        } else {
            ("m", "exit 7")
        };
        assert_eq!(cast.each(ends.0).last(), Some(&ends.1));
        assert!(cast.each("m").iter().any(|m| m.contains("shell")));
    }
    asciinema(&way.dir.join("v2.cast"), &v2, &shown, &way);
    plays(&rig, &way, &id, &shown, &cast(&v2, 2));
    interrupted(&rig, &way, &id);
    for format in ["text", "jsonl", "asciicast-v2", "asciicast-v3"] {
        let all = replayed(weir, &id, format);
        for secret in [TOKEN, HIDDEN] {
            // The token was typed, too, without what makes it one: the host showed that once.
            let times = all.matches(secret).count();
            assert_eq!(times, usize::from(secret == TOKEN), "{format}: {all}");
        }
    }
    let text = replayed(weir, &id, "text");
    for line in ["(terminal: 110×37)", "37 110", "→ exit 7", "日本語"] {
        assert!(text.contains(line), "{line:?} is not in {text}");
    }
}

/// `weir replay --play` in a terminal.
fn play(rig: &Rig, way: &Way, id: &str, more: &[&str]) -> String {
    let weir = weir_tests::paths::weir().display().to_string();
    let config = rig.weir.config.display().to_string();
    let play = [
        "replay", id, "--config", &config, "--play", "--speed", "100",
    ];
    let program = [&[weir.as_str()], &play[..], &["--idle", "0"], more].concat();
    played(way, "play", &program)
}

/// From the beginning, and from later on, where the screen is as it was then.
fn plays(rig: &Rig, way: &Way, id: &str, shown: &str, whole: &Cast) {
    let expected = passed_on(shown);
    let later = whole
        .events
        .iter()
        .find(|(_, code, _)| code == "r")
        .unwrap()
        .0;
    let later = format!("+{:.6}", later + 0.000_001);
    for more in [&[][..], &["--from", &later]] {
        let text = play(rig, way, id, more);
        assert!(text.starts_with(&expected), "{text:?}\n{expected:?}");
        assert!(!text.contains("a-title\u{7}"), "{text:?}");
        assert!(
            text.contains("Weir recorded nothing that was held or refused"),
            "{text:?}"
        );
    }
    let args = ["replay", id, "--format", "asciicast-v2", "--from", &later];
    let out = rig.weir.cli(None, &args).unwrap();
    let part = cast(&out.stdout, 2);
    assert_eq!(part.header["width"], 110, "the size is what it was then");
    let (part, all) = (part.all("o"), whole.all("o"));
    assert!(all.ends_with(&part) && part.len() < all.len(), "{part:?}");
}

/// Whoever has had enough while another screen is shown gets their own back.
fn interrupted(rig: &Rig, way: &Way, id: &str) {
    let weir = weir_tests::paths::weir().display().to_string();
    let config = rig.weir.config.display().to_string();
    let program = [
        &weir, "replay", id, "--config", &config, "--play", "--speed", "0.2", "--idle", "1",
    ];
    let steps = [
        expect("\u{1b}[?1049h"),
        expect("line 30 of"),
        typed("\u{3}"),
    ];
    let seen = Person::sits(way, "interrupted", "", &steps, &program).ends();
    assert_eq!(seen.code, Some(130), "{} {}", seen.said, seen.text());
    let text = seen.text();
    let (_, after) = text.rsplit_once("\u{1b}[?1049l").unwrap();
    assert!(after.contains("It was not played to its end"), "{text:?}");
    assert!(!text.contains("secret?"), "{text:?}");
}

/// A player shows who agreed to what ran.
fn held(rig: &Rig, way: &Way) {
    let config = way.dir.join("config").display().to_string();
    let program = [
        "ssh",
        "-F",
        &config,
        "-tt",
        "box",
        "$(echo echo) it-ran-$((40+2))",
    ];
    let mut person = Person::sits(way, "held", "", &[expect("it-ran-42")], &program);
    person.waits_for("weir: hold ");
    let token = security(&rig.weir);
    let hold = rig.weir.open_hold(&token).unwrap();
    let answer = rig
        .weir
        .approve(&token, hold["id"].as_str().unwrap())
        .unwrap();
    assert_eq!(answer.status, 200);
    let seen = person.ends();
    assert_eq!(seen.code, Some(0), "{} {}", seen.said, seen.text());
    let id = session_of(&rig.weir, "wanda");
    let cast = cast(&replayed(&rig.weir, &id, "asciicast-v2"), 2);
    assert_eq!(cast.header["width"], 93);
    let marker = format!("exec, held and approved by {SECURITY}");
    assert!(cast.each("m").iter().any(|m| m.contains(&marker)));
    let text = play(rig, way, &id, &[]);
    let (_, last) = text
        .split_once("Held, refused, missing, or not played here, as Weir recorded it")
        .unwrap();
    assert!(last.contains(&marker), "{text:?}");
    assert!(text.contains("it-ran-42"), "{text:?}");
}

/// Only where policy does not say otherwise.
#[test]
fn what_is_typed_is_recorded_where_policy_says_so() {
    if is_missing() {
        return;
    }
    let (rig, _bundle) = rig("ssh-typed");
    let way = rig.way("wanda", WATCHED).unwrap();
    let seen = session(&way, "recorded");
    let id = session_of(&rig.weir, "wanda");
    let cast = cast(&replayed(&rig.weir, &id, "asciicast-v2"), 2);
    assert_eq!(cast.all("o"), seen.text());
    let typed = cast.all("i");
    for part in ["stty size\r", ":q!\r", HIDDEN, "exit 7\r"] {
        assert!(typed.contains(part), "{part:?} is not in {typed:?}");
    }
    let text = replayed(&rig.weir, &id, "text");
    for line in ["< stty size\n", &format!("< {HIDDEN}\n"), "< exit 7\n"] {
        assert!(text.contains(line), "{line:?} is not in {text}");
    }
    held(&rig, &way);
}
