//! What verification says of keys: of content that nobody can read, and of what was erased.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::crypt::files;
use crate::crypt::key::{Named, StreamKey, parse_name};
use crate::crypt::read::{ErasedDoc, KeyLoss};
use crate::erase::confirm;
use crate::keys::{SegmentKey, timestamp};
use crate::log::check::Erasure;
use crate::spool::Spool;
use crate::verify::{Finding, Run, VerifyError};

/// Between a leaf that says that a session was erased, and the end of its key.
const ERASED_WITHIN: Duration = Duration::from_secs(3600);

impl Run<'_> {
    /// Keys of control streams whose segments wait.
    pub async fn control_keys(
        &self,
        spool: &Spool,
    ) -> Result<HashMap<Uuid, Arc<StreamKey>>, VerifyError> {
        let spool = spool.clone();
        let waiting = tokio::task::spawn_blocking(move || spool.waiting());
        let waiting = waiting.await.map_err(std::io::Error::other)??;
        let streams: BTreeSet<Uuid> = waiting
            .iter()
            .filter(|(key, _)| key.control)
            .map(|(key, _)| key.stream)
            .collect();
        let mut keys = HashMap::new();
        for stream in streams {
            // What is wrong with a key is told of with the segments that are stored.
            if let Ok(key) = self.store.keys().get(self.store.objects(), stream).await {
                keys.insert(stream, key);
            }
        }
        Ok(keys)
    }

    /// A segment whose bytes are what was stored.
    pub fn opaque(&mut self, key: &SegmentKey, why: KeyLoss, t1_ns: u64, anchored: bool) {
        self.report.segments += 1;
        self.report.opaque += 1;
        let logged = self.logs.segments.remove(key).is_some();
        if key.control {
            self.controls.insert(*key, None);
            self.latest_control_ns = self.latest_control_ns.max(t1_ns);
        } else if !anchored && !logged {
            self.unanchored.push((*key, t1_ns));
        }
        self.opaque.entry(key.stream).or_insert(why);
    }

    /// Why streams could not be read, and what there is among the keys.
    pub async fn check_keys(&mut self) -> Result<(), VerifyError> {
        let mut opaque: Vec<(Uuid, KeyLoss)> =
            std::mem::take(&mut self.opaque).into_iter().collect();
        opaque.sort_by_key(|(stream, _)| *stream);
        let mut unread = 0;
        for (stream, why) in opaque {
            let finding = match why {
                KeyLoss::NoKey => {
                    unread += 1;
                    continue;
                }
                KeyLoss::Missing
                | KeyLoss::Claimed
                | KeyLoss::Unchecked(_)
                | KeyLoss::Erased(_) => self.without_key(stream),
                KeyLoss::Key(_) | KeyLoss::Read(_) => Finding::KeyWrong {
                    stream,
                    why: why.to_string(),
                },
            };
            self.report.findings.push(finding);
        }
        if unread > 0 {
            self.report.findings.push(Finding::NotRead {
                streams: unread,
                segments: self.report.opaque,
            });
        }
        self.check_objects().await
    }

    fn without_key(&self, stream: Uuid) -> Finding {
        if let Some(erasure) = self.logs.erased.get(&stream) {
            return Finding::Erased {
                session: stream,
                time: erasure.time.clone(),
                who: erasure.who.clone(),
                log: erasure.log,
                leaf: erasure.leaf,
            };
        }
        // Whatever stands in its place: only a leaf says that it was to be.
        Finding::KeyMissing(stream)
    }

    fn is_recent(&self, time: &str) -> bool {
        let within = u64::try_from(ERASED_WITHIN.as_nanos()).unwrap_or(u64::MAX);
        let from = timestamp(self.began_ns.saturating_sub(within));
        let to = timestamp(self.began_ns.saturating_add(within));
        *from < *time && *time < *to
    }

    async fn check_objects(&mut self) -> Result<(), VerifyError> {
        for object in self.store.objects().list("keys").await? {
            match parse_name(&object.key) {
                Some(Named::Key(stream)) => self.check_gone(stream),
                Some(Named::Erased(stream)) => self.check_marker(stream, &object.key).await?,
                None => self.report.findings.push(Finding::Stranger(object.key)),
            }
        }
        if let Some(spool) = &self.options.spool {
            let segments = spool.join("segments");
            let erased: Vec<Uuid> = self.logs.erased.keys().copied().collect();
            for stream in erased {
                if files::path(&segments, stream).exists() {
                    self.check_gone(stream);
                }
            }
        }
        Ok(())
    }

    /// An object that says that a session was erased must name the leaf that says so.
    async fn check_marker(&mut self, session: Uuid, key: &str) -> Result<(), VerifyError> {
        let found = self.store.objects().find(key).await?;
        let doc = found.and_then(|bytes| serde_json::from_slice::<ErasedDoc>(&bytes).ok());
        let doc = doc.filter(|doc| doc.session == session.to_string());
        let known = doc.as_ref().is_some_and(|doc| {
            let leaf = confirm::place(doc).map(|(log, leaf)| (session, log, leaf));
            let leaf = leaf.and_then(|leaf| self.logs.erasures.get(&leaf));
            leaf.is_some_and(|leaf| (&leaf.time, &leaf.who) == (&doc.time, &doc.who))
        });
        if !known {
            self.report.findings.push(Finding::ErasureUnknown(session));
        }
        Ok(())
    }

    /// A key that is there must not be one that was erased.
    fn check_gone(&mut self, stream: Uuid) {
        let Some(Erasure { time, .. }) = self.logs.erased.get(&stream) else {
            return;
        };
        let finding = match self.is_recent(time) {
            true => Finding::Waiting(format!("the end of the key of {stream}")),
            false => Finding::KeyStillThere(stream),
        };
        if !self.report.findings.contains(&finding) {
            self.report.findings.push(finding);
        }
    }
}
