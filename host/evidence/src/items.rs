//! The part of verification that looks at records: those of the sample, their proofs, and whose
//! pseudonyms they tell.

use std::collections::BTreeMap;

use tlog::ProofFile;
use uuid::Uuid;

use crate::archive::MAX_IN_MEMORY;
use crate::check::{Check, MAX_SMALL};
use crate::derive::{Derived, Item};
use crate::finding::Finding;
use crate::leaf::Leaf;
use crate::logs::LogFacts;
use crate::policies::{self, CHANGES, Changes};
use crate::records::{Index, MissingEntry, PEOPLE, People, RECORDS, RecordEntry};

impl Check<'_> {
    /// The proofs and records of the sample. How many are whole.
    pub fn items(&mut self, derived: &Derived, logs: &[LogFacts]) -> u64 {
        let later = self.later(logs);
        let index = self.read(RECORDS, MAX_IN_MEMORY);
        let index: Index = match index.map(|bytes| serde_json::from_slice(&bytes)) {
            Some(Ok(index)) => index,
            Some(Err(error)) => {
                let (path, why) = (RECORDS.to_owned(), error.to_string());
                self.wrong(Finding::Item { path, why });
                Index::default()
            }
            None => Index::default(),
        };
        let mut entries: BTreeMap<(Uuid, u64), &RecordEntry> = BTreeMap::new();
        for entry in &index.records {
            entries.insert((entry.log, entry.leaf), entry);
        }
        let mut people = People::default();
        let mut proven = 0;
        let mut order: Vec<&Item> = derived.items.iter().collect();
        // As they are made: stream by stream.
        order.sort_by_key(|item| item.stream);
        for item in order {
            let proof = self.proof(item, logs);
            let record = match entries.remove(&(item.log, item.index)) {
                Some(entry) => self.record(item, entry, &mut people),
                None => {
                    let this = |m: &&MissingEntry| (m.log, m.leaf) == (item.log, item.index);
                    let said = index.missing.iter().find(this);
                    self.wrong(Finding::NoRecord {
                        stream: item.stream,
                        n: item.n,
                        why: said.map_or("nothing says why".to_owned(), |m| m.why.clone()),
                        erased: derived.erased.contains(&item.stream)
                            || later.contains(&item.stream),
                    });
                    false
                }
            };
            proven += u64::from(proof && record);
        }
        for entry in entries.into_values() {
            let path = entry.path.clone();
            self.wrong(Finding::Stranger(path));
        }
        let bytes = people.write();
        if self
            .read(PEOPLE, MAX_IN_MEMORY)
            .is_some_and(|found| found != bytes)
        {
            let (path, how) = (PEOPLE.to_owned(), String::new());
            self.wrong(Finding::Derived { path, how });
        }
        proven
    }

    /// The leaf of an item, and the file that proves it.
    fn proof(&mut self, item: &Item, logs: &[LogFacts]) -> bool {
        let leaf_path = format!("{}.leaf.json", item.proof_path());
        let path = format!("{}.tlog-proof", item.proof_path());
        let (leaf, proof) = (
            self.read(&leaf_path, MAX_SMALL),
            self.read(&path, MAX_SMALL),
        );
        let (Some(leaf), Some(bytes)) = (leaf, proof) else {
            return false;
        };
        if leaf != item.entry {
            let (path, why) = (leaf_path, "it is not the leaf".to_owned());
            self.wrong(Finding::Item { path, why });
            return false;
        }
        let log = logs.iter().find(|log| log.id == item.log);
        let checked = ProofFile::parse(&bytes)
            .map_err(|e| e.to_string())
            .and_then(|file| {
                let log = log.ok_or("its log is missing")?;
                // The log's own checkpoint, whose signature has been checked.
                let note = self.notes.get(&item.log);
                if note.is_none_or(|note| note.as_slice() != file.checkpoint.as_bytes()) {
                    return Err("it has another checkpoint".to_owned());
                }
                if file.index != item.index {
                    return Err("it is of another leaf".to_owned());
                }
                let leaf = tlog::leaf_hash(&item.entry);
                tlog::check_inclusion(item.index, log.size, &leaf, &file.proof, &log.root)
                    .map_err(|e| e.to_string())
            });
        match checked {
            Ok(()) => true,
            Err(why) => {
                self.wrong(Finding::Item { path, why });
                false
            }
        }
    }

    fn record(&mut self, item: &Item, entry: &RecordEntry, people: &mut People) -> bool {
        let path = item.record_path();
        let same = entry.path == path && entry.stream == item.stream && entry.n == item.n;
        let json = self.read(&path, MAX_IN_MEMORY).filter(|_| same);
        let Some(record) = json.map(|json| entry.record(json)) else {
            if !same {
                let why = format!("{RECORDS} says another thing about it");
                self.wrong(Finding::Item { path, why });
            }
            return false;
        };
        if record.hash() != Some(item.body) {
            let why = "it is not the record that its leaf says".to_owned();
            self.wrong(Finding::Item { path, why });
            return false;
        }
        if let Ok(leaf) = Leaf::parse(&item.entry) {
            people.record(item, &leaf, &record.json);
        }
        true
    }

    /// The texts of bundles against their digests, and what is said to have changed.
    pub fn policies(&mut self, derived: &Derived) {
        let mut changes = Changes::default();
        for bundle in &derived.bundles {
            let path = policies::archive_path(&bundle.digest);
            if !self.reader.has(&path) {
                let (name, version) = (bundle.name.clone(), bundle.version);
                self.wrong(Finding::NoBundle { name, version });
                continue;
            }
            let Some(archive) = self.read(&path, policies::MAX_ARCHIVE) else {
                continue;
            };
            let texts = match policies::read(&bundle.digest, &archive) {
                Ok(texts) => texts,
                Err(error) => {
                    let why = error.to_string();
                    self.wrong(Finding::Item { path, why });
                    continue;
                }
            };
            self.text(
                &policies::text_path(&bundle.digest),
                &policies::text(&texts),
            );
            changes.push(bundle.clone(), texts);
        }
        self.text(CHANGES, &changes.write());
    }

    /// A file that must be just this.
    fn text(&mut self, path: &str, expect: &str) {
        let found = self.read(path, MAX_IN_MEMORY);
        if found.is_some_and(|found| found != expect.as_bytes()) {
            let (path, how) = (path.to_owned(), String::new());
            self.wrong(Finding::Derived { path, how });
        }
    }
}
