//! The standard error of a file transfer, which is text: masked as that of a command is. What the transfer itself consists of
//! goes to what reads it, or passes by.

use std::time::Instant;

use bytes::Bytes;
use pipeline::mask::MaskEdits;
use pipeline::ports::MaskFailed;

use super::Text;
use crate::relay::core::tap::{Stream, Tap, TapError, TapOut};

/// See the module.
pub(crate) struct Beside {
    transfer: Option<Box<dyn Tap>>,
    errors: Text,
}

impl Beside {
    pub fn new(transfer: Option<Box<dyn Tap>>, errors: Text) -> Self {
        Self { transfer, errors }
    }

    /// Which of them this stream is for.
    fn of(&mut self, stream: Stream) -> Option<&mut dyn Tap> {
        match stream {
            Stream::Errors => Some(&mut self.errors),
            Stream::Input | Stream::Output => match &mut self.transfer {
                Some(transfer) => Some(&mut **transfer),
                None => None,
            },
        }
    }
}

impl Tap for Beside {
    fn reads(&self, stream: Stream) -> bool {
        let transfer = self.transfer.as_ref();
        stream == Stream::Errors || transfer.is_some_and(|transfer| transfer.reads(stream))
    }

    fn push(
        &mut self,
        stream: Stream,
        data: Bytes,
        now: Instant,
        out: &mut TapOut,
    ) -> Result<(), TapError> {
        match self.of(stream) {
            Some(tap) => tap.push(stream, data, now, out),
            None => {
                out.pieces.push((stream, data));
                Ok(())
            }
        }
    }

    fn answer(
        &mut self,
        answer: Result<Bytes, String>,
        now: Instant,
        out: &mut TapOut,
    ) -> Result<(), TapError> {
        match &mut self.transfer {
            Some(transfer) => transfer.answer(answer, now, out),
            None => Ok(()),
        }
    }

    fn inspected(
        &mut self,
        stream: Stream,
        edits: Result<MaskEdits, MaskFailed>,
        now: Instant,
        out: &mut TapOut,
    ) {
        if let Some(tap) = self.of(stream) {
            tap.inspected(stream, edits, now, out);
        }
    }

    fn is_inspecting(&self) -> bool {
        let transfer = self.transfer.as_ref();
        self.errors.is_inspecting() || transfer.is_some_and(|transfer| transfer.is_inspecting())
    }

    fn flush(&mut self, stream: Stream, now: Instant, out: &mut TapOut) -> Result<(), TapError> {
        match self.of(stream) {
            Some(tap) => tap.flush(stream, now, out),
            None => Ok(()),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let transfer = self.transfer.as_ref();
        let transfer = transfer.and_then(|transfer| transfer.deadline());
        transfer.into_iter().chain(self.errors.deadline()).min()
    }

    fn tick(&mut self, now: Instant, out: &mut TapOut) {
        if let Some(transfer) = &mut self.transfer {
            transfer.tick(now, out);
        }
        self.errors.tick(now, out);
    }

    fn resize(&mut self, columns: u32) {
        if let Some(transfer) = &mut self.transfer {
            transfer.resize(columns);
        }
    }

    fn close(&mut self, out: &mut TapOut) {
        if let Some(transfer) = &mut self.transfer {
            transfer.close(out);
        }
        self.errors.close(out);
    }
}
