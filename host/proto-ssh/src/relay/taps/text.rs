//! Text that a client is shown: secrets in it are masked, at the same length; plugins see it in spans.

use std::sync::Arc;
use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};
use pipeline::mask::{MaskColumn, MaskEdits, MaskPlan};
use pipeline::ports::MaskFailed;

use crate::config::Binary;
use crate::mask::{Kind, Masker, Patterns, Spans, Verdict, column};
use crate::relay::core::tap::{Inspect, Stream, Tap, TapError, TapOut};

/// One stream.
struct Shown {
    /// Which column of the plan it is.
    column: u16,
    masker: Masker,
    /// How much of it has come.
    came: u64,
    /// It turned out to be no text.
    bulk: bool,
    spans: Option<Spans>,
    /// What spans had no room for: bounded by the window that the host is told of, of which this is a part.
    rest: BytesMut,
    /// Nothing of it is touched any more. What waits here goes on behind what plugins still look at, and is a part of
    /// that window, too.
    untouched: Option<BytesMut>,
}

impl Shown {
    /// Does something wait for plugins?
    fn waits(&self) -> bool {
        let waits = self.spans.as_ref().is_some_and(|spans| !spans.is_empty());
        waits || !self.rest.is_empty()
    }

    /// What is not touched goes on once nothing is before it.
    fn let_go(&mut self, stream: Stream, out: &mut TapOut) {
        let waits = self.waits();
        if let Some(behind) = self.untouched.as_mut().filter(|_| !waits) {
            piece(stream, std::mem::take(behind), out);
        }
    }
}

/// Both streams of a terminal or command.
pub(crate) struct Text {
    plan: Arc<MaskPlan>,
    binary: Binary,
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
    pub fn new(
        patterns: &Arc<Patterns>,
        (kind, width): (Kind, u32),
        plan: MaskPlan,
        binary: Binary,
    ) -> Self {
        let shown = |at: u16| {
            let mut masker = Masker::new(patterns.clone(), kind);
            masker.resize(fit(width));
            let spans = Spans::new(kind, &plan, at.into());
            Shown {
                column: at,
                masker,
                came: 0,
                bulk: false,
                spans: (!spans.passes()).then_some(spans),
                rest: BytesMut::new(),
                untouched: None,
            }
        };
        Self {
            binary,
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
            if shown.untouched.is_some() {
                spans.flush(&mut seen);
            }
        }
        piece(stream, seen, out);
        ask(stream, shown, &plan, out);
        shown.let_go(stream, out);
    }

    /// From here on nothing of this stream is touched. What is held back came before: it is text, and masked as such.
    fn touch_no_more(&mut self, stream: Stream, now: Instant, out: &mut TapOut) {
        let mut held = BytesMut::new();
        let Some(shown) = self.of(stream) else { return };
        shown.masker.flush(&mut held);
        shown.untouched = Some(BytesMut::new());
        out.unmasked = Some((stream, shown.came));
        self.pass(stream, held, now, out);
    }

    /// This stream is no text, and nobody was told before.
    fn turned_out(
        &mut self,
        stream: Stream,
        now: Instant,
        out: &mut TapOut,
    ) -> Result<(), TapError> {
        out.bulk = Some(stream);
        tracing::info!(
            ?stream,
            binary = self.binary.as_str(),
            "what a command writes is no text"
        );
        match self.binary {
            Binary::Mask => Ok(()),
            Binary::Pass => {
                self.touch_no_more(stream, now, out);
                Ok(())
            }
            Binary::Refuse => Err(refused(stream)),
        }
    }
}

/// For the client and for the record.
fn refused(stream: Stream) -> TapError {
    let name = match stream {
        Stream::Errors => "standard error",
        Stream::Input | Stream::Output => "output",
    };
    TapError(format!(
        "the {name} of the command is no text, which this target refuses where it is masked (binary = \"refuse\"); \
         fetch files with scp, sftp or rsync"
    ))
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
        let Some(shown) = self.of(stream) else {
            return Ok(());
        };
        let verdict = match shown.untouched {
            None => shown.masker.look(&data),
            Some(_) => Verdict::Binary,
        };
        if verdict == Verdict::Binary && !std::mem::replace(&mut shown.bulk, true) {
            self.turned_out(stream, now, out)?;
        }
        let Some(shown) = self.of(stream) else {
            return Ok(());
        };
        shown.came = shown.came.saturating_add(data.len() as u64);
        let waits = shown.waits();
        match &mut shown.untouched {
            Some(_) if !waits => out.pieces.push((stream, data)),
            Some(behind) => behind.extend_from_slice(&data),
            None => {
                let mut text = BytesMut::with_capacity(data.len());
                shown.masker.read_all(&data, verdict, now, &mut text);
                self.pass(stream, text, now, out);
            }
        }
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
        [&self.output, &self.errors]
            .iter()
            .any(|shown| shown.waits())
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

    const TOKEN: &[u8] = b"ghp_0123456789abcdefghijklmnopqrstuvwxyzABCD";

    fn tap() -> Text {
        with(Binary::Mask, MaskPlan::pass(2))
    }

    fn with(binary: Binary, plan: MaskPlan) -> Text {
        let secret = zeroize::Zeroizing::new(b"hunter22hunter22".to_vec());
        let patterns = Arc::new(Patterns::new([secret]).unwrap());
        Text::new(&patterns, (Kind::Pipe, 0), plan, binary)
    }

    /// What has gone on of the output.
    fn seen(out: &TapOut) -> Vec<u8> {
        let pieces = out.pieces.iter().filter(|(s, _)| *s == Stream::Output);
        pieces.flat_map(|(_, b)| b.to_vec()).collect()
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
                let mut tap =
                    Text::new(&patterns, (Kind::Terminal, first), plan, Binary::default());
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
        let token = TOKEN;
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

    /// Text is masked whatever is done with what is none, and with the output standard error is not given up.
    #[test]
    fn text_is_masked_whatever_is_done_with_the_rest() {
        for binary in Binary::ALL {
            let mut tap = with(binary, MaskPlan::pass(2));
            let (now, mut out) = (Instant::now(), TapOut::default());
            let line = [b"say ", TOKEN, b" now\n"].concat();
            for part in line.chunks(5) {
                tap.push(Stream::Output, Bytes::copy_from_slice(part), now, &mut out)
                    .unwrap();
            }
            tap.flush(Stream::Output, now, &mut out).unwrap();
            let expect = format!("say ghp_{} now\n", "*".repeat(TOKEN.len() - 4));
            assert_eq!(seen(&out), expect.as_bytes(), "{binary:?}");
            let nul = Bytes::from_static(b"\0");
            assert_eq!(
                tap.push(Stream::Errors, nul, now, &mut out).is_err(),
                binary == Binary::Refuse
            );
            out.pieces.clear();
            tap.push(Stream::Output, line.into(), now, &mut out)
                .unwrap();
            assert_eq!(seen(&out), expect.as_bytes(), "{binary:?}");
        }
    }

    /// Cut anywhere: up to the packet that tells, everything is masked; from there on no byte is touched, nothing is lost and
    /// nothing overtakes.
    #[test]
    fn what_passes_untouched_does_so_from_the_packet_on_that_tells() {
        let all = [
            b"a ",
            TOKEN,
            b" b hunter22hunt\0er22hunter22 ",
            TOKEN,
            b"\n",
        ]
        .concat();
        let nul = all.iter().position(|c| *c == 0).unwrap();
        for at in 1..all.len() {
            let mut tap = with(Binary::Pass, MaskPlan::pass(2));
            let (now, mut out) = (Instant::now(), TapOut::default());
            for part in [&all[..at], &all[at..]] {
                tap.push(Stream::Output, Bytes::copy_from_slice(part), now, &mut out)
                    .unwrap();
            }
            tap.flush(Stream::Output, now, &mut out).unwrap();
            let from = if at <= nul { at } else { 0 };
            assert_eq!(out.unmasked, Some((Stream::Output, from as u64)));
            let seen = seen(&out);
            assert_eq!(&seen[from..], &all[from..], "cut at {at}");
            let stars = all[..from].iter().zip(&seen);
            assert!(stars.into_iter().all(|(was, is)| was == is || *is == b'*'));
            // What came before it was text: of a secret that had begun there, nothing is let go of for that.
            let begun = b" b hunter22hunt".len();
            if from >= nul - 2 {
                let masked = &seen[nul - begun + 3..from];
                assert!(masked.iter().all(|c| *c == b'*'), "cut at {at}");
            }
            assert!(from < 20 || !seen[..from].windows(8).any(|w| w == &TOKEN[8..16]));
        }
    }

    /// It waits behind text that plugins look at, and everything after it does.
    #[test]
    fn what_is_untouched_does_not_overtake_what_plugins_look_at() {
        let plan = MaskPlan {
            actions: vec![vec![pipeline::mask::MaskAction::Inspect]; 2],
            ..MaskPlan::pass(2)
        };
        let mut tap = with(Binary::Pass, plan);
        let (now, mut out) = (Instant::now(), TapOut::default());
        let push = |tap: &mut Text, data: &[u8], out: &mut TapOut| {
            tap.push(Stream::Output, Bytes::copy_from_slice(data), now, out)
                .unwrap();
        };
        push(&mut tap, b"one\ntwo", &mut out);
        push(&mut tap, b"\0\x01", &mut out);
        push(&mut tap, TOKEN, &mut out);
        tap.flush(Stream::Output, now, &mut out).unwrap();
        assert!(seen(&out).is_empty() && tap.is_inspecting());
        let mut asked = 0;
        while let Some(inspect) = out.inspect.pop() {
            asked += inspect.batch.ends.len();
            let edits = Ok(MaskEdits::default());
            tap.inspected(inspect.stream, edits, now, &mut out);
        }
        assert_eq!(asked, 2, "of what is no text, plugins are shown nothing");
        assert!(!tap.is_inspecting());
        push(&mut tap, b"more", &mut out);
        let expect = [b"one\ntwo\0\x01", TOKEN, b"more"].concat();
        assert_eq!(seen(&out), expect);
    }

    /// Nothing of the packet that tells goes on, and nothing of what was held back.
    #[test]
    fn what_is_no_text_is_refused() {
        for (stream, name) in [
            (Stream::Output, "output"),
            (Stream::Errors, "standard error"),
        ] {
            let mut tap = with(Binary::Refuse, MaskPlan::pass(2));
            let (now, mut out) = (Instant::now(), TapOut::default());
            tap.push(stream, Bytes::from_static(b"say hunter22"), now, &mut out)
                .unwrap();
            let before = std::mem::take(&mut out);
            let data = [b"hunter22\0", TOKEN].concat();
            let error = tap.push(stream, data.into(), now, &mut out).unwrap_err();
            assert!(error.0.contains(&format!("the {name} of the command")));
            assert!(out.pieces.is_empty());
            let seen: Vec<u8> = before.pieces.iter().flat_map(|(_, b)| b.to_vec()).collect();
            assert_eq!(seen, b"say ");
        }
    }

    /// Terminals show everything as text.
    #[test]
    fn a_terminal_is_never_binary() {
        for binary in Binary::ALL {
            let patterns = Arc::new(Patterns::new([]).unwrap());
            let mut tap = Text::new(&patterns, (Kind::Terminal, 80), MaskPlan::pass(2), binary);
            let (now, mut out) = (Instant::now(), TapOut::default());
            let data = [b"\0\x01\x02", TOKEN, b"\r\n"].concat();
            tap.push(Stream::Output, data.into(), now, &mut out)
                .unwrap();
            tap.flush(Stream::Output, now, &mut out).unwrap();
            assert!(!seen(&out).windows(8).any(|w| w == &TOKEN[8..16]));
            assert_eq!((out.bulk, out.unmasked), (None, None));
        }
    }
}
