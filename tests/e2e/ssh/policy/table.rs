//! Ways around a policy of commands, one a row: what is tried, how, and what stands against it. `@` is a trace
//! that whoever gets through leaves, in a directory whose name says who may log in: nobody writes there unasked.

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// At once, and nothing of it has run.
    Refused,
    /// It waits for people, who see it as it is.
    Held,
    /// It runs and is on record, because it does no harm or because it may.
    Recorded,
}

use Fate::{Held, Recorded, Refused};

pub(super) struct Row {
    pub trick: &'static str,
    pub command: &'static str,
    /// An agent on production, for somebody who administers it.
    pub agent: Fate,
    /// An engineer outside production, where most is permitted.
    pub engineer: Fate,
    pub defence: &'static str,
}

const fn row(
    trick: &'static str,
    command: &'static str,
    (agent, engineer): (Fate, Fate),
    defence: &'static str,
) -> Row {
    Row {
        trick,
        command,
        agent,
        engineer,
        defence,
    }
}

const OPAQUE: &str = "what a program runs that nobody can read is opaque";
const CONTROL: &str = "what it writes decides who may log in, by whatever spelling";
const PEELED: &str = "a wrapper is peeled, and what it runs is asked about";
const CODE: &str =
    "code for an interpreter is more than reading, and opaque where it can run programs";

/// Command lines. `^` is a trace where nobody minds, `%` is `echo ran > @` in base 64, `#` in hexadecimal, `$T` the directory of traces.
pub(super) const COMMANDS: &[Row] = &[
    row("nothing hidden", "echo ran > @", (Refused, Held), CONTROL),
    row(
        "base64 to sh",
        "echo % | base64 -d | sh",
        (Refused, Held),
        OPAQUE,
    ),
    row(
        "xxd to sh",
        "echo # | xxd -r -p | sh",
        (Refused, Held),
        OPAQUE,
    ),
    row(
        "openssl to bash",
        "echo % | openssl base64 -d | bash",
        (Refused, Held),
        OPAQUE,
    ),
    row(
        "eval of a literal",
        "eval 'echo ran > @'",
        (Refused, Held),
        CONTROL,
    ),
    row(
        "eval of pieces",
        "a='echo ran'; eval \"$a > @\"",
        (Refused, Held),
        OPAQUE,
    ),
    row(
        "eval of output",
        "eval \"$(echo % | base64 -d)\"",
        (Refused, Held),
        OPAQUE,
    ),
    row(
        "source",
        "echo 'echo ran > @' > $T/src; . $T/src",
        (Refused, Held),
        OPAQUE,
    ),
    row("doas", "doas sh -c 'echo ran > @'", (Refused, Held), PEELED),
    row(
        "watch",
        "watch -n 9 'echo ran > @'",
        (Refused, Held),
        PEELED,
    ),
    row(
        "parallel",
        "parallel ::: 'echo ran > @'",
        (Refused, Held),
        OPAQUE,
    ),
    row(
        "kubectl exec",
        "kubectl exec pod -- sh -c 'echo ran > @'",
        (Refused, Held),
        PEELED,
    ),
    row(
        "a command of a pager's",
        "less '+!echo ran > @' /etc/hostname",
        (Refused, Held),
        OPAQUE,
    ),
    row("trap", "trap 'echo ran > @' EXIT", (Refused, Held), CONTROL),
    row(
        "PROMPT_COMMAND",
        "PROMPT_COMMAND='echo ran > @' bash -i -c true",
        (Refused, Held),
        OPAQUE,
    ),
    row(
        "BASH_ENV of a command",
        "BASH_ENV=$T/rc bash -c true",
        (Refused, Held),
        OPAQUE,
    ),
    row(
        "ENV of a command",
        "ENV=$T/rc sh -i -c true",
        (Refused, Held),
        OPAQUE,
    ),
    row(
        "quotes",
        "t''ee @ < /etc/hostname",
        (Refused, Held),
        CONTROL,
    ),
    row(
        "a backslash",
        "\\tee @ < /etc/hostname",
        (Refused, Held),
        CONTROL,
    ),
    row(
        "quoting of ANSI C",
        "$'\\x74ee' @ < /etc/hostname",
        (Refused, Held),
        CONTROL,
    ),
    row(
        "braces",
        "{tee,@} < /etc/hostname",
        (Refused, Held),
        CONTROL,
    ),
    row(
        "a pattern for the program",
        "/usr/bin/te[e] @ < /etc/hostname",
        (Refused, Held),
        OPAQUE,
    ),
    row(
        "a variable for the program",
        "X=tee; $X @ < /etc/hostname",
        (Refused, Held),
        OPAQUE,
    ),
    row(
        "output for the program",
        "$(echo tee) @ < /etc/hostname",
        (Refused, Held),
        OPAQUE,
    ),
    row(
        "an alias",
        "shopt -s expand_aliases; alias ls='tee @'\nls < /etc/hostname",
        (Refused, Held),
        OPAQUE,
    ),
    row(
        "a function",
        "ls() { echo ran > @; }; ls",
        (Refused, Held),
        CONTROL,
    ),
    row("PATH", "PATH=$T:$PATH ls", (Refused, Held), OPAQUE),
    row(
        "cd and a program there",
        "cd $T && ./tool",
        (Refused, Recorded),
        "an agent runs programs of the system only",
    ),
    row(
        "a here-document for bash",
        "bash <<'E'\necho ran > @\nE",
        (Refused, Held),
        CONTROL,
    ),
    row(
        "a here-string for bash",
        "bash <<< 'echo ran > @'",
        (Refused, Held),
        CONTROL,
    ),
    row(
        "a second line",
        "true\necho ran > @",
        (Refused, Held),
        CONTROL,
    ),
    row(
        "a bare carriage return",
        "true\recho ran > @",
        (Refused, Refused),
        "it would hide what stands before it",
    ),
    row("a list", "true; echo ran > @ &", (Refused, Held), CONTROL),
    row(
        "a substitution in an argument",
        "echo $(echo ran > @)",
        (Refused, Held),
        CONTROL,
    ),
    row(
        "a substitution of a process",
        "cat <(echo ran > @)",
        (Refused, Held),
        CONTROL,
    ),
    row("xargs", "echo @ | xargs touch", (Refused, Held), OPAQUE),
    row(
        "xargs sh",
        "echo % | base64 -d | xargs -0 sh -c",
        (Refused, Held),
        OPAQUE,
    ),
    row(
        "find -exec",
        "find /etc/hostname -exec tee @ ;",
        (Refused, Held),
        PEELED,
    ),
    row(
        "find -fprint",
        "find /etc/hostname -fprint @",
        (Refused, Held),
        CONTROL,
    ),
    row(
        "env",
        "env A=1 tee @ < /etc/hostname",
        (Refused, Held),
        PEELED,
    ),
    row(
        "env -S",
        "env -S 'tee @' < /etc/hostname",
        (Refused, Held),
        PEELED,
    ),
    row(
        "nohup and others",
        "nohup setsid timeout 5 nice tee @ < /etc/hostname",
        (Refused, Held),
        PEELED,
    ),
    row(
        "sudo",
        "sudo -n tee @ < /etc/hostname",
        (Refused, Held),
        PEELED,
    ),
    row("su -c", "su -c 'echo ran > @'", (Refused, Held), PEELED),
    row(
        "sh -c in sh -c",
        "sh -c \"sh -c 'echo ran > @'\"",
        (Refused, Held),
        PEELED,
    ),
    row(
        "ssh from there",
        "ssh -o BatchMode=yes localhost 'echo ran > @'",
        (Refused, Held),
        PEELED,
    ),
    row(
        "chroot",
        "chroot / tee @ < /etc/hostname",
        (Refused, Held),
        PEELED,
    ),
    row(
        "nsenter",
        "nsenter -t $$ -a tee @ < /etc/hostname",
        (Refused, Held),
        PEELED,
    ),
    row(
        "docker exec",
        "docker exec x sh -c 'echo ran > @'",
        (Refused, Held),
        PEELED,
    ),
    row(
        "python -c",
        "python3 -c 'open(\"^\",\"w\").write(\"ran\")'",
        (Held, Recorded),
        CODE,
    ),
    row(
        "perl -e",
        "perl -e 'open F, \">^\"; print F 1'",
        (Held, Recorded),
        CODE,
    ),
    row(
        "awk",
        "awk 'BEGIN { print 1 > \"^\" }'",
        (Held, Recorded),
        CODE,
    ),
    row("sed w", "sed 'w ^' /etc/hostname", (Held, Recorded), CODE),
    row(
        "vi",
        "vi -es -c '!echo ran > @' -c q",
        (Refused, Held),
        OPAQUE,
    ),
    row(
        "tar --checkpoint-action",
        "tar cf /dev/null --checkpoint=1 --checkpoint-action=exec='tee @' /etc/hostname",
        (Refused, Held),
        OPAQUE,
    ),
    row(
        "git -c",
        "git -c core.pager='tee @' -p log",
        (Refused, Held),
        OPAQUE,
    ),
    row("rsync -e", "rsync -e 'tee @' x: y", (Refused, Held), OPAQUE),
    row("tee", "true | tee @", (Refused, Held), CONTROL),
    row("cp", "cp /etc/hostname @", (Refused, Held), CONTROL),
    row("ln", "ln -s /etc/hostname @", (Refused, Held), CONTROL),
    row("dd", "dd if=/etc/hostname of=@", (Refused, Held), CONTROL),
    row(
        "install",
        "install -m 600 /etc/hostname @",
        (Refused, Held),
        CONTROL,
    ),
    row("crontab", "crontab $T/none", (Refused, Held), CONTROL),
    row(
        "a secret by its name",
        "cat /etc/shadow",
        (Refused, Held),
        "credentials wait for people",
    ),
    row(
        "a secret by its directory",
        "cd /etc && cat ./shadow",
        (Refused, Held),
        "credentials wait for people",
    ),
    row(
        "a secret by a detour",
        "cat /usr/../etc/shadow",
        (Refused, Held),
        "credentials wait for people",
    ),
    row(
        "a secret by an option",
        "grep --file=/etc/shadow x",
        (Refused, Held),
        "credentials wait for people",
    ),
    row(
        "a key of a home",
        "cat ~/.ssh/id_ed25519",
        (Refused, Held),
        "credentials wait for people",
    ),
    row(
        "a secret by a pattern",
        "cat /etc/shado?",
        (Held, Held),
        "credentials wait for people",
    ),
    row(
        "all that lies below",
        "grep -r Sentinel .",
        (Held, Held),
        "who reads all below a directory reads what nobody can name",
    ),
    row(
        "the environments of others",
        "ps axeww",
        (Refused, Held),
        "secrets have other names than paths",
    ),
    row(
        "a terminal by script",
        "script -qc 'echo ran > @' /dev/null",
        (Refused, Held),
        OPAQUE,
    ),
    row(
        "unreadable syntax",
        "if then echo ran > @",
        (Refused, Held),
        OPAQUE,
    ),
    row(
        "a program that reads its standard input",
        "bash",
        (Refused, Held),
        OPAQUE,
    ),
];
