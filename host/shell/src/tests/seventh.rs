//! Words that become several where only one was seen, and values that are read once more. What runs in each was tried by
//! the bash of the machine here.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Limits, read, read_script};

/// Does bash make the file that the text's hidden command would?
fn runs(text: &str) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let hit = dir.path().join("hit");
    let bash = Command::new("bash")
        .args(["-c", text])
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    bash.unwrap();
    // What runs beside it may end behind it.
    let end = Instant::now() + Duration::from_secs(5);
    while !hit.exists() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(10));
    }
    hit.exists()
}

fn is_opaque(text: &str) -> bool {
    let limits = Limits::default();
    let quoted = crate::quote(text);
    let texts = [text.to_owned(), format!("bash -c {quoted}")];
    texts
        .iter()
        .all(|t| read(t.as_bytes(), &limits).is_opaque())
        && read_script(text.as_bytes(), "bash", &limits).is_opaque()
}

fn all_are(texts: &[&str]) {
    let wrong: Vec<&&str> = texts
        .iter()
        .filter(|text| !runs(text) || !is_opaque(text))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_stands_for_all_arguments_is_several_words_in_quotes_too() {
    all_are(&[
        r#"set -- b touch hit; env "a=${1+$@}" ls"#,
        r#"set -- b touch hit; env "a=${1:+$@}" ls"#,
        r#"set -- b touch hit; env "a=${x-$@}" ls"#,
        r#"set -- b touch hit; env "a=${x:-"$@"}" ls"#,
        r#"set -- b touch hit; env "a=${x:-${@}}" ls"#,
        r#"set -- a b touch hit; env "a=${1+${@:2}}" ls"#,
        r#"set -- b touch hit; x=@; env "a=${!x}" ls"#,
        r#"set -- b 'BASH_ENV=$(touch hit)'; export "a=${1+$@}"; bash -c ls"#,
        r#"set -- -5 touch hit; nice -n "${1+$@}""#,
        r#"set -- . -exec touch hit ';'; find "${1+$@}""#,
    ]);
    // Where bash sees an assignment it makes one word of it.
    for text in [r#"set -- a b; export x="${1+$@}"; ls"#, r#"echo "${1+$@}""#] {
        assert!(
            !read(text.as_bytes(), &Limits::default()).is_opaque(),
            "{text}"
        );
    }
}

#[test]
fn a_word_of_a_test_that_becomes_several_may_be_any_other_test() {
    const X: &str = "x='y -o -v a[$(touch${IFS}hit)]'; ";
    let some = [
        "[ -n $x ]",
        "[ y = $x ]",
        "[ y = y -a -n $x ]",
        "[ 1 = 2 -o $x ]",
        "test $x",
        "test ! $x",
    ];
    let all: Vec<String> = some.iter().map(|text| format!("{X}{text}")).collect();
    all_are(&all.iter().map(String::as_str).collect::<Vec<_>>());
    all_are(&[
        "x='-v a[$(touch${IFS}hit)]'; [ $x = y ]",
        "x='-v a[$(touch${IFS}hit)]'; [ ${x} ]",
        "x='-v a[$(touch${IFS}hit)]'; [ ${x:-a} ]",
        "set -- -v 'a[$(touch hit)]'; test \"$@\"",
        "set -- -v 'a[$(touch hit)]'; test \"${1+$@}\"",
        "> -v; > 'a[$(touch hit)]'; [ * ]",
        "> -v; > 'a[$(touch hit)]'; [ -? a* ]",
        "> -v; > 'a[$(touch hit)]'; [ -[a-z] a* ]",
        // Numbers are what is written so, not what looks like one.
        "x='$((y -o -v a[`touch${IFS}hit`] -o y))'; [ $x ]",
        "sleep 0.1 & x='-p a[$(touch${IFS}hit)]'; wait -n $x",
        "sleep 0.1 & set -- -n -p 'a[$(touch hit)]'; wait \"$@\"",
    ]);
    for text in [
        "[ \"$x\" = y ]",
        "[ -f \"$x\" -a -r \"$y\" ]",
        "n=3; [ $n -gt 2 ]",
        "n=$((1 + 2)); [ ${n} -gt 2 ]",
        "[ $? -eq 0 ] && [ $# -gt 1 ]",
        "[ -e *.log ]",
        "[ -d /srv/* ]",
        "sleep 1 & wait $!",
        "sleep 1 & pid=$!; wait $pid",
        "wait",
        "wait -n",
    ] {
        let reading = read(text.as_bytes(), &Limits::default());
        assert!(!reading.is_opaque(), "{text}: {:?}", reading.opaque);
    }
    // A variable that may hold something else anywhere.
    for text in [
        "n=3; read n; [ $n -gt 2 ]",
        "[ $n -gt 2 ]",
        "pid=$!; read pid; wait $pid",
    ] {
        assert!(is_opaque(text), "{text}");
    }
}

#[test]
fn values_that_declare_reads_once_more() {
    all_are(&[
        "declare 'DIRSTACK=($(touch hit))'",
        "typeset 'DIRSTACK+=($(touch hit))'",
        "y='($(touch hit))'; declare DIRSTACK=$y",
        "HOME='($(touch hit))'; declare DIRSTACK=~",
        "f() { local MAPFILE; mapfile < /dev/null; y='($(touch hit))'; local MAPFILE=$y; }; f",
        "true | true; declare 'PIPESTATUS=($(touch hit))'",
        "[[ a =~ a ]]; y='($(touch hit))'; declare BASH_REMATCH=\"$y\"",
        "read -a x <<< y; declare 'x=($(touch hit))'",
        "read -ra x <<< y; y='($(touch hit))'; declare x=$y",
        "mapfile -t x < /dev/null; declare 'x+=($(touch hit))'",
        "readarray x < /dev/null; y='($(touch hit))'; declare x+=\"$y\"",
        "f() { local x; read -a x <<< y; local 'x=($(touch hit))'; }; f",
        "f() { local x; read -a x <<< y; y='($(touch hit))'; local x=$y; }; f",
        "y='($(touch hit))'; for i in 1 2; do declare x=$y; read -a x <<< y; done",
    ]);
    for text in [
        "f() { local x=$1; echo \"$x\"; }; f a",
        "declare x=$1; echo \"$x\"",
        "read -a x < f; export y=\"$x\"; ls",
        "export x='(a)'; ls",
        "declare x='f(y)=(z)'; ls",
    ] {
        let reading = read(text.as_bytes(), &Limits::default());
        assert!(!reading.is_opaque(), "{text}: {:?}", reading.opaque);
    }
}

#[test]
fn options_that_are_known_in_part() {
    all_are(&[
        "x=ohit; sort \"-$x\" /etc/passwd",
        "x=output=hit; sort \"--$x\" /etc/passwd",
        "x='a[$(touch hit)]'; o=v; test \"-$o\" \"$x\"",
        "x='pa[$(touch hit)]'; sleep 0.1 & wait -n\"$x\"",
        "x='pa[$(touch hit)]'; sleep 0.1 & wait -n \"-$x\"",
        "> -ohit; sort -?hit /etc/passwd",
        "shopt -s nullglob; find / -maxdepth 0 -name zzz* -name -fprint hit",
        "shopt -s nullglob; set zz* -k; bash -c ls BASH_ENV='$(touch hit)'",
        "shopt -s null{g,}lob 2> /dev/null; find / -maxdepth 0 -name zzz* -name -fprint hit",
        "mapfile -n 1 -C 'touch hit' -c 1 x < /etc/passwd",
        "printf -v x -v 'a[$(touch hit)]' y",
        "> 'x[$(touch hit)]'; read x* <<< y",
        "> 'x[$(touch hit)]'; printf -v x* y",
    ]);
    for text in [
        "x=aPATH; read \"-$x\" <<< /tmp/evil; ls",
        "printf -v x -v PATH %s /tmp/evil; ls",
        "read -r -t 1 -aPATH x <<< /tmp/evil; ls",
        "x=c.example:f; tar tf \"a$x\"",
    ] {
        let reading = read(text.as_bytes(), &Limits::default());
        assert!(
            reading.is_opaque() || !reading.only_reads,
            "{text}: {reading:?}"
        );
    }
}

#[test]
fn numbers_are_those_that_nothing_else_sets() {
    all_are(&[
        "xy=5; x='-v a[$(touch${IFS}hit)] '; [ $x\"y\" = y ]",
        "_=5; : 'a[$(touch hit)]'; echo $((_))",
        "_=5; : '-v a[$(touch${IFS}hit)]'; [ $_ = y ]",
        "REPLY=5; read <<< 'a[$(touch hit)]'; echo $((REPLY))",
        "OPTARG=5; set -- -a 'a[$(touch hit)]'; getopts a: v; echo $((OPTARG))",
        "MAPFILE=5; mapfile <<< 'a[$(touch hit)]'; echo $((MAPFILE))",
        "y='a[$(touch hit)]='$#; echo $((y))",
        "y='-v a[$(touch${IFS}hit)] ='$#; [ $y = z ]",
        "export y='a[$(touch hit)]='$#; echo $((y))",
        "BASH_ARGV=5; set -- 'a[$(touch hit)]'; echo $((BASH_ARGV))",
        "set + -k; bash -c ls BASH_ENV='$(touch hit)'",
        "set -e + -k; bash -c ls BASH_ENV='$(touch hit)'",
        "set {+,-k}; bash -c ls BASH_ENV='$(touch hit)'",
        "set -oo errexit keyword; bash -c ls BASH_ENV='$(touch hit)'",
        "set -oo errexit nounset -k; bash -c ls BASH_ENV='$(touch hit)'",
    ]);
}

/// bash reads twice what stands behind `>&`.
#[test]
fn names_behind_a_duplicate() {
    all_are(&[
        "ls >&'$(touch hit)'",
        "ls >&\"\\$(touch hit)\"",
        "ls >&'a[$(touch hit)]'",
        "ls >&\\$\\(touch\\ hit\\)",
    ]);
    for text in ["ls >&out.txt", "ls >& /tmp/out-1.txt", "ls >&2"] {
        let reading = read(text.as_bytes(), &Limits::default());
        assert!(!reading.is_opaque(), "{text}: {:?}", reading.opaque);
    }
}

#[test]
fn options_of_programs_that_only_seemed_to_read() {
    for text in [
        r#"zcat '--gz=awk BEGIN{system("touch\thit")}' x.gz"#,
        "zcat --bz2=sh x.bz2",
        "jq --run-tests",
        "hostname -",
        "timeout touch ls hit",
        "timeout -s KILL touch ls x",
        "arch touch hit",
        "arch -arm64 touch hit",
        "uname -S name",
        "strings @/dev/stdin <<< /etc/shadow",
        "strings -a @f",
        "base64 -i a -o b",
        "x=s2020; date \"-$x\"",
        "x=vacuum-size=1; journalctl \"--$x\"",
    ] {
        let reading = read(text.as_bytes(), &Limits::default());
        assert!(!reading.only_reads, "{text}: {reading:?}");
    }
    for text in [
        "zcat -f x.gz",
        "hostname -f",
        "x=1; journalctl --since=\"$x\"",
        "x=1; head -n\"$x\" f",
    ] {
        let reading = read(text.as_bytes(), &Limits::default());
        assert!(reading.only_reads, "{text}: {reading:?}");
    }
}

/// Of one word, too, braces make another one.
#[test]
fn sequences_of_one() {
    for text in [
        "sort --{o..o}utput=hit /etc/passwd",
        "{t..t}ouch hit",
        "{e..e}val 'touch hit'",
        "{b..b}ash -c 'touch hit'",
        "cat /etc/passwd | {x..x}args touch hit",
        "ls > {h..h}it",
        "touch h{1..1}it; touch {h..h}it",
    ] {
        let text = format!("bash -c {}", crate::quote(text));
        assert!(runs(&text), "{text}");
        let reading = read(text.as_bytes(), &Limits::default());
        let told = format!("{:?}{:?}", reading.commands, reading.redirects);
        assert!(
            reading.is_opaque() || !reading.only_reads && !told.contains(".."),
            "{text}: {reading:?}"
        );
    }
}

/// Where an expression fails, bash skips the rest of the line.
#[test]
fn expressions_that_fail() {
    for text in [
        "z=0,w['$(touch hit)'],q=$((5=6)); BASH_EXECUTION_STRING=5\necho $((BASH_EXECUTION_STRING))",
        "export TERM='a[$(touch hit)]'\nbash -c 'y=$((5=6)); TERM=5\necho $((TERM))'",
        "export TERM='a[$(touch hit)]'\nbash -c 'echo ${x:-$((1+))}; TERM=5\necho $((TERM))'",
        "export TERM='a[$(touch hit)]'\nbash -c 'x=$((0-5)); echo $((y-$x)); TERM=5\necho $((TERM))'",
        "z=0,w['$(touch hit)'],q=5; EPOCHREALTIME=5\necho $((EPOCHREALTIME)); BASH_EXECUTION_STRING=5\necho $((BASH_EXECUTION_STRING))",
        "x=1; y=5; x5='a[$(touch hit)]'; echo ${z:-$((x$y))}",
        "x=1; y=5; x5='a[$(touch hit)]'; cat <<E\n$((x$y))\nE",
    ] {
        let nested = format!("bash -c {}", crate::quote(text));
        assert!(runs(&nested) || runs(text), "{text}");
        for text in [text, &nested] {
            assert!(is_opaque(text), "{text}");
        }
    }
    for text in [
        "n=1; n=$((n+1)); echo $((n * 2 - 1))",
        "n=3; x=$((n / 2)); echo $x",
    ] {
        let reading = read(text.as_bytes(), &Limits::default());
        assert!(!reading.is_opaque(), "{text}: {:?}", reading.opaque);
    }
}

/// What xargs puts in, values that may be empty, and words that may end a command of find.
#[test]
fn words_that_others_fill() {
    for text in [
        "> e; echo ASH_ENV | xargs -I Q env BQ=e bash -c ls",
        "echo fprint | xargs -I name find / -maxdepth 0 -name hit",
        "echo exec | xargs -I name find / -maxdepth 0 -name prog ';'",
        "echo ib | xargs -I n sed -n p f",
        "echo 'e whit' | xargs -I n sed -n p /etc/passwd",
        "echo ohit | xargs -I u sort -u /etc/passwd",
        "x=ls; echo touch | xargs -I \"$x\" env ls hit",
        "x=n; echo 'e whit' | xargs -I\"$x\" sed -n p /etc/passwd",
        "echo u | xargs -I = env to=ch stat hit",
        "x=; find / -maxdepth 0 -exec ls \";$x\" -fprint hit -exec ls ';'",
        "x=';'; find / -maxdepth 0 -exec ls \"$x\" -exec touch hit ';'",
        "find / -maxdepth 0 -exec ls {} \"$(echo +)\" -exec touch hit ';'",
        "x=; xargs -a\"$x\" ls touch hit",
        "x=; xargs -E\"$x\" ls touch hit < f",
        "x=; \\time -f\"$x\" ls touch hit",
        "x=; awk -v\"$x\" a=1 'BEGIN{system(\"touch hit\")}'",
        "x=; sudo -u\"$x\" root rm hit",
        "x=; timeout -s\"$x\" KILL 1 rm hit",
        "x=; env -C\"$x\" / rm hit",
        "x=; stdbuf -o\"$x\" L rm hit",
        "x=; test -v\"$x\" 'a[$(touch hit)]'",
    ] {
        let reading = read(text.as_bytes(), &Limits::default());
        assert!(
            reading.is_opaque() || !reading.only_reads,
            "{text}: {reading:?}"
        );
        let told = reading
            .commands
            .iter()
            .any(|c| c.argv.iter().any(|w| w.text == "touch" || w.text == "rm"));
        let is_first = reading.commands.iter().any(|c| {
            c.argv
                .first()
                .is_some_and(|w| w.text == "rm" || w.text == "touch")
        });
        assert!(
            reading.is_opaque() || !told || is_first,
            "{text}: {reading:?}"
        );
    }
    for text in [
        "find /srv -name '*.log' -exec grep -l x {} +",
        "x=a; find /srv -name '*.log' -exec grep -l \"$x\" {} +",
        "x=a; find /srv -exec echo \"$x\" ';'",
        "find /srv -name '*.log' | xargs grep -l x",
        "ls | xargs -I {} stat {}",
        "ls | xargs -I % stat %.log",
    ] {
        let reading = read(text.as_bytes(), &Limits::default());
        assert!(!reading.is_opaque(), "{text}: {reading:?}");
    }
}

#[test]
fn process_substitutions_within_an_expansion() {
    all_are(&[
        "echo ${1:-<(touch hit)}",
        ": ${x:->(touch hit)}",
        "y=${x:-<(touch hit)}",
        "x=1; echo ${x+<(touch hit)}",
        "x=1; echo ${x#<(touch hit)}",
        "x=1; echo ${x/1/<(touch hit)}",
        "x=1; echo ${x^<(touch hit)}",
        "[[ a == ${x:-<(touch hit)} ]]",
        "cat <<< ${x:-<(touch hit)}",
        "echo ${x:-${y:-<(touch hit)}}",
    ]);
    for text in [
        "echo ${x%%|*} ${x%%;*} ${x#*&}",
        "echo ${1:-a} ${2:-'<(a)'} \"${3:-<(a)}\" ${4//:/ }",
        "echo ${x%.*} ${x##*/}",
    ] {
        let reading = read(text.as_bytes(), &Limits::default());
        assert!(!reading.is_opaque(), "{text}: {:?}", reading.opaque);
    }
}

#[test]
fn what_the_shell_itself_goes_on_with() {
    for text in [
        "bash <<'Q'\ncommand exec < f\nls\nQ",
        "bash <<'Q'\nexec -c < f\nls\nQ",
        "bash <<'Q'\nexec -- < f\nls\nQ",
        "bash <<'Q'\nx=1 command exec < f\nQ",
        "bash <<'Q'\neval 'command exec < f'\nQ",
        "bash <<< 'command exec < f'",
    ] {
        let ran = format!("export TERM='a[$(touch hit)]'; echo 'touch hit' > f; {text}");
        assert!(runs(&ran), "{text}");
        assert!(
            read(text.as_bytes(), &Limits::default()).is_opaque(),
            "{text}"
        );
    }
    let text = "g() { :; }; f() { g; }; FUNCNEST=1; f; TERM=5\necho $((TERM))";
    assert!(read(text.as_bytes(), &Limits::default()).is_opaque());
    let text = "exec > log.txt 2>&1; ls";
    assert!(!read(text.as_bytes(), &Limits::default()).is_opaque());
}

/// By mksh, names are computed where bash takes numbers; and where `rsh` is ssh, it runs what its options say.
#[test]
fn names_that_other_shells_compute() {
    for text in [
        "x='a[$(touch hit)]'; [ x -eq 1 ]",
        "x='a[$(touch hit)]'; test 1 -lt x",
        "x='a[$(touch hit)]'; [ ! x -eq 1 ]",
        "x='a[$(touch hit)]'; [ 1 -eq x+1 ]",
        "set -- 'x'; shift x",
        "exit x",
    ] {
        let reading = read(text.as_bytes(), &Limits::default());
        assert!(
            reading.is_opaque() || reading.needs_bash,
            "{text}: {reading:?}"
        );
        let nested = format!("mksh -c {}", crate::quote(text));
        assert!(
            read(nested.as_bytes(), &Limits::default()).is_opaque(),
            "{nested}"
        );
    }
    for text in [
        "rsh -lc 'echo a@x' -oProxyCommand='touch hit'",
        "rsh -E -c 'echo a@x' -oProxyCommand='touch hit'",
        "rsh -c ls",
    ] {
        assert!(is_opaque(text), "{text}");
    }
    for text in ["[ 1 -eq -1 ]", "exit 3", "exit", "printf '%s' a"] {
        let reading = read(text.as_bytes(), &Limits::default());
        assert!(!reading.is_opaque() && !reading.needs_bash, "{text}");
    }
}

/// What dash, ksh93, sudo and parallel make of it; not all of them are on this machine.
#[test]
fn texts_that_others_read_once_more() {
    for text in [
        "sh -s -c ls <<< 'touch hit'",
        "sh -sc ls",
        "sh -cs ls < f",
        "dash -c -s ls",
        "bash -sc ls",
        "sudo -s env -u '' ls touch hit",
        "sudo -i nice -n '' ls touch hit",
        "sudo -s sort '--out\nput=hit' f",
        "parallel env -u '' ls touch hit ::: a",
        "ksh -c \"read -C x <<'E'\n( y=1 )\nE\"",
        "read -rC x < f",
        "posh -c 'rm x'",
        "bash-static -c ls",
        "yash -c 'rm x'",
        "ksh93 <<'Q'\nredirect < f\nls\nQ",
    ] {
        assert!(
            read(text.as_bytes(), &Limits::default()).is_opaque(),
            "{text}"
        );
    }
    for text in [
        "sh -c ls",
        "sudo -s ls /srv",
        "read -r x < f",
        "read -rn1 x < f",
        "read -r -t 5 -p 'Name: ' x",
    ] {
        assert!(
            !read(text.as_bytes(), &Limits::default()).is_opaque(),
            "{text}"
        );
    }
}
