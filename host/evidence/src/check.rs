//! Verifies a package, with nothing but the package and public keys.
//!
//! Every file is what the signed manifest says. The entry bundles of each log lead to the root that the
//! log has signed, from before the window to after it. Everything that is derived from leaves is derived
//! again and must be the same bytes. The records of the sample are what their leaves say.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use recorder::{Severity, TrustedKey};
use tlog::{Ed25519Verifier, TILE_WIDTH, TileMap, Verifier};
use uuid::Uuid;

use crate::archive::{ArchiveError, Digest, Hasher, Reader, digest};
use crate::derive::{Counts, DeriveError, Derived, Deriver, Sink, Told};
use crate::fetch::{MAX_LEAVES, tiles};
use crate::finding::Finding;
use crate::halt::{Watch, unwatched};
use crate::leaf::Leaf;
use crate::left::{LeftOut, MAX_LEFT_OUT};
use crate::logs::{Clock, LogFacts, id_of};
use crate::manifest::{self, FORMAT, LogEntry, MANIFEST, MAX_MANIFEST, Manifest, NOTE, SIGNER};
use crate::prove;
use crate::select::{MAX_SAMPLE, Selection, Window};

/// The longest checkpoint, key or proof.
pub const MAX_SMALL: u64 = 2_000_000;
/// 256 entries with their lengths.
const MAX_BUNDLE: u64 = 256 * (65_535 + 2);
/// The most logs of a package.
const MAX_LOGS: usize = 10_000;

#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error("{MANIFEST} is not the manifest of a package: {0}")]
    Manifest(String),
    #[error(
        "it is a package of the format {0:?}, and this Weir knows {FORMAT:?}; verify it with the Weir \
         that made it: {1}"
    )]
    Format(String, String),
    #[error(transparent)]
    Derive(#[from] DeriveError),
}

/// What was found.
#[derive(Debug)]
pub struct PackageReport {
    pub manifest: Manifest,
    /// SHA-256 of the manifest's file: what a leaf about the package names.
    pub digest: String,
    /// The key that signed the manifest, under the name of its logs.
    pub signer: Option<String>,
    /// The keys that signed the logs, in the same way.
    pub log_signers: BTreeSet<String>,
    pub counts: Counts,
    /// Leaves whose records and proofs are there.
    pub proven: u64,
    pub findings: Vec<Finding>,
}

impl PackageReport {
    pub fn failures(&self) -> impl Iterator<Item = &Finding> {
        let failure = |f: &&Finding| f.severity() == Severity::Failure;
        self.findings.iter().filter(failure)
    }

    pub fn severity(&self) -> Severity {
        let all = self.findings.iter().map(Finding::severity);
        all.max().unwrap_or(Severity::Note)
    }
}

/// Hashes what is derived, and counts its lines.
#[derive(Default)]
struct Hashes {
    files: BTreeMap<&'static str, (Hasher, u64)>,
}

impl Sink for Hashes {
    fn write(&mut self, path: &'static str, bytes: &[u8]) -> io::Result<()> {
        let (hasher, lines) = self.files.entry(path).or_default();
        hasher.add(bytes);
        *lines += lines_of(bytes);
        Ok(())
    }
}

fn lines_of(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// Verifies the package in this file. With keys, only what these have signed is believed; without any,
/// the report says which keys did.
pub fn check_package(path: &Path, trusted: &[TrustedKey]) -> Result<PackageReport, CheckError> {
    check_watched(path, trusted, &unwatched())
}

/// The same, as long as it may go on.
pub fn check_watched(
    path: &Path,
    trusted: &[TrustedKey],
    watch: &Watch,
) -> Result<PackageReport, CheckError> {
    let mut reader = Reader::open(path, watch.clone())?;
    let bytes = reader.read(MANIFEST, MAX_MANIFEST)?;
    let manifest = parse(&bytes)?;
    let selection = selection(&manifest)?;
    let mut check = Check {
        reader,
        trusted,
        findings: Vec::new(),
        expected: BTreeSet::new(),
        signers: BTreeSet::new(),
        notes: BTreeMap::new(),
    };
    check.files(&manifest)?;
    let facts = check.heads(&manifest);
    let mut hashes = Hashes::default();
    let mut deriver = Deriver::new(&selection, &mut hashes)?;
    let mut logs = Vec::new();
    for log in facts {
        logs.push(check.log(log, selection.window, &mut deriver)?);
    }
    check.chains(&logs, &manifest, selection.window);
    let told = Told {
        left_out: &manifest.left_out,
        more_left_out: manifest.more_left_out,
        recorded: manifest.recorded,
    };
    let derived = deriver.finish(&logs, &told)?;
    check.derived(&manifest, hashes)?;
    let proven = check.items(&derived, &logs);
    check.policies(&derived);
    check.strangers(&manifest);
    check.said(&manifest, &derived, &logs);
    let signer = check.signature(&bytes)?;
    // What could not be read because of it is no finding.
    watch().map_err(ArchiveError::Halt)?;
    Ok(PackageReport {
        manifest,
        digest: hex::encode(digest(&bytes).sha256),
        signer,
        log_signers: check.signers,
        counts: derived.counts,
        proven,
        findings: check.findings,
    })
}

fn parse(bytes: &[u8]) -> Result<Manifest, CheckError> {
    #[derive(serde::Deserialize)]
    struct Of {
        format: String,
        #[serde(default)]
        software: String,
    }
    let wrong = |e: serde_json::Error| CheckError::Manifest(e.to_string());
    let of: Of = serde_json::from_slice(bytes).map_err(wrong)?;
    if of.format != FORMAT {
        return Err(CheckError::Format(of.format, of.software));
    }
    serde_json::from_slice(bytes).map_err(wrong)
}

fn selection(manifest: &Manifest) -> Result<Selection, CheckError> {
    let wrong = |what: &str| CheckError::Manifest(what.to_owned());
    let time =
        |text: &str| recorder::parse_timestamp(text).ok_or_else(|| wrong("a time of the window"));
    let window = Window::new(time(&manifest.from)?, time(&manifest.to)?);
    let sample = usize::try_from(manifest.sample)
        .ok()
        .filter(|n| *n <= MAX_SAMPLE);
    if window.from_ns >= window.to_ns || manifest.logs.is_empty() || manifest.logs.len() > MAX_LOGS
    {
        return Err(wrong("its window or its logs"));
    }
    let in_order = |pair: &[LogEntry]| matches!(pair, [a, b] if a.id < b.id);
    if !manifest.logs.windows(2).all(in_order) {
        return Err(wrong("the order of its logs"));
    }
    let logs = &manifest.logs;
    let has = |out: &LeftOut| logs.binary_search_by_key(&out.log, |log| log.id).is_ok();
    if manifest.left_out.len() > MAX_LEFT_OUT || manifest.left_out.iter().any(has) {
        return Err(wrong("the logs that it leaves out"));
    }
    Ok(Selection {
        window,
        targets: manifest.targets.iter().cloned().collect(),
        sample: sample.ok_or_else(|| wrong("the size of its sample"))?,
        names: manifest.names,
    })
}

pub struct Check<'a> {
    pub reader: Reader,
    pub trusted: &'a [TrustedKey],
    findings: Vec<Finding>,
    /// Files that a package of this manifest has.
    expected: BTreeSet<String>,
    pub signers: BTreeSet<String>,
    pub notes: BTreeMap<Uuid, Vec<u8>>,
}

impl Check<'_> {
    pub fn wrong(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// Each file against the manifest.
    fn files(&mut self, manifest: &Manifest) -> Result<(), CheckError> {
        let mut named = BTreeSet::from([MANIFEST, NOTE]);
        for file in &manifest.files {
            if !named.insert(&file.path) {
                return Err(CheckError::Manifest(format!(
                    "it names {} twice",
                    file.path
                )));
            }
            if !self.reader.has(&file.path) {
                self.wrong(Finding::Missing(file.path.clone()));
                continue;
            }
            match self.reader.digest(&file.path) {
                Ok(digest) if file.is(&digest) => {}
                // What cannot be decompressed is as good as changed.
                Ok(_) | Err(ArchiveError::Io(_) | ArchiveError::Zip(_)) => {
                    self.wrong(Finding::Changed(file.path.clone()));
                }
                Err(error) => return Err(error.into()),
            }
        }
        let unnamed: Vec<String> = self
            .reader
            .paths()
            .filter(|path| !named.contains(path.as_str()))
            .cloned()
            .collect();
        self.findings
            .extend(unnamed.into_iter().map(Finding::Unnamed));
        Ok(())
    }

    /// A file that the package must have; what is wrong with it is a finding.
    pub fn read(&mut self, path: &str, limit: u64) -> Option<Vec<u8>> {
        self.expected.insert(path.to_owned());
        match self.reader.read(path, limit) {
            Ok(bytes) => Some(bytes),
            Err(ArchiveError::Missing(path)) => {
                // A file that the manifest names is told of already.
                let missing = Finding::Missing(path);
                if !self.findings.contains(&missing) {
                    self.wrong(missing);
                }
                None
            }
            Err(error) => {
                let (path, why) = (path.to_owned(), error.to_string());
                self.wrong(Finding::Item { path, why });
                None
            }
        }
    }

    /// The signed checkpoints.
    fn heads(&mut self, manifest: &Manifest) -> Vec<LogFacts> {
        let mut out = Vec::new();
        for entry in &manifest.logs {
            let dir = format!("log/{}", entry.id);
            let vkey_path = format!("{dir}/vkey");
            let vkey = match self.reader.has(&vkey_path) {
                true => self.read(&vkey_path, MAX_SMALL),
                false => None,
            };
            let Some(note) = self.read(&format!("{dir}/checkpoint"), MAX_SMALL) else {
                continue;
            };
            match self.head(entry, &note, vkey.as_deref().unwrap_or_default()) {
                Ok(facts) => {
                    self.notes.insert(entry.id, note);
                    out.push(facts);
                }
                Err(why) => self.wrong(Finding::Log { log: entry.id, why }),
            }
        }
        out
    }

    fn head(&mut self, entry: &LogEntry, note: &[u8], vkey: &[u8]) -> Result<LogFacts, String> {
        let of = id_of(&entry.origin).filter(|(_, id)| *id == entry.id);
        let (name, _) = of.ok_or_else(|| format!("its origin is {:?}", entry.origin))?;
        let verifiers: Vec<Ed25519Verifier> = match self.trusted {
            [] => {
                let text = String::from_utf8_lossy(vkey);
                let key = Ed25519Verifier::parse(text.trim_ascii());
                vec![key.map_err(|e| format!("the key beside it: {e}"))?]
            }
            trusted => {
                let of_name = trusted.iter().filter(|key| key.name() == name);
                let id = entry.id.as_hyphenated().to_string();
                of_name.filter_map(|key| key.verifier(&id).ok()).collect()
            }
        };
        let opens = |v: &&Ed25519Verifier| {
            let verifiers: [&dyn Verifier; 1] = [*v];
            tlog::open_checkpoint(note, &entry.origin, &verifiers, &[]).ok()
        };
        let opened = verifiers.iter().find_map(|v| Some((v, opens(&v)?)));
        let (verifier, opened) = opened.ok_or("its checkpoint has no signature that counts")?;
        if let Ok(key) = Ed25519Verifier::new(name, *verifier.public_key()) {
            self.signers.insert(key.vkey());
        }
        if !vkey.is_empty() && *vkey != *format!("{}\n", verifier.vkey()).as_bytes() {
            return Err("the key beside it is not the one that signed".into());
        }
        let checkpoint = opened.checkpoint;
        let same = checkpoint.size == entry.size && STANDARD.encode(checkpoint.root) == entry.root;
        if !same {
            return Err("its checkpoint is another than that of the manifest".into());
        }
        let in_range = entry.first <= entry.end && entry.end <= entry.size;
        if !in_range || entry.size == 0 || entry.size > MAX_LEAVES {
            return Err("the range of its leaves".into());
        }
        // Nothing is made of leaves that cannot be here.
        let bundles = (entry.end - entry.first) / u64::from(TILE_WIDTH);
        if bundles > self.reader.paths().count() as u64 {
            return Err("it has more leaves than the package has files for".into());
        }
        Ok(LogFacts {
            id: entry.id,
            origin: entry.origin.clone(),
            size: entry.size,
            root: checkpoint.root,
            first: entry.first,
            end: entry.end,
            prev: None,
            stopped: false,
            last_time: None,
        })
    }

    /// The log's bundles against its root, and their leaves against the window.
    fn log(
        &mut self,
        mut facts: LogFacts,
        window: Window,
        deriver: &mut Deriver<'_, Hashes>,
    ) -> Result<LogFacts, CheckError> {
        let id = facts.id;
        let bundles = facts.bundles();
        let wanted = match tiles(&facts, &bundles) {
            Ok(wanted) => wanted,
            Err(error) => {
                let why = error.to_string();
                self.wrong(Finding::Log { log: id, why });
                return Ok(facts);
            }
        };
        let mut map = TileMap::new();
        for tile in wanted {
            if let Some(bytes) = self.read(&format!("log/{id}/{}", tile.path()), MAX_SMALL) {
                map.insert(tile, bytes);
            }
        }
        let mut clock = Clock::default();
        for bundle in bundles {
            let path = format!("log/{id}/{}", bundle.path());
            let Some(bytes) = self.read(&path, MAX_BUNDLE) else {
                continue;
            };
            let entries: Vec<&[u8]> = match tlog::bundle_of(bundle.width, &bytes) {
                Ok(entries) => entries,
                Err(error) => {
                    let why = error.to_string();
                    self.wrong(Finding::Item { path, why });
                    continue;
                }
            };
            if let Err(error) = prove::bundle(&facts, bundle, &entries, &mut map) {
                let why = format!("{} is not what was signed: {error}", bundle.path());
                self.wrong(Finding::Log { log: id, why });
                continue;
            }
            for (index, entry) in (bundle.index * u64::from(TILE_WIDTH)..).zip(entries) {
                if facts.has(index) {
                    self.leaf(&mut facts, index, entry, window, &mut clock, deriver)?;
                }
            }
        }
        Ok(facts)
    }

    fn leaf(
        &mut self,
        facts: &mut LogFacts,
        index: u64,
        entry: &[u8],
        window: Window,
        clock: &mut Clock,
        deriver: &mut Deriver<'_, Hashes>,
    ) -> Result<(), CheckError> {
        let log = facts.id;
        let parsed = Leaf::parse(entry);
        let time = parsed
            .as_ref()
            .map_err(Clone::clone)
            .and_then(|leaf| clock.tick(leaf));
        let (leaf, time) = match (parsed, time) {
            (Ok(leaf), Ok(Some(time))) => (leaf, time),
            (Ok(_), Ok(None)) => {
                let why = "it is earlier than the leaf before it".to_owned();
                let leaf = index;
                self.wrong(Finding::Leaf { log, leaf, why });
                return Ok(());
            }
            (Err(error), _) | (_, Err(error)) => {
                let (leaf, why) = (index, error.to_string());
                self.wrong(Finding::Leaf { log, leaf, why });
                return Ok(());
            }
        };
        facts.see(index, &leaf);
        let selected = (facts.first..facts.end).contains(&index);
        // Not only outside of the window, but on its side of it: what is left out between would be of it.
        let belongs = match index {
            _ if selected => window.holds(time),
            before if before < facts.first => time < window.from_ns,
            _ => time >= window.to_ns,
        };
        if !belongs {
            let why = match selected {
                true => "it is not of the window",
                false => {
                    "it, or what is left out beside it, is of the window, and not among its leaves"
                }
            };
            let (leaf, why) = (index, why.to_owned());
            self.wrong(Finding::Leaf { log, leaf, why });
            return Ok(());
        }
        if selected {
            deriver.leaf(log, index, entry, &leaf)?;
        }
        Ok(())
    }

    fn chains(&mut self, logs: &[LogFacts], manifest: &Manifest, window: Window) {
        let left_out = manifest.left_out.iter().map(|out| out.log).collect();
        for log in logs {
            if let Some(why) = log.wrong_beginning(logs, &left_out, window) {
                self.wrong(Finding::Log { log: log.id, why });
            }
        }
    }

    /// What was derived again against what is there.
    fn derived(&mut self, manifest: &Manifest, hashes: Hashes) -> Result<(), CheckError> {
        for (path, (hasher, lines)) in hashes.files {
            self.expected.insert(path.to_owned());
            let digest = hasher.finish();
            self.same(manifest, path, &digest, Some(lines))?;
        }
        Ok(())
    }

    fn same(
        &mut self,
        manifest: &Manifest,
        path: &str,
        digest: &Digest,
        lines: Option<u64>,
    ) -> Result<(), CheckError> {
        let Some(entry) = manifest.files.iter().find(|file| file.path == path) else {
            self.wrong(Finding::Missing(path.to_owned()));
            return Ok(());
        };
        if entry.is(digest) {
            return Ok(());
        }
        let how = match (lines, self.reader.has(path)) {
            (Some(lines), true) => {
                let mut found = 0;
                self.reader
                    .each(path, &mut |piece| found += lines_of(piece))?;
                format!(": it has {found} lines, and they make {lines}")
            }
            _ => String::new(),
        };
        let path = path.to_owned();
        self.wrong(Finding::Derived { path, how });
        Ok(())
    }

    fn strangers(&mut self, manifest: &Manifest) {
        let files = manifest.files.iter().map(|file| &file.path);
        let strange: Vec<String> = files
            .filter(|path| !self.expected.contains(*path))
            .cloned()
            .collect();
        self.findings
            .extend(strange.into_iter().map(Finding::Stranger));
    }

    /// What is not wrong with the package, but has to be known.
    fn said(&mut self, manifest: &Manifest, derived: &Derived, logs: &[LogFacts]) {
        if manifest.recorded && !self.reader.has(NOTE) {
            let (path, why) = (
                MANIFEST.to_owned(),
                "it says that its making is on record, and what is on record is signed".to_owned(),
            );
            self.wrong(Finding::Item { path, why });
        }
        for gap in &derived.gaps {
            self.findings.push(Finding::Gap {
                log: gap.log,
                leaf: gap.leaf,
                time: gap.time.clone(),
                what: gap.what.clone(),
            });
        }
        for LeftOut { log, signed, why } in manifest.left_out.iter().cloned() {
            self.findings.push(Finding::LeftOut { log, signed, why });
        }
        if manifest.more_left_out > 0 {
            let text = format!("{} more logs are left out", manifest.more_left_out);
            self.findings.push(Finding::Said(text));
        }
        let missing = manifest.missing.iter().cloned().map(Finding::Said);
        self.findings.extend(missing);
        for span in logs.iter().map(|log| log.span(logs)).filter(|s| s.open) {
            let (log, why) = (span.log, span.ends);
            self.findings.push(Finding::Open { log, why });
        }
    }

    /// Those that are believed, each once; for want of any, those that signed the logs.
    pub fn keys(&self) -> Vec<TrustedKey> {
        if self.trusted.is_empty() {
            return self
                .signers
                .iter()
                .filter_map(|key| key.parse().ok())
                .collect();
        }
        let mut keys: Vec<TrustedKey> = Vec::new();
        for key in self.trusted {
            // A configuration and a person can name the same one.
            if !keys.contains(key) {
                keys.push(key.clone());
            }
        }
        keys
    }

    fn signature(&mut self, manifest: &[u8]) -> Result<Option<String>, CheckError> {
        if !self.reader.has(NOTE) {
            let wanted = !self.trusted.is_empty();
            self.wrong(Finding::Unsigned { wanted });
            return Ok(None);
        }
        let note = self.reader.read(NOTE, MAX_SMALL)?;
        let keys = self.keys();
        let verifiers: Vec<Ed25519Verifier> = keys
            .iter()
            .filter_map(|key| key.verifier(SIGNER).ok())
            .collect();
        let all: Vec<&dyn Verifier> = verifiers.iter().map(|v| v as &dyn Verifier).collect();
        match manifest::check(manifest, &note, &all) {
            Ok(by) => {
                let key = keys.get(by).map(TrustedKey::vkey);
                Ok(key)
            }
            Err(error) => {
                self.wrong(Finding::Signature(error.to_string()));
                Ok(None)
            }
        }
    }
}
