//! The segments of one session, in their order, as whoever replays it may believe them.
//!
//! Anybody who can write to the store can put objects there in a session's name. What is not as its key
//! says is passed over and told; where a session is encrypted, what is not cannot be its; and where two
//! versions are equally good, neither is taken.

use std::iter::Peekable;
use std::vec;

use uuid::Uuid;

use crate::chain::{self, Hash};
use crate::crypt::read::KeyLoss;
use crate::keys::SegmentKey;
use crate::objects::StoreError;
use crate::replay::{ReplayError, erased, erased_by};
use crate::segment::Segment;
use crate::store::{ReadError, Store};

/// The most that is told of objects that were passed over.
const MOST_NOTES: usize = 16;
const UNVOUCHED: &str = "the recording is not encrypted: it was recorded so, or somebody has put it in the place \
    of what was; weir verify tells which";

pub(crate) struct Walk<'a> {
    store: &'a Store,
    session: Uuid,
    /// In order of their numbers: one of each, unless others are stored in its name.
    keys: Peekable<vec::IntoIter<SegmentKey>>,
    expected: u32,
    chain: Hash,
    /// All segments of a session are encrypted, or none.
    is_sealed: Option<bool>,
    has_ended: bool,
    is_unvouched: bool,
    notes: Vec<String>,
    more: usize,
}

impl<'a> Walk<'a> {
    pub async fn new(store: &'a Store, session: Uuid) -> Result<Self, ReplayError> {
        let mut keys = store.segments(false, session).await?.into_iter().peekable();
        if keys.peek().is_none() {
            return Err(ReplayError::NotFound(session));
        }
        Ok(Self {
            store,
            session,
            keys,
            expected: 0,
            chain: chain::stream_genesis(session.as_u128()),
            is_sealed: None,
            has_ended: false,
            is_unvouched: false,
            notes: Vec::new(),
            more: 0,
        })
    }

    pub async fn next(&mut self) -> Result<Option<Segment>, ReplayError> {
        let (session, number) = (self.session, self.expected);
        if self.has_ended {
            while let Some(key) = self.keys.next() {
                self.note(format!("{key}: the session has ended before it"));
            }
        }
        let Some(first) = self.keys.peek() else {
            return Ok(None);
        };
        if first.segment != number {
            return Err(ReplayError::Missing {
                session,
                segment: number,
            });
        }
        let segment = self.version().await?;
        self.is_as_the_others(&segment).await?;
        if !segment.continues(&self.chain) {
            return Err(ReplayError::Broken {
                session,
                segment: number,
            });
        }
        self.chain = segment.chain_out;
        self.has_ended = segment.footer.last;
        self.expected += 1;
        Ok(Some(segment))
    }

    /// What was passed over since the last time, and what to think of what was not.
    pub fn notes(&mut self) -> Vec<String> {
        let mut notes = std::mem::take(&mut self.notes);
        let more = std::mem::take(&mut self.more);
        if more > 0 {
            notes.push(format!("{more} more objects were passed over"));
        }
        notes
    }

    /// Others are encrypted here, and this one is not: anybody who writes to the store can have made it. Known
    /// once the first part was read.
    pub fn is_unvouched(&self) -> bool {
        self.is_unvouched
    }

    /// Of all objects with the next number the one that may be believed.
    async fn version(&mut self) -> Result<Segment, ReplayError> {
        let (session, number) = (self.session, self.expected);
        let mut best: Option<(SegmentKey, Segment)> = None;
        let mut wrong = None;
        while let Some(key) = self.keys.next_if(|key| key.segment == number) {
            let segment = match self.store.segment(&key).await {
                Ok(segment) => segment,
                Err(error) if is_strange(&error) => {
                    self.note(error.to_string());
                    wrong.get_or_insert(error);
                    continue;
                }
                Err(error) => return Err(erased(session, error)),
            };
            let Some((known, other)) = best.take() else {
                best = Some((key, segment));
                continue;
            };
            best = Some(match (other.key.is_some(), segment.key.is_some()) {
                (true, false) => {
                    self.note(format!("{key}: it is not encrypted, and the session is"));
                    (known, other)
                }
                (false, true) => {
                    self.note(format!("{known}: it is not encrypted, and the session is"));
                    (key, segment)
                }
                _ if (other.chain_in, other.chain_out) == (segment.chain_in, segment.chain_out) => {
                    (known, other)
                }
                _ => {
                    return Err(ReplayError::TwoVersions {
                        session,
                        segment: number,
                    });
                }
            });
        }
        match (best, wrong) {
            (Some((_, segment)), _) => Ok(segment),
            (None, Some(error)) => Err(error.into()),
            (None, None) => Err(ReplayError::NotFound(session)),
        }
    }

    /// A session that has a key, or had one, was recorded encrypted.
    async fn is_as_the_others(&mut self, segment: &Segment) -> Result<(), ReplayError> {
        let is_sealed = segment.key.is_some();
        let (session, number) = (self.session, self.expected);
        let strange = ReplayError::NotEncrypted {
            session,
            segment: number,
        };
        match self.is_sealed {
            Some(before) if before == is_sealed => return Ok(()),
            Some(_) => return Err(strange),
            None => self.is_sealed = Some(is_sealed),
        }
        if is_sealed {
            return Ok(());
        }
        let keys = self.store.keys();
        match keys.get(self.store.objects(), session).await {
            Ok(_) => return Err(strange),
            Err(KeyLoss::Read(why)) => return Err(ReplayError::KeyStore { session, why }),
            Err(KeyLoss::Erased(doc)) => return Err(erased_by(session, &doc).unwrap_or(strange)),
            Err(KeyLoss::Missing) if !keys.has_wrap() => return Ok(()),
            Err(KeyLoss::Missing) => self.note(UNVOUCHED.to_owned()),
            // Anybody can put a key there that opens nothing, or something that says that it is gone.
            Err(why) => self.note(format!("{UNVOUCHED}. Of its key it is said: {why}")),
        }
        self.is_unvouched = true;
        Ok(())
    }

    fn note(&mut self, text: String) {
        match self.notes.len() < MOST_NOTES {
            true => self.notes.push(text),
            false => self.more += 1,
        }
    }
}

/// It is not what its key says, whatever becomes of the store or of a key manager.
fn is_strange(error: &ReadError) -> bool {
    match error {
        ReadError::Hash(_)
        | ReadError::Segment { .. }
        | ReadError::Key(_)
        | ReadError::Sealed { .. }
        | ReadError::Store(StoreError::TooLarge { .. }) => true,
        ReadError::Store(_) | ReadError::KeyStore { .. } | ReadError::Opaque { .. } => false,
    }
}
