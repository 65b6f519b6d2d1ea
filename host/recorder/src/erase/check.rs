//! What must be so before a session is erased. Nothing is changed here.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use uuid::Uuid;

use super::known::{Known, Whose, began_ms};
use super::{Erase, EraseError, Erasure, blocking, confirm};
use crate::chain;
use crate::crypt::container;
use crate::crypt::files;
use crate::crypt::key::{self, StreamKey, StreamKeyError, object_name};
use crate::crypt::read::{ErasedDoc, KeyLoss, erased};
use crate::crypt::wrap::WrapError;
use crate::keys::{Day, SegmentKey};
use crate::log::leaves::Leaves;
use crate::log::sequence::MOST_ERASURES;
use crate::objects::{Hold, StoreError};
use crate::recorder::Inner;
use crate::store::Store;
use crate::wal::scan::{self, Tail};

/// How long a session that has just ended is waited for.
const STORED_WITHIN: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long its segments are looked at.
const CONTENT_WITHIN: Duration = Duration::from_secs(if cfg!(test) { 10 } else { 30 });
/// The most objects that are named of those that nobody has recorded.
const MOST_NAMED: usize = 8;
/// The most of what a marker says that is told, and the longest of it.
const MOST_TOLD: usize = 64;
const LONGEST_TOLD: usize = 400;

/// How the outcome begins of an erasure that leaves something.
pub(super) const REMAINS: &str = "done, but there remains ";

/// What is known of an erasure before it begins.
#[derive(Debug, Default)]
pub struct Checked {
    /// What is not erased with it.
    pub remains: Vec<String>,
    pub notes: Vec<String>,
}

impl Inner {
    /// May it be erased, and is there anything to erase?
    pub(super) async fn may_be_erased(&self, ask: &Erase) -> Result<Checked, EraseError> {
        let session = ask.session;
        self.state.check()?;
        let dir = self.dirs.erasures.clone();
        if blocking(move || super::job::found(&dir)).await?.len() >= MOST_ERASURES {
            return Err(EraseError::TooMany);
        }
        if session == self.control {
            return Err(EraseError::Unknown(session));
        }
        if self.committer.lock().is_open(session.as_u128()) {
            return Err(EraseError::Running(session));
        }
        self.wait_until_stored(session).await?;
        self.is_no_control_stream(session).await?;
        let known = self.known(session).await?;
        let mut checked = Checked::default();
        self.key_is_there(session, &mut checked).await?;
        let looks = async {
            self.is_not_own(ask, &known).await?;
            self.content(session, &known, &mut checked).await
        };
        match tokio::time::timeout(CONTENT_WITHIN, looks).await {
            Ok(done) => done?,
            Err(_) => {
                return Err(EraseError::Slow(
                    "the reading of its segments",
                    CONTENT_WITHIN,
                ));
            }
        }
        if let Whose::Other(origin) = &known.whose {
            checked.remains.push(format!(
                "what another Weir has of it, or this one under an earlier spool: it was recorded in log \
                 {origin}, whose spool, state and index are not in reach from here; have it erased there, too"
            ));
        }
        for hold in self.objects.holds(&object_name(session)).await? {
            if let Hold::Locked(how) = hold {
                let key = object_name(session);
                return Err(EraseError::Locked { key, how });
            }
        }
        self.nothing_put_aside(session).await?;
        Ok(checked)
    }

    /// What operators do is never erased, of whichever Weir. A key says of which kind its stream is, and it is
    /// bound to that: what only says so, and is no such key, stops nothing. Who put it there would have the rest
    /// kept for ever.
    async fn is_no_control_stream(&self, session: Uuid) -> Result<(), EraseError> {
        let (waits, stored) = files::both(&self.dirs.segments, &self.objects, session).await?;
        let docs = waits.into_iter().chain(stored);
        for doc in docs.filter_map(|bytes| key::parse(&bytes).ok()) {
            if !doc.control {
                continue;
            }
            match StreamKey::unwrap(&*self.ring.wrap, session, doc).await {
                Err(StreamKeyError::Altered(_) | StreamKeyError::Wrap(WrapError::Altered(_))) => {}
                // Also where it cannot be known now.
                Ok(_) | Err(_) => return Err(EraseError::Control(session)),
            }
        }
        Ok(())
    }

    /// Was it erased by this Weir? A key that is missing without that stops nothing: whoever took it away
    /// would have the rest kept for ever.
    async fn key_is_there(&self, session: Uuid, checked: &mut Checked) -> Result<(), EraseError> {
        let path = files::path(&self.dirs.segments, session);
        let name = object_name(session);
        if blocking(move || path.try_exists()).await?
            || files::has_key(&self.objects, session).await?
        {
            return Ok(());
        }
        let trusted = self.trusted.as_slice();
        let why = match erased(&self.objects, trusted, session).await {
            Ok(why) => why,
            Err(why) => {
                let why = Box::new(why);
                return Err(EraseError::Key { session, why });
            }
        };
        if let KeyLoss::Erased(doc) = why
            && let Some(told) = self.own_erasure(session, *doc).await?
        {
            return Err(EraseError::Already(Box::new(told)));
        }
        checked.notes.push(format!(
            "{name} was gone already, and no log of this Weir says why: whoever has a copy of it can read \
             the recording"
        ));
        Ok(())
    }

    /// Only what this spool has erased is erased here.
    async fn own_erasure(
        &self,
        session: Uuid,
        doc: ErasedDoc,
    ) -> Result<Option<Erasure>, EraseError> {
        let Some((log, leaf)) = confirm::place(&doc) else {
            return Ok(None);
        };
        let mut leaves = Leaves::new(Store::new(self.objects.clone()), &self.spool);
        let own = self.own_logs(&mut leaves, began_ms(log)).await?;
        if own.iter().all(|known| known.log != log) {
            return Ok(None);
        }
        // The marker has all of it, and whoever can write to the store can take that away; the leaf has the
        // beginning.
        let cut = |text: &String| -> String {
            let shown = text.chars().filter(|c| !c.is_control());
            shown.take(LONGEST_TOLD).collect()
        };
        let mut remains: Vec<String> = doc.remains.iter().take(MOST_TOLD).map(cut).collect();
        let outcome = self.outcome_of(&mut leaves, &own, session, (log, leaf));
        if remains.is_empty()
            && let Some(outcome) = outcome.await?
            && let Some(what) = outcome.strip_prefix(REMAINS)
        {
            remains.push(what.to_owned());
        }
        Ok(Some(Erasure {
            session,
            log,
            leaf,
            time: doc.time,
            who: doc.who,
            remains,
            notes: Vec::new(),
        }))
    }

    /// Is it encrypted, and what lies in its place that nobody has recorded?
    async fn content(
        &self,
        session: Uuid,
        known: &Known,
        checked: &mut Checked,
    ) -> Result<(), EraseError> {
        let store = Store::new(self.objects.clone());
        let stored = store.segments(false, session).await?;
        let stored: BTreeSet<SegmentKey> = stored.into_iter().collect();
        let mut seen = false;
        for key in known.anchors.keys().filter(|key| stored.contains(key)) {
            let bytes = match self.objects.find(&key.to_string()).await {
                Ok(Some(bytes)) => bytes,
                Ok(None) | Err(StoreError::TooLarge { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            if chain::sha256(&bytes) != key.sha256 {
                continue;
            }
            if !container::is_sealed(&bytes) {
                return Err(EraseError::NotEncrypted(session));
            }
            seen = true;
            break;
        }
        if !seen {
            let text = "the store has none of its segments as it was recorded";
            checked.notes.push(text.to_owned());
        }
        let strange = stored.iter().filter(|key| !known.anchors.contains_key(key));
        let (mut more, mut named) = (0_usize, 0);
        for key in strange {
            if named < MOST_NAMED {
                named += 1;
                checked.remains.push(format!(
                    "{key}, which stands in the session's name, and no log knows it: look at it"
                ));
            } else {
                more += 1;
            }
        }
        if more > 0 {
            let text = format!("{more} more objects in the session's name that no log knows");
            checked.remains.push(text);
        }
        // Of other names, which anybody may have made up.
        if let Some(day) = Day::of_v7(session) {
            let prefix = SegmentKey::stream_prefix(false, day, session);
            let listed = self.objects.list(&prefix).await?;
            let others = listed
                .iter()
                .filter(|o| SegmentKey::parse(&o.key).is_none())
                .count();
            if others > 0 {
                checked.remains.push(format!(
                    "{others} objects below {prefix} that are no segments: look at them"
                ));
            }
        }
        Ok(())
    }

    /// Log files that were put aside stay, until somebody has looked at them.
    pub(super) async fn nothing_put_aside(&self, session: Uuid) -> Result<(), EraseError> {
        let dir = self.dirs.quarantine.clone();
        match blocking(move || put_aside(dir, session)).await? {
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
}

/// A log file that was put aside and has records of the session, or that nobody can read to its end. What a
/// clock says of it does not count: clocks are set back.
fn put_aside(dir: PathBuf, session: Uuid) -> io::Result<Option<PathBuf>> {
    let id = session.as_u128();
    for (_, path) in scan::files(&dir)? {
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
