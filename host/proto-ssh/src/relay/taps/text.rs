//! Text that a client is shown: secrets in it are masked, at the same length.

use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use crate::mask::{Kind, Masker, Patterns, Verdict};
use crate::relay::core::tap::{Stream, Tap, TapError, TapOut};

/// Both streams of a terminal or command.
pub(crate) struct Text {
    output: Option<Masker>,
    errors: Option<Masker>,
}

impl Text {
    pub fn new(patterns: &Arc<Patterns>, kind: Kind, columns: u32) -> Self {
        let masker = || {
            let mut masker = Masker::new(patterns.clone(), kind);
            masker.resize(fit(columns));
            Some(masker)
        };
        Self {
            output: masker(),
            errors: masker(),
        }
    }

    fn both(&mut self) -> [(Stream, &mut Option<Masker>); 2] {
        [
            (Stream::Output, &mut self.output),
            (Stream::Errors, &mut self.errors),
        ]
    }
}

fn fit(columns: u32) -> u16 {
    u16::try_from(columns).unwrap_or(u16::MAX)
}

fn piece(stream: Stream, bytes: BytesMut, out: &mut TapOut) {
    if !bytes.is_empty() {
        out.pieces.push((stream, bytes.freeze()));
    }
}

impl Tap for Text {
    fn push(
        &mut self,
        stream: Stream,
        data: Bytes,
        now: Instant,
        out: &mut TapOut,
    ) -> Result<(), TapError> {
        let slot = match stream {
            Stream::Input => {
                for (_, masker) in self.both() {
                    if let Some(masker) = masker {
                        masker.typed(now);
                    }
                }
                out.pieces.push((stream, data));
                return Ok(());
            }
            Stream::Output => &mut self.output,
            Stream::Errors => &mut self.errors,
        };
        let Some(masker) = slot else {
            out.pieces.push((stream, data));
            return Ok(());
        };
        let mut shown = BytesMut::with_capacity(data.len());
        let verdict = masker.push(&data, now, &mut shown);
        if verdict == Verdict::Binary {
            // Nobody reads it, and to replace bytes of it would break it.
            masker.flush(&mut shown);
            *slot = None;
            out.bulk = Some(stream);
            tracing::info!(
                ?stream,
                "what a command writes is no text: it is neither masked nor recorded"
            );
        }
        piece(stream, shown, out);
        Ok(())
    }

    fn answer(
        &mut self,
        _: Result<Bytes, String>,
        _: Instant,
        _: &mut TapOut,
    ) -> Result<(), TapError> {
        Ok(())
    }

    fn flush(&mut self, stream: Stream, _: Instant, out: &mut TapOut) -> Result<(), TapError> {
        for (of, masker) in self.both() {
            if of == stream
                && let Some(masker) = masker
            {
                let mut shown = BytesMut::new();
                masker.flush(&mut shown);
                piece(of, shown, out);
            }
        }
        Ok(())
    }

    fn deadline(&self) -> Option<Instant> {
        let deadlines = [&self.output, &self.errors].into_iter().flatten();
        deadlines.filter_map(Masker::deadline).min()
    }

    fn tick(&mut self, now: Instant, out: &mut TapOut) {
        for (stream, masker) in self.both() {
            if let Some(masker) = masker {
                let mut shown = BytesMut::new();
                masker.tick(now, &mut shown);
                piece(stream, shown, out);
            }
        }
    }

    fn resize(&mut self, columns: u32) {
        for (_, masker) in self.both() {
            if let Some(masker) = masker {
                masker.resize(fit(columns));
            }
        }
    }

    fn close(&mut self, _: &mut TapOut) {}
}
