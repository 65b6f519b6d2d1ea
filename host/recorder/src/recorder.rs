//! The recorder itself: its start, its threads, its end.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::commit::{Ask, Committer, Flush, Refused};
use crate::convert::json;
use crate::crypt::files::KeyFiles;
use crate::crypt::ring::{Begun, Ring};
use crate::dirs::Dirs;
use crate::disk::{Disk, RealDisk, private};
use crate::doc::{ControlStartDoc, DOC_VERSION, EndDoc, GapDoc};
use crate::erase::{self, Erasures, Forgetting};
use crate::follow::{self, Followers, Following};
use crate::fresh::FreshOnes;
use crate::journal::{last_records, record};
use crate::late::Late;
use crate::log::check::TrustedKey;
use crate::log::key::{Keys, own_key};
use crate::log::left;
use crate::log::publish::{self, Publisher};
use crate::log::registry::{Registry, RegistryOptions};
use crate::log::sequence::{Begin, LogError, Sequencer, Shared};
use crate::log::subject::Subjects;
use crate::objects::Objects;
use crate::options::{OpenError, RecorderOptions};
use crate::patient::Patient;
use crate::pending::Pending;
use crate::record::{Kind, NewRecord};
use crate::recover::{self, Recovered, RecoveryReport};
use crate::retention::{self, Proof};
use crate::seal::Sealer;
use crate::snapshots::Snapshots;
use crate::state::State;
use crate::stats::{ShutdownReport, Stats};
use crate::upload::Uploader;
use crate::wal::writer::Writer;

/// Parcels of durable blocks that wait for the sealer; beyond it the committer waits.
const SEALER_QUEUE: usize = 16;

/// Records sessions. Cheap to clone; every clone is the same recorder.
#[derive(Clone)]
pub struct Recorder {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub state: Arc<State>,
    pub tx: mpsc::Sender<Ask>,
    /// After `tx`: it is rung when that is gone.
    _last: LastRing,
    pub committer: Arc<Mutex<Committer>>,
    pub queued: Arc<Semaphore>,
    pub control: Uuid,
    pub closed: AtomicBool,
    pub ring: Arc<Ring>,
    pub key_files: Arc<KeyFiles>,
    pub pending: Arc<Pending>,
    pub snapshots: Arc<Snapshots>,
    late: Late,
    pub log: Arc<Shared>,
    pub objects: Objects,
    pub disk: Arc<dyn Disk>,
    pub spool: PathBuf,
    pub dirs: Dirs,
    pub erasures: Erasures,
    pub forgetting: Option<Forgetting>,
    /// The key of this instance's logs, unless it is of a kind that nobody here can check.
    pub trusted: Option<TrustedKey>,
    pub subjects: Arc<Subjects>,
    origin: String,
    pub tasks: TaskTracker,
    pub stop: CancellationToken,
    followers: Arc<Followers>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    lock: Mutex<Option<File>>,
}

/// Lets the committer see that nobody can ask it any more.
struct LastRing(Arc<State>);

impl Drop for LastRing {
    fn drop(&mut self) {
        self.0.bell.ring_now();
    }
}

/// Whoever still waits is told, however the last thread ends.
struct Ended(Arc<State>, Arc<Followers>);

impl Drop for Ended {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.poison("its sealing thread failed".into());
        }
        self.0.ended.cancel();
        self.1.stop();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// So long a shutdown waits for witnesses.
const WITNESS_GRACE: Duration = Duration::from_secs(5);

impl Recorder {
    /// Locks the spool, recovers what the last process left, and starts.
    pub async fn open(options: RecorderOptions) -> Result<(Self, RecoveryReport), OpenError> {
        let objects = Objects::open_both(&options.store, options.vault.as_ref())?;
        Self::open_with(options, objects, Arc::new(RealDisk)).await
    }

    /// As `open`, with a store and a disk that tests can make fail.
    pub async fn open_with(
        options: RecorderOptions,
        objects: Objects,
        disk: Arc<dyn Disk>,
    ) -> Result<(Self, RecoveryReport), OpenError> {
        options.limits.check()?;
        objects.prove_or_wait().await?;
        // Before anything is begun, which a start that is refused would leave each time.
        retention::prove(&objects, &options.kept_longer, Proof::OrLater).await?;
        let of_log = objects.clone();
        let started = tokio::task::spawn_blocking(move || start(options, disk, of_log))
            .await
            .map_err(|e| OpenError::Wal(format!("recovery was interrupted: {e}")))??;
        let Started {
            inner,
            report,
            first,
            publisher,
        } = started;
        let answer = inner.answer(first).await;
        answer.map_err(|e| OpenError::Wal(e.to_string()))?;
        let forgotten = inner.late.forget();
        forgotten
            .map_err(|e| OpenError::Wal(format!("removing the gaps that were found late: {e}")))?;
        let (snapshots, stop) = (inner.snapshots.clone(), inner.stop.clone());
        inner
            .tasks
            .spawn(snapshots.run(objects.clone(), inner.control.as_u128(), stop));
        Uploader {
            state: inner.state.clone(),
            pending: inner.pending.clone(),
            keys: inner.key_files.clone(),
            objects,
            control: inner.control.as_u128(),
            stop: inner.stop.clone(),
        }
        .spawn(&inner.tasks);
        inner.tasks.spawn(publisher.run());
        inner.tasks.spawn(erase::finish_all(inner.clone()));
        inner.tasks.close();
        Ok((Self { inner }, report))
    }

    /// Cancelled when nothing can be recorded any more.
    pub fn failed(&self) -> CancellationToken {
        self.inner.state.failed.child_token()
    }

    /// The name of this instance's transparency log.
    pub fn log_origin(&self) -> &str {
        &self.inner.origin
    }

    /// The id of this instance's control stream.
    pub fn control_stream(&self) -> Uuid {
        self.inner.control
    }

    pub fn stats(&self) -> Stats {
        let state = &self.inner.state;
        let counters = &state.counters;
        Stats {
            records: counters.records.load(Ordering::Relaxed),
            blocks: counters.blocks.load(Ordering::Relaxed),
            wal_bytes: state.wal_bytes.load(Ordering::Relaxed),
            pending_bytes: state.pending_bytes.load(Ordering::Relaxed),
            pending_segments: self.inner.pending.not_stored(),
            spool_limit: state.limits.spool_bytes,
            spool_used: state.used(),
            sealed_segments: counters.sealed.load(Ordering::Relaxed),
            stored_segments: counters.stored.load(Ordering::Relaxed),
            store_failures: counters.store_failures.load(Ordering::Relaxed),
            quarantined_segments: counters.quarantined.load(Ordering::Relaxed),
            log_size: self.inner.log.sizes().0,
            log_stored: self.inner.log.sizes().1,
            follower_trouble: self.inner.followers.trouble(),
            poisoned: state.poisoned(),
        }
    }

    /// Seals everything so far and waits until the store has it, at most `deadline`. True when it
    /// has.
    pub async fn flush(&self, deadline: Duration) -> bool {
        let all = async {
            let sealed = self
                .inner
                .ask(|done| Ask {
                    flush: Some((Flush::All, done)),
                    ..Ask::default()
                })
                .await;
            sealed.is_ok() && self.all_stored().await
        };
        tokio::time::timeout(deadline, all).await.unwrap_or(false)
    }

    /// What there is now: more may come meanwhile.
    async fn all_stored(&self) -> bool {
        let size = self.inner.log.sizes().0;
        loop {
            let stored = self.inner.pending.stored.notified();
            let published = self.inner.log.done.notified();
            let kept = self.inner.snapshots.stored.notified();
            let all = self.inner.pending.not_stored() == 0 && self.inner.snapshots.is_stored();
            if all && self.inner.log.has(size) {
                return true;
            }
            self.inner.log.hurry();
            tokio::select! {
                () = stored => {}
                () = kept => {}
                () = published => {}
            }
        }
    }

    /// Accepts no new session, ends the control stream, seals everything, stores what it can until
    /// `deadline`, and gives the spool free. Call it when every session is closed: one that is still
    /// open counts as interrupted at the next start.
    pub async fn shutdown(&self, deadline: Duration) -> ShutdownReport {
        let inner = &self.inner;
        inner.closed.store(true, Ordering::Release);
        let until = tokio::time::Instant::now() + deadline;
        let sealed = tokio::time::timeout_at(until, self.seal_all())
            .await
            .unwrap_or(false);
        tokio::time::timeout_at(until, self.all_stored()).await.ok();
        let grace = tokio::time::Instant::now() + WITNESS_GRACE;
        tokio::time::timeout_at(until.min(grace), self.all_witnessed())
            .await
            .ok();
        inner.stop.cancel();
        inner.tasks.wait().await;
        let stop = Ask {
            stop: true,
            ..Ask::default()
        };
        inner.tx.send(stop).await.ok();
        inner.state.bell.ring_now();
        let threads = std::mem::take(&mut *inner.threads.lock());
        let joined =
            tokio::task::spawn_blocking(move || threads.into_iter().all(|t| t.join().is_ok()))
                .await
                .unwrap_or(false);
        if let Err(error) = inner.late.keep(inner.state.late_gaps()) {
            tracing::error!(%error, "gaps that were found while the recorder ended are only in this log");
        }
        drop(inner.lock.lock().take());
        ShutdownReport {
            pending_segments: inner.pending.not_stored(),
            sealed: sealed && joined,
            log_stored: inner.log.is_stored(),
        }
    }

    /// The last checkpoint should be witnessed, too. One that is not is shown again at the next start.
    async fn all_witnessed(&self) {
        loop {
            let done = self.inner.log.done.notified();
            if !self.inner.log.is_asking() {
                return;
            }
            done.await;
        }
    }

    async fn seal_all(&self) -> bool {
        let inner = &self.inner;
        let flush = |what| {
            inner.ask(move |done| Ask {
                flush: Some((what, done)),
                ..Ask::default()
            })
        };
        // First all others, so that the anchors of their segments are in the control stream.
        if flush(Flush::Others).await.is_err() {
            return false;
        }
        let end = EndDoc::new("shutdown", "");
        let control = inner.control.as_u128();
        let Ok(records) = last_records(control, Default::default(), SystemTime::now(), &end) else {
            return false;
        };
        inner.commit(records).await.is_ok() && flush(Flush::All).await.is_ok()
    }
}

struct Started {
    inner: Arc<Inner>,
    report: RecoveryReport,
    publisher: Publisher,
    /// Answers when the first records are durable.
    first: oneshot::Receiver<Result<(), Refused>>,
}

/// The blocking part of `open`.
fn start(
    options: RecorderOptions,
    disk: Arc<dyn Disk>,
    objects: Objects,
) -> Result<Started, OpenError> {
    let disk: Arc<dyn Disk> = Arc::new(Patient {
        inner: disk,
        limit: options.limits.descriptor_wait,
    });
    let dirs = Dirs::make(&*disk, &options.spool_dir)?;
    let lock = lock(&options.spool_dir)?;
    let state = Arc::new(State::new(options.limits));
    let pending = Arc::new(Pending::new(
        dirs.segments.clone(),
        dirs.quarantine.clone(),
        disk.clone(),
        state.clone(),
    ));
    let key_files = KeyFiles::new(dirs.segments.clone(), disk.clone());
    let places = (dirs.snapshots.clone(), dirs.quarantine.clone());
    let snapshots = Snapshots::open(places, disk.clone(), state.clone())
        .map_err(OpenError::io("reading", &dirs.snapshots))?;
    let control = Uuid::now_v7();
    let keys = Keys::open(&options.log).map_err(LogError::from)?;
    let trusted = own_key(&options.log).ok().flatten();
    let subjects = keys.subjects.clone();
    let (ring, key) = Handle::current().block_on(Ring::open(&options, control))?;
    let (old, damaged) = left::old_logs(&*disk, &dirs)?;
    let begin = Begin {
        epoch: control,
        control,
        software: &options.software,
        prev: old.newest.as_ref(),
    };
    let registry = RegistryOptions {
        disk: disk.clone(),
        state: state.clone(),
        spool: options.spool_dir.clone(),
        quarantine: dirs.quarantine.clone(),
        objects: objects.clone(),
        key: keys.log.clone(),
        name: keys.name.clone(),
        witnesses: options.log.witnesses.clone(),
        control: control.as_u128(),
    };
    let (registry, lost) = Registry::open(registry)?;
    let log = Sequencer::begin(state.clone(), disk.clone(), &dirs.log, keys, &begin)?;
    let (to_publish, origin) = (log.shared(), log.origin().to_owned());
    let mut sealer = Sealer {
        log,
        state: state.clone(),
        disk: disk.clone(),
        pending: pending.clone(),
        control,
        wal_dir: dirs.wal.clone(),
        quarantine_dir: dirs.quarantine.clone(),
        streams: HashMap::new(),
        files: BTreeMap::new(),
        damaged: HashSet::new(),
        fresh: FreshOnes::default(),
        unsealed: 0,
        flushes: Vec::new(),
        replaying: false,
        finished: HashSet::new(),
        followers: match options.follower {
            Some(_) => Followers::all(),
            None => Followers::none(),
        },
        ring: ring.clone(),
        key_files: key_files.clone(),
    };
    let mut recovered = recover::recover(&mut sealer, &dirs.segments)?;
    for what in damaged.into_iter().chain(lost) {
        recovered.gap(what, None);
    }
    let late = Late::new(disk.clone(), options.spool_dir.clone());
    let left = late.left();
    recovered.late(left.map_err(OpenError::io("reading", &options.spool_dir))?);
    let old = old.logs;
    to_publish.set_old(old.len());
    // Before anything new: what the last process left without a leaf has one now.
    sealer.log.checkpoint()?;
    let log_bytes = publish::size_of(&dirs.log).map_err(LogError::from)?;
    state.log_bytes.store(log_bytes, Ordering::Relaxed);
    let wal_bytes = sealer.files.values().sum();
    state.wal_bytes.store(wal_bytes, Ordering::Relaxed);
    let (records, next) = first_records(&sealer, &mut recovered, &options.software, &key)?;
    let wal_dir = dirs.wal.clone();
    let writer = Writer::create(
        disk.clone(),
        wal_dir.clone(),
        options.limits.wal_file_bytes,
        recovered.next_file,
        recovered.next_seq,
        recovered.chain,
    )
    .map_err(|e| OpenError::Wal(e.to_string()))?;
    sealer.files.insert(writer.file_no, writer.file_len);
    let followers = sealer.followers.clone();
    followers.durable(writer.file_no, writer.file_len);
    state
        .wal_bytes
        .fetch_add(writer.file_len, Ordering::Relaxed);

    let files_before = writer.file_no.saturating_sub(1);
    let (tx, rx) = mpsc::channel(options.limits.queued_records);
    let (to_sealer, from_committer) = std::sync::mpsc::sync_channel(SEALER_QUEUE);
    // Before anything that the threads want to write themselves: a stream begins with its start.
    let (done, first) = oneshot::channel();
    let ask = Ask {
        records,
        done: Some(done),
        ..Ask::default()
    };
    tx.try_send(ask)
        .map_err(|_| OpenError::Wal("the queue has no room".into()))?;
    key.keep();
    state.bell.ring_now();
    let queue = options.limits.queued_records;
    let committer = Committer::new(state.clone(), writer, next, rx, queue);
    let shared = committer.clone();
    let mut threads = vec![
        spawn("weir-commit", move || Committer::run(&shared, &to_sealer))?,
        spawn("weir-seal", move || {
            // It is the last to end: the committer goes first, and takes its end of the channel along.
            let _ended = Ended(sealer.state.clone(), sealer.followers.clone());
            sealer.run(from_committer);
        })?,
    ];
    if let Some(Following(follower)) = options.follower {
        let thread = follow::Thread::new(followers.clone(), follower, wal_dir);
        threads.push(spawn("weir-follow", move || thread.run())?);
    }
    let erasures = Erasures::new(files_before);
    let stop = CancellationToken::new();
    let publisher = Publisher {
        state: state.clone(),
        disk: disk.clone(),
        objects: objects.clone(),
        shared: to_publish.clone(),
        old,
        registry: Some(registry),
        quarantine: dirs.quarantine.clone(),
        control: control.as_u128(),
        stop: stop.clone(),
    };
    let inner = Inner {
        log: to_publish,
        objects,
        disk,
        spool: options.spool_dir,
        dirs,
        erasures,
        forgetting: options.forgetting,
        trusted,
        subjects,
        origin,
        queued: Arc::new(Semaphore::new(state.limits.queued_bytes as usize)),
        _last: LastRing(state.clone()),
        state,
        tx,
        committer,
        control,
        closed: AtomicBool::new(false),
        ring,
        key_files,
        pending,
        snapshots: Arc::new(snapshots),
        late,
        tasks: TaskTracker::new(),
        stop,
        followers,
        threads: Mutex::new(threads),
        lock: Mutex::new(Some(lock)),
    };
    Ok(Started {
        inner: Arc::new(inner),
        report: recovered.report,
        first,
        publisher,
    })
}

/// The new control stream's start, what recovery found missing, and an end for every stream that the
/// last process left open. Also the next record numbers of those streams.
fn first_records(
    sealer: &Sealer,
    recovered: &mut Recovered,
    software: &str,
    key: &Begun,
) -> Result<(Vec<NewRecord>, HashMap<u128, u64>), OpenError> {
    let now = SystemTime::now();
    let wrong = |e: pipeline::ports::JournalError| OpenError::Wal(e.to_string());
    let control = sealer.control.as_u128();
    let start = ControlStartDoc {
        v: DOC_VERSION,
        software: software.to_owned(),
        after: recovered.last_control.take(),
        key: Some(key.key.doc.clone()),
        truncated: std::mem::take(&mut recovered.truncated),
    };
    let body = json(&start).map_err(wrong)?;
    let mut records = vec![record(Kind::ControlStart, now, control, None, body)];
    for gap in &recovered.gaps {
        let body = json(gap).map_err(wrong)?;
        records.push(record(Kind::Gap, now, control, None, body));
    }
    let mut next = HashMap::new();
    let end = EndDoc::new(
        "interrupted",
        "the recording process ended before the session did",
    );
    for (id, stream) in &sealer.streams {
        if stream.ended {
            continue;
        }
        next.insert(*id, stream.next);
        if stream.broken {
            let gap = GapDoc {
                what: "records after this one were lost with a damaged log file".into(),
                file: None,
            };
            let body = json(&gap).map_err(wrong)?;
            records.push(record(Kind::Gap, now, *id, None, body));
        }
        if !stream.control {
            recovered.report.interrupted.push(stream.id);
        }
        recovered.report.unknown_outcomes += stream.open.len() as u64;
        records.extend(last_records(*id, stream.open.clone(), now, &end).map_err(wrong)?);
    }
    recovered.report.interrupted.sort();
    Ok((records, next))
}

fn lock(spool: &Path) -> Result<File, OpenError> {
    let path = spool.join("lock");
    let file = private()
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(OpenError::io("creating", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked(spool.to_path_buf())),
        Err(TryLockError::Error(source)) => Err(OpenError::io("locking", path)(source)),
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OpenError> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map_err(|e| OpenError::Wal(format!("the thread {name} cannot be started: {e}")))
}
