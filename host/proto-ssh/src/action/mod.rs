//! Channel and global requests as facts and accesses: what policy, plugins and people are shown of them.

mod ask;
mod exec;
mod host;
mod text;
mod unasked;

use std::sync::Arc;

use bytes::Bytes;
use pipeline::SshFacts;

use crate::transfer::Request;
use crate::wire::Reader;

pub(crate) use ask::{Parts, parts};
pub(crate) use exec::{Line, Sent, Unread};
pub(crate) use host::one_name;
pub(crate) use text::{printable, readable};
#[cfg(test)]
pub(crate) use unasked::Tried;
pub(crate) use unasked::Turned;

/// The facts about a command line, and about a script for it on standard input, for whoever wants to try on them
/// what judges them.
pub fn command_facts(command: &[u8], script: Option<&[u8]>, login: &str) -> SshFacts {
    let mut line = Line::read(command);
    if let Some(script) = script {
        line = line.with_script(Bytes::copy_from_slice(script));
    }
    exec::exec(command, &line, &login.into()).0
}

/// Something that a client asks for.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub what: What,
    /// The channel's number on the client's side.
    pub channel: Option<u32>,
    pub before: Before,
}

impl Asked {
    /// With nothing set before.
    pub fn alone(what: What, channel: Option<u32>) -> Self {
        Self {
            what,
            channel,
            before: Before::default(),
        }
    }
}

/// What was set for a channel before.
#[derive(Debug, Clone, Default)]
pub(crate) struct Before {
    pub env: Arc<[(Bytes, Bytes)]>,
    /// The terminal that was asked for: all of the request's data.
    pub pty: Option<Bytes>,
    /// The width that the terminal has got since.
    pub resized: Option<u32>,
}

impl Before {
    /// The width of the terminal, if there is one.
    pub fn columns(&self) -> Option<u32> {
        let mut r = Reader::new(self.pty.as_ref()?);
        r.string().ok()?;
        self.resized.or(r.u32().ok())
    }

    /// The byte by which who types interrupts what runs, where the terminal that was asked for has one.
    pub fn interrupt(&self) -> Option<u8> {
        let mut r = Reader::new(self.pty.as_ref()?);
        r.string().ok()?;
        for _ in 0..4 {
            r.u32().ok()?;
        }
        let mut modes = Reader::new(r.string().unwrap_or_default());
        let (mut byte, mut signals) = (CTRL_C, true);
        // RFC 4254 section 8: what ends them, or is of another kind, is no mode.
        while let Ok(mode @ 1..160) = modes.u8() {
            let Ok(value) = modes.u32() else { break };
            match mode {
                VINTR => byte = value,
                ISIG => signals = value != 0,
                _ => {}
            }
        }
        // 255: there is none.
        u8::try_from(byte).ok().filter(|b| signals && *b != 255)
    }
}

/// Modes of terminals, and what is there without them.
const VINTR: u8 = 1;
const ISIG: u8 = 50;
const CTRL_C: u32 = 3;

#[derive(Debug, Clone)]
pub(crate) enum What {
    Exec {
        command: Bytes,
        line: Line,
    },
    Shell {
        /// Every command of it is asked about.
        gated: bool,
    },
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
    File(Box<Request>),
}
