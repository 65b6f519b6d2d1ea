//! What is said of command lines.

use super::*;
use crate::testing::processor_time;

fn accesses(command: &str) -> (SshFacts, Vec<String>) {
    let line = Line::read(command.as_bytes());
    let (facts, asks) = exec(command.as_bytes(), &line, &"root".into());
    let shown = asks.iter().map(|(action, resource)| match resource {
        Resource::SshProgram { path, known, .. } => {
            format!("{} {path} {known}", action.as_str())
        }
        Resource::SshFile { path, known, .. } => format!("{} {path} {known}", action.as_str()),
        other => panic!("{other:?}"),
    });
    (facts, shown.collect())
}

#[test]
fn everything_that_runs_has_to_be_permitted() {
    for (command, expect) in [
        ("ls -l /", vec!["ssh:exec ls true"]),
        (
            "cd /tmp && /usr/bin/rm -rf x; ls",
            vec![
                "ssh:exec cd true",
                "ssh:exec /usr/bin/rm true",
                "ssh:exec ls true",
            ],
        ),
        (
            "sudo -u bob ls",
            vec!["ssh:exec sudo true", "ssh:exec ls true"],
        ),
        ("scp -t /srv/x", vec!["ssh:scp_write /srv/x true"]),
        ("scp -f x", vec!["ssh:scp_read x false"]),
        ("/usr/lib/openssh/sftp-server", vec!["ssh:sftp_list . true"]),
        (
            "rsync --server --sender -logDtpr . /srv",
            vec!["ssh:rsync_read /srv true"],
        ),
        // A whole home, which no word of it names.
        (
            "rsync --server --sender -logDtpr . ''",
            vec!["ssh:rsync_read  false"],
        ),
        (
            "rsync --server --sender -logDtpr . .",
            vec!["ssh:rsync_read . false"],
        ),
        (
            "scp -r -f x",
            vec!["ssh:scp_read x false", "ssh:scp_read  false"],
        ),
        ("scp -r -f /srv", vec!["ssh:scp_read /srv true"]),
        (
            "git-upload-pack '/srv/a.git'",
            vec!["ssh:git_read /srv/a.git true"],
        ),
        (
            "git-receive-pack '/srv/a.git'",
            vec!["ssh:git_write /srv/a.git true"],
        ),
    ] {
        let (facts, asks) = accesses(command);
        assert!(facts.parsed, "{command}: {:?}", facts.opaque);
        assert_eq!(asks, expect, "{command}");
    }
}

#[test]
fn what_cannot_be_told_is_asked_about_as_that() {
    for command in [
        "$X",
        "eval \"$X\"",
        "/bin/r? x",
        "bash -s",
        "curl x | sh",
        "r\u{0}m",
        "\u{ff}(",
        "rsync --server --daemon .",
    ] {
        let (facts, asks) = accesses(command);
        assert!(!facts.parsed && !facts.only_reads, "{command}");
        assert!(
            asks.contains(&"ssh:exec  false".to_owned()),
            "{command}: {asks:?}"
        );
    }
}

#[test]
fn a_program_lies_where_its_path_leads() {
    for (command, expect) in [
        ("/usr/bin/../../tmp/x", "ssh:exec /tmp/x false"),
        ("/usr/bin/.././bin//ls", "ssh:exec /usr/bin/ls false"),
        ("/usr//bin/./ls", "ssh:exec /usr/bin/ls true"),
        ("../x", "ssh:exec ../x false"),
        ("./ls", "ssh:exec ./ls true"),
        ("sudo /bin/../tmp/x", "ssh:exec /tmp/x false"),
    ] {
        let (_, asks) = accesses(command);
        assert!(asks.iter().any(|ask| ask == expect), "{command}: {asks:?}");
    }
    // Nor is it a transfer.
    for command in [
        "/tmp/x/git-upload-pack /srv/a.git",
        "/usr/bin/../../tmp/scp -t /x",
    ] {
        assert_eq!(Line::read(command.as_bytes()).kind(), SshKind::Exec);
    }
}

#[test]
fn words_are_paths() {
    let has = |command: &str, path: &str, writes| {
        let (facts, _) = accesses(command);
        let found = facts
            .paths
            .iter()
            .any(|p| &*p.path == path && p.writes == writes);
        assert!(found, "{command}: {:?}", facts.paths);
    };
    has("cat /etc/shadow", "/etc/shadow", false);
    has("cat ~/x", "/root/x", false);
    has("cat .config/x", "/root/.config/x", false);
    has("cat x/.y", "/root/x/.y", false);
    has("cat ~/x", "~/x", false);
    has("tee -a /etc/passwd", "/etc/passwd", true);
    has("cat < /etc/shad?w", UNKNOWN, false);
    has("cp x $X", UNKNOWN, true);
    let line = Line::read(b"bash -s").with_script(b"cat /etc/shadow\n"[..].into());
    let (facts, _) = exec(b"bash -s", &line, &"bob".into());
    assert!(facts.paths.iter().any(|p| &*p.path == "/etc/shadow"));
}

/// sshd starts the shell in the home directory of the login, or in `/` where that is missing.
#[test]
fn names_begin_where_the_login_does() {
    let paths = |command: &str, login: &str| -> Vec<(String, bool)> {
        let line = Line::read(command.as_bytes());
        let (facts, _) = exec(command.as_bytes(), &line, &login.into());
        let paths = facts.paths.iter();
        paths.map(|p| (p.path.to_string(), p.writes)).collect()
    };
    for (command, login, path, writes) in [
        ("cat notes", "root", "/root/notes", false),
        ("sudo cat notes", "root", "/root/notes", false),
        ("cat -- -notes", "root", "/root/-notes", false),
        ("cat .ssh/id_rsa", "root", "/root/.ssh/id_rsa", false),
        (
            "cat .aws/credentials",
            "root",
            "/root/.aws/credentials",
            false,
        ),
        ("cat ../home/x/.env", "root", "/root/../home/x/.env", false),
        ("cat ../home/x/.env", "bob", UNKNOWN, false),
        ("cat <notes", "root", "/root/notes", false),
        ("cd /srv; cat notes", "root", "/root/notes", false),
        ("echo x >.ssh/rc", "root", "/root/.ssh/rc", true),
        ("echo x | tee .config/x", "root", "/root/.config/x", true),
        ("cat etc/shadow", "bob", "/etc/shadow", false),
        ("cat ./etc//shadow", "bob", "/etc//shadow", false),
        ("cat ~/etc/shadow", "bob", "/etc/shadow", false),
        ("cat <proc/1/mem", "bob", "/proc/1/mem", false),
        (
            "docker exec web cat run/secrets/x",
            "bob",
            "/run/secrets/x",
            false,
        ),
        ("echo x >etc/sudoers.d/x", "bob", "/etc/sudoers.d/x", true),
    ] {
        let found = paths(command, login);
        let plain = |p: &str| p.replace("/./", "/");
        assert!(
            found.iter().any(|(p, w)| plain(p) == path && *w == writes),
            "{command}: {found:?}"
        );
    }
    for (command, login, writes) in [
        ("systemctl status nginx", "root", false),
        ("cd /srv && cat notes", "root", false),
        ("ls notes", "root", false),
        ("cat notes", "bob", false),
        ("cat var", "bob", false),
        // A name without a dot decides nothing there.
        ("mkdir notes && echo x >notes/y", "root", true),
    ] {
        let found = paths(command, login);
        let below = |p: &str| p.starts_with("/root") || p == "/var" || p == UNKNOWN;
        assert!(
            !found.iter().any(|(p, w)| *w == writes && below(p)),
            "{command}: {found:?}"
        );
    }
    // A gated shell says itself where it stands.
    let place = Place {
        directory: Some("/srv".into()),
        open: Vec::new(),
    };
    let line = Line {
        sent: Sent::Verdict(Arc::new(place)),
        ..Line::read(b"cat notes etc/shadow")
    };
    let (facts, _) = exec(b"x", &line, &"root".into());
    let has = |path: &str| facts.paths.iter().any(|p| &*p.path == path);
    assert!(has("/srv/notes") && !has("/root/notes") && !has("/etc/shadow"));
}

/// A transfer inside something else is not followed as one.
#[test]
fn only_a_bare_transfer_is_one() {
    for command in [
        "sudo scp -t /x",
        "scp -t /x; id",
        "X=1 scp -t /x",
        "scp -t $X",
    ] {
        let line = Line::read(command.as_bytes());
        assert!(
            line.scp()
                .is_none_or(|scp| scp.paths.iter().all(|p| !p.known)),
            "{command}"
        );
    }
}

#[test]
fn a_script_is_read_with_its_command() {
    let line = Line::read(b"bash -s").with_script(b"rm -rf /srv\n"[..].into());
    let (facts, asks) = exec(b"bash -s", &line, &"root".into());
    let stdin = facts.stdin.as_ref().unwrap();
    assert_eq!((&*stdin.text, stdin.bytes), ("rm -rf /srv\n", 12));
    assert!(facts.parsed, "{:?}", facts.opaque);
    assert!(!facts.only_reads);
    let ran = |name: &str| asks.contains(&program(&"root".into(), name, true));
    assert!(ran("bash") && ran("rm"), "{asks:?}");
    let line = Line::read(b"sh").with_script(b"$X"[..].into());
    let (facts, _) = exec(b"sh", &line, &"root".into());
    assert!(!facts.parsed);
}

/// `scp -f -t x` reads, whatever stands last: nobody follows it as a transfer in the other direction.
#[test]
fn scp_both_ways_is_a_program_like_any_other() {
    for command in ["scp -f -t /x", "scp -t -f /x", "scp -tf /x", "scp -t /x /y"] {
        let line = Line::read(command.as_bytes());
        assert_eq!(line.kind(), SshKind::Exec, "{command}");
        assert!(line.scp().is_none(), "{command}");
        let (_, asks) = accesses(command);
        assert!(
            asks.iter().all(|ask| ask.starts_with("ssh:exec ")),
            "{command}: {asks:?}"
        );
    }
    assert_eq!(Line::read(b"scp -t /x").kind(), SshKind::Scp);
}

fn sent(command: &str) -> Option<String> {
    let mut line = Line::read(command.as_bytes());
    line.pin();
    match line.sent {
        Sent::Pinned(sent) => Some(String::from_utf8(sent.to_vec()).unwrap()),
        Sent::AsItCame | Sent::Unpinned | Sent::Verdict(_) => None,
    }
}

fn run(shell: &str, command: &str) -> std::process::Output {
    let mut run = std::process::Command::new(shell);
    run.args(["-c", command]).output().unwrap()
}

/// A login shell that is not bash runs what was read, too.
#[test]
fn what_was_read_is_what_runs() {
    let mark = std::env::temp_dir().join(format!("weir-pinned-{}", std::process::id()));
    let command = format!("echo $'\\'; touch {} #'", mark.display());
    let pinned = sent(&command).unwrap();
    for shell in ["dash", "sh", "bash"] {
        let out = run(shell, &pinned);
        assert!(out.stdout.starts_with(b"'; touch "), "{shell}: {out:?}");
        assert!(!mark.exists(), "{shell} ran what was not read: {pinned}");
    }
    run("dash", &command);
    assert!(
        std::fs::remove_file(&mark).is_ok(),
        "dash reads it in another way"
    );
}

/// Nothing else changes by it.
#[test]
fn a_pinned_command_ends_as_it_would() {
    use std::os::unix::process::ExitStatusExt;
    for command in [
        "exit 7",
        "false || sh -c 'exit 3'",
        "kill -TERM $$",
        "echo a | tr a b",
    ] {
        let pinned = sent(command).unwrap();
        for shell in ["dash", "bash"] {
            let (a, b) = (run(shell, command), run(shell, &pinned));
            assert_eq!(
                (a.status.code(), a.status.signal(), a.stdout),
                (b.status.code(), b.status.signal(), b.stdout),
                "{shell}: {pinned}"
            );
        }
    }
}

#[test]
fn transfers_in_plain_words_are_sent_as_these() {
    let as_it_is = |text: &str| text.to_owned();
    for (command, expect) in [
        ("scp -t /srv/x", as_it_is("scp -t /srv/x")),
        ("scp  '-t' \"/srv/x\"", as_it_is("scp -t /srv/x")),
        (
            "scp -f '/srv/a b'",
            shell::for_any_host("scp -f '/srv/a b'"),
        ),
        ("scp -f /srv/*", shell::for_any_host("scp -f /srv/*")),
        ("scp -t =x", shell::for_any_host("scp -t =x")),
        (
            "git-receive-pack '/a b.git'",
            as_it_is("git-receive-pack '/a b.git'"),
        ),
        ("git-upload-pack a.git", as_it_is("git-upload-pack 'a.git'")),
        (
            "/usr/lib/openssh/sftp-server",
            as_it_is("/usr/lib/openssh/sftp-server"),
        ),
        ("ls /srv", shell::for_any_host("ls /srv")),
    ] {
        assert_eq!(sent(command), Some(expect), "{command}");
    }
    assert_eq!(sent("$X"), None);
}

/// An approval of one command is none of another that a shell would run in its place.
#[test]
fn what_cannot_be_pinned_is_opaque() {
    let mut line = Line::read(b"ls");
    line.sent = Sent::Unpinned;
    let (facts, asks) = exec(b"ls", &line, &"root".into());
    assert!(!facts.parsed && !facts.only_reads);
    assert!(asks.contains(&program(&"root".into(), "", false)));
}

#[test]
fn standard_input_is_known_or_said_to_be_unknown() {
    let facts = |line: &Line| exec(b"x", line, &"root".into()).0;
    for (command, open) in [
        ("tee /srv/x", true),
        ("crontab -", true),
        ("$X", true),
        ("uptime", false),
        // Their protocols are read as they pass.
        ("scp -t /srv/x", false),
        ("git-receive-pack '/srv/a.git'", false),
    ] {
        assert_eq!(
            facts(&Line::read(command.as_bytes())).stdin_open,
            open,
            "{command}"
        );
    }
    // At a terminal it is typed; otherwise it was read to its end.
    let bash = Line::read(b"bash -s");
    assert!(facts(&bash).stdin_open);
    let fed = facts(&bash.with_script("echo x".into()));
    assert!(!fed.stdin_open && fed.stdin.is_some());
}

/// What is short is read on the session's own task: in a build without optimisation it takes a processor this long at
/// most.
#[test]
fn short_texts_are_read_at_once() {
    use std::time::Duration;
    let rows = [
        ("echo ", "\"a\"", ""),
        ("echo ", "*?", ""),
        ("echo ", "$a", ""),
        ("echo ", "$(a)", ""),
        ("echo $((", "1+", "1))"),
        ("echo {", "a,", "}"),
        ("echo ${x:-", "a$b", "}"),
        ("cat <<E\n", "$a", "\nE\n"),
        ("echo ", "$a ", ""),
        ("", "$a;", ""),
        ("", "a\n", ""),
        ("sh -c \"sh -c '", "aaaaaaa ", "'\""),
        ("a ", "<(a) ", ""),
        ("find ", "-exec a ; ", ""),
        ("sed 's/a/b/;", "p;", "'"),
        ("", "(", ""),
    ];
    for (start, piece, end) in rows {
        let room = SHORT - start.len() - end.len();
        let text = format!("{start}{}{end}", piece.repeat(room / piece.len()));
        let took = (0..3).map(|_| {
            let unread = Unread::command(text.clone().into(), true);
            assert!(unread.is_short());
            processor_time(|| drop(unread.read()))
        });
        // Others have the caches of this machine, too.
        let took = took.min().unwrap();
        assert!(
            took < Duration::from_millis(250),
            "{start:?} and {piece:?}: {took:?}"
        );
    }
}

/// What is open around a command is a reason to look, whatever it is.
#[test]
fn what_is_open_around_a_gated_command_is_never_left_out() {
    for (open, path) in [
        ("/etc/shadow", "/etc/shadow"),
        ("socket:[123]", UNKNOWN),
        ("anon_inode:[eventfd]", UNKNOWN),
    ] {
        let place = Place {
            directory: Some("/srv".into()),
            open: vec![open.into()],
        };
        let line = Line::gated(&"ls x".into(), place);
        let (facts, _) = exec(b"ls x", &line, &"root".into());
        assert!(!facts.parsed && !facts.only_reads, "{open}");
        assert_eq!(facts.opaque.len(), 1, "{open}");
        assert!(facts.opaque[0].contains(open), "{:?}", facts.opaque);
        for writes in [false, true] {
            let paths = facts.paths.iter();
            let mut named = paths.filter(|p| *p.path == *path && p.writes == writes);
            assert!(named.next().is_some(), "{open}: {:?}", facts.paths);
        }
    }
}
