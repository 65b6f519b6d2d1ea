//! Puts what is stored into the registry, and has witnesses asked, beside the publisher's other work. Nothing
//! waits for a witness.

use std::sync::Arc;

use tokio::time::Instant;

use crate::log::publish::Publisher;
use crate::log::registry::Registry;
use crate::log::sequence::Snapshot;

impl Publisher {
    /// `old`: logs of earlier processes, which the store has. They leave the spool when they are registered.
    pub(super) async fn register(&self, mut registry: Registry, mut old: Vec<Arc<Snapshot>>) {
        let every = self.state.limits.register_every;
        let mut registered: Option<Instant> = None;
        let mut asked: Option<Instant> = None;
        let mut failures = 0;
        loop {
            let told = self.shared.register.notified();
            let news = self.shared.unregistered();
            let now = Instant::now();
            let due = |last: Option<Instant>| last.map_or(now, |at| at + every);
            let to_register = match &news {
                _ if !old.is_empty() => Some(now),
                Some((_, in_a_hurry)) => Some(if *in_a_hurry { now } else { due(registered) }),
                None => None,
            };
            let to_ask = registry.wants_witnesses().then(|| due(asked));
            let Some(next) = to_register.into_iter().chain(to_ask).min() else {
                told.await;
                continue;
            };
            if next > now {
                tokio::select! {
                    () = told => {}
                    () = tokio::time::sleep_until(next) => {}
                }
                continue;
            }
            if to_register.is_none_or(|at| at > now) {
                asked = Some(now);
                self.ask(&mut registry).await;
                continue;
            }
            let newest = news.map(|(log, _)| log);
            let logs: Vec<_> = old.iter().chain(&newest).cloned().collect();
            match registry.register(&logs).await {
                Ok(()) => {
                    failures = 0;
                    registered = Some(now);
                    asked = None;
                    self.shared.set_asking(registry.wants_witnesses());
                    for log in old.drain(..) {
                        self.let_go(&log);
                    }
                    self.shared.set_old(0);
                    if let Some(log) = newest {
                        self.shared.registered(log.size);
                    }
                }
                Err(error) => {
                    failures += 1;
                    if let Some(log) = logs.last() {
                        self.failed(log, &error.into(), failures).await;
                    }
                }
            }
        }
    }

    /// Whoever is in a hurry does not wait for witnesses: they are asked again then.
    async fn ask(&self, registry: &mut Registry) {
        self.shared.set_asking(true);
        let hurry = async {
            loop {
                let told = self.shared.register.notified();
                if self.shared.unregistered().is_some_and(|(_, now)| now) {
                    return;
                }
                told.await;
            }
        };
        tokio::select! {
            asked = registry.ask_witnesses() => {
                if let Err(error) = asked {
                    tracing::warn!(%error, "the witnesses' signatures are not stored yet");
                }
            }
            () = hurry => {}
        }
        self.shared.set_asking(false);
    }
}
