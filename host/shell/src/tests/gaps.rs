//! What bash does before it tells of it: by tables, and against bash itself.

use std::path::Path;
use std::process::{Command as Process, Stdio};

use super::differential::Dice;
use crate::{Gap, Limits, gaps};

/// What people type.
const TOLD: &[&str] = &[
    "ls",
    "ls -l *.rs | grep -v foo && echo ok || echo no",
    "cd /srv; ls",
    "X=1 make -j2",
    "x=$(date +%s)",
    "x=$(</etc/hostname)",
    "echo $(cat f) `id -un`",
    "echo \"$(for i in 1 2; do echo $i; done)\"",
    "for x in *.log; do gzip \"$x\"; done",
    "for x in a b {c,d} \"$y\" $z ${w} ${#w}; do echo $x; done",
    "for x; do echo $x; done",
    "for x in 1 2\ndo\necho $x\ndone",
    "for i in {1..3}; do sleep 1; done",
    "cp $dir/{a,b} \"$x\"{c,d} ${y}{e,f} 'a$'{g,h} {i,j}$z .",
    "while sleep 1; do date; done",
    "until ping -c1 web2; do sleep 1; done",
    "while read -r l; do echo $l; done <<< \"$text\"",
    "while read -r l; do echo $l; done <<X\na $b\nX",
    "while read -r l; do echo $l; done <<'X'\n$(id)\nX",
    "cat f | while read -r l; do echo $l; done",
    "if [ -f x ]; then cat x; elif test -d y; then ls y; else exit 1; fi",
    "if [[ -n $x && $y == a* ]]; then echo; fi",
    "[[ $(id -u) == 0 ]] && echo root",
    "case $1 in a|b) echo 1;; c*) echo 2;; *) echo 3;; esac",
    "case $(uname) in Linux) echo 1;; \"$x\") echo 2;; esac",
    "( cd /tmp && ls )",
    "{ echo a; echo b; }",
    "{ echo a; echo b; } 2>&1 | less",
    "{ echo a; echo b; } > /dev/null 2>&1",
    "for x in a; do echo; done &> /dev/null",
    "( sleep 9 ) &",
    "{ cat; } < /dev/null",
    "f() { echo \"$1\"; }",
    "function f { ls | wc -l; }",
    "f() { ls; } 2>&1",
    "cat <<X\na $(date)\nX",
    "cat <<-X\n\ta\n\tX",
    "diff <(ls a) <(ls b)",
    "tee >(gzip > f.gz) < in > out",
    "echo a > out 2>> err < in",
    "> f",
    "time ls",
    "! ls",
    "eval 'ls -l'",
    "eval ls '|' wc",
    "eval",
    "command eval -- 'for x in a; do ls; done'",
    "echo é è; ls é",
    "echo \"é\" | cat",
    "# nothing",
    "ls # with words",
    "ls \\\n -l",
    "echo ${x:-$(id)} ${y%.*}",
    "echo ${x:?told}",
    "let x=1",
    "echo $((x + 1))",
    "echo 'a\nb'",
    "sudo -u deploy sh -c 'for x in $(ls); do echo; done > f'",
];

/// What is not told of before it is done.
const UNTOLD: &[&str] = &[
    "echo 中2'; { :; } > f2; echo 中2'",
    "echo é1",
    ":() { ls; }",
    "function : { ls; }",
    "if x; then :() (ls); fi",
    "{ :; } > f",
    "{ :; } 2>> f < $'/n\\ntext\\n'",
    "{ :; } < f",
    "{ :; } <> f",
    "{ :; } >| f",
    "{ :; } &> f",
    "{ :; } &>> f",
    "{ :; } > /dev/nul",
    "{ :; } > /dev/tcp/h/1",
    "{ :; } > $f",
    "{ :; } 3> /dev/null",
    "{ :; } 3>&1",
    "{ :; } >&7",
    "{ :; } <<< $(id)",
    "{ :; } <<< ${y:?x}",
    "{ :; } <<X\n$(id)\nX",
    "{ :; } <<X\n${y:?x}\nX",
    "( :; ) > f",
    "( touch x ) > f &",
    "echo $( { :; } > f )",
    "x=`{ :; } > f`",
    "cat <( { :; } > f )",
    "for x in a; do :; done > f",
    "for x in ${y:?$(<f)}; do :; done",
    "for x in ${y:=1}; do :; done",
    "for x in ${y-$z}; do :; done",
    "for x in ${y:0:1}; do :; done",
    "for x in $(ls); do :; done",
    "for x in `ls`; do :; done",
    "for x in \"$(<f)\"; do :; done",
    "for x in $((1)); do :; done",
    "for x in <(ls); do :; done",
    "for x in ${!y}; do :; done",
    "for x in ${y[0]}; do :; done",
    "for x in ${y@P}; do :; done",
    "for ((i = 0; i < 3; i++)); do :; done",
    "((i++))",
    "for x in {b,$}{y@P}; do :; done",
    "for x in {b,$}{y:=1}; do :; done",
    "for x in {b,$}'a'; do :; done",
    "cat {/dev/null,$}{F}",
    "cat {$F,b}OO",
    "cat $F{a,b}",
    "cat {b,$F}",
    r#"echo "`echo "{'"',b}" ; { :; } > F; # '`""#,
    "echo \"`echo \"x\"`\"",
    "select x in a; do :; done",
    "coproc cat",
    "while :; do :; done < f",
    "until :; do :; done 2> f",
    "if :; then :; fi > f",
    "case a in ${y:?$(<f)}) ;; esac",
    "case a in $(ls)) ;; esac",
    "case a in a) ;; esac > f",
    "[[ a ]] > f",
    "f() { :; } > f",
    "f() ( :; ) > f",
    "function f { { :; } > f; }",
    "f() { for x in $(ls); do :; done; }",
    "{ f() { :; }; } > f",
    "if { :; } > f; then :; fi",
    "if :; then :; else { :; } > f; fi",
    "while { :; } > f; do :; done",
    "a && { :; } > f",
    "a | { :; } > f",
    "! { :; } > f",
    "time { :; } > f",
    "[[ -n $( { :; } > f ) ]]",
    "case $( { :; } > f ) in a) ;; esac",
    "cat <<X\n$( { :; } > f )\nX",
    "x=${y:-$( { :; } > f )}",
    "> $( { :; } > f )",
    "echo x 1<> f",
    "echo x 0<> f",
    "eval '{ :; } > f'",
    "eval '{ :; }' '> f'",
    "eval $x",
    "eval \"$x\"",
    "eval *",
    "e'v'al \"$x\"",
    "\\eval \"$x\"",
    "{eval,'{ :; } > f'}",
    "builtin eval '{ :; } > f'",
    "command -p eval '{ :; } > f'",
    "command -pp -- eval '{ :; } > f'",
    "eval -- '{ :; } > f'",
    "eval eval '\"{ :; } > f\"'",
    "f() { eval \"$1\"; }",
    "echo 中\\ x",
    "echo 中|cat",
    "echo 'é`'",
    "echo {fd}> f",
    "{ :; } {fd}> f",
    "echo $[1]",
    "echo $(",
    "a\r",
    "a\0b",
    "",
];

#[test]
fn what_people_type_is_told_of() {
    let refused = |text: &&str| {
        Some(format!(
            "{text:?}: {}",
            gaps(text.as_bytes(), &Limits::default()).err()?
        ))
    };
    let wrong: Vec<_> = TOLD.iter().filter_map(refused).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_not_told_of_is_found() {
    let accepted = |text: &&&str| gaps(text.as_bytes(), &Limits::default()).is_ok();
    let wrong: Vec<_> = UNTOLD.iter().filter(accepted).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(matches!(
        gaps(b"echo \xff", &Limits::default()),
        Err(Gap::Unread(_))
    ));
}

/// However deep and long, it ends, and says so.
#[test]
fn what_is_too_much_is_refused() {
    let deep = |n: usize| "eval ".repeat(n) + "ls";
    assert_eq!(gaps(deep(2).as_bytes(), &Limits::default()), Ok(()));
    let many = |n: usize| "eval a; ".repeat(n);
    assert_eq!(gaps(many(16).as_bytes(), &Limits::default()), Ok(()));
    assert_eq!(
        gaps(many(17).as_bytes(), &Limits::default()),
        Err(Gap::Eval)
    );
    for text in [
        "{ ".repeat(5_000),
        "echo $(".repeat(5_000),
        "ls;".repeat(60_000),
        "x".repeat(200 << 10),
        "eval 'ls;".repeat(4_000),
    ] {
        let found = gaps(text.as_bytes(), &Limits::default());
        assert!(
            matches!(found, Err(Gap::Unread(_) | Gap::Eval)),
            "{found:?}"
        );
    }
}

/// Each has a mark of its own for `@`, which is seen when it is done: a file, or what bash says.
const DONE: &[&str] = &[
    ": > @",
    "> @",
    ": ${y:?@}",
    ": $(: > @)",
    ": $(> @)",
    ": `> @`",
    ": <(> @)",
    ": <<< ${y:?@}",
    ": <<X\n${y:?@}\nX\n",
    ": <<X\n$(> @)\nX\n",
    "x=${y:?@}",
    "x=$(> @)",
    "[[ -n ${y:?@} ]]",
    "eval ': > @'",
    "eval '{ :; } > @'",
    ": 1<> @",
    ": {z}> @",
    ": > @ < @",
];
const AROUND: &[&str] = &[
    "{ %; }",
    "( % )",
    "{ %; } > @",
    "{ %; } 2>> @",
    "{ %; } 2>&1",
    "{ %; } <<< ${y:?@}",
    "{ %; } <<X\n$(> @)\nX\n",
    "for i in a; do %; done",
    "for i in ${y:?@}; do %; done",
    "for i in $(> @) a; do %; done",
    "for i in \"${y:=@}\"; do %; done > @",
    "for ((i = 0; i < 1; i++)); do %; done",
    "if :; then %; fi",
    "if ! :; then :; else %; fi > @",
    "until :; do :; done; %",
    "until :; do :; done > @; %",
    "case a in ${y:?@}) ;; a) %;; esac",
    "case $(> @) in *) %;; esac",
    "case a in a) %;; esac 2> @",
    "f() { %; }; f",
    "f() { %; } > @; f",
    "function f { %; }\nf",
    ": $(%)",
    ": \"`%`\"",
    "% | :",
    "% && :",
    "time %",
    "! %",
    "% &\nwait",
    "eval ':'; %",
    "%; %",
    "%\n%",
];

fn text(dice: &mut Dice, depth: usize, marks: &mut usize) -> String {
    let from = if depth == 0 || dice.roll(3) == 0 {
        DONE
    } else {
        AROUND
    };
    let mut out = String::new();
    for c in dice.pick(from).chars() {
        match c {
            '%' => out += &text(dice, depth - 1, marks),
            '@' => {
                *marks += 1;
                out += &format!("MARK{marks}-");
            }
            c => out.push(c),
        }
    }
    out
}

/// What bash has told of a text by the time it ends, and what can be seen of it.
fn run(dir: &Path, text: &str) -> (String, String) {
    let _ = std::fs::remove_dir_all(dir);
    std::fs::create_dir_all(dir.join("work")).unwrap();
    std::fs::write(dir.join("text"), text).unwrap();
    let script = "set -T; shopt -s extdebug; exec 9>>../told; \
        trap 'builtin printf \"%s\\n\" \"$BASH_COMMAND\" >&9' DEBUG; source ../text";
    let out = Process::new("timeout")
        .args(["10", "/bin/bash", "--norc", "-c", script])
        .current_dir(dir.join("work"))
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let mut seen = String::from_utf8_lossy(&out.stderr).into_owned();
    for file in std::fs::read_dir(dir.join("work")).unwrap() {
        seen.push_str(&file.unwrap().file_name().to_string_lossy());
        seen.push(' ');
    }
    let told = std::fs::read_to_string(dir.join("told")).unwrap_or_default();
    (told, seen)
}

/// Whatever of an accepted text can be seen, bash has told of. Of others, it often has not.
#[test]
fn bash_tells_of_all_that_it_does() {
    if !Path::new("/bin/bash").exists() {
        eprintln!("SKIPPED: no /bin/bash");
        return;
    }
    let dir = std::env::temp_dir().join(format!("weir-gaps-{}", std::process::id()));
    let mut dice = Dice(7);
    let (mut accepted, mut effects, mut untold) = (0, 0, 0);
    for _ in 0..600 {
        let mut marks = 0;
        let text = text(&mut dice, 3, &mut marks);
        let fine = gaps(text.as_bytes(), &Limits::default()).is_ok();
        // Where nothing is to be learned.
        if !fine && untold > 20 {
            continue;
        }
        accepted += usize::from(fine);
        let (told, seen) = run(&dir, &text);
        for mark in (1..=marks).map(|n| format!("MARK{n}-")) {
            if !seen.contains(&mark) {
                continue;
            }
            effects += usize::from(fine);
            let is_told = told.contains(&mark);
            assert!(
                is_told || !fine,
                "{text}\n--- told:\n{told}\n--- seen:\n{seen}"
            );
            untold += usize::from(!is_told);
        }
    }
    let _ = std::fs::remove_dir_all(&dir);
    assert!(
        accepted > 100 && effects > 50 && untold > 20,
        "{accepted} {effects} {untold}"
    );
}

/// Other parsers are asked about nothing that takes them long.
#[test]
fn what_is_long_takes_no_time() {
    for piece in [
        "a[",
        "[",
        "a[a[a[a[a[a[a[a[ ",
        "[[ ",
        "a[ ",
        "a[x]=",
        "$a[",
        "\"a[\"",
        "{a[,",
    ] {
        let text = format!("echo {}", piece.repeat((16 << 10) / piece.len() - 8));
        let (found, took) = super::took(|| gaps(text.as_bytes(), &Limits::default()));
        assert!(
            took < std::time::Duration::from_secs(2),
            "{piece}: {took:?} {found:?}"
        );
    }
}
