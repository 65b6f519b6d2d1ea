//! The authority's keys as files.

use std::path::{Path, PathBuf};

use ssh_keys::{MAX_PRIVATE_BYTES, PrivateKey};

use super::SshAuthorityError;
use crate::key_file;

/// Gets a key: from the file that is named, or else from the directory.
pub(super) type Get = fn(&Path, &str, Option<&Path>) -> Result<PrivateKey, SshAuthorityError>;

/// A key that is lost is not made anew beside those that are left: hosts and clients would not know it, and
/// nobody would be told why.
pub(super) fn all_or_none(
    directory: &Path,
    keys: &[(&str, Option<&Path>)],
) -> Result<(), SshAuthorityError> {
    let own = keys.iter().filter(|(_, file)| file.is_none());
    let paths = own.map(|(name, _)| directory.join(name));
    let (there, missing): (Vec<_>, Vec<_>) = paths.partition(|path| path.exists());
    match (there.into_iter().next(), missing.into_iter().next()) {
        (Some(there), Some(missing)) => Err(SshAuthorityError::Missing { missing, there }),
        _ => Ok(()),
    }
}

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
