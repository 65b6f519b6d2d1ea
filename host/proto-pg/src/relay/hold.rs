//! A statement that waits for people: what the client is told, and what ends the wait.

use bytes::BytesMut;
use parking_lot::Mutex;
use pipeline::{
    Caller, EndReason, Fault, HoldInfo, OutcomeKind, Permitted, Refusal, RefusalKind, Request,
    decide,
};
use tokio::sync::Notify;
use tokio::time::{Instant, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use super::End;
use super::client::FromClient;
use crate::survey::{About, Surveyor};
use crate::wire::encode;

/// What a client reads while it waits.
pub(super) fn notice(info: &HoldInfo, out: &mut BytesMut) {
    let rules: Vec<&str> = info.rules.iter().map(|r| &**r).collect();
    let detail = format!(
        "Hold {} under {}. It can be decided at {}",
        info.id,
        rules.join(", "),
        info.url
    );
    encode::notice(
        out,
        &encode::Report {
            severity: "NOTICE",
            sqlstate: "00000",
            message: &format!("waiting for approval: {}", info.reason),
            detail: Some(&detail),
            hint: Some("Cancel the statement to give up."),
            position: None,
        },
    );
}

impl FromClient {
    /// Decides one statement. While that takes its time, the client is listened to for its end, and
    /// told about a hold.
    pub(super) async fn decide<R>(
        &mut self,
        request: Request<R>,
        about: About<'_>,
    ) -> Result<Result<Permitted<R>, Refusal>, End> {
        let link = self.link.clone();
        let surveyor = Surveyor {
            about,
            link: &link,
            path: self.judge.path(),
        };
        // The batch's own is the client's alone.
        let cancel = link.cancellable.token().child_token();
        let _deciding = link.cancellable.deciding();
        let opened = Notify::new();
        let held: Mutex<Option<HoldInfo>> = Mutex::new(None);
        let on_hold = |info: &HoldInfo| {
            link.cancellable.held();
            *held.lock() = Some(info.clone());
            opened.notify_one();
        };
        let caller = Caller {
            cancel: &cancel,
            on_hold: &on_hold,
            survey: Some(&surveyor),
        };
        let decision = decide(&link.session, request, caller);
        tokio::pin!(decision);
        // Most decisions need no waiting; then nothing goes out early.
        tokio::select! {
            biased;
            decided = &mut decision => return self.settled(decided, &cancel).await,
            () = std::future::ready(()) => {}
        }
        self.flush().await?;

        let mut heartbeat = interval(link.limits.hold_heartbeat);
        heartbeat.reset();
        // Set when a transaction is open: it holds locks while it waits.
        let mut until: Option<Instant> = None;
        let mut capped = false;
        let mut gone = false;
        loop {
            let tell = tokio::select! {
                biased;
                decided = &mut decision => {
                    let limit = link.limits.hold_in_transaction;
                    let decided = decided.map_err(|r| reworded(r, capped, limit));
                    return self.settled(decided, &cancel).await;
                }
                () = opened.notified() => {
                    until = self.in_transaction().then(|| Instant::now() + link.limits.hold_in_transaction);
                    true
                }
                _ = heartbeat.tick() => held.lock().is_some(),
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {
                    until = None;
                    capped = true;
                    cancel.cancel();
                    false
                }
                () = self.reader.watch(), if !gone => {
                    gone = true;
                    cancel.cancel();
                    false
                }
            };
            let info = held.lock().clone();
            if let (true, Some(info)) = (tell, info) {
                let mut out = BytesMut::new();
                notice(&info, &mut out);
                // A client that does not read misses a heartbeat, no more.
                let _ = link.inject.try_send(out.freeze());
            }
        }
    }

    /// A decision is made. What was cancelled meanwhile, or whose session ends, is not sent.
    async fn settled<R>(
        &mut self,
        decided: Result<Permitted<R>, Refusal>,
        cancel: &CancellationToken,
    ) -> Result<Result<Permitted<R>, Refusal>, End> {
        let ending = self.link.ending.is_cancelled();
        if self.link.cancellable.token().is_cancelled() && !ending {
            self.heeds().await?;
        }
        let decided = match decided {
            Ok(permitted) if ending || cancel.is_cancelled() => {
                let seq = permitted.receipt().seq();
                self.withdraw(permitted, OutcomeKind::Cancelled, "57014")
                    .await?;
                let text = "canceling statement due to user request";
                Err(Refusal {
                    seq: Some(seq),
                    ..Refusal::new(RefusalKind::Abandoned, Fault::Client, text)
                })
            }
            decided => decided,
        };
        match decided {
            // Nothing of a session that ends is answered one by one; its last words say why.
            Err(refusal) if refusal.kind == RefusalKind::SessionEnded => {
                Err(End(self.link.session.ended().await))
            }
            // Why is known to whoever ends it.
            _ if ending => Err(End(EndReason::Shutdown)),
            decided => Ok(decided),
        }
    }

    fn in_transaction(&self) -> bool {
        self.link.in_transaction()
    }

    /// Waits until the flow is as wanted, and listens to the client meanwhile.
    pub(super) async fn wait_until(
        &mut self,
        wanted: impl Fn(&crate::statements::Flow) -> bool,
    ) -> Result<(), End> {
        let link = self.link.clone();
        self.flush().await?;
        loop {
            let progress = link.progress.notified();
            tokio::pin!(progress);
            progress.as_mut().enable();
            if wanted(&link.flow.lock()) {
                return Ok(());
            }
            tokio::select! {
                biased;
                () = progress => {}
                () = self.reader.watch() => return Err(End(EndReason::ClientClosed)),
            }
        }
    }
}

/// A hold that we ended, in words that say so.
fn reworded(refusal: Refusal, capped: bool, limit: std::time::Duration) -> Refusal {
    if !capped || refusal.kind != RefusalKind::Abandoned {
        return refusal;
    }
    Refusal {
        kind: RefusalKind::HoldExpired,
        fault: Fault::Policy,
        reason: format!(
            "nobody approved it within {} s, the longest an open transaction may wait",
            limit.as_secs()
        ),
        ..refusal
    }
    .hint("Send it outside of a transaction to wait longer.")
}
