//! The server's direction: each answer belongs to an open request, and is of a type that the request can have.

use bytes::Bytes;

use super::cut::{Gather, What};
use super::error::{SftpError, Wrong};
use super::packet as p;
use super::{Expect, Live, Phase, Sftp, Stage, answered};
use crate::transfer::{Effect, Why};
use crate::wire::Reader;

impl Sftp {
    /// Bytes of the server's.
    pub fn server(&mut self, mut chunk: Bytes, out: &mut Vec<Effect>) -> Result<(), SftpError> {
        let mut gather = Gather::new(&chunk);
        loop {
            // What is said about REALPATH of the current directory is read, all other lists of names are not.
            let live = &self.live;
            let streams = |id: u32| match live.get(&id) {
                Some(live) => !matches!(live.expect, Expect::Here),
                None => true,
            };
            let part = self
                .from_server
                .next(&mut chunk, |bytes| p::server_need(bytes, streams));
            let Some(part) = part.map_err(SftpError::Server)? else {
                break;
            };
            match part.what {
                What::Head(body) => self
                    .reply(&part.bytes, body, out)
                    .map_err(SftpError::Server)?,
                What::Body(left) => self.body(&part.bytes, left, out),
            }
            let mut to_client = |bytes| out.push(Effect::ToClient(bytes));
            gather.pass(&part, &chunk, &mut to_client);
            if !self.answers.is_empty() && self.from_server.at_boundary() {
                gather.flush(&mut to_client);
                self.flush_answers(out);
            }
        }
        gather.flush(&mut |bytes| out.push(Effect::ToClient(bytes)));
        Ok(())
    }

    /// Contents of a file, or names.
    fn body(&mut self, bytes: &[u8], left: usize, out: &mut Vec<Effect>) {
        let Some(place) = &mut self.reading else {
            return;
        };
        let file = place.file;
        self.files.read(file, place.offset, bytes);
        place.offset = place.offset.saturating_add(bytes.len() as u64);
        if left == 0 {
            self.reading = None;
            self.files.settle(file, out);
        }
    }

    /// The head of a packet: the whole of it, but for contents and names.
    fn reply(&mut self, packet: &[u8], body: usize, out: &mut Vec<Effect>) -> Result<(), Wrong> {
        let mut r = Reader::new(packet);
        let mut head = || Ok((r.u32()?, r.u8()?, r.u32()?));
        let (_, kind, id) = head().map_err(|error| Wrong::Layout { kind: 0, error })?;
        match (self.phase, kind) {
            (Phase::Asked, p::VERSION) if id == p::VERSION_3 => {
                self.phase = Phase::Ready;
                self.link_is_second = p::extensions(r).any(|name| name.ends_with(b"@openssh.com"));
                return Ok(());
            }
            (Phase::Asked, p::VERSION) => return Err(Wrong::Version(id)),
            (Phase::Start | Phase::Asked, other) => return Err(Wrong::Type(other)),
            (Phase::Ready, _) => {}
        }
        let live = match self.live.remove(&id) {
            Some(live) if live.stage == Stage::Sent => live,
            _ => return Err(Wrong::NoSuchId(id)),
        };
        match kind {
            p::STATUS => self.status(live, r, out),
            p::HANDLE => self.handle(id, live, r),
            p::DATA => self.data(id, &live, body, out),
            p::NAME | p::ATTRS | p::EXTENDED_REPLY => {
                match (kind, &live.expect) {
                    (p::NAME, Expect::Here) => {
                        let name =
                            p::only_name(r).map_err(|error| Wrong::Layout { kind, error })?;
                        self.here(name.unwrap_or_default());
                    }
                    (p::NAME, Expect::Names | Expect::Anything)
                    | (p::ATTRS, Expect::Attributes | Expect::Anything)
                    | (p::EXTENDED_REPLY, Expect::Extended | Expect::Anything) => {}
                    _ => return Err(Wrong::Answer { id, kind }),
                }
                answered(live.ticket, p::FX_OK, out);
                Ok(())
            }
            other => Err(Wrong::Type(other)),
        }
    }

    fn status(
        &mut self,
        live: Live,
        mut r: Reader<'_>,
        out: &mut Vec<Effect>,
    ) -> Result<(), Wrong> {
        let kind = p::STATUS;
        let code = r.u32().map_err(|error| Wrong::Layout { kind, error })?;
        let files = &mut self.files;
        match live.expect {
            Expect::Handle(_) => files.opening = files.opening.saturating_sub(1),
            Expect::Data { place, .. } => {
                if code == p::FX_EOF {
                    files.ended_at(place.file, place.offset);
                }
                files.settle(place.file, out);
            }
            Expect::Written(file) => {
                if code != p::FX_OK {
                    files.spoil_written(file, Why::Failed);
                }
                files.settle(file, out);
            }
            Expect::Closed(file) => files.closed(file, out),
            Expect::Sized(file, size) => {
                if code == p::FX_OK {
                    files.sized(file, size);
                }
                files.settle(file, out);
            }
            Expect::Copied(file) => {
                files.spoil_written(file, Why::Changed);
                files.settle(file, out);
            }
            Expect::Status
            | Expect::Attributes
            | Expect::Names
            | Expect::Here
            | Expect::Extended
            | Expect::Anything => {}
        }
        answered(live.ticket, code, out);
        Ok(())
    }

    fn handle(&mut self, id: u32, live: Live, mut r: Reader<'_>) -> Result<(), Wrong> {
        let kind = p::HANDLE;
        let handle = r.string().map_err(|error| Wrong::Layout { kind, error })?;
        r.end().map_err(|error| Wrong::Layout { kind, error })?;
        let Expect::Handle(spec) = live.expect else {
            return Err(Wrong::Answer { id, kind });
        };
        if handle.len() > p::HANDLE_MAX {
            return Err(Wrong::HandleLength(handle.len()));
        }
        self.files.opening = self.files.opening.saturating_sub(1);
        // Every OPEN and OPENDIR was asked about.
        let ticket = live.ticket.ok_or(Wrong::NoSuchId(id))?;
        match self.files.open(handle, ticket, spec) {
            true => Ok(()),
            false => Err(Wrong::HandleAgain),
        }
    }

    fn data(
        &mut self,
        id: u32,
        live: &Live,
        got: usize,
        out: &mut Vec<Effect>,
    ) -> Result<(), Wrong> {
        let Expect::Data { place, len } = live.expect else {
            let kind = p::DATA;
            return Err(Wrong::Answer { id, kind });
        };
        let got = u32::try_from(got).unwrap_or(u32::MAX);
        if got > len {
            return Err(Wrong::TooMuch { got, wanted: len });
        }
        if got == 0 {
            self.files.settle(place.file, out);
        } else {
            self.reading = Some(place);
        }
        Ok(())
    }
}
