//! What a command line runs, as facts and accesses; and how its channel is to be followed.

use std::sync::Arc;

use pipeline::{Action, Resource, SshCommand, SshFacts, SshHazard, SshKind, SshPath, SshStdin};
use shell::{Command, Hazard, Limits, Reading, Transfer, Word};

use super::text::readable;
use crate::scp;
use crate::transfer::Path;

/// What a command line, and what is fed to it, are read as.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub command: Arc<Reading>,
    /// What came for it on standard input, to its end, where it runs that.
    pub script: Option<Script>,
    pub sent: Sent,
}

/// What the host is given. A reading is one of bash, and who logs in may have any other shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The bytes of the client: only where nothing hangs on what they run.
    AsItCame,
    /// What was read, written so that every shell runs that.
    Pinned(bytes::Bytes),
    /// The bytes of the client, because nothing else can be written for them: nobody knows what they run.
    Unpinned,
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
            sent: Sent::AsItCame,
        }
    }

    /// What is read is what runs, from here on.
    pub fn pin(&mut self) {
        self.sent = match self.plain().or_else(|| self.command.pinned()) {
            Some(text) => Sent::Pinned(text.into()),
            None => Sent::Unpinned,
        };
    }

    /// A transfer in words that every shell takes as they stand: restricted shells and forced commands know it by
    /// these, and not when something stands around them.
    fn plain(&self) -> Option<Vec<u8>> {
        let transfer = self.transfer()?;
        let argv = &self.command.commands.first()?.argv;
        let canonical = str::from_utf8(self.command.canonical.as_deref()?).ok()?;
        let words: Vec<String> = argv.iter().map(|word| shell::quote(&word.text)).collect();
        let literal = argv.iter().all(is_literal) && words.join(" ") == canonical;
        let (last, first) = words.split_last().filter(|_| literal)?;
        let is_plain = |text: &&str| !text.is_empty() && !text.starts_with('=');
        let bare = |words: &[String], argv: &[Word]| {
            let texts = argv.iter().map(|word| word.text.as_str());
            words.iter().zip(texts).all(|(w, t)| w == t && is_plain(&t))
        };
        if let Transfer::Git { repository, .. } = transfer {
            // As git writes it, because git's own shell wants the quotes.
            let odd = |c: char| c.is_control() || matches!(c, '\'' | '\\' | '!');
            let fits = bare(first, argv) && !repository.text.contains(odd);
            return fits.then(|| format!("{} '{}'", first.join(" "), repository.text).into_bytes());
        }
        (bare(first, argv) && bare(std::slice::from_ref(last), argv.get(first.len()..)?))
            .then(|| canonical.as_bytes().to_vec())
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
            sent: self.sent.clone(),
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
    if line.transfer().is_none() {
        take_files(&mut facts, reading);
    }
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
            facts.opaque_codes.push("typed".into());
        }
        (None, None) => {}
    }
    if line.sent == Sent::Unpinned && facts.opaque.is_empty() {
        facts.opaque.push("shells read it in different ways".into());
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
    let codes = reading.opaque.iter().map(|why| why.code().into());
    facts.opaque_codes.extend(codes);
    facts.hazards.extend(reading.hazards.iter().map(hazard));
    facts.commands.extend(reading.commands.iter().map(said));
}

/// Stands for a path that is known only when the line runs. Policies look for it among the parts of paths; a file
/// that is called so is taken for unknown, too.
const UNKNOWN: &str = "…";

/// Whatever may be a path in it.
fn take_files(facts: &mut SshFacts, reading: &Reading) {
    let root = &*facts.login == "root";
    for (files, writes) in [(&reading.reads, false), (&reading.writes, true)] {
        let mut add = |path: &str| {
            facts.paths.push(SshPath {
                path: path.into(),
                writes,
            });
        };
        for path in &files.paths {
            add(path);
            if let Some(rest) = path.strip_prefix('~').filter(|_| root)
                && (rest.is_empty() || rest.starts_with('/'))
            {
                add(&format!("/root{rest}"));
            }
        }
        if files.unknown {
            add(UNKNOWN);
        }
    }
}

fn hazard(hazard: &Hazard) -> SshHazard {
    SshHazard {
        code: hazard.code.into(),
        program: hazard.program.as_str().into(),
        why: hazard.why.as_str().into(),
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

/// `/usr/bin/../../tmp/x` is `/tmp/x`, as far as letters tell; with links in between it may be anything.
fn program(login: &Arc<str>, path: &str, known: bool) -> (Action, Resource) {
    let climbs = path.split('/').any(|part| part == "..");
    let path: Arc<str> = match path.starts_with('/') {
        true => Path::resolve(path.as_bytes(), None).text,
        false => path.into(),
    };
    let name = path.rsplit('/').next().unwrap_or_default();
    let resource = Resource::SshProgram {
        login: login.clone(),
        name: name.into(),
        known: known && !climbs && !name.is_empty(),
        path: path.clone(),
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
    take_files(facts, reading);
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
            let codes = dangerous.iter().map(|_| "transfer-option".into());
            facts.opaque_codes.extend(codes);
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
            // Every request of it is asked about. Where it starts is known.
            let start = Path {
                text: ".".into(),
                known: true,
                ..Path::unknown()
            };
            return vec![(Action::SshSftpList, file(login, &start))];
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
            ("/usr/lib/openssh/sftp-server", vec!["ssh:sftp_list . true"]),
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
        has("cat ~/x", "~/x", false);
        has("tee -a /etc/passwd", "/etc/passwd", true);
        has("cat < /etc/shad?w", UNKNOWN, false);
        has("cp x $X", UNKNOWN, true);
        let line = Line::read(b"bash -s").with_script(b"cat /etc/shadow\n"[..].into());
        let (facts, _) = exec(b"bash -s", &line, &"bob".into());
        assert!(facts.paths.iter().any(|p| &*p.path == "/etc/shadow"));
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
            Sent::AsItCame | Sent::Unpinned => None,
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
        for (command, expect) in [
            ("scp -t /srv/x", "scp -t /srv/x"),
            ("scp  '-t' \"/srv/x\"", "scp -t /srv/x"),
            (
                "scp -f '/srv/a b'",
                "exec /bin/sh -c 'scp -f '\\''/srv/a b'\\'",
            ),
            ("scp -f /srv/*", "exec /bin/sh -c 'scp -f /srv/*'"),
            ("scp -t =x", "exec /bin/sh -c 'scp -t =x'"),
            ("git-receive-pack '/a b.git'", "git-receive-pack '/a b.git'"),
            ("git-upload-pack a.git", "git-upload-pack 'a.git'"),
            ("/usr/lib/sftp-server", "/usr/lib/sftp-server"),
            ("ls /srv", "exec /bin/sh -c 'ls /srv'"),
        ] {
            assert_eq!(sent(command).as_deref(), Some(expect), "{command}");
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
}
