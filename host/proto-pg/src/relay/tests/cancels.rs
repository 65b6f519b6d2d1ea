//! CancelRequests that come while Weir itself has the statement. On a connection without Weir the server
//! would have it by then: a cancel stops it, and nothing else.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pipeline::mask::MaskPlan;
use pipeline::memory::{Memory, MemoryAuthorizer, MemoryPolicy};
use pipeline::ports::{Authorizer, Policy};
use pipeline::{BundleRef, Ports};
use tokio::sync::watch;

use crate::testing::Weir;
use crate::testing::client::{Answer, Client};
use crate::testing::postgres::Postgres;
use crate::wire::encode;

/// Far longer than a test waits for an answer.
const SLEEP: &str = "SELECT pg_sleep(60)";
const AT_MOST: Duration = Duration::from_secs(20);

/// Where Weir stands still, once, until it is let go.
struct Gate {
    entered: SyncSender<()>,
    leave: Receiver<()>,
}

/// The test's side of a gate.
struct Keeper {
    entered: Receiver<()>,
    leave: SyncSender<()>,
}

fn gate() -> (Gate, Keeper) {
    let (entered, has_entered) = sync_channel(1);
    let (leave, may_leave) = sync_channel(1);
    let gate = Gate {
        entered,
        leave: may_leave,
    };
    let keeper = Keeper {
        entered: has_entered,
        leave,
    };
    (gate, keeper)
}

fn pass(gate: &Mutex<Option<Gate>>) {
    let gate = gate.lock().take();
    if let Some(gate) = gate {
        gate.entered.send(()).unwrap();
        gate.leave.recv_timeout(AT_MOST).unwrap();
    }
}

impl Keeper {
    /// Cancels while Weir stands at the gate, and lets it go. Ends when the cancel has been dealt with.
    fn cancels(self, weir: &Weir, client: &Client) -> impl Future<Output = ()> + use<> {
        let Self { entered, leave } = self;
        let (pid, secret) = &client.key;
        let session = weir.keys.find(*pid, secret).unwrap();
        let cancel = client.canceller();
        async move {
            let entered = move || entered.recv_timeout(AT_MOST).unwrap();
            tokio::task::spawn_blocking(entered).await.unwrap();
            let cancel = tokio::spawn(cancel);
            // One that comes later may find that the server has the statement and has not begun with it.
            while !cancel.is_finished() && !session.is_cancelled() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            // It has its turn, and on a busy machine not yet its effect.
            for _ in 0..200 {
                tokio::time::sleep(Duration::from_millis(25)).await;
                if cancel.is_finished() || session.token().is_cancelled() {
                    break;
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            leave.send(()).unwrap();
            cancel.await.unwrap();
        }
    }
}

/// The policy that is active is asked for when it is found out what a text means.
struct Slow {
    inner: Arc<MemoryAuthorizer>,
    gate: Arc<Mutex<Option<Gate>>>,
}

impl Authorizer for Slow {
    fn pin(&self) -> Arc<dyn Policy> {
        pass(&self.gate);
        self.inner.pin()
    }
    fn watch(&self) -> watch::Receiver<BundleRef> {
        self.inner.watch()
    }
}

/// A session in which Weir can be made to stand still while it reads a text.
async fn slow_to_read() -> (Arc<Mutex<Option<Gate>>>, Weir, Client) {
    let memory = Memory::new(MemoryPolicy::permit_all());
    let slow = Arc::<Mutex<Option<Gate>>>::default();
    let ports = Ports {
        authorizer: Arc::new(Slow {
            inner: memory.authorizer.clone(),
            gate: slow.clone(),
        }),
        ..memory.ports()
    };
    let weir = Weir::to(Postgres::shared(), ports);
    let mut client = Client::connect(weir.addr, "db/postgres").await.unwrap();
    // Behind the greeting, Weir may still ask for the policy by itself.
    let a = client.query("SELECT 1").await;
    assert_eq!(a.rows.len(), 1, "{a:?}");
    (slow, weir, client)
}

fn is_cancelled(a: &Answer, began: Instant, what: &str) {
    assert_eq!(a.code(), "57014", "{what}: {a:?}");
    assert!(began.elapsed() < AT_MOST, "{what}: {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cancel_while_a_text_is_read_gives_it_up() {
    let (slow, weir, mut c) = slow_to_read().await;
    for (round, extended) in [false, true, false, true].into_iter().enumerate() {
        let (at, keeper) = gate();
        *slow.lock() = Some(at);
        let began = Instant::now();
        let cancels = keeper.cancels(&weir, &c);
        let asks = async {
            match extended {
                true => c.prepared(SLEEP, &[], false).await,
                false => c.query(SLEEP).await,
            }
        };
        let (a, ()) = tokio::join!(asks, cancels);
        is_cancelled(&a, began, &format!("round {round}"));
        // What comes next is not meant.
        for n in ["1", "2"] {
            let a = c.query(&format!("SELECT {n}, pg_sleep(0.2)")).await;
            assert_eq!(a.rows.len(), 1, "{a:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cancel_after_the_decision_is_heeded_before_it_is_sent() {
    let memory = Memory::new(MemoryPolicy::permit_all());
    let slow = Arc::<Mutex<Option<Gate>>>::default();
    let at = slow.clone();
    *memory.hooks.plan.lock() = Some(Arc::new(move |columns| {
        pass(&at);
        MaskPlan::pass(columns.len())
    }));
    let weir = Weir::to(Postgres::shared(), memory.ports());
    let mut c = Client::connect(weir.addr, "db/postgres").await.unwrap();
    for (sql, extended) in [
        ("COPY (SELECT pg_sleep(60)::text || 'a') TO STDOUT", false),
        ("COPY (SELECT 'b', pg_sleep(60)) TO STDOUT", true),
    ] {
        let (at, keeper) = gate();
        *slow.lock() = Some(at);
        let began = Instant::now();
        let cancels = keeper.cancels(&weir, &c);
        let asks = async {
            match extended {
                true => c.prepared(sql, &[], false).await,
                false => c.query(sql).await,
            }
        };
        let (a, ()) = tokio::join!(asks, cancels);
        is_cancelled(&a, began, sql);
        let a = c.query("SELECT 1, pg_sleep(0.2)").await;
        assert_eq!(a.rows.len(), 1, "{a:?}");
    }
}

/// What was sent before, and runs, is what a cancel is for: not what waits behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cancel_hits_one_of_two_statements() {
    let (slow, weir, mut c) = slow_to_read().await;
    // It runs.
    c.out.clear();
    encode::query(&mut c.out, SLEEP.as_bytes());
    c.send().await;
    let began = Instant::now();
    Postgres::shared().until_runs(SLEEP).await;
    let (at, keeper) = gate();
    *slow.lock() = Some(at);
    encode::query(&mut c.out, b"SELECT 7");
    c.send().await;
    keeper.cancels(&weir, &c).await;
    is_cancelled(&c.answer().await, began, "what runs");
    assert_eq!(c.answer().await.value(), Some("7"));

    // It is decided on, and not written yet, because the next message is at hand.
    let (first, passes) = gate();
    *slow.lock() = Some(first);
    encode::query(&mut c.out, SLEEP.as_bytes());
    encode::query(&mut c.out, b"SELECT 8");
    c.send().await;
    let (at, keeper) = gate();
    let next = slow.clone();
    let goes_on = move || {
        passes.entered.recv_timeout(AT_MOST).unwrap();
        *next.lock() = Some(at);
        passes.leave.send(()).unwrap();
    };
    tokio::task::spawn_blocking(goes_on).await.unwrap();
    let began = Instant::now();
    keeper.cancels(&weir, &c).await;
    is_cancelled(&c.answer().await, began, "what is not written yet");
    assert_eq!(c.answer().await.value(), Some("8"));
}
