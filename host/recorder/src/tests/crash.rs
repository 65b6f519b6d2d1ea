//! `kill -9` at random moments: every intent that was acknowledged is found afterwards.
//!
//! A few rounds by default. A thousand, in about ten minutes:
//! `WEIR_RECORDER_CRASH_ROUNDS=1000 cargo test -p recorder --release kill_9`

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use pipeline::ports::Journal;
use pipeline::{Direction, Durability};
use uuid::Uuid;

use super::support::*;
use crate::record::Kind;
use crate::{Days, Recorder, StoreConfig, VerifyOptions, verify_store};

const DIR: &str = "WEIR_RECORDER_CRASH_DIR";
const ROUNDS: &str = "WEIR_RECORDER_CRASH_ROUNDS";
const DEFAULT_ROUNDS: u32 = 20;
const WITHIN: Duration = Duration::from_millis(500);

/// Not a test by itself: what the killed process runs.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else {
        return;
    };
    let mut options =
        crate::RecorderOptions::new(dir.join("spool"), StoreConfig::Directory(dir.join("store")));
    options.limits = limits();
    options.limits.segment_age = Duration::from_millis(30);
    let (recorder, _) = Recorder::open(options).await.unwrap();
    let mut tasks = Vec::new();
    for _ in 0..6 {
        tasks.push(tokio::spawn(sessions_without_end(recorder.clone())));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

async fn sessions_without_end(recorder: Recorder) {
    loop {
        let start = start();
        let id = start.info.id.0;
        let journal = recorder.open(start).await.unwrap();
        let actions = 1 + id.as_u128() as u64 % 30;
        for seq in 0..actions {
            // On the disk, or only with the operating system: a kill takes neither.
            let durability = match seq % 2 {
                0 => Durability::Fsync,
                _ => Durability::Os { within: WITHIN },
            };
            let intent = pipeline::Intent {
                durability,
                ..intent(seq, "select 1")
            };
            journal.intent(intent).await.unwrap();
            // One write, so that a kill leaves whole lines.
            let line = format!("\nack {id} {seq}\n");
            std::io::stdout().write_all(line.as_bytes()).unwrap();
            // Every fourth one is packed.
            let bytes = noise(seq, if seq % 4 == 3 { 20_000 } else { 3000 });
            journal
                .bytes(seq, Direction::ToClient, bytes)
                .await
                .unwrap();
            journal.outcome(outcome(seq)).await.unwrap();
        }
        journal.close(end()).await.unwrap();
    }
}

/// Runs the child on `dir` and kills it after `life`; gives what it acknowledged.
fn run_and_kill(dir: &std::path::Path, life: Duration) -> Vec<(Uuid, u64)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["tests::crash::child", "--exact", "--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let reader = std::thread::spawn(move || {
        let mut acked = Vec::new();
        for line in out.split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            let mut words = line.split(' ');
            if words.next() == Some("ack")
                && let (Some(id), Some(seq)) = (words.next(), words.next())
                && let (Ok(id), Ok(seq)) = (id.parse(), seq.parse())
            {
                acked.push((id, seq));
            }
        }
        acked
    });
    std::thread::sleep(life);
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_intent_survives_kill_9() {
    let dir = TempDir::new();
    let path = dir.spool().parent().unwrap().to_path_buf();
    let mut acked: BTreeMap<Uuid, BTreeSet<u64>> = BTreeMap::new();
    let rounds = std::env::var(ROUNDS).map_or(DEFAULT_ROUNDS, |n| n.parse().unwrap());
    for _ in 0..rounds {
        let random = Uuid::now_v7().as_u128() as u64 % 400;
        let path = path.clone();
        let life = Duration::from_millis(80 + random);
        let killed = tokio::task::spawn_blocking(move || run_and_kill(&path, life));
        for (id, seq) in killed.await.unwrap() {
            acked.entry(id).or_default().insert(seq);
        }
    }
    assert!(
        acked.len() > rounds as usize,
        "the child hardly ran: {}",
        acked.len()
    );
    let (recorder, report) = dir.open().await;
    assert!(report.gaps.is_empty(), "{report:?}");
    let done = recorder.shutdown(SHORT).await;
    assert_eq!((done.pending_segments, done.sealed), (0, true));

    let store = dir.store();
    let report = verify_store(&store, &VerifyOptions::default())
        .await
        .unwrap();
    assert_eq!(findings(&report), []);
    assert_eq!(report.complete, report.sessions);
    assert_eq!(report.intents, report.outcomes);
    let mut found: BTreeMap<Uuid, BTreeSet<u64>> = BTreeMap::new();
    for entry in store.sessions(Days::default()).await.unwrap() {
        for key in store.segments(false, entry.session).await.unwrap() {
            let segment = store.segment(&key).await.unwrap();
            let intents = segment
                .records()
                .filter(|r| r.known() == Some(Kind::Intent))
                .map(|r| r.action().unwrap().0);
            found.entry(entry.session).or_default().extend(intents);
        }
    }
    for (id, seqs) in &acked {
        let there = found.get(id).cloned().unwrap_or_default();
        assert!(
            seqs.is_subset(&there),
            "{id}: acknowledged {seqs:?}, found {there:?}"
        );
    }
}
