//! Logins by another device (RFC 8628), by keyboard-interactive (RFC 4256): the client is asked one question, which
//! says where to go, and is answered when somebody has agreed there.
//!
//! RFC 4256 lets a server say nothing before its question was answered. A question without a prompt would be
//! answered at once, and the client be let in as soon as somebody agrees; but then some clients (node's ssh2) show
//! nothing at all, and those that nobody sits at would wait as well. So there is a prompt: Enter, before or after.
//!
//! - A flow begins when the method is asked for, and for nothing less: who offers keys, or cannot ask anybody
//!   (BatchMode), causes none. Its bounds: so many for a connection, for a network and in all; and time.
//! - It ends with the client, with whatever else the client tries, and with its time; and if all places are taken,
//!   the oldest of whoever has most gives way. What somebody has agreed to has no place any more, and is not lost: whoever
//!   gives way, or is late, is looked after once more, since a provider is asked every few seconds only.
//! - What revokes somebody counts for flows that began before, however late they end.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use pipeline::Principal;
use tokio::sync::Notify;

use super::{AuthRefused, Door, Login, Outcome, Proved, StartupError, Verdict, plain};
use crate::action::printable;
use crate::slots::Slot;

/// Of the user name, what is shown.
const MAX_SHOWN: usize = 128;
const LATE: &str = "nobody agreed in time; log in again for a new code";
const GAVE_WAY: &str =
    "too many logins wait for somebody to agree, and this one gave way to another; log in again";
/// How much longer than its flow, or its place, it is found out if somebody has agreed: a poll is due within seconds.
const LAST_LOOK: Duration = Duration::from_secs(15);
/// How much longer than its flow a connection stays, so that its person can be told how it ended.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// A login by another device that waits for a person.
pub struct DeviceFlow {
    /// Where to go; with the code in it, if the issuer offers that.
    pub url: String,
    /// What to enter there.
    pub code: String,
    /// How long that is possible.
    pub lives: Duration,
    /// Told when nobody is to be asked again but once, as soon as that may be: somebody may have agreed since they were
    /// asked last.
    pub last_call: Arc<Notify>,
    /// Dropped when the client goes away or tries something else, and when it took too long.
    pub approved: Pin<Box<dyn Future<Output = Result<Arc<Principal>, AuthRefused>> + Send>>,
}

/// A flow with its place.
pub(super) struct Flow<'a> {
    approved: Pin<Box<dyn Future<Output = Verdict> + Send>>,
    last_call: Arc<Notify>,
    since: SystemTime,
    ends: Instant,
    place: Slot<'a>,
}

impl Flow<'_> {
    /// Cancel safe.
    pub(super) async fn ends(&mut self) -> Outcome {
        let by = Proved::Device { since: self.since };
        let why = tokio::select! {
            biased;
            // Somebody has agreed: nobody takes that away.
            verdict = &mut self.approved => return Outcome::of(verdict, by),
            () = self.place.lost() => GAVE_WAY,
            () = tokio::time::sleep_until(self.ends.into()) => LATE,
        };
        self.last_call.notify_one();
        match tokio::time::timeout(LAST_LOOK, &mut self.approved).await {
            Ok(Ok(who)) => Outcome::of(Ok(who), by),
            Ok(Err(_)) | Err(_) => Outcome::of(Err(refused(why)), by),
        }
    }
}

impl Login<'_, '_> {
    /// Begins a flow and asks the client's person to agree. An outcome is that there is none.
    pub(super) async fn device(&mut self) -> Result<Option<Outcome>, StartupError> {
        let since = SystemTime::now();
        // People are slower than machines. It is the connection's time: another flow does not take longer.
        let last = self.begun + self.door.limits.device_timeout;
        let (flow, place, ends) = match begin(self.door, last).await {
            Ok(begun) => begun,
            Err(why) => return Ok(Some(Outcome::of(Err(why), Proved::Device { since }))),
        };
        let lives = ends.saturating_duration_since(Instant::now());
        let user = self.machine.user().map_or("", |user| &**user);
        let text = instruction(user, self.door.source, &flow, lives);
        let message = self.machine.prompt(&text, &question(&flow));
        self.flow = Some(Flow {
            approved: flow.approved,
            last_call: flow.last_call,
            since,
            ends,
            place,
        });
        self.deadline = self.deadline.max(ends + LAST_LOOK + LAST_WORDS);
        self.send(&message).await?;
        Ok(None)
    }
}

/// With its place, and when it ends: there is no use in sending people away who cannot be back in time.
async fn begin<'d>(
    door: &Door<'d>,
    last: Instant,
) -> Result<(DeviceFlow, Slot<'d>, Instant), AuthRefused> {
    let in_time = |ends: Instant| match ends >= Instant::now() + door.limits.least_device_time {
        true => Ok(ends),
        false => Err(refused("there is no time left to agree; connect again")),
    };
    in_time(last)?;
    let place = door.devices.take(door.source);
    let place = place
        .ok_or_else(|| refused("too many logins wait for somebody to agree; try again later"))?;
    let flow = door.auth.device(door.source).await?;
    let ends = in_time(last.min(Instant::now() + flow.lives))?;
    Ok((flow, place, ends))
}

/// All that OpenSSH shows where its `LogLevel` is `ERROR` or less, so it holds what is needed.
fn question(flow: &DeviceFlow) -> String {
    format!(
        "Press Enter once {} is approved at {} : ",
        plain(&flow.code),
        plain(&flow.url)
    )
}

/// What the person reads. Whoever is sent a code by somebody else lets that one in, so it says whom it lets in.
fn instruction(user: &str, source: IpAddr, flow: &DeviceFlow, lives: Duration) -> String {
    let user: String = user.chars().take(MAX_SHOWN).collect();
    let lives = match lives.as_secs() {
        seconds @ ..120 => format!("{seconds} seconds"),
        seconds => format!("{} minutes", seconds / 60),
    };
    format!(
        "To log in as {}, open\n    {}\nand see that it shows the code {}, or enter it. It is good for {lives}.\n\
         Whoever agrees there lets in this connection, from {source}, in their own name: agree only if it is yours, \
         and never to a code that somebody sent you.\n",
        printable(&user),
        plain(&flow.url),
        plain(&flow.code),
    )
}

fn refused(text: &str) -> AuthRefused {
    AuthRefused {
        client_text: text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a provider or a user name says reaches a terminal as text, and no line of its own.
    #[test]
    fn an_instruction_says_where_to_go_and_whom_it_lets_in() {
        let flow = |url: &str, code: &str| DeviceFlow {
            url: url.into(),
            code: code.into(),
            lives: Duration::ZERO,
            last_call: Arc::default(),
            approved: Box::pin(std::future::pending()),
        };
        let source = "192.0.2.7".parse().unwrap();
        let good = flow("https://login.example/device?user_code=ABCD", "ABCD");
        let text = instruction("root+web1", source, &good, Duration::from_secs(299));
        for part in [
            "root+web1",
            "https://login.example/device?user_code=ABCD\n",
            "code ABCD,",
            "4 minutes",
            "192.0.2.7",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let asked = question(&good);
        assert!(
            asked.contains("ABCD is approved at https://login.example/device?user_code=ABCD :")
        );
        assert!(instruction("x", source, &good, Duration::from_secs(70)).contains("70 seconds"));
        let bad = flow("https://a.example/\u{1b}[2J\r\nx", "A\u{202e}B");
        let user = format!("ro\u{202e}ot{}", "x".repeat(1_000));
        let text = instruction(&user, source, &bad, Duration::from_secs(60));
        assert_eq!(question(&bad).lines().count(), 1);
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(
            text.chars().all(|c| c == '\n' || (' '..='~').contains(&c)),
            "{text:?}"
        );
        assert!(text.len() < 1_000);
    }
}
