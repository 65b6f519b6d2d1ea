//! What others read of a store: the objects of its transparency logs, and the records that leaves stand
//! for. Nothing that comes from here has been checked beyond what is said; whoever asks holds it against
//! a signed checkpoint.

use std::collections::BTreeMap;

use bytes::Bytes;
use uuid::Uuid;

use crate::chain::{self, Hash};
use crate::crypt::key::erased_name;
use crate::crypt::read::ErasedDoc;
use crate::erase::confirm;
use crate::log::names;
use crate::objects::StoreError;
use crate::record::{Kind, NewRecord, Record};
use crate::store::{ReadError, Store};

/// A longer record is not handed out: statements and their parameters are far shorter.
pub const MAX_RECORD_TEXT: usize = 16 << 20;

/// A record that is JSON: its kind, and what stands around its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    pub stream: Uuid,
    /// Its number in its stream.
    pub n: u64,
    /// As `FORMAT.md` numbers them.
    pub kind: u8,
    pub time_ns: u64,
    /// The action's number, for kinds that have one.
    pub seq: Option<u64>,
    pub json: Vec<u8>,
}

impl StoredRecord {
    fn of(record: &Record<'_>) -> Option<Self> {
        let kind = record.known().filter(|kind| !kind.is_bytes())?;
        let (seq, json) = match record.action() {
            Some((seq, json)) => (Some(seq), json),
            None if kind.has_seq() => return None,
            None => (None, record.payload),
        };
        Some(Self {
            stream: Uuid::from_u128(record.stream),
            n: record.index,
            kind: record.kind,
            time_ns: record.ts_ns,
            seq,
            json: json.to_vec(),
        })
    }

    /// The hash that the record's leaf says it has; none if there can be no such record.
    pub fn hash(&self) -> Option<Hash> {
        let kind = Kind::from_u8(self.kind).filter(|kind| !kind.is_bytes())?;
        if kind.has_seq() != self.seq.is_some() || self.json.len() > MAX_RECORD_TEXT {
            return None;
        }
        let record = NewRecord {
            kind,
            ts_ns: self.time_ns,
            stream: self.stream.as_u128(),
            seq: self.seq,
            body: Bytes::copy_from_slice(&self.json),
            packed: None,
        };
        let mut encoded = Vec::with_capacity(record.encoded_len());
        record.encode(self.n, &mut encoded);
        Some(chain::leaf(&encoded))
    }
}

impl Store {
    /// The logs of which anything is stored, by their ids.
    pub async fn logs(&self) -> Result<Vec<Uuid>, StoreError> {
        let names = self.objects().children(names::ROOT).await?;
        let id = |name: &String| name.parse::<Uuid>().ok();
        let is_id = |id: &Uuid, name: &str| id.as_hyphenated().to_string() == name;
        let mut ids: Vec<Uuid> = names
            .iter()
            .filter_map(|name| id(name).filter(|id| is_id(id, name)))
            .collect();
        ids.sort();
        Ok(ids)
    }

    /// An object of a log, by its path as C2SP tlog-tiles has it.
    pub async fn log_object(&self, log: Uuid, path: &str) -> Result<Option<Bytes>, StoreError> {
        self.objects().find(&names::object(log, path)).await
    }

    /// Where the leaf is said to be that says that the session was erased. Anybody can say so: the leaf is
    /// what counts.
    pub async fn erasure_place(&self, session: Uuid) -> Result<Option<(Uuid, u64)>, StoreError> {
        let found = self.objects().find(&erased_name(session)).await;
        let bytes = match found {
            // It is none of ours.
            Err(StoreError::TooLarge { .. }) => None,
            found => found?,
        };
        let doc = bytes.and_then(|bytes| serde_json::from_slice::<ErasedDoc>(&bytes).ok());
        Ok(doc.as_ref().and_then(confirm::place))
    }

    /// The same of so many bytes at most; a longer one is an error.
    pub(crate) async fn log_object_up_to(
        &self,
        log: Uuid,
        path: &str,
        max: u64,
    ) -> Result<Option<Bytes>, StoreError> {
        let key = names::object(log, path);
        self.objects().find_up_to(&key, max).await
    }

    /// The archive of a bundle, if it was kept; `digest` is that of its bytes, which nobody has compared.
    pub async fn bundle_archive(&self, digest: &str) -> Result<Option<Bytes>, StoreError> {
        self.objects()
            .find(&format!("bundles/{digest}.bundle"))
            .await
    }

    /// The records of a session with these numbers and hashes, as far as they are there. A segment that
    /// cannot be read is passed over; its error is told if anything is missing then.
    pub async fn records(
        &self,
        session: Uuid,
        wanted: &BTreeMap<u64, Hash>,
    ) -> Result<(Vec<StoredRecord>, Option<ReadError>), StoreError> {
        let mut found: BTreeMap<u64, StoredRecord> = BTreeMap::new();
        let mut error = None;
        for key in self.segments(false, session).await? {
            if found.len() == wanted.len() {
                break;
            }
            let segment = match self.segment(&key).await {
                Ok(segment) => segment,
                Err(wrong) => {
                    error = Some(wrong);
                    continue;
                }
            };
            let this = |r: &Record<'_>| {
                let hash = wanted.get(&r.index);
                r.encoded.len() <= MAX_RECORD_TEXT
                    && hash.is_some_and(|hash| chain::leaf(r.encoded) == *hash)
            };
            let records = segment.records().filter(this);
            found.extend(records.filter_map(|r| Some((r.index, StoredRecord::of(&r)?))));
        }
        let missing = found.len() < wanted.len();
        Ok((found.into_values().collect(), error.filter(|_| missing)))
    }
}
