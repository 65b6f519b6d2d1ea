//! Text that a client is shown: secrets in it are masked, at the same length; plugins see it in spans.

use std::sync::Arc;
use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};
use pipeline::mask::{MaskColumn, MaskEdits, MaskPlan};
use pipeline::ports::MaskFailed;

use crate::mask::{Kind, Masker, Patterns, Spans, Verdict, column};
use crate::relay::core::tap::{Inspect, Stream, Tap, TapError, TapOut};

/// One stream.
struct Shown {
    /// Which column of the plan it is.
    column: u16,
    masker: Masker,
    /// It turned out to be no text. It is masked all the same: what it is, is for the host to say.
    bulk: bool,
    spans: Option<Spans>,
    /// What spans had no room for: bounded by the window that the host is told of, of which this is a part.
    rest: BytesMut,
}

/// Both streams of a terminal or command.
pub(crate) struct Text {
    plan: Arc<MaskPlan>,
    output: Shown,
    errors: Shown,
}

/// What plugins are asked for a plan of.
pub(crate) fn columns(kind: Kind) -> [MaskColumn; 2] {
    match kind {
        Kind::Terminal => [column("terminal"), column("stderr")],
        Kind::Pipe => [column("stdout"), column("stderr")],
    }
}

impl Text {
    pub fn new(patterns: &Arc<Patterns>, kind: Kind, width: u32, plan: MaskPlan) -> Self {
        let shown = |at: u16| {
            let mut masker = Masker::new(patterns.clone(), kind);
            masker.resize(fit(width));
            let spans = Spans::new(kind, &plan, at.into());
            Shown {
                column: at,
                masker,
                bulk: false,
                spans: (!spans.passes()).then_some(spans),
                rest: BytesMut::new(),
            }
        };
        Self {
            output: shown(0),
            errors: shown(1),
            plan: Arc::new(plan),
        }
    }

    fn both(&mut self) -> [(Stream, &mut Shown); 2] {
        [
            (Stream::Output, &mut self.output),
            (Stream::Errors, &mut self.errors),
        ]
    }

    fn of(&mut self, stream: Stream) -> Option<&mut Shown> {
        match stream {
            Stream::Input => None,
            Stream::Output => Some(&mut self.output),
            Stream::Errors => Some(&mut self.errors),
        }
    }

    /// Text of this stream that is masked goes on, through plugins where they want to see it.
    fn pass(&mut self, stream: Stream, text: BytesMut, now: Instant, out: &mut TapOut) {
        let plan = self.plan.clone();
        let Some(shown) = self.of(stream) else { return };
        let Some(spans) = &mut shown.spans else {
            piece(stream, text, out);
            return;
        };
        let mut seen = BytesMut::with_capacity(text.len());
        match shown.rest.is_empty() {
            true => shown.rest = text,
            false => shown.rest.extend_from_slice(&text),
        }
        let taken = spans.push(&shown.rest, now, &mut seen);
        shown.rest.advance(taken);
        if shown.rest.is_empty() {
            shown.rest = BytesMut::new();
        }
        piece(stream, seen, out);
        ask(stream, shown, &plan, out);
    }
}

/// Asks about what is there, unless something is being asked about already.
fn ask(stream: Stream, shown: &mut Shown, plan: &Arc<MaskPlan>, out: &mut TapOut) {
    let batch = shown
        .spans
        .as_mut()
        .and_then(|spans| spans.spans_out(shown.column));
    if let Some(batch) = batch {
        out.inspect.push(Inspect {
            stream,
            plan: plan.clone(),
            batch,
        });
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
        if stream == Stream::Input {
            for (_, shown) in self.both() {
                shown.masker.typed(now);
                if let Some(spans) = &mut shown.spans {
                    spans.typed(now);
                }
            }
            out.pieces.push((stream, data));
            return Ok(());
        }
        // What the other stream holds back came before this.
        for other in [Stream::Output, Stream::Errors] {
            let mut before = BytesMut::new();
            if let Some(shown) = self.of(other).filter(|_| other != stream) {
                shown.masker.hurry(&mut before);
                self.pass(other, before, now, out);
            }
        }
        let mut text = BytesMut::with_capacity(data.len());
        if let Some(shown) = self.of(stream)
            && shown.masker.push(&data, now, &mut text) == Verdict::Binary
            && !std::mem::replace(&mut shown.bulk, true)
        {
            out.bulk = Some(stream);
            tracing::info!(?stream, "what a command writes is no text");
        }
        self.pass(stream, text, now, out);
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

    fn inspected(
        &mut self,
        stream: Stream,
        edits: Result<MaskEdits, MaskFailed>,
        now: Instant,
        out: &mut TapOut,
    ) {
        let mut seen = BytesMut::new();
        if let Some(Shown {
            spans: Some(spans), ..
        }) = self.of(stream)
        {
            spans.edits_in(edits, &mut seen);
        }
        piece(stream, seen, out);
        // What had no room before has it now.
        self.pass(stream, BytesMut::new(), now, out);
    }

    fn is_inspecting(&self) -> bool {
        [&self.output, &self.errors].iter().any(|shown| {
            let waits = shown.spans.as_ref().is_some_and(|spans| !spans.is_empty());
            waits || !shown.rest.is_empty()
        })
    }

    fn flush(&mut self, stream: Stream, now: Instant, out: &mut TapOut) -> Result<(), TapError> {
        let mut text = BytesMut::new();
        if let Some(shown) = self.of(stream) {
            shown.masker.flush(&mut text);
        }
        self.pass(stream, text, now, out);
        let plan = self.plan.clone();
        let Some(shown) = self.of(stream) else {
            return Ok(());
        };
        let mut seen = BytesMut::new();
        if let Some(spans) = &mut shown.spans {
            spans.flush(&mut seen);
        }
        piece(stream, seen, out);
        ask(stream, shown, &plan, out);
        Ok(())
    }

    fn deadline(&self) -> Option<Instant> {
        let both = [&self.output, &self.errors];
        let masks = both.iter().filter_map(|s| s.masker.deadline());
        let spans = both.iter().filter_map(|s| s.spans.as_ref()?.deadline());
        masks.chain(spans).min()
    }

    fn tick(&mut self, now: Instant, out: &mut TapOut) {
        for stream in [Stream::Output, Stream::Errors] {
            let mut text = BytesMut::new();
            if let Some(shown) = self.of(stream) {
                shown.masker.tick(now, &mut text);
            }
            self.pass(stream, text, now, out);
            let plan = self.plan.clone();
            let Some(shown) = self.of(stream) else {
                continue;
            };
            let mut seen = BytesMut::new();
            if let Some(spans) = &mut shown.spans {
                spans.tick(now, &mut seen);
            }
            piece(stream, seen, out);
            ask(stream, shown, &plan, out);
        }
    }

    fn resize(&mut self, columns: u32) {
        for (_, shown) in self.both() {
            shown.masker.resize(fit(columns));
        }
    }

    fn close(&mut self, _: &mut TapOut) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tap() -> Text {
        let secret = zeroize::Zeroizing::new(b"hunter22hunter22".to_vec());
        let patterns = Arc::new(Patterns::new([secret]).unwrap());
        Text::new(&patterns, Kind::Pipe, 0, MaskPlan::pass(2))
    }

    /// What a stream holds back goes on before what the other one says later.
    #[test]
    fn the_order_of_the_host_stays() {
        let mut tap = tap();
        let now = Instant::now();
        let mut out = TapOut::default();
        for (stream, data) in [
            (Stream::Output, &b"say hunt"[..]),
            (Stream::Errors, b"error\n"),
        ] {
            tap.push(stream, Bytes::from_static(data), now, &mut out)
                .unwrap();
        }
        let seen: Vec<_> = out.pieces.iter().map(|(s, b)| (*s, b.as_ref())).collect();
        let expect: [(Stream, &[u8]); 3] = [
            (Stream::Output, b"say "),
            (Stream::Output, b"hunt"),
            (Stream::Errors, b"error\n"),
        ];
        assert_eq!(seen, expect);
    }

    /// A secret that goes on behind a full line is one: what is full is said by the width that the terminal has just
    /// then, on either stream.
    #[test]
    fn a_terminal_has_the_width_that_it_was_told_last() {
        let secret = b"hunter22hunter22";
        let (a, b) = secret.split_at(9);
        // How wide it is at first and then, and whether a line of 40 is full.
        let widths: [(u32, &[u32], bool); 8] = [
            (40, &[], true),
            (80, &[], false),
            (80, &[40], true),
            (40, &[80], false),
            (80, &[132, 40], true),
            (80, &[40, 132], false),
            (0, &[20], true),
            // More than any terminal has.
            (40, &[u32::MAX], false),
        ];
        for (first, then, full) in widths {
            for stream in [Stream::Output, Stream::Errors] {
                let known = zeroize::Zeroizing::new(secret.to_vec());
                let patterns = Arc::new(Patterns::new([known]).unwrap());
                let plan = MaskPlan::pass(2);
                let mut tap = Text::new(&patterns, Kind::Terminal, first, plan);
                let (now, mut out) = (Instant::now(), TapOut::default());
                let mut push = |tap: &mut Text, text: Vec<u8>| {
                    tap.push(stream, text.into(), now, &mut out).unwrap();
                };
                push(&mut tap, b"before it\r\n".to_vec());
                for columns in then {
                    tap.resize(*columns);
                }
                let line = "$".repeat(40 - a.len()).into_bytes();
                push(&mut tap, [&line, a, b" \r", b, b" z\r\n"].concat());
                tap.flush(stream, now, &mut out).unwrap();
                let seen: Vec<u8> = out.pieces.iter().flat_map(|(_, b)| b.to_vec()).collect();
                let stars = seen.iter().filter(|c| **c == b'*').count();
                let expect = if full { secret.len() } else { 0 };
                let text = String::from_utf8_lossy(&seen);
                assert_eq!(stars, expect, "{first} {then:?} {stream:?}: {text}");
            }
        }
    }

    /// What is no text is told once, and masked like everything else.
    #[test]
    fn one_nul_turns_nothing_off() {
        let mut tap = tap();
        let now = Instant::now();
        let mut out = TapOut::default();
        let token = b"ghp_0123456789abcdefghijklmnopqrstuvwxyzABCD";
        tap.push(Stream::Output, Bytes::from_static(b"\0"), now, &mut out)
            .unwrap();
        assert_eq!(out.bulk.take(), Some(Stream::Output));
        tap.push(Stream::Output, Bytes::from_static(token), now, &mut out)
            .unwrap();
        tap.push(Stream::Output, Bytes::from(vec![0; 1000]), now, &mut out)
            .unwrap();
        tap.flush(Stream::Output, now, &mut out).unwrap();
        assert_eq!(out.bulk, None);
        let seen: Vec<u8> = out.pieces.iter().flat_map(|(_, b)| b.to_vec()).collect();
        assert_eq!(seen.len(), 1 + token.len() + 1000);
        assert!(!seen.windows(8).any(|w| w == &token[8..16]));
    }
}
