//! Reads the protocol of the old scp (`scp -O`) in flight.
//!
//! One side is the source: it sends records and the contents of files. The other is the sink: it acknowledges each
//! record and each file with one byte 0, or with 1 (go on with the next one) or 2 (the end) and a message. They
//! take turns, and who speaks out of turn ends the channel: what a record is to one reader must not be contents to
//! the other.
//!
//! Every C and D record is asked about before the sink gets it. Where it is refused, the source is told in the
//! sink's place that this file cannot be written, and goes on with the next one.
//!
//! - `command` reads how scp is started, `record` the records, `names` tells which paths a record is about.
//!
//! What the names mean depends on the host where a path is not said to be a directory (`-d`): `scp x host:/a` writes
//! `/a` or `/a/x`. Then both are asked about.

mod command;
mod error;
mod names;
mod record;

#[cfg(test)]
mod tests;

use bytes::{Buf, Bytes, BytesMut};

pub use command::Command;
pub use error::{ScpError, Wrong};
pub use record::RECORD_MAX;

use crate::transfer::{
    Answer, Asked, Attributes, Budget, Content, Direction, Effect, FileDone, Kind, PATH_MAX, Path,
    Request, Touch, Track, Verdict, Way, Why, doubts, printable,
};
use names::Names;
use record::Record;

/// Directories in one another.
pub const DEPTH_MAX: usize = 128;
/// The reason of a refusal, in bytes.
const REASON_MAX: usize = 512;

/// One channel on which `scp -t` or `scp -f` runs, both directions.
pub struct Scp {
    command: Command,
    names: Names,
    turn: Turn,
    /// A record or message that is not whole.
    line: BytesMut,
    next_ticket: u64,
    /// What is asked about, or was permitted and is not acknowledged.
    open: Option<Item>,
    file: Option<File>,
    budget: Budget,
}

/// Whose turn it is, and for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// The sink acknowledges.
    Sink(After),
    /// The source sends a record.
    Record,
    /// Nobody may say anything: a record is being decided on.
    Asked,
    /// The source sends so many bytes of a file.
    Contents(u64),
    /// The source says whether they were all right.
    Verdict,
    Over,
}

/// What is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    /// That both are there.
    Start,
    /// Times, or the end of a directory.
    Other,
    /// The record of a file or directory.
    Item,
    Contents,
}

/// A file or directory that a record names.
struct Item {
    ticket: u64,
    raw: usize,
    paths: Vec<Path>,
    /// Of a file.
    size: Option<u64>,
}

/// A file whose contents are on their way.
struct File {
    ticket: u64,
    path: Path,
    track: Track,
    offset: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Server,
}

impl Scp {
    pub fn new(command: Command) -> Self {
        Self {
            names: Names::new(&command),
            command,
            turn: Turn::Sink(After::Start),
            line: BytesMut::new(),
            next_ticket: 0,
            open: None,
            file: None,
            budget: Budget::default(),
        }
    }

    /// Bytes of the client's.
    pub fn client(&mut self, chunk: Bytes, out: &mut Vec<Effect>) -> Result<(), ScpError> {
        self.push(Side::Client, chunk, out)
            .map_err(ScpError::Client)
    }

    /// Bytes of the server's.
    pub fn server(&mut self, chunk: Bytes, out: &mut Vec<Effect>) -> Result<(), ScpError> {
        self.push(Side::Server, chunk, out)
            .map_err(ScpError::Server)
    }

    /// The relay has decided about the record with this ticket. When it was permitted, its bytes have been sent.
    pub fn answer(
        &mut self,
        ticket: u64,
        verdict: Verdict<'_>,
        out: &mut Vec<Effect>,
    ) -> Result<(), ScpError> {
        let item = match self.open.take() {
            Some(item) if item.ticket == ticket && self.turn == Turn::Asked => item,
            other => {
                self.open = other;
                return Err(ScpError::Ticket(ticket));
            }
        };
        match verdict {
            Verdict::Permit => {
                self.turn = Turn::Sink(After::Item);
                self.open = Some(item);
            }
            Verdict::Refuse(reason) => {
                self.turn = Turn::Record;
                let message = refusal(reason);
                out.push(match self.source() {
                    Side::Client => Effect::DropClient(item.raw),
                    Side::Server => Effect::DropServer(item.raw),
                });
                out.push(match self.source() {
                    Side::Client => Effect::InjectClient(message),
                    Side::Server => Effect::InjectServer(message),
                });
            }
        }
        Ok(())
    }

    /// The channel has ended: what is known about a file that was on its way.
    pub fn end(&mut self, out: &mut Vec<Effect>) {
        if let (Some(item), Turn::Sink(_)) = (self.open.take(), self.turn) {
            let (ticket, result) = (item.ticket, Answer::Unknown);
            out.push(Effect::Answered { ticket, result });
        }
        self.turn = Turn::Over;
        self.finish(Some(Why::Unfinished), out);
    }

    fn source(&self) -> Side {
        match self.command.direction {
            Direction::Write => Side::Client,
            Direction::Read => Side::Server,
        }
    }

    fn push(&mut self, from: Side, mut chunk: Bytes, out: &mut Vec<Effect>) -> Result<(), Wrong> {
        let source = from == self.source();
        let pass = |bytes: Bytes, out: &mut Vec<Effect>| {
            out.push(match from {
                Side::Client => Effect::ToServer(bytes),
                Side::Server => Effect::ToClient(bytes),
            });
        };
        while let Some(first) = chunk.first().copied() {
            match (source, self.turn) {
                (true, Turn::Contents(left)) => {
                    let len = usize::try_from(left).unwrap_or(usize::MAX);
                    let bytes = chunk.split_to(len.min(chunk.len()));
                    self.contents(&bytes, left);
                    pass(bytes, out);
                }
                (true, Turn::Verdict) if first == 0 && self.line.is_empty() => {
                    pass(chunk.split_to(1), out);
                    self.turn = Turn::Sink(After::Contents);
                }
                (true, Turn::Verdict) => {
                    if let Some(line) = self.message(&mut chunk)? {
                        self.spoil(Why::Failed);
                        self.turn = Turn::Sink(After::Contents);
                        pass(line, out);
                    }
                }
                (true, Turn::Record) => {
                    let begins = self.line.first().copied().unwrap_or(first);
                    if !matches!(begins, 1 | 2 | b'C' | b'D' | b'E' | b'T') {
                        return Err(Wrong::Record(begins));
                    }
                    if let Some(line) = self.line(&mut chunk)? {
                        match self.record(&line)? {
                            Some(request) => out.push(Effect::Ask(Request {
                                raw: line,
                                ..request
                            })),
                            None => pass(line, out),
                        }
                    }
                }
                (false, Turn::Sink(after)) if first == 0 && self.line.is_empty() => {
                    pass(chunk.split_to(1), out);
                    self.acknowledged(after, true, out)?;
                }
                (false, Turn::Sink(after)) => {
                    if let Some(line) = self.message(&mut chunk)? {
                        let over = line.first() == Some(&2);
                        pass(line, out);
                        self.acknowledged(after, false, out)?;
                        if over {
                            self.turn = Turn::Over;
                        }
                    }
                }
                _ => return Err(Wrong::Early),
            }
        }
        Ok(())
    }

    /// A whole line, its end included, once it is there.
    fn line(&mut self, chunk: &mut Bytes) -> Result<Option<Bytes>, Wrong> {
        let room = RECORD_MAX.saturating_sub(self.line.len());
        let end = chunk.iter().take(room).position(|b| *b == b'\n');
        let len = match end {
            Some(at) => at + 1,
            None if chunk.len() >= room => return Err(Wrong::TooLong(RECORD_MAX)),
            None => chunk.len(),
        };
        if self.line.is_empty() && end.is_some() {
            return Ok(Some(chunk.split_to(len)));
        }
        self.line
            .extend_from_slice(chunk.get(..len).unwrap_or_default());
        chunk.advance(len.min(chunk.len()));
        Ok(end.map(|_| self.line.split().freeze()))
    }

    /// The same for what begins with 1 or 2.
    fn message(&mut self, chunk: &mut Bytes) -> Result<Option<Bytes>, Wrong> {
        match self.line.first().or(chunk.first()) {
            Some(1 | 2) => self.line(chunk),
            Some(other) => Err(Wrong::Acknowledgement(*other)),
            None => Ok(None),
        }
    }

    /// A record of the source's; none: it passes, and the turn has been given on.
    fn record(&mut self, line: &[u8]) -> Result<Option<Request>, Wrong> {
        match line.first() {
            // A message of the source's: nobody acknowledges it.
            Some(1) => return Ok(None),
            Some(2) => {
                self.turn = Turn::Over;
                return Ok(None);
            }
            _ => {}
        }
        match Record::parse(line.strip_suffix(b"\n").unwrap_or(line))? {
            Record::Times => {
                self.turn = Turn::Sink(After::Other);
                Ok(None)
            }
            Record::End => {
                self.names.leave().ok_or(Wrong::End)?;
                self.turn = Turn::Sink(After::Other);
                Ok(None)
            }
            Record::File { mode, size, name } => self.ask(name, mode, Some(size), line).map(Some),
            Record::Directory { mode, name } => {
                if !self.command.recursive {
                    return Err(Wrong::Directory);
                }
                if self.names.depth() >= DEPTH_MAX {
                    return Err(Wrong::Depth(DEPTH_MAX));
                }
                self.ask(name, mode, None, line).map(Some)
            }
        }
    }

    fn ask(
        &mut self,
        name: &[u8],
        mode: u32,
        size: Option<u64>,
        line: &[u8],
    ) -> Result<Request, Wrong> {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let paths = self.names.paths(name);
        if let Some(long) = paths.iter().find(|path| path.text.len() > PATH_MAX) {
            return Err(Wrong::Path(long.text.len()));
        }
        let upload = self.command.direction == Direction::Write;
        let touch = if upload { Touch::Write } else { Touch::Read };
        let attributes = Attributes {
            size,
            mode: Some(mode),
            ..Attributes::default()
        };
        let asked: Vec<_> = paths
            .iter()
            .map(|path| Asked {
                path: path.clone(),
                touch,
            })
            .collect();
        // What the host's files are is no matter of what is done to it.
        let given = if upload {
            attributes
        } else {
            Attributes::default()
        };
        let opaque = doubts(&asked, &given).into_iter().map(Into::into);
        let request = Request {
            ticket,
            way: if upload { Way::ToServer } else { Way::ToClient },
            kind: match size {
                Some(_) => Kind::ScpFile,
                None => Kind::ScpDirectory,
            },
            paths: asked,
            attributes,
            opaque: opaque.collect(),
            raw: Bytes::new(),
        };
        self.turn = Turn::Asked;
        self.open = Some(Item {
            ticket,
            raw: line.len(),
            paths,
            size,
        });
        Ok(request)
    }

    /// The sink has acknowledged, or said that it could not.
    fn acknowledged(
        &mut self,
        after: After,
        well: bool,
        out: &mut Vec<Effect>,
    ) -> Result<(), Wrong> {
        self.turn = Turn::Record;
        match after {
            After::Start | After::Other => {}
            After::Item => {
                let Some(item) = self.open.take() else {
                    return Err(Wrong::Early);
                };
                self.begun(item, well, out);
            }
            After::Contents => self.finish((!well).then_some(Why::Failed), out),
        }
        Ok(())
    }

    /// What was permitted begins, or the sink does not take it.
    fn begun(&mut self, item: Item, well: bool, out: &mut Vec<Effect>) {
        let ticket = item.ticket;
        match (well, item.size) {
            (false, _) => out.push(Effect::Answered {
                ticket,
                result: Answer::Failed(1),
            }),
            (true, None) => {
                self.names.enter(item.paths);
                out.push(Effect::Answered {
                    ticket,
                    result: Answer::Done,
                });
            }
            (true, Some(size)) => {
                self.file = Some(File {
                    ticket,
                    path: names::one(&item.paths),
                    track: Track::new(true),
                    offset: 0,
                });
                self.turn = match size {
                    0 => Turn::Verdict,
                    size => Turn::Contents(size),
                };
            }
        }
    }

    fn contents(&mut self, bytes: &[u8], left: u64) {
        if let Some(file) = &mut self.file {
            file.track.data(file.offset, bytes, &mut self.budget);
            file.offset = file.offset.saturating_add(bytes.len() as u64);
        }
        self.turn = match left.saturating_sub(bytes.len() as u64) {
            0 => Turn::Verdict,
            left => Turn::Contents(left),
        };
    }

    fn spoil(&mut self, why: Why) {
        if let Some(file) = &mut self.file {
            file.track.spoil(why, &mut self.budget);
        }
    }

    /// Nothing more comes of the file; `why` it is not what it should be.
    fn finish(&mut self, why: Option<Why>, out: &mut Vec<Effect>) {
        let Some(mut file) = self.file.take() else {
            return;
        };
        if let Some(why) = why {
            file.track.spoil(why, &mut self.budget);
        }
        let (bytes, content) = file.track.finish(&mut self.budget);
        let result = match content {
            Content::Hashed { .. } => Answer::Done,
            Content::Unhashed(Why::Unfinished) => Answer::Unknown,
            Content::Unhashed(_) => Answer::Failed(1),
        };
        let ticket = file.ticket;
        out.push(Effect::Done(FileDone {
            ticket,
            path: file.path,
            direction: self.command.direction,
            bytes,
            content,
        }));
        out.push(Effect::Answered { ticket, result });
    }
}

/// What a sink says that cannot take a file.
fn refusal(reason: &str) -> Bytes {
    let mut text = format!("\u{1}{}", printable(reason.as_bytes()));
    let mut end = text.len().min(REASON_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text.push('\n');
    text.into()
}
