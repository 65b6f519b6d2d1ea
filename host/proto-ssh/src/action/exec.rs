//! What a command line runs, as facts and accesses; and how its channel is to be followed.

use std::sync::Arc;

use pipeline::{Action, Resource, SshCommand, SshFacts, SshHazard, SshKind, SshPath, SshStdin};
use shell::{Command, Hazard, Limits, Reading, Transfer, Word};

use super::text::readable;
use crate::gate::{Place, command_line, text_reaches};
use crate::scp;
use crate::transfer::Path;

/// What a command line, and what is fed to it, are read as.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub command: Arc<Reading>,
    /// What came for it on standard input, to its end, where it runs that.
    pub script: Option<Script>,
    pub sent: Sent,
    /// Why it is refused whatever policy says: it would reach the gate of another shell.
    pub reaches: Option<&'static str>,
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
    /// A verdict: bash on the host has the command already, and asks whether to run it.
    Verdict(Arc<Place>),
}

#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub bytes: bytes::Bytes,
    pub sha256: [u8; 32],
    /// None: it is for an interpreter that is no shell.
    pub reading: Option<Arc<Reading>>,
}

/// A command line, or the script of one, that is still to be read.
#[derive(Debug)]
pub(crate) struct Unread {
    text: bytes::Bytes,
    /// The line that runs this script.
    of: Option<Line>,
    /// Where a gated shell is that asks about it.
    place: Option<Place>,
    pin: bool,
}

/// So much is read within milliseconds, whatever it is made of. Of the longest texts, some take a hundred times that.
const SHORT: usize = 2 << 10;

impl Unread {
    /// `pin`: what is read is to be what runs.
    pub fn command(text: bytes::Bytes, pin: bool) -> Self {
        Self {
            text,
            of: None,
            place: None,
            pin,
        }
    }

    /// What comes on standard input of `of`.
    pub fn script(text: bytes::Bytes, of: Line) -> Self {
        Self {
            text,
            of: Some(of),
            place: None,
            pin: false,
        }
    }

    /// What a gated shell asks about.
    pub fn gated(text: bytes::Bytes, place: Place) -> Self {
        Self {
            text,
            of: None,
            place: Some(place),
            pin: false,
        }
    }

    /// Nobody has to wait for it.
    pub fn is_short(&self) -> bool {
        self.text.len() <= SHORT
    }

    pub fn read(self) -> Line {
        if let Some(line) = self.of {
            return line.with_script(self.text);
        }
        if let Some(place) = self.place {
            return Line::gated(&self.text, place);
        }
        let mut line = Line::read(&self.text);
        if self.pin {
            line.pin();
        }
        line
    }
}

/// Of a script, people are shown this much.
const SHOWN: usize = 64 << 10;

impl Line {
    pub fn read(command: &[u8]) -> Self {
        let reading = shell::read(command, &Limits::default());
        Self {
            reaches: text_reaches(command, Some(&reading)),
            command: Arc::new(reading),
            script: None,
            sent: Sent::AsItCame,
        }
    }

    /// A command that a gated shell asks about.
    pub fn gated(command: &bytes::Bytes, place: Place) -> Self {
        Self {
            sent: Sent::Verdict(Arc::new(place)),
            // The gate itself knows better.
            reaches: None,
            ..Self::read(&command_line(command))
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
        let reaches = self.reaches;
        Self {
            reaches: reaches.or_else(|| text_reaches(&bytes, reading.as_deref())),
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
        // In a gated shell nobody follows what goes over its terminal.
        let followed = plain && !matches!(self.sent, Sent::Verdict(_));
        let transfer = self.command.transfer.as_ref().filter(|_| followed)?;
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

    /// What only reads may do more where a person can type: pagers start shells.
    pub fn at_a_terminal(&self, facts: &mut SshFacts) {
        let scripts = self.script.iter().filter_map(|s| s.reading.as_deref());
        let readings = std::iter::once(&*self.command).chain(scripts);
        for (program, without) in readings.filter_map(Reading::pages) {
            facts.only_reads = false;
            facts.hazards.push(SshHazard {
                code: "escape".into(),
                program: program.into(),
                why: format!("its pager can start a shell; {without}").into(),
            });
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
        let begins = !matches!(&line.sent, Sent::Verdict(place) if place.directory.is_some());
        take_files(&mut facts, reading, begins);
    }
    if let Sent::Verdict(place) = &line.sent {
        take_place(&mut facts, place);
    }
    facts.code = reading.code;
    facts.only_reads = reading.only_reads && facts.opaque.is_empty();
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
    facts.stdin_open = line.transfer().is_none()
        && facts.stdin.is_none()
        && (reading.takes_stdin || reading.reads_stdin.is_some() || reading.is_opaque());
    if line.sent == Sent::Unpinned && facts.opaque.is_empty() {
        facts
            .opaque
            .push("it has no form that every host takes in the same way".into());
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

/// Whatever may be a path in it. `begins`: the shell stands where sshd starts it.
fn take_files(facts: &mut SshFacts, reading: &Reading, begins: bool) {
    let root = &*facts.login == "root";
    let hides = |path: &str| {
        let hidden = |part: &str| part.starts_with('.') && !matches!(part, "." | "..");
        path.split('/').any(hidden)
    };
    for (files, writes) in [(&reading.reads, false), (&reading.writes, true)] {
        let mut add = |path: &str| {
            facts.paths.push(SshPath {
                path: path.into(),
                writes,
            });
        };
        for path in &files.paths {
            add(path);
            let home = path
                .strip_prefix('~')
                .filter(|rest| rest.is_empty() || rest.starts_with('/'));
            if let Some(rest) = home.filter(|_| root) {
                add(&format!("/root{rest}"));
            }
            let relative = (!path.starts_with(['/', '~'])).then_some(path.as_str());
            let below = home.map(|rest| rest.trim_start_matches('/')).or(relative);
            if let Some(below) = below.filter(|path| begins && is_of_system(path)) {
                add(&format!("/{below}"));
            }
            // Of words that may be names, only those with a dot: by any other name everything would be there.
            if root && !writes && relative.is_some_and(hides) {
                add(&format!("/root/{path}"));
            }
        }
        // Of what is written, only what has such a name decides anything.
        for name in files.here.iter().filter(|_| root && begins) {
            if !writes || hides(name) {
                add(&format!("/root/{name}"));
            }
        }
        if files.unknown {
            add(UNKNOWN);
        }
    }
}

/// It is one of the system's where a login begins in `/`: that is the home of some, and where sshd stays when there is no
/// home.
fn is_of_system(path: &str) -> bool {
    const SYSTEM: &[&str] = &[
        "bin", "boot", "dev", "etc", "home", "lib", "lib64", "proc", "root", "run", "sbin", "sys",
        "usr", "var",
    ];
    let mut parts = path.split('/').filter(|p| !matches!(*p, "" | "."));
    parts.next().is_some_and(|first| SYSTEM.contains(&first)) && parts.next().is_some()
}

/// What a command touches by where it stands.
fn take_place(facts: &mut SshFacts, place: &Place) {
    let mut more: Vec<SshPath> = Vec::new();
    for SshPath { path, writes } in &facts.paths {
        let writes = *writes;
        let path = place.absolute(path).map(Arc::from);
        more.extend(path.map(|path| SshPath { path, writes }));
    }
    let unknown = place.directory.is_none().then_some(UNKNOWN);
    // What is no file, such as a socket, leads somewhere all the same.
    let files = place.open.iter().map(|file| match file.starts_with('/') {
        true => file.as_str(),
        false => UNKNOWN,
    });
    for path in files.chain(unknown) {
        more.extend([false, true].map(|writes| SshPath {
            path: path.into(),
            writes,
        }));
    }
    facts.paths.extend(more);
    for file in &place.open {
        let why = format!("{} is open around it", readable(file.as_bytes()));
        facts.opaque.push(why.into());
        facts.opaque_codes.push("open-file".into());
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
    take_files(facts, reading, true);
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
    // With all that is below, and where that is nobody knows.
    let recursive = matches!(
        transfer,
        Transfer::Scp {
            recursive: true,
            ..
        }
    ) && asks
        .iter()
        .any(|(_, on)| matches!(on, Resource::SshFile { known: false, .. }));
    if asks.is_empty() || recursive {
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
mod tests;
