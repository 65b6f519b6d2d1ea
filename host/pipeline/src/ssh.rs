//! What an SSH channel is asked to do, as far as reading it can tell.

use std::sync::Arc;

/// The kind of an action on an SSH connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SshKind {
    /// A shell on a terminal or without one.
    Shell,
    /// A command line.
    Exec,
    Subsystem,
    Pty,
    Env,
    /// One request of the SSH File Transfer Protocol.
    Sftp,
    Scp,
    Rsync,
    Git,
    /// A connection, or a listener for connections, through the host.
    Forward,
    Agent,
    X11,
    Tunnel,
    /// Nothing that anybody knows: it is refused, and policy is not asked.
    Unknown,
}

impl SshKind {
    /// What policy is asked about.
    pub const ALL: [Self; 13] = [
        Self::Shell,
        Self::Exec,
        Self::Subsystem,
        Self::Pty,
        Self::Env,
        Self::Sftp,
        Self::Scp,
        Self::Rsync,
        Self::Git,
        Self::Forward,
        Self::Agent,
        Self::X11,
        Self::Tunnel,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shell => "shell",
            Self::Exec => "exec",
            Self::Subsystem => "subsystem",
            Self::Pty => "pty",
            Self::Env => "env",
            Self::Sftp => "sftp",
            Self::Scp => "scp",
            Self::Rsync => "rsync",
            Self::Git => "git",
            Self::Forward => "forward",
            Self::Agent => "agent",
            Self::X11 => "x11",
            Self::Tunnel => "tunnel",
            Self::Unknown => "unknown",
        }
    }
}

/// One program that a command line runs, wrappers taken off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshCommand {
    /// Quotes removed. A word that is only known when it runs stands as it is written, and `dynamic` is set.
    pub argv: Vec<Arc<str>>,
    /// Programs that run it, the outermost first: `sudo`, `env`, `xargs`, `sh`.
    pub by: Vec<Arc<str>>,
    /// Some word of it is known only when it runs.
    pub dynamic: bool,
    /// With whose rights, where `sudo` or its like says so.
    pub as_user: Option<Arc<str>>,
}

/// A path that an action reads or writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshPath {
    pub path: Arc<str>,
    pub writes: bool,
}

/// Something about a command that a classifier wants to know: it connects to other hosts, it can start a shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshHazard {
    /// For programs: `network`, `secret-file`, …
    pub code: Arc<str>,
    pub program: Arc<str>,
    /// What it is about, such as a path, or how.
    pub why: Arc<str>,
}

/// What a command is given on its standard input before it is decided on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshStdin {
    /// SHA-256.
    pub sha256: [u8; 32],
    pub bytes: u64,
    /// For people: the text, cut off at a limit.
    pub text: Arc<str>,
}

/// Facts about one action on an SSH connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshFacts {
    pub kind: SshKind,
    /// The channel's number on the client's side; none for global requests.
    pub channel: Option<u32>,
    pub login: Arc<str>,
    /// The command line, subsystem, path, endpoint or variable as it was sent, for people; what is not UTF-8
    /// is escaped. An approval is bound to the bytes, not to this.
    pub text: Arc<str>,
    /// False: what it does cannot be told by reading it, and a guard refuses or holds it.
    pub parsed: bool,
    /// Why it cannot be told, for people.
    pub opaque: Vec<Arc<str>>,
    /// The same for programs: codes such as `fed`, as far as there are any for it.
    pub opaque_codes: Vec<Arc<str>>,
    pub commands: Vec<SshCommand>,
    pub hazards: Vec<SshHazard>,
    /// Code for interpreters that stands in the command line itself: `python3 -c`, `awk`.
    pub code: bool,
    /// Text runs on the host that came over the wire: it is decided on with it.
    pub stdin: Option<SshStdin>,
    /// It may read its standard input, and what comes there is not known when it is decided on: no approval is for
    /// that.
    pub stdin_open: bool,
    pub paths: Vec<SshPath>,
    /// What the client set for this channel before, in order.
    pub env: Vec<(Arc<str>, Arc<str>)>,
    pub pty: bool,
    /// As far as reading it can tell, nothing is changed by it.
    pub only_reads: bool,
}

impl SshFacts {
    /// Facts about something of which nothing is known but its text.
    pub fn opaque(kind: SshKind, login: Arc<str>, text: Arc<str>, why: &str) -> Self {
        Self {
            parsed: false,
            opaque: vec![why.into()],
            ..Self::plain(kind, login, text)
        }
    }

    /// Facts about something that says all there is to say by itself.
    pub fn plain(kind: SshKind, login: Arc<str>, text: Arc<str>) -> Self {
        Self {
            kind,
            channel: None,
            login,
            text,
            parsed: true,
            opaque: Vec::new(),
            opaque_codes: Vec::new(),
            commands: Vec::new(),
            hazards: Vec::new(),
            code: false,
            stdin: None,
            stdin_open: false,
            paths: Vec::new(),
            env: Vec::new(),
            pty: false,
            only_reads: false,
        }
    }
}
