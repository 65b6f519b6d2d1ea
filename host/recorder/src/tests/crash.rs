//! `kill -9` at random moments: every intent that was acknowledged is found afterwards, and none that
//! was not begun.
//!
//! A few rounds by default; a thousand by `cargo xtask crash`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use pipeline::ports::{Journal, JournalError};
use pipeline::{Direction, Durability};
use uuid::Uuid;

use super::support::*;
use crate::record::Kind;
use crate::{Days, Recorder, StoreConfig, VerifyOptions, verify_store};

const DIR: &str = "WEIR_RECORDER_CRASH_DIR";
const ROUNDS: &str = "WEIR_RECORDER_CRASH_ROUNDS";
const DEFAULT_ROUNDS: u32 = 20;
const WITHIN: Duration = Duration::from_millis(500);
/// So long a start may take, on a machine that does other things, too.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the killed processes said.
#[derive(Default)]
struct Said {
    begun: BTreeMap<Uuid, BTreeSet<u64>>,
    acknowledged: BTreeMap<Uuid, BTreeSet<u64>>,
}

/// When a child is killed.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// While it starts, and finds out what the one before has left.
    Starting(Duration),
    /// So long after its first intent.
    Working(Duration),
}

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
        match session(&recorder).await {
            Ok(()) => {}
            // Short lives leave more than they store. What is refused begins when there is room.
            Err(JournalError::SpoolFull { .. }) => {
                eprintln!("the spool is full: {:?}", recorder.stats());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

async fn session(recorder: &Recorder) -> Result<(), JournalError> {
    let start = start();
    let id = start.info.id.0;
    let journal = recorder.open(start).await?;
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
        say("try", id, seq);
        journal.intent(intent).await?;
        say("ack", id, seq);
        // Every fourth one is packed.
        let bytes = noise(seq, if seq % 4 == 3 { 20_000 } else { 3000 });
        journal.bytes(seq, Direction::ToClient, bytes).await?;
        journal.outcome(outcome(seq)).await?;
    }
    journal.close(end()).await
}

/// One write, so that a kill leaves whole lines.
fn say(word: &str, id: Uuid, seq: u64) {
    let line = format!("\n{word} {id} {seq}\n");
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}

/// Runs the child on `dir` and kills it at `moment`.
fn run_and_kill(dir: &std::path::Path, moment: Moment, mut said: Said) -> Said {
    let words = dir.join("words");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["tests::crash::child", "--exact", "--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .stderr(File::create(&words).unwrap())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let (works, working) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in out.split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            let words: Vec<_> = line.split(' ').collect();
            let [word, id, seq] = words[..] else { continue };
            let (Ok(id), Ok(seq)) = (id.parse(), seq.parse()) else {
                continue;
            };
            let of = match word {
                "try" => &mut said.begun,
                "ack" => &mut said.acknowledged,
                _ => continue,
            };
            of.entry(id).or_default().insert(seq);
            // Nobody listens any more when the child is about to be killed.
            works.send(()).ok();
        }
        said
    });
    match moment {
        Moment::Starting(life) => std::thread::sleep(life),
        Moment::Working(life) => {
            let works = working.recv_timeout(PATIENCE);
            assert!(
                works.is_ok(),
                "the child does not work ({works:?}, {:?}): {}",
                child.try_wait(),
                std::fs::read_to_string(&words).unwrap_or_default()
            );
            std::thread::sleep(life);
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_intent_survives_kill_9() {
    let dir = TempDir::new();
    let path = dir.spool().parent().unwrap().to_path_buf();
    let mut said = Said::default();
    let rounds = std::env::var(ROUNDS).map_or(DEFAULT_ROUNDS, |n| n.parse().unwrap());
    for round in 0..rounds {
        let random = Duration::from_millis(Uuid::now_v7().as_u128() as u64 % 400);
        let moment = match round % 5 {
            4 => Moment::Starting(random / 4),
            _ => Moment::Working(random),
        };
        let path = path.clone();
        let killed = tokio::task::spawn_blocking(move || run_and_kill(&path, moment, said));
        said = killed.await.unwrap();
    }
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
    for (id, seqs) in &said.acknowledged {
        let there = found.get(id).cloned().unwrap_or_default();
        assert!(
            seqs.is_subset(&there),
            "{id}: acknowledged {seqs:?}, found {there:?}"
        );
    }
    for (id, seqs) in &found {
        let begun = said.begun.get(id).cloned().unwrap_or_default();
        assert!(
            seqs.is_subset(&begun),
            "{id}: begun {begun:?}, found {seqs:?}"
        );
    }
    let count = |of: &BTreeMap<Uuid, BTreeSet<u64>>| of.values().map(BTreeSet::len).sum::<usize>();
    println!(
        "killed {rounds} times: {} intents begun, {} acknowledged, {} found, 0 lost, 0 invented",
        count(&said.begun),
        count(&said.acknowledged),
        count(&found)
    );
}
