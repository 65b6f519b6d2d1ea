//! Reads the SSH File Transfer Protocol, version 3, in flight.
//!
//! Place in the flow: the relay gives the bytes of a channel whose subsystem is `sftp` to [`Sftp`], both
//! directions, and does what the [`Effect`]s say.
//!
//! - `cut` finds where packets begin; `packet` reads them. Contents of files are never kept.
//! - `client` says of each request whether it passes, is to be decided, or is refused.
//! - `server` matches answers with requests, by number and type.
//! - `files` knows what each handle stands for, and what was transferred over it; `links`, which symbolic links
//!   were asked for.
//!
//! What passes without being asked about: INIT (as version 3 at most), REALPATH of the current directory (nothing
//! else tells what relative paths mean), limits@openssh.com, and what is done with a handle that was granted:
//! READ, WRITE, READDIR, FSTAT, CLOSE, fsync@, fstatvfs@, and FSETSTAT of sizes, times and ordinary modes on a
//! handle for writing. A handle is only good for what it was opened for.
//!
//! Architecture invariants:
//! - A request that is not laid out as its type says, to the last byte, ends the channel: the server could read
//!   something else in it.
//! - An answer has the number and a type of an open request that the server was sent.
//! - Whatever is opened, read or changed by path was permitted.
//! - A hash is of the file's first bytes in order, or there is none.
//!
//! Not seen from here: where a symbolic link leads ([`crate::transfer`]), and what else the server does with a file.

mod client;
mod cut;
mod error;
mod files;
mod links;
mod packet;
mod server;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

pub use error::{SftpError, Wrong};
pub use links::LINKS_MAX;
pub use packet::{CONTROL_MAX, HANDLE_MAX, PACKET_MAX};

use crate::transfer::{Answer, Effect, PATH_MAX, Path, Verdict, printable};
use crate::wire::Put;
use cut::Cutter;
use files::{FileId, Files, Spec};
use links::Links;

/// Requests that wait for an answer. OpenSSH's client has 64 on the way unless it is told otherwise.
pub const IN_FLIGHT_MAX: usize = 4096;
/// Files and directories that are open at once, or being opened.
pub const FILES_MAX: usize = 1024;
/// The reason of a refusal, in bytes.
const REASON_MAX: usize = 512;

/// One channel of the SFTP subsystem, both directions.
#[derive(Default)]
pub struct Sftp {
    phase: Phase,
    from_client: Cutter,
    from_server: Cutter,
    /// What becomes of the contents of a WRITE that are on their way.
    writing: Writing,
    /// Where the contents of a DATA on its way belong.
    reading: Option<Place>,
    live: HashMap<u32, Live>,
    tickets: HashMap<u64, u32>,
    next_ticket: u64,
    files: Files,
    cwd: Cwd,
    links: Links,
    /// Its SYMLINK names the link second, as OpenSSH's does; by the draft it is first.
    link_is_second: bool,
    /// Answers of our own that wait for the end of the server's packet.
    answers: VecDeque<(u32, Bytes)>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    #[default]
    Start,
    /// The client has said INIT.
    Asked,
    /// The server has said VERSION.
    Ready,
}

#[derive(Debug, Default, Clone, Copy)]
enum Writing {
    #[default]
    Nothing,
    To(Place),
    Dropped,
}

/// A place in a file.
#[derive(Debug, Clone, Copy)]
struct Place {
    file: FileId,
    offset: u64,
}

/// A request that has no answer yet.
#[derive(Debug)]
struct Live {
    expect: Expect,
    stage: Stage,
    /// It was asked about.
    ticket: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It is being decided, and has so many bytes.
    Asked(usize),
    Sent,
    /// Our own answer is on its way.
    Refused,
}

/// What the answer to a request can be, besides a status.
#[derive(Debug)]
enum Expect {
    /// Nothing else.
    Status,
    Handle(Spec),
    Data {
        place: Place,
        len: u32,
    },
    Written(FileId),
    Closed(FileId),
    Sized(FileId, u64),
    /// Of the file that was copied into.
    Copied(FileId),
    Attributes,
    Names,
    /// Of the current directory.
    Here,
    Extended,
    /// Of an extension that is not known: anything that grants no handle and holds no contents.
    Anything,
}

/// What relative paths begin with.
#[derive(Debug, Default)]
enum Cwd {
    #[default]
    Unknown,
    Is(String),
    /// The server has said different things.
    Doubtful,
}

impl Sftp {
    pub fn new() -> Self {
        Self::default()
    }

    /// The relay has decided about the request with this ticket. When it was permitted, its bytes have been sent.
    pub fn answer(
        &mut self,
        ticket: u64,
        verdict: Verdict<'_>,
        out: &mut Vec<Effect>,
    ) -> Result<(), SftpError> {
        let unknown = SftpError::Ticket(ticket);
        let id = self.tickets.remove(&ticket).ok_or(unknown.clone())?;
        let live = self.live.get_mut(&id).ok_or(unknown)?;
        match verdict {
            Verdict::Permit => live.stage = Stage::Sent,
            Verdict::Refuse(reason) => {
                if let Stage::Asked(bytes) = live.stage {
                    out.push(Effect::DropClient(bytes));
                }
                self.refuse(id, packet::FX_PERMISSION_DENIED, reason, out);
            }
        }
        Ok(())
    }

    /// The channel has ended: what is known about the files that are still open, and that nothing is known about what
    /// was sent and not answered.
    pub fn end(&mut self, out: &mut Vec<Effect>) {
        self.files.end(out);
        let sent = self.live.drain().map(|(_, live)| live);
        let mut left: Vec<u64> = sent
            .filter(|live| live.stage == Stage::Sent)
            .filter_map(|live| live.ticket)
            .collect();
        left.sort_unstable();
        self.tickets.clear();
        for ticket in left {
            let result = Answer::Unknown;
            out.push(Effect::Answered { ticket, result });
        }
    }

    /// Neither side is within a packet.
    pub fn is_idle(&self) -> bool {
        self.from_client.is_idle() && self.from_server.is_idle()
    }

    /// Answers the request `id` in the server's place.
    fn refuse(&mut self, id: u32, code: u32, reason: &str, out: &mut Vec<Effect>) {
        if let Some(live) = self.live.get_mut(&id) {
            live.stage = Stage::Refused;
            match live.expect {
                Expect::Handle(_) => self.files.opening = self.files.opening.saturating_sub(1),
                Expect::Sized(file, _) | Expect::Copied(file) => {
                    self.files.settle(file, out);
                }
                _ => {}
            }
        }
        self.answers.push_back((id, status(id, code, reason)));
        self.flush_answers(out);
    }

    /// Between two packets of the server's, our own answers go out. Before its VERSION nothing does.
    fn flush_answers(&mut self, out: &mut Vec<Effect>) {
        if self.phase != Phase::Ready || !self.from_server.at_boundary() {
            return;
        }
        for (id, bytes) in self.answers.drain(..) {
            self.live.remove(&id);
            out.push(Effect::InjectClient(bytes));
        }
    }

    fn path(&self, raw: &[u8]) -> Path {
        let cwd = match &self.cwd {
            Cwd::Is(cwd) => Some(cwd.as_str()),
            Cwd::Unknown | Cwd::Doubtful => None,
        };
        Path::resolve(raw, cwd)
    }

    /// The server says where it is.
    fn here(&mut self, path: &[u8]) {
        let path = std::str::from_utf8(path)
            .ok()
            .filter(|path| path.starts_with('/') && !path.contains('\0') && path.len() <= PATH_MAX);
        self.cwd = match (&self.cwd, path) {
            (Cwd::Unknown, Some(path)) => Cwd::Is(path.to_owned()),
            (Cwd::Is(known), Some(path)) if known == path => return,
            _ => Cwd::Doubtful,
        };
    }
}

/// How the request that `ticket` stands for ended.
fn answered(ticket: Option<u64>, code: u32, out: &mut Vec<Effect>) {
    let result = match code {
        packet::FX_OK => Answer::Done,
        code => Answer::Failed(code),
    };
    if let Some(ticket) = ticket {
        out.push(Effect::Answered { ticket, result });
    }
}

/// SSH_FXP_STATUS.
fn status(id: u32, code: u32, reason: &str) -> Bytes {
    let mut text = printable(reason.as_bytes());
    let mut end = text.len().min(REASON_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    let mut body = Vec::with_capacity(text.len() + 24);
    body.byte(packet::STATUS)
        .uint32(id)
        .uint32(code)
        .string(text.as_bytes())
        .string(b"en");
    let mut packet = Vec::with_capacity(body.len() + 4);
    packet.string(&body);
    packet.into()
}
