//! Reads a file transfer in flight, has each request decided, and puts down what was transferred.
//!
//! The reader may ask about several requests before the first is answered; the relay is asked about one at a time,
//! and what goes the same way behind it waits here. That is bounded: while something is asked, the relay gives no
//! more of the client's bytes, and the server's are bounded by the client's window.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use pipeline::{Resource, SshFacts};

use crate::action::FileAsk;
use crate::relay::core::tap::{Stream, Tap, TapAsk, TapDone, TapError, TapOut};
use crate::scp::Scp;
use crate::sftp::Sftp;
use crate::transfer::{
    Answer, Content, Direction, Effect, FileDone, Kind, Request, Touch, Verdict, Way, Why,
};

/// Files that are open at once, by either reader: [`crate::sftp::FILES_MAX`] and one more.
const OPEN_MAX: usize = 2_048;

enum Reader {
    Sftp(Box<Sftp>),
    Scp(Box<Scp>),
}

/// What waits for its turn on the way to one side.
enum Item {
    Own(Bytes),
    Added(Bytes),
    Ask(Box<Request>),
}

/// A file that was permitted and is open.
struct Open {
    ticket: u64,
    path: Arc<str>,
    direction: Direction,
}

pub(in crate::relay) struct TransferTap {
    reader: Reader,
    login: Arc<str>,
    to_server: VecDeque<Item>,
    to_client: VecDeque<Item>,
    /// What the relay is being asked about.
    asked: Option<Box<Request>>,
    /// Requests that were permitted and are not answered: what is opened by them.
    sent: Vec<(u64, Vec<Open>)>,
    open: Vec<Open>,
}

impl TransferTap {
    pub fn sftp(login: &Arc<str>) -> Self {
        Self::new(Reader::Sftp(Box::default()), login)
    }

    pub fn scp(scp: Scp, login: &Arc<str>) -> Self {
        Self::new(Reader::Scp(Box::new(scp)), login)
    }

    fn new(reader: Reader, login: &Arc<str>) -> Self {
        Self {
            reader,
            login: login.clone(),
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
            asked: None,
            sent: Vec::new(),
            open: Vec::new(),
        }
    }

    /// Sorts what the reader wants by where it goes.
    fn take(&mut self, effects: Vec<Effect>, out: &mut TapOut) {
        for effect in effects {
            match effect {
                Effect::ToServer(bytes) => self.to_server.push_back(Item::Own(bytes)),
                Effect::InjectServer(bytes) => self.to_server.push_back(Item::Added(bytes)),
                Effect::ToClient(bytes) => self.to_client.push_back(Item::Own(bytes)),
                Effect::InjectClient(bytes) => self.to_client.push_back(Item::Added(bytes)),
                Effect::DropClient(n) => out.dropped.push((Stream::Input, n as u64)),
                Effect::DropServer(n) => out.dropped.push((Stream::Output, n as u64)),
                Effect::Ask(request) => {
                    let way = match request.way {
                        Way::ToServer => &mut self.to_server,
                        Way::ToClient => &mut self.to_client,
                    };
                    way.push_back(Item::Ask(Box::new(request)));
                }
                Effect::Answered { ticket, result } => self.answered(ticket, result, out),
                Effect::Done(done) => self.file_done(&done, out),
            }
        }
        self.pump(out);
    }

    /// Lets go of everything up to the next question.
    fn pump(&mut self, out: &mut TapOut) {
        let ways = [
            (Stream::Input, &mut self.to_server),
            (Stream::Output, &mut self.to_client),
        ];
        for (stream, queue) in ways {
            // Behind what is being asked about, nothing goes the same way.
            let waits = self.asked.as_ref().is_some_and(|r| stream_of(r) == stream);
            while !waits && let Some(item) = queue.pop_front() {
                match item {
                    Item::Own(bytes) => out.pieces.push((stream, bytes)),
                    Item::Added(bytes) => {
                        out.added.push((stream, bytes.len() as u64));
                        out.pieces.push((stream, bytes));
                    }
                    Item::Ask(request) if self.asked.is_none() => {
                        out.ask = Some(TapAsk {
                            id: request.ticket,
                            asked: file_ask(&request, &self.login),
                            forward: request.raw.clone(),
                        });
                        self.asked = Some(request);
                        break;
                    }
                    Item::Ask(request) => {
                        queue.push_front(Item::Ask(request));
                        break;
                    }
                }
            }
        }
    }

    /// A file stays open behind its answer; everything else is over with it.
    fn answered(&mut self, ticket: u64, result: Answer, out: &mut TapOut) {
        let at = self.sent.iter().position(|(sent, _)| *sent == ticket);
        let opens = at.map(|at| self.sent.swap_remove(at).1);
        match result {
            Answer::Done => match opens.filter(|opens| !opens.is_empty()) {
                Some(opens) if self.open.len() < OPEN_MAX => self.open.extend(opens),
                _ => out.done.push(ended(ticket, true, String::new(), 0)),
            },
            Answer::Failed(code) => {
                out.done
                    .push(ended(ticket, false, format!("status {code}"), 0));
            }
        }
    }

    fn file_done(&mut self, done: &FileDone, out: &mut TapOut) {
        let is_it = |open: &Open| open.path == done.path.text && open.direction == done.direction;
        let Some(at) = self.open.iter().position(is_it) else {
            // It was asked about as something else, which has its end: a copy, or a look at both ways.
            return;
        };
        let Open { ticket, .. } = self.open.swap_remove(at);
        let (ok, detail) = told(done);
        // Opened both ways, it has two ends, and the first is told: the other adds nothing to what was decided.
        self.open.retain(|open| open.ticket != ticket);
        out.done.push(ended(ticket, ok, detail, done.bytes));
    }

    fn fail(error: impl std::fmt::Display) -> TapError {
        TapError(format!("the file transfer cannot be followed: {error}"))
    }
}

fn stream_of(request: &Request) -> Stream {
    match request.way {
        Way::ToServer => Stream::Input,
        Way::ToClient => Stream::Output,
    }
}

fn ended(id: u64, ok: bool, detail: String, bytes: u64) -> TapDone {
    TapDone {
        id,
        ok,
        detail,
        bytes,
    }
}

/// What was transferred, for the record.
fn told(done: &FileDone) -> (bool, String) {
    let way = match done.direction {
        Direction::Read => "read",
        Direction::Write => "written",
    };
    let content = match done.content {
        Content::Hashed { sha256, whole } => {
            let part = if whole { "" } else { " (not the whole file)" };
            format!("SHA-256 {}{part}", hex::encode(sha256))
        }
        Content::Unhashed(why) => format!("no hash: {}", reason(why)),
    };
    let failed = matches!(done.content, Content::Unhashed(Why::Failed));
    (!failed, format!("{} bytes {way}, {content}", done.bytes))
}

fn reason(why: Why) -> &'static str {
    match why {
        Why::Nothing => "nothing was transferred",
        Why::NotFromStart => "it did not begin at the first byte",
        Why::Gaps => "bytes in between were left out",
        Why::Again => "bytes were transferred more than once",
        Why::Appended => "the host appended them",
        Why::Changed => "the host changed the file itself",
        Why::Failed => "a write failed",
        Why::Unfinished => "it ended before its end",
        Why::OutOfOrder => "too much came out of order",
    }
}

fn file_ask(request: &Request, login: &Arc<str>) -> FileAsk {
    let SshFacts {
        kind,
        text,
        parsed,
        paths,
        ..
    } = request.facts(login, 0);
    let accesses = request.accesses(login).into_iter();
    let accesses = accesses.filter_map(|(action, resource)| match resource {
        Resource::SshFile { path, known, .. } => Some((action, path, known)),
        _ => None,
    });
    FileAsk {
        kind,
        text: text.to_string(),
        known: parsed,
        paths,
        accesses: accesses.collect(),
        canonical: request.raw.clone(),
    }
}

impl Tap for TransferTap {
    fn push(
        &mut self,
        stream: Stream,
        data: Bytes,
        _: Instant,
        out: &mut TapOut,
    ) -> Result<(), TapError> {
        let mut effects = Vec::new();
        match (&mut self.reader, stream) {
            // Words for people: no part of the protocol.
            (_, Stream::Errors) => out.pieces.push((stream, data)),
            (Reader::Sftp(sftp), Stream::Input) => {
                sftp.client(data, &mut effects).map_err(Self::fail)?;
            }
            (Reader::Sftp(sftp), Stream::Output) => {
                sftp.server(data, &mut effects).map_err(Self::fail)?;
            }
            (Reader::Scp(scp), Stream::Input) => {
                scp.client(data, &mut effects).map_err(Self::fail)?;
            }
            (Reader::Scp(scp), Stream::Output) => {
                scp.server(data, &mut effects).map_err(Self::fail)?;
            }
        }
        self.take(effects, out);
        Ok(())
    }

    fn answer(
        &mut self,
        answer: Result<Bytes, String>,
        _: Instant,
        out: &mut TapOut,
    ) -> Result<(), TapError> {
        let Some(request) = self.asked.take() else {
            return Err(TapError("an answer to nothing".to_owned()));
        };
        let mut effects = Vec::new();
        let ticket = request.ticket;
        let verdict = match &answer {
            Ok(bytes) => {
                out.pieces.push((stream_of(&request), bytes.clone()));
                self.sent.push((ticket, opens(&request)));
                Verdict::Permit
            }
            Err(reason) => Verdict::Refuse(reason),
        };
        match &mut self.reader {
            Reader::Sftp(sftp) => sftp
                .answer(ticket, verdict, &mut effects)
                .map_err(Self::fail)?,
            Reader::Scp(scp) => scp
                .answer(ticket, verdict, &mut effects)
                .map_err(Self::fail)?,
        }
        self.take(effects, out);
        Ok(())
    }

    fn flush(&mut self, _: Stream, _: Instant, _: &mut TapOut) -> Result<(), TapError> {
        // What waits, waits for a decision, and messages behind it wait for the same.
        Ok(())
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn tick(&mut self, _: Instant, _: &mut TapOut) {}

    fn close(&mut self, out: &mut TapOut) {
        let mut effects = Vec::new();
        match &mut self.reader {
            Reader::Sftp(sftp) => sftp.end(&mut effects),
            Reader::Scp(scp) => scp.end(&mut effects),
        }
        for effect in effects {
            if let Effect::Done(done) = effect {
                self.file_done(&done, out);
            }
        }
        // Opened, and nothing was transferred.
        for open in self.open.drain(..) {
            out.done
                .push(ended(open.ticket, true, "not closed".to_owned(), 0));
        }
    }
}

/// The files that are open when this is answered.
fn opens(request: &Request) -> Vec<Open> {
    if !matches!(request.kind, Kind::Open | Kind::ScpFile) {
        return Vec::new();
    }
    let files = request.paths.iter().filter_map(|asked| {
        let direction = match asked.touch {
            Touch::List => return None,
            Touch::Read => Direction::Read,
            Touch::Write => Direction::Write,
        };
        Some(Open {
            ticket: request.ticket,
            path: asked.path.text.clone(),
            direction,
        })
    });
    files.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Put;

    fn packet(kind: u8, rest: impl FnOnce(&mut Vec<u8>)) -> Bytes {
        let mut body = vec![kind];
        rest(&mut body);
        let mut out = Vec::new();
        out.string(&body);
        out.into()
    }

    fn open(id: u32, path: &str, flags: u32) -> Bytes {
        packet(3, |b| {
            b.uint32(id).string(path.as_bytes()).uint32(flags).uint32(0);
        })
    }

    fn passed(out: &TapOut, of: Stream) -> Vec<u8> {
        let pieces = out.pieces.iter().filter(|(stream, _)| *stream == of);
        pieces.flat_map(|(_, bytes)| bytes.to_vec()).collect()
    }

    fn started() -> TransferTap {
        let login: Arc<str> = "root".into();
        let mut tap = TransferTap::sftp(&login);
        let now = Instant::now();
        let mut out = TapOut::default();
        let version = |kind| {
            packet(kind, |b| {
                b.uint32(3);
            })
        };
        tap.push(Stream::Input, version(1), now, &mut out).unwrap();
        tap.push(Stream::Output, version(2), now, &mut out).unwrap();
        assert_eq!(out.pieces.len(), 2);
        tap
    }

    #[test]
    fn one_request_is_asked_about_at_a_time_and_order_is_kept() {
        let now = Instant::now();
        let mut tap = started();
        let mut out = TapOut::default();
        let both = [open(1, "/a", 1), open(2, "/b", 2)].concat();
        tap.push(Stream::Input, both.into(), now, &mut out).unwrap();
        let ask = out.ask.take().unwrap();
        assert!(
            out.pieces.is_empty(),
            "nothing passes before it is decided on"
        );
        assert_eq!(&*ask.asked.accesses[0].1, "/a");
        // Refused: the client is answered in the host's place, and its bytes are given back.
        tap.answer(Err("no".to_owned()), now, &mut out).unwrap();
        let dropped = open(1, "/a", 1).len() as u64;
        assert_eq!(out.dropped, [(Stream::Input, dropped)]);
        let answer = passed(&out, Stream::Output);
        assert_eq!((answer[4], &answer[5..9]), (101, &[0, 0, 0, 1][..]));
        assert_eq!(out.added, [(Stream::Output, answer.len() as u64)]);
        let ask = out.ask.take().unwrap();
        assert_eq!(&*ask.asked.accesses[0].1, "/b");
        let mut out = TapOut::default();
        tap.answer(Ok(ask.forward), now, &mut out).unwrap();
        assert_eq!(passed(&out, Stream::Input), open(2, "/b", 2));
    }

    #[test]
    fn what_was_transferred_is_told_with_its_hash() {
        let now = Instant::now();
        let mut tap = started();
        let mut out = TapOut::default();
        // Write, create, truncate.
        tap.push(Stream::Input, open(1, "/a", 0x1a), now, &mut out)
            .unwrap();
        let ask = out.ask.take().unwrap();
        tap.answer(Ok(ask.forward), now, &mut out).unwrap();
        let handle = packet(102, |b| {
            b.uint32(1).string(b"h");
        });
        tap.push(Stream::Output, handle, now, &mut out).unwrap();
        assert!(out.done.is_empty(), "it is open: {:?}", out.done);
        let write = packet(6, |b| {
            b.uint32(2).string(b"h").uint64(0).string(b"hello");
        });
        let close = packet(4, |b| {
            b.uint32(3).string(b"h");
        });
        let ok = |id| {
            packet(101, |b| {
                b.uint32(id).uint32(0).string(b"").string(b"");
            })
        };
        tap.push(Stream::Input, write, now, &mut out).unwrap();
        tap.push(Stream::Output, ok(2), now, &mut out).unwrap();
        tap.push(Stream::Input, close, now, &mut out).unwrap();
        tap.push(Stream::Output, ok(3), now, &mut out).unwrap();
        let [done] = &out.done[..] else {
            panic!("{:?}", out.done)
        };
        assert!(done.ok && done.bytes == 5 && done.id == ask.id, "{done:?}");
        let hash = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        assert!(done.detail.contains(hash), "{}", done.detail);
    }

    #[test]
    fn what_cannot_be_followed_ends_the_channel() {
        let now = Instant::now();
        let mut tap = started();
        let wild = Bytes::from_static(b"\xff\xff\xff\xff\x03");
        assert!(
            tap.push(Stream::Input, wild, now, &mut TapOut::default())
                .is_err()
        );
    }
}
