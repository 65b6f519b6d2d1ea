//! What a command writes and is no text, as operators choose by target: masked, passed as it is, or refused.

use super::book::{self, Expected};
use super::masking::approving;
use super::{ENGINEER, Job, Seen, Stage, at_once, ssh, stage};

const TOKEN: &str = "ghp_a8Kd02mNqLxT7vRz5WbYcE3hGjU1sPfO9iVt";
const WHY: &str = "is no text, which this target refuses";

/// What the targets of the test do with it, and the names of these.
const TARGETS: [(&str, &str); 3] = [("mask", "stage1"), ("pass", "pass"), ("refuse", "refuse")];

/// Every byte, and a token in the middle, in several packets.
fn bytes() -> Vec<u8> {
    let all: Vec<u8> = (0..=255).cycle().take(50_000).collect();
    [&all, TOKEN.as_bytes(), &all].concat()
}

fn text() -> Vec<u8> {
    format!("before {TOKEN} after\n").into_bytes()
}

fn run(stage: &Stage, target: &str, name: &str, command: &str) -> Seen {
    let way = stage.way(ENGINEER, target);
    approving(stage, ssh(&way, name, &["box", command]))
}

fn masked(was: &[u8], is: &[u8]) -> bool {
    let same = was.iter().zip(is).all(|(a, b)| a == b || *b == b'*');
    let token = is.windows(8).any(|w| w == &TOKEN.as_bytes()[8..16]);
    was.len() == is.len() && same && !token
}

fn told(seen: &Seen) -> bool {
    seen.err.contains("which is no text, looked like secrets")
}

fn shown(stage: &Stage, (binary, target): (&str, &str)) {
    let path = |name: &str| stage.traces.join(name).display().to_string();
    let seen = run(stage, target, "text", &format!("cat {}", path("text")));
    assert_eq!(seen.code, Some(0), "{binary}: {seen:?}");
    assert!(masked(&text(), &seen.out), "{binary}: {seen:?}");
    assert!(!told(&seen), "{binary}: of text nobody is told: {seen:?}");
    let command = format!("cat {}", path("bytes"));
    let seen = run(stage, target, "bytes", &command);
    match binary {
        "mask" => {
            assert!(seen.code == Some(0) && masked(&bytes(), &seen.out));
            // Who gets it is told that it is not what was there.
            let changed = bytes()
                .iter()
                .zip(&seen.out)
                .filter(|(a, b)| a != b)
                .count();
            let told = format!("weir: {changed} bytes of what the command wrote, which is no text");
            assert_eq!(seen.err.matches(&told).count(), 1, "{}", seen.err);
        }
        "pass" => assert!(seen.code == Some(0) && bytes() == seen.out && !told(&seen)),
        _ => {
            assert_eq!(seen.code, Some(126), "{}", seen.err);
            assert!(
                seen.err.contains("the output of the command"),
                "{}",
                seen.err
            );
            assert!(seen.err.contains(WHY), "{}", seen.err);
            assert!(seen.out.is_empty());
        }
    }
    // On standard error: the other stream is masked still.
    let command = format!("printf 'a\\0b' >&2; sleep 1; cat {}", path("text"));
    let seen = run(stage, target, "errors", &command);
    match binary {
        "refuse" => {
            assert_eq!(seen.code, Some(126), "{}", seen.err);
            assert!(
                seen.err.contains("the standard error of the command"),
                "{}",
                seen.err
            );
            assert!(seen.out.is_empty());
        }
        _ => {
            assert!(seen.err.contains("a\0b"), "{}", seen.err);
            assert!(masked(&text(), &seen.out), "{binary}: {seen:?}");
        }
    }
}

#[test]
fn what_is_no_text_is_masked_passed_or_refused_by_target() {
    if weir_tests::sshd::sshd().is_none() {
        return weir_tests::skip::not_installed("an SSH server");
    }
    let stage = &stage("ssh-binary");
    std::fs::write(stage.traces.join("text"), text()).unwrap();
    std::fs::write(stage.traces.join("bytes"), bytes()).unwrap();
    let jobs = TARGETS.map(|target| {
        let job: Job<'_> = (target.0, Box::new(move || shown(stage, target)));
        job
    });
    at_once(jobs.into());
    let row = |ended: &str, part: &str| -> Expected {
        (ENGINEER, "ssh:exec".into(), ended.into(), part.into())
    };
    let lacking = book::lacking(
        stage,
        &[
            row("done", "output that is not text: not masked from byte 0 on"),
            row("done", "errors that is not text: not masked from byte 0 on"),
            row("failed", WHY),
            row("done", "output that is not text: 36 bytes masked"),
        ],
    );
    assert!(lacking.is_empty(), "{}", lacking.join("\n"));
}
