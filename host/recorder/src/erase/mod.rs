//! Erasing a session: its key is destroyed, wherever it is, and what it says is forgotten. Its segments,
//! leaves and anchors stay, and so does the tree.
//!
//! A leaf that says so comes first, and the store has it before the key goes; what was begun is a file
//! of the spool (`job`) and is finished by this process or by the next one. Nothing that stands in the
//! store makes Weir destroy a key: only such a file does, which only Weir writes.

mod check;
pub mod confirm;
mod job;
mod known;
mod owner;
mod run;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use pipeline::Principal;
use pipeline::ports::JournalError;
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::crypt::read::KeyLoss;
use crate::log::leaves::LeavesError;
use crate::log::sequence::MOST_ERASURES;
use crate::objects::StoreError;
use crate::recorder::Recorder;
use crate::store::ReadError;

pub use job::Job;
pub use run::finish_all;

/// Where a session is known besides the recordings.
#[async_trait]
pub trait Forget: Send + Sync {
    /// Forgets what the session's statements say, also on the disk. It may be asked for the same session
    /// again. An error says what is still there: it is tried again.
    async fn forget(&self, session: Uuid) -> Result<(), String>;
}

/// What forgets, among the options.
#[derive(Clone)]
pub struct Forgetting(pub Arc<dyn Forget>);

impl std::fmt::Debug for Forgetting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Forgetting")
    }
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Erase {
    pub session: Uuid,
    pub who: Option<Arc<Principal>>,
    /// It stands in the control stream, not in the leaf.
    pub reason: String,
    /// Whoever asks here knows that it is not the session of who asks, whatever the record tells.
    pub is_somebody_elses: bool,
}

/// Erasures that are asked for and worked on at the same time. What has begun before goes on besides.
const AT_ONCE: usize = 4;
/// The longest until what has begun is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// A session that nobody can read any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    pub session: Uuid,
    /// The leaf that says so.
    pub log: Uuid,
    pub leaf: u64,
    pub time: String,
    /// The pseudonym of who asked for it first.
    pub who: Option<String>,
    /// What is not erased with it: what the store keeps of the key, what another Weir has.
    pub remains: Vec<String>,
    /// What else is to be known of it.
    pub notes: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    #[error("there is no recording of session {0}")]
    Unknown(Uuid),
    #[error(
        "no log that this Weir can check knows session {0}. {1} other logs of the store are signed with keys \
         that are not known here, and anybody may have made them; if another Weir has recorded it, have it \
         erased there"
    )]
    Unsigned(Uuid, usize),
    #[error("{0} is the control stream of a Weir: what operators do is not erased")]
    Control(Uuid),
    #[error("session {0} is running; end it first (weir sessions kill)")]
    Running(Uuid),
    #[error("session {0} is not stored to its end yet; try again when the store has it")]
    NotStored(Uuid),
    #[error(
        "the recording of session {0} has no end: another Weir is recording it, or its end was lost. Only \
         what has ended is erased"
    )]
    NoEnd(Uuid),
    #[error(
        "the recording of session {0} is not encrypted: there is no key to destroy. Remove its objects below \
         rec/ from the store instead; weir verify will tell that they are missing"
    )]
    NotEncrypted(Uuid),
    #[error("session {session}: {why}")]
    Key { session: Uuid, why: Box<KeyLoss> },
    #[error(
        "{key} cannot be removed: the store locks it {how}. Nothing was done; ask again when the lock is gone"
    )]
    Locked { key: String, how: String },
    #[error(
        "{} has records that were put aside because of damage, and may hold some of session {session} in \
         plain. Look at it and remove it, then ask again", .path.display()
    )]
    PutAside { session: Uuid, path: PathBuf },
    /// Nothing more was done.
    #[error("session {} was erased at {}, by leaf {} of log {}", .0.session, .0.time, .0.leaf, .0.log)]
    Already(Box<Erasure>),
    #[error("session {0} is being erased already")]
    Busy(Uuid),
    #[error("{MOST_ERASURES} erasures are being worked on; try again when some of them are done")]
    TooMany,
    /// It goes on by itself, also after a restart.
    #[error(
        "the erasure of session {session} has begun and is not finished: {why}. Weir goes on with it by itself"
    )]
    GoesOn { session: Uuid, why: String },
    #[error(
        "session {0} is the own one of who asks. Nobody has the recording of their own session erased: \
         somebody else must ask for it"
    )]
    Own(Uuid),
    #[error(
        "whose session {0} is cannot be known here: this Weir does not remember it, its start cannot be read, \
         and its leaves do not tell. Ask the Weir that has recorded it"
    )]
    OwnerUnknown(Uuid),
    #[error(
        "{AT_ONCE} sessions are being erased at this moment; ask again when one of them is done"
    )]
    Crowded,
    #[error(
        "{0} could not be done within {1:?}, and nothing was erased; try again when the store is faster"
    )]
    Slow(&'static str, Duration),
    #[error(transparent)]
    Log(#[from] LeavesError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("the erasure cannot be written to the spool: {0}")]
    Spool(#[from] std::io::Error),
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// The erasures of this process.
pub struct Erasures {
    /// Those that somebody waits for.
    at_once: Semaphore,
    /// Those that are worked on now.
    claimed: Mutex<BTreeSet<Uuid>>,
    /// Log files up to this one had records from before the erasure.
    files: Mutex<BTreeMap<Uuid, u64>>,
    /// The same for what an earlier process began.
    files_before: u64,
    /// When what goes on by itself is tried again.
    again: Mutex<BTreeMap<Uuid, Again>>,
}

/// One that was not finished, and is tried less and less often.
#[derive(Clone, Copy)]
struct Again {
    pause: Duration,
    at: Instant,
}

/// Whoever has it works on the session's erasure, and nobody else does.
pub struct Claim<'a>(&'a Erasures, Uuid);

impl Erasures {
    pub fn new(files_before: u64) -> Self {
        Self {
            at_once: Semaphore::new(AT_ONCE),
            claimed: Mutex::default(),
            files: Mutex::default(),
            files_before,
            again: Mutex::default(),
        }
    }

    /// Is it time for this one?
    fn is_due(&self, session: Uuid, now: Instant) -> bool {
        let again = self.again.lock();
        again.get(&session).is_none_or(|again| again.at <= now)
    }

    /// It was tried, and did not come to its end: the next pause is twice as long.
    fn failed(&self, session: Uuid, first: Duration, now: Instant) {
        let mut again = self.again.lock();
        let pause = again.get(&session).map_or(first, |again| again.pause * 2);
        let pause = pause.min(LONGEST_PAUSE.max(first));
        if again.len() >= MOST_ERASURES && !again.contains_key(&session) {
            again.clear();
        }
        let at = now + pause;
        again.insert(session, Again { pause, at });
    }

    fn claim(&self, session: Uuid) -> Result<Claim<'_>, EraseError> {
        let mut claimed = self.claimed.lock();
        if claimed.len() >= MOST_ERASURES {
            return Err(EraseError::TooMany);
        }
        match claimed.insert(session) {
            true => Ok(Claim(self, session)),
            false => Err(EraseError::Busy(session)),
        }
    }

    fn files_of(&self, session: Uuid) -> u64 {
        let files = self.files.lock();
        files.get(&session).copied().unwrap_or(self.files_before)
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.0.claimed.lock().remove(&self.1);
    }
}

impl Recorder {
    /// Erases a session that has ended and is stored. When it returns, nobody can read it any more. What
    /// has begun and cannot be finished now goes on by itself.
    pub async fn erase(&self, ask: Erase) -> Result<Erasure, EraseError> {
        let inner = &self.inner;
        let Ok(_place) = inner.erasures.at_once.try_acquire() else {
            return Err(EraseError::Crowded);
        };
        let _claim = inner.erasures.claim(ask.session)?;
        let (dir, session) = (inner.dirs.erasures.clone(), ask.session);
        let mut job = match blocking(move || job::read(&dir, session)).await? {
            // Somebody asked for it before: in his name it is done.
            Some(job) => job,
            None => {
                let checked = inner.may_be_erased(&ask).await?;
                let job = Job::new(&ask, checked);
                inner.begin_erasure(&job).await?;
                job
            }
        };
        inner.finish_erasure(&mut job).await
    }
}

/// Files are read and written where that may take its time.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_again_and_again_is_tried_less_and_less_often() {
        let (erasures, session) = (Erasures::new(0), Uuid::from_u128(1));
        let (first, mut now) = (Duration::from_secs(30), Instant::now());
        assert!(erasures.is_due(session, now));
        for pause in [30, 60, 120, 240, 300, 300].map(Duration::from_secs) {
            erasures.failed(session, first, now);
            assert!(!erasures.is_due(session, now + pause - Duration::from_millis(1)));
            now += pause;
            assert!(erasures.is_due(session, now));
            assert!(erasures.is_due(Uuid::from_u128(2), now));
        }
    }
}
