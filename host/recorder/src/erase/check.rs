//! What must be so before a session is erased. Nothing is changed here.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use uuid::Uuid;

use super::{EraseError, Erasure, confirm};
use crate::crypt::key::object_name;
use crate::crypt::read::KeyLoss;
use crate::log::sequence::MOST_ERASURES;
use crate::objects::Hold;
use crate::recorder::Inner;
use crate::store::{ReadError, Store};
use crate::wal::scan::{self, Tail};

/// How long a session that has just ended is waited for.
const STORED_WITHIN: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(50);

impl Inner {
    /// May it be erased, and is there anything to erase?
    pub(super) async fn may_be_erased(&self, session: Uuid) -> Result<(), EraseError> {
        self.state.check()?;
        if super::job::found(&self.dirs.erasures)?.len() >= MOST_ERASURES {
            return Err(EraseError::TooMany);
        }
        if session == self.control {
            return Err(EraseError::Unknown(session));
        }
        if self.committer.lock().is_open(session.as_u128()) {
            return Err(EraseError::Running(session));
        }
        self.wait_until_stored(session).await?;
        let name = object_name(session);
        // Made anew, so that no key is remembered afterwards.
        let store = self.store_with_keys();
        let segments = store.segments(false, session).await?;
        let last = segments.last().ok_or(EraseError::Unknown(session))?;
        let last = match store.segment(last).await {
            Ok(segment) => segment,
            Err(ReadError::Opaque { why, .. }) => {
                return Err(self.without_key(session, *why).await?);
            }
            Err(error) => return Err(error.into()),
        };
        if last.key.is_none() {
            return Err(EraseError::NotEncrypted(session));
        }
        let numbers = segments.iter().map(|key| key.segment);
        let whole = numbers.enumerate().all(|(n, number)| n == number as usize);
        if !last.footer.last || !whole {
            return Err(EraseError::NoEnd(session));
        }
        for hold in self.objects.holds(&name).await? {
            if let Hold::Locked(how) = hold {
                return Err(EraseError::Locked { key: name, how });
            }
        }
        self.nothing_put_aside(session).await
    }

    /// Log files that were put aside stay, until somebody has looked at them.
    pub(super) async fn nothing_put_aside(&self, session: Uuid) -> Result<(), EraseError> {
        let (dir, began) = (self.dirs.quarantine.clone(), began(session));
        let put_aside = move || put_aside(dir, session, began);
        let found = tokio::task::spawn_blocking(put_aside).await;
        match found.map_err(io::Error::other)?? {
            Some(path) => Err(EraseError::PutAside { session, path }),
            None => Ok(()),
        }
    }

    pub(super) fn store_with_keys(&self) -> Store {
        let wrap = Some(self.ring.wrap.clone());
        Store::new(self.objects.clone())
            .with_keys(wrap, Some(self.spool.clone()))
            .trusting(self.trusted.clone())
    }

    async fn wait_until_stored(&self, session: Uuid) -> Result<(), EraseError> {
        let until = tokio::time::Instant::now() + STORED_WITHIN;
        while self.pending.has(session) {
            if tokio::time::Instant::now() >= until {
                return Err(EraseError::NotStored(session));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Its key is not to be had. Was it erased before?
    async fn without_key(&self, session: Uuid, why: KeyLoss) -> Result<EraseError, EraseError> {
        let KeyLoss::Erased(doc) = &why else {
            let why = Box::new(why);
            return Ok(EraseError::Key { session, why });
        };
        let Some((log, leaf)) = confirm::place(doc) else {
            let why = Box::new(why);
            return Ok(EraseError::Key { session, why });
        };
        Ok(EraseError::Already(Box::new(Erasure {
            session,
            log,
            leaf,
            time: doc.time.clone(),
            who: doc.who.clone(),
            remains: Vec::new(),
        })))
    }
}

/// When the session began, as its id says; none knows of another id, so from the beginning.
fn began(session: Uuid) -> SystemTime {
    let ms = match session.get_version_num() {
        7 => u64::try_from(session.as_u128() >> 80).unwrap_or(0),
        _ => 0,
    };
    UNIX_EPOCH + Duration::from_millis(ms)
}

/// A log file that was put aside and has records of the session, or that nobody can read to its end and
/// that was written after the session began.
fn put_aside(dir: PathBuf, session: Uuid, began: SystemTime) -> io::Result<Option<PathBuf>> {
    let id = session.as_u128();
    for (_, path) in scan::files(&dir)? {
        if std::fs::metadata(&path)?.modified()? < began {
            continue;
        }
        let mut found = false;
        let scan = scan::scan_file(&path, &mut |block| {
            found |= block.records().any(|record| record.stream == id);
        })?;
        if found || scan.header.is_none() || scan.tail != Tail::Clean {
            return Ok(Some(path));
        }
    }
    Ok(None)
}
