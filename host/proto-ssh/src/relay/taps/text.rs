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
    /// How much of that has gone on.
    went: u64,
    /// It turned out to be no text.
    bulk: bool,
    /// Since then, what came is held against what goes on.
    compared: Option<Compared>,
    spans: Option<Spans>,
    /// What spans had no room for: bounded by the window that the host is told of, of which this is a part.
    rest: BytesMut,
    /// Nothing of it is touched any more. What waits here goes on behind what plugins still look at, and is a part of
    /// that window, too.
    untouched: Option<BytesMut>,
}

/// What came and has not gone on yet. Everything keeps its length, so it is as much as the masks hold back.
struct Compared {
    /// So many bytes go on first that came before.
    before: u64,
    came: BytesMut,
}

impl Compared {
    /// How many bytes of what goes on are others than came.
    fn changed(&mut self, mut went: &[u8]) -> u64 {
        let before = self.before.min(went.len() as u64);
        self.before -= before;
        went = usize::try_from(before)
            .ok()
            .and_then(|before| went.get(before..))
            .unwrap_or_default();
        let came = self.came.split_to(went.len().min(self.came.len()));
        if came == went {
            return 0;
        }
        came.iter().zip(went).filter(|(a, b)| a != b).count() as u64
    }
}

impl Shown {
    /// This goes on.
    fn goes(&mut self, stream: Stream, bytes: BytesMut, out: &mut TapOut) {
        self.went = self.went.saturating_add(bytes.len() as u64);
        if let Some(compared) = &mut self.compared {
            let changed = compared.changed(&bytes);
            if changed > 0 {
                out.masked.push((stream, changed));
            }
        }
        piece(stream, bytes, out);
    }

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
                went: 0,
                bulk: false,
                compared: None,
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
            shown.goes(stream, text, out);
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
        shown.goes(stream, seen, out);
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
            Binary::Mask => {
                if let Some(shown) = self.of(stream) {
                    shown.compared = Some(Compared {
                        before: shown.came.saturating_sub(shown.went),
                        came: BytesMut::new(),
                    });
                }
                Ok(())
            }
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
    fn reads(&self, _: Stream) -> bool {
        true
    }

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
                if let Some(compared) = &mut shown.compared {
                    compared.came.extend_from_slice(&data);
                }
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
        if let Some(shown) = self.of(stream) {
            if let Some(spans) = &mut shown.spans {
                spans.edits_in(edits, &mut seen);
            }
            shown.goes(stream, seen, out);
        }
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
        shown.goes(stream, seen, out);
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
            shown.goes(stream, seen, out);
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
mod tests;
