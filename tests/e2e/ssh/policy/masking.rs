//! Secrets that a host prints are masked, however they come; at the same length, and in the recording, too.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use weir_tests::sshd::{Way, keygen};

use super::{ENGINEER, PASSWORD, Running, Seen, Stage, at_once, notice, ssh, stage, stage_with};

/// Prints a file so many bytes at a time, with pauses of so many milliseconds.
const PRINTER: &str = "import os, sys, time
data = open(sys.argv[1], 'rb').read()
step, pause = int(sys.argv[2]), float(sys.argv[3])
for at in range(0, len(data), step):
    os.write(1, data[at:at + step])
    time.sleep(pause / 1000)
";

/// What is printed: all of it, and what of it nobody may see.
struct Secret {
    name: &'static str,
    shown: String,
    hidden: String,
}

fn secrets(dir: &Path) -> Vec<Secret> {
    let token = "ghp_";
    let body = "a8Kd02mNqLxT7vRz5WbYcE3hGjU1sPfO9iVt";
    let key = dir.join("printed");
    keygen(&key, "ed25519").unwrap();
    let key = std::fs::read_to_string(key).unwrap();
    let body_of_key: Vec<&str> = key.lines().filter(|l| !l.starts_with("-----")).collect();
    vec![
        Secret {
            name: "token",
            shown: format!("before {token}{body} after\n"),
            hidden: body.into(),
        },
        Secret {
            name: "key",
            hidden: body_of_key.concat(),
            shown: format!("before\n{key}after\n"),
        },
        // The target's own, which Weir holds, and which looks like nothing.
        Secret {
            name: "password",
            shown: format!("before {PASSWORD} after\n"),
            hidden: PASSWORD.into(),
        },
        // By `mask-pii`, which chooses what is looked for.
        Secret {
            name: "card",
            shown: format!("before {CARD} after\n"),
            hidden: CARD.into(),
        },
    ]
}

/// Of nobody, with a check digit that is right.
const CARD: &str = "4111 1111 1111 1111";

/// How it is printed.
#[derive(Debug, Clone, Copy)]
struct How {
    name: &'static str,
    step: usize,
    pause: u32,
    escapes: bool,
}

/// All of it at once.
const WHOLE: usize = 1 << 20;

/// Pauses are longer than text is held back for.
const HOWS: [How; 3] = [
    How {
        name: "whole",
        step: WHOLE,
        pause: 0,
        escapes: false,
    },
    How {
        name: "trickled",
        step: 1,
        pause: 60,
        escapes: false,
    },
    How {
        name: "escaped",
        step: 1,
        pause: 0,
        escapes: true,
    },
];

/// As it leaves the program.
fn printed(secret: &Secret, how: How) -> Vec<u8> {
    let mut out = Vec::new();
    for byte in secret.shown.bytes() {
        out.push(byte);
        if how.escapes && byte != b'\n' {
            out.extend_from_slice(b"\x1b[1;31m");
        }
    }
    out
}

/// What a terminal would show.
fn visible(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => {
                let _ = rest.by_ref().find(|c| c.is_ascii_alphabetic());
            }
            '\r' | '\n' => {}
            c => out.push(c),
        }
    }
    out
}

/// Longer pieces of it than a timer may let go of before it is told what it is.
fn leak<'a>(visible: &str, hidden: &'a str) -> Option<&'a str> {
    const PIECE: usize = 8;
    (0..=hidden.len() - PIECE)
        .filter_map(|at| hidden.get(at..at + PIECE))
        .find(|piece| visible.contains(piece))
}

/// Whatever is held is approved.
pub(super) fn approving(stage: &Stage, mut client: Running) -> Seen {
    let begin = Instant::now();
    let mut approved = false;
    while client.child.try_wait().unwrap().is_none() && begin.elapsed() < Duration::from_secs(60) {
        let said = std::fs::read(&client.out).unwrap();
        let said = format!("{}{}", client.err(), String::from_utf8_lossy(&said));
        if !approved && let Some((id, _)) = notice(&said) {
            assert!(stage.approve(&id));
            approved = true;
        }
        std::thread::sleep(Duration::from_millis(25));
    }
    client.wait()
}

fn print(
    stage: &Stage,
    way: &Way,
    (secret, how): (&Secret, How),
    terminal: bool,
) -> (Vec<u8>, Seen) {
    let name = format!("{}-{}-{terminal}", secret.name, how.name);
    let data = printed(secret, how);
    let file = stage.traces.join(&name);
    std::fs::write(&file, &data).unwrap();
    let pause = match secret.name {
        // Of a key there is more.
        "key" => how.pause / 3,
        _ => how.pause,
    };
    let command = format!(
        "python3 {}/print.py {} {} {pause}",
        stage.traces.display(),
        file.display(),
        how.step
    );
    let args: &[&str] = match terminal {
        true => &["-tt", "box", &command],
        false => &["box", &command],
    };
    let seen = approving(stage, ssh(way, &name, args));
    assert_eq!(seen.code, Some(0), "{name}: {seen:?}");
    let data = match terminal {
        true => String::from_utf8(data)
            .unwrap()
            .replace('\n', "\r\n")
            .into_bytes(),
        false => data,
    };
    (data, seen)
}

/// The program's own words: notices come before.
fn own(out: &[u8]) -> &[u8] {
    let at = out.windows(6).rposition(|w| w == b"before");
    // Not two letters alone: a key may have those in the middle.
    let before: &[u8] = b"b\x1b[1;31me\x1b[1;31mf\x1b[1;31mo\x1b[1;31mr\x1b[1;31me";
    let escaped = out.windows(before.len()).rposition(|w| w == before);
    &out[at.or(escaped).unwrap_or(0)..]
}

fn masked(stage: &Stage, way: &Way, secret: &Secret, how: How, terminal: bool) {
    let (data, seen) = print(stage, way, (secret, how), terminal);
    let out = own(&seen.out);
    assert_eq!(out.len(), data.len(), "{} {how:?}: {seen:?}", secret.name);
    let same = out
        .iter()
        .zip(&data)
        .all(|(is, was)| is == was || *is == b'*');
    assert!(same, "{} {how:?}: {seen:?}", secret.name);
    let text = visible(out);
    assert!(
        text.starts_with("before") && text.ends_with("after"),
        "{text}"
    );
    let found = leak(&text, &secret.hidden);
    assert!(
        found.is_none(),
        "{} {how:?} terminal {terminal}: {found:?} in {text}",
        secret.name
    );
}

#[test]
fn secrets_are_never_seen_whole() {
    if weir_tests::sshd::sshd().is_none() {
        return weir_tests::skip::not_installed("an SSH server");
    }
    let stage = &stage("ssh-masks");
    std::fs::write(stage.traces.join("print.py"), PRINTER).unwrap();
    let (way, secrets) = (&stage.way(ENGINEER, "stage1"), &secrets(&stage.traces));
    let mut jobs: Vec<super::Job<'_>> = Vec::new();
    for secret in secrets {
        for how in HOWS {
            for terminal in [true, false] {
                jobs.push((
                    how.name,
                    Box::new(move || masked(stage, way, secret, how, terminal)),
                ));
            }
        }
    }
    at_once(jobs);
    recorded(stage, secrets);
}

/// What a replay says that a terminal was told: a transcript shows escape sequences as such, and JSON lines have its lines
/// in them.
fn printed_in(format: &str, said: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(said);
    let text = match format {
        "jsonl" => {
            let records = text.lines().map(|l| serde_json::from_str(l).unwrap());
            let of_host = records.filter(|r: &Value| r["kind"] == "to_client");
            let lines = of_host.flat_map(|r| r["lines"].as_array().unwrap().clone());
            let lines: Vec<String> = lines.map(|l| l.as_str().unwrap().to_owned()).collect();
            lines.join("\n")
        }
        _ => text.into_owned(),
    };
    text.replace("\\u{1b}", "\u{1b}").into_bytes()
}

/// The recording has what the client was shown.
fn recorded(stage: &Stage, secrets: &[Secret]) {
    for format in ["asciicast-v2", "asciicast-v3", "text", "jsonl"] {
        let mut stars = 0;
        for (session, said) in super::secrets::replayed(stage, format) {
            let text = visible(&printed_in(format, &said));
            // Also not in what is told around it.
            let all = visible(&said) + &text;
            for secret in secrets {
                let found = leak(&all, &secret.hidden);
                assert!(
                    found.is_none(),
                    "{format} of {session}: {found:?} of {}",
                    secret.name
                );
            }
            stars += usize::from(text.contains("before") && text.contains("********"));
        }
        let all = 2 * HOWS.len() * secrets.len();
        assert!(
            stars >= all,
            "{format}: {stars} of {all} have something masked"
        );
    }
}

#[test]
fn whoever_may_sees_them() {
    if weir_tests::sshd::sshd().is_none() {
        return weir_tests::skip::not_installed("an SSH server");
    }
    let stage = &stage_with("ssh-reveals", |bundle| {
        bundle.add(
            "e2e.cedar",
            "@id(\"relief.e2e.hosts\")\npermit (principal is User in Group::\"engineering\", \
             action == Action::\"ssh:reveal\", resource) when { resource has login };\n",
        );
    });
    std::fs::write(stage.traces.join("print.py"), PRINTER).unwrap();
    let (way, secrets) = (&stage.way(ENGINEER, "stage1"), &secrets(&stage.traces));
    for secret in secrets {
        let [.., how] = HOWS;
        let (data, seen) = print(stage, way, (secret, how), true);
        assert!(own(&seen.out) == data, "{}: {seen:?}", secret.name);
    }
}
