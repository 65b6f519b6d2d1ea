//! The zip around a package: written with the hash of everything that goes in, and read as if whoever
//! made it meant harm.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use crate::halt::{FILE, Halt, Steps, Watch};

/// The most files of a package.
pub const MAX_FILES: usize = 500_000;
/// The largest file of a package, decompressed.
pub const MAX_FILE: u64 = 16 << 30;
/// A file that is read into memory is smaller.
pub const MAX_IN_MEMORY: u64 = 64 << 20;
/// The longest name of a file.
const MAX_NAME: usize = 200;
/// The most bytes of a package, decompressed, where nobody says less.
pub const MAX_PACKAGE: u64 = 256 << 30;
const CHUNK: usize = 64 << 10;

#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("reading the package: {0}")]
    Io(#[from] io::Error),
    #[error("it is not a package: {0}")]
    Zip(#[from] zip::result::ZipError),
    #[error("it has {0} files, and a package has at most {MAX_FILES}")]
    TooMany(usize),
    #[error("the zip says two things about the same bytes or the same name")]
    Ambiguous,
    #[error("{0:?} is no name of a file in a package")]
    Name(String),
    #[error("{0} is encrypted, a link, or compressed in another way than packages are")]
    Form(String),
    #[error("{path} is larger than {limit} bytes")]
    TooLarge { path: String, limit: u64 },
    #[error("{0} is missing")]
    Missing(String),
    #[error(transparent)]
    Halt(#[from] Halt),
    #[error(
        "the package would have more than {0} bytes: narrow its window, or leave out names and sample"
    )]
    Full(u64),
}

/// Size and hash of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    pub size: u64,
    pub sha256: [u8; 32],
}

/// Counts and hashes what it is given.
#[derive(Clone)]
pub struct Hasher {
    size: u64,
    hash: Context,
}

impl Default for Hasher {
    fn default() -> Self {
        Self {
            size: 0,
            hash: Context::new(&SHA256),
        }
    }
}

impl Hasher {
    pub fn add(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        self.hash.update(bytes);
    }

    pub fn finish(self) -> Digest {
        let mut sha256 = [0; 32];
        for (to, from) in sha256.iter_mut().zip(self.hash.finish().as_ref()) {
            *to = *from;
        }
        Digest {
            size: self.size,
            sha256,
        }
    }
}

pub fn digest(bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::default();
    hasher.add(bytes);
    hasher.finish()
}

/// Writes a package, one file after the other.
pub struct Writer {
    zip: ZipWriter<BufWriter<File>>,
    files: BTreeMap<String, Digest>,
    most: u64,
    bytes: u64,
    steps: Steps,
}

impl Writer {
    /// With at most so many bytes in all its files.
    pub fn new(file: File, most: u64, watch: Watch) -> Self {
        Self {
            zip: ZipWriter::new(BufWriter::new(file)).set_auto_large_file(),
            files: BTreeMap::new(),
            most,
            bytes: 0,
            steps: Steps::new(watch),
        }
    }

    pub fn add(&mut self, path: &str, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.copy(path, &mut &*bytes)
    }

    pub fn copy(&mut self, path: &str, from: &mut dyn Read) -> Result<(), ArchiveError> {
        if !is_name(path) {
            return Err(ArchiveError::Name(path.to_owned()));
        }
        if self.files.len() >= MAX_FILES {
            return Err(ArchiveError::TooMany(self.files.len() + 1));
        }
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            // The same package is the same bytes.
            .last_modified_time(zip::DateTime::default());
        self.steps.add(FILE)?;
        self.zip.start_file(path, options)?;
        let mut hasher = Hasher::default();
        let mut chunk = vec![0; CHUNK];
        loop {
            let read = from.read(&mut chunk)?;
            let Some(piece) = chunk.get(..read).filter(|piece| !piece.is_empty()) else {
                break;
            };
            self.bytes = self.bytes.saturating_add(piece.len() as u64);
            if self.bytes > self.most {
                return Err(ArchiveError::Full(self.most));
            }
            self.steps.add(piece.len() as u64)?;
            hasher.add(piece);
            self.zip.write_all(piece)?;
        }
        self.files.insert(path.to_owned(), hasher.finish());
        Ok(())
    }

    /// What is in it so far.
    pub fn files(&self) -> &BTreeMap<String, Digest> {
        &self.files
    }

    /// Everything is on the disk then.
    pub fn finish(self) -> Result<(), ArchiveError> {
        let file = self.zip.finish()?;
        let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        Ok(())
    }
}

/// Reads a package.
pub struct Reader {
    zip: ZipArchive<BufReader<File>>,
    /// What the zip says about each file: its number in the zip, and its size.
    files: BTreeMap<String, (usize, u64)>,
    steps: Steps,
}

impl Reader {
    pub fn open(path: &Path, watch: Watch) -> Result<Self, ArchiveError> {
        let mut steps = Steps::new(watch);
        let mut zip = ZipArchive::new(BufReader::new(File::open(path)?))?;
        if zip.len() > MAX_FILES {
            return Err(ArchiveError::TooMany(zip.len()));
        }
        // Other programs may take the other of two files of one name, or begin to read elsewhere.
        let ambiguous = zip.has_duplicate_names()
            || zip.offset() != 0
            || !zip.comment().is_empty()
            || zip.has_overlapping_entries()?;
        if ambiguous {
            return Err(ArchiveError::Ambiguous);
        }
        let mut files = BTreeMap::new();
        let mut places = Vec::with_capacity(zip.len());
        for number in 0..zip.len() {
            steps.add(FILE)?;
            let file = zip.by_index_raw(number)?;
            let name = file.name()?.into_owned();
            if !is_name(&name) {
                return Err(ArchiveError::Name(name));
            }
            let stored = [CompressionMethod::Stored, CompressionMethod::Deflated];
            let plain = stored.contains(&file.compression()) && !file.encrypted();
            if !plain || file.is_dir() || file.is_symlink() {
                return Err(ArchiveError::Form(name));
            }
            let data = file.data_start().ok_or(ArchiveError::Ambiguous)?;
            let end = data.saturating_add(file.compressed_size());
            places.push((file.header_start(), end, name.clone()));
            let size = file.size();
            if size > MAX_FILE {
                let (path, limit) = (name, MAX_FILE);
                return Err(ArchiveError::TooLarge { path, limit });
            }
            if files.insert(name, (number, size)).is_some() {
                return Err(ArchiveError::Ambiguous);
            }
        }
        places.sort();
        let end = zip.central_directory_start();
        // The file that is looked at is the one that is read: what the path names can be another by now.
        let mut opened = zip.into_inner();
        no_room(&mut opened, &places, end)?;
        let zip = ZipArchive::new(opened)?;
        Ok(Self { zip, files, steps })
    }

    pub fn paths(&self) -> impl Iterator<Item = &String> {
        self.files.keys()
    }

    pub fn has(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    /// Hands out a file piece by piece, never more of it than the zip says it has.
    pub fn each(&mut self, path: &str, each: &mut dyn FnMut(&[u8])) -> Result<(), ArchiveError> {
        let missing = || ArchiveError::Missing(path.to_owned());
        let (number, size) = self.files.get(path).copied().ok_or_else(missing)?;
        self.steps.add(FILE)?;
        let mut file = self.zip.by_index(number)?.take(size.saturating_add(1));
        let mut chunk = vec![0; CHUNK];
        let mut total = 0;
        loop {
            let read = file.read(&mut chunk)?;
            let Some(piece) = chunk.get(..read).filter(|piece| !piece.is_empty()) else {
                return Ok(());
            };
            total += read as u64;
            self.steps.add(read as u64)?;
            if total > size {
                let (path, limit) = (path.to_owned(), size);
                return Err(ArchiveError::TooLarge { path, limit });
            }
            each(piece);
        }
    }

    pub fn digest(&mut self, path: &str) -> Result<Digest, ArchiveError> {
        let mut hasher = Hasher::default();
        self.each(path, &mut |piece| hasher.add(piece))?;
        Ok(hasher.finish())
    }

    /// All of a file.
    pub fn read(&mut self, path: &str, limit: u64) -> Result<Vec<u8>, ArchiveError> {
        let limit = limit.min(MAX_IN_MEMORY);
        if self.files.get(path).is_some_and(|(_, size)| *size > limit) {
            let path = path.to_owned();
            return Err(ArchiveError::TooLarge { path, limit });
        }
        let mut out = Vec::new();
        self.each(path, &mut |piece| out.extend_from_slice(piece))?;
        Ok(out)
    }
}

/// Programs that read a zip from its start, and not from its directory, must find the same files: one after
/// the other, under the same names, and nothing between them.
fn no_room(
    zip: &mut (impl Read + Seek),
    places: &[(u64, u64, String)],
    directory: u64,
) -> Result<(), ArchiveError> {
    /// Where a local header has the length of its name, and where the name is.
    const NAME_LENGTH: u64 = 26;
    const NAME: u64 = 30;
    let mut at = 0;
    for (start, end, name) in places {
        let mut length = [0; 2];
        zip.seek(SeekFrom::Start(start.saturating_add(NAME_LENGTH)))?;
        zip.read_exact(&mut length)?;
        let mut local = vec![0; usize::from(u16::from_le_bytes(length))];
        zip.seek(SeekFrom::Start(start.saturating_add(NAME)))?;
        zip.read_exact(&mut local)?;
        if *start != at || local != name.as_bytes() {
            return Err(ArchiveError::Ambiguous);
        }
        at = *end;
    }
    match at == directory {
        true => Ok(()),
        false => Err(ArchiveError::Ambiguous),
    }
}

/// Words of ASCII with slashes between, none of which leads anywhere else.
fn is_name(name: &str) -> bool {
    let word = |part: &str| {
        let fits = |c: u8| c.is_ascii_alphanumeric() || b"._-".contains(&c);
        !part.is_empty() && !part.starts_with('.') && part.bytes().all(fits)
    };
    name.len() <= MAX_NAME && name.split('/').all(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["population.csv", "log/a-b/tile/entries/x001/234.p", "a/000"] {
            assert!(is_name(good), "{good}");
        }
        for bad in [
            "",
            "/etc/passwd",
            "../x",
            "a/../b",
            "a//b",
            "a/",
            "./a",
            ".a",
            "a\\b",
            "C:x",
            "a b",
            "é",
            "a\0",
            "con\n",
        ] {
            assert!(!is_name(bad), "{bad:?}");
        }
        assert!(!is_name(&"a".repeat(201)));
    }
}
