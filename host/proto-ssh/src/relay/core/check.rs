//! What must hold of all channels at any time: for tests and fuzzing.

use super::Core;
use super::channel::{self, Channel};

impl Core {
    /// Every byte of a window is somewhere, and every byte that waits is counted.
    pub fn check(&self) {
        let channels = self.channels.values();
        let waiting: usize = channels.map(Channel::waits).sum::<usize>()
            + self.globals.waits()
            + self.decided_on.values().sum::<usize>();
        assert_eq!(waiting, self.waiting, "what waits");
        for channel in self.channels.values() {
            if channel.refused.is_some() || channel.state != channel::State::Open {
                continue;
            }
            let waiting = channel.waiting.iter().map(|w| match w {
                channel::Waiting::Data(data) => data.len() as u64,
                channel::Waiting::Message(_) | channel::Waiting::Long { .. } => 0,
            });
            let waiting: u64 = waiting.sum();
            let (known, real) = channel.flows.client.balance();
            // To a host that has closed nothing goes on any more, and nobody is given room for it.
            let closed = channel.flows.client.closed || channel.flows.upstream.closed;
            if !closed && channel.wait != channel::Wait::Number {
                assert_eq!(known + waiting, real, "to the host");
                let here = channel.flows.client.queued() + waiting;
                assert_eq!(here, channel.flows.client.here(), "bytes to the host");
            }
            let (known, real) = channel.flows.upstream.balance();
            if !closed {
                assert_eq!(known, real, "to the client");
                let here = channel.flows.upstream.queued();
                assert_eq!(here, channel.flows.upstream.here(), "bytes to the client");
            }
        }
    }

    pub fn counts(&self) -> (usize, usize, usize) {
        (self.channels.len(), self.pending.len(), self.waiting)
    }
}
