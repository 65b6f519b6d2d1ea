//! Failures of plugins, put on record.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pipeline::ControlEvent;
use pipeline::ports::{Clock, Journal};
use plugin_host::PluginFailure;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Failures that wait to be recorded. The action that met the failure carries it in its own record;
/// what overflows here is counted and said.
const QUEUE: usize = 1_024;

/// The sending end, for the plugin host.
pub(crate) struct PluginFailures {
    queue: mpsc::Sender<PluginFailure>,
    dropped: Arc<AtomicU64>,
}

/// The recording end.
pub(crate) struct FailureRecorder {
    queue: mpsc::Receiver<PluginFailure>,
    dropped: Arc<AtomicU64>,
}

impl PluginFailures {
    pub(crate) fn new() -> (Self, FailureRecorder) {
        let (tx, rx) = mpsc::channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        (
            Self {
                queue: tx,
                dropped: dropped.clone(),
            },
            FailureRecorder { queue: rx, dropped },
        )
    }
}

impl plugin_host::Events for PluginFailures {
    fn plugin_failed(&self, failure: PluginFailure) {
        if self.queue.try_send(failure).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl FailureRecorder {
    /// Runs until the plugin host is gone or `stop` is cancelled, and records what is queued then.
    pub(crate) async fn run(
        mut self,
        journal: Arc<dyn Journal>,
        clock: Arc<dyn Clock>,
        stop: CancellationToken,
    ) {
        loop {
            let failure = tokio::select! {
                failure = self.queue.recv() => failure,
                () = stop.cancelled(), if !self.queue.is_closed() => {
                    self.queue.close();
                    continue;
                }
            };
            let Some(failure) = failure else { return };
            let mut detail = format!(
                "hook {} in session {}: {}",
                failure.hook, failure.session, failure.fault
            );
            let dropped = self.dropped.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                detail.push_str(&format!(" ({dropped} further failures before this one)"));
            }
            let event = ControlEvent {
                at: clock.now(),
                principal: None,
                action: "plugin:failed".into(),
                resource: format!("{}@{}", failure.plugin.name, failure.plugin.digest),
                result: Err(failure.fault.to_string()),
                detail,
            };
            if let Err(error) = journal.event(event).await {
                tracing::error!(%error, "a plugin failure could not be recorded");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pipeline::memory::{Memory, MemoryPolicy};
    use pipeline::ports::SystemClock;
    use pipeline::{PluginRef, SessionId};
    use plugin_host::{Events, Fault, Hook};

    use super::*;

    /// The plugin host's handles outlive the end of the run: the recorder must not wait for them.
    #[tokio::test]
    async fn a_stop_ends_it_after_what_is_queued() {
        let (events, failures) = PluginFailures::new();
        let failure = PluginFailure {
            plugin: PluginRef {
                name: "risk".into(),
                version: "1".into(),
                digest: "d".into(),
            },
            hook: Hook::Classify,
            fault: Fault::Missing,
            session: SessionId::new(),
        };
        events.plugin_failed(failure.clone());
        events.plugin_failed(failure);
        let memory = Memory::new(MemoryPolicy::permit_all());
        let stop = CancellationToken::new();
        stop.cancel();
        let run = failures.run(memory.journal.clone(), Arc::new(SystemClock), stop);
        tokio::time::timeout(Duration::from_secs(10), run)
            .await
            .expect("it ends");
        assert_eq!(memory.journal.entries().len(), 2);
    }
}
