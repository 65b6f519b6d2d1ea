//! Command lines of a second review. Each stays here.

use super::check;
use crate::{Limits, Reading, read};

fn plain(text: &str) -> Reading {
    read(text.as_bytes(), &Limits::default())
}

/// In a terminal, a pager is a way into a shell.
#[test]
fn programs_that_make_a_terminal() {
    check(&[
        (
            "script -qc 'dpkg -l' /dev/null",
            "script -qc [dpkg -l] /dev/null !runs-others",
        ),
        (
            "script -q -c 'systemctl status' -a ~/.bashrc",
            "script -q -c [systemctl status] -a ~/.bashrc !runs-others",
        ),
        (
            "busybox script -c ls x",
            "busybox>script -c ls x !runs-others",
        ),
        ("unbuffer ls", "unbuffer ls !runs-others"),
        ("expect -c 'spawn ls'", "expect -c [spawn ls] !runs-others"),
        ("tmux new ls", "tmux new ls !runs-others"),
        ("asciinema rec -c ls", "asciinema rec -c ls !runs-others"),
        ("openvt -w ls", "openvt -w ls !runs-others"),
        ("login -f root", "login -f root !runs-others"),
        ("su -P -c ls bob", "su -P -c ls bob !runs-others"),
        ("su --pty -c ls bob", "su --pty -c ls bob !runs-others"),
        ("ssh -t host ls", "ssh>ls"),
    ]);
    for text in [
        "docker exec -it web dpkg -l",
        "docker exec -t web systemctl status",
        "podman exec --tty web ls",
        "kubectl exec -it pod -- ls",
        "kubectl exec --tty pod -- ls",
        "socat - exec:ls,pty",
    ] {
        assert!(!plain(text).only_reads, "{text}");
    }
    assert!(plain("docker exec web ls").only_reads);
    // What it writes, it writes by a word of its own.
    let written = plain("script -q -a -c id ~/.profile").writes;
    assert!(written.paths.contains("~/.profile"), "{written:?}");
}
