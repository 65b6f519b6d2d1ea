//! A session that ends in the middle of something.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use pipeline::memory::{Memory, MemoryPolicy};
use pipeline::ports::{Journal, JournalError, SessionJournal};
use pipeline::{
    ControlEvent, Direction, HoldRecord, Intent, Outcome, RefusalRecord, SessionEnd, SessionStart,
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::conformance::{Ssh, message, on};
use crate::transport::Event;
use crate::wire::{ChannelMessage, Connection, Open, Put, Request};

/// What the host of the suite writes.
const SHOWN: &[u8] = b"done";

/// Says that it has what is shown, and takes its time to say that it is done.
#[derive(Clone)]
struct Late<T: ?Sized> {
    inner: Arc<T>,
    has: Arc<Notify>,
}

#[async_trait]
impl Journal for Late<dyn Journal> {
    async fn open(&self, start: SessionStart) -> Result<Arc<dyn SessionJournal>, JournalError> {
        let (inner, has) = (self.inner.open(start).await?, self.has.clone());
        Ok(Arc::new(Late { inner, has }))
    }
    async fn event(&self, event: ControlEvent) -> Result<(), JournalError> {
        self.inner.event(event).await
    }
}

#[async_trait]
impl SessionJournal for Late<dyn SessionJournal> {
    async fn held(&self, held: HoldRecord) -> Result<(), JournalError> {
        self.inner.held(held).await
    }
    async fn intent(&self, intent: Intent) -> Result<(), JournalError> {
        self.inner.intent(intent).await
    }
    async fn refused(&self, refusal: RefusalRecord) -> Result<(), JournalError> {
        self.inner.refused(refusal).await
    }
    async fn outcome(&self, outcome: Outcome) -> Result<(), JournalError> {
        self.inner.outcome(outcome).await
    }
    async fn bytes(&self, seq: u64, way: Direction, bytes: Bytes) -> Result<(), JournalError> {
        let shown = way == Direction::ToClient && bytes.windows(SHOWN.len()).any(|w| w == SHOWN);
        self.inner.bytes(seq, way, bytes).await?;
        if shown {
            self.has.notify_one();
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }
    async fn settle(&self) -> Result<(), JournalError> {
        self.inner.settle().await
    }
    fn failed(&self) -> CancellationToken {
        self.inner.failed()
    }
    async fn close(&self, end: SessionEnd) -> Result<(), JournalError> {
        self.inner.close(end).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_record_as_seen_was_sent() {
    let memory = Memory::new(MemoryPolicy::permit_all());
    let has = Arc::new(Notify::new());
    let mut ports = memory.ports();
    ports.journal = Arc::new(Late {
        inner: ports.journal.clone(),
        has: has.clone(),
    });
    let harness = Ssh::new();
    let Ok(mut client) = harness.client(ports).await else {
        panic!("not permitted");
    };
    let open = Connection::Open(Open {
        kind: b"session",
        sender: 1,
        window: 1 << 20,
        max_packet: 1 << 15,
        data: b"",
    });
    client.transport.send(&message(&open)).unwrap();
    let mut data = Vec::new();
    data.string(b"ls");
    let exec = ChannelMessage::Request(Request {
        name: b"exec",
        want_reply: true,
        data: &data,
    });
    let kill = async {
        has.notified().await;
        memory.registry.kill_all();
    };
    let seen = async {
        let mut seen = Vec::new();
        while let Ok(event) = client.recv().await {
            let Event::Packet(payload) = event else {
                break;
            };
            match Connection::parse(&payload).unwrap() {
                Connection::OpenConfirmation { sender, .. } => {
                    client.transport.send(&on(sender, exec)).unwrap();
                }
                Connection::Channel {
                    message: ChannelMessage::Data(data),
                    ..
                } => seen.extend_from_slice(data),
                _ => {}
            }
        }
        seen
    };
    let both = async { tokio::join!(seen, kill).0 };
    let seen = tokio::time::timeout(Duration::from_secs(30), both).await;
    assert_eq!(seen.unwrap(), SHOWN);
}
