//! What the sealer knows of one stream that is not finished.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use uuid::Uuid;

use crate::chain::{self, Hash};
use crate::crypt::container;
use crate::crypt::key::StreamKey;
use crate::doc::{MarkDoc, SessionPart};
use crate::keys::SegmentKey;
use crate::record::Kind;
use crate::seal::SealError;
use crate::segment::{Builder, Place};

/// A stream that is open, or not yet marked as sealed to its end.
pub struct Stream {
    pub id: Uuid,
    pub control: bool,
    pub started_ns: u64,
    /// The next record's number.
    pub next: u64,
    pub chain: Hash,
    pub next_segment: u32,
    pub open: BTreeSet<u64>,
    pub ended: bool,
    /// A record before this one is missing: the rest of it cannot be used.
    pub broken: bool,
    pub builder: Option<Builder>,
    /// The log file of the builder's first record, and when it came.
    pub begun: Option<(u64, Instant)>,
    /// Sealed segments whose mark is not durable yet, with the file of their first record.
    pub in_flight: VecDeque<(Option<SegmentKey>, u64)>,
    /// The last mark, for carrying forward, and the file of the last durable one.
    pub mark: Option<MarkDoc>,
    pub mark_file: Option<u64>,
    pub carrying: bool,
    /// None: an older Weir began it, and it is not encrypted.
    pub key: Option<Arc<StreamKey>>,
    /// The key is in the spool.
    pub key_written: bool,
    /// For how many days its segments are to be kept, as the latest mark or a segment says; its start can be in a
    /// part of the log that is lost.
    pub retention_days: Option<u32>,
}

impl Stream {
    pub fn new(id: Uuid, control: bool, started_ns: u64) -> Self {
        Self {
            key: None,
            key_written: false,
            id,
            control,
            started_ns,
            next: 0,
            chain: chain::stream_genesis(id.as_u128()),
            next_segment: 0,
            open: BTreeSet::new(),
            ended: false,
            broken: false,
            builder: None,
            begun: None,
            in_flight: VecDeque::new(),
            mark: None,
            mark_file: None,
            carrying: false,
            retention_days: None,
        }
    }

    /// A stream as a mark in log file `file` describes it.
    pub fn from_mark(id: Uuid, mark: MarkDoc, chain: Hash, file: u64) -> Self {
        Self {
            next: mark.records,
            chain,
            next_segment: mark.next_segment,
            open: mark.open.iter().copied().collect(),
            ended: mark.ended,
            mark_file: Some(file),
            retention_days: mark.kept_for(),
            ..Self::new(id, mark.control, mark.started_ns)
        }
        .with_mark(mark)
    }

    fn with_mark(mut self, mark: MarkDoc) -> Self {
        self.mark = Some(mark);
        self
    }

    /// Where its next segment begins.
    pub fn place(&self) -> Place {
        Place {
            stream: self.id,
            control: self.control,
            started_ns: self.started_ns,
            segment: self.next_segment,
            first_record: self.next,
            chain_in: match &self.key {
                Some(key) => key.chain_in(&self.chain),
                None => self.chain,
            },
        }
    }

    /// For how many days what is sealed of it is to be kept: the longest that anything said.
    pub fn kept_for(&self, session: Option<&SessionPart>) -> Option<u32> {
        let said = session.and_then(|s| s.retention_days);
        said.max(self.retention_days)
    }

    /// What a mark has to say besides the session's start.
    pub fn unsaid(&self, session: Option<&SessionPart>) -> Option<u32> {
        let said = session.and_then(|s| s.retention_days);
        self.retention_days.filter(|days| Some(*days) > said)
    }

    /// Its state now, as the log is told.
    pub fn mark_now(&self, key: SegmentKey, session: Option<SessionPart>) -> MarkDoc {
        MarkDoc {
            stream: self.id.to_string(),
            control: self.control,
            started_ns: self.started_ns,
            records: self.next,
            chain: hex::encode(self.chain),
            next_segment: self.next_segment,
            open: self.open.iter().copied().collect(),
            ended: self.ended,
            key: Some(key.to_string()),
            encrypted: self.key.is_some(),
            retention_days: self.unsaid(session.as_ref()),
            session,
        }
    }

    /// The oldest log file that is still needed for this stream.
    pub fn pin(&self) -> Option<u64> {
        let in_flight = self.in_flight.front().map(|(_, file)| *file);
        let begun = self.begun.map(|(file, _)| file);
        [in_flight, begun, self.mark_file]
            .into_iter()
            .flatten()
            .min()
    }

    /// What is sealed, encrypted if the stream has a key. Only then is there a header that says for how long it is
    /// to be kept.
    pub fn at_rest(
        &self,
        builder: Builder,
        retention_days: Option<u32>,
    ) -> Result<Vec<u8>, SealError> {
        let stream = self.id;
        let t1_ns = builder.latest_ns();
        let plain = builder.finish(self.ended);
        let plain = plain.map_err(|source| SealError::Build { stream, source })?;
        let key = match (&self.key, retention_days) {
            (Some(key), _) => key,
            (None, None) => return Ok(plain),
            (None, Some(days)) => return Err(SealError::NotKept(stream, days)),
        };
        let named = container::Named {
            control: self.control,
            segment: self.next_segment,
            started_ns: self.started_ns,
            t1_ns,
            retention_days,
        };
        container::seal(key, named, &plain).map_err(|source| SealError::Encrypt { stream, source })
    }

    pub fn over(&self) -> bool {
        self.ended && self.builder.is_none() && self.in_flight.is_empty()
    }

    pub fn follow(&mut self, kind: Kind, seq: Option<u64>) {
        match (kind, seq) {
            (Kind::Intent, Some(seq)) => {
                self.open.insert(seq);
            }
            (Kind::Outcome, Some(seq)) => {
                self.open.remove(&seq);
            }
            (Kind::SessionEnd, _) => self.ended = true,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_encrypted_cannot_say_how_long_it_is_kept() {
        let stream = Stream::new(Uuid::now_v7(), false, 1);
        let sealed = |days| stream.at_rest(Builder::new(stream.place()).unwrap(), days);
        assert!(sealed(None).is_ok());
        let refused = sealed(Some(10));
        assert!(
            matches!(refused, Err(SealError::NotKept(id, 10)) if id == stream.id),
            "{refused:?}"
        );
    }
}
