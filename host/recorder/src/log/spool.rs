//! A log in the spool: its leaves, one after the other, and its *edge*, the last checkpoint with what the
//! tree needs to be stored up to there.
//!
//! ```text
//! log/<epoch>/edge              CRC-32C in hex, a line end, and JSON; replaced as a whole
//! log/<epoch>/stored            the size of the newest checkpoint that the store has taken, and the first
//!                               file of leaves that is needed
//! log/<epoch>/<number6>.leaves  65,536 leaves each, as entry bundles have them
//! log/<epoch>/tile_…            full tiles of level 1 and above
//! ```

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use tlog::Tile;
use uuid::Uuid;

use crate::disk::{Disk, DiskFile, durable_dir, write_whole};

/// Leaves of one file: those below one tile of level 1.
pub const CHUNK: u64 = 65_536;
/// Leaves of one entry bundle.
pub const BUNDLE: u64 = 256;
/// Leaves are written together when there are so many bytes of them.
const WRITE_BYTES: usize = 256 << 10;
/// No edge is longer.
const MAX_EDGE: u64 = 1 << 20;
pub const EDGE_VERSION: u32 = 1;

/// The last durable checkpoint of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edge {
    pub v: u32,
    pub origin: String,
    pub epoch: Uuid,
    /// The log before it in this spool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev: Option<Uuid>,
    pub size: u64,
    /// In base64.
    pub root: String,
    /// The write-ahead log's records before this one have their leaves.
    pub next_record: u64,
    /// Its chain before that record.
    pub wal_chain: String,
    /// The time of the last leaf.
    pub ts_ns: u64,
    /// The signed checkpoint.
    pub note: String,
    pub vkey: String,
    /// The open tiles of hashes, by their paths, in base64.
    pub tiles: BTreeMap<String, String>,
}

impl Edge {
    pub fn encode_tiles(tree: &tlog::Tree) -> BTreeMap<String, String> {
        tree.partial()
            .map(|(tile, bytes)| (tile.path(), STANDARD.encode(bytes)))
            .collect()
    }

    /// The open tiles of hashes. None: they are not what an edge has.
    pub fn partial(&self) -> Option<Vec<(Tile, Vec<u8>)>> {
        let decode = |(path, text): (&String, &String)| {
            Some((Tile::parse(path)?, STANDARD.decode(text).ok()?))
        };
        self.tiles.iter().map(decode).collect()
    }

    /// None: it is not what was written.
    fn decode(bytes: &[u8]) -> Option<Self> {
        unsealed(bytes).filter(|e: &Self| e.v == EDGE_VERSION)
    }
}

/// Replaces a whole file, durably: a checksum and JSON.
pub fn replace(disk: &dyn Disk, path: &Path, doc: &impl Serialize) -> io::Result<()> {
    let dir = path.parent().unwrap_or(path);
    let json = serde_json::to_vec(doc)?;
    let crc = crc32c::crc32c(&json);
    let bytes = [format!("{crc:08x}\n").into_bytes(), json].concat();
    write_whole(disk, path, &bytes)?;
    disk.sync_dir(dir)
}

/// What [`replace`] wrote. None: it is not that.
pub fn unsealed<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (crc, json) = bytes.split_at_checked(9)?;
    let right = format!("{:08x}\n", crc32c::crc32c(json));
    match crc == right.as_bytes() {
        true => serde_json::from_slice(json).ok(),
        false => None,
    }
}

/// The logs that are in the spool.
pub struct Found {
    pub edges: Vec<(PathBuf, Edge)>,
    /// Directories whose edge cannot be read.
    pub damaged: Vec<PathBuf>,
}

pub fn dir_of(logs: &Path, epoch: Uuid) -> PathBuf {
    logs.join(epoch.as_hyphenated().to_string())
}

/// Looks for what earlier processes left. A directory without an edge never had a durable checkpoint, so
/// nothing of it was stored, and it goes.
pub fn find(disk: &dyn Disk, logs: &Path) -> io::Result<Found> {
    let mut found = Found {
        edges: Vec::new(),
        damaged: Vec::new(),
    };
    for entry in std::fs::read_dir(logs)? {
        let dir = entry?.path();
        let name = dir.file_name().unwrap_or_default().to_string_lossy();
        let Ok(epoch) = name.parse::<Uuid>() else {
            continue;
        };
        let path = dir.join("edge");
        match std::fs::metadata(&path) {
            Ok(meta) if meta.len() > MAX_EDGE => {
                found.damaged.push(dir);
                continue;
            }
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                std::fs::remove_dir_all(&dir)?;
                continue;
            }
            Err(e) => return Err(e),
        }
        // The last process may not have lived to do so, and from here on it is relied on.
        disk.sync_file(&path)?;
        disk.sync_dir(&dir)?;
        match Edge::decode(&std::fs::read(&path)?).filter(|edge| edge.epoch == epoch) {
            Some(edge) => found.edges.push((dir, edge)),
            None => found.damaged.push(dir),
        }
    }
    found
        .edges
        .sort_by_key(|(_, edge)| (edge.ts_ns, edge.epoch));
    Ok(found)
}

impl Found {
    /// The log that was written last: the one that no other names as the one before it.
    pub fn newest(&self) -> Option<&Edge> {
        let named = |edge: &Edge| self.edges.iter().any(|(_, e)| e.prev == Some(edge.epoch));
        let mut unnamed = self.edges.iter().map(|(_, e)| e).filter(|e| !named(e));
        unnamed.next_back()
    }
}

/// Writes the log of this epoch.
pub struct Writer {
    disk: Arc<dyn Disk>,
    pub dir: PathBuf,
    file: Option<Arc<dyn DiskFile>>,
    buffer: Vec<u8>,
    /// A name is not durable yet.
    named: bool,
    /// What it has written since it was asked last.
    written: u64,
}

impl Writer {
    pub fn create(disk: Arc<dyn Disk>, logs: &Path, epoch: Uuid) -> io::Result<Self> {
        let dir = dir_of(logs, epoch);
        durable_dir(&*disk, &dir)?;
        Ok(Self {
            disk,
            dir,
            file: None,
            buffer: Vec::new(),
            named: false,
            written: 0,
        })
    }

    /// Leaf number `index`.
    pub fn push(&mut self, index: u64, entry: &[u8]) -> io::Result<()> {
        if index.is_multiple_of(CHUNK) {
            self.flush()?;
            if let Some(file) = self.file.take() {
                file.sync()?;
            }
            let path = chunk_path(&self.dir, index / CHUNK);
            self.file = Some(self.disk.create(&path)?);
            self.named = true;
        }
        tlog::push_entry(&mut self.buffer, entry).map_err(io::Error::other)?;
        if self.buffer.len() >= WRITE_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// A full tile of level 1 or above.
    pub fn tile(&mut self, tile: Tile, bytes: &[u8]) -> io::Result<()> {
        let file = self.disk.create(&tile_path(&self.dir, &tile))?;
        file.write_all(bytes)?;
        file.sync()?;
        self.named = true;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if let (Some(file), false) = (&self.file, self.buffer.is_empty()) {
            file.write_all(&self.buffer)?;
            self.written += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Makes all leaves durable, and then the edge.
    pub fn commit(&mut self, edge: &Edge) -> io::Result<()> {
        self.flush()?;
        if let Some(file) = &self.file {
            file.sync()?;
        }
        if std::mem::take(&mut self.named) {
            self.disk.sync_dir(&self.dir)?;
        }
        replace(&*self.disk, &self.dir.join("edge"), edge)
    }

    /// Bytes written since the last call.
    pub fn take_written(&mut self) -> u64 {
        std::mem::take(&mut self.written)
    }
}

fn chunk_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:06}.leaves"))
}

fn tile_path(dir: &Path, tile: &Tile) -> PathBuf {
    dir.join(tile.path().replace('/', "_"))
}

/// Reads the leaves of a log in order, a bundle at a time.
#[derive(Clone)]
pub struct Cursor {
    dir: PathBuf,
    /// The next bundle, and where it begins in its file.
    pub bundle: u64,
    offset: u64,
}

impl Cursor {
    /// From the oldest leaves that are in the spool.
    pub fn open(dir: &Path) -> io::Result<Self> {
        Ok(Self {
            dir: dir.to_path_buf(),
            bundle: read_stored(dir)?.first_file.saturating_mul(CHUNK / BUNDLE),
            offset: 0,
        })
    }

    /// At the beginning of the file that has this bundle.
    pub fn at_file_of(dir: &Path, bundle: u64) -> Self {
        const PER_FILE: u64 = CHUNK / BUNDLE;
        Self {
            dir: dir.to_path_buf(),
            bundle: bundle / PER_FILE * PER_FILE,
            offset: 0,
        }
    }

    /// So many entries of the next bundle; it stays the next one.
    pub fn read(&self, width: u64) -> io::Result<Vec<u8>> {
        let path = chunk_path(&self.dir, self.bundle / (CHUNK / BUNDLE));
        let mut file = std::fs::File::open(path)?;
        file.seek(SeekFrom::Start(self.offset))?;
        let mut file = BufReader::with_capacity(64 << 10, file);
        let mut out = Vec::new();
        for _ in 0..width {
            let mut len = [0; 2];
            file.read_exact(&mut len)?;
            out.extend_from_slice(&len);
            let want = u64::from(u16::from_be_bytes(len));
            let got = file.by_ref().take(want).read_to_end(&mut out)?;
            if got as u64 != want {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(out)
    }

    /// A full bundle of this length was read.
    pub fn advance(&mut self, len: usize) {
        self.bundle += 1;
        self.offset += len as u64;
        if self.bundle.is_multiple_of(CHUNK / BUNDLE) {
            self.offset = 0;
        }
    }
}

/// A full tile of level 1 or above.
pub fn read_tile(dir: &Path, tile: &Tile) -> io::Result<Vec<u8>> {
    std::fs::read(tile_path(dir, tile))
}

/// Moves a damaged log to where somebody may look at it, under a name that is free.
pub fn put_aside(disk: &dyn Disk, dir: &Path, quarantine: &Path) -> io::Result<()> {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    let names = (0..).map(|n| match n {
        0 => format!("log-{name}"),
        n => format!("log-{name}.{n}"),
    });
    let free = names
        .map(|name| quarantine.join(name))
        .find(|to| !to.exists());
    disk.rename(dir, &free.unwrap_or_else(|| quarantine.join("log")))?;
    disk.sync_dir(quarantine)?;
    disk.sync_dir(dir.parent().unwrap_or(quarantine))
}

/// A stored log's files. Its edge first: what is left without one is nothing.
pub fn remove(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    disk.remove(&dir.join("edge"))?;
    disk.sync_dir(dir)?;
    std::fs::remove_dir_all(dir)
}

/// Leaves that the store has for good; gives their bytes.
pub fn remove_chunk(disk: &dyn Disk, dir: &Path, number: u64) -> io::Result<u64> {
    let mut gone = 0;
    let level_1 = Tile {
        kind: tlog::Kind::Level(1),
        index: number,
        width: 256,
    };
    for path in [chunk_path(dir, number), tile_path(dir, &level_1)] {
        // Half of it may have gone before.
        if let Ok(meta) = std::fs::metadata(&path) {
            disk.remove(&path)?;
            gone += meta.len();
        }
    }
    Ok(gone)
}

/// What the store has had of a log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stored {
    /// The size of the newest checkpoint.
    pub size: u64,
    /// Leaves of earlier files are in the store for good.
    pub first_file: u64,
}

fn read_stored(dir: &Path) -> io::Result<Stored> {
    let text = match std::fs::read_to_string(dir.join("stored")) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Stored::default()),
        Err(e) => return Err(e),
    };
    let mut numbers = text.split_whitespace().map(str::parse::<u64>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(size)), Some(Ok(first_file))) => Ok(Stored { size, first_file }),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Notes what is stored; durably, before files of leaves go.
pub fn write_stored(disk: &dyn Disk, dir: &Path, stored: Stored) -> io::Result<()> {
    let Stored { size, first_file } = stored;
    let text = format!("{size} {first_file}\n");
    write_whole(disk, &dir.join("stored"), text.as_bytes())?;
    disk.sync_dir(dir)
}

/// A log of a spool, as a reader sees it while its recorder may run.
pub struct Waiting {
    pub dir: PathBuf,
    pub edge: Edge,
    /// A checkpoint of this size, or a later one, must be stored.
    pub stored: u64,
}

/// The logs of a spool. What cannot be read is not there: it may have gone at this moment.
pub fn waiting(spool: &Path) -> io::Result<Vec<Waiting>> {
    let logs = spool.join("log");
    let mut out = Vec::new();
    let entries = match std::fs::read_dir(&logs) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(out),
        Err(e) => return Err(e),
    };
    for entry in entries {
        let dir = entry?.path();
        // First what is stored: the edge is never behind it.
        let stored = read_stored(&dir).unwrap_or_default().size;
        let edge = std::fs::read(dir.join("edge")).unwrap_or_default();
        if let Some(edge) = Edge::decode(&edge) {
            out.push(Waiting { dir, edge, stored });
        }
    }
    Ok(out)
}

/// The edge of one log. None: it is not there, or is not what was written.
pub fn read_edge(dir: &Path) -> io::Result<Option<Edge>> {
    let mut bytes = Vec::new();
    match std::fs::File::open(dir.join("edge")) {
        Ok(file) => file.take(MAX_EDGE).read_to_end(&mut bytes)?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    Ok(Edge::decode(&bytes))
}

/// Bytes of all files of a log.
pub fn bytes_of(dir: &Path) -> io::Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(dir)? {
        sum += entry?.metadata()?.len();
    }
    Ok(sum)
}
