//! Programs that show what they say with a pager when they have a terminal, and pagers start shells (`!sh`).

use crate::reading::Command;

/// Whatever their words are, unless the pager is turned off. Of programs whose pager hangs on their words, too: a
/// terminal for nothing costs a look of somebody, and no list of words stays complete.
const PAGERS: &[&str] = &[
    "apt",
    "apt-cache",
    "aws",
    "bat",
    "batcat",
    "bootctl",
    "busctl",
    "coredumpctl",
    "delta",
    "dmesg",
    "gh",
    "git",
    "homectl",
    "hostnamectl",
    "info",
    "journalctl",
    "localectl",
    "loginctl",
    "machinectl",
    "man",
    "mysql",
    "networkctl",
    "oomctl",
    "perldoc",
    "portablectl",
    "psql",
    "pydoc",
    "pydoc3",
    "resolvectl",
    "sqlite3",
    "systemctl",
    "systemd-analyze",
    "systemd-cgls",
    "timedatectl",
    "udevadm",
    "userdbctl",
];

/// At a terminal, a person gets from it into a pager.
pub(crate) fn pages(command: &Command) -> bool {
    let Some((head, args)) = command.argv.split_first() else {
        return false;
    };
    let name = crate::programs::name(&head.text);
    if !PAGERS.contains(&name) {
        return false;
    }
    let off = |word: &crate::Word| word.is_literal() && word.text == "--no-pager";
    // git's own option stands before what it is to do; behind that it may be anything.
    let told = match name {
        "git" => args.first().is_some_and(off),
        "dmesg" => !args
            .iter()
            .any(|w| !w.is_literal() || w.text.starts_with("--h") || is_short(&w.text, 'H')),
        _ => args.iter().take_while(|w| w.text != "--").any(off),
    };
    !told
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
            ("uptime", false),
            ("grep systemctl /etc/hosts", false),
        ] {
            let reading = read(line.as_bytes(), &Limits::default());
            assert_eq!(reading.pages().is_some(), expect, "{line}");
        }
    }
}
