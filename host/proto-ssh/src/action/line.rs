//! A command line: what it runs, as `shell` reads it, in the words of the pipeline.

use std::sync::Arc;

use pipeline::{Action, Resource, SshCommand, SshFacts, SshKind, SshPath};
use shell::{Limits, Reading, Transfer, Word};

use super::text::readable;

/// What a command line turns out to be.
#[derive(Debug)]
pub(crate) struct Line {
    pub facts: SshFacts,
    pub asks: Vec<(Action, Resource)>,
    /// It is one of the programs that clients start on the host to transfer files.
    pub transfer: Option<Carrier>,
    /// What it runs comes over the channel.
    pub script: Option<shell::Script>,
}

/// What transfers files, and how it is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// The words of `scp -t` or `scp -f`, and whether a shell leaves them as they are.
    Scp {
        argv: Vec<String>,
        literal: bool,
    },
    Sftp,
    /// What is sent is not read: rsync, git.
    Unread,
}

impl Line {
    /// Reads it. A script that comes with it is read by `with_script`.
    pub fn read(command: &[u8], login: &Arc<str>) -> Self {
        let reading = shell::read(command, &Limits::default());
        Self::of(reading, readable(command).into(), login)
    }

    fn of(reading: Reading, text: Arc<str>, login: &Arc<str>) -> Self {
        let mut facts = SshFacts::plain(SshKind::Exec, login.clone(), text);
        facts.parsed = !reading.is_opaque();
        facts.opaque = reading
            .opaque
            .iter()
            .map(|why| format!("{}: {why}", why.code()).into())
            .collect();
        facts.commands = reading.commands.iter().map(command).collect();
        facts.code = reading.code;
        facts.only_reads = facts.parsed && reading.only_reads;
        facts.paths = reading
            .redirects
            .iter()
            .map(|redirect| SshPath {
                path: redirect.path.text.as_str().into(),
                writes: redirect.access != shell::Access::Read,
            })
            .collect();
        // Beside another command, or with its input or output elsewhere, it is no client's transfer.
        let alone = reading.commands.len() == 1 && reading.redirects.is_empty();
        let plain = reading
            .commands
            .iter()
            .all(|c| c.by.is_empty() && c.env.is_empty());
        if facts.parsed
            && alone
            && plain
            && let Some(transfer) = &reading.transfer
            && let Some(command) = reading.commands.first()
        {
            return Self::transfer(transfer, &command.argv, facts, login);
        }
        Self {
            asks: programs(&facts, login),
            facts,
            transfer: None,
            script: reading.reads_stdin,
        }
    }

    fn transfer(transfer: &Transfer, argv: &[Word], mut facts: SshFacts, login: &Arc<str>) -> Self {
        let (kind, action, paths, carrier) = match transfer {
            Transfer::Scp { to_host, paths, .. } => {
                let literal = argv.iter().all(|word| !word.dynamic && !word.glob);
                let argv = argv.iter().map(|word| word.text.clone()).collect();
                let action = either(*to_host, Action::SshScpWrite, Action::SshScpRead);
                (
                    SshKind::Scp,
                    action,
                    paths.as_slice(),
                    Carrier::Scp { argv, literal },
                )
            }
            Transfer::Rsync {
                to_host,
                paths,
                dangerous,
            } => {
                for option in dangerous {
                    facts.parsed = false;
                    let why =
                        format!("option: rsync's option {option} does more than to send files");
                    facts.opaque.push(why.into());
                }
                let action = either(*to_host, Action::SshRsyncWrite, Action::SshRsyncRead);
                (SshKind::Rsync, action, paths.as_slice(), Carrier::Unread)
            }
            Transfer::Git {
                to_host,
                repository,
                ..
            } => {
                let action = either(*to_host, Action::SshGitWrite, Action::SshGitRead);
                let paths = std::slice::from_ref(repository);
                (SshKind::Git, action, paths, Carrier::Unread)
            }
            Transfer::Sftp { .. } => (
                SshKind::Subsystem,
                Action::SshSftpList,
                &[][..],
                Carrier::Sftp,
            ),
        };
        let writes = matches!(
            action,
            Action::SshScpWrite | Action::SshRsyncWrite | Action::SshGitWrite
        );
        facts.kind = kind;
        facts.only_reads = facts.parsed && !writes;
        facts.paths = paths
            .iter()
            .map(|word| SshPath {
                path: word.text.as_str().into(),
                writes,
            })
            .collect();
        let mut asks: Vec<_> = paths
            .iter()
            .map(|word| (action, file(word, login)))
            .collect();
        if asks.is_empty() {
            // The directory where the login begins.
            asks.push((
                action,
                file(
                    &Word {
                        text: ".".into(),
                        ..Word::default()
                    },
                    login,
                ),
            ));
        }
        if !facts.parsed {
            asks.push((Action::SshExec, unknown(login)));
        }
        Self {
            facts,
            asks,
            transfer: Some(carrier),
            script: None,
        }
    }
}

fn either(to_host: bool, write: Action, read: Action) -> Action {
    if to_host { write } else { read }
}

fn command(command: &shell::Command) -> SshCommand {
    let text = |text: &str| Arc::<str>::from(text);
    SshCommand {
        argv: command.argv.iter().map(|word| text(&word.text)).collect(),
        by: command.by.iter().map(|name| text(name)).collect(),
        dynamic: command.dynamic,
        as_user: command.as_user.as_deref().map(text),
    }
}

/// Everything that is run must be permitted, also what only runs something else.
fn programs(facts: &SshFacts, login: &Arc<str>) -> Vec<(Action, Resource)> {
    let mut asks: Vec<(Action, Resource)> = Vec::new();
    let mut add = |path: &Arc<str>, known: bool| {
        let name = path.rsplit('/').next().unwrap_or_default();
        let resource = Resource::SshProgram {
            login: login.clone(),
            name: name.into(),
            path: path.clone(),
            known: known && !name.is_empty(),
        };
        let ask = (Action::SshExec, resource);
        if !asks.contains(&ask) {
            asks.push(ask);
        }
    };
    for command in &facts.commands {
        for by in &command.by {
            add(by, true);
        }
        if let Some(program) = command.argv.first() {
            add(program, true);
        }
    }
    if !facts.parsed || asks.is_empty() {
        asks.push((Action::SshExec, unknown(login)));
    }
    asks
}

/// A program of which nothing is known.
fn unknown(login: &Arc<str>) -> Resource {
    Resource::SshProgram {
        login: login.clone(),
        name: "".into(),
        path: "".into(),
        known: false,
    }
}

fn file(word: &Word, login: &Arc<str>) -> Resource {
    let path = crate::transfer::Path::resolve(word.text.as_bytes(), None);
    Resource::SshFile {
        login: login.clone(),
        known: path.known && !word.dynamic && !word.glob,
        path: path.text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        Line::read(text.as_bytes(), &"root".into())
    }

    fn asked(line: &Line) -> Vec<String> {
        let asks = line.asks.iter().map(|(action, resource)| match resource {
            Resource::SshProgram { name, known, .. } => {
                format!(
                    "{} {name}{}",
                    action.as_str(),
                    if *known { "" } else { "?" }
                )
            }
            Resource::SshFile { path, known, .. } => {
                format!(
                    "{} {path}{}",
                    action.as_str(),
                    if *known { "" } else { "?" }
                )
            }
            other => format!("{other:?}"),
        });
        asks.collect()
    }

    #[test]
    fn every_program_is_asked_about() {
        for (text, expect) in [
            ("ls -l /tmp", &["ssh:exec ls"][..]),
            ("ls; ls", &["ssh:exec ls"]),
            ("ls | /bin/grep x", &["ssh:exec ls", "ssh:exec grep"]),
            ("sudo -u bob rm x", &["ssh:exec sudo", "ssh:exec rm"]),
            ("echo $(rm x)", &["ssh:exec echo", "ssh:exec rm"]),
            ("$X y", &["ssh:exec ?"]),
            ("ls (", &["ssh:exec ?"]),
        ] {
            let mut found = asked(&line(text));
            let mut expect: Vec<String> = expect.iter().map(|e| (*e).to_owned()).collect();
            if !line(text).facts.parsed {
                // What is known of it is asked, too.
                found.retain(|ask| ask.ends_with('?'));
            }
            found.sort();
            expect.sort();
            assert_eq!(found, expect, "{text}");
        }
    }

    #[test]
    fn transfers_are_asked_about_by_path_and_direction() {
        for (text, kind, expect) in [
            ("scp -t /srv/a", SshKind::Scp, "ssh:scp_write /srv/a"),
            (
                "scp -f -- '/srv/a b'",
                SshKind::Scp,
                "ssh:scp_read /srv/a b",
            ),
            ("scp -t a", SshKind::Scp, "ssh:scp_write a?"),
            ("scp -f /srv/*", SshKind::Scp, "ssh:scp_read /srv/*?"),
            (
                "rsync --server -logDtpre.iLsfxCIvu . /srv/d/",
                SshKind::Rsync,
                "ssh:rsync_write /srv/d",
            ),
            (
                "rsync --server --sender -logDtpre.iLsfxCIvu . /srv/d",
                SshKind::Rsync,
                "ssh:rsync_read /srv/d",
            ),
            (
                "git-upload-pack '/srv/r.git'",
                SshKind::Git,
                "ssh:git_read /srv/r.git",
            ),
            (
                "git receive-pack /srv/r.git",
                SshKind::Git,
                "ssh:git_write /srv/r.git",
            ),
        ] {
            let line = line(text);
            assert_eq!(line.facts.kind, kind, "{text}");
            assert_eq!(asked(&line), [expect], "{text}: {:?}", line.facts.opaque);
            assert!(line.transfer.is_some(), "{text}");
        }
    }

    #[test]
    fn what_does_more_than_to_transfer_is_a_command() {
        for text in [
            "scp -t /a; rm x",
            "sudo scp -t /a",
            "scp -t /a > /b",
            "env X=1 scp -t /a",
            "git-upload-pack /a | tee b",
        ] {
            let line = line(text);
            assert_eq!(line.facts.kind, SshKind::Exec, "{text}");
            assert_eq!(line.transfer, None, "{text}");
        }
        let rsync = line("rsync --server -e.L --rsh=evil . /a");
        assert!(!rsync.facts.parsed, "{:?}", rsync.facts);
        assert!(asked(&rsync).contains(&"ssh:exec ?".to_owned()));
    }

    #[test]
    fn what_the_shell_writes_is_among_the_paths() {
        let line = line("ls > /etc/passwd");
        assert!(!line.facts.only_reads);
        assert_eq!(&*line.facts.paths[0].path, "/etc/passwd");
        assert!(line.facts.paths[0].writes);
        assert!(
            super::super::line::Line::read(b"ls -l", &"root".into())
                .facts
                .only_reads
        );
    }
}
