//! What is read against what real shells run: `d` prints its words, nothing else can be found, and every call of it
//! has to be in the reading. Where shells and the reading differ, the reading has to be opaque.

use std::io::Write;
use std::process::{Command as Process, Stdio};

use crate::{Command, Limits, Reading, quote, read};

/// A generator of numbers that is the same every time.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % sides
    }

    pub(super) fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.roll(from.len())]
    }
}

const PIECES: &[&str] = &[
    "a",
    "b",
    "-x",
    "'q r'",
    "\"s t\"",
    "\\ ",
    "\\\\",
    "$'n\\n'",
    "$'\\x41'",
    "{x,y}",
    "{1..3}",
    "{",
    "}",
    "''",
    "\"\"",
    "\"\\$\"",
    "\"\\`\"",
    "'\"'",
    "\"'\"",
    "\\'",
    "\\\"",
    "=",
    ",",
    "a#",
    "%",
    "!",
    "~x",
    "^",
    "{p,'q,r'}",
    "{{a,b},c}",
    "\"{a,b}\"",
    "é",
    "\\\n",
    "\"l\nm\"",
    "*",
    "[",
    "]",
    "?",
    "$'\\''",
    "{a..c}",
    ":",
    "@",
    "d",
    "$",
];
const SEPARATORS: &[&str] = &[
    " ; ",
    " && ",
    "\n",
    ";",
    " ;d; ",
    " | ",
    "|",
    " |& ",
    " & wait; ",
];

fn word(dice: &mut Dice) -> String {
    (0..=dice.roll(3)).map(|_| dice.pick(PIECES)).collect()
}

/// All commands of it run.
fn structured(dice: &mut Dice) -> String {
    let mut text = String::new();
    for i in 0..=dice.roll(3) {
        if i > 0 {
            text.push_str(dice.pick(SEPARATORS));
        }
        let words: Vec<String> = (0..dice.roll(4)).map(|_| word(dice)).collect();
        let call = format!(
            "{}d {}",
            dice.pick(&["", "", "X=1 ", "X='a b' Y= "]),
            words.join(" ")
        );
        text.push_str(&match dice.roll(9) {
            0 => format!("{{ {call} ; }}"),
            1 => format!("( {call} )"),
            2 => format!("if d t; then {call}\nfi"),
            3 => format!("for i in 1; do {call} ; done"),
            4 => format!("{call} >/dev/null 2>&1"),
            5 => format!("case a in a) {call} ;; esac"),
            6 => format!("d \"$(d in; {call} )\""),
            7 => format!("eval {}", quote(&call)),
            _ => call,
        });
    }
    text
}

const TOKENS: &[&str] = &[
    "'",
    "\"",
    "\\",
    "$",
    "{",
    "}",
    ",",
    "..",
    "a",
    "d ",
    "d ",
    "d ",
    " ",
    " ",
    ";",
    "#",
    "(",
    ")",
    "|",
    "&",
    "\n",
    "$(",
    "`",
    "<<E\n",
    "E\n",
    "\nE\n",
    ">f ",
    "<f ",
    "if ",
    "then ",
    "fi",
    "=",
    "X=",
    "$'",
    "${",
    "$x",
    "!",
    "[[ ",
    " ]]",
    "((",
    "))",
    "case a in ",
    "esac",
    "{ ",
    "do ",
    "done",
    "for i in a;",
    "while false;",
    "1",
    "2>",
    ">&",
    "&>",
    "<<<",
    "<<'E'\n",
    "f()",
    "function f",
    "eval ",
    "time ",
    ";;",
    "\\\n",
    "$((",
    "-",
    "*",
    "[",
    "]",
    "else ",
    "~",
    "\t",
    "||",
    "&&",
    "<(",
    "\"$(",
    ")\"",
    "\\'",
    "'d'",
];

fn hostile(dice: &mut Dice) -> String {
    (0..2 + dice.roll(14)).map(|_| dice.pick(TOKENS)).collect()
}

/// Calls of `d` for each text, as one shell process makes them.
fn run(shell: &str, texts: &[String]) -> Vec<Vec<Vec<String>>> {
    let dir = tempfile::tempdir().expect("a directory");
    let script = dir.path().join("script");
    let log = dir.path().join("log");
    let mut file = std::fs::File::create(&script).expect("a file");
    writeln!(
        file,
        "PATH=/nowhere; HOME=/; set -f; cd {} || exit 1",
        dir.path().display()
    )
    .expect("written");
    writeln!(file, "exec 9>>{}", log.display()).expect("written");
    // One write for each call, so that those of a pipeline do not mix: but for newlines, see `mixes`.
    writeln!(file, "d() {{ printf '\\035%s' \"$@\" '\u{1e}' >&9; }}").expect("written");
    for text in texts {
        let text = text.replace('\'', "'\\''");
        // Calls within a word would print into it, so all calls go to a file. The blank keeps a dash from being an
        // option of `eval`.
        writeln!(
            file,
            "( eval ' {text}'\nwait ) </dev/null >/dev/null 2>&1\nprintf '\\037' >&9"
        )
        .expect("written");
    }
    drop(file);
    let status = Process::new(shell)
        .arg(&script)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .env_clear()
        .env("LC_ALL", "C.UTF-8")
        .status()
        .expect("the shell runs");
    assert!(status.success(), "{shell}: {status}");
    let log = std::fs::read(&log).expect("the log");
    let log = String::from_utf8_lossy(&log);
    let runs: Vec<&str> = log.split('\u{1f}').collect();
    assert_eq!(runs.len(), texts.len() + 1, "{shell} ended early");
    runs.iter()
        .take(texts.len())
        .map(|run| {
            let calls = run.split('\u{1e}').filter(|c| !c.is_empty());
            calls
                .map(|call| {
                    let mut words: Vec<String> =
                        call.split('\u{1d}').skip(1).map(str::to_owned).collect();
                    words.pop();
                    words
                })
                .collect()
        })
        .collect()
}

/// The call is this command, as far as the reading tells.
pub(super) fn fits(call: &[String], command: &Command) -> bool {
    let Some((head, args)) = command.argv.split_first() else {
        return false;
    };
    if head.text != "d" {
        return false;
    }
    if args.iter().any(|w| w.splits || w.glob && w.dynamic) {
        return true;
    }
    call.len() == args.len()
        && call
            .iter()
            .zip(args)
            .all(|(a, b)| b.dynamic || b.text == "~" || b.text.starts_with("~/") || *a == b.text)
}

fn all(texts: &[String]) -> Vec<Reading> {
    texts
        .iter()
        .map(|t| read(t.as_bytes(), &Limits::default()))
        .collect()
}

fn count(seed: u64, how_many: usize, make: fn(&mut Dice) -> String) -> Vec<String> {
    let mut dice = Dice(seed);
    let seed: u64 = std::env::var("WEIR_SHELL_SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(0);
    dice.0 = dice
        .0
        .wrapping_add(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    (0..how_many)
        .map(|_| make(&mut dice))
        .filter(|text| !varies(text))
        .collect()
}

/// Not the same in two runs: numbers of processes, options of the shell, or calls at the same time that are written in
/// pieces because of a newline.
fn varies(text: &str) -> bool {
    let newline = text.contains("l\nm") || text.contains("\\n");
    ["$$", "$-", "$!"].iter().any(|v| text.contains(v))
        || text.contains(['|', '&']) && (newline || text.contains("eval"))
}

#[test]
fn what_bash_runs_is_what_was_read() {
    let texts = count(1, 800, structured);
    let readings = all(&texts);
    let runs = run("bash", &texts);
    let mut followed = 0;
    let mut wrong = Vec::new();
    for ((text, reading), calls) in texts.iter().zip(&readings).zip(&runs) {
        if reading.is_opaque() {
            continue;
        }
        followed += 1;
        let mut left: Vec<&Command> = reading
            .commands
            .iter()
            .filter(|c| c.argv[0].text == "d")
            .collect();
        // One that may be any call is left for those that fit no other.
        left.sort_by_key(|c| c.dynamic);
        for call in calls {
            match left.iter().position(|c| fits(call, c)) {
                Some(at) => {
                    left.remove(at);
                }
                None => wrong.push(format!(
                    "{text:?} runs {call:?}, read {:?}",
                    super::line(reading)
                )),
            }
        }
        if !left.is_empty() {
            wrong.push(format!("{text:?} does not run {left:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(followed > 300, "only {followed} are followed");
}

#[test]
fn nothing_runs_in_bash_that_was_not_read() {
    let texts = count(2, 6_000, hostile);
    let accepted: Vec<(String, Reading)> = texts
        .into_iter()
        .map(|t| {
            let reading = read(t.as_bytes(), &Limits::default());
            (t, reading)
        })
        .filter(|(_, r)| !r.is_opaque())
        .collect();
    let texts: Vec<String> = accepted.iter().map(|(t, _)| t.clone()).collect();
    let runs = run("bash", &texts);
    let mut wrong = Vec::new();
    for ((text, reading), calls) in accepted.iter().zip(&runs) {
        for call in calls {
            if !reading.commands.iter().any(|c| fits(call, c)) {
                wrong.push(format!(
                    "{text:?} runs {call:?}, read {:?}",
                    super::line(reading)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(texts.len() > 100, "only {} are followed", texts.len());
}

/// The canonical form does in every shell what the text does in bash.
#[test]
fn the_canonical_form_means_the_same() {
    let mut texts = count(3, 500, structured);
    texts.extend(count(4, 2_500, hostile));
    let kept: Vec<(String, String, bool)> = texts
        .into_iter()
        .filter_map(|text| {
            let reading = read(text.as_bytes(), &Limits::default());
            let form = String::from_utf8(reading.canonical?).expect("UTF-8");
            Some((text, form, reading.needs_bash))
        })
        .collect();
    let originals: Vec<String> = kept.iter().map(|k| k.0.clone()).collect();
    let forms: Vec<String> = kept.iter().map(|k| k.1.clone()).collect();
    let portable: Vec<usize> = (0..kept.len()).filter(|i| !kept[*i].2).collect();
    let for_dash: Vec<String> = portable.iter().map(|i| forms[*i].clone()).collect();
    let sorted = |mut runs: Vec<Vec<Vec<String>>>| {
        runs.iter_mut().for_each(|r| r.sort());
        runs
    };
    let expected = sorted(run("bash", &originals));
    let bash = sorted(run("bash", &forms));
    let dash = sorted(run("dash", &for_dash));
    let mut wrong = Vec::new();
    for (i, (text, form, _)) in kept.iter().enumerate() {
        if bash[i] != expected[i] {
            wrong.push(format!(
                "{text:?} as {form:?}: bash {:?}, not {:?}",
                bash[i], expected[i]
            ));
        }
    }
    for (at, i) in portable.iter().enumerate() {
        if dash[at] != expected[*i] {
            wrong.push(format!(
                "{:?} as {:?}: dash {:?}, not {:?}",
                kept[*i].0, kept[*i].1, dash[at], expected[*i]
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}\n{}",
        wrong.len(),
        kept.len(),
        wrong.join("\n")
    );
    assert!(portable.len() > 200, "only {} have a form", portable.len());
}

/// What is followed is a text that bash takes too; its form is one for dash, where it does not need bash.
#[test]
fn shells_take_what_is_followed() {
    let rows = [super::rows::ROWS, super::programs::ROWS, super::more::ROWS].concat();
    let mut for_bash = Vec::new();
    let mut for_dash = Vec::new();
    for (text, _) in rows {
        let reading = read(text.as_bytes(), &Limits::default());
        if reading.is_opaque() {
            continue;
        }
        for_bash.push(text.to_owned());
        if let Some(form) = reading.canonical.filter(|_| !reading.needs_bash) {
            for_dash.push(String::from_utf8(form).expect("UTF-8"));
        }
    }
    assert!(
        for_bash.len() > 250 && for_dash.len() > 200,
        "{} {}",
        for_bash.len(),
        for_dash.len()
    );
    assert_eq!(takes("bash", &for_bash), Ok(()));
    assert_eq!(takes("dash", &for_dash), Ok(()));
    // That a text is refused would be seen.
    assert!(takes("bash", &["ls".into(), "ls )".into()]).is_err());
    assert!(takes("dash", &["ls".into(), "a=(b)".into()]).is_err());
}

/// All texts, each as the body of a function, because starting a shell for each takes long.
fn takes(shell: &str, texts: &[String]) -> Result<(), String> {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("all");
    let all: Vec<String> = texts
        .iter()
        .map(|text| format!("f() {{\n:\n{text}\n}}\n"))
        .collect();
    std::fs::write(&file, all.concat()).expect("written");
    let output = Process::new(shell)
        .arg("-n")
        .arg(&file)
        .output()
        .expect("the shell runs");
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}
