//! The steps of an erasure, each of which may be done again: after a crash between any two of them, the
//! next process begins with the first.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use uuid::Uuid;

use super::check::REMAINS;
use super::{EraseError, Erasure, Forgetting, Job, blocking, confirm, job};
use crate::commit::{Ask, Flush};
use crate::convert;
use crate::crypt::key::{erased_name, object_name};
use crate::journal::record;
use crate::log::sequence::LeafRef;
use crate::objects::Hold;
use crate::record::Kind;
use crate::recorder::Inner;
use crate::wal::scan;

/// How long one step may take, before others have their turn.
const STEP: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The longest reason that is told of what is not finished.
const LONGEST_WHY: usize = 400;

/// A step that is to be tried again, and why.
type Step<T> = Result<T, String>;

impl Inner {
    /// From here on it is done, whatever happens.
    pub(super) async fn begin_erasure(self: &Arc<Self>, job: &Job) -> Result<(), EraseError> {
        let (this, job) = (self.clone(), job.clone());
        let begin = move || {
            // What was recorded before is in other log files than what says so, and those can go.
            let file = this.committer.lock().rotate();
            this.erasures.files.lock().insert(job.session, file);
            job.write(&*this.disk, &this.dirs.erasures)
        };
        Ok(blocking(begin).await?)
    }

    async fn write_job(&self, job: &Job) -> Step<()> {
        let (disk, dir, job) = (self.disk.clone(), self.dirs.erasures.clone(), job.clone());
        let written = blocking(move || job.write(&*disk, &dir)).await;
        written.map_err(text)
    }

    /// The caller has the claim.
    pub(super) async fn finish_erasure(&self, job: &mut Job) -> Result<Erasure, EraseError> {
        let session = job.session;
        match self.steps(job).await {
            Ok(erasure) => {
                tracing::warn!(%session, leaf = erasure.leaf, remains = ?erasure.remains, "a session was erased");
                Ok(erasure)
            }
            Err(mut why) => {
                if let Some((end, _)) = why.char_indices().nth(LONGEST_WHY) {
                    why.truncate(end);
                }
                tracing::warn!(%session, %why, "an erasure is not finished; it is tried again");
                Err(EraseError::GoesOn { session, why })
            }
        }
    }

    async fn steps(&self, job: &mut Job) -> Step<Erasure> {
        let leaf = within("its leaf", self.leaf(job)).await?;
        within("the key", self.mark_and_destroy(job, &leaf)).await?;
        within("the write-ahead log", self.logs_are_gone(job.session)).await?;
        within("what else knows it", self.forget(job.session)).await?;
        within("writing down its end", self.end(job, &leaf)).await
    }

    /// The leaf that says that it begins, which the store has.
    async fn leaf(&self, job: &mut Job) -> Step<LeafRef> {
        if let Some(leaf) = &job.leaf {
            return Ok(leaf.clone());
        }
        if self.log.erasure_of(job.session).is_none() {
            self.write_down(job, None).await?;
        }
        let leaf = loop {
            let told = self.log.done.notified();
            match self.log.erasure_of(job.session) {
                Some(leaf) => break leaf,
                None => drop(tokio::time::timeout(LOOK_EVERY, told).await),
            }
        };
        self.leaf_is_stored(&leaf).await;
        // Only now: a leaf that no checkpoint covers is another one after a crash.
        job.leaf = Some(leaf.clone());
        self.write_job(job).await?;
        Ok(leaf)
    }

    async fn write_down(&self, job: &Job, outcome: Option<String>) -> Step<()> {
        let doc = job.doc(outcome).map_err(text)?;
        let body = convert::json(&doc).map_err(text)?;
        let (now, control) = (SystemTime::now(), self.control.as_u128());
        let record = record(Kind::Erasure, now, control, None, body);
        self.commit(vec![record]).await.map_err(text)
    }

    /// Otherwise a key would be missing, and nothing would say why, if this machine were lost now.
    async fn leaf_is_stored(&self, leaf: &LeafRef) {
        loop {
            let told = self.log.done.notified();
            if self.log.sizes().1 > leaf.leaf {
                return;
            }
            self.log.hurry();
            drop(tokio::time::timeout(LOOK_EVERY, told).await);
        }
    }

    async fn mark_and_destroy(&self, job: &mut Job, leaf: &LeafRef) -> Step<()> {
        let session = job.session;
        // Asked before: of what was removed a store says nothing.
        let name = object_name(session);
        let mut is_new = false;
        for hold in self.objects.holds(&name).await.map_err(text)? {
            is_new |= job.keep(match hold {
                Hold::Version(version) => format!("version {version} of {name}"),
                Hold::Locked(how) => format!("{name}, locked {how}"),
                Hold::Untold(status) => format!(
                    "perhaps versions of {name}: asked for them, the store answers with status {status}"
                ),
            });
        }
        if is_new {
            self.write_job(job).await?;
        }
        let doc = confirm::marker(session, leaf, &job.remains);
        let json = serde_json::to_vec(&doc).map_err(text)?;
        let marker = erased_name(session);
        let stored = self.objects.put_latest(&marker, json.into()).await;
        stored.map_err(text)?;
        let destroyed = self.key_files.destroy(&self.objects, session).await;
        destroyed.map_err(text)
    }

    /// The write-ahead log has the session's records in plain, and its wrapped key.
    async fn logs_are_gone(&self, session: Uuid) -> Step<()> {
        let files = self.erasures.files_of(session);
        if self.are_gone(files).await? {
            return self.nothing_put_aside(session).await.map_err(text);
        }
        // What others have in these files is sealed, so that they can go.
        let sealed = self.ask(|done| Ask {
            flush: Some((Flush::All, done)),
            ..Ask::default()
        });
        sealed.await.map_err(text)?;
        while !self.are_gone(files).await? {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        // Those with damage in them were put aside just now.
        self.nothing_put_aside(session).await.map_err(text)
    }

    /// Log files up to this one.
    async fn are_gone(&self, files: u64) -> Step<bool> {
        let dir = self.dirs.wal.clone();
        let left = blocking(move || scan::files(&dir)).await.map_err(text)?;
        Ok(left.first().is_none_or(|(number, _)| *number > files))
    }

    async fn forget(&self, session: Uuid) -> Step<()> {
        match &self.forgetting {
            Some(Forgetting(forgetting)) => forgetting.forget(session).await,
            None => Ok(()),
        }
    }

    async fn end(&self, job: &Job, leaf: &LeafRef) -> Step<Erasure> {
        self.write_down(job, Some(outcome(job))).await?;
        let (disk, dir, done) = (self.disk.clone(), self.dirs.erasures.clone(), job.clone());
        let removed = blocking(move || done.remove(&*disk, &dir)).await;
        removed.map_err(text)?;
        self.log.forget_erasure(job.session);
        self.erasures.files.lock().remove(&job.session);
        self.erasures.again.lock().remove(&job.session);
        Ok(Erasure {
            session: job.session,
            log: leaf.log,
            leaf: leaf.leaf,
            time: leaf.time.clone(),
            who: leaf.who.clone(),
            remains: job.remains.clone(),
            notes: job.notes.clone(),
        })
    }
}

/// In the log's leaf it is cut, so what somebody has to do something about comes first.
fn outcome(job: &Job) -> String {
    let mut outcome = match job.remains.is_empty() {
        true => "done".to_owned(),
        false => format!("{REMAINS}{}", job.remains.join("; and ")),
    };
    for note in &job.notes {
        outcome.push_str("; ");
        outcome.push_str(note);
    }
    outcome
}

/// One that is stuck leaves the others their time.
async fn within<T>(what: &str, step: impl Future<Output = Step<T>>) -> Step<T> {
    match tokio::time::timeout(STEP, step).await {
        Ok(done) => done.map_err(|why| format!("{what}: {why}")),
        Err(_) => Err(format!("{what}: not within {STEP:?}")),
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Goes on with what has begun, in this process or in one before, as long as Weir runs.
pub async fn finish_all(inner: Arc<Inner>) {
    let stop = inner.stop.clone();
    let pause = inner.state.limits.upload_backoff;
    // The recorder goes when nobody else has it.
    let weak = Arc::downgrade(&inner);
    drop(inner);
    loop {
        if let Some(inner) = weak.upgrade() {
            tokio::select! {
                () = stop.cancelled() => return,
                () = round(&inner) => {}
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn round(inner: &Inner) {
    let dir = inner.dirs.erasures.clone();
    let found = match blocking(move || job::found(&dir)).await {
        Ok(found) => found,
        Err(error) => {
            tracing::error!(%error, "the erasures that have begun cannot be read");
            return;
        }
    };
    for session in found {
        if !inner.erasures.is_due(session, Instant::now()) {
            continue;
        }
        let Ok(_claim) = inner.erasures.claim(session) else {
            continue;
        };
        let dir = inner.dirs.erasures.clone();
        match blocking(move || job::read(&dir, session)).await {
            // What is wrong is told where it is tried.
            Ok(Some(mut job)) => {
                if inner.finish_erasure(&mut job).await.is_err() {
                    let pause = inner.state.limits.upload_backoff;
                    inner.erasures.failed(session, pause, Instant::now());
                }
            }
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "an erasure that has begun cannot be read"),
        }
    }
}
