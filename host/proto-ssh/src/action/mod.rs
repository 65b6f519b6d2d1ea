//! Channel and global requests as facts and accesses: what policy, plugins and people are shown of them.

mod ask;
mod text;

use std::sync::Arc;

use bytes::Bytes;
use pipeline::{Action, SshKind, SshPath};

pub(crate) use ask::{Parts, parts};
pub(crate) use text::printable;

/// Something that a client asks for.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub what: What,
    /// The channel's number on the client's side.
    pub channel: Option<u32>,
    pub before: Before,
}

/// What was set for a channel before.
#[derive(Debug, Clone, Default)]
pub(crate) struct Before {
    pub env: Arc<[(Bytes, Bytes)]>,
    /// The terminal that was asked for: all of the request's data.
    pub pty: Option<Bytes>,
}

#[derive(Debug, Clone)]
pub(crate) enum What {
    Exec {
        command: Bytes,
    },
    Shell,
    Subsystem {
        name: Bytes,
    },
    Env {
        name: Bytes,
        value: Bytes,
    },
    Pty {
        term: Bytes,
        whole: Bytes,
    },
    Agent,
    X11,
    DirectTcp {
        host: Bytes,
        port: u32,
    },
    DirectSocket {
        path: Bytes,
    },
    Tunnel {
        mode: u32,
        unit: u32,
    },
    ListenTcp {
        host: Bytes,
        port: u32,
    },
    ListenSocket {
        path: Bytes,
    },
    /// Part of a file transfer.
    File(FileAsk),
}

/// One request of a file transfer.
#[derive(Debug, Clone)]
pub(crate) struct FileAsk {
    pub kind: SshKind,
    /// For people.
    pub text: String,
    /// False: what it does cannot be told by reading it.
    pub known: bool,
    pub paths: Vec<SshPath>,
    /// Each path that it touches, by what is done with it; whether it begins at the root and is what it says.
    pub accesses: Vec<(Action, Arc<str>, bool)>,
    /// Every byte of it that changes its meaning.
    pub canonical: Bytes,
}
