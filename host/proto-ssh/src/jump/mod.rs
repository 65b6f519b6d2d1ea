//! A client that has logged in and has no session: because it names no target, or none that is open to it, or
//! because there is no connection to it. It is told so when it asks for a session. And it can jump: `ssh -J
//! gateway root@web1` opens a channel to `web1:22`, which ends here, in another SSH connection for the same
//! identity; what it asks for there is decided on as if it had come by the front door.

mod channels;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod stream;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use pipeline::{Action, Stranger};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::leg::{Leg, LegError, Stream, Turn};
use crate::service::{Entry, Inner, serve_inside};
use crate::startup::Outer;
use crate::transport::Event;
use crate::wire::numbers::disconnect;
use channels::{Channels, Jump, Refused, Refusing, Rules, Violation};

/// What may wait to be sent before the streams inside have to wait.
const MAX_BACKLOG: usize = 256 << 10;
/// What sessions inside get, beside the times for last bytes, for decisions that end and for their records.
const RECORDS: Duration = Duration::from_secs(5);
/// The port of SSH.
const SSH: u16 = 22;

/// Why the client has no session.
pub(crate) struct NoSession {
    /// Of SSH_MSG_CHANNEL_OPEN_FAILURE.
    pub reason: u32,
    pub text: String,
    /// What is not on record yet.
    pub unknown: Option<Unknown>,
}

/// What the client has said of its target. To jump, it says its own name or anything: only if it asks for a session
/// there, it is on record.
pub(crate) struct Unknown {
    pub said: String,
    pub reason: &'static str,
    /// It is on record, too, if the client leaves without having jumped.
    pub names_one: bool,
}

#[derive(Debug, thiserror::Error)]
enum LoungeError {
    #[error(transparent)]
    Leg(#[from] LegError),
    #[error(transparent)]
    Violation(#[from] Violation),
}

/// Serves a client without a session until it goes. `early`: what it has sent so far.
pub(crate) async fn lounge(
    mut leg: Leg,
    early: Vec<Bytes>,
    no_session: NoSession,
    entry: &Entry,
    who: Outer,
) {
    let mut ports = Vec::new();
    // Nobody jumps out of a connection that is inside another, or where there is one target only.
    if entry.inner.is_none() && entry.listener.target.is_none() {
        ports.push(SSH);
        ports.extend(entry.shared.targets.values().map(|t| t.port));
    }
    let limits = &entry.shared.options.limits;
    let progress = Arc::new(Notify::new());
    let rules = Rules {
        refusing: Refusing {
            reason: no_session.reason,
            text: no_session.text,
        },
        ports,
        max_channels: limits.max_jumps,
        window: limits.jump_window,
    };
    let mut here = Lounge {
        channels: Channels::new(rules, progress.clone()),
        inside: JoinSet::new(),
        entry,
        who,
        unknown: no_session.unknown,
        jumped: false,
        refused: Vec::new(),
    };
    let result = here.run(&mut leg, early, &progress).await;
    here.on_record(true).await;
    let (reason, text) = match &result {
        Ok(text) => (disconnect::BY_APPLICATION, (*text).to_owned()),
        Err(LoungeError::Violation(v)) => (disconnect::PROTOCOL_ERROR, v.to_string()),
        Err(LoungeError::Leg(_)) => (disconnect::BY_APPLICATION, String::new()),
    };
    if let Err(error) = &result {
        tracing::debug!(source = %entry.source, %error, "a client without a session left");
    }
    leg.transport.disconnect(reason, &text);
    tokio::time::timeout(limits.farewell, leg.flush())
        .await
        .ok();
    // A session notices within one such time that its client has gone, and has another for its last bytes.
    here.end(2 * limits.last_bytes + RECORDS).await;
}

struct Lounge<'a> {
    channels: Channels,
    /// Connections inside this one. They end with it.
    inside: JoinSet<()>,
    entry: &'a Entry,
    who: Outer,
    unknown: Option<Unknown>,
    jumped: bool,
    /// What goes on record next: one for each message since the last look.
    refused: Vec<Refused>,
}

impl Lounge<'_> {
    /// Returns what the client is told at the end.
    async fn run(
        &mut self,
        leg: &mut Leg,
        early: Vec<Bytes>,
        progress: &Notify,
    ) -> Result<&'static str, LoungeError> {
        for payload in early {
            self.receive(leg, &payload)?;
        }
        // Who was just told that there is no session gets the time to read it.
        let mut told = false;
        let limits = &self.entry.shared.options.limits;
        let left = self
            .who
            .principal
            .expires_at
            .duration_since(SystemTime::now())
            .unwrap_or_default();
        let expiry = tokio::time::sleep(left);
        tokio::pin!(expiry);
        let mut idle_since = Instant::now();
        loop {
            self.pump(leg)?;
            self.on_record(false).await;
            let patience = match self.channels.turned_away {
                true => limits.farewell,
                false => limits.lounge_idle,
            };
            let idle = self.channels.is_idle();
            if !idle || self.channels.turned_away != told {
                told = self.channels.turned_away;
                idle_since = Instant::now();
            }
            let bored = tokio::time::sleep_until((idle_since + patience).into());
            tokio::select! {
                turn = leg.turn() => match turn? {
                    Turn::Event(Event::Packet(payload)) => self.receive(leg, &payload)?,
                    Turn::Event(Event::Disconnected { .. }) => return Err(LegError::Closed.into()),
                    Turn::Event(Event::Ready | Event::HostKey(_)) | Turn::Sent => {}
                },
                () = progress.notified() => {}
                Some(ended) = self.inside.join_next(), if !self.inside.is_empty() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "a connection through a jump host failed");
                    }
                }
                () = self.entry.shutdown.cancelled(), if idle => return Ok("Weir shuts down"),
                () = &mut expiry => return Ok("the token or certificate has expired"),
                () = bored, if idle => return Ok("there is no session"),
            }
        }
    }

    /// Whoever was refused a session on a target that there is not, or has left without having jumped; and what else
    /// was refused.
    async fn on_record(&mut self, has_left: bool) {
        let left = |unknown: &Unknown| has_left && !self.jumped && unknown.names_one;
        let tells = |unknown: &mut Unknown| self.channels.no_session || left(unknown);
        if let Some(unknown) = self.unknown.take_if(tells) {
            turned_away(self.entry, &self.who, &unknown.said, unknown.reason).await;
        }
        for refused in std::mem::take(&mut self.refused) {
            let stranger = Stranger {
                action: refused.action.as_str(),
                principal: Some(self.who.principal.clone()),
                source: self.entry.source,
                said: &refused.what,
                reason: refused.reason,
            };
            self.entry.shared.turned_away.put(stranger).await;
        }
    }

    fn receive(&mut self, leg: &mut Leg, payload: &[u8]) -> Result<(), LoungeError> {
        let mut out = Vec::new();
        let jump = self.channels.receive(payload, &mut out)?;
        self.refused.extend(self.channels.refused.take());
        send(leg, &out)?;
        if let Some(jump) = jump {
            self.jump(jump);
        }
        Ok(())
    }

    fn pump(&mut self, leg: &mut Leg) -> Result<(), LoungeError> {
        let budget = MAX_BACKLOG.saturating_sub(leg.transport.backlog());
        let mut out = Vec::new();
        self.channels.pump(budget, &mut out);
        send(leg, &out)
    }

    fn jump(&mut self, jump: Jump) {
        let Jump { host, port, stream } = jump;
        // Some may still be ending, with their channels closed.
        if self.inside.len() >= 2 * self.entry.shared.limits.max_jumps {
            let reason = "too many connections through this one have not ended yet";
            tracing::warn!(source = %self.entry.source, "{reason}");
            let what = host.as_bytes();
            self.refused
                .push(Refused::new(Action::SshConnect, "jump to", what, reason));
            return;
        }
        let stream: Box<dyn Stream> = Box::new(stream);
        let entry = Entry {
            inner: Some(Inner {
                outer: self.who.clone(),
                name: host.into(),
                // Port 22 is any target's, whatever its own is.
                port: (port != SSH).then_some(port),
            }),
            ..self.entry.clone()
        };
        self.jumped = true;
        self.inside.spawn(serve_inside(entry, stream));
    }

    /// The connections inside see the end of their streams, and get some time for their records.
    async fn end(self, patience: Duration) {
        let Self {
            channels,
            mut inside,
            ..
        } = self;
        drop(channels);
        let all = async { while inside.join_next().await.is_some() {} };
        tokio::time::timeout(patience, all).await.ok();
    }
}

pub(crate) const NO_SUCH_TARGET: &str = "there is no such target, or no such login on it";
pub(crate) const NO_TARGET: &str = "a session was asked for, and no target is named";

/// On record, with what the client has said as its name.
pub(crate) async fn turned_away(entry: &Entry, who: &Outer, said: &str, reason: &str) {
    let stranger = Stranger {
        action: Action::SshConnect.as_str(),
        principal: Some(who.principal.clone()),
        source: entry.source,
        said,
        reason,
    };
    entry.shared.turned_away.put(stranger).await;
}

fn send(leg: &mut Leg, messages: &[Vec<u8>]) -> Result<(), LoungeError> {
    for message in messages {
        leg.transport.send(message).map_err(LegError::from)?;
    }
    Ok(())
}
