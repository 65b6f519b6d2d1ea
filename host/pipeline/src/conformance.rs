//! The suite that every protocol crate must pass, whatever its wire looks like.
//!
//! A crate implements [`Harness`]: it starts itself in front of a real or scripted upstream, with
//! the ports it is given, and offers a client that can try one harmless and one consequential
//! action. The suite steers the ports and checks the promises of the pipeline. Failures panic, as
//! tests do.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing
)]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::action::Action;
use crate::approval::HoldOutcome;
use crate::memory::{Entry, Memory, MemoryPolicy};
use crate::ports::Ports;
use crate::record::OutcomeKind;
use crate::refusal::RefusalKind;
use crate::risk::{Demand, Risk};

/// How the suite drives a protocol.
#[async_trait]
pub trait Harness: Send + Sync {
    /// The action that `Client::write` needs, for policies that deny or hold it.
    fn write_action(&self) -> &'static [Action];
    /// Connects a client through the protocol crate with these ports.
    async fn connect(&self, ports: Ports) -> Result<Box<dyn Client>, Reply>;
    /// How many consequential actions the upstream has carried out so far.
    async fn upstream_writes(&self) -> u64;
}

/// A client of the protocol. Every call waits for the reply.
#[async_trait]
pub trait Client: Send {
    /// A harmless action.
    async fn read(&mut self) -> Reply;
    /// A consequential action that is recorded by the upstream.
    async fn write(&mut self) -> Reply;
    /// Cancels the action that is in flight by the protocol's own means.
    fn canceller(&self) -> Box<dyn FnOnce() -> futures_like::BoxFuture + Send>;
    /// Goes away without a word.
    async fn vanish(self: Box<Self>);
}

/// A boxed future without a dependency.
pub mod futures_like {
    use std::future::Future;
    use std::pin::Pin;

    pub type BoxFuture = Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// What a client sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Done,
    /// A proper error of the protocol; the connection stays usable.
    Refused(String),
    /// The connection ended.
    Closed(String),
}

const WAIT: Duration = Duration::from_secs(20);

/// Runs every check.
pub async fn run(harness: &dyn Harness) {
    forwards_after_intent(harness).await;
    refuses_by_policy(harness).await;
    refuses_by_classifier(harness).await;
    refuses_connection(harness).await;
    approves_once(harness).await;
    denies_hold(harness).await;
    expires_hold(harness).await;
    cancels_hold(harness).await;
    abandons_hold_of_vanished_client(harness).await;
    refuses_what_it_cannot_record(harness).await;
    ends_when_recording_fails(harness).await;
    kills(harness).await;
    ends_when_policy_forbids_connection(harness).await;
}

async fn client(harness: &dyn Harness, memory: &Memory) -> Box<dyn Client> {
    match tokio::time::timeout(WAIT, harness.connect(memory.ports())).await {
        Ok(Ok(client)) => client,
        Ok(Err(reply)) => panic!("the client could not connect: {reply:?}"),
        Err(_) => panic!("connecting took more than {WAIT:?}"),
    }
}

async fn forwards_after_intent(harness: &dyn Harness) {
    let memory = Memory::new(MemoryPolicy::permit_all());
    let mut client = client(harness, &memory).await;
    let before = harness.upstream_writes().await;
    assert_eq!(client.read().await, Reply::Done);
    assert_eq!(client.write().await, Reply::Done);
    assert_eq!(harness.upstream_writes().await, before + 1);
    // Connect, read, write; each with its outcome.
    assert_eq!(
        memory.journal.intents().len(),
        3,
        "every action has an intent"
    );
    let outcomes = memory.journal.outcomes();
    assert_eq!(outcomes.len(), 3, "every action has an outcome");
    assert!(outcomes.iter().all(|o| o.kind == OutcomeKind::Done));
}

async fn refuses_by_policy(harness: &dyn Harness) {
    let memory = Memory::new(MemoryPolicy::deny(harness.write_action()));
    let mut client = client(harness, &memory).await;
    let before = harness.upstream_writes().await;
    let reply = client.write().await;
    assert!(
        matches!(&reply, Reply::Refused(text) if text.contains("denied by the test")),
        "{reply:?}"
    );
    assert_eq!(
        harness.upstream_writes().await,
        before,
        "a refused action was forwarded"
    );
    assert_eq!(
        client.read().await,
        Reply::Done,
        "the connection must stay usable"
    );
    assert_eq!(memory.journal.refusals().len(), 1, "a refusal is on record");
}

async fn refuses_by_classifier(harness: &dyn Harness) {
    let memory = Memory::new(MemoryPolicy::permit_all());
    let mut client = client(harness, &memory).await;
    let before = harness.upstream_writes().await;
    *memory.hooks.risk.lock() = Risk {
        demands: vec![Demand::Refuse("too risky".into())],
        ..Risk::default()
    };
    let reply = client.write().await;
    assert!(
        matches!(&reply, Reply::Refused(text) if text.contains("too risky")),
        "{reply:?}"
    );
    assert_eq!(harness.upstream_writes().await, before);
}

async fn refuses_connection(harness: &dyn Harness) {
    let memory = Memory::new(MemoryPolicy {
        decide: Arc::new(|_| crate::ports::Ruling::Deny {
            policies: vec![],
            reason: "not you".into(),
        }),
        ..MemoryPolicy::permit_all()
    });
    let reply = harness.connect(memory.ports()).await.err();
    assert!(
        reply.is_some(),
        "a connection that policy forbids was opened"
    );
    assert_eq!(memory.journal.refusals().len(), 1);
    assert!(memory.registry.live().is_empty());
}

async fn approves_once(harness: &dyn Harness) {
    let memory = Memory::new(MemoryPolicy::hold(harness.write_action()));
    let mut client = client(harness, &memory).await;
    let before = harness.upstream_writes().await;
    let desk = memory.approver.clone();
    let approve = async {
        let id = desk.next().await;
        assert_eq!(
            harness.upstream_writes().await,
            before,
            "a held action was forwarded"
        );
        on_record_as_held(&memory, &id).await;
        desk.approve(&id, "bob");
    };
    let (reply, ()) = tokio::join!(client.write(), approve);
    assert_eq!(reply, Reply::Done);
    assert_eq!(harness.upstream_writes().await, before + 1);
    let intents = memory.journal.intents();
    let approval = intents
        .last()
        .and_then(|i| i.approval.clone())
        .expect("an approval on record");
    assert_eq!(approval.approvers, ["bob"]);
    assert_eq!(
        memory.journal.holds().last().map(|h| (h.seq, &*h.hold)),
        intents.last().map(|i| (i.seq, &*approval.hold)),
        "an intent does not follow its hold"
    );
    // The same action again needs a new approval.
    let deny = async {
        let id = desk.next().await;
        desk.end(
            &id,
            HoldOutcome::Denied {
                by: "bob".into(),
                reason: "once is enough".into(),
            },
        );
    };
    let (reply, ()) = tokio::join!(client.write(), deny);
    assert!(
        matches!(&reply, Reply::Refused(t) if t.contains("once is enough")),
        "{reply:?}"
    );
    assert_eq!(harness.upstream_writes().await, before + 1);
}

/// Nobody has answered yet, and it is on record all the same.
async fn on_record_as_held(memory: &Memory, id: &str) {
    let is_last = || matches!(memory.journal.entries().pop(), Some(Entry::Held(h)) if h.hold == id);
    let recorded = async {
        while !is_last() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(WAIT, recorded)
        .await
        .expect("what waits is on record");
}

async fn denies_hold(harness: &dyn Harness) {
    ends_hold(
        harness,
        HoldOutcome::Denied {
            by: "bob".into(),
            reason: "no".into(),
        },
    )
    .await;
}

async fn expires_hold(harness: &dyn Harness) {
    ends_hold(harness, HoldOutcome::Expired).await;
}

async fn ends_hold(harness: &dyn Harness, outcome: HoldOutcome) {
    let memory = Memory::new(MemoryPolicy::hold(harness.write_action()));
    let mut client = client(harness, &memory).await;
    let before = harness.upstream_writes().await;
    let desk = memory.approver.clone();
    let end = async {
        let id = desk.next().await;
        on_record_as_held(&memory, &id).await;
        desk.end(&id, outcome);
    };
    let (reply, ()) = tokio::join!(client.write(), end);
    assert!(matches!(reply, Reply::Refused(_)), "{reply:?}");
    assert_eq!(harness.upstream_writes().await, before);
    assert_eq!(
        client.read().await,
        Reply::Done,
        "the connection must stay usable"
    );
}

async fn cancels_hold(harness: &dyn Harness) {
    let memory = Memory::new(MemoryPolicy::hold(harness.write_action()));
    let mut client = client(harness, &memory).await;
    let before = harness.upstream_writes().await;
    let cancel = client.canceller();
    let desk = memory.approver.clone();
    let end = async {
        desk.next().await;
        cancel().await;
    };
    let (reply, ()) = tokio::join!(client.write(), end);
    assert!(matches!(reply, Reply::Refused(_)), "{reply:?}");
    assert_eq!(harness.upstream_writes().await, before);
    assert_eq!(
        client.read().await,
        Reply::Done,
        "the connection must stay usable"
    );
    let refusals = memory.journal.refusals();
    assert_eq!(
        refusals.last().map(|r| r.kind),
        Some(RefusalKind::Abandoned)
    );
}

async fn abandons_hold_of_vanished_client(harness: &dyn Harness) {
    let memory = Memory::new(MemoryPolicy::hold(harness.write_action()));
    let mut client = client(harness, &memory).await;
    let before = harness.upstream_writes().await;
    let desk = memory.approver.clone();
    tokio::select! {
        reply = client.write() => panic!("a held action was answered: {reply:?}"),
        id = desk.next() => assert!(!id.is_empty()),
    }
    client.vanish().await;
    let abandoned = async {
        while !memory
            .journal
            .refusals()
            .iter()
            .any(|r| r.kind == RefusalKind::Abandoned)
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(WAIT, abandoned)
        .await
        .expect("the hold is abandoned with its client");
    assert_eq!(harness.upstream_writes().await, before);
}

async fn refuses_what_it_cannot_record(harness: &dyn Harness) {
    let memory = Memory::new(MemoryPolicy::permit_all());
    let mut client = client(harness, &memory).await;
    let before = harness.upstream_writes().await;
    memory.journal.break_quietly();
    assert_ne!(client.write().await, Reply::Done);
    assert_eq!(
        harness.upstream_writes().await,
        before,
        "an unrecorded action was forwarded"
    );
}

async fn ends_when_recording_fails(harness: &dyn Harness) {
    let memory = Memory::new(MemoryPolicy::permit_all());
    let mut client = client(harness, &memory).await;
    assert_eq!(client.read().await, Reply::Done);
    memory.journal.break_now();
    gone(&memory).await;
    assert!(matches!(client.read().await, Reply::Closed(_)));
}

async fn kills(harness: &dyn Harness) {
    let memory = Memory::new(MemoryPolicy::permit_all());
    let mut client = client(harness, &memory).await;
    assert_eq!(client.read().await, Reply::Done);
    memory.registry.kill_all();
    gone(&memory).await;
    assert!(matches!(client.read().await, Reply::Closed(_)));
}

async fn ends_when_policy_forbids_connection(harness: &dyn Harness) {
    let memory = Memory::new(MemoryPolicy::permit_all());
    let mut client = client(harness, &memory).await;
    assert_eq!(client.read().await, Reply::Done);
    let mut policy = MemoryPolicy {
        decide: Arc::new(|_| crate::ports::Ruling::Deny {
            policies: vec![],
            reason: "no more".into(),
        }),
        ..MemoryPolicy::permit_all()
    };
    policy.bundle.version = 2;
    policy.bundle.digest = "02".into();
    memory.authorizer.activate(policy);
    gone(&memory).await;
    assert!(matches!(client.read().await, Reply::Closed(_)));
}

async fn gone(memory: &Memory) {
    let gone = async {
        while !memory.registry.live().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(WAIT, gone)
        .await
        .expect("the session ends");
}
