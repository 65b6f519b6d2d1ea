//! What the readers of file transfers (`sftp`, `scp`) have in common: what they tell the relay, what they ask it
//! to decide, and what is said about a file that was transferred.
//!
//! A reader is pure. Bytes of either side go in, and [`Effect`]s come out, in order. It never holds back the
//! contents of files; what waits for a decision waits at the caller:
//! - Effects towards one side are carried out in order. What comes behind an open [`Effect::Ask`] and goes the
//!   same way waits until it is answered. Several may be open at once.
//! - A request that is permitted is sent as it stands in [`Request::raw`], and `answer` is told. Of one that is
//!   refused nothing is sent: its bytes are given back to its sender's window, and the reader answers in the
//!   place of the one who should have got it.
//! - Windows: `DropClient` and `DropServer` are bytes of that side which nobody gets, to be given back to its
//!   window. `InjectClient` and `InjectServer` are bytes that the other side has not sent, and they use up a
//!   window all the same. The caller bounds how many of them wait for a window to open.
//!
//! What a path means is the server's business: a symbolic link cannot be seen from here. Paths are resolved as
//! far as their letters go ([`Path`]), and a policy about paths holds only as far as nobody can make a link at a
//! place where they may write. Where that counts, the account on the server must not be able to follow it. Nor is it
//! known whether a server takes `/ETC` for `/etc`, as those on Windows and macOS do.

mod hash;
mod path;

#[cfg(test)]
pub(crate) mod bridge;

use std::sync::Arc;

use bytes::Bytes;
use pipeline::{Action, Resource, SshFacts, SshKind, SshPath};

pub(crate) use hash::{Budget, Track};
pub use hash::{Content, Why};
pub use path::{PATH_MAX, Path, printable};

use crate::wire::Put;

/// What a reader of a file transfer wants done.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// The client's own bytes, for the server.
    ToServer(Bytes),
    /// The server's own bytes, for the client.
    ToClient(Bytes),
    /// Bytes that the server has not sent, for the client.
    InjectClient(Bytes),
    /// Bytes that the client has not sent, for the server.
    InjectServer(Bytes),
    /// So many bytes of the client's go nowhere.
    DropClient(usize),
    /// So many bytes of the server's go nowhere.
    DropServer(usize),
    /// To be decided.
    Ask(Request),
    /// What came of a request that was permitted; of a file or directory that was opened, once it is closed.
    Answered {
        ticket: u64,
        result: Answer,
    },
    Done(FileDone),
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Done,
    /// The other side says that it failed; the number is the protocol's own.
    Failed(u32),
    /// The channel ended before.
    Unknown,
}

/// Where the bytes of a request go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    ToServer,
    ToClient,
}

/// What is decided about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict<'a> {
    Permit,
    /// With the reason that the client is told.
    Refuse(&'a str),
}

/// One thing that a client asks of files, for the policy to decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// For `answer`; never used twice on a channel.
    pub ticket: u64,
    pub way: Way,
    pub kind: Kind,
    pub paths: Vec<Asked>,
    pub attributes: Attributes,
    /// Why it cannot be told what it does; empty: it can.
    pub opaque: Vec<Arc<str>>,
    /// All bytes of it, as they are sent when it is permitted.
    pub raw: Bytes,
}

/// A path, and what happens to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub path: Path,
    pub touch: Touch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touch {
    /// Names, sizes, attributes.
    List,
    Read,
    Write,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Open,
    ListDirectory,
    Stat,
    /// Of a symbolic link itself.
    StatLink,
    ReadLink,
    RealPath,
    Remove,
    MakeDirectory,
    RemoveDirectory,
    Rename,
    SetAttributes,
    SymbolicLink,
    HardLink,
    Copy,
    FileSystem,
    AccountNames,
    Home,
    /// An extension that nothing here knows.
    Unknown(Arc<str>),
    /// One file by scp.
    ScpFile,
    /// One directory by scp.
    ScpDirectory,
}

impl Kind {
    pub fn as_str(&self) -> &str {
        match self {
            Self::Open => "open",
            Self::ListDirectory => "list",
            Self::Stat => "stat",
            Self::StatLink => "lstat",
            Self::ReadLink => "readlink",
            Self::RealPath => "realpath",
            Self::Remove => "remove",
            Self::MakeDirectory => "mkdir",
            Self::RemoveDirectory => "rmdir",
            Self::Rename => "rename",
            Self::SetAttributes => "set attributes",
            Self::SymbolicLink => "symlink",
            Self::HardLink => "hardlink",
            Self::Copy => "copy",
            Self::FileSystem => "df",
            Self::AccountNames => "names of accounts",
            Self::Home => "home directory",
            Self::Unknown(name) => name,
            Self::ScpFile => "scp file",
            Self::ScpDirectory => "scp directory",
        }
    }
}

/// What a request gives a file besides its contents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes {
    pub size: Option<u64>,
    pub owner: Option<(u32, u32)>,
    pub mode: Option<u32>,
    /// Attributes that are named by extensions, which nothing here reads.
    pub extended: bool,
}

/// setuid and setgid.
const OTHERS_RIGHTS: u32 = 0o6000;

impl Attributes {
    /// Whoever runs the file gets the rights of its owner or group.
    pub fn lends_rights(&self) -> bool {
        self.mode.is_some_and(|mode| mode & OTHERS_RIGHTS != 0)
    }

    /// More than a size, times and an ordinary mode.
    pub fn is_special(&self) -> bool {
        self.lends_rights() || self.owner.is_some()
    }
}

/// Why it cannot be told what becomes of `paths`, and of a file that is given `attributes`.
pub(crate) fn doubts(paths: &[Asked], attributes: &Attributes) -> Vec<&'static str> {
    let mut doubts = Vec::new();
    if paths.iter().any(|asked| !asked.path.known) {
        doubts.push("a path of which it is not known where it begins, or that is not UTF-8");
    }
    // Looking is how clients find out where that is.
    let touched = |asked: &Asked| asked.path.climbs && asked.touch != Touch::List;
    if paths.iter().any(touched) {
        doubts.push(
            "a path that goes up from a directory that it names, and leads elsewhere if that is a symbolic link",
        );
    }
    // To a server on Windows it is another slash.
    let slash = |asked: &Asked| asked.path.text.contains('\\') && asked.touch != Touch::List;
    if paths.iter().any(slash) {
        doubts.push("a path with a backslash, which on some hosts is another slash");
    }
    if attributes.lends_rights() {
        doubts.push("a mode that lends whoever runs the file the rights of its owner or group");
    }
    if attributes.extended {
        doubts.push("attributes that are not known");
    }
    doubts
}

impl Request {
    /// It can be told what it does.
    pub fn known(&self) -> bool {
        self.opaque.is_empty()
    }

    fn is_scp(&self) -> bool {
        matches!(self.kind, Kind::ScpFile | Kind::ScpDirectory)
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = printable(self.kind.as_str().as_bytes());
        for asked in &self.paths {
            let how = match asked.touch {
                Touch::List => "",
                Touch::Read => " (read)",
                Touch::Write => " (write)",
            };
            text += &format!(" {}{how}", printable(asked.path.text.as_bytes()));
        }
        if let Some(mode) = self.attributes.mode {
            text += &format!(" mode {mode:04o}");
        }
        if let Some((user, group)) = self.attributes.owner {
            text += &format!(" owner {user}:{group}");
        }
        if let Some(size) = self.attributes.size {
            text += &format!(" size {size}");
        }
        text
    }

    /// Every byte of it that changes its meaning: neither the number that the client gave it, which differs each
    /// time, nor what was resolved when it came is left to be guessed.
    pub fn canonical(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.raw.len() + 64);
        match self.is_scp() {
            true => bytes.string(&self.raw),
            // Type; what follows the number.
            false => bytes
                .string(self.raw.get(4..5).unwrap_or_default())
                .string(self.raw.get(9..).unwrap_or_default()),
        };
        for asked in &self.paths {
            let touch = match asked.touch {
                Touch::List => 0,
                Touch::Read => 1,
                Touch::Write => 2,
            };
            bytes.byte(touch).flag(asked.path.known);
            bytes.string(asked.path.text.as_bytes());
        }
        bytes
    }

    pub fn facts(&self, login: &Arc<str>, channel: u32) -> SshFacts {
        let kind = if self.is_scp() {
            SshKind::Scp
        } else {
            SshKind::Sftp
        };
        let mut facts = SshFacts::plain(kind, login.clone(), self.text().into());
        facts.channel = Some(channel);
        facts.parsed = self.known();
        facts.opaque = self.opaque.clone();
        facts.only_reads = self.known() && self.paths.iter().all(|p| p.touch != Touch::Write);
        for asked in &self.paths {
            facts.paths.push(SshPath {
                path: asked.path.text.clone(),
                writes: asked.touch == Touch::Write,
            });
        }
        facts
    }

    /// What has to be permitted, all of it. Never empty: where nothing is known, something is written somewhere.
    pub fn accesses(&self, login: &Arc<str>) -> Vec<(Action, Resource)> {
        let access = |touch: Touch, path: &Path| {
            let action = match (self.is_scp(), touch) {
                (false, Touch::List) => Action::SshSftpList,
                (false, Touch::Read) => Action::SshSftpRead,
                (false, Touch::Write) => Action::SshSftpWrite,
                (true, Touch::List | Touch::Read) => Action::SshScpRead,
                (true, Touch::Write) => Action::SshScpWrite,
            };
            let file = Resource::SshFile {
                login: login.clone(),
                path: path.text.clone(),
                known: path.known,
            };
            (action, file)
        };
        let mut all: Vec<_> = self
            .paths
            .iter()
            .map(|asked| access(asked.touch, &asked.path))
            .collect();
        if all.is_empty() || matches!(self.kind, Kind::Unknown(_)) {
            all.push(access(Touch::Write, &Path::unknown()));
        }
        all
    }
}

/// What was transferred of one file over one handle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileDone {
    /// Of the request that opened it.
    pub ticket: u64,
    pub path: Path,
    pub direction: Direction,
    /// That passed here, each byte as often as it passed.
    pub bytes: u64,
    pub content: Content,
}

impl FileDone {
    /// For people and the record.
    pub fn detail(&self) -> String {
        let verb = match self.direction {
            Direction::Read => "read",
            Direction::Write => "wrote",
        };
        let what = match self.content {
            Content::Hashed { sha256, whole } => {
                let part = if whole {
                    ""
                } else {
                    " (perhaps not all of the file)"
                };
                format!("sha256 {}{part}", hex::encode(sha256))
            }
            Content::Unhashed(why) => format!("no hash: {}", why.as_str()),
        };
        format!("{verb} {} bytes, {what}", self.bytes)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the server to the client.
    Read,
    /// From the client to the server.
    Write,
}
