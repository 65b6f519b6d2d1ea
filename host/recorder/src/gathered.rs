//! Durable blocks that wait for the sealer: it is not woken for each of them.

use std::sync::mpsc::SyncSender;

use crate::commit::{ToSealer, Written};
use crate::state::State;

/// So many bytes of records are enough to wake it.
const SEALER_BYTES: usize = 256 << 10;

/// Durable blocks on their way to the sealer.
#[derive(Default)]
pub struct Gathered {
    messages: Vec<ToSealer>,
    bytes: usize,
    urgent: bool,
}

impl Gathered {
    /// Answers those who waited for the disk.
    pub fn take(&mut self, state: &State, durable: Vec<Written>) {
        for written in durable {
            // Whoever learns of a session can watch it.
            state.watching.begun(&written.batch);
            for done in written.done {
                done.send(Ok(())).ok();
            }
            self.bytes += written.batch.raw.len();
            self.urgent |= !written.batch.closers.is_empty() || !written.flushes.is_empty();
            self.messages.push(ToSealer::Batch(written.batch));
            for (flush, done) in written.flushes {
                self.messages.push(ToSealer::Flush(flush, done));
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Gives the sealer what there is, if that is enough to wake it for, or `all` is to go.
    pub fn send(&mut self, state: &State, to: &SyncSender<Vec<ToSealer>>, all: bool) {
        if !(all || self.urgent || self.bytes >= SEALER_BYTES) {
            return;
        }
        if self.messages.is_empty() {
            return;
        }
        // All at once: it is woken once.
        let sent = to.send(std::mem::take(&mut self.messages)).is_ok();
        self.bytes = 0;
        self.urgent = false;
        if !sent {
            state.poison("the sealer has stopped".into());
        }
    }
}
