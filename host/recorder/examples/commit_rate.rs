//! How many durable intents per second the recorder takes, beside a bare group-commit loop on the
//! same disk, and what a recorded megabyte costs.
//!
//! `cargo run --release -p recorder --example commit_rate -- [sessions] [seconds] [directory]`
//! prints one `name value` per line.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // A measurement: it may stop at any surprise.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use pipeline::ports::{Journal, SessionJournal};
use pipeline::{
    Actor, BundleRef, Direction, Durability, EndReason, Facts, Fingerprint, Intent, Principal,
    PrincipalKind, Protocol, Risk, SessionEnd, SessionId, SessionInfo, SessionStart, SqlFacts,
    Target,
};
use recorder::{Recorder, RecorderOptions, StoreConfig};

/// As in the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1);
    let sessions: usize = args.next().map_or(64, |a| a.parse().unwrap());
    let seconds: u64 = args.next().map_or(5, |a| a.parse().unwrap());
    let dir = args.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = dir.join(format!("weir-commit-rate-{}", std::process::id()));
    let life = Duration::from_secs(seconds);
    std::fs::create_dir_all(&dir).unwrap();
    println!("sessions {sessions}");

    let cpu = cpu_time();
    let bare = bare_loop(&dir, sessions, life).await;
    report("bare", bare, life, cpu_time() - cpu);
    let cpu = cpu_time();
    let ours = recorder(&dir, sessions, life).await;
    report("recorder", ours, life, cpu_time() - cpu);
    streamed(&dir, "stream", rows()).await;
    streamed(&dir, "noise", noise()).await;
    std::fs::remove_dir_all(&dir).unwrap();
}

fn report(name: &str, mut waits: Vec<Duration>, life: Duration, cpu: f64) {
    waits.sort();
    let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize].as_micros();
    let rate = waits.len() as f64 / life.as_secs_f64();
    println!("{name}_per_second {rate:.0}");
    println!("{name}_cpu_us_per_intent {:.1}", cpu / waits.len() as f64);
    println!("{name}_p50_us {}", at(0.5));
    println!("{name}_p99_us {}", at(0.99));
}

/// As many clients hand lines to one thread, which writes and syncs what is there.
async fn bare_loop(dir: &Path, clients: usize, life: Duration) -> Vec<Duration> {
    type Ask = (Vec<u8>, tokio::sync::oneshot::Sender<()>);
    let (tx, mut rx) = tokio::sync::mpsc::channel::<Ask>(4096);
    let mut file = std::fs::File::create(dir.join("bare")).unwrap();
    let thread = std::thread::spawn(move || {
        while let Some((line, done)) = rx.blocking_recv() {
            let (mut block, mut waiting) = (line, vec![done]);
            while let Ok((line, done)) = rx.try_recv() {
                block.extend(line);
                waiting.push(done);
            }
            file.write_all(&block).unwrap();
            file.sync_data().unwrap();
            for done in waiting {
                done.send(()).ok();
            }
        }
    });
    let mut tasks = Vec::new();
    for _ in 0..clients {
        let tx = tx.clone();
        tasks.push(tokio::spawn(async move {
            let (until, mut waits) = (Instant::now() + life, Vec::new());
            while Instant::now() < until {
                let asked = Instant::now();
                let (done, answer) = tokio::sync::oneshot::channel();
                tx.send((vec![b'x'; 1000], done)).await.unwrap();
                answer.await.unwrap();
                waits.push(asked.elapsed());
            }
            waits
        }));
    }
    drop(tx);
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.unwrap());
    }
    thread.join().unwrap();
    all
}

async fn open(dir: &Path, name: &str) -> Recorder {
    let store = StoreConfig::Directory(dir.join(format!("{name}-store")));
    let options = RecorderOptions::new(dir.join(name), store);
    Recorder::open(options).await.unwrap().0
}

/// As many sessions have intents recorded, and what came of each, for which nobody waits.
async fn recorder(dir: &Path, sessions: usize, life: Duration) -> Vec<Duration> {
    let recorder = open(dir, "intents").await;
    let mut tasks = Vec::new();
    for _ in 0..sessions {
        let journal = recorder.open(start()).await.unwrap();
        tasks.push(tokio::spawn(async move {
            let (until, mut waits) = (Instant::now() + life, Vec::new());
            let mut seq = 0;
            while Instant::now() < until {
                let asked = Instant::now();
                journal.intent(intent(seq)).await.unwrap();
                waits.push(asked.elapsed());
                journal.outcome(outcome(seq)).await.unwrap();
                seq += 1;
            }
            journal.close(end()).await.unwrap();
            waits
        }));
    }
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.unwrap());
    }
    let stats = recorder.stats();
    println!(
        "recorder_records_per_block {}",
        stats.records / stats.blocks.max(1)
    );
    recorder.shutdown(Duration::from_secs(60)).await;
    all
}

/// So much that recorder takes at once.
const STREAMED: usize = 64 << 10;

fn rows() -> Vec<u8> {
    let mut rows = Vec::new();
    while rows.len() < STREAMED {
        let n = rows.len() as u64 * 0x9e37_79b9;
        let (name, day, cents) = (n % 9973, n % 28, n % 1000);
        writeln!(rows, "D{n}\tname {name}\t2026-11-{day:02}\t{cents}.50").unwrap();
    }
    rows
}

/// What cannot be compressed.
fn noise() -> Vec<u8> {
    let mut state = 1_u64;
    let byte = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005);
        state = state.wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(byte).take(STREAMED).collect()
}

/// The processor time of recording 256 MB of this, until it is sealed and until it is stored, against SHA-256 and
/// zstd -1 of the same bytes.
async fn streamed(dir: &Path, name: &str, bytes: Vec<u8>) {
    const MB: usize = 256;
    let bytes = bytes::Bytes::from(bytes);
    let recorder = open(dir, name).await;
    let journal: Arc<dyn SessionJournal> = recorder.open(start()).await.unwrap();
    let count = (MB << 20) / bytes.len();
    let (cpu, began) = (cpu_time(), Instant::now());
    for _ in 0..count {
        let bytes = bytes.clone();
        journal.bytes(0, Direction::ToClient, bytes).await.unwrap();
    }
    journal.close(end()).await.unwrap();
    let wall = began.elapsed();
    let ours = cpu_time() - cpu;
    recorder.shutdown(Duration::from_secs(60)).await;
    let stored = cpu_time() - cpu;
    let cpu = cpu_time();
    for _ in 0..count {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
        std::hint::black_box(digest);
        std::hint::black_box(zstd::bulk::compress(&bytes, 1).unwrap());
    }
    let bare = cpu_time() - cpu;
    println!("{name}_mb_per_second {:.0}", MB as f64 / wall.as_secs_f64());
    println!("{name}_cpu_us_per_mb {:.0}", ours / MB as f64);
    println!("{name}_stored_cpu_us_per_mb {:.0}", stored / MB as f64);
    let bare = bare / MB as f64;
    match name {
        "stream" => println!("sha256_and_zstd1_us_per_mb {bare:.0}"),
        _ => println!("{name}_sha256_and_zstd1_us_per_mb {bare:.0}"),
    }
}

/// Microseconds of processor time of this process: fields 14 and 15 of `/proc/self/stat`, in hundredths
/// of a second.
fn cpu_time() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks * 10_000.0
}

fn start() -> SessionStart {
    let id = SessionId::new();
    SessionStart {
        retention_days: None,
        info: Arc::new(SessionInfo {
            id,
            id_text: id.to_string().into(),
            principal: Arc::new(Principal {
                actor: Actor::new(PrincipalKind::Agent, "agent", &["bots"]),
                on_behalf_of: Vec::new(),
                issuer: "https://issuer".into(),
                issued_at: None,
                expires_at: SystemTime::now() + Duration::from_secs(3600),
                token_id: None,
                proof: Default::default(),
            }),
            target: Arc::new(Target {
                name: "shop".into(),
                protocol: Protocol::Postgres,
                env: "prod".into(),
                tags: BTreeMap::new(),
            }),
            scope: "shop".into(),
            source: [127, 0, 0, 1].into(),
            started: SystemTime::now(),
            attrs: BTreeMap::new(),
        }),
        bundle: bundle(),
    }
}

fn bundle() -> BundleRef {
    BundleRef {
        name: "default".into(),
        version: 1,
        digest: "ab".repeat(32).into(),
    }
}

fn intent(seq: u64) -> Intent {
    let text = format!("select id, name, total from orders where customer_id = {seq}");
    Intent {
        seq,
        at: SystemTime::now(),
        facts: Facts::Sql(Arc::new(SqlFacts::opaque(text.into()))),
        accesses: Vec::new(),
        risk: Arc::new(Risk::default()),
        basis: pipeline::Basis::new(SystemTime::now(), None),
        bundle: bundle(),
        policies: vec!["grant-read".into()],
        approval: None,
        fingerprint: Fingerprint([7; 32]),
        parameters: Vec::new(),
        masked: Vec::new(),
        durability: Durability::Fsync,
    }
}

fn outcome(seq: u64) -> pipeline::Outcome {
    pipeline::Outcome {
        seq,
        at: SystemTime::now(),
        kind: pipeline::OutcomeKind::Done,
        detail: "SELECT 1".into(),
        rows: 1,
        bytes: 80,
        elapsed: Duration::from_micros(90),
    }
}

fn end() -> SessionEnd {
    SessionEnd {
        at: SystemTime::now(),
        reason: EndReason::ClientClosed,
    }
}
