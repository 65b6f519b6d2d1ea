//! Programs that show what they say with a pager when they have a terminal, and pagers start shells (`!sh`).

use crate::reading::{Command, Word};

/// Whatever their words are, unless the pager is turned off. Of programs whose pager hangs on their words, too: a
/// terminal for nothing costs a look of somebody, and no list of words stays complete.
const PAGERS: &[&str] = &[
    "ansible-config",
    "ansible-doc",
    "apt",
    "apt-cache",
    "apt-get",
    "apt-listchanges",
    "aptitude",
    "aws",
    "bat",
    "batcat",
    "bootctl",
    "busctl",
    "coredumpctl",
    "delta",
    "dmesg",
    "dpkg",
    "dpkg-query",
    "duckdb",
    "gcloud",
    "gh",
    "git",
    "glab",
    "hg",
    "homectl",
    "hostnamectl",
    "importctl",
    "info",
    "jj",
    "journalctl",
    "localectl",
    "loginctl",
    "machinectl",
    "man",
    "mariadb",
    "mycli",
    "mysql",
    "networkctl",
    "nmcli",
    "oomctl",
    "perldoc",
    "pgcli",
    "portablectl",
    "psql",
    "pydoc",
    "pydoc3",
    "resolvectl",
    "ri",
    "sqlite3",
    "svn",
    "systemctl",
    "systemd-analyze",
    "systemd-cgls",
    "systemd-confext",
    "systemd-creds",
    "systemd-delta",
    "systemd-dissect",
    "systemd-id128",
    "systemd-inhibit",
    "systemd-path",
    "systemd-resolve",
    "systemd-sysext",
    "systemd-sysusers",
    "systemd-tmpfiles",
    "timedatectl",
    "tig",
    "udevadm",
    "updatectl",
    "userdbctl",
    "varlinkctl",
    "vtysh",
];

/// At a terminal, a person gets from it into a pager.
pub(crate) fn pages(command: &Command) -> bool {
    let Some((head, args)) = command.argv.split_first() else {
        return false;
    };
    let name = crate::programs::name(&head.text);
    if name == "read" {
        // With its editor, a key starts the person's own.
        return args
            .iter()
            .any(|w| w.may_be_option() || is_short(&w.text, 'e') || is_short(&w.text, 'i'));
    }
    if !PAGERS.contains(&name) {
        return false;
    }
    let told = match name {
        "git" => git_is_told(args),
        // What stands behind its first operand is one, too.
        "dpkg" | "dpkg-query" => args.first().is_some_and(off),
        "dmesg" => !args
            .iter()
            .any(|w| !w.is_literal() || w.text.starts_with("--h") || is_short(&w.text, 'H')),
        _ => may_be_told(name) && is_told(args),
    };
    !told
}

/// How it shows none, in words for people.
pub(crate) fn without(name: &str) -> &'static str {
    match name {
        "git" => "--no-pager before its verb turns it off",
        "dpkg" | "dpkg-query" => "--no-pager as its first word turns it off",
        "dmesg" => "without --human it shows none",
        _ if may_be_told(name) => "--no-pager turns it off",
        _ => "without a terminal (ssh -T) it shows none",
    }
}

/// Those of systemd, and few others. The rest do not know the option, or give it to somebody else.
fn may_be_told(name: &str) -> bool {
    name.ends_with("ctl")
        || name.starts_with("systemd-")
        || matches!(name, "bat" | "batcat" | "jj" | "ri" | "udevadm")
}

fn off(word: &Word) -> bool {
    word.is_literal() && word.text == "--no-pager"
}

/// Behind another option it may be that one's value, and help is shown before what follows is read. Help that is
/// asked for as a word is a manual page.
fn is_told(args: &[Word]) -> bool {
    let end = args.iter().position(|w| w.text == "--");
    let args = args.get(..end.unwrap_or(args.len())).unwrap_or_default();
    let helps = |w: &Word| w.text.starts_with("--h") || is_short(&w.text, 'h') || w.text == "help";
    let counts = |at: usize| {
        let before = args.get(..at).unwrap_or_default();
        let value = |w: &Word| w.text.starts_with('-') || !w.is_literal();
        !before.last().is_some_and(value) && !before.iter().any(helps)
    };
    let at = args.iter().position(off);
    at.is_some_and(counts) && !args.iter().any(|w| w.text == "help")
}

/// Its own option stands before what it is to do; behind that it may be anything, and `-p` takes it back.
fn git_is_told(args: &[Word]) -> bool {
    let Some((first, mut rest)) = args.split_first() else {
        return false;
    };
    while let [option, _, others @ ..] = rest
        && option.is_literal()
        && option.text == "-C"
    {
        rest = others;
    }
    let verb = rest.first().filter(|w| w.is_literal());
    let shows = |w: &Word| w.text == "help" || w.text.starts_with("--h");
    off(first) && verb.is_some_and(|w| !w.text.starts_with('-')) && !rest.iter().any(shows)
}

fn is_short(word: &str, letter: char) -> bool {
    let letters = word.strip_prefix('-').filter(|w| !w.starts_with('-'));
    letters.is_some_and(|letters| letters.contains(letter))
}

#[cfg(test)]
mod tests {
    use crate::{Limits, read};

    #[test]
    fn a_terminal_makes_a_pager_of_them() {
        for (line, expect) in [
            ("systemctl status ssh", true),
            ("/usr/bin/systemctl status ssh", true),
            ("sudo systemctl status ssh", true),
            ("sh -c 'journalctl -n 5'", true),
            ("journalctl -n 5", true),
            ("git log", true),
            ("git -p log", true),
            ("git log --no-pager", true),
            ("man ls", true),
            ("dmesg -H", true),
            ("dmesg --human", true),
            ("true; git diff", true),
            ("journalctl -- --no-pager", true),
            ("journalctl \"$X\"", true),
            ("systemctl --no-pager status ssh", false),
            ("journalctl -n 5 --no-pager", false),
            ("git --no-pager log", false),
            ("dmesg -T", false),
            ("dpkg -l", true),
            ("dpkg-query -l", true),
            ("dpkg -l x --no-pager", true),
            ("nmcli connection show", true),
            ("apt-get changelog bash", true),
            ("hg log", true),
            ("systemd-delta", true),
            ("journalctl -u --no-pager", true),
            ("systemctl status -t --no-pager", true),
            ("journalctl --unit --no-pager", true),
            ("journalctl \"$X\" --no-pager", true),
            ("journalctl --help x --no-pager", true),
            ("journalctl -eh x --no-pager", true),
            ("systemctl --no-pager help ssh", true),
            ("git --no-pager -p log", true),
            ("git --no-pager --paginate log", true),
            ("git --no-pager -C /srv -p log", true),
            ("git --no-pager help log", true),
            ("git --no-pager log --help", true),
            ("git --no-pager -C /srv log -p", false),
            ("tig --no-pager", true),
            ("tig log --no-pager", true),
            ("aws s3 ls --no-pager", true),
            ("man --no-pager ls", true),
            ("git --no-pager -c pager.log=x log", true),
            ("git -C --no-pager log", true),
            ("busctl list --no-pager", false),
            ("dpkg --no-pager -l", false),
            ("systemctl status ssh --no-pager -l", false),
            ("uptime", false),
            ("grep systemctl /etc/hosts", false),
        ] {
            let reading = read(line.as_bytes(), &Limits::default());
            assert_eq!(reading.pages().is_some(), expect, "{line}");
        }
    }

    /// Who does what is recommended shows no pager any more.
    #[test]
    fn what_is_recommended_helps() {
        for (line, hint, without) in [
            (
                "systemctl status x",
                "--no-pager turns",
                "systemctl status x --no-pager",
            ),
            ("git log", "before its verb", "git --no-pager log"),
            ("dpkg -l", "first word", "dpkg --no-pager -l"),
            ("dmesg -H", "without --human", "dmesg"),
        ] {
            let pages = |line: &str| {
                read(line.as_bytes(), &Limits::default())
                    .pages()
                    .map(|p| p.1)
            };
            assert!(
                pages(line).is_some_and(|said| said.contains(hint)),
                "{line}"
            );
            assert_eq!(pages(without), None, "{without}");
        }
        // These do not know the option, or take it for something else.
        for line in [
            "man ls",
            "psql",
            "aws s3 ls",
            "apt-get changelog x",
            "svn log",
            "gh pr list",
        ] {
            let reading = read(line.as_bytes(), &Limits::default());
            let (_, said) = reading.pages().unwrap();
            assert!(
                said.contains("ssh -T") && !said.contains("--no-pager"),
                "{line}: {said}"
            );
        }
    }
}
