//! Segments whose files are in the spool and whose names are not durable yet. A recovery makes as many as the log has
//! before it settles, so only of some the bytes are kept for whoever stores them; those of the others are read again.

use bytes::Bytes;

use crate::doc::MarkDoc;
use crate::keys::SegmentKey;
use crate::pending::{MAX_FRESH, Pending};

/// A segment that was written just now, and the mark that the log gets for it.
struct Fresh {
    key: SegmentKey,
    len: u64,
    bytes: Option<Bytes>,
    mark: MarkDoc,
}

/// See the module.
#[derive(Default)]
pub struct FreshOnes {
    all: Vec<Fresh>,
    /// Of those whose bytes are kept.
    kept: usize,
}

impl FreshOnes {
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub fn add(&mut self, key: SegmentKey, bytes: Vec<u8>, mark: MarkDoc) {
        let len = bytes.len();
        let keeps = self.kept.saturating_add(len) <= MAX_FRESH;
        if keeps {
            self.kept += len;
        }
        self.all.push(Fresh {
            key,
            len: len as u64,
            bytes: keeps.then(|| bytes.into()),
            mark,
        });
    }

    /// Their names are durable: the store may have them. The marks that the log is to get, in their order.
    pub fn settle(&mut self, pending: &Pending) -> Vec<MarkDoc> {
        let all = std::mem::take(self).all.into_iter();
        let told = all.map(|fresh| {
            match fresh.bytes {
                Some(bytes) => pending.add_fresh(fresh.key, bytes),
                None => pending.add(fresh.key, fresh.len, false),
            }
            fresh.mark
        });
        told.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use super::*;
    use crate::disk::RealDisk;
    use crate::options::Limits;
    use crate::state::State;

    fn mark(segment: u32) -> MarkDoc {
        let doc = format!(
            r#"{{"stream":"","control":false,"started_ns":0,"records":0,"chain":"","next_segment":{segment},"ended":false}}"#
        );
        serde_json::from_str(&doc).unwrap()
    }

    /// However many there are: all are told and marked in their order, and some are kept.
    #[test]
    fn what_is_kept_is_bounded_by_bytes() {
        let dir = PathBuf::from("nowhere");
        let state = Arc::new(State::new(Limits::default()));
        let pending = Pending::new(dir.clone(), dir, Arc::new(RealDisk), state);
        let mut fresh = FreshOnes::default();
        for _ in 0..2 {
            for n in 0..20 {
                fresh.add(SegmentKey::sample(n), vec![1; MAX_FRESH / 8], mark(n));
            }
            let kept = fresh.all.iter().filter_map(|f| f.bytes.as_ref());
            assert_eq!(kept.map(Bytes::len).sum::<usize>(), MAX_FRESH);
            let marks = fresh.settle(&pending);
            assert!(marks.iter().map(|m| m.next_segment).eq(0..20));
            assert!(fresh.is_empty());
        }
        assert_eq!(pending.not_stored(), 20);
        assert!(pending.take_fresh(&SegmentKey::sample(0)).is_some());
        assert_eq!(pending.take_fresh(&SegmentKey::sample(8)), None);
    }
}
