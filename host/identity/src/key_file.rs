//! Files that hold a private key: made once, readable by nobody else.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use aws_lc_rs::rand;
use zeroize::Zeroizing;

use crate::fetch::read_bounded;

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
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(path).map_err(io("read", path))?;
        if mode.permissions().mode() & 0o077 != 0 {
            return Err(KeyFileError::Permissions {
                path: path.to_owned(),
            });
        }
    }
    let bytes = read_bounded(path, max).map_err(io("read", path))?;
    Ok(Zeroizing::new(bytes))
}
