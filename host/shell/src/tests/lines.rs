//! Texts of several lines, lines that go on behind a `\`, and patterns: what is sent is what was read. bash is the judge.

use std::process::{Command, Stdio};

use super::line;
use crate::{Limits, Reading, gaps, read, read_script};

fn plain(text: &str) -> Reading {
    read(text.as_bytes(), &Limits::default())
}

fn canonical(text: &str) -> String {
    let form = plain(text).canonical;
    let form = form.unwrap_or_else(|| panic!("{text}: {:?}", plain(text).opaque));
    String::from_utf8(form).unwrap()
}

/// Status, output and errors of a bash in a directory with a few files.
fn run(command: &str) -> (Option<i32>, String, String) {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a1", "-1", "z1", "m1", "n", "a:1", "a.1"] {
        std::fs::write(dir.path().join(name), "").unwrap();
    }
    let out = Command::new("bash")
        .args(["-c", command])
        .env_clear()
        .envs([("PATH", "/usr/bin:/bin"), ("LC_ALL", "C.UTF-8")])
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (out.status.code(), text(out.stdout), text(out.stderr))
}

/// Where the words of a command cannot be made, bash leaves out what is left of the line, and goes on with the next one.
#[test]
fn an_error_ends_the_same_line_as_it_does_directly() {
    for text in [
        "UID=1000\necho after",
        "echo $((08))\necho after",
        "echo $((08)); echo same\necho after",
        "echo $((08)) && echo same\necho after",
        "echo $((08)) &&\necho same\necho after",
        "echo $((08)) |\ncat; echo same\necho after",
        "echo 1; echo $((1/0)); echo same # here\n\n# there\necho after",
        "readonly a=1\na=2\necho after",
        "readonly a=1; a=2; echo same;\necho after",
        "shopt -s failglob\nls zz*\necho after",
        "shopt -s failglob; ls zz*; echo same\necho after",
        "x=5\necho ${x:1:-9}\necho after",
        "echo $((08)) & wait; echo same\necho after",
        "echo $((08)); sleep 0 &\necho after; wait",
        "echo a &\nwait\necho after",
        "if true; then\necho $((08))\necho same\nfi\necho after",
        "for i in 1 2\ndo echo $((08))\necho same\ndone\necho after",
        "{ echo $((08))\necho same\n}\necho after",
        "( echo $((08))\necho same )\necho after",
        "f() { echo $((08))\necho same\n}\nf\necho after",
        "echo \"$(echo $((08))\necho same)\"\necho after",
        "cat <<E\n$((08))\nE\necho after",
        "cat <<< a; cat <<< b; echo $((08)); echo same\necho after",
        "if true; then cat <<< x; echo $((08)); fi; echo same\necho after",
        "{ cat <<< x; }; echo $((08)); echo same\necho after",
        "cat <<< x; echo $((08)); echo 'same\nx'\necho after",
        "echo $((08)); cat <<< x; echo same\necho after",
        "case x in x) cat <<< y; echo $((08));; esac; echo same\necho after",
        "echo 'a\nb' \\\n c; echo $((08)); echo same\necho after",
        "trap 'echo line $LINENO' ERR\nfalse\nfalse; false\ntrue",
        "set -e\necho $((08)); echo same\necho after",
        "eval 'echo $((08))\necho in'; echo same\necho after",
        "bash -c 'echo $((08))\necho in; echo $((08)); echo not'; echo same\necho after",
        "echo ${none?message}\necho after",
    ] {
        let reading = plain(text);
        let pinned = reading.pinned();
        let pinned = pinned.unwrap_or_else(|| panic!("{text}: {:?}", reading.opaque));
        let pinned = String::from_utf8(pinned).unwrap();
        let (mut direct, mut sent) = (run(text), run(&pinned));
        // Numbers of lines are those of what is sent, which has no empty ones.
        for errors in [&mut direct.2, &mut sent.2] {
            let numbers = |part: &str| {
                part.trim_start_matches(|c: char| c.is_ascii_digit())
                    .to_owned()
            };
            *errors = errors.split(" line ").map(numbers).collect();
        }
        assert_eq!(direct, sent, "{text}\n--- as\n{}", canonical(text));
    }
}

#[test]
fn lines_stay_lines() {
    for (text, expected) in [
        ("a; b", "a; b"),
        ("a\nb", "a\nb"),
        ("a;\n\n# c\n  b;", "a\nb"),
        ("a &\nb & c", "a &\nb & c"),
        ("a &&\nb\nc", "a && b\nc"),
        ("if a\nthen b\nc\nfi\nd", "if a; then b; c; fi\nd"),
        ("echo $(a\nb)", "echo $(a; b)"),
        ("cat <<E\nx\nE\nb", "cat <<'EOF'\nx\nEOF\nb"),
        ("cat <<< x; b\nc", "{ cat <<'EOF'\nx\nEOF\nb; }\nc"),
        ("b; cat <<< x\nc", "b; cat <<'EOF'\nx\nEOF\nc"),
    ] {
        assert_eq!(canonical(text), expected, "{text}");
        assert_eq!(canonical(expected), expected, "{text}");
    }
}

/// A quoted dash within brackets is a dash, and no range.
#[test]
fn patterns_keep_their_quotes() {
    for (text, expected) in [
        ("ls -d -- [a\\-z]*", "ls -d -- [a'-'z]*"),
        ("echo ['a-z']*", "echo ['a-z']*"),
        ("echo [a\"-\"m]1", "echo [a'-'m]1"),
        ("echo a[\\.:]1", "echo a['.':]1"),
        ("echo [[\\:alpha:]]*", "echo [['':alpha:]]*"),
        ("echo {[a\\-z],x}*", "echo [a'-'z]* x*"),
        ("case m in [a\\-z]) echo HIT;; esac", ""),
        ("case + in [+\\-*/]) echo yes;; esac", ""),
        ("case m in [a\\-z.]) echo HIT;; *) echo no;; esac", ""),
        ("x='[a'; echo $x\\-z]*", "x='[a'; echo $x'-'z]*"),
        ("x='[a'; echo ${x}\"-\"z]*", ""),
        ("x='[a'; echo ${x}\"-\"z]", "x='[a'; echo ${x}'-'z]"),
        (
            "x='[n'; echo $x]; echo \"$x]\"",
            "x='[n'; echo $x]; echo \"$x\"']'",
        ),
        ("x=']'; echo [n$x $x[ '[n'\"$x\"", ""),
        ("x='[!a'; echo $x] > /dev/null; y=$x]; echo $y", ""),
        ("x='[n'; case n in $x]) echo HIT;; esac", ""),
        ("x='[a'; case m in $x'-'z]) echo HIT;; esac", ""),
        ("for i in [a\\-z]1; do echo \"$i\"; done", ""),
        ("x=[a\\-m]1; echo $x", ""),
        ("echo $(echo [a\\-z]*)", ""),
        (
            "ls -d ~\"/tmp\" ~/\"tmp\" ~ro'ot' ~\"\"/tmp ~/tmp",
            "ls -d ~'/tmp' ~/'tmp' ~ro'ot' ~''/tmp ~/tmp",
        ),
        ("echo ~{\"/tmp\",/tmp}", ""),
        (
            "cat <<E | while read -r l; do echo \"$l\"; done\na\nb\nE",
            "",
        ),
        ("rm -f a\\-b 'c-d' \"e=f\"", "rm -f a-b c-d e=f"),
    ] {
        let found = canonical(text);
        if !expected.is_empty() && !text.contains("[[\\:") {
            assert_eq!(found, expected, "{text}");
        }
        assert_eq!(run(text), run(&found), "{text} as {found}");
        assert_eq!(canonical(&found), found, "{text}");
    }
}

/// bash takes a continued line away before it looks for what a `$`, a parenthesis or a name begins: so it is read as bash
/// reads it without, or not at all.
#[test]
fn lines_that_go_on_within_a_sign() {
    for text in [
        "echo $x@y",
        "echo \"$x@y\"",
        "D=1; echo \"$D@ATABASE_URL\"",
        "echo \"$HOME@_X\" $PATH@_X",
        "cat <<E\n$x@y\nE",
        "echo `echo $x@y`",
        "echo ${y:-$x@y} \"${y:-$x@y}\"",
        "[[ $x@y == a ]]",
        "echo $(@(echo hi))",
        "echo \"$(@@(echo hi))\"",
        "cat <<E\n$(@(1+1))\nE",
        "(@(x=5)); echo $x",
        "(@@(ls) )",
        "(@(ls); ls)",
        "(@(x))",
        "(@( ls ) )",
        "cat <@(echo hi)",
        "cat <@<E\nx\nE",
        "cat <<@E\nx\nE",
        "cat <<E@F\nx\nEF",
        "cat <<-@E\n\tx\nE",
        "cat <<E\na@E\nE",
        "cat <@<< x",
        "echo ${@x} $@x $@{x} \"$@(ls)\"",
        "echo $@'a\\n'",
        "echo ${x@} ${x:@-a} ${x:@1}",
        "ls &@& rm x",
        "ls |@| rm x",
        "ls |@& cat",
        "ls &@> f",
        "ls >@| f",
        "ls >@&2",
        "ls >&@2",
        "ls 2@>&1",
        "ls 2>@> f",
        "cat <@> f",
        "case a in a) ls ;@; esac",
        "case a in a) ls ;@;& b) ls;; esac",
        "case a in (@a) ls;; esac",
        "i@f ls; then ls; fi",
        "{@ ls; }",
        "[@[ a = a ]]",
        "x@=1; x=@2; x+@=3 ls",
        "f@() { ls; }; f",
        "f(@) { ls; }; f",
        "echo {a@,b} {1.@.3}",
        "ls ~@/x ~@root",
        "echo $((1@+1)) $(@ls)",
        "ex@port x=1",
        "export P@ATH=/x",
        "ti@me ls",
        "echo a @#b\nls",
        "echo a@#b",
        "ls # a @rm x",
        "sudo @ ls -@l",
    ] {
        let (with, without) = (text.replace('@', "\\\n"), text.replace('@', ""));
        let comment = text.contains("# ");
        for reading in [plain, |text: &str| {
            read_script(text.as_bytes(), "bash", &Limits::default())
        }] {
            let (found, expected) = (reading(&with), reading(&without));
            let others = |text: &str| gaps(text.as_bytes(), &Limits::default());
            let same = others(&with).is_err() || others(&with) == others(&without);
            assert!(same || comment, "{with}: {:?}", others(&with));
            assert!(
                found.is_opaque() || comment || line(&found) == line(&expected),
                "{with}: {}, not {}",
                line(&found),
                line(&expected)
            );
        }
    }
    // Ordinary lines that go on are read.
    for text in [
        "cp \\\n -v \"$x\" \\\n /srv",
        "echo \"$x\"\\\n y",
        "a && \\\n b",
    ] {
        assert!(!plain(text).is_opaque(), "{text}: {:?}", plain(text).opaque);
    }
    let text = "bash -c 'D=1; echo \"$D\\\nATABASE_URL\"'";
    assert!(plain(text).is_opaque(), "{text}");
}

/// What is a declaration's assignment to the reader is one to bash. Otherwise a value of several words sets other variables.
#[test]
fn declarations_that_are_words() {
    const BEFORE: &str = "x='b PATH=/HIT'; ";
    for text in [
        "export \"a=\"$x",
        "export \"a\"=$x",
        "export a\"\"=$x",
        "export a\\=$x",
        "export c=1 'a'=$x",
        "\\export a=$x",
        "'export' a=$x",
        "command export a=$x",
        "builtin export a=$x",
        "export {a,b}=$x",
        "export a={b,c}$x",
        "export a$'\\075'$x",
        "export a$'\\x3d'$x",
        "set -- b PATH=/HIT; export a$'\\075'\"$@\"",
        "{export,a=$x}",
        "declare -x \"a=\"$x",
        "readonly \"a=\"$x",
        "typeset a\"\"=$(echo $x)",
        "f() { local \"a=\"$x; echo $PATH; }; f",
        "set -- b PATH=/HIT; export \"a=$@\"",
    ] {
        let text = format!("{BEFORE}{text}; echo $PATH");
        assert!(run(&text).1.contains("HIT"), "{text}: {:?}", run(&text));
        assert!(plain(&text).is_opaque(), "{text}: {}", line(&plain(&text)));
        let script = read_script(text.as_bytes(), "bash", &Limits::default());
        assert!(script.is_opaque(), "{text}");
        let inner = format!("bash -c {}", crate::quote(&text));
        assert!(plain(&inner).is_opaque(), "{inner}");
    }
    for text in [
        "export a=$x",
        "export a=$x b=1 c",
        "y=1 export a=$x",
        "export a=$(ls) \"b=1\" \"c=$x\"",
        "command export a=1 \"b=$x\"",
        "declare -x a=$x",
        "f() { local a=$x; echo $PATH; }; f",
        "eval 'export a=$x'",
    ] {
        let text = format!("{BEFORE}{text}; echo $PATH");
        assert!(!run(&text).1.contains("HIT"), "{text}: {:?}", run(&text));
        assert!(
            !plain(&text).is_opaque(),
            "{text}: {:?}",
            plain(&text).opaque
        );
    }
}

/// Between backquotes, shells take backslashes away before they read what is left.
#[test]
fn backquotes_that_hide_commands() {
    for text in [
        "echo `# \\\necho '\necho HIT\n# '`",
        "echo \"${1:-`# \\\necho '\necho HIT\n# '`}\"",
        "echo \"`# \\\necho '\necho HIT\n# '`\"",
        "echo ${1:-`# \\\necho '\necho HIT\n# '`}",
        "cat <<E\n`# \\\necho '\necho HIT\n# '`\nE",
        "echo \"${1:-`echo \\\" ' \\\"; echo HIT; echo \\\" ' \\\"`}\"",
        "cat <<E\n`echo \\\" ' \\\"; echo HIT; echo \\\" ' \\\"`\nE",
        "cat <<E\n${1:-`echo \\\" ' \\\"; echo HIT; echo \\\" ' \\\"`}\nE",
    ] {
        let out = Command::new("dash").args(["-c", text]).output().unwrap();
        let out = String::from_utf8_lossy(&out.stdout).into_owned();
        let is_hit = |line: &str| line.split_whitespace().any(|word| word == "HIT");
        assert!(out.lines().any(is_hit), "{text}: {out}");
        for text in [text.to_owned(), format!("sh -c {}", crate::quote(text))] {
            assert!(plain(&text).is_opaque(), "{text}: {}", line(&plain(&text)));
        }
        for shell in ["sh", "bash"] {
            let script = read_script(text.as_bytes(), shell, &Limits::default());
            assert!(script.is_opaque(), "{text}");
        }
    }
    for text in ["echo \"${x:-`echo \"a\"`}\"", "cat <<E\n`echo \"a\"`\nE"] {
        assert!(plain(text).is_opaque(), "{text}");
    }
    for text in [
        "echo \"`date`\" `echo \"a\"` ${x:-`ls`}",
        "x=`ls \\$x`",
        "cat <<E\n`date`\nE",
    ] {
        assert!(!plain(text).is_opaque(), "{text}: {:?}", plain(text).opaque);
    }
}
