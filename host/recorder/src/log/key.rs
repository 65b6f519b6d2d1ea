//! The keys of the transparency log: what signs its checkpoints, and what gives principals their
//! pseudonyms. By default both are files that are made at the first start.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{self, RealDisk};
use crate::log::check::TrustedKey;
use crate::log::subject::Subjects;
use crate::log::witness::WitnessOptions;

/// Signs the checkpoints of every log of this instance, about one a second. A key in a file is one; what
/// stands in for it must answer at once, since nothing is sealed meanwhile, and an error ends the
/// recorder.
pub trait LogKey: Send + Sync {
    /// What signs for the log of this name.
    fn signer(&self, origin: &str) -> Result<Box<dyn tlog::Signer>, KeyError>;
    /// The key to check it with, in the form of C2SP signed-note.
    fn vkey(&self, origin: &str) -> Result<String, KeyError>;
}

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("the key file {path}: {source}")]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("the key file {path} must hold 64 hexadecimal digits and nothing else")]
    Form { path: PathBuf },
    #[error("the key file {path} can be read by others; run: chmod 600 {path}")]
    Open { path: PathBuf },
    #[error("the machine gives no random numbers")]
    Random,
    #[error("verification knows no keys of the kind of {0}")]
    Kind(String),
    #[error("the log's name: {0}")]
    Name(String),
}

/// An Ed25519 key.
pub struct SeedKey([u8; 32]);

impl SeedKey {
    pub fn new(seed: [u8; 32]) -> Self {
        Self(seed)
    }

    fn ed25519(&self, origin: &str) -> Result<tlog::Ed25519Signer, KeyError> {
        tlog::Ed25519Signer::from_seed(origin, &self.0).map_err(|e| KeyError::Name(e.to_string()))
    }
}

impl LogKey for SeedKey {
    fn signer(&self, origin: &str) -> Result<Box<dyn tlog::Signer>, KeyError> {
        Ok(Box::new(self.ed25519(origin)?))
    }

    fn vkey(&self, origin: &str) -> Result<String, KeyError> {
        Ok(self.ed25519(origin)?.vkey())
    }
}

/// What the transparency log is told.
#[derive(Clone)]
pub struct LogOptions {
    /// What the names of this Weir's logs begin with; a URL without its scheme is customary.
    pub name: String,
    /// What signs checkpoints; none: a key in `log.key` of `key_dir`.
    pub key: Option<Arc<dyn LogKey>>,
    /// Where key files are, and are made.
    pub key_dir: PathBuf,
    /// Who is asked to sign the checkpoints of the registry of logs.
    pub witnesses: Vec<WitnessOptions>,
}

impl std::fmt::Debug for LogOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogOptions")
            .field("name", &self.name)
            .field("key_dir", &self.key_dir)
            .field("witnesses", &self.witnesses)
            .finish_non_exhaustive()
    }
}

/// The keys, ready for use.
pub struct Keys {
    pub name: String,
    pub log: Arc<dyn LogKey>,
    pub subjects: Arc<Subjects>,
}

impl Keys {
    pub fn open(options: &LogOptions) -> Result<Self, KeyError> {
        let dir = &options.key_dir;
        disk::durable_dir(&RealDisk, dir).map_err(io(dir))?;
        let log = match &options.key {
            Some(key) => key.clone(),
            None => Arc::new(SeedKey(secret(&dir.join("log.key"))?)),
        };
        Ok(Self {
            name: options.name.clone(),
            log,
            subjects: Arc::new(Subjects::new(&secret(&dir.join("subjects.key"))?)),
        })
    }
}

/// The key of this instance's logs, if there is one; it is not made.
pub fn own_key(options: &LogOptions) -> Result<Option<TrustedKey>, KeyError> {
    let Some(key) = own_log_key(options)? else {
        return Ok(None);
    };
    let vkey = key.vkey(&options.name)?;
    let trusted = vkey.parse().map_err(|_| KeyError::Kind(vkey))?;
    Ok(Some(trusted))
}

/// What signs for this instance's logs, if there is one; it is not made.
pub fn own_log_key(options: &LogOptions) -> Result<Option<Arc<dyn LogKey>>, KeyError> {
    let path = options.key_dir.join("log.key");
    match &options.key {
        Some(key) => Ok(Some(key.clone())),
        // Whether it is there must be known.
        None if path.try_exists().map_err(io(&path))? => {
            Ok(Some(Arc::new(SeedKey(secret(&path)?))))
        }
        None => Ok(None),
    }
}

pub fn io(path: &Path) -> impl FnOnce(std::io::Error) -> KeyError {
    let path = path.to_path_buf();
    move |source| KeyError::Io { path, source }
}

/// The secret in this file, which is made if it is not there.
pub fn secret(path: &Path) -> Result<[u8; 32], KeyError> {
    match existing(path) {
        Err(KeyError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            make(path)
        }
        read => read,
    }
}

/// The secret in this file, which must be there.
pub fn existing(path: &Path) -> Result<[u8; 32], KeyError> {
    let text = std::fs::read_to_string(path).map_err(io(path))?;
    check_private(path)?;
    let mut secret = [0; 32];
    let form = hex::decode_to_slice(text.trim_ascii(), &mut secret);
    form.map_err(|_| KeyError::Form {
        path: path.to_path_buf(),
    })?;
    Ok(secret)
}

fn make(path: &Path) -> Result<[u8; 32], KeyError> {
    let mut secret = [0; 32];
    aws_lc_rs::rand::fill(&mut secret).map_err(|_| KeyError::Random)?;
    // Under another name first: a half-written key must never be taken for one.
    let temporary = path.with_extension(format!("tmp-{}", uuid::Uuid::now_v7()));
    let written = disk::private()
        .create(true)
        .truncate(true)
        .open(&temporary)
        .and_then(|mut file| {
            file.write_all(format!("{}\n", hex::encode(secret)).as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| std::fs::hard_link(&temporary, path))
        .and_then(|()| match path.parent() {
            Some(dir) => std::fs::File::open(dir)?.sync_all(),
            None => Ok(()),
        });
    std::fs::remove_file(&temporary).ok();
    match written {
        Ok(()) => Ok(secret),
        // Another Weir that shares the directory was first.
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => self::secret(path),
        Err(e) => Err(io(path)(e)),
    }
}

fn check_private(path: &Path) -> Result<(), KeyError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(path)
            .map_err(io(path))?
            .permissions()
            .mode();
        if mode & 0o077 != 0 {
            return Err(KeyError::Open {
                path: path.to_path_buf(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::support::TempDir;

    fn options(dir: &TempDir) -> LogOptions {
        LogOptions {
            name: "weir.test".into(),
            key: None,
            key_dir: dir.spool(),
            witnesses: Vec::new(),
        }
    }

    #[test]
    fn keys_are_made_once_and_kept() {
        let dir = TempDir::new();
        let first = Keys::open(&options(&dir)).unwrap();
        let again = Keys::open(&options(&dir)).unwrap();
        let vkey = |keys: &Keys| keys.log.vkey("weir.test/1").unwrap();
        assert_eq!(vkey(&first), vkey(&again));
        assert_eq!(
            first.subjects.approver("bob"),
            again.subjects.approver("bob")
        );
        assert_ne!(
            first.subjects.approver("bob"),
            first.subjects.approver("bo")
        );
        // Another log of the same key has another key id: its checkpoints do not pass for this one's.
        assert_ne!(vkey(&first), first.log.vkey("weir.test/2").unwrap());
    }

    #[test]
    fn a_key_that_is_not_one_is_refused() {
        let dir = TempDir::new();
        Keys::open(&options(&dir)).unwrap();
        let path = dir.spool().join("log.key");
        let good = std::fs::read_to_string(&path).unwrap();
        for wrong in ["", "00", &good[1..], &format!("{good}{good}")] {
            std::fs::write(&path, wrong).unwrap();
            assert!(
                matches!(Keys::open(&options(&dir)), Err(KeyError::Form { .. })),
                "{wrong:?}"
            );
        }
        std::fs::write(&path, &good).unwrap();
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            Keys::open(&options(&dir)),
            Err(KeyError::Open { .. })
        ));
    }
}
