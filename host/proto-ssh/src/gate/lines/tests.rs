//! What is told of lines, and what is allowed of it.

use super::*;
use crate::gate::Place;

const ID: &str = "01234567-89ab-cdef-0123-456789abcdef";

fn ask(to: &str, text: &str) -> Ask {
    Ask {
        to: to.into(),
        id: ID.into(),
        pid: 7,
        depth: 1,
        text: text.replace('@', ID).into(),
        place: Place::default(),
        cut: false,
        seal: 0,
    }
}

fn line(text: &str) -> Ask {
    ask("s1", &format!(": weir-line\n{text}"))
}

/// All but the last line of that were told when they were read.
fn reads(lines: &mut Lines, all: &Ask) {
    let typed = typed(all, LINE).unwrap();
    let (_, before) = typed.entries.split_last().unwrap();
    let new = (typed.first..).zip(before);
    let first = lines.first();
    for (n, entry) in new.filter(|(n, _)| *n >= first) {
        let text = str::from_utf8(entry.text).unwrap();
        assert!(lines.more(&ask("s1", &format!(": weir-more\n{n:5}  @ {text}"))));
    }
}

impl Lines {
    /// At once.
    fn judge(&mut self, ask: &Ask) -> Result<(), String> {
        let whole = self.takes(ask)?;
        assert!(!self.open, "until it is judged");
        self.judged(whole.judge())
    }
}

fn judge(lines: &mut Lines, said: &str) -> Result<(), String> {
    let ask = line(said);
    reads(lines, &ask);
    lines.judge(&ask)
}

#[test]
fn prompts_and_lines_are_known_by_who_asks_and_how() {
    for (to, text, expect) in [
        ("main", ": weir-prompt\n7", Kind::Prompt(7)),
        ("s1", ": weir-prompt\n7", Kind::Command { main: false }),
        ("main", ": weir-prompt", Kind::Command { main: true }),
        ("main", ": weir-prompt\n", Kind::Command { main: true }),
        ("main", ": weir-prompt\n-7", Kind::Command { main: true }),
        ("s1", ": weir-line\n    7  @ ls", Kind::Line),
        ("s1", ": weir-more\n    7  @ ls", Kind::More),
        ("main", ": weir-more\n7", Kind::Command { main: true }),
        (
            "main",
            ": weir-line\n    7  @ ls",
            Kind::Command { main: true },
        ),
        ("s1", ": weir-line", Kind::Command { main: false }),
        ("main", "ls", Kind::Command { main: true }),
    ] {
        assert_eq!(kind(&ask(to, text)), expect, "{to} {text}");
    }
}

#[test]
fn a_line_is_what_was_written_down_since_the_prompt() {
    for (next, said, text, allowed) in [
        (7, "    7  @ ls", Some("ls"), true),
        // Edited while what belongs to it was typed: bash has read another text.
        (7, "    7* @ ls -l  ", Some("ls -l  "), false),
        (
            7,
            "    7  @ if ls\n    8* @ then ls; fi",
            Some("if ls\nthen ls; fi"),
            false,
        ),
        (
            7,
            "    6* @ ls\n    7  @ ls -l  ",
            Some("ls\nls -l  "),
            true,
        ),
        (99999, "99999  @ ls", Some("ls"), true),
        (
            7,
            "    7  @ for i in x\n    8  @ do ls\n    9  @ done",
            Some("for i in x\ndo ls\ndone"),
            true,
        ),
        // Of bash 5.1.
        (
            7,
            "    7  @ cat <<E\n    8  @ x\n\n    9  @ E\n",
            Some("cat <<E\nx\nE"),
            true,
        ),
        (
            7,
            "    7  @ cat <<E\n    8  @ x\\\n\n    9  @ E\n",
            Some("cat <<E\nx\\\nE"),
            false,
        ),
        (7, "    7  @ cat <<''\n    8  @ x\n\n", None, false),
        // An entry is one line.
        (7, "    7  @ ls\n    8  x ls", None, false),
        // Less than all, another one, and what is no list.
        (6, "    7  @ ls", Some("ls"), false),
        (0, "    7  @ ls", Some("ls"), false),
        (8, "    7  @ ls", Some("ls"), false),
        (7, "    7  @ if ls\n    9  @ then ls; fi", None, false),
        (7, "    7  @ if ls\n    x  @ then ls; fi", None, false),
        (7, "    7  ?? ls", None, false),
        (7, "@ ls", None, false),
        (7, "", None, false),
        (1, "", None, false),
        // What bash reads may be another text.
        (
            7,
            "    7  @ if : \\\n    8  @ then ls; fi",
            Some("if : \\\nthen ls; fi"),
            false,
        ),
        (
            7,
            "    7  @ if : \\\\\n    8  @ then ls; fi",
            Some("if : \\\\\nthen ls; fi"),
            true,
        ),
        (7, "    7  @ ls \\\n-l", None, false),
        // By what is in it.
        (7, "    7  @ { ls; } > x", Some("{ ls; } > x"), false),
        (7, "    7  @ echo x 1<> y", Some("echo x 1<> y"), false),
        (7, "    7  @ cat <<E", Some("cat <<E"), false),
        (7, "    7  @ echo )", Some("echo )"), false),
        (
            7,
            "    7  @ for x in __weir_n; do ls; done",
            Some("for x in __weir_n; do ls; done"),
            false,
        ),
    ] {
        let ask = line(said);
        let told = typed(&ask, LINE).map(|typed| typed.text());
        assert_eq!(told.as_deref(), text.map(str::as_bytes), "{said}");
        let mut lines = Lines::default();
        lines.prompt(next);
        if told.is_some() {
            reads(&mut lines, &ask);
        }
        assert_eq!(lines.judge(&ask).is_ok(), allowed, "{next} {said}");
        assert_eq!(lines.is_open(), allowed, "{next} {said}");
    }
    let long = line(&format!("    7  @ echo {}", "x".repeat(MAX)));
    let mut lines = Lines::default();
    lines.prompt(7);
    assert_eq!(lines.judge(&long), Err(LONG.to_owned()));
}

#[test]
fn several_commands_may_stand_behind_one_prompt_and_no_line_comes_again() {
    let at = |next: u64| {
        let mut lines = Lines::default();
        lines.prompt(next);
        lines
    };
    let first = line("    1  @ ls");
    assert!(Lines::default().judge(&first).is_err(), "before any prompt");
    let mut lines = at(1);
    lines.judge(&first).unwrap();
    assert!(lines.is_open());
    // What was judged is not judged again: where this ends, another command has begun.
    judge(
        &mut lines,
        "    1  @ {\n    2  @ for x in y\n    3  @ do ls; done",
    )
    .unwrap();
    assert!(lines.judge(&line("    3  @ ls")).is_err(), "nothing new");
    assert!(!lines.is_open());
    lines.prompt(4);
    assert!(!lines.is_open());
    // What stood before the prompt was given up.
    lines.judge(&line("    3  @ echo 'x\n    4  @ ls")).unwrap();
    // Less than what is new is nothing.
    assert!(at(4).judge(&line("    5  @ ls")).is_err());
    // The first line of a command is the one behind its prompt, or behind the command before it.
    for next in [1, 4] {
        lines.prompt(next);
        assert!(
            lines
                .judge(&line("    4  @ { :; } > f\n    5  @ ls"))
                .is_err()
        );
        assert!(lines.judge(&line("    5  @ ls")).is_err(), "{next}");
    }
    lines.prompt(6);
    lines.judge(&line("    6  @ ls")).unwrap();
}

/// It may take a while; whatever is asked meanwhile, nothing but that one is allowed by it.
#[test]
fn what_is_judged_is_what_was_asked_about_last() {
    let asked = line("    7  @ ls");
    let taken = || {
        let mut lines = Lines::default();
        lines.prompt(7);
        let whole = lines.takes(&asked).unwrap();
        (lines, whole.judge())
    };
    let (mut lines, judged) = taken();
    assert_eq!(lines.judged(judged), Ok(()));
    assert!(lines.is_open());
    type Meanwhile = fn(&mut Lines);
    for (what, meanwhile) in [
        ("a prompt", (|lines| lines.prompt(8)) as Meanwhile),
        ("a line that goes on", |lines| {
            assert!(lines.more(&ask("s1", ": weir-more\n    7  @ ls")));
        }),
        ("nothing of a line", |lines| {
            assert!(!lines.more(&ask("s1", ": weir-more\n")));
        }),
        ("another line", |lines| {
            let other = lines.takes(&line("    8  @ ls")).unwrap();
            assert!(lines.judged(other.judge()).is_err(), "nor that one");
        }),
        ("no line", |lines| {
            assert!(lines.takes(&line("")).is_err());
        }),
    ] {
        let (mut lines, judged) = taken();
        meanwhile(&mut lines);
        assert!(lines.judged(judged).is_err() && !lines.is_open(), "{what}");
    }
    // The answer that comes late is for the one before.
    let (mut lines, late) = taken();
    lines.prompt(8);
    let whole = lines.takes(&line("    8  @ { :; } > f")).unwrap();
    assert!(lines.judged(late).is_err() && !lines.is_open());
    assert!(lines.judged(whole.judge()).is_err() && !lines.is_open());
}

/// Whoever has something refused has nothing told again.
#[test]
fn behind_what_is_refused_there_is_a_prompt_first() {
    let mut lines = Lines::default();
    lines.prompt(7);
    assert!(lines.more(&ask("s1", ": weir-more\n    7  @ { :; } > f; if true")));
    assert!(lines.judge(&line("    3  @ sleep 5")).is_err());
    let asked = "    7  @ if true\n    8  @ then :; fi";
    assert!(judge(&mut lines, asked).is_err());
    assert!(lines.judge(&line("    9  @ ls")).is_err());
    lines.prompt(10);
    lines.judge(&line("   10  @ ls")).unwrap();
}

/// While the rest of a command is typed, who types can go back to lines that bash has read.
#[test]
fn what_was_changed_behind_bash_is_not_what_it_has_read() {
    let more = |said: &str| ask("s1", &format!(": weir-more\n{said}"));
    let open = |first: &str| {
        let mut lines = Lines::default();
        lines.prompt(7);
        assert!(lines.more(&more(first)));
        lines
    };
    let asked = line("    7  @ if true\n    8  @ then :; fi");
    assert_eq!(open("    7  @ if true").judge(&asked), Ok(()));
    for first in [
        "    7  @ { :; } > f; if true",
        "    7  @ if true ",
        // Told when it was changed already, and another one.
        "    7* @ if true",
        "    6  @ if true",
    ] {
        assert!(open(first).judge(&asked).is_err(), "{first}");
    }
    for (first, second) in [("{ :; } > f; if true", "if true"), ("if true", "if false")] {
        let mut lines = open(&format!("    7  @ {first}"));
        assert!(lines.more(&more(&format!("    7  @ {second}"))));
        assert!(lines.judge(&asked).is_err(), "{first}");
    }
    // Behind an empty line it is told once more.
    let mut lines = open("    7  @ if true");
    assert!(lines.more(&more("    7  @ if true")));
    assert_eq!(lines.judge(&asked), Ok(()));
    let mut lines = open("    7  @ { :; } > f; if true");
    assert!(lines.judge(&asked).is_err());
    // Nothing of it counts for the next command.
    let again = line("    9  @ if true\n   10  @ then :; fi");
    assert!(lines.judge(&again).is_err());
    let mut lines = open("    7  @ if true");
    lines.prompt(7);
    assert!(lines.judge(&asked).is_err());
    // Of the last line, too, where it was told.
    let mut lines = open("    7  @ { :; } > f");
    assert!(lines.judge(&line("    7  @ ls")).is_err());
    for said in ["", "ls", "    7  @ ls\n    8  @ ls", "    x  @ ls"] {
        assert!(!open("    7  @ ls").more(&more(said)), "{said}");
    }
}

/// With `erasedups` a line that comes once more is taken out where it stood, and those behind it get other numbers.
#[test]
fn what_gets_an_older_number_is_not_what_was_read() {
    let more = |said: &str| ask("s1", &format!(": weir-more\n{said}"));
    let mut lines = Lines::default();
    lines.prompt(7);
    assert!(lines.more(&more("    6  @ { :; } > f; echo 'x")));
    assert!(
        lines
            .judge(&line("    6  @ { :; } > f; echo 'x\n    7  @  ls #'"))
            .is_err()
    );
    // Behind a command that was judged, too.
    lines.prompt(8);
    lines.judge(&line("    8  @ ls")).unwrap();
    assert!(lines.more(&more("    8  @ { :; } > f; echo 'x")));
    assert!(
        lines
            .judge(&line("    8  @ { :; } > f; echo 'x\n    9  @  ls #'"))
            .is_err()
    );
}

/// What there was no room for may have been changed since.
#[test]
fn what_was_longer_once_is_refused() {
    let mut lines = Lines::default();
    lines.prompt(7);
    for said in [
        format!("    7  @ if : {}", "a".repeat(MAX - 100)),
        format!("    8  @ then {{ :; }} > f; : {}; fi", "b".repeat(300)),
    ] {
        assert!(lines.more(&ask("s1", &format!(": weir-more\n{said}"))));
    }
    let all = format!(
        "    7  @ if : {}\n    8  @ then :; fi",
        "a".repeat(MAX - 100)
    );
    assert_eq!(lines.judge(&line(&all)), Err(UNKEPT.to_owned()));
}

#[test]
fn what_is_kept_of_lines_is_bounded() {
    let mut lines = Lines::default();
    lines.prompt(1);
    for n in 1..40_000 {
        let said = format!(": weir-more\n{n:5}  @ {}", "x".repeat(n % 2_000));
        assert!(lines.more(&ask("s1", &said)));
    }
    assert!(lines.held <= MAX && lines.read.len() <= MAX);
    let held: usize = lines.read.values().map(Vec::len).sum();
    assert_eq!(held, lines.held);
}

/// The session waits for it.
#[test]
fn the_longest_line_takes_no_time() {
    for piece in [
        "{ x; } ", "$(", "((", "a[", "a[ ", "a[;", "x;", "\"$x\" ", "a\n", "[[ x ", "<<E ", "`",
    ] {
        let text = piece.repeat(MAX / piece.len() - 8);
        let took = crate::testing::processor_time(|| {
            let mut lines = Lines::default();
            lines.prompt(7);
            let _ = lines.judge(&line(&format!("    7  @ {text}")));
        });
        assert!(
            took < std::time::Duration::from_secs(2),
            "{piece}: {took:?}"
        );
    }
}

/// bash has a process of its own list them, which anybody with that login may kill.
#[test]
fn a_list_that_was_cut_is_none() {
    if !std::path::Path::new("/bin/bash").exists() {
        return;
    }
    let startup = super::super::STARTUP;
    let (_, rest) = startup.split_once("\n__weir_typed() {").unwrap();
    let (typed, _) = rest.split_once("\n# The current directory").unwrap();
    let tells = |what: &str, killed: &str| {
        let script = format!(
            "__weir_typed() {{{typed}\nhistchars='!^#'; history -s ls; history -s '{{ :; }} > f'; set -T
             trap '[[ $BASHPID == $$ || -z \"{killed}\" || $BASH_COMMAND != *{killed}* ]] || kill -KILL $BASHPID' DEBUG
             __weir_l=$'\\n' __weir_to=s1 __weir_id={ID} __weir_next=1 __weir_c=': weir-{what}'
             __weir_typed && printf %s \"$__weir_c\""
        );
        let mut bash = std::process::Command::new("/bin/bash");
        let out = bash.args(["--norc", "-c", &script]).output().unwrap();
        let said = String::from_utf8(out.stdout).unwrap();
        out.status.success().then_some(said)
    };
    let last = format!("    2  {ID} {{ :; }} > f");
    let all = format!(": weir-line\n    1  {ID} ls\n{last}");
    assert_eq!(tells("line", ""), Some(all));
    assert_eq!(tells("more", ""), Some(format!(": weir-more\n{last}")));
    for what in ["line", "more"] {
        // Before anything was listed, and before it says that this was all.
        for killed in ["history", "printf"] {
            assert_eq!(tells(what, killed), None, "{what} {killed}");
        }
    }
}

/// Of a list without lines that were told before nothing is allowed.
#[test]
fn lines_that_were_told_are_in_the_list() {
    let more = |said: &str| ask("s1", &format!(": weir-more\n{said}"));
    let mut lines = Lines::default();
    lines.prompt(7);
    assert!(lines.more(&more("    7  @ :")));
    assert!(lines.more(&more("    8  @ { :; } > f")));
    assert!(lines.judge(&line("    7  @ :")).is_err());
    assert!(!lines.is_open());
}
