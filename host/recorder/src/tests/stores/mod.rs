//! The recorder against real stores of several makes, with a proxy before them that does what stores
//! and networks do wrong. `cargo test` has one make; `cargo xtask stores` all, and a longer outage.

mod erase;
mod load;
mod lock;
mod retain;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use weir_tests::faulty::{Fault, Proxy};
use weir_tests::stores::{ACCESS_KEY, Make, SECRET_KEY, Server};

use self::load::Ledger;
use super::support::*;
use crate::objects::{Objects, StoreError};
use crate::{Recorder, RecorderOptions, S3Config, S3Credentials, Store, StoreConfig};

/// Which stores, by name, with commas between; moto alone if nobody says.
const MAKES: &str = "WEIR_STORES";
/// How long the outage lasts in which the spool is full, in seconds.
const OUTAGE: &str = "WEIR_STORE_OUTAGE";
const BUCKET: &str = "evidence";
/// With versions, and Object Lock.
const VAULT: &str = "vault";
/// For what a store needs to recover, on a busy machine.
const LONG: Duration = Duration::from_secs(300);

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost() {
    for make in makes() {
        every_scenario(make).await;
    }
}

fn makes() -> Vec<Make> {
    let names = std::env::var(MAKES).unwrap_or_else(|_| "moto".into());
    names
        .split(',')
        .map(|name| Make::parse(name).unwrap())
        .collect()
}

async fn every_scenario(make: Make) {
    if !make.is_installed() {
        return weir_tests::skip::not_installed(make.name());
    }
    let server = Server::start(make).unwrap();
    server.make_bucket(BUCKET, false).unwrap();
    if make.locks() {
        server.make_bucket(VAULT, true).unwrap();
    }
    let server = Arc::new(server);
    let began = Instant::now();
    let faults = [
        (Fault::Refuses, 2),
        (Fault::Hangs, 4),
        (Fault::Slow(Duration::from_millis(700)), 1),
        (Fault::Unavailable, 2),
        (Fault::LosesAnswers, 2),
        (Fault::Swallows, 2),
        (Fault::CutsReads, 2),
        (Fault::AltersReads, 3),
    ];
    let mut running = tokio::task::JoinSet::new();
    for (fault, one_in) in faults {
        running.spawn(a_fault_under_load(Place::new(&server), fault, one_in));
    }
    running.spawn(an_outage_longer_than_the_spool(Place::new(&server)));
    running.spawn(a_start_while_the_store_is_away(Place::new(&server)));
    running.spawn(many_writers_of_one_key(Place::new(&server)));
    running.spawn(lock::a_vault_without_a_lock_is_not_used(Place::new(
        &server,
    )));
    if make.locks() {
        running.spawn(lock::what_is_final_is_locked(Place::new(&server)));
        running.spawn(lock::faults_before_a_locked_vault(Place::new(&server)));
        running.spawn(erase::what_is_kept_of_a_key_is_told(Place::new(&server)));
        running.spawn(lock::what_shadows_an_object_is_found(Place::new(&server)));
        running.spawn(retain::each_session_as_long_as_its_bundle_said(Place::new(
            &server,
        )));
        running.spawn(retain::a_crash_between_the_seal_and_the_store(Place::new(
            &server,
        )));
        running.spawn(retain::what_somebody_stored_first(Place::new(&server)));
        running.spawn(retain::a_store_that_forgets_the_longest_locks(Place::new(
            &server,
        )));
    }
    let limit = LONG + Duration::from_secs(outage_seconds());
    while let Some(done) = tokio::time::timeout(limit * 2, running.join_next())
        .await
        .unwrap()
    {
        if let Err(error) = done {
            panic!("{}: {error}\n{}", make.name(), server.log());
        }
    }
    println!("{}: all of it in {:?}", make.name(), began.elapsed());
}

fn outage_seconds() -> u64 {
    std::env::var(OUTAGE).map_or(2, |text| text.parse().unwrap())
}

/// A prefix of its own in the server's bucket, with a proxy before it.
struct Place {
    server: Arc<Server>,
    proxy: Proxy,
    prefix: String,
    dir: TempDir,
}

impl Place {
    fn new(server: &Arc<Server>) -> Self {
        Self {
            server: server.clone(),
            proxy: Proxy::start(server.port).unwrap(),
            prefix: uuid::Uuid::now_v7().to_string(),
            dir: TempDir::new(),
        }
    }

    fn config(&self, endpoint: String) -> StoreConfig {
        self.bucket(BUCKET, endpoint)
    }

    fn bucket(&self, bucket: &str, endpoint: String) -> StoreConfig {
        StoreConfig::S3(S3Config {
            bucket: bucket.into(),
            prefix: self.prefix.clone(),
            endpoint: Some(endpoint),
            allow_http: true,
            credentials: Some(S3Credentials {
                access_key_id: ACCESS_KEY.into(),
                secret_access_key: SECRET_KEY.into(),
                session_token: None,
            }),
            ..S3Config::default()
        })
    }

    /// Records through the proxy.
    async fn open(&self, spool_bytes: u64) -> Recorder {
        Recorder::open(self.options(spool_bytes)).await.unwrap().0
    }

    fn options(&self, spool_bytes: u64) -> RecorderOptions {
        let mut options = self.dir.options();
        options.store = self.config(self.proxy.endpoint());
        options.limits.spool_bytes = spool_bytes;
        options.limits.upload_timeout = Duration::from_secs(3);
        options.limits.publish_every = Duration::from_millis(500);
        options
    }

    fn straight(&self) -> String {
        format!("http://127.0.0.1:{}", self.server.port)
    }

    /// Reads without it.
    fn store(&self) -> Store {
        Store::open(&self.config(self.straight()))
            .unwrap()
            .with_keys(self.dir.wrap(), None)
    }

    /// Ends the recorder once everything is stored, and looks at what there is.
    async fn finish(&self, recorder: Recorder, ledger: &Ledger, what: &str) {
        let done = recorder.shutdown(LONG).await;
        assert_eq!(done.pending_segments, 0, "{what}: {:?}", recorder.stats());
        assert!(done.sealed && done.log_stored, "{what}: {done:?}");
        ledger.check(&self.store(), what).await;
        println!(
            "{what}: {} faults in {} requests",
            self.proxy.hits(),
            self.proxy.requests()
        );
    }
}

async fn a_fault_under_load(place: Place, fault: Fault, one_in: u64) {
    let what = format!("{}, {fault:?}", place.server.make.name());
    let recorder = place.open(64 << 20).await;
    place.proxy.set(fault, one_in);
    let (ledger, stop) = (
        Arc::new(Ledger::default()),
        Arc::new(AtomicBool::new(false)),
    );
    let load = {
        let (ledger, recorder, stop) = (ledger.clone(), recorder.clone(), stop.clone());
        tokio::spawn(async move { ledger.load(&recorder, 2, stop).await })
    };
    let until = Instant::now() + LONG;
    while place.proxy.hits() < 10 || ledger.intents() < 60 {
        assert!(
            Instant::now() < until,
            "{what}: {} hits",
            place.proxy.hits()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stop.store(true, Ordering::Relaxed);
    load.await.unwrap();
    assert_eq!(ledger.refusals(), 0, "{what}");
    let lies = matches!(fault, Fault::CutsReads | Fault::AltersReads);
    ledger.reads_lie.store(lies, Ordering::Relaxed);
    place.proxy.set(Fault::None, 1);
    place.finish(recorder, &ledger, &what).await;
}

/// Sessions go on until the spool is full, are refused then, and go on when the store is back.
async fn an_outage_longer_than_the_spool(place: Place) {
    let make = place.server.make.name();
    let seconds = outage_seconds();
    let recorder = place.open(2 << 20).await;
    let (ledger, stop) = (
        Arc::new(Ledger::default()),
        Arc::new(AtomicBool::new(false)),
    );
    let load = {
        let (ledger, recorder, stop) = (ledger.clone(), recorder.clone(), stop.clone());
        tokio::spawn(async move { ledger.load(&recorder, 4, stop).await })
    };
    tokio::time::sleep(Duration::from_millis(500)).await;
    place.proxy.set(Fault::Refuses, 1);
    let away = Instant::now();
    while ledger.refusals() < 8 {
        assert!(away.elapsed() < LONG, "{make}: the spool is never full");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (full, held) = (away.elapsed(), ledger.intents());
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let (stats, refused) = (recorder.stats(), ledger.refusals());
    // Those that began before, and what fits into the last piece of room.
    let more = ledger.intents() - held;
    assert!(more < 200, "{make}: {more} intents into a full spool");
    assert!(stats.wal_bytes + stats.pending_bytes < 4 << 20, "{stats:?}");
    assert!(stats.poisoned.is_none());
    place.proxy.set(Fault::None, 1);
    let (back, before) = (Instant::now(), ledger.intents());
    while ledger.intents() < before + 60 {
        assert!(
            back.elapsed() < LONG,
            "{make}: it never takes sessions again"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let again = back.elapsed();
    stop.store(true, Ordering::Relaxed);
    load.await.unwrap();
    place
        .finish(recorder, &ledger, &format!("{make}, an outage"))
        .await;
    let sessions = ledger.acked.lock().len();
    let intents = ledger.intents();
    println!(
        "{make}: the spool was full after {full:?} of outage, {refused} refusals in {seconds} s more, \
         sessions again {again:?} after it; {sessions} sessions, {intents} intents, nothing lost"
    );
}

async fn a_start_while_the_store_is_away(place: Place) {
    let make = place.server.make.name();
    let ledger = Ledger::default();
    let recorder = place.open(64 << 20).await;
    ledger.session(&recorder, 6, 4000).await;
    place.proxy.set(Fault::Unavailable, 1);
    ledger.session(&recorder, 6, 4000).await;
    // A kill: nobody stores what is left.
    kill(&recorder).await;
    recorder.shutdown(Duration::ZERO).await;
    drop(recorder);
    let recorder = place.open(64 << 20).await;
    ledger.session(&recorder, 6, 4000).await;
    place.proxy.set(Fault::LosesAnswers, 2);
    ledger.session(&recorder, 6, 4000).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    place.proxy.set(Fault::None, 1);
    let what = format!("{make}, a start while it is away");
    place.finish(recorder, &ledger, &what).await;
}

/// As many as there may be by mistake. Equal content is one object; of different content, one.
async fn many_writers_of_one_key(place: Place) {
    const WRITERS: usize = 16;
    let make = place.server.make;
    let objects = Objects::open(&place.config(place.proxy.endpoint())).unwrap();
    let mut most = 0;
    for round in 0..8 {
        let key = format!("rec/equal-{round}");
        let stored = race(&objects, &key, |_| Bytes::from_static(b"the same")).await;
        for (_, result) in stored {
            assert!(result.is_ok(), "{make:?}: {result:?}");
        }
        let key = format!("rec/other-{round}");
        let stored = race(&objects, &key, |n| format!("content {n}").into()).await;
        let there = objects.get(&key).await.unwrap();
        let won: Vec<&Bytes> = stored
            .iter()
            .filter(|(_, r)| r.is_ok())
            .map(|(b, _)| b)
            .collect();
        assert!(won.contains(&&there), "{make:?}: nobody's content is there");
        for (_, result) in stored.iter().filter(|(_, r)| r.is_err()) {
            let told = matches!(
                result,
                Err(StoreError::Conflict(_) | StoreError::NotStored(_))
            );
            assert!(told, "{make:?}: {result:?}");
        }
        most = most.max(won.len());
    }
    // s3s-fs asks and writes in two steps. So no store is used as a lock.
    assert!(most == 1 || make == Make::S3sFs, "{make:?}: {most} winners");
    println!(
        "{}: at most {most} of {WRITERS} writers of one key have won",
        make.name()
    );

    async fn race(
        objects: &Objects,
        key: &str,
        content: impl Fn(usize) -> Bytes,
    ) -> Vec<(Bytes, Result<(), StoreError>)> {
        let writers = (0..WRITERS).map(|n| {
            let (objects, key, bytes) = (objects.clone(), key.to_owned(), content(n));
            async move {
                let stored = objects.put_once(&key, bytes.clone()).await;
                (bytes, stored)
            }
        });
        futures::future::join_all(writers.collect::<Vec<_>>()).await
    }
}
