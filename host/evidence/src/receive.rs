//! A package that comes from elsewhere: it has its name only once it is verified.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use recorder::TrustedKey;
use tempfile::NamedTempFile;

use crate::check::{CheckError, PackageReport, check_package};
use crate::make::{beside, named, unfinished};

#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    #[error("{path}: {source}")]
    Output { path: PathBuf, source: io::Error },
    #[error("writing the package: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Check(#[from] CheckError),
    #[error("the package that came does not verify, and is not kept: {0}")]
    Wrong(String),
    #[error("the package that came is another than the one on record, {0}, and is not kept")]
    Other(String),
}

/// A package on its way. Dropped, nothing is left of it.
pub struct Receiving {
    file: NamedTempFile,
    out: PathBuf,
}

impl Receiving {
    /// Nothing may have this name yet.
    pub fn new(out: &Path) -> Result<Self, ReceiveError> {
        if out.try_exists()? {
            let source = io::ErrorKind::AlreadyExists.into();
            return Err(failed(out)(source));
        }
        Ok(Self {
            file: unfinished(beside(out)).map_err(failed(out))?,
            out: out.to_path_buf(),
        })
    }

    pub fn write(&mut self, piece: &[u8]) -> Result<(), ReceiveError> {
        Ok(self.file.write_all(piece)?)
    }

    /// All of it is here: it is kept if it verifies, and if its manifest has this hash, and says that its
    /// making is on record.
    pub fn finish(
        self,
        digest: &str,
        trusted: &[TrustedKey],
    ) -> Result<PackageReport, ReceiveError> {
        self.file.as_file().sync_all()?;
        let report = check_package(self.file.path(), trusted)?;
        if let Some(wrong) = report.failures().next() {
            return Err(ReceiveError::Wrong(wrong.to_string()));
        }
        if report.digest != digest || !report.manifest.recorded {
            return Err(ReceiveError::Other(digest.to_owned()));
        }
        named(self.file, &self.out).map_err(failed(&self.out))?;
        Ok(report)
    }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> ReceiveError {
    move |source| ReceiveError::Output {
        path: path.to_path_buf(),
        source,
    }
}
