//! What listens in on the data of a channel, changes it, or asks about parts of it: masks, file transfers.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use pipeline::OutcomeKind;
use pipeline::mask::{MaskBatch, MaskEdits, MaskPlan};
use pipeline::ports::MaskFailed;

use crate::transfer::Request;

/// A stream of a channel's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Stream {
    /// From the client.
    Input,
    /// From the upstream.
    Output,
    /// Standard error, from the upstream.
    Errors,
}

/// The channel cannot go on: why, in words that the client may read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct TapError(pub String);

/// Part of a stream that is not passed on before it is decided on.
#[derive(Debug)]
pub(crate) struct TapAsk {
    /// The tap's own number for it, for its end.
    pub id: u64,
    pub asked: Request,
}

/// Something that was permitted has come to its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TapDone {
    pub id: u64,
    pub result: OutcomeKind,
    pub detail: String,
    pub bytes: u64,
}

/// Spans of text for plugins, by the plan that they made.
pub(crate) struct Inspect {
    pub stream: Stream,
    pub plan: Arc<MaskPlan>,
    pub batch: MaskBatch,
}

/// What a tap wants.
#[derive(Default)]
pub(crate) struct TapOut {
    /// Goes on, in this order.
    pub pieces: Vec<(Stream, Bytes)>,
    /// So many bytes that came in will never go on.
    pub dropped: Vec<(Stream, u64)>,
    /// So many of the bytes in `pieces` never came in.
    pub added: Vec<(Stream, u64)>,
    /// At most one at a time; nothing more of `Input` is given to the tap before it is answered.
    pub ask: Option<TapAsk>,
    pub done: Vec<TapDone>,
    /// Text that plugins are to look at. What comes behind it on its stream waits in the tap.
    pub inspect: Vec<Inspect>,
    /// From here on this stream is not text: it is not recorded without end.
    pub bulk: Option<Stream>,
    /// From this byte of it on nothing of this stream is masked, for the record.
    pub unmasked: Option<(Stream, u64)>,
    /// Of what is not text, so many bytes in `pieces` are others than came in.
    pub masked: Vec<(Stream, u64)>,
}

/// Bytes in, bytes out. Pure: no sockets, no clock.
pub(crate) trait Tap: Send {
    /// Is it given the data of this stream? Other data passes by it as it came.
    fn reads(&self, stream: Stream) -> bool;

    fn push(
        &mut self,
        stream: Stream,
        data: Bytes,
        now: Instant,
        out: &mut TapOut,
    ) -> Result<(), TapError>;

    /// The decision about the last ask: its bytes, or why it is refused.
    fn answer(
        &mut self,
        answer: Result<Bytes, String>,
        now: Instant,
        out: &mut TapOut,
    ) -> Result<(), TapError>;

    /// What plugins said about the last `inspect` of this stream.
    fn inspected(
        &mut self,
        stream: Stream,
        edits: Result<MaskEdits, MaskFailed>,
        now: Instant,
        out: &mut TapOut,
    );

    /// It holds something back until plugins have answered.
    fn is_inspecting(&self) -> bool;

    /// Nothing more comes on this stream, or a message follows that must not overtake what is held back.
    fn flush(&mut self, stream: Stream, now: Instant, out: &mut TapOut) -> Result<(), TapError>;

    /// When [`Tap::tick`] is to be called.
    fn deadline(&self) -> Option<Instant>;

    fn tick(&mut self, now: Instant, out: &mut TapOut);

    /// The client's terminal has so many columns now.
    fn resize(&mut self, columns: u32);

    /// The channel is gone: what was permitted and has no end yet.
    fn close(&mut self, out: &mut TapOut);
}
