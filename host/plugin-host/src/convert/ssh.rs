//! An action on an SSH connection in the words of the contract.

use pipeline::{SshCommand, SshFacts};

use crate::bindings::types;

/// `argv` is the first command's; `attrs` says the rest, once for each value:
///
/// `login`; `parsed`, `code`, `dynamic`, `only-reads` and `pty` as `true` or `false`; `opaque`: why reading it
/// does not tell what it does; `command`: every further command, quoted for a shell; `by`: programs that run
/// others; `as-user`; `path-read` and `path-write`; `stdin-sha256`, `stdin-bytes` and `stdin`, its text cut off
/// at a limit.
pub(super) fn op(ssh: &SshFacts) -> types::SshOp {
    let mut commands = ssh.commands.iter();
    let first = commands.next().map(words).unwrap_or_default();
    let flags = [
        ("parsed", ssh.parsed),
        ("code", ssh.code),
        ("dynamic", ssh.commands.iter().any(|c| c.dynamic)),
        ("only-reads", ssh.only_reads),
        ("pty", ssh.pty),
    ];
    let mut attrs = vec![("login".to_owned(), ssh.login.to_string())];
    attrs.extend(flags.map(|(name, on)| (name.to_owned(), on.to_string())));
    let mut say = |name: &str, value: &str| attrs.push((name.to_owned(), value.to_owned()));
    for why in &ssh.opaque {
        say("opaque", why);
    }
    for command in commands {
        let words: Vec<String> = command.argv.iter().map(|word| quoted(word)).collect();
        say("command", &words.join(" "));
    }
    let mut said = Vec::new();
    for by in ssh.commands.iter().flat_map(|c| &c.by) {
        if !said.contains(&by) {
            said.push(by);
            say("by", by);
        }
    }
    let mut users: Vec<&str> = Vec::new();
    for user in ssh.commands.iter().filter_map(|c| c.as_user.as_deref()) {
        if !users.contains(&user) {
            users.push(user);
            say("as-user", user);
        }
    }
    for path in &ssh.paths {
        let way = if path.writes {
            "path-write"
        } else {
            "path-read"
        };
        say(way, &path.path);
    }
    if let Some(stdin) = &ssh.stdin {
        say("stdin-sha256", &hex::encode(stdin.sha256));
        say("stdin-bytes", &stdin.bytes.to_string());
        say("stdin", &stdin.text);
    }
    types::SshOp {
        channel: ssh.kind.as_str().to_owned(),
        argv: first,
        command: Some(ssh.text.to_string()),
        env: ssh
            .env
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect(),
        attrs,
    }
}

fn words(command: &SshCommand) -> Vec<String> {
    command.argv.iter().map(ToString::to_string).collect()
}

/// A word as a shell takes it for that word.
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

    use pipeline::{SshKind, SshPath, SshStdin};

    use super::*;

    /// Nothing that runs is hidden behind the first command.
    #[test]
    fn a_classifier_sees_all_that_runs() {
        let command = |argv: &[&str], by: &[&str]| SshCommand {
            argv: argv.iter().map(|w| Arc::from(*w)).collect(),
            by: by.iter().map(|w| Arc::from(*w)).collect(),
            dynamic: false,
            as_user: (!by.is_empty()).then(|| "root".into()),
        };
        let mut ssh = SshFacts::opaque(SshKind::Exec, "deploy".into(), "…".into(), "why");
        ssh.commands = vec![
            command(&["ls", "-l"], &[]),
            command(&["rm", "-rf", "it's; ls"], &["sudo"]),
            command(&[""], &["sudo", "env"]),
        ];
        ssh.paths = vec![
            SshPath {
                path: "/a".into(),
                writes: true,
            },
            SshPath {
                path: "/b".into(),
                writes: false,
            },
        ];
        ssh.stdin = Some(SshStdin {
            sha256: [1; 32],
            bytes: 2,
            text: "id".into(),
        });
        ssh.env = vec![("LANG".into(), "C".into())];
        let op = op(&ssh);
        assert_eq!(op.channel, "exec");
        assert_eq!(op.argv, ["ls", "-l"]);
        assert_eq!(op.env, [("LANG".to_owned(), "C".to_owned())]);
        let said = |name: &str| -> Vec<&str> {
            let all = op.attrs.iter().filter(|(n, _)| n == name);
            all.map(|(_, value)| &**value).collect()
        };
        assert_eq!(said("command"), [r"rm -rf 'it'\''s; ls'", "''"]);
        assert_eq!(said("by"), ["sudo", "env"]);
        assert_eq!(said("as-user"), ["root"]);
        assert_eq!(said("path-write"), ["/a"]);
        assert_eq!(said("path-read"), ["/b"]);
        assert_eq!(said("stdin"), ["id"]);
        assert_eq!(said("stdin-sha256"), ["01".repeat(32)]);
        assert_eq!(said("opaque"), ["why"]);
        assert_eq!(said("parsed"), ["false"]);
    }
}
