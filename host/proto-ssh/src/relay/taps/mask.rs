//! Masks what a command or a shell writes: standard output and standard error each by itself.

use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use crate::mask::{Kind, Masker, Patterns, Verdict};
use crate::relay::core::tap::{Stream, Tap, TapError, TapOut};

pub(in crate::relay) struct MaskTap {
    output: Masker,
    errors: Masker,
    /// A stream that is not text: it is neither masked nor recorded any more.
    output_is_binary: bool,
    errors_are_binary: bool,
}

impl MaskTap {
    pub fn new(patterns: &Arc<Patterns>, kind: Kind) -> Self {
        Self {
            output: Masker::new(patterns.clone(), kind),
            errors: Masker::new(patterns.clone(), kind),
            output_is_binary: false,
            errors_are_binary: false,
        }
    }

    fn masker(&mut self, stream: Stream) -> Option<(&mut Masker, &mut bool)> {
        match stream {
            Stream::Input => None,
            Stream::Output => Some((&mut self.output, &mut self.output_is_binary)),
            Stream::Errors => Some((&mut self.errors, &mut self.errors_are_binary)),
        }
    }
}

fn piece(stream: Stream, bytes: BytesMut, out: &mut TapOut) {
    if !bytes.is_empty() {
        out.pieces.push((stream, bytes.freeze()));
    }
}

impl Tap for MaskTap {
    fn push(
        &mut self,
        stream: Stream,
        data: Bytes,
        now: Instant,
        out: &mut TapOut,
    ) -> Result<(), TapError> {
        let Some((masker, is_binary)) = self.masker(stream) else {
            self.output.typed(now);
            out.pieces.push((stream, data));
            return Ok(());
        };
        if *is_binary {
            out.pieces.push((stream, data));
            return Ok(());
        }
        let mut shown = BytesMut::with_capacity(data.len());
        let verdict = masker.push(&data, now, &mut shown);
        if verdict == Verdict::Binary {
            // What was found by now stays replaced.
            masker.flush(&mut shown);
            *is_binary = true;
            out.bulk = true;
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
        Err(TapError("a mask asks nothing".to_owned()))
    }

    fn flush(&mut self, stream: Stream, _: Instant, out: &mut TapOut) -> Result<(), TapError> {
        if let Some((masker, _)) = self.masker(stream) {
            let mut shown = BytesMut::new();
            masker.flush(&mut shown);
            piece(stream, shown, out);
        }
        Ok(())
    }

    fn resized(&mut self, columns: u32) {
        // A terminal of 0 columns is one whose width is not known; beyond 16 bits there is none.
        let columns = u16::try_from(columns).unwrap_or(0);
        self.output.resize(columns);
        self.errors.resize(columns);
    }

    fn deadline(&self) -> Option<Instant> {
        let both = [self.output.deadline(), self.errors.deadline()];
        both.into_iter().flatten().min()
    }

    fn tick(&mut self, now: Instant, out: &mut TapOut) {
        for stream in [Stream::Output, Stream::Errors] {
            if let Some((masker, _)) = self.masker(stream) {
                let mut shown = BytesMut::new();
                masker.tick(now, &mut shown);
                piece(stream, shown, out);
            }
        }
    }

    fn close(&mut self, _: &mut TapOut) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &[u8] = b"ghp_16C7e42F292c6912E7710c838347Ae178B4a";

    fn tap(kind: Kind) -> MaskTap {
        let patterns = Arc::new(Patterns::new([]).unwrap());
        MaskTap::new(&patterns, kind)
    }

    fn shown(out: &TapOut, of: Stream) -> Vec<u8> {
        let pieces = out.pieces.iter().filter(|(stream, _)| *stream == of);
        pieces.flat_map(|(_, bytes)| bytes.to_vec()).collect()
    }

    #[test]
    fn each_stream_is_masked_by_itself_and_what_is_typed_passes() {
        let now = Instant::now();
        let mut tap = tap(Kind::Terminal);
        let mut out = TapOut::default();
        for byte in TOKEN {
            let byte = Bytes::copy_from_slice(&[*byte]);
            tap.push(Stream::Output, byte.clone(), now, &mut out)
                .unwrap();
            tap.push(Stream::Errors, Bytes::from_static(b"."), now, &mut out)
                .unwrap();
            tap.push(Stream::Input, byte, now, &mut out).unwrap();
        }
        for stream in [Stream::Output, Stream::Errors] {
            tap.flush(stream, now, &mut out).unwrap();
        }
        let output = shown(&out, Stream::Output);
        assert_eq!(output.len(), TOKEN.len());
        assert!(
            output.iter().filter(|b| **b == b'*').count() > TOKEN.len() / 2,
            "{output:?}"
        );
        assert_eq!(shown(&out, Stream::Errors), vec![b'.'; TOKEN.len()]);
        assert_eq!(shown(&out, Stream::Input), TOKEN);
    }

    #[test]
    fn what_is_not_text_passes_and_is_not_recorded() {
        let now = Instant::now();
        let binary = Bytes::from(vec![0; 32 << 10]);
        let mut out = TapOut::default();
        let mut lax = tap(Kind::Pipe);
        lax.push(Stream::Output, binary.clone(), now, &mut out)
            .unwrap();
        assert!(out.bulk);
        lax.push(Stream::Output, Bytes::from_static(TOKEN), now, &mut out)
            .unwrap();
        assert_eq!(shown(&out, Stream::Output), [&binary[..], TOKEN].concat());
        // The other stream is still text.
        lax.push(Stream::Errors, Bytes::from_static(TOKEN), now, &mut out)
            .unwrap();
        lax.flush(Stream::Errors, now, &mut out).unwrap();
        assert_ne!(shown(&out, Stream::Errors), TOKEN);
    }
}
