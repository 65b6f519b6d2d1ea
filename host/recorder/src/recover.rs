//! What a start does with what the last process left: exactly the complete blocks of the log, and
//! the segments that wait in the spool.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::chain::{self, Hash, WAL_GENESIS};
use crate::commit::Item;
use crate::crypt::container;
use crate::crypt::recover::Wrapped;
use crate::doc::{GapDoc, MarkDoc, StreamRefDoc, TruncatedDoc};
use crate::keys::SegmentKey;
use crate::log::sequence::Sequencer;
use crate::options::OpenError;
use crate::pending;
use crate::record::{Kind, NO_STREAM, Record};
use crate::seal::Sealer;
use crate::segment;
use crate::stream::Stream;
use crate::wal::format::{Block, FileHeader, FormatError};
use crate::wal::scan::{self, Scan, Tail};

/// What was found at the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    pub wal_files: u64,
    /// Complete records in them.
    pub records: u64,
    /// Bytes of writes that never finished.
    pub truncated_bytes: u64,
    /// Log files with damage before their end, or with records that cannot be used because of
    /// it; they go to `quarantine/`.
    pub damaged: Vec<PathBuf>,
    /// Sessions that were open; they got an end record.
    pub interrupted: Vec<Uuid>,
    /// Actions that nobody knows the outcome of; they got an outcome record.
    pub unknown_outcomes: u64,
    /// Sealed segments that the store may not have yet.
    pub pending_segments: u64,
    /// What is missing, in words.
    pub gaps: Vec<String>,
}

/// Where the log goes on, and what has to be written first.
pub struct Recovered {
    pub report: RecoveryReport,
    pub next_file: u64,
    pub next_seq: u64,
    pub chain: Hash,
    pub gaps: Vec<GapDoc>,
    pub last_control: Option<StreamRefDoc>,
    pub truncated: Vec<TruncatedDoc>,
}

/// How far the last transparency log has leaves: a place in the write-ahead log, and its chain there.
struct Covered {
    next_record: u64,
    chain: String,
    is_met: bool,
}

impl Covered {
    fn by(log: &Sequencer) -> Self {
        Self {
            next_record: log.skip_before,
            chain: log.prev_chain.clone(),
            is_met: false,
        }
    }

    fn look(&mut self, block: &Block) {
        let after = block.first_seq.saturating_add(u64::from(block.nrec));
        self.meet(after, &block.chain_after);
    }

    fn look_at_header(&mut self, scan: &Scan) {
        if let Some(header) = &scan.header {
            self.meet(header.first_seq, &header.prev_chain);
        }
    }

    fn meet(&mut self, record: u64, chain: &Hash) {
        self.is_met |= record == self.next_record && hex::encode(chain) == self.chain;
    }
}

#[derive(Default)]
struct Marks {
    latest: HashMap<u128, (MarkDoc, Hash, u64)>,
    keys: HashSet<SegmentKey>,
    /// The control stream of the last instance that wrote to this log: by the order of the log, since
    /// clocks can go back.
    control: Option<u128>,
    /// The last control stream with a mark: the same, when the log holds none of its records any
    /// more.
    marked_control: Option<u128>,
}

/// Goes through the log twice: for its marks, then for the records beyond them.
pub fn recover(sealer: &mut Sealer, segments_dir: &Path) -> Result<Recovered, OpenError> {
    let wal_dir = sealer.wal_dir.clone();
    let files =
        scan::files(&wal_dir).map_err(OpenError::io("reading the log directory", &wal_dir))?;
    let mut out = Recovered {
        report: RecoveryReport::default(),
        next_file: files.last().map_or(1, |(n, _)| n + 1),
        next_seq: 0,
        chain: WAL_GENESIS,
        gaps: Vec::new(),
        last_control: None,
        truncated: Vec::new(),
    };
    let mut marks = Marks::default();
    let mut wrapped = Wrapped::default();
    let mut covered = Covered::by(&sealer.log);
    let mut kept = Vec::new();
    let mut expect: Option<(u64, Hash)> = None;
    for (position, (number, path)) in files.iter().enumerate() {
        let last = position + 1 == files.len();
        refuse_newer(path)?;
        let mut unknown = None;
        let scan = scan::scan_file(path, &mut |block| {
            unknown = unknown.take().or_else(|| not_known(block, path));
            covered.look(block);
            marks.learn(block, *number);
            block.records().for_each(|record| wrapped.learn(&record));
        })
        .map_err(OpenError::io("reading the log file", path))?;
        // Before anything is changed: what is left out here is nowhere.
        if let Some(error) = unknown {
            return Err(error);
        }
        covered.look_at_header(&scan);
        out.report.wal_files += 1;
        out.report.records += scan.records;
        if !keep(sealer, &mut out, path, *number, last, &scan)? {
            continue;
        }
        let continues = scan.header.map(|h| (h.file_no, h.prev_chain));
        if expect.is_some() && continues != expect {
            out.gap(
                format!("log file {number} does not continue the one before"),
                Some(path),
            );
        }
        if let Some(chain) = scan.chain {
            out.chain = chain;
            out.next_seq = scan.next_seq;
            expect = Some((number + 1, chain));
        }
        sealer.files.insert(*number, scan.valid_len);
        kept.push((*number, path.clone()));
    }
    sync_what_is_kept(sealer, &kept, segments_dir)?;
    wrapped.read_files(segments_dir)?;
    for what in std::mem::take(&mut wrapped.damaged) {
        out.gap(what, None);
    }
    let oldest = kept.first().map_or(out.next_file, |(n, _)| *n);
    for (id, (mark, chain, file)) in &marks.latest {
        sealer.log.learn(*id, mark.control, mark.session.as_ref());
        if mark.ended {
            sealer.finished.insert(*id);
        } else {
            let key = wrapped.unwrap(sealer, *id)?;
            if mark.encrypted && key.is_none() {
                let what = format!(
                    "the key of {} is lost; its records are not used",
                    mark.stream
                );
                out.gap(what, None);
                continue;
            }
            let stream = Stream {
                key,
                key_written: wrapped.has_file(*id),
                ..Stream::from_mark(Uuid::from_u128(*id), mark.clone(), *chain, *file)
            };
            sealer.streams.insert(*id, stream);
        }
    }
    for id in wrapped
        .starts
        .keys()
        .filter(|id| !marks.latest.contains_key(id))
    {
        if let Some(key) = wrapped.unwrap(sealer, *id)? {
            sealer.ring.put(key);
        }
    }
    wrapped.adopt(sealer);
    if sealer.log.skip_before > 0 && !covered.is_met {
        let what = format!(
            "the last transparency log has leaves of records up to {}, and the write-ahead log is not the \
             one that it has them of, or ends before that",
            sealer.log.skip_before
        );
        sealer.log.skip_before = 0;
        out.gap(what, None);
    }
    let adopted = adopt_pending(
        sealer,
        &mut out,
        (&marks.keys, &wrapped),
        segments_dir,
        oldest,
    )?;
    replay(sealer, &mut out, &kept)?;
    for id in wrapped.known() {
        sealer.ring.take(id);
    }
    // Only now: the records behind the last mark belong to what the next instance vouches for.
    out.last_control = marks.last_control(sealer);
    sealer
        .mark_adopted(adopted)
        .map_err(|e| OpenError::Wal(e.to_string()))?;
    Ok(out)
}

/// What the last process wrote may be in memory only. It counts as found from here on, and the chain
/// goes on from it, so it has to be on the disk.
fn sync_what_is_kept(
    sealer: &Sealer,
    kept: &[(u64, PathBuf)],
    segments_dir: &Path,
) -> Result<(), OpenError> {
    let disk = &sealer.disk;
    if let Some((_, last)) = kept.last() {
        disk.sync_file(last)
            .map_err(OpenError::io("syncing the log file", last))?;
    }
    for dir in [&*sealer.wal_dir, segments_dir] {
        disk.sync_dir(dir)
            .map_err(OpenError::io("syncing the directory", dir))?;
    }
    Ok(())
}

impl Recovered {
    fn cut(&mut self, path: &Path, bytes: u64) {
        tracing::warn!(file = %path.display(), bytes, "cutting off a write that never finished");
        self.report.truncated_bytes += bytes;
        if bytes == 0 {
            return;
        }
        let file = path.file_name().unwrap_or_default();
        self.truncated.push(TruncatedDoc {
            file: file.to_string_lossy().into_owned(),
            bytes,
        });
    }

    pub fn gap(&mut self, what: String, file: Option<&Path>) {
        tracing::error!(%what, "recovery found a gap in the record");
        self.report.gaps.push(what.clone());
        let file = file.and_then(Path::file_name);
        self.gaps.push(GapDoc {
            what,
            file: file.map(|f| f.to_string_lossy().into_owned()),
        });
    }

    /// Gaps that the last process found when it could not write them down any more.
    pub fn late(&mut self, gaps: Vec<GapDoc>) {
        let what = gaps.iter().map(|gap| gap.what.clone());
        self.report.gaps.extend(what);
        self.gaps.extend(gaps);
    }
}

impl Marks {
    fn learn(&mut self, block: &Block, file: u64) {
        for record in block.records() {
            let kind = record.known();
            // These an instance writes to its own control stream only.
            let of_control = matches!(
                kind,
                Some(Kind::ControlStart | Kind::Control | Kind::Sealed | Kind::Erasure)
            );
            if of_control && record.stream != NO_STREAM {
                self.control = Some(record.stream);
            }
            if !matches!(kind, Some(Kind::Sealed | Kind::Carry)) {
                continue;
            }
            let Ok(mark) = serde_json::from_slice::<MarkDoc>(record.payload) else {
                continue;
            };
            let mut chain = [0; 32];
            let id = mark.stream.parse::<Uuid>();
            if let (Ok(id), Ok(())) = (id, hex::decode_to_slice(&mark.chain, &mut chain)) {
                if mark.control {
                    self.marked_control = Some(id.as_u128());
                }
                self.keys
                    .extend(mark.key.as_deref().and_then(SegmentKey::parse));
                // A stream only moves forward: an older state that is written later changes nothing.
                let known = self.latest.get(&id.as_u128());
                if known.is_some_and(|(known, _, _)| known.next_segment > mark.next_segment) {
                    continue;
                }
                self.latest.insert(id.as_u128(), (mark, chain, file));
            }
        }
    }

    /// The last instance's control stream, with all of it that was found.
    fn last_control(&self, sealer: &Sealer) -> Option<StreamRefDoc> {
        let id = self.control.or(self.marked_control)?;
        if let Some(stream) = sealer.streams.get(&id) {
            return Some(StreamRefDoc {
                stream: stream.id.to_string(),
                records: stream.next,
                chain: hex::encode(stream.chain),
            });
        }
        let (mark, _, _) = self.latest.get(&id)?;
        Some(StreamRefDoc {
            stream: mark.stream.clone(),
            records: mark.records,
            chain: mark.chain.clone(),
        })
    }
}

/// A log that a newer Weir wrote is not damaged, so it must not be put aside.
fn refuse_newer(path: &Path) -> Result<(), OpenError> {
    let mut head = [0; crate::wal::format::FILE_HEADER];
    let read =
        std::fs::File::open(path).and_then(|mut f| std::io::Read::read_exact(&mut f, &mut head));
    match (read, FileHeader::decode(&head)) {
        (Ok(()), Err(FormatError::Version(v))) => Err(OpenError::Wal(format!(
            "{} has version {v}, which this Weir does not know; start the Weir that wrote it",
            path.display()
        ))),
        _ => Ok(()),
    }
}

/// A record of a kind that only a newer Weir knows can go into no segment from here: its stream would go on
/// without it.
fn not_known(block: &Block, path: &Path) -> Option<OpenError> {
    let found = block.records().find(|record| kind(record).is_none())?;
    Some(OpenError::Wal(format!(
        "{} holds a record of kind {}, which this Weir does not know (record {} of {}); start the Weir that \
         wrote it",
        path.display(),
        found.kind,
        found.index,
        Uuid::from_u128(found.stream)
    )))
}

/// Deals with the file's end; false when nothing of the file is left.
fn keep(
    sealer: &mut Sealer,
    out: &mut Recovered,
    path: &Path,
    number: u64,
    last: bool,
    scan: &Scan,
) -> Result<bool, OpenError> {
    match &scan.tail {
        Tail::Clean => Ok(true),
        Tail::Torn { bytes, .. } if scan.header.is_none() && last => {
            out.cut(path, *bytes);
            let disk = &sealer.disk;
            disk.remove(path)
                .map_err(OpenError::io("removing the empty log file", path))?;
            // Its number is used again, so that the files stay without a gap.
            out.next_file = number;
            Ok(false)
        }
        Tail::Torn { bytes, .. } if scan.header.is_some() && last => {
            out.cut(path, *bytes);
            let disk = &sealer.disk;
            disk.truncate(path, scan.valid_len)
                .map_err(OpenError::io("truncating the log file", path))?;
            Ok(true)
        }
        Tail::Torn { at, .. } | Tail::Damaged { at, .. } => {
            let what = format!(
                "log file {number} is damaged at byte {at} of {}; its records from there on are not \
                 in any segment",
                scan.len
            );
            out.gap(what, Some(path));
            out.report.damaged.push(path.to_path_buf());
            sealer.damaged.insert(number);
            Ok(true)
        }
    }
}

/// Segments that were sealed before the crash. Those that the log does not know yet move their
/// stream forward; their marks are returned.
fn adopt_pending(
    sealer: &mut Sealer,
    out: &mut Recovered,
    (known, wrapped): (&HashSet<SegmentKey>, &Wrapped),
    dir: &Path,
    oldest: u64,
) -> Result<Vec<MarkDoc>, OpenError> {
    let left = pending::left_behind(dir, &*sealer.disk)
        .map_err(OpenError::io("reading the waiting segments", dir))?;
    let mut marks = Vec::new();
    for pending::Left { key, marked, len } in left {
        sealer.pending.add(key, len, marked);
        if marked || known.contains(&key) {
            let renamed = sealer.pending.marked(&key);
            renamed.map_err(OpenError::io("renaming a segment in", dir))?;
            out.report.pending_segments += 1;
            continue;
        }
        let bytes = match sealer.pending.read(&key) {
            Err(pending::ReadError::Io(e)) => {
                return Err(OpenError::io("reading a waiting segment in", dir)(e));
            }
            other => other.ok(),
        };
        let encrypted = bytes.as_ref().is_some_and(|b| container::is_sealed(b));
        let header = bytes.as_ref().filter(|_| encrypted);
        let header = header.and_then(|b| container::read_header(b).ok());
        // Opening it below shows that nobody has changed this.
        let retention_days = header.and_then(|(header, _)| header.retention_days);
        let mut with = sealer.key_of(key.stream.as_u128());
        // Neither a start nor a mark was found, and the key's file is there.
        if let (true, None) = (encrypted, &with)
            && let Some(unwrapped) = wrapped.unwrap_whole(sealer, key.stream.as_u128())?
        {
            sealer.ring.put(unwrapped);
            with = sealer.key_of(key.stream.as_u128());
        }
        let bytes = match (bytes, with) {
            (Some(bytes), Some(with)) if encrypted => container::open(&with, &bytes).ok(),
            (Some(bytes), _) if !encrypted => Some(bytes.to_vec()),
            _ => None,
        };
        let footer = bytes.and_then(|bytes| {
            let (footer, _) = segment::read_footer(&bytes).ok()?;
            let mut chain = [0; 32];
            hex::decode_to_slice(&footer.chain_out, &mut chain).ok()?;
            Some((footer, chain))
        });
        let Some((footer, chain)) = footer else {
            // The log still has its records, since no mark says otherwise: they are sealed again.
            sealer.pending.quarantine(&key);
            out.gap(
                format!("the waiting segment {key} was damaged and put aside"),
                None,
            );
            continue;
        };
        out.report.pending_segments += 1;
        let started_ns = match sealer.streams.get(&key.stream.as_u128()) {
            Some(stream) => stream.started_ns,
            None => footer.t0_ns,
        };
        let mark = MarkDoc {
            stream: key.stream.to_string(),
            control: key.control,
            started_ns,
            records: footer.first_record + footer.records,
            chain: footer.chain_out,
            next_segment: key.segment + 1,
            open: Vec::new(),
            ended: footer.last,
            key: Some(key.to_string()),
            encrypted,
            session: sealer.log.session(key.stream.as_u128()),
            retention_days,
        };
        sealer.adopt(key, mark.clone(), chain, oldest);
        marks.push(mark);
    }
    Ok(marks)
}

/// Gives the records that are not sealed yet to the sealer.
fn replay(
    sealer: &mut Sealer,
    out: &mut Recovered,
    files: &[(u64, PathBuf)],
) -> Result<(), OpenError> {
    sealer.replaying = true;
    for (number, path) in files {
        let known = sealer.damaged.contains(number);
        let mut failed = None;
        let mut feed = |block: &Block| {
            for (position, record) in (block.first_seq..).zip(block.records()) {
                sealer.log.next_record = position;
                if failed.is_some() {
                    return;
                }
                if let Some(item) = item(&record)
                    && let Err(e) = sealer.apply(*number, &item, record.encoded)
                {
                    failed = Some(e);
                }
            }
        };
        scan::scan_file(path, &mut feed).map_err(OpenError::io("reading the log file", path))?;
        if let Some(error) = failed {
            return Err(OpenError::Wal(error.to_string()));
        }
        if !known && sealer.damaged.contains(number) {
            let what = format!(
                "log file {number} holds records that are in no segment, since others before them \
                 are lost"
            );
            out.gap(what, Some(path));
            out.report.damaged.push(path.clone());
        }
    }
    let settled = sealer.settle();
    settled.map_err(|e| OpenError::Wal(e.to_string()))?;
    sealer.replaying = false;
    sealer.finished.clear();
    sealer.log.begin_new(out.next_seq, &out.chain);
    let streams = &sealer.streams;
    sealer.log.keep(|id| streams.contains_key(&id));
    Ok(())
}

fn kind(record: &Record<'_>) -> Option<Kind> {
    record.known().or_else(|| Some(record.packed()?.kind))
}

fn item(record: &Record<'_>) -> Option<Item> {
    Some(Item {
        kind: kind(record)?,
        ts_ns: record.ts_ns,
        stream: record.stream,
        index: record.index,
        seq: record.action().map(|(seq, _)| seq),
        leaf: chain::leaf(record.encoded),
        encoded: 0..0,
    })
}
