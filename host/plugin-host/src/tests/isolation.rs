//! Instances do not see one another, and a busy one does not stop the rest.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pipeline::ports::Hooks;

use super::{Host, component, config, facts, session};
use crate::{Limits, NoArchive, NoEvents, Options, Plugins, Runtime};

async fn score(host: &Host) -> u8 {
    host.plugins.classify(&session(), &facts()).await.score
}

#[tokio::test]
async fn nothing_leaks_between_instances() {
    // One slot, so that every instance gets the memory of the one before it.
    let limits = Limits {
        concurrent_calls: 1,
        classify: Duration::from_secs(5),
        wall: Duration::from_secs(60),
        ..Limits::default()
    };
    let options = || Options {
        archive: Arc::new(NoArchive),
        require: Vec::new(),
        events: Arc::new(NoEvents),
        clock: Arc::new(pipeline::ports::SystemClock),
    };
    let runtime = Runtime::new(limits, None).unwrap();
    let fill = Plugins::new(runtime.clone(), options());
    let scan = Plugins::new(runtime, options());
    fill.add("fill", component("evil"), config(&[("mode", "fill")]))
        .await
        .unwrap();
    scan.add("scan", component("evil"), config(&[("mode", "scan")]))
        .await
        .unwrap();
    for _ in 0..5 {
        let filled = fill.classify(&session(), &facts()).await;
        assert_eq!(filled.score, 1, "the probe sees its own words");
        let seen = scan.classify(&session(), &facts()).await;
        assert_eq!(seen.score, 1, "the words of another instance were seen");
    }
}

#[tokio::test]
async fn a_looping_plugin_does_not_stall_its_thread() {
    // One thread for everything: current_thread is the flavour of this test.
    let looping = Arc::new(Host::evil("loop").await);
    let decent = Host::evil("").await;
    let loops: Vec<_> = (0..8)
        .map(|_| {
            let host = looping.clone();
            tokio::spawn(async move { score(&host).await })
        })
        .collect();
    let mut worst = Duration::ZERO;
    let mut served = 0;
    while loops.iter().any(|l| !l.is_finished()) {
        let started = Instant::now();
        assert_eq!(score(&decent).await, 10);
        tokio::task::yield_now().await;
        worst = worst.max(started.elapsed());
        served += 1;
    }
    assert!(
        served >= 5,
        "{served} decent calls beside the loops, the worst took {worst:?}"
    );
    for looped in loops {
        assert_eq!(looped.await.unwrap(), 100);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_tasks_at_once() {
    let decent = Arc::new(Host::evil("").await);
    let looping = Arc::new(Host::evil("loop").await);
    // More than there are slots: calls wait for their turn.
    let calls: Vec<_> = (0..400)
        .map(|i| {
            let host = if i % 100 == 0 { &looping } else { &decent }.clone();
            let expect = if i % 100 == 0 { 100 } else { 10 };
            tokio::spawn(async move { (score(&host).await, expect) })
        })
        .collect();
    for call in calls {
        let (score, expect) = call.await.unwrap();
        assert_eq!(score, expect);
    }
    assert!(decent.events.take().is_empty());
    assert_eq!(looping.events.take().len(), 4);
}

#[tokio::test]
async fn a_dropped_call_gives_its_slot_back() {
    let limits = Limits {
        concurrent_calls: 1,
        classify: Duration::from_secs(3600),
        wall: Duration::from_secs(20),
        ..Limits::default()
    };
    let events = Arc::new(super::Recorder::default());
    let plugins = Plugins::new(
        Runtime::new(limits, None).unwrap(),
        Options {
            archive: Arc::new(NoArchive),
            require: Vec::new(),
            events: events.clone(),
            clock: Arc::new(pipeline::ports::SystemClock),
        },
    );
    plugins
        .add("p", component("evil"), config(&[("mode", "loop")]))
        .await
        .unwrap();
    let (who, what) = (session(), facts());
    let looping = plugins.classify(&who, &what);
    assert!(
        tokio::time::timeout(Duration::from_millis(50), looping)
            .await
            .is_err()
    );
    plugins
        .add("p", component("evil"), config(&[]))
        .await
        .unwrap();
    assert_eq!(plugins.classify(&who, &what).await.score, 10);
    assert!(events.take().is_empty(), "cancelling is not failing");
}

#[tokio::test]
async fn the_store_is_the_plugins_own() {
    let host = Host::evil("count").await;
    assert_eq!([score(&host).await, score(&host).await], [1, 2]);
    host.add("other", "evil", &[("mode", "count")])
        .await
        .unwrap();
    assert_eq!(score(&host).await, 3, "the other one counts from 1");
    // Configured anew, the same component keeps its store.
    host.add("evil", "evil", &[("mode", "count"), ("x", "y")])
        .await
        .unwrap();
    assert_eq!(score(&host).await, 4);
    *host.clock.0.lock() += Duration::from_secs(61);
    assert_eq!(score(&host).await, 1, "the counters expired");

    let host = Host::evil("kv-flood").await;
    assert_eq!(score(&host).await, 1, "the quota holds");
}
