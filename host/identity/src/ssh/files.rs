//! The authority's keys as files.

use std::path::{Path, PathBuf};

use ssh_keys::{MAX_PRIVATE_BYTES, PrivateKey};

use super::SshAuthorityError;
use crate::key_file;

/// Gets a key: from the file that is named, or else from the directory.
pub(super) type Get = fn(&Path, &str, Option<&Path>) -> Result<PrivateKey, SshAuthorityError>;

pub(super) fn open(
    directory: &Path,
    name: &str,
    file: Option<&Path>,
) -> Result<PrivateKey, SshAuthorityError> {
    match file {
        Some(file) => read(file.to_owned()),
        None if directory.join(name).exists() => read(directory.join(name)),
        None => {
            let key = made()?;
            let text = key.to_openssh(&format!("weir {name}"));
            read(key_file::create(directory, name, text.as_bytes())?)
        }
    }
}

pub(super) fn check(
    directory: &Path,
    name: &str,
    file: Option<&Path>,
) -> Result<PrivateKey, SshAuthorityError> {
    match file {
        Some(file) => read(file.to_owned()),
        None if directory.join(name).exists() => read(directory.join(name)),
        None => made(),
    }
}

fn made() -> Result<PrivateKey, SshAuthorityError> {
    PrivateKey::generate_ed25519().map_err(SshAuthorityError::Make)
}

fn read(path: PathBuf) -> Result<PrivateKey, SshAuthorityError> {
    let max = u64::try_from(MAX_PRIVATE_BYTES).unwrap_or(u64::MAX);
    let text = key_file::read(&path, max)?;
    PrivateKey::from_openssh(&text).map_err(|source| SshAuthorityError::Key { path, source })
}
