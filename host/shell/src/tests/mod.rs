//! Tables of command lines: what they run, and why it cannot be told.

mod containers;
mod differential;
mod fifth;
mod fourth;
mod gaps;
mod limits;
mod lines;
mod more;
mod programs;
mod review;
mod rows;
mod second;
mod seventh;
mod sixth;
mod third;
mod wrappers;

use std::fmt::Write;
use std::time::{Duration, Instant};

use crate::{Command, Limits, Reading, read};

/// A reading in one line: each command with who runs it, then `!` why it is opaque, then what else is known.
pub(crate) fn line(reading: &Reading) -> String {
    let mut out: Vec<String> = reading.commands.iter().map(command).collect();
    for redirect in &reading.redirects {
        out.push(format!("{:?} {}", redirect.access, redirect.path.text).to_lowercase());
    }
    let mut text = out.join(" ; ");
    for reason in &reading.opaque {
        let _ = write!(text, " !{}", reason.code());
    }
    if reading.code {
        text.push_str(" +code");
    }
    if let Some(script) = &reading.reads_stdin {
        let _ = write!(text, " +stdin:{}", script.program);
    }
    if reading.transfer.is_some() {
        text.push_str(" +transfer");
    }
    if reading.only_reads {
        text.push_str(" +reads");
    }
    text.trim().to_owned()
}

fn command(command: &Command) -> String {
    let mut text = String::new();
    for by in &command.by {
        let _ = write!(text, "{by}>");
    }
    if let Some(user) = &command.as_user {
        let _ = write!(text, "({user})");
    }
    let words: Vec<String> = command
        .argv
        .iter()
        .map(|w| {
            let text = w.text.replace('\n', "⏎");
            if w.dynamic || w.glob || w.text.contains([' ', '⏎']) || w.text.is_empty() {
                format!(
                    "[{text}]{}{}",
                    if w.dynamic { "?" } else { "" },
                    if w.glob { "*" } else { "" }
                )
            } else {
                text
            }
        })
        .collect();
    text + &words.join(" ")
}

/// How long that took at most, however many others want a processor: what all threads of this process have had of one
/// meanwhile, if that is less. (A reading asks others on a thread of its own.)
fn took<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    const TICK: Duration = Duration::from_millis(10);
    let ran = || {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        let (_, behind) = stat.rsplit_once(')')?;
        let ticks = behind.split_whitespace().skip(11).take(2);
        let ticks: Option<u32> = ticks.map(|n| n.parse::<u32>().ok()).sum();
        Some(TICK * ticks?)
    };
    let (begun, before) = (Instant::now(), ran());
    let done = work();
    let wall = begun.elapsed();
    let processors = before.zip(ran());
    let processors = processors.map(|(before, after)| after.saturating_sub(before) + TICK);
    (done, processors.map_or(wall, |time| time.min(wall)))
}

fn check(rows: &[(&str, &str)]) {
    let mut wrong = Vec::new();
    for (text, expected) in rows {
        let found = line(&read(text.as_bytes(), &Limits::default()));
        if found != *expected {
            wrong.push(format!("    (r##\"{text}\"##, r##\"{found}\"##),"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} rows differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
