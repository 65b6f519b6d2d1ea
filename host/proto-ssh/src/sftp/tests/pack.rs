//! Packets, and a reader with a policy that answers at once.

use bytes::Bytes;

use crate::sftp::{Sftp, SftpError, packet as p};
use crate::transfer::{Answer, Effect, FileDone, Request, Verdict};
use crate::wire::Put;

/// One packet: its type, and the fields behind the number of the request.
pub(super) fn packet(kind: u8, id: u32, fields: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut body = Vec::new();
    body.byte(kind).uint32(id);
    fields(&mut body);
    let mut packet = Vec::new();
    packet.string(&body);
    packet
}

pub(super) fn init() -> Vec<u8> {
    packet(p::INIT, 3, |_| {})
}

pub(super) fn version() -> Vec<u8> {
    packet(p::VERSION, 3, |_| {})
}

pub(super) fn path(kind: u8, id: u32, path: &str) -> Vec<u8> {
    packet(kind, id, |b| {
        b.string(path.as_bytes());
    })
}

pub(super) fn open(id: u32, path: &str, flags: u32) -> Vec<u8> {
    packet(p::OPEN, id, |b| {
        b.string(path.as_bytes()).uint32(flags).uint32(0);
    })
}

/// CLOSE, FSTAT, READDIR; or the server's HANDLE.
pub(super) fn handle(kind: u8, id: u32, handle: &[u8]) -> Vec<u8> {
    packet(kind, id, |b| {
        b.string(handle);
    })
}

pub(super) fn read(id: u32, handle: &[u8], offset: u64, len: u32) -> Vec<u8> {
    packet(p::READ, id, |b| {
        b.string(handle).uint64(offset).uint32(len);
    })
}

pub(super) fn write(id: u32, handle: &[u8], offset: u64, contents: &[u8]) -> Vec<u8> {
    packet(p::WRITE, id, |b| {
        b.string(handle).uint64(offset).string(contents);
    })
}

pub(super) fn data(id: u32, contents: &[u8]) -> Vec<u8> {
    packet(p::DATA, id, |b| {
        b.string(contents);
    })
}

pub(super) fn status(id: u32, code: u32) -> Vec<u8> {
    packet(p::STATUS, id, |b| {
        b.uint32(code).string(b"").string(b"");
    })
}

/// A reader, and what came out of it, put together.
#[derive(Default)]
pub(super) struct Run {
    pub(super) sftp: Sftp,
    /// Requests whose path is one of these are refused.
    pub(super) refuse: Vec<&'static str>,
    /// Requests are not answered at all.
    pub(super) hold: bool,
    pub(super) seen: Seen,
}

/// The streams as the two sides see them, and what was told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) server: Vec<u8>,
    pub(super) client: Vec<u8>,
    pub(super) asked: Vec<Request>,
    pub(super) answered: Vec<(u64, Answer)>,
    pub(super) done: Vec<FileDone>,
    pub(super) dropped: usize,
    pub(super) injected: usize,
}

impl Run {
    pub(super) fn client(&mut self, bytes: &[u8]) -> Result<(), SftpError> {
        let mut out = Vec::new();
        let result = self.sftp.client(Bytes::copy_from_slice(bytes), &mut out);
        self.take(out);
        result
    }

    pub(super) fn server(&mut self, bytes: &[u8]) -> Result<(), SftpError> {
        let mut out = Vec::new();
        let result = self.sftp.server(Bytes::copy_from_slice(bytes), &mut out);
        self.take(out);
        result
    }

    pub(super) fn decide(&mut self, ticket: u64, verdict: Verdict<'_>) -> Result<(), SftpError> {
        let mut out = Vec::new();
        let result = self.sftp.answer(ticket, verdict, &mut out);
        self.take(out);
        result
    }

    pub(super) fn end(&mut self) {
        let mut out = Vec::new();
        self.sftp.end(&mut out);
        self.take(out);
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::ToServer(bytes) => self.seen.server.extend_from_slice(&bytes),
                Effect::ToClient(bytes) => self.seen.client.extend_from_slice(&bytes),
                Effect::InjectClient(bytes) => {
                    self.seen.injected += bytes.len();
                    self.seen.client.extend_from_slice(&bytes);
                }
                Effect::DropClient(n) => self.seen.dropped += n,
                Effect::InjectServer(_) | Effect::DropServer(_) => unreachable!("sftp does not"),
                Effect::Answered { ticket, result } => self.seen.answered.push((ticket, result)),
                Effect::Done(done) => self.seen.done.push(done),
                Effect::Ask(request) => {
                    self.seen.asked.push(request.clone());
                    if self.hold {
                        continue;
                    }
                    let refused = request
                        .paths
                        .iter()
                        .any(|asked| self.refuse.contains(&&*asked.path.text));
                    let verdict = match refused {
                        true => Verdict::Refuse("no"),
                        false => {
                            self.seen.server.extend_from_slice(&request.raw);
                            Verdict::Permit
                        }
                    };
                    self.decide(request.ticket, verdict).unwrap();
                }
            }
        }
    }
}

/// A run after INIT and VERSION.
pub(super) fn ready() -> Run {
    let mut run = Run::default();
    run.client(&init()).unwrap();
    run.server(&version()).unwrap();
    run
}

/// A run in which `path` has been opened with `flags` and the handle `h`.
pub(super) fn opened(path: &str, flags: u32) -> Run {
    let mut run = ready();
    run.client(&open(1, path, flags)).unwrap();
    run.server(&handle(p::HANDLE, 1, b"h")).unwrap();
    run
}

/// The packets of a stream: type, number of the request, and the four bytes behind it.
pub(super) fn cut(mut stream: &[u8]) -> Vec<(u8, u32, u32)> {
    let mut all = Vec::new();
    let number = |at: &[u8]| at.first_chunk().map_or(0, |four| u32::from_be_bytes(*four));
    while !stream.is_empty() {
        let (packet, rest) = stream.split_at(4 + number(stream) as usize);
        all.push((packet[4], number(&packet[5..]), number(&packet[9..])));
        stream = rest;
    }
    all
}
