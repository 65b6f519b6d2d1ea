//! One direction of one channel: whose windows have how much room, and what waits to go on.
//!
//! Windows are end to end. What the sender believes it may send differs from what the receiver has room for only
//! by what we changed on the way:
//!
//! ```text
//! sender's window + bytes here + withheld = receiver's room + owed
//! ```
//!
//! Suppressed bytes are given back to the sender, added ones are owed by the receiver: that much of what it
//! grants later is not passed on.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::transport::MAX_PAYLOAD;

/// The most that goes into one packet, whatever the receiver says that it takes: all of it has to fit with its head.
const MAX_DATA: usize = MAX_PAYLOAD - 64;

/// What goes to the receiver, in order.
#[derive(Debug)]
pub(super) enum Out {
    Data {
        /// The type of extended data; none: CHANNEL_DATA.
        code: Option<u32>,
        bytes: BytesMut,
    },
    /// A whole message. It does not overtake data.
    Message(Bytes),
    /// The last message.
    Close(Bytes),
}

#[derive(Debug, Default)]
pub(super) struct Flow {
    /// What the sender believes that it may still send.
    window: u64,
    /// What the receiver has room for.
    room: u64,
    /// The receiver's largest packet.
    pub max_packet: u32,
    /// Bytes that we added: the receiver's grants are passed on less this much.
    owed: u64,
    /// Granted by the receiver and not passed on yet, because the sender has enough.
    withheld: u64,
    /// The sender is never told of more than this, less what is here.
    cap: u64,
    /// Bytes that have come, or that we added, and that have not gone on: they wait, whatever for.
    here: u64,
    pub queue: VecDeque<Out>,
    /// The sender has sent EOF.
    pub eof: bool,
    /// The sender has sent CLOSE.
    pub closed: bool,
    /// The receiver was sent EOF.
    pub eof_sent: bool,
    /// The receiver was sent CLOSE.
    pub close_sent: bool,
    /// Bytes of data that the receiver was sent.
    pub passed: u64,
}

impl Flow {
    pub fn new(cap: u32) -> Self {
        Self {
            cap: cap.into(),
            ..Self::default()
        }
    }

    /// The receiver's first words about its window. What the sender is to be told of it.
    pub fn open(&mut self, window: u32, max_packet: u32) -> u32 {
        self.room = window.into();
        self.max_packet = max_packet;
        self.grant(window.into())
    }

    /// The sender sent `n` bytes. False: it had no window for them.
    #[must_use]
    pub fn arrived(&mut self, n: usize) -> bool {
        match self.window.checked_sub(n as u64) {
            Some(left) => {
                self.window = left;
                self.here += n as u64;
                true
            }
            None => false,
        }
    }

    /// How many of `n` bytes can go on now, in one packet.
    pub fn fits(&self, n: usize) -> usize {
        let room = usize::try_from(self.room).unwrap_or(usize::MAX);
        n.min(room).min(self.max_packet as usize).min(MAX_DATA)
    }

    /// `n` bytes, which fit, go on. What is withheld may be [`Flow::due`] for that.
    pub fn passes(&mut self, n: usize) {
        self.room = self.room.saturating_sub(n as u64);
        self.here = self.here.saturating_sub(n as u64);
        self.passed = self.passed.saturating_add(n as u64);
    }

    /// Bytes that have not gone on.
    pub fn waits(&self) -> u64 {
        self.here
    }

    /// `n` bytes of the sender will never go on. What the sender is to be granted for that.
    pub fn dropped(&mut self, n: u64) -> u32 {
        self.here = self.here.saturating_sub(n);
        let settled = self.owed.min(n);
        self.owed -= settled;
        self.grant(n - settled)
    }

    /// `n` bytes that the sender never sent will go on.
    pub fn added(&mut self, n: u64) {
        self.owed += n;
        self.here += n;
    }

    /// The sender needs a window of `n` bytes at least, before the receiver gives one. What it is to be granted.
    pub fn lend(&mut self, n: u64) -> u32 {
        let more = n.saturating_sub(self.window + self.withheld);
        self.owed += more;
        self.grant(more)
    }

    /// The receiver grants `n` bytes more. What the sender is to be granted; `None`: its window would be larger
    /// than a window can be.
    pub fn granted(&mut self, n: u32) -> Option<u32> {
        let room = self.room + u64::from(n);
        if room > u64::from(u32::MAX) {
            return None;
        }
        self.room = room;
        let settled = self.owed.min(n.into());
        self.owed -= settled;
        Some(self.grant(u64::from(n) - settled))
    }

    /// What is withheld and may be passed on now, because something has gone on. Nothing for whom sends no more.
    pub fn due(&mut self) -> u32 {
        match self.eof || self.closed {
            true => 0,
            false => self.grant(0),
        }
    }

    fn grant(&mut self, n: u64) -> u32 {
        self.withheld += n;
        // What is here counts as well: a window is a promise to take so much more.
        let free = self.cap.saturating_sub(self.window + self.here);
        // Small steps would cost a message for every packet.
        if self.withheld > free && free < self.cap / 2 {
            return 0;
        }
        let give = self.withheld.min(free).min(u32::MAX.into());
        self.withheld -= give;
        self.window += give;
        u32::try_from(give).unwrap_or(u32::MAX)
    }

    #[cfg(any(test, fuzzing))]
    pub fn balance(&self) -> (u64, u64) {
        let here = self.queued();
        (self.window + self.withheld + here, self.room + self.owed)
    }

    #[cfg(any(test, fuzzing))]
    pub fn queued(&self) -> u64 {
        let here = self.queue.iter().map(|out| match out {
            Out::Data { bytes, .. } => bytes.len() as u64,
            Out::Message(_) | Out::Close(_) => 0,
        });
        here.sum()
    }

    #[cfg(any(test, fuzzing))]
    pub fn here(&self) -> u64 {
        self.here
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_is_taken_from_later_grants() {
        let mut flow = Flow::new(u32::MAX);
        assert_eq!(flow.open(100, 50), 100);
        flow.added(30);
        assert_eq!(flow.fits(30), 30);
        flow.passes(30);
        assert!(flow.arrived(100), "the sender knows nothing of it");
        assert_eq!(flow.fits(100), 50, "the largest packet");
        flow.passes(50);
        assert_eq!(flow.fits(50), 20, "room for no more");
        flow.passes(20);
        assert_eq!(flow.granted(40), Some(10));
        assert_eq!(flow.fits(30), 30);
        flow.passes(30);
        assert_eq!(flow.balance(), (10, 10));
    }

    #[test]
    fn what_is_lent_is_taken_from_later_grants() {
        let mut flow = Flow::new(u32::MAX);
        flow.open(0, 50);
        assert_eq!((flow.lend(100), flow.lend(100)), (100, 0));
        assert!(flow.arrived(100));
        assert_eq!(flow.granted(70), Some(0));
        assert_eq!(flow.granted(70), Some(40));
    }

    #[test]
    fn what_is_suppressed_is_given_back() {
        let mut flow = Flow::new(u32::MAX);
        flow.open(100, 50);
        flow.added(10);
        assert!(flow.arrived(40));
        assert_eq!(flow.dropped(40), 30, "less what is owed");
        assert!(!flow.arrived(91));
        assert!(flow.arrived(90));
    }

    #[test]
    fn a_sender_is_told_of_no_more_than_the_cap() {
        let mut flow = Flow::new(100);
        assert_eq!(flow.open(1000, 50), 100);
        assert!(!flow.arrived(101));
        assert!(flow.arrived(40));
        flow.passes(40);
        assert_eq!(flow.due(), 0, "60 are enough");
        assert!(flow.arrived(20));
        flow.passes(20);
        assert_eq!(flow.due(), 60);
        assert_eq!(flow.balance(), (940, 940));
    }

    #[test]
    fn no_packet_is_larger_than_one_can_be() {
        let mut flow = Flow::new(u32::MAX);
        flow.open(u32::MAX, u32::MAX);
        assert_eq!(flow.fits(1 << 30), MAX_DATA);
    }

    #[test]
    fn what_is_here_is_part_of_the_cap() {
        let mut flow = Flow::new(100);
        assert_eq!(flow.open(1000, 50), 100);
        assert!(flow.arrived(100));
        assert_eq!(flow.due(), 0, "all of it waits");
        assert_eq!(flow.granted(1000), Some(0), "whatever the receiver grants");
        assert!(!flow.arrived(1));
        flow.passes(30);
        assert_eq!(flow.due(), 0, "30 are not worth a message");
        assert_eq!(flow.dropped(20), 50);
        flow.added(50);
        flow.passes(50);
        assert_eq!(flow.due(), 0, "what we added waits, too");
        flow.passes(50);
        assert_eq!(flow.due(), 50);
        assert_eq!(flow.here(), 0);
        flow.eof = true;
        assert!(flow.arrived(100));
        flow.passes(100);
        assert_eq!(flow.due(), 0, "nothing more comes");
    }

    #[test]
    fn a_window_is_never_larger_than_a_window_can_be() {
        let mut flow = Flow::new(u32::MAX);
        flow.open(u32::MAX - 1, 50);
        assert_eq!(flow.granted(1), Some(1));
        assert_eq!(flow.granted(1), None);
    }
}
