//! One receiver's worker: read, send, move the cursor; after a failure wait, and try again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use recorder::LeavesError;
use recorder::disk::{RealDisk, durable_dir};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::aside::{self, AsideError};
use crate::batch::{Batch, Event, Fate, REFUSALS};
use crate::cursor::{Cursor, CursorError};
use crate::http::HttpError;
use crate::options::{Options, Pace, ReceiverOptions, To};
use crate::send::{Failure, Purpose, Send};
use crate::source::Source;
use crate::status::{Handle, Progress, Watched};
use crate::webhook::Webhook;

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("delivery {name}: {source}")]
    Http { name: String, source: HttpError },
    #[error("{path}: the directory of deliveries cannot be made: {source}")]
    Directory {
        path: PathBuf,
        source: std::io::Error,
    },
}

/// Why a receiver does not get on.
#[derive(Debug, thiserror::Error)]
enum Trouble {
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
    sender(receiver, Pace::default().attempt).map(drop)
}

fn sender(receiver: &ReceiverOptions, attempt: Duration) -> Result<Box<dyn Send>, OpenError> {
    let http = |source| OpenError::Http {
        name: receiver.name.clone(),
        source,
    };
    Ok(match &receiver.to {
        To::Webhook(to) => Box::new(Webhook::new(to, attempt).map_err(http)?),
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
        let progress = Arc::new(Mutex::new(Progress::default()));
        all.push(Watched {
            name: receiver.name.clone(),
            kind: receiver.to.kind(),
            progress: progress.clone(),
        });
        let (leaves, pace) = (options.leaves.clone(), options.pace);
        workers.push(Worker {
            name: receiver.name.clone(),
            log: options.log,
            cursor_path: Cursor::path(&options.dir, &receiver.name),
            aside_path: aside::path(&options.dir, &receiver.name),
            sender: sender(receiver, pace.attempt)?,
            source: Source::new(leaves, options.log, pace, receiver),
            pace,
            cursor: None,
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

pub struct Worker {
    name: String,
    log: Uuid,
    cursor_path: PathBuf,
    aside_path: PathBuf,
    sender: Box<dyn Send>,
    source: Source,
    pace: Pace,
    /// As it is on the disk.
    cursor: Option<Cursor>,
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
        let cursor = match self.cursor.clone() {
            Some(cursor) => cursor,
            None => self.begin().await?,
        };
        if self.source.left.is_empty() {
            self.source.plan(&cursor).await?;
            self.tell(&cursor);
        }
        let batch = match self.batch.take() {
            Some(batch) => batch,
            None => match self.source.batch(&cursor).await? {
                Some(batch) => batch,
                None => {
                    self.tell(&cursor);
                    return Ok(false);
                }
            },
        };
        if batch.end.log == cursor.log && batch.next <= cursor.next {
            return Err(Trouble::Stuck(cursor.log));
        }
        self.progress.lock().oldest_ms = batch.events.first().map(|event| event.time_ms);
        let batch = self.batch.insert(batch);
        let rule = Rule {
            span: self.pace.refused_for,
            in_a_row: self.in_a_row,
        };
        let sent = send_all(&mut *self.sender, batch, &mut self.probe, rule).await;
        match sent {
            Ok(in_a_row) => self.next_in_a_row = in_a_row,
            Err(trouble @ Trouble::Everything { .. }) => {
                // Read again, and with what comes after it: others may be taken.
                self.batch = None;
                return Err(trouble);
            }
            Err(trouble) => return Err(trouble),
        }
        let aside = self.set_aside().await?;
        self.advance(cursor, aside).await?;
        Ok(true)
    }

    /// Where the last process was, or the beginning of this process's log.
    async fn begin(&mut self) -> Result<Cursor, Trouble> {
        let (path, log) = (self.cursor_path.clone(), self.log);
        let load = move || match Cursor::load(&path)? {
            Some(cursor) => Ok(cursor),
            None => {
                let cursor = Cursor::begin(log);
                cursor.save(&path).map(|()| cursor)
            }
        };
        let cursor = tokio::task::spawn_blocking(load).await;
        let cursor = cursor.map_err(|_| Trouble::Ended)??;
        self.cursor = Some(cursor.clone());
        Ok(cursor)
    }

    /// Keeps what was refused too often; gives how many that are.
    async fn set_aside(&mut self) -> Result<u64, Trouble> {
        let Some(batch) = &self.batch else {
            return Ok(0);
        };
        let refused: Vec<Value> = batch.refused().map(|(_, e, _)| e.value.clone()).collect();
        let count = refused.len() as u64;
        if count > 0 {
            let uids: Vec<&str> = batch.refused().map(|(_, e, _)| &*e.uid).collect();
            tracing::error!(
                delivery = self.name, ?uids, file = %self.aside_path.display(),
                "the receiver refuses these events and takes others: they are set aside in the file"
            );
            let path = self.aside_path.clone();
            let why = format!("the receiver refused it at least {REFUSALS} times");
            let keep = move || aside::keep(&path, &why, &refused);
            let kept = tokio::task::spawn_blocking(keep).await;
            kept.map_err(|_| Trouble::Ended)??;
        }
        Ok(count)
    }

    /// Moves the cursor behind the batch, durably.
    async fn advance(&mut self, mut cursor: Cursor, aside: u64) -> Result<(), Trouble> {
        let Some(batch) = self.batch.clone() else {
            return Ok(());
        };
        cursor.move_to(&batch.end, batch.next);
        cursor.aside += aside;
        let (path, saved) = (self.cursor_path.clone(), cursor.clone());
        let save = move || saved.save(&path);
        let saved = tokio::task::spawn_blocking(save).await;
        saved.map_err(|_| Trouble::Ended)??;
        self.batch = None;
        self.in_a_row = self.next_in_a_row;
        self.source.taken(&batch);
        let taken = (batch.events.len() as u64).saturating_sub(aside);
        if taken > 0 {
            let mut progress = self.progress.lock();
            progress.delivered += taken;
            progress.last_delivery = Some(SystemTime::now());
        }
        self.progress.lock().oldest_ms = None;
        self.tell(&cursor);
        self.cursor = Some(cursor);
        Ok(())
    }

    fn tell(&self, cursor: &Cursor) {
        let mut progress = self.progress.lock();
        progress.left = Some((self.source.left.clone(), cursor.next));
        progress.holes = self.source.holes();
        progress.set_aside = cursor.aside;
    }

    fn went_well(&mut self) {
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

/// When an event is set aside.
#[derive(Clone, Copy)]
struct Rule {
    /// Between the first refusal and the last.
    span: Duration,
    /// So many were, since one was taken.
    in_a_row: u32,
}

/// Sends what has not been taken. Afterwards everything is taken, or was refused alone so often that it is
/// to be set aside; gives how many of those are at the end.
async fn send_all(
    sender: &mut dyn Send,
    batch: &mut Batch,
    probe: &mut Option<Event>,
    rule: Rule,
) -> Result<u32, Trouble> {
    let todo = batch.todo();
    let has_refused = batch.refused().next().is_some();
    if !todo.is_empty() && !has_refused {
        match sender.send(&batch.get(&todo), Purpose::Deliver).await {
            Ok(()) => {
                take(batch, &todo, probe);
                return match batch.events.is_empty() {
                    true => Ok(rule.in_a_row),
                    false => Ok(0),
                };
            }
            Err(failure) => {
                let why = refused(failure)?;
                // Before all of it is tried in parts.
                takes_anything(sender, probe.as_ref(), &why).await?;
                send_parts(sender, batch, todo, probe).await?;
            }
        }
    } else {
        let again: Vec<usize> = batch.refused().map(|(index, _, _)| index).collect();
        let again = again.into_iter().chain(todo).map(|index| vec![index]);
        for one in again.collect::<Vec<_>>() {
            send_parts(sender, batch, one, probe).await?;
        }
    }
    if batch.refused().next().is_none() {
        return match batch.events.is_empty() {
            true => Ok(rule.in_a_row),
            false => Ok(0),
        };
    }
    let why = "the receiver refused them alone".to_owned();
    if probe.is_none() {
        return Err(Trouble::Everything { why });
    }
    takes_anything(sender, probe.as_ref(), &why).await?;
    if !batch
        .refused()
        .all(|(_, _, refusals)| refusals.suffice(rule.span))
    {
        return Err(Trouble::Some { why });
    }
    batch
        .to_set_aside(rule.in_a_row)
        .ok_or(Trouble::Many { why })
}

/// Halves what is refused until single events are.
async fn send_parts(
    sender: &mut dyn Send,
    batch: &mut Batch,
    all: Vec<usize>,
    probe: &mut Option<Event>,
) -> Result<(), Trouble> {
    let mut parts = match all.len() {
        0 => Vec::new(),
        1 => vec![all],
        len => {
            let (first, second) = all.split_at(len / 2);
            vec![second.to_vec(), first.to_vec()]
        }
    };
    while let Some(part) = parts.pop() {
        match sender.send(&batch.get(&part), Purpose::Deliver).await {
            Ok(()) => take(batch, &part, probe),
            Err(failure) => {
                refused(failure)?;
                if part.len() <= 1 {
                    batch.mark(&part, Fate::refused);
                    continue;
                }
                let (first, second) = part.split_at(part.len() / 2);
                parts.push(second.to_vec());
                parts.push(first.to_vec());
            }
        }
    }
    Ok(())
}

fn take(batch: &mut Batch, part: &[usize], probe: &mut Option<Event>) {
    batch.mark(part, |_| Fate::Taken);
    if let Some(event) = batch.get(part).last() {
        *probe = Some((*event).clone());
    }
}

/// What the receiver has taken before it takes again, unless it takes nothing at all now.
async fn takes_anything(
    sender: &mut dyn Send,
    probe: Option<&Event>,
    why: &str,
) -> Result<(), Trouble> {
    let Some(probe) = probe else {
        return Ok(());
    };
    match sender.send(&[probe], Purpose::Probe).await {
        Ok(()) => Ok(()),
        Err(failure) => {
            refused(failure)?;
            Err(Trouble::Everything {
                why: why.to_owned(),
            })
        }
    }
}

/// What was refused for what it is; anything else is tried again as it is.
fn refused(failure: Failure) -> Result<String, Trouble> {
    match failure {
        Failure::Refused { why } => Ok(why),
        Failure::Later { why, after } => Err(Trouble::Send { why, after }),
    }
}
