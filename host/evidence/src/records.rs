//! The records of a package: what stands behind the leaves of its sample, and who the pseudonyms are.

use std::collections::{BTreeMap, BTreeSet};

use recorder::StoredRecord;
use recorder::doc::{ActorDoc, StartDoc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::csv::row;
use crate::derive::Item;
use crate::leaf::Leaf;

pub const RECORDS: &str = "records.json";
pub const PEOPLE: &str = "people.csv";

/// What stands around a record's text: with it, anyone can make the record's bytes again, and so its
/// hash, as the recorder's `FORMAT.md` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordEntry {
    pub log: Uuid,
    pub leaf: u64,
    pub path: String,
    pub stream: Uuid,
    pub n: u64,
    pub kind: u8,
    pub time_ns: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
}

/// A record that is not to be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingEntry {
    pub log: Uuid,
    pub leaf: u64,
    pub stream: Uuid,
    pub n: u64,
    pub why: String,
}

/// `records.json`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Index {
    pub records: Vec<RecordEntry>,
    pub missing: Vec<MissingEntry>,
}

impl RecordEntry {
    pub fn of(item: &Item, record: &StoredRecord) -> Self {
        Self {
            log: item.log,
            leaf: item.index,
            path: item.record_path(),
            stream: record.stream,
            n: record.n,
            kind: record.kind,
            time_ns: record.time_ns,
            seq: record.seq,
        }
    }

    /// The record that this entry and this text make.
    pub fn record(&self, json: Vec<u8>) -> StoredRecord {
        StoredRecord {
            stream: self.stream,
            n: self.n,
            kind: self.kind,
            time_ns: self.time_ns,
            seq: self.seq,
            json,
        }
    }
}

/// Whose pseudonyms the records tell: `people.csv`.
#[derive(Default)]
pub struct People {
    rows: BTreeMap<String, BTreeSet<Vec<String>>>,
}

#[derive(Deserialize)]
struct ApprovedView {
    #[serde(default)]
    approval: Option<ApprovalView>,
}

#[derive(Deserialize)]
struct ApprovalView {
    approvers: Vec<String>,
}

impl People {
    /// A record that is what its leaf says.
    pub fn record(&mut self, item: &Item, leaf: &Leaf, json: &[u8]) {
        match &*leaf.kind {
            "session.start" => {
                let doc = serde_json::from_slice::<StartDoc>(json).ok();
                if let Some((doc, who)) = doc.zip(leaf.who.as_ref()) {
                    let issuer = &doc.who.issuer;
                    self.actor(item, &who.id, &doc.who.actor, issuer);
                    for (id, actor) in who.act.iter().zip(&doc.who.on_behalf_of) {
                        self.actor(item, id, actor, issuer);
                    }
                }
            }
            "request" => {
                let doc = serde_json::from_slice::<ApprovedView>(json).ok();
                let names = doc.and_then(|doc| doc.approval).map(|a| a.approvers);
                if let Some((names, approval)) = names.zip(leaf.approval.as_ref()) {
                    for (id, name) in approval.approvers.iter().zip(&names) {
                        self.add(item, id, ["Approver", name, "", ""]);
                    }
                }
            }
            _ => {}
        }
    }

    fn actor(&mut self, item: &Item, id: &str, actor: &ActorDoc, issuer: &str) {
        let owner = actor.owner.as_deref().unwrap_or_default();
        self.add(item, id, [&actor.kind, &actor.subject, issuer, owner]);
    }

    fn add(&mut self, item: &Item, id: &str, who: [&str; 4]) {
        let record = item.record_path();
        let mut cells: Vec<String> = who.iter().map(|cell| (*cell).to_owned()).collect();
        let rows = self.rows.entry(id.to_owned()).or_default();
        // One record is enough to show it.
        if !rows.iter().any(|row| row.starts_with(&cells)) {
            cells.push(record);
            rows.insert(cells);
        }
    }

    pub fn write(&self) -> Vec<u8> {
        let mut out = row(["pseudonym", "kind", "name", "issuer", "owner", "record"]);
        for (id, rows) in &self.rows {
            for cells in rows {
                out.extend(row(std::iter::once(id).chain(cells)));
            }
        }
        out
    }
}
