//! What an action on an SSH connection is, for people who decide on it.

use pipeline::{SshCommand, SshFacts, SshPath};
use weir_client::{Named, Statement};

/// What people are told of a command that may read what nobody has seen yet.
const STDIN_OPEN: &str =
    "not part of this approval: it may read what comes there, which is not known before it runs";

/// Whatever runs with it or is changed by it is part of it: what comes on standard input, and variables.
pub(super) fn statement(ssh: &SshFacts) -> Statement {
    let paths = |writes: bool| -> Vec<String> {
        let of = ssh.paths.iter().filter(|p| p.writes == writes);
        of.map(|p: &SshPath| p.path.to_string()).collect()
    };
    let mut runs = Vec::new();
    if let Some(stdin) = &ssh.stdin {
        runs.push(Named {
            name: format!(
                "standard input, {} bytes, SHA-256 {}",
                stdin.bytes,
                hex::encode(stdin.sha256)
            ),
            text: stdin.text.to_string(),
            parameters: Vec::new(),
        });
    }
    if ssh.stdin_open {
        // `crontab -`, `kubectl apply -f -`, `tee`: what they do is in what they are given.
        runs.push(Named {
            name: "standard input".into(),
            text: STDIN_OPEN.into(),
            parameters: Vec::new(),
        });
    }
    if !ssh.env.is_empty() {
        let lines = ssh
            .env
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        runs.push(Named {
            name: "environment".into(),
            text: lines.collect::<Vec<_>>().join("\n"),
            parameters: Vec::new(),
        });
    }
    Statement {
        kind: ssh.kind.as_str().to_owned(),
        text: ssh.text.to_string(),
        truncated: false,
        runs,
        reads: paths(false),
        writes: paths(true),
        functions: ssh.commands.iter().map(command).collect(),
        computes: Vec::new(),
        has_where: true,
        parsed: ssh.parsed,
        opaque: ssh.opaque.iter().map(ToString::to_string).collect(),
    }
}

/// The program with what runs it, as a shell would be given it.
fn command(command: &SshCommand) -> String {
    let mut text = String::new();
    for by in &command.by {
        text.push_str(by);
        if let Some(user) = &command.as_user
            && matches!(&**by, "sudo" | "su" | "doas" | "runuser")
        {
            text.push_str(&format!(" (as {user})"));
        }
        text.push_str(" → ");
    }
    let words: Vec<String> = command.argv.iter().map(|word| quoted(word)).collect();
    text.push_str(&words.join(" "));
    if command.dynamic {
        text.push_str("  (in part known only when it runs)");
    }
    text
}

/// A word of a command line, in quotes where it needs them.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pipeline::{SshKind, SshStdin};

    use super::*;

    #[test]
    fn people_are_told_what_they_do_not_approve() {
        for open in [true, false] {
            let facts = SshFacts {
                stdin_open: open,
                ..SshFacts::plain(SshKind::Exec, "deploy".into(), "crontab -".into())
            };
            let runs = statement(&facts).runs;
            let told = runs.iter().filter(|n| n.text == STDIN_OPEN);
            assert_eq!(told.count(), usize::from(open));
        }
    }

    #[test]
    fn people_see_all_that_runs() {
        let words = |list: &[&str]| {
            list.iter()
                .map(|w| Arc::from(*w))
                .collect::<Vec<Arc<str>>>()
        };
        let mut ssh = SshFacts::opaque(
            SshKind::Exec,
            "deploy".into(),
            "sudo -u app sh -s 'a b'".into(),
            "a script on standard input",
        );
        ssh.commands = vec![SshCommand {
            argv: words(&["sh", "-s", "it's"]),
            by: words(&["sudo"]),
            dynamic: true,
            as_user: Some("app".into()),
        }];
        ssh.stdin = Some(SshStdin {
            sha256: [0xab; 32],
            bytes: 12,
            text: "rm -rf /data".into(),
        });
        ssh.env = vec![("LANG".into(), "C".into())];
        ssh.paths = vec![SshPath {
            path: "/data".into(),
            writes: true,
        }];
        let shown = statement(&ssh);
        assert_eq!(
            shown.functions,
            [r"sudo (as app) → sh -s 'it'\''s'  (in part known only when it runs)"]
        );
        assert_eq!(shown.writes, ["/data"]);
        assert!(shown.reads.is_empty());
        assert_eq!(shown.opaque, ["a script on standard input"]);
        assert!(!shown.parsed);
        let runs: Vec<_> = shown.runs.iter().map(|r| &*r.text).collect();
        assert_eq!(runs, ["rm -rf /data", "LANG=C"]);
        assert!(shown.runs.iter().any(|r| r.name.contains("abab")));
    }
}
