//! Files that hold a private key: made once, readable by nobody else.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use aws_lc_rs::rand;
use zeroize::Zeroizing;

#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    #[error("cannot {what} {path}")]
    Io {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("{path} is readable by others; run: chmod 600 {path}")]
    Permissions { path: PathBuf },
    #[error("{path} belongs to the user {owner}, who could change it; run: chown {us} {path}")]
    Owner { path: PathBuf, owner: u32, us: u32 },
}

impl KeyFileError {
    fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}

/// Writes a new key unless there is one. Of two processes that do this at once, one wins, and both use its key.
pub(crate) fn create(directory: &Path, name: &str, key: &[u8]) -> Result<PathBuf, KeyFileError> {
    let path = directory.join(name);
    if path.exists() {
        return Ok(path);
    }
    let io = KeyFileError::io;
    fs::create_dir_all(directory).map_err(io("create the directory", directory))?;
    let mut unique = [0_u8; 8];
    let random = rand::fill(&mut unique).map_err(io::Error::other);
    random.map_err(io("find a name for a draft of", &path))?;
    let draft = directory.join(format!(".{name}.{}", hex::encode(unique)));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&draft).and_then(|mut file| {
        file.write_all(key)?;
        file.sync_all()
    });
    // A link appears whole or not at all, and never replaces another process's key.
    let placed = written.and_then(|()| match fs::hard_link(&draft, &path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    });
    let removed = fs::remove_file(&draft);
    placed.map_err(io("write", &path))?;
    removed.map_err(io("remove", &draft))?;
    Ok(path)
}

/// Reads a key that nobody else can read.
pub(crate) fn read(path: &Path, max: u64) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let io = KeyFileError::io;
    let file = File::open(path).map_err(io("read", path))?;
    // Of the file that is open: by its name, another one could be read than the one that was looked at.
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let metadata = file.metadata().map_err(io("read", path))?;
        if metadata.mode() & 0o077 != 0 {
            return Err(KeyFileError::Permissions {
                path: path.to_owned(),
            });
        }
        if let Some(us) = effective_user() {
            check_owner(path, metadata.uid(), us)?;
        }
    }
    let mut bytes = Zeroizing::new(Vec::new());
    let read = file.take(max.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(io("read", path))?;
    if bytes.len() as u64 > max {
        let error = io::Error::other(format!("larger than {max} bytes"));
        return Err(io("read", path)(error));
    }
    Ok(bytes)
}

/// Who has a file can give it other modes and another content. Root can anyway.
#[cfg(unix)]
fn check_owner(path: &Path, owner: u32, us: u32) -> Result<(), KeyFileError> {
    if owner == us || owner == 0 {
        return Ok(());
    }
    let path = path.to_owned();
    Err(KeyFileError::Owner { path, owner, us })
}

/// The user that this process acts as; none where the system does not say so in this file (it is Linux's).
#[cfg(unix)]
fn effective_user() -> Option<u32> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    // Real, effective, saved, of the file system.
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_ours_or_roots() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let path = create(dir.path(), "key", b"secret").unwrap();
        assert_eq!(read(&path, 6).unwrap().as_slice(), b"secret");
        assert!(read(&path, 5).is_err());
        let us = effective_user().unwrap();
        assert_eq!(us, fs::metadata(&path).unwrap().uid());
        for (owner, us, good) in [(7, 7, true), (0, 7, true), (8, 7, false), (8, 0, false)] {
            assert_eq!(check_owner(&path, owner, us).is_ok(), good, "{owner} {us}");
        }
        // Where the test may, with a file that is somebody else's.
        if us == 0 {
            std::os::unix::fs::chown(&path, Some(12_345), None).unwrap();
            assert!(matches!(read(&path, 6), Err(KeyFileError::Owner { .. })));
        }
    }
}
