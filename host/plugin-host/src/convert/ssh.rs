//! An action on an SSH connection in the words of the contract.

use pipeline::{SshCommand, SshFacts};

use crate::bindings::types;

/// Between the words of a value that has several.
const SEPARATOR: char = '\u{1f}';

/// `wit/README.md` says what is in `attrs`.
pub(super) fn op(ssh: &SshFacts) -> types::SshOp {
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
    for code in &ssh.opaque_codes {
        say("opaque", code);
    }
    for why in &ssh.opaque {
        say("why-opaque", why);
    }
    for command in &ssh.commands {
        say("command", &joined(command.argv.iter().map(|word| &**word)));
    }
    for hazard in &ssh.hazards {
        let parts = [&*hazard.code, &*hazard.program, &*hazard.why];
        say("hazard", &joined(parts.into_iter()));
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
        let way = if path.writes { "writes" } else { "reads" };
        say(way, &path.path);
    }
    if let Some(stdin) = &ssh.stdin {
        say("stdin-sha256", &hex::encode(stdin.sha256));
        say("stdin-bytes", &stdin.bytes.to_string());
        say("stdin", &stdin.text);
    }
    types::SshOp {
        channel: ssh.kind.as_str().to_owned(),
        argv: ssh.commands.first().map(words).unwrap_or_default(),
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

/// None of the parts ends before it does: a separator within one is another character.
fn joined<'a>(parts: impl Iterator<Item = &'a str>) -> String {
    let mut out = String::new();
    for (n, part) in parts.enumerate() {
        if n > 0 {
            out.push(SEPARATOR);
        }
        out.extend(part.chars().map(|c| match c {
            SEPARATOR => char::REPLACEMENT_CHARACTER,
            c => c,
        }));
    }
    out
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pipeline::{SshHazard, SshKind, SshPath, SshStdin};

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
            // Whoever writes the separator does not get a second word out of it.
            command(&["iptables", "-F", "\u{1f}-L"], &[]),
        ];
        ssh.opaque_codes = vec!["fed".into()];
        ssh.hazards = vec![SshHazard {
            code: "network".into(),
            program: "n\u{1f}c".into(),
            why: "evil".into(),
        }];
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
        assert_eq!(
            said("command"),
            [
                "ls\u{1f}-l",
                "rm\u{1f}-rf\u{1f}it's; ls",
                "",
                "iptables\u{1f}-F\u{1f}\u{fffd}-L"
            ]
        );
        assert_eq!(said("hazard"), ["network\u{1f}n\u{fffd}c\u{1f}evil"]);
        assert_eq!(said("by"), ["sudo", "env"]);
        assert_eq!(said("as-user"), ["root"]);
        assert_eq!(said("writes"), ["/a"]);
        assert_eq!(said("reads"), ["/b"]);
        assert_eq!(said("stdin"), ["id"]);
        assert_eq!(said("stdin-sha256"), ["01".repeat(32)]);
        assert_eq!(said("opaque"), ["fed"]);
        assert_eq!(said("why-opaque"), ["why"]);
        assert_eq!(said("parsed"), ["false"]);
    }
}
