//! Cuts one direction into the heads of packets and the bodies behind them, and gives on what passes in as few
//! pieces as it came in.
//!
//! A head is what has to be seen before anything of the packet may pass; it is kept until it is whole. A body
//! (contents of files, lists of names) is never kept.

use bytes::{Bytes, BytesMut};

use super::error::Wrong;

/// What the beginning of a packet is.
pub(super) enum Need {
    /// Not enough: at least so many bytes of the packet are needed.
    More(usize),
    /// The head has so many bytes, and so many follow it.
    Head { len: usize, body: usize },
}

/// A piece of the stream.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) bytes: Bytes,
    /// Its bytes came, at least in part, with an earlier chunk.
    kept: bool,
    pub(super) what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// With how many bytes of body behind it.
    Head(usize),
    /// With how many bytes of it left.
    Body(usize),
}

#[derive(Debug, Default)]
pub(super) struct Cutter {
    head: BytesMut,
    body: usize,
}

impl Cutter {
    /// Nothing of a packet has passed that is not whole.
    pub(super) fn at_boundary(&self) -> bool {
        self.body == 0
    }

    /// The stream may end here.
    pub(super) fn is_idle(&self) -> bool {
        self.body == 0 && self.head.is_empty()
    }

    /// The next part of `chunk`; none when more bytes are needed.
    pub(super) fn next(
        &mut self,
        chunk: &mut Bytes,
        need: impl Fn(&[u8]) -> Result<Need, Wrong>,
    ) -> Result<Option<Part>, Wrong> {
        if self.body > 0 {
            if chunk.is_empty() {
                return Ok(None);
            }
            let bytes = chunk.split_to(self.body.min(chunk.len()));
            self.body -= bytes.len();
            let what = What::Body(self.body);
            return Ok(Some(Part {
                bytes,
                kept: false,
                what,
            }));
        }
        if self.head.is_empty() {
            match need(chunk)? {
                Need::Head { len, body } if len <= chunk.len() => {
                    self.body = body;
                    let bytes = chunk.split_to(len);
                    let what = What::Head(body);
                    return Ok(Some(Part {
                        bytes,
                        kept: false,
                        what,
                    }));
                }
                Need::Head { .. } | Need::More(_) => {
                    self.head.extend_from_slice(chunk);
                    chunk.clear();
                    return Ok(None);
                }
            }
        }
        loop {
            let missing = match need(&self.head)? {
                Need::Head { len, body } if len <= self.head.len() => {
                    self.body = body;
                    let bytes = self.head.split().freeze();
                    let what = What::Head(body);
                    return Ok(Some(Part {
                        bytes,
                        kept: true,
                        what,
                    }));
                }
                Need::Head { len, .. } | Need::More(len) => len.saturating_sub(self.head.len()),
            };
            if chunk.is_empty() {
                return Ok(None);
            }
            let more = chunk.split_to(missing.min(chunk.len()));
            self.head.extend_from_slice(&more);
        }
    }
}

/// Gathers what passes unchanged from one chunk, so that it leaves in one piece where it came in one.
pub(super) struct Gather {
    chunk: Bytes,
    from: usize,
    to: usize,
}

impl Gather {
    pub(super) fn new(chunk: &Bytes) -> Self {
        Self {
            chunk: chunk.clone(),
            from: 0,
            to: 0,
        }
    }

    /// `part` passes; `rest` is what is left of the chunk behind it.
    pub(super) fn pass(&mut self, part: &Part, rest: &Bytes, out: &mut impl FnMut(Bytes)) {
        let at = self.chunk.len().saturating_sub(rest.len());
        if part.kept {
            self.flush(out);
            out(part.bytes.clone());
            self.from = at;
        }
        self.to = at;
    }

    /// What comes now is not passed with what went before; `rest` is what is left of the chunk behind it.
    pub(super) fn skip(&mut self, rest: &Bytes, out: &mut impl FnMut(Bytes)) {
        self.flush(out);
        self.from = self.chunk.len().saturating_sub(rest.len());
        self.to = self.from;
    }

    pub(super) fn flush(&mut self, out: &mut impl FnMut(Bytes)) {
        if self.from < self.to && self.to <= self.chunk.len() {
            out(self.chunk.slice(self.from..self.to));
        }
        self.from = self.to;
    }
}
