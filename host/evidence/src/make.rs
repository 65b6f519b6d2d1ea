//! Makes a package from a store.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use recorder::{LogKey, Store, StoreError, TrustedKey};
use tempfile::NamedTempFile;
use tlog::{Kind, ProofError, ProofFile, TILE_WIDTH, Tile, TileMap};
use uuid::Uuid;

use crate::archive::{ArchiveError, Writer};
use crate::check::{self, CheckError, PackageReport};
use crate::derive::{DeriveError, Derived, Deriver, Item, Sink, Told};
use crate::fetch::{FetchError, FetchedLog, Fetcher, tiles};
use crate::finding::Finding;
use crate::halt::{self, Halt, Steps, Watch};
use crate::later::Later;
use crate::leaf::{Leaf, LeafError};
use crate::left::{self, Left, LeftOut};
use crate::logs::{LogFacts, width};
use crate::manifest::{self, FORMAT, FileEntry, LogEntry, MANIFEST, Manifest, NOTE, SIGNER};
use crate::policies::{self, CHANGES, Changes};
use crate::prove;
use crate::records::{Index, MissingEntry, PEOPLE, People, RECORDS, RecordEntry};
use crate::select::{MAX_SAMPLE, Selection};

/// What the name of a package begins with that is not finished.
const UNFINISHED: &str = ".weir-evidence-";
/// How often a package is made again, without what was found in the attempt before.
const ATTEMPTS: usize = 5;

/// What a package is made of, and by whom.
pub struct Order<'a> {
    pub selection: Selection,
    /// Which Weir makes it.
    pub software: String,
    /// What signs it; none: it stays unsigned.
    pub key: Option<&'a dyn LogKey>,
    /// The name of the logs that this key signs.
    pub name: String,
    /// Keys whose logs are believed. The signing key is one by itself.
    pub trusted: Vec<TrustedKey>,
    /// Whoever makes it puts on record that it was made, before anybody gets it.
    pub recorded: bool,
    /// The most bytes of all its files.
    pub most: u64,
    /// Whether it may go on.
    pub watch: Watch,
}

#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    #[error("the window ends before it begins")]
    Window,
    #[error("a sample has at most {MAX_SAMPLE} items")]
    Sample,
    #[error("no transparency log of the store has leaves of this window{}", left_out(.0))]
    NoLog(Vec<LeftOut>),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Derive(#[from] DeriveError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Halt(#[from] Halt),
    #[error("log {log}: {bundle} is not what was signed: {why}; weir verify says more")]
    Tree {
        log: Uuid,
        bundle: String,
        why: ProofError,
    },
    #[error("log {log}: leaf {leaf}: {why}")]
    Leaf {
        log: Uuid,
        leaf: u64,
        why: LeafError,
    },
    #[error("the proof of leaf {leaf} of log {log}: {why}")]
    Proof { log: Uuid, leaf: u64, why: String },
    #[error("signing: {0}")]
    Sign(String),
    #[error("{path}: {source}")]
    Output { path: PathBuf, source: io::Error },
    #[error("a document of the package cannot be written: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the package does not verify, and is not kept: {0}")]
    Wrong(String),
    /// What these say cannot be proven. The package is made without them.
    #[error("logs are not what was signed{}; weir verify says more", left_out(.0))]
    Logs(Vec<LeftOut>),
}

/// The first of them, for people.
fn left_out(all: &[LeftOut]) -> String {
    match all {
        [] => String::new(),
        [first, rest @ ..] => format!(
            "; log {} was left out: {} ({} more)",
            first.log,
            first.why,
            rest.len()
        ),
    }
}

impl MakeError {
    /// What has ended it, if it was to end.
    pub fn halt(&self) -> Option<&Halt> {
        match self {
            Self::Halt(halt) | Self::Archive(ArchiveError::Halt(halt)) => Some(halt),
            Self::Derive(DeriveError::Io(error)) => halt::of_io(error),
            _ => None,
        }
    }

    /// The log that it is about.
    fn log(&self) -> Option<Uuid> {
        match self {
            Self::Fetch(error) => error.log(),
            Self::Tree { log, .. } | Self::Leaf { log, .. } | Self::Proof { log, .. } => Some(*log),
            _ => None,
        }
    }

    /// It would have more bytes than it was given.
    pub fn is_too_large(&self) -> bool {
        match self {
            Self::Archive(ArchiveError::Full(_)) => true,
            Self::Derive(DeriveError::Io(error)) => error.kind() == io::ErrorKind::FileTooLarge,
            _ => false,
        }
    }
}

/// Derived files on their way into the package.
pub(crate) struct Spool {
    dir: PathBuf,
    files: BTreeMap<&'static str, BufWriter<File>>,
    /// So many bytes more may come.
    left: u64,
    steps: Steps,
}

impl Spool {
    pub fn new(dir: &Path, most: u64, steps: Steps) -> Self {
        Self {
            dir: dir.to_path_buf(),
            files: BTreeMap::new(),
            left: most,
            steps,
        }
    }
}

impl Sink for Spool {
    fn write(&mut self, path: &'static str, bytes: &[u8]) -> io::Result<()> {
        let left = self.left.checked_sub(bytes.len() as u64);
        let full = "the package would have more bytes than it may: narrow its window";
        self.left = left.ok_or_else(|| io::Error::new(io::ErrorKind::FileTooLarge, full))?;
        self.steps.add(bytes.len() as u64)?;
        if !self.files.contains_key(path) {
            let file = tempfile::tempfile_in(&self.dir)?;
            self.files.insert(path, BufWriter::new(file));
        }
        match self.files.get_mut(path) {
            Some(file) => file.write_all(bytes),
            None => Err(io::Error::other(path)),
        }
    }
}

/// Makes the package and verifies it; only then it is there under its name, where nothing may be yet.
pub async fn make(
    store: &Store,
    order: &Order<'_>,
    out: &Path,
) -> Result<PackageReport, MakeError> {
    // The same directory: what was verified gets its name in one step.
    let (file, report) = made(store, order, beside(out)).await?;
    named(file, out).map_err(failed(out))?;
    Ok(report)
}

/// Makes a package and verifies it. Its file has no name by then: it is gone when it is closed.
pub async fn make_unnamed(
    store: &Store,
    order: &Order<'_>,
    dir: &Path,
) -> Result<(File, PackageReport), MakeError> {
    let (file, report) = made(store, order, dir).await?;
    Ok((file.reopen().map_err(failed(dir))?, report))
}

/// What is left in a directory of packages that were being made when a process ended.
pub fn clean(dir: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// A package without a name. It can be read by its owner only.
pub fn unfinished(dir: &Path) -> io::Result<NamedTempFile> {
    let mut file = tempfile::Builder::new();
    file.prefix(UNFINISHED).tempfile_in(dir)
}

/// Gives it its name, which nothing has yet.
pub fn named(file: NamedTempFile, out: &Path) -> io::Result<()> {
    file.persist_noclobber(out).map(drop).map_err(|e| e.error)
}

fn failed(path: &Path) -> impl Fn(io::Error) -> MakeError {
    move |source| MakeError::Output {
        path: path.to_path_buf(),
        source,
    }
}

/// The directory of this file.
pub fn beside(out: &Path) -> &Path {
    let dir = out.parent().filter(|dir| !dir.as_os_str().is_empty());
    dir.unwrap_or(Path::new("."))
}

async fn made(
    store: &Store,
    order: &Order<'_>,
    dir: &Path,
) -> Result<(NamedTempFile, PackageReport), MakeError> {
    let selection = &order.selection;
    if selection.window.from_ns >= selection.window.to_ns {
        return Err(MakeError::Window);
    }
    if selection.sample > MAX_SAMPLE {
        return Err(MakeError::Sample);
    }
    let mut left = Left::new();
    for _ in 1..ATTEMPTS {
        match attempt(store, order, dir, &mut left).await {
            // Only with all of a log it is known whether it is what was signed.
            Err(MakeError::Logs(logs)) => left.extend(logs.into_iter().map(|out| (out.log, out))),
            other => return other,
        }
    }
    attempt(store, order, dir, &mut left).await
}

/// Makes it of the logs that are not left out.
async fn attempt(
    store: &Store,
    order: &Order<'_>,
    dir: &Path,
    left: &mut Left,
) -> Result<(NamedTempFile, PackageReport), MakeError> {
    (order.watch)()?;
    let trusted = order.all_trusted()?;
    let file = unfinished(dir).map_err(failed(dir))?;
    let mut maker = Maker {
        store,
        fetcher: Fetcher::new(store, trusted.clone()),
        order,
        zip: Writer::new(
            file.reopen().map_err(failed(dir))?,
            order.most,
            order.watch.clone(),
        ),
        missing: Vec::new(),
    };
    maker.all(dir, left).await?;
    maker.zip.finish()?;
    let report = check::check_watched(file.path(), &trusted, &order.watch);
    let report = report.map_err(|error| match error {
        CheckError::Archive(ArchiveError::Halt(halt)) => halt.into(),
        error => MakeError::Wrong(error.to_string()),
    })?;
    let Some(wrong) = report.failures().next() else {
        return Ok((file, report));
    };
    let of_logs = report.failures().filter_map(|wrong| match wrong {
        Finding::Log { log, why } => Some(LeftOut::new(*log, true, why)),
        Finding::Leaf { log, leaf, why } => {
            Some(LeftOut::new(*log, true, &format!("leaf {leaf}: {why}")))
        }
        _ => None,
    });
    match of_logs.collect::<Vec<_>>() {
        none if none.is_empty() => Err(MakeError::Wrong(wrong.to_string())),
        logs => Err(MakeError::Logs(logs)),
    }
}

impl Order<'_> {
    pub(crate) fn all_trusted(&self) -> Result<Vec<TrustedKey>, MakeError> {
        let mut all = self.trusted.clone();
        if let Some(key) = self.key {
            let vkey = key
                .vkey(&self.name)
                .map_err(|e| MakeError::Sign(e.to_string()))?;
            all.push(vkey.parse().map_err(|_| MakeError::Sign(vkey.clone()))?);
        }
        Ok(all)
    }
}

pub(crate) struct Maker<'a> {
    pub(crate) store: &'a Store,
    pub(crate) fetcher: Fetcher<'a>,
    pub(crate) order: &'a Order<'a>,
    pub(crate) zip: Writer,
    pub(crate) missing: Vec<String>,
}

impl Maker<'_> {
    async fn all(&mut self, dir: &Path, left: &mut Left) -> Result<(), MakeError> {
        let order = self.order;
        let selection = &order.selection;
        let logs = self.fetcher.logs(selection.window, left).await?;
        if logs.is_empty() {
            return Err(MakeError::NoLog(left.values().cloned().collect()));
        }
        let mut spool = Spool::new(dir, order.most, Steps::new(order.watch.clone()));
        let mut deriver = Deriver::new(selection, &mut spool)?;
        let mut trees = BTreeMap::new();
        let mut facts = Vec::new();
        let mut wrong = Vec::new();
        for log in &logs {
            match self.log(log, &mut deriver).await {
                Ok((seen, tiles)) => {
                    facts.push(seen);
                    trees.insert(log.facts.id, (log, tiles));
                }
                // The others are looked at, too: that takes fewer attempts.
                Err(error) if error.log() == Some(log.facts.id) => {
                    wrong.push(LeftOut::new(log.facts.id, true, &error.to_string()));
                }
                Err(error) => return Err(error),
            }
        }
        if !wrong.is_empty() {
            return Err(MakeError::Logs(wrong));
        }
        let (left_out, more_left_out) = left::named(left, &facts);
        let told = Told {
            left_out: &left_out,
            more_left_out,
            recorded: order.recorded,
        };
        let derived = deriver.finish(&facts, &told)?;
        for (path, file) in spool.files {
            let file = file.into_inner().map_err(io::IntoInnerError::into_error);
            let mut file = file.map_err(DeriveError::Io)?;
            file.rewind().map_err(DeriveError::Io)?;
            self.zip.copy(path, &mut file)?;
        }
        self.proofs(&derived, &mut trees).await?;
        self.records(&derived, &logs).await?;
        self.policies(&derived).await?;
        self.manifest(&facts, &told)
    }

    /// The log's files; its leaves of the window go to the deriver.
    async fn log(
        &mut self,
        log: &FetchedLog,
        deriver: &mut Deriver<'_, Spool>,
    ) -> Result<(LogFacts, TileMap), MakeError> {
        let facts = &log.facts;
        let mut seen = facts.clone();
        let dir = format!("log/{}", facts.id);
        self.zip.add(&format!("{dir}/checkpoint"), &log.note)?;
        // What stands beside it in the store is anybody's.
        let vkey = format!("{}\n", log.vkey);
        self.zip.add(&format!("{dir}/vkey"), vkey.as_bytes())?;
        let bundles = facts.bundles();
        let tree = |bundle: String, why| MakeError::Tree {
            log: facts.id,
            bundle,
            why,
        };
        let wanted = tiles(facts, &bundles).map_err(|e| tree("the tree".into(), e))?;
        let mut map = TileMap::new();
        for tile in wanted {
            let bytes = self.fetcher.hashes(facts, tile).await?;
            self.zip.add(&format!("{dir}/{}", tile.path()), &bytes)?;
            map.insert(tile, bytes);
        }
        for bundle in bundles {
            let bytes = self.fetcher.bundle(facts, bundle).await?;
            let entries: Vec<&[u8]> = tlog::entries(&bytes).flatten().collect();
            prove::bundle(facts, bundle, &entries, &mut map).map_err(|e| tree(bundle.path(), e))?;
            self.zip.add(&format!("{dir}/{}", bundle.path()), &bytes)?;
            for (index, entry) in (bundle.index * u64::from(TILE_WIDTH)..).zip(entries) {
                if facts.has(index) {
                    let wrong = |why| MakeError::Leaf {
                        log: facts.id,
                        leaf: index,
                        why,
                    };
                    let leaf = Leaf::parse(entry).map_err(wrong)?;
                    seen.see(index, &leaf);
                    if (facts.first..facts.end).contains(&index) {
                        deriver.leaf(facts.id, index, entry, &leaf)?;
                    }
                }
            }
        }
        Ok((seen, map))
    }

    async fn proofs(
        &mut self,
        derived: &Derived,
        trees: &mut BTreeMap<Uuid, (&FetchedLog, TileMap)>,
    ) -> Result<(), MakeError> {
        for item in &derived.items {
            let failed = |why: String| MakeError::Proof {
                log: item.log,
                leaf: item.index,
                why,
            };
            let (log, tiles) = trees
                .get_mut(&item.log)
                .ok_or_else(|| failed("its log is missing".into()))?;
            let index = item.index / u64::from(TILE_WIDTH);
            let bundle = Tile {
                kind: Kind::Entries,
                index,
                width: width(log.facts.size, index),
            };
            let bytes = self.fetcher.bundle(&log.facts, bundle).await?;
            let entries: Vec<&[u8]> = tlog::entries(&bytes).flatten().collect();
            let proof = prove::entry(&log.facts, bundle, &entries, item.index, tiles)
                .map_err(|e| failed(e.to_string()))?;
            let file = ProofFile {
                extra: None,
                index: item.index,
                proof,
                checkpoint: String::from_utf8_lossy(&log.note).into_owned(),
            };
            let text = file.encode().map_err(|e| failed(e.to_string()))?;
            let path = item.proof_path();
            self.zip
                .add(&format!("{path}.tlog-proof"), text.as_bytes())?;
            self.zip.add(&format!("{path}.leaf.json"), &item.entry)?;
        }
        Ok(())
    }

    async fn records(&mut self, derived: &Derived, logs: &[FetchedLog]) -> Result<(), MakeError> {
        let mut later = Later::default();
        let mut streams: BTreeMap<Uuid, Vec<&Item>> = BTreeMap::new();
        for item in &derived.items {
            streams.entry(item.stream).or_default().push(item);
        }
        let mut index = Index::default();
        let mut people = People::default();
        for (stream, items) in streams {
            let wanted = items.iter().map(|item| (item.n, item.body)).collect();
            let (records, error) = self.store.records(stream, &wanted).await?;
            let records: BTreeMap<u64, _> = records.iter().map(|r| (r.n, r)).collect();
            for item in items {
                match records.get(&item.n) {
                    Some(record) => {
                        let entry = RecordEntry::of(item, record);
                        // Two leaves can be of one record, after a crash.
                        if !self.zip.files().contains_key(&entry.path) {
                            self.zip.add(&entry.path, &record.json)?;
                        }
                        let leaf = Leaf::parse(&item.entry).map_err(|why| MakeError::Leaf {
                            log: item.log,
                            leaf: item.index,
                            why,
                        })?;
                        people.record(item, &leaf, &record.json);
                        index.records.push(entry);
                    }
                    None => {
                        let said = match derived.erased.contains(&stream) {
                            true => Some("the session was erased".to_owned()),
                            false => self.later(&mut later, stream, logs).await?,
                        };
                        let error = error.as_ref().map(ToString::to_string);
                        let otherwise = || "the store does not have it".to_owned();
                        index.missing.push(MissingEntry {
                            log: item.log,
                            leaf: item.index,
                            stream,
                            n: item.n,
                            why: said.or(error).unwrap_or_else(otherwise),
                        });
                    }
                }
            }
        }
        let mut bytes = serde_json::to_vec_pretty(&index)?;
        bytes.push(b'\n');
        self.zip.add(RECORDS, &bytes)?;
        self.zip.add(PEOPLE, &people.write())?;
        self.write_later(&later)
    }

    /// The texts of the bundles that were in force, as far as the store has them.
    async fn policies(&mut self, derived: &Derived) -> Result<(), MakeError> {
        let mut changes = Changes::default();
        for bundle in &derived.bundles {
            let archive = match self.store.bundle_archive(&bundle.digest).await {
                // It is none of ours.
                Err(StoreError::TooLarge { .. }) => None,
                found => found?,
            };
            let fits = |bytes: &bytes::Bytes| bytes.len() as u64 <= policies::MAX_ARCHIVE;
            let Some(archive) = archive.filter(fits) else {
                continue;
            };
            let Ok(texts) = policies::read(&bundle.digest, &archive) else {
                let text = format!("bundle {} is not what its digest says", bundle.digest);
                self.missing.push(text);
                continue;
            };
            let path = policies::archive_path(&bundle.digest);
            // Several versions can be of one text.
            if !self.zip.files().contains_key(&path) {
                self.zip.add(&path, &archive)?;
                let text = policies::text(&texts);
                self.zip
                    .add(&policies::text_path(&bundle.digest), text.as_bytes())?;
            }
            changes.push(bundle.clone(), texts);
        }
        self.zip.add(CHANGES, changes.write().as_bytes())?;
        Ok(())
    }

    fn manifest(&mut self, logs: &[LogFacts], told: &Told<'_>) -> Result<(), MakeError> {
        let order = self.order;
        let selection = &order.selection;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.map_or(0, |d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX));
        let entry = |log: &LogFacts| LogEntry {
            id: log.id,
            origin: log.origin.clone(),
            size: log.size,
            root: STANDARD.encode(log.root),
            first: log.first,
            end: log.end,
        };
        let files = self.zip.files().iter();
        let manifest = Manifest {
            format: FORMAT.to_owned(),
            software: order.software.clone(),
            made: recorder::timestamp(now),
            from: recorder::timestamp(selection.window.from_ns),
            to: recorder::timestamp(selection.window.to_ns),
            targets: selection.targets.iter().cloned().collect(),
            sample: selection.sample as u64,
            names: selection.names,
            logs: logs.iter().map(entry).collect(),
            missing: std::mem::take(&mut self.missing),
            left_out: told.left_out.to_vec(),
            more_left_out: told.more_left_out,
            recorded: order.recorded,
            files: files
                .map(|(path, digest)| FileEntry::new(path, digest))
                .collect(),
        };
        let mut bytes = serde_json::to_vec_pretty(&manifest)?;
        bytes.push(b'\n');
        self.zip.add(MANIFEST, &bytes)?;
        if let Some(key) = order.key {
            let failed = |e: String| MakeError::Sign(e);
            let name = format!("{}/{SIGNER}", order.name);
            let signer = key.signer(&name).map_err(|e| failed(e.to_string()))?;
            let note = manifest::sign(&bytes, &*signer).map_err(|e| failed(e.to_string()))?;
            self.zip.add(NOTE, note.as_bytes())?;
        }
        Ok(())
    }
}
