//! A command that runs what comes on its standard input: that is read to its end, decided on with the command, and
//! only then sent. The client is told that its command has started, because some clients send nothing before, and
//! it is lent the window that the host has not given yet.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::channel::{Wait, Waiting};
use super::exec::Exec;
use super::requests::Answer;
use super::{Core, Effect, Key, Side, Violation};
use crate::action::{Line, Unread};
use crate::wire::numbers;

/// After so long, whoever sits in front of it is told what is going on.
const TELL_AFTER: Duration = Duration::from_secs(3);

/// What is known of a script that is being read.
#[derive(Debug)]
pub(super) struct Gather {
    want_reply: bool,
    payload: Bytes,
    command: Bytes,
    line: Line,
    bytes: usize,
    since: Instant,
    until: Instant,
    told: bool,
}

impl Gather {
    /// Bytes of the client that it keeps, beside what waits.
    pub fn holds(&self) -> usize {
        self.payload.len() + self.command.len()
    }

    pub fn deadline(&self) -> Instant {
        match self.told {
            true => self.until,
            false => self.until.min(self.since + TELL_AFTER),
        }
    }
}

impl Core {
    /// Scripts are read before they are decided on, and commands are sent as they were read. Where nothing hangs on
    /// what they do, neither needs to be.
    pub fn set_gathers(&mut self, gathers: bool) {
        self.gathers = gathers;
    }

    /// Begins to read the script of a command.
    pub(super) fn gather(
        &mut self,
        key: Key,
        (want_reply, payload): (bool, Bytes),
        (command, line): (Bytes, Line),
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let Some(channel) = self.channels.get_mut(&key) else {
            return Ok(());
        };
        channel.started = true;
        channel.wait = Wait::Script;
        self.waiting += payload.len() + command.len();
        channel.gather = Some(Box::new(Gather {
            want_reply,
            payload: Bytes::copy_from_slice(&payload),
            command,
            line,
            bytes: 0,
            since: now,
            until: now + self.limits.script_patience,
            told: false,
        }));
        if want_reply {
            channel.replies.client.local(Answer::Success);
            channel.answer_due(Side::Client, out);
        }
        // One more than is read, to tell what is too long.
        let lent = channel.flows.client.lend(self.limits.script as u64 + 1);
        channel.grant(Side::Client, lent, out);
        // What came while the command was waiting itself is part of it, and may be all of it.
        let (mut more, mut whole) = (0, false);
        for waiting in &channel.waiting {
            match waiting {
                Waiting::Data(data) => more += data.len(),
                Waiting::Message(payload) => {
                    whole |= payload.first() == Some(&numbers::CHANNEL_EOF)
                }
                Waiting::Long { .. } => {}
            }
        }
        self.gathered(key, more, now, out)?;
        match whole {
            true => self.gathered_all(key, now, out),
            false => Ok(()),
        }
    }

    /// More of the script has come; it is with what waits.
    pub(super) fn gathered(
        &mut self,
        key: Key,
        more: usize,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let max = self.limits.script;
        let gather = self.channels.get_mut(&key).and_then(|c| c.gather.as_mut());
        let Some(gather) = gather else { return Ok(()) };
        gather.bytes += more;
        if gather.bytes <= max {
            return Ok(());
        }
        let reason =
            format!("what comes on its standard input is run, and has more than {max} bytes");
        self.ungather(key, &reason, now, out)
    }

    /// The script is whole.
    pub(super) fn gathered_all(
        &mut self,
        key: Key,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let Some(gather) = self.take_gather(key) else {
            return Ok(());
        };
        let Some(channel) = self.channels.get_mut(&key) else {
            return Ok(());
        };
        let mut script = BytesMut::with_capacity(gather.bytes);
        for waiting in &channel.waiting {
            if let Waiting::Data(data) = waiting {
                script.extend_from_slice(data);
            }
        }
        let unread = Unread::script(script.freeze(), gather.line);
        let exec = Exec {
            want_reply: gather.want_reply,
            answered: true,
            command: gather.command,
            payload: gather.payload,
        };
        self.read(key, exec, unread, now, out)
    }

    /// Nothing more is read for it.
    pub(super) fn take_gather(&mut self, key: Key) -> Option<Box<Gather>> {
        let gather = self.channels.get_mut(&key)?.gather.take()?;
        self.waiting = self.waiting.saturating_sub(gather.holds());
        Some(gather)
    }

    /// Nothing more is read for it, which goes on record.
    pub(super) fn tell_gather(&mut self, key: Key, reason: &str, out: &mut Vec<Effect>) {
        if let Some(gather) = self.take_gather(key) {
            let Gather { command, line, .. } = *gather;
            self.turn_exec(key, command, line, reason, out);
        }
    }

    /// It will not be whole.
    pub(super) fn ungather(
        &mut self,
        key: Key,
        reason: &str,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        self.tell_gather(key, reason, out);
        if let Some(channel) = self.channels.get_mut(&key) {
            channel.wait = Wait::Nothing;
        }
        self.refuse_start(key, false, reason, None, now, out)
    }

    /// Time has passed for scripts that are being read.
    pub(super) fn tick_gathers(
        &mut self,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let mut late = Vec::new();
        let max = self.limits.script;
        for (key, channel) in &mut self.channels {
            let Some(gather) = &mut channel.gather else {
                continue;
            };
            if gather.until <= now {
                late.push(*key);
            } else if !gather.told && gather.since + TELL_AFTER <= now {
                gather.told = true;
                let line = format!(
                    "weir: what comes on standard input is run: it is read to its end first, at most {max} bytes"
                );
                channel.notice(&[line], out);
            }
        }
        let seconds = self.limits.script_patience.as_secs();
        for key in late {
            let reason = format!(
                "what comes on its standard input is run, and did not end within {seconds} s"
            );
            self.ungather(key, &reason, now, out)?;
        }
        Ok(())
    }
}
