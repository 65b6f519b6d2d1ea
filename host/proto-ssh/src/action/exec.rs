//! What a command line runs, as facts and accesses; and how its channel is to be followed.

use std::sync::Arc;

use pipeline::{Action, Resource, SshCommand, SshFacts, SshKind, SshPath, SshStdin};
use shell::{Command, Limits, Reading, Transfer, Word};

use super::paths::paths;
use super::text::readable;
use crate::scp;
use crate::transfer::Path;

/// What a command line, and what is fed to it, are read as.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub command: Arc<Reading>,
    /// What came for it on standard input, to its end, where it runs that.
    pub script: Option<Script>,
}

#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub bytes: bytes::Bytes,
    pub sha256: [u8; 32],
    /// None: it is for an interpreter that is no shell.
    pub reading: Option<Arc<Reading>>,
}

/// Of a script, people are shown this much.
const SHOWN: usize = 64 << 10;

impl Line {
    pub fn read(command: &[u8]) -> Self {
        Self {
            command: Arc::new(shell::read(command, &Limits::default())),
            script: None,
        }
    }

    /// It runs what comes on standard input.
    pub fn reads_stdin(&self) -> bool {
        self.command.reads_stdin.is_some()
    }

    pub fn with_script(&self, bytes: bytes::Bytes) -> Self {
        let shell = self.command.reads_stdin.as_ref().filter(|s| s.shell);
        let reading =
            shell.map(|s| Arc::new(shell::read_script(&bytes, &s.program, &Limits::default())));
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(digest.as_ref());
        Self {
            command: self.command.clone(),
            script: Some(Script {
                bytes,
                sha256,
                reading,
            }),
        }
    }

    /// The file transfer that it is, with nothing else around it.
    fn transfer(&self) -> Option<&Transfer> {
        let plain = !self.command.is_opaque()
            && matches!(self.command.commands.as_slice(), [one] if one.by.is_empty() && one.env.is_empty());
        let transfer = self.command.transfer.as_ref().filter(|_| plain)?;
        // What the reader of its protocol cannot follow is a program like any other.
        let followed = match transfer {
            Transfer::Scp { .. } => self.scp_command().is_some(),
            Transfer::Rsync { .. } | Transfer::Git { .. } | Transfer::Sftp { .. } => true,
        };
        followed.then_some(transfer)
    }

    pub fn kind(&self) -> SshKind {
        match self.transfer() {
            None => SshKind::Exec,
            Some(Transfer::Scp { .. }) => SshKind::Scp,
            Some(Transfer::Rsync { .. }) => SshKind::Rsync,
            Some(Transfer::Git { .. }) => SshKind::Git,
            Some(Transfer::Sftp { .. }) => SshKind::Sftp,
        }
    }

    /// How the old scp was started, for the reader of its protocol.
    pub fn scp(&self) -> Option<scp::Command> {
        match self.transfer() {
            Some(Transfer::Scp { .. }) => self.scp_command(),
            _ => None,
        }
    }

    fn scp_command(&self) -> Option<scp::Command> {
        let argv = &self.command.commands.first()?.argv;
        let literal = argv.iter().all(is_literal);
        let words: Vec<&str> = argv.iter().map(|word| word.text.as_str()).collect();
        scp::Command::parse(&words, literal)
    }
}

/// Facts about it, and what has to be permitted.
pub(super) fn exec(
    command: &[u8],
    line: &Line,
    login: &Arc<str>,
) -> (SshFacts, Vec<(Action, Resource)>) {
    let reading = &*line.command;
    let mut facts = SshFacts::plain(line.kind(), login.clone(), readable(command).into());
    take(&mut facts, reading);
    facts.code = reading.code;
    facts.only_reads = reading.only_reads && !reading.is_opaque();
    let mut asks = match line.transfer() {
        Some(transfer) => transferred(&mut facts, transfer, login),
        None => programs(reading, login),
    };
    match (&line.script, &reading.reads_stdin) {
        (Some(script), _) => asks.extend(scripted(&mut facts, script, login)),
        (None, Some(_)) => {
            facts.opaque.push("it runs what is typed into it".into());
        }
        (None, None) => {}
    }
    facts.parsed = facts.opaque.is_empty();
    if !facts.parsed {
        facts.only_reads = false;
        // Whatever else it turns out to run.
        asks.push(program(login, "", false));
    }
    asks.dedup();
    (facts, asks)
}

fn take(facts: &mut SshFacts, reading: &Reading) {
    let why = reading.opaque.iter().map(|why| why.to_string().into());
    facts.opaque.extend(why);
    facts.commands.extend(reading.commands.iter().map(said));
    // Of a transfer it is known which words are paths.
    if facts.kind == SshKind::Exec {
        facts.paths.extend(paths(reading));
    }
}

fn said(command: &Command) -> SshCommand {
    let text = |word: &Word| Arc::<str>::from(word.text.as_str());
    SshCommand {
        argv: command.argv.iter().map(text).collect(),
        by: command.by.iter().map(|by| by.as_str().into()).collect(),
        dynamic: command.dynamic,
        as_user: command.as_user.as_deref().map(Into::into),
    }
}

/// Everything that runs, and what runs it.
fn programs(reading: &Reading, login: &Arc<str>) -> Vec<(Action, Resource)> {
    let mut asks = Vec::new();
    let mut add = |ask| {
        if !asks.contains(&ask) {
            asks.push(ask);
        }
    };
    for command in &reading.commands {
        for by in &command.by {
            add(program(login, by, true));
        }
        match command.argv.first() {
            Some(word) => add(program(login, &word.text, is_literal(word))),
            None => add(program(login, "", false)),
        }
    }
    if asks.is_empty() {
        asks.push(program(login, "", false));
    }
    asks
}

fn program(login: &Arc<str>, path: &str, known: bool) -> (Action, Resource) {
    let name = path.rsplit('/').next().unwrap_or_default();
    let resource = Resource::SshProgram {
        login: login.clone(),
        name: name.into(),
        path: path.into(),
        known: known && !name.is_empty(),
    };
    (Action::SshExec, resource)
}

fn is_literal(word: &Word) -> bool {
    !word.dynamic && !word.glob
}

/// A script that the command line runs.
fn scripted(facts: &mut SshFacts, script: &Script, login: &Arc<str>) -> Vec<(Action, Resource)> {
    let mut text = readable(&script.bytes);
    if text.len() > SHOWN {
        let end = text.floor_char_boundary(SHOWN);
        text.truncate(end);
        text.push('…');
    }
    facts.stdin = Some(SshStdin {
        sha256: script.sha256,
        bytes: script.bytes.len() as u64,
        text: text.into(),
    });
    let Some(reading) = &script.reading else {
        facts.code = true;
        facts.only_reads = false;
        return Vec::new();
    };
    take(facts, reading);
    facts.code |= reading.code;
    // The shell that runs it only reads what its script reads.
    facts.only_reads = reading.only_reads && !reading.is_opaque() && facts.opaque.is_empty();
    programs(reading, login)
}

/// A file transfer: what it reads and writes.
fn transferred(
    facts: &mut SshFacts,
    transfer: &Transfer,
    login: &Arc<str>,
) -> Vec<(Action, Resource)> {
    let (action, paths, writes): (_, Vec<&Word>, _) = match transfer {
        Transfer::Scp { to_host, paths, .. } => {
            let action = match to_host {
                true => Action::SshScpWrite,
                false => Action::SshScpRead,
            };
            (action, paths.iter().collect(), *to_host)
        }
        Transfer::Rsync {
            to_host,
            paths,
            dangerous,
        } => {
            let why = dangerous.iter();
            let why = why.map(|option| format!("rsync is given {}", readable(option.as_bytes())));
            facts.opaque.extend(why.map(Arc::<str>::from));
            let action = match to_host {
                true => Action::SshRsyncWrite,
                false => Action::SshRsyncRead,
            };
            (action, paths.iter().collect(), *to_host)
        }
        Transfer::Git {
            to_host,
            repository,
            ..
        } => {
            let action = match to_host {
                true => Action::SshGitWrite,
                false => Action::SshGitRead,
            };
            (action, vec![repository], *to_host)
        }
        Transfer::Sftp { .. } => {
            // Every request of it is asked about.
            let file = file(login, &Path::unknown());
            return vec![(Action::SshSftpList, file)];
        }
    };
    facts.only_reads = !writes;
    let mut asks = Vec::new();
    for word in paths {
        let mut path = Path::resolve(word.text.as_bytes(), None);
        path.known &= is_literal(word);
        facts.paths.push(SshPath {
            path: path.text.clone(),
            writes,
        });
        asks.push((action, file(login, &path)));
    }
    if asks.is_empty() {
        asks.push((action, file(login, &Path::unknown())));
    }
    asks
}

fn file(login: &Arc<str>, path: &Path) -> Resource {
    Resource::SshFile {
        login: login.clone(),
        path: path.text.clone(),
        known: path.known,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            (
                "rsync --server --sender -logDtpr . /srv",
                vec!["ssh:rsync_read /srv true"],
            ),
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
}
