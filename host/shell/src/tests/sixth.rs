//! Tildes that are variables, and what of a shell's own commands others have in another way. Each was tried with bash 5.2.

use std::process::Command;

use crate::{Limits, Reading, gaps, read, read_script};

fn plain(text: &str) -> Reading {
    read(text.as_bytes(), &Limits::default())
}

/// What bash makes of it where both variables say `HIT`.
fn said(text: &str) -> String {
    let text = format!("OLDPWD=HIT PWD=HIT HOME=HIT; {text}");
    let out = Command::new("bash").args(["-c", &text]).output();
    String::from_utf8_lossy(&out.expect("bash").stdout).into_owned()
}

#[test]
fn tildes_that_are_variables() {
    for text in [
        "echo ~-",
        "echo ~+",
        "echo ~-/a",
        "echo x=~-",
        "echo x=a:~-",
        "echo x=:~+",
        "echo x+=~-",
        "echo a'b'\"c\" x=a:\"b\":~-",
        "echo ~\\\n-",
        "echo x=~\\\n-",
        "echo {~-,b}",
        "echo ~{-,+}",
        "echo ~{,a}-",
        "echo {x,~}-",
        "echo ${e:-~-}",
        "v=HITb; echo X${v#~-}HIT",
        "v=HITb; echo ${v/b/~-}",
        "x=~-; echo $x",
        "x=a:~-; echo \"$x\"",
        "export x=~-; echo \"$x\"",
        "for i in ~-; do echo $i; done",
        "case HIT in ~-) echo HIT;; esac",
        "[[ HIT == ~- ]] && echo HIT",
        "cat <<< ~-",
        "cat <<< x=~- ~- 2>&1",
        "echo $(echo ~-)",
        "echo \"`echo ~+`\"",
    ] {
        assert!(said(text).contains("HIT"), "{text}: {}", said(text));
        let reading = plain(text);
        assert!(reading.is_opaque(), "{text}: {reading:?}");
        assert!(gaps(text.as_bytes(), &Limits::default()).is_err(), "{text}");
        assert!(
            read_script(text.as_bytes(), "bash", &Limits::default()).is_opaque(),
            "{text}"
        );
    }
}

#[test]
fn tildes_that_are_not() {
    for text in [
        "git show HEAD~2",
        "git show HEAD~{1,2}",
        "cp nginx.conf{,~}",
        "mv a{~,}",
        "rm -f {a,b}.conf~ *.{bak,tmp}~",
        "git diff v1~1 \"$x~2\"",
        "git log main~3..main",
        "rm file~ file~-1",
        "echo '~-' \"~+\" \\~-",
        "echo x=''~-",
        "echo \"a\"~-",
        "ls ~/x ~/{a,b} ~root/x",
        "curl http://h/~user/x",
        "awk '$1 ~ /x/' f",
        "cat <<E\n~- x=~-\nE",
    ] {
        let reading = plain(text);
        assert!(!reading.is_opaque(), "{text}: {:?}", reading.opaque);
    }
    assert!(!said("echo x=''~- \"a\"~- HEAD~2 '~-' \"~+\" \\~- a~-").contains("HIT"));
}

/// What is read as code must be what a shell makes of the words; a home directory is what `HOME` says.
#[test]
fn homes_in_code() {
    for text in [
        "bash -c x=~",
        "bash -c x=a:~",
        "bash -c ~/x",
        "sh -c ~",
        "eval x=~",
        "eval ls ~",
        "watch ls ~",
        "ssh host ls x=~",
        "trap x=~- EXIT",
        "~ - DEBUG",
        "~root - DEBUG",
    ] {
        assert!(plain(text).is_opaque(), "{text}");
    }
    for text in ["eval x=~", "eval -- ls a:~", "builtin eval x=~"] {
        assert!(gaps(text.as_bytes(), &Limits::default()).is_err(), "{text}");
    }
    for text in ["bash -c 'ls a~ x~y'", "eval 'ls \"$x\"'", "~/bin/x"] {
        assert!(!plain(text).is_opaque(), "{text}: {:?}", plain(text).opaque);
    }
}

/// dash says, prints or decides something else, or has no such command.
#[test]
fn what_only_bash_does_in_that_way() {
    for text in [
        "set -euo pipefail; ls",
        "[ a == a ] && exit 0; rm -rf /srv/data",
        "test a '<' b",
        "[ -v x ]",
        "[ -O f ]",
        "[ '(' a ')' ]",
        "shopt -s nullglob; ls",
        "echo -e 'a'",
        "echo -E a",
        "echo 'a\\tb'",
        "printf '\\x41'",
        "printf '%5q' x",
        "printf '%(%F)T'",
        "printf -v x y",
        "read -t 1 x",
        "read",
        "mapfile x",
        "pushd /srv",
        "shift 2",
        "declare x=1",
        "readonly x=1",
        "export -n x",
        "type -t ls",
        "wait -n",
        "exit -1",
        "trap 'ls' SIGTERM",
        "trap 'ls' ERR",
        "kill -SIGTERM 1",
        "rm -rf /srv/$HOSTNAME",
        "rm -rf \"/srv/${UID}\"",
        "echo ${x:-$EUID} $((RANDOM % 5))",
        "echo $(echo $HOSTTYPE)",
        "sh -c \"ls $HOSTNAME\"",
        "echo $BASH_VERSION",
        "f() { [ a == a ]; }; f",
        "eval '[ a == a ]'",
        "ls \"$([ a == a ] && echo x)\"",
        "eval 'rm -rf /srv/$HOSTNAME'",
        "trap 'rm -rf /srv/$HOSTNAME' EXIT",
        "xargs rm -rf <<E\n/srv/$HOSTNAME\nE",
        "rm -rf /srv/[^k]*",
        "rm -rf /srv/{[,x}^k]*",
        "echo ${x#[^k]}",
        "for i in [^k]*; do ls; done",
        "case $x in [^k]*) ls;; esac",
        "eval 'rm -rf /srv/[^k]*'",
        "x=/srv/data :; rm -rf \"$x\"",
        "echo -n -e a",
        "printf '\\\"'",
        "cd /srv /tmp",
        "echo $_ $SHLVL",
        "x=/srv/data export y; rm -rf \"$x\"",
    ] {
        let reading = plain(text);
        assert!(reading.is_opaque() || reading.needs_bash, "{text}");
        let Some(pinned) = reading.pinned() else {
            continue;
        };
        let pinned = String::from_utf8(pinned).unwrap();
        assert!(!pinned.contains("exec /bin/sh -c --"), "{pinned}");
    }
}

#[test]
fn what_every_shell_does_in_that_way() {
    for text in [
        "set -eu; ls",
        "[ a = b ] || ls",
        "[ -f x ] && [ 1 -eq 1 ] && [ ! -d y ] && test -n x",
        "echo -n a; echo \"$x\" a-b",
        "printf '%s\\n' a; printf '%d%%q' 1",
        "read -r x",
        "export x=1 y",
        "trap 'ls' EXIT TERM 15",
        "kill -TERM 1; kill -9 1; kill -s HUP 1",
        "exit 3",
        "wait",
        "cd /srv; umask 022; pwd; type ls",
        "sh -c '[ a == a ]'",
        "env [ a == a ]",
    ] {
        let reading = plain(text);
        assert!(
            !reading.is_opaque() && !reading.needs_bash,
            "{text}: {:?}",
            reading.opaque
        );
    }
}

/// `-y` answers no question about a changed configuration file, and one of dpkg's answers to that is a shell.
#[test]
fn packages_ask_whatever_apt_is_told() {
    for text in ["apt-get -y install x", "apt-get install x", "dpkg -i x.deb"] {
        assert!(plain(text).takes_stdin, "{text}");
    }
    assert!(!plain("apt-get -y install x < /dev/null").takes_stdin);
}

/// It grows by what stands as numbers; a host runs no half of it.
#[test]
fn what_is_too_long_for_a_host_is_not_pinned() {
    let some = |count: usize| plain(&format!("echo {}", "ä".repeat(count)));
    let pinned = some(12 << 10).pinned().unwrap();
    let pinned = String::from_utf8(pinned).unwrap();
    let out = Command::new("bash").args(["-c", &pinned]).output().unwrap();
    assert_eq!(out.stdout.len(), 2 * (12 << 10) + 1);
    // A shell that ends a substitution early runs none of it.
    let cut = pinned.replace("printf %b:weir.", "printf %.20s");
    let out = Command::new("bash").args(["-c", &cut]).output().unwrap();
    assert!(out.stdout.is_empty() && out.status.code() == Some(127));
    let long = some(14 << 10);
    assert!(long.canonical.is_some() && long.pinned().is_none());
}

/// To a shell, a text may look like one of its options: it would be another shell then, of what comes over standard input.
#[test]
fn words_that_look_like_options_of_a_shell() {
    use std::io::Write;
    for text in [
        " -s",
        "-s",
        "-l",
        "-is",
        "-c",
        "+x",
        "-O",
        "--",
        "--norc",
        "-",
        "-s -s",
        "[[ -n a ]] && -s",
    ] {
        let Some(pinned) = plain(text).pinned() else {
            continue;
        };
        let pinned = String::from_utf8(pinned).unwrap();
        for command in [&pinned, &pinned.replace("/bin/bash", "/none/bash")] {
            let mut shell = Command::new("bash")
                .args(["-c", command])
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            let mut input = shell.stdin.take().unwrap();
            // It may be gone by then.
            let _ = input.write_all(b"echo HIT\n");
            drop(input);
            let out = shell.wait_with_output().unwrap();
            assert!(
                !String::from_utf8_lossy(&out.stdout).contains("HIT"),
                "{command}"
            );
            assert!(
                matches!(out.status.code(), Some(126 | 127)),
                "{command}: {out:?}"
            );
        }
    }
}

/// With a bash on the host, it does the same and prints the same as directly; nothing is read or said twice.
#[test]
fn a_host_does_what_its_login_shell_would_have_done() {
    let home = tempfile();
    std::fs::write(home.join(".bashrc"), "echo from .bashrc\n").unwrap();
    for text in [
        "set -euo pipefail; echo a",
        "[ a == a ] && exit 7; echo not here",
        "[ a = a ] && exit 7; echo not here",
        "echo -e 'a\\tb'; echo 'a\\tb'",
        "x='a\\tb'; echo \"$x\"",
        "echo \"/srv/$HOSTNAME $UID $SHLVL $0\"",
        "shopt -s nullglob; for f in *.none; do echo \"$f\"; done",
        "nosuchcommand-weir",
        "printf '\\x41\\n'",
        "kill -TERM $$",
        "echo \"$-\"",
        "shift 2; echo on",
        "set --; printf '<%s>' a \"$@\" \"$@\"\"$@\"; for d in \"$@\"; do echo \"/srv/$d\"; done",
        "set -- b c; printf '<%s>' a\"$@\" \"\"\"$@\" ''$x \"$x\" \"\"",
        "d=app; echo $d/\"$d\"{1,2} $d/\"$d\"a{,b}",
        "echo 'a & b | c > d % ^ \" `x` $y'",
        "echo 'a\n b\n\n\\!c\n'; echo $# \"$*\"",
        "[[ -n a ]] && cat <<'E'\n ! $x 'y' \\\\ *\n\nE\necho on",
        "for i in 1 2\ndo\n echo $i\ndone",
        "cat",
    ] {
        let pinned = plain(text).pinned().unwrap_or_else(|| panic!("{text}"));
        let pinned = String::from_utf8(pinned).unwrap();
        // csh goes on with the next line where quotes are not closed; Windows knows no single quotes.
        let (_, word) = pinned.rsplit_once(" '").unwrap();
        assert!(
            !word.contains(['\n', '&', '|', '<', '>', '%', '^', '"', '`', '$', ';', '(']),
            "{pinned}"
        );
        let run = |command: &str| {
            let out = Command::new("bash")
                .args(["-c", command])
                .env_clear()
                .envs([("PATH", "/usr/bin:/bin"), ("SSH_CLIENT", "::1 1 1")])
                .env("HOME", &home)
                .current_dir(&home)
                .stdin(std::process::Stdio::null())
                .output();
            let out = out.expect("bash");
            (
                out.status,
                String::from_utf8_lossy(&out.stdout).into_owned(),
                out.stderr,
            )
        };
        assert_eq!(run(text), run(&pinned), "{pinned}");
        // Where there is no bash, what every shell does in that way goes to `sh`.
        let without = pinned.replace("/bin/bash", "/none/bash");
        let (status, out, _) = run(&without);
        if plain(text).needs_bash {
            assert!(
                status.code() == Some(127) || status.code() == Some(126),
                "{without}"
            );
            assert!(!out.contains("not here"), "{without}");
        } else if !text.contains("echo \"$x\"") && !text.contains("$0") && !text.contains("$-") {
            assert_eq!((status, out), (run(text).0, run(text).1), "{without}");
        }
    }
    std::fs::remove_dir_all(&home).unwrap();
}

fn tempfile() -> std::path::PathBuf {
    let dir = std::env::temp_dir().join(format!("weir-login-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    dir
}
