//! Input that is made to be slow, deep, long or wrong; and scripts on standard input.

use std::time::Duration;

use super::{line, took};
use crate::{Limits, Opaque, Reading, read, read_script};

fn plain(text: &str) -> Reading {
    read(text.as_bytes(), &Limits::default())
}

fn only(text: &[u8]) -> Opaque {
    let reading = read(text, &Limits::default());
    assert_eq!(reading.opaque.len(), 1, "{:?}", reading.opaque);
    reading.opaque[0].clone()
}

#[test]
fn bytes_that_no_shell_text_has() {
    assert_eq!(only(b"ls \xff"), Opaque::NotUtf8);
    assert_eq!(only(b"ls\0; rm x"), Opaque::Nul);
    assert_eq!(only(b"ls\rrm x"), Opaque::CarriageReturn);
    assert_eq!(only(b"ls\r\nrm x\r\n"), Opaque::CarriageReturn);
    assert_eq!(only(b""), Opaque::Empty);
    assert_eq!(only(b" \n\t"), Opaque::Empty);
}

#[test]
fn too_much_is_refused() {
    let limits = Limits::default();
    assert_eq!(
        only(&vec![b'a'; limits.bytes + 1]),
        Opaque::TooLong(limits.bytes)
    );
    let many = "ls;".repeat(limits.commands + 1);
    assert!(
        plain(&many)
            .opaque
            .contains(&Opaque::TooMany(limits.commands))
    );
    let words = "a ".repeat(limits.words + 1);
    assert!(
        plain(&words)
            .opaque
            .contains(&Opaque::TooMany(limits.words))
    );
}

/// A quarter of what is allowed, because this is built without optimisation.
const WIDE: usize = 32 * 1024;

/// Everything that nests, as deep as the length allows, with and without its ends.
#[test]
fn deep_and_slow_texts_end_soon() {
    let pairs = [
        ("(", ")"),
        ("{ ", "; }"),
        ("$(", ")"),
        ("\"$(", ")\""),
        ("`", "`"),
        ("${x:-", "}"),
        ("$((", "))"),
        ("if ", "; then a; fi"),
        ("while ", "; do a; done"),
        ("case a in a) ", ";; esac"),
        ("f() { ", "; }"),
        ("! ", ""),
        ("<(", ")"),
        ("{a,", "}"),
        ("[[ ( ", " ) ]]"),
        ("eval '", "'"),
        ("sh -c \"", "\""),
        ("sudo ", ""),
        ("env ", ""),
        ("time ", ""),
        ("\\\n", ""),
        ("<<E\n", "E\n"),
        ("a | ", ""),
        ("a && ", ""),
        ("a;", ""),
        ("'", ""),
        ("\"", ""),
        ("$", ""),
        ("{", ""),
        ("}", ""),
        ("a=", ""),
        ("((", ""),
        ("$'\\", ""),
        ("[", ""),
        ("${", ""),
        ("&", ""),
        ("<", ""),
        (">a ", ""),
        ("{a..b}", ""),
        ("{1..9}", ""),
        ("#", "\n"),
        ("a b\n", ""),
        ("cat <<E\n", ""),
        ("*", ""),
        ("$(( (", ""),
        ("$(<", ""),
        ("a\\", ""),
        ("`\\`", ""),
    ];
    for (open, close) in pairs {
        for count in [3, 12, 15, 20, 500, WIDE / (open.len() + close.len())] {
            let text = format!("{}a{}", open.repeat(count), close.repeat(count));
            let (reading, took) = took(|| plain(&text));
            assert!(
                took < Duration::from_secs(3),
                "{count} of {open:?}: {took:?}, {:?}",
                reading.opaque
            );
        }
    }
}

/// A text of the greatest length that is followed in full.
#[test]
fn a_long_script_is_followed() {
    let text = "cp /srv/a/long/name /srv/another/long/name/here/and/there || echo 'no such file, it seems'\n".repeat(450);
    let (reading, took) = took(|| plain(&text));
    assert_eq!(reading.opaque, []);
    assert_eq!(reading.commands.len(), 900);
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn as_deep_as_allowed_is_followed() {
    let text = format!("{}rm x{}", "$(".repeat(7), ")".repeat(7));
    let reading = plain(&format!("echo {text}"));
    assert!(
        reading.commands.iter().any(|c| c.argv[0].text == "rm"),
        "{:?}",
        reading.opaque
    );
}

#[test]
fn scripts_on_standard_input() {
    let rows: &[(&str, &str)] = &[
        ("ls\nrm -f x\n", "ls ; rm -f x"),
        (
            "cd /srv\nset -e\nfor f in a b; do cp \"$f\" /tmp/; done\n",
            "cd /srv ; set -e ; cp [$f]? /tmp/ !takes-script",
        ),
        ("cat\n: '\nrm x\n: '\n", "cat ; : [⏎rm x⏎: ] !takes-script"),
        (
            "read x\n: '\nrm x\n: '\n",
            "read x ; : [⏎rm x⏎: ] !takes-script",
        ),
        ("cat < /tmp/x\n", "cat ; read /tmp/x +reads"),
        ("cat /tmp/x\n", "cat /tmp/x +reads"),
        ("cat x | grep y\n", "cat x ; grep y !takes-script"),
        ("ssh host ls\nrm x\n", "ssh>ls ; rm x !takes-script"),
        ("sudo rm -f x\n", "sudo>(root)rm -f x"),
        ("bash\nrm x\n", "bash ; rm x !fed"),
        (
            "python3\nimport os\n",
            "python3 ; import os !fed !takes-script",
        ),
        (
            "xargs rm\nx\n",
            "xargs>rm […]? ; x !takes-script !takes-script",
        ),
        (
            "while read l; do rm $l; done\nx\n",
            "read l ; rm [$l]? ; x !takes-script !takes-script !takes-script",
        ),
        (
            "read x < /dev/stdin\n: 'a\nrm x\n: '\n",
            "read x ; : [a⏎rm x⏎: ] ; read /dev/stdin !takes-script",
        ),
        (
            "read x < $f\nls\n",
            "read x ; ls ; read $f !dynamic-file !takes-script",
        ),
        (
            "exec 3<&0\nread -u 3 x < /tmp/f\n",
            "read -u 3 x ; read /tmp/f !takes-script",
        ),
        ("read x <&3 3>&0\nls\n", "read x ; ls !takes-script"),
        (
            "cat /proc/self/fd/0\nls\n",
            "cat /proc/self/fd/0 ; ls !takes-script",
        ),
        ("unknown\nrm x\n", "unknown ; rm x !takes-script"),
        ("rm -i x\nls\n", "rm -i x ; ls !takes-script"),
    ];
    for (script, expected) in rows {
        assert_eq!(
            line(&read_script(script.as_bytes(), "bash", &Limits::default())),
            *expected,
            "{script:?}"
        );
    }
    let braces = read_script(b"echo {a,b}\n", "/bin/sh", &Limits::default());
    assert_eq!(line(&braces), "echo a b !other-shell");
}

#[test]
fn what_is_sent_is_pinned() {
    let any = |text: &str| Some(crate::for_any_host(text));
    let bash = |text: &str| Some(crate::for_bash(text));
    let rows = [
        ("systemctl status nginx", any("systemctl status nginx")),
        ("r''m -rf {a,b}", any("rm -rf a b")),
        ("echo 'it'\\''s'", any(r"echo 'it'\''s'")),
        ("[[ -f x ]] && ls", bash("[[ -f x ]] && ls")),
        ("eval 'echo {a,b}'", bash("eval 'echo {a,b}'")),
        ("ls &> /tmp/x", any("ls >/tmp/x 2>&1")),
        ("$x", None),
        ("rm $'\\xff'", None),
    ];
    for (text, expected) in rows {
        let pinned = plain(text)
            .pinned()
            .map(|b| String::from_utf8(b).expect("UTF-8"));
        assert_eq!(pinned, expected, "{text}");
    }
    assert_eq!(
        crate::for_any_host("it's\n 7!"),
        r#"exec /bin/sh -c 'set -- "$(printf %b:weir. "$0")"; [ "${1%:weir.}" != "$1" ] || exit 127; "#.to_owned()
            + r#"[ -x /bin/bash ] && exec /bin/bash --norc -c -- "${1%:weir.}" bash; "#
            + r#"exec /bin/sh -c -- "${1%:weir.}" sh' 'it\0047s\0012 7\0041'"#
    );
    assert_eq!(
        crate::for_bash("ls /srv/x-1"),
        r#"exec /bin/sh -c 'set -- "$(printf %b:weir. "$0")"; [ "${1%:weir.}" != "$1" ] || exit 127; "#.to_owned()
            + r#"exec /bin/bash --norc -c -- "${1%:weir.}" bash' 'ls /srv/x-1'"#
    );
    let form = plain("echo 'it'\\''s' '!' \"\\\\\"")
        .pinned()
        .expect("a form");
    let form = String::from_utf8(form).expect("UTF-8");
    for shell in ["sh", "bash", "dash"] {
        let output = std::process::Command::new(shell)
            .args(["-c", &form])
            .output();
        assert_eq!(
            output.expect("a shell").stdout,
            b"it's ! \\\n",
            "{shell}: {form}"
        );
    }
}

/// The whole length, of what is the most work for its length, in a build without optimisation.
#[test]
fn the_longest_texts_are_read_within_a_second() {
    let most = Limits::default().bytes;
    let rows = [
        ("echo ", "\"a\"", ""),
        ("echo ", "*?[a]", ""),
        ("echo ", "*?", ""),
        ("echo ", "a?]", ""),
        ("echo ", "$a", ""),
        ("echo ", "${a}", ""),
        ("echo ", "$(a)", ""),
        ("echo ", "`a`", ""),
        ("echo ", "''", ""),
        ("echo ", "\\a", ""),
        ("echo ", "a\\\n", ""),
        ("echo ", "$'a'", ""),
        ("echo ", "$((1))", ""),
        ("echo $((", "1+", "1))"),
        ("echo ", "{a,b}", ""),
        ("echo {", "a,", "}"),
        ("echo \"", "$a", "\""),
        ("echo \"", "a", "\""),
        ("echo \"", "\\$", "\""),
        ("echo ${x:-", "a$b", "}"),
        ("x=", "\"$a\"b", ""),
        ("cat <<E\n", "$a", "\nE\n"),
        ("cat <<E\n", "a\n", "E\n"),
        ("cat <<< ", "*a", ""),
        ("echo ", "a ", ""),
        ("echo ", "$a ", ""),
        ("echo ", "aaaaaaa ", ""),
        ("echo ", "\"aaaaa\" ", ""),
        ("", "$a;", ""),
        ("", "a=$a ", ""),
        ("", "a=aaaaaaa ", "b"),
        ("", "a\n", ""),
        ("", ">a ", ""),
        ("[[ ", "a ", " ]]"),
        ("[[ a == ", "*?", " ]]"),
        ("case ", "\"a\"", " in a) b;; esac"),
        ("case a in ", "a|", "a) b;; esac"),
        ("eval '", "a ", "'"),
        ("sh -c \"sh -c '", "aaaaaaa ", "'\""),
        ("a ", "<(a) ", ""),
        ("find ", "-exec a ; ", ""),
        ("echo ~", "/..", ""),
        ("cat ", "a=b:c,d@", ""),
        ("awk '", "a|", "'"),
        ("sed 's/a/b/;", "p;", "'"),
        ("jq '", ".a", "'"),
        ("docker inspect -f '", "{{.Id}}", "' x"),
        ("#", "a", ""),
        ("", " ", "a"),
        ("", "\\\n", "a"),
        ("", "(", ""),
        ("", "a|", "a"),
        ("", "a", ""),
        ("f() { ", "a;", "}"),
        ("\u{e9}", "\u{20ac}", ""),
    ];
    for (start, piece, end) in rows {
        let room = most - start.len() - end.len();
        let text = format!("{start}{}{end}", piece.repeat(room / piece.len()));
        // Other tests of this process count as well.
        let took = || took(|| plain(&text)).1;
        let soon = (0..3).any(|_| took() < Duration::from_secs(1));
        assert!(soon, "{start:?} and {piece:?}");
    }
}
