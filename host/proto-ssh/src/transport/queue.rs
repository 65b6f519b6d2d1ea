//! Messages that wait for a key exchange to end.

use std::collections::VecDeque;

use bytes::Bytes;

/// In order, with what they take up.
#[derive(Default)]
pub(super) struct Queue {
    pub(super) messages: VecDeque<Bytes>,
    pub(super) bytes: usize,
}

/// What a message takes up beside its own bytes: of small ones, that is most of it.
pub(super) const EACH: usize = 64;

impl Queue {
    pub fn push(&mut self, message: Bytes) {
        self.bytes = self.bytes.saturating_add(message.len() + EACH);
        self.messages.push_back(message);
    }

    pub fn pop(&mut self) -> Option<Bytes> {
        let message = self.messages.pop_front()?;
        self.bytes = self.bytes.saturating_sub(message.len() + EACH);
        Some(message)
    }
}
