//! What the helper says, in any pieces; what is refused whatever policy says.

use bytes::Bytes;
use shell::Limits;

use super::asks::AskError;
use super::{Ask, Asks, Gate, Key, Place, Said, about_the_gate, command_line};

const ID: &str = "01234567-89ab-cdef-0123-456789abcdef";

fn said(text: &[u8]) -> Result<Vec<Said>, AskError> {
    let mut out = Vec::new();
    asks_of("s3cret").push(text, &mut out)?;
    Ok(out)
}

fn asks_of(secret: &str) -> Asks {
    Asks::new(secret, Key::fixed(1, 2))
}

fn sealed(asked: &str) -> i64 {
    Key::fixed(1, 2).seal(asked.as_bytes())
}

fn ask(text: &str) -> Ask {
    let escaped = text
        .replace('\\', "\\\\")
        .replace('\n', "\\n")
        .replace('\t', "\\t");
    Ask {
        to: "main".into(),
        id: ID.into(),
        pid: 7,
        depth: 1,
        text: text.to_owned().into(),
        place: Place {
            directory: Some("/srv".into()),
            open: Vec::new(),
        },
        cut: false,
        seal: sealed(&format!("main {ID} 7 1 /srv\t{escaped}")),
    }
}

#[test]
fn what_is_said_is_the_same_however_it_is_cut() {
    let text = format!(
        "noise of a login file\ns3cret made\ns3cret ask main {ID} 7 1 1 /srv\tec\ns3cret ask main {ID} 7 1 0 ho \\\\a\\nb\\tc\n"
    );
    let expect = vec![Said::Made, Said::Ask(ask("echo \\a\nb\tc"))];
    for at in 0..text.len() {
        let (first, rest) = text.as_bytes().split_at(at);
        let (mut asks, mut out) = (asks_of("s3cret"), Vec::new());
        asks.push(first, &mut out).unwrap();
        asks.push(rest, &mut out).unwrap();
        assert_eq!(out, expect, "cut at {at}");
        assert_eq!(asks.odd(), "noise of a login file");
    }
    let seal = ask("x").seal;
    assert_eq!(ask("x").answer(true), format!("main {ID} yes {seal}\n"));
    assert_eq!(ask("x").answer(false), format!("main {ID} no\n"));
}

#[test]
fn pieces_of_several_commands_may_be_mixed() {
    let other = ID.replace('0', "f");
    let text = format!(
        "s3cret ask main {ID} 7 1 1 /srv\tec\ns3cret ask s1 {other} 8 2 1 ?\tl\ns3cret ask main {ID} 7 1 0 ho\n\
         s3cret ask s1 {other} 8 2 0 s\t/etc/x\t/dev/y\n"
    );
    let second = Ask {
        to: "s1".into(),
        id: other.clone(),
        pid: 8,
        depth: 2,
        text: "ls".into(),
        place: Place {
            directory: None,
            open: vec!["/etc/x".into(), "/dev/y".into()],
        },
        cut: false,
        seal: sealed(&format!("s1 {other} 8 2 ?\tls\t/etc/x\t/dev/y")),
    };
    let expect = vec![Said::Ask(ask("echo")), Said::Ask(second)];
    assert_eq!(said(text.as_bytes()).unwrap(), expect);
}

#[test]
fn who_does_not_know_the_secret_says_nothing() {
    for line in [
        "made\n",
        "s3crets made\n",
        "s3cre made\n",
        "S3CRET made\n",
        &format!(" s3cret ask main {ID} 7 1 0 /\tls\n"),
    ] {
        assert_eq!(said(line.as_bytes()).unwrap(), [], "{line}");
    }
}

#[test]
fn what_is_malformed_or_too_much_ends_it() {
    let long = "x".repeat(5 << 10);
    let piece = |id: usize| format!("s3cret ask main {id} 7 1 1 {long}\n");
    let small = |id: usize| format!("s3cret ask main {id} 7 1 1 x\n");
    for (text, expect) in [
        ("s3cret rm\n".to_owned(), AskError::Malformed),
        (format!("s3cret ask main {ID} 7 1 0\n"), AskError::Malformed),
        (
            format!("s3cret ask main {ID} 7 1 0 /srv\n"),
            AskError::Malformed,
        ),
        (
            format!("s3cret ask main {ID} -7 1 0 /\tx\n"),
            AskError::Malformed,
        ),
        (
            format!("s3cret ask ../x {ID} 7 1 0 /\tx\n"),
            AskError::Malformed,
        ),
        (
            format!("s3cret ask live {ID} 7 1 0 /\tx\n"),
            AskError::Malformed,
        ),
        (
            format!("s3cret ask main {} 7 1 0 /\tx\n", "1".repeat(65)),
            AskError::Malformed,
        ),
        ("x".repeat((8 << 10) + 1), AskError::Line),
        ((0..65).map(small).collect(), AskError::Partial),
        ((0..26).map(|_| piece(1)).collect(), AskError::Ask),
        ((0..52).map(piece).collect(), AskError::Pieces),
    ] {
        assert_eq!(said(text.as_bytes()), Err(expect), "{:.80}", text);
    }
}

#[test]
fn loops_and_choices_are_read_by_their_heads() {
    for (head, runs) in [
        ("for i in 1 2", vec![":"]),
        ("for i in $(id)", vec!["id", ":"]),
        ("case x in ", vec![":"]),
        ("case $(id) in ", vec!["id", ":"]),
        ("echo for", vec!["echo"]),
    ] {
        let reading = shell::read(&command_line(&Bytes::from(head)), &Limits::default());
        let mut names: Vec<&str> = reading
            .commands
            .iter()
            .filter_map(|c| c.argv.first())
            .map(|w| w.text.as_str())
            .collect();
        names.sort_unstable();
        let mut runs = runs;
        runs.sort_unstable();
        assert_eq!(names, runs, "{head}");
    }
}

#[test]
fn the_gate_is_not_to_be_touched() {
    let gate = Gate::new().unwrap();
    let directory = gate.directory();
    let refused = |text: &str| {
        let text = text.replace('@', directory);
        let line = command_line(&Bytes::from(text.clone()));
        let reading = shell::read(&line, &Limits::default());
        about_the_gate(text.as_bytes(), &ask("").place, directory, &reading).is_some()
    };
    let mut wrong = Vec::new();
    for text in [
        "alias q=ls",
        "alias",
        "shopt -s expand_aliases",
        "fc -e touch 1",
        "fc -s",
        "history -s x",
        "history -d 1",
        "history -c",
        "history $x",
        "set +o history",
        "set -k",
        "set +B",
        "set +uB",
        "set +m",
        "set +o monitor",
        "set +o braceexpand",
        "shopt -uo braceexpand",
        "set -ek",
        "shopt -s cmdhist",
        "shopt -u lithist",
        "shopt -u promptvars",
        "complete -F f ls",
        "compgen -C 'touch x'",
        "mapfile -C f -c 1 x",
        "ulimit -n 6",
        "ulimit -v 100000",
        "ulimit -Ss 100",
        "ulimit -v5888",
        "ulimit -Sv5888",
        "ulimit -n64 -a",
        "ulimit -c5",
        "ulimit -",
        "read -pn \"$x\"",
        "read -rdn \"$x\"",
        "read -an \"$x\"",
        "read -ran \"$x\"",
        "mapfile -dn \"$x\"",
        "mapfile -tc1 -dn \"$x\"",
        "ulimit -d 100 -c 0",
        "ulimit 100",
        "ulimit -Su 1",
        "ulimit $x",
        "exec nosuchprogram",
        "exec -a x ls",
        "shopt -s execfail; exec nosuchprogram",
        "trap - DEBUG",
        "trap '' DEBUG",
        "trap : DEBUG",
        "trap 'ls' DE\"\"BUG EXIT",
        "trap 'rm x' EXIT",
        "trap - debug",
        "trap -- - SIGDEBUG",
        "\"tr\"ap - DE'BU'G",
        "builtin trap - DEBUG",
        "command trap - DEBUG",
        "trap - $x",
        "eval 'trap - DEBUG'",
        "set +T",
        "set +eT",
        "set +o functrace",
        "set $x",
        "set -a",
        "set -ea",
        "set -o allexport",
        "shopt -u extdebug",
        "shopt -uo functrace",
        "shopt -u $x",
        "enable -n builtin",
        "enable -f /tmp/x.so x",
        "unset -f __weir_gate",
        "un''set -f __we''ir_gate",
        "echo $__weir_n",
        "alias __weir_gate=:",
        "set -o posix",
        "POSIXLY_CORRECT=1",
        // Nobody can tell what they are.
        "$x - DEBUG",
        "\"$x\" - DEBUG",
        "${x}p - DEBUG",
        "$(echo trap) - DEBUG",
        "$x trap - DEBUG",
        "A=b $x - DEBUG",
        "builtin $x - DEBUG",
        "builtin -- $x - DEBUG",
        "command $x trap - DEBUG",
        "command -p -- builtin $x - DEBUG",
        "{trap,-,DEBUG}",
        "tr{ap,} - DEBUG",
        "t?ap - DEBUG",
        "/bin/[a-z]sh",
        "$'tr\\x61p' - DEBUG",
        "tr\\ap - DEBUG",
        "trap -- '' $'DEB\\x55G'",
        "set -e $x",
        "set \"$x\"",
        "shopt -s extdebug",
        // What stands behind an array is not read.
        "a[1]=2",
        "a=(1 2)",
        "a[$(x)]=1 trap - DEBUG",
        "trap - DEBUG $((a[1]))",
        "trap - DEBUG \u{1}",
        "echo yes > @/main",
        "cat @/ask",
        // By other ways.
        "cat ../tmp/weir-*/ask",
        "cat < /tmp/weir-*/ask",
        "echo x > /tmp/./x/../we*/main",
        "sh -c 'cat /tmp/w*/ask'",
        "sudo cat /t*/*/ask",
        "rm -rf /tmp/*",
        "awk '{ print > \"/tmp/weir-0123456789abcdef0123456789abcdef/main\" }'",
        "x=/tmp/w* env",
        "cat /proc/self/fd/64",
        "cat < /dev/fd/7",
        "cat ~+/../tmp/we*/ask",
        // Nobody knows what that is.
        "echo x >&64",
        "cat <&7",
        "eval 'echo x >&8'",
        "echo x >&$x",
        // Other programs by the names of these.
        "hash -p /tmp/x ls",
        "hash -rp /tmp/x ls",
        "hash $x ls",
        "BASH_CMDS[ls]=/tmp/x",
        "read 'BASH_CM''DS[ls]'",
        "printf -v 'BASH_CMDS[ls]' /tmp/x",
        "printf -v $x /tmp/x",
        "printf %5n $x",
        "printf $x /tmp/x",
        "declare BASH_ALIASES[ls]=rm",
        "declare \"$x=y\"",
        "declare -n x",
        "typeset -n x=y",
        "\\declare a=$x",
        "command export a=$x",
        "export $x",
        "read $x",
        "read -p \"$x\" \"$y\"",
        "read -p$x",
        "mapfile $x",
        "wait -p $x",
        "wait $x",
        ": ${!x:=y}",
        "coproc ls",
        "coproc X { ls; }",
        // They decide how what is asked is read.
        "shopt -u interactive_comments",
        "shopt -s compat42",
        "BASH_COMPAT=4.2",
        "export BASH_COM''PAT=31",
        "for x in /tmp/weir-*",
        "for x in a /tmp/\"we\"*/ask",
        "select x in /t*/*",
        // Any, because the gate ends shells by signals.
        "trap '' INT",
        "trap '' EXIT",
        "trap - INT",
        "trap '' 1",
        "trap 2",
        "trap -p $x",
        "readonly IFS",
        "readonly IFS=x",
        "declare -r IFS",
        "declare -gr GLOBIGNORE=x",
        "declare -a BASH_COMMAND",
        "declare -a SRANDOM",
        "declare -A PROMPT_COMMAND",
        "declare -ga PS0",
        "declare -i n",
        "local -gi n=1",
        "local -I x",
        "declare x=$y",
        "declare 'x=(a)'",
        "declare x=~",
        "local MAPFILE=$y",
        "local BASH_REMATCH=~",
        "suspend",
        "local 'x=(a)'",
        "export \"a=${1+$@}\"",
        "export \"a=\"$x",
        "export a={b,c}$x",
        "readonly -i n",
        "typeset -gA BASH_COM''MAND",
        "declare -A BASHPID x",
        "local -ra PATH",
        "readonly -a PATH",
        "declare -u BASH_COMMAND",
        // No version of bash writes them so: what else one would is not known.
        "set",
        "\\set",
        "builtin set",
        "bind '\"\\C-t\": shell-expand-line'",
        "bind -x '\"\\C-t\": ls'",
        "bind -f /tmp/x",
        "bind \"$x\"",
        "eval set",
        "declare",
        "declare -p",
        "declare -f",
        "typeset -pf",
        "declare +f",
        "declare --",
        "declare -g",
        "declare -I",
        "readonly -f",
        "readonly -pf",
        "export -pf",
        "declare -f $x",
        "declare -f __we\"\"ir_key",
        "type $x",
        "type __w*",
        "command -V $x",
        "echo \u{1}",
        "echo \u{7f}",
        "echo 中\\ /etc/hostname",
        "echo é`ls`",
        "cat /proc/7/fd/0",
        "bind 'set history-size 5'",
        "bind 'set HISTORY-SIZE 5'",
        "bind 'set disable-completion off'",
        "bind 'set  Disable-Completion 0'",
        ": weir-line",
        "for x in 1 > /tmp/y",
        "for x in 1; do rm x; done > /tmp/y",
        "case x in x) rm x;; esac > /tmp/y",
    ] {
        if !refused(text) {
            wrong.push(("not refused", text));
        }
    }
    for text in [
        "trap",
        "trap -p",
        "trap -p INT",
        "history",
        "history 20",
        "ulimit -n",
        "ulimit -a",
        "ulimit -c 0",
        "ulimit -c unlimited",
        "ulimit -Hn -u",
        "read -rp \"$x\" name",
        "read -rt 5 -n 1 name",
        "mapfile -td \"$x\" names",
        "trap -l",
        "hash",
        "hash -r",
        "hash ls",
        "export a=$x",
        "export a=\"$x\" b",
        "exec 3< /etc/hostname",
        "declare -p BASH_COMMAND",
        "declare -x PATH",
        "declare -r x=1",
        "local x=$1",
        "read -r x y",
        "read -r -p \"$x\" y",
        "read -t 1 -n 1",
        "printf %s $x",
        "printf %n x",
        "printf 100%nice",
        "printf -v x %s $y",
        "printf -- \"$x\"",
        "getopts ab x",
        "wait",
        "wait $!",
        "mapfile -t x",
        "IFS=: read -r x",
        "ls 3>&1 1>&2 2>&3 3>&-",
        "exec 3>&1",
        "exec 3>&-",
        "ls 2>&1",
        "cat /tmp/*.log",
        "cat /dev/stdin",
        "ls -l /proc/self/fd",
        "cat /proc/1/status",
        "(( x > 1 ))",
        "((i<1))",
        "((i=0))",
        "[[ -f x && ! $y ]]",
        "select x in a b",
        "case \"$x y\" in ",
        "for ((i=0;i<1;i++))",
        "set --",
        "bind -p",
        "bind -q abort",
        "bind 'set bell-style none'",
        "set -o",
        "declare -x",
        "declare -F",
        "declare -p x",
        "declare -f f",
        "readonly",
        "export",
        "export -p",
        "local",
        "type ls",
        "command -v ls",
        "echo é 中 \"ü\" 'ü' x=é",
        "set -e",
        "set +x",
        "set -e -- $x +T",
        "[[ $x == y ]]",
        "((i++))",
        "for x in $y",
        "for x in *.c /srv/*",
        "eval \"$x\"",
        "x=$(id)",
        "> /tmp/x",
        "cat < $x",
        "echo $x {a,b} *.c",
        "sudo ls $x",
        "cd $x",
        "shopt -s globstar",
        "enable",
        "echo DEBUG",
        "ls /tmp",
    ] {
        if refused(text) {
            wrong.push(("refused", text));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What is permitted at one place is not at another.
#[test]
fn where_the_gate_is_nothing_runs() {
    let gate = Gate::new().unwrap();
    let inside = format!("{}/x", gate.directory());
    let ask = format!("{}/ask", gate.directory());
    let gone = format!("{}/main (deleted)", gate.directory());
    for (directory, open, text, refused) in [
        (&*inside, "", "ls", true),
        (&inside, "", "(( 1 ))", true),
        (&inside, "", "cd /", false),
        ("/proc/self/fd", "", "ls", true),
        ("/proc/self/fd", "", "cd /", false),
        ("/tmp", "", "ls *", true),
        ("/tmp", "", "cat < w*", true),
        ("/tmp", "", "ls *.c", false),
        ("/", "", "cat tmp/*/ask", true),
        ("/", "", "ls *", false),
        ("/srv", &ask, "ls", true),
        ("/srv", &gone, "for x in 1", true),
        ("/srv", "/srv/log", "ls", false),
        ("/srv", "/srv/log", "echo x >&64", false),
        ("/srv", "socket:[123]", "ls", false),
    ] {
        let place = Place {
            directory: Some(directory.to_owned()),
            open: Some(open)
                .filter(|o| !o.is_empty())
                .map(str::to_owned)
                .into_iter()
                .collect(),
        };
        let reading = shell::read(text.as_bytes(), &Limits::default());
        let why = about_the_gate(text.as_bytes(), &place, gate.directory(), &reading);
        assert_eq!(why.is_some(), refused, "{text} at {directory} with {open}");
    }
}

#[test]
fn two_gates_have_nothing_in_common() {
    let (one, two) = (Gate::new().unwrap(), Gate::new().unwrap());
    assert_ne!(one.directory(), two.directory());
    assert_ne!(one.greeting(), two.greeting());
    // Command lines can be seen by everybody on the host: the secret is not in them.
    for seen in [one.helper(), one.shell()] {
        for secret in one.greeting().split_whitespace() {
            let secret = secret.as_bytes();
            assert!(!seen.windows(secret.len()).any(|w| w == secret));
        }
    }
}

/// What commands have left behind them counts no more.
#[test]
fn many_long_commands_one_after_the_other_are_not_too_much() {
    let mut asks = asks_of("s3cret");
    let long = "x".repeat(4 << 10);
    for n in 0..200 {
        let mut out = Vec::new();
        for (more, text) in [(1, "/\t"), (1, &long), (0, &long)] {
            let line = format!("s3cret ask main n{n} 7 1 {more} {text}\n");
            asks.push(line.as_bytes(), &mut out).unwrap();
        }
        assert_eq!(out.len(), 1);
    }
}

/// Whatever is changed on its way to Weir, the answer is not one to what was asked.
#[test]
fn a_verdict_is_for_what_was_asked_alone() {
    let seal = |line: &str| {
        let all = said(format!("s3cret ask {line}\n").as_bytes()).unwrap();
        let Some(Said::Ask(ask)) = all.into_iter().next() else {
            panic!("{line}");
        };
        ask.seal
    };
    let honest = seal("main i1 7 1 0 /srv\trm x");
    for other in [
        "s1 i1 7 1 0 /srv\trm x",
        "main i2 7 1 0 /srv\trm x",
        "main i1 8 1 0 /srv\trm x",
        "main i1 7 2 0 /srv\trm x",
        "main i1 7 1 0 /srw\trm x",
        "main i1 7 1 0 /srv\tls",
        "main i1 7 1 0 /srv\trm x\t/etc/x",
        "main i1 7 1 0 /srv\trm \\tx",
    ] {
        assert_ne!(seal(other), honest, "{other}");
    }
    let (one, two) = (Gate::new().unwrap(), Gate::new().unwrap());
    assert_ne!(
        one.key.seal(b"x"),
        two.key.seal(b"x"),
        "keys are of one shell"
    );
}
