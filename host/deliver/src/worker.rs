//! One receiver's worker: read, send, move the cursor; after a failure wait, and try again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use net::TlsError;
use parking_lot::Mutex;
use recorder::LeavesError;
use recorder::disk::{RealDisk, durable_dir};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::aside::{self, AsideError, Kept};
use crate::batch::{Batch, Event, Fate, REFUSALS};
use crate::cursor::{Cursor, CursorError};
use crate::http::HttpError;
use crate::options::{Options, Pace, ReceiverOptions, To};
use crate::otlp::Otlp;
use crate::send::{Failure, Send};
use crate::sending::{Rule, send_all};
use crate::source::Source;
use crate::status::{Handle, Progress, Watched};
use crate::syslog::Syslog;
use crate::webhook::Webhook;

/// More batches than these are not sent without knowing that they were taken.
const MAX_AHEAD: usize = 64;

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("delivery {name}: {source}")]
    Http { name: String, source: HttpError },
    #[error("delivery {name}: {}", .source.chain())]
    Tls { name: String, source: TlsError },
    #[error("delivery {name}: {source}")]
    Cursor { name: String, source: CursorError },
    #[error("{path}: the directory of deliveries cannot be made: {source}")]
    Directory {
        path: PathBuf,
        source: std::io::Error,
    },
}

/// Why a receiver does not get on.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error(transparent)]
    Cursor(#[from] CursorError),
    #[error(transparent)]
    Aside(#[from] AsideError),
    #[error("the record cannot be read: {0}")]
    Read(#[from] LeavesError),
    #[error("{why}")]
    Send {
        why: String,
        after: Option<Duration>,
    },
    #[error("it takes nothing that it is sent, so nothing is set aside: {why}")]
    Everything { why: String },
    #[error("some events are refused, and sent again: {why}")]
    Some { why: String },
    #[error("so many events are refused that nothing is set aside: look at the receiver; {why}")]
    Many { why: String },
    #[error("a task ended unexpectedly")]
    Ended,
    #[error("log {0} was read, and nothing came of it")]
    Stuck(Uuid),
}

/// Could this receiver be sent to? Reads the files that it names.
pub fn check(receiver: &ReceiverOptions) -> Result<(), OpenError> {
    sender(receiver, Pace::default()).map(drop)
}

fn sender(receiver: &ReceiverOptions, pace: Pace) -> Result<Box<dyn Send>, OpenError> {
    let name = || receiver.name.clone();
    let http = |source| OpenError::Http {
        name: name(),
        source,
    };
    let tls = |source| OpenError::Tls {
        name: name(),
        source,
    };
    Ok(match &receiver.to {
        To::Webhook(to) => Box::new(Webhook::new(to, pace.attempt).map_err(http)?),
        To::Otlp(to) => Box::new(Otlp::new(to, pace.attempt).map_err(http)?),
        To::Syslog(to) => Box::new(Syslog::new(to, pace).map_err(tls)?),
    })
}

/// A worker for each receiver; somebody has to run them.
pub fn open(options: Options) -> Result<(Vec<Worker>, Handle), OpenError> {
    let directory = |source| OpenError::Directory {
        path: options.dir.clone(),
        source,
    };
    durable_dir(&RealDisk, &options.dir).map_err(directory)?;
    let mut workers = Vec::new();
    let mut all = Vec::new();
    for receiver in &options.receivers {
        let began = first_log(&options.dir, &receiver.name, options.log)?;
        let progress = Arc::new(Mutex::new(Progress {
            began,
            ..Progress::default()
        }));
        all.push(Watched {
            name: receiver.name.clone(),
            kind: receiver.to.kind(),
            trusts_unclean_end: receiver.to.trusts_unclean_end(),
            progress: progress.clone(),
        });
        let (leaves, pace) = (options.leaves.clone(), options.pace);
        workers.push(Worker {
            name: receiver.name.clone(),
            cursor_path: Cursor::path(&options.dir, &receiver.name),
            aside_path: aside::path(&options.dir, &receiver.name),
            sender: sender(receiver, pace)?,
            source: Source::new(leaves, options.log, pace, receiver),
            pace,
            cursor: None,
            ahead: None,
            batch: None,
            probe: None,
            in_a_row: 0,
            next_in_a_row: 0,
            failures: 0,
            progress,
        });
    }
    let handle = Handle {
        all,
        leaves: options.leaves,
        log: options.log,
    };
    Ok((workers, handle))
}

/// The log that a receiver begins with: now this process's, if it is not known yet. Whatever happens before
/// the first delivery, it is sent what is recorded from here on.
fn first_log(dir: &Path, name: &str, log: Uuid) -> Result<Option<Uuid>, OpenError> {
    let path = Cursor::path(dir, name);
    match Cursor::load(&path) {
        Ok(Some(cursor)) => Ok(cursor.began),
        Ok(None) => {
            let saved = Cursor::begin(log).save(&path);
            saved.map_err(|source| OpenError::Cursor {
                name: name.to_owned(),
                source,
            })?;
            tracing::info!(
                delivery = name, %log,
                "this receiver is new: it is sent what this process's log has, and nothing of earlier ones"
            );
            Ok(Some(log))
        }
        // Its worker says so as long as it is so; it stops nobody else.
        Err(_) => Ok(None),
    }
}

pub struct Worker {
    name: String,
    cursor_path: PathBuf,
    aside_path: PathBuf,
    sender: Box<dyn Send>,
    source: Source,
    pace: Pace,
    /// As it is on the disk.
    cursor: Option<Cursor>,
    /// What was sent after that and is not known to be taken.
    ahead: Option<Ahead>,
    /// What is being sent.
    batch: Option<Batch>,
    /// The last event that the receiver has taken: taken again, it shows that the receiver takes anything.
    probe: Option<Event>,
    /// Events that were set aside since the last one that was taken, up to the cursor, and up to the end of
    /// the batch.
    in_a_row: u32,
    next_in_a_row: u32,
    /// In a row.
    failures: u32,
    progress: Arc<Mutex<Progress>>,
}

/// Sent to a receiver that does not acknowledge.
struct Ahead {
    /// As it will be once all of it is taken.
    cursor: Cursor,
    since: Instant,
    batches: usize,
    leaves: u64,
    events: u64,
    oldest_ms: Option<u64>,
}

impl Worker {
    /// Delivers until `stop` is cancelled. What is on its way then is sent again after the next start.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let step = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                step = self.step() => step,
            };
            let pause = match step {
                Ok(true) => {
                    self.went_well();
                    continue;
                }
                Ok(false) => {
                    self.went_well();
                    self.pace.look
                }
                Err(trouble) => self.failed(&trouble),
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// True: there is perhaps more to do at once.
    async fn step(&mut self) -> Result<bool, Trouble> {
        let on_disk = match self.cursor.clone() {
            Some(cursor) => cursor,
            None => self.begin().await?,
        };
        if let Some(ahead) = &self.ahead {
            let is_due = ahead.since.elapsed() >= self.pace.window || ahead.batches >= MAX_AHEAD;
            return match is_due {
                true => self.confirm().await.map(|()| true),
                false => {
                    let cursor = ahead.cursor.clone();
                    if let Err(failure) = self.sender.look().await {
                        return Err(self.go_back(failure));
                    }
                    self.send_next(cursor).await
                }
            };
        }
        self.send_next(on_disk).await
    }

    /// Sends what comes after the cursor. False: there is nothing.
    async fn send_next(&mut self, cursor: Cursor) -> Result<bool, Trouble> {
        if self.source.left.is_empty() {
            self.source.plan(&cursor).await?;
            self.tell(&cursor);
        }
        let batch = match self.batch.take() {
            Some(batch) => batch,
            None => match self.source.batch(&cursor).await? {
                Some(mut batch) => {
                    self.recall(&mut batch);
                    batch
                }
                None => {
                    self.tell(&cursor);
                    return Ok(false);
                }
            },
        };
        if batch.end.log == cursor.log && batch.next <= cursor.next {
            return Err(Trouble::Stuck(cursor.log));
        }
        let oldest_ms = batch.events.first().map(|event| event.time_ms);
        let oldest_ms = self.ahead.as_ref().and_then(|a| a.oldest_ms).or(oldest_ms);
        self.progress.lock().oldest_ms = oldest_ms;
        let batch = self.batch.insert(batch);
        batch.mark_unfit(|event| self.sender.unfit(event).is_some());
        let rule = Rule {
            span: self.pace.refused_for,
            in_a_row: self.in_a_row,
            failures: self.failures,
        };
        let sent = send_all(&mut *self.sender, batch, &mut self.probe, rule).await;
        match sent {
            Ok(in_a_row) => self.next_in_a_row = in_a_row,
            Err(Trouble::Send { why, after }) if !self.sender.acknowledges() => {
                return Err(self.go_back(Failure::Later { why, after }));
            }
            Err(trouble @ Trouble::Everything { .. }) => {
                // Read again, and with what comes after it: others may be taken. Its refusals say nothing.
                self.batch = None;
                self.remember().await?;
                return Err(trouble);
            }
            Err(trouble @ (Trouble::Some { .. } | Trouble::Many { .. })) => {
                self.remember().await?;
                return Err(trouble);
            }
            Err(trouble) => return Err(trouble),
        }
        let aside = self.set_aside().await?;
        self.advance(cursor, aside).await?;
        Ok(true)
    }

    /// What is on its way may be lost: it is sent again.
    fn go_back(&mut self, failure: Failure) -> Trouble {
        self.ahead = None;
        self.batch = None;
        self.source.left.clear();
        match failure {
            Failure::Later { why, after } => Trouble::Send { why, after },
            Failure::Refused { why } => Trouble::Send { why, after: None },
            Failure::Doubtful { why, after, .. } => Trouble::Send { why, after },
        }
    }

    /// Finds out if what is on its way was taken, and moves the cursor behind it.
    async fn confirm(&mut self) -> Result<(), Trouble> {
        if let Err(failure) = self.sender.confirm().await {
            return Err(self.go_back(failure));
        }
        let Some(ahead) = self.ahead.take() else {
            return Ok(());
        };
        let saved = self.save(ahead.cursor, ahead.events).await;
        if saved.is_err() {
            self.batch = None;
            self.source.left.clear();
        }
        saved
    }

    /// Where the last process was.
    async fn begin(&mut self) -> Result<Cursor, Trouble> {
        let path = self.cursor_path.clone();
        let load = move || Cursor::load(&path)?.ok_or(CursorError::Gone { path });
        let cursor = tokio::task::spawn_blocking(load).await;
        let cursor = cursor.map_err(|_| Trouble::Ended)??;
        self.probe = self.probe.take().or_else(|| cursor.probe());
        self.progress.lock().began = cursor.began;
        self.cursor = Some(cursor.clone());
        Ok(cursor)
    }

    /// What was refused before is marked as that.
    fn recall(&self, batch: &mut Batch) {
        if let Some(cursor) = &self.cursor {
            cursor.recall(batch);
        }
    }

    /// Keeps when events were refused, and what was taken last, for the next process.
    async fn remember(&mut self) -> Result<(), Trouble> {
        let Some(mut cursor) = self.cursor.clone() else {
            return Ok(());
        };
        cursor.remember(self.batch.as_ref(), self.probe.as_ref());
        self.write(cursor).await
    }

    async fn write(&mut self, cursor: Cursor) -> Result<(), Trouble> {
        let (path, saved) = (self.cursor_path.clone(), cursor.clone());
        let save = move || saved.save(&path);
        let saved = tokio::task::spawn_blocking(save).await;
        saved.map_err(|_| Trouble::Ended)??;
        self.cursor = Some(cursor);
        Ok(())
    }

    /// Keeps what was refused too often, and what cannot be sent; gives how many that are.
    async fn set_aside(&mut self) -> Result<u64, Trouble> {
        let Some(batch) = &self.batch else {
            return Ok(0);
        };
        let mut all = Vec::new();
        for event in &batch.events {
            let why = match event.fate {
                Fate::Refused(_) => format!("the receiver refused it at least {REFUSALS} times"),
                Fate::Unfit => self.sender.unfit(event).unwrap_or_default(),
                Fate::Todo | Fate::Taken => continue,
            };
            tracing::error!(
                delivery = self.name, uid = event.uid, why, file = %self.aside_path.display(),
                "the receiver is not sent this event any more: it is set aside in the file"
            );
            let event = event.value.clone();
            all.push(Kept { why, event });
        }
        let count = all.len() as u64;
        if count > 0 {
            let path = self.aside_path.clone();
            let kept = tokio::task::spawn_blocking(move || aside::keep(&path, &all)).await;
            kept.map_err(|_| Trouble::Ended)??;
        }
        Ok(count)
    }

    /// Moves the cursor behind the batch: durably, or ahead of what is durable.
    async fn advance(&mut self, mut cursor: Cursor, aside: u64) -> Result<(), Trouble> {
        let Some(batch) = self.batch.clone() else {
            return Ok(());
        };
        let from = match batch.end.log == cursor.log {
            true => cursor.next,
            false => 0,
        };
        cursor.move_to(&batch.end, batch.next);
        cursor.aside += aside;
        let taken = (batch.events.len() as u64).saturating_sub(aside);
        self.source.taken(&batch);
        if self.sender.acknowledges() || (taken == 0 && self.ahead.is_none()) {
            self.save(cursor, taken).await?;
        } else {
            let ahead = self.ahead.get_or_insert_with(|| Ahead {
                cursor: cursor.clone(),
                since: Instant::now(),
                batches: 0,
                leaves: 0,
                events: 0,
                oldest_ms: None,
            });
            ahead.batches += 1;
            ahead.leaves += batch.next.saturating_sub(from);
            ahead.events += taken;
            let oldest_ms = batch.events.first().map(|event| event.time_ms);
            ahead.oldest_ms = ahead.oldest_ms.or(oldest_ms);
            ahead.cursor = cursor.clone();
            self.tell(&cursor);
        }
        self.batch = None;
        self.in_a_row = self.next_in_a_row;
        Ok(())
    }

    /// Durably; so many events were taken up to there.
    async fn save(&mut self, mut cursor: Cursor, taken: u64) -> Result<(), Trouble> {
        let probe = self.probe.as_ref().filter(|_| self.sender.acknowledges());
        cursor.remember(None, probe);
        self.write(cursor.clone()).await?;
        let mut progress = self.progress.lock();
        if taken > 0 {
            progress.delivered += taken;
            progress.last_delivery = Some(SystemTime::now());
        }
        progress.oldest_ms = None;
        drop(progress);
        self.tell(&cursor);
        Ok(())
    }

    fn tell(&self, cursor: &Cursor) {
        let mut progress = self.progress.lock();
        progress.left = Some((self.source.left.clone(), cursor.next));
        progress.ahead = self.ahead.as_ref().map_or(0, |ahead| ahead.leaves);
        progress.holes = self.source.holes();
        progress.set_aside = cursor.aside;
    }

    fn went_well(&mut self) {
        // That it was written is no sign yet.
        if self.ahead.is_some() {
            return;
        }
        if self.failures > 0 {
            tracing::info!(delivery = self.name, "it is delivered again");
        }
        self.failures = 0;
        self.progress.lock().waiting = false;
    }

    /// Gives the pause before the next attempt.
    fn failed(&mut self, trouble: &Trouble) -> Duration {
        let doubled = self
            .pace
            .first_pause
            .saturating_mul(1 << self.failures.min(20));
        let pause = doubled.min(self.pace.longest_pause);
        let asked = match trouble {
            Trouble::Send { after, .. } => after.unwrap_or_default(),
            _ => Duration::ZERO,
        };
        let pause = pause.max(asked.min(self.pace.longest_asked));
        // The first time, and then when it has become twice as bad.
        if self.failures.is_power_of_two() || self.failures == 0 {
            tracing::warn!(delivery = self.name, why = %trouble, ?pause, "it is not delivered; it is tried again");
        }
        self.failures = self.failures.saturating_add(1);
        let mut progress = self.progress.lock();
        progress.waiting = true;
        progress.last_error = Some((trouble.to_string(), SystemTime::now()));
        pause
    }
}
