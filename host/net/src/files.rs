//! Bounded reading of PEM files.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// A certificate chain, a key or a CA bundle is refused above this. The bundle of a Linux
/// distribution is a quarter of it.
pub const MAX_PEM_BYTES: u64 = 1024 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("cannot read {path}")]
    Read { path: String, source: io::Error },
    #[error("{path} is larger than {max} bytes, which no PEM file here should be")]
    TooLarge { path: String, max: u64 },
}

/// The whole of a file, if it is not larger than [`MAX_PEM_BYTES`].
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let failed = |source| FileError::Read {
        path: path.display().to_string(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(MAX_PEM_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > MAX_PEM_BYTES {
        return Err(FileError::TooLarge {
            path: path.display().to_string(),
            max: MAX_PEM_BYTES,
        });
    }
    Ok(bytes)
}
