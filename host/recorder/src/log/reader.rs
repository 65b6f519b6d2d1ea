//! Reads one log of a store and makes its tree again: signatures, tiles, leaves.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use tlog::{Checkpoint, Hash, Kind, Tile, Tree};
use uuid::Uuid;

use crate::keys::SegmentKey;
use crate::log::check::{
    CheckedLog, CheckedRegistry, Erasure, KeptCheckpoint, LogFinding, Logs, Registered, TrustedKey,
};
use crate::log::leaf::{Leaf, body_hash};
use crate::log::names::{self, Part, end_of};
use crate::log::spool::{BUNDLE, Cursor, Waiting};
use crate::objects::{Objects, StoreError};

/// Objects that are asked for at the same time, and bundles that are asked for ahead.
const AT_ONCE: usize = 32;
const AHEAD: u64 = 32;

pub struct Reader<'a> {
    objects: &'a Objects,
    /// `log` or `registry`.
    root: &'static str,
    pub(super) log: Uuid,
    /// What the store does not have yet, if the spool is at hand.
    waiting: Option<&'a Waiting>,
    cursor: Option<Cursor>,
    /// Objects that were asked for before they are looked at, since a store takes its time for each.
    ahead: HashMap<String, Option<Bytes>>,
    /// The size of the newest stored checkpoint, and of the one that stands as such.
    stored: u64,
    head: Option<u64>,
    tiles: BTreeSet<Tile>,
    /// Checkpoints with a good signature.
    pub(super) signed: Vec<(String, u64, Hash)>,
    /// Those of a registry, whole: others may have signed them, too.
    notes: Vec<(u64, Bytes)>,
    /// Leaves from here on are in no registry.
    registered_to: u64,
    pub(super) out: &'a mut Logs,
}

impl<'a> Reader<'a> {
    pub fn new(
        objects: &'a Objects,
        root: &'static str,
        log: Uuid,
        waiting: Option<&'a Waiting>,
        out: &'a mut Logs,
    ) -> Self {
        Self {
            objects,
            root,
            log,
            waiting,
            cursor: None,
            ahead: HashMap::new(),
            stored: 0,
            head: None,
            tiles: BTreeSet::new(),
            signed: Vec::new(),
            notes: Vec::new(),
            registered_to: 0,
            out,
        }
    }

    pub(super) fn wrong(&mut self, finding: LogFinding) {
        self.out.wrong.push(finding);
    }

    fn key(&self, path: &str) -> String {
        format!("{}/{path}", names::below(self.root, self.log))
    }

    async fn get(&mut self, path: &str) -> Result<Option<Bytes>, StoreError> {
        match self.ahead.remove(path) {
            Some(known) => Ok(known),
            None => self.objects.find(&self.key(path)).await,
        }
    }

    /// Asks for several objects at a time.
    async fn ask_for(&mut self, paths: impl IntoIterator<Item = String>) -> Result<(), StoreError> {
        let this = &*self;
        let asked = paths.into_iter().map(|path| async move {
            let found = this.objects.find(&this.key(&path)).await?;
            Ok::<_, StoreError>((path, found))
        });
        let found = futures::stream::iter(asked).buffer_unordered(AT_ONCE);
        let found: Vec<_> = found.try_collect().await?;
        self.ahead.extend(found);
        Ok(())
    }

    /// The next bundles, and the tiles of their hashes.
    async fn look_ahead(&mut self, first: u64, size: u64) -> Result<(), StoreError> {
        self.ahead.clear();
        let full = |kind, index| Tile {
            kind,
            index,
            width: 256,
        };
        let until = (size / BUNDLE).min(first.saturating_add(AHEAD));
        let paths = (first..until).flat_map(|index| {
            let of = [Kind::Entries, Kind::Level(0)];
            of.map(|kind| full(kind, index).path())
        });
        self.ask_for(paths).await
    }

    pub async fn log(
        &mut self,
        parts: &[Part],
        trusted: &[TrustedKey],
        kept: Vec<&KeptCheckpoint>,
        registered: &[Registered],
    ) -> Result<(), StoreError> {
        let log = self.log;
        let mut paths = Vec::new();
        for part in parts {
            match part {
                Part::Tile(tile) => {
                    self.tiles.insert(*tile);
                }
                Part::Archived(size) => paths.push((names::archived_path(*size), Some(*size))),
                Part::Checkpoint => paths.push((names::CHECKPOINT.to_owned(), None)),
                Part::Vkey => {}
            }
        }
        // What stands as the newest is read last.
        paths.sort_by_key(|(_, size)| (size.is_none(), *size));
        let stored = self.get(names::VKEY).await?;
        let stored = stored.map(|b| String::from_utf8_lossy(&b).into_owned());
        let mut vkey = stored.clone().unwrap_or_default().trim_ascii().to_owned();
        let mut verifier = None;
        let mut newest: Option<Checkpoint> = None;
        if let Some(waiting) = self.waiting {
            vkey.clone_from(&waiting.edge.vkey);
            let note = waiting.edge.note.as_bytes();
            verifier = self.verifier("the edge in the spool", note, &vkey, trusted);
            if let Some(verifier) = &verifier {
                newest = self.open("the edge in the spool", note, verifier);
            }
        }
        // All but that.
        let (archived, _) = paths.split_at(paths.len().saturating_sub(1));
        let archived: Vec<String> = archived.iter().map(|(path, _)| path.clone()).collect();
        self.ask_for(archived).await?;
        for (path, size) in paths {
            let Some(note) = self.get(&path).await? else {
                self.wrong(LogFinding::Missing { log, path });
                continue;
            };
            if verifier.is_none() {
                verifier = self.verifier(&path, &note, &vkey, trusted);
            }
            let Some(verifier) = &verifier else { continue };
            let Some(checkpoint) = self.open(&path, &note, verifier) else {
                continue;
            };
            if size.is_some_and(|size| size != checkpoint.size) {
                let why = format!("it is of size {}", checkpoint.size);
                self.wrong(LogFinding::Checkpoint {
                    log,
                    what: path,
                    why,
                });
                continue;
            }
            self.stored = self.stored.max(checkpoint.size);
            if size.is_none() {
                self.head = Some(checkpoint.size);
            }
            if self.root == names::REGISTRY {
                self.notes.push((checkpoint.size, note));
            }
            self.signed.push((path, checkpoint.size, checkpoint.root));
            // The newest may be in the archive only: that comes first.
            if newest.as_ref().is_none_or(|n| n.size < checkpoint.size) {
                newest = Some(checkpoint);
            }
        }
        if let (Some(stored), Some(verifier)) = (stored, &verifier)
            && stored != format!("{}\n", verifier.vkey())
        {
            let why = "it is not the key that signed".to_owned();
            let what = names::VKEY.to_owned();
            self.wrong(LogFinding::Checkpoint { log, what, why });
        }
        // It is stored before it is archived, and noted in the spool after that.
        let was = self.waiting.map_or(0, |w| w.stored).max(self.stored);
        let is = self.head.unwrap_or(0);
        if is < was {
            self.wrong(LogFinding::RolledBack { log, was, is });
        }
        self.kept(kept, verifier.clone(), newest.as_ref(), trusted);
        let vkey = verifier.as_ref().map(|v| v.vkey());
        self.registered_to = self.registered(registered, newest.as_ref(), vkey.as_deref());
        match newest {
            Some(newest) if self.root == names::REGISTRY => {
                let registry = CheckedRegistry {
                    key: vkey.unwrap_or_default(),
                    origin: newest.origin.clone(),
                    size: newest.size,
                    notes: std::mem::take(&mut self.notes),
                    times: Vec::new(),
                };
                self.out.registries.insert(log, registry);
                self.tree(newest).await
            }
            Some(newest) => self.tree(newest).await,
            None => {
                self.wrong(LogFinding::NoCheckpoint { log });
                Ok(())
            }
        }
    }

    /// The log must still hold what it held when somebody kept these.
    fn kept(
        &mut self,
        kept: Vec<&KeptCheckpoint>,
        verifier: Option<tlog::Ed25519Verifier>,
        newest: Option<&Checkpoint>,
        trusted: &[TrustedKey],
    ) {
        let is = newest.map_or(0, |newest| newest.size);
        for KeptCheckpoint { name, note } in kept {
            let verifier = match &verifier {
                Some(verifier) => Some(verifier.clone()),
                None => self.verifier(name, note, "", trusted),
            };
            let opened = verifier.and_then(|verifier| self.open(name, note, &verifier));
            let Some(checkpoint) = opened else { continue };
            if checkpoint.size > is {
                let (log, was) = (self.log, checkpoint.size);
                self.wrong(LogFinding::RolledBack { log, was, is });
            } else {
                // Held against the tree when that is as large.
                let signed = (name.clone(), checkpoint.size, checkpoint.root);
                self.signed.push(signed);
            }
        }
    }

    /// What checks this log's signatures: a trusted key, or for want of any the one that is stored.
    fn verifier(
        &mut self,
        what: &str,
        note: &[u8],
        vkey: &str,
        trusted: &[TrustedKey],
    ) -> Option<tlog::Ed25519Verifier> {
        let log = self.log;
        let text = String::from_utf8_lossy(note);
        let origin = text.lines().next().unwrap_or_default().to_owned();
        if !origin.ends_with(&format!("/{}", log.as_hyphenated())) {
            let why = format!("it is of {origin:?}");
            let what = what.to_owned();
            self.wrong(LogFinding::Checkpoint { log, what, why });
            return None;
        }
        if trusted.is_empty() {
            let Ok(verifier) = tlog::Ed25519Verifier::parse(vkey) else {
                let why = "it is not a key".to_owned();
                let what = names::VKEY.to_owned();
                self.wrong(LogFinding::Checkpoint { log, what, why });
                return None;
            };
            self.signer(&origin, &verifier);
            return Some(verifier);
        }
        let of_name = |key: &&TrustedKey| origin == format!("{}/{}", key.name, log.as_hyphenated());
        let verifiers = trusted
            .iter()
            .filter(of_name)
            .filter_map(|key| tlog::Ed25519Verifier::new(&origin, key.public).ok());
        let opens =
            |v: &tlog::Ed25519Verifier| tlog::open_checkpoint(note, &origin, &[v], &[]).is_ok();
        let found = verifiers.into_iter().find(opens);
        match &found {
            Some(verifier) => self.signer(&origin, verifier),
            None => {
                let why = "no trusted key has signed it".to_owned();
                let what = what.to_owned();
                self.wrong(LogFinding::Checkpoint { log, what, why });
            }
        }
        found
    }

    /// Notes a key, under the name that all logs of an instance have in common.
    fn signer(&mut self, origin: &str, verifier: &tlog::Ed25519Verifier) {
        let name = origin.rsplit_once('/').map_or(origin, |(name, _)| name);
        if let Ok(key) = tlog::Ed25519Verifier::new(name, *verifier.public_key()) {
            self.out.signers.insert(key.vkey());
        }
    }

    fn open(
        &mut self,
        what: &str,
        note: &[u8],
        verifier: &tlog::Ed25519Verifier,
    ) -> Option<Checkpoint> {
        let origin = tlog::Verifier::name(verifier).to_owned();
        match tlog::open_checkpoint(note, &origin, &[verifier], &[]) {
            Ok(opened) => {
                self.out.checkpoints += 1;
                Some(opened.checkpoint)
            }
            Err(error) => {
                let (log, what, why) = (self.log, what.to_owned(), error.to_string());
                self.wrong(LogFinding::Checkpoint { log, what, why });
                None
            }
        }
    }

    /// Makes the whole tree again from its leaves.
    async fn tree(&mut self, signed: Checkpoint) -> Result<(), StoreError> {
        let log = self.log;
        let mut tree = Tree::new();
        let mut checked = CheckedLog {
            origin: signed.origin.clone(),
            size: signed.size,
            root: signed.root,
            ..CheckedLog::default()
        };
        let mut by_size: HashMap<u64, Vec<(String, Hash)>> = HashMap::new();
        for (path, size, root) in std::mem::take(&mut self.signed) {
            by_size.entry(size).or_default().push((path, root));
        }
        while tree.size() < signed.size {
            let first = tree.size();
            if (first / BUNDLE).is_multiple_of(AHEAD) {
                self.look_ahead(first / BUNDLE, signed.size).await?;
            }
            let width = BUNDLE.min(signed.size - first);
            let Some((bundle, has)) = self.entries(first / BUNDLE, width).await? else {
                return Ok(());
            };
            let mut full = Vec::new();
            let mut count = 0;
            let all = tlog::entries(&bundle).filter(Result::is_ok).count() as u64;
            let whole = tlog::entries(&bundle).all(|entry| entry.is_ok());
            if all != has || !whole {
                let path = format!("entry bundle {}", first / BUNDLE);
                self.wrong(LogFinding::Tile { log, path });
            }
            for entry in tlog::entries(&bundle).take(width as usize) {
                let Ok(entry) = entry else { break };
                count += 1;
                let mut emit = |tile: Tile, bytes: &[u8]| full.push((tile, bytes.to_vec()));
                tree.append(tlog::leaf_hash(entry), &mut emit);
                match self.root {
                    names::REGISTRY => self.registration(first + count - 1, entry),
                    _ => self.leaf(&mut checked, first + count - 1, entry),
                }
                for (what, root) in by_size.remove(&tree.size()).unwrap_or_default() {
                    if root != tree.root() {
                        let why = "the tree has another root at that size".to_owned();
                        self.wrong(LogFinding::Checkpoint { log, what, why });
                    }
                }
            }
            if count != width {
                let path = format!("entry bundle {}", first / BUNDLE);
                self.wrong(LogFinding::Tile { log, path });
                return Ok(());
            }
            self.shorter_bundles(first / BUNDLE, width, &bundle).await?;
            for (tile, bytes) in full {
                self.compare(tile, &bytes).await?;
            }
        }
        let open: Vec<_> = tree.partial().collect();
        for (tile, bytes) in open {
            self.compare(tile, &bytes).await?;
        }
        self.beyond(signed.size);
        if self.root == names::ROOT {
            self.out.logs.insert(log, checked);
        }
        Ok(())
    }

    /// So many entries of a bundle: of the one with just so many, of the full one, or from the spool.
    /// Also how many it must have.
    async fn entries(
        &mut self,
        index: u64,
        width: u64,
    ) -> Result<Option<(Bytes, u64)>, StoreError> {
        let log = self.log;
        let kind = Kind::Entries;
        let exact = u16::try_from(width).unwrap_or(u16::MAX);
        let path = |width| Tile { kind, index, width }.path();
        // Twice: what is neither here nor there may have moved meanwhile.
        for _ in 0..2 {
            for width in [exact, 256] {
                if let Some(bytes) = self.get(&path(width)).await? {
                    return Ok(Some((bytes, u64::from(width))));
                }
            }
            if let Some(bytes) = self.spooled(index, width) {
                let tile = Tile {
                    kind,
                    index,
                    width: exact,
                };
                // The store has had it.
                if end_of(&tile) <= self.stored {
                    let path = tile.path();
                    self.wrong(LogFinding::Missing { log, path });
                }
                return Ok(Some((bytes.into(), width)));
            }
        }
        let path = path(exact);
        self.wrong(LogFinding::Missing { log, path });
        Ok(None)
    }

    fn spooled(&mut self, index: u64, width: u64) -> Option<Vec<u8>> {
        let dir = &self.waiting?.dir;
        if self.cursor.as_ref().is_none_or(|c| c.bundle > index) {
            self.cursor = Cursor::open(dir).ok();
        }
        let cursor = self.cursor.as_mut()?;
        while cursor.bundle < index {
            let passed = cursor.read(BUNDLE).ok()?;
            cursor.advance(passed.len());
        }
        if cursor.bundle > index {
            return None;
        }
        cursor.read(width).ok()
    }

    /// Is this tile stored, and what it has to be?
    async fn compare(&mut self, tile: Tile, bytes: &[u8]) -> Result<(), StoreError> {
        let log = self.log;
        self.shorter_tiles(tile, bytes).await?;
        let full = Tile { width: 256, ..tile };
        let path = tile.path();
        let right = match self.get(&path).await? {
            Some(stored) => Some(*stored == *bytes),
            // The full one begins with it.
            None if !tile.is_full() => {
                let stored = self.get(&full.path()).await?;
                stored.map(|stored| stored.len() == 8192 && stored.starts_with(bytes))
            }
            None => None,
        };
        match right {
            Some(true) => {}
            Some(false) => self.wrong(LogFinding::Tile { log, path }),
            // With the spool at hand: it comes with the next checkpoint.
            None if self.waiting.is_some() && end_of(&tile) > self.stored => {}
            None => self.wrong(LogFinding::Missing { log, path }),
        }
        Ok(())
    }

    /// Partial tiles of earlier checkpoints: the start of this one.
    async fn shorter_tiles(&mut self, tile: Tile, bytes: &[u8]) -> Result<(), StoreError> {
        for shorter in self.shorter(tile) {
            let want = bytes.get(..usize::from(shorter.width) * 32);
            self.same(shorter, want).await?;
        }
        Ok(())
    }

    async fn shorter_bundles(
        &mut self,
        index: u64,
        width: u64,
        bundle: &[u8],
    ) -> Result<(), StoreError> {
        let tile = Tile {
            kind: Kind::Entries,
            index,
            width: u16::try_from(width).unwrap_or(256),
        };
        for shorter in self.shorter(tile) {
            let ends = tlog::entries(bundle).take(usize::from(shorter.width));
            let len: usize = ends.flatten().map(|entry| entry.len() + 2).sum();
            self.same(shorter, bundle.get(..len)).await?;
        }
        Ok(())
    }

    fn shorter(&self, tile: Tile) -> Vec<Tile> {
        let from = Tile { width: 1, ..tile };
        self.tiles.range(from..tile).copied().collect()
    }

    async fn same(&mut self, tile: Tile, want: Option<&[u8]>) -> Result<(), StoreError> {
        let (log, path) = (self.log, tile.path());
        // One that is not there any more is in the longer one.
        let stored = self.get(&path).await?;
        if stored.is_some_and(|stored| Some(&*stored) != want) {
            self.wrong(LogFinding::Tile { log, path });
        }
        Ok(())
    }

    /// Full tiles that no checkpoint covers. They come before it; when a log has ended, none may.
    fn beyond(&mut self, size: u64) {
        let log = self.log;
        let beyond = self.tiles.iter().filter(|tile| end_of(tile) > size);
        let paths: Vec<String> = beyond.map(Tile::path).collect();
        for path in paths {
            let over = false;
            self.wrong(LogFinding::Beyond { log, path, over });
        }
    }

    fn leaf(&mut self, checked: &mut CheckedLog, number: u64, entry: &[u8]) {
        self.out.leaves += 1;
        let leaf = match serde_json::from_slice::<Leaf<'_>>(entry) {
            Ok(leaf) => leaf,
            Err(error) => return self.bad_leaf(number, error.to_string()),
        };
        if *leaf.time < *checked.last {
            self.bad_leaf(
                number,
                format!("its time {} is before the last one's", leaf.time),
            );
        }
        let clock = leaf.clock.as_ref().unwrap_or(&leaf.time);
        if number >= self.registered_to && checked.unregistered.is_none() {
            let earlier = leaf.time.clone().min(clock.clone());
            checked.unregistered = Some(earlier.into_owned());
        }
        checked.clock = clock.clone().into_owned();
        checked.last = leaf.time.clone().into_owned();
        checked.ended |= leaf.kind == "recorder.stop" && leaf.sid == Some(self.log);
        if (leaf.kind == "log.start") != (number == 0) {
            self.bad_leaf(number, "a log begins with its start, once".into());
        }
        let log = self.log;
        if let (Some(sid), Some(n), Some(body)) = (leaf.sid, leaf.n, &leaf.body) {
            let Some(hash) = body_hash(body) else {
                return self.bad_leaf(number, "its body's hash cannot be read".into());
            };
            let key = (sid.as_u128(), n);
            let known = self.out.records.entry(key).or_default();
            // After a crash, a record can have one leaf that nobody saw signed, and another.
            if !known.iter().any(|(before, _)| *before == hash) {
                known.push((hash, log));
            }
        }
        // What the start found follows the control stream's start; later gaps others may have brought about.
        let next = checked.missing.len() as u64 + 1;
        if leaf.kind == "gap" && leaf.sid == Some(log) && leaf.n == Some(next) {
            let what = leaf.outcome.as_ref().map_or("", |text| &text.0);
            checked.missing.push(what.to_owned());
        }
        if let Some(rec) = &leaf.rec
            && !rec.key.is_empty()
        {
            match SegmentKey::parse(&rec.key) {
                Some(key) => {
                    self.out.segments.insert(key, (rec.records, log));
                }
                None => self.bad_leaf(number, format!("{:?} is not a segment", rec.key)),
            }
        }
        if let Some(session) = leaf.erased.filter(|_| leaf.begins_erasure()) {
            let who = leaf.who.as_ref().map(|who| who.id.clone());
            let time = leaf.time.clone().into_owned();
            // The first is what counts; another is of a process that did not live to see it done.
            let erasure = Erasure {
                log,
                leaf: number,
                time,
                who,
            };
            let place = (session, log, number);
            self.out.erasures.insert(place, erasure.clone());
            self.out.erased.entry(session).or_insert(erasure);
        }
        if number == 0 {
            checked.prev = leaf.prev;
        }
    }

    pub(super) fn bad_leaf(&mut self, leaf: u64, why: String) {
        let log = self.log;
        self.wrong(LogFinding::Leaf { log, leaf, why });
    }
}
