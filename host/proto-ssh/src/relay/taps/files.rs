//! A file transfer on a channel: each request is asked about where it stands.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use bytes::Bytes;
use pipeline::mask::MaskEdits;
use pipeline::ports::MaskFailed;

use crate::relay::core::tap::{Stream, Tap, TapAsk, TapDone, TapError, TapOut};
use crate::scp::{self, Scp};
use crate::sftp::Sftp;
use crate::transfer::{Answer, Effect, FileDone, Request, Verdict, Way};

enum Reader {
    Sftp(Box<Sftp>),
    Scp(Box<Scp>),
}

/// See the module.
pub(crate) struct Files {
    reader: Reader,
    /// What is being decided on.
    open: Option<(u64, Way)>,
    /// What goes the same way behind that, or waits to be asked about.
    behind: VecDeque<Effect>,
    /// What is known of files whose end is told next.
    done: HashMap<u64, Vec<FileDone>>,
}

impl Files {
    pub fn sftp() -> Self {
        Self::new(Reader::Sftp(Box::default()))
    }

    pub fn scp(command: scp::Command) -> Self {
        Self::new(Reader::Scp(Box::new(Scp::new(command))))
    }

    fn new(reader: Reader) -> Self {
        Self {
            reader,
            open: None,
            behind: VecDeque::new(),
            done: HashMap::new(),
        }
    }

    fn carry(&mut self, effects: Vec<Effect>, out: &mut TapOut) {
        for effect in effects {
            if self.waits(&effect) {
                self.behind.push_back(effect);
            } else {
                self.perform(effect, out);
            }
        }
    }

    /// Must it wait for the decision that is open?
    fn waits(&self, effect: &Effect) -> bool {
        let Some((_, way)) = &self.open else {
            return false;
        };
        match effect {
            Effect::ToServer(_) | Effect::InjectServer(_) => *way == Way::ToServer,
            Effect::ToClient(_) | Effect::InjectClient(_) => *way == Way::ToClient,
            // One at a time.
            Effect::Ask(_) => true,
            Effect::DropClient(_)
            | Effect::DropServer(_)
            | Effect::Answered { .. }
            | Effect::Done(_) => false,
        }
    }

    fn perform(&mut self, effect: Effect, out: &mut TapOut) {
        match effect {
            Effect::ToServer(bytes) => out.pieces.push((Stream::Input, bytes)),
            Effect::ToClient(bytes) => out.pieces.push((Stream::Output, bytes)),
            Effect::InjectServer(bytes) => inject(Stream::Input, bytes, out),
            Effect::InjectClient(bytes) => inject(Stream::Output, bytes, out),
            Effect::DropClient(n) => out.dropped.push((Stream::Input, n as u64)),
            Effect::DropServer(n) => out.dropped.push((Stream::Output, n as u64)),
            Effect::Ask(asked) => {
                let Request { ticket, way, .. } = asked;
                self.open = Some((ticket, way));
                out.ask = Some(TapAsk { id: ticket, asked });
            }
            Effect::Done(done) => {
                self.done.entry(done.ticket).or_default().push(done);
            }
            Effect::Answered { ticket, result } => {
                let done = self.done.remove(&ticket).unwrap_or_default();
                out.done.push(told(ticket, result, &done));
            }
        }
    }
}

impl Tap for Files {
    /// What a program says about its errors is no part of the protocol.
    fn reads(&self, stream: Stream) -> bool {
        stream != Stream::Errors
    }

    fn push(
        &mut self,
        stream: Stream,
        data: Bytes,
        _: Instant,
        out: &mut TapOut,
    ) -> Result<(), TapError> {
        let mut effects = Vec::new();
        let read = match (&mut self.reader, stream) {
            (_, Stream::Errors) => {
                out.pieces.push((stream, data));
                return Ok(());
            }
            (Reader::Sftp(sftp), Stream::Input) => {
                sftp.client(data, &mut effects).map_err(|e| e.to_string())
            }
            (Reader::Sftp(sftp), Stream::Output) => {
                sftp.server(data, &mut effects).map_err(|e| e.to_string())
            }
            (Reader::Scp(scp), Stream::Input) => {
                scp.client(data, &mut effects).map_err(|e| e.to_string())
            }
            (Reader::Scp(scp), Stream::Output) => {
                scp.server(data, &mut effects).map_err(|e| e.to_string())
            }
        };
        self.carry(effects, out);
        read.map_err(TapError)
    }

    fn answer(
        &mut self,
        answer: Result<Bytes, String>,
        _: Instant,
        out: &mut TapOut,
    ) -> Result<(), TapError> {
        let Some((ticket, way)) = self.open.take() else {
            return Ok(());
        };
        let verdict = match &answer {
            Ok(bytes) => {
                let stream = match way {
                    Way::ToServer => Stream::Input,
                    Way::ToClient => Stream::Output,
                };
                out.pieces.push((stream, bytes.clone()));
                Verdict::Permit
            }
            Err(reason) => Verdict::Refuse(reason),
        };
        let mut effects = Vec::new();
        let answered = match &mut self.reader {
            Reader::Sftp(sftp) => sftp
                .answer(ticket, verdict, &mut effects)
                .map_err(|e| e.to_string()),
            Reader::Scp(scp) => scp
                .answer(ticket, verdict, &mut effects)
                .map_err(|e| e.to_string()),
        };
        self.carry(effects, out);
        let behind = std::mem::take(&mut self.behind);
        self.carry(behind.into(), out);
        answered.map_err(TapError)
    }

    fn inspected(
        &mut self,
        _: Stream,
        _: Result<MaskEdits, MaskFailed>,
        _: Instant,
        _: &mut TapOut,
    ) {
    }

    fn is_inspecting(&self) -> bool {
        false
    }

    fn flush(&mut self, _: Stream, _: Instant, _: &mut TapOut) -> Result<(), TapError> {
        Ok(())
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn tick(&mut self, _: Instant, _: &mut TapOut) {}

    fn resize(&mut self, _: u32) {}

    fn close(&mut self, out: &mut TapOut) {
        let mut effects = Vec::new();
        match &mut self.reader {
            Reader::Sftp(sftp) => sftp.end(&mut effects),
            Reader::Scp(scp) => scp.end(&mut effects),
        }
        for effect in effects {
            self.perform(effect, out);
        }
    }
}

fn inject(stream: Stream, bytes: Bytes, out: &mut TapOut) {
    out.added.push((stream, bytes.len() as u64));
    out.pieces.push((stream, bytes));
}

/// The end of a request, for the record.
fn told(id: u64, result: Answer, done: &[FileDone]) -> TapDone {
    let mut detail = match result {
        Answer::Done => String::new(),
        Answer::Failed(code) => format!("the host says {code}"),
        Answer::Unknown => "the channel ended first".into(),
    };
    for done in done {
        if !detail.is_empty() {
            detail.push_str("; ");
        }
        detail.push_str(&done.detail());
    }
    TapDone {
        id,
        result: match result {
            Answer::Done => pipeline::OutcomeKind::Done,
            Answer::Failed(_) => pipeline::OutcomeKind::Failed,
            Answer::Unknown => pipeline::OutcomeKind::Unknown,
        },
        detail,
        bytes: done.iter().map(|done| done.bytes).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::{Content, Direction, Path};

    /// A file that is read and written through one handle has two ends.
    #[test]
    fn every_end_of_a_file_is_told() {
        let mut files = Files::sftp();
        let mut out = TapOut::default();
        for (direction, bytes) in [(Direction::Read, 3), (Direction::Write, 5)] {
            let done = FileDone {
                ticket: 1,
                path: Path::resolve(b"/x", None),
                direction,
                bytes,
                content: Content::Hashed {
                    sha256: [0; 32],
                    whole: true,
                },
            };
            files.perform(Effect::Done(done), &mut out);
        }
        let result = Answer::Done;
        files.perform(Effect::Answered { ticket: 1, result }, &mut out);
        let [told] = out.done.as_slice() else {
            panic!("{:?}", out.done);
        };
        assert_eq!(told.bytes, 8);
        assert!(told.detail.contains("read 3 bytes") && told.detail.contains("wrote 5 bytes"));
    }
}
